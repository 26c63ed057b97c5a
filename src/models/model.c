/*
 * The model object: a graph with weights, what it was made with, and the way to and from a tensor
 * file. The file carries the configuration as metadata; one without them (PyTorch's own .pth) is
 * taken as the tutorial's network, whose sizes follow from the shapes.
 */
#include "models/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/fields.h"
#include "models/metadata.h"
#include "models/sampling.h"
#include "models/state_dict.h"
#include "models/weights.h"

/* ---- Creation -------------------------------------------------------------------------------- */

/* A number that no other model of this process has: no two live at one address at one time. */
static uint64_t unique_id(const sumi_model *model)
{
    uint64_t address = (uint64_t)(uintptr_t)model;
    uint32_t place[4] = {(uint32_t)address, (uint32_t)(address >> 32), 0, 0}, mixed[4];
    sumi_philox((uint64_t)(sumi_time_now() * 1e9), place, mixed);
    return (uint64_t)mixed[0] << 32 | mixed[1];
}

/* The graph and what is known of the model, without memory for the weights. */
static sumi_status prepare(const sumi_model_config *config, sumi_model **out, sumi_error *err)
{
    sumi_status status = sumi_model_check_config(config, err);
    if (status != SUMI_OK)
        return status;
    sumi_model *model = sumi_calloc(1, sizeof *model);
    if (!model)
        return sumi_fail_memory(err, "a model", sizeof *model);
    model->id = unique_id(model);
    const sumi_net *net = sumi_net_row(sumi_net_find(config->net));
    status = net->build(&model->graph, config, err);
    if (status != SUMI_OK) {
        sumi_models_free(model);
        return status;
    }
    model->metadata = json_object();
    if (model->graph.status != SUMI_OK || !model->metadata) {
        status = model->metadata
                     ? sumi_fail(err, model->graph.status, "%s", model->graph.error.text)
                     : sumi_fail_memory(err, "metadata", 0);
        sumi_models_free(model);
        return status;
    }
    model->info = (sumi_model_info_t){.size = sizeof model->info,
                                      .parameters = (int64_t)model->graph.params.value_count,
                                      .tensors = model->graph.params.count,
                                      .range_hi = 1};
    sumi_copy_text(model->info.net, sizeof model->info.net, net->is.name);
    sumi_copy_text(model->info.preset, sizeof model->info.preset,
                   sumi_preset_row(sumi_preset_find(config->preset))->name);
    model->process = (sumi_process_config)SUMI_PROCESS_CONFIG_INIT;
    sumi_fields_from_config(model, config);
    status = sumi_process_check(&model->process, err);
    if (status != SUMI_OK) {
        sumi_models_free(model);
        return status;
    }
    *out = model;
    return SUMI_OK;
}

sumi_status sumi_models_create(const sumi_model_config *config, sumi_model **out, sumi_error *err)
{
    sumi_model *model;
    sumi_status status = prepare(config, &model, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_params_allocate(&model->graph.params, err);
    if (status != SUMI_OK) {
        sumi_models_free(model);
        return status;
    }
    sumi_params_init(&model->graph.params, config->seed);
    model->seed = config->seed;
    model->seed_known = true;
    *out = model;
    return SUMI_OK;
}

void sumi_model_fetch(const sumi_model *model)
{
    if (model->fetch)
        model->fetch(model->trainer);
}

void sumi_model_set_standard(sumi_model *model, const float *mean, const float *deviation)
{
    model->standard.channels = model->info.in_channels;
    model->standard.to = model->process.sigma_data;
    for (int c = 0; c < model->info.in_channels; c++) {
        model->standard.mean[c] = mean[c];
        model->standard.deviation[c] = deviation[c];
    }
}

void sumi_model_take_weights(sumi_model *to, const sumi_model *from)
{
    sumi_model_fetch(from);
    sumi_params *dst = &to->graph.params;
    const sumi_params *src = &from->graph.params;
    memcpy(dst->values, src->values, src->value_count * sizeof(float));
    memcpy(dst->statistics, src->statistics, src->statistic_count * sizeof(float));
    memcpy(dst->counters, src->counters, src->counter_count * sizeof(int64_t));
    to->info = from->info;
    sumi_sampling_set(to, from->sampling);
    to->seed = from->seed;
    to->seed_known = from->seed_known;
    to->generation++;
}

sumi_status sumi_models_copy(const sumi_model *model, sumi_model **out, sumi_error *err)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_fields_to_config(model, &config);
    config.net = model->info.net;
    config.preset = model->info.preset;
    sumi_model *copy;
    sumi_status status = prepare(&config, &copy, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_params_allocate(&copy->graph.params, err);
    if (status == SUMI_OK && json_object_update(copy->metadata, model->metadata) != 0)
        status = sumi_fail_memory(err, "metadata", 0);
    if (status != SUMI_OK) {
        sumi_models_free(copy);
        return status;
    }
    copy->standard = model->standard;
    copy->classes = json_incref(model->classes);
    sumi_model_take_weights(copy, model);
    *out = copy;
    return SUMI_OK;
}

sumi_model *sumi_models_hold(const sumi_model *model)
{
    sumi_model *held = (sumi_model *)model; /* who only reads a model may keep it, too */
    atomic_fetch_add(&held->holders, 1);
    return held;
}

void sumi_models_free(sumi_model *model)
{
    if (!model || atomic_fetch_sub(&model->holders, 1) > 0)
        return;
    sumi_graph_free(&model->graph);
    json_decref(model->metadata);
    json_decref(model->classes);
    json_decref(model->sampling);
    free(model);
}

/* ---- To a file ------------------------------------------------------------------------------- */

sumi_status sumi_model_to_file(const sumi_model *model, const float *values, sumi_tensor_file *out,
                               sumi_error *err)
{
    sumi_model_fetch(model);
    sumi_status status = sumi_params_to_file(&model->graph.params, values, out, err);
    if (status == SUMI_OK)
        status = sumi_metadata_to_file(model, out, err);
    if (status != SUMI_OK)
        sumi_model_file_free(out);
    return status;
}

/* A file of numbers that are none would be refused wherever it is read. */
static sumi_status check_numbers(const char *path, const sumi_params *params, const float *values,
                                 sumi_error *err)
{
    for (int i = 0; i < params->count; i++) {
        const sumi_param *param = &params->items[i];
        if (sumi_param_trainable(param) && !sumi_all_finite(values + param->offset, param->count))
            return sumi_fail(err, SUMI_EINVAL, "%s: not written: %s has values that are not finite",
                             path, param->name);
    }
    if (sumi_all_finite(params->statistics, params->statistic_count))
        return SUMI_OK;
    return sumi_fail(err, SUMI_EINVAL, "%s: not written: running statistics are not finite", path);
}

sumi_status sumi_models_save(const char *path, const sumi_model *model, const float *values,
                             sumi_error *err)
{
    bool pth = sumi_ends_with(path, ".pth") || sumi_ends_with(path, ".pt");
    if (!pth && !sumi_ends_with(path, ".safetensors"))
        return sumi_fail(err, SUMI_EINVAL, "%s: a model's file ends in .safetensors or .pth", path);
    sumi_tensor_file file;
    const sumi_params *params = &model->graph.params;
    sumi_model_fetch(model);
    sumi_status status = check_numbers(path, params, values ? values : params->values, err);
    if (status == SUMI_OK)
        status = sumi_model_to_file(model, values, &file, err);
    if (status != SUMI_OK)
        return status;
    status = pth ? sumi_pth_write(path, &file, err) : sumi_safetensors_write(path, &file, err);
    sumi_model_file_free(&file);
    return status;
}

/* ---- From a file ----------------------------------------------------------------------------- */

sumi_status sumi_model_from_file(const char *path, const sumi_tensor_file *file, sumi_model **out,
                                 sumi_error *err)
{
    sumi_model_config config;
    sumi_status status = sumi_metadata_config(path, file, &config, err);
    if (status != SUMI_OK)
        return status;
    sumi_model *model;
    status = prepare(&config, &model, err);
    if (status != SUMI_OK)
        return sumi_fail_prefix(err, status == SUMI_ENOMEM ? status : SUMI_EFORMAT, path);
    status = sumi_params_from_file(path, file, &model->graph.params, err);
    if (status == SUMI_OK)
        status = sumi_metadata_from_file(path, file, model, err);
    if (status != SUMI_OK) {
        sumi_models_free(model);
        return status;
    }
    *out = model;
    return SUMI_OK;
}

/* Adds that counters are missing to what is to be said. */
static void tell_counters(const char *path, const sumi_tensor_file *file, const sumi_params *params,
                          sumi_error *notice)
{
    int missing = 0;
    for (int i = 0; i < params->count; i++)
        missing += !sumi_tensor_file_find(file, params->items[i].name);
    if (missing > 0 && notice)
        sumi_fail(notice, SUMI_OK, "%s%s%d tensors num_batches_tracked are missing and begin at 0",
                  notice->text[0] ? notice->text : path, notice->text[0] ? "; " : ": ", missing);
}

sumi_status sumi_models_load(const char *path, sumi_model **out, sumi_error *notice,
                             sumi_error *err)
{
    sumi_tensor_file file;
    sumi_error said = {""};
    char name[PATH_MAX];
    const char *wanted = sumi_state_dict_name(path, name);
    path = wanted ? name : path;
    sumi_status status = sumi_tensor_file_read(path, &file, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_state_dict_pick(path, wanted, &file, &said, err);
    if (status == SUMI_OK)
        status = sumi_model_from_file(path, &file, out, err);
    if (status == SUMI_OK)
        tell_counters(path, &file, &(*out)->graph.params, &said);
    if (status == SUMI_OK && notice && said.text[0])
        *notice = said;
    sumi_tensor_file_free(&file);
    return status;
}
