/*
 * Random graphs of all operations: fused and unfused, on each table of kernels that this CPU has
 * and in each precision, against a plain computation in double, forward and backward, and against
 * each other; and that computation's gradients against finite differences of itself. An argument is
 * how many graphs are drawn, a second the first seed; SUMI_ISA names the only table.
 *
 * How far a result may be off is computed for each graph: rounding is imitated in double by noise
 * of its size at the places where it happens, and what the noise does to a result, times a
 * constant, is what rounding may do. So a graph that is ill-conditioned (a group norm of few
 * numbers that are nearly equal) is not held to what it cannot keep, and the others are held to a
 * few 1e-6.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/cpu.h"
#include "cpu/random_graph.h"
#include "cpu/reference.h"
#include "sanitized.h"

enum { N_MAX = 3, SIDE_MAX = 12, CHANNELS_MAX = 8, TABLES_MAX = 8 };
#define OUTPUT_FLOATS (N_MAX * SIDE_MAX * SIDE_MAX * CHANNELS_MAX)

/* Of what noise does, and of what it does to all gradients: the noise of some draws may happen to
 * cancel in a result of few numbers. */
static const double TIMES = 8, FLOOR = 0.1;
/* More draws are taken before a result is called wrong: where numbers are rounded coarsely, one may
 * have changed sides at a kink of a ReLU or at a tie of maxima as it does in few of them. */
enum { FEW_DRAWS = 4, MANY_DRAWS = 400 };

/* Sanitizers find their faults in fewer of them, and take six times as long for each. */
static int graph_count = SANITIZED ? 40 : 200;
static uint64_t first_seed = 1;
static const sumi_kernels *tables[TABLES_MAX]; /* asking for them is slow */

/* Of float32, transforms of Winograd's lose some bits in proportion to a tensor's size. A bfloat16
 * has 8 bits, so that nearest is within 2^-9 of a number; twice that, since what passes through two
 * parts or accumulates is rounded more than once. 16-bit integers: docs/KERNELS.md. */
typedef struct {
    sumi_precision precision;
    const char *name;
    double relative, spread; /* see reference_noise */
} rounding;

static const rounding roundings[] = {
    {SUMI_PRECISION_FP32, "fp32", 0, 1e-6},
    {SUMI_PRECISION_BF16, "bf16", 0x1p-8, 1e-6},
    {SUMI_PRECISION_FIXED16, "fixed16", 0, 5e-4},
};

typedef struct {
    uint64_t seed;
    sumi_graph graph;
    int n, h, w;
    float image[OUTPUT_FLOATS], target[OUTPUT_FLOATS];
    float weight[N_MAX], time[N_MAX], condition[N_MAX * CONDITION_MAX];
    int32_t labels[N_MAX];
    sumi_inputs in, predicted; /* the latter without a condition */
    bool smooth, wide;
} sample;

/* What a network shall compute of a sample in a precision; and the root of the mean square of what
 * some draws of noise do to it. */
typedef struct {
    const sample *of;
    const rounding *how;
    reference training, predicting;
    double loss, outputs[SUMI_OUTPUTS_MAX];
    double *gradients; /* of each parameter's tensor */
    int draws;
    bool doubted; /* something was off by more, but draws were few */
} expectation;

/* What a network computed. */
typedef struct {
    float outputs[SUMI_OUTPUTS_MAX][OUTPUT_FLOATS];
    float *gradients;
    double loss;
} result;

static void *zeros(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    assert_non_null(memory);
    return memory;
}

/* ---- Samples --------------------------------------------------------------------------------- */

static void run_reference(reference *r, const sample *s, bool training)
{
    reference_open(r, &s->graph, s->n, s->h, s->w, training);
    r->in = training ? s->in : s->predicted;
    if (training)
        r->dparams = zeros(s->graph.params.value_count, sizeof(double));
    reference_run(r);
}

/* Near a kink of a ReLU or a tie of maxima, gradients of float and double differ by right: other
 * images are drawn until there is none. */
static void draw_images(sample *s)
{
    for (uint32_t attempt = 0; attempt < 20 && !s->smooth; attempt++) {
        reference r;
        sumi_random at = {s->seed, SUMI_STREAM_USER, 2, attempt};
        sumi_random_normals(&at, 0, s->image, OUTPUT_FLOATS);
        at.step = 3;
        sumi_random_normals(&at, 0, s->target, OUTPUT_FLOATS);
        run_reference(&r, s, true);
        s->smooth = r.kink > 1e-5;
        reference_close(&r);
    }
}

static void sample_open(sample *s, uint64_t seed)
{
    dice d = {seed, 0};
    *s = (sample){.seed = seed};
    s->wide = random_graph(&s->graph, &d);
    if (s->graph.status != SUMI_OK)
        fail_msg("seed %llu: %s", (unsigned long long)seed, s->graph.error.text);
    s->n = s->wide ? 2 : 2 + dice_below(&d, N_MAX - 1);
    s->h = dice_below(&d, 2) || s->wide ? 8 : 12;
    s->w = dice_below(&d, 2) || s->wide ? 8 : 12;
    if (s->graph.pads) {
        s->h = s->wide ? 8 - dice_below(&d, 4) : 4 + dice_below(&d, 9);
        s->w = s->wide ? 8 - dice_below(&d, 4) : 4 + dice_below(&d, 9);
    }
    for (int i = 0; i < s->n; i++) {
        s->weight[i] = 0.5f + (float)i;
        s->time[i] = dice_below(&d, 2) ? (float)(1 + dice_below(&d, 1000)) : 0.25f + (float)i;
        s->labels[i] = s->graph.labels >= 0 ? dice_below(&d, s->graph.classes + 1) - 1 : 0;
    }
    const sumi_random told = {seed, SUMI_STREAM_USER, 4, 0};
    sumi_random_normals(&told, 0, s->condition, N_MAX * CONDITION_MAX);
    s->in = (sumi_inputs){.image = s->image,
                          .time = s->time,
                          .labels = s->labels,
                          .condition = dice_below(&d, 4) ? s->condition : NULL,
                          .target = s->target,
                          .weight = dice_below(&d, 2) ? s->weight : NULL};
    s->predicted = s->in;
    s->predicted.condition = NULL;
    draw_images(s);
}

/* ---- Expectations ---------------------------------------------------------------------------- */

/* Length of numbers, or of a difference. */
static double length(const double *a, const double *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double d = b ? a[i] - b[i] : a[i];
        sum += d * d;
    }
    return sqrt(sum);
}

static double distance(const float *a, const double *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)a[i] - b[i];
        sum += d * d;
    }
    return sqrt(sum);
}

static double float_distance(const float *a, const float *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return sqrt(sum);
}

/* Adds the mean square of what one draw of noise did. */
static void add_draw(expectation *e, const reference *noisy)
{
    const sumi_graph *graph = noisy->graph;
    const reference *quiet = noisy->training ? &e->training : &e->predicting;
    for (int i = 0; i < graph->output_count && !noisy->training; i++) {
        int value = graph->outputs[i].value;
        double off =
            length(noisy->values[value], quiet->values[value], reference_count(noisy, value));
        e->outputs[i] += off * off / e->draws;
    }
    if (!noisy->training)
        return;
    e->loss += (noisy->loss - quiet->loss) * (noisy->loss - quiet->loss) / e->draws;
    for (int i = 0; i < graph->params.count; i++) {
        const sumi_param *param = &graph->params.items[i];
        if (!sumi_param_trainable(param))
            continue;
        double off =
            length(noisy->dparams + param->offset, quiet->dparams + param->offset, param->count);
        e->gradients[i] += off * off / e->draws;
    }
}

/* Layers compute with weights rounded to bfloat16, which is part of what is asked for. */
static void round_weights(reference *r)
{
    for (int i = 0; i < r->graph->params.count; i++) {
        const sumi_param *param = &r->graph->params.items[i];
        bool weight = param->kind == SUMI_PARAM_CONV || param->kind == SUMI_PARAM_LINEAR;
        for (size_t j = param->offset; j < param->offset + param->count && weight; j++) {
            float x = (float)r->params[j];
            tables[0]->round_bf16(&x, &x, 1);
            r->params[j] = (double)x;
        }
    }
}

static void expectation_open(expectation *e, const sample *s, const rounding *how, int draws)
{
    *e = (expectation){.of = s, .how = how, .draws = draws};
    e->gradients = zeros((size_t)s->graph.params.count, sizeof(double));
    for (int training = 0; training < 2; training++) {
        reference *quiet = training ? &e->training : &e->predicting, noisy;
        run_reference(quiet, s, training);
        run_reference(&noisy, s, training);
        if (how->precision == SUMI_PRECISION_BF16) {
            round_weights(quiet);
            round_weights(&noisy);
            reference_run(quiet);
        }
        for (int i = 0; i < draws; i++) {
            noisy.noise =
                (reference_noise){how->relative, how->spread, s->seed * MANY_DRAWS + (uint64_t)i};
            reference_run(&noisy);
            add_draw(e, &noisy);
        }
        reference_close(&noisy);
    }
    e->loss = sqrt(e->loss);
    for (int i = 0; i < s->graph.output_count; i++)
        e->outputs[i] = sqrt(e->outputs[i]);
    for (int i = 0; i < s->graph.params.count; i++)
        e->gradients[i] = sqrt(e->gradients[i]);
}

static void expectation_close(expectation *e)
{
    reference_close(&e->training);
    reference_close(&e->predicting);
    free(e->gradients);
}

/* ---- Networks -------------------------------------------------------------------------------- */

static sumi_network *network(const expectation *e, const sumi_kernels *kernels, sumi_pool *pool,
                             sumi_mode mode, bool unfused, int timesteps)
{
    const sample *s = e->of;
    sumi_plan_config config = {.mode = mode,
                               .n_max = s->n,
                               .h = s->h,
                               .w = s->w,
                               .precision = e->how->precision,
                               .unfused = unfused,
                               .force = -1,
                               .timesteps = timesteps};
    sumi_network *net = NULL;
    sumi_error err = {""};
    if (sumi_network_create(&s->graph, kernels, pool, &config, &net, &err) != SUMI_OK)
        fail_msg("seed %llu: %s", (unsigned long long)s->seed, err.text);
    if (getenv("SUMI_PRINT_PLAN")) {
        char *text = sumi_network_describe(net);
        fputs(text ? text : "", stderr);
        free(text);
    }
    return net;
}

/* what: in words; off: how far it is; noise: what noise does to it; size: of all that belongs to it
 */
static void check(expectation *e, const char *isa, const char *executor, const char *what,
                  double off, double noise, double size)
{
    double floor = FLOOR * (e->how->spread + e->how->relative / 4);
    bool fits = off <= TIMES * (noise + floor * size);
    e->doubted |= !fits;
    if (!fits && e->draws == MANY_DRAWS)
        fail_msg("seed %llu, %s, %s, %s: %s is off by %g of %g, where noise makes %g",
                 (unsigned long long)e->of->seed, e->how->name, isa, executor, what, off, size,
                 noise);
}

static void check_result(expectation *e, const char *isa, bool unfused, const result *found,
                         const result *fused)
{
    const sumi_graph *graph = &e->of->graph;
    const char *executor = unfused ? "unfused" : "fused", *both = "fused and unfused";
    for (int i = 0; i < graph->output_count; i++) {
        const double *expected = e->predicting.values[graph->outputs[i].value];
        size_t count = reference_count(&e->predicting, graph->outputs[i].value);
        double size = length(expected, NULL, count);
        check(e, isa, executor, graph->outputs[i].name,
              distance(found->outputs[i], expected, count), e->outputs[i], size);
        if (fused)
            check(e, isa, both, graph->outputs[i].name,
                  float_distance(found->outputs[i], fused->outputs[i], count), e->outputs[i], size);
    }
    check(e, isa, executor, "the loss", fabs(found->loss - e->training.loss), e->loss,
          e->training.loss);
    double size = length(e->training.dparams, NULL, graph->params.value_count);
    for (int i = 0; i < graph->params.count && e->of->smooth; i++) {
        const sumi_param *param = &graph->params.items[i];
        if (!sumi_param_trainable(param))
            continue;
        check(e, isa, executor, param->name,
              distance(found->gradients + param->offset, e->training.dparams + param->offset,
                       param->count),
              e->gradients[i], size);
        if (fused)
            check(e, isa, both, param->name,
                  float_distance(found->gradients + param->offset, fused->gradients + param->offset,
                                 param->count),
                  e->gradients[i], size);
    }
}

static void run_network(const expectation *e, const sumi_kernels *kernels, sumi_pool *pool,
                        bool unfused, result *out)
{
    const sample *s = e->of;
    float *outputs[SUMI_OUTPUTS_MAX];
    for (int i = 0; i < SUMI_OUTPUTS_MAX; i++)
        outputs[i] = out->outputs[i];
    sumi_network *net = network(e, kernels, pool, SUMI_MODE_PREDICT, unfused, 1000);
    /* The second time, packed weights and rows of time are there. */
    static float first[OUTPUT_FLOATS];
    sumi_network_predict(net, &s->predicted, s->n, outputs);
    memcpy(first, out->outputs[0], sizeof first);
    sumi_network_predict(net, &s->predicted, s->n, outputs);
    size_t count = reference_count(&e->predicting, s->graph.outputs[0].value);
    if (memcmp(first, out->outputs[0], count * sizeof *first) != 0)
        fail_msg("seed %llu: the second prediction differs", (unsigned long long)s->seed);
    sumi_network_free(net);
    net = network(e, kernels, pool, SUMI_MODE_TRAIN, unfused, 0);
    out->loss = sumi_network_gradients(net, &s->in, s->n, out->gradients);
    sumi_network_free(net);
}

/* False where more draws are to decide. */
static bool check_sample(const sample *s, const rounding *how, int draws, sumi_pool *pool)
{
    static result results[2];
    expectation e;
    expectation_open(&e, s, how, draws);
    for (int i = 0; i < 2; i++)
        results[i].gradients = zeros(s->graph.params.value_count, sizeof(float));
    for (int table = 0; tables[table]; table++)
        for (int unfused = 0; unfused < 2; unfused++) {
            run_network(&e, tables[table], pool, unfused, &results[unfused]);
            check_result(&e, tables[table]->name, unfused, &results[unfused],
                         unfused ? &results[0] : NULL);
        }
    for (int i = 0; i < 2; i++)
        free(results[i].gradients);
    expectation_close(&e);
    return !e.doubted;
}

static void test_against_the_reference(void **state)
{
    (void)state;
    sumi_pool *pool = NULL;
    int smooth = 0;
    assert_int_equal(sumi_pool_create(2, &pool, NULL), SUMI_OK);
    for (int i = 0; i < graph_count; i++) {
        static sample s;
        sample_open(&s, first_seed + (uint64_t)i);
        smooth += s.smooth;
        for (size_t k = 0; k < sizeof roundings / sizeof *roundings; k++)
            if ((roundings[k].precision != SUMI_PRECISION_FIXED16 || s.wide) &&
                !check_sample(&s, &roundings[k], FEW_DRAWS, pool))
                check_sample(&s, &roundings[k], MANY_DRAWS, pool);
        sumi_graph_free(&s.graph);
    }
    assert_true(smooth >= graph_count * 19 / 20);
    sumi_pool_free(pool);
}

/* Along the gradient of one tensor the slope is its size. */
static void check_slope(const sample *s, reference *r, const sumi_param *param)
{
    double *g = calloc(param->count, sizeof *g), size = 0, loss[2], step = 1e-5;
    assert_non_null(g);
    for (size_t i = 0; i < param->count; i++) {
        g[i] = r->dparams[param->offset + i];
        size += g[i] * g[i];
    }
    size = sqrt(size);
    double *keep = r->dparams;
    r->dparams = NULL;
    for (int side = 0; side < 2 && size > 1e-6; side++) {
        for (size_t i = 0; i < param->count; i++)
            r->params[param->offset + i] += (side ? 2 : -1) * step * g[i] / size;
        reference_run(r);
        loss[side] = r->loss;
    }
    for (size_t i = 0; i < param->count && size > 1e-6; i++)
        r->params[param->offset + i] -= step * g[i] / size;
    r->dparams = keep;
    free(g);
    if (size <= 1e-6)
        return;
    double slope = (loss[1] - loss[0]) / (2 * step);
    if (!(fabs(slope - size) <= 1e-3 * size + 1e-5))
        fail_msg("seed %llu: the slope along the gradient of %s is %g, expected %g",
                 (unsigned long long)s->seed, param->name, slope, size);
}

static void test_reference_against_differences(void **state)
{
    (void)state;
    for (int i = 0; i < graph_count / 10; i++) {
        static sample s;
        reference r;
        sample_open(&s, first_seed + (uint64_t)i);
        run_reference(&r, &s, true);
        for (int p = 0; p < s.graph.params.count && r.kink > 1e-3; p++)
            if (sumi_param_trainable(&s.graph.params.items[p]))
                check_slope(&s, &r, &s.graph.params.items[p]);
        reference_close(&r);
        sumi_graph_free(&s.graph);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_the_reference),
        cmocka_unit_test(test_reference_against_differences),
    };
    if (argc > 1)
        graph_count = atoi(argv[1]);
    for (int i = 0; i < TABLES_MAX - 1 && sumi_kernels_list(i); i++)
        tables[i] = sumi_kernels_list(i);
    if (getenv("SUMI_ISA")) {
        tables[0] = sumi_kernels_pick(getenv("SUMI_ISA"));
        tables[1] = NULL;
    }
    if (!tables[0])
        return EXIT_FAILURE;
    if (argc > 2)
        first_seed = strtoull(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
