/*
 * Names of files with any bytes, from the data to the pictures: what is written and said is UTF-8,
 * names are cut between characters only, and a resumed run finds its data.
 */
#include "program.h"

#include <jansson.h>

#include "io/io.h"

#define TINY                                                                                       \
    "--recipe tutorial --size 8x8 --batch 4 --base-channels 4 --time-dim 8 --timesteps 20 --grid " \
    "0 --threads 2"
#define LATIN "caf\xE9"
#define ESCAPED "caf\\xE9"
/* 66 characters of three bytes: as long as a name of a folder is in practice, and longer than what
 * is kept of it. */
#define TEN                                                                                        \
    "\xE5\xA2\xA8\xE7\xB5\xB5\xE5\xA2\xA8\xE7\xB5\xB5\xE5\xA2\xA8\xE7\xB5\xB5\xE5\xA2\xA8"         \
    "\xE7\xB5\xB5\xE5\xA2\xA8\xE7\xB5\xB5"
#define JAPANESE TEN TEN TEN TEN TEN TEN "\xE5\xA2\xA8\xE5\xA2\xA8\xE5\xA2\xA8\xE5\xA2\xA8"

/* Eight pictures in two classes, FOLDER/a and FOLDER/CLASS. */
static void make_pictures(temp_folder *temp, const char *folder, const char *class)
{
    uint8_t pixels[64];
    for (int i = 0; i < 8; i++) {
        char name[512];
        snprintf(name, sizeof name, "%s/%s", folder, i % 2 ? class : "a");
        assert_int_equal(sumi_make_dirs(temp_path(temp, name), NULL), SUMI_OK);
        snprintf(name, sizeof name, "%s/%s/" LATIN "%d.png", folder, i % 2 ? class : "a", i);
        memset(pixels, 30 * i, sizeof pixels);
        const sumi_image image = {8, 8, 1, pixels};
        assert_int_equal(sumi_png_write(temp_path(temp, name), &image, NULL, NULL), SUMI_OK);
    }
}

/* Runs and expects success; everything that it says is UTF-8. The result is the caller's. */
static program run_text(temp_folder *temp, const char *line)
{
    program p;
    program_run(&p, temp, line);
    if (p.code != 0)
        fail_msg("sumi %s: exit %d, %s", line, p.code, p.err);
    assert_true(sumi_utf8_valid(p.out, strlen(p.out)));
    assert_true(sumi_utf8_valid(p.err, strlen(p.err)));
    return p;
}

static void expect_out(temp_folder *temp, const char *line, const char *key, const char *value)
{
    program p = run_text(temp, line);
    json_t *result = json_loads(p.out, 0, NULL);
    const char *found = json_string_value(json_object_get(result, key));
    if (found == NULL || strstr(found, value) == NULL)
        fail_msg("sumi %s: %s", line, p.out);
    json_decref(result);
    program_free(&p);
}

static void test_latin_folder(void **state)
{
    temp_folder *temp = *state;
    make_pictures(temp, LATIN, "na\xEFve");
    expect_out(temp, "train @" LATIN " --steps 2 --json --out @r" LATIN " " TINY, "run",
               "/r" ESCAPED);
    /* What the run wrote is JSON, and unescaping gives the path back. */
    json_t *config = NULL;
    assert_int_equal(sumi_json_read(temp_path(temp, "r" LATIN "/config.json"), &config, NULL),
                     SUMI_OK);
    const json_t *data = json_object_get(config, "data");
    assert_string_equal(json_string_value(json_object_get(data, "name")), ESCAPED);
    char *path = sumi_strdup(json_string_value(json_object_get(data, "path")));
    sumi_unescape_text(path);
    assert_string_equal(path, temp_path(temp, LATIN));
    free(path);
    json_decref(config);
    expect_out(temp, "train --resume @r" LATIN " --steps 4 --json --threads 2", "run",
               "/r" ESCAPED);
    static const char *const texts[] = {"train.log", "index.html", "metrics.csv"};
    for (size_t i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "r" LATIN "/%s", texts[i]);
        char *text = program_read(temp, name);
        assert_true(sumi_utf8_valid(text, strlen(text)));
        free(text);
    }
}

static void test_latin_outputs(void **state)
{
    temp_folder *temp = *state;
#define QUICK " -n 1 --size 8x8 --solver ddim --steps 2 --threads 2 --json"
    expect_out(temp, "sample @r" LATIN " --out @s" LATIN ".png" QUICK, "out", "/s" ESCAPED ".png");
    expect_out(temp, "sample @r" LATIN "/model.pth --out @s" LATIN ".npy" QUICK, "out",
               "/s" ESCAPED ".npy");
    expect_out(temp, "sample @r" LATIN " --out @s" LATIN "/" QUICK, "out", "/s" ESCAPED "/");
    assert_true(sumi_is_file(temp_path(temp, "s" LATIN ".png")));
    assert_true(sumi_is_file(temp_path(temp, "s" LATIN ".npy")));
    assert_true(sumi_is_file(temp_path(temp, "s" LATIN "/000000.png")));
    expect_out(temp, "convert @r" LATIN "/model.pth @m" LATIN ".safetensors --json", "out",
               "/m" ESCAPED ".safetensors");
    expect_out(temp, "info @m" LATIN ".safetensors --json", "path", "/m" ESCAPED ".safetensors");
    expect_out(temp, "data preview @" LATIN " --out @p" LATIN ".png --json", "out",
               "/p" ESCAPED ".png");
    expect_out(temp, "data info @" LATIN " --json", "name", ESCAPED);
    static const char *const plain[] = {"data info @" LATIN, "info @m" LATIN ".safetensors",
                                        "info @r" LATIN,
                                        "diff @m" LATIN ".safetensors @r" LATIN "/model.pth"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        program p = run_text(temp, plain[i]);
        program_free(&p);
    }
    program p = run_text(temp, "data info @" LATIN);
    assert_non_null(strstr(p.out, "na\\xEFve"));
    program_free(&p);
}

static void test_latin_messages(void **state)
{
    temp_folder *temp = *state;
    static const char *const lines[] = {"info @no" LATIN,
                                        "train @no" LATIN " --out @x",
                                        "sample @no" LATIN " --out @x.png",
                                        "convert @no" LATIN ".pth @x.pth",
                                        "sample @r" LATIN " --out @no" LATIN "/x.png",
                                        "data info @no" LATIN,
                                        "train @" LATIN " --out @r" LATIN};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        for (int json = 0; json < 2; json++) {
            char line[256];
            program p;
            snprintf(line, sizeof line, "%s%s", lines[i], json ? " --json" : "");
            program_run(&p, temp, line);
            if (p.code < 2 || !sumi_utf8_valid(p.err, strlen(p.err)) ||
                !strstr(p.err, json ? "caf\\\\xE9" : ESCAPED) || count_lines(p.err) != 1)
                fail_msg("sumi %s: exit %d, %s", line, p.code, p.err);
            program_free(&p);
        }
}

static void test_long_name(void **state)
{
    temp_folder *temp = *state;
    _Static_assert(sizeof JAPANESE - 1 > 190, "a long name");
    make_pictures(temp, JAPANESE, JAPANESE);
    program p = run_text(temp, "train @" JAPANESE " --steps 2 --out @long " TINY);
    program_free(&p);
    json_t *config = NULL;
    assert_int_equal(sumi_json_read(temp_path(temp, "long/config.json"), &config, NULL), SUMI_OK);
    const char *name = json_string_value(json_object_get(json_object_get(config, "data"), "name"));
    assert_int_equal(strlen(name), 63);
    assert_memory_equal(name, JAPANESE, 63);
    json_decref(config);
    p = run_text(temp, "train --resume @long --steps 3 --threads 2");
    program_free(&p);
    p = run_text(temp, "data info @" JAPANESE " --json");
    program_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latin_folder),
        cmocka_unit_test(test_latin_outputs),
        cmocka_unit_test(test_latin_messages),
        cmocka_unit_test(test_long_name),
    };
    return cmocka_run_group_tests(tests, temp_setup, temp_teardown);
}
