/*
 * Attention between the pixels of an image. What is pending on queries, keys and values is applied
 * while they are copied into cache, and the result goes through a store like any other, so that its
 * moments cost no pass. A piece of work is one head of one image, in either direction: nothing is
 * added up across pieces.
 */
#include <stdio.h>

#include "cpu/ops.h"

typedef struct {
    const sumi_network *net;
    sumi_attention attention;
    sumi_source source, dy;
    sumi_sink sink; /* forward: of the output; backward: of the gradient */
} attention_job;

static void attention_plan(sumi_network *net, int node)
{
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_value_plan *out = &net->values[op->out];
    int d = net->graph->values[op->out].channels / op->heads;
    sumi_plan_moments(net, op->out, out->h, 1);
    if (sumi_training(net))
        sumi_plan_sums(net, node, 0, 1);
    sumi_want_scratch(
        net, sumi_attention_scratch_of(out->h * out->w, d, net->kernels->vector_floats).total *
                 sizeof(float));
}

/* The job keeps its address: the attention points into it. */
static void job_init(const sumi_run *run, int node, attention_job *job)
{
    const sumi_network *net = run->net;
    const sumi_node *op = &net->graph->nodes[node];
    *job = (attention_job){.net = net};
    sumi_view_source(run, &net->nodes[node].in.views[0], &job->source);
    job->attention = (sumi_attention){.source = &job->source,
                                      .heads = op->heads,
                                      .h = net->values[op->out].h,
                                      .w = net->values[op->out].w};
}

static void run_heads(const sumi_run *run, sumi_task_fn task, attention_job *job)
{
    const sumi_loop loop = {(int64_t)run->n * job->attention.heads, task, job, 0, true};
    sumi_parallel_loops(run->net->pool, &loop, 1);
}

static void forward_task(void *arg, int64_t chunk, int thread)
{
    const attention_job *job = arg;
    int heads = job->attention.heads;
    job->net->kernels->attention(&job->attention, &job->sink, (int)(chunk / heads),
                                 (int)(chunk % heads), sumi_scratch(job->net, thread));
}

static void attention_forward(const sumi_run *run, int node)
{
    attention_job job;
    job_init(run, node, &job);
    sumi_value_sink(run, run->net->graph->nodes[node].out, &job.sink);
    run_heads(run, forward_task, &job);
}

static void backward_task(void *arg, int64_t chunk, int thread)
{
    const attention_job *job = arg;
    int heads = job->attention.heads;
    job->net->kernels->attention_backward(&job->attention, &job->dy, &job->sink,
                                          (int)(chunk / heads), (int)(chunk % heads),
                                          sumi_scratch(job->net, thread));
}

static void attention_backward(const sumi_run *run, int node)
{
    attention_job job;
    sumi_source stat;
    if (!run->net->nodes[node].wants_dgrad)
        return;
    job_init(run, node, &job);
    sumi_gradient_source(run, run->net->graph->nodes[node].out, &job.dy);
    sumi_gradient_sink(run, node, 0, &stat, &job.sink);
    run_heads(run, backward_task, &job);
    sumi_post_gradients(run, node);
}

static void attention_describe(const sumi_network *net, int node, char *out, size_t size)
{
    const sumi_node *op = &net->graph->nodes[node];
    snprintf(out, size, "%d head(s) of %d", op->heads,
             net->graph->values[op->out].channels / op->heads);
}

const sumi_op sumi_op_attention = {attention_plan, attention_forward, attention_backward,
                                   attention_describe};
