/*
 * A model's own way to be sampled: set, read, through files and runs, and used where nobody says
 * otherwise. Without one nothing is different from before.
 */
#include "base/temp_folder.h"

#include "api/api.h"
#include "models/models.h"

enum { SIDE = 8, COUNT = 2, FLOATS = COUNT * SIDE * SIDE };

static sumi_sample_config sample_of(const char *solver)
{
    sumi_sample_config config = SUMI_SAMPLE_CONFIG_INIT;
    config.count = COUNT;
    config.height = config.width = SIDE;
    config.seed = 5;
    config.solver = solver;
    return config;
}

static sumi_model *small_model(sumi_context *ctx, uint64_t seed)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_model *model;
    config.base_channels = 4;
    config.time_dim = 8;
    config.timesteps = 20;
    config.seed = seed;
    api_ok(ctx, sumi_model_create(ctx, &config, &model));
    return model;
}

/* A way that differs from the _INIT macro in every kind of value. */
static sumi_sample_config some_way(void)
{
    sumi_sample_config way = SUMI_SAMPLE_CONFIG_INIT;
    way.solver = "heun";
    way.steps = 7;
    way.spacing = "karras";
    way.rho = 3.1f;
    way.sigma_max = .3f;
    way.churn = .5f;
    way.clip_low = -.1f;
    way.clip_high = 1.1f;
    return way;
}

static void expect_some_way(const sumi_model *model)
{
    const sumi_sample_config way = some_way();
    sumi_sample_config got = SUMI_SAMPLE_CONFIG_INIT;
    got.count = 77;
    assert_int_equal(sumi_model_get_sampling(model, &got), SUMI_OK);
    assert_string_equal(got.solver, way.solver);
    assert_string_equal(got.spacing, way.spacing);
    assert_int_equal(got.steps, way.steps);
    assert_true(got.rho == way.rho && got.sigma_max == way.sigma_max && got.sigma_min == 0);
    assert_true(got.churn == way.churn && got.eta == way.eta);
    assert_true(got.clip_low == way.clip_low && got.clip_high == way.clip_high);
    assert_int_equal(got.count, 77);
}

static void expect_none(const sumi_model *model)
{
    sumi_sample_config got = SUMI_SAMPLE_CONFIG_INIT;
    assert_int_equal(sumi_model_get_sampling(model, &got), SUMI_OK);
    assert_null(got.solver);
    assert_null(got.spacing);
    assert_int_equal(got.steps, 0);
}

static void draw(sumi_context *ctx, const sumi_model *model, const sumi_sample_config *config,
                 float out[FLOATS])
{
    api_ok(ctx, sumi_sample(ctx, model, config, out, FLOATS));
}

/* As ddpm at every step without one; as it says with one; another solver's takes nothing of it. */
static void test_used_where_nothing_is_said(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 2);
    sumi_model *model = small_model(ctx, 1);
    float plain[FLOATS], ddpm[FLOATS], own[FLOATS], spelt[FLOATS];
    sumi_sample_config silent = sample_of(NULL), said = sample_of("ddpm"), way = some_way();
    draw(ctx, model, &silent, plain);
    draw(ctx, model, &said, ddpm);
    assert_memory_equal(plain, ddpm, sizeof plain);

    api_ok(ctx, sumi_model_set_sampling(ctx, model, &way));
    expect_some_way(model);
    draw(ctx, model, &silent, own);
    sumi_sample_config full = sample_of(NULL);
    assert_int_equal(sumi_model_get_sampling(model, &full), SUMI_OK);
    draw(ctx, model, &full, spelt);
    assert_memory_equal(own, spelt, sizeof own);
    assert_memory_not_equal(own, plain, sizeof own);
    draw(ctx, model, &said, spelt);
    assert_memory_equal(spelt, ddpm, sizeof ddpm);
    silent.steps = 3; /* what is said beside the solver holds */
    full.steps = 3;
    draw(ctx, model, &silent, own);
    draw(ctx, model, &full, spelt);
    assert_memory_equal(own, spelt, sizeof own);

    silent = sample_of(NULL);
    static const double levels[] = {20, 11, 3};
    silent.levels = levels; /* in place of steps, spacing, rho and sigma_max */
    silent.level_count = 3;
    draw(ctx, model, &silent, own);
    silent.level_count = 0;
    api_ok(ctx, sumi_model_set_sampling(ctx, model, NULL));
    expect_none(model);
    draw(ctx, model, &silent, own);
    assert_memory_equal(own, plain, sizeof plain);
    sumi_model_free(model);
    sumi_context_free(ctx);
}

static void test_refused(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model = small_model(ctx, 1);
    sumi_sample_config way = some_way();
    api_ok(ctx, sumi_model_set_sampling(ctx, model, &way));
    static const struct {
        const char *solver, *spacing, *text;
        int steps;
        float eta, rho, least, most;
    } cases[] = {
        {"heum", NULL, "heum", 4, -1, 0, 0, 0},
        {"ddim-inverse", NULL, "begins at an image", 4, -1, 0, 0, 0},
        {"ddim", "even", "even", 4, -1, 0, 0, 0},
        {"ddim", NULL, "steps is 21", 21, -1, 0, 0, 0},
        {"dpmpp-2m", NULL, "has no eta", 4, .5f, 0, 0, 0},
        {"ddim", "trailing", "has no rho", 4, -1, 7, 0, 0},
        {"ddim", "karras", "rho is 0.05", 4, -1, .05f, 0, 0},
        {"ddim", "leading", "takes no sigma_min", 4, -1, 0, .1f, 0},
        {"ddim", "karras", "expected 0", 4, -1, 0, 2, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sumi_sample_config bad = SUMI_SAMPLE_CONFIG_INIT;
        bad.solver = cases[i].solver;
        bad.spacing = cases[i].spacing;
        bad.steps = cases[i].steps;
        bad.eta = cases[i].eta;
        bad.rho = cases[i].rho;
        bad.sigma_min = cases[i].least;
        bad.sigma_max = cases[i].most;
        api_fails(ctx, sumi_model_set_sampling(ctx, model, &bad), SUMI_EINVAL, cases[i].text);
        expect_some_way(model);
    }
    sumi_sample_config both = sample_of("ddim");
    static const double levels[] = {20, 3};
    float out[FLOATS];
    both.levels = levels;
    both.level_count = 2;
    both.rho = 7;
    api_fails(ctx, sumi_sample(ctx, model, &both, out, FLOATS), SUMI_EINVAL, "levels are given");
    assert_int_equal(sumi_model_get_sampling(NULL, &both), SUMI_EINVAL);
    assert_int_equal(sumi_model_get_sampling(model, NULL), SUMI_EINVAL);
    sumi_model_free(model);
    sumi_context_free(ctx);
}

/* Guidance is kept for models with labels, and used for images that have one. */
static void test_guidance(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_model *model, *without = small_model(ctx, 1);
    sumi_sample_config way = SUMI_SAMPLE_CONFIG_INIT, silent = sample_of(NULL), said;
    float own[FLOATS], spelt[FLOATS];
    static const int32_t labels[COUNT] = {0, 2};
    assert_int_equal(sumi_model_config_net(&config, "unet"), SUMI_OK);
    config.base_channels = 8;
    config.time_dim = 8;
    config.timesteps = 20;
    config.classes = 3;
    for (int i = 0; i < 2; i++) {
        config.multipliers[i] = i + 1;
        config.blocks[i] = 1;
    }
    config.multipliers[2] = config.blocks[2] = 0;
    api_ok(ctx, sumi_model_create(ctx, &config, &model));
    way.solver = "ddim";
    way.steps = 3;
    way.guidance = 2;
    api_fails(ctx, sumi_model_set_sampling(ctx, without, &way), SUMI_EINVAL, "without labels");
    api_ok(ctx, sumi_model_set_sampling(ctx, model, &way));
    draw(ctx, model, &silent, own);
    said = sample_of("ddim");
    said.steps = 3;
    draw(ctx, model, &said, spelt);
    assert_memory_equal(own, spelt, sizeof own);
    silent.labels = said.labels = labels;
    said.guidance = 2;
    draw(ctx, model, &silent, own);
    draw(ctx, model, &said, spelt);
    assert_memory_equal(own, spelt, sizeof own);
    sumi_model_free(without);
    sumi_model_free(model);
    sumi_context_free(ctx);
}

static void test_files(void **state)
{
    temp_folder *temp = *state;
    static const char *const names[] = {"a.safetensors", "a.pth"};
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model = small_model(ctx, 1), *other;
    sumi_sample_config way = some_way();
    for (int i = 0; i < 2; i++) {
        const char *path = temp_path(temp, names[i]);
        api_ok(ctx, sumi_model_save(ctx, model, path));
        api_ok(ctx, sumi_model_load(ctx, path, &other));
        expect_none(other);
        sumi_model_free(other);
        api_ok(ctx, sumi_model_save_sampling(ctx, path, &way));
        api_ok(ctx, sumi_model_load(ctx, path, &other));
        expect_some_way(other);
        api_same_state(model, other);
        sumi_model_free(other);
    }
    way.steps = 1000;
    const char *path = temp_path(temp, names[0]);
    api_fails(ctx, sumi_model_save_sampling(ctx, path, &way), SUMI_EINVAL, "steps is 1000");
    api_ok(ctx, sumi_model_load(ctx, path, &other));
    expect_some_way(other);
    sumi_model_free(other);
    api_fails(ctx, sumi_model_save_sampling(ctx, temp_path(temp, "gone.pth"), NULL), SUMI_EIO,
              "gone.pth");
    sumi_model_free(model);
    sumi_context_free(ctx);
}

/* What a file says is looked at when it is read; a name of a later version when it is used. */
static void test_damaged_files(void **state)
{
    temp_folder *temp = *state;
    const char *path = temp_path(temp, "damaged.safetensors");
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model = small_model(ctx, 1), *other;
    static const struct {
        const char *json, *text;
    } cases[] = {{"{\"steps\": \"many\"}", "steps"},
                 {"{\"eta\": 1.5}", "eta"},
                 {"{\"solver\": 3}", "solver"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model->sampling = json_loads(cases[i].json, 0, NULL);
        api_ok(ctx, sumi_model_save(ctx, model, path));
        json_decref(model->sampling);
        model->sampling = NULL;
        api_fails(ctx, sumi_model_load(ctx, path, &other), SUMI_EFORMAT, cases[i].text);
    }
    model->sampling = json_loads("{\"solver\": \"dreams\", \"later\": [1]}", 0, NULL);
    api_ok(ctx, sumi_model_save(ctx, model, path));
    sumi_model_free(model);
    api_ok(ctx, sumi_model_load(ctx, path, &other));
    sumi_sample_config silent = sample_of(NULL), said = sample_of("ddim");
    float out[FLOATS];
    api_fails(ctx, sumi_sample(ctx, other, &silent, out, FLOATS), SUMI_EINVAL, "dreams");
    draw(ctx, other, &said, out);
    sumi_model_free(other);
    sumi_context_free(ctx);
}

/* A run keeps it beside its checkpoints, which stay as they are, and when it goes on, too. */
static void test_runs(void **state)
{
    temp_folder *temp = *state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_dataset_config size = SUMI_DATASET_CONFIG_INIT;
    sumi_dataset *set;
    size.height = size.width = SIDE;
    api_ok(ctx, sumi_dataset_open(ctx, "shapes", &size, &set));
    sumi_dataset_info_t info = SUMI_DATASET_INFO_INIT;
    assert_int_equal(sumi_dataset_info(set, &info), SUMI_OK);
    sumi_model_config shape = SUMI_MODEL_CONFIG_INIT;
    shape.in_channels = shape.out_channels = info.channels;
    shape.base_channels = 4;
    shape.timesteps = 20;
    sumi_model *model, *loaded;
    sumi_train_config train = SUMI_TRAIN_CONFIG_INIT;
    train.epochs = train.grid = 0;
    train.steps = 2;
    train.batch = 4;
    train.ema = .9f;
    train.out_dir = temp_path(temp, "run");
    api_ok(ctx, sumi_model_create(ctx, &shape, &model));
    api_ok(ctx, sumi_train(ctx, model, set, &train));
    sumi_sample_config way = some_way();
    api_ok(ctx, sumi_model_save_sampling(ctx, train.out_dir, &way));
    api_fails(ctx, sumi_model_save_sampling(ctx, temp_path(temp, "run/checkpoints/step_2"), &way),
              SUMI_EINVAL, "a checkpoint stays as it is");
    static const char *const places[] = {"run", "run/model.pth", "run/model.safetensors"};
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 3; i++) {
            api_ok(ctx, sumi_model_load(ctx, temp_path(temp, places[i]), &loaded));
            expect_some_way(loaded);
            sumi_model_free(loaded);
        }
        train.out_dir = temp_path(temp, "run");
        train.resume = true;
        train.steps = 4;
        if (pass == 0)
            api_ok(ctx, sumi_train(ctx, model, set, &train));
    }
    api_ok(ctx, sumi_model_save_sampling(ctx, train.out_dir, NULL));
    api_ok(ctx, sumi_model_load(ctx, train.out_dir, &loaded)); /* above its checkpoint */
    expect_none(loaded);
    sumi_model_free(loaded);
    sumi_model_free(model);
    sumi_dataset_free(set);
    sumi_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_used_where_nothing_is_said),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_guidance),
        cmocka_unit_test_setup_teardown(test_files, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_damaged_files, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_runs, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
