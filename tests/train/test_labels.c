/* A network that is told of labels: how many a training withholds, and what a prediction makes of
 * them. */
#include "train_test.h"

#include <math.h>

enum { N = 12, SIDE = 8, PIXELS = SIDE * SIDE, STEPS = 4 };

typedef struct {
    sumi_runtime runtime;
    sumi_model *model;
    sumi_trainer *trainer;
    sumi_dataset *set;
    float images[N * PIXELS];
    int32_t labels[N];
    sumi_batch batch;
} fixture;

static void open_fixture(fixture *f, int threads, float label_drop)
{
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    memset(f, 0, sizeof *f);
    make_runtime(&f->runtime, threads);
    f->set = make_shapes();
    f->model = make_told_unet(f->set->classes, 0);
    config.batch = N;
    config.learning_rate = 1e-2f;
    config.label_drop = label_drop;
    config.height = config.width = SIDE;
    assert_ok(sumi_train_create(&f->runtime, f->model, &config, &f->trainer, NULL));
    for (int i = 0; i < N; i++)
        sumi_data_read(f->set, i, f->images + i * PIXELS, &f->labels[i]);
    f->batch = (sumi_batch){
        .size = sizeof f->batch, .n = N, .h = SIDE, .w = SIDE, .x = f->images, .labels = f->labels};
}

static void close_fixture(fixture *f)
{
    sumi_train_free(f->trainer);
    sumi_models_free(f->model);
    sumi_data_free(f->set);
    sumi_runtime_free(&f->runtime);
}

/* How many rows of labels moved; *none: whether that of "no label" did. */
static int moved_rows(fixture *f, bool *none)
{
    int rows = f->set->classes + 1, moved = 0;
    sumi_model *before = make_told_unet(f->set->classes, 0);
    for (int i = 0; i < STEPS; i++)
        assert_ok(sumi_train_step(f->trainer, &f->batch, NULL, NULL));
    sumi_model_fetch(f->model);
    const sumi_params *a = &before->graph.params, *b = &f->model->graph.params;
    for (int p = 0; p < a->count; p++) {
        const sumi_param *param = &a->items[p];
        size_t dim = param->count / (size_t)rows;
        if (param->kind != SUMI_PARAM_ROWS)
            continue;
        for (int row = 0; row < rows; row++) {
            size_t at = param->offset + (size_t)row * dim;
            *none = memcmp(a->values + at, b->values + at, dim * sizeof(float)) != 0;
            moved += row < rows - 1 && *none;
        }
    }
    sumi_models_free(before);
    return moved;
}

static void test_labels_are_withheld(void **state)
{
    (void)state;
    static fixture f;
    bool none;
    open_fixture(&f, 1, 0);
    assert_true(moved_rows(&f, &none) > 1);
    assert_false(none);
    close_fixture(&f);
    open_fixture(&f, 1, 1);
    assert_int_equal(moved_rows(&f, &none), 0);
    assert_true(none);
    close_fixture(&f);
    open_fixture(&f, 1, .3f);
    assert_true(moved_rows(&f, &none) > 1);
    assert_true(none);
    close_fixture(&f);
}

static void test_threads_change_no_bit(void **state)
{
    (void)state;
    static fixture f, g;
    bool none;
    open_fixture(&f, 1, .3f);
    open_fixture(&g, 3, .3f);
    moved_rows(&f, &none);
    moved_rows(&g, &none);
    assert_same_model(f.model, g.model);
    close_fixture(&f);
    close_fixture(&g);
}

/* A checkpoint goes on with the share that it began with, or says both. */
static void test_the_share_is_kept(void **state)
{
    (void)state;
    static fixture f, g, other;
    char folder[PATH_MAX], path[PATH_MAX];
    sumi_error err = {""};
    bool none;
    make_folder(folder);
    open_fixture(&f, 1, .3f);
    open_fixture(&g, 1, .3f);
    open_fixture(&other, 1, .2f);
    moved_rows(&f, &none);
    assert_ok(sumi_checkpoint_save(f.trainer, NULL, join(path, folder, "c"), NULL));
    assert_int_equal(sumi_checkpoint_load(other.trainer, path, NULL, &err), SUMI_EINVAL);
    assert_says(err, "label_drop 0.3, not 0.2");
    assert_ok(sumi_checkpoint_load(g.trainer, path, NULL, NULL));
    moved_rows(&f, &none);
    moved_rows(&g, &none);
    assert_same_model(f.model, g.model);
    close_fixture(&other);
    close_fixture(&g);
    close_fixture(&f);
    assert_ok(sumi_remove_tree(folder, NULL));
}

static void predict(fixture *f, const int32_t *labels, int first, int n, float *out)
{
    static const int32_t t[N] = {50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50};
    const sumi_batch batch = {.size = sizeof batch,
                              .n = n,
                              .h = SIDE,
                              .w = SIDE,
                              .x = f->images + (size_t)first * PIXELS,
                              .t = t,
                              .labels = labels};
    assert_ok(sumi_runtime_predict(&f->runtime, f->model, &batch, out, NULL));
}

/* Each image has its own label; none given is none known. */
static void test_predictions_follow_labels(void **state)
{
    (void)state;
    static fixture f;
    static float given[N * PIXELS], without[N * PIXELS], unknown[N * PIXELS], alone[PIXELS];
    int32_t none[N];
    bool moved;
    open_fixture(&f, 2, .3f);
    moved_rows(&f, &moved);
    for (int i = 0; i < N; i++)
        none[i] = -1;
    predict(&f, f.labels, 0, N, given);
    predict(&f, NULL, 0, N, without);
    predict(&f, none, 0, N, unknown);
    assert_memory_equal(without, unknown, sizeof without);
    for (int i = 0; i < N; i++) {
        assert_memory_not_equal(given + i * PIXELS, without + i * PIXELS, sizeof alone);
        predict(&f, f.labels + i, i, 1, alone);
        assert_memory_equal(given + i * PIXELS, alone, sizeof alone);
    }
    close_fixture(&f);
}

/* Labels that a network has not, and shares that are none. */
static void test_refusals(void **state)
{
    (void)state;
    static fixture f;
    static const float bad[] = {-.1f, 1.1f, NAN};
    sumi_error err = {""};
    sumi_trainer *trainer;
    open_fixture(&f, 1, .1f);
    f.labels[3] = f.set->classes;
    assert_int_equal(sumi_train_step(f.trainer, &f.batch, NULL, &err), SUMI_EINVAL);
    assert_says(err, "labels[3] is");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
        config.label_drop = bad[i];
        assert_int_equal(sumi_train_create(&f.runtime, f.model, &config, &trainer, &err),
                         SUMI_EINVAL);
        assert_says(err, "label_drop is");
    }
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels_are_withheld),
        cmocka_unit_test(test_threads_change_no_bit),
        cmocka_unit_test(test_the_share_is_kept),
        cmocka_unit_test(test_predictions_follow_labels),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
