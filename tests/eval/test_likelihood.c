/*
 * Held-out loss and bits per dimension, with the best network that there is for pictures of
 * independent normal pixels: its error and the pictures' entropy are known.
 */
#include "eval/eval_test.h"

enum { N = 200, COUNT_OF_IMAGE = 64, BINS = 10 };
#define MEAN .1
#define DEVIATION .2

/* The whole network: F of the objective from E[x_0 | x_t]. */
typedef struct {
    const sumi_process *process;
    double spoil; /* added to each prediction of x_0 */
    int64_t asked;
} best;

static sumi_status predict(void *user, const float *x, const float *times, int n, float *f)
{
    best *b = user;
    for (int i = 0; i < n; i++) {
        sumi_level level = sumi_level_at(b->process, (double)times[i]);
        sumi_terms terms = sumi_process_terms(b->process, &level);
        double data2 = DEVIATION * DEVIATION,
               gain = level.alpha * data2 / (level.alpha2 * data2 + level.sigma2);
        for (int k = 0; k < COUNT_OF_IMAGE; k++) {
            double x_t = (double)x[i * COUNT_OF_IMAGE + k] / terms.c_in;
            double x_0 = MEAN + gain * (x_t - level.alpha * MEAN) + b->spoil;
            double eps = (x_t - level.alpha * x_0) / level.sigma;
            f[i * COUNT_OF_IMAGE + k] = (float)(terms.x_0 * x_0 + terms.eps * eps);
        }
    }
    b->asked += n;
    return SUMI_OK;
}

/* Normal values, rounded to what a byte in [-1, 1] can say. */
static float *pictures(void)
{
    float *values = random_features(4, N, COUNT_OF_IMAGE);
    for (int i = 0; i < N * COUNT_OF_IMAGE; i++) {
        double byte = floor((1 + MEAN + DEVIATION * (double)values[i]) * 127.5 + .5);
        values[i] = (float)(fmin(fmax(byte, 0), 255) / 127.5 - 1);
    }
    return values;
}

static sumi_process process_of(int objective, int schedule)
{
    sumi_process process;
    sumi_process_config config = SUMI_PROCESS_CONFIG_INIT;
    config.objective = objective;
    config.schedule = schedule;
    config.beta_start = .0001f;
    config.beta_end = .02f;
    assert_int_equal(sumi_process_init(&process, &config, NULL), SUMI_OK);
    return process;
}

static const struct {
    int objective, schedule;
} processes[] = {{SUMI_OBJECTIVE_EPS, SUMI_SCHEDULE_LINEAR},
                 {SUMI_OBJECTIVE_V, SUMI_SCHEDULE_COSINE},
                 {SUMI_OBJECTIVE_FLOW, SUMI_SCHEDULE_FLOW},
                 {SUMI_OBJECTIVE_EDM, SUMI_SCHEDULE_EDM}};

/* The variance of eps that x_t leaves open, in the middle of each bin and at its ends. */
static void test_losses(void **state)
{
    (void)state;
    float *values = pictures();
    for (int p = 0; p < COUNT(processes); p++) {
        sumi_process process = process_of(processes[p].objective, processes[p].schedule);
        best network = {&process, 0, 0};
        sumi_likelihood of = {&process, values, N,       COUNT_OF_IMAGE, -1,  1,
                              7,        33,     predict, &network,       NULL};
        double loss[BINS], other[BINS], data2 = DEVIATION * DEVIATION;
        assert_int_equal(sumi_eval_losses(&of, BINS, loss, NULL), SUMI_OK);
        assert_int_equal(network.asked, N * BINS);
        for (int bin = 0; bin < BINS; bin++) {
            double expected = 0;
            for (int i = 0; i < 1000; i++) {
                sumi_level level =
                    sumi_level_at(&process, fmax((bin + (i + .5) / 1000) * 1000 / BINS, 1));
                expected += level.alpha2 * data2 / (level.alpha2 * data2 + level.sigma2) / 1000;
            }
            assert_near(loss[bin], expected, .05);
        }
        of.batch = 200;
        assert_int_equal(sumi_eval_losses(&of, BINS, other, NULL), SUMI_OK);
        assert_memory_equal(loss, other, sizeof loss);
        network.spoil = .05;
        assert_int_equal(sumi_eval_losses(&of, BINS, other, NULL), SUMI_OK);
        for (int bin = 0; bin < BINS; bin++)
            assert_true(other[bin] > loss[bin]);
        sumi_process_free(&process);
    }
    free(values);
}

/* What x_t leaves open of x_0. */
static double open_variance(const sumi_level *at)
{
    double data2 = DEVIATION * DEVIATION;
    return data2 * at->sigma2 / (at->alpha2 * data2 + at->sigma2);
}

/* The expected bound in nats: a sum over all levels in the place of strata, an integral in the
 * place of the decoder's pictures. */
static double expected_bound(const sumi_process *process)
{
    sumi_level last = sumi_level_at(process, 1000), one = sumi_level_at(process, 1),
               two = sumi_level_at(process, 2);
    double squares = MEAN * MEAN + DEVIATION * DEVIATION, sum = 0, mass = 0, nats = 0;
    sum += .5 * (last.sigma2 - 1 - log(last.sigma2) + last.alpha2 * squares);
    for (int t = 2; t <= 1000; t++) {
        sumi_level from = sumi_level_at(process, t), to = sumi_level_at(process, t - 1);
        sum += .5 * (to.alpha2 / to.sigma2 - from.alpha2 / from.sigma2) * open_variance(&from);
    }
    double deviation =
        sqrt((two.sigma2 - two.alpha2 / one.alpha2 * one.sigma2) * one.sigma2 / two.sigma2) *
        sqrt(2);
    for (double z = -6; z <= 6; z += .001) {
        double error = z * sqrt(open_variance(&one)), weight = exp(-z * z / 2);
        mass += weight;
        nats -= weight *
                log(fmax(erf((error + 1 / 255.) / deviation) - erf((error - 1 / 255.) / deviation),
                         2e-12) /
                    2);
    }
    return sum + nats / mass;
}

/* The bound is what it is expected to be, above the entropy of the values, and grows where
 * predictions are worse. */
static void test_bits(void **state)
{
    (void)state;
    const double pi = 3.14159265358979, e = 2.718281828459045;
    double entropy = .5 * log2(2 * pi * e * DEVIATION * DEVIATION) - log2(2. / 255);
    float *values = pictures();
    for (int p = 0; p < 2; p++) {
        sumi_process process = process_of(processes[p].objective, processes[p].schedule);
        best network = {&process, 0, 0};
        sumi_score score, spoilt;
        sumi_likelihood of = {&process, values, N,       COUNT_OF_IMAGE, -1,  1,
                              7,        50,     predict, &network,       NULL};
        assert_int_equal(sumi_eval_bits(&of, 100, &score, NULL), SUMI_OK);
        assert_int_equal(network.asked, N * 101);
        assert_true(score.low < score.value && score.value < score.high);
        assert_true(score.value > entropy);
        assert_near(score.value, expected_bound(&process) / log(2), .015);
        network.spoil = .05;
        assert_int_equal(sumi_eval_bits(&of, 100, &spoilt, NULL), SUMI_OK);
        assert_true(spoilt.value > score.value + .03);
        sumi_process_free(&process);
    }
    free(values);
}

/* Pictures of another range that the network is told of as before: the same losses and bits. */
static void test_standardised(void **state)
{
    (void)state;
    float *values = pictures(), *wide = pictures();
    const sumi_standard standard = {.channels = 1, .to = 1, .mean = {3}, .deviation = {2}};
    for (int i = 0; i < N * COUNT_OF_IMAGE; i++)
        wide[i] = 3 + 2 * values[i];
    for (int p = 0; p < COUNT(processes); p++) {
        sumi_process process = process_of(processes[p].objective, processes[p].schedule);
        best network = {&process, 0, 0};
        sumi_likelihood of[2] = {
            {&process, values, N, COUNT_OF_IMAGE, -1, 1, 7, 50, predict, &network, NULL},
            {&process, wide, N, COUNT_OF_IMAGE, 1, 5, 7, 50, predict, &network, &standard}};
        double loss[2][BINS];
        sumi_score bits[2];
        for (int i = 0; i < 2; i++) {
            assert_int_equal(sumi_eval_losses(&of[i], BINS, loss[i], NULL), SUMI_OK);
            assert_int_equal(sumi_eval_bits(&of[i], 20, &bits[i], NULL), SUMI_OK);
        }
        for (int bin = 0; bin < BINS; bin++)
            assert_near(loss[1][bin], loss[0][bin], 1e-3);
        assert_near(bits[1].value, bits[0].value, 1e-3);
        sumi_process_free(&process);
    }
    free(values);
    free(wide);
}

/* A model's network through the same: an untrained one predicts noise about as badly as 0 does. */
static void test_model(void **state)
{
    (void)state;
    enum { SIDE = 8, IMAGES = 5 };
    sumi_error err = {""};
    sumi_runtime runtime;
    sumi_model *model;
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    config.base_channels = 8;
    config.time_dim = 8;
    uint8_t bytes[IMAGES * SIDE * SIDE];
    for (int i = 0; i < IMAGES * SIDE * SIDE; i++)
        bytes[i] = (uint8_t)(i * 31);
    sumi_eval_set set = {
        .name = "test", .n = IMAGES, .h = SIDE, .w = SIDE, .c = 1, .images = bytes};
    assert_int_equal(sumi_runtime_init(&runtime, 2, NULL, NULL), SUMI_OK);
    assert_int_equal(sumi_models_create(&config, &model, NULL), SUMI_OK);
    sumi_held_out held_out = SUMI_HELD_OUT_INIT;
    sumi_eval_report report;
    sumi_eval_report_init(&report);
    held_out.bits_images = 3;
    held_out.strata = 4;
    if (sumi_eval_held_out(&runtime, model, &set, &held_out, &report, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    assert_int_equal(report.loss_bins, 20);
    for (int bin = 0; bin < 20; bin++)
        assert_true(report.loss[bin] > .5 && report.loss[bin] < 3);
    assert_true(report.bits.value > 1 && isfinite(report.bits.value));
    set.c = 3;
    set.n = 1;
    assert_int_equal(sumi_eval_held_out(&runtime, model, &set, &held_out, &report, &err),
                     SUMI_ESHAPE);
    assert_says(&err, "test has pictures of 3 channels, the model is of 1");
    sumi_eval_report_free(&report);
    sumi_runtime_forget(&runtime, model->id);
    sumi_models_free(model);
    sumi_runtime_free(&runtime);
}

static void test_refusals(void **state)
{
    (void)state;
    sumi_error err = {""};
    sumi_process process = process_of(0, 0);
    sumi_score score;
    double loss[1];
    float value[1] = {0};
    sumi_likelihood of = {&process, value, 1, 1, -1, 1, 0, 1, predict, NULL, NULL};
    assert_int_equal(sumi_eval_losses(&of, 0, loss, &err), SUMI_EINVAL);
    assert_says(&err, "a loss of 0 bins");
    assert_int_equal(sumi_eval_bits(&of, 0, &score, &err), SUMI_EINVAL);
    assert_says(&err, "bits per dimension of 1000 levels in 0 strata");
    sumi_process_free(&process);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_losses),       cmocka_unit_test(test_bits),
        cmocka_unit_test(test_standardised), cmocka_unit_test(test_model),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
