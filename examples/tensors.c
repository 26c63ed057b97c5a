/*
 * Lists the tensors of a model with their mean, and writes the model in the other format: the
 * ending of OUT, .pth (PyTorch) or .safetensors, says which.
 *
 *     tensors MODEL [OUT]
 */
#include <stdio.h>
#include <stdlib.h>

#include <sumi.h>

static sumi_status list(const sumi_model *model)
{
    sumi_tensor_t tensor = SUMI_TENSOR_INIT;
    for (int i = 0; sumi_model_tensor(model, i, &tensor) == SUMI_OK; i++) {
        printf("%-32s %s [", tensor.name, tensor.dtype == SUMI_F32 ? "float32" : "int64  ");
        for (int d = 0; d < tensor.rank; d++)
            printf("%s%lld", d > 0 ? ", " : "", (long long)tensor.shape[d]);
        printf("]");
        if (tensor.dtype == SUMI_F32) {
            size_t bytes = (size_t)tensor.count * sizeof(float);
            float *values = malloc(bytes);
            sumi_status status =
                values ? sumi_model_tensor_read(model, i, values, bytes) : SUMI_ENOMEM;
            double sum = 0;
            for (int64_t k = 0; status == SUMI_OK && k < tensor.count; k++)
                sum += values[k];
            free(values);
            if (status != SUMI_OK)
                return status;
            printf("  mean %.5f", sum / (double)tensor.count);
        }
        printf("\n");
    }
    return SUMI_OK;
}

int main(int argc, char **argv)
{
    sumi_context *ctx = NULL;
    sumi_model *model = NULL;
    if (argc < 2 || sumi_context_create(1, &ctx) != SUMI_OK)
        return 2;
    sumi_status status = sumi_model_load(ctx, argv[1], &model);
    if (status == SUMI_OK)
        status = list(model);
    if (status == SUMI_OK && argc > 2)
        status = sumi_model_save(ctx, model, argv[2]);
    if (status != SUMI_OK)
        fprintf(stderr, "%s: %s\n", sumi_status_name(status), sumi_last_error(ctx));
    sumi_model_free(model);
    sumi_context_free(ctx);
    return status == SUMI_OK ? 0 : 1;
}
