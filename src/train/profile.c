/*
 * Where the time of a network goes: each operation's forward and backward, timed over several runs
 * on random images, and the peak of the machine to hold them against.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/train.h"

enum { WARM_UP = 2, RUNS_MAX = 1000 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_ms(double *seconds, int count)
{
    qsort(seconds, (size_t)count, sizeof *seconds, by_value);
    return 1e3 *
           (count % 2 ? seconds[count / 2] : (seconds[count / 2 - 1] + seconds[count / 2]) / 2);
}

/* What one profile works with. */
typedef struct {
    sumi_network *network;
    int slots; /* timed passes: forward of each node, then backward where there is one */
    float *images, *target, *gradients, *out;
    int32_t *t;
    double *seconds; /* [slots], of one run */
    double *times;   /* [slots][runs] */
} bench;

static void bench_free(bench *b)
{
    sumi_network_free(b->network);
    free(b->images);
    free(b->target);
    free(b->gradients);
    free(b->out);
    free(b->t);
    free(b->seconds);
    free(b->times);
}

static sumi_status bench_make(sumi_runtime *runtime, const sumi_model *model,
                              const sumi_profile_config *config, bench *b, sumi_error *err)
{
    sumi_plan_config plan = {.mode = config->training ? SUMI_MODE_TRAIN : SUMI_MODE_PREDICT,
                             .n_max = config->n,
                             .h = config->height,
                             .w = config->width,
                             .force = -1,
                             .precision = config->precision};
    sumi_status status = sumi_network_create(&model->graph, runtime->kernels, runtime->pool, &plan,
                                             &b->network, err);
    if (status != SUMI_OK)
        return status;
    size_t pixels = (size_t)config->n * (size_t)config->height * (size_t)config->width;
    size_t in = pixels * (size_t)model->info.in_channels;
    size_t out = pixels * (size_t)model->info.out_channels;
    size_t slots = (size_t)model->graph.node_count * (config->training ? 2 : 1);
    b->slots = (int)slots;
    b->images = sumi_calloc(in, sizeof(float));
    b->target = sumi_calloc(out, sizeof(float));
    b->out = sumi_calloc(out, sizeof(float));
    b->gradients = sumi_calloc(model->graph.params.value_count, sizeof(float));
    b->t = sumi_calloc((size_t)config->n, sizeof(int32_t));
    b->seconds = sumi_calloc(slots, sizeof(double));
    b->times = sumi_calloc(slots * (size_t)config->runs, sizeof(double));
    if (!b->images || !b->target || !b->out || !b->gradients || !b->t || !b->seconds || !b->times)
        return sumi_fail_memory(err, "a profile", (in + 2 * out) * sizeof(float));
    sumi_random at = {0, SUMI_STREAM_USER, 0, 0};
    sumi_random_normals(&at, 0, b->images, in);
    sumi_random_normals(&at, 0, b->target, out);
    for (int i = 0; i < config->n; i++)
        b->t[i] = 1 + i % model->info.timesteps;
    return SUMI_OK;
}

static void run_once(const bench *b, const sumi_profile_config *config)
{
    if (config->training) {
        sumi_backward run = {b->images, b->t, b->target, config->n, b->gradients};
        sumi_network_backward(b->network, &run);
    } else {
        sumi_network_predict(b->network, b->images, b->t, config->n, b->out);
    }
}

/* The module that owns a node's weights: its first parameter's name less the last part. */
static void layer_name(const sumi_graph *graph, const sumi_node *node, char *out, size_t size)
{
    out[0] = '\0';
    if (node->layer < 0)
        return;
    snprintf(out, size, "%s", graph->params.items[graph->layers[node->layer].weight].name);
    char *dot = strrchr(out, '.');
    if (dot)
        *dot = '\0';
}

static void fill_entry(const bench *b, const sumi_model *model, const sumi_profile_config *config,
                       int slot, sumi_profile_entry *entry)
{
    const sumi_graph *graph = &model->graph;
    const sumi_node *node = &graph->nodes[slot % graph->node_count];
    *entry = (sumi_profile_entry){.backward = slot >= graph->node_count};
    snprintf(entry->op, sizeof entry->op, "%s", sumi_node_name(graph, slot % graph->node_count));
    layer_name(graph, node, entry->layer, sizeof entry->layer);
    entry->time_ms = median_ms(b->times + (size_t)slot * (size_t)config->runs, config->runs);
    entry->gflop = 2e-9 * sumi_node_macs(b->network, slot % graph->node_count) * config->n *
                   (entry->backward ? 2 : 1);
}

sumi_status sumi_profile_run(sumi_runtime *runtime, const sumi_model *model,
                             const sumi_profile_config *config, sumi_profile_entry *entries,
                             int capacity, int *count, sumi_error *err)
{
    if (config->runs < 1 || config->runs > RUNS_MAX)
        return sumi_fail(err, SUMI_EINVAL, "runs must be 1 to %d, found %d", RUNS_MAX,
                         config->runs);
    bench b = {0};
    sumi_status status = bench_make(runtime, model, config, &b, err);
    if (status == SUMI_OK && b.slots > capacity)
        status = sumi_fail(err, SUMI_ESHAPE, "a profile has %d entries, there is room for %d",
                           b.slots, capacity);
    for (int run = -WARM_UP; run < config->runs && status == SUMI_OK; run++) {
        memset(b.seconds, 0, (size_t)b.slots * sizeof *b.seconds);
        sumi_network_profile(b.network, run < 0 ? NULL : b.seconds);
        run_once(&b, config);
        for (int slot = 0; slot < b.slots && run >= 0; slot++)
            b.times[(size_t)slot * (size_t)config->runs + (size_t)run] = b.seconds[slot];
        if (sumi_runtime_cancelled(runtime))
            status = sumi_fail(err, SUMI_CANCELLED, "the measurement was cancelled");
    }
    if (status == SUMI_OK || status == SUMI_ESHAPE)
        *count = b.slots;
    int forward = model->graph.node_count;
    for (int i = 0; i < b.slots && status == SUMI_OK; i++)
        /* in the order in which they ran: backward goes from the last node to the first */
        fill_entry(&b, model, config, i < forward ? i : 3 * forward - 1 - i, &entries[i]);
    bench_free(&b);
    return status;
}

/* ---- Peak ------------------------------------------------------------------------------------ */

enum { BURN_ROUNDS = 2000000, BURN_TRIES = 5 };

typedef struct {
    const sumi_kernels *kernels;
    double operations[SUMI_THREADS_MAX];
    float sink[SUMI_THREADS_MAX];
} burn_job;

static void burn_task(void *arg, int64_t chunk, int thread)
{
    burn_job *job = arg;
    (void)chunk;
    job->operations[thread] = job->kernels->burn(BURN_ROUNDS, 0.5f, &job->sink[thread]);
}

double sumi_peak_run(sumi_runtime *runtime)
{
    burn_job job = {.kernels = runtime->kernels};
    double best = 0;
    for (int i = 0; i < BURN_TRIES; i++) {
        double begin = sumi_time_now(), operations = 0;
        sumi_parallel_all(runtime->pool, burn_task, &job);
        double seconds = sumi_time_now() - begin;
        for (int thread = 0; thread < sumi_pool_threads(runtime->pool); thread++)
            operations += job.operations[thread];
        best = operations / seconds > best ? operations / seconds : best;
    }
    return best * 1e-9;
}
