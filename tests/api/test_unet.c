/*
 * The residual U-Net against PyTorch in float64 (tests/golden/make_unet.py), on every instruction
 * set that this CPU has, fused and unfused, at two sizes, with labels, and with attention at sizes
 * that must be padded, and told of what was made of its images: predictions, the loss, the gradient
 * of every parameter, and steps of Adam.
 * And what its layers begin with.
 */
#include "api/golden.h"
#include "cpu/cpu_test.h"

#include <stdio.h>

enum { N_MAX = 3, TARGET_OFFSET = 50, TOLD_OFFSET = 70, STEPS = 4, NETWORKS = 3 };

/* A network, and what PyTorch found of it, as make_unet.py has them. */
typedef struct {
    sumi_unet_config config;
    const char *path;
    int n, batch, limit, sizes[2][2];
} network_of_golden;

static const network_of_golden networks[NETWORKS] = {
    {.config = {.channels = 3,
                .width = 24,
                .levels = 3,
                .multipliers = {1, 2, 3},
                .blocks = {1, 2, 1},
                .embedding = 32,
                .classes = 5,
                .time_lowest = .003f,
                .time_highest = 3},
     .path = SUMI_TEST_DIR "/golden/unet.safetensors",
     .n = 3,
     .batch = 200,
     .limit = 512,
     .sizes = {{16, 16}, {12, 20}}},
    {.config = {.channels = 2,
                .width = 16,
                .levels = 3,
                .multipliers = {1, 2, 3},
                .blocks = {1, 1, 2},
                .attention = {false, true, true},
                .head_channels = 16,
                .embedding = 16,
                .time_lowest = .003f,
                .time_highest = 3},
     .path = SUMI_TEST_DIR "/golden/unet_attention.safetensors",
     .n = 2,
     .batch = 202,
     .limit = 128,
     .sizes = {{13, 18}, {7, 5}}},
    {.config = {.channels = 1,
                .width = 8,
                .levels = 2,
                .multipliers = {1, 2},
                .blocks = {1, 1},
                .embedding = 16,
                .classes = 3,
                .told = 9,
                .time_lowest = .003f,
                .time_highest = 3},
     .path = SUMI_TEST_DIR "/golden/unet_told.safetensors",
     .n = 3,
     .batch = 204,
     .limit = 128,
     .sizes = {{10, 12}, {9, 8}}},
};

typedef struct {
    const network_of_golden *of;
    sumi_tensor_file file;
    sumi_graph graph;
} golden;

static golden goldens[NETWORKS]; /* read by all tests */
static sumi_pool *pool;

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
        return golden_value(index, param, i, false) * (strstr(param->name, "qkv") ? 3 : 1);
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
    for (int i = 0; i < NETWORKS; i++) {
        golden *g = &goldens[i];
        g->of = &networks[i];
        golden_open(g->of->path, &g->file);
        sumi_build_unet(&g->graph, &g->of->config);
        assert_string_equal(g->graph.error.text, "");
        assert_int_equal(sumi_params_allocate(&g->graph.params, &err), SUMI_OK);
        fill(&g->graph.params);
    }
    return sumi_pool_create(0, &pool, &err) == SUMI_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < NETWORKS; i++) {
        sumi_graph_free(&goldens[i].graph);
        sumi_tensor_file_free(&goldens[i].file);
    }
    sumi_pool_free(pool);
    return 0;
}

typedef struct {
    const golden *of;
    const sumi_kernels *kernels;
    int batch, h, w;
    bool unfused;
    char key[16]; /* "16x16" */
    sumi_inputs in;
    float *x, *target, *told, time[N_MAX];
    int32_t labels[N_MAX];
    size_t count; /* of x */
} golden_case;

static golden_case open_case(const golden *of, const sumi_kernels *kernels, int which, bool unfused)
{
    golden_case c = {.of = of,
                     .kernels = kernels,
                     .batch = of->of->batch + which,
                     .h = of->of->sizes[which][0],
                     .w = of->of->sizes[which][1],
                     .unfused = unfused};
    int n = of->of->n;
    size_t count = (size_t)(n * c.h * c.w * of->of->config.channels);
    int32_t *t = golden_timesteps(c.batch, n);
    c.count = count;
    snprintf(c.key, sizeof c.key, "%dx%d", c.h, c.w);
    c.x = golden_noise(c.batch, count);
    c.target = golden_noise(c.batch + TARGET_OFFSET, count);
    if (of->of->config.told > 0)
        c.told = golden_noise(c.batch + TOLD_OFFSET, (size_t)(n * of->of->config.told));
    for (int i = 0; i < n; i++) {
        c.time[i] = (float)t[i];
        c.labels[i] = i * 3 % (of->of->config.classes + 1) - 1;
    }
    free(t);
    return c;
}

static void close_case(golden_case *c)
{
    free(c->x);
    free(c->target);
    free(c->told);
}

static sumi_network *network_of(const golden_case *c, sumi_mode mode)
{
    sumi_plan_config plan = {.mode = mode,
                             .n_max = c->of->of->n,
                             .h = c->h,
                             .w = c->w,
                             .unfused = c->unfused,
                             .force = -1};
    sumi_network *network = NULL;
    sumi_error err = {""};
    sumi_network_create(&c->of->graph, c->kernels, pool, &plan, &network, &err);
    assert_string_equal(err.text, "");
    return network;
}

static sumi_inputs inputs_of(const golden_case *c)
{
    return (sumi_inputs){.image = c->x,
                         .time = c->time,
                         .labels = c->labels,
                         .condition = c->told,
                         .target = c->target};
}

/* Of which nothing was made. */
static sumi_inputs of_prediction(const golden_case *c)
{
    sumi_inputs in = inputs_of(c);
    in.condition = NULL;
    return in;
}

static void check_prediction(const golden_case *c)
{
    float *out = calloc(c->count, sizeof *out);
    char name[64];
    const sumi_inputs in = of_prediction(c);
    sumi_network *network = network_of(c, SUMI_MODE_PREDICT);
    sumi_network_predict(network, &in, c->of->of->n, &out);
    snprintf(name, sizeof name, "predict.%s", c->key);
    double distance = golden_distance(&c->of->file, name, out, c->count);
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
    double *number = golden_tensor(&c->of->file, key, &one), value = *number;
    free(number);
    return value;
}

/* The distance of the stored elements, or that of the whole norm if it is larger, relative. */
static double gradient_error(const golden_case *c, const sumi_param *param, const float *got)
{
    char key[2 * SUMI_NAME_MAX];
    size_t count, stride = golden_stride(param->count, (size_t)c->of->of->limit);
    snprintf(key, sizeof key, "gradient.%s.%s", c->key, param->name);
    double *want = golden_tensor(&c->of->file, key, &count);
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
    const sumi_params *params = &c->of->graph.params;
    float *gradients = calloc(params->value_count, sizeof *gradients);
    float *got = calloc(params->value_count, sizeof *got);
    const sumi_inputs in = inputs_of(c);
    sumi_network *network = network_of(c, SUMI_MODE_TRAIN);
    double loss = sumi_network_gradients(network, &in, c->of->of->n, gradients), worst = 0;
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
        for (int k = 0; k < 4 * NETWORKS; k++) {
            golden_case c = open_case(&goldens[k / 4], kernels, k / 2 % 2, k % 2);
            check(&c);
            close_case(&c);
        }
}

/* Steps of Adam from the golden weights, which come back in the end. */
static void check_steps(const golden_case *c)
{
    const sumi_params *params = &c->of->graph.params;
    size_t count = params->value_count, steps;
    float *all = calloc(4 * count, sizeof *all), *out = calloc(c->count, sizeof *out);
    float *before = all, *gradients = all + count, *m = all + 2 * count, *v = all + 3 * count;
    const sumi_inputs in = inputs_of(c);
    char name[64];
    memcpy(before, params->values, count * sizeof *before);
    snprintf(name, sizeof name, "losses.%s", c->key);
    double *losses = golden_tensor(&c->of->file, name, &steps);
    assert_int_equal(steps, STEPS);
    sumi_network *network = network_of(c, SUMI_MODE_TRAIN);
    for (int i = 0; i < STEPS; i++) {
        const sumi_adam adam = {1e-3, .9, .999, 1e-8, 1 - pow(.9, i + 1), 1 - pow(.999, i + 1)};
        double loss = sumi_network_gradients(network, &in, c->of->of->n, gradients);
        if (!(fabs(loss - losses[i]) <= 2e-5 * losses[i]))
            fail_msg("%s: loss %d is %.8f, not %.8f", c->kernels->name, i, loss, losses[i]);
        c->kernels->adam(&adam, params->values, gradients, m, v, count);
    }
    sumi_network_free(network);
    network = network_of(c, SUMI_MODE_PREDICT);
    const sumi_inputs untold = of_prediction(c);
    sumi_network_predict(network, &untold, c->of->of->n, &out);
    snprintf(name, sizeof name, "after.%s", c->key);
    double distance = golden_distance(&c->of->file, name, out, c->count);
    print_message("%s: after %d steps within %.1e\n", c->kernels->name, STEPS, distance);
    assert_true(distance <= 2e-5);
    sumi_network_free(network);
    memcpy(params->values, before, count * sizeof *before);
    free(losses);
    free(all);
    free(out);
}

static void test_steps(void **state)
{
    (void)state;
    const sumi_kernels *kernels;
    for (int i = 0; (kernels = sumi_kernels_list(i)) != NULL; i++)
        for (int k = 1; k < NETWORKS; k++) {
            golden_case c = open_case(&goldens[k], kernels, 0, false);
            check_steps(&c);
            close_case(&c);
        }
}

/* Gradients and predictions do not depend on the number of threads, nor on how many images come
 * together. */
static void test_same_bits(void **state)
{
    (void)state;
    golden_case c = open_case(&goldens[1], sumi_kernels_pick(NULL), 0, false);
    sumi_pool *before = pool;
    const sumi_inputs in = inputs_of(&c);
    size_t count = c.of->graph.params.value_count, one = c.count / (size_t)c.of->of->n;
    float *gradients = calloc(2 * count, sizeof *gradients),
          *out = calloc(2 * c.count, sizeof *out);
    for (int threads = 1; threads <= 3; threads++) {
        size_t at = threads > 1;
        float *to = out + at * c.count;
        assert_int_equal(sumi_pool_create(threads, &pool, NULL), SUMI_OK);
        sumi_network *network = network_of(&c, SUMI_MODE_TRAIN);
        sumi_network_gradients(network, &in, c.of->of->n, gradients + at * count);
        sumi_network_free(network);
        network = network_of(&c, SUMI_MODE_PREDICT);
        for (int i = 0; threads == 2 && i < c.of->of->n; i++) { /* one by one */
            const sumi_inputs each = {.image = c.x + (size_t)i * one, .time = c.time + i};
            float *alone = to + (size_t)i * one;
            sumi_network_predict(network, &each, 1, &alone);
        }
        if (threads != 2)
            sumi_network_predict(network, &in, c.of->of->n, &to);
        sumi_network_free(network);
        sumi_pool_free(pool);
        assert_true(at == 0 || memcmp(gradients, gradients + count, count * sizeof(float)) == 0);
        assert_true(at == 0 || memcmp(out, out + c.count, c.count * sizeof(float)) == 0);
    }
    pool = before;
    close_case(&c);
    free(gradients);
    free(out);
}

/* What the network cannot be planned for. */
static void test_sizes_below_the_depth(void **state)
{
    (void)state;
    sumi_plan_config plan = {.mode = SUMI_MODE_TRAIN, .n_max = 1, .h = 4, .w = 3, .force = -1};
    sumi_error err = {""};
    assert_int_equal(sumi_plan_check(&goldens[1].graph, &plan, &err), SUMI_ESHAPE);
    assert_string_equal(err.text, "images of 4x3 are too small for a network that halves them 2 "
                                  "times: expected 4x4 or more");
    plan.w = 4;
    assert_int_equal(sumi_plan_check(&goldens[1].graph, &plan, &err), SUMI_OK);
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
    sumi_unet_config config = networks[0].config;
    config.attention[2] = true;
    config.head_channels = 64;
    sumi_build_unet(&graph, &config);
    assert_int_equal(sumi_params_allocate(&graph.params, NULL), SUMI_OK);
    sumi_params_init(&graph.params, 3);
    int zero = 0;
    for (int p = 0; p < graph.params.count; p++) {
        const sumi_param *param = &graph.params.items[p];
        double sum = 0;
        for (size_t i = 0; i < param->count; i++)
            sum += pow((double)graph.params.values[param->offset + i], 2);
        bool from_zero = strstr(param->name, "conv2.") || strstr(param->name, ".out.") ||
                         strstr(param->name, "modulation.") ||
                         strncmp(param->name, "last.", 5) == 0;
        if (param->kind != SUMI_PARAM_BETA)
            assert_int_equal(sum == 0, from_zero);
        zero += from_zero;
        if (strcmp(param->name, "label.weight") == 0)
            assert_true(fabs(sqrt(sum / (double)param->count) - .5) < .1);
    }
    assert_int_equal(zero, 4 * 8 + 2 + 2);
    sumi_graph_free(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_predictions),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_sizes_below_the_depth),
        cmocka_unit_test(test_initial_values),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
