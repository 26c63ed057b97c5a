/*
 * Moments, eigenvalues, Frechet and kernel distance against numpy and scipy on the same features;
 * the same bits at any number of threads; what cannot be measured is refused.
 */
#include "eval/eval_test.h"
#include "eval/golden.h"

static sumi_eval_machine machine;

static sumi_moments moments_of(const sumi_eval_set *set)
{
    sumi_moments moments;
    assert_int_equal(sumi_eval_moments(&machine, set, NULL, &moments, NULL), SUMI_OK);
    return moments;
}

static double frechet(const sumi_eval_set *a, const sumi_eval_set *b)
{
    double distance = NAN;
    sumi_moments x = moments_of(a), y = moments_of(b);
    assert_int_equal(sumi_eval_frechet(&x, &y, &distance, NULL), SUMI_OK);
    sumi_moments_free(&x);
    sumi_moments_free(&y);
    return distance;
}

static void test_moments(void **state)
{
    (void)state;
    sumi_eval_set a = golden_set("a");
    sumi_moments moments = moments_of(&a);
    for (int i = 0; i < COUNT(golden_mean); i++)
        assert_near(moments.mean[i], golden_mean[i], 1e-13);
    for (int i = 0; i < COUNT(golden_covariance); i++)
        assert_near(moments.covariance[i], golden_covariance[i], 1e-11);
    sumi_moments_free(&moments);
    free((void *)a.features);
}

/* Far from 0 a sum of squares less a squared sum has no digits left. */
static void test_moments_far_away(void **state)
{
    (void)state;
    enum { N = 1000, D = 3 };
    float *values = random_features(1, N, D);
    for (int i = 0; i < N * D; i++)
        values[i] = (float)((i % 4 < 2 ? 1 : -1) + 16777216 / 2);
    sumi_eval_set set = {.name = "far", .n = N, .d = D, .features = values};
    sumi_moments moments = moments_of(&set);
    assert_near(moments.covariance[0], 1000. / 999, 1e-12);
    sumi_moments_free(&moments);
    free(values);
}

/* A row that counts three times is three rows, one that counts 0 times is none. */
static void test_weights(void **state)
{
    (void)state;
    enum { N = 50, D = 5 };
    float *values = random_features(2, N, D), *listed = sumi_calloc(3 * N * D, sizeof *listed);
    uint32_t weights[N];
    int64_t count = 0;
    for (int i = 0; i < N; i++) {
        weights[i] = (uint32_t)(i % 4);
        for (uint32_t k = 0; k < weights[i]; k++)
            memcpy(listed + D * count++, values + D * i, D * sizeof *values);
    }
    sumi_eval_set set = {.name = "a", .n = N, .d = D, .features = values},
                  longer = {.name = "b", .n = count, .d = D, .features = listed};
    sumi_moments a, b = moments_of(&longer);
    assert_int_equal(sumi_eval_moments(&machine, &set, weights, &a, NULL), SUMI_OK);
    assert_true(a.n == (double)count);
    for (int i = 0; i < D; i++)
        assert_true(fabs(a.mean[i] - b.mean[i]) < 1e-14);
    for (int i = 0; i < D * D; i++)
        assert_true(fabs(a.covariance[i] - b.covariance[i]) < 1e-13);
    sumi_moments_free(&a);
    sumi_moments_free(&b);
    free(values);
    free(listed);
}

/* A = V' diag V for matrices of every small size, and V's rows are orthonormal. */
static void test_eigenvectors(void **state)
{
    (void)state;
    for (int d = 1; d < 40; d++) {
        size_t n = (size_t)d;
        float *values = random_features((uint64_t)d, d, d);
        double *a = sumi_calloc(3 * n * n + 4 * n, sizeof *a), *found = a + n * n,
               *vectors = found + n, *scratch = vectors + n * n;
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < n; k++)
                a[i * n + k] = d % 3 ? (double)(values[i * n + k] + values[k * n + i]) : i == k;
        assert_true(sumi_symmetric_eigen(a, d, found, vectors, scratch));
        for (size_t i = 0; i < n; i++) {
            for (size_t k = 0; k < n; k++) {
                double sum = 0, product = 0;
                for (size_t j = 0; j < n; j++) {
                    sum += vectors[j * n + i] * found[j] * vectors[j * n + k];
                    product += vectors[i * n + j] * vectors[k * n + j];
                }
                assert_true(fabs(sum - a[i * n + k]) < 1e-13 * d);
                assert_true(fabs(product - (i == k)) < 1e-13 * d);
            }
            assert_true(i == 0 || found[i - 1] <= found[i]);
        }
        free(values);
        free(a);
    }
}

static void test_eigenvalues(void **state)
{
    (void)state;
    sumi_eval_set a = golden_set("a");
    sumi_moments moments = moments_of(&a);
    size_t d = (size_t)a.d;
    double *found = sumi_calloc(d * d + 4 * d, sizeof *found);
    assert_true(sumi_symmetric_eigen(moments.covariance, a.d, found, NULL, found + d));
    for (size_t i = 0; i < d; i++)
        assert_near(found[i], golden_eigenvalues[i], 1e-10);
    moments.covariance[d + 1] = NAN;
    assert_false(sumi_symmetric_eigen(moments.covariance, a.d, found, NULL, found + d));
    sumi_moments_free(&moments);
    free(found);
    free((void *)a.features);
}

static void test_frechet(void **state)
{
    (void)state;
    sumi_eval_set a = golden_set("a"), b = golden_set("b");
    assert_near(frechet(&a, &b), golden_frechet, 1e-9);
    assert_near(frechet(&b, &a), golden_frechet_factors, 1e-9);
    assert_true(fabs(frechet(&a, &a)) < 1e-11);
    free((void *)a.features);
    free((void *)b.features);
}

/* Numbers that are always 0, or sums of others, as units that never wake or do so together. */
static void test_frechet_without_full_rank(void **state)
{
    (void)state;
    sumi_eval_set sets[] = {golden_set("a"), golden_set("b")};
    for (int s = 0; s < 2; s++) {
        for (int64_t i = 0; i < sets[s].n; i++) {
            float *row = (float *)(void *)sets[s].features + i * sets[s].d;
            for (int k = 21; k >= 12; k--)
                row[k] = row[k - 12] + row[k - 10];
            row[22] = row[23] = 0;
        }
    }
    assert_near(frechet(&sets[0], &sets[1]), golden_frechet_deficient, 1e-6);
    free((void *)sets[0].features);
    free((void *)sets[1].features);
}

static void test_kernel(void **state)
{
    (void)state;
    double error;
    sumi_score score;
    sumi_eval_set a = golden_set("a"), b = golden_set("b");
    assert_int_equal(sumi_eval_kernel(&machine, &a, &b, &score, &error, NULL), SUMI_OK);
    assert_near(score.value, golden_kernel, 1e-9);
    assert_true(error > 0 && score.low < score.value && score.value < score.high);
    sumi_eval_set first = a, second = a;
    first.n = second.n = 120;
    second.features += 120 * a.d;
    assert_int_equal(sumi_eval_kernel(&machine, &first, &second, &score, &error, NULL), SUMI_OK);
    assert_near(score.value, golden_kernel_same, 1e-8);
    free((void *)a.features);
    free((void *)b.features);
}

/* Distances, intervals and extrapolation, to the bit. */
static void test_threads(void **state)
{
    (void)state;
    enum { N = 700, D = 33 };
    float *x = random_features(3, N, D), *y = random_features(4, N, D);
    sumi_eval_set a = {.name = "a", .n = N, .d = D, .features = x},
                  b = {.name = "b", .n = N - 7, .d = D, .features = y};
    double found[3][6];
    static const int threads[] = {1, 2, 5};
    for (int t = 0; t < 3; t++) {
        sumi_eval_machine other = machine_open(threads[t]);
        sumi_moments moments;
        sumi_score score;
        double *out = found[t];
        assert_int_equal(sumi_eval_moments(&other, &b, NULL, &moments, NULL), SUMI_OK);
        assert_int_equal(sumi_eval_frechet_score(&other, &a, &moments, 9, &score, NULL), SUMI_OK);
        out[0] = score.value;
        out[1] = score.low;
        assert_int_equal(sumi_eval_frechet_infinite(&other, &a, &moments, 9, &out[2], NULL),
                         SUMI_OK);
        assert_int_equal(sumi_eval_kernel(&other, &a, &b, &score, &out[3], NULL), SUMI_OK);
        out[4] = score.value;
        out[5] = score.high;
        assert_memory_equal(found[0], out, sizeof found[0]);
        sumi_moments_free(&moments);
        machine_close(&other);
    }
    for (int i = 0; i < 6; i++)
        assert_true(isfinite(found[0][i]));
    /* Of one distribution: all is bias, half of it the reference's, which stays. */
    assert_true(found[0][2] > .3 * found[0][0] && found[0][2] < .7 * found[0][0]);
    free(x);
    free(y);
}

static void test_refusals(void **state)
{
    (void)state;
    sumi_error err = {""};
    double out;
    sumi_score score;
    float *values = random_features(5, 20, 16);
    sumi_eval_set few = {.name = "samples", .n = 16, .d = 16, .features = values},
                  other = {.name = "test", .n = 20, .d = 8, .features = values};
    sumi_moments a = moments_of(&few), b = moments_of(&other);
    assert_int_equal(sumi_eval_frechet(&a, &a, &out, &err), SUMI_EINVAL);
    assert_says(&err, "too few images for the covariance: 16, expected more than the 16 numbers");
    assert_int_equal(sumi_eval_frechet_score(&machine, &few, &a, 0, &score, &err), SUMI_EINVAL);
    assert_says(&err, "samples: too few images for the covariance");
    assert_int_equal(sumi_eval_frechet(&a, &b, &out, &err), SUMI_ESHAPE);
    assert_says(&err, "features of 16 numbers against features of 8");
    assert_int_equal(sumi_eval_kernel(&machine, &few, &other, &score, &out, &err), SUMI_ESHAPE);
    assert_says(&err, "samples has features of 16 numbers, test of 8");
    few.n = 3;
    assert_int_equal(sumi_eval_kernel(&machine, &few, &few, &score, &out, &err), SUMI_EINVAL);
    assert_says(&err, "samples: too few images for the kernel distance: 3");
    few.n = 16;
    values[17] = NAN;
    sumi_moments_free(&a);
    assert_int_equal(sumi_eval_moments(&machine, &few, NULL, &a, &err), SUMI_EINVAL);
    assert_says(&err, "samples: number 1 of the features of picture 1 is NaN");
    few.features = NULL;
    assert_int_equal(sumi_eval_moments(&machine, &few, NULL, &a, &err), SUMI_EINVAL);
    assert_says(&err, "samples: there are no features");
    sumi_moments_free(&b);
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_moments_far_away),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_eigenvectors),
        cmocka_unit_test(test_eigenvalues),
        cmocka_unit_test(test_frechet),
        cmocka_unit_test(test_frechet_without_full_rank),
        cmocka_unit_test(test_kernel),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_refusals),
    };
    machine = machine_open(2);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    machine_close(&machine);
    return failed;
}
