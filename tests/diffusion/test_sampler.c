/*
 * The solvers and the sampling loop.
 *
 * Where the data are normal, N(mean, sd^2) in every pixel, the best prediction of eps is known:
 *     E[eps | x_t] = sqrt(1 - a) (x_t - sqrt(a) mean) / (a sd^2 + 1 - a),  a = alpha_bar_t,
 * which is affine in x_t. So each step is affine too, and mean and variance of what a solver draws
 * follow from a recursion over two numbers, written down here a second time in double precision.
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

#include "golden.h"

#define MEAN 0.3
#define SD 0.2

typedef struct {
    sumi_process process;
    size_t count;
    int calls, looks, done, stop_look, stop_done;
    int32_t last_t;
    double worst_x_0;
    sumi_status fail;
} fixture;

static sumi_device *device_of(int threads)
{
    sumi_device *device;
    const sumi_device_config config = {.threads = threads};
    assert_int_equal(sumi_cpu_backend()->open(&config, &device, NULL), SUMI_OK);
    return device;
}

static const sumi_solver *solver_of(const char *name)
{
    int index;
    assert_int_equal(sumi_choice_find(SUMI_CHOICE_SOLVER, name, &index, NULL), SUMI_OK);
    return sumi_solver_row(index);
}

static void make_process(sumi_process *process, int timesteps, float start, float end)
{
    sumi_process_config config = SUMI_PROCESS_CONFIG_INIT;
    config.timesteps = timesteps;
    config.beta_start = start;
    config.beta_end = end;
    assert_int_equal(sumi_process_init(process, &config, NULL), SUMI_OK);
}

/* Takes `steps` evaluations, spaced as the tutorial's. */
static sumi_path path_of(const sumi_process *process, const char *solver, int steps, float eta)
{
    sumi_path path;
    sumi_path_config config = SUMI_PATH_CONFIG_INIT;
    config.solver = solver_of(solver);
    config.spacing = sumi_spacing_row(0);
    config.evaluations = steps;
    config.eta = eta;
    assert_int_equal(sumi_path_init(&path, process, &config, NULL), SUMI_OK);
    return path;
}

/* E[eps | x] = slope * x + offset. */
static void best_prediction(double a, double *slope, double *offset)
{
    *slope = sqrt(1 - a) / (a * SD * SD + 1 - a);
    *offset = -*slope * sqrt(a) * MEAN;
}

static sumi_status predict_normal(void *user, const float *x, const float *time, double at, int n,
                                  float *eps)
{
    fixture *f = user;
    assert_true(time[n - 1] == (float)at);
    f->calls++;
    for (int i = 0; i < n; i++) {
        double slope, offset;
        best_prediction(sumi_level_at(&f->process, (double)time[i]).alpha2, &slope, &offset);
        for (size_t k = (size_t)i * f->count; k < (size_t)(i + 1) * f->count; k++)
            eps[k] = (float)(slope * (double)x[k] + offset);
    }
    return f->fail;
}

/* The function that make_golden.py calls `model`. */
static sumi_status predict_golden(void *user, const float *x, const float *time, double at, int n,
                                  float *eps)
{
    (void)user;
    (void)at;
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < 5; k++)
            eps[5 * i + k] = x[5 * i + k] * 0.5f + time[i] / 64;
    }
    return SUMI_OK;
}

static void test_same_bits_as_torch(void **state)
{
    (void)state;
    sumi_process process;
    make_process(&process, 8, .05f, .3f);
    sumi_path path = path_of(&process, "ddpm", 8, 0);
    sumi_device *device = device_of(1);
    sumi_sampling sampling = {.path = &path,
                              .n = 3,
                              .count = 5,
                              .noise = golden_noise,
                              .noise_stride = 15,
                              .backend = sumi_cpu_backend(),
                              .device = device,
                              .predict = predict_golden};
    float x[15];
    assert_int_equal(sumi_sampling_run(&sampling, x, NULL), SUMI_OK);
    assert_memory_equal(x, golden_sample, sizeof x);
    sumi_cpu_backend()->close(device);
    sumi_path_free(&path);
    sumi_process_free(&process);
}

static float noise_of_step(const sumi_path *path, int i)
{
    sumi_plan plan = {1, {{.x = 1, .divisor = 1}}, path->levels[i + 1]};
    path->solver->plan(path, i, 0, &plan);
    return plan.mix[0].z;
}

/* One step of the tutorial's from t = 1, 8 and 5. */
static void test_single_steps_are_torch_s(void **state)
{
    (void)state;
    sumi_process process;
    make_process(&process, 8, .05f, .3f);
    sumi_path path = path_of(&process, "ddpm", 8, 0);
    const float times[] = {1, 8, 5};
    float eps[15];
    assert_int_equal(predict_golden(NULL, golden_diffused, times, 0, 3, eps), SUMI_OK);
    for (int i = 0; i < 15; i++) {
        sumi_plan plan = {1, {{.x = 1, .divisor = 1}}, path.levels[0]};
        path.solver->plan(&path, 8 - (int)times[i / 5], 0, &plan);
        sumi_mix mix = plan.mix[0];
        float x = (mix.x * golden_diffused[i] + mix.h[0] * eps[i]) / mix.divisor;
        x += golden_noise[45 + i] * mix.z;
        assert_true(x == golden_denoised[i]);
    }
    sumi_path_free(&path);
    sumi_process_free(&process);
}

static void test_last_step_adds_no_noise(void **state)
{
    (void)state;
    static const struct {
        const char *solver;
        int steps;
        float eta;
        bool before; /* does the step before the last add any? */
    } cases[] = {
        {"ddpm", 1000, 0, true}, {"ddpm", 50, 0, true},  {"ddim", 50, 1, true},
        {"ddim", 50, .5f, true}, {"ddim", 50, 0, false},
    };
    sumi_process process;
    make_process(&process, 1000, .001f, .01f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sumi_path path = path_of(&process, cases[i].solver, cases[i].steps, cases[i].eta);
        assert_true(noise_of_step(&path, cases[i].steps - 1) == 0);
        assert_true((noise_of_step(&path, cases[i].steps - 2) > 0) == cases[i].before);
        sumi_path_free(&path);
    }
    sumi_process_free(&process);
}

/* Mean and variance of what `steps` steps make of x_T ~ N(0, 1), from the papers' formulas. */
static void expected_moments(const sumi_path *path, double eta, double *mean, double *variance)
{
    *mean = 0;
    *variance = 1;
    for (int i = 0; i < path->steps; i++) {
        double a = path->levels[i].alpha2, a_s = path->levels[i + 1].alpha2;
        double sigma2 = eta * eta * (1 - a_s) / (1 - a) * (1 - a / a_s);
        double slope, offset;
        best_prediction(a, &slope, &offset);
        double add = sqrt(1 - a_s - sigma2) - sqrt(a_s / a) * sqrt(1 - a);
        double factor = sqrt(a_s / a) + add * slope;
        *mean = factor * *mean + add * offset;
        *variance = factor * factor * *variance + sigma2;
    }
}

static void check_moments(const char *solver, int steps, float eta, double expected_eta)
{
    fixture f = {.count = 1024};
    enum { N = 64 };
    make_process(&f.process, 200, .001f, .1f);
    sumi_path path = path_of(&f.process, solver, steps, eta);
    sumi_device *device = device_of(2);
    sumi_sampling sampling = {.path = &path,
                              .n = N,
                              .count = f.count,
                              .seed = 7,
                              .backend = sumi_cpu_backend(),
                              .device = device,
                              .predict = predict_normal,
                              .user = &f};
    size_t all = N * f.count;
    float *x = malloc(all * sizeof *x);
    assert_int_equal(sumi_sampling_run(&sampling, x, NULL), SUMI_OK);
    assert_int_equal(f.calls, steps);
    double sum = 0, squares = 0, mean, variance;
    for (size_t i = 0; i < all; i++)
        sum += (double)x[i];
    for (size_t i = 0; i < all; i++)
        squares += ((double)x[i] - sum / (double)all) * ((double)x[i] - sum / (double)all);
    expected_moments(&path, expected_eta, &mean, &variance);
    /* 65,536 draws: their mean is off by SD / 256, their variance by a share of 1 / 181. */
    assert_true(fabs(sum / (double)all - mean) < 4 * SD / 256);
    assert_true(fabs(squares / (double)all / variance - 1) < 4. / 181);
    /* Many steps draw the data's own distribution (ddpm's smaller variance a little less). */
    if (steps == 200) {
        assert_true(fabs(mean - MEAN) < .003);
        assert_true(fabs(sqrt(variance) - SD) < .02);
    }
    free(x);
    sumi_cpu_backend()->close(device);
    sumi_path_free(&path);
    sumi_process_free(&f.process);
}

static void test_moments_of_normal_data(void **state)
{
    (void)state;
    check_moments("ddpm", 200, 0, 1);
    check_moments("ddpm", 20, 0, 1);
    check_moments("ddim", 200, 0, 0);
    check_moments("ddim", 10, 0, 0);
    check_moments("ddim", 25, .5f, .5);
    check_moments("ddim", 1, 0, 0);
}

static void test_ddim_with_eta_1_is_ddpm(void **state)
{
    (void)state;
    fixture f = {.count = 300};
    make_process(&f.process, 1000, .001f, .01f);
    sumi_path path = path_of(&f.process, "ddpm", 40, 0);
    sumi_device *device = device_of(1);
    sumi_sampling sampling = {.path = &path,
                              .n = 2,
                              .count = f.count,
                              .seed = 3,
                              .backend = sumi_cpu_backend(),
                              .device = device,
                              .predict = predict_normal,
                              .user = &f};
    float ddpm[600], ddim[600];
    assert_int_equal(sumi_sampling_run(&sampling, ddpm, NULL), SUMI_OK);
    sumi_path_free(&path);
    path = path_of(&f.process, "ddim", 40, 1);
    assert_int_equal(sumi_sampling_run(&sampling, ddim, NULL), SUMI_OK);
    for (int i = 0; i < 600; i++)
        assert_true(fabsf(ddpm[i] - ddim[i]) < 2e-5f);
    sumi_cpu_backend()->close(device);
    sumi_path_free(&path);
    sumi_process_free(&f.process);
}

/* Images 40..46 of seed 5, in one batch or in several, on one thread or three. */
static void draw(const char *solver, int threads, int batch, float *x)
{
    fixture f = {.count = 20000}; /* more than one piece of an image */
    make_process(&f.process, 50, .01f, .1f);
    sumi_path path =
        path_of(&f.process, solver, 5, solver_of(solver)->flags & SUMI_SOLVER_ETA ? .7f : -1);
    sumi_device *device = device_of(threads);
    for (int i = 0; i < 7; i += batch) {
        sumi_sampling sampling = {.path = &path,
                                  .n = 7 - i < batch ? 7 - i : batch,
                                  .count = f.count,
                                  .seed = 5,
                                  .first_image = 40 + i,
                                  .backend = sumi_cpu_backend(),
                                  .device = device,
                                  .predict = predict_normal,
                                  .user = &f};
        assert_int_equal(sumi_sampling_run(&sampling, x + (size_t)i * f.count, NULL), SUMI_OK);
    }
    sumi_cpu_backend()->close(device);
    sumi_path_free(&path);
    sumi_process_free(&f.process);
}

static void test_batch_and_threads_change_no_bit(void **state)
{
    (void)state;
    size_t floats = 7 * 20000, bytes = floats * sizeof(float);
    float *whole = malloc(bytes), *cut = malloc(bytes);
    for (int i = 0; sumi_solver_row(i); i++) {
        const char *solver = sumi_solver_row(i)->is.name;
        if (sumi_solver_row(i)->flags & SUMI_SOLVER_ADAPTIVE) /* test_adaptive.c */
            continue;
        draw(solver, 1, 7, whole);
        draw(solver, 3, 2, cut);
        assert_memory_equal(whole, cut, bytes);
        draw(solver, 2, 1, cut);
        assert_memory_equal(whole, cut, bytes);
    }
    /* Another image is another picture. */
    assert_memory_not_equal(whole, whole + 20000, 20000 * sizeof(float));
    free(whole);
    free(cut);
}

static int look(void *user, int step, const float *x_t, const float *x_0, int n)
{
    fixture *f = user;
    assert_true(step < f->last_t);
    f->last_t = step;
    for (size_t i = 0; i < (size_t)n * f->count; i++) {
        double a = sumi_level_at(&f->process, step).alpha2, slope, offset;
        best_prediction(a, &slope, &offset);
        double eps = slope * (double)x_t[i] + offset;
        double implied = ((double)x_t[i] - sqrt(1 - a) * eps) / sqrt(a);
        f->worst_x_0 = fmax(f->worst_x_0, fabs(implied - (double)x_0[i]));
    }
    return ++f->looks == f->stop_look;
}

static int count_done(void *user, int steps)
{
    fixture *f = user;
    assert_int_equal(steps, ++f->done);
    return f->done == f->stop_done;
}

static void test_callbacks(void **state)
{
    (void)state;
    fixture f = {.count = 50, .last_t = 1001};
    make_process(&f.process, 1000, .001f, .01f);
    sumi_path path = path_of(&f.process, "ddim", 10, 0);
    sumi_device *device = device_of(1);
    sumi_sampling sampling = {.path = &path,
                              .n = 3,
                              .count = f.count,
                              .backend = sumi_cpu_backend(),
                              .device = device,
                              .predict = predict_normal,
                              .on_step = look,
                              .step_done = count_done,
                              .user = &f};
    float x[150];
    assert_int_equal(sumi_sampling_run(&sampling, x, NULL), SUMI_OK);
    assert_int_equal(f.looks, 10);
    assert_int_equal(f.done, 10);
    assert_int_equal(f.last_t, 100);
    assert_true(f.worst_x_0 < 1e-4);

    f.looks = f.calls = f.done = 0;
    f.last_t = 1001;
    f.stop_look = 3;
    assert_int_equal(sumi_sampling_run(&sampling, x, NULL), SUMI_CANCELLED);
    assert_int_equal(f.calls, 3);
    assert_int_equal(f.done, 2);

    f.looks = f.calls = f.done = 0;
    f.last_t = 1001;
    f.stop_look = 0;
    f.stop_done = 4;
    assert_int_equal(sumi_sampling_run(&sampling, x, NULL), SUMI_CANCELLED);
    assert_int_equal(f.calls, 4);

    f.calls = 0;
    f.fail = SUMI_EFORMAT;
    assert_int_equal(sumi_sampling_run(&sampling, x, NULL), SUMI_EFORMAT);
    assert_int_equal(f.calls, 1);
    sumi_cpu_backend()->close(device);
    sumi_path_free(&path);
    sumi_process_free(&f.process);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits_as_torch),
        cmocka_unit_test(test_single_steps_are_torch_s),
        cmocka_unit_test(test_last_step_adds_no_noise),
        cmocka_unit_test(test_moments_of_normal_data),
        cmocka_unit_test(test_ddim_with_eta_1_is_ddpm),
        cmocka_unit_test(test_batch_and_threads_change_no_bit),
        cmocka_unit_test(test_callbacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
