/* Exif's orientation: all eight in PNG and JPEG, as Pillow shows them; tags that say nothing. */
#include "io/io_test.h"

static void expect_turned(const char *ending, const char *array, int rows, int columns)
{
    char name[64], path[4096];
    sumi_npy seen;
    assert_int_equal(sumi_npy_read(fixture_path(array, path), &seen, NULL), SUMI_OK);
    size_t bytes = seen.count / 8;
    assert_int_equal(bytes, rows * columns);
    for (int orientation = 1; orientation <= 8; orientation++) {
        sumi_image image;
        sumi_error err = {""};
        snprintf(name, sizeof name, "turned_%d.%s", orientation, ending);
        if (sumi_image_read(fixture_path(name, path), &image, &err) != SUMI_OK)
            fail_msg("%s", err.text);
        assert_int_equal(image.height, orientation < 5 ? rows : columns);
        assert_int_equal(image.width, orientation < 5 ? columns : rows);
        const uint8_t *expected = (uint8_t *)seen.data + (size_t)(orientation - 1) * bytes;
        assert_memory_equal(image.pixels, expected, bytes);
        sumi_image_free(&image);
    }
    sumi_npy_free(&seen);
}

static void test_png(void **state)
{
    (void)state;
    expect_turned("png", "turned_png.npy", 2, 3);
}

static void test_jpeg(void **state)
{
    (void)state;
    expect_turned("jpg", "turned_jpg.npy", 16, 24);
}

/* In colour, and of a chunk that comes behind the picture. */
static void test_chunk_behind(void **state)
{
    (void)state;
    blob turned = fixture("turned_6.png"), rgb = fixture("rgb8.png");
    size_t from = blob_find(&turned, "eXIf", 4, 0) - 4;
    size_t size = 12 + turned.data[from + 3];
    size_t end = blob_find(&rgb, "IEND", 4, 0) - 4;
    sumi_image plain, image;
    assert_int_equal(sumi_image_parse("f", rgb.data, rgb.size, &plain, NULL), SUMI_OK);
    blob_splice(&rgb, end, 0, turned.data + from, size);
    assert_int_equal(sumi_image_parse("f", rgb.data, rgb.size, &image, NULL), SUMI_OK);
    assert_int_equal(image.height, 7);
    assert_int_equal(image.width, 6);
    for (int y = 0; y < 7; y++)
        for (int x = 0; x < 6; x++)
            assert_memory_equal(image.pixels + (y * 6 + x) * 3,
                                plain.pixels + ((5 - x) * 7 + y) * 3, 3);
    sumi_image_free(&image);
    /* A chunk that is damaged says nothing. */
    rgb.data[end + 9] ^= 1;
    assert_int_equal(sumi_image_parse("f", rgb.data, rgb.size, &image, NULL), SUMI_OK);
    assert_int_equal(image.height, 6);
    sumi_image_free(&image);
    sumi_image_free(&plain);
    blob_free(&rgb);
    blob_free(&turned);
}

static void test_tags(void **state)
{
    (void)state;
#define LITTLE "II*\0\10\0\0\0"
#define BIG "MM\0*\0\0\0\10"
    static const struct {
        const uint8_t *data;
        size_t size;
        int expected;
    } cases[] = {
        {BYTES(LITTLE "\1\0\x12\1\3\0\1\0\0\0\6\0\0\0"), 6},
        {BYTES(BIG "\0\1\1\x12\0\3\0\0\0\1\0\7\0\0"), 7},
        {BYTES("Exif\0\0" BIG "\0\1\1\x12\0\3\0\0\0\1\0\2\0\0"), 2},
        {BYTES("Exif\0\0Exif\0\0" LITTLE "\1\0\x12\1\3\0\1\0\0\0\4\0\0\0"), 4},
        /* Behind another tag; as a number of 32 bits, and of 8. */
        {BYTES(LITTLE "\2\0\x0F\1\2\0\1\0\0\0A\0\0\0\x12\1\4\0\1\0\0\0\5\0\0\0"), 5},
        {BYTES(BIG "\0\1\1\x12\0\4\0\0\0\1\0\0\0\3"), 3},
        {BYTES(BIG "\0\1\1\x12\0\1\0\0\0\1\10\0\0\0"), 8},
        /* Out of range, of another kind, without the tag, cut off, not Exif at all. */
        {BYTES(LITTLE "\1\0\x12\1\3\0\1\0\0\0\11\0\0\0"), 0},
        {BYTES(LITTLE "\1\0\x12\1\3\0\1\0\0\0\0\0\0\0"), 0},
        {BYTES(LITTLE "\1\0\x12\1\2\0\1\0\0\0\6\0\0\0"), 0},
        {BYTES(LITTLE "\1\0\x0F\1\3\0\1\0\0\0\6\0\0\0"), 0},
        {BYTES(LITTLE "\1\0\x12\1\3\0\1\0\0\0\6\0\0"), 0},
        {BYTES(LITTLE "\xFF\xFF\x12\1\3\0\1\0\0\0\6\0\0\0"), 6},
        {BYTES("II*\0\xFF\xFF\xFF\xFF\1\0\x12\1\3\0\1\0\0\0\6\0\0\0"), 0},
        {BYTES("II*\0"), 0},
        {BYTES("XX*\0\10\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0"), 0},
        {BYTES(""), 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        blob b = blob_copy(cases[i].data, cases[i].size);
        int found = sumi_exif_orientation(b.data, b.size);
        if (found != cases[i].expected)
            fail_msg("case %zu: %d", i, found);
        blob_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_png),
        cmocka_unit_test(test_jpeg),
        cmocka_unit_test(test_chunk_behind),
        cmocka_unit_test(test_tags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
