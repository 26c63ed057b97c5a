/*
 * The classification accuracy score (Ravuri and Vinyals 2019): what a classifier that learnt from
 * samples alone knows of real pictures. Samples that leave out a part of a class, or blur what
 * tells two of them apart, teach less than as many real pictures do.
 */
#include <stdlib.h>
#include <string.h>

#include "eval/evaluate.h"

static sumi_status check(const sumi_pictures *samples, sumi_error *err)
{
    for (int64_t i = 0; i < samples->n; i++)
        if (samples->labels[i] < 0)
            return sumi_fail(err, SUMI_EINVAL,
                             "classification accuracy needs pictures of known classes: picture "
                             "%lld has no label",
                             (long long)i);
    return SUMI_OK;
}

/* Test images that are told rightly, and an interval for drawing those again. */
static sumi_status test(sumi_runtime *runtime, const sumi_classifier *learnt,
                        const sumi_pictures *reference, uint64_t seed, sumi_score *out,
                        sumi_error *err)
{
    size_t n = (size_t)reference->n, classes = (size_t)learnt->info.classes;
    float *probabilities = sumi_calloc(n, classes * sizeof *probabilities);
    double *hits = sumi_calloc(n, sizeof *hits);
    sumi_status status =
        probabilities && hits
            ? sumi_classify_images(runtime, learnt, reference->images, reference->n, NULL,
                                   probabilities, err)
            : sumi_fail_memory(err, "probabilities", n * classes * sizeof *probabilities);
    for (size_t i = 0; i < n && status == SUMI_OK; i++) {
        const float *row = probabilities + i * classes;
        size_t best = 0;
        for (size_t k = 1; k < classes; k++)
            best = row[k] > row[best] ? k : best;
        hits[i] = (int32_t)best == reference->labels[i];
    }
    if (status == SUMI_OK)
        status = sumi_bootstrap_mean(hits, reference->n, seed, out, err);
    free(probabilities);
    free(hits);
    return status;
}

sumi_status sumi_eval_classification(sumi_runtime *runtime, const sumi_eval_config *config,
                                     const sumi_pictures *samples, const sumi_pictures *reference,
                                     sumi_score *out, sumi_error *err)
{
    const sumi_classifier *evaluator = config->evaluator;
    sumi_classifier *learnt;
    sumi_classifier_config how = SUMI_CLASSIFIER_CONFIG_INIT;
    how.shape = evaluator->info.shape;
    how.seed = config->seed;
    how.progress = config->progress;
    how.user = config->user;
    sumi_status status = check(samples, err);
    if (status != SUMI_OK)
        return status;
    /* What a set lends: nobody frees it. */
    sumi_dataset set = {.count = samples->n,
                        .height = samples->h,
                        .width = samples->w,
                        .channels = samples->c,
                        .classes = evaluator->info.classes,
                        .pixels = samples->images,
                        .labels = samples->labels,
                        .name = "samples"};
    status = sumi_classify_train(runtime, &set, NULL, &how, &learnt, err);
    if (status != SUMI_OK)
        return status;
    status = test(runtime, learnt, reference, config->seed, out, err);
    sumi_classifier_free(learnt);
    return status;
}
