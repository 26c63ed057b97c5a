/*
 * The Frechet distance between two sets of features, taken as normal distributions.
 *
 * The trace of (S1^1/2 S2 S1^1/2)^1/2 is the sum of the roots of that matrix's eigenvalues, which
 * is symmetric: no root of a product that is not, as by a general square root of S1 S2.
 */
#include <inttypes.h>

#include "eval/internal.h"

enum { SUBSETS = 12 }; /* of the line against 1/N */

static double trace(const double *matrix, int d)
{
    double sum = 0;
    for (size_t i = 0; i < (size_t)d; i++)
        sum += matrix[i * (size_t)d + i];
    return sum;
}

static sumi_status check_count(const sumi_moments *moments, sumi_error *err)
{
    if (moments->n > moments->d)
        return SUMI_OK;
    return sumi_fail(err, SUMI_EINVAL,
                     "too few images for the covariance: %.0f, expected more than the %d numbers "
                     "of a feature",
                     moments->n, moments->d);
}

static sumi_status check_pair(const sumi_moments *a, const sumi_moments *b, sumi_error *err)
{
    if (a->d != b->d)
        return sumi_fail(err, SUMI_ESHAPE, "features of %d numbers against features of %d", a->d,
                         b->d);
    sumi_status status = check_count(a, err);
    return status == SUMI_OK ? check_count(b, err) : status;
}

sumi_status sumi_frechet_side_init(sumi_frechet_side *side, const sumi_moments *moments,
                                   sumi_error *err)
{
    size_t count = (size_t)moments->d * (size_t)moments->d;
    *side = (sumi_frechet_side){moments, sumi_calloc(count, sizeof(double))};
    if (!side->root)
        return sumi_fail_memory(err, "a covariance", count * sizeof(double));
    sumi_status status = sumi_symmetric_root(moments->covariance, moments->d, side->root, err);
    if (status != SUMI_OK)
        sumi_frechet_side_free(side);
    return status;
}

void sumi_frechet_side_free(sumi_frechet_side *side)
{
    free(side->root);
    *side = (sumi_frechet_side){0};
}

double sumi_frechet_to(const sumi_frechet_side *side, const sumi_moments *moments, double *scratch)
{
    const sumi_moments *to = side->moments;
    size_t d = (size_t)to->d;
    double *half = scratch, *whole = half + d * d, *values = whole + d * d, *work = values + d;
    sumi_eval_multiply(side->root, moments->covariance, to->d, half);
    sumi_eval_multiply(half, side->root, to->d, whole);
    if (!sumi_symmetric_eigen(whole, to->d, values, NULL, work))
        return NAN;
    double distance = trace(to->covariance, to->d) + trace(moments->covariance, to->d);
    double noise = sumi_symmetric_noise(values, to->d), roots = 0;
    for (size_t i = 0; i < d; i++)
        roots += values[i] > noise ? sqrt(values[i]) : 0;
    distance -= 2 * roots;
    for (size_t i = 0; i < d; i++)
        distance += (to->mean[i] - moments->mean[i]) * (to->mean[i] - moments->mean[i]);
    return distance;
}

/* Doubles of that scratch. */
static size_t scratch_of(int d)
{
    return 3 * (size_t)d * (size_t)d + 4 * (size_t)d;
}

sumi_status sumi_eval_frechet(const sumi_moments *a, const sumi_moments *b, double *out,
                              sumi_error *err)
{
    sumi_frechet_side side;
    size_t count = scratch_of(a->d);
    sumi_status status = check_pair(a, b, err);
    if (status != SUMI_OK)
        return status;
    double *scratch = sumi_calloc(count, sizeof *scratch);
    if (!scratch)
        return sumi_fail_memory(err, "a distance", count * sizeof *scratch);
    status = sumi_frechet_side_init(&side, a, err);
    if (status == SUMI_OK) {
        *out = sumi_frechet_to(&side, b, scratch);
        sumi_frechet_side_free(&side);
        if (isnan(*out))
            status = sumi_fail(err, SUMI_EINVAL, "the eigenvalues of a covariance cannot be found");
    }
    free(scratch);
    return status;
}

/* ---- Distances of subsets -------------------------------------------------------------------- */

typedef struct {
    const sumi_eval_set *set;
    const sumi_frechet_side *side;
    const double *shift;
    const int64_t *order;
    double *distances, *sizes; /* [SUBSETS] */
    /* Of each thread: */
    uint32_t *weights;     /* [n] */
    sumi_moments *moments; /* one */
    double *scratch;       /* [scratch_floats] */
    size_t scratch_floats;
} subsets_job;

/* Sizes of the subsets, at equal steps of 1/N from n/4 (and enough for a covariance) to n. */
static int64_t subset_size(const subsets_job *job, int i)
{
    double n = (double)job->set->n, least = fmax(n / 4, 2 * (job->set->d + 1.));
    double inverse = 1 / n + (1 / least - 1 / n) * i / (SUBSETS - 1);
    return i == 0 ? job->set->n : (int64_t)(1 / inverse + .5);
}

/* Each subset begins elsewhere in the order, so that small ones share little. */
static void subset_task(void *arg, int64_t chunk, int thread)
{
    subsets_job *job = arg;
    int64_t n = job->set->n, size = subset_size(job, (int)chunk), from = chunk * n / SUBSETS;
    uint32_t *weights = job->weights + thread * n;
    double *scratch = job->scratch + (size_t)thread * job->scratch_floats;
    memset(weights, 0, (size_t)n * sizeof *weights);
    for (int64_t i = 0; i < size; i++)
        weights[job->order[(from + i) % n]] = 1;
    job->sizes[chunk] = (double)size;
    sumi_eval_moments_of(job->set, weights, job->shift, &job->moments[thread], scratch);
    job->distances[chunk] = sumi_frechet_to(job->side, &job->moments[thread], scratch);
}

static sumi_status run_subsets(const sumi_eval_machine *machine, subsets_job *job, sumi_error *err)
{
    size_t threads = (size_t)sumi_pool_threads(machine->pool), d = (size_t)job->set->d;
    size_t products = 2 * SUMI_ROWS * d;
    sumi_status status = SUMI_OK;
    job->scratch_floats = scratch_of(job->set->d) > products ? scratch_of(job->set->d) : products;
    job->weights = sumi_calloc(threads * (size_t)job->set->n, sizeof *job->weights);
    job->moments = sumi_calloc(threads, sizeof *job->moments);
    job->scratch = sumi_calloc(threads, job->scratch_floats * sizeof *job->scratch);
    if (!job->weights || !job->moments || !job->scratch)
        status = sumi_fail_memory(err, "subsets of features",
                                  threads * job->scratch_floats * sizeof *job->scratch);
    for (size_t i = 0; i < threads && status == SUMI_OK; i++)
        status = sumi_moments_init(&job->moments[i], job->set->d, err);
    if (status == SUMI_OK)
        status = sumi_eval_parallel(machine, SUBSETS, subset_task, job, err);
    for (size_t i = 0; job->moments && i < threads; i++)
        sumi_moments_free(&job->moments[i]);
    free(job->moments);
    free(job->weights);
    free(job->scratch);
    return status;
}

/* The value at 0 of the line that has the least squares. */
static double intercept(const double *sizes, const double *values, int count)
{
    double x = 0, y = 0, xx = 0, xy = 0;
    for (int i = 0; i < count; i++) {
        x += 1 / sizes[i] / count;
        y += values[i] / count;
    }
    for (int i = 0; i < count; i++) {
        xx += (1 / sizes[i] - x) * (1 / sizes[i] - x);
        xy += (1 / sizes[i] - x) * (values[i] - y);
    }
    return y - xy / xx * x;
}

/* Moments of all samples, and the side of the reference. */
static sumi_status begin(const sumi_eval_machine *machine, const sumi_eval_set *samples,
                         const sumi_moments *reference, sumi_moments *whole,
                         sumi_frechet_side *side, sumi_error *err)
{
    sumi_status status = sumi_eval_moments(machine, samples, NULL, whole, err);
    if (status != SUMI_OK)
        return status;
    status = check_pair(whole, reference, err);
    if (status != SUMI_OK)
        (void)sumi_fail_prefix(err, status, samples->name);
    else
        status = sumi_frechet_side_init(side, reference, err);
    if (status != SUMI_OK)
        sumi_moments_free(whole);
    return status;
}

sumi_status sumi_eval_frechet_score(const sumi_eval_machine *machine, const sumi_eval_set *samples,
                                    const sumi_moments *reference, uint64_t seed, sumi_score *out,
                                    sumi_error *err)
{
    double distances[SUMI_EVAL_RESAMPLES], value;
    sumi_moments whole;
    sumi_frechet_side side;
    sumi_status status = begin(machine, samples, reference, &whole, &side, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_frechet_resample(machine, samples, &whole, &side, seed, distances, err);
    if (status == SUMI_OK)
        status = sumi_eval_frechet(reference, &whole, &value, err);
    if (status == SUMI_OK)
        *out = sumi_bootstrap_score(value, distances, SUMI_EVAL_RESAMPLES);
    sumi_frechet_side_free(&side);
    sumi_moments_free(&whole);
    return status;
}

sumi_status sumi_eval_frechet_infinite(const sumi_eval_machine *machine,
                                       const sumi_eval_set *samples, const sumi_moments *reference,
                                       uint64_t seed, double *out, sumi_error *err)
{
    double distances[SUBSETS], sizes[SUBSETS];
    sumi_moments whole;
    sumi_frechet_side side;
    sumi_status status = begin(machine, samples, reference, &whole, &side, err);
    if (status != SUMI_OK)
        return status;
    *out = NAN;
    int64_t *order = NULL;
    if (samples->n >= 4 * ((int64_t)samples->d + 1)) {
        order = sumi_eval_order(seed, 0, samples->n);
        subsets_job job = {.set = samples,
                           .side = &side,
                           .shift = whole.mean,
                           .order = order,
                           .distances = distances,
                           .sizes = sizes};
        status = order ? run_subsets(machine, &job, err)
                       : sumi_fail_memory(err, "an order", (size_t)samples->n * sizeof *order);
        if (status == SUMI_OK)
            *out = intercept(sizes, distances, SUBSETS);
    }
    free(order);
    sumi_frechet_side_free(&side);
    sumi_moments_free(&whole);
    return status;
}
