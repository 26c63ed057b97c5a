/*
 * The residual U-Net against PyTorch in float64 (tests/golden/make_unet.py), on every instruction
 * set that this CPU has, fused and unfused, at two sizes: predictions, the loss, and the gradient
 * of every parameter. And what its layers begin with.
 */
#include "api/golden.h"
#include "cpu/cpu_test.h"

#include <stdio.h>

enum { N = 3, CHANNELS = 3, CLASSES = 5, LIMIT = 512, TARGET_OFFSET = 50 };

static const sumi_unet_config config = {.channels = CHANNELS,
                                        .width = 24,
                                        .levels = 3,
                                        .multipliers = {1, 2, 3},
                                        .blocks = {1, 2, 1},
                                        .embedding = 32,
                                        .classes = CLASSES,
                                        .time_lowest = .003f,
                                        .time_highest = 3};

typedef struct {
    sumi_tensor_file file;
    sumi_pool *pool;
    sumi_graph graph;
} fixture;

static fixture golden; /* read by all tests */

/* value() of make_unet.py. */
static float value(int index, const sumi_param *param, size_t i)
{
    double u = golden_uniform(index, i);
    bool norm = strstr(param->name, "norm") != NULL;
    switch (param->kind) {
    case SUMI_PARAM_GAMMA:
        return (float)(i % 8 == 3 ? -0.5 - u : 0.5 + u);
    case SUMI_PARAM_BETA:
    case SUMI_PARAM_BIAS:
        return (float)(0.5 * u - (norm ? 0.25 : 0.125));
    case SUMI_PARAM_ROWS:
        return (float)(2 * u - 1);
    default:
        return golden_value(index, param, i, false);
    }
}

static void fill(sumi_params *params)
{
    for (int p = 0; p < params->count; p++) {
        const sumi_param *param = &params->items[p];
        float *values = malloc(param->count * sizeof *values);
        assert_non_null(values);
        for (size_t i = 0; i < param->count; i++)
            values[i] = value(p, param, i);
        sumi_param_import(param, values, params->values);
        free(values);
    }
}

static int set_up(void **state)
{
    (void)state;
    sumi_error err = {""};
    golden_open(SUMI_TEST_DIR "/golden/unet.safetensors", &golden.file);
    sumi_build_unet(&golden.graph, &config);
    assert_string_equal(golden.graph.error.text, "");
    assert_int_equal(sumi_params_allocate(&golden.graph.params, &err), SUMI_OK);
    fill(&golden.graph.params);
    return sumi_pool_create(0, &golden.pool, &err) == SUMI_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    sumi_graph_free(&golden.graph);
    sumi_pool_free(golden.pool);
    sumi_tensor_file_free(&golden.file);
    return 0;
}

typedef struct {
    const sumi_kernels *kernels;
    int batch, h, w;
    bool unfused;
    char key[16]; /* "16x16" */
    sumi_inputs in;
    float *x, *target, time[N];
    int32_t labels[N];
} golden_case;

static golden_case open_case(const sumi_kernels *kernels, int which, bool unfused)
{
    static const int sizes[2][2] = {{16, 16}, {12, 20}};
    golden_case c = {.kernels = kernels,
                     .batch = 200 + which,
                     .h = sizes[which][0],
                     .w = sizes[which][1],
                     .unfused = unfused};
    size_t count = (size_t)N * (size_t)c.h * (size_t)c.w * CHANNELS;
    int32_t *t = golden_timesteps(c.batch, N);
    snprintf(c.key, sizeof c.key, "%dx%d", c.h, c.w);
    c.x = golden_noise(c.batch, count);
    c.target = golden_noise(c.batch + TARGET_OFFSET, count);
    for (int i = 0; i < N; i++) {
        c.time[i] = (float)t[i];
        c.labels[i] = i * 3 % (CLASSES + 1) - 1;
    }
    free(t);
    return c;
}

static void close_case(golden_case *c)
{
    free(c->x);
    free(c->target);
}

static sumi_network *network_of(const golden_case *c, sumi_mode mode)
{
    sumi_plan_config plan = {
        .mode = mode, .n_max = N, .h = c->h, .w = c->w, .unfused = c->unfused, .force = -1};
    sumi_network *network = NULL;
    sumi_error err = {""};
    sumi_network_create(&golden.graph, c->kernels, golden.pool, &plan, &network, &err);
    assert_string_equal(err.text, "");
    return network;
}

static sumi_inputs inputs_of(const golden_case *c)
{
    return (sumi_inputs){.image = c->x, .time = c->time, .labels = c->labels, .target = c->target};
}

static void check_prediction(const golden_case *c)
{
    size_t count = (size_t)N * (size_t)c->h * (size_t)c->w * CHANNELS;
    float *out = calloc(count, sizeof *out);
    char name[64];
    const sumi_inputs in = inputs_of(c);
    sumi_network *network = network_of(c, SUMI_MODE_PREDICT);
    sumi_network_predict(network, &in, N, &out);
    snprintf(name, sizeof name, "predict.%s", c->key);
    double distance = golden_distance(&golden.file, name, out, count);
    print_message("%s %s %s: %.1e\n", c->kernels->name, c->key, c->unfused ? "unfused" : "fused",
                  distance);
    assert_true(distance <= 2e-5);
    sumi_network_free(network);
    free(out);
}

static double stored(const char *what, const golden_case *c, const char *name)
{
    char key[2 * SUMI_NAME_MAX];
    size_t one;
    snprintf(key, sizeof key, "%s.%s%s%s", what, c->key, *name ? "." : "", name);
    double *number = golden_tensor(&golden.file, key, &one), value = *number;
    free(number);
    return value;
}

/* The distance of the stored elements, or that of the whole norm if it is larger, relative. */
static double gradient_error(const golden_case *c, const sumi_param *param, const float *got)
{
    char key[2 * SUMI_NAME_MAX];
    size_t count, stride = golden_stride(param->count, LIMIT);
    snprintf(key, sizeof key, "gradient.%s.%s", c->key, param->name);
    double *want = golden_tensor(&golden.file, key, &count);
    assert_int_equal(count, (param->count + stride - 1) / stride);
    double difference = 0, norm = stored("norm", c, param->name), whole = 0;
    for (size_t i = 0; i < count; i++)
        difference += (got[i * stride] - want[i]) * (got[i * stride] - want[i]);
    for (size_t i = 0; i < param->count; i++)
        whole += (double)got[i] * (double)got[i];
    free(want);
    double distance = sqrt(difference * (double)param->count / (double)count);
    return fmax(distance, fabs(sqrt(whole) - norm)) / norm;
}

static void check_gradients(const golden_case *c)
{
    const sumi_params *params = &golden.graph.params;
    float *gradients = calloc(params->value_count, sizeof *gradients);
    float *got = calloc(params->value_count, sizeof *got);
    const sumi_inputs in = inputs_of(c);
    sumi_network *network = network_of(c, SUMI_MODE_TRAIN);
    double loss = sumi_network_gradients(network, &in, N, gradients), worst = 0;
    const char *worst_name = "";
    assert_true(fabs(loss - stored("loss", c, "")) <= 1e-5 * loss);
    for (int p = 0; p < params->count; p++) {
        const sumi_param *param = &params->items[p];
        sumi_param_export(param, gradients, got);
        double error = gradient_error(c, param, got);
        if (!(error <= 1e-4))
            fail_msg("%s %s: gradient of %s is off by %.2e", c->kernels->name, c->key, param->name,
                     error);
        worst_name = error > worst ? param->name : worst_name;
        worst = fmax(error, worst);
    }
    print_message("%s %s %s: gradients within %.1e (%s)\n", c->kernels->name, c->key,
                  c->unfused ? "unfused" : "fused", worst, worst_name);
    sumi_network_free(network);
    free(gradients);
    free(got);
}

static void each_case(void (*check)(const golden_case *c))
{
    const sumi_kernels *kernels;
    for (int i = 0; (kernels = sumi_kernels_list(i)) != NULL; i++)
        for (int k = 0; k < 4; k++) {
            golden_case c = open_case(kernels, k / 2, k % 2);
            check(&c);
            close_case(&c);
        }
}

static void test_predictions(void **state)
{
    (void)state;
    each_case(check_prediction);
}

static void test_gradients(void **state)
{
    (void)state;
    each_case(check_gradients);
}

/* Blocks begin as their shortcuts, the whole as zero; the rows of labels are half as large as
 * PyTorch's. */
static void test_initial_values(void **state)
{
    (void)state;
    sumi_graph graph;
    sumi_build_unet(&graph, &config);
    assert_int_equal(sumi_params_allocate(&graph.params, NULL), SUMI_OK);
    sumi_params_init(&graph.params, 3);
    int zero = 0;
    for (int p = 0; p < graph.params.count; p++) {
        const sumi_param *param = &graph.params.items[p];
        double sum = 0;
        for (size_t i = 0; i < param->count; i++)
            sum += pow((double)graph.params.values[param->offset + i], 2);
        bool from_zero = strstr(param->name, "conv2.") || strstr(param->name, "modulation.") ||
                         strncmp(param->name, "last.", 5) == 0;
        if (param->kind != SUMI_PARAM_BETA)
            assert_int_equal(sum == 0, from_zero);
        zero += from_zero;
        if (strcmp(param->name, "label.weight") == 0)
            assert_true(fabs(sqrt(sum / (double)param->count) - .5) < .1);
    }
    assert_int_equal(zero, 4 * 8 + 2);
    sumi_graph_free(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_predictions),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_initial_values),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
