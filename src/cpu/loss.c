/*
 * The loss of a training run, and the gradient of the network's output.
 */
#include "cpu/network.h"

void sumi_loss_plan(sumi_network *net)
{
    if (sumi_training(net)) /* a double for each image, in the first thread's scratch */
        sumi_want_scratch(net, (size_t)net->config.n_max * sizeof(double));
}

typedef struct {
    const sumi_kernels *kernels;
    const float *y, *target;
    float *dy;
    float factor;
    size_t image_floats;
    double *sums; /* of each image */
} loss_job;

static void loss_task(void *arg, int64_t image, int thread)
{
    const loss_job *job = arg;
    (void)thread;
    size_t at = (size_t)image * job->image_floats;
    job->sums[image] = job->kernels->squared_error(job->y + at, job->target + at, job->factor,
                                                   job->dy + at, job->image_floats);
}

/* Mean squared error and its gradient 2 (y - target) / count. */
double sumi_loss_run(const sumi_run *run)
{
    const sumi_network *net = run->net;
    int value = net->graph->output.views[0].value;
    size_t image_floats = net->values[value].image_floats;
    double count = (double)image_floats * run->n;
    loss_job job = {net->kernels,        sumi_value_data(run, value),
                    run->in.target,      sumi_at(net, net->values[value].grad),
                    (float)(2 / count),  image_floats,
                    sumi_scratch(net, 0)};
    sumi_parallel_for(net->pool, run->n, loss_task, &job);
    double sum = 0;
    for (int i = 0; i < run->n; i++)
        sum += job.sums[i];
    return sum / count;
}
