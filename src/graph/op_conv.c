/*
 * 3x3 and 1x1 convolution with bias. Forward: one pass over sources that may still have norm,
 * activation and shift pending. Backward: the input gradient is a convolution of the output
 * gradient with the flipped, transposed weights, stored to each source; the weight gradient a sum
 * of outer products. In predict mode a following batch norm is folded into weights and bias.
 */
#include <math.h>

#include "graph/ops.h"

/* Partial weight gradients kept apart: as many threads can work on one weight gradient. */
enum { WGRAD_GROUPS = 8 };

static const float NORM_EPS = 1e-5f;

static void plan_spec(sumi_network *net, sumi_conv_spec *spec, sumi_conv_direction direction,
                      int node)
{
    const sumi_layer *layer = &net->graph->layers[net->graph->nodes[node].layer];
    const sumi_value_plan *out = &net->values[net->graph->nodes[node].out];
    bool dgrad = direction == SUMI_CONV_DGRAD;
    *spec = (sumi_conv_spec){.h = out->h,
                             .w = out->w,
                             .cin = dgrad ? layer->out_channels : layer->in_channels,
                             .cout = dgrad ? layer->in_channels : layer->out_channels,
                             .ksize = layer->ksize,
                             .direction = direction};
    net->kernels->conv_plan(spec, net->config.force);
    sumi_conv_reserve(net, spec);
}

static void reserve_temp(sumi_network *net, int which, size_t image_floats)
{
    size_t floats = image_floats * (size_t)net->config.n_max;
    if (floats > net->temp_floats[which])
        net->temp_floats[which] = floats;
}

static void plan_training(sumi_network *net, int node)
{
    sumi_node_plan *plan = &net->nodes[node];
    const sumi_node *op = &net->graph->nodes[node];
    size_t n_max = (size_t)net->config.n_max;
    int now = sumi_time_forward(net, node), back = sumi_time_backward(net, node);
    const sumi_value_plan *out = &net->values[op->out];
    sumi_reserve(net, plan->forward.packed_floats, now, now, &plan->packed, "weights", node);
    if (out->norm >= 0)
        sumi_reserve(net, n_max * (size_t)plan->forward.bands * 2 * (size_t)plan->forward.cout, now,
                     sumi_time_forward(net, out->norm), &plan->moments, "moments", node);
    if (plan->wants_dgrad) {
        plan_spec(net, &plan->dgrad, SUMI_CONV_DGRAD, node);
        sumi_reserve(net, plan->dgrad.packed_floats, back, back, &plan->packed_dgrad, "weights",
                     node);
        for (int i = 0; i < op->in.count; i++) {
            const sumi_view *view = &op->in.views[i];
            int norm = net->values[view->value].norm;
            size_t row = 3 * (size_t)net->graph->values[view->value].channels;
            if (view->post >= 0 || norm >= 0)
                sumi_reserve(net, n_max * (size_t)plan->dgrad.bands * row, back,
                             norm >= 0 ? sumi_time_backward(net, norm) : back, &plan->sums[i],
                             "sums", node);
        }
    }
    plan_spec(net, &plan->wgrad, SUMI_CONV_WGRAD, node);
    plan->wgrad_groups = net->config.n_max < WGRAD_GROUPS ? net->config.n_max : WGRAD_GROUPS;
    sumi_reserve(net, plan->wgrad.partial_floats * (size_t)plan->wgrad_groups, back, back,
                 &plan->partials, "partials", node);
    /* sumi_bias_gradient: a row of doubles and one of floats. */
    sumi_want_scratch(net, (size_t)(out->w + 2) * (size_t)plan->forward.cout);
    if (plan->unfused)
        reserve_temp(net, SUMI_TEMP_GRADIENT, out->image_floats);
}

static void conv_plan(sumi_network *net, int node)
{
    sumi_node_plan *plan = &net->nodes[node];
    const sumi_value_plan *out = &net->values[net->graph->nodes[node].out];
    plan_spec(net, &plan->forward, SUMI_CONV_FORWARD, node);
    if (sumi_training(net)) {
        plan_training(net, node);
    } else {
        int end = sumi_time_end(net);
        sumi_reserve(net, plan->forward.packed_floats, 0, end, &plan->packed, "weights", node);
        sumi_reserve(net, 2 * (size_t)plan->forward.cout, 0, end, &plan->bias, "bias", node);
    }
    if (plan->unfused) {
        size_t pixels = (size_t)out->h * (size_t)out->w;
        size_t in = pixels * (size_t)plan->forward.cin;
        /* dgrad reads what forward writes and the other way round */
        reserve_temp(net, SUMI_TEMP_INPUT, in > out->image_floats ? in : out->image_floats);
        reserve_temp(net, SUMI_TEMP_OUTPUT, in > out->image_floats ? in : out->image_floats);
    }
}

/* ---- Forward --------------------------------------------------------------------------------- */

/* w * s and (b - mean) * s + beta with s = gamma / sqrt(var + eps): the convolution followed by the
 * batch norm in eval mode. */
static void fold_norm(const sumi_network *net, int node, const sumi_layer *conv, float *bias,
                      float *scale)
{
    const sumi_layer *norm =
        &net->graph->layers[net->graph->nodes[net->values[net->graph->nodes[node].out].norm].layer];
    const float *b = sumi_param_data(net, conv->bias);
    const float *gamma = sumi_param_data(net, norm->weight),
                *beta = sumi_param_data(net, norm->bias);
    const float *mean = sumi_param_data(net, norm->mean);
    const float *variance = sumi_param_data(net, norm->variance);
    for (int k = 0; k < conv->out_channels; k++) {
        double s = (double)gamma[k] / sqrt((double)variance[k] + (double)NORM_EPS);
        scale[k] = (float)s;
        bias[k] = (float)(((double)b[k] - (double)mean[k]) * s + (double)beta[k]);
    }
}

static void pack_forward(sumi_network *net, int node)
{
    sumi_node_plan *plan = &net->nodes[node];
    const sumi_layer *layer = &net->graph->layers[net->graph->nodes[node].layer];
    const sumi_value_plan *out = &net->values[net->graph->nodes[node].out];
    const float *scale = NULL;
    if (!sumi_training(net)) {
        float *bias = sumi_at(net, plan->bias), *factor = bias + layer->out_channels;
        if (out->absorbed && out->norm >= 0) {
            fold_norm(net, node, layer, bias, factor);
            scale = factor;
        } else {
            for (int k = 0; k < layer->out_channels; k++)
                bias[k] = sumi_param_data(net, layer->bias)[k];
        }
    }
    sumi_conv_pack_all(net, &plan->forward, sumi_param_data(net, layer->weight), scale,
                       sumi_at(net, plan->packed));
}

static void conv_forward(sumi_network *net, int node)
{
    sumi_node_plan *plan = &net->nodes[node];
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_layer *layer = &net->graph->layers[op->layer];
    const sumi_value_plan *out = &net->values[op->out];
    if (sumi_training(net) || !net->packed_valid)
        pack_forward(net, node);
    sumi_source sources[SUMI_SOURCES_MAX];
    int count = sumi_edge_sources(net, &op->in, sources);
    sumi_sink sink = {.dst = sumi_value_data(net, op->out),
                      .c = layer->out_channels,
                      .bias = sumi_training(net) ? sumi_param_data(net, layer->bias)
                                                 : sumi_at(net, plan->bias),
                      .act = out->absorbed ? out->act : SUMI_ACT_NONE,
                      .moments = sumi_at(net, plan->moments)};
    sumi_conv conv = {&plan->forward, sources, count, &sink, 1, sumi_at(net, plan->packed)};
    sumi_conv_run(net, &conv, net->n, plan->unfused);
}

/* ---- Backward -------------------------------------------------------------------------------- */

static void run_dgrad(sumi_network *net, int node, const sumi_source *dy)
{
    sumi_node_plan *plan = &net->nodes[node];
    const sumi_node *op = &net->graph->nodes[node];
    float *packed = sumi_at(net, plan->packed_dgrad);
    sumi_conv_pack_all(net, &plan->dgrad,
                       sumi_param_data(net, net->graph->layers[op->layer].weight), NULL, packed);
    sumi_sink sinks[SUMI_SOURCES_MAX];
    sumi_source stats[SUMI_SOURCES_MAX];
    for (int i = 0; i < op->in.count; i++)
        sumi_gradient_sink(net, node, i, &stats[i], &sinks[i]);
    sumi_conv conv = {&plan->dgrad, dy, 1, sinks, op->in.count, packed};
    sumi_conv_run(net, &conv, net->n, plan->unfused);
    sumi_post_gradients(net, node, plan->dgrad.bands);
}

static void conv_backward(sumi_network *net, int node)
{
    sumi_node_plan *plan = &net->nodes[node];
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_layer *layer = &net->graph->layers[op->layer];
    const sumi_value_plan *out = &net->values[op->out];
    sumi_source dy, sources[SUMI_SOURCES_MAX];
    sumi_gradient_source(net, op->out, &dy);
    if (plan->wants_dgrad)
        run_dgrad(net, node, &dy);
    int count = sumi_edge_sources(net, &op->in, sources);
    sumi_wgrad wgrad = {&plan->wgrad, sources, count, &dy};
    sumi_wgrad_run(net, &wgrad, net->n, plan->wgrad_groups, sumi_at(net, plan->partials),
                   sumi_gradient_data(net, layer->weight), plan->unfused);
    float *db = sumi_gradient_data(net, layer->bias);
    if (out->norm >= 0) /* the norm subtracts any bias again: the gradient is exactly zero */
        for (int k = 0; k < layer->out_channels; k++)
            db[k] = 0;
    else
        sumi_bias_gradient(net, &dy, net->n, out->h, out->w, db);
}

static double conv_cost(const sumi_network *net, int node)
{
    const sumi_conv_spec *spec = &net->nodes[node].forward;
    return (double)spec->h * spec->w * spec->cin * spec->cout * spec->ksize * spec->ksize;
}

const sumi_op sumi_op_conv = {"conv", conv_plan, conv_forward, conv_backward, conv_cost};
