/*
 * Intervals of 95 %: sets are drawn many times from known distributions, and the intervals must
 * hold the expected score about as often as they say.
 */
#include "eval/eval_test.h"

enum { REPEATS = 150, N = 220, D = 4, TRUTHS = 1000 };

static sumi_eval_machine machine;

/* Normals, wider and moved; set number `which`. */
static void draw(float *values, int which)
{
    sumi_random at = {.seed = 77, .stream = SUMI_STREAM_USER, .step = (uint32_t)which};
    sumi_random_normals(&at, 0, values, N * D);
    for (int i = 0; i < N * D; i++)
        values[i] = values[i] * (1 + .2f * (float)(i % D)) + .4f;
}

/* Counts are binomial: 150 intervals of 95 % hold the truth 142.5 times, with a deviation of 2.7;
 * the bootstrap's own error takes some more. */
static void assert_covers(int covered, const char *what)
{
    if (covered < 129 || covered > 150)
        fail_msg("%d of %d intervals of %s hold the truth", covered, REPEATS, what);
}

static void test_frechet_and_kernel(void **state)
{
    (void)state;
    float *values = sumi_calloc(N * D, sizeof *values), *reals = random_features(1, 2000, D);
    sumi_eval_set set = {.name = "samples", .n = N, .d = D, .features = values},
                  real = {.name = "test", .n = 2000, .d = D, .features = reals};
    sumi_moments reference, moments;
    sumi_score frechet[REPEATS], kernel[REPEATS];
    double truth = 0, kernel_truth = 0, error, distance;
    assert_int_equal(sumi_eval_moments(&machine, &real, NULL, &reference, NULL), SUMI_OK);
    for (int i = 0; i < TRUTHS; i++) {
        draw(values, 1000 + i);
        assert_int_equal(sumi_eval_moments(&machine, &set, NULL, &moments, NULL), SUMI_OK);
        assert_int_equal(sumi_eval_frechet(&moments, &reference, &distance, NULL), SUMI_OK);
        truth += distance / TRUTHS;
        sumi_moments_free(&moments);
    }
    for (int i = 0; i < REPEATS; i++) {
        draw(values, i);
        assert_int_equal(
            sumi_eval_frechet_score(&machine, &set, &reference, (uint64_t)i, &frechet[i], NULL),
            SUMI_OK);
        assert_int_equal(sumi_eval_kernel(&machine, &set, &real, &kernel[i], &error, NULL),
                         SUMI_OK);
        kernel_truth += kernel[i].value / REPEATS;
    }
    int covered = 0, kernels = 0;
    for (int i = 0; i < REPEATS; i++) {
        covered += frechet[i].low <= truth && truth <= frechet[i].high;
        kernels += kernel[i].low <= kernel_truth && kernel_truth <= kernel[i].high;
    }
    assert_covers(covered, "the Frechet distance");
    assert_covers(kernels, "the kernel distance");
    sumi_moments_free(&reference);
    free(values);
    free(reals);
}

static void test_manifold(void **state)
{
    (void)state;
    float *values = sumi_calloc(N * D, sizeof *values), *reals = random_features(1, 300, D);
    sumi_eval_set set = {.name = "samples", .n = N, .d = D, .features = values},
                  real = {.name = "test", .n = 300, .d = D, .features = reals};
    static const char *const names[] = {"precision", "recall", "density", "coverage"};
    sumi_score scores[4][REPEATS];
    double truths[4] = {0};
    for (int i = 0; i < REPEATS; i++) {
        sumi_manifold found;
        draw(values, i);
        assert_int_equal(sumi_eval_manifold(&machine, &set, &real, 3, (uint64_t)i, &found, NULL),
                         SUMI_OK);
        const sumi_score *all[] = {&found.precision, &found.recall, &found.density,
                                   &found.coverage};
        for (int s = 0; s < 4; s++) {
            scores[s][i] = *all[s];
            truths[s] += all[s]->value / REPEATS;
        }
    }
    for (int s = 0; s < 4; s++) {
        int covered = 0;
        for (int i = 0; i < REPEATS; i++)
            covered += scores[s][i].low <= truths[s] && truths[s] <= scores[s][i].high;
        assert_covers(covered, names[s]);
    }
    free(values);
    free(reals);
}

static void test_means(void **state)
{
    (void)state;
    int covered = 0;
    for (int i = 0; i < REPEATS; i++) {
        float drawn[100];
        double values[100];
        sumi_random at = {.seed = 3, .stream = SUMI_STREAM_USER, .step = (uint32_t)i};
        sumi_score score;
        sumi_random_normals(&at, 0, drawn, 100);
        for (int k = 0; k < 100; k++)
            values[k] = 5 + (double)drawn[k] * (double)drawn[k];
        assert_int_equal(sumi_bootstrap_mean(values, 100, (uint64_t)i, &score, NULL), SUMI_OK);
        covered += score.low <= 6 && 6 <= score.high;
    }
    assert_covers(covered, "a mean");
}

/* As many as there are, each as likely, and others for another resample or seed. */
static void test_resamples(void **state)
{
    (void)state;
    enum { ROWS = 1000 };
    uint32_t first[ROWS], other[ROWS];
    uint64_t total = 0;
    int never = 0;
    sumi_bootstrap_weights(1, 0, ROWS, first);
    for (int i = 0; i < ROWS; i++) {
        total += first[i];
        never += first[i] == 0;
    }
    assert_int_equal(total, ROWS);
    assert_true(never > 320 && never < 420); /* 1000 / e */
    sumi_bootstrap_weights(1, 1, ROWS, other);
    assert_memory_not_equal(first, other, sizeof first);
    sumi_bootstrap_weights(2, 0, ROWS, other);
    assert_memory_not_equal(first, other, sizeof first);
    sumi_bootstrap_weights(1, 0, ROWS, other);
    assert_memory_equal(first, other, sizeof first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frechet_and_kernel),
        cmocka_unit_test(test_manifold),
        cmocka_unit_test(test_means),
        cmocka_unit_test(test_resamples),
    };
    machine = machine_open(2);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    machine_close(&machine);
    return failed;
}
