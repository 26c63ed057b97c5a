/*
 * Images that need no padding: the passes that would copy them are left out. A padded image that is
 * read in a form of its own (a norm, an activation) is copied all the same.
 */
#include "cpu/network.h"

static bool same_size(const sumi_network *net, int a, int b)
{
    return sumi_value_h(net, a) == sumi_value_h(net, b) &&
           sumi_value_w(net, a) == sumi_value_w(net, b);
}

static int plain_readers(const sumi_network *net, int value)
{
    const sumi_plan_edges edges = {&net->nodes[0].in, sizeof *net->nodes};
    return sumi_plain_readers(net->graph, &edges, value);
}

static void leave_out(sumi_network *net, int node)
{
    net->nodes[node].skipped = true;
    net->nodes[node].in.count = 0;
}

/* Readers of the node's output read its input. */
static void plan_pad(sumi_network *net, int node)
{
    const sumi_node *pad = &net->graph->nodes[node];
    int from = pad->in.views[0].value;
    if (plain_readers(net, pad->out) < 0 || sumi_graph_is_output(net->graph, pad->out))
        return;
    for (int n = 0; n < net->graph->node_count; n++)
        for (int s = 0; s < net->nodes[n].in.count; s++)
            if (net->nodes[n].in.views[s].value == pad->out)
                net->nodes[n].in.views[s].value = from;
    leave_out(net, node);
}

/* The node that makes what is cropped writes the result. */
static void plan_crop(sumi_network *net, int node)
{
    const sumi_node *crop = &net->graph->nodes[node];
    int value = crop->in.views[0].value, by = net->graph->values[value].producer;
    if (plain_readers(net, value) != 1 || sumi_graph_is_output(net->graph, value) || by < 0 ||
        net->nodes[by].unfused || net->nodes[by].stores != value ||
        !(sumi_node_facts(net, by)->absorbs_reader & sumi_kind_bit(crop->kind)))
        return;
    net->nodes[by].stores = crop->out;
    net->nodes[node].skipped = true;
}

void sumi_plan_padding(sumi_network *net, int node)
{
    const sumi_node *op = &net->graph->nodes[node];
    if (net->nodes[node].unfused || op->out < 0 || !same_size(net, op->in.views[0].value, op->out))
        return;
    if (op->kind == SUMI_KIND_PAD)
        plan_pad(net, node);
    if (op->kind == SUMI_KIND_CROP)
        plan_crop(net, node);
}
