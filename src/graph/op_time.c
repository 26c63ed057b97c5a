/*
 * The tutorial's sinusoidal time embedding: with d its dimension and div_i = 10000^(i / 2d),
 *     e_i = sin(t / div_i) for even i, cos(t / div_i) for odd i.
 * It is computed in double and rounded once; nothing flows back through it.
 */
#include <math.h>

#include "graph/ops.h"

static void time_plan(sumi_network *net, int node)
{
    (void)net;
    (void)node;
}

static void time_task(void *arg, int64_t image, int thread)
{
    const sumi_network *net = arg;
    (void)thread;
    int dim = net->graph->time_dim;
    float *out = (float *)sumi_value_data(net, SUMI_IN_TIME) + (size_t)image * (size_t)dim;
    double t = net->t[image];
    for (int i = 0; i < dim; i++) {
        double angle = t / exp(i / (2.0 * dim) * log(10000.0));
        out[i] = (float)(i % 2 == 0 ? sin(angle) : cos(angle));
    }
}

static void time_forward(sumi_network *net, int node)
{
    (void)node;
    sumi_parallel_for(net->pool, net->n, time_task, net);
}

static void time_backward(sumi_network *net, int node)
{
    (void)net;
    (void)node;
}

const sumi_op sumi_op_time = {"time", time_plan, time_forward, time_backward, NULL};
