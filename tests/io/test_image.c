/* Pictures: every kind of PNG and JPEG, broken ones, writing, grids. */
#include <math.h>
#include <sys/resource.h>
#include <zlib.h>

#include "io/io_test.h"

static sumi_image read_fixture(const char *name)
{
    char path[4096];
    sumi_image image;
    sumi_error err = {""};
    if (sumi_image_read(fixture_path(name, path), &image, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    return image;
}

static void expect_size(const sumi_image *image, int height, int width, int channels)
{
    assert_int_equal(image->height, height);
    assert_int_equal(image->width, width);
    assert_int_equal(image->channels, channels);
}

/* The pattern of make_fixtures.py. */
static uint8_t pattern(int y, int x, int c)
{
    return (uint8_t)((40 * y + 9 * x + 70 * c) % 256);
}

static void test_png_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int channels;
        bool alpha;
    } cases[] = {{"gray8.png", 1, false}, {"gray16.png", 1, false},    {"rgb8.png", 3, false},
                 {"rgb16.png", 3, false}, {"gray_alpha.png", 1, true}, {"rgb_alpha.png", 3, true}};
    static const int alpha[7] = {0, 51, 102, 153, 204, 255, 255};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sumi_image image = read_fixture(cases[i].name);
        expect_size(&image, 6, 7, cases[i].channels);
        const uint8_t *at = image.pixels;
        for (int y = 0; y < 6; y++)
            for (int x = 0; x < 7; x++)
                for (int c = 0; c < image.channels; c++, at++) {
                    double value = pattern(y, x, c), a = alpha[x] / 255.0;
                    if (cases[i].alpha)
                        value = value * a + 255 * (1 - a);
                    assert_true(*at - value <= 0.51 && value - *at <= 0.51);
                }
        sumi_image_free(&image);
        assert_null(image.pixels);
    }
    sumi_image_free(NULL);
}

static void test_png_bits_and_palettes(void **state)
{
    (void)state;
    static const uint8_t bits[14] = {255, 0, 255, 0, 0, 255, 0, 0, 255, 0, 255, 255, 0, 255};
    static const uint8_t palette[12] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9};
    static const uint8_t cleared[12] = {255, 255, 255, 0, 255, 0, 0, 0, 255, 9, 9, 9};
    sumi_image image = read_fixture("gray1.png");
    expect_size(&image, 2, 7, 1);
    assert_memory_equal(image.pixels, bits, 14);
    sumi_image_free(&image);
    image = read_fixture("palette.png");
    expect_size(&image, 1, 4, 3);
    assert_memory_equal(image.pixels, palette, 12);
    sumi_image_free(&image);
    image = read_fixture("palette_clear.png");
    expect_size(&image, 1, 4, 3);
    assert_memory_equal(image.pixels, cleared, 12);
    sumi_image_free(&image);
    image = read_fixture("interlaced.png");
    expect_size(&image, 1, 1, 1);
    assert_int_equal(image.pixels[0], 77);
    sumi_image_free(&image);
}

static void test_jpeg_kinds(void **state)
{
    (void)state;
    static const char *const names[] = {"gray.jpg", "rgb.jpg", "progressive.jpg"};
    for (int i = 0; i < 3; i++) {
        sumi_image image = read_fixture(names[i]);
        int channels = i ? 3 : 1;
        expect_size(&image, 16, 16, channels);
        for (int y = 0; y < 16; y++)
            for (int x = 0; x < 16; x++) {
                double soft = (20 + 14.0 * y) * (0.5 + x / 30.0);
                double turned = (20 + 14.0 * x) * (0.5 + y / 30.0);
                const uint8_t *p = image.pixels + (y * 16 + x) * channels;
                /* Quality 95 keeps a smooth picture close; subsampled colours less so. */
                double slack = i == 2 ? 30 : 8;
                assert_true(p[0] - soft < slack && soft - p[0] < slack);
                if (channels == 3) {
                    assert_true(p[1] - (255 - soft) < slack && 255 - soft - p[1] < slack);
                    assert_true(p[2] - turned < slack && turned - p[2] < slack);
                }
            }
        sumi_image_free(&image);
    }
}

/* ---- Broken pictures ------------------------------------------------------------------------- */

static void put_chunk(blob *b, const char *kind, const void *data, size_t size)
{
    uint8_t head[8], tail[4];
    for (int i = 0; i < 4; i++)
        head[i] = (uint8_t)(size >> (24 - 8 * i));
    memcpy(head + 4, kind, 4);
    uint32_t crc = (uint32_t)crc32_z(crc32_z(0, head + 4, 4), data, size);
    for (int i = 0; i < 4; i++)
        tail[i] = (uint8_t)(crc >> (24 - 8 * i));
    blob_splice(b, b->size, 0, head, 8);
    blob_splice(b, b->size, 0, data, size);
    blob_splice(b, b->size, 0, tail, 4);
}

/* A PNG that says so much about itself, with data_size zero bytes compressed as its pixels. */
static blob make_png(uint32_t width, uint32_t height, int depth, int colour, size_t data_size)
{
    uint8_t head[13] = {0}, packed[256], *zeros = calloc(1, data_size + 1);
    uLongf packed_size = sizeof packed;
    blob b = blob_copy("\x89PNG\r\n\x1a\n", 8);
    for (int i = 0; i < 4; i++) {
        head[i] = (uint8_t)(width >> (24 - 8 * i));
        head[4 + i] = (uint8_t)(height >> (24 - 8 * i));
    }
    head[8] = (uint8_t)depth;
    head[9] = (uint8_t)colour;
    put_chunk(&b, "IHDR", head, 13);
    assert_non_null(zeros);
    assert_int_equal(compress(packed, &packed_size, zeros, data_size), Z_OK);
    put_chunk(&b, "IDAT", packed, packed_size);
    put_chunk(&b, "IEND", "", 0);
    free(zeros);
    return b;
}

static void test_broken_png(void **state)
{
    (void)state;
    static const struct {
        uint32_t width, height;
        int depth, colour;
        size_t data;
        sumi_status status;
        const char *message;
    } cases[] = {
        {4, 4, 8, 0, 20, SUMI_OK, ""},
        {0, 4, 8, 0, 20, SUMI_EFORMAT, "f: PNG: Invalid IHDR data"},
        {4, 0, 8, 0, 20, SUMI_EFORMAT, "f: PNG: Invalid IHDR data"},
        {4, 4, 7, 0, 20, SUMI_EFORMAT, "f: PNG: Invalid IHDR data"},
        {4, 4, 8, 5, 20, SUMI_EFORMAT, "f: PNG: Invalid IHDR data"},
        {4, 4, 8, 3, 20, SUMI_EFORMAT, "f: PNG: IDAT: Missing PLTE before IDAT"},
        {4, 4, 8, 0, 19, SUMI_EFORMAT, "f: PNG: Not enough image data"},
        {0x7FFFFFFF, 0x7FFFFFFF, 8, 6, 20, SUMI_EUNSUPPORTED,
         "f: 2147483647 x 2147483647 pixels, at most 67108864 are supported"},
        {0xFFFFFFFF, 1, 8, 0, 20, SUMI_EFORMAT, "f: PNG: PNG unsigned integer out of range"},
        {1048577, 1, 8, 0, 20, SUMI_EUNSUPPORTED,
         "f: 1048577 x 1 pixels, at most 67108864 are supported"},
        {8193, 8192, 8, 0, 20, SUMI_EUNSUPPORTED,
         "f: 8193 x 8192 pixels, at most 67108864 are supported"},
        {1048576, 1048576, 1, 0, 20, SUMI_EUNSUPPORTED,
         "f: 1048576 x 1048576 pixels, at most 67108864 are supported"},
        {8192, 8192, 16, 6, 20, SUMI_EFORMAT, "f: PNG: too few bytes for a picture of its size"},
        {1024, 1024, 8, 0, 20, SUMI_EFORMAT, "f: PNG: too few bytes for a picture of its size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        blob b = make_png(cases[i].width, cases[i].height, cases[i].depth, cases[i].colour,
                          cases[i].data);
        char label[32];
        sumi_image image = {.height = 77};
        sumi_error err = {""};
        snprintf(label, sizeof label, "%zu", i);
        expect_error(label, sumi_image_parse("f", b.data, b.size, &image, &err), &err,
                     cases[i].status, cases[i].message);
        if (cases[i].status == SUMI_OK)
            sumi_image_free(&image);
        else
            assert_int_equal(image.height, 77);
        blob_free(&b);
    }
}

/* A text chunk that would grow from 40 KB to 32 MB is left out; the picture is fine. */
static void test_png_text_bomb(void **state)
{
    (void)state;
    enum { GROWN = 32 << 20 };
    uint8_t *zeros = calloc(1, GROWN), *packed = malloc(1 << 20);
    uLongf size = (1 << 20) - 16;
    blob b = make_png(4, 4, 8, 0, 20), chunk = {0};
    assert_true(zeros && packed);
    memcpy(packed, "Comment\0\0", 9);
    assert_int_equal(compress(packed + 9, &size, zeros, GROWN), Z_OK);
    put_chunk(&chunk, "zTXt", packed, size + 9);
    blob_splice(&b, 33, 0, chunk.data, chunk.size);
    sumi_image image;
    assert_int_equal(sumi_image_parse("f", b.data, b.size, &image, NULL), SUMI_OK);
    expect_size(&image, 4, 4, 1);
    sumi_image_free(&image);
    blob_free(&chunk);
    blob_free(&b);
    free(zeros);
    free(packed);
}

/* 88 bytes with a text chunk that says it has 1.5 GB: no memory is made for it. */
static void test_png_chunk_length(void **state)
{
    (void)state;
    struct rusage before, after;
    sumi_image image;
    blob b = make_png(4, 4, 8, 0, 20);
    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    blob_splice(&b, 33, 0, "\x60\0\0\xciTXtComment", 15);
    assert_int_equal(sumi_image_parse("f", b.data, b.size, &image, NULL), SUMI_EFORMAT);
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    assert_true(after.ru_maxrss - before.ru_maxrss < 65536); /* KiB; on macOS bytes */
    blob_free(&b);
}

/* Programs keep all that they did in a picture's texts. */
static void test_png_long_texts(void **state)
{
    (void)state;
    enum { LONG = 9 << 20 };
    sumi_image image;
    blob b = make_png(4, 4, 8, 0, 20), chunk = {0};
    uint8_t *text = malloc(LONG);
    assert_non_null(text);
    memset(text, 'a', LONG);
    memcpy(text, "Comment", 8);
    put_chunk(&chunk, "tEXt", text, LONG);
    blob_splice(&b, 33, 0, chunk.data, chunk.size);
    assert_int_equal(sumi_image_parse("f", b.data, b.size, &image, NULL), SUMI_OK);
    sumi_image_free(&image);
    free(text);
    blob_free(&chunk);
    blob_free(&b);
}

static void test_damaged_png(void **state)
{
    (void)state;
    blob whole = fixture("rgb8.png");
    sumi_image image;
    for (size_t size = 0; size < whole.size; size++) {
        blob cut = blob_copy(whole.data, size);
        assert_int_equal(sumi_image_parse("f", cut.data, cut.size, &image, NULL), SUMI_EFORMAT);
        blob_free(&cut);
    }
    for (size_t bit = 0; bit < whole.size * 8; bit++) {
        blob b = blob_copy(whole.data, whole.size);
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (sumi_image_parse("f", b.data, b.size, &image, NULL) == SUMI_OK)
            sumi_image_free(&image);
        blob_free(&b);
    }
    /* One bit of the CRC behind the pixels; 12 bytes of an empty chunk follow. */
    sumi_error err = {""};
    whole.data[whole.size - 13] ^= 1;
    expect_error("CRC", sumi_image_parse("f", whole.data, whole.size, &image, &err), &err,
                 SUMI_EFORMAT, "f: PNG: IDAT: CRC error");
    blob_free(&whole);
}

static void test_broken_jpeg(void **state)
{
    (void)state;
    sumi_image image;
    sumi_error err = {""};
    blob b = fixture("rgb.jpg");
    for (size_t size = 0; size < b.size; size++) {
        blob cut = blob_copy(b.data, size);
        sumi_status status = sumi_image_parse("f", cut.data, cut.size, &image, &err);
        /* Only the end mark's own two bytes may be missing. */
        if (status == SUMI_OK) {
            assert_true(size >= b.size - 2);
            sumi_image_free(&image);
        } else {
            assert_int_equal(status, SUMI_EFORMAT);
        }
        blob_free(&cut);
    }
    for (size_t bit = 0; bit < b.size * 8; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (sumi_image_parse("f", b.data, b.size, &image, NULL) == SUMI_OK)
            sumi_image_free(&image);
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    /* Behind the start-of-frame mark: length (2), precision, height (2), width (2). */
    size_t frame = blob_find(&b, "\xff\xc0", 2, 0);
    memcpy(b.data + frame + 5, "\xff\xdc\xff\xdc", 4);
    expect_error("huge", sumi_image_parse("f", b.data, b.size, &image, &err), &err,
                 SUMI_EUNSUPPORTED, "f: 65500 x 65500 pixels, at most 67108864 are supported");
    memcpy(b.data + frame + 5, "\x20\x00\x20\x00", 4);
    expect_error("empty", sumi_image_parse("f", b.data, b.size, &image, &err), &err, SUMI_EFORMAT,
                 "f: JPEG: too few bytes for a picture of its size");
    blob_free(&b);
}

static void test_other_content(void **state)
{
    (void)state;
    static const struct {
        const uint8_t *data;
        size_t size;
        const char *message;
    } cases[] = {
        {BYTES(""), "f: not a PNG or JPEG picture but an empty file"},
        {BYTES("GIF89a"), "f: not a PNG or JPEG picture but a GIF picture"},
        {BYTES("RIFF....WEBP"), "f: not a PNG or JPEG picture but a WebP picture"},
        {BYTES("<html>"), "f: not a PNG or JPEG picture but an HTML page; download the file "
                          "itself, not the page that shows it"},
        {BYTES("nothing"), "f: neither PNG nor JPEG"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sumi_image image;
        sumi_error err = {""};
        expect_error(cases[i].message,
                     sumi_image_parse("f", cases[i].data, cases[i].size, &image, &err), &err,
                     SUMI_EFORMAT, cases[i].message);
    }
    sumi_image image;
    assert_int_equal(sumi_image_read("/no/such/file.png", &image, NULL), SUMI_EIO);
}

/* What follows a picture, whole chunks or not, does not change it. */
static void test_bytes_behind(void **state)
{
    (void)state;
    static const struct {
        const uint8_t *data;
        size_t size;
    } cases[] = {{BYTES("")},
                 {BYTES("\0\0\0\0eXI")},
                 {BYTES("\xff\xff\xff\xff"
                        "eXIfwithout an end")},
                 {BYTES("\0\0\0\2eXIfMM\0\0\0\0")},
                 {BYTES("\0\0\0\2eXIfMM\xca\x4e\x1f")}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        blob b = make_png(4, 5, 8, 0, 25);
        sumi_image image;
        blob_splice(&b, b.size, 0, cases[i].data, cases[i].size);
        assert_int_equal(sumi_image_parse("f", b.data, b.size, &image, NULL), SUMI_OK);
        expect_size(&image, 5, 4, 1);
        sumi_image_free(&image);
        blob_free(&b);
    }
}

static void test_sizes(void **state)
{
    (void)state;
    static const uint32_t good[][2] = {{1, 1}, {1048576, 64}, {64, 1048576}, {8192, 8192}};
    static const uint32_t bad[][2] = {{0, 1}, {1, 0}, {1048577, 1}, {1, 1048577}, {8192, 8193}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(sumi_image_check_size("f", good[i][0], good[i][1], NULL), SUMI_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(sumi_image_check_size("f", bad[i][0], bad[i][1], NULL), SUMI_EUNSUPPORTED);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void test_png_round_trip(void **state)
{
    uint8_t pixels[5 * 3 * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(17 * i);
    for (int channels = 1; channels <= 3; channels += 2) {
        const char *path = temp_path(*state, "a.png");
        sumi_image image = {5, 3, channels, pixels}, back;
        assert_int_equal(sumi_png_write(path, &image, NULL, NULL), SUMI_OK);
        assert_int_equal(sumi_image_read(path, &back, NULL), SUMI_OK);
        expect_size(&back, 5, 3, channels);
        assert_memory_equal(back.pixels, pixels, 15 * (size_t)channels);
        sumi_image_free(&back);
    }
}

static void test_png_comment(void **state)
{
    const char *path = temp_path(*state, "a.png");
    uint8_t pixel = 3;
    sumi_image image = {1, 1, 1, &pixel}, back;
    blob b = {0};
    assert_int_equal(sumi_png_write(path, &image, "sumi sample --seed 7", NULL), SUMI_OK);
    assert_int_equal(sumi_file_read(path, 4096, &b.data, &b.size, NULL), SUMI_OK);
    blob_find(&b, BYTES("tEXtComment\0sumi sample --seed 7"), 0);
    blob_free(&b);
    assert_int_equal(sumi_png_write(path, &image, "caf\xC3\xA9", NULL), SUMI_OK);
    assert_int_equal(sumi_file_read(path, 4096, &b.data, &b.size, NULL), SUMI_OK);
    blob_find(&b, BYTES("iTXtComment\0\0\0\0\0caf\xC3\xA9"), 0);
    blob_free(&b);
    /* Names of files are any bytes, and a finished picture is not lost for one. */
    assert_int_equal(sumi_png_write(path, &image, "--out caf\xE9.png", NULL), SUMI_OK);
    assert_int_equal(sumi_file_read(path, 4096, &b.data, &b.size, NULL), SUMI_OK);
    blob_find(&b, BYTES("tEXtComment\0--out caf\\xE9.png"), 0);
    blob_free(&b);
    assert_int_equal(sumi_image_read(path, &back, NULL), SUMI_OK);
    assert_int_equal(back.pixels[0], 3);
    sumi_image_free(&back);
}

static void test_png_write_checks(void **state)
{
    (void)state;
    uint8_t pixel[4] = {0};
    sumi_error err = {""};
    const sumi_image bad[] = {{1, 1, 2, pixel},
                              {0, 1, 1, pixel},
                              {1, -1, 1, pixel},
                              {1, (1 << 20) + 1, 1, pixel},
                              {(1 << 20) + 1, 1, 3, pixel}};
    static const char *const messages[] = {"f: a picture of 1 x 1 pixels and 2 channels",
                                           "f: a picture of 1 x 0 pixels and 1 channels",
                                           "f: a picture of -1 x 1 pixels and 1 channels",
                                           "f: a picture of 1048577 x 1 pixels and 1 channels",
                                           "f: a picture of 1 x 1048577 pixels and 3 channels"};
    for (int i = 0; i < 5; i++)
        expect_error(messages[i], sumi_png_write("f", &bad[i], NULL, &err), &err, SUMI_EINVAL,
                     messages[i]);
    const sumi_image good = {1, 1, 1, pixel};
    assert_int_equal(sumi_png_write("/no/such/folder/a.png", &good, NULL, &err), SUMI_EIO);
}

/* ---- Grids ----------------------------------------------------------------------------------- */

/* Every pixel of the grid: a picture's, enlarged, or white. */
static void expect_grid(int n, int h, int w, int c, int columns, int rows, int factor)
{
    size_t bytes = (size_t)n * (size_t)h * (size_t)w * (size_t)c;
    uint8_t *pixels = malloc(bytes);
    sumi_image grid;
    assert_non_null(pixels);
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = (uint8_t)(i * 37 % 251);
    assert_int_equal(sumi_image_grid(pixels, n, h, w, c, &grid, NULL), SUMI_OK);
    int step_y = h * factor + 2, step_x = w * factor + 2;
    expect_size(&grid, rows * step_y + 2, columns * step_x + 2, c);
    for (int y = 0; y < grid.height; y++)
        for (int x = 0; x < grid.width; x++)
            for (int k = 0; k < c; k++) {
                int row = y / step_y, column = x / step_x, i = row * columns + column;
                int py = y % step_y - 2, px = x % step_x - 2, expected = 255;
                if (py >= 0 && px >= 0 && row < rows && column < columns && i < n)
                    expected = pixels[((i * h + py / factor) * w + px / factor) * c + k];
                assert_int_equal(grid.pixels[(y * grid.width + x) * c + k], expected);
            }
    sumi_image_free(&grid);
    free(pixels);
}

static void test_grids(void **state)
{
    (void)state;
    expect_grid(1, 28, 28, 1, 1, 1, 3);
    expect_grid(64, 28, 28, 1, 8, 8, 3);
    expect_grid(64, 32, 32, 3, 8, 8, 3);
    expect_grid(2, 32, 32, 3, 2, 1, 3);
    expect_grid(5, 8, 4, 1, 3, 2, 12);
    expect_grid(7, 1, 1, 3, 3, 3, 96);
    expect_grid(3, 49, 20, 1, 2, 2, 1);
    expect_grid(1, 100, 130, 3, 1, 1, 1);
}

static void test_grid_checks(void **state)
{
    (void)state;
    static const int bad[][4] = {{0, 1, 1, 1},       {-1, 1, 1, 1},       {1, 0, 1, 1},
                                 {1, 1, -3, 1},      {1, 1, 1, 0},        {1, 1, 1, -4},
                                 {1, 2000000, 1, 1}, {80000000, 1, 1, 1}, {1, 1, 2000000, 1},
                                 {4, 600000, 1, 1},  {4, 1, 600000, 1}};
    uint8_t pixel[4] = {0};
    sumi_image grid;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(
            sumi_image_grid(pixel, bad[i][0], bad[i][1], bad[i][2], bad[i][3], &grid, NULL),
            SUMI_EINVAL);
    sumi_error err = {""};
    expect_error("large", sumi_image_grid(pixel, 10000, 1000, 1000, 3, &grid, &err), &err,
                 SUMI_EINVAL,
                 "a grid of 10000 pictures of 1000 x 1000 pixels has more than 67108864 pixels");
}

/* Rows and columns as they are asked for, which may be few or many. */
static void test_tables(void **state)
{
    (void)state;
    uint8_t pixels[2 * 3 * 96 * 96];
    sumi_image image;
    sumi_error err = {""};
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i / (96 * 96));
    assert_int_equal(sumi_image_table(pixels, 2, 3, 96, 96, 1, &image, NULL), SUMI_OK);
    expect_size(&image, 2 * 98 + 2, 3 * 98 + 2, 1);
    for (int row = 0; row < 2; row++)
        for (int column = 0; column < 3; column++)
            assert_int_equal(image.pixels[(row * 98 + 50) * image.width + column * 98 + 50],
                             row * 3 + column);
    sumi_image_free(&image);
    expect_error("no channels", sumi_image_table(pixels, 2, 3, 96, 96, 0, &image, &err), &err,
                 SUMI_EINVAL, "a table of pictures of 0 channels");
    expect_error("no rows", sumi_image_table(pixels, 0, 0, 96, 96, 1, &image, &err), &err,
                 SUMI_EINVAL, "a grid of 0 pictures of 96 x 96 pixels");
    static const int large[][2] = {{1000, 1000}, {1, 100000}, {100000, 1}};
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            sumi_image_table(pixels, large[i][0], large[i][1], 96, 96, 1, &image, &err),
            SUMI_EINVAL);
    assert_non_null(strstr(err.text, "has more than 67108864 pixels"));
}

/* Each kind has its row, and the first may begin within a column. */
static void test_rows_of_kinds(void **state)
{
    (void)state;
    static const uint8_t pixels[5 * 96 * 96] = {0};
    static const int at[5][2] = {{2, 0}, {0, 1}, {1, 1}, {2, 1}, {0, 2}};
    const sumi_kind_rows rows = {3, 2}, none = {0, 0}, late = {3, 3}, early = {3, -1};
    sumi_image image;
    assert_int_equal(sumi_image_rows(pixels, 5, &rows, 96, 96, 1, &image, NULL), SUMI_OK);
    assert_int_equal(image.height, 3 * 98 + 2);
    assert_int_equal(image.width, 3 * 98 + 2);
    int dark = 0;
    for (int i = 0; i < image.height * image.width; i++)
        dark += image.pixels[i] == 0;
    assert_int_equal(dark, 5 * 96 * 96);
    for (int i = 0; i < 5; i++)
        assert_int_equal(image.pixels[(at[i][0] * 98 + 50) * image.width + at[i][1] * 98 + 50], 0);
    sumi_image_free(&image);
    assert_int_equal(sumi_image_rows(pixels, 5, &none, 96, 96, 1, &image, NULL), SUMI_EINVAL);
    assert_int_equal(sumi_image_rows(pixels, 5, &late, 96, 96, 1, &image, NULL), SUMI_EINVAL);
    assert_int_equal(sumi_image_rows(pixels, 5, &early, 96, 96, 1, &image, NULL), SUMI_EINVAL);
    assert_int_equal(sumi_image_rows(pixels, 0, &rows, 96, 96, 1, &image, NULL), SUMI_EINVAL);
    assert_int_equal(sumi_image_rows(pixels, 80000000, &rows, 96, 96, 1, &image, NULL),
                     SUMI_EINVAL);
    assert_int_equal(sumi_image_rows(pixels, 5, &rows, 96, 96, 0, &image, NULL), SUMI_EINVAL);
}

/* Of images that are neither grey nor coloured, the first three channels, or the first of two. */
static void test_other_channels_are_shown(void **state)
{
    (void)state;
    static const uint8_t pixels[] = {10, 20, 30, 40, 50, 60, 70, 80};
    sumi_image image;
    assert_int_equal(sumi_image_grid(pixels, 2, 1, 1, 4, &image, NULL), SUMI_OK);
    const uint8_t *second = image.pixels + (50 * image.width + 98 + 50) * 3;
    assert_int_equal(image.channels, 3);
    assert_true(second[0] == 50 && second[1] == 60 && second[2] == 70);
    sumi_image_free(&image);
    assert_int_equal(sumi_image_grid(pixels, 1, 2, 2, 2, &image, NULL), SUMI_OK);
    assert_int_equal(image.channels, 1);
    assert_int_equal(image.pixels[(2 + 60) * image.width + 2 + 60], 70);
    sumi_image_free(&image);
}

/* The size that is asked for beforehand is the grid's own. */
static void test_grid_size(void **state)
{
    (void)state;
    static const uint8_t pixels[5 * 8 * 4];
    sumi_grid_layout layout;
    sumi_image grid;
    assert_int_equal(sumi_image_grid_size(5, 8, 4, &layout, NULL), SUMI_OK);
    assert_int_equal(sumi_image_grid(pixels, 5, 8, 4, 1, &grid, NULL), SUMI_OK);
    assert_true(layout.height == grid.height && layout.width == grid.width);
    assert_true(layout.factor == 12 && layout.columns == 3);
    sumi_image_free(&grid);
    assert_int_equal(sumi_image_grid_size(6900, 4, 4, &layout, NULL), SUMI_OK);
    assert_int_equal(sumi_image_grid_size(7000, 4, 4, &layout, NULL), SUMI_EINVAL);
}

static void test_range_to_bytes(void **state)
{
    (void)state;
    const float values[] = {-1, 0,    .0039215f, .0039216f, .5f,       .999f,       .9999999f,
                            1,  1.5f, NAN,       INFINITY,  -INFINITY, 254 / 255.f, -0.f};
    const uint8_t expected[] = {0, 0, 0, 1, 127, 254, 254, 255, 255, 0, 255, 0, 254, 0};
    uint8_t bytes[sizeof expected];
    sumi_range_to_bytes(values, sizeof bytes, 0, 1, bytes);
    assert_memory_equal(bytes, expected, sizeof bytes);
    /* A picture that was read comes out as it was. */
    for (int i = 0; i < 256; i++) {
        float value = (float)i / 255.f;
        sumi_range_to_bytes(&value, 1, 0, 1, bytes);
        assert_int_equal(bytes[0], i);
    }
    const float around_zero[] = {-1, 1, 0};
    const uint8_t wanted[] = {0, 255, 127};
    sumi_range_to_bytes(around_zero, 3, -1, 1, bytes);
    assert_memory_equal(bytes, wanted, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_png_kinds),
        cmocka_unit_test(test_png_bits_and_palettes),
        cmocka_unit_test(test_jpeg_kinds),
        cmocka_unit_test(test_broken_png),
        cmocka_unit_test(test_png_text_bomb),
        cmocka_unit_test(test_png_chunk_length),
        cmocka_unit_test(test_png_long_texts),
        cmocka_unit_test(test_damaged_png),
        cmocka_unit_test(test_broken_jpeg),
        cmocka_unit_test(test_other_content),
        cmocka_unit_test_setup_teardown(test_png_round_trip, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_png_comment, temp_setup, temp_teardown),
        cmocka_unit_test(test_png_write_checks),
        cmocka_unit_test(test_bytes_behind),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_grids),
        cmocka_unit_test(test_grid_checks),
        cmocka_unit_test(test_grid_size),
        cmocka_unit_test(test_rows_of_kinds),
        cmocka_unit_test(test_other_channels_are_shown),
        cmocka_unit_test(test_range_to_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
