/*
 * The least that a node has to move to and from memory: its tensors read and written once, and its
 * parameters. What stays in a cache between two nodes is not taken off, and what an algorithm adds
 * (packed weights, strips that overlap) is not put on: with the multiply-adds it says which of the
 * two a node could at best be limited by.
 */
#include "cpu/ops.h"

/* Of n images. */
static double value_bytes(const sumi_network *net, int value, int n)
{
    double bytes = net->values[value].bf16 ? 2 : 4;
    return (double)net->values[value].image_floats * n * bytes;
}

static double row_bytes(int c)
{
    return (double)c * (double)sizeof(float);
}

static double param_bytes(const sumi_network *net, int param)
{
    return param < 0 ? 0 : (double)net->graph->params.items[param].count * (double)sizeof(float);
}

static double layer_bytes(const sumi_network *net, const sumi_node *op)
{
    if (op->layer < 0)
        return 0;
    const sumi_layer *layer = &net->graph->layers[op->layer];
    return param_bytes(net, layer->weight) + param_bytes(net, layer->bias);
}

/* A source with its shift. */
static double view_bytes(const sumi_network *net, const sumi_view *view, int n)
{
    double shift = view->post < 0 ? 0 : row_bytes(net->graph->values[view->value].channels) * n;
    return value_bytes(net, view->value, n) + shift;
}

/* A norm touches no tensor: forward it reads means and squared differences of each band and writes
 * four rows; backward it reads three sums of each band, writes three rows and two gradients. Where
 * each image has rows of its own, there are so many of the rows. */
static double pending_bytes(const sumi_network *net, int node, int n, bool backward)
{
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_edge *in = &net->nodes[node].in;
    double rows = sumi_norm_rows_of(net, node).stride > 0 ? n : 1, bytes = 0;
    if (!sumi_training(net) && sumi_node_layer(net, node)->groups == 0)
        return 0;
    for (int i = 0; i < in->count; i++) {
        const sumi_view *view = &in->views[i];
        double row = row_bytes(net->graph->values[view->value].channels);
        bytes += backward ? row * (3.0 * n * sumi_norm_sum_bands(net, node, i) + 3 * rows + 2)
                          : row * (2.0 * n * net->values[view->value].bands + 4 * rows);
    }
    return backward ? bytes : bytes + layer_bytes(net, op);
}

static double forward_bytes(const sumi_network *net, int node, int n)
{
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_node_plan *plan = &net->nodes[node];
    double bytes = plan->stores < 0 ? 0 : value_bytes(net, plan->stores, n);
    bytes += layer_bytes(net, op);
    if (plan->residual >= 0)
        bytes += value_bytes(net, plan->residual, n);
    const sumi_edge *in = &net->nodes[node].in;
    for (int i = 0; i < in->count; i++)
        bytes += view_bytes(net, &in->views[i], n);
    return bytes;
}

/* A value's gradient, which needs the value where a norm or an activation is behind it. */
static double arriving_bytes(const sumi_network *net, int value, int n)
{
    const sumi_value_plan *plan = &net->values[value];
    if (plan->term_count == 1 && plan->terms[0].value >= 0)
        return arriving_bytes(net, plan->terms[0].value, n);
    bool masked = plan->term_count == 1 && plan->terms[0].form > 0;
    return value_bytes(net, value, n) * (masked ? 2 : 1);
}

/* Several terms of a gradient are read, and their sum is written. */
static double sum_bytes(const sumi_network *net, int value, int n)
{
    const sumi_value_plan *plan = &net->values[value];
    double bytes = value_bytes(net, value, n);
    if (plan->term_count < 2)
        return 0;
    for (int i = 0; i < plan->term_count; i++)
        bytes += plan->terms[i].value >= 0
                     ? arriving_bytes(net, plan->terms[i].value, n)
                     : value_bytes(net, value, n) * (plan->terms[i].form > 0 ? 2 : 1);
    return bytes;
}

/* Source i: its gradient written or added to, and its shift's gradient added to. */
static double leaving_bytes(const sumi_network *net, int node, int i, int n)
{
    const sumi_view *view = &net->nodes[node].in.views[i];
    const sumi_source_plan *source = &net->nodes[node].sources[i];
    double bytes = 0;
    if (source->passes)
        return 0;
    if (net->values[view->value].forms[view->form].gradient != SUMI_NOWHERE)
        bytes = value_bytes(net, view->value, n) * (source->accumulate ? 2 : 1);
    if (view->post >= 0)
        bytes += 2 * n * row_bytes(net->graph->values[view->value].channels);
    return bytes;
}

/* Whether source i itself is read: for a weight gradient, to find a maximum again, or for the sums
 * of the norm that is pending on it. */
static bool backward_reads(const sumi_network *net, int node, int i)
{
    const sumi_view *view = &net->nodes[node].in.views[i];
    const sumi_form_plan *form = &net->values[view->value].forms[view->form];
    return sumi_node_facts(net, node)->reads_again ||
           (sumi_view_form(net->graph, view)->norm >= 0 && form->final_reader == node &&
            form->final_source == i);
}

static double backward_bytes(const sumi_network *net, int node, int n)
{
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_node_plan *plan = &net->nodes[node];
    double bytes = layer_bytes(net, op);
    if (op->out >= 0)
        bytes += arriving_bytes(net, op->out, n) + sum_bytes(net, op->out, n);
    if (op->layer >= 0 && plan->wants_dgrad)
        bytes += param_bytes(net, net->graph->layers[op->layer].weight);
    for (int i = 0; i < plan->in.count; i++) {
        bytes += backward_reads(net, node, i) ? view_bytes(net, &plan->in.views[i], n) : 0;
        bytes += plan->wants_dgrad ? leaving_bytes(net, node, i, n) : 0;
    }
    return bytes;
}

double sumi_node_bytes(const sumi_network *net, int node, int n, bool backward)
{
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_facts *facts = sumi_kind_facts(op->kind);
    if (sumi_time_only(net, node) || net->nodes[node].skipped || (backward && facts->no_gradient))
        return 0;
    if (facts->loss) /* output and target read, gradient written */
        return backward ? 3 * value_bytes(net, op->in.views[0].value, n) : 0;
    if (facts->pending)
        return pending_bytes(net, node, n, backward);
    return backward ? backward_bytes(net, node, n) : forward_bytes(net, node, n);
}

double sumi_node_macs(const sumi_network *net, int node)
{
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_facts *facts = sumi_kind_facts(op->kind);
    if (!facts->macs || sumi_time_only(net, node))
        return 0;
    return facts->macs(net->graph, op, net->values[op->out].h, net->values[op->out].w);
}
