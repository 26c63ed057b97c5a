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

#include "kernels/body_micro.h"
#include "kernels/body_store.h"

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

/* Where they lie in scratch, in floats, and how much that is; the offsets are at 0. */
typedef struct {
    size_t strip, out, total;
} gemm_scratch;

/* beyond: floats that may be read past the strip; outputs: floats of `out` a pixel. */
INLINE gemm_scratch gemm_scratch_of(const sumi_conv_spec *s, int images, int rows, size_t beyond,
                                    size_t outputs)
{
    size_t pixels = (size_t)images * (size_t)rows * (size_t)s->w, pad = (size_t)(s->ksize / 2) * 2;
    size_t image = ((size_t)rows + pad) * ((size_t)s->w + pad) * (size_t)s->cin;
    gemm_scratch l = {.strip = round_up(pixels, 16)};
    l.out = l.strip + round_up((size_t)images * image + beyond, 16);
    l.total = l.out + pixels * outputs;
    return l;
}

INLINE gemm_area gemm_area_make(const sumi_conv_spec *s, int images, int rows, size_t beyond,
                                float *scratch)
{
    gemm_scratch l = gemm_scratch_of(s, images, rows, beyond, 0);
    gemm_area a = {.pad = s->ksize / 2, .pixels = images * rows * s->w};
    a.row = (size_t)(s->w + 2 * a.pad) * (size_t)s->cin;
    a.image = (size_t)(rows + 2 * a.pad) * a.row;
    a.runs = (size_t)s->ksize;
    a.run = (size_t)s->ksize * (size_t)s->cin;
    a.offsets = (int32_t *)(void *)scratch;
    a.strip = scratch + l.strip;
    a.out = scratch + l.out;
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

/* ---- Product --------------------------------------------------------------------------------- */

/* c[rows][NR] (+)= a b, summed in the order of the depth, which is `runs` runs of `run` floats of a
 * row, `between` from one to the next. A row begins at a + its offset, or at a multiple of lda. */
typedef struct {
    const int32_t *offsets; /* or NULL */
    size_t lda, ldc;
    size_t runs, run, between;
    bool add;
} gemm_product;

/* Rows from `first` on. */
INLINE void gemm_micro(const int rows, const gemm_product *p, int first, const float *a,
                       const float *b, float *c)
{
    vf sum[MR][2];
    const float *row[MR];
    micro_begin(rows, p->add, c, p->ldc, sum);
    UNROLL
    for (int i = 0; i < rows; i++)
        row[i] =
            a + (p->offsets != NULL ? (size_t)p->offsets[first + i] : (size_t)(first + i) * p->lda);
    for (size_t r = 0; r < p->runs; r++, b += p->run * NR)
        micro_rows(rows, 1, row, 0, r * p->between, p->run, b, (micro_fetch){NULL, 0}, sum);
    micro_end(rows, false, c, p->ldc, sum);
}

static void gemm_panel(const gemm_product *p, int rows, const float *a, const float *b, float *c)
{
    micro_cut cut = micro_cut_make(rows, MR);
    for (int g = 0, first = 0, count; g < cut.groups; g++, first += count) {
        float *to = c + (size_t)first * p->ldc;
        count = micro_cut_next(&cut);
#define GEMM_CALL(n) gemm_micro(n, p, first, a, b, to)
        MICRO_SWITCH(MR, count, GEMM_CALL)
#undef GEMM_CALL
    }
}

/* ---- The tile of a convolution --------------------------------------------------------------- */

static void gemm_tile(const sumi_conv *conv, const sumi_tile *tile, float *scratch)
{
    const sumi_conv_spec *s = conv->spec;
    gemm_area a = gemm_area_make(s, tile->images, tile->rows, 0, scratch);
    gemm_area_fill(&a, s, conv->sources, conv->source_count, 0, tile);
    size_t panel = (size_t)(s->ksize * s->ksize) * (size_t)s->cin * NR;
    size_t stride = round_up((size_t)tile->kn, NR);
    const gemm_product product = {
        .offsets = a.offsets, .ldc = stride, .runs = a.runs, .run = a.run, .between = a.row};
    for (int k = 0; k < tile->kn; k += NR)
        gemm_panel(&product, a.pixels, a.strip,
                   conv->packed + (size_t)((tile->k0 + k) / NR) * panel, a.out + k);
    for (int i = 0; i < tile->images; i++)
        store_tile(conv, tile, i, tile->k0, tile->kn,
                   a.out + (size_t)i * (size_t)tile->rows * (size_t)s->w * stride,
                   (size_t)s->w * stride, stride);
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

static void gemm_plan(sumi_conv_spec *s)
{
    size_t outputs = round_up((size_t)s->cout, NR);
    plan_tiles(s, outputs, MAX_PIXELS);
    s->kblock = NR > 64 ? NR : 64;
    s->packed_floats = (size_t)(s->ksize * s->ksize) * (size_t)s->cin * outputs;
    s->partial_floats = 0;
    s->scratch_floats = gemm_scratch_of(s, s->images, s->rows, 0, outputs).total;
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
