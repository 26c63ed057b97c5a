/*
 * The program without a model: help, versions, usage errors, missing files, data sets.
 */
#include "program.h"

#include <jansson.h>

#include "cli/options.h"
#include "io/io.h"

static void test_help(void **state)
{
    static const char *const lines[] = {
        "",          "--help",         "-h",         "help",         "help train",
        "help data", "help data info", "help --man", "bench --help", "data -h"};
    temp_folder *temp = *state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        program p;
        program_run(&p, temp, lines[i]);
        assert_int_equal(p.code, 0);
        assert_string_equal(p.err, "");
        assert_non_null(strstr(p.out, "sumi"));
        program_free(&p);
    }
    for (const sumi_command *c = sumi_command_table; c->name != NULL; c++) {
        char line[64], usage[64];
        program p;
        snprintf(line, sizeof line, "%s --help", c->name);
        snprintf(usage, sizeof usage, "Usage: sumi %s", c->name);
        program_run(&p, temp, line);
        assert_int_equal(p.code, 0);
        assert_string_equal(p.err, "");
        assert_int_equal(strncmp(p.out, usage, strlen(usage)), 0);
        program_free(&p);
    }
}

static void test_version(void **state)
{
    static const char *const lines[] = {"--version", "version"};
    temp_folder *temp = *state;
    for (size_t i = 0; i < 2; i++) {
        program p;
        program_run(&p, temp, lines[i]);
        assert_int_equal(p.code, 0);
        assert_string_equal(p.out, "sumi " SUMI_VERSION "\n");
        program_free(&p);
    }
}

static void test_usage_errors(void **state)
{
    static const char *const cases[][2] = {
        {"trian shapes", "did you mean train?"},
        {"help trian", "did you mean train?"},
        {"help train now", "expected train alone"},
        {"data", "expected one more word"},
        {"data lst", "did you mean data list?"},
        {"data list x", "expected no argument"},
        {"data info", "expected D"},
        {"data preview shapes", "--out FILE.png is missing"},
        {"data preview shapes --out @x.jpg", "ends with .png"},
        {"train", "found neither"},
        {"train shapes more --resume @run", "expected D | [D] --resume RUN"},
        {"train --resume @run --lr 1", "--lr cannot be changed"},
        {"train --resume @run --lr-warmup 3", "--lr-warmup cannot be changed"},
        {"train shapes --recipe tutorial --lr-schedule cosine --lr-warmup 9 --lr-steps 9",
         "expected above --lr-warmup, 9"},
        {"train shapes --ema 0.9,1", "expected up to 4 numbers above 0 and below 1, "},
        {"train shapes --ema 0.9,,0.8", "found '0.9,,0.8'"},
        {"train shapes --ema 0.1,0.2,0.3,0.4,0.5", "--ema: expected up to 4"},
        {"train shapes --ema-power 0.3", "below 0.2886"},
        {"train shapes --ema 0.9,0.99,0.999 --ema-power 0.1,0.05", "4 averages at most, found 5"},
        {"train shapes --ema-snapshots 4", "are of the averages of --ema-power: give both"},
        {"average @m.pth", "expected two models or more"},
        {"average @m.pth @n.pth", "--out FILE is missing"},
        {"average @m.pth --sigma-rel 0.1", "is for one RUN"},
        {"average @m.pth @n.pth --out @x.png", "ends with .safetensors or .pth"},
        {"train shapes --recipe tutorial --weight-decay 0.1", "is for --optimiser adamw"},
        {"train shapes --batch 0", "--batch: expected a whole number from 1"},
        {"train shapes --lr fast", "--lr: expected a number"},
        {"train shapes --size 0x8", "--size: expected HEIGHTxWIDTH"},
        {"train shapes --recipe sede", "did you mean seed?"},
        {"train shapes --recipe tutorial --init m.pth --time-dim 8",
         "--time-dim comes with the model"},
        {"train shapes --recipe tutorial --beta-start .1 --beta-end .01",
         "--beta-end: expected at least"},
        {"sample", "--out"},
        {"sample --out @x.png", "expected MODEL|RUN, or --like"},
        {"sample m", "--out"},
        {"sample m --out @x.gif", "expected x.png, x.npy or a folder"},
        {"sample m --out @x.png -n 1000000 --size 100", "too many for one picture"},
        /* Small images are enlarged and have margins, so 4x4 is not 16 pixels. */
        {"sample m --out @x.png -n 7000 --size 4x4", "7000 images of 4x4 are too many"},
        {"data preview shapes -n 10000 --out @x.png", "give a smaller -n"},
        {"predict m --x a --t b", "--out eps.npy is missing"},
        {"predict m --x a --t b --out @x.png", "ends with .npy"},
        {"convert a", "expected IN OUT"},
        {"convert a @b.bin", "ends with .safetensors or .pth"},
        {"info", "expected FILE"},
        {"diff a", "expected A B"},
        {"bench", "expected one more word"},
        {"bench train --step 3", "did you mean --steps?"},
        {"bench sample --svg @x.svg", "give both"},
        {"bench train --profile --steps 1001", "--steps: expected a whole number from 1 to 1000"},
        {"train shapes --recipe tutorial --precision fp16",
         "--precision: expected fp32, bf16 or fixed16, found 'fp16'"},
        {"sample m --out @x.png --precision bf1", "did you mean bf16?"},
        {"predict m --x a --t b --out @x.npy --precision 32", "expected fp32, bf16 or fixed16"},
        {"bench train --precision double", "expected fp32, bf16 or fixed16"},
        {"train --resume @run --precision bf16", "--precision cannot be changed"},
        {"--batch", "expected a command"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_failed_run(*state, cases[i][0], 2, cases[i][1]);
}

static void test_missing_files(void **state)
{
    static const char *const cases[][2] = {
        {"data info @none", "/none: no such file or folder"},
        {"data info fashionmnist", "did you mean"},
        {"data preview shapes --out @no/x.png", "there is no folder"},
        {"train @none --recipe tutorial --out @run", "/none: no such file or folder"},
        {"train --resume @none", "there is no such run"},
        {"sample @none.pth --out @x.png", "none.pth"},
        {"sample @none.pth --out @no/x.png", "there is no folder"},
        {"predict @none.pth --x @x.npy --t @t.npy --out @e.npy", "none.pth"},
        {"predict @none.pth --x @x.npy --t @t.npy --out @no/e.npy", "there is no folder"},
        {"convert @none.pth @x.safetensors", "none.pth"},
        {"convert @none.pth @no/x.safetensors", "there is no folder"},
        {"bench train --profile --svg @no/x.svg", "there is no folder"},
        {"info @none", "no such file"},
        {"info /dev/null", "/dev/null: expected a file or folder, found a device"},
        {"diff @none @none", "none"},
    };
    temp_folder *temp = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_failed_run(temp, cases[i][0], 10 + SUMI_EIO, cases[i][1]);
    assert_int_equal(temp_entries(temp->path), 2); /* .out and .err: nothing was left behind */
}

static void test_devices(void **state)
{
    assert_failed_run(*state, "classify train shapes --device cuda --out @e.safetensors",
                      10 + SUMI_EUNSUPPORTED, "device cuda is not there; there is: cpu");
    assert_failed_run(*state, "bench train --device mps", 10 + SUMI_EUNSUPPORTED,
                      "device mps is not there; there is: cpu");
}

static void test_errors_as_json(void **state)
{
    program p;
    program_run(&p, *state, "info @none --json");
    assert_int_equal(p.code, 14);
    assert_string_equal(p.out, "");
    json_t *error = json_loads(p.err, 0, NULL);
    assert_non_null(error);
    assert_string_equal(json_string_value(json_object_get(error, "status")), "SUMI_EIO");
    assert_int_equal(json_integer_value(json_object_get(error, "exit")), 14);
    json_decref(error);
    program_free(&p);

    program_run(&p, *state, "convert a @b.bin --json");
    assert_int_equal(p.code, 2);
    error = json_loads(p.err, 0, NULL);
    assert_non_null(error);
    assert_int_equal(json_integer_value(json_object_get(error, "exit")), 2);
    json_decref(error);
    program_free(&p);

    /* Nor does it take a command line that can be parsed. */
    static const char *const wrong[] = {
        "train shapes --recipe tutorial --json --epoch 3", "trian shapes --json",
        "train shapes --recipe tutorial --batch 0 --json", "--json"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        program_run(&p, *state, wrong[i]);
        assert_int_equal(p.code, 2);
        error = json_loads(p.err, 0, NULL);
        if (error == NULL)
            fail_msg("sumi %s: not JSON: %s", wrong[i], p.err);
        assert_string_equal(json_string_value(json_object_get(error, "status")), "usage");
        json_decref(error);
        program_free(&p);
    }
    assert_failed_run(*state, "info --bad -- --json", 2, "--bad");

    /* A name that is not UTF-8 cannot stand in JSON as it is: its bytes are escaped. */
    program_run(&p, *state, "info @\xff\xfe --json");
    assert_int_equal(p.code, 14);
    error = json_loads(p.err, 0, NULL);
    assert_non_null(error);
    assert_non_null(
        strstr(json_string_value(json_object_get(error, "error")), "/\\xFF\\xFE: no such"));
    json_decref(error);
    program_free(&p);
}

static void test_data(void **state)
{
    temp_folder *temp = *state;
    program p;
    program_run(&p, temp, "data list");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.out, "shapes"));
    program_free(&p);

    program_run(&p, temp, "data info shapes --size 8x6 --channels 3 --split test --json");
    assert_int_equal(p.code, 0);
    json_t *info = json_loads(p.out, 0, NULL);
    assert_non_null(info);
    assert_int_equal(json_integer_value(json_object_get(info, "count")), 10000);
    assert_int_equal(json_integer_value(json_object_get(info, "height")), 8);
    assert_int_equal(json_integer_value(json_object_get(info, "width")), 6);
    assert_int_equal(json_integer_value(json_object_get(info, "channels")), 3);
    assert_int_equal(json_array_size(json_object_get(info, "classes")), 10);
    double mean = json_real_value(json_object_get(info, "mean"));
    assert_true(mean > 0 && mean < 1);
    json_decref(info);
    program_free(&p);

    program_run(&p, temp, "data preview shapes -n 9 --size 8 --out @x.png");
    assert_int_equal(p.code, 0);
    assert_string_equal(p.out, "");
    program_free(&p);
    sumi_image image;
    assert_int_equal(sumi_image_read(temp_path(temp, "x.png"), &image, NULL), SUMI_OK);
    assert_int_equal(image.channels, 1);
    sumi_image_free(&image);
    assert_quiet_run(temp, "data preview shapes -n 9 --size 8 -qo @x.png");
}

static void write_file(temp_folder *temp, const char *name, const void *data, size_t size)
{
    assert_int_equal(sumi_file_save(temp_path(temp, name), data, size, NULL), SUMI_OK);
}

static void test_info_of_files(void **state)
{
    temp_folder *temp = *state;
    float values[6] = {1, 2, 3, 4, 5, 9};
    const sumi_npy array = {SUMI_NPY_F32, 2, {2, 3}, 6, values};
    program p;
    assert_int_equal(sumi_npy_write(temp_path(temp, "a.bin"), &array, NULL), SUMI_OK);
    program_run(&p, temp, "info @a.bin --json");
    assert_int_equal(p.code, 0);
    json_t *info = json_loads(p.out, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(info, "kind")), "npy");
    assert_true(json_real_value(json_object_get(info, "mean")) == 4);
    assert_int_equal(json_array_size(json_object_get(info, "shape")), 2);
    json_decref(info);
    program_free(&p);

    /* Tensors that are no network of sumi's are listed all the same. */
    const sumi_file_tensor tensor = {"strange.name", SUMI_FILE_F32, 2, {2, 3}, values, 24, 0};
    const sumi_tensor_file file = {.tensors = (sumi_file_tensor *)&tensor, .count = 1};
    assert_int_equal(sumi_safetensors_write(temp_path(temp, "t"), &file, NULL), SUMI_OK);
    program_run(&p, temp, "info @t");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.out, "strange.name"));
    assert_non_null(strstr(p.out, "[2, 3]"));
    program_free(&p);

    write_file(temp, "page", "<!DOCTYPE html><p>", 18);
    program_run(&p, temp, "info @page");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.out, "an HTML page"));
    program_free(&p);
    write_file(temp, "odd", "\1\2\3\4\5\6\7", 7);
    assert_failed_run(temp, "info @odd", 10 + SUMI_EFORMAT, "not a file that sumi knows");
    write_file(temp, "cut.png", "\x89PNG\r\n\x1a\nxxxx", 12);
    assert_failed_run(temp, "info @cut.png", 10 + SUMI_EFORMAT, "cut.png");
}

static void write_tensors(temp_folder *temp, const char *name, sumi_file_tensor *tensors,
                          size_t count)
{
    const sumi_tensor_file file = {.tensors = tensors, .count = count};
    assert_int_equal(sumi_safetensors_write(temp_path(temp, name), &file, NULL), SUMI_OK);
}

static void test_diff(void **state)
{
    temp_folder *temp = *state;
    float a[4] = {1, 2, 3, 4}, b[4] = {1, 2, 3, 4.5f};
    char name_x[] = "x", name_y[] = "y";
    sumi_file_tensor x = {name_x, SUMI_FILE_F32, 1, {4}, a, 16, 0};
    sumi_file_tensor two[2] = {x, {name_y, SUMI_FILE_F32, 2, {2, 2}, a, 16, 0}};
    program p;
    write_tensors(temp, "a", &x, 1);
    write_tensors(temp, "two", two, 2);
    x.data = b;
    write_tensors(temp, "b", &x, 1);
    x = two[1];
    x.name = name_x;
    write_tensors(temp, "square", &x, 1);

    assert_quiet_run(temp, "diff @a @a");
    assert_quiet_run(temp, "diff @a @b --tolerance .5");
    program_run(&p, temp, "diff @a @b");
    assert_int_equal(p.code, 1);
    assert_non_null(strstr(p.out, "values"));
    assert_non_null(strstr(p.out, "max 0.5"));
    program_free(&p);
    program_run(&p, temp, "diff @a @b --tolerance .49");
    assert_int_equal(p.code, 1);
    program_free(&p);
    program_run(&p, temp, "diff @a @square --tolerance 9");
    assert_int_equal(p.code, 1);
    assert_non_null(strstr(p.out, "shape  F32[4] | F32[2][2]"));
    program_free(&p);
    program_run(&p, temp, "diff @a @two --json");
    assert_int_equal(p.code, 1);
    json_t *result = json_loads(p.out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(result, "equal")), 1);
    assert_int_equal(json_integer_value(json_object_get(result, "different")), 1);
    const json_t *one = json_array_get(json_object_get(result, "differences"), 0);
    assert_string_equal(json_string_value(json_object_get(one, "what")), "only in B");
    json_decref(result);
    program_free(&p);
}

/* What a file says reaches the terminal as text: it neither moves the cursor nor makes lines. */
static void test_untrusted_text(void **state)
{
    temp_folder *temp = *state;
    float values[4] = {1, 2, 3, 4};
    char name[] = "w\x1b[2J\nsteps 999999", key[] = "k\x1b]0;x\a",
         value[] = "hi\x1b[2J\nsteps 9\xc2\x9b";
    sumi_file_tensor tensor = {name, SUMI_FILE_F32, 1, {4}, values, 16, 0};
    sumi_file_pair pair = {key, value};
    sumi_tensor_file file = {
        .tensors = &tensor, .count = 1, .metadata = &pair, .metadata_count = 1};
    const char *const lines[] = {"info @t", "diff @t @u", "data info @set"};
    const char *const found[] = {"hi?[2J?steps 9??", "w?[2J?steps 999999", "cat?[2J?x"};
    assert_int_equal(sumi_safetensors_write(temp_path(temp, "t"), &file, NULL), SUMI_OK);
    values[0] = 2;
    assert_int_equal(sumi_safetensors_write(temp_path(temp, "u"), &file, NULL), SUMI_OK);
    assert_int_equal(sumi_make_dirs(temp_path(temp, "set/cat\x1b[2J\nx"), NULL), SUMI_OK);
    uint8_t pixels[4] = {0};
    const sumi_image image = {2, 2, 1, pixels};
    assert_int_equal(sumi_png_write(temp_path(temp, "set/cat\x1b[2J\nx/a.png"), &image, NULL, NULL),
                     SUMI_OK);
    for (size_t i = 0; i < 3; i++) {
        program p;
        program_run(&p, temp, lines[i]);
        assert_true(p.code == (i == 1 ? 1 : 0));
        if (strpbrk(p.out, "\x1b\a") != NULL || strstr(p.out, "\nsteps") != NULL ||
            strstr(p.out, "\xc2\x9b") != NULL || strstr(p.out, found[i]) == NULL)
            fail_msg("sumi %s: printed %s", lines[i], p.out);
        program_free(&p);
    }
}

/* A result that cannot be written must not look like success. */
static void test_full_disk(void **state)
{
    temp_folder *temp = *state;
    char command[1200];
    if (access("/dev/full", W_OK) != 0)
        skip();
    snprintf(command, sizeof command, "%s data list > /dev/full 2> %s", SUMI_PROGRAM,
             temp_path(temp, ".err"));
    int status = system(command);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 14);
    char *err = program_read(temp, ".err");
    assert_non_null(strstr(err, "sumi: standard output: "));
    assert_int_equal(count_lines(err), 1);
    free(err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_help, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_version, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_usage_errors, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_missing_files, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_devices, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_errors_as_json, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_data, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_info_of_files, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_diff, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_untrusted_text, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_full_disk, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
