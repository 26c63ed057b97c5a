/*
 * JSON by jansson, with the checks that a file from elsewhere needs: size, duplicate keys, types
 * and ranges.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/internal.h"

enum { JSON_BYTES_MAX = 16 << 20, REAL_DIGITS_MAX = 17 };

sumi_status sumi_fail_json(sumi_error *err, const json_error_t *reason, const char *path,
                           const char *where, size_t size)
{
    /* jansson says nothing at all on some of its ways out of memory: there is no text, and the code
     * behind it was not written. */
    if (!reason->text[0] || json_error_code(reason) == json_error_out_of_memory)
        return sumi_fail_memory(err, path, size);
    /* JSON has no such limits; jansson has. */
    enum json_error_code code = json_error_code(reason);
    bool beyond = code == json_error_stack_overflow || code == json_error_numeric_overflow;
    return sumi_fail(err, beyond ? SUMI_EUNSUPPORTED : SUMI_EFORMAT, "%s: %s: %s", path, where,
                     reason->text);
}

/* jansson's own care for locales covers decimal points of one byte only, and a change of the locale
 * in another thread meets it half-way. */
json_t *sumi_json_load(const void *data, size_t size, size_t flags, json_error_t *reason)
{
    sumi_plain_locale plain = sumi_plain_begin();
    json_t *json = json_loadb(data, size, flags, reason);
    sumi_plain_end(plain);
    return json;
}

json_t *sumi_json_any(const char *text)
{
    return sumi_utf8_valid(text, strlen(text)) ? json_string(text) : sumi_json_name(text);
}

json_t *sumi_json_name(const char *text)
{
    char *escaped = sumi_escape_text(text);
    json_t *string = escaped ? json_string(escaped) : NULL;
    free(escaped);
    return string;
}

sumi_status sumi_json_parse(const char *path, const uint8_t *data, size_t size, json_t **out,
                            sumi_error *err)
{
    json_error_t reason;
    if (size > JSON_BYTES_MAX)
        return sumi_fail(err, SUMI_EUNSUPPORTED, "%s: %zu bytes of JSON, at most %d are allowed",
                         path, size, JSON_BYTES_MAX);
    json_t *json = sumi_json_load(data, size, JSON_REJECT_DUPLICATES, &reason);
    if (!json) {
        char where[64];
        snprintf(where, sizeof where, "line %d, column %d", reason.line, reason.column);
        return sumi_fail_json(err, &reason, path, where, size);
    }
    *out = json;
    return SUMI_OK;
}

sumi_status sumi_json_read(const char *path, json_t **out, sumi_error *err)
{
    uint8_t *data;
    size_t size;
    sumi_status status = sumi_file_read(path, JSON_BYTES_MAX, &data, &size, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_json_parse(path, data, size, out, err);
    free(data);
    return status;
}

static int add_text(const char *data, size_t size, void *text)
{
    sumi_text_add(text, data, size);
    return ((sumi_text *)text)->failed ? -1 : 0;
}

void sumi_text_json(sumi_text *text, const json_t *json, size_t flags)
{
    sumi_plain_locale plain = sumi_plain_begin();
    text->failed |= json_dump_callback(json, add_text, text, flags) != 0;
    sumi_plain_end(plain);
}

char *sumi_json_compact(const json_t *json)
{
    enum { FLOAT_DIGITS = 9 };
    sumi_text text = {0};
    sumi_text_json(&text, json,
                   JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(FLOAT_DIGITS));
    if (!text.failed)
        return text.data;
    sumi_text_free(&text);
    return NULL;
}

/* Whether the text reads back as the very same numbers. */
static bool says_the_same(const sumi_text *text, const json_t *json)
{
    json_t *back = sumi_json_load(text->data, text->size, JSON_DECODE_ANY, NULL);
    bool same = json_equal(back, json);
    json_decref(back);
    return same;
}

/* Seventeen digits give every double back, but make 0.3 a 0.29999999999999999: as few are written
 * as the file's numbers need. */
sumi_status sumi_json_write(const char *path, const json_t *json, sumi_error *err)
{
    sumi_text text = {0};
    if (!json)
        return sumi_fail(err, SUMI_EINVAL, "%s: there is no value to write", path);
    for (size_t digits = 15; digits <= REAL_DIGITS_MAX; digits++) {
        text.size = 0;
        sumi_text_json(&text, json,
                       JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY |
                           JSON_REAL_PRECISION(digits));
        if (text.failed || (digits < REAL_DIGITS_MAX && says_the_same(&text, json)))
            break;
    }
    sumi_text_puts(&text, "\n");
    sumi_status status = text.failed ? sumi_fail_memory(err, path, text.size)
                                     : sumi_file_save(path, text.data, text.size, err);
    sumi_text_free(&text);
    return status;
}

/* What a value is, in words; NULL stands for a missing one. */
static const char *type_name(const json_t *value)
{
    if (!value)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "a whole number";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_NULL:
        return "null";
    default:
        return "a truth value";
    }
}

static sumi_status wrong_type(const char *path, const char *key, const char *expected,
                              const json_t *found, sumi_error *err)
{
    return sumi_fail(err, SUMI_EFORMAT, "%s: \"%s\": expected %s, found %s", path, key, expected,
                     type_name(found));
}

sumi_status sumi_json_int(const char *path, const json_t *object, const char *key, int64_t low,
                          int64_t high, int64_t *out, sumi_error *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value))
        return wrong_type(path, key, "a whole number", value, err);
    json_int_t number = json_integer_value(value);
    if (number < low || number > high)
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: \"%s\": expected %" PRId64 " to %" PRId64 ", found %lld", path, key,
                         low, high, (long long)number);
    *out = number;
    return SUMI_OK;
}

sumi_status sumi_json_real(const char *path, const json_t *object, const char *key, double low,
                           double high, double *out, sumi_error *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        return wrong_type(path, key, "a number", value, err);
    double number = json_number_value(value);
    if (!(number >= low && number <= high))
        return sumi_fail(err, SUMI_EFORMAT, "%s: \"%s\": expected %g to %g, found %g", path, key,
                         low, high, number);
    *out = number;
    return SUMI_OK;
}

sumi_status sumi_json_string(const char *path, const json_t *object, const char *key,
                             const char **out, sumi_error *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return wrong_type(path, key, "a string", value, err);
    *out = json_string_value(value);
    return SUMI_OK;
}
