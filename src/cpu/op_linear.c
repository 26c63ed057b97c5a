/*
 * Linear layer on vectors [n][c], as torch.nn.Linear: a 1x1 convolution over an image of n rows and
 * one column.
 */
#include "cpu/ops.h"

typedef struct {
    sumi_conv_spec forward, dgrad, wgrad;
    sumi_place packed, packed_dgrad, partials;
} linear_plan;

static void plan_spec(sumi_network *net, sumi_conv_spec *spec, sumi_conv_direction direction,
                      int node)
{
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_layer *layer = sumi_node_layer(net, node);
    bool dgrad = direction == SUMI_CONV_DGRAD;
    *spec = (sumi_conv_spec){.h = sumi_value_rows(net, op->out),
                             .w = 1,
                             .cin = dgrad ? layer->out_channels : layer->in_channels,
                             .cout = dgrad ? layer->in_channels : layer->out_channels,
                             .ksize = 1,
                             .direction = direction};
    net->kernels->conv_plan(spec, -1);
    sumi_want_scratch(net, spec->scratch_floats * sizeof(float));
}

static void linear_make_plan(sumi_network *net, int node)
{
    linear_plan *plan = sumi_plan_own(net, node, sizeof *plan);
    if (!plan)
        return;
    plan->packed = plan->packed_dgrad = plan->partials = SUMI_NOWHERE;
    int now = sumi_time_forward(net, node), back = sumi_time_backward(net, node);
    bool training = sumi_training(net);
    plan_spec(net, &plan->forward, SUMI_CONV_FORWARD, node);
    sumi_reserve(net, plan->forward.packed_floats * sizeof(float), training ? now : 0,
                 training ? now : sumi_time_end(net), &plan->packed, "weights", node);
    if (!training)
        return;
    plan_spec(net, &plan->wgrad, SUMI_CONV_WGRAD, node);
    sumi_reserve(net, plan->wgrad.partial_floats * sizeof(float), back, back, &plan->partials,
                 "partials", node);
    /* sumi_bias_gradient: a row of doubles and one of floats. */
    sumi_want_scratch(net, 4 * (size_t)sumi_node_layer(net, node)->out_channels * sizeof(float));
    if (!net->nodes[node].wants_dgrad)
        return;
    plan_spec(net, &plan->dgrad, SUMI_CONV_DGRAD, node);
    sumi_reserve(net, plan->dgrad.packed_floats * sizeof(float), back, back, &plan->packed_dgrad,
                 "weights", node);
}

/* The planned spec with as many rows as this run has images. */
static sumi_conv_spec of_this_run(const sumi_run *run, const sumi_conv_spec *planned)
{
    sumi_conv_spec spec = *planned;
    spec.h = run->n;
    spec.rows = planned->rows < run->n ? planned->rows : run->n;
    spec.bands = (run->n + spec.rows - 1) / spec.rows;
    return spec;
}

static void linear_forward(const sumi_run *run, int node)
{
    sumi_network *net = run->net;
    const linear_plan *plan = net->nodes[node].own;
    const sumi_layer *layer = sumi_node_layer(net, node);
    bool pack = sumi_training(net) || !net->packed_valid;
    float *packed = sumi_at(net, plan->packed);
    sumi_source sources[SUMI_SOURCES_MAX];
    sumi_sink sink;
    int count = sumi_edge_sources(run, &net->nodes[node].in, sources);
    sumi_value_sink(run, net->graph->nodes[node].out, &sink);
    sink.bias = sumi_param_data(net, layer->bias);
    sumi_conv_spec spec = of_this_run(run, &plan->forward);
    sumi_conv_pass pass = {{&spec, sources, count, &sink, 1, packed},
                           pack ? sumi_param_data(net, layer->weight) : NULL,
                           NULL,
                           packed};
    sumi_conv_run(net, &pass, 1, 1, false);
}

static void linear_backward(const sumi_run *run, int node)
{
    const sumi_network *net = run->net;
    const linear_plan *plan = net->nodes[node].own;
    const sumi_layer *layer = sumi_node_layer(net, node);
    sumi_source dy, sources[SUMI_SOURCES_MAX], stats[SUMI_SOURCES_MAX];
    sumi_sink sinks[SUMI_SOURCES_MAX];
    sumi_gradient_source(run, net->graph->nodes[node].out, &dy);
    int count = sumi_edge_sources(run, &net->nodes[node].in, sources);
    sumi_conv_spec wgrad = of_this_run(run, &plan->wgrad), dgrad;
    sumi_conv_gradients gradients = {.wgrad = {.wgrad = {&wgrad, sources, count, &dy},
                                               .groups = 1,
                                               .partials = sumi_at(net, plan->partials),
                                               .dw = sumi_gradient_data(run, layer->weight)}};
    if (net->nodes[node].wants_dgrad) {
        float *packed = sumi_at(net, plan->packed_dgrad);
        for (int i = 0; i < count; i++)
            sumi_gradient_sink(run, node, i, &stats[i], &sinks[i]);
        dgrad = of_this_run(run, &plan->dgrad);
        gradients.dgrad = (sumi_conv_pass){{&dgrad, &dy, 1, sinks, count, packed},
                                           sumi_param_data(net, layer->weight),
                                           NULL,
                                           packed};
    }
    sumi_conv_backward(net, &gradients, 1, 1, false);
    sumi_bias_gradient(net, &dy, 1, run->n, 1, sumi_gradient_data(run, layer->bias));
}

const sumi_op sumi_op_linear = {linear_make_plan, linear_forward, linear_backward, NULL};
