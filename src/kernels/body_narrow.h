/*
 * Convolutions with at most NARROW_MAX output channels, where vectors of output channels would be
 * mostly empty: vectors run over input channels instead. Forward and input gradient are dot
 * products; the weight gradient keeps vectors of (column, input channel) pairs of the window.
 *
 * Packed weights: [cout][ksize * ksize][cin rounded up to VW], zero past cin.
 * Partial gradient: [cout][ksize][ksize * cin rounded up to VW].
 */
#ifndef SUMI_BODY_NARROW_H
#define SUMI_BODY_NARROW_H

#include "kernels/body_gemm_wgrad.h"

#define NARROW_MAX 4
#define NARROW_PIXELS 8 /* accumulators: pixels x outputs, at most this */

static bool narrow_can(const sumi_conv_spec *s)
{
    return s->cout <= NARROW_MAX;
}

/* ---- Forward and input gradient -------------------------------------------------------------- */

/* The same tile as seen by the dot products: channels padded to whole vectors. */
INLINE sumi_conv_spec narrow_padded(const sumi_conv_spec *s)
{
    sumi_conv_spec padded = *s;
    padded.cin = (int)round_up((size_t)s->cin, VW);
    return padded;
}

static void narrow_plan(sumi_conv_spec *s)
{
    sumi_conv_spec padded = narrow_padded(s);
    plan_tiles(&padded, (size_t)s->cout, MAX_PIXELS);
    s->images = padded.images;
    s->rows = padded.rows;
    s->bands = padded.bands;
    s->kblock = s->cout;
    s->packed_floats = (size_t)s->cout * (size_t)(s->ksize * s->ksize) * (size_t)padded.cin;
    s->partial_floats = 0;
    s->scratch_floats = gemm_scratch_of(&padded, s->images, s->rows, 0, (size_t)s->cout).total;
}

static void narrow_pack(const sumi_conv_spec *s, const float *weights, const float *scale,
                        float *packed, int piece, int pieces)
{
    int taps = s->ksize * s->ksize, units = s->cout * taps;
    int cp = (int)round_up((size_t)s->cin, VW);
    int end = (int)((int64_t)units * (piece + 1) / pieces);
    for (int u = (int)((int64_t)units * piece / pieces); u < end; u++)
        for (int c = 0; c < cp; c++)
            packed[(size_t)u * (size_t)cp + (size_t)c] =
                c < s->cin ? weight_at(s, weights, scale, u % taps, c, u / taps) : 0.0f;
}

/* `pixels` pixels x `outputs` outputs; both are constants. */
INLINE void narrow_micro(const gemm_area *a, size_t weight_stride, const int32_t *offset,
                         const float *b, float *out, const int pixels, const int outputs)
{
    vf acc[NARROW_PIXELS][NARROW_MAX];
    const float *p[NARROW_PIXELS];
    UNROLL
    for (int i = 0; i < pixels; i++) {
        UNROLL
        for (int k = 0; k < outputs; k++)
            acc[i][k] = v_zero();
        p[i] = a->strip + offset[i];
    }
    for (size_t r = 0; r < a->runs; r++) {
        size_t end = r * a->row + a->run;
        for (size_t c = r * a->row; c < end; c += VW, b += VW) {
            vf w[NARROW_MAX];
            UNROLL
            for (int k = 0; k < outputs; k++)
                w[k] = v_load(b + (size_t)k * weight_stride);
            UNROLL
            for (int i = 0; i < pixels; i++) {
                vf x = v_load(p[i] + c);
                UNROLL
                for (int k = 0; k < outputs; k++)
                    acc[i][k] = v_fma(x, w[k], acc[i][k]);
            }
        }
    }
    UNROLL
    for (int i = 0; i < pixels; i++) {
        UNROLL
        for (int k = 0; k < outputs; k++)
            out[i * outputs + k] = v_sum(acc[i][k]);
    }
}

/* All pixels of a tile, in groups of `group` and then one by one. */
INLINE void narrow_pixels(const gemm_area *a, size_t weight_stride, const float *b,
                          const int outputs)
{
    const int group = NARROW_PIXELS / outputs;
    int i = 0;
    for (; i + group <= a->pixels; i += group)
        narrow_micro(a, weight_stride, a->offsets + i, b, a->out + i * outputs, group, outputs);
    for (; i < a->pixels; i++)
        narrow_micro(a, weight_stride, a->offsets + i, b, a->out + i * outputs, 1, outputs);
}

static void narrow_tile(const sumi_conv *conv, const sumi_tile *tile, float *scratch)
{
    const sumi_conv_spec *s = conv->spec;
    sumi_conv_spec padded = narrow_padded(s);
    gemm_area a = gemm_area_make(&padded, tile->images, tile->rows, 0, scratch);
    gemm_area_fill(&a, &padded, conv->sources, conv->source_count, 0, tile);
    if (padded.cin > s->cin)
        zero_pixels(a.strip + s->cin, (int)((size_t)tile->images * a.image / (size_t)padded.cin),
                    padded.cin - s->cin, (size_t)padded.cin);
    size_t weight_stride = (size_t)(s->ksize * s->ksize) * (size_t)padded.cin;
    switch (s->cout) {
    case 1:
        narrow_pixels(&a, weight_stride, conv->packed, 1);
        break;
    case 2:
        narrow_pixels(&a, weight_stride, conv->packed, 2);
        break;
    case 3:
        narrow_pixels(&a, weight_stride, conv->packed, 3);
        break;
    case 4:
        narrow_pixels(&a, weight_stride, conv->packed, 4);
        break;
    }
    size_t row = (size_t)s->w * (size_t)s->cout;
    for (int i = 0; i < tile->images; i++)
        store_tile(conv, tile, i, 0, s->cout, a.out + (size_t)i * (size_t)tile->rows * row, row,
                   (size_t)s->cout);
}

/* ---- Weight gradient ------------------------------------------------------------------------- */

/* The last vector of a window may reach so many floats past the strip. */
#define NARROW_BEYOND ((size_t)VW)

static void narrow_wgrad_plan(sumi_conv_spec *s)
{
    plan_tiles(s, (size_t)s->cout, MAX_PIXELS);
    s->kblock = 0;
    s->packed_floats = 0;
    s->partial_floats =
        (size_t)(s->cout * s->ksize) * round_up((size_t)s->ksize * (size_t)s->cin, VW);
    s->scratch_floats =
        gemm_scratch_of(s, s->images, s->rows, NARROW_BEYOND, (size_t)s->cout).total;
}

/* `vectors` vectors of the window from float `first` on, all outputs, over all pixels. Lanes past
 * the window hold sums that nobody reads. */
INLINE void narrow_wgrad_micro(const gemm_area *a, size_t first, const float *dy, float *partial,
                               size_t stride, const int vectors, const int outputs)
{
    vf acc[NARROW_MAX][4];
    UNROLL
    for (int k = 0; k < outputs; k++) {
        UNROLL
        for (int j = 0; j < vectors; j++)
            acc[k][j] = v_load(partial + (size_t)k * stride + (size_t)(j * VW));
    }
    for (int p = 0; p < a->pixels; p++, dy += outputs) {
        const float *from = a->strip + a->offsets[p] + first;
        UNROLL
        for (int j = 0; j < vectors; j++) {
            vf x = v_load(from + j * VW);
            UNROLL
            for (int k = 0; k < outputs; k++)
                acc[k][j] = v_fma(x, v_splat(dy[k]), acc[k][j]);
        }
    }
    UNROLL
    for (int k = 0; k < outputs; k++) {
        UNROLL
        for (int j = 0; j < vectors; j++)
            v_store(partial + (size_t)k * stride + (size_t)(j * VW), acc[k][j]);
    }
}

INLINE void narrow_wgrad_band(const gemm_area *a, const float *dy, float *partial,
                              const int outputs)
{
    const int vectors = outputs > 2 ? 2 : 4;
    size_t lanes = round_up(a->run, VW), stride = a->runs * lanes;
    for (size_t r = 0; r < a->runs; r++) {
        float *to = partial + r * lanes;
        size_t i = 0;
        for (; i + (size_t)(vectors * VW) <= lanes; i += (size_t)(vectors * VW))
            narrow_wgrad_micro(a, r * a->row + i, dy, to + i, stride, vectors, outputs);
        for (; i < lanes; i += (size_t)VW)
            narrow_wgrad_micro(a, r * a->row + i, dy, to + i, stride, 1, outputs);
    }
}

static void narrow_wgrad_piece(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece,
                               float *partial, float *scratch)
{
    const sumi_conv_spec *s = wgrad->spec;
    if (!piece->add)
        memset(partial, 0, s->partial_floats * sizeof(float));
    for (int n = piece->n0; n < piece->n1; n += s->images) {
        int images = min_int(piece->n1 - n, s->images);
        for (int y0 = 0; y0 < s->h; y0 += s->rows) {
            int rows = min_int(s->h - y0, s->rows);
            gemm_area a = gemm_area_make(s, images, rows, NARROW_BEYOND, scratch);
            sumi_tile tile = {.n0 = n, .images = images, .y0 = y0, .rows = rows};
            gemm_area_fill(&a, s, wgrad->sources, wgrad->source_count, 0, &tile);
            const float *dy = a.out;
            wgrad_fill_dy(wgrad, n, images, y0, rows, 0, s->cout, s->cout, a.out);
            switch (s->cout) {
            case 1:
                narrow_wgrad_band(&a, dy, partial, 1);
                break;
            case 2:
                narrow_wgrad_band(&a, dy, partial, 2);
                break;
            case 3:
                narrow_wgrad_band(&a, dy, partial, 3);
                break;
            case 4:
                narrow_wgrad_band(&a, dy, partial, 4);
                break;
            }
        }
    }
}

static void narrow_wgrad_finish(const sumi_conv_spec *s, const float *partials, int count,
                                float *dw, int piece, int pieces)
{
    size_t run = (size_t)s->ksize * (size_t)s->cin, lanes = round_up(run, VW);
    int64_t rows = (int64_t)(s->ksize * s->ksize) * s->cin;
    int64_t end = rows * (piece + 1) / pieces;
    for (int64_t r = rows * piece / pieces; r < end; r++) {
        for (int k = 0; k < s->cout; k++) {
            size_t row = (size_t)k * (size_t)s->ksize + (size_t)r / run;
            size_t tap = (size_t)(r / s->cin), c = (size_t)(r % s->cin);
            sum_partials(partials + row * lanes + (size_t)r % run, s->partial_floats, count,
                         dw + tap * s->tap_floats + c * (size_t)s->cout + (size_t)k, 1);
        }
    }
}

#endif
