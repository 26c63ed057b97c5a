/*
 * The small residual network: it learns pictures with labels, its rows of times and labels have the
 * bits of computing them anew, and bfloat16 and threads do to it what they do to the tutorial's.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/cpu_test.h"
#include "cpu/network.h"
#include "data/data.h"
#include "models/models.h"

enum { N = 16, SIDE = 16, PIXELS = SIDE * SIDE, WIDTH = 16 };

typedef struct {
    sumi_runtime runtime;
    sumi_dataset *set;
    sumi_graph graph;
    float image[N * PIXELS], target[N * PIXELS], time[N], out[2][N * PIXELS];
    int32_t labels[N];
    sumi_inputs in;
} fixture;

static void fixture_open(fixture *f, int threads)
{
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.height = config.width = SIDE;
    config.channels = 1;
    assert_int_equal(sumi_runtime_init(&f->runtime, threads, getenv("SUMI_ISA"), NULL), SUMI_OK);
    assert_int_equal(sumi_data_open("shapes", &config, &f->set, NULL), SUMI_OK);
    assert_true(f->set->classes > 1);
    sumi_build_residual(&f->graph, 1, WIDTH, f->set->classes);
    assert_string_equal(f->graph.error.text, "");
    assert_int_equal(sumi_params_allocate(&f->graph.params, NULL), SUMI_OK);
    sumi_params_init(&f->graph.params, 1);
    f->in =
        (sumi_inputs){.image = f->image, .time = f->time, .labels = f->labels, .target = f->target};
}

static void fixture_close(fixture *f)
{
    sumi_graph_free(&f->graph);
    sumi_data_free(f->set);
    sumi_runtime_free(&f->runtime);
}

/* Batch number step: (1 - t) x + t noise, of which the network shall tell noise - x. */
static void draw_batch(fixture *f, int step)
{
    for (int i = 0; i < N; i++) {
        float *image = f->image + i * PIXELS, *target = f->target + i * PIXELS;
        sumi_random at = {4, SUMI_STREAM_USER, (uint32_t)step, (uint64_t)i};
        float t = sumi_random_uniform(&at, 0);
        at.step += 1u << 20;
        sumi_data_read(f->set, (int64_t)step * N + i, image, &f->labels[i]);
        sumi_random_normals(&at, 0, target, PIXELS);
        for (int k = 0; k < PIXELS; k++) {
            float x = 2 * image[k] - 1, noise = target[k];
            image[k] = (1 - t) * x + t * noise;
            target[k] = noise - x;
        }
        f->time[i] = 1000 * t;
        if (i % 5 == 4)
            f->labels[i] = -1;
    }
}

static sumi_network *network(const fixture *f, sumi_plan_config config)
{
    sumi_network *net = NULL;
    sumi_error err = {""};
    config.n_max = N;
    config.h = config.w = SIDE;
    config.force = -1;
    sumi_network_create(&f->graph, sumi_cpu_kernels(f->runtime.device),
                        sumi_cpu_pool(f->runtime.device), &config, &net, &err);
    assert_string_equal(err.text, "");
    return net;
}

/* Adam for some steps; returns the mean loss of the first ten and of the last ten. */
static void train(fixture *f, int steps, sumi_precision precision, double loss[2])
{
    size_t count = f->graph.params.value_count;
    float *g = calloc(3 * count, sizeof *g), *m = g + count, *v = m + count;
    assert_non_null(g);
    sumi_network *net =
        network(f, (sumi_plan_config){.mode = SUMI_MODE_TRAIN, .precision = precision});
    loss[0] = loss[1] = 0;
    for (int i = 0; i < steps; i++) {
        draw_batch(f, i);
        double now = sumi_network_gradients(net, &f->in, N, g);
        sumi_adam adam = {2e-3, .9, .999, 1e-8, 1 - pow(.9, i + 1), 1 - pow(.999, i + 1)};
        sumi_cpu_kernels(f->runtime.device)->adam(&adam, f->graph.params.values, g, m, v, count);
        if (i < 10 || i >= steps - 10)
            loss[i >= 10] += now / 10;
    }
    sumi_network_free(net);
    free(g);
}

static void test_it_learns(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        static fixture f;
        double loss[2];
        fixture_open(&f, 2);
        train(&f, 80, bf16 ? SUMI_PRECISION_BF16 : SUMI_PRECISION_FP32, loss);
        assert_true(loss[0] > 0.8);
        assert_true(loss[1] < 0.6 * loss[0]);
        fixture_close(&f);
    }
}

static void test_threads_give_the_same_bits(void **state)
{
    static fixture f[2];
    double loss[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        fixture_open(&f[i], 1 + 2 * i);
        train(&f[i], 4, SUMI_PRECISION_FP32, loss);
    }
    assert_memory_equal(f[0].graph.params.values, f[1].graph.params.values,
                        f[0].graph.params.value_count * sizeof(float));
    for (int i = 0; i < 2; i++)
        fixture_close(&f[i]);
}

/* Times between the steps, labels and none, each image with its own; more keys than there are rows,
 * and keys that come again. */
static void test_rows_of_times_and_labels(void **state)
{
    (void)state;
    static fixture f;
    fixture_open(&f, 2);
    sumi_network *direct = network(&f, (sumi_plan_config){.mode = SUMI_MODE_PREDICT});
    sumi_network *kept = network(&f, (sumi_plan_config){.mode = SUMI_MODE_PREDICT, .timesteps = 5});
    assert_true(kept->time_table.row_floats > 0);
    bool full = false;
    for (int run = 0; run < 30; run++) {
        size_t before = kept->time_table.count;
        draw_batch(&f, run % 7);
        for (int i = 0; i < N; i++)
            f.time[i] = run % 3 == 0 ? f.time[i] : run % 3 == 1 ? (float)(1 + i % 6) : 2.5f;
        sumi_network_predict(direct, &f.in, N, (float *[]){f.out[0]});
        sumi_network_predict(kept, &f.in, N, (float *[]){f.out[1]});
        assert_memory_equal(f.out[0], f.out[1], sizeof f.out[0]);
        assert_true(kept->time_table.count <= kept->time_table.capacity);
        full |= kept->time_table.count < before;
    }
    assert_true(full); /* and was begun anew */
    /* The label is seen, and so is its absence. */
    for (int i = 0; i < N; i++)
        f.labels[i] = f.labels[i] < 0 ? 0 : -1;
    sumi_network_predict(kept, &f.in, N, (float *[]){f.out[0]});
    for (int i = 0; i < N; i++)
        assert_memory_not_equal(f.out[0] + i * PIXELS, f.out[1] + i * PIXELS,
                                PIXELS * sizeof(float));
    sumi_network_free(direct);
    sumi_network_free(kept);
    fixture_close(&f);
}

/* Sums are written by convolutions, and nothing of a block is a pass over its tensors but the sum
 * of its input's gradients. */
static void test_plan(void **state)
{
    (void)state;
    static fixture f;
    fixture_open(&f, 1);
    sumi_network *net = network(&f, (sumi_plan_config){.mode = SUMI_MODE_TRAIN});
    int fused = 0;
    for (int i = 0; i < f.graph.node_count; i++) {
        bool image =
            f.graph.nodes[i].kind == SUMI_KIND_ADD && !f.graph.values[f.graph.nodes[i].out].vector;
        assert_int_equal(image, net->nodes[i].skipped && !f.graph.nodes[i].superseded);
        fused += image;
    }
    assert_int_equal(fused, 3);
    char *text = sumi_network_describe(net);
    assert_non_null(text);
    assert_non_null(strstr(text, "modulated by"));
    assert_non_null(strstr(text, "sum of 2"));
    free(text);
    sumi_network_free(net);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_learns),
        cmocka_unit_test(test_threads_give_the_same_bits),
        cmocka_unit_test(test_rows_of_times_and_labels),
        cmocka_unit_test(test_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
