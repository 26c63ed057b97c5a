/*
 * What a training step asks of a device of OpenCL, on paper: kernels that are queued,
 * floating-point operations and bytes, and the least time that these take at the limits of some
 * cards.
 *
 *     bench_devices [BATCH]
 *
 * Of both networks at 28x28, with 128 images in a batch if not said. A step of two images through a
 * narrow network is run on the first device of OpenCL to count its kernels, whose number depends on
 * neither; operations and bytes are the plan's. Nothing here is measured: a card's limits are
 * its maker's numbers, and the least time of each node is that of its operations or of its bytes,
 * whichever is longer, with nothing between nodes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opencl/device.h"
#include "opencl/opencl.h"
#include "train/train.h"

enum { SIDE = 28, N = 2, NARROW = 8, CARDS = 3 };

/* Float32 without tensor cores, and memory: from data sheets. */
static const struct {
    const char *name;
    double flops, bytes;
} cards[CARDS] = {
    {"GeForce RTX 4090", 82.6e12, 1008e9},
    {"A100 40 GB", 19.5e12, 1555e9},
    {"Radeon RX 7900 XTX", 61.4e12, 960e9},
};

typedef struct {
    sumi_runtime runtime;
    sumi_model *model;
    sumi_trainer *trainer;
    sumi_error err;
} bench;

static void expect(const bench *b, sumi_status status)
{
    if (status == SUMI_OK)
        return;
    fprintf(stderr, "bench_devices: %s\n", b->err.text);
    exit(1);
}

static uint64_t kernels_run(const bench *b)
{
    uint64_t sum = 0;
    for (int i = 0; i < SUMI_CL_KERNELS; i++)
        sum += b->runtime.device->runs[i];
    return sum;
}

/* channels: of the first level; 0: as many as the network has. */
static void make(bench *b, const char *net, const char *optimiser, int channels)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_trainer_config trainer = SUMI_TRAINER_CONFIG_INIT;
    config.net = net;
    config.base_channels = channels > 0 ? channels : config.base_channels;
    trainer.optimiser = optimiser;
    trainer.batch = N;
    trainer.height = trainer.width = SIDE;
    trainer.averages[0] = .999f;
    expect(b, sumi_models_create(&config, &b->model, &b->err));
    expect(b, sumi_train_create(&b->runtime, b->model, &trainer, &b->trainer, &b->err));
}

static void release(bench *b)
{
    sumi_train_free(b->trainer);
    sumi_models_free(b->model);
    b->trainer = NULL;
    b->model = NULL;
}

static uint64_t count_kernels(bench *b)
{
    static float images[N * SIDE * SIDE];
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.n = N;
    batch.h = batch.w = SIDE;
    batch.x = images;
    uint64_t before = kernels_run(b);
    expect(b, sumi_train_step(b->trainer, &batch, NULL, &b->err));
    return kernels_run(b) - before;
}

/* Backward has twice the products of forward. */
static void add_node(const bench *b, int node, int n, bool backward, double out[2 + CARDS])
{
    const sumi_backend *backend = b->runtime.backend;
    double flops = 2 * backend->node_macs(b->trainer->network, node) * n * (backward ? 2 : 1);
    double bytes = backend->node_bytes(b->trainer->network, node, n, backward);
    out[0] += flops;
    out[1] += bytes;
    for (int i = 0; i < CARDS; i++) {
        double by_flops = flops / cards[i].flops, by_bytes = bytes / cards[i].bytes;
        out[2 + i] += by_flops > by_bytes ? by_flops : by_bytes;
    }
}

static void report(const char *net, const char *optimiser, int batch)
{
    bench b = {.model = NULL};
    double all[2 + CARDS] = {0};
    const sumi_device_config config = {.threads = 1};
    expect(&b, sumi_runtime_init_device(&b.runtime, sumi_opencl_backend(), &config, &b.err));
    /* As a card, which convolves by plain sums (docs/DEVICES.md). */
    snprintf(b.runtime.device->facts.kind, sizeof b.runtime.device->facts.kind, "GPU");
    make(&b, net, optimiser, NARROW);
    uint64_t kernels = count_kernels(&b);
    release(&b);
    make(&b, net, optimiser, 0);
    for (int i = 0; i < 2 * b.model->graph.node_count; i++)
        add_node(&b, i / 2, batch, i % 2, all);
    /* Weights, gradients and two states are read, three of them written; an average both. */
    double update = 9 * (double)b.model->graph.params.value_count * sizeof(float);
    printf("%-9s %5d %8llu %10.1f %10.2f", net, batch, (unsigned long long)kernels, all[0] * 1e-9,
           (all[1] + update) * 1e-9);
    for (int i = 0; i < CARDS; i++)
        printf(" %19.2f", 1e3 * (all[2 + i] + update / cards[i].bytes));
    printf("\n");
    release(&b);
    sumi_runtime_free(&b.runtime);
}

int main(int argc, char **argv)
{
    int batch = argc > 1 ? atoi(argv[1]) : 128;
    if (batch < 1) {
        fprintf(stderr, "usage: bench_devices [BATCH]\n");
        return 2;
    }
    printf("network   batch  kernels     GFLOP         GB");
    for (int i = 0; i < CARDS; i++)
        printf(" %16.16s ms", cards[i].name);
    printf("\n");
    report("tutorial", "adam", batch);
    report("unet", "muon", batch);
    return 0;
}
