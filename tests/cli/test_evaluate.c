/*
 * sumi classify: the file that it writes and what it says of it; what it refuses.
 */
#include "program.h"

#include <jansson.h>

#include "io/io.h"

static json_t *run_json(temp_folder *temp, const char *line)
{
    program p;
    program_run(&p, temp, line);
    if (p.code != 0)
        fail_msg("sumi %s: exit %d, %s", line, p.code, p.err);
    json_t *json = json_loads(p.out, 0, NULL);
    if (json == NULL)
        fail_msg("sumi %s: not JSON: %s", line, p.out);
    program_free(&p);
    return json;
}

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
    json_t *one = run_json(temp, "classify train @set --out @a.safetensors --epochs 2 --threads 1 "
                                 "--json");
    json_t *two = run_json(temp, "classify train @set --out @b.safetensors --epochs 2 --threads 2 "
                                 "--json");
    const char *hash = json_string_value(json_object_get(one, "evaluator"));
    assert_int_equal(strlen(hash), 64);
    assert_string_equal(hash, json_string_value(json_object_get(two, "evaluator")));
    assert_int_equal((int)number(one, "steps"), 2);
    json_decref(one);
    json_decref(two);
    two = run_json(temp, "classify train @set --out @b.safetensors --epochs 2 --seed 1 --json");
    one = run_json(temp, "classify train @set --out @c.safetensors --shape random-conv --json");
    assert_string_not_equal(json_string_value(json_object_get(two, "evaluator")),
                            json_string_value(json_object_get(one, "evaluator")));
    assert_string_equal(json_string_value(json_object_get(one, "shape")), "random-conv");
    json_decref(one);
    json_decref(two);
}

/* The built-in set has a test split, which is what accuracy is of; and so few steps tell little. */
static void test_classify_says(void **state)
{
    temp_folder *temp = *state;
    program p;
    program_run(&p, temp, "classify train shapes --size 8 --out @s.safetensors --epochs 1 --json");
    assert_int_equal(p.code, 0);
    json_t *json = json_loads(p.out, 0, NULL);
    assert_int_equal((int)number(json, "tested"), 10000);
    assert_true(number(json, "accuracy") > .5);
    json_decref(json);
    program_free(&p);
    program_run(&p, temp, "classify train @set --out @a.safetensors --shape random-conv");
    assert_int_equal(p.code, 0);
    assert_string_equal(p.out, "");
    assert_non_null(strstr(p.err, "no test split: "));
    assert_non_null(strstr(p.err, "warning: random-conv is a weaker evaluator"));
    assert_non_null(strstr(p.err, "SHA-256 "));
    program_free(&p);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classify),
        cmocka_unit_test(test_classify_says),
        cmocka_unit_test(test_classify_refuses),
    };
    return cmocka_run_group_tests(tests, temp_setup, temp_teardown);
}
