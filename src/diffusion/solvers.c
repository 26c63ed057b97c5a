/*
 * Solvers: how predictions take x_t one step back, as a mix of x_t, predictions and noise.
 *
 *   ddpm  Ho et al. 2020, algorithm 2, with the smaller of its two variances,
 *         sigma^2 = (1 - alpha)(1 - alpha_bar_s) / (1 - alpha_bar_t). When steps are skipped, alpha
 *         is alpha_bar_t / alpha_bar_s (Nichol and Dhariwal 2021, "Improved denoising diffusion
 *         probabilistic models", section 4), which is alpha_t where none are.
 *   ddpm-large  the larger of its variances, sigma^2 = 1 - alpha
 *   ddim  Song, Meng, Ermon 2021, "Denoising diffusion implicit models", equations 12 and 16: a
 *         straight way to x_s for eta = 0, as noisy as ddpm for eta = 1.
 *   ddim-inverse  the same way backwards (there, section 4.3), from an image to its noise. The
 *         network is asked about x_s as if it were x_t already: what ddim asked when it came here.
 *
 * Between any two levels t and s, x_t = a x_s + b eps with a = alpha_t / alpha_s and
 * b^2 = sigma_t^2 - a^2 sigma_s^2: the papers' alpha is a^2, their 1 - alpha is b^2. A table's own
 * alpha and its float32 are kept where there is one, since they make PyTorch's bits.
 */
#include "diffusion/solvers.h"

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
    return path->levels[i].row > 0 && (to->row > 0 || to->sigma2 == 0);
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

static void ddpm_plan(const sumi_path *path, int i, int stage, sumi_plan *plan)
{
    (void)stage;
    sumi_mix *mix = &plan->mix[0];
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

static void ddpm_large_plan(const sumi_path *path, int i, int stage, sumi_plan *plan)
{
    ddpm_plan(path, i, stage, plan);
    /* The last step adds none. */
    if (path->levels[i + 1].sigma2 > 0)
        plan->mix[0].z = (float)sqrt(transition_of(path, i).added);
}

/* ---- ddim ------------------------------------------------------------------------------------ */

/* x_s = alpha_s x_0 + sqrt(sigma_s^2 - z^2) eps + z noise, with x_0 or eps put in. */
static void ddim_plan(const sumi_path *path, int i, int stage, sumi_plan *plan)
{
    (void)stage;
    sumi_mix *mix = &plan->mix[0];
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

static sumi_level inverse_asks(const sumi_path *path, int i)
{
    return path->levels[i < path->steps ? i + 1 : i];
}

static void ddim_inverse_plan(const sumi_path *path, int i, int stage, sumi_plan *plan)
{
    (void)stage;
    const sumi_level *at = &path->levels[i], *to = &path->levels[i + 1];
    double image = sqrt(to->alpha2 / at->alpha2);
    plan->mix[0].x = (float)image;
    plan->mix[0].h[0] = (float)(sqrt(to->sigma2) - image * sqrt(at->sigma2));
    plan->next = inverse_asks(path, i + 1);
}

/* ---- Coordinates ----------------------------------------------------------------------------- */

sumi_place sumi_place_ratio(const sumi_level *level)
{
    double alpha = sqrt(level->alpha2);
    return (sumi_place){alpha, sqrt(level->sigma2) / alpha};
}

sumi_place sumi_place_flow(const sumi_level *level)
{
    double sum = sqrt(level->alpha2) + sqrt(level->sigma2);
    return (sumi_place){sum, sqrt(level->sigma2) / sum};
}

double sumi_level_lambda(const sumi_level *level)
{
    return -sumi_level_log_ratio(level);
}

sumi_level sumi_level_of_ratio(const sumi_process *process, double ratio)
{
    return sumi_level_at(process, sumi_level_time(process, log(ratio)));
}

/* ---- The table ------------------------------------------------------------------------------- */

#define ETA SUMI_SOLVER_ETA
#define ON_NOISE SUMI_SOLVER_ON_NOISE
#define OF_NOISE SUMI_SOLVER_OF_NOISE
#define RATIO SUMI_SOLVER_RATIO
#define KEEPS SUMI_SOLVER_KEEPS
#define CHURN SUMI_SOLVER_CHURN
#define INVERSE SUMI_SOLVER_INVERSE

/* History, evaluations of a step, eta. */
static const sumi_solver solvers[] = {
    {{"ddpm", "the ancestral steps of the tutorial"}, 1, 1, 1, ON_NOISE, ddpm_plan, NULL},
    {{"ddpm-large", "ddpm with the larger of its two variances"},
     1,
     1,
     1,
     ON_NOISE,
     ddpm_large_plan,
     NULL},
    {{"ddim", "good pictures in few steps; eta adds noise"},
     1,
     1,
     0,
     ETA | ON_NOISE,
     ddim_plan,
     NULL},
    {{"ddim-inverse", "ddim backwards, from an image to its noise"},
     1,
     1,
     0,
     OF_NOISE | INVERSE,
     ddim_inverse_plan,
     inverse_asks},
    {{"euler", "ddim by its name as an equation's solver"}, 1, 1, 0, 0, ddim_plan, NULL},
    {{"euler-a", "euler with as much new noise as ddpm"}, 1, 1, 1, ETA, ddim_plan, NULL},
    {{"heun", "second order, two evaluations a step; churn adds noise"},
     2,
     2,
     0,
     RATIO | KEEPS | CHURN,
     sumi_plan_heun,
     sumi_heun_asks},
    {{"dpmpp-2m", "second order from one evaluation before"},
     2,
     1,
     0,
     RATIO,
     sumi_plan_dpmpp_2m,
     NULL},
    {{"dpmpp-2m-sde", "dpmpp-2m with new noise"},
     2,
     1,
     1,
     ETA | RATIO,
     sumi_plan_dpmpp_2m_sde,
     NULL},
    {{"dpmpp-3m-sde", "from two evaluations before, with new noise"},
     3,
     1,
     1,
     ETA | RATIO,
     sumi_plan_dpmpp_3m_sde,
     NULL},
    {{"dpmpp-2s-a", "two evaluations a step, with new noise"},
     2,
     2,
     1,
     ETA | RATIO | KEEPS,
     sumi_plan_dpmpp_2s_a,
     NULL},
    {{"unipc", "third order, corrects each step with the next one's evaluation"},
     4,
     1,
     0,
     RATIO | KEEPS,
     sumi_plan_unipc,
     NULL},
    {{"deis", "third order, polynomials of eps over the logarithm of noise"},
     3,
     1,
     0,
     RATIO | OF_NOISE,
     sumi_plan_deis,
     NULL},
    {{"ipndm", "the four-step formula of even steps"},
     4,
     1,
     0,
     RATIO | OF_NOISE,
     sumi_plan_ipndm,
     NULL},
    {{"lms", "polynomials of eps over the noise"}, 4, 1, 0, RATIO | OF_NOISE, sumi_plan_lms, NULL},
    {{"flow-midpoint", "second order along the line from image to noise"},
     2,
     2,
     0,
     KEEPS,
     sumi_plan_flow_midpoint,
     NULL},
    {{"flow-heun", "heun along the line from image to noise"},
     2,
     2,
     0,
     KEEPS,
     sumi_plan_flow_heun,
     NULL},
    {{"rk45", "fifth order, steps as long as tolerances let them be"},
     1,
     6,
     0,
     SUMI_SOLVER_ADAPTIVE,
     NULL,
     NULL},
    {{"flow-euler", "ddim by the name it has on that line"}, 1, 1, 0, 0, ddim_plan, NULL},
};

enum { SOLVERS = sizeof solvers / sizeof *solvers };

const sumi_solver *sumi_solver_row(int index)
{
    return index >= 0 && index < SOLVERS ? &solvers[index] : NULL;
}
