/*
 * Muon (Jordan 2024): a network's hidden matrices move along what is nearest to orthogonal beside
 * their momentum; all other weights follow the optimiser's rule. Which are hidden is known of the
 * graph; the arithmetic is the backend's.
 */
#include "train/train.h"

#include <stdlib.h>
#include <string.h>

#define MOMENTUM .95

static bool make_lists(sumi_muon *muon, const sumi_graph *graph, sumi_matrix **matrices)
{
    const size_t layers = (size_t)graph->layer_count;
    muon->ranges = sumi_calloc(layers, sizeof *muon->ranges);
    muon->hidden = sumi_calloc((size_t)graph->params.count, sizeof *muon->hidden);
    *matrices = sumi_calloc(3 * layers, sizeof **matrices);
    return muon->ranges && muon->hidden && *matrices;
}

/* Scales and shifts, and queries, keys and values, share a layer, but nothing else: each is a
 * matrix of its own. */
static int add_matrices(const sumi_param *weight, int parts, sumi_matrix *out)
{
    size_t columns = (size_t)weight->shape[0], rows = weight->count / columns;
    size_t each = columns / (size_t)parts;
    for (int i = 0; i < parts; i++)
        out[i] = (sumi_matrix){.offset = weight->offset + (size_t)i * each,
                               .stride = columns,
                               .rows = (int)rows,
                               .cols = (int)each};
    return parts;
}

static int by_place(const void *a, const void *b)
{
    size_t x = ((const sumi_range *)a)->first, y = ((const sumi_range *)b)->first;
    return (x > y) - (x < y);
}

sumi_status sumi_muon_init(const sumi_runtime *runtime, const sumi_graph *graph, sumi_muon *muon,
                           sumi_error *err)
{
    sumi_matrix *matrices = NULL;
    sumi_status status = SUMI_OK;
    int count = 0;
    *muon = (sumi_muon){0};
    if (!make_lists(muon, graph, &matrices))
        status = sumi_fail_memory(err, "the optimiser's matrices", 0);
    for (int i = 0; i < graph->layer_count && status == SUMI_OK; i++) {
        int parts = sumi_graph_hidden_parts(graph, i), index = graph->layers[i].weight;
        if (parts == 0)
            continue;
        const sumi_param *weight = &graph->params.items[index];
        muon->hidden[index] = true;
        muon->ranges[muon->range_count++] = (sumi_range){weight->offset, weight->count};
        count += add_matrices(weight, parts, matrices + count);
    }
    if (muon->range_count > 0)
        qsort(muon->ranges, (size_t)muon->range_count, sizeof *muon->ranges, by_place);
    if (status == SUMI_OK && count > 0)
        status = runtime->backend->orthogonaliser_create(runtime->device, matrices, count,
                                                         &muon->orthogonaliser, err);
    free(matrices);
    return status;
}

void sumi_muon_free(const sumi_runtime *runtime, sumi_muon *muon)
{
    if (muon->orthogonaliser)
        runtime->backend->orthogonaliser_free(muon->orthogonaliser);
    free(muon->hidden);
    free(muon->ranges);
    *muon = (sumi_muon){0};
}

void sumi_muon_turn(const sumi_muon *muon, const sumi_runtime *runtime, float *gradients,
                    float *moments)
{
    if (muon->orthogonaliser)
        runtime->backend->orthogonalise(muon->orthogonaliser, MOMENTUM, gradients, moments);
}
