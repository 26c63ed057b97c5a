/*
 * Memory that runs out: every allocation of a whole evaluation fails once, and the call must say so
 * and leave nothing behind (the sanitizer build sees leaks).
 */
#include "base/temp_folder.h"
#include "eval/eval_test.h"
#include "eval/evaluate.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_sumi_pages_alloc(size_t bytes);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_sumi_pages_alloc(size_t bytes);

static long failing; /* the number of the allocation that fails, counted down; 0: none */

static bool fails(void)
{
    return failing > 0 && failing-- == 1;
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

void *__wrap_sumi_pages_alloc(size_t bytes)
{
    return fails() ? NULL : __real_sumi_pages_alloc(bytes);
}

enum { N = 24, D = 3, CLASSES = 2, SIDE = 4 };

static sumi_eval_machine machine;
static float *features, *probabilities;
static uint8_t *images;

static sumi_eval_set set_of(const char *name, int first)
{
    return (sumi_eval_set){.name = name,
                           .n = N,
                           .d = D,
                           .classes = CLASSES,
                           .h = SIDE,
                           .w = SIDE,
                           .c = 1,
                           .features = features + (ptrdiff_t)first * D,
                           .probabilities = probabilities,
                           .images = images + (ptrdiff_t)first * SIDE * SIDE};
}

typedef sumi_status (*use_fn)(const char *path, sumi_error *err);

static sumi_status use_compare(const char *path, sumi_error *err)
{
    sumi_eval_set samples = set_of("samples", 0), test = set_of("test", N),
                  training = set_of("training", 2 * N);
    sumi_eval_report report;
    sumi_eval_report_init(&report);
    sumi_status status = sumi_eval_compare(&machine, &samples, &test, &training, &report, err);
    if (status == SUMI_OK)
        status = sumi_eval_add_scale(&machine, "training", &training, &test, &report, err);
    if (status == SUMI_OK)
        status = sumi_eval_save(path, &report, &samples, &training, err);
    sumi_eval_report_free(&report);
    return status;
}

static sumi_status use_spoilt(const char *path, sumi_error *err)
{
    (void)path;
    uint8_t out[N * SIDE * SIDE];
    sumi_eval_set set = set_of("real", 0);
    sumi_status status = sumi_eval_blurred(&set, out, err);
    return status == SUMI_OK ? sumi_eval_pixel_gaussian(&set, N, 0, out, err) : status;
}

static sumi_status no_network(void *user, const float *x, const float *times, int n, float *f)
{
    (void)user;
    (void)x;
    (void)times;
    memset(f, 0, (size_t)n * D * sizeof *f);
    return SUMI_OK;
}

static sumi_status use_likelihood(const char *path, sumi_error *err)
{
    (void)path;
    double loss[4];
    sumi_score bits;
    sumi_process process;
    const sumi_process_config config = SUMI_PROCESS_CONFIG_INIT;
    sumi_status status = sumi_process_init(&process, &config, err);
    if (status != SUMI_OK)
        return status;
    sumi_likelihood of = {&process, features, N, D, -1, 1, 0, 8, no_network, NULL, NULL};
    status = sumi_eval_losses(&of, 4, loss, err);
    if (status == SUMI_OK)
        status = sumi_eval_bits(&of, 3, &bits, err);
    sumi_process_free(&process);
    return status;
}

/* The first of some images, in memory of their own; 8x8, as a classifier takes them. */
static sumi_pictures pictures_of(int n)
{
    sumi_pictures pictures = {.n = n, .h = 8, .w = 8, .c = 1};
    pictures.images = __real_malloc((size_t)n * 64);
    memcpy(pictures.images, images, (size_t)n * 64);
    snprintf(pictures.hash, sizeof pictures.hash, "%d", n);
    return pictures;
}

/* What is known of data, with random weights: found, or kept in a folder before. */
static sumi_status use_known(const char *folder, sumi_error *err)
{
    sumi_runtime runtime;
    sumi_classifier *evaluator;
    sumi_pictures reference = pictures_of(6), training = pictures_of(9);
    sumi_status status = sumi_runtime_init(&runtime, 1, NULL, err);
    if (status == SUMI_OK) {
        status = sumi_classifier_create(sumi_classifier_shape_find("random-conv"),
                                        (const int[]){8, 8, 1}, 0, 0, &evaluator, err);
        if (status == SUMI_OK) {
            const sumi_known known = {&runtime, &machine, folder, "isa"};
            status = sumi_known_features(&known, evaluator, &reference, err);
            if (status == SUMI_OK)
                status = sumi_known_features(&known, evaluator, &training, err);
            if (status == SUMI_OK)
                status = sumi_known_distances(&known, evaluator, &reference, &training, err);
            sumi_classifier_free(evaluator);
        }
        sumi_runtime_free(&runtime);
    }
    sumi_pictures_free(&reference);
    sumi_pictures_free(&training);
    return status;
}

static sumi_status use_known_anew(const char *path, sumi_error *err)
{
    (void)path;
    return use_known(NULL, err);
}

static void run_with_failures(const char *path, use_fn use)
{
    for (long n = 1;; n++) {
        sumi_error err = {""};
        failing = n;
        sumi_status status = use(path, &err);
        bool was_reached = failing == 0;
        failing = 0;
        if (status == SUMI_OK && !was_reached)
            return;
        if (status != SUMI_ENOMEM && status != SUMI_OK)
            fail_msg("allocation %ld: %s \"%s\"", n, sumi_status_name(status), err.text);
        if (status == SUMI_ENOMEM && !strstr(err.text, "memory"))
            fail_msg("allocation %ld: \"%s\"", n, err.text);
        assert_in_range(n, 1, 2000);
    }
}

static void test_every_allocation(void **state)
{
    static const use_fn uses[] = {use_compare, use_spoilt, use_likelihood, use_known,
                                  use_known_anew};
    features = random_features(1, 3 * N, D);
    probabilities = sumi_calloc(N * CLASSES, sizeof *probabilities);
    images = sumi_calloc(3 * N, SIDE * SIDE);
    for (int i = 0; i < N; i++)
        probabilities[i * CLASSES + i % 2] = 1;
    for (int i = 0; i < 3 * N * SIDE * SIDE; i++)
        images[i] = (uint8_t)(i * i * 31 >> 3);
    for (int i = 0; i < COUNT(uses); i++)
        run_with_failures(temp_path(*state, "out"), uses[i]);
    free(features);
    free(probabilities);
    free(images);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_allocation, temp_setup, temp_teardown),
    };
    machine = machine_open(2);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    machine_close(&machine);
    return failed;
}
