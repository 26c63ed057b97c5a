/*
 * The program's default recipe: it says what it chose, config.json has it, options stand above it,
 * and sampling needs none.
 */
#include "program.h"

#include <jansson.h>

#include "io/io.h"

#define TINY " --base-channels 4 --time-dim 8 --grid 0 --threads 2"

static json_t *config_of(temp_folder *temp, const char *name)
{
    char path[256];
    json_t *config = NULL;
    snprintf(path, sizeof path, "%s/config.json", name);
    assert_int_equal(sumi_json_read(temp_path(temp, path), &config, NULL), SUMI_OK);
    return config;
}

static const char *text_of(const json_t *config, const char *part, const char *name)
{
    const char *text = json_string_value(json_object_get(json_object_get(config, part), name));
    return text != NULL ? text : "none";
}

static double number_of(const json_t *config, const char *part, const char *name)
{
    return json_number_value(json_object_get(json_object_get(config, part), name));
}

/* What the run says and writes, that it goes on, and that its samples need no options. */
static void test_standard(void **state)
{
    temp_folder *temp = *state;
    program p;
    program_run(&p, temp, "train shapes --size 8 --steps 12 --batch 4 --out @run" TINY);
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.err, "recipe standard\n"));
    assert_non_null(strstr(p.err, "unet, channels 64@8x8: for images of 8x8x1"));
    assert_non_null(strstr(p.err, "10 classes"));
    assert_non_null(strstr(p.err, "sample "));
    assert_null(strstr(p.err, "--solver"));
    program_free(&p);
    json_t *config = config_of(temp, "run");
    assert_string_equal(json_string_value(json_object_get(config, "recipe")), "standard");
    assert_string_equal(text_of(config, "model", "net"), "unet");
    assert_string_equal(text_of(config, "model", "objective"), "edm");
    assert_string_equal(text_of(config, "train", "rate_schedule"), "linear");
    assert_true(number_of(config, "train", "steps") == 12);
    assert_true(number_of(config, "train", "schedule_steps") == 12);
    assert_true(number_of(config, "train", "warmup_steps") == 2);
    assert_true(number_of(config, "train", "batch") == 4);
    assert_true(number_of(config, "model", "base_channels") == 4);
    json_decref(config);
    assert_quiet_run(temp, "sample @run --label all -n 20 -q --out @a.png");
    program_run(&p, temp, "info @run --json");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.out, "dpmpp-2m"));
    assert_non_null(strstr(p.out, "\"data_std\""));
    program_free(&p);

    program_run(&p, temp, "train --resume @run");
    assert_int_equal(p.code, 0);
    assert_null(strstr(p.err, "recipe standard"));
    program_free(&p);
}

/* A run that is stopped is the same as one that was not, whatever recipe it is of. */
static void test_goes_on(void **state)
{
    temp_folder *temp = *state;
    program p;
    program_start(&p, temp, "train shapes --size 8 --steps 600 --batch 4 --out @part" TINY);
    for (int i = 0; i < 1000 && !sumi_is_file(temp_path(temp, "part/metrics.jsonl")); i++)
        usleep(10000);
    kill(p.pid, SIGINT);
    program_wait(&p, temp);
    program_free(&p);
    assert_quiet_run(temp, "train --resume @part -q");
    assert_quiet_run(temp, "train shapes --size 8 --steps 600 --batch 4 -q --out @whole" TINY);
    assert_quiet_run(temp, "diff @part @whole");
}

/* What is given stands above the recipe. */
static void test_options(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(temp, "train shapes --size 8 --steps 2 --batch 4 --stratified=off --lr 0.5 "
                           "--law-mean 0.25 --optimiser adam --ema 0 --precision fp32 -q "
                           "--lr-schedule constant --out @own" TINY);
    json_t *config = config_of(temp, "own");
    assert_true(json_is_false(json_object_get(json_object_get(config, "model"), "stratified")));
    assert_true(json_is_true(json_object_get(json_object_get(config, "model"), "standardise")));
    assert_true(number_of(config, "model", "law_mean") == .25);
    assert_true(number_of(config, "train", "learning_rate") == .5);
    assert_true(number_of(config, "train", "ema") == 0);
    assert_string_equal(text_of(config, "train", "rate_schedule"), "constant");
    assert_string_equal(text_of(config, "train", "precision"), "fp32");
    assert_true(json_is_true(json_object_get(json_object_get(config, "train"), "tune")));
    json_decref(config);
    assert_quiet_run(temp,
                     "train shapes --size 8 --steps 2 --batch 4 -q --tune=off --out @off" TINY);
    config = config_of(temp, "off");
    assert_true(json_is_false(json_object_get(json_object_get(config, "train"), "tune")));
    json_decref(config);
    /* So do a variable and a file of options. */
    static const char text[] = "stratified = false\n";
    assert_int_equal(sumi_file_save(temp_path(temp, "o.toml"), text, sizeof text - 1, NULL),
                     SUMI_OK);
    setenv("SUMI_TRAIN_TUNE", "off", 1);
    assert_quiet_run(temp,
                     "train shapes --size 8 --steps 2 --batch 4 -q --config @o.toml --out @o" TINY);
    unsetenv("SUMI_TRAIN_TUNE");
    config = config_of(temp, "o");
    assert_true(json_is_false(json_object_get(json_object_get(config, "train"), "tune")));
    assert_true(json_is_false(json_object_get(json_object_get(config, "model"), "stratified")));
    json_decref(config);
    /* Another network has its own sizes. */
    assert_quiet_run(temp, "train shapes --size 8 --steps 2 --batch 4 --net tutorial -q --grid 0 "
                           "--base-channels 4 --out @net");
    config = config_of(temp, "net");
    assert_string_equal(text_of(config, "model", "net"), "tutorial");
    assert_true(number_of(config, "model", "time_dim") == 100);
    json_decref(config);
    assert_failed_run(temp, "train shapes --stratified=maybe --out @bad", 2, "expected no value");
    assert_failed_run(temp, "train shapes --quiet=off --out @bad", 2, "expected no value");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_standard, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_goes_on, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_options, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
