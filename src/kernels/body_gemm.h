/*
 * Convolution as a matrix product over shifted pixels: no im2col, the nine taps are nine offsets
 * into a zero-padded strip of the input. A micro-kernel holds up to MR pixels x 2 vectors of output
 * channels in registers; its pixels come from a table of offsets, so that it runs across the ends
 * of rows and images. The sum of a pixel is over (row, column, channel) of the window in this
 * order.
 *
 * Packed weights: [panel of NR outputs][ksize * ksize][cin][NR], zero past cout.
 */
#ifndef SUMI_BODY_GEMM_H
#define SUMI_BODY_GEMM_H

#include "kernels/body_store.h"

#define NR (2 * VW)
/* Of a tile: enough to use a panel of weights often, few enough to share. */
#define MAX_PIXELS 400

/* Where the pixels of a tile lie in its strip. */
typedef struct {
    int pad;
    size_t row, image; /* floats of the strip in a row, in an image */
    size_t runs, run;  /* the window of a pixel is `runs` runs of `run` consecutive floats */
    int pixels;        /* of all images */
    int32_t *offsets;  /* of each pixel's window */
    float *strip, *out;
} gemm_area;

INLINE gemm_area gemm_area_make(const sumi_conv_spec *s, int images, int rows, float *scratch)
{
    gemm_area a = {.pad = s->ksize / 2, .pixels = images * rows * s->w};
    a.row = (size_t)(s->w + 2 * a.pad) * (size_t)s->cin;
    a.image = (size_t)(rows + 2 * a.pad) * a.row;
    a.runs = (size_t)s->ksize;
    a.run = (size_t)s->ksize * (size_t)s->cin;
    a.offsets = (int32_t *)(void *)scratch;
    a.strip = scratch + round_up((size_t)a.pixels, 16);
    a.out = a.strip + round_up((size_t)images * a.image, 16);
    return a;
}

/* s->cin channels of the sources, from c0 on. */
static void gemm_area_fill(const gemm_area *a, const sumi_conv_spec *s, const sumi_source *sources,
                           int count, int c0, const sumi_tile *tile)
{
    int n0 = tile->n0, images = tile->images, y0 = tile->y0, rows = tile->rows;
    int32_t *offset = a->offsets;
    for (int i = 0; i < images; i++) {
        sumi_strip strip = {.n = n0 + i,
                            .y0 = y0 - a->pad,
                            .rows = rows + 2 * a->pad,
                            .x0 = -a->pad,
                            .cols = s->w + 2 * a->pad,
                            .c0 = c0,
                            .cn = s->cin,
                            .dst = a->strip + (size_t)i * a->image,
                            .row_stride = a->row,
                            .pixel_stride = (size_t)s->cin};
        body_fill(sources, count, s->h, s->w, &strip);
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < s->w; x++)
                *offset++ = (int32_t)((size_t)i * a->image + (size_t)y * a->row +
                                      (size_t)x * (size_t)s->cin);
    }
}

/* mr pixels x NR outputs. */
INLINE void gemm_micro(const gemm_area *a, const int32_t *offset, const float *b, float *out,
                       size_t out_stride, const int mr)
{
    vf acc[MR][2];
    const float *p[MR];
    UNROLL
    for (int i = 0; i < mr; i++) {
        acc[i][0] = acc[i][1] = v_zero();
        p[i] = a->strip + offset[i];
    }
    for (size_t r = 0; r < a->runs; r++) {
        size_t end = r * a->row + a->run;
        for (size_t k = r * a->row; k < end; k++) {
            vf b0 = v_load(b), b1 = v_load(b + VW);
            UNROLL
            for (int i = 0; i < mr; i++) {
                vf x = v_splat(p[i][k]);
                acc[i][0] = v_fma(x, b0, acc[i][0]);
                acc[i][1] = v_fma(x, b1, acc[i][1]);
            }
            b += NR;
        }
    }
    UNROLL
    for (int i = 0; i < mr; i++) {
        v_store(out + (size_t)i * out_stride, acc[i][0]);
        v_store(out + (size_t)i * out_stride + VW, acc[i][1]);
    }
}

/* Calls what `call(n)` expands to with the constant n == count; 1 <= count <= MR. */
#if MR == 6
#define MR_SWITCH(count, call)                                                                     \
    switch (count) {                                                                               \
        MR_CASES_6(call)                                                                           \
    }
#elif MR == 10
#define MR_SWITCH(count, call)                                                                     \
    switch (count) {                                                                               \
        MR_CASES_6(call) MR_CASES_10(call)                                                         \
    }
#elif MR == 14
#define MR_SWITCH(count, call)                                                                     \
    switch (count) {                                                                               \
        MR_CASES_6(call) MR_CASES_10(call) MR_CASES_14(call)                                       \
    }
#endif
#define MR_CASE(n, call)                                                                           \
    case n:                                                                                        \
        call(n);                                                                                   \
        break;
#define MR_CASES_6(call)                                                                           \
    MR_CASE(1, call)                                                                               \
    MR_CASE(2, call) MR_CASE(3, call) MR_CASE(4, call) MR_CASE(5, call) MR_CASE(6, call)
#define MR_CASES_10(call) MR_CASE(7, call) MR_CASE(8, call) MR_CASE(9, call) MR_CASE(10, call)
#define MR_CASES_14(call) MR_CASE(11, call) MR_CASE(12, call) MR_CASE(13, call) MR_CASE(14, call)

/* All pixels of a tile x NR outputs. Groups are cut evenly: a group of few pixels would wait for
 * its own sums. */
static void gemm_panel(const gemm_area *a, const float *b, float *out, size_t out_stride)
{
    int groups = (a->pixels + MR - 1) / MR;
    for (int g = 0; g < groups; g++) {
        int i = (int)((int64_t)a->pixels * g / groups);
        int end = (int)((int64_t)a->pixels * (g + 1) / groups);
        float *to = out + (size_t)i * out_stride;
#define GEMM_CALL(n) gemm_micro(a, a->offsets + i, b, to, out_stride, n)
        MR_SWITCH(end - i, GEMM_CALL)
#undef GEMM_CALL
    }
}

static void gemm_tile(const sumi_conv *conv, const sumi_tile *tile, float *scratch)
{
    const sumi_conv_spec *s = conv->spec;
    gemm_area a = gemm_area_make(s, tile->images, tile->rows, scratch);
    gemm_area_fill(&a, s, conv->sources, conv->source_count, 0, tile);
    size_t panel = (size_t)(s->ksize * s->ksize) * (size_t)s->cin * NR;
    size_t stride = round_up((size_t)tile->kn, NR);
    for (int k = 0; k < tile->kn; k += NR)
        gemm_panel(&a, conv->packed + (size_t)((tile->k0 + k) / NR) * panel, a.out + k, stride);
    for (int i = 0; i < tile->images; i++) {
        size_t pixels = (size_t)tile->rows * (size_t)s->w;
        sumi_block block = {.n = tile->n0 + i,
                            .band = tile->band,
                            .bands = s->bands,
                            .y0 = tile->y0,
                            .rows = tile->rows,
                            .k0 = tile->k0,
                            .kn = tile->kn,
                            .src = a.out + (size_t)i * pixels * stride,
                            .row_stride = (size_t)s->w * stride,
                            .pixel_stride = stride};
        body_store(conv->sinks, conv->sink_count, s->h, s->w, &block);
    }
}

static bool gemm_can(const sumi_conv_spec *s)
{
    (void)s;
    return true;
}

/* Cuts an image into bands of about equal height, or takes several images, so that strip and
 * result (`outputs` floats a pixel) fit TILE_FLOATS and a tile has at most `most` pixels. */
static void plan_tiles(sumi_conv_spec *s, size_t outputs, int most)
{
    size_t pad = (size_t)(s->ksize / 2) * 2, w = (size_t)s->w;
    size_t strip_row = (w + pad) * (size_t)s->cin, out_row = w * outputs;
    size_t rows = 1;
    if (TILE_FLOATS > strip_row * pad)
        rows = (TILE_FLOATS - strip_row * pad) / (strip_row + out_row);
    rows = rows * w > (size_t)most ? (size_t)most / w : rows;
    rows = rows < 1 ? 1 : rows;
    s->images = 1;
    if (rows < (size_t)s->h) {
        s->bands = (int)(((size_t)s->h + rows - 1) / rows);
        s->rows = (s->h + s->bands - 1) / s->bands;
        s->bands = (s->h + s->rows - 1) / s->rows;
        return;
    }
    s->rows = s->h;
    s->bands = 1;
    size_t image = ((size_t)s->h + pad) * strip_row + (size_t)s->h * out_row;
    size_t images = TILE_FLOATS / image, fit = (size_t)most / ((size_t)s->h * w);
    images = images > fit ? fit : images;
    s->images = images < 1 ? 1 : (int)images;
}

INLINE size_t plan_strip_floats(const sumi_conv_spec *s)
{
    size_t pad = (size_t)(s->ksize / 2) * 2;
    size_t strip = ((size_t)s->rows + pad) * ((size_t)s->w + pad) * (size_t)s->cin;
    size_t pixels = (size_t)s->images * (size_t)s->rows * (size_t)s->w;
    return round_up(pixels, 16) + round_up((size_t)s->images * strip, 16);
}

static void gemm_plan(sumi_conv_spec *s)
{
    size_t outputs = round_up((size_t)s->cout, NR);
    plan_tiles(s, outputs, MAX_PIXELS);
    s->kblock = NR > 64 ? NR : 64;
    s->packed_floats = (size_t)(s->ksize * s->ksize) * (size_t)s->cin * outputs;
    s->partial_floats = 0;
    s->scratch_floats =
        plan_strip_floats(s) + (size_t)s->images * (size_t)s->rows * (size_t)s->w * outputs;
}

/* One weight as this pass sees it: output k, input c. Weights are kept as the layer sees them. */
INLINE float weight_at(const sumi_conv_spec *s, const float *weights, const float *scale, int tap,
                       int c, int k)
{
    if (s->direction != SUMI_CONV_DGRAD) {
        float x = weights[(size_t)tap * s->tap_floats + (size_t)c * (size_t)s->cout + (size_t)k];
        return scale != NULL ? x * scale[k] : x;
    }
    size_t flipped = (size_t)(s->ksize * s->ksize - 1 - tap);
    float x = weights[flipped * s->tap_floats + (size_t)k * (size_t)s->cin + (size_t)c];
    return scale != NULL ? x * scale[c] : x;
}

static void gemm_pack(const sumi_conv_spec *s, const float *weights, const float *scale,
                      float *packed, int piece, int pieces)
{
    int taps = s->ksize * s->ksize, panels = (s->cout + NR - 1) / NR;
    int64_t units = (int64_t)panels * taps;
    int end = (int)(units * (piece + 1) / pieces);
    for (int u = (int)(units * piece / pieces); u < end; u++) {
        int k0 = u / taps * NR, kn = min_int(s->cout - k0, NR), tap = u % taps;
        float *to = packed + (size_t)u * (size_t)s->cin * NR;
        for (int c = 0; c < s->cin; c++, to += NR) {
            for (int k = 0; k < kn; k++)
                to[k] = weight_at(s, weights, scale, tap, c, k0 + k);
            for (int k = kn; k < NR; k++)
                to[k] = 0.0f;
        }
    }
}

#endif
