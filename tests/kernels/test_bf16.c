/*
 * Tensors kept as bfloat16: rounding of every kind of number, and every kernel that loads or stores
 * them against what the float32 kernels say of the same numbers, rounded in plain C.
 */
#include "kernels/kernel_test.h"

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ---- Rounding -------------------------------------------------------------------------------- */

static void plain_rounding_is_right(void **state)
{
    (void)state;
    assert_int_equal(test_to_bf16(1.0f), 0x3f80);
    assert_int_equal(test_to_bf16(float_of(0x3f808000)), 0x3f80); /* a tie, down to even */
    assert_int_equal(test_to_bf16(float_of(0x3f818000)), 0x3f82); /* a tie, up to even */
    assert_int_equal(test_to_bf16(float_of(0x3f808001)), 0x3f81);
    assert_int_equal(test_to_bf16(float_of(0x7f7fffff)), 0x7f80); /* FLT_MAX: infinity */
    assert_int_equal(test_to_bf16(float_of(0x00008000)), 0x0000); /* half the smallest denormal */
    assert_int_equal(test_to_bf16(float_of(0x00008001)), 0x0001);
}

/* Every upper half with lower halves at, beside and between the ties, as one long run and in all
 * short ones. */
static void numbers_are_rounded_to_nearest_even(void **state)
{
    (void)state;
    static const uint32_t low[] = {0, 1, 0x1234, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff};
    enum { LOWS = sizeof low / sizeof low[0], COUNT = 65536 };
    const sumi_kernels *table;
    float *x = test_scratch(COUNT), *out = test_scratch(COUNT);
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (size_t l = 0; l < LOWS; l++) {
            for (uint32_t i = 0; i < COUNT; i++) {
                uint32_t bits = i << 16 | low[l];
                memcpy(&x[i], &bits, sizeof bits);
            }
            table->round_bf16(x, out, COUNT);
            for (uint32_t i = 0; i < COUNT; i++) {
                uint32_t want = (uint32_t)test_to_bf16(x[i]) << 16;
                assert_int_equal(bits_of(out[i]), want);
                assert_int_equal(isnan(x[i]) != 0, isnan(out[i]) != 0);
            }
        }
        for (size_t count = 0; count < 40; count++) {
            float after = out[count];
            memset(out, 0xff, count * sizeof *out);
            table->round_bf16(x + 16200, out, count);
            for (size_t i = 0; i < count; i++)
                assert_int_equal(bits_of(out[i]), (uint32_t)test_to_bf16(x[16200 + i]) << 16);
            assert_memory_equal(&out[count], &after, sizeof after);
        }
    }
    free(x);
    free(out);
}

/* Numbers that a random tensor has none of, spread over it. */
static void spoil(float *x, size_t count)
{
    static const uint32_t odd[] = {0x7f800000, 0xff800000, 0x7fc00001, 0x7f800001, 0xffffffff,
                                   0x3f808000, 0x3f818000, 0xbf818000, 0x00000001, 0x80008001,
                                   0x007fffff, 0x7f7fffff, 0x80000000};
    for (size_t i = 0, k = 0; i < count; i += 5, k++)
        x[i] = float_of(odd[k % (sizeof odd / sizeof odd[0])]);
}

static void check_halves(const uint16_t *got, const float *want, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (got[i] != test_to_bf16(want[i]))
            fail_msg("element %zu: %04x, expected %04x for %g", i, got[i], test_to_bf16(want[i]),
                     (double)want[i]);
}

/* ---- fill ------------------------------------------------------------------------------------ */

static const int forms[] = {
    0,
    HAS_AFFINE | HAS_POST | PER_IMAGE,
    HAS_AFFINE | HAS_RELU | HAS_POST,
    IS_GRADIENT,
    IS_GRADIENT | HAS_AFFINE | HAS_RELU | PER_IMAGE,
    IS_GRADIENT | HAS_AFFINE | HAS_RELU | HAS_NORM,
};
#define FORMS (sizeof forms / sizeof forms[0])

/* Three sources side by side, the middle one float32; strips that stick out and cut two of them. */
static void fill_widens(void **state)
{
    (void)state;
    enum { N = 2, H = 5, W = 6, C0 = 70, C1 = 3, C2 = 21, C = C0 + C1 + C2 };
    static const sumi_strip strips[] = {
        {.n = 0, .y0 = -1, .rows = H + 2, .x0 = -1, .cols = W + 2, .cn = C},
        {.n = 1, .y0 = 2, .rows = 9, .x0 = 3, .cols = 5, .c0 = 33, .cn = 50},
        {.n = 1, .y0 = 0, .rows = 2, .x0 = 0, .cols = W, .c0 = 0, .cn = C0},
    };
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (size_t f = 0; f < FORMS; f++) {
            sumi_source sources[3];
            test_source(&sources[0], N, H * W, C0, forms[f] | IS_BF16, f);
            test_source(&sources[1], N, H * W, C1, forms[f], f + 20);
            test_source(&sources[2], N, H * W, C2, forms[(f + 1) % FORMS] | IS_BF16, f + 50);
            for (size_t i = 0; i < sizeof strips / sizeof strips[0]; i++) {
                sumi_strip s = strips[i];
                s.pixel_stride = (size_t)s.cn + i % 2;
                s.row_stride = s.pixel_stride * (size_t)s.cols;
                s.dst = test_scratch(s.row_stride * (size_t)s.rows);
                table->fill(sources, 3, H, W, &s);
                for (int y = 0; y < s.rows; y++)
                    for (int x = 0; x < s.cols; x++)
                        for (int c = 0; c < s.cn; c++)
                            assert_float_equal(
                                s.dst[(size_t)y * s.row_stride + (size_t)x * s.pixel_stride +
                                      (size_t)c],
                                test_value_at(sources, H, W, s.n, s.y0 + y, s.x0 + x, s.c0 + c),
                                1e-6);
                free(s.dst);
            }
            for (int k = 0; k < 3; k++)
                test_source_free(&sources[k]);
        }
    }
}

/* A plain copy keeps every bit pattern that is not a signalling NaN. */
static void fill_keeps_odd_numbers(void **state)
{
    (void)state;
    enum { C = 67 };
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        float *x = test_floats(C, 3), out[C];
        spoil(x, C);
        sumi_source source = {.r = test_tensor(x, C, true), .bf16 = true, .c = C};
        sumi_strip strip = {.rows = 1, .cols = 1, .cn = C, .dst = out, .pixel_stride = C};
        table->fill(&source, 1, 1, 1, &strip);
        for (int c = 0; c < C; c++)
            assert_int_equal(bits_of(out[c]), (uint32_t)((const uint16_t *)source.r)[c] << 16);
        test_source_free(&source);
    }
}

/* ---- store ----------------------------------------------------------------------------------- */

/* Two bands of 3 and 2 rows, 77 channels, two images: blocks cut at channel 40. */
enum { N = 2, H = 5, W = 7, C = 77, CUT = 40, BANDS = 2, ROWS = 3 };
#define FLOATS ((size_t)(N * H * W * C))

static const test_blocks blocks = {N, H, W, BANDS, ROWS, CUT};

/* Bias, residual, ReLU, accumulation and odd numbers: the float32 kernel's result, rounded. */
static void store_rounds_once(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (int variant = 0; variant < 8; variant++) {
            float *result = test_floats(FLOATS, 1), *before = test_floats(FLOATS, 2);
            float *residual = test_floats(FLOATS, 3), *bias = test_floats(C, 4);
            spoil(result, FLOATS);
            uint16_t *dst = test_halves(before, FLOATS), *half = test_halves(residual, FLOATS);
            for (size_t i = 0; i < FLOATS; i++) {
                before[i] = test_round(before[i]);
                residual[i] = test_round(residual[i]);
            }
            dst[FLOATS] = 0xabcd;
            sumi_sink sink = {.dst = before,
                              .c = C,
                              .accumulate = variant % 2 == 1,
                              .bias = variant & 2 ? bias : NULL,
                              .residual = variant & 2 ? residual : NULL,
                              .act = variant & 4 ? SUMI_ACT_RELU : SUMI_ACT_NONE};
            test_store_all(table, &sink, result, &blocks);
            sink.dst = dst;
            sink.bf16 = true;
            sink.residual = sink.residual ? half : NULL;
            test_store_all(table, &sink, result, &blocks);
            check_halves(dst, before, FLOATS);
            assert_int_equal(dst[FLOATS], 0xabcd);
            free(result);
            free(before);
            free(residual);
            free(bias);
            free(dst);
            free(half);
        }
    }
}

/* The mean and the spread of what was stored, not of what was computed. */
static void check_moments(const uint16_t *dst, const float *moments, int n, int band, int c)
{
    int y1 = (band + 1) * ROWS < H ? (band + 1) * ROWS : H, count = (y1 - band * ROWS) * W;
    double mean = 0, spread = 0;
    for (int p = band * ROWS * W; p < y1 * W; p++)
        mean += test_element(dst, true, (size_t)((n * H * W + p) * C + c)) / count;
    for (int p = band * ROWS * W; p < y1 * W; p++) {
        double d = test_element(dst, true, (size_t)((n * H * W + p) * C + c)) - mean;
        spread += d * d;
    }
    const float *m = moments + (size_t)((n * BANDS + band) * 2 * C + c);
    assert_true(fabs((double)m[0] - mean) <= 1e-6 * (fabs(mean) + 1));
    assert_true(fabs((double)m[C] - spread) <= 1e-5 * spread);
}

static void moments_are_of_rounded_values(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (int variant = 0; variant < 3; variant++) {
            float *result = test_floats(FLOATS, 4), *bias = test_floats(C, 6);
            float *moments = test_scratch((size_t)(N * BANDS * 2 * C));
            uint16_t *dst = test_halves(result, FLOATS);
            for (int c = 0; c < C; c++)
                bias[c] = 30.0f + (float)c; /* far from 0, where rounding is coarse */
            sumi_sink sink = {.dst = dst,
                              .bf16 = true,
                              .c = C,
                              .bias = bias,
                              .moments = moments,
                              .accumulate = variant == 1};
            test_store_all(table, &sink, result, &blocks);
            if (variant == 2) { /* statistics of what would be stored */
                memset(moments, 0xff, sizeof(float) * N * BANDS * 2 * C);
                sink.dst = NULL;
                test_store_all(table, &sink, result, &blocks);
            }
            for (int n = 0; n < N; n++)
                for (int band = 0; band < BANDS; band++)
                    for (int c = 0; c < C; c++)
                        check_moments(dst, moments, n, band, c);
            free(result);
            free(bias);
            free(moments);
            free(dst);
        }
    }
}

/* Row 0 is of v as computed, rows 1 and 2 of dst as stored. */
static void check_sums(const sumi_sink *sink, const float *result, int n, int band, int c)
{
    const sumi_source *s = sink->stat;
    int y1 = (band + 1) * ROWS < H ? (band + 1) * ROWS : H;
    double want[3] = {0, 0, 0};
    for (int p = band * ROWS * W; p < y1 * W; p++) {
        size_t i = (size_t)((n * H * W + p) * C + c);
        double r = test_element(s->r, true, i), d = test_element(sink->dst, true, i);
        double z = (double)s->scale[c] * r + (double)s->shift[c];
        want[0] += (double)result[i];
        d = z <= 0 ? 0 : d;
        want[1] += d;
        want[2] += d * (r - (double)sink->mean[c]);
    }
    const float *sums = sink->sums + (size_t)((n * BANDS + band) * 3 * C + c);
    for (int q = 0; q < 3; q++)
        assert_float_equal(sums[q * C], want[q], 1e-5);
}

static void sums_are_of_rounded_values(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            float *result = test_floats(FLOATS, 14), *mean = test_floats(C, 16);
            float *sums = test_scratch((size_t)(N * BANDS * 3 * C));
            float *before = test_floats(FLOATS, 15);
            uint16_t *dst = test_halves(before, FLOATS);
            sumi_source stat;
            test_source(&stat, N, H * W, C, HAS_AFFINE | HAS_RELU | IS_BF16, 17);
            sumi_sink sink = {.dst = dst,
                              .bf16 = true,
                              .c = C,
                              .accumulate = accumulate == 1,
                              .sums = sums,
                              .stat = &stat,
                              .mean = mean};
            test_store_all(table, &sink, result, &blocks);
            for (int n = 0; n < N; n++)
                for (int band = 0; band < BANDS; band++)
                    for (int c = 0; c < C; c++)
                        check_sums(&sink, result, n, band, c);
            free(result);
            free(mean);
            free(sums);
            free(dst);
            free(before);
            test_source_free(&stat);
        }
    }
}

/* ---- Pool and up-sampling -------------------------------------------------------------------- */

/* The same numbers as float32. */
static sumi_source widened(const sumi_source *s, size_t count)
{
    sumi_source wide = *s;
    const void *const from[] = {s->r, s->g};
    const void *to[2] = {NULL, NULL};
    for (int k = 0; k < 2; k++) {
        float *x = from[k] != NULL ? test_floats(count, 0) : NULL;
        for (size_t i = 0; x != NULL && i < count; i++)
            x[i] = (float)test_element(from[k], s->bf16, i);
        to[k] = x;
    }
    wide.r = to[0];
    wide.g = to[1];
    wide.bf16 = false;
    return wide;
}

static void widened_free(sumi_source *s)
{
    free((void *)(uintptr_t)s->r);
    free((void *)(uintptr_t)s->g);
}

enum { SIDE_H = 6, SIDE_W = 4, LARGE = N * SIDE_H * SIDE_W * C };

/* From and to any mixture: as from and to float32, rounded at the end. */
static void pool_and_upsample_round_once(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (int variant = 0; variant < 12; variant++) {
            bool up = variant >= 6;
            int from = variant % 2 * IS_BF16, form = forms[variant / 2 % 3];
            sumi_source s, wide;
            test_source(&s, N, SIDE_H * SIDE_W, C, form | from, (uint64_t)variant);
            wide = widened(&s, LARGE);
            size_t count = up ? (size_t)LARGE * 4 : (size_t)LARGE / 4;
            float *want = test_scratch(count), *scratch = test_scratch((size_t)(2 * SIDE_W * C));
            uint16_t *dst = test_halves(want, count);
            const sumi_sink plain = {.dst = want, .c = C},
                            sink = {.dst = dst, .bf16 = true, .c = C};
            for (int n = 0; n < N; n++) {
                if (up) {
                    table->upsample(&wide, &plain, SIDE_H, SIDE_W, n, 0, 2 * SIDE_H, 1, scratch);
                    table->upsample(&s, &sink, SIDE_H, SIDE_W, n, 0, 2 * SIDE_H, 1, scratch);
                } else {
                    table->pool(&wide, &plain, SIDE_H, SIDE_W, n, 0, SIDE_H / 2, 1, NULL);
                    table->pool(&s, &sink, SIDE_H, SIDE_W, n, 0, SIDE_H / 2, 1, NULL);
                }
            }
            check_halves(dst, want, count);
            if (!up) { /* and to float32, as a network's last layer would be */
                float *bare = test_scratch(count);
                const sumi_sink to = {.dst = bare, .c = C};
                for (int n = 0; n < N; n++)
                    table->pool(&s, &to, SIDE_H, SIDE_W, n, 0, SIDE_H / 2, 1, NULL);
                assert_memory_equal(bare, want, count * sizeof(float));
                free(bare);
            }
            free(want);
            free(scratch);
            free(dst);
            test_source_free(&s);
            widened_free(&wide);
        }
    }
}

static void pool_keeps_nan(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        float *x = test_floats(LARGE, 1);
        x[(SIDE_W + 1) * C + 2] = NAN;
        sumi_source s = {.r = test_tensor(x, LARGE, true), .bf16 = true, .c = C};
        uint16_t dst[SIDE_H / 2 * SIDE_W / 2 * C];
        const sumi_sink sink = {.dst = dst, .bf16 = true, .c = C};
        table->pool(&s, &sink, SIDE_H, SIDE_W, 0, 0, SIDE_H / 2, 1, NULL);
        for (int i = 0; i < SIDE_H / 2 * SIDE_W / 2 * C; i++)
            assert_int_equal(isnan(test_from_bf16(dst[i])) != 0, i == 2);
        test_source_free(&s);
    }
}

/* Backward, with the source and dy in every mixture. */
static void gradients_of_pool_and_upsample(void **state)
{
    (void)state;
    enum { SMALL = LARGE / 4 };
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (int variant = 0; variant < 8; variant++) {
            bool up = variant >= 4;
            sumi_source s, dy;
            test_source(&s, N, SIDE_H * SIDE_W, C, (variant & 1) * IS_BF16 | HAS_AFFINE | HAS_RELU,
                        7);
            test_source(&dy, N, SIDE_H * SIDE_W * (up ? 4 : 1) / (up ? 1 : 4), C,
                        (variant / 2 % 2) * IS_BF16 |
                            (variant & 1 ? IS_GRADIENT : IS_GRADIENT | HAS_NORM | HAS_RELU),
                        9);
            sumi_source wide = widened(&s, LARGE), wide_dy = widened(&dy, up ? LARGE * 4 : SMALL);
            float *want = test_scratch(LARGE), *scratch = test_scratch(LARGE);
            uint16_t *dst = test_halves(want, LARGE);
            const sumi_sink plain = {.dst = want, .c = C},
                            sink = {.dst = dst, .bf16 = true, .c = C};
            for (int n = 0; n < N; n++) {
                if (up) {
                    table->upsample_backward(&wide_dy, &plain, SIDE_H, SIDE_W, n, 0, SIDE_H, 1,
                                             scratch);
                    table->upsample_backward(&dy, &sink, SIDE_H, SIDE_W, n, 0, SIDE_H, 1, scratch);
                } else {
                    table->pool_backward(&wide, &wide_dy, &plain, SIDE_H, SIDE_W, n, 0, SIDE_H / 2,
                                         1, scratch);
                    table->pool_backward(&s, &dy, &sink, SIDE_H, SIDE_W, n, 0, SIDE_H / 2, 1,
                                         scratch);
                }
            }
            check_halves(dst, want, LARGE);
            free(want);
            free(scratch);
            free(dst);
            test_source_free(&s);
            test_source_free(&dy);
            widened_free(&wide);
            widened_free(&wide_dy);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_rounding_is_right),
        cmocka_unit_test(numbers_are_rounded_to_nearest_even),
        cmocka_unit_test(fill_widens),
        cmocka_unit_test(fill_keeps_odd_numbers),
        cmocka_unit_test(store_rounds_once),
        cmocka_unit_test(moments_are_of_rounded_values),
        cmocka_unit_test(sums_are_of_rounded_values),
        cmocka_unit_test(pool_and_upsample_round_once),
        cmocka_unit_test(pool_keeps_nan),
        cmocka_unit_test(gradients_of_pool_and_upsample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
