/*
 * Images of unusual shapes through the whole program: sides that a network cannot halve, channels
 * that are neither grey nor colours, and what is too small.
 */
#include "program.h"

#include <jansson.h>

#include "cli/cli.h"
#include "io/io.h"

#define TINY                                                                                       \
    "--net unet --base-channels 8 --multipliers 1,2,2 --blocks 1,1,1 --time-dim 8 --timesteps 20 " \
    "--steps 2 --batch 4 --quiet --threads 2 "

enum { COUNT = 6, MANY = 300 };

static void put_images(temp_folder *temp, const char *name, int n, int h, int w, int c)
{
    sumi_npy array = {.dtype = SUMI_NPY_U8, .rank = 4, .shape = {n, h, w, c}};
    array.count = (size_t)n * (size_t)(h * w * c);
    uint8_t *pixels = malloc(array.count);
    assert_non_null(pixels);
    for (size_t i = 0; i < array.count; i++)
        pixels[i] = (uint8_t)(i * 37 % 251);
    array.data = pixels;
    assert_int_equal(sumi_npy_write(temp_path(temp, name), &array, NULL), SUMI_OK);
    free(pixels);
}

static void put_array(temp_folder *temp, const char *name, int h, int w, int c)
{
    put_images(temp, name, COUNT, h, w, c);
}

static void assert_sampled(temp_folder *temp, const char *name, int n, int h, int w, int c)
{
    sumi_npy array;
    assert_int_equal(sumi_npy_read(temp_path(temp, name), &array, NULL), SUMI_OK);
    assert_int_equal(array.shape[0], n);
    assert_int_equal(array.shape[1], h);
    assert_int_equal(array.shape[2], w);
    assert_int_equal(array.shape[3], c);
    sumi_npy_free(&array);
}

static void assert_picture(temp_folder *temp, const char *name, int channels)
{
    sumi_image image;
    assert_int_equal(sumi_image_read(temp_path(temp, name), &image, NULL), SUMI_OK);
    assert_int_equal(image.channels, channels);
    sumi_image_free(&image);
}

/* Five channels of 9x14: padded to 12x16 inside. Grids show three of them, or of two the first. */
static void test_any_shape(void **state)
{
    temp_folder *temp = *state;
    put_array(temp, "five.npy", 9, 14, 5);
    put_array(temp, "two.npy", 5, 7, 2);
    assert_quiet_run(temp, "train @five.npy --recipe tutorial " TINY
                           "--attention 2,3 --grid 2 --out @five");
    assert_picture(temp, "five/samples/epoch_000.png", 3);
    assert_quiet_run(temp, "sample @five -n 3 --steps 2 -qo @some.npy");
    assert_sampled(temp, "some.npy", 3, 9, 14, 5);
    assert_quiet_run(temp, "sample @five --size 17x5 -n 2 --steps 2 -qo @other.npy");
    assert_sampled(temp, "other.npy", 2, 17, 5, 5);
    assert_quiet_run(temp, "sample @five -n 3 --steps 2 --gif @x.gif -qo @grid.png");
    assert_picture(temp, "grid.png", 3);
    assert_failed_run(temp, "sample @five -n 3 --steps 2 -o @folder/", 2,
                      "images of 5 channels are no PNG each; give x.npy, or x.png for a grid of "
                      "the first three");
    assert_quiet_run(temp, "train --resume @five --steps 3 --quiet --threads 2");
    assert_quiet_run(temp, "data preview @two.npy -qo @two.png");
    assert_picture(temp, "two.png", 1);
}

static void test_refused(void **state)
{
    temp_folder *temp = *state;
    put_array(temp, "small.npy", 4, 3, 1);
    put_array(temp, "many.npy", 4, 4, 17);
    put_array(temp, "four.npy", 4, 4, 4);
    assert_failed_run(temp, "train @small.npy --recipe tutorial " TINY "--out @bad", 16,
                      "images of 4x3 are too small for a network that halves them 2 times: "
                      "expected 4x4 or more");
    assert_failed_run(temp, "train @many.npy --recipe tutorial " TINY "--out @bad", 16,
                      "expected 1 to 16 channels last");
    assert_failed_run(temp, "train @four.npy --recipe tutorial " TINY "--channels 3 --out @bad", 13,
                      "images of 4 channels cannot be made ones of 3");
}

/* What sample draws where nobody says: the tutorial alone draws 28x28 at 32x32. */
static void test_without_a_size(void **state)
{
    (void)state;
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    int height, width;
    snprintf(info.net, sizeof info.net, "tutorial");
    assert_false(sumi_cli_sample_size(&info, &height, &width));
    assert_int_equal(height, 32);
    assert_int_equal(width, 32);
    info.height = info.width = 28;
    assert_true(sumi_cli_sample_size(&info, &height, &width));
    assert_int_equal(height, 32);
    snprintf(info.net, sizeof info.net, "unet");
    assert_false(sumi_cli_sample_size(&info, &height, &width));
    assert_int_equal(height, 28);
    assert_int_equal(width, 28);
    info.width = 20;
    assert_false(sumi_cli_sample_size(&info, &height, &width));
    assert_int_equal(width, 20);
}

/* What is scored has the size of the training, the tutorial's 28x28, too: nothing lies outside of
 * the data's frame. */
static void test_scored_size(void **state)
{
    temp_folder *temp = *state;
    put_images(temp, "many.npy", MANY, 28, 28, 1);
    assert_quiet_run(temp,
                     "train @many.npy --recipe tutorial --base-channels 4 --steps 1 --batch 4 "
                     "--grid 0 -qo @tutorial");
    program p;
    program_run(&p, temp, "eval @tutorial --data @many.npy -n 130 --steps 1 --json -q");
    if (p.code != 0)
        fail_msg("eval: exit %d, %s", p.code, p.err);
    json_t *report = json_loads(p.out, 0, NULL);
    assert_non_null(report);
    assert_true(json_real_value(json_object_get(report, "outside")) == 0);
    json_decref(report);
    program_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_size),
        cmocka_unit_test_setup_teardown(test_any_shape, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_scored_size, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_refused, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
