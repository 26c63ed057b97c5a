/*
 * Networks of a device: made, run, freed, and what is told of them.
 */
#include "opencl/network.h"

#include <math.h>
#include <stdlib.h>

sumi_status sumi_cl_no_training(const sumi_device *device, sumi_error *err)
{
    return sumi_fail(err, SUMI_EUNSUPPORTED,
                     "%s (%s): training runs on the CPU only; expected a command that predicts or "
                     "draws",
                     device->facts.id, device->facts.name);
}

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
        if (net->nodes[i].table == SUMI_CL_NOWHERE)
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
        sumi_cl_upload(net->device, net->arena + (size_t)net->nodes[i].table * sizeof(float), table,
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
    if (status == SUMI_OK && config->mode == SUMI_MODE_TRAIN)
        status = sumi_cl_no_training(device, err);
    if (status == SUMI_OK && config->precision != SUMI_PRECISION_FP32)
        status = sumi_fail(err, SUMI_EUNSUPPORTED, "%s (%s): precision is %s, expected fp32",
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
    sumi_cl_free(net->device, net->arena, (size_t)net->arena_floats * sizeof(float));
    free(net->values);
    free(net->nodes);
    free(net->buffers);
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
    return net->arena + (size_t)net->values[value].at * sizeof(float);
}

static void take_input(const sumi_cl_call *call, int value, const void *from)
{
    sumi_network *net = call->net;
    if (value < 0 || net->values[value].at == SUMI_CL_NOWHERE)
        return;
    size_t bytes = net->values[value].image_floats * (size_t)call->n * sizeof(float);
    if (from) {
        sumi_cl_copy(call->device, address(net, value), from, bytes);
        return;
    }
    /* No label is -1, no condition 0. */
    const sumi_cl_fill_args args = {net->values[value].at, (uint32_t)(bytes / sizeof(float)),
                                    net->graph->values[value].numbers ? UINT32_MAX : 0};
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_FILL, &args, sizeof args);
    sumi_cl_run_items(call, &launch, args.count, 1, 1);
}

/* A node's time is known once the device is done with it. */
static void run_node(const sumi_cl_call *call, int node)
{
    double *seconds = call->net->seconds;
    double begin = seconds ? sumi_time_now() : 0;
    sumi_cl_forward(call, node);
    if (seconds && call->device->status == SUMI_OK) {
        sumi_cl_ok(call->device, call->device->cl.Finish(call->device->queue), "waiting for it");
        seconds[node] += sumi_time_now() - begin;
    }
}

void sumi_cl_predict(sumi_network *net, const sumi_inputs *in, int n, float *const *out)
{
    sumi_device *device = net->device;
    const sumi_graph *graph = net->graph;
    if (device->status != SUMI_OK)
        return;
    sumi_cl_call call = {.net = net, .device = device, .n = n, .in = in};
    call.arena = sumi_cl_at(device, net->arena);
    if (graph->params.value_count > 0)
        call.values = sumi_cl_at(device, net->weights.values);
    if (graph->params.statistic_count > 0)
        call.statistics = sumi_cl_at(device, net->weights.statistics);
    take_input(&call, graph->image, in->image);
    take_input(&call, graph->time, in->time);
    take_input(&call, graph->labels, in->labels);
    take_input(&call, graph->condition, NULL);
    for (int i = 0; i < graph->node_count; i++)
        if (!net->nodes[i].skipped)
            run_node(&call, i);
    for (int i = 0; i < graph->output_count; i++) {
        int value = graph->outputs[i].value;
        if (out[i])
            sumi_cl_copy(device, out[i], address(net, value),
                         net->values[value].image_floats * (size_t)n * sizeof(float));
    }
}

/* ---- What is told ---------------------------------------------------------------------------- */

void sumi_cl_profile(sumi_network *net, double *seconds)
{
    net->seconds = seconds;
}

size_t sumi_cl_network_bytes(const sumi_network *net)
{
    return (size_t)net->arena_floats * sizeof(float);
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

double sumi_cl_node_bytes(const sumi_network *net, int node, int n, bool backward)
{
    const sumi_cl_node *plan = &net->nodes[node];
    if (plan->skipped || backward || sumi_kind_facts(net->graph->nodes[node].kind)->pending)
        return 0;
    double bytes = value_bytes(net, plan->stores, n) + value_bytes(net, plan->residual, n);
    for (int i = 0; i < plan->in.count; i++)
        bytes += value_bytes(net, plan->in.views[i].value, n);
    int layer = net->graph->nodes[node].layer;
    if (layer >= 0 && net->graph->layers[layer].weight >= 0)
        bytes += (double)net->graph->params.items[net->graph->layers[layer].weight].count *
                 sizeof(float);
    return bytes;
}

char *sumi_cl_describe(const sumi_network *net)
{
    sumi_text out = {0};
    sumi_text_printf(&out, "prediction, %dx%d, up to %d image(s), %s, %.1f MiB in one arena\n",
                     net->config.h, net->config.w, net->config.n_max, net->device->title,
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
