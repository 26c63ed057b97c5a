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

void sumi_network_predict(sumi_network *net, const sumi_inputs *in, int n, float *out)
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
        if (net->graph->values[i].vector && net->values[i].grad != SUMI_NOWHERE)
            memset(sumi_at(net, net->values[i].grad), 0,
                   net->values[i].image_floats * (size_t)run->n * sizeof(float));
}

double sumi_network_gradients(sumi_network *net, const sumi_inputs *in, int n, float *gradients)
{
    sumi_run run = {.net = net, .n = n, .in = *in, .gradients = gradients};
    int nodes = net->graph->node_count;
    run_forward(&run);
    double begin = net->seconds ? sumi_time_now() : 0;
    double loss = sumi_loss_run(&run);
    if (net->seconds)
        net->seconds[2 * nodes] += sumi_time_now() - begin;
    clear_vectors(&run);
    for (int i = nodes - 1; i >= 0; i--)
        run_op(&run, sumi_node_op(net, i)->backward, i, nodes + i);
    return loss;
}

const float *sumi_network_output(const sumi_network *net)
{
    return sumi_at(net, net->values[net->graph->output.views[0].value].raw);
}
