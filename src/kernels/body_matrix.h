/*
 * Products of matrices that lie in memory as they are, without packing: the small ones that an
 * optimiser multiplies.
 */
#ifndef SUMI_BODY_MATRIX_H
#define SUMI_BODY_MATRIX_H

#include "kernels/body_micro.h"

#define MATRIX_DEPTH 128 /* of two strips of columns that stay in L1 while a block is summed up */

/* Some rows x NR columns of c, from row i and column j on, and `count` steps from t on. */
INLINE void matrix_columns(const int rows, const sumi_product *p, int i, int j, int t, int count)
{
    vf sum[MR][2];
    float *c = p->c + (size_t)i * p->ldc + (size_t)j;
    micro_begin(rows, t > 0, c, p->ldc, sum);
    micro_columns(rows, 2, p->a + (size_t)t * p->lda + (size_t)i, p->lda,
                  p->b + (size_t)t * p->ldb + (size_t)j, p->ldb, count, sum);
    micro_end(rows, false, c, p->ldc, sum);
}

INLINE void matrix_rows(const int rows, const sumi_product *p, int i, int j, int t, int count)
{
    vf sum[MR][2];
    const float *row[MR], *b = p->b + (size_t)t * p->ldb + (size_t)j;
    float *c = p->c + (size_t)i * p->ldc + (size_t)j;
    micro_begin(rows, t > 0, c, p->ldc, sum);
    UNROLL
    for (int k = 0; k < rows; k++)
        row[k] = p->a + (size_t)(i + k) * p->lda + (size_t)t;
    for (size_t step = 0; step < (size_t)count; step++, b += p->ldb)
        micro_step(rows, 1, row, 0, step, b, sum);
    micro_end(rows, false, c, p->ldc, sum);
}

static void product(const sumi_product *p)
{
    for (int t = 0; t < p->depth; t += MATRIX_DEPTH) {
        int steps = min_int(p->depth - t, MATRIX_DEPTH);
        for (int j = 0; j < p->cols; j += NR) {
            micro_cut cut = micro_cut_make(p->rows, MR);
            for (int g = 0, i = 0, count; g < cut.groups; g++, i += count) {
                count = micro_cut_next(&cut);
#define MATRIX_COLUMNS(n) matrix_columns(n, p, i, j, t, steps)
#define MATRIX_ROWS(n) matrix_rows(n, p, i, j, t, steps)
                if (p->a_columns)
                    MICRO_SWITCH(MR, count, MATRIX_COLUMNS)
                else
                    MICRO_SWITCH(MR, count, MATRIX_ROWS)
#undef MATRIX_COLUMNS
#undef MATRIX_ROWS
            }
        }
    }
}

#endif
