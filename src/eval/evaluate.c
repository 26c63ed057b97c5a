/*
 * One evaluation from its config to its report. The reference is the test split, or where a set has
 * none the training images, which flatters a model that copies them; the training images are also
 * what memorisation is measured against.
 */
#include "eval/scorer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Images of the data are held in memory: at most so many bytes of each split. */
static const int64_t BYTES_MOST = INT64_C(1) << 30;

typedef struct {
    sumi_runtime *runtime;
    const sumi_eval_config *config;
    sumi_eval_machine machine;
    int sizes[3]; /* of the data */
    sumi_pictures samples, reference, training;
    sumi_eval_report report;
    double started;
    sumi_error *err;
} evaluation;

/* ---- Arguments ------------------------------------------------------------------------------- */

static sumi_status check(const sumi_eval_config *config, sumi_error *err)
{
    const sumi_dataset *data = config->training;
    if (!data || !config->evaluator)
        return sumi_fail(err, SUMI_EINVAL, "sumi_eval: %s is NULL",
                         data ? "evaluator" : "training");
    if (!config->model == !config->pictures)
        return sumi_fail(err, SUMI_EINVAL, "sumi_eval: expected a model or pictures%s",
                         config->model ? ", not both" : "");
    if (config->n < 0 || config->n > SUMI_EVAL_IMAGES_MAX)
        return sumi_fail(err, SUMI_EINVAL, "sumi_eval: n is %lld, expected 0 to %d",
                         (long long)config->n, SUMI_EVAL_IMAGES_MAX);
    sumi_status status = sumi_classify_check(config->evaluator, data->name, data->height,
                                             data->width, data->channels, err);
    if (status == SUMI_OK && config->held_back)
        status = sumi_classify_check(config->held_back, data->name, data->height, data->width,
                                     data->channels, err);
    if (status == SUMI_OK && config->test)
        status = sumi_classify_check(config->evaluator, "the test images", config->test->height,
                                     config->test->width, config->test->channels, err);
    return status;
}

static sumi_status check_evaluator(const sumi_eval_config *config, sumi_error *err)
{
    char hash[65];
    const sumi_classifier_info_t *info = &config->evaluator->info;
    sumi_data_hash(config->training, hash);
    if (strcmp(hash, info->data_hash) == 0)
        return SUMI_OK;
    return sumi_fail(err, SUMI_EINVAL,
                     "the evaluator was made for the data '%s' (SHA-256 %.12s...), found '%s' "
                     "(%.12s...): their scores cannot be compared",
                     info->data_name, info->data_hash, config->training->name, hash);
}

/* Labels of a model are those of the data where both have as many, of the same names. */
static bool has_labels_of(const sumi_model *model, const sumi_dataset *data)
{
    bool same = model->graph.labels >= 0 && model->graph.classes == data->classes;
    for (int i = 0; same && data->class_names && model->classes && i < data->classes; i++) {
        const char *name = json_string_value(json_array_get(model->classes, (size_t)i));
        same = !name || strcmp(name, data->class_names[i]) == 0;
    }
    return same;
}

/* Labels of pictures are those of the data where both have as many, of the same names. */
static bool same_classes(const sumi_dataset *a, const sumi_dataset *b)
{
    if (a->classes != b->classes)
        return false;
    for (int i = 0; a->class_names && b->class_names && i < a->classes; i++)
        if (strcmp(a->class_names[i], b->class_names[i]) != 0)
            return false;
    return true;
}

static sumi_status check_labels(const sumi_eval_config *config, sumi_error *err)
{
    const sumi_dataset *data = config->training, *test = config->test ? config->test : data;
    bool has = config->evaluator->info.classes > 1 && data->labels && test->labels;
    if (has)
        has = config->model ? has_labels_of(config->model, data)
                            : config->pictures->labels && same_classes(config->pictures, data);
    if (has || !config->classification)
        return SUMI_OK;
    return sumi_fail(err, SUMI_EINVAL,
                     "classification accuracy needs labels, the same of the data and of %s",
                     config->model ? "the model" : "the pictures");
}

/* ---- Pictures -------------------------------------------------------------------------------- */

static sumi_sample_config sampling_of(const sumi_eval_config *config)
{
    const sumi_model_info_t *info = &config->model->info;
    sumi_sample_config sample = SUMI_SAMPLE_CONFIG_INIT;
    if (config->sample) {
        sample = *config->sample;
        sumi_scorer_complete(config->model, &sample);
        return sample;
    }
    sample = sumi_scorer_way(config->model);
    sample.height = info->height > 0 ? info->height : config->training->height;
    sample.width = info->width > 0 ? info->width : config->training->width;
    return sample;
}

/* Of each label in turn, unless sample says otherwise; NULL: the model is told of none. */
static sumi_status choose_labels(const evaluation *run, const sumi_sample_config *sample,
                                 int32_t **out)
{
    const sumi_model *model = run->config->model;
    *out = NULL;
    if (model->graph.labels < 0 || model->graph.classes < 1)
        return SUMI_OK;
    *out = sumi_calloc((size_t)sample->count, sizeof **out);
    if (!*out)
        return sumi_fail_memory(run->err, "labels", (size_t)sample->count * sizeof **out);
    for (int i = 0; i < sample->count; i++)
        (*out)[i] = sample->labels ? sample->labels[i] : i % model->graph.classes;
    return SUMI_OK;
}

/* The ranks that draw the samples together, or NULL. */
static const sumi_ranks *ranks_of(const evaluation *run)
{
    const sumi_eval_config *config = run->config;
    bool shared = config->model && config->sample && config->sample->share;
    return shared && !sumi_ranks_alone(run->runtime->ranks) ? run->runtime->ranks : NULL;
}

/* Whether this rank only draws its share. */
static bool follows(const evaluation *run)
{
    return ranks_of(run) && ranks_of(run)->rank > 0;
}

/* The report's line on how they were drawn; counted: the evaluations that each took. */
static void tell_sampling(evaluation *run, const sumi_sample_config *sample, const int *counted,
                          bool in_turn)
{
    double sum = 0;
    char mean[32];
    for (int i = 0; i < sample->count; i++)
        sum += counted[i];
    sumi_format(mean, sizeof mean, "%.4g", sum / sample->count);
    snprintf(run->report.sampling, sizeof run->report.sampling, "%.40s, %s evaluations an image%s",
             sample->solver, mean, in_turn ? ", each label in turn" : "");
}

static sumi_status draw_samples(evaluation *run)
{
    const sumi_eval_config *config = run->config;
    sumi_sample_config sample = sampling_of(config);
    sample.count = config->n > 0 ? (int)config->n : 1000;
    sample.seed = config->seed;
    sample.progress = config->progress;
    sample.user = config->user;
    int32_t *labels;
    sumi_status status = choose_labels(run, &sample, &labels);
    if (status != SUMI_OK)
        return sumi_sample_decline(run->runtime, &sample, status, run->err);
    bool in_turn = labels && !sample.labels;
    sample.labels = labels;
    if (follows(run)) {
        status = sumi_sample_run(run->runtime, config->model, &sample, NULL, 0, run->err);
        free(labels);
        return status;
    }
    int *counted = sumi_calloc((size_t)sample.count, sizeof *counted);
    sample.evaluations = counted;
    if (counted)
        status = sumi_pictures_draw(run->runtime, config->model, &sample, run->sizes, &run->samples,
                                    run->err);
    else
        status = sumi_sample_decline(
            run->runtime, &sample,
            sumi_fail_memory(run->err, "counts", (size_t)sample.count * sizeof *counted), run->err);
    if (status == SUMI_OK)
        tell_sampling(run, &sample, counted, in_turn);
    free(counted);
    if (status == SUMI_OK && labels && has_labels_of(config->model, config->training)) {
        run->samples.labels = labels;
        return SUMI_OK;
    }
    free(labels);
    return status;
}

static sumi_status read_samples(evaluation *run)
{
    const sumi_dataset *set = run->config->pictures;
    if (set->sizes > 1)
        return sumi_fail(run->err, SUMI_ESHAPE,
                         "%s: its pictures have %lld sizes: pictures to evaluate have one",
                         set->path, (long long)set->sizes);
    sumi_status status =
        sumi_pictures_read(set, run->config->n, run->sizes, &run->samples, run->err);
    if (status == SUMI_OK && !same_classes(set, run->config->training)) {
        free(run->samples.labels);
        run->samples.labels = NULL;
    }
    return status;
}

static int64_t most_of(const evaluation *run)
{
    return BYTES_MOST / ((int64_t)run->sizes[0] * run->sizes[1] * run->sizes[2]);
}

static sumi_status read_data(evaluation *run)
{
    const sumi_eval_config *config = run->config;
    int64_t most = most_of(run);
    const sumi_dataset *reference = config->test ? config->test : config->training;
    sumi_status status = sumi_pictures_read(reference, most, run->sizes, &run->reference, run->err);
    if (status == SUMI_OK)
        status = sumi_pictures_read(config->training, most, run->sizes, &run->training, run->err);
    return status;
}

static sumi_known known_of(const evaluation *run)
{
    const sumi_backend *backend = run->runtime->backend;
    return (sumi_known){run->runtime, &run->machine, run->config->cache,
                        backend->isa(run->runtime->device)};
}

static sumi_status see(evaluation *run)
{
    const sumi_classifier *evaluator = run->config->evaluator;
    sumi_known known = known_of(run);
    sumi_status status = sumi_pictures_see(run->runtime, evaluator, &run->samples, run->err);
    if (status == SUMI_OK)
        status = sumi_known_features(&known, evaluator, &run->reference, run->err);
    if (status == SUMI_OK)
        status = sumi_known_features(&known, evaluator, &run->training, run->err);
    if (status == SUMI_OK)
        status = sumi_known_distances(&known, evaluator, &run->reference, &run->training, run->err);
    return status;
}

/* ---- Scores ---------------------------------------------------------------------------------- */

static sumi_status compare(evaluation *run)
{
    const sumi_classifier *evaluator = run->config->evaluator;
    sumi_eval_set samples = sumi_pictures_set(&run->samples, "samples", evaluator);
    sumi_eval_set reference = sumi_pictures_set(&run->reference, "test images", evaluator);
    sumi_eval_set training = sumi_pictures_set(&run->training, "training images", evaluator);
    return sumi_eval_compare(&run->machine, &samples, &reference, &training, &run->report,
                             run->err);
}

static sumi_status second_opinion(evaluation *run)
{
    const sumi_classifier *second = run->config->held_back;
    sumi_known known = known_of(run);
    sumi_moments real;
    sumi_status status = sumi_pictures_see(run->runtime, second, &run->samples, run->err);
    if (status == SUMI_OK)
        status = sumi_known_features(&known, second, &run->reference, run->err);
    if (status != SUMI_OK)
        return status;
    sumi_eval_set samples = sumi_pictures_set(&run->samples, "samples", second);
    sumi_eval_set reference = sumi_pictures_set(&run->reference, "test images", second);
    status = sumi_eval_moments(&run->machine, &reference, NULL, &real, run->err);
    if (status != SUMI_OK)
        return status;
    status = sumi_eval_frechet_score(&run->machine, &samples, &real, run->config->seed,
                                     &run->report.second_frechet, run->err);
    sumi_moments_free(&real);
    sumi_pictures_forget(&run->samples); /* the first evaluator's is what views are of */
    sumi_pictures_forget(&run->reference);
    sumi_copy_text(run->report.second_evaluator, sizeof run->report.second_evaluator,
                   second->info.shape);
    sumi_copy_text(run->report.second_hash, sizeof run->report.second_hash, second->info.hash);
    return status;
}

/* What the model's network says of test images. */
static sumi_status held_out(evaluation *run)
{
    const sumi_eval_config *config = run->config;
    sumi_held_out held = SUMI_HELD_OUT_INIT;
    sumi_eval_set reference = sumi_pictures_set(&run->reference, "test images", config->evaluator);
    held.loss_images = config->loss_images > 0 ? config->loss_images : held.loss_images;
    held.bits_images = config->bits ? 100 : 0;
    held.seed = config->seed;
    held.precision = config->sample ? config->sample->precision : SUMI_PRECISION_FP32;
    return sumi_eval_held_out(run->runtime, config->model, &reference, &held, &run->report,
                              run->err);
}

/* ---- The report ------------------------------------------------------------------------------ */

static sumi_status name_classes(evaluation *run)
{
    const sumi_dataset *data = run->config->training;
    sumi_eval_report *report = &run->report;
    if (!data->class_names || run->config->evaluator->info.classes == 0)
        return SUMI_OK;
    report->class_names = sumi_calloc((size_t)data->classes, sizeof *report->class_names);
    if (!report->class_names)
        return sumi_fail_memory(run->err, "names of classes", (size_t)data->classes * 64);
    for (int i = 0; i < data->classes; i++)
        sumi_copy_text(report->class_names[i], sizeof report->class_names[i], data->class_names[i]);
    return SUMI_OK;
}

static sumi_status begin_report(evaluation *run)
{
    const sumi_eval_config *config = run->config;
    const sumi_classifier_info_t *info = &config->evaluator->info;
    sumi_eval_report *report = &run->report;
    sumi_eval_report_init(report);
    sumi_copy_text(report->subject, sizeof report->subject, config->subject ? config->subject : "");
    sumi_copy_text(report->data, sizeof report->data, config->training->name);
    sumi_copy_text(report->tier, sizeof report->tier, config->tier ? config->tier : "");
    snprintf(report->evaluator, sizeof report->evaluator, "%s%s", info->shape,
             info->classes == 0 ? " (random weights: a weaker evaluator)" : "");
    sumi_copy_text(report->evaluator_hash, sizeof report->evaluator_hash, info->hash);
    sumi_copy_text(report->reference, sizeof report->reference,
                   sumi_split_name(config->test ? config->test->split : config->training->split));
    report->evaluator_accuracy = info->accuracy >= 0 ? info->accuracy : (double)NAN;
    report->seed = config->seed;
    return name_classes(run);
}

static sumi_figure_t figure_of(const sumi_score *score)
{
    return (sumi_figure_t){score->value, score->low, score->high};
}

static sumi_status fill_result(evaluation *run, sumi_eval_result_t *out)
{
    const sumi_eval_report *report = &run->report;
    json_t *root = sumi_eval_json(report);
    if (root && json_object_set_new(root, "outside", json_real(run->samples.outside)) == 0)
        out->json = sumi_json_compact(root);
    json_decref(root);
    out->table = sumi_eval_text(report);
    if (!out->json || !out->table)
        return sumi_fail_memory(run->err, "a report", 0);
    out->n = report->n;
    out->frechet = figure_of(&report->frechet);
    out->kernel = figure_of(&report->kernel);
    out->precision = figure_of(&report->manifold.precision);
    out->recall = figure_of(&report->manifold.recall);
    out->density = figure_of(&report->manifold.density);
    out->coverage = figure_of(&report->manifold.coverage);
    out->entropy = figure_of(&report->classes.entropy);
    out->accuracy = figure_of(&report->classes.accuracy);
    out->memorised = figure_of(&report->pixels.share);
    out->second_frechet = figure_of(&report->second_frechet);
    out->classification = figure_of(&report->classification);
    out->outside = run->samples.outside;
    memcpy(out->evaluator, report->evaluator_hash, sizeof out->evaluator);
    return SUMI_OK;
}

static sumi_status export_files(evaluation *run)
{
    const sumi_eval_config *config = run->config;
    sumi_pictures *samples = &run->samples;
    sumi_eval_set view = sumi_pictures_set(samples, "samples", config->evaluator);
    sumi_eval_set training = sumi_pictures_set(&run->training, "training", config->evaluator);
    sumi_status status = SUMI_OK;
    if (config->npz) {
        const sumi_npy array = {.dtype = SUMI_NPY_U8,
                                .rank = 4,
                                .shape = {samples->n, samples->h, samples->w, samples->c},
                                .count = (size_t)samples->n * (size_t)samples->h *
                                         (size_t)samples->w * (size_t)samples->c,
                                .data = samples->images};
        status = sumi_npz_write(config->npz, "arr_0", &array, run->err);
    }
    if (status == SUMI_OK && config->report_dir)
        status = sumi_eval_save(config->report_dir, &run->report, &view, &training, run->err);
    return status;
}

/* ---- All of it ------------------------------------------------------------------------------- */

static sumi_status score(evaluation *run)
{
    const sumi_eval_config *config = run->config;
    sumi_known known = known_of(run);
    sumi_status status = read_data(run);
    if (status == SUMI_OK)
        status = see(run);
    if (status == SUMI_OK)
        status = compare(run);
    if (status == SUMI_OK)
        status = sumi_known_scales(&known, config->evaluator, config->training, run->samples.n,
                                   &run->training, &run->reference, &run->report, run->err);
    if (status == SUMI_OK && config->held_back)
        status = second_opinion(run);
    if (status == SUMI_OK && config->classification)
        status = sumi_eval_classification(run->runtime, config, &run->samples, &run->reference,
                                          &run->report.classification, run->err);
    if (status == SUMI_OK && config->model)
        status = held_out(run);
    return status;
}

void sumi_eval_result_free(sumi_eval_result_t *result)
{
    if (!result)
        return;
    free(result->json);
    free(result->table);
    result->json = result->table = NULL;
}

/* All that needs no pictures. */
static sumi_status begin(evaluation *run)
{
    const sumi_eval_config *config = run->config;
    const sumi_dataset *data = config->training;
    sumi_status status = check(config, run->err);
    if (status == SUMI_OK)
        status = check_evaluator(config, run->err);
    if (status == SUMI_OK)
        status = check_labels(config, run->err);
    if (status != SUMI_OK)
        return status;
    memcpy(run->sizes, (const int[]){data->height, data->width, data->channels}, sizeof run->sizes);
    status = sumi_eval_machine_open(run->runtime, &run->machine, run->err);
    return status == SUMI_OK ? begin_report(run) : status;
}

sumi_status sumi_eval_run(sumi_runtime *runtime, const sumi_eval_config *config,
                          sumi_eval_result_t *out, sumi_error *err)
{
    evaluation run = {.runtime = runtime, .config = config, .started = sumi_time_now(), .err = err};
    sumi_eval_result_t result = {.size = sizeof result};
    sumi_status status = SUMI_OK;
    if (!follows(&run))
        status = begin(&run);
    else if (!config->training)
        status = sumi_fail(err, SUMI_EINVAL, "sumi_eval: training is NULL");
    status = sumi_ranks_meet(ranks_of(&run), status, err);
    if (status == SUMI_OK && follows(&run)) {
        *out = result;
        return draw_samples(&run);
    }
    if (status == SUMI_OK)
        status = config->model ? draw_samples(&run) : read_samples(&run);
    if (status == SUMI_OK)
        status = score(&run);
    run.report.seconds = sumi_time_now() - run.started;
    if (status == SUMI_OK)
        status = fill_result(&run, &result);
    if (status == SUMI_OK)
        status = export_files(&run);
    sumi_pictures_free(&run.samples);
    sumi_pictures_free(&run.reference);
    sumi_pictures_free(&run.training);
    sumi_eval_report_free(&run.report);
    sumi_eval_machine_close(&run.machine);
    if (status == SUMI_OK)
        *out = result;
    else
        sumi_eval_result_free(&result);
    return status;
}
