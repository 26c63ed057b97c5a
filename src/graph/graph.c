/*
 * The builder: turns calls such as conv(x), norm(x), concat(a, b) into nodes, values and views. It
 * checks channel counts and what this graph can express; the first mistake is kept in the graph and
 * makes the later calls do nothing, so that a builder of a model needs no error handling.
 */
#include "graph/graph.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    graph->values[graph->value_count] = (sumi_value){.channels = channels,
                                                     .level = level,
                                                     .vector = vector,
                                                     .producer = producer,
                                                     .forms = {{-1, 0, SUMI_ACT_NONE}},
                                                     .form_count = 1};
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

/* A node that reads `in`, without a value. */
static sumi_node reader_of(sumi_kind kind, sumi_edge in, int layer)
{
    return (sumi_node){
        .kind = kind, .in = in, .out = -1, .layer = layer, .vector = -1, .labels = -1};
}

static sumi_edge raw_edge(int value)
{
    return (sumi_edge){.views = {{.value = value, .form = 0, .post = -1}}, .count = 1};
}

/* A node with a value of its own. */
static sumi_edge add_output(sumi_graph *graph, sumi_node node, int channels, int level, bool vector)
{
    int value = add_value(graph, channels, level, vector, graph->node_count);
    if (value < 0)
        return (sumi_edge){.count = 0};
    node.out = value;
    const sumi_value *from = &graph->values[node.in.views[0].value];
    graph->values[value].padded =
        !vector && node.kind != SUMI_KIND_CROP && (from->padded || node.kind == SUMI_KIND_PAD);
    return add_node(graph, node) < 0 ? (sumi_edge){.count = 0} : raw_edge(value);
}

/* ---- Life ------------------------------------------------------------------------------------ */

void sumi_graph_init(sumi_graph *graph)
{
    *graph = (sumi_graph){.image = -1, .time = -1, .labels = -1, .condition = -1};
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
    param.gain = 1;
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
    return (sumi_layer){.kind = kind,
                        .weight = -1,
                        .bias = -1,
                        .mean = -1,
                        .variance = -1,
                        .counter = -1,
                        .in_channels = in,
                        .out_channels = out,
                        .ksize = ksize};
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

static void declare_affine(sumi_graph *graph, const char *name, sumi_layer *layer)
{
    sumi_param param = {.rank = 1, .shape = {layer->in_channels}};
    param.kind = SUMI_PARAM_GAMMA;
    layer->weight = declare(graph, name, "weight", param);
    param.kind = SUMI_PARAM_BETA;
    layer->bias = declare(graph, name, "bias", param);
}

int sumi_graph_batch_norm_layer(sumi_graph *graph, const char *name, int channels)
{
    sumi_layer layer = empty_layer(SUMI_KIND_NORM, channels, channels, 1);
    sumi_param param = {.rank = 1, .shape = {channels}};
    declare_affine(graph, name, &layer);
    param.kind = SUMI_PARAM_MEAN;
    layer.mean = declare(graph, name, "running_mean", param);
    param.kind = SUMI_PARAM_VARIANCE;
    layer.variance = declare(graph, name, "running_var", param);
    layer.counter = declare(graph, name, "num_batches_tracked",
                            (sumi_param){.kind = SUMI_PARAM_COUNTER, .rank = 0});
    return add_layer(graph, layer);
}

int sumi_graph_group_norm_layer(sumi_graph *graph, const char *name, int channels, int groups,
                                bool affine)
{
    sumi_layer layer = empty_layer(SUMI_KIND_NORM, channels, channels, 1);
    layer.groups = groups;
    if (groups < 1 || channels % groups != 0)
        fail(graph, SUMI_EINVAL, "a group norm's channels are no multiple of its groups");
    if (affine)
        declare_affine(graph, name, &layer);
    return add_layer(graph, layer);
}

int sumi_graph_embedding_layer(sumi_graph *graph, const char *name, int rows, int dim)
{
    sumi_layer layer = empty_layer(SUMI_KIND_EMBEDDING, rows, dim, 1);
    layer.weight = declare(graph, name, "weight",
                           (sumi_param){.kind = SUMI_PARAM_ROWS, .rank = 2, .shape = {rows, dim}});
    return add_layer(graph, layer);
}

void sumi_graph_scale_init(sumi_graph *graph, int layer, float gain)
{
    if (graph->status != SUMI_OK || layer < 0)
        return;
    const sumi_layer *of = &graph->layers[layer];
    graph->params.items[of->weight].gain = gain;
    if (of->bias >= 0)
        graph->params.items[of->bias].gain = gain;
}

/* ---- Forms ----------------------------------------------------------------------------------- */

static bool is_plain(const sumi_view *view)
{
    return view->form == 0 && view->post < 0;
}

/* The index of a form of a value, which is added where it has none such; -1: too many. */
static int form_of(sumi_graph *graph, int index, sumi_form form)
{
    sumi_value *value = &graph->values[index];
    for (int i = 0; i < value->form_count; i++)
        if (value->forms[i].norm == form.norm && value->forms[i].first == form.first &&
            value->forms[i].act == form.act)
            return i;
    if (value->form_count == SUMI_FORMS_MAX) {
        fail(graph, SUMI_EUNSUPPORTED, "a tensor is read in too many forms");
        return -1;
    }
    value->forms[value->form_count] = form;
    return value->form_count++;
}

/* Gives each view of an edge the form that its part of a norm makes. */
static sumi_edge with_norm(sumi_graph *graph, sumi_edge in, int norm)
{
    int first = 0;
    if (norm < 0)
        return (sumi_edge){.count = 0};
    for (int i = 0; i < in.count; i++) {
        in.views[i].form =
            form_of(graph, in.views[i].value, (sumi_form){norm, first, SUMI_ACT_NONE});
        if (in.views[i].form < 0)
            return (sumi_edge){.count = 0};
        first += graph->values[in.views[i].value].channels;
    }
    return in;
}

/* ---- Nodes ----------------------------------------------------------------------------------- */

int sumi_edge_channels(const sumi_graph *graph, const sumi_edge *edge)
{
    int channels = 0;
    for (int i = 0; i < edge->count; i++)
        channels += graph->values[edge->views[i].value].channels;
    return channels;
}

/* Takes a layer for a node; false where it is not there, of another kind (a mistake that is kept),
 * or taken: two nodes would each write its gradient. */
static bool take_layer(sumi_graph *graph, int layer, sumi_kind kind)
{
    if (layer < 0 || graph->status != SUMI_OK)
        return false;
    if (graph->layers[layer].kind != kind)
        fail(graph, SUMI_EINVAL, "a layer is used as another kind than it was declared");
    else if (graph->layers[layer].used)
        fail(graph, SUMI_EUNSUPPORTED, "a layer is used twice");
    graph->layers[layer].used = true;
    return graph->status == SUMI_OK;
}

static const sumi_value *first_value(const sumi_graph *graph, const sumi_edge *edge)
{
    return &graph->values[edge->views[0].value];
}

/* True where a builder call may go on: nothing failed before and the edge is one, of tensors. */
static bool usable(sumi_graph *graph, const sumi_edge *edge)
{
    if (graph->status != SUMI_OK || edge->count == 0)
        return false;
    if (first_value(graph, edge)->numbers)
        fail(graph, SUMI_EUNSUPPORTED, "labels are read by embeddings and losses alone");
    return graph->status == SUMI_OK;
}

/* True where it is one raw vector. */
static bool is_vector(const sumi_graph *graph, const sumi_edge *edge)
{
    return edge->count == 1 && is_plain(&edge->views[0]) && first_value(graph, edge)->vector;
}

static sumi_edge add_input(sumi_graph *graph, int *input, int channels, bool vector)
{
    if (*input >= 0)
        return fail(graph, SUMI_EINVAL, "an input is declared twice");
    if (channels < 1)
        return fail(graph, SUMI_EINVAL, "an input has no channels");
    *input = add_value(graph, channels, 0, vector, -1);
    return *input < 0 ? (sumi_edge){.count = 0} : raw_edge(*input);
}

sumi_edge sumi_graph_input_image(sumi_graph *graph, int channels)
{
    return add_input(graph, &graph->image, channels, false);
}

sumi_edge sumi_graph_input_time(sumi_graph *graph)
{
    return add_input(graph, &graph->time, 1, true);
}

sumi_edge sumi_graph_input_labels(sumi_graph *graph, int classes)
{
    sumi_edge edge = add_input(graph, &graph->labels, 1, true);
    if (edge.count > 0)
        graph->values[graph->labels].numbers = true;
    graph->classes = classes;
    return classes < 1 ? fail(graph, SUMI_EINVAL, "labels without classes") : edge;
}

/* True where the edge is the time, as it came in. */
static bool is_time(sumi_graph *graph, const sumi_edge *time, int dim)
{
    if (!usable(graph, time))
        return false;
    if (time->count != 1 || !is_plain(&time->views[0]) || time->views[0].value != graph->time)
        fail(graph, SUMI_EUNSUPPORTED, "an embedding of time reads the input of that name");
    else if (dim < 1)
        fail(graph, SUMI_EINVAL, "an embedding without dimensions");
    return graph->status == SUMI_OK;
}

sumi_edge sumi_graph_sinusoid(sumi_graph *graph, sumi_edge time, int dim)
{
    if (!is_time(graph, &time, dim))
        return (sumi_edge){.count = 0};
    return add_output(graph, reader_of(SUMI_KIND_SINUSOID, time, -1), dim, 0, true);
}

sumi_edge sumi_graph_fourier(sumi_graph *graph, sumi_edge time, int dim, double lowest,
                             double highest)
{
    if (!is_time(graph, &time, dim))
        return (sumi_edge){.count = 0};
    if (dim % 2 != 0 || !(lowest > 0 && highest >= lowest))
        return fail(graph, SUMI_EINVAL,
                    "frequencies are pairs, from a lowest above 0 to a highest");
    sumi_node node = reader_of(SUMI_KIND_FOURIER, time, -1);
    node.lowest = lowest;
    node.ratio = dim > 2 ? pow(highest / lowest, 1.0 / (dim / 2 - 1)) : 1;
    return add_output(graph, node, dim, 0, true);
}

sumi_edge sumi_graph_embedding(sumi_graph *graph, sumi_edge labels, int index)
{
    if (labels.count == 0 || !take_layer(graph, index, SUMI_KIND_EMBEDDING))
        return (sumi_edge){.count = 0};
    const sumi_layer *layer = &graph->layers[index];
    if (labels.views[0].value != graph->labels || layer->in_channels != graph->classes + 1)
        return fail(graph, SUMI_ESHAPE, "an embedding has a row for each label, and one for none");
    return add_output(graph, reader_of(SUMI_KIND_EMBEDDING, labels, index), layer->out_channels, 0,
                      true);
}

int sumi_graph_told(const sumi_graph *graph)
{
    return graph->condition >= 0 ? graph->values[graph->condition].channels : 0;
}

sumi_edge sumi_graph_condition(sumi_graph *graph, int numbers)
{
    sumi_edge in = add_input(graph, &graph->condition, numbers, true);
    if (!usable(graph, &in))
        return (sumi_edge){.count = 0};
    return add_output(graph, reader_of(SUMI_KIND_CONDITION, in, -1), numbers, 0, true);
}

static sumi_edge add_matrix(sumi_graph *graph, sumi_kind kind, sumi_edge in, int index)
{
    if (!usable(graph, &in) || !take_layer(graph, index, kind))
        return (sumi_edge){.count = 0};
    const sumi_layer *layer = &graph->layers[index];
    if (sumi_edge_channels(graph, &in) != layer->in_channels)
        return fail(graph, SUMI_ESHAPE, "a layer's input has not the declared channels");
    const sumi_value *value = first_value(graph, &in);
    if (value->vector != sumi_kind_facts(kind)->reads_vectors)
        return fail(graph, SUMI_ESHAPE, "linear layers take vectors, convolutions take images");
    return add_output(graph, reader_of(kind, in, index), layer->out_channels, value->level,
                      value->vector);
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
    if (!usable(graph, &in) || !take_layer(graph, layer, SUMI_KIND_NORM))
        return (sumi_edge){.count = 0};
    for (int i = 0; i < in.count; i++)
        if (!is_plain(&in.views[i]) || graph->values[in.views[i].value].vector)
            return fail(graph, SUMI_EUNSUPPORTED,
                        "a norm takes images with nothing pending on them");
    if (sumi_edge_channels(graph, &in) != graph->layers[layer].in_channels)
        return fail(graph, SUMI_ESHAPE, "a norm's input has not the declared channels");
    return with_norm(graph, in, add_node(graph, reader_of(SUMI_KIND_NORM, in, layer)));
}

sumi_edge sumi_graph_modulate(sumi_graph *graph, sumi_edge in, sumi_edge vector)
{
    if (!usable(graph, &in) || !usable(graph, &vector))
        return (sumi_edge){.count = 0};
    int norm = sumi_view_form(graph, &in.views[0])->norm;
    for (int i = 0; i < in.count; i++) {
        const sumi_form *form = sumi_view_form(graph, &in.views[i]);
        if (norm < 0 || form->norm != norm || form->act != SUMI_ACT_NONE || in.views[i].post >= 0 ||
            in.count != graph->nodes[norm].in.count || graph->nodes[norm].vector >= 0)
            return fail(graph, SUMI_EUNSUPPORTED, "a modulation follows a norm");
    }
    if (!is_vector(graph, &vector))
        return fail(graph, SUMI_EUNSUPPORTED,
                    "a modulation is one vector with nothing pending on it");
    if (2 * sumi_edge_channels(graph, &in) != sumi_edge_channels(graph, &vector))
        return fail(graph, SUMI_ESHAPE, "a modulation has not twice its input's channels");
    /* Behind the vector's node, and instead of the norm's. */
    sumi_node node = graph->nodes[norm];
    graph->nodes[norm].superseded = true;
    node.vector = vector.views[0].value;
    return with_norm(graph, in, add_node(graph, node));
}

sumi_edge sumi_graph_act(sumi_graph *graph, sumi_edge in, sumi_act act)
{
    if (!usable(graph, &in))
        return (sumi_edge){.count = 0};
    for (int i = 0; i < in.count; i++) {
        sumi_form form = *sumi_view_form(graph, &in.views[i]);
        if (form.act != SUMI_ACT_NONE || in.views[i].post >= 0)
            return fail(graph, SUMI_EUNSUPPORTED, "an activation follows a norm or a raw tensor");
        form.act = act;
        in.views[i].form = form_of(graph, in.views[i].value, form);
        if (in.views[i].form < 0)
            return (sumi_edge){.count = 0};
    }
    return in;
}

sumi_edge sumi_graph_shift(sumi_graph *graph, sumi_edge in, sumi_edge vector)
{
    if (!usable(graph, &in) || !usable(graph, &vector))
        return (sumi_edge){.count = 0};
    if (!is_vector(graph, &vector))
        return fail(graph, SUMI_EUNSUPPORTED, "a shift is one vector with nothing pending on it");
    if (first_value(graph, &in)->vector)
        return fail(graph, SUMI_EUNSUPPORTED, "a shift is added to images, not to vectors");
    if (sumi_edge_channels(graph, &in) != sumi_edge_channels(graph, &vector))
        return fail(graph, SUMI_ESHAPE, "a shift has not its input's channels");
    int offset = 0;
    for (int i = 0; i < in.count; i++) {
        if (in.views[i].post >= 0)
            return fail(graph, SUMI_EUNSUPPORTED, "a view takes one shift");
        in.views[i].post = vector.views[0].value;
        in.views[i].post_offset = offset;
        offset += graph->values[in.views[i].value].channels;
    }
    return in;
}

static bool same_size(const sumi_graph *graph, const sumi_edge *a, const sumi_edge *b)
{
    return first_value(graph, a)->level == first_value(graph, b)->level &&
           first_value(graph, a)->padded == first_value(graph, b)->padded &&
           first_value(graph, a)->vector == first_value(graph, b)->vector;
}

sumi_edge sumi_graph_concat(sumi_graph *graph, sumi_edge a, sumi_edge b)
{
    if (!usable(graph, &a) || !usable(graph, &b))
        return (sumi_edge){.count = 0};
    if (a.count + b.count > SUMI_SOURCES_MAX)
        return fail(graph, SUMI_EUNSUPPORTED, "too many tensors in one concatenation");
    if (!same_size(graph, &a, &b))
        return fail(graph, SUMI_ESHAPE, "a concatenation of different heights");
    for (int i = 0; i < b.count; i++)
        a.views[a.count++] = b.views[i];
    return a;
}

sumi_edge sumi_graph_add(sumi_graph *graph, sumi_edge a, sumi_edge b)
{
    if (!usable(graph, &a) || !usable(graph, &b))
        return (sumi_edge){.count = 0};
    if (a.count != 1 || b.count != 1)
        return fail(graph, SUMI_EUNSUPPORTED, "an addition takes tensors, not concatenations");
    if (!same_size(graph, &a, &b) || sumi_edge_channels(graph, &a) != sumi_edge_channels(graph, &b))
        return fail(graph, SUMI_ESHAPE, "an addition of different sizes");
    const sumi_value value = *first_value(graph, &a);
    a.views[a.count++] = b.views[0];
    return add_output(graph, reader_of(SUMI_KIND_ADD, a, -1), value.channels, value.level,
                      value.vector);
}

/* One view in, a tensor of another size out, or a vector. */
static sumi_edge add_resampling(sumi_graph *graph, sumi_kind kind, sumi_edge in)
{
    const sumi_facts *facts = sumi_kind_facts(kind);
    if (!usable(graph, &in))
        return (sumi_edge){.count = 0};
    if (in.count != 1)
        return fail(graph, SUMI_EUNSUPPORTED, "resampling takes one tensor, not a concatenation");
    const sumi_value *value = first_value(graph, &in);
    int level = facts->gives_vector ? 0 : value->level + facts->level_change;
    if (graph->pads && !value->padded && level > 0)
        return fail(graph, SUMI_EUNSUPPORTED, "the image is halved where it is padded");
    if (level < 0 || value->vector)
        return fail(graph, SUMI_EUNSUPPORTED, "upsampling beyond the input's size");
    if (level > graph->levels)
        graph->levels = level;
    return add_output(graph, reader_of(kind, in, -1), value->channels, level, facts->gives_vector);
}

sumi_edge sumi_graph_max_pool(sumi_graph *graph, sumi_edge in)
{
    return add_resampling(graph, SUMI_KIND_MAX_POOL, in);
}

sumi_edge sumi_graph_avg_pool(sumi_graph *graph, sumi_edge in)
{
    return add_resampling(graph, SUMI_KIND_AVG_POOL, in);
}

sumi_edge sumi_graph_subsample(sumi_graph *graph, sumi_edge in)
{
    return add_resampling(graph, SUMI_KIND_SUBSAMPLE, in);
}

sumi_edge sumi_graph_upsample(sumi_graph *graph, sumi_edge in)
{
    return add_resampling(graph, SUMI_KIND_UPSAMPLE, in);
}

sumi_edge sumi_graph_upsample_nearest(sumi_graph *graph, sumi_edge in)
{
    return add_resampling(graph, SUMI_KIND_UPSAMPLE_NEAREST, in);
}

sumi_edge sumi_graph_mean(sumi_graph *graph, sumi_edge in)
{
    return add_resampling(graph, SUMI_KIND_MEAN, in);
}

sumi_edge sumi_graph_attention(sumi_graph *graph, sumi_edge in, int heads)
{
    if (!usable(graph, &in))
        return (sumi_edge){.count = 0};
    const sumi_value value = *first_value(graph, &in);
    if (in.count != 1 || value.vector)
        return fail(graph, SUMI_EUNSUPPORTED, "attention reads one tensor of images");
    if (heads < 1 || value.channels % (3 * heads) != 0)
        return fail(graph, SUMI_ESHAPE,
                    "attention has queries, keys and values, as many of each for every head");
    sumi_node node = reader_of(SUMI_KIND_ATTENTION, in, -1);
    node.heads = heads;
    return add_output(graph, node, value.channels / 3, value.level, false);
}

sumi_edge sumi_graph_pad(sumi_graph *graph, sumi_edge image)
{
    if (!usable(graph, &image))
        return (sumi_edge){.count = 0};
    if (image.count != 1 || !is_plain(&image.views[0]) || image.views[0].value != graph->image ||
        graph->pads || graph->levels > 0)
        return fail(graph, SUMI_EUNSUPPORTED, "the image is padded once, first of all");
    graph->pads = true;
    return add_output(graph, reader_of(SUMI_KIND_PAD, image, -1), sumi_edge_channels(graph, &image),
                      0, false);
}

sumi_edge sumi_graph_crop(sumi_graph *graph, sumi_edge in)
{
    if (!usable(graph, &in))
        return (sumi_edge){.count = 0};
    if (in.count != 1 || !first_value(graph, &in)->padded || first_value(graph, &in)->level > 0)
        return fail(graph, SUMI_EUNSUPPORTED, "what is cropped is one tensor of the padded size");
    return add_output(graph, reader_of(SUMI_KIND_CROP, in, -1), sumi_edge_channels(graph, &in), 0,
                      false);
}

/* ---- Outputs and losses ---------------------------------------------------------------------- */

void sumi_graph_output(sumi_graph *graph, const char *name, sumi_edge out)
{
    if (!usable(graph, &out))
        return;
    sumi_output *output = &graph->outputs[graph->output_count];
    if (out.count != 1 || !is_plain(&out.views[0]) || first_value(graph, &out)->producer < 0)
        fail(graph, SUMI_EUNSUPPORTED, "the output is one tensor with nothing pending on it");
    else if (graph->output_count == SUMI_OUTPUTS_MAX ||
             sumi_graph_is_output(graph, out.views[0].value) || strlen(name) >= sizeof output->name)
        fail(graph, SUMI_EUNSUPPORTED, "too many outputs, one of them twice, or a long name");
    else {
        memcpy(output->name, name, strlen(name) + 1);
        output->value = out.views[0].value;
        graph->output_count++;
    }
}

/* A loss writes its output's gradient, the first of all that add to it. */
static void add_loss(sumi_graph *graph, sumi_node node)
{
    if (node.in.count != 1 || !is_plain(&node.in.views[0]) ||
        !sumi_graph_is_output(graph, node.in.views[0].value)) {
        fail(graph, SUMI_EUNSUPPORTED, "a loss is one of an output");
        return;
    }
    for (int i = 0; i < graph->node_count; i++)
        if (sumi_kind_facts(graph->nodes[i].kind)->loss &&
            sumi_edge_reads(&graph->nodes[i].in, node.in.views[0].value))
            fail(graph, SUMI_EUNSUPPORTED, "an output has one loss");
    if (sumi_kind_facts(node.kind)->reads_vectors && !first_value(graph, &node.in)->vector)
        fail(graph, SUMI_ESHAPE, "cross entropy is a loss of vectors");
    if (graph->status == SUMI_OK)
        add_node(graph, node);
}

void sumi_graph_loss_mse(sumi_graph *graph, sumi_edge out)
{
    if (usable(graph, &out))
        add_loss(graph, reader_of(SUMI_KIND_MSE, out, -1));
}

void sumi_graph_loss_cross_entropy(sumi_graph *graph, sumi_edge logits, sumi_edge labels,
                                   double smoothing)
{
    if (!usable(graph, &logits) || labels.count == 0)
        return;
    sumi_node node = reader_of(SUMI_KIND_CROSS_ENTROPY, logits, -1);
    node.labels = labels.views[0].value;
    node.smoothing = smoothing;
    if (node.labels != graph->labels || sumi_edge_channels(graph, &logits) != graph->classes)
        fail(graph, SUMI_ESHAPE, "cross entropy takes labels, and a logit for each class");
    else if (!(smoothing >= 0 && smoothing < 1))
        fail(graph, SUMI_EINVAL, "label smoothing is from 0 to below 1");
    else
        add_loss(graph, node);
}

int sumi_graph_size(const sumi_graph *graph, int value, int size)
{
    const sumi_value *v = &graph->values[value];
    int multiple = 1 << graph->levels;
    if (v->vector)
        return 1;
    return (v->padded ? (size + multiple - 1) / multiple * multiple : size) >> v->level;
}

/* ---- A whole graph --------------------------------------------------------------------------- */

bool sumi_edge_reads(const sumi_edge *edge, int value)
{
    for (int i = 0; i < edge->count; i++)
        if (edge->views[i].value == value || edge->views[i].post == value)
            return true;
    return false;
}

bool sumi_graph_is_output(const sumi_graph *graph, int value)
{
    for (int i = 0; i < graph->output_count; i++)
        if (graph->outputs[i].value == value)
            return true;
    return false;
}

static bool reads_value(const sumi_node *reader, int value)
{
    /* What is pending computes only with what reads it. */
    if (sumi_kind_facts(reader->kind)->pending)
        return !reader->superseded && reader->vector == value;
    return sumi_edge_reads(&reader->in, value);
}

static bool reads_norm(const sumi_graph *graph, const sumi_node *reader, int norm)
{
    if (sumi_kind_facts(reader->kind)->pending)
        return false;
    for (int i = 0; i < reader->in.count; i++)
        if (sumi_view_form(graph, &reader->in.views[i])->norm == norm)
            return true;
    return false;
}

/* A loss writes the first share of its output's gradient, so that no later node may read that. */
static sumi_status check_loss(const sumi_graph *graph, int loss, sumi_error *err)
{
    for (int i = loss + 1; i < graph->node_count; i++)
        if (reads_value(&graph->nodes[i], graph->nodes[loss].in.views[0].value))
            return sumi_fail(err, SUMI_EUNSUPPORTED,
                             "graph: node %d reads an output behind its loss", i);
    return SUMI_OK;
}

/* What nobody reads would leave its producer a gradient that nobody writes. */
sumi_status sumi_graph_check_readers(const sumi_graph *graph, sumi_error *err)
{
    if (graph->output_count == 0)
        return sumi_fail(err, SUMI_EINVAL, "graph: it has no output");
    for (int i = 0; i < graph->node_count; i++) {
        const sumi_node *node = &graph->nodes[i];
        const sumi_facts *facts = sumi_kind_facts(node->kind);
        bool is_read = facts->loss || (!facts->pending && sumi_graph_is_output(graph, node->out));
        for (int j = 0; j < graph->node_count && !is_read; j++)
            is_read = facts->pending ? reads_norm(graph, &graph->nodes[j], i)
                                     : reads_value(&graph->nodes[j], node->out);
        if (node->superseded && is_read)
            return sumi_fail(err, SUMI_EUNSUPPORTED,
                             "graph: norm %d is read with and without its modulation", i);
        if (!node->superseded && !is_read)
            return sumi_fail(err, SUMI_EUNSUPPORTED, "graph: nothing reads the output of node %d",
                             i);
        sumi_status status = facts->loss ? check_loss(graph, i, err) : SUMI_OK;
        if (status != SUMI_OK)
            return status;
    }
    return SUMI_OK;
}
