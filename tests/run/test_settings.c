/* What a run makes of a trainer's settings: where a schedule ends that nobody gave an end, and
 * which numbers of a step its metrics have. */
#include "run_fixture.h"

static sumi_trainer_config settings(void)
{
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    config.batch = BATCH;
    config.seed = 4;
    config.rate_schedule = "linear";
    config.warmup_steps = 1;
    return config;
}

static double number_of(const fixture *f, const char *file, const char *group, const char *key)
{
    char *text = read_text(f, file);
    json_t *json = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
    const json_t *object = group ? json_object_get(json, group) : json;
    assert_true(json_is_number(json_object_get(object, key)));
    double value = json_number_value(json_object_get(object, key));
    json_decref(json);
    free(text);
    return value;
}

/* The end is written down, so that going on for longer does not move it. */
static void test_a_schedule_ends_with_the_run(void **state)
{
    (void)state;
    sumi_trainer_config trainer = settings();
    fixture f;
    sumi_error err;
    open_fixture(&f, 1, 0);
    f.config.trainer = &trainer;
    f.config.grid = 0;
    assert_ok(run(&f, NULL));
    assert_true(number_of(&f, "config.json", "train", "schedule_steps") == 2 * PER_EPOCH);
    assert_contains(&f, "metrics.jsonl", "\"step\": 6, \"epoch\": 1");
    assert_contains(&f, "metrics.jsonl", "\"lr\": 0,");
    go_on(&f);
    f.config.epochs = 3;
    trainer.schedule_steps = 2 * PER_EPOCH;
    assert_ok(run(&f, &err));
    assert_says(err, "comes to its end, 0, at step 6: later steps");
    assert_true(number_of(&f, "config.json", "train", "schedule_steps") == 2 * PER_EPOCH);
    close_fixture(&f);

    open_fixture(&f, 1, 0);
    trainer.schedule_steps = 0;
    f.config.trainer = &trainer;
    f.config.epochs = 0;
    f.config.minutes = 1;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "a step is timed in its warm-up");
    close_fixture(&f);
}

static void test_metrics_have_the_norm(void **state)
{
    (void)state;
    sumi_trainer_config trainer = settings();
    fixture f;
    open_fixture(&f, 1, 0);
    f.config.trainer = &trainer;
    f.config.grid = 0;
    trainer.clip_norm = .001f;
    assert_ok(run(&f, NULL));
    assert_true(number_of(&f, "metrics.jsonl", NULL, "gradient_norm") > .001);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_schedule_ends_with_the_run),
        cmocka_unit_test(test_metrics_have_the_norm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
