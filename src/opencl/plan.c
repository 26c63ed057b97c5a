/*
 * The plan: which node writes which value, what is left to another, and for how long each buffer is
 * needed. Gradients have a file of their own (gradients.c).
 */
#include "opencl/network.h"

const sumi_layer *sumi_cl_layer(const sumi_network *net, int node)
{
    return &net->graph->layers[net->graph->nodes[node].layer];
}

const sumi_facts *sumi_cl_facts(const sumi_network *net, int node)
{
    return sumi_kind_facts(net->graph->nodes[node].kind);
}

/* ---- What is left to another node ------------------------------------------------------------ */

static int plain_readers(const sumi_network *net, int value)
{
    const sumi_plan_edges edges = {&net->nodes[0].in, sizeof *net->nodes};
    return sumi_plain_readers(net->graph, &edges, value);
}

bool sumi_cl_same_size(const sumi_network *net, int a, int b)
{
    return sumi_graph_size(net->graph, a, net->config.h) ==
               sumi_graph_size(net->graph, b, net->config.h) &&
           sumi_graph_size(net->graph, a, net->config.w) ==
               sumi_graph_size(net->graph, b, net->config.w);
}

/* Lets the convolution that makes `value`, which nobody else reads, write `instead`. */
static bool leave_to_conv(sumi_network *net, int node, int value, int instead)
{
    int by = net->graph->values[value].producer;
    if (plain_readers(net, value) != 1 || by < 0 || net->nodes[by].stores != value ||
        sumi_graph_is_output(net->graph, value) ||
        !(sumi_cl_facts(net, by)->absorbs_reader & sumi_kind_bit(net->graph->nodes[node].kind)))
        return false;
    net->nodes[by].stores = instead;
    net->nodes[node].skipped = true;
    return true;
}

/* An image that needs no padding is read where it lies, and what would be cropped is written as the
 * result. */
static void plan_padding(sumi_network *net, int node)
{
    const sumi_node *op = &net->graph->nodes[node];
    if (op->out < 0 || !sumi_cl_same_size(net, op->in.views[0].value, op->out))
        return;
    if (op->kind == SUMI_KIND_CROP)
        leave_to_conv(net, node, op->in.views[0].value, op->out);
    if (op->kind != SUMI_KIND_PAD || sumi_graph_is_output(net->graph, op->out))
        return;
    if (plain_readers(net, op->out) < 0)
        return;
    for (int n = 0; n < net->graph->node_count; n++)
        for (int s = 0; s < net->nodes[n].in.count; s++)
            if (net->nodes[n].in.views[s].value == op->out)
                net->nodes[n].in.views[s].value = op->in.views[0].value;
    net->nodes[node].skipped = true;
    net->nodes[node].in.count = 0;
}

static bool is_plain_image(const sumi_network *net, const sumi_view *view)
{
    return view->form == 0 && view->post < 0 && !net->graph->values[view->value].vector;
}

/* An addition is done by the store of the later operand's convolution. */
static void plan_residual(sumi_network *net, int node)
{
    const sumi_node *add = &net->graph->nodes[node];
    const sumi_view *views = net->nodes[node].in.views;
    if (add->kind != SUMI_KIND_ADD || net->nodes[node].in.count != 2 ||
        !is_plain_image(net, &views[0]) || !is_plain_image(net, &views[1]) ||
        views[0].value == views[1].value)
        return;
    const sumi_value *values = net->graph->values;
    int later = values[views[1].value].producer > values[views[0].value].producer;
    int by = values[views[later].value].producer;
    if (leave_to_conv(net, node, views[later].value, add->out))
        net->nodes[by].residual = views[1 - later].value;
}

/* ---- Buffers --------------------------------------------------------------------------------- */

static bool node_reads(const sumi_network *net, int node, int value)
{
    const sumi_cl_node *plan = &net->nodes[node];
    if (plan->skipped)
        return false;
    return sumi_edge_reads(&plan->in, value) || plan->residual == value ||
           (net->graph->nodes[node].vector == value && !net->graph->nodes[node].superseded);
}

/* The last node that reads what a norm makes of its inputs. */
static int last_of_norm(const sumi_network *net, int norm)
{
    int last = norm;
    for (int i = 0; i < net->graph->node_count; i++) {
        const sumi_cl_node *plan = &net->nodes[i];
        for (int s = 0; s < plan->in.count && !plan->skipped && !sumi_cl_facts(net, i)->pending;
             s++)
            if (sumi_view_form(net->graph, &plan->in.views[s])->norm == norm)
                last = i;
    }
    return last;
}

/* The time of a value's last use. In training that may be in backward: where a node reads its input
 * again, and where a gradient goes back through a form of it. */
static int value_end(const sumi_network *net, int index)
{
    const sumi_cl_value *value = &net->values[index];
    int last = value->stored_by;
    bool labels = net->graph->values[index].numbers && sumi_cl_training(net);
    if (sumi_graph_is_output(net->graph, index) || labels)
        return 2 * net->graph->node_count + 1;
    for (int i = 0; i < net->graph->node_count; i++) {
        bool again = sumi_cl_training(net) && sumi_cl_facts(net, i)->reads_again;
        /* A modulated norm's vector is read by its backward, too. */
        again |= sumi_cl_training(net) && net->graph->nodes[i].vector == index;
        int time = again ? sumi_cl_backward_time(net, i) : i;
        if (node_reads(net, i, index) && time > last)
            last = time;
    }
    for (int t = 0; t < value->term_count; t++)
        if (value->terms[t].form > 0 && value->gradient_end > last)
            last = value->gradient_end;
    return last;
}

static void reserve_value(sumi_network *net, int index)
{
    sumi_cl_value *value = &net->values[index];
    if (value->stored_by < 0 && net->graph->values[index].producer >= 0)
        return; /* never written */
    sumi_cl_reserve(net, value->image_floats * (size_t)net->config.n_max, value->stored_by,
                    value_end(net, index), &value->at);
}

/* Moments are wanted where a norm reads the value that takes its own statistics. */
static void reserve_moments(sumi_network *net, int index)
{
    sumi_cl_value *value = &net->values[index];
    int last = -1;
    for (int i = 0; i < net->graph->node_count; i++)
        if (net->graph->nodes[i].kind == SUMI_KIND_NORM && !net->nodes[i].skipped &&
            (sumi_cl_training(net) || sumi_cl_layer(net, i)->groups > 0) &&
            sumi_edge_reads(&net->nodes[i].in, index))
            last = i;
    size_t pixels = (size_t)value->h * (size_t)value->w;
    value->bands = (int)((pixels + SUMI_CL_BAND - 1) / SUMI_CL_BAND);
    if (last >= 0)
        sumi_cl_reserve(net,
                        (size_t)net->config.n_max * (size_t)value->bands * 2 *
                            (size_t)net->graph->values[index].channels,
                        value->stored_by, last, &value->moments);
}

static void reserve_rows(sumi_network *net, int node)
{
    sumi_cl_node *plan = &net->nodes[node];
    const sumi_layer *layer = sumi_cl_layer(net, node);
    plan->per_image = layer->groups > 0 || net->graph->nodes[node].vector >= 0;
    size_t rows = plan->per_image ? (size_t)net->config.n_max : 1;
    int last = sumi_cl_training(net) ? 2 * net->graph->node_count + 1 : last_of_norm(net, node);
    sumi_cl_reserve(net, rows * (size_t)layer->in_channels, node, last, &plan->scale);
    sumi_cl_reserve(net, rows * (size_t)layer->in_channels, node, last, &plan->shift);
    if (sumi_cl_training(net))
        sumi_cl_plan_norm(net, node);
}

/* What else a node's backward needs. */
static void reserve_backward(sumi_network *net, int node)
{
    const sumi_node *op = &net->graph->nodes[node];
    sumi_cl_node *plan = &net->nodes[node];
    int back = sumi_cl_backward_time(net, node);
    if (plan->dead)
        return;
    if (op->kind == SUMI_KIND_CONV || op->kind == SUMI_KIND_LINEAR)
        sumi_cl_plan_layer(net, node);
    sumi_cl_plan_shift_sums(net, node);
    if (sumi_cl_facts(net, node)->loss)
        sumi_cl_reserve(net, (size_t)net->config.n_max, back, back, &plan->notes);
    if (op->kind == SUMI_KIND_ATTENTION) {
        const sumi_cl_value *out = &net->values[op->out];
        size_t pixels = (size_t)out->h * (size_t)out->w;
        sumi_cl_reserve(net, (size_t)net->config.n_max * (size_t)op->heads * pixels * 3, back, back,
                        &plan->notes);
    }
}

static void reserve_node(sumi_network *net, int node)
{
    const sumi_node *op = &net->graph->nodes[node];
    sumi_cl_node *plan = &net->nodes[node];
    if (plan->skipped)
        return;
    if (op->kind == SUMI_KIND_NORM)
        reserve_rows(net, node);
    if (op->kind == SUMI_KIND_CONV)
        sumi_cl_plan_winograd(net, node);
    if (op->kind == SUMI_KIND_SINUSOID || op->kind == SUMI_KIND_FOURIER)
        sumi_cl_reserve(net, 3 * (size_t)net->graph->values[op->out].channels, -1,
                        2 * net->graph->node_count + 1, &plan->table);
    if (sumi_cl_training(net))
        reserve_backward(net, node);
}

/* ---- All ------------------------------------------------------------------------------------- */

static void begin_node(sumi_network *net, int i)
{
    sumi_cl_node *plan = &net->nodes[i];
    plan->in = net->graph->nodes[i].in;
    plan->stores = net->graph->nodes[i].out;
    plan->residual = -1;
    plan->scale = plan->shift = plan->table = SUMI_NOWHERE;
    plan->winograd = plan->winograd_back = SUMI_NOWHERE;
    plan->mean = plan->variance = plan->inverse = plan->totals = SUMI_NOWHERE;
    plan->ga = plan->gb = plan->gk = SUMI_NOWHERE;
    plan->partials = plan->columns = plan->notes = SUMI_NOWHERE;
    for (int s = 0; s < SUMI_SOURCES_MAX; s++)
        plan->sources[s].gradient = plan->sources[s].sums = plan->sources[s].shifts = SUMI_NOWHERE;
    plan->dead = net->flow.dead[i];
    plan->skipped =
        net->graph->nodes[i].superseded || (sumi_cl_facts(net, i)->loss && !sumi_cl_training(net));
    if (plan->skipped)
        plan->in.count = 0;
}

static void begin_value(sumi_network *net, int i)
{
    sumi_cl_value *value = &net->values[i];
    value->h = sumi_graph_size(net->graph, i, net->config.h);
    value->w = sumi_graph_size(net->graph, i, net->config.w);
    value->image_floats =
        (size_t)value->h * (size_t)value->w * (size_t)net->graph->values[i].channels;
    value->at = value->moments = value->gradient = value->added = SUMI_NOWHERE;
    value->trained = sumi_cl_training(net) && net->flow.live[i] && net->flow.needed[i];
    value->stored_by = -1;
    for (int n = 0; n < net->graph->node_count; n++)
        if (net->nodes[n].stores == i && !net->nodes[n].skipped)
            value->stored_by = n;
}

/* Attention keeps a query's scores in local memory. */
static sumi_status check_attention(const sumi_network *net, sumi_error *err)
{
    for (int i = 0; i < net->graph->node_count; i++) {
        if (net->graph->nodes[i].kind != SUMI_KIND_ATTENTION)
            continue;
        const sumi_cl_value *value = &net->values[net->graph->nodes[i].out];
        uint64_t pixels = (uint64_t)value->h * (uint64_t)value->w;
        uint64_t most = (net->device->facts.local_bytes - 1024) / sizeof(float);
        most = sumi_cl_training(net) ? most / 2 : most;
        if (pixels > most)
            return sumi_fail(err, SUMI_EUNSUPPORTED,
                             "%s (%s): attention between %llu pixels of an image, its local "
                             "memory is enough for %llu; compute on the CPU",
                             net->device->facts.id, net->device->facts.name,
                             (unsigned long long)pixels, (unsigned long long)most);
    }
    return SUMI_OK;
}

static void plan_values(sumi_network *net)
{
    const sumi_graph *graph = net->graph;
    for (int i = 0; i < graph->node_count; i++)
        begin_node(net, i);
    for (int i = 0; i < graph->node_count; i++)
        plan_padding(net, i);
    for (int i = 0; i < graph->node_count; i++)
        if (!net->nodes[i].skipped)
            plan_residual(net, i);
    for (int i = 0; i < graph->value_count; i++)
        begin_value(net, i);
}

sumi_status sumi_cl_plan(sumi_network *net, sumi_error *err)
{
    const sumi_graph *graph = net->graph;
    sumi_status status = sumi_flow_find(graph, &net->flow, err);
    if (status != SUMI_OK)
        return status;
    plan_values(net);
    net->results = SUMI_NOWHERE;
    if (sumi_cl_training(net)) {
        status = sumi_cl_plan_gradients(net, err);
        if (status != SUMI_OK)
            return status;
        sumi_cl_reserve(net, 2, -1, 2 * graph->node_count + 1, &net->results);
        sumi_cl_reserve_gradients(net);
    }
    for (int i = 0; i < graph->value_count; i++) {
        reserve_value(net, i);
        reserve_moments(net, i);
    }
    for (int i = 0; i < graph->node_count; i++)
        reserve_node(net, i);
    return check_attention(net, err);
}
