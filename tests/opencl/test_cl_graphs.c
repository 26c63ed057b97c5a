/*
 * Predictions of random graphs of all operations on a device, against the plain computation in
 * double that the CPU's backend is held to. An argument is how many graphs are drawn, a second the
 * first seed. How far a result may be off is what noise of the size of rounding does to it in that
 * graph: see tests/cpu/test_random_graphs.c.
 */
#include <math.h>
#include <string.h>

#include "opencl/cl_test.h"

#include "cpu/random_graph.h"
#include "cpu/reference.h"

enum { N_MAX = 3, SIDE_MAX = 12, CHANNELS_MAX = 96, DRAWS = 12 };
enum { FLOATS = N_MAX * SIDE_MAX * SIDE_MAX * CHANNELS_MAX };
static const double SPREAD = 1e-6, TIMES = 8, FLOOR = 0.1;

static int graph_count = 30;
static uint64_t first_seed = 1;

typedef struct {
    sumi_graph graph;
    int n, h, w;
    float image[FLOATS], time[N_MAX];
    int32_t labels[N_MAX];
    sumi_inputs in;
} sample;

static void sample_open(sample *s, uint64_t seed)
{
    dice d = {seed, 0};
    memset(s, 0, sizeof *s);
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
    }
    const sumi_random at = {seed, SUMI_STREAM_USER, 2, 0};
    sumi_random_normals(&at, 0, s->image, FLOATS);
    s->in = (sumi_inputs){.image = s->image, .time = s->time, .labels = s->labels};
}

/* The root of the mean square of what some draws of noise do to output i. */
static double noise_of(const reference *quiet, const sample *s, uint64_t seed, int i)
{
    reference noisy;
    double sum = 0;
    int value = s->graph.outputs[i].value;
    reference_open(&noisy, &s->graph, s->n, s->h, s->w, false);
    noisy.in = s->in;
    for (int k = 0; k < DRAWS; k++) {
        noisy.noise = (reference_noise){0, SPREAD, seed * DRAWS + (uint64_t)k};
        reference_run(&noisy);
        for (size_t j = 0; j < reference_count(quiet, value); j++) {
            double off = noisy.values[value][j] - quiet->values[value][j];
            sum += off * off / DRAWS;
        }
    }
    reference_close(&noisy);
    return sqrt(sum);
}

/* What a device has of a buffer of the host. */
static void *send(sumi_runtime *runtime, const void *host, size_t bytes)
{
    void *memory = runtime->backend->alloc(runtime->device, bytes);
    assert_non_null(memory);
    runtime->backend->upload(runtime->device, memory, host, bytes);
    return memory;
}

static void run_on_device(sumi_runtime *runtime, sample *s, uint64_t seed, float **out)
{
    const sumi_backend *backend = runtime->backend;
    sumi_params *params = &s->graph.params;
    sumi_plan_config config = {
        .mode = SUMI_MODE_PREDICT, .n_max = s->n, .h = s->h, .w = s->w, .force = -1};
    sumi_error err = {""};
    sumi_network *net = NULL;
    float *found[SUMI_OUTPUTS_MAX] = {NULL};
    const sumi_weights weights = {
        send(runtime, params->values, params->value_count * sizeof(float)),
        send(runtime, params->statistics, params->statistic_count * sizeof(float))};
    sumi_inputs in = {.image = send(runtime, s->image, sizeof s->image),
                      .time = send(runtime, s->time, sizeof s->time),
                      .labels = send(runtime, s->labels, sizeof s->labels)};
    if (backend->network_create(runtime->device, &s->graph, &weights, &config, &net, &err) !=
        SUMI_OK)
        fail_msg("seed %llu: %s", (unsigned long long)seed, err.text);
    for (int i = 0; i < s->graph.output_count; i++)
        found[i] = backend->alloc(runtime->device, FLOATS * sizeof(float));
    backend->predict(net, &in, s->n, found);
    for (int i = 0; i < s->graph.output_count; i++) {
        backend->download(runtime->device, out[i], found[i], FLOATS * sizeof(float));
        backend->free(runtime->device, found[i], FLOATS * sizeof(float));
    }
    test_ok(backend->status(runtime->device, &err), &err);
    backend->network_free(net);
    backend->free(runtime->device, weights.values, 0);
    backend->free(runtime->device, weights.statistics, 0);
    backend->free(runtime->device, (void *)in.image, 0);
    backend->free(runtime->device, (void *)in.time, 0);
    backend->free(runtime->device, (void *)in.labels, 0);
}

static void test_random_graphs(void **state)
{
    (void)state;
    static sample s;
    float *out[SUMI_OUTPUTS_MAX];
    sumi_runtime runtime = test_runtime(true);
    for (int i = 0; i < SUMI_OUTPUTS_MAX; i++)
        assert_non_null(out[i] = malloc(FLOATS * sizeof(float)));
    for (uint64_t seed = first_seed; seed < first_seed + (uint64_t)graph_count; seed++) {
        reference quiet;
        sample_open(&s, seed);
        reference_open(&quiet, &s.graph, s.n, s.h, s.w, false);
        quiet.in = s.in;
        reference_run(&quiet);
        run_on_device(&runtime, &s, seed, out);
        for (int i = 0; i < s.graph.output_count; i++) {
            const double *expected = quiet.values[s.graph.outputs[i].value];
            double off = 0, size = 0;
            for (size_t j = 0; j < reference_count(&quiet, s.graph.outputs[i].value); j++) {
                double d = (double)out[i][j] - expected[j];
                off += d * d;
                size += expected[j] * expected[j];
            }
            double noise = noise_of(&quiet, &s, seed, i);
            if (!(sqrt(off) <= TIMES * (noise + FLOOR * SPREAD * sqrt(size))))
                fail_msg("seed %llu: output %d is off by %g of %g, where noise makes %g",
                         (unsigned long long)seed, i, sqrt(off), sqrt(size), noise);
        }
        reference_close(&quiet);
        sumi_graph_free(&s.graph);
    }
    for (int i = 0; i < SUMI_OUTPUTS_MAX; i++)
        free(out[i]);
    sumi_runtime_free(&runtime);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        graph_count = atoi(argv[1]);
    if (argc > 2)
        first_seed = (uint64_t)atoll(argv[2]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_graphs)};
    return test_has_device() ? cmocka_run_group_tests(tests, NULL, NULL) : SKIPPED;
}
