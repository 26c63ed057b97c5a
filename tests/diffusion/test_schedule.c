/* Schedules, the forward process and the spacing of levels. */
#include "diffusion/diffusion.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "golden.h"
#include "levels.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static void assert_sha(const float *values, int count, const char *expected)
{
    sumi_sha256 sha;
    char hex[65];
    sumi_sha256_init(&sha);
    sumi_sha256_update(&sha, values, (size_t)count * sizeof *values);
    sumi_sha256_final(&sha, hex);
    assert_string_equal(hex, expected);
}

static sumi_process process_of(int schedule)
{
    sumi_process_config config = SUMI_PROCESS_CONFIG_INIT;
    sumi_process process;
    config.schedule = schedule;
    assert_int_equal(sumi_process_init(&process, &config, NULL), SUMI_OK);
    return process;
}

/* As above, with an objective that goes with every schedule. */
static sumi_process named_process(const char *schedule)
{
    sumi_process_config config = SUMI_PROCESS_CONFIG_INIT;
    sumi_process process;
    config.objective = SUMI_OBJECTIVE_V;
    assert_int_equal(sumi_choice_find(SUMI_CHOICE_SCHEDULE, schedule, &config.schedule, NULL),
                     SUMI_OK);
    assert_int_equal(sumi_process_init(&process, &config, NULL), SUMI_OK);
    return process;
}

static bool near(double value, double expected, double relative)
{
    return fabs(value - expected) <= relative * fabs(expected);
}

static void test_same_bits_as_torch(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT(golden_schedules); i++) {
        const golden_schedule *golden = &golden_schedules[i];
        sumi_process_config config = SUMI_PROCESS_CONFIG_INIT;
        sumi_process process;
        config.timesteps = golden->timesteps;
        config.beta_start = golden->beta_start;
        config.beta_end = golden->beta_end;
        assert_int_equal(sumi_process_init(&process, &config, NULL), SUMI_OK);
        assert_sha(process.alpha, config.timesteps, golden->alpha);
        assert_sha(process.alpha_bar, config.timesteps, golden->alpha_bar);
        assert_true(sumi_level_at(&process, 0).alpha2 == 1);
        sumi_level first = sumi_level_at(&process, 1);
        assert_true(first.alpha2 == (double)(1 - golden->beta_start) && first.row == 1);
        assert_true(first.alpha == (double)sqrtf(1 - golden->beta_start));
        sumi_process_free(&process);
    }
}

static void test_bad_settings(void **state)
{
    (void)state;
    static const struct {
        int timesteps;
        float start, end;
        const char *says;
    } bad[] = {
        {0, .001f, .01f, "timesteps is 0"},         {-5, .001f, .01f, "timesteps is -5"},
        {100001, .001f, .01f, "1..100000"},         {1000, 0, .01f, "between 0 and 1"},
        {1000, .001f, 1, "between 0 and 1"},        {1000, NAN, .01f, "between 0 and 1"},
        {1000, .001f, INFINITY, "between 0 and 1"}, {100000, .001f, .01f, "alpha_bar is 0"},
    };
    for (int i = 0; i < COUNT(bad); i++) {
        sumi_process_config config = SUMI_PROCESS_CONFIG_INIT;
        sumi_process process;
        sumi_error err = {""};
        config.timesteps = bad[i].timesteps;
        config.beta_start = bad[i].start;
        config.beta_end = bad[i].end;
        assert_int_equal(sumi_process_init(&process, &config, &err), SUMI_EINVAL);
        assert_non_null(strstr(err.text, bad[i].says));
        sumi_process_free(&process);
    }
}

static void test_levels_are_the_formulas(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT(golden_levels); i++) {
        sumi_process process = named_process(golden_levels[i].schedule);
        sumi_level level = sumi_level_at(&process, golden_levels[i].time);
        /* A table keeps alpha^2 as float32, and sigma^2 is the rest to 1. */
        double alpha2 = golden_levels[i].alpha * golden_levels[i].alpha;
        double sigma2 = golden_levels[i].sigma * golden_levels[i].sigma;
        if (fabs(level.alpha2 - alpha2) > 1.2e-7 ||
            fabs(level.sigma2 - sigma2) > 1.2e-7 * (1 + sigma2))
            fail_msg("%s at %g: alpha %.9g and sigma %.9g, expected %.9g and %.9g",
                     golden_levels[i].schedule, golden_levels[i].time, level.alpha, level.sigma,
                     golden_levels[i].alpha, golden_levels[i].sigma);
        assert_true(near(level.alpha2, level.alpha * level.alpha, 3e-7));
        assert_true(near(level.sigma2, level.sigma * level.sigma, 3e-7));
        assert_true(level.time == golden_levels[i].time);
        bool whole = process.alpha_bar && level.time == floor(level.time);
        assert_int_equal(level.row, whole ? (int)level.time : 0);
        sumi_process_free(&process);
    }
}

/* Noise grows with t without jumps, from the image on, and t is found again from it. */
static void test_levels_are_in_order(void **state)
{
    (void)state;
    for (int s = 0; sumi_schedule_row(s); s++) {
        sumi_process process = named_process(sumi_schedule_row(s)->is.name);
        double first = sumi_schedule_row(s)->first, before = -1;
        for (double t = 0; t <= 1000; t += .25) {
            sumi_level level = sumi_level_at(&process, t);
            double ratio = sqrt(level.sigma2 / level.alpha2);
            assert_true(ratio > before);
            before = ratio;
            if (t < first || level.alpha == 0)
                continue;
            double log_ratio = sumi_level_log_ratio(&level);
            assert_true(fabs(sumi_level_time(&process, log_ratio) - t) < 1e-6);
        }
        assert_true(sumi_level_time(&process, 1e3) == 1000);
        assert_true(sumi_level_time(&process, -1e3) == first);
        sumi_process_free(&process);
    }
    sumi_level image = sumi_level_image();
    assert_true(image.alpha == 1 && image.sigma == 0 && image.time == 0);
}

/* What one setting does not change in general, others do. */
static void test_levels_follow_the_settings(void **state)
{
    (void)state;
    sumi_process_config config = SUMI_PROCESS_CONFIG_INIT;
    sumi_process process;
    config.schedule = SUMI_SCHEDULE_EDM;
    config.sigma_min = .01f;
    config.sigma_max = 10;
    config.timesteps = 300;
    assert_int_equal(sumi_process_init(&process, &config, NULL), SUMI_OK);
    assert_true(near(sumi_level_at(&process, 0).sigma, .01, 1e-6));
    assert_true(near(sumi_level_at(&process, 100).sigma, .1, 1e-6));
    assert_true(near(sumi_level_at(&process, 300).sigma, 10, 1e-6));
    sumi_process_free(&process);
    config.schedule = SUMI_SCHEDULE_COSINE;
    config.timesteps = 1;
    assert_int_equal(sumi_process_init(&process, &config, NULL), SUMI_OK);
    assert_true(near(sumi_level_at(&process, 1).alpha2, .001, 1e-4)); /* 1 - the largest beta */
    assert_true(sumi_level_time(&process, 0) == 1);
    sumi_process_free(&process);
}

/* x_t and the target of F are PyTorch's numbers, and x_0 comes back. */
static void test_diffuse(void **state)
{
    (void)state;
    sumi_process_config config = SUMI_PROCESS_CONFIG_INIT;
    sumi_process process;
    config.timesteps = 8;
    config.beta_start = .05f;
    config.beta_end = .3f;
    assert_int_equal(sumi_process_init(&process, &config, NULL), SUMI_OK);
    const int t[] = {1, 8, 5};
    for (int i = 0; i < 3; i++) {
        const float *x_0 = golden_noise + 15 + 5 * i, *eps = golden_noise + 30 + 5 * i;
        float x_t[5], back[5];
        sumi_level level = sumi_level_at(&process, t[i]);
        sumi_noising by = sumi_process_noising(&process, &level);
        for (int k = 0; k < 5; k++)
            x_t[k] = by.input[0] * x_0[k] + by.input[1] * eps[k];
        assert_memory_equal(x_t, golden_diffused + 5 * i, sizeof x_t);
        assert_true(by.target_is_noise && by.target[0] == 0 && by.target[1] == 1);
        sumi_terms terms = sumi_process_terms(&process, &level);
        sumi_map_apply(&terms.image, x_t, eps, back, 5);
        for (int k = 0; k < 5; k++)
            assert_true(fabsf(back[k] - x_0[k]) < 1e-5f);
    }
    sumi_process_free(&process);
}

/* ---- Paths ----------------------------------------------------------------------------------- */

static sumi_path spaced(const sumi_process *process, const char *spacing, int steps)
{
    sumi_path path;
    int index;
    sumi_path_config config = SUMI_PATH_CONFIG_INIT;
    assert_int_equal(sumi_choice_find(SUMI_CHOICE_SPACING, spacing, &index, NULL), SUMI_OK);
    config.spacing = sumi_spacing_row(index);
    config.evaluations = steps;
    assert_int_equal(sumi_path_init(&path, process, &config, NULL), SUMI_OK);
    return path;
}

static void test_spacings_are_the_formulas(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT(golden_spacings); i++) {
        sumi_process process = named_process(golden_spacings[i].schedule);
        int steps = golden_spacings[i].steps;
        sumi_path path = spaced(&process, golden_spacings[i].spacing, steps);
        for (int k = 0; k < steps; k++) {
            double t = path.levels[k].time, expected = golden_spacings[i].times[k];
            if (fabs(t - expected) > 1e-3)
                fail_msg("%s of %s, %d steps: level %d is at %.9g, expected %.9g",
                         golden_spacings[i].spacing, golden_spacings[i].schedule, steps, k, t,
                         expected);
        }
        assert_true(path.levels[steps].sigma == 0 && path.levels[steps].alpha == 1);
        sumi_path_free(&path);
        sumi_process_free(&process);
    }
}

/* Times fall from T to no less than the schedule's first; whole numbers where they are rounded. */
static void check_order(const sumi_process *process, const sumi_spacing *spacing, int steps)
{
    sumi_path path = spaced(process, spacing->is.name, steps);
    double first = sumi_schedule_row(process->config.schedule)->first;
    for (int i = 0; i < steps; i++) {
        double t = path.levels[i].time;
        if (!(t >= first && (i == 0 || t < path.levels[i - 1].time)))
            fail_msg("%s, %d steps: level %d is at %.9g", spacing->is.name, steps, i, t);
        if (process->alpha_bar && spacing->rows)
            assert_true(path.levels[i].row == t);
    }
    assert_true(path.levels[0].time <= process->config.timesteps);
    sumi_path_free(&path);
}

static void test_any_number_of_steps(void **state)
{
    (void)state;
    for (int s = 0; sumi_schedule_row(s); s++) {
        sumi_process process = named_process(sumi_schedule_row(s)->is.name);
        for (int p = 0; sumi_spacing_row(p); p++) {
            for (int steps = 1; steps <= 1000; steps += steps < 20 ? 1 : 49)
                check_order(&process, sumi_spacing_row(p), steps);
            check_order(&process, sumi_spacing_row(p), 1000);
        }
        sumi_path path;
        sumi_error err;
        sumi_path_config config = SUMI_PATH_CONFIG_INIT;
        config.spacing = sumi_spacing_row(0);
        config.evaluations = 1001;
        assert_int_equal(sumi_path_init(&path, &process, &config, &err), SUMI_EINVAL);
        assert_string_equal(err.text, "steps is 1001, expected 1..1000");
        config.evaluations = 0;
        assert_int_equal(sumi_path_init(&path, &process, &config, NULL), SUMI_EINVAL);
        sumi_process_free(&process);
    }
}

/* Karras et al. 2022, equation 5, where sigma / alpha is sigma: with any rho and ends. */
static void test_shaped_levels(void **state)
{
    (void)state;
    enum { STEPS = 7 };
    sumi_process process = named_process("edm");
    sumi_path_config config = SUMI_PATH_CONFIG_INIT;
    sumi_path path;
    config.evaluations = STEPS;
    config.sigma_least = .05;
    config.sigma_most = 20;
    for (int p = 0; sumi_spacing_row(p); p++) {
        const sumi_spacing *spacing = sumi_spacing_row(p);
        config.spacing = spacing;
        config.rho = spacing->bends ? 3 : 0;
        config.sigma_least = spacing->ends ? .05 : 0;
        assert_int_equal(sumi_path_init(&path, &process, &config, NULL), SUMI_OK);
        bool leading = strcmp(spacing->is.name, "leading") == 0; /* whole steps that end at first */
        assert_true(leading ? path.levels[0].sigma <= 20
                            : fabs(path.levels[0].sigma / 20 - 1) < 1e-9);
        for (int i = 0; i < STEPS && spacing->bends; i++) {
            double at = i / (STEPS - 1.), high = cbrt(20), low = cbrt(.05);
            double sigma = pow(high + at * (low - high), 3);
            assert_true(fabs(path.levels[i].sigma / sigma - 1) < 1e-9);
        }
        if (spacing->ends)
            assert_true(fabs(path.levels[STEPS - 1].sigma / .05 - 1) < 1e-9);
        sumi_path_free(&path);
    }
    sumi_process_free(&process);
    /* Rows of a table between two levels: no more steps than there are rows. */
    process = process_of(SUMI_SCHEDULE_LINEAR);
    sumi_level row = sumi_level_at(&process, 12), top = sumi_level_at(&process, 20);
    config.sigma_least = exp(sumi_level_log_ratio(&row));
    config.sigma_most = exp(sumi_level_log_ratio(&top));
    config.rho = 0;
    config.spacing = sumi_spacing_row(1);
    config.evaluations = 50;
    assert_int_equal(sumi_path_init(&path, &process, &config, NULL), SUMI_OK);
    assert_int_equal(path.steps, 9);
    for (int i = 0; i < path.steps; i++)
        assert_int_equal(path.levels[i].row, 20 - i);
    sumi_path_free(&path);
    config.sigma_most = config.sigma_least / 2;
    assert_int_equal(sumi_path_init(&path, &process, &config, NULL), SUMI_EINVAL);
    sumi_process_free(&process);
}

/* The spacing that a run has if it names none. */
static void test_trailing_times(void **state)
{
    (void)state;
    sumi_process_config config = SUMI_PROCESS_CONFIG_INIT;
    sumi_process process = process_of(SUMI_SCHEDULE_LINEAR);
    assert_string_equal(sumi_spacing_row(0)->is.name, "trailing");
    sumi_path path = spaced(&process, "trailing", 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(path.levels[i].row, 1000 - i);
    sumi_path_free(&path);
    sumi_process_free(&process);
    config.timesteps = 10;
    config.beta_end = .1f;
    assert_int_equal(sumi_process_init(&process, &config, NULL), SUMI_OK);
    path = spaced(&process, "trailing", 4); /* 10, 7.5, 5, 2.5: halves go up */
    const int expected[] = {10, 8, 5, 3};
    for (int i = 0; i < 4; i++)
        assert_int_equal(path.levels[i].row, expected[i]);
    sumi_path_free(&path);
    sumi_process_free(&process);
    config.timesteps = 777;
    assert_int_equal(sumi_process_init(&process, &config, NULL), SUMI_OK);
    for (int steps = 1; steps <= 777; steps++) {
        path = spaced(&process, "trailing", steps);
        for (int i = 0; i < steps; i++) { /* in integers: round((steps - i) 777 / steps) */
            int64_t t = (2 * (int64_t)(steps - i) * 777 + steps) / (2 * (int64_t)steps);
            assert_int_equal(path.levels[i].row, t);
        }
        sumi_path_free(&path);
    }
    sumi_process_free(&process);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits_as_torch),
        cmocka_unit_test(test_bad_settings),
        cmocka_unit_test(test_levels_are_the_formulas),
        cmocka_unit_test(test_levels_are_in_order),
        cmocka_unit_test(test_levels_follow_the_settings),
        cmocka_unit_test(test_diffuse),
        cmocka_unit_test(test_spacings_are_the_formulas),
        cmocka_unit_test(test_shaped_levels),
        cmocka_unit_test(test_any_number_of_steps),
        cmocka_unit_test(test_trailing_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
