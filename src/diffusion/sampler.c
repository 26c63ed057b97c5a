/*
 * The sampling loop: noise, then for each level predict, look, mix.
 *
 * Its tensors are the backend's, which does the elementwise work; what comes from the caller or
 * goes to it is copied.
 */
#include "diffusion/sampler.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

/* Numbers noise of steps that begin between the rows of a table, of what is known around a mask,
 * and of going back. */
#define NOT_A_ROW 0x80000000u
#define KNOWN 0x40000000u
#define BACK 0x20000000u

typedef struct {
    const sumi_sampling *sampling;
    int done;         /* evaluations, the present one included */
    bool went_back;   /* to a level with more noise, which it had left */
    sumi_level level; /* where x is */
    sumi_terms terms; /* there */
    size_t bytes;     /* of a tensor, which all are [n][count] */
    float *x;
    float *h[SUMI_HISTORY_MAX];  /* the last predictions, newest first */
    float *kept;                 /* of a solver that keeps an x */
    float *input;                /* c_in x, where it is not x */
    float *x_0;                  /* where it is not a prediction: for on_step and limits */
    float *mask, *image, *known; /* of an image that is kept where the mask is 0 */
    sumi_noise_room noise;
    float *times; /* [n] */
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
 * row, but not of those with one evaluation a step, until it goes back. */
static sumi_random noise_address(const run_state *run)
{
    const sumi_sampling *sampling = run->sampling;
    bool once = sampling->path->solver->evaluations == 1 && !run->went_back;
    int row = once ? run->level.row : 0;
    return (sumi_random){.seed = sampling->seed,
                         .stream = SUMI_STREAM_SAMPLE_Z,
                         .image = (uint64_t)sampling->first_image,
                         .step = row ? (uint32_t)row : NOT_A_ROW + (uint32_t)run->done};
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
        sumi_sampling_mix(sampling, &run->noise, run->done, noise_address(run), &work);
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

/* One evaluation of step i of a path and what the solver makes of it. */
static sumi_status take_stage(run_state *run, const sumi_path *path, int i, int stage)
{
    const sumi_sampling *sampling = run->sampling;
    run->done++;
    run->terms = sumi_process_terms(path->process, &run->level);
    sumi_status status = predict(run);
    if (status != SUMI_OK)
        return status;
    for (int k = 0; sampling->taken && k < sampling->n; k++)
        sampling->taken[k] += sumi_sampling_cost(sampling, k);
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

/* ---- Masks ----------------------------------------------------------------------------------- */

/* Where the mask is 0, x becomes the known image with as much noise as there is at x's level. */
static void keep_known(const run_state *run)
{
    const sumi_sampling *sampling = run->sampling;
    const sumi_level *level = &run->level;
    sumi_random address = noise_address(run);
    address.step = KNOWN + (uint32_t)run->done;
    const sumi_factors factors = {
        .source = {(float)sqrt(level->alpha2)}, .divisor = 1, .noise = (float)sqrt(level->sigma2)};
    sumi_mixing work = {.n = sampling->n,
                        .count = sampling->count,
                        .out = run->known,
                        .sources = 1,
                        .source = {run->image},
                        .factors = &factors};
    if (level->sigma2 > 0)
        sumi_sampling_mix(sampling, &run->noise, run->done, address, &work);
    else
        sampling->backend->mix(sampling->device, &work);
    sampling->backend->blend(sampling->device, run->mask, run->known,
                             (size_t)sampling->n * sampling->count, run->x);
    /* What a solver of two evaluations keeps is x at a step's begin. */
    if (run->kept && sampling->path->solver->evaluations > 1)
        sampling->backend->copy(sampling->device, run->kept, run->x, run->bytes);
}

/* Noise is added to x until it is at `to`: x_t = a x_s + b eps. */
static void go_back(run_state *run, const sumi_level *to)
{
    const sumi_sampling *sampling = run->sampling;
    double a2 = to->alpha2 / run->level.alpha2;
    sumi_random address = noise_address(run);
    address.step = BACK + (uint32_t)run->done;
    const sumi_factors factors = {.source = {(float)sqrt(a2)},
                                  .divisor = 1,
                                  .noise =
                                      (float)sqrt(fmax(0, to->sigma2 - a2 * run->level.sigma2))};
    sumi_mixing work = {.n = sampling->n,
                        .count = sampling->count,
                        .out = run->x,
                        .copy = run->kept,
                        .sources = 1,
                        .source = {run->x},
                        .factors = &factors};
    sumi_sampling_mix(sampling, &run->noise, run->done, address, &work);
    run->went_back = true;
    run->level = *to;
}

/* ---- The order of steps ---------------------------------------------------------------------- */

/* Which step comes next. Where a mask leaves something known, RePaint (Lugmayr et al. 2022,
 * algorithm 1 and its jumps) goes back `jump` steps, `visits - 1` times, at every level that is a
 * whole number of jumps from the image: so both parts come to agree. */
typedef struct {
    int next;    /* the step */
    int begin;   /* the one after which nothing was gone back: what came before is forgotten */
    int *visits; /* [steps]: how often it will still be gone back from there; or NULL */
} itinerary;

static bool itinerary_init(itinerary *way, const sumi_path *path, int visits, int jump)
{
    *way = (itinerary){0};
    if (visits <= 1)
        return true;
    way->visits = sumi_calloc((size_t)path->steps, sizeof *way->visits);
    for (int i = jump; way->visits && i < path->steps; i++)
        way->visits[i] = (path->steps - i) % jump == 0 ? visits - 1 : 0;
    return way->visits != NULL;
}

/* After step `next` was taken: true where it goes back now. */
static bool itinerary_step(itinerary *way, const sumi_path *path, int jump)
{
    int i = ++way->next;
    if (!way->visits || i >= path->steps || way->visits[i] == 0)
        return false;
    way->visits[i]--;
    way->next = way->begin = i - jump;
    return true;
}

bool sumi_sampling_evaluations(const sumi_path *path, int visits, int jump, int64_t *out)
{
    itinerary way;
    *out = path->evaluations;
    if (visits <= 1)
        return true;
    if (!itinerary_init(&way, path, visits, jump))
        return false;
    for (*out = 0; way.next < path->steps; itinerary_step(&way, path, jump))
        *out += sumi_path_stages(path, way.next);
    free(way.visits);
    return true;
}

/* Solvers that look back find what came before a step number by its number: after going back they
 * begin anew, on a path that begins there. */
static sumi_status take_step(run_state *run, const itinerary *way)
{
    const sumi_path *path = run->sampling->path;
    sumi_path rest = *path;
    rest.levels += way->begin;
    rest.steps -= way->begin;
    int stages = sumi_path_stages(path, way->next);
    sumi_status status = SUMI_OK;
    for (int stage = 0; stage < stages && status == SUMI_OK; stage++)
        status = take_stage(run, &rest, way->next - way->begin, stage);
    return status;
}

static sumi_status take_steps(run_state *run, sumi_error *err)
{
    const sumi_sampling *sampling = run->sampling;
    const sumi_path *path = sampling->path;
    sumi_status status = SUMI_OK;
    itinerary way;
    if (!itinerary_init(&way, path, sampling->mask ? sampling->visits : 1, sampling->jump))
        return sumi_fail_memory(err, "the order of steps", (size_t)path->steps * sizeof(int));
    while (way.next < path->steps && status == SUMI_OK) {
        status = take_step(run, &way);
        if (run->mask && status == SUMI_OK)
            keep_known(run);
        if (itinerary_step(&way, path, sampling->jump) && status == SUMI_OK) {
            sumi_level to = sumi_path_asks(path, way.next);
            go_back(run, &to);
        }
    }
    free(way.visits);
    return status;
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
    add_tensor(run, sampling->mask, &run->mask, &ok);
    add_tensor(run, sampling->mask, &run->image, &ok);
    add_tensor(run, sampling->mask, &run->known, &ok);
    ok = ok && sumi_noise_room_init(sampling, &run->noise);
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
    float *const tensors[] = {run->x,     run->h[0], run->h[1], run->h[2],  run->h[3], run->kept,
                              run->input, run->x_0,  run->mask, run->image, run->known};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        sampling->backend->free(sampling->device, tensors[i], run->bytes);
    sampling->backend->free(sampling->device, run->times, (size_t)sampling->n * sizeof *run->times);
    sumi_noise_room_free(sampling, &run->noise);
    free(run->host_times);
    free(run->seen_x);
    free(run->seen_x_0);
}

static void start(const run_state *run)
{
    const sumi_sampling *sampling = run->sampling;
    sumi_sampling_begin(sampling, &run->noise, &run->level, run->x, run->kept);
    if (run->mask) {
        sampling->backend->upload(sampling->device, run->mask, sampling->mask, run->bytes);
        sampling->backend->upload(sampling->device, run->image, sampling->image, run->bytes);
    }
}

sumi_status sumi_sampling_run(const sumi_sampling *sampling, float *out, sumi_error *err)
{
    assert(sampling->n >= 1 && sampling->count >= 1);
    const sumi_path *path = sampling->path;
    if (path->solver->flags & SUMI_SOLVER_ADAPTIVE)
        return sumi_adaptive_run(sampling, out, err);
    run_state run = {.sampling = sampling,
                     .level = sumi_path_asks(path, 0),
                     .bytes = (size_t)sampling->n * sampling->count * sizeof(float)};
    sumi_status status = SUMI_OK;
    for (int i = 0; sampling->taken && i < sampling->n; i++)
        sampling->taken[i] = 0;
    if (add_memory(&run)) {
        start(&run);
        status = take_steps(&run, err);
    } else {
        status = sumi_fail_memory(err, "the sampler's buffers", run.bytes);
    }
    if (status == SUMI_OK) {
        sampling->backend->download(sampling->device, out, run.x, run.bytes);
        status = sampling->backend->status(sampling->device, err);
    }
    free_memory(&run);
    return status;
}
