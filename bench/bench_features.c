/*
 * How fast the features of evaluators are, for each floating-point operation, beside predictions of
 * the networks that they score.
 *
 *     bench_features [-t THREADS] [-n IMAGES] [-r ROUNDS]
 *
 * Images of 28x28, in float32, by the table of kernels that SUMI_ISA names or the best. In each
 * round all take their turn; a row has the median of the rounds. Two operations a multiply-add, of
 * convolutions as they are defined, whatever way they are computed. "v1 / unet" is the rate of the
 * evaluator v1 over that of the standard recipe's network.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/classify.h"

enum { SIDE = 28, CHUNK = 64, ROUNDS_MAX = 99, ROWS = 4, FIRST_NET = 2 };

typedef struct {
    sumi_runtime runtime;
    uint8_t *bytes;
    float *images, *out;
    int count;
    sumi_error err;
} bench;

typedef struct {
    const char *name;
    sumi_classifier *classifier; /* or */
    sumi_model *model;
    double flops; /* an image */
    double seconds[ROUNDS_MAX];
} row;

static void expect(const bench *b, sumi_status status)
{
    if (status == SUMI_OK)
        return;
    fprintf(stderr, "bench_features: %s\n", b->err.text);
    exit(1);
}

/* What an image takes: sums over the nodes of a network that is made for this alone. */
static double count_flops(bench *b, const sumi_graph *graph)
{
    const sumi_backend *backend = b->runtime.backend;
    const sumi_plan_config plan = {
        .mode = SUMI_MODE_PREDICT, .n_max = 1, .h = SIDE, .w = SIDE, .force = -1};
    sumi_mirror weights;
    sumi_network *network;
    double macs = 0;
    expect(b, sumi_mirror_init_params(&b->runtime, &graph->params, &weights, &b->err));
    expect(b, backend->network_create(b->runtime.device, graph, &weights.at, &plan, &network,
                                      &b->err));
    for (int i = 0; i < graph->node_count; i++)
        macs += backend->node_macs(network, i);
    backend->network_free(network);
    sumi_mirror_free(&b->runtime, &weights);
    return 2 * macs;
}

static void make_classifier(bench *b, row *r, const char *shape)
{
    const int sizes[] = {SIDE, SIDE, 1};
    r->name = shape;
    expect(b, sumi_classifier_create(sumi_classifier_shape_find(shape), sizes, 10, 1,
                                     &r->classifier, &b->err));
    r->flops = count_flops(b, &r->classifier->graph);
}

static void make_model(bench *b, row *r, const char *net)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    r->name = net;
    expect(b, sumi_model_config_net(&config, net));
    expect(b, sumi_models_create(&config, &r->model, &b->err));
    r->flops = count_flops(b, &r->model->graph);
}

static void compute(bench *b, row *r)
{
    if (r->classifier) {
        const sumi_image_array array = {b->bytes, SIDE * SIDE};
        sumi_image_source source = sumi_source_of_array(&array, b->count);
        expect(b, sumi_classify_run(&b->runtime, r->classifier, &source, b->out, NULL, &b->err));
        return;
    }
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.h = batch.w = SIDE;
    static int32_t t[CHUNK];
    for (int i = 0; i < CHUNK; i++)
        t[i] = 500;
    batch.t = t;
    for (int i = 0; i < b->count; i += batch.n) {
        batch.n = b->count - i < CHUNK ? b->count - i : CHUNK;
        batch.x = b->images + (size_t)i * SIDE * SIDE;
        expect(b, sumi_runtime_predict(&b->runtime, r->model, &batch, b->out, &b->err));
    }
}

static void report(bench *b, row *rows, int rounds)
{
    double rate[ROWS];
    printf("features and predictions, 28x28, float32, %s, %d thread%s, %d images, median of %d\n"
           "%-12s %10s %12s %10s\n",
           b->runtime.backend->isa(b->runtime.device),
           b->runtime.backend->threads(b->runtime.device),
           b->runtime.backend->threads(b->runtime.device) == 1 ? "" : "s", b->count, rounds, "",
           "MFLOP", "images/s", "GFLOP/s");
    for (int i = 0; i < ROWS; i++) {
        double median = sumi_median(rows[i].seconds, (size_t)rounds);
        rate[i] = rows[i].flops * b->count / median;
        printf("%-12s %10.1f %12.1f %10.1f\n", rows[i].name, 1e-6 * rows[i].flops,
               b->count / median, 1e-9 * rate[i]);
    }
    for (int i = 0; i < FIRST_NET; i++)
        for (int k = FIRST_NET; k < ROWS; k++)
            printf("%s / %s: %.2f x\n", rows[i].name, rows[k].name, rate[i] / rate[k]);
}

int main(int argc, char **argv)
{
    static row rows[ROWS];
    bench b = {.count = 2000};
    int threads = 1, rounds = 5;
    for (int i = 1; i + 1 < argc; i += 2) {
        int value = atoi(argv[i + 1]);
        *(argv[i][1] == 't' ? &threads : argv[i][1] == 'n' ? &b.count : &rounds) = value;
    }
    if (argc % 2 == 0 || threads < 1 || b.count < 1 || rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: bench_features [-t THREADS] [-n IMAGES] [-r ROUNDS]\n");
        return 2;
    }
    size_t floats = (size_t)b.count * SIDE * SIDE;
    expect(&b, sumi_runtime_init(&b.runtime, threads, getenv("SUMI_ISA"), &b.err));
    b.bytes = malloc(floats);
    b.images = malloc(floats * sizeof *b.images);
    b.out = malloc(floats * sizeof *b.out);
    if (!b.bytes || !b.images || !b.out)
        return 1;
    for (size_t i = 0; i < floats; i++) {
        b.bytes[i] = (uint8_t)(i * 2654435761u >> 24);
        b.images[i] = (float)b.bytes[i] / 255;
    }
    make_classifier(&b, &rows[0], "v1");
    make_classifier(&b, &rows[1], "v2");
    make_model(&b, &rows[2], "unet");
    make_model(&b, &rows[3], "tutorial");
    for (int round = -1; round < rounds; round++) /* the first warms up */
        for (int i = 0; i < ROWS; i++) {
            double start = sumi_time_now();
            compute(&b, &rows[i]);
            if (round >= 0)
                rows[i].seconds[round] = sumi_time_now() - start;
        }
    report(&b, rows, rounds);
    for (int i = 0; i < ROWS; i++) {
        sumi_classifier_free(rows[i].classifier);
        sumi_models_free(rows[i].model);
    }
    free(b.bytes);
    free(b.images);
    free(b.out);
    sumi_runtime_free(&b.runtime);
    return 0;
}
