/*
 * Networks that keep their tensors as bfloat16, or multiply 16-bit integers, against float32:
 * predictions, gradients, memory, and the same bits whatever the threads.
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

enum { N = 32, SIDE = 16, PIXELS = SIDE * SIDE };

typedef struct {
    sumi_runtime runtime;
    sumi_model *model;
    int force; /* of networks that keep bfloat16: an algorithm, or -1 */
    float x[N * PIXELS], target[N * PIXELS];
    int32_t t[N];
} fixture;

/* x is the noise that is to be predicted, over a square, as in training. */
static void fixture_open(fixture *f, const char *isa, int threads, int base_channels)
{
    sumi_error err = {""};
    f->force = -1;
    assert_int_equal(sumi_runtime_init(&f->runtime, threads, isa, &err), SUMI_OK);
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    config.time_dim = 20;
    config.base_channels = base_channels;
    config.seed = 3;
    assert_int_equal(sumi_models_create(&config, &f->model, &err), SUMI_OK);
    sumi_random at = {1, SUMI_STREAM_USER, 0, 0};
    sumi_random_normals(&at, 0, f->target, N * PIXELS);
    for (int i = 0; i < N * PIXELS; i++) {
        int image = i / PIXELS, y = i / SIDE % SIDE, x = i % SIDE;
        f->t[image] = 1 + image * 999 / (N - 1);
        float noise = sqrtf((float)f->t[image] / 1000);
        f->x[i] = noise * f->target[i] + (1 - noise) * (y > 4 && x > 6 && x < 12 ? 1.0f : 0.0f);
    }
}

static void fixture_close(fixture *f)
{
    sumi_models_free(f->model);
    sumi_runtime_free(&f->runtime);
}

static sumi_network *make_network(const fixture *f, sumi_mode mode, sumi_precision precision,
                                  bool unfused)
{
    sumi_plan_config config = {.mode = mode,
                               .n_max = N,
                               .h = SIDE,
                               .w = SIDE,
                               .unfused = unfused,
                               .force = precision == SUMI_PRECISION_BF16 ? f->force : -1,
                               .precision = precision};
    sumi_network *net = NULL;
    assert_int_equal(sumi_network_create(&f->model->graph, sumi_cpu_kernels(f->runtime.device),
                                         sumi_cpu_pool(f->runtime.device), &config, &net, NULL),
                     SUMI_OK);
    return net;
}

/* All gradients, malloc'ed. */
static float *gradients_of(const fixture *f, sumi_precision precision, bool unfused, double *loss)
{
    sumi_network *net = make_network(f, SUMI_MODE_TRAIN, precision, unfused);
    float *gradients = calloc(f->model->graph.params.value_count, sizeof *gradients);
    assert_non_null(gradients);
    cpu_training run = {f->x, f->t, f->target, N, gradients};
    *loss = cpu_gradients(net, &run);
    sumi_network_free(net);
    return gradients;
}

static void predict(const fixture *f, sumi_precision precision, bool unfused, float *out)
{
    sumi_network *net = make_network(f, SUMI_MODE_PREDICT, precision, unfused);
    cpu_predict(net, f->x, f->t, N, out);
    sumi_network_free(net);
}

/* On each table and with each width (16: up-sampling inside convolutions), as the table has it and
 * with products of bfloat16. */
static void every_network(void (*check)(const fixture *f))
{
    for (int table = 0; sumi_kernels_list(table); table++)
        for (int base = 6; base <= 16; base += 10)
            for (int tiles = 0; tiles < 2; tiles++) {
                fixture f;
                fixture_open(&f, sumi_kernels_list(table)->name, 2, base);
                f.force = tiles ? SUMI_CONV_TILES : -1;
                if (getenv("SUMI_PRINT_ERRORS"))
                    fprintf(stderr, "%s %d %s: ", sumi_cpu_kernels(f.runtime.device)->name, base,
                            tiles ? "tiles" : "its own");
                check(&f);
                fixture_close(&f);
            }
}

static void assert_near(const float *a, const float *b, size_t count, double limit,
                        const char *what)
{
    double error = test_relative(a, b, count);
    if (getenv("SUMI_PRINT_ERRORS"))
        fprintf(stderr, "%s differ by %g\n", what, error);
    if (!(error <= limit))
        fail_msg("%s differ by %g, limit %g", what, error, limit);
}

/* Not equal either: else nothing would be rounded. */
static void check_predictions(const fixture *f)
{
    static float exact[N * PIXELS], fused[N * PIXELS], plain[N * PIXELS];
    predict(f, SUMI_PRECISION_FP32, false, exact);
    predict(f, SUMI_PRECISION_BF16, false, fused);
    predict(f, SUMI_PRECISION_BF16, true, plain);
    assert_near(fused, exact, N * PIXELS, 2e-2, "fused predictions");
    assert_near(plain, exact, N * PIXELS, 2e-2, "unfused predictions");
    assert_near(fused, plain, N * PIXELS, 1.5e-2, "fused and unfused predictions");
    assert_true(test_relative(fused, exact, N * PIXELS) > 1e-4);
}

static void test_predictions_are_near(void **state)
{
    (void)state;
    every_network(check_predictions);
}

/*
 * Rounding flips the sign of what is near zero before a ReLU, and the winner of a near tie in a
 * pool; then a gradient goes elsewhere altogether. So gradients are less near than predictions are:
 * with weights that are moved by as much as rounding moves them, float32's own go half as far.
 */
static void check_gradients(const fixture *f)
{
    double loss, loss_fused, loss_plain;
    float *exact = gradients_of(f, SUMI_PRECISION_FP32, false, &loss);
    float *fused = gradients_of(f, SUMI_PRECISION_BF16, false, &loss_fused);
    float *plain = gradients_of(f, SUMI_PRECISION_BF16, true, &loss_plain);
    size_t count = f->model->graph.params.value_count;
    if (getenv("SUMI_PRINT_ERRORS"))
        fprintf(stderr, "loss %g %g %g\n", loss, loss_fused, loss_plain);
    assert_true(fabs(loss_fused - loss) < 2e-3 * loss);
    assert_true(fabs(loss_plain - loss) < 2e-3 * loss);
    assert_near(fused, exact, count, .12, "fused gradients");
    assert_near(plain, exact, count, .12, "unfused gradients");
    assert_near(fused, plain, count, 6e-2, "fused and unfused gradients");
    free(exact);
    free(fused);
    free(plain);
}

static void test_gradients_are_near(void **state)
{
    (void)state;
    every_network(check_gradients);
}

static void check_threads(int force)
{
    float *gradients[2];
    static float out[2][N * PIXELS];
    size_t count = 0;
    for (int i = 0; i < 2; i++) {
        fixture f;
        double loss;
        fixture_open(&f, NULL, i + 1, 16);
        f.force = force;
        gradients[i] = gradients_of(&f, SUMI_PRECISION_BF16, false, &loss);
        predict(&f, SUMI_PRECISION_BF16, false, out[i]);
        count = f.model->graph.params.value_count;
        fixture_close(&f);
    }
    assert_memory_equal(gradients[0], gradients[1], count * sizeof(float));
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    free(gradients[0]);
    free(gradients[1]);
}

static void test_threads_give_the_same_bits(void **state)
{
    (void)state;
    check_threads(-1);
    check_threads(SUMI_CONV_TILES);
}

/* The first `n` images' predictions by a plan for one image at a time. */
static void predict_alone(const fixture *f, int n, float *out)
{
    sumi_plan_config config = {.mode = SUMI_MODE_PREDICT,
                               .n_max = 1,
                               .h = SIDE,
                               .w = SIDE,
                               .force = -1,
                               .precision = SUMI_PRECISION_FIXED16};
    sumi_network *net = NULL;
    assert_int_equal(sumi_network_create(&f->model->graph, sumi_cpu_kernels(f->runtime.device),
                                         sumi_cpu_pool(f->runtime.device), &config, &net, NULL),
                     SUMI_OK);
    for (int i = 0; i < n; i++)
        cpu_predict(net, f->x + i * PIXELS, f->t + i, 1, out + i * PIXELS);
    sumi_network_free(net);
}

/* Products of 16-bit integers, in a network wide enough for them: far nearer than bfloat16, and the
 * same bits on any threads and for an image alone. A table without them computes in float32. */
static void test_fixed16(void **state)
{
    (void)state;
    static float exact[N * PIXELS], out[2][N * PIXELS], alone[4 * PIXELS];
    for (int table = 0; sumi_kernels_list(table); table++) {
        const char *name = sumi_kernels_list(table)->name;
        bool never = strcmp(name, "generic") == 0 || strcmp(name, "neon") == 0;
        bool has = !never && strcmp(name, "avx512") != 0;
        float *gradients[3];
        double loss[3];
        size_t count = 0;
        for (int threads = 1; threads <= 3 && !never; threads += 2) {
            fixture f;
            fixture_open(&f, name, threads, 64);
            count = f.model->graph.params.value_count;
            predict(&f, SUMI_PRECISION_FIXED16, false, out[threads / 2]);
            gradients[threads / 2] =
                gradients_of(&f, SUMI_PRECISION_FIXED16, false, &loss[threads / 2]);
            if (threads == 1) {
                predict(&f, SUMI_PRECISION_FP32, false, exact);
                gradients[2] = gradients_of(&f, SUMI_PRECISION_FP32, false, &loss[2]);
                predict_alone(&f, 4, alone);
            }
            fixture_close(&f);
        }
        if (never)
            continue;
        assert_memory_equal(out[0], out[1], sizeof exact);
        assert_memory_equal(out[0], alone, sizeof alone);
        assert_memory_equal(gradients[0], gradients[1], count * sizeof(float));
        assert_true((memcmp(out[0], exact, sizeof exact) != 0) == has);
        assert_near(out[0], exact, N * PIXELS, 3e-3, "predictions in 16-bit integers");
        assert_near(gradients[0], gradients[2], count, 4e-2, "gradients in 16-bit integers");
        assert_true(fabs(loss[0] - loss[2]) < 3e-4 * loss[2]);
        for (int i = 0; i < 3; i++)
            free(gradients[i]);
    }
}

/* Weights that are representable give what rounding them gives; what is kept stays as it is. */
static void test_layers_see_rounded_weights(void **state)
{
    (void)state;
    fixture f;
    static float out[2][N * PIXELS];
    fixture_open(&f, NULL, 2, 16);
    sumi_params *params = &f.model->graph.params;
    float *kept = malloc(params->value_count * sizeof *kept);
    assert_non_null(kept);
    memcpy(kept, params->values, params->value_count * sizeof *kept);
    predict(&f, SUMI_PRECISION_BF16, false, out[0]);
    assert_memory_equal(kept, params->values, params->value_count * sizeof *kept);
    for (int i = 0; i < params->count; i++) {
        const sumi_param *param = &params->items[i];
        float *w = params->values + param->offset;
        if (param->kind == SUMI_PARAM_CONV || param->kind == SUMI_PARAM_LINEAR)
            sumi_cpu_kernels(f.runtime.device)->round_bf16(w, w, param->count);
    }
    assert_true(memcmp(kept, params->values, params->value_count * sizeof *kept) != 0);
    predict(&f, SUMI_PRECISION_BF16, false, out[1]);
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    free(kept);
    fixture_close(&f);
}

/* The seed network at the tutorial's size: nothing is run, so no memory is touched. With products
 * on tiles, up-sampled tensors are written out. */
static void test_memory(void **state)
{
    (void)state;
    size_t bytes[2];
    double moved[2]; /* by the second convolution, whose tensors are large beside its weights */
    fixture f;
    fixture_open(&f, NULL, 2, 64);
    bool has_tiles = strcmp(sumi_cpu_kernels(f.runtime.device)->name, "amx") == 0;
    for (int i = 0; i < 2; i++) {
        sumi_plan_config config = {.mode = SUMI_MODE_TRAIN,
                                   .n_max = 128,
                                   .h = 28,
                                   .w = 28,
                                   .force = -1,
                                   .precision = i ? SUMI_PRECISION_BF16 : SUMI_PRECISION_FP32};
        sumi_network *net;
        assert_int_equal(sumi_network_create(&f.model->graph, sumi_cpu_kernels(f.runtime.device),
                                             sumi_cpu_pool(f.runtime.device), &config, &net, NULL),
                         SUMI_OK);
        bytes[i] = sumi_network_bytes(net);
        moved[i] = sumi_node_bytes(net, 5, 128, true);
        char *text = sumi_network_describe(net);
        assert_non_null(text);
        assert_int_equal(strstr(text, "28x28 bf16") != NULL, i);
        assert_int_equal(strstr(text, " tiles,") != NULL, i && has_tiles);
        assert_int_equal(strstr(text, "left to the convolution") == NULL, i && has_tiles);
        free(text);
        sumi_network_free(net);
    }
    assert_true((double)bytes[1] < (has_tiles ? .75 : .6) * (double)bytes[0]);
    assert_true(moved[1] > .5 * moved[0] && moved[1] < .51 * moved[0]);
    fixture_close(&f);
}

static void test_unknown_precision_is_refused(void **state)
{
    (void)state;
    fixture f;
    sumi_network *net;
    sumi_error err = {""};
    fixture_open(&f, NULL, 1, 6);
    sumi_plan_config config = {.mode = SUMI_MODE_PREDICT,
                               .n_max = 1,
                               .h = SIDE,
                               .w = SIDE,
                               .force = -1,
                               .precision = (sumi_precision)7};
    assert_int_equal(sumi_network_create(&f.model->graph, sumi_cpu_kernels(f.runtime.device),
                                         sumi_cpu_pool(f.runtime.device), &config, &net, &err),
                     SUMI_EINVAL);
    assert_string_equal(err.text, "precision is 7, expected 0 (fp32), 1 (bf16) or 2 (fixed16)");
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_predictions_are_near),
        cmocka_unit_test(test_gradients_are_near),
        cmocka_unit_test(test_threads_give_the_same_bits),
        cmocka_unit_test(test_fixed16),
        cmocka_unit_test(test_layers_see_rounded_weights),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_unknown_precision_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
