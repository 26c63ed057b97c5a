/*
 * The innermost loops of body_fixed16.h, which includes this once for every instruction that there
 * is for FIXED_DOT: FIXED(name) is a function's name with it, FIXED_TARGET the attribute that it
 * needs.
 */

/* One run of one group of rows; words is even, and two of them are taken in a turn. */
INLINE FIXED_TARGET void FIXED(micro)(const int rows, const fixed_product *p, const word_any *a,
                                      const word_any *b, int words, const float *row_scale,
                                      const float *column_scale, bool add, float *c,
                                      fixed_fetch fetch)
{
    const size_t lda = p->lda, ldc = p->ldc;
    const word_any *row[WINO_MR / WINO_SHARE];
    vi sum[WINO_MR][2];
    UNROLL
    for (int i = 0; i < rows; i++) {
        if (i % WINO_SHARE == 0)
            row[i / WINO_SHARE] = a + (size_t)i * lda;
        sum[i][0] = sum[i][1] = (vi)v_zero();
        wino_expect(c + (size_t)i * ldc);
    }
    for (int k = 0; k < words; k += 2) {
        UNROLL
        for (int q = 0; q < 2; q++) {
            vi b0 = v_words(b + q * WINO_NR), b1 = v_words(b + q * WINO_NR + VW);
            UNROLL
            for (int i = 0; i < rows; i++) {
                vi x = v_splat_word(
                    row[i / WINO_SHARE][(size_t)(i % WINO_SHARE) * lda + (size_t)(k + q)]);
                sum[i][0] = FIXED_DOT(sum[i][0], x, b0);
                sum[i][1] = FIXED_DOT(sum[i][1], x, b1);
            }
        }
        b += 2 * WINO_NR;
        __builtin_prefetch(fetch.next, 0, 2);
        fetch.next += 2 * fetch.step;
    }
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

/* Any number of rows, cut evenly, and all runs of words. */
static FIXED_TARGET void FIXED(panel)(const fixed_product *p, int rows, const word_any *a,
                                      const word_any *b, const float *column_scale, float *c,
                                      const word_any *next)
{
    int groups = (rows + WINO_MR - 1) / WINO_MR, runs = fixed_runs(p->words);
    fixed_fetch fetch = {next, (size_t)(WINO_NR / groups)};
    for (int run = 0; run < runs; run++) {
        int k0 = run * FIXED_RUN_WORDS, words = min_int(p->words - k0, FIXED_RUN_WORDS);
        const word_any *br = b + (size_t)k0 * WINO_NR;
        const float *finish = p->finish && run == runs - 1 ? column_scale : NULL;
        bool add = p->add || run > 0;
        for (int g = 0; g < groups; g++) {
            int r0 = rows * g / groups, r1 = rows * (g + 1) / groups;
            const word_any *ag = a + (size_t)r0 * p->lda + k0;
            const float *scale = p->row_scale + (size_t)run * p->row_scale_run + r0;
            float *cg = c + (size_t)r0 * p->ldc;
            switch (r1 - r0) {
#define FIXED_CASE(n)                                                                              \
    case n:                                                                                        \
        FIXED(micro)(n, p, ag, br, words, scale, finish, add, cg, fetch);                          \
        break;
                WINO_EACH_ROWS(FIXED_CASE)
#undef FIXED_CASE
            }
            fetch.next += (size_t)words * fetch.step;
        }
    }
}

INLINE FIXED_TARGET void FIXED(outer_micro)(const int rows, const fixed_outer *p, int c0, float *du)
{
    const word_any *v = p->v + c0, *w = p->w;
    vi sum[WINO_MR][2];
    UNROLL
    for (int i = 0; i < rows; i++) {
        sum[i][0] = sum[i][1] = (vi)v_zero();
        wino_expect(du + i * WINO_NR);
    }
    for (int t = 0; t < p->pairs; t++) {
        vi w0 = v_words(w), w1 = v_words(w + VW);
        UNROLL
        for (int i = 0; i < rows; i++) {
            vi x = v_splat_word(v[i]);
            sum[i][0] = FIXED_DOT(sum[i][0], x, w0);
            sum[i][1] = FIXED_DOT(sum[i][1], x, w1);
        }
        v += p->ldv;
        w += p->ldw;
    }
    vf factor0 = v_load(p->w_scale), factor1 = v_load(p->w_scale + VW);
    UNROLL
    for (int i = 0; i < rows; i++) {
        float *to = du + i * WINO_NR;
        vf scale = v_splat(p->v_scale[c0 + i]);
        vf x0 = v_from_integers(sum[i][0]), x1 = v_from_integers(sum[i][1]);
        v_store(to, v_fma(x0, scale * factor0, p->add ? v_load(to) : v_zero()));
        v_store(to + VW, v_fma(x1, scale * factor1, p->add ? v_load(to + VW) : v_zero()));
    }
}

/* All input channels and a panel of output channels. */
static FIXED_TARGET void FIXED(outer_panel)(const fixed_outer *p, int channels, float *du)
{
    int groups = (channels + WINO_MR - 1) / WINO_MR;
    for (int g = 0; g < groups; g++) {
        int c0 = channels * g / groups, c1 = channels * (g + 1) / groups;
        float *to = du + (size_t)c0 * WINO_NR;
        switch (c1 - c0) {
#define FIXED_CASE(n)                                                                              \
    case n:                                                                                        \
        FIXED(outer_micro)(n, p, c0, to);                                                          \
        break;
            WINO_EACH_ROWS(FIXED_CASE)
#undef FIXED_CASE
        }
    }
}
