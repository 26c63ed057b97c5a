/*
 * A reference for many scores.
 */
#include "eval/scorer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { EVALUATIONS = 20 }; /* where a model has no way of its own */

/* Images of the data are held in memory: at most so many bytes. */
static const int64_t BYTES_MOST = INT64_C(1) << 30;

static sumi_status check(const sumi_dataset *training, const sumi_dataset *test,
                         const sumi_classifier *evaluator, sumi_error *err)
{
    char hash[65];
    sumi_status status = sumi_classify_check(evaluator, training->name, training->height,
                                             training->width, training->channels, err);
    if (status == SUMI_OK && test)
        status = sumi_classify_check(evaluator, "the test images", test->height, test->width,
                                     test->channels, err);
    if (status != SUMI_OK)
        return status;
    sumi_data_hash(training, hash);
    if (strcmp(hash, evaluator->info.data_hash) == 0)
        return SUMI_OK;
    return sumi_fail(err, SUMI_EINVAL,
                     "the evaluator was made for the data '%s' (SHA-256 %.12s...), found '%s' "
                     "(%.12s...): their scores cannot be compared",
                     evaluator->info.data_name, evaluator->info.data_hash, training->name, hash);
}

static sumi_status see_reference(sumi_scorer *scorer, const sumi_dataset *set, int64_t most,
                                 const char *cache, sumi_error *err)
{
    const sumi_backend *backend = scorer->runtime->backend;
    const sumi_known known = {scorer->runtime, &scorer->machine, cache,
                              backend->isa(scorer->runtime->device)};
    int64_t each = (int64_t)scorer->sizes[0] * scorer->sizes[1] * scorer->sizes[2];
    size_t d = (size_t)scorer->evaluator->info.features;
    int64_t fits = BYTES_MOST / each, wanted = most > 0 && most < fits ? most : fits;
    sumi_status status = sumi_pictures_read(set, wanted, scorer->sizes, &scorer->reference, err);
    if (status == SUMI_OK)
        status = sumi_known_features(&known, scorer->evaluator, &scorer->reference, err);
    if (status != SUMI_OK)
        return status;
    sumi_eval_set view = sumi_pictures_set(&scorer->reference, "test images", scorer->evaluator);
    status = sumi_eval_moments(&scorer->machine, &view, NULL, &scorer->moments, err);
    if (status == SUMI_OK && scorer->moments.n <= scorer->moments.d)
        status = sumi_fail(err, SUMI_EINVAL,
                           "too few images in '%s' for a distance: %.0f, expected more than the %d "
                           "numbers of a feature",
                           set->name, scorer->moments.n, scorer->moments.d);
    if (status == SUMI_OK)
        status = sumi_frechet_side_init(&scorer->side, &scorer->moments, err);
    if (status != SUMI_OK)
        return status;
    scorer->scratch = sumi_calloc(3 * d * d + 4 * d, sizeof *scorer->scratch);
    return scorer->scratch ? SUMI_OK : sumi_fail_memory(err, "a distance", d * d * 24);
}

sumi_status sumi_scorer_init(sumi_scorer *scorer, sumi_runtime *runtime,
                             const sumi_dataset *training, const sumi_dataset *test,
                             const sumi_classifier *evaluator, int64_t most, const char *cache,
                             sumi_error *err)
{
    *scorer = (sumi_scorer){.runtime = runtime,
                            .evaluator = evaluator,
                            .sizes = {training->height, training->width, training->channels}};
    sumi_status status = check(training, test, evaluator, err);
    if (status == SUMI_OK)
        status = sumi_eval_machine_open(runtime, &scorer->machine, err);
    return status == SUMI_OK ? see_reference(scorer, test ? test : training, most, cache, err)
                             : status;
}

void sumi_scorer_free(sumi_scorer *scorer)
{
    free(scorer->scratch);
    sumi_frechet_side_free(&scorer->side);
    sumi_moments_free(&scorer->moments);
    sumi_pictures_free(&scorer->reference);
    sumi_eval_machine_close(&scorer->machine);
    *scorer = (sumi_scorer){0};
}

sumi_status sumi_scorer_draw(sumi_scorer *scorer, const sumi_model *model,
                             const sumi_sample_config *sample, sumi_pictures *out, sumi_error *err)
{
    sumi_sample_config full = *sample;
    int classes = model->graph.labels >= 0 ? model->graph.classes : 0;
    int32_t *labels = classes > 0 ? sumi_calloc((size_t)sample->count, sizeof *labels) : NULL;
    if (classes > 0 && !labels)
        return sumi_fail_memory(err, "labels", (size_t)sample->count * sizeof *labels);
    for (int i = 0; i < sample->count && labels; i++)
        labels[i] = (int32_t)((sample->first_index + i) % classes);
    full.labels = labels;
    sumi_status status = sumi_pictures_draw(scorer->runtime, model, &full, scorer->sizes, out, err);
    free(labels);
    if (status != SUMI_OK)
        return status;
    status = sumi_pictures_see(scorer->runtime, scorer->evaluator, out, err);
    if (status != SUMI_OK)
        sumi_pictures_free(out);
    return status;
}

sumi_status sumi_scorer_distance(sumi_scorer *scorer, const float *features, int64_t n, double *out,
                                 sumi_error *err)
{
    const sumi_eval_set set = {
        .name = "samples", .n = n, .d = scorer->moments.d, .features = features};
    sumi_moments moments;
    if (n <= set.d)
        return sumi_fail(err, SUMI_EINVAL,
                         "too few images for a distance: %" PRId64 ", expected more than the %d "
                         "numbers of a feature",
                         n, set.d);
    sumi_status status = sumi_eval_moments(&scorer->machine, &set, NULL, &moments, err);
    if (status != SUMI_OK)
        return status;
    *out = sumi_frechet_to(&scorer->side, &moments, scorer->scratch);
    sumi_moments_free(&moments);
    return SUMI_OK;
}

sumi_status sumi_scorer_figure(sumi_scorer *scorer, const sumi_pictures *pictures, uint64_t seed,
                               sumi_figure_t *out, sumi_error *err)
{
    sumi_score score;
    sumi_eval_set set = sumi_pictures_set(pictures, "samples", scorer->evaluator);
    sumi_status status =
        sumi_eval_frechet_score(&scorer->machine, &set, &scorer->moments, seed, &score, err);
    if (status == SUMI_OK)
        *out = (sumi_figure_t){score.value, score.low, score.high};
    return status;
}

void sumi_scorer_size(const sumi_scorer *scorer, const sumi_model *model, int *height, int *width)
{
    const sumi_model_info_t *info = &model->info;
    if (*height == 0)
        *height = info->height > 0 ? info->height : scorer->sizes[0];
    if (*width == 0)
        *width = info->width > 0 ? info->width : scorer->sizes[1];
}

void sumi_scorer_complete(const sumi_model *model, sumi_sample_config *way)
{
    const int32_t any = 0, *labels = way->labels;
    if (!labels && model->graph.labels >= 0)
        way->labels = &any;
    sumi_sample_complete(model, way);
    way->labels = labels;
}

sumi_sample_config sumi_scorer_way(const sumi_model *model)
{
    sumi_sample_config way = SUMI_SAMPLE_CONFIG_INIT;
    int timesteps = model->info.timesteps;
    if (!model->sampling) {
        way.solver = "dpmpp-2m";
        way.steps = timesteps < EVALUATIONS ? timesteps : EVALUATIONS;
    }
    sumi_scorer_complete(model, &way);
    return way;
}
