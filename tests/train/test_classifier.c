/*
 * Classifiers: they learn, with the same bits on any number of threads; features depend on the
 * image alone; files give them back, and what was changed or is none is refused.
 */
#include <math.h>

#include "train/classify.h"
#include "train_test.h"

enum { TRAIN = 1000, TEST = 300 };

/* The first pictures of a split of the built-in set. */
static sumi_dataset *make_set(const char *split, int h, int w, int channels, int64_t count)
{
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    sumi_dataset *set;
    config.split = split;
    config.height = h;
    config.width = w;
    config.channels = channels;
    assert_ok(sumi_data_open("shapes", &config, &set, NULL));
    set->count = count;
    return set;
}

static sumi_classifier_config config_of(const char *shape, int epochs)
{
    sumi_classifier_config config = SUMI_CLASSIFIER_CONFIG_INIT;
    config.shape = shape;
    config.epochs = epochs;
    return config;
}

static sumi_classifier *train(const char *shape, int threads, const sumi_dataset *set,
                              const sumi_dataset *test, int epochs)
{
    sumi_runtime runtime;
    sumi_classifier *made = NULL;
    sumi_error err = {""};
    sumi_classifier_config config = config_of(shape, epochs);
    make_runtime(&runtime, threads);
    assert_ok(sumi_classify_train(&runtime, set, test, &config, &made, &err));
    sumi_runtime_free(&runtime);
    return made;
}

static void test_learns_labels(void **state)
{
    (void)state;
    sumi_dataset *set = make_set("train", 16, 16, 1, TRAIN);
    sumi_dataset *test = make_set("test", 16, 16, 1, TEST);
    for (int i = 0; i < 2; i++) {
        sumi_classifier *made = train(i ? "v2" : "v1", 2, set, test, 8);
        const sumi_classifier_info_t *info = &made->info;
        assert_string_equal(info->shape, i ? "v2" : "v1");
        assert_true(info->accuracy > (i ? .7 : .9)); /* guessing gives .1 */
        assert_int_equal(info->tested, TEST);
        assert_int_equal(info->steps, 8 * 8);
        assert_true(info->features >= 64 && info->features <= 128);
        assert_string_equal(info->data_name, "shapes");
        sumi_classifier_free(made);
    }
    sumi_data_free(test);
    sumi_data_free(set);
}

/* The hash is over all weights and statistics. */
static void test_threads_change_no_bit(void **state)
{
    (void)state;
    static const char *const shapes[] = {"v1", "v2", "random-conv"};
    sumi_dataset *set = make_set("train", 10, 10, 1, 140);
    for (int i = 0; i < 3; i++) {
        sumi_classifier *one = train(shapes[i], 1, set, NULL, 1);
        sumi_classifier *three = train(shapes[i], 3, set, NULL, 1);
        assert_string_equal(one->info.hash, three->info.hash);
        assert_int_equal(strlen(one->info.hash), 64);
        assert_true(one->info.accuracy < 0);
        sumi_classifier_free(three);
        sumi_classifier_free(one);
    }
    sumi_data_free(set);
}

/* Odd sizes, both numbers of channels: probabilities are some, and an image's vector is the same
 * alone and among others. */
static void check_features(const char *shape, int h, int w, int channels)
{
    enum { N = 300 };
    sumi_runtime runtime;
    sumi_dataset *set = make_set("train", h, w, channels, N);
    sumi_classifier *made = train(shape, 2, set, NULL, 1);
    size_t width = (size_t)made->info.features, classes = (size_t)made->info.classes;
    float *features = calloc(N * width, sizeof *features), alone[128];
    float *probabilities = calloc(N * classes + 1, sizeof *probabilities);
    sumi_image_source source = sumi_source_of_set(set);
    make_runtime(&runtime, 2);
    assert_ok(sumi_classify_run(&runtime, made, &source, features,
                                classes > 0 ? probabilities : NULL, NULL));
    uint8_t *pixels = calloc((size_t)h * (size_t)w, (size_t)channels);
    sumi_data_read_bytes(set, N - 1, pixels);
    const sumi_image_array array = {pixels, (size_t)h * (size_t)w * (size_t)channels};
    source = sumi_source_of_array(&array, 1);
    assert_ok(sumi_classify_run(&runtime, made, &source, alone, NULL, NULL));
    assert_memory_equal(alone, features + (N - 1) * width, width * sizeof *alone);
    for (size_t i = 0; classes > 0 && i < N; i++) {
        double sum = 0;
        for (size_t k = 0; k < classes; k++)
            sum += (double)probabilities[i * classes + k];
        assert_true(fabs(sum - 1) < 1e-5);
    }
    double spread = 0;
    for (size_t k = 0; k < width; k++)
        spread += fabs((double)(features[k] - features[width + k]));
    assert_true(spread > 0 && isfinite(spread));
    free(pixels);
    free(probabilities);
    free(features);
    sumi_classifier_free(made);
    sumi_data_free(set);
    sumi_runtime_free(&runtime);
}

static void test_features(void **state)
{
    (void)state;
    check_features("v1", 8, 8, 3);
    check_features("v1", 13, 18, 1);
    check_features("v2", 9, 33, 3);
    check_features("random-conv", 28, 10, 1);
}

/* What is padded is told by the definition: the same bytes in a larger frame of zeros. */
static void test_pads_in_the_middle(void **state)
{
    (void)state;
    enum { H = 9, W = 11 };
    const int sizes[] = {H, W, 1};
    sumi_classifier *made;
    assert_ok(sumi_classifier_create(sumi_classifier_shape_find("v1"), sizes, 3, 0, &made, NULL));
    assert_int_equal(made->height, 10);
    assert_int_equal(made->width, 12);
    uint8_t pixels[H * W];
    float out[10 * 12];
    for (int i = 0; i < H * W; i++)
        pixels[i] = (uint8_t)(i + 1);
    sumi_classify_pad(made, pixels, out);
    for (int y = 0; y < 10; y++)
        for (int x = 0; x < 12; x++) {
            bool inside = y < H && x < W;
            float expected = inside ? (float)pixels[y * W + x] / 255 : 0;
            assert_true(out[y * 12 + x] == expected);
        }
    sumi_classifier_free(made);
}

static void test_files(void **state)
{
    (void)state;
    char folder[PATH_MAX], path[PATH_MAX];
    sumi_error err = {""};
    sumi_dataset *set = make_set("train", 8, 8, 1, 100);
    sumi_classifier *made = train("v2", 2, set, set, 1), *read;
    make_folder(folder);
    join(path, folder, "evaluator.safetensors");
    assert_ok(sumi_classifiers_save(path, made, &err));
    assert_ok(sumi_classifiers_load(path, &read, &err));
    assert_memory_equal(&made->info, &read->info, sizeof read->info);
    assert_int_equal(read->graph.params.value_count, made->graph.params.value_count);
    sumi_classifier_free(read);

    /* One bit of the weights, which stand at the end. */
    uint8_t *data;
    size_t size;
    assert_ok(sumi_file_read(path, 1 << 24, &data, &size, &err));
    data[size - 3] ^= 1;
    assert_ok(sumi_file_save(path, data, size, &err));
    free(data);
    assert_int_equal(sumi_classifiers_load(path, &read, &err), SUMI_EFORMAT);
    assert_says(err, "the file was changed");

    sumi_model *model = make_model(0);
    assert_ok(sumi_models_save(path, model, NULL, &err));
    assert_int_equal(sumi_classifiers_load(path, &read, &err), SUMI_EFORMAT);
    assert_says(err, "not an evaluator");
    sumi_models_free(model);
    sumi_classifier_free(made);
    sumi_data_free(set);
    assert_ok(sumi_remove_tree(folder, NULL));
}

static void test_refuses(void **state)
{
    (void)state;
    sumi_runtime runtime;
    sumi_error err = {""};
    sumi_classifier *made;
    sumi_dataset *set = make_set("train", 8, 8, 1, 100), *other = make_set("test", 8, 12, 1, 10);
    make_runtime(&runtime, 1);
    sumi_classifier_config config = config_of("v3", 1);
    assert_int_equal(sumi_classify_train(&runtime, set, NULL, &config, &made, &err), SUMI_EINVAL);
    assert_says(err, "unknown shape 'v3'");
    config = config_of("v1", -1);
    assert_int_equal(sumi_classify_train(&runtime, set, NULL, &config, &made, &err), SUMI_EINVAL);
    assert_says(err, "epochs is -1");
    config = config_of("v1", 1);
    assert_int_equal(sumi_classify_train(&runtime, set, other, &config, &made, &err), SUMI_ESHAPE);
    assert_says(err, "the test images are 8x12x1");
    const int small[] = {7, 28, 1}, wide[] = {28, 28, 4}, plain[] = {28, 28, 1};
    const sumi_classifier_shape *v1 = sumi_classifier_shape_find("v1");
    assert_int_equal(sumi_classifier_create(v1, small, 10, 0, &made, &err), SUMI_ESHAPE);
    assert_says(err, "found 7x28");
    assert_int_equal(sumi_classifier_create(v1, wide, 10, 0, &made, &err), SUMI_ESHAPE);
    assert_says(err, "found 4");
    assert_int_equal(sumi_classifier_create(v1, plain, 0, 0, &made, &err), SUMI_EINVAL);
    assert_says(err, "without labels there is random-conv");
    sumi_data_free(other);
    sumi_data_free(set);
    sumi_runtime_free(&runtime);
}

static int stop_at_once(void *user, const sumi_progress *progress)
{
    *(int64_t *)user = progress->step;
    return 1;
}

static void test_stops(void **state)
{
    (void)state;
    sumi_runtime runtime;
    sumi_error err = {""};
    sumi_classifier *made;
    sumi_dataset *set = make_set("train", 8, 8, 1, 200);
    int64_t seen = 0;
    make_runtime(&runtime, 1);
    sumi_classifier_config config = config_of("v1", 1);
    config.progress = stop_at_once;
    config.user = &seen;
    assert_int_equal(sumi_classify_train(&runtime, set, NULL, &config, &made, &err),
                     SUMI_CANCELLED);
    assert_int_equal(seen, 1);
    assert_says(err, "was cancelled");
    sumi_data_free(set);
    sumi_runtime_free(&runtime);
}

/* ---- Without waiting ------------------------------------------------------------------------- */

static int reads; /* of ledgers */

static void count_read(const sumi_ledger *ledger, int steps, sumi_entry *out)
{
    reads++;
    sumi_backend_at(0)->ledger_read(ledger, steps, out);
}

static double no_loss(const sumi_network *network)
{
    (void)network;
    fail_msg("a training waits for a step's loss");
    return 0;
}

static bool no_finite(sumi_device *device, const float *x, size_t count)
{
    (void)device;
    (void)x;
    (void)count;
    fail_msg("a training waits for a step's gradients");
    return true;
}

/* A backend that is given several steps is asked once for all of them, and makes the same bits; one
 * that is given one at a time, once for each. */
static void test_steps_ahead(void **state)
{
    (void)state;
    enum { STEPS = 12, AHEAD = 5 };
    sumi_dataset *set = make_set("train", 8, 8, 1, 100);
    sumi_classifier *made[2];
    for (int i = 0; i < 2; i++) {
        sumi_runtime runtime;
        sumi_error err = {""};
        sumi_classifier_config config = config_of("v1", STEPS);
        make_runtime(&runtime, 2);
        sumi_backend backend = *runtime.backend;
        assert_int_equal(backend.ahead, 1);
        backend.ahead = i ? AHEAD : 1;
        backend.ledger_read = count_read;
        backend.loss = no_loss;
        backend.finite = no_finite;
        runtime.backend = &backend;
        reads = 0;
        assert_ok(sumi_classify_train(&runtime, set, NULL, &config, &made[i], &err));
        assert_int_equal(reads, i ? 3 : STEPS);
        runtime.backend = sumi_backend_at(0);
        sumi_runtime_free(&runtime);
    }
    assert_string_equal(made[0]->info.hash, made[1]->info.hash);
    sumi_classifier_free(made[0]);
    sumi_classifier_free(made[1]);
    sumi_data_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns_labels), cmocka_unit_test(test_threads_change_no_bit),
        cmocka_unit_test(test_features),      cmocka_unit_test(test_pads_in_the_middle),
        cmocka_unit_test(test_files),         cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_stops),         cmocka_unit_test(test_steps_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
