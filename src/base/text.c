/*
 * Text that means the same to everybody: numbers that no locale changes, strict UTF-8 (RFC 3629),
 * and names of files, which are any bytes, as UTF-8.
 *
 * A locale is a property of the program that the library is part of. printf and strtod obey it, so
 * whatever ends up in a file is formatted and read with the calling thread in the C locale.
 */
#include <locale.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* ---- Numbers --------------------------------------------------------------------------------- */

/* "C" is a constant of glibc and musl: asking for it takes no memory and cannot fail. */
sumi_plain_locale sumi_plain_begin(void)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return (sumi_plain_locale){plain, plain ? uselocale(plain) : (locale_t)0};
}

void sumi_plain_end(sumi_plain_locale before)
{
    if (!before.plain)
        return;
    uselocale(before.outer);
    freelocale(before.plain);
}

int sumi_vformat(char *out, size_t size, const char *format, va_list args)
{
    sumi_plain_locale plain = sumi_plain_begin();
    int length = vsnprintf(out, size, format, args);
    sumi_plain_end(plain);
    return length;
}

int sumi_format(char *out, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = sumi_vformat(out, size, format, args);
    va_end(args);
    return length;
}

double sumi_parse_real(const char *text, char **end)
{
    sumi_plain_locale plain = sumi_plain_begin();
    double value = strtod(text, end);
    sumi_plain_end(plain);
    return value;
}

double sumi_shortest(float value)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        sumi_format(text, sizeof text, "%.*g", digits, (double)value);
        if ((float)sumi_parse_real(text, NULL) == value)
            break;
    }
    return sumi_parse_real(text, NULL);
}

/* ---- ASCII ----------------------------------------------------------------------------------- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool sumi_same_letters(const char *a, const char *b, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (lower(a[i]) != lower(b[i]))
            return false;
        if (a[i] == '\0')
            return true;
    }
    return true;
}

bool sumi_is_alnum(char c)
{
    return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9');
}

bool sumi_ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text), tail = strlen(ending);
    return length >= tail && strcmp(text + length - tail, ending) == 0;
}

void sumi_shape_text(const int64_t *shape, int rank, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "%s", rank == 0 ? "a single number" : "");
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "[%lld]", (long long)shape[i]);
}

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

size_t sumi_utf8_sequence(const char *text, size_t size)
{
    const uint8_t *b = (const uint8_t *)text;
    if (size == 0)
        return 0;
    size_t length = b[0] < 0x80                   ? 1
                    : b[0] >= 0xC2 && b[0] < 0xE0 ? 2
                    : (b[0] & 0xF0) == 0xE0       ? 3
                    : b[0] >= 0xF0 && b[0] < 0xF5 ? 4
                                                  : 0;
    if (length == 0 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((b[i] & 0xC0) != 0x80)
            return 0;
    /* The second byte tells overlong forms, surrogates and numbers past U+10FFFF. */
    if ((b[0] == 0xE0 && b[1] < 0xA0) || (b[0] == 0xED && b[1] > 0x9F) ||
        (b[0] == 0xF0 && b[1] < 0x90) || (b[0] == 0xF4 && b[1] > 0x8F))
        return 0;
    return length;
}

bool sumi_utf8_valid(const char *text, size_t size)
{
    for (size_t i = 0, length; i < size; i += length) {
        length = sumi_utf8_sequence(text + i, size - i);
        if (length == 0)
            return false;
    }
    return true;
}

size_t sumi_utf8_whole(const char *text, size_t length)
{
    for (size_t back = 1; back < 4 && back <= length; back++) {
        uint8_t byte = (uint8_t)text[length - back];
        if ((byte & 0xC0) == 0x80)
            continue;
        size_t need = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
        return need > back ? length - back : length;
    }
    return length;
}

size_t sumi_copy_text(char *out, size_t size, const char *text)
{
    size_t length = strlen(text);
    if (length >= size)
        length = sumi_utf8_whole(text, size - 1);
    memcpy(out, text, length);
    out[length] = '\0';
    return length;
}

/* ---- Names of files -------------------------------------------------------------------------- */

static const char hex_digits[] = "0123456789ABCDEF";

/* The byte that "\xNN" stands for; 0 where the text does not begin with an escape that is made
 * here: of a byte above ASCII, or of the backslash. */
static uint8_t escaped_byte(const char *text)
{
    if (text[0] != '\\' || text[1] != 'x' || !text[2] || !text[3])
        return 0;
    const char *high = strchr(hex_digits, text[2]), *low = strchr(hex_digits, text[3]);
    if (!high || !low)
        return 0;
    int byte = (int)(high - hex_digits) * 16 + (int)(low - hex_digits);
    return byte >= 0x80 || byte == '\\' ? (uint8_t)byte : 0;
}

static char *put_byte(char *out, uint8_t byte)
{
    *out++ = '\\';
    *out++ = 'x';
    *out++ = hex_digits[byte >> 4];
    *out++ = hex_digits[byte & 15];
    return out;
}

char *sumi_escape_text(const char *text)
{
    size_t size = strlen(text), room;
    char *escaped = sumi_size_mul(size, 4, &room) ? malloc(room + 1) : NULL, *out = escaped;
    if (!escaped)
        return NULL;
    for (size_t i = 0, length; i < size; i += length) {
        length = sumi_utf8_sequence(text + i, size - i);
        if (length == 0 || escaped_byte(text + i)) {
            out = put_byte(out, (uint8_t)text[i]);
            length = 1;
            continue;
        }
        memcpy(out, text + i, length);
        out += length;
    }
    *out = '\0';
    return escaped;
}

void sumi_unescape_text(char *text)
{
    char *out = text;
    while (*text) {
        uint8_t byte = escaped_byte(text);
        *out++ = byte ? (char)byte : *text;
        text += byte ? 4 : 1;
    }
    *out = '\0';
}

/* Control characters, DEL and the C1 set, U+0080 to U+009F, which terminals obey too. */
size_t sumi_clean_text(char *out, size_t size, const char *text)
{
    size_t left = strlen(text), used = 0;
    for (size_t length; left > 0; text += length, left -= length) {
        char shown[4] = {'?', '?', '?', '?'};
        const uint8_t *b = (const uint8_t *)text;
        length = sumi_utf8_sequence(text, left);
        size_t width = length ? length : sizeof shown;
        bool control = b[0] < 0x20 || b[0] == 0x7F || (b[0] == 0xC2 && length == 2 && b[1] < 0xA0);
        if (length == 0) {
            put_byte(shown, b[0]);
            length = 1;
        } else if (!control)
            memcpy(shown, text, length);
        if (used + width >= size)
            break;
        memcpy(out + used, shown, width);
        used += width;
    }
    out[used] = '\0';
    return used;
}

char *sumi_clean_copy(const char *text)
{
    size_t room;
    char *clean = sumi_size_mul(strlen(text), 4, &room) ? malloc(room + 1) : NULL;
    if (clean)
        sumi_clean_text(clean, room + 1, text);
    return clean;
}
