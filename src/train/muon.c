/*
 * Muon (Jordan 2024): a network's hidden matrices move along what is nearest to orthogonal beside
 * their momentum; all other weights follow the optimiser's rule. Which are hidden is known of the
 * graph; the arithmetic is the backend's.
 *
 * Several ranks share the hidden weights out: each finds how its own move, and tells the others.
 * All of them keep all momenta, so that any rank's are a checkpoint's.
 */
#include "train/train.h"

#include <stdlib.h>
#include <string.h>

#define MOMENTUM .95

/* Above so many hidden numbers a rank's share would be too large for one message. */
static const size_t SHARED_MAX = (size_t)1 << 28;

/* ---- Who does what --------------------------------------------------------------------------- */

/* A hidden weight, and the multiply-adds that it takes. */
typedef struct {
    sumi_range range;
    double cost;
    int param, parts, owner;
} hidden_weight;

static int by_place(const void *a, const void *b)
{
    size_t x = ((const hidden_weight *)a)->range.first, y = ((const hidden_weight *)b)->range.first;
    return (x > y) - (x < y);
}

static int by_cost(const void *a, const void *b)
{
    double x = ((const hidden_weight *)a)->cost, y = ((const hidden_weight *)b)->cost;
    return x != y ? (x < y) - (x > y) : by_place(a, b);
}

/* The steps multiply squares of the shorter side some fifteen times, X and its transpose once each.
 */
static double cost_of(const sumi_param *weight, int parts)
{
    double columns = (double)weight->shape[0] / parts;
    double rows = (double)weight->count / (double)weight->shape[0];
    double wide = rows < columns ? rows : columns, tall = rows < columns ? columns : rows;
    return parts * wide * wide * (15 * wide + 2 * tall);
}

/* The largest first, each to the rank that has least to do; no rank's choice depends on its own
 * number. */
static sumi_status share_out(const sumi_ranks *ranks, hidden_weight *weights, int count,
                             sumi_error *err)
{
    size_t floats = 0;
    for (int i = 0; i < count; i++)
        floats += weights[i].range.count;
    if (sumi_ranks_alone(ranks) || floats > SHARED_MAX)
        return SUMI_OK;
    double *load = sumi_calloc((size_t)ranks->count, sizeof *load);
    if (!load)
        return sumi_fail_memory(err, "the ranks' shares of matrices", 0);
    qsort(weights, (size_t)count, sizeof *weights, by_cost);
    for (int i = 0; i < count; i++) {
        int least = 0;
        for (int rank = 1; rank < ranks->count; rank++)
            least = load[rank] < load[least] ? rank : least;
        weights[i].owner = least;
        load[least] += weights[i].cost;
    }
    free(load);
    return SUMI_OK;
}

/* ---- Making ---------------------------------------------------------------------------------- */

/* Scales and shifts, and queries, keys and values, share a layer, but nothing else: each is a
 * matrix of its own. */
static void add_matrices(const sumi_param *weight, int parts, bool elsewhere, sumi_matrix *out)
{
    size_t columns = (size_t)weight->shape[0], rows = weight->count / columns;
    size_t each = columns / (size_t)parts;
    for (int i = 0; i < parts; i++)
        out[i] = (sumi_matrix){.offset = weight->offset + (size_t)i * each,
                               .stride = columns,
                               .rows = (int)rows,
                               .cols = (int)each,
                               .elsewhere = elsewhere};
}

/* Room for what goes between ranks. */
static bool make_messages(const sumi_ranks *ranks, sumi_muon *muon)
{
    size_t all = 0, mine = 0;
    if (sumi_ranks_alone(ranks) || muon->range_count == 0)
        return true;
    muon->bytes = sumi_calloc((size_t)ranks->count, sizeof *muon->bytes);
    for (int i = 0; i < muon->range_count; i++) {
        size_t bytes = muon->ranges[i].count * sizeof(float);
        all += bytes;
        mine += muon->owner[i] == ranks->rank ? bytes : 0;
        if (muon->bytes)
            muon->bytes[muon->owner[i]] += bytes;
    }
    muon->mine = malloc(mine + 1);
    muon->all = malloc(all);
    return muon->bytes && muon->mine && muon->all;
}

static sumi_status make_matrices(const sumi_runtime *runtime, const sumi_graph *graph,
                                 const hidden_weight *weights, int count, sumi_muon *muon,
                                 sumi_error *err)
{
    sumi_matrix *matrices = sumi_calloc(3 * (size_t)count, sizeof *matrices);
    int made = 0, me = runtime->ranks ? runtime->ranks->rank : 0;
    if (!matrices)
        return sumi_fail_memory(err, "the optimiser's matrices", 0);
    for (int i = 0; i < count; made += weights[i++].parts)
        add_matrices(&graph->params.items[weights[i].param], weights[i].parts,
                     weights[i].owner >= 0 && weights[i].owner != me, matrices + made);
    sumi_status status = runtime->backend->orthogonaliser_create(runtime->device, matrices, made,
                                                                 &muon->orthogonaliser, err);
    free(matrices);
    return status;
}

/* Those of the graph, in their order; returns how many. */
static int find_hidden(const sumi_graph *graph, hidden_weight *out)
{
    int count = 0;
    for (int i = 0; i < graph->layer_count; i++) {
        int parts = sumi_graph_hidden_parts(graph, i), index = graph->layers[i].weight;
        if (parts == 0)
            continue;
        const sumi_param *weight = &graph->params.items[index];
        out[count++] = (hidden_weight){.range = {weight->offset, weight->count},
                                       .cost = cost_of(weight, parts),
                                       .param = index,
                                       .parts = parts,
                                       .owner = -1};
    }
    return count;
}

/* Lists them in the muon, by their places. */
static sumi_status take_hidden(const sumi_ranks *ranks, hidden_weight *weights, int count,
                               sumi_muon *muon, sumi_error *err)
{
    qsort(weights, (size_t)count, sizeof *weights, by_place);
    for (int i = 0; i < count; i++) {
        muon->ranges[i] = weights[i].range;
        muon->owner[i] = weights[i].owner;
        muon->hidden[weights[i].param] = true;
    }
    muon->range_count = count;
    muon->ranks = weights[0].owner >= 0 ? ranks : NULL;
    return make_messages(muon->ranks, muon) ? SUMI_OK
                                            : sumi_fail_memory(err, "matrices on their way", 0);
}

sumi_status sumi_muon_init(const sumi_runtime *runtime, const sumi_graph *graph, sumi_muon *muon,
                           sumi_error *err)
{
    const size_t layers = (size_t)graph->layer_count;
    *muon = (sumi_muon){0};
    hidden_weight *weights = sumi_calloc(layers, sizeof *weights);
    muon->ranges = sumi_calloc(layers, sizeof *muon->ranges);
    muon->owner = sumi_calloc(layers, sizeof *muon->owner);
    muon->hidden = sumi_calloc((size_t)graph->params.count, sizeof *muon->hidden);
    sumi_status status = SUMI_OK;
    if (!weights || !muon->ranges || !muon->owner || !muon->hidden)
        status = sumi_fail_memory(err, "the optimiser's matrices", 0);
    int count = status == SUMI_OK ? find_hidden(graph, weights) : 0;
    if (count > 0)
        status = share_out(runtime->ranks, weights, count, err);
    if (status == SUMI_OK && count > 0)
        status = take_hidden(runtime->ranks, weights, count, muon, err);
    if (status == SUMI_OK && count > 0)
        status = make_matrices(runtime, graph, weights, count, muon, err);
    free(weights);
    return status;
}

void sumi_muon_free(const sumi_runtime *runtime, sumi_muon *muon)
{
    if (muon->orthogonaliser)
        runtime->backend->orthogonaliser_free(muon->orthogonaliser);
    free(muon->hidden);
    free(muon->ranges);
    free(muon->owner);
    free(muon->bytes);
    free(muon->mine);
    free(muon->all);
    *muon = (sumi_muon){0};
}

/* ---- A step ---------------------------------------------------------------------------------- */

/* Gives all ranks what each has found. */
static void exchange(sumi_muon *muon, const sumi_runtime *runtime, float *gradients)
{
    const sumi_ranks *ranks = muon->ranks;
    float *mine = muon->mine;
    const float *all = muon->all;
    for (int i = 0; i < muon->range_count; i++) {
        const sumi_range *range = &muon->ranges[i];
        if (muon->owner[i] != ranks->rank)
            continue;
        runtime->backend->download(runtime->device, mine, gradients + range->first,
                                   range->count * sizeof *mine);
        mine += range->count;
    }
    double began = sumi_time_now();
    ranks->gather(ranks->user, muon->mine, muon->all, muon->bytes);
    muon->waited += sumi_time_now() - began;
    for (int rank = 0; rank < ranks->count; rank++)
        for (int i = 0; i < muon->range_count; i++) {
            const sumi_range *range = &muon->ranges[i];
            if (muon->owner[i] != rank)
                continue;
            if (rank != ranks->rank)
                runtime->backend->upload(runtime->device, gradients + range->first, all,
                                         range->count * sizeof *all);
            all += range->count;
        }
}

void sumi_muon_turn(sumi_muon *muon, const sumi_runtime *runtime, const sumi_ledger *ledger,
                    float *gradients, float *moments)
{
    if (muon->orthogonaliser)
        runtime->backend->orthogonalise(muon->orthogonaliser, ledger, MOMENTUM, gradients, moments);
    if (muon->ranks)
        exchange(muon, runtime, gradients);
}
