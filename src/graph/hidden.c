/*
 * Which layers are hidden: their weights are matrices between two features that the network made
 * itself, which an optimiser may move in other ways than the layers that meet images, levels and
 * labels, and those that give the result.
 */
#include "graph/graph.h"

static bool comes_from(const sumi_graph *graph, int value,
                       bool (*found)(const sumi_graph *graph, int value))
{
    if (found(graph, value))
        return true;
    int producer = graph->values[value].producer;
    if (producer < 0)
        return false;
    const sumi_edge *in = &graph->nodes[producer].in;
    for (int i = 0; i < in->count; i++)
        if (comes_from(graph, in->views[i].value, found))
            return true;
    return false;
}

static bool is_made_by_layer(const sumi_graph *graph, int value)
{
    int producer = graph->values[value].producer;
    return producer >= 0 && graph->nodes[producer].layer >= 0;
}

static bool is_image(const sumi_graph *graph, int value)
{
    return !graph->values[value].vector;
}

static bool edge_comes_from(const sumi_graph *graph, const sumi_edge *edge,
                            bool (*found)(const sumi_graph *graph, int value))
{
    for (int i = 0; i < edge->count; i++)
        if (comes_from(graph, edge->views[i].value, found))
            return true;
    return false;
}

/* True for an output, and for what becomes one without another layer or a sum. */
static bool is_result(const sumi_graph *graph, int value)
{
    if (sumi_graph_is_output(graph, value))
        return true;
    for (int i = graph->values[value].producer + 1; i < graph->node_count; i++) {
        const sumi_node *node = &graph->nodes[i];
        if (node->layer < 0 && node->out >= 0 && node->kind != SUMI_KIND_ADD &&
            sumi_edge_reads(&node->in, value) && is_result(graph, node->out))
            return true;
    }
    return false;
}

/* True where its channels are queries, keys and values. */
static bool is_attended(const sumi_graph *graph, int value)
{
    for (int i = 0; i < graph->node_count; i++)
        if (graph->nodes[i].kind == SUMI_KIND_ATTENTION &&
            sumi_edge_reads(&graph->nodes[i].in, value))
            return true;
    return false;
}

/* True where images take the value in as a shift; *parts where as scales and shifts of a norm. */
static bool is_told_to_images(const sumi_graph *graph, int value, int *parts)
{
    for (int i = 0; i < graph->node_count; i++) {
        const sumi_node *node = &graph->nodes[i];
        if (node->kind == SUMI_KIND_NORM && !node->superseded && node->vector == value) {
            *parts = 2;
            return true;
        }
        for (int k = 0; k < node->in.count; k++)
            if (node->in.views[k].post == value)
                return true;
    }
    return false;
}

int sumi_graph_hidden_parts(const sumi_graph *graph, int index)
{
    const sumi_layer *layer = &graph->layers[index];
    int parts = 1, at = 0;
    while (at < graph->node_count && graph->nodes[at].layer != index)
        at++;
    if (at == graph->node_count ||
        (layer->kind != SUMI_KIND_CONV && layer->kind != SUMI_KIND_LINEAR))
        return 0;
    const sumi_node *node = &graph->nodes[at];
    bool hidden = edge_comes_from(graph, &node->in, is_made_by_layer);
    /* What only makes an embedding of levels and labels belongs to it. */
    if (layer->kind == SUMI_KIND_LINEAR && !edge_comes_from(graph, &node->in, is_image))
        hidden = is_told_to_images(graph, node->out, &parts);
    else if (is_attended(graph, node->out))
        parts = 3;
    return hidden && !is_result(graph, node->out) ? parts : 0;
}
