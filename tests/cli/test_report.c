/*
 * What the commands share: numbers and command lines as text, the progress bar, and output files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/temp_folder.h"
#include "cli/progress.h"
#include "io/io.h"

static void test_durations(void **state)
{
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {{0, "00:00"},        {59.9, "00:59"},    {60, "01:00"},  {3599, "59:59"},
                 {3600, "1:00:00"},   {-5, "00:00"},      {NAN, "00:00"}, {1e300, "00:00"},
                 {90061, "25:01:01"}, {86399, "23:59:59"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[32];
        sumi_format_duration(cases[i].seconds, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_shortest_numbers(void **state)
{
    static const double values[] = {.1, 1. / 3, .0522, 0.052212345678901234, 1e-30, 5, 0.1 + 0.2};
    static const char *const texts[] = {
        "0.1", "0.3333333333333333", "0.0522", "0.052212345678901234", "1e-30",
        "5",   "0.30000000000000004"};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char text[32];
        sumi_format_shortest(values[i], text);
        assert_string_equal(text, texts[i]);
        assert_true(strtod(text, NULL) == values[i]);
    }
}

static void test_shell_lines(void **state)
{
    static const char *const words[] = {"sumi", "a b", "", "it's", "x.npy", "$HOME"};
    (void)state;
    char *line = sumi_shell_line(6, words);
    assert_string_equal(line, "sumi 'a b' '' 'it'\\''s' x.npy '$HOME'");
    free(line);
    static const char *const latin[] = {"--out", "it's caf\xE9 \\x\xE9"};
    line = sumi_shell_line(2, latin);
    assert_string_equal(line, "--out $'it\\'s caf\\xE9 \\\\x\\xE9'");
    free(line);
    line = sumi_shell_line(0, NULL);
    assert_string_equal(line, "");
    free(line);
}

/* ---- The bar --------------------------------------------------------------------------------- */

static sumi_progress half_way(void)
{
    return (sumi_progress){.size = sizeof(sumi_progress),
                           .phase = SUMI_PHASE_TRAIN,
                           .step = 50,
                           .step_count = 100,
                           .epoch = 2,
                           .epoch_count = 10,
                           .loss = .04,
                           .learning_rate = 1e-3,
                           .images_per_s = 812,
                           .elapsed_s = 151,
                           .eta_s = 61};
}

static void test_bar_text(void **state)
{
    sumi_bar bar = {.loss = .04};
    sumi_progress p = half_way();
    char text[512];
    (void)state;
    sumi_bar_text(&bar, &p, 110, text, sizeof text);
    assert_string_equal(text,
                        "epoch 3/10  50% |###############...............| 50/100 [02:31<01:01, "
                        "812 img/s, loss 0.04, lr 0.001]");
    p.waiting = .12; /* for other ranks */
    sumi_bar_text(&bar, &p, 110, text, sizeof text);
    assert_non_null(strstr(text, "812 img/s, 12 % waiting, loss 0.04, lr 0.001]"));
    p.waiting = 0;
    bar.unicode = true;
    p.step = 25;
    sumi_bar_text(&bar, &p, 78, text, sizeof text);
    assert_non_null(strstr(text, "25% |"));
    assert_non_null(strstr(text, "\xE2\x96\x88"));
    p.step = 100;
    sumi_bar_text(&bar, &p, 110, text, sizeof text);
    assert_null(strchr(strchr(text, '|') + 1, ' ') < strrchr(text, '|') ? "a hole" : NULL);
}

static void test_bar_fits_every_width(void **state)
{
    sumi_bar bar = {.loss = .04};
    sumi_progress p = half_way();
    char text[512];
    (void)state;
    for (int width = 0; width < 160; width++)
        for (p.step = 0; p.step <= 100; p.step += 20) {
            sumi_bar_text(&bar, &p, width, text, sizeof text);
            assert_true((int)strlen(text) <= width);
        }
}

static void test_bar_without_an_end(void **state)
{
    sumi_bar bar = {.loss = .04};
    sumi_progress p = half_way();
    char text[512];
    (void)state;
    p.step_count = 0; /* limited by time: the end is known, the number of steps is not */
    p.elapsed_s = 30;
    p.eta_s = 90;
    p.epoch_count = 0;
    sumi_bar_text(&bar, &p, 120, text, sizeof text);
    assert_non_null(strstr(text, "epoch 3  25% |"));
    assert_non_null(strstr(text, "50 steps [00:30<01:30"));
    p.eta_s = -1;
    sumi_bar_text(&bar, &p, 120, text, sizeof text);
    assert_null(strchr(text, '%'));
    assert_non_null(strstr(text, "[00:30<?"));
}

static void test_bar_remembers(void **state)
{
    sumi_bar bar = {.show = SUMI_SHOW_NOTHING, .loss = NAN};
    sumi_progress p = half_way();
    (void)state;
    assert_int_equal(sumi_bar_update(&bar, &p), 0);
    assert_true(bar.loss == .04);
    p.loss = .09;
    p.step = 51;
    sumi_bar_update(&bar, &p);
    assert_true(fabs(bar.loss - .065) < 1e-12); /* a mean as long as there are few */
    for (int i = 0; i < 1000; i++)
        sumi_bar_update(&bar, &p);
    assert_true(fabs(bar.loss - .09) < 1e-6);
    p.phase = SUMI_PHASE_EPOCH;
    p.loss = .05;
    sumi_bar_update(&bar, &p);
    p.phase = SUMI_PHASE_SAMPLE; /* a grid within the training counts for itself */
    p.step = 7;
    sumi_bar_update(&bar, &p);
    assert_true(bar.epochs == 3 && bar.epoch_loss == .05 && bar.steps == 51);
}

/* ---- Output files ---------------------------------------------------------------------------- */

static void test_output_is_checked(void **state)
{
    temp_folder *temp = *state;
    sumi_error err = {""};
    const char *folder = temp_path(temp, "folder");
    assert_int_equal(mkdir(folder, 0777), 0);
    assert_int_equal(sumi_check_output(temp_path(temp, "x.png"), &err), SUMI_OK);
    assert_int_equal(sumi_check_output("x.png", &err), SUMI_OK);
    assert_int_equal(sumi_check_output(folder, &err), SUMI_EIO);
    assert_non_null(strstr(err.text, "found a folder"));
    assert_int_equal(sumi_check_output(temp_path(temp, "no/x.png"), &err), SUMI_EIO);
    assert_non_null(strstr(err.text, "there is no folder"));
    assert_int_equal(sumi_check_output("/dev/null", &err), SUMI_EIO);
    assert_int_equal(sumi_check_output_dir(temp_path(temp, "a/b/c/"), &err), SUMI_OK);
    assert_int_equal(sumi_check_output_dir(folder, &err), SUMI_OK);
    assert_int_equal(sumi_file_save(temp_path(temp, "file"), "x", 1, &err), SUMI_OK);
    assert_int_equal(sumi_check_output_dir(temp_path(temp, "file"), &err), SUMI_EIO);
    assert_int_equal(sumi_check_output_dir(temp_path(temp, "file/d"), &err), SUMI_EIO);
    assert_int_equal(temp_entries(temp->path), 2); /* checking makes nothing */
    if (geteuid() == 0)
        return; /* root may write everywhere */
    assert_int_equal(chmod(temp_path(temp, "file"), 0444), 0);
    assert_int_equal(sumi_check_output(temp_path(temp, "file"), &err), SUMI_EIO);
    assert_non_null(strstr(err.text, "/file: "));
    assert_int_equal(chmod(folder, 0555), 0);
    assert_int_equal(sumi_check_output(temp_path(temp, "folder/x.png"), &err), SUMI_EIO);
    assert_int_equal(sumi_check_output_dir(temp_path(temp, "folder/d"), &err), SUMI_EIO);
}

static const char *const output_names[] = {"x.npy", "x.png", "d/"};

/* Two pictures of 3x4, one after the other, to each kind of output. */
static void test_pictures(void **state)
{
    temp_folder *temp = *state;
    uint8_t pixels[2 * 3 * 4];
    sumi_error err = {""};
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(10 * i);
    for (int kind = 0; kind < 3; kind++) {
        sumi_output output = {.path = temp_path(temp, output_names[kind]),
                              .first_index = 57,
                              .n = 2,
                              .h = 3,
                              .w = 4,
                              .c = 1,
                              .comment = "made by a test"};
        assert_int_equal(sumi_output_begin(&output, &err), SUMI_OK);
        for (int i = 0; i < 2; i++)
            assert_int_equal(sumi_output_add(&output, pixels + 12 * i, 1, &err), SUMI_OK);
        assert_int_equal(sumi_output_add(&output, pixels, 1, &err), SUMI_EINVAL);
        assert_int_equal(sumi_output_end(&output, &err), SUMI_OK);
    }
    assert_int_equal(temp_entries(temp->path), 3);
    assert_int_equal(temp_entries(temp_path(temp, "d")), 2);
    sumi_npy array;
    assert_int_equal(sumi_npy_read(temp_path(temp, "x.npy"), &array, &err), SUMI_OK);
    assert_true(array.rank == 4 && array.shape[0] == 2 && array.shape[1] == 3 &&
                array.shape[2] == 4 && array.shape[3] == 1 && array.dtype == SUMI_NPY_U8);
    assert_memory_equal(array.data, pixels, sizeof pixels);
    sumi_npy_free(&array);
    sumi_image image;
    assert_int_equal(sumi_image_read(temp_path(temp, "d/000058.png"), &image, &err), SUMI_OK);
    assert_true(image.height == 3 && image.width == 4 && image.channels == 1);
    assert_memory_equal(image.pixels, pixels + 12, 12);
    sumi_image_free(&image);
}

/* Where it ends early, what was added is there: as a folder's files, and as the first images of an
 * array, whichever way it ends. */
static void test_unfinished_pictures(void **state)
{
    temp_folder *temp = *state;
    uint8_t pixels[5 * 6];
    sumi_error err = {""};
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(7 * i);
    for (int kind = 0; kind < 3; kind++) {
        for (int ends = 0; ends < 2; ends++) {
            const char *path = temp_path(temp, output_names[kind]), *left = path;
            sumi_output output = {.path = path, .n = 1000000, .h = 2, .w = 3, .c = 1};
            if (kind == 1)
                output.n = 1000;
            assert_int_equal(sumi_output_begin(&output, &err), SUMI_OK);
            assert_int_equal(sumi_output_add(&output, pixels, 3, &err), SUMI_OK);
            assert_int_equal(sumi_output_add(&output, pixels + 18, 2, &err), SUMI_OK);
            if (ends)
                assert_int_equal(sumi_output_end(&output, &err), SUMI_OK);
            else
                sumi_output_stop(&output);
            if (kind == 0 && !ends)
                left = temp_path(temp, "x.npy.part");
            if (kind == 0) {
                sumi_npy array;
                assert_int_equal(sumi_npy_read(left, &array, &err), SUMI_OK);
                assert_int_equal(array.shape[0], 5);
                assert_memory_equal(array.data, pixels, sizeof pixels);
                sumi_npy_free(&array);
            }
            if (kind == 1)
                assert_true(sumi_is_file(path) == (ends == 1));
            if (kind == 2)
                assert_int_equal(temp_entries(path), 5);
        }
    }
    /* Nothing was added: nothing is left. */
    sumi_output output = {.path = temp_path(temp, "y.npy"), .n = 4, .h = 2, .w = 3, .c = 1};
    assert_int_equal(sumi_output_begin(&output, &err), SUMI_OK);
    assert_true(sumi_is_file(temp_path(temp, "y.npy.part")));
    sumi_output_stop(&output);
    assert_false(sumi_is_file(temp_path(temp, "y.npy.part")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_shortest_numbers),
        cmocka_unit_test(test_shell_lines),
        cmocka_unit_test(test_bar_text),
        cmocka_unit_test(test_bar_fits_every_width),
        cmocka_unit_test(test_bar_without_an_end),
        cmocka_unit_test(test_bar_remembers),
        cmocka_unit_test_setup_teardown(test_output_is_checked, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_pictures, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_unfinished_pictures, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
