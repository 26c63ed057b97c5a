/*
 * What the kernel tests share: random tensors, sources and sinks with everything pending on them,
 * plain double-precision references, and a driver that runs a convolution tile by tile.
 */
#ifndef SUMI_KERNEL_TEST_H
#define SUMI_KERNEL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernels/kernels.h"

/* ---- Numbers --------------------------------------------------------------------------------- */

/* A 64-bit LCG (Knuth's MMIX constants), high bits only: uniform in [-1, 1). */
static inline float test_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(*state >> 32) / 2147483648.0f;
}

static inline float *test_floats(size_t count, uint64_t seed)
{
    float *x = malloc((count + 1) * sizeof *x);
    assert_non_null(x);
    uint64_t state = seed * 2654435761u + 12345;
    for (size_t i = 0; i < count; i++)
        x[i] = test_random(&state);
    return x;
}

/* 64-byte aligned, filled with NaN: a read of what was not written shows. */
static inline float *test_scratch(size_t count)
{
    size_t bytes = (count * sizeof(float) + 63) / 64 * 64 + 64;
    float *x = aligned_alloc(64, bytes);
    assert_non_null(x);
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        x[i] = NAN;
    return x;
}

/* As many floats of NaN, aligned likewise, that end at a page which may not be touched: scratch as
 * a plan asks for it. A kernel that uses more is stopped there, whether it reads or writes. */
typedef struct {
    float *at;
    size_t count, bytes;
    char *pages;
} test_fenced;

static inline test_fenced test_fence(size_t count)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), used = (count * sizeof(float) + 63) / 64 * 64;
    test_fenced f = {.count = count, .bytes = (used + page - 1) / page * page + page};
    f.pages = mmap(NULL, f.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    assert_ptr_not_equal(f.pages, MAP_FAILED);
    assert_int_equal(mprotect(f.pages + f.bytes - page, page, PROT_NONE), 0);
    f.at = (float *)(void *)(f.pages + f.bytes - page - used);
    for (size_t i = 0; i < used / sizeof(float); i++)
        f.at[i] = NAN;
    return f;
}

/* The few floats before the page, which are there for alignment, must not have been used either. */
static inline void test_fence_free(test_fenced *f)
{
    for (size_t i = f->count; i < (f->count * sizeof(float) + 63) / 64 * 16; i++)
        assert_true(isnan(f->at[i]));
    munmap(f->pages, f->bytes);
}

/* What one of the passes over rows asks for. */
static inline test_fenced test_rows_scratch(sumi_rows_pass pass, int w, int rows, int c)
{
    return test_fence(sumi_rows_scratch_of(pass, w, rows, c).total);
}

static inline double *test_doubles(size_t count)
{
    double *x = calloc(count + 1, sizeof *x);
    assert_non_null(x);
    return x;
}

/* ||x - want|| / ||want|| */
static inline double test_error(const float *x, const double *want, size_t count)
{
    double error = 0.0, norm = 0.0;
    for (size_t i = 0; i < count; i++) {
        error += (x[i] - want[i]) * (x[i] - want[i]);
        norm += want[i] * want[i];
    }
    return isnan(error) ? INFINITY : sqrt(error / (norm > 0.0 ? norm : 1.0));
}

static inline void test_close(const float *x, const double *want, size_t count, double limit,
                              const char *what)
{
    double error = test_error(x, want, count);
    if (!(error <= limit))
        fail_msg("%s: relative error %.3g, limit %.3g", what, error, limit);
}

/* ---- bfloat16, in plain C -------------------------------------------------------------------- */

static inline float test_from_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* By the distances to the two neighbours, so not by the trick that the kernels use. */
static inline uint16_t test_to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint16_t down = (uint16_t)(bits >> 16);
    if (isnan(x))
        return (uint16_t)(down | 0x40);
    uint32_t rest = bits & 0xffff;
    bool up = rest > 0x8000 || (rest == 0x8000 && down % 2 == 1);
    return up ? (uint16_t)(down + 1) : down; /* the largest finite one's successor is infinity */
}

static inline float test_round(float x)
{
    return test_from_bf16(test_to_bf16(x));
}

/* A copy as bfloat16, malloc'ed, with an element to spare as test_floats has it. */
static inline uint16_t *test_halves(const float *x, size_t count)
{
    uint16_t *out = calloc(count + 1, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < count; i++)
        out[i] = test_to_bf16(x[i]);
    return out;
}

static inline double test_element(const void *p, bool bf16, size_t i)
{
    return (double)(bf16 ? test_from_bf16(((const uint16_t *)p)[i]) : ((const float *)p)[i]);
}

/* ---- Sources --------------------------------------------------------------------------------- */

/* What is pending on a source, as bits. */
enum {
    HAS_AFFINE = 1,
    HAS_RELU = 2,
    HAS_POST = 4,
    IS_GRADIENT = 8,
    HAS_NORM = 16,  /* ga, gb, gk */
    PER_IMAGE = 32, /* coefficients differ from image to image */
    IS_BF16 = 64,
    HAS_SILU = 128,
};

/* Takes x over. */
static inline const void *test_tensor(float *x, size_t count, bool bf16)
{
    if (!bf16)
        return x;
    uint16_t *halves = test_halves(x, count);
    free(x);
    return halves;
}

/* The gradient form that matches a forward form, with or without normalisation. */
static inline int test_gradient_bits(int bits, size_t variant)
{
    int kept = bits & (HAS_AFFINE | HAS_RELU | HAS_SILU | PER_IMAGE | IS_BF16);
    return kept | IS_GRADIENT | (variant % 2 == 0 ? HAS_NORM : 0);
}

/* Fills s with random tensors that test_source_free releases. */
static inline void test_source(sumi_source *s, int n, int pixels, int c, int bits, uint64_t seed)
{
    size_t count = (size_t)n * (size_t)pixels * (size_t)c, row = (size_t)c;
    size_t rows = (bits & PER_IMAGE) != 0 ? (size_t)n : 1;
    bool gradient = (bits & IS_GRADIENT) != 0, bf16 = (bits & IS_BF16) != 0;
    *s = (sumi_source){.c = c, .bf16 = bf16, .coef_stride = rows > 1 ? row : 0};
    s->act = (bits & HAS_RELU) != 0   ? SUMI_ACT_RELU
             : (bits & HAS_SILU) != 0 ? SUMI_ACT_SILU
                                      : SUMI_ACT_NONE;
    if (!gradient || (bits & (HAS_RELU | HAS_SILU | HAS_NORM)) != 0) {
        float *r = test_floats(count, seed);
        for (size_t i = 0; i < count; i += 7)
            r[i] = 0.0f; /* the gradient of ReLU at 0 is 0 */
        s->r = test_tensor(r, count, bf16);
    }
    if (gradient)
        s->g = test_tensor(test_floats(count, seed + 1), count, bf16);
    if ((bits & HAS_AFFINE) != 0) {
        s->scale = test_floats(rows * row, seed + 2);
        s->shift = test_floats(rows * row, seed + 3);
    }
    if ((bits & HAS_POST) != 0) {
        s->post = test_floats(rows * row, seed + 4);
        s->post_stride = s->coef_stride;
    }
    if ((bits & HAS_NORM) != 0) {
        s->ga = test_floats(rows * row, seed + 5);
        s->gb = test_floats(rows * row, seed + 6);
        s->gk = test_floats(rows * row, seed + 7);
    }
}

static inline void test_source_free(sumi_source *s)
{
    const void *all[] = {s->r, s->g, s->scale, s->shift, s->post, s->ga, s->gb, s->gk};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free((void *)(uintptr_t)all[i]);
}

static inline double test_coef(const float *row, size_t stride, int n, int c, double missing)
{
    return row != NULL ? (double)row[(size_t)n * stride + (size_t)c] : missing;
}

static inline double test_act(sumi_act act, double z)
{
    if (act == SUMI_ACT_SILU)
        return z / (1.0 + exp(-z));
    return act == SUMI_ACT_RELU && z <= 0.0 ? 0.0 : z;
}

static inline double test_act_slope(sumi_act act, double z)
{
    double s = 1.0 / (1.0 + exp(-z));
    if (act == SUMI_ACT_SILU)
        return s + z * s * (1.0 - s);
    return act == SUMI_ACT_RELU && z <= 0.0 ? 0.0 : 1.0;
}

/* kernels.h's formulas, word for word. */
static inline double test_value(const sumi_source *s, int pixels, int n, int pixel, int c)
{
    size_t i = ((size_t)n * (size_t)pixels + (size_t)pixel) * (size_t)s->c + (size_t)c;
    double scale = test_coef(s->scale, s->coef_stride, n, c, 1.0);
    double shift = test_coef(s->shift, s->coef_stride, n, c, 0.0);
    double r = s->r != NULL ? test_element(s->r, s->bf16, i) : 0.0;
    double z = scale * r + shift;
    if (s->g == NULL)
        return test_act(s->act, z) + test_coef(s->post, s->post_stride, n, c, 0.0);
    double d = test_act_slope(s->act, z) * test_element(s->g, s->bf16, i);
    if (s->ga == NULL)
        return d * scale;
    return test_coef(s->ga, s->coef_stride, n, c, 1.0) * d +
           test_coef(s->gb, s->coef_stride, n, c, 0.0) * r +
           test_coef(s->gk, s->coef_stride, n, c, 0.0);
}

/* Channel c of the concatenation; 0 outside of the image. */
static inline double test_value_at(const sumi_source *sources, int h, int w, int n, int y, int x,
                                   int c)
{
    if (y < 0 || y >= h || x < 0 || x >= w)
        return 0.0;
    for (; c >= sources->c; sources++)
        c -= sources->c;
    return test_value(sources, h * w, n, y * w + x, c);
}

/* All values of a source, as doubles. */
static inline double *test_values(const sumi_source *s, int n, int pixels)
{
    double *out = test_doubles((size_t)n * (size_t)pixels * (size_t)s->c);
    double *to = out;
    for (int i = 0; i < n; i++)
        for (int p = 0; p < pixels; p++)
            for (int c = 0; c < s->c; c++)
                *to++ = test_value(s, pixels, i, p, c);
    return out;
}

/* ---- Store ----------------------------------------------------------------------------------- */

/* How n images of h x w are cut: bands of `rows` rows, channels at `cut` (a second block). */
typedef struct {
    int n, h, w, bands, rows, cut;
} test_blocks;

/* Everything that result [n][h][w][c] holds, block by block. */
static inline void test_store_all(const sumi_kernels *table, const sumi_sink *sink,
                                  const float *result, const test_blocks *b)
{
    int c = sink->c;
    for (int n = 0; n < b->n; n++)
        for (int band = 0; band < b->bands; band++)
            for (int k0 = 0; k0 < c; k0 += b->cut) {
                int y0 = band * b->rows;
                sumi_block block = {.n = n,
                                    .band = band,
                                    .bands = b->bands,
                                    .y0 = y0,
                                    .rows = b->h - y0 < b->rows ? b->h - y0 : b->rows,
                                    .k0 = k0,
                                    .kn = c - k0 < b->cut ? c - k0 : b->cut,
                                    .src = result + (size_t)((n * b->h + y0) * b->w * c + k0),
                                    .row_stride = (size_t)(b->w * c),
                                    .pixel_stride = (size_t)c};
                table->store(sink, 1, b->h, b->w, &block);
            }
}

/* ---- Convolution ----------------------------------------------------------------------------- */

/* [n][h][w][cout] of a forward convolution or input gradient; weights as the layer keeps them. */
static inline double *test_conv_reference(const sumi_conv_spec *s, const sumi_source *sources,
                                          const float *weights, const float *scale, int n)
{
    size_t pixels = (size_t)n * (size_t)(s->h * s->w);
    int pad = s->ksize / 2, taps = s->ksize * s->ksize;
    double *x = test_doubles(pixels * (size_t)s->cin);
    double *out = test_doubles(pixels * (size_t)s->cout);
    for (size_t p = 0, i = 0; p < pixels; p++)
        for (int c = 0; c < s->cin; c++, i++)
            x[i] = test_value_at(sources, s->h, s->w, (int)p / (s->h * s->w), (int)p / s->w % s->h,
                                 (int)p % s->w, c);
    for (size_t p = 0; p < pixels; p++) {
        double *to = out + p * (size_t)s->cout;
        int py = (int)p / s->w % s->h, px = (int)p % s->w;
        for (int t = 0; t < taps; t++) {
            int y = py + t / s->ksize - pad, xx = px + t % s->ksize - pad;
            if (y < 0 || y >= s->h || xx < 0 || xx >= s->w)
                continue;
            const double *from =
                x + ((size_t)((int)p / (s->h * s->w) * s->h + y) * (size_t)s->w + (size_t)xx) *
                        (size_t)s->cin;
            for (int c = 0; c < s->cin; c++) {
                for (int k = 0; k < s->cout; k++) {
                    bool flip = s->direction == SUMI_CONV_DGRAD;
                    size_t at = flip ? ((size_t)(taps - 1 - t) * (size_t)s->cout + (size_t)k) *
                                               (size_t)s->cin +
                                           (size_t)c
                                     : ((size_t)t * (size_t)s->cin + (size_t)c) * (size_t)s->cout +
                                           (size_t)k;
                    double factor = scale == NULL ? 1.0 : (double)scale[flip ? c : k];
                    to[k] += from[c] * (double)weights[at] * factor;
                }
            }
        }
    }
    free(x);
    return out;
}

/* How test_conv_run cuts the work: 0 stands for what the spec says. */
typedef struct {
    int images; /* at most this many at a time */
    int kn;     /* output channels a tile; rounded up to the spec's kblock */
    int pack_pieces;
} test_cut;

static inline void test_conv_run(const sumi_kernels *table, const sumi_conv *conv,
                                 const float *weights, const float *scale, int n, test_cut cut)
{
    const sumi_conv_spec *s = conv->spec;
    test_fenced packed = test_fence(s->packed_floats), scratch = test_fence(s->scratch_floats);
    int pieces = cut.pack_pieces > 0 ? cut.pack_pieces : 1;
    for (int i = pieces - 1; i >= 0; i--)
        table->conv_pack(s, weights, scale, packed.at, i, pieces);
    sumi_conv run = *conv;
    run.packed = packed.at;
    int step = s->images;
    if (cut.images > 0 && cut.images < step)
        step = cut.images;
    int height = sumi_conv_rows(s);
    int kstep = s->cout;
    if (cut.kn > 0)
        kstep = (cut.kn + s->kblock - 1) / s->kblock * s->kblock;
    for (int n0 = 0; n0 < n; n0 += step)
        for (int band = 0; band < s->bands; band++)
            for (int k0 = 0; k0 < s->cout; k0 += kstep) {
                sumi_tile tile = {.n0 = n0,
                                  .images = n - n0 < step ? n - n0 : step,
                                  .band = band,
                                  .y0 = band * s->rows,
                                  .rows = s->rows,
                                  .k0 = k0,
                                  .kn = s->cout - k0 < kstep ? s->cout - k0 : kstep};
                if (tile.y0 + tile.rows > height)
                    tile.rows = height - tile.y0;
                table->conv_tile(&run, &tile, scratch.at);
            }
    test_fence_free(&packed);
    test_fence_free(&scratch);
}

/* dw [taps][cin][cout] */
static inline double *test_wgrad_reference(const sumi_conv_spec *s, const sumi_source *sources,
                                           const sumi_source *dy, int n)
{
    int pad = s->ksize / 2, taps = s->ksize * s->ksize;
    double *dw = test_doubles((size_t)taps * (size_t)s->cin * (size_t)s->cout);
    double *g = test_values(dy, n, s->h * s->w);
    for (int p = 0; p < n * s->h * s->w; p++) {
        int i = p / (s->h * s->w), py = p / s->w % s->h, px = p % s->w;
        for (int t = 0; t < taps; t++) {
            for (int c = 0; c < s->cin; c++) {
                double x = test_value_at(sources, s->h, s->w, i, py + t / s->ksize - pad,
                                         px + t % s->ksize - pad, c);
                double *to = dw + ((size_t)t * (size_t)s->cin + (size_t)c) * (size_t)s->cout;
                for (int k = 0; x != 0.0 && k < s->cout; k++)
                    to[k] += x * g[(size_t)p * (size_t)s->cout + (size_t)k];
            }
        }
    }
    free(g);
    return dw;
}

/* Partials of `group` images each, summed into dw. */
static inline void test_wgrad_run(const sumi_kernels *table, const sumi_wgrad *wgrad, int n,
                                  int group, float *dw, int pieces)
{
    const sumi_conv_spec *s = wgrad->spec;
    int count = (n + group - 1) / group;
    test_fenced partials = test_fence(s->partial_floats * (size_t)count);
    test_fenced scratch = test_fence(s->scratch_floats);
    for (int i = 0; i < count; i++) {
        int n1 = (i + 1) * group < n ? (i + 1) * group : n;
        sumi_wgrad_piece piece = {.n0 = i * group, .n1 = n1, .cn = s->cin};
        table->wgrad_piece(wgrad, &piece, partials.at + (size_t)i * s->partial_floats, scratch.at);
    }
    for (int i = 0; i < pieces; i++)
        table->wgrad_finish(s, partials.at, count, dw, i, pieces);
    test_fence_free(&partials);
    test_fence_free(&scratch);
}

/* A layer's weight gradient, which is written over what was there, against what it should be. */
static inline void test_wgrad_check(const sumi_kernels *table, const sumi_wgrad *wgrad,
                                    const double *want, int n, int group, size_t i,
                                    const char *what)
{
    const sumi_conv_spec *s = wgrad->spec;
    size_t floats = (size_t)(s->ksize * s->ksize * s->cin * s->cout);
    float *dw = test_floats(floats, 55);
    test_wgrad_run(table, wgrad, n, group, dw, 1 + (int)i % 3);
    test_close(dw, want, floats, s->algorithm == SUMI_CONV_WINOGRAD ? 1e-5 : 1e-6, what);
    free(dw);
}

/* ---- Up-sampling ----------------------------------------------------------------------------- */

/* What PyTorch's align_corners does: the source of a pixel, in float32. */
static inline void test_neighbours(int small, int target, int *i, int *next, double *w1)
{
    float scale = small > 1 ? (float)(small - 1) / (float)(2 * small - 1) : 0.0f;
    float at = scale * (float)target;
    *i = (int)at < small ? (int)at : small - 1;
    *next = *i + 1 < small ? *i + 1 : small - 1;
    *w1 = (double)(at - (float)*i);
}

/* out[n][h][w][c] from small values; or, transposed, small from large. Who has the weight 0 is not
 * read, so that a NaN reaches no more than it has to. */
static inline double *test_resample(const double *from, int n, int h, int w, int c, bool transpose)
{
    size_t small = (size_t)(n * h / 2 * w / 2 * c), large = (size_t)(n * h * w * c);
    double *out = test_doubles(transpose ? small : large);
    for (int image = 0; image < n; image++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                int yi[2], xi[2];
                double wy[2], wx[2];
                test_neighbours(h / 2, y, &yi[0], &yi[1], &wy[1]);
                test_neighbours(w / 2, x, &xi[0], &xi[1], &wx[1]);
                wy[0] = 1 - wy[1];
                wx[0] = 1 - wx[1];
                for (int q = 0; q < 4; q++) {
                    double weight = wy[q / 2] * wx[q % 2];
                    int row = image * (h / 2) + yi[q / 2];
                    for (int k = 0; weight != 0 && k < c; k++) {
                        size_t s = (size_t)((row * (w / 2) + xi[q % 2]) * c + k);
                        size_t l = (size_t)(((image * h + y) * w + x) * c + k);
                        out[transpose ? s : l] += weight * from[transpose ? l : s];
                    }
                }
            }
    return out;
}

/* The large tensor [n][h][w][c] of a small source as a plain one, rounded to float. */
static inline sumi_source test_up_source(const sumi_source *small, int n, int h, int w)
{
    double *values = test_values(small, n, h / 2 * (w / 2));
    double *large = test_resample(values, n, h, w, small->c, false);
    size_t count = (size_t)(n * h * w * small->c);
    float *r = test_floats(count, 1);
    for (size_t i = 0; i < count; i++)
        r[i] = (float)large[i];
    free(values);
    free(large);
    return (sumi_source){.r = r, .c = small->c};
}

/* ---- Sinks ----------------------------------------------------------------------------------- */

/* One or two sinks of float32 with bias, residual, ReLU or accumulation, varied by i. */
typedef struct {
    sumi_sink sinks[2];
    int count;
    size_t pixels, c; /* of both */
    float *bias, *before[2], *residual[2];
} test_sinks;

/* split: channels of the first; 0: there is only one. */
static inline test_sinks test_sinks_make(size_t pixels, int c, int split, size_t i)
{
    test_sinks t = {.sinks = {{.c = split > 0 ? split : c}, {.c = c - split}},
                    .count = split > 0 ? 2 : 1,
                    .pixels = pixels,
                    .c = (size_t)c,
                    .bias = test_floats((size_t)c, i + 9)};
    for (int k = 0; k < t.count; k++) {
        size_t floats = pixels * (size_t)t.sinks[k].c, variant = i + (size_t)k;
        t.before[k] = test_floats(floats, variant + 20);
        t.residual[k] = test_floats(floats, i + 30);
        t.sinks[k].dst = test_floats(floats, variant + 20);
        t.sinks[k].bias = variant % 2 == 0 ? t.bias : NULL;
        t.sinks[k].residual = i % 2 == 1 ? t.residual[k] : NULL;
        t.sinks[k].accumulate = variant % 3 == 0;
        t.sinks[k].act = variant % 4 == 1 ? SUMI_ACT_RELU : SUMI_ACT_NONE;
    }
    return t;
}

/* result [pixels][c] is what goes into them. */
static inline void test_sinks_check(const test_sinks *t, const double *result, double limit,
                                    const char *what)
{
    for (int k = 0, first = 0; k < t->count; first += t->sinks[k++].c) {
        const sumi_sink *sink = &t->sinks[k];
        double *expect = test_doubles(t->pixels * (size_t)sink->c);
        for (size_t p = 0, at = 0; p < t->pixels; p++)
            for (int o = 0; o < sink->c; o++, at++) {
                double v = result[p * t->c + (size_t)(first + o)];
                v += sink->bias != NULL ? (double)sink->bias[o] : 0.0;
                v += sink->residual != NULL ? (double)t->residual[k][at] : 0.0;
                v = sink->act == SUMI_ACT_RELU && v < 0.0 ? 0.0 : v;
                expect[at] = v + (sink->accumulate ? (double)t->before[k][at] : 0.0);
            }
        test_close(sink->dst, expect, t->pixels * (size_t)sink->c, limit, what);
        free(expect);
    }
}

static inline void test_sinks_free(test_sinks *t)
{
    for (int k = 0; k < t->count; k++) {
        free(t->sinks[k].dst);
        free(t->sinks[k].moments);
        free(t->before[k]);
        free(t->residual[k]);
    }
    free(t->bias);
}

#endif
