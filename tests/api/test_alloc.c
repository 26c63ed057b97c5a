/*
 * Nothing is allocated in a training step, a prediction or a sampling step once the first has been
 * made: this program's malloc and its relatives count who calls them, from the library or from the
 * C library below it. Nor does a later training step touch memory for the first time.
 *
 * Not for builds with a sanitizer, which has its own malloc.
 */
#include "api/api.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WIDTH = 16, SIDE = 12, N = 4, PIXELS = SIDE * SIDE };

static atomic_long calls;

/* glibc's own, under the names that it exports for this purpose. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    atomic_fetch_add(&calls, 1);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    atomic_fetch_add(&calls, 1);
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    atomic_fetch_add(&calls, 1);
    return __libc_realloc(block, size);
}

void *memalign(size_t alignment, size_t size)
{
    atomic_fetch_add(&calls, 1);
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    void *block = memalign(alignment, size);
    if (!block)
        return ENOMEM;
    *out = block;
    return 0;
}

void *mmap(void *at, size_t size, int protection, int flags, int file, off_t offset)
{
    atomic_fetch_add(&calls, 1);
    return (void *)syscall(SYS_mmap, at, size, protection, flags, file, offset);
}

/* The counter counts at all, the library's calls too. */
static void test_counter(void **state)
{
    (void)state;
    long before = atomic_load(&calls);
    void *volatile block = malloc(10); /* volatile: else the compiler leaves the pair out */
    assert_true(atomic_load(&calls) > before);
    free(block);
    before = atomic_load(&calls);
    sumi_context *ctx = api_context(NULL, 2);
    assert_true(atomic_load(&calls) > before);
    sumi_context_free(ctx);
}

static void test_training_step(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 2);
    sumi_model *model = api_model(ctx, WIDTH);
    sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
    sumi_trainer *trainer;
    config.batch = N;
    config.ema = .9f;
    api_ok(ctx, sumi_trainer_create(ctx, model, &config, &trainer));
    float *x = api_images(N, SIDE, SIDE), loss;
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.h = batch.w = SIDE;
    batch.x = x;
    for (int step = 0; step < 5; step++) {
        long before = atomic_load(&calls);
        batch.n = step % 2 == 0 ? N : N - 1; /* the last batch of an epoch is smaller */
        sumi_status status = sumi_trainer_step(trainer, &batch, &loss);
        long made = atomic_load(&calls) - before;
        assert_int_equal(status, SUMI_OK);
        if (step > 0)
            assert_int_equal(made, 0);
    }
    free(x);
    sumi_trainer_free(trainer);
    sumi_model_free(model);
    sumi_context_free(ctx);
}

static long page_faults(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_minflt + usage.ru_majflt;
}

/* The system may take a page away at any time, so that one quiet step of many is enough. */
static void test_page_faults(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 2);
    sumi_model *model = api_model(ctx, WIDTH);
    sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
    sumi_trainer *trainer;
    config.batch = N;
    api_ok(ctx, sumi_trainer_create(ctx, model, &config, &trainer));
    float *x = api_images(N, SIDE, SIDE), loss;
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.n = N;
    batch.h = batch.w = SIDE;
    batch.x = x;
    long first = 0, fewest = 0;
    for (int step = 0; step < 10; step++) {
        long before = page_faults();
        api_ok(ctx, sumi_trainer_step(trainer, &batch, &loss));
        long faults = page_faults() - before;
        if (step == 0)
            first = fewest = faults;
        fewest = faults < fewest ? faults : fewest;
    }
    assert_true(first > 0);
    assert_int_equal(fewest, 0);
    free(x);
    sumi_trainer_free(trainer);
    sumi_model_free(model);
    sumi_context_free(ctx);
}

static void test_prediction(void **state)
{
    (void)state;
    static float out[N * PIXELS];
    static const int32_t t[N] = {1, 1000, 3, 500};
    sumi_context *ctx = api_context(NULL, 2);
    sumi_model *model = api_model(ctx, WIDTH);
    float *x = api_images(N, SIDE, SIDE);
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.h = batch.w = SIDE;
    batch.x = x;
    batch.t = t;
    for (int call = 0; call < 4; call++) {
        long before = atomic_load(&calls);
        batch.n = N - call % 2;
        sumi_status status = sumi_model_predict(ctx, model, &batch, out);
        long made = atomic_load(&calls) - before;
        assert_int_equal(status, SUMI_OK);
        if (call > 0)
            assert_int_equal(made, 0);
    }
    free(x);
    sumi_model_free(model);
    sumi_context_free(ctx);
}

typedef struct {
    int steps;
    long calls_at_first, calls_at_last;
} counting;

static int on_progress(void *user, const sumi_progress *progress)
{
    counting *count = user;
    assert_int_equal(progress->phase, SUMI_PHASE_SAMPLE);
    if (count->steps++ == 0)
        count->calls_at_first = atomic_load(&calls);
    count->calls_at_last = atomic_load(&calls);
    return 0;
}

/* From the first to the last step of a call nothing is allocated, between batches neither. */
static void test_sampling_step(void **state)
{
    (void)state;
    static float out[5 * PIXELS];
    sumi_context *ctx = api_context(NULL, 2);
    sumi_model *model = api_model(ctx, WIDTH);
    const char *solvers[] = {"ddpm", "ddim"};
    for (int i = 0; i < 2; i++) {
        counting count = {0};
        sumi_sample_config config = SUMI_SAMPLE_CONFIG_INIT;
        config.count = 5;
        config.height = config.width = SIDE;
        config.steps = 6;
        config.solver = solvers[i];
        config.batch = 5;
        config.progress = on_progress;
        config.user = &count;
        api_ok(ctx, sumi_sample(ctx, model, &config, out, 5 * PIXELS));
        assert_int_equal(count.steps, 6);
        assert_int_equal(count.calls_at_last, count.calls_at_first);
    }
    sumi_model_free(model);
    sumi_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counter),       cmocka_unit_test(test_training_step),
        cmocka_unit_test(test_page_faults),   cmocka_unit_test(test_prediction),
        cmocka_unit_test(test_sampling_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
