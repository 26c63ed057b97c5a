/*
 * What is worth knowing about how a set was read: lines that the set keeps for whoever opened it.
 */
#include "data/data.h"

#include <stdio.h>
#include <stdlib.h>

sumi_status sumi_data_note(sumi_dataset *set, bool warning, sumi_error *err, const char *format,
                           ...)
{
    va_list args;
    va_start(args, format);
    int length = sumi_vformat(NULL, 0, format, args);
    va_end(args);
    size_t size = length < 0 ? 1 : (size_t)length + 1;
    size_t bytes = ((size_t)set->notice_count + 1) * sizeof *set->notices;
    char *raw = sumi_calloc(size, 1), *text = NULL;
    if (raw) {
        va_start(args, format);
        sumi_vformat(raw, size, format, args);
        va_end(args);
        text = sumi_clean_copy(raw); /* names of files are any bytes */
        free(raw);
    }
    sumi_data_notice *notices = text ? realloc(set->notices, bytes) : NULL;
    if (!notices) {
        free(text);
        return sumi_fail_memory(err, "notices", size + bytes);
    }
    set->notices = notices;
    set->notices[set->notice_count++] = (sumi_data_notice){text, warning};
    return SUMI_OK;
}
