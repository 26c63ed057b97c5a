/*
 * Moving pictures as APNG (www.w3.org/TR/png-3, "Animated PNG"): each frame is encoded as a PNG of
 * its own, whose image data become the frame's. A program that knows no APNG shows the first frame.
 */
#include <zlib.h>

#include "io/internal.h"

#include <stdlib.h>
#include <string.h>

enum { SIGNATURE = 8, AROUND = 12 }; /* bytes of a chunk beside its data */

typedef struct {
    sumi_text out;
    uint32_t sequence; /* number of the next fcTL or fdAT */
} writer;

static void put_u32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Data may be in two parts, as those of a frame behind its number. */
static void put_chunk(sumi_text *out, const char *type, const uint8_t *first, uint32_t first_size,
                      const uint8_t *second, uint32_t second_size)
{
    uint8_t head[8], sum[4];
    put_u32(head, first_size + second_size);
    memcpy(head + 4, type, 4);
    uLong crc = crc32(0, head + 4, 4);
    crc = crc32(crc, first, first_size);
    if (second_size > 0)
        crc = crc32(crc, second, second_size);
    put_u32(sum, (uint32_t)crc);
    sumi_text_add(out, head, sizeof head);
    sumi_text_add(out, first, first_size);
    if (second_size > 0)
        sumi_text_add(out, second, second_size);
    sumi_text_add(out, sum, sizeof sum);
}

static void put_control(writer *to, const sumi_animation *animation, int f)
{
    uint8_t data[26] = {0}; /* each frame replaces the whole picture */
    int ms = f == animation->count - 1 ? animation->last_ms : animation->frame_ms;
    put_u32(data, to->sequence++);
    put_u32(data + 4, (uint32_t)animation->width);
    put_u32(data + 8, (uint32_t)animation->height);
    data[20] = (uint8_t)(ms >> 8);
    data[21] = (uint8_t)ms;
    data[22] = 1000 >> 8;
    data[23] = 1000 & 255;
    put_chunk(&to->out, "fcTL", data, sizeof data, NULL, 0);
}

/* The chunks of a frame's PNG: all of the first one's, of the others the image's data alone. */
static void put_frame(writer *to, const sumi_animation *animation, int f, const sumi_text *png)
{
    const uint8_t *data = (const uint8_t *)png->data;
    bool began = false;
    if (f == 0)
        sumi_text_add(&to->out, data, SIGNATURE);
    for (size_t at = SIGNATURE, size; at + AROUND <= png->size; at += AROUND + size) {
        const uint8_t *type = data + at + 4;
        size = get_u32(data + at);
        bool pixels = memcmp(type, "IDAT", 4) == 0;
        if (pixels && !began)
            put_control(to, animation, f);
        began = began || pixels;
        if (f == 0 && memcmp(type, "IEND", 4) != 0)
            sumi_text_add(&to->out, data + at, AROUND + size);
        if (f == 0 && memcmp(type, "IHDR", 4) == 0) {
            uint8_t control[8] = {0}; /* repeated for ever */
            put_u32(control, (uint32_t)animation->count);
            put_chunk(&to->out, "acTL", control, sizeof control, NULL, 0);
        }
        if (f > 0 && pixels) {
            uint8_t number[4];
            put_u32(number, to->sequence++);
            put_chunk(&to->out, "fdAT", number, sizeof number, type + 4, (uint32_t)size);
        }
    }
}

sumi_status sumi_apng_write(const char *path, const sumi_animation *animation, const char *text,
                            sumi_error *err)
{
    sumi_status status = sumi_animation_check(path, animation, err);
    writer to = {.sequence = 0};
    for (int f = 0; f < animation->count && status == SUMI_OK; f++) {
        /* The encoder only reads the pixels. */
        const sumi_image frame = {animation->height, animation->width, animation->channels,
                                  (uint8_t *)animation->frames[f]};
        sumi_text png = {0};
        status = sumi_png_encode(path, &frame, f == 0 ? text : NULL, NULL, &png, err);
        if (status == SUMI_OK)
            put_frame(&to, animation, f, &png);
        sumi_text_free(&png);
    }
    if (status == SUMI_OK) {
        put_chunk(&to.out, "IEND", (const uint8_t *)"", 0, NULL, 0);
        status = to.out.failed ? sumi_fail_memory(err, path, to.out.size)
                               : sumi_file_save(path, to.out.data, to.out.size, err);
    }
    sumi_text_free(&to.out);
    return status;
}
