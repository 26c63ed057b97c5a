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

/* Of the rounded rows of `pixels` pixels: where their scales begin behind them, and the floats of
 * both. */
typedef struct {
    size_t row, scales, total;
} up16_rows;

static up16_rows up16_rows_of(const sumi_conv_spec *s, size_t pixels)
{
    int words = up16_depth(s) / 2;
    up16_rows r = {.row = (size_t)words + FIXED_PAD};
    r.scales = pixels * r.row;
    r.total = r.scales + (size_t)fixed_runs(words) * pixels;
    return r;
}

static void upconv16_plan(sumi_conv_spec *s)
{
    upconv_plan(s);
    s->packed_floats = round_up((size_t)s->cout, NR) * (9 * (size_t)s->cin / 2 + 1);
    s->scratch_floats = round_up(s->scratch_floats, 16) + up16_rows_of(s, up16_pixels(s)).total;
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
    size_t end = (size_t)(f.band - scratch) + (size_t)tile->rows * (size_t)s->w * NR;
    int rows = tile->images * f.pixels, words = s->cin / 2;
    up16_rows r = up16_rows_of(s, (size_t)rows);
    float *rounded = scratch + round_up(end, 16), *scales = rounded + r.scales;
    word_any *q = (word_any *)(void *)rounded;
    up_forward_fill(conv, tile, &f);
    fixed_rows(f.strip, f.lda, rows, s->cin, q, r.row, scales);
    const fixed_product product = {.lda = r.row,
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
    size_t ldc = round_up((size_t)tile->kn, NR) + UP_PAD, panel = (size_t)(depth / 2) * NR;
    float *first = scratch;
    up_gather g = up_gather_make(s->h, s->w, s->cin, tile->y0, tile->rows, &scratch);
    float *gathered = scratch, *out = gathered + (size_t)pixels * g.ldg;
    up16_rows r = up16_rows_of(s, (size_t)pixels);
    float *rounded = first + round_up((size_t)(out - first) + (size_t)pixels * ldc, 16);
    word_any *q = (word_any *)(void *)rounded;
    const word_any *all = (const word_any *)(const void *)conv->packed;
    for (int i = 0; i < tile->images; i++) {
        up_gather_load(&g, conv->sources, tile->n0 + i);
        for (int ky = 0; ky < 3; ky++) {
            up_gather_rows(&g, ky, gathered);
            fixed_rows(gathered, g.ldg, pixels, depth, q, r.row, rounded + r.scales);
            const fixed_product product = {.lda = r.row,
                                           .ldc = ldc,
                                           .words = depth / 2,
                                           .row_scale = rounded + r.scales,
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
        up_dgrad_store(conv, tile, tile->n0 + i, out, ldc);
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

/* Behind what body_upconv.h uses: both factors in pairs of pixels, and their scales. */
typedef struct {
    size_t ldx, ldg; /* rows, in words */
    size_t g, x_scale, g_scale, total;
} up16_wgrad_layout;

static up16_wgrad_layout up16_wgrad_layout_of(const sumi_conv_spec *s, int channels, size_t depth)
{
    up16_wgrad_layout l = {.ldx = (size_t)channels + FIXED_PAD,
                           .ldg = 3 * (size_t)s->cout + FIXED_PAD};
    size_t pairs = (depth + 1) / 2;
    l.g = pairs * l.ldx;
    l.x_scale = l.g + pairs * l.ldg;
    l.g_scale = l.x_scale + (size_t)channels;
    l.total = l.g_scale + 3 * (size_t)s->cout + NR;
    return l;
}

static void upconv16_wgrad_plan(sumi_conv_spec *s)
{
    upconv_wgrad_plan(s);
    s->scratch_floats =
        round_up(s->scratch_floats, 16) + up16_wgrad_layout_of(s, s->cin, up16_pixels(s)).total;
}

static void up16_wgrad_block(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece, int y0,
                             int rows, float *partial, float *scratch)
{
    const sumi_conv_spec *s = wgrad->spec;
    int panels = (s->cout + NR - 1) / NR;
    size_t panel = (size_t)s->cin * NR;
    const up_wgrad b = up_wgrad_load(wgrad, piece, y0, rows, scratch);
    const up16_wgrad_layout l = up16_wgrad_layout_of(s, piece->cn, (size_t)b.depth);
    float *own = scratch + round_up((size_t)(b.end - scratch), 16);
    word_any *x = (word_any *)(void *)own, *g = (word_any *)(void *)(own + l.g);
    float *g_scale = own + l.g_scale;
    fixed_pairs(b.x, b.ldx, b.depth, piece->cn, x, l.ldx, own + l.x_scale);
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
                                             .v_scale = own + l.x_scale,
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
