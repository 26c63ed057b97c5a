/*
 * The tutorial's sinusoidal time embedding: with d its dimension and div_i = 10000^(i / 2d),
 *     e_i = sin(t / div_i) for even i, cos(t / div_i) for odd i.
 * It is computed in double and rounded once; nothing flows back through it.
 */
#include <math.h>

#include "cpu/ops.h"

typedef struct {
    const float *time;
    float *out;
    int dim;
} sinusoid_job;

static void sinusoid_task(void *arg, int64_t image, int thread)
{
    const sinusoid_job *job = arg;
    (void)thread;
    float *out = job->out + (size_t)image * (size_t)job->dim;
    double t = (double)job->time[image];
    for (int i = 0; i < job->dim; i++) {
        double angle = t / exp(i / (2.0 * job->dim) * log(10000.0));
        out[i] = (float)(i % 2 == 0 ? sin(angle) : cos(angle));
    }
}

static void sinusoid_forward(const sumi_run *run, int node)
{
    const sumi_graph *graph = run->net->graph;
    int value = graph->nodes[node].out;
    sinusoid_job job = {run->in.time, sumi_value_data(run, value), graph->values[value].channels};
    sumi_parallel_for(run->net->pool, run->n, sinusoid_task, &job);
}

const sumi_op sumi_op_sinusoid = {NULL, sinusoid_forward, NULL, NULL};
