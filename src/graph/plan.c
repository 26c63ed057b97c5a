/*
 * The plan: what is known about a graph once its size and mode are: shapes, which store applies
 * which norm, who writes, adds to and completes each gradient, and where every buffer lives.
 */
#include <limits.h>
#include <stdlib.h>

#include "graph/ops.h"

enum { ALIGN_FLOATS = 16 };

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

void sumi_reserve(sumi_network *net, size_t floats, int first, int last, sumi_place *place,
                  const char *what, int index)
{
    *place = SUMI_NOWHERE;
    if (net->buffer_count == net->buffer_capacity) {
        int bigger = net->buffer_capacity > 0 ? net->buffer_capacity * 2 : 128;
        void *moved = realloc(net->buffers, (size_t)bigger * sizeof *net->buffers);
        if (!moved) {
            net->out_of_memory = true;
            return;
        }
        net->buffers = moved;
        net->buffer_capacity = bigger;
    }
    floats = (floats + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    net->buffers[net->buffer_count++] = (sumi_buffer){floats, first, last, place, what, index};
}

void sumi_want_scratch(sumi_network *net, size_t floats)
{
    if (floats > net->scratch_floats)
        net->scratch_floats = floats;
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

size_t sumi_value_floats(const sumi_network *net, int value)
{
    const sumi_value_plan *plan = &net->values[value];
    size_t count = plan->image_floats * (size_t)sumi_value_rows(net, value);
    return plan->bf16 ? (count + 1) / 2 : count;
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
                              .grad = SUMI_NOWHERE};
    plan->h = sumi_value_h(net, index);
    plan->w = sumi_value_w(net, index);
    plan->image_floats = (size_t)plan->h * (size_t)plan->w * (size_t)value->channels;
    plan->bf16 = net->config.precision == SUMI_PRECISION_BF16 && !value->vector &&
                 index != SUMI_IN_IMAGE && index != graph->output.views[0].value;
    plan->needs_gradient = index != SUMI_IN_IMAGE && index != SUMI_IN_TIME;
    for (int i = 0; i < graph->node_count; i++) {
        const sumi_edge *in = &net->nodes[i].in;
        if (graph->nodes[i].op == &sumi_op_norm || !sumi_reads_value(net, i, index))
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
    const sumi_op *producer = value->producer < 0 ? NULL : graph->nodes[value->producer].op;
    plan->absorbed = !sumi_training(net) && producer == &sumi_op_conv &&
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
    size_t floats = sumi_value_floats(net, index);
    if (index == SUMI_IN_IMAGE)
        return; /* the caller's memory */
    if (value->producer >= 0 && net->nodes[value->producer].skipped)
        return; /* it never exists */
    /* What depends on t alone is computed, and copied from its table, before anything else. */
    int begin = plan->time_only ? 0 : value->producer;
    int end = plan->time_only && plan->table_at == SUMI_NOWHERE ? 0 : value_end(net, index);
    if (!output || sumi_training(net))
        sumi_reserve(net, floats, begin, end, &plan->raw, "value", index);
    if (!sumi_training(net) || !plan->needs_gradient)
        return;
    /* Vectors' gradients are small sums from many readers: zeroed at the start, always added to. */
    int first = output          ? net->graph->node_count
                : value->vector ? 0
                                : sumi_time_backward(net, plan->last_reader);
    sumi_reserve(net, floats, first, sumi_time_backward(net, value->producer), &plan->grad,
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
                later |= net->graph->nodes[j].op != &sumi_op_norm &&
                         net->nodes[j].in.views[s].value == value;
        for (int s = i + 1; s < in->count; s++)
            later |= in->views[s].value == value;
        net->nodes[node].accumulate[i] = later || net->graph->values[value].vector;
        net->nodes[node].wants_dgrad |= net->values[value].needs_gradient || in->views[i].post >= 0;
    }
}

/* ---- The arena ------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    const sumi_buffer *x = a, *y = b;
    if (x->floats != y->floats)
        return x->floats < y->floats ? 1 : -1;
    return x->first != y->first ? x->first - y->first : x->index - y->index;
}

static bool live_together(const sumi_buffer *a, const sumi_buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Largest first, each at the lowest place where nothing that lives at the same time is in the way.
 */
static void lay_out(sumi_network *net)
{
    qsort(net->buffers, (size_t)net->buffer_count, sizeof *net->buffers, by_size);
    for (int i = 0; i < net->buffer_count; i++) {
        sumi_buffer *buffer = &net->buffers[i];
        size_t place = 0;
        for (int j = 0; j < i; j++) {
            const sumi_buffer *other = &net->buffers[j];
            size_t begin = *other->place, end = begin + other->floats;
            if (live_together(buffer, other) && place < end && begin < place + buffer->floats) {
                place = end;
                j = -1; /* look again from the first: others may be in the way up here */
            }
        }
        *buffer->place = place;
        if (place + buffer->floats > net->arena_floats)
            net->arena_floats = place + buffer->floats;
    }
}

/* ---- Creation -------------------------------------------------------------------------------- */

sumi_status sumi_precision_check(sumi_precision precision, sumi_error *err)
{
    if (precision == SUMI_PRECISION_FP32 || precision == SUMI_PRECISION_BF16)
        return SUMI_OK;
    return sumi_fail(err, SUMI_EINVAL, "precision is %d, expected 0 (fp32) or 1 (bf16)",
                     (int)precision);
}

static sumi_status check_config(const sumi_graph *graph, const sumi_plan_config *config,
                                sumi_error *err)
{
    /* Kernels count the pixels of an image, times a few dozen, in an int. */
    const int64_t most_pixels = INT_MAX / 64;
    int multiple = 1 << graph->levels;
    if (config->n_max < 1 || config->h < 1 || config->w < 1)
        return sumi_fail(err, SUMI_EINVAL,
                         "sizes must be at least 1, found n %d, height %d, width %d", config->n_max,
                         config->h, config->w);
    int64_t largest[] = {config->n_max, config->h, config->w, 16384, (int64_t)sizeof(float)};
    size_t bytes;
    if ((int64_t)config->h * config->w > most_pixels || !sumi_size_product(largest, 5, &bytes) ||
        (uint64_t)bytes > UINT64_C(1) << 50)
        return sumi_fail(err, SUMI_ENOMEM, "%d images of %dx%d are too large", config->n_max,
                         config->h, config->w);
    if (config->h % multiple || config->w % multiple)
        return sumi_fail(err, SUMI_ESHAPE,
                         "height and width must be multiples of %d, found %dx%d; nearest: %dx%d",
                         multiple, config->h, config->w,
                         (config->h + multiple - 1) / multiple * multiple,
                         (config->w + multiple - 1) / multiple * multiple);
    return sumi_precision_check(config->precision, err);
}

/* Notes how much room a layer's rounded weights need. */
static void plan_rounding(sumi_network *net, int node)
{
    int layer = net->graph->nodes[node].layer;
    int weight = layer < 0 ? -1 : net->graph->layers[layer].weight;
    if (net->config.precision != SUMI_PRECISION_BF16 || weight < 0)
        return;
    size_t count = net->graph->params.items[weight].count;
    if (count > net->rounded_floats)
        net->rounded_floats = count;
}

static sumi_status plan_all(sumi_network *net, sumi_error *err)
{
    const sumi_graph *graph = net->graph;
    for (int i = 0; i < graph->node_count; i++) {
        sumi_node_plan *plan = &net->nodes[i];
        plan->in = graph->nodes[i].in;
        plan->unfused = runs_unfused(net, i);
    }
    for (int i = 0; i < graph->node_count; i++)
        sumi_plan_upsampling(net, i);
    for (int i = 0; i < graph->value_count; i++) {
        sumi_status status = plan_value(net, i, err);
        if (status != SUMI_OK)
            return status;
    }
    sumi_time_table_plan(net);
    for (int i = 0; i < graph->node_count; i++) {
        plan_accumulation(net, i);
        plan_rounding(net, i);
        if (!net->nodes[i].skipped)
            graph->nodes[i].op->plan(net, i);
    }
    for (int i = 0; i < graph->value_count; i++)
        reserve_value(net, i);
    sumi_loss_plan(net);
    size_t threads = (size_t)sumi_pool_threads(net->pool);
    net->scratch_floats = (net->scratch_floats + 1023) / 1024 * 1024 + 64;
    sumi_reserve(net, net->scratch_floats * threads, 0, sumi_time_end(net), &net->scratch,
                 "scratch", 0);
    if (net->rounded_floats > 0)
        sumi_reserve(net, net->rounded_floats, 0, sumi_time_end(net), &net->rounded,
                     "rounded weights", 0);
    for (int i = 0; i < 3; i++)
        if (net->temp_floats[i] > 0)
            sumi_reserve(net, net->temp_floats[i], 0, sumi_time_end(net), &net->temp[i],
                         "temporary", i);
    if (net->out_of_memory)
        return sumi_fail_memory(err, "the plan", 0);
    lay_out(net);
    net->arena = sumi_pages_alloc(net->arena_floats * sizeof(float));
    if (!net->arena)
        return sumi_fail_memory(err, "the network's buffers", net->arena_floats * sizeof(float));
    return SUMI_OK;
}

static void clear_places(sumi_node_plan *plan)
{
    for (int i = 0; i < SUMI_PARTS_MAX; i++) {
        sumi_part *part = &plan->parts[i];
        part->packed = part->packed_dgrad = part->partials = SUMI_NOWHERE;
    }
    plan->bias = plan->moments = SUMI_NOWHERE;
    plan->scale = plan->shift = plan->mean = plan->variance = SUMI_NOWHERE;
    plan->ga = plan->gb = plan->gk = SUMI_NOWHERE;
    for (int i = 0; i < SUMI_SOURCES_MAX; i++)
        plan->sums[i] = SUMI_NOWHERE;
}

sumi_status sumi_network_create(const sumi_graph *graph, const sumi_kernels *kernels,
                                sumi_pool *pool, const sumi_plan_config *config, sumi_network **out,
                                sumi_error *err)
{
    if (graph->status != SUMI_OK)
        return sumi_fail(err, graph->status, "%s", graph->error.text);
    sumi_status status = sumi_graph_check_readers(graph, err);
    if (status == SUMI_OK)
        status = check_config(graph, config, err);
    if (status != SUMI_OK)
        return status;
    sumi_network *net = sumi_calloc(1, sizeof *net);
    if (!net)
        return sumi_fail_memory(err, "a network", sizeof *net);
    net->graph = graph;
    net->kernels = kernels;
    net->pool = pool;
    net->config = *config;
    net->scratch = net->rounded = SUMI_NOWHERE;
    for (int i = 0; i < 3; i++)
        net->temp[i] = SUMI_NOWHERE;
    net->values = sumi_calloc((size_t)graph->value_count, sizeof *net->values);
    net->nodes = sumi_calloc((size_t)graph->node_count, sizeof *net->nodes);
    if (!net->values || !net->nodes) {
        status = sumi_fail_memory(err, "a network's plan", 0);
        goto fail;
    }
    for (int i = 0; i < graph->node_count; i++)
        clear_places(&net->nodes[i]);
    status = plan_all(net, err);
    if (status != SUMI_OK)
        goto fail;
    *out = net;
    return SUMI_OK;
fail:
    sumi_network_free(net);
    return status;
}

void sumi_network_free(sumi_network *net)
{
    if (!net)
        return;
    sumi_pages_free(net->arena, net->arena_floats * sizeof(float));
    free(net->values);
    free(net->nodes);
    free(net->buffers);
    free(net);
}

size_t sumi_network_bytes(const sumi_network *net)
{
    return net->arena_floats * sizeof(float);
}

double sumi_node_macs(const sumi_network *net, int node)
{
    const sumi_op *op = net->graph->nodes[node].op;
    return op->cost == NULL || sumi_time_only(net, node) ? 0 : op->cost(net, node);
}

const char *sumi_node_name(const sumi_graph *graph, int node)
{
    return graph->nodes[node].op->name;
}
