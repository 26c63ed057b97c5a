/* Resizing against Pillow's own results (golden/, made by make_golden.py), and its edge cases. */
#include "data_test.h"

static sumi_npy golden(const char *name)
{
    char path[1024];
    sumi_npy array = {0};
    sumi_error err = {{0}};
    snprintf(path, sizeof path, "%s/data/golden/%s.npy", SUMI_TEST_DIR, name);
    check_ok(sumi_npy_read(path, &array, &err), &err);
    assert_int_equal(array.dtype, SUMI_NPY_U8);
    return array;
}

static void check_close(const uint8_t *found, const uint8_t *expected, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_in_range(found[i] + 1, expected[i], expected[i] + 2);
}

static void matches_pillow(void **state)
{
    (void)state;
    static const int sizes[][2] = {{28, 28}, {16, 40}, {100, 60}, {37, 37}, {5, 4}, {74, 106}};
    static const char *const kinds[] = {"grey", "rgb"};
    sumi_error err = {{0}};
    for (int kind = 0; kind < 2; kind++) {
        int c = kind ? 3 : 1;
        sumi_npy source = golden(kinds[kind]);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            char name[64];
            int h = sizes[i][0], w = sizes[i][1];
            snprintf(name, sizeof name, "%s_%dx%d", kinds[kind], h, w);
            sumi_npy expected = golden(name);
            uint8_t *found = malloc(expected.count);
            assert_int_equal(expected.count, h * w * c);
            check_ok(resize_cover(source.data, 37, 53, c, found, h, w, &err), &err);
            check_close(found, expected.data, expected.count);
            free(found);
            sumi_npy_free(&expected);
        }
        sumi_npy_free(&source);
    }
}

static void grey_is_pillows_luma(void **state)
{
    (void)state;
    sumi_npy rgb = golden("rgb"), grey = golden("grey");
    uint8_t *found = malloc(grey.count);
    sumi_convert_channels(rgb.data, 3, found, 1, grey.count);
    assert_memory_equal(found, grey.data, grey.count);
    /* In place, as loaders do. */
    sumi_convert_channels(rgb.data, 3, rgb.data, 1, grey.count);
    assert_memory_equal(rgb.data, grey.data, grey.count);
    free(found);
    sumi_npy_free(&rgb);
    sumi_npy_free(&grey);
}

static void grey_to_colour_repeats(void **state)
{
    (void)state;
    uint8_t pixels[30], expected[30];
    for (int i = 0; i < 10; i++) {
        pixels[20 + i] = (uint8_t)(i * 25);
        expected[3 * i] = expected[3 * i + 1] = expected[3 * i + 2] = (uint8_t)(i * 25);
    }
    sumi_convert_channels(pixels + 20, 1, pixels, 3, 10);
    assert_memory_equal(pixels, expected, sizeof pixels);
}

static void same_size_is_a_copy(void **state)
{
    (void)state;
    uint8_t source[6 * 5 * 3], found[sizeof source];
    sumi_error err;
    for (size_t i = 0; i < sizeof source; i++)
        source[i] = test_pixel(i);
    check_ok(resize_cover(source, 6, 5, 3, found, 6, 5, &err), &err);
    assert_memory_equal(found, source, sizeof source);
}

/* Same height, half the width: no scaling, only the centre columns are kept. */
static void crops_the_centre(void **state)
{
    (void)state;
    uint8_t source[4 * 8], found[4 * 4];
    sumi_error err;
    for (size_t i = 0; i < sizeof source; i++)
        source[i] = test_pixel(i);
    check_ok(resize_cover(source, 4, 8, 1, found, 4, 4, &err), &err);
    for (int y = 0; y < 4; y++)
        assert_memory_equal(found + 4 * y, source + 8 * y + 2, 4);
    check_ok(resize_cover(source, 8, 4, 1, found, 4, 4, &err), &err);
    assert_memory_equal(found, source + 8, 16);
}

/* Grey and colour become each other; other channels only what they are. */
static void other_channels_are_refused(void **state)
{
    (void)state;
    static const int cases[][2] = {{2, 3}, {3, 2}, {2, 1}, {1, 4}, {4, 3}};
    uint8_t source[4 * 4 * 4] = {0}, found[4 * 4 * 4];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sumi_error err = {{0}};
        char text[64];
        sumi_fitter fitter = {.h = 4, .w = 4, .c = cases[i][1]};
        snprintf(text, sizeof text, "images of %d channel%s cannot be made ones of %d", cases[i][0],
                 cases[i][0] == 1 ? "" : "s", cases[i][1]);
        check_failed(sumi_fitter_run(&fitter, source, 4, 4, cases[i][0], found, &err), SUMI_EINVAL,
                     &err, text, NULL);
        sumi_fitter_free(&fitter);
    }
}

/* Every extreme of proportion and scale keeps a constant picture constant. */
static void constant_stays_constant(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 3, 7, 64, 500};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    static uint8_t source[500 * 500], found[500 * 500];
    sumi_error err;
    memset(source, 255, sizeof source);
    for (int i = 0; i < COUNT * COUNT * COUNT * COUNT; i++) {
        int sh = sizes[i % COUNT], sw = sizes[i / COUNT % COUNT];
        int h = sizes[i / COUNT / COUNT % COUNT], w = sizes[i / COUNT / COUNT / COUNT];
        if (h * w > 64 * 500)
            continue;
        memset(found, 0, (size_t)h * (size_t)w);
        check_ok(resize_cover(source, sh, sw, 1, found, h, w, &err), &err);
        for (int p = 0; p < h * w; p++)
            assert_int_equal(found[p], 255);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_pillow),
        cmocka_unit_test(grey_is_pillows_luma),
        cmocka_unit_test(grey_to_colour_repeats),
        cmocka_unit_test(same_size_is_a_copy),
        cmocka_unit_test(other_channels_are_refused),
        cmocka_unit_test(crops_the_centre),
        cmocka_unit_test(constant_stays_constant),
    };
    return cmocka_run_group_tests_name("resize", tests, NULL, NULL);
}
