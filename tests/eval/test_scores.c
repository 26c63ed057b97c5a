/*
 * Classes, memorisation and the guards on pixels: against numpy and scipy, and on sets of which the
 * answer is known.
 */
#include "eval/eval_test.h"
#include "eval/golden.h"

static sumi_eval_machine machine;

/* golden/NAME.npy; its data are the caller's to free. */
static sumi_npy golden_array(const char *name)
{
    char path[512];
    sumi_npy array;
    sumi_error err = {""};
    snprintf(path, sizeof path, "%s/eval/golden/%s.npy", SUMI_TEST_DIR, name);
    if (sumi_npy_read(path, &array, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    return array;
}

static sumi_eval_set images_of(const sumi_npy *array, const char *name)
{
    return (sumi_eval_set){.name = name,
                           .n = array->shape[0],
                           .h = (int)array->shape[1],
                           .w = (int)array->shape[2],
                           .c = (int)array->shape[3],
                           .images = array->data};
}

/* ---- Classes --------------------------------------------------------------------------------- */

static void test_classes(void **state)
{
    (void)state;
    int32_t labels[120];
    sumi_class_scores found;
    sumi_npy array = golden_array("probabilities");
    for (int i = 0; i < 120; i++)
        labels[i] = i % 5;
    sumi_eval_set set = {
        .name = "samples", .n = 120, .classes = 5, .probabilities = array.data, .labels = labels};
    assert_int_equal(sumi_eval_classes(&set, 1, &found, NULL), SUMI_OK);
    const sumi_score scores[] = {found.entropy, found.marginal, found.score, found.accuracy};
    for (int i = 0; i < 4; i++) {
        assert_near(scores[i].value, golden_classes[i], 1e-9);
        assert_true(scores[i].low < scores[i].value && scores[i].value < scores[i].high);
    }
    assert_int_equal(found.classes, 5);
    for (int k = 0; k < 5; k++)
        assert_near(found.histogram[k], golden_histogram[k], 1e-12);
    sumi_class_scores_free(&found);
    set.labels = NULL;
    assert_int_equal(sumi_eval_classes(&set, 1, &found, NULL), SUMI_OK);
    assert_true(isnan(found.accuracy.value));
    sumi_class_scores_free(&found);
    sumi_npy_free(&array);
}

/* Pictures without a label count in no accuracy. */
static void test_some_labels(void **state)
{
    (void)state;
    static const float rows[] = {1, 0, 0, 1, 1, 0, 0, 1};
    static const int32_t labels[] = {0, -1, 1, 1};
    sumi_class_scores found;
    sumi_error err = {""};
    sumi_eval_set set = {
        .name = "samples", .n = 4, .classes = 2, .probabilities = rows, .labels = labels};
    assert_int_equal(sumi_eval_classes(&set, 0, &found, NULL), SUMI_OK);
    assert_near(found.accuracy.value, 2. / 3, 1e-12);
    assert_true(found.entropy.value == 0);
    assert_near(found.score.value, 2, 1e-12);
    sumi_class_scores_free(&found);
    set.probabilities = NULL;
    assert_int_equal(sumi_eval_classes(&set, 0, &found, &err), SUMI_EINVAL);
    assert_says(&err, "samples: there are no probabilities");
}

/* ---- Memorisation ---------------------------------------------------------------------------- */

enum { TRAINING = 200, TESTS = 60, SAMPLES = 50, SIDE = 6 };

/* Bytes that are as random as the seed. */
static uint8_t *noise(uint64_t seed, int n)
{
    sumi_random at = {.seed = seed, .stream = SUMI_STREAM_USER};
    uint8_t *bytes = sumi_calloc((size_t)n, SIDE * SIDE);
    for (int i = 0; i < n * SIDE * SIDE; i++)
        bytes[i] = (uint8_t)sumi_random_below(&at, (uint64_t)i, 256);
    return bytes;
}

static sumi_eval_set set_of(const char *name, int n, const uint8_t *bytes, const float *features)
{
    return (sumi_eval_set){.name = name,
                           .n = n,
                           .d = SIDE * SIDE,
                           .h = SIDE,
                           .w = SIDE,
                           .c = 1,
                           .images = bytes,
                           .features = features};
}

/* Two samples are one training picture, a third nearly another: they are found, and no other. */
static void test_copies(void **state)
{
    (void)state;
    uint8_t *training = noise(1, TRAINING), *tests = noise(2, TESTS), *samples = noise(3, SAMPLES);
    memcpy(samples + 4 * SIDE * SIDE, training + 70 * SIDE * SIDE, SIDE * SIDE);
    memcpy(samples + 5 * SIDE * SIDE, training + 70 * SIDE * SIDE, SIDE * SIDE);
    memcpy(samples + 9 * SIDE * SIDE, training + 20 * SIDE * SIDE, SIDE * SIDE);
    samples[9 * SIDE * SIDE] ^= 128;
    float *features = sumi_calloc((TRAINING + TESTS + SAMPLES) * SIDE * SIDE, sizeof *features);
    for (int i = 0; i < TRAINING * SIDE * SIDE; i++)
        features[i] = training[i];
    for (int i = 0; i < TESTS * SIDE * SIDE; i++)
        features[TRAINING * SIDE * SIDE + i] = tests[i];
    for (int i = 0; i < SAMPLES * SIDE * SIDE; i++)
        features[(TRAINING + TESTS) * SIDE * SIDE + i] = samples[i];
    sumi_eval_set train = set_of("training", TRAINING, training, features),
                  test = set_of("test", TESTS, tests, features + TRAINING * SIDE * SIDE),
                  set = set_of("samples", SAMPLES, samples,
                               features + (TRAINING + TESTS) * SIDE * SIDE);
    for (int space = 0; space < 2; space++) {
        sumi_memory found;
        assert_int_equal(
            sumi_eval_memory(&machine, (sumi_space)space, &set, &test, &train, 0, &found, NULL),
            SUMI_OK);
        assert_near(found.share.value, 3. / SAMPLES, 1e-12);
        assert_true(found.test_share == 0);
        assert_true(fabs(found.ratio.value - 1) < .1);
        assert_true(found.ratio.low <= found.ratio.value && found.ratio.value <= found.ratio.high);
        assert_int_equal(found.pair_count, SUMI_MEMORY_PAIRS);
        assert_true(found.pairs[0].sample == 4 && found.pairs[0].training == 70 &&
                    found.pairs[0].ratio == 0);
        assert_true(found.pairs[1].sample == 9 && found.pairs[1].training == 20);
        for (int i = 2; i < found.pair_count; i++)
            assert_true(found.pairs[i].ratio >= found.pairs[i - 1].ratio &&
                        found.pairs[i].ratio > .5);
    }
    free(features);
    free(training);
    free(tests);
    free(samples);
}

static void test_memory_refusals(void **state)
{
    (void)state;
    sumi_error err = {""};
    sumi_memory found;
    uint8_t *bytes = noise(4, 20);
    sumi_eval_set set = set_of("samples", 20, bytes, NULL), other = set;
    assert_int_equal(
        sumi_eval_memory(&machine, SUMI_SPACE_PIXELS, &set, &set, &set, 0, &found, &err), SUMI_OK);
    assert_true(isnan(found.share.value) && isnan(found.test_share) && found.pair_count == 0);
    assert_int_equal(
        sumi_eval_memory(&machine, SUMI_SPACE_FEATURES, &set, &set, &set, 0, &found, &err),
        SUMI_EINVAL);
    assert_says(&err, "samples: there are no features");
    other.name = "training";
    other.h = SIDE / 2;
    assert_int_equal(
        sumi_eval_memory(&machine, SUMI_SPACE_PIXELS, &set, &set, &other, 0, &found, &err),
        SUMI_ESHAPE);
    assert_says(&err, "samples has pictures of 6x6x1, training of 3x6x1");
    free(bytes);
}

/* ---- Pixels ---------------------------------------------------------------------------------- */

static void test_spectrum(void **state)
{
    (void)state;
    double distance;
    sumi_error err = {""};
    sumi_npy u = golden_array("images_u"), v = golden_array("images_v");
    sumi_eval_set a = images_of(&u, "u"), b = images_of(&v, "v");
    assert_int_equal(sumi_eval_spectrum(&machine, &a, &b, &distance, NULL), SUMI_OK);
    assert_near(distance, golden_spectrum, 1e-9);
    assert_int_equal(sumi_eval_spectrum(&machine, &a, &a, &distance, NULL), SUMI_OK);
    assert_true(distance == 0);
    b.c = 1;
    assert_int_equal(sumi_eval_spectrum(&machine, &a, &b, &distance, &err), SUMI_ESHAPE);
    assert_says(&err, "u has pictures of 14x15x3, v of 14x15x1");
    sumi_npy_free(&u);
    sumi_npy_free(&v);
}

/* Pictures of one pixel have two directions, which both give the distance of the values. */
static void test_sliced_of_one_pixel(void **state)
{
    (void)state;
    double distance;
    sumi_npy u = golden_array("images_u"), v = golden_array("images_v");
    sumi_eval_set a = {
        .name = "u", .n = (int64_t)u.count, .h = 1, .w = 1, .c = 1, .images = u.data};
    sumi_eval_set b = a;
    b.n = (int64_t)v.count;
    b.images = v.data;
    assert_int_equal(sumi_eval_sliced(&machine, &a, &b, &distance, NULL), SUMI_OK);
    assert_near(distance, golden_wasserstein, 1e-6);
    sumi_npy_free(&u);
    sumi_npy_free(&v);
}

/* A set moved by one step along every pixel is |sum of a direction| away in each direction, which
 * on the mean of unit vectors is sqrt(2 / pi). */
static void test_sliced_of_a_shift(void **state)
{
    (void)state;
    enum { N = 40, PIXELS = 300 };
    double found[2];
    uint8_t *bytes = sumi_calloc(2 * N, PIXELS);
    for (int i = 0; i < N * PIXELS; i++) {
        bytes[i] = (uint8_t)(i * 7919 % 200);
        bytes[N * PIXELS + i] = bytes[i] + 51;
    }
    sumi_eval_set a = {.name = "a", .n = N, .h = 10, .w = 10, .c = 3, .images = bytes}, b = a;
    b.images = bytes + N * PIXELS;
    for (int t = 0; t < 2; t++) {
        sumi_eval_machine other = machine_open(1 + 2 * t);
        assert_int_equal(sumi_eval_sliced(&other, &a, &b, &found[t], NULL), SUMI_OK);
        machine_close(&other);
    }
    assert_true(found[0] == found[1]);
    assert_near(found[0], .2 * sqrt(2 / 3.14159265), .15);
    assert_int_equal(sumi_eval_sliced(&machine, &a, &a, &found[0], NULL), SUMI_OK);
    assert_true(found[0] == 0);
    free(bytes);
}

static void test_spoilt_pictures(void **state)
{
    (void)state;
    enum { N = 500 };
    uint8_t *bytes = noise(5, N), *out = sumi_calloc(N, SIDE * SIDE);
    sumi_eval_set set = set_of("real", N, bytes, NULL), one = set;
    memset(bytes, 77, SIDE * SIDE);
    memset(bytes + SIDE * SIDE, 0, SIDE * SIDE);
    bytes[SIDE * SIDE + 2 * SIDE + 3] = 160;
    one.n = 2;
    assert_int_equal(sumi_eval_blurred(&one, out, NULL), SUMI_OK);
    static const int weights[] = {1, 4, 6, 4, 1};
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++) {
            int from_y = y < 5 ? weights[y] : 0, from_x = x > 0 ? weights[x - 1] : 0;
            double expected = 160. * from_y * from_x / 256;
            assert_int_equal(out[y * SIDE + x], 77);
            assert_true(fabs(out[SIDE * SIDE + y * SIDE + x] - expected) <= .51);
        }
    }
    for (int i = 0; i < N; i++)
        bytes[i * SIDE * SIDE + 7] = (uint8_t)(100 + i % 3);
    assert_int_equal(sumi_eval_pixel_gaussian(&set, N, 3, out, NULL), SUMI_OK);
    double mean = 0, square = 0;
    for (int i = 0; i < N; i++) {
        mean += out[i * SIDE * SIDE + 7] / (double)N;
        square += pow(out[i * SIDE * SIDE + 7] - 101, 2) / N;
    }
    assert_true(fabs(mean - 101) < .2 && fabs(square - 2. / 3 - 1. / 12) < .2);
    free(bytes);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_some_labels),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_memory_refusals),
        cmocka_unit_test(test_spectrum),
        cmocka_unit_test(test_sliced_of_one_pixel),
        cmocka_unit_test(test_sliced_of_a_shift),
        cmocka_unit_test(test_spoilt_pictures),
    };
    machine = machine_open(2);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    machine_close(&machine);
    return failed;
}
