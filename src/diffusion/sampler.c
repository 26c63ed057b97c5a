/*
 * The sampling loop: noise, then for each timestep predict, look, step.
 *
 * The elementwise work is cut into pieces of an image that depend on nothing but its size, and
 * every number is computed from its own image alone: that is why the batch and the threads do not
 * change a bit. Noise is made where it is used, a block at a time.
 */
#include "diffusion/diffusion.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PIECE ((size_t)16384) /* floats of an image that one task handles */
#define BLOCK ((size_t)1024)  /* floats of noise that are made at a time */

/* One pass over all images, as the tasks see it. */
typedef struct {
    const sumi_sampling *sampling;
    int64_t pieces; /* of an image */
    int step;       /* 0: x_T; else the step's number from 1 */
    sumi_transition at;
    float *x;         /* [n][count] */
    const float *eps; /* likewise */
    float *x_0;
} pass;

typedef struct {
    int image;
    size_t begin, count; /* in the image */
    size_t offset;       /* of begin in [n][count] */
} piece;

static piece piece_of(const pass *run, int64_t chunk)
{
    size_t all = run->sampling->count;
    piece part = {.image = (int)(chunk / run->pieces)};
    part.begin = (size_t)(chunk % run->pieces) * PIECE;
    part.count = all - part.begin < PIECE ? all - part.begin : PIECE;
    part.offset = (size_t)part.image * all + part.begin;
    return part;
}

/* The noise of step `run->step` for a block; drawn into buffer, or where the caller has it. */
static const float *noise_at(const pass *run, const piece *part, size_t begin, size_t count,
                             float *buffer)
{
    const sumi_sampling *sampling = run->sampling;
    if (sampling->noise)
        return sampling->noise + (size_t)run->step * sampling->noise_stride + part->offset + begin;
    sumi_random at = {.seed = sampling->seed,
                      .stream = run->step ? SUMI_STREAM_SAMPLE_Z : SUMI_STREAM_SAMPLE_X,
                      .step = run->step ? (uint32_t)run->at.t : 0,
                      .image = (uint64_t)(sampling->first_image + part->image)};
    sumi_random_normals(&at, part->begin + begin, buffer, count);
    return buffer;
}

static void start_piece(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const pass *run = arg;
    piece part = piece_of(run, chunk);
    float *x = run->x + part.offset;
    const float *noise = noise_at(run, &part, 0, part.count, x);
    if (noise != x)
        memcpy(x, noise, part.count * sizeof *x);
}

static void look_piece(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const pass *run = arg;
    piece part = piece_of(run, chunk);
    sumi_implied_image(run->sampling->schedule, run->at.t, run->x + part.offset,
                       run->eps + part.offset, run->x_0 + part.offset, part.count);
}

static void step_piece(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const pass *run = arg;
    piece part = piece_of(run, chunk);
    float buffer[BLOCK];
    for (size_t begin = 0; begin < part.count; begin += BLOCK) {
        size_t count = part.count - begin < BLOCK ? part.count - begin : BLOCK;
        size_t offset = part.offset + begin;
        const float *z = run->at.sigma > 0 ? noise_at(run, &part, begin, count, buffer) : NULL;
        run->sampling->solver->step(&run->at, run->eps + offset, z, run->x + offset, count);
    }
}

static sumi_status take_step(pass *run, const int32_t *times, float *eps)
{
    const sumi_sampling *sampling = run->sampling;
    int64_t chunks = run->pieces * sampling->n;
    sumi_status status = sampling->predict(sampling->user, run->x, times, sampling->n, eps);
    if (status != SUMI_OK)
        return status;
    if (sampling->on_step) {
        sumi_parallel_for(sampling->pool, chunks, look_piece, run);
        if (sampling->on_step(sampling->user, run->at.t, run->x, run->x_0, sampling->n))
            return SUMI_CANCELLED;
    }
    sumi_parallel_for(sampling->pool, chunks, step_piece, run);
    bool stop = sampling->step_done && sampling->step_done(sampling->user, run->step);
    return stop ? SUMI_CANCELLED : SUMI_OK;
}

sumi_status sumi_sampling_run(const sumi_sampling *sampling, float *out, sumi_error *err)
{
    const sumi_schedule *schedule = sampling->schedule;
    size_t floats = (size_t)sampling->n * sampling->count;
    assert(sampling->n >= 1 && sampling->count >= 1);
    float *eps = sumi_calloc(floats, sizeof *eps);
    float *x_0 = sampling->on_step ? sumi_calloc(floats, sizeof *x_0) : NULL;
    int32_t *timesteps = sumi_calloc((size_t)sampling->steps, sizeof *timesteps);
    int32_t *times = sumi_calloc((size_t)sampling->n, sizeof *times);
    sumi_status status = SUMI_OK;
    if (!eps || !timesteps || !times || (sampling->on_step && !x_0)) {
        status = sumi_fail_memory(err, "the sampler's buffers", floats * sizeof *eps);
        goto done;
    }
    sumi_timesteps(schedule->timesteps, sampling->steps, timesteps);
    pass run = {.sampling = sampling,
                .pieces = (int64_t)((sampling->count + PIECE - 1) / PIECE),
                .x = out,
                .eps = eps,
                .x_0 = x_0};
    sumi_parallel_for(sampling->pool, run.pieces * sampling->n, start_piece, &run);
    for (int i = 0; i < sampling->steps && status == SUMI_OK; i++) {
        int s = i + 1 < sampling->steps ? timesteps[i + 1] : 0;
        run.step = i + 1;
        run.at = sumi_transition_make(schedule, sampling->solver, timesteps[i], s, sampling->eta);
        for (int k = 0; k < sampling->n; k++)
            times[k] = timesteps[i];
        status = take_step(&run, times, eps);
    }
done:
    free(times);
    free(timesteps);
    free(x_0);
    free(eps);
    return status;
}
