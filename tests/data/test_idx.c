/* IDX files: what is read from good ones, and what is said about every kind of bad one. */
#include "data_test.h"

static sumi_status parse(blob b, sumi_dataset *set, sumi_error *err)
{
    *set = (sumi_dataset){0};
    *err = (sumi_error){{0}};
    return sumi_idx_images_parse("dir/x", b.data, b.size, set, err);
}

static void check_pixels(const sumi_dataset *set, int64_t n, int h, int w)
{
    assert_int_equal(set->count, n);
    assert_int_equal(set->height, h);
    assert_int_equal(set->width, w);
    assert_int_equal(set->channels, 1);
    assert_int_equal(set->classes, 0);
    for (size_t i = 0; i < (size_t)n * (size_t)h * (size_t)w; i++)
        assert_int_equal(set->pixels[i], test_pixel(i));
}

static void parses_plain_and_gzip(void **state)
{
    (void)state;
    for (int gz = 0; gz < 2; gz++) {
        blob b = idx_images(5, 4, 7);
        b = gz ? gzipped(b) : b;
        sumi_dataset set;
        sumi_error err;
        check_ok(parse(b, &set, &err), &err);
        check_pixels(&set, 5, 4, 7);
        sumi_data_clear(&set);
        free(b.data);
    }
}

/* gzip allows a file of several members, as `cat a.gz b.gz` makes. */
static void parses_gzip_members(void **state)
{
    (void)state;
    blob whole = idx_images(6, 5, 5);
    blob a = {malloc(20), 20}, b = {malloc(whole.size - 20), whole.size - 20};
    memcpy(a.data, whole.data, 20);
    memcpy(b.data, whole.data + 20, b.size);
    a = gzipped(a);
    b = gzipped(b);
    blob both = {malloc(a.size + b.size), a.size + b.size};
    memcpy(both.data, a.data, a.size);
    memcpy(both.data + a.size, b.data, b.size);
    sumi_dataset set;
    sumi_error err;
    check_ok(parse(both, &set, &err), &err);
    check_pixels(&set, 6, 5, 5);
    sumi_data_clear(&set);
    free(whole.data);
    free(a.data);
    free(b.data);
    free(both.data);
}

static void refuses_every_prefix(void **state)
{
    (void)state;
    for (int gz = 0; gz < 2; gz++) {
        blob b = idx_images(2, 3, 3);
        b = gz ? gzipped(b) : b;
        for (size_t size = 0; size < b.size; size++) {
            /* An exact copy, so that a read past the end is seen by the sanitizer. */
            blob cut = {malloc(size ? size : 1), size};
            memcpy(cut.data, b.data, size);
            sumi_dataset set;
            sumi_error err;
            check_failed(parse(cut, &set, &err), SUMI_EFORMAT, &err, "dir/x", NULL);
            assert_null(set.pixels);
            free(cut.data);
        }
        free(b.data);
    }
}

static void names_expected_and_found_sizes(void **state)
{
    (void)state;
    sumi_dataset set;
    sumi_error err;
    blob b = idx_images(3, 4, 5);
    b.size -= 7;
    check_failed(parse(b, &set, &err), SUMI_EFORMAT, &err, "dir/x", "truncated", "3 images of 4x5",
                 "60 bytes", "found 53", NULL);
    b.size += 7;
    b.data = realloc(b.data, b.size + 9);
    memset(b.data + b.size, 0, 9);
    b.size += 9;
    check_failed(parse(b, &set, &err), SUMI_EFORMAT, &err, "oversized", "3 images of 4x5",
                 "60 bytes", "found 69", NULL);
    b = gzipped(b);
    check_failed(parse(b, &set, &err), SUMI_EFORMAT, &err, "oversized", "60 bytes", "found more",
                 NULL);
    free(b.data);
    /* Whole gzip data around too short contents. */
    b = idx_images(3, 4, 5);
    b.size -= 1;
    b = gzipped(b);
    check_failed(parse(b, &set, &err), SUMI_EFORMAT, &err, "truncated", "60 bytes", "found 59",
                 NULL);
    free(b.data);
}

#define IMAGES_EXPECTED "dir/x: expected IDX images (magic 0x00000803), found "
#define LABELS_EXPECTED "dir/x: expected IDX labels (magic 0x00000801), found "
#define NOTHING "dir/x: holds no images (the header says "
#define TOO_LARGE " are more than sumi takes (64 GiB of pixels, sides 1 to 16384)"

/* Files of so many bytes that begin with these numbers, zeros behind them; each with the whole of
 * what is said about it. */
static const struct {
    uint32_t numbers[4];
    size_t size;
    bool labels, gzip;
    sumi_status status;
    const char *message;
} broken[] = {
    {{0}, 0, false, false, SUMI_EFORMAT, "dir/x: is an empty file, expected IDX data"},
    {{0}, 0, true, false, SUMI_EFORMAT, "dir/x: is an empty file, expected IDX data"},
    {{0}, 0, false, true, SUMI_EFORMAT, "dir/x: expected an IDX header of 16 bytes, found 0"},
    {{0x803}, 3, false, false, SUMI_EFORMAT, "dir/x: expected an IDX header of 16 bytes, found 3"},
    {{0x803}, 4, false, false, SUMI_EFORMAT, "dir/x: expected an IDX header of 16 bytes, found 4"},
    {{0x803, 1, 2, 2},
     15,
     false,
     false,
     SUMI_EFORMAT,
     "dir/x: expected an IDX header of 16 bytes, found 15"},
    {{0x803, 1, 2, 2},
     15,
     false,
     true,
     SUMI_EFORMAT,
     "dir/x: expected an IDX header of 16 bytes, found 15"},
    {{0x801, 3}, 7, true, false, SUMI_EFORMAT, "dir/x: expected an IDX header of 8 bytes, found 7"},
    {{0x801, 3}, 11, false, false, SUMI_EFORMAT, IMAGES_EXPECTED "IDX labels (0x00000801)"},
    {{0x801, 3}, 11, false, true, SUMI_EFORMAT, IMAGES_EXPECTED "IDX labels (0x00000801)"},
    {{0x803, 1, 2, 2}, 20, true, false, SUMI_EFORMAT, LABELS_EXPECTED "IDX images (0x00000803)"},
    {{0xd03, 1, 2, 2},
     20,
     false,
     false,
     SUMI_EFORMAT,
     IMAGES_EXPECTED "IDX data of type 0x0d with 3 dimensions (0x00000d03)"},
    {{0x804, 1, 2, 2},
     20,
     false,
     false,
     SUMI_EFORMAT,
     IMAGES_EXPECTED "IDX data of type 0x08 with 4 dimensions (0x00000804)"},
    {{0x802, 1, 2},
     20,
     false,
     false,
     SUMI_EFORMAT,
     IMAGES_EXPECTED "IDX data of type 0x08 with 2 dimensions (0x00000802)"},
    {{0x901, 3},
     11,
     true,
     false,
     SUMI_EFORMAT,
     LABELS_EXPECTED "IDX data of type 0x09 with 1 dimensions (0x00000901)"},
    {{0x805, 1, 2, 2}, 20, false, false, SUMI_EFORMAT, IMAGES_EXPECTED "other data (0x00000805)"},
    {{0x800, 1, 2, 2}, 20, false, false, SUMI_EFORMAT, IMAGES_EXPECTED "other data (0x00000800)"},
    {{0x3080000, 1, 2, 2},
     20,
     false,
     false,
     SUMI_EFORMAT,
     IMAGES_EXPECTED "other data (0x03080000)"},
    {{0x805, 1, 2, 2},
     20,
     false,
     true,
     SUMI_EFORMAT,
     IMAGES_EXPECTED "other data inside gzip (0x00000805)"},
    {{0x803, 0, 2, 2}, 16, false, false, SUMI_EFORMAT, NOTHING "0 images of 2x2)"},
    {{0x803, 3, 0, 2}, 16, false, false, SUMI_EFORMAT, NOTHING "3 images of 0x2)"},
    {{0x803, 3, 2, 0}, 16, false, true, SUMI_EFORMAT, NOTHING "3 images of 2x0)"},
    {{0x803, 0xffffffff, 0, 0xffffffff},
     16,
     false,
     false,
     SUMI_EFORMAT,
     NOTHING "4294967295 images of 0x4294967295)"},
    {{0x803, 3, 2, 2},
     27,
     false,
     false,
     SUMI_EFORMAT,
     "dir/x: truncated: 3 images of 2x2 take 12 bytes, found 11"},
    {{0x803, 3, 2, 2},
     27,
     false,
     true,
     SUMI_EFORMAT,
     "dir/x: truncated: 3 images of 2x2 take 12 bytes, found 11"},
    {{0x803, 3, 2, 2},
     16,
     false,
     false,
     SUMI_EFORMAT,
     "dir/x: truncated: 3 images of 2x2 take 12 bytes, found 0"},
    {{0x803, 0xffffffff, 0xffffffff, 0xffffffff},
     40,
     false,
     false,
     SUMI_EUNSUPPORTED,
     "dir/x: 4294967295 images of 4294967295x4294967295x1" TOO_LARGE},
    {{0x803, 0x10000, 0x10000, 1},
     40,
     false,
     false,
     SUMI_EUNSUPPORTED,
     "dir/x: 65536 images of 65536x1x1" TOO_LARGE},
    {{0x803, 0x10000, 0x4000, 1},
     40,
     false,
     false,
     SUMI_EFORMAT,
     "dir/x: truncated: 65536 images of 16384x1 take 1073741824 bytes, found 24"},
    {{0x803, 3, 2, 2},
     29,
     false,
     false,
     SUMI_EFORMAT,
     "dir/x: oversized: 3 images of 2x2 take 12 bytes, found 13"},
    {{0x803, 3, 2, 2},
     1000,
     false,
     false,
     SUMI_EFORMAT,
     "dir/x: oversized: 3 images of 2x2 take 12 bytes, found 984"},
    {{0x803, 3, 2, 2},
     29,
     false,
     true,
     SUMI_EFORMAT,
     "dir/x: oversized: 3 images of 2x2 take 12 bytes, found more"},
    {{0x803, 1, 1, 16385},
     16401,
     false,
     false,
     SUMI_EUNSUPPORTED,
     "dir/x: 1 images of 1x16385x1" TOO_LARGE},
    {{0x803, 1, 16385, 1},
     16401,
     false,
     true,
     SUMI_EUNSUPPORTED,
     "dir/x: 1 images of 16385x1x1" TOO_LARGE},
    {{0x801, 2},
     10,
     true,
     false,
     SUMI_EFORMAT,
     "dir/x: expected one label for each of the 3 images, found 2 labels"},
    {{0x801, 0xffffffff},
     10,
     true,
     false,
     SUMI_EFORMAT,
     "dir/x: expected one label for each of the 3 images, found 4294967295 labels"},
    {{0x801, 3}, 10, true, false, SUMI_EFORMAT, "dir/x: truncated: 3 labels take 3 bytes, found 2"},
    {{0x801, 3}, 12, true, false, SUMI_EFORMAT, "dir/x: oversized: 3 labels take 3 bytes, found 4"},
    {{0x801, 3},
     12,
     true,
     true,
     SUMI_EFORMAT,
     "dir/x: oversized: 3 labels take 3 bytes, found more"},
};

static void says_exactly_what_is_wrong(void **state)
{
    (void)state;
    assert_true(sizeof broken / sizeof *broken >= 30);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        uint8_t head[16];
        sumi_dataset set = {.count = 3};
        sumi_error err = {{0}};
        blob b = {calloc(1, broken[i].size + 1), broken[i].size};
        assert_non_null(b.data);
        for (int k = 0; k < 4; k++)
            put_big_endian(head + 4 * k, broken[i].numbers[k]);
        memcpy(b.data, head, b.size < sizeof head ? b.size : sizeof head);
        b = broken[i].gzip ? gzipped(b) : b;
        sumi_status status = broken[i].labels
                                 ? sumi_idx_labels_parse("dir/x", b.data, b.size, &set, &err)
                                 : parse(b, &set, &err);
        if (status != broken[i].status || strcmp(err.text, broken[i].message) != 0)
            fail_msg("case %zu: status %d, '%s', expected '%s'", i, (int)status, err.text,
                     broken[i].message);
        free(b.data);
    }
}

/* 32 MiB of zeros behind a header of one image: only one byte past it is ever unpacked. */
static void stops_a_gzip_bomb(void **state)
{
    (void)state;
    blob b = {calloc(1, 32 << 20), 32 << 20};
    blob small = idx_images(1, 2, 2);
    memcpy(b.data, small.data, small.size);
    b = gzipped(b);
    assert_true(b.size < 64 << 10);
    sumi_dataset set;
    sumi_error err;
    check_failed(parse(b, &set, &err), SUMI_EFORMAT, &err, "oversized", "1 images of 2x2", NULL);
    free(b.data);
    free(small.data);
}

/* Whole files, with more than is taken. */
static void refuses_what_is_too_large(void **state)
{
    (void)state;
    for (int gz = 0; gz < 2; gz++) {
        blob b = idx_images(1, 1, 16385);
        b = gz ? gzipped(b) : b;
        sumi_dataset set;
        sumi_error err;
        check_failed(parse(b, &set, &err), SUMI_EUNSUPPORTED, &err, "dir/x", "1x16385",
                     "more than sumi takes", NULL);
        free(b.data);
    }
}

/* Headers that announce gigabytes: refused by the file's size, before memory is taken. */
static void refuses_large_claims(void **state)
{
    (void)state;
    static const struct {
        uint32_t n, h, w;
        sumi_status status;
        const char *text;
    } cases[] = {
        {1000000, 100, 100, SUMI_EFORMAT, "truncated"},
        {256, 16384, 16384, SUMI_EFORMAT, "truncated"},
        {0x7fffffff, 32, 1, SUMI_EFORMAT, "truncated"},
        {257, 16384, 16384, SUMI_EUNSUPPORTED, "more than sumi takes"},
        {0x7fffffff, 16384, 16384, SUMI_EUNSUPPORTED, "more than sumi takes"},
        {0xffffffff, 28, 28, SUMI_EUNSUPPORTED, "more than sumi takes"},
        {0xffffffff, 0xffffffff, 0xffffffff, SUMI_EUNSUPPORTED, "more than sumi takes"},
        {5, 0, 7, SUMI_EFORMAT, "no images"},
        {5, 7, 0, SUMI_EFORMAT, "no images"},
        {5, 7, 16385, SUMI_EUNSUPPORTED, "more than sumi takes"},
        {0, 28, 28, SUMI_EFORMAT, "no images"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int gz = 0; gz < 2; gz++) {
            blob b = idx_images(1, 3, 3);
            put_big_endian(b.data + 4, cases[i].n);
            put_big_endian(b.data + 8, cases[i].h);
            put_big_endian(b.data + 12, cases[i].w);
            b = gz ? gzipped(b) : b;
            sumi_dataset set;
            sumi_error err;
            check_failed(parse(b, &set, &err), cases[i].status, &err, "dir/x", cases[i].text, NULL);
            free(b.data);
        }
    }
}

/* Headers with more than one mistake, and too few bytes or too many behind them: the one that is
 * told does not depend on how the bytes are packed. */
static void gzip_changes_no_refusal(void **state)
{
    (void)state;
    static const uint32_t magics[] = {0x803, 0x801, 0x802, 0xd03, 0x12345678};
    static const uint32_t numbers[] = {0, 1, 3, 16384, 16385, 0x80000000, 0xffffffff};
    static const size_t rest[] = {0, 1, 19, 1000};
    enum { NUMBERS = sizeof numbers / sizeof *numbers };
    for (size_t i = 0; i < 5 * 4 * NUMBERS * NUMBERS * NUMBERS; i++) {
        uint32_t magic = magics[i % 5], n = numbers[i / 20 % NUMBERS];
        uint32_t h = numbers[i / 20 / NUMBERS % NUMBERS], w = numbers[i / 20 / NUMBERS / NUMBERS];
        size_t size = 16 + rest[i / 5 % 4];
        blob b = {calloc(1, size), size};
        assert_non_null(b.data);
        put_big_endian(b.data, magic);
        put_big_endian(b.data + 4, n);
        put_big_endian(b.data + 8, h);
        put_big_endian(b.data + 12, w);
        sumi_dataset set;
        sumi_error plain, packed;
        sumi_status expected = parse(b, &set, &plain);
        sumi_data_clear(&set);
        b = gzipped(b);
        sumi_status status = parse(b, &set, &packed);
        sumi_data_clear(&set);
        free(b.data);
        /* What lies behind the header is counted differently, and gzip is named. */
        bool same = strncmp(plain.text, packed.text, 16) == 0 &&
                    (strcmp(plain.text, packed.text) == 0 || strstr(plain.text, "truncated: ") ||
                     strstr(plain.text, "oversized: ") || strstr(plain.text, "other data"));
        if (status != expected || !same)
            fail_msg("%08x %u %u %u and %zu bytes: %d, '%s'; in gzip %d, '%s'", (unsigned)magic,
                     (unsigned)n, (unsigned)h, (unsigned)w, size, (int)expected, plain.text,
                     (int)status, packed.text);
    }
}

static void says_what_it_is_instead(void **state)
{
    (void)state;
    sumi_dataset set;
    sumi_error err;
    blob b = idx_labels(40, 10);
    check_failed(parse(b, &set, &err), SUMI_EFORMAT, &err, "expected IDX images", "0x00000803",
                 "found IDX labels", "0x00000801", NULL);
    b = gzipped(b);
    check_failed(parse(b, &set, &err), SUMI_EFORMAT, &err, "found IDX labels", NULL);
    free(b.data);
    b = idx_images(1, 3, 3);
    b.data[2] = 0x0d;
    check_failed(parse(b, &set, &err), SUMI_EFORMAT, &err, "type 0x0d", "3 dimensions", NULL);
    free(b.data);
    static const struct {
        const char *content, *kind;
    } cases[] = {
        {"<!DOCTYPE html>\n<html><head><title>404</title></head></html>", "an HTML page"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n",
         "a git-lfs pointer"},
        {"hello, this is text", "found other data"},
        {"", "an empty file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        blob text = {(uint8_t *)(uintptr_t)cases[i].content, strlen(cases[i].content)};
        check_failed(parse(text, &set, &err), SUMI_EFORMAT, &err, "dir/x", cases[i].kind, NULL);
    }
}

static void refuses_broken_gzip(void **state)
{
    (void)state;
    sumi_dataset set;
    sumi_error err;
    blob b = gzipped(idx_images(4, 9, 9));
    b.data[b.size - 6] ^= 0xff; /* inside the CRC-32 */
    check_failed(parse(b, &set, &err), SUMI_EFORMAT, &err, "dir/x", "broken gzip", NULL);
    b.data[b.size - 6] ^= 0xff;
    b.data = realloc(b.data, b.size + 3);
    memcpy(b.data + b.size, "abc", 3);
    b.size += 3;
    check_failed(parse(b, &set, &err), SUMI_EFORMAT, &err, "3 bytes follow", NULL);
    /* The beginning of a member is none. */
    static const char *const ends[] = {"\x1f", "\x1f\x62", "\x1f\x8b"};
    size_t whole = b.size - 3;
    for (int i = 0; i < 3; i++) {
        b.size = whole + strlen(ends[i]);
        memcpy(b.data + whole, ends[i], strlen(ends[i]));
        check_failed(parse(b, &set, &err), SUMI_EFORMAT, &err, "dir/x", NULL);
    }
    free(b.data);
    /* zlib asks for a dictionary, which gzip does not have: no message of its own. */
    b = gzipped(idx_images(4, 9, 9));
    b.data[3] |= 0xe0; /* flags that are reserved */
    check_failed(parse(b, &set, &err), SUMI_EFORMAT, &err, "broken gzip data: ", NULL);
    free(b.data);
}

static void labels_are_checked_against_images(void **state)
{
    (void)state;
    sumi_error err = {{0}};
    sumi_dataset set = {.count = 30};
    blob b = gzipped(idx_labels(30, 7));
    check_ok(sumi_idx_labels_parse("y", b.data, b.size, &set, &err), &err);
    assert_int_equal(set.classes, 7);
    for (int i = 0; i < 30; i++)
        assert_int_equal(set.labels[i], i % 7);
    set.count = 31;
    check_failed(sumi_idx_labels_parse("y", b.data, b.size, &set, &err), SUMI_EFORMAT, &err, "y",
                 "31 images", "found 30 labels", NULL);
    free(b.data);
    /* More than so few bytes can stand for: refused before memory is taken. */
    b = idx_labels(2, 2);
    put_big_endian(b.data + 4, 1000000);
    b = gzipped(b);
    set.count = 1000000;
    check_failed(sumi_idx_labels_parse("y", b.data, b.size, &set, &err), SUMI_EFORMAT, &err,
                 "truncated: 1000000 labels take 1000000 bytes, which a gzip file of", NULL);
    free(b.data);
    set.count = 31;
    b = idx_labels(31, 7);
    for (size_t size = 0; size < b.size; size++)
        check_failed(sumi_idx_labels_parse("y", b.data, size, &set, &err), SUMI_EFORMAT, &err, "y",
                     NULL);
    put_big_endian(b.data, 0x803);
    check_failed(sumi_idx_labels_parse("y", b.data, b.size, &set, &err), SUMI_EFORMAT, &err,
                 "expected IDX labels", "found IDX images", NULL);
    free(b.data);
    assert_int_equal(set.classes, 7); /* what was there stays */
    sumi_data_clear(&set);
}

static void opens_a_folder_by_split(void **state)
{
    put_bytes(state, "train-images-idx3-ubyte.gz", gzipped(idx_images(12, 6, 6)));
    put_bytes(state, "train-labels-idx1-ubyte", idx_labels(12, 3));
    put_bytes(state, "t10k-images-idx3-ubyte", idx_images(4, 6, 6));
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_ok(sumi_data_open(*state, &config, &set, &err), &err);
    assert_int_equal(set->count, 12);
    assert_int_equal(set->classes, 3);
    assert_int_equal(set->labels[11], 2);
    sumi_data_free(set);
    config.split = "test";
    check_ok(sumi_data_open(*state, &config, &set, &err), &err);
    assert_int_equal(set->count, 4);
    assert_null(set->labels);
    sumi_data_free(set);
    char path[1024];
    unlink(in_dir(state, "t10k-images-idx3-ubyte", path));
    check_failed(sumi_data_open(*state, &config, &set, &err), SUMI_EIO, &err, *state,
                 "t10k-images-idx3-ubyte", "test split", NULL);
}

static void opens_a_file_with_labels_beside(void **state)
{
    put_bytes(state, "my-images.idx3-ubyte", idx_images(6, 5, 4));
    put_bytes(state, "my-labels.idx1-ubyte.gz", gzipped(idx_labels(6, 2)));
    put_bytes(state, "plain.bin", idx_images(2, 5, 4));
    char path[1024];
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    in_dir(state, "my-images.idx3-ubyte", path);
    check_ok(sumi_data_open(path, NULL, &set, &err), &err);
    assert_int_equal(set->classes, 2);
    assert_string_equal(set->name, "my-images.idx3-ubyte");
    assert_string_equal(set->path, path);
    sumi_data_free(set);
    check_ok(sumi_data_open(in_dir(state, "plain.bin", path), NULL, &set, &err), &err);
    assert_int_equal(set->classes, 0);
    sumi_data_free(set);
    put_bytes(state, "my-labels.idx1-ubyte", idx_labels(5, 2));
    check_failed(sumi_data_open(in_dir(state, "my-images.idx3-ubyte", path), NULL, &set, &err),
                 SUMI_EFORMAT, &err, "my-labels.idx1-ubyte", "6 images", "5 labels", NULL);
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.split = "test";
    check_failed(sumi_data_open(in_dir(state, "plain.bin", path), &config, &set, &err), SUMI_EINVAL,
                 &err, path, "test split", NULL);
}

/* Names that are nearly those of IDX files are not; a plain set stands before one with a prefix. */
static void names_of_sets(void **state)
{
    static const char *const none[] = {".train-images-idx3-ubyte", "train-images-idx3-ubyte.xz",
                                       "train-images-idx3-ubytes", "rain-images-idx3-ubyte"};
    char path[1024], name[256];
    for (int i = 0; i < 4; i++)
        put_bytes(state, none[i], idx_images(3, 4, 4));
    in_dir(state, "train-images-idx3-ubyte/x", path); /* a folder */
    memset(name, 'p', 200);
    strcpy(name + 200, "-train-images-idx3-ubyte");
    put_bytes(state, name, idx_images(3, 4, 4)); /* a prefix that is too long */
    assert_int_equal(sumi_idx_count(*state), 0);
    assert_int_equal(sumi_idx_count("/no/such/folder"), 0);
    /* Each name of a split makes a set, with either ending. */
    static const char *const alone[] = {"train-images-idx3-ubyte", "t10k-images.idx3-ubyte",
                                        "test-images-idx3-ubyte.gz", "test-images.idx3-ubyte.gz"};
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "alone%d/%s", i, alone[i]);
        put_bytes(state, name, idx_images(3, 4, 4));
        snprintf(name, sizeof name, "alone%d", i);
        assert_int_equal(sumi_idx_count(in_dir(state, name, path)), 1);
    }
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "many/set%02d-train-images-idx3-ubyte", i);
        put_bytes(state, name, idx_images(3, 4, 4));
        snprintf(name, sizeof name, "many/set%02d-test-images.idx3-ubyte", i);
        put_bytes(state, name, idx_images(2, 4, 4));
    }
    int count = sumi_idx_count(in_dir(state, "many", path));
    assert_in_range(count, 2, 40);
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_failed(sumi_data_open(path, NULL, &set, &err), SUMI_EINVAL, &err, "set00, set01",
                 "name the images file", NULL);
    put_bytes(state, "many/train-images-idx3-ubyte", idx_images(5, 4, 4));
    if (count < 40)
        return;
    check_ok(sumi_data_open(path, NULL, &set, &err), &err);
    assert_int_equal(set->count, 5);
    sumi_data_free(set);
}

static void resizes_and_converts(void **state)
{
    put_bytes(state, "train-images-idx3-ubyte", idx_images(3, 7, 9));
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.height = 12;
    config.width = 10;
    config.channels = 3;
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_ok(sumi_data_open(*state, &config, &set, &err), &err);
    assert_int_equal(set->height, 12);
    assert_int_equal(set->width, 10);
    assert_int_equal(set->channels, 3);
    blob b = idx_images(3, 7, 9);
    uint8_t expected[12 * 10], found[12 * 10 * 3];
    for (int i = 0; i < 3; i++) {
        check_ok(resize_cover(b.data + 16 + 63 * i, 7, 9, 1, expected, 12, 10, &err), &err);
        sumi_data_read_bytes(set, i, found);
        for (int p = 0; p < 120; p++) {
            for (int c = 0; c < 3; c++)
                assert_int_equal(found[3 * p + c], expected[p]);
        }
    }
    free(b.data);
    sumi_data_free(set);
    put_bytes(state, "train-images-idx3-ubyte", idx_images(100, 7, 9));
    config.height = config.width = 16384;
    check_failed(sumi_data_open(*state, &config, &set, &err), SUMI_EINVAL, &err,
                 "100 images of 16384x16384x3", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_plain_and_gzip),
        cmocka_unit_test(parses_gzip_members),
        cmocka_unit_test(refuses_every_prefix),
        cmocka_unit_test(names_expected_and_found_sizes),
        cmocka_unit_test(says_exactly_what_is_wrong),
        cmocka_unit_test(stops_a_gzip_bomb),
        cmocka_unit_test(refuses_large_claims),
        cmocka_unit_test(gzip_changes_no_refusal),
        cmocka_unit_test(refuses_what_is_too_large),
        cmocka_unit_test(says_what_it_is_instead),
        cmocka_unit_test(refuses_broken_gzip),
        cmocka_unit_test(labels_are_checked_against_images),
        cmocka_unit_test_setup_teardown(opens_a_folder_by_split, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(opens_a_file_with_labels_beside, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(names_of_sets, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(resizes_and_converts, dir_setup, dir_teardown),
    };
    return cmocka_run_group_tests_name("idx", tests, NULL, NULL);
}
