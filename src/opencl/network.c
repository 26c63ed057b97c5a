/*
 * Networks of a device: made, run, freed, and what is told of them.
 */
#include "opencl/network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Frequencies ----------------------------------------------------------------------------- */

/* What a time is multiplied by for output k, in turns; *sine: whether its sine is taken. */
static double turns_of(const sumi_node *op, int k, int dim, bool *sine)
{
    const double turn = 6.283185307179586477;
    if (op->kind == SUMI_KIND_SINUSOID) {
        *sine = k % 2 == 0;
        return 1 / exp(k / (2.0 * dim) * log(10000.0)) / turn;
    }
    *sine = k >= dim / 2;
    return op->lowest * pow(op->ratio, *sine ? k - dim / 2 : k) / turn;
}

/* Of every embedding of time: they last as long as the network. */
static sumi_status fill_tables(sumi_network *net, sumi_error *err)
{
    for (int i = 0; i < net->graph->node_count; i++) {
        const sumi_node *op = &net->graph->nodes[i];
        if (net->nodes[i].table == SUMI_NOWHERE)
            continue;
        int dim = net->graph->values[op->out].channels;
        float *table = sumi_calloc((size_t)dim, 3 * sizeof *table);
        if (!table)
            return sumi_fail_memory(err, "frequencies", (size_t)dim * 3 * sizeof *table);
        for (int k = 0; k < dim; k++) {
            bool sine;
            double turns = turns_of(op, k, dim, &sine);
            table[3 * k] = (float)turns;
            table[3 * k + 1] = (float)(turns - (double)table[3 * k]);
            table[3 * k + 2] = sine;
        }
        sumi_cl_upload(net->device, net->arena + net->nodes[i].table * sizeof(float), table,
                       (size_t)dim * 3 * sizeof *table);
        free(table);
    }
    return SUMI_OK;
}

/* ---- Making and freeing ---------------------------------------------------------------------- */

static sumi_status make(sumi_network *net, sumi_error *err)
{
    const sumi_graph *graph = net->graph;
    net->values = sumi_calloc((size_t)graph->value_count, sizeof *net->values);
    net->nodes = sumi_calloc((size_t)graph->node_count, sizeof *net->nodes);
    if (!net->values || !net->nodes)
        return sumi_fail_memory(err, "a network's plan", 0);
    sumi_status status = sumi_cl_plan(net, err);
    if (status == SUMI_OK)
        status = sumi_cl_lay_out(net, err);
    if (status == SUMI_OK)
        status = fill_tables(net, err);
    return status;
}

sumi_status sumi_cl_network_create(sumi_device *device, const sumi_graph *graph,
                                   const sumi_weights *weights, const sumi_plan_config *config,
                                   sumi_network **out, sumi_error *err)
{
    sumi_status status = sumi_plan_check(graph, config, err);
    if (status == SUMI_OK && config->cut)
        status = sumi_fail(err, SUMI_EUNSUPPORTED,
                           "%s (%s): batches that are cut into groups are the CPU's; expected "
                           "groups 0",
                           device->facts.id, device->facts.name);
    if (status == SUMI_OK && config->precision == SUMI_PRECISION_BF16)
        status = sumi_fail(err, SUMI_EUNSUPPORTED,
                           "%s (%s): precision is %s, expected fp32 or "
                           "fixed16 (which is fp32 here)",
                           device->facts.id, device->facts.name,
                           sumi_precision_row((int)config->precision)->name);
    if (status == SUMI_OK && device->status != SUMI_OK)
        status = sumi_fail(err, device->status, "%s", device->error.text);
    if (status != SUMI_OK)
        return status;
    sumi_network *net = sumi_calloc(1, sizeof *net);
    if (!net)
        return sumi_fail_memory(err, "a network", sizeof *net);
    net->device = device;
    net->graph = graph;
    net->weights = *weights;
    net->config = *config;
    net->node_count = graph->node_count;
    status = make(net, err);
    if (status != SUMI_OK) {
        sumi_cl_network_free(net);
        return status;
    }
    *out = net;
    return SUMI_OK;
}

void sumi_cl_network_free(sumi_network *net)
{
    if (!net)
        return;
    sumi_cl_free(net->device, net->arena, net->arena_floats * sizeof(float));
    free(net->values);
    free(net->nodes);
    sumi_buffers_free(&net->buffers);
    sumi_flow_free(&net->flow);
    free(net);
}

/* They are read where they are: nothing was made of them. */
void sumi_cl_weights_changed(sumi_network *net)
{
    (void)net;
}

/* ---- Running --------------------------------------------------------------------------------- */

static char *address(const sumi_network *net, int value)
{
    return net->arena + net->values[value].at * sizeof(float);
}

static void take_input(const sumi_cl_call *call, int value, const void *from)
{
    sumi_network *net = call->net;
    if (value < 0 || net->values[value].at == SUMI_NOWHERE)
        return;
    size_t bytes = net->values[value].image_floats * (size_t)call->n * sizeof(float);
    if (from) {
        sumi_cl_copy(call->device, address(net, value), from, bytes);
        return;
    }
    /* No label is -1, no condition 0. */
    const sumi_cl_fill_args args = {sumi_cl_word(net->values[value].at),
                                    (uint32_t)(bytes / sizeof(float)),
                                    net->graph->values[value].numbers ? UINT32_MAX : 0};
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_FILL, &args, sizeof args);
    sumi_cl_run_items(call, &launch, args.count, 1, 1);
}

/* A node's time is known once the device is done with it. */
static void run_node(const sumi_cl_call *call, int node, bool backward)
{
    double *seconds = call->net->seconds;
    double begin = seconds ? sumi_time_now() : 0;
    if (backward)
        sumi_cl_backward(call, node);
    else
        sumi_cl_forward(call, node);
    if (seconds && call->device->status == SUMI_OK) {
        sumi_cl_ok(call->device, call->device->cl.Finish(call->device->queue), "waiting for it");
        seconds[backward ? call->net->node_count + node : node] += sumi_time_now() - begin;
    }
}

static sumi_cl_call call_of(sumi_network *net, const sumi_inputs *in, int n)
{
    const sumi_graph *graph = net->graph;
    sumi_cl_call call = {.net = net, .device = net->device, .n = n, .in = in};
    call.arena = sumi_cl_at(net->device, net->arena);
    if (graph->params.value_count > 0)
        call.values = sumi_cl_at(net->device, net->weights.values);
    if (graph->params.statistic_count > 0)
        call.statistics = sumi_cl_at(net->device, net->weights.statistics);
    return call;
}

static void run_forward(const sumi_cl_call *call, const float *condition)
{
    const sumi_graph *graph = call->net->graph;
    take_input(call, graph->image, call->in->image);
    take_input(call, graph->time, call->in->time);
    take_input(call, graph->labels, call->in->labels);
    take_input(call, graph->condition, condition);
    for (int i = 0; i < graph->node_count; i++)
        if (!call->net->nodes[i].skipped)
            run_node(call, i, false);
}

void sumi_cl_predict(sumi_network *net, const sumi_inputs *in, int n, float *const *out)
{
    sumi_device *device = net->device;
    const sumi_graph *graph = net->graph;
    if (device->status != SUMI_OK)
        return;
    const sumi_cl_call call = call_of(net, in, n);
    run_forward(&call, NULL);
    for (int i = 0; i < graph->output_count; i++) {
        int value = graph->outputs[i].value;
        if (out[i])
            sumi_cl_copy(device, out[i], address(net, value),
                         net->values[value].image_floats * (size_t)n * sizeof(float));
    }
}

char *sumi_cl_results(const sumi_network *net)
{
    return net->arena + net->results * sizeof(float);
}

void sumi_cl_gradients(sumi_network *net, const sumi_inputs *in, int n, float *gradients)
{
    sumi_device *device = net->device;
    if (device->status != SUMI_OK)
        return;
    sumi_cl_call call = call_of(net, in, n);
    call.gradients = sumi_cl_at(device, gradients);
    net->images = n;
    sumi_cl_zero(device, sumi_cl_results(net), 2 * sizeof(uint32_t));
    run_forward(&call, in->condition);
    sumi_cl_clear_added(&call);
    for (int i = net->graph->node_count - 1; i >= 0; i--)
        run_node(&call, i, true);
}

double sumi_cl_loss(const sumi_network *net)
{
    float loss;
    sumi_cl_download(net->device, &loss, sumi_cl_results(net), sizeof loss);
    return net->device->status == SUMI_OK ? (double)loss : NAN;
}

bool sumi_cl_statistics_finite(const sumi_network *net)
{
    uint32_t bad = 0;
    sumi_cl_download(net->device, &bad, sumi_cl_results(net) + sizeof(float), sizeof bad);
    return bad == 0;
}

/* ---- What is told ---------------------------------------------------------------------------- */

void sumi_cl_profile(sumi_network *net, double *seconds)
{
    net->seconds = seconds;
}

size_t sumi_cl_network_bytes(const sumi_network *net)
{
    return net->arena_floats * sizeof(float);
}

double sumi_cl_node_macs(const sumi_network *net, int node)
{
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_facts *facts = sumi_kind_facts(op->kind);
    if (!facts->macs)
        return 0;
    return facts->macs(net->graph, op, net->values[op->out].h, net->values[op->out].w);
}

static double value_bytes(const sumi_network *net, int value, int n)
{
    return value < 0 ? 0 : (double)net->values[value].image_floats * n * sizeof(float);
}

/* What the sums of a norm's backward read: its source where a store takes them, else gradients,
 * too. */
static double norm_bytes(const sumi_network *net, int norm, int n)
{
    double bytes = 0;
    for (int s = 0; s < net->nodes[norm].in.count; s++) {
        int value = net->nodes[norm].in.views[s].value, by, of, terms = 0;
        for (int t = 0; t < net->values[value].term_count; t++)
            terms += net->graph->values[value].forms[net->values[value].terms[t].form].norm == norm;
        if (sumi_cl_sums_of(net, norm, s, &by, &of))
            terms = 0;
        bytes += (1 + terms) * value_bytes(net, value, n);
    }
    return bytes;
}

/* What the sums of its shifts' gradients read. */
static double shift_bytes(const sumi_network *net, int node, int n)
{
    const sumi_cl_node *plan = &net->nodes[node];
    double bytes = 0;
    for (int s = 0; s < plan->in.count; s++)
        if (plan->in.views[s].post >= 0 && plan->sources[s].shifts == SUMI_NOWHERE)
            bytes += value_bytes(net, plan->in.views[s].value, n);
    return bytes;
}

/* Backward reads the output's gradient and what forward read, and writes as much again. */
double sumi_cl_node_bytes(const sumi_network *net, int node, int n, bool backward)
{
    const sumi_cl_node *plan = &net->nodes[node];
    bool norm = net->graph->nodes[node].kind == SUMI_KIND_NORM;
    if (norm && backward && !plan->skipped && !plan->dead)
        return norm_bytes(net, node, n);
    if (plan->skipped || sumi_kind_facts(net->graph->nodes[node].kind)->pending)
        return 0;
    double bytes = value_bytes(net, plan->stores, n) + value_bytes(net, plan->residual, n);
    for (int i = 0; i < plan->in.count; i++)
        bytes += value_bytes(net, plan->in.views[i].value, n);
    int layer = net->graph->nodes[node].layer;
    if (layer >= 0 && net->graph->layers[layer].weight >= 0)
        bytes += (double)net->graph->params.items[net->graph->layers[layer].weight].count *
                 sizeof(float);
    if (backward)
        bytes += bytes - value_bytes(net, plan->stores, n) + shift_bytes(net, node, n);
    return bytes;
}

char *sumi_cl_describe(const sumi_network *net)
{
    sumi_text out = {0};
    sumi_text_printf(&out, "%s, %dx%d, up to %d image(s), %s, %.1f MiB in one arena\n",
                     sumi_cl_training(net) ? "training" : "prediction", net->config.h,
                     net->config.w, net->config.n_max, net->device->title,
                     (double)sumi_cl_network_bytes(net) / (1024.0 * 1024.0));
    for (int i = 0; i < net->graph->node_count; i++) {
        const sumi_cl_node *plan = &net->nodes[i];
        sumi_text_printf(&out, "%3d %-9s", i, sumi_kind_facts(net->graph->nodes[i].kind)->name);
        for (int s = 0; s < plan->in.count && !plan->skipped; s++)
            sumi_text_printf(&out, " v%d", plan->in.views[s].value);
        if (plan->skipped)
            sumi_text_printf(&out, " left out, or to another");
        else if (plan->stores >= 0)
            sumi_text_printf(&out, " -> v%d", plan->stores);
        if (plan->residual >= 0)
            sumi_text_printf(&out, " + v%d", plan->residual);
        sumi_text_printf(&out, "\n");
    }
    if (out.failed)
        sumi_text_free(&out);
    return out.data;
}
