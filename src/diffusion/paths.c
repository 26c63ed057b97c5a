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
    return sumi_schedule_at(process->config.schedule)->first;
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

const sumi_spacing *sumi_spacing_at(int index)
{
    return index >= 0 && index < SPACINGS ? &spacings[index] : NULL;
}

sumi_status sumi_path_init(sumi_path *path, const sumi_process *process, const sumi_solver *solver,
                           const sumi_spacing *spacing, int steps, float eta, sumi_error *err)
{
    if (steps < 1 || steps > process->config.timesteps)
        return sumi_fail(err, SUMI_EINVAL, "steps is %d, expected 1..%d", steps,
                         process->config.timesteps);
    size_t bytes = (size_t)(steps + 1) * sizeof(sumi_level);
    double *times = sumi_calloc((size_t)steps, sizeof *times);
    sumi_level *levels = sumi_calloc((size_t)steps + 1, sizeof *levels);
    if (!times || !levels) {
        free(times);
        free(levels);
        return sumi_fail_memory(err, "the levels of a sampling run", bytes);
    }
    spacing->times(process, steps, times);
    for (int i = 0; i < steps; i++) {
        bool row = process->alpha_bar && spacing->rows;
        levels[i] = sumi_level_at(process, row ? floor(times[i] + .5) : times[i]);
    }
    levels[steps] = sumi_level_image();
    free(times);
    bool of_noise = solver && solver->on_noise && process->config.objective == SUMI_OBJECTIVE_EPS;
    *path = (sumi_path){process, solver, steps, eta, levels, of_noise};
    return SUMI_OK;
}

void sumi_path_free(sumi_path *path)
{
    free(path->levels);
    *path = (sumi_path){0};
}
