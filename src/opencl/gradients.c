/*
 * What a value's gradient is made of: its terms, for how long they are needed, and adding them up.
 */
#include "opencl/network.h"

#include <string.h>

/* ---- Plan ------------------------------------------------------------------------------------ */

/* True where the node's output's gradient is that of its sources: nothing is written. */
static bool passes(const sumi_network *net, int node, int source)
{
    return sumi_cl_facts(net, node)->passes_on &&
           sumi_cl_same_size(net, net->nodes[node].in.views[source].value,
                             net->graph->nodes[node].out);
}

static bool wants_gradient(const sumi_network *net, int node, int source)
{
    const sumi_view *view = &net->nodes[node].in.views[source];
    const sumi_facts *facts = sumi_cl_facts(net, node);
    if (net->nodes[node].dead || facts->pending || facts->no_gradient ||
        (net->graph->nodes[node].out >= 0 && !net->flow.needed[net->graph->nodes[node].out]))
        return false;
    return net->flow.needed[view->value] || sumi_view_form(net->graph, view)->norm >= 0 ||
           (view->post >= 0 && net->flow.needed[view->post]);
}

static sumi_status add_term(sumi_network *net, int node, int source, sumi_error *err)
{
    const sumi_view *view = &net->nodes[node].in.views[source];
    sumi_cl_value *value = &net->values[view->value];
    if (value->term_count == SUMI_CL_TERMS_MAX)
        return sumi_fail(err, SUMI_EUNSUPPORTED, "graph: value %d is read by too many others",
                         view->value);
    value->terms[value->term_count++] =
        (sumi_cl_term){.form = view->form,
                       .node = node,
                       .source = source,
                       .passed = passes(net, node, source) ? net->graph->nodes[node].out : -1};
    return SUMI_OK;
}

/* An operand is made before its sum, so that by then every later use of the operand's gradient is
 * known. */
static void find_end(sumi_network *net, int index)
{
    sumi_cl_value *value = &net->values[index];
    int producer = net->graph->values[index].producer;
    int back = producer < 0 ? 2 * net->graph->node_count : sumi_cl_backward_time(net, producer);
    if (back > value->gradient_end)
        value->gradient_end = back;
    for (int t = 0; t < value->term_count; t++) {
        int passed = value->terms[t].passed;
        if (passed >= 0 && net->values[passed].gradient_end < value->gradient_end)
            net->values[passed].gradient_end = value->gradient_end;
    }
}

sumi_status sumi_cl_plan_gradients(sumi_network *net, sumi_error *err)
{
    sumi_status status = SUMI_OK;
    for (int i = 0; i < net->graph->node_count; i++)
        for (int s = 0; s < net->nodes[i].in.count && status == SUMI_OK; s++) {
            net->nodes[i].sources[s].wanted = wants_gradient(net, i, s);
            if (net->nodes[i].sources[s].wanted)
                status = add_term(net, i, s, err);
        }
    for (int i = 0; i < net->graph->value_count && status == SUMI_OK; i++)
        find_end(net, i);
    return status;
}

/* True where the value is a vector that shifts or modulates. */
static bool is_added_to(const sumi_network *net, int index)
{
    for (int i = 0; i < net->graph->node_count; i++) {
        const sumi_cl_node *plan = &net->nodes[i];
        if (plan->dead)
            continue;
        if (net->graph->nodes[i].vector == index)
            return true;
        for (int s = 0; s < plan->in.count; s++)
            if (plan->in.views[s].post == index && plan->sources[s].wanted)
                return true;
    }
    return false;
}

static bool is_plain(const sumi_network *net, int index, const sumi_cl_term *term)
{
    const sumi_form *form = &net->graph->values[index].forms[term->form];
    return form->norm < 0 && form->act == SUMI_ACT_NONE;
}

static void reserve_value(sumi_network *net, int index)
{
    sumi_cl_value *value = &net->values[index];
    size_t floats = value->image_floats * (size_t)net->config.n_max;
    int producer = net->graph->values[index].producer;
    if (!value->trained)
        return;
    bool added = is_added_to(net, index);
    if (added)
        sumi_cl_reserve(net, floats, net->graph->node_count, value->gradient_end, &value->added);
    int shares = value->term_count + added;
    bool one = shares == 1 && (value->term_count == 0 || is_plain(net, index, &value->terms[0]));
    if (shares > 0 && !one)
        sumi_cl_reserve(net, floats, sumi_cl_backward_time(net, producer), value->gradient_end,
                        &value->gradient);
}

void sumi_cl_reserve_gradients(sumi_network *net)
{
    for (int i = 0; i < net->graph->value_count; i++)
        reserve_value(net, i);
    for (int i = 0; i < net->graph->node_count; i++)
        for (int s = 0; s < net->nodes[i].in.count; s++) {
            sumi_cl_source *source = &net->nodes[i].sources[s];
            const sumi_cl_value *value = &net->values[net->nodes[i].in.views[s].value];
            if (source->wanted && !passes(net, i, s))
                sumi_cl_reserve(net, value->image_floats * (size_t)net->config.n_max,
                                sumi_cl_backward_time(net, i), value->gradient_end,
                                &source->gradient);
        }
}

/* ---- Places ---------------------------------------------------------------------------------- */

sumi_place sumi_cl_source_gradient(const sumi_network *net, int node, int source)
{
    const sumi_cl_source *plan = &net->nodes[node].sources[source];
    if (plan->gradient != SUMI_NOWHERE || !plan->wanted)
        return plan->gradient;
    return sumi_cl_gradient(net, net->graph->nodes[node].out);
}

sumi_place sumi_cl_gradient(const sumi_network *net, int index)
{
    const sumi_cl_value *value = &net->values[index];
    if (value->gradient != SUMI_NOWHERE)
        return value->gradient;
    if (value->term_count == 0)
        return value->added;
    return sumi_cl_source_gradient(net, value->terms[0].node, value->terms[0].source);
}

/* ---- Adding up ------------------------------------------------------------------------------- */

/* A term at its norm: what comes before that is left out. */
static sumi_cl_term_args term_args(const sumi_cl_call *call, int index, const sumi_cl_term *term)
{
    const sumi_network *net = call->net;
    const sumi_form *form = &net->graph->values[index].forms[term->form];
    sumi_cl_term_args out = {
        .at = sumi_cl_word(sumi_cl_source_gradient(net, term->node, term->source)),
        .act = (int)form->act,
        .scale = SUMI_CL_NOWHERE,
        .shift = SUMI_CL_NOWHERE,
        .ga = SUMI_CL_NOWHERE,
        .gb = SUMI_CL_NOWHERE,
        .gk = SUMI_CL_NOWHERE};
    if (form->norm >= 0) {
        const sumi_cl_node *norm = &net->nodes[form->norm];
        out.scale = sumi_cl_word(norm->scale) + (uint32_t)form->first;
        out.shift = sumi_cl_word(norm->shift) + (uint32_t)form->first;
        out.row = norm->per_image ? sumi_cl_layer(net, form->norm)->in_channels : 0;
    }
    return out;
}

/* True where an earlier term went through the same norm: a norm's sums are of all of them, and what
 * comes of these counts once. */
static bool norm_was_seen(const sumi_network *net, int index, int term)
{
    const sumi_form *forms = net->graph->values[index].forms;
    const sumi_cl_term *terms = net->values[index].terms;
    for (int t = 0; t < term; t++)
        if (forms[terms[t].form].norm == forms[terms[term].form].norm)
            return true;
    return false;
}

static sumi_cl_term_args whole_term(const sumi_cl_call *call, int index, int t)
{
    const sumi_network *net = call->net;
    const sumi_cl_term *term = &net->values[index].terms[t];
    const sumi_form *form = &net->graph->values[index].forms[term->form];
    sumi_cl_term_args out = term_args(call, index, term);
    if (form->norm < 0)
        return out;
    const sumi_cl_node *norm = &net->nodes[form->norm];
    out.ga = sumi_cl_word(norm->ga) + (uint32_t)form->first;
    if (!norm_was_seen(net, index, t)) {
        out.gb = sumi_cl_word(norm->gb) + (uint32_t)form->first;
        out.gk = sumi_cl_word(norm->gk) + (uint32_t)form->first;
    }
    return out;
}

int sumi_cl_norm_terms(const sumi_cl_call *call, int value, int norm, sumi_cl_term_args *out)
{
    const sumi_network *net = call->net;
    int count = 0;
    for (int t = 0; t < net->values[value].term_count; t++) {
        const sumi_cl_term *term = &net->values[value].terms[t];
        if (net->graph->values[value].forms[term->form].norm == norm)
            out[count++] = term_args(call, value, term);
    }
    return count;
}

static void add_some(const sumi_cl_call *call, int index, const sumi_cl_term_args *terms, int count,
                     bool adds)
{
    const sumi_cl_value *value = &call->net->values[index];
    sumi_cl_terms_args args = {.terms = count,
                               .x = sumi_cl_word(value->at),
                               .out = sumi_cl_word(value->gradient),
                               .count = (uint32_t)(value->image_floats * (size_t)call->n),
                               .c = call->net->graph->values[index].channels,
                               .pixels = value->h * value->w,
                               .adds = adds};
    memcpy(args.term, terms, (size_t)count * sizeof *terms);
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_TERM_SUM, &args, sizeof args);
    launch.count = 2;
    sumi_cl_run_items(call, &launch, args.count, 1, 1);
}

void sumi_cl_add_terms(const sumi_cl_call *call, int index)
{
    const sumi_cl_value *value = &call->net->values[index];
    sumi_cl_term_args terms[SUMI_CL_TERMS_MAX + 1];
    int count = 0;
    if (value->gradient == SUMI_NOWHERE)
        return;
    for (int t = 0; t < value->term_count; t++)
        terms[count++] = whole_term(call, index, t);
    if (value->added != SUMI_NOWHERE)
        terms[count++] = (sumi_cl_term_args){.at = sumi_cl_word(value->added),
                                             .scale = SUMI_CL_NOWHERE,
                                             .shift = SUMI_CL_NOWHERE,
                                             .ga = SUMI_CL_NOWHERE,
                                             .gb = SUMI_CL_NOWHERE,
                                             .gk = SUMI_CL_NOWHERE};
    for (int first = 0; first < count; first += SUMI_CL_TERMS) {
        int left = count - first;
        add_some(call, index, terms + first, left < SUMI_CL_TERMS ? left : SUMI_CL_TERMS,
                 first > 0);
    }
}

/* ---- Shifts ---------------------------------------------------------------------------------- */

void sumi_cl_add_shifts(const sumi_cl_call *call, int node)
{
    const sumi_network *net = call->net;
    const sumi_edge *in = &net->nodes[node].in;
    for (int s = 0; s < in->count; s++) {
        const sumi_view *view = &in->views[s];
        if (view->post < 0 || net->values[view->post].added == SUMI_NOWHERE)
            continue;
        const sumi_cl_value *value = &net->values[view->value];
        sumi_cl_post_args args = {.dy = sumi_cl_word(sumi_cl_source_gradient(net, node, s)),
                                  .out = sumi_cl_word(net->values[view->post].added) +
                                         (uint32_t)view->post_offset,
                                  .n = call->n,
                                  .c = net->graph->values[view->value].channels,
                                  .pixels = value->h * value->w,
                                  .row = net->graph->values[view->post].channels,
                                  .bands = value->h * value->w};
        sumi_place stored = net->nodes[node].sources[s].shifts;
        if (stored != SUMI_NOWHERE) {
            args.dy = sumi_cl_word(stored);
            args.bands = value->bands;
            args.segments = sumi_cl_sum_segments(net, node, s);
        }
        sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_POST, &args, sizeof args);
        launch.count = 2;
        sumi_cl_run_items(call, &launch, (size_t)args.c, (size_t)call->n, 1);
    }
}

void sumi_cl_clear_added(const sumi_cl_call *call)
{
    const sumi_network *net = call->net;
    for (int i = 0; i < net->graph->value_count; i++)
        if (net->values[i].added != SUMI_NOWHERE)
            sumi_cl_zero(call->device, net->arena + net->values[i].added * sizeof(float),
                         net->values[i].image_floats * (size_t)call->n * sizeof(float));
}
