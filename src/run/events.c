/*
 * The run's event file for TensorBoard: scalars of every step and epoch, and the sample grids.
 *
 * As with metrics, a run that goes on first cuts off what lies after its checkpoint. Without the
 * package nothing is lost: metrics.jsonl and samples/ have the same.
 */
#include "run/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char file_name[] = "events.out.tfevents.sumi";

static double time_of_day(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

sumi_status sumi_run_events_flush(sumi_run_dir *dir, sumi_error *err)
{
    char path[PATH_MAX];
    sumi_text *events = &dir->events;
    if (events->failed)
        return sumi_fail_memory(err, file_name, events->size);
    if (events->size == 0)
        return SUMI_OK;
    sumi_status status =
        sumi_file_append(sumi_run_file(dir, file_name, path), events->data, events->size, err);
    if (status == SUMI_OK)
        events->size = 0;
    return status;
}

void sumi_run_event(sumi_run_dir *dir, int64_t step, const sumi_event_scalar *scalars, int count)
{
    dir->pictured = false;
    sumi_event_scalars(&dir->events, time_of_day(), step, scalars, count);
}

sumi_status sumi_run_event_picture(sumi_run_dir *dir, int64_t step, const char *tag,
                                   const char *path, sumi_error *err)
{
    uint8_t *data = NULL;
    size_t size = 0;
    sumi_status status = sumi_file_read(path, 1 << 25, &data, &size, err);
    if (status == SUMI_OK)
        sumi_event_png(&dir->events, time_of_day(), step, tag, data, size);
    free(data);
    dir->pictured = true;
    return status == SUMI_OK ? sumi_run_events_flush(dir, err) : status;
}

sumi_status sumi_run_events_rewind(sumi_run_dir *dir, int64_t steps, sumi_error *err)
{
    char path[PATH_MAX];
    dir->events.size = 0;
    dir->pictured = false;
    sumi_status status = SUMI_OK;
    FILE *file = fopen(sumi_run_file(dir, file_name, path), "r+b");
    if (!file && errno != ENOENT)
        return sumi_fail_errno(err, path, errno);
    int64_t keep = file ? sumi_events_scan(file, steps, &dir->pictured) : 0;
    if (file && (keep < 0 || ftruncate(fileno(file), (off_t)keep) != 0))
        status = sumi_fail_errno(err, path, errno);
    if (file)
        fclose(file);
    if (keep == 0)
        sumi_event_version(&dir->events, time_of_day());
    return status;
}
