/*
 * The innermost loops of every product of matrices on vectors: `rows` rows x 2 vectors of columns
 * are summed up in registers. Written once, and included once for every kind of number: floats
 * (body_micro.h), and pairs of 16-bit integers for each instruction that multiplies them
 * (body_fixed16.h). The file that includes this defines
 *     MICRO(name)          a function's name with these numbers
 *     MICRO_TARGET         the attribute that it needs
 *     MICRO_NUMBER         what the factors are made of in memory
 *     MICRO_SUM            a vector of sums
 *     MICRO_LOAD(p)        a vector of numbers
 *     MICRO_SPLAT(x)       one number in every lane
 *     MICRO_DOT(sum, x, y) sum + x * y
 *
 * Sums are taken in the order of the depth. `rows` and `share` must be constants.
 */

/* One step of the depth: sum[i] += the number of row i times the two vectors at b. That number is
 * row[i / share][i % share * ld + at]: where there are more rows than registers for pointers, some
 * rows share one. */
INLINE MICRO_TARGET void MICRO(step)(const int rows, const int share,
                                     const MICRO_NUMBER *const *row, size_t ld, size_t at,
                                     const MICRO_NUMBER *b, MICRO_SUM (*sum)[2])
{
    MICRO_SUM b0 = MICRO_LOAD(b), b1 = MICRO_LOAD(b + VW);
    UNROLL
    for (int i = 0; i < rows; i++) {
        MICRO_SUM x = MICRO_SPLAT(row[i / share][(size_t)(i % share) * ld + at]);
        sum[i][0] = MICRO_DOT(sum[i][0], x, b0);
        sum[i][1] = MICRO_DOT(sum[i][1], x, b1);
    }
}

/* The left matrix lies in rows: `count` steps from number `at` of each row on, and as many pairs of
 * vectors from b on. Two steps in a turn: where two threads share a core, its decoders are what
 * limits this loop. fetch: what is multiplied next. */
INLINE MICRO_TARGET void MICRO(rows)(const int rows, const int share,
                                     const MICRO_NUMBER *const *row, size_t ld, size_t at,
                                     size_t count, const MICRO_NUMBER *b, micro_fetch fetch,
                                     MICRO_SUM (*sum)[2])
{
    size_t end = at + count;
    for (; at + 2 <= end; at += 2, b += 4 * VW) {
        MICRO(step)(rows, share, row, ld, at, b, sum);
        MICRO(step)(rows, share, row, ld, at + 1, b + 2 * VW, sum);
        micro_fetch_step(&fetch);
    }
    if (at < end)
        MICRO(step)(rows, share, row, ld, at, b, sum);
}

/* The left matrix lies in columns: step t takes the rows from a + t * lda on, and the two vectors
 * at b + t * ldb. turn: steps in a turn, a constant. */
INLINE MICRO_TARGET void MICRO(columns)(const int rows, const int turn, const MICRO_NUMBER *a,
                                        size_t lda, const MICRO_NUMBER *b, size_t ldb, int count,
                                        MICRO_SUM (*sum)[2])
{
    for (; count >= turn; count -= turn) {
        UNROLL
        for (int q = 0; q < turn; q++)
            MICRO(step)(rows, rows, &a, 1, (size_t)q * lda, b + (size_t)q * ldb, sum);
        a += (size_t)turn * lda;
        b += (size_t)turn * ldb;
    }
    for (; count > 0; count--, a += lda, b += ldb)
        MICRO(step)(rows, rows, &a, 1, 0, b, sum);
}
