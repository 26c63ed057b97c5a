/*
 * Products of matrices whose numbers are 16-bit integers times a scale: the accuracy of about 13
 * bits, at up to twice the speed of float32's. What is multiplied is scaled so that no sum can
 * overflow, whatever the data:
 *
 *   - a row of the left matrix (a transformed tile, a pixel) is scaled for every FIXED_RUN channels
 *     of the sum so that its L2 norm is FIXED_ROW_NORM;
 *   - a column of the right matrix (an output channel) so that none of its runs has a norm above
 *     FIXED_COLUMN_NORM, and no number is above 32767;
 *   - rounding adds at most half a unit to a number, 4 to a norm of 64 of them. By Cauchy and
 *     Schwarz a sum is at most (32766 + 4) * (65000 + 4) < 2^31.
 *
 * Sums of integers are exact, so results do not depend on how the work is cut. A run's sum is
 * multiplied by the row's 1 / scale, runs are added in float32, and at the end the column's
 * 1 / scale is multiplied in. NaN and infinity reach the scale, and with it all that the row or
 * column is multiplied with. Numbers whose squares leave float32 (beyond 1e18) become NaN, those
 * below 1e-18 lose digits.
 *
 * This file holds scales and rounding; body_fixed16_product.h the products, once with VNNI and once
 * without.
 */
#ifndef SUMI_BODY_FIXED16_H
#define SUMI_BODY_FIXED16_H

#include "kernels/body_winograd_wgrad.h"

#define FIXED_RUN 64 /* channels that are summed as integers */
#define FIXED_RUN_WORDS (FIXED_RUN / 2)
#define FIXED_ROW_NORM 32766.0F
#define FIXED_COLUMN_NORM 65000.0F
#define FIXED_MOST 32767.0F
#define FIXED_TINY 1e-35F /* a square below which nothing is scaled up any more */
#define FIXED_PAD 16      /* words between rows, against cache sets that are hit in step */

/* Words of a row of some channels: vectors of two words fill them, in every table alike. */
INLINE int fixed_words(int channels)
{
    return (int)round_up((size_t)channels, 32) / 2;
}

INLINE int fixed_runs(int words)
{
    return (words + FIXED_RUN_WORDS - 1) / FIXED_RUN_WORDS;
}

/* ---- Rows ------------------------------------------------------------------------------------ */

#define FIXED_ROWS 48 /* most rows that are scaled at a time, a multiple of every VW */

/* norms: of each row VW partial sums of squares. Writes each row's scale, and its reciprocal to
 * inverse[row * stride]. Vectors of rows are taken, so norms and scales have room for those. */
INLINE void fixed_scales(int rows, const float *norms, float *scales, float *inverse, size_t stride)
{
    float one_over[SUMI_VB / sizeof(float)];
    for (int r = 0; r < rows; r += VW) {
        vf root = v_sqrt(v_max_or_nan(v_splat(FIXED_TINY), v_sums(norms + r * VW)));
        v_store(scales + r, v_splat(FIXED_ROW_NORM) / root);
        v_store(one_over, root * v_splat(1 / FIXED_ROW_NORM));
        for (int i = 0; i < VW && r + i < rows; i++)
            inverse[(size_t)(r + i) * stride] = one_over[i];
    }
}

/* channels, a multiple of 32, of a row that has been scaled. */
INLINE void fixed_round_row(const float *row, int channels, float scale, word_any *to)
{
    vf s = v_splat(scale);
    for (int c = 0; c < channels; c += 2 * VW, to += VW)
        v_store_pack16(to, v_round(v_load(row + c) * s), v_round(v_load(row + c + VW) * s));
}

/* Rows of `depth` floats, a multiple of 32, to words: to[row * ldq + ...], and the reciprocal
 * scales of run r to inverse[r * count + row]. */
static void fixed_rows(const float *from, size_t ld, int count, int depth, word_any *to, size_t ldq,
                       float *inverse)
{
    float norms[FIXED_ROWS * (SUMI_VB / sizeof(float))], scales[FIXED_ROWS];
    for (int c0 = 0; c0 < depth; c0 += FIXED_RUN, inverse += count) {
        int channels = min_int(depth - c0, FIXED_RUN);
        for (int r0 = 0; r0 < count; r0 += VW) {
            int rows = min_int(count - r0, VW);
            const float *first = from + (size_t)r0 * ld + c0;
            for (int r = 0; r < rows; r++) {
                vf sum = v_zero();
                for (int c = 0; c < channels; c += VW) {
                    vf x = v_load(first + (size_t)r * ld + c);
                    sum = v_fma(x, x, sum);
                }
                v_store(norms + r * VW, sum);
            }
            for (int r = rows; r < VW; r++)
                v_store(norms + r * VW, v_zero());
            fixed_scales(rows, norms, scales, inverse + r0, 1);
            for (int r = 0; r < rows; r++)
                fixed_round_row(first + (size_t)r * ld, channels, scales[r],
                                to + (size_t)(r0 + r) * ldq + c0 / 2);
        }
    }
}

/* ---- Columns --------------------------------------------------------------------------------- */

/* Of VW columns: the square of the run that is being added up, the largest one, and the largest
 * size of a number. */
typedef struct {
    vf run, norm, most;
} fixed_norm;

INLINE void fixed_norm_add(fixed_norm *n, vf x)
{
    vf negative = -x;
    n->run = v_fma(x, x, n->run);
    n->most = v_max_or_nan(n->most, v_select(x > negative, x, negative));
}

INLINE void fixed_norm_end_run(fixed_norm *n)
{
    n->norm = v_max_or_nan(n->norm, v_select(n->norm == n->norm, n->run, n->norm));
    n->run = v_zero();
}

/* What the columns' numbers are multiplied with; *inverse is 1 / that. */
INLINE vf fixed_norm_scale(const fixed_norm *n, vf *inverse)
{
    vf root = v_sqrt(v_max_or_nan(v_splat(FIXED_TINY), n->norm));
    vf by_norm = v_splat(FIXED_COLUMN_NORM) / root, by_size = v_splat(FIXED_MOST) / n->most;
    vf scale = v_select(by_size < by_norm, by_size, by_norm);
    *inverse = v_splat(1) / scale;
    return scale;
}

/* The word of two numbers of each of VW columns. */
INLINE vi fixed_pair(vf first, vf second, vf scale)
{
    vi low = v_round(first * scale), high = v_round(second * scale);
    return (vi)(((vu)low & 0xffffU) | (vu)high << 16);
}

/* ---- Rows along which a sum runs (weight gradients) ------------------------------------------ */

/* from[depth][channels] to pairs of rows, to[pair][channels] with rows of ldq words: each channel
 * is scaled so that its norm over all of the depth is FIXED_ROW_NORM. An odd depth ends in zeros.
 */
static void fixed_pairs(const float *from, size_t ld, int depth, int channels, word_any *to,
                        size_t ldq, float *inverse)
{
    for (int c = 0; c < channels; c += VW) {
        const float *p = from + c;
        vf sum[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
        int t = 0;
        for (; t + 4 <= depth; t += 4) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                vf x = v_load(p + (size_t)(t + i) * ld);
                sum[i] = v_fma(x, x, sum[i]);
            }
        }
        for (; t < depth; t++) {
            vf x = v_load(p + (size_t)t * ld);
            sum[0] = v_fma(x, x, sum[0]);
        }
        vf all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        vf root = v_sqrt(v_max_or_nan(v_splat(FIXED_TINY), all));
        vf scale = v_splat(FIXED_ROW_NORM) / root;
        v_store(inverse + c, root * v_splat(1 / FIXED_ROW_NORM));
        for (t = 0; t < depth; t += 2) {
            vf first = v_load(p + (size_t)t * ld);
            vf second = t + 1 < depth ? v_load(p + (size_t)(t + 1) * ld) : v_zero();
            v_store_words(to + (size_t)(t / 2) * ldq + c, fixed_pair(first, second, scale));
        }
    }
}

/* ---- Products -------------------------------------------------------------------------------- */

/* c[rows][NR] = the sum over `words` words of a row and a panel of NR columns. */
typedef struct {
    size_t lda; /* in words */
    size_t ldc;
    int words;
    const float *row_scale; /* [run][row]: reciprocals */
    size_t row_scale_run;
    bool add;    /* to what c holds */
    bool finish; /* multiply by column_scale at the end */
} fixed_product;

/* du[rows][NR] (+)= the sum over `pairs` of v[pair][rows] and w[pair][NR]. */
typedef struct {
    const word_any *v, *w;
    size_t ldv, ldw;
    int pairs;
    const float *v_scale, *w_scale; /* reciprocals */
    bool add;
} fixed_outer;

/* Zeros to begin with, and the lines of a result that is not in cache. */
INLINE void fixed_begin(const int rows, const float *c, size_t ldc, vi (*sum)[2])
{
    UNROLL
    for (int i = 0; i < rows; i++) {
        sum[i][0] = sum[i][1] = (vi)v_zero();
        micro_expect(c + (size_t)i * ldc);
    }
}

#define MICRO_NUMBER word_any
#define MICRO_SUM vi
#define MICRO_LOAD v_words
#define MICRO_SPLAT v_splat_word

#define FIXED(name) fixed_##name
#define FIXED_TARGET
#define FIXED_DOT v_dot16
#include "kernels/body_fixed16_product.h"
#undef FIXED
#undef FIXED_TARGET
#undef FIXED_DOT

#if defined(SUMI_VNNI_TARGET)
#define FIXED(name) fixed_##name##_vnni
#define FIXED_TARGET SUMI_VNNI_TARGET
#define FIXED_DOT v_dot16_vnni
#include "kernels/body_fixed16_product.h"
#undef FIXED
#undef FIXED_TARGET
#undef FIXED_DOT
#endif

#undef MICRO_NUMBER
#undef MICRO_SUM
#undef MICRO_LOAD
#undef MICRO_SPLAT

/* next: the panel that is multiplied after b. */
static void fixed_multiply(const sumi_conv_spec *s, const fixed_product *p, int rows,
                           const word_any *a, const word_any *b, const float *column_scale,
                           float *c, const word_any *next)
{
#if defined(SUMI_VNNI_TARGET)
    if (s->vnni) {
        fixed_panel_vnni(p, rows, a, b, column_scale, c, next);
        return;
    }
#endif
    (void)s;
    fixed_panel(p, rows, a, b, column_scale, c, next);
}

static void fixed_multiply_outer(const sumi_conv_spec *s, const fixed_outer *p, int channels,
                                 float *du)
{
#if defined(SUMI_VNNI_TARGET)
    if (s->vnni) {
        fixed_outer_panel_vnni(p, channels, du);
        return;
    }
#endif
    (void)s;
    fixed_outer_panel(p, channels, du);
}

#endif
