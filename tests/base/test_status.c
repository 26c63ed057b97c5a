/* Messages: one line, printable, cut at a character, prefixed; names of statuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(sumi_status_name(SUMI_OK), "SUMI_OK");
    assert_string_equal(sumi_status_name(SUMI_CANCELLED), "SUMI_CANCELLED");
    assert_string_equal(sumi_status_name(SUMI_ENOMEM), "SUMI_ENOMEM");
    assert_string_equal(sumi_status_name(SUMI_EINVAL), "SUMI_EINVAL");
    assert_string_equal(sumi_status_name(SUMI_EIO), "SUMI_EIO");
    assert_string_equal(sumi_status_name(SUMI_EFORMAT), "SUMI_EFORMAT");
    assert_string_equal(sumi_status_name(SUMI_ESHAPE), "SUMI_ESHAPE");
    assert_string_equal(sumi_status_name(SUMI_EUNSUPPORTED), "SUMI_EUNSUPPORTED");
    assert_string_equal(sumi_status_name((sumi_status)77), "unknown status");
}

static void test_message(void **state)
{
    (void)state;
    sumi_error err;
    assert_int_equal(sumi_fail(&err, SUMI_EIO, "%s: %d", "a", 7), SUMI_EIO);
    assert_string_equal(err.text, "a: 7");
    /* The message may quote the one before it. */
    assert_int_equal(sumi_fail(&err, SUMI_EINVAL, "again %s", err.text), SUMI_EINVAL);
    assert_string_equal(err.text, "again a: 7");
    assert_int_equal(sumi_fail(NULL, SUMI_ESHAPE, "%s", "dropped"), SUMI_ESHAPE);
    assert_int_equal(sumi_fail_memory(&err, "arena", 12), SUMI_ENOMEM);
    assert_string_equal(err.text, "out of memory: arena (12 bytes)");
}

static void test_printable(void **state)
{
    (void)state;
    sumi_error err;
    sumi_fail(&err, SUMI_EIO,
              "a\nb\tc\x1b[31md\x7f"
              "e\xc2\x9b"
              "f\xc3\xa9");
    assert_string_equal(err.text, "a?b?c?[31md?e??f\xc3\xa9");
    /* A lone byte of the C1 set, one after half a sequence, and another that is not UTF-8. */
    sumi_fail(&err, SUMI_EIO,
              "a\x9b"
              "31m\xe2\x9b"
              "b\xe9\xe2\x82\xac");
    assert_string_equal(err.text, "a\\x9B31m\\xE2\\x9Bb\\xE9\xe2\x82\xac");
}

static void test_cut(void **state)
{
    (void)state;
    sumi_error err;
    char text[600];
    memset(text, 'x', sizeof text);
    text[599] = '\0';
    sumi_fail(&err, SUMI_EIO, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    /* Two, three and four bytes a character, at every offset to the cut: never a part of one. */
    const char *characters[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    for (size_t k = 0; k < 3; k++) {
        size_t width = strlen(characters[k]);
        for (size_t shift = 0; shift < width; shift++) {
            memset(text, 'x', shift);
            size_t used = shift;
            for (; used + width < sizeof text; used += width)
                memcpy(text + used, characters[k], width);
            text[used] = '\0';
            sumi_fail(&err, SUMI_EIO, "%s", text);
            size_t length = strlen(err.text);
            assert_true(length > sizeof err.text - 1 - width);
            assert_int_equal((length - shift) % width, 0);
        }
    }
}

static void test_prefix(void **state)
{
    (void)state;
    sumi_error err;
    sumi_fail(&err, SUMI_EFORMAT, "bad header");
    assert_int_equal(sumi_fail_prefix(&err, SUMI_EFORMAT, "m.pth"), SUMI_EFORMAT);
    assert_string_equal(err.text, "m.pth: bad header");
    char text[600];
    memset(text, 'y', sizeof text);
    text[599] = '\0';
    sumi_fail(&err, SUMI_EFORMAT, "%s", text);
    sumi_fail_prefix(&err, SUMI_EFORMAT, "p");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "p: yyy", 6);
    assert_int_equal(sumi_fail_prefix(NULL, SUMI_EIO, "p"), SUMI_EIO);
}

static void test_errno(void **state)
{
    (void)state;
    sumi_error err;
    assert_int_equal(sumi_fail_errno(&err, "a/b", ENOENT), SUMI_EIO);
    assert_string_equal(err.text, "a/b: No such file or directory");
    assert_int_equal(sumi_fail_errno(NULL, "a/b", ENOENT), SUMI_EIO);
    /* A path of two-byte characters that is too long for the message: its end and the reason stay,
     * and no character is cut. */
    char path[4001];
    for (int i = 0; i < 4000; i += 2)
        memcpy(path + i, "\xc3\xa9", 2);
    memcpy(path + 3995, "/last", 6);
    sumi_fail_errno(&err, path, ENOENT);
    assert_non_null(strstr(err.text, "/last: No such file or directory"));
    assert_memory_equal(err.text, "...\xc3\xa9", 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),     cmocka_unit_test(test_message),
        cmocka_unit_test(test_printable), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_prefix),    cmocka_unit_test(test_errno),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
