/*
 * Passes over images that are no convolution: one pixel of each 2x2 and its transpose, frames, sums
 * of sources, means over all pixels, the moments that these, pooling and up-sampling hand to their
 * sinks; softmax cross entropy. All against plain double formulas.
 */
#include "kernels/kernel_test.h"

enum { N = 2, H = 6, W = 10 };

static const int channel_counts[] = {1, 8, 21, 37};
#define CHANNEL_COUNTS (sizeof channel_counts / sizeof channel_counts[0])

static const int forms[] = {
    0,
    IS_BF16,
    HAS_AFFINE | HAS_RELU | HAS_POST | PER_IMAGE,
    HAS_AFFINE | HAS_SILU,
    HAS_AFFINE | HAS_SILU | HAS_POST | IS_BF16,
    IS_GRADIENT,
    IS_GRADIENT | HAS_AFFINE | HAS_RELU | HAS_NORM | IS_BF16,
    IS_GRADIENT | HAS_AFFINE | HAS_SILU | HAS_NORM | PER_IMAGE,
};
#define FORMS (sizeof forms / sizeof forms[0])

/* ---- A result that went through a sink, and what it should be -------------------------------- */

typedef struct {
    int h, w, c, bands, rows; /* of the result */
    sumi_sink sink;
    void *dst;
    float *moments, *sums;
    sumi_source stat;
    float *mean;
} outcome;

static void outcome_make(outcome *out, int h, int w, int c, int rows, int variant)
{
    outcome o = {.h = h, .w = w, .c = c, .rows = rows, .bands = (h + rows - 1) / rows};
    bool bf16 = variant % 2 == 1;
    size_t count = (size_t)(N * h * w * c), pieces = (size_t)(N * o.bands * c);
    o.dst = (void *)(uintptr_t)test_tensor(test_floats(count, 77), count, bf16);
    o.sink = (sumi_sink){.dst = o.dst, .bf16 = bf16, .c = c};
    if (variant == 1 || variant == 2)
        o.sink.moments = o.moments = test_scratch(2 * pieces);
    if (variant >= 3) {
        test_source(&o.stat, N, h * w, c,
                    HAS_AFFINE | PER_IMAGE | (bf16 ? IS_BF16 | HAS_SILU : HAS_RELU), 78);
        o.mean = test_floats((size_t)(N * c), 79);
        o.sink.sums = o.sums = test_scratch(3 * pieces);
        o.sink.mean = o.mean;
        o.sink.accumulate = variant == 4;
    }
    *out = o;
    out->sink.stat = variant >= 3 ? &out->stat : NULL; /* which stays where it is */
}

enum { OUTCOMES = 5 };

static void outcome_free(outcome *o)
{
    test_source_free(&o->stat);
    free(o->dst);
    free(o->moments);
    free(o->sums);
    free(o->mean);
}

/* want holds the result without what dst held before. */
static void outcome_check(const outcome *o, const double *want, const char *what)
{
    size_t count = (size_t)(N * o->h * o->w * o->c);
    bool bf16 = o->sink.bf16;
    const void *before = test_tensor(test_floats(count, 77), count, bf16);
    for (size_t i = 0; i < count; i++) {
        double value = want[i] + (o->sink.accumulate ? test_element(before, bf16, i) : 0.0);
        double found = test_element(o->dst, bf16, i);
        if (!(fabs(found - value) <= (bf16 ? 4e-3 : 2e-6) * fabs(value) + 2e-6))
            fail_msg("%s: element %zu is %g, expected %g", what, i, found, value);
    }
    for (int i = 0; i < N * o->bands * o->c; i++) {
        int c = i % o->c, band = i / o->c % o->bands, n = i / o->c / o->bands;
        int y1 = (band + 1) * o->rows < o->h ? (band + 1) * o->rows : o->h;
        double pixels = (y1 - band * o->rows) * o->w, mean = 0, spread = 0, sums[3] = {0};
        for (int pass = 0; pass < 2; pass++)
            for (int p = band * o->rows * o->w; p < y1 * o->w; p++) {
                size_t at = (size_t)((n * o->h * o->w + p) * o->c + c);
                double v = test_element(o->dst, bf16, at);
                mean += pass == 0 ? v / pixels : 0;
                spread += pass == 1 ? (v - mean) * (v - mean) : 0;
                if (pass == 0 || o->sums == NULL)
                    continue;
                size_t stride = o->stat.coef_stride;
                double r = test_element(o->stat.r, bf16, at);
                double z = test_coef(o->stat.scale, stride, n, c, 1) * r +
                           test_coef(o->stat.shift, stride, n, c, 0);
                double d = v * test_act_slope(o->stat.act, z);
                sums[0] += want[at];
                sums[1] += d;
                sums[2] += d * (r - test_coef(o->mean, stride, n, c, 0));
            }
        size_t slot = (size_t)(n * o->bands + band);
        if (o->moments != NULL) {
            const float *m = o->moments + slot * 2 * (size_t)o->c + (size_t)c;
            assert_true(fabs((double)m[0] - mean) <= 2e-6 * (1 + fabs(mean)));
            assert_true(fabs((double)m[o->c] - spread) <= 1e-5 * spread + 1e-9);
        }
        for (int q = 0; q < 3 && o->sums != NULL; q++) {
            double found = (double)o->sums[(slot * 3 + (size_t)q) * (size_t)o->c + (size_t)c];
            if (!(fabs(found - sums[q]) <= 1e-4))
                fail_msg("%s: sum %d of channel %d is %g, expected %g", what, q, c, found, sums[q]);
        }
    }
    free((void *)(uintptr_t)before);
}

/* One instance of everything: a source, a sink, how the result's rows are cut. */
typedef struct {
    const sumi_kernels *table;
    int c, rows;
    sumi_source s;
    outcome out;
} instance;

/* Runs `test` for all tables, channel counts and forms, with a source of h x w and a result of
 * out_h x out_w. */
static void for_all(int h, int w, int out_h, int out_w, int rows, void (*test)(instance *in))
{
    const sumi_kernels *table;
    int done = 0;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++)
        for (size_t c = 0; c < CHANNEL_COUNTS; c++)
            for (size_t f = 0; f < FORMS; f++, done++) {
                instance in = {.table = table, .c = channel_counts[c], .rows = rows};
                test_source(&in.s, N, h * w, in.c, forms[f], f + 3);
                outcome_make(&in.out, out_h, out_w, in.c, rows, (int)(f + c) % OUTCOMES);
                test(&in);
                outcome_free(&in.out);
                test_source_free(&in.s);
            }
    assert_true(done >= (int)(CHANNEL_COUNTS * FORMS));
}

static int rows_at(const outcome *o, int y)
{
    return o->h - y < o->rows ? o->h - y : o->rows;
}

/* ---- One pixel of each 2x2, and back --------------------------------------------------------- */

static void check_shrink(instance *in)
{
    int c = in->c;
    for (sumi_window window = SUMI_WINDOW_MEAN; window <= SUMI_WINDOW_FIRST; window++) {
        test_fenced scratch = test_rows_scratch(SUMI_ROWS_SHRINK, W, in->rows, c);
        outcome o;
        outcome_make(&o, H / 2, W / 2, c, in->rows, 0);
        for (int n = 0; n < N; n++)
            for (int y = 0; y < o.h; y += o.rows)
                in->table->shrink(window, &in->s, &o.sink, H, W, n, y, rows_at(&o, y), o.bands,
                                  scratch.at);
        double *want = test_doubles((size_t)(N * H * W * c) / 4);
        for (int i = 0; i < N * H * W * c / 4; i++) {
            int x = i / c % (W / 2), y = i / c / (W / 2) % (H / 2), n = i / c / (W / 2) / (H / 2);
            for (int q = 0; q < (window == SUMI_WINDOW_FIRST ? 1 : 4); q++)
                want[i] += test_value_at(&in->s, H, W, n, 2 * y + q / 2, 2 * x + q % 2, i % c) *
                           (window == SUMI_WINDOW_MEAN ? 0.25 : 1.0);
        }
        outcome_check(&o, want, "shrink");
        outcome_free(&o);
        for (int n = 0; n < N; n++)
            for (int y = 0; window == SUMI_WINDOW_MEAN && y < H / 2; y += in->rows)
                in->table->shrink(window, &in->s, &in->out.sink, H, W, n, y, rows_at(&in->out, y),
                                  in->out.bands, scratch.at);
        if (window == SUMI_WINDOW_MEAN)
            outcome_check(&in->out, want, "shrink, with statistics");
        free(want);
        test_fence_free(&scratch);
    }
}

static void shrink_is_mean_sum_or_first(void **state)
{
    (void)state;
    for_all(H, W, H / 2, W / 2, 2, check_shrink);
}

static void check_grow(instance *in)
{
    int c = in->c, h = H / 2, w = W / 2;
    static const sumi_window windows[] = {SUMI_WINDOW_FIRST, SUMI_WINDOW_SUM, SUMI_WINDOW_MEAN};
    /* The whole image in bands of an odd height, so that rows are repeated across them. */
    sumi_window window = windows[c % 3];
    const outcome *o = &in->out;
    test_fenced scratch = test_rows_scratch(SUMI_ROWS_GROW, w, in->rows, c);
    for (int n = 0; n < N; n++)
        for (int y = 0; y < H; y += in->rows)
            in->table->grow(window, &in->s, &o->sink, h, w, n, y, rows_at(o, y), o->bands,
                            scratch.at);
    double *want = test_doubles((size_t)(N * H * W * c));
    for (int i = 0; i < N * H * W * c; i++) {
        int x = i / c % W, y = i / c / W % H, n = i / c / W / H;
        double value = test_value_at(&in->s, h, w, n, y / 2, x / 2, i % c);
        want[i] = window == SUMI_WINDOW_MEAN ? value / 4 : value;
        if (window == SUMI_WINDOW_FIRST && (x % 2 == 1 || y % 2 == 1))
            want[i] = 0;
    }
    outcome_check(o, want, "grow");
    free(want);
    test_fence_free(&scratch);
}

static void grow_repeats_spreads_or_places(void **state)
{
    (void)state;
    for_all(H / 2, W / 2, H, W, 3, check_grow);
}

/* ---- Frames ---------------------------------------------------------------------------------- */

static int clamped(int at, int count)
{
    return at < 0 ? 0 : at < count ? at : count - 1;
}

/* From a source of h x w into the outcome's size, with edges repeated or zeros around it. */
static void check_reframe(instance *in, int h, int w)
{
    int c = in->c;
    const outcome *o = &in->out;
    sumi_frame frame = c % 2 ? SUMI_FRAME_REPEAT : SUMI_FRAME_ZERO;
    test_fenced scratch = test_rows_scratch(SUMI_ROWS_REFRAME, o->w, in->rows, c);
    for (int n = 0; n < N; n++)
        for (int y = 0; y < o->h; y += in->rows)
            in->table->reframe(frame, &in->s, &o->sink, h, w, o->h, o->w, n, y, rows_at(o, y),
                               o->bands, scratch.at);
    double *want = test_doubles((size_t)(N * o->h * o->w * c));
    for (int i = 0; i < N * o->h * o->w * c; i++) {
        int x = i / c % o->w - (o->w - w) / 2, y = i / c / o->w % o->h - (o->h - h) / 2;
        bool inside = x == clamped(x, w) && y == clamped(y, h);
        if (inside || frame == SUMI_FRAME_REPEAT)
            want[i] = test_value_at(&in->s, h, w, i / c / o->w / o->h, clamped(y, h), clamped(x, w),
                                    i % c);
    }
    outcome_check(o, want, "reframe");
    free(want);
    test_fence_free(&scratch);
}

static void check_larger(instance *in)
{
    check_reframe(in, H, W);
}

static void check_smaller(instance *in)
{
    check_reframe(in, H + 3, W + 2);
}

static void frames_repeat_or_cut(void **state)
{
    (void)state;
    for_all(H, W, H + 5, W + 2, 4, check_larger);
    for_all(H + 3, W + 2, H, W, 4, check_smaller);
}

/* sum(grow(dy) x) = sum(dy shrink(x)), for each window. */
static void grow_is_the_transpose_of_shrink(void **state)
{
    (void)state;
    enum { C = 19, SMALL = H * W * C / 4 };
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++)
        for (sumi_window window = SUMI_WINDOW_MEAN; window <= SUMI_WINDOW_FIRST; window++) {
            float *x = test_floats(4 * SMALL, 1), *dy = test_floats(SMALL, 2);
            float *y = test_scratch(SMALL), *dx = test_scratch(4 * SMALL);
            float *scratch = test_scratch((size_t)((2 * W + H * W) * C));
            sumi_source source = {.r = x, .c = C}, gradient = {.g = dy, .c = C};
            sumi_sink to_y = {.dst = y, .c = C}, to_dx = {.dst = dx, .c = C};
            table->shrink(window, &source, &to_y, H, W, 0, 0, H / 2, 1, scratch);
            table->grow(window, &gradient, &to_dx, H / 2, W / 2, 0, 0, H, 1, scratch);
            double small = 0, large = 0;
            for (int i = 0; i < SMALL; i++)
                small += (double)dy[i] * (double)y[i];
            for (int i = 0; i < 4 * SMALL; i++)
                large += (double)dx[i] * (double)x[i];
            assert_true(fabs(small) > 1e-2 && fabs(small - large) < 1e-5);
            free(x);
            free(dy);
            free(y);
            free(dx);
            free(scratch);
        }
}

/* ---- Sums and means -------------------------------------------------------------------------- */

static void check_sum(instance *in)
{
    int c = in->c;
    const outcome *o = &in->out;
    sumi_source sources[3] = {in->s};
    test_source(&sources[1], N, H * W, c, forms[(size_t)c % FORMS], 51);
    test_source(&sources[2], N, H * W, c, forms[(size_t)(c + 3) % FORMS], 52);
    for (int count = 1; count <= 3; count += 2) {
        test_fenced scratch = test_rows_scratch(SUMI_ROWS_SUM, W, in->rows, c);
        outcome fresh;
        outcome_make(&fresh, H, W, c, in->rows, count == 1 ? 2 : 1);
        const outcome *to = count == 3 ? o : &fresh;
        for (int n = 0; n < N; n++)
            for (int y = 0; y < H; y += in->rows)
                in->table->sum_sources(sources, count, &to->sink, H, W, n, y, rows_at(to, y),
                                       to->bands, scratch.at);
        double *want = test_doubles((size_t)(N * H * W * c));
        for (int i = 0; i < N * H * W * c; i++)
            for (int s = 0; s < count; s++)
                want[i] += test_value(&sources[s], H * W, i / c / (H * W), i / c % (H * W), i % c);
        outcome_check(to, want, "sum");
        free(want);
        test_fence_free(&scratch);
        outcome_free(&fresh);
    }
    test_source_free(&sources[1]);
    test_source_free(&sources[2]);
}

static void sum_adds_forms(void **state)
{
    (void)state;
    for_all(H, W, H, W, 4, check_sum);
}

static void check_mean(instance *in)
{
    int c = in->c;
    test_fenced scratch = test_rows_scratch(SUMI_ROWS_MEAN, W, H, c);
    float *found = test_scratch((size_t)(N * c));
    for (int n = 0; n < N; n++)
        in->table->spatial_mean(&in->s, H, W, n, found + n * c, scratch.at);
    for (int i = 0; i < N * c; i++) {
        double want = 0;
        for (int p = 0; p < H * W; p++)
            want += test_value(&in->s, H * W, i / c, p, i % c) / (H * W);
        assert_true(fabs((double)found[i] - want) <= 1e-6);
    }
    test_fence_free(&scratch);
    free(found);
}

static void mean_over_the_pixels(void **state)
{
    (void)state;
    for_all(H, W, 1, 1, 1, check_mean);
}

static void check_mean_gradient(instance *in)
{
    int c = in->c;
    const outcome *o = &in->out;
    test_fenced scratch = test_rows_scratch(SUMI_ROWS_MEAN_BACKWARD, W, in->rows, c);
    for (int n = 0; n < N; n++)
        for (int y = 0; y < H; y += in->rows)
            in->table->spatial_mean_backward(&in->s, &o->sink, H, W, n, y, rows_at(o, y), o->bands,
                                             scratch.at);
    double *want = test_doubles((size_t)(N * H * W * c));
    for (int i = 0; i < N * H * W * c; i++)
        want[i] = test_value(&in->s, 1, i / c / (H * W), 0, i % c) / (H * W);
    outcome_check(o, want, "gradient of the mean");
    free(want);
    test_fence_free(&scratch);
}

static void gradient_of_the_mean(void **state)
{
    (void)state;
    for_all(1, 1, H, W, 4, check_mean_gradient);
}

/* ---- Statistics of pooling and up-sampling --------------------------------------------------- */

static void check_pool(instance *in)
{
    if (in->s.g != NULL)
        return; /* pooling reads values */
    int c = in->c;
    const outcome *o = &in->out;
    test_fenced scratch = test_rows_scratch(SUMI_ROWS_POOL, W, in->rows, c);
    for (int n = 0; n < N; n++)
        for (int y = 0; y < o->h; y += o->rows)
            in->table->pool(&in->s, &o->sink, H, W, n, y, rows_at(o, y), o->bands, scratch.at);
    double *want = test_doubles((size_t)(N * H * W * c) / 4);
    for (int i = 0; i < N * H * W * c / 4; i++) {
        int x = i / c % (W / 2), y = i / c / (W / 2) % (H / 2), n = i / c / (W / 2) / (H / 2);
        want[i] = -INFINITY;
        for (int q = 0; q < 4; q++)
            want[i] =
                fmax(want[i], test_value_at(&in->s, H, W, n, 2 * y + q / 2, 2 * x + q % 2, i % c));
    }
    outcome_check(o, want, "pool");
    free(want);
    test_fence_free(&scratch);
}

static void pool_has_statistics(void **state)
{
    (void)state;
    for_all(H, W, H / 2, W / 2, 2, check_pool);
}

/* In SiLU's image the largest is where the exponential was right; its gradient takes that pixel. */
static void check_pool_gradient(instance *in)
{
    int c = in->c;
    sumi_source values;
    const outcome *o = &in->out;
    test_source(&values, N, H * W, c, c % 2 ? HAS_AFFINE | HAS_SILU : HAS_RELU, 61);
    test_fenced scratch = test_rows_scratch(SUMI_ROWS_POOL_BACKWARD, W, in->rows / 2, c);
    for (int n = 0; n < N; n++)
        for (int y = 0; y < H; y += in->rows)
            in->table->pool_backward(&values, &in->s, &o->sink, H, W, n, y / 2, rows_at(o, y) / 2,
                                     o->bands, scratch.at);
    double *want = test_doubles((size_t)(N * H * W * c));
    for (int i = 0; i < N * H * W * c / 4; i++) {
        int x = i / c % (W / 2), y = i / c / (W / 2) % (H / 2), n = i / c / (W / 2) / (H / 2);
        int best = 0;
        for (int q = 1; q < 4; q++)
            if (test_value_at(&values, H, W, n, 2 * y + q / 2, 2 * x + q % 2, i % c) >
                test_value_at(&values, H, W, n, 2 * y + best / 2, 2 * x + best % 2, i % c))
                best = q;
        want[((n * H + 2 * y + best / 2) * W + 2 * x + best % 2) * c + i % c] =
            test_value(&in->s, H * W / 4, n, y * (W / 2) + x, i % c);
    }
    outcome_check(o, want, "gradient of pool");
    free(want);
    test_fence_free(&scratch);
    test_source_free(&values);
}

static void pool_gradient_of_every_form(void **state)
{
    (void)state;
    for_all(H / 2, W / 2, H, W, 4, check_pool_gradient);
}

/* PyTorch's align_corners=True, in double. */
static double up_reference(const sumi_source *s, int h, int w, int n, int y, int x, int c)
{
    double fy = (double)y * (h - 1) / (2 * h - 1), fx = (double)x * (w - 1) / (2 * w - 1), sum = 0;
    int iy = (int)fy, ix = (int)fx;
    for (int q = 0; q < 4; q++) {
        int sy = iy + q / 2 < h ? iy + q / 2 : h - 1, sx = ix + q % 2 < w ? ix + q % 2 : w - 1;
        sum += (q / 2 ? fy - iy : 1 - fy + iy) * (q % 2 ? fx - ix : 1 - fx + ix) *
               test_value_at(s, h, w, n, sy, sx, c);
    }
    return sum;
}

static void check_upsample(instance *in)
{
    int c = in->c, h = H / 2, w = W / 2;
    const outcome *o = &in->out;
    test_fenced scratch = test_rows_scratch(SUMI_ROWS_UPSAMPLE, w, in->rows, c);
    for (int n = 0; n < N; n++)
        for (int y = 0; y < H; y += in->rows)
            in->table->upsample(&in->s, &o->sink, h, w, n, y, rows_at(o, y), o->bands, scratch.at);
    double *want = test_doubles((size_t)(N * H * W * c));
    for (int i = 0; i < N * H * W * c; i++)
        want[i] = up_reference(&in->s, h, w, i / c / (H * W), i / c / W % H, i / c % W, i % c);
    outcome_check(o, want, "upsample");
    free(want);
    test_fence_free(&scratch);
}

static void upsample_has_statistics(void **state)
{
    (void)state;
    for_all(H / 2, W / 2, H, W, 4, check_upsample);
}

/* Gathered from every form: its weights are those of the forward pass. */
static void check_upsample_gradient(instance *in)
{
    int c = in->c, h = H / 2, w = W / 2;
    const outcome *o = &in->out;
    test_fenced scratch = test_rows_scratch(SUMI_ROWS_UPSAMPLE_BACKWARD, w, in->rows, c);
    float unit[H * W / 4] = {0};
    for (int n = 0; n < N; n++)
        for (int y = 0; y < h; y += in->rows)
            in->table->upsample_backward(&in->s, &o->sink, h, w, n, y, rows_at(o, y), o->bands,
                                         scratch.at);
    double *want = test_doubles((size_t)(N * h * w * c));
    sumi_source one = {.r = unit, .c = 1};
    for (int p = 0; p < h * w; p++) {
        unit[p] = 1;
        for (int q = 0; q < H * W; q++) {
            double weight = up_reference(&one, h, w, 0, q / W, q % W, 0);
            for (int k = 0; weight != 0 && k < N * c; k++)
                want[(k / c * h * w + p) * c + k % c] +=
                    weight * test_value(&in->s, H * W, k / c, q, k % c);
        }
        unit[p] = 0;
    }
    outcome_check(o, want, "gradient of upsample");
    free(want);
    test_fence_free(&scratch);
}

static void upsample_gradient_of_every_form(void **state)
{
    (void)state;
    for_all(H, W, H / 2, W / 2, 2, check_upsample_gradient);
}

/* ---- Cross entropy --------------------------------------------------------------------------- */

/* -sum of q log p, in double; q gets p - q. */
static double plain_cross_entropy(const float *logits, int classes, int label, double smoothing,
                                  double *gradient)
{
    double sum = 0, loss = 0, largest = -INFINITY;
    for (int i = 0; i < classes; i++)
        largest = fmax(largest, (double)logits[i]);
    for (int i = 0; i < classes; i++)
        sum += exp((double)logits[i] - largest);
    for (int i = 0; i < classes; i++) {
        double q = smoothing / classes + (i == label ? 1 - smoothing : 0);
        loss -= q * ((double)logits[i] - largest - log(sum));
        gradient[i] = exp((double)logits[i] - largest) / sum - q;
    }
    return loss;
}

static void cross_entropy_and_its_gradient(void **state)
{
    (void)state;
    static const int class_counts[] = {1, 2, 10, 16, 33, 100};
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++)
        for (int i = 0; i < 48; i++) {
            int classes = class_counts[i % 6], label = i * 7 % classes;
            float smoothing = i / 6 % 2 ? 0.1f : 0.0f, factor = i / 12 % 2 ? 0.25f : 1.0f;
            float spread = i / 24 ? 60.0f : 4.0f; /* few and many of them vanish */
            float *logits = test_floats((size_t)classes, (uint64_t)i);
            for (int k = 0; k < classes; k++)
                logits[k] = spread * logits[k] + (i / 24 ? 1e4f : 0);
            float *found = test_scratch((size_t)classes);
            double *gradient = test_doubles((size_t)classes);
            double want = plain_cross_entropy(logits, classes, label, (double)smoothing, gradient);
            double loss = table->cross_entropy(logits, classes, label, smoothing, factor, found);
            assert_true(fabs(loss - want) <= 3e-7 * (1 + fabs(want)));
            for (int k = 0; k < classes; k++)
                assert_true(fabs((double)found[k] - (double)factor * gradient[k]) <= 3e-7);
            assert_true(table->cross_entropy(logits, classes, -1, smoothing, factor, found) == 0);
            for (int k = 0; k < classes; k++)
                assert_true(found[k] == 0);
            free(logits);
            free(found);
            free(gradient);
        }
}

static void cross_entropy_shows_broken_numbers(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++)
        for (int at = 0; at < 20; at += 19) {
            float logits[20] = {0}, found[20];
            logits[at] = NAN;
            assert_true(isnan(table->cross_entropy(logits, 20, 3, 0.1f, 1, found)));
            assert_false(table->all_finite(found, 20));
            logits[at] = INFINITY;
            assert_false(isfinite(table->cross_entropy(logits, 20, 3, 0.1f, 1, found)));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shrink_is_mean_sum_or_first),
        cmocka_unit_test(grow_repeats_spreads_or_places),
        cmocka_unit_test(frames_repeat_or_cut),
        cmocka_unit_test(grow_is_the_transpose_of_shrink),
        cmocka_unit_test(sum_adds_forms),
        cmocka_unit_test(mean_over_the_pixels),
        cmocka_unit_test(gradient_of_the_mean),
        cmocka_unit_test(pool_has_statistics),
        cmocka_unit_test(pool_gradient_of_every_form),
        cmocka_unit_test(upsample_has_statistics),
        cmocka_unit_test(upsample_gradient_of_every_form),
        cmocka_unit_test(cross_entropy_and_its_gradient),
        cmocka_unit_test(cross_entropy_shows_broken_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
