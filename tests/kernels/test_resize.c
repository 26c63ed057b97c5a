/*
 * Pooling and up-sampling: values against plain double formulas, ties and NaN, gradients against
 * finite differences of the loss sum(dy * y).
 */
#include "kernels/kernel_test.h"

enum { N = 2, H = 6, W = 4, C = 21 };
#define FLOATS ((size_t)(N * H * W * C))

static void pool_rows(const sumi_kernels *table, const sumi_source *s, float *dst)
{
    const sumi_sink sink = {.dst = dst, .c = C};
    for (int n = 0; n < N; n++) {
        table->pool(s, &sink, H, W, n, 0, 2, 2, NULL);
        table->pool(s, &sink, H, W, n, 2, H / 2 - 2, 2, NULL);
    }
}

static void pool_takes_the_largest(void **state)
{
    (void)state;
    static const int forms[] = {0, HAS_AFFINE | PER_IMAGE, HAS_AFFINE | HAS_RELU | HAS_POST};
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (size_t f = 0; f < 3; f++) {
            sumi_source s;
            test_source(&s, N, H * W, C, forms[f], f);
            float *dst = test_scratch(FLOATS / 4);
            pool_rows(table, &s, dst);
            for (int i = 0; i < N * H / 2 * W / 2 * C; i++) {
                int n = i / (H / 2 * W / 2 * C), y = i / (W / 2 * C) % (H / 2), x = i / C % (W / 2);
                double want = -INFINITY;
                for (int q = 0; q < 4; q++)
                    want =
                        fmax(want, test_value_at(&s, H, W, n, 2 * y + q / 2, 2 * x + q % 2, i % C));
                assert_float_equal(dst[i], want, 1e-6);
            }
            free(dst);
            test_source_free(&s);
        }
    }
}

/* Rows of the pooled image in two bands, so that store is told the right one. */
static void pool_backward_rows(const sumi_kernels *table, const sumi_source *s,
                               const sumi_source *dy, const sumi_sink *sink)
{
    float *scratch = test_scratch((size_t)(4 * W * C));
    for (int n = 0; n < N; n++) {
        table->pool_backward(s, dy, sink, H, W, n, 0, 2, 2, scratch);
        table->pool_backward(s, dy, sink, H, W, n, 2, H / 2 - 2, 2, scratch);
    }
    free(scratch);
}

/* The gradient goes whole to the first row-major maximum; ties and ReLU zeros are everywhere. */
static void pool_gradient_goes_to_the_first_maximum(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (int variant = 0; variant < 2; variant++) {
            sumi_source s, dy;
            test_source(&s, N, H * W, C, variant == 0 ? 0 : HAS_AFFINE | HAS_RELU | HAS_POST, 3);
            float *r = test_floats(FLOATS, 4);
            for (size_t i = 0; i < FLOATS; i++)
                r[i] = roundf(r[i] * 2.0f); /* -2 .. 2: many ties */
            free((void *)(uintptr_t)s.r);
            s.r = r;
            test_source(&dy, N, H * W / 4, C,
                        variant == 0 ? IS_GRADIENT : IS_GRADIENT | HAS_NORM | HAS_RELU, 5);
            float *dx = test_floats(FLOATS, 6), *before = test_floats(FLOATS, 6);
            float *sums = test_scratch((size_t)(N * 2 * 3 * C));
            sumi_sink sink = {.dst = dx, .c = C, .accumulate = variant == 1, .sums = sums};
            pool_backward_rows(table, &s, &dy, &sink);
            double *want = test_doubles(FLOATS), *row0 = test_doubles((size_t)(N * 2 * C));
            for (int i = 0; i < N * H / 2 * W / 2 * C; i++) {
                int n = i / (H / 2 * W / 2 * C), y = i / (W / 2 * C) % (H / 2), x = i / C % (W / 2);
                int best = 0;
                for (int q = 1; q < 4; q++)
                    if (test_value_at(&s, H, W, n, 2 * y + q / 2, 2 * x + q % 2, i % C) >
                        test_value_at(&s, H, W, n, 2 * y + best / 2, 2 * x + best % 2, i % C))
                        best = q;
                double g = test_value(&dy, H * W / 4, n, y * (W / 2) + x, i % C);
                int pixel = (n * H + 2 * y + best / 2) * W + 2 * x + best % 2;
                want[pixel * C + i % C] += g;
                row0[(n * 2 + y / 2) * C + i % C] += g;
            }
            for (size_t i = 0; variant == 1 && i < FLOATS; i++)
                want[i] += (double)before[i];
            test_close(dx, want, FLOATS, 1e-6, "pool_backward");
            for (int i = 0; i < N * 2 * C; i++)
                assert_float_equal(sums[i / C * 3 * C + i % C], row0[i], 1e-5);
            free(want);
            free(row0);
            free(dx);
            free(before);
            free(sums);
            test_source_free(&s);
            test_source_free(&dy);
        }
    }
}

static void pool_shows_nan(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        float *r = test_floats(FLOATS, 1), *dst = test_scratch(FLOATS / 4);
        r[0] = NAN;                   /* first of its window */
        r[(W + 3) * C + C - 1] = NAN; /* last of its window */
        sumi_source s = {.r = r, .c = C};
        pool_rows(table, &s, dst);
        for (int i = 0; i < H / 2 * W / 2 * C; i++)
            assert_int_equal(isnan(dst[i]) != 0, i == 0 || i == 2 * C - 1);
        free(r);
        free(dst);
    }
}

/* ---- Up-sampling ----------------------------------------------------------------------------- */

/* PyTorch's align_corners=True, in double. */
static double up_reference(const sumi_source *s, int h, int w, int n, int y, int x, int c)
{
    double fy = h > 1 ? (double)y * (h - 1) / (2 * h - 1) : 0.0;
    double fx = w > 1 ? (double)x * (w - 1) / (2 * w - 1) : 0.0;
    int iy = (int)fy, ix = (int)fx;
    double ty = fy - iy, tx = fx - ix, sum = 0.0;
    for (int q = 0; q < 4; q++) {
        int sy = iy + q / 2 < h ? iy + q / 2 : h - 1, sx = ix + q % 2 < w ? ix + q % 2 : w - 1;
        sum += (q / 2 ? ty : 1.0 - ty) * (q % 2 ? tx : 1.0 - tx) *
               test_value_at(s, h, w, n, sy, sx, c);
    }
    return sum;
}

static const int sizes[][2] = {{1, 1}, {1, 3}, {2, 2}, {3, 5}, {7, 7}, {14, 4}, {16, 3}, {23, 2}};
#define SIZES (sizeof sizes / sizeof sizes[0])

static void upsample_is_bilinear(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (size_t i = 0; i < SIZES; i++) {
            int h = sizes[i][0], w = sizes[i][1];
            sumi_source s;
            test_source(&s, N, h * w, C,
                        i % 2 == 0 ? HAS_AFFINE | HAS_RELU | HAS_POST | PER_IMAGE : 0, i);
            size_t floats = (size_t)(N * h * w * C) * 4;
            float *dst = test_scratch(floats), *scratch = test_scratch((size_t)(2 * w * C));
            const sumi_sink sink = {.dst = dst, .c = C};
            for (int n = 0; n < N; n++)
                for (int y = 0; y < 2 * h; y += 3)
                    table->upsample(&s, &sink, h, w, n, y, 2 * h - y < 3 ? 2 * h - y : 3, 1,
                                    scratch);
            double *want = test_doubles(floats);
            for (int p = 0; p < N * 4 * h * w; p++)
                for (int c = 0; c < C; c++)
                    want[p * C + c] = up_reference(&s, h, w, p / (4 * h * w), p / (2 * w) % (2 * h),
                                                   p % (2 * w), c);
            test_close(dst, want, floats, 1e-6, "upsample");
            free(want);
            free(dst);
            free(scratch);
            test_source_free(&s);
        }
    }
}

/* The gradient of sum(dy * up(x)) by x is linear: up of a unit image gives it exactly. */
static void upsample_gradient_is_the_transpose(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (size_t i = 0; i < SIZES; i++) {
            int h = sizes[i][0], w = sizes[i][1], bands = h > 4 ? (h + 4) / 5 : 1;
            sumi_source dy;
            test_source(&dy, N, 4 * h * w, C,
                        i % 2 == 0 ? IS_GRADIENT : IS_GRADIENT | HAS_NORM | HAS_RELU | PER_IMAGE,
                        i + 30);
            size_t floats = (size_t)(N * h * w * C);
            float *dx = test_scratch(floats), *scratch = test_scratch((size_t)(5 * w * C));
            float *sums = test_scratch((size_t)(N * bands * 3 * C));
            sumi_sink sink = {.dst = dx, .c = C, .sums = sums};
            for (int n = 0; n < N; n++)
                for (int y = 0; y < h; y += 5)
                    table->upsample_backward(&dy, &sink, h, w, n, y, h - y < 5 ? h - y : 5, bands,
                                             scratch);
            double *want = test_doubles(floats);
            float *unit = calloc((size_t)(h * w), sizeof *unit);
            assert_non_null(unit);
            sumi_source one = {.r = unit, .c = 1};
            for (int p = 0; p < h * w; p++) {
                unit[p] = 1.0f;
                for (int q = 0; q < 4 * h * w; q++) {
                    double weight = up_reference(&one, h, w, 0, q / (2 * w), q % (2 * w), 0);
                    for (int k = 0; weight != 0.0 && k < N * C; k++)
                        want[(k / C * h * w + p) * C + k % C] +=
                            weight * test_value(&dy, 4 * h * w, k / C, q, k % C);
                }
                unit[p] = 0.0f;
            }
            test_close(dx, want, floats, 2e-6, "upsample_backward");
            double total = 0.0, sum = 0.0;
            for (size_t k = 0; k < floats; k++)
                total += (double)dx[k];
            for (int k = 0; k < N * bands * C; k++)
                sum += (double)sums[k / C * 3 * C + k % C];
            assert_true(fabs(total - sum) < 1e-4);
            free(unit);
            free(want);
            free(dx);
            free(scratch);
            free(sums);
            test_source_free(&dy);
        }
    }
}

/* Pool by finite differences: nudge an input where no tie is near, and the loss follows dx. */
static void pool_gradient_follows_the_loss(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        float *r = test_floats(FLOATS, 8), *y = test_scratch(FLOATS / 4);
        float *dx = test_scratch(FLOATS);
        sumi_source s = {.r = r, .c = C}, dy;
        test_source(&dy, N, H * W / 4, C, IS_GRADIENT, 9);
        sumi_sink sink = {.dst = dx, .c = C};
        pool_backward_rows(table, &s, &dy, &sink);
        for (size_t i = 0; i < FLOATS; i += 37) {
            float kept = r[i];
            double loss[2] = {0.0, 0.0};
            for (int side = 0; side < 2; side++) {
                r[i] = kept + (side == 0 ? -1e-4f : 1e-4f);
                pool_rows(table, &s, y);
                for (size_t k = 0; k < FLOATS / 4; k++)
                    loss[side] += (double)y[k] * (double)((const float *)dy.g)[k];
            }
            r[i] = kept;
            assert_true(fabs((loss[1] - loss[0]) / 2e-4 - (double)dx[i]) < 2e-3);
        }
        free(r);
        free(y);
        free(dx);
        test_source_free(&dy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_takes_the_largest),
        cmocka_unit_test(pool_gradient_goes_to_the_first_maximum),
        cmocka_unit_test(pool_gradient_follows_the_loss),
        cmocka_unit_test(pool_shows_nan),
        cmocka_unit_test(upsample_is_bilinear),
        cmocka_unit_test(upsample_gradient_is_the_transpose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
