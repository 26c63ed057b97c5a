/*
 * The vector vocabulary that kernel bodies are written in: GCC and Clang vector types, so that one
 * body becomes SSE2, AVX2, AVX-512 or NEON code by SUMI_VB (bytes in a vector), and SUMI_NEON,
 * which the isa_*.c file that includes the bodies defines. Nothing here is exported.
 *
 * Only v_fma fuses a multiplication and an addition; the files are compiled with -ffp-contract=off.
 * Left to the compiler, a * x + b * y may be fused one way in a loop and the other way in its tail,
 * and then a number's bits depend on where it stands.
 */
#ifndef SUMI_SIMD_H
#define SUMI_SIMD_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef SUMI_VB
#error "define SUMI_VB (16, 32 or 64) before including simd.h"
#endif
#if SUMI_VB >= 32
#include <immintrin.h>
#elif defined(SUMI_NEON)
#include <arm_neon.h>
#endif

#define VW ((int)(SUMI_VB / sizeof(float))) /* floats in a vector */
#define INLINE static inline __attribute__((always_inline, unused))

/* Before a loop over registers: with a constant bound it must vanish, else arrays of vectors go to
 * memory. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

typedef float vf __attribute__((vector_size(SUMI_VB)));
typedef int32_t vi __attribute__((vector_size(SUMI_VB)));
typedef uint32_t vu __attribute__((vector_size(SUMI_VB)));
typedef float vf_any __attribute__((vector_size(SUMI_VB), aligned(4), may_alias));

INLINE vf v_load(const float *p)
{
    return *(const vf_any *)p;
}

INLINE void v_store(float *p, vf v)
{
    *(vf_any *)p = v;
}

INLINE vf v_splat(float x)
{
    return x - (vf){0};
}

INLINE vf v_zero(void)
{
    return (vf){0};
}

/* a * b + c, rounded once where the instruction set can. */
INLINE vf v_fma(vf a, vf b, vf c)
{
#if SUMI_VB == 64
    return _mm512_fmadd_ps(a, b, c);
#elif SUMI_VB == 32
    return _mm256_fmadd_ps(a, b, c);
#elif defined(SUMI_NEON)
    return vfmaq_f32(c, a, b);
#else
    return a * b + c;
#endif
}

/* a where mask (a comparison's result: all ones or zero), else b; C has no ?: on vectors. */
INLINE vf v_select(vi mask, vf a, vf b)
{
    return (vf)(((vi)a & mask) | ((vi)b & ~mask));
}

/* a where mask, else 0. */
INLINE vf v_keep(vi mask, vf a)
{
    return (vf)((vi)a & mask);
}

/* max(a, 0), but NaN stays NaN, so that a broken network shows (x86 returns the second operand
 * where one is NaN). */
INLINE vf v_relu(vf a)
{
#if SUMI_VB == 64
    return _mm512_max_ps(v_zero(), a);
#elif SUMI_VB == 32
    return _mm256_max_ps(v_zero(), a);
#else
    return v_keep(~(a <= v_zero()), a);
#endif
}

/* a, or low where a is less; NaN stays NaN. And the other way round. */
INLINE vf v_at_least(vf a, vf low)
{
#if SUMI_VB == 64
    return _mm512_max_ps(low, a);
#elif SUMI_VB == 32
    return _mm256_max_ps(low, a);
#else
    return v_select(a < low, low, a);
#endif
}

INLINE vf v_at_most(vf a, vf high)
{
#if SUMI_VB == 64
    return _mm512_min_ps(high, a);
#elif SUMI_VB == 32
    return _mm256_min_ps(high, a);
#else
    return v_select(a > high, high, a);
#endif
}

/* Lane by lane; the compiler makes it one instruction. */
INLINE vf v_sqrt(vf a)
{
    float lane[SUMI_VB / sizeof(float)];
    memcpy(lane, &a, sizeof a);
    for (int i = 0; i < VW; i++)
        lane[i] = sqrtf(lane[i]);
    memcpy(&a, lane, sizeof a);
    return a;
}

/* The sum of the lanes: the upper half is added to the lower until one is left. */
INLINE float v_sum(vf v)
{
    float lane[SUMI_VB / sizeof(float)];
    memcpy(lane, &v, sizeof v);
    for (int half = VW / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

/* Loads and stores of the first count < VW lanes; the rest reads as 0 and is not written. */
INLINE vf v_load_part(const float *p, int count)
{
    vf v = {0};
    memcpy(&v, p, (size_t)count * sizeof(float));
    return v;
}

INLINE void v_store_part(float *p, vf v, int count)
{
    memcpy(p, &v, (size_t)count * sizeof(float));
}

/* A vector, or one float in every lane where `lane` is set: loops over channels end with single
 * channels that go through the same arithmetic. lane must be a constant. */
INLINE vf v_get(const float *p, bool lane)
{
    return lane ? v_splat(*p) : v_load(p);
}

INLINE void v_put(float *p, vf v, bool lane)
{
    if (lane)
        *p = v[0];
    else
        v_store(p, v);
}

/* ---- The exponential -------------------------------------------------------------------------
 * exp(x) = 2^k exp(r): k is the nearest whole number to x / ln 2, and r = x - k ln 2 in two parts,
 * of which the first has so few bits that its product with k is exact; exp(r) - 1 - r by a
 * polynomial (Moshier's, of the Cephes library).
 */

/* exp(r). */
INLINE vf exp_rest(vf x, vf k)
{
    vf r = v_fma(k, v_splat(-0x1.62e4p-1f), x);
    r = v_fma(k, v_splat(-0x1.7f7d1cp-20f), r);
    vf p = v_splat(1.9875691500e-4f);
    p = v_fma(p, r, v_splat(1.3981999507e-3f));
    p = v_fma(p, r, v_splat(8.3334519073e-3f));
    p = v_fma(p, r, v_splat(4.1665795894e-2f));
    p = v_fma(p, r, v_splat(1.6666665459e-1f));
    p = v_fma(p, r, v_splat(5.0000001201e-1f));
    return v_fma(p, r * r, r) + v_splat(1.0f);
}

/* Within 1 ulp, over all of float32; 2^k is multiplied in two halves, since neither numbers below
 * 2^-126 nor infinity are powers of two. */
INLINE vf v_exp(vf x)
{
    const vf one_half_up = v_splat(0x1.8p23f); /* a sum with it ends in a whole number */
    x = v_at_most(v_at_least(x, v_splat(-110.0f)), v_splat(100.0f));
    vf rounded = v_fma(x, v_splat(0x1.715476p0f), one_half_up);
    vi k = (vi)rounded - (vi)one_half_up;
    vf value = exp_rest(x, rounded - one_half_up);
    vi half = k >> 1;
    vf lower = (vf)((half + 127) << 23), upper = (vf)((k - half + 127) << 23);
    return value * lower * upper;
}

/* ---- SiLU ------------------------------------------------------------------------------------
 * x / (1 + exp(-x)) and its derivative, of `count` vectors at a time (a constant): each step is
 * done for all of them before the next one, as the steps of one vector wait for each other.
 */

#define SILU_MOST 2

/* exp(-x) for x from -87 to 87: 2^k exp(-r), with r = x + k ln 2 as in v_exp and k the nearest
 * whole number to -x / ln 2; exp(-r) by the polynomial of degree 5 with the least relative error,
 * 1e-7. */
INLINE void silu_exponentials(const int count, const vf *x, vf *e)
{
    const vf one_half_up = v_splat(0x1.8p23f); /* a sum with it ends in a whole number */
    vf rounded[SILU_MOST], r[SILU_MOST];
    UNROLL
    for (int i = 0; i < count; i++)
        rounded[i] = v_fma(x[i], v_splat(-0x1.715476p0f), one_half_up);
    UNROLL
    for (int i = 0; i < count; i++)
        r[i] = v_fma(rounded[i] - one_half_up, v_splat(0x1.62e4p-1f), x[i]);
    UNROLL
    for (int i = 0; i < count; i++)
        r[i] = v_fma(rounded[i] - one_half_up, v_splat(0x1.7f7d1cp-20f), r[i]);
    UNROLL
    for (int i = 0; i < count; i++)
        e[i] = v_fma(v_splat(-0x1.0fa80ap-7f), r[i], v_splat(0x1.573a86p-5f));
    UNROLL
    for (int i = 0; i < count; i++)
        e[i] = v_fma(e[i], r[i], v_splat(-0x1.555a6cp-3f));
    UNROLL
    for (int i = 0; i < count; i++)
        e[i] = v_fma(e[i], r[i], v_splat(0x1.fffdc4p-2f));
    UNROLL
    for (int i = 0; i < count; i++)
        e[i] = v_fma(e[i], r[i], v_splat(-0x1.fffff6p-1f));
    UNROLL
    for (int i = 0; i < count; i++)
        e[i] = v_fma(e[i], r[i], v_splat(1.0f));
    /* 2^k is added to the exponent: k's bits are the last ones of `rounded`. */
    UNROLL
    for (int i = 0; i < count; i++)
        e[i] = (vf)((vu)e[i] + ((vu)rounded[i] << 23));
}

/* Below -87 it stays what it is there, -1e-36. */
INLINE void v_silus(const int count, vf *x)
{
    vf z[SILU_MOST], e[SILU_MOST];
    UNROLL
    for (int i = 0; i < count; i++) {
        x[i] = v_at_least(x[i], v_splat(-87.0f));
        z[i] = v_at_most(x[i], v_splat(87.0f));
    }
    silu_exponentials(count, z, e);
    UNROLL
    for (int i = 0; i < count; i++)
        x[i] = x[i] / (v_splat(1.0f) + e[i]);
}

/* The derivative s + x s (1 - s), s = 1 / (1 + e), e = exp(-x); 1 - s is e s too, which keeps its
 * digits where s is close to 1. */
INLINE void v_silu_slopes(const int count, vf *x)
{
    vf e[SILU_MOST];
    UNROLL
    for (int i = 0; i < count; i++)
        x[i] = v_at_most(v_at_least(x[i], v_splat(-87.0f)), v_splat(87.0f));
    silu_exponentials(count, x, e);
    UNROLL
    for (int i = 0; i < count; i++) {
        vf s = v_splat(1.0f) / (v_splat(1.0f) + e[i]);
        x[i] = v_fma(x[i] * s, e[i] * s, s);
    }
}

INLINE vf v_silu(vf x)
{
    v_silus(1, &x);
    return x;
}

/* ---- Tensors of float32 or bfloat16 ----------------------------------------------------------
 * A bfloat16 is the upper half of a float32; widening and rounding are a few integer operations,
 * the same on every CPU. `bf16` must be a constant wherever speed matters.
 */

typedef uint16_t vh __attribute__((vector_size(SUMI_VB / 2)));
typedef uint16_t vh_any __attribute__((vector_size(SUMI_VB / 2), aligned(2), may_alias));
typedef uint16_t half_any __attribute__((may_alias));

/* The nearest bfloat16, ties to even, as a float. Infinities come out of the carry as they should;
 * NaN stays NaN: the sum could carry into its sign, so its quiet bit is set instead. */
INLINE vf v_round_bf16(vf a)
{
    vu bits = (vu)a;
    vf rounded = (vf)(bits + 0x7fffu + (bits >> 16 & 1u));
    vf kept = v_select(a == a, rounded, (vf)(bits | 0x400000u));
    return (vf)((vu)kept & 0xffff0000u);
}

/* The upper halves of a, of which the lower are zero. */
INLINE vh v_halves(vf a)
{
    vu halves = (vu)a >> 16;
#if SUMI_VB == 64
    return (vh)_mm512_cvtepi32_epi16((__m512i)halves);
#elif SUMI_VB == 32
    __m256i packed = _mm256_packus_epi32((__m256i)halves, (__m256i)halves);
    return (vh)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
#else
    return __builtin_convertvector(halves, vh);
#endif
}

/* Where element i of a tensor is, to read or to write. */
INLINE const void *tensor_at(const void *p, size_t i, bool bf16)
{
    return bf16 ? (const void *)((const uint16_t *)p + i) : (const void *)((const float *)p + i);
}

/* Asks for the line of an element that will be read, or written, soon. It may lie past the tensor's
 * end: an address that nothing is at is passed over. */
INLINE void tensor_fetch(const void *p, size_t i, bool bf16)
{
    __builtin_prefetch((const void *)((uintptr_t)p + i * (bf16 ? 2 : 4)), 0, 3);
}

INLINE void tensor_fetch_to_write(const void *p, size_t i, bool bf16)
{
    __builtin_prefetch((const void *)((uintptr_t)p + i * (bf16 ? 2 : 4)), 1, 3);
}

/* Elements of a line of cache. */
INLINE int tensor_line(bool bf16)
{
    return bf16 ? 32 : 16;
}

INLINE void *tensor_begin(void *p, size_t i, bool bf16)
{
    return bf16 ? (void *)((uint16_t *)p + i) : (void *)((float *)p + i);
}

/* v_get of elements i and on. */
INLINE vf v_get_as(bool bf16, const void *p, size_t i, bool lane)
{
    if (!bf16)
        return v_get((const float *)p + i, lane);
    const half_any *from = (const half_any *)p + i;
    if (lane)
        return (vf)((vu){0} + ((uint32_t)*from << 16));
    return (vf)(__builtin_convertvector(*(const vh_any *)from, vu) << 16);
}

/* v as v_put_as will leave it in memory. */
INLINE vf v_stored(bool bf16, vf v)
{
    return bf16 ? v_round_bf16(v) : v;
}

/* v_put to elements i and on, of what v_stored returned. */
INLINE void v_put_as(bool bf16, void *p, size_t i, vf v, bool lane)
{
    if (!bf16)
        v_put((float *)p + i, v, lane);
    else if (lane)
        ((half_any *)p)[i] = (uint16_t)(((vu)v)[0] >> 16);
    else
        *(vh_any *)((half_any *)p + i) = v_halves(v);
}

/* ---- Products of 16-bit integers --------------------------------------------------------------
 * A vector of words holds two 16-bit integers a lane. Sums of their products are 32-bit integers,
 * exact as long as they do not overflow, and so the same on every CPU.
 */

typedef int32_t vi_any __attribute__((vector_size(SUMI_VB), aligned(4), may_alias));
typedef int32_t word_any __attribute__((may_alias)); /* two 16-bit integers, the first one low */

INLINE vi v_words(const word_any *p)
{
    return *(const vi_any *)p;
}

INLINE void v_store_words(word_any *p, vi v)
{
    *(vi_any *)p = v;
}

INLINE vi v_splat_word(word_any word)
{
    return word - (vi){0};
}

/* sum + x0 * b0 + x1 * b1 of each lane. No two products of one lane are both of -32768 squared. */
INLINE vi v_dot16(vi sum, vi x, vi b)
{
#if SUMI_VB == 64
    return (vi)_mm512_add_epi32((__m512i)sum, _mm512_madd_epi16((__m512i)x, (__m512i)b));
#elif SUMI_VB == 32
    /* In assembly: GCC 12 adds the products of two steps before it adds them to the sum, and then
     * has more numbers than registers. */
    vi products;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
            : "+x"(sum), "=&x"(products)
            : "x"(x), "x"(b));
    return sum;
#else
    vi low = ((vi)((vu)x << 16) >> 16) * ((vi)((vu)b << 16) >> 16);
    return (vi)((vu)sum + (vu)low + (vu)((x >> 16) * (b >> 16)));
#endif
}

/* The same in one instruction, for functions with the attribute SUMI_VNNI_TARGET, of a table that
 * only a CPU with VNNI is given. In assembly, because GCC 12 copies the sums of its intrinsic from
 * register to register. */
#if (defined(__clang__) || __GNUC__ >= 11) && SUMI_VB == 64
#define SUMI_VNNI_TARGET __attribute__((target("avx512vnni")))
#define SUMI_VNNI_CODE "vpdpwssd %2, %1, %0"
#elif (defined(__clang__) || __GNUC__ >= 11) && SUMI_VB == 32
#define SUMI_VNNI_TARGET __attribute__((target("avxvnni")))
#define SUMI_VNNI_CODE "%{vex%} vpdpwssd %2, %1, %0"
#endif
#if defined(SUMI_VNNI_TARGET)
INLINE SUMI_VNNI_TARGET vi v_dot16_vnni(vi sum, vi x, vi b)
{
    __asm__(SUMI_VNNI_CODE : "+v"(sum) : "v"(x), "v"(b));
    return sum;
}
#endif

/* The nearest integers, ties to even, of numbers whose size is below 2^22. */
INLINE vi v_round(vf a)
{
#if SUMI_VB == 64
    return (vi)_mm512_cvtps_epi32(a);
#elif SUMI_VB == 32
    return (vi)_mm256_cvtps_epi32(a);
#else
    const vf big = v_splat(12582912.0F); /* 1.5 * 2^23: the last bit of the sum is a unit */
    return (vi)((vu)(a + big) - (vu)big);
#endif
}

INLINE vf v_from_integers(vi a)
{
    return __builtin_convertvector(a, vf);
}

/* Stores the low halves of low and high, which fit 16 bits, as VW words. Instructions that pack
 * keep to 128 bits: of four channels of low and four of high, the eight integers are side by side.
 * pack16_word says where a channel is. */
INLINE void v_store_pack16(word_any *p, vi low, vi high)
{
#if SUMI_VB == 64
    v_store_words(p, (vi)_mm512_packs_epi32((__m512i)low, (__m512i)high));
#elif SUMI_VB == 32
    v_store_words(p, (vi)_mm256_packs_epi32((__m256i)low, (__m256i)high));
#else
    for (int i = 0; i < VW / 2; i++) {
        p[i] = (int32_t)(((uint32_t)low[2 * i] & 0xffffU) | (uint32_t)low[2 * i + 1] << 16);
        p[VW / 2 + i] =
            (int32_t)(((uint32_t)high[2 * i] & 0xffffU) | (uint32_t)high[2 * i + 1] << 16);
    }
#endif
}

/* The word of channels c and c + 1 (c is even) among those that v_store_pack16 stored for channels
 * from 0 on. */
INLINE int pack16_word(int c)
{
    int group = c / (2 * VW), r = c % (2 * VW), high = r >= VW;
    int from = r - high * VW; /* within low or high */
    return group * VW + (from / 4 * 8 + high * 4 + from % 4) / 2;
}

/* max(a, b), and NaN where b is NaN. */
INLINE vf v_max_or_nan(vf a, vf b)
{
    return v_select(a > b, a, b);
}

/* The sums of the lanes of VW vectors that lie one after another, as one vector. */
INLINE vf v_sums(const float *p)
{
#if SUMI_VB == 64
    vf a[8], b[4];
    UNROLL
    for (int i = 0; i < 8; i++) {
        vf x = v_load(p + 2 * i * VW), y = v_load(p + (2 * i + 1) * VW);
        a[i] = _mm512_unpacklo_ps(x, y) + _mm512_unpackhi_ps(x, y);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        __m512d x = (__m512d)a[2 * i], y = (__m512d)a[2 * i + 1];
        b[i] = (vf)_mm512_unpacklo_pd(x, y) + (vf)_mm512_unpackhi_pd(x, y);
    }
    vf low = _mm512_shuffle_f32x4(b[0], b[1], 0x88) + _mm512_shuffle_f32x4(b[0], b[1], 0xdd);
    vf high = _mm512_shuffle_f32x4(b[2], b[3], 0x88) + _mm512_shuffle_f32x4(b[2], b[3], 0xdd);
    return _mm512_shuffle_f32x4(low, high, 0x88) + _mm512_shuffle_f32x4(low, high, 0xdd);
#elif SUMI_VB == 32
    vf a[4];
    UNROLL
    for (int i = 0; i < 4; i++)
        a[i] = _mm256_hadd_ps(v_load(p + 2 * i * VW), v_load(p + (2 * i + 1) * VW));
    vf low = _mm256_hadd_ps(a[0], a[1]), high = _mm256_hadd_ps(a[2], a[3]);
    return _mm256_permute2f128_ps(low, high, 0x20) + _mm256_permute2f128_ps(low, high, 0x31);
#else
    vf sums = v_zero();
    for (int i = 0; i < VW; i++)
        sums[i] = v_sum(v_load(p + i * VW));
    return sums;
#endif
}

#endif
