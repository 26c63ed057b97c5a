/*
 * Which gradients a training needs: those on a way from a loss to a parameter.
 */
#include "graph/plan.h"

#include <stdlib.h>

/* True where a parameter is behind the value. Values stand in the order in which they are made. */
static bool needs_gradient(const sumi_graph *graph, const bool *needed, int value)
{
    int producer = graph->values[value].producer;
    if (producer < 0 || sumi_kind_facts(graph->nodes[producer].kind)->no_gradient)
        return false;
    const sumi_node *node = &graph->nodes[producer];
    bool needs = node->layer >= 0;
    for (int i = 0; i < node->in.count; i++) {
        const sumi_view *view = &node->in.views[i];
        needs |= needed[view->value] || sumi_view_form(graph, view)->norm >= 0 ||
                 (view->post >= 0 && needed[view->post]);
    }
    return needs;
}

/* True where a node that is not dead reads a value through the norm. */
static bool norm_is_read(const sumi_graph *graph, const sumi_flow *flow, int norm)
{
    for (int i = norm + 1; i < graph->node_count; i++) {
        const sumi_node *node = &graph->nodes[i];
        if (flow->dead[i] || sumi_kind_facts(node->kind)->pending)
            continue;
        for (int s = 0; s < node->in.count; s++)
            if (sumi_view_form(graph, &node->in.views[s])->norm == norm)
                return true;
    }
    return false;
}

/* From the last node back, so that what reads a node's output is known. */
static void mark_live(const sumi_graph *graph, sumi_flow *flow)
{
    for (int i = graph->node_count - 1; i >= 0; i--) {
        const sumi_node *node = &graph->nodes[i];
        const sumi_facts *facts = sumi_kind_facts(node->kind);
        bool live = facts->loss || (node->out >= 0 && flow->live[node->out]) ||
                    (facts->pending && norm_is_read(graph, flow, i));
        flow->dead[i] = !live || node->superseded;
        for (int s = 0; s < node->in.count && !flow->dead[i]; s++) {
            flow->live[node->in.views[s].value] = true;
            if (node->in.views[s].post >= 0)
                flow->live[node->in.views[s].post] = true;
        }
        if (!flow->dead[i] && node->vector >= 0)
            flow->live[node->vector] = true;
    }
}

sumi_status sumi_flow_find(const sumi_graph *graph, sumi_flow *flow, sumi_error *err)
{
    size_t values = (size_t)graph->value_count, nodes = (size_t)graph->node_count;
    *flow =
        (sumi_flow){sumi_calloc(values + 1, sizeof(bool)), sumi_calloc(values + 1, sizeof(bool)),
                    sumi_calloc(nodes + 1, sizeof(bool))};
    if (!flow->needed || !flow->live || !flow->dead)
        return sumi_fail_memory(err, "a network's plan", 0);
    for (int i = 0; i < graph->value_count; i++)
        flow->needed[i] = needs_gradient(graph, flow->needed, i);
    mark_live(graph, flow);
    return SUMI_OK;
}

void sumi_flow_free(sumi_flow *flow)
{
    free(flow->needed);
    free(flow->live);
    free(flow->dead);
    *flow = (sumi_flow){NULL, NULL, NULL};
}
