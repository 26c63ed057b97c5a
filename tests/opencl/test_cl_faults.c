/*
 * Each call of OpenCL fails once, and from there on, while a device is opened, predicts, draws and
 * trains: the result is right, or a status with one line; nothing is lost, and the next one works.
 */
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include "opencl/cl_test.h"

#include "sample/sample.h"
#include "train/train.h"

enum { SIDE = 4, PIXELS = SIDE * SIDE, N = 2 };

/* As in faults.c. */
typedef struct {
    long calls, fails;
    bool lost;
    const char *broken, *vendor;
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
    for (long i = 1; i <= all; i += i < 24 ? 3 : all / 40 + 1)
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
    assert_true(failed > 60);
    *counts = (fault_counts){0};
    test_ok(work(found, &err), &err);
    assert_memory_equal(found, expected, sizeof found);
}

/* ---- Training -------------------------------------------------------------------------------- */

enum { LAST = 2 };

static char folder[] = "/tmp/sumi-cl-faults-XXXXXX";

static sumi_status train_step(sumi_trainer *trainer, sumi_error *err)
{
    float images[N * PIXELS];
    const sumi_random at = {3, SUMI_STREAM_USER, (uint32_t)trainer->steps, 0};
    sumi_random_normals(&at, 0, images, N * PIXELS);
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.n = N;
    batch.h = batch.w = SIDE;
    batch.x = images;
    return sumi_train_step(trainer, &batch, NULL, err);
}

/* Two steps, each with its checkpoint in one place; *saved: the step of the last that was said to
 * be saved. out: the first weights. */
static sumi_status train(const char *net, float out[8], int64_t *saved, sumi_error *err)
{
    const sumi_device_config config = {.threads = 1};
    sumi_model_config of_model = SUMI_MODEL_CONFIG_INIT;
    sumi_trainer_config settings = SUMI_TRAINER_CONFIG_INIT;
    sumi_runtime runtime;
    sumi_model *trained = NULL;
    sumi_trainer *trainer = NULL;
    char path[64];
    snprintf(path, sizeof path, "%s/checkpoint", folder);
    of_model.net = net;
    of_model.base_channels = 4;
    of_model.time_dim = 4;
    of_model.timesteps = 20;
    settings.batch = N;
    settings.height = settings.width = SIDE;
    if (strcmp(net, "unet") == 0) {
        settings.optimiser = "muon";
        settings.clip_norm = 1;
    }
    sumi_status status = sumi_runtime_init_device(&runtime, sumi_opencl_backend(), &config, err);
    if (status != SUMI_OK)
        return status;
    test_ok(sumi_models_create(&of_model, &trained, err), err);
    status = sumi_train_create(&runtime, trained, &settings, &trainer, err);
    while (status == SUMI_OK && trainer->steps < LAST) {
        status = train_step(trainer, err);
        if (status == SUMI_OK)
            status = sumi_checkpoint_save(trainer, NULL, path, err);
        if (status == SUMI_OK)
            *saved = trainer->steps;
    }
    sumi_train_free(trainer);
    if (status == SUMI_OK)
        memcpy(out, trained->graph.params.values, 8 * sizeof *out);
    sumi_models_free(trained);
    sumi_runtime_free(&runtime);
    return status;
}

/* It is whole, and of the step that was said to be saved. */
static void check_checkpoint(long call, int64_t saved)
{
    char path[64], file[96];
    json_t *state = NULL;
    sumi_error err = {""};
    snprintf(path, sizeof path, "%s/checkpoint", folder);
    snprintf(file, sizeof file, "%s/state.json", path);
    if (saved == 0)
        return;
    if (sumi_checkpoint_check(path, &err) != SUMI_OK)
        fail_msg("call %ld: %s", call, err.text);
    test_ok(sumi_json_read(file, &state, &err), &err);
    assert_int_equal(json_integer_value(json_object_get(state, "step")), saved);
    json_decref(state);
}

static void test_training(void **state)
{
    static const char *const nets[] = {"tutorial", "unet"};
    (void)state;
    assert_non_null(mkdtemp(folder));
    for (int k = 0; k < 2; k++) {
        float expected[8], found[8];
        int64_t saved = 0;
        sumi_error err = {""};
        *counts = (fault_counts){0};
        test_ok(train(nets[k], expected, &saved, &err), &err);
        counts->calls = 0;
        test_ok(train(nets[k], expected, &saved, &err), &err);
        long all = counts->calls, failed = 0, stride = all / 24 + 1;
        assert_true(all > 1000);
        for (long i = 60 + k; i <= all; i += stride) {
            sumi_remove_tree(folder, NULL);
            test_ok(sumi_make_dirs(folder, &err), &err);
            *counts = (fault_counts){.fails = i, .lost = i / stride % 2};
            err.text[0] = '\0';
            saved = 0;
            sumi_status status = train(nets[k], found, &saved, &err);
            failed += status != SUMI_OK;
            *counts = (fault_counts){0};
            if (status == SUMI_OK && memcmp(found, expected, sizeof found) != 0)
                fail_msg("call %ld failed, and a wrong result came of it", i);
            if (status != SUMI_OK && (err.text[0] == '\0' || strchr(err.text, '\n')))
                fail_msg("call %ld: status %d says '%s'", i, (int)status, err.text);
            check_checkpoint(i, saved);
        }
        assert_true(failed > 12);
    }
    test_ok(sumi_remove_tree(folder, NULL), &(sumi_error){""});
}

/* ---- Drivers that compute wrongly ------------------------------------------------------------ */

/* A kernel that does nothing is noticed when a device is used for the first time, and it stays
 * refused until it is right; a driver that is right is tried once. */
static void test_wrong_kernels(void **state)
{
    static const char *const kernels[] = {
        "sumi_conv",        "sumi_fill",         "sumi_find_bad",    "sumi_running",
        "sumi_norm_params", "sumi_scatter",      "sumi_ledger_open", "sumi_ledger_take",
        "sumi_ledger_clip", "sumi_gather_images"};
    const sumi_device_config config = {.threads = 1};
    const char *before = getenv("XDG_CACHE_HOME");
    char cache[] = "/tmp/sumi-cl-cache-XXXXXX", *kept = before ? strdup(before) : NULL;
    (void)state;
    assert_non_null(mkdtemp(cache));
    setenv("XDG_CACHE_HOME", cache, 1);
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        sumi_runtime runtime;
        sumi_error err = {""};
        *counts = (fault_counts){.broken = kernels[i]};
        if (sumi_runtime_init_device(&runtime, sumi_opencl_backend(), &config, &err) !=
                SUMI_EUNSUPPORTED ||
            !strstr(err.text, "computes wrongly"))
            fail_msg("%s does nothing, and the device is used: %s", kernels[i], err.text);
    }
    *counts = (fault_counts){0};
    sumi_runtime runtime = test_runtime(true);
    sumi_runtime_free(&runtime);
    long first = counts->calls;
    counts->calls = 0;
    runtime = test_runtime(true);
    sumi_runtime_free(&runtime);
    assert_true(counts->calls < first / 2);
    if (kept)
        setenv("XDG_CACHE_HOME", kept, 1);
    else
        unsetenv("XDG_CACHE_HOME");
    free(kept);
    test_ok(sumi_remove_tree(cache, NULL), &(sumi_error){""});
}

/* What "auto" is where there are cards, by their makers. */
static void test_auto(void **state)
{
    static const struct {
        const char *vendor;
        bool is_card;
    } cases[] = {{"NVIDIA Corporation", true}, {"Apple", true}, {"Somebody", false}, {NULL, false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const sumi_backend *backend = NULL;
        sumi_error err = {""};
        int index = -1;
        *counts = (fault_counts){.vendor = cases[i].vendor};
        test_ok(sumi_device_find("auto", &backend, &index, &err), &err);
        assert_int_equal(index, 0);
        assert_ptr_equal(backend, cases[i].is_card ? sumi_opencl_backend() : sumi_backend_at(0));
    }
    *counts = (fault_counts){0};
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auto), cmocka_unit_test(test_every_call),
        cmocka_unit_test(test_training), cmocka_unit_test(test_wrong_kernels)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sumi_models_free(model);
    return failed;
}
