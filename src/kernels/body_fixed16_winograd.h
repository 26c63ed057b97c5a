/*
 * Winograd convolution (body_winograd.h) with products of 16-bit integers (body_fixed16.h): forward
 * and gradient of the input on tiles of 4x4 and 3x3, whose points amplify rounding less than those
 * of 6x6; gradient of the weights on the tiles that float32 takes. Transforms, what is pending on
 * the input and the store are float32's.
 *
 * Packed weights: [points][panels of NR outs][words][NR] and then the reciprocal scales
 * [points][outs rounded up to NR].
 */
#ifndef SUMI_BODY_FIXED16_WINOGRAD_H
#define SUMI_BODY_FIXED16_WINOGRAD_H

#include "kernels/body_fixed16.h"

#define FIXED_SIDE 6 /* points in a dimension of forward and gradient of the input */
#define FIXED_POINTS (FIXED_SIDE * FIXED_SIDE)
/* Chosen by measuring: `sumi bench train --precision fixed16 --profile` shows what others do.
 * Tiles in a block: 49 are one image of 28x28, 32 two of 14x14, 40 ten of 7x7. */
#define FIXED_TILES 40

/* ---- Plan ------------------------------------------------------------------------------------ */

/* The transformed input: [points][tiles][words], padded. */
typedef struct {
    word_any *base;
    size_t row, point;
} fixed_area;

INLINE fixed_area fixed_area_make(float *base, int tiles, int words)
{
    size_t row = (size_t)words + FIXED_PAD;
    return (fixed_area){(word_any *)(void *)base, row, (size_t)tiles * row + FIXED_PAD};
}

/* Where a tile's buffers lie in its scratch, in floats, and how much that is. */
typedef struct {
    size_t scales, products, band, strip, columns, total; /* the transformed input is at 0 */
} fixed_scratch;

static fixed_scratch fixed_scratch_of(const sumi_conv_spec *s, int tiles)
{
    int words = fixed_words(s->cin);
    fixed_scratch l;
    l.scales = FIXED_POINTS * fixed_area_make(NULL, tiles, words).point;
    l.products = l.scales + round_up((size_t)(FIXED_POINTS * fixed_runs(words) * tiles), 16);
    l.band = l.products + wino_area_floats(FIXED_POINTS, tiles, WINO_BLOCK);
    l.strip = l.band + (size_t)s->rows * (size_t)s->w * WINO_BLOCK;
    l.columns = l.strip + wino_strip_floats(4, s->w);
    l.total = l.columns + wino_columns_floats(4, s->w);
    return l;
}

static size_t fixed_panels(const sumi_conv_spec *s)
{
    return round_up((size_t)s->cout, NR) / NR;
}

static void wino16_plan(sumi_conv_spec *s)
{
    s->kblock = 2 * NR < WINO_BLOCK ? 2 * NR : WINO_BLOCK / 2;
    wino_plan_cut(s, FIXED_TILES);
    s->packed_floats = FIXED_POINTS * fixed_panels(s) * NR * (size_t)(fixed_words(s->cin) + 1);
    s->partial_floats = 0;
    s->scratch_floats = fixed_scratch_of(s, wino_plan_tiles(s)).total;
}

/* ---- Input ----------------------------------------------------------------------------------- */

typedef struct {
    fixed_area v;
    float *scales; /* reciprocals, [points][runs][tiles] */
    size_t scale_point, scale_run;
} fixed_input;

/* One tile of cn channels, at most FIXED_RUN: the rows of its columns that are transformed, and all
 * of its points rounded. */
INLINE void fixed_input_tile(const int tall, const int wide, const float *src, size_t stride,
                             int cn, word_any *dst, size_t point, float *scales, size_t scale_point)
{
    float values[FIXED_POINTS][FIXED_RUN], norms[FIXED_ROWS * (SUMI_VB / sizeof(float))];
    float factors[FIXED_ROWS];
    int channels = (int)round_up((size_t)cn, 32), points = (tall + 2) * (wide + 2);
    for (int i = 0; i < tall + 2; i++) {
        vf norm[FIXED_SIDE];
        UNROLL
        for (int x = 0; x < wide + 2; x++)
            norm[x] = v_zero();
        for (int c = 0; c < cn; c += VW) {
            vf d[FIXED_SIDE], t[FIXED_SIDE];
            UNROLL
            for (int x = 0; x < wide + 2; x++)
                d[x] = v_load(src + (size_t)i * stride + x * cn + c);
            wino_bt(4, wide, d, t);
            UNROLL
            for (int x = 0; x < wide + 2; x++) {
                v_store(&values[i * (wide + 2) + x][c], t[x]);
                norm[x] = v_fma(t[x], t[x], norm[x]);
            }
        }
        UNROLL
        for (int x = 0; x < wide + 2; x++) {
            v_store(norms + (i * (wide + 2) + x) * VW, norm[x]);
            for (int c = cn; c < channels; c += VW)
                v_store(&values[i * (wide + 2) + x][c], v_zero());
        }
    }
    for (int p = points; p % VW != 0; p++)
        v_store(norms + p * VW, v_zero());
    float inverse[FIXED_POINTS];
    fixed_scales(points, norms, factors, inverse, 1);
    for (int i = 0, p = 0; i < tall + 2; i++)
        for (int x = 0; x < wide + 2; x++, p++) {
            size_t at = (size_t)(FIXED_SIDE * i + x);
            scales[at * scale_point] = inverse[p];
            fixed_round_row(values[p], channels, factors[p], dst + at * point);
        }
}

/* One tile row of cn channels from c0 on. */
static void fixed_input_tiles(const wino_grid *g, int image, int ty, const wino_lines *lines,
                              int cn, float *columns, const fixed_input *to, int c0)
{
    int count = (g->w + 2) * cn;
    bool tall = ty < g->ny[0];
    if (tall)
        wino_columns(WINO_INPUT, 4, 4, lines, cn, columns);
    else
        wino_columns(WINO_INPUT, 4, 3, lines, cn, columns);
    size_t stride = (size_t)count, point = to->v.point, scale_point = to->scale_point;
    for (int narrow = 0; narrow < 2; narrow++) {
        int first = wino_grid_tile(g, image, ty, narrow);
        const float *from = columns + (narrow ? 4 * g->nx[0] * cn : 0);
        word_any *dst = to->v.base + (size_t)first * to->v.row + c0 / 2;
        float *scales = to->scales + (size_t)(c0 / FIXED_RUN) * to->scale_run + first;
        for (int i = 0; i < g->nx[narrow]; i++, dst += to->v.row, scales++) {
#define FIXED_TILE(t, w) fixed_input_tile(t, w, from, stride, cn, dst, point, scales, scale_point)
            if (tall && !narrow)
                FIXED_TILE(4, 4);
            else if (tall)
                FIXED_TILE(4, 3);
            else if (!narrow)
                FIXED_TILE(3, 4);
            else
                FIXED_TILE(3, 3);
#undef FIXED_TILE
            from += (narrow ? 3 : 4) * cn;
        }
    }
}

/* All of image number `image` of the grid, which is image n of the sources. */
static void fixed_input_image(const wino_grid *g, int image, int n, const wino_input *in,
                              const fixed_input *to)
{
    for (int c0 = 0; c0 < in->channels; c0 += FIXED_RUN) {
        int cn = min_int(in->channels - c0, FIXED_RUN);
        wino_load load = wino_load_begin(WINO_INPUT, g, n, in, c0, cn);
        for (int t = 0; t < g->ny[0] + g->ny[1]; t++) {
            wino_lines lines = wino_load_lines(WINO_INPUT, g, &load, t);
            fixed_input_tiles(g, image, t, &lines, cn, in->columns, to, c0);
        }
    }
}

/* ---- The tile of a convolution --------------------------------------------------------------- */

/* As wino_multiply. */
static void fixed_wino_multiply(const wino_grid *g, const sumi_conv_spec *s, const fixed_input *in,
                                const float *packed, int k0, int kn, const wino_area *m)
{
    int words = fixed_words(s->cin);
    size_t panel = (size_t)words * NR, panels = fixed_panels(s);
    const word_any *all = (const word_any *)(const void *)packed;
    const float *column_scales = packed + FIXED_POINTS * panels * panel;
    for (int p = 0; p < FIXED_POINTS; p++) {
        int lo, hi;
        wino_grid_range(g, p, &lo, &hi);
        if (lo == hi)
            continue;
        const fixed_product product = {
            .lda = in->v.row,
            .ldc = m->row,
            .words = words,
            .row_scale = in->scales + (size_t)p * in->scale_point + lo,
            .row_scale_run = in->scale_run,
            .finish = true,
        };
        const word_any *a = in->v.base + (size_t)p * in->v.point + (size_t)lo * in->v.row;
        const word_any *b = all + ((size_t)p * panels + (size_t)(k0 / NR)) * panel;
        float *c = wino_area_at(m, p, lo);
        for (int k = 0; k < kn; k += NR, b += panel) {
            const word_any *next = b + panel;
            if (k + NR >= kn && p + 1 < FIXED_POINTS)
                next = all + ((size_t)(p + 1) * panels + (size_t)(k0 / NR)) * panel;
            else if (k + NR >= kn)
                next = b;
            fixed_multiply(s, &product, hi - lo, a, b,
                           column_scales + (size_t)p * panels * NR + k0 + k, c + k, next);
        }
    }
}

static void wino16_tile(const sumi_conv *conv, const sumi_tile *tile, float *scratch)
{
    const sumi_conv_spec *s = conv->spec;
    wino_grid g = wino_grid_make(s, tile->images, tile->y0, tile->rows);
    fixed_scratch l = fixed_scratch_of(s, g.tiles);
    int words = fixed_words(s->cin);
    fixed_input to = {.v = fixed_area_make(scratch, g.tiles, words),
                      .scales = scratch + l.scales,
                      .scale_point = (size_t)(fixed_runs(words) * g.tiles),
                      .scale_run = (size_t)g.tiles};
    wino_area m = wino_area_make(scratch + l.products, g.tiles, WINO_BLOCK);
    wino_input in = {conv->sources,     conv->source_count, 0, s->cin, s->h,
                     scratch + l.strip, scratch + l.columns};
    for (int i = 0; i < tile->images; i++)
        fixed_input_image(&g, i, tile->n0 + i, &in, &to);
    for (int k0 = tile->k0; k0 < tile->k0 + tile->kn; k0 += WINO_BLOCK) {
        int kn = min_int(tile->k0 + tile->kn - k0, WINO_BLOCK);
        fixed_wino_multiply(&g, s, &to, conv->packed, k0, kn, &m);
        wino_output_store(conv, tile, &g, &m, k0, kn, scratch + l.band);
    }
}

/* ---- Weights --------------------------------------------------------------------------------- */

#define FIXED_TURN 16 /* input channels whose taps are turned at a time */

/* The taps of VW outs from k0 on, of channels c0 .. c0+FIXED_TURN-1. */
typedef struct {
    const float *first; /* tap 0 of channel c0 */
    size_t tap, channel;
    float turned[9 * FIXED_TURN * (SUMI_VB / sizeof(float))];
} fixed_taps;

static void fixed_taps_load(const sumi_conv_spec *s, const float *weights, int k0, int c0,
                            fixed_taps *taps)
{
    if (s->direction != SUMI_CONV_DGRAD) {
        taps->first = weights + (size_t)c0 * (size_t)s->cout + k0;
        taps->tap = s->tap_floats;
        taps->channel = (size_t)s->cout;
        return;
    }
    taps->first = taps->turned;
    taps->tap = FIXED_TURN * (SUMI_VB / sizeof(float));
    taps->channel = SUMI_VB / sizeof(float);
    for (int tap = 0; tap < 9; tap++)
        for (int i = 0; i < VW; i++) {
            const float *from = weights + (size_t)(8 - tap) * s->tap_floats +
                                (size_t)(k0 + i) * (size_t)s->cin + (size_t)c0;
            float *to = taps->turned + (size_t)tap * taps->tap + i;
            for (int c = 0; c < FIXED_TURN; c++)
                to[c * VW] = from[c];
        }
}

/* What channel c0 + c's weights are multiplied with. */
INLINE vf fixed_tap_factor(const sumi_conv_spec *s, const float *scale, int k0, int c)
{
    if (scale == NULL)
        return v_splat(1);
    return s->direction == SUMI_CONV_DGRAD ? v_splat(scale[c]) : v_load(scale + k0);
}

/* U of one channel c of the turned ones: all points of VW outs. */
INLINE void fixed_points_of(const fixed_taps *taps, int c, vf factor, vf *u)
{
    vf half[FIXED_SIDE][3];
    const float *first = taps->first + (size_t)c * taps->channel;
    UNROLL
    for (int x = 0; x < 3; x++) {
        vf g[3], points[FIXED_SIDE];
        UNROLL
        for (int y = 0; y < 3; y++)
            g[y] = v_load(first + (size_t)(3 * y + x) * taps->tap) * factor;
        wino_g(4, g, points);
        UNROLL
        for (int i = 0; i < FIXED_SIDE; i++)
            half[i][x] = points[i];
    }
    UNROLL
    for (int i = 0; i < FIXED_SIDE; i++)
        wino_g(4, half[i], u + FIXED_SIDE * i);
}

/* The largest norms of VW outs from k0 on, of every point. */
static void fixed_pack_norms(const sumi_conv_spec *s, const float *weights, const float *scale,
                             int k0, fixed_norm *norms)
{
    fixed_taps taps;
    for (int p = 0; p < FIXED_POINTS; p++)
        norms[p] = (fixed_norm){v_zero(), v_zero(), v_zero()};
    for (int c0 = 0; c0 < s->cin; c0 += FIXED_TURN) {
        fixed_taps_load(s, weights, k0, c0, &taps);
        for (int c = 0; c < FIXED_TURN; c++) {
            vf u[FIXED_POINTS];
            fixed_points_of(&taps, c, fixed_tap_factor(s, scale, k0, c0 + c), u);
            for (int p = 0; p < FIXED_POINTS; p++)
                fixed_norm_add(&norms[p], u[p]);
        }
        if ((c0 + FIXED_TURN) % FIXED_RUN == 0 || c0 + FIXED_TURN >= s->cin)
            for (int p = 0; p < FIXED_POINTS; p++)
                fixed_norm_end_run(&norms[p]);
    }
}

/* VW outs from k0 on: once through the weights for the norms, and once to round them. */
static void wino16_pack_vector(const sumi_conv_spec *s, const float *weights, const float *scale,
                               float *packed, int k0)
{
    fixed_norm norms[FIXED_POINTS];
    fixed_taps taps;
    vf factors[FIXED_POINTS];
    int words = fixed_words(s->cin);
    size_t panel = (size_t)words * NR, point = fixed_panels(s) * panel;
    size_t at = (size_t)(k0 / NR) * panel + (size_t)(k0 % NR);
    word_any *dst = (word_any *)(void *)packed + at;
    fixed_pack_norms(s, weights, scale, k0, norms);
    for (int p = 0; p < FIXED_POINTS; p++) {
        vf inverse;
        factors[p] = fixed_norm_scale(&norms[p], &inverse);
        v_store(packed + FIXED_POINTS * point + (size_t)p * fixed_panels(s) * NR + k0, inverse);
    }
    for (int c0 = 0; c0 < s->cin; c0 += FIXED_TURN) {
        fixed_taps_load(s, weights, k0, c0, &taps);
        for (int c = 0; c < FIXED_TURN; c += 2) {
            vf u[2][FIXED_POINTS];
            for (int i = 0; i < 2; i++)
                fixed_points_of(&taps, c + i, fixed_tap_factor(s, scale, k0, c0 + c + i), u[i]);
            word_any *to = dst + (size_t)pack16_word(c0 + c) * NR;
            for (int p = 0; p < FIXED_POINTS; p++)
                v_store_words(to + (size_t)p * point, fixed_pair(u[0][p], u[1][p], factors[p]));
        }
    }
    for (int c = s->cin; c < 2 * words; c += 2)
        for (int p = 0; p < FIXED_POINTS; p++)
            v_store_words(dst + (size_t)p * point + (size_t)pack16_word(c) * NR, (vi)v_zero());
}

/* A vector of outs is packed as a whole; one that fills up the last panel is zero. */
static void wino16_pack(const sumi_conv_spec *s, const float *weights, const float *scale,
                        float *packed, int piece, int pieces)
{
    size_t panel = (size_t)fixed_words(s->cin) * NR, point = fixed_panels(s) * panel;
    int vectors = (int)fixed_panels(s) * 2, end = (int)((int64_t)vectors * (piece + 1) / pieces);
    for (int v = (int)((int64_t)vectors * piece / pieces); v < end; v++) {
        int k0 = v * VW;
        if (k0 < s->cout) {
            wino16_pack_vector(s, weights, scale, packed, k0);
            continue;
        }
        float *dst = packed + (size_t)(v / 2) * panel + (size_t)(v % 2 * VW);
        for (int p = 0; p < FIXED_POINTS; p++) {
            v_store(packed + FIXED_POINTS * point + (size_t)p * fixed_panels(s) * NR + k0,
                    v_zero());
            for (size_t i = 0; i < panel; i += NR)
                v_store(dst + (size_t)p * point + i, v_zero());
        }
    }
}

/* ---- Gradient of the weights ----------------------------------------------------------------- */

/* Behind what float32 uses: both factors of a point in pairs of tiles, and their scales. */
typedef struct {
    size_t v, w, v_scale, w_scale, total;
    size_t ldv, ldw; /* rows of the pairs, in words */
} fixed_wgrad_scratch;

static fixed_wgrad_scratch fixed_wgrad_scratch_of(const sumi_conv_spec *s, int tiles, int channels)
{
    size_t pairs = (size_t)(tiles + 1) / 2, outs = round_up((size_t)s->cout, NR);
    fixed_wgrad_scratch l = {.v = wino_wgrad_scratch_of(s, tiles, channels).total,
                             .ldv = (size_t)channels + FIXED_PAD,
                             .ldw = outs + FIXED_PAD};
    l.w = l.v + pairs * l.ldv;
    l.v_scale = l.w + pairs * l.ldw;
    l.w_scale = l.v_scale + round_up((size_t)channels, 16);
    l.total = l.w_scale + outs;
    return l;
}

static void wino16_wgrad_plan(sumi_conv_spec *s)
{
    wino_plan(s);
    s->scratch_floats = fixed_wgrad_scratch_of(s, wino_plan_tiles(s), s->cin).total;
}

/* As wino_wgrad_multiply: each point's two factors are rounded in pairs of tiles, then multiplied.
 */
static void fixed_wgrad_multiply(const wino_wgrad_points *all)
{
    const sumi_conv_spec *s = all->spec;
    const wino_grid *g = all->grid;
    float *scratch = all->scratch;
    fixed_wgrad_scratch l = fixed_wgrad_scratch_of(s, g->tiles, all->channels);
    word_any *v = (word_any *)(void *)(scratch + l.v), *w = (word_any *)(void *)(scratch + l.w);
    fixed_outer product = {
        .v = v, .ldv = l.ldv, .ldw = l.ldw, .v_scale = scratch + l.v_scale, .add = all->add};
    for (int p = 0; p < g->side * g->side; p++) {
        int lo, hi;
        wino_grid_range(g, p, &lo, &hi);
        product.pairs = (hi - lo + 1) / 2;
        fixed_pairs(wino_area_at(&all->v, p, lo), all->v.row, hi - lo, all->channels, v, l.ldv,
                    scratch + l.v_scale);
        fixed_pairs(wino_area_at(&all->w, p, lo), all->w.row, hi - lo, s->cout, w, l.ldw,
                    scratch + l.w_scale);
        for (int k = 0; k < (int)fixed_panels(s); k++) {
            product.w = w + k * NR;
            product.w_scale = scratch + l.w_scale + k * NR;
            fixed_multiply_outer(s, &product, all->channels, wino_wgrad_at(all, p, k));
        }
    }
}

static void wino16_wgrad_piece(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece,
                               float *partial, float *scratch)
{
    wino_wgrad_blocks(wgrad, piece, partial, scratch, fixed_wgrad_multiply);
}

#endif
