/*
 * Frechet distances of a set that is drawn again and again, for its interval.
 *
 * What is drawn are blocks of pictures, at most 200 of them, into which the set falls by chance: as
 * good as single pictures for how much a distance spreads, and a draw's covariance is then a sum of
 * so many, made once. Features are multiplied by the root of the reference's covariance first, so
 * that a draw's covariance is S1^1/2 S2 S1^1/2 already, and its eigenvalues are all that is left.
 */
#include "eval/internal.h"

enum {
    BLOCKS = 200,
    LEAST_BLOCKS = 20,
    LOT = 8,     /* draws that are added up together */
    TILE = 256,  /* numbers of each of them at a time, which stay in the first cache */
    MEMORY = 32, /* MiB that blocks may take before there are fewer of them */
};

typedef struct {
    const sumi_eval_set *set;
    const sumi_moments *whole;
    const sumi_frechet_side *side;
    const int64_t *order;
    uint64_t seed;
    int blocks;
    size_t each;    /* numbers of a block: sums [d], sum of squares, products [d (d + 1) / 2] */
    double *sums;   /* [blocks][each] of differences from the mean */
    double *memory; /* [threads][thread_floats] */
    size_t thread_floats;
    double *distances;
} resample_job;

static int64_t block_begin(const resample_job *job, int64_t block)
{
    return job->set->n * block / job->blocks;
}

/* The products are those of the differences times the root. */
static void block_task(void *arg, int64_t block, int thread)
{
    const resample_job *job = arg;
    size_t d = (size_t)job->set->d;
    double *rows = job->memory + (size_t)thread * job->thread_floats,
           *difference = rows + SUMI_ROWS * d, *square = difference + d,
           *sums = job->sums + (size_t)block * job->each, *products = sums + d + 1;
    memset(square, 0, d * d * sizeof *square);
    int64_t i = block_begin(job, block), end = block_begin(job, block + 1);
    while (i < end) {
        memset(rows, 0, SUMI_ROWS * d * sizeof *rows);
        for (size_t r = 0; r < SUMI_ROWS && i < end; r++, i++) {
            const float *row = job->set->features + (size_t)job->order[i] * d;
            for (size_t k = 0; k < d; k++) {
                difference[k] = (double)row[k] - job->whole->mean[k];
                sums[k] += difference[k];
                sums[d] += difference[k] * difference[k];
            }
            sumi_eval_transform(job->side->root, difference, (int)d, rows + r * d);
        }
        sumi_eval_add_products(rows, rows, d, 0, (int)d, square, d);
    }
    for (size_t k = 0; k < d; k++, products += k)
        memcpy(products, square + k * d, (k + 1) * sizeof *products);
}

/* to [LOT][each]: the sums of a lot of draws; counts: how many pictures each has. */
static void add_blocks(const resample_job *job, int first, double *to, double counts[LOT])
{
    double weights[BLOCKS][LOT] = {{0}};
    for (int u = 0; u < LOT; u++) {
        uint32_t drawn[BLOCKS];
        sumi_bootstrap_weights(job->seed, first + u, job->blocks, drawn);
        counts[u] = 0;
        for (int b = 0; b < job->blocks; b++) {
            weights[b][u] = drawn[b];
            counts[u] += drawn[b] * (double)(block_begin(job, b + 1) - block_begin(job, b));
        }
    }
    memset(to, 0, LOT * job->each * sizeof *to);
    for (size_t tile = 0; tile < job->each; tile += TILE) {
        size_t count = job->each - tile < TILE ? job->each - tile : TILE;
        for (int b = 0; b < job->blocks; b++) {
            const double *from = job->sums + (size_t)b * job->each + tile;
            for (int u = 0; u < LOT; u++)
                if (weights[b][u] > 0)
                    sumi_eval_add_multiple(weights[b][u], from, to + (size_t)u * job->each + tile,
                                           (int)count);
        }
    }
}

/* sums are overwritten. */
static double distance_of(const resample_job *job, double *sums, double n, double *scratch)
{
    const sumi_moments *reference = job->side->moments;
    int d = job->set->d;
    size_t wide = (size_t)d;
    double *matrix = scratch, *values = matrix + wide * wide, *mean = values + wide,
           *work = mean + wide, *products = sums + wide + 1;
    double distance = 0, spread = sums[wide] / (n - 1), roots = 0;
    for (size_t i = 0; i < wide; i++) {
        double moved = sums[i] / n, off = job->whole->mean[i] + moved - reference->mean[i];
        spread += reference->covariance[i * wide + i] - n / (n - 1) * moved * moved;
        distance += off * off;
        sums[i] = moved;
    }
    sumi_eval_transform(job->side->root, sums, d, mean);
    for (size_t i = 0; i < wide; i++)
        for (size_t k = 0; k <= i; k++)
            matrix[i * wide + k] = (*products++ - n * mean[i] * mean[k]) / (n - 1);
    if (!sumi_symmetric_eigen(matrix, d, values, NULL, work))
        return NAN;
    double noise = sumi_symmetric_noise(values, d);
    for (int i = 0; i < d; i++)
        roots += values[i] > noise ? sqrt(values[i]) : 0;
    return distance + spread - 2 * roots;
}

static void lot_task(void *arg, int64_t lot, int thread)
{
    const resample_job *job = arg;
    double *to = job->memory + (size_t)thread * job->thread_floats, counts[LOT];
    double *scratch = to + LOT * job->each;
    add_blocks(job, (int)lot * LOT, to, counts);
    for (int u = 0; u < LOT; u++)
        job->distances[lot * LOT + u] =
            distance_of(job, to + (size_t)u * job->each, counts[u], scratch);
}

static int block_count(const sumi_eval_set *set, size_t each)
{
    size_t fits = ((size_t)MEMORY << 20) / (each * sizeof(double));
    int blocks = fits > BLOCKS ? BLOCKS : fits < LEAST_BLOCKS ? LEAST_BLOCKS : (int)fits;
    return set->n < blocks ? (int)set->n : blocks;
}

sumi_status sumi_frechet_resample(const sumi_eval_machine *machine, const sumi_eval_set *set,
                                  const sumi_moments *whole, const sumi_frechet_side *side,
                                  uint64_t seed, double *distances, sumi_error *err)
{
    size_t d = (size_t)set->d, threads = (size_t)sumi_pool_threads(machine->pool);
    resample_job job = {.set = set,
                        .whole = whole,
                        .side = side,
                        .seed = seed,
                        .each = d + 1 + d * (d + 1) / 2,
                        .distances = distances};
    job.blocks = block_count(set, job.each);
    size_t making = SUMI_ROWS * d + d + d * d, drawing = LOT * job.each + 2 * d * d + 5 * d;
    job.thread_floats = making > drawing ? making : drawing;
    int64_t *order = sumi_eval_order(seed, 5, set->n);
    job.order = order;
    job.sums = sumi_calloc((size_t)job.blocks * job.each, sizeof *job.sums);
    job.memory = sumi_calloc(threads * job.thread_floats, sizeof *job.memory);
    sumi_status status = SUMI_OK;
    if (order && job.sums && job.memory) {
        status = sumi_eval_parallel(machine, job.blocks, block_task, &job, err);
        if (status == SUMI_OK)
            status = sumi_eval_parallel(machine, SUMI_EVAL_RESAMPLES / LOT, lot_task, &job, err);
    } else {
        status = sumi_fail_memory(err, "draws of features",
                                  (size_t)job.blocks * job.each * sizeof *job.sums);
    }
    free(order);
    free(job.sums);
    free(job.memory);
    return status;
}
