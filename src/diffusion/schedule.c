/*
 * Schedules: which level of noise belongs to which t.
 *
 * Three are tables of betas with rows t = 1..T, alpha_bar_t being the product of 1 - beta to t, and
 * keep the variance: alpha^2 = alpha_bar, sigma^2 = 1 - alpha_bar.
 *   linear   betas in equal steps: the tutorial's (Ho, Jain, Abbeel 2020, "Denoising diffusion
 *            probabilistic models", section 4)
 *   cosine   Nichol and Dhariwal 2021, "Improved denoising diffusion probabilistic models",
 *            equation 17, with their s = 0.008
 *   sigmoid  Jabri, Fleet, Chen 2022, "Scalable adaptive computation for iterative generation",
 *            from -3 to 3 at temperature 1
 * Two are closed forms:
 *   edm      Karras et al. 2022, "Elucidating the design space of diffusion-based generative
 *            models": alpha = 1, and ln(sigma) grows evenly with t
 *   flow     Lipman et al. 2023, "Flow matching for generative modeling": alpha = 1 - t / T,
 *            sigma = t / T
 *
 * Rounding of tables follows PyTorch on a CPU: linspace counts from both ends with one rounding a
 * value (its code is compiled to fused multiply-adds), cumprod multiplies in double and stores
 * float32.
 */
#include "diffusion/diffusion.h"

#include <assert.h>
#include <math.h>

#define HALF_PI 1.57079632679489661923
#define BETA_MAX .999 /* of a schedule whose last level would have nothing of the image */

/* ---- Tables ---------------------------------------------------------------------------------- */

static void linear_betas(const sumi_process_config *config, float *beta)
{
    int count = config->timesteps;
    float start = config->beta_start, end = config->beta_end;
    float step = count > 1 ? (end - start) / (float)(count - 1) : 0;
    /* torch.linspace(a, b, 1) is a. */
    int half = count > 1 ? count / 2 : count;
    for (int i = 0; i < count; i++)
        beta[i] = i < half ? fmaf(step, (float)i, start) : fmaf(-step, (float)(count - i - 1), end);
}

/* Betas of an alpha_bar that is given at t / T; alpha_bar(0) need not be 1. */
static void betas_of(double (*alpha_bar)(double), int count, float *beta)
{
    for (int i = 0; i < count; i++) {
        double before = alpha_bar((double)i / count), after = alpha_bar((double)(i + 1) / count);
        beta[i] = (float)fmin(1 - after / before, BETA_MAX);
    }
}

static double cosine_alpha_bar(double u)
{
    const double s = .008;
    double root = cos((u + s) / (1 + s) * HALF_PI);
    return root * root;
}

static void cosine_betas(const sumi_process_config *config, float *beta)
{
    betas_of(cosine_alpha_bar, config->timesteps, beta);
}

static double sigmoid_alpha_bar(double u)
{
    /* 1 / (1 + e^x) goes from x = -3 to x = 3, less what it has at the end. */
    return 1 / (1 + exp(6 * u - 3)) - 1 / (1 + exp(3));
}

static void sigmoid_betas(const sumi_process_config *config, float *beta)
{
    betas_of(sigmoid_alpha_bar, config->timesteps, beta);
}

/* ---- Closed forms ---------------------------------------------------------------------------- */

static sumi_level closed_form(double alpha, double sigma, double time)
{
    return (sumi_level){alpha, sigma, time, alpha * alpha, sigma * sigma, 0};
}

static double edm_time(const sumi_process_config *config, double log_ratio)
{
    double low = (double)config->sigma_min, high = (double)config->sigma_max;
    return config->timesteps * (log_ratio - log(low)) / log(high / low);
}

static sumi_level edm_level(const sumi_process_config *config, double time)
{
    double low = (double)config->sigma_min, high = (double)config->sigma_max;
    return closed_form(1, low * pow(high / low, time / config->timesteps), time);
}

static double flow_time(const sumi_process_config *config, double log_ratio)
{
    return config->timesteps / (1 + exp(-log_ratio));
}

static sumi_level flow_level(const sumi_process_config *config, double time)
{
    double u = time / config->timesteps;
    return closed_form(1 - u, u, time);
}

static const sumi_schedule schedules[] = {
    [SUMI_SCHEDULE_LINEAR] =
        {{"linear", "betas in equal steps, as in the tutorial"}, linear_betas, NULL, NULL, 1},
    [SUMI_SCHEDULE_COSINE] = {{"cosine", "the share of the image falls as a squared cosine"},
                              cosine_betas,
                              NULL,
                              NULL,
                              1},
    [SUMI_SCHEDULE_SIGMOID] =
        {{"sigmoid", "the share of the image falls as a sigmoid"}, sigmoid_betas, NULL, NULL, 1},
    [SUMI_SCHEDULE_EDM] = {{"edm", "the image stays whole, noise grows by a factor a step"},
                           NULL,
                           edm_level,
                           edm_time,
                           0},
    [SUMI_SCHEDULE_FLOW] =
        {{"flow", "a straight line from the image to noise"}, NULL, flow_level, flow_time, 1},
};

enum { SCHEDULES = sizeof schedules / sizeof *schedules };

const sumi_schedule *sumi_schedule_row(int index)
{
    return index >= 0 && index < SCHEDULES ? &schedules[index] : NULL;
}

/* ---- Levels ---------------------------------------------------------------------------------- */

sumi_level sumi_level_image(void)
{
    return (sumi_level){.alpha = 1, .alpha2 = 1};
}

static sumi_level row_level(const sumi_process *process, int row)
{
    float alpha_bar = process->alpha_bar[row - 1];
    return (sumi_level){.alpha = (double)sqrtf(alpha_bar),
                        .sigma = (double)sqrtf(1 - alpha_bar),
                        .time = row,
                        .alpha2 = (double)alpha_bar,
                        .sigma2 = 1 - (double)alpha_bar,
                        .row = row};
}

static sumi_level kept_variance(double alpha2, double sigma2, double time)
{
    return (sumi_level){sqrt(alpha2), sqrt(sigma2), time, alpha2, sigma2, 0};
}

static double row_log_ratio(const sumi_process *process, int row)
{
    double alpha_bar = (double)process->alpha_bar[row - 1];
    return .5 * log((1 - alpha_bar) / alpha_bar);
}

static sumi_level table_level(const sumi_process *process, double time)
{
    int row = (int)time;
    double part = time - row;
    if (part == 0)
        return row ? row_level(process, row) : sumi_level_image();
    /* From the image, whose ratio has no logarithm, alpha_bar goes straight. */
    if (row == 0) {
        double gone = part * (1 - (double)process->alpha_bar[0]);
        return kept_variance(1 - gone, gone, time);
    }
    /* Likewise to a row that has nothing of the image. */
    if (process->alpha_bar[row] == 0) {
        double left = (1 - part) * (double)process->alpha_bar[row - 1];
        return kept_variance(left, 1 - left, time);
    }
    double log_ratio =
        (1 - part) * row_log_ratio(process, row) + part * row_log_ratio(process, row + 1);
    double share = 1 / (1 + exp(2 * log_ratio));
    return kept_variance(share, 1 / (1 + exp(-2 * log_ratio)), time);
}

sumi_level sumi_level_at(const sumi_process *process, double time)
{
    const sumi_schedule *schedule = &schedules[process->config.schedule];
    assert(time >= 0 && time <= process->config.timesteps);
    return schedule->betas ? table_level(process, time) : schedule->level(&process->config, time);
}

double sumi_level_log_ratio(const sumi_level *level)
{
    return .5 * log(level->sigma2 / level->alpha2);
}

/* The ratio grows with the row: the last row that is not above it, and a share of the next. */
static double table_time(const sumi_process *process, double log_ratio)
{
    int low = 1, high = process->config.timesteps;
    if (log_ratio >= row_log_ratio(process, high))
        return high;
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        *(row_log_ratio(process, middle) <= log_ratio ? &low : &high) = middle;
    }
    if (process->alpha_bar[high - 1] == 0) {
        double left = 1 / (1 + exp(2 * log_ratio));
        return high - fmin(1, left / (double)process->alpha_bar[low - 1]);
    }
    double begin = row_log_ratio(process, low), end = row_log_ratio(process, high);
    return low + (log_ratio - begin) / (end - begin);
}

double sumi_level_time(const sumi_process *process, double log_ratio)
{
    const sumi_schedule *schedule = &schedules[process->config.schedule];
    double time = schedule->betas ? table_time(process, log_ratio)
                                  : schedule->time(&process->config, log_ratio);
    return fmin(fmax(time, schedule->first), process->config.timesteps);
}
