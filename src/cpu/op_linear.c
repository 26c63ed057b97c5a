/*
 * Linear layer on vectors [n][c], as torch.nn.Linear: a 1x1 convolution over an image of n rows and
 * one column.
 */
#include <string.h>

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
    /* The weights' gradient is taken of a group of images at a time. */
    *spec = (sumi_conv_spec){.h = direction == SUMI_CONV_WGRAD ? sumi_plan_group_images(net)
                                                               : sumi_value_rows(net, op->out),
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

/* The planned spec with a row for each of n images. */
static sumi_conv_spec of_images(const sumi_conv_spec *planned, int n)
{
    sumi_conv_spec spec = *planned;
    spec.h = n;
    spec.rows = planned->rows < n ? planned->rows : n;
    spec.bands = n > 0 ? (n + spec.rows - 1) / spec.rows : 0;
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
    sumi_conv_spec spec = of_images(&plan->forward, run->n);
    sumi_conv_pass pass = {{&spec, sources, count, &sink, 1, packed},
                           pack ? sumi_param_data(net, layer->weight) : NULL,
                           NULL,
                           packed};
    sumi_conv_run(net, &pass, 1, 1, false);
}

/* The gradient of the inputs. */
static void input_backward(const sumi_run *run, int node, const sumi_source *dy)
{
    const sumi_network *net = run->net;
    const linear_plan *plan = net->nodes[node].own;
    sumi_source stats[SUMI_SOURCES_MAX];
    sumi_sink sinks[SUMI_SOURCES_MAX];
    float *packed = sumi_at(net, plan->packed_dgrad);
    int count = net->nodes[node].in.count;
    for (int i = 0; i < count; i++)
        sumi_gradient_sink(run, node, i, &stats[i], &sinks[i]);
    sumi_conv_spec dgrad = of_images(&plan->dgrad, run->n);
    sumi_conv_pass pass = {{&dgrad, dy, 1, sinks, count, packed},
                           sumi_param_data(net, sumi_node_layer(net, node)->weight),
                           NULL,
                           packed};
    sumi_conv_run(net, &pass, 1, 1, false);
}

/* The source from this row on: it is one image, of which each row is a vector of float32. */
static sumi_source from_row(const sumi_source *source, int row)
{
    sumi_source out = *source;
    size_t at = (size_t)row * (size_t)source->c;
    out.r = source->r ? (const float *)source->r + at : NULL;
    out.g = source->g ? (const float *)source->g + at : NULL;
    return out;
}

/* The gradient of the weights, of one group of images. */
static void weight_backward(const sumi_run *run, int node, const sumi_source *dy, int group)
{
    const sumi_network *net = run->net;
    const linear_plan *plan = net->nodes[node].own;
    int weight = sumi_node_layer(net, node)->weight;
    int begin = sumi_run_border(run, group), n = sumi_run_border(run, group + 1) - begin;
    float *dw = sumi_run_term(run, node, weight, group);
    sumi_source rows, sources[SUMI_SOURCES_MAX];
    if (n == 0) {
        memset(dw, 0, net->graph->params.items[weight].count * sizeof *dw);
        return;
    }
    int count = sumi_edge_sources(run, &net->nodes[node].in, sources);
    for (int i = 0; i < count; i++)
        sources[i] = from_row(&sources[i], begin);
    rows = from_row(dy, begin);
    sumi_conv_spec wgrad = of_images(&plan->wgrad, n);
    const sumi_conv_gradients gradients = {.wgrad = {.wgrad = {&wgrad, sources, count, &rows},
                                                     .pieces = 1,
                                                     .partials = sumi_at(net, plan->partials),
                                                     .dw = dw}};
    sumi_conv_backward(net, &gradients, 1, 1, false);
}

static void linear_backward(const sumi_run *run, int node)
{
    sumi_source dy;
    sumi_gradient_source(run, run->net->graph->nodes[node].out, &dy);
    if (run->net->nodes[node].wants_dgrad)
        input_backward(run, node, &dy);
    for (int group = 0; group < sumi_run_groups(run); group++)
        weight_backward(run, node, &dy, group);
    sumi_bias_gradient(run, node, &dy, true);
    sumi_run_fold(run, node);
}

const sumi_op sumi_op_linear = {linear_make_plan, linear_forward, linear_backward, NULL};
