/*
 * The model object: a graph with weights, what it was made with, and the way to and from a tensor
 * file. The file carries the configuration as metadata; one without them (PyTorch's own .pth) is
 * taken as the tutorial's network, whose sizes follow from the shapes.
 */
#include "models/models.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/fields.h"
#include "models/metadata.h"
#include "models/state_dict.h"

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
    sumi_build_tutorial(&model->graph, config);
    model->metadata = json_object();
    if (model->graph.status != SUMI_OK || !model->metadata) {
        status = model->metadata
                     ? sumi_fail(err, model->graph.status, "%s", model->graph.error.text)
                     : sumi_fail_memory(err, "metadata", 0);
        sumi_models_free(model);
        return status;
    }
    model->info = (sumi_model_info_t){.size = sizeof model->info,
                                      .preset = SUMI_NET_TUTORIAL,
                                      .net = SUMI_NET_TUTORIAL,
                                      .parameters = (int64_t)model->graph.params.value_count,
                                      .tensors = model->graph.params.count,
                                      .range_hi = 1};
    model->process = (sumi_process_config)SUMI_PROCESS_CONFIG_INIT;
    model->data_std = 1;
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

void sumi_model_take_weights(sumi_model *to, const sumi_model *from)
{
    sumi_model_fetch(from);
    sumi_params *dst = &to->graph.params;
    const sumi_params *src = &from->graph.params;
    memcpy(dst->values, src->values, src->value_count * sizeof(float));
    memcpy(dst->statistics, src->statistics, src->statistic_count * sizeof(float));
    memcpy(dst->counters, src->counters, src->counter_count * sizeof(int64_t));
    to->info = from->info;
    to->seed = from->seed;
    to->seed_known = from->seed_known;
    to->generation++;
}

sumi_status sumi_models_copy(const sumi_model *model, sumi_model **out, sumi_error *err)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_fields_to_config(model, &config);
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
    copy->data_mean = model->data_mean;
    copy->data_std = model->data_std;
    copy->classes = json_incref(model->classes);
    copy->sampling = json_incref(model->sampling);
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

void sumi_model_file_free(sumi_tensor_file *file)
{
    for (size_t i = 0; i < file->metadata_count; i++) {
        free(file->metadata[i].key);
        free(file->metadata[i].value);
    }
    free(file->metadata);
    free(file->tensors);
    free(file->buffer);
    *file = (sumi_tensor_file){0};
}

static void fill_tensor(const sumi_model *model, const sumi_param *param, const float *values,
                        void *data, sumi_file_tensor *tensor)
{
    const sumi_params *params = &model->graph.params;
    bool counter = param->kind == SUMI_PARAM_COUNTER;
    *tensor = (sumi_file_tensor){.name = (char *)param->name,
                                 .dtype = counter ? SUMI_FILE_I64 : SUMI_FILE_F32,
                                 .rank = param->rank,
                                 .data = data};
    memcpy(tensor->shape, param->shape, sizeof param->shape);
    tensor->bytes = param->count * (counter ? sizeof(int64_t) : sizeof(float));
    if (counter)
        memcpy(data, params->counters + param->offset, tensor->bytes);
    else
        sumi_param_export(param, sumi_param_trainable(param) ? values : params->statistics, data);
}

sumi_status sumi_model_to_file(const sumi_model *model, const float *values, sumi_tensor_file *out,
                               sumi_error *err)
{
    const sumi_params *params = &model->graph.params;
    size_t bytes = (params->value_count + params->statistic_count) * sizeof(float) +
                   (size_t)params->count * sizeof(int64_t) * 2;
    *out = (sumi_tensor_file){.count = (size_t)params->count};
    out->tensors = sumi_calloc((size_t)params->count, sizeof *out->tensors);
    out->buffer = sumi_calloc(bytes, 1);
    if (!out->tensors || !out->buffer) {
        sumi_model_file_free(out);
        return sumi_fail_memory(err, "a copy of the weights", bytes);
    }
    uint8_t *data = out->buffer;
    sumi_model_fetch(model);
    for (int i = 0; i < params->count; i++) {
        fill_tensor(model, &params->items[i], values ? values : params->values, data,
                    &out->tensors[i]);
        data += (out->tensors[i].bytes + 7) / 8 * 8; /* keep int64 aligned */
    }
    sumi_status status = sumi_metadata_to_file(model, out, err);
    if (status != SUMI_OK)
        sumi_model_file_free(out);
    return status;
}

sumi_status sumi_models_save(const char *path, const sumi_model *model, const float *values,
                             sumi_error *err)
{
    bool pth = sumi_ends_with(path, ".pth") || sumi_ends_with(path, ".pt");
    if (!pth && !sumi_ends_with(path, ".safetensors"))
        return sumi_fail(err, SUMI_EINVAL, "%s: a model's file ends in .safetensors or .pth", path);
    sumi_tensor_file file;
    sumi_status status = sumi_model_to_file(model, values, &file, err);
    if (status != SUMI_OK)
        return status;
    status = pth ? sumi_pth_write(path, &file, err) : sumi_safetensors_write(path, &file, err);
    sumi_model_file_free(&file);
    return status;
}

/* ---- From a file ----------------------------------------------------------------------------- */

static sumi_status check_tensor(const char *path, const sumi_tensor_file *file,
                                const sumi_param *param, sumi_error *err)
{
    const sumi_file_tensor *tensor = sumi_tensor_file_find(file, param->name);
    bool counter = param->kind == SUMI_PARAM_COUNTER;
    if (!tensor && counter)
        return SUMI_OK;
    if (!tensor)
        return sumi_fail(err, SUMI_EFORMAT, "%s: tensor '%s' is missing", path, param->name);
    bool same = tensor->rank == param->rank;
    for (int i = 0; same && i < param->rank; i++)
        same = tensor->shape[i] == param->shape[i];
    /* Some programs write a single number as [1]. */
    same = same || (counter && tensor->rank == 1 && tensor->shape[0] == 1);
    if (!same) {
        char expected[96], found[200];
        sumi_shape_text(param->shape, param->rank, expected, sizeof expected);
        sumi_shape_text(tensor->shape, tensor->rank, found, sizeof found);
        return sumi_fail(err, SUMI_ESHAPE, "%s: tensor '%s' should be %s, found %s", path,
                         param->name, expected, found);
    }
    bool integer = tensor->dtype == SUMI_FILE_I64 || tensor->dtype == SUMI_FILE_I32;
    bool real = tensor->dtype == SUMI_FILE_F32 || tensor->dtype == SUMI_FILE_F64 ||
                tensor->dtype == SUMI_FILE_F16 || tensor->dtype == SUMI_FILE_BF16;
    if (!real && !(counter && integer))
        return sumi_fail(err, SUMI_EFORMAT, "%s: tensor '%s' has type %s, expected %s", path,
                         param->name, sumi_dtype_name(tensor->dtype), counter ? "I64" : "F32");
    return SUMI_OK;
}

/* Every tensor of the model is there as it should be, and no other. Counters may be missing: before
 * version 0.4.1 PyTorch had none, and nothing depends on them. */
static sumi_status check_tensors(const char *path, const sumi_tensor_file *file,
                                 const sumi_params *params, sumi_error *err)
{
    size_t expected = 0;
    for (int i = 0; i < params->count; i++) {
        sumi_status status = check_tensor(path, file, &params->items[i], err);
        if (status != SUMI_OK)
            return status;
        expected += sumi_tensor_file_find(file, params->items[i].name) != NULL;
    }
    for (size_t i = 0; i < file->count; i++) {
        bool known = false;
        for (int j = 0; j < params->count && !known; j++)
            known = strcmp(file->tensors[i].name, params->items[j].name) == 0;
        if (!known)
            return sumi_fail(err, SUMI_EFORMAT, "%s: unexpected tensor '%s'", path,
                             file->tensors[i].name);
    }
    if (file->count != expected)
        return sumi_fail(err, SUMI_EFORMAT, "%s: %zu tensors, expected %zu: a name occurs twice",
                         path, file->count, expected);
    return SUMI_OK;
}

/* check_tensor lets no such type pass; a new one must not be read as zeros. */
static sumi_status no_numbers(const char *path, const sumi_file_tensor *tensor, sumi_error *err)
{
    return sumi_fail(err, SUMI_EUNSUPPORTED, "%s: tensor '%s': the type %s cannot be converted",
                     path, tensor->name, sumi_dtype_name(tensor->dtype));
}

/* Whoever halves a model's tensors halves its counters, too, up to infinity; what is no count
 * begins at 0. */
static sumi_status import_counter(const char *path, const sumi_file_tensor *tensor, int64_t *out,
                                  sumi_error *err)
{
    float value;
    if (sumi_file_tensor_to_i64(tensor, out))
        return SUMI_OK;
    if (!sumi_file_tensor_to_f32(tensor, &value))
        return no_numbers(path, tensor, err);
    *out = value >= 0 && value < 9e15f ? (int64_t)value : 0;
    return SUMI_OK;
}

static sumi_status import_tensor(const char *path, const sumi_file_tensor *tensor,
                                 const sumi_param *param, sumi_params *params, sumi_error *err)
{
    if (!tensor)
        return SUMI_OK;
    if (param->kind == SUMI_PARAM_COUNTER)
        return import_counter(path, tensor, params->counters + param->offset, err);
    float *values = malloc(param->count * sizeof *values);
    if (!values)
        return sumi_fail_memory(err, param->name, param->count * sizeof *values);
    sumi_status status = SUMI_OK;
    if (!sumi_file_tensor_to_f32(tensor, values))
        status = no_numbers(path, tensor, err);
    for (size_t i = 0; i < param->count && status == SUMI_OK; i++) {
        if (!isfinite(values[i]))
            status = sumi_fail(err, SUMI_EFORMAT, "%s: tensor '%s' has %s at element %zu", path,
                               param->name, isnan(values[i]) ? "NaN" : "an infinity", i);
        else if (param->kind == SUMI_PARAM_VARIANCE && values[i] < 0)
            status = sumi_fail(err, SUMI_EFORMAT, "%s: tensor '%s' has a negative variance %g",
                               path, param->name, (double)values[i]);
    }
    if (status == SUMI_OK)
        sumi_param_import(param, values,
                          sumi_param_trainable(param) ? params->values : params->statistics);
    free(values);
    return status;
}

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
    sumi_params *params = &model->graph.params;
    status = check_tensors(path, file, params, err);
    if (status == SUMI_OK)
        status = sumi_params_allocate(params, err);
    for (int i = 0; i < params->count && status == SUMI_OK; i++)
        status = import_tensor(path, sumi_tensor_file_find(file, params->items[i].name),
                               &params->items[i], params, err);
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
