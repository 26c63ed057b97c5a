/*
 * Mean and covariance of features, in double.
 *
 * Work is cut by columns of the mean and rows of the covariance, each of which goes through all
 * pictures in their order: nothing is reduced between threads. Differences from a mean are taken
 * before they are multiplied.
 */
#include "eval/internal.h"

enum { COLUMNS = 16, TRIANGLE_ROWS = 16 };

sumi_status sumi_moments_init(sumi_moments *moments, int d, sumi_error *err)
{
    size_t n = (size_t)d;
    *moments = (sumi_moments){.d = d, .mean = sumi_calloc(n * n + n, sizeof(double))};
    if (!moments->mean)
        return sumi_fail_memory(err, "moments of features", (n * n + n) * sizeof(double));
    moments->covariance = moments->mean + n;
    return SUMI_OK;
}

void sumi_moments_free(sumi_moments *moments)
{
    free(moments->mean);
    *moments = (sumi_moments){0};
}

/* Four rows at a time keep their factors in registers. */
static void add_four(const double *factors, const double *restrict rows, size_t stride, int i,
                     double *restrict to)
{
    const double *x0 = rows, *x1 = rows + stride, *x2 = rows + 2 * stride, *x3 = rows + 3 * stride;
    double a0 = factors[i], a1 = factors[stride + (size_t)i], a2 = factors[2 * stride + (size_t)i],
           a3 = factors[3 * stride + (size_t)i];
    for (int j = 0; j <= i; j++)
        to[j] += (a0 * x0[j] + a1 * x1[j]) + (a2 * x2[j] + a3 * x3[j]);
}

void sumi_eval_add_products(const double *factors, const double *rows, size_t stride, int i0,
                            int i1, double *product, size_t d)
{
    for (int i = i0; i < i1; i++) {
        double *to = product + (size_t)i * d;
        add_four(factors, rows, stride, i, to);
        add_four(factors + 4 * stride, rows + 4 * stride, stride, i, to);
    }
}

typedef struct {
    const sumi_eval_set *set;
    const uint32_t *weights;
    const double *shift; /* NULL: 0 */
    double *sums;        /* [d] of weight * (value - shift) */
    double *products;    /* [d][d], lower triangle */
    double *scratch;     /* [threads][2 * SUMI_ROWS * d] */
} moments_job;

static double weight_of(const moments_job *job, int64_t i)
{
    return job->weights ? (double)job->weights[i] : 1;
}

/* Sums of columns first to last. */
static void sum_columns(const moments_job *job, int first, int last)
{
    int d = job->set->d;
    for (int64_t i = 0; i < job->set->n; i++) {
        const float *row = job->set->features + i * d;
        double weight = weight_of(job, i);
        for (int k = first; k < last && weight > 0; k++)
            job->sums[k] += weight * ((double)row[k] - (job->shift ? job->shift[k] : 0));
    }
}

/* Rows first to last of the products. Rows that are not drawn are passed over, and what is missing
 * in the last lot is 0. */
static void sum_products(const moments_job *job, int first, int last, double *scratch)
{
    size_t d = (size_t)job->set->d;
    double *factors = scratch, *rows = scratch + SUMI_ROWS * d;
    int64_t i = 0;
    while (i < job->set->n) {
        size_t filled = 0;
        for (; i < job->set->n && filled < SUMI_ROWS; i++) {
            const float *row = job->set->features + (size_t)i * d;
            double weight = weight_of(job, i);
            if (weight == 0)
                continue;
            for (size_t k = 0; k < (size_t)last; k++) {
                rows[filled * d + k] = (double)row[k] - job->shift[k];
                factors[filled * d + k] = weight * rows[filled * d + k];
            }
            filled++;
        }
        for (; filled < SUMI_ROWS; filled++) {
            memset(rows + filled * d, 0, d * sizeof *rows);
            memset(factors + filled * d, 0, d * sizeof *factors);
        }
        sumi_eval_add_products(factors, rows, d, first, last, job->products, d);
    }
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static void columns_task(void *arg, int64_t chunk, int thread)
{
    const moments_job *job = arg;
    (void)thread;
    sum_columns(job, (int)chunk * COLUMNS, least((int)(chunk + 1) * COLUMNS, job->set->d));
}

static void products_task(void *arg, int64_t chunk, int thread)
{
    const moments_job *job = arg;
    size_t d = (size_t)job->set->d;
    sum_products(job, (int)chunk * TRIANGLE_ROWS,
                 least((int)(chunk + 1) * TRIANGLE_ROWS, job->set->d),
                 job->scratch + (size_t)thread * 2 * SUMI_ROWS * d);
}

/* From sums about shift: out->mean holds the sums, the covariance products. */
static void finish(const double *shift, sumi_moments *out)
{
    size_t d = (size_t)out->d;
    for (size_t i = 0; i < d; i++)
        out->mean[i] /= out->n;
    for (size_t i = 0; i < d; i++) {
        for (size_t k = 0; k <= i; k++) {
            double product = out->covariance[i * d + k] - out->n * out->mean[i] * out->mean[k];
            out->covariance[i * d + k] = out->covariance[k * d + i] =
                out->n > 1 ? product / (out->n - 1) : 0;
        }
    }
    for (size_t i = 0; i < d; i++)
        out->mean[i] += shift[i];
}

static double total_of(const sumi_eval_set *set, const uint32_t *weights)
{
    double total = 0;
    for (int64_t i = 0; weights && i < set->n; i++)
        total += weights[i];
    return weights ? total : (double)set->n;
}

void sumi_eval_moments_of(const sumi_eval_set *set, const uint32_t *weights, const double *shift,
                          sumi_moments *out, double *scratch)
{
    size_t d = (size_t)set->d;
    moments_job job = {set, weights, shift, out->mean, out->covariance, NULL};
    memset(out->mean, 0, (d + d * d) * sizeof(double));
    out->n = total_of(set, weights);
    sum_columns(&job, 0, set->d);
    sum_products(&job, 0, set->d, scratch);
    finish(shift, out);
}

/* Twice over the columns: the second pass takes what the first one's rounding left. */
static sumi_status run(const sumi_eval_machine *machine, moments_job *job, double *mean,
                       double *sums, sumi_moments *out, sumi_error *err)
{
    int d = job->set->d, columns = (d + COLUMNS - 1) / COLUMNS;
    job->sums = mean;
    sumi_status status = sumi_eval_parallel(machine, columns, columns_task, job, err);
    for (int k = 0; k < d; k++)
        mean[k] /= out->n;
    job->shift = mean;
    job->sums = sums;
    if (status == SUMI_OK)
        status = sumi_eval_parallel(machine, columns, columns_task, job, err);
    if (status == SUMI_OK)
        status = sumi_eval_parallel(machine, (d + TRIANGLE_ROWS - 1) / TRIANGLE_ROWS, products_task,
                                    job, err);
    memcpy(out->mean, sums, (size_t)d * sizeof *sums);
    finish(mean, out);
    return status;
}

sumi_status sumi_eval_moments(const sumi_eval_machine *machine, const sumi_eval_set *set,
                              const uint32_t *weights, sumi_moments *out, sumi_error *err)
{
    *out = (sumi_moments){0};
    if (!set->features)
        return sumi_fail(err, SUMI_EINVAL, "%s: there are no features", set->name);
    size_t d = (size_t)set->d, threads = (size_t)sumi_pool_threads(machine->pool);
    sumi_status status = sumi_eval_check(set, err);
    if (status == SUMI_OK && total_of(set, weights) == 0)
        status = sumi_fail(err, SUMI_EINVAL, "%s: no picture has a weight", set->name);
    if (status == SUMI_OK)
        status = sumi_moments_init(out, set->d, err);
    if (status != SUMI_OK)
        return status;
    size_t count = (2 + 2 * SUMI_ROWS * threads) * d;
    double *scratch = sumi_calloc(count, sizeof *scratch);
    if (!scratch) {
        sumi_moments_free(out);
        return sumi_fail_memory(err, "moments of features", count * sizeof *scratch);
    }
    moments_job job = {
        .set = set, .weights = weights, .products = out->covariance, .scratch = scratch + 2 * d};
    out->n = total_of(set, weights);
    status = run(machine, &job, scratch, scratch + d, out, err);
    free(scratch);
    if (status != SUMI_OK)
        sumi_moments_free(out);
    return status;
}
