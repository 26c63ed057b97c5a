/*
 * What the program says about data: notices on standard error, as text or JSON, beside results on
 * standard output; pictures that cannot be read; data that lies around a run.
 */
#include "program.h"

#include <jansson.h>

#include "data/pictures.h"

static void put_picture(temp_folder *temp, const char *name, int h, int w, int c)
{
    write_picture(temp_path(temp, name), h, w, c, 200);
}

static void put_text(temp_folder *temp, const char *name, const char *text)
{
    write_bytes(temp_path(temp, name), text, strlen(text));
}

static json_t *parse_lines(const char *text)
{
    json_t *lines = json_array();
    for (; *text != '\0'; text = strchr(text, '\n') + 1) {
        json_t *line = json_loadb(text, (size_t)(strchr(text, '\n') - text), 0, NULL);
        if (line == NULL)
            fail_msg("not JSON: %s", text);
        json_array_append_new(lines, line);
    }
    return lines;
}

static void test_notices(void **state)
{
    temp_folder *temp = *state;
    program p;
    put_picture(temp, "sp/Train/a/1.png", 8, 8, 1);
    put_picture(temp, "sp/Train/a/2.png", 8, 8, 3);
    put_picture(temp, "sp/Test/a/1.png", 8, 8, 1);
    put_text(temp, "sp/Train/a/3.webp", "x");
    program_run(&p, temp, "data info @sp");
    assert_int_equal(p.code, 0);
    assert_int_equal(count_lines(p.err), 3);
    assert_int_equal(strncmp(p.err, "the train split is Train; not read: Test\n", 41), 0);
    assert_non_null(strstr(p.err, "\nwarning: left out 1 file,"));
    assert_non_null(strstr(p.err, "\nwarning: 1 of 2 pictures is in colour (a/2.png)"));
    assert_non_null(strstr(p.out, "images    2 of 8x8x3"));
    program_free(&p);

    program_run(&p, temp, "data info @sp --json");
    assert_int_equal(p.code, 0);
    json_t *lines = parse_lines(p.err), *info = json_loads(p.out, 0, NULL);
    assert_int_equal(json_array_size(lines), 3);
    assert_non_null(json_object_get(json_array_get(lines, 0), "note"));
    assert_non_null(json_object_get(json_array_get(lines, 1), "warning"));
    assert_int_equal(json_array_size(json_object_get(info, "notices")), 3);
    assert_int_equal(json_array_size(json_object_get(info, "skipped")), 0);
    json_decref(lines);
    json_decref(info);
    program_free(&p);

    program_run(&p, temp, "data preview @sp --out @x.png -q");
    assert_int_equal(p.code, 0);
    assert_string_equal(p.err, "");
    program_free(&p);
    program_run(&p, temp, "data preview @sp --split test --out @x.png");
    assert_non_null(strstr(p.err, "the test split is Test; not read: Train\n"));
    program_free(&p);
    program_run(&p, temp, "info @sp");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.out, "left out 1 file"));
    program_free(&p);
}

static void test_splits_among_classes(void **state)
{
    temp_folder *temp = *state;
    put_picture(temp, "v/train/1.png", 8, 8, 1);
    put_picture(temp, "v/bus/1.png", 8, 8, 1);
    assert_failed_run(temp, "data info @v", 10 + SUMI_EINVAL, "--split all");
    assert_failed_run(temp, "train @v --recipe tutorial --out @run", 10 + SUMI_EINVAL,
                      "leaves out bus/1.png");
    assert_quiet_run(temp, "data preview @v --split all -qo @x.png");
    assert_quiet_run(
        temp,
        "train @v --recipe tutorial --split all --steps 1 --batch 2 --base-channels 4 --grid 0 -q "
        "--out @run");
    assert_quiet_run(temp, "train --resume @run --steps 2 -q");
}

static void put_some_bad(temp_folder *temp)
{
    put_picture(temp, "bad/a.png", 8, 8, 1);
    put_picture(temp, "bad/b.png", 8, 8, 1);
    put_text(temp, "bad/c.png", "");
    put_text(temp, "bad/d.jpg", "GIF89a");
}

static void test_skip_bad(void **state)
{
    temp_folder *temp = *state;
    program p;
    put_some_bad(temp);
    assert_failed_run(temp, "data info @bad", 10 + SUMI_EFORMAT,
                      "2 of 4 pictures cannot be read: c.png");
    assert_failed_run(temp, "train @bad --recipe tutorial --out @run", 10 + SUMI_EFORMAT,
                      "--skip-bad");
    program_run(&p, temp, "data info @bad --skip-bad --json");
    assert_int_equal(p.code, 0);
    json_t *info = json_loads(p.out, 0, NULL);
    const json_t *skipped = json_object_get(info, "skipped");
    assert_int_equal(json_array_size(skipped), 2);
    assert_int_equal(strncmp(json_string_value(json_array_get(skipped, 0)), "c.png: ", 7), 0);
    json_decref(info);
    program_free(&p);
    program_run(&p, temp, "info @bad");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.out, "left out 2 of 4 pictures"));
    program_free(&p);
    program_run(&p, temp, "data preview @bad --skip-bad --out @x.png");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.err, "warning: left out 2 of 4 pictures"));
    program_free(&p);
}

/* A run keeps what was skipped, and skips it again when it goes on. */
static void test_a_run_keeps_what_was_skipped(void **state)
{
    temp_folder *temp = *state;
    put_some_bad(temp);
    program p;
    program_run(
        &p, temp,
        "train @bad --recipe tutorial --skip-bad --steps 1 --batch 2 --base-channels 4 --grid 0 "
        "--out @run");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.err, "warning: left out 2 of 4 pictures"));
    program_free(&p);
    char *text = program_read(temp, "run/skipped.txt");
    assert_int_equal(count_lines(text), 2);
    assert_int_equal(strncmp(text, "c.png: ", 7), 0);
    assert_non_null(strstr(text, "\nd.jpg: "));
    free(text);
    text = program_read(temp, "run/train.log");
    assert_non_null(strstr(text, "data: left out 2 of 4 pictures"));
    free(text);
    json_t *config = NULL;
    assert_int_equal(sumi_json_read(temp_path(temp, "run/config.json"), &config, NULL), SUMI_OK);
    const json_t *data = json_object_get(config, "data");
    assert_true(json_is_true(json_object_get(data, "skip_bad")));
    assert_int_equal(json_integer_value(json_object_get(data, "skipped")), 2);
    json_decref(config);
    program_run(&p, temp, "train --resume @run --steps 2");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.err, "warning: left out 2 of 4 pictures"));
    program_free(&p);
    assert_failed_run(temp, "train --resume @run --skip-bad", 2, "--skip-bad cannot be changed");
    /* A third that is lost makes other data. */
    put_text(temp, "bad/b.png", "x");
    assert_failed_run(temp, "train --resume @run --steps 3 -q", 10 + SUMI_EINVAL,
                      "2 images and 2 skipped, now 1 and 3");
}

static void test_runs_in_the_data(void **state)
{
    temp_folder *temp = *state;
    char before[1024];
    program p;
    put_picture(temp, "pics/a.png", 8, 8, 1);
    put_picture(temp, "pics/b.png", 8, 8, 1);
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(temp_path(temp, "pics")), 0);
    assert_quiet_run(
        temp,
        "train . --recipe tutorial --steps 1 --batch 2 --base-channels 4 --timesteps 4 --grid 1 -q "
        "--out runs/deep/first");
    assert_true(sumi_is_file("runs/deep/first/samples/step_00000001.png") ||
                sumi_is_file("runs/deep/first/samples/epoch_000.png"));
    assert_quiet_run(temp, "train --resume runs/deep/first --steps 2 -q");
    program_run(&p, temp, "data info .");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.out, "images    2 of"));
    assert_non_null(
        strstr(p.err, "left out 1 run of sumi, whose pictures are no data: runs/deep/first"));
    program_free(&p);
    assert_failed_run(temp, "train runs/deep/first", 10 + SUMI_EFORMAT, "sumi train --resume");
    assert_int_equal(chdir(before), 0);
}

static void move_entry(temp_folder *temp, const char *from, const char *to)
{
    assert_int_equal(rename(temp_path(temp, from), temp_path(temp, to)), 0);
}

#define TINY "--steps 1 --batch 2 --base-channels 4 --grid 0 -q"

/* Data that were moved are named anew; what is not the run's data is refused. */
static void test_moved_data(void **state)
{
    temp_folder *temp = *state;
    uint8_t pixels[3 * 8 * 8], labels[3] = {0, 1, 1};
    memset(pixels, 200, sizeof pixels);
    const sumi_npy array = {SUMI_NPY_U8, 3, {3, 8, 8}, sizeof pixels, pixels};
    const sumi_npy classes = {SUMI_NPY_U8, 1, {3}, 3, labels};
    put_picture(temp, "old/pics/a/1.png", 8, 8, 1);
    put_picture(temp, "old/pics/b/1.png", 8, 8, 1);
    assert_int_equal(sumi_npy_write(temp_path(temp, "old/x.npy"), &array, NULL), SUMI_OK);
    assert_int_equal(sumi_npy_write(temp_path(temp, "old/x_labels.npy"), &classes, NULL), SUMI_OK);
    char idx[16 + 128] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 8};
    memset(idx + 16, 99, 128);
    assert_int_equal(sumi_file_save(temp_path(temp, "old/my-idx"), idx, sizeof idx, NULL), SUMI_OK);
    static const char *const names[] = {"pics", "x.npy", "my-idx"};
    char line[256], where[64];
    for (int i = 0; i < 3; i++) {
        snprintf(line, sizeof line, "train @old/%s --recipe tutorial --out @run%d " TINY, names[i],
                 i);
        assert_quiet_run(temp, line);
    }
    move_entry(temp, "old", "new");
    move_entry(temp, "new/my-idx", "new/renamed");
    for (int i = 0; i < 3; i++) {
        snprintf(line, sizeof line, "train --resume @run%d --steps 2 -q", i);
        snprintf(where, sizeof where, "/old/%s, which is not there", names[i]);
        assert_failed_run(temp, line, 10 + SUMI_EIO, where);
        assert_failed_run(temp, line, 10 + SUMI_EIO, "sumi train D --resume");
        /* Not these: others. */
        snprintf(line, sizeof line, "train @new/%s --resume @run%d --steps 2 -q",
                 i == 0 ? "x.npy" : "pics", i);
        assert_failed_run(temp, line, 10 + SUMI_EINVAL, "was trained on other data than");
        snprintf(line, sizeof line, "train @new/%s --resume @run%d --steps 2 -q",
                 i == 2 ? "renamed" : names[i], i);
        assert_quiet_run(temp, line);
        /* From here on the run knows. */
        snprintf(line, sizeof line, "train --resume @run%d --steps 3 -q", i);
        assert_quiet_run(temp, line);
    }
    assert_failed_run(temp, "train @nowhere --resume @run0 --steps 4 -q", 10 + SUMI_EIO, "nowhere");
    put_picture(temp, "new/pics/b/2.png", 8, 8, 1);
    assert_failed_run(temp, "train @new/pics --resume @run0 --steps 4 -q", 10 + SUMI_EINVAL,
                      "2 images and 0 skipped, now 3 and 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_notices, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_splits_among_classes, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_skip_bad, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_a_run_keeps_what_was_skipped, temp_setup,
                                        temp_teardown),
        cmocka_unit_test_setup_teardown(test_moved_data, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_runs_in_the_data, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests_name("data", tests, NULL, NULL);
}
