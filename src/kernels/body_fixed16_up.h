/*
 * Convolution of an up-sampled tensor (body_upconv.h) with products of 16-bit integers
 * (body_fixed16.h). A row of a product is a pixel, a column an output channel, with one scale for
 * all of its nine taps, since their products are added up. In the gradient of the weights both
 * factors are scaled a channel, over the pixels of a block.
 *
 * Packed weights: [panel of NR outs][tap][words][NR], or for the gradient of the input
 * [panel][row of taps][words of all three][NR]; then the reciprocal scales.
 */
#ifndef SUMI_BODY_FIXED16_UP_H
#define SUMI_BODY_FIXED16_UP_H

#include "kernels/body_fixed16.h"
#include "kernels/body_upconv.h"

static bool upconv16_can(const sumi_conv_spec *s)
{
    return upconv_can(s) && s->cin % 32 == 0;
}

/* Products are one for each tap, or one for each row of taps. */
INLINE int up16_depth(const sumi_conv_spec *s)
{
    return s->direction == SUMI_CONV_DGRAD ? 3 * s->cin : s->cin;
}

/* Most pixels of a tile's product. */
static size_t up16_pixels(const sumi_conv_spec *s)
{
    int rows = s->rows;
    if (s->direction == SUMI_CONV_FORWARD)
        rows = min_int(rows / 2 + UP_HALO, s->h / 2);
    return (size_t)s->images * (size_t)rows * (size_t)(s->w / 2);
}

/* Behind `before` floats of scratch, which are body_upconv.h's: the rounded rows of `pixels`
 * pixels, and their scales. */
typedef struct {
    size_t row; /* in words */
    size_t rounded, scales, total;
} up16_scratch;

static up16_scratch up16_scratch_of(const sumi_conv_spec *s, size_t before, size_t pixels)
{
    int words = up16_depth(s) / 2;
    up16_scratch l = {.row = (size_t)words + FIXED_PAD, .rounded = round_up(before, 16)};
    l.scales = l.rounded + pixels * l.row;
    l.total = l.scales + (size_t)fixed_runs(words) * pixels;
    return l;
}

static void upconv16_plan(sumi_conv_spec *s)
{
    upconv_plan(s);
    s->packed_floats = round_up((size_t)s->cout, NR) * (9 * (size_t)s->cin / 2 + 1);
    s->scratch_floats = up16_scratch_of(s, s->scratch_floats, up16_pixels(s)).total;
}

/* ---- Forward and gradient of the input ------------------------------------------------------- */

static const float *up16_column_scales(const sumi_conv_spec *s, const float *packed, int k)
{
    return packed + round_up((size_t)s->cout, NR) * (9 * (size_t)s->cin / 2) + k;
}

static void up16_forward_tile(const sumi_conv *conv, const sumi_tile *tile, float *scratch)
{
    const sumi_conv_spec *s = conv->spec;
    up_forward f = up_forward_make(s, tile, scratch);
    int rows = tile->images * f.pixels, words = s->cin / 2;
    up16_scratch l = up16_scratch_of(s, f.used, (size_t)rows);
    float *scales = scratch + l.scales;
    word_any *q = (word_any *)(void *)(scratch + l.rounded);
    up_forward_fill(conv, tile, &f);
    fixed_rows(f.strip, f.lda, rows, s->cin, q, l.row, scales);
    const fixed_product product = {.lda = l.row,
                                   .ldc = 9 * NR,
                                   .words = words,
                                   .row_scale = scales,
                                   .row_scale_run = (size_t)rows,
                                   .finish = true};
    size_t panel = (size_t)words * NR;
    const word_any *all = (const word_any *)(const void *)conv->packed;
    for (int k0 = tile->k0; k0 < tile->k0 + tile->kn; k0 += NR) {
        const word_any *b = all + (size_t)(k0 / NR) * 9 * panel;
        for (int tap = 0; tap < 9; tap++, b += panel)
            fixed_multiply(s, &product, rows, q, b, up16_column_scales(s, conv->packed, k0),
                           f.products + tap * NR, tap < 8 ? b + panel : b);
        for (int i = 0; i < tile->images; i++)
            up_forward_store(conv, tile, &f, i, k0);
    }
}

static void up16_dgrad_tile(const sumi_conv *conv, const sumi_tile *tile, float *scratch)
{
    const sumi_conv_spec *s = conv->spec;
    int pixels = tile->rows * (s->w / 2), depth = up16_depth(s);
    size_t panel = (size_t)(depth / 2) * NR;
    up_gather g = up_gather_make(s->h, s->w, s->cin, tile->y0, tile->rows, scratch);
    up_dgrad_scratch l = up_dgrad_scratch_of(s, g.tall, tile->rows, tile->kn);
    up16_scratch own = up16_scratch_of(s, l.total, (size_t)pixels);
    float *gathered = scratch + l.gathered, *out = scratch + l.out, *scales = scratch + own.scales;
    word_any *q = (word_any *)(void *)(scratch + own.rounded);
    const word_any *all = (const word_any *)(const void *)conv->packed;
    for (int i = 0; i < tile->images; i++) {
        up_gather_load(&g, conv->sources, tile->n0 + i);
        for (int ky = 0; ky < 3; ky++) {
            up_gather_rows(&g, ky, gathered);
            fixed_rows(gathered, g.ldg, pixels, depth, q, own.row, scales);
            const fixed_product product = {.lda = own.row,
                                           .ldc = l.ldc,
                                           .words = depth / 2,
                                           .row_scale = scales,
                                           .row_scale_run = (size_t)pixels,
                                           .add = ky > 0,
                                           .finish = ky == 2};
            for (int k = 0; k < tile->kn; k += NR) {
                int p = (tile->k0 + k) / NR;
                const word_any *b = all + (size_t)(3 * p + ky) * panel;
                const word_any *next = k + NR < tile->kn ? b + 3 * panel : b;
                fixed_multiply(s, &product, pixels, q, b,
                               up16_column_scales(s, conv->packed, p * NR), out + k, next);
            }
        }
        store_tile(conv, tile, i, tile->k0, tile->kn, out, (size_t)(s->w / 2) * l.ldc, l.ldc);
    }
}

static void upconv16_tile(const sumi_conv *conv, const sumi_tile *tile, float *scratch)
{
    if (conv->spec->direction == SUMI_CONV_DGRAD)
        up16_dgrad_tile(conv, tile, scratch);
    else
        up16_forward_tile(conv, tile, scratch);
}

/* ---- Weights --------------------------------------------------------------------------------- */

/* The weights of VW outs from k0 on, of a tap and an input channel, as this pass sees them. */
INLINE vf up16_weights(const sumi_conv_spec *s, const float *weights, const float *scale, int tap,
                       int c, int k0)
{
    if (s->direction != SUMI_CONV_DGRAD) {
        vf w = v_load(weights + (size_t)tap * s->tap_floats + (size_t)c * (size_t)s->cout + k0);
        return scale != NULL ? w * v_load(scale + k0) : w;
    }
    float lane[SUMI_VB / sizeof(float)];
    for (int i = 0; i < VW; i++)
        lane[i] = weight_at(s, weights, scale, tap, c, k0 + i);
    return v_load(lane);
}

/* VW outs from k0 on: once for the norms, and once to round. */
static void upconv16_pack_vector(const sumi_conv_spec *s, const float *weights, const float *scale,
                                 float *packed, int k0)
{
    int depth = up16_depth(s), taps = depth / s->cin;
    size_t panel = 9 * (size_t)s->cin / 2 * NR;
    word_any *dst = (word_any *)(void *)packed + (size_t)(k0 / NR) * panel + (k0 % NR);
    fixed_norm norm = {v_zero(), v_zero(), v_zero()};
    for (int tap0 = 0; tap0 < 9; tap0 += taps)
        for (int d = 0; d < depth; d++) {
            fixed_norm_add(&norm,
                           up16_weights(s, weights, scale, tap0 + d / s->cin, d % s->cin, k0));
            if ((d + 1) % FIXED_RUN == 0 || d + 1 == depth)
                fixed_norm_end_run(&norm);
        }
    vf inverse, factor = fixed_norm_scale(&norm, &inverse);
    v_store(packed + round_up((size_t)s->cout, NR) * (9 * (size_t)s->cin / 2) + k0, inverse);
    for (int tap0 = 0; tap0 < 9; tap0 += taps, dst += (size_t)(depth / 2) * NR)
        for (int d = 0; d < depth; d += 2) {
            int tap = tap0 + d / s->cin, c = d % s->cin;
            vi pair = fixed_pair(up16_weights(s, weights, scale, tap, c, k0),
                                 up16_weights(s, weights, scale, tap, c + 1, k0), factor);
            v_store_words(dst + (size_t)pack16_word(d) * NR, pair);
        }
}

/* A vector of outs that fills up the last panel is zero. */
static void upconv16_pack(const sumi_conv_spec *s, const float *weights, const float *scale,
                          float *packed, int piece, int pieces)
{
    int vectors = (int)(round_up((size_t)s->cout, NR) / (size_t)VW);
    int end = (int)((int64_t)vectors * (piece + 1) / pieces);
    size_t panel = 9 * (size_t)s->cin / 2 * NR;
    for (int v = (int)((int64_t)vectors * piece / pieces); v < end; v++) {
        int k0 = v * VW;
        if (k0 < s->cout) {
            upconv16_pack_vector(s, weights, scale, packed, k0);
            continue;
        }
        v_store(packed + (size_t)vectors * VW * (9 * (size_t)s->cin / 2) + k0, v_zero());
        for (size_t i = 0; i < panel; i += NR)
            v_store(packed + (size_t)(k0 / NR) * panel + (size_t)(k0 % NR) + i, v_zero());
    }
}

/* ---- Gradient of the weights ----------------------------------------------------------------- */

/* Behind `before` floats of scratch, which are body_upconv.h's: both factors in pairs of pixels,
 * and their scales. */
typedef struct {
    size_t ldx, ldg; /* rows, in words */
    size_t x, g, x_scale, g_scale, total;
} up16_wgrad_scratch;

static up16_wgrad_scratch up16_wgrad_scratch_of(const sumi_conv_spec *s, size_t before,
                                                int channels, size_t depth)
{
    up16_wgrad_scratch l = {.ldx = (size_t)channels + FIXED_PAD,
                            .ldg = 3 * (size_t)s->cout + FIXED_PAD,
                            .x = round_up(before, 16)};
    size_t pairs = (depth + 1) / 2;
    l.g = l.x + pairs * l.ldx;
    l.x_scale = l.g + pairs * l.ldg;
    l.g_scale = l.x_scale + (size_t)channels;
    l.total = l.g_scale + 3 * (size_t)s->cout + NR;
    return l;
}

static void upconv16_wgrad_plan(sumi_conv_spec *s)
{
    upconv_wgrad_plan(s);
    s->scratch_floats = up16_wgrad_scratch_of(s, s->scratch_floats, s->cin, up16_pixels(s)).total;
}

static void up16_wgrad_block(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece, int y0,
                             int rows, float *partial, float *scratch)
{
    const sumi_conv_spec *s = wgrad->spec;
    int panels = (s->cout + NR - 1) / NR;
    size_t panel = (size_t)s->cin * NR;
    const up_wgrad b = up_wgrad_load(wgrad, piece, y0, rows, scratch);
    const up16_wgrad_scratch l = up16_wgrad_scratch_of(s, b.used, piece->cn, (size_t)b.depth);
    word_any *x = (word_any *)(void *)(scratch + l.x), *g = (word_any *)(void *)(scratch + l.g);
    float *x_scale = scratch + l.x_scale, *g_scale = scratch + l.g_scale;
    fixed_pairs(b.x, b.ldx, b.depth, piece->cn, x, l.ldx, x_scale);
    for (int ky = 0; ky < 3; ky++) {
        up_wgrad_gather(&b, ky);
        fixed_pairs(b.gathered, b.g.ldg, b.depth, 3 * s->cout, g, l.ldg, g_scale);
        for (int kx = 0; kx < 3; kx++)
            for (int p = 0; p < panels; p++) {
                int tap = 8 - (3 * ky + kx); /* G is for flipped taps. */
                size_t first = (size_t)kx * (size_t)s->cout + (size_t)p * NR;
                const fixed_outer product = {.v = x,
                                             .w = g + first,
                                             .ldv = l.ldx,
                                             .ldw = l.ldg,
                                             .pairs = (b.depth + 1) / 2,
                                             .v_scale = x_scale,
                                             .w_scale = g_scale + first,
                                             .add = piece->add};
                fixed_multiply_outer(s, &product, piece->cn,
                                     partial + (size_t)(tap * panels + p) * panel +
                                         (size_t)piece->c0 * NR);
            }
    }
}

static void upconv16_wgrad_piece(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece,
                                 float *partial, float *scratch)
{
    up_wgrad_blocks(wgrad, piece, partial, scratch, up16_wgrad_block);
}

#endif
