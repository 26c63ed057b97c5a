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

const sumi_facts *sumi_kind_facts(sumi_kind kind)
{
    static const sumi_facts facts[SUMI_KINDS] = {
        [SUMI_KIND_SINUSOID] = {.name = "time", .vector = true, .no_gradient = true},
        [SUMI_KIND_CONV] = {.name = "conv",
                            .reads_again = true,
                            .absorbs = 1u << SUMI_KIND_UPSAMPLE,
                            .stores_views = true,
                            .macs = conv_macs},
        [SUMI_KIND_LINEAR] = {.name = "linear",
                              .vector = true,
                              .reads_again = true,
                              .macs = linear_macs},
        [SUMI_KIND_NORM] = {.name = "norm", .pending = true},
        [SUMI_KIND_MAX_POOL] = {.name = "max_pool", .level_change = 1, .reads_again = true},
        [SUMI_KIND_UPSAMPLE] = {.name = "upsample", .level_change = -1},
    };
    return &facts[kind];
}
