/* Event files: the bytes that TensorBoard's own classes write (make_events.py), and where a file
 * that was cut or damaged is whole. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_where_it_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
