/*
 * Batch normalisation (Ioffe & Szegedy 2015) as torch.nn.BatchNorm2d: eps 1e-5, momentum 0.1,
 * biased variance for normalising, unbiased for the running variance.
 *
 * It touches no activation: forward turns the moments that the producer's store collected into
 * scale and shift, backward turns the sums that the last reader's store collected into the
 * coefficients of the gradient. With d the gradient at the norm's output, r its input, N the count,
 * mu and s the mean and 1/sqrt(var + eps):
 *     dgamma = s * sum(d (r - mu)),   dbeta = sum(d),
 *     dr = gamma s (d - sum(d)/N - (r - mu) s^2 sum(d (r - mu))/N) = ga * d + gb * r + gk.
 */
#include <math.h>

#include "graph/ops.h"

enum { CHANNELS_A_TASK = 32 };

static const double EPS = 1e-5;
static const float MOMENTUM = 0.1f;

double sumi_norm_scale(double gamma, double variance)
{
    return gamma / sqrt(variance + EPS);
}

static void norm_plan(sumi_network *net, int node)
{
    sumi_node_plan *plan = &net->nodes[node];
    size_t c = (size_t)net->graph->layers[net->graph->nodes[node].layer].in_channels;
    int end = sumi_time_end(net);
    sumi_reserve(net, c, 0, end, &plan->scale, "scale", node);
    sumi_reserve(net, c, 0, end, &plan->shift, "shift", node);
    if (!sumi_training(net))
        return;
    sumi_reserve(net, c, 0, end, &plan->mean, "mean", node);
    sumi_reserve(net, c, 0, end, &plan->variance, "variance", node);
    sumi_reserve(net, c, 0, end, &plan->ga, "ga", node);
    sumi_reserve(net, c, 0, end, &plan->gb, "gb", node);
    sumi_reserve(net, c, 0, end, &plan->gk, "gk", node);
}

typedef struct {
    sumi_network *net;
    int node;
    int c;
    double pixels;       /* of one image */
    const float *pieces; /* moments, or sums, of [n][bands][2 or 3][c] */
    int bands, rows, h, w;
} norm_job;

/* Pixels in a band. */
static double band_count(const norm_job *job, int band)
{
    int low = job->h - band * job->rows;
    return (double)(low < job->rows ? low : job->rows) * job->w;
}

/* Mean and sum of squared differences of one block of channels, from those of each band (Chan et
 * al. 1979): first the mean of all, then each band's own spread and its mean's distance. */
static void merge_moments(const norm_job *job, int k0, int kn, double *mean, double *m2)
{
    size_t c = (size_t)job->c;
    double total = job->pixels * job->net->n;
    for (int k = 0; k < kn; k++)
        mean[k] = m2[k] = 0;
    for (int i = 0; i < job->net->n * job->bands; i++) {
        const float *piece = job->pieces + (size_t)i * 2 * c + k0;
        double count = band_count(job, i % job->bands);
        for (int k = 0; k < kn; k++)
            mean[k] += count * (double)piece[k];
    }
    for (int k = 0; k < kn; k++)
        mean[k] /= total;
    for (int i = 0; i < job->net->n * job->bands; i++) {
        const float *piece = job->pieces + (size_t)i * 2 * c + k0;
        double count = band_count(job, i % job->bands);
        for (int k = 0; k < kn; k++) {
            double distance = (double)piece[k] - mean[k];
            m2[k] += (double)piece[c + (size_t)k] + count * distance * distance;
        }
    }
}

static void forward_task(void *arg, int64_t chunk, int thread)
{
    const norm_job *job = arg;
    (void)thread;
    const sumi_network *net = job->net;
    const sumi_node_plan *plan = &net->nodes[job->node];
    const sumi_layer *layer = &net->graph->layers[net->graph->nodes[job->node].layer];
    int k0 = (int)chunk * CHANNELS_A_TASK;
    int kn = job->c - k0 < CHANNELS_A_TASK ? job->c - k0 : CHANNELS_A_TASK;
    double mean[CHANNELS_A_TASK], m2[CHANNELS_A_TASK];
    merge_moments(job, k0, kn, mean, m2);
    double total = job->pixels * net->n;
    for (int k = 0; k < kn; k++) {
        int i = k0 + k;
        double variance = m2[k] / total;
        double scale = sumi_norm_scale((double)sumi_param_data(net, layer->weight)[i], variance);
        sumi_at(net, plan->mean)[i] = (float)mean[k];
        sumi_at(net, plan->variance)[i] = (float)variance;
        sumi_at(net, plan->scale)[i] = (float)scale;
        sumi_at(net, plan->shift)[i] =
            (float)((double)sumi_param_data(net, layer->bias)[i] - mean[k] * scale);
    }
}

/* Eval mode, where the producer's store does not apply the norm. */
static void predict_coefficients(sumi_network *net, int node)
{
    const sumi_node_plan *plan = &net->nodes[node];
    const sumi_layer *layer = &net->graph->layers[net->graph->nodes[node].layer];
    for (int i = 0; i < layer->in_channels; i++) {
        double variance = (double)sumi_param_data(net, layer->variance)[i];
        double scale = sumi_norm_scale((double)sumi_param_data(net, layer->weight)[i], variance);
        double mean = (double)sumi_param_data(net, layer->mean)[i];
        sumi_at(net, plan->scale)[i] = (float)scale;
        sumi_at(net, plan->shift)[i] =
            (float)((double)sumi_param_data(net, layer->bias)[i] - mean * scale);
    }
}

static norm_job job_of(sumi_network *net, int node)
{
    int value = net->graph->nodes[node].in.views[0].value;
    norm_job job = {.net = net, .node = node, .c = net->graph->values[value].channels};
    job.h = net->values[value].h;
    job.w = net->values[value].w;
    job.pixels = (double)job.h * job.w;
    return job;
}

static int64_t task_count(const norm_job *job)
{
    return (job->c + CHANNELS_A_TASK - 1) / CHANNELS_A_TASK;
}

static void norm_forward(sumi_network *net, int node)
{
    int value = net->graph->nodes[node].in.views[0].value;
    if (!sumi_training(net)) {
        if (!net->values[value].absorbed && !net->packed_valid)
            predict_coefficients(net, node);
        return;
    }
    const sumi_node_plan *producer = &net->nodes[net->graph->values[value].producer];
    norm_job job = job_of(net, node);
    job.pieces = sumi_at(net, producer->moments);
    job.bands = producer->bands;
    job.rows = producer->rows;
    sumi_parallel_for(net->pool, task_count(&job), forward_task, &job);
}

static void backward_task(void *arg, int64_t chunk, int thread)
{
    const norm_job *job = arg;
    (void)thread;
    const sumi_network *net = job->net;
    const sumi_node_plan *plan = &net->nodes[job->node];
    const sumi_layer *layer = &net->graph->layers[net->graph->nodes[job->node].layer];
    int k0 = (int)chunk * CHANNELS_A_TASK;
    int kn = job->c - k0 < CHANNELS_A_TASK ? job->c - k0 : CHANNELS_A_TASK;
    size_t c = (size_t)job->c;
    double d[CHANNELS_A_TASK] = {0}, dr[CHANNELS_A_TASK] = {0};
    for (int i = 0; i < net->n * job->bands; i++) {
        const float *piece = job->pieces + (size_t)i * 3 * c + k0;
        for (int k = 0; k < kn; k++) {
            d[k] += (double)piece[c + (size_t)k];
            dr[k] += (double)piece[2 * c + (size_t)k];
        }
    }
    double total = job->pixels * net->n;
    for (int k = 0; k < kn; k++) {
        int i = k0 + k;
        double inverse = sumi_norm_scale(1, (double)sumi_at(net, plan->variance)[i]);
        double ga = (double)sumi_param_data(net, layer->weight)[i] * inverse;
        double gb = -ga * inverse * inverse * dr[k] / total;
        sumi_at(net, plan->ga)[i] = (float)ga;
        sumi_at(net, plan->gb)[i] = (float)gb;
        sumi_at(net, plan->gk)[i] =
            (float)(-ga * d[k] / total - gb * (double)sumi_at(net, plan->mean)[i]);
        sumi_gradient_data(net, layer->weight)[i] = (float)(dr[k] * inverse);
        sumi_gradient_data(net, layer->bias)[i] = (float)d[k];
    }
}

static void norm_backward(sumi_network *net, int node)
{
    const sumi_value_plan *value = &net->values[net->graph->nodes[node].in.views[0].value];
    const sumi_node_plan *reader = &net->nodes[value->final_reader];
    norm_job job = job_of(net, node);
    job.pieces = sumi_at(net, reader->sums[value->final_source]);
    job.bands = reader->sum_bands[value->final_source];
    sumi_parallel_for(net->pool, task_count(&job), backward_task, &job);
}

const sumi_op sumi_op_norm = {"norm", norm_plan, norm_forward, norm_backward, NULL};

bool sumi_network_statistics_finite(const sumi_network *net)
{
    for (int node = 0; node < net->graph->node_count; node++) {
        const sumi_node *op = &net->graph->nodes[node];
        if (op->op != &sumi_op_norm)
            continue;
        size_t c = (size_t)net->graph->layers[op->layer].in_channels;
        if (!net->kernels->all_finite(sumi_at(net, net->nodes[node].mean), c) ||
            !net->kernels->all_finite(sumi_at(net, net->nodes[node].variance), c))
            return false;
    }
    return true;
}

void sumi_network_update_statistics(sumi_network *net, sumi_params *params)
{
    for (int node = 0; node < net->graph->node_count; node++) {
        const sumi_node *op = &net->graph->nodes[node];
        if (op->op != &sumi_op_norm)
            continue;
        const sumi_node_plan *plan = &net->nodes[node];
        const sumi_layer *layer = &net->graph->layers[op->layer];
        norm_job job = job_of(net, node);
        double count = job.pixels * net->n, unbiased = count > 1 ? count / (count - 1) : 1;
        float *mean = params->statistics + params->items[layer->mean].offset;
        float *variance = params->statistics + params->items[layer->variance].offset;
        for (int i = 0; i < job.c; i++) {
            float batch = (float)((double)sumi_at(net, plan->variance)[i] * unbiased);
            mean[i] += MOMENTUM * (sumi_at(net, plan->mean)[i] - mean[i]);
            variance[i] += MOMENTUM * (batch - variance[i]);
        }
        params->counters[params->items[layer->counter].offset]++;
    }
}
