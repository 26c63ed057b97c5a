/*
 * rk45: errors follow the tolerance, each image takes what it needs whatever batch it is in, and
 * masks: what is known stays, and what is made anew comes to agree with it.
 *
 * Data of one normal have a closed form of the best prediction and of the whole way (as in
 * test_solvers.c); of two normals that are correlated, that of one given the other too.
 */
#include "cpu/cpu.h"
#include "diffusion/diffusion.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { COUNT = 64, N = 5 };

#define SD 0.2
#define RHO 0.8

typedef struct {
    sumi_process process;
    int evaluations, n_most;
} fixture;

static int index_of(sumi_choice choice, const char *name)
{
    int index;
    assert_int_equal(sumi_choice_find(choice, name, &index, NULL), SUMI_OK);
    return index;
}

static void open_fixture(fixture *f, const char *objective, const char *schedule)
{
    sumi_process_config config = SUMI_PROCESS_CONFIG_INIT;
    config.objective = index_of(SUMI_CHOICE_OBJECTIVE, objective);
    config.schedule = index_of(SUMI_CHOICE_SCHEDULE, schedule);
    *f = (fixture){.evaluations = 0};
    assert_int_equal(sumi_process_init(&f->process, &config, NULL), SUMI_OK);
}

/* F of N(mean, SD^2), whose mean is a number's own: images differ in how hard they are. */
static sumi_status predict(void *user, const float *input, const float *times, double time, int n,
                           float *out)
{
    fixture *f = user;
    (void)time;
    f->evaluations++;
    for (int i = 0; i < n; i++) {
        sumi_level level = sumi_level_at(&f->process, (double)times[i]);
        sumi_terms terms = sumi_process_terms(&f->process, &level);
        double variance = level.alpha2 * SD * SD + level.sigma2, alpha = sqrt(level.alpha2);
        for (int k = i * COUNT; k < (i + 1) * COUNT; k++) {
            double mean = .05 * (k % COUNT), x = (double)input[k] / terms.c_in;
            double x_0 = mean + alpha * SD * SD / variance * (x - alpha * mean);
            out[k] = (float)((terms.image.divisor * x_0 - terms.image.x * x) / terms.image.f);
        }
    }
    return SUMI_OK;
}

static void noise_of(int images, float *noise)
{
    const sumi_random at = {8, SUMI_STREAM_USER, 0, 0};
    sumi_random_normals(&at, 0, noise, (size_t)images * COUNT);
    for (int i = 0; i < images * COUNT; i++)
        noise[i] *= (float)(1 + i / COUNT);
}

static sumi_status draw(fixture *f, double tolerance, int most, int begin, int n, float *x,
                        int *taken, sumi_error *err)
{
    float noise[N * COUNT];
    sumi_device *device;
    sumi_path path;
    sumi_path_config want = SUMI_PATH_CONFIG_INIT;
    want.solver = sumi_solver_row(index_of(SUMI_CHOICE_SOLVER, "rk45"));
    want.evaluations = most;
    want.tolerance = (sumi_tolerance){tolerance, tolerance};
    assert_int_equal(sumi_path_init(&path, &f->process, &want, NULL), SUMI_OK);
    noise_of(N, noise);
    const sumi_device_config config = {.threads = n > 1 ? 2 : 1};
    assert_int_equal(sumi_cpu_backend()->open(&config, &device, NULL), SUMI_OK);
    sumi_sampling sampling = {.path = &path,
                              .n = n,
                              .count = COUNT,
                              .noise = noise + begin * COUNT,
                              .first_image = begin,
                              .backend = sumi_cpu_backend(),
                              .device = device,
                              .predict = predict,
                              .taken = taken,
                              .user = f};
    sumi_status status = sumi_sampling_run(&sampling, x, err);
    sumi_cpu_backend()->close(device);
    sumi_path_free(&path);
    return status;
}

/* Where the way from x_T leads at the last level, and the best prediction there. */
static double expected(const fixture *f, double noise, double mean)
{
    sumi_level from = sumi_level_at(&f->process, 1000);
    sumi_level to =
        sumi_level_at(&f->process, sumi_schedule_row(f->process.config.schedule)->first);
    double scale = sqrt(from.alpha2 + from.sigma2), data = SD * SD;
    double y = (scale * noise - sqrt(from.alpha2) * mean) /
               sqrt(from.alpha2 * data + from.sigma2); /* standard normal all the way */
    double x = sqrt(to.alpha2) * mean + y * sqrt(to.alpha2 * data + to.sigma2);
    double variance = to.alpha2 * data + to.sigma2;
    return mean + sqrt(to.alpha2) * data / variance * (x - sqrt(to.alpha2) * mean);
}

static double worst_error(const fixture *f, const float *x)
{
    float noise[N * COUNT];
    double worst = 0;
    noise_of(N, noise);
    /* Tolerances are relative to what is large, too. */
    for (int i = 0; i < N * COUNT; i++) {
        double off = (double)x[i] - expected(f, (double)noise[i], .05 * (i % COUNT));
        worst = fmax(worst, fabs(off) / (1 + fabs((double)noise[i])));
    }
    return worst;
}

static void test_errors_follow_the_tolerance(void **state)
{
    (void)state;
    static const char *const of[][2] = {
        {"eps", "linear"}, {"v", "cosine"}, {"edm", "edm"}, {"flow", "flow"}};
    static const double tolerances[] = {1e-2, 1e-3, 1e-4};
    for (size_t p = 0; p < sizeof of / sizeof *of; p++) {
        fixture f;
        float x[N * COUNT];
        int taken[N], before = 0;
        open_fixture(&f, of[p][0], of[p][1]);
        for (size_t t = 0; t < 3; t++) {
            assert_int_equal(draw(&f, tolerances[t], 1000, 0, N, x, taken, NULL), SUMI_OK);
            double worst = worst_error(&f, x);
            if (!(worst < 10 * tolerances[t]))
                fail_msg("%s, %s: an error of %g with a tolerance of %g after %d evaluations",
                         of[p][0], of[p][1], worst, tolerances[t], taken[0]);
            for (int i = 0; i < N; i++)
                assert_true(taken[i] % 6 == 1 && taken[i] < 400);
            assert_true(taken[0] >= before);
            before = taken[0];
        }
        sumi_process_free(&f.process);
    }
}

static void test_an_image_is_its_own(void **state)
{
    (void)state;
    fixture f;
    float x[N * COUNT], alone[COUNT];
    int taken[N], one, most = 0, least = 10000;
    open_fixture(&f, "v", "linear");
    assert_int_equal(draw(&f, 1e-3, 1000, 0, N, x, taken, NULL), SUMI_OK);
    for (int i = 0; i < N; i++) {
        assert_int_equal(draw(&f, 1e-3, 1000, i, 1, alone, &one, NULL), SUMI_OK);
        assert_memory_equal(alone, x + i * COUNT, sizeof alone);
        assert_int_equal(one, taken[i]);
        most = taken[i] > most ? taken[i] : most;
        least = taken[i] < least ? taken[i] : least;
    }
    assert_true(most > least); /* or the above shows nothing */
    sumi_process_free(&f.process);
}

static void test_too_few_evaluations(void **state)
{
    (void)state;
    fixture f;
    float x[N * COUNT];
    sumi_error err;
    open_fixture(&f, "v", "linear");
    assert_int_equal(draw(&f, 1e-4, 20, 2, 2, x, NULL, &err), SUMI_EINVAL);
    assert_non_null(strstr(err.text, "image 2 is not done after 19 evaluations of 20"));
    sumi_process_free(&f.process);
}

/* ---- Masks ----------------------------------------------------------------------------------- */

/* Numbers 2k and 2k + 1 of an image are normal with deviation 1 and correlation RHO. */
static sumi_status predict_pairs(void *user, const float *input, const float *times, double time,
                                 int n, float *out)
{
    fixture *f = user;
    f->evaluations++;
    f->n_most = n > f->n_most ? n : f->n_most;
    assert_true((float)time == times[0]);
    sumi_level level = sumi_level_at(&f->process, time);
    double a2 = level.alpha2, s2 = level.sigma2, alpha = sqrt(a2), sigma = sqrt(s2);
    /* E[x_0 | x_t] = alpha C (alpha^2 C + sigma^2)^-1 x_t, in the pair's sum and difference. */
    double sum = alpha * (1 + RHO) / (a2 * (1 + RHO) + s2);
    double difference = alpha * (1 - RHO) / (a2 * (1 - RHO) + s2);
    for (int i = 0; i < n * COUNT; i += 2) {
        double p = (double)input[i], q = (double)input[i + 1];
        double u = sum * (p + q) / 2, w = difference * (p - q) / 2;
        out[i] = (float)((p - alpha * (u + w)) / sigma);
        out[i + 1] = (float)((q - alpha * (u - w)) / sigma);
    }
    return SUMI_OK;
}

/* Paints odd numbers anew where even ones are known to be 1; mean of what it paints. */
static double paint(const char *solver, int steps, int visits, int jump, int n, int begin, float *x,
                    int *taken)
{
    fixture f;
    sumi_device *device;
    sumi_path path;
    int64_t evaluations;
    float *image = malloc((size_t)n * COUNT * sizeof *image);
    float *mask = malloc((size_t)n * COUNT * sizeof *mask);
    for (int i = 0; i < n * COUNT; i++) {
        image[i] = i % 2 ? -5 : 1;
        mask[i] = (float)(i % 2);
    }
    open_fixture(&f, "eps", "linear");
    sumi_path_config want = SUMI_PATH_CONFIG_INIT;
    want.solver = sumi_solver_row(index_of(SUMI_CHOICE_SOLVER, solver));
    want.spacing = sumi_spacing_row(0);
    want.evaluations = steps;
    assert_int_equal(sumi_path_init(&path, &f.process, &want, NULL), SUMI_OK);
    const sumi_device_config config = {.threads = 2};
    assert_int_equal(sumi_cpu_backend()->open(&config, &device, NULL), SUMI_OK);
    sumi_sampling sampling = {.path = &path,
                              .n = n,
                              .count = COUNT,
                              .seed = 3,
                              .first_image = begin,
                              .image = image,
                              .mask = mask,
                              .visits = visits,
                              .jump = jump,
                              .backend = sumi_cpu_backend(),
                              .device = device,
                              .predict = predict_pairs,
                              .taken = taken,
                              .user = &f};
    assert_int_equal(sumi_sampling_run(&sampling, x, NULL), SUMI_OK);
    assert_true(sumi_sampling_evaluations(&path, visits, jump, &evaluations));
    assert_int_equal(evaluations, f.evaluations);
    sumi_cpu_backend()->close(device);
    sumi_path_free(&path);
    sumi_process_free(&f.process);
    double mean = 0;
    for (int i = 0; i < n * COUNT; i += 2) {
        assert_true(x[i] == 1); /* what is known stays, to the bit */
        mean += (double)x[i + 1] / (n * COUNT / 2);
    }
    free(image);
    free(mask);
    return mean;
}

/* Given 1, the other of a pair has mean RHO. One visit of each level stays away from that, several
 * come near. */
static void test_painting_agrees_with_what_is_known(void **state)
{
    (void)state;
    enum { MANY = 64 };
    float *x = malloc(MANY * COUNT * sizeof *x);
    static const char *const solvers[] = {"ddpm", "ddim", "euler-a", "dpmpp-2m", "heun", "unipc"};
    for (size_t s = 0; s < sizeof solvers / sizeof *solvers; s++) {
        double once = paint(solvers[s], 40, 1, 1, MANY, 0, x, NULL);
        double often = paint(solvers[s], 40, 16, 1, MANY, 0, x, NULL);
        if (!(fabs(often - RHO) < .12 && fabs(often - RHO) < .5 * fabs(once - RHO)))
            fail_msg("%s: a mean of %g, or %g with several visits, expected %g", solvers[s], once,
                     often, RHO);
    }
    free(x);
}

static void test_painting_in_any_batch(void **state)
{
    (void)state;
    float x[N * COUNT], one[COUNT];
    int taken[N], alone;
    paint("unipc", 21, 3, 5, N, 10, x, taken);
    for (int i = 0; i < N; i++) {
        paint("unipc", 21, 3, 5, 1, 10 + i, one, &alone);
        assert_memory_equal(one, x + i * COUNT, sizeof one);
        /* 21 steps, and 5 more for each of two ways back, 5, 10 and 15 before the end. */
        assert_true(alone == 21 + 3 * 2 * 5 && taken[i] == alone);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_follow_the_tolerance),
        cmocka_unit_test(test_an_image_is_its_own),
        cmocka_unit_test(test_too_few_evaluations),
        cmocka_unit_test(test_painting_agrees_with_what_is_known),
        cmocka_unit_test(test_painting_in_any_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
