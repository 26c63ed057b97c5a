/*
 * What a node has to move at least, against numbers that were counted by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/cpu_test.h"
#include "cpu/network.h"
#include "models/models.h"

enum { N = 3, SIZE = 8, PIXELS = SIZE * SIZE, C = 5, DIM = 6 };

/* image -> conv -> norm, relu -> pool -> (+ shift by a linear layer) conv -> upsample, beside the
 * normed tensor -> conv */
static void build(sumi_graph *graph)
{
    sumi_graph_init(graph);
    sumi_edge t = sumi_graph_sinusoid(graph, sumi_graph_input_time(graph), DIM); /* node 0 */
    int first = sumi_graph_conv_layer(graph, "a", 2, C, 3);
    int norm = sumi_graph_batch_norm_layer(graph, "b", C);
    int inner = sumi_graph_conv_layer(graph, "c", C, C, 3);
    int linear = sumi_graph_linear_layer(graph, "d", DIM, C);
    int last = sumi_graph_conv_layer(graph, "e", 2 * C, 2, 1);
    sumi_edge x = sumi_graph_conv(graph, sumi_graph_input_image(graph, 2), first); /* node 1 */
    x = sumi_graph_act(graph, sumi_graph_norm(graph, x, norm), SUMI_ACT_RELU);
    sumi_edge y = sumi_graph_max_pool(graph, x);
    y = sumi_graph_shift(graph, y, sumi_graph_linear(graph, t, linear));
    y = sumi_graph_upsample(graph, sumi_graph_conv(graph, y, inner));
    y = sumi_graph_conv(graph, sumi_graph_concat(graph, y, x), last);
    sumi_graph_output(graph, "y", y);
    sumi_graph_loss_mse(graph, y);
    assert_int_equal(graph->status, SUMI_OK);
    assert_int_equal(sumi_params_allocate(&graph->params, NULL), SUMI_OK);
    sumi_params_init(&graph->params, 5);
}

enum { TIME, FIRST, NORM, POOL, LINEAR, INNER, UPSAMPLE, LAST, LOSS, NODES };

static sumi_network *network(const sumi_graph *graph, sumi_runtime *runtime, sumi_mode mode)
{
    sumi_plan_config config = {.mode = mode,
                               .n_max = N,
                               .h = SIZE,
                               .w = SIZE,
                               .force = -1,
                               .timesteps = mode == SUMI_MODE_PREDICT ? 10 : 0};
    sumi_network *net = NULL;
    assert_int_equal(sumi_network_create(graph, sumi_cpu_kernels(runtime->device),
                                         sumi_cpu_pool(runtime->device), &config, &net, NULL),
                     SUMI_OK);
    return net;
}

static void check(const sumi_network *net, int node, bool backward, double floats)
{
    double found = sumi_node_bytes(net, node, N, backward) / sizeof(float);
    if (found != floats)
        fail_msg("node %d, %s: %g floats, expected %g", node, backward ? "backward" : "forward",
                 found, floats);
}

static void test_by_hand(void **state)
{
    (void)state;
    const double full = N * PIXELS * C, small = full / 4, image = N * PIXELS * 2;
    const double first = 9 * 2 * C, inner = 9 * C * C, last = 2 * C * 2;
    sumi_runtime runtime;
    sumi_graph graph;
    assert_int_equal(sumi_runtime_init(&runtime, 2, NULL, NULL), SUMI_OK);
    build(&graph);
    assert_int_equal(graph.node_count, NODES);
    sumi_network *net = network(&graph, &runtime, SUMI_MODE_TRAIN);
    double bands = net->values[graph.nodes[FIRST].out].bands;
    double back = net->nodes[POOL].sources[0].sum_bands;
    check(net, TIME, false, N + N * DIM);
    check(net, FIRST, false, image + full + first + C);
    check(net, NORM, false, C * (2 * N * bands + 4) + 2 * C);
    check(net, POOL, false, full + small);
    check(net, LINEAR, false, N * DIM + N * C + DIM * C + C);
    check(net, INNER, false, small + N * C + small + inner + C);
    check(net, UPSAMPLE, false, small + full);
    check(net, LAST, false, full + full + image + last + 2);

    /* gradient of the output, both sources, both gradients, weights, theirs and the bias' */
    check(net, LAST, true, image + 2 * full + 2 * full + 2 * last + 2);
    check(net, UPSAMPLE, true, full + small);
    /* the shift's gradient is added to */
    check(net, INNER, true, small + small + N * C + small + 2 * N * C + 2 * inner + C);
    /* no gradient flows to the time */
    check(net, LINEAR, true, N * C + N * DIM + DIM * C + C);
    /* finds the maximum again, and adds to what the last convolution wrote */
    check(net, POOL, true, small + full + 2 * full);
    check(net, NORM, true, C * (3 * N * back + 5));
    /* needs its output for the norm; no gradient flows to the image */
    check(net, FIRST, true, 2 * full + image + first + C);
    check(net, TIME, true, 0);
    check(net, LOSS, false, 0);
    check(net, LOSS, true, 3 * image);
    sumi_network_free(net);

    net = network(&graph, &runtime, SUMI_MODE_PREDICT);
    check(net, FIRST, false, image + full + first + C);
    check(net, NORM, false, 0);   /* in the convolution's weights */
    check(net, LINEAR, false, 0); /* in the table of time */
    check(net, TIME, false, 0);
    sumi_network_free(net);
    sumi_graph_free(&graph);
    sumi_runtime_free(&runtime);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_by_hand)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
