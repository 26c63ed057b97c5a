/* TOML: what was read is an object of plain values, and says the same when it is written again. */
#include "fuzz.h"
#include "io/io.h"

static void check_value(const json_t *value, int depth)
{
    size_t i;
    const json_t *part;
    if (json_is_array(value) && depth == 0) {
        json_array_foreach(value, i, part) check_value(part, 1);
        return;
    }
    fuzz_check(json_is_string(value) || json_is_number(value) || json_is_boolean(value),
               "a plain value");
    if (json_is_string(value))
        fuzz_check(strlen(json_string_value(value)) == json_string_length(value), "no zero byte");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    json_t *json = NULL;
    sumi_error err = {""};
    if (sumi_toml_parse("f", copy, size, &json, &err) == SUMI_OK) {
        const char *key;
        json_t *value;
        json_object_foreach(json, key, value) check_value(value, 0);
        char *text = json_dumps(json, JSON_COMPACT);
        fuzz_check(text != NULL, "what was read can be written");
        free(text);
        json_decref(json);
    } else {
        fuzz_check(json == NULL && err.text[0] != '\0', "a refusal says why");
    }
    free(copy);
    return 0;
}
