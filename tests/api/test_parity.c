/*
 * The seed network against PyTorch in float64, on every instruction set that this CPU has, fused
 * and unfused: predictions, the gradient of every parameter, running statistics.
 *
 * tests/golden has PyTorch's values and the script that made them. A convolution's bias in front
 * of a batch norm has no gradient but rounding, so only its size is checked.
 */
#include "api/golden.h"
#include "cpu/cpu_test.h"

#include <stdio.h>

typedef struct {
    sumi_tensor_file file;
    sumi_pool *pool;
    sumi_model *plain, *clear;
} fixture;

static fixture golden; /* cmocka's own state is per test; this one is read by all */

static int set_up(void **state)
{
    (void)state;
    golden_open(GOLDEN_SEED, &golden.file);
    golden.plain = golden_model(false);
    golden.clear = golden_model(true);
    return sumi_pool_create(0, &golden.pool, NULL) == SUMI_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    sumi_models_free(golden.plain);
    sumi_models_free(golden.clear);
    sumi_pool_free(golden.pool);
    sumi_tensor_file_free(&golden.file);
    return 0;
}

static sumi_network *new_network(const sumi_model *model, const sumi_kernels *kernels,
                                 sumi_plan_config config)
{
    sumi_network *network;
    sumi_error err;
    if (sumi_network_create(&model->graph, kernels, golden.pool, &config, &network, &err) !=
        SUMI_OK)
        fail_msg("%s", err.text);
    return network;
}

/* ---- Predictions ----------------------------------------------------------------------------- */

static void check_prediction(const sumi_kernels *kernels, int batch, int h, int w, bool unfused)
{
    size_t count = 3 * (size_t)h * (size_t)w;
    float *x = golden_noise(batch, count), *out = calloc(count, sizeof *out);
    int32_t *t = golden_timesteps(batch, 3);
    sumi_network *network = new_network(golden.plain, kernels,
                                        (sumi_plan_config){.mode = SUMI_MODE_PREDICT,
                                                           .n_max = 3,
                                                           .h = h,
                                                           .w = w,
                                                           .unfused = unfused,
                                                           .force = -1});
    cpu_predict(network, x, t, 3, out);
    char name[64];
    snprintf(name, sizeof name, "predict.%dx%d", h, w);
    double distance = golden_distance(&golden.file, name, out, count);
    print_message("%s %dx%d %s: %.1e\n", kernels->name, h, w, unfused ? "unfused" : "fused",
                  distance);
    assert_true(distance <= 5e-5);
    sumi_network_free(network);
    free(x);
    free(out);
    free(t);
}

static void test_predictions(void **state)
{
    (void)state;
    const sumi_kernels *kernels;
    for (int i = 0; (kernels = sumi_kernels_list(i)) != NULL; i++)
        for (int unfused = 0; unfused < 2; unfused++) {
            check_prediction(kernels, 0, 28, 28, unfused);
            check_prediction(kernels, 1, 32, 32, unfused);
            check_prediction(kernels, 2, 20, 36, unfused);
        }
}

/* ---- Gradients ------------------------------------------------------------------------------- */

typedef struct {
    const sumi_kernels *kernels;
    int n, batch;
    size_t limit; /* of a stored gradient's length, as in make_golden.py */
    double tolerance;
    bool unfused;
} gradient_case;

/* Before a batch norm, a bias makes no difference. */
static bool is_conv_bias(const sumi_param *param)
{
    return param->kind == SUMI_PARAM_BIAS &&
           (strstr(param->name, ".conv.0.") != NULL || strstr(param->name, ".conv.3.") != NULL);
}

static double norm_of(const float *x, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)x[i] * x[i];
    return sqrt(sum);
}

static double stored_norm(const gradient_case *c, const char *name)
{
    char key[2 * SUMI_NAME_MAX];
    size_t one;
    snprintf(key, sizeof key, "norm.%d.%s", c->n, name);
    double *norm = golden_tensor(&golden.file, key, &one), value = norm[0];
    free(norm);
    return value;
}

/* What an error is measured against: the gradient's norm, or a hundredth of the largest in its
 * block where that is more. The few numbers of down_conv1.linear are differences of much larger
 * sums, because a shift of the whole image is all but undone by the batch norm. */
static double gradient_scale(const gradient_case *c, const sumi_param *param)
{
    const sumi_params *params = &golden.clear->graph.params;
    size_t block = strcspn(param->name, ".") + 1;
    double scale = stored_norm(c, param->name);
    for (int p = 0; p < params->count; p++) {
        const sumi_param *other = &params->items[p];
        if (sumi_param_trainable(other) && !is_conv_bias(other) &&
            strncmp(other->name, param->name, block) == 0)
            scale = fmax(scale, 1e-2 * stored_norm(c, other->name));
    }
    return scale;
}

/* The L2 distance of the stored elements, or that of the whole norm if it is larger, relative. */
static double gradient_error(const gradient_case *c, const sumi_param *param, const float *got)
{
    char key[2 * SUMI_NAME_MAX];
    size_t count, stride = golden_stride(param->count, c->limit);
    snprintf(key, sizeof key, "gradient.%d.%s", c->n, param->name);
    double *want = golden_tensor(&golden.file, key, &count);
    assert_int_equal(count, (param->count + stride - 1) / stride);

    double difference = 0, norm = stored_norm(c, param->name);
    for (size_t i = 0; i < count; i++)
        difference += (got[i * stride] - want[i]) * (got[i * stride] - want[i]);
    free(want);
    /* As if the elements that are not stored were off by as much. */
    double distance = sqrt(difference * (double)param->count / (double)count);
    return fmax(distance, fabs(norm_of(got, param->count) - norm)) / gradient_scale(c, param);
}

static void check_gradients(const gradient_case *c, const float *gradients)
{
    const sumi_params *params = &golden.clear->graph.params;
    double worst = 0;
    const char *worst_name = "";
    int compared = 0;
    for (int p = 0; p < params->count; p++) {
        const sumi_param *param = &params->items[p];
        if (!sumi_param_trainable(param))
            continue;
        float *got = malloc(param->count * sizeof *got);
        assert_non_null(got);
        sumi_param_export(param, gradients, got);
        if (is_conv_bias(param)) {
            assert_true(norm_of(got, param->count) <= 1e-4);
        } else {
            double error = gradient_error(c, param, got);
            if (!(error <= c->tolerance))
                fail_msg("%s n = %d: gradient of %s is off by %.2e", c->kernels->name, c->n,
                         param->name, error);
            worst_name = error > worst ? param->name : worst_name;
            worst = fmax(error, worst);
            compared++;
        }
        free(got);
    }
    assert_int_equal(compared, 52);
    print_message("%s n = %d %s: gradients within %.1e (%s)\n", c->kernels->name, c->n,
                  c->unfused ? "unfused" : "fused", worst, worst_name);
}

static void check_statistics(const gradient_case *c, sumi_network *network)
{
    sumi_model *model = golden_model(true);
    sumi_params *params = &model->graph.params;
    sumi_network_update_statistics(network, params->statistics);
    sumi_graph_count_batches(&model->graph, 1, params->counters);
    double worst = 0;
    for (int p = 0; p < params->count; p++) {
        const sumi_param *param = &params->items[p];
        char name[2 * SUMI_NAME_MAX];
        snprintf(name, sizeof name, "running.%d.%s", c->n, param->name);
        if (param->kind == SUMI_PARAM_COUNTER)
            assert_int_equal(params->counters[param->offset], 8);
        if (param->kind == SUMI_PARAM_MEAN || param->kind == SUMI_PARAM_VARIANCE)
            worst = fmax(worst, golden_distance(&golden.file, name,
                                                params->statistics + param->offset, param->count));
    }
    print_message("%s n = %d: running statistics within %.1e\n", c->kernels->name, c->n, worst);
    assert_true(worst <= 1e-5);
    sumi_models_free(model);
}

static void run_gradient_case(const gradient_case *c)
{
    size_t count = (size_t)c->n * 28 * 28;
    float *x = golden_noise(c->batch, count);
    float *target = golden_noise(c->batch + GOLDEN_TARGET_OFFSET, count);
    int32_t *t = golden_timesteps(c->batch, c->n);
    float *gradients = calloc(golden.clear->graph.params.value_count, sizeof *gradients);
    sumi_network *network = new_network(golden.clear, c->kernels,
                                        (sumi_plan_config){.mode = SUMI_MODE_TRAIN,
                                                           .n_max = c->n,
                                                           .h = 28,
                                                           .w = 28,
                                                           .unfused = c->unfused,
                                                           .force = -1});

    double loss = cpu_gradients(network, &(cpu_training){x, t, target, c->n, gradients});
    char name[32];
    size_t one;
    snprintf(name, sizeof name, "loss.%d", c->n);
    double *want = golden_tensor(&golden.file, name, &one);
    assert_true(fabs(loss / want[0] - 1) <= 1e-5);
    check_gradients(c, gradients);
    check_statistics(c, network);

    sumi_network_free(network);
    free(want);
    free(x);
    free(target);
    free(t);
    free(gradients);
}

static void test_gradients(void **state)
{
    (void)state;
    const sumi_kernels *kernels;
    for (int i = 0; (kernels = sumi_kernels_list(i)) != NULL; i++)
        for (int unfused = 0; unfused < 2; unfused++)
            run_gradient_case(
                &(gradient_case){kernels, 4, GOLDEN_GRADIENT_BATCH, 4096, 1e-4, unfused});
}

static void test_large_batch_gradients(void **state)
{
    (void)state;
    const sumi_kernels *kernels;
    for (int i = 0; (kernels = sumi_kernels_list(i)) != NULL; i++)
        run_gradient_case(&(gradient_case){kernels, 128, GOLDEN_LARGE_BATCH, 256, 2e-3, false});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_predictions),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_large_batch_gradients),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
