/*
 * The parameter registry: every number that a network learns, in one flat buffer, so that the
 * optimiser is one loop; names, shapes and order are those of PyTorch's state_dict.
 */
#include "graph/graph.h"

#include <math.h>
#include <stdlib.h>

bool sumi_param_trainable(const sumi_param *param)
{
    return param->kind <= SUMI_PARAM_BETA;
}

sumi_status sumi_params_allocate(sumi_params *params, sumi_error *err)
{
    size_t bytes = (params->value_count + params->statistic_count) * sizeof(float);
    params->values = sumi_pages_alloc(params->value_count * sizeof(float));
    params->statistics = sumi_calloc(params->statistic_count + 1, sizeof(float));
    params->counters = sumi_calloc(params->counter_count + 1, sizeof(int64_t));
    if (!params->values || !params->statistics || !params->counters)
        return sumi_fail_memory(err, "the model's parameters", bytes);
    return SUMI_OK;
}

void sumi_params_init(sumi_params *params, uint64_t seed)
{
    for (int i = 0; i < params->count; i++) {
        const sumi_param *param = &params->items[i];
        float *value = params->values + param->offset;
        sumi_random at = {seed, SUMI_STREAM_INIT, 0, (uint64_t)i};
        float bound = param->fan_in > 0 ? 1 / sqrtf((float)param->fan_in) : 0;
        switch (param->kind) {
        case SUMI_PARAM_CONV:
        case SUMI_PARAM_LINEAR:
        case SUMI_PARAM_BIAS:
            for (size_t j = 0; j < param->count; j++)
                value[j] = (2 * sumi_random_uniform(&at, j) - 1) * bound * param->gain;
            break;
        case SUMI_PARAM_ROWS:
            sumi_random_normals(&at, 0, value, param->count);
            for (size_t j = 0; j < param->count; j++)
                value[j] *= param->gain;
            break;
        case SUMI_PARAM_GAMMA:
            for (size_t j = 0; j < param->count; j++)
                value[j] = 1;
            break;
        case SUMI_PARAM_BETA:
            for (size_t j = 0; j < param->count; j++)
                value[j] = 0;
            break;
        case SUMI_PARAM_MEAN:
        case SUMI_PARAM_VARIANCE:
            for (size_t j = 0; j < param->count; j++)
                params->statistics[param->offset + j] = param->kind == SUMI_PARAM_VARIANCE;
            break;
        case SUMI_PARAM_COUNTER:
            params->counters[param->offset] = 0;
            break;
        }
    }
}

void sumi_params_free(sumi_params *params)
{
    free(params->items);
    sumi_pages_free(params->values, params->value_count * sizeof(float));
    free(params->statistics);
    free(params->counters);
    *params = (sumi_params){0};
}

/* Sizes of a weight as a matrix of taps: PyTorch has [out][in][taps], sumi [taps][in][out]. */
typedef struct {
    size_t out, in, taps;
} weight_size;

static weight_size weight_size_of(const sumi_param *param)
{
    size_t taps = 1;
    for (int i = 2; i < param->rank; i++)
        taps *= (size_t)param->shape[i];
    return (weight_size){(size_t)param->shape[0], (size_t)param->shape[1], taps};
}

static bool is_weight(const sumi_param *param)
{
    return param->kind == SUMI_PARAM_CONV || param->kind == SUMI_PARAM_LINEAR;
}

void sumi_param_export(const sumi_param *param, const float *flat, float *torch_order)
{
    const float *own = flat + param->offset;
    if (!is_weight(param)) {
        for (size_t i = 0; i < param->count; i++)
            torch_order[i] = own[i];
        return;
    }
    weight_size size = weight_size_of(param);
    for (size_t o = 0; o < size.out; o++)
        for (size_t i = 0; i < size.in; i++)
            for (size_t tap = 0; tap < size.taps; tap++)
                *torch_order++ = own[(tap * size.in + i) * size.out + o];
}

void sumi_param_import(const sumi_param *param, const float *torch_order, float *flat)
{
    float *own = flat + param->offset;
    if (!is_weight(param)) {
        for (size_t i = 0; i < param->count; i++)
            own[i] = torch_order[i];
        return;
    }
    weight_size size = weight_size_of(param);
    for (size_t o = 0; o < size.out; o++)
        for (size_t i = 0; i < size.in; i++)
            for (size_t tap = 0; tap < size.taps; tap++)
                own[(tap * size.in + i) * size.out + o] = *torch_order++;
}

void sumi_graph_count_batches(const sumi_graph *graph, int64_t batches, int64_t *counters)
{
    for (int i = 0; i < graph->node_count; i++) {
        const sumi_node *node = &graph->nodes[i];
        if (node->kind != SUMI_KIND_NORM || node->superseded)
            continue;
        const sumi_layer *layer = &graph->layers[node->layer];
        if (layer->groups == 0)
            counters[graph->params.items[layer->counter].offset] += batches;
    }
}
