/*
 * What the files of the eval layer share: random numbers of their own, orders, sums of products.
 */
#ifndef SUMI_EVAL_INTERNAL_H
#define SUMI_EVAL_INTERNAL_H

#include <stdlib.h>
#include <string.h>

#include "eval/eval.h"

/* Runs fn on every chunk, on the threads of the machine; chunks take less than a second. Once the
 * runtime is cancelled, chunks are left out and SUMI_CANCELLED is returned. */
sumi_status sumi_eval_parallel(const sumi_eval_machine *machine, int64_t count, sumi_task_fn fn,
                               void *arg, sumi_error *err);

/* Numbers of this layer, past the streams that base names; `image` tells what for. */
#define SUMI_STREAM_EVAL ((sumi_stream)(SUMI_STREAM_USER + 1))
enum {
    SUMI_DRAW_RESAMPLE, /* step: which */
    SUMI_DRAW_ORDER,
    SUMI_DRAW_DIRECTION,
    SUMI_DRAW_PIXEL,
    SUMI_DRAW_STRATUM,
    SUMI_DRAW_NOISE, /* above the number of an image */
};

/* An order of n things that is as random as the seed; NULL where memory is out. */
int64_t *sumi_eval_order(uint64_t seed, uint32_t step, int64_t n);

/* From a statistic and what it is with each of `blocks` blocks left out: 95 % by Student's t. */
enum { SUMI_JACKKNIFE_BLOCKS = 20 };
sumi_score sumi_jackknife_score(double value, const double *left_out, int blocks,
                                double *standard_error);

/* product[i][j] += sum over rows of factors[r][i] * rows[r][j] for i in [i0, i1), j <= i; both are
 * SUMI_ROWS rows of `stride` doubles, product has rows of d. */
enum { SUMI_ROWS = 8 };
void sumi_eval_add_products(const double *factors, const double *rows, size_t stride, int i0,
                            int i1, double *product, size_t d);

/* Moments of values - shift, on the calling thread: weights NULL, or how often each row counts.
 * scratch: 2 * SUMI_ROWS * d doubles. */
void sumi_eval_moments_of(const sumi_eval_set *set, const uint32_t *weights, const double *shift,
                          sumi_moments *out, double *scratch);
sumi_status sumi_moments_init(sumi_moments *moments, int d, sumi_error *err);

/* What is no eigenvalue but rounding: d eps times the largest of them, in ascending order. */
double sumi_symmetric_noise(const double *values, int d);
/* out = a * b, square matrices; out must be neither. */
void sumi_eval_multiply(const double *a, const double *b, int d, double *out);
/* out = matrix * x of a symmetric matrix; out must not be x. */
void sumi_eval_transform(const double *matrix, const double *x, int d, double *out);
/* y += a * x */
void sumi_eval_add_multiple(double a, const double *x, double *y, int count);

/* A reference that distances are taken to many times. */
typedef struct {
    const sumi_moments *moments;
    double *root; /* of its covariance, owned */
} sumi_frechet_side;
sumi_status sumi_frechet_side_init(sumi_frechet_side *side, const sumi_moments *moments,
                                   sumi_error *err);
void sumi_frechet_side_free(sumi_frechet_side *side);
/* scratch: 3 * d * d + 4 * d doubles. NaN where the eigenvalues cannot be found. */
double sumi_frechet_to(const sumi_frechet_side *side, const sumi_moments *moments, double *scratch);

/* distances [SUMI_EVAL_RESAMPLES] to side of the set drawn again; whole: its moments. */
sumi_status sumi_frechet_resample(const sumi_eval_machine *machine, const sumi_eval_set *set,
                                  const sumi_moments *whole, const sumi_frechet_side *side,
                                  uint64_t seed, double *distances, sumi_error *err);

/* ---- Reports --------------------------------------------------------------------------------- */

/* A score as JSON's key, and as a reader sees it. */
typedef struct {
    const char *key, *label, *about; /* a label that begins with two spaces is a part of the last */
    sumi_score score;
} sumi_eval_row;
enum { SUMI_EVAL_ROWS = 23, SUMI_EVAL_NUMBER_MAX = 32 };
int sumi_eval_rows_of(const sumi_eval_report *report, sumi_eval_row out[SUMI_EVAL_ROWS]);
/* Three to five digits, "-" for NaN. */
const char *sumi_eval_number(char out[SUMI_EVAL_NUMBER_MAX], double value);

/* ---- Pairs ----------------------------------------------------------------------------------- */

/* All pairs of two sets of rows that lie within a limit: near(arg, i, j, |from_i - of_j|^2) where
 * that is at most the larger of row_limits[i] and column_limits[j] (NULL: 0). Calls for one i come
 * from one thread, j rising, and may lower row_limits[i]; calls for other i come at the same time.
 */
typedef struct {
    const sumi_eval_rows *from, *of;
    const double *row_limits, *column_limits;
    void (*near)(void *arg, int64_t i, int64_t j, double squared);
    void *arg;
} sumi_eval_pairs;
sumi_status sumi_eval_near(const sumi_eval_machine *machine, const sumi_eval_pairs *pairs,
                           sumi_error *err);
double sumi_eval_squared_distance(const sumi_eval_rows *a, int64_t i, const sumi_eval_rows *b,
                                  int64_t j);
/* As sumi_eval_nearest, with squared distances and both arrays given. */
sumi_status sumi_eval_nearest_squared(const sumi_eval_machine *machine, const sumi_eval_rows *from,
                                      const sumi_eval_rows *of, int k, bool skip_same,
                                      double *squared, int64_t *indices, sumi_error *err);

#endif
