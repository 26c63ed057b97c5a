/*
 * Moving pictures as GIF89a (CompuServe 1990): one palette for all frames, LZW, repeated for ever.
 *
 * Grey pictures have all 256 greys and are exact. Colours are reduced to 256 by median cut
 * (Heckbert 1982) over all frames, on 5 bits of each channel. Nothing is read.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    PALETTE = 256,
    CODES_MAX = 4096,
    CLEAR = PALETTE,
    END = PALETTE + 1,
    FIRST = PALETTE + 2,
    BLOCK = 255,
    LEVELS = 32, /* of a channel, in the table of colours */
    COLOURS = LEVELS * LEVELS * LEVELS,
    FRAMES_MAX = 10000,
    GIF_SIDE_MAX = 65535,
};

/* ---- The palette ----------------------------------------------------------------------------- */

typedef struct {
    uint8_t colour[PALETTE][3];
    uint8_t *index; /* [COLOURS]: the palette's entry of a colour; NULL where all are greys */
} palette;

/* A range of colours' channels, both ends within. */
typedef struct {
    int low[3], high[3];
    uint64_t pixels;
} box;

static size_t cell_of(int r, int g, int b)
{
    return ((size_t)r * LEVELS + (size_t)g) * LEVELS + (size_t)b;
}

/* Shrinks a box to the colours that there are in it, and counts their pixels. */
static void fit_box(const uint32_t *counts, box *b)
{
    box fitted = {{LEVELS, LEVELS, LEVELS}, {-1, -1, -1}, 0};
    for (int r = b->low[0]; r <= b->high[0]; r++)
        for (int g = b->low[1]; g <= b->high[1]; g++)
            for (int c = b->low[2]; c <= b->high[2]; c++) {
                uint32_t count = counts[cell_of(r, g, c)];
                const int at[3] = {r, g, c};
                for (int k = 0; count > 0 && k < 3; k++) {
                    fitted.low[k] = at[k] < fitted.low[k] ? at[k] : fitted.low[k];
                    fitted.high[k] = at[k] > fitted.high[k] ? at[k] : fitted.high[k];
                }
                fitted.pixels += count;
            }
    *b = fitted;
}

static int longest_side(const box *b)
{
    int longest = 0;
    for (int k = 1; k < 3; k++)
        if (b->high[k] - b->low[k] > b->high[longest] - b->low[longest])
            longest = k;
    return longest;
}

/* Pixels of a box whose channel k is at most `most`. */
static uint64_t pixels_up_to(const uint32_t *counts, const box *b, int k, int most)
{
    box part = *b;
    uint64_t sum = 0;
    part.high[k] = most;
    for (int r = part.low[0]; r <= part.high[0]; r++)
        for (int g = part.low[1]; g <= part.high[1]; g++)
            for (int c = part.low[2]; c <= part.high[2]; c++)
                sum += counts[cell_of(r, g, c)];
    return sum;
}

/* Cuts a box across its longest side, where half of its pixels are. */
static void cut_box(const uint32_t *counts, box *b, box *other)
{
    int k = longest_side(b), at = b->low[k];
    while (at < b->high[k] - 1 && pixels_up_to(counts, b, k, at) * 2 < b->pixels)
        at++;
    *other = *b;
    b->high[k] = at;
    other->low[k] = at + 1;
    fit_box(counts, b);
    fit_box(counts, other);
}

/* The box with the most pixels for its longest side; -1 where each has one colour. */
static int next_box(const box *boxes, int count)
{
    int best = -1;
    uint64_t most = 0;
    for (int i = 0; i < count; i++) {
        int side = longest_side(&boxes[i]);
        uint64_t worth = boxes[i].pixels * (uint64_t)(boxes[i].high[side] - boxes[i].low[side]);
        if (worth > most) {
            most = worth;
            best = i;
        }
    }
    return best;
}

/* A box's colours become one, their mean. */
static void name_box(const uint32_t *counts, const box *b, int entry, palette *out)
{
    uint64_t sums[3] = {0};
    for (int r = b->low[0]; r <= b->high[0]; r++)
        for (int g = b->low[1]; g <= b->high[1]; g++)
            for (int c = b->low[2]; c <= b->high[2]; c++) {
                const int at[3] = {r, g, c};
                size_t cell = cell_of(r, g, c);
                out->index[cell] = (uint8_t)entry;
                for (int k = 0; k < 3; k++)
                    sums[k] += (uint64_t)counts[cell] * (uint64_t)at[k];
            }
    for (int k = 0; k < 3; k++) {
        uint64_t mean = b->pixels ? sums[k] * 255 / (b->pixels * (LEVELS - 1)) : 0;
        out->colour[entry][k] = (uint8_t)(mean < 255 ? mean : 255);
    }
}

static size_t cell_of_pixel(const uint8_t *pixel)
{
    return cell_of(pixel[0] >> 3, pixel[1] >> 3, pixel[2] >> 3);
}

static bool make_colours(const sumi_animation *animation, palette *out)
{
    uint32_t *counts = sumi_calloc(COLOURS, sizeof *counts);
    out->index = sumi_calloc(COLOURS, sizeof *out->index);
    if (!counts || !out->index) {
        free(counts);
        return false;
    }
    size_t pixels = (size_t)animation->height * (size_t)animation->width;
    for (int f = 0; f < animation->count; f++)
        for (size_t i = 0; i < pixels; i++)
            counts[cell_of_pixel(animation->frames[f] + 3 * i)]++;
    box boxes[PALETTE] = {{{0, 0, 0}, {LEVELS - 1, LEVELS - 1, LEVELS - 1}, 0}};
    int count = 1, next;
    fit_box(counts, &boxes[0]);
    while (count < PALETTE && (next = next_box(boxes, count)) >= 0)
        cut_box(counts, &boxes[next], &boxes[count++]);
    for (int i = 0; i < count; i++)
        name_box(counts, &boxes[i], i, out);
    free(counts);
    return true;
}

static bool make_palette(const sumi_animation *animation, palette *out)
{
    *out = (palette){.index = NULL};
    if (animation->channels == 3)
        return make_colours(animation, out);
    for (int i = 0; i < PALETTE; i++)
        memset(out->colour[i], i, 3);
    return true;
}

/* ---- LZW ------------------------------------------------------------------------------------- */

typedef struct {
    sumi_text *out;
    uint8_t block[BLOCK];
    int used;      /* bytes of the block */
    uint32_t bits; /* that are not a byte yet, the lowest first */
    int bit_count;
    int width;                    /* of a code */
    int next;                     /* code that will be made */
    uint16_t child[CODES_MAX][2]; /* of a code: its first longer one, and its next sibling */
    uint8_t last[CODES_MAX];      /* the pixel by which it is longer */
} packer;

static void end_block(packer *p)
{
    uint8_t size = (uint8_t)p->used;
    if (p->used > 0) {
        sumi_text_add(p->out, &size, 1);
        sumi_text_add(p->out, p->block, size);
    }
    p->used = 0;
}

static void put_code(packer *p, unsigned code)
{
    p->bits |= code << p->bit_count;
    p->bit_count += p->width;
    for (; p->bit_count >= 8; p->bit_count -= 8, p->bits >>= 8) {
        p->block[p->used++] = (uint8_t)p->bits;
        if (p->used == BLOCK)
            end_block(p);
    }
}

static void clear_codes(packer *p)
{
    put_code(p, CLEAR);
    memset(p->child, 0, sizeof p->child);
    p->next = FIRST;
    p->width = 9;
}

/* The code of a sequence that is one pixel longer; 0 where there is none yet. */
static unsigned find_longer(const packer *p, unsigned code, uint8_t pixel)
{
    unsigned longer = p->child[code][0];
    while (longer && p->last[longer] != pixel)
        longer = p->child[longer][1];
    return longer;
}

static void add_code(packer *p, unsigned code, uint8_t pixel)
{
    p->last[p->next] = pixel;
    p->child[p->next][1] = p->child[code][0];
    p->child[code][0] = (uint16_t)p->next;
    /* The reader is one code behind: the width grows when it has made the last of this one. */
    if (p->next == 1 << p->width)
        p->width++;
    p->next++;
}

static void pack(packer *p, const uint8_t *pixels, size_t count)
{
    p->width = 9;
    clear_codes(p);
    unsigned code = pixels[0];
    for (size_t i = 1; i < count; i++) {
        unsigned longer = find_longer(p, code, pixels[i]);
        if (longer) {
            code = longer;
            continue;
        }
        put_code(p, code);
        if (p->next < CODES_MAX)
            add_code(p, code, pixels[i]);
        else
            clear_codes(p);
        code = pixels[i];
    }
    put_code(p, code);
    if (p->next == 1 << p->width && p->next < CODES_MAX)
        p->width++;
    put_code(p, END);
    if (p->bit_count > 0)
        p->block[p->used++] = (uint8_t)p->bits;
    end_block(p);
}

/* ---- The file -------------------------------------------------------------------------------- */

static void put_u16(sumi_text *out, int value)
{
    const uint8_t bytes[2] = {(uint8_t)value, (uint8_t)(value >> 8)};
    sumi_text_add(out, bytes, 2);
}

static void put_header(sumi_text *out, const sumi_animation *animation, const palette *colours)
{
    static const uint8_t loop[] = {0x21, 0xff, 11,  'N', 'E', 'T', 'S', 'C', 'A', 'P',
                                   'E',  '2',  '.', '0', 3,   1,   0,   0,   0};
    static const uint8_t screen[] = {0xf7, 0, 0}; /* a palette of 256; background; square pixels */
    sumi_text_add(out, "GIF89a", 6);
    put_u16(out, animation->width);
    put_u16(out, animation->height);
    sumi_text_add(out, screen, sizeof screen);
    sumi_text_add(out, colours->colour, sizeof colours->colour);
    sumi_text_add(out, loop, sizeof loop);
}

/* In blocks, as all of a GIF's data. */
static void put_comment(sumi_text *out, const char *text)
{
    size_t left = text ? strlen(text) : 0;
    if (left == 0)
        return;
    sumi_text_add(out, "\x21\xfe", 2);
    while (left > 0) {
        uint8_t size = (uint8_t)(left < BLOCK ? left : BLOCK);
        sumi_text_add(out, &size, 1);
        sumi_text_add(out, text, size);
        text += size;
        left -= size;
    }
    sumi_text_add(out, "", 1);
}

static void put_frame(sumi_text *out, const sumi_animation *animation, int f,
                      const palette *colours, uint8_t *indices, packer *p)
{
    size_t pixels = (size_t)animation->height * (size_t)animation->width;
    const uint8_t *frame = animation->frames[f];
    if (colours->index) {
        for (size_t i = 0; i < pixels; i++)
            indices[i] = colours->index[cell_of_pixel(frame + 3 * i)];
        frame = indices;
    }
    bool last = f == animation->count - 1;
    int ms = last ? animation->last_ms : animation->frame_ms;
    sumi_text_add(out, "\x21\xf9\x04\x04", 4); /* the frame stays until the next */
    put_u16(out, (ms + 5) / 10);
    sumi_text_add(out, "\0\0\x2c\0\0\0\0", 7);
    put_u16(out, animation->width);
    put_u16(out, animation->height);
    sumi_text_add(out, "\0\x08", 2); /* no palette of its own; pixels of 8 bits */
    memset(p, 0, sizeof *p);
    p->out = out;
    pack(p, frame, pixels);
    sumi_text_add(out, "", 1);
}

sumi_status sumi_animation_check(const char *path, const sumi_animation *animation, sumi_error *err)
{
    if ((animation->channels != 1 && animation->channels != 3) || animation->height < 1 ||
        animation->width < 1 || animation->height > GIF_SIDE_MAX ||
        animation->width > GIF_SIDE_MAX || animation->count < 1 || animation->count > FRAMES_MAX)
        return sumi_fail(err, SUMI_EINVAL, "%s: %d frames of %d x %d pixels and %d channels", path,
                         animation->count, animation->width, animation->height,
                         animation->channels);
    return SUMI_OK;
}

sumi_status sumi_gif_write(const char *path, const sumi_animation *animation, const char *text,
                           sumi_error *err)
{
    sumi_status status = sumi_animation_check(path, animation, err);
    if (status != SUMI_OK)
        return status;
    size_t pixels = (size_t)animation->height * (size_t)animation->width;
    palette colours = {.index = NULL};
    packer *p = sumi_calloc(1, sizeof *p);
    uint8_t *indices = sumi_calloc(pixels, 1);
    sumi_text out = {0};
    bool made = p && indices && make_palette(animation, &colours);
    if (made) {
        put_header(&out, animation, &colours);
        put_comment(&out, text);
        for (int f = 0; f < animation->count; f++)
            put_frame(&out, animation, f, &colours, indices, p);
        sumi_text_add(&out, "\x3b", 1);
    }
    if (!made || out.failed)
        status = sumi_fail_memory(err, path, pixels * (size_t)animation->count);
    else
        status = sumi_file_save(path, out.data, out.size, err);
    sumi_text_free(&out);
    free(colours.index);
    free(indices);
    free(p);
    return status;
}
