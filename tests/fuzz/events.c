/* Event files: what is whole of any bytes is whole alone, and is no longer than they are. */
#include "fuzz.h"
#include "io/io.h"

static int64_t scan(const uint8_t *data, size_t size, bool *image)
{
    FILE *file = fmemopen((void *)data, size, "rb");
    fuzz_check(file != NULL, "memory");
    int64_t keep = sumi_events_scan(file, 1000, image);
    fclose(file);
    return keep;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool image, again;
    if (size == 0)
        return 0;
    uint8_t *copy = fuzz_copy(data, size);
    int64_t keep = scan(copy, size, &image);
    fuzz_check(keep >= 0 && (size_t)keep <= size, "as long as the file at most");
    if (keep > 0) {
        fuzz_check(scan(copy, (size_t)keep, &again) == keep, "whole");
        fuzz_check(again == image, "the same pictures");
    }
    free(copy);
    return 0;
}
