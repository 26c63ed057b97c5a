/*
 * Whether samples are copies of training pictures.
 *
 * A sample's distance to its nearest training picture tells little for itself: it is held against
 * what that distance is for test pictures, which nobody trained on. Test pictures that the training
 * pictures hold too are as close as copies; test_share tells how many.
 */
#include "eval/internal.h"

#define CLOSE 0.5 /* of the usual distance */

static sumi_eval_rows rows_of(const sumi_eval_set *set, sumi_space space)
{
    if (space == SUMI_SPACE_FEATURES)
        return (sumi_eval_rows){.n = set->n, .d = set->d, .reals = set->features};
    return (sumi_eval_rows){.n = set->n, .d = set->h * set->w * set->c, .bytes = set->images};
}

static double median(const double *values, int64_t n, double *sorted)
{
    memcpy(sorted, values, (size_t)n * sizeof *values);
    return sumi_median(sorted, (size_t)n);
}

/* The smallest ratios, each training picture once: the second copy of a picture shows nothing new.
 */
static void find_pairs(const double *ratios, const int64_t *nearest, int64_t n, sumi_memory *out)
{
    out->pair_count = 0;
    while (out->pair_count < SUMI_MEMORY_PAIRS) {
        int64_t best = -1;
        for (int64_t i = 0; i < n; i++) {
            bool used = false;
            for (int p = 0; p < out->pair_count; p++)
                used |= out->pairs[p].training == nearest[i] || out->pairs[p].sample == i;
            if (!used && (best < 0 || ratios[i] < ratios[best]))
                best = i;
        }
        if (best < 0)
            return;
        out->pairs[out->pair_count++] = (sumi_memory_pair){ratios[best], best, nearest[best]};
    }
}

typedef struct {
    double *samples, *test, *work; /* distances; work is as long as the longer */
    int64_t *nearest;
} memory_job;

static sumi_status score(memory_job *job, int64_t n, int64_t tests, uint64_t seed, sumi_memory *out,
                         sumi_error *err)
{
    double usual = median(job->test, tests, job->work), medians[SUMI_EVAL_RESAMPLES];
    *out = (sumi_memory){.share = SUMI_SCORE_NONE, .ratio = SUMI_SCORE_NONE, .test_share = NAN};
    if (usual <= 0)
        return SUMI_OK;
    out->test_share = 0;
    for (int64_t i = 0; i < tests; i++)
        out->test_share += job->test[i] < CLOSE * usual ? 1 / (double)tests : 0;
    for (int64_t i = 0; i < n; i++)
        job->samples[i] /= usual;
    find_pairs(job->samples, job->nearest, n, out);
    double middle = median(job->samples, n, job->work);
    /* The same draws as a bootstrap's, from the sorted ratios: a median needs no other order. */
    uint32_t *weights = sumi_calloc((size_t)n, sizeof *weights);
    if (!weights)
        return sumi_fail_memory(err, "a bootstrap", (size_t)n * sizeof *weights);
    for (int r = 0; r < SUMI_EVAL_RESAMPLES; r++) {
        int64_t before = 0, at = 0;
        sumi_bootstrap_weights(seed, r, n, weights);
        while (2 * (before + weights[at]) <= n && at < n - 1)
            before += weights[at++];
        medians[r] = job->work[at];
    }
    free(weights);
    out->ratio = sumi_bootstrap_score(middle, medians, SUMI_EVAL_RESAMPLES);
    for (int64_t i = 0; i < n; i++)
        job->samples[i] = job->samples[i] < CLOSE;
    return sumi_bootstrap_mean(job->samples, n, seed, &out->share, err);
}

static sumi_status check(sumi_space space, const sumi_eval_set *const *sets, sumi_error *err)
{
    for (int i = 0; i < 3; i++) {
        const void *has =
            space == SUMI_SPACE_PIXELS ? (const void *)sets[i]->images : sets[i]->features;
        sumi_status status = sumi_eval_check(sets[i], err);
        if (status == SUMI_OK && !has)
            status = sumi_fail(err, SUMI_EINVAL, "%s: there are no %s", sets[i]->name,
                               space == SUMI_SPACE_PIXELS ? "images" : "features");
        if (status == SUMI_OK)
            status = sumi_eval_check_pair(sets[i], sets[2], err);
        if (status != SUMI_OK)
            return status;
    }
    return SUMI_OK;
}

sumi_status sumi_eval_memory(const sumi_eval_machine *machine, sumi_space space,
                             const sumi_eval_set *samples, const sumi_eval_set *test,
                             const sumi_eval_set *training, uint64_t seed, sumi_memory *out,
                             sumi_error *err)
{
    sumi_status status = check(space, (const sumi_eval_set *[]){samples, test, training}, err);
    if (status != SUMI_OK)
        return status;
    int64_t n = samples->n, tests = test->n;
    size_t most = (size_t)(n > tests ? n : tests);
    memory_job job = {sumi_calloc(most, sizeof(double)), sumi_calloc(most, sizeof(double)),
                      sumi_calloc(most, sizeof(double)), sumi_calloc(most, sizeof(int64_t))};
    sumi_eval_rows from = rows_of(samples, space), held = rows_of(test, space),
                   of = rows_of(training, space);
    if (!job.samples || !job.test || !job.work || !job.nearest)
        status = sumi_fail_memory(err, "distances to training pictures", 4 * most * sizeof(double));
    if (status == SUMI_OK && test->to_training[space])
        memcpy(job.test, test->to_training[space], (size_t)tests * sizeof *job.test);
    else if (status == SUMI_OK)
        status = sumi_eval_nearest(machine, &held, &of, 1, false, job.test, job.nearest, err);
    if (status == SUMI_OK)
        status = sumi_eval_nearest(machine, &from, &of, 1, false, job.samples, job.nearest, err);
    if (status == SUMI_OK)
        status = score(&job, n, tests, seed, out, err);
    free(job.samples);
    free(job.test);
    free(job.work);
    free(job.nearest);
    return status;
}
