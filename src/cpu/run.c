/*
 * The executor: runs a plan's nodes in order. It allocates nothing.
 */
#include <string.h>

#include "cpu/ops.h"

void sumi_network_weights_changed(sumi_network *net)
{
    net->packed_valid = false;
}

void sumi_network_profile(sumi_network *net, double *seconds)
{
    net->seconds = seconds;
}

/* One op's forward or backward, timed where somebody asked. */
static void run_op(const sumi_run *run, void (*op)(const sumi_run *, int), int node, int slot)
{
    double *seconds = run->net->seconds;
    if (!op || run->net->nodes[node].skipped)
        return;
    double begin = seconds ? sumi_time_now() : 0;
    op(run, node);
    if (seconds)
        seconds[slot] += sumi_time_now() - begin;
}

void sumi_run_forward_op(const sumi_run *run, int node)
{
    run_op(run, sumi_node_op(run->net, node)->forward, node, node);
}

static void run_forward(const sumi_run *run)
{
    const sumi_network *net = run->net;
    if (net->time_table.row_floats > 0)
        sumi_time_table_run(run);
    for (int i = 0; i < net->graph->node_count; i++)
        if (!sumi_time_only(net, i))
            sumi_run_forward_op(run, i);
}

void sumi_network_predict(sumi_network *net, const sumi_inputs *in, int n, float *const *out)
{
    sumi_run run = {.net = net, .n = n, .in = *in, .out = out};
    run_forward(&run);
    net->packed_valid = true;
}

/* Vectors' gradients are sums of many readers'. */
static void clear_vectors(const sumi_run *run)
{
    const sumi_network *net = run->net;
    for (int i = 0; i < net->graph->value_count; i++)
        for (int f = 0; f < net->graph->values[i].form_count && net->graph->values[i].vector; f++)
            if (net->values[i].forms[f].gradient != SUMI_NOWHERE)
                memset(sumi_at(net, net->values[i].forms[f].gradient), 0,
                       net->values[i].image_floats * (size_t)run->n * sizeof(float));
}

/* No loss depends on a dead node's parameters. */
static void clear_parameters(const sumi_run *run, int node)
{
    if (run->net->graph->nodes[node].layer >= 0 && !run->net->graph->nodes[node].superseded)
        sumi_run_clear(run, node);
}

static void run_backward(const sumi_run *run, int node)
{
    const sumi_network *net = run->net;
    int nodes = net->graph->node_count, value = net->graph->nodes[node].out;
    if (net->nodes[node].dead) {
        clear_parameters(run, node);
        return;
    }
    double begin = net->seconds ? sumi_time_now() : 0;
    if (value >= 0)
        sumi_sum_terms(run, value);
    if (net->seconds)
        net->seconds[nodes + node] += sumi_time_now() - begin;
    run_op(run, sumi_node_op(net, node)->backward, node, nodes + node);
}

/* A layer that a superseding node uses is that one's. */
static void say_ready(const sumi_run *run, int node)
{
    if (!run->in.ready || run->net->graph->nodes[node].layer < 0 ||
        run->net->graph->nodes[node].superseded)
        return;
    const sumi_layer *layer = sumi_node_layer(run->net, node);
    if (layer->weight >= 0)
        run->in.ready(run->in.ready_user, layer->weight);
    if (layer->bias >= 0)
        run->in.ready(run->in.ready_user, layer->bias);
}

double sumi_network_gradients(sumi_network *net, const sumi_inputs *in, int n, float *gradients)
{
    double loss = 0;
    sumi_run run = {.net = net, .n = n, .in = *in, .gradients = gradients, .loss = &loss};
    run_forward(&run);
    clear_vectors(&run);
    for (int i = net->graph->node_count - 1; i >= 0; i--) {
        run_backward(&run, i);
        say_ready(&run, i);
    }
    net->loss = loss;
    return loss;
}

double sumi_network_loss(const sumi_network *net)
{
    return net->loss;
}
