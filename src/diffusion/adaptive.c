/*
 * rk45: the method of Dormand and Prince (1980, "A family of embedded Runge-Kutta formulae"), of
 * fifth order, whose fourth-order companion estimates each step's error.
 *
 * It goes along the line of flow matching, v = sigma / (alpha + sigma), y = x / (alpha + sigma),
 *     dy / dv = (y - x_0) / v,
 * from where the path begins to its last level with noise; the prediction there, which the last
 * step has made already, is the image. That line has an end with any schedule, and its slope,
 * eps - x_0, stays of the size of the data.
 *
 * Each image of a batch has a step of its own, decided by its own error alone, so that its bits do
 * not depend on the others. All are evaluated together until the last is done: an image that is
 * done waits, and what is evaluated for it meanwhile is neither used nor counted.
 */
#include "diffusion/sampler.h"
#include "diffusion/solvers.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#define SLIVER 1e-9

enum { STAGES = 7, TENSORS = 4 + STAGES };

/* A row of the tableau for each stage after the first, the last being the step itself; the error is
 * the difference of both orders. */
static const double nodes[STAGES] = {0, 1. / 5, 3. / 10, 4. / 5, 8. / 9, 1, 1};
static const double rows[STAGES][STAGES] = {
    {0},
    {1. / 5},
    {3. / 40, 9. / 40},
    {44. / 45, -56. / 15, 32. / 9},
    {19372. / 6561, -25360. / 2187, 64448. / 6561, -212. / 729},
    {9017. / 3168, -355. / 33, 46732. / 5247, 49. / 176, -5103. / 18656},
    {35. / 384, 0, 500. / 1113, 125. / 192, -2187. / 6784, 11. / 84}};
static const double differences[STAGES] = {71. / 57600,      0,         -71. / 16695, 71. / 1920,
                                           -17253. / 339200, 22. / 525, -1. / 40};

/* Of one image. */
typedef struct {
    double v, step;  /* where it is, and how far it tries to go: to v - step */
    double error;    /* of the step that was tried, 1 being the most that is taken */
    int taken;       /* predictions that it needed */
    int evaluations; /* of networks, for those */
    bool done;
    sumi_level level; /* where it is asked about */
    sumi_terms terms;
} progress;

typedef struct {
    const sumi_sampling *sampling;
    double begin, end; /* of v */
    int done;          /* evaluations of the batch */
    size_t bytes;
    union {
        struct {
            /* Where images are, where a stage is, what the network is given and what it returns,
             * which becomes x_0; then the stages' slopes. */
            float *y, *trial, *input, *image, *slope[STAGES];
        };
        float *tensors[TENSORS];
    };
    sumi_noise_room noise;
    float *times, *host_times; /* [n] */
    progress *images;          /* [n] */
    sumi_factors *factors;     /* [n] */
    double *errors;            /* [n] */
} adaptive;

/* out = a sum over tensors with factors of each image's own. */
static void mix(const adaptive *run, int sources, const float *const *source, float *out)
{
    const sumi_sampling *sampling = run->sampling;
    sumi_mixing work = {.n = sampling->n,
                        .count = sampling->count,
                        .out = out,
                        .sources = sources,
                        .factors = run->factors,
                        .factors_each = true};
    for (int k = 0; k < sources; k++)
        work.source[k] = source[k];
    sampling->backend->mix(sampling->device, &work);
}

/* out = base y - step (c_0 slope_0 + c_1 slope_1 + ...), base being 0 or 1; a mixture has too few
 * sources for all, so it takes two. */
static void combine(const adaptive *run, double base, const double *c, float *out)
{
    const float *source[SUMI_MIX_SOURCES] = {run->y};
    for (int part = 0; part < 2; part++) {
        int begin = part ? 4 : 0, count = part ? STAGES - 4 : 4;
        source[0] = part ? out : run->y;
        for (int k = 0; k < count; k++)
            source[1 + k] = run->slope[begin + k];
        for (int i = 0; i < run->sampling->n; i++) {
            const progress *image = &run->images[i];
            run->factors[i] = (sumi_factors){.divisor = 1};
            run->factors[i].source[0] = part ? 1 : (float)base;
            for (int k = 0; k < count; k++)
                run->factors[i].source[1 + k] = (float)(-image->step * c[begin + k]);
        }
        mix(run, 1 + count, source, out);
    }
}

/* The levels that images are asked about, a share of a step on. */
static void place(adaptive *run, double share)
{
    const sumi_process *process = run->sampling->path->process;
    for (int i = 0; i < run->sampling->n; i++) {
        progress *image = &run->images[i];
        double v = fmax(image->v - share * image->step, run->end);
        image->level = v < run->begin ? sumi_level_of_ratio(process, v / (1 - v))
                                      : run->sampling->path->levels[0];
        image->terms = sumi_process_terms(process, &image->level);
        run->host_times[i] = (float)image->level.time;
    }
    run->sampling->backend->upload(run->sampling->device, run->times, run->host_times,
                                   (size_t)run->sampling->n * sizeof *run->times);
}

/* The slope at y, which is where `place` said. */
static sumi_status evaluate(adaptive *run, const float *y, float *slope)
{
    const sumi_sampling *sampling = run->sampling;
    int n = sampling->n;
    for (int i = 0; i < n; i++) {
        const progress *image = &run->images[i];
        double scale = sumi_place_flow(&image->level).scale;
        run->factors[i] =
            (sumi_factors){.source = {(float)(scale * image->terms.c_in)}, .divisor = 1};
    }
    mix(run, 1, &y, run->input);
    sumi_status status = sampling->predict(sampling->user, run->input, run->times,
                                           run->images[n - 1].level.time, n, run->image);
    if (status != SUMI_OK)
        return status;
    const float *both[2] = {y, run->image};
    for (int i = 0; i < n; i++) {
        const sumi_map *map = &run->images[i].terms.image;
        double scale = sumi_place_flow(&run->images[i].level).scale;
        run->factors[i] = (sumi_factors){.source = {(float)(map->x * scale), (float)map->f},
                                         .divisor = (float)map->divisor};
    }
    mix(run, 2, both, run->image);
    if (sampling->limits.wanted)
        sampling->backend->limit(sampling->device, &sampling->limits, n, sampling->count,
                                 run->image);
    for (int i = 0; i < n; i++) {
        double v = sumi_place_flow(&run->images[i].level).v;
        run->factors[i] = (sumi_factors){.source = {1, -1}, .divisor = (float)v};
    }
    mix(run, 2, both, slope);
    run->done++;
    for (int i = 0; i < n; i++) {
        if (run->images[i].done)
            continue;
        run->images[i].taken++;
        run->images[i].evaluations += sumi_sampling_cost(sampling, i);
    }
    bool stop = sampling->step_done && sampling->step_done(sampling->user, run->done);
    return stop ? SUMI_CANCELLED : SUMI_OK;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

/* All stages of a step that each image tries, and what error it would have. */
static sumi_status try_step(adaptive *run)
{
    const sumi_sampling *sampling = run->sampling;
    for (int stage = 1; stage < STAGES; stage++) {
        combine(run, 1, rows[stage], run->trial);
        place(run, nodes[stage]);
        sumi_status status = evaluate(run, run->trial, run->slope[stage]);
        if (status != SUMI_OK)
            return status;
    }
    /* The last stage was at the step's end, so trial is where it leads. */
    combine(run, 0, differences, run->input);
    sampling->backend->measure_error(sampling->device, &sampling->path->tolerance, sampling->n,
                                     sampling->count, run->input, run->y, run->trial, run->errors);
    return SUMI_OK;
}

/* Images whose error is small enough take their step. The next one is as long as the error lets
 * expect, a tenth shorter, and at most 5 times as long or short (Hairer, Norsett and Wanner, II.4).
 */
static bool take_steps(adaptive *run)
{
    bool all = true;
    const float *places[2] = {run->y, run->trial};
    const float *slopes[2] = {run->slope[0], run->slope[STAGES - 1]};
    for (int i = 0; i < run->sampling->n; i++) {
        progress *image = &run->images[i];
        double error = run->errors[i];
        bool takes = !image->done && error <= 1;
        run->factors[i] = (sumi_factors){.source = {takes ? 0 : 1, takes ? 1 : 0}, .divisor = 1};
        if (image->done)
            continue;
        double factor = error > 0 ? fmin(5, fmax(.2, .9 * pow(error, -.2))) : 5;
        if (takes) {
            image->v -= image->step;
            image->done = image->v < run->end + SLIVER;
            if (image->done)
                image->v = run->end;
        } else {
            factor = isfinite(error) ? fmin(factor, 1) : .2;
        }
        image->step = image->done ? 0 : fmin(image->step * factor, image->v - run->end);
        /* No sliver is left for a step of its own. */
        if (image->v - image->step < run->end + SLIVER)
            image->step = image->v - run->end;
        all = all && image->done;
    }
    mix(run, 2, places, run->y);
    mix(run, 2, slopes, run->slope[0]);
    return all;
}

static sumi_status check_budget(const adaptive *run, sumi_error *err)
{
    int most = run->sampling->path->evaluations;
    for (int i = 0; i < run->sampling->n; i++)
        if (!run->images[i].done && run->images[i].taken + STAGES - 1 > most)
            return sumi_fail(err, SUMI_EINVAL,
                             "image %lld is not done after %d evaluations of %d: it needs more of "
                             "them, or larger tolerances",
                             (long long)(run->sampling->first_image + i), run->images[i].taken,
                             most);
    return SUMI_OK;
}

/* The image is where the slope at the last level leads: y - v slope. */
static void end(const adaptive *run)
{
    const float *both[2] = {run->y, run->slope[0]};
    for (int i = 0; i < run->sampling->n; i++)
        run->factors[i] = (sumi_factors){.source = {1, (float)-run->images[i].v}, .divisor = 1};
    mix(run, 2, both, run->image);
}

static void begin(adaptive *run)
{
    const sumi_path *path = run->sampling->path;
    const sumi_level *level = &path->levels[0];
    sumi_place at = sumi_place_flow(level);
    run->begin = at.v;
    run->end = fmin(sumi_place_flow(&path->levels[1]).v, at.v);
    sumi_sampling_begin(run->sampling, &run->noise, level, run->trial, NULL);
    for (int i = 0; i < run->sampling->n; i++) {
        double all = at.v - run->end;
        run->images[i] = (progress){.v = at.v, .step = all / 10, .done = !(all > 0)};
        run->factors[i] = (sumi_factors){.source = {1}, .divisor = (float)at.scale};
    }
    const float *x = run->trial;
    mix(run, 1, &x, run->y);
}

/* ---- The run --------------------------------------------------------------------------------- */

static bool add_memory(adaptive *run)
{
    const sumi_sampling *sampling = run->sampling;
    size_t n = (size_t)sampling->n;
    bool ok = sumi_noise_room_init(sampling, &run->noise);
    for (int k = 0; k < TENSORS && ok; k++) {
        run->tensors[k] = sampling->backend->alloc(sampling->device, run->bytes);
        ok = run->tensors[k] != NULL;
    }
    run->times = sampling->backend->alloc(sampling->device, n * sizeof *run->times);
    run->host_times = sumi_calloc(n, sizeof *run->host_times);
    run->images = sumi_calloc(n, sizeof *run->images);
    run->factors = sumi_calloc(n, sizeof *run->factors);
    run->errors = sumi_calloc(n, sizeof *run->errors);
    return ok && run->times && run->host_times && run->images && run->factors && run->errors;
}

static void free_memory(adaptive *run)
{
    const sumi_sampling *sampling = run->sampling;
    for (int k = 0; k < TENSORS; k++)
        sampling->backend->free(sampling->device, run->tensors[k], run->bytes);
    sampling->backend->free(sampling->device, run->times, (size_t)sampling->n * sizeof *run->times);
    sumi_noise_room_free(sampling, &run->noise);
    free(run->host_times);
    free(run->images);
    free(run->factors);
    free(run->errors);
}

static sumi_status take_all(adaptive *run, sumi_error *err)
{
    begin(run);
    place(run, 0);
    sumi_status status = evaluate(run, run->y, run->slope[0]);
    bool all = run->images[0].done;
    while (status == SUMI_OK && !all) {
        status = check_budget(run, err);
        if (status == SUMI_OK)
            status = try_step(run);
        if (status == SUMI_OK)
            all = take_steps(run);
    }
    if (status == SUMI_OK)
        end(run);
    return status;
}

sumi_status sumi_adaptive_run(const sumi_sampling *sampling, float *out, sumi_error *err)
{
    assert(!sampling->on_step && !sampling->mask);
    adaptive run = {.sampling = sampling,
                    .bytes = (size_t)sampling->n * sampling->count * sizeof(float)};
    sumi_status status = SUMI_OK;
    if (add_memory(&run))
        status = take_all(&run, err);
    else
        status = sumi_fail_memory(err, "the sampler's buffers", run.bytes);
    if (status == SUMI_OK) {
        sampling->backend->download(sampling->device, out, run.image, run.bytes);
        status = sampling->backend->status(sampling->device, err);
    }
    for (int i = 0; status == SUMI_OK && sampling->taken && i < sampling->n; i++)
        sampling->taken[i] = run.images[i].evaluations;
    free_memory(&run);
    return status;
}
