/*
 * Averages: those by powers of the step against their formula in double and against numpy's values
 * of widths and factors; how soon they follow; several at once, and through checkpoints.
 */
#include "../golden/power.h"
#include "train_test.h"

#include <math.h>

enum { N = 4, SIDE = 8, PIXELS = SIDE * SIDE, WANTED = 4, SNAPSHOTS = 8 };

typedef struct {
    sumi_runtime runtime;
    sumi_model *model;
    sumi_trainer *trainer;
} fixture;

static void open_fixture(fixture *f, const sumi_trainer_config *config)
{
    make_runtime(&f->runtime, 2);
    f->model = make_model_of(4, 1);
    assert_ok(sumi_train_create(&f->runtime, f->model, config, &f->trainer, NULL));
}

static void close_fixture(fixture *f)
{
    sumi_train_free(f->trainer);
    sumi_models_free(f->model);
    sumi_runtime_free(&f->runtime);
}

static sumi_trainer_config settings(void)
{
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    config.batch = N;
    config.height = config.width = SIDE;
    return config;
}

static void step(fixture *f)
{
    float images[N * PIXELS];
    const sumi_random at = {3, SUMI_STREAM_USER, (uint32_t)f->trainer->steps, 0};
    sumi_random_normals(&at, 0, images, N * PIXELS);
    sumi_batch batch = {.size = sizeof batch, .n = N, .h = SIDE, .w = SIDE, .x = images};
    assert_ok(sumi_train_step(f->trainer, &batch, NULL, NULL));
}

/* ---- numpy's values -------------------------------------------------------------------------- */

static void test_widths_and_exponents(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof power_widths / sizeof *power_widths; i++) {
        double exponent = sumi_power_exponent(power_widths[i]);
        assert_true(fabs(exponent - power_exponents[i]) < 1e-9 * (1 + power_exponents[i]));
        assert_true(fabs(sumi_power_width(exponent) - power_widths[i]) < 1e-12);
    }
}

static void test_factors_of_snapshots(void **state)
{
    (void)state;
    sumi_power_profile snapshots[SNAPSHOTS];
    double factors[SNAPSHOTS];
    sumi_error err;
    for (int i = 0; i < SNAPSHOTS; i++)
        snapshots[i] = (sumi_power_profile){power_steps[i], sumi_power_exponent(power_kept[i])};
    for (int k = 0; k < WANTED; k++) {
        const sumi_power_profile wanted = {power_wanted_steps[k],
                                           sumi_power_exponent(power_wanted_widths[k])};
        assert_ok(sumi_power_factors(snapshots, SNAPSHOTS, &wanted, factors, NULL));
        for (int i = 0; i < SNAPSHOTS; i++)
            assert_true(fabs(factors[i] - power_factors[k * SNAPSHOTS + i]) < 1e-7);
    }
    snapshots[1] = snapshots[0];
    assert_int_equal(sumi_power_factors(snapshots, 2, &snapshots[2], factors, &err), SUMI_EINVAL);
    assert_says(err, "two are the same");
}

/* ---- Training -------------------------------------------------------------------------------- */

/* Step s of t weighs as the integral of s^exponent over its unit: by the product of the decays. */
static void test_follows_the_formula(void **state)
{
    (void)state;
    enum { STEPS = 9 };
    sumi_trainer_config config = settings();
    fixture f;
    config.power_averages[0] = .1f;
    config.power_averages[1] = .2f;
    config.averages[0] = .5f;
    open_fixture(&f, &config);
    size_t count = f.model->graph.params.value_count;
    const sumi_averages *averages = &f.trainer->averages;
    double *want = calloc(2 * count, sizeof *want);
    assert_int_equal(averages->count, 3);
    assert_ptr_equal(sumi_train_best(f.trainer), averages->model[0]);
    assert_true(averages->decay[2] == .5f); /* behind those by powers */
    for (int t = 1; t <= STEPS; t++) {
        step(&f);
        for (int k = 0; k < 2; k++) {
            double exponent = sumi_power_exponent(k ? .2 : .1), d = pow(1 - 1. / t, exponent + 1);
            double *at = want + (size_t)k * count;
            for (size_t i = 0; i < count; i++)
                at[i] = d * at[i] + (1 - d) * (double)f.model->graph.params.values[i];
        }
        for (size_t i = 0; t == 1 && i < count; i++) /* nothing is left of the initial weights */
            assert_true(fabs((double)averages->model[0]->graph.params.values[i] -
                             (double)f.model->graph.params.values[i]) < 1e-7);
    }
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < count; i++)
            assert_true(fabs((double)averages->model[k]->graph.params.values[i] -
                             want[(size_t)k * count + i]) < 2e-7);
    free(want);
    close_fixture(&f);
}

static double distance(const sumi_model *model, const float *from)
{
    double sum = 0;
    for (size_t i = 0; i < model->graph.params.value_count; i++)
        sum += pow((double)model->graph.params.values[i] - (double)from[i], 2);
    return sqrt(sum);
}

/* After a few steps and after many it is as near to the weights as a tenth of the way to them. A
 * decay has a length of its own. */
static void test_follows_a_short_run(void **state)
{
    (void)state;
    sumi_trainer_config config = settings();
    fixture f;
    config.power_averages[0] = .1f;
    config.averages[0] = .9999f;
    open_fixture(&f, &config);
    size_t bytes = f.model->graph.params.value_count * sizeof(float);
    float *begun = malloc(bytes);
    memcpy(begun, f.model->graph.params.values, bytes);
    for (int t = 1; t <= 60; t++) {
        step(&f);
        const sumi_model *power = f.trainer->averages.model[0];
        double way = distance(f.model, begun);
        double behind = distance(f.model, power->graph.params.values);
        if (t >= 4 && !(behind < .3 * way))
            fail_msg("after %d steps the average is %g behind, the way is %g", t, behind, way);
    }
    free(begun);
    close_fixture(&f);
}

static void test_goes_through_checkpoints(void **state)
{
    (void)state;
    char folder[PATH_MAX], dir[PATH_MAX];
    sumi_trainer_config config = settings();
    fixture f[2];
    sumi_model *found;
    sumi_error err;
    config.power_averages[0] = .1f;
    config.averages[0] = .9f;
    config.averages[1] = .99f;
    make_folder(folder);
    join(dir, folder, "saved");
    open_fixture(&f[0], &config);
    open_fixture(&f[1], &config);
    for (int i = 0; i < 5; i++)
        step(&f[0]);
    assert_ok(sumi_checkpoint_save(f[0].trainer, NULL, dir, NULL));
    assert_ok(sumi_checkpoint_load(f[1].trainer, dir, NULL, NULL));
    assert_ok(sumi_checkpoint_model(dir, &found, NULL));
    assert_same_model(found, f[0].trainer->averages.model[0]);
    step(&f[0]);
    step(&f[1]);
    for (int i = 0; i < 3; i++)
        assert_same_model(f[0].trainer->averages.model[i], f[1].trainer->averages.model[i]);
    sumi_trainer *other;
    config.power_averages[0] = .15f;
    assert_ok(sumi_train_create(&f[1].runtime, f[1].model, &config, &other, NULL));
    assert_int_equal(sumi_checkpoint_load(other, dir, NULL, &err), SUMI_EINVAL);
    assert_says(err, "ema_power 0.1, not 0.15");
    sumi_train_free(other);
    sumi_models_free(found);
    close_fixture(&f[0]);
    close_fixture(&f[1]);
    assert_ok(sumi_remove_tree(folder, NULL));
}

static void test_refuses_bad_averages(void **state)
{
    (void)state;
    static const struct {
        float decays[4], powers[4];
        const char *says;
    } bad[] = {{{1}, {0}, "ema is 1"},
               {{0}, {.3f}, "ema_power is 0.3"},
               {{0}, {NAN}, "ema_power is nan"},
               {{0, .5f}, {0}, "ema 2 is wanted, but none before it"},
               {{.5f, .6f, .7f}, {.1f, .2f}, "5 averages are wanted, there may be 4"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sumi_trainer_config config = settings();
        sumi_error err = {""};
        memcpy(config.averages, bad[i].decays, sizeof config.averages);
        memcpy(config.power_averages, bad[i].powers, sizeof config.power_averages);
        assert_int_equal(sumi_averages_check(&config, &err), SUMI_EINVAL);
        assert_says(err, bad[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_widths_and_exponents),
        cmocka_unit_test(test_factors_of_snapshots),
        cmocka_unit_test(test_follows_the_formula),
        cmocka_unit_test(test_follows_a_short_run),
        cmocka_unit_test(test_goes_through_checkpoints),
        cmocka_unit_test(test_refuses_bad_averages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
