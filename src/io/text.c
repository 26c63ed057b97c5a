/*
 * Growing text for the writers, and strict UTF-8 (RFC 3629) for the readers.
 */
#include <stdio.h>
#include <stdlib.h>

#include "io/internal.h"

/* Makes room for `more` bytes and the final zero. */
static bool reserve(sumi_text *text, size_t more)
{
    size_t needed, capacity;
    if (text->failed)
        return false;
    if (!sumi_size_add(text->size, more, &needed) || !sumi_size_add(needed, 1, &needed)) {
        text->failed = true;
        return false;
    }
    if (needed <= text->capacity)
        return true;
    if (!sumi_size_mul(needed, 2, &capacity))
        capacity = needed;
    char *grown = realloc(text->data, capacity);
    if (!grown) {
        text->failed = true;
        return false;
    }
    text->data = grown;
    text->capacity = capacity;
    return true;
}

void sumi_text_add(sumi_text *text, const void *data, size_t size)
{
    if (!reserve(text, size))
        return;
    if (size)
        memcpy(text->data + text->size, data, size);
    text->size += size;
    text->data[text->size] = 0;
}

void sumi_text_puts(sumi_text *text, const char *string)
{
    sumi_text_add(text, string, strlen(string));
}

void sumi_text_printf(sumi_text *text, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0)
        text->failed = true;
    else if (reserve(text, (size_t)size)) {
        vsnprintf(text->data + text->size, (size_t)size + 1, format, again);
        text->size += (size_t)size;
    }
    va_end(again);
}

void sumi_text_free(sumi_text *text)
{
    free(text->data);
    *text = (sumi_text){0};
}

/* The length of the sequence that lead begins, 0 for a byte that begins none. */
static size_t sequence_size(uint8_t lead)
{
    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF)
        return 3;
    if (lead >= 0xF0 && lead <= 0xF4)
        return 4;
    return 0;
}

bool sumi_utf8_valid(const char *text, size_t size)
{
    const uint8_t *bytes = (const uint8_t *)text;
    for (size_t i = 0; i < size;) {
        size_t length = sequence_size(bytes[i]);
        if (length == 0 || length > size - i)
            return false;
        for (size_t k = 1; k < length; k++)
            if ((bytes[i + k] & 0xC0) != 0x80)
                return false;
        /* The second byte tells overlong forms, surrogates and numbers past U+10FFFF. */
        uint8_t lead = bytes[i], second = length > 1 ? bytes[i + 1] : 0;
        if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
            (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F))
            return false;
        i += length;
    }
    return true;
}
