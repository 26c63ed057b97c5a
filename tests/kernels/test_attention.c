/*
 * Attention and its gradient against plain double formulas: heads of any number of channels, from
 * one pixel to more than are taken at a time, what is pending on its source, statistics of its
 * result; and numbers that are none.
 */
#include "kernels/kernel_test.h"

#include "kernels/attention_head.h"

enum { N = 2 };

/* The last has scores so far apart that a row of shares is nearly one pixel's alone. */
static const struct {
    int h, w, heads, d, bits, gradient;
    float gain;
} cases[] = {
    {1, 1, 2, 3, 0, IS_GRADIENT, 1},
    {3, 5, 3, 5, HAS_AFFINE | HAS_SILU | PER_IMAGE, IS_GRADIENT | HAS_AFFINE | HAS_SILU, 1},
    {7, 7, 2, 64, 0, IS_GRADIENT, 1},
    {4, 4, 4, 16, IS_BF16, IS_GRADIENT | IS_BF16, 1},
    {9, 11, 1, 40, HAS_AFFINE | HAS_POST, IS_GRADIENT | HAS_NORM | PER_IMAGE, 1},
    {16, 9, 1, 33, 0, IS_GRADIENT, 30}};
enum { CASES = sizeof cases / sizeof *cases };

static void expect(int which, const double *x, const double *dy, double *y, double *dx)
{
    int t = cases[which].h * cases[which].w, c = cases[which].heads * cases[which].d;
    double *p = test_doubles((size_t)(2 * t * t));
    for (int i = 0; i < N * cases[which].heads; i++) {
        int n = i / cases[which].heads;
        const head a = {.x = x + n * t * 3 * c,
                        .p = p,
                        .dp = p + t * t,
                        .pixels = t,
                        .c = c,
                        .k0 = i % cases[which].heads * cases[which].d,
                        .d = cases[which].d};
        head_scores(&a);
        head_shares(&a);
        head_mix(&a, y + n * t * c);
        head_gradient(&a, dy + n * t * c, dx + n * t * 3 * c);
    }
    free(p);
}

/* The sum that a band hands on for a channel's shift, and its mean. */
static void check_statistics(const float *sums, const float *moments, const double *y, int pixels,
                             int c, double gain)
{
    for (int n = 0; n < N; n++)
        for (int k = 0; k < c; k++) {
            double sum = 0;
            for (int p = 0; p < pixels; p++)
                sum += y[(n * pixels + p) * c + k];
            if (sums)
                assert_true(fabs(sums[n * 3 * c + k] - sum) <= 1e-4 * gain * (1 + fabs(sum)));
            if (moments)
                assert_true(fabs(moments[n * 2 * c + k] - sum / pixels) <= 1e-5 * gain);
        }
}

static void scale(const sumi_source *source, size_t count, float gain)
{
    float *r = (float *)(uintptr_t)source->r;
    for (size_t i = 0; i < count && gain != 1; i++)
        r[i] *= gain;
}

static void check(const sumi_kernels *table, int which)
{
    int h = cases[which].h, w = cases[which].w, pixels = h * w, heads = cases[which].heads;
    int c = heads * cases[which].d;
    size_t count = (size_t)(N * pixels * c);
    sumi_source source, dy;
    test_source(&source, N, pixels, 3 * c, cases[which].bits, 5);
    test_source(&dy, N, pixels, c, cases[which].gradient, 6);
    scale(&source, 3 * count, cases[which].gain);
    float *y = test_scratch(count), *dx = test_scratch(3 * count);
    float *moments = test_scratch((size_t)(2 * N * c)), *sums = test_scratch((size_t)(9 * N * c));
    const sumi_attention a = {&source, heads, h, w};
    const sumi_sink out = {.dst = y, .c = c, .moments = moments};
    const sumi_sink back = {.dst = dx, .c = 3 * c, .sums = sums};
    test_fenced scratch =
        test_fence(sumi_attention_scratch_of(pixels, cases[which].d, table->vector_floats).total);
    for (int i = N * heads - 1; i >= 0; i--) {
        table->attention(&a, &out, i / heads, i % heads, scratch.at);
        table->attention_backward(&a, &dy, &back, i / heads, i % heads, scratch.at);
    }
    double *values = test_values(&source, N, pixels), *gradients = test_values(&dy, N, pixels);
    double *want = test_doubles(count), *want_dx = test_doubles(3 * count);
    expect(which, values, gradients, want, want_dx);
    test_close(y, want, count, 2e-6 * (double)cases[which].gain, table->name);
    test_close(dx, want_dx, 3 * count, 2e-6 * (double)cases[which].gain, table->name);
    check_statistics(NULL, moments, want, pixels, c, (double)cases[which].gain);
    check_statistics(sums, NULL, want_dx, pixels, 3 * c, (double)cases[which].gain);
    test_fence_free(&scratch);
    test_source_free(&source);
    test_source_free(&dy);
    void *all[] = {y, dx, moments, sums, values, gradients, want, want_dx};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void test_attention(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++)
        for (int i = 0; i < CASES; i++)
            check(table, i);
}

/* A broken network shows: one key that is no number reaches every pixel, one query its own. */
static void test_nan_stays(void **state)
{
    (void)state;
    enum { H = 5, W = 6, D = 7 };
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        float *x = test_floats(H * W * 3 * D, 3), *y = test_scratch(H * W * D);
        sumi_source source = {.r = x, .c = 3 * D};
        const sumi_attention a = {&source, 1, H, W};
        const sumi_sink out = {.dst = y, .c = D};
        test_fenced scratch =
            test_fence(sumi_attention_scratch_of(H * W, D, table->vector_floats).total);
        x[(H * W - 1) * 3 * D] = NAN; /* of the last pixel's query */
        table->attention(&a, &out, 0, 0, scratch.at);
        for (int i = 0; i < H * W * D; i++)
            assert_int_equal(isnan(y[i]) != 0, i / D == H * W - 1);
        x[4 * 3 * D + D] = NAN; /* of a key */
        table->attention(&a, &out, 0, 0, scratch.at);
        for (int i = 0; i < H * W * D; i++)
            assert_true(isnan(y[i]));
        munmap(scratch.pages, scratch.bytes); /* it may hold NaN anywhere */
        free(x);
        free(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_nan_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
