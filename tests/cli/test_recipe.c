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

/* Its config.json alone makes the same run again, sampling and all. */
static void test_again(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(temp,
                     "train shapes --size 8 --steps 30 --batch 4 --seed 5 -q --out @first" TINY);
    assert_quiet_run(temp, "train --config @first/config.json -q --threads 1 --out @again");
    assert_quiet_run(temp, "diff @first @again");
    char *models[2];
    for (int i = 0; i < 2; i++) {
        program p;
        program_run(&p, temp,
                    i == 0 ? "info @first/model.pth --json" : "info @again/model.pth --json");
        assert_int_equal(p.code, 0);
        json_t *info = json_loads(p.out, 0, NULL);
        const json_t *model = json_object_get(info, "model");
        models[i] = json_dumps(json_object_get(model, "sampling"), JSON_SORT_KEYS);
        assert_non_null(models[i]);
        json_decref(info);
        program_free(&p);
    }
    assert_non_null(strstr(models[0], "dpmpp-2m"));
    assert_string_equal(models[0], models[1]);
    free(models[0]);
    free(models[1]);
}

/* Guidance goes from no label to a label: it is the model's own way where the training had both. */
static void test_guided(void **state)
{
    temp_folder *temp = *state;
    static const struct {
        const char *options;
        bool guided;
    } cases[] = {{"", true},
                 {" --label-drop 0", false},
                 {" --label-drop 1", false},
                 {" --net tutorial", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[256];
        program p;
        snprintf(line, sizeof line,
                 "train shapes --size 8 --steps 2 --batch 4 -q --out @guided%zu%s" TINY, i,
                 cases[i].options);
        assert_quiet_run(temp, line);
        snprintf(line, sizeof line, "info @guided%zu --json", i);
        program_run(&p, temp, line);
        assert_int_equal(p.code, 0);
        assert_non_null(strstr(p.out, "dpmpp-2m"));
        assert_int_equal(strstr(p.out, "\"guidance\"") != NULL, cases[i].guided);
        program_free(&p);
        /* Of one that never sees a label none can be drawn. */
        snprintf(line, sizeof line, "guided%zu", i);
        json_t *config = config_of(temp, line);
        assert_true(number_of(config, "model", "classes") == (i < 2 ? 10 : 0));
        json_decref(config);
    }
}

/* It goes on, and is made again, with the network that it had, also where that knows labels which
 * are now withheld. */
static void test_withheld_goes_on(void **state)
{
    temp_folder *temp = *state;
#define TWO_STEPS "train shapes --size 8 --steps 2 --batch 4 -q"
    assert_quiet_run(temp, TWO_STEPS " --out @told" TINY);
    assert_quiet_run(temp, TWO_STEPS " --init @told/model.safetensors --label-drop 1 --grid 0 "
                                     "--out @withheld");
    assert_quiet_run(temp, "train --resume @withheld --steps 4 -q");
    assert_quiet_run(temp, TWO_STEPS " --label-drop 1 --out @none" TINY);
    assert_quiet_run(temp, "train --resume @none --steps 4 -q");
    assert_quiet_run(temp, "train --config @none/config.json -q --out @none_again");
    json_t *config = config_of(temp, "none_again");
    assert_true(number_of(config, "model", "classes") == 0);
    json_decref(config);
}

/* However few minutes there are: a model that draws. */
static void test_no_time(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(temp, "train shapes --size 8 --minutes 0.001 --batch 4 -q --out @brief" TINY);
    json_t *config = config_of(temp, "brief");
    assert_true(number_of(config, "train", "warmup_steps") == 8);
    assert_true(number_of(config, "train", "steps") >= 9);
    assert_true(number_of(config, "train", "schedule_steps") ==
                number_of(config, "train", "steps"));
    json_decref(config);
    assert_quiet_run(temp, "sample @brief/model.safetensors -n 2 -q --out @brief.png");
}

/* Names of classes go with the weights: through a resume, and to data whose labels have none. */
static void test_class_names(void **state)
{
    temp_folder *temp = *state;
    uint8_t pixels[8 * 64], labels[8];
    for (int i = 0; i < 8; i++) {
        char name[64];
        snprintf(name, sizeof name, "of/%s", i % 2 ? "boots" : "anoraks");
        assert_int_equal(sumi_make_dirs(temp_path(temp, name), NULL), SUMI_OK);
        snprintf(name, sizeof name, "of/%s/%d.png", i % 2 ? "boots" : "anoraks", i);
        memset(pixels + 64 * i, 30 * i, 64);
        labels[i] = (uint8_t)(i % 2);
        const sumi_image image = {8, 8, 1, pixels + 64 * i};
        assert_int_equal(sumi_png_write(temp_path(temp, name), &image, NULL, NULL), SUMI_OK);
    }
    const sumi_npy x = {SUMI_NPY_U8, 4, {8, 8, 8, 1}, 8 * 64, pixels},
                   y = {SUMI_NPY_U8, 1, {8}, 8, labels};
    assert_int_equal(sumi_npy_write(temp_path(temp, "x.npy"), &x, NULL), SUMI_OK);
    assert_int_equal(sumi_npy_write(temp_path(temp, "x-labels.npy"), &y, NULL), SUMI_OK);
    assert_quiet_run(temp, "train @of --steps 4 --batch 4 -q --out @named" TINY);
    assert_quiet_run(temp, "train --resume @named --steps 6 -q");
    assert_quiet_run(temp, "train @x.npy --init @named/model.safetensors --steps 2 --batch 4 -q "
                           "--grid 0 --out @on");
    static const char *const models[] = {"sample @named --label boots -n 1 -q --out @a.png",
                                         "sample @on --label anoraks -n 1 -q --out @b.png",
                                         "sample @on/model.pth --label boots -n 1 -q --out @c.png"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        assert_quiet_run(temp, models[i]);
    assert_failed_run(temp, "sample @on --label hats -n 1 --out @d.png", 2,
                      "--label: expected all or one of 0 (anoraks), 1 (boots), found 'hats'");
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
        cmocka_unit_test_setup_teardown(test_again, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_guided, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_withheld_goes_on, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_no_time, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_class_names, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_options, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
