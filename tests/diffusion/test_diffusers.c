/*
 * The solvers against diffusers' schedulers: the same noise, levels and network give the same
 * result. make_diffusers.py, which wrote the values, says where conventions differ and how they are
 * met.
 */
#include "cpu/cpu.h"
#include "diffusion/diffusion.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "diffusers.h"

static sumi_status predict(void *user, const float *x, const float *times, double time, int n,
                           float *f)
{
    (void)user;
    (void)time;
    assert_int_equal(n, 1);
    for (int i = 0; i < DIFFUSERS_SIZE; i++) {
        double sum = diffusers_bias[i] * (double)times[0] / 1000;
        for (int k = 0; k < DIFFUSERS_SIZE; k++)
            sum += diffusers_weights[i][k] * (double)x[k];
        f[i] = (float)sum;
    }
    return SUMI_OK;
}

static int index_of(sumi_choice choice, const char *name)
{
    int index;
    assert_int_equal(sumi_choice_find(choice, name, &index, NULL), SUMI_OK);
    return index;
}

static void check_case(int c, sumi_device *device)
{
    sumi_process_config config = SUMI_PROCESS_CONFIG_INIT;
    config.objective = index_of(SUMI_CHOICE_OBJECTIVE, diffusers_cases[c].objective);
    config.schedule = index_of(SUMI_CHOICE_SCHEDULE, diffusers_cases[c].schedule);
    sumi_process process;
    sumi_path path;
    assert_int_equal(sumi_process_init(&process, &config, NULL), SUMI_OK);
    sumi_path_config want = SUMI_PATH_CONFIG_INIT;
    want.solver = sumi_solver_row(index_of(SUMI_CHOICE_SOLVER, diffusers_cases[c].solver));
    want.times = diffusers_cases[c].times;
    want.time_count = diffusers_cases[c].count;
    want.eta = diffusers_cases[c].eta;
    assert_int_equal(sumi_path_init(&path, &process, &want, NULL), SUMI_OK);
    path.steps -= !diffusers_cases[c].last;
    /* Noise is given for each evaluation, and Heun's method adds none. */
    sumi_sampling sampling = {
        .path = &path,
        .n = 1,
        .count = DIFFUSERS_SIZE,
        .noise = diffusers_noise[0],
        .noise_stride = DIFFUSERS_SIZE,
        .limits = {diffusers_cases[c].threshold > 0, -1, 1, diffusers_cases[c].threshold, NULL},
        .image = diffusers_cases[c].inverse ? diffusers_noise[0] : NULL,
        .backend = sumi_cpu_backend(),
        .device = device,
        .predict = predict};
    float x[DIFFUSERS_SIZE];
    assert_int_equal(sumi_sampling_run(&sampling, x, NULL), SUMI_OK);
    for (int i = 0; i < DIFFUSERS_SIZE; i++) {
        double expected = diffusers_cases[c].result[i];
        if (!(fabs((double)x[i] - expected) < 3e-5 * (1 + fabs(expected))))
            fail_msg("%s: number %d is %.8g, expected %.8g", diffusers_cases[c].name, i,
                     (double)x[i], expected);
    }
    sumi_path_free(&path);
    sumi_process_free(&process);
}

static void test_all_cases(void **state)
{
    (void)state;
    sumi_device *device;
    const sumi_device_config config = {.threads = 1};
    assert_int_equal(sumi_cpu_backend()->open(&config, &device, NULL), SUMI_OK);
    for (size_t c = 0; c < sizeof diffusers_cases / sizeof *diffusers_cases; c++)
        check_case((int)c, device);
    sumi_cpu_backend()->close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
