/* Clocks: the monotonic one never goes back, the stamp is UTC in ISO 8601. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/base.h"

static void test_monotonic(void **state)
{
    (void)state;
    double before = sumi_time_now();
    for (int i = 0; i < 10000; i++) {
        double now = sumi_time_now();
        assert_true(now >= before);
        before = now;
    }
    struct timespec clock;
    clock_gettime(CLOCK_MONOTONIC, &clock);
    double after = (double)clock.tv_sec + 1e-9 * (double)clock.tv_nsec;
    assert_true(after >= before); /* the same clock, in the same unit */
    assert_true(before > 0);
}

static void test_stamp(void **state)
{
    (void)state;
    char first[32], text[32], last[32];
    time_t before = time(NULL);
    sumi_time_stamp(text);
    time_t after = time(NULL);
    assert_int_equal(strlen(text), 20);
    strftime(first, sizeof first, "%Y-%m-%dT%H:%M:%SZ", gmtime(&before));
    strftime(last, sizeof last, "%Y-%m-%dT%H:%M:%SZ", gmtime(&after));
    assert_true(strcmp(first, text) <= 0 && strcmp(text, last) <= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_monotonic),
        cmocka_unit_test(test_stamp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
