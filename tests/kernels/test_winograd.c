/*
 * Winograd convolution of every table of this CPU against direct convolution in double: forward,
 * gradient of the input, gradient of the weights; shapes that are one tile, many tiles and bands;
 * pending coefficients, several sources and sinks, statistics; and the same bits however the work
 * is cut.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"

enum { MAX_PARTS = 3, GUARD = 32 };

static const int sizes[] = {3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 18, 20, 22, 28, 32, 36};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

/* ---- random numbers and memory ---- */

static uint64_t random_state;

static float random_float(float low, float high)
{
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return low + (high - low) * (float)(random_state >> 40) / 16777216.0F;
}

/* Memory with a guard of NaNs after it, all NaN: what is read unwritten shows, and so does what is
 * written past the end. */
static float *floats(size_t count)
{
    size_t bytes = (count + GUARD) * sizeof(float);
    float *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(p);
    for (size_t i = 0; i < count + GUARD; i++)
        p[i] = NAN;
    return p;
}

static void check_guard(const float *p, size_t count)
{
    for (size_t i = count; i < count + GUARD; i++)
        assert_true(isnan(p[i]));
}

static float *random_floats(size_t count, float low, float high)
{
    float *p = floats(count);
    for (size_t i = 0; i < count; i++)
        p[i] = random_float(low, high);
    return p;
}

/* ---- sources: random, and their values in double ---- */

/* kind 0: raw; 1: scale, shift, ReLU, post; 2: gradient through ReLU and a norm; 3: raw gradient.
 */
static sumi_source source_make(int kind, int n, int h, int w, int c)
{
    size_t count = (size_t)n * (size_t)h * (size_t)w * (size_t)c, rows = (size_t)n * (size_t)c;
    sumi_source s = {.r = random_floats(count, -1, 1), .c = c};
    if (kind == 1 || kind == 2) {
        s.act = SUMI_ACT_RELU;
        s.scale = random_floats(rows, -1, 2);
        s.shift = random_floats(rows, -0.5F, 0.5F);
        s.coef_stride = (size_t)c;
    }
    if (kind == 1) {
        s.post = random_floats(rows, -1, 1);
        s.post_stride = (size_t)c;
    }
    if (kind >= 2)
        s.g = random_floats(count, -1, 1);
    if (kind == 2) {
        s.ga = random_floats(rows, 0.5F, 1);
        s.gb = random_floats(rows, -0.5F, 0.5F);
        s.gk = random_floats(rows, -0.5F, 0.5F);
    }
    return s;
}

static void source_free(sumi_source *s)
{
    const void *all[] = {s->r, s->g, s->scale, s->shift, s->ga, s->gb, s->gk, s->post};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free((void *)(uintptr_t)all[i]);
}

static double coef(const float *rows, int n, int c, size_t stride, double missing)
{
    return rows == NULL ? missing : (double)rows[(size_t)n * stride + (size_t)c];
}

static double source_value(const sumi_source *s, int n, int c, size_t at)
{
    double r = (double)((const float *)s->r)[at];
    double z =
        coef(s->scale, n, c, s->coef_stride, 1) * r + coef(s->shift, n, c, s->coef_stride, 0);
    bool off = s->act == SUMI_ACT_RELU && z <= 0;
    if (s->g == NULL)
        return (off ? 0 : z) + coef(s->post, n, c, s->post_stride, 0);
    double g = off ? 0 : (double)((const float *)s->g)[at];
    return coef(s->ga, n, c, s->coef_stride, 1) * g + coef(s->gb, n, c, s->coef_stride, 0) * r +
           coef(s->gk, n, c, s->coef_stride, 0);
}

/* [n][h][w][all channels], in double. */
static double *sources_value(const sumi_source *s, int count, int n, int pixels, int channels)
{
    double *x = malloc((size_t)n * (size_t)pixels * (size_t)channels * sizeof *x);
    assert_non_null(x);
    for (int i = 0; i < n; i++)
        for (int p = 0; p < pixels; p++)
            for (int part = 0, first = 0; part < count; first += s[part++].c)
                for (int c = 0; c < s[part].c; c++) {
                    size_t pixel = (size_t)i * (size_t)pixels + (size_t)p;
                    x[pixel * (size_t)channels + (size_t)(first + c)] =
                        source_value(&s[part], i, c, pixel * (size_t)s[part].c + (size_t)c);
                }
    return x;
}

/* ---- the problem: a convolution in one direction ---- */

typedef struct {
    sumi_conv_direction direction;
    int n, h, w, cin, cout;           /* as the pass sees them */
    int parts[MAX_PARTS], part_count; /* of the sources, in channels */
    int kinds[MAX_PARTS];
} problem;

typedef struct {
    sumi_source sources[MAX_PARTS];
    sumi_source dy; /* wgrad only */
    float *weights; /* [3][3][layer's in][layer's out] */
    double *want;   /* [n][h][w][cout], or [3][3][cin][cout] */
} instance;

static void reference_pixels(const problem *p, instance *in, const double *x)
{
    bool flip = p->direction == SUMI_CONV_DGRAD;
    in->want = calloc((size_t)p->n * (size_t)(p->h * p->w * p->cout), sizeof *in->want);
    assert_non_null(in->want);
    for (int i = 0; i < p->n * p->h * p->w; i++) {
        int image = i / (p->h * p->w), y = i / p->w % p->h, col = i % p->w;
        double *out = in->want + (size_t)i * (size_t)p->cout;
        for (int tap = 0; tap < 9; tap++) {
            int ty = y + tap / 3 - 1, tx = col + tap % 3 - 1;
            if (ty < 0 || ty >= p->h || tx < 0 || tx >= p->w)
                continue;
            const double *v =
                x + ((size_t)(image * p->h + ty) * (size_t)p->w + (size_t)tx) * (size_t)p->cin;
            const float *w =
                in->weights + (size_t)(flip ? 8 - tap : tap) * (size_t)p->cin * (size_t)p->cout;
            for (int c = 0; c < p->cin; c++)
                for (int k = 0; k < p->cout; k++)
                    out[k] += v[c] * (double)(flip ? w[k * p->cin + c] : w[c * p->cout + k]);
        }
    }
}

static void reference_weights(const problem *p, instance *in, const double *x, const double *dy)
{
    in->want = calloc((size_t)(9 * p->cin * p->cout), sizeof *in->want);
    assert_non_null(in->want);
    for (int i = 0; i < p->n * p->h * p->w; i++) {
        int image = i / (p->h * p->w), y = i / p->w % p->h, col = i % p->w;
        const double *g = dy + (size_t)i * (size_t)p->cout;
        for (int tap = 0; tap < 9; tap++) {
            int ty = y + tap / 3 - 1, tx = col + tap % 3 - 1;
            if (ty < 0 || ty >= p->h || tx < 0 || tx >= p->w)
                continue;
            const double *v =
                x + ((size_t)(image * p->h + ty) * (size_t)p->w + (size_t)tx) * (size_t)p->cin;
            double *out = in->want + (size_t)tap * (size_t)p->cin * (size_t)p->cout;
            for (int c = 0; c < p->cin; c++)
                for (int k = 0; k < p->cout; k++)
                    out[c * p->cout + k] += v[c] * g[k];
        }
    }
}

static instance instance_make(const problem *p)
{
    instance in = {.weights = NULL};
    for (int i = 0; i < p->part_count; i++)
        in.sources[i] = source_make(p->kinds[i], p->n, p->h, p->w, p->parts[i]);
    double *x = sources_value(in.sources, p->part_count, p->n, p->h * p->w, p->cin);
    if (p->direction == SUMI_CONV_WGRAD) {
        in.dy = source_make(2, p->n, p->h, p->w, p->cout);
        double *dy = sources_value(&in.dy, 1, p->n, p->h * p->w, p->cout);
        reference_weights(p, &in, x, dy);
        free(dy);
    } else {
        in.weights = random_floats((size_t)(9 * p->cin * p->cout), -0.2F, 0.2F);
        reference_pixels(p, &in, x);
    }
    free(x);
    return in;
}

static void instance_free(const problem *p, instance *in)
{
    for (int i = 0; i < p->part_count; i++)
        source_free(&in->sources[i]);
    source_free(&in->dy);
    free(in->weights);
    free(in->want);
}

static void check_close(const float *got, const double *want, size_t count, double limit)
{
    double error = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        double e = (double)got[i] - want[i];
        error += e * e;
        size += want[i] * want[i];
    }
    /* Written so that a NaN fails. */
    if (!(sqrt(error) <= limit * sqrt(size)))
        fail_msg("relative L2 error %g, limit %g", sqrt(error / size), limit);
}

/* ---- running it ---- */

static sumi_conv_spec plan(const sumi_kernels *table, const problem *p)
{
    sumi_conv_spec s = {.h = p->h,
                        .w = p->w,
                        .cin = p->cin,
                        .cout = p->cout,
                        .ksize = 3,
                        .direction = p->direction};
    table->conv_plan(&s, SUMI_CONV_WINOGRAD);
    assert_int_equal(s.algorithm, SUMI_CONV_WINOGRAD);
    assert_true(s.images == 1 || s.bands == 1);
    assert_true((s.bands - 1) * s.rows < s.h && s.bands * s.rows >= s.h);
    return s;
}

static float *pack(const sumi_kernels *table, const sumi_conv_spec *s, const instance *in,
                   const float *scale, int pieces)
{
    float *packed = floats(s->packed_floats);
    for (int i = pieces - 1; i >= 0; i--)
        table->conv_pack(s, in->weights, scale, packed, i, pieces);
    check_guard(packed, s->packed_floats);
    return packed;
}

/* images, kstep: how many images and output channels a tile has. */
static void run_tiles(const sumi_kernels *table, const sumi_conv *conv, int n, int images,
                      int kstep)
{
    const sumi_conv_spec *s = conv->spec;
    float *scratch = floats(s->scratch_floats);
    for (int n0 = 0; n0 < n; n0 += images)
        for (int band = 0; band < s->bands; band++)
            for (int k0 = 0; k0 < s->cout; k0 += kstep) {
                int left = s->h - band * s->rows;
                sumi_tile tile = {.n0 = n0,
                                  .images = n - n0 < images ? n - n0 : images,
                                  .band = band,
                                  .y0 = band * s->rows,
                                  .rows = left < s->rows ? left : s->rows,
                                  .k0 = k0,
                                  .kn = s->cout - k0 < kstep ? s->cout - k0 : kstep};
                table->conv_tile(conv, &tile, scratch);
            }
    check_guard(scratch, s->scratch_floats);
    free(scratch);
}

static void run_pixels(const sumi_kernels *table, const problem *p, const instance *in,
                       const float *scale, float *out)
{
    sumi_conv_spec s = plan(table, p);
    float *packed = pack(table, &s, in, scale, 3);
    sumi_sink sink = {.dst = out, .c = p->cout};
    sumi_conv conv = {.spec = &s,
                      .sources = in->sources,
                      .source_count = p->part_count,
                      .sinks = &sink,
                      .sink_count = 1,
                      .packed = packed};
    run_tiles(table, &conv, p->n, s.images, p->cout);
    free(packed);
}

/* Partials of `chunk` images each. */
static void run_wgrad(const sumi_kernels *table, const problem *p, const instance *in, int chunk,
                      float *out)
{
    sumi_conv_spec s = plan(table, p);
    int count = (p->n + chunk - 1) / chunk;
    float *partials = floats((size_t)count * s.partial_floats);
    float *scratch = floats(s.scratch_floats);
    sumi_wgrad wgrad = {
        .spec = &s, .sources = in->sources, .source_count = p->part_count, .dy = &in->dy};
    for (int i = 0; i < count; i++) {
        int n1 = (i + 1) * chunk < p->n ? (i + 1) * chunk : p->n;
        sumi_wgrad_piece piece = {.n0 = i * chunk, .n1 = n1, .cn = s.cin};
        table->wgrad_piece(&wgrad, &piece, partials + (size_t)i * s.partial_floats, scratch);
    }
    for (int piece = 0; piece < 5; piece++)
        table->wgrad_finish(&s, partials, count, out, piece, 5);
    check_guard(partials, (size_t)count * s.partial_floats);
    check_guard(scratch, s.scratch_floats);
    free(partials);
    free(scratch);
}

static void check_problem_within(const problem *p, double limit)
{
    instance in = instance_make(p);
    bool wgrad = p->direction == SUMI_CONV_WGRAD;
    size_t count =
        wgrad ? (size_t)(9 * p->cin * p->cout) : (size_t)p->n * (size_t)(p->h * p->w * p->cout);
    const sumi_kernels *table;
    for (int i = 0; (table = sumi_kernels_list(i)) != NULL; i++) {
        float *out = floats(count);
        if (wgrad)
            run_wgrad(table, p, &in, 2, out);
        else
            run_pixels(table, p, &in, NULL, out);
        check_close(out, in.want, count, limit);
        check_guard(out, count);
        free(out);
    }
    instance_free(p, &in);
}

static void check_problem(const problem *p)
{
    check_problem_within(p, 1e-5);
}

/* ---- tests ---- */

static void check_all_sizes(sumi_conv_direction direction)
{
    random_state = 1 + (uint64_t)direction;
    for (int a = 0; a < SIZES; a++)
        for (int b = 0; b < SIZES; b++) {
            int cin = (a + b) % 3 == 0 ? 48 : 16, cout = (a + b) % 2 == 0 ? 32 : 16;
            problem p = {.direction = direction,
                         .n = 1,
                         .h = sizes[a],
                         .w = sizes[b],
                         .cin = cin,
                         .cout = cout,
                         .parts = {cin},
                         .part_count = 1};
            check_problem(&p);
        }
}

static void test_forward_sizes(void **state)
{
    (void)state;
    check_all_sizes(SUMI_CONV_FORWARD);
}

static void test_dgrad_sizes(void **state)
{
    (void)state;
    check_all_sizes(SUMI_CONV_DGRAD);
}

static void test_wgrad_sizes(void **state)
{
    (void)state;
    check_all_sizes(SUMI_CONV_WGRAD);
}

/* Layers of a network: more channels than a block, several sources with what is pending on them. */
static void test_layers(void **state)
{
    (void)state;
    static const problem layers[] = {
        {.n = 3,
         .h = 28,
         .w = 28,
         .cin = 96,
         .cout = 64,
         .parts = {64, 32},
         .part_count = 2,
         .kinds = {1, 1}},
        {.n = 5,
         .h = 14,
         .w = 14,
         .cin = 48,
         .cout = 160,
         .parts = {20, 25, 3},
         .part_count = 3,
         .kinds = {1, 0, 1}},
        {.n = 19,
         .h = 7,
         .w = 7,
         .cin = 128,
         .cout = 80,
         .parts = {128},
         .part_count = 1,
         .kinds = {1}},
        {.n = 2,
         .h = 40,
         .w = 66,
         .cin = 16,
         .cout = 16,
         .parts = {16},
         .part_count = 1,
         .kinds = {1}},
        {.n = 7,
         .h = 8,
         .w = 12,
         .cin = 64,
         .cout = 48,
         .parts = {64},
         .part_count = 1,
         .kinds = {2}},
        {.n = 2,
         .h = 64,
         .w = 46,
         .cin = 16,
         .cout = 48,
         .parts = {16},
         .part_count = 1,
         .kinds = {2}},
        {.n = 3,
         .h = 14,
         .w = 14,
         .cin = 96,
         .cout = 192,
         .parts = {96},
         .part_count = 1,
         .kinds = {3}},
    };
    random_state = 7;
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++)
        for (int d = SUMI_CONV_FORWARD; d <= SUMI_CONV_WGRAD; d++) {
            problem p = layers[i];
            p.direction = (sumi_conv_direction)d;
            check_problem(&p);
        }
}

/* The scale of an output channel of the layer is folded into the weights of both directions. */
static void test_pack_scale(void **state)
{
    (void)state;
    for (int d = SUMI_CONV_FORWARD; d <= SUMI_CONV_DGRAD; d++) {
        random_state = 11;
        problem p = {.direction = (sumi_conv_direction)d,
                     .n = 1,
                     .h = 7,
                     .w = 7,
                     .cin = 48,
                     .cout = 80,
                     .parts = {48},
                     .part_count = 1};
        int out = d == SUMI_CONV_FORWARD ? p.cout : p.cin;
        float *scale = random_floats((size_t)out, 0.5F, 3);
        instance in = instance_make(&p);
        size_t count = (size_t)(p.h * p.w * p.cout);
        float *want = floats(count), *got = floats(count);
        const sumi_kernels *table;
        for (int i = 0; (table = sumi_kernels_list(i)) != NULL; i++) {
            run_pixels(table, &p, &in, scale, got);
            instance scaled = in;
            size_t weights = (size_t)(9 * p.cin * p.cout);
            scaled.weights = floats(weights);
            for (size_t j = 0; j < weights; j++)
                scaled.weights[j] = in.weights[j] * scale[j % (size_t)out];
            run_pixels(table, &p, &scaled, NULL, want);
            assert_memory_equal(got, want, count * sizeof(float));
            free(scaled.weights);
        }
        instance_free(&p, &in);
        free(scale);
        free(want);
        free(got);
    }
}

/* Many channels are summed in runs, so that the error hardly grows with their number; 1168 do not
 * make runs of one length. */
static void test_many_channels(void **state)
{
    (void)state;
    static const int channels[] = {2048, 1168};
    for (int i = 0; i < 4; i++) {
        random_state = 29;
        problem p = {.direction = i % 2 == 0 ? SUMI_CONV_FORWARD : SUMI_CONV_DGRAD,
                     .n = 2,
                     .h = 6,
                     .w = 12,
                     .cin = channels[i / 2],
                     .cout = 16,
                     .parts = {channels[i / 2]},
                     .part_count = 1,
                     .kinds = {1}};
        check_problem_within(&p, 5e-6);
    }
}

/* The points of scheme 4 were chosen for its error: with 1 and 2 instead of 2/3 and 3/2 it is twice
 * as large. */
static void test_error_of_points(void **state)
{
    (void)state;
    for (int size = 7; size <= 8; size++)
        for (int d = SUMI_CONV_FORWARD; d <= SUMI_CONV_WGRAD; d++) {
            random_state = 31;
            problem p = {.direction = (sumi_conv_direction)d,
                         .n = 8,
                         .h = size,
                         .w = size,
                         .cin = 64,
                         .cout = 64,
                         .parts = {64},
                         .part_count = 1,
                         .kinds = {0}};
            check_problem_within(&p, 1e-6);
        }
}

/* Points to which a pair of channels is transformed: they tell the sizes of the tiles. */
static size_t points(const sumi_kernels *table, int h, int w, sumi_conv_direction direction)
{
    problem p = {.direction = direction, .h = h, .w = w, .cin = 48, .cout = 64};
    sumi_conv_spec s = plan(table, &p);
    return (direction == SUMI_CONV_WGRAD ? s.partial_floats : s.packed_floats) / (48 * 64);
}

/* Tiles of 6 (and 4) where both lengths are even and one holds a 6, else of 4 (and 3); so too
 * for the weights' gradient of small images. */
static void test_schemes(void **state)
{
    (void)state;
    static const int shapes[][4] = {
        /* h, w, points of forward and dgrad, of wgrad */
        {28, 28, 64, 64}, {14, 14, 64, 36}, {32, 32, 64, 64}, {16, 16, 64, 36}, {20, 20, 64, 64},
        {12, 12, 64, 36}, {10, 10, 64, 36}, {6, 8, 64, 36},   {6, 4, 64, 36},   {64, 64, 64, 64},
        {7, 7, 36, 36},   {8, 8, 36, 36},   {4, 8, 36, 36},   {28, 27, 36, 36}, {3, 28, 36, 36},
    };
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            const int *s = shapes[i];
            assert_int_equal(points(table, s[0], s[1], SUMI_CONV_FORWARD), s[2]);
            assert_int_equal(points(table, s[0], s[1], SUMI_CONV_DGRAD), s[2]);
            assert_int_equal(points(table, s[0], s[1], SUMI_CONV_WGRAD), s[3]);
        }
}

/* Any cut of the work in groups of images and runs of output channels gives the same bits. */
static void test_cuts(void **state)
{
    (void)state;
    static const int shapes[][2] = {{7, 7},  {14, 14}, {8, 8},   {28, 28},
                                    {9, 13}, {3, 4},   {64, 20}, {6, 8}};
    random_state = 5;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        problem p = {.direction = SUMI_CONV_FORWARD,
                     .n = 11,
                     .h = shapes[i][0],
                     .w = shapes[i][1],
                     .cin = 32,
                     .cout = 144,
                     .parts = {32},
                     .part_count = 1,
                     .kinds = {1}};
        instance in = instance_make(&p);
        size_t count = (size_t)p.n * (size_t)(p.h * p.w * p.cout);
        float *whole = floats(count), *cut = floats(count);
        const sumi_kernels *table;
        for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
            run_pixels(table, &p, &in, NULL, whole);
            sumi_conv_spec s = plan(table, &p);
            float *packed = pack(table, &s, &in, NULL, 1);
            sumi_sink sink = {.dst = cut, .c = p.cout};
            sumi_conv conv = {.spec = &s,
                              .sources = in.sources,
                              .source_count = 1,
                              .sinks = &sink,
                              .sink_count = 1,
                              .packed = packed};
            for (int images = 1; images <= s.images; images += images < 4 ? 1 : 4) {
                memset(cut, 0xff, count * sizeof(float));
                run_tiles(table, &conv, p.n, images, images % 2 ? s.kblock : 2 * s.kblock);
                assert_memory_equal(whole, cut, count * sizeof(float));
            }
            free(packed);
        }
        free(whole);
        free(cut);
        instance_free(&p, &in);
    }
}

enum { FIRST = 72, SECOND = 40 }; /* channels of two sinks */

/* The first sink accumulates and sums what it adds: adding twice would show. */
static void check_sums(const problem *p, const instance *in, const sumi_sink *sink,
                       const float *before, int bands)
{
    size_t pixels = (size_t)p->n * (size_t)(p->h * p->w), slots = (size_t)(p->n * bands);
    double *want = malloc(pixels * FIRST * sizeof *want), sum[FIRST] = {0}, total[FIRST] = {0};
    float got[FIRST];
    assert_non_null(want);
    for (size_t i = 0; i < pixels * FIRST; i++) {
        double v = in->want[i / FIRST * (size_t)p->cout + i % FIRST];
        want[i] = v + (double)before[i];
        sum[i % FIRST] += v;
    }
    check_close(sink->dst, want, pixels * FIRST, 1e-5);
    for (size_t slot = 0; slot < slots; slot++)
        for (size_t c = 0; c < FIRST; c++)
            total[c] += (double)sink->sums[slot * 3 * FIRST + c];
    for (size_t c = 0; c < FIRST; c++)
        got[c] = (float)total[c];
    check_close(got, sum, FIRST, 1e-5);
    free(want);
}

/* The second sink adds a bias and takes moments: the bands' means make the whole mean. */
static void check_moments(const problem *p, const instance *in, const sumi_sink *sink,
                          const sumi_conv_spec *s)
{
    size_t pixels = (size_t)p->n * (size_t)(p->h * p->w), slots = (size_t)(p->n * s->bands);
    double *want = malloc(pixels * SECOND * sizeof *want);
    double mean[SECOND] = {0}, total[SECOND] = {0};
    float got[SECOND];
    assert_non_null(want);
    for (size_t i = 0; i < pixels * SECOND; i++) {
        size_t c = i % SECOND;
        want[i] = in->want[i / SECOND * (size_t)p->cout + FIRST + c] + (double)sink->bias[c];
        mean[c] += want[i] / (double)pixels;
    }
    check_close(sink->dst, want, pixels * SECOND, 1e-5);
    for (size_t slot = 0; slot < slots; slot++) {
        int left = p->h - (int)(slot % (size_t)s->bands) * s->rows;
        double share = (double)((left < s->rows ? left : s->rows) * p->w) / (double)pixels;
        for (size_t c = 0; c < SECOND; c++)
            total[c] += share * (double)sink->moments[slot * 2 * SECOND + c];
    }
    for (size_t c = 0; c < SECOND; c++)
        got[c] = (float)total[c];
    check_close(got, mean, SECOND, 1e-5);
    free(want);
}

static void check_sinks(const sumi_kernels *table, const problem *p, const instance *in)
{
    sumi_conv_spec s = plan(table, p);
    size_t pixels = (size_t)p->n * (size_t)(p->h * p->w), slots = (size_t)(p->n * s.bands);
    float *packed = pack(table, &s, in, NULL, 2);
    float *first = random_floats(pixels * FIRST, -1, 1), *second = floats(pixels * SECOND);
    float *before = floats(pixels * FIRST), *bias = random_floats(SECOND, -1, 1);
    float *sums = floats(slots * 3 * FIRST), *moments = floats(slots * 2 * SECOND);
    memcpy(before, first, pixels * FIRST * sizeof(float));
    sumi_sink sinks[] = {{.dst = first, .c = FIRST, .accumulate = true, .sums = sums},
                         {.dst = second, .c = SECOND, .bias = bias, .moments = moments}};
    sumi_conv conv = {.spec = &s,
                      .sources = in->sources,
                      .source_count = 1,
                      .sinks = sinks,
                      .sink_count = 2,
                      .packed = packed};
    run_tiles(table, &conv, p->n, s.images, p->cout);
    check_sums(p, in, &sinks[0], before, s.bands);
    check_moments(p, in, &sinks[1], &s);
    float *all[] = {packed, first, second, before, bias, sums, moments};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

/* Every band, image and channel goes through one store, whatever sinks the channels go to. */
static void test_sinks(void **state)
{
    (void)state;
    static const int shapes[][2] = {{28, 28}, {14, 14}, {7, 7}};
    for (int i = 0; i < 3; i++) {
        random_state = 23;
        problem p = {.direction = SUMI_CONV_DGRAD,
                     .n = 4,
                     .h = shapes[i][0],
                     .w = shapes[i][1],
                     .cin = 32,
                     .cout = FIRST + SECOND,
                     .parts = {32},
                     .part_count = 1,
                     .kinds = {2}};
        instance in = instance_make(&p);
        const sumi_kernels *table;
        for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++)
            check_sinks(table, &p, &in);
        instance_free(&p, &in);
    }
}

/* wgrad: any chunks are right, the same chunks give the same bits, whatever was there. */
static void test_wgrad_chunks(void **state)
{
    (void)state;
    random_state = 3;
    problem p = {.direction = SUMI_CONV_WGRAD,
                 .n = 13,
                 .h = 14,
                 .w = 7,
                 .cin = 48,
                 .cout = 80,
                 .parts = {32, 16},
                 .part_count = 2,
                 .kinds = {1, 0}};
    instance in = instance_make(&p);
    size_t count = (size_t)(9 * p.cin * p.cout);
    float *one = floats(count), *two = floats(count);
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (int chunk = 1; chunk <= 16; chunk += 3) {
            run_wgrad(table, &p, &in, chunk, one);
            check_close(one, in.want, count, 1e-5);
            run_wgrad(table, &p, &in, chunk, two);
            assert_memory_equal(one, two, count * sizeof(float));
        }
    }
    free(one);
    free(two);
    instance_free(&p, &in);
}

/* Shapes that no tiles fit, and 1x1 kernels, go elsewhere, even if Winograd is asked for. */
static void test_refusals(void **state)
{
    (void)state;
    static const int shapes[][3] = {{1, 8, 3}, {8, 2, 3}, {5, 5, 3}, {5, 8, 3}, {8, 8, 1}};
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            sumi_conv_spec s = {.h = shapes[i][0],
                                .w = shapes[i][1],
                                .cin = 32,
                                .cout = 32,
                                .ksize = shapes[i][2],
                                .direction = SUMI_CONV_FORWARD};
            table->conv_plan(&s, SUMI_CONV_WINOGRAD);
            assert_int_not_equal(s.algorithm, SUMI_CONV_WINOGRAD);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward_sizes), cmocka_unit_test(test_dgrad_sizes),
        cmocka_unit_test(test_wgrad_sizes),   cmocka_unit_test(test_layers),
        cmocka_unit_test(test_pack_scale),    cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_sinks),         cmocka_unit_test(test_wgrad_chunks),
        cmocka_unit_test(test_many_channels), cmocka_unit_test(test_error_of_points),
        cmocka_unit_test(test_schemes),       cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
