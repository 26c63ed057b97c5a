/*
 * Bytes that grow as they are added to.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

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
    int size = sumi_vformat(NULL, 0, format, args);
    va_end(args);
    if (size < 0)
        text->failed = true;
    else if (reserve(text, (size_t)size)) {
        sumi_vformat(text->data + text->size, (size_t)size + 1, format, again);
        text->size += (size_t)size;
    }
    va_end(again);
}

void sumi_text_free(sumi_text *text)
{
    free(text->data);
    *text = (sumi_text){0};
}
