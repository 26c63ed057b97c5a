/*
 * The two networks on a device, against the CPU: predictions, samplings with every solver, masks
 * and guidance; that a batch changes no bit, and that weights that changed are taken over.
 */
#include <math.h>
#include <string.h>

#include "opencl/cl_test.h"

#include "sample/sample.h"

enum { N = 5, SIDE = 16, PIXELS = SIDE * SIDE, STEPS = 3, SOLVERS_MAX = 32 };

/* The last layers of the residual network start at zero: all are drawn. */
static sumi_model *make_model(const char *net)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_model *model = NULL;
    sumi_error err = {""};
    config.net = net;
    config.base_channels = 8;
    config.time_dim = 16;
    config.timesteps = 100;
    if (strcmp(net, "unet") == 0) {
        config.classes = 3;
        config.attention[0] = 2;
        config.head_channels = 4;
    }
    test_ok(sumi_models_create(&config, &model, &err), &err);
    sumi_params *params = &model->graph.params;
    const sumi_random at = {7, SUMI_STREAM_USER, 1, 0};
    for (int i = 0; i < params->count; i++) {
        const sumi_param *param = &params->items[i];
        if (!sumi_param_trainable(param) || param->kind == SUMI_PARAM_GAMMA)
            continue;
        float *values = params->values + param->offset;
        float scale = param->fan_in > 0 ? 1 / sqrtf((float)param->fan_in) : .3f;
        sumi_random_normals(&at, param->offset, values, param->count);
        for (size_t k = 0; k < param->count; k++)
            values[k] *= scale;
    }
    for (size_t i = 0; i < params->statistic_count; i++)
        params->statistics[i] = fabsf(params->statistics[i] + .3f * sumi_random_uniform(&at, i));
    model->generation++;
    return model;
}

static void draw_images(float *images, size_t count)
{
    const sumi_random at = {3, SUMI_STREAM_USER, 0, 0};
    sumi_random_normals(&at, 0, images, count);
}

static double largest(const float *a, const float *b, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs((double)a[i] - (b ? (double)b[i] : 0)));
    return most;
}

static void predict(sumi_runtime *runtime, const sumi_model *model, const float *images,
                    const int32_t *labels, float *out)
{
    static const int32_t t[N] = {1, 100, 37, 64, 2};
    sumi_error err = {""};
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.n = N;
    batch.h = batch.w = SIDE;
    batch.x = images;
    batch.t = t;
    batch.labels = labels;
    test_ok(sumi_runtime_predict(runtime, model, &batch, out, &err), &err);
}

static const char *const nets[] = {"tutorial", "unet"};

static void test_predictions(void **state)
{
    (void)state;
    static const int32_t labels[N] = {0, 2, -1, 1, -1};
    static float images[N * PIXELS], expected[N * PIXELS], found[N * PIXELS];
    sumi_runtime cpu = test_runtime(false), device = test_runtime(true);
    draw_images(images, N * PIXELS);
    for (int i = 0; i < 2; i++) {
        sumi_model *model = make_model(nets[i]);
        for (int round = 0; round < 2; round++) {
            predict(&cpu, model, images, i ? labels : NULL, expected);
            predict(&device, model, images, i ? labels : NULL, found);
            double size = largest(expected, NULL, N * PIXELS);
            assert_true(size > .1);
            double off = largest(found, expected, N * PIXELS);
            if (!(off <= 2e-5 * fmax(1, size)))
                fail_msg("%s is off by %g of %g", nets[i], off, size);
            model->graph.params.values[3] += 1; /* and once more with others */
            model->generation++;
        }
        sumi_runtime_forget(&cpu, model->id);
        sumi_runtime_forget(&device, model->id);
        sumi_models_free(model);
    }
    sumi_runtime_free(&cpu);
    sumi_runtime_free(&device);
}

/* ---- Sampling -------------------------------------------------------------------------------- */

static sumi_sample_config ask(int count, const char *solver)
{
    sumi_sample_config config = SUMI_SAMPLE_CONFIG_INIT;
    config.count = count;
    config.height = config.width = SIDE;
    config.solver = solver;
    config.steps = STEPS;
    config.seed = 5;
    return config;
}

static void sample(sumi_runtime *runtime, const sumi_model *model, const sumi_sample_config *config,
                   float *out)
{
    sumi_error err = {""};
    test_ok(sumi_sample_run(runtime, model, config, out, (size_t)config->count * PIXELS, &err),
            &err);
}

/* Relative to the largest number: few steps through a network of chance weights make large ones. */
static void assert_alike(const char *what, const float *found, const float *expected, size_t count)
{
    double size = largest(expected, NULL, count), off = largest(found, expected, count);
    if (!(off <= 2e-4 * size))
        fail_msg("%s is off by %g of %g", what, off, size);
}

static void test_every_solver(void **state)
{
    (void)state;
    static float expected[2 * PIXELS], found[2 * PIXELS], images[2 * PIXELS];
    sumi_runtime cpu = test_runtime(false), device = test_runtime(true);
    sumi_model *model = make_model("tutorial");
    draw_images(images, 2 * PIXELS);
    for (int i = 0; sumi_solver_row(i); i++) {
        const sumi_solver *solver = sumi_solver_row(i);
        sumi_sample_config config = ask(2, solver->is.name);
        if (solver->flags & SUMI_SOLVER_ADAPTIVE) {
            config.steps = 0;
            config.rtol = config.atol = 1;
        }
        if (solver->flags & SUMI_SOLVER_INVERSE)
            config.image = images;
        config.clip_low = i % 2 ? -1.0f : 0;
        config.clip_high = i % 2 ? 1.0f : 0;
        config.threshold = i % 4 == 1 ? .9f : 0;
        sample(&cpu, model, &config, expected);
        sample(&device, model, &config, found);
        assert_alike(solver->is.name, found, expected, 2 * PIXELS);
    }
    sumi_runtime_free(&cpu);
    sumi_runtime_free(&device);
    sumi_models_free(model);
}

static void test_masks_and_guidance(void **state)
{
    (void)state;
    static float expected[2 * PIXELS], found[2 * PIXELS], images[2 * PIXELS], mask[PIXELS];
    static const int32_t labels[2] = {1, -1};
    sumi_runtime cpu = test_runtime(false), device = test_runtime(true);
    sumi_model *model = make_model("unet");
    draw_images(images, 2 * PIXELS);
    for (int i = 0; i < PIXELS; i++)
        mask[i] = i % SIDE < SIDE / 2 ? 1 : .25f;
    sumi_sample_config config = ask(2, "ddim");
    config.image = images;
    config.mask = mask;
    config.labels = labels;
    config.guidance = 2;
    sample(&cpu, model, &config, expected);
    sample(&device, model, &config, found);
    assert_alike("a guided mask", found, expected, 2 * PIXELS);
    sumi_runtime_free(&cpu);
    sumi_runtime_free(&device);
    sumi_models_free(model);
}

/* Nor which images are drawn with it. */
static void test_no_batch_changes_a_bit(void **state)
{
    (void)state;
    static float all[N * PIXELS], some[N * PIXELS];
    sumi_runtime device = test_runtime(true);
    for (int i = 0; i < 2; i++) {
        sumi_model *model = make_model(nets[i]);
        sumi_sample_config config = ask(N, "ddpm");
        sample(&device, model, &config, all);
        config.batch = 2;
        sample(&device, model, &config, some);
        assert_memory_equal(some, all, sizeof all);
        config.count = 1;
        config.first_index = 3;
        sample(&device, model, &config, some);
        assert_memory_equal(some, all + 3 * PIXELS, PIXELS * sizeof(float));
        sumi_runtime_forget(&device, model->id);
        sumi_models_free(model);
    }
    sumi_runtime_free(&device);
}

/* ---- What is refused ------------------------------------------------------------------------- */

static sumi_status plan(sumi_runtime *device, const sumi_model *model,
                        const sumi_plan_config *config, sumi_error *err)
{
    sumi_mirror mirror;
    sumi_network *net = NULL;
    test_ok(sumi_mirror_init(device, model, &mirror, err), err);
    sumi_status status = device->backend->network_create(device->device, &model->graph, &mirror.at,
                                                         config, &net, err);
    device->backend->network_free(net);
    sumi_mirror_free(device, &mirror);
    return status;
}

static void test_what_does_not_run(void **state)
{
    (void)state;
    sumi_runtime device = test_runtime(true);
    sumi_model *model = make_model("tutorial");
    sumi_error err = {""};
    sumi_plan_config config = {
        .mode = SUMI_MODE_PREDICT, .n_max = 2, .h = SIDE, .w = SIDE, .force = -1};
    config.precision = SUMI_PRECISION_BF16;
    assert_int_equal(plan(&device, model, &config, &err), SUMI_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "precision is bf16, expected fp32 or fixed16"));
    config.precision = SUMI_PRECISION_FP32;
    test_ok(plan(&device, model, &config, &err), &err);
    sumi_models_free(model);
    sumi_runtime_free(&device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_predictions),        cmocka_unit_test(test_every_solver),
        cmocka_unit_test(test_masks_and_guidance), cmocka_unit_test(test_no_batch_changes_a_bit),
        cmocka_unit_test(test_what_does_not_run),
    };
    return test_has_device() ? cmocka_run_group_tests(tests, NULL, NULL) : SKIPPED;
}
