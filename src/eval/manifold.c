/*
 * Precision and recall, density and coverage, with intervals for drawing the samples again.
 *
 * The interval is the jackknife's: each of 20 blocks of samples is left out in turn. A sample's
 * ball grows where one of its neighbours is left out, so a few more neighbours than k are kept.
 */
#include <inttypes.h>

#include "eval/internal.h"

enum { BLOCKS = SUMI_JACKKNIFE_BLOCKS, FOLDS = BLOCKS + 1, SPARE = 8, K_MAX = 64 };

typedef struct {
    int k, blocks;
    int64_t samples, reference;
    double *reference_radii; /* [reference], squared */
    double *sample_radii;    /* [samples][FOLDS], squared; fold 0 leaves nothing out */
    double *largest;         /* [samples], of the folds */
    uint8_t *block;          /* [samples] */
    uint32_t *balls;         /* [samples]: of the reference around it */
    uint32_t *covered;       /* [reference]: bits of the blocks that have a sample in its ball */
    uint32_t *reached;       /* [reference]: bits of the folds in which it is in a sample's ball */
    double *squared;         /* [samples][k + SPARE], or of the reference [k] */
    int64_t *indices;
} manifold_job;

static void free_job(manifold_job *job)
{
    free(job->reference_radii);
    free(job->sample_radii);
    free(job->largest);
    free(job->block);
    free(job->balls);
    free(job->covered);
    free(job->reached);
    free(job->squared);
    free(job->indices);
}

static bool allocate(manifold_job *job)
{
    size_t n = (size_t)job->samples, m = (size_t)job->reference, wide = (size_t)job->k + SPARE;
    size_t most = n > m ? n : m;
    job->reference_radii = sumi_calloc(m, sizeof(double));
    job->sample_radii = sumi_calloc(n, FOLDS * sizeof(double));
    job->largest = sumi_calloc(n, sizeof(double));
    job->block = sumi_calloc(n, 1);
    job->balls = sumi_calloc(n, sizeof(uint32_t));
    job->covered = sumi_calloc(m, sizeof(uint32_t));
    job->reached = sumi_calloc(m, sizeof(uint32_t));
    job->squared = sumi_calloc(most, wide * sizeof(double));
    job->indices = sumi_calloc(most, wide * sizeof(int64_t));
    return job->reference_radii && job->sample_radii && job->largest && job->block && job->balls &&
           job->covered && job->reached && job->squared && job->indices;
}

/* The k-th of the kept neighbours that are not left out. */
static void sample_radii(manifold_job *job, int64_t i, int kept)
{
    const double *squared = job->squared + i * kept;
    const int64_t *indices = job->indices + i * kept;
    for (int f = 0; f <= job->blocks; f++) {
        int left = job->k, at = 0;
        for (; at < kept - 1; at++) {
            left -= f == 0 || job->block[indices[at]] != f - 1;
            if (left == 0)
                break;
        }
        job->sample_radii[i * FOLDS + f] = squared[at];
        job->largest[i] = fmax(job->largest[i], squared[at]);
    }
}

static sumi_status find_radii(const sumi_eval_machine *machine, manifold_job *job,
                              const sumi_eval_rows *samples, const sumi_eval_rows *reference,
                              const double *known, uint64_t seed, sumi_error *err)
{
    int k = job->k, kept = k + SPARE < job->samples ? k + SPARE : (int)job->samples - 1;
    int64_t *order = sumi_eval_order(seed, 3, job->samples);
    if (!order)
        return sumi_fail_memory(err, "an order", (size_t)job->samples * sizeof *order);
    for (int64_t i = 0; i < job->samples; i++)
        job->block[order[i]] = (uint8_t)(i * job->blocks / job->samples);
    free(order);
    sumi_status status = SUMI_OK;
    if (!known)
        status = sumi_eval_nearest_squared(machine, reference, reference, k, true, job->squared,
                                           job->indices, err);
    for (int64_t i = 0; status == SUMI_OK && i < job->reference; i++)
        job->reference_radii[i] = known ? known[i] : job->squared[i * k + k - 1];
    if (status == SUMI_OK)
        status = sumi_eval_nearest_squared(machine, samples, samples, kept, true, job->squared,
                                           job->indices, err);
    for (int64_t i = 0; status == SUMI_OK && i < job->samples; i++)
        sample_radii(job, i, kept);
    return status;
}

static void count_ball(void *arg, int64_t sample, int64_t real, double squared)
{
    manifold_job *job = arg;
    job->balls[sample] += squared <= job->reference_radii[real];
}

static void mark_real(void *arg, int64_t real, int64_t sample, double squared)
{
    manifold_job *job = arg;
    const double *radii = job->sample_radii + sample * FOLDS;
    int block = job->block[sample];
    if (squared <= job->reference_radii[real])
        job->covered[real] |= UINT32_C(1) << block;
    for (int f = 0; f <= job->blocks; f++)
        if (f != block + 1 && squared <= radii[f])
            job->reached[real] |= UINT32_C(1) << f;
}

/* precision, recall, density, coverage of a fold. */
static void measure(const manifold_job *job, int f, double out[4])
{
    double samples = 0;
    memset(out, 0, 4 * sizeof *out);
    for (int64_t i = 0; i < job->samples; i++) {
        if (job->block[i] == f - 1)
            continue;
        samples++;
        out[0] += job->balls[i] > 0;
        out[2] += job->balls[i];
    }
    uint32_t others = f ? ~(UINT32_C(1) << (f - 1)) : ~UINT32_C(0);
    for (int64_t j = 0; j < job->reference; j++) {
        out[1] += job->reached[j] >> f & 1;
        out[3] += (job->covered[j] & others) != 0;
    }
    out[0] /= samples;
    out[1] /= (double)job->reference;
    out[2] /= samples * job->k;
    out[3] /= (double)job->reference;
}

static void score(const manifold_job *job, sumi_manifold *out)
{
    double folds[FOLDS][4];
    sumi_score *scores[] = {&out->precision, &out->recall, &out->density, &out->coverage};
    for (int f = 0; f <= job->blocks; f++)
        measure(job, f, folds[f]);
    for (int s = 0; s < 4; s++) {
        double left[BLOCKS];
        for (int f = 1; f <= job->blocks; f++)
            left[f - 1] = folds[f][s];
        *scores[s] = sumi_jackknife_score(folds[0][s], left, job->blocks, NULL);
        scores[s]->low = fmax(scores[s]->low, 0);
        if (s != 2) /* A density may be above 1. */
            scores[s]->high = fmin(scores[s]->high, 1);
    }
}

static sumi_status check(const sumi_eval_set *samples, const sumi_eval_set *reference, int k,
                         sumi_error *err)
{
    const sumi_eval_set *sets[] = {samples, reference};
    if (k < 1 || k > K_MAX)
        return sumi_fail(err, SUMI_EINVAL, "k is %d, expected 1..%d", k, K_MAX);
    for (int i = 0; i < 2; i++) {
        sumi_status status = sumi_eval_check(sets[i], err);
        if (status != SUMI_OK)
            return status;
        if (!sets[i]->features)
            return sumi_fail(err, SUMI_EINVAL, "%s: there are no features", sets[i]->name);
        if (sets[i]->n < k + 3)
            return sumi_fail(err, SUMI_EINVAL,
                             "%s: too few images for precision and recall: %" PRId64
                             ", expected at least %d",
                             sets[i]->name, sets[i]->n, k + 3);
    }
    return sumi_eval_check_pair(samples, reference, err);
}

sumi_status sumi_eval_manifold(const sumi_eval_machine *machine, const sumi_eval_set *samples,
                               const sumi_eval_set *reference, int k, uint64_t seed,
                               sumi_manifold *out, sumi_error *err)
{
    sumi_status status = check(samples, reference, k, err);
    if (status != SUMI_OK)
        return status;
    const sumi_eval_rows from = {samples->n, samples->d, samples->features, NULL},
                         of = {reference->n, reference->d, reference->features, NULL};
    manifold_job job = {.k = k,
                        .blocks = samples->n / 2 < BLOCKS ? (int)(samples->n / 2) : BLOCKS,
                        .samples = samples->n,
                        .reference = reference->n};
    if (!allocate(&job))
        status = sumi_fail_memory(err, "precision and recall",
                                  (size_t)samples->n * FOLDS * sizeof(double));
    if (status == SUMI_OK)
        status = find_radii(machine, &job, &from, &of, k == SUMI_EVAL_K ? reference->radii : NULL,
                            seed, err);
    const sumi_eval_pairs around = {.from = &from,
                                    .of = &of,
                                    .column_limits = job.reference_radii,
                                    .near = count_ball,
                                    .arg = &job},
                          back = {.from = &of,
                                  .of = &from,
                                  .row_limits = job.reference_radii,
                                  .column_limits = job.largest,
                                  .near = mark_real,
                                  .arg = &job};
    if (status == SUMI_OK)
        status = sumi_eval_near(machine, &around, err);
    if (status == SUMI_OK)
        status = sumi_eval_near(machine, &back, err);
    if (status == SUMI_OK)
        score(&job, out);
    free_job(&job);
    return status;
}
