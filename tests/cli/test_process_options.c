/*
 * The program with other diffusion processes than the tutorial's, and with files of the tutorial's
 * former name.
 */
#include "program.h"

#include <jansson.h>

#include "io/io.h"

#define TINY                                                                                       \
    "--size 8x8 --batch 4 --base-channels 4 --time-dim 8 --timesteps 20 --grid 0 --threads 2"

static json_t *info_json(temp_folder *temp, const char *line)
{
    program p;
    program_run(&p, temp, line);
    assert_int_equal(p.code, 0);
    json_t *result = json_loads(p.out, 0, NULL);
    assert_non_null(result);
    program_free(&p);
    return result;
}

/* Another process than the tutorial's: it is trained, kept, gone on with, told and sampled. */
static void test_another_process(void **state)
{
    temp_folder *temp = *state;
    static const char line[] =
        "train shapes --recipe tutorial --objective v --schedule cosine --weighting min-snr "
        "--gamma 4 --stratified --steps 2 --out @v " TINY;
    program p;
    program_run(&p, temp, line);
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.err, "T 20, schedule cosine, objective v, weighting min-snr\n"));
    program_free(&p);
    assert_quiet_run(temp, "train --resume @v --steps 4 -q");
    json_t *info = info_json(temp, "info @v --json");
    const json_t *config = json_object_get(json_object_get(info, "config"), "model");
    const json_t *model = json_object_get(info, "model");
    for (int i = 0; i < 2; i++) {
        const json_t *of = i ? model : config;
        assert_string_equal(json_string_value(json_object_get(of, "objective")), "v");
        assert_string_equal(json_string_value(json_object_get(of, "schedule")), "cosine");
        assert_string_equal(json_string_value(json_object_get(of, "weighting")), "min-snr");
        assert_true(json_number_value(json_object_get(of, "gamma")) == 4);
        assert_true(json_number_value(json_object_get(of, "beta_start")) == .001);
        assert_true(json_is_true(json_object_get(of, "stratified")));
    }
    assert_int_equal(json_integer_value(json_object_get(model, "steps")), 4);
    assert_int_equal(json_array_size(json_object_get(model, "trained_size")), 2);
    json_decref(info);
    assert_quiet_run(temp, "sample @v -n 2 --solver ddim --steps 4 --size 8 -q --out @v.png");

    assert_failed_run(temp,
                      "train shapes --recipe tutorial --schedule flow --steps 2 --out @w " TINY,
                      10 + SUMI_EINVAL, "objective eps cannot go with schedule flow");
    assert_failed_run(temp,
                      "train shapes --recipe tutorial --sigma-min 90 --steps 2 --out @w " TINY,
                      10 + SUMI_EINVAL, "sigma_min is 90, expected less than sigma_max, 80");
    assert_failed_run(temp, "train --resume @v --steps 5 --objective x0", 2,
                      "--objective cannot be changed in a resumed run");
}

/* Files with the recipe's former name say, where a user reads them, what it is read as; once. */
static void test_the_former_name(void **state)
{
    temp_folder *temp = *state;
    static const char *const lines[] = {"info @former", "train --resume @former --steps 4"};
    json_t *config = NULL;
    assert_quiet_run(temp, "train shapes --recipe tutorial --steps 2 -q --out @former " TINY);
    const char *path = temp_path(temp, "former/config.json");
    assert_int_equal(sumi_json_read(path, &config, NULL), SUMI_OK);
    json_object_set_new(config, "recipe", json_string("seed"));
    assert_int_equal(sumi_json_write(path, config, NULL), SUMI_OK);
    json_decref(config);
    for (size_t i = 0; i < 2; i++) {
        program p;
        program_run(&p, temp, lines[i]);
        assert_int_equal(p.code, 0);
        const char *note = strstr(p.err, "/former: \"seed\" is the former name of \"tutorial\"");
        if (note == NULL)
            fail_msg("sumi %s does not tell: %s", lines[i], p.err);
        assert_null(strstr(strchr(note, '\n'), "former name"));
        program_free(&p);
    }
    program p; /* the run has been rewritten, and its files never said it */
    program_run(&p, temp, "info @former");
    assert_null(strstr(p.err, "former name"));
    program_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_another_process, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_the_former_name, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
