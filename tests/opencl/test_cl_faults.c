/*
 * Each call of OpenCL fails once, and from there on, while a device is opened, predicts, draws and
 * trains: the result is right, or a status with one line; nothing is lost, and the next one works.
 *
 * At each call that opens, takes memory, queues, reads or writes, the process forks: what fails
 * goes on in children, which end where the work ends, so that all that comes before a call is done
 * once and not for each call again. That needs a device without threads: PoCL's "basic". Some
 * calls fail in the process itself, too, where a sanitizer sees what is not given back.
 */
#include <dlfcn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "opencl/cl_test.h"
#include "base/copy_tree.h"
#include "opencl/api.h"
#include "opencl/faults.h"

#include "sample/sample.h"
#include "sanitized.h"
#include "train/train.h"

enum { SIDE = 4, PIXELS = SIDE * SIDE, N = 2 };

static fault_counts *counts;
static sumi_model *model;
static char folder[] = "/tmp/sumi-cl-faults-XXXXXX"; /* the process is in it */

/* ---- Children -------------------------------------------------------------------------------- */

enum { WRONG = 1, FAILED, RIGHT }; /* their exit codes */
static bool is_child;              /* in which a call failed: counts->fails */
static struct {
    long seen, calls, failed, right, wrong; /* wrong: the first call with a wrong end; 0: none */
    long arguments;
} ends;
static bool given[FAULT_ARGUMENTS]; /* which have had their failure */

/* A child has files of its own. */
static void begin_child(long call, bool lost)
{
    char own[64];
    alarm(250); /* one that waits for ever is none that ends well */
    snprintf(own, sizeof own, "%s-%d", folder, (int)getpid());
    if (!copy_tree(folder, own) || chdir(own) != 0)
        _exit(WRONG);
    *counts = (fault_counts){.calls = call, .fails = call, .lost = lost, .shares = true};
    is_child = true;
}

/* With sanitizers a fork takes several times as long. */
enum { FORK_EVERY = SANITIZED ? 5 : 1 };

/* A call in the parent. Where much can follow, while a device is opened and memory is taken, it
 * fails in one child, and in another all after it do, too; later it is one or the other. Arguments
 * are given to kernels in one place of the program, so that each of each kernel fails once, when it
 * is given for the first time. */
static bool fork_at(long call, int argument)
{
    enum { OPENING = 150 };
    int first = call <= OPENING ? 0 : (int)(call % 2), last = call <= OPENING ? 1 : first;
    if (argument >= 0 && given[argument])
        return false;
    if (argument >= 0)
        given[argument] = true;
    ends.arguments += argument >= 0;
    if (ends.seen++ % FORK_EVERY != 0)
        return false;
    ends.calls++;
    for (int lost = first; lost <= last; lost++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) {
            begin_child(call, lost);
            return true;
        }
        bool ended = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status);
        ends.failed += ended && WEXITSTATUS(status) == FAILED;
        ends.right += ended && WEXITSTATUS(status) == RIGHT;
        if (ended && WEXITSTATUS(status) != WRONG)
            continue;
        ends.wrong = ends.wrong ? ends.wrong : call;
        counts->each = NULL;
    }
    return false;
}

/* What is wrong with an end: NULL where it is right, or a failure told in one line. */
static const char *fault_of(sumi_status status, const sumi_error *err, bool right)
{
    if (status == SUMI_OK)
        return right ? NULL : "a wrong result came of it";
    return err->text[0] == '\0' || strchr(err->text, '\n') ? "it is not told in one line" : NULL;
}

/* Where the work ends: a child ends with it. */
static void end_child(sumi_status status, const sumi_error *err, const char *fault)
{
    char own[64];
    if (!is_child)
        return;
    if (fault)
        fprintf(stderr, "call %ld%s: %s; status %d says '%s'\n", counts->fails,
                counts->lost ? " and all after it" : "", fault, (int)status, err->text);
    snprintf(own, sizeof own, "%s-%d", folder, (int)getpid());
    sumi_remove_tree(own, NULL);
    _exit(fault ? WRONG : status == SUMI_OK ? RIGHT : FAILED);
}

/* From here on each call of the parent forks; true where the device has no threads. */
static bool begin_forks(void)
{
    sumi_device_facts facts;
    sumi_error err = {""};
    *counts = (fault_counts){0};
    memset(&ends, 0, sizeof ends);
    memset(given, 0, sizeof given);
    if (sumi_opencl_backend()->list(&facts, 1, &err) < 1 || strncmp(facts.name, "basic", 5) != 0) {
        print_message("not at each call: this needs PoCL's device without threads\n");
        return false;
    }
    *counts = (fault_counts){.each = fork_at, .shares = true};
    return true;
}

static void end_forks(long least)
{
    if (ends.wrong)
        fail_msg("call %ld of %ld has a wrong end", ends.wrong, ends.calls);
    print_message("%ld calls, %ld arguments among them: %ld ends with a line, %ld with the right "
                  "result\n",
                  ends.calls, ends.arguments, ends.failed, ends.right);
    assert_true(ends.arguments > 25);
    assert_true(ends.calls > least && ends.failed + ends.right >= ends.calls);
    assert_true(ends.failed > ends.calls / 2);
    *counts = (fault_counts){0};
}

/* ---- Prediction ------------------------------------------------------------------------------ */

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

static void test_predictions(void **state)
{
    (void)state;
    float expected[2 * N * PIXELS], found[2 * N * PIXELS];
    sumi_error err = {""};
    *counts = (fault_counts){.shares = true};
    test_ok(work(expected, &err), &err); /* makes what is kept */
    counts->calls = 0;
    test_ok(work(expected, &err), &err);
    long all = counts->calls;
    assert_true(all > 100);
    for (long i = 1; i <= all; i += all / 12 + 1) {
        *counts = (fault_counts){.fails = i, .lost = i / 2 % 2, .shares = true};
        err.text[0] = '\0';
        sumi_status status = work(found, &err);
        const char *fault = fault_of(status, &err, memcmp(found, expected, sizeof found) == 0);
        if (fault)
            fail_msg("call %ld: %s; status %d says '%s'", i, fault, (int)status, err.text);
    }
    bool forks = begin_forks();
    err.text[0] = '\0';
    sumi_status status = work(found, &err);
    bool right = memcmp(found, expected, sizeof found) == 0;
    end_child(status, &err, fault_of(status, &err, right));
    test_ok(status, &err);
    assert_true(right);
    if (forks)
        end_forks(100 / FORK_EVERY);
}

/* ---- Training -------------------------------------------------------------------------------- */

enum { LAST = 2 };

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
            status = sumi_checkpoint_save(trainer, NULL, "checkpoint", err);
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

/* It is whole, and of the step that was said to be saved; and there is nothing else. */
static const char *checkpoint_fault(int64_t saved)
{
    json_t *state = NULL;
    sumi_error err = {""};
    if (sumi_is_dir(".checkpoint.sumi-tmp"))
        return "something temporary is left";
    if (saved == 0)
        return sumi_is_dir("checkpoint") ? "there is a checkpoint of no step" : NULL;
    if (sumi_checkpoint_check("checkpoint", &err) != SUMI_OK ||
        sumi_json_read("checkpoint/state.json", &state, &err) != SUMI_OK)
        return "the checkpoint is not whole";
    bool right = json_integer_value(json_object_get(state, "step")) == saved;
    json_decref(state);
    return right ? NULL : "the checkpoint is of another step";
}

/* Trains in an empty folder; what is wrong with its end. */
static const char *train_anew(const char *net, const float expected[8], sumi_status *status,
                              sumi_error *err)
{
    float found[8];
    int64_t saved = 0;
    err->text[0] = '\0';
    *status = train(net, found, &saved, err);
    const char *fault = fault_of(*status, err, memcmp(found, expected, sizeof found) == 0);
    fault = fault ? fault : checkpoint_fault(saved);
    end_child(*status, err, fault);
    sumi_remove_tree("checkpoint", NULL);
    return fault;
}

static void test_training(const char *net)
{
    float expected[8];
    int64_t saved = 0;
    sumi_status status;
    sumi_error err = {""};
    *counts = (fault_counts){.shares = true};
    test_ok(train(net, expected, &saved, &err), &err);
    counts->calls = 0;
    test_ok(train(net, expected, &saved, &err), &err);
    long all = counts->calls;
    assert_true(all > 1000);
    test_ok(sumi_remove_tree("checkpoint", &err), &err);
    for (long i = 60; i <= all; i += all / 6 + 1) {
        *counts = (fault_counts){.fails = i, .lost = i % 2, .shares = true};
        const char *fault = train_anew(net, expected, &status, &err);
        if (fault)
            fail_msg("call %ld: %s; status %d says '%s'", i, fault, (int)status, err.text);
    }
    bool forks = begin_forks();
    const char *fault = train_anew(net, expected, &status, &err);
    if (fault)
        fail_msg("%s; status %d says '%s'", fault, (int)status, err.text);
    if (forks)
        end_forks(300 / FORK_EVERY);
}

static void test_tutorial(void **state)
{
    (void)state;
    test_training("tutorial");
}

static void test_unet(void **state)
{
    (void)state;
    test_training("unet");
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

/* A question to the driver that fails is no answer: the device is not used, in one line, and is
 * still listed. */
static void test_queries(void **state)
{
    static const unsigned queries[] = {CL_DEVICE_TYPE,
                                       CL_DEVICE_MAX_COMPUTE_UNITS,
                                       CL_DEVICE_MAX_WORK_GROUP_SIZE,
                                       CL_DEVICE_MAX_MEM_ALLOC_SIZE,
                                       CL_DEVICE_MAX_CLOCK_FREQUENCY,
                                       CL_DEVICE_SINGLE_FP_CONFIG,
                                       CL_DEVICE_GLOBAL_MEM_SIZE,
                                       CL_DEVICE_LOCAL_MEM_SIZE,
                                       CL_DEVICE_ENDIAN_LITTLE,
                                       CL_DEVICE_AVAILABLE,
                                       CL_DEVICE_COMPILER_AVAILABLE,
                                       CL_DEVICE_NAME,
                                       CL_DEVICE_VENDOR,
                                       CL_DRIVER_VERSION,
                                       CL_DEVICE_VERSION,
                                       CL_DEVICE_EXTENSIONS};
    const sumi_device_config config = {.threads = 1};
    (void)state;
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        sumi_runtime runtime;
        sumi_device_facts facts;
        sumi_error err = {""};
        *counts = (fault_counts){.query = queries[i], .shares = true};
        sumi_status status =
            sumi_runtime_init_device(&runtime, sumi_opencl_backend(), &config, &err);
        if (status != SUMI_EUNSUPPORTED || !strstr(err.text, "failed with CL_OUT_OF_RESOURCES"))
            fail_msg("query %#x fails, and status %d says '%s'", queries[i], (int)status, err.text);
        assert_true(sumi_device_row(1, &facts) && !facts.usable);
        assert_string_equal(facts.id, "opencl:0");
    }
    *counts = (fault_counts){0};
}

int main(void)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_error err = {""};
    setenv("POCL_DEVICES", "basic", 1);
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
        cmocka_unit_test(test_auto),        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_predictions), cmocka_unit_test(test_tutorial),
        cmocka_unit_test(test_unet),        cmocka_unit_test(test_wrong_kernels)};
    if (!mkdtemp(folder) || chdir(folder) != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sumi_remove_tree(folder, NULL);
    sumi_models_free(model);
    return failed;
}
