/*
 * fill and store by themselves: every pending form at odd channel counts, moments far from zero,
 * the backward sums, blocks that cut sinks in the middle.
 */
#include "kernels/kernel_test.h"

static const int forms[] = {
    0,
    HAS_AFFINE,
    HAS_RELU,
    HAS_POST,
    HAS_AFFINE | HAS_RELU | HAS_POST | PER_IMAGE,
    IS_GRADIENT,
    IS_GRADIENT | HAS_AFFINE,
    IS_GRADIENT | HAS_AFFINE | HAS_RELU | PER_IMAGE,
    IS_GRADIENT | HAS_RELU | HAS_NORM,
    IS_GRADIENT | HAS_AFFINE | HAS_RELU | HAS_NORM | PER_IMAGE,
    HAS_SILU,
    HAS_AFFINE | HAS_SILU | HAS_POST | PER_IMAGE,
    HAS_AFFINE | HAS_SILU | IS_BF16,
    IS_GRADIENT | HAS_SILU,
    IS_GRADIENT | HAS_AFFINE | HAS_SILU | HAS_NORM | PER_IMAGE,
    IS_GRADIENT | HAS_AFFINE | HAS_SILU | HAS_NORM | IS_BF16,
};
#define FORMS (sizeof forms / sizeof forms[0])

/* Two sources of 70 and 21 channels; strips that stick out on every side and cut both. */
static void fill_pads_and_concatenates(void **state)
{
    (void)state;
    enum { N = 2, H = 5, W = 6, C0 = 70, C1 = 21 };
    static const sumi_strip strips[] = {
        {.n = 0, .y0 = -1, .rows = H + 2, .x0 = -1, .cols = W + 2, .c0 = 0, .cn = C0 + C1},
        {.n = 1, .y0 = 2, .rows = 9, .x0 = 3, .cols = 5, .c0 = 33, .cn = 50},
        {.n = 1, .y0 = -4, .rows = 3, .x0 = 0, .cols = 4, .c0 = 69, .cn = 2},
        {.n = 0, .y0 = 1, .rows = 2, .x0 = -7, .cols = 5, .c0 = 70, .cn = 21},
        {.n = 0, .y0 = 4, .rows = 1, .x0 = 5, .cols = 1, .c0 = 5, .cn = 1},
    };
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (size_t f = 0; f < FORMS; f++) {
            sumi_source sources[2];
            test_source(&sources[0], N, H * W, C0, forms[f], f);
            test_source(&sources[1], N, H * W, C1, forms[(f + 1) % FORMS], f + 50);
            for (size_t i = 0; i < sizeof strips / sizeof strips[0]; i++) {
                sumi_strip s = strips[i];
                s.pixel_stride = (size_t)s.cn + (i % 2) * 5;
                s.row_stride = s.pixel_stride * (size_t)s.cols + i;
                float *dst = test_scratch(s.row_stride * (size_t)s.rows);
                s.dst = dst;
                table->fill(sources, 2, H, W, &s);
                for (int y = 0; y < s.rows; y++)
                    for (int x = 0; x < s.cols; x++)
                        for (int c = 0; c < s.cn; c++) {
                            double want =
                                test_value_at(sources, H, W, s.n, s.y0 + y, s.x0 + x, s.c0 + c);
                            size_t at = (size_t)y * s.row_stride + (size_t)x * s.pixel_stride;
                            assert_float_equal(dst[at + (size_t)c], want, 1e-6);
                        }
                /* What lies between pixels stays as it was. */
                for (int x = 0; x < s.cols && s.pixel_stride > (size_t)s.cn; x++)
                    assert_true(isnan(dst[(size_t)x * s.pixel_stride + (size_t)s.cn]));
                free(dst);
            }
            test_source_free(&sources[0]);
            test_source_free(&sources[1]);
        }
    }
}

/* Two bands of 3 and 2 rows, 37 channels, two images: one block each, cut at channel 20. */
enum { N = 2, H = 5, W = 7, C = 37, CUT = 20, BANDS = 2, ROWS = 3 };
#define FLOATS ((size_t)(N * H * W * C))

static const test_blocks blocks = {N, H, W, BANDS, ROWS, CUT};

/* Pixels of a band, in double: their count, mean and sum of squared differences. */
static void band_moments(const float *x, int n, int band, int c, double *mean, double *spread)
{
    int y1 = (band + 1) * ROWS < H ? (band + 1) * ROWS : H, count = (y1 - band * ROWS) * W;
    *mean = *spread = 0.0;
    for (int p = band * ROWS * W; p < y1 * W; p++)
        *mean += (double)x[(size_t)((n * H * W + p) * C + c)] / count;
    for (int p = band * ROWS * W; p < y1 * W; p++) {
        double d = (double)x[(size_t)((n * H * W + p) * C + c)] - *mean;
        *spread += d * d;
    }
}

static void moments_far_from_zero(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (int variant = 0; variant < 3; variant++) {
            float *result = test_floats(FLOATS, 4), *dst = test_floats(FLOATS, 5);
            float *moments = test_scratch((size_t)(N * BANDS * 2 * C));
            float *bias = test_floats(C, 6);
            for (int c = 0; c < C; c++)
                bias[c] = 1000.0f + (float)c;
            sumi_sink sink = {
                .dst = dst, .c = C, .bias = bias, .moments = moments, .accumulate = variant == 1};
            test_store_all(table, &sink, result, &blocks);
            if (variant == 2) { /* statistics without the tensor */
                for (int i = 0; i < N * BANDS * 2 * C; i++)
                    moments[i] = NAN;
                sink.dst = NULL;
                test_store_all(table, &sink, result, &blocks);
            }
            for (int n = 0; n < N; n++)
                for (int band = 0; band < BANDS; band++)
                    for (int c = 0; c < C; c++) {
                        double mean, spread;
                        band_moments(dst, n, band, c, &mean, &spread);
                        const float *m = moments + (size_t)((n * BANDS + band) * 2 * C + c);
                        assert_float_equal(m[0], mean, 7e-5);
                        assert_true(fabs((double)m[C] - spread) < 1e-5 * spread);
                    }
            free(result);
            free(dst);
            free(moments);
            free(bias);
        }
    }
}

/* What kernels.h says of the three sums, and of what is written. */
static void check_sums(const sumi_sink *sink, const float *result, const float *before, int n,
                       int band, int c)
{
    int y1 = (band + 1) * ROWS < H ? (band + 1) * ROWS : H;
    double want[3] = {0.0, 0.0, 0.0};
    for (int p = band * ROWS * W; p < y1 * W; p++) {
        size_t i = (size_t)((n * H * W + p) * C + c);
        double v = (double)result[i];
        double d = v + (sink->accumulate ? (double)before[i] : 0.0);
        want[0] += v;
        if (!sink->through_silu)
            assert_float_equal(test_element(sink->dst, false, i), d, 1e-6);
        if (sink->stat == NULL)
            continue;
        const sumi_source *s = sink->stat;
        double r = test_element(s->r, s->bf16, i);
        double z = test_coef(s->scale, s->coef_stride, n, c, 1.0) * r +
                   test_coef(s->shift, s->coef_stride, n, c, 0.0);
        d *= test_act_slope(s->act, z);
        if (sink->through_silu)
            assert_float_equal(test_element(sink->dst, false, i), d, 1e-6);
        want[1] += d;
        want[2] += d * (r - test_coef(sink->mean, s->coef_stride, n, c, 0.0));
    }
    const float *sums = sink->sums + (size_t)((n * BANDS + band) * 3 * C + c);
    for (int q = 0; q < 3; q++) {
        if (q > 0 && sink->stat == NULL)
            assert_true(isnan(sums[q * C]));
        else
            assert_float_equal(sums[q * C], want[q], 1e-5);
    }
}

static void backward_sums(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (int variant = 0; variant < 8; variant++) {
            float *result = test_floats(FLOATS, 14);
            float *dst = test_floats(FLOATS, 15), *before = test_floats(FLOATS, 15);
            float *sums = test_scratch((size_t)(N * BANDS * 3 * C));
            float *mean = test_floats((size_t)(N * C), 16);
            sumi_source stat;
            int act = variant < 4 ? HAS_RELU : HAS_SILU;
            test_source(&stat, N, H * W, C,
                        variant == 2 ? 0 : HAS_AFFINE | act | (variant % 4 == 1 ? PER_IMAGE : 0),
                        17);
            sumi_sink sink = {.dst = dst,
                              .c = C,
                              .accumulate = variant % 2 == 1,
                              .sums = sums,
                              .stat = variant == 3 ? NULL : &stat,
                              .mean = variant == 2 ? NULL : mean,
                              .through_silu = variant >= 6};
            test_store_all(table, &sink, result, &blocks);
            for (int n = 0; n < N; n++)
                for (int band = 0; band < BANDS; band++)
                    for (int c = 0; c < C; c++)
                        check_sums(&sink, result, before, n, band, c);
            free(result);
            free(dst);
            free(before);
            free(sums);
            free(mean);
            test_source_free(&stat);
        }
    }
}

/* An activation in the store: of the result, its bias and what is added; then moments. */
static void store_activates(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (int variant = 0; variant < 6; variant++) {
            bool bf16 = variant % 3 == 2;
            sumi_act act = variant < 3 ? SUMI_ACT_SILU : SUMI_ACT_RELU;
            float *result = test_floats(FLOATS, 21), *bias = test_floats(C, 22);
            const void *residual = test_tensor(test_floats(FLOATS, 23), FLOATS, bf16);
            void *dst = (void *)(uintptr_t)test_tensor(test_floats(FLOATS, 24), FLOATS, bf16);
            float *moments = test_scratch((size_t)(N * BANDS * 2 * C));
            sumi_sink sink = {.dst = dst,
                              .bf16 = bf16,
                              .c = C,
                              .bias = bias,
                              .residual = variant % 3 == 1 ? NULL : residual,
                              .act = act,
                              .moments = moments};
            test_store_all(table, &sink, result, &blocks);
            float *found = test_scratch(FLOATS);
            for (size_t i = 0; i < FLOATS; i++) {
                double z = (double)result[i] + (double)bias[i % C];
                if (sink.residual != NULL)
                    z += test_element(residual, bf16, i);
                double want = test_act(act, z);
                found[i] = (float)test_element(dst, bf16, i);
                assert_true(fabs((double)found[i] - want) <=
                            (bf16 ? 4e-3 : 1e-6) * fabs(want) + 1e-7);
            }
            for (int i = 0; i < N * BANDS * C; i++) {
                double mean, spread;
                band_moments(found, i / C / BANDS, i / C % BANDS, i % C, &mean, &spread);
                const float *m = moments + (size_t)(i / C * 2 * C + i % C);
                assert_true(fabs((double)m[0] - mean) < 1e-6);
                assert_true(fabs((double)m[C] - spread) <= 1e-5 * spread + 1e-9);
            }
            free(result);
            free(bias);
            free((void *)(uintptr_t)residual);
            free(dst);
            free(moments);
            free(found);
        }
    }
}

/* NaN survives bias, activation and store. */
static void broken_numbers_show(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        float *result = test_floats(FLOATS, 1), *dst = test_floats(FLOATS, 2);
        result[3] = NAN;
        result[36] = NAN;
        for (int silu = 0; silu < 2; silu++) {
            sumi_sink sink = {.dst = dst, .c = C, .act = silu ? SUMI_ACT_SILU : SUMI_ACT_RELU};
            test_store_all(table, &sink, result, &blocks);
            assert_true(isnan(dst[3]) && isnan(dst[36]) && !isnan(dst[4]));
            assert_false(table->all_finite(dst, FLOATS));
        }
        free(result);
        free(dst);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fill_pads_and_concatenates),
        cmocka_unit_test(moments_far_from_zero),
        cmocka_unit_test(backward_sums),
        cmocka_unit_test(store_activates),
        cmocka_unit_test(broken_numbers_show),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
