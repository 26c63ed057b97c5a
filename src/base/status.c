/*
 * Status names and one-line error messages.
 *
 * A message may quote bytes from an untrusted file and ends up on somebody's terminal or in a log,
 * so it is kept to one line without control characters, and is cut at a UTF-8 boundary.
 */
#include "base/base.h"

#include <stdio.h>
#include <string.h>

const char *sumi_status_name(sumi_status status)
{
    switch (status) {
    case SUMI_OK:
        return "SUMI_OK";
    case SUMI_CANCELLED:
        return "SUMI_CANCELLED";
    case SUMI_ENOMEM:
        return "SUMI_ENOMEM";
    case SUMI_EINVAL:
        return "SUMI_EINVAL";
    case SUMI_EIO:
        return "SUMI_EIO";
    case SUMI_EFORMAT:
        return "SUMI_EFORMAT";
    case SUMI_ESHAPE:
        return "SUMI_ESHAPE";
    case SUMI_EUNSUPPORTED:
        return "SUMI_EUNSUPPORTED";
    }
    return "unknown status";
}

/* Where a text that was cut at `length` bytes has to end so that no UTF-8 sequence is split. */
static size_t utf8_end(const char *text, size_t length)
{
    size_t start = length;
    while (start > 0 && length - start < 4 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return length;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    return length - (start - 1) < need ? start - 1 : length;
}

/* Bytes of the UTF-8 sequence that begins here; 1 where none does. */
static size_t utf8_length(const unsigned char *text)
{
    size_t length = text[0] >= 0xF0 ? 4 : text[0] >= 0xE0 ? 3 : text[0] >= 0xC2 ? 2 : 1;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xC0) != 0x80)
            return 1;
    return length;
}

/* Control characters, DEL and the C1 set, which terminals obey too: U+0080..U+009F, and in an 8-bit
 * terminal those bytes by themselves. */
void sumi_make_printable(char *text)
{
    size_t length;
    for (unsigned char *c = (unsigned char *)text; *c; c += length) {
        length = utf8_length(c);
        if (*c < 0x20 || (length == 1 && *c >= 0x7F && *c <= 0x9F))
            *c = '?';
        else if (c[0] == 0xC2 && c[1] <= 0x9F)
            c[0] = c[1] = '?';
    }
}

sumi_status sumi_fail(sumi_error *err, sumi_status status, const char *format, ...)
{
    if (!err)
        return status;
    /* Arguments may point into err->text, so the message is made beside it. */
    char text[sizeof err->text];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length < 0)
        text[0] = '\0';
    else if ((size_t)length >= sizeof text)
        text[utf8_end(text, sizeof text - 1)] = '\0';
    sumi_make_printable(text);
    memcpy(err->text, text, sizeof text);
    return status;
}

sumi_status sumi_fail_prefix(sumi_error *err, sumi_status status, const char *prefix)
{
    if (!err)
        return status;
    return sumi_fail(err, status, "%s: %s", prefix, err->text);
}

sumi_status sumi_fail_memory(sumi_error *err, const char *what, size_t bytes)
{
    return sumi_fail(err, SUMI_ENOMEM, "out of memory: %s (%zu bytes)", what, bytes);
}

sumi_status sumi_fail_errno(sumi_error *err, const char *path, int error)
{
    /* The reason must not fall off the end of the message: of a very long path, the end is kept. */
    const size_t most = 300;
    size_t length = strlen(path);
    const char *shown = length > most ? path + length - most : path;
    while (((unsigned char)*shown & 0xC0) == 0x80)
        shown++;
    return sumi_fail(err, SUMI_EIO, "%s%s: %s", length > most ? "..." : "", shown, strerror(error));
}
