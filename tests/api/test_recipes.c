/*
 * Recipes: what they choose for which data and budget, that it is a network that can be made, and
 * that the tutorial's are the defaults of sumi.h.
 */
#include "api/api.h"

typedef struct {
    sumi_model_config model;
    sumi_trainer_config trainer;
    sumi_train_config train;
    sumi_sample_config sample;
    char why[2048];
} choice;

static choice empty(void)
{
    choice c = {SUMI_MODEL_CONFIG_INIT, SUMI_TRAINER_CONFIG_INIT, SUMI_TRAIN_CONFIG_INIT,
                SUMI_SAMPLE_CONFIG_INIT, ""};
    c.train.epochs = 0;
    return c;
}

static sumi_dataset *open_shapes(sumi_context *ctx, int height, int width, int channels)
{
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    sumi_dataset *set;
    config.height = height;
    config.width = width;
    config.channels = channels;
    api_ok(ctx, sumi_dataset_open(ctx, "shapes", &config, &set));
    return set;
}

static sumi_status choose(sumi_context *ctx, const char *preset, const sumi_dataset *set, choice *c)
{
    return sumi_preset_choose(ctx, preset, set, &c->model, &c->trainer, &c->train, &c->sample,
                              c->why, sizeof c->why);
}

static void test_list(void **state)
{
    (void)state;
    sumi_choice_t preset = SUMI_CHOICE_INIT;
    assert_int_equal(sumi_preset_at(0, &preset), SUMI_OK);
    assert_string_equal(preset.name, "standard");
    assert_int_equal(sumi_preset_at(1, &preset), SUMI_OK);
    assert_string_equal(preset.name, "tutorial");
    assert_true(strlen(preset.about) > 0);
    assert_int_equal(sumi_preset_at(2, &preset), SUMI_EINVAL);
    assert_int_equal(sumi_preset_at(-1, &preset), SUMI_EINVAL);
}

/* Member by member: what lies between them is anything. */
static void expect_initial(const choice *c)
{
    const choice initial = empty();
    assert_string_equal(c->model.net, initial.model.net);
    assert_string_equal(c->model.objective, initial.model.objective);
    assert_true(c->model.base_channels == 64 && c->model.time_dim == 100);
    assert_true(!c->model.standardise && !c->model.stratified);
    assert_true(c->trainer.batch == 128 && c->trainer.learning_rate == 1e-3f);
    assert_string_equal(c->trainer.optimiser, initial.trainer.optimiser);
    assert_string_equal(c->trainer.rate_schedule, "constant");
    assert_true(c->trainer.precision == SUMI_PRECISION_FP32 && c->trainer.averages[0] == 0);
    assert_null(c->sample.solver);
    assert_string_equal(c->why, "");
}

static void test_tutorial(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_dataset *set = open_shapes(ctx, 0, 0, 0);
    static const char *const names[] = {"tutorial", "seed"};
    for (int i = 0; i < 2; i++) {
        choice c = empty();
        api_ok(ctx, choose(ctx, names[i], set, &c));
        expect_initial(&c);
        assert_string_equal(c.model.preset, "tutorial");
        assert_true(c.train.epochs == 10 && c.train.minutes == 0 && c.train.grid_steps == 0);
        assert_false(c.train.tune);
    }
    choice c = empty();
    c.train.minutes = 3;
    api_ok(ctx, choose(ctx, "tutorial", set, &c));
    assert_true(c.train.epochs == 0 && c.train.minutes == 3 && c.train.grid_steps == 50);
    sumi_dataset_free(set);
    sumi_context_free(ctx);
}

static void test_standard(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_dataset *set = open_shapes(ctx, 0, 0, 0);
    choice c = empty();
    api_ok(ctx, choose(ctx, "standard", set, &c));
    assert_string_equal(c.model.preset, "standard");
    assert_string_equal(c.model.net, "unet");
    static const int multipliers[] = {1, 2, 4, 0, 0, 0}, blocks[] = {1, 2, 2, 0, 0, 0};
    assert_memory_equal(c.model.multipliers, multipliers, sizeof multipliers);
    assert_memory_equal(c.model.blocks, blocks, sizeof blocks);
    assert_true(c.model.base_channels == 32 && c.model.classes == 10 && c.model.in_channels == 1);
    assert_true(c.model.attention[0] == 3 && c.model.attention[1] == 0);
    assert_string_equal(c.model.objective, "edm");
    assert_string_equal(c.model.schedule, "edm");
    assert_string_equal(c.model.law, "log-normal");
    assert_true(c.model.standardise && c.model.stratified && c.model.sigma_data == .5f);
    assert_true(c.model.law_mean == -1.2f && c.model.sigma_max == 40);
    assert_true(c.train.minutes == 10 && c.train.epochs == 0 && c.train.steps == 0);
    assert_true(c.trainer.batch == 64 && c.trainer.warmup_steps == 50);
    assert_true(c.trainer.schedule_steps == 0 && c.trainer.final_rate == 0);
    assert_string_equal(c.trainer.rate_schedule, "linear");
    assert_string_equal(c.trainer.optimiser, "muon");
    assert_true(c.trainer.precision == SUMI_PRECISION_FIXED16);
    assert_string_equal(c.sample.solver, "dpmpp-2m");
    assert_string_equal(c.sample.spacing, "karras");
    assert_true(c.sample.steps == 14 && c.train.tune);
    assert_true(c.sample.guidance == 2 && c.sample.guidance_from == .25f &&
                c.sample.guidance_to == 3);
    static const struct {
        double minutes;
        int64_t warm_up;
    } shorter[] = {{.02, 8}, {.5, 25}, {1, 50}, {3, 50}};
    for (int i = 0; i < 4; i++) {
        choice brief = empty();
        brief.train.minutes = shorter[i].minutes;
        api_ok(ctx, choose(ctx, "standard", set, &brief));
        assert_int_equal(brief.trainer.warmup_steps, shorter[i].warm_up);
    }
    assert_non_null(strstr(c.why, "10 minutes, as none is given"));
    assert_non_null(strstr(c.why, "32@28x28, 64@14x14, 128@7x7"));
    assert_non_null(strstr(c.why, "10 classes"));
    sumi_dataset_free(set);
    sumi_context_free(ctx);
}

/* Steps in the place of the minutes that they took, and the other way round, choose the same. */
static void test_budgets(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_dataset *set = open_shapes(ctx, 0, 0, 0);
    static const struct {
        double minutes;
        int64_t steps;
        int epochs, base_channels, warmup_steps;
    } cases[] = {{1, 0, 0, 32, 50},   {0, 400, 0, 32, 50},  {0, 100, 0, 32, 20},  {0, 3, 0, 32, 0},
                 {29, 0, 0, 32, 50},  {60, 0, 0, 48, 50},   {300, 0, 0, 64, 50},  {0, 0, 1, 32, 50},
                 {0, 0, 100, 64, 50}, {10, 100, 0, 32, 20}, {0, 30000, 0, 48, 50}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        choice c = empty();
        c.train.minutes = cases[i].minutes;
        c.train.steps = cases[i].steps;
        c.train.epochs = cases[i].epochs;
        api_ok(ctx, choose(ctx, "standard", set, &c));
        if (c.model.base_channels != cases[i].base_channels ||
            c.trainer.warmup_steps != cases[i].warmup_steps)
            fail_msg("case %zu: width %d, warm-up %d", i, c.model.base_channels,
                     (int)c.trainer.warmup_steps);
        assert_true(c.train.minutes == cases[i].minutes && c.train.steps == cases[i].steps &&
                    c.train.epochs == cases[i].epochs);
        assert_null(strstr(c.why, "none is given"));
    }
    sumi_dataset_free(set);
    sumi_context_free(ctx);
}

/* Whatever the size, there is a network for it, and its images can be trained on. */
static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        int height, width, channels, levels, batch;
    } cases[] = {{4, 4, 1, 1, 64},   {8, 8, 3, 1, 64},    {13, 17, 1, 1, 64},
                 {14, 14, 1, 2, 64}, {30, 50, 3, 3, 64},  {32, 32, 3, 3, 64},
                 {64, 64, 3, 4, 32}, {96, 128, 3, 4, 32}, {128, 112, 3, 5, 32}};
    sumi_context *ctx = api_context(NULL, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sumi_dataset *set = open_shapes(ctx, cases[i].height, cases[i].width, cases[i].channels);
        choice c = empty();
        sumi_model *model;
        int levels = 0;
        api_ok(ctx, choose(ctx, "standard", set, &c));
        while (levels < SUMI_LEVELS_MAX && c.model.multipliers[levels] > 0)
            levels++;
        assert_int_equal(levels, cases[i].levels);
        assert_int_equal(c.trainer.batch, cases[i].batch);
        assert_true(c.model.law_mean == (cases[i].levels > 3 ? -.8f : -1.2f));
        assert_true(c.model.sigma_max == (cases[i].channels == 3 ? 80.f : 40.f));
        api_ok(ctx, sumi_model_create(ctx, &c.model, &model));
        api_ok(ctx, sumi_model_set_sampling(ctx, model, &c.sample));
        sumi_model_free(model);
        sumi_dataset_free(set);
    }
    sumi_context_free(ctx);
}

/* Whose struct is shorter gets no more than it has room for; reasons are cut to theirs. */
static void test_old_callers(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_dataset *set = open_shapes(ctx, 0, 0, 0);
    choice c = empty(), whole = empty();
    char why[16];
    c.model.size = offsetof(sumi_model_config, standardise);
    api_ok(ctx, sumi_preset_choose(ctx, "standard", set, &c.model, &c.trainer, &c.train, &c.sample,
                                   why, sizeof why));
    assert_false(c.model.standardise);
    assert_true(c.model.stratified && c.model.size == offsetof(sumi_model_config, standardise));
    api_ok(ctx, choose(ctx, "standard", set, &whole));
    assert_memory_equal(why, whole.why, sizeof why - 1);
    assert_true(why[sizeof why - 1] == '\0');
    api_ok(ctx, sumi_preset_choose(ctx, "standard", set, &c.model, &c.trainer, &c.train, &c.sample,
                                   NULL, 0));
    api_fails(ctx, choose(ctx, "fast", set, &c), SUMI_EINVAL,
              "unknown preset 'fast'; there are: standard, tutorial");
    api_fails(ctx, choose(ctx, "standard", NULL, &c), SUMI_EINVAL, "set is NULL");
    assert_int_equal(choose(NULL, "standard", set, &c), SUMI_EINVAL);
    sumi_dataset_free(set);
    sumi_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),     cmocka_unit_test(test_tutorial),
        cmocka_unit_test(test_standard), cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_sizes),    cmocka_unit_test(test_old_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
