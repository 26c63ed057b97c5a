/* Numbers under any locale, UTF-8, names of any bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/locale_test.h"

/* ---- Numbers --------------------------------------------------------------------------------- */

static void numbers_have_points(void)
{
    char text[64], *end;
    assert_int_equal(sumi_format(text, sizeof text, "%.3f %g %s", 1234567.5, .25, "x"), 18);
    assert_string_equal(text, "1234567.500 0.25 x");
    assert_true(sumi_parse_real("0.25;", &end) == .25);
    assert_string_equal(end, ";");
    assert_true(sumi_parse_real("0,25", &end) == 0);
    assert_string_equal(end, ",25");
    sumi_error err;
    sumi_fail(&err, SUMI_EINVAL, "%g is too much", .5);
    assert_string_equal(err.text, "0.5 is too much");
}

static void test_numbers(void **state)
{
    /* A comma; a decimal point of two bytes; an eight-bit set. */
    static const char *const locales[][2] = {
        {"de_DE", "UTF-8"}, {"ps_AF", "UTF-8"}, {"fr_FR", "ISO-8859-1"}};
    numbers_have_points();
    for (size_t i = 0; i < 3; i++) {
        if (!enter_locale(*state, locales[i][0], locales[i][1])) {
            leave_locale();
            skip();
        }
        char text[16];
        snprintf(text, sizeof text, "%.1f", .5);
        assert_string_not_equal(text, "0.5");
        numbers_have_points();
        /* The program's own printf is as it was. */
        snprintf(text, sizeof text, "%.1f", .5);
        assert_string_not_equal(text, "0.5");
        leave_locale();
    }
}

/* ---- Letters --------------------------------------------------------------------------------- */

static void test_letters(void **state)
{
    for (int turkish = 0; turkish < 2; turkish++) {
        if (turkish && !enter_locale(*state, "tr_TR", "ISO-8859-9")) {
            leave_locale();
            skip();
        }
        assert_true(sumi_same_letters("TRAIN", "train", SIZE_MAX));
        assert_true(sumi_same_letters("Validation-1", "vaLIDation", 10));
        assert_false(sumi_same_letters("valid", "validation", SIZE_MAX));
        assert_false(sumi_same_letters("x\xDD", "x\xFD", SIZE_MAX));
        assert_true(sumi_is_alnum('I') && sumi_is_alnum('z') && sumi_is_alnum('0'));
        assert_false(sumi_is_alnum('_') || sumi_is_alnum((char)0xFD) || sumi_is_alnum('\0'));
    }
    leave_locale();
}

/* ---- Names ----------------------------------------------------------------------------------- */

static void test_escape(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"plain \\ name", "plain \\ name"},
        {"\xE3\x83\x86.png", "\xE3\x83\x86.png"},
        {"caf\xE9", "caf\\xE9"},
        {"\xC3\xA9\xE9\xC3", "\xC3\xA9\\xE9\\xC3"},
        {"\x80\xFF", "\\x80\\xFF"},
        {"half \xE3\x83", "half \\xE3\\x83"},
        {"\xED\xA0\x80", "\\xED\\xA0\\x80"},
        {"\\xE9", "\\x5CxE9"},
        {"\\x5C", "\\x5Cx5C"},
        {"\\x41 \\xe9 \\xE \\x", "\\x41 \\xe9 \\xE \\x"},
        {"\\\xE9", "\\\\xE9"},
        {"\\x\xE9", "\\x\\xE9"},
        {"\\xE\xE9", "\\xE\\xE9"},
        {"\\\\xE9", "\\\\x5CxE9"},
        {"two\nlines", "two\nlines"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *escaped = sumi_escape_text(cases[i][0]);
        assert_string_equal(escaped, cases[i][1]);
        assert_true(sumi_utf8_valid(escaped, strlen(escaped)));
        sumi_unescape_text(escaped);
        assert_string_equal(escaped, cases[i][0]);
        free(escaped);
    }
}

/* Texts of four pieces, each a letter of an escape or of a sequence: every one comes back. */
static void test_escape_is_reversible(void **state)
{
    (void)state;
    static const char pieces[] = "\\x5CE9\xE3\x83\x86\xFF";
    enum { COUNT = sizeof pieces - 1, LENGTH = 5 };
    int total = COUNT * COUNT * COUNT * COUNT * COUNT;
    for (int i = 0; i < total; i++) {
        char text[LENGTH + 1] = "";
        for (int k = 0, rest = i; k < LENGTH; k++, rest /= COUNT)
            text[k] = pieces[rest % COUNT];
        char *escaped = sumi_escape_text(text);
        assert_true(sumi_utf8_valid(escaped, strlen(escaped)));
        sumi_unescape_text(escaped);
        if (strcmp(escaped, text) != 0)
            fail_msg("text %d", i);
        free(escaped);
    }
}

static void test_copy(void **state)
{
    (void)state;
    char out[8];
    assert_int_equal(sumi_copy_text(out, sizeof out, "short"), 5);
    assert_string_equal(out, "short");
    assert_int_equal(sumi_copy_text(out, sizeof out, "seven77"), 7);
    assert_string_equal(out, "seven77");
    /* Two characters of three bytes, and the third would be cut. */
    assert_int_equal(sumi_copy_text(out, sizeof out, "\xE3\x83\x86\xE3\x82\xB9\xE3\x83\x88"), 6);
    assert_string_equal(out, "\xE3\x83\x86\xE3\x82\xB9");
    assert_int_equal(sumi_copy_text(out, sizeof out, "abc\xF0\x9F\x98\x80"), 7);
    assert_int_equal(sumi_copy_text(out, sizeof out, "abcd\xF0\x9F\x98\x80"), 4);
    /* What is no UTF-8 is kept: whole where it fits, cut anywhere else. */
    assert_int_equal(sumi_copy_text(out, sizeof out, "caf\xE9"), 4);
    assert_string_equal(out, "caf\xE9");
    assert_int_equal(sumi_copy_text(out, sizeof out, "\x80\x81\x82\x83\x84\x85\x86\x87\x88"), 7);
    assert_int_equal(sumi_copy_text(out, 1, "\xE3\x83\x86"), 0);
    assert_string_equal(out, "");
}

static void test_clean(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a\nb\x1B[m\x7F", "a?b?[m?"},
        {"\xC2\x9B"
         "31m",
         "??31m"},
        {"caf\xE9 \\x5C", "caf\\xE9 \\x5C"},
        {"\x9B", "\\x9B"},
        {"\xE3\x83\x86", "\xE3\x83\x86"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *once = sumi_clean_copy(cases[i][0]), *twice = sumi_clean_copy(once);
        assert_string_equal(once, cases[i][1]);
        assert_string_equal(twice, once);
        free(once);
        free(twice);
    }
    char out[6];
    assert_int_equal(sumi_clean_text(out, sizeof out, "ab\xE9z"),
                     2); /* never a part of an escape */
    assert_string_equal(out, "ab");
    assert_int_equal(sumi_clean_text(out, sizeof out, "a\xE9z"), 5);
    assert_string_equal(out, "a\\xE9");
}

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

static void test_endings_and_shapes(void **state)
{
    (void)state;
    static const int64_t shape[] = {2, 31, 4};
    char out[32], tiny[6];
    assert_true(sumi_ends_with("a.png", ".png") && sumi_ends_with("a", ""));
    assert_false(sumi_ends_with("png", ".png") || sumi_ends_with("a.pngx", ".png"));
    sumi_shape_text(shape, 3, out, sizeof out);
    assert_string_equal(out, "[2][31][4]");
    sumi_shape_text(shape, 0, out, sizeof out);
    assert_string_equal(out, "a single number");
    sumi_shape_text(shape, 3, tiny, sizeof tiny);
    assert_string_equal(tiny, "[2][3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_numbers, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_letters, temp_setup, temp_teardown),
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_escape_is_reversible),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_text_grows),
        cmocka_unit_test(test_text_refuses_overflow),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_endings_and_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
