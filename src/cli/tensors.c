/*
 * Opens what has tensors in it; tensors.h says what that is.
 */
#include "tensors.h"

#include <stdlib.h>
#include <string.h>

static sumi_status copy_tensor(const sumi_model *model, int index, sumi_file_tensor *to,
                               uint8_t *place)
{
    sumi_tensor_t from = SUMI_TENSOR_INIT;
    sumi_status status = sumi_model_tensor(model, index, &from);
    if (status != SUMI_OK)
        return status;
    to->dtype = from.dtype == SUMI_I64 ? SUMI_FILE_I64 : SUMI_FILE_F32;
    to->rank = from.rank;
    for (int k = 0; k < from.rank; k++)
        to->shape[k] = from.shape[k];
    to->bytes = (size_t)from.count * sumi_dtype_size(to->dtype);
    if (place == NULL)
        return SUMI_OK;
    to->data = place;
    to->name = sumi_strdup(from.name);
    return to->name != NULL ? sumi_model_tensor_read(model, index, place, to->bytes) : SUMI_ENOMEM;
}

/* A copy of the model's state dict as a tensor file. */
static sumi_status from_model(const sumi_model *model, sumi_tensor_file *file, sumi_error *err)
{
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    size_t bytes = 0;
    sumi_status status = sumi_model_info(model, &info);
    if (status == SUMI_OK)
        file->tensors = sumi_calloc((size_t)info.tensors + 1, sizeof *file->tensors);
    for (int i = 0; i < info.tensors && file->tensors != NULL && status == SUMI_OK; i++) {
        status = copy_tensor(model, i, &file->tensors[i], NULL);
        bytes += file->tensors[i].bytes;
    }
    file->buffer = sumi_calloc(bytes + 1, 1);
    if (status == SUMI_OK && (file->tensors == NULL || file->buffer == NULL))
        return sumi_fail_memory(err, "tensors", bytes);
    uint8_t *place = file->buffer;
    for (int i = 0; i < info.tensors && status == SUMI_OK; i++) {
        status = copy_tensor(model, i, &file->tensors[i], place);
        place += file->tensors[i].bytes;
        file->count++;
    }
    return status == SUMI_OK ? SUMI_OK : sumi_fail(err, status, "the model cannot be read");
}

sumi_status sumi_tensors_open(sumi_cli *cli, const char *path, sumi_tensor_file *out,
                              sumi_error *err)
{
    sumi_model *model = NULL;
    memset(out, 0, sizeof *out);
    /* FILE#NAME is one of the models in a file. */
    if (!sumi_is_dir(path) && (sumi_is_file(path) || strchr(path, '#') == NULL))
        return sumi_tensor_file_read(path, out, err);
    sumi_status status = sumi_cli_load(cli, path, &model);
    if (status != SUMI_OK)
        return sumi_fail(err, status, "%s", sumi_last_error(cli->ctx));
    status = from_model(model, out, err);
    sumi_model_free(model);
    return status;
}

const char *sumi_npy_type_name(sumi_npy_dtype dtype)
{
    static const char *const names[] = {[SUMI_NPY_F32] = "float32",
                                        [SUMI_NPY_F64] = "float64",
                                        [SUMI_NPY_U8] = "uint8",
                                        [SUMI_NPY_I32] = "int32",
                                        [SUMI_NPY_I64] = "int64"};
    return names[dtype];
}

void sumi_tensor_shape(const sumi_file_tensor *tensor, char out[192])
{
    size_t used = 0;
    memcpy(out, "[]", 3);
    for (int i = 0; i < tensor->rank && used < 170; i++)
        used += (size_t)snprintf(out + used, 192 - used, "[%lld]", (long long)tensor->shape[i]);
}
