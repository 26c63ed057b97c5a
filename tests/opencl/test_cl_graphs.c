/*
 * Random graphs of all operations on a device, forward and backward, against the plain computation
 * in double that the CPU's backend is held to. An argument is how many graphs are drawn, a second
 * the first seed. How far a result may be off is what noise of the size of rounding does to it in
 * that graph: see tests/cpu/test_random_graphs.c.
 */
#include <math.h>
#include <string.h>

#include "opencl/cl_test.h"

#include "cpu/random_graph.h"
#include "cpu/reference.h"
#include "kernels/kernels.h"

_Static_assert((int)SUMI_CONV_GEMM == (int)SUMI_CL_PLAINLY &&
                   (int)SUMI_CONV_WINOGRAD == (int)SUMI_CL_BY_WINOGRAD,
               "a plan's way to convolve has one number on all devices");

enum { N_MAX = 3, SIDE_MAX = 12, CHANNELS_MAX = 96, DRAWS = 12 };
enum { FLOATS = N_MAX * SIDE_MAX * SIDE_MAX * CHANNELS_MAX };
static const double SPREAD = 1e-6, TIMES = 8, FLOOR = 0.1;

static int graph_count = 30;
static uint64_t first_seed = 1;

typedef struct {
    uint64_t seed;
    sumi_graph graph;
    int n, h, w;
    float image[FLOATS], target[FLOATS], time[N_MAX], weight[N_MAX];
    float condition[N_MAX * CONDITION_MAX];
    int32_t labels[N_MAX];
    sumi_inputs in; /* of a training; a prediction has no condition */
    bool smooth;    /* no ReLU is near its kink, and no maxima are near a tie */
} sample;

/* What is computed of a sample, and the root of the mean square of what some draws of noise do. */
typedef struct {
    reference quiet;
    double outputs[SUMI_OUTPUTS_MAX], loss;
    double *gradients; /* of each parameter's tensor */
} expectation;

/* ---- Samples --------------------------------------------------------------------------------- */

static void run_reference(reference *r, const sample *s, bool training)
{
    reference_open(r, &s->graph, s->n, s->h, s->w, training);
    r->in = s->in;
    if (training)
        r->dparams = calloc(s->graph.params.value_count + 1, sizeof *r->dparams);
    else
        r->in.condition = NULL;
    reference_run(r);
}

/* Near a kink, gradients of float and double differ by right: other images are drawn. */
static void draw_images(sample *s)
{
    for (uint32_t attempt = 0; attempt < 20 && !s->smooth; attempt++) {
        reference r;
        sumi_random at = {s->seed, SUMI_STREAM_USER, 2, attempt};
        sumi_random_normals(&at, 0, s->image, FLOATS);
        at.step = 3;
        sumi_random_normals(&at, 0, s->target, FLOATS);
        run_reference(&r, s, true);
        s->smooth = r.kink > 1e-5;
        reference_close(&r);
    }
}

static void sample_open(sample *s, uint64_t seed)
{
    dice d = {seed, 0};
    memset(s, 0, sizeof *s);
    s->seed = seed;
    bool wide = random_graph(&s->graph, &d);
    if (s->graph.status != SUMI_OK)
        fail_msg("seed %llu: %s", (unsigned long long)seed, s->graph.error.text);
    s->n = wide ? 2 : 2 + dice_below(&d, N_MAX - 1);
    s->h = dice_below(&d, 2) || wide ? 8 : 12;
    s->w = dice_below(&d, 2) || wide ? 8 : 12;
    if (s->graph.pads) {
        s->h = wide ? 8 - dice_below(&d, 4) : 4 + dice_below(&d, 9);
        s->w = wide ? 8 - dice_below(&d, 4) : 4 + dice_below(&d, 9);
    }
    for (int i = 0; i < s->n; i++) {
        s->time[i] = dice_below(&d, 2) ? (float)(1 + dice_below(&d, 1000)) : 0.25f + (float)i;
        s->labels[i] = s->graph.labels >= 0 ? dice_below(&d, s->graph.classes + 1) - 1 : 0;
        s->weight[i] = 0.5f + (float)i;
    }
    const sumi_random told = {seed, SUMI_STREAM_USER, 4, 0};
    sumi_random_normals(&told, 0, s->condition, N_MAX * CONDITION_MAX);
    s->in = (sumi_inputs){.image = s->image,
                          .time = s->time,
                          .labels = s->labels,
                          .target = s->target,
                          .condition = dice_below(&d, 4) ? s->condition : NULL,
                          .weight = dice_below(&d, 2) ? s->weight : NULL};
    draw_images(s);
}

/* ---- Expectations ---------------------------------------------------------------------------- */

static double square(const double *a, const double *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (a[i] - (b ? b[i] : 0)) * (a[i] - (b ? b[i] : 0));
    return sum;
}

static void add_draw(expectation *e, const reference *noisy)
{
    const sumi_graph *graph = noisy->graph;
    for (int i = 0; i < graph->output_count; i++) {
        int value = graph->outputs[i].value;
        e->outputs[i] +=
            square(noisy->values[value], e->quiet.values[value], reference_count(noisy, value)) /
            DRAWS;
    }
    e->loss += (noisy->loss - e->quiet.loss) * (noisy->loss - e->quiet.loss) / DRAWS;
    for (int i = 0; i < graph->params.count && noisy->dparams; i++) {
        const sumi_param *param = &graph->params.items[i];
        if (sumi_param_trainable(param))
            e->gradients[i] += square(noisy->dparams + param->offset,
                                      e->quiet.dparams + param->offset, param->count) /
                               DRAWS;
    }
}

static void expectation_open(expectation *e, const sample *s, bool training)
{
    reference noisy;
    memset(e, 0, sizeof *e);
    e->gradients = calloc((size_t)s->graph.params.count + 1, sizeof *e->gradients);
    assert_non_null(e->gradients);
    run_reference(&e->quiet, s, training);
    run_reference(&noisy, s, training);
    for (int k = 0; k < DRAWS; k++) {
        noisy.noise = (reference_noise){0, SPREAD, s->seed * DRAWS + (uint64_t)k};
        reference_run(&noisy);
        add_draw(e, &noisy);
    }
    reference_close(&noisy);
}

static void expectation_close(expectation *e)
{
    reference_close(&e->quiet);
    free(e->gradients);
}

/* noise: its mean square; size: of all that a number belongs to. */
static void check(const sample *s, const char *mode, const char *what, const float *found,
                  const double *expected, size_t count, double noise, double size)
{
    double off = 0;
    for (size_t i = 0; i < count; i++)
        off += ((double)found[i] - expected[i]) * ((double)found[i] - expected[i]);
    if (!(sqrt(off) <= TIMES * (sqrt(noise) + FLOOR * SPREAD * size)))
        fail_msg("seed %llu, %s: %s is off by %g of %g, where noise makes %g",
                 (unsigned long long)s->seed, mode, what, sqrt(off), size, sqrt(noise));
}

/* ---- The device ------------------------------------------------------------------------------ */

/* What a device has of the sample. */
typedef struct {
    sumi_weights weights;
    sumi_inputs in;
    float *gradients;
} sent;

/* What a device has of a buffer of the host. */
static void *send(sumi_runtime *runtime, const void *host, size_t bytes)
{
    void *memory = runtime->backend->alloc(runtime->device, bytes);
    assert_non_null(memory);
    runtime->backend->upload(runtime->device, memory, host, bytes);
    return memory;
}

static void send_all(sumi_runtime *runtime, sample *s, sent *out)
{
    sumi_params *params = &s->graph.params;
    size_t bytes = params->value_count * sizeof(float);
    memset(out, 0, sizeof *out);
    out->weights.values = send(runtime, params->values, bytes);
    out->weights.statistics =
        send(runtime, params->statistics, params->statistic_count * sizeof(float));
    out->in = (sumi_inputs){.image = send(runtime, s->image, sizeof s->image),
                            .time = send(runtime, s->time, sizeof s->time),
                            .labels = send(runtime, s->labels, sizeof s->labels),
                            .target = send(runtime, s->target, sizeof s->target),
                            .condition = send(runtime, s->condition, sizeof s->condition),
                            .weight = send(runtime, s->weight, sizeof s->weight)};
    out->gradients = runtime->backend->alloc(runtime->device, bytes);
    assert_non_null(out->gradients);
}

static void release(sumi_runtime *runtime, const sent *all)
{
    const void *memory[] = {all->weights.values, all->weights.statistics, all->in.image,
                            all->in.time,        all->in.labels,          all->in.target,
                            all->in.condition,   all->in.weight,          all->gradients};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        runtime->backend->free(runtime->device, (void *)(uintptr_t)memory[i], 0);
}

static sumi_network *network(sumi_runtime *runtime, const sample *s, const sent *all,
                             sumi_mode mode)
{
    /* Convolutions as the plan chooses, and each way. */
    static const int ways[] = {-1, SUMI_CONV_GEMM, SUMI_CONV_WINOGRAD};
    sumi_plan_config config = {
        .mode = mode, .n_max = s->n, .h = s->h, .w = s->w, .force = ways[s->seed % 3]};
    sumi_network *net = NULL;
    sumi_error err = {""};
    if (runtime->backend->network_create(runtime->device, &s->graph, &all->weights, &config, &net,
                                         &err) != SUMI_OK)
        fail_msg("seed %llu: %s", (unsigned long long)s->seed, err.text);
    return net;
}

static void check_predictions(sumi_runtime *runtime, const sample *s, const sent *all)
{
    static float result[FLOATS];
    const sumi_backend *backend = runtime->backend;
    const sumi_graph *graph = &s->graph;
    sumi_network *net = network(runtime, s, all, SUMI_MODE_PREDICT);
    float *found[SUMI_OUTPUTS_MAX] = {NULL};
    expectation e;
    expectation_open(&e, s, false);
    for (int i = 0; i < graph->output_count; i++)
        assert_non_null(found[i] = backend->alloc(runtime->device, sizeof result));
    backend->predict(net, &all->in, s->n, found);
    for (int i = 0; i < graph->output_count; i++) {
        int value = graph->outputs[i].value;
        size_t count = reference_count(&e.quiet, value);
        backend->download(runtime->device, result, found[i], sizeof result);
        backend->free(runtime->device, found[i], sizeof result);
        check(s, "prediction", graph->outputs[i].name, result, e.quiet.values[value], count,
              e.outputs[i], sqrt(square(e.quiet.values[value], NULL, count)));
    }
    backend->network_free(net);
    expectation_close(&e);
}

/* Twice: what a run leaves in the network's memory does not matter. */
static void check_gradients(sumi_runtime *runtime, const sample *s, const sent *all)
{
    const sumi_backend *backend = runtime->backend;
    const sumi_params *params = &s->graph.params;
    size_t bytes = params->value_count * sizeof(float);
    sumi_network *net = network(runtime, s, all, SUMI_MODE_TRAIN);
    float *found = malloc(bytes + 1), *again = malloc(bytes + 1);
    sumi_inputs in = all->in;
    expectation e;
    in.condition = s->in.condition ? in.condition : NULL;
    in.weight = s->in.weight ? in.weight : NULL;
    expectation_open(&e, s, true);
    backend->gradients(net, &in, s->n, all->gradients);
    double loss = backend->loss(net);
    backend->download(runtime->device, found, all->gradients, bytes);
    backend->gradients(net, &in, s->n, all->gradients);
    assert_true(loss == backend->loss(net));
    backend->download(runtime->device, again, all->gradients, bytes);
    assert_memory_equal(found, again, bytes);
    const float single = (float)loss;
    check(s, "training", "the loss", &single, &e.quiet.loss, 1, e.loss, e.quiet.loss);
    double size = sqrt(square(e.quiet.dparams, NULL, params->value_count));
    for (int i = 0; i < params->count && s->smooth; i++) {
        const sumi_param *param = &params->items[i];
        if (sumi_param_trainable(param))
            check(s, "training", param->name, found + param->offset,
                  e.quiet.dparams + param->offset, param->count, e.gradients[i], size);
    }
    free(found);
    free(again);
    backend->network_free(net);
    expectation_close(&e);
}

static void test_random_graphs(void **state)
{
    (void)state;
    static sample s;
    sumi_error err = {""};
    sumi_runtime runtime = test_runtime(true);
    int smooth = 0;
    for (int i = 0; i < graph_count; i++) {
        sent all;
        sample_open(&s, first_seed + (uint64_t)i);
        smooth += s.smooth;
        send_all(&runtime, &s, &all);
        check_predictions(&runtime, &s, &all);
        check_gradients(&runtime, &s, &all);
        test_ok(runtime.backend->status(runtime.device, &err), &err);
        release(&runtime, &all);
        sumi_graph_free(&s.graph);
    }
    assert_true(smooth >= graph_count * 9 / 10);
    sumi_runtime_free(&runtime);
}

/* ---- Winograd's transforms ------------------------------------------------------------------- */

enum { MANY = 5, HIGH = 27, WIDE = 29, IN = 20, MIDDLE = 70, OUT = 40 };
enum { IN_FLOATS = HIGH * WIDE * IN, OUT_FLOATS = HIGH * WIDE * OUT };

static void build_two(sumi_graph *graph)
{
    sumi_graph_init(graph);
    sumi_edge x = sumi_graph_input_image(graph, IN);
    x = sumi_graph_conv(graph, x, sumi_graph_conv_layer(graph, "one", IN, MIDDLE, 3));
    x = sumi_graph_norm(graph, x, sumi_graph_group_norm_layer(graph, "norm", MIDDLE, 10, true));
    x = sumi_graph_act(graph, x, SUMI_ACT_SILU);
    sumi_edge time = sumi_graph_fourier(graph, sumi_graph_input_time(graph), 4, .1, 1);
    int shift = sumi_graph_linear_layer(graph, "shift", 4, MIDDLE);
    x = sumi_graph_shift(graph, x, sumi_graph_linear(graph, time, shift));
    x = sumi_graph_conv(graph, x, sumi_graph_conv_layer(graph, "two", MIDDLE, OUT, 3));
    sumi_graph_output(graph, "out", x);
    sumi_graph_loss_mse(graph, x);
}

static const float two_times[MANY] = {1, 3, 0.5f, 20, 7};

/* Gradients of all parameters, of MANY images whose target is 0. */
static void train_two(sumi_runtime *runtime, const sumi_graph *graph, const sumi_weights *weights,
                      int force, const float *images, float *out)
{
    static const float target[MANY * OUT_FLOATS];
    const sumi_backend *backend = runtime->backend;
    const sumi_plan_config config = {
        .mode = SUMI_MODE_TRAIN, .n_max = MANY, .h = HIGH, .w = WIDE, .force = force};
    size_t bytes = graph->params.value_count * sizeof(float);
    sumi_network *net = NULL;
    sumi_error err = {""};
    const sumi_inputs in = {.image = send(runtime, images, MANY * IN_FLOATS * sizeof(float)),
                            .time = send(runtime, two_times, sizeof two_times),
                            .target = send(runtime, target, sizeof target)};
    float *gradients = backend->alloc(runtime->device, bytes);
    assert_non_null(gradients);
    test_ok(backend->network_create(runtime->device, graph, weights, &config, &net, &err), &err);
    backend->gradients(net, &in, MANY, gradients);
    backend->download(runtime->device, out, gradients, bytes);
    backend->network_free(net);
    const void *memory[] = {in.image, in.time, in.target, gradients};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        backend->free(runtime->device, (void *)(uintptr_t)memory[i], 0);
    test_ok(backend->status(runtime->device, &err), &err);
}

/* Of each parameter, as near as rounding is. */
static void check_two(const sumi_params *params, const float *found, const float *expected)
{
    for (int k = 0; k < params->count; k++) {
        const sumi_param *param = &params->items[k];
        double off = 0, all = 0;
        for (size_t i = param->offset; i < param->offset + param->count; i++) {
            off += pow((double)expected[i] - (double)found[i], 2);
            all += pow((double)expected[i], 2);
        }
        /* A bias before a norm has next to none. */
        if (!(sqrt(off) <= 1e-4 * sqrt(all) + 1e-6))
            fail_msg("%s is off by %g of %g", param->name, sqrt(off), sqrt(all));
    }
}

static void predict_two(sumi_runtime *runtime, const sumi_graph *graph, const sumi_weights *weights,
                        int force, int n, const float *images, const float *times, float *out)
{
    const sumi_backend *backend = runtime->backend;
    const sumi_plan_config config = {
        .mode = SUMI_MODE_PREDICT, .n_max = n, .h = HIGH, .w = WIDE, .force = force};
    sumi_network *net = NULL;
    sumi_error err = {""};
    const sumi_inputs in = {.image = send(runtime, images, (size_t)n * IN_FLOATS * sizeof(float)),
                            .time = send(runtime, times, (size_t)n * sizeof(float))};
    float *to = backend->alloc(runtime->device, (size_t)n * OUT_FLOATS * sizeof(float));
    assert_non_null(to);
    test_ok(backend->network_create(runtime->device, graph, weights, &config, &net, &err), &err);
    backend->predict(net, &in, n, &to);
    backend->download(runtime->device, out, to, (size_t)n * OUT_FLOATS * sizeof(float));
    backend->network_free(net);
    backend->free(runtime->device, to, 0);
    backend->free(runtime->device, (void *)(uintptr_t)in.image, 0);
    backend->free(runtime->device, (void *)(uintptr_t)in.time, 0);
    test_ok(backend->status(runtime->device, &err), &err);
}

/* More images than go through them at a time, of odd sides: as near to the plain sums as rounding
 * is, also in gradients, and an image has the same bits by itself. */
static void test_winograd_in_pieces(void **state)
{
    (void)state;
    static float images[MANY * IN_FLOATS], plain[MANY * OUT_FLOATS], found[MANY * OUT_FLOATS];
    static float alone[OUT_FLOATS];
    const sumi_random at = {5, SUMI_STREAM_USER, 0, 0};
    sumi_runtime runtime = test_runtime(true);
    sumi_graph graph;
    sumi_error err = {""};
    build_two(&graph);
    test_ok(sumi_params_allocate(&graph.params, &err), &err);
    sumi_params_init(&graph.params, 3);
    sumi_random_normals(&at, 0, images, MANY * IN_FLOATS);
    const sumi_weights weights = {
        send(&runtime, graph.params.values, graph.params.value_count * sizeof(float)), NULL};
    predict_two(&runtime, &graph, &weights, SUMI_CONV_GEMM, MANY, images, two_times, plain);
    predict_two(&runtime, &graph, &weights, SUMI_CONV_WINOGRAD, MANY, images, two_times, found);
    predict_two(&runtime, &graph, &weights, SUMI_CONV_WINOGRAD, 1, images + 3 * IN_FLOATS,
                two_times + 3, alone);
    assert_memory_equal(alone, found + 3 * OUT_FLOATS, sizeof alone);
    double most = 0, off = 0;
    for (int i = 0; i < MANY * OUT_FLOATS; i++) {
        most = fmax(most, fabs((double)plain[i]));
        off = fmax(off, fabs((double)plain[i] - (double)found[i]));
    }
    assert_true(most > .1 && off > 0); /* they are two ways */
    if (!(off <= 2e-5 * fmax(1, most)))
        fail_msg("off by %g of %g", off, most);
    size_t count = graph.params.value_count;
    float *gradients[2] = {malloc(count * sizeof(float)), malloc(count * sizeof(float))};
    assert_true(gradients[0] && gradients[1]);
    train_two(&runtime, &graph, &weights, SUMI_CONV_GEMM, images, gradients[0]);
    train_two(&runtime, &graph, &weights, SUMI_CONV_WINOGRAD, images, gradients[1]);
    check_two(&graph.params, gradients[1], gradients[0]);
    free(gradients[0]);
    free(gradients[1]);
    runtime.backend->free(runtime.device, weights.values, 0);
    sumi_graph_free(&graph);
    sumi_runtime_free(&runtime);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        graph_count = atoi(argv[1]);
    if (argc > 2)
        first_seed = (uint64_t)atoll(argv[2]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_graphs),
                                       cmocka_unit_test(test_winograd_in_pieces)};
    return test_has_device() ? cmocka_run_group_tests(tests, NULL, NULL) : SKIPPED;
}
