/*
 * Sampling with a model's network: checks what was asked for, cuts the images into batches that fit
 * into memory, and binds the sampler's `predict` to the network.
 */
#include "sample/sample.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SIDE_MAX 16384
#define COUNT_MAX 1000000000
#define IMAGES_END (INT64_C(1) << 56) /* random streams number images below this */

/* One call, as the callbacks see it. */
typedef struct {
    sumi_runtime *runtime;
    const sumi_sample_config *config;
    sumi_network *network;
    float *images; /* a batch of them, where the caller has no room for all */
    size_t image_floats;
    sumi_limits limits;
    int evaluations;        /* of an image */
    int batch;              /* images evaluated together */
    int64_t done;           /* images that are whole */
    int64_t steps_before;   /* evaluations of the batches that are done */
    int64_t images_x_steps; /* evaluations so far */
    int n;                  /* images of the present batch */
    double started;
    sumi_error *err;
} sampling_call;

static sumi_status predict(void *user, const float *x, const float *times, double time, int n,
                           float *f)
{
    sampling_call *call = user;
    if (sumi_runtime_cancelled(call->runtime))
        return SUMI_CANCELLED;
    const sumi_inputs in = {.image = x, .time = times};
    call->runtime->backend->predict(call->network, &in, n, &f);
    if (call->runtime->backend->finite(call->runtime->device, f, (size_t)n * call->image_floats))
        return SUMI_OK;
    return sumi_fail(call->err, SUMI_EFORMAT,
                     "the network produced a value that is not finite at t = %g: these weights "
                     "cannot be sampled from",
                     time);
}

static int on_step(void *user, int step, const float *x_t, const float *x_0, int n)
{
    const sampling_call *call = user;
    return call->config->on_step(call->config->user, step, x_t, x_0, n);
}

static int step_done(void *user, int step)
{
    sampling_call *call = user;
    const sumi_sample_config *config = call->config;
    call->images_x_steps += call->n;
    if (!config->progress)
        return 0;
    int64_t batches = (config->count + call->batch - 1) / call->batch;
    double done = (double)call->images_x_steps, all = (double)config->count * call->evaluations;
    double elapsed = sumi_time_now() - call->started;
    sumi_progress progress = {.size = sizeof progress,
                              .phase = SUMI_PHASE_SAMPLE,
                              .step = call->steps_before + step,
                              .step_count = batches * call->evaluations,
                              .images_per_s = elapsed > 0 ? done / elapsed : 0,
                              .elapsed_s = elapsed,
                              .eta_s = elapsed * (all - done) / done,
                              .images = call->done + (step == call->evaluations ? call->n : 0)};
    return config->progress(config->user, &progress);
}

static sumi_status check_range(const char *name, int64_t value, int64_t low, int64_t high,
                               sumi_error *err)
{
    if (value >= low && value <= high)
        return SUMI_OK;
    return sumi_fail(err, SUMI_EINVAL, "%s is %" PRId64 ", expected %" PRId64 "..%" PRId64, name,
                     value, low, high);
}

static sumi_status check_sizes(const sumi_model_info_t *info, const sumi_sample_config *config,
                               const float *out, size_t out_floats, sumi_error *err)
{
    const struct {
        const char *name;
        int64_t value, low, high;
    } ranges[] = {
        {"count", config->count, 1, COUNT_MAX},
        {"height", config->height, 1, SIDE_MAX},
        {"width", config->width, 1, SIDE_MAX},
        {"steps", config->steps, 0, info->timesteps},
        {"batch", config->batch, 0, COUNT_MAX},
        {"first_index", config->first_index, 0, IMAGES_END - COUNT_MAX},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        sumi_status status =
            check_range(ranges[i].name, ranges[i].value, ranges[i].low, ranges[i].high, err);
        if (status != SUMI_OK)
            return status;
    }
    if (info->in_channels != info->out_channels)
        return sumi_fail(err, SUMI_ESHAPE,
                         "the model maps %d channels to %d: sampling needs the same",
                         info->in_channels, info->out_channels);
    int64_t sizes[] = {config->count, config->height, config->width, info->out_channels};
    size_t floats;
    if (!sumi_size_product(sizes, 4, &floats) || (out && floats > out_floats))
        return sumi_fail(err, SUMI_ESHAPE, "%d images of %dx%dx%d do not fit into %zu floats",
                         config->count, config->height, config->width, info->out_channels,
                         out_floats);
    return SUMI_OK;
}

static sumi_status find_solver(const sumi_sample_config *config, sumi_path_config *path,
                               sumi_error *err)
{
    int index;
    sumi_status status = sumi_choice_find(SUMI_CHOICE_SOLVER, config->solver, &index, err);
    if (status != SUMI_OK)
        return status;
    path->solver = sumi_solver_row(index);
    status = sumi_choice_find(SUMI_CHOICE_SPACING, config->spacing, &index, err);
    if (status != SUMI_OK)
        return status;
    path->spacing = sumi_spacing_row(index);
    bool inverse = path->solver->flags & SUMI_SOLVER_INVERSE;
    if (inverse && !config->image)
        return sumi_fail(err, SUMI_EINVAL, "%s begins at an image, and there is none",
                         path->solver->is.name);
    if (inverse && config->strength < 1)
        return sumi_fail(err, SUMI_EINVAL, "%s goes all the way to noise: strength is %g, not 1",
                         path->solver->is.name, (double)config->strength);
    if (config->image && config->start)
        return sumi_fail(err, SUMI_EINVAL, "image and start are both set, one is expected");
    return SUMI_OK;
}

static sumi_status check_given(const sumi_sample_config *config, int channels, sumi_error *err)
{
    const int shape[4] = {config->count, config->height, config->width, channels};
    sumi_status status =
        config->image ? sumi_check_finite("image", config->image, shape, err) : SUMI_OK;
    if (status == SUMI_OK && config->start)
        status = sumi_check_finite("start", config->start, shape, err);
    return status;
}

/* The levels that the caller names, as t. */
static sumi_status read_levels(const sumi_sample_config *config, const sumi_process *process,
                               double **times, sumi_error *err)
{
    *times = NULL;
    if (config->level_count == 0)
        return SUMI_OK;
    if (!config->levels || config->level_count < 0 ||
        config->level_count > process->config.timesteps)
        return sumi_fail(err, SUMI_EINVAL, "there are %d levels, expected 1..%d",
                         config->levels ? config->level_count : 0, process->config.timesteps);
    if (config->strength != 1)
        return sumi_fail(err, SUMI_EINVAL,
                         "strength and levels both say where to begin, one is expected");
    *times = sumi_calloc((size_t)config->level_count, sizeof **times);
    if (!*times)
        return sumi_fail_memory(err, "the levels of a sampling run",
                                (size_t)config->level_count * sizeof **times);
    for (int i = 0; i < config->level_count; i++) {
        double level = config->levels[i];
        if (config->levels_are_sigma && !(level > 0 && level <= 1e30))
            return sumi_fail(err, SUMI_EINVAL, "level %d has a sigma of %g, expected more than 0",
                             i, level);
        (*times)[i] = config->levels_are_sigma ? sumi_level_time(process, log(level)) : level;
    }
    return SUMI_OK;
}

static sumi_status init_path(sumi_path *path, const sumi_process *process,
                             const sumi_sample_config *config, sumi_error *err)
{
    sumi_path_config want = SUMI_PATH_CONFIG_INIT;
    double *times = NULL;
    sumi_status status = find_solver(config, &want, err);
    if (status == SUMI_OK)
        status = read_levels(config, process, &times, err);
    want.evaluations = config->steps > 0 ? config->steps : process->config.timesteps;
    want.strength = (double)config->strength;
    want.times = times;
    want.time_count = config->level_count;
    want.eta = config->eta;
    want.churn = (sumi_churn){(double)config->churn, (double)config->churn_min,
                              (double)config->churn_max, (double)config->churn_noise};
    if (status == SUMI_OK)
        status = sumi_path_init(path, process, &want, err);
    free(times);
    return status;
}

static sumi_status read_limits(const sumi_sample_config *config, const sumi_model_info_t *info,
                               sumi_limits *limits, sumi_error *err)
{
    bool clips = config->clip_low != 0 || config->clip_high != 0;
    if (clips && !(config->clip_low < config->clip_high && config->clip_low >= -1e6f &&
                   config->clip_high <= 1e6f))
        return sumi_fail(err, SUMI_EINVAL, "clip is %g to %g, expected a rising range",
                         (double)config->clip_low, (double)config->clip_high);
    if (!(config->threshold >= 0 && config->threshold <= 1))
        return sumi_fail(err, SUMI_EINVAL, "threshold is %g, expected 0..1",
                         (double)config->threshold);
    *limits = (sumi_limits){.wanted = clips || config->threshold > 0,
                            .low = clips ? config->clip_low : info->range_lo,
                            .high = clips ? config->clip_high : info->range_hi,
                            .share = (double)config->threshold};
    return SUMI_OK;
}

/* Never changes a bit of the result. */
static int choose_batch(const sumi_sample_config *config)
{
    int batch =
        config->batch > 0 ? config->batch : sumi_images_at_a_time(config->height, config->width);
    return batch < config->count ? batch : config->count;
}

static sumi_status draw_batches(sampling_call *call, sumi_sampling *sampling, float *out)
{
    const sumi_sample_config *config = call->config;
    sumi_status status = SUMI_OK;
    while (call->done < config->count && status == SUMI_OK) {
        int64_t left = config->count - call->done;
        size_t offset = (size_t)call->done * call->image_floats;
        sampling->n = call->n = left < call->batch ? (int)left : call->batch;
        sampling->first_image = config->first_index + call->done;
        sampling->noise = config->noise ? config->noise + offset : NULL;
        sampling->image = config->image ? config->image + offset : NULL;
        sampling->start = config->start ? config->start + offset : NULL;
        float *images = out ? out + offset : call->images;
        status = sumi_sampling_run(sampling, images, call->err);
        if (status == SUMI_OK) {
            for (int i = 0; config->evaluations && i < call->n; i++)
                config->evaluations[call->done + i] = call->evaluations;
            call->done += call->n;
            if (config->on_images &&
                config->on_images(config->user, call->done - call->n, images, call->n))
                status = SUMI_CANCELLED;
        }
        call->steps_before += call->evaluations;
    }
    if (status == SUMI_CANCELLED)
        sumi_fail(call->err, SUMI_CANCELLED, "cancelled: %" PRId64 " of %d images are whole",
                  call->done, config->count);
    return status;
}

static sumi_status sample_path(sampling_call *call, const sumi_model *model, const sumi_path *path,
                               float *out)
{
    const sumi_sample_config *config = call->config;
    const sumi_predictor want = {.n_max = call->batch,
                                 .h = config->height,
                                 .w = config->width,
                                 .precision = config->precision};
    sumi_status status =
        sumi_runtime_predictor(call->runtime, model, &want, &call->network, call->err);
    size_t floats = (size_t)call->batch * call->image_floats;
    if (status == SUMI_OK && !out) {
        call->images = sumi_calloc(floats, sizeof *call->images);
        if (!call->images)
            status = sumi_fail_memory(call->err, "a batch of images", floats * sizeof *out);
    }
    sumi_sampling sampling = {.path = path,
                              .limits = call->limits,
                              .count = call->image_floats,
                              .seed = config->seed,
                              .noise_stride = (size_t)config->count * call->image_floats,
                              .backend = call->runtime->backend,
                              .device = call->runtime->device,
                              .predict = predict,
                              .on_step = config->on_step ? on_step : NULL,
                              .step_done = step_done,
                              .user = call};
    if (status == SUMI_OK)
        status = draw_batches(call, &sampling, out);
    free(call->images);
    return status;
}

sumi_status sumi_sample_run(sumi_runtime *runtime, const sumi_model *model,
                            const sumi_sample_config *config, float *out, size_t out_floats,
                            sumi_error *err)
{
    const sumi_model_info_t *info = &model->info;
    sumi_process process = {0};
    sumi_path path = {0};
    sampling_call call = {
        .runtime = runtime, .config = config, .started = sumi_time_now(), .err = err};
    sumi_status status = check_sizes(info, config, out, out_floats, err);
    if (status == SUMI_OK)
        status = check_given(config, info->out_channels, err);
    if (status == SUMI_OK)
        status = read_limits(config, info, &call.limits, err);
    if (status == SUMI_OK)
        status = sumi_process_init(&process, &model->process, err);
    if (status == SUMI_OK)
        status = init_path(&path, &process, config, err);
    if (status == SUMI_OK) {
        call.image_floats =
            (size_t)config->height * (size_t)config->width * (size_t)info->out_channels;
        call.batch = choose_batch(config);
        call.evaluations = path.evaluations;
        status = sample_path(&call, model, &path, out);
    }
    sumi_path_free(&path);
    sumi_process_free(&process);
    return status;
}
