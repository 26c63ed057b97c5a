/*
 * The plan: what is known about a graph once its size and mode are: shapes, which store applies
 * which norm, who writes, adds to and completes each gradient, and where every buffer lives.
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
    const sumi_value *value = &net->graph->values[index];
    return value->vector ? 1 : net->config.h >> value->level;
}

int sumi_value_w(const sumi_network *net, int index)
{
    const sumi_value *value = &net->graph->values[index];
    return value->vector ? 1 : net->config.w >> value->level;
}

/* ---- Values ---------------------------------------------------------------------------------- */

size_t sumi_value_bytes(const sumi_network *net, int value)
{
    const sumi_value_plan *plan = &net->values[value];
    size_t count = plan->image_floats * (size_t)sumi_value_rows(net, value);
    return count * (plan->bf16 ? sizeof(uint16_t) : sizeof(float));
}

static const sumi_facts *facts_of(const sumi_network *net, int node)
{
    return sumi_kind_facts(net->graph->nodes[node].kind);
}

const sumi_layer *sumi_node_layer(const sumi_network *net, int node)
{
    return &net->graph->layers[net->graph->nodes[node].layer];
}

bool sumi_reads_value(const sumi_network *net, int node, int value)
{
    return sumi_edge_reads(&net->nodes[node].in, value);
}

static bool runs_unfused(const sumi_network *net, int node)
{
    return net->config.unfused || (node < 64 && net->config.unfused_nodes >> node & 1);
}

/* Notes a reader's pending norm and activation; they must be the same for all readers. */
static bool note_view(sumi_value_plan *plan, const sumi_view *view)
{
    bool first = plan->final_reader < 0;
    if (!first && (plan->norm != view->norm || plan->act != view->act))
        return false;
    plan->norm = view->norm;
    plan->act = view->act;
    return true;
}

static sumi_status plan_value(sumi_network *net, int index, sumi_error *err)
{
    const sumi_graph *graph = net->graph;
    const sumi_value *value = &graph->values[index];
    sumi_value_plan *plan = &net->values[index];
    *plan = (sumi_value_plan){.norm = -1,
                              .last_reader = -1,
                              .final_reader = -1,
                              .table_at = SUMI_NOWHERE,
                              .raw = SUMI_NOWHERE,
                              .grad = SUMI_NOWHERE,
                              .moments = SUMI_NOWHERE};
    plan->h = sumi_value_h(net, index);
    plan->w = sumi_value_w(net, index);
    plan->image_floats = (size_t)plan->h * (size_t)plan->w * (size_t)value->channels;
    plan->bf16 = net->config.precision == SUMI_PRECISION_BF16 && !value->vector &&
                 index != SUMI_IN_IMAGE && index != graph->output.views[0].value;
    plan->needs_gradient = index != SUMI_IN_IMAGE && index != SUMI_IN_TIME;
    for (int i = 0; i < graph->node_count; i++) {
        const sumi_edge *in = &net->nodes[i].in;
        if (facts_of(net, i)->pending || !sumi_reads_value(net, i, index))
            continue;
        plan->last_reader = i;
        for (int s = 0, reads = 0; s < in->count; s++) {
            if (in->views[s].value != index)
                continue;
            if (reads++ > 0) /* both would write the one gradient */
                return sumi_fail(err, SUMI_EUNSUPPORTED, "graph: node %d reads value %d twice", i,
                                 index);
            if (!note_view(plan, &in->views[s]))
                return sumi_fail(err, SUMI_EUNSUPPORTED,
                                 "graph: value %d is read with different norms or activations",
                                 index);
            if (plan->final_reader < 0) {
                plan->final_reader = i;
                plan->final_source = s;
            }
        }
    }
    plan->absorbed = !sumi_training(net) && value->producer >= 0 &&
                     facts_of(net, value->producer)->stores_views &&
                     !runs_unfused(net, value->producer) &&
                     (plan->norm >= 0 || plan->act != SUMI_ACT_NONE);
    return SUMI_OK;
}

/* The time of a value's last use, given what reads it and, in training, its producer's backward. */
static int value_end(const sumi_network *net, int index)
{
    const sumi_value_plan *plan = &net->values[index];
    int last = net->graph->values[index].producer;
    for (int i = 0; i < net->graph->node_count; i++)
        if (sumi_reads_value(net, i, index)) {
            int time = sumi_training(net) ? sumi_time_backward(net, i) : i;
            last = time > last ? time : last;
        }
    if (net->graph->output.views[0].value == index)
        return sumi_time_end(net);
    bool gradient_reads_it = plan->norm >= 0 || plan->act != SUMI_ACT_NONE;
    if (sumi_training(net) && gradient_reads_it)
        last = sumi_time_backward(net, net->graph->values[index].producer);
    return last;
}

int sumi_value_rows(const sumi_network *net, int value)
{
    return net->values[value].time_only ? net->time_table.batch : net->config.n_max;
}

static void reserve_value(sumi_network *net, int index)
{
    const sumi_value *value = &net->graph->values[index];
    sumi_value_plan *plan = &net->values[index];
    bool output = net->graph->output.views[0].value == index;
    size_t bytes = sumi_value_bytes(net, index);
    if (index == SUMI_IN_IMAGE)
        return; /* the caller's memory */
    if (value->producer >= 0 && net->nodes[value->producer].skipped)
        return; /* it never exists */
    /* What depends on t alone is computed, and copied from its table, before anything else. */
    int begin = plan->time_only ? 0 : value->producer;
    int end = plan->time_only && plan->table_at == SUMI_NOWHERE ? 0 : value_end(net, index);
    if (!output || sumi_training(net))
        sumi_reserve(net, bytes, begin, end, &plan->raw, "value", index);
    if (!sumi_training(net) || !plan->needs_gradient)
        return;
    /* Vectors' gradients are small sums from many readers: zeroed at the start, always added to. */
    int first = output          ? net->graph->node_count
                : value->vector ? 0
                                : sumi_time_backward(net, plan->last_reader);
    sumi_reserve(net, bytes, first, sumi_time_backward(net, value->producer), &plan->grad,
                 "gradient", index);
}

/* Who adds to a gradient: all readers but the first in backward order (the last in forward order).
 */
static void plan_accumulation(sumi_network *net, int node)
{
    const sumi_edge *in = &net->nodes[node].in;
    for (int i = 0; i < in->count; i++) {
        int value = in->views[i].value;
        bool later = false; /* does a node further on in forward order read it too? */
        for (int j = node + 1; j < net->graph->node_count; j++)
            for (int s = 0; s < net->nodes[j].in.count; s++)
                later |= !facts_of(net, j)->pending && net->nodes[j].in.views[s].value == value;
        for (int s = i + 1; s < in->count; s++)
            later |= in->views[s].value == value;
        net->nodes[node].sources[i].accumulate = later || net->graph->values[value].vector;
        net->nodes[node].wants_dgrad |= net->values[value].needs_gradient || in->views[i].post >= 0;
    }
}

/* ---- Creation -------------------------------------------------------------------------------- */

void sumi_plan_sums(sumi_network *net, int node, int i, int bands)
{
    const sumi_view *view = &net->nodes[node].in.views[i];
    sumi_source_plan *source = &net->nodes[node].sources[i];
    int norm = net->values[view->value].norm, back = sumi_time_backward(net, node);
    size_t row = 3 * (size_t)net->graph->values[view->value].channels * sizeof(float);
    source->sum_bands = bands;
    if (view->post >= 0 || norm >= 0)
        sumi_reserve(net, (size_t)net->config.n_max * (size_t)bands * row, back,
                     norm >= 0 ? sumi_time_backward(net, norm) : back, &source->sums, "sums", node);
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
        plan_accumulation(net, i);
        plan_rounding(net, i);
        if (!net->nodes[i].skipped && op->plan)
            op->plan(net, i);
    }
}

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

static sumi_status plan_all(sumi_network *net, sumi_error *err)
{
    const sumi_graph *graph = net->graph;
    for (int i = 0; i < graph->node_count; i++)
        sumi_plan_upsampling(net, i);
    for (int i = 0; i < graph->value_count; i++) {
        sumi_status status = plan_value(net, i, err);
        if (status != SUMI_OK)
            return status;
    }
    sumi_time_table_plan(net);
    plan_nodes(net);
    for (int i = 0; i < graph->value_count; i++)
        reserve_value(net, i);
    sumi_loss_plan(net);
    reserve_shared(net);
    if (net->out_of_memory)
        return sumi_fail_memory(err, "the plan", 0);
    sumi_arena_lay_out(net);
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
        plan->unfused = runs_unfused(net, i);
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
    free(net->buffers);
    free(net);
}

size_t sumi_network_bytes(const sumi_network *net)
{
    return net->arena_bytes;
}
