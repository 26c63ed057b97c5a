/*
 * Cosines and sines of a time, at frequencies each the same multiple of the one before:
 *     e_k = cos(w_k t), e_(d/2 + k) = sin(w_k t), for k below d/2.
 * Computed in double and rounded once; nothing flows back through it.
 */
#include <math.h>

#include "cpu/ops.h"

typedef struct {
    const float *time;
    float *out;
    int half;
    double lowest, ratio;
} fourier_job;

static void fourier_task(void *arg, int64_t image, int thread)
{
    const fourier_job *job = arg;
    (void)thread;
    float *out = job->out + 2 * image * job->half;
    double t = (double)job->time[image];
    for (int k = 0; k < job->half; k++) {
        double angle = t * job->lowest * pow(job->ratio, k);
        out[k] = (float)cos(angle);
        out[job->half + k] = (float)sin(angle);
    }
}

static void fourier_forward(const sumi_run *run, int node)
{
    const sumi_node *op = &run->net->graph->nodes[node];
    fourier_job job = {run->in.time, sumi_value_data(run, op->out),
                       run->net->graph->values[op->out].channels / 2, op->lowest, op->ratio};
    sumi_parallel_for(run->net->pool, run->n, fourier_task, &job);
}

const sumi_op sumi_op_fourier = {NULL, fourier_forward, NULL, NULL};
