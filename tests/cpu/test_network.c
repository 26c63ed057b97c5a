/*
 * The plan: a block without time shift, batch statistics far from zero, single unfused nodes,
 * batches smaller than the plan, buffers that live together apart.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/cpu_test.h"
#include "cpu/network.h"
#include "models/models.h"

static sumi_runtime runtime_open(void)
{
    sumi_runtime runtime;
    sumi_error err = {""};
    assert_int_equal(sumi_runtime_init(&runtime, 2, NULL, &err), SUMI_OK);
    return runtime;
}

/* The output and its loss. */
static void finish(sumi_graph *graph, sumi_edge out)
{
    sumi_graph_output(graph, "out", out);
    sumi_graph_loss_mse(graph, out);
}

/* A graph of two layers "a" and "b" of 4 channels on an image of 4, whose status is looked at. */
typedef struct {
    sumi_graph graph;
    int a, b;    /* layers */
    sumi_edge x; /* what a makes of the image */
} draft;

static draft draft_open(void)
{
    draft d;
    sumi_graph_init(&d.graph);
    d.a = sumi_graph_conv_layer(&d.graph, "a", 4, 4, 3);
    d.b = sumi_graph_conv_layer(&d.graph, "b", 4, 4, 3);
    d.x = sumi_graph_conv(&d.graph, sumi_graph_input_image(&d.graph, 4), d.a);
    assert_int_equal(d.graph.status, SUMI_OK);
    return d;
}

/* What only this backend's plan shows: one tensor twice in a concatenation. */
static void test_plan_refuses(void **state)
{
    (void)state;
    draft d = draft_open();
    int wide = sumi_graph_conv_layer(&d.graph, "w", 8, 4, 3);
    finish(&d.graph, sumi_graph_conv(&d.graph, sumi_graph_concat(&d.graph, d.x, d.x), wide));
    assert_int_equal(d.graph.status, SUMI_OK);
    sumi_runtime runtime = runtime_open();
    sumi_plan_config config = {.mode = SUMI_MODE_TRAIN, .n_max = 2, .h = 8, .w = 8, .force = -1};
    sumi_network *net = NULL;
    sumi_error err = {""};
    assert_int_equal(sumi_network_create(&d.graph, sumi_cpu_kernels(runtime.device),
                                         sumi_cpu_pool(runtime.device), &config, &net, &err),
                     SUMI_EUNSUPPORTED);
    assert_null(net);
    assert_non_null(strstr(err.text, "twice"));
    sumi_runtime_free(&runtime);
    sumi_graph_free(&d.graph);
}

/* Plain 3x3 convolution of 4 channels in double: y = bias + weights [3][3][4][4] over x. */
static void plain_conv(const double *x, const double *weights, int h, int w, double *y)
{
    const double *bias = weights + 3 * 3 * 4 * 4;
    for (int i = 0; i < h * w * 4; i++) {
        int k = i % 4, col = i / 4 % w, row = i / 4 / w;
        y[i] = bias[k];
        for (int tap = 0; tap < 9; tap++) {
            int from = row + tap / 3 - 1, at = col + tap % 3 - 1;
            if (from < 0 || from >= h || at < 0 || at >= w)
                continue;
            for (int c = 0; c < 4; c++)
                y[i] += x[(from * w + at) * 4 + c] * weights[(tap * 4 + c) * 4 + k];
        }
    }
}

enum { SHIFT_N = 2, SHIFT_H = 8, SHIFT_W = 6, SHIFT_FLOATS = SHIFT_H * SHIFT_W * 4 };
enum { SHIFT_WEIGHTS = 3 * 3 * 4 * 4 + 4 }; /* of one layer, then its bias */

/* The loss of conv b(conv a(image) + embedding of t), with the weights of a, then those of b. */
static double plain_shift_loss(const double *weights, const float *image, const float *target,
                               const int32_t *t)
{
    double sum = 0;
    for (int n = 0; n < SHIFT_N; n++) {
        double x[SHIFT_FLOATS], y[SHIFT_FLOATS];
        for (int i = 0; i < SHIFT_FLOATS; i++)
            x[i] = (double)image[n * SHIFT_FLOATS + i];
        plain_conv(x, weights, SHIFT_H, SHIFT_W, y);
        for (int i = 0; i < SHIFT_FLOATS; i++) {
            int k = i % 4;
            double angle = t[n] / pow(10000, k / 8.0);
            y[i] += k % 2 == 0 ? sin(angle) : cos(angle);
        }
        plain_conv(y, weights + SHIFT_WEIGHTS, SHIFT_H, SHIFT_W, x);
        for (int i = 0; i < SHIFT_FLOATS; i++) {
            double d = x[i] - (double)target[n * SHIFT_FLOATS + i];
            sum += d * d;
        }
    }
    return sum / (SHIFT_N * SHIFT_FLOATS);
}

/* The time embedding has no gradient: as a shift it is only added, inside the image. */
static void test_embedding_as_shift(void **state)
{
    (void)state;
    sumi_runtime runtime = runtime_open();
    sumi_plan_config config = {
        .mode = SUMI_MODE_TRAIN, .n_max = SHIFT_N, .h = SHIFT_H, .w = SHIFT_W, .force = -1};
    sumi_network *net = NULL;
    sumi_error err = {""};
    draft d = draft_open();
    sumi_edge x = sumi_graph_shift(
        &d.graph, d.x, sumi_graph_sinusoid(&d.graph, sumi_graph_input_time(&d.graph), 4));
    finish(&d.graph, sumi_graph_conv(&d.graph, x, d.b));
    sumi_params *params = &d.graph.params;
    assert_int_equal(sumi_params_allocate(params, &err), SUMI_OK);
    sumi_params_init(params, 5);
    assert_int_equal(sumi_network_create(&d.graph, sumi_cpu_kernels(runtime.device),
                                         sumi_cpu_pool(runtime.device), &config, &net, &err),
                     SUMI_OK);
    static float image[SHIFT_N * SHIFT_FLOATS], target[SHIFT_N * SHIFT_FLOATS];
    const int32_t t[SHIFT_N] = {3, 700};
    float *gradients = calloc(params->value_count, sizeof *gradients);
    assert_non_null(gradients);
    for (int i = 0; i < SHIFT_N * SHIFT_FLOATS; i++) {
        image[i] = (float)(i % 7) - 2;
        target[i] = (float)(i % 5);
    }
    cpu_training run = {image, t, target, SHIFT_N, gradients};
    double loss = cpu_gradients(net, &run);
    double weights[2 * SHIFT_WEIGHTS];
    int count = 0;
    for (int i = 0; i < params->count; i++) /* a.weight, a.bias, b.weight, b.bias, and others */
        for (size_t j = 0; j < params->items[i].count && count < 2 * SHIFT_WEIGHTS; j++)
            weights[count++] = (double)params->values[params->items[i].offset + j];
    assert_string_equal(params->items[3].name, "b.bias");
    double expected = plain_shift_loss(weights, image, target, t);
    assert_true(fabs(loss - expected) < 1e-5 * expected);
    count = 0;
    for (int i = 0; i < 4; i++)
        for (size_t j = 0; j < params->items[i].count; j++, count++) {
            double saved = weights[count], side[2];
            for (int k = 0; k < 2; k++) {
                weights[count] = saved + (k ? 1e-4 : -1e-4);
                side[k] = plain_shift_loss(weights, image, target, t);
            }
            weights[count] = saved;
            double slope = (side[1] - side[0]) / 2e-4;
            double found = (double)gradients[params->items[i].offset + j];
            if (!(fabs(found - slope) <= 1e-4 * fabs(slope) + 1e-4))
                fail_msg("%s[%zu]: %g, expected %g", params->items[i].name, j, found, slope);
        }
    assert_int_equal(count, 2 * SHIFT_WEIGHTS);
    free(gradients);
    sumi_network_free(net);
    sumi_runtime_free(&runtime);
    sumi_graph_free(&d.graph);
}

/* The loss keeps a number for each image: more of them than anything else in so small a network
 * needs. One thread and several must find the same. */
static void test_many_tiny_images(void **state)
{
    (void)state;
    enum { COUNT = 20000, FLOATS = COUNT * 4 * 4 };
    float *x = calloc(2 * FLOATS, sizeof *x);
    int32_t *t = calloc(COUNT, sizeof *t);
    assert_true(x != NULL && t != NULL);
    for (int i = 0; i < 2 * FLOATS; i++)
        x[i] = (float)(i % 11) - 5;
    double loss[2];
    float *gradients[2];
    for (int i = 0; i < 2; i++) {
        sumi_runtime runtime;
        sumi_error err = {""};
        sumi_network *net = NULL;
        sumi_graph graph;
        assert_int_equal(sumi_runtime_init(&runtime, i ? 8 : 1, NULL, &err), SUMI_OK);
        sumi_graph_init(&graph);
        int a = sumi_graph_conv_layer(&graph, "a", 1, 1, 3);
        finish(&graph, sumi_graph_conv(&graph, sumi_graph_input_image(&graph, 1), a));
        assert_int_equal(sumi_params_allocate(&graph.params, &err), SUMI_OK);
        sumi_params_init(&graph.params, 5);
        sumi_plan_config config = {
            .mode = SUMI_MODE_TRAIN, .n_max = COUNT, .h = 4, .w = 4, .force = -1};
        assert_int_equal(sumi_network_create(&graph, sumi_cpu_kernels(runtime.device),
                                             sumi_cpu_pool(runtime.device), &config, &net, &err),
                         SUMI_OK);
        gradients[i] = calloc(graph.params.value_count, sizeof(float));
        assert_non_null(gradients[i]);
        cpu_training run = {x, t, x + FLOATS, COUNT, gradients[i]};
        loss[i] = cpu_gradients(net, &run);
        sumi_network_free(net);
        if (i > 0)
            assert_memory_equal(gradients[0], gradients[1],
                                graph.params.value_count * sizeof(float));
        sumi_graph_free(&graph);
        sumi_runtime_free(&runtime);
    }
    assert_true(loss[0] == loss[1]);
    free(gradients[0]);
    free(gradients[1]);
    free(x);
    free(t);
}

/* One block of the seed on 2 channels, with or without the shift. */
static void build_block(sumi_graph *graph, bool with_time)
{
    sumi_graph_init(graph);
    sumi_tutorial_block block = sumi_tutorial_block_declare(graph, "b", 6, 2, 4);
    int out = sumi_graph_conv_layer(graph, "out", 4, 2, 1);
    sumi_edge t = with_time ? sumi_graph_sinusoid(graph, sumi_graph_input_time(graph), 6)
                            : (sumi_edge){.count = 0};
    sumi_edge x = sumi_tutorial_block_run(graph, &block, sumi_graph_input_image(graph, 2), t);
    finish(graph, sumi_graph_conv(graph, x, out));
    assert_int_equal(graph->status, SUMI_OK);
    sumi_error err = {""};
    assert_int_equal(sumi_params_allocate(&graph->params, &err), SUMI_OK);
    sumi_params_init(&graph->params, 5);
}

static sumi_network *plan(const sumi_graph *graph, sumi_runtime *runtime, sumi_plan_config config)
{
    sumi_network *net = NULL;
    sumi_error err = {""};
    config.force = -1;
    assert_int_equal(sumi_network_create(graph, sumi_cpu_kernels(runtime->device),
                                         sumi_cpu_pool(runtime->device), &config, &net, &err),
                     SUMI_OK);
    return net;
}

static void test_block_without_time(void **state)
{
    (void)state;
    sumi_runtime runtime = runtime_open();
    enum { FLOATS = 8 * 8 * 2 };
    float x[FLOATS], out[4][FLOATS];
    sumi_random at = {1, SUMI_STREAM_USER, 0, 0};
    sumi_random_normals(&at, 0, x, FLOATS);
    for (int with_time = 0; with_time < 2; with_time++) {
        sumi_graph graph;
        build_block(&graph, with_time);
        sumi_plan_config config = {.mode = SUMI_MODE_PREDICT, .n_max = 1, .h = 8, .w = 8};
        sumi_network *net = plan(&graph, &runtime, config);
        for (int i = 0; i < 2; i++) {
            int32_t t = i ? 900 : 1;
            cpu_predict(net, x, &t, 1, out[2 * with_time + i]);
        }
        sumi_network_free(net);
        sumi_graph_free(&graph);
    }
    assert_memory_equal(out[0], out[1], sizeof out[0]);     /* t has no influence */
    assert_memory_not_equal(out[2], out[3], sizeof out[2]); /* and here it has */
    sumi_runtime_free(&runtime);
}

/* Mean 1000 times the spread: naive sums of squares in float32 would lose the variance. */
static void test_moments_far_from_zero(void **state)
{
    (void)state;
    enum { N = 5, SIZE = 12, C = 3 };
    sumi_runtime runtime = runtime_open();
    sumi_graph graph;
    sumi_graph_init(&graph);
    int conv = sumi_graph_conv_layer(&graph, "conv", C, C, 1);
    int norm = sumi_graph_batch_norm_layer(&graph, "norm", C);
    int last = sumi_graph_conv_layer(&graph, "out", C, C, 1);
    sumi_edge x = sumi_graph_conv(&graph, sumi_graph_input_image(&graph, C), conv);
    x = sumi_graph_norm(&graph, x, norm);
    finish(&graph, sumi_graph_conv(&graph, x, last));
    sumi_error err = {""};
    assert_int_equal(sumi_params_allocate(&graph.params, &err), SUMI_OK);
    sumi_params_init(&graph.params, 0);
    sumi_params *params = &graph.params;
    float *weight = params->values + params->items[graph.layers[conv].weight].offset;
    float *bias = params->values + params->items[graph.layers[conv].bias].offset;
    for (int i = 0; i < C * C; i++)
        weight[i] = i % (C + 1) == 0; /* the identity */
    for (int k = 0; k < C; k++)
        bias[k] = 0;
    static float image[N * SIZE * SIZE * C], target[N * SIZE * SIZE * C];
    double mean[C] = {0}, variance[C] = {0};
    sumi_random at = {9, SUMI_STREAM_USER, 0, 0};
    sumi_random_normals(&at, 0, image, N * SIZE * SIZE * C);
    for (int i = 0; i < N * SIZE * SIZE * C; i++) {
        image[i] += 1000.0f;
        mean[i % C] += (double)image[i] / (N * SIZE * SIZE);
    }
    for (int i = 0; i < N * SIZE * SIZE * C; i++)
        variance[i % C] += pow((double)image[i] - mean[i % C], 2) / (N * SIZE * SIZE - 1);
    sumi_plan_config config = {.mode = SUMI_MODE_TRAIN, .n_max = N, .h = SIZE, .w = SIZE};
    sumi_network *net = plan(&graph, &runtime, config);
    float *gradients = calloc(params->value_count, sizeof *gradients);
    assert_non_null(gradients);
    int32_t t[N] = {1, 2, 3, 4, 5};
    cpu_training run = {image, t, target, N, gradients};
    cpu_gradients(net, &run);
    sumi_network_update_statistics(net, params->statistics);
    sumi_graph_count_batches(&graph, 1, params->counters);
    for (int k = 0; k < C; k++) {
        float m = params->statistics[params->items[graph.layers[norm].mean].offset + (size_t)k];
        float v = params->statistics[params->items[graph.layers[norm].variance].offset + (size_t)k];
        assert_true(fabs((double)m - 0.1 * mean[k]) < 1e-5 * 100);
        assert_true(fabs((double)v - (0.9 + 0.1 * variance[k])) < 1e-5);
    }
    assert_int_equal(params->counters[0], 1);
    free(gradients);
    sumi_network_free(net);
    sumi_graph_free(&graph);
    sumi_runtime_free(&runtime);
}

static sumi_model *small_model(void)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    config.base_channels = 4;
    config.time_dim = 6;
    sumi_model *model = NULL;
    sumi_error err = {""};
    assert_int_equal(sumi_models_create(&config, &model, &err), SUMI_OK);
    return model;
}

static void test_single_unfused_nodes(void **state)
{
    (void)state;
    enum { N = 2, FLOATS = N * 8 * 8 };
    sumi_runtime runtime = runtime_open();
    sumi_model *model = small_model();
    size_t count = model->graph.params.value_count;
    float x[FLOATS], target[FLOATS] = {0};
    float *expected = calloc(count, sizeof *expected), *found = calloc(count, sizeof *found);
    assert_non_null(expected);
    assert_non_null(found);
    sumi_random at = {2, SUMI_STREAM_USER, 0, 0};
    sumi_random_normals(&at, 0, x, FLOATS);
    int32_t t[N] = {10, 800};
    for (int node = -1; node < model->graph.node_count; node++) {
        sumi_plan_config config = {.mode = SUMI_MODE_TRAIN, .n_max = N, .h = 8, .w = 8};
        config.unfused_nodes = node < 0 ? 0 : (uint64_t)1 << node;
        sumi_network *net = plan(&model->graph, &runtime, config);
        cpu_training run = {x, t, target, N, node < 0 ? expected : found};
        cpu_gradients(net, &run);
        sumi_network_free(net);
        for (size_t i = 0; node >= 0 && i < count; i++)
            assert_true(fabs((double)found[i] - (double)expected[i]) <
                        1e-5 + 1e-3 * fabs((double)expected[i]));
    }
    free(expected);
    free(found);
    sumi_models_free(model);
    sumi_runtime_free(&runtime);
}

static void test_small_batches_in_a_large_plan(void **state)
{
    (void)state;
    enum { N = 7, FLOATS = 8 * 12 };
    sumi_runtime runtime = runtime_open();
    sumi_model *model = small_model();
    float x[N * FLOATS], all[N * FLOATS], one[FLOATS];
    sumi_random at = {2, SUMI_STREAM_USER, 0, 0};
    sumi_random_normals(&at, 0, x, N * FLOATS);
    int32_t t[N] = {10, 800, 1, 1000, 5, 5, 77};
    sumi_plan_config config = {.mode = SUMI_MODE_PREDICT, .n_max = N, .h = 8, .w = 12};
    sumi_network *net = plan(&model->graph, &runtime, config);
    cpu_predict(net, x, t, N, all);
    for (int i = 0; i < N; i++) {
        cpu_predict(net, x + i * FLOATS, t + i, 1, one);
        assert_memory_equal(one, all + i * FLOATS, sizeof one);
    }
    sumi_network_free(net);
    sumi_models_free(model);
    sumi_runtime_free(&runtime);
}

static void test_buffers_that_live_together_are_apart(void **state)
{
    (void)state;
    sumi_runtime runtime = runtime_open();
    sumi_model *model = small_model();
    for (int mode = 0; mode < 2; mode++) {
        sumi_plan_config config = {.n_max = 5, .h = 16, .w = 16};
        config.mode = mode ? SUMI_MODE_TRAIN : SUMI_MODE_PREDICT;
        sumi_network *net = plan(&model->graph, &runtime, config);
        size_t total = 0;
        for (int i = 0; i < net->buffers.count; i++) {
            const sumi_buffer *a = &net->buffers.items[i];
            total += a->size;
            assert_true(*a->place + a->size <= net->arena_bytes);
            assert_int_equal(*a->place % 64, 0);
            for (int j = 0; j < i; j++) {
                const sumi_buffer *b = &net->buffers.items[j];
                bool together = a->first <= b->last && b->first <= a->last;
                bool overlap = *a->place < *b->place + b->size && *b->place < *a->place + a->size;
                assert_false(together && overlap);
            }
        }
        assert_true(net->arena_bytes < total); /* something is shared */
        sumi_network_free(net);
    }
    sumi_models_free(model);
    sumi_runtime_free(&runtime);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_refuses),
        cmocka_unit_test(test_embedding_as_shift),
        cmocka_unit_test(test_many_tiny_images),
        cmocka_unit_test(test_block_without_time),
        cmocka_unit_test(test_moments_far_from_zero),
        cmocka_unit_test(test_single_unfused_nodes),
        cmocka_unit_test(test_small_batches_in_a_large_plan),
        cmocka_unit_test(test_buffers_that_live_together_are_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
