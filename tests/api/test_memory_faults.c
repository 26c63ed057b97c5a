/*
 * Every allocation fails once, alone and with all that follow it: making, training, predicting,
 * sampling, saving, loading, resuming and a whole run must then say SUMI_ENOMEM, or do without, and
 * release all they have. Leaks show where the address sanitizer is on; elsewhere the mapped blocks
 * are counted.
 *
 * The linker sends the library's allocations here (--wrap); jansson takes its functions from us.
 */
#include "api/api.h"
#include "base/temp_folder.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/mman.h>

enum { SIDE = 4, N = 2, PIXELS = SIDE * SIDE };

/* ---- Allocations that fail when told to ------------------------------------------------------ */

/* Who allocates: the library, or jansson for it, which does so for every number and name. */
typedef enum { OWN, JSON } allocator;

static struct {
    allocator victim;
    long calls[2], fail_at; /* fail_at 0: never */
    bool all_after;
    bool parsing;
    long mapped;
} faults;

static bool fails(allocator from)
{
    long call = ++faults.calls[from];
    if (faults.fail_at == 0 || from != faults.victim)
        return false;
    return faults.all_after ? call >= faults.fail_at : call == faults.fail_at;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__real_mmap(void *at, size_t size, int protection, int flags, int file, off_t offset);
int __real_munmap(void *at, size_t size);
int __wrap_fsync(int file);

/* Thousands of saves need not reach the disk. */
int __wrap_fsync(int file)
{
    (void)file;
    return 0;
}

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int file, off_t offset);
int __wrap_munmap(void *at, size_t size);

static void *out_of_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

void *__wrap_malloc(size_t size)
{
    return fails(OWN) ? out_of_memory() : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails(OWN) ? out_of_memory() : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return fails(OWN) ? out_of_memory() : __real_realloc(block, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails(OWN) ? out_of_memory() : __real_aligned_alloc(alignment, size);
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int file, off_t offset)
{
    if (fails(OWN)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *block = __real_mmap(at, size, protection, flags, file, offset);
    faults.mapped += block == MAP_FAILED ? 0 : (long)size;
    return block;
}

int __wrap_munmap(void *at, size_t size)
{
    faults.mapped -= (long)size;
    return __real_munmap(at, size);
}

/* jansson's own allocations fail as well, but not within its parser, which (2.14) stops the program
 * on an assertion then. */
static void *json_malloc(size_t size)
{
    return !faults.parsing && fails(JSON) ? out_of_memory() : __real_malloc(size);
}

json_t *__real_json_loadb(const char *text, size_t size, size_t flags, json_error_t *error);
json_t *__wrap_json_loadb(const char *text, size_t size, size_t flags, json_error_t *error);

json_t *__wrap_json_loadb(const char *text, size_t size, size_t flags, json_error_t *error)
{
    faults.parsing = true;
    json_t *json = __real_json_loadb(text, size, flags, error);
    faults.parsing = false;
    return json;
}

/* ---- What is tried --------------------------------------------------------------------------- */

typedef sumi_status (*scenario)(temp_folder *temp, char *message, size_t size);

static sumi_model_config tiny(void)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    config.base_channels = 2;
    config.time_dim = 3;
    config.timesteps = 10;
    return config;
}

static sumi_batch tiny_batch(void)
{
    static float x[N * PIXELS];
    static int32_t t[N] = {1, 10};
    sumi_batch batch = SUMI_BATCH_INIT;
    for (int i = 0; i < N * PIXELS; i++)
        x[i] = (float)(i % 5) / 4;
    batch.n = N;
    batch.h = batch.w = SIDE;
    batch.x = x;
    batch.t = t;
    return batch;
}

/* The last message, kept before its context goes. */
static sumi_status leave(sumi_context *ctx, sumi_status status, char *message, size_t size)
{
    snprintf(message, size, "%s", sumi_last_error(ctx));
    sumi_context_free(ctx);
    return status;
}

static sumi_status compute(temp_folder *temp, char *message, size_t size)
{
    (void)temp;
    float out[3 * PIXELS];
    sumi_context *ctx = NULL;
    sumi_model *model = NULL;
    sumi_trainer *trainer = NULL;
    sumi_model_config config = tiny();
    sumi_batch batch = tiny_batch();
    sumi_train_config training = SUMI_TRAIN_CONFIG_INIT;
    training.batch = N;
    training.ema = .9f;
    sumi_sample_config sampling = SUMI_SAMPLE_CONFIG_INIT;
    sampling.count = 3;
    sampling.height = sampling.width = SIDE;
    sampling.batch = 2;
    sumi_status status = sumi_context_create(1, &ctx);
    if (status == SUMI_OK)
        status = sumi_model_create(ctx, &config, &model);
    if (status == SUMI_OK)
        status = sumi_trainer_create(ctx, model, &training, &trainer);
    if (status == SUMI_OK)
        status = sumi_trainer_step(trainer, &batch, NULL);
    if (status == SUMI_OK)
        status = sumi_model_predict(ctx, model, &batch, out);
    if (status == SUMI_OK)
        status = sumi_sample(ctx, model, &sampling, out, 3 * PIXELS);
    sumi_trainer_free(trainer);
    sumi_model_free(model);
    return leave(ctx, status, message, size);
}

static sumi_status save_and_load(temp_folder *temp, char *message, size_t size)
{
    char paths[2][320];
    snprintf(paths[0], sizeof paths[0], "%s/model.safetensors", temp->path);
    snprintf(paths[1], sizeof paths[1], "%s/model.pth", temp->path);
    sumi_context *ctx = NULL;
    sumi_model *model = NULL, *loaded = NULL;
    sumi_model_config config = tiny();
    sumi_status status = sumi_context_create(1, &ctx);
    if (status == SUMI_OK)
        status = sumi_model_create(ctx, &config, &model);
    if (status == SUMI_OK)
        status = sumi_model_set_metadata(ctx, model, "who", "a test");
    for (int i = 0; i < 2 && status == SUMI_OK; i++) {
        status = sumi_model_save(ctx, model, paths[i]);
        if (status == SUMI_OK)
            status = sumi_model_load(ctx, paths[i], &loaded);
        sumi_model_free(loaded);
        loaded = NULL;
    }
    sumi_model_free(model);
    return leave(ctx, status, message, size);
}

static sumi_status checkpoint(temp_folder *temp, char *message, size_t size)
{
    char dir[320];
    snprintf(dir, sizeof dir, "%s/checkpoint", temp->path);
    sumi_context *ctx = NULL;
    sumi_model *model = NULL;
    sumi_trainer *trainer = NULL;
    sumi_model_config config = tiny();
    sumi_train_config training = SUMI_TRAIN_CONFIG_INIT;
    training.ema = .9f;
    sumi_status status = sumi_context_create(1, &ctx);
    if (status == SUMI_OK)
        status = sumi_model_create(ctx, &config, &model);
    if (status == SUMI_OK)
        status = sumi_trainer_create(ctx, model, &training, &trainer);
    if (status == SUMI_OK)
        status = sumi_trainer_save(trainer, dir);
    if (status == SUMI_OK)
        status = sumi_trainer_resume(trainer, dir);
    sumi_trainer_free(trainer);
    sumi_model_free(model);
    return leave(ctx, status, message, size);
}

static sumi_status measure(temp_folder *temp, char *message, size_t size)
{
    (void)temp;
    sumi_context *ctx = NULL;
    double speed;
    sumi_status status = sumi_context_create(1, &ctx);
    if (status == SUMI_OK)
        status = sumi_measure_bandwidth(ctx, &speed);
    return leave(ctx, status, message, size);
}

static sumi_status whole_run(temp_folder *temp, char *message, size_t size)
{
    char dir[320];
    snprintf(dir, sizeof dir, "%s/run", temp->path);
    sumi_remove_tree(dir, NULL);
    sumi_context *ctx = NULL;
    sumi_model *model = NULL, *loaded = NULL;
    sumi_dataset *set = NULL;
    sumi_model_config config = tiny();
    sumi_dataset_config small = SUMI_DATASET_CONFIG_INIT;
    small.height = small.width = SIDE;
    sumi_train_config training = SUMI_TRAIN_CONFIG_INIT;
    training.batch = N;
    training.steps = 1;
    training.grid = 1;
    training.grid_height = training.grid_width = SIDE;
    training.out_dir = dir;
    sumi_status status = sumi_context_create(1, &ctx);
    if (status == SUMI_OK)
        status = sumi_model_create(ctx, &config, &model);
    if (status == SUMI_OK)
        status = sumi_dataset_open(ctx, "shapes", &small, &set);
    if (status == SUMI_OK)
        status = sumi_train(ctx, model, set, &training);
    if (status == SUMI_OK)
        status = sumi_model_load(ctx, dir, &loaded);
    sumi_model_free(loaded);
    sumi_model_free(model);
    sumi_dataset_free(set);
    return leave(ctx, status, message, size);
}

/* ---- Trying it ------------------------------------------------------------------------------- */

static sumi_status attempt(scenario run, temp_folder *temp, long fail_at, bool all_after)
{
    char message[600] = "";
    long mapped = faults.mapped;
    faults.calls[OWN] = faults.calls[JSON] = 0;
    faults.fail_at = fail_at;
    faults.all_after = all_after;
    sumi_status status = run(temp, message, sizeof message);
    faults.fail_at = 0;
    if (status != SUMI_OK && status != SUMI_ENOMEM)
        fail_msg("%s allocation %ld%s: %s: %s", faults.victim == OWN ? "own" : "JSON", fail_at,
                 all_after ? " and after" : "", sumi_status_name(status), message);
    if (status == SUMI_ENOMEM)
        assert_true(strlen(message) > 0);
    if (faults.mapped != mapped)
        fail_msg("allocation %ld: %ld mapped bytes were lost", fail_at, faults.mapped - mapped);
    return status;
}

/* every: of the library's own allocations, and of jansson's, each so many-th. */
static void check(scenario run, temp_folder *temp, const long every[2])
{
    for (allocator victim = OWN; victim <= JSON; victim++) {
        faults.victim = victim;
        assert_int_equal(attempt(run, temp, 0, false), SUMI_OK);
        long count = faults.calls[victim], refused = 0, tried = 0;
        for (long k = 1; k <= count; k += every[victim])
            for (int all_after = 0; all_after < 2; all_after++, tried++)
                refused += attempt(run, temp, k, all_after) == SUMI_ENOMEM;
        print_message("%s: %ld allocations, %ld failures, %ld of them reported\n",
                      victim == OWN ? "own" : "JSON", count, tried, refused);
        assert_int_equal(attempt(run, temp, 0, false), SUMI_OK); /* what was left does no harm */
        assert_true(refused >= tried / 2);
    }
}

static void test_computing(void **state)
{
    check(compute, *state, (const long[2]){1, 1});
}

static void test_files(void **state)
{
    check(save_and_load, *state, (const long[2]){1, 11});
}

static void test_checkpoint(void **state)
{
    check(checkpoint, *state, (const long[2]){1, 47});
}

static void test_measuring(void **state)
{
    check(measure, *state, (const long[2]){1, 1});
}

static void test_run(void **state)
{
    check(whole_run, *state, (const long[2]){3, 101});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_computing, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_files, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_checkpoint, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_measuring, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_run, temp_setup, temp_teardown),
    };
    json_set_alloc_funcs(json_malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
