/*
 * Batch normalisation (Ioffe & Szegedy 2015) as torch.nn.BatchNorm2d: eps 1e-5, momentum 0.1,
 * biased variance for normalising, unbiased for the running variance. What gives each image rows of
 * its own, group normalisation and modulation, is in norm_rows.c.
 *
 * A norm touches no activation: forward turns the moments that the producer's store collected into
 * scale and shift, backward turns the sums that the stores of its forms' last readers collected
 * into the coefficients of the gradient. With d the gradient at the norm's output, r its input, N
 * the count, mu and s the mean and 1/sqrt(var + eps):
 *     dgamma = s * sum(d (r - mu)),   dbeta = sum(d),
 *     dr = gamma s (d - sum(d)/N - (r - mu) s^2 sum(d (r - mu))/N) = ga * d + gb * r + gk.
 */
#include <math.h>
#include <string.h>

#include "cpu/norm.h"

enum { CHANNELS_A_TASK = 32 };

static const double EPS = 1e-5;
static const float MOMENTUM = 0.1f;

double sumi_norm_scale(double gamma, double variance)
{
    return gamma / sqrt(variance + EPS);
}

/* ---- Plan ------------------------------------------------------------------------------------ */

sumi_norm_rows sumi_norm_rows_of(const sumi_network *net, int node)
{
    const sumi_norm_plan *plan = sumi_norm_plan_of(net, node);
    return (sumi_norm_rows){sumi_at(net, plan->scale),
                            sumi_at(net, plan->shift),
                            sumi_at(net, plan->mean),
                            sumi_at(net, plan->ga),
                            sumi_at(net, plan->gb),
                            sumi_at(net, plan->gk),
                            plan->per_image ? (size_t)sumi_node_layer(net, node)->in_channels : 0};
}

static void reserve_rows(sumi_network *net, int node, sumi_norm_plan *plan)
{
    bool training = sumi_training(net), own = plan->per_image;
    const struct {
        sumi_place *place;
        const char *what;
        bool wanted, shared;
    } rows[] = {{&plan->scale, "scale", true, false},
                {&plan->shift, "shift", true, false},
                {&plan->mean, "mean", training, false},
                {&plan->ga, "ga", training, false},
                {&plan->gb, "gb", training, false},
                {&plan->gk, "gk", training, false},
                {&plan->inverse, "inverse", own, false},
                {&plan->totals, "totals", own && training, false},
                {&plan->offset, "offset", training && plan->grouped, false},
                {&plan->sums, "sums", training && plan->grouped, false},
                {&plan->variance, "variance", training && !plan->grouped, true},
                {&plan->batch_mean, "batch mean", own && training && !plan->grouped, true}};
    size_t c = (size_t)sumi_node_layer(net, node)->in_channels;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t count = own && !rows[i].shared ? c * (size_t)net->config.n_max : c;
        bool sums = rows[i].place == &plan->totals; /* two of them, in double */
        *rows[i].place = SUMI_NOWHERE;
        if (rows[i].wanted)
            sumi_reserve(net, count * (sums ? 2 * sizeof(double) : sizeof(float)), 0,
                         sumi_time_end(net), rows[i].place, rows[i].what, node);
    }
}

/* Moments of an input are nobody else's to collect. */
static void plan_own_moments(sumi_network *net, int node, sumi_norm_plan *plan)
{
    const sumi_edge *in = &net->nodes[node].in;
    for (int i = 0; i < in->count; i++) {
        int value = in->views[i].value;
        sumi_value_plan *input = &net->values[value];
        int rows =
            sumi_band_rows(input->h, (size_t)input->w * (size_t)net->graph->values[value].channels);
        if (input->stored_by >= 0 || input->bands > 0 || !(plan->grouped || sumi_training(net)))
            continue;
        sumi_plan_moments(net, value, rows, (input->h + rows - 1) / rows);
        sumi_want_scratch(net, sumi_sum_scratch(net, value, rows));
        plan->collects[i] = true;
    }
}

static void norm_make_plan(sumi_network *net, int node)
{
    sumi_norm_plan *plan = sumi_plan_own(net, node, sizeof *plan);
    if (!plan)
        return;
    plan->grouped = sumi_node_layer(net, node)->groups > 0;
    plan->per_image = plan->grouped || net->graph->nodes[node].vector >= 0;
    reserve_rows(net, node, plan);
    plan_own_moments(net, node, plan);
    /* One row of sums, and two of each group of images. */
    sumi_want_scratch(net, (size_t)(1 + 2 * sumi_plan_groups(net)) *
                               (size_t)sumi_node_layer(net, node)->in_channels * sizeof(double));
}

static void collect_own_moments(const sumi_run *run, int node)
{
    const sumi_network *net = run->net;
    const sumi_edge *in = &net->nodes[node].in;
    for (int i = 0; i < in->count; i++) {
        int value = in->views[i].value;
        sumi_source source;
        sumi_sink sink;
        if (!sumi_norm_plan_of(net, node)->collects[i] ||
            net->values[value].moments == SUMI_NOWHERE)
            continue;
        sumi_view_source(run, &in->views[i], &source);
        sumi_value_sink(run, value, &sink);
        sink.dst = NULL;
        sumi_sum_run(run, &source, 1, &sink, value, net->values[value].rows);
    }
}

/* ---- One source of a batch norm -------------------------------------------------------------- */

typedef struct {
    const sumi_run *run;
    sumi_network *net;
    /* Of the source's channels: rows, and parameters. */
    float *scale, *shift, *mean, *variance, *ga, *gb, *gk;
    const float *gamma, *beta;
    int c;
    double pixels;       /* of one image */
    const float *pieces; /* moments, of [n][bands][2][c] */
    int bands, rows, h, w;
    const sumi_source_plan *sums[SUMI_FORMS_MAX]; /* of its forms */
    int sum_count;
    double *mean_sums; /* [c]: of means, over all images of all ranks */
    /* [group][c] of means or spreads, [group][2][c] of d and dr; once they are added up, [0] has
     * those of all images of all ranks. */
    double *sums_of;
    int node, first; /* the source's first channel in the norm */
    int chunks;      /* of channels */
} norm_job;

/* Pixels in a band. */
static double band_count(const norm_job *job, int band)
{
    int low = job->h - band * job->rows;
    return (double)(low < job->rows ? low : job->rows) * job->w;
}

/* A task's channels. */
static int task_channels(const norm_job *job, int64_t chunk, int *k0)
{
    *k0 = (int)chunk * CHANNELS_A_TASK;
    return job->c - *k0 < CHANNELS_A_TASK ? job->c - *k0 : CHANNELS_A_TASK;
}

/* Pixels of the whole batch. */
static double all_pixels(const norm_job *job)
{
    return job->pixels * sumi_run_images(job->run);
}

/* Mean and sum of squared differences of each channel come from those of each band (Chan et al.
 * 1979): first the mean of all, then each band's own spread and its mean's distance. */
static void means_task(void *arg, int64_t piece, int thread)
{
    const norm_job *job = arg;
    (void)thread;
    int group = (int)(piece / job->chunks), k0;
    int kn = task_channels(job, piece % job->chunks, &k0);
    int end = sumi_run_border(job->run, group + 1) * job->bands;
    double sum[CHANNELS_A_TASK] = {0};
    for (int i = sumi_run_border(job->run, group) * job->bands; i < end; i++) {
        const float *values = job->pieces + (size_t)i * 2 * (size_t)job->c + k0;
        double count = band_count(job, i % job->bands);
        for (int k = 0; k < kn; k++)
            sum[k] += count * (double)values[k];
    }
    memcpy(job->sums_of + group * job->c + k0, sum, (size_t)kn * sizeof *sum);
}

static void spreads_task(void *arg, int64_t piece, int thread)
{
    const norm_job *job = arg;
    (void)thread;
    int group = (int)(piece / job->chunks), k0;
    int kn = task_channels(job, piece % job->chunks, &k0);
    int end = sumi_run_border(job->run, group + 1) * job->bands;
    double mean[CHANNELS_A_TASK], m2[CHANNELS_A_TASK] = {0};
    for (int k = 0; k < kn; k++)
        mean[k] = job->mean_sums[k0 + k] / all_pixels(job);
    for (int i = sumi_run_border(job->run, group) * job->bands; i < end; i++) {
        const float *values = job->pieces + (size_t)i * 2 * (size_t)job->c + k0;
        double count = band_count(job, i % job->bands);
        for (int k = 0; k < kn; k++) {
            double distance = (double)values[k] - mean[k];
            m2[k] += (double)values[job->c + k] + count * distance * distance;
        }
    }
    memcpy(job->sums_of + group * job->c + k0, m2, (size_t)kn * sizeof *m2);
}

static void set_forward(const norm_job *job)
{
    for (int k = 0; k < job->c; k++) {
        double mean = job->mean_sums[k] / all_pixels(job);
        double variance = job->sums_of[k] / all_pixels(job);
        double scale = sumi_norm_scale((double)job->gamma[k], variance);
        job->mean[k] = (float)mean;
        job->variance[k] = (float)variance;
        job->scale[k] = (float)scale;
        job->shift[k] = (float)((double)job->beta[k] - mean * scale);
    }
}

/* Eval mode, where no store applies the norm. */
static void predict_coefficients(const norm_job *job, const float *running_mean,
                                 const float *running_variance)
{
    for (int i = 0; i < job->c; i++) {
        double variance = (double)running_variance[i], mean = (double)running_mean[i];
        double scale = sumi_norm_scale((double)job->gamma[i], variance);
        job->scale[i] = (float)scale;
        job->shift[i] = (float)((double)job->beta[i] - mean * scale);
    }
}

static float *row_at(const sumi_network *net, sumi_place place, int first)
{
    float *row = sumi_at(net, place);
    return row ? row + first : NULL;
}

/* first: the source's first channel in the norm. */
static norm_job job_of(const sumi_run *run, int node, int i, int first)
{
    sumi_network *net = run->net;
    const sumi_norm_plan *plan = sumi_norm_plan_of(net, node);
    const sumi_layer *layer = sumi_node_layer(net, node);
    int value = net->nodes[node].in.views[i].value;
    norm_job job = {.run = run,
                    .net = net,
                    .scale = row_at(net, plan->scale, first),
                    .shift = row_at(net, plan->shift, first),
                    .mean = row_at(net, plan->per_image ? plan->batch_mean : plan->mean, first),
                    .variance = row_at(net, plan->variance, first),
                    .ga = row_at(net, plan->ga, first),
                    .gb = row_at(net, plan->gb, first),
                    .gk = row_at(net, plan->gk, first),
                    .gamma = sumi_param_data(net, layer->weight) + first,
                    .beta = sumi_param_data(net, layer->bias) + first,
                    .c = net->graph->values[value].channels,
                    .mean_sums = sumi_scratch(net, 0),
                    .node = node,
                    .first = first};
    job.sums_of = job.mean_sums + job.c;
    job.chunks = (job.c + CHANNELS_A_TASK - 1) / CHANNELS_A_TASK;
    job.h = net->values[value].h;
    job.w = net->values[value].w;
    job.pixels = (double)job.h * job.w;
    job.pieces = sumi_at(net, net->values[value].moments);
    job.bands = net->values[value].bands;
    job.rows = net->values[value].rows;
    return job;
}

static int64_t task_count(const norm_job *job)
{
    return (int64_t)sumi_run_groups(job->run) * job->chunks;
}

static void batch_forward(const sumi_run *run, int node)
{
    sumi_network *net = run->net;
    const sumi_edge *in = &net->nodes[node].in;
    const sumi_layer *layer = sumi_node_layer(net, node);
    for (int i = 0, first = 0; i < in->count; i++) {
        norm_job job = job_of(run, node, i, first);
        if (sumi_training(net)) {
            sumi_norm_plan_of(net, node)->count = all_pixels(&job);
            sumi_parallel_for(net->pool, task_count(&job), means_task, &job);
            sumi_run_sum(run, job.sums_of, (size_t)job.c);
            memcpy(job.mean_sums, job.sums_of, (size_t)job.c * sizeof *job.sums_of);
            sumi_parallel_for(net->pool, task_count(&job), spreads_task, &job);
            sumi_run_sum(run, job.sums_of, (size_t)job.c);
            set_forward(&job);
        } else if (!net->packed_valid) {
            predict_coefficients(&job, sumi_param_data(net, layer->mean) + first,
                                 sumi_param_data(net, layer->variance) + first);
        }
        first += job.c;
    }
}

static void norm_forward(const sumi_run *run, int node)
{
    const sumi_norm_plan *plan = sumi_norm_plan_of(run->net, node);
    collect_own_moments(run, node);
    /* A modulated batch norm's statistics first, then the rows of each image. */
    if (!plan->grouped && (!plan->per_image || sumi_training(run->net)))
        batch_forward(run, node);
    if (plan->per_image)
        sumi_norm_rows_forward(run, node);
}

/* Sums of d and of d (r - mean), and what they are the parameters' gradients of. */
static void backward_task(void *arg, int64_t task, int thread)
{
    const norm_job *job = arg;
    const sumi_run *run = job->run;
    (void)thread;
    int group = (int)(task / job->chunks), k0, kn = task_channels(job, task % job->chunks, &k0);
    size_t c = (size_t)job->c;
    double d[CHANNELS_A_TASK] = {0}, dr[CHANNELS_A_TASK] = {0};
    for (int f = 0; f < job->sum_count; f++) {
        const float *sums = sumi_at(job->net, job->sums[f]->sums);
        int bands = job->sums[f]->sum_bands, end = sumi_run_border(run, group + 1) * bands;
        for (int i = sumi_run_border(run, group) * bands; i < end; i++) {
            const float *piece = sums + (size_t)i * 3 * c + k0;
            for (int k = 0; k < kn; k++) {
                d[k] += (double)piece[c + (size_t)k];
                dr[k] += (double)piece[2 * c + (size_t)k];
            }
        }
    }
    const sumi_layer *layer = sumi_node_layer(job->net, job->node);
    float *dgamma = sumi_run_term(run, job->node, layer->weight, group) + job->first + k0;
    float *dbeta = sumi_run_term(run, job->node, layer->bias, group) + job->first + k0;
    double *totals = job->sums_of + (size_t)group * 2 * c + k0;
    for (int k = 0; k < kn; k++) {
        double inverse = sumi_norm_scale(1, (double)job->variance[k0 + k]);
        dgamma[k] = (float)(dr[k] * inverse);
        dbeta[k] = (float)d[k];
        totals[k] = d[k];
        totals[c + (size_t)k] = dr[k];
    }
}

static void set_backward(const norm_job *job)
{
    double total = all_pixels(job);
    for (int k = 0; k < job->c; k++) {
        double inverse = sumi_norm_scale(1, (double)job->variance[k]);
        double ga = (double)job->gamma[k] * inverse;
        double gb = -ga * inverse * inverse * job->sums_of[job->c + k] / total;
        job->ga[k] = (float)ga;
        job->gb[k] = (float)gb;
        job->gk[k] = (float)(-ga * job->sums_of[k] / total - gb * (double)job->mean[k]);
    }
}

int sumi_norm_sums(const sumi_network *net, int node, int i,
                   const sumi_source_plan *out[SUMI_FORMS_MAX])
{
    int index = net->nodes[node].in.views[i].value, count = 0;
    const sumi_value *value = &net->graph->values[index];
    for (int f = 0; f < value->form_count; f++) {
        const sumi_form_plan *form = &net->values[index].forms[f];
        if (value->forms[f].norm == node && form->final_reader >= 0)
            out[count++] = &net->nodes[form->final_reader].sources[form->final_source];
    }
    return count;
}

int sumi_norm_sum_bands(const sumi_network *net, int node, int i)
{
    const sumi_source_plan *sums[SUMI_FORMS_MAX];
    int count = sumi_norm_sums(net, node, i, sums), bands = 0;
    for (int f = 0; f < count; f++)
        bands += sums[f]->sum_bands;
    return bands;
}

static void norm_backward(const sumi_run *run, int node)
{
    const sumi_network *net = run->net;
    const sumi_edge *in = &net->nodes[node].in;
    if (sumi_norm_plan_of(net, node)->per_image) {
        sumi_norm_rows_backward(run, node);
        return;
    }
    for (int i = 0, first = 0; i < in->count; i++) {
        norm_job job = job_of(run, node, i, first);
        job.sum_count = sumi_norm_sums(net, node, i, job.sums);
        sumi_parallel_for(net->pool, task_count(&job), backward_task, &job);
        sumi_run_sum(run, job.sums_of, 2 * (size_t)job.c);
        set_backward(&job);
        first += job.c;
    }
    sumi_run_fold(run, node);
}

const sumi_op sumi_op_norm = {norm_make_plan, norm_forward, norm_backward, NULL};

/* ---- Running statistics ---------------------------------------------------------------------- */

/* The plan of a norm that has them, or NULL. */
static const sumi_norm_plan *batch_norm_at(const sumi_network *net, int node)
{
    if (net->graph->nodes[node].kind != SUMI_KIND_NORM || net->nodes[node].skipped)
        return NULL;
    const sumi_norm_plan *plan = sumi_norm_plan_of(net, node);
    return plan->grouped ? NULL : plan;
}

static const float *batch_mean(const sumi_network *net, const sumi_norm_plan *plan)
{
    return sumi_at(net, plan->per_image ? plan->batch_mean : plan->mean);
}

bool sumi_network_statistics_finite(const sumi_network *net)
{
    for (int node = 0; node < net->graph->node_count; node++) {
        const sumi_norm_plan *plan = batch_norm_at(net, node);
        if (!plan)
            continue;
        size_t c = (size_t)sumi_node_layer(net, node)->in_channels;
        if (!net->kernels->all_finite(batch_mean(net, plan), c) ||
            !net->kernels->all_finite(sumi_at(net, plan->variance), c))
            return false;
    }
    return true;
}

void sumi_network_update_statistics(sumi_network *net, float *statistics)
{
    const sumi_param *params = net->graph->params.items;
    for (int node = 0; node < net->graph->node_count; node++) {
        const sumi_norm_plan *plan = batch_norm_at(net, node);
        if (!plan)
            continue;
        const sumi_layer *layer = sumi_node_layer(net, node);
        const float *mean_now = batch_mean(net, plan);
        const float *variance_now = sumi_at(net, plan->variance);
        double count = plan->count, unbiased = count > 1 ? count / (count - 1) : 1;
        float *mean = statistics + params[layer->mean].offset;
        float *variance = statistics + params[layer->variance].offset;
        for (int i = 0; i < layer->in_channels; i++) {
            float batch = (float)((double)variance_now[i] * unbiased);
            mean[i] += MOMENTUM * (mean_now[i] - mean[i]);
            variance[i] += MOMENTUM * (batch - variance[i]);
        }
    }
}
