/*
 * Who reads a value in a plan.
 */
#include "graph/plan.h"

int sumi_plain_readers(const sumi_graph *graph, const sumi_plan_edges *edges, int value)
{
    int readers = 0;
    const char *at = (const char *)edges->first;
    for (int n = 0; n < graph->node_count; n++, at += edges->stride) {
        const sumi_edge *in = (const void *)at;
        for (int s = 0; s < in->count; s++) {
            const sumi_view *view = &in->views[s];
            if (view->value != value)
                continue;
            if (view->form != 0 || view->post >= 0 ||
                sumi_kind_facts(graph->nodes[n].kind)->pending)
                return -1;
            readers++;
        }
    }
    return readers;
}
