/*
 * Sampling with a model's network: cuts the images into batches that fit into memory, binds the
 * sampler's `predict` to the networks (guidance.c), and makes the noise between two images.
 */
#include "sample/guidance.h"
#include "sample/settings.h"
#include "sample/share.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One call, as the callbacks see it. */
typedef struct {
    sumi_runtime *runtime;
    const sumi_sample_config *config;
    sumi_asking asking;
    float *images; /* a batch of them, where the caller has no room for all */
    /* NULL, or how the network is told of images; then, a batch of each: those that are given, and
     * what the caller looks at on the way. */
    const sumi_standard *standard;
    float *given, *seen, *seen_x_0;
    size_t image_floats;
    sumi_limits limits;
    int evaluations;        /* of an image; the most of them where `varies` */
    bool varies;            /* each image takes its own number */
    float *mask;            /* [batch][image_floats] */
    int jump;               /* steps that go back at a time */
    float *ends;            /* noise of the two images between which others lie */
    int batch;              /* images evaluated together */
    sumi_share share;       /* with other ranks, each of which has a batch of its own at a time */
    int64_t first;          /* of the call's images: the first of the present batch */
    int64_t done;           /* images that are whole */
    int64_t steps_before;   /* evaluations of the batches that are done */
    int64_t images_x_steps; /* predictions so far */
    int n;                  /* images of the present batch */
    double started;
    sumi_error *err;
} sampling_call;

static sumi_status predict(void *user, const float *x, const float *times, double time, int n,
                           float *f)
{
    sampling_call *call = user;
    return sumi_asking_predict(&call->asking, x, times, time, n, f);
}

static int on_step(void *user, int step, const float *x_t, const float *x_0, int n)
{
    const sampling_call *call = user;
    if (call->standard) {
        size_t floats = (size_t)n * call->image_floats;
        sumi_standard_undo(call->standard, x_t, call->seen, floats);
        sumi_standard_undo(call->standard, x_0, call->seen_x_0, floats);
        x_t = call->seen;
        x_0 = call->seen_x_0;
    }
    return call->config->on_step(call->config->user, step, x_t, x_0, n);
}

static int step_done(void *user, int step)
{
    sampling_call *call = user;
    const sumi_sample_config *config = call->config;
    int together = sumi_share_images(&call->share, config->count - call->done, call->batch);
    call->images_x_steps += together;
    if (!config->progress)
        return 0;
    int64_t at_a_time = (int64_t)call->batch * sumi_share_ranks(&call->share);
    int64_t batches = (config->count + at_a_time - 1) / at_a_time;
    double done = (double)call->images_x_steps, all = (double)config->count * call->evaluations;
    bool whole = !call->varies && step == call->evaluations && !call->share.ranks;
    double elapsed = sumi_time_now() - call->started;
    double evaluations = (double)call->asking.evaluations * sumi_share_ranks(&call->share);
    sumi_progress progress = {.size = sizeof progress,
                              .phase = SUMI_PHASE_SAMPLE,
                              .step = call->steps_before + step,
                              .step_count = call->varies ? 0 : batches * call->evaluations,
                              .images_per_s = elapsed > 0 ? evaluations / elapsed : 0,
                              .elapsed_s = elapsed,
                              .eta_s = call->varies ? -1 : elapsed * (all - done) / done,
                              .images = call->done + (whole ? call->n : 0)};
    return config->progress(config->user, &progress);
}

/* Never changes a bit of the result. With and without label are evaluated together. */
static int choose_batch(const sumi_sample_config *config)
{
    int batch = sumi_images_at_a_time(config->height, config->width);
    if (config->guidance != 1 && !config->guide)
        batch = (batch + 1) / 2;
    if (config->batch > 0)
        batch = config->batch;
    return batch < config->count ? batch : config->count;
}

/* ---- Between two images ---------------------------------------------------------------------- */

static double product(const float *a, const float *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* On the great circle from one image's noise to another's (Shoemake 1985), which keeps its length:
 * a straight line would pass through noise that is too small. */
static void make_noise(void *user, const sumi_random *address, int n, float *z)
{
    const sampling_call *call = user;
    size_t count = call->image_floats;
    float *a = call->ends, *b = call->ends + count;
    sumi_random at = *address;
    at.image = (uint64_t)call->config->first_index;
    sumi_random_normals(&at, 0, a, count);
    at.image = (uint64_t)call->config->to_index;
    sumi_random_normals(&at, 0, b, count);
    double lengths = sqrt(product(a, a, count) * product(b, b, count));
    double cosine = lengths > 0 ? product(a, b, count) / lengths : 1;
    double angle = acos(fmax(-1, fmin(1, cosine)));
    for (int i = 0; i < n; i++) {
        int last = call->config->count - 1;
        double share = last > 0 ? (double)(call->first + i) / last : 0;
        double by_a = 1 - share, by_b = share;
        if (share > 0 && share < 1 && sin(angle) > 1e-6) {
            by_a = sin(by_a * angle) / sin(angle);
            by_b = sin(by_b * angle) / sin(angle);
        }
        for (size_t k = 0; k < count; k++)
            z[(size_t)i * count + k] = (float)(by_a * (double)a[k] + by_b * (double)b[k]);
    }
}

/* ---- Batches --------------------------------------------------------------------------------- */

/* A batch of the caller's images as the network is told of them; there is one kind of them in a
 * call. */
static const float *told(const sampling_call *call, const float *images)
{
    if (!call->standard)
        return images;
    sumi_standard_apply(call->standard, images, call->given, (size_t)call->n * call->image_floats);
    return call->given;
}

/* The call's images from call->first on, call->n of them. */
static sumi_status draw_batch(sampling_call *call, sumi_sampling *sampling, float *images,
                              int *taken)
{
    const sumi_sample_config *config = call->config;
    size_t offset = (size_t)call->first * call->image_floats;
    sampling->n = call->n;
    sampling->first_image = config->first_index + call->first;
    sampling->noise = config->noise ? config->noise + offset : NULL;
    sampling->image = config->image ? told(call, config->image + offset) : NULL;
    sampling->start = config->start ? told(call, config->start + offset) : NULL;
    sumi_asking_labels(&call->asking, config->labels ? config->labels + call->first : NULL,
                       call->n);
    sampling->taken = taken;
    sumi_status status = sumi_sampling_run(sampling, images, call->err);
    if (call->standard)
        sumi_standard_undo(call->standard, images, images, (size_t)call->n * call->image_floats);
    return status;
}

/* Draws the next batch, or with other ranks one each; *images: all of them, where this rank has
 * them. */
static sumi_status draw_next(sampling_call *call, sumi_sampling *sampling, float *out,
                             float **images)
{
    const sumi_sample_config *config = call->config;
    int64_t left = config->count - call->done;
    int *taken = config->evaluations ? config->evaluations + call->done : NULL;
    float *all = out ? out + (size_t)call->done * call->image_floats : call->images;
    sumi_status status = SUMI_OK;
    call->n = sumi_share_mine(&call->share, left, call->batch, &call->first);
    call->first += call->done;
    *images = all;
    if (!call->share.ranks)
        return draw_batch(call, sampling, all, taken);
    if (call->n > 0)
        status = draw_batch(call, sampling, call->images, call->share.taken);
    status = sumi_ranks_meet(call->share.ranks, status, call->err);
    if (status == SUMI_OK)
        *images = sumi_share_collect(&call->share, left, call->batch, call->images,
                                     out ? all : NULL, taken);
    return status;
}

static sumi_status draw_batches(sampling_call *call, sumi_sampling *sampling, float *out)
{
    const sumi_sample_config *config = call->config;
    sumi_status status = SUMI_OK;
    while (call->done < config->count && status == SUMI_OK) {
        int n = sumi_share_images(&call->share, config->count - call->done, call->batch);
        float *images;
        status = draw_next(call, sampling, out, &images);
        if (status == SUMI_OK) {
            call->done += n;
            if (config->on_images && sumi_share_leads(&call->share) &&
                config->on_images(config->user, call->done - n, images, n))
                status = SUMI_CANCELLED;
            status = sumi_ranks_meet(call->share.ranks, status, call->err);
        }
        call->steps_before += call->evaluations;
    }
    if (status == SUMI_CANCELLED)
        sumi_fail(call->err, SUMI_CANCELLED, "cancelled: %" PRId64 " of %d images are whole",
                  call->done, config->count);
    return status;
}

/* The host's memory of a call. */
static sumi_status add_memory(sampling_call *call, const float *out)
{
    const sumi_sample_config *config = call->config;
    size_t floats = (size_t)call->batch * call->image_floats;
    size_t pixels = (size_t)config->height * (size_t)config->width;
    bool ok = true;
    if (!out || call->share.ranks)
        ok = (call->images = sumi_calloc(floats, sizeof *call->images)) != NULL;
    if (ok && config->mask)
        ok = (call->mask = sumi_calloc(floats, sizeof *call->mask)) != NULL;
    if (ok && config->to_index >= 0)
        ok = (call->ends = sumi_calloc(2, call->image_floats * sizeof *call->ends)) != NULL;
    if (ok && call->standard && (config->image || config->start))
        ok = (call->given = sumi_calloc(floats, sizeof *call->given)) != NULL;
    if (ok && call->standard && config->on_step) {
        ok = (call->seen = sumi_calloc(2, floats * sizeof *call->seen)) != NULL;
        call->seen_x_0 = ok ? call->seen + floats : NULL;
    }
    if (!ok)
        return sumi_fail_memory(call->err, "a batch of images", floats * sizeof *out);
    for (size_t i = 0; call->mask && i < floats; i++)
        call->mask[i] = config->mask[i % call->image_floats / (call->image_floats / pixels)];
    return SUMI_OK;
}

static sumi_status sample_path(sampling_call *call, const sumi_model *model, const sumi_path *path,
                               float *out)
{
    const sumi_sample_config *config = call->config;
    call->asking = (sumi_asking){
        .runtime = call->runtime, .process = path->process, .config = config, .err = call->err};
    sumi_status status = sumi_asking_init(&call->asking, model, call->batch, call->image_floats);
    if (status == SUMI_OK)
        status = add_memory(call, out);
    if (status == SUMI_OK)
        status = sumi_share_begin(&call->share, call->batch, call->image_floats, call->err);
    status = sumi_ranks_meet(call->share.ranks, status, call->err);
    sumi_sampling sampling = {.path = path,
                              .limits = call->limits,
                              .mask = call->mask,
                              .visits = config->mask_visits,
                              .jump = call->jump,
                              .make_noise = config->to_index >= 0 ? make_noise : NULL,
                              .count = call->image_floats,
                              .seed = config->seed,
                              .noise_stride = (size_t)config->count * call->image_floats,
                              .backend = call->runtime->backend,
                              .device = call->runtime->device,
                              .predict = predict,
                              .cost = call->asking.cost,
                              .on_step = config->on_step ? on_step : NULL,
                              .step_done = step_done,
                              .user = call};
    if (status == SUMI_OK)
        status = draw_batches(call, &sampling, out);
    sumi_asking_free(&call->asking);
    sumi_share_end(&call->share);
    free(call->images);
    free(call->mask);
    free(call->ends);
    free(call->given);
    free(call->seen);
    return status;
}

static sumi_status check_labels(const sumi_sample_config *config, const sumi_model *model,
                                sumi_error *err)
{
    int classes = model->graph.classes;
    if (config->labels && model->graph.labels < 0)
        return sumi_fail(err, SUMI_EINVAL, "this model was trained without labels: it has none");
    for (int i = 0; config->labels && i < config->count; i++)
        if (config->labels[i] < -1 || config->labels[i] >= classes)
            return sumi_fail(err, SUMI_EINVAL, "labels[%d] is %d, expected -1..%d", i,
                             (int)config->labels[i], classes - 1);
    return SUMI_OK;
}

/* How many predictions the images will take. */
static sumi_status count_evaluations(sampling_call *call, const sumi_path *path)
{
    int visits = call->config->mask ? call->config->mask_visits : 1;
    int64_t evaluations;
    int jump = call->config->mask_jump > 0 ? call->config->mask_jump : path->steps / 25;
    call->jump = jump > 0 ? jump : 1;
    if (!sumi_sampling_evaluations(path, visits, call->jump, &evaluations))
        return sumi_fail_memory(call->err, "the order of steps", (size_t)path->steps * sizeof(int));
    if (evaluations > INT_MAX)
        return sumi_fail(call->err, SUMI_EINVAL, "%" PRId64 " evaluations of an image are too many",
                         evaluations);
    call->evaluations = (int)evaluations;
    call->varies = path->solver->flags & SUMI_SOLVER_ADAPTIVE;
    return SUMI_OK;
}

sumi_status sumi_sample_run(sumi_runtime *runtime, const sumi_model *model,
                            const sumi_sample_config *config, float *out, size_t out_floats,
                            sumi_error *err)
{
    const sumi_model_info_t *info = &model->info;
    sumi_process process = {0};
    sumi_path path = {0};
    sumi_sample_config full = *config;
    sumi_sample_complete(model, &full);
    config = &full;
    sampling_call call = {.runtime = runtime,
                          .config = config,
                          .standard = model->standard.channels > 0 ? &model->standard : NULL,
                          .started = sumi_time_now(),
                          .err = err};
    sumi_status status = sumi_sample_check(config, info, out, out_floats, err);
    if (status == SUMI_OK)
        status = check_labels(config, model, err);
    if (status == SUMI_OK)
        status = sumi_guidance_check(config, model, err);
    if (status == SUMI_OK)
        status = sumi_sample_limits(config, info, &call.limits, err);
    call.limits.standard = call.standard;
    if (status == SUMI_OK)
        status = sumi_process_init(&process, &model->process, err);
    if (status == SUMI_OK)
        status = sumi_sample_path(&path, &process, config, err);
    if (status == SUMI_OK)
        status = count_evaluations(&call, &path);
    call.share.ranks = sumi_share_of(runtime, config);
    if (call.share.ranks)
        status = sumi_share_agree(runtime, model, config, status, err);
    if (status == SUMI_OK) {
        call.image_floats =
            (size_t)config->height * (size_t)config->width * (size_t)info->out_channels;
        call.batch =
            sumi_share_batch(&call.share, choose_batch(config), config->count, call.image_floats);
        status = sample_path(&call, model, &path, out);
    }
    sumi_path_free(&path);
    sumi_process_free(&process);
    return status;
}
