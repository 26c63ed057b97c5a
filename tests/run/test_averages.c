/*
 * Snapshots of a run's averages, averages that are made of them afterwards, and means of models.
 */
#include "run_fixture.h"

#include <math.h>

enum { STEPS = 24 };

static void open_run(fixture *f, sumi_trainer_config *trainer, int snapshots)
{
    *trainer = (sumi_trainer_config)SUMI_TRAINER_CONFIG_INIT;
    trainer->batch = BATCH;
    trainer->seed = 4;
    trainer->power_averages[0] = .1f;
    trainer->power_averages[1] = .05f;
    trainer->averages[0] = .9f;
    open_fixture(f, 1, 0);
    f->config.trainer = trainer;
    f->config.grid = 0;
    f->config.epochs = 0;
    f->config.steps = STEPS;
    f->config.snapshots = snapshots;
}

static double distance(const sumi_model *a, const sumi_model *b)
{
    double sum = 0;
    for (size_t i = 0; i < a->graph.params.value_count; i++)
        sum += pow((double)a->graph.params.values[i] - (double)b->graph.params.values[i], 2);
    return sqrt(sum);
}

/* What a run would have had that kept an average of that width all along. */
static sumi_model *average_kept(float width)
{
    sumi_trainer_config trainer;
    fixture f;
    sumi_model *model;
    open_run(&f, &trainer, 0);
    trainer.power_averages[0] = width;
    trainer.power_averages[1] = 0;
    assert_ok(run(&f, NULL));
    assert_ok(sumi_run_load(f.run, &model, NULL, NULL));
    close_fixture(&f);
    return model;
}

static void test_averages_of_other_widths(void **state)
{
    (void)state;
    static const float widths[] = {.07f, .15f};
    sumi_trainer_config trainer;
    fixture f;
    open_run(&f, &trainer, 8);
    assert_ok(run(&f, NULL));
    for (int step = 1; step <= STEPS; step++)
        for (int k = 1; k <= 3; k++) {
            char name[64];
            snprintf(name, sizeof name, "averages/step_%d_%d.safetensors", step, k);
            assert_int_equal(has(&f, name), step % 3 == 0 && k < 3);
        }
    for (int i = 0; i < 2; i++) {
        sumi_model *kept = average_kept(widths[i]), *made;
        assert_ok(sumi_run_average(f.run, sumi_shortest(widths[i]), &made, NULL));
        assert_string_equal(
            json_string_value(json_object_get(made->metadata, "sumi.average_width")),
            i ? "0.15" : "0.07");
        double error = distance(made, kept), way = distance(kept, f.model);
        if (!(error < .05 * way))
            fail_msg("width %g: %g off, and the weights are %g away", (double)widths[i], error,
                     way);
        sumi_models_free(made);
        sumi_models_free(kept);
    }
    /* One that was kept comes back as it is. */
    sumi_model *found, *made;
    assert_ok(sumi_run_load(f.run, &found, NULL, NULL));
    assert_ok(sumi_run_average(f.run, .1, &made, NULL));
    assert_true(distance(found, made) < 1e-5);
    sumi_models_free(found);
    sumi_models_free(made);
    close_fixture(&f);
}

static void test_going_on_keeps_the_same_snapshots(void **state)
{
    (void)state;
    static const char last[] = "averages/step_24_2.safetensors";
    sumi_trainer_config trainer[2];
    fixture f[2];
    uint8_t *bytes[2];
    size_t size[2];
    char path[PATH_MAX];
    for (int i = 0; i < 2; i++) {
        open_run(&f[i], &trainer[i], 4);
        f[i].stop_phase = SUMI_PHASE_TRAIN;
        f[i].stop_step = i ? 13 : 0;
        assert_int_equal(run(&f[i], NULL), i ? SUMI_CANCELLED : SUMI_OK);
        if (i == 1) {
            join(path, f[i].run, "averages/.sumi-1-1.tmp"); /* of a process that was killed */
            assert_ok(sumi_file_save(path, "x", 1, NULL));
            go_on(&f[i]);
            f[i].stop_step = 0;
            assert_ok(run(&f[i], NULL));
            assert_false(has(&f[i], "averages/.sumi-1-1.tmp"));
        }
        assert_ok(sumi_file_read(join(path, f[i].run, last), 1 << 24, &bytes[i], &size[i], NULL));
    }
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(bytes[0], bytes[1], size[0]);
    free(bytes[0]);
    free(bytes[1]);
    close_fixture(&f[0]);
    close_fixture(&f[1]);
}

static void test_refuses_what_has_none(void **state)
{
    (void)state;
    sumi_trainer_config trainer;
    fixture f;
    sumi_error err;
    sumi_model *model;
    open_run(&f, &trainer, 4);
    memset(trainer.power_averages, 0, sizeof trainer.power_averages);
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "and there is none: ema_power");
    trainer.power_averages[0] = .1f;
    f.config.steps = 0;
    f.config.minutes = 1;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "which must be known");
    assert_int_equal(sumi_run_average(f.run, .1, &model, &err), SUMI_EIO);
    assert_says(err, "--ema-snapshots");
    assert_int_equal(sumi_run_average(f.run, .3, &model, &err), SUMI_EINVAL);
    assert_says(err, "width is 0.3");
    assert_int_equal(sumi_run_average(f.run, 0, &model, &err), SUMI_EINVAL);
    static const int wrong[] = {-1, 1025};
    for (int i = 0; i < 2; i++) {
        f.config.snapshots = wrong[i];
        assert_int_equal(run(&f, &err), SUMI_EINVAL);
        assert_says(err, "expected 0 to 1024");
    }
    /* Without a folder none is kept. */
    f.config.snapshots = 2;
    f.config.minutes = 0;
    f.config.steps = 2;
    f.config.out_dir = NULL;
    assert_ok(run(&f, NULL));
    char path[PATH_MAX];
    memset(path, 'a', sizeof path - 2);
    path[sizeof path - 2] = '\0';
    assert_int_equal(sumi_run_average(path, .1, &model, &err), SUMI_EINVAL);
    assert_says(err, "is too long");
    close_fixture(&f);
}

/* A folder of snapshots that others wrote into. */
static void test_refuses_what_is_no_snapshot(void **state)
{
    (void)state;
    static const char step_key[] = "sumi.average_step", width_key[] = "sumi.average_width";
    static const struct {
        const char *step, *width, *says;
    } cases[] = {{NULL, ".1", step_key},  {"", ".1", step_key},     {"5x", ".1", step_key},
                 {"0", ".1", step_key},   {"1e12", ".1", step_key}, {"5", NULL, width_key},
                 {"5", "0.5", width_key}, {"5", "-1", width_key},   {"5", "nan", width_key}};
    char folder[PATH_MAX], averages[PATH_MAX], path[PATH_MAX], name[64];
    sumi_model *made, *model;
    sumi_error err;
    make_folder(folder);
    assert_ok(sumi_make_dirs(join(averages, folder, "averages"), NULL));
    static const char *const others[] = {"step_5.safetensors", "step_5_1.pth", "5_1.safetensors",
                                         "step_x_1.safetensors"};
    for (int i = 0; i < 4; i++)
        assert_ok(sumi_file_save(join(path, averages, others[i]), "x", 1, NULL));
    assert_int_equal(sumi_run_average(folder, .1, &made, &err), SUMI_EIO);
    assert_says(err, "there is no snapshot in it");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model = make_model_of(1, 1);
        if (cases[i].step)
            assert_ok(sumi_models_set_metadata(model, step_key, cases[i].step, NULL));
        if (cases[i].width)
            assert_ok(sumi_models_set_metadata(model, width_key, cases[i].width, NULL));
        assert_ok(
            sumi_models_save(join(path, averages, "step_5_1.safetensors"), model, NULL, NULL));
        sumi_models_free(model);
        assert_int_equal(sumi_run_average(folder, .1, &made, &err), SUMI_EFORMAT);
        assert_says(err, cases[i].says);
        assert_says(err, "is no such number");
    }
    /* More than are looked at, none of which is a model. */
    for (int i = 0; i < 4200; i++) {
        snprintf(name, sizeof name, "step_%d_1.safetensors", i + 10);
        FILE *file = fopen(join(path, averages, name), "w");
        assert_true(file && fclose(file) == 0);
    }
    assert_int_equal(sumi_run_average(folder, .1, &made, &err), SUMI_EFORMAT);
    assert_ok(sumi_remove_tree(folder, NULL));
}

static void test_means_of_models(void **state)
{
    (void)state;
    sumi_model *models[3] = {make_model(1), make_model(2), make_model(3)}, *out;
    sumi_model *other = make_model_of(4, 1);
    static const double factors[3] = {.5, -.25, .75};
    sumi_mean mean = {0};
    sumi_error err;
    for (int i = 0; i < 3; i++)
        assert_ok(sumi_mean_add(&mean, "model", models[i], factors[i], NULL));
    assert_int_equal(sumi_mean_add(&mean, "the other", other, 1, &err), SUMI_ESHAPE);
    assert_says(err, "the other");
    assert_ok(sumi_mean_end(&mean, &out, NULL));
    for (size_t i = 0; i < out->graph.params.value_count; i++) {
        double want = 0;
        for (int k = 0; k < 3; k++)
            want += factors[k] * (double)models[k]->graph.params.values[i];
        assert_true(out->graph.params.values[i] == (float)want);
    }
    sumi_mean_free(&mean);
    sumi_models_free(out);
    sumi_models_free(other);
    for (int i = 0; i < 3; i++)
        sumi_models_free(models[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_averages_of_other_widths),
        cmocka_unit_test(test_going_on_keeps_the_same_snapshots),
        cmocka_unit_test(test_refuses_what_has_none),
        cmocka_unit_test(test_refuses_what_is_no_snapshot),
        cmocka_unit_test(test_means_of_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
