/*
 * Random numbers: Philox against Random123's known answers, normals against double-precision libm
 * and against the normal distribution, random access, independence of streams, fixed bits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

#define TAU 6.283185307179586476925286766559

/* tests/kat_vectors of Random123, the lines of philox4x32 with 10 rounds. */
static void test_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint32_t out[4];
        sumi_philox((uint64_t)vectors[i].key[1] << 32 | vectors[i].key[0], vectors[i].counter, out);
        assert_memory_equal(out, vectors[i].expected, sizeof out);
    }
}

/* The four words of a sequence's block, by base.h's description of the counter. */
static void words_of(const sumi_random *at, uint32_t block, uint32_t w[4])
{
    uint32_t counter[4] = {block, (uint32_t)at->image, at->step,
                           (uint32_t)at->stream | (uint32_t)(at->image >> 32 << 8)};
    sumi_philox(at->seed, counter, w);
}

/* Every normal against the formula in double precision on the same words. The worst error of the
 * first half million numbers is 2.3e-7, about two units in the last place. */
static void test_accuracy(void **state)
{
    (void)state;
    enum { COUNT = 1 << 19 };
    const sumi_random at = {UINT64_C(0x0123456789abcdef), SUMI_STREAM_NOISE, 12345,
                            UINT64_C(0x00fedcba98765432)};
    float *z = malloc(COUNT * sizeof *z);
    assert_non_null(z);
    sumi_random_normals(&at, 0, z, COUNT);
    double worst = 0;
    for (uint32_t i = 0; i < COUNT / 2; i++) {
        uint32_t w[4];
        words_of(&at, i / 2, w);
        const uint32_t *pair = w + i % 2 * 2;
        double u = (double)((float)(pair[0] >> 1) + 0.5f) * 0x1p-31;
        double radius = sqrt(-2 * log(u)), angle = TAU * 0x1p-32 * pair[1];
        double expected[2] = {radius * cos(angle), radius * sin(angle)};
        for (int k = 0; k < 2; k++) {
            double error = fabs(z[2 * i + (uint32_t)k] - expected[k]) /
                           (fabs(expected[k]) + 1e-6); /* near 0 the angle's rounding shows */
            worst = error > worst ? error : worst;
        }
    }
    assert_true(worst < 2.5e-7);
    free(z);
}

/* However a sequence is cut, its numbers are the same. */
static void test_random_access(void **state)
{
    (void)state;
    enum { COUNT = 1200 };
    const sumi_random at = {7, SUMI_STREAM_SAMPLE_X, 0, 57};
    float whole[COUNT], part[COUNT];
    sumi_random_normals(&at, 0, whole, COUNT);
    for (size_t first = 0; first < 140; first++) {
        for (size_t count = 0; first + count <= COUNT; count += count < 270 ? 1 : 97) {
            memset(part, 0xff, sizeof part);
            sumi_random_normals(&at, first, part, count);
            assert_memory_equal(part, whole + first, count * sizeof *part);
            for (size_t i = count; i < COUNT && i < count + 8; i++) /* nothing behind the end */
                assert_true(isnan(part[i]));
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        float one;
        sumi_random_normals(&at, i, &one, 1);
        assert_memory_equal(&one, whole + i, sizeof one);
    }
}

/* The end of the longest sequence, and far into it. */
static void test_far(void **state)
{
    (void)state;
    const sumi_random at = {7, SUMI_STREAM_USER, UINT32_MAX, (UINT64_C(1) << 56) - 1};
    const uint64_t last = (UINT64_C(1) << 34) - 1;
    float tail[10], one;
    sumi_random_normals(&at, last - 9, tail, 10);
    for (uint64_t i = 0; i < 10; i++) {
        sumi_random_normals(&at, last - 9 + i, &one, 1);
        assert_memory_equal(&one, tail + i, sizeof one);
        assert_true(isfinite(one));
    }
}

/* The same bits with every compiler, build type and instruction set. */
static void test_fixed_bits(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    const sumi_random at = {2024, SUMI_STREAM_NOISE, 3, 14};
    float *z = malloc(COUNT * sizeof *z);
    uint8_t *bytes = malloc(COUNT * 4);
    assert_non_null(z);
    assert_non_null(bytes);
    sumi_random_normals(&at, 0, z, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        uint32_t bits;
        memcpy(&bits, z + i, sizeof bits);
        for (int k = 0; k < 4; k++)
            bytes[4 * i + (size_t)k] = (uint8_t)(bits >> 8 * k);
    }
    sumi_sha256 sha;
    char hex[65];
    sumi_sha256_init(&sha);
    sumi_sha256_update(&sha, bytes, COUNT * 4);
    sumi_sha256_final(&sha, hex);
    assert_string_equal(hex, "e2520b7cc8550ecadd5a825da38141f4ea90d11de6785aca719d71879c38e1e6");
    free(z);
    free(bytes);
}

/* Moments of 2^22 normals within 4 standard errors (the numbers are fixed, so this cannot fail by
 * chance), tails against the distribution, and no correlation with the next numbers. */
static void test_distribution(void **state)
{
    (void)state;
    enum { COUNT = 1 << 22 };
    const double n = COUNT;
    const sumi_random at = {1, SUMI_STREAM_NOISE, 2, 3};
    float *z = malloc(COUNT * sizeof *z);
    assert_non_null(z);
    sumi_random_normals(&at, 0, z, COUNT);
    double sum[5] = {0}, lag[5] = {0}, beyond[7] = {0}, largest = 0;
    for (size_t i = 0; i < COUNT; i++) {
        double power = 1, x = z[i];
        for (int k = 1; k <= 4; k++)
            sum[k] += power *= x;
        for (size_t k = 1; k <= 4 && i + k < COUNT; k++)
            lag[k] += x * z[i + k];
        for (int k = 1; k <= 6; k++)
            beyond[k] += fabs(x) > k;
        largest = fabs(x) > largest ? fabs(x) : largest;
    }
    assert_true(fabs(sum[1] / n) < 4 * sqrt(1 / n));
    assert_true(fabs(sum[2] / n - 1) < 4 * sqrt(2 / n));
    assert_true(fabs(sum[3] / n) < 4 * sqrt(15 / n));
    assert_true(fabs(sum[4] / n - 3) < 4 * sqrt(96 / n));
    for (int k = 1; k <= 4; k++)
        assert_true(fabs(lag[k] / n) < 4 * sqrt(1 / n));
    for (int k = 1; k <= 6; k++) {
        double expected = n * erfc(k / sqrt(2));
        assert_true(fabs(beyond[k] - expected) < 4 * sqrt(expected) + 1);
    }
    assert_true(largest > 4.5 && largest < 6.67);
    free(z);
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Kolmogorov-Smirnov over 2^18 numbers that are one a sequence: the way in which first pixels of
 * many images, steps and seeds are drawn. */
static void test_across_sequences(void **state)
{
    (void)state;
    enum { COUNT = 1 << 18 };
    static float z[COUNT];
    for (int way = 0; way < 3; way++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            sumi_random at = {9, SUMI_STREAM_NOISE, 1, 1};
            if (way == 0)
                at.image = i;
            else if (way == 1)
                at.step = i;
            else
                at.seed = i;
            sumi_random_normals(&at, 0, z + i, 1);
        }
        qsort(z, COUNT, sizeof *z, compare_floats);
        double distance = 0;
        for (int i = 0; i < COUNT; i++) {
            double p = 0.5 * erfc(-z[i] / sqrt(2));
            distance = fmax(distance, fmax(p - i / (double)COUNT, (i + 1) / (double)COUNT - p));
        }
        assert_true(distance * sqrt(COUNT) < 1.63); /* 1 percent */
    }
}

/* Changing any part of the address changes every number. */
static void test_addresses(void **state)
{
    (void)state;
    const sumi_random at[] = {
        {1, SUMI_STREAM_NOISE, 2, 3},
        {2, SUMI_STREAM_NOISE, 2, 3},
        {1 | UINT64_C(1) << 32, SUMI_STREAM_NOISE, 2, 3},
        {1, SUMI_STREAM_SAMPLE_X, 2, 3},
        {1, SUMI_STREAM_NOISE, 3, 3},
        {1, SUMI_STREAM_NOISE, 2, 4},
        {1, SUMI_STREAM_NOISE, 2, 3 | UINT64_C(1) << 32},
        {1, SUMI_STREAM_NOISE, 2, 3 | UINT64_C(1) << 55},
    };
    enum { MANY = sizeof at / sizeof *at };
    float z[MANY][64];
    for (size_t i = 0; i < MANY; i++) {
        sumi_random_normals(&at[i], 0, z[i], 64);
        for (size_t j = 0; j < i; j++)
            for (size_t k = 0; k < 64; k++)
                assert_true(z[i][k] != z[j][k]);
    }
}

static void test_uniform(void **state)
{
    (void)state;
    enum { COUNT = 1 << 18 };
    const sumi_random at = {5, SUMI_STREAM_INIT, 0, 8};
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t w[4];
        words_of(&at, i / 4, w);
        float u = sumi_random_uniform(&at, i);
        assert_true(u >= 0 && u < 1);
        assert_true(u * 16777216.0f == (float)(w[i % 4] >> 8));
        sum += u;
        squares += u * u;
    }
    assert_true(fabs(sum / COUNT - 1 / 2.0) < 4 * sqrt(1 / 12.0 / COUNT));
    assert_true(fabs(squares / COUNT - 1 / 3.0) < 4 * sqrt(4 / 45.0 / COUNT));
}

static void test_below(void **state)
{
    (void)state;
    const sumi_random at = {5, SUMI_STREAM_TIMESTEP, 77, 8};
    const uint32_t bounds[] = {1, 2, 3, 10, 1000, 60000, 0x80000000u, 0xffffffffu};
    for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++)
        for (uint32_t i = 0; i < 1000; i++) {
            uint32_t w[4];
            words_of(&at, i / 2, w);
            const uint32_t *draw = w + i % 2 * 2;
            /* floor(draw * bound / 2^64), by long multiplication in 16-bit digits. */
            uint32_t digits[4] = {draw[0] & 0xffff, draw[0] >> 16, draw[1] & 0xffff, draw[1] >> 16};
            uint64_t carry = 0;
            for (int k = 0; k < 4; k++)
                carry = ((uint64_t)digits[k] * bounds[b] + carry) >> 16;
            assert_int_equal(sumi_random_below(&at, i, bounds[b]), carry);
            assert_true(carry < bounds[b]);
        }
    enum { BINS = 10, COUNT = 100000 };
    double bins[BINS] = {0}, chi = 0;
    for (uint64_t i = 0; i < COUNT; i++)
        bins[sumi_random_below(&at, i, BINS)]++;
    for (int k = 0; k < BINS; k++)
        chi += (bins[k] - COUNT / BINS) * (bins[k] - COUNT / BINS) / (COUNT / BINS);
    assert_true(chi < 21.67); /* 1 percent at 9 degrees of freedom */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),    cmocka_unit_test(test_accuracy),
        cmocka_unit_test(test_random_access),    cmocka_unit_test(test_far),
        cmocka_unit_test(test_fixed_bits),       cmocka_unit_test(test_distribution),
        cmocka_unit_test(test_across_sequences), cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_uniform),          cmocka_unit_test(test_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
