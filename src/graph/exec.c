/*
 * The executor: runs a plan's nodes in order, and turns views and gradients into the kernels'
 * sources and sinks. It allocates nothing.
 */
#include <string.h>

#include "graph/ops.h"

/* ---- Places ---------------------------------------------------------------------------------- */

float *sumi_at(const sumi_network *net, sumi_place place)
{
    return place == SUMI_NOWHERE ? NULL : net->arena + place;
}

void *sumi_value_data(const sumi_network *net, int value)
{
    if (net->values[value].raw != SUMI_NOWHERE)
        return net->arena + net->values[value].raw;
    return net->out;
}

float *sumi_scratch(const sumi_network *net, int thread)
{
    return net->arena + net->scratch + net->scratch_floats * (size_t)thread;
}

const float *sumi_param_data(const sumi_network *net, int param)
{
    const sumi_params *params = &net->graph->params;
    const sumi_param *item = &params->items[param];
    return (sumi_param_trainable(item) ? params->values : params->statistics) + item->offset;
}

float *sumi_gradient_data(const sumi_network *net, int param)
{
    return net->gradients + net->graph->params.items[param].offset;
}

/* ---- Sources and sinks ----------------------------------------------------------------------- */

/* The pending norm and activation of a value, forward form. Batch norm has one row for all images.
 */
static void pending_source(const sumi_network *net, int value, sumi_source *out)
{
    const sumi_value_plan *plan = &net->values[value];
    *out = (sumi_source){.c = net->graph->values[value].channels, .bf16 = plan->bf16};
    out->r = value == SUMI_IN_IMAGE ? net->x : sumi_value_data(net, value);
    if (plan->absorbed)
        return;
    out->act = plan->act;
    if (plan->norm >= 0) {
        out->scale = sumi_at(net, net->nodes[plan->norm].scale);
        out->shift = sumi_at(net, net->nodes[plan->norm].shift);
    }
}

void sumi_view_source(const sumi_network *net, const sumi_view *view, sumi_source *out)
{
    pending_source(net, view->value, out);
    if (view->post >= 0) {
        out->post = (const float *)sumi_value_data(net, view->post) + view->post_offset;
        out->post_stride = (size_t)net->graph->values[view->post].channels;
    }
}

int sumi_edge_sources(const sumi_network *net, const sumi_edge *edge, sumi_source *out)
{
    for (int i = 0; i < edge->count; i++)
        sumi_view_source(net, &edge->views[i], &out[i]);
    return edge->count;
}

void sumi_gradient_source(const sumi_network *net, int value, sumi_source *out)
{
    const sumi_value_plan *plan = &net->values[value];
    pending_source(net, value, out);
    out->g = sumi_at(net, plan->grad);
    if (plan->norm >= 0) {
        out->ga = sumi_at(net, net->nodes[plan->norm].ga);
        out->gb = sumi_at(net, net->nodes[plan->norm].gb);
        out->gk = sumi_at(net, net->nodes[plan->norm].gk);
    }
}

void sumi_gradient_sink(const sumi_network *net, int node, int i, sumi_source *stat, sumi_sink *out)
{
    const sumi_view *view = &net->nodes[node].in.views[i];
    const sumi_value_plan *plan = &net->values[view->value];
    *out = (sumi_sink){.c = net->graph->values[view->value].channels, .bf16 = plan->bf16};
    out->dst = sumi_at(net, plan->grad);
    out->accumulate = net->nodes[node].accumulate[i];
    out->sums = sumi_at(net, net->nodes[node].sums[i]);
    if (plan->norm >= 0 && plan->final_reader == node && plan->final_source == i) {
        pending_source(net, view->value, stat);
        out->stat = stat;
        out->mean = sumi_at(net, net->nodes[plan->norm].mean);
    }
}

/* Adds the first row of a source's sums, over its bands, to the gradient of the vector that shifts
 * it. Every (image, channel) belongs to one reader, so images may run in any order. */
typedef struct {
    const sumi_network *net;
    const float *sums;
    float *gradient;
    int bands, c;
    size_t stride;
} post_job;

static void post_task(void *arg, int64_t image, int thread)
{
    const post_job *job = arg;
    (void)thread;
    size_t c = (size_t)job->c;
    const float *sums = job->sums + (size_t)image * (size_t)job->bands * 3 * c;
    float *gradient = job->gradient + (size_t)image * job->stride;
    for (size_t k = 0; k < c; k++) {
        double sum = 0;
        for (int band = 0; band < job->bands; band++)
            sum += (double)sums[(size_t)band * 3 * c + k];
        gradient[k] += (float)sum;
    }
}

void sumi_post_gradients(const sumi_network *net, int node)
{
    const sumi_edge *in = &net->nodes[node].in;
    for (int i = 0; i < in->count; i++) {
        const sumi_view *view = &in->views[i];
        if (view->post < 0 || !net->values[view->post].needs_gradient)
            continue;
        post_job job = {net,
                        sumi_at(net, net->nodes[node].sums[i]),
                        sumi_at(net, net->values[view->post].grad) + view->post_offset,
                        net->nodes[node].sum_bands[i],
                        net->graph->values[view->value].channels,
                        (size_t)net->graph->values[view->post].channels};
        sumi_parallel_for(net->pool, net->n, post_task, &job);
    }
}

/* ---- The unfused executor's separate pass ---------------------------------------------------- */

typedef struct {
    const sumi_network *net;
    const sumi_source *sources;
    int count, h, w, c;
    float *dst;
} materialise_job;

static void materialise_task(void *arg, int64_t image, int thread)
{
    const materialise_job *job = arg;
    (void)thread;
    size_t c = (size_t)job->c, row = (size_t)job->w * c;
    sumi_strip strip = {.n = (int)image,
                        .rows = job->h,
                        .cols = job->w,
                        .cn = job->c,
                        .dst = job->dst + (size_t)image * (size_t)job->h * row,
                        .row_stride = row,
                        .pixel_stride = c};
    job->net->kernels->fill(job->sources, job->count, job->h, job->w, &strip);
}

void sumi_materialise(const sumi_network *net, const sumi_source *sources, int count, int n, int h,
                      int w, float *dst, sumi_source *out)
{
    int c = 0;
    for (int i = 0; i < count; i++)
        c += sources[i].c;
    materialise_job job = {net, sources, count, h, w, c, dst};
    sumi_parallel_for(net->pool, n, materialise_task, &job);
    *out = (sumi_source){.r = dst, .c = c};
}

/* ---- Runs ------------------------------------------------------------------------------------ */

void sumi_network_weights_changed(sumi_network *net)
{
    net->packed_valid = false;
}

void sumi_network_profile(sumi_network *net, double *seconds)
{
    net->seconds = seconds;
}

/* One op's forward or backward, timed where somebody asked. */
static void run_op(sumi_network *net, void (*run)(sumi_network *, int), int node, int slot)
{
    if (net->nodes[node].skipped)
        return;
    if (!net->seconds) {
        run(net, node);
        return;
    }
    double begin = sumi_time_now();
    run(net, node);
    net->seconds[slot] += sumi_time_now() - begin;
}

void sumi_run_forward_op(sumi_network *net, int node)
{
    run_op(net, net->graph->nodes[node].op->forward, node, node);
}

static void run_forward(sumi_network *net)
{
    if (net->time_table.row_floats > 0)
        sumi_time_table_run(net);
    for (int i = 0; i < net->graph->node_count; i++)
        if (!sumi_time_only(net, i))
            sumi_run_forward_op(net, i);
}

void sumi_network_predict(sumi_network *net, const float *x, const int32_t *t, int n, float *out)
{
    net->x = x;
    net->t = t;
    net->n = n;
    net->out = out;
    run_forward(net);
    net->packed_valid = true;
}

/* ---- Loss ------------------------------------------------------------------------------------ */

void sumi_loss_plan(sumi_network *net)
{
    if (sumi_training(net)) /* a double for each image, in the first thread's scratch */
        sumi_want_scratch(net, 2 * (size_t)net->config.n_max);
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
static double run_loss(sumi_network *net, const float *target)
{
    int value = net->graph->output.views[0].value;
    size_t image_floats = net->values[value].image_floats;
    double count = (double)image_floats * net->n;
    loss_job job = {net->kernels,
                    sumi_value_data(net, value),
                    target,
                    sumi_at(net, net->values[value].grad),
                    (float)(2 / count),
                    image_floats,
                    (double *)sumi_scratch(net, 0)};
    sumi_parallel_for(net->pool, net->n, loss_task, &job);
    double sum = 0;
    for (int i = 0; i < net->n; i++)
        sum += job.sums[i];
    return sum / count;
}

double sumi_network_backward(sumi_network *net, const sumi_backward *run)
{
    net->x = run->x;
    net->t = run->t;
    net->n = run->n;
    net->gradients = run->gradients;
    run_forward(net);
    double begin = net->seconds ? sumi_time_now() : 0;
    double loss = run_loss(net, run->target);
    if (net->seconds)
        net->seconds[2 * net->graph->node_count] += sumi_time_now() - begin;
    for (int i = 0; i < net->graph->value_count; i++)
        if (net->graph->values[i].vector && net->values[i].grad != SUMI_NOWHERE)
            memset(sumi_at(net, net->values[i].grad), 0,
                   net->values[i].image_floats * (size_t)net->n * sizeof(float));
    for (int i = net->graph->node_count - 1; i >= 0; i--)
        run_op(net, net->graph->nodes[i].op->backward, i, net->graph->node_count + i);
    return loss;
}

const float *sumi_network_output(const sumi_network *net)
{
    return sumi_value_data(net, net->graph->output.views[0].value);
}
