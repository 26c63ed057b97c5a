/*
 * The sampling loop: noise, then for each level predict, look, mix.
 *
 * The elementwise work is cut into pieces of an image that depend on nothing but its size, and
 * every number is computed from its own image alone: that is why the batch and the threads do not
 * change a bit. Noise is made where it is used, a block at a time.
 */
#include "diffusion/diffusion.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PIECE ((size_t)16384) /* floats of an image that one task handles */
#define BLOCK ((size_t)1024)  /* floats that are computed at a time */
#define NOT_A_ROW 0x80000000u /* numbers noise of steps that begin between the rows of a table */

/* One run, as the tasks of each pass over all images see it. */
typedef struct {
    const sumi_sampling *sampling;
    int64_t pieces;   /* of an image */
    int done;         /* evaluations, the present one included; 0 draws x_T */
    sumi_level level; /* where x is */
    sumi_terms terms; /* there */
    sumi_mix mix;
    float *x;                   /* [n][count] */
    float *h[SUMI_HISTORY_MAX]; /* likewise: the last predictions, newest first */
    float *kept;                /* of a solver that keeps an x */
    float *input;               /* c_in x, where it is not x */
    float *x_0;                 /* for on_step, where it is not a prediction */
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

/* The noise after evaluation `run->done` for a block; drawn into buffer, or where the caller has
 * it. Two steps of a solver may begin at one row, but not of those with one evaluation a step. */
static const float *noise_at(const pass *run, const piece *part, size_t begin, size_t count,
                             float *buffer)
{
    const sumi_sampling *sampling = run->sampling;
    if (sampling->noise)
        return sampling->noise + (size_t)run->done * sampling->noise_stride + part->offset + begin;
    sumi_random at = {.seed = sampling->seed,
                      .stream = run->done ? SUMI_STREAM_SAMPLE_Z : SUMI_STREAM_SAMPLE_X,
                      .image = (uint64_t)(sampling->first_image + part->image)};
    if (run->done) {
        int row = sampling->path->solver->evaluations == 1 ? run->level.row : 0;
        at.step = row ? (uint32_t)row : NOT_A_ROW + (uint32_t)run->done;
    }
    sumi_random_normals(&at, part->begin + begin, buffer, count);
    return buffer;
}

/* As normal as x_T of data of mean 0 and deviation 1. */
static void start_piece(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const pass *run = arg;
    const sumi_level *level = &run->sampling->path->levels[0];
    piece part = piece_of(run, chunk);
    float *x = run->x + part.offset, scale = (float)sqrt(level->alpha2 + level->sigma2);
    const float *noise = noise_at(run, &part, 0, part.count, x);
    for (size_t i = 0; i < part.count; i++)
        x[i] = scale * noise[i];
    if (run->kept)
        memcpy(run->kept + part.offset, x, part.count * sizeof *x);
}

static void input_piece(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const pass *run = arg;
    piece part = piece_of(run, chunk);
    const float *x = run->x + part.offset;
    float *input = run->input + part.offset, c_in = (float)run->terms.c_in;
    for (size_t i = 0; i < part.count; i++)
        input[i] = c_in * x[i];
}

/* F becomes x_0 or eps, in its place. */
static void convert_piece(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const pass *run = arg;
    const sumi_map *map = run->sampling->path->of_noise ? &run->terms.noise : &run->terms.image;
    piece part = piece_of(run, chunk);
    float *h = run->h[0] + part.offset;
    sumi_map_apply(map, run->x + part.offset, h, h, part.count);
}

static void look_piece(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const pass *run = arg;
    piece part = piece_of(run, chunk);
    sumi_map_apply(&run->terms.image, run->x + part.offset, run->h[0] + part.offset,
                   run->x_0 + part.offset, part.count);
}

static void mix_block(const pass *run, size_t offset, const float *z, size_t count)
{
    const sumi_mix mix = run->mix;
    float *x = run->x + offset;
    const float *newest = run->h[0] + offset, *from = mix.from_kept ? run->kept + offset : x;
    for (size_t i = 0; i < count; i++)
        x[i] = mix.x * from[i] + mix.h[0] * newest[i];
    for (int k = 1; k < run->sampling->path->solver->history; k++) {
        const float *older = run->h[k] + offset;
        for (size_t i = 0; i < count; i++)
            x[i] += mix.h[k] * older[i];
    }
    for (size_t i = 0; mix.divisor != 1 && i < count; i++)
        x[i] /= mix.divisor;
    for (size_t i = 0; z && i < count; i++)
        x[i] += z[i] * mix.z;
    if (mix.keep)
        memcpy(run->kept + offset, x, count * sizeof *x);
}

static void mix_piece(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const pass *run = arg;
    piece part = piece_of(run, chunk);
    float buffer[BLOCK];
    for (size_t begin = 0; begin < part.count; begin += BLOCK) {
        size_t count = part.count - begin < BLOCK ? part.count - begin : BLOCK;
        size_t offset = part.offset + begin;
        const float *z = run->mix.z > 0 ? noise_at(run, &part, begin, count, buffer) : NULL;
        mix_block(run, offset, z, count);
    }
}

/* The network's F takes the place of the oldest prediction and becomes the newest. */
static sumi_status predict(pass *run, float *times)
{
    const sumi_sampling *sampling = run->sampling;
    int last = sampling->path->solver->history - 1;
    float *oldest = run->h[last];
    for (int k = last; k > 0; k--)
        run->h[k] = run->h[k - 1];
    run->h[0] = oldest;
    for (int k = 0; k < sampling->n; k++)
        times[k] = (float)run->level.time;
    if (run->input)
        sumi_parallel_for(sampling->pool, run->pieces * sampling->n, input_piece, run);
    return sampling->predict(sampling->user, run->input ? run->input : run->x, times, sampling->n,
                             run->h[0]);
}

/* The caller sees x and x_0; F becomes what the solver mixes. */
static sumi_status look_and_convert(pass *run)
{
    const sumi_sampling *sampling = run->sampling;
    int64_t chunks = run->pieces * sampling->n;
    const bool of_noise = sampling->path->of_noise;
    if (run->x_0)
        sumi_parallel_for(sampling->pool, chunks, look_piece, run);
    if (!of_noise || !run->terms.target_is_noise)
        sumi_parallel_for(sampling->pool, chunks, convert_piece, run);
    const float *x_0 = of_noise ? run->x_0 : run->h[0];
    bool stop = sampling->on_step && sampling->on_step(sampling->user, (int)lround(run->level.time),
                                                       run->x, x_0, sampling->n);
    return stop ? SUMI_CANCELLED : SUMI_OK;
}

/* One evaluation of step i and what the solver makes of it. */
static sumi_status take_stage(pass *run, int i, int stage, float *times)
{
    const sumi_sampling *sampling = run->sampling;
    const sumi_path *path = sampling->path;
    run->done++;
    run->terms = sumi_process_terms(path->process, &run->level);
    sumi_status status = predict(run, times);
    if (status == SUMI_OK)
        status = look_and_convert(run);
    if (status != SUMI_OK)
        return status;
    sumi_plan plan = {1, {{.x = 1, .divisor = 1}}, path->levels[i + 1]};
    path->solver->plan(path, i, stage, &plan);
    for (int k = 0; k < plan.count; k++) {
        run->mix = plan.mix[k];
        sumi_parallel_for(sampling->pool, run->pieces * sampling->n, mix_piece, run);
    }
    run->level = plan.next;
    bool stop = sampling->step_done && sampling->step_done(sampling->user, run->done);
    return stop ? SUMI_CANCELLED : SUMI_OK;
}

static bool add_tensor(float **tensor, size_t floats)
{
    *tensor = sumi_calloc(floats, sizeof **tensor);
    return *tensor != NULL;
}

static bool add_tensors(pass *run, size_t floats)
{
    const sumi_sampling *sampling = run->sampling;
    const sumi_path *path = sampling->path;
    bool ok = true;
    for (int k = 0; k < path->solver->history && ok; k++)
        ok = add_tensor(&run->h[k], floats);
    if (ok && path->solver->flags & SUMI_SOLVER_KEEPS)
        ok = add_tensor(&run->kept, floats);
    if (ok && sumi_objective_row(path->process->config.objective)->scales_input)
        ok = add_tensor(&run->input, floats);
    if (ok && sampling->on_step && path->of_noise)
        ok = add_tensor(&run->x_0, floats);
    return ok;
}

sumi_status sumi_sampling_run(const sumi_sampling *sampling, float *out, sumi_error *err)
{
    assert(sampling->n >= 1 && sampling->count >= 1);
    size_t floats = (size_t)sampling->n * sampling->count;
    pass run = {.sampling = sampling,
                .pieces = (int64_t)((sampling->count + PIECE - 1) / PIECE),
                .level = sampling->path->levels[0],
                .x = out};
    float *times = sumi_calloc((size_t)sampling->n, sizeof *times);
    sumi_status status = SUMI_OK;
    if (!times || !add_tensors(&run, floats))
        status = sumi_fail_memory(err, "the sampler's buffers", floats * sizeof *out);
    else
        sumi_parallel_for(sampling->pool, run.pieces * sampling->n, start_piece, &run);
    for (int i = 0; i < sampling->path->steps && status == SUMI_OK; i++) {
        int stages = sumi_path_stages(sampling->path, i);
        for (int stage = 0; stage < stages && status == SUMI_OK; stage++)
            status = take_stage(&run, i, stage, times);
    }
    for (int k = 0; k < SUMI_HISTORY_MAX; k++)
        free(run.h[k]);
    free(run.kept);
    free(run.input);
    free(run.x_0);
    free(times);
    return status;
}
