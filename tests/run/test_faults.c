/*
 * Memory: no allocation once training runs, and every allocation may fail.
 *
 * The linker sends malloc, calloc, realloc and sumi_pages_alloc of sumi's own objects through the
 * functions below, which count them and make one of them fail.
 */
#include "train/train_test.h"
#include "run/run.h"

enum { N = 4, SIDE = 8, PIXELS = SIDE * SIDE };

/* One thread allocates at a time here: the pool's threads never do, and data are read ahead only
 * in runs, which the test of failures does on its own terms. */
static atomic_long calls, fail_at; /* the number of the call that fails; 0: none */

static bool fails(void)
{
    return atomic_fetch_add(&calls, 1) + 1 == atomic_load(&fail_at);
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_sumi_pages_alloc(size_t bytes);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_sumi_pages_alloc(size_t bytes);
int __wrap_fsync(int fd);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return fails() ? NULL : __real_realloc(block, size);
}

void *__wrap_sumi_pages_alloc(size_t bytes)
{
    return fails() ? NULL : __real_sumi_pages_alloc(bytes);
}

/* Hundreds of saves need not reach the disk. */
int __wrap_fsync(int fd)
{
    (void)fd;
    return 0;
}

typedef struct {
    sumi_runtime runtime;
    sumi_model *model;
    sumi_dataset *set;
    char folder[PATH_MAX], dir[PATH_MAX], run[PATH_MAX];
    float images[N * PIXELS];
    sumi_batch batch;
} fixture;

static void open_fixture(fixture *f)
{
    memset(f, 0, sizeof *f);
    make_runtime(&f->runtime, 1);
    f->model = make_model_of(1, 1); /* the smallest: there are hundreds of turns */
    f->set = make_small_set(8);
    make_folder(f->folder);
    join(f->dir, f->folder, "checkpoint");
    join(f->run, f->folder, "run");
    for (int i = 0; i < N; i++)
        sumi_data_read(f->set, i, f->images + i * PIXELS, NULL);
    f->batch = (sumi_batch){.size = sizeof f->batch, .n = N, .h = SIDE, .w = SIDE, .x = f->images};
}

static void close_fixture(fixture *f)
{
    sumi_models_free(f->model);
    sumi_data_free(f->set);
    sumi_runtime_free(&f->runtime);
    assert_ok(sumi_remove_tree(f->folder, NULL));
}

static void test_a_step_allocates_nothing(void **state)
{
    (void)state;
    fixture f;
    sumi_trainer *trainer;
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    open_fixture(&f);
    config.batch = N;
    config.averages[0] = .9f;
    config.averages[1] = .5f;
    config.height = config.width = SIDE;
    assert_ok(sumi_train_create(&f.runtime, f.model, &config, &trainer, NULL));
    long before = atomic_load(&calls);
    assert_true(before > 0);
    for (int i = 0; i < 3; i++) {
        f.batch.n = N - i; /* short batches need no new plan */
        assert_ok(sumi_train_step(trainer, &f.batch, NULL, NULL));
    }
    assert_int_equal(atomic_load(&calls), before);
    sumi_train_free(trainer);
    close_fixture(&f);
}

/* Calls work with the 1st, 2nd, ... allocation failing until it succeeds. */
static void fail_each(fixture *f, sumi_status (*work)(fixture *f, sumi_error *err))
{
    sumi_status status = SUMI_ENOMEM;
    long k = 0;
    while (status != SUMI_OK) {
        sumi_error err = {""};
        atomic_store(&calls, 0);
        atomic_store(&fail_at, ++k);
        status = work(f, &err);
        bool reached = atomic_load(&calls) >= k;
        atomic_store(&fail_at, 0);
        if (!reached)
            assert_int_equal(status, SUMI_OK);
        if (status != SUMI_OK) {
            if (status != SUMI_ENOMEM)
                fail_msg("allocation %ld: status %d: %s", k, (int)status, err.text);
            assert_true(err.text[0] != '\0');
        }
        assert_true(k < 100000);
        /* A failure that was got over (a hint, a cache) is no end. */
        if (reached)
            status = SUMI_ENOMEM;
    }
}

static sumi_status train_and_save(fixture *f, sumi_error *err)
{
    sumi_trainer *trainer;
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    config.batch = N;
    config.averages[0] = .9f;
    config.averages[1] = .5f;
    config.height = config.width = SIDE;
    sumi_status status = sumi_train_create(&f->runtime, f->model, &config, &trainer, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_train_step(trainer, &f->batch, NULL, err);
    if (status == SUMI_OK)
        status = sumi_checkpoint_save(trainer, NULL, f->dir, err);
    if (status == SUMI_OK)
        status = sumi_checkpoint_load(trainer, f->dir, NULL, err);
    sumi_train_free(trainer);
    return status;
}

static sumi_status draw(fixture *f, sumi_error *err)
{
    float out[3 * PIXELS];
    sumi_sample_config config = SUMI_SAMPLE_CONFIG_INIT;
    config.count = 3;
    config.height = config.width = SIDE;
    config.steps = 2;
    config.batch = 2;
    sumi_status status =
        sumi_sample_run(&f->runtime, f->model, &config, out, sizeof out / sizeof *out, err);
    sumi_runtime_forget(&f->runtime, f->model->id);
    return status;
}

static sumi_status whole_run(fixture *f, sumi_error *err)
{
    sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
    config.epochs = 1;
    config.batch = N;
    config.grid = 2;
    config.grid_height = config.grid_width = SIDE;
    config.grid_steps = 1;
    config.out_dir = f->run;
    sumi_model *model = NULL;
    sumi_status status = sumi_run_train(&f->runtime, f->model, f->set, &config, err);
    sumi_runtime_forget(&f->runtime, f->model->id);
    if (status == SUMI_OK)
        status = sumi_run_load(f->run, &model, NULL, err);
    sumi_models_free(model);
    atomic_store(&fail_at, 0);
    assert_ok(sumi_remove_tree(f->run, NULL));
    return status;
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f);
    fail_each(&f, train_and_save);
    fail_each(&f, draw);
    fail_each(&f, whole_run);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_step_allocates_nothing),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
