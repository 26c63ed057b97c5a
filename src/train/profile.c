/*
 * Where the time of a network goes: each operation's forward and backward, the loss and the
 * optimiser, timed over several runs on random images.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/train.h"

enum { WARM_UP = 2, RUNS_MAX = 1000, ENTRY_SIZE_MAX = 1 << 16 };

/* What one profile works with. */
typedef struct {
    sumi_mirror model; /* its weights, which stay as they are */
    sumi_network *network;
    /* Timed passes: forward of each node; in training then backward of each, the loss, the
     * optimiser. */
    int slots;
    int *order; /* [entries]: the slots in the order in which they run */
    int entries;
    /* Memory of the device. */
    float *images, *time, *target, *gradients, *out;
    float *weights; /* training: a copy to move */
    sumi_optimiser optimiser;
    size_t in_count, out_count, time_count, weight_count;
    double *seconds; /* [slots], of one run */
    double *times;   /* [slots][runs] */
} bench;

enum { TENSORS = 6 };

typedef struct {
    float **memory;
    size_t bytes;
} bench_tensor;

/* The tensors that a profile asks the device for; the last in training only. */
static void bench_tensors(bench *b, bench_tensor out[TENSORS])
{
    const bench_tensor all[TENSORS] = {{&b->images, b->in_count},  {&b->time, b->time_count},
                                       {&b->target, b->out_count}, {&b->gradients, b->weight_count},
                                       {&b->out, b->out_count},    {&b->weights, b->weight_count}};
    for (int i = 0; i < TENSORS; i++)
        out[i] = (bench_tensor){all[i].memory, all[i].bytes * sizeof(float)};
}

static void bench_free(const sumi_runtime *runtime, bench *b)
{
    bench_tensor tensors[TENSORS];
    bench_tensors(b, tensors);
    runtime->backend->network_free(b->network);
    sumi_mirror_free(runtime, &b->model);
    sumi_optimiser_free(runtime, &b->optimiser);
    for (int i = 0; i < TENSORS; i++)
        runtime->backend->free(runtime->device, *tensors[i].memory, tensors[i].bytes);
    free(b->seconds);
    free(b->order);
    free(b->times);
}

static sumi_status bench_alloc(const sumi_runtime *runtime, bench *b, bool training,
                               sumi_error *err)
{
    bench_tensor tensors[TENSORS];
    bench_tensors(b, tensors);
    for (int i = 0; i < (training ? TENSORS : TENSORS - 1); i++) {
        *tensors[i].memory = runtime->backend->alloc(runtime->device, tensors[i].bytes);
        if (!*tensors[i].memory)
            return sumi_fail_memory(err, "a profile", tensors[i].bytes);
    }
    return SUMI_OK;
}

/* The passes in the order in which they run: forward, losses, backward from the last node to the
 * first, the optimiser. Returns how many there are; slots: room for as many as are timed. */
static int order_passes(const sumi_graph *graph, bool training, int *slots)
{
    int nodes = graph->node_count, count = 0;
    for (int i = 0; i < nodes; i++)
        if (!sumi_kind_facts(graph->nodes[i].kind)->loss)
            slots[count++] = i;
    for (int losses = 1; losses >= 0 && training; losses--)
        for (int i = nodes - 1; i >= 0; i--)
            if (sumi_kind_facts(graph->nodes[i].kind)->loss == (losses == 1))
                slots[count++] = nodes + i;
    if (training)
        slots[count++] = 2 * nodes;
    return count;
}

static void fill_normal(const sumi_runtime *runtime, float *tensor, size_t count)
{
    const sumi_random at = {0, SUMI_STREAM_USER, 0, 0};
    const sumi_factors factors = {.divisor = 1, .noise = 1};
    const sumi_mixing work = {
        .n = 1, .count = count, .out = tensor, .factors = &factors, .noise = &at};
    runtime->backend->mix(runtime->device, &work);
}

/* Random images, all times in turn, and the model's weights to move. */
static sumi_status fill_tensors(const sumi_runtime *runtime, const sumi_model *model,
                                const sumi_profile_config *config, bench *b, sumi_error *err)
{
    const sumi_backend *backend = runtime->backend;
    float *time = sumi_calloc(b->time_count, sizeof *time);
    if (!time)
        return sumi_fail_memory(err, "a profile", b->time_count * sizeof *time);
    for (int i = 0; i < config->n; i++)
        time[i] = (float)(1 + i % model->info.timesteps);
    backend->upload(runtime->device, b->time, time, b->time_count * sizeof *time);
    fill_normal(runtime, b->images, b->in_count);
    fill_normal(runtime, b->target, b->out_count);
    if (config->training)
        backend->copy(runtime->device, b->weights, b->model.at.values,
                      b->weight_count * sizeof(float));
    free(time);
    return SUMI_OK;
}

static sumi_status bench_make(sumi_runtime *runtime, const sumi_model *model,
                              const sumi_profile_config *config, bench *b, sumi_error *err)
{
    sumi_plan_config plan = {.mode = config->training ? SUMI_MODE_TRAIN : SUMI_MODE_PREDICT,
                             .n_max = config->n,
                             .h = config->height,
                             .w = config->width,
                             .force = -1,
                             .timesteps = model->info.timesteps,
                             .precision = config->precision};
    sumi_status status = sumi_mirror_init(runtime, model, &b->model, err);
    if (status == SUMI_OK)
        status = runtime->backend->network_create(runtime->device, &model->graph, &b->model.at,
                                                  &plan, &b->network, err);
    if (status != SUMI_OK)
        return status;
    size_t pixels = (size_t)config->n * (size_t)config->height * (size_t)config->width;
    size_t slots = (size_t)model->graph.node_count;
    if (config->training)
        slots = 2 * slots + 1;
    b->slots = (int)slots;
    b->in_count = pixels * (size_t)model->info.in_channels;
    b->out_count = pixels * (size_t)model->info.out_channels;
    b->time_count = (size_t)config->n;
    b->weight_count = model->graph.params.value_count;
    b->seconds = sumi_calloc(slots, sizeof(double));
    b->times = sumi_calloc(slots * (size_t)config->runs, sizeof(double));
    b->order = sumi_calloc(slots, sizeof *b->order);
    if (!b->seconds || !b->times || !b->order)
        return sumi_fail_memory(err, "a profile", slots * (size_t)config->runs * sizeof(double));
    b->entries = order_passes(&model->graph, config->training, b->order);
    status = bench_alloc(runtime, b, config->training, err);
    if (status == SUMI_OK && config->training)
        status = sumi_optimiser_init(runtime, sumi_optimiser_find(config->optimiser), &model->graph,
                                     &b->optimiser, err);
    if (status != SUMI_OK)
        return status;
    return fill_tensors(runtime, model, config, b, err);
}

/* On copies, so that the model stays as it is; returns its time in seconds. */
static double run_optimiser(bench *b, sumi_runtime *runtime)
{
    const sumi_trainer_config settings = SUMI_TRAINER_CONFIG_INIT;
    double begin = sumi_time_now();
    sumi_update update =
        sumi_optimiser_update(&b->optimiser, runtime, &settings, 1, 1, NULL, b->gradients);
    update.weights = b->weights;
    runtime->backend->update(runtime->device, &update);
    return sumi_time_now() - begin;
}

static void run_once(bench *b, sumi_runtime *runtime, const sumi_profile_config *config)
{
    const sumi_inputs in = {.image = b->images, .time = b->time, .target = b->target};
    if (config->training) {
        runtime->backend->gradients(b->network, &in, config->n, b->gradients);
        b->seconds[b->slots - 1] = run_optimiser(b, runtime);
    } else {
        runtime->backend->predict(b->network, &in, config->n, &b->out);
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

/* It reads and writes weights and what it remembers of them, and reads gradients. */
static void fill_optimiser(const bench *b, sumi_profile_entry *entry)
{
    snprintf(entry->op, sizeof entry->op, "%s", b->optimiser.row->name);
    entry->backward = true;
    entry->bytes = 7.0 * sizeof(float) * (double)b->weight_count;
}

static void fill_entry(const sumi_runtime *runtime, const bench *b, const sumi_model *model,
                       const sumi_profile_config *config, int slot, sumi_profile_entry *entry)
{
    const sumi_backend *backend = runtime->backend;
    const sumi_graph *graph = &model->graph;
    *entry = (sumi_profile_entry){.backward = slot >= graph->node_count};
    entry->time_ms =
        1e3 * sumi_median(b->times + (size_t)slot * (size_t)config->runs, (size_t)config->runs);
    if (slot == 2 * graph->node_count) {
        fill_optimiser(b, entry);
        return;
    }
    int node = slot % graph->node_count;
    const sumi_facts *facts = sumi_kind_facts(graph->nodes[node].kind);
    snprintf(entry->op, sizeof entry->op, "%s", facts->name);
    layer_name(graph, &graph->nodes[node], entry->layer, sizeof entry->layer);
    entry->gflop =
        2e-9 * backend->node_macs(b->network, node) * config->n * (entry->backward ? 2 : 1);
    entry->bytes = backend->node_bytes(b->network, node, config->n, entry->backward);
    entry->backward &= !facts->loss; /* between the two */
}

/* Entry i of the caller's array, whose entries may be an older, shorter struct or a newer one. */
static void give_entry(const sumi_profile_entry *entry, size_t entry_size, void *entries, int i)
{
    memcpy((char *)entries + (size_t)i * entry_size, entry,
           entry_size < sizeof *entry ? entry_size : sizeof *entry);
}

static sumi_status check_config(const sumi_model *model, const sumi_profile_config *config,
                                sumi_error *err)
{
    int levels = model->graph.levels;
    if (config->training && config->n == 1 && config->height >> levels == 1 &&
        config->width >> levels == 1)
        return sumi_fail(err, SUMI_EINVAL,
                         "one image of %dx%d is a single pixel at the lowest level of the network: "
                         "training needs two",
                         config->height, config->width);
    if (!config->optimiser || !sumi_optimiser_find(config->optimiser))
        return sumi_fail(err, SUMI_EINVAL, "unknown optimiser '%.40s'",
                         config->optimiser ? config->optimiser : "(null)");
    if (config->runs < 1 || config->runs > RUNS_MAX)
        return sumi_fail(err, SUMI_EINVAL, "runs must be 1 to %d, found %d", RUNS_MAX,
                         config->runs);
    if (config->entry_size < SUMI_PROFILE_ENTRY_FIRST || config->entry_size > ENTRY_SIZE_MAX)
        return sumi_fail(err, SUMI_EINVAL,
                         "sumi_profile_config: its entry_size is %zu; fill it with the _INIT macro",
                         config->entry_size);
    return SUMI_OK;
}

sumi_status sumi_train_profile(sumi_runtime *runtime, const sumi_model *model,
                               const sumi_profile_config *config, sumi_profile_entry *entries,
                               int capacity, int *count, sumi_error *err)
{
    bench b = {0};
    sumi_status status = check_config(model, config, err);
    if (status == SUMI_OK)
        status = bench_make(runtime, model, config, &b, err);
    if (status == SUMI_OK && b.entries > capacity)
        status = sumi_fail(err, SUMI_ESHAPE, "a profile has %d entries, there is room for %d",
                           b.entries, capacity);
    for (int run = -WARM_UP; run < config->runs && status == SUMI_OK; run++) {
        memset(b.seconds, 0, (size_t)b.slots * sizeof *b.seconds);
        runtime->backend->profile(b.network, run < 0 ? NULL : b.seconds);
        run_once(&b, runtime, config);
        for (int slot = 0; slot < b.slots && run >= 0; slot++)
            b.times[(size_t)slot * (size_t)config->runs + (size_t)run] = b.seconds[slot];
        if (sumi_runtime_cancelled(runtime))
            status = sumi_fail(err, SUMI_CANCELLED, "the measurement was cancelled");
    }
    if (status == SUMI_OK || status == SUMI_ESHAPE)
        *count = b.entries;
    for (int i = 0; i < b.entries && status == SUMI_OK; i++) {
        sumi_profile_entry entry;
        fill_entry(runtime, &b, model, config, b.order[i], &entry);
        give_entry(&entry, config->entry_size, entries, i);
    }
    bench_free(runtime, &b);
    return status;
}
