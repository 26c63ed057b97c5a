/*
 * Which additions are left to the node that makes the later of their operands: its store adds the
 * other one and writes the sum, so that neither the operand nor the addition is a pass over memory.
 */
#include "cpu/network.h"

static int reader_count(const sumi_network *net, int value)
{
    int readers = 0;
    for (int n = 0; n < net->graph->node_count; n++)
        for (int s = 0; s < net->nodes[n].in.count; s++)
            readers += net->nodes[n].in.views[s].value == value;
    return readers;
}

static bool is_image(const sumi_network *net, const sumi_view *view)
{
    return view->form == 0 && view->post < 0 && !net->graph->values[view->value].vector;
}

void sumi_plan_residual(sumi_network *net, int node)
{
    const sumi_graph *graph = net->graph;
    const sumi_node *add = &graph->nodes[node];
    sumi_node_plan *plan = &net->nodes[node];
    if (!sumi_node_facts(net, node)->passes_on || plan->unfused || plan->skipped)
        return;
    const sumi_view *views = plan->in.views;
    if (plan->in.count != 2)
        return;
    int later = graph->values[views[1].value].producer > graph->values[views[0].value].producer;
    int value = views[later].value, other = views[1 - later].value;
    int by = graph->values[value].producer;
    if (by < 0 || value == other || !is_image(net, &views[0]) || !is_image(net, &views[1]) ||
        net->nodes[by].unfused || net->nodes[by].stores != value ||
        !(sumi_node_facts(net, by)->absorbs_reader & sumi_kind_bit(add->kind)) ||
        reader_count(net, value) != 1 || sumi_graph_is_output(graph, value) ||
        (net->config.precision == SUMI_PRECISION_BF16 &&
         sumi_value_is_wide(net, other) != sumi_value_is_wide(net, add->out)))
        return;
    net->nodes[by].stores = add->out;
    net->nodes[by].residual = other;
    plan->skipped = true;
}
