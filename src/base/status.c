/*
 * Status names and one-line error messages.
 *
 * A message may quote bytes from an untrusted file and ends up on somebody's terminal or in a log,
 * so it is kept to one line of UTF-8 without control characters. Where it is too long, the texts
 * that it quotes (paths, mostly) lose their middles, so that the reason is always there.
 */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUOTES_MAX 16 /* texts of a message that can be elided */
#define QUOTE_MIN 40  /* bytes that are left of one, at least */
#define ELLIPSIS "..."

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

/* ---- Messages that are too long -------------------------------------------------------------- */

/* A text that a message quotes: where in the message it is. */
typedef struct {
    size_t begin, length;
} quote;

/* The end of the conversion that begins at format[0] == '%'. */
static const char *conversion_end(const char *format)
{
    const char *at = format + 1;
    at += strspn(at, "-+ #0123456789.*hljzt");
    return *at ? at + 1 : at;
}

/* How long the beginning of the format, up to `end`, becomes. head has room for the format. */
static size_t formatted_length(const char *format, const char *end, char *head, va_list args)
{
    va_list again;
    memcpy(head, format, (size_t)(end - format));
    head[end - format] = '\0';
    va_copy(again, args);
    int length = sumi_vformat(NULL, 0, head, again);
    va_end(again);
    return length < 0 ? 0 : (size_t)length;
}

/* Finds what the %s of a format became; returns how many there are. */
static int find_quotes(const char *format, char *head, quote *quotes, va_list args)
{
    int count = 0;
    const char *end;
    for (const char *at = strchr(format, '%'); at && count < QUOTES_MAX; at = strchr(end, '%')) {
        end = conversion_end(at);
        if (end[-1] != 's')
            continue;
        quote *found = &quotes[count++];
        found->begin = formatted_length(format, at, head, args);
        found->length = formatted_length(format, end, head, args) - found->begin;
    }
    return count;
}

/* The most bytes that each quote may have so that all of `length` bytes fit into room. */
static size_t quote_room(const quote *quotes, int count, size_t length, size_t room)
{
    size_t most = room;
    for (;; most--) {
        size_t total = length;
        for (int i = 0; i < count; i++)
            total -= quotes[i].length > most ? quotes[i].length - most : 0;
        if (total <= room || most <= QUOTE_MIN)
            return most;
    }
}

/* How many bytes before text[at] an escape "\xNN" begins that goes on there; 0 where none does. */
static size_t inside_escape(const char *text, size_t at)
{
    for (size_t back = 1; back < 4 && back <= at; back++)
        if (text[at - back] == '\\' && text[at - back + 1] == 'x')
            return back;
    return 0;
}

/* Copies a quote without its middle, cut between characters: of a path the end tells more than the
 * beginning. */
static size_t elide(char *out, const char *text, size_t length, size_t most)
{
    const size_t dots = sizeof ELLIPSIS - 1;
    size_t head = sumi_utf8_whole(text, (most - dots) / 3);
    head -= inside_escape(text, head);
    size_t tail = length - (most - dots - head), escape = inside_escape(text, tail);
    tail += escape ? 4 - escape : 0;
    while (tail < length && ((unsigned char)text[tail] & 0xC0) == 0x80)
        tail++;
    memcpy(out, text, head);
    memcpy(out + head, ELLIPSIS, dots);
    memcpy(out + head + dots, text + tail, length - tail);
    return head + dots + length - tail;
}

/* Shortens a message of `length` bytes in place. */
static void shorten(char *text, size_t length, const quote *quotes, int count, size_t room)
{
    size_t most = quote_room(quotes, count, length, room), from = 0, to = 0;
    for (int i = 0; i < count; i++) {
        size_t between = quotes[i].begin - from;
        memmove(text + to, text + from, between);
        to += between;
        from = quotes[i].begin + quotes[i].length;
        if (quotes[i].length > most) {
            char kept[sizeof(sumi_error)];
            size_t size = elide(kept, text + quotes[i].begin, quotes[i].length, most);
            memcpy(text + to, kept, size);
            to += size;
        } else {
            memmove(text + to, text + quotes[i].begin, quotes[i].length);
            to += quotes[i].length;
        }
    }
    memmove(text + to, text + from, length - from + 1);
    to += length - from;
    if (to > room)
        text[sumi_utf8_whole(text, room)] = '\0';
}

/* Cleans `length` bytes at text to out, which has room for four times as many; returns how many
 * they became. */
static size_t clean_part(char *out, char *text, size_t length)
{
    char after = text[length];
    text[length] = '\0';
    size_t size = sumi_clean_text(out, 4 * length + 1, text);
    text[length] = after;
    return size;
}

/* Cleans a message, which may make it longer: what it quotes is elsewhere after that. */
static size_t clean_quotes(char *out, char *text, size_t length, quote *quotes, int count)
{
    size_t from = 0, to = 0;
    for (int i = 0; i < count; i++) {
        to += clean_part(out + to, text + from, quotes[i].begin - from);
        from = quotes[i].begin + quotes[i].length;
        size_t size = clean_part(out + to, text + quotes[i].begin, quotes[i].length);
        quotes[i] = (quote){to, size};
        to += size;
    }
    return to + clean_part(out + to, text + from, length - from);
}

/* Formats a message of `length` bytes into out, cleaned and shortened; false where memory is out.
 */
static bool format_shortened(char *out, size_t size, size_t length, const char *format,
                             va_list args)
{
    quote quotes[QUOTES_MAX];
    char *text = malloc(length + 1), *head = malloc(strlen(format) + 1),
         *clean = malloc(4 * length + 1);
    bool good = text && head && clean;
    if (good) {
        va_list again;
        va_copy(again, args);
        sumi_vformat(text, length + 1, format, again);
        va_end(again);
        int count = find_quotes(format, head, quotes, args);
        shorten(clean, clean_quotes(clean, text, length, quotes, count), quotes, count, size - 1);
        memcpy(out, clean, strlen(clean) + 1);
    }
    free(text);
    free(head);
    free(clean);
    return good;
}

/* ---- Failing --------------------------------------------------------------------------------- */

sumi_status sumi_vfail(sumi_error *err, sumi_status status, const char *format, va_list args)
{
    if (!err)
        return status;
    /* Arguments may point into err->text, so the message is made beside it. */
    char text[sizeof err->text], clean[sizeof err->text];
    va_list again;
    va_copy(again, args);
    int length = sumi_vformat(text, sizeof text, format, args);
    if (length < 0) {
        length = 0;
        text[0] = '\0';
    }
    size_t size = sumi_clean_text(clean, sizeof clean, text);
    /* Cleaning may have cut it: what it makes longer is bytes that are no text. */
    bool whole = (size_t)length < sizeof text && size + 4 < sizeof clean;
    if (!whole && format_shortened(text, sizeof text, (size_t)length, format, again))
        memcpy(clean, text, sizeof clean);
    va_end(again);
    memcpy(err->text, clean, sizeof clean);
    return status;
}

sumi_status sumi_fail(sumi_error *err, sumi_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    sumi_vfail(err, status, format, args);
    va_end(args);
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
    return sumi_fail(err, SUMI_EIO, "%s: %s", path, strerror(error));
}
