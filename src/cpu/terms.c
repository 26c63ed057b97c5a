/*
 * What a value's gradient is made of. Each form in which nodes read a value gathers a gradient of
 * its own, and an addition passes its output's gradient on to its plain operands. Where that is one
 * term, it is read as it is, with what is pending on it; several are added up, in a fixed order,
 * before the backward of the node that made the value.
 */
#include "cpu/ops.h"

/* True where a node sends a gradient to form f of a value by writing it. */
static bool writes_form(const sumi_network *net, int node, int value, int f)
{
    const sumi_node_plan *plan = &net->nodes[node];
    if (plan->dead || sumi_node_facts(net, node)->pending)
        return false;
    for (int s = 0; s < plan->in.count; s++)
        if (plan->in.views[s].value == value && plan->in.views[s].form == f &&
            !plan->sources[s].passes)
            return true;
    return false;
}

/* True where a node adds to a vector's gradient without being one of its readers: by a shift, or a
 * modulation. */
static bool adds_to_vector(const sumi_network *net, int node, int value)
{
    const sumi_node_plan *plan = &net->nodes[node];
    bool adds = net->graph->nodes[node].vector == value;
    for (int s = 0; s < plan->in.count; s++)
        adds |= plan->in.views[s].post == value;
    return adds && !plan->dead;
}

static void find_readers(sumi_network *net, int index)
{
    const sumi_value *value = &net->graph->values[index];
    sumi_value_plan *plan = &net->values[index];
    for (int f = 0; f < value->form_count; f++) {
        sumi_form_plan *form = &plan->forms[f];
        if (!plan->live || !(plan->needs_gradient || value->forms[f].norm >= 0))
            continue;
        for (int i = 0; i < net->graph->node_count; i++) {
            if (f == 0 && adds_to_vector(net, i, index))
                form->last_reader = i;
            if (!writes_form(net, i, index, f))
                continue;
            form->last_reader = i;
            if (form->final_reader >= 0)
                continue;
            form->final_reader = i;
            for (int s = net->nodes[i].in.count - 1; s >= 0; s--)
                if (net->nodes[i].in.views[s].value == index && net->nodes[i].in.views[s].form == f)
                    form->final_source = s;
        }
    }
}

/* False where there are too many. */
static bool add_term(sumi_value_plan *plan, int form, int value)
{
    if (plan->term_count == SUMI_TERMS_MAX)
        return false;
    plan->terms[plan->term_count++] = (sumi_term){form, value};
    return true;
}

static sumi_status find_terms(sumi_network *net, int index, sumi_error *err)
{
    sumi_value_plan *plan = &net->values[index];
    bool fits = true;
    if (!plan->live || !plan->needs_gradient)
        return SUMI_OK;
    for (int f = 0; f < SUMI_FORMS_MAX; f++)
        if (plan->forms[f].last_reader >= 0)
            fits &= add_term(plan, f, -1);
    for (int i = 0; i < net->graph->node_count; i++)
        for (int s = 0; s < net->nodes[i].in.count; s++)
            if (net->nodes[i].sources[s].passes && net->nodes[i].in.views[s].value == index &&
                !net->nodes[i].dead)
                fits &= add_term(plan, 0, net->graph->nodes[i].out);
    return fits ? SUMI_OK
                : sumi_fail(err, SUMI_EUNSUPPORTED, "graph: value %d is added to too many others",
                            index);
}

/* An operand is made before its sum, so that by then every later use of the operand's gradient is
 * known. */
static void find_end(sumi_network *net, int index)
{
    sumi_value_plan *plan = &net->values[index];
    int producer = net->graph->values[index].producer;
    int back = producer < 0 ? sumi_time_end(net) : sumi_time_backward(net, producer);
    if (back > plan->gradient_end)
        plan->gradient_end = back;
    for (int i = 0; i < plan->term_count; i++) {
        if (plan->terms[i].value < 0)
            continue;
        sumi_value_plan *sum = &net->values[plan->terms[i].value];
        int end = plan->term_count > 1 ? back : plan->gradient_end;
        if (end > sum->gradient_end)
            sum->gradient_end = end;
    }
}

/* Who adds to a gradient: all readers but the first in backward order (the last in forward order).
 */
static sumi_status plan_sources(sumi_network *net, int node, sumi_error *err)
{
    sumi_node_plan *plan = &net->nodes[node];
    for (int i = 0; i < plan->in.count; i++) {
        const sumi_view *view = &plan->in.views[i];
        const sumi_value_plan *value = &net->values[view->value];
        sumi_source_plan *source = &plan->sources[i];
        for (int s = 0; s < i && !source->passes; s++) /* both would write the one gradient */
            if (plan->in.views[s].value == view->value && plan->in.views[s].form == view->form)
                return sumi_fail(err, SUMI_EUNSUPPORTED, "graph: node %d reads value %d twice",
                                 node, view->value);
        if (source->passes)
            continue;
        source->accumulate =
            value->forms[view->form].last_reader != node || net->graph->values[view->value].vector;
        plan->wants_dgrad |=
            value->needs_gradient || view->post >= 0 || sumi_view_form(net->graph, view)->norm >= 0;
    }
    return SUMI_OK;
}

static bool same_size(const sumi_network *net, int a, int b)
{
    return net->values[a].h == net->values[b].h && net->values[a].w == net->values[b].w;
}

/* Plain images are passed their share of an addition's gradient without a copy. */
static void find_passes(sumi_network *net, int node)
{
    sumi_node_plan *plan = &net->nodes[node];
    for (int i = 0; i < plan->in.count; i++) {
        const sumi_view *view = &plan->in.views[i];
        plan->sources[i].passes = sumi_node_facts(net, node)->passes_on && view->form == 0 &&
                                  view->post < 0 && !net->graph->values[view->value].vector &&
                                  same_size(net, view->value, net->graph->nodes[node].out);
    }
}

sumi_status sumi_plan_gradients(sumi_network *net, sumi_error *err)
{
    const sumi_graph *graph = net->graph;
    sumi_status status = SUMI_OK;
    for (int i = 0; i < graph->node_count; i++)
        find_passes(net, i);
    if (sumi_training(net)) {
        for (int i = 0; i < graph->node_count; i++)
            net->nodes[i].dead = net->flow.dead[i];
        for (int i = 0; i < graph->value_count; i++)
            find_readers(net, i);
        for (int i = 0; i < graph->value_count && status == SUMI_OK; i++)
            status = find_terms(net, i, err);
        for (int i = 0; i < graph->value_count; i++)
            find_end(net, i);
    }
    for (int i = 0; i < graph->node_count && status == SUMI_OK; i++)
        if (!sumi_node_facts(net, i)->pending)
            status = plan_sources(net, i, err);
    return status;
}

bool sumi_value_is_centred(const sumi_network *net, int value)
{
    const sumi_value_plan *plan = &net->values[value];
    for (int i = 0; i < plan->term_count; i++) {
        int norm = net->graph->values[value].forms[plan->terms[i].form].norm;
        if (plan->terms[i].value >= 0 || norm < 0 || sumi_node_layer(net, norm)->groups > 0)
            return false;
    }
    return plan->term_count > 0;
}

void sumi_sum_terms(const sumi_run *run, int value)
{
    const sumi_network *net = run->net;
    const sumi_value_plan *plan = &net->values[value];
    size_t row = (size_t)plan->w * (size_t)net->graph->values[value].channels;
    sumi_source sources[SUMI_TERMS_MAX];
    if (plan->term_count < 2)
        return;
    for (int i = 0; i < plan->term_count; i++)
        sumi_term_source(run, value, &plan->terms[i], &sources[i]);
    sumi_sink sink = {.dst = sumi_at(net, plan->sum),
                      .bf16 = plan->bf16,
                      .c = net->graph->values[value].channels,
                      .sums = sumi_at(net, plan->sums)};
    sumi_sum_run(run, sources, plan->term_count, &sink, value, sumi_band_rows(plan->h, row));
}
