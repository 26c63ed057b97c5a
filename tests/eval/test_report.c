/*
 * The report: what it computes from whole sets, its JSON, its text, its page and pictures.
 */
#include "base/temp_folder.h"
#include "eval/eval_test.h"

enum { N = 60, TRAINING = 90, D = 6, CLASSES = 3, SIDE = 8 };

static sumi_eval_machine machine;

typedef struct {
    float *features, *probabilities;
    uint8_t *images;
    int32_t labels[TRAINING];
} owned;

/* A set of every kind of thing, as random as the seed. */
static sumi_eval_set make(owned *o, const char *name, uint64_t seed, int n)
{
    sumi_random at = {.seed = seed, .stream = SUMI_STREAM_USER, .image = 1};
    o->features = random_features(seed, n, D);
    o->probabilities = random_features(seed + 100, n, CLASSES);
    o->images = sumi_calloc((size_t)n, SIDE * SIDE);
    for (int i = 0; i < n; i++) {
        float *row = o->probabilities + i * CLASSES, sum = 0;
        for (int k = 0; k < CLASSES; k++)
            sum += row[k] = row[k] * row[k];
        for (int k = 0; k < CLASSES; k++)
            row[k] /= sum;
        o->labels[i] = i % CLASSES;
    }
    for (int i = 0; i < n * SIDE * SIDE; i++)
        o->images[i] = (uint8_t)sumi_random_below(&at, (uint64_t)i, 256);
    return (sumi_eval_set){.name = name,
                           .n = n,
                           .d = D,
                           .classes = CLASSES,
                           .h = SIDE,
                           .w = SIDE,
                           .c = 1,
                           .features = o->features,
                           .probabilities = o->probabilities,
                           .labels = o->labels,
                           .images = o->images};
}

static void free_owned(owned *o)
{
    free(o->features);
    free(o->probabilities);
    free(o->images);
}

typedef struct {
    owned owned[3];
    sumi_eval_set samples, reference, training;
} world;

static void world_init(world *w)
{
    w->samples = make(&w->owned[0], "samples", 1, N);
    w->reference = make(&w->owned[1], "test", 2, N);
    w->training = make(&w->owned[2], "training", 3, TRAINING);
    memcpy(w->owned[0].images, w->owned[2].images + 5 * SIDE * SIDE, SIDE * SIDE);
}

static void world_free(world *w)
{
    for (int i = 0; i < 3; i++)
        free_owned(&w->owned[i]);
}

static void compare(const sumi_eval_machine *on, world *w, sumi_eval_report *report)
{
    sumi_error err = {""};
    sumi_eval_report_init(report);
    sumi_copy_text(report->subject, sizeof report->subject, "a <b>&\xff.npy");
    sumi_copy_text(report->data, sizeof report->data, "shapes");
    sumi_copy_text(report->evaluator, sizeof report->evaluator, "small classifier");
    memset(report->evaluator_hash, 'e', 64);
    if (sumi_eval_compare(on, &w->samples, &w->reference, &w->training, report, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    assert_int_equal(
        sumi_eval_add_scale(on, "training pictures", &w->training, &w->reference, report, NULL),
        SUMI_OK);
}

static bool is_interval(const json_t *object, const char *key)
{
    char name[64];
    snprintf(name, sizeof name, "%s_interval", key);
    const json_t *value = json_object_get(object, key), *pair = json_object_get(object, name);
    return json_is_real(value) && json_array_size(pair) == 2 &&
           json_real_value(json_array_get(pair, 0)) <= json_real_value(value) &&
           json_real_value(json_array_get(pair, 1)) >= json_real_value(value);
}

static void test_json(void **state)
{
    (void)state;
    static const char *const scores[] = {"frechet",           "frechet_training", "kernel",
                                         "precision",         "recall",           "density",
                                         "coverage",          "entropy",          "memorised",
                                         "marginal_entropy",  "class_score",      "label_accuracy",
                                         "memorised_features"};
    world w;
    sumi_eval_report report;
    world_init(&w);
    compare(&machine, &w, &report);
    json_t *json = sumi_eval_json(&report);
    assert_non_null(json);
    for (int i = 0; i < COUNT(scores); i++)
        if (!is_interval(json, scores[i]))
            fail_msg("%s is no score with its interval", scores[i]);
    assert_int_equal(json_integer_value(json_object_get(json, "n")), N);
    assert_int_equal(json_array_size(json_object_get(json, "histogram")), CLASSES);
    assert_true(json_is_null(json_object_get(json, "bits_per_dimension")));
    assert_true(json_is_null(json_object_get(json, "frechet_second_interval")));
    assert_true(json_is_real(json_object_get(json, "frechet_infinite")));
    assert_true(json_is_real(json_object_get(json, "sliced")));
    assert_true(json_is_real(json_object_get(json, "spectrum")));
    const json_t *evaluator = json_object_get(json, "evaluator");
    assert_int_equal(json_string_length(json_object_get(evaluator, "sha256")), 64);
    assert_int_equal(json_array_size(json_object_get(json, "scale")), 1);
    const json_t *nearest = json_array_get(json_object_get(json, "nearest"), 0);
    assert_int_equal(json_integer_value(json_object_get(nearest, "sample")), 0);
    assert_int_equal(json_integer_value(json_object_get(nearest, "training")), 5);
    assert_near(report.pixels.share.value, 1. / N, 1e-12);
    char *line = sumi_json_compact(json);
    assert_non_null(line);
    free(line);
    json_decref(json);
    sumi_eval_report_free(&report);
    world_free(&w);
}

/* A report of nothing is a report still: nulls, and an empty table. */
static void test_nothing(void **state)
{
    (void)state;
    static const char *const keys[] = {"n",       "frechet",  "kernel",  "precision", "recall",
                                       "density", "coverage", "entropy", "memorised", "evaluator"};
    sumi_eval_report report;
    sumi_eval_report_init(&report);
    json_t *json = sumi_eval_json(&report);
    assert_non_null(json);
    for (int i = 0; i < COUNT(keys); i++)
        assert_non_null(json_object_get(json, keys[i]));
    assert_true(json_is_null(json_object_get(json, "frechet")));
    json_decref(json);
    char *text = sumi_eval_text(&report);
    assert_non_null(text);
    free(text);
    sumi_eval_report_free(&report);
}

/* At most 80 columns, one line a score, nothing unclean. */
static void test_text(void **state)
{
    (void)state;
    world w;
    sumi_eval_report report;
    world_init(&w);
    compare(&machine, &w, &report);
    char *text = sumi_eval_text(&report);
    assert_non_null(strstr(text, "Frechet distance"));
    assert_non_null(strstr(text, "training pictures"));
    assert_non_null(strstr(text, "a <b>&\\xFF.npy against shapes: 60 pictures, 60 held out"));
    assert_null(strstr(text, "FID"));
    assert_null(strstr(text, "nan"));
    for (const char *at = text; *at;) {
        size_t length = strcspn(at, "\n");
        if (length > 80)
            fail_msg("%d columns: %.*s", (int)length, (int)length, at);
        at += length + (at[length] == '\n');
    }
    free(text);
    sumi_eval_report_free(&report);
    world_free(&w);
}

static char *read_text(temp_folder *temp, const char *name)
{
    uint8_t *data;
    size_t size;
    assert_int_equal(sumi_file_read(temp_path(temp, name), 1 << 22, &data, &size, NULL), SUMI_OK);
    return (char *)data;
}

static void test_save(void **state)
{
    temp_folder *temp = *state;
    char folder[512];
    world w;
    sumi_eval_report report;
    sumi_image image;
    json_t *json;
    snprintf(folder, sizeof folder, "%s", temp_path(temp, "out/page"));
    world_init(&w);
    compare(&machine, &w, &report);
    report.loss_bins = 3;
    report.loss[0] = 1;
    report.loss[1] = .1;
    report.loss[2] = .01;
    assert_int_equal(sumi_eval_save(folder, &report, &w.samples, &w.training, NULL), SUMI_OK);
    char *page = read_text(temp, "out/page/index.html");
    assert_non_null(strstr(page, "a &lt;b&gt;&amp;\\xFF.npy"));
    assert_null(strstr(page, "<b>"));
    static const char *const files[] = {"samples.png", "nearest.png", "nearest_features.png",
                                        "loss.svg", "eval.json"};
    for (int i = 0; i < COUNT(files); i++) {
        char name[64], quoted[64];
        snprintf(name, sizeof name, "out/page/%s", files[i]);
        snprintf(quoted, sizeof quoted, "\"%s\"", files[i]);
        assert_true(sumi_is_file(temp_path(temp, name)));
        assert_non_null(strstr(page, quoted));
    }
    free(page);
    assert_int_equal(sumi_json_read(temp_path(temp, "out/page/eval.json"), &json, NULL), SUMI_OK);
    assert_true(is_interval(json, "frechet"));
    json_decref(json);
    /* Of the first pair both halves are one picture. */
    assert_int_equal(sumi_image_read(temp_path(temp, "out/page/nearest.png"), &image, NULL),
                     SUMI_OK);
    int factor = (image.width / 3 - 2) / (2 * SIDE + 1), top = 2 + factor / 2, left = top;
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++) {
            const uint8_t *row = image.pixels + (size_t)(top + y * factor) * (size_t)image.width *
                                                    (size_t)image.channels;
            int a = left + x * factor, b = left + (x + SIDE + 1) * factor;
            assert_int_equal(row[a * image.channels], w.samples.images[y * SIDE + x]);
            assert_int_equal(row[b * image.channels], w.samples.images[y * SIDE + x]);
        }
    }
    sumi_image_free(&image);
    sumi_eval_report_free(&report);
    world_free(&w);
}

static void test_threads(void **state)
{
    (void)state;
    char *texts[2];
    world w;
    world_init(&w);
    for (int t = 0; t < 2; t++) {
        sumi_eval_machine other = machine_open(1 + 2 * t);
        sumi_eval_report report;
        compare(&other, &w, &report);
        json_t *json = sumi_eval_json(&report);
        texts[t] = json_dumps(json, JSON_REAL_PRECISION(17));
        json_decref(json);
        sumi_eval_report_free(&report);
        machine_close(&other);
    }
    assert_string_equal(texts[0], texts[1]);
    free(texts[0]);
    free(texts[1]);
    world_free(&w);
}

static void test_refusals(void **state)
{
    (void)state;
    world w;
    sumi_eval_report report;
    sumi_error err = {""};
    world_init(&w);
    sumi_eval_report_init(&report);
    w.samples.n = D;
    assert_int_equal(sumi_eval_compare(&machine, &w.samples, &w.reference, NULL, &report, &err),
                     SUMI_EINVAL);
    assert_says(&err, "samples: too few images for the covariance: 6");
    w.samples.n = N;
    w.samples.c = 2;
    w.samples.w = SIDE / 2;
    assert_int_equal(sumi_eval_compare(&machine, &w.samples, &w.reference, NULL, &report, &err),
                     SUMI_ESHAPE);
    assert_says(&err, "samples has pictures of 8x4x2, test of 8x8x1");
    sumi_eval_report_free(&report);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_text),
        cmocka_unit_test_setup_teardown(test_save, temp_setup, temp_teardown),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_refusals),
    };
    machine = machine_open(2);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    machine_close(&machine);
    return failed;
}
