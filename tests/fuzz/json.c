/* JSON: the checked members, and that what was read can be said again. */
#include "fuzz.h"
#include "io/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    json_t *json;
    sumi_error err;
    if (sumi_json_parse("f", copy, size, &json, &err) == SUMI_OK) {
        int64_t integer = 0;
        double real = 0;
        const char *string = NULL;
        if (sumi_json_int("f", json, "i", -5, 1000, &integer, &err) == SUMI_OK)
            fuzz_check(integer >= -5 && integer <= 1000, "the range of a whole number");
        if (sumi_json_real("f", json, "r", 0, 1, &real, &err) == SUMI_OK)
            fuzz_check(real >= 0 && real <= 1, "the range of a number");
        if (sumi_json_string("f", json, "s", &string, &err) == SUMI_OK)
            fuzz_touch(string, strlen(string));
        char *text = json_dumps(json, JSON_COMPACT);
        fuzz_check(text != NULL, "JSON that was read can be written");
        free(text);
        json_decref(json);
    }
    free(copy);
    return 0;
}
