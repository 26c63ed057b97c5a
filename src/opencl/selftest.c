/*
 * What a device is tried with when it is used for the first time: a small network of all
 * operations, trained for a step, and the elementwise work of training and sampling. Of all that
 * comes of it sums are taken, which are known. A driver that makes something else of a kernel is
 * refused before anybody relies on it.
 *
 * The work goes through the backend's table, so that any backend's sums can be taken: the numbers
 * below are the CPU's (tests/opencl/test_cl_device.c holds them against it).
 */
#include "opencl/selftest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "opencl/opencl.h"

enum { N = 2, SIDE = 8, CHANNELS = 2, CLASSES = 3, IMAGE = SIDE * SIDE * CHANNELS };

static const double TOLERANCE = 1e-4;

static const double expected[SUMI_CL_SUMS] = {
    4.71495351,  0.268143296, 0.17259542,  0.0208032989, 0.0921887601,  0.0443028559, -0.0164404362,
    0.804357793, 0,           0.560439001, 0.667664392,  1.25300154,    2.05509438,   -37.1697183,
    -1.59705062, -1.98207331, -1.79706551, -2.9098802,   -4.49806779,   0.477780462,  0.88423312,
    2.95604983,  -2.07544197, 47.1650687,  4.12097037,   -0.0885312482, 0.380502224,  -334.425762,
    -4.03966059, 4.17225692,  4.07900173,  -864.809818,  749.446064,    -15.5575356,  -4.35227987,
    5.67821985,  377.152344};

/* ---- Sums ------------------------------------------------------------------------------------ */

typedef struct {
    const sumi_backend *backend;
    sumi_device *device;
    sumi_cl_sums *out;
    sumi_ledger *ledger;
    int count;
} taking;

/* Numbers differ in weight, so that none can stand for another. */
static void take(taking *t, const float *x, size_t count)
{
    double sum = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        double weighted = (double)x[i] * (double)((i * 7 + 3) % 11 + 1);
        sum += weighted;
        size += fabs(weighted);
    }
    if (t->count < SUMI_CL_SUMS) {
        t->out->sum[t->count] = sum;
        t->out->size[t->count] = size;
    }
    t->count++;
}

/* Of memory of the device. */
static void take_memory(taking *t, const float *memory, size_t count)
{
    float *host = sumi_calloc(count + 1, sizeof *host);
    if (host && memory)
        t->backend->download(t->device, host, memory, count * sizeof *host);
    if (host)
        take(t, host, count);
    free(host);
}

static float *alloc(const taking *t, size_t count)
{
    return t->backend->alloc(t->device, count * sizeof(float));
}

/* Numbers between -1 and 1. */
static float *alloc_filled(const taking *t, size_t count, uint32_t seed)
{
    float *memory = alloc(t, count), *host = sumi_calloc(count + 1, sizeof *host);
    for (size_t i = 0; i < count && host; i++)
        host[i] = (float)((i * 2654435761u + seed * 40503u) >> 8 & 0xFFFF) / 32768 - 1;
    if (memory && host)
        t->backend->upload(t->device, memory, host, count * sizeof *host);
    free(host);
    return memory;
}

static void release(const taking *t, float *memory, size_t count)
{
    t->backend->free(t->device, memory, count * sizeof *memory);
}

/* ---- The network ----------------------------------------------------------------------------- */

static sumi_edge linear(sumi_graph *graph, const char *name, sumi_edge in, int out)
{
    return sumi_graph_linear(
        graph, in, sumi_graph_linear_layer(graph, name, sumi_edge_channels(graph, &in), out));
}

static sumi_edge conv(sumi_graph *graph, const char *name, sumi_edge in, int out, int ksize)
{
    return sumi_graph_conv(
        graph, in, sumi_graph_conv_layer(graph, name, sumi_edge_channels(graph, &in), out, ksize));
}

static sumi_edge embedding(sumi_graph *graph)
{
    sumi_edge time = sumi_graph_fourier(graph, sumi_graph_input_time(graph), 4, .1, 1);
    sumi_edge x = sumi_graph_act(graph, linear(graph, "time", time, 4), SUMI_ACT_SILU);
    int rows = sumi_graph_embedding_layer(graph, "label", CLASSES + 1, 4);
    sumi_edge labels = sumi_graph_input_labels(graph, CLASSES);
    x = sumi_graph_add(graph, linear(graph, "more", x, 4),
                       sumi_graph_embedding(graph, labels, rows));
    return sumi_graph_act(graph, x, SUMI_ACT_SILU);
}

/* All operations, and each way of changing sizes. */
static void build(sumi_graph *graph)
{
    sumi_graph_init(graph);
    sumi_edge image = sumi_graph_input_image(graph, CHANNELS), e = embedding(graph);
    sumi_edge x = conv(graph, "first", image, 4, 3);
    x = sumi_graph_norm(graph, x, sumi_graph_batch_norm_layer(graph, "batch", 4));
    x = sumi_graph_shift(graph, sumi_graph_act(graph, x, SUMI_ACT_RELU),
                         linear(graph, "shift", e, 4));
    sumi_edge skip = conv(graph, "second", x, 4, 3);
    x = sumi_graph_norm(graph, skip, sumi_graph_group_norm_layer(graph, "group", 4, 2, true));
    x = sumi_graph_modulate(graph, x, linear(graph, "modulation", e, 8));
    x = sumi_graph_max_pool(graph, sumi_graph_act(graph, x, SUMI_ACT_SILU));
    sumi_edge y =
        sumi_graph_norm(graph, x, sumi_graph_group_norm_layer(graph, "small", 4, 2, false));
    y = conv(graph, "qkv", y, 12, 1);
    y = sumi_graph_add(graph, conv(graph, "heads", sumi_graph_attention(graph, y, 2), 4, 1), x);
    y = sumi_graph_concat(graph, sumi_graph_upsample(graph, y),
                          sumi_graph_upsample_nearest(graph, sumi_graph_avg_pool(graph, skip)));
    y = conv(graph, "last", y, CHANNELS, 3);
    sumi_graph_output(graph, "image", y);
    sumi_graph_loss_mse(graph, y);
    sumi_edge small = sumi_graph_subsample(graph, skip);
    sumi_edge logits = linear(graph, "logits", sumi_graph_mean(graph, small), CLASSES);
    sumi_graph_output(graph, "logits", logits);
    sumi_graph_loss_cross_entropy(
        graph, logits, (sumi_edge){.views = {{.value = graph->labels, .post = -1}}, .count = 1},
        .1);
}

static sumi_network *plan(const taking *t, const sumi_graph *graph, const sumi_weights *weights,
                          sumi_mode mode, int force, sumi_error *err)
{
    const sumi_plan_config config = {
        .mode = mode, .n_max = N, .h = SIDE, .w = SIDE, .force = force};
    sumi_network *net = NULL;
    if (t->backend->network_create(t->device, graph, weights, &config, &net, err) != SUMI_OK)
        return NULL;
    return net;
}

/* A step of training, and a prediction with the statistics that it leaves; and the step's gradients
 * with the other way to convolve. */
static void run_network(taking *t, const sumi_graph *graph, const sumi_weights *weights,
                        const sumi_inputs *in, sumi_error *err)
{
    const sumi_params *params = &graph->params;
    sumi_entry entry;
    float *gradients = alloc_filled(t, params->value_count, 4), *image = alloc(t, N * IMAGE);
    float *logits = alloc(t, N * CLASSES), *out[SUMI_OUTPUTS_MAX] = {image, logits};
    sumi_network *training = plan(t, graph, weights, SUMI_MODE_TRAIN, SUMI_CL_PLAINLY, err);
    sumi_network *again = plan(t, graph, weights, SUMI_MODE_TRAIN, SUMI_CL_BY_WINOGRAD, err);
    sumi_network *predicting = plan(t, graph, weights, SUMI_MODE_PREDICT, SUMI_CL_PLAINLY, err);
    if (gradients && image && logits && training && again && predicting) {
        t->backend->gradients(again, in, N, gradients);
        take_memory(t, gradients, params->value_count);
        t->backend->gradients(training, in, N, gradients);
        for (int i = 0; i < 2; i++) { /* the second is to forget the first */
            t->backend->ledger_begin(t->ledger, 0);
            t->backend->ledger_take(t->ledger, training, 1, gradients, params->value_count);
        }
        t->backend->ledger_read(t->ledger, 1, &entry);
        const float loss = (float)entry.loss;
        take(t, &loss, 1);
        for (int i = 0; i < params->count; i++)
            if (sumi_param_trainable(&params->items[i]))
                take_memory(t, gradients + params->items[i].offset, params->items[i].count);
        t->backend->update_statistics(training, t->ledger, weights->statistics);
        t->backend->predict(predicting, in, N, out);
        take_memory(t, image, N * IMAGE);
        take_memory(t, logits, N * CLASSES);
    }
    t->backend->network_free(training);
    t->backend->network_free(again);
    t->backend->network_free(predicting);
    release(t, gradients, params->value_count);
    release(t, image, N * IMAGE);
    release(t, logits, N * CLASSES);
}

static sumi_status try_network(taking *t, sumi_error *err)
{
    const float time[N] = {1.5f, 7};
    const int32_t labels[N] = {2, -1};
    sumi_graph graph;
    build(&graph);
    sumi_status status = graph.status == SUMI_OK
                             ? sumi_params_allocate(&graph.params, err)
                             : sumi_fail(err, graph.status, "%s", graph.error.text);
    if (status != SUMI_OK) {
        sumi_graph_free(&graph);
        return status;
    }
    sumi_params_init(&graph.params, 5);
    size_t values = graph.params.value_count, statistics = graph.params.statistic_count;
    const sumi_weights weights = {alloc(t, values), alloc(t, statistics)};
    float *image = alloc_filled(t, N * IMAGE, 1), *target = alloc_filled(t, N * IMAGE, 2);
    float *times = alloc(t, N), *classes = alloc(t, N), *weight = alloc_filled(t, N, 3);
    if (weights.values && weights.statistics && image && target && times && classes && weight) {
        t->backend->upload(t->device, weights.values, graph.params.values, values * sizeof(float));
        t->backend->upload(t->device, weights.statistics, graph.params.statistics,
                           statistics * sizeof(float));
        t->backend->upload(t->device, times, time, sizeof time);
        t->backend->upload(t->device, classes, labels, sizeof labels);
        const sumi_inputs in = {.image = image,
                                .time = times,
                                .labels = (const int32_t *)(const void *)classes,
                                .target = target,
                                .weight = weight};
        run_network(t, &graph, &weights, &in, err);
    }
    release(t, weights.values, values);
    release(t, weights.statistics, statistics);
    release(t, image, N * IMAGE);
    release(t, target, N * IMAGE);
    release(t, times, N);
    release(t, classes, N);
    release(t, weight, N);
    sumi_graph_free(&graph);
    return SUMI_OK;
}

/* ---- Elementwise work ------------------------------------------------------------------------ */

enum { COUNT = 300, ARRAYS = 8 };

/* Numbers over 0 are not finite. */
static bool has_infinite(const taking *t, float *const a[ARRAYS])
{
    const sumi_factors factors = {.source = {1}, .divisor = 0};
    const sumi_mixing work = {
        .n = 1, .count = COUNT, .out = a[0], .sources = 1, .source = {a[2]}, .factors = &factors};
    t->backend->mix(t->device, &work);
    return !t->backend->finite(t->device, a[0], COUNT);
}

static void try_sampling(taking *t, float *const a[ARRAYS])
{
    const sumi_random at = {3, SUMI_STREAM_USER, 1, 0};
    const sumi_factors factors = {.source = {.5f, -2, .25f}, .divisor = 3, .noise = .7f};
    const sumi_mixing mixing = {.n = 2,
                                .count = COUNT / 2,
                                .out = a[0],
                                .copy = a[1],
                                .sources = 3,
                                .source = {a[2], a[3], a[4]},
                                .factors = &factors,
                                .noise = &at};
    const sumi_limits limits = {.wanted = true, .low = -.5f, .high = .5f, .share = .9f};
    const sumi_tolerance tolerance = {.1, .2};
    double errors[2] = {0};
    t->backend->mix(t->device, &mixing);
    take_memory(t, a[1], COUNT);
    t->backend->limit(t->device, &limits, 2, COUNT / 2, a[0]);
    take_memory(t, a[0], COUNT);
    t->backend->blend(t->device, a[2], a[3], COUNT, a[1]);
    take_memory(t, a[1], COUNT);
    t->backend->measure_error(t->device, &tolerance, 2, COUNT / 2, a[2], a[3], a[4], errors);
    sumi_entry entry;
    t->backend->ledger_begin(t->ledger, 0);
    t->backend->ledger_clip(t->ledger, 0, a[3], COUNT);
    t->backend->ledger_read(t->ledger, 1, &entry);
    const float told[] = {(float)errors[0], (float)errors[1], (float)(entry.norm * entry.norm),
                          (float)t->backend->finite(t->device, a[4], COUNT),
                          (float)has_infinite(t, a)};
    take(t, told, 5);
}

/* Two matrices, the second turned, of which the first moves by itself. */
static void try_optimiser(taking *t, float *const a[ARRAYS])
{
    static const sumi_matrix matrices[] = {{.offset = 10, .stride = 6, .rows = 9, .cols = 6},
                                           {.offset = 100, .stride = 20, .rows = 7, .cols = 20}};
    static const sumi_range ranges[] = {{10, 54}};
    const sumi_update update = {.rule = SUMI_RULE_ADAM,
                                .rate = .01,
                                .beta1 = .9,
                                .beta2 = .99,
                                .eps = .1, /* small gradients have no large say */
                                .correction1 = .1,
                                .correction2 = .01,
                                .keep = .999,
                                .count = COUNT,
                                .weights = a[2],
                                .gradients = a[3],
                                .state = {a[5], a[6]},
                                .matrices = ranges,
                                .matrix_count = 1,
                                .matrix_rate = .02,
                                .matrix_keep = .99,
                                .averages = 1,
                                .average = {a[7]},
                                .decay = {.9},
                                .ledger = t->ledger};
    sumi_orthogonaliser *o = NULL;
    if (t->backend->orthogonaliser_create(t->device, matrices, 2, &o, NULL) != SUMI_OK)
        return;
    t->backend->orthogonalise(o, t->ledger, .95, a[3], a[5]);
    t->backend->orthogonaliser_free(o);
    take_memory(t, a[3], COUNT);
    t->backend->update(t->device, &update);
    take_memory(t, a[2], COUNT);
    take_memory(t, a[7], COUNT);
}

/* Two of three images, one mirrored and both moved. */
static void try_gathering(taking *t)
{
    enum { H = 4, W = 5, C = 3, BYTES = 3 * H * W * C, PICKS = 2, FLOATS = PICKS * H * W * C };
    static const sumi_pick picks[PICKS] = {{2, 1, 1, -2}, {1, 0, -3, 1}};
    uint8_t bytes[BYTES];
    float values[C * 256];
    for (int i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)((i * 37 + 11) % 256);
    for (int i = 0; i < C * 256; i++)
        values[i] = (float)(i % 256 + 3 * (i / 256)) / 256;
    float *images = alloc(t, BYTES), *places = alloc(t, 4 * PICKS);
    float *table = alloc(t, C * 256), *out = alloc(t, FLOATS);
    const sumi_gathering work = {
        PICKS, H, W, C, (const uint8_t *)images, (const sumi_pick *)places, table, out};
    if (images && places && table && out) {
        t->backend->upload(t->device, images, bytes, sizeof bytes);
        t->backend->upload(t->device, places, picks, sizeof picks);
        t->backend->upload(t->device, table, values, sizeof values);
        t->backend->gather(t->device, &work);
        take_memory(t, out, FLOATS);
    }
    release(t, images, BYTES);
    release(t, places, 4 * PICKS);
    release(t, table, C * 256);
    release(t, out, FLOATS);
}

static void try_elementwise(taking *t)
{
    float *a[ARRAYS];
    bool there = true;
    for (int i = 0; i < ARRAYS; i++) {
        a[i] = i == 5 || i == 6 ? alloc(t, COUNT) : alloc_filled(t, COUNT, (uint32_t)i + 10);
        there &= a[i] != NULL;
    }
    if (there) {
        try_sampling(t, a);
        try_optimiser(t, a);
        try_gathering(t);
    }
    for (int i = 0; i < ARRAYS; i++)
        release(t, a[i], COUNT);
}

/* ---- All ------------------------------------------------------------------------------------- */

sumi_status sumi_cl_take_sums(const sumi_backend *backend, sumi_device *device, sumi_cl_sums *out,
                              sumi_error *err)
{
    taking t = {.backend = backend, .device = device, .out = out};
    sumi_status status = backend->ledger_create(device, 1, &t.ledger, err);
    if (status == SUMI_OK)
        status = try_network(&t, err);
    *out = status == SUMI_OK ? *out : (sumi_cl_sums){{0}, {0}};
    if (status == SUMI_OK)
        try_elementwise(&t);
    if (status == SUMI_OK)
        status = backend->status(device, err);
    if (status == SUMI_OK && t.count != SUMI_CL_SUMS)
        status = sumi_fail(err, SUMI_ENOMEM, "there is no memory to try a device with");
    backend->ledger_free(t.ledger);
    return status;
}

int sumi_cl_wrong_sum(const sumi_cl_sums *sums)
{
    for (int i = 0; i < SUMI_CL_SUMS; i++)
        if (!(fabs(sums->sum[i] - expected[i]) <= TOLERANCE * sums->size[i] + 1e-6))
            return i;
    return -1;
}
