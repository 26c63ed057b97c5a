/*
 * sumi sample: where it begins, the levels it goes through, and what it refuses.
 */
#include <math.h>

#include "program.h"

#include <jansson.h>

#include "io/io.h"

enum { SIDE = 8, PIXELS = SIDE * SIDE };

static int make_run(void **state)
{
    if (temp_setup(state) != 0)
        return -1;
    assert_quiet_run(
        *state, "train shapes --recipe tutorial --steps 2 --quiet --out @run --size 8x8 --batch 4 "
                "--base-channels 4 --time-dim 8 --timesteps 40 --grid 0 --threads 2");
    uint8_t pixels[PIXELS * 3];
    for (int i = 0; i < PIXELS * 3; i++)
        pixels[i] = (uint8_t)(i * 255 / (PIXELS * 3 - 1));
    const sumi_image grey = {SIDE, SIDE, 1, pixels}, wide = {SIDE, 4, 1, pixels};
    const sumi_image colour = {SIDE, SIDE, 3, pixels};
    temp_folder *temp = *state;
    assert_int_equal(sumi_png_write(temp_path(temp, "grey.png"), &grey, NULL, NULL), SUMI_OK);
    assert_int_equal(sumi_png_write(temp_path(temp, "wide.png"), &wide, NULL, NULL), SUMI_OK);
    assert_int_equal(sumi_png_write(temp_path(temp, "colour.png"), &colour, NULL, NULL), SUMI_OK);
    return 0;
}

static sumi_npy read_array(temp_folder *temp, const char *name)
{
    sumi_npy array;
    assert_int_equal(sumi_npy_read(temp_path(temp, name), &array, NULL), SUMI_OK);
    return array;
}

static void assert_same_arrays(temp_folder *temp, const char *a, const char *b, bool same)
{
    sumi_npy x = read_array(temp, a), y = read_array(temp, b);
    assert_int_equal(x.count, y.count);
    assert_true((memcmp(x.data, y.data, x.count) == 0) == same);
    sumi_npy_free(&x);
    sumi_npy_free(&y);
}

/* How many evaluations the program says that an image took. */
static double evaluations_of(temp_folder *temp, const char *line)
{
    program p;
    program_run(&p, temp, line);
    if (p.code != 0)
        fail_msg("sumi %s: exit %d, %s", line, p.code, p.err);
    json_t *result = json_loads(p.out, 0, NULL);
    double count = json_number_value(json_object_get(result, "evaluations"));
    json_decref(result);
    program_free(&p);
    return count;
}

/* Mean distance of an array's first image from the grey picture. */
static double change_of(temp_folder *temp, const char *name)
{
    sumi_npy array = read_array(temp, name);
    double sum = 0;
    for (int i = 0; i < PIXELS; i++)
        sum += fabs((double)((const uint8_t *)array.data)[i] - i * 255 / (PIXELS * 3 - 1));
    sumi_npy_free(&array);
    return sum / PIXELS;
}

/* A run of a unet is told of its data's labels, and goes on where it is resumed. */
static void test_labels(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(
        temp, "train shapes --recipe tutorial --net unet --steps 2 --quiet --out @unet --size 8x8 "
              "--batch 4 --base-channels 8 --multipliers 1,2 --blocks 1,1 --lr 0.05 "
              "--time-dim 8 --timesteps 40 --grid 25 --threads 2");
    assert_quiet_run(temp, "train --resume @unet --steps 4 --quiet --threads 2");
    assert_quiet_run(temp, "sample @unet --label 2 -n 2 -qo @two.npy");
    assert_quiet_run(temp, "sample @unet --label 0 -n 2 -qo @none.npy");
    assert_quiet_run(temp, "sample @unet --label all --index 2 -n 1 -qo @third.npy");
    assert_quiet_run(temp, "sample @unet --label 2 --index 2 -n 1 -qo @again.npy");
    assert_same_arrays(temp, "two.npy", "none.npy", false);
    assert_same_arrays(temp, "third.npy", "again.npy", true);
    sumi_image grid; /* a row for each label, as far as 25 come out even */
    assert_int_equal(
        sumi_image_read(temp_path(temp, "unet/samples/step_00000002.png"), &grid, NULL), SUMI_OK);
    assert_true(grid.height == 10 * 98 + 2 && grid.width == 2 * 98 + 2);
    sumi_image_free(&grid);
    /* Names travel with the weights. */
    assert_quiet_run(temp, "convert @unet @unet.pth -q");
    assert_quiet_run(temp, "convert @unet.pth @unet.safetensors -q");
    assert_quiet_run(temp, "sample @unet.safetensors --label disc -n 2 -qo @disc.npy");
    assert_same_arrays(temp, "none.npy", "disc.npy", true);
    assert_quiet_run(temp, "sample @unet --label all --steps 1 -qo @rows.png"); /* 8 of each */
    assert_int_equal(sumi_image_read(temp_path(temp, "rows.png"), &grid, NULL), SUMI_OK);
    assert_true(grid.height == 10 * 98 + 2 && grid.width == 8 * 98 + 2);
    sumi_image_free(&grid);
    assert_failed_run(temp, "sample @unet --label nothing -o @x.npy", 2,
                      "--label: expected all or one of 0");
    assert_failed_run(temp, "sample @run --label 1 -o @x.npy", 2, "was trained without labels");
    assert_failed_run(temp, "train shapes --recipe tutorial --net unet --blocks 1,x --out @bad", 2,
                      "--blocks: expected 1 to 6 numbers with commas");
    assert_failed_run(temp, "train shapes --recipe tutorial --net unet --blocks 1,1 --out @bad", 13,
                      "3 multipliers and 2 blocks");
    assert_failed_run(temp, "train shapes --recipe tutorial --net vnet --out @bad", 2,
                      "did you mean unet?");
}

/* From no label, from another model, and within levels; a picture tells it to --like. */
static void test_guidance(void **state)
{
    temp_folder *temp = *state;
    static const char small[] =
        "train shapes --recipe tutorial --net unet --steps 2 --quiet --out @small --size 8x8 "
        "--batch 4 "
        "--base-channels 4 --multipliers 1,2 --blocks 1,1 --lr 0.05 --time-dim 8 --timesteps 40 "
        "--grid 0 --threads 2";
    assert_quiet_run(temp, small);
    assert_quiet_run(temp, "sample @unet --label 2 -n 2 --guidance 1 -qo @same.npy");
    assert_same_arrays(temp, "two.npy", "same.npy", true);
    assert_true(evaluations_of(temp, "sample @unet --label 2 -n 2 --steps 10 --guidance 3 --json "
                                     "-qo @led.npy") == 20);
    double some = evaluations_of(temp, "sample @unet --label 2 -n 2 --steps 10 --guidance 3 --json "
                                       "--guidance-from 0.1 --guidance-to 0.3 -qo @part.npy");
    assert_true(some > 10 && some < 20);
    assert_quiet_run(temp, "sample @unet -n 2 --guidance 2 --guide @small -qo @away.png");
    assert_quiet_run(temp, "sample --like @away.png -qo @away.npy");
    assert_quiet_run(temp, "sample @unet -n 2 --guidance 2 --guide @small -qo @again.npy");
    assert_quiet_run(temp, "sample @unet -n 2 -qo @plain.npy");
    assert_same_arrays(temp, "away.npy", "again.npy", true);
    assert_same_arrays(temp, "away.npy", "plain.npy", false);
    assert_failed_run(temp, "sample @unet --guidance 2 -o @x.npy", 13,
                      "guidance away from no label needs labels");
    assert_failed_run(temp, "sample @run --guidance 2 -o @x.npy", 13,
                      "trained without labels: guidance needs another model");
    assert_failed_run(temp, "sample @unet --guidance 2 --guide @none -o @x.npy", 14, "none");
    assert_failed_run(temp, "sample @unet --label 1 --guidance-to 2 -o @x.npy", 2,
                      "--guidance-to: it needs --guidance");
    assert_failed_run(temp,
                      "sample @unet --label 1 --guidance 2 --guidance-from 2 --guidance-to 1 "
                      "-o @x.npy",
                      2, "--guidance-to: expected more than --guidance-from, 2, found 1");
}

static void test_from_an_image(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(temp, "sample @run --image @grey.png --strength 0.05 -n 3 -qo @near.npy");
    assert_quiet_run(temp, "sample @run --image @grey.png -n 3 -qo @far.npy");
    sumi_npy near = read_array(temp, "near.npy");
    assert_true(near.shape[0] == 3 && near.shape[1] == SIDE && near.shape[2] == SIDE);
    assert_memory_not_equal(near.data, (uint8_t *)near.data + PIXELS, PIXELS);
    sumi_npy_free(&near);
    assert_true(change_of(temp, "near.npy") < .5 * change_of(temp, "far.npy"));
    assert_failed_run(temp, "sample @run --image @wide.png --size 8 --out @x.npy", 16,
                      "wide.png: 8x4, expected 8x8 as --size says");
    assert_failed_run(temp, "sample @run --image @colour.png --out @x.npy", 16,
                      "colour.png: 3 channels, the model has 1");
    assert_failed_run(temp, "sample @run --image @run/config.json --out @x.npy", 15, "config.json");
    assert_failed_run(temp, "sample @run --image @none.png --out @x.npy", 14, "none.png");
    assert_failed_run(temp, "sample @run --image @grey.png --strength 0 --out @x.npy", 2,
                      "--strength: expected a number from 1e-06 to 1, found '0'");
    assert_failed_run(temp, "sample @run --image @grey.png --strength 1.1 --out @x.npy", 2,
                      "--strength");
    assert_failed_run(temp, "sample @run --strength 0.5 --out @x.npy", 2,
                      "--strength: it needs --image");
}

/* To the noise of an image and back. */
static void test_inverse(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(temp, "sample @run --solver ddim-inverse --image @grey.png -qo @noise.npy");
    sumi_npy noise = read_array(temp, "noise.npy");
    assert_true(noise.dtype == SUMI_NPY_F32 && noise.shape[0] == 1 && noise.shape[3] == 1);
    sumi_npy_free(&noise);
    assert_quiet_run(temp, "sample @run --solver ddim --noise @noise.npy -qo @again.npy");
    assert_true(change_of(temp, "again.npy") < 6);
    assert_quiet_run(temp, "sample @run --solver ddim --noise @noise.npy --seed 5 -qo @b.npy");
    assert_same_arrays(temp, "again.npy", "b.npy", true);
    assert_failed_run(temp, "sample @run --solver ddim-inverse --out @x.npy", 2, "needs --image");
    assert_failed_run(temp, "sample @run --solver ddim-inverse --image @grey.png --out @x.png", 2,
                      "writes noise: expected x.npy");
    assert_failed_run(temp, "sample @run --solver ddim-inverse --image @grey.png -n 2 -o @x.npy", 2,
                      "one noise of one image");
    assert_failed_run(temp,
                      "sample @run --solver ddim-inverse --image @grey.png --strength .5 -o @x.npy",
                      13, "strength is 0.5, not 1");
    assert_failed_run(temp, "sample @run --noise @noise.npy -n 2 --out @x.npy", 2,
                      "2 images were asked for, --noise has 1");
    assert_failed_run(temp, "sample @run --noise @again.npy --out @x.npy", 15,
                      "expected float32 [n][h][w][c]");
    assert_failed_run(temp, "sample @run --noise @noise.npy --size 4 --out @x.npy", 16,
                      "8x8, expected 4x4");
    assert_failed_run(temp, "sample @run --noise @noise.npy --image @grey.png --out @x.npy", 2,
                      "one of them is expected");
}

static void test_levels(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(temp, "sample @run --solver ddim --steps 4 -n 2 -qo @a.npy");
    assert_quiet_run(temp, "sample @run --solver ddim --levels 40,30,20,10 -n 2 -qo @b.npy");
    assert_same_arrays(temp, "a.npy", "b.npy", true);
    assert_true(evaluations_of(temp, "sample @run --levels 40,2.5,1 --json -qo @b.npy") == 3);
    assert_true(evaluations_of(temp, "sample @run --solver heun --levels sigma:.3,.1,.05 --json "
                                     "-qo @b.npy") == 5);
    assert_true(evaluations_of(temp, "sample @run --solver heun --steps 4 --churn 2 --json -qo "
                                     "@b.npy") == 3);
    assert_failed_run(temp, "sample @run --levels 40,4O --out @x.npy", 2,
                      "--levels: expected falling numbers");
    assert_failed_run(temp, "sample @run --levels 40,,20 --out @x.npy", 2, "found '40,,20'");
    assert_failed_run(temp, "sample @run --levels 40,20, --out @x.npy", 2, "--levels");
    assert_failed_run(temp, "sample @run --levels 20,40 --out @x.npy", 13,
                      "level 1 is at t = 40, expected below 20");
    assert_failed_run(temp, "sample @run --levels 41,20 --out @x.npy", 13, "expected 1..40");
    assert_failed_run(temp, "sample @run --levels 40 --steps 1 --out @x.npy", 2,
                      "--levels and --steps: one of them is expected");
    assert_failed_run(temp, "sample @run --solver ddim --churn 1 --out @x.npy", 13,
                      "ddim has no churn, heun has");
}

static void test_clip(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(temp, "sample @run -n 2 -qo @a.npy");
    assert_quiet_run(temp, "sample @run -n 2 --clip on -qo @b.npy");
    assert_quiet_run(temp, "sample @run -n 2 --clip 0,1 -qo @c.npy");
    assert_quiet_run(temp, "sample @run -n 2 --threshold .9 -qo @d.npy");
    assert_same_arrays(temp, "b.npy", "c.npy", true);
    assert_same_arrays(temp, "a.npy", "b.npy", false);
    assert_same_arrays(temp, "c.npy", "d.npy", false);
    assert_failed_run(temp, "sample @run --clip 1,0 --out @x.npy", 2,
                      "--clip: expected on or a range as 0,1, found '1,0'");
    assert_failed_run(temp, "sample @run --clip off --out @x.npy", 2, "found 'off'");
}

static void test_adaptive(void **state)
{
    temp_folder *temp = *state;
    double many = evaluations_of(temp, "sample @run --solver rk45 -n 2 --json -qo @a.npy --rtol .1 "
                                       "--atol .2");
    assert_true(many >= 7 && many <= 40);
    assert_failed_run(temp, "sample @run --solver rk45 --steps 7 --rtol 0 --atol 1e-7 -qo @x.npy",
                      13, "is not done after 7 evaluations of 7");
    assert_failed_run(temp, "sample @run --solver rk45 --levels 3,2 -o @x.npy", 13,
                      "rk45 chooses its levels itself");
}

static void test_between_images(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(temp, "sample @run --solver ddim --interpolate 6,2 -n 5 -qo @between.npy");
    assert_quiet_run(temp, "sample @run --solver ddim --index 6 -qo @six.npy");
    assert_quiet_run(temp, "sample @run --solver ddim --index 2 -qo @two.npy");
    sumi_npy all = read_array(temp, "between.npy"), six = read_array(temp, "six.npy");
    sumi_npy two = read_array(temp, "two.npy");
    assert_memory_equal(all.data, six.data, PIXELS);
    assert_memory_equal((uint8_t *)all.data + (size_t)4 * PIXELS, two.data, PIXELS);
    sumi_npy_free(&all);
    sumi_npy_free(&six);
    sumi_npy_free(&two);
    assert_failed_run(temp, "sample @run --interpolate 6 --out @x.npy", 2,
                      "--interpolate: expected the numbers of two images as 3,8, found '6'");
    assert_failed_run(temp, "sample @run --interpolate 6,1.5 --out @x.npy", 2, "--interpolate");
    assert_failed_run(temp, "sample @run --interpolate 6,2 --index 3 --out @x.npy", 2,
                      "one of them is expected");
}

/* The grey picture is kept where the mask is black. */
static void test_mask(void **state)
{
    temp_folder *temp = *state;
    uint8_t pixels[PIXELS];
    for (int i = 0; i < PIXELS; i++)
        pixels[i] = i < PIXELS / 2 ? 0 : 255;
    const sumi_image mask = {SIDE, SIDE, 1, pixels};
    assert_int_equal(sumi_png_write(temp_path(temp, "mask.png"), &mask, NULL, NULL), SUMI_OK);
    double often = evaluations_of(temp, "sample @run --solver ddim --steps 8 --image @grey.png "
                                        "--mask @mask.png -n 1 --resample 3 --json -qo @m.npy");
    assert_true(often == 8 + 7 * 2);
    sumi_npy made = read_array(temp, "m.npy");
    int same = 0;
    for (int i = 0; i < PIXELS; i++) {
        int was = i * 255 / (PIXELS * 3 - 1), now = ((const uint8_t *)made.data)[i];
        /* Bytes become floats and bytes again by cutting off. */
        assert_true(i >= PIXELS / 2 || now == was || now == was - 1);
        same += i >= PIXELS / 2 && now == was;
    }
    assert_true(same < PIXELS / 4);
    sumi_npy_free(&made);
    assert_failed_run(temp, "sample @run --mask @mask.png --out @x.npy", 2,
                      "--mask: it needs --image");
    assert_failed_run(temp, "sample @run --image @grey.png --jump 2 --out @x.npy", 2,
                      "they need --mask");
    assert_failed_run(temp, "sample @run --image @grey.png --mask @wide.png --out @x.npy", 16,
                      "wide.png: 8x4, expected 8x8");
    assert_failed_run(temp,
                      "sample @run --solver rk45 --image @grey.png --mask @mask.png --out @x.npy",
                      13, "rk45 cannot keep what is outside a mask");
}

/* A picture keeps what it was sampled with; options beside --like win. */
static void test_like(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(temp, "sample @run --solver ddim --steps 3 --seed 9 -n 2 -qo @a.png");
    assert_quiet_run(temp, "sample @run --solver ddim --steps 3 --seed 9 -n 2 -qo @a.npy");
    assert_quiet_run(temp, "sample --like @a.png -qo @b.npy");
    assert_same_arrays(temp, "a.npy", "b.npy", true);
    assert_quiet_run(temp, "sample --like @a.png --seed 8 -qo @c.npy");
    assert_same_arrays(temp, "a.npy", "c.npy", false);
    assert_quiet_run(temp, "sample @run --solver ddim --steps 3 --seed 8 -n 2 -qo @d.npy");
    assert_same_arrays(temp, "c.npy", "d.npy", true);
    /* Levels in place of steps. */
    assert_quiet_run(temp, "sample --like @a.png --levels 40,9 -qo @e.npy");
    assert_failed_run(temp, "sample --like @grey.png --out @x.npy", 15,
                      "grey.png: the picture does not tell how it was sampled");
    assert_failed_run(temp, "sample --like @a.npy --out @x.npy", 15, "not a PNG picture");
    assert_failed_run(temp, "sample --like @none.png --out @x.npy", 14, "none.png");
    assert_failed_run(temp, "sample --out @x.npy", 2, "expected MODEL|RUN, or --like");
}

static void test_films(void **state)
{
    temp_folder *temp = *state;
    sumi_image strip, first;
    assert_quiet_run(temp, "sample @run --strip --solver ddim --steps 5 --batch 3 -qo @s.png "
                           "--gif @s.gif --apng @m.png");
    assert_int_equal(sumi_image_read(temp_path(temp, "s.png"), &strip, NULL), SUMI_OK);
    /* 8 rows of 4 images, 5 evaluations and the image, 12 times as large. */
    assert_true(strip.height == 8 * 98 + 2 && strip.width == 6 * 98 + 2);
    sumi_image_free(&strip);
    assert_int_equal(sumi_image_read(temp_path(temp, "m.png"), &first, NULL), SUMI_OK);
    assert_true(first.height == 2 * 98 + 2 && first.width == 2 * 98 + 2);
    sumi_image_free(&first);
    assert_true(sumi_is_file(temp_path(temp, "s.gif")));
    assert_failed_run(temp, "sample @run --strip --out @x.npy", 2, "--out is expected to be x.png");
    assert_failed_run(temp, "sample @run --gif @x.png --out @x.npy", 2, "--gif: expected x.gif");
    assert_failed_run(temp, "sample @run --gif @no/x.gif --out @x.npy", 14, "there is no folder");
    assert_failed_run(temp, "sample @run --strip -n 100000 --out @x.png", 2, "too many");
    assert_failed_run(temp, "sample @run --strip --solver rk45 --out @x.png", 13,
                      "rk45 has no steps to look at");
    assert_failed_run(temp,
                      "sample @run --gif @x.gif --solver ddim-inverse --image @grey.png "
                      "--out @x.npy",
                      2, "draws no images to be seen on their way");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels),        cmocka_unit_test(test_guidance),
        cmocka_unit_test(test_from_an_image), cmocka_unit_test(test_inverse),
        cmocka_unit_test(test_levels),        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_adaptive),      cmocka_unit_test(test_between_images),
        cmocka_unit_test(test_mask),          cmocka_unit_test(test_like),
        cmocka_unit_test(test_films),
    };
    return cmocka_run_group_tests(tests, make_run, temp_teardown);
}
