/*
 * The vocabulary of matrix tiles, after Intel's AMX: eight tiles of 16 rows of 64 bytes, and the
 * product of two of them that hold bfloat16. Where SUMI_AMX is defined these are its instructions,
 * elsewhere the same in plain C, so that what is written in them runs in every table. Nothing here
 * is exported.
 *
 * The first operand of tile_dot holds 16 rows of 32 numbers; the second has 16 rows of 16 pairs:
 * in row i, numbers 2i and 2i + 1 of each of its 16 columns.
 */
#ifndef SUMI_TILES_H
#define SUMI_TILES_H

#include "kernels/simd.h"

#define TILE_ROWS 16
#define TILE_DEPTH 32  /* bfloat16 in a row */
#define TILE_BYTES 64  /* of a row */
#define TILE_WORDS 256 /* of four bytes, in a tile */

#if defined(SUMI_AMX)
#define TILES_IN_HARDWARE true

/* The tiles are registers: their numbers must be digits, and there is nothing to keep. */
typedef struct {
    char none;
} tile_bank;

/* GCC does not know that these instructions read and write memory. */
#define TILE_MEMORY() __asm__ volatile("" ::: "memory")

/* Before the first use of tiles, and after the last one, of a thread that does not know what its
 * caller does with them. */
INLINE void tile_configure(void)
{
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } all = {.palette = 1,
             .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
             .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&all);
}

INLINE void tile_release(void)
{
    _tile_release();
}

#define tile_zero(bank, i)                                                                         \
    do {                                                                                           \
        (void)(bank);                                                                              \
        _tile_zero(i);                                                                             \
    } while (0)
#define tile_load(bank, i, p, stride)                                                              \
    do {                                                                                           \
        TILE_MEMORY();                                                                             \
        _tile_loadd(i, p, stride);                                                                 \
    } while (0)
#define tile_store(bank, i, p, stride)                                                             \
    do {                                                                                           \
        _tile_stored(i, p, stride);                                                                \
        TILE_MEMORY();                                                                             \
    } while (0)
#define tile_dot(bank, c, a, b) _tile_dpbf16ps(c, a, b)

#else
#define TILES_IN_HARDWARE false

typedef struct {
    uint32_t tile[8][TILE_ROWS][TILE_BYTES / sizeof(uint32_t)];
} tile_bank;

INLINE void tile_configure(void)
{
}

INLINE void tile_release(void)
{
}

INLINE void tile_zero(tile_bank *bank, int i)
{
    memset(bank->tile[i], 0, sizeof bank->tile[i]);
}

/* stride: bytes from row to row. */
INLINE void tile_load(tile_bank *bank, int i, const void *p, size_t stride)
{
    for (size_t r = 0; r < TILE_ROWS; r++)
        memcpy(bank->tile[i][r], (const char *)p + r * stride, TILE_BYTES);
}

INLINE void tile_store(const tile_bank *bank, int i, void *p, size_t stride)
{
    for (size_t r = 0; r < TILE_ROWS; r++)
        memcpy((char *)p + r * stride, bank->tile[i][r], TILE_BYTES);
}

/* Numbers too small for a full significand count as 0. */
INLINE vf tile_flush(vf x)
{
    return (vf)((vi)x & ((((vi)x & 0x7f800000) != 0) | INT32_MIN));
}

/* c += a b. Of each sum of 32 products, those of even and of odd numbers are added up apart, then
 * to one another, then to c. A product of two bfloat16 is exact, so that v_fma is the same on every
 * CPU. */
static __attribute__((unused)) void tile_dot(tile_bank *bank, int c, int a, int b)
{
    for (int m = 0; m < TILE_ROWS; m++)
        for (int n = 0; n < TILE_ROWS; n += VW) {
            float *to = (float *)(void *)&bank->tile[c][m][n];
            vf even = v_zero(), odd = v_zero();
            for (int i = 0; i < TILE_ROWS; i++) {
                vu x = (vu){0} + bank->tile[a][m][i];
                vu y = (vu)v_load((const float *)(const void *)&bank->tile[b][i][n]);
                even =
                    tile_flush(v_fma(tile_flush((vf)(x << 16)), tile_flush((vf)(y << 16)), even));
                odd = tile_flush(v_fma(tile_flush((vf)(x & 0xffff0000u)),
                                       tile_flush((vf)(y & 0xffff0000u)), odd));
            }
            v_store(to, tile_flush(v_load(to) + tile_flush(even + odd)));
        }
}

#endif
#endif
