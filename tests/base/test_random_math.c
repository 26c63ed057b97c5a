/*
 * The logarithm and the sine and cosine behind the normals, over all of their arguments' range and
 * at its ends, in units in the last place. The functions are private: the file itself is included.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.c"

#define TAU 6.283185307179586476925286766559

static double ulps(float value, double expected)
{
    int exponent;
    frexp(expected, &exponent);
    return fabs(value - expected) / ldexp(1, exponent - 24);
}

static double log_error(uint32_t k)
{
    float u = ((float)(int32_t)k + 0.5f) * 0x1p-31f;
    return u == 1 ? fabsf(log_of(u)) : ulps(log_of(u), log(u));
}

static void test_log(void **state)
{
    (void)state;
    double worst = 0;
    for (uint32_t k = 0; k < 0x80000000u - 1009; k += 1009)
        worst = fmax(worst, log_error(k));
    for (uint32_t k = 0; k < 100000; k++) /* u near 0: the tails */
        worst = fmax(worst, log_error(k));
    for (uint32_t k = 0; k < 100000; k++) /* u near 1: the middle */
        worst = fmax(worst, log_error(0x7fffffffu - k));
    for (uint32_t k = 0; k < 100000; k++) /* around sqrt(1/2), where the exponent changes */
        worst = fmax(worst, log_error(0x5a82799au - 50000 + k));
    print_message("log: worst error %.3f ulp\n", worst);
    assert_true(worst < 1.0);
}

static void turn_errors(uint32_t v, double worst[2])
{
    float cosine, sine;
    turn_of(v, &cosine, &sine);
    /* The angle from the nearest quarter turn, so that double precision keeps it relative. */
    uint32_t quadrant = (v + 0x20000000u) >> 30;
    double a = TAU * 0x1p-32 * (int32_t)(v - (quadrant << 30));
    double c = cos(a), s = sin(a);
    double cosines[4] = {c, -s, -c, s}, sines[4] = {s, c, -s, -c};
    if (a == 0) { /* exact */
        assert_true(cosine == (float)cosines[quadrant & 3]);
        assert_true(sine == (float)sines[quadrant & 3]);
        return;
    }
    worst[0] = fmax(worst[0], ulps(cosine, cosines[quadrant & 3]));
    worst[1] = fmax(worst[1], ulps(sine, sines[quadrant & 3]));
}

static void test_turn(void **state)
{
    (void)state;
    double worst[2] = {0, 0};
    for (uint64_t v = 0; v <= UINT32_MAX; v += 1009)
        turn_errors((uint32_t)v, worst);
    for (uint32_t edge = 0; edge < 8; edge++) /* every half quadrant */
        for (uint32_t k = 0; k < 40000; k++)
            turn_errors((edge << 29) - 20000 + k, worst);
    print_message("cos, sin: worst errors %.3f, %.3f ulp\n", worst[0], worst[1]);
    assert_true(worst[0] < 2.2 && worst[1] < 2.2);
}

/* The largest and the smallest radius are finite numbers at every angle. */
static void test_ends(void **state)
{
    (void)state;
    float z[2];
    for (uint64_t v = 0; v <= UINT32_MAX; v += 65521) {
        box_muller(0, (uint32_t)v, z);
        assert_true(fabs(hypot(z[0], z[1]) - 6.6604) < 1e-4); /* sqrt(-2 ln 2^-32) */
        box_muller(0xffffffffu, (uint32_t)v, z);
        assert_true(z[0] == 0 && z[1] == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_turn),
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
