/*
 * What each kind of operation runs, forward. Convolutions and norms have files of their own.
 */
#include "opencl/network.h"

#include <math.h>

/* ---- What they share ------------------------------------------------------------------------- */

sumi_cl_view sumi_cl_view_of(const sumi_cl_call *call, const sumi_view *view)
{
    const sumi_network *net = call->net;
    const sumi_form *form = sumi_view_form(net->graph, view);
    sumi_cl_view out = {.at = sumi_cl_word(net->values[view->value].at),
                        .c = net->graph->values[view->value].channels,
                        .act = (int)form->act,
                        .scale = SUMI_CL_NOWHERE,
                        .shift = SUMI_CL_NOWHERE,
                        .post = SUMI_CL_NOWHERE};
    if (form->norm >= 0) {
        const sumi_cl_node *norm = &net->nodes[form->norm];
        out.scale = sumi_cl_word(norm->scale) + (uint32_t)form->first;
        out.shift = sumi_cl_word(norm->shift) + (uint32_t)form->first;
        out.row = norm->per_image ? sumi_cl_layer(net, form->norm)->in_channels : 0;
    }
    if (view->post >= 0) {
        out.post = sumi_cl_word(net->values[view->post].at) + (uint32_t)view->post_offset;
        out.post_row = net->graph->values[view->post].channels;
    }
    return out;
}

int sumi_cl_edge_views(const sumi_cl_call *call, const sumi_edge *edge, sumi_cl_view *out)
{
    for (int i = 0; i < edge->count; i++)
        out[i] = sumi_cl_view_of(call, &edge->views[i]);
    return edge->count;
}

static uint32_t place_of(const sumi_cl_call *call, sumi_cl_place begin, int param)
{
    if (param < 0)
        return SUMI_CL_NOWHERE;
    return (uint32_t)(begin.at / sizeof(float) + call->net->graph->params.items[param].offset);
}

uint32_t sumi_cl_param(const sumi_cl_call *call, int param)
{
    return place_of(call, call->values, param);
}

uint32_t sumi_cl_statistic(const sumi_cl_call *call, int param)
{
    return place_of(call, call->statistics, param);
}

uint32_t sumi_cl_param_gradient(const sumi_cl_call *call, int param)
{
    return place_of(call, call->gradients, param);
}

sumi_cl_launch sumi_cl_launch_of(const sumi_cl_call *call, sumi_cl_kernel kernel, const void *args,
                                 size_t args_size)
{
    return (sumi_cl_launch){.kernel = kernel,
                            .memory = {call->arena.memory, call->arena.memory},
                            .count = 1,
                            .args = args,
                            .args_size = args_size};
}

void sumi_cl_run_items(const sumi_cl_call *call, sumi_cl_launch *launch, size_t items, size_t rows,
                       size_t planes)
{
    launch->global[0] = sumi_cl_rounded(items, SUMI_CL_LANE);
    launch->global[1] = rows;
    launch->global[2] = planes;
    launch->local[0] = SUMI_CL_LANE;
    launch->local[1] = launch->local[2] = 1;
    sumi_cl_run(call->device, launch);
}

static int channels_of(const sumi_cl_call *call, int value)
{
    return call->net->graph->values[value].channels;
}

static const sumi_cl_value *stored(const sumi_cl_call *call, int node)
{
    return &call->net->values[call->net->nodes[node].stores];
}

/* ---- Vectors --------------------------------------------------------------------------------- */

static void waves(const sumi_cl_call *call, int node)
{
    const sumi_node *op = &call->net->graph->nodes[node];
    const sumi_cl_waves_args args = {sumi_cl_word(call->net->values[op->in.views[0].value].at),
                                     sumi_cl_word(call->net->nodes[node].table),
                                     sumi_cl_word(stored(call, node)->at), call->n,
                                     channels_of(call, op->out)};
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_WAVES, &args, sizeof args);
    sumi_cl_run_items(call, &launch, (size_t)args.dim, (size_t)call->n, 1);
}

static void embedding(const sumi_cl_call *call, int node)
{
    const sumi_layer *layer = sumi_cl_layer(call->net, node);
    const sumi_cl_embedding_args args = {
        .labels = sumi_cl_word(call->net->values[call->net->graph->labels].at),
        .table = sumi_cl_param(call, layer->weight),
        .out = sumi_cl_word(stored(call, node)->at),
        .n = call->n,
        .dim = layer->out_channels,
        .rows = layer->in_channels};
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_EMBEDDING, &args, sizeof args);
    launch.memory[launch.count++] = call->values.memory;
    sumi_cl_run_items(call, &launch, (size_t)args.dim, (size_t)call->n, 1);
}

static void linear(const sumi_cl_call *call, int node)
{
    const sumi_layer *layer = sumi_cl_layer(call->net, node);
    sumi_cl_linear_args args = {.out = sumi_cl_word(stored(call, node)->at),
                                .weight = sumi_cl_param(call, layer->weight),
                                .bias = sumi_cl_param(call, layer->bias),
                                .n = call->n,
                                .in = layer->in_channels,
                                .units = layer->out_channels};
    args.sources = sumi_cl_edge_views(call, &call->net->nodes[node].in, args.source);
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_LINEAR, &args, sizeof args);
    launch.count = 2;
    launch.memory[launch.count++] = call->values.memory;
    sumi_cl_run_items(call, &launch, (size_t)args.units, (size_t)call->n, 1);
}

/* ---- Images ---------------------------------------------------------------------------------- */

static void add(const sumi_cl_call *call, int node)
{
    const sumi_cl_value *out = stored(call, node);
    sumi_cl_add_args args = {.out = sumi_cl_word(out->at),
                             .count = (uint32_t)(out->image_floats * (size_t)call->n),
                             .pixels = out->h * out->w};
    args.sources = sumi_cl_edge_views(call, &call->net->nodes[node].in, args.source);
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_ADD, &args, sizeof args);
    launch.count = 2;
    sumi_cl_run_items(call, &launch, args.count, 1, 1);
}

/* What is given with an image is a vector that is passed on. */
static void pass_on(const sumi_cl_call *call, int node)
{
    add(call, node);
}

sumi_cl_resample_args sumi_cl_resampling(const sumi_cl_call *call, int node,
                                         const sumi_cl_value *to)
{
    static const int how[SUMI_KINDS] = {
        [SUMI_KIND_MAX_POOL] = SUMI_CL_MAX,
        [SUMI_KIND_AVG_POOL] = SUMI_CL_AVERAGE,
        [SUMI_KIND_SUBSAMPLE] = SUMI_CL_FIRST,
        [SUMI_KIND_UPSAMPLE] = SUMI_CL_BILINEAR,
        [SUMI_KIND_UPSAMPLE_NEAREST] = SUMI_CL_NEAREST,
        [SUMI_KIND_PAD] = SUMI_CL_REFRAME,
        [SUMI_KIND_CROP] = SUMI_CL_REFRAME,
    };
    const sumi_view *view = &call->net->nodes[node].in.views[0];
    const sumi_cl_value *from = &call->net->values[view->value];
    return (sumi_cl_resample_args){.source = sumi_cl_view_of(call, view),
                                   .how = how[call->net->graph->nodes[node].kind],
                                   .h = from->h,
                                   .w = from->w,
                                   .to_h = to->h,
                                   .to_w = to->w};
}

static void resample(const sumi_cl_call *call, int node)
{
    const sumi_cl_value *to = stored(call, node);
    sumi_cl_resample_args args = sumi_cl_resampling(call, node, to);
    args.out = sumi_cl_word(to->at);
    args.count = (uint32_t)(to->image_floats * (size_t)call->n);
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_RESAMPLE, &args, sizeof args);
    launch.count = 2;
    sumi_cl_run_items(call, &launch, args.count, 1, 1);
}

static void mean(const sumi_cl_call *call, int node)
{
    const sumi_view *view = &call->net->nodes[node].in.views[0];
    const sumi_cl_value *from = &call->net->values[view->value];
    const sumi_cl_mean_args args = {.source = sumi_cl_view_of(call, view),
                                    .out = sumi_cl_word(stored(call, node)->at),
                                    .n = call->n,
                                    .h = from->h,
                                    .w = from->w};
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_MEAN, &args, sizeof args);
    launch.count = 2;
    sumi_cl_run_items(call, &launch, (size_t)args.source.c, (size_t)call->n, 1);
}

static void attention(const sumi_cl_call *call, int node)
{
    const sumi_node *op = &call->net->graph->nodes[node];
    const sumi_cl_value *out = stored(call, node);
    int d = channels_of(call, op->out) / op->heads;
    const sumi_cl_attention_args args = {
        .source = sumi_cl_view_of(call, &call->net->nodes[node].in.views[0]),
        .out = sumi_cl_word(out->at),
        .n = call->n,
        .pixels = out->h * out->w,
        .heads = op->heads,
        .d = d,
        .factor = (float)(1 / sqrt(d))};
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_ATTENTION, &args, sizeof args);
    launch.count = 2;
    launch.local_bytes = (size_t)args.pixels * sizeof(float);
    sumi_cl_run_items(call, &launch, (size_t)args.pixels * SUMI_CL_LANE, (size_t)op->heads,
                      (size_t)call->n);
}

/* ---- The table ------------------------------------------------------------------------------- */

void sumi_cl_forward(const sumi_cl_call *call, int node)
{
    static void (*const forward[SUMI_KINDS])(const sumi_cl_call *, int) = {
        [SUMI_KIND_SINUSOID] = waves,
        [SUMI_KIND_FOURIER] = waves,
        [SUMI_KIND_EMBEDDING] = embedding,
        [SUMI_KIND_CONDITION] = pass_on,
        [SUMI_KIND_CONV] = sumi_cl_conv_forward,
        [SUMI_KIND_LINEAR] = linear,
        [SUMI_KIND_NORM] = sumi_cl_norm_forward,
        [SUMI_KIND_ADD] = add,
        [SUMI_KIND_MAX_POOL] = resample,
        [SUMI_KIND_AVG_POOL] = resample,
        [SUMI_KIND_SUBSAMPLE] = resample,
        [SUMI_KIND_UPSAMPLE] = resample,
        [SUMI_KIND_UPSAMPLE_NEAREST] = resample,
        [SUMI_KIND_MEAN] = mean,
        [SUMI_KIND_ATTENTION] = attention,
        [SUMI_KIND_PAD] = resample,
        [SUMI_KIND_CROP] = resample,
    };
    sumi_kind kind = call->net->graph->nodes[node].kind;
    if (!forward[kind])
        return; /* a loss */
    forward[kind](call, node);
    if (kind != SUMI_KIND_CONV && call->net->nodes[node].stores >= 0)
        sumi_cl_collect_moments(call, call->net->nodes[node].stores);
}
