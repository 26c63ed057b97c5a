/* Messages: one line, printable, cut at a character, prefixed; names of statuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
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

/* Every byte above ASCII is part of a whole character of that width. */
static void assert_whole(const char *text, const char *character)
{
    size_t width = strlen(character);
    for (const char *at = text; *at; at += (*at & 0x80) ? (int)width : 1)
        assert_true(!(*at & 0x80) || strncmp(at, character, width) == 0);
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
            assert_true(strlen(err.text) > sizeof err.text - 1 - 2 * width);
            assert_whole(err.text, characters[k]);
            /* Nothing can be elided where the text is the format's own. */
            memmove(text + 2, text, sizeof text - 2);
            text[used < 597 ? used + 2 : 599] = '\0';
            memcpy(text, "%%", 2);
            sumi_fail(&err, SUMI_EIO, text, 0);
            assert_true(err.text[0] == '%' && strlen(err.text) > sizeof err.text - 1 - width);
            assert_whole(err.text, characters[k]);
        }
    }
}

/* A path of that many bytes: folders of two-byte characters, and "/last" at its end. */
static char *long_path(size_t length)
{
    char *path = malloc(length + 1);
    assert_non_null(path);
    memcpy(path, "/first", 6);
    for (size_t i = 6; i < length; i += 2)
        memcpy(path + i, i % 50 == 0 ? "/x" : "\xc3\xa9", 2);
    memcpy(path + length - 5, "/last", 6);
    return path;
}

/* The reason is there wherever the long texts stand, and so is each one's beginning and end. */
static void test_elided(void **state)
{
    (void)state;
    sumi_error err;
    for (size_t length = 401; length <= 4096; length += 462) {
        char *path = long_path(length), *other = long_path(length + 2);
        sumi_fail(&err, SUMI_EIO, "%s: is not a %s", path, "picture");
        assert_non_null(strstr(err.text, "/last: is not a picture"));
        assert_memory_equal(err.text, "/first\xc3\xa9", 8);
        assert_whole(err.text, "\xc3\xa9");
        sumi_fail(&err, SUMI_EIO, "%d of %zu: %s: no room beside %s (%5.2f %% of %lld)", 3,
                  (size_t)7, path, other, 12.5, 99LL);
        assert_memory_equal(err.text, "3 of 7: /first\xc3\xa9", 16);
        assert_non_null(strstr(err.text, "/last: no room beside /first\xc3\xa9"));
        assert_non_null(strstr(err.text, "/last (12.50 % of 99)"));
        assert_whole(err.text, "\xc3\xa9");
        sumi_fail(&err, SUMI_EIO, "'%.*s' and '%-4s' in %s", 3, "abcdef", "xy", path);
        assert_memory_equal(err.text, "'abc' and 'xy  ' in /first", 26);
        assert_string_equal(err.text + strlen(err.text) - 5, "/last");
        /* What a lower layer said keeps its end, too. */
        sumi_fail(&err, SUMI_EIO, "%s: is not a %s", path, "picture");
        sumi_fail_prefix(&err, SUMI_EIO, other);
        assert_memory_equal(err.text, "/first\xc3\xa9", 8);
        assert_non_null(strstr(err.text, "/last: /first"));
        assert_non_null(strstr(err.text, "/last: is not a picture"));
        /* A short one is never touched for a long one. */
        sumi_fail(&err, SUMI_EIO, "%s: %s", "/a/folder/of/some/forty/bytes/x.png", path);
        assert_memory_equal(err.text, "/a/folder/of/some/forty/bytes/x.png: /first", 43);
        free(path);
        free(other);
    }
    /* Bytes that are no text take four each; no escape of one is cut. And more quotes than can be
     * told. */
    char bytes[3000];
    memset(bytes, 0x9b, sizeof bytes);
    bytes[2999] = '\0';
    for (size_t length = 100; length < 3000; length += 29) {
        sumi_fail(&err, SUMI_EIO, "%.*s%s: the end", (int)(length % 7), "abcdefg",
                  bytes + 2999 - length);
        const char *at = err.text + length % 7;
        for (int dots = 0; *at == '\\' || (*at == '.' && !dots);) {
            dots += *at == '.';
            assert_true(*at == '.' ? strncmp(at, "...", 3) == 0 : strncmp(at, "\\x9B", 4) == 0);
            at += *at == '.' ? 3 : 4;
        }
        assert_string_equal(at, ": the end");
        assert_true(length < 130 || strlen(err.text) > sizeof err.text - 12);
    }
    const char *x = bytes + 2600;
    sumi_fail(&err, SUMI_EIO, "%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s", x, x, x, x, x, x, x, x, x, x,
              x, x, x, x, x, x, x, x);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
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
    char *path = long_path(4001);
    sumi_fail_errno(&err, path, ENOENT);
    assert_non_null(strstr(err.text, "/last: No such file or directory"));
    assert_memory_equal(err.text, "/first", 6);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),     cmocka_unit_test(test_message),
        cmocka_unit_test(test_printable), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_elided),    cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_errno),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
