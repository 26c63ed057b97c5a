/*
 * oracle_gradients N BATCH ISA OUT: the gradient of every parameter of the full network with the
 * formula's weights, as a safetensors file for test_gradients.py. Exit status 77: this CPU lacks
 * that instruction set.
 */
#include "api/golden.h"
#include "cpu/cpu_test.h"

#include <stdio.h>

/* Every gradient in PyTorch's order, one after the other in one buffer. */
static void write_gradients(const sumi_params *params, const float *gradients, const char *path)
{
    sumi_tensor_file file = {.tensors = calloc((size_t)params->count, sizeof *file.tensors),
                             .buffer = calloc(params->value_count, sizeof(float))};
    assert_non_null(file.tensors);
    assert_non_null(file.buffer);
    float *at = file.buffer;
    for (int p = 0; p < params->count; p++) {
        const sumi_param *param = &params->items[p];
        if (!sumi_param_trainable(param))
            continue;
        sumi_file_tensor *tensor = &file.tensors[file.count++];
        *tensor = (sumi_file_tensor){.name = (char *)param->name,
                                     .dtype = SUMI_FILE_F32,
                                     .rank = param->rank,
                                     .data = at,
                                     .bytes = param->count * sizeof *at};
        memcpy(tensor->shape, param->shape, sizeof param->shape);
        sumi_param_export(param, gradients, at);
        at += param->count;
    }
    sumi_error err;
    if (sumi_safetensors_write(path, &file, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    free(file.tensors);
    free(file.buffer);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs("usage: oracle_gradients N BATCH ISA OUT\n", stderr);
        return 2;
    }
    const sumi_kernels *kernels = sumi_kernels_pick(argv[3]);
    if (!kernels)
        return 77;
    int n = atoi(argv[1]), batch = atoi(argv[2]);
    size_t count = (size_t)n * 28 * 28;
    sumi_model *model = golden_model(true);
    float *x = golden_noise(batch, count),
          *target = golden_noise(batch + GOLDEN_TARGET_OFFSET, count);
    int32_t *t = golden_timesteps(batch, n);
    float *gradients = calloc(model->graph.params.value_count, sizeof *gradients);
    sumi_pool *pool;
    sumi_network *network;
    const sumi_plan_config config = {
        .mode = SUMI_MODE_TRAIN, .n_max = n, .h = 28, .w = 28, .force = -1};
    if (sumi_pool_create(0, &pool, NULL) != SUMI_OK ||
        sumi_network_create(&model->graph, kernels, pool, &config, &network, NULL) != SUMI_OK)
        return 1;
    cpu_gradients(network, &(cpu_training){x, t, target, n, gradients});
    write_gradients(&model->graph.params, gradients, argv[4]);
    sumi_network_free(network);
    sumi_pool_free(pool);
    sumi_models_free(model);
    free(x);
    free(target);
    free(t);
    free(gradients);
    return 0;
}
