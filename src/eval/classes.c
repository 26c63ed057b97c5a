/*
 * What a classifier's probabilities say of a set: sharpness, balance, and whether pictures are of
 * the class that they were meant to be.
 */
#include "eval/internal.h"

typedef struct {
    const sumi_eval_set *set;
    double *entropies; /* [n] of each row */
    double *mean;      /* [classes] of drawn rows */
    double scores[2][SUMI_EVAL_RESAMPLES];
    uint32_t *weights;
} classes_job;

static double entropy_term(double p)
{
    return p > 0 ? -p * log(p) : 0;
}

static void rows(classes_job *job, sumi_class_scores *out)
{
    int classes = job->set->classes;
    for (int64_t i = 0; i < job->set->n; i++) {
        const float *row = job->set->probabilities + i * classes;
        double sum = 0;
        int likeliest = 0;
        for (int k = 0; k < classes; k++) {
            sum += (double)row[k];
            likeliest = row[k] > row[likeliest] ? k : likeliest;
        }
        for (int k = 0; k < classes; k++)
            job->entropies[i] += entropy_term((double)row[k] / sum);
        out->histogram[likeliest] += 1. / (double)job->set->n;
    }
}

/* H(y) and exp(H(y) - mean H(y|x)) of rows that count weights times (NULL: once). */
static void both(classes_job *job, const uint32_t *weights, double *marginal, double *score)
{
    int classes = job->set->classes;
    double n = (double)job->set->n, inner = 0, sum = 0;
    memset(job->mean, 0, (size_t)classes * sizeof *job->mean);
    for (int64_t i = 0; i < job->set->n; i++) {
        double weight = weights ? weights[i] : 1;
        if (weight == 0)
            continue;
        for (int k = 0; k < classes; k++)
            job->mean[k] += weight * (double)job->set->probabilities[i * classes + k];
        inner += weight * job->entropies[i] / n;
    }
    *marginal = 0;
    for (int k = 0; k < classes; k++)
        sum += job->mean[k];
    for (int k = 0; k < classes; k++)
        *marginal += entropy_term(job->mean[k] / sum);
    *score = exp(*marginal - inner);
}

static sumi_status measure(classes_job *job, uint64_t seed, sumi_class_scores *out, sumi_error *err)
{
    rows(job, out);
    sumi_status status = sumi_bootstrap_mean(job->entropies, job->set->n, seed, &out->entropy, err);
    for (int r = 0; r < SUMI_EVAL_RESAMPLES && status == SUMI_OK; r++) {
        sumi_bootstrap_weights(seed, r, job->set->n, job->weights);
        both(job, job->weights, &job->scores[0][r], &job->scores[1][r]);
    }
    double marginal, score;
    both(job, NULL, &marginal, &score);
    out->marginal = sumi_bootstrap_score(marginal, job->scores[0], SUMI_EVAL_RESAMPLES);
    out->score = sumi_bootstrap_score(score, job->scores[1], SUMI_EVAL_RESAMPLES);
    return status;
}

/* Of the pictures that were meant to be something. */
static sumi_status measure_labels(classes_job *job, uint64_t seed, sumi_class_scores *out,
                                  sumi_error *err)
{
    int classes = job->set->classes;
    int64_t labelled = 0;
    for (int64_t i = 0; job->set->labels && i < job->set->n; i++) {
        const float *row = job->set->probabilities + i * classes;
        int likeliest = 0;
        if (job->set->labels[i] < 0)
            continue;
        for (int k = 0; k < classes; k++)
            likeliest = row[k] > row[likeliest] ? k : likeliest;
        job->entropies[labelled++] = likeliest == job->set->labels[i];
    }
    return labelled ? sumi_bootstrap_mean(job->entropies, labelled, seed, &out->accuracy, err)
                    : SUMI_OK;
}

sumi_status sumi_eval_classes(const sumi_eval_set *set, uint64_t seed, sumi_class_scores *out,
                              sumi_error *err)
{
    *out = (sumi_class_scores){
        SUMI_SCORE_NONE, SUMI_SCORE_NONE, SUMI_SCORE_NONE, SUMI_SCORE_NONE, NULL, 0};
    sumi_status status = sumi_eval_check(set, err);
    if (status == SUMI_OK && !set->probabilities)
        status = sumi_fail(err, SUMI_EINVAL, "%s: there are no probabilities", set->name);
    if (status != SUMI_OK)
        return status;
    size_t n = (size_t)set->n, classes = (size_t)set->classes;
    classes_job *job = sumi_calloc(1, sizeof *job);
    out->histogram = sumi_calloc(classes, sizeof *out->histogram);
    out->classes = set->classes;
    if (job) {
        job->set = set;
        job->entropies = sumi_calloc(n, sizeof *job->entropies);
        job->mean = sumi_calloc(classes, sizeof *job->mean);
        job->weights = sumi_calloc(n, sizeof *job->weights);
    }
    if (job && out->histogram && job->entropies && job->mean && job->weights) {
        status = measure(job, seed, out, err);
        if (status == SUMI_OK)
            status = measure_labels(job, seed, out, err);
    } else {
        status = sumi_fail_memory(err, "scores of classes", n * sizeof(double));
    }
    if (job) {
        free(job->entropies);
        free(job->mean);
        free(job->weights);
        free(job);
    }
    if (status != SUMI_OK)
        sumi_class_scores_free(out);
    return status;
}

void sumi_class_scores_free(sumi_class_scores *scores)
{
    free(scores->histogram);
    scores->histogram = NULL;
    scores->classes = 0;
}
