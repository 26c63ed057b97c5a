/* Event files: the bytes that TensorBoard's own classes write (make_events.py), and where a file
 * that was cut or damaged is whole. */
#define _GNU_SOURCE
#include "io_test.h"

static void add_all(sumi_text *out)
{
    const sumi_event_scalar both[] = {{"loss", .5}, {"lr", .001}}, one[] = {{"loss", -1e30}};
    uint8_t png[226] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\3\0\0\0\2\x08\x02";
    for (int i = 0; i < 200; i++)
        png[26 + i] = (uint8_t)i;
    sumi_event_version(out, 1700000000.5);
    sumi_event_scalars(out, 1700000001.25, 1, both, 2);
    sumi_event_scalars(out, 1700000002, 300, one, 1);
    sumi_event_png(out, 1700000003, 4294967295, "samples", png, sizeof png);
    assert_false(out->failed);
}

static void test_bytes(void **state)
{
    (void)state;
    sumi_text text = {0};
    uint8_t *data;
    size_t size;
    assert_int_equal(
        sumi_file_read(SUMI_TEST_DIR "/io/fixtures/events.tfevents", 1 << 20, &data, &size, NULL),
        SUMI_OK);
    add_all(&text);
    assert_int_equal(text.size, size);
    assert_memory_equal(text.data, data, size);
    sumi_text_free(&text);
    free(data);
}

static int64_t scan(const char *data, size_t size, int64_t last, bool *image)
{
    FILE *file = size ? fmemopen((void *)data, size, "rb") : fopen("/dev/null", "rb");
    assert_non_null(file);
    int64_t keep = sumi_events_scan(file, last, image);
    fclose(file);
    return keep;
}

static void test_where_it_is_whole(void **state)
{
    (void)state;
    sumi_text text = {0};
    bool image;
    add_all(&text);
    int64_t ends[5] = {0}, all = (int64_t)text.size;
    ends[1] = scan(text.data, text.size, 0, &image);
    ends[2] = scan(text.data, text.size, 299, &image);
    assert_false(image);
    ends[3] = scan(text.data, text.size, 4294967294, &image);
    ends[4] = scan(text.data, text.size, 4294967295, &image);
    assert_true(image);
    assert_true(ends[1] > 0 && ends[2] > ends[1] && ends[3] > ends[2] && ends[4] == all);
    for (int64_t cut = 0; cut < all; cut++) {
        int64_t whole = 0;
        for (int i = 0; i < 5; i++)
            whole = ends[i] <= cut ? ends[i] : whole;
        assert_int_equal(scan(text.data, (size_t)cut, INT64_MAX, &image), whole);
        text.data[cut] = (char)(text.data[cut] ^ 1 << cut % 8);
        assert_true(scan(text.data, text.size, INT64_MAX, &image) <= cut);
        text.data[cut] = (char)(text.data[cut] ^ 1 << cut % 8);
    }
    sumi_text_free(&text);
}

/* ---- Records that are whole and hold something else ------------------------------------------ */

/* CRC-32C bit by bit, masked as TensorBoard does it. */
static uint32_t checksum(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xFFFFFFFF;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

/* A record that says it has `length` bytes, with these in it. */
static void add_record(sumi_text *out, uint64_t length, const uint8_t *data, size_t size)
{
    uint8_t head[12], tail[4];
    sumi_put(head, length, 8);
    sumi_put(head + 8, checksum(head, 8), 4);
    sumi_put(tail, checksum(data, size), 4);
    sumi_text_add(out, head, sizeof head);
    sumi_text_add(out, data, size);
    sumi_text_add(out, tail, sizeof tail);
}

static void test_other_messages(void **state)
{
    (void)state;
    static const struct {
        const uint8_t *data;
        size_t size;
        bool kept, image;
    } cases[] = {
        {BYTES(""), true, false},                               /* of step 0 */
        {BYTES("\x10\x07"), true, false},                       /* step 7 */
        {BYTES("\x10\x08"), false, false},                      /* step 8 */
        {BYTES("\x10\x07\x4d\1\2\3\4"), true, false},           /* field 9: 4 bytes */
        {BYTES("\x10\x07\x4d\1\2\3"), false, false},            /* that are not there */
        {BYTES("\x49\1\2\3\4\5\6\7\x08\x10\x07"), true, false}, /* 8 bytes */
        {BYTES("\0\0"), false, false},                          /* field 0 */
        {BYTES("\xf8\x7f\0"), false, false},                    /* field 2047 */
        {BYTES("\x10"), false, false},                          /* a number without an end */
        {BYTES("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), false, false},
        {BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"), false, false},
        {BYTES("\x13\0"), false, false},                        /* a group */
        {BYTES("\x1a"), false, false},                          /* a part without a length */
        {BYTES("\x1a\x05xxxx"), false, false},                  /* that is cut */
        {BYTES("\x10\x07\x2a\x04\x0a\x02\x22\0"), true, true},  /* a summary with a picture */
        {BYTES("\x10\x06\x2a\x04\x0a\x02\x22\0"), true, false}, /* of an earlier step */
        {BYTES("\x10\x07\x2a\x04\x0a\x02\x1a\0"), true, false}, /* with something else */
        {BYTES("\x10\x07\x2a\x04\x0a\x02\0\0"), true, false},   /* with what is no value */
        {BYTES("\x10\x07\x2a\x02\0\0"), true, false},           /* no summary */
        {BYTES("\x10\x07\x2a\x04\x0a\x02\x22\0\x2a\0"), true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sumi_text text = {0};
        bool image = true;
        add_record(&text, cases[i].size, cases[i].data, cases[i].size);
        int64_t kept = scan(text.data, text.size, 7, &image);
        if (kept != (cases[i].kept ? (int64_t)text.size : 0) || image != cases[i].image)
            fail_msg("case %zu: %lld of %zu bytes, %spicture", i, (long long)kept, text.size,
                     image ? "" : "no ");
        sumi_text_free(&text);
    }
    /* Larger than any event is. */
    sumi_text text = {0};
    bool image;
    add_record(&text, UINT64_C(1) << 40, (const uint8_t *)"", 0);
    assert_int_equal(scan(text.data, text.size, 7, &image), 0);
    sumi_text_free(&text);
}

/* A picture counts where any event of the last step has one. */
static void test_several_events(void **state)
{
    (void)state;
    static const struct {
        const uint8_t *data;
        size_t size;
    } events[] = {{BYTES("\x10\x07\x2a\x04\x0a\x02\x22\0")},
                  {BYTES("\x10\x07")},
                  {BYTES("\x10\x07\x2a\x04\x0a\x02\x22\0")}};
    sumi_text text = {0};
    bool image = false;
    for (size_t i = 0; i < 3; i++)
        add_record(&text, events[i].size, events[i].data, events[i].size);
    assert_int_equal(scan(text.data, text.size, 7, &image), (int64_t)text.size);
    assert_true(image);
    assert_int_equal(scan(text.data, text.size, 8, &image), (int64_t)text.size);
    assert_false(image);
    sumi_text_free(&text);
}

/* 127 is the last number of one byte. */
static void test_numbers(void **state)
{
    (void)state;
    const sumi_event_scalar loss = {"loss", 1};
    sumi_text text = {0};
    sumi_event_scalars(&text, 0, 127, &loss, 1);
    assert_non_null(memmem(text.data, text.size, "\x10\x7f\x2a", 3));
    sumi_event_scalars(&text, 0, 128, &loss, 1);
    assert_non_null(memmem(text.data, text.size, "\x10\x80\1\x2a", 4));
    sumi_text_free(&text);
}

/* What is too short for a picture is left out; a grey one has one channel. */
static void test_pictures(void **state)
{
    (void)state;
    uint8_t png[26] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\3\0\0\0\2\x08";
    sumi_text text = {0};
    sumi_event_png(&text, 0, 1, "samples", png, 25);
    assert_int_equal(text.size, 0);
    sumi_event_png(&text, 0, 1, "samples", png, 26);
    /* height 2, width 3, channels 1 */
    assert_non_null(memmem(text.data, text.size, "\x08\2\x10\3\x18\1\x22", 7));
    sumi_text_free(&text);
    /* One that no record can hold is left out, too, and not looked at. */
    sumi_event_png(&text, 0, 1, "samples", png, SIZE_MAX / 2);
    assert_int_equal(text.size, 0);
    /* A number may have no name. */
    const sumi_event_scalar nameless = {"", 1};
    sumi_event_scalars(&text, 0, 1, &nameless, 1);
    assert_non_null(memmem(text.data, text.size, "\x0a\0", 2));
    sumi_text_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),          cmocka_unit_test(test_where_it_is_whole),
        cmocka_unit_test(test_other_messages), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_pictures),       cmocka_unit_test(test_several_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
