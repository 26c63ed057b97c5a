/*
 * Where options come from: the command line, the environment, a file, the config.json of a run; and
 * which of them wins.
 */
#include "program.h"

#include "cli/options.h"
#include "io/io.h"

#define TINY                                                                                       \
    "--recipe tutorial --size 8 --batch 4 --base-channels 4 --time-dim 4 --timesteps 8 --grid 0"

static void put(temp_folder *temp, const char *name, const char *text)
{
    assert_int_equal(sumi_file_save(temp_path(temp, name), text, strlen(text), NULL), SUMI_OK);
}

static json_t *train_of(temp_folder *temp, const char *run, json_t **config)
{
    char name[64];
    snprintf(name, sizeof name, "%s/config.json", run);
    assert_int_equal(sumi_json_read(temp_path(temp, name), config, NULL), SUMI_OK);
    return json_object_get(*config, "train");
}

static void expect_real(const json_t *object, const char *key, double value)
{
    double found = json_number_value(json_object_get(object, key));
    if (found < value * .999999 || found > value * 1.000001)
        fail_msg("%s is %g, expected %g", key, found, value);
}

static void test_files_and_variables(void **state)
{
    temp_folder *temp = *state;
    json_t *config;
    put(temp, "o.toml",
        "# a training\nrecipe = \"tutorial\"\ndata = \"shapes\"\nsize = \"8x8\"\nbatch = "
        "4\nbase-channels = 4\n"
        "time_dim = 4\ntimesteps = 8\ngrid = 0\nlr = 0.002\nema = 0.5\nsteps = 3\nquiet = true\n"
        "skip-bad = false\n");
    setenv("SUMI_TRAIN_EMA", "0.75", 1);
    setenv("SUMI_TRAIN_SEED", "9", 1);
    assert_quiet_run(temp, "train --config @o.toml --seed 5 --out @a");
    const json_t *train = train_of(temp, "a", &config);
    expect_real(train, "learning_rate", .002);                               /* the file */
    expect_real(train, "ema", .75);                                          /* the variable */
    assert_int_equal(json_integer_value(json_object_get(train, "seed")), 5); /* the line */
    assert_int_equal(json_integer_value(json_object_get(train, "steps")), 3);
    json_decref(config);
    unsetenv("SUMI_TRAIN_SEED");

    /* The file may be named by a variable; of the variables a resumed run takes what may change. */
    setenv("SUMI_TRAIN_CONFIG", temp_path(temp, "o.toml"), 1);
    setenv("SUMI_TRAIN_STEPS", "5", 1);
    setenv("SUMI_TRAIN_QUIET", "yes", 1);
    assert_quiet_run(temp, "train --resume @a");
    train = train_of(temp, "a", &config);
    assert_int_equal(json_integer_value(json_object_get(train, "steps")), 5);
    json_decref(config);
    unsetenv("SUMI_TRAIN_CONFIG");
    unsetenv("SUMI_TRAIN_STEPS");
    unsetenv("SUMI_TRAIN_EMA");
    unsetenv("SUMI_TRAIN_QUIET");

    put(temp, "s.toml", "out = 'x.png'\nsteps = 2\nsolver = 'ddim'\nsize = 8\ncount = 1");
    char line[256];
    snprintf(line, sizeof line, "sample @a -q --config @s.toml --out @x.png");
    assert_quiet_run(temp, line);
    assert_true(sumi_is_file(temp_path(temp, "x.png")));
}

static void test_what_is_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"batch = ", "line 1: expected a value"},
        {"bach = 4", "bach: sumi train has no such option; did you mean batch?"},
        {"batch = 0", "--batch: expected a whole number"},
        {"batch = \"x\"", "--batch: expected a whole number"},
        {"skip-bad = 1", "--skip-bad: expected true or false"},
        {"resume = \"x\"", "resume is for the command line"},
        {"config = \"x\"", "config is for the command line"},
        {"help = true", "help is for the command line"},
        {"[train]", "tables"},
        {"{\"data\": 1", "o.toml"},
        {"{}", "o.toml"},
    };
    temp_folder *temp = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put(temp, "o.toml", cases[i].text);
        program p;
        program_run(&p, temp, "train shapes --recipe tutorial --config @o.toml --steps 1 --out @r");
        if (p.code == 0 || strstr(p.err, cases[i].says) == NULL)
            fail_msg("%s: exit %d: %s", cases[i].text, p.code, p.err);
        program_free(&p);
        assert_false(sumi_is_dir(temp_path(temp, "r")));
    }
    assert_failed_run(temp, "train shapes --config @missing", 2, "missing");
    assert_failed_run(temp, "info --config @o.toml", 2, "config.json is for a new sumi train");
    setenv("SUMI_TRAIN_BATCH", "many", 1);
    assert_failed_run(temp, "train shapes --out @r", 2, "SUMI_TRAIN_BATCH: --batch: expected a");
    unsetenv("SUMI_TRAIN_BATCH");
    setenv("SUMI_TRAIN_QUIET", "perhaps", 1);
    assert_failed_run(temp, "train shapes --out @r", 2, "SUMI_TRAIN_QUIET: expected 1 or 0");
    unsetenv("SUMI_TRAIN_QUIET");
}

/* Every tensor of two model files, to the bit. */
static void assert_same_model(temp_folder *temp, const char *a, const char *b)
{
    sumi_tensor_file x, y;
    assert_int_equal(sumi_tensor_file_read(temp_path(temp, a), &x, NULL), SUMI_OK);
    assert_int_equal(sumi_tensor_file_read(temp_path(temp, b), &y, NULL), SUMI_OK);
    assert_int_equal(x.count, y.count);
    for (size_t i = 0; i < x.count; i++) {
        assert_int_equal(x.tensors[i].bytes, y.tensors[i].bytes);
        assert_memory_equal(x.tensors[i].data, y.tensors[i].data, x.tensors[i].bytes);
    }
    sumi_tensor_file_free(&x);
    sumi_tensor_file_free(&y);
}

static void test_a_run_again(void **state)
{
    temp_folder *temp = *state;
    json_t *config;
    assert_quiet_run(temp, "train shapes " TINY " --steps 6 --lr 0.004 --lr-schedule cosine "
                           "--lr-steps 6 --ema 0.9 --seed 7 --objective v --channels 3 --optimiser "
                           "adamw --weight-decay 0.01 -q --out @a");
    assert_quiet_run(temp, "train --config @a/config.json -q --out @b");
    assert_same_model(temp, "a/model.pth", "b/model.pth");
    assert_same_model(temp, "a/checkpoints/step_6/ema.safetensors",
                      "b/checkpoints/step_6/ema.safetensors");
    program p;
    program_run(&p, temp, "verify @b");
    assert_int_equal(p.code, 0);
    assert_string_equal(p.out, "steps 1 to 6: the same losses, and the same bits as checkpoint "
                               "step_6\n");
    program_free(&p);
    /* A limit that is given stands for all; other things may be given, too. */
    assert_quiet_run(temp, "train --config @a/config.json -q --epochs 1000 --steps 2 --batch 2 "
                           "--out @c");
    const json_t *train = train_of(temp, "c", &config);
    assert_int_equal(json_integer_value(json_object_get(train, "steps")), 2);
    assert_int_equal(json_integer_value(json_object_get(train, "epochs")), 1000);
    assert_int_equal(json_integer_value(json_object_get(train, "batch")), 2);
    json_decref(config);
    /* Of weights that came from a file the config knows nothing. */
    assert_quiet_run(
        temp, "train shapes --recipe tutorial --init @a/model.pth --size 8 --channels 3 --batch 4 "
              "--steps 1 --grid 0 -q --out @d");
    program_run(&p, temp, "train --config @d/config.json -q --out @e");
    if (strstr(p.err, "give them with --init") == NULL && p.code != 0)
        fail_msg("exit %d: %s", p.code, p.err);
    program_free(&p);
}

static void test_names_of_variables(void **state)
{
    (void)state;
    char name[64];
    sumi_option option;
    assert_true(sumi_option_find(SUMI_CMD_TRAIN, "lr-warmup", 9, &option) >= 0);
    sumi_option_variable(&option, SUMI_CMD_TRAIN, name);
    assert_string_equal(name, "SUMI_TRAIN_LR_WARMUP");
    assert_true(sumi_option_find(SUMI_CMD_DATA_INFO, "size", 4, &option) >= 0);
    sumi_option_variable(&option, SUMI_CMD_DATA_INFO, name);
    assert_string_equal(name, "SUMI_DATA_INFO_SIZE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files_and_variables, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_what_is_refused, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_a_run_again, temp_setup, temp_teardown),
        cmocka_unit_test(test_names_of_variables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
