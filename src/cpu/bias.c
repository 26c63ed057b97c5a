/*
 * Gradients of biases: the sum of a gradient over all images and pixels. Where a pass that has been
 * has left sums of each image, they are added up; only what nobody has summed is read for that
 * alone. A gradient that is waiting for its norm need not be made: its sum over an image follows
 * from the sums that the norm has taken (norm_rows.c).
 */
#include <string.h>

#include "cpu/norm.h"

/* ---- Sums that are there --------------------------------------------------------------------- */

/* Of each image `bands` rows of a channel's sums, `band` floats apart; `image` from image to image.
 */
typedef struct {
    const float *rows;
    int bands;
    size_t band, image;
} gradient_sums;

static gradient_sums summed_terms(const sumi_network *net, int value)
{
    const sumi_value_plan *plan = &net->values[value];
    size_t row = 3 * (size_t)net->graph->values[value].channels;
    return (gradient_sums){sumi_at(net, plan->sums), plan->sum_bands, row,
                           (size_t)plan->sum_bands * row};
}

/* rows is NULL where there are none. */
static gradient_sums find_sums(const sumi_network *net, int value)
{
    const sumi_value_plan *plan = &net->values[value];
    const sumi_term *term = &plan->terms[0];
    if (plan->term_count != 1)
        return summed_terms(net, value);
    if (term->value >= 0)
        return find_sums(net, term->value);
    const sumi_form *form = &net->graph->values[value].forms[term->form];
    if (form->norm < 0 || sumi_node_layer(net, form->norm)->groups == 0)
        return (gradient_sums){.rows = NULL};
    const float *rows = sumi_at(net, sumi_norm_plan_of(net, form->norm)->sums);
    return (gradient_sums){rows + form->first, 1, 0,
                           (size_t)sumi_node_layer(net, form->norm)->in_channels};
}

/* Images in their order, and the bands of each. */
static void add_sums(const gradient_sums *sums, int begin, int end, int c, float *db)
{
    for (int k = 0; k < c; k++) {
        double sum = 0;
        for (int image = begin; image < end; image++) {
            const float *row = sums->rows + (size_t)image * sums->image + (size_t)k;
            for (int band = 0; band < sums->bands; band++, row += sums->band)
                sum += (double)*row;
        }
        db[k] = (float)sum;
    }
}

void sumi_image_bias_gradient(const sumi_run *run, int node, const sumi_source *dy)
{
    const sumi_network *net = run->net;
    int value = net->graph->nodes[node].out, bias = sumi_node_layer(net, node)->bias;
    bool zero = sumi_value_is_centred(net, value); /* exactly */
    gradient_sums sums = find_sums(net, value);
    if (!zero && !sums.rows) {
        sumi_bias_gradient(run, node, dy, false);
        return;
    }
    for (int g = 0; g < sumi_run_groups(run); g++) {
        float *db = sumi_run_term(run, node, bias, g);
        if (zero)
            memset(db, 0, (size_t)dy->c * sizeof *db);
        else
            add_sums(&sums, sumi_run_border(run, g), sumi_run_border(run, g + 1), dy->c, db);
    }
}

/* ---- A pass of its own ----------------------------------------------------------------------- */

enum { BIAS_CHANNELS = 16 }; /* a task's: a line of memory */

typedef struct {
    const sumi_run *run;
    int node;
    const sumi_source *dy;
    bool rows;
    int h, w, chunks; /* chunks of channels */
} bias_job;

/* A group's images and pixels in their order, so that it does not matter how channels are cut. */
static void bias_task(void *arg, int64_t piece, int thread)
{
    const bias_job *job = arg;
    const sumi_network *net = job->run->net;
    int group = (int)(piece / job->chunks), c0 = (int)(piece % job->chunks) * BIAS_CHANNELS;
    int left = job->dy->c - c0, cn = left < BIAS_CHANNELS ? left : BIAS_CHANNELS;
    int begin = sumi_run_border(job->run, group), end = sumi_run_border(job->run, group + 1);
    double sum[BIAS_CHANNELS] = {0};
    float *row = sumi_scratch(net, thread);
    float *db = sumi_run_term(job->run, job->node, sumi_node_layer(net, job->node)->bias, group);
    for (int image = job->rows ? 0 : begin; image < (job->rows ? 1 : end); image++)
        for (int y = job->rows ? begin : 0; y < (job->rows ? end : job->h); y++) {
            sumi_strip strip = {.n = image,
                                .y0 = y,
                                .rows = 1,
                                .cols = job->w,
                                .c0 = c0,
                                .cn = cn,
                                .dst = row,
                                .row_stride = (size_t)job->w * (size_t)cn,
                                .pixel_stride = (size_t)cn};
            net->kernels->fill(job->dy, 1, job->h, job->w, &strip);
            net->kernels->column_sum(row, (size_t)job->w, cn, sum);
        }
    for (int k = 0; k < cn; k++)
        db[c0 + k] = (float)sum[k];
}

void sumi_bias_gradient(const sumi_run *run, int node, const sumi_source *dy, bool rows)
{
    const sumi_value_plan *out = &run->net->values[run->net->graph->nodes[node].out];
    bias_job job = {.run = run,
                    .node = node,
                    .dy = dy,
                    .rows = rows,
                    .h = rows ? run->n : out->h,
                    .w = rows ? 1 : out->w,
                    .chunks = (dy->c + BIAS_CHANNELS - 1) / BIAS_CHANNELS};
    sumi_parallel_for(run->net->pool, (int64_t)sumi_run_groups(run) * job.chunks, bias_task, &job);
}
