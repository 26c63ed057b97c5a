/*
 * The innermost loops of body_fixed16.h, which includes this once for every instruction that there
 * is for FIXED_DOT: FIXED(name) is a function's name with it, FIXED_TARGET the attribute that it
 * needs.
 */

#define MICRO(name) FIXED(loop_##name)
#define MICRO_TARGET FIXED_TARGET
#define MICRO_DOT FIXED_DOT
#include "kernels/body_micro_loops.h"
#undef MICRO
#undef MICRO_TARGET
#undef MICRO_DOT

/* One run of one group of rows. */
INLINE FIXED_TARGET void FIXED(micro)(const int rows, const fixed_product *p, const word_any *a,
                                      const word_any *b, int words, const float *row_scale,
                                      const float *column_scale, bool add, float *c,
                                      micro_fetch fetch)
{
    const size_t lda = p->lda, ldc = p->ldc;
    const word_any *row[WINO_MR / WINO_SHARE];
    vi sum[WINO_MR][2];
    UNROLL
    for (int i = 0; i < rows; i += WINO_SHARE)
        row[i / WINO_SHARE] = a + (size_t)i * lda;
    fixed_begin(rows, c, ldc, sum);
    FIXED(loop_rows)(rows, WINO_SHARE, row, lda, 0, (size_t)words, b, fetch, sum);
    vf factor0 = v_splat(1), factor1 = factor0;
    if (column_scale != NULL) {
        factor0 = v_load(column_scale);
        factor1 = v_load(column_scale + VW);
    }
    UNROLL
    for (int i = 0; i < rows; i++) {
        float *to = c + (size_t)i * ldc;
        vf scale = v_splat(row_scale[i]);
        vf x0 = v_from_integers(sum[i][0]) * scale, x1 = v_from_integers(sum[i][1]) * scale;
        if (add) {
            x0 += v_load(to);
            x1 += v_load(to + VW);
        }
        v_store(to, x0 * factor0);
        v_store(to + VW, x1 * factor1);
    }
}

/* Any number of rows, and all runs of words. */
static FIXED_TARGET void FIXED(panel)(const fixed_product *p, int rows, const word_any *a,
                                      const word_any *b, const float *column_scale, float *c,
                                      const word_any *next)
{
    int groups = (rows + WINO_MR - 1) / WINO_MR, runs = fixed_runs(p->words);
    micro_fetch fetch = {(const char *)next, (size_t)(NR / groups) * 2 * sizeof *next};
    for (int run = 0; run < runs; run++) {
        int k0 = run * FIXED_RUN_WORDS, words = min_int(p->words - k0, FIXED_RUN_WORDS);
        const word_any *ar = a + k0, *br = b + (size_t)k0 * NR;
        const float *finish = p->finish && run == runs - 1 ? column_scale : NULL;
        const float *scale = p->row_scale + (size_t)run * p->row_scale_run;
        bool add = p->add || run > 0;
        float *cr = c;
        micro_cut cut = micro_cut_make(rows, WINO_MR);
        for (int g = 0; g < cut.groups; g++) {
            int count = micro_cut_next(&cut);
#define FIXED_CALL(n) FIXED(micro)(n, p, ar, br, words, scale, finish, add, cr, fetch)
            MICRO_SWITCH(WINO_MR, count, FIXED_CALL)
#undef FIXED_CALL
            ar += (size_t)count * p->lda;
            cr += (size_t)count * p->ldc;
            scale += count;
            fetch.next += (size_t)(words / 2) * fetch.step;
        }
    }
}

INLINE FIXED_TARGET void FIXED(outer_micro)(const int rows, const fixed_outer *p, int c0, float *du)
{
    vi sum[WINO_MR][2];
    fixed_begin(rows, du, NR, sum);
    /* Two steps in a turn, as floats take them, are 3 % slower: `bench_kernels avx512vnni
     * winograd16` shows it on the weight gradients of the layers with 64 channels. */
    FIXED(loop_columns)(rows, 1, p->v + c0, p->ldv, p->w, p->ldw, p->pairs, sum);
    vf factor0 = v_load(p->w_scale), factor1 = v_load(p->w_scale + VW);
    UNROLL
    for (int i = 0; i < rows; i++) {
        float *to = du + i * NR;
        vf scale = v_splat(p->v_scale[c0 + i]);
        vf x0 = v_from_integers(sum[i][0]), x1 = v_from_integers(sum[i][1]);
        v_store(to, v_fma(x0, scale * factor0, p->add ? v_load(to) : v_zero()));
        v_store(to + VW, v_fma(x1, scale * factor1, p->add ? v_load(to + VW) : v_zero()));
    }
}

/* All input channels and a panel of output channels. */
static FIXED_TARGET void FIXED(outer_panel)(const fixed_outer *p, int channels, float *du)
{
    micro_cut cut = micro_cut_make(channels, WINO_MR);
    for (int g = 0, c0 = 0, count; g < cut.groups; g++, c0 += count, du += count * NR) {
        count = micro_cut_next(&cut);
#define FIXED_CALL(n) FIXED(outer_micro)(n, p, c0, du)
        MICRO_SWITCH(WINO_MR, count, FIXED_CALL)
#undef FIXED_CALL
    }
}
