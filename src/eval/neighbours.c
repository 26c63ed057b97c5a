/*
 * Rows that are near each other: all pairs of two sets, by products of matrices.
 *
 * |x - y|^2 = |x|^2 + |y|^2 - 2 x.y. The products x.y are those of a 1x1 convolution whose weights
 * are the other set's rows, so they run on the kernels of the network. They are float32; a pair
 * whose distance may be within its limit, with the rounding of such a product allowed for, has it
 * computed again in double. So what is found does not depend on the instruction set.
 */
#include "eval/internal.h"

enum {
    COLUMNS = 256,         /* rows of the other set in a product */
    QUERIES = 64,          /* rows of a chunk */
    SLAB_FLOATS = 8 << 20, /* of the other set, packed */
};

typedef struct {
    const sumi_eval_pairs *pairs;
    const sumi_kernels *kernels;
    sumi_conv_spec spec;
    int64_t first;  /* row of the other set with which the slab begins */
    int64_t blocks; /* of COLUMNS rows, in this slab */
    float *packed;  /* [slab's blocks][spec.packed_floats] */
    double *norms;  /* [slab's blocks][COLUMNS] */
    float *memory;  /* [threads][thread_floats] */
    size_t thread_floats, query_floats;
} pairs_job;

static size_t round_up(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

static void get_row(const sumi_eval_rows *rows, int64_t i, float *to)
{
    size_t d = (size_t)rows->d;
    if (rows->reals) {
        memcpy(to, rows->reals + (size_t)i * d, d * sizeof *to);
        return;
    }
    for (size_t k = 0; k < d; k++)
        to[k] = rows->bytes[(size_t)i * d + k];
}

static double squared_norm(const float *x, int d)
{
    double sum = 0;
    for (int k = 0; k < d; k++)
        sum += (double)x[k] * (double)x[k];
    return sum;
}

static double value_at(const sumi_eval_rows *rows, size_t at)
{
    return rows->reals ? (double)rows->reals[at] : (double)rows->bytes[at];
}

/* In four sums, for speed. */
double sumi_eval_squared_distance(const sumi_eval_rows *a, int64_t i, const sumi_eval_rows *b,
                                  int64_t j)
{
    size_t d = (size_t)a->d, x = (size_t)i * d, y = (size_t)j * d, k = 0;
    double sums[4] = {0, 0, 0, 0};
    for (; k + 4 <= d; k += 4) {
        for (size_t u = 0; u < 4; u++) {
            double difference = value_at(a, x + k + u) - value_at(b, y + k + u);
            sums[u] += difference * difference;
        }
    }
    for (; k < d; k++) {
        double difference = value_at(a, x + k) - value_at(b, y + k);
        sums[0] += difference * difference;
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* Weights are [in][out]: the other set's rows become columns. What is missing is 0. */
static void pack_task(void *arg, int64_t chunk, int thread)
{
    pairs_job *job = arg;
    const sumi_eval_rows *of = job->pairs->of;
    size_t d = (size_t)of->d;
    float *row = job->memory + (size_t)thread * job->thread_floats, *weights = row + round_up(d);
    memset(weights, 0, d * COLUMNS * sizeof *weights);
    for (int64_t k = 0; k < COLUMNS; k++) {
        int64_t j = job->first + chunk * COLUMNS + k;
        if (j >= of->n)
            break;
        get_row(of, j, row);
        job->norms[chunk * COLUMNS + k] = squared_norm(row, of->d);
        for (size_t c = 0; c < d; c++)
            weights[c * COLUMNS + (size_t)k] = row[c];
    }
    job->kernels->conv_pack(&job->spec, weights, NULL,
                            job->packed + (size_t)chunk * job->spec.packed_floats, 0, 1);
}

/* dots [count][COLUMNS] of queries [count][d]. */
static void multiply(const pairs_job *job, const float *queries, int count, int64_t block,
                     float *dots, float *scratch)
{
    const sumi_conv_spec *spec = &job->spec;
    const sumi_source source = {.r = queries, .c = spec->cin};
    const sumi_sink sink = {.dst = dots, .c = COLUMNS};
    const sumi_conv conv = {.spec = spec,
                            .sources = &source,
                            .source_count = 1,
                            .sinks = &sink,
                            .sink_count = 1,
                            .packed = job->packed + (size_t)block * spec->packed_floats};
    for (int n0 = 0; n0 < count; n0 += spec->images) {
        sumi_tile tile = {.n0 = n0, .rows = 1, .kn = COLUMNS};
        tile.images = count - n0 < spec->images ? count - n0 : spec->images;
        job->kernels->conv_tile(&conv, &tile, scratch);
    }
}

/* One query against a block. A float32 product of d terms is off by at most d units of 2^-24 of
 * |x| |y|, which is at most half of the norms' sum. */
static void look(const pairs_job *job, int64_t i, double norm, int64_t block, const float *dots)
{
    const sumi_eval_pairs *pairs = job->pairs;
    const double *norms = job->norms + block * COLUMNS;
    double slack = (pairs->of->d + 8) * 0x1p-24, unlimited = 0;
    int64_t first = job->first + block * COLUMNS, count = pairs->of->n - first;
    const double *limits = pairs->column_limits ? pairs->column_limits + first : &unlimited;
    size_t step = pairs->column_limits ? 1 : 0;
    for (int64_t k = 0; k < (count < COLUMNS ? count : COLUMNS); k++) {
        double sum = norm + norms[k], limit = limits[(size_t)k * step];
        limit = pairs->row_limits && pairs->row_limits[i] > limit ? pairs->row_limits[i] : limit;
        if (sum - 2 * (double)dots[k] - slack * sum > limit)
            continue;
        double exact = sumi_eval_squared_distance(pairs->from, i, pairs->of, first + k);
        if (exact <= limit)
            pairs->near(pairs->arg, i, first + k, exact);
    }
}

static void query_task(void *arg, int64_t chunk, int thread)
{
    pairs_job *job = arg;
    const sumi_eval_rows *from = job->pairs->from;
    size_t d = (size_t)from->d;
    int64_t i0 = chunk * QUERIES;
    int count = from->n - i0 < QUERIES ? (int)(from->n - i0) : QUERIES;
    float *queries = job->memory + (size_t)thread * job->thread_floats,
          *dots = queries + job->query_floats, *scratch = dots + QUERIES * COLUMNS;
    double norms[QUERIES];
    for (int q = 0; q < count; q++) {
        get_row(from, i0 + q, queries + (size_t)q * d);
        norms[q] = squared_norm(queries + (size_t)q * d, from->d);
    }
    for (int64_t block = 0; block < job->blocks; block++) {
        multiply(job, queries, count, block, dots, scratch);
        for (int q = 0; q < count; q++)
            look(job, i0 + q, norms[q], block, dots + (size_t)q * COLUMNS);
    }
}

static sumi_status run_slabs(const sumi_eval_machine *machine, pairs_job *job, int64_t slab_blocks,
                             sumi_error *err)
{
    int64_t of_blocks = (job->pairs->of->n + COLUMNS - 1) / COLUMNS;
    int64_t chunks = (job->pairs->from->n + QUERIES - 1) / QUERIES;
    sumi_status status = SUMI_OK;
    for (int64_t block = 0; block < of_blocks && status == SUMI_OK; block += slab_blocks) {
        job->first = block * COLUMNS;
        job->blocks = of_blocks - block < slab_blocks ? of_blocks - block : slab_blocks;
        status = sumi_eval_parallel(machine, job->blocks, pack_task, job, err);
        if (status == SUMI_OK)
            status = sumi_eval_parallel(machine, chunks, query_task, job, err);
    }
    return status;
}

sumi_status sumi_eval_near(const sumi_eval_machine *machine, const sumi_eval_pairs *pairs,
                           sumi_error *err)
{
    size_t d = (size_t)pairs->of->d, threads = (size_t)sumi_pool_threads(machine->pool);
    if (pairs->from->d != pairs->of->d)
        return sumi_fail(err, SUMI_ESHAPE, "rows of %d numbers against rows of %d", pairs->from->d,
                         pairs->of->d);
    pairs_job job = {.pairs = pairs, .kernels = machine->kernels};
    job.spec = (sumi_conv_spec){.h = 1, .w = 1, .cin = pairs->of->d, .cout = COLUMNS, .ksize = 1};
    machine->kernels->conv_plan(&job.spec, SUMI_CONV_GEMM);
    int64_t blocks = (pairs->of->n + COLUMNS - 1) / COLUMNS,
            most = (int64_t)(SLAB_FLOATS / job.spec.packed_floats);
    most = most < 1 ? 1 : most > blocks ? blocks : most;
    size_t queries = round_up(QUERIES * d) + QUERIES * COLUMNS + job.spec.scratch_floats;
    size_t packing = round_up(d) + COLUMNS * d;
    job.query_floats = round_up(QUERIES * d);
    job.thread_floats = round_up(queries > packing ? queries : packing);
    size_t packed = round_up((size_t)most * job.spec.packed_floats);
    size_t bytes = (packed + threads * job.thread_floats) * sizeof(float);
    float *memory = sumi_pages_alloc(bytes);
    job.norms = sumi_calloc((size_t)most * COLUMNS, sizeof *job.norms);
    sumi_status status = SUMI_OK;
    if (memory && job.norms) {
        job.packed = memory;
        job.memory = memory + packed;
        status = run_slabs(machine, &job, most, err);
    } else {
        status = sumi_fail_memory(err, "distances of all pairs", bytes);
    }
    if (memory)
        sumi_pages_free(memory, bytes);
    free(job.norms);
    return status;
}

/* ---- The nearest ----------------------------------------------------------------------------- */

typedef struct {
    int k;
    bool skip_same;
    double *distances; /* [n][k], squared, ascending */
    int64_t *indices;  /* [n][k] */
    double *worst;     /* [n], the last of distances */
} nearest_job;

/* Equal distances keep the order of their indices, which rise. */
static void keep_near(void *arg, int64_t i, int64_t j, double squared)
{
    nearest_job *job = arg;
    double *distances = job->distances + i * job->k;
    int64_t *indices = job->indices + i * job->k;
    if ((job->skip_same && i == j) || squared >= job->worst[i])
        return;
    int at = job->k - 1;
    for (; at > 0 && distances[at - 1] > squared; at--) {
        distances[at] = distances[at - 1];
        indices[at] = indices[at - 1];
    }
    distances[at] = squared;
    indices[at] = j;
    job->worst[i] = distances[job->k - 1];
}

sumi_status sumi_eval_nearest_squared(const sumi_eval_machine *machine, const sumi_eval_rows *from,
                                      const sumi_eval_rows *of, int k, bool skip_same,
                                      double *squared, int64_t *indices, sumi_error *err)
{
    size_t count = (size_t)from->n * (size_t)k;
    nearest_job job = {.k = k, .skip_same = skip_same, .distances = squared, .indices = indices};
    job.worst = sumi_calloc((size_t)from->n, sizeof *job.worst);
    if (!job.worst)
        return sumi_fail_memory(err, "nearest neighbours", (size_t)from->n * sizeof *job.worst);
    for (size_t i = 0; i < count; i++) {
        squared[i] = INFINITY;
        indices[i] = -1;
    }
    for (int64_t i = 0; i < from->n; i++)
        job.worst[i] = INFINITY;
    const sumi_eval_pairs pairs = {
        .from = from, .of = of, .row_limits = job.worst, .near = keep_near, .arg = &job};
    sumi_status status = sumi_eval_near(machine, &pairs, err);
    free(job.worst);
    return status;
}

sumi_status sumi_eval_nearest(const sumi_eval_machine *machine, const sumi_eval_rows *from,
                              const sumi_eval_rows *of, int k, bool skip_same, double *distances,
                              int64_t *indices, sumi_error *err)
{
    if (from->n < 1 || of->n < 1 || k < 1 || k > of->n)
        return sumi_fail(err, SUMI_EINVAL, "%d nearest of %lld rows for %lld", k, (long long)of->n,
                         (long long)from->n);
    size_t count = (size_t)from->n * (size_t)k;
    double *squared = distances ? distances : sumi_calloc(count, sizeof *squared);
    int64_t *found = indices ? indices : sumi_calloc(count, sizeof *found);
    sumi_status status =
        squared && found
            ? sumi_eval_nearest_squared(machine, from, of, k, skip_same, squared, found, err)
            : sumi_fail_memory(err, "nearest neighbours", count * sizeof *squared);
    for (size_t i = 0; status == SUMI_OK && distances && i < count; i++)
        distances[i] = sqrt(squared[i]);
    if (!distances)
        free(squared);
    if (!indices)
        free(found);
    return status;
}
