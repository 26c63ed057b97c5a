/*
 * How long a device of OpenCL takes, measured on the first that there is, with the CPU's backend
 * beside it.
 *
 *     bench_opencl convs [BATCH] [ROUNDS]    each 3x3 convolution of both networks, plain and by
 *                                            Winograd's transforms
 *     bench_opencl steps [BATCH] [ROUNDS]    a training step and a prediction of both networks, on
 *                                            the CPU and on the device
 *
 * Images are 28x28. What is compared takes turns, and of each the median is told: a machine that is
 * busy for a while is so for all of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "opencl/device.h"
#include "opencl/opencl.h"
#include "train/train.h"

enum { SIDE = 28, ROUNDS_MAX = 101, SHAPES_MAX = 64 };

static sumi_error err;

static void expect(sumi_status status)
{
    if (status == SUMI_OK)
        return;
    fprintf(stderr, "bench_opencl: %s\n", err.text);
    exit(1);
}

static void *need(void *memory)
{
    if (!memory) {
        fprintf(stderr, "bench_opencl: there is not enough memory\n");
        exit(1);
    }
    return memory;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *x, int count)
{
    qsort(x, (size_t)count, sizeof *x, by_size);
    return x[count / 2];
}

static sumi_runtime open_runtime(bool on_device)
{
    sumi_runtime runtime;
    const sumi_device_config config = {.threads = 0};
    expect(sumi_runtime_init_device(
        &runtime, on_device ? sumi_opencl_backend() : sumi_backend_at(0), &config, &err));
    return runtime;
}

/* What is queued on a device is done in its order: once this is there, all is. */
static void wait_for(sumi_runtime *runtime, float *memory)
{
    float x;
    runtime->backend->download(runtime->device, &x, memory, sizeof x);
    expect(runtime->backend->status(runtime->device, &err));
}

/* ---- Convolutions ---------------------------------------------------------------------------- */

typedef struct {
    int side, cin, cout;
} shape;

/* The different 3x3 convolutions of a network. */
static int add_shapes(const char *net, shape *shapes, int count)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_model *model = NULL;
    expect(sumi_model_config_net(&config, net));
    expect(sumi_models_create(&config, &model, &err));
    const sumi_graph *graph = &model->graph;
    for (int i = 0; i < graph->node_count; i++) {
        const sumi_node *node = &graph->nodes[i];
        if (node->kind != SUMI_KIND_CONV || graph->layers[node->layer].ksize != 3)
            continue;
        const sumi_layer *layer = &graph->layers[node->layer];
        const shape found = {sumi_graph_size(graph, node->out, SIDE), layer->in_channels,
                             layer->out_channels};
        int k = 0;
        while (k < count && memcmp(&shapes[k], &found, sizeof found) != 0)
            k++;
        if (k == count && count < SHAPES_MAX)
            shapes[count++] = found;
    }
    sumi_models_free(model);
    return count;
}

/* Medians of the plain convolution and of Winograd's. */
static void time_shape(sumi_runtime *runtime, const shape *of, int batch, int rounds, double out[2])
{
    static const int ways[2] = {SUMI_CONV_GEMM, SUMI_CONV_WINOGRAD};
    const sumi_backend *backend = runtime->backend;
    double seconds[2][ROUNDS_MAX];
    size_t pixels = (size_t)batch * (size_t)of->side * (size_t)of->side;
    sumi_graph graph;
    sumi_network *net[2];
    sumi_graph_init(&graph);
    sumi_edge x = sumi_graph_input_image(&graph, of->cin);
    x = sumi_graph_conv(&graph, x, sumi_graph_conv_layer(&graph, "conv", of->cin, of->cout, 3));
    sumi_graph_output(&graph, "out", x);
    expect(sumi_params_allocate(&graph.params, &err));
    sumi_params_init(&graph.params, 1);
    const sumi_weights weights = {
        need(backend->alloc(runtime->device, graph.params.value_count * sizeof(float))), NULL};
    float *in = need(backend->alloc(runtime->device, pixels * (size_t)of->cin * sizeof(float)));
    float *to = need(backend->alloc(runtime->device, pixels * (size_t)of->cout * sizeof(float)));
    const sumi_inputs inputs = {.image = in};
    for (int i = 0; i < 2; i++) {
        const sumi_plan_config config = {.mode = SUMI_MODE_PREDICT,
                                         .n_max = batch,
                                         .h = of->side,
                                         .w = of->side,
                                         .force = ways[i]};
        expect(backend->network_create(runtime->device, &graph, &weights, &config, &net[i], &err));
    }
    for (int round = -1; round < rounds; round++) /* one to warm up */
        for (int i = 0; i < 2; i++) {
            double begin = sumi_time_now();
            backend->predict(net[i], &inputs, batch, &to);
            wait_for(runtime, to);
            seconds[i][round < 0 ? 0 : round] = sumi_time_now() - begin;
        }
    for (int i = 0; i < 2; i++) {
        out[i] = median(seconds[i], rounds);
        backend->network_free(net[i]);
    }
    backend->free(runtime->device, in, 0);
    backend->free(runtime->device, to, 0);
    backend->free(runtime->device, weights.values, 0);
    sumi_graph_free(&graph);
}

static void run_convs(int batch, int rounds)
{
    shape shapes[SHAPES_MAX];
    sumi_runtime runtime = open_runtime(true);
    int count = add_shapes("tutorial", shapes, 0);
    count = add_shapes("unet", shapes, count);
    printf("%s, batch %d, medians of %d\n", runtime.backend->title(runtime.device), batch, rounds);
    printf("pixels     in   out   plain ms  Winograd ms  times as fast\n");
    for (int i = 0; i < count; i++) {
        double ms[2];
        time_shape(&runtime, &shapes[i], batch, rounds, ms);
        printf("%2dx%-4d %5d %5d %10.2f %12.2f %14.2f\n", shapes[i].side, shapes[i].side,
               shapes[i].cin, shapes[i].cout, 1e3 * ms[0], 1e3 * ms[1], ms[0] / ms[1]);
    }
    sumi_runtime_free(&runtime);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

/* A network, its training and a prediction on one device. */
typedef struct {
    sumi_runtime runtime;
    sumi_model *model;
    sumi_trainer *trainer;
    float *mark;
} side;

static void begin_side(side *s, bool on_device, const char *net, const char *optimiser, int batch)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_trainer_config trainer = SUMI_TRAINER_CONFIG_INIT;
    expect(sumi_model_config_net(&config, net));
    trainer.optimiser = optimiser;
    trainer.batch = batch;
    trainer.height = trainer.width = SIDE;
    s->runtime = open_runtime(on_device);
    expect(sumi_models_create(&config, &s->model, &err));
    expect(sumi_train_create(&s->runtime, s->model, &trainer, &s->trainer, &err));
    s->mark = need(s->runtime.backend->alloc(s->runtime.device, sizeof(float)));
}

static void end_side(side *s)
{
    s->runtime.backend->free(s->runtime.device, s->mark, sizeof(float));
    sumi_train_free(s->trainer);
    sumi_runtime_forget(&s->runtime, s->model->id);
    sumi_models_free(s->model);
    sumi_runtime_free(&s->runtime);
}

static double time_step(side *s, const sumi_batch *batch)
{
    double begin = sumi_time_now();
    expect(sumi_train_step(s->trainer, batch, NULL, &err));
    wait_for(&s->runtime, s->mark);
    return sumi_time_now() - begin;
}

static double time_prediction(side *s, const sumi_batch *batch, float *out)
{
    double begin = sumi_time_now();
    expect(sumi_runtime_predict(&s->runtime, s->model, batch, out, &err));
    return sumi_time_now() - begin;
}

static void time_net(const char *net, const char *optimiser, int n, int rounds)
{
    double steps[2][ROUNDS_MAX], predictions[2][ROUNDS_MAX];
    size_t floats = (size_t)n * SIDE * SIDE;
    side sides[2];
    float *images = need(sumi_calloc(floats, sizeof(float)));
    float *out = need(sumi_calloc(floats, sizeof(float)));
    int32_t *t = need(sumi_calloc((size_t)n, sizeof *t));
    const sumi_random at = {3, SUMI_STREAM_USER, 0, 0};
    sumi_random_normals(&at, 0, images, floats);
    for (int i = 0; i < n; i++)
        t[i] = 1 + i;
    sumi_batch training = SUMI_BATCH_INIT;
    training.n = n;
    training.h = training.w = SIDE;
    training.x = images;
    sumi_batch predicting = training;
    predicting.t = t;
    for (int i = 0; i < 2; i++)
        begin_side(&sides[i], i == 1, net, optimiser, n);
    for (int round = -1; round < rounds; round++)
        for (int i = 0; i < 2; i++) {
            steps[i][round < 0 ? 0 : round] = time_step(&sides[i], &training);
            predictions[i][round < 0 ? 0 : round] = time_prediction(&sides[i], &predicting, out);
        }
    for (int i = 0; i < 2; i++) {
        double step = median(steps[i], rounds), prediction = median(predictions[i], rounds);
        printf("%-9s %-9s %-7s %5d %10.1f %14.1f\n", net, optimiser, i ? "opencl" : "cpu", n,
               1e3 * step, 1e3 * prediction);
    }
    for (int i = 0; i < 2; i++)
        end_side(&sides[i]);
    free(images);
    free(out);
    free(t);
}

static void run_steps(int batch, int rounds)
{
    char cpu[256];
    sumi_runtime runtime = open_runtime(true);
    printf("opencl: %s; %d threads of %s; medians of %d\n", runtime.backend->title(runtime.device),
           sumi_cpu_count(), sumi_cpu_name(cpu, sizeof cpu) ? cpu : "an unknown CPU", rounds);
    sumi_runtime_free(&runtime);
    printf("network   optimiser device  batch    step ms  prediction ms\n");
    time_net("tutorial", "adam", batch, rounds);
    time_net("unet", "muon", batch, rounds);
}

int main(int argc, char **argv)
{
    bool convs = argc > 1 && strcmp(argv[1], "convs") == 0;
    bool steps = argc > 1 && strcmp(argv[1], "steps") == 0;
    int batch = argc > 2 ? atoi(argv[2]) : 16, rounds = argc > 3 ? atoi(argv[3]) : 5;
    if (argc > 4 || !(convs || steps) || batch < 1 || rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: bench_opencl convs|steps [BATCH] [ROUNDS]\n");
        return 2;
    }
    if (convs)
        run_convs(batch, rounds);
    else
        run_steps(batch, rounds);
    return 0;
}
