/*
 * Objectives: what the network's output F means at a level, x_t = alpha x_0 + sigma eps.
 *
 *   eps   F = eps (Ho, Jain, Abbeel 2020)
 *   x0    F = x_0
 *   v     F = alpha eps - sigma x_0 (Salimans and Ho 2022, "Progressive distillation for fast
 *         sampling of diffusion models")
 *   flow  F = eps - x_0 (Liu, Gong, Liu 2023, "Flow straight and fast")
 *   edm   the network sees an input of variance 1 and F has variance 1 at every level, where the
 *         data's deviation is sigma_data (Karras et al. 2022, table 1). They have alpha = 1; other
 *         levels are those of x_t / alpha, whose noise is sigma / alpha.
 *
 * Terms are fractions of two numbers and not their quotients: so x_0 of an eps is computed as in
 * PyTorch, (x_t - sigma eps) / alpha, and no term is infinite where alpha or sigma is 0.
 */
#include "diffusion/diffusion.h"

#include <math.h>

static sumi_terms eps_terms(const sumi_level *at, double sigma_data)
{
    (void)sigma_data;
    return (sumi_terms){.c_in = 1,
                        .image = {1, -at->sigma, at->alpha},
                        .noise = {0, 1, 1},
                        .eps = 1,
                        .target_is_noise = true};
}

static sumi_terms x0_terms(const sumi_level *at, double sigma_data)
{
    (void)sigma_data;
    return (sumi_terms){
        .c_in = 1, .image = {0, 1, 1}, .noise = {1, -at->alpha, at->sigma}, .x_0 = 1};
}

static sumi_terms v_terms(const sumi_level *at, double sigma_data)
{
    (void)sigma_data;
    double sum = at->alpha2 + at->sigma2;
    return (sumi_terms){.c_in = 1,
                        .image = {at->alpha, -at->sigma, sum},
                        .noise = {at->sigma, at->alpha, sum},
                        .x_0 = -at->sigma,
                        .eps = at->alpha};
}

static sumi_terms flow_terms(const sumi_level *at, double sigma_data)
{
    (void)sigma_data;
    double sum = at->alpha + at->sigma;
    return (sumi_terms){.c_in = 1,
                        .image = {1, -at->sigma, sum},
                        .noise = {1, at->alpha, sum},
                        .x_0 = -1,
                        .eps = 1};
}

static sumi_terms edm_terms(const sumi_level *at, double sigma_data)
{
    double data2 = sigma_data * sigma_data;
    double variance = at->sigma2 + at->alpha2 * data2, root = sqrt(variance);
    return (sumi_terms){
        .c_in = 1 / root,
        .image = {data2 * at->alpha, at->sigma * sigma_data * root, variance},
        .noise = {at->sigma, -at->alpha * sigma_data * root, variance},
        .x_0 = at->sigma / (sigma_data * root),
        .eps = -sigma_data * at->alpha / root,
    };
}

/* Needs the image, scales the input. */
static const sumi_objective objectives[] = {
    [SUMI_OBJECTIVE_EPS] = {{"eps", "the noise, as in the tutorial"}, true, false, eps_terms},
    [SUMI_OBJECTIVE_X0] = {{"x0", "the image"}, false, false, x0_terms},
    [SUMI_OBJECTIVE_V] = {{"v", "noise and image, sound at every level"}, false, false, v_terms},
    [SUMI_OBJECTIVE_FLOW] = {{"flow", "the way from image to noise"}, false, false, flow_terms},
    [SUMI_OBJECTIVE_EDM] = {{"edm", "input and output of variance 1"}, false, true, edm_terms},
};

enum { OBJECTIVES = sizeof objectives / sizeof *objectives };

const sumi_objective *sumi_objective_row(int index)
{
    return index >= 0 && index < OBJECTIVES ? &objectives[index] : NULL;
}

sumi_terms sumi_process_terms(const sumi_process *process, const sumi_level *level)
{
    const sumi_process_config *config = &process->config;
    return objectives[config->objective].terms(level, (double)config->sigma_data);
}

void sumi_map_apply(const sumi_map *map, const float *x_t, const float *f, float *out, size_t count)
{
    float of_x = (float)map->x, of_f = (float)map->f, divisor = (float)map->divisor;
    for (size_t i = 0; i < count; i++)
        out[i] = (of_x * x_t[i] + of_f * f[i]) / divisor;
}
