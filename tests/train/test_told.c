/* A network that is told what was made of its images: what moves its layer, that predictions are of
 * images of which nothing was made, and that threads and a resume change no bit. */
#include "train_test.h"

#include <math.h>

enum { N = 6, SIDE = 8, PIXELS = SIDE * SIDE, STEPS = 6 };

typedef struct {
    sumi_runtime runtime;
    sumi_model *model;
    sumi_trainer *trainer;
    sumi_dataset *set;
    float images[N * PIXELS], numbers[N * SUMI_AUGMENT_NUMBERS];
    sumi_batch batch;
} fixture;

static void open_parts(fixture *f, int threads, int parts)
{
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    memset(f, 0, sizeof *f);
    make_runtime(&f->runtime, threads);
    f->set = make_shapes();
    f->model = make_told_unet(0, SUMI_AUGMENT_NUMBERS);
    config.batch = N;
    config.accumulate = parts;
    config.learning_rate = 1e-2f;
    config.height = config.width = SIDE;
    assert_ok(sumi_train_create(&f->runtime, f->model, &config, &f->trainer, NULL));
    for (int i = 0; i < N; i++) {
        sumi_data_read(f->set, i, f->images + i * PIXELS, NULL);
        for (int k = 0; k < SUMI_AUGMENT_NUMBERS - 1; k++) /* the last is never given */
            f->numbers[i * SUMI_AUGMENT_NUMBERS + k] = (float)((i + k) % 3) - 1;
    }
    f->batch = (sumi_batch){.size = sizeof f->batch,
                            .n = N,
                            .h = SIDE,
                            .w = SIDE,
                            .x = f->images,
                            .augmentation = f->numbers};
}

static void open_fixture(fixture *f, int threads)
{
    open_parts(f, threads, 1);
}

static void close_fixture(fixture *f)
{
    sumi_train_free(f->trainer);
    sumi_models_free(f->model);
    sumi_data_free(f->set);
    sumi_runtime_free(&f->runtime);
}

static void train(fixture *f)
{
    for (int i = 0; i < STEPS; i++)
        assert_ok(sumi_train_step(f->trainer, &f->batch, NULL, NULL));
    sumi_model_fetch(f->model);
}

/* The layer's weights [number][embedding], of the model. */
static const float *layer_of(const sumi_model *model, size_t *dim)
{
    const sumi_params *params = &model->graph.params;
    for (int i = 0; i < params->count; i++)
        if (strcmp(params->items[i].name, "augmentation.weight") == 0) {
            *dim = params->items[i].count / SUMI_AUGMENT_NUMBERS;
            return params->values + params->items[i].offset;
        }
    fail_msg("there is no such layer");
    return NULL;
}

static bool moved(const fixture *f, int number)
{
    size_t dim = 0;
    sumi_model *before = make_told_unet(0, SUMI_AUGMENT_NUMBERS);
    const float *a = layer_of(before, &dim) + (size_t)number * dim;
    const float *b = layer_of(f->model, &dim) + (size_t)number * dim;
    bool is = memcmp(a, b, dim * sizeof *a) != 0;
    sumi_models_free(before);
    return is;
}

static void test_weights_follow_the_numbers(void **state)
{
    (void)state;
    static fixture f;
    open_fixture(&f, 1);
    train(&f);
    for (int k = 0; k < SUMI_AUGMENT_NUMBERS; k++)
        assert_true(moved(&f, k) == (k < SUMI_AUGMENT_NUMBERS - 1));
    close_fixture(&f);
    open_fixture(&f, 1);
    f.batch.augmentation = NULL;
    train(&f);
    for (int k = 0; k < SUMI_AUGMENT_NUMBERS; k++)
        assert_false(moved(&f, k));
    close_fixture(&f);
}

/* Each part of a batch is told of its own images: here the second half's. */
static void test_parts_have_their_numbers(void **state)
{
    (void)state;
    static fixture f;
    open_parts(&f, 1, 2);
    memset(f.numbers, 0, sizeof f.numbers);
    for (int i = N / 2; i < N; i++)
        f.numbers[(i + 1) * SUMI_AUGMENT_NUMBERS - 1] = 1;
    train(&f);
    assert_false(moved(&f, 0));
    assert_true(moved(&f, SUMI_AUGMENT_NUMBERS - 1));
    close_fixture(&f);
}

static void test_threads_change_no_bit(void **state)
{
    (void)state;
    static fixture f, g;
    open_fixture(&f, 1);
    open_fixture(&g, 3);
    train(&f);
    train(&g);
    assert_same_model(f.model, g.model);
    close_fixture(&f);
    close_fixture(&g);
}

static void predict(fixture *f, int n, float *out)
{
    static const int32_t t[N] = {50, 50, 50, 50, 50, 50};
    const sumi_batch batch = {
        .size = sizeof batch, .n = n, .h = SIDE, .w = SIDE, .x = f->images, .t = t};
    assert_ok(sumi_runtime_predict(&f->runtime, f->model, &batch, out, NULL));
}

/* Whatever its layer's weights are. */
static void test_predictions_are_told_nothing(void **state)
{
    (void)state;
    static fixture f;
    static float before[N * PIXELS], after[N * PIXELS];
    size_t dim = 0;
    open_fixture(&f, 2);
    train(&f);
    predict(&f, N, before);
    predict(&f, 1, after);
    assert_memory_equal(before, after, PIXELS * sizeof *after);
    float *weights = (float *)layer_of(f.model, &dim);
    for (size_t i = 0; i < dim * SUMI_AUGMENT_NUMBERS; i++)
        weights[i] += 3;
    sumi_train_push(f.trainer);
    f.model->generation++;
    predict(&f, N, after);
    assert_memory_equal(before, after, sizeof after);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_follow_the_numbers),
        cmocka_unit_test(test_parts_have_their_numbers),
        cmocka_unit_test(test_threads_change_no_bit),
        cmocka_unit_test(test_predictions_are_told_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
