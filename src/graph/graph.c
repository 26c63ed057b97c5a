/*
 * The builder: turns calls such as conv(x), norm(x), concat(a, b) into nodes, values and views. It
 * checks channel counts and what this graph can express; the first mistake is kept in the graph and
 * makes the later calls do nothing, so that a builder of a model needs no error handling.
 */
#include "graph/graph.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- Growing arrays -------------------------------------------------------------------------- */

static bool grow(sumi_graph *graph, void **items, int count, int *capacity, size_t size)
{
    if (count < *capacity)
        return true;
    int bigger = *capacity > 0 ? *capacity * 2 : 32;
    void *moved = realloc(*items, (size_t)bigger * size);
    if (!moved) {
        graph->status = sumi_fail_memory(&graph->error, "the graph", (size_t)bigger * size);
        return false;
    }
    *items = moved;
    *capacity = bigger;
    return true;
}

static sumi_edge fail(sumi_graph *graph, sumi_status status, const char *message)
{
    if (graph->status == SUMI_OK)
        graph->status = sumi_fail(&graph->error, status, "graph: %s", message);
    return (sumi_edge){.count = 0};
}

static int add_value(sumi_graph *graph, int channels, int level, bool vector, int producer)
{
    if (!grow(graph, (void **)&graph->values, graph->value_count, &graph->value_capacity,
              sizeof *graph->values))
        return -1;
    graph->values[graph->value_count] = (sumi_value){channels, level, vector, producer};
    return graph->value_count++;
}

static int add_node(sumi_graph *graph, sumi_node node)
{
    if (!grow(graph, (void **)&graph->nodes, graph->node_count, &graph->node_capacity,
              sizeof *graph->nodes))
        return -1;
    graph->nodes[graph->node_count] = node;
    return graph->node_count++;
}

static sumi_edge raw_edge(int value)
{
    return (sumi_edge){.views = {{value, -1, SUMI_ACT_NONE, -1, 0}}, .count = 1};
}

/* A node with a value of its own. */
static sumi_edge add_output(sumi_graph *graph, sumi_node node, int channels, int level, bool vector)
{
    int value = add_value(graph, channels, level, vector, graph->node_count);
    if (value < 0)
        return (sumi_edge){.count = 0};
    node.out = value;
    return add_node(graph, node) < 0 ? (sumi_edge){.count = 0} : raw_edge(value);
}

/* ---- Life ------------------------------------------------------------------------------------ */

void sumi_graph_init(sumi_graph *graph, int in_channels, int time_dim)
{
    *graph = (sumi_graph){.in_channels = in_channels, .time_dim = time_dim};
    add_value(graph, in_channels, 0, false, -1);
    sumi_node time = {.kind = SUMI_KIND_SINUSOID, .layer = -1};
    add_output(graph, time, time_dim, 0, true);
}

void sumi_graph_free(sumi_graph *graph)
{
    sumi_params_free(&graph->params);
    free(graph->layers);
    free(graph->nodes);
    free(graph->values);
    *graph = (sumi_graph){0};
}

/* ---- Layers ---------------------------------------------------------------------------------- */

static int declare(sumi_graph *graph, const char *module, const char *leaf, sumi_param param)
{
    sumi_params *params = &graph->params;
    if (graph->status != SUMI_OK || !grow(graph, (void **)&params->items, params->count,
                                          &params->capacity, sizeof *params->items))
        return -1;
    int length = snprintf(param.name, sizeof param.name, "%s.%s", module, leaf);
    if (length < 0 || (size_t)length >= sizeof param.name) {
        fail(graph, SUMI_EINVAL, "a parameter's name is too long");
        return -1;
    }
    if (!sumi_size_product(param.shape, param.rank, &param.count)) {
        fail(graph, SUMI_EINVAL, "a parameter is too large");
        return -1;
    }
    size_t *total = &params->counter_count;
    if (sumi_param_trainable(&param))
        total = &params->value_count;
    else if (param.kind != SUMI_PARAM_COUNTER)
        total = &params->statistic_count;
    param.offset = *total;
    *total += param.count;
    params->items[params->count] = param;
    return params->count++;
}

static int add_layer(sumi_graph *graph, sumi_layer layer)
{
    if (graph->status != SUMI_OK || !grow(graph, (void **)&graph->layers, graph->layer_count,
                                          &graph->layer_capacity, sizeof *graph->layers))
        return -1;
    graph->layers[graph->layer_count] = layer;
    return graph->layer_count++;
}

static sumi_layer empty_layer(sumi_kind kind, int in, int out, int ksize)
{
    return (sumi_layer){kind, -1, -1, -1, -1, -1, in, out, ksize};
}

int sumi_graph_conv_layer(sumi_graph *graph, const char *name, int in, int out, int ksize)
{
    sumi_layer layer = empty_layer(SUMI_KIND_CONV, in, out, ksize);
    int fan_in = in * ksize * ksize;
    if (ksize != 1 && ksize != 3)
        fail(graph, SUMI_EUNSUPPORTED, "kernels are 1x1 or 3x3");
    layer.weight = declare(graph, name, "weight",
                           (sumi_param){.kind = SUMI_PARAM_CONV,
                                        .rank = 4,
                                        .shape = {out, in, ksize, ksize},
                                        .fan_in = fan_in});
    layer.bias =
        declare(graph, name, "bias",
                (sumi_param){.kind = SUMI_PARAM_BIAS, .rank = 1, .shape = {out}, .fan_in = fan_in});
    return add_layer(graph, layer);
}

int sumi_graph_linear_layer(sumi_graph *graph, const char *name, int in, int out)
{
    sumi_layer layer = empty_layer(SUMI_KIND_LINEAR, in, out, 1);
    layer.weight = declare(
        graph, name, "weight",
        (sumi_param){.kind = SUMI_PARAM_LINEAR, .rank = 2, .shape = {out, in}, .fan_in = in});
    layer.bias =
        declare(graph, name, "bias",
                (sumi_param){.kind = SUMI_PARAM_BIAS, .rank = 1, .shape = {out}, .fan_in = in});
    return add_layer(graph, layer);
}

int sumi_graph_batch_norm_layer(sumi_graph *graph, const char *name, int channels)
{
    sumi_layer layer = empty_layer(SUMI_KIND_NORM, channels, channels, 1);
    sumi_param param = {.rank = 1, .shape = {channels}};
    param.kind = SUMI_PARAM_GAMMA;
    layer.weight = declare(graph, name, "weight", param);
    param.kind = SUMI_PARAM_BETA;
    layer.bias = declare(graph, name, "bias", param);
    param.kind = SUMI_PARAM_MEAN;
    layer.mean = declare(graph, name, "running_mean", param);
    param.kind = SUMI_PARAM_VARIANCE;
    layer.variance = declare(graph, name, "running_var", param);
    layer.counter = declare(graph, name, "num_batches_tracked",
                            (sumi_param){.kind = SUMI_PARAM_COUNTER, .rank = 0});
    return add_layer(graph, layer);
}

/* ---- Nodes ----------------------------------------------------------------------------------- */

sumi_edge sumi_graph_image(const sumi_graph *graph)
{
    return graph->value_count > SUMI_IN_IMAGE ? raw_edge(SUMI_IN_IMAGE) : (sumi_edge){.count = 0};
}

sumi_edge sumi_graph_time(const sumi_graph *graph)
{
    return graph->value_count > SUMI_IN_TIME ? raw_edge(SUMI_IN_TIME) : (sumi_edge){.count = 0};
}

int sumi_edge_channels(const sumi_graph *graph, const sumi_edge *edge)
{
    int channels = 0;
    for (int i = 0; i < edge->count; i++)
        channels += graph->values[edge->views[i].value].channels;
    return channels;
}

/* True where the layer is there, and of that kind; a mistake of another kind is kept. */
static bool is_layer(sumi_graph *graph, int layer, sumi_kind kind)
{
    if (layer < 0)
        return false;
    if (graph->layers[layer].kind == kind)
        return true;
    fail(graph, SUMI_EINVAL, "a layer is used as another kind than it was declared");
    return false;
}

static const sumi_value *first_value(const sumi_graph *graph, const sumi_edge *edge)
{
    return &graph->values[edge->views[0].value];
}

/* True where a builder call may go on: nothing failed before and the edge is one. */
static bool usable(const sumi_graph *graph, const sumi_edge *edge)
{
    return graph->status == SUMI_OK && edge->count > 0;
}

static sumi_edge add_matrix(sumi_graph *graph, sumi_kind kind, sumi_edge in, int index)
{
    if (!usable(graph, &in) || !is_layer(graph, index, kind))
        return (sumi_edge){.count = 0};
    const sumi_layer *layer = &graph->layers[index];
    if (sumi_edge_channels(graph, &in) != layer->in_channels)
        return fail(graph, SUMI_ESHAPE, "a layer's input has not the declared channels");
    const sumi_value *value = first_value(graph, &in);
    if (value->vector != sumi_kind_facts(kind)->vector)
        return fail(graph, SUMI_ESHAPE, "linear layers take vectors, convolutions take images");
    sumi_node node = {.kind = kind, .in = in, .layer = index};
    return add_output(graph, node, layer->out_channels, value->level, value->vector);
}

sumi_edge sumi_graph_conv(sumi_graph *graph, sumi_edge in, int layer)
{
    return add_matrix(graph, SUMI_KIND_CONV, in, layer);
}

sumi_edge sumi_graph_linear(sumi_graph *graph, sumi_edge in, int layer)
{
    return add_matrix(graph, SUMI_KIND_LINEAR, in, layer);
}

sumi_edge sumi_graph_norm(sumi_graph *graph, sumi_edge in, int layer)
{
    if (!usable(graph, &in) || !is_layer(graph, layer, SUMI_KIND_NORM))
        return (sumi_edge){.count = 0};
    sumi_view *view = &in.views[0];
    if (in.count != 1 || view->norm >= 0 || view->act != SUMI_ACT_NONE || view->post >= 0)
        return fail(graph, SUMI_EUNSUPPORTED, "a norm takes one tensor with nothing pending on it");
    int producer = first_value(graph, &in)->producer;
    if (producer < 0 || !sumi_kind_facts(graph->nodes[producer].kind)->stores_views)
        return fail(graph, SUMI_EUNSUPPORTED, "a norm follows a convolution");
    if (sumi_edge_channels(graph, &in) != graph->layers[layer].in_channels)
        return fail(graph, SUMI_ESHAPE, "a norm's input has not the declared channels");
    sumi_node node = {.kind = SUMI_KIND_NORM, .in = in, .out = -1, .layer = layer};
    view->norm = add_node(graph, node);
    return view->norm < 0 ? (sumi_edge){.count = 0} : in;
}

sumi_edge sumi_graph_act(sumi_graph *graph, sumi_edge in, sumi_act act)
{
    if (!usable(graph, &in))
        return (sumi_edge){.count = 0};
    for (int i = 0; i < in.count; i++) {
        if (in.views[i].act != SUMI_ACT_NONE || in.views[i].post >= 0)
            return fail(graph, SUMI_EUNSUPPORTED, "an activation follows a norm or a raw tensor");
        in.views[i].act = act;
    }
    return in;
}

sumi_edge sumi_graph_shift(sumi_graph *graph, sumi_edge in, sumi_edge vector)
{
    if (!usable(graph, &in) || !usable(graph, &vector))
        return (sumi_edge){.count = 0};
    const sumi_view *from = &vector.views[0];
    if (vector.count != 1 || from->norm >= 0 || from->act != SUMI_ACT_NONE || from->post >= 0 ||
        !graph->values[from->value].vector)
        return fail(graph, SUMI_EUNSUPPORTED, "a shift is one vector with nothing pending on it");
    if (first_value(graph, &in)->vector)
        return fail(graph, SUMI_EUNSUPPORTED, "a shift is added to images, not to vectors");
    if (sumi_edge_channels(graph, &in) != sumi_edge_channels(graph, &vector))
        return fail(graph, SUMI_ESHAPE, "a shift has not its input's channels");
    int offset = 0;
    for (int i = 0; i < in.count; i++) {
        if (in.views[i].post >= 0)
            return fail(graph, SUMI_EUNSUPPORTED, "a view takes one shift");
        in.views[i].post = from->value;
        in.views[i].post_offset = offset;
        offset += graph->values[in.views[i].value].channels;
    }
    return in;
}

sumi_edge sumi_graph_concat(sumi_graph *graph, sumi_edge a, sumi_edge b)
{
    if (!usable(graph, &a) || !usable(graph, &b))
        return (sumi_edge){.count = 0};
    if (a.count + b.count > SUMI_SOURCES_MAX)
        return fail(graph, SUMI_EUNSUPPORTED, "too many tensors in one concatenation");
    if (first_value(graph, &a)->level != first_value(graph, &b)->level ||
        first_value(graph, &a)->vector != first_value(graph, &b)->vector)
        return fail(graph, SUMI_ESHAPE, "a concatenation of different heights");
    for (int i = 0; i < b.count; i++)
        a.views[a.count++] = b.views[i];
    return a;
}

/* One view in, a tensor of another size out. */
static sumi_edge add_resampling(sumi_graph *graph, sumi_kind kind, sumi_edge in)
{
    if (!usable(graph, &in))
        return (sumi_edge){.count = 0};
    if (in.count != 1)
        return fail(graph, SUMI_EUNSUPPORTED, "resampling takes one tensor, not a concatenation");
    const sumi_value *value = first_value(graph, &in);
    int level = value->level + sumi_kind_facts(kind)->level_change;
    if (level < 0 || value->vector)
        return fail(graph, SUMI_EUNSUPPORTED, "upsampling beyond the input's size");
    if (level > graph->levels)
        graph->levels = level;
    sumi_node node = {.kind = kind, .in = in, .layer = -1};
    return add_output(graph, node, value->channels, level, false);
}

sumi_edge sumi_graph_max_pool(sumi_graph *graph, sumi_edge in)
{
    return add_resampling(graph, SUMI_KIND_MAX_POOL, in);
}

sumi_edge sumi_graph_upsample(sumi_graph *graph, sumi_edge in)
{
    return add_resampling(graph, SUMI_KIND_UPSAMPLE, in);
}

void sumi_graph_output(sumi_graph *graph, sumi_edge out)
{
    if (!usable(graph, &out))
        return;
    const sumi_view *view = &out.views[0];
    if (out.count != 1 || view->norm >= 0 || view->act != SUMI_ACT_NONE || view->post >= 0)
        fail(graph, SUMI_EUNSUPPORTED, "the output is one tensor with nothing pending on it");
    else
        graph->output = out;
}

/* ---- A whole graph --------------------------------------------------------------------------- */

bool sumi_edge_reads(const sumi_edge *edge, int value)
{
    for (int i = 0; i < edge->count; i++)
        if (edge->views[i].value == value || edge->views[i].post == value)
            return true;
    return false;
}

static bool reads_value(const sumi_node *reader, int value)
{
    /* What is pending computes only with what reads it. */
    return !sumi_kind_facts(reader->kind)->pending && sumi_edge_reads(&reader->in, value);
}

static bool reads_norm(const sumi_node *reader, int norm)
{
    for (int i = 0; i < reader->in.count; i++)
        if (reader->in.views[i].norm == norm)
            return true;
    return false;
}

/* A tensor that nobody reads would leave its producer a gradient that nobody writes; that of the
 * output is written by the loss, alone. */
sumi_status sumi_graph_check_readers(const sumi_graph *graph, sumi_error *err)
{
    if (graph->output.count == 0)
        return sumi_fail(err, SUMI_EINVAL, "graph: it has no output");
    for (int i = 1; i < graph->node_count; i++) { /* node 0, the time embedding, may be unread */
        int value = graph->nodes[i].out;
        bool is_read = false, is_output = graph->output.views[0].value == value;
        for (int j = 0; j < graph->node_count; j++)
            is_read |=
                value < 0 ? reads_norm(&graph->nodes[j], i) : reads_value(&graph->nodes[j], value);
        if (is_read == is_output)
            return sumi_fail(err, SUMI_EUNSUPPORTED,
                             is_output ? "graph: its output (of node %d) is read by a layer"
                                       : "graph: nothing reads the output of node %d",
                             i);
    }
    return SUMI_OK;
}
