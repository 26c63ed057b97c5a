/*
 * The kernels' exponential in units in the last place, against the C library's in double, over bit
 * patterns of all of float32; SiLU and its derivative, which are made of it.
 */
#include <float.h>

#include "kernels/exp_lanes.h"
#include "kernels/kernel_test.h"

typedef void (*array_function)(test_function function, const float *x, float *y, size_t count);

/* The widths that this CPU can run: i counts them. */
static array_function width_at(int i, int *width)
{
    static const struct {
        int width;
        array_function run;
    } all[] = {
        {4, sumi_test_exp_16},
#if defined(__x86_64__)
        {8, sumi_test_exp_32},
        {16, sumi_test_exp_64},
#endif
    };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        const sumi_kernels *table = NULL;
        bool runs = false;
        for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++)
            runs = runs || table->vector_floats == all[k].width;
        *width = all[k].width;
        if (runs && i-- == 0)
            return all[k].run;
    }
    return NULL;
}

static float of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Distance in units in the last place of the float that is nearest to want. */
static double ulps(float got, double want)
{
    double found = isinf(got) ? ldexp(1.0, 128) : (double)got;
    int exponent = 0;
    if (isinf(want) || want > ldexp(1.0, 128))
        want = ldexp(1.0, 128);
    frexp(fabs(want), &exponent);
    double unit = ldexp(1.0, exponent - 24 < -149 ? -149 : exponent - 24);
    return isnan(got) ? INFINITY : fabs(found - want) / unit;
}

enum { CHUNK = 4096 };

/* The worst error over every `stride`th number. */
static double worst_exp(array_function run, uint32_t stride, float *where)
{
    float x[CHUNK], y[CHUNK];
    double worst = 0;
    for (uint64_t bits = 0; bits <= UINT32_MAX;) {
        int count = 0;
        for (; count < CHUNK; bits += stride) {
            float value = of_bits((uint32_t)(bits <= UINT32_MAX ? bits : 0));
            if (isfinite(value))
                x[count++] = value;
        }
        run(TEST_EXP, x, y, CHUNK);
        for (int i = 0; i < CHUNK; i++) {
            double error = ulps(y[i], exp((double)x[i]));
            if (error > worst) {
                worst = error;
                *where = x[i];
            }
        }
    }
    return worst;
}

static void exp_within_two_ulp(void **state)
{
    (void)state;
    int width, widths = 0;
    for (array_function run; (run = width_at(widths, &width)) != NULL; widths++) {
        float where = 0;
        double worst = worst_exp(run, 509, &where);
        print_message("%2d lanes: within %.3f ulp (at %a)\n", width, worst, (double)where);
        if (!(worst <= 2.0))
            fail_msg("%d lanes: exp(%a) is off by %.3f ulp", width, (double)where, worst);
    }
    assert_true(widths > 0);
}

/* Close to where the result becomes 0, stops being normal, is 1, or becomes infinite. */
static void exp_at_its_edges(void **state)
{
    (void)state;
    static const float edges[] = {-103.97208f, -103.2789f, -87.336548f, 0.0f,
                                  -0.0f,       88.722839f, 0.34657359f, -0.34657359f};
    int width;
    array_function run;
    for (int i = 0; (run = width_at(i, &width)) != NULL; i++) {
        for (size_t e = 0; e < sizeof edges / sizeof *edges; e++) {
            float x[CHUNK], y[CHUNK];
            uint32_t bits;
            memcpy(&bits, &edges[e], sizeof bits);
            for (int k = 0; k < CHUNK; k++)
                x[k] = of_bits(edges[e] == 0 ? bits + (uint32_t)k : bits + (uint32_t)k - CHUNK / 2);
            run(TEST_EXP, x, y, CHUNK);
            for (int k = 0; k < CHUNK; k++)
                if (!(ulps(y[k], exp((double)x[k])) <= 2.0))
                    fail_msg("%d lanes: exp(%a) = %a", width, (double)x[k], (double)y[k]);
        }
    }
}

static void exp_of_special_numbers(void **state)
{
    (void)state;
    const float x[16] = {INFINITY, -INFINITY, NAN,     -NAN, 0.0f,  -0.0f,   FLT_MAX, -FLT_MAX,
                         1e-45f,   -1e-45f,   FLT_MIN, 1.0f, 89.0f, -104.5f, 88.0f,   -100.0f};
    float y[16];
    int width;
    array_function run;
    for (int i = 0; (run = width_at(i, &width)) != NULL; i++) {
        run(TEST_EXP, x, y, 16);
        assert_true(isinf(y[0]) && y[0] > 0);
        assert_true(y[1] == 0 && !signbit(y[1]));
        assert_true(isnan(y[2]) && isnan(y[3]));
        assert_true(y[4] == 1 && y[5] == 1);
        assert_true(isinf(y[6]) && y[7] == 0);
        assert_true(y[8] == 1 && y[9] == 1 && y[10] == 1);
        assert_true(isinf(y[12]) && y[13] == 0);
        assert_true(y[15] > 0 && y[15] < FLT_MIN); /* a number below the normal ones */
    }
}

/* Relative to what a SiLU of that size needs: x where it is nearly x, its own size elsewhere. */
static void silu_and_its_derivative(void **state)
{
    (void)state;
    int width;
    array_function run;
    for (int i = 0; (run = width_at(i, &width)) != NULL; i++) {
        enum { COUNT = 160 * 1024 };
        float *x = test_scratch(COUNT), *y = test_scratch(COUNT);
        for (int k = 0; k < COUNT; k++)
            x[k] = (float)(k - COUNT / 2) * (80.0f / (COUNT / 2));
        run(TEST_SILU, x, y, COUNT);
        for (int k = 0; k < COUNT; k++)
            if (!(ulps(y[k], (double)x[k] / (1 + exp(-(double)x[k]))) <= 4.0))
                fail_msg("%d lanes: silu(%a) = %a", width, (double)x[k], (double)y[k]);
        run(TEST_SILU_SLOPE, x, y, COUNT);
        for (int k = 0; k < COUNT; k++) {
            double s = 1 / (1 + exp(-(double)x[k])), want = s * (1 + (double)x[k] * (1 - s));
            /* It is 0 at x = -1.28, where its two terms cancel. */
            double limit = 4e-7 * s * (1 + fabs((double)x[k]) * (1 - s));
            if (!(fabs((double)y[k] - want) <= limit + 1e-44))
                fail_msg("%d lanes: the derivative of silu at %a is %a, expected %a", width,
                         (double)x[k], (double)y[k], want);
        }
        free(x);
        free(y);
        const float special[16] = {0.0f, -0.0f, INFINITY, NAN, 1e30f, -1e30f, -200.0f};
        float value[16], slope[16];
        run(TEST_SILU, special, value, 16);
        run(TEST_SILU_SLOPE, special, slope, 16);
        assert_true(value[0] == 0 && value[1] == 0 && isinf(value[2]) && isnan(value[3]));
        assert_true(value[4] == 1e30f && fabsf(value[5]) < 1e-35f && fabsf(value[6]) < 1e-35f);
        assert_true(slope[0] == 0.5f && slope[1] == 0.5f && isnan(slope[3]));
        assert_true(slope[4] == 1 && fabsf(slope[5]) < 1e-35f && fabsf(slope[6]) < 1e-35f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_within_two_ulp),
        cmocka_unit_test(exp_at_its_edges),
        cmocka_unit_test(exp_of_special_numbers),
        cmocka_unit_test(silu_and_its_derivative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
