/*
 * What training needs of a process: which level an image is noised to, what the network shall
 * return there, and how much the error counts.
 *
 * A draw is a quantile of its law at a uniform number u, so that a batch can be stratified: image i
 * of n has its u in [i / n, (i + 1) / n).
 *   log-normal    ln(sigma / alpha) is normal (Karras et al. 2022)
 *   logit-normal  the logit of t / T is normal (Esser et al. 2024, "Scaling rectified flow
 *                 transformers for high-resolution image synthesis")
 * Weightings are known by what they do to the squared error of x_0:
 *   min-snr       min(SNR, gamma) (Hang et al. 2023, "Efficient diffusion training via min-SNR
 *                 weighting strategy")
 *   soft-min-snr  gamma SNR / (SNR + gamma) (Crowson et al. 2024, "Scalable high-resolution
 *                 pixel-space image synthesis with hourglass diffusion transformers")
 *   edm           SNR + 1 / sigma_data^2: 1 on the error of F of the edm objective
 */
#include "diffusion/diffusion.h"

#include <math.h>

/* ---- Laws ------------------------------------------------------------------------------------ */

/* The quantile of the standard normal: Acklam's rational functions, relative error 1.2e-9. */
static double normal_quantile(double u)
{
    static const double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,
                               -2.759285104469687e+02, 1.383577518672690e+02,
                               -3.066479806614716e+01, 2.506628277459239e+00};
    static const double b[] = {-5.447609879822406e+01, 1.615858368580409e+02,
                               -1.556989798598866e+02, 6.680131188771972e+01,
                               -1.328068155288572e+01};
    static const double c[] = {-7.784894002430293e-03, -3.223964580411365e-01,
                               -2.400758277161838e+00, -2.549732539343734e+00,
                               4.374664141464968e+00,  2.938163982698783e+00};
    static const double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00,
                               3.754408661907416e+00};
    const double tail = .02425;
    if (u > .5)
        return -normal_quantile(1 - u);
    if (u >= tail) {
        double q = u - .5, r = q * q;
        double above = ((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5];
        double below = ((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1;
        return above * q / below;
    }
    double q = sqrt(-2 * log(u));
    double above = ((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5];
    return above / ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
}

static double uniform_time(const sumi_process *process, double u)
{
    return u * process->config.timesteps;
}

static double normal_of(const sumi_process *process, double u)
{
    return (double)process->config.law_mean + (double)process->config.law_std * normal_quantile(u);
}

static double log_normal_time(const sumi_process *process, double u)
{
    return sumi_level_time(process, normal_of(process, u));
}

static double logit_normal_time(const sumi_process *process, double u)
{
    return process->config.timesteps / (1 + exp(-normal_of(process, u)));
}

static const sumi_law laws[] = {
    [SUMI_LAW_UNIFORM] = {{"uniform", "every t as often"}, uniform_time},
    [SUMI_LAW_LOG_NORMAL] = {{"log-normal", "ln(sigma / alpha) is normal"}, log_normal_time},
    [SUMI_LAW_LOGIT_NORMAL] = {{"logit-normal", "the logit of t / T is normal"}, logit_normal_time},
};

enum { LAWS = sizeof laws / sizeof *laws };

const sumi_law *sumi_law_row(int index)
{
    return index >= 0 && index < LAWS ? &laws[index] : NULL;
}

sumi_level sumi_process_draw(const sumi_process *process, const sumi_draw *draw)
{
    const sumi_process_config *config = &process->config;
    const sumi_random random = {.seed = draw->seed,
                                .stream = SUMI_STREAM_TIMESTEP,
                                .step = draw->step,
                                .image = draw->image};
    /* The tutorial's draw is an integer from the start. */
    if (config->law == SUMI_LAW_UNIFORM && !config->stratified && process->alpha_bar)
        return sumi_level_at(process,
                             1 + sumi_random_below(&random, 0, (uint32_t)config->timesteps));
    double u = (double)sumi_random_uniform(&random, 0) + 0x1p-25; /* 24 bits: never 0 or 1 */
    if (config->stratified)
        u = ((double)draw->image + u) / (double)draw->batch;
    double time = fmin(laws[config->law].time(process, u), config->timesteps);
    if (process->alpha_bar)
        time = fmax(ceil(time), 1);
    return sumi_level_at(process, time);
}

/* ---- Weightings ------------------------------------------------------------------------------ */

static double weigh_snr(double snr, const sumi_process_config *config)
{
    (void)config;
    return snr;
}

static double weigh_min_snr(double snr, const sumi_process_config *config)
{
    return fmin(snr, (double)config->gamma);
}

static double weigh_soft_min_snr(double snr, const sumi_process_config *config)
{
    double gamma = (double)config->gamma;
    return gamma * snr / (snr + gamma);
}

static double weigh_edm(double snr, const sumi_process_config *config)
{
    double data = (double)config->sigma_data;
    return snr + 1 / (data * data);
}

static const sumi_weighting weightings[] = {
    [SUMI_WEIGHTING_UNIFORM] = {{"uniform", "every level's error of F counts as much"}, NULL},
    [SUMI_WEIGHTING_SNR] = {{"snr", "as the error of eps, whatever the objective"}, weigh_snr},
    [SUMI_WEIGHTING_MIN_SNR] = {{"min-snr", "that, but no more than gamma on the image's error"},
                                weigh_min_snr},
    [SUMI_WEIGHTING_SOFT_MIN_SNR] = {{"soft-min-snr", "min-snr with a smooth bend"},
                                     weigh_soft_min_snr},
    [SUMI_WEIGHTING_EDM] = {{"edm", "as the error of F of the objective edm"}, weigh_edm},
};

enum { WEIGHTINGS = sizeof weightings / sizeof *weightings };

const sumi_weighting *sumi_weighting_row(int index)
{
    return index >= 0 && index < WEIGHTINGS ? &weightings[index] : NULL;
}

double sumi_process_weight(const sumi_process *process, const sumi_level *level)
{
    const sumi_weighting *weighting = &weightings[process->config.weighting];
    if (!weighting->of_snr)
        return 1;
    /* An error of F is one of x_0 times the F's part in it. */
    sumi_map image = sumi_process_terms(process, level).image;
    double q = image.f / image.divisor;
    return weighting->of_snr(level->alpha2 / level->sigma2, &process->config) * q * q;
}

/* ---- Noise ----------------------------------------------------------------------------------- */

sumi_noising sumi_process_noising(const sumi_process *process, const sumi_level *level)
{
    sumi_terms terms = sumi_process_terms(process, level);
    return (sumi_noising){
        .input = {(float)(terms.c_in * level->alpha), (float)(terms.c_in * level->sigma)},
        .target = {(float)terms.x_0, (float)terms.eps},
        .target_is_noise = terms.target_is_noise,
    };
}
