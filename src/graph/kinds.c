/*
 * The table of kinds: one row of facts for each kind of operation. What computes a kind is a
 * backend's own.
 */
#include "graph/graph.h"

static double conv_macs(const sumi_graph *graph, const sumi_node *node, int h, int w)
{
    const sumi_layer *layer = &graph->layers[node->layer];
    return (double)h * w * layer->in_channels * layer->out_channels * layer->ksize * layer->ksize;
}

static double linear_macs(const sumi_graph *graph, const sumi_node *node, int h, int w)
{
    const sumi_layer *layer = &graph->layers[node->layer];
    (void)h;
    (void)w;
    return (double)layer->in_channels * layer->out_channels;
}

/* Two products of each pixel with each other one. */
static double attention_macs(const sumi_graph *graph, const sumi_node *node, int h, int w)
{
    double pixels = (double)h * w;
    return 2 * pixels * pixels * graph->values[node->out].channels;
}

const sumi_facts *sumi_kind_facts(sumi_kind kind)
{
    static const sumi_facts facts[SUMI_KINDS] = {
        [SUMI_KIND_SINUSOID] = {.name = "time",
                                .reads_vectors = true,
                                .gives_vector = true,
                                .no_gradient = true},
        [SUMI_KIND_FOURIER] = {.name = "fourier",
                               .reads_vectors = true,
                               .gives_vector = true,
                               .no_gradient = true},
        [SUMI_KIND_EMBEDDING] = {.name = "embedding", .reads_vectors = true, .gives_vector = true},
        [SUMI_KIND_CONDITION] = {.name = "condition",
                                 .reads_vectors = true,
                                 .gives_vector = true,
                                 .no_gradient = true},
        [SUMI_KIND_CONV] = {.name = "conv",
                            .reads_again = true,
                            .absorbs = 1u << SUMI_KIND_UPSAMPLE,
                            .absorbs_reader = 1u << SUMI_KIND_ADD | 1u << SUMI_KIND_CROP,
                            .stores_views = true,
                            .macs = conv_macs},
        [SUMI_KIND_LINEAR] = {.name = "linear",
                              .reads_vectors = true,
                              .gives_vector = true,
                              .reads_again = true,
                              .macs = linear_macs},
        [SUMI_KIND_NORM] = {.name = "norm", .pending = true},
        [SUMI_KIND_ADD] = {.name = "add", .passes_on = true},
        [SUMI_KIND_MAX_POOL] = {.name = "max_pool", .level_change = 1, .reads_again = true},
        [SUMI_KIND_AVG_POOL] = {.name = "avg_pool", .level_change = 1},
        [SUMI_KIND_SUBSAMPLE] = {.name = "subsample", .level_change = 1},
        [SUMI_KIND_UPSAMPLE] = {.name = "upsample", .level_change = -1},
        [SUMI_KIND_UPSAMPLE_NEAREST] = {.name = "nearest", .level_change = -1},
        [SUMI_KIND_MEAN] = {.name = "mean", .gives_vector = true},
        [SUMI_KIND_ATTENTION] = {.name = "attention", .reads_again = true, .macs = attention_macs},
        [SUMI_KIND_PAD] = {.name = "pad", .no_gradient = true},
        [SUMI_KIND_CROP] = {.name = "crop", .passes_on = true, .keeps_wide = true},
        [SUMI_KIND_MSE] = {.name = "loss", .loss = true, .reads_again = true},
        [SUMI_KIND_CROSS_ENTROPY] = {.name = "cross_entropy",
                                     .reads_vectors = true,
                                     .loss = true,
                                     .reads_again = true},
    };
    return &facts[kind];
}
