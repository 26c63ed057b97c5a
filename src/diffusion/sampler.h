/* What the loops of sampling share: where noise comes from, and what a run begins with. */
#ifndef SUMI_DIFFUSION_SAMPLER_H
#define SUMI_DIFFUSION_SAMPLER_H

#include "diffusion/diffusion.h"

/* Room for noise that is not made where it is used: [n][count] of the device, and of the host where
 * make_noise fills it. */
typedef struct {
    float *tensor, *host;
} sumi_noise_room;

/* False without memory; freed in either case. */
bool sumi_noise_room_init(const sumi_sampling *sampling, sumi_noise_room *room);
void sumi_noise_room_free(const sumi_sampling *sampling, sumi_noise_room *room);
/* Computes work, to which it adds the noise that follows an evaluation (0: x_T). */
void sumi_sampling_mix(const sumi_sampling *sampling, const sumi_noise_room *room, int evaluation,
                       sumi_random address, sumi_mixing *work);
/* x at level, where the run begins; copy, which may be NULL, receives it too. */
void sumi_sampling_begin(const sumi_sampling *sampling, const sumi_noise_room *room,
                         const sumi_level *level, float *x, float *copy);

/* How many evaluations image i took for the last prediction. */
static inline int sumi_sampling_cost(const sumi_sampling *sampling, int i)
{
    return sampling->cost ? sampling->cost[i] : 1;
}

/* The loop of solvers that choose their levels themselves (adaptive.c). */
sumi_status sumi_adaptive_run(const sumi_sampling *sampling, float *out, sumi_error *err);

#endif
