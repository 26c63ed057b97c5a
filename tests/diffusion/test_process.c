/* Objectives, weightings, laws of drawing, and what a process refuses. */
#include "diffusion/diffusion.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

#include "levels.h"

static int row_of(sumi_choice choice, const char *name)
{
    int index;
    assert_int_equal(sumi_choice_find(choice, name, &index, NULL), SUMI_OK);
    return index;
}

static sumi_process process_of(const char *objective, const char *schedule)
{
    sumi_process_config config = SUMI_PROCESS_CONFIG_INIT;
    sumi_process process;
    config.objective = row_of(SUMI_CHOICE_OBJECTIVE, objective);
    config.schedule = row_of(SUMI_CHOICE_SCHEDULE, schedule);
    assert_int_equal(sumi_process_init(&process, &config, NULL), SUMI_OK);
    return process;
}

static bool near(double value, double expected, double relative)
{
    return fabs(value - expected) <= relative * fabs(expected) + 1e-12;
}

/* ---- Objectives ------------------------------------------------------------------------------ */

/* (x_0, eps) -> x_t and F -> x_0 and eps, where nothing but float32's rounding may be lost: each
 * number that is added has its own rounding and that of its factor. */
static void check_round_trip(const sumi_process *process, double time)
{
    enum { N = 64 };
    sumi_level level = sumi_level_at(process, time);
    sumi_terms terms = sumi_process_terms(process, &level);
    float x_0[N], eps[N], f[N], input[N], x_t[N], image[N], noise[N];
    sumi_random at = {.seed = (uint64_t)(time * 16), .stream = SUMI_STREAM_USER};
    sumi_random_normals(&at, 0, x_0, N);
    sumi_random_normals(&at, N, eps, N);
    sumi_noising by = sumi_process_noising(process, &level);
    for (int i = 0; i < N; i++) {
        f[i] = by.target[0] * x_0[i] + by.target[1] * eps[i];
        input[i] = by.input[0] * x_0[i] + by.input[1] * eps[i];
    }
    for (int i = 0; i < N; i++)
        x_t[i] = (float)(level.alpha * (double)x_0[i] + level.sigma * (double)eps[i]);
    sumi_map_apply(&terms.image, x_t, f, image, N);
    sumi_map_apply(&terms.noise, x_t, f, noise, N);
    for (int i = 0; i < N; i++) {
        double size = fabs(terms.image.x * (double)x_t[i]) + fabs(terms.image.f * (double)f[i]);
        double size_f = fabs(terms.x_0 * (double)x_0[i]) + fabs(terms.eps * (double)eps[i]);
        double lost = 4 * (size + fabs(terms.image.f) * size_f) / terms.image.divisor;
        if (fabs((double)image[i] - (double)x_0[i]) > lost * (double)FLT_EPSILON)
            fail_msg("%s, %s at %g: x_0 %.9g came back as %.9g",
                     sumi_objective_row(process->config.objective)->is.name,
                     sumi_schedule_row(process->config.schedule)->is.name, time, (double)x_0[i],
                     (double)image[i]);
        size = fabs(terms.noise.x * (double)x_t[i]) + fabs(terms.noise.f * (double)f[i]);
        lost = 4 * (size + fabs(terms.noise.f) * size_f) / terms.noise.divisor;
        assert_true(fabs((double)noise[i] - (double)eps[i]) <= lost * (double)FLT_EPSILON);
        size = level.alpha * fabs((double)x_0[i]) + level.sigma * fabs((double)eps[i]);
        assert_true(fabs((double)input[i] - terms.c_in * (double)x_t[i]) <=
                    4 * terms.c_in * size * (double)FLT_EPSILON);
    }
}

static void test_round_trips(void **state)
{
    (void)state;
    for (int o = 0; sumi_objective_row(o); o++) {
        for (int s = 0; sumi_schedule_row(s); s++) {
            const char *objective = sumi_objective_row(o)->is.name;
            if (sumi_objective_row(o)->needs_image && s == SUMI_SCHEDULE_FLOW)
                continue;
            sumi_process process = process_of(objective, sumi_schedule_row(s)->is.name);
            for (int t = 1; t <= 1000; t++) {
                check_round_trip(&process, t);
                check_round_trip(&process, t - .375);
            }
            sumi_process_free(&process);
        }
    }
}

/* Of the objectives that are made for every level, no x_0 is worse than a few roundings. */
static void test_sound_at_every_level(void **state)
{
    (void)state;
    static const char *const sound[] = {"x0", "v", "flow", "edm"};
    for (int o = 0; o < COUNT(sound); o++) {
        for (int s = 0; sumi_schedule_row(s); s++) {
            sumi_process process = process_of(sound[o], sumi_schedule_row(s)->is.name);
            for (int t = 1; t <= 1000; t++) {
                sumi_level level = sumi_level_at(&process, t);
                sumi_terms terms = sumi_process_terms(&process, &level);
                double q = fabs(terms.image.f / terms.image.divisor);
                if (!isfinite(terms.image.x / terms.image.divisor) || !(q <= 1.5))
                    fail_msg("%s, %s at %d: %g F", sound[o], sumi_schedule_row(s)->is.name, t, q);
            }
            sumi_process_free(&process);
        }
    }
}

static void test_terms_and_weights_are_the_formulas(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT(golden_terms); i++) {
        sumi_process_config config = SUMI_PROCESS_CONFIG_INIT;
        config.objective = row_of(SUMI_CHOICE_OBJECTIVE, golden_terms[i].objective);
        config.schedule = row_of(SUMI_CHOICE_SCHEDULE, golden_terms[i].schedule);
        if (config.objective == SUMI_OBJECTIVE_EPS && config.schedule == SUMI_SCHEDULE_FLOW)
            continue; /* no process, though its levels but the last would do */
        sumi_process process;
        assert_int_equal(sumi_process_init(&process, &config, NULL), SUMI_OK);
        sumi_level level = sumi_level_at(&process, golden_terms[i].time);
        sumi_terms terms = sumi_process_terms(&process, &level);
        /* A table's levels are rounded to float32. */
        assert_true(near(terms.x_0, golden_terms[i].x_0, 1e-5));
        assert_true(near(terms.eps, golden_terms[i].eps, 1e-5));
        for (int w = 0; w < COUNT(golden_terms[i].weights); w++) {
            process.config.weighting = w;
            double weight = sumi_process_weight(&process, &level);
            if (!near(weight, golden_terms[i].weights[w], 1e-5))
                fail_msg("%s, %s at %g, %s: weight %.9g, expected %.9g", golden_terms[i].objective,
                         golden_terms[i].schedule, golden_terms[i].time,
                         sumi_weighting_row(w)->is.name, weight, golden_terms[i].weights[w]);
        }
        sumi_process_free(&process);
    }
}

/* Where the data have the deviation that edm is told, its input and target have the variance 1. */
static void test_edm_has_variance_one(void **state)
{
    (void)state;
    static const char *const schedules[] = {"linear", "edm", "flow", "cosine"};
    for (int s = 0; s < COUNT(schedules); s++) {
        sumi_process process = process_of("edm", schedules[s]);
        double data2 = .25;
        for (int t = 1; t <= 1000; t += 37) {
            sumi_level level = sumi_level_at(&process, t);
            sumi_terms terms = sumi_process_terms(&process, &level);
            double input = terms.c_in * terms.c_in * (level.alpha2 * data2 + level.sigma2);
            double target = terms.x_0 * terms.x_0 * data2 + terms.eps * terms.eps;
            assert_true(near(input, 1, 1e-6) && near(target, 1, 1e-6));
            process.config.weighting = SUMI_WEIGHTING_EDM;
            assert_true(near(sumi_process_weight(&process, &level), 1, 1e-6));
        }
        sumi_process_free(&process);
    }
}

/* ---- Laws ------------------------------------------------------------------------------------ */

enum { DRAWS = 20000, BATCH = 100 };

static double normal_share(double z)
{
    return .5 * erfc(-z / sqrt(2));
}

/* The share of levels below t, by the law's own formula. */
static double share_below(const sumi_process *process, double t)
{
    const sumi_process_config *config = &process->config;
    double u = t / config->timesteps, mean = (double)config->law_mean;
    if (config->law == SUMI_LAW_UNIFORM)
        return u;
    if (config->law == SUMI_LAW_LOGIT_NORMAL)
        return u >= 1 ? 1 : normal_share((log(u / (1 - u)) - mean) / (double)config->law_std);
    sumi_level level = sumi_level_at(process, t);
    return normal_share((sumi_level_log_ratio(&level) - mean) / (double)config->law_std);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The largest distance of the drawn distribution from the law's (Kolmogorov and Smirnov's). Draws
 * of a table are rounded up to its rows, so that only whole t are compared. */
static double distance(const sumi_process *process, uint64_t seed)
{
    double *t = malloc(DRAWS * sizeof *t), worst = 0;
    for (int i = 0; i < DRAWS; i++) {
        sumi_draw draw = {seed, (uint32_t)(i / BATCH), (uint64_t)(i % BATCH), BATCH};
        t[i] = sumi_process_draw(process, &draw).time;
        assert_true(t[i] > 0 && t[i] <= process->config.timesteps);
    }
    qsort(t, DRAWS, sizeof *t, compare);
    for (int i = 0; i < DRAWS; i++) {
        bool last_of_row = i + 1 == DRAWS || t[i + 1] > t[i];
        double share = share_below(process, t[i]);
        /* The ends also get what the law has beyond them. */
        if (last_of_row && t[i] < process->config.timesteps)
            worst = fmax(worst, fabs((i + 1.) / DRAWS - share));
        if (!process->alpha_bar)
            worst = fmax(worst, fabs((double)i / DRAWS - share));
    }
    free(t);
    return worst;
}

static void test_draws_have_their_distribution(void **state)
{
    (void)state;
    static const char *const schedules[] = {"linear", "edm", "flow"};
    static const float normals[][2] = {{0, 1}, {-1.2f, 1.2f}, {.7f, .4f}};
    for (int law = 0; sumi_law_row(law); law++) {
        for (int i = 0; i < 18; i++) {
            sumi_process process = process_of("v", schedules[i % 3]);
            process.config.law = law;
            process.config.stratified = i % 2;
            process.config.law_mean = normals[i / 6][0];
            process.config.law_std = normals[i / 6][1];
            double far = distance(&process, (uint64_t)i);
            /* Above 1.95 / sqrt(DRAWS) once in a thousand; strata leave less to chance. */
            if (far > (i % 2 ? .3 : 1.95) / sqrt(DRAWS))
                fail_msg("%s, %s%s, mean %g: distance %g", sumi_law_row(law)->is.name,
                         schedules[i % 3], i % 2 ? ", stratified" : "", (double)normals[i / 6][0],
                         far);
            sumi_process_free(&process);
        }
    }
}

/* Each image of a batch has a stratum of its own, whatever the batch's size. */
static void test_strata(void **state)
{
    (void)state;
    sumi_process process = process_of("v", "flow");
    process.config.stratified = true;
    for (int n = 1; n <= 128; n += 31) {
        for (int i = 0; i < n; i++) {
            sumi_draw draw = {3, 9, (uint64_t)i, (uint64_t)n};
            double u = sumi_process_draw(&process, &draw).time / 1000;
            assert_true(u * n > i && u * n < i + 1);
        }
    }
    sumi_process_free(&process);
}

/* The tutorial's: integers of the stream of timesteps. */
static void test_uniform_draws_of_a_table(void **state)
{
    (void)state;
    sumi_process process = process_of("eps", "linear");
    for (uint32_t i = 0; i < 500; i++) {
        sumi_random at = {.seed = 11, .stream = SUMI_STREAM_TIMESTEP, .step = i / 7, .image = i};
        sumi_level level = sumi_process_draw(&process, &(sumi_draw){11, i / 7, i, 500});
        assert_int_equal(level.row, 1 + sumi_random_below(&at, 0, 1000));
    }
    sumi_process_free(&process);
}

static void test_draws_are_pure(void **state)
{
    (void)state;
    for (int law = 0; sumi_law_row(law); law++) {
        sumi_process process = process_of("v", "edm");
        process.config.law = law;
        const sumi_draw draw = {5, 70, 3, 64};
        sumi_draw others[] = {draw, draw, draw};
        others[0].seed++;
        others[1].step++;
        others[2].image++;
        double time = sumi_process_draw(&process, &draw).time;
        for (int i = 0; i < COUNT(others); i++)
            assert_true(sumi_process_draw(&process, &others[i]).time != time);
        assert_true(sumi_process_draw(&process, &draw).time == time);
        sumi_process_free(&process);
    }
}

/* ---- Settings -------------------------------------------------------------------------------- */

static void refuses(const sumi_process_config *config, const char *says)
{
    sumi_error err = {""};
    assert_int_equal(sumi_process_check(config, &err), SUMI_EINVAL);
    if (!strstr(err.text, says))
        fail_msg("\"%s\" does not say \"%s\"", err.text, says);
}

static void test_bad_settings(void **state)
{
    (void)state;
    const sumi_process_config good = SUMI_PROCESS_CONFIG_INIT;
    sumi_process_config bad = good;
    assert_int_equal(sumi_process_check(&good, NULL), SUMI_OK);
    int *const rows[] = {&bad.objective, &bad.schedule, &bad.weighting, &bad.law};
    static const char *const names[] = {"objective", "schedule", "weighting", "law"};
    for (int i = 0; i < COUNT(rows); i++) {
        bad = good;
        *rows[i] = 17;
        refuses(&bad, names[i]);
        *rows[i] = -1;
        refuses(&bad, names[i]);
    }
    float *const reals[] = {&bad.sigma_min, &bad.sigma_max, &bad.sigma_data, &bad.gamma,
                            &bad.law_std};
    static const char *const real_names[] = {"sigma_min", "sigma_max", "sigma_data", "gamma",
                                             "law_std"};
    static const float wrong[] = {0, -1, NAN, INFINITY};
    for (int i = 0; i < COUNT(reals); i++) {
        for (int k = 0; k < COUNT(wrong); k++) {
            bad = good;
            *reals[i] = wrong[k];
            refuses(&bad, real_names[i]);
        }
    }
    bad = good;
    bad.law_mean = NAN;
    refuses(&bad, "law_mean");
    bad = good;
    bad.sigma_min = 90;
    refuses(&bad, "less than sigma_max");
    bad = good;
    bad.schedule = SUMI_SCHEDULE_FLOW;
    refuses(&bad, "objective eps cannot go with schedule flow");
}

/* The last step has nothing of the image, the first is what it was, and between them the share of
 * the image falls; v has an x_0 at all of them, every t between has a level and comes back. */
static void test_zero_snr(void **state)
{
    (void)state;
    for (int s = 0; s < 3; s++) {
        sumi_process_config config = SUMI_PROCESS_CONFIG_INIT;
        sumi_process usual, zero;
        config.schedule = s;
        config.objective = SUMI_OBJECTIVE_V;
        assert_int_equal(sumi_process_init(&usual, &config, NULL), SUMI_OK);
        config.zero_snr = true;
        assert_int_equal(sumi_process_init(&zero, &config, NULL), SUMI_OK);
        assert_true(zero.alpha_bar[999] == 0 && zero.alpha[999] == 0);
        assert_true(fabs((double)(zero.alpha_bar[0] - usual.alpha_bar[0])) < 1e-6);
        /* The paper's line for the square roots. */
        double last = sqrt((double)usual.alpha_bar[999]), first = sqrt((double)usual.alpha_bar[0]);
        double root = (sqrt((double)usual.alpha_bar[500]) - last) * first / (first - last);
        assert_true(fabs((double)zero.alpha_bar[500] - root * root) < 1e-6);
        for (int t = 1; t <= 1000; t++) {
            for (int half = 0; half < 2; half++) {
                sumi_level level = sumi_level_at(&zero, t - .5 * half);
                sumi_level before = sumi_level_at(&zero, t - .5 * half - .5);
                assert_true(level.alpha2 < before.alpha2 && level.sigma2 > before.sigma2);
                if (t > 1 && level.alpha2 > 0)
                    assert_true(fabs(sumi_level_time(&zero, sumi_level_log_ratio(&level)) -
                                     level.time) < .01);
            }
            check_round_trip(&zero, t);
        }
        assert_true(sumi_level_time(&zero, INFINITY) == 1000);
        sumi_process_free(&usual);
        sumi_process_free(&zero);
    }
    sumi_process_config bad = SUMI_PROCESS_CONFIG_INIT;
    bad.zero_snr = true;
    refuses(&bad, "objective eps cannot go with zero_snr");
    bad.objective = SUMI_OBJECTIVE_V;
    bad.schedule = SUMI_SCHEDULE_EDM;
    refuses(&bad, "edm has none");
    bad.schedule = SUMI_SCHEDULE_LINEAR;
    bad.timesteps = 1;
    refuses(&bad, "1 timestep has none");
}

/* Every name is found again, none twice; a wrong one is answered with all of them. */
static void test_names(void **state)
{
    (void)state;
    for (sumi_choice choice = SUMI_CHOICE_OBJECTIVE; choice <= SUMI_CHOICE_SOLVER; choice++) {
        sumi_error err = {""};
        int index = -1;
        assert_int_equal(sumi_choice_find(choice, "no such name", &index, &err), SUMI_EINVAL);
        assert_int_equal(index, -1);
        assert_non_null(strstr(err.text, "\"no such name\", expected one of: "));
        for (int i = 0; sumi_choice_at(choice, i); i++) {
            const sumi_row *row = sumi_choice_at(choice, i);
            assert_int_equal(row_of(choice, row->name), i);
            assert_non_null(strstr(err.text, row->name));
            assert_true(strlen(row->about) > 0);
        }
        assert_int_equal(row_of(choice, NULL), 0);
        assert_null(sumi_choice_at(choice, -1));
        assert_null(sumi_choice_at(choice, 1000));
    }
    sumi_error err = {""};
    int index;
    assert_int_equal(sumi_choice_find(SUMI_CHOICE_LAW, "normal", &index, &err), SUMI_EINVAL);
    assert_string_equal(
        err.text, "unknown law \"normal\", expected one of: uniform, log-normal, logit-normal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_sound_at_every_level),
        cmocka_unit_test(test_terms_and_weights_are_the_formulas),
        cmocka_unit_test(test_edm_has_variance_one),
        cmocka_unit_test(test_draws_have_their_distribution),
        cmocka_unit_test(test_strata),
        cmocka_unit_test(test_uniform_draws_of_a_table),
        cmocka_unit_test(test_draws_are_pure),
        cmocka_unit_test(test_bad_settings),
        cmocka_unit_test(test_zero_snr),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
