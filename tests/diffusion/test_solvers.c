/*
 * How fast solvers converge, where the best prediction is known.
 *
 * Data that are a mixture of normals have a closed form of x_0 given x_t. Of one normal,
 * N(mean, sd^2), the whole way is known too: with v = sigma / alpha, y = x / alpha,
 *     y(v) = mean + (y(v_0) - mean) sqrt((sd^2 + v^2) / (sd^2 + v_0^2)).
 * Of a mixture, the way is what many small steps find. All runs begin and end at levels with noise,
 * so that no step is special, unless a test says so.
 */
#include "cpu/cpu.h"
#include "diffusion/diffusion.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { FLOATS = 256, STEPS_MAX = 4096 };

typedef struct {
    sumi_process process;
    int normals; /* 1 or 2, of equal shares */
    double mean[2], sd[2];
    int calls;
} fixture;

static const sumi_solver *solver_of(const char *name)
{
    int index;
    assert_int_equal(sumi_choice_find(SUMI_CHOICE_SOLVER, name, &index, NULL), SUMI_OK);
    return sumi_solver_row(index);
}

static void open_fixture(fixture *f, const char *objective, const char *schedule, int normals)
{
    sumi_process_config config = SUMI_PROCESS_CONFIG_INIT;
    config.timesteps = STEPS_MAX;
    config.beta_start = 1e-5f;
    config.beta_end = .005f;
    assert_int_equal(sumi_choice_find(SUMI_CHOICE_OBJECTIVE, objective, &config.objective, NULL),
                     SUMI_OK);
    assert_int_equal(sumi_choice_find(SUMI_CHOICE_SCHEDULE, schedule, &config.schedule, NULL),
                     SUMI_OK);
    *f = (fixture){.normals = normals, .mean = {normals == 1 ? .3 : -.6, .8}, .sd = {.5, .3}};
    assert_int_equal(sumi_process_init(&f->process, &config, NULL), SUMI_OK);
}

/* E[x_0 | x_t]. */
static double best_image(const fixture *f, const sumi_level *level, double x)
{
    double alpha = sqrt(level->alpha2), sum = 0, shares = 0;
    for (int k = 0; k < f->normals; k++) {
        double data = f->sd[k] * f->sd[k], variance = level->alpha2 * data + level->sigma2;
        double off = x - alpha * f->mean[k];
        double share = exp(-off * off / (2 * variance)) / sqrt(variance);
        sum += share * (f->mean[k] + alpha * data / variance * off);
        shares += share;
    }
    return sum / shares;
}

/* Whatever the objective, F is what makes x_0 the best. */
static sumi_status predict(void *user, const float *input, const float *time, double at, int n,
                           float *out)
{
    fixture *f = user;
    assert_true(time[n - 1] == (float)at);
    f->calls++;
    for (int i = 0; i < n; i++) {
        sumi_level level = sumi_level_at(&f->process, (double)time[i]);
        sumi_terms terms = sumi_process_terms(&f->process, &level);
        for (int k = i * FLOATS; k < (i + 1) * FLOATS; k++) {
            double x = (double)input[k] / terms.c_in, x_0 = best_image(f, &level, x);
            out[k] = (float)((terms.image.divisor * x_0 - terms.image.x * x) / terms.image.f);
        }
    }
    return SUMI_OK;
}

/* ---- Runs between two levels ----------------------------------------------------------------- */

/* Levels where a function of v = sigma / alpha goes in equal steps from v_0 to v_1. */
typedef enum { EVEN_LOG, EVEN_V, EVEN_FLOW } grid;

static double grid_of(grid kind, double v)
{
    return kind == EVEN_LOG ? log(v) : kind == EVEN_V ? v : v / (1 + v);
}

static double grid_back(grid kind, double g)
{
    return kind == EVEN_LOG ? exp(g) : kind == EVEN_V ? g : g / (1 - g);
}

static sumi_path path_between(const fixture *f, const char *name, grid kind, int steps, double v_0,
                              double v_1)
{
    const sumi_solver *solver = solver_of(name);
    sumi_path path = {.process = &f->process, .solver = solver, .steps = steps};
    path.levels = calloc((size_t)steps + 1, sizeof *path.levels);
    double begin = grid_of(kind, v_0), end = grid_of(kind, v_1);
    for (int i = 0; i <= steps; i++) {
        double v = grid_back(kind, begin + (end - begin) * i / steps);
        path.levels[i] = sumi_level_at(&f->process, sumi_level_time(&f->process, log(v)));
    }
    path.of_noise = solver->flags & SUMI_SOLVER_OF_NOISE;
    return path;
}

/* Where the way through x at one level is at another; of one normal. */
static double way(const fixture *f, const sumi_level *from, double x, const sumi_level *to)
{
    double mean = f->mean[0], data = f->sd[0] * f->sd[0];
    double v_2 = from->sigma2 / from->alpha2, w_2 = to->sigma2 / to->alpha2;
    double y = x / sqrt(from->alpha2) - mean;
    return sqrt(to->alpha2) * (mean + y * sqrt((data + w_2) / (data + v_2)));
}

/* From noise at the path's first level to x at its last. */
static void run_path(fixture *f, const sumi_path *path, float *noise, float *x)
{
    sumi_device *device;
    for (int i = 0; i < FLOATS; i++)
        noise[i] = -2.5f + 5.f * (float)i / (FLOATS - 1);
    assert_int_equal(sumi_cpu_backend()->open(1, NULL, &device, NULL), SUMI_OK);
    sumi_sampling sampling = {.path = path,
                              .n = 1,
                              .count = FLOATS,
                              .noise = noise,
                              .backend = sumi_cpu_backend(),
                              .device = device,
                              .predict = predict,
                              .user = f};
    assert_int_equal(sumi_sampling_run(&sampling, x, NULL), SUMI_OK);
    sumi_cpu_backend()->close(device);
    double scale = sqrt(path->levels[0].alpha2 + path->levels[0].sigma2);
    for (int i = 0; i < FLOATS; i++)
        noise[i] *= (float)scale;
}

/* Largest distance from where the way leads, between sigma / alpha of 4 and of 0.1. */
static double error_of(fixture *f, const char *name, grid kind, int steps)
{
    sumi_path path = path_between(f, name, kind, steps, 4, .1);
    float x[FLOATS], noise[FLOATS];
    run_path(f, &path, noise, x);
    const sumi_level *last = &path.levels[steps];
    double worst = 0;
    for (int i = 0; i < FLOATS; i++) {
        double expected = way(f, &path.levels[0], (double)noise[i], last);
        double far = fabs((double)x[i] - expected) / sqrt(last->alpha2);
        worst = far > worst || isnan(far) ? far : worst;
    }
    sumi_path_free(&path);
    return worst;
}

typedef struct {
    const char *solver;
    double order;
    grid kind;
    int steps; /* of the first run; the second has twice as many */
} convergence;

/* A solver with a long memory begins with first-order steps: whole runs are of second order, and
 * its own order shows below. */
static const convergence cases[] = {
    {"ddim", 1, EVEN_LOG, 64},       {"euler", 1, EVEN_V, 64},
    {"euler-a", 1, EVEN_LOG, 64},    {"heun", 2, EVEN_LOG, 32},
    {"heun", 2, EVEN_V, 64},         {"dpmpp-2m", 2, EVEN_LOG, 32},
    {"dpmpp-2m", 2, EVEN_V, 128},    {"dpmpp-2m-sde", 2, EVEN_LOG, 32},
    {"dpmpp-2s-a", 2, EVEN_LOG, 32}, {"dpmpp-3m-sde", 1.7, EVEN_LOG, 48},
    {"unipc", 2, EVEN_LOG, 12},      {"deis", 2, EVEN_LOG, 24},
    {"lms", 2, EVEN_LOG, 24},        {"ipndm", 2, EVEN_V, 64},
    {"flow-heun", 2, EVEN_FLOW, 16}, {"flow-midpoint", 2, EVEN_FLOW, 16},
};

static void test_orders_of_runs(void **state)
{
    (void)state;
    static const char *const processes[][2] = {
        {"v", "linear"}, {"edm", "edm"}, {"flow", "flow"}, {"x0", "cosine"}, {"eps", "linear"}};
    for (size_t p = 0; p < sizeof processes / sizeof *processes; p++) {
        fixture f;
        open_fixture(&f, processes[p][0], processes[p][1], 1);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const convergence *c = &cases[i];
            double coarse = error_of(&f, c->solver, c->kind, c->steps);
            double fine = error_of(&f, c->solver, c->kind, 2 * c->steps);
            double order = log2(coarse / fine);
            if (!(order > c->order - .2 && coarse < .1))
                fail_msg("%s on %s of %s: errors %g and %g are of order %.2f, expected %g",
                         c->solver, processes[p][0], processes[p][1], coarse, fine, order,
                         c->order);
        }
        sumi_process_free(&f.process);
    }
}

/* ---- Single steps ---------------------------------------------------------------------------- */

static double mixed(const sumi_mix *mix, double x, const double *h)
{
    double sum = (double)mix->x * x;
    for (int k = 0; k < SUMI_HISTORY_MAX; k++)
        sum += (double)mix->h[k] * h[k];
    return sum / (double)mix->divisor;
}

/* The error of the fourth step's mixes where all that it remembers is right: [0] of the mix that
 * leads to the next level, [1] of unipc's correction of the step before. The step begins at v;
 * steps of ln v are `step`, those of v that times v. */
static void errors_from(const fixture *f, const char *name, grid kind, double v, double step,
                        double error[2])
{
    double begin = grid_of(kind, v), part = step * (kind == EVEN_V ? v : 1);
    sumi_path path = path_between(f, name, kind, 4, grid_back(kind, begin + 3 * part),
                                  grid_back(kind, begin - part));
    const sumi_level *at = path.levels;
    double x[5], h[SUMI_HISTORY_MAX];
    for (int i = 0; i <= 4; i++)
        x[i] = way(f, &at[3], 1.5, &at[i]);
    for (int k = 0; k < 4; k++) {
        double image = best_image(f, &at[3 - k], x[3 - k]);
        double eps = (x[3 - k] - sqrt(at[3 - k].alpha2) * image) / sqrt(at[3 - k].sigma2);
        h[k] = path.of_noise ? eps : image;
    }
    sumi_plan plan = {1, {{.x = 1, .divisor = 1}}, at[4]};
    path.solver->plan(&path, 3, 0, &plan);
    double last = fabs(mixed(&plan.mix[plan.count - 1], x[3], h) - x[4]);
    double corrected = plan.count == 2 ? fabs(mixed(&plan.mix[0], x[2], h) - x[3]) : 0;
    error[0] = fmax(error[0], last);
    error[1] = fmax(error[1], corrected);
    sumi_path_free(&path);
}

/* The largest from levels all over the way, since there are some where it happens to vanish. */
static void step_errors(const fixture *f, const char *name, grid kind, double step, double error[2])
{
    error[0] = error[1] = 0;
    for (double v = .2; v < 4; v *= 1.2)
        errors_from(f, name, kind, v, step, error);
}

static void test_orders_of_steps(void **state)
{
    (void)state;
    static const struct {
        const char *solver;
        double order; /* of a run that began rightly; a step's error is one order higher */
        grid kind;
    } steps[] = {
        {"ddim", 1, EVEN_LOG},         {"euler", 1, EVEN_V},          {"dpmpp-2m", 2, EVEN_LOG},
        {"dpmpp-2m-sde", 2, EVEN_LOG}, {"dpmpp-3m-sde", 3, EVEN_LOG}, {"unipc", 3, EVEN_LOG},
        {"deis", 3, EVEN_LOG},         {"lms", 4, EVEN_LOG},          {"ipndm", 4, EVEN_V},
    };
    fixture f;
    open_fixture(&f, "v", "edm", 1);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        double coarse[2], fine[2], h = steps[i].kind == EVEN_V ? .12 : .16;
        step_errors(&f, steps[i].solver, steps[i].kind, h, coarse);
        step_errors(&f, steps[i].solver, steps[i].kind, h / 2, fine);
        double order = log2(coarse[0] / fine[0]) - 1;
        if (!(order > steps[i].order - .5))
            fail_msg("a step of %s: errors %g and %g are of order %.2f + 1, expected %g",
                     steps[i].solver, coarse[0], fine[0], order, steps[i].order);
        if (coarse[1] > 0)
            assert_true(log2(coarse[1] / fine[1]) - 1 > steps[i].order + .5);
    }
    sumi_process_free(&f.process);
}

/* ---- From noise to image --------------------------------------------------------------------- */

static sumi_path path_of(const fixture *f, const char *name, const char *spacing, int evaluations,
                         float eta)
{
    sumi_path path;
    int index;
    assert_int_equal(sumi_choice_find(SUMI_CHOICE_SPACING, spacing, &index, NULL), SUMI_OK);
    assert_int_equal(sumi_path_init(&path, &f->process, solver_of(name), sumi_spacing_row(index),
                                    evaluations, eta, NULL),
                     SUMI_OK);
    return path;
}

/* Root mean square distance of the images of 40 evaluations from those of 4,000. */
static double distance(fixture *f, const char *name, const char *spacing, const float *truth)
{
    sumi_path path =
        path_of(f, name, spacing, 40, solver_of(name)->flags & SUMI_SOLVER_ETA ? 0 : -1);
    float noise[FLOATS], x[FLOATS];
    double sum = 0;
    f->calls = 0;
    run_path(f, &path, noise, x);
    assert_int_equal(f->calls, path.evaluations);
    assert_true(path.evaluations <= 40 && path.evaluations >= 39);
    for (int i = 0; i < FLOATS; i++)
        sum += ((double)x[i] - (double)truth[i]) * ((double)x[i] - (double)truth[i]);
    sumi_path_free(&path);
    return sqrt(sum / FLOATS);
}

/* Of a mixture of two normals, where the best prediction bends, 40 evaluations of any solver come
 * near, and of those of higher order nearer than ddim. */
static void test_few_evaluations_of_a_mixture(void **state)
{
    (void)state;
    static const char *const processes[][3] = {
        {"v", "cosine", "trailing"}, {"edm", "edm", "karras"}, {"flow", "flow", "trailing"}};
    for (size_t p = 0; p < sizeof processes / sizeof *processes; p++) {
        fixture f;
        float noise[FLOATS], truth[FLOATS];
        open_fixture(&f, processes[p][0], processes[p][1], 2);
        sumi_path fine = path_of(&f, "heun", processes[p][2], 3999, -1);
        run_path(&f, &fine, noise, truth);
        sumi_path_free(&fine);
        double ddim = distance(&f, "ddim", processes[p][2], truth);
        for (int i = 0; sumi_solver_row(i); i++) {
            const sumi_solver *solver = sumi_solver_row(i);
            const char *name = solver->is.name;
            if (strcmp(name, "ddpm") == 0)
                continue;
            double far = distance(&f, name, processes[p][2], truth);
            /* Of those with two evaluations a step it is half the steps. */
            double times = solver->history == 1 ? 1.01 : solver->evaluations > 1 ? .8 : .3;
            if (!(far < times * ddim && ddim < .06))
                fail_msg("%s on %s: %g, ddim %g", name, processes[p][1], far, ddim);
        }
        sumi_process_free(&f.process);
    }
}

/* Solvers that add noise draw the data's distribution, as those that do not. */
static void test_moments(void **state)
{
    (void)state;
    enum { N = 256 };
    float *x = malloc((size_t)N * FLOATS * sizeof *x);
    for (int i = 0; sumi_solver_row(i); i++) {
        fixture f;
        const char *name = sumi_solver_row(i)->is.name;
        sumi_device *device;
        open_fixture(&f, i % 2 ? "edm" : "v", i % 3 ? "edm" : "cosine", 1);
        const char *spacing = i % 3 ? "karras" : "trailing";
        sumi_path path = path_of(&f, name, spacing, 200, -1);
        assert_int_equal(sumi_cpu_backend()->open(2, NULL, &device, NULL), SUMI_OK);
        sumi_sampling sampling = {.path = &path,
                                  .n = N,
                                  .count = FLOATS,
                                  .seed = (uint64_t)i,
                                  .backend = sumi_cpu_backend(),
                                  .device = device,
                                  .predict = predict,
                                  .user = &f};
        assert_int_equal(sumi_sampling_run(&sampling, x, NULL), SUMI_OK);
        sumi_cpu_backend()->close(device);
        double sum = 0, squares = 0, count = (double)N * FLOATS;
        for (int k = 0; k < N * FLOATS; k++) {
            sum += (double)x[k];
            squares += ((double)x[k] - f.mean[0]) * ((double)x[k] - f.mean[0]);
        }
        double mean = sum / count, deviation = sqrt(squares / count);
        if (!(fabs(mean - f.mean[0]) < .01 && fabs(deviation / f.sd[0] - 1) < .04))
            fail_msg("%s: mean %g and deviation %g, expected %g and %g", name, mean, deviation,
                     f.mean[0], f.sd[0]);
        sumi_path_free(&path);
        sumi_process_free(&f.process);
    }
    free(x);
}

/* ---- What a path refuses --------------------------------------------------------------------- */

static void test_paths(void **state)
{
    (void)state;
    fixture f;
    sumi_path path;
    sumi_error err;
    open_fixture(&f, "v", "flow", 1);
    const sumi_spacing *trailing = sumi_spacing_row(0);
    static const struct {
        const char *solver, *says;
        float eta;
    } bad[] = {{"ddpm", "ddpm has no eta: it adds a fixed amount of noise", .5f},
               {"heun", "heun has no eta: it adds no noise", .5f},
               {"ddim", "eta is 1.5, expected 0..1", 1.5f},
               {"ddim", "eta is nan", NAN}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(sumi_path_init(&path, &f.process, solver_of(bad[i].solver), trailing, 5,
                                        bad[i].eta, &err),
                         SUMI_EINVAL);
        assert_non_null(strstr(err.text, bad[i].says));
    }
    static const double falling[] = {4000, 100.5, 2}, equal[] = {30, 30, 2}, low[] = {30, 4, .5};
    const sumi_solver *heun = solver_of("heun");
    assert_int_equal(sumi_path_init_times(&path, &f.process, heun, falling, 3, -1, NULL), SUMI_OK);
    assert_true(path.levels[1].time == 100.5 && path.levels[3].sigma == 0);
    assert_int_equal(path.evaluations, 5);
    sumi_path_free(&path);
    assert_int_equal(sumi_path_init_times(&path, &f.process, heun, equal, 3, -1, &err),
                     SUMI_EINVAL);
    assert_string_equal(err.text, "level 1 is at t = 30, expected below 30");
    assert_int_equal(sumi_path_init_times(&path, &f.process, heun, low, 3, -1, &err), SUMI_EINVAL);
    assert_string_equal(err.text, "level 2 is at t = 0.5, expected 1..4096");
    assert_int_equal(sumi_path_init_times(&path, &f.process, heun, low, 0, -1, &err), SUMI_EINVAL);
    sumi_process_free(&f.process);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders_of_runs),
        cmocka_unit_test(test_orders_of_steps),
        cmocka_unit_test(test_few_evaluations_of_a_mixture),
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
