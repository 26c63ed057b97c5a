/* Checked sizes at their limits, zeroed allocations, page blocks, and what happens when the system
 * gives no memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "sanitized.h"

static void test_sizes(void **state)
{
    (void)state;
    size_t out = 5;
    assert_true(sumi_size_mul(6, 7, &out));
    assert_int_equal(out, 42);
    assert_true(sumi_size_mul(0, SIZE_MAX, &out));
    assert_int_equal(out, 0);
    assert_true(sumi_size_mul(SIZE_MAX, 0, &out));
    assert_true(sumi_size_mul(SIZE_MAX, 1, &out));
    assert_true(out == SIZE_MAX);
    out = 5;
    assert_false(sumi_size_mul(SIZE_MAX / 2 + 1, 2, &out));
    assert_false(sumi_size_mul(2, SIZE_MAX / 2 + 1, &out));
    assert_false(sumi_size_add(SIZE_MAX, 1, &out));
    assert_int_equal(out, 5);
    assert_true(sumi_size_add(SIZE_MAX - 1, 1, &out));
    assert_true(out == SIZE_MAX);
}

static void test_product(void **state)
{
    (void)state;
    size_t out = 5;
    assert_true(sumi_size_product((int64_t[]){2, 3, 5, 7}, 4, &out));
    assert_int_equal(out, 210);
    assert_true(sumi_size_product(NULL, 0, &out));
    assert_int_equal(out, 1);
    assert_true(sumi_size_product((int64_t[]){INT64_MAX, 2}, 2, &out));
    assert_true(out == SIZE_MAX - 1);
    assert_true(sumi_size_product((int64_t[]){3, 0}, 2, &out));
    assert_int_equal(out, 0);
    out = 5;
    assert_false(sumi_size_product((int64_t[]){INT64_MAX, 3}, 2, &out));
    assert_false(sumi_size_product((int64_t[]){3, -1}, 2, &out));
    /* A zero hides neither a negative factor nor an overflow among the others. */
    assert_false(sumi_size_product((int64_t[]){0, -1}, 2, &out));
    assert_false(sumi_size_product((int64_t[]){INT64_MIN, 0}, 2, &out));
    assert_false(sumi_size_product((int64_t[]){INT64_MAX, 0, INT64_MAX}, 3, &out));
    assert_int_equal(out, 5);
}

static void test_blocks(void **state)
{
    (void)state;
    uint8_t *block = sumi_calloc(100, 3);
    assert_non_null(block);
    for (int i = 0; i < 300; i++)
        assert_int_equal(block[i], 0);
    free(block);
    block = sumi_calloc(0, 8); /* NULL would mean that memory is out */
    assert_non_null(block);
    free(block);
    volatile size_t huge = SIZE_MAX / 2 + 1;
    assert_null(sumi_calloc(huge, 2));
    assert_null(sumi_calloc(huge, 1));
    char *copy = sumi_strdup("text");
    assert_string_equal(copy, "text");
    free(copy);
}

static void test_pages(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 4096, 100000, 2 << 20, (2 << 20) + 1, (32 << 20) + 12345};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *block = sumi_pages_alloc(sizes[i]);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % (2 << 20), 0);
        for (size_t k = 0; k < sizes[i]; k += 1021)
            assert_int_equal(block[k], 0);
        if (sizes[i])
            memset(block, 1, sizes[i]);
        sumi_pages_free(block, sizes[i]);
    }
    assert_null(sumi_pages_alloc(SIZE_MAX));
    assert_null(sumi_pages_alloc(SIZE_MAX / 2 + 1));
    assert_null(sumi_pages_alloc(PTRDIFF_MAX));
    sumi_pages_free(NULL, 77);
}

/* Under a limit, freed blocks must really go back, or the loop runs out of address space. */
static void test_no_memory(void **state)
{
    (void)state;
    if (SANITIZED) /* their shadow memory does not fit under a limit */
        skip();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit limit = {256 << 20, 256 << 20};
        if (setrlimit(RLIMIT_AS, &limit) != 0)
            _exit(1);
        for (int i = 0; i < 50; i++) {
            void *block = sumi_pages_alloc(64 << 20);
            if (!block)
                _exit(2);
            sumi_pages_free(block, 64 << 20);
        }
        if (sumi_pages_alloc(512 << 20) || sumi_calloc(512, 1 << 20))
            _exit(3);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_median(void **state)
{
    (void)state;
    double odd[] = {3, -1, 2}, even[] = {4, 1, 3, 2}, one[] = {7};
    assert_true(sumi_median(odd, 3) == 2);
    assert_true(sumi_median(even, 4) == 2.5);
    assert_true(sumi_median(one, 1) == 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),     cmocka_unit_test(test_product),
        cmocka_unit_test(test_blocks),    cmocka_unit_test(test_pages),
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_median),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
