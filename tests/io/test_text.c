/* Growing text, and UTF-8 as readers check it. */
#include "io/io_test.h"

static void test_text_grows(void **state)
{
    (void)state;
    sumi_text text = {0};
    for (int i = 0; i < 1000; i++)
        sumi_text_printf(&text, "%d,", i % 10);
    sumi_text_add(&text, "\0x", 2);
    sumi_text_puts(&text, "");
    assert_false(text.failed);
    assert_int_equal(text.size, 2002);
    assert_memory_equal(text.data, "0,1,2,3,4,5,6,7,8,9,0,", 22);
    assert_memory_equal(text.data + 1998, "9,\0x", 5);
    sumi_text_free(&text);
    assert_null(text.data);
}

static void test_text_refuses_overflow(void **state)
{
    (void)state;
    sumi_text text = {0};
    sumi_text_puts(&text, "x");
    size_t size = text.size;
    text.size = SIZE_MAX - 1;
    sumi_text_add(&text, "ab", 2);
    assert_true(text.failed);
    text.size = size;
    sumi_text_puts(&text, "y");
    assert_string_equal(text.data, "x");
    sumi_text_free(&text);
}

static void test_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        bool valid;
    } cases[] = {
        {"", 0, true},
        {"a\0b", 3, true},
        {"\xC2\x80", 2, true},
        {"\xDF\xBF", 2, true},
        {"\xE0\xA0\x80", 3, true},
        {"\xED\x9F\xBF", 3, true},
        {"\xEE\x80\x80", 3, true},
        {"\xF0\x90\x80\x80", 4, true},
        {"\xF4\x8F\xBF\xBF", 4, true},
        {"\x80", 1, false},             /* a continuation alone */
        {"\xC0\x80", 2, false},         /* overlong */
        {"\xC1\xBF", 2, false},         /* overlong */
        {"\xE0\x9F\xBF", 3, false},     /* overlong */
        {"\xF0\x8F\xBF\xBF", 4, false}, /* overlong */
        {"\xED\xA0\x80", 3, false},     /* a surrogate */
        {"\xED\xBF\xBF", 3, false},     /* a surrogate */
        {"\xF4\x90\x80\x80", 4, false}, /* past U+10FFFF */
        {"\xF5\x80\x80\x80", 4, false},
        {"\xFF", 1, false},
        {"\xC2", 1, false}, /* cut off */
        {"\xE2\x82", 2, false},
        {"\xF0\x9F\x98", 3, false},
        {"\xE2\x28\xA1", 3, false}, /* no continuation */
        {"\xC3\xA9x\xFF", 4, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (sumi_utf8_valid(cases[i].bytes, cases[i].size) != cases[i].valid)
            fail_msg("case %zu", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_grows),
        cmocka_unit_test(test_text_refuses_overflow),
        cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
