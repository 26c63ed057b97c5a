/*
 * Random graphs of all operations: fused and unfused, on each table of kernels that this CPU has,
 * against a plain computation in double, forward and backward; and that one's gradients against
 * finite differences of itself. An argument is how many graphs are drawn, a second the first seed.
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

enum { N_MAX = 3, SIDE_MAX = 12, CHANNELS_MAX = 8, CLASSES_MAX = 8 };

static int graph_count = 200;
static uint64_t first_seed = 1;

typedef struct {
    uint64_t seed;
    sumi_graph graph;
    int n, h, w;
    float image[N_MAX * SIDE_MAX * SIDE_MAX * CHANNELS_MAX];
    float target[N_MAX * SIDE_MAX * SIDE_MAX * CHANNELS_MAX];
    float weight[N_MAX], time[N_MAX];
    int32_t labels[N_MAX];
    sumi_inputs in;
    reference training, predicting;
} sample;

static void sample_open(sample *s, uint64_t seed)
{
    dice d = {seed, 0};
    sumi_random at = {seed, SUMI_STREAM_USER, 2, 0};
    s->seed = seed;
    random_graph(&s->graph, &d);
    if (s->graph.status != SUMI_OK)
        fail_msg("seed %llu: %s", (unsigned long long)seed, s->graph.error.text);
    s->n = 2 + dice_below(&d, N_MAX - 1);
    s->h = dice_below(&d, 2) ? 8 : 12;
    s->w = dice_below(&d, 2) ? 8 : 12;
    sumi_random_normals(&at, 0, s->image, sizeof s->image / sizeof(float));
    at.step = 3;
    sumi_random_normals(&at, 0, s->target, sizeof s->target / sizeof(float));
    for (int i = 0; i < s->n; i++) {
        s->weight[i] = 0.5f + (float)i;
        s->time[i] = dice_below(&d, 2) ? (float)(1 + dice_below(&d, 1000)) : 0.25f + (float)i;
        s->labels[i] = s->graph.labels >= 0 ? dice_below(&d, s->graph.classes + 1) - 1 : 0;
    }
    s->in = (sumi_inputs){.image = s->image,
                          .time = s->time,
                          .labels = s->labels,
                          .target = s->target,
                          .weight = dice_below(&d, 2) ? s->weight : NULL};
    for (int training = 0; training < 2; training++) {
        reference *r = training ? &s->training : &s->predicting;
        reference_open(r, &s->graph, s->n, s->h, s->w, training);
        r->in = s->in;
        if (training)
            r->dparams = calloc(s->graph.params.value_count + 1, sizeof(double));
        reference_run(r);
    }
}

static void sample_close(sample *s)
{
    reference_close(&s->training);
    reference_close(&s->predicting);
    sumi_graph_free(&s->graph);
}

static double relative(const float *found, const double *expected, size_t count, double floor)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)found[i] - expected[i];
        difference += d * d;
        size += expected[i] * expected[i];
    }
    return sqrt(difference) / fmax(sqrt(size), floor);
}

static sumi_network *network(const sample *s, const sumi_kernels *kernels, sumi_pool *pool,
                             sumi_mode mode, bool unfused, int timesteps)
{
    sumi_plan_config config = {.mode = mode,
                               .n_max = s->n,
                               .h = s->h,
                               .w = s->w,
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

static void check_outputs(const sample *s, const char *isa, bool unfused, float *const *out)
{
    for (int i = 0; i < s->graph.output_count; i++) {
        int value = s->graph.outputs[i].value;
        double error = relative(out[i], s->predicting.values[value],
                                reference_count(&s->predicting, value), 1e-3);
        if (!(error < 2e-4))
            fail_msg("seed %llu, %s, %s: output %s is off by %g", (unsigned long long)s->seed, isa,
                     unfused ? "unfused" : "fused", s->graph.outputs[i].name, error);
    }
}

static void check_predicting(const sample *s, const sumi_kernels *kernels, sumi_pool *pool,
                             bool unfused)
{
    static float room[SUMI_OUTPUTS_MAX][N_MAX * SIDE_MAX * SIDE_MAX * CHANNELS_MAX];
    float *out[SUMI_OUTPUTS_MAX] = {room[0], room[1], room[2], room[3]};
    sumi_network *net = network(s, kernels, pool, SUMI_MODE_PREDICT, unfused, 1000);
    for (int i = 0; i < 2; i++) { /* the second time, packed weights and rows of time are there */
        sumi_network_predict(net, &s->in, s->n, out);
        check_outputs(s, kernels->name, unfused, out);
    }
    sumi_network_free(net);
}

/* Near a kink of a ReLU or a tie of maxima, gradients of float and double may differ by right. */
static bool is_smooth(const sample *s)
{
    return s->training.kink > 1e-5;
}

static void check_training(const sample *s, const sumi_kernels *kernels, sumi_pool *pool,
                           bool unfused)
{
    const sumi_params *params = &s->graph.params;
    float *gradients = calloc(params->value_count + 1, sizeof *gradients);
    double all = 0;
    assert_non_null(gradients);
    sumi_network *net = network(s, kernels, pool, SUMI_MODE_TRAIN, unfused, 0);
    double loss = sumi_network_gradients(net, &s->in, s->n, gradients);
    if (!(fabs(loss - s->training.loss) <= 1e-4 * fabs(s->training.loss)))
        fail_msg("seed %llu, %s, %s: the loss is %g, expected %g", (unsigned long long)s->seed,
                 kernels->name, unfused ? "unfused" : "fused", loss, s->training.loss);
    for (size_t i = 0; i < params->value_count; i++)
        all += s->training.dparams[i] * s->training.dparams[i];
    for (int i = 0; i < params->count && is_smooth(s); i++) {
        const sumi_param *param = &params->items[i];
        if (!sumi_param_trainable(param))
            continue;
        double error = relative(gradients + param->offset, s->training.dparams + param->offset,
                                param->count, 1e-2 * sqrt(all) + 1e-12);
        if (!(error < 5e-3))
            fail_msg("seed %llu, %s, %s: the gradient of %s is off by %g",
                     (unsigned long long)s->seed, kernels->name, unfused ? "unfused" : "fused",
                     param->name, error);
    }
    sumi_network_free(net);
    free(gradients);
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
        smooth += is_smooth(&s);
        for (int table = 0; sumi_kernels_list(table); table++)
            for (int unfused = 0; unfused < 2; unfused++) {
                check_predicting(&s, sumi_kernels_list(table), pool, unfused);
                check_training(&s, sumi_kernels_list(table), pool, unfused);
            }
        sample_close(&s);
    }
    assert_true(smooth >= graph_count * 3 / 4);
    sumi_pool_free(pool);
}

/* Along the gradient of one tensor the slope is its length. */
static void check_slope(sample *s, const sumi_param *param)
{
    reference *r = &s->training;
    double *g = calloc(param->count, sizeof *g), length = 0, loss[2], step = 1e-5;
    assert_non_null(g);
    for (size_t i = 0; i < param->count; i++) {
        g[i] = r->dparams[param->offset + i];
        length += g[i] * g[i];
    }
    length = sqrt(length);
    double *keep = r->dparams;
    r->dparams = NULL;
    for (int side = 0; side < 2 && length > 1e-6; side++) {
        for (size_t i = 0; i < param->count; i++)
            r->params[param->offset + i] += (side ? 2 : -1) * step * g[i] / length;
        reference_run(r);
        loss[side] = r->loss;
    }
    for (size_t i = 0; i < param->count && length > 1e-6; i++)
        r->params[param->offset + i] -= step * g[i] / length;
    r->dparams = keep;
    free(g);
    if (length <= 1e-6)
        return;
    double slope = (loss[1] - loss[0]) / (2 * step);
    if (!(fabs(slope - length) <= 1e-3 * length + 1e-5))
        fail_msg("seed %llu: the slope along the gradient of %s is %g, expected %g",
                 (unsigned long long)s->seed, param->name, slope, length);
}

static void test_reference_against_differences(void **state)
{
    (void)state;
    for (int i = 0; i < graph_count / 10; i++) {
        static sample s;
        sample_open(&s, first_seed + (uint64_t)i);
        for (int p = 0; p < s.graph.params.count && s.training.kink > 1e-3; p++)
            if (sumi_param_trainable(&s.graph.params.items[p]))
                check_slope(&s, &s.graph.params.items[p]);
        sample_close(&s);
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
    if (argc > 2)
        first_seed = strtoull(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
