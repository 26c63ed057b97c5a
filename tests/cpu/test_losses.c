/*
 * Losses of a graph without time and with two outputs, against PyTorch: weighted squared errors of
 * the one, and cross entropy with label smoothing of the other (tests/golden/make_losses.py).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../golden/losses.h"
#include "cpu/cpu.h"

enum { N = 3, SIDE = 2, IMAGE = 4, OUT = 3, CLASSES = 5, PIXELS = N * SIDE * SIDE, FLOATS = 64 };

static void numbers(int step, float scale, float *out, int count)
{
    for (int i = 0; i < count; i++)
        out[i] = (float)(i * step % 17 - 8) * scale;
}

static void set_parameters(sumi_params *params)
{
    static const struct {
        int step;
        float scale;
    } drawn[] = {{3, 0.0625f}, {6, 0.125f}, {11, 0.25f}, {9, 0.25f}};
    assert_int_equal(params->count, 4);
    for (int i = 0; i < params->count; i++) {
        float torch_order[FLOATS];
        numbers(drawn[i].step, drawn[i].scale, torch_order, (int)params->items[i].count);
        sumi_param_import(&params->items[i], torch_order, params->values);
    }
}

static void build(sumi_graph *graph)
{
    sumi_graph_init(graph);
    sumi_edge image = sumi_graph_input_image(graph, IMAGE);
    sumi_edge labels = sumi_graph_input_labels(graph, CLASSES);
    int conv = sumi_graph_conv_layer(graph, "conv", IMAGE, OUT, 1);
    int linear = sumi_graph_linear_layer(graph, "linear", OUT, CLASSES);
    sumi_edge out = sumi_graph_conv(graph, image, conv);
    sumi_edge mean = sumi_graph_mean(graph, sumi_graph_act(graph, out, SUMI_ACT_SILU));
    sumi_edge logits = sumi_graph_linear(graph, mean, linear);
    sumi_graph_output(graph, "image", out);
    sumi_graph_output(graph, "logits", logits);
    sumi_graph_loss_cross_entropy(graph, logits, labels, 0.1);
    sumi_graph_loss_mse(graph, out);
    assert_string_equal(graph->error.text, "");
    assert_int_equal(sumi_params_allocate(&graph->params, NULL), SUMI_OK);
    set_parameters(&graph->params);
}

static void assert_near(const float *found, const double *expected, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_float_equal(found[i], expected[i], 2e-6);
}

static sumi_network *network(const sumi_graph *graph, const sumi_kernels *kernels, sumi_pool *pool,
                             sumi_mode mode)
{
    sumi_plan_config config = {.mode = mode, .n_max = N, .h = SIDE, .w = SIDE, .force = -1};
    sumi_network *net = NULL;
    assert_int_equal(sumi_network_create(graph, kernels, pool, &config, &net, NULL), SUMI_OK);
    return net;
}

static void test_losses_are_those_of_pytorch(void **state)
{
    float image[PIXELS * IMAGE], target[PIXELS * OUT], weight[] = {0.5f, 1.5f, 2.5f};
    const int32_t labels[] = {4, -1, 0};
    const double *gradients[] = {torch_conv, torch_conv_bias, torch_linear, torch_linear_bias};
    float out[PIXELS * OUT], logits[N * CLASSES], g[FLOATS], torch_order[FLOATS];
    const sumi_inputs in = {.image = image, .labels = labels, .target = target, .weight = weight};
    sumi_graph graph;
    sumi_pool *pool = NULL;
    (void)state;
    numbers(5, 0.125f, image, PIXELS * IMAGE);
    numbers(7, 0.125f, target, PIXELS * OUT);
    build(&graph);
    assert_int_equal(sumi_pool_create(2, &pool, NULL), SUMI_OK);
    for (int table = 0; sumi_kernels_list(table); table++) {
        const sumi_kernels *kernels = sumi_kernels_list(table);
        sumi_network *net = network(&graph, kernels, pool, SUMI_MODE_PREDICT);
        sumi_network_predict(net, &in, N, (float *[]){out, logits});
        assert_near(out, torch_image, PIXELS * OUT);
        assert_near(logits, torch_logits, N * CLASSES);
        sumi_network_free(net);
        net = network(&graph, kernels, pool, SUMI_MODE_TRAIN);
        assert_float_equal(sumi_network_gradients(net, &in, N, g), torch_loss[0], 2e-6);
        for (int i = 0; i < graph.params.count; i++) {
            sumi_param_export(&graph.params.items[i], g, torch_order);
            assert_near(torch_order, gradients[i], graph.params.items[i].count);
        }
        sumi_network_free(net);
    }
    sumi_pool_free(pool);
    sumi_graph_free(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_losses_are_those_of_pytorch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
