/* ZIP: entries lie within the archive, are sorted and found by name. */
#include "fuzz.h"
#include "io/zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    sumi_zip zip;
    sumi_error err;
    if (sumi_zip_parse("f", copy, size, &zip, &err) == SUMI_OK) {
        size_t sum = 0;
        for (size_t i = 0; i < zip.count; i++) {
            const sumi_zip_entry *entry = &zip.entries[i];
            fuzz_check(entry->data >= copy && entry->size <= size, "entries are inside");
            fuzz_check(sumi_zip_find(&zip, entry->name) == entry, "names are found");
            fuzz_touch(entry->data, entry->size);
            sum += entry->size;
        }
        fuzz_check(sum <= size, "entries do not overlap");
        sumi_zip_free(&zip);
    }
    free(copy);
    return 0;
}
