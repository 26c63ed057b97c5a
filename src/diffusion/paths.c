/*
 * Paths: the levels at which a sampling run asks the network, from noise to image.
 *
 *   trailing   T, ..., T / steps, in equal steps: the image is the step after the last
 *   uniform    T, ..., first, in equal steps (diffusers calls it linspace)
 *   leading    steps of whole numbers, T / steps rounded down, that end at `first`
 *   karras     sigma / alpha to the power of 1/7 in equal steps (Karras et al. 2022, equation 5)
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

static void trailing_times(const sumi_process *process, int steps, double *out)
{
    double all = process->config.timesteps;
    for (int i = 0; i < steps; i++)
        out[i] = (steps - i) * all / steps;
}

/* i / (steps - 1), and 0 where there is one step. */
static double share(int i, int steps)
{
    return steps > 1 ? (double)i / (steps - 1) : 0;
}

static void uniform_times(const sumi_process *process, int steps, double *out)
{
    double all = process->config.timesteps, first = first_of(process);
    for (int i = 0; i < steps; i++)
        out[i] = all + (first - all) * share(i, steps);
}

static void leading_times(const sumi_process *process, int steps, double *out)
{
    int stride = process->config.timesteps / steps;
    for (int i = 0; i < steps; i++)
        out[i] = (double)(steps - 1 - i) * stride + first_of(process);
}

/* Equal steps in the logarithm of sigma / alpha, or in its power of 1 / power where that is not 0.
 */
static void ratio_times(const sumi_process *process, int steps, double power, double *out)
{
    double last = process->config.timesteps, first = first_of(process);
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

static void karras_times(const sumi_process *process, int steps, double *out)
{
    ratio_times(process, steps, 7, out);
}

static void logsnr_times(const sumi_process *process, int steps, double *out)
{
    ratio_times(process, steps, 0, out);
}

static void quadratic_times(const sumi_process *process, int steps, double *out)
{
    double high = sqrt(process->config.timesteps), low = sqrt(first_of(process));
    for (int i = 0; i < steps; i++) {
        double root = high + (low - high) * share(i, steps);
        out[i] = root * root;
    }
}

static const sumi_spacing spacings[] = {
    {{"trailing", "equal steps of t from T; the image is the step after the last"},
     trailing_times,
     true},
    {{"uniform", "equal steps of t from T to the least noise"}, uniform_times, true},
    {{"leading", "equal steps of t that end at the least noise"}, leading_times, true},
    {{"karras", "many levels of little noise"}, karras_times, false},
    {{"logsnr", "equal steps of the logarithm of noise"}, logsnr_times, false},
    {{"quadratic", "equal steps of the root of t"}, quadratic_times, false},
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

static sumi_status check_eta(const sumi_solver *solver, float eta, sumi_error *err)
{
    if (eta != SUMI_ETA_OWN && !(eta >= 0 && eta <= 1))
        return sumi_fail(err, SUMI_EINVAL, "eta is %g, expected 0..1", (double)eta);
    if (solver && eta > 0 && !(solver->flags & SUMI_SOLVER_ETA))
        return sumi_fail(err, SUMI_EINVAL, "%s has no eta: it adds %s noise", solver->is.name,
                         solver->eta > 0 ? "a fixed amount of" : "no");
    return SUMI_OK;
}

/* Solvers that divide by alpha leave out the last thousandth of t where nothing of the image is
 * left: the noise there is the same but for a thousandth. */
static double begin_below(const sumi_path *path, double time)
{
    sumi_level level = sumi_level_at(path->process, time);
    bool ratio = path->solver && path->solver->flags & SUMI_SOLVER_RATIO;
    return ratio && level.alpha2 == 0 ? time * .999 : time;
}

static sumi_status init_levels(sumi_path *path, const double *times, bool rows, sumi_error *err)
{
    const sumi_process *process = path->process;
    const sumi_solver *solver = path->solver;
    path->levels = sumi_calloc((size_t)path->steps + 1, sizeof *path->levels);
    if (!path->levels)
        return sumi_fail_memory(err, "the levels of a sampling run",
                                ((size_t)path->steps + 1) * sizeof *path->levels);
    for (int i = 0; i < path->steps; i++) {
        double time = rows && process->alpha_bar ? floor(times[i] + .5) : times[i];
        path->levels[i] = sumi_level_at(process, i == 0 ? begin_below(path, time) : time);
    }
    path->levels[path->steps] = sumi_level_image();
    if (!solver)
        return SUMI_OK;
    for (int i = 0; i < path->steps; i++)
        path->evaluations += sumi_path_stages(path, i);
    if (path->eta == SUMI_ETA_OWN)
        path->eta = solver->eta;
    unsigned on_noise = process->config.objective == SUMI_OBJECTIVE_EPS ? SUMI_SOLVER_ON_NOISE : 0;
    path->of_noise = solver->flags & (SUMI_SOLVER_OF_NOISE | on_noise);
    return SUMI_OK;
}

sumi_status sumi_path_init(sumi_path *path, const sumi_process *process, const sumi_solver *solver,
                           const sumi_spacing *spacing, int evaluations, float eta, sumi_error *err)
{
    *path = (sumi_path){.process = process, .solver = solver, .eta = eta};
    if (evaluations < 1 || evaluations > process->config.timesteps)
        return sumi_fail(err, SUMI_EINVAL, "steps is %d, expected 1..%d", evaluations,
                         process->config.timesteps);
    sumi_status status = check_eta(solver, eta, err);
    if (status != SUMI_OK)
        return status;
    path->steps = steps_of(solver, evaluations);
    double *times = sumi_calloc((size_t)path->steps, sizeof *times);
    if (!times)
        return sumi_fail_memory(err, "the levels of a sampling run", (size_t)path->steps * 8);
    spacing->times(process, path->steps, times);
    status = init_levels(path, times, spacing->rows, err);
    free(times);
    return status;
}

sumi_status sumi_path_init_times(sumi_path *path, const sumi_process *process,
                                 const sumi_solver *solver, const double *times, int steps,
                                 float eta, sumi_error *err)
{
    *path = (sumi_path){.process = process, .solver = solver, .steps = steps, .eta = eta};
    double first = first_of(process), last = process->config.timesteps;
    if (steps < 1 || steps > process->config.timesteps)
        return sumi_fail(err, SUMI_EINVAL, "there are %d levels, expected 1..%g", steps, last);
    for (int i = 0; i < steps; i++) {
        if (!(times[i] >= first && times[i] <= last))
            return sumi_fail(err, SUMI_EINVAL, "level %d is at t = %g, expected %g..%g", i,
                             times[i], first, last);
        if (i > 0 && !(times[i] < times[i - 1]))
            return sumi_fail(err, SUMI_EINVAL, "level %d is at t = %g, expected below %g", i,
                             times[i], times[i - 1]);
    }
    sumi_status status = check_eta(solver, eta, err);
    return status == SUMI_OK ? init_levels(path, times, false, err) : status;
}

void sumi_path_free(sumi_path *path)
{
    free(path->levels);
    *path = (sumi_path){0};
}
