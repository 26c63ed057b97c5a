/*
 * Draws graphs: see random_graph.h. It grows a set of raw tensors, each step reading some of them
 * in forms of its own, and in the end gathers whatever nobody read into the outputs.
 */
#include "cpu/random_graph.h"

#include <stdio.h>

enum { TENSORS_MAX = 48, NORMED_MAX = 16, VECTORS_MAX = 16, VECTOR_DIM = 6 };

typedef struct {
    sumi_graph *graph;
    dice *dice;
    sumi_edge tensors[TENSORS_MAX]; /* raw, of images */
    int count;
    sumi_edge normed[NORMED_MAX]; /* with a norm pending, and nothing behind it */
    int normed_count;
    sumi_edge vector;               /* of times and labels; count 0: there is none */
    sumi_edge vectors[VECTORS_MAX]; /* that shift and modulate images */
    int vector_count;
    int names;
    bool kinks;      /* ReLU and maxima may be drawn */
    int unit, units; /* channels are up to so many times the unit */
} drawing;

int dice_below(dice *d, int count)
{
    sumi_random at = {d->seed, SUMI_STREAM_USER, 0, 0};
    return (int)sumi_random_below(&at, d->drawn++, (uint32_t)count);
}

static int below(drawing *d, int count)
{
    return dice_below(d->dice, count);
}

static sumi_act activation(drawing *d)
{
    return d->kinks && below(d, 2) ? SUMI_ACT_RELU : SUMI_ACT_SILU;
}

/* A name that no layer has yet. */
static const char *name(drawing *d, char out[16])
{
    snprintf(out, 16, "layer%d", d->names++);
    return out;
}

static int channels_of(const drawing *d, sumi_edge edge)
{
    return sumi_edge_channels(d->graph, &edge);
}

static int level_of(const drawing *d, const sumi_edge *edge)
{
    return d->graph->values[edge->views[0].value].level;
}

static void keep(drawing *d, sumi_edge edge)
{
    if (edge.count > 0 && d->count < TENSORS_MAX)
        d->tensors[d->count++] = edge;
}

static sumi_edge linear(drawing *d, int out)
{
    char text[16];
    sumi_edge in = d->vector;
    if (below(d, 2))
        in = sumi_graph_act(d->graph, in, activation(d));
    return sumi_graph_linear(
        d->graph, in, sumi_graph_linear_layer(d->graph, name(d, text), channels_of(d, in), out));
}

/* A vector of so many channels for a shift or a modulation; several may read one. */
static sumi_edge vector_of(drawing *d, int channels)
{
    bool again = below(d, 2);
    for (int i = 0; i < d->vector_count && again; i++)
        if (channels_of(d, d->vectors[i]) == channels)
            return d->vectors[i];
    sumi_edge vector = linear(d, channels);
    if (d->vector_count < VECTORS_MAX)
        d->vectors[d->vector_count++] = vector;
    return vector;
}

static sumi_edge conv(drawing *d, sumi_edge in, int out)
{
    char text[16];
    int layer = sumi_graph_conv_layer(d->graph, name(d, text), channels_of(d, in), out,
                                      below(d, 3) ? 3 : 1);
    return sumi_graph_conv(d->graph, in, layer);
}

static sumi_edge norm(drawing *d, sumi_edge in)
{
    char text[16];
    int c = channels_of(d, in), groups = 1 + below(d, c), layer;
    while (c % groups != 0)
        groups--;
    if (below(d, 3) == 0)
        layer = sumi_graph_batch_norm_layer(d->graph, name(d, text), c);
    else
        layer = sumi_graph_group_norm_layer(d->graph, name(d, text), c, groups, below(d, 4) > 0);
    in = sumi_graph_norm(d->graph, in, layer);
    if (d->vector.count > 0 && below(d, 3) == 0)
        in = sumi_graph_modulate(d->graph, in, vector_of(d, 2 * c));
    if (d->normed_count < NORMED_MAX)
        d->normed[d->normed_count++] = in;
    return in;
}

/* The same tensors with a norm that they have already, or count 0. */
static sumi_edge normed_before(const drawing *d, const sumi_edge *in)
{
    for (int i = 0; i < d->normed_count; i++) {
        const sumi_edge *old = &d->normed[i];
        bool same = old->count == in->count;
        for (int s = 0; s < in->count && same; s++)
            same = old->views[s].value == in->views[s].value;
        if (same)
            return *old;
    }
    return (sumi_edge){.count = 0};
}

/* Something or nothing pending on raw tensors. */
static sumi_edge dress(drawing *d, sumi_edge in)
{
    for (int i = 0; i < in.count; i++)
        if (d->graph->values[in.views[i].value].form_count > SUMI_FORMS_MAX - 3)
            return in;
    sumi_edge before = normed_before(d, &in);
    if (before.count > 0 && below(d, 3))
        in = before;
    else if (below(d, 2))
        in = norm(d, in);
    if (below(d, 3))
        in = sumi_graph_act(d->graph, in, activation(d));
    if (d->vector.count > 0 && below(d, 4) == 0)
        in = sumi_graph_shift(d->graph, in, vector_of(d, channels_of(d, in)));
    return in;
}

/* Channels of a new tensor. */
static int width(drawing *d)
{
    return (1 + below(d, d->units)) * d->unit;
}

static sumi_edge pick(drawing *d)
{
    /* Mostly a late one, so that graphs grow deep. */
    int last = d->count < 4 ? d->count : 4;
    return d->tensors[below(d, 3) ? d->count - 1 - below(d, last) : below(d, d->count)];
}

/* Another tensor of the same size, with so many channels (0: any); count 0: none. */
static sumi_edge pick_beside(drawing *d, sumi_edge edge, int channels)
{
    int from = below(d, d->count);
    for (int i = 0; i < d->count; i++) {
        sumi_edge other = d->tensors[(from + i) % d->count];
        if (other.views[0].value != edge.views[0].value &&
            level_of(d, &other) == level_of(d, &edge) &&
            (channels == 0 || channels_of(d, other) == channels))
            return other;
    }
    return (sumi_edge){.count = 0};
}

static void draw_conv(drawing *d)
{
    sumi_edge in = pick(d), other = pick_beside(d, in, 0);
    bool whole = below(d, 2);
    if (other.count > 0 && below(d, 2))
        in = whole ? dress(d, sumi_graph_concat(d->graph, in, other))
                   : sumi_graph_concat(d->graph, dress(d, in), dress(d, other));
    else
        in = dress(d, in);
    keep(d, conv(d, in, width(d)));
}

static void draw_add(drawing *d)
{
    sumi_edge a = pick(d), b = pick_beside(d, a, channels_of(d, a));
    if (b.count == 0)
        return;
    bool dressed = below(d, 3) == 0;
    keep(d, sumi_graph_add(d->graph, dressed ? dress(d, a) : a, below(d, 4) ? b : dress(d, b)));
}

/* x + conv(dressed conv(dressed x)), the first term through a convolution where it must be. */
static void draw_block(drawing *d)
{
    sumi_edge x = pick(d);
    int out = below(d, 2) ? channels_of(d, x) : width(d);
    sumi_edge y = conv(d, dress(d, x), width(d));
    sumi_edge skip = x;
    bool late = below(d, 2);
    if (out != channels_of(d, x) && !late)
        skip = conv(d, x, out);
    y = conv(d, dress(d, y), out);
    if (out != channels_of(d, x) && late)
        skip = conv(d, x, out);
    keep(d, below(d, 2) ? sumi_graph_add(d->graph, y, skip) : sumi_graph_add(d->graph, skip, y));
}

static void draw_resampling(drawing *d)
{
    typedef sumi_edge (*change)(sumi_graph *, sumi_edge);
    static const change smaller[] = {sumi_graph_avg_pool, sumi_graph_subsample,
                                     sumi_graph_max_pool};
    static const change larger[] = {sumi_graph_upsample, sumi_graph_upsample_nearest};
    sumi_edge in = pick(d);
    int level = level_of(d, &in);
    bool up = level == 2 || (level == 1 && below(d, 2));
    in = dress(d, in);
    keep(d, up ? larger[below(d, 2)](d->graph, in)
               : smaller[below(d, d->kinks ? 3 : 2)](d->graph, in));
}

/* What a tensor's pixels say to each other; queries, keys and values are dressed, too. */
static void draw_attention(drawing *d)
{
    sumi_edge in = dress(d, pick(d));
    int heads = 1 + below(d, 3), channels = heads * (1 + below(d, d->units) * d->unit);
    in = dress(d, conv(d, in, 3 * channels));
    keep(d, sumi_graph_attention(d->graph, in, heads));
}

static bool is_read(const sumi_graph *graph, int value)
{
    for (int i = 0; i < graph->node_count; i++)
        if (graph->nodes[i].vector == value || (!sumi_kind_facts(graph->nodes[i].kind)->pending &&
                                                sumi_edge_reads(&graph->nodes[i].in, value)))
            return true;
    return false;
}

/* Inputs, and a vector of them. */
static void draw_inputs(drawing *d)
{
    sumi_graph *graph = d->graph;
    char text[16];
    int kind = below(d, 8); /* bits: time, labels, numbers that training gives */
    sumi_edge image = sumi_graph_input_image(graph, 1 + below(d, 4));
    keep(d, below(d, 3) ? image : sumi_graph_pad(graph, image));
    if (kind & 1) {
        sumi_edge time = sumi_graph_input_time(graph);
        d->vector = below(d, 2) ? sumi_graph_sinusoid(graph, time, VECTOR_DIM)
                                : sumi_graph_fourier(graph, time, VECTOR_DIM, 0.01, 1);
    }
    if (kind & 2) {
        int classes = 2 + below(d, 3);
        sumi_edge labels = sumi_graph_input_labels(graph, classes);
        int layer = sumi_graph_embedding_layer(graph, name(d, text), classes + 1, VECTOR_DIM);
        sumi_edge row = sumi_graph_embedding(graph, labels, layer);
        if (d->vector.count > 0 && below(d, 2))
            d->vector = sumi_graph_concat(graph, d->vector, row);
        else
            d->vector =
                d->vector.count > 0 ? sumi_graph_add(graph, linear(d, VECTOR_DIM), row) : row;
    }
    if (kind & 4) {
        sumi_edge told = sumi_graph_condition(graph, 1 + below(d, CONDITION_MAX));
        int layer = sumi_graph_linear_layer(graph, name(d, text), channels_of(d, told), VECTOR_DIM);
        told = sumi_graph_linear(graph, told, layer);
        d->vector = d->vector.count > 0 ? sumi_graph_add(graph, linear(d, VECTOR_DIM), told) : told;
    }
    /* What is drawn next is read at least once. */
    if (d->vector.count > 0)
        d->vector = d->vectors[d->vector_count++] = linear(d, VECTOR_DIM);
}

/* Whatever nobody reads goes into the image that is the output, or the vector that is. */
static void draw_outputs(drawing *d)
{
    sumi_graph *graph = d->graph;
    sumi_edge image = {.count = 0}, means = {.count = 0};
    int channels = 1 + below(d, 3), count = d->count;
    bool vector = below(d, 3) == 0;
    char text[16];
    if (d->vector.count > 0) /* read by a shift */
        image = conv(
            d, sumi_graph_shift(graph, d->tensors[0], linear(d, channels_of(d, d->tensors[0]))),
            channels);
    for (int i = 0; i < count; i++) {
        sumi_edge in = d->tensors[i];
        if (is_read(graph, in.views[0].value) && i + 1 < count)
            continue;
        if (vector && means.count < SUMI_SOURCES_MAX && image.count > 0) {
            sumi_edge mean = sumi_graph_mean(graph, dress(d, in));
            means = means.count > 0 ? sumi_graph_concat(graph, means, mean) : mean;
            continue;
        }
        while (level_of(d, &in) > 0)
            in = below(d, 2) ? sumi_graph_upsample(graph, in)
                             : sumi_graph_upsample_nearest(graph, in);
        in = conv(d, dress(d, in), channels);
        image = image.count > 0 ? sumi_graph_add(graph, image, in) : in;
    }
    if (graph->pads)
        image = sumi_graph_crop(graph, image);
    sumi_graph_output(graph, "image", image);
    if (means.count == 0) {
        sumi_graph_loss_mse(graph, image);
        return;
    }
    int classes = graph->labels >= 0 ? graph->classes : 3;
    sumi_edge logits = sumi_graph_linear(
        graph, means,
        sumi_graph_linear_layer(graph, name(d, text), channels_of(d, means), classes));
    sumi_graph_output(graph, "logits", logits);
    if (graph->labels >= 0) {
        sumi_edge labels = {.views = {{.value = graph->labels, .post = -1}}, .count = 1};
        sumi_graph_loss_cross_entropy(graph, logits, labels, 0.1 * below(d, 3));
    }
    if (graph->labels < 0 || below(d, 2))
        sumi_graph_loss_mse(graph, image);
}

/* Drawn, and away from the defaults. */
static void draw_parameters(sumi_graph *graph, uint64_t seed)
{
    sumi_params *params = &graph->params;
    sumi_error err = {""};
    if (sumi_params_allocate(params, &err) != SUMI_OK)
        return;
    sumi_params_init(params, seed);
    for (int i = 0; i < params->count; i++) {
        const sumi_param *param = &params->items[i];
        sumi_random at = {seed, SUMI_STREAM_USER, 1, (uint64_t)i};
        for (size_t j = 0; j < param->count; j++) {
            float u = sumi_random_uniform(&at, j);
            if (param->kind == SUMI_PARAM_MEAN)
                params->statistics[param->offset + j] = u - 0.5f;
            if (param->kind == SUMI_PARAM_VARIANCE)
                params->statistics[param->offset + j] = 0.5f + u;
            if (param->kind == SUMI_PARAM_GAMMA) /* a negative scale turns max into min */
                params->values[param->offset + j] = u < 0.3f ? -0.7f : 0.6f + u;
            if (param->kind == SUMI_PARAM_BETA)
                params->values[param->offset + j] = u - 0.4f;
        }
    }
}

bool random_graph(sumi_graph *graph, dice *from)
{
    drawing d = {.graph = graph, .dice = from, .unit = 1, .units = 7};
    int size = below(&d, 16);
    bool wide = size == 0;
    d.kinks = below(&d, 2);
    sumi_graph_init(graph);
    draw_inputs(&d);
    if (size < 8) {
        d.unit = wide ? 32 : 5;
        d.units = wide ? 3 : 6;
        keep(&d, conv(&d, d.tensors[0], width(&d)));
    }
    for (int i = 3 + below(&d, wide ? 3 : 8); i > 0; i--)
        switch (below(&d, 7)) {
        case 0:
        case 1:
            draw_conv(&d);
            break;
        case 2:
            draw_add(&d);
            break;
        case 3:
        case 4:
            draw_block(&d);
            break;
        case 5:
            draw_attention(&d);
            break;
        default:
            draw_resampling(&d);
        }
    draw_outputs(&d);
    draw_parameters(graph, from->seed);
    return wide;
}
