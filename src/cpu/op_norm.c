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

#include "cpu/ops.h"

enum { CHANNELS_A_TASK = 32 };

static const double EPS = 1e-5;
static const float MOMENTUM = 0.1f;

double sumi_norm_scale(double gamma, double variance)
{
    return gamma / sqrt(variance + EPS);
}

/* Rows of one float for each channel. */
typedef struct {
    sumi_place scale, shift, mean, variance, ga, gb, gk;
    double count; /* pixels of all images that the last run took the statistics of */
} norm_plan;

static norm_plan *plan_of(const sumi_network *net, int node)
{
    return net->nodes[node].own;
}

sumi_norm_rows sumi_norm_rows_of(const sumi_network *net, int node)
{
    const norm_plan *plan = plan_of(net, node);
    return (sumi_norm_rows){sumi_at(net, plan->scale), sumi_at(net, plan->shift),
                            sumi_at(net, plan->mean),  sumi_at(net, plan->ga),
                            sumi_at(net, plan->gb),    sumi_at(net, plan->gk)};
}

static void norm_make_plan(sumi_network *net, int node)
{
    norm_plan *plan = sumi_plan_own(net, node, sizeof *plan);
    if (!plan)
        return;
    const struct {
        sumi_place *place;
        const char *what;
        bool training;
    } rows[] = {{&plan->scale, "scale", false}, {&plan->shift, "shift", false},
                {&plan->mean, "mean", true},    {&plan->variance, "variance", true},
                {&plan->ga, "ga", true},        {&plan->gb, "gb", true},
                {&plan->gk, "gk", true}};
    size_t bytes = (size_t)sumi_node_layer(net, node)->in_channels * sizeof(float);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        *rows[i].place = SUMI_NOWHERE;
        if (!rows[i].training || sumi_training(net))
            sumi_reserve(net, bytes, 0, sumi_time_end(net), rows[i].place, rows[i].what, node);
    }
}

typedef struct {
    const sumi_run *run;
    sumi_network *net;
    int node;
    float *scale, *shift, *mean, *variance, *ga, *gb, *gk;
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
    double total = job->pixels * job->run->n;
    for (int k = 0; k < kn; k++)
        mean[k] = m2[k] = 0;
    for (int i = 0; i < job->run->n * job->bands; i++) {
        const float *piece = job->pieces + (size_t)i * 2 * c + k0;
        double count = band_count(job, i % job->bands);
        for (int k = 0; k < kn; k++)
            mean[k] += count * (double)piece[k];
    }
    for (int k = 0; k < kn; k++)
        mean[k] /= total;
    for (int i = 0; i < job->run->n * job->bands; i++) {
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
    const sumi_layer *layer = sumi_node_layer(net, job->node);
    int k0 = (int)chunk * CHANNELS_A_TASK;
    int kn = job->c - k0 < CHANNELS_A_TASK ? job->c - k0 : CHANNELS_A_TASK;
    double mean[CHANNELS_A_TASK], m2[CHANNELS_A_TASK];
    merge_moments(job, k0, kn, mean, m2);
    double total = job->pixels * job->run->n;
    for (int k = 0; k < kn; k++) {
        int i = k0 + k;
        double variance = m2[k] / total;
        double scale = sumi_norm_scale((double)sumi_param_data(net, layer->weight)[i], variance);
        job->mean[i] = (float)mean[k];
        job->variance[i] = (float)variance;
        job->scale[i] = (float)scale;
        job->shift[i] = (float)((double)sumi_param_data(net, layer->bias)[i] - mean[k] * scale);
    }
}

/* Eval mode, where the producer's store does not apply the norm. */
static void predict_coefficients(const norm_job *job)
{
    const sumi_network *net = job->net;
    const sumi_layer *layer = sumi_node_layer(net, job->node);
    for (int i = 0; i < layer->in_channels; i++) {
        double variance = (double)sumi_param_data(net, layer->variance)[i];
        double scale = sumi_norm_scale((double)sumi_param_data(net, layer->weight)[i], variance);
        double mean = (double)sumi_param_data(net, layer->mean)[i];
        job->scale[i] = (float)scale;
        job->shift[i] = (float)((double)sumi_param_data(net, layer->bias)[i] - mean * scale);
    }
}

static norm_job job_of(const sumi_run *run, int node)
{
    sumi_network *net = run->net;
    const norm_plan *plan = plan_of(net, node);
    int value = net->graph->nodes[node].in.views[0].value;
    norm_job job = {.run = run,
                    .net = net,
                    .node = node,
                    .scale = sumi_at(net, plan->scale),
                    .shift = sumi_at(net, plan->shift),
                    .mean = sumi_at(net, plan->mean),
                    .variance = sumi_at(net, plan->variance),
                    .ga = sumi_at(net, plan->ga),
                    .gb = sumi_at(net, plan->gb),
                    .gk = sumi_at(net, plan->gk),
                    .c = net->graph->values[value].channels};
    job.h = net->values[value].h;
    job.w = net->values[value].w;
    job.pixels = (double)job.h * job.w;
    return job;
}

static int64_t task_count(const norm_job *job)
{
    return (job->c + CHANNELS_A_TASK - 1) / CHANNELS_A_TASK;
}

static void norm_forward(const sumi_run *run, int node)
{
    const sumi_network *net = run->net;
    const sumi_value_plan *value = &net->values[net->graph->nodes[node].in.views[0].value];
    norm_job job = job_of(run, node);
    if (!sumi_training(net)) {
        if (!value->absorbed && !net->packed_valid)
            predict_coefficients(&job);
        return;
    }
    job.pieces = sumi_at(net, value->moments);
    job.bands = value->bands;
    job.rows = value->rows;
    plan_of(net, node)->count = job.pixels * run->n;
    sumi_parallel_for(net->pool, task_count(&job), forward_task, &job);
}

static void backward_task(void *arg, int64_t chunk, int thread)
{
    const norm_job *job = arg;
    (void)thread;
    const sumi_network *net = job->net;
    const sumi_layer *layer = sumi_node_layer(net, job->node);
    int k0 = (int)chunk * CHANNELS_A_TASK;
    int kn = job->c - k0 < CHANNELS_A_TASK ? job->c - k0 : CHANNELS_A_TASK;
    size_t c = (size_t)job->c;
    double d[CHANNELS_A_TASK] = {0}, dr[CHANNELS_A_TASK] = {0};
    for (int i = 0; i < job->run->n * job->bands; i++) {
        const float *piece = job->pieces + (size_t)i * 3 * c + k0;
        for (int k = 0; k < kn; k++) {
            d[k] += (double)piece[c + (size_t)k];
            dr[k] += (double)piece[2 * c + (size_t)k];
        }
    }
    double total = job->pixels * job->run->n;
    for (int k = 0; k < kn; k++) {
        int i = k0 + k;
        double inverse = sumi_norm_scale(1, (double)job->variance[i]);
        double ga = (double)sumi_param_data(net, layer->weight)[i] * inverse;
        double gb = -ga * inverse * inverse * dr[k] / total;
        job->ga[i] = (float)ga;
        job->gb[i] = (float)gb;
        job->gk[i] = (float)(-ga * d[k] / total - gb * (double)job->mean[i]);
        sumi_gradient_data(job->run, layer->weight)[i] = (float)(dr[k] * inverse);
        sumi_gradient_data(job->run, layer->bias)[i] = (float)d[k];
    }
}

static void norm_backward(const sumi_run *run, int node)
{
    const sumi_network *net = run->net;
    const sumi_value_plan *value = &net->values[net->graph->nodes[node].in.views[0].value];
    const sumi_source_plan *source = &net->nodes[value->final_reader].sources[value->final_source];
    norm_job job = job_of(run, node);
    job.pieces = sumi_at(net, source->sums);
    job.bands = source->sum_bands;
    sumi_parallel_for(net->pool, task_count(&job), backward_task, &job);
}

const sumi_op sumi_op_norm = {norm_make_plan, norm_forward, norm_backward, NULL};

/* ---- Running statistics ---------------------------------------------------------------------- */

/* The plan of a norm, or NULL where the node is none. */
static const norm_plan *norm_at(const sumi_network *net, int node)
{
    return sumi_node_op(net, node) == &sumi_op_norm ? plan_of(net, node) : NULL;
}

bool sumi_network_statistics_finite(const sumi_network *net)
{
    for (int node = 0; node < net->graph->node_count; node++) {
        const norm_plan *plan = norm_at(net, node);
        if (!plan)
            continue;
        size_t c = (size_t)sumi_node_layer(net, node)->in_channels;
        if (!net->kernels->all_finite(sumi_at(net, plan->mean), c) ||
            !net->kernels->all_finite(sumi_at(net, plan->variance), c))
            return false;
    }
    return true;
}

void sumi_network_update_statistics(sumi_network *net, sumi_params *params)
{
    for (int node = 0; node < net->graph->node_count; node++) {
        const norm_plan *plan = norm_at(net, node);
        if (!plan)
            continue;
        const sumi_layer *layer = sumi_node_layer(net, node);
        const float *batch_mean = sumi_at(net, plan->mean);
        const float *batch_variance = sumi_at(net, plan->variance);
        double count = plan->count, unbiased = count > 1 ? count / (count - 1) : 1;
        float *mean = params->statistics + params->items[layer->mean].offset;
        float *variance = params->statistics + params->items[layer->variance].offset;
        for (int i = 0; i < layer->in_channels; i++) {
            float batch = (float)((double)batch_variance[i] * unbiased);
            mean[i] += MOMENTUM * (batch_mean[i] - mean[i]);
            variance[i] += MOMENTUM * (batch - variance[i]);
        }
        params->counters[params->items[layer->counter].offset]++;
    }
}
