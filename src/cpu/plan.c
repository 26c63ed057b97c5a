/*
 * The plan: what is known about a graph once its size and mode are: shapes, which store applies
 * what, who reads which form, and where every buffer lives. Gradients have a file of their own
 * (terms.c).
 */
#include <stdlib.h>

#include "cpu/ops.h"

int sumi_time_forward(const sumi_network *net, int node)
{
    (void)net;
    return node;
}

int sumi_time_backward(const sumi_network *net, int node)
{
    return 2 * net->graph->node_count - node;
}

bool sumi_training(const sumi_network *net)
{
    return net->config.mode == SUMI_MODE_TRAIN;
}

int sumi_time_end(const sumi_network *net)
{
    return sumi_training(net) ? 2 * net->graph->node_count : net->graph->node_count;
}

int sumi_value_h(const sumi_network *net, int index)
{
    return sumi_graph_size(net->graph, index, net->config.h);
}

int sumi_value_w(const sumi_network *net, int index)
{
    return sumi_graph_size(net->graph, index, net->config.w);
}

const sumi_facts *sumi_node_facts(const sumi_network *net, int node)
{
    return sumi_kind_facts(net->graph->nodes[node].kind);
}

const sumi_layer *sumi_node_layer(const sumi_network *net, int node)
{
    return &net->graph->layers[net->graph->nodes[node].layer];
}

/* ---- Readers --------------------------------------------------------------------------------- */

bool sumi_reads_value(const sumi_network *net, int node, int value)
{
    return sumi_edge_reads(&net->nodes[node].in, value) ||
           (net->graph->nodes[node].vector == value && !net->nodes[node].skipped);
}

bool sumi_reads_form(const sumi_network *net, int node, int value, int form)
{
    const sumi_edge *in = &net->nodes[node].in;
    if (sumi_node_facts(net, node)->pending)
        return false;
    for (int i = 0; i < in->count; i++)
        if (in->views[i].value == value && in->views[i].form == form)
            return true;
    return false;
}

const sumi_form *sumi_view_pending(const sumi_network *net, const sumi_view *view)
{
    const sumi_value *value = &net->graph->values[view->value];
    return &value->forms[net->values[view->value].absorbed == view->form ? 0 : view->form];
}

static bool runs_unfused(const sumi_network *net, int node)
{
    return net->config.unfused || (node < 64 && net->config.unfused_nodes >> node & 1);
}

/* ---- Values ---------------------------------------------------------------------------------- */

size_t sumi_value_bytes(const sumi_network *net, int value)
{
    const sumi_value_plan *plan = &net->values[value];
    size_t count = plan->image_floats * (size_t)sumi_value_rows(net, value);
    return count * (plan->bf16 ? sizeof(uint16_t) : sizeof(float));
}

int sumi_value_rows(const sumi_network *net, int value)
{
    return net->values[value].time_only ? net->time_table.batch : net->config.n_max;
}

bool sumi_value_is_wide(const sumi_network *net, int value)
{
    const sumi_graph *graph = net->graph;
    bool wide = graph->values[value].producer < 0 || sumi_graph_is_output(graph, value);
    for (int i = 0; i < graph->node_count && !wide; i++)
        wide = sumi_node_facts(net, i)->keeps_wide && sumi_edge_reads(&graph->nodes[i].in, value);
    return wide;
}

static void plan_value(sumi_network *net, int index)
{
    const sumi_graph *graph = net->graph;
    const sumi_value *value = &graph->values[index];
    sumi_value_plan *plan = &net->values[index];
    *plan = (sumi_value_plan){.stored_by = -1,
                              .table_at = SUMI_NOWHERE,
                              .raw = SUMI_NOWHERE,
                              .sum = SUMI_NOWHERE,
                              .sums = SUMI_NOWHERE,
                              .moments = SUMI_NOWHERE};
    for (int f = 0; f < SUMI_FORMS_MAX; f++)
        plan->forms[f] =
            (sumi_form_plan){.last_reader = -1, .final_reader = -1, .gradient = SUMI_NOWHERE};
    plan->h = sumi_value_h(net, index);
    plan->w = sumi_value_w(net, index);
    plan->image_floats = (size_t)plan->h * (size_t)plan->w * (size_t)value->channels;
    plan->bf16 = net->config.precision == SUMI_PRECISION_BF16 && !value->vector &&
                 !sumi_value_is_wide(net, index);
    plan->needs_gradient = net->flow.needed[index];
    plan->live = sumi_training(net) && net->flow.live[index];
    for (int i = 0; i < graph->node_count; i++) {
        if (net->nodes[i].stores == index && !net->nodes[i].skipped)
            plan->stored_by = i;
        for (int f = 0; f < value->form_count; f++)
            plan->forms[f].read |= sumi_reads_form(net, i, index, f);
    }
}

/* True where a form is known in eval mode before its value is: a norm by running statistics. */
static bool is_known_before(const sumi_network *net, const sumi_form *form)
{
    return form->norm < 0 || (sumi_node_layer(net, form->norm)->groups == 0 &&
                              net->graph->nodes[form->norm].vector < 0);
}

/* In predict mode, the form that the node which writes a value can apply at once, so that readers
 * need not: the only one in which the value is read. 0 where there is none. */
static int absorbed_form(const sumi_network *net, int index)
{
    const sumi_value *value = &net->graph->values[index];
    const sumi_value_plan *plan = &net->values[index];
    int by = plan->stored_by, one = 0, count = 0;
    for (int f = 0; f < value->form_count; f++)
        if (plan->forms[f].read) {
            one = f;
            count++;
        }
    const sumi_form *form = &value->forms[one];
    if (sumi_training(net) || by < 0 || count != 1 || net->nodes[by].unfused ||
        !sumi_node_facts(net, by)->stores_views || sumi_graph_is_output(net->graph, index) ||
        !is_known_before(net, form) || (form->norm >= 0 && net->nodes[by].residual >= 0))
        return 0;
    return one;
}

/* The time of a value's last use. In training that may be in backward: a node that had the value as
 * a source reads it again there, and going back through a form reads it too. */
static int value_end(const sumi_network *net, int index)
{
    const sumi_value *value = &net->graph->values[index];
    const sumi_value_plan *plan = &net->values[index];
    int last = plan->stored_by;
    if (sumi_graph_is_output(net->graph, index))
        return sumi_time_end(net);
    for (int i = 0; i < net->graph->node_count; i++) {
        if (!sumi_reads_value(net, i, index))
            continue;
        /* True where the node's backward does without the value: it passes gradients on as they
         * are, or is pending and needs moments alone. */
        bool passes = true;
        for (int s = 0; s < net->nodes[i].in.count; s++)
            passes &= net->nodes[i].sources[s].passes;
        int time = sumi_training(net) && !passes ? sumi_time_backward(net, i) : i;
        last = time > last ? time : last;
    }
    for (int f = 1; f < value->form_count && sumi_training(net); f++)
        if (plan->forms[f].read && plan->gradient_end > last)
            last = plan->gradient_end;
    return last;
}

/* The sum of a gradient's terms, and what biases need of it. */
static void reserve_sum(sumi_network *net, int index)
{
    sumi_value_plan *plan = &net->values[index];
    size_t channels = (size_t)net->graph->values[index].channels;
    int now = sumi_time_backward(net, net->graph->values[index].producer);
    int rows = sumi_band_rows(plan->h, (size_t)plan->w * channels);
    plan->sum_bands = (plan->h + rows - 1) / rows;
    sumi_reserve(net, sumi_value_bytes(net, index), now, plan->gradient_end, &plan->sum,
                 "summed gradient", index);
    sumi_reserve(net,
                 (size_t)sumi_value_rows(net, index) * (size_t)plan->sum_bands * 3 * channels *
                     sizeof(float),
                 now, plan->gradient_end, &plan->sums, "sums", index);
}

static void reserve_value(sumi_network *net, int index)
{
    const sumi_value *value = &net->graph->values[index];
    sumi_value_plan *plan = &net->values[index];
    bool output = sumi_graph_is_output(net->graph, index);
    size_t bytes = sumi_value_bytes(net, index);
    if (plan->stored_by >= 0 && (!output || sumi_training(net))) {
        /* A value that depends on the time alone is there before the first node runs: it is
         * computed, or copied from its table. */
        int begin = plan->time_only ? 0 : plan->stored_by;
        int end = plan->time_only && plan->table_at == SUMI_NOWHERE ? 0 : value_end(net, index);
        sumi_reserve(net, bytes, begin, end, &plan->raw, "value", index);
    }
    for (int f = 0; f < value->form_count; f++) {
        sumi_form_plan *form = &plan->forms[f];
        if (form->last_reader < 0)
            continue;
        /* Vectors' gradients are small sums from many readers: zeroed at the start, always added
         * to. */
        int first = value->vector ? 0 : sumi_time_backward(net, form->last_reader);
        sumi_reserve(net, bytes, first, plan->gradient_end, &form->gradient, "gradient", index);
    }
    if (plan->term_count > 1)
        reserve_sum(net, index);
}

/* ---- Nodes ----------------------------------------------------------------------------------- */

void sumi_plan_sums(sumi_network *net, int node, int i, int bands)
{
    const sumi_view *view = &net->nodes[node].in.views[i];
    sumi_source_plan *source = &net->nodes[node].sources[i];
    int norm = sumi_view_form(net->graph, view)->norm, back = sumi_time_backward(net, node);
    size_t row = 3 * (size_t)net->graph->values[view->value].channels * sizeof(float);
    source->sum_bands = bands;
    if (view->post >= 0 || norm >= 0)
        sumi_reserve(net, (size_t)net->config.n_max * (size_t)bands * row, back,
                     norm >= 0 ? sumi_time_backward(net, norm) : back, &source->sums, "sums", node);
}

void sumi_plan_moments(sumi_network *net, int value, int rows, int bands)
{
    sumi_value_plan *plan = &net->values[value];
    size_t row = 2 * (size_t)net->graph->values[value].channels * sizeof(float);
    int last = -1, first = -1;
    plan->rows = rows;
    plan->bands = bands;
    for (int i = 0; i < net->graph->node_count; i++) {
        int layer = net->graph->nodes[i].layer;
        if (!sumi_node_facts(net, i)->pending || !sumi_edge_reads(&net->nodes[i].in, value) ||
            (!sumi_training(net) && net->graph->layers[layer].groups == 0))
            continue;
        last = i;
        first = first < 0 ? i : first;
    }
    if (last >= 0)
        sumi_reserve(net, (size_t)net->config.n_max * (size_t)bands * row,
                     plan->stored_by >= 0 ? plan->stored_by : first, last, &plan->moments,
                     "moments", value);
}

void *sumi_plan_own(sumi_network *net, int node, size_t size)
{
    net->nodes[node].own = sumi_calloc(1, size);
    if (!net->nodes[node].own)
        net->out_of_memory = true;
    return net->nodes[node].own;
}

/* Notes how much room a layer's rounded weights need. */
static void plan_rounding(sumi_network *net, int node)
{
    int layer = net->graph->nodes[node].layer;
    int weight = layer < 0 ? -1 : net->graph->layers[layer].weight;
    if (net->config.precision != SUMI_PRECISION_BF16 || weight < 0)
        return;
    size_t bytes = net->graph->params.items[weight].count * sizeof(float);
    if (bytes > net->rounded_bytes)
        net->rounded_bytes = bytes;
}

static void plan_nodes(sumi_network *net)
{
    for (int i = 0; i < net->graph->node_count && !net->out_of_memory; i++) {
        const sumi_op *op = sumi_node_op(net, i);
        plan_rounding(net, i);
        sumi_plan_terms(net, i);
        if (!net->nodes[i].skipped && op->plan)
            op->plan(net, i);
    }
}

/* ---- Creation -------------------------------------------------------------------------------- */

/* What does not belong to a value or a node. */
static void reserve_shared(sumi_network *net)
{
    size_t threads = (size_t)sumi_pool_threads(net->pool);
    int end = sumi_time_end(net);
    net->scratch_bytes = (net->scratch_bytes + 4095) / 4096 * 4096 + 256;
    sumi_reserve(net, net->scratch_bytes * threads, 0, end, &net->scratch, "scratch", 0);
    if (net->rounded_bytes > 0)
        sumi_reserve(net, net->rounded_bytes, 0, end, &net->rounded, "rounded weights", 0);
    for (int i = 0; i < 3; i++)
        if (net->temp_bytes[i] > 0)
            sumi_reserve(net, net->temp_bytes[i], 0, end, &net->temp[i], "temporary", i);
}

/* Adding up the terms of a gradient, where there are several, takes scratch for a band of rows. */
static void plan_sum_scratch(sumi_network *net, int value)
{
    const sumi_value_plan *plan = &net->values[value];
    size_t row = (size_t)plan->w * (size_t)net->graph->values[value].channels;
    if (plan->term_count > 1)
        sumi_want_scratch(net, sumi_sum_scratch(net, value, sumi_band_rows(plan->h, row)));
}

static sumi_status plan_all(sumi_network *net, sumi_error *err)
{
    const sumi_graph *graph = net->graph;
    sumi_status status = sumi_flow_find(graph, &net->flow, err);
    if (status != SUMI_OK)
        return status;
    for (int i = 0; i < graph->node_count; i++)
        sumi_plan_padding(net, i);
    for (int i = 0; i < graph->node_count; i++)
        sumi_plan_upsampling(net, i);
    for (int i = 0; i < graph->node_count; i++)
        sumi_plan_residual(net, i);
    for (int i = 0; i < graph->value_count; i++)
        plan_value(net, i);
    for (int i = 0; i < graph->value_count; i++)
        net->values[i].absorbed = absorbed_form(net, i);
    status = sumi_plan_gradients(net, err);
    if (status != SUMI_OK)
        return status;
    sumi_time_table_plan(net);
    plan_nodes(net);
    for (int i = 0; i < graph->value_count; i++) {
        reserve_value(net, i);
        plan_sum_scratch(net, i);
    }
    reserve_shared(net);
    if (net->out_of_memory || net->buffers.failed)
        return sumi_fail_memory(err, "the plan", 0);
    net->arena_bytes = sumi_buffers_lay_out(&net->buffers);
    net->arena = sumi_pages_alloc(net->arena_bytes);
    return net->arena ? SUMI_OK : sumi_fail_memory(err, "the network's buffers", net->arena_bytes);
}

static sumi_status make_plans(sumi_network *net, sumi_error *err)
{
    const sumi_graph *graph = net->graph;
    net->scratch = net->rounded = SUMI_NOWHERE;
    for (int i = 0; i < 3; i++)
        net->temp[i] = SUMI_NOWHERE;
    net->values = sumi_calloc((size_t)graph->value_count, sizeof *net->values);
    net->node_count = graph->node_count;
    net->nodes = sumi_calloc((size_t)graph->node_count, sizeof *net->nodes);
    if (!net->values || !net->nodes)
        return sumi_fail_memory(err, "a network's plan", 0);
    for (int i = 0; i < graph->node_count; i++) {
        sumi_node_plan *plan = &net->nodes[i];
        plan->in = graph->nodes[i].in;
        plan->stores = graph->nodes[i].out;
        plan->residual = -1;
        plan->unfused = runs_unfused(net, i);
        plan->skipped =
            graph->nodes[i].superseded || (sumi_node_facts(net, i)->loss && !sumi_training(net));
        if (plan->skipped)
            plan->in.count = 0;
        for (int s = 0; s < SUMI_SOURCES_MAX; s++)
            plan->sources[s].sums = SUMI_NOWHERE;
    }
    return plan_all(net, err);
}

sumi_status sumi_network_create(const sumi_graph *graph, const sumi_kernels *kernels,
                                sumi_pool *pool, const sumi_plan_config *config, sumi_network **out,
                                sumi_error *err)
{
    sumi_status status = sumi_plan_check(graph, config, err);
    if (status != SUMI_OK)
        return status;
    sumi_network *net = sumi_calloc(1, sizeof *net);
    if (!net)
        return sumi_fail_memory(err, "a network", sizeof *net);
    net->graph = graph;
    net->weights = (sumi_weights){graph->params.values, graph->params.statistics};
    net->kernels = kernels;
    net->pool = pool;
    net->config = *config;
    status = make_plans(net, err);
    if (status != SUMI_OK) {
        sumi_network_free(net);
        return status;
    }
    *out = net;
    return SUMI_OK;
}

void sumi_network_free(sumi_network *net)
{
    if (!net)
        return;
    for (int i = 0; net->nodes && i < net->node_count; i++)
        free(net->nodes[i].own);
    sumi_pages_free(net->arena, net->arena_bytes);
    free(net->values);
    free(net->nodes);
    sumi_buffers_free(&net->buffers);
    sumi_flow_free(&net->flow);
    free(net);
}

size_t sumi_network_bytes(const sumi_network *net)
{
    return net->arena_bytes;
}
