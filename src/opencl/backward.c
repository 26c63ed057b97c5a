/*
 * What each kind of operation runs, backward: see kernels/gradients.cl. Convolutions, linear layers
 * and norms have files of their own.
 */
#include "opencl/network.h"

#include <math.h>

/* ---- Images ---------------------------------------------------------------------------------- */

static void resample(const sumi_cl_call *call, int node)
{
    const sumi_network *net = call->net;
    const sumi_cl_value *from = &net->values[net->nodes[node].in.views[0].value];
    int out = net->graph->nodes[node].out;
    sumi_cl_resample_args args = sumi_cl_resampling(call, node, &net->values[out]);
    args.out = sumi_cl_word(net->nodes[node].sources[0].gradient);
    args.count = (uint32_t)(from->image_floats * (size_t)call->n);
    args.dy = sumi_cl_word(sumi_cl_gradient(net, out));
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_RESAMPLE_BACK, &args, sizeof args);
    launch.count = 2;
    sumi_cl_run_items(call, &launch, args.count, 1, 1);
}

/* Where nothing was cut off, the gradient is passed on. */
static void crop(const sumi_cl_call *call, int node)
{
    if (call->net->nodes[node].sources[0].gradient != SUMI_NOWHERE)
        resample(call, node);
}

/* Its output's gradient is passed on. */
static void add(const sumi_cl_call *call, int node)
{
    (void)call;
    (void)node;
}

static void mean(const sumi_cl_call *call, int node)
{
    const sumi_network *net = call->net;
    const sumi_view *view = &net->nodes[node].in.views[0];
    const sumi_cl_value *from = &net->values[view->value];
    const sumi_cl_mean_args args = {
        .source = sumi_cl_view_of(call, view),
        .out = sumi_cl_word(net->nodes[node].sources[0].gradient),
        .n = call->n,
        .h = from->h,
        .w = from->w,
        .dy = sumi_cl_word(sumi_cl_gradient(net, net->graph->nodes[node].out))};
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_MEAN_BACK, &args, sizeof args);
    launch.count = 2;
    sumi_cl_run_items(call, &launch, (size_t)args.source.c, (size_t)from->h * (size_t)from->w,
                      (size_t)call->n);
}

static void attention(const sumi_cl_call *call, int node)
{
    const sumi_network *net = call->net;
    const sumi_cl_node *plan = &net->nodes[node];
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_cl_value *out = &net->values[op->out];
    int d = net->graph->values[op->out].channels / op->heads;
    const sumi_cl_attention_args args = {.source = sumi_cl_view_of(call, &plan->in.views[0]),
                                         .n = call->n,
                                         .pixels = out->h * out->w,
                                         .heads = op->heads,
                                         .d = d,
                                         .factor = (float)(1 / sqrt(d)),
                                         .dy = sumi_cl_word(sumi_cl_gradient(net, op->out)),
                                         .dx = sumi_cl_word(plan->sources[0].gradient),
                                         .notes = sumi_cl_word(plan->notes)};
    static const sumi_cl_kernel kernels[2] = {SUMI_CL_ATTENTION_QUERIES, SUMI_CL_ATTENTION_KEYS};
    for (int i = 0; i < 2; i++) {
        sumi_cl_launch launch = sumi_cl_launch_of(call, kernels[i], &args, sizeof args);
        launch.count = 2;
        launch.local_bytes = (size_t)(i + 1) * (size_t)args.pixels * sizeof(float);
        sumi_cl_run_items(call, &launch, (size_t)args.pixels * SUMI_CL_LANE, (size_t)op->heads,
                          (size_t)call->n);
    }
}

/* ---- Labels ---------------------------------------------------------------------------------- */

static void embedding(const sumi_cl_call *call, int node)
{
    const sumi_network *net = call->net;
    const sumi_layer *layer = sumi_cl_layer(net, node);
    const sumi_cl_embedding_back_args args = {
        .labels = sumi_cl_word(net->values[net->graph->labels].at),
        .dy = sumi_cl_word(sumi_cl_gradient(net, net->graph->nodes[node].out)),
        .out = sumi_cl_param_gradient(call, layer->weight),
        .n = call->n,
        .dim = layer->out_channels,
        .rows = layer->in_channels};
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_EMBEDDING_BACK, &args, sizeof args);
    launch.memory[launch.count++] = call->gradients.memory;
    sumi_cl_run_items(call, &launch, (size_t)args.dim, (size_t)args.rows, 1);
}

/* ---- Losses ---------------------------------------------------------------------------------- */

/* Adds the images' sums, over `divisor`, to the loss. */
static void add_loss(const sumi_cl_call *call, int node, double divisor)
{
    const sumi_cl_loss_sum_args args = {sumi_cl_word(call->net->nodes[node].notes),
                                        sumi_cl_word(call->net->results), call->n, (float)divisor};
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_LOSS_SUM, &args, sizeof args);
    launch.global[0] = launch.local[0] = SUMI_CL_GROUP;
    launch.global[1] = launch.global[2] = launch.local[1] = launch.local[2] = 1;
    sumi_cl_run(call->device, &launch);
}

static sumi_cl_loss_args loss_args(const sumi_cl_call *call, int node)
{
    const sumi_network *net = call->net;
    const sumi_cl_value *value = &net->values[net->nodes[node].in.views[0].value];
    return (sumi_cl_loss_args){.y = sumi_cl_word(value->at),
                               .dy = sumi_cl_word(net->nodes[node].sources[0].gradient),
                               .sums = sumi_cl_word(net->nodes[node].notes),
                               .weight = SUMI_CL_NOWHERE,
                               .n = call->n,
                               .count = (int)value->image_floats};
}

/* The gradient is 2 weight (y - target) / count. */
static void mse(const sumi_cl_call *call, int node)
{
    sumi_cl_loss_args args = loss_args(call, node);
    double count = (double)args.count * call->n;
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_MSE, &args, sizeof args);
    launch.count = 2;
    args.factor = (float)(2 / count);
    args.target = sumi_cl_give(call->device, &launch, call->in->target);
    if (call->in->weight)
        args.weight = sumi_cl_give(call->device, &launch, call->in->weight);
    else
        launch.memory[launch.count++] = call->arena.memory;
    launch.global[0] = launch.local[0] = SUMI_CL_GROUP;
    launch.global[1] = (size_t)call->n;
    launch.global[2] = launch.local[1] = launch.local[2] = 1;
    sumi_cl_run(call->device, &launch);
    add_loss(call, node, count);
}

static void cross_entropy(const sumi_cl_call *call, int node)
{
    const sumi_node *op = &call->net->graph->nodes[node];
    sumi_cl_loss_args args = loss_args(call, node);
    args.labels = sumi_cl_word(call->net->values[op->labels].at);
    args.factor = (float)(1.0 / call->n);
    args.smoothing = (float)op->smoothing;
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_CROSS_ENTROPY, &args, sizeof args);
    launch.count = 2;
    sumi_cl_run_items(call, &launch, (size_t)call->n, 1, 1);
    add_loss(call, node, call->n);
}

/* ---- The table ------------------------------------------------------------------------------- */

static void (*const backward[SUMI_KINDS])(const sumi_cl_call *, int) = {
    [SUMI_KIND_EMBEDDING] = embedding,
    [SUMI_KIND_CONV] = sumi_cl_layer_backward,
    [SUMI_KIND_LINEAR] = sumi_cl_layer_backward,
    [SUMI_KIND_NORM] = sumi_cl_norm_backward,
    [SUMI_KIND_ADD] = add,
    [SUMI_KIND_MAX_POOL] = resample,
    [SUMI_KIND_AVG_POOL] = resample,
    [SUMI_KIND_SUBSAMPLE] = resample,
    [SUMI_KIND_UPSAMPLE] = resample,
    [SUMI_KIND_UPSAMPLE_NEAREST] = resample,
    [SUMI_KIND_MEAN] = mean,
    [SUMI_KIND_ATTENTION] = attention,
    [SUMI_KIND_CROP] = crop,
    [SUMI_KIND_MSE] = mse,
    [SUMI_KIND_CROSS_ENTROPY] = cross_entropy,
};

/* Zeros where no loss depends on a layer's parameters. */
static void clear_parameters(const sumi_cl_call *call, int node)
{
    const sumi_network *net = call->net;
    const sumi_layer *layer = sumi_cl_layer(net, node);
    const int params[] = {layer->weight, layer->bias};
    for (int i = 0; i < 2; i++) {
        if (params[i] < 0)
            continue;
        const sumi_cl_fill_args args = {sumi_cl_param_gradient(call, params[i]),
                                        (uint32_t)net->graph->params.items[params[i]].count, 0};
        sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_FILL, &args, sizeof args);
        launch.memory[0] = call->gradients.memory;
        sumi_cl_run_items(call, &launch, args.count, 1, 1);
    }
}

void sumi_cl_backward(const sumi_cl_call *call, int node)
{
    const sumi_network *net = call->net;
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_cl_node *plan = &net->nodes[node];
    bool arrives = !plan->dead && (op->out < 0 || !net->values[op->out].trained ||
                                   sumi_cl_gradient(net, op->out) != SUMI_NOWHERE);
    if (!arrives) {
        if (op->layer >= 0 && !op->superseded)
            clear_parameters(call, node);
        return;
    }
    if (op->out >= 0)
        sumi_cl_add_terms(call, op->out);
    /* What wants no gradient has none to give, but parameters always do. */
    bool wanted = op->layer >= 0;
    for (int s = 0; s < plan->in.count; s++)
        wanted |= plan->sources[s].wanted;
    if (!wanted || !backward[op->kind])
        return;
    if (!plan->skipped)
        backward[op->kind](call, node);
    sumi_cl_add_shifts(call, node);
}
