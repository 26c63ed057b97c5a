/*
 * A row for each label: row number label of a table of parameters, and the last row for an image
 * that has none.
 */
#include <string.h>

#include "cpu/ops.h"

typedef struct {
    const sumi_run *run;
    int rows;
    size_t dim;
} embedding_job;

static embedding_job job_of(const sumi_run *run, int node)
{
    const sumi_layer *layer = sumi_node_layer(run->net, node);
    return (embedding_job){run, layer->in_channels, (size_t)layer->out_channels};
}

static size_t row_of(const embedding_job *job, int image)
{
    int label = sumi_label_of(job->run, image);
    return (size_t)(label < 0 || label >= job->rows ? job->rows - 1 : label);
}

static void embedding_forward(const sumi_run *run, int node)
{
    embedding_job job = job_of(run, node);
    const float *table = sumi_param_data(run->net, sumi_node_layer(run->net, node)->weight);
    float *out = sumi_value_data(run, run->net->graph->nodes[node].out);
    for (int i = 0; i < run->n; i++)
        memcpy(out + (size_t)i * job.dim, table + row_of(&job, i) * job.dim,
               job.dim * sizeof(float));
}

/* In the order of the images, so that rows of several add up in one way. */
static void group_backward(const sumi_run *run, int node, int group)
{
    embedding_job job = job_of(run, node);
    float *gradient = sumi_run_term(run, node, sumi_node_layer(run->net, node)->weight, group);
    int value = run->net->graph->nodes[node].out, end = sumi_run_border(run, group + 1);
    memset(gradient, 0, (size_t)job.rows * job.dim * sizeof(float));
    for (int i = sumi_run_border(run, group); i < end; i++) {
        sumi_source dy;
        float *row = gradient + row_of(&job, i) * job.dim;
        sumi_gradient_source(run, value, &dy);
        float *piece = sumi_scratch(run->net, 0);
        const sumi_strip strip = {.n = i,
                                  .rows = 1,
                                  .cols = 1,
                                  .cn = (int)job.dim,
                                  .dst = piece,
                                  .row_stride = job.dim,
                                  .pixel_stride = job.dim};
        run->net->kernels->fill(&dy, 1, 1, 1, &strip);
        for (size_t k = 0; k < job.dim; k++)
            row[k] += piece[k];
    }
}

static void embedding_backward(const sumi_run *run, int node)
{
    for (int group = 0; group < sumi_run_groups(run); group++)
        group_backward(run, node, group);
    sumi_run_fold(run, node);
}

static void embedding_plan(sumi_network *net, int node)
{
    sumi_want_scratch(net, (size_t)sumi_node_layer(net, node)->out_channels * sizeof(float));
}

const sumi_op sumi_op_embedding = {embedding_plan, embedding_forward, embedding_backward, NULL};
