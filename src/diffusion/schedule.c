/*
 * The linear noise schedule of the tutorial's Diffuser (Ho, Jain, Abbeel 2020, "Denoising diffusion
 * probabilistic models", section 4) and the forward process, equation 4 there.
 *
 * Rounding follows PyTorch on a CPU: linspace counts from both ends with one rounding a value (its
 * code is compiled to fused multiply-adds), cumprod multiplies in double and stores float32.
 */
#include "diffusion/diffusion.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

static void fill_beta(float *beta, int count, float start, float end)
{
    float step = count > 1 ? (end - start) / (float)(count - 1) : 0;
    /* torch.linspace(a, b, 1) is a. */
    int half = count > 1 ? count / 2 : count;
    for (int i = 0; i < count; i++)
        beta[i] = i < half ? fmaf(step, (float)i, start) : fmaf(-step, (float)(count - i - 1), end);
}

sumi_status sumi_schedule_linear(int timesteps, float beta_start, float beta_end,
                                 sumi_schedule *out, sumi_error *err)
{
    if (timesteps < 1 || timesteps > SUMI_TIMESTEPS_MAX)
        return sumi_fail(err, SUMI_EINVAL, "timesteps is %d, expected 1..%d", timesteps,
                         SUMI_TIMESTEPS_MAX);
    if (!(beta_start > 0 && beta_start < 1 && beta_end > 0 && beta_end < 1))
        return sumi_fail(err, SUMI_EINVAL, "beta goes from %g to %g, expected between 0 and 1",
                         (double)beta_start, (double)beta_end);
    size_t count = (size_t)timesteps;
    float *beta = sumi_calloc(3 * count, sizeof *beta);
    if (!beta)
        return sumi_fail_memory(err, "the noise schedule", 3 * count * sizeof *beta);
    float *alpha = beta + count, *alpha_bar = alpha + count;
    fill_beta(beta, timesteps, beta_start, beta_end);
    double product = 1;
    for (size_t i = 0; i < count; i++) {
        alpha[i] = 1 - beta[i];
        product *= (double)alpha[i];
        alpha_bar[i] = (float)product;
    }
    if (!(alpha_bar[count - 1] > 0)) {
        free(beta);
        return sumi_fail(err, SUMI_EINVAL,
                         "%d timesteps with beta from %g to %g leave nothing of the image "
                         "(alpha_bar is 0): use fewer timesteps or smaller betas",
                         timesteps, (double)beta_start, (double)beta_end);
    }
    *out = (sumi_schedule){timesteps, beta, alpha, alpha_bar};
    return SUMI_OK;
}

void sumi_schedule_free(sumi_schedule *schedule)
{
    free(schedule->beta);
    *schedule = (sumi_schedule){0};
}

float sumi_alpha_bar(const sumi_schedule *schedule, int t)
{
    assert(t >= 0 && t <= schedule->timesteps);
    return t == 0 ? 1 : schedule->alpha_bar[t - 1];
}

void sumi_timesteps(int timesteps, int steps, int32_t *out)
{
    assert(steps >= 1 && steps <= timesteps);
    for (int i = 0; i < steps; i++)
        out[i] = (int32_t)((2 * (int64_t)(steps - i) * timesteps + steps) / (2 * (int64_t)steps));
}

void sumi_diffuse(const sumi_schedule *schedule, int t, const float *x_0, const float *eps,
                  float *x_t, size_t count)
{
    float alpha_bar = sumi_alpha_bar(schedule, t);
    float image = sqrtf(alpha_bar), noise = sqrtf(1 - alpha_bar);
    for (size_t i = 0; i < count; i++)
        x_t[i] = image * x_0[i] + noise * eps[i];
}

void sumi_implied_image(const sumi_schedule *schedule, int t, const float *x_t, const float *eps,
                        float *x_0, size_t count)
{
    float alpha_bar = sumi_alpha_bar(schedule, t);
    float image = sqrtf(alpha_bar), noise = sqrtf(1 - alpha_bar);
    for (size_t i = 0; i < count; i++)
        x_0[i] = (x_t[i] - noise * eps[i]) / image;
}
