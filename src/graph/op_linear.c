/*
 * Linear layer on vectors [n][c], as torch.nn.Linear: a 1x1 convolution over an image of n rows and
 * one column.
 */
#include "graph/ops.h"

static void plan_spec(sumi_network *net, sumi_conv_spec *spec, sumi_conv_direction direction,
                      int node)
{
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_layer *layer = &net->graph->layers[op->layer];
    bool dgrad = direction == SUMI_CONV_DGRAD;
    *spec = (sumi_conv_spec){.h = sumi_value_rows(net, op->out),
                             .w = 1,
                             .cin = dgrad ? layer->out_channels : layer->in_channels,
                             .cout = dgrad ? layer->in_channels : layer->out_channels,
                             .ksize = 1,
                             .direction = direction};
    net->kernels->conv_plan(spec, -1);
    sumi_want_scratch(net, spec->scratch_floats);
}

static void linear_plan(sumi_network *net, int node)
{
    const sumi_layer *layer = &net->graph->layers[net->graph->nodes[node].layer];
    sumi_part *part = &net->nodes[node].parts[0];
    net->nodes[node].part_count = 1;
    int now = sumi_time_forward(net, node), back = sumi_time_backward(net, node);
    plan_spec(net, &part->forward, SUMI_CONV_FORWARD, node);
    if (!sumi_training(net)) {
        sumi_reserve(net, part->forward.packed_floats, 0, sumi_time_end(net), &part->packed,
                     "weights", node);
        return;
    }
    sumi_reserve(net, part->forward.packed_floats, now, now, &part->packed, "weights", node);
    plan_spec(net, &part->wgrad, SUMI_CONV_WGRAD, node);
    sumi_reserve(net, part->wgrad.partial_floats, back, back, &part->partials, "partials", node);
    /* sumi_bias_gradient: a row of doubles and one of floats. */
    sumi_want_scratch(net, 4 * (size_t)layer->out_channels);
    if (!net->nodes[node].wants_dgrad)
        return;
    plan_spec(net, &part->dgrad, SUMI_CONV_DGRAD, node);
    sumi_reserve(net, part->dgrad.packed_floats, back, back, &part->packed_dgrad, "weights", node);
}

/* The planned spec with as many rows as this run has images. */
static sumi_conv_spec of_this_run(const sumi_network *net, const sumi_conv_spec *spec)
{
    sumi_conv_spec run = *spec;
    run.h = net->n;
    run.rows = spec->rows < net->n ? spec->rows : net->n;
    run.bands = (net->n + run.rows - 1) / run.rows;
    return run;
}

static void linear_forward(sumi_network *net, int node)
{
    const sumi_part *part = &net->nodes[node].parts[0];
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_layer *layer = &net->graph->layers[op->layer];
    bool pack = sumi_training(net) || !net->packed_valid;
    float *packed = sumi_at(net, part->packed);
    sumi_source sources[SUMI_SOURCES_MAX];
    int count = sumi_edge_sources(net, &op->in, sources);
    sumi_sink sink = {.dst = sumi_value_data(net, op->out),
                      .c = layer->out_channels,
                      .bias = sumi_param_data(net, layer->bias)};
    sumi_conv_spec spec = of_this_run(net, &part->forward);
    sumi_conv_pass pass = {{&spec, sources, count, &sink, 1, packed},
                           pack ? sumi_param_data(net, layer->weight) : NULL,
                           NULL,
                           packed};
    sumi_conv_run(net, &pass, 1, 1, false);
}

static void linear_backward(sumi_network *net, int node)
{
    const sumi_part *part = &net->nodes[node].parts[0];
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_layer *layer = &net->graph->layers[op->layer];
    sumi_source dy, sources[SUMI_SOURCES_MAX], stats[SUMI_SOURCES_MAX];
    sumi_sink sinks[SUMI_SOURCES_MAX];
    sumi_gradient_source(net, op->out, &dy);
    int count = sumi_edge_sources(net, &op->in, sources);
    sumi_conv_spec wgrad = of_this_run(net, &part->wgrad), dgrad;
    sumi_conv_gradients gradients = {.wgrad = {.wgrad = {&wgrad, sources, count, &dy},
                                               .groups = 1,
                                               .partials = sumi_at(net, part->partials),
                                               .dw = sumi_gradient_data(net, layer->weight)}};
    if (net->nodes[node].wants_dgrad) {
        float *packed = sumi_at(net, part->packed_dgrad);
        for (int i = 0; i < count; i++)
            sumi_gradient_sink(net, node, i, &stats[i], &sinks[i]);
        dgrad = of_this_run(net, &part->dgrad);
        gradients.dgrad = (sumi_conv_pass){{&dgrad, &dy, 1, sinks, count, packed},
                                           sumi_param_data(net, layer->weight),
                                           NULL,
                                           packed};
    }
    sumi_conv_backward(net, &gradients, 1, 1, false);
    sumi_bias_gradient(net, &dy, 1, net->n, 1, sumi_gradient_data(net, layer->bias));
}

static double linear_cost(const sumi_network *net, int node)
{
    const sumi_conv_spec *spec = &net->nodes[node].parts[0].forward;
    return (double)spec->cin * spec->cout;
}

const sumi_op sumi_op_linear = {"linear", linear_plan, linear_forward, linear_backward,
                                linear_cost};
