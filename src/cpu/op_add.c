/*
 * The sum of two views. Where one operand is a convolution's, that one's store usually does it
 * (residual.c), and plain images get their gradient without a copy (terms.c); what is left runs
 * here.
 */
#include "cpu/ops.h"

static int rows_of(const sumi_network *net, int node)
{
    int value = net->graph->nodes[node].out;
    const sumi_value_plan *plan = &net->values[value];
    return sumi_band_rows(plan->h, (size_t)plan->w * (size_t)net->graph->values[value].channels);
}

static void add_plan(sumi_network *net, int node)
{
    int value = net->graph->nodes[node].out, rows = rows_of(net, node), h = net->values[value].h;
    sumi_plan_moments(net, value, rows, (h + rows - 1) / rows);
    sumi_want_scratch(net, sumi_sum_scratch(net, value, rows));
    for (int i = 0; i < net->nodes[node].in.count && sumi_training(net); i++)
        if (!net->nodes[node].sources[i].passes)
            sumi_plan_sums(net, node, i, (h + rows - 1) / rows);
}

static void add_forward(const sumi_run *run, int node)
{
    int value = run->net->graph->nodes[node].out;
    sumi_source sources[SUMI_SOURCES_MAX];
    sumi_sink sink;
    int count = sumi_edge_sources(run, &run->net->nodes[node].in, sources);
    sumi_value_sink(run, value, &sink);
    sumi_sum_run(run, sources, count, &sink, value, rows_of(run->net, node));
}

static void add_backward(const sumi_run *run, int node)
{
    const sumi_node_plan *plan = &run->net->nodes[node];
    int value = run->net->graph->nodes[node].out;
    for (int i = 0; i < plan->in.count; i++) {
        sumi_source dy, stat;
        sumi_sink sink;
        if (plan->sources[i].passes)
            continue;
        sumi_gradient_source(run, value, &dy);
        sumi_gradient_sink(run, node, i, &stat, &sink);
        if (sink.dst || sink.sums)
            sumi_sum_run(run, &dy, 1, &sink, value, rows_of(run->net, node));
    }
    sumi_post_gradients(run, node);
}

const sumi_op sumi_op_add = {add_plan, add_forward, add_backward, NULL};
