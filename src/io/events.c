/*
 * Event files of TensorBoard (tensorflow/core/util/event.proto, framework/summary.proto, and the
 * records of TFRecord): scalars and pictures, protocol buffers written by hand.
 *
 * A record is the length of its data (8 bytes, little-endian), a masked CRC-32C of these, the data,
 * and a masked CRC-32C of the data. A file's first event holds its version.
 */
#include <stdlib.h>
#include <string.h>

#include "io/internal.h"

enum {
    RECORD_MAX = 1 << 26,
    TABLE = 256,
    WIRE_VARINT = 0,
    WIRE_64 = 1,
    WIRE_BYTES = 2,
    WIRE_32 = 5
};

/* ---- CRC-32C (RFC 3720, Castagnoli's polynomial, reflected) ---------------------------------- */

static void make_table(uint32_t table[TABLE])
{
    for (uint32_t i = 0; i < TABLE; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
        table[i] = crc;
    }
}

/* As TFRecord stores it: rotated, and with a number added. */
static uint32_t masked_crc(const uint32_t table[TABLE], const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++)
        crc = table[(crc ^ bytes[i]) & 0xFF] ^ crc >> 8;
    crc ^= 0xFFFFFFFFu;
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

/* ---- Writing --------------------------------------------------------------------------------- */

/* A message whose parts have a size of their own before them is written from its end: so the size
 * is known when it is needed. */
typedef struct {
    uint8_t *at; /* the first byte that is written */
} writer;

static size_t put_bytes(writer *w, const void *data, size_t size)
{
    w->at -= size;
    if (size > 0)
        memcpy(w->at, data, size);
    return size;
}

static size_t put_varint(writer *w, uint64_t value)
{
    uint8_t bytes[10];
    size_t size = 0;
    do {
        bytes[size++] = (uint8_t)((value & 0x7F) | (value > 0x7F ? 0x80 : 0));
        value >>= 7;
    } while (value > 0);
    return put_bytes(w, bytes, size);
}

static size_t put_field(writer *w, int number, int wire)
{
    return put_varint(w, (uint64_t)number << 3 | (uint64_t)wire);
}

/* The head of a part of that many bytes, which were put already. */
static size_t put_head(writer *w, int number, size_t size)
{
    size_t head = put_varint(w, size);
    return size + head + put_field(w, number, WIRE_BYTES);
}

static size_t put_text(writer *w, int number, const char *text)
{
    size_t size = put_bytes(w, text, strlen(text));
    return put_head(w, number, size);
}

static size_t put_number(writer *w, int number, uint64_t value)
{
    size_t size = put_varint(w, value);
    return size + put_field(w, number, WIRE_VARINT);
}

/* Event: wall_time = 1, step = 2; the rest of it was put already. */
static void end_event(writer *w, double time, int64_t step)
{
    put_number(w, 2, (uint64_t)step);
    put_bytes(w, &time, sizeof time);
    put_field(w, 1, WIRE_64);
}

static void add_record(sumi_text *out, const uint8_t *data, size_t size)
{
    uint32_t table[TABLE], crc;
    uint64_t length = size;
    make_table(table);
    sumi_text_add(out, &length, sizeof length);
    crc = masked_crc(table, &length, sizeof length);
    sumi_text_add(out, &crc, sizeof crc);
    sumi_text_add(out, data, size);
    crc = masked_crc(table, data, size);
    sumi_text_add(out, &crc, sizeof crc);
}

void sumi_event_version(sumi_text *out, double time)
{
    uint8_t bytes[64];
    writer w = {bytes + sizeof bytes};
    put_text(&w, 3, "brain.Event:2");
    put_bytes(&w, &time, sizeof time);
    put_field(&w, 1, WIRE_64);
    add_record(out, w.at, (size_t)(bytes + sizeof bytes - w.at));
}

void sumi_event_scalars(sumi_text *out, double time, int64_t step, const sumi_event_scalar *scalars,
                        int count)
{
    uint8_t bytes[1024];
    writer w = {bytes + sizeof bytes};
    size_t summary = 0;
    /* Summary: value = 1; Value: tag = 1, simple_value = 2. */
    for (int i = count; i-- > 0;) {
        float value = (float)scalars[i].value;
        size_t size = put_bytes(&w, &value, sizeof value);
        size += put_field(&w, 2, WIRE_32);
        size += put_text(&w, 1, scalars[i].tag);
        summary += put_head(&w, 1, size);
    }
    put_head(&w, 5, summary);
    end_event(&w, time, step);
    add_record(out, w.at, (size_t)(bytes + sizeof bytes - w.at));
}

void sumi_event_png(sumi_text *out, double time, int64_t step, const char *tag, const uint8_t *png,
                    size_t size)
{
    enum { IHDR = 16, HEAD = 26 };
    uint64_t height = 0, width = 0;
    if (size < HEAD || size > RECORD_MAX / 2)
        return;
    for (int i = 0; i < 4; i++) {
        width = width << 8 | png[IHDR + i];
        height = height << 8 | png[IHDR + 4 + i];
    }
    size_t room = size + 256;
    uint8_t *bytes = malloc(room);
    if (!bytes) {
        out->failed = true;
        return;
    }
    writer w = {bytes + room};
    /* Image: height = 1, width = 2, colorspace = 3 (the number of channels), encoded = 4. */
    size_t image = put_bytes(&w, png, size);
    image = put_head(&w, 4, image);
    image += put_number(&w, 3, png[HEAD - 1] == 2 ? 3 : 1);
    image += put_number(&w, 2, width);
    image += put_number(&w, 1, height);
    size_t value = put_head(&w, 4, image);
    value += put_text(&w, 1, tag);
    size_t summary = put_head(&w, 1, value);
    put_head(&w, 5, summary);
    end_event(&w, time, step);
    add_record(out, w.at, (size_t)(bytes + room - w.at));
    free(bytes);
}

/* ---- Reading --------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *at, *end;
} bytes_left;

static bool take_varint(bytes_left *in, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && in->at < in->end; shift += 7) {
        uint8_t byte = *in->at++;
        *out |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

/* The next field of a message: its number, and its value or the bytes of its part. */
static bool take_field(bytes_left *in, int *number, uint64_t *value, bytes_left *part)
{
    uint64_t key, size;
    *part = (bytes_left){in->at, in->at};
    if (!take_varint(in, &key) || key >> 3 == 0 || key >> 3 > 1000)
        return false;
    *number = (int)(key >> 3);
    int wire = (int)(key & 7);
    if (wire == WIRE_VARINT)
        return take_varint(in, value);
    if (wire == WIRE_BYTES && !take_varint(in, &size))
        return false;
    if (wire != WIRE_BYTES)
        size = wire == WIRE_64 ? 8 : wire == WIRE_32 ? 4 : SIZE_MAX;
    if (size > (size_t)(in->end - in->at))
        return false;
    *part = (bytes_left){in->at, in->at + size};
    in->at += size;
    return true;
}

/* Whether a summary has a picture (Value: image = 4). */
static bool has_image(bytes_left summary)
{
    int number;
    uint64_t ignored;
    bytes_left value, part;
    while (summary.at < summary.end && take_field(&summary, &number, &ignored, &value))
        while (value.at < value.end && take_field(&value, &number, &ignored, &part))
            if (number == 4)
                return true;
    return false;
}

/* The step of an event; false where it is none. */
static bool read_event(const uint8_t *data, size_t size, uint64_t *step, bool *image)
{
    bytes_left in = {data, data + size}, part;
    int number;
    uint64_t value;
    *step = 0;
    *image = false;
    while (in.at < in.end) {
        value = 0;
        if (!take_field(&in, &number, &value, &part))
            return false;
        if (number == 2)
            *step = value;
        if (number == 5)
            *image = *image || has_image(part);
    }
    return true;
}

/* Reads a record into *data, which grows: 1; 0 at the end of the file or where it is damaged, and
 * -1 where that cannot be told. */
static int read_record(FILE *file, const uint32_t table[TABLE], uint8_t **data, size_t *room,
                       size_t *size)
{
    uint8_t head[12], tail[4];
    if (fread(head, 1, sizeof head, file) != sizeof head ||
        masked_crc(table, head, 8) != sumi_get32(head + 8) || sumi_get64(head) > RECORD_MAX)
        return ferror(file) ? -1 : 0;
    *size = (size_t)sumi_get64(head);
    if (*size > *room) {
        uint8_t *larger = realloc(*data, *size);
        if (!larger)
            return -1;
        *data = larger;
        *room = *size;
    }
    if (fread(*data, 1, *size, file) != *size || fread(tail, 1, 4, file) != 4)
        return ferror(file) ? -1 : 0;
    return masked_crc(table, *data, *size) == sumi_get32(tail);
}

int64_t sumi_events_scan(FILE *file, int64_t last, bool *image)
{
    uint32_t table[TABLE];
    uint8_t *data = NULL;
    size_t room = 0, size = 0;
    int64_t keep = 0;
    uint64_t step;
    bool picture;
    int found;
    *image = false;
    make_table(table);
    while ((found = read_record(file, table, &data, &room, &size)) > 0 &&
           read_event(data, size, &step, &picture) && step <= (uint64_t)last) {
        *image = *image || (picture && step == (uint64_t)last);
        keep += (int64_t)size + 16;
    }
    free(data);
    return found < 0 ? -1 : keep;
}
