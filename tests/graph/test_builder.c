/*
 * What the builder refuses, what only a whole graph shows, and sizes that nothing can compute.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "graph/backend.h"

static void test_builder_refuses(void **state)
{
    (void)state;
    sumi_graph graph;
    sumi_graph_init(&graph);
    int layer = sumi_graph_conv_layer(&graph, "a", 4, 4, 3);
    sumi_edge edge = sumi_graph_conv(&graph, sumi_graph_input_image(&graph, 3), layer);
    assert_int_equal(edge.count, 0);
    assert_int_equal(graph.status, SUMI_ESHAPE);
    assert_non_null(strstr(graph.error.text, "channels"));
    /* Everything after the first mistake does nothing and keeps its message. */
    edge = sumi_graph_act(&graph, sumi_graph_upsample(&graph, edge), SUMI_ACT_RELU);
    assert_int_equal(edge.count, 0);
    assert_int_equal(graph.status, SUMI_ESHAPE);
    sumi_graph_free(&graph);

    sumi_graph_init(&graph);
    sumi_graph_upsample(&graph, sumi_graph_input_image(&graph, 3));
    assert_int_equal(graph.status, SUMI_EUNSUPPORTED);
    sumi_graph_free(&graph);

    sumi_graph_init(&graph);
    int norm = sumi_graph_batch_norm_layer(&graph, "n", 3);
    edge = sumi_graph_act(&graph, sumi_graph_input_image(&graph, 3), SUMI_ACT_RELU);
    sumi_graph_norm(&graph, edge, norm);
    assert_int_equal(graph.status, SUMI_EUNSUPPORTED);
    sumi_graph_free(&graph);
}

/* A graph of two layers "a" and "b" of 4 channels on an image of 4, whose status is looked at. */
typedef struct {
    sumi_graph graph;
    int a, b, norm, time; /* layers */
    sumi_edge image, x;   /* x: what a makes of the image */
} draft;

static draft draft_open(void)
{
    draft d;
    sumi_graph_init(&d.graph);
    d.image = sumi_graph_input_image(&d.graph, 4);
    d.a = sumi_graph_conv_layer(&d.graph, "a", 4, 4, 3);
    d.b = sumi_graph_conv_layer(&d.graph, "b", 4, 4, 3);
    d.norm = sumi_graph_batch_norm_layer(&d.graph, "n", 4);
    d.time = sumi_graph_linear_layer(&d.graph, "t", 4, 4);
    d.x = sumi_graph_conv(&d.graph, d.image, d.a);
    assert_int_equal(d.graph.status, SUMI_OK);
    return d;
}

/* An embedding of the time, of 4 numbers. */
static sumi_edge draft_time(draft *d)
{
    return sumi_graph_sinusoid(&d->graph, sumi_graph_input_time(&d->graph), 4);
}

static void draft_refused(draft *d, sumi_status status, const char *word)
{
    assert_int_equal(d->graph.status, status);
    assert_non_null(strstr(d->graph.error.text, word));
    sumi_graph_free(&d->graph);
}

static void test_builder_refuses_what_it_cannot_run(void **state)
{
    (void)state;
    draft d = draft_open();
    sumi_graph_conv_layer(&d.graph, "c", 4, 4, 5);
    draft_refused(&d, SUMI_EUNSUPPORTED, "3x3");
    d = draft_open();
    sumi_graph_conv(&d.graph, d.x, d.norm);
    draft_refused(&d, SUMI_EINVAL, "kind");
    d = draft_open();
    sumi_graph_norm(&d.graph, d.x, d.b);
    draft_refused(&d, SUMI_EINVAL, "kind");
    d = draft_open();
    sumi_graph_norm(&d.graph, sumi_graph_act(&d.graph, d.x, SUMI_ACT_RELU), d.norm);
    draft_refused(&d, SUMI_EUNSUPPORTED, "nothing pending");
    d = draft_open();
    sumi_graph_conv(&d.graph, d.x, d.a);
    draft_refused(&d, SUMI_EUNSUPPORTED, "twice");
    d = draft_open();
    sumi_graph_add(&d.graph, d.x, sumi_graph_max_pool(&d.graph, d.x));
    draft_refused(&d, SUMI_ESHAPE, "addition");
    d = draft_open();
    sumi_graph_add(&d.graph, d.x, sumi_graph_concat(&d.graph, d.x, d.x));
    draft_refused(&d, SUMI_EUNSUPPORTED, "concatenations");
    d = draft_open();
    sumi_graph_modulate(&d.graph, d.x, draft_time(&d));
    draft_refused(&d, SUMI_EUNSUPPORTED, "follows a norm");
    d = draft_open();
    sumi_graph_modulate(&d.graph, sumi_graph_norm(&d.graph, d.x, d.norm), draft_time(&d));
    draft_refused(&d, SUMI_ESHAPE, "twice");
    d = draft_open();
    sumi_graph_group_norm_layer(&d.graph, "g", 6, 4, true);
    draft_refused(&d, SUMI_EINVAL, "groups");
    d = draft_open();
    sumi_graph_input_image(&d.graph, 4);
    draft_refused(&d, SUMI_EINVAL, "twice");
    d = draft_open();
    sumi_graph_fourier(&d.graph, draft_time(&d), 4, 1, 2);
    draft_refused(&d, SUMI_EUNSUPPORTED, "input of that name");
    d = draft_open();
    sumi_graph_embedding(&d.graph, sumi_graph_input_labels(&d.graph, 3),
                         sumi_graph_embedding_layer(&d.graph, "e", 3, 4));
    draft_refused(&d, SUMI_ESHAPE, "one for none");
    d = draft_open();
    sumi_graph_linear(&d.graph, sumi_graph_input_labels(&d.graph, 3), d.time);
    draft_refused(&d, SUMI_EUNSUPPORTED, "labels");
    d = draft_open();
    sumi_graph_loss_mse(&d.graph, d.x);
    draft_refused(&d, SUMI_EUNSUPPORTED, "output");
    d = draft_open();
    sumi_graph_output(&d.graph, "x", d.x);
    sumi_graph_loss_mse(&d.graph, d.x);
    sumi_graph_loss_mse(&d.graph, d.x);
    draft_refused(&d, SUMI_EUNSUPPORTED, "one loss");
    d = draft_open();
    sumi_graph_concat(&d.graph, d.x, draft_time(&d));
    draft_refused(&d, SUMI_ESHAPE, "concatenation");
    d = draft_open();
    sumi_graph_pad(&d.graph, d.x);
    draft_refused(&d, SUMI_EUNSUPPORTED, "first of all");
    d = draft_open();
    sumi_graph_crop(&d.graph, d.x);
    draft_refused(&d, SUMI_EUNSUPPORTED, "padded size");
    d = draft_open();
    sumi_graph_attention(&d.graph, d.x, 1);
    draft_refused(&d, SUMI_ESHAPE, "for every head");
    d = draft_open();
    sumi_graph_attention(&d.graph, sumi_graph_concat(&d.graph, d.x, d.x), 1);
    draft_refused(&d, SUMI_EUNSUPPORTED, "one tensor");
    d = draft_open();
    sumi_graph_attention(&d.graph, draft_time(&d), 1);
    draft_refused(&d, SUMI_EUNSUPPORTED, "one tensor");
    d = draft_open();
    sumi_edge t = sumi_graph_linear(&d.graph, draft_time(&d), d.time);
    sumi_graph_shift(&d.graph, t, t);
    draft_refused(&d, SUMI_EUNSUPPORTED, "images");
}

/* What only the whole graph shows: it is refused, with one line. */
static void whole_refused(draft *d, const char *word)
{
    sumi_plan_config config = {.mode = SUMI_MODE_TRAIN, .n_max = 2, .h = 8, .w = 8, .force = -1};
    sumi_error err = {""};
    assert_int_equal(d->graph.status, SUMI_OK);
    assert_int_equal(sumi_plan_check(&d->graph, &config, &err), SUMI_EUNSUPPORTED);
    assert_non_null(strstr(err.text, word));
    sumi_graph_free(&d->graph);
}

static void test_whole_graphs_are_refused(void **state)
{
    (void)state;
    draft d = draft_open(); /* a tensor that nobody reads */
    sumi_graph_conv(&d.graph, d.x, d.b);
    sumi_graph_output(&d.graph, "x", d.x);
    whole_refused(&d, "nothing reads");
    d = draft_open(); /* a loss that is not the last reader */
    sumi_graph_output(&d.graph, "x", d.x);
    sumi_graph_loss_mse(&d.graph, d.x);
    sumi_graph_output(&d.graph, "y", sumi_graph_conv(&d.graph, d.x, d.b));
    whole_refused(&d, "behind its loss");
    d = draft_open(); /* a norm with and without its modulation */
    int twice = sumi_graph_linear_layer(&d.graph, "u", 4, 8);
    sumi_edge y = sumi_graph_norm(&d.graph, d.x, d.norm);
    sumi_edge z =
        sumi_graph_modulate(&d.graph, y, sumi_graph_linear(&d.graph, draft_time(&d), twice));
    sumi_graph_output(&d.graph, "x", sumi_graph_conv(&d.graph, y, d.b));
    sumi_graph_output(&d.graph, "y", sumi_graph_max_pool(&d.graph, z));
    whole_refused(&d, "without its modulation");
    d = draft_open(); /* a norm that nobody reads */
    sumi_graph_norm(&d.graph, d.x, d.norm);
    sumi_graph_output(&d.graph, "out", sumi_graph_conv(&d.graph, d.x, d.b));
    whole_refused(&d, "nothing reads");
}

/* A value's forms: as it is, and one norm with three activations, the last of them named twice. */
static void test_a_norm_has_several_activations(void **state)
{
    (void)state;
    draft d = draft_open();
    sumi_plan_config config = {.mode = SUMI_MODE_TRAIN, .n_max = 2, .h = 8, .w = 8, .force = -1};
    sumi_edge y = sumi_graph_norm(&d.graph, d.x, d.norm);
    sumi_edge relu = sumi_graph_act(&d.graph, y, SUMI_ACT_RELU);
    sumi_edge silu = sumi_graph_act(&d.graph, y, SUMI_ACT_SILU);
    sumi_edge sum = sumi_graph_add(&d.graph, sumi_graph_max_pool(&d.graph, y),
                                   sumi_graph_avg_pool(&d.graph, relu));
    sumi_graph_output(&d.graph, "x", sumi_graph_conv(&d.graph, silu, d.b));
    sumi_graph_output(&d.graph, "y", sum);
    assert_int_equal(sumi_graph_act(&d.graph, y, SUMI_ACT_SILU).views[0].form, silu.views[0].form);
    assert_int_equal(d.graph.values[d.x.views[0].value].form_count, 4);
    assert_int_equal(sumi_plan_check(&d.graph, &config, NULL), SUMI_OK);
    sumi_graph_free(&d.graph);
}

/* Sizes that no kernel can count, and those that memory cannot hold. */
static void test_sizes_are_refused(void **state)
{
    (void)state;
    draft d = draft_open();
    sumi_graph_output(&d.graph, "out", sumi_graph_conv(&d.graph, d.x, d.b));
    const int sizes[][3] = {{1, 131072, 131072},
                            {1, INT32_MAX, INT32_MAX - 1},
                            {1, 4, INT32_MAX},
                            {INT32_MAX, 4096, 4096}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        sumi_plan_config config = {.mode = SUMI_MODE_TRAIN,
                                   .n_max = sizes[i][0],
                                   .h = sizes[i][1],
                                   .w = sizes[i][2],
                                   .force = -1};
        sumi_error err = {""};
        assert_int_equal(sumi_plan_check(&d.graph, &config, &err), SUMI_ENOMEM);
        assert_non_null(strstr(err.text, "too large"));
    }
    sumi_graph_free(&d.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builder_refuses),
        cmocka_unit_test(test_builder_refuses_what_it_cannot_run),
        cmocka_unit_test(test_whole_graphs_are_refused),
        cmocka_unit_test(test_a_norm_has_several_activations),
        cmocka_unit_test(test_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
