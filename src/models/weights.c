/*
 * The numbers of a network as named tensors, in PyTorch's order, and back from a file that may hold
 * anything.
 */
#include "models/weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

static void fill_tensor(const sumi_params *params, const sumi_param *param, const float *values,
                        void *data, sumi_file_tensor *tensor)
{
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

sumi_status sumi_params_to_file(const sumi_params *params, const float *values,
                                sumi_tensor_file *out, sumi_error *err)
{
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
    for (int i = 0; i < params->count; i++) {
        fill_tensor(params, &params->items[i], values ? values : params->values, data,
                    &out->tensors[i]);
        data += (out->tensors[i].bytes + 7) / 8 * 8; /* keep int64 aligned */
    }
    return SUMI_OK;
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

sumi_status sumi_params_from_file(const char *path, const sumi_tensor_file *file,
                                  sumi_params *params, sumi_error *err)
{
    sumi_status status = check_tensors(path, file, params, err);
    if (status == SUMI_OK)
        status = sumi_params_allocate(params, err);
    for (int i = 0; i < params->count && status == SUMI_OK; i++)
        status = import_tensor(path, sumi_tensor_file_find(file, params->items[i].name),
                               &params->items[i], params, err);
    return status;
}
