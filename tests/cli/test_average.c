/*
 * sumi average, and what sumi train says of averages, clipping and parts of a batch: lists come
 * back when a run goes on, others are made of its snapshots, and the mean of a model and itself is
 * that model.
 */
#include "program.h"

#include <jansson.h>

#define TINY                                                                                       \
    "--size 8x8 --batch 4 --base-channels 4 --time-dim 8 --timesteps 20 --grid 0 --threads 2"

static double kept(temp_folder *temp, const char *key)
{
    json_t *config = json_load_file(temp_path(temp, "wide/config.json"), 0, NULL);
    const json_t *value = json_object_get(json_object_get(config, "train"), key);
    assert_true(json_is_number(value));
    double number = json_number_value(value);
    json_decref(config);
    return number;
}

static void test_from_settings_to_averages(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(temp, "train shapes --recipe tutorial --steps 4 -q --out @wide --ema 0.5,0.9 "
                           "--ema-power 0.1,0.2 --ema-snapshots 2 --clip-norm 1 --accumulate 2 "
                           "--optimiser muon --beta2 0.95 --lr-schedule wsd " TINY);
    assert_quiet_run(temp, "train --resume @wide --steps 6 -q");
    assert_true(kept(temp, "ema") == .5 && kept(temp, "ema_2") == .9);
    assert_true(kept(temp, "ema_power") == .1 && kept(temp, "ema_power_2") == .2);
    assert_true(kept(temp, "accumulate") == 2 && kept(temp, "clip_norm") == 1);
    assert_true(kept(temp, "beta2") == .95 && kept(temp, "schedule_steps") == 4);
    assert_true(sumi_is_file(temp_path(temp, "wide/averages/step_6_2.safetensors")));

    assert_quiet_run(temp, "average @wide --sigma-rel 0.15 -q");
    assert_true(sumi_is_file(temp_path(temp, "wide/average-0.15.safetensors")));
    assert_quiet_run(temp, "average @wide/model.pth @wide --out @mean.pth -q");
    assert_quiet_run(temp, "average @mean.pth @mean.pth --out @same.safetensors -q");
    assert_quiet_run(temp, "diff @mean.pth @same.safetensors");
    program p;
    program_run(&p, temp, "average @wide --sigma-rel 0.1 --out @out.pth --json");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.out, "out.pth\""));
    program_free(&p);
}

static void test_runs_without_snapshots(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(temp,
                     "train shapes --recipe tutorial --steps 1 -q --out @plain --ema 0 " TINY);
    assert_failed_run(temp, "average @plain --sigma-rel 0.1 -q", 10 + SUMI_EIO, "--ema-snapshots");
    assert_failed_run(temp, "average @plain @nowhere.pth --out @x.pth -q", 10 + SUMI_EIO,
                      "nowhere.pth");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_from_settings_to_averages, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_runs_without_snapshots, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
