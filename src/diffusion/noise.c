/*
 * Noise of a sampling run: drawn from its address where it is used, or made or given by the caller;
 * and what x begins with.
 */
#include "diffusion/sampler.h"

#include <math.h>
#include <stdlib.h>

static size_t bytes_of(const sumi_sampling *sampling)
{
    return (size_t)sampling->n * sampling->count * sizeof(float);
}

bool sumi_noise_room_init(const sumi_sampling *sampling, sumi_noise_room *room)
{
    *room = (sumi_noise_room){0};
    if (!sampling->noise && !sampling->make_noise)
        return true;
    room->tensor = sampling->backend->alloc(sampling->device, bytes_of(sampling));
    if (sampling->make_noise)
        room->host = sumi_calloc((size_t)sampling->n, sampling->count * sizeof *room->host);
    return room->tensor && (room->host || !sampling->make_noise);
}

void sumi_noise_room_free(const sumi_sampling *sampling, sumi_noise_room *room)
{
    sampling->backend->free(sampling->device, room->tensor, bytes_of(sampling));
    free(room->host);
}

void sumi_sampling_mix(const sumi_sampling *sampling, const sumi_noise_room *room, int evaluation,
                       sumi_random address, sumi_mixing *work)
{
    if (room->tensor) {
        const float *given = room->host;
        if (sampling->noise)
            given = sampling->noise + (size_t)evaluation * sampling->noise_stride;
        else
            sampling->make_noise(sampling->user, &address, sampling->n, room->host);
        sampling->backend->upload(sampling->device, room->tensor, given, bytes_of(sampling));
        work->given_noise = room->tensor;
    } else {
        work->noise = &address;
    }
    sampling->backend->mix(sampling->device, work);
}

/* What the caller begins with, or noise, as normal as x_T of data of mean 0 and deviation 1. */
void sumi_sampling_begin(const sumi_sampling *sampling, const sumi_noise_room *room,
                         const sumi_level *level, float *x, float *copy)
{
    const sumi_backend *backend = sampling->backend;
    bool inverse = sampling->path->solver->flags & SUMI_SOLVER_INVERSE;
    const float *given = sampling->start ? sampling->start : sampling->image;
    if (given)
        backend->upload(sampling->device, x, given, bytes_of(sampling));
    if (sampling->start || (given && inverse)) {
        if (copy)
            backend->copy(sampling->device, copy, x, bytes_of(sampling));
        return;
    }
    double noise = given ? level->sigma2 : level->alpha2 + level->sigma2;
    const sumi_factors factors = {
        .source = {(float)sqrt(level->alpha2)}, .divisor = 1, .noise = (float)sqrt(noise)};
    const sumi_random address = {.seed = sampling->seed,
                                 .stream = SUMI_STREAM_SAMPLE_X,
                                 .image = (uint64_t)sampling->first_image};
    sumi_mixing work = {.n = sampling->n,
                        .count = sampling->count,
                        .out = x,
                        .copy = copy,
                        .sources = given ? 1 : 0,
                        .source = {x},
                        .factors = &factors};
    sumi_sampling_mix(sampling, room, 0, address, &work);
}
