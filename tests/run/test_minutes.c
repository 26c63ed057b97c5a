/*
 * Minutes that become steps: where the learning rate ends with the run, the first steps are timed,
 * the number of all is written down, and from there on a clock has no say.
 */
#include "run/run_fixture.h"

#include <math.h>

enum { WARM_UP = 12, STEPS = 30 };

static sumi_trainer_config trainer_of(const fixture *f)
{
    sumi_trainer_config trainer = SUMI_TRAINER_CONFIG_INIT;
    trainer.batch = BATCH;
    trainer.seed = f->config.seed;
    trainer.rate_schedule = "linear";
    trainer.warmup_steps = WARM_UP;
    trainer.averages[0] = .5f;
    return trainer;
}

static void open_minutes(fixture *f, sumi_trainer_config *trainer)
{
    open_fixture(f, 1, 0);
    *trainer = trainer_of(f);
    f->config.trainer = trainer;
    f->config.epochs = 0;
    f->config.minutes = .005;
    f->config.grid = 0;
}

static int64_t number_of(const fixture *f, const char *part, const char *name)
{
    json_t *json = read_json(f, "config.json");
    json_t *value = json_object_get(json_object_get(json, part), name);
    assert_true(json_is_number(value));
    int64_t number = (int64_t)json_number_value(value);
    json_decref(json);
    return number;
}

/* The rates of all steps: up over the warm-up, down to 0 with the last. */
static void check_rates(const fixture *f, int64_t steps)
{
    char *text = read_text(f, "metrics.jsonl"), *rest = text;
    int64_t at = 0;
    for (char *line; (line = strtok_r(rest, "\n", &rest)); at++) {
        json_t *json = json_loads(line, 0, NULL);
        double step = (double)at + 1, way = (step - WARM_UP) / (double)(steps - WARM_UP);
        double rate = json_number_value(json_object_get(json, "lr"));
        double expected = step < WARM_UP ? 1e-3 * step / WARM_UP : 1e-3 * (1 - way);
        assert_true(fabs(rate - expected) < 1e-8);
        json_decref(json);
    }
    assert_int_equal(at, steps);
    free(text);
}

static void test_minutes_are_steps_that_repeat(void **state)
{
    (void)state;
    fixture f, g;
    sumi_trainer_config trainer, again;
    open_minutes(&f, &trainer);
    assert_ok(run(&f, NULL));
    int64_t steps = number_of(&f, "train", "steps");
    assert_true(steps > WARM_UP && steps == f.model->info.steps);
    assert_int_equal(number_of(&f, "train", "schedule_steps"), steps);
    assert_int_equal(number_of(&f, "train", "minutes"), 0);
    int64_t at = number_of(&f, "measured", "at_step");
    assert_true(at >= 1 && at <= WARM_UP);
    assert_contains(&f, "train.log", "--lr-warmup 12 in their place repeats the run");
    check_rates(&f, steps);

    open_minutes(&g, &again);
    g.config.minutes = 0;
    g.config.steps = steps;
    assert_ok(run(&g, NULL));
    assert_same_model(f.model, g.model);
    check_rates(&g, steps);
    close_fixture(&f);
    close_fixture(&g);
}

/* Stopped before and after the decision, a run goes on to the same end; a library's caller gives
 * the minutes again, the command line what config.json says. */
static void test_goes_on(void **state)
{
    (void)state;
    static const struct {
        int64_t stop;
        bool minutes;
    } cases[] = {{3, true}, {WARM_UP + 2, true}, {WARM_UP + 2, false}};
    for (int i = 0; i < 3; i++) {
        fixture f, whole;
        sumi_trainer_config trainer, again;
        open_minutes(&f, &trainer);
        f.config.minutes = 100; /* more than it takes: the other limit is what is decided */
        f.config.steps = STEPS;
        f.stop_phase = SUMI_PHASE_TRAIN;
        f.stop_step = cases[i].stop;
        assert_int_equal(run(&f, NULL), SUMI_CANCELLED);
        int64_t steps = number_of(&f, "train", "steps");
        assert_int_equal(number_of(&f, "train", "schedule_steps"),
                         cases[i].stop > WARM_UP ? STEPS : 0);
        assert_int_equal(steps, STEPS);
        assert_int_equal(number_of(&f, "train", "minutes"), cases[i].stop > WARM_UP ? 0 : 100);
        go_on(&f);
        if (!cases[i].minutes) {
            f.config.minutes = 0;
            f.config.steps = trainer.schedule_steps = steps;
        }
        assert_ok(run(&f, NULL));
        assert_int_equal(number_of(&f, "train", "schedule_steps"), STEPS);
        assert_int_equal(number_of(&f, "train", "minutes"), 0);
        assert_true(number_of(&f, "measured", "at_step") > 0);
        check_rates(&f, STEPS);

        open_minutes(&whole, &again);
        whole.config.minutes = 0;
        whole.config.steps = STEPS;
        assert_ok(run(&whole, NULL));
        assert_same_model(f.model, whole.model);
        close_fixture(&f);
        close_fixture(&whole);
    }
}

/* Steps and minutes: whichever comes first, and the rate ends there. */
static void test_the_first_limit_counts(void **state)
{
    (void)state;
    fixture f;
    sumi_trainer_config trainer;
    open_minutes(&f, &trainer);
    f.config.minutes = 100;
    f.config.steps = WARM_UP + 5;
    assert_ok(run(&f, NULL));
    assert_int_equal(number_of(&f, "train", "steps"), WARM_UP + 5);
    check_rates(&f, WARM_UP + 5);
    close_fixture(&f);
}

/* What no folder keeps is decided all the same. */
static void test_without_a_folder(void **state)
{
    (void)state;
    fixture f;
    sumi_trainer_config trainer;
    open_minutes(&f, &trainer);
    f.config.out_dir = NULL;
    assert_ok(run(&f, NULL));
    assert_true(f.model->info.steps > WARM_UP);
    assert_int_equal(f.saves, 0);
    close_fixture(&f);
}

static void test_refusals(void **state)
{
    (void)state;
    fixture f;
    sumi_error err = {""};
    sumi_trainer_config trainer;
    open_minutes(&f, &trainer);
    trainer.warmup_steps = 3;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "a step is timed in its warm-up, which needs 4");
    trainer.warmup_steps = WARM_UP;
    f.config.minutes = 0;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "it needs schedule_steps, or a limit");
    f.config.steps = WARM_UP;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "must end after the 12 steps of its warm-up");
    close_fixture(&f);
}

/* What the clock says, without one. */
static void test_decisions(void **state)
{
    (void)state;
    sumi_clock clock = {.now = 110,
                        .started = 100,
                        .minutes = 10,
                        .began = true,
                        .open = true,
                        .steps = 20,
                        .timed = 19,
                        .warmup_steps = 50,
                        .last_step = INT64_MAX,
                        .timed_seconds = 9.5};
    /* 582 seconds less 10, at half a second a step. */
    assert_int_equal(sumi_run_decide(NULL, &clock).last_step, 20 + 1144);
    /* A search at the end takes its share of all of them, or what it takes at most, or nothing. */
    clock.tuning = (sumi_tuning_time){.share = .05, .least = 100, .most = 1000};
    assert_int_equal(sumi_run_decide(NULL, &clock).last_step, 20 + 1088);
    clock.tuning.most = 10;
    assert_int_equal(sumi_run_decide(NULL, &clock).last_step, 20 + 1134);
    clock.tuning.least = 2000;
    assert_int_equal(sumi_run_decide(NULL, &clock).last_step, 20 + 1144);
    clock.tuning = (sumi_tuning_time){0, 0, 0};
    clock.last_step = 500;
    assert_int_equal(sumi_run_decide(NULL, &clock).last_step, 500);
    clock.last_step = INT64_MAX;
    clock.timed_seconds = 4;
    assert_int_equal(sumi_run_decide(NULL, &clock).last_step, 0);
    clock.minutes = 1;
    assert_true(sumi_run_decide(NULL, &clock).last_step > 0);
    clock.timed = 7;
    assert_int_equal(sumi_run_decide(NULL, &clock).last_step, 0);
    /* The warm-up is over: now or never; nothing was timed in this call. */
    clock.steps = 50;
    clock.timed = 0;
    clock.seconds_a_step = 2;
    assert_int_equal(sumi_run_decide(NULL, &clock).last_step, 50 + 24);
    /* Steps that are too slow for the minutes still come to an end of their rate. */
    clock.seconds_a_step = 1000;
    assert_int_equal(sumi_run_decide(NULL, &clock).last_step, 51);
    /* With the standard recipe's 8 steps of warm-up that is the ninth, decided after the eighth. */
    sumi_clock brief = clock;
    brief.warmup_steps = brief.steps = 8;
    brief.minutes = .02;
    brief.timed = 7;
    brief.timed_seconds = 70;
    assert_int_equal(sumi_run_decide(NULL, &brief).last_step, 9);
    brief.steps = 7;
    assert_int_equal(sumi_run_decide(NULL, &brief).last_step, 0);
    clock.now = 1000;
    assert_false(sumi_run_decide(NULL, &clock).time_is_up);
    clock.open = false;
    assert_int_equal(sumi_run_decide(NULL, &clock).last_step, 0);
    assert_true(sumi_run_decide(NULL, &clock).time_is_up);
    clock.now = 100 + 59;
    assert_false(sumi_run_decide(NULL, &clock).time_is_up);
    clock.tuning.share = .05;
    assert_true(sumi_run_decide(NULL, &clock).time_is_up);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_minutes_are_steps_that_repeat),
        cmocka_unit_test(test_goes_on),
        cmocka_unit_test(test_the_first_limit_counts),
        cmocka_unit_test(test_without_a_folder),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_decisions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
