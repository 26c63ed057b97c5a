/*
 * The kernel distance with the cubic polynomial kernel, over all pairs.
 *
 * k(x, y) = (x.y / d + 1)^3 = sum over i >= j >= k of m_ijk x'_i x'_j x'_k y'_i y'_j y'_k, with
 * x' = (x / sqrt(d), 1) and m the number of orders of i, j, k. So a set's mean of those products
 * says all that the sums over pairs need: the cost grows with n and not with n^2, and the distance
 * is taken from differences of means instead of between large sums.
 *
 * Work is cut by i. The products of each i are kept for every block of the jackknife, so that
 * leaving one out is a subtraction.
 */
#include <inttypes.h>

#include "eval/internal.h"

enum {
    BLOCKS = SUMI_JACKKNIFE_BLOCKS,
    FOLDS = BLOCKS + 1
}; /* fold 0 leaves nothing out, fold b leaves out b - 1 */

/* One set: its extended rows sorted by block, each block filled up with zero rows. */
typedef struct {
    double *rows;            /* [row_count][wide] */
    int64_t begins[FOLDS];   /* of blocks */
    double counts[BLOCKS];   /* pictures */
    double diagonal[BLOCKS]; /* sums of k(x, x) */
} side;

/* What the distance is made of, for each fold. */
typedef struct {
    double between[FOLDS]; /* |mean a - mean b|^2 */
    double own[2][FOLDS];  /* |mean|^2 */
} parts;

typedef struct {
    side sides[2];
    int wide; /* d + 1 */
    int blocks;
    double *products; /* [threads][2][blocks][wide][wide] */
    double *factors;  /* [threads][SUMI_ROWS][wide] */
    parts *parts;     /* [wide], of each i */
} kernel_job;

static sumi_status side_init(side *s, const sumi_eval_set *set, int blocks, uint32_t step,
                             sumi_error *err)
{
    int64_t lots = 0, n = set->n;
    for (int b = 0; b < blocks; b++) {
        int64_t count = n * (b + 1) / blocks - n * b / blocks;
        s->begins[b] = lots * SUMI_ROWS;
        s->counts[b] = (double)count;
        lots += (count + SUMI_ROWS - 1) / SUMI_ROWS;
    }
    s->begins[blocks] = lots * SUMI_ROWS;
    size_t d = (size_t)set->d, wide = d + 1;
    int64_t *order = sumi_eval_order(0, step, n);
    s->rows = sumi_calloc((size_t)s->begins[blocks], wide * sizeof *s->rows);
    if (!order || !s->rows) {
        free(order);
        return sumi_fail_memory(err, "the kernel distance",
                                (size_t)s->begins[blocks] * wide * sizeof *s->rows);
    }
    for (int b = 0; b < blocks; b++) {
        int64_t first = n * b / blocks, last = n * (b + 1) / blocks;
        for (int64_t i = first; i < last; i++) {
            const float *from = set->features + (size_t)order[i] * d;
            double *to = s->rows + (size_t)(s->begins[b] + i - first) * wide, own = 1;
            for (size_t k = 0; k < d; k++) {
                to[k] = (double)from[k] / sqrt((double)d);
                own += to[k] * to[k];
            }
            to[d] = 1;
            s->diagonal[b] += own * own * own;
        }
    }
    free(order);
    return SUMI_OK;
}

/* products[j][k] = sum over the block's rows of x_i x_j x_k, k <= j <= i. */
static void sum_block(const side *s, int block, int i, int wide, double *factors, double *products)
{
    size_t w = (size_t)wide;
    memset(products, 0, (size_t)(i + 1) * w * sizeof *products);
    for (int64_t r = s->begins[block]; r < s->begins[block + 1]; r += SUMI_ROWS) {
        const double *rows = s->rows + (size_t)r * w;
        for (size_t k = 0; k < SUMI_ROWS; k++)
            for (int j = 0; j <= i; j++)
                factors[k * w + (size_t)j] = rows[k * w + (size_t)i] * rows[k * w + (size_t)j];
        sumi_eval_add_products(factors, rows, w, 0, i + 1, products, w);
    }
}

/* In how many orders i >= j >= k stand. */
static double orders(int i, int j, int k)
{
    return i == j && j == k ? 1 : i == j || j == k ? 3 : 6;
}

/* Adds entry [j][k] of every block, for every fold. */
static void add_entry(const kernel_job *job, const double *products, size_t at, double times,
                      parts *to)
{
    size_t size = (size_t)job->wide * (size_t)job->wide;
    double totals[2] = {0, 0}, counts[2] = {0, 0};
    for (int b = 0; b < job->blocks; b++) {
        for (int s = 0; s < 2; s++) {
            totals[s] += products[(size_t)(s * job->blocks + b) * size + at];
            counts[s] += job->sides[s].counts[b];
        }
    }
    for (int f = 0; f <= job->blocks; f++) {
        double means[2];
        for (int s = 0; s < 2; s++) {
            double out = f ? products[(size_t)(s * job->blocks + f - 1) * size + at] : 0;
            double less = f ? job->sides[s].counts[f - 1] : 0;
            means[s] = (totals[s] - out) / (counts[s] - less);
            to->own[s][f] += times * means[s] * means[s];
        }
        to->between[f] += times * (means[0] - means[1]) * (means[0] - means[1]);
    }
}

static void slice_task(void *arg, int64_t chunk, int thread)
{
    kernel_job *job = arg;
    int i = job->wide - 1 - (int)chunk; /* the longest first */
    size_t wide = (size_t)job->wide, size = wide * wide;
    double *products = job->products + (size_t)(thread * 2 * job->blocks) * size;
    double *factors = job->factors + (size_t)thread * SUMI_ROWS * wide;
    for (int s = 0; s < 2; s++)
        for (int b = 0; b < job->blocks; b++)
            sum_block(&job->sides[s], b, i, job->wide, factors,
                      products + (size_t)(s * job->blocks + b) * size);
    parts sums = {{0}, {{0}}};
    for (int j = 0; j <= i; j++)
        for (int k = 0; k <= j; k++)
            add_entry(job, products, (size_t)j * wide + (size_t)k, orders(i, j, k), &sums);
    job->parts[i] = sums;
}

/* The sum over pairs i != j of a set is |sum|^2 less the diagonal. */
static double unbiased(const kernel_job *job, const parts *sums, int f)
{
    double distance = sums->between[f];
    for (int s = 0; s < 2; s++) {
        double n = 0, diagonal = 0;
        for (int b = 0; b < job->blocks; b++) {
            n += b == f - 1 ? 0 : job->sides[s].counts[b];
            diagonal += b == f - 1 ? 0 : job->sides[s].diagonal[b];
        }
        distance += sums->own[s][f] / (n - 1) - diagonal / (n * (n - 1));
    }
    return distance;
}

static void finish(const kernel_job *job, sumi_score *out, double *standard_error)
{
    parts sums = {{0}, {{0}}};
    for (int i = 0; i < job->wide; i++) {
        for (int f = 0; f <= job->blocks; f++) {
            sums.between[f] += job->parts[i].between[f];
            sums.own[0][f] += job->parts[i].own[0][f];
            sums.own[1][f] += job->parts[i].own[1][f];
        }
    }
    double left_out[BLOCKS];
    for (int f = 1; f <= job->blocks; f++)
        left_out[f - 1] = unbiased(job, &sums, f);
    *out = sumi_jackknife_score(unbiased(job, &sums, 0), left_out, job->blocks, standard_error);
}

static sumi_status check(const sumi_eval_set *a, const sumi_eval_set *b, sumi_error *err)
{
    const sumi_eval_set *sets[] = {a, b};
    for (int i = 0; i < 2; i++) {
        sumi_status status = sumi_eval_check(sets[i], err);
        if (status != SUMI_OK)
            return status;
        if (!sets[i]->features)
            return sumi_fail(err, SUMI_EINVAL, "%s: there are no features", sets[i]->name);
        if (sets[i]->n < 4)
            return sumi_fail(err, SUMI_EINVAL,
                             "%s: too few images for the kernel distance: %" PRId64
                             ", expected at least 4",
                             sets[i]->name, sets[i]->n);
    }
    if (a->d > SUMI_KERNEL_FEATURES_MAX)
        return sumi_fail(err, SUMI_EUNSUPPORTED,
                         "features of %d numbers, the kernel distance takes up to %d", a->d,
                         SUMI_KERNEL_FEATURES_MAX);
    return sumi_eval_check_pair(a, b, err);
}

sumi_status sumi_eval_kernel(const sumi_eval_machine *machine, const sumi_eval_set *a,
                             const sumi_eval_set *b, sumi_score *out, double *standard_error,
                             sumi_error *err)
{
    sumi_status status = check(a, b, err);
    if (status != SUMI_OK)
        return status;
    int64_t fewest = a->n < b->n ? a->n : b->n;
    kernel_job job = {.wide = a->d + 1, .blocks = fewest / 2 < BLOCKS ? (int)(fewest / 2) : BLOCKS};
    size_t threads = (size_t)sumi_pool_threads(machine->pool), wide = (size_t)job.wide;
    size_t count = threads * 2 * (size_t)job.blocks * wide * wide;
    job.products = sumi_calloc(count, sizeof *job.products);
    job.factors = sumi_calloc(threads * SUMI_ROWS * wide, sizeof *job.factors);
    job.parts = sumi_calloc(wide, sizeof *job.parts);
    if (!job.products || !job.factors || !job.parts)
        status = sumi_fail_memory(err, "the kernel distance", count * sizeof *job.products);
    if (status == SUMI_OK)
        status = side_init(&job.sides[0], a, job.blocks, 1, err);
    if (status == SUMI_OK)
        status = side_init(&job.sides[1], b, job.blocks, 2, err);
    if (status == SUMI_OK)
        status = sumi_eval_parallel(machine, job.wide, slice_task, &job, err);
    if (status == SUMI_OK)
        finish(&job, out, standard_error);
    free(job.sides[0].rows);
    free(job.sides[1].rows);
    free(job.parts);
    free(job.factors);
    free(job.products);
    return status;
}
