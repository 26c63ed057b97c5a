/*
 * The bodies of the public interface: check the arguments, call one layer, keep the message.
 */
#include "sumi_bodies.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/augment.h"
#include "eval/evaluate.h"
#include "eval/tune.h"
#include "models/sampling.h"
#include "run/run.h"
#include "train/classify.h"

/* ---- What every body does -------------------------------------------------------------------- */

/* From a callback: threads, networks and the weights in use belong to the call that runs. */
static sumi_status fail_busy(sumi_context *ctx, const char *function)
{
    return sumi_fail(&ctx->error, SUMI_EINVAL,
                     "%s: a long call is running on this context; from its callbacks only "
                     "sumi_cancel and calls that read are allowed",
                     function);
}

/* For what computes or changes a model, but is no long call. */
static sumi_status enter_idle(sumi_context *ctx, const char *function)
{
    if (!enter(ctx))
        return SUMI_EINVAL;
    return atomic_load(&ctx->busy) ? fail_busy(ctx, function) : SUMI_OK;
}

/* Where it refuses, the long call that runs keeps its cancel. */
static sumi_status enter_long_call(sumi_context *ctx, const char *function)
{
    if (!enter(ctx))
        return SUMI_EINVAL;
    return atomic_exchange(&ctx->busy, true) ? fail_busy(ctx, function) : SUMI_OK;
}

/* A cancel that came while nothing ran, or during the call that now ends, is used up: every exit of
 * a long call comes through here, so that a refusal does not leave it to a later call. */
static sumi_status leave_long_call(sumi_context *ctx, sumi_status status)
{
    atomic_store(&ctx->runtime.cancel, 0);
    atomic_store(&ctx->busy, false);
    return status;
}

static sumi_status cancelled(sumi_context *ctx, const char *what)
{
    return sumi_fail(&ctx->error, SUMI_CANCELLED, "%s was cancelled", what);
}

/* ---- Data sets ------------------------------------------------------------------------------- */

sumi_status sumi_dataset_open(sumi_context *ctx, const char *name_or_path,
                              const sumi_dataset_config *config, sumi_dataset **out)
{
    if (!enter(ctx))
        return SUMI_EINVAL;
    if (!name_or_path || !out)
        return missing(ctx, "sumi_dataset_open", out ? "name_or_path" : "out");
    sumi_dataset_config full = SUMI_DATASET_CONFIG_INIT;
    sumi_status status = take_config(ctx, "sumi_dataset_config", config, &full, sizeof full);
    if (status != SUMI_OK)
        return status;
    sumi_dataset *set = NULL;
    status = sumi_data_open(name_or_path, &full, &set, &ctx->error);
    if (status != SUMI_OK)
        return status;
    ctx->error.text[0] = '\0';
    for (int i = 0; i < set->notice_count; i++)
        sumi_fail(&ctx->error, SUMI_OK, "%s%s%s", ctx->error.text, i > 0 ? "; " : "",
                  set->notices[i].text);
    *out = set;
    return SUMI_OK;
}

const char *sumi_dataset_notice(const sumi_dataset *set, int index)
{
    return set && index >= 0 && index < set->notice_count ? set->notices[index].text : NULL;
}

sumi_status sumi_dataset_info(const sumi_dataset *set, sumi_dataset_info_t *info)
{
    if (!set || !info)
        return SUMI_EINVAL;
    sumi_dataset_info_t full = {.size = sizeof full,
                                .count = set->count,
                                .height = set->height,
                                .width = set->width,
                                .channels = set->channels,
                                .classes = set->classes,
                                .range_hi = 1};
    memcpy(full.name, set->name, sizeof full.name);
    sumi_copy_text(full.path, sizeof full.path, set->path);
    full.full_path = set->path;
    sumi_data_hash(set, full.hash);
    sumi_give_info(&full, sizeof full, info);
    return SUMI_OK;
}

sumi_status sumi_dataset_read(const sumi_dataset *set, int64_t index, float *image, int32_t *label)
{
    if (!set || !image || index < 0 || index >= set->count)
        return SUMI_EINVAL;
    sumi_data_read(set, index, image, label);
    return SUMI_OK;
}

const char *sumi_dataset_class_name(const sumi_dataset *set, int label)
{
    bool known = set && set->class_names && label >= 0 && label < set->classes;
    return known ? set->class_names[label] : NULL;
}

sumi_status sumi_dataset_asymmetry(const sumi_dataset *set, double *asymmetry, int32_t *label)
{
    int found;
    double value;
    if (!set || !asymmetry)
        return SUMI_EINVAL;
    sumi_status status = sumi_data_asymmetry(set, &value, &found, NULL);
    if (status != SUMI_OK)
        return status;
    *asymmetry = value;
    if (label)
        *label = found;
    return SUMI_OK;
}

void sumi_dataset_free(sumi_dataset *set)
{
    sumi_data_free(set);
}

/* ---- Models ---------------------------------------------------------------------------------- */

sumi_status sumi_model_create(sumi_context *ctx, const sumi_model_config *config, sumi_model **out)
{
    if (!enter(ctx))
        return SUMI_EINVAL;
    if (!out)
        return missing(ctx, "sumi_model_create", "out");
    sumi_model_config full = SUMI_MODEL_CONFIG_INIT;
    sumi_status status = take_config(ctx, "sumi_model_config", config, &full, sizeof full);
    return status == SUMI_OK ? sumi_models_create(&full, out, &ctx->error) : status;
}

sumi_status sumi_model_load(sumi_context *ctx, const char *path, sumi_model **out)
{
    if (!enter(ctx))
        return SUMI_EINVAL;
    if (!path || !out)
        return missing(ctx, "sumi_model_load", path ? "out" : "path");
    sumi_error notice = {""};
    sumi_status status = sumi_is_dir(path) ? sumi_run_load(path, out, &notice, &ctx->error)
                                           : sumi_models_load(path, out, &notice, &ctx->error);
    if (status == SUMI_OK)
        ctx->error = notice;
    return status;
}

sumi_status sumi_model_save(sumi_context *ctx, const sumi_model *model, const char *path)
{
    if (!enter(ctx))
        return SUMI_EINVAL;
    if (!model || !path)
        return missing(ctx, "sumi_model_save", path ? "model" : "path");
    return sumi_models_save(path, model, NULL, &ctx->error);
}

sumi_status sumi_model_info(const sumi_model *model, sumi_model_info_t *info)
{
    if (!model || !info)
        return SUMI_EINVAL;
    sumi_give_info(&model->info, sizeof model->info, info);
    return SUMI_OK;
}

const char *sumi_model_get_metadata(const sumi_model *model, const char *key)
{
    return model && key ? json_string_value(json_object_get(model->metadata, key)) : NULL;
}

sumi_status sumi_model_set_metadata(sumi_context *ctx, sumi_model *model, const char *key,
                                    const char *value)
{
    sumi_status status = enter_idle(ctx, "sumi_model_set_metadata");
    if (status != SUMI_OK)
        return status;
    if (!model || !key || !value)
        return missing(ctx, "sumi_model_set_metadata", !model ? "model" : !key ? "key" : "value");
    if (!*key || strncmp(key, "sumi.", 5) == 0)
        return sumi_fail(&ctx->error, SUMI_EINVAL,
                         "metadata '%s': keys that begin with 'sumi.' "
                         "are sumi's own, and a key is not empty",
                         key);
    return sumi_models_set_metadata(model, key, value, &ctx->error);
}

sumi_status sumi_model_tensor(const sumi_model *model, int index, sumi_tensor_t *tensor)
{
    if (!model || !tensor || index < 0 || index >= model->graph.params.count)
        return SUMI_EINVAL;
    const sumi_param *param = &model->graph.params.items[index];
    sumi_tensor_t full = {.size = sizeof full,
                          .name = param->name,
                          .dtype = param->kind == SUMI_PARAM_COUNTER ? SUMI_I64 : SUMI_F32,
                          .rank = param->rank,
                          .count = (int64_t)param->count,
                          .trainable = sumi_param_trainable(param)};
    memcpy(full.shape, param->shape, sizeof full.shape);
    sumi_give_info(&full, sizeof full, tensor);
    return SUMI_OK;
}

sumi_status sumi_model_tensor_read(const sumi_model *model, int index, void *out, size_t bytes)
{
    if (!model || !out || index < 0 || index >= model->graph.params.count)
        return SUMI_EINVAL;
    const sumi_params *params = &model->graph.params;
    const sumi_param *param = &params->items[index];
    sumi_model_fetch(model);
    bool counter = param->kind == SUMI_PARAM_COUNTER;
    if (bytes < param->count * (counter ? sizeof(int64_t) : sizeof(float)))
        return SUMI_ESHAPE;
    if (counter)
        memcpy(out, params->counters + param->offset, sizeof(int64_t));
    else
        sumi_param_export(param, sumi_param_trainable(param) ? params->values : params->statistics,
                          out);
    return SUMI_OK;
}

const char *sumi_model_class_name(const sumi_model *model, int label)
{
    return model && label >= 0 ? json_string_value(json_array_get(model->classes, (size_t)label))
                               : NULL;
}

sumi_status sumi_model_measure(sumi_context *ctx, sumi_model *model, const sumi_dataset *set)
{
    sumi_status status = enter_idle(ctx, "sumi_model_measure");
    if (status != SUMI_OK)
        return status;
    if (!model || !set)
        return missing(ctx, "sumi_model_measure", model ? "set" : "model");
    return sumi_train_measure(NULL, model, set, &ctx->error);
}

sumi_status sumi_model_statistics(const sumi_model *model, int channel, float *mean,
                                  float *deviation)
{
    if (!model || channel < 0 || channel >= model->standard.channels)
        return SUMI_EINVAL;
    if (mean)
        *mean = model->standard.mean[channel];
    if (deviation)
        *deviation = model->standard.deviation[channel];
    return SUMI_OK;
}

void sumi_model_free(sumi_model *model)
{
    sumi_models_free(model);
}

static sumi_status check_predict(sumi_context *ctx, const sumi_model *model,
                                 const sumi_batch *batch)
{
    sumi_error *err = &ctx->error;
    if (!batch->x || !batch->t)
        return missing(ctx, "sumi_model_predict", batch->x ? "batch->t" : "batch->x");
    int64_t factors[] = {batch->n, batch->h, batch->w, model->info.in_channels,
                         (int64_t)sizeof(float)};
    size_t bytes;
    if (batch->n < 1 || batch->h < 1 || batch->w < 1 || !sumi_size_product(factors, 5, &bytes))
        return sumi_fail(err, SUMI_EINVAL, "%d images of %dx%d: sizes must be at least 1", batch->n,
                         batch->h, batch->w);
    for (int i = 0; i < batch->n; i++)
        if (batch->t[i] < 1 || batch->t[i] > model->info.timesteps)
            return sumi_fail(err, SUMI_EINVAL, "t[%d] must be 1 to %d, found %d", i,
                             model->info.timesteps, batch->t[i]);
    for (int i = 0; batch->labels && model->graph.labels >= 0 && i < batch->n; i++)
        if (batch->labels[i] < -1 || batch->labels[i] >= model->graph.classes)
            return sumi_fail(err, SUMI_EINVAL, "labels[%d] must be -1 to %d, found %d", i,
                             model->graph.classes - 1, batch->labels[i]);
    return SUMI_OK;
}

static sumi_status predict(sumi_context *ctx, const sumi_model *model, const sumi_batch *batch,
                           float *out)
{
    if (!model || !batch || !out)
        return missing(ctx, "sumi_model_predict", !model ? "model" : !batch ? "batch" : "out");
    sumi_batch full = SUMI_BATCH_INIT;
    sumi_status status = take_config(ctx, "sumi_batch", batch, &full, sizeof full);
    if (status == SUMI_OK)
        status = check_predict(ctx, model, &full);
    return status == SUMI_OK ? sumi_runtime_predict(&ctx->runtime, model, &full, out, &ctx->error)
                             : status;
}

sumi_status sumi_model_predict(sumi_context *ctx, const sumi_model *model, const sumi_batch *batch,
                               float *out)
{
    sumi_status status = enter_long_call(ctx, "sumi_model_predict");
    return status == SUMI_OK ? leave_long_call(ctx, predict(ctx, model, batch, out)) : status;
}

/* ---- Training -------------------------------------------------------------------------------- */

/* The trainer's settings, whole, wherever the caller has put them; config points to them after. */
static sumi_status take_train_config(sumi_context *ctx, sumi_train_config *config,
                                     sumi_trainer_config *settings)
{
    sumi_status status =
        take_config(ctx, "sumi_trainer_config", config->trainer, settings, sizeof *settings);
    if (!config->trainer)
        *settings = sumi_trainer_settings(config);
    config->trainer = settings;
    return status;
}

sumi_status sumi_trainer_create(sumi_context *ctx, sumi_model *model,
                                const sumi_train_config *config, sumi_trainer **out)
{
    sumi_status status = enter_idle(ctx, "sumi_trainer_create");
    if (status != SUMI_OK)
        return status;
    if (!model || !out)
        return missing(ctx, "sumi_trainer_create", model ? "out" : "model");
    sumi_train_config full = SUMI_TRAIN_CONFIG_INIT;
    status = take_config(ctx, "sumi_train_config", config, &full, sizeof full);
    if (status != SUMI_OK)
        return status;
    sumi_trainer_config settings = SUMI_TRAINER_CONFIG_INIT;
    status = take_train_config(ctx, &full, &settings);
    if (status != SUMI_OK)
        return status;
    sumi_trainer *trainer;
    status = sumi_train_create(&ctx->runtime, model, &settings, &trainer, &ctx->error);
    if (status != SUMI_OK)
        return status;
    trainer->context = ctx;
    *out = trainer;
    return SUMI_OK;
}

static sumi_status step(sumi_trainer *trainer, const sumi_batch *batch, float *loss)
{
    sumi_context *ctx = trainer->context;
    if (!batch)
        return missing(ctx, "sumi_trainer_step", "batch");
    if (sumi_runtime_cancelled(&ctx->runtime))
        return cancelled(ctx, "the training step");
    sumi_batch full = SUMI_BATCH_INIT;
    sumi_status status = take_config(ctx, "sumi_batch", batch, &full, sizeof full);
    if (status != SUMI_OK)
        return status;
    double value;
    if (full.n > 0 && full.x) /* else it is refused before anything is planned */
        status = sumi_train_begin(trainer, full.h, full.w, &ctx->error);
    if (status != SUMI_OK)
        return status;
    status = sumi_train_step(trainer, &full, &value, &ctx->error);
    if (status == SUMI_OK && loss)
        *loss = (float)value;
    return status;
}

sumi_status sumi_trainer_step(sumi_trainer *trainer, const sumi_batch *batch, float *loss)
{
    sumi_context *ctx = trainer ? trainer->context : NULL;
    sumi_status status = enter_long_call(ctx, "sumi_trainer_step");
    return status == SUMI_OK ? leave_long_call(ctx, step(trainer, batch, loss)) : status;
}

sumi_status sumi_trainer_save(sumi_trainer *trainer, const char *dir)
{
    if (!trainer || !enter(trainer->context))
        return SUMI_EINVAL;
    if (!dir)
        return missing(trainer->context, "sumi_trainer_save", "dir");
    return sumi_checkpoint_save(trainer, NULL, dir, &trainer->context->error);
}

sumi_status sumi_trainer_resume(sumi_trainer *trainer, const char *dir)
{
    sumi_status status = enter_idle(trainer ? trainer->context : NULL, "sumi_trainer_resume");
    if (status != SUMI_OK)
        return status;
    if (!dir)
        return missing(trainer->context, "sumi_trainer_resume", "dir");
    return sumi_checkpoint_load(trainer, dir, NULL, &trainer->context->error);
}

int64_t sumi_trainer_steps(const sumi_trainer *trainer)
{
    return trainer ? trainer->steps : 0;
}

sumi_status sumi_trainer_model(sumi_trainer *trainer, int which, sumi_model **out)
{
    if (!trainer || !enter(trainer->context))
        return SUMI_EINVAL;
    sumi_context *ctx = trainer->context;
    if (!out)
        return missing(ctx, "sumi_trainer_model", "out");
    if (which < 0 || which > trainer->averages.count)
        return sumi_fail(&ctx->error, SUMI_EINVAL, "which is %d, expected 0 to %d", which,
                         trainer->averages.count);
    const sumi_model *model = which > 0 ? trainer->averages.model[which - 1] : trainer->model;
    return sumi_models_copy(model, out, &ctx->error);
}

void sumi_trainer_free(sumi_trainer *trainer)
{
    sumi_train_free(trainer);
}

/* result NULL: trains. */
static sumi_status train_or_verify(sumi_context *ctx, sumi_model *model, const sumi_dataset *set,
                                   const sumi_train_config *config, sumi_verify_t *result)
{
    sumi_train_config full = SUMI_TRAIN_CONFIG_INIT;
    sumi_trainer_config settings = SUMI_TRAINER_CONFIG_INIT;
    sumi_status status = take_config(ctx, "sumi_train_config", config, &full, sizeof full);
    if (status == SUMI_OK)
        status = take_train_config(ctx, &full, &settings);
    if (status != SUMI_OK)
        return status;
    /* Held, so that what a callback frees lives until this call ends. */
    sumi_dataset *held_set = sumi_data_hold(set);
    sumi_model *held_model = sumi_models_hold(model);
    const sumi_ranks *ranks = ctx->runtime.ranks;
    if (result) /* one alone replays the steps of several */
        ctx->runtime.ranks = NULL;
    status = result ? sumi_run_verify(&ctx->runtime, model, set, &full, result, &ctx->error)
                    : sumi_run_train(&ctx->runtime, model, set, &full, &ctx->error);
    ctx->runtime.ranks = ranks;
    sumi_models_free(held_model);
    sumi_data_free(held_set);
    return status;
}

sumi_status sumi_train(sumi_context *ctx, sumi_model *model, const sumi_dataset *set,
                       const sumi_train_config *config)
{
    sumi_status status = enter_long_call(ctx, "sumi_train");
    if (status != SUMI_OK)
        return status;
    status = !model || !set ? missing(ctx, "sumi_train", model ? "set" : "model")
                            : train_or_verify(ctx, model, set, config, NULL);
    return leave_long_call(ctx, status);
}

sumi_status sumi_verify(sumi_context *ctx, sumi_model *model, const sumi_dataset *set,
                        const sumi_train_config *config, sumi_verify_t *result)
{
    sumi_status status = enter_long_call(ctx, "sumi_verify");
    if (status != SUMI_OK)
        return status;
    status = !model || !set || !result ? missing(ctx, "sumi_verify", "an argument")
                                       : train_or_verify(ctx, model, set, config, result);
    return leave_long_call(ctx, status);
}

/* ---- Classifiers and evaluating -------------------------------------------------------------- */

sumi_status sumi_classifier_train(sumi_context *ctx, const sumi_dataset *set,
                                  const sumi_dataset *test, const sumi_classifier_config *config,
                                  sumi_classifier **out)
{
    sumi_status status = enter_long_call(ctx, "sumi_classifier_train");
    if (status != SUMI_OK)
        return status;
    if (!set || !out)
        return leave_long_call(ctx, missing(ctx, "sumi_classifier_train", set ? "out" : "set"));
    sumi_classifier_config full = SUMI_CLASSIFIER_CONFIG_INIT;
    status = take_config(ctx, "sumi_classifier_config", config, &full, sizeof full);
    sumi_dataset *held_set = sumi_data_hold(set); /* as in sumi_train */
    sumi_dataset *held_test = test ? sumi_data_hold(test) : NULL;
    if (status == SUMI_OK)
        status = sumi_classify_train(&ctx->runtime, set, test, &full, out, &ctx->error);
    sumi_data_free(held_test);
    sumi_data_free(held_set);
    return leave_long_call(ctx, status);
}

sumi_status sumi_classifier_load(sumi_context *ctx, const char *path, sumi_classifier **out)
{
    if (!enter(ctx))
        return SUMI_EINVAL;
    if (!path || !out)
        return missing(ctx, "sumi_classifier_load", path ? "out" : "path");
    return sumi_classifiers_load(path, out, &ctx->error);
}

sumi_status sumi_classifier_save(sumi_context *ctx, const sumi_classifier *classifier,
                                 const char *path)
{
    if (!enter(ctx))
        return SUMI_EINVAL;
    if (!classifier || !path)
        return missing(ctx, "sumi_classifier_save", path ? "classifier" : "path");
    return sumi_classifiers_save(path, classifier, &ctx->error);
}

sumi_status sumi_classifier_info(const sumi_classifier *classifier, sumi_classifier_info_t *info)
{
    if (!classifier || !info)
        return SUMI_EINVAL;
    sumi_give_info(&classifier->info, sizeof classifier->info, info);
    return SUMI_OK;
}

sumi_status sumi_classifier_run(sumi_context *ctx, const sumi_classifier *classifier,
                                const uint8_t *images, int64_t n, float *features,
                                float *probabilities)
{
    sumi_status status = enter_long_call(ctx, "sumi_classifier_run");
    if (status != SUMI_OK)
        return status;
    if (!classifier || !images)
        return leave_long_call(
            ctx, missing(ctx, "sumi_classifier_run", classifier ? "images" : "classifier"));
    const sumi_classifier_info_t *info = &classifier->info;
    const sumi_image_array array = {images, (size_t)info->height * (size_t)info->width *
                                                (size_t)info->channels};
    sumi_image_source source = sumi_source_of_array(&array, n);
    status =
        sumi_classify_run(&ctx->runtime, classifier, &source, features, probabilities, &ctx->error);
    return leave_long_call(ctx, status);
}

/* ---- Sampling -------------------------------------------------------------------------------- */

sumi_status sumi_sample(sumi_context *ctx, const sumi_model *model,
                        const sumi_sample_config *config, float *out, size_t out_floats)
{
    sumi_status status = enter_long_call(ctx, "sumi_sample");
    if (status != SUMI_OK)
        return status;
    if (!model)
        return leave_long_call(ctx, missing(ctx, "sumi_sample", "model"));
    sumi_sample_config full = SUMI_SAMPLE_CONFIG_INIT;
    status = take_config(ctx, "sumi_sample_config", config, &full, sizeof full);
    bool follows = full.share && ctx->runtime.ranks && ctx->runtime.ranks->rank > 0;
    if (status == SUMI_OK && !out && !full.on_images && !follows)
        status = missing(ctx, "sumi_sample", "out");
    sumi_model *held = sumi_models_hold(model); /* as in sumi_train */
    sumi_model *guide = full.guide ? sumi_models_hold(full.guide) : NULL;
    if (status == SUMI_OK)
        status = sumi_sample_run(&ctx->runtime, model, &full, out, out_floats, &ctx->error);
    if (status == SUMI_OK)
        ctx->error.text[0] = '\0'; /* what a callback's calls have left is not this call's */
    sumi_models_free(guide);
    sumi_models_free(held);
    return leave_long_call(ctx, status);
}

/* Checked, as JSON; NULL where there is nothing to keep. */
static sumi_status sampling_json(sumi_context *ctx, const sumi_model *model,
                                 const sumi_sample_config *config, json_t **out)
{
    sumi_sample_config full = SUMI_SAMPLE_CONFIG_INIT;
    sumi_status status = take_config(ctx, "sumi_sample_config", config, &full, sizeof full);
    if (status == SUMI_OK)
        status = sumi_sample_check_default(model, &full, &ctx->error);
    if (status != SUMI_OK)
        return status;
    *out = sumi_sampling_json(&full);
    if (!*out)
        return sumi_fail_memory(&ctx->error, "sampling defaults", 0);
    if (json_object_size(*out) == 0) {
        json_decref(*out);
        *out = NULL;
    }
    return SUMI_OK;
}

sumi_status sumi_model_set_sampling(sumi_context *ctx, sumi_model *model,
                                    const sumi_sample_config *config)
{
    json_t *sampling = NULL;
    sumi_status status = enter_idle(ctx, "sumi_model_set_sampling");
    if (status != SUMI_OK)
        return status;
    if (!model)
        return missing(ctx, "sumi_model_set_sampling", "model");
    status = sampling_json(ctx, model, config, &sampling);
    if (status == SUMI_OK)
        sumi_sampling_set(model, sampling);
    json_decref(sampling);
    return status;
}

sumi_status sumi_model_save_sampling(sumi_context *ctx, const char *path,
                                     const sumi_sample_config *config)
{
    json_t *sampling = NULL;
    sumi_model *model = NULL;
    if (!enter(ctx))
        return SUMI_EINVAL;
    if (!path)
        return missing(ctx, "sumi_model_save_sampling", "path");
    sumi_status status = sumi_is_dir(path) ? sumi_run_load(path, &model, NULL, &ctx->error)
                                           : sumi_models_load(path, &model, NULL, &ctx->error);
    if (status == SUMI_OK)
        status = sampling_json(ctx, model, config, &sampling);
    if (status == SUMI_OK)
        status = sumi_run_save_sampling(path, sampling, &ctx->error);
    json_decref(sampling);
    sumi_models_free(model);
    return status;
}

static sumi_status evaluate(sumi_context *ctx, const sumi_eval_config *config,
                            sumi_eval_result_t *result)
{
    if (!config || !result)
        return missing(ctx, "sumi_eval", config ? "result" : "config");
    sumi_eval_config full = SUMI_EVAL_CONFIG_INIT;
    sumi_sample_config sample = SUMI_SAMPLE_CONFIG_INIT;
    sumi_status status = take_config(ctx, "sumi_eval_config", config, &full, sizeof full);
    if (status == SUMI_OK)
        status = take_config(ctx, "sumi_sample_config", full.sample, &sample, sizeof sample);
    if (status != SUMI_OK)
        return status;
    full.sample = full.sample ? &sample : NULL;
    return sumi_eval_run(&ctx->runtime, &full, result, &ctx->error);
}

sumi_status sumi_eval(sumi_context *ctx, const sumi_eval_config *config, sumi_eval_result_t *result)
{
    sumi_status status = enter_long_call(ctx, "sumi_eval");
    return status == SUMI_OK ? leave_long_call(ctx, evaluate(ctx, config, result)) : status;
}

static sumi_status tune(sumi_context *ctx, const sumi_model *model, const sumi_tune_config *config,
                        sumi_sample_config *best, sumi_tune_result_t *result)
{
    if (!model || !config || !best || !result)
        return missing(ctx, "sumi_tune",
                       !model    ? "model"
                       : !config ? "config"
                       : !best   ? "best"
                                 : "result");
    sumi_tune_config full = SUMI_TUNE_CONFIG_INIT;
    sumi_sample_config found = SUMI_SAMPLE_CONFIG_INIT;
    sumi_status status = take_config(ctx, "sumi_tune_config", config, &full, sizeof full);
    if (status == SUMI_OK)
        status = take_config(ctx, "sumi_sample_config", best, &found, sizeof found);
    sumi_model *held = sumi_models_hold(model); /* as in sumi_train */
    if (status == SUMI_OK)
        status = sumi_tune_run(&ctx->runtime, model, &full, &found, result, &ctx->error);
    if (status == SUMI_OK)
        sumi_give_info(&found, sizeof found, best);
    sumi_models_free(held);
    return status;
}

sumi_status sumi_tune(sumi_context *ctx, const sumi_model *model, const sumi_tune_config *config,
                      sumi_sample_config *best, sumi_tune_result_t *result)
{
    sumi_status status = enter_long_call(ctx, "sumi_tune");
    return status == SUMI_OK ? leave_long_call(ctx, tune(ctx, model, config, best, result))
                             : status;
}

/* ---- Measuring ------------------------------------------------------------------------------- */

sumi_status sumi_profile(sumi_context *ctx, const sumi_model *model,
                         const sumi_profile_config *config, sumi_profile_entry *entries,
                         int capacity, int *count)
{
    sumi_status status = enter_long_call(ctx, "sumi_profile");
    if (status != SUMI_OK)
        return status;
    if (!model || !config || !count || (!entries && capacity > 0))
        return leave_long_call(ctx, missing(ctx, "sumi_profile",
                                            !model    ? "model"
                                            : !config ? "config"
                                            : !count  ? "count"
                                                      : "entries"));
    sumi_profile_config full = SUMI_PROFILE_CONFIG_INIT;
    full.entry_size = SUMI_PROFILE_ENTRY_FIRST; /* of a config that is too old to tell */
    status = take_config(ctx, "sumi_profile_config", config, &full, sizeof full);
    if (status == SUMI_OK)
        status =
            sumi_train_profile(&ctx->runtime, model, &full, entries, capacity, count, &ctx->error);
    return leave_long_call(ctx, status);
}

sumi_status sumi_measure_peak(sumi_context *ctx, double *gflops)
{
    sumi_status status = enter_idle(ctx, "sumi_measure_peak");
    if (status != SUMI_OK)
        return status;
    if (!gflops)
        return missing(ctx, "sumi_measure_peak", "gflops");
    *gflops = 1e-9 * ctx->runtime.backend->measure_peak(ctx->runtime.device);
    return SUMI_OK;
}

sumi_status sumi_measure_bandwidth(sumi_context *ctx, double *gbytes_per_s)
{
    sumi_status status = enter_idle(ctx, "sumi_measure_bandwidth");
    if (status != SUMI_OK)
        return status;
    if (!gbytes_per_s)
        return missing(ctx, "sumi_measure_bandwidth", "gbytes_per_s");
    double bytes_per_s;
    status =
        ctx->runtime.backend->measure_bandwidth(ctx->runtime.device, &bytes_per_s, &ctx->error);
    if (status == SUMI_OK)
        *gbytes_per_s = 1e-9 * bytes_per_s;
    return status;
}
