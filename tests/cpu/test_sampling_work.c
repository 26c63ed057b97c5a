/* Limits of predictions, masks and error estimates, each against its formula in double. */
#include "cpu/cpu.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { N = 3, COUNT = 20011, ALL = N * COUNT };

static sumi_device *device_of(int threads)
{
    sumi_device *device;
    const sumi_device_config config = {.threads = threads};
    assert_int_equal(sumi_cpu_backend()->open(&config, &device, NULL), SUMI_OK);
    return device;
}

static float *drawn(uint32_t step, float scale)
{
    float *x = malloc(ALL * sizeof *x);
    const sumi_random at = {9, SUMI_STREAM_USER, step, 0};
    sumi_random_normals(&at, 0, x, ALL);
    for (int i = 0; i < ALL; i++)
        x[i] *= scale * (float)(1 + i / COUNT);
    return x;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* NumPy's quantile of |x - middle|, by sorting. */
static double sorted_quantile(const float *x, double middle, double share)
{
    double *far = malloc(COUNT * sizeof *far);
    for (int i = 0; i < COUNT; i++)
        far[i] = fabs((double)x[i] - middle);
    qsort(far, COUNT, sizeof *far, by_size);
    double place = share * (COUNT - 1), low = floor(place);
    int k = (int)low;
    double value = far[k] + (k + 1 < COUNT ? (place - low) * (far[k + 1] - far[k]) : 0);
    free(far);
    return value;
}

static void check_limits(const sumi_limits *limits, float scale)
{
    float *before = drawn(1, scale), *after = drawn(1, scale);
    sumi_device *device = device_of(3);
    sumi_cpu_backend()->limit(device, limits, N, COUNT, after);
    double middle = ((double)limits->low + (double)limits->high) / 2;
    double half = ((double)limits->high - (double)limits->low) / 2;
    for (int n = 0; n < N; n++) {
        double reach = half;
        if (limits->share > 0)
            reach = fmax(half, sorted_quantile(before + n * COUNT, middle, limits->share));
        for (int i = n * COUNT; i < (n + 1) * COUNT; i++) {
            double off = fmax(-reach, fmin(reach, (double)before[i] - middle));
            assert_true(fabs((double)after[i] - (middle + off * half / reach)) < 1e-6);
            assert_true(reach > half || (before[i] < limits->low || before[i] > limits->high ||
                                         before[i] == after[i]));
        }
    }
    /* Image 1 alone has the same bits, on one thread. */
    sumi_device *alone = device_of(1);
    sumi_cpu_backend()->limit(alone, limits, 1, COUNT, before + COUNT);
    assert_memory_equal(before + COUNT, after + COUNT, COUNT * sizeof *after);
    sumi_cpu_backend()->close(alone);
    sumi_cpu_backend()->close(device);
    free(before);
    free(after);
}

static void test_limits(void **state)
{
    (void)state;
    static const double shares[] = {0, .5, .9, .995, 1};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        const sumi_limits zero_one = {true, 0, 1, shares[i], NULL},
                          even = {true, -1, 1, shares[i], NULL};
        check_limits(&zero_one, .8f);
        check_limits(&even, .3f); /* the second and third image reach further than the first */
        check_limits(&even, .01f);
    }
}

static void test_blend(void **state)
{
    (void)state;
    float *x = drawn(1, 1), *other = drawn(2, 1), *mask = drawn(3, 1), *was = drawn(1, 1);
    for (int i = 0; i < ALL; i++)
        mask[i] = i % 3 == 0 ? 0 : i % 3 == 1 ? 1 : fminf(fabsf(mask[i]), 1);
    sumi_device *device = device_of(2);
    sumi_cpu_backend()->blend(device, mask, other, ALL, x);
    for (int i = 0; i < ALL; i++) {
        double expected =
            (double)mask[i] * (double)was[i] + (1 - (double)mask[i]) * (double)other[i];
        assert_true(fabs((double)x[i] - expected) < 1e-6);
        assert_true(i % 3 == 0 ? x[i] == other[i] : i % 3 == 2 || x[i] == was[i]);
    }
    sumi_cpu_backend()->close(device);
    free(x);
    free(other);
    free(mask);
    free(was);
}

static void test_error_estimates(void **state)
{
    (void)state;
    const sumi_tolerance tolerance = {.absolute = .01, .relative = .1};
    float *a = drawn(1, 1), *b = drawn(2, 1), *error = drawn(3, .01f);
    double found[N], alone;
    sumi_device *device = device_of(2);
    sumi_cpu_backend()->measure_error(device, &tolerance, N, COUNT, error, a, b, found);
    for (int n = 0; n < N; n++) {
        double sum = 0;
        for (int i = n * COUNT; i < (n + 1) * COUNT; i++) {
            double size = fmax(fabs((double)a[i]), fabs((double)b[i]));
            sum += pow((double)error[i] / (.01 + .1 * size), 2);
        }
        assert_true(fabs(found[n] / sqrt(sum / COUNT) - 1) < 1e-12);
    }
    sumi_cpu_backend()->measure_error(device, &tolerance, 1, COUNT, error + COUNT, a + COUNT,
                                      b + COUNT, &alone);
    assert_true(alone == found[1]);
    sumi_cpu_backend()->close(device);
    free(a);
    free(b);
    free(error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_blend),
        cmocka_unit_test(test_error_estimates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
