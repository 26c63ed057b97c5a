/*
 * How fast solvers converge, where the best prediction is known.
 *
 * Data that are a mixture of normals have a closed form of x_0 given x_t. Of one normal,
 * N(mean, sd^2), the whole way is known too: with v = sigma / alpha, y = x / alpha,
 *     y(v) = mean + (y(v_0) - mean) sqrt((sd^2 + v^2) / (sd^2 + v_0^2)).
 * Of a mixture, the way is what many small steps of a method of fourth order find in double. All
 * runs begin and end at levels with noise, so that no step is special, unless a test says so.
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

/* dy / d ln v = y - x_0, with y = x / alpha. */
static double slope_at(const fixture *f, double log_v, double y)
{
    double v = exp(log_v);
    const sumi_level level = {.alpha2 = 1, .sigma2 = v * v};
    return y - best_image(f, &level, y);
}

static double numeric_way(const fixture *f, double from, double y, double to)
{
    enum { MANY = 150 };
    double h = (to - from) / MANY;
    for (int i = 0; i < MANY; i++) {
        double at = from + i * h, a = slope_at(f, at, y),
               b = slope_at(f, at + h / 2, y + h / 2 * a);
        double c = slope_at(f, at + h / 2, y + h / 2 * b), d = slope_at(f, at + h, y + h * c);
        y += h / 6 * (a + 2 * b + 2 * c + d);
    }
    return y;
}

/* Where the way through x at one level is at another. */
static double way(const fixture *f, const sumi_level *from, double x, const sumi_level *to)
{
    if (f->normals > 1)
        return sqrt(to->alpha2) * numeric_way(f, sumi_level_log_ratio(from), x / sqrt(from->alpha2),
                                              sumi_level_log_ratio(to));
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
    const sumi_device_config config = {.threads = 1};
    assert_int_equal(sumi_cpu_backend()->open(&config, &device, NULL), SUMI_OK);
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
    {"ddim", 1, EVEN_LOG, 64},        {"euler", 1, EVEN_V, 64},
    {"euler-a", 1, EVEN_LOG, 64},     {"heun", 2, EVEN_LOG, 32},
    {"heun", 2, EVEN_V, 64},          {"dpmpp-2m", 2, EVEN_LOG, 32},
    {"dpmpp-2m", 2, EVEN_V, 128},     {"dpmpp-2m-sde", 2, EVEN_LOG, 32},
    {"dpmpp-2s-a", 2, EVEN_LOG, 32},  {"dpmpp-3m-sde", 1.7, EVEN_LOG, 48},
    {"unipc", 2, EVEN_LOG, 12},       {"deis", 2, EVEN_LOG, 24},
    {"lms", 2, EVEN_LOG, 24},         {"ipndm", 2, EVEN_V, 64},
    {"flow-heun", 2, EVEN_FLOW, 16},  {"flow-midpoint", 2, EVEN_FLOW, 16},
    {"flow-euler", 1, EVEN_FLOW, 64},
};

/* times: the steps of a case, which has an error of at most `most` with those. */
static void check_orders(const char *objective, const char *schedule, int normals, int times,
                         double most)
{
    fixture f;
    open_fixture(&f, objective, schedule, normals);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const convergence *c = &cases[i];
        double coarse = error_of(&f, c->solver, c->kind, times * c->steps);
        double fine = error_of(&f, c->solver, c->kind, 2 * times * c->steps);
        double order = log2(coarse / fine);
        if (!(order > c->order - .2 && coarse < most))
            fail_msg("%s on %s of %s, %d normals: errors %g and %g are of order %.2f, expected %g",
                     c->solver, objective, schedule, normals, coarse, fine, order, c->order);
    }
    sumi_process_free(&f.process);
}

static const char *const parametrisations[][2] = {
    {"v", "linear"}, {"edm", "edm"}, {"flow", "flow"}, {"x0", "cosine"}, {"eps", "linear"}};

static void test_orders_of_runs(void **state)
{
    (void)state;
    for (size_t p = 0; p < sizeof parametrisations / sizeof *parametrisations; p++)
        check_orders(parametrisations[p][0], parametrisations[p][1], 1, 1, .1);
}

/* Of two normals the way bends: it parts in the middle, so that steps must be smaller. */
static void test_orders_of_runs_of_a_mixture(void **state)
{
    (void)state;
    check_orders("v", "linear", 2, 2, .3);
    check_orders("flow", "flow", 2, 2, .3);
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
    sumi_path_config config = SUMI_PATH_CONFIG_INIT;
    config.solver = solver_of(name);
    config.spacing = sumi_spacing_row(index);
    config.evaluations = evaluations;
    config.eta = eta;
    assert_int_equal(sumi_path_init(&path, &f->process, &config, NULL), SUMI_OK);
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
            if (strncmp(name, "ddpm", 4) == 0 ||
                solver->flags & (SUMI_SOLVER_INVERSE | SUMI_SOLVER_ADAPTIVE))
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

/* Draws N images and compares their mean and deviation with those of the data. */
static void check_moments_of(fixture *f, const sumi_path *path, const char *name)
{
    enum { N = 256 };
    float *x = malloc((size_t)N * FLOATS * sizeof *x);
    sumi_device *device;
    const sumi_device_config config = {.threads = 2};
    assert_int_equal(sumi_cpu_backend()->open(&config, &device, NULL), SUMI_OK);
    sumi_sampling sampling = {.path = path,
                              .n = N,
                              .count = FLOATS,
                              .seed = 5,
                              .backend = sumi_cpu_backend(),
                              .device = device,
                              .predict = predict,
                              .user = f};
    assert_int_equal(sumi_sampling_run(&sampling, x, NULL), SUMI_OK);
    sumi_cpu_backend()->close(device);
    double sum = 0, squares = 0, count = (double)N * FLOATS;
    for (int k = 0; k < N * FLOATS; k++) {
        sum += (double)x[k];
        squares += ((double)x[k] - f->mean[0]) * ((double)x[k] - f->mean[0]);
    }
    double mean = sum / count, deviation = sqrt(squares / count);
    if (!(fabs(mean - f->mean[0]) < .01 && fabs(deviation / f->sd[0] - 1) < .04))
        fail_msg("%s: mean %g and deviation %g, expected %g and %g", name, mean, deviation,
                 f->mean[0], f->sd[0]);
    free(x);
}

/* Solvers that add noise draw the data's distribution, as those that do not. */
static void test_moments(void **state)
{
    (void)state;
    for (int i = 0; sumi_solver_row(i); i++) {
        fixture f;
        const char *name = sumi_solver_row(i)->is.name;
        if (sumi_solver_row(i)->flags & (SUMI_SOLVER_INVERSE | SUMI_SOLVER_ADAPTIVE))
            continue;
        open_fixture(&f, i % 2 ? "edm" : "v", i % 3 ? "edm" : "cosine", 1);
        sumi_path path = path_of(&f, name, i % 3 ? "karras" : "trailing", 200, -1);
        check_moments_of(&f, &path, name);
        sumi_path_free(&path);
        sumi_process_free(&f.process);
    }
}

/* ---- What a path refuses --------------------------------------------------------------------- */

static void test_paths(void **state)
{
    (void)state;
    fixture f;
    sumi_path path;
    sumi_error err;
    open_fixture(&f, "v", "flow", 1);
    sumi_path_config config = SUMI_PATH_CONFIG_INIT;
    config.spacing = sumi_spacing_row(0);
    config.evaluations = 5;
    static const struct {
        const char *solver, *says;
        float eta;
    } bad[] = {{"ddpm", "ddpm has no eta: it adds a fixed amount of noise", .5f},
               {"heun", "heun has no eta: it adds no noise", .5f},
               {"ddim", "eta is 1.5, expected 0..1", 1.5f},
               {"ddim", "eta is nan", NAN}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        config.solver = solver_of(bad[i].solver);
        config.eta = bad[i].eta;
        assert_int_equal(sumi_path_init(&path, &f.process, &config, &err), SUMI_EINVAL);
        assert_non_null(strstr(err.text, bad[i].says));
    }
    config.eta = SUMI_ETA_OWN;
    static const struct {
        const char *solver, *says;
        double strength;
        sumi_churn churn;
    } worse[] = {
        {"ddim", "ddim has no churn, heun has", 1, {.5, 0, 1, 1}},
        {"heun", "churn is -1, expected 0", 1, {-1, 0, 1, 1}},
        {"heun", "churn is nan", 1, {NAN, 0, 1, 1}},
        {"heun", "between levels of 2 and 1", 1, {1, 2, 1, 1}},
        {"heun", "noise of deviation 11, expected 0..10", 1, {1, 0, 1, 11}},
        {"heun", "strength is 0, expected more than 0 and at most 1", 0, {0, 0, 1, 1}},
        {"heun", "strength is 1.5", 1.5, {0, 0, 1, 1}},
        {"heun", "strength is nan", NAN, {0, 0, 1, 1}},
    };
    for (size_t i = 0; i < sizeof worse / sizeof *worse; i++) {
        config.solver = solver_of(worse[i].solver);
        config.strength = worse[i].strength;
        config.churn = worse[i].churn;
        assert_int_equal(sumi_path_init(&path, &f.process, &config, &err), SUMI_EINVAL);
        assert_non_null(strstr(err.text, worse[i].says));
    }
    static const double falling[] = {4000, 100.5, 2}, equal[] = {30, 30, 2}, low[] = {30, 4, .5};
    sumi_path_config listed = SUMI_PATH_CONFIG_INIT;
    listed.solver = solver_of("heun");
    listed.times = falling;
    listed.time_count = 3;
    assert_int_equal(sumi_path_init(&path, &f.process, &listed, NULL), SUMI_OK);
    assert_true(path.levels[1].time == 100.5 && path.levels[3].sigma == 0);
    assert_int_equal(path.evaluations, 5);
    sumi_path_free(&path);
    listed.times = equal;
    assert_int_equal(sumi_path_init(&path, &f.process, &listed, &err), SUMI_EINVAL);
    assert_string_equal(err.text, "level 1 is at t = 30, expected below 30");
    listed.times = low;
    assert_int_equal(sumi_path_init(&path, &f.process, &listed, &err), SUMI_EINVAL);
    assert_string_equal(err.text, "level 2 is at t = 0.5, expected 1..4096");
    listed.time_count = 0;
    assert_int_equal(sumi_path_init(&path, &f.process, &listed, &err), SUMI_EINVAL);
    sumi_process_free(&f.process);
}

/* A path of less strength begins at its share of T and takes no more steps than there are rows. */
static void test_strength(void **state)
{
    (void)state;
    fixture f;
    sumi_path path;
    open_fixture(&f, "eps", "linear", 1);
    sumi_path_config config = SUMI_PATH_CONFIG_INIT;
    config.solver = solver_of("ddim");
    for (int p = 0; sumi_spacing_row(p); p++) {
        config.spacing = sumi_spacing_row(p);
        config.evaluations = 20;
        config.strength = .25;
        assert_int_equal(sumi_path_init(&path, &f.process, &config, NULL), SUMI_OK);
        assert_int_equal(path.steps, 20);
        double begin = path.levels[0].time;
        assert_true(strcmp(config.spacing->is.name, "leading") == 0 ? begin > 900 && begin <= 1024
                                                                    : begin == 1024);
        sumi_path_free(&path);
        config.strength = 5. / STEPS_MAX;
        assert_int_equal(sumi_path_init(&path, &f.process, &config, NULL), SUMI_OK);
        assert_int_equal(path.steps, 5);
        for (int i = 1; i <= path.steps; i++)
            assert_true(path.levels[i].time < path.levels[i - 1].time);
        sumi_path_free(&path);
        config.strength = .01 / STEPS_MAX;
        assert_int_equal(sumi_path_init(&path, &f.process, &config, NULL), SUMI_OK);
        assert_true(path.steps == 1 && path.levels[0].time == 1);
        sumi_path_free(&path);
    }
    sumi_process_free(&f.process);
}

/* ---- Options of single solvers --------------------------------------------------------------- */

/* heun with churn asks where the noise that it added leads: sigma / alpha times 1 + S_churn / N
 * within S_tmin..S_tmax, at most times the root of 2, and draws the data's distribution. */
static void test_churn(void **state)
{
    (void)state;
    fixture f;
    sumi_path path;
    open_fixture(&f, "edm", "edm", 1);
    sumi_path_config config = SUMI_PATH_CONFIG_INIT;
    config.solver = solver_of("heun");
    config.spacing = sumi_spacing_row(3);
    config.evaluations = 39;
    config.churn = (sumi_churn){4, .5, 20, 1};
    assert_int_equal(sumi_path_init(&path, &f.process, &config, NULL), SUMI_OK);
    for (int i = 0; i < path.steps; i++) {
        double sigma = path.levels[i].sigma, asked = sumi_path_asks(&path, i).sigma;
        double expected = sigma < .5 || sigma > 20 ? sigma : sigma * 1.2;
        assert_true(fabs(asked / expected - 1) < 1e-9);
        sumi_plan plan = {1, {{.x = 1, .divisor = 1}}, path.levels[i + 1]};
        path.solver->plan(&path, i, i + 1 < path.steps, &plan);
        double end = path.levels[i + 1].sigma, more = sumi_path_asks(&path, i + 1).sigma;
        assert_true(plan.next.sigma == more && plan.count == (more > end ? 2 : 1));
        if (plan.count == 2)
            assert_true(fabs((double)plan.mix[1].z / sqrt(more * more - end * end) - 1) < 1e-6);
    }
    sumi_path_free(&path);
    config.churn.amount = 100;
    assert_int_equal(sumi_path_init(&path, &f.process, &config, NULL), SUMI_OK);
    assert_true(fabs(sumi_path_asks(&path, 8).sigma / path.levels[8].sigma - sqrt(2)) < 1e-9);
    assert_true(sumi_path_asks(&path, 0).sigma == path.levels[0].sigma);
    sumi_path_free(&path);
    config.evaluations = 199;
    config.churn = (sumi_churn){40, .05, 50, 1};
    assert_int_equal(sumi_path_init(&path, &f.process, &config, NULL), SUMI_OK);
    check_moments_of(&f, &path, "heun with churn");
    sumi_path_free(&path);
    sumi_process_free(&f.process);
}

/* Backwards and forwards again, each with `steps` evaluations; the largest distance. */
static double round_trip(fixture *f, int steps)
{
    sumi_path back = path_of(f, "ddim-inverse", "trailing", steps, -1);
    sumi_path forth = path_of(f, "ddim", "trailing", steps, -1);
    sumi_device *device;
    float image[FLOATS], noise[FLOATS], again[FLOATS];
    for (int i = 0; i < FLOATS; i++)
        image[i] = -1.f + 2.f * (float)i / (FLOATS - 1);
    const sumi_device_config config = {.threads = 1};
    assert_int_equal(sumi_cpu_backend()->open(&config, &device, NULL), SUMI_OK);
    sumi_sampling sampling = {.path = &back,
                              .n = 1,
                              .count = FLOATS,
                              .image = image,
                              .backend = sumi_cpu_backend(),
                              .device = device,
                              .predict = predict,
                              .user = f};
    assert_int_equal(sumi_sampling_run(&sampling, noise, NULL), SUMI_OK);
    sampling.path = &forth;
    sampling.image = NULL;
    sampling.start = noise;
    assert_int_equal(sumi_sampling_run(&sampling, again, NULL), SUMI_OK);
    sumi_cpu_backend()->close(device);
    double worst = 0;
    for (int i = 0; i < FLOATS; i++)
        worst = fmax(worst, fabs((double)(again[i] - image[i])));
    sumi_path_free(&back);
    sumi_path_free(&forth);
    return worst;
}

static void test_inverse(void **state)
{
    (void)state;
    static const char *const of[][2] = {{"eps", "linear"}, {"v", "cosine"}, {"x0", "linear"}};
    for (size_t p = 0; p < sizeof of / sizeof *of; p++) {
        fixture f;
        open_fixture(&f, of[p][0], of[p][1], 2);
        double coarse = round_trip(&f, 64), fine = round_trip(&f, 256),
               finest = round_trip(&f, 1024);
        if (!(coarse < .5 && fine < coarse / 2.5 && finest < fine / 3))
            fail_msg("%s: %g, %g, %g", of[p][0], coarse, fine, finest);
        sumi_process_free(&f.process);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders_of_runs),  cmocka_unit_test(test_orders_of_runs_of_a_mixture),
        cmocka_unit_test(test_orders_of_steps), cmocka_unit_test(test_few_evaluations_of_a_mixture),
        cmocka_unit_test(test_moments),         cmocka_unit_test(test_paths),
        cmocka_unit_test(test_strength),        cmocka_unit_test(test_churn),
        cmocka_unit_test(test_inverse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
