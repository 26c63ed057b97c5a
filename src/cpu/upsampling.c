/*
 * Which convolutions up-sample their sources by themselves (SUMI_CONV_UPSAMPLED): then the large
 * tensor is never made, and the up-sampling that would have made it is skipped.
 */
#include "cpu/network.h"

/* The node that makes source i of a node and may be left to it: where it alone reads the result and
 * nothing is pending that would have to come between the two; or -1. */
static int own_upsampling(const sumi_network *net, int node, int i)
{
    const sumi_graph *graph = net->graph;
    const sumi_view *view = &graph->nodes[node].in.views[i];
    const sumi_facts *facts = sumi_kind_facts(graph->nodes[node].kind);
    int up = graph->values[view->value].producer;
    if (up < 0 || !(facts->absorbs & sumi_kind_bit(graph->nodes[up].kind)) ||
        net->nodes[up].unfused || view->form != 0 || graph->nodes[up].in.views[0].post >= 0 ||
        sumi_graph_is_output(graph, view->value))
        return -1;
    int readers = 0;
    for (int n = 0; n < graph->node_count; n++)
        for (int s = 0; s < graph->nodes[n].in.count; s++)
            readers += graph->nodes[n].in.views[s].value == view->value;
    return readers == 1 ? up : -1;
}

void sumi_plan_upsampling(sumi_network *net, int node)
{
    const sumi_node *conv = &net->graph->nodes[node];
    sumi_node_plan *plan = &net->nodes[node];
    if (!sumi_kind_facts(conv->kind)->absorbs || plan->unfused || net->config.force >= 0)
        return;
    int up[SUMI_SOURCES_MAX], changes = 0, channels = 0;
    for (int i = 0; i < conv->in.count; i++) {
        up[i] = own_upsampling(net, node, i);
        changes += i > 0 && (up[i] >= 0) != (up[i - 1] >= 0);
        channels += up[i] >= 0 ? net->graph->values[conv->in.views[i].value].channels : 0;
    }
    sumi_conv_spec spec = {.h = sumi_value_h(net, conv->out),
                           .w = sumi_value_w(net, conv->out),
                           .cin = channels,
                           .cout = net->graph->values[conv->out].channels,
                           .ksize = sumi_node_layer(net, node)->ksize,
                           .up = true,
                           .bf16 = net->config.precision == SUMI_PRECISION_BF16};
    if (channels == 0 || changes > 1)
        return;
    net->kernels->conv_plan(&spec, -1);
    for (int i = 0; i < conv->in.count && spec.up; i++) {
        if (up[i] < 0)
            continue;
        sumi_view small = net->graph->nodes[up[i]].in.views[0];
        small.post = conv->in.views[i].post; /* it commutes: the weights of a pixel add up to 1 */
        small.post_offset = conv->in.views[i].post_offset;
        plan->in.views[i] = small;
        plan->sources[i].up = true;
        net->nodes[up[i]].skipped = true;
        net->nodes[up[i]].in.count = 0;
    }
}
