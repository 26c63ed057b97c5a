/*
 * The walk over what describes a model: texts, defaults that agree with the _INIT macros, setting
 * by name, and the way through a file and back.
 */
#include "base/temp_folder.h"

#include "api/api.h"
#include <math.h>

#include "models/fields.h"

/* Sets a field to the text of its default or, where other is true, to something else. */
static void set(sumi_model_config *config, const sumi_field_t *field, bool other)
{
    double number = strcmp(field->initial, "true") == 0 ? 1 : sumi_parse_real(field->initial, NULL);
    const char *text = field->initial;
    sumi_choice_t choice = SUMI_CHOICE_INIT;
    if (other && field->kind == SUMI_FIELD_LIST) {
        text = "1,2";
    } else if (other && field->kind == SUMI_FIELD_CHOICE) {
        /* The second objective, x0, goes with any schedule. */
        assert_int_equal(field->choice_at(1, &choice), SUMI_OK);
        text = choice.name;
    } else if (other)
        number = field->kind == SUMI_FIELD_BOOL    ? 1
                 : field->kind == SUMI_FIELD_FLOAT ? (double)(float)(number + field->high) / 2
                                                   : number + 1;
    assert_int_equal(sumi_model_config_set(config, field->name, number, text), SUMI_OK);
}

static void test_texts(void **state)
{
    (void)state;
    sumi_field_t field = SUMI_FIELD_INIT, other = SUMI_FIELD_INIT;
    int count = 0, settable = 0;
    for (; sumi_model_field_at(count, &field) == SUMI_OK; count++) {
        assert_true(field.about[strlen(field.about) - 1] == '.');
        assert_true(strlen(field.name) > 0 && strlen(field.part) > 0);
        assert_true((field.choice_at != NULL) == (field.kind == SUMI_FIELD_CHOICE));
        assert_true(field.kind == SUMI_FIELD_CHOICE || field.low < field.high);
        assert_true(field.kind != SUMI_FIELD_LIST || strchr(field.initial, ',') != NULL ||
                    strcmp(field.initial, "none") == 0);
        settable += field.settable;
        for (int i = 0; i < count; i++) {
            assert_int_equal(sumi_model_field_at(i, &other), SUMI_OK);
            assert_string_not_equal(field.name, other.name);
        }
    }
    assert_true(settable >= 18 && count > settable);
    assert_int_equal(sumi_model_field_at(-1, &field), SUMI_EINVAL);
    assert_int_equal(sumi_model_field_at(0, NULL), SUMI_EINVAL);
}

/* Member by member: what lies between them is anything. */
static void expect_process(const sumi_process_config *a, const sumi_process_config *b)
{
    assert_true(a->objective == b->objective && a->schedule == b->schedule &&
                a->weighting == b->weighting && a->law == b->law);
    assert_true(a->stratified == b->stratified && a->timesteps == b->timesteps);
    assert_true(a->beta_start == b->beta_start && a->beta_end == b->beta_end);
    assert_true(a->sigma_min == b->sigma_min && a->sigma_max == b->sigma_max &&
                a->sigma_data == b->sigma_data);
    assert_true(a->gamma == b->gamma && a->law_mean == b->law_mean && a->law_std == b->law_std);
}

/* The defaults stand in sumi.h, in the table and in SUMI_PROCESS_CONFIG_INIT. */
static void test_defaults_agree(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model, *by_name, *unet;
    sumi_field_t field = SUMI_FIELD_INIT;
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    const sumi_process_config process = SUMI_PROCESS_CONFIG_INIT;
    sumi_model_config other = config;
    assert_int_equal(sumi_model_config_net(&other, "unet"), SUMI_OK);
    api_ok(ctx, sumi_model_create(ctx, &other, &unet));
    api_ok(ctx, sumi_model_create(ctx, &config, &model));
    expect_process(&model->process, &process);
    for (int i = 0; sumi_model_field_at(i, &field) == SUMI_OK; i++) {
        double number = -1;
        const char *text = field.initial;
        /* What the tutorial's network has not, the other one has. */
        if (sumi_model_get_field(model, field.name, &number, &text) != SUMI_OK)
            assert_int_equal(sumi_model_get_field(unet, field.name, &number, &text), SUMI_OK);
        assert_string_equal(text, field.initial);
        if (field.kind == SUMI_FIELD_LIST)
            assert_ptr_not_equal(text, field.initial);
        else if (field.kind == SUMI_FIELD_BOOL)
            assert_true(number == (strcmp(field.initial, "true") == 0));
        else if (field.kind != SUMI_FIELD_CHOICE && number != sumi_parse_real(field.initial, NULL))
            fail_msg("%s is %g, not %s", field.name, number, field.initial);
        if (field.settable)
            set(&config, &field, false);
    }
    api_ok(ctx, sumi_model_create(ctx, &config, &by_name));
    api_same_state(model, by_name);
    expect_process(&by_name->process, &process);
    sumi_model_free(by_name);
    sumi_model_free(model);
    sumi_model_free(unet);
    sumi_context_free(ctx);
}

/* Every field that can be set is kept by a file, and names and numbers come back. */
static void check_comes_back(temp_folder *temp, const char *net)
{
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model, *loaded;
    sumi_field_t field = SUMI_FIELD_INIT;
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    assert_int_equal(sumi_model_config_net(&config, net), SUMI_OK);
    config.base_channels = 4;
    int fields = 0;
    for (int i = 0; sumi_model_field_at(i, &field) == SUMI_OK; i++)
        if (field.settable && strcmp(field.name, "base_channels") != 0)
            set(&config, &field, true);
    config.sigma_min = 1;
    api_ok(ctx, sumi_model_create(ctx, &config, &model));
    const char *path = temp_path(temp, "m.safetensors");
    api_ok(ctx, sumi_model_save(ctx, model, path));
    api_ok(ctx, sumi_model_load(ctx, path, &loaded));
    for (int i = 0; sumi_model_field_at(i, &field) == SUMI_OK; i++) {
        double a = -1, b = -2;
        const char *one = "", *two = "";
        sumi_status there = sumi_model_get_field(model, field.name, &a, &one);
        assert_int_equal(sumi_model_get_field(loaded, field.name, &b, &two), there);
        fields += there == SUMI_OK;
        if (there != SUMI_OK)
            continue;
        if (a != b)
            fail_msg("%s comes back as %g, not %g", field.name, b, a);
        assert_string_equal(one, two);
        if (field.settable && field.kind == SUMI_FIELD_CHOICE)
            assert_true(a == 1);
    }
    assert_true(fields > 20);
    assert_string_equal(loaded->info.net, net);
    assert_int_equal(sumi_model_get_field(model, "multipliers", NULL, NULL) == SUMI_OK,
                     strcmp(net, "unet") == 0);
    assert_int_equal(sumi_model_get_field(model, "schedule", NULL, NULL), SUMI_OK);
    api_same_state(model, loaded);
    sumi_model_free(loaded);
    sumi_model_free(model);
    sumi_context_free(ctx);
}

static void test_fields_come_back(void **state)
{
    sumi_choice_t net = SUMI_CHOICE_INIT;
    for (int i = 0; sumi_net_at(i, &net) == SUMI_OK; i++)
        check_comes_back(*state, net.name);
}

/* Lists that are none, and sizes that do not fit together. */
static void test_refused_unets(void **state)
{
    (void)state;
    static const char *const lists[] = {"", "1,", ",1", "1,2,3,4,5,6,7", "0,1", "1 ,2", "32", "-1"};
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model = NULL;
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    assert_int_equal(sumi_model_config_net(&config, "unet"), SUMI_OK);
    assert_int_equal(config.base_channels, 32);
    assert_int_equal(sumi_model_config_net(&config, "vnet"), SUMI_EINVAL);
    assert_int_equal(sumi_model_config_net(NULL, "unet"), SUMI_EINVAL);
    assert_int_equal(sumi_net_at(2, NULL), SUMI_EINVAL);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        assert_int_equal(sumi_model_config_set(&config, "blocks", 1, lists[i]), SUMI_EINVAL);
    assert_int_equal(config.blocks[1], 2);
    assert_int_equal(sumi_model_config_set(&config, "blocks", 1, "1,2"), SUMI_OK);
    api_fails(ctx, sumi_model_create(ctx, &config, &model), SUMI_EINVAL,
              "3 multipliers and 2 blocks");
    config.blocks[1] = 40;
    api_fails(ctx, sumi_model_create(ctx, &config, &model), SUMI_EINVAL,
              "blocks must be 1 to 6 whole numbers, each from 1 to 31");
    assert_int_equal(sumi_model_config_set(&config, "blocks", 1, "1,2,2"), SUMI_OK);
    assert_int_equal(sumi_model_config_set(&config, "blocks", 1, "none"), SUMI_EINVAL);
    assert_int_equal(sumi_model_config_set(&config, "attention", 1, "2,4"), SUMI_OK);
    api_fails(ctx, sumi_model_create(ctx, &config, &model), SUMI_EINVAL,
              "attention at level 4: there are 3");
    config.attention[0] = 32;
    api_fails(ctx, sumi_model_create(ctx, &config, &model), SUMI_EINVAL,
              "attention must be 1 to 6 whole numbers, each from 1 to 31");
    assert_int_equal(sumi_model_config_set(&config, "attention", 1, "none"), SUMI_OK);
    assert_int_equal(config.attention[0], 0);
    config.out_channels = 3;
    api_fails(ctx, sumi_model_create(ctx, &config, &model), SUMI_EINVAL,
              "as many channels as it is given: 1, not 3");
    sumi_context_free(ctx);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        double number;
    } bad[] = {{"time_dim", NULL, 0},      {"gamma", NULL, -1},     {"objective", "magic", 0},
               {"objective", NULL, 0},     {"steps", NULL, 1},      {"no_such_field", NULL, 1},
               {"timesteps", NULL, 1e300}, {"sigma_min", NULL, NAN}};
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model = NULL;
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    const sumi_model_config before = config;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(sumi_model_config_set(&config, bad[i].name, bad[i].number, bad[i].text),
                         SUMI_EINVAL);
    assert_int_equal(sumi_model_config_set(NULL, "gamma", 1, NULL), SUMI_EINVAL);
    assert_int_equal(sumi_model_config_set(&config, NULL, 1, NULL), SUMI_EINVAL);
    assert_string_equal(config.objective, before.objective);
    assert_true(config.time_dim == before.time_dim && config.gamma == before.gamma);
    assert_int_equal(sumi_model_get_field(NULL, "gamma", NULL, NULL), SUMI_EINVAL);

    /* What a create refuses: names, ranges, and what does not go together. */
    config.objective = "magic";
    api_fails(ctx, sumi_model_create(ctx, &config, &model), SUMI_EINVAL,
              "unknown objective \"magic\", expected one of: eps, x0");
    config = before;
    config.law_std = 0;
    api_fails(ctx, sumi_model_create(ctx, &config, &model), SUMI_EINVAL,
              "law_std must be 1e-06 to");
    config = before;
    config.sigma_min = 90;
    api_fails(ctx, sumi_model_create(ctx, &config, &model), SUMI_EINVAL, "less than sigma_max");
    config = before;
    config.schedule = "flow";
    api_fails(ctx, sumi_model_create(ctx, &config, &model), SUMI_EINVAL,
              "objective eps cannot go with schedule flow");
    config.objective = NULL; /* the first */
    config.schedule = config.weighting = config.law = NULL;
    api_ok(ctx, sumi_model_create(ctx, &config, &model));
    sumi_model_free(model);
    sumi_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_defaults_agree),
        cmocka_unit_test_setup_teardown(test_fields_come_back, temp_setup, temp_teardown),
        cmocka_unit_test(test_refused_unets),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
