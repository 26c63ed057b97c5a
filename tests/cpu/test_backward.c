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

#include "cpu/cpu_test.h"
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
    assert_int_equal(sumi_models_create(&config, &f->model, &err), SUMI_OK);
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
    at.stream++; /* the parameters took the steps of the first */
    at.step = 0;
    sumi_random_normals(&at, 0, f->x, N * PIXELS);
    at.step = 1;
    sumi_random_normals(&at, 0, f->target, N * PIXELS);
    f->t[0] = 1;
    f->t[1] = 1000;
    f->t[2] = 417;
}

static void fixture_close(fixture *f)
{
    sumi_models_free(f->model);
    sumi_runtime_free(&f->runtime);
}

static sumi_network *make_network(fixture *f, sumi_mode mode, bool unfused)
{
    sumi_plan_config config = {
        .mode = mode, .n_max = N + 1, .h = H, .w = W, .unfused = unfused, .force = -1};
    sumi_network *net = NULL;
    sumi_error err = {""};
    sumi_status status = sumi_network_create(&f->model->graph, sumi_cpu_kernels(f->runtime.device),
                                             sumi_cpu_pool(f->runtime.device), &config, &net, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(status, SUMI_OK);
    return net;
}

static double run(fixture *f, sumi_network *net, float *gradients)
{
    cpu_training backward = {f->x, f->t, f->target, N, gradients};
    return cpu_gradients(net, &backward);
}

/* A bias before a norm has no influence, so nothing to compare. */
static bool is_dead_bias(const sumi_param *param)
{
    return param->kind == SUMI_PARAM_BIAS && strstr(param->name, ".conv.") != NULL;
}

/* Makes a direction of length 1; returns its product with the gradient g. */
static double unit_along(float *direction, const float *g, size_t count)
{
    double length = 0, product = 0;
    for (size_t j = 0; j < count; j++)
        length += (double)direction[j] * (double)direction[j];
    for (size_t j = 0; j < count; j++) {
        direction[j] /= (float)sqrt(length);
        product += (double)direction[j] * (double)g[j];
    }
    return product;
}

/* How fast the loss grows along a direction in one parameter's space: the mean of central
 * differences of several steps, since a loss in float32 is known to 1e-7 only, which is 3e-4 of a
 * slope over one of them. */
static double slope_along(fixture *f, sumi_network *net, const sumi_param *param,
                          const float *direction)
{
    enum { STEPS = 4 };
    sumi_params *params = &f->model->graph.params;
    float *w = params->values + param->offset;
    float *saved = malloc(param->count * sizeof *saved);
    float *scratch = calloc(params->value_count, sizeof *scratch);
    assert_true(saved != NULL && scratch != NULL);
    memcpy(saved, w, param->count * sizeof *saved);
    double slope = 0;
    for (int k = 0; k < STEPS; k++) {
        float step = 1.5e-4f + 5e-5f * (float)k;
        double loss[2];
        for (int side = 0; side < 2; side++) {
            for (size_t j = 0; j < param->count; j++)
                w[j] = saved[j] + (side ? step : -step) * direction[j];
            loss[side] = run(f, net, scratch);
        }
        slope += (loss[1] - loss[0]) / (2 * (double)step) / STEPS;
    }
    memcpy(w, saved, param->count * sizeof *saved);
    free(saved);
    free(scratch);
    return slope;
}

static void test_finite_differences(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, NULL, 2);
    sumi_network *net = make_network(&f, SUMI_MODE_TRAIN, false);
    sumi_params *params = &f.model->graph.params;
    float *gradients = calloc(params->value_count, sizeof *gradients);
    assert_non_null(gradients);
    run(&f, net, gradients);
    int checked = 0, dead = 0;
    for (int i = 0; i < params->count; i++) {
        const sumi_param *param = &params->items[i];
        const float *g = gradients + param->offset;
        if (!sumi_param_trainable(param))
            continue;
        if (is_dead_bias(param)) {
            dead++;
            for (size_t j = 0; j < param->count; j++)
                assert_true(g[j] == 0);
            continue;
        }
        /* Along the gradient itself the slope is its squared norm: one number for the tensor. */
        double norm = 0;
        for (size_t j = 0; j < param->count; j++)
            norm += (double)g[j] * (double)g[j];
        norm = sqrt(norm);
        if (norm < 1e-3) /* near what float32 losses resolve: nothing could be compared */
            fail_msg("%s: the gradient's norm is only %g", param->name, norm);
        /* Along the gradient itself the slope is its norm; along random directions a part that is
         * missing shows, too. */
        float *direction = malloc(param->count * sizeof *direction);
        assert_non_null(direction);
        for (int draw = -1; draw < 4; draw++) {
            sumi_random at = {2, SUMI_STREAM_USER, (uint32_t)i, (uint32_t)(draw + 1)};
            if (draw < 0)
                memcpy(direction, g, param->count * sizeof *direction);
            else
                sumi_random_normals(&at, 0, direction, param->count);
            double expected = unit_along(direction, g, param->count);
            double slope = slope_along(&f, net, param, direction);
            if (!(fabs(slope - expected) <= (draw < 0 ? 0.02 : 0.01) * norm + 2e-4))
                fail_msg("%s, direction %d: the loss's slope is %g, expected %g", param->name, draw,
                         slope, expected);
        }
        free(direction);
        checked++;
    }
    assert_int_equal(dead, 10); /* five blocks of two convolutions */
    assert_int_equal(checked, 52);
    free(gradients);
    sumi_network_free(net);
    fixture_close(&f);
}

/* The loss of a target that is `level` in images first .. last and 0 elsewhere. */
static double loss_at(fixture *f, sumi_network *net, float level, int first, int last,
                      float *gradients)
{
    for (int i = 0; i < N * PIXELS; i++)
        f->target[i] = i / PIXELS >= first && i / PIXELS <= last ? level : 0.0f;
    return run(f, net, gradients);
}

/* As a function of the target alone, mean((out - target)^2) has a second difference and a slope
 * that are known whatever the network does. */
static void test_loss_is_of_output_and_target(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, NULL, 2);
    sumi_network *net = make_network(&f, SUMI_MODE_TRAIN, false);
    sumi_params *params = &f.model->graph.params;
    float *gradients = calloc(params->value_count, sizeof *gradients);
    assert_non_null(gradients);
    double below = loss_at(&f, net, -1, 0, N - 1, gradients);
    double above = loss_at(&f, net, 1, 0, N - 1, gradients);
    double middle = loss_at(&f, net, 0, 0, N - 1, gradients);
    assert_true(fabs(above + below - 2 * middle - 2) < 1e-5);
    /* Moving the output's bias moves the output as a target moves the other way. */
    const sumi_param *bias = &params->items[params->count - 1];
    assert_int_equal(bias->kind, SUMI_PARAM_BIAS);
    assert_int_equal(bias->count, CHANNELS);
    double slope = 0;
    for (int c = 0; c < CHANNELS; c++)
        slope += (double)gradients[bias->offset + (size_t)c];
    assert_true(fabs(slope) > 1e-3);
    assert_true(fabs(slope - (below - above) / 2) < 1e-5);
    for (int n = 0; n < N; n++) { /* each image has its share */
        below = loss_at(&f, net, -1, n, n, gradients);
        above = loss_at(&f, net, 1, n, n, gradients);
        assert_true(fabs(above + below - 2 * middle - 2.0 / N) < 1e-5);
    }
    free(gradients);
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
        int checked = 0;
        for (int i = 0; i < params->count; i++) {
            const sumi_param *param = &params->items[i];
            if (!sumi_param_trainable(param))
                continue;
            double error = test_relative(a + param->offset, b + param->offset, param->count);
            if (error > 2e-5)
                fail_msg("%s: fused and unfused gradients of %s differ by %g",
                         sumi_kernels_list(table)->name, param->name, error);
            checked++;
        }
        assert_int_equal(checked, 62);
        sumi_network_free(fused);
        sumi_network_free(plain);
        float out_a[N * PIXELS], out_b[N * PIXELS];
        fused = make_network(&f, SUMI_MODE_PREDICT, false);
        plain = make_network(&f, SUMI_MODE_PREDICT, true);
        cpu_predict(fused, f.x, f.t, N, out_a);
        cpu_predict(plain, f.x, f.t, N, out_b);
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

/* What the plan's text says of a gradient, "gradient of v3: adds, sums for the norm". */
typedef struct {
    int value;
    bool writes, norm, shift;
} gradient_note;

static int read_notes(const char *text, gradient_note *notes, int most)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, "gradient of v")) != NULL; at++) {
        assert_true(count < most);
        const char *end = strchr(at, '\n');
        assert_non_null(end);
        char line[128] = "";
        assert_true((size_t)(end - at) < sizeof line);
        memcpy(line, at, (size_t)(end - at));
        notes[count++] = (gradient_note){.value = atoi(line + strlen("gradient of v")),
                                         .writes = strstr(line, ": writes") != NULL,
                                         .norm = strstr(line, "for the norm") != NULL,
                                         .shift = strstr(line, "for the shift") != NULL};
    }
    return count;
}

/* The text names every operation in its place, and tells who writes a gradient first (in backward
 * order, from the last line up), who adds to it, and who completes it. */
static void test_plan_text(void **state)
{
    (void)state;
    static const char block[] = "linear linear conv norm conv norm ";
    char expected[512] = "time ", found[512] = "";
    for (int i = 0; i < 5; i++) {
        strcat(expected, block);
        strcat(expected, i < 2 ? "max_pool " : i < 4 ? "upsample " : "conv loss ");
    }
    fixture f;
    fixture_open(&f, NULL, 1);
    sumi_network *net = make_network(&f, SUMI_MODE_TRAIN, false);
    char *text = sumi_network_describe(net);
    assert_non_null(text);
    if (getenv("SUMI_PRINT_PLAN"))
        fputs(text, stderr);
    int nodes = 0;
    for (const char *line = strchr(text, '\n') + 1; *line != 'b'; line = strchr(line, '\n') + 1) {
        int number = -1;
        char name[16] = "";
        if (sscanf(line, "%d %15s", &number, name) != 2)
            continue;
        assert_int_equal(number, nodes++);
        strcat(strcat(found, name), " ");
    }
    assert_string_equal(found, expected);
    gradient_note notes[64];
    int count = read_notes(text, notes, 64), norms = 0, shifts = 0, adds = 0;
    for (int i = 0; i < count; i++) {
        norms += notes[i].norm;
        shifts += notes[i].shift;
        if (f.model->graph.values[notes[i].value].channels == CHANNELS)
            continue; /* the image has no gradient of its own, only the shift's sums */
        bool first = true, last = true;
        for (int j = 0; j < count; j++) {
            first = first && (j <= i || notes[j].value != notes[i].value);
            last = last && (j >= i || notes[j].value != notes[i].value);
        }
        assert_true(!notes[i].norm || last);
        if (!notes[i].norm && !notes[i].shift)
            continue; /* of a vector: those are set to 0 and added to */
        assert_int_equal(notes[i].writes, first);
        adds += !first;
    }
    assert_int_equal(norms, 10);
    assert_int_equal(shifts, 7); /* of two sources where there is a skip connection */
    assert_int_equal(adds, 2);   /* each pool, to what the skip connection has written */
    free(text);
    sumi_network_free(net);
    fixture_close(&f);
}

static void test_plan_refuses_a_size(void **state)
{
    (void)state;
    fixture f;
    sumi_network *net = NULL;
    fixture_open(&f, NULL, 1);
    sumi_plan_config odd = {.mode = SUMI_MODE_PREDICT, .n_max = 1, .h = 10, .w = 8, .force = -1};
    sumi_error err = {""};
    assert_int_equal(sumi_network_create(&f.model->graph, sumi_cpu_kernels(f.runtime.device),
                                         sumi_cpu_pool(f.runtime.device), &odd, &net, &err),
                     SUMI_ESHAPE);
    assert_string_equal(err.text,
                        "height and width must be multiples of 4, found 10x8; nearest: 12x8");
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finite_differences),
        cmocka_unit_test(test_loss_is_of_output_and_target),
        cmocka_unit_test(test_fused_equals_unfused),
        cmocka_unit_test(test_threads_give_the_same_bits),
        cmocka_unit_test(test_plan_text),
        cmocka_unit_test(test_plan_refuses_a_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
