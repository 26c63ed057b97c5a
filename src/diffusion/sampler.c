/*
 * The sampling loop: noise, then for each level predict, look, mix.
 *
 * Its tensors are the backend's, which does the elementwise work; what comes from the caller or
 * goes to it is copied.
 */
#include "diffusion/diffusion.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#define NOT_A_ROW 0x80000000u /* numbers noise of steps that begin between the rows of a table */

typedef struct {
    const sumi_sampling *sampling;
    int done;         /* evaluations, the present one included; 0 draws x_T */
    sumi_level level; /* where x is */
    sumi_terms terms; /* there */
    size_t bytes;     /* of a tensor, which all are [n][count] */
    float *x;
    float *h[SUMI_HISTORY_MAX]; /* the last predictions, newest first */
    float *kept;                /* of a solver that keeps an x */
    float *input;               /* c_in x, where it is not x */
    float *x_0;                 /* where it is not a prediction: for on_step and limits */
    float *noise;               /* where the caller gives it */
    float *times;               /* [n] */
    /* The host's: [n], and what on_step sees. */
    float *host_times, *seen_x, *seen_x_0;
} run_state;

/* out of one tensor or two, with no noise. */
static void mix_two(const run_state *run, const float *a, double by_a, const float *b, double by_b,
                    double divisor, float *out)
{
    const sumi_sampling *sampling = run->sampling;
    const sumi_factors factors = {.source = {(float)by_a, (float)by_b}, .divisor = (float)divisor};
    const sumi_mixing work = {.n = sampling->n,
                              .count = sampling->count,
                              .out = out,
                              .sources = b ? 2 : 1,
                              .source = {a, b},
                              .factors = &factors};
    sampling->backend->mix(sampling->device, &work);
}

/* out = the map of x and the newest F. */
static void apply_map(const run_state *run, const sumi_map *map, float *out)
{
    mix_two(run, run->x, map->x, run->h[0], map->f, map->divisor, out);
}

/* The address of the noise after evaluation `run->done`. Two steps of a solver may begin at one
 * row, but not of those with one evaluation a step. */
static sumi_random noise_address(const run_state *run)
{
    const sumi_sampling *sampling = run->sampling;
    sumi_random at = {.seed = sampling->seed,
                      .stream = run->done ? SUMI_STREAM_SAMPLE_Z : SUMI_STREAM_SAMPLE_X,
                      .image = (uint64_t)sampling->first_image};
    if (run->done) {
        int row = sampling->path->solver->evaluations == 1 ? run->level.row : 0;
        at.step = row ? (uint32_t)row : NOT_A_ROW + (uint32_t)run->done;
    }
    return at;
}

/* Adds its noise to a mixture and computes it. */
static void mix_with_noise(const run_state *run, sumi_mixing *work)
{
    const sumi_sampling *sampling = run->sampling;
    const sumi_random address = noise_address(run);
    if (run->noise) {
        const float *given = sampling->noise + (size_t)run->done * sampling->noise_stride;
        sampling->backend->upload(sampling->device, run->noise, given, run->bytes);
        work->given_noise = run->noise;
    } else {
        work->noise = &address;
    }
    sampling->backend->mix(sampling->device, work);
}

/* What the caller begins with, or noise, as normal as x_T of data of mean 0 and deviation 1. */
static void start(const run_state *run)
{
    const sumi_sampling *sampling = run->sampling;
    const sumi_level *level = &run->level;
    bool inverse = sampling->path->solver->flags & SUMI_SOLVER_INVERSE;
    const float *given = sampling->start ? sampling->start : sampling->image;
    if (given)
        sampling->backend->upload(sampling->device, run->x, given, run->bytes);
    if (sampling->start || (given && inverse)) {
        if (run->kept)
            mix_two(run, run->x, 1, NULL, 0, 1, run->kept);
        return;
    }
    double noise = given ? level->sigma2 : level->alpha2 + level->sigma2;
    const sumi_factors factors = {
        .source = {(float)sqrt(level->alpha2)}, .divisor = 1, .noise = (float)sqrt(noise)};
    sumi_mixing work = {.n = sampling->n,
                        .count = sampling->count,
                        .out = run->x,
                        .copy = run->kept,
                        .sources = given ? 1 : 0,
                        .source = {run->x},
                        .factors = &factors};
    mix_with_noise(run, &work);
}

static void take_mix(const run_state *run, const sumi_mix *mix)
{
    const sumi_sampling *sampling = run->sampling;
    int history = sampling->path->solver->history;
    sumi_factors factors = {.source = {mix->x}, .divisor = mix->divisor, .noise = mix->z};
    sumi_mixing work = {.n = sampling->n,
                        .count = sampling->count,
                        .out = run->x,
                        .copy = mix->keep ? run->kept : NULL,
                        .sources = 1 + history,
                        .source = {mix->from_kept ? run->kept : run->x},
                        .factors = &factors};
    for (int k = 0; k < history; k++) {
        factors.source[1 + k] = mix->h[k];
        work.source[1 + k] = run->h[k];
    }
    if (mix->z > 0)
        mix_with_noise(run, &work);
    else
        sampling->backend->mix(sampling->device, &work);
}

/* The network's F takes the place of the oldest prediction and becomes the newest. */
static sumi_status predict(run_state *run)
{
    const sumi_sampling *sampling = run->sampling;
    int last = sampling->path->solver->history - 1;
    float *oldest = run->h[last];
    for (int k = last; k > 0; k--)
        run->h[k] = run->h[k - 1];
    run->h[0] = oldest;
    for (int k = 0; k < sampling->n; k++)
        run->host_times[k] = (float)run->level.time;
    sampling->backend->upload(sampling->device, run->times, run->host_times,
                              (size_t)sampling->n * sizeof(float));
    if (run->input)
        mix_two(run, run->x, run->terms.c_in, NULL, 0, 1, run->input);
    return sampling->predict(sampling->user, run->input ? run->input : run->x, run->times,
                             run->level.time, sampling->n, run->h[0]);
}

static sumi_status look(const run_state *run, const float *x_0)
{
    const sumi_sampling *sampling = run->sampling;
    sampling->backend->download(sampling->device, run->seen_x, run->x, run->bytes);
    sampling->backend->download(sampling->device, run->seen_x_0, x_0, run->bytes);
    int step = (int)lround(run->level.time);
    bool stop =
        sampling->on_step(sampling->user, step, run->seen_x, run->seen_x_0, sampling->n) != 0;
    return stop ? SUMI_CANCELLED : SUMI_OK;
}

/* F becomes what the solver mixes: x_0 within its limits, or the eps that goes with that. */
static void convert(const run_state *run)
{
    const sumi_sampling *sampling = run->sampling;
    const sumi_limits *limits = &sampling->limits;
    const sumi_level *level = &run->level;
    float *x_0 = sampling->path->of_noise ? run->x_0 : run->h[0];
    if (x_0) {
        apply_map(run, &run->terms.image, x_0);
        if (limits->wanted)
            sampling->backend->limit(sampling->device, limits, sampling->n, sampling->count, x_0);
    }
    if (!sampling->path->of_noise)
        return;
    if (limits->wanted)
        mix_two(run, run->x, 1, x_0, -sqrt(level->alpha2), sqrt(level->sigma2), run->h[0]);
    else if (!run->terms.target_is_noise)
        apply_map(run, &run->terms.noise, run->h[0]);
}

/* One evaluation of step i and what the solver makes of it. */
static sumi_status take_stage(run_state *run, int i, int stage)
{
    const sumi_sampling *sampling = run->sampling;
    const sumi_path *path = sampling->path;
    run->done++;
    run->terms = sumi_process_terms(path->process, &run->level);
    sumi_status status = predict(run);
    if (status != SUMI_OK)
        return status;
    convert(run);
    if (sampling->on_step)
        status = look(run, path->of_noise ? run->x_0 : run->h[0]);
    if (status != SUMI_OK)
        return status;
    sumi_plan plan = {1, {{.x = 1, .divisor = 1}}, path->levels[i + 1]};
    path->solver->plan(path, i, stage, &plan);
    for (int k = 0; k < plan.count; k++)
        take_mix(run, &plan.mix[k]);
    run->level = plan.next;
    bool stop = sampling->step_done && sampling->step_done(sampling->user, run->done);
    return stop ? SUMI_CANCELLED : SUMI_OK;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

/* Asks for one of the run's tensors, and gives up once there is no memory. */
static void add_tensor(const run_state *run, bool wanted, float **tensor, bool *ok)
{
    if (!wanted || !*ok)
        return;
    *tensor = run->sampling->backend->alloc(run->sampling->device, run->bytes);
    *ok = *tensor != NULL;
}

static void add_host(size_t count, bool wanted, float **tensor, bool *ok)
{
    if (!wanted || !*ok)
        return;
    *tensor = sumi_calloc(count, sizeof **tensor);
    *ok = *tensor != NULL;
}

static bool add_memory(run_state *run)
{
    const sumi_sampling *sampling = run->sampling;
    const sumi_path *path = sampling->path;
    size_t n = (size_t)sampling->n, floats = n * sampling->count;
    bool ok = true, looks = sampling->on_step != NULL;
    add_tensor(run, true, &run->x, &ok);
    for (int k = 0; k < path->solver->history; k++)
        add_tensor(run, true, &run->h[k], &ok);
    add_tensor(run, path->solver->flags & SUMI_SOLVER_KEEPS, &run->kept, &ok);
    add_tensor(run, sumi_objective_row(path->process->config.objective)->scales_input, &run->input,
               &ok);
    add_tensor(run, (looks || sampling->limits.wanted) && path->of_noise, &run->x_0, &ok);
    add_tensor(run, sampling->noise != NULL, &run->noise, &ok);
    add_host(n, true, &run->host_times, &ok);
    add_host(floats, looks, &run->seen_x, &ok);
    add_host(floats, looks, &run->seen_x_0, &ok);
    if (ok)
        run->times = sampling->backend->alloc(sampling->device, n * sizeof *run->times);
    return ok && run->times;
}

static void free_memory(run_state *run)
{
    const sumi_sampling *sampling = run->sampling;
    float *const tensors[] = {run->x,    run->h[0],  run->h[1], run->h[2], run->h[3],
                              run->kept, run->input, run->x_0,  run->noise};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        sampling->backend->free(sampling->device, tensors[i], run->bytes);
    sampling->backend->free(sampling->device, run->times, (size_t)sampling->n * sizeof *run->times);
    free(run->host_times);
    free(run->seen_x);
    free(run->seen_x_0);
}

sumi_status sumi_sampling_run(const sumi_sampling *sampling, float *out, sumi_error *err)
{
    assert(sampling->n >= 1 && sampling->count >= 1);
    const sumi_path *path = sampling->path;
    run_state run = {.sampling = sampling,
                     .level = sumi_path_asks(path, 0),
                     .bytes = (size_t)sampling->n * sampling->count * sizeof(float)};
    sumi_status status = SUMI_OK;
    if (add_memory(&run))
        start(&run);
    else
        status = sumi_fail_memory(err, "the sampler's buffers", run.bytes);
    for (int i = 0; i < path->steps && status == SUMI_OK; i++) {
        int stages = sumi_path_stages(path, i);
        for (int stage = 0; stage < stages && status == SUMI_OK; stage++)
            status = take_stage(&run, i, stage);
    }
    if (status == SUMI_OK)
        sampling->backend->download(sampling->device, out, run.x, run.bytes);
    free_memory(&run);
    return status;
}
