/*
 * What a run's files keep of how its data were read: the notices in train.log, and the pictures
 * that were skipped in skipped.txt.
 */
#include "run/run.h"

#include <stdlib.h>
#include <string.h>

sumi_status sumi_run_note_data(const sumi_run_dir *dir, const sumi_dataset *set, sumi_error *err)
{
    char path[PATH_MAX];
    sumi_file *file = NULL;
    sumi_status status = SUMI_OK;
    for (int i = 0; i < set->notice_count && status == SUMI_OK; i++)
        status = sumi_run_log(dir, err, "data: %s", set->notices[i].text);
    sumi_run_file(dir, "skipped.txt", path);
    if (status != SUMI_OK || (set->skipped_count == 0 && !sumi_is_file(path)))
        return status;
    status = sumi_file_begin(path, &file, err);
    for (int64_t i = 0; i < set->skipped_count && status == SUMI_OK; i++) {
        char *line = sumi_clean_copy(set->skipped[i]); /* names of files are any bytes */
        if (!line) {
            status = sumi_fail_memory(err, path, 0);
            break;
        }
        status = sumi_file_write(file, line, strlen(line), err);
        if (status == SUMI_OK)
            status = sumi_file_write(file, "\n", 1, err);
        free(line);
    }
    if (status == SUMI_OK)
        return sumi_file_commit(file, err);
    sumi_file_abort(file);
    return status;
}
