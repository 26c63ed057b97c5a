/*
 * sumi classify: the file that it writes and what it says of it; what it refuses. sumi eval: its
 * figures as JSON, the evaluator that it keeps, and one clear line for everything that is wrong.
 */
#include "program.h"

#include <jansson.h>

#include "io/io.h"

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        fail_msg("no number %s", key);
    return json_number_value(value);
}

static void put_picture(temp_folder *temp, const char *name, int h, int w, int c, int value)
{
    char folder[512];
    snprintf(folder, sizeof folder, "%s", name);
    *strrchr(folder, '/') = '\0';
    size_t size = (size_t)h * (size_t)w * (size_t)c;
    sumi_image image = {h, w, c, malloc(size)};
    assert_non_null(image.pixels);
    for (size_t i = 0; i < size; i++)
        image.pixels[i] = (uint8_t)((size_t)value * (i + 7) % 251);
    assert_int_equal(sumi_make_dirs(temp_path(temp, folder), NULL), SUMI_OK);
    assert_int_equal(sumi_png_write(temp_path(temp, name), &image, NULL, NULL), SUMI_OK);
    free(image.pixels);
}

/* Two classes of 12 pictures. */
static void put_folder(temp_folder *temp, const char *folder, int side)
{
    char name[600];
    for (int i = 0; i < 24; i++) {
        snprintf(name, sizeof name, "%s/%s/%d.png", folder, i % 2 ? "light" : "dark", i);
        put_picture(temp, name, side, side, 1, i + 1);
    }
}

static void test_classify(void **state)
{
    temp_folder *temp = *state;
    put_folder(temp, "set", 12);
    json_t *one =
        program_json(temp, "classify train @set --out @a.safetensors --epochs 2 --threads 1 "
                           "--json");
    json_t *two =
        program_json(temp, "classify train @set --out @b.safetensors --epochs 2 --threads 2 "
                           "--json");
    const char *hash = json_string_value(json_object_get(one, "evaluator"));
    assert_int_equal(strlen(hash), 64);
    assert_string_equal(hash, json_string_value(json_object_get(two, "evaluator")));
    assert_int_equal((int)number(one, "steps"), 2);
    json_decref(one);
    json_decref(two);
    two = program_json(temp, "classify train @set --out @b.safetensors --epochs 2 --seed 1 --json");
    one = program_json(temp, "classify train @set --out @c.safetensors --shape random-conv --json");
    assert_string_not_equal(json_string_value(json_object_get(two, "evaluator")),
                            json_string_value(json_object_get(one, "evaluator")));
    assert_string_equal(json_string_value(json_object_get(one, "shape")), "random-conv");
    json_decref(one);
    json_decref(two);
}

/* What it is is told by info; it is no model, and a model is none. */
static void test_kinds(void **state)
{
    temp_folder *temp = *state;
    json_t *json = program_json(temp, "info @b.safetensors --json");
    json_t *about = json_object_get(json, "evaluator");
    assert_string_equal(json_string_value(json_object_get(about, "shape")), "v1");
    assert_string_equal(json_string_value(json_object_get(about, "data")), "set");
    assert_int_equal((int)number(about, "features"), 128);
    assert_int_equal((int)number(about, "tested"), 12);
    assert_null(json_object_get(json, "model"));
    json_decref(json);
    program p;
    program_run(&p, temp, "info @b.safetensors");
    assert_non_null(strstr(p.out, "evaluator"));
    program_free(&p);
    assert_quiet_run(
        temp,
        "train @set --recipe tutorial --steps 1 --base-channels 4 --batch 2 --grid 0 -q --out "
        "@model");
    static const char *const uses[] = {
        "sample @b.safetensors --out @x.png",
        "predict @b.safetensors --x @x.npy --t @t.npy --out @y.npy",
        "train @set --recipe tutorial --init @b.safetensors --out @other",
        "eval @b.safetensors --data @set"};
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        assert_failed_run(temp, uses[i], 10 + SUMI_EFORMAT, "an evaluator, not a model");
    assert_quiet_run(temp, "convert @model @m.safetensors -q");
    assert_failed_run(temp, "train --resume @b.safetensors", 10 + SUMI_EIO, "b.safetensors");
    assert_failed_run(temp, "eval @set --data @set -q --evaluator @m.safetensors",
                      10 + SUMI_EFORMAT, "a model, not an evaluator");
}

static void test_classify_refuses(void **state)
{
    temp_folder *temp = *state;
    put_picture(temp, "plain/1.png", 8, 8, 1, 3);
    put_picture(temp, "plain/2.png", 8, 8, 1, 5);
    put_folder(temp, "tiny", 4);
    static const struct {
        const char *line;
        int code;
        const char *part;
    } cases[] = {
        {"classify train @set --out @a.pth", 2, "--out: expected a name that ends with"},
        {"classify train @set --out @no/a.safetensors", 10 + SUMI_EIO, "there is no folder"},
        {"classify train @set", 2, "--out"},
        {"classify train @gone --out @a.safetensors", 10 + SUMI_EIO, "gone"},
        {"classify train @plain --quiet --out @a.safetensors", 10 + SUMI_EINVAL,
         "without labels there is random-conv"},
        {"classify train @tiny --quiet --out @a.safetensors", 10 + SUMI_ESHAPE, "found 4x4"},
        {"classify train @set --shape v3 --out @a.safetensors", 2, "v1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_failed_run(temp, cases[i].line, cases[i].code, cases[i].part);
}

/* ---- sumi eval ------------------------------------------------------------------------------- */

enum { SIDE = 8, EACH = 160 }; /* more than an evaluator has features */

/* Bright or dark pictures of noise, of two classes. */
static void fill(uint8_t *pixels, size_t size, uint32_t step, uint64_t image)
{
    const sumi_random at = {7, SUMI_STREAM_USER, step, image};
    for (size_t i = 0; i < size; i++)
        pixels[i] = (uint8_t)(sumi_random_below(&at, i, 100) + (image % 2 ? 140 : 10));
}

static void put_split(temp_folder *temp, const char *split, uint32_t step)
{
    char name[128];
    for (int i = 0; i < EACH; i++) {
        uint8_t pixels[SIDE * SIDE];
        sumi_image image = {SIDE, SIDE, 1, pixels};
        fill(pixels, sizeof pixels, step, (uint64_t)i);
        snprintf(name, sizeof name, "data/%s/%s", split, i % 2 ? "light" : "dark");
        assert_int_equal(sumi_make_dirs(temp_path(temp, name), NULL), SUMI_OK);
        snprintf(name, sizeof name, "data/%s/%s/%d.png", split, i % 2 ? "light" : "dark", i);
        assert_int_equal(sumi_png_write(temp_path(temp, name), &image, NULL, NULL), SUMI_OK);
    }
}

static void put_array(temp_folder *temp, const char *name, int64_t n, int h, int w, int c,
                      uint32_t step)
{
    sumi_npy array = {.dtype = SUMI_NPY_U8, .rank = 4, .shape = {n, h, w, c}};
    size_t each = (size_t)h * (size_t)w * (size_t)c;
    array.count = (size_t)n * each;
    array.data = malloc(array.count);
    assert_non_null(array.data);
    for (int64_t i = 0; i < n; i++)
        fill((uint8_t *)array.data + (size_t)i * each, each, step, (uint64_t)i);
    assert_int_equal(sumi_npy_write(temp_path(temp, name), &array, NULL), SUMI_OK);
    free(array.data);
}

static int eval_setup(void **state)
{
    if (temp_setup(state) != 0)
        return -1;
    temp_folder *temp = *state;
    put_split(temp, "train", 1);
    put_split(temp, "test", 2);
    put_array(temp, "new.npy", EACH, SIDE, SIDE, 1, 3);
    put_array(temp, "copies.npy", EACH, SIDE, SIDE, 1, 1);
    return setenv("XDG_CACHE_HOME", temp_path(temp, "cache"), 1);
}

/* Its shape and hash. */
static void assert_same_evaluator(const json_t *a, const json_t *b)
{
    assert_non_null(json_object_get(a, "evaluator"));
    assert_true(json_equal(json_object_get(a, "evaluator"), json_object_get(b, "evaluator")));
}

/* New pictures of the same kind are near and no copies, the training images are all copies. */
static void check_figures(temp_folder *temp)
{
    static const char *const keys[] = {"n",       "frechet",  "kernel",  "precision", "recall",
                                       "density", "coverage", "entropy", "memorised"};
    json_t *one = program_json(temp, "eval @new.npy --data @data --json");
    json_t *copies = program_json(temp, "eval @copies.npy --data @data --json --threads 1");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_true(number(one, keys[i]) == number(one, keys[i])); /* no NaN */
    assert_int_equal((int)number(one, "n"), EACH);
    assert_true(number(one, "memorised") < .1);
    assert_true(number(copies, "memorised") == 1);
    assert_same_evaluator(one, copies);
    json_decref(copies);
    json_decref(one);
}

/* Where the cached evaluator is: the only file of its folder. */
static const char *cached(temp_folder *temp)
{
    char name[600] = "";
    DIR *folder = opendir(temp_path(temp, "cache/sumi/evaluators"));
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            snprintf(name, sizeof name, "cache/sumi/evaluators/%s", entry->d_name);
    closedir(folder);
    return temp_path(temp, name);
}

static void test_eval(void **state)
{
    temp_folder *temp = *state;
    program p;
    program_run(&p, temp, "eval @new.npy --data @data --json");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.err, "training evaluator v1"));
    json_t *first = json_loads(p.out, 0, NULL);
    program_free(&p);
    check_figures(temp);

    program_run(&p, temp, "eval @new.npy --data @data --threads 3 --json");
    assert_null(strstr(p.err, "training evaluator"));
    json_t *again = json_loads(p.out, 0, NULL);
    json_object_del(first, "seconds");
    json_object_del(again, "seconds");
    assert_true(json_equal(first, again)); /* to the last bit, with another number of threads */
    program_free(&p);

    /* A file that was changed is made anew, and is the same again. */
    uint8_t *data;
    size_t size;
    const char *path = cached(temp);
    assert_int_equal(sumi_file_read(path, 1 << 24, &data, &size, NULL), SUMI_OK);
    data[size - 9] ^= 64;
    assert_int_equal(sumi_file_save(path, data, size, NULL), SUMI_OK);
    free(data);
    program_run(&p, temp, "eval @new.npy --data @data --json");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.err, "it is made anew"));
    json_decref(again);
    again = json_loads(p.out, 0, NULL);
    assert_same_evaluator(first, again);
    program_free(&p);
    json_decref(again);
    json_decref(first);
}

/* Turns over a bit of every file of a folder; returns how many there are. */
static int damage(temp_folder *temp, const char *folder)
{
    int count = 0;
    DIR *entries = opendir(temp_path(temp, folder));
    assert_non_null(entries);
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        char name[600];
        uint8_t *data;
        size_t size;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", folder, entry->d_name);
        assert_int_equal(sumi_file_read(temp_path(temp, name), 1 << 24, &data, &size, NULL),
                         SUMI_OK);
        data[size - 3] ^= 64;
        assert_int_equal(sumi_file_save(temp_path(temp, name), data, size, NULL), SUMI_OK);
        free(data);
        count++;
    }
    closedir(entries);
    return count;
}

/* What is known of the data is kept; where a file of it was changed, it is found anew. */
static void test_kept(void **state)
{
    temp_folder *temp = *state;
    json_t *reports[3];
    for (int i = 0; i < 3; i++) {
        reports[i] = program_json(temp, "eval @copies.npy --data @data --json");
        json_object_del(reports[i], "seconds");
        if (i == 0) /* features of two sets, distances, a scale */
            assert_int_equal(damage(temp, "cache/sumi/references"), 4);
    }
    assert_true(json_equal(reports[0], reports[1]));
    assert_true(json_equal(reports[0], reports[2]));
    for (int i = 0; i < 3; i++)
        json_decref(reports[i]);
}

/* Images of a run, the second evaluator, a page and an array for others. */
static void test_eval_of_a_run(void **state)
{
    temp_folder *temp = *state;
    program p;
    program_run(
        &p, temp,
        "train @data --recipe tutorial --steps 2 --base-channels 4 --grid 0 --out @run --quiet");
    assert_int_equal(p.code, 0);
    program_free(&p);
    program_run(&p, temp,
                "eval @run --data @data -n 150 --steps 2 --solver ddim --held-back --html @page "
                "--export-npz @x.npz");
    if (p.code != 0)
        fail_msg("eval of a run: exit %d, %s", p.code, p.err);
    assert_non_null(strstr(p.out, "150 pictures"));
    assert_non_null(strstr(p.out, "by the second evaluator"));
    assert_true(sumi_is_file(temp_path(temp, "page/index.html")));
    assert_true(sumi_is_file(temp_path(temp, "x.npz")));
    program_free(&p);
}

/* A model with labels is asked for each of them in turn: are they what was asked for, and what does
 * a classifier learn from them? */
static void test_labels(void **state)
{
    static const char *const keys[] = {"label_accuracy", "classification_accuracy"};
    temp_folder *temp = *state;
    assert_quiet_run(
        temp,
        "train @data --recipe tutorial --net unet --base-channels 8 --steps 2 --grid 0 -q --out "
        "@told");
    json_t *json =
        program_json(temp, "eval @told --data @data -n 150 --steps 2 --classification --json "
                           "-q");
    for (int i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s_interval", keys[i]);
        const json_t *interval = json_object_get(json, name);
        double low = json_real_value(json_array_get(interval, 0));
        assert_true(number(json, keys[i]) > 0 && number(json, keys[i]) < 1);
        assert_true(low < number(json, keys[i]));
    }
    assert_non_null(strstr(json_string_value(json_object_get(json, "sampling")), "each label"));
    json_decref(json);
    /* Pictures of a folder have their classes. */
    json = program_json(temp, "eval @data/test --data @data --classification --json -q");
    assert_true(number(json, "label_accuracy") > .9);
    assert_true(number(json, "classification_accuracy") > .9);
    json_decref(json);
}

/* A set without a test split is compared with images that its evaluator did not learn from. */
static void test_held_back(void **state)
{
    temp_folder *temp = *state;
    program p;
    put_array(temp, "whole.npy", 600, SIDE, SIDE, 1, 5);
    program_run(&p, temp, "eval @new.npy --data @whole.npy --json");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.err, "256 of 600 images are held back"));
    json_t *json = json_loads(p.out, 0, NULL);
    program_free(&p);
    assert_string_equal(json_string_value(json_object_get(json, "reference")), "held-back");
    assert_int_equal((int)number(json, "reference_n"), 256);
    assert_int_equal((int)number(json, "training_n"), 344);
    json_decref(json);
    program_run(&p, temp, "eval @new.npy --data @whole.npy -q");
    assert_non_null(strstr(p.out, "256 held out (split held-back)"));
    program_free(&p);
}

/* Accuracy is of the test split, where there is one. */
static void test_classify_says(void **state)
{
    temp_folder *temp = *state;
    program p;
    program_run(&p, temp, "classify train @data --out @s.safetensors --epochs 20 --json");
    assert_int_equal(p.code, 0);
    json_t *json = json_loads(p.out, 0, NULL);
    assert_int_equal((int)number(json, "tested"), EACH);
    assert_true(number(json, "accuracy") > .9);
    json_decref(json);
    program_free(&p);
    program_run(&p, temp,
                "classify train @data/test/light --out @a.safetensors --shape random-conv");
    assert_int_equal(p.code, 0);
    assert_string_equal(p.out, "");
    assert_non_null(strstr(p.err, "no test split: "));
    assert_non_null(strstr(p.err, "warning: random-conv is a weaker evaluator"));
    assert_non_null(strstr(p.err, "SHA-256 "));
    program_free(&p);
}

static void put_nan(temp_folder *temp, const char *name)
{
    float values[2 * SIDE * SIDE] = {0};
    const uint32_t bits = 0x7fc00000;
    memcpy(&values[70], &bits, sizeof bits);
    sumi_npy array = {.dtype = SUMI_NPY_F32, .rank = 3, .shape = {2, SIDE, SIDE}, .data = values};
    array.count = 2 * SIDE * SIDE;
    assert_int_equal(sumi_npy_write(temp_path(temp, name), &array, NULL), SUMI_OK);
}

static void test_eval_refuses(void **state)
{
    temp_folder *temp = *state;
    put_folder(temp, "other", 8);
    put_folder(temp, "mixed", 8);
    put_picture(temp, "mixed/light/99.png", 9, 8, 1, 3);
    put_array(temp, "colour.npy", EACH, SIDE, SIDE, 3, 3);
    put_array(temp, "large.npy", EACH, 2 * SIDE, SIDE, 1, 3);
    put_nan(temp, "nan.npy");
    assert_int_equal(sumi_make_dirs(temp_path(temp, "empty"), NULL), SUMI_OK);
    program p;
    program_run(&p, temp, "classify train @other --epochs 1 --out @other.safetensors --quiet");
    assert_int_equal(p.code, 0);
    program_free(&p);
    static const struct {
        const char *line;
        int code;
        const char *part;
    } cases[] = {
        {"eval @empty --data @data --quiet", 10 + SUMI_EFORMAT, "empty"},
        {"eval @mixed --data @data --quiet", 10 + SUMI_ESHAPE, "pictures have 2 sizes"},
        {"eval @nan.npy --data @data --quiet", 10 + SUMI_EFORMAT, "found nan in image 1"},
        {"eval @new.npy -n 20 --data @data --quiet", 10 + SUMI_EINVAL, "covariance"},
        {"eval @new.npy --data @data --evaluator @other.safetensors --quiet", 10 + SUMI_EINVAL,
         "the evaluator was made for the data 'other'"},
        {"eval @colour.npy --data @data --quiet", 10 + SUMI_ESHAPE,
         "pictures of 8x8x3, the data are 8x8x1"},
        {"eval @large.npy --data @data --quiet", 10 + SUMI_ESHAPE, "up to a quarter larger"},
        {"eval @gone --data @data --quiet", 10 + SUMI_EIO, "gone"},
        {"eval @new.npy --data @gone --quiet", 10 + SUMI_EIO, "gone"},
        {"eval @new.npy", 2, "--data"},
        {"eval @new.npy --data @data --classification --quiet", 10 + SUMI_EINVAL,
         "classification accuracy needs labels, the same of the data and of the pictures"},
        {"eval @new.npy --data @data --export-npz @no/x.npz", 10 + SUMI_EIO, "there is no folder"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_failed_run(temp, cases[i].line, cases[i].code, cases[i].part);
}

int main(void)
{
    const struct CMUnitTest classify[] = {
        cmocka_unit_test(test_classify),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_classify_refuses),
    };
    const struct CMUnitTest eval[] = {
        cmocka_unit_test(test_classify_says), cmocka_unit_test(test_eval),
        cmocka_unit_test(test_kept),          cmocka_unit_test(test_eval_of_a_run),
        cmocka_unit_test(test_labels),        cmocka_unit_test(test_held_back),
        cmocka_unit_test(test_eval_refuses),
    };
    int failed = cmocka_run_group_tests(classify, temp_setup, temp_teardown);
    return failed + cmocka_run_group_tests(eval, eval_setup, temp_teardown);
}
