/*
 * Memory that runs out: every allocation of every loader fails once, and the call must say so and
 * leave nothing behind (the sanitizer build sees leaks). And: batches allocate nothing.
 *
 * The linker sends sumi's own allocations through the __wrap functions.
 */
#include "data_test.h"

#include <errno.h>
#include <pthread.h>

#include "data/augment.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);

static atomic_long allocations;
static atomic_long failing; /* the number of the allocation that fails, counted down; 0: none */

static bool fails(void)
{
    atomic_fetch_add(&allocations, 1);
    return atomic_load(&failing) > 0 && atomic_fetch_sub(&failing, 1) == 1;
}

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

/* There may be no memory for a thread, either. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *),
                          void *arg)
{
    return fails() ? EAGAIN : __real_pthread_create(thread, how, run, arg);
}

/* Opens path again and again, each time with a later allocation failing, until none is left. */
static void open_with_failures(const char *path, const sumi_dataset_config *config)
{
    for (long n = 1;; n++) {
        sumi_dataset *set = NULL;
        sumi_error err = {{0}};
        atomic_store(&failing, n);
        sumi_status status = sumi_data_open(path, config, &set, &err);
        bool was_reached = atomic_exchange(&failing, 0) == 0;
        if (status == SUMI_OK) {
            sumi_data_free(set);
            if (!was_reached)
                return;
        } else {
            check_failed(status, SUMI_ENOMEM, &err, "memory", NULL);
            assert_null(set);
        }
        assert_in_range(n, 1, 200);
    }
}

static blob blob_of(const uint8_t *data, size_t size)
{
    blob out = {malloc(size), size};
    assert_non_null(out.data);
    memcpy(out.data, data, size);
    return out;
}

static void loaders_survive_failing_memory(void **state)
{
    char path[1024];
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    blob half = idx_images(9, 6, 6), rest = blob_of(half.data + 100, half.size - 100);
    half.size = 100;
    half = gzipped(half);
    rest = gzipped(rest);
    half.data = realloc(half.data, half.size + rest.size);
    memcpy(half.data + half.size, rest.data, rest.size);
    half.size += rest.size;
    free(rest.data);
    put_bytes(state, "idx/train-images-idx3-ubyte.gz", half);
    put_bytes(state, "idx/train-labels-idx1-ubyte", idx_labels(9, 3));
    write_png(state, "pictures/a/1.png", 4, 4, 1, 10);
    write_png(state, "pictures/a/2.png", 7, 4, 3, 20);
    write_png(state, "pictures/b/1.png", 4, 9, 1, 30);
    write_png(state, "splits/train/a/1.png", 4, 4, 1, 10);
    write_png(state, "splits/test/a/1.png", 4, 4, 1, 10);
    put_file(state, "splits/train/x.webp", "x", 1);
    put_file(state, "splits/runs/a/config.json", "{}", 2);
    put_file(state, "splits/runs/a/train.log", "", 0);
    write_png(state, "bad/1.png", 4, 4, 1, 10);
    put_file(state, "bad/2.png", "x", 1);
    sumi_dataset_config skipping = SUMI_DATASET_CONFIG_INIT;
    skipping.skip_bad = true;
    uint8_t pixels[12] = {0};
    sumi_error err = {{0}};
    sumi_npy array = {SUMI_NPY_U8, 3, {3, 2, 2}, 12, pixels};
    check_ok(sumi_npy_write(in_dir(state, "npy/x.npy", path), &array, &err), &err);
    array = (sumi_npy){SUMI_NPY_U8, 1, {3}, 3, pixels};
    check_ok(sumi_npy_write(in_dir(state, "npy/x_labels.npy", path), &array, &err), &err);
    for (int i = 0; i < 2; i++) {
        open_with_failures("shapes", &config);
        open_with_failures(in_dir(state, "idx", path), &config);
        open_with_failures(in_dir(state, "pictures", path), &config);
        open_with_failures(in_dir(state, "splits", path), &config);
        open_with_failures(in_dir(state, "bad", path), &skipping);
        open_with_failures(in_dir(state, "npy/x.npy", path), &config);
        config.split = "rest";
        open_with_failures(in_dir(state, "npy/x.npy", path), &config);
        config.split = "train";
        config.height = 12;
        config.width = 10;
        config.channels = 3;
    }
}

static void batches_survive_failing_memory(void **state)
{
    (void)state;
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_ok(sumi_data_open("shapes", NULL, &set, &err), &err);
    sumi_batches *batches = NULL;
    long n = 0;
    do {
        atomic_store(&failing, ++n);
        sumi_status status = sumi_batches_create(set, 16, 1, 0, &batches, &err);
        atomic_store(&failing, 0);
        if (!batches)
            assert_int_equal(status, SUMI_ENOMEM);
    } while (!batches);
    assert_in_range(n, 6, 20);
    sumi_batches_free(batches);
    sumi_data_free(set);
}

/* Each with a later allocation failing, until none is left. */
static void augmented_batches_survive_failing_memory(void **state)
{
    (void)state;
    const sumi_augment augment = {.flip = true, .told = .5f, .seed = 1};
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_ok(sumi_data_open("shapes", NULL, &set, &err), &err);
    set->count = 100;
    sumi_batches *batches = NULL;
    long n = 0;
    do {
        atomic_store(&failing, ++n);
        sumi_status status = sumi_batches_create_augmented(set, 16, 1, 0, &augment, &batches, &err);
        atomic_store(&failing, 0);
        if (!batches)
            assert_int_equal(status, SUMI_ENOMEM);
    } while (!batches);
    assert_in_range(n, 9, 30);
    sumi_batches_free(batches);
    sumi_data_free(set);
}

static void measures_survive_failing_memory(void **state)
{
    (void)state;
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_ok(sumi_data_open("shapes", NULL, &set, &err), &err);
    set->count = 100;
    for (int measure = 0; measure < 2; measure++) {
        sumi_status status = SUMI_ENOMEM;
        for (long n = 1; status != SUMI_OK; n++) {
            float mean[SUMI_CHANNELS_MAX], deviation[SUMI_CHANNELS_MAX];
            double asymmetry;
            int label;
            atomic_store(&failing, n);
            status = measure ? sumi_data_asymmetry(set, &asymmetry, &label, &err)
                             : sumi_data_statistics(set, mean, deviation, NULL, &err);
            atomic_store(&failing, 0);
            if (status != SUMI_OK)
                check_failed(status, SUMI_ENOMEM, &err, "memory", NULL);
            else
                assert_int_equal(n, measure ? 5 : 3);
        }
    }
    sumi_data_free(set);
}

static void batches_allocate_nothing(void **state)
{
    (void)state;
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_ok(sumi_data_open("shapes", NULL, &set, &err), &err);
    set->count = 100; /* several epochs */
    sumi_batches *batches = NULL;
    check_ok(sumi_batches_create(set, 16, 1, 0, &batches, &err), &err);
    sumi_data_batch batch;
    sumi_batches_next(batches, &batch);
    long before = atomic_load(&allocations);
    for (int i = 0; i < 40; i++)
        sumi_batches_next(batches, &batch);
    assert_int_equal(atomic_load(&allocations), before);
    sumi_batches_free(batches);
    sumi_data_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(loaders_survive_failing_memory, dir_setup, dir_teardown),
        cmocka_unit_test(batches_survive_failing_memory),
        cmocka_unit_test(augmented_batches_survive_failing_memory),
        cmocka_unit_test(measures_survive_failing_memory),
        cmocka_unit_test(batches_allocate_nothing),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
