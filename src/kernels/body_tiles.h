/*
 * Convolution as a product of bfloat16 on matrix tiles (tiles.h): direct, as body_gemm.h's, because
 * tiles multiply many times faster than vectors do, which is more than Winograd saves.
 *
 * Pixels are numbered through rows and images so that a tap is one distance, the same for all: a
 * row ends with `pad` zeros that are also the border before the next row, and `pad` rows of zeros
 * stand between two images. Results are computed for these positions in between as well, and
 * ignored. A sum of a pixel is over (row, column, 32 channels) of the window in this order.
 *
 * Packed weights: [16 outputs][tap][32 inputs] as tiles of [16 pairs of inputs][16 outputs][2],
 * zero past cin and cout.
 */
#ifndef SUMI_BODY_TILES_H
#define SUMI_BODY_TILES_H

#include "kernels/body_gemm.h"
#include "kernels/tiles.h"

#define TILES_STEP (2 * TILE_ROWS) /* rows and columns of a product that are in registers */
/* Outputs between two stores: body_store takes that many channels at a time. */
#define TILES_BLOCK 64
/* Pixels of a tile of the plan: enough to use the weights often. */
#define TILES_PIXELS 800
/* Floats that are loaded before they are rounded, to stay in the first-level cache. */
#define TILES_CHUNK (6 * 1024)

/* ---- Product --------------------------------------------------------------------------------- */

/* c[rows][columns] (+)= a b. The depth is `runs` runs of `steps` steps of TILE_DEPTH numbers. */
typedef struct {
    int runs, steps;
    size_t run[9]; /* where a run of a row of `a` begins */
    size_t lda;    /* in bfloat16 */
    size_t panel;  /* of b: floats from 16 columns to the next */
    size_t ldc;
    bool add;
} tiles_product;

/* 16 m rows and 16 n columns of it. */
INLINE void tiles_micro(const tiles_product *p, const uint16_t *a, const float *b, float *c,
                        const int m, const int n)
{
    tile_bank t;
    const size_t stride = p->lda * sizeof *a, below = TILE_ROWS * p->lda, panel = p->panel;
    const size_t ldc = p->ldc * sizeof *c;
    float *low = c + TILE_ROWS * p->ldc;
    const int runs = p->runs, steps = p->steps;
    if (p->add) {
        tile_load(&t, 0, c, ldc);
        if (n > 1)
            tile_load(&t, 1, c + TILE_ROWS, ldc);
        if (m > 1)
            tile_load(&t, 2, low, ldc);
        if (m > 1 && n > 1)
            tile_load(&t, 3, low + TILE_ROWS, ldc);
    } else {
        tile_zero(&t, 0);
        tile_zero(&t, 1);
        tile_zero(&t, 2);
        tile_zero(&t, 3);
    }
    for (int r = 0; r < runs; r++) {
        const uint16_t *x = a + p->run[r];
        for (int i = 0; i < steps; i++, x += TILE_DEPTH, b += TILE_WORDS) {
            tile_load(&t, 4, x, stride);
            tile_load(&t, 6, b, TILE_BYTES);
            tile_dot(&t, 0, 4, 6);
            if (n > 1) {
                tile_load(&t, 7, b + panel, TILE_BYTES);
                tile_dot(&t, 1, 4, 7);
            }
            if (m > 1) {
                tile_load(&t, 5, x + below, stride);
                tile_dot(&t, 2, 5, 6);
            }
            if (m > 1 && n > 1)
                tile_dot(&t, 3, 5, 7);
        }
    }
    tile_store(&t, 0, c, ldc);
    if (n > 1)
        tile_store(&t, 1, c + TILE_ROWS, ldc);
    if (m > 1)
        tile_store(&t, 2, low, ldc);
    if (m > 1 && n > 1)
        tile_store(&t, 3, low + TILE_ROWS, ldc);
}

/* Rows and columns are rounded up to 16; what that adds to a may hold anything. */
static void tiles_multiply(const tiles_product *p, int rows, int columns, const uint16_t *a,
                           const float *b, float *c)
{
    for (int k = 0; k < columns; k += TILES_STEP, b += 2 * p->panel) {
        bool wide = columns - k > TILE_ROWS;
        for (int i = 0; i < rows; i += TILES_STEP) {
            bool tall = rows - i > TILE_ROWS;
            const uint16_t *ai = a + (size_t)i * p->lda;
            float *ci = c + (size_t)i * p->ldc + k;
            if (tall && wide)
                tiles_micro(p, ai, b, ci, 2, 2);
            else if (tall)
                tiles_micro(p, ai, b, ci, 2, 1);
            else if (wide)
                tiles_micro(p, ai, b, ci, 1, 2);
            else
                tiles_micro(p, ai, b, ci, 1, 1);
        }
    }
}

/* ---- Positions ------------------------------------------------------------------------------- */

/* Positions are counted from the first pixel of a result; those of a strip from the zero that is
 * left of and above it, so that tap (y, x) of position i is number i + y * pitch + x. */
typedef struct {
    int pad;
    int pitch, image; /* from row to row, from image to image */
    int count;        /* to the last pixel */
    int border;       /* how many more a strip has */
} tiles_grid;

INLINE tiles_grid tiles_grid_make(const sumi_conv_spec *s, int images, int rows)
{
    tiles_grid g = {.pad = s->ksize / 2};
    g.pitch = s->w + g.pad;
    g.image = (rows + g.pad) * g.pitch;
    g.count = (images - 1) * g.image + (rows - 1) * g.pitch + s->w;
    g.border = 2 * g.pad * (g.pitch + 1);
    return g;
}

INLINE tiles_product tiles_product_make(const sumi_conv_spec *s, const tiles_grid *g, size_t pixel)
{
    tiles_product p = {.runs = s->ksize * s->ksize};
    for (int tap = 0; tap < p.runs; tap++)
        p.run[tap] = (size_t)(tap / s->ksize * g->pitch + tap % s->ksize) * pixel;
    return p;
}

/* Two numbers of each lane as a pair: a first in memory. */
INLINE vf tiles_pair(vf a, vf b)
{
    return (vf)((vu)v_round_bf16(a) >> 16 | (vu)v_round_bf16(b));
}

/* ---- Forward and input gradient -------------------------------------------------------------- */

INLINE int tiles_steps(int channels)
{
    return (channels + TILE_DEPTH - 1) / TILE_DEPTH;
}

/* Numbers from pixel to pixel of a strip: 64 bytes more where a power of two would make all 16 rows
 * of a tile compete for a few sets of the cache. */
INLINE size_t tiles_pixel(int channels)
{
    int steps = tiles_steps(channels);
    return (size_t)(steps % 4 == 0 ? steps + 1 : steps) * TILE_DEPTH;
}

typedef struct {
    tiles_grid grid;
    size_t pixel;
    uint16_t *strip; /* [count, rounded up, and border][pixel] */
    float *chunk;    /* some rows of it, on their way */
    float *out;      /* [count, rounded up][TILES_BLOCK] */
} tiles_area;

INLINE int tiles_chunk_rows(const sumi_conv_spec *s, int pitch)
{
    return max_int((int)(TILES_CHUNK / ((size_t)pitch * (size_t)s->cin)), 1);
}

/* Where they are in scratch, and how many floats that takes. */
INLINE size_t tiles_area_make(const sumi_conv_spec *s, int images, int rows, float *scratch,
                              tiles_area *a)
{
    *a = (tiles_area){.grid = tiles_grid_make(s, images, rows), .pixel = tiles_pixel(s->cin)};
    const tiles_grid *g = &a->grid;
    size_t count = round_up((size_t)g->count, TILES_STEP);
    size_t strip = (count + (size_t)g->border) * (a->pixel / 2);
    size_t chunk = (size_t)(tiles_chunk_rows(s, g->pitch) * g->pitch) * (size_t)s->cin;
    size_t out = strip + round_up(chunk, 16);
    if (scratch != NULL) {
        a->strip = (uint16_t *)(void *)scratch;
        a->chunk = scratch + strip;
        a->out = scratch + out;
    }
    return out + count * TILES_BLOCK;
}

/* `count` pixels of c channels, rounded, with zeros up to a multiple of TILE_DEPTH. */
static void tiles_round(const float *from, int count, int c, uint16_t *to, size_t pixel)
{
    size_t gap = (size_t)(tiles_steps(c) * TILE_DEPTH - c) * sizeof *to;
    for (int i = 0; i < count; i++, from += c, to += pixel) {
        int k = 0;
        for (; k + VW <= c; k += VW)
            v_put_as(true, to, (size_t)k, v_round_bf16(v_load(from + k)), false);
        for (; k < c; k++)
            v_put_as(true, to, (size_t)k, v_round_bf16(v_splat(from[k])), true);
        memset(to + c, 0, gap);
    }
}

static void tiles_fill(const tiles_area *a, const sumi_conv *conv, const sumi_tile *tile)
{
    const sumi_conv_spec *s = conv->spec;
    const tiles_grid *g = &a->grid;
    int tall = tile->rows + 2 * g->pad, step = tiles_chunk_rows(s, g->pitch);
    memset(a->strip, 0, (size_t)g->pad * a->pixel * sizeof *a->strip);
    for (int i = 0; i < tile->images; i++)
        for (int y = 0; y < tall; y += step) {
            sumi_strip chunk = {.n = tile->n0 + i,
                                .y0 = tile->y0 - g->pad + y,
                                .rows = min_int(tall - y, step),
                                .cols = g->pitch,
                                .cn = s->cin,
                                .dst = a->chunk,
                                .row_stride = (size_t)g->pitch * (size_t)s->cin,
                                .pixel_stride = (size_t)s->cin};
            body_fill(conv->sources, conv->source_count, s->h, s->w, &chunk);
            tiles_round(a->chunk, chunk.rows * g->pitch, s->cin,
                        a->strip + (size_t)(g->pad + i * g->image + y * g->pitch) * a->pixel,
                        a->pixel);
        }
}

static void tiles_tile(const sumi_conv *conv, const sumi_tile *tile, float *scratch)
{
    const sumi_conv_spec *s = conv->spec;
    tiles_area a;
    tiles_area_make(s, tile->images, tile->rows, scratch, &a);
    tiles_fill(&a, conv, tile);
    tiles_product product = tiles_product_make(s, &a.grid, a.pixel);
    product.steps = tiles_steps(s->cin);
    product.lda = a.pixel;
    product.panel = (size_t)(product.runs * product.steps) * TILE_WORDS;
    product.ldc = TILES_BLOCK;
    tile_configure();
    for (int k = 0; k < tile->kn; k += TILES_BLOCK) {
        int kn = min_int(tile->kn - k, TILES_BLOCK);
        const float *b = conv->packed + (size_t)((tile->k0 + k) / TILE_ROWS) * product.panel;
        tiles_multiply(&product, a.grid.count, kn, a.strip, b, a.out);
        for (int i = 0; i < tile->images; i++)
            store_tile(conv, tile, i, tile->k0 + k, kn,
                       a.out + (size_t)(i * a.grid.image) * TILES_BLOCK,
                       (size_t)a.grid.pitch * TILES_BLOCK, TILES_BLOCK);
    }
    tile_release();
}

static bool tiles_can(const sumi_conv_spec *s)
{
    (void)s;
    return true;
}

/* Without being told to: where they are fast, and not for a few channels, which would be padded. */
static bool tiles_pay(const sumi_conv_spec *s)
{
    return TILES_IN_HARDWARE && s->cin >= TILE_ROWS && s->cout >= TILE_ROWS;
}

/* Cuts a convolution whose strip takes `strip` floats a pixel, and its result `outputs`. */
INLINE void tiles_cut(sumi_conv_spec *s, size_t strip, size_t outputs, int most)
{
    sumi_conv_spec cut = *s;
    cut.cin = (int)strip;
    plan_tiles(&cut, outputs, most);
    s->images = cut.images;
    s->rows = cut.rows;
    s->bands = cut.bands;
}

static void tiles_plan(sumi_conv_spec *s)
{
    tiles_area area;
    tiles_cut(s, tiles_pixel(s->cin) / 2, TILES_BLOCK, TILES_PIXELS);
    s->kblock = TILES_BLOCK;
    s->packed_floats = (size_t)(s->ksize * s->ksize) * (size_t)tiles_steps(s->cin) *
                       (round_up((size_t)s->cout, TILE_ROWS) / TILE_ROWS) * TILE_WORDS;
    s->partial_floats = 0;
    s->scratch_floats = tiles_area_make(s, s->images, s->rows, NULL, &area);
}

/* One tile: inputs c0.. of outputs k0... */
static void tiles_pack_tile(const sumi_conv_spec *s, const float *weights, const float *scale,
                            int tap, int c0, int k0, float *to)
{
    float w[TILE_DEPTH][TILE_ROWS] = {{0}};
    int cn = min_int(s->cin - c0, TILE_DEPTH), kn = min_int(s->cout - k0, TILE_ROWS);
    for (int c = 0; c < cn; c++)
        for (int k = 0; k < kn; k++)
            w[c][k] = weight_at(s, weights, scale, tap, c0 + c, k0 + k);
    for (int c = 0; c < TILE_DEPTH; c += 2, to += TILE_ROWS)
        for (int k = 0; k < TILE_ROWS; k += VW)
            v_store(to + k, tiles_pair(v_load(&w[c][k]), v_load(&w[c + 1][k])));
}

static void tiles_pack(const sumi_conv_spec *s, const float *weights, const float *scale,
                       float *packed, int piece, int pieces)
{
    int taps = s->ksize * s->ksize, steps = tiles_steps(s->cin);
    int64_t tiles = (int64_t)((s->cout + TILE_ROWS - 1) / TILE_ROWS) * taps * steps;
    int64_t end = tiles * (piece + 1) / pieces;
    for (int64_t i = tiles * piece / pieces; i < end; i++) {
        int tap = (int)(i / steps % taps), k0 = (int)(i / steps / taps) * TILE_ROWS;
        tiles_pack_tile(s, weights, scale, tap, (int)(i % steps) * TILE_DEPTH, k0,
                        packed + (size_t)i * TILE_WORDS);
    }
}

#endif
