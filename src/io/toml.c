/*
 * A flat part of TOML 1.0 (toml.io): lines `key = value` with bare keys, strings on one line, whole
 * and real numbers, true and false, and arrays of these. Tables, dates, dotted keys and strings
 * over several lines are refused by name.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/internal.h"

enum { KEY_MAX = 64, VALUES_MAX = 1000, NUMBER_MAX = 64 };

typedef struct {
    const char *path;
    const char *at, *end;
    int line;
    sumi_error *err;
} reader;

static sumi_status fail(const reader *r, const char *what)
{
    return sumi_fail(r->err, SUMI_EFORMAT, "%s: line %d: %s", r->path, r->line, what);
}

static void skip_blanks(reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t'))
        r->at++;
}

static bool looking_at(const reader *r, const char *text)
{
    size_t length = strlen(text);
    return (size_t)(r->end - r->at) >= length && memcmp(r->at, text, length) == 0;
}

static bool take(reader *r, char c)
{
    bool found = r->at < r->end && *r->at == c;
    r->at += found;
    return found;
}

/* Up to the end of the line; a comment may not hold control characters. */
static sumi_status skip_comment(reader *r)
{
    for (; r->at < r->end && *r->at != '\n'; r->at++) {
        unsigned char c = (unsigned char)*r->at;
        if ((c < ' ' && c != '\t' && c != '\r') || c == 0x7F)
            return fail(r, "a control character in a comment");
    }
    return SUMI_OK;
}

/* What may follow a value: blanks, a comment, the end of the line. */
static sumi_status end_line(reader *r)
{
    skip_blanks(r);
    if (r->at < r->end && *r->at == '#' && skip_comment(r) != SUMI_OK)
        return SUMI_EFORMAT;
    if (r->at < r->end && *r->at == '\r' && r->at + 1 < r->end && r->at[1] == '\n')
        r->at++;
    if (r->at < r->end && !take(r, '\n'))
        return fail(r, "expected the end of the line after the value");
    r->line++;
    return SUMI_OK;
}

/* ---- Strings --------------------------------------------------------------------------------- */

static void add_utf8(sumi_text *out, uint32_t code)
{
    char bytes[4];
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t first[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = size; i-- > 1; code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3F));
    bytes[0] = (char)(first[size] | code);
    if (size == 1)
        bytes[0] = (char)code;
    sumi_text_add(out, bytes, size);
}

/* \uXXXX or \UXXXXXXXX, after the letter. */
static sumi_status read_code(reader *r, int digits, sumi_text *out)
{
    uint32_t code = 0;
    for (int i = 0; i < digits; i++, r->at++) {
        const char *hex = "0123456789abcdef";
        char c = r->at < r->end ? *r->at : '\0';
        const char *digit = c ? strchr(hex, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;
        if (!digit)
            return fail(r, "expected hexadecimal digits after \\u or \\U");
        code = code << 4 | (uint32_t)(digit - hex);
    }
    if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        return fail(r, "\\u or \\U is no character");
    add_utf8(out, code);
    return SUMI_OK;
}

static sumi_status read_escape(reader *r, sumi_text *out)
{
    static const char letters[] = "btnfr\"\\", meant[] = "\b\t\n\f\r\"\\";
    char c = r->at < r->end ? *r->at++ : '\0';
    if (c == 'u' || c == 'U')
        return read_code(r, c == 'u' ? 4 : 8, out);
    const char *letter = c ? strchr(letters, c) : NULL;
    if (!letter)
        return fail(r, "an unknown escape in a string; in '...' backslashes are themselves");
    sumi_text_add(out, &meant[letter - letters], 1);
    return SUMI_OK;
}

/* After the opening quote. */
static sumi_status read_string(reader *r, char quote, json_t **out)
{
    sumi_text text = {0};
    sumi_status status = SUMI_OK;
    if (looking_at(r, quote == '"' ? "\"\"" : "''"))
        return fail(r, "strings over several lines are not read here");
    while (status == SUMI_OK && !take(r, quote)) {
        unsigned char c = r->at < r->end ? (unsigned char)*r->at : '\n';
        if (c == '\n')
            status = fail(r, "a string without an end");
        else if ((c < ' ' && c != '\t') || c == 0x7F)
            status = fail(r, "a control character in a string");
        else if (c == '\\' && quote == '"') {
            r->at++;
            status = read_escape(r, &text);
        } else
            sumi_text_add(&text, r->at++, 1);
    }
    if (status == SUMI_OK) {
        *out = text.failed ? NULL : json_stringn(text.size ? text.data : "", text.size);
        if (!*out)
            status = sumi_fail_memory(r->err, r->path, text.size);
    }
    sumi_text_free(&text);
    return status;
}

/* ---- Numbers --------------------------------------------------------------------------------- */

/* Copies a number without its underscores, which must stand between digits; false where it is none
 * that TOML has (a leading zero, a point without digits on both sides). */
static bool clean_number(const char *text, size_t length, char out[NUMBER_MAX])
{
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        bool between = i > 0 && i + 1 < length && text[i - 1] >= '0' && text[i - 1] <= '9' &&
                       text[i + 1] >= '0' && text[i + 1] <= '9';
        bool point = text[i] == '.';
        if ((text[i] == '_' || point) && !between)
            return false;
        if (text[i] != '_')
            out[used++] = text[i];
    }
    out[used] = '\0';
    const char *digits = out + (out[0] == '-' || out[0] == '+');
    return digits[0] >= '0' && digits[0] <= '9' &&
           !(digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9');
}

static sumi_status read_number(reader *r, json_t **out)
{
    char number[NUMBER_MAX], *end = NULL;
    const char *start = r->at;
    while (r->at < r->end && *r->at && strchr("0123456789+-_.eE", *r->at))
        r->at++;
    size_t length = (size_t)(r->at - start);
    if (length > 0 && r->at < r->end && (*r->at == ':' || *r->at == 'T'))
        return fail(r, "dates and times are not read here");
    if (length == 0 || length >= sizeof number || !clean_number(start, length, number))
        return fail(r, "expected a value: a \"string\", a number, true, false or [an array]");
    errno = 0;
    bool real = strpbrk(number, ".eE") != NULL;
    double value = real ? sumi_parse_real(number, &end) : 0;
    long long whole = real ? 0 : strtoll(number, &end, 10);
    if (*end != '\0' || (!real && errno != 0) || !isfinite(value))
        return fail(r, "a number that is malformed or too large");
    *out = real ? json_real(value) : json_integer(whole);
    return *out ? SUMI_OK : sumi_fail_memory(r->err, r->path, 0);
}

/* ---- Values ---------------------------------------------------------------------------------- */

static sumi_status read_scalar(reader *r, json_t **out)
{
    if (take(r, '"'))
        return read_string(r, '"', out);
    if (take(r, '\''))
        return read_string(r, '\'', out);
    bool yes = looking_at(r, "true");
    if (yes || looking_at(r, "false")) {
        r->at += yes ? 4 : 5;
        *out = json_boolean(yes);
        return SUMI_OK;
    }
    return read_number(r, out);
}

/* Between the parts of an array lines may end, and comments stand. */
static sumi_status skip_lines(reader *r)
{
    for (;;) {
        skip_blanks(r);
        bool comment = r->at < r->end && *r->at == '#';
        if (!comment && !(r->at < r->end && (*r->at == '\n' || *r->at == '\r')))
            return SUMI_OK;
        sumi_status status = end_line(r);
        if (status != SUMI_OK)
            return status;
    }
}

/* After the opening bracket. */
static sumi_status read_array(reader *r, json_t **out)
{
    json_t *array = json_array();
    sumi_status status = array ? skip_lines(r) : sumi_fail_memory(r->err, r->path, 0);
    while (status == SUMI_OK && !take(r, ']')) {
        json_t *value = NULL;
        if (r->at < r->end && *r->at == '[')
            status = fail(r, "arrays of arrays are not read here");
        else if (json_array_size(array) == VALUES_MAX)
            status = fail(r, "an array of too many values");
        else
            status = read_scalar(r, &value);
        if (status == SUMI_OK && json_array_append_new(array, value) != 0)
            status = sumi_fail_memory(r->err, r->path, 0);
        if (status == SUMI_OK)
            status = skip_lines(r);
        if (status == SUMI_OK && !take(r, ',')) {
            if (r->at < r->end && *r->at == ']')
                continue;
            status = fail(r, "expected , or ] in an array");
        } else if (status == SUMI_OK)
            status = skip_lines(r);
    }
    if (status == SUMI_OK)
        *out = array;
    else
        json_decref(array);
    return status;
}

static sumi_status read_pair(reader *r, json_t *object)
{
    char key[KEY_MAX];
    size_t length = 0;
    while (r->at < r->end && length < sizeof key - 1 &&
           (sumi_is_alnum(*r->at) || *r->at == '_' || *r->at == '-'))
        key[length++] = *r->at++;
    key[length] = '\0';
    if (length == 0 && r->at < r->end && *r->at == '[')
        return fail(r, "tables ([name]) are not read here: write keys alone, one a line");
    if (length == 0 || length == sizeof key - 1)
        return fail(r, "expected key = value, with a key of letters, digits, - and _");
    skip_blanks(r);
    if (r->at < r->end && *r->at == '.')
        return fail(r, "dotted keys are not read here");
    if (!take(r, '='))
        return fail(r, "expected = after the key");
    if (json_object_get(object, key))
        return sumi_fail(r->err, SUMI_EFORMAT, "%s: line %d: %s is there twice", r->path, r->line,
                         key);
    skip_blanks(r);
    json_t *value = NULL;
    sumi_status status = take(r, '[') ? read_array(r, &value) : read_scalar(r, &value);
    if (status == SUMI_OK && json_object_set_new(object, key, value) != 0)
        status = sumi_fail_memory(r->err, r->path, 0);
    return status == SUMI_OK ? end_line(r) : status;
}

sumi_status sumi_toml_parse(const char *path, const uint8_t *data, size_t size, json_t **out,
                            sumi_error *err)
{
    reader r = {path, (const char *)data, (const char *)data + size, 1, err};
    if (size > SUMI_TOML_BYTES_MAX)
        return sumi_fail(err, SUMI_EUNSUPPORTED, "%s: has %zu bytes, expected at most %d", path,
                         size, SUMI_TOML_BYTES_MAX);
    if (!sumi_utf8_valid(r.at, size))
        return sumi_fail(err, SUMI_EFORMAT, "%s: is not UTF-8", path);
    if (looking_at(&r, "\xEF\xBB\xBF"))
        r.at += 3;
    json_t *object = json_object();
    sumi_status status = object ? SUMI_OK : sumi_fail_memory(err, path, 0);
    while (status == SUMI_OK) {
        status = skip_lines(&r);
        if (status != SUMI_OK || r.at == r.end)
            break;
        status = read_pair(&r, object);
    }
    if (status == SUMI_OK)
        *out = object;
    else
        json_decref(object);
    return status;
}
