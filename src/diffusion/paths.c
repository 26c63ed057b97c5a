/*
 * Paths: the levels at which a sampling run asks the network, from noise to image.
 *
 *   trailing   T, ..., T / steps, in equal steps: the image is the step after the last
 *   uniform    T, ..., first, in equal steps (diffusers calls it linspace)
 *   leading    steps of whole numbers, T / steps rounded down, that end at `first`
 *   karras     sigma / alpha to the power of 1 / rho in equal steps (Karras et al. 2022, equation
 *              5), rho 7 if nobody says
 *   logsnr     ln(sigma / alpha) in equal steps (Lu et al. 2022, "DPM-Solver")
 *   quadratic  the root of t in equal steps (Song, Meng, Ermon 2021, appendix D.2)
 */
#include "diffusion/diffusion.h"

#include <math.h>
#include <stdlib.h>

static double first_of(const sumi_process *process)
{
    return sumi_schedule_row(process->config.schedule)->first;
}

static void trailing_times(const sumi_process *process, const sumi_span *span, int steps,
                           double *out)
{
    (void)process;
    for (int i = 0; i < steps; i++)
        out[i] = (steps - i) * span->last / steps;
}

/* i / (steps - 1), and 0 where there is one step. */
static double share(int i, int steps)
{
    return steps > 1 ? (double)i / (steps - 1) : 0;
}

static void uniform_times(const sumi_process *process, const sumi_span *span, int steps,
                          double *out)
{
    (void)process;
    for (int i = 0; i < steps; i++)
        out[i] = span->last + (span->first - span->last) * share(i, steps);
}

static void leading_times(const sumi_process *process, const sumi_span *span, int steps,
                          double *out)
{
    int stride = (int)floor(span->last + .5) / steps;
    for (int i = 0; i < steps; i++)
        out[i] = (double)(steps - 1 - i) * stride + first_of(process);
}

/* Equal steps in the logarithm of sigma / alpha, or in its power of 1 / power where that is not 0.
 */
static void ratio_times(const sumi_process *process, const sumi_span *span, int steps, double power,
                        double *out)
{
    double first = span->first, last = span->last;
    sumi_level most = sumi_level_at(process, last), least = sumi_level_at(process, first);
    /* Nothing of the image and all the noise have no ratio: the steps begin one t below. */
    if (most.alpha2 == 0)
        most = sumi_level_at(process, last - 1);
    double high = sumi_level_log_ratio(&most), low = sumi_level_log_ratio(&least);
    for (int i = 1; i < steps - 1; i++) {
        double at = share(i, steps), log_ratio = high + at * (low - high);
        if (power > 0)
            log_ratio = log((1 - at) * exp(high / power) + at * exp(low / power)) * power;
        out[i] = sumi_level_time(process, log_ratio);
    }
    /* The ends are known without rounding. */
    out[steps - 1] = first;
    out[0] = last;
}

static void karras_times(const sumi_process *process, const sumi_span *span, int steps, double *out)
{
    ratio_times(process, span, steps, span->rho, out);
}

static void logsnr_times(const sumi_process *process, const sumi_span *span, int steps, double *out)
{
    ratio_times(process, span, steps, 0, out);
}

static void quadratic_times(const sumi_process *process, const sumi_span *span, int steps,
                            double *out)
{
    (void)process;
    double high = sqrt(span->last), low = sqrt(span->first);
    for (int i = 0; i < steps; i++) {
        double root = high + (low - high) * share(i, steps);
        out[i] = root * root;
    }
}

static const sumi_spacing spacings[] = {
    {{"trailing", "equal steps of t from T; the image is the step after the last"},
     trailing_times,
     true,
     false,
     false},
    {{"uniform", "equal steps of t from T to the least noise"}, uniform_times, true, true, false},
    {{"leading", "equal steps of t that end at the least noise"},
     leading_times,
     true,
     false,
     false},
    {{"karras", "many levels of little noise"}, karras_times, false, true, true},
    {{"logsnr", "equal steps of the logarithm of noise"}, logsnr_times, false, true, false},
    {{"quadratic", "equal steps of the root of t"}, quadratic_times, false, true, false},
};

enum { SPACINGS = sizeof spacings / sizeof *spacings };

const sumi_spacing *sumi_spacing_row(int index)
{
    return index >= 0 && index < SPACINGS ? &spacings[index] : NULL;
}

/* Of a solver with several evaluations a step, whose last step has one. */
static int steps_of(const sumi_solver *solver, int evaluations)
{
    int each = solver ? solver->evaluations : 1;
    return (evaluations + each - 1) / each;
}

int sumi_path_stages(const sumi_path *path, int i)
{
    return path->levels[i + 1].sigma2 > 0 ? path->solver->evaluations : 1;
}

sumi_level sumi_path_asks(const sumi_path *path, int i)
{
    return path->solver->asks ? path->solver->asks(path, i) : path->levels[i];
}

/* ---- Checks ---------------------------------------------------------------------------------- */

static sumi_status check_eta(const sumi_solver *solver, float eta, sumi_error *err)
{
    if (eta != SUMI_ETA_OWN && !(eta >= 0 && eta <= 1))
        return sumi_fail(err, SUMI_EINVAL, "eta is %g, expected 0..1", (double)eta);
    if (solver && eta > 0 && !(solver->flags & SUMI_SOLVER_ETA))
        return sumi_fail(err, SUMI_EINVAL, "%s has no eta: it adds %s noise", solver->is.name,
                         solver->eta > 0 ? "a fixed amount of" : "no");
    return SUMI_OK;
}

static sumi_status check_churn(const sumi_solver *solver, const sumi_churn *churn, sumi_error *err)
{
    if (!(churn->amount >= 0 && churn->amount <= 1e6))
        return sumi_fail(err, SUMI_EINVAL, "churn is %g, expected 0..1e6", churn->amount);
    if (!(churn->least >= 0 && churn->most >= churn->least))
        return sumi_fail(err, SUMI_EINVAL,
                         "churn is between levels of %g and %g, expected 0 or more and no less",
                         churn->least, churn->most);
    if (!(churn->noise >= 0 && churn->noise <= 10))
        return sumi_fail(err, SUMI_EINVAL, "churn adds noise of deviation %g, expected 0..10",
                         churn->noise);
    if (churn->amount > 0 && solver && !(solver->flags & SUMI_SOLVER_CHURN))
        return sumi_fail(err, SUMI_EINVAL, "%s has no churn, heun has", solver->is.name);
    return SUMI_OK;
}

static sumi_status check_times(const sumi_process *process, const double *times, int count,
                               sumi_error *err)
{
    double first = first_of(process), last = process->config.timesteps;
    if (count < 1 || count > process->config.timesteps)
        return sumi_fail(err, SUMI_EINVAL, "there are %d levels, expected 1..%g", count, last);
    for (int i = 0; i < count; i++) {
        if (!(times[i] >= first && times[i] <= last))
            return sumi_fail(err, SUMI_EINVAL, "level %d is at t = %g, expected %g..%g", i,
                             times[i], first, last);
        if (i > 0 && !(times[i] < times[i - 1]))
            return sumi_fail(err, SUMI_EINVAL, "level %d is at t = %g, expected below %g", i,
                             times[i], times[i - 1]);
    }
    return SUMI_OK;
}

/* Which ends and which bend a spacing may be given. */
static sumi_status check_shape(const sumi_path_config *config, sumi_error *err)
{
    const sumi_spacing *spacing = config->spacing;
    double least = config->sigma_least, most = config->sigma_most, rho = config->rho;
    if (!(least >= 0 && least <= 1e30 && most >= 0 && most <= 1e30) ||
        (least > 0 && most > 0 && least >= most))
        return sumi_fail(err, SUMI_EINVAL,
                         "sigma is from %g to %g, expected 0 (the schedule's own) or a rising "
                         "range",
                         least, most);
    if (!(rho == 0 || (rho >= .1 && rho <= 100)))
        return sumi_fail(err, SUMI_EINVAL, "rho is %g, expected 0.1..100, or 0 for 7", rho);
    if (config->times && (least > 0 || most > 0 || rho > 0))
        return sumi_fail(err, SUMI_EINVAL,
                         "levels are given: sigma_min, sigma_max and rho are not expected");
    if (least > 0 && spacing && !spacing->ends)
        return sumi_fail(err, SUMI_EINVAL, "%s ends where it does: it takes no sigma_min",
                         spacing->is.name);
    if (rho > 0 && spacing && !spacing->bends)
        return sumi_fail(err, SUMI_EINVAL, "%s has no rho, karras has", spacing->is.name);
    return SUMI_OK;
}

static sumi_status check_config(const sumi_process *process, const sumi_path_config *config,
                                sumi_error *err)
{
    sumi_status status = check_eta(config->solver, config->eta, err);
    if (status == SUMI_OK)
        status = check_churn(config->solver, &config->churn, err);
    if (status == SUMI_OK)
        status = check_shape(config, err);
    if (status != SUMI_OK)
        return status;
    const sumi_tolerance *tolerance = &config->tolerance;
    if (!(tolerance->absolute > 0 && tolerance->absolute <= 1 && tolerance->relative >= 0 &&
          tolerance->relative <= 1))
        return sumi_fail(
            err, SUMI_EINVAL,
            "tolerances are %g, expected more than 0 and at most 1, and relatively %g, "
            "expected 0..1",
            tolerance->absolute, tolerance->relative);
    if (config->times && config->solver && config->solver->flags & SUMI_SOLVER_ADAPTIVE)
        return sumi_fail(err, SUMI_EINVAL, "%s chooses its levels itself: none are expected",
                         config->solver->is.name);
    if (config->times)
        return check_times(process, config->times, config->time_count, err);
    if (config->evaluations < 1 || config->evaluations > process->config.timesteps)
        return sumi_fail(err, SUMI_EINVAL, "steps is %d, expected 1..%d", config->evaluations,
                         process->config.timesteps);
    if (!(config->strength > 0 && config->strength <= 1))
        return sumi_fail(err, SUMI_EINVAL, "strength is %g, expected more than 0 and at most 1",
                         config->strength);
    return SUMI_OK;
}

/* ---- Levels ---------------------------------------------------------------------------------- */

/* Solvers that divide by alpha leave out the last thousandth of t where nothing of the image is
 * left, or half a row of a table: the noise there is nearly the same. */
static double begin_below(const sumi_path *path, double time)
{
    sumi_level level = sumi_level_at(path->process, time);
    bool ratio = path->solver && path->solver->flags & SUMI_SOLVER_RATIO;
    bool nothing = ratio && level.alpha2 == 0;
    return !nothing ? time : path->process->alpha_bar ? time - .5 : time * .999;
}

/* times [steps], falling; those of an inverse become the other way round. */
static sumi_status init_levels(sumi_path *path, const double *times, bool rows, sumi_error *err)
{
    const sumi_process *process = path->process;
    bool inverse = path->solver && path->solver->flags & SUMI_SOLVER_INVERSE;
    size_t count = (size_t)path->steps + 1;
    path->levels = sumi_calloc(count, sizeof *path->levels);
    if (!path->levels)
        return sumi_fail_memory(err, "the levels of a sampling run", count * sizeof *path->levels);
    for (int i = 0; i <= path->steps; i++) {
        sumi_level level = sumi_level_image();
        if (i < path->steps) {
            double time = rows && process->alpha_bar ? floor(times[i] + .5) : times[i];
            level = sumi_level_at(process, i == 0 ? begin_below(path, time) : time);
        }
        path->levels[inverse ? path->steps - i : i] = level;
    }
    return SUMI_OK;
}

static void settle_solver(sumi_path *path)
{
    const sumi_solver *solver = path->solver;
    for (int i = 0; i < path->steps; i++)
        path->evaluations += sumi_path_stages(path, i);
    path->churn_share = fmin(path->churn.amount / path->steps, sqrt(2) - 1);
    if (path->eta == SUMI_ETA_OWN)
        path->eta = solver->eta;
    bool eps = path->process->config.objective == SUMI_OBJECTIVE_EPS;
    unsigned on_noise = eps ? SUMI_SOLVER_ON_NOISE : 0;
    path->of_noise = solver->flags & (SUMI_SOLVER_OF_NOISE | on_noise);
}

/* Rows must fall: up to t there are no more than t of them, or those from the first on. */
static int count_steps(const sumi_path_config *config, const sumi_span *span)
{
    int rows = span->last > 1 ? (int)floor(span->last + .5) : 1;
    if (config->sigma_least > 0 && span->first > 1)
        rows -= (int)floor(span->first + .5) - 1;
    return steps_of(config->solver, config->evaluations < rows ? config->evaluations : rows);
}

/* Where the levels begin and end, within what the schedule has. */
static sumi_status find_span(const sumi_process *process, const sumi_path_config *config,
                             sumi_span *span, sumi_error *err)
{
    double first = first_of(process);
    span->last = fmax(config->strength * process->config.timesteps, first);
    span->first = first;
    span->rho = config->rho > 0 ? config->rho : 7;
    if (config->sigma_most > 0)
        span->last = fmin(span->last, sumi_level_time(process, log(config->sigma_most)));
    if (config->sigma_least > 0)
        span->first = sumi_level_time(process, log(config->sigma_least));
    if (span->first < span->last || (span->first == first && config->sigma_most == 0))
        return SUMI_OK;
    return sumi_fail(err, SUMI_EINVAL,
                     "sigma_min %g and sigma_max %g leave no levels between t = %g and t = %g",
                     config->sigma_least, config->sigma_most, span->first, span->last);
}

/* Levels of a solver that chooses those in between. */
static sumi_status init_adaptive(sumi_path *path, const sumi_path_config *config,
                                 const sumi_span *span, sumi_error *err)
{
    const double times[2] = {span->last, span->first};
    path->steps = 2;
    path->evaluations = config->evaluations;
    return init_levels(path, times, false, err);
}

sumi_status sumi_path_init(sumi_path *path, const sumi_process *process,
                           const sumi_path_config *config, sumi_error *err)
{
    *path = (sumi_path){.process = process,
                        .solver = config->solver,
                        .eta = config->eta,
                        .churn = config->churn,
                        .tolerance = config->tolerance};
    sumi_status status = check_config(process, config, err);
    if (status != SUMI_OK)
        return status;
    sumi_span span;
    status = find_span(process, config, &span, err);
    if (status != SUMI_OK)
        return status;
    if (path->solver && path->solver->flags & SUMI_SOLVER_ADAPTIVE)
        return init_adaptive(path, config, &span, err);
    path->steps = config->times ? config->time_count : count_steps(config, &span);
    double *times = NULL;
    if (!config->times) {
        times = sumi_calloc((size_t)path->steps, sizeof *times);
        if (!times)
            return sumi_fail_memory(err, "the levels of a sampling run", (size_t)path->steps * 8);
        config->spacing->times(process, &span, path->steps, times);
    }
    status = init_levels(path, times ? times : config->times, times && config->spacing->rows, err);
    free(times);
    if (status == SUMI_OK && path->solver)
        settle_solver(path);
    return status;
}

void sumi_path_free(sumi_path *path)
{
    free(path->levels);
    *path = (sumi_path){0};
}
