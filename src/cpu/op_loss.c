/*
 * Losses. A loss reads an output and nothing reads a loss: all of its work, the loss itself and the
 * first share of the output's gradient, is done where its gradient would be asked for.
 */
#include "cpu/ops.h"

typedef struct {
    const sumi_run *run;
    const sumi_node *node;
    const float *y, *target, *weight;
    float *dy;
    double factor;
    size_t image_floats;
    double *sums; /* of each image */
} loss_job;

static void loss_plan(sumi_network *net, int node)
{
    (void)node; /* a double for each image and each group, in the first thread's scratch */
    sumi_want_scratch(net, (size_t)(net->config.n_max + sumi_plan_groups(net)) * sizeof(double));
}

static loss_job job_of(const sumi_run *run, int node)
{
    const sumi_network *net = run->net;
    int value = net->nodes[node].in.views[0].value;
    return (loss_job){.run = run,
                      .node = &net->graph->nodes[node],
                      .y = sumi_value_data(run, value),
                      .target = run->in.target,
                      .weight = run->in.weight,
                      .dy = sumi_at(net, net->values[value].forms[0].gradient),
                      .image_floats = net->values[value].image_floats,
                      .sums = sumi_scratch(net, 0)};
}

/* Adds the images' sums to the loss, in their order. */
static void finish(const loss_job *job, double count)
{
    const sumi_run *run = job->run;
    double *groups = job->sums + run->n;
    for (int g = 0; g < sumi_run_groups(run); g++) {
        groups[g] = 0;
        for (int i = sumi_run_border(run, g); i < sumi_run_border(run, g + 1); i++)
            groups[g] += job->sums[i];
    }
    sumi_run_sum(run, groups, 1);
    *run->loss += groups[0] / count;
}

/* ---- Mean squared error ---------------------------------------------------------------------- */

static void mse_task(void *arg, int64_t image, int thread)
{
    const loss_job *job = arg;
    (void)thread;
    size_t at = (size_t)image * job->image_floats;
    double weight = job->weight ? (double)job->weight[image] : 1;
    double sum = job->run->net->kernels->squared_error(job->y + at, job->target + at,
                                                       (float)(job->factor * weight), job->dy + at,
                                                       job->image_floats);
    job->sums[image] = weight * sum;
}

/* The gradient is 2 weight (y - target) / count. */
static void mse_backward(const sumi_run *run, int node)
{
    loss_job job = job_of(run, node);
    double count = (double)job.image_floats * sumi_run_images(run);
    job.factor = 2 / count;
    sumi_parallel_for(run->net->pool, run->n, mse_task, &job);
    finish(&job, count);
}

const sumi_op sumi_op_mse = {loss_plan, NULL, mse_backward, NULL};

/* ---- Cross entropy --------------------------------------------------------------------------- */

static void cross_entropy_task(void *arg, int64_t image, int thread)
{
    const loss_job *job = arg;
    (void)thread;
    size_t at = (size_t)image * job->image_floats;
    job->sums[image] = job->run->net->kernels->cross_entropy(
        job->y + at, (int)job->image_floats, sumi_label_of(job->run, image),
        (float)job->node->smoothing, (float)job->factor, job->dy + at);
}

static void cross_entropy_backward(const sumi_run *run, int node)
{
    loss_job job = job_of(run, node);
    job.factor = 1.0 / sumi_run_images(run);
    sumi_parallel_for(run->net->pool, run->n, cross_entropy_task, &job);
    finish(&job, sumi_run_images(run));
}

const sumi_op sumi_op_cross_entropy = {loss_plan, NULL, cross_entropy_backward, NULL};
