/* SHA-256 against FIPS 180-4's examples and published digests, at every padding length, and fed in
 * pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/sha256_blocks.h"

static void digest(const void *data, size_t size, char hex[65])
{
    sumi_sha256 sha;
    sumi_sha256_init(&sha);
    sumi_sha256_update(&sha, data, size);
    sumi_sha256_final(&sha, hex);
}

static void test_vectors(void **state)
{
    (void)state;
    char hex[65];
    digest("", 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, hex);
    assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void test_million(void **state)
{
    (void)state;
    char block[1000], hex[65];
    memset(block, 'a', sizeof block);
    sumi_sha256 sha;
    sumi_sha256_init(&sha);
    for (int i = 0; i < 1000; i++)
        sumi_sha256_update(&sha, block, sizeof block);
    sumi_sha256_final(&sha, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* The digest of the digests of 0, 1, ... 199 bytes (byte i is i): every padding. The expected value
 * was made with Python's hashlib. */
static void test_lengths(void **state)
{
    (void)state;
    uint8_t data[200];
    char hex[65];
    sumi_sha256 all;
    sumi_sha256_init(&all);
    for (size_t i = 0; i < sizeof data; i++) {
        digest(data, i, hex);
        sumi_sha256_update(&all, hex, 64);
        data[i] = (uint8_t)i;
    }
    sumi_sha256_final(&all, hex);
    assert_string_equal(hex, "7a38a844c9e159de39f0862ee2e28569a8250831150a3fbf0a59c001129b2fb2");
}

static void test_pieces(void **state)
{
    (void)state;
    uint8_t data[300];
    char whole[65], pieces[65];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7);
    digest(data, sizeof data, whole);
    for (size_t step = 1; step < sizeof data; step++) {
        sumi_sha256 sha;
        sumi_sha256_init(&sha);
        for (size_t i = 0; i < sizeof data; i += step) {
            size_t left = sizeof data - i;
            sumi_sha256_update(&sha, data + i, left < step ? left : step);
            sumi_sha256_update(&sha, NULL, 0);
        }
        sumi_sha256_final(&sha, pieces);
        assert_string_equal(pieces, whole);
    }
}

/* The CPU's own instructions against plain C, over one to nine blocks. */
static void test_fast_blocks(void **state)
{
    (void)state;
    if (!sumi_sha256_has_fast_blocks())
        skip();
    uint8_t data[9 * 64];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 64);
    for (size_t count = 1; count <= 9; count++) {
        uint32_t a[8], b[8];
        for (uint32_t i = 0; i < 8; i++)
            a[i] = b[i] = 0x9e3779b9u * (i + 1);
        sumi_sha256_plain_blocks(a, data, count);
        sumi_sha256_fast_blocks(b, data, count);
        assert_memory_equal(a, b, sizeof a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors), cmocka_unit_test(test_fast_blocks),
        cmocka_unit_test(test_million), cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
