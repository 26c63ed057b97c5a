/*
 * sumi train on images that are mirrored and moved: what it says of that, and that a run keeps it.
 */
#include "program.h"

#include "io/io.h"

#define TINY "--batch 4 --base-channels 4 --time-dim 8 --timesteps 20 --grid 0 --threads 2"

enum { COUNT = 80, SIDE = 8, PIXELS = SIDE * SIDE };

/* Pictures that are all dark on the left, or on either side as often. */
static int make_sets(void **state)
{
    static uint8_t one_way[COUNT * PIXELS], either[COUNT * PIXELS];
    if (temp_setup(state) != 0)
        return -1;
    for (int i = 0; i < COUNT * PIXELS; i++) {
        bool left = i % SIDE < SIDE / 2;
        one_way[i] = left ? 30 : 200;
        either[i] = left == (i / PIXELS % 2 == 0) ? 30 : 200;
    }
    sumi_npy array = {.dtype = SUMI_NPY_U8,
                      .rank = 3,
                      .shape = {COUNT, SIDE, SIDE},
                      .count = sizeof one_way,
                      .data = one_way};
    assert_int_equal(sumi_npy_write(temp_path(*state, "one.npy"), &array, NULL), SUMI_OK);
    uint8_t labels[3] = {0, 5, 1};
    sumi_npy row = {.dtype = SUMI_NPY_U8, .rank = 1, .shape = {3}, .count = 3, .data = labels};
    array.shape[0] = 3;
    array.count = 3 * PIXELS;
    assert_int_equal(sumi_npy_write(temp_path(*state, "few.npy"), &array, NULL), SUMI_OK);
    assert_int_equal(sumi_npy_write(temp_path(*state, "few-labels.npy"), &row, NULL), SUMI_OK);
    labels[1] = 2;
    assert_int_equal(sumi_npy_write(temp_path(*state, "three.npy"), &array, NULL), SUMI_OK);
    assert_int_equal(sumi_npy_write(temp_path(*state, "three_labels.npy"), &row, NULL), SUMI_OK);
    array.shape[0] = COUNT;
    array.count = COUNT * PIXELS;
    array.data = either;
    assert_int_equal(sumi_npy_write(temp_path(*state, "either.npy"), &array, NULL), SUMI_OK);
    return 0;
}

static void assert_warns(temp_folder *temp, const char *line, const char *text)
{
    program p;
    program_run(&p, temp, line);
    if (p.code != 0)
        fail_msg("sumi %s: exit %d, %s", line, p.code, p.err);
    bool warned = strstr(p.err, "warning") != NULL;
    if (warned != (text != NULL) || (text != NULL && strstr(p.err, text) == NULL))
        fail_msg("sumi %s: %s", line, p.err);
    program_free(&p);
}

static void test_flip_warns_by_the_pictures(void **state)
{
    temp_folder *temp = *state;
    assert_warns(temp, "train @one.npy --recipe tutorial --flip --steps 1 --out @a " TINY,
                 "--flip: the data's pictures mostly look one way (asymmetry 1.00");
    assert_warns(temp, "train @one.npy --recipe tutorial --steps 1 --out @b " TINY, NULL);
    assert_warns(
        temp, "train @either.npy --recipe tutorial --flip --crop 2 --steps 1 --out @c " TINY, NULL);
    program p;
    program_run(&p, temp, "data info @one.npy");
    assert_non_null(strstr(p.out, "  one way   1.00 "));
    program_free(&p);
    char *log = program_read(temp, "a/train.log");
    assert_non_null(strstr(log, "data: flip mirrors pictures that mostly look one way"));
    free(log);
}

/* Resumed from its own settings, it is the run that was never stopped. */
static void test_resume_keeps_what_is_made_of_images(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(
        temp, "train @either.npy --recipe tutorial --flip --crop 2 --steps 3 -q --out @part " TINY);
    assert_quiet_run(temp, "train --resume @part --steps 5 -q");
    assert_quiet_run(
        temp,
        "train @either.npy --recipe tutorial --flip --crop 2 --steps 5 -q --out @whole " TINY);
    assert_quiet_run(temp, "train @either.npy --recipe tutorial --steps 5 -q --out @plain " TINY);
    assert_quiet_run(temp, "diff @part @whole");
    program p;
    program_run(&p, temp, "diff @plain @whole");
    assert_int_equal(p.code, 1);
    program_free(&p);
    assert_failed_run(temp,
                      "train @either.npy --recipe tutorial --crop 8 --steps 1 -q --out @x " TINY,
                      13, "crop is 8, expected 0 to below 8");
    assert_failed_run(temp, "train --resume @part --flip", 2, "--flip cannot be changed");
}

#define UNET                                                                                       \
    "--net unet --multipliers 1,2 --blocks 1,1 --lr 0.01 --batch 4 --base-channels 4 "             \
    "--time-dim 8 --timesteps 20 --grid 0 --threads 2 -q"

/* A network that is told keeps that in its file, and draws from it as from any other. */
static void test_a_network_is_told(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(temp,
                     "train @one.npy --recipe tutorial --augment 0.3 --steps 3 --out @told " UNET);
    assert_quiet_run(temp, "train --resume @told --steps 6 -q");
    assert_quiet_run(
        temp, "train @one.npy --recipe tutorial --augment 0.3 --steps 6 --out @straight " UNET);
    assert_quiet_run(temp, "diff @told @straight");
    assert_quiet_run(temp, "convert @told @told.pth -q");
    assert_quiet_run(temp, "sample @told.pth -n 2 --steps 3 --solver ddim -qo @a.npy");
    assert_quiet_run(temp, "sample @straight -n 2 --steps 3 --solver ddim -qo @b.npy");
    sumi_npy a, b;
    assert_int_equal(sumi_npy_read(temp_path(temp, "a.npy"), &a, NULL), SUMI_OK);
    assert_int_equal(sumi_npy_read(temp_path(temp, "b.npy"), &b, NULL), SUMI_OK);
    assert_memory_equal(a.data, b.data, 2 * PIXELS);
    sumi_npy_free(&a);
    sumi_npy_free(&b);
    assert_failed_run(temp,
                      "train @one.npy --recipe tutorial --augment 0.1 --steps 1 -q --out @x " TINY,
                      13, "augment needs a network that is told of it");
    assert_failed_run(temp, "train @one.npy --recipe tutorial --augment 1.5 --out @x", 2,
                      "--augment: expected");
}

/* A run keeps what its transparent pictures lie over. */
static void test_background_is_kept(void **state)
{
    temp_folder *temp = *state;
    uint8_t *data;
    size_t size;
    assert_int_equal(
        sumi_file_read(SUMI_TEST_DIR "/io/fixtures/gray_alpha.png", 1 << 20, &data, &size, NULL),
        SUMI_OK);
    assert_int_equal(sumi_make_dirs(temp_path(temp, "icons"), NULL), SUMI_OK);
    assert_int_equal(sumi_file_save(temp_path(temp, "icons/a.png"), data, size, NULL), SUMI_OK);
    free(data);
    assert_quiet_run(temp, "train @icons --recipe tutorial --background 0.5 --size 8x8 -q --steps "
                           "1 --out @grey " TINY);
    assert_quiet_run(temp, "train --resume @grey --steps 2 -q");
    char *config = program_read(temp, "grey/config.json");
    assert_non_null(strstr(config, "\"background\": 0.5"));
    free(config);
    assert_failed_run(temp, "train @icons --recipe tutorial --background 2 --out @x", 2,
                      "--background: expected");
}

/* Labels that the data have too many of, for their pictures or for a model. */
static void test_labels_that_do_not_fit(void **state)
{
    temp_folder *temp = *state;
    assert_failed_run(temp, "train @few.npy --recipe tutorial --steps 1 --out @few " UNET, 13,
                      "6 labels are more than there are images, 3");
    assert_quiet_run(temp, "train @few.npy --recipe tutorial -q --steps 1 --out @deaf " TINY);
    assert_quiet_run(temp, "train @three.npy --recipe tutorial --steps 1 --out @three " UNET);
    assert_failed_run(
        temp,
        "train shapes --recipe tutorial --init @three --size 8x8 --steps 1 --batch 4 --grid 0 -q "
        "--out @more",
        13, "the images have 10 labels, the model is told of 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flip_warns_by_the_pictures),
        cmocka_unit_test(test_resume_keeps_what_is_made_of_images),
        cmocka_unit_test(test_a_network_is_told),
        cmocka_unit_test(test_labels_that_do_not_fit),
        cmocka_unit_test(test_background_is_kept),
    };
    return cmocka_run_group_tests(tests, make_sets, temp_teardown);
}
