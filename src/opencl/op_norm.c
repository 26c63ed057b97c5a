/*
 * Normalisation: moments and rows. What is computed from them is pending on the norm's inputs, and
 * applied where they are read.
 */
#include "opencl/network.h"

void sumi_cl_collect_moments(const sumi_cl_call *call, int value)
{
    const sumi_cl_value *plan = &call->net->values[value];
    if (plan->moments == SUMI_CL_NOWHERE)
        return;
    const sumi_cl_moments_args args = {.x = plan->at,
                                       .out = plan->moments,
                                       .n = call->n,
                                       .pixels = plan->h * plan->w,
                                       .c = call->net->graph->values[value].channels,
                                       .bands = plan->bands};
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_MOMENTS, &args, sizeof args);
    sumi_cl_run_items(call, &launch, (size_t)args.c, (size_t)args.bands, (size_t)call->n);
}

/* Moments of the network's own inputs are nobody else's to collect. */
static void take_moments(const sumi_cl_call *call, const sumi_edge *in, sumi_cl_rows_args *args)
{
    for (int i = 0; i < in->count; i++) {
        int value = in->views[i].value;
        const sumi_cl_value *plan = &call->net->values[value];
        if (plan->stored_by < 0)
            sumi_cl_collect_moments(call, value);
        args->moments[i] = plan->moments;
        args->channels[i] = call->net->graph->values[value].channels;
        args->pixels = plan->h * plan->w;
        args->bands = plan->bands;
    }
}

void sumi_cl_norm_forward(const sumi_cl_call *call, int node)
{
    const sumi_network *net = call->net;
    const sumi_layer *layer = sumi_cl_layer(net, node);
    int vector = net->graph->nodes[node].vector;
    bool grouped = layer->groups > 0;
    sumi_cl_rows_args args = {
        .sources = net->nodes[node].in.count,
        .n = call->n,
        .c = layer->in_channels,
        .groups = layer->groups,
        .gamma = sumi_cl_param(call, layer->weight),
        .beta = sumi_cl_param(call, layer->bias),
        .mean = grouped ? SUMI_CL_NOWHERE : sumi_cl_statistic(call, layer->mean),
        .variance = grouped ? SUMI_CL_NOWHERE : sumi_cl_statistic(call, layer->variance),
        .vector = vector >= 0 ? net->values[vector].at : SUMI_CL_NOWHERE,
        .scale = net->nodes[node].scale,
        .shift = net->nodes[node].shift};
    if (grouped)
        take_moments(call, &net->nodes[node].in, &args);
    sumi_cl_launch launch = sumi_cl_launch_of(
        call, grouped ? SUMI_CL_GROUP_ROWS : SUMI_CL_BATCH_ROWS, &args, sizeof args);
    /* A network without weights has none to read. */
    launch.memory[launch.count++] = call->values.memory ? call->values.memory : call->arena.memory;
    if (!grouped)
        launch.memory[launch.count++] = call->statistics.memory;
    size_t rows = net->nodes[node].per_image ? (size_t)call->n : 1;
    sumi_cl_run_items(call, &launch, (size_t)(grouped ? args.groups : args.c), rows, 1);
}
