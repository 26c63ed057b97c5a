/*
 * Normalisation with rows for each image: group normalisation (Wu & He 2018), over the channels of
 * a group and the pixels of an image, also across the sources of a concatenation; and modulation of
 * any norm by a vector a, b of each image: z = (1 + a) y + b with y = gamma x^ + beta.
 *
 * With d the gradient at z, e = d (1 + a) gamma that at x^ = (r - mu) s, and E1, E2 the means of e
 * and e x^ over what the statistics were taken of:
 *     da = sum(d y),  db = sum(d),  dr = s (e - E1 - x^ E2) = ga * d + gb * r + gk.
 * Sums over an image of d and d (r - mu) are all that is needed of d.
 */
#include "cpu/norm.h"

typedef struct {
    const sumi_run *run;
    const sumi_network *net;
    const sumi_norm_plan *plan;
    const sumi_layer *layer;
    int node, c, group; /* channels in a group */
    double pixels;
    const float *gamma, *beta; /* NULL: 1 and 0 */
    const float *a;            /* of the modulation, [n][2c]; NULL: 0 */
    float *da;                 /* likewise; NULL: not wanted */
} rows_job;

static rows_job job_of(const sumi_run *run, int node)
{
    const sumi_network *net = run->net;
    const sumi_layer *layer = sumi_node_layer(net, node);
    const sumi_value_plan *value = &net->values[net->nodes[node].in.views[0].value];
    int vector = net->graph->nodes[node].vector;
    rows_job job = {.run = run,
                    .net = net,
                    .plan = sumi_norm_plan_of(net, node),
                    .layer = layer,
                    .node = node,
                    .c = layer->in_channels,
                    .group = layer->groups > 0 ? layer->in_channels / layer->groups : 1,
                    .pixels = (double)value->h * value->w};
    if (layer->weight >= 0) {
        job.gamma = sumi_param_data(net, layer->weight);
        job.beta = sumi_param_data(net, layer->bias);
    }
    if (vector >= 0)
        job.a = sumi_value_data(run, vector);
    if (run->gradients && vector >= 0)
        job.da = sumi_at(net, net->values[vector].forms[0].gradient);
    return job;
}

static double gamma_at(const rows_job *job, int k)
{
    return job->gamma ? (double)job->gamma[k] : 1;
}

static double beta_at(const rows_job *job, int k)
{
    return job->beta ? (double)job->beta[k] : 0;
}

/* 1 + a, of an image. */
static double factor_at(const rows_job *job, int64_t image, int k)
{
    return job->a ? 1 + (double)job->a[2 * image * job->c + k] : 1;
}

/* Row `image` of one of the plan's rows. */
static float *row_of(const rows_job *job, sumi_place place, int64_t image)
{
    float *rows = sumi_at(job->net, place);
    return rows ? rows + image * job->c : NULL;
}

/* ---- Forward --------------------------------------------------------------------------------- */

/* Mean and sum of squared differences of each channel of an image, from those of its bands. */
static void merge_bands(const rows_job *job, int64_t image, double *mean, double *m2)
{
    const sumi_edge *in = &job->net->nodes[job->node].in;
    for (int i = 0; i < in->count; i++) {
        int c = job->net->graph->values[in->views[i].value].channels;
        const sumi_value_plan *value = &job->net->values[in->views[i].value];
        const float *moments = sumi_at(job->net, value->moments);
        const float *pieces = moments + image * value->bands * 2 * c;
        for (int k = 0; k < c; k++)
            mean[k] = m2[k] = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int band = 0; band < value->bands; band++) {
                const float *piece = pieces + (size_t)band * 2 * (size_t)c;
                int left = value->h - band * value->rows;
                double count = (double)(left < value->rows ? left : value->rows) * value->w;
                for (int k = 0; k < c; k++) {
                    double distance = (double)piece[k] - mean[k];
                    if (pass == 0)
                        mean[k] += count / job->pixels * (double)piece[k];
                    else
                        m2[k] += (double)piece[c + k] + count * distance * distance;
                }
            }
        mean += c;
        m2 += c;
    }
}

/* Gives each channel its group's mean, and 1 / sqrt(variance + eps) in place of m2. offset: how far
 * its own mean was from that, or NULL. */
static void merge_groups(const rows_job *job, double *mean, double *m2, float *offset)
{
    for (int k0 = 0; k0 < job->c; k0 += job->group) {
        double center = 0, sum = 0;
        for (int k = k0; k < k0 + job->group; k++)
            center += mean[k] / job->group;
        for (int k = k0; k < k0 + job->group; k++)
            sum += m2[k] + job->pixels * (mean[k] - center) * (mean[k] - center);
        for (int k = k0; k < k0 + job->group; k++) {
            if (offset)
                offset[k] = (float)(mean[k] - center);
            mean[k] = center;
            m2[k] = sumi_norm_scale(1, sum / (job->pixels * job->group));
        }
    }
}

/* The same of all images: this batch's, or what is left of earlier ones. */
static void take_batch(const rows_job *job, double *mean, double *inverse)
{
    const float *means = sumi_at(job->net, job->plan->batch_mean);
    const float *variances = sumi_at(job->net, job->plan->variance);
    if (!means) {
        means = sumi_param_data(job->net, job->layer->mean);
        variances = sumi_param_data(job->net, job->layer->variance);
    }
    for (int k = 0; k < job->c; k++) {
        mean[k] = (double)means[k];
        inverse[k] = sumi_norm_scale(1, (double)variances[k]);
    }
}

static void forward_task(void *arg, int64_t image, int thread)
{
    const rows_job *job = arg;
    double *mean = sumi_scratch(job->net, thread), *inverse = mean + job->c;
    if (job->plan->grouped) {
        merge_bands(job, image, mean, inverse);
        merge_groups(job, mean, inverse, row_of(job, job->plan->offset, image));
    } else {
        take_batch(job, mean, inverse);
    }
    float *scale = row_of(job, job->plan->scale, image);
    float *shift = row_of(job, job->plan->shift, image);
    float *means = row_of(job, job->plan->mean, image);
    float *inverses = row_of(job, job->plan->inverse, image);
    for (int k = 0; k < job->c; k++) {
        double factor = factor_at(job, image, k), g = gamma_at(job, k) * inverse[k];
        double b = job->a ? (double)job->a[(2 * image + 1) * job->c + k] : 0;
        scale[k] = (float)(g * factor);
        shift[k] = (float)((beta_at(job, k) - mean[k] * g) * factor + b);
        inverses[k] = (float)inverse[k];
        if (means)
            means[k] = (float)mean[k];
    }
}

void sumi_norm_rows_forward(const sumi_run *run, int node)
{
    rows_job job = job_of(run, node);
    sumi_parallel_for(run->net->pool, run->n, forward_task, &job);
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* Sums over an image of d and of d (r - mean), of the c channels of source i, over its forms. */
static void add_sums(const rows_job *job, int i, int64_t image, int c, double *d, double *dr)
{
    const sumi_source_plan *forms[SUMI_FORMS_MAX];
    int count = sumi_norm_sums(job->net, job->node, i, forms);
    for (int k = 0; k < c; k++)
        d[k] = dr[k] = 0;
    for (int f = 0; f < count; f++) {
        const float *sums = sumi_at(job->net, forms[f]->sums);
        for (int band = 0; band < forms[f]->sum_bands; band++) {
            const float *piece = sums + (image * forms[f]->sum_bands + band) * 3 * c;
            for (int k = 0; k < c; k++) {
                d[k] += (double)piece[c + k];
                dr[k] += (double)piece[2 * c + k];
            }
        }
    }
}

/* All of an image's sums, and from them the modulation's gradient. */
static void totals_task(void *arg, int64_t image, int thread)
{
    const rows_job *job = arg;
    (void)thread;
    const sumi_edge *in = &job->net->nodes[job->node].in;
    double *all = sumi_at(job->net, job->plan->totals);
    double *d = all + image * 2 * job->c, *dr = d + job->c;
    const float *inverse = row_of(job, job->plan->inverse, image);
    for (int i = 0, first = 0; i < in->count; i++) {
        int c = job->net->graph->values[in->views[i].value].channels;
        add_sums(job, i, image, c, d + first, dr + first);
        first += c;
    }
    for (int k = 0; k < job->c && job->da; k++) {
        float *da = job->da + 2 * image * job->c;
        da[k] += (float)(gamma_at(job, k) * (double)inverse[k] * dr[k] + beta_at(job, k) * d[k]);
        da[job->c + k] += (float)d[k];
    }
}

/* Adds to e1 and e2 the sums of e and of e x^ over channel k of an image. */
static void add_shares(const rows_job *job, int64_t image, int k, double *e1, double *e2)
{
    const double *all = sumi_at(job->net, job->plan->totals);
    const double *d = all + image * 2 * job->c;
    double g = factor_at(job, image, k) * gamma_at(job, k);
    *e1 += g * d[k];
    *e2 += g * (double)row_of(job, job->plan->inverse, image)[k] * d[job->c + k];
}

/* The gradient's rows of channel k of an image, from the means of e and of e x^. */
static void set_rows(const rows_job *job, int64_t image, int k, double e1, double e2)
{
    double inverse = (double)row_of(job, job->plan->inverse, image)[k];
    double gb = -inverse * inverse * e2;
    row_of(job, job->plan->ga, image)[k] =
        (float)(inverse * gamma_at(job, k) * factor_at(job, image, k));
    row_of(job, job->plan->gb, image)[k] = (float)gb;
    row_of(job, job->plan->gk, image)[k] =
        (float)(-inverse * e1 - gb * (double)row_of(job, job->plan->mean, image)[k]);
}

/* The sum over the pixels of a channel of ga d + gb r + gk = ga d + gb (r - mean) - inverse e1. */
static void set_sum(const rows_job *job, int64_t image, int k, double e1, double e2)
{
    const double *all = sumi_at(job->net, job->plan->totals);
    double inverse = (double)row_of(job, job->plan->inverse, image)[k];
    double offset = (double)row_of(job, job->plan->offset, image)[k];
    double d = all[image * 2 * job->c + k], g = gamma_at(job, k) * factor_at(job, image, k);
    row_of(job, job->plan->sums, image)[k] =
        (float)(inverse * (g * d - job->pixels * (e1 + inverse * e2 * offset)));
}

static void group_task(void *arg, int64_t image, int thread)
{
    const rows_job *job = arg;
    double count = job->pixels * job->group;
    (void)thread;
    for (int k0 = 0; k0 < job->c; k0 += job->group) {
        double e1 = 0, e2 = 0;
        for (int k = k0; k < k0 + job->group; k++)
            add_shares(job, image, k, &e1, &e2);
        for (int k = k0; k < k0 + job->group; k++) {
            set_rows(job, image, k, e1 / count, e2 / count);
            set_sum(job, image, k, e1 / count, e2 / count);
        }
    }
}

/* The sums of a channel over a group of images, into the first thread's scratch: [group][2][c]. */
static void shares_task(void *arg, int64_t task, int thread)
{
    const rows_job *job = arg;
    int group = (int)(task / job->c), channel = (int)(task % job->c);
    double *sums = (double *)sumi_scratch(job->net, 0) + (size_t)group * 2 * (size_t)job->c;
    double e1 = 0, e2 = 0;
    (void)thread;
    for (int image = sumi_run_border(job->run, group); image < sumi_run_border(job->run, group + 1);
         image++)
        add_shares(job, image, channel, &e1, &e2);
    sums[channel] = e1;
    sums[job->c + channel] = e2;
}

static void batch_task(void *arg, int64_t channel, int thread)
{
    const rows_job *job = arg;
    const double *sums = sumi_scratch(job->net, 0);
    double count = job->pixels * sumi_run_images(job->run);
    (void)thread;
    for (int image = 0; image < job->run->n; image++)
        set_rows(job, image, (int)channel, sums[channel] / count, sums[job->c + channel] / count);
}

static void batch_rows(rows_job *job)
{
    sumi_pool *pool = job->net->pool;
    sumi_parallel_for(pool, (int64_t)sumi_run_groups(job->run) * job->c, shares_task, job);
    sumi_run_sum(job->run, sumi_scratch(job->net, 0), 2 * (size_t)job->c);
    sumi_parallel_for(pool, job->c, batch_task, job);
}

static void parameters_task(void *arg, int64_t task, int thread)
{
    const rows_job *job = arg;
    const double *all = sumi_at(job->net, job->plan->totals);
    int group = (int)(task / job->c), k = (int)(task % job->c);
    double dgamma = 0, dbeta = 0;
    (void)thread;
    for (int image = sumi_run_border(job->run, group); image < sumi_run_border(job->run, group + 1);
         image++) {
        const double *d = all + (size_t)image * 2 * (size_t)job->c;
        double factor = factor_at(job, image, k);
        dgamma += factor * (double)row_of(job, job->plan->inverse, image)[k] * d[job->c + k];
        dbeta += factor * d[k];
    }
    sumi_run_term(job->run, job->node, job->layer->weight, group)[k] = (float)dgamma;
    sumi_run_term(job->run, job->node, job->layer->bias, group)[k] = (float)dbeta;
}

void sumi_norm_rows_backward(const sumi_run *run, int node)
{
    rows_job job = job_of(run, node);
    sumi_pool *pool = run->net->pool;
    sumi_parallel_for(pool, run->n, totals_task, &job);
    if (job.plan->grouped)
        sumi_parallel_for(pool, run->n, group_task, &job);
    else
        batch_rows(&job);
    if (job.layer->weight < 0)
        return;
    sumi_parallel_for(pool, (int64_t)sumi_run_groups(run) * job.c, parameters_task, &job);
    sumi_run_fold(run, node);
}
