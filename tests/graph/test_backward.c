/*
 * The executor against itself and against calculus: gradients of a small seed network by central
 * differences of its own loss, the fused executor against the unfused one, and eval mode with the
 * norm folded into weights against eval mode with the norm applied in the load.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph/graph_test.h"
#include "models/models.h"

enum { N = 3, H = 12, W = 8, WIDTH = 5, CHANNELS = 2, TIME_DIM = 7 };
enum { PIXELS = H * W * CHANNELS };

typedef struct {
    sumi_runtime runtime;
    sumi_model *model;
    float x[N * PIXELS], target[N * PIXELS];
    int32_t t[N];
} fixture;

static void fixture_open(fixture *f, const char *isa, int threads)
{
    sumi_error err = {""};
    assert_int_equal(sumi_runtime_init(&f->runtime, threads, isa, &err), SUMI_OK);
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    config.in_channels = config.out_channels = CHANNELS;
    config.time_dim = TIME_DIM;
    config.base_channels = WIDTH;
    config.seed = 3;
    assert_int_equal(sumi_model_new(&config, &f->model, &err), SUMI_OK);
    sumi_params *params = &f->model->graph.params;
    sumi_random at = {1, SUMI_STREAM_USER, 0, 0};
    for (int i = 0; i < params->count; i++) {
        const sumi_param *param = &params->items[i];
        float *statistics = params->statistics + param->offset;
        at.step = (uint32_t)i;
        for (size_t j = 0; j < param->count; j++) {
            float u = sumi_random_uniform(&at, j);
            if (param->kind == SUMI_PARAM_MEAN)
                statistics[j] = u - 0.5f;
            if (param->kind == SUMI_PARAM_VARIANCE)
                statistics[j] = 0.5f + u;
            if (param->kind == SUMI_PARAM_GAMMA) /* a negative scale turns max into min */
                params->values[param->offset + j] = u < 0.3f ? -0.7f : 0.6f + u;
            if (param->kind == SUMI_PARAM_BETA)
                params->values[param->offset + j] = u - 0.4f;
        }
    }
    at.step = 5e-4f;
    sumi_random_normals(&at, 0, f->x, N * PIXELS);
    at.step = 5e-4f;
    sumi_random_normals(&at, 0, f->target, N * PIXELS);
    f->t[0] = 1;
    f->t[1] = 1000;
    f->t[2] = 417;
}

static void fixture_close(fixture *f)
{
    sumi_model_release(f->model);
    sumi_runtime_close(&f->runtime);
}

static sumi_network *make_network(fixture *f, sumi_mode mode, bool unfused)
{
    sumi_plan_config config = {
        .mode = mode, .n_max = N + 1, .h = H, .w = W, .unfused = unfused, .force = -1};
    sumi_network *net = NULL;
    sumi_error err = {""};
    sumi_status status = sumi_network_create(&f->model->graph, f->runtime.kernels, f->runtime.pool,
                                             &config, &net, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(status, SUMI_OK);
    return net;
}

static double run(fixture *f, sumi_network *net, float *gradients)
{
    sumi_backward backward = {f->x, f->t, f->target, N, gradients};
    return sumi_network_backward(net, &backward);
}

/* A bias before a norm has no influence, so nothing to compare. */
static bool is_dead_bias(const sumi_param *param)
{
    return param->kind == SUMI_PARAM_BIAS && strstr(param->name, ".conv.") != NULL;
}

static void test_finite_differences(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, NULL, 2);
    sumi_network *net = make_network(&f, SUMI_MODE_TRAIN, false);
    sumi_params *params = &f.model->graph.params;
    float *gradients = calloc(params->value_count, sizeof *gradients);
    float *scratch = calloc(params->value_count, sizeof *scratch);
    assert_non_null(gradients);
    assert_non_null(scratch);
    run(&f, net, gradients);
    for (int i = 0; i < params->count; i++) {
        const sumi_param *param = &params->items[i];
        if (!sumi_param_trainable(param) || is_dead_bias(param))
            continue;
        /* Along the gradient itself the slope is its squared norm: one number for the tensor. */
        double norm = 0;
        const float *g = gradients + param->offset;
        for (size_t j = 0; j < param->count; j++)
            norm += (double)g[j] * (double)g[j];
        norm = sqrt(norm);
        if (norm < 1e-4) /* below what float32 losses resolve */
            continue;
        float *w = params->values + param->offset, step = 5e-4f;
        float *saved = malloc(param->count * sizeof *saved);
        assert_non_null(saved);
        memcpy(saved, w, param->count * sizeof *saved);
        double loss[2];
        for (int side = 0; side < 2; side++) {
            for (size_t j = 0; j < param->count; j++)
                w[j] = saved[j] + (side ? step : -step) * g[j] / (float)norm;
            loss[side] = run(&f, net, scratch);
        }
        memcpy(w, saved, param->count * sizeof *saved);
        free(saved);
        double slope = (loss[1] - loss[0]) / (2 * (double)step);
        if (fabs(slope - norm) > 0.02 * norm + 2e-4)
            fail_msg("%s: the loss's slope along the gradient is %g, expected %g", param->name,
                     slope, norm);
    }
    free(gradients);
    free(scratch);
    sumi_network_free(net);
    fixture_close(&f);
}

static void test_fused_equals_unfused(void **state)
{
    (void)state;
    for (int table = 0; sumi_kernels_list(table); table++) {
        fixture f;
        fixture_open(&f, sumi_kernels_list(table)->name, 2);
        sumi_params *params = &f.model->graph.params;
        float *a = calloc(params->value_count, sizeof *a),
              *b = calloc(params->value_count, sizeof *b);
        assert_non_null(a);
        assert_non_null(b);
        sumi_network *fused = make_network(&f, SUMI_MODE_TRAIN, false);
        sumi_network *plain = make_network(&f, SUMI_MODE_TRAIN, true);
        double loss_a = run(&f, fused, a), loss_b = run(&f, plain, b);
        assert_true(fabs(loss_a - loss_b) < 1e-6 * fabs(loss_b));
        for (int i = 0; i < params->count; i++) {
            const sumi_param *param = &params->items[i];
            if (!sumi_param_trainable(param))
                continue;
            double error = test_relative(a + param->offset, b + param->offset, param->count);
            if (error > 2e-5)
                fail_msg("%s: fused and unfused gradients of %s differ by %g",
                         sumi_kernels_list(table)->name, param->name, error);
        }
        sumi_network_free(fused);
        sumi_network_free(plain);
        float out_a[N * PIXELS], out_b[N * PIXELS];
        fused = make_network(&f, SUMI_MODE_PREDICT, false);
        plain = make_network(&f, SUMI_MODE_PREDICT, true);
        sumi_network_predict(fused, f.x, f.t, N, out_a);
        sumi_network_predict(plain, f.x, f.t, N, out_b);
        assert_true(test_relative(out_a, out_b, N * PIXELS) < 1e-5);
        sumi_network_free(fused);
        sumi_network_free(plain);
        free(a);
        free(b);
        fixture_close(&f);
    }
}

static void test_threads_give_the_same_bits(void **state)
{
    (void)state;
    float *first = NULL;
    for (int threads = 1; threads <= 3; threads++) {
        fixture f;
        fixture_open(&f, NULL, threads);
        sumi_network *net = make_network(&f, SUMI_MODE_TRAIN, false);
        size_t count = f.model->graph.params.value_count;
        float *gradients = calloc(count, sizeof *gradients);
        assert_non_null(gradients);
        run(&f, net, gradients);
        if (!first)
            first = gradients;
        else {
            assert_memory_equal(first, gradients, count * sizeof *first);
            free(gradients);
        }
        sumi_network_free(net);
        fixture_close(&f);
    }
    free(first);
}

static void test_plan(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, NULL, 1);
    sumi_network *net = make_network(&f, SUMI_MODE_TRAIN, false);
    char *text = sumi_network_describe(net);
    assert_non_null(text);
    assert_non_null(strstr(text, "max_pool"));
    assert_non_null(strstr(text, "adds"));
    if (getenv("SUMI_PRINT_PLAN"))
        fputs(text, stderr);
    free(text);
    sumi_network_free(net);
    sumi_plan_config odd = {.mode = SUMI_MODE_PREDICT, .n_max = 1, .h = 10, .w = 8, .force = -1};
    sumi_error err = {""};
    assert_int_equal(
        sumi_network_create(&f.model->graph, f.runtime.kernels, f.runtime.pool, &odd, &net, &err),
        SUMI_ESHAPE);
    assert_string_equal(err.text,
                        "height and width must be multiples of 4, found 10x8; nearest: 12x8");
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finite_differences),
        cmocka_unit_test(test_fused_equals_unfused),
        cmocka_unit_test(test_threads_give_the_same_bits),
        cmocka_unit_test(test_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
