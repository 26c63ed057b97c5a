/* The schedule, the forward process and the spacing of timesteps. */
#include "diffusion/diffusion.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "golden.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static void assert_sha(const float *values, int count, const char *expected)
{
    sumi_sha256 sha;
    char hex[65];
    sumi_sha256_init(&sha);
    sumi_sha256_update(&sha, values, (size_t)count * sizeof *values);
    sumi_sha256_final(&sha, hex);
    assert_string_equal(hex, expected);
}

static void test_same_bits_as_torch(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT(golden_schedules); i++) {
        const golden_schedule *golden = &golden_schedules[i];
        sumi_schedule schedule;
        assert_int_equal(sumi_schedule_linear(golden->timesteps, golden->beta_start,
                                              golden->beta_end, &schedule, NULL),
                         SUMI_OK);
        assert_int_equal(schedule.timesteps, golden->timesteps);
        assert_sha(schedule.beta, schedule.timesteps, golden->beta);
        assert_sha(schedule.alpha, schedule.timesteps, golden->alpha);
        assert_sha(schedule.alpha_bar, schedule.timesteps, golden->alpha_bar);
        assert_true(sumi_alpha_bar(&schedule, 0) == 1);
        assert_true(sumi_alpha_bar(&schedule, 1) == 1 - golden->beta_start);
        sumi_schedule_free(&schedule);
    }
}

static void test_bad_settings(void **state)
{
    (void)state;
    static const struct {
        int timesteps;
        float start, end;
        const char *says;
    } bad[] = {
        {0, .001f, .01f, "timesteps is 0"},         {-5, .001f, .01f, "timesteps is -5"},
        {100001, .001f, .01f, "1..100000"},         {1000, 0, .01f, "between 0 and 1"},
        {1000, .001f, 1, "between 0 and 1"},        {1000, NAN, .01f, "between 0 and 1"},
        {1000, .001f, INFINITY, "between 0 and 1"}, {100000, .001f, .01f, "alpha_bar is 0"},
    };
    for (int i = 0; i < COUNT(bad); i++) {
        sumi_schedule schedule;
        sumi_error err = {""};
        assert_int_equal(
            sumi_schedule_linear(bad[i].timesteps, bad[i].start, bad[i].end, &schedule, &err),
            SUMI_EINVAL);
        assert_non_null(strstr(err.text, bad[i].says));
    }
}

static void test_timesteps(void **state)
{
    (void)state;
    int32_t t[1000];
    sumi_timesteps(1000, 1000, t);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(t[i], 1000 - i);
    sumi_timesteps(1000, 1, t);
    assert_int_equal(t[0], 1000);
    sumi_timesteps(1000, 50, t);
    for (int i = 0; i < 50; i++)
        assert_int_equal(t[i], 20 * (50 - i));
    sumi_timesteps(10, 4, t); /* 2.5, 5, 7.5, 10: halves go up */
    assert_int_equal(t[0], 10);
    assert_int_equal(t[1], 8);
    assert_int_equal(t[2], 5);
    assert_int_equal(t[3], 3);
    for (int steps = 1; steps <= 777; steps++) {
        sumi_timesteps(777, steps, t);
        assert_int_equal(t[0], 777);
        for (int i = 1; i < steps; i++)
            assert_true(t[i] < t[i - 1]);
        assert_true(t[steps - 1] >= 1);
    }
}

static void test_diffuse(void **state)
{
    (void)state;
    sumi_schedule schedule;
    assert_int_equal(sumi_schedule_linear(8, .05f, .3f, &schedule, NULL), SUMI_OK);
    const int t[] = {1, 8, 5};
    for (int i = 0; i < 3; i++) {
        const float *x_0 = golden_noise + 15 + 5 * i, *eps = golden_noise + 30 + 5 * i;
        float x_t[5], back[5];
        sumi_diffuse(&schedule, t[i], x_0, eps, x_t, 5);
        assert_memory_equal(x_t, golden_diffused + 5 * i, sizeof x_t);
        sumi_implied_image(&schedule, t[i], x_t, eps, back, 5);
        for (int k = 0; k < 5; k++)
            assert_true(fabsf(back[k] - x_0[k]) < 1e-5f);
    }
    sumi_schedule_free(&schedule);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits_as_torch),
        cmocka_unit_test(test_bad_settings),
        cmocka_unit_test(test_timesteps),
        cmocka_unit_test(test_diffuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
