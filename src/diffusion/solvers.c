/*
 * Solvers: how predictions take x_t one step back, as a mix of x_t, predictions and noise.
 *
 *   ddpm  Ho et al. 2020, algorithm 2, with the smaller of its two variances,
 *         sigma^2 = (1 - alpha)(1 - alpha_bar_s) / (1 - alpha_bar_t). When steps are skipped, alpha
 *         is alpha_bar_t / alpha_bar_s (Nichol and Dhariwal 2021, "Improved denoising diffusion
 *         probabilistic models", section 4), which is alpha_t where none are.
 *   ddim  Song, Meng, Ermon 2021, "Denoising diffusion implicit models", equations 12 and 16: a
 *         straight way to x_s for eta = 0, as noisy as ddpm for eta = 1.
 *
 * Between any two levels t and s, x_t = a x_s + b eps with a = alpha_t / alpha_s and
 * b^2 = sigma_t^2 - a^2 sigma_s^2: the papers' alpha is a^2, their 1 - alpha is b^2. A table's own
 * alpha and its float32 are kept where there is one, since they make PyTorch's bits.
 */
#include "diffusion/diffusion.h"

#include <math.h>

/* ---- The step from one level to the next ----------------------------------------------------- */

/* The alpha of a step between rows of a table, where the image is row 0. */
static float table_alpha(const sumi_path *path, int i)
{
    const sumi_level *at = &path->levels[i], *to = &path->levels[i + 1];
    return to->row == at->row - 1 ? path->process->alpha[at->row - 1]
                                  : (float)at->alpha2 / (float)to->alpha2;
}

static bool between_rows(const sumi_path *path, int i)
{
    const sumi_level *to = &path->levels[i + 1];
    return path->levels[i].row > 0 && (to->row > 0 || i + 1 == path->steps);
}

/* a^2 and b^2 of above. */
typedef struct {
    double kept, added;
} transition;

static transition transition_of(const sumi_path *path, int i)
{
    const sumi_level *at = &path->levels[i], *to = &path->levels[i + 1];
    if (between_rows(path, i)) {
        double alpha = (double)table_alpha(path, i);
        return (transition){alpha, 1 - alpha};
    }
    double kept = at->alpha2 / to->alpha2;
    return (transition){kept, fmax(0, at->sigma2 - kept * to->sigma2)};
}

/* ---- ddpm ------------------------------------------------------------------------------------ */

/* mu = (x - (1 - alpha) / sqrt(1 - alpha_bar) eps) / sqrt(alpha); x_s = mu + sigma z. */
static void tutorial_step(const sumi_path *path, int i, sumi_mix *mix)
{
    float alpha = table_alpha(path, i);
    float alpha_bar = (float)path->levels[i].alpha2,
          alpha_bar_s = (float)path->levels[i + 1].alpha2;
    mix->h[0] = -((1 - alpha) / sqrtf(1 - alpha_bar));
    mix->divisor = sqrtf(alpha);
    mix->z = sqrtf((1 - alpha) * (1 - alpha_bar_s) / (1 - alpha_bar));
}

static void ddpm_plan(const sumi_path *path, int i, sumi_mix *mix)
{
    const sumi_level *at = &path->levels[i], *to = &path->levels[i + 1];
    if (path->of_noise && between_rows(path, i)) {
        tutorial_step(path, i, mix);
        return;
    }
    transition step = transition_of(path, i);
    if (path->of_noise) {
        mix->h[0] = (float)-(step.added / sqrt(at->sigma2));
        mix->divisor = (float)sqrt(step.kept);
    } else {
        mix->x = (float)(sqrt(step.kept) * to->sigma2 / at->sigma2);
        mix->h[0] = (float)(sqrt(to->alpha2) * step.added / at->sigma2);
    }
    mix->z = (float)sqrt(step.added * to->sigma2 / at->sigma2);
}

/* ---- ddim ------------------------------------------------------------------------------------ */

/* x_s = alpha_s x_0 + sqrt(sigma_s^2 - z^2) eps + z noise, with x_0 or eps put in. */
static void ddim_plan(const sumi_path *path, int i, sumi_mix *mix)
{
    const sumi_level *at = &path->levels[i], *to = &path->levels[i + 1];
    double variance = to->sigma2 / at->sigma2 * transition_of(path, i).added;
    mix->z = (float)((double)path->eta * sqrt(variance));
    double z = (double)mix->z, direction = sqrt(fmax(0, to->sigma2 - z * z));
    if (path->of_noise) {
        double image = sqrt(to->alpha2 / at->alpha2);
        mix->x = (float)image;
        mix->h[0] = (float)(direction - image * sqrt(at->sigma2));
    } else {
        double noise = direction / sqrt(at->sigma2);
        mix->x = (float)noise;
        mix->h[0] = (float)(sqrt(to->alpha2) - noise * sqrt(at->alpha2));
    }
}

static const sumi_solver solvers[] = {
    {{"ddpm", "the ancestral steps of the tutorial"}, 1, false, true, ddpm_plan},
    {{"ddim", "good pictures in few steps; --eta adds noise"}, 1, true, true, ddim_plan},
};

enum { SOLVERS = sizeof solvers / sizeof *solvers };

const sumi_solver *sumi_solver_row(int index)
{
    return index >= 0 && index < SOLVERS ? &solvers[index] : NULL;
}
