/*
 * Solvers: how a predicted eps takes x_t one step back.
 *
 *   ddpm  Ho et al. 2020, algorithm 2, with the smaller of its two variances,
 *         sigma^2 = (1 - alpha)(1 - alpha_bar_s) / (1 - alpha_bar_t). When steps are skipped, alpha
 *         is alpha_bar_t / alpha_bar_s (Nichol and Dhariwal 2021, "Improved denoising diffusion
 *         probabilistic models", section 4), which is alpha_t where none are.
 *   ddim  Song, Meng, Ermon 2021, "Denoising diffusion implicit models", equations 12 and 16: a
 *         straight way to x_s for eta = 0, as noisy as ddpm for eta = 1.
 *
 * The predicted image is never clipped: the seed's recipe does not either.
 */
#include "diffusion/diffusion.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static float ddpm_sigma(const sumi_transition *at, float eta)
{
    (void)eta;
    return sqrtf((1 - at->alpha) * (1 - at->alpha_bar_s) / (1 - at->alpha_bar));
}

/* mu = (x - (1 - alpha) / sqrt(1 - alpha_bar) eps) / sqrt(alpha); x_s = mu + sigma z. */
static void ddpm_step(const sumi_transition *at, const float *eps, const float *z, float *x,
                      size_t count)
{
    float noise = (1 - at->alpha) / sqrtf(1 - at->alpha_bar), root = sqrtf(at->alpha);
    for (size_t i = 0; i < count; i++)
        x[i] = (x[i] - noise * eps[i]) / root;
    if (!z)
        return;
    for (size_t i = 0; i < count; i++)
        x[i] += z[i] * at->sigma;
}

/* Equation 16. */
static float ddim_sigma(const sumi_transition *at, float eta)
{
    double variance =
        (1 - (double)at->alpha_bar_s) / (1 - (double)at->alpha_bar) * (1 - (double)at->alpha);
    return (float)((double)eta * sqrt(variance));
}

/* Equation 12: x_s = sqrt(alpha_bar_s) x_0 + sqrt(1 - alpha_bar_s - sigma^2) eps + sigma z. */
static void ddim_step(const sumi_transition *at, const float *eps, const float *z, float *x,
                      size_t count)
{
    double alpha_bar = at->alpha_bar, alpha_bar_s = at->alpha_bar_s, sigma = at->sigma;
    double direction = sqrt(fmax(0, 1 - alpha_bar_s - sigma * sigma));
    /* x_0 put in: both of its terms are multiples of x and eps. */
    double image = sqrt(alpha_bar_s / alpha_bar);
    float keep = (float)image, add = (float)(direction - image * sqrt(1 - alpha_bar));
    for (size_t i = 0; i < count; i++)
        x[i] = keep * x[i] + add * eps[i];
    if (!z)
        return;
    for (size_t i = 0; i < count; i++)
        x[i] += z[i] * at->sigma;
}

static const sumi_solver solvers[] = {
    {"ddpm", "the ancestral steps of the tutorial", false, ddpm_sigma, ddpm_step},
    {"ddim", "good pictures in few steps; --eta adds noise", true, ddim_sigma, ddim_step},
};

enum { SOLVERS = sizeof solvers / sizeof *solvers };

const sumi_solver *sumi_solver_at(int index)
{
    return index >= 0 && index < SOLVERS ? &solvers[index] : NULL;
}

sumi_status sumi_solver_find(const char *name, const sumi_solver **out, sumi_error *err)
{
    char known[256] = "";
    size_t used = 0;
    for (int i = 0; i < SOLVERS; i++) {
        if (!name || strcmp(name, solvers[i].name) == 0) {
            *out = &solvers[i];
            return SUMI_OK;
        }
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "",
                                 solvers[i].name);
    }
    return sumi_fail(err, SUMI_EINVAL, "unknown solver \"%s\", expected one of: %s", name, known);
}

sumi_transition sumi_transition_make(const sumi_schedule *schedule, const sumi_solver *solver,
                                     int t, int s, float eta)
{
    sumi_transition at = {.t = t, .s = s};
    at.alpha_bar = sumi_alpha_bar(schedule, t);
    at.alpha_bar_s = sumi_alpha_bar(schedule, s);
    at.alpha = s == t - 1 ? schedule->alpha[t - 1] : at.alpha_bar / at.alpha_bar_s;
    at.sigma = solver->sigma(&at, eta);
    return at;
}

void sumi_denoise(const sumi_schedule *schedule, const int32_t *t, int n, const float *eps,
                  const float *z, float *x, size_t count)
{
    const sumi_solver *ddpm = &solvers[0];
    for (int i = 0; i < n; i++) {
        size_t at = (size_t)i * count;
        sumi_transition step = sumi_transition_make(schedule, ddpm, t[i], t[i] - 1, 0);
        ddpm->step(&step, eps + at, step.sigma > 0 ? z + at : NULL, x + at, count);
    }
}
