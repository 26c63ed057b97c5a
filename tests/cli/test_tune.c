/*
 * sumi tune: what it keeps, where, and that sample and info then use it; training with scores.
 */
#include "program.h"

#include <jansson.h>

#include "io/io.h"

enum { SIDE = 8, IMAGES = 400 };

/* Pictures of noise on eight levels of grey: what is drawn of them differs from way to way. */
static void put_array(temp_folder *temp)
{
    sumi_npy array = {.dtype = SUMI_NPY_U8, .rank = 4, .shape = {IMAGES, SIDE, SIDE, 1}};
    array.count = IMAGES * SIDE * SIDE;
    uint8_t *pixels = malloc(array.count);
    assert_non_null(pixels);
    for (size_t i = 0; i < array.count; i++) {
        const sumi_random at = {3, SUMI_STREAM_USER, 0, i / (SIDE * SIDE)};
        pixels[i] = (uint8_t)(sumi_random_below(&at, i % (SIDE * SIDE), 80) + i % 8 * 20);
    }
    array.data = pixels;
    assert_int_equal(sumi_npy_write(temp_path(temp, "set.npy"), &array, NULL), SUMI_OK);
    free(pixels);
}

/* A scored run of two epochs, and the evaluator of its data, which has no labels. */
static int setup(void **state)
{
    if (temp_setup(state) != 0)
        return -1;
    temp_folder *temp = *state;
    put_array(temp);
    if (setenv("XDG_CACHE_HOME", temp_path(temp, "cache"), 1) != 0)
        return -1;
    assert_quiet_run(temp, "classify train @set.npy --shape random-conv --out @e.safetensors -q");
    assert_quiet_run(
        temp, "train @set.npy --recipe tutorial --epochs 2 --quiet --out @run --batch 80 --grid 0 "
              "--base-channels 4 --time-dim 8 --timesteps 12 --threads 2 "
              "--eval-every 2 --eval-images 130");
    return 0;
}

static char *text_of(temp_folder *temp, const char *name)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    assert_int_equal(sumi_file_read(temp_path(temp, name), 1 << 20, &bytes, &size, NULL), SUMI_OK);
    char *text = calloc(size + 1, 1);
    assert_non_null(text);
    memcpy(text, bytes, size);
    free(bytes);
    return text;
}

/* Going on needs no option: what the run was begun with is in its config.json. */
static void test_scored_run(void **state)
{
    temp_folder *temp = *state;
    char *text = text_of(temp, "run/eval.jsonl");
    assert_non_null(strstr(text, "{\"step\":10,\"epoch\":1,\"n\":130,\"frechet\":"));
    free(text);
    text = text_of(temp, "run/best");
    assert_string_equal(text, "step_10\n");
    free(text);
    assert_quiet_run(temp, "train --resume @run --epochs 3 --quiet --threads 2");
    text = text_of(temp, "run/eval.jsonl");
    assert_non_null(strstr(text, "{\"step\":15,\"epoch\":2,"));
    free(text);
    assert_failed_run(
        temp,
        "train @set.npy --recipe tutorial --eval-every 1 --eval-images 100 --epochs 1 -q --out @no",
        13, "eval_images is 100, expected more than the 128");
}

static void assert_same_files(temp_folder *temp, const char *a, const char *b, bool same)
{
    uint8_t *x = NULL, *y = NULL;
    size_t x_size = 0, y_size = 0;
    assert_int_equal(sumi_file_read(temp_path(temp, a), 1 << 24, &x, &x_size, NULL), SUMI_OK);
    assert_int_equal(sumi_file_read(temp_path(temp, b), 1 << 24, &y, &y_size, NULL), SUMI_OK);
    assert_true((x_size == y_size && memcmp(x, y, x_size) == 0) == same);
    free(x);
    free(y);
}

/* The options of sample that stand for a way. */
static void options_of(const json_t *way, char *out, size_t size)
{
    const char *key;
    json_t *value;
    size_t used = 0;
    const double low = json_number_value(json_object_get(way, "clip_low"));
    const double high = json_number_value(json_object_get(way, "clip_high"));
    json_object_foreach((json_t *)way, key, value)
    {
        char name[32];
        snprintf(name, sizeof name, "%s", key);
        for (char *c = name; *c != '\0'; c++)
            *c = *c == '_' ? '-' : *c;
        if (strncmp(key, "clip", 4) == 0)
            continue;
        used += (size_t)(json_is_string(value) ? snprintf(out + used, size - used, "--%s %s ", name,
                                                          json_string_value(value))
                                               : snprintf(out + used, size - used, "--%s %.9g ",
                                                          name, json_number_value(value)));
    }
    if (low != 0 || high != 0)
        snprintf(out + used, size - used, "--clip %.9g,%.9g ", low, high);
}

static void test_kept(void **state)
{
    temp_folder *temp = *state;
    char options[512] = "", line[1024];
    assert_quiet_run(temp, "convert @run @before.safetensors -q");
    assert_quiet_run(temp, "convert @run @copy.safetensors -q");
    json_t *dry = program_json(temp, "tune @run --data @set.npy --evaluator @e.safetensors --nfe 2 "
                                     "--quick -n 130 --dry-run --json -q --threads 1");
    assert_true(json_is_null(json_object_get(dry, "kept")));
    assert_false(sumi_is_file(temp_path(temp, "run/sampling.json")));
    json_t *kept =
        program_json(temp, "tune @run --data @set.npy --evaluator @e.safetensors --nfe 2 "
                           "--quick -n 130 --json -q --threads 2");
    assert_true(json_equal(json_object_get(dry, "best"), json_object_get(kept, "best")));
    assert_true(sumi_is_file(temp_path(temp, "run/sampling.json")));
    const json_t *way = json_object_get(json_object_get(kept, "best"), "sampling");
    options_of(way, options, sizeof options);

    /* Silent, the run is drawn by what was found; in words, a file that had none is, too. */
    assert_quiet_run(temp, "sample @run -n 3 --size 8 -qo @own.npy");
    snprintf(line, sizeof line, "sample @before.safetensors -n 3 --size 8 %s-qo @said.npy",
             options);
    assert_quiet_run(temp, line);
    assert_same_files(temp, "own.npy", "said.npy", true);
    assert_quiet_run(temp, "sample @before.safetensors -n 3 --size 8 -qo @plain.npy");
    assert_same_files(temp, "own.npy", "plain.npy", false);
    assert_quiet_run(temp, "sample @run -n 3 --size 8 --solver ddpm --steps 12 -qo @ddpm.npy");
    assert_same_files(temp, "ddpm.npy", "plain.npy", true);
    /* Its pictures tell it, also where the model forgets. */
    assert_quiet_run(temp, "sample @run -n 3 --size 8 -qo @own.png");
    snprintf(line, sizeof line, "sample @before.safetensors --like @own.png -qo @like.npy");
    assert_quiet_run(temp, line);
    assert_same_files(temp, "own.npy", "like.npy", true);
    json_t *info = program_json(temp, "info @run --json");
    const json_t *told = json_object_get(json_object_get(info, "model"), "sampling");
    assert_string_equal(json_string_value(json_object_get(told, "solver")),
                        json_string_value(json_object_get(way, "solver")));
    json_decref(info);

    /* Another file has it, the first stays. */
    assert_quiet_run(temp, "tune @copy.safetensors --data @set.npy --evaluator @e.safetensors "
                           "--nfe 2 --quick -n 130 --out @tuned.pth -q");
    assert_same_files(temp, "copy.safetensors", "before.safetensors", true);
    assert_quiet_run(temp, "sample @tuned.pth -n 3 --size 8 -qo @tuned.npy");
    assert_same_files(temp, "own.npy", "tuned.npy", true);
    json_decref(dry);
    json_decref(kept);
}

static void test_refused(void **state)
{
    static const struct {
        const char *line;
        int code;
        const char *part;
    } cases[] = {
        {"tune @run --data @set.npy --dry-run --out @x.pth", 2, "--dry-run and --out"},
        {"tune @run --data @set.npy --out @x.bin", 2, "expected x.safetensors or x.pth"},
        {"tune @run/checkpoints/step_10 --data @set.npy", 2, "is no run"},
        {"tune @e.safetensors#one --data @set.npy", 2, "give --out FILE"},
        {"tune @gone.pth --data @set.npy", 14, "gone.pth"},
        {"tune @run", 2, "--data"},
        {"tune @run --data @set.npy --nfe 0", 2, "--nfe"},
        {"tune @run --data @set.npy --evaluator @e.safetensors --nfe 13 -q", 13,
         "evaluations is 13, expected 0 to 12"},
        {"tune @run --data @set.npy --evaluator @e.safetensors -n 100 -q", 13, "n is 100"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_failed_run(*state, cases[i].line, cases[i].code, cases[i].part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_scored_run),
        cmocka_unit_test(test_kept),
    };
    return cmocka_run_group_tests(tests, setup, temp_teardown);
}
