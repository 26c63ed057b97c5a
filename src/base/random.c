/*
 * Random numbers without state: Philox4x32-10 and normals made from it.
 *
 * Philox (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011) maps
 * a key and a counter to four 32-bit words. A number's counter says what the number is for, so any
 * thread can make any number at any time and a resumed run needs nothing but its seed.
 *
 * Normals come from Box-Muller, z = sqrt(-2 ln u) * (cos 2 pi v, sin 2 pi v), with the polynomials
 * below in place of libm. Every operation is an IEEE add, multiply or square root that is rounded
 * correctly, in a written order, and this file must be compiled without fused multiply-add
 * (-ffp-contract=off); so the bits are the same on every instruction set, compiler and libm. The
 * loops run over many blocks at once, without branches, for the compiler to vectorise.
 */
#include "base/base.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define ROUNDS 10
#define LANES 32 /* blocks that are made together */
#define GROUP (4 * LANES)

typedef struct {
    uint32_t w[4];
} block;

/* One round's keys are the key plus a multiple of two constants (Weyl sequences). */
static inline block philox(uint64_t key, block c)
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c.w[0];
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c.w[2];
        c = (block){{(uint32_t)(p1 >> 32) ^ c.w[1] ^ k0, (uint32_t)p1,
                     (uint32_t)(p0 >> 32) ^ c.w[3] ^ k1, (uint32_t)p0}};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

void sumi_philox(uint64_t key, const uint32_t counter[4], uint32_t out[4])
{
    block c = philox(key, (block){{counter[0], counter[1], counter[2], counter[3]}});
    memcpy(out, c.w, sizeof c.w);
}

/* The counter of a sequence's block: the stream has 8 bits, the image 56. */
static block block_counter(const sumi_random *at, uint64_t number)
{
    assert(number <= UINT32_MAX && at->image >> 56 == 0);
    return (block){{(uint32_t)number, (uint32_t)at->image, at->step,
                    (uint32_t)at->stream | (uint32_t)(at->image >> 32) << 8}};
}

static block random_block(const sumi_random *at, uint64_t number)
{
    return philox(at->seed, block_counter(at, number));
}

float sumi_random_uniform(const sumi_random *at, uint64_t i)
{
    return (float)(random_block(at, i / 4).w[i % 4] >> 8) * 0x1p-24f;
}

uint32_t sumi_random_below(const sumi_random *at, uint64_t i, uint32_t bound)
{
    assert(bound >= 1);
    block b = random_block(at, i / 2);
    /* The high word of the 96-bit product (draw * bound), where draw is high:low. */
    uint64_t high = (uint64_t)b.w[i % 2 * 2 + 1] * bound;
    uint64_t low = (uint64_t)b.w[i % 2 * 2] * bound;
    return (uint32_t)((high + (low >> 32)) >> 32);
}

static inline float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* ln(x) for normal x > 0: x = 2^e * (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), and
 * ln(1 + f) = f - f^2/2 + f^3 P(f), P fitted at Chebyshev nodes. Error below 1 ulp. */
static inline float log_of(float x)
{
    const uint32_t half_root = 0x3F3504F3u; /* sqrt(1/2) */
    uint32_t shifted = bits_of_float(x) - half_root;
    int32_t e = (int32_t)shifted >> 23;
    float f = float_of_bits((shifted & 0x007FFFFFu) + half_root) - 1.0f;
    float p = 0.0697161183f;
    p = p * f - 0.114797339f;
    p = p * f + 0.116854198f;
    p = p * f - 0.124256872f;
    p = p * f + 0.142490581f;
    p = p * f - 0.166678026f;
    p = p * f + 0.200007156f;
    p = p * f - 0.24999997f;
    p = p * f + 0.333333313f;
    float f2 = f * f;
    /* ln 2 in two parts: the first has few enough bits that e times it is exact. */
    float small = (p * f) * f2 + (float)e * -2.12194440e-4f;
    return ((small - 0.5f * f2) + f) + (float)e * 0.693359375f;
}

/* (cos, sin) of 2 pi v / 2^32. The quadrant is cut off as an integer, exactly; what is left lies in
 * [-pi/4, pi/4), where short polynomials do. Error below 2.2 ulp, most of it the roundings of the
 * angle. */
static inline void turn_of(uint32_t v, float *cosine, float *sine)
{
    uint32_t quadrant = (v + 0x20000000u) >> 30;
    float a = (float)(int32_t)(v - (quadrant << 30)) * 1.46291812e-9f; /* 2 pi / 2^32 */
    float z = a * a;
    /* The first coefficient mends the rounding of the constant above. */
    float s = a + a * (-2.78275344e-8f +
                       z * (-0.166666642f + z * (0.00833274797f + z * -0.000195878907f)));
    float c =
        1.0f - 0.5f * z + (z * z) * (0.0416666642f + z * (-0.00138883025f + z * 2.45479423e-05f));
    uint32_t swap = 0u - (quadrant & 1u);
    uint32_t sb = bits_of_float(s), cb = bits_of_float(c);
    uint32_t cosine_bits = (cb & ~swap) | (sb & swap);
    uint32_t sine_bits = (sb & ~swap) | (cb & swap);
    /* cos < 0 in quadrants 1 and 2, sin < 0 in quadrants 2 and 3. */
    *cosine = float_of_bits(cosine_bits ^ ((quadrant + 1u) & 2u) << 30);
    *sine = float_of_bits(sine_bits ^ (quadrant & 2u) << 30);
}

/* Two normals of two words. u = (k + 1/2) / 2^31 with 31 bits of the first word (a signed integer
 * converts in one instruction), so |z| reaches 6.66 and u is never 0. */
static inline void box_muller(uint32_t first, uint32_t second, float z[2])
{
    float u = ((float)(int32_t)(first >> 1) + 0.5f) * 0x1p-31f;
    float radius = sqrtf(-2.0f * log_of(u));
    float cosine, sine;
    turn_of(second, &cosine, &sine);
    z[0] = radius * cosine;
    z[1] = radius * sine;
}

/* The 4 * LANES normals of LANES consecutive blocks. */
static void normal_group(uint64_t key, block start, float *restrict out)
{
    uint32_t w[4][LANES];
    for (uint32_t i = 0; i < LANES; i++) {
        block b = philox(key, (block){{start.w[0] + i, start.w[1], start.w[2], start.w[3]}});
        for (int k = 0; k < 4; k++)
            w[k][i] = b.w[k];
    }
    for (int i = 0; i < LANES; i++) {
        box_muller(w[0][i], w[1][i], out + 4 * i);
        box_muller(w[2][i], w[3][i], out + 4 * i + 2);
    }
}

void sumi_random_normals(const sumi_random *at, uint64_t first, float *out, size_t count)
{
    float group[GROUP];
    while (count > 0) {
        block start = block_counter(at, first / 4);
        size_t skip = first % 4;
        if (skip == 0 && count >= GROUP) {
            normal_group(at->seed, start, out);
            first += GROUP;
            out += GROUP;
            count -= GROUP;
            continue;
        }
        normal_group(at->seed, start, group);
        size_t take = count < GROUP - skip ? count : GROUP - skip;
        memcpy(out, group + skip, take * sizeof *out);
        first += take;
        out += take;
        count -= take;
    }
}
