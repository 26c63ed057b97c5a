/*
 * SHA-256 with the x86 SHA extensions, where the CPU has them: some six times as fast, so that a
 * checkpoint is checked in the time that reading it takes. sha256.c is the definition and the rest
 * of the world's path.
 */
#include "base/sha256_blocks.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>

enum { SHA_BIT = 1 << 29 }; /* of leaf 7's EBX */

bool sumi_sha256_has_fast_blocks(void)
{
    unsigned a, b, c, d;
    return __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.1") &&
           __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & SHA_BIT) != 0;
}

/* The instructions keep the eight words as (a b e f) and (c d g h), highest lane first, and do two
 * rounds at a time. */
__attribute__((target("sha,ssse3,sse4.1"))) void
sumi_sha256_fast_blocks(uint32_t state[8], const uint8_t *bytes, size_t count)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8), cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
    for (; count > 0; count--, bytes += 64) {
        __m128i w[16], abef_before = abef, cdgh_before = cdgh;
        for (int i = 0; i < 16; i++) {
            if (i < 4) {
                w[i] = _mm_loadu_si128((const __m128i *)(bytes + 16 * i));
                w[i] = _mm_shuffle_epi8(w[i], big_endian);
            } else {
                __m128i sum = _mm_sha256msg1_epu32(w[i - 4], w[i - 3]);
                sum = _mm_add_epi32(sum, _mm_alignr_epi8(w[i - 1], w[i - 2], 4));
                w[i] = _mm_sha256msg2_epu32(sum, w[i - 1]);
            }
            const __m128i *constants = (const __m128i *)(sumi_sha256_constants + 4 * i);
            __m128i words = _mm_add_epi32(w[i], _mm_loadu_si128(constants));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, words);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(words, 0x0e));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

#else

bool sumi_sha256_has_fast_blocks(void)
{
    return false;
}

void sumi_sha256_fast_blocks(uint32_t state[8], const uint8_t *bytes, size_t count)
{
    sumi_sha256_plain_blocks(state, bytes, count);
}

#endif
