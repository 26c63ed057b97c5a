/*
 * What the products of matrices of all bodies have in common: a micro-kernel holds some rows x NR
 * columns of the result in registers while it runs through the depth (body_micro_loops.h), and a
 * panel of NR columns is cut into such groups of rows.
 */
#ifndef SUMI_BODY_MICRO_H
#define SUMI_BODY_MICRO_H

#include "kernels/simd.h"

#define NR (2 * VW) /* columns of a micro-kernel */

/* ---- Groups of rows -------------------------------------------------------------------------- */

/* Some rows in groups of at most `most`, cut evenly: a group of few rows would wait for its own
 * sums. No bit depends on how they are cut. */
typedef struct {
    int groups;
    int low, rest; /* a group has `low` rows, and `rest` of the groups one more */
    int owed;      /* of `groups` parts of a row */
} micro_cut;

INLINE micro_cut micro_cut_make(int rows, int most)
{
    int groups = (rows + most - 1) / most;
    return (micro_cut){groups, rows / groups, rows % groups, 0};
}

/* Rows of the next group. */
INLINE int micro_cut_next(micro_cut *cut)
{
    cut->owed += cut->rest;
    if (cut->owed < cut->groups)
        return cut->low;
    cut->owed -= cut->groups;
    return cut->low + 1;
}

/* Calls what `call(n)` expands to with the constant n == rows, for 1 <= rows <= most; most is one
 * of the numbers below. */
#define MICRO_SWITCH(most, rows, call)                                                             \
    switch (rows) {                                                                                \
        MICRO_CASES(most, call)                                                                    \
    }
#define MICRO_CASES(most, call) MICRO_CASES_OF(most, call)
#define MICRO_CASES_OF(most, call) MICRO_CASES_##most(call)
#define MICRO_CASE(n, call)                                                                        \
    case n:                                                                                        \
        call(n);                                                                                   \
        break;
#define MICRO_CASES_6(call)                                                                        \
    MICRO_CASE(1, call)                                                                            \
    MICRO_CASE(2, call)                                                                            \
    MICRO_CASE(3, call) MICRO_CASE(4, call) MICRO_CASE(5, call) MICRO_CASE(6, call)
#define MICRO_CASES_10(call)                                                                       \
    MICRO_CASES_6(call)                                                                            \
    MICRO_CASE(7, call) MICRO_CASE(8, call) MICRO_CASE(9, call) MICRO_CASE(10, call)
#define MICRO_CASES_12(call) MICRO_CASES_10(call) MICRO_CASE(11, call) MICRO_CASE(12, call)
#define MICRO_CASES_14(call) MICRO_CASES_12(call) MICRO_CASE(13, call) MICRO_CASE(14, call)

/* ---- Memory ---------------------------------------------------------------------------------- */

/* What is multiplied next, fetched to the second level meanwhile: `step` bytes with every two steps
 * of the depth. No address: nothing is. */
typedef struct {
    const char *next;
    size_t step;
} micro_fetch;

INLINE void micro_fetch_step(micro_fetch *fetch)
{
    if (fetch->next == NULL)
        return;
    __builtin_prefetch(fetch->next, 0, 2);
    fetch->next += fetch->step;
}

/* Two vectors of a row that are about to be written, to the first level. */
INLINE void micro_expect(const float *row)
{
    __builtin_prefetch(row, 1, 3);
    if (NR * sizeof(float) > 64)
        __builtin_prefetch(row + VW, 1, 3);
}

/* ---- Products of floats ---------------------------------------------------------------------- */

#define MICRO(name) micro_##name
#define MICRO_TARGET
#define MICRO_NUMBER float
#define MICRO_SUM vf
#define MICRO_LOAD v_load
#define MICRO_SPLAT v_splat
#define MICRO_DOT(sum, x, y) v_fma(x, y, sum)
#include "kernels/body_micro_loops.h"
#undef MICRO
#undef MICRO_TARGET
#undef MICRO_NUMBER
#undef MICRO_SUM
#undef MICRO_LOAD
#undef MICRO_SPLAT
#undef MICRO_DOT

/* Sums begin as what c holds, or at 0. */
INLINE void micro_begin(const int rows, bool add, const float *c, size_t ldc, vf (*sum)[2])
{
    UNROLL
    for (int i = 0; i < rows; i++) {
        const float *from = c + (size_t)i * ldc;
        sum[i][0] = add ? v_load(from) : v_zero();
        sum[i][1] = add ? v_load(from + VW) : v_zero();
    }
}

/* Finished sums to c, or added to what it holds. */
INLINE void micro_end(const int rows, bool add, float *c, size_t ldc, vf (*sum)[2])
{
    UNROLL
    for (int i = 0; i < rows; i++) {
        float *to = c + (size_t)i * ldc;
        v_store(to, add ? v_load(to) + sum[i][0] : sum[i][0]);
        v_store(to + VW, add ? v_load(to + VW) + sum[i][1] : sum[i][1]);
    }
}

/* The same for a result that is not in cache: its lines are asked for before the sums are taken. */
INLINE void micro_begin_far(const int rows, const float *c, size_t ldc, vf (*sum)[2])
{
    UNROLL
    for (int i = 0; i < rows; i++) {
        sum[i][0] = sum[i][1] = v_zero();
        micro_expect(c + (size_t)i * ldc);
    }
}

#endif
