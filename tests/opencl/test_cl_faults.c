/*
 * Each call of OpenCL fails once, and from there on, while a device is opened, predicts and draws:
 * the result is right, or a status with one line; nothing is lost, and the next one works.
 */
#include <dlfcn.h>
#include <string.h>

#include "opencl/cl_test.h"

#include "sample/sample.h"

enum { SIDE = 4, PIXELS = SIDE * SIDE, N = 2 };

/* As in faults.c. */
typedef struct {
    long calls, fails;
    bool lost;
} fault_counts;

static fault_counts *counts;
static sumi_model *model;

/* A prediction and a picture, each of 2 steps. */
static sumi_status work(float *out, sumi_error *err)
{
    static const int32_t t[N] = {1, 15};
    static float images[N * PIXELS];
    sumi_runtime runtime;
    const sumi_device_config config = {.threads = 1};
    const sumi_random at = {3, SUMI_STREAM_USER, 0, 0};
    sumi_random_normals(&at, 0, images, N * PIXELS);
    sumi_status status = sumi_runtime_init_device(&runtime, sumi_opencl_backend(), &config, err);
    if (status != SUMI_OK)
        return status;
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.n = N;
    batch.h = batch.w = SIDE;
    batch.x = images;
    batch.t = t;
    status = sumi_runtime_predict(&runtime, model, &batch, out, err);
    sumi_sample_config sample = SUMI_SAMPLE_CONFIG_INIT;
    sample.count = N;
    sample.height = sample.width = SIDE;
    sample.solver = "ddpm";
    sample.steps = 2;
    sample.clip_low = -1;
    sample.clip_high = 1;
    if (status == SUMI_OK)
        status = sumi_sample_run(&runtime, model, &sample, out + N * PIXELS, N * PIXELS, err);
    sumi_runtime_forget(&runtime, model->id);
    sumi_runtime_free(&runtime);
    return status;
}

static void test_every_call(void **state)
{
    (void)state;
    float expected[2 * N * PIXELS], found[2 * N * PIXELS];
    sumi_error err = {""};
    *counts = (fault_counts){0};
    test_ok(work(expected, &err), &err); /* makes what is kept */
    counts->calls = 0;
    test_ok(work(expected, &err), &err);
    long all = counts->calls, failed = 0;
    assert_true(all > 100);
    for (long i = 1; i <= all; i += i < 150 ? 1 : 7)
        for (int lost = 0; lost < 2; lost++) {
            *counts = (fault_counts){.fails = i, .lost = lost};
            err.text[0] = '\0';
            sumi_status status = work(found, &err);
            failed += status != SUMI_OK;
            if (status == SUMI_OK && memcmp(found, expected, sizeof found) != 0)
                fail_msg("call %ld failed, and a wrong result came of it", i);
            if (status != SUMI_OK && (err.text[0] == '\0' || strchr(err.text, '\n')))
                fail_msg("call %ld: status %d says '%s'", i, (int)status, err.text);
        }
    assert_true(failed > 100);
    *counts = (fault_counts){0};
    test_ok(work(found, &err), &err);
    assert_memory_equal(found, expected, sizeof found);
}

int main(void)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_error err = {""};
    if (!test_has_device())
        return SKIPPED;
    setenv("SUMI_OPENCL", SUMI_TEST_FAULTS, 1);
    void *library = dlopen(SUMI_TEST_FAULTS, RTLD_NOW);
    counts = library ? dlsym(library, "sumi_test_faults") : NULL;
    config.base_channels = 2;
    config.time_dim = 4;
    config.timesteps = 20;
    if (!counts || sumi_models_create(&config, &model, &err) != SUMI_OK) {
        printf("%s\n", counts ? err.text : dlerror());
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_call)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sumi_models_free(model);
    return failed;
}
