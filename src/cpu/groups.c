/*
 * Groups of images, over which sums are taken apart so that no bit depends on how many ranks share
 * a batch (base/ranks.h has the tree). Without a cut, all images are one group, and what is
 * written here as a group's is written in its place at once.
 *
 * A layer's gradients of each group stand beside each other until its node is done: then branches
 * that are this rank's alone are added up, and what is left goes to the gradients.
 */
#include <string.h>

#include "cpu/network.h"

enum { PIECE = 1 << 14 }; /* floats that a thread adds up at a time: they stay in cache */

bool sumi_run_is_cut(const sumi_run *run)
{
    return run->net->config.cut && run->in.whole > 0;
}

int sumi_run_images(const sumi_run *run)
{
    return sumi_run_is_cut(run) ? run->in.whole : run->n;
}

int sumi_run_groups(const sumi_run *run)
{
    return sumi_run_is_cut(run) ? run->net->config.cut->count : 1;
}

int sumi_run_border(const sumi_run *run, int group)
{
    if (!sumi_run_is_cut(run))
        return group == 0 ? 0 : run->n;
    return sumi_reduction_border(run->net->config.cut, run->in.whole, group);
}

int sumi_plan_groups(const sumi_network *net)
{
    return net->config.cut ? net->config.cut->count : 1;
}

int sumi_plan_group_images(const sumi_network *net)
{
    const sumi_reduction *cut = net->config.cut;
    return cut ? (net->config.whole_max + cut->groups - 1) / cut->groups : net->config.n_max;
}

void sumi_run_sum(const sumi_run *run, double *values, size_t count)
{
    if (sumi_run_is_cut(run))
        sumi_reduce_doubles(run->net->config.cut, values, count);
}

/* ---- Terms of gradients ---------------------------------------------------------------------- */

static size_t count_of(const sumi_network *net, int param)
{
    return param < 0 ? 0 : net->graph->params.items[param].count;
}

/* Floats of a group's terms of a node: the weight's, then the bias's. */
static size_t term_floats(const sumi_network *net, int node)
{
    const sumi_layer *layer = sumi_node_layer(net, node);
    return count_of(net, layer->weight) + count_of(net, layer->bias);
}

void sumi_plan_terms(sumi_network *net, int node)
{
    int back = sumi_time_backward(net, node), groups = sumi_plan_groups(net);
    net->nodes[node].terms = SUMI_NOWHERE;
    if (!sumi_training(net) || net->graph->nodes[node].layer < 0 || groups == 1)
        return;
    sumi_reserve(net, (size_t)groups * term_floats(net, node) * sizeof(float), back, back,
                 &net->nodes[node].terms, "terms", node);
}

/* Of one of the rank's branches. */
static float *gradient_of(const sumi_run *run, int param, int branch)
{
    const sumi_params *params = &run->net->graph->params;
    return run->gradients + (size_t)branch * params->value_count + params->items[param].offset;
}

static float *term_of(const sumi_run *run, int node, int param, int group)
{
    const sumi_layer *layer = sumi_node_layer(run->net, node);
    float *terms = sumi_at(run->net, run->net->nodes[node].terms);
    return terms + (size_t)group * term_floats(run->net, node) +
           (param == layer->weight ? 0 : count_of(run->net, layer->weight));
}

float *sumi_run_term(const sumi_run *run, int node, int param, int group)
{
    return sumi_run_groups(run) == 1 ? gradient_of(run, param, 0)
                                     : term_of(run, node, param, group);
}

typedef struct {
    const sumi_run *run;
    int node, param;
} fold_job;

static void fold_task(void *arg, int64_t piece, int thread)
{
    const fold_job *job = arg;
    const sumi_reduction *cut = job->run->net->config.cut;
    (void)thread;
    size_t count = count_of(job->run->net, job->param);
    size_t begin = (size_t)piece * PIECE, end = count - begin < PIECE ? count : begin + PIECE;
    sumi_reduce_floats_here(cut, term_of(job->run, job->node, job->param, 0),
                            term_floats(job->run->net, job->node), begin, end);
    for (int b = 0; b < cut->branches; b++)
        memcpy(gradient_of(job->run, job->param, b) + begin,
               term_of(job->run, job->node, job->param, cut->branch[b]) + begin,
               (end - begin) * sizeof(float));
}

void sumi_run_fold(const sumi_run *run, int node)
{
    const sumi_layer *layer = sumi_node_layer(run->net, node);
    const int params[] = {layer->weight, layer->bias};
    if (sumi_run_groups(run) == 1)
        return;
    for (int i = 0; i < 2; i++) {
        fold_job job = {run, node, params[i]};
        size_t count = count_of(run->net, params[i]);
        sumi_parallel_for(run->net->pool, (int64_t)((count + PIECE - 1) / PIECE), fold_task, &job);
    }
}

void sumi_run_clear(const sumi_run *run, int node)
{
    const sumi_layer *layer = sumi_node_layer(run->net, node);
    const int params[] = {layer->weight, layer->bias};
    int branches = sumi_run_is_cut(run) ? run->net->config.cut->branches : 1;
    for (int i = 0; i < 2; i++)
        for (int b = 0; b < branches && params[i] >= 0; b++)
            memset(gradient_of(run, params[i], b), 0,
                   count_of(run->net, params[i]) * sizeof(float));
}
