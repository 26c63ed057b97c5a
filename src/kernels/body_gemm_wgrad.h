/*
 * Weight gradient as a matrix product whose sum runs over pixels. Rows are (tap, input channel)
 * pairs: within a row of the window they are consecutive floats of the strip, whatever the number
 * of channels. A micro-kernel holds MR such rows x 2 vectors of output channels in registers and
 * adds them to the partial gradient after a band.
 *
 * Partial gradient: [ksize * ksize * cin][cout rounded up to NR].
 */
#ifndef SUMI_BODY_GEMM_WGRAD_H
#define SUMI_BODY_GEMM_WGRAD_H

#include "kernels/body_gemm.h"

#define MAX_WGRAD_PIXELS 256 /* a panel of dy, pixels x NR floats, should stay in L1 */

/* The pixels of a band: `images` times `rows` runs of `cols` windows, `cin` floats from one to the
 * next. Without a border all of them are one run. */
typedef struct {
    int images, rows, cols;
    size_t cin;
} wgrad_pixels;

/* Rows from float `first` of each pixel's window on, over all pixels. b: dy as [pixels][NR]. */
INLINE void wgrad_micro(const int rows, const gemm_area *a, const wgrad_pixels *pixels,
                        size_t first, const float *b, float *partial, size_t stride)
{
    vf sum[MR][2];
    micro_begin(rows, true, partial, stride, sum);
    for (int n = 0; n < pixels->images; n++)
        for (int y = 0; y < pixels->rows; y++, b += pixels->cols * NR) {
            const float *x = a->strip + (size_t)n * a->image + (size_t)y * a->row + first;
            micro_columns(rows, 2, x, pixels->cin, b, NR, pixels->cols, sum);
        }
    micro_end(rows, false, partial, stride, sum);
}

/* All rows x NR outputs. */
static void wgrad_panel(const gemm_area *a, const sumi_conv_spec *s, const sumi_tile *band,
                        const float *b, float *partial, size_t stride)
{
    wgrad_pixels pixels = {band->images, band->rows, s->w, (size_t)s->cin};
    if (a->pad == 0)
        pixels = (wgrad_pixels){1, 1, a->pixels, (size_t)s->cin};
    for (size_t r = 0; r < a->runs; r++) {
        micro_cut cut = micro_cut_make((int)a->run, MR);
        for (int g = 0, i = 0, count; g < cut.groups; g++, i += count) {
            size_t first = r * a->row + (size_t)i;
            float *to = partial + (r * a->run + (size_t)i) * stride;
            count = micro_cut_next(&cut);
#define WGRAD_CALL(n) wgrad_micro(n, a, &pixels, first, b, to, stride)
            MICRO_SWITCH(MR, count, WGRAD_CALL)
#undef WGRAD_CALL
        }
    }
}

/* Channels k0 .. k0+kn-1 of dy as [pixels][stride], zero up to the stride. */
static void wgrad_fill_dy(const sumi_wgrad *wgrad, int n0, int images, int y0, int rows, int k0,
                          int kn, int stride, float *dst)
{
    const sumi_conv_spec *s = wgrad->spec;
    int pixels = rows * s->w;
    for (int i = 0; i < images; i++, dst += (size_t)pixels * (size_t)stride) {
        sumi_strip strip = {.n = n0 + i,
                            .y0 = y0,
                            .rows = rows,
                            .cols = s->w,
                            .c0 = k0,
                            .cn = kn,
                            .dst = dst,
                            .row_stride = (size_t)s->w * (size_t)stride,
                            .pixel_stride = (size_t)stride};
        body_fill(wgrad->dy, 1, s->h, s->w, &strip);
        if (kn < stride)
            zero_pixels(dst + kn, pixels, stride - kn, (size_t)stride);
    }
}

static void gemm_wgrad_piece(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece, float *partial,
                             float *scratch)
{
    sumi_conv_spec part = *wgrad->spec, *s = &part;
    size_t stride = round_up((size_t)s->cout, NR);
    part.cin = piece->cn; /* fewer than all only where ksize is 1, and rows are channels */
    partial += (size_t)piece->c0 * stride;
    if (!piece->add)
        memset(partial, 0, (size_t)(s->ksize * s->ksize) * (size_t)s->cin * stride * sizeof(float));
    for (int n = piece->n0; n < piece->n1; n += s->images) {
        int images = min_int(piece->n1 - n, s->images);
        for (int y0 = 0; y0 < s->h; y0 += s->rows) {
            int rows = min_int(s->h - y0, s->rows);
            sumi_tile tile = {.n0 = n, .images = images, .y0 = y0, .rows = rows};
            gemm_area a = gemm_area_make(s, images, rows, 0, scratch);
            gemm_area_fill(&a, s, wgrad->sources, wgrad->source_count, piece->c0, &tile);
            for (int k = 0; k < s->cout; k += NR) {
                wgrad_fill_dy(wgrad, n, images, y0, rows, k, min_int(s->cout - k, NR), NR, a.out);
                wgrad_panel(&a, s, &tile, a.out, partial + k, stride);
            }
        }
    }
}

static void gemm_wgrad_plan(sumi_conv_spec *s)
{
    size_t rows = (size_t)(s->ksize * s->ksize) * (size_t)s->cin;
    plan_tiles(s, NR, MAX_WGRAD_PIXELS);
    s->kblock = s->ksize == 1 ? 16 : 0;
    s->packed_floats = 0;
    s->partial_floats = rows * round_up((size_t)s->cout, NR);
    s->scratch_floats = gemm_scratch_of(s, s->images, s->rows, 0, NR).total;
}

/* Sums `count` rows of cols floats, `between` apart, in their order into to. */
INLINE void sum_partials(const float *from, size_t between, int count, float *to, int cols)
{
    for (int k = 0; k < cols; k++) {
        float sum = from[k];
        for (int i = 1; i < count; i++)
            sum += from[(size_t)i * between + (size_t)k];
        to[k] = sum;
    }
}

static void gemm_wgrad_finish(const sumi_conv_spec *s, const float *partials, int count, float *dw,
                              int piece, int pieces)
{
    int64_t rows = (int64_t)(s->ksize * s->ksize) * s->cin;
    size_t stride = round_up((size_t)s->cout, NR);
    int64_t end = rows * (piece + 1) / pieces;
    for (int64_t r = rows * piece / pieces; r < end; r++) {
        size_t tap = (size_t)(r / s->cin), c = (size_t)(r % s->cin);
        sum_partials(partials + (size_t)r * stride, s->partial_floats, count,
                     dw + tap * s->tap_floats + c * (size_t)s->cout, s->cout);
    }
}

#endif
