/*
 * What depends on t alone, computed once for each t: the bits of computing it for every image,
 * whatever the order, the batch and the executor; renewed with the weights; found from the graph.
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

enum { N = 5, SIZE = 8, FLOATS = SIZE * SIZE, STEPS = 1000 };

typedef struct {
    sumi_runtime runtime;
    sumi_model *model;
    float x[N * FLOATS], direct[N * FLOATS], tabled[N * FLOATS];
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    config.base_channels = 4;
    config.time_dim = 6;
    assert_non_null(f);
    /* the kernels that a context takes, too */
    assert_int_equal(sumi_runtime_init(&f->runtime, 2, getenv("SUMI_ISA"), NULL), SUMI_OK);
    assert_int_equal(sumi_models_create(&config, &f->model, NULL), SUMI_OK);
    sumi_random at = {2, SUMI_STREAM_USER, 0, 0};
    sumi_random_normals(&at, 0, f->x, N * FLOATS);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    sumi_models_free(f->model);
    sumi_runtime_free(&f->runtime);
    free(f);
    return 0;
}

static sumi_network *network(fixture *f, const sumi_graph *graph, int n, int timesteps,
                             bool unfused)
{
    sumi_plan_config config = {.mode = SUMI_MODE_PREDICT,
                               .n_max = n,
                               .h = SIZE,
                               .w = SIZE,
                               .unfused = unfused,
                               .force = -1,
                               .timesteps = timesteps};
    sumi_network *net = NULL;
    assert_int_equal(sumi_network_create(graph, sumi_cpu_kernels(f->runtime.device),
                                         sumi_cpu_pool(f->runtime.device), &config, &net, NULL),
                     SUMI_OK);
    return net;
}

static void check_run(fixture *f, sumi_network *direct, sumi_network *tabled, const int32_t *t,
                      int n)
{
    memset(f->tabled, 0, sizeof f->tabled);
    cpu_predict(direct, f->x, t, n, f->direct);
    cpu_predict(tabled, f->x, t, n, f->tabled);
    assert_memory_equal(f->tabled, f->direct, (size_t)n * FLOATS * sizeof(float));
}

/* Rows that are there and rows that are not, in one batch; t that differ, that are the same, that
 * go down one by one (rows are computed ahead), and both ends. */
static void check_graph(fixture *f, const sumi_graph *graph, bool unfused)
{
    static const int32_t batches[][N] = {{10, 800, 1, 1000, 10}, {800, 11, 10, 9, 1000},
                                         {3, 3, 3, 3, 3},        {2, 2, 2, 2, 2},
                                         {1, 1, 1, 1, 1},        {999, 999, 999, 999, 999}};
    sumi_network *direct = network(f, graph, N, 0, unfused);
    sumi_network *tabled = network(f, graph, N, STEPS, unfused);
    assert_true(tabled->time_table.row_floats > 0);
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++)
        check_run(f, direct, tabled, batches[i], i % 2 ? N - 2 : N);
    for (int32_t t = 950; t > 900; t--) {
        int32_t same[N] = {t, t, t, t, t};
        check_run(f, direct, tabled, same, N);
    }
    sumi_network_free(direct);
    sumi_network_free(tabled);
}

static void test_same_bits(void **state)
{
    fixture *f = *state;
    check_graph(f, &f->model->graph, false);
    check_graph(f, &f->model->graph, true);
}

/* Not the seed: the embedding itself shifts one tensor, and a layer's output both shifts another
 * and goes into a further layer. */
static void test_another_graph(void **state)
{
    fixture *f = *state;
    enum { C = 3 };
    sumi_graph graph;
    sumi_graph_init(&graph);
    int widen = sumi_graph_conv_layer(&graph, "a", 1, C, 3), keep[2], linear[2];
    keep[0] = sumi_graph_conv_layer(&graph, "b", C, C, 3);
    keep[1] = sumi_graph_conv_layer(&graph, "c", C, C, 3);
    linear[0] = sumi_graph_linear_layer(&graph, "d", C, C);
    linear[1] = sumi_graph_linear_layer(&graph, "e", C, C);
    int last = sumi_graph_conv_layer(&graph, "f", C, 1, 1);
    sumi_edge t = sumi_graph_sinusoid(&graph, sumi_graph_input_time(&graph), C);
    sumi_edge x = sumi_graph_conv(&graph, sumi_graph_input_image(&graph, 1), widen);
    x = sumi_graph_conv(&graph, sumi_graph_shift(&graph, x, t), keep[0]);
    sumi_edge first = sumi_graph_linear(&graph, t, linear[0]);
    x = sumi_graph_conv(&graph, sumi_graph_shift(&graph, x, first), keep[1]);
    sumi_edge second = sumi_graph_linear(&graph, first, linear[1]);
    x = sumi_graph_conv(&graph, sumi_graph_shift(&graph, x, second), last);
    sumi_graph_output(&graph, "x", x);
    assert_int_equal(graph.status, SUMI_OK);
    assert_int_equal(sumi_params_allocate(&graph.params, NULL), SUMI_OK);
    sumi_params_init(&graph.params, 5);
    check_graph(f, &graph, false);
    check_graph(f, &graph, true);
    sumi_network *tabled = network(f, &graph, 1, STEPS, false);
    assert_int_equal(tabled->time_table.row_floats, 3 * C);
    sumi_network_free(tabled);
    sumi_graph_free(&graph);
}

/* A linear layer's bias is read whenever the layer runs: what ran once only does not see a change
 * until it is told of. */
static void test_rows_last_until_weights_change(void **state)
{
    fixture *f = *state;
    const sumi_graph *graph = &f->model->graph;
    sumi_network *tabled = network(f, graph, N, STEPS, false);
    static const int32_t t[N] = {7, 300, 7, 1000, 1}, other[N] = {8, 300, 7, 1000, 1};
    cpu_predict(tabled, f->x, t, N, f->direct);
    for (int i = 0; i < graph->params.count; i++) {
        const sumi_param *param = &graph->params.items[i];
        if (strstr(param->name, "linear") && param->kind == SUMI_PARAM_BIAS)
            graph->params.values[param->offset] += 1;
    }
    cpu_predict(tabled, f->x, t, N, f->tabled);
    assert_memory_equal(f->tabled, f->direct, sizeof f->direct);
    cpu_predict(tabled, f->x, other, N, f->tabled); /* a new row sees it, no other does */
    assert_memory_not_equal(f->tabled, f->direct, FLOATS * sizeof(float));
    assert_memory_equal(f->tabled + FLOATS, f->direct + FLOATS, (N - 1) * FLOATS * sizeof(float));

    sumi_network_weights_changed(tabled);
    sumi_network *direct = network(f, graph, N, 0, false);
    check_run(f, direct, tabled, t, N);
    check_run(f, direct, tabled, other, N);
    sumi_network_free(direct);
    sumi_network_free(tabled);
}

/* One evaluation pays for a handful of rows, and not for a thousand. */
static void test_few_rows_at_a_time(void **state)
{
    fixture *f = *state;
    sumi_network *tabled = network(f, &f->model->graph, N, STEPS, false);
    static const int32_t t[N] = {500, 500, 500, 500, 500};
    cpu_predict(tabled, f->x, t, N, f->tabled);
    const sumi_time_key *keys = sumi_at(tabled, tabled->time_table.keys);
    assert_int_equal(tabled->time_table.count, 4);
    for (int row = 0; row < 4; row++) {
        float time;
        memcpy(&time, &keys[row].time, sizeof time);
        assert_int_equal((int)time, 500 - row);
    }
    sumi_network_free(tabled);
}

/* The context's networks have the table, and a training step renews it. */
static void test_training_renews_it(void **state)
{
    fixture *f = *state;
    static const int32_t t[N] = {7, 300, 7, 1000, 1};
    sumi_context *ctx = NULL;
    assert_int_equal(sumi_context_create(0, &ctx), SUMI_OK);
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.n = N;
    batch.h = batch.w = SIZE;
    batch.x = f->x;
    batch.t = t;
    sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
    config.batch = N;
    sumi_trainer *trainer = NULL;
    assert_int_equal(sumi_trainer_create(ctx, f->model, &config, &trainer), SUMI_OK);
    assert_int_equal(sumi_model_predict(ctx, f->model, &batch, f->direct), SUMI_OK);
    assert_int_equal(sumi_trainer_step(trainer, &batch, NULL), SUMI_OK);
    assert_int_equal(sumi_model_predict(ctx, f->model, &batch, f->tabled), SUMI_OK);
    assert_memory_not_equal(f->tabled, f->direct, sizeof f->direct);
    sumi_network *direct = network(f, &f->model->graph, N, 0, false);
    cpu_predict(direct, f->x, t, N, f->direct);
    assert_memory_equal(f->tabled, f->direct, sizeof f->direct);
    sumi_network *cached = NULL;
    sumi_predictor want = {.n_max = N, .h = SIZE, .w = SIZE};
    assert_int_equal(sumi_runtime_predictor(&f->runtime, f->model, &want, &cached, NULL), SUMI_OK);
    assert_true(cached->time_table.row_floats > 0);
    sumi_network_free(direct);
    sumi_trainer_free(trainer);
    sumi_context_free(ctx);
}

static void test_memory_and_costs(void **state)
{
    fixture *f = *state;
    const sumi_graph *graph = &f->model->graph;
    sumi_network *direct = network(f, graph, N, 0, false);
    sumi_network *tabled = network(f, graph, N, STEPS, false);
    sumi_network *huge = network(f, graph, N, INT32_MAX, false); /* too many: some are kept */
    /* channels that are shifted: 1, w, 2w, 6w and 3w */
    assert_int_equal(tabled->time_table.row_floats, 1 + 12 * 4);
    assert_true(sumi_network_bytes(tabled) >=
                sumi_network_bytes(direct) + STEPS * (1 + 12 * 4) * sizeof(float));
    assert_true(sumi_network_bytes(huge) < sumi_network_bytes(direct) + 80 * 1024 * 1024);
    for (int node = 0; node < graph->node_count; node++) {
        bool linear = strcmp(sumi_kind_facts(graph->nodes[node].kind)->name, "linear") == 0;
        assert_true(!linear || sumi_node_macs(direct, node) > 0);
        assert_true(sumi_node_macs(tabled, node) == (linear ? 0 : sumi_node_macs(direct, node)));
    }
    char *text = sumi_network_describe(tabled);
    assert_non_null(text);
    assert_non_null(strstr(text, "once for each t"));
    assert_non_null(strstr(text, "time table: 1000 rows of 49 floats"));
    free(text);
    sumi_network_free(direct);
    sumi_network_free(tabled);
    sumi_network_free(huge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_graph, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows_last_until_weights_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_few_rows_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_training_renews_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_and_costs, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
