/*
 * JPEGs that others read: every sampling, coding and kind of ink, damage that is passed over and
 * damage that is not, and pictures that are valid but too much. Most are made here by libjpeg.
 */
#include "io/io_test.h"

#include <jpeglib.h>

enum { SIDE = 40, MOST = 1 << 16 };

/* How a picture is made; zeros are libjpeg's defaults. */
typedef struct {
    const char *name;
    int channels; /* 1, 3 or 4 */
    int factors[4][2];
    int restart; /* MCUs */
    bool progressive, arithmetic, apart /* one scan a component */;
} recipe;

/* A soft slope, which survives any sampling. */
static int slope(int y, int x, int c)
{
    return 40 + 2 * y + (c == 1 ? 60 : x) + 20 * c;
}

static void write_rows(struct jpeg_compress_struct *jpeg)
{
    uint8_t row[SIDE * 4];
    while (jpeg->next_scanline < jpeg->image_height) {
        for (int x = 0; x < SIDE; x++)
            for (int c = 0; c < jpeg->input_components; c++)
                row[x * jpeg->input_components + c] =
                    (uint8_t)slope((int)jpeg->next_scanline, x, c);
        JSAMPROW rows[] = {row};
        jpeg_write_scanlines(jpeg, rows, 1);
    }
}

static blob encode(const recipe *r)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    jpeg_scan_info scans[4];
    unsigned char *data = NULL;
    unsigned long size = 0;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &data, &size);
    jpeg.image_width = jpeg.image_height = SIDE;
    jpeg.input_components = r->channels;
    jpeg.in_color_space = r->channels == 1 ? JCS_GRAYSCALE : r->channels == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 95, TRUE);
    jpeg.restart_interval = (unsigned)r->restart;
    jpeg.arith_code = r->arithmetic;
    for (int i = 0; i < r->channels && r->factors[0][0]; i++) {
        jpeg.comp_info[i].h_samp_factor = r->factors[i][0];
        jpeg.comp_info[i].v_samp_factor = r->factors[i][1];
    }
    for (int i = 0; i < r->channels; i++)
        scans[i] = (jpeg_scan_info){1, {i}, 0, 63, 0, 0};
    if (r->progressive)
        jpeg_simple_progression(&jpeg);
    else if (r->apart) {
        jpeg.scan_info = scans;
        jpeg.num_scans = r->channels;
    }
    jpeg_start_compress(&jpeg, TRUE);
    write_rows(&jpeg);
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    blob out = blob_copy(data, size);
    free(data);
    return out;
}

static const recipe recipes[] = {
    {"grey", .channels = 1},
    {"grey 2x2", .channels = 1, .factors = {{2, 2}}},
    {"4:4:4", .channels = 3, .factors = {{1, 1}, {1, 1}, {1, 1}}},
    {"4:4:4 by twos", .channels = 3, .factors = {{1, 2}, {1, 2}, {1, 2}}},
    {"4:4:4 by threes", .channels = 3, .factors = {{3, 1}, {3, 1}, {3, 1}}},
    {"4:2:0", .channels = 3, .factors = {{2, 2}, {1, 1}, {1, 1}}},
    {"4:2:2", .channels = 3, .factors = {{2, 1}, {1, 1}, {1, 1}}},
    {"4:4:0", .channels = 3, .factors = {{1, 2}, {1, 1}, {1, 1}}},
    {"4:1:1", .channels = 3, .factors = {{4, 1}, {1, 1}, {1, 1}}},
    {"4:1:0", .channels = 3, .factors = {{4, 2}, {1, 1}, {1, 1}}},
    {"thirds", .channels = 3, .factors = {{3, 1}, {1, 1}, {1, 1}}},
    {"one colour finer", .channels = 3, .factors = {{2, 2}, {2, 1}, {1, 2}}},
    {"colours finer than light", .channels = 3, .factors = {{1, 1}, {2, 2}, {2, 2}}},
    {"odd pair", .channels = 3, .factors = {{2, 2}, {1, 2}, {1, 1}}},
    {"apart", .channels = 3, .factors = {{2, 2}, {2, 2}, {2, 2}}, .apart = true},
    {"progressive", .channels = 3, .progressive = true},
    {"progressive grey", .channels = 1, .progressive = true},
    {"restarts", .channels = 3, .restart = 2},
    {"progressive restarts", .channels = 3, .progressive = true, .restart = 3},
    {"ink", .channels = 4},
    {"ink 2x2", .channels = 4, .factors = {{2, 2}, {1, 1}, {1, 1}, {2, 2}}},
    {"progressive ink", .channels = 4, .progressive = true},
#ifdef C_ARITH_CODING_SUPPORTED
    {"arithmetic", .channels = 3, .arithmetic = true},
    {"arithmetic progressive", .channels = 3, .arithmetic = true, .progressive = true},
#endif
};

enum { RECIPES = sizeof recipes / sizeof *recipes };

static int expected(const recipe *r, int y, int x, int c)
{
    if (r->channels < 4)
        return slope(y, x, c);
    return slope(y, x, 3) * slope(y, x, c) / 255;
}

static void expect_slope(const recipe *r, const blob *b)
{
    sumi_image image;
    sumi_error err = {""};
    if (sumi_image_parse("f", b->data, b->size, &image, &err) != SUMI_OK)
        fail_msg("%s: %s", r->name, err.text);
    assert_int_equal(image.height, SIDE);
    assert_int_equal(image.width, SIDE);
    assert_int_equal(image.channels, r->channels == 1 ? 1 : 3);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            for (int c = 0; c < image.channels; c++) {
                int found = image.pixels[(y * SIDE + x) * image.channels + c];
                if (abs(found - expected(r, y, x, c)) > 12)
                    fail_msg("%s: (%d, %d, %d) is %d, expected %d", r->name, y, x, c, found,
                             expected(r, y, x, c));
            }
    sumi_image_free(&image);
}

static void expect_status(const char *name, const blob *b, sumi_status status, const char *message)
{
    sumi_image image;
    sumi_error err = {""};
    expect_error(name, sumi_image_parse("f", b->data, b->size, &image, &err), &err, status,
                 message);
}

static void test_kinds(void **state)
{
    (void)state;
    for (int i = 0; i < RECIPES; i++) {
        blob b = encode(&recipes[i]);
        expect_slope(&recipes[i], &b);
        blob_free(&b);
    }
}

/* Where scan number `scan` (from 0) has its first byte of data. */
static size_t scan_start(const blob *b, int scan)
{
    size_t at = blob_find(b, "\xFF\xDA", 2, scan) + 2;
    return at + (size_t)(b->data[at] << 8 | b->data[at + 1]);
}

/* Bytes before a marker and behind the end, fill bytes, no end marker. */
static void test_stray_bytes(void **state)
{
    (void)state;
    static const char *const before[] = {"\xFF\xDB", "\xFF\xC0", "\xFF\xC4", "\xFF\xDA"};
    const recipe *r = &recipes[5];
    for (size_t i = 0; i < 4; i++) {
        static const char stray[] = "\0\0stray\xFF\xFF";
        blob b = encode(r);
        blob_splice(&b, blob_find(&b, before[i], 2, 0), 0, stray, sizeof stray - 1);
        expect_slope(r, &b);
        blob_free(&b);
    }
    blob b = encode(r);
    blob_splice(&b, b.size - 2, 0, "\1\2\3\4\5\6\7\10", 8);
    expect_slope(r, &b);
    blob_splice(&b, b.size, 0, "<!-- a page that a server added -->\xFF\xD8\xFF", 38);
    expect_slope(r, &b);
    blob_free(&b);
    for (int i = 0; i < RECIPES; i++) {
        const recipe *all = &recipes[i];
        b = encode(all);
        b.size -= 2;
        /* An arithmetic coder leaves out zeros at its end, and scans that are apart may go on. */
        if (all->arithmetic || all->apart)
            expect_status(all->name, &b, SUMI_EFORMAT,
                          "f: JPEG: its data end before the picture does");
        else
            expect_slope(all, &b);
        blob_free(&b);
    }
}

/* Cut anywhere within the picture, with an end marker put behind or not. */
static void test_truncation(void **state)
{
    (void)state;
    static const char *const messages[] = {"f: JPEG: its data end before the picture does",
                                           "f: JPEG: the file is cut off"};
    for (int i = 0; i < RECIPES; i++) {
        const recipe *r = &recipes[i];
        blob whole = encode(r);
        size_t first = scan_start(&whole, 0);
        for (size_t size = first; size < whole.size - 5; size += 1 + (whole.size - first) / 40) {
            for (int marked = 0; marked < 2; marked++) {
                blob cut = blob_copy(whole.data, size);
                sumi_image image;
                sumi_error err = {""};
                if (marked)
                    blob_splice(&cut, size, 0, "\xFF\xD9", 2);
                sumi_status status = sumi_image_parse("f", cut.data, cut.size, &image, &err);
                /* Scans that were not sent, and what an arithmetic coder left out, cannot be
                 * missed where the file says that it ends here. */
                bool silent = marked && (r->progressive || r->arithmetic || r->apart);
                if (status == SUMI_OK)
                    sumi_image_free(&image);
                if (silent ? status != SUMI_OK && status != SUMI_EFORMAT : status != SUMI_EFORMAT)
                    fail_msg("%s, %zu of %zu bytes: %d", r->name, size, whole.size, (int)status);
                if (status != SUMI_OK && !r->progressive && !r->apart)
                    assert_string_equal(err.text, messages[0]);
                blob_free(&cut);
            }
        }
        whole.size = first - 3;
        expect_status(r->name, &whole, SUMI_EFORMAT, messages[1]);
        blob_free(&whole);
    }
}

/* A restart marker that is lost or has another number spoils a part of the picture. */
static void test_restarts(void **state)
{
    (void)state;
    const recipe *r = &recipes[17];
    assert_string_equal(r->name, "restarts");
    for (int kind = 0; kind < 3; kind++) {
        blob b = encode(r);
        sumi_image image;
        size_t second = blob_find(&b, "\xFF\xD1", 2, 0);
        if (kind == 0)
            b.data[second + 1] = 0xD4;
        else if (kind == 1)
            blob_splice(&b, second, 2, "", 0);
        else
            blob_splice(&b, second - 3, 3, "", 0);
        assert_int_equal(sumi_image_parse("f", b.data, b.size, &image, NULL), SUMI_OK);
        assert_true(abs(image.pixels[0] - slope(0, 0, 0)) < 12);
        sumi_image_free(&image);
        blob_free(&b);
    }
}

/* The header's bytes: FF C0, length, bits, height, width, components. */
static void test_beyond(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int at;
        size_t size;
        const char *bytes, *message;
    } cases[] = {
        {"12 bits", 4, 1, "\14", "f: JPEG: 12 bits a sample; 8 are supported"},
        {"lossless", 1, 1, "\xC3", "f: JPEG: Unsupported JPEG process: SOF type 0xc3"},
        {"hierarchical", 1, 1, "\xC5", "f: JPEG: Unsupported JPEG process: SOF type 0xc5"},
        {"height at the end", 5, 2, "\0\0", "f: JPEG: its height is told at its end only"},
        {"wide", 7, 2, "\xFF\xFF", "f: JPEG: Maximum supported image dimension is 65500 pixels"},
        {"large", 5, 4, "\xFF\xDC\xFF\xDC",
         "f: 65500 x 65500 pixels, at most 67108864 are supported"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        blob b = encode(&recipes[0]);
        size_t frame = blob_find(&b, "\xFF\xC0", 2, 0);
        memcpy(b.data + frame + cases[i].at, cases[i].bytes, cases[i].size);
        expect_status(cases[i].name, &b, SUMI_EUNSUPPORTED, cases[i].message);
        blob_free(&b);
    }
    blob b = encode(&recipes[0]);
    memcpy(b.data + blob_find(&b, "\xFF\xC0", 2, 0) + 7, "\0\0", 2);
    sumi_image image;
    assert_int_equal(sumi_image_parse("f", b.data, b.size, &image, NULL), SUMI_EFORMAT);
    blob_free(&b);
}

/* Two components are a JPEG, but no picture that anybody shows. */
static void test_components(void **state)
{
    (void)state;
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *data = NULL, row[16] = {0};
    unsigned long size = 0;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &data, &size);
    jpeg.image_width = jpeg.image_height = 8;
    jpeg.input_components = 2;
    jpeg.in_color_space = JCS_UNKNOWN;
    jpeg_set_defaults(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    JSAMPROW rows[] = {row};
    while (jpeg.next_scanline < 8)
        jpeg_write_scanlines(&jpeg, rows, 1);
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    blob b = blob_copy(data, size);
    free(data);
    expect_status("two", &b, SUMI_EUNSUPPORTED, "f: JPEG: neither 1, 3 nor 4 components");
    blob_free(&b);
}

/* Pillow's colours, to the bit. */
static void test_ink(void **state)
{
    (void)state;
    static const char *const names[] = {"cmyk.jpg", "ycck.jpg", "cmyk_bare.jpg"};
    char path[4096];
    sumi_npy seen;
    assert_int_equal(sumi_npy_read(fixture_path("ink.npy", path), &seen, NULL), SUMI_OK);
    for (size_t i = 0; i < 3; i++) {
        blob b = fixture(names[i]);
        sumi_image image;
        assert_int_equal(sumi_image_parse("f", b.data, b.size, &image, NULL), SUMI_OK);
        assert_int_equal(image.channels, 3);
        size_t bytes = seen.count / 3;
        assert_int_equal(bytes, image.height * image.width * 3);
        assert_memory_equal(image.pixels, (uint8_t *)seen.data + i * bytes, bytes);
        sumi_image_free(&image);
        blob_free(&b);
    }
    sumi_npy_free(&seen);
}

/* Scans that say the same again and again would take for ever. */
static void test_many_scans(void **state)
{
    (void)state;
    enum { SCANS_MAX = 500 };
    const recipe progressive = {"scans", .channels = 1, .progressive = true};
    for (int more = 0; more < 2; more++) {
        blob b = encode(&progressive), scan = {0};
        size_t scans = 0, first = blob_find(&b, "\xFF\xDA", 2, 0), end = first + 2;
        while (b.data[end] != 0xFF || b.data[end + 1] == 0)
            end++;
        for (size_t at = first; at + 1 < b.size; at++)
            scans += b.data[at] == 0xFF && b.data[at + 1] == 0xDA;
        blob_splice(&scan, 0, 0, b.data + first, end - first);
        for (; scans < SCANS_MAX + (size_t)more; scans++)
            blob_splice(&b, end, 0, scan.data, scan.size);
        if (more) {
            expect_status("scans", &b, SUMI_EUNSUPPORTED, "f: JPEG: more than 500 scans");
        } else {
            sumi_image image;
            assert_int_equal(sumi_image_parse("f", b.data, b.size, &image, NULL), SUMI_OK);
            sumi_image_free(&image);
        }
        blob_free(&scan);
        blob_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),      cmocka_unit_test(test_stray_bytes),
        cmocka_unit_test(test_truncation), cmocka_unit_test(test_restarts),
        cmocka_unit_test(test_beyond),     cmocka_unit_test(test_components),
        cmocka_unit_test(test_ink),        cmocka_unit_test(test_many_scans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
