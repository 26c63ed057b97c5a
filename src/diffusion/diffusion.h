/*
 * diffusion: what a denoising diffusion model is, apart from its network.
 *
 * Does: the noise schedule, the forward process q(x_t | x_0), single reverse steps, and the loop
 * that draws images with a solver (DDPM, DDIM) from noise that is a pure function of
 * (seed, image, step).
 * Does not: know a network (a sampler is given a `predict` function), train, or touch files.
 *
 * Notation: t in 1..T; beta_t, alpha_t = 1 - beta_t, alpha_bar_t = alpha_1 * ... * alpha_t, and
 * alpha_bar_0 = 1. x_0 is the image, x_t its noised form, eps the noise.
 */
#ifndef SUMI_DIFFUSION_H
#define SUMI_DIFFUSION_H

#include "base/base.h"

enum { SUMI_TIMESTEPS_MAX = 100000 };

/* ---- Schedule (schedule.c) ------------------------------------------------------------------- */

typedef struct {
    int timesteps; /* T */
    /* [T], of t = index + 1, all float32 */
    float *beta;
    float *alpha;
    float *alpha_bar;
} sumi_schedule;

/* beta from beta_start to beta_end in equal steps: the same bits as PyTorch's
 * linspace(beta_start, beta_end, T), 1 - beta and cumprod. SUMI_EINVAL where T is not in 1..100000,
 * a beta not in (0, 1), or alpha_bar_T so small that float32 makes it 0. */
sumi_status sumi_schedule_linear(int timesteps, float beta_start, float beta_end,
                                 sumi_schedule *out, sumi_error *err);
void sumi_schedule_free(sumi_schedule *schedule); /* what it holds */
/* alpha_bar of t in 0..T. */
float sumi_alpha_bar(const sumi_schedule *schedule, int t);

/* The timesteps of a sampling run of `steps` network evaluations, largest first:
 * out[i] = round((steps - i) * T / steps), halves upwards. So the first is T, the last is T / steps
 * (from where the solver jumps to the image), and steps = T gives T, T-1, ..., 1. */
void sumi_timesteps(int timesteps, int steps, int32_t *out);

/* x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps: a draw from q(x_t | x_0), count floats.
 */
void sumi_diffuse(const sumi_schedule *schedule, int t, const float *x_0, const float *eps,
                  float *x_t, size_t count);
/* The x_0 that a predicted eps implies at x_t: (x_t - sqrt(1 - alpha_bar_t) eps) /
 * sqrt(alpha_bar_t).
 */
void sumi_implied_image(const sumi_schedule *schedule, int t, const float *x_t, const float *eps,
                        float *x_0, size_t count);

/* ---- Solvers (solvers.c) --------------------------------------------------------------------- */

/* A step from x_t to x_s, s < t. */
typedef struct {
    int t, s;
    float alpha;       /* alpha_bar_t / alpha_bar_s; alpha_t itself where s = t - 1 */
    float alpha_bar;   /* of t */
    float alpha_bar_s; /* of s; 1 where s = 0 */
    float sigma;       /* standard deviation of the noise that the step adds */
} sumi_transition;

typedef struct {
    const char *name, *about;
    bool has_eta;
    float (*sigma)(const sumi_transition *at, float eta);
    /* x [count] holds x_t and becomes x_s. z is standard normal, or NULL where sigma is 0. */
    void (*step)(const sumi_transition *at, const float *eps, const float *z, float *x,
                 size_t count);
} sumi_solver;

/* NULL name: the first, ddpm. SUMI_EINVAL lists the names that there are. */
sumi_status sumi_solver_find(const char *name, const sumi_solver **out, sumi_error *err);
const sumi_solver *sumi_solver_at(int index); /* NULL past the end */
sumi_transition sumi_transition_make(const sumi_schedule *schedule, const sumi_solver *solver,
                                     int t, int s, float eta);
/* The tutorial's denoise without the network: x [n][count] at times t[n], each its own, goes one
 * step back by DDPM. */
void sumi_denoise(const sumi_schedule *schedule, const int32_t *t, int n, const float *eps,
                  const float *z, float *x, size_t count);

/* ---- Sampling (sampler.c) -------------------------------------------------------------------- */

/* Predicts eps of n images. Anything but SUMI_OK ends the sampling with that status. */
typedef sumi_status (*sumi_predict_fn)(void *user, const float *x, const int32_t *t, int n,
                                       float *eps);

typedef struct {
    const sumi_schedule *schedule;
    const sumi_solver *solver;
    int steps; /* network evaluations, 1..T */
    float eta;
    int n;        /* images, evaluated together */
    size_t count; /* floats of an image */
    /* Noise: drawn for (seed, first_image + i, t); or, where noise is not NULL, read: x_T of image
     * i at noise + i * count, and z of step k = 1.. a further k * noise_stride floats on. */
    uint64_t seed;
    int64_t first_image;
    const float *noise;
    size_t noise_stride;
    sumi_pool *pool;
    sumi_predict_fn predict;
    sumi_on_step_fn on_step;                 /* or NULL; non-zero stops */
    int (*step_done)(void *user, int steps); /* or NULL: that many steps are done; likewise */
    void *user;                              /* given to all three */
} sumi_sampling;

/* Draws n images into out [n][count]. An image's bits do not depend on n or on threads (as long as
 * predict's do not). SUMI_CANCELLED where a callback stopped it; out is then unfinished. */
sumi_status sumi_sampling_run(const sumi_sampling *sampling, float *out, sumi_error *err);

#endif
