/*
 * Status names and one-line error messages.
 *
 * A message may quote bytes from an untrusted file and ends up on somebody's terminal or in a log,
 * so it is kept to one line of UTF-8 without control characters, and is cut between two characters.
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

sumi_status sumi_fail(sumi_error *err, sumi_status status, const char *format, ...)
{
    if (!err)
        return status;
    /* Arguments may point into err->text, so the message is made beside it. */
    char text[sizeof err->text];
    va_list args;
    va_start(args, format);
    int length = sumi_vformat(text, sizeof text, format, args);
    va_end(args);
    if (length < 0)
        text[0] = '\0';
    else if ((size_t)length >= sizeof text)
        text[sumi_utf8_whole(text, sizeof text - 1)] = '\0';
    sumi_clean_text(err->text, sizeof err->text, text);
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
