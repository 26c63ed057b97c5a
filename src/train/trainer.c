/*
 * The training step: levels and eps drawn, images noised, the loss mean((target - F)^2), one step
 * of Adam. In the tutorial's process t is uniform in 1..T, and the target is eps.
 *
 * t and eps of the image at position i of a batch are pure functions of (seed, step, i); loops are
 * cut into pieces of a fixed size. So neither threads nor a resume change a bit.
 */
#include "train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 65536

/* ---- The parts of a step --------------------------------------------------------------------- */

static sumi_status check_batch(const sumi_trainer *trainer, const sumi_batch *batch,
                               sumi_error *err)
{
    int timesteps = trainer->process.config.timesteps;
    if (batch->n < 1 || batch->n > trainer->config.batch)
        return sumi_fail(err, SUMI_EINVAL, "the batch has %d images, expected 1..%d", batch->n,
                         trainer->config.batch);
    if (!batch->x)
        return sumi_fail(err, SUMI_EINVAL, "the batch has no images: x is NULL");
    for (int i = 0; batch->t && i < batch->n; i++) {
        if (batch->t[i] < 1 || batch->t[i] > timesteps)
            return sumi_fail(err, SUMI_EINVAL, "t[%d] is %d, expected 1..%d", i, (int)batch->t[i],
                             timesteps);
    }
    /* Batch normalisation divides by the number of values less one. */
    int levels = trainer->model->graph.levels;
    if ((int64_t)batch->n * (batch->h >> levels) * (batch->w >> levels) == 1)
        return sumi_fail(err, SUMI_EINVAL,
                         "one image of %dx%d is a single pixel at the lowest level of the network: "
                         "batch normalisation needs two",
                         batch->h, batch->w);
    return SUMI_OK;
}

typedef struct {
    sumi_trainer *trainer;
    const sumi_batch *batch;
} drawing;

/* t, input and target of one image. */
static void draw_image(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const drawing *run = arg;
    sumi_trainer *trainer = run->trainer;
    size_t count = trainer->image_floats, at = (size_t)chunk * count;
    const sumi_process *process = &trainer->process;
    const sumi_draw draw = {.seed = trainer->config.seed,
                            .step = (uint32_t)trainer->steps,
                            .image = (uint64_t)chunk,
                            .batch = (uint64_t)run->batch->n};
    sumi_level level = run->batch->t ? sumi_level_at(process, run->batch->t[chunk])
                                     : sumi_process_draw(process, &draw);
    trainer->time[chunk] = (float)lround(level.time);
    float *eps = trainer->target + at;
    if (run->batch->noise) {
        memcpy(eps, run->batch->noise + at, count * sizeof *eps);
    } else {
        const sumi_random random = {draw.seed, SUMI_STREAM_NOISE, draw.step, draw.image};
        sumi_random_normals(&random, 0, eps, count);
    }
    sumi_process_noise(process, &level, run->batch->x + at, eps, trainer->input + at, count);
}

typedef struct {
    const sumi_trainer *trainer;
    atomic_bool finite;
} checking;

static void check_piece(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    checking *run = arg;
    sumi_piece part = sumi_piece_of(run->trainer->model->graph.params.value_count, chunk);
    if (!run->trainer->runtime->kernels->all_finite(run->trainer->gradients + part.begin,
                                                    part.count))
        atomic_store(&run->finite, false);
}

/* Says what is not finite, as near to its cause as can be told. */
static sumi_status fail_not_finite(const sumi_trainer *trainer, const sumi_batch *batch,
                                   double loss, sumi_error *err)
{
    const sumi_kernels *kernels = trainer->runtime->kernels;
    long long step = trainer->steps + 1;
    for (int i = 0; i < batch->n; i++) {
        size_t at = (size_t)i * trainer->image_floats;
        const char *what = !kernels->all_finite(batch->x + at, trainer->image_floats) ? "image"
                           : !kernels->all_finite(trainer->target + at, trainer->image_floats)
                               ? "the noise of image"
                               : NULL;
        if (what)
            return sumi_fail(err, SUMI_EINVAL,
                             "step %lld: %s %d of the batch has a value that is not finite; "
                             "nothing was updated",
                             step, what, i);
    }
    const sumi_params *params = &trainer->model->graph.params;
    for (int i = 0; i < params->count; i++) {
        const sumi_param *param = &params->items[i];
        if (sumi_param_trainable(param) &&
            !kernels->all_finite(trainer->gradients + param->offset, param->count))
            return sumi_fail(err, SUMI_EINVAL,
                             "step %lld: the loss is %g and the gradient of %s is not finite; "
                             "nothing was updated. A lower learning rate may help",
                             step, loss, param->name);
    }
    return sumi_fail(err, SUMI_EINVAL, "step %lld: the loss is %g%s; nothing was updated", step,
                     loss,
                     isfinite(loss) ? " and values are too large for the batch statistics" : "");
}

static sumi_status check_finite(const sumi_trainer *trainer, const sumi_batch *batch, double loss,
                                sumi_error *err)
{
    checking run = {.trainer = trainer};
    atomic_init(&run.finite, true);
    sumi_parallel_for(trainer->runtime->pool,
                      sumi_piece_count(trainer->model->graph.params.value_count), check_piece,
                      &run);
    if (isfinite(loss) && atomic_load(&run.finite) &&
        trainer->runtime->backend->statistics_finite(trainer->network))
        return SUMI_OK;
    return fail_not_finite(trainer, batch, loss, err);
}

typedef struct {
    sumi_trainer *trainer;
    sumi_adam adam;
    float ema_decay;
} updating;

static void update_piece(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const updating *run = arg;
    sumi_trainer *trainer = run->trainer;
    const sumi_kernels *kernels = trainer->runtime->kernels;
    const sumi_params *params = &trainer->model->graph.params;
    sumi_piece part = sumi_piece_of(params->value_count, chunk);
    kernels->adam(&run->adam, params->values + part.begin, trainer->gradients + part.begin,
                  trainer->m + part.begin, trainer->v + part.begin, part.count);
    if (trainer->ema)
        kernels->ema(trainer->ema->graph.params.values + part.begin, params->values + part.begin,
                     run->ema_decay, part.count);
}

/* Adam, then the average: ema = d ema + (1 - d) weights with d = min(decay, (1 + k) / (10 + k)) at
 * step k, so that the initial weights are forgotten soon. Running statistics are copied: they are
 * averages already. */
static void update(sumi_trainer *trainer)
{
    const sumi_params *params = &trainer->model->graph.params;
    double step = (double)(trainer->steps + 1);
    updating run = {.trainer = trainer,
                    .adam = {.learning_rate = trainer->config.learning_rate,
                             .beta1 = .9,
                             .beta2 = .999,
                             .eps = 1e-8,
                             .correction1 = 1 - pow(.9, step),
                             .correction2 = 1 - pow(.999, step)},
                    .ema_decay =
                        (float)fmin((double)trainer->config.ema, (1 + step) / (10 + step))};
    sumi_parallel_for(trainer->runtime->pool, sumi_piece_count(params->value_count), update_piece,
                      &run);
    trainer->runtime->backend->update_statistics(trainer->network, &trainer->model->graph.params);
    if (!trainer->ema)
        return;
    const sumi_params *average = &trainer->ema->graph.params;
    memcpy(average->statistics, params->statistics, params->statistic_count * sizeof(float));
    memcpy(average->counters, params->counters, params->counter_count * sizeof(int64_t));
}

/* ---- The step -------------------------------------------------------------------------------- */

sumi_status sumi_train_backward(sumi_trainer *trainer, const sumi_batch *batch, double *loss,
                                sumi_error *err)
{
    sumi_status status = check_batch(trainer, batch, err);
    if (status == SUMI_OK)
        status = sumi_train_prepare(trainer, batch->h, batch->w, err);
    if (status != SUMI_OK)
        return status;
    drawing draw = {trainer, batch};
    sumi_parallel_for(trainer->runtime->pool, batch->n, draw_image, &draw);
    const sumi_inputs in = {
        .image = trainer->input, .time = trainer->time, .target = trainer->target};
    *loss =
        trainer->runtime->backend->gradients(trainer->network, &in, batch->n, trainer->gradients);
    return SUMI_OK;
}

sumi_status sumi_train_step(sumi_trainer *trainer, const sumi_batch *batch, double *loss,
                            sumi_error *err)
{
    if (trainer->steps >= UINT32_MAX)
        return sumi_fail(err, SUMI_EINVAL, "%lld steps are as many as a seed has",
                         (long long)trainer->steps);
    double mean_squared_error;
    sumi_status status = sumi_train_backward(trainer, batch, &mean_squared_error, err);
    if (status == SUMI_OK)
        status = check_finite(trainer, batch, mean_squared_error, err);
    if (status != SUMI_OK)
        return status;
    update(trainer);
    trainer->steps++;
    sumi_model *changed[] = {trainer->model, trainer->ema};
    for (int i = 0; i < 2 && changed[i]; i++) {
        changed[i]->generation++;
        changed[i]->info.steps++;
        changed[i]->info.height = batch->h;
        changed[i]->info.width = batch->w;
    }
    if (loss)
        *loss = mean_squared_error;
    return SUMI_OK;
}

void sumi_train_gradient(const sumi_trainer *trainer, int index, float *out)
{
    sumi_param_export(&trainer->model->graph.params.items[index], trainer->gradients, out);
}

/* ---- Making and releasing -------------------------------------------------------------------- */

static sumi_status check_config(const sumi_model *model, const sumi_train_config *config,
                                sumi_error *err)
{
    if (config->batch < 1 || config->batch > BATCH_MAX)
        return sumi_fail(err, SUMI_EINVAL, "batch is %d, expected 1..%d", config->batch, BATCH_MAX);
    if (!(config->learning_rate > 0 && config->learning_rate <= 10))
        return sumi_fail(err, SUMI_EINVAL, "learning_rate is %g, expected above 0 and up to 10",
                         (double)config->learning_rate);
    if (!(config->ema >= 0 && config->ema < 1))
        return sumi_fail(err, SUMI_EINVAL, "ema is %g, expected from 0 to below 1",
                         (double)config->ema);
    if (model->info.in_channels != model->info.out_channels)
        return sumi_fail(err, SUMI_ESHAPE,
                         "the model maps %d channels to %d: predicting noise needs the same",
                         model->info.in_channels, model->info.out_channels);
    return sumi_precision_check(config->precision, err);
}

/* A second model for the averaged weights, which begins as a copy of the first. */
static sumi_status copy_model(const sumi_model *model, sumi_model **out, sumi_error *err)
{
    const sumi_model_info_t *info = &model->info;
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    config.preset = info->preset;
    config.in_channels = info->in_channels;
    config.out_channels = info->out_channels;
    config.time_dim = info->time_dim;
    config.base_channels = info->base_channels;
    config.timesteps = info->timesteps;
    config.beta_start = info->beta_start;
    config.beta_end = info->beta_end;
    sumi_status status = sumi_model_new(&config, out, err);
    if (status != SUMI_OK)
        return status;
    (*out)->process = model->process;
    sumi_train_copy_weights(*out, model);
    json_object_update((*out)->metadata, model->metadata);
    return SUMI_OK;
}

void sumi_train_copy_weights(sumi_model *to, const sumi_model *from)
{
    sumi_params *dst = &to->graph.params;
    const sumi_params *src = &from->graph.params;
    memcpy(dst->values, src->values, src->value_count * sizeof(float));
    memcpy(dst->statistics, src->statistics, src->statistic_count * sizeof(float));
    memcpy(dst->counters, src->counters, src->counter_count * sizeof(int64_t));
    to->info = from->info;
    to->seed = from->seed;
    to->seed_known = from->seed_known;
    to->generation++;
}

sumi_status sumi_train_new(sumi_runtime *runtime, sumi_model *model,
                           const sumi_train_config *config, sumi_trainer **out, sumi_error *err)
{
    sumi_status status = check_config(model, config, err);
    if (status != SUMI_OK)
        return status;
    sumi_trainer *trainer = sumi_calloc(1, sizeof *trainer);
    if (!trainer)
        return sumi_fail_memory(err, "a trainer", sizeof *trainer);
    *trainer = (sumi_trainer){.runtime = runtime,
                              .model = model,
                              .config = {.batch = config->batch,
                                         .learning_rate = config->learning_rate,
                                         .seed = config->seed,
                                         .ema = config->ema,
                                         .precision = config->precision}};
    size_t bytes = model->graph.params.value_count * sizeof(float);
    float **buffers[] = {&trainer->gradients, &trainer->m, &trainer->v};
    for (int i = 0; i < 3 && status == SUMI_OK; i++) {
        *buffers[i] = runtime->backend->alloc(runtime->device, bytes);
        if (!*buffers[i])
            status = sumi_fail_memory(err, "gradients and Adam's state", 3 * bytes);
    }
    if (status == SUMI_OK)
        status = sumi_process_init(&trainer->process, &model->process, err);
    if (status == SUMI_OK && config->ema > 0)
        status = copy_model(model, &trainer->ema, err);
    if (status != SUMI_OK) {
        sumi_train_release(trainer);
        return status;
    }
    *out = trainer;
    return SUMI_OK;
}

/* What sumi_train_prepare made. */
static void release_images(sumi_trainer *trainer)
{
    const sumi_backend *backend = trainer->runtime->backend;
    sumi_device *device = trainer->runtime->device;
    size_t bytes = (size_t)trainer->config.batch * trainer->image_floats * sizeof(float);
    backend->network_free(trainer->network);
    backend->free(device, trainer->input, bytes);
    backend->free(device, trainer->target, bytes);
    backend->free(device, trainer->time, (size_t)trainer->config.batch * sizeof(float));
    trainer->network = NULL;
    trainer->input = trainer->target = trainer->time = NULL;
    trainer->h = trainer->w = 0;
}

sumi_status sumi_train_prepare(sumi_trainer *trainer, int h, int w, sumi_error *err)
{
    if (trainer->network && trainer->h == h && trainer->w == w)
        return SUMI_OK;
    release_images(trainer);
    int64_t sizes[] = {trainer->config.batch, h, w, trainer->model->info.in_channels};
    size_t floats, bytes;
    if (h < 1 || w < 1 || !sumi_size_product(sizes, 4, &floats) ||
        !sumi_size_mul(floats, sizeof(float), &bytes))
        return sumi_fail(err, SUMI_ESHAPE, "images of %dx%d in batches of %d", h, w,
                         trainer->config.batch);
    sumi_plan_config plan = {.mode = SUMI_MODE_TRAIN,
                             .n_max = trainer->config.batch,
                             .h = h,
                             .w = w,
                             .force = -1,
                             .precision = trainer->config.precision};
    const sumi_backend *backend = trainer->runtime->backend;
    sumi_device *device = trainer->runtime->device;
    sumi_status status =
        backend->network_create(device, &trainer->model->graph, &plan, &trainer->network, err);
    if (status != SUMI_OK)
        return status;
    trainer->image_floats = floats / (size_t)trainer->config.batch;
    trainer->input = backend->alloc(device, bytes);
    trainer->target = backend->alloc(device, bytes);
    trainer->time = backend->alloc(device, (size_t)trainer->config.batch * sizeof(float));
    if (!trainer->input || !trainer->target || !trainer->time) {
        release_images(trainer);
        return sumi_fail_memory(err, "a batch of noised images", 2 * bytes);
    }
    trainer->h = h;
    trainer->w = w;
    return SUMI_OK;
}

void sumi_train_release(sumi_trainer *trainer)
{
    if (!trainer)
        return;
    release_images(trainer);
    if (trainer->ema)
        sumi_runtime_forget(trainer->runtime, trainer->ema->id);
    sumi_model_release(trainer->ema);
    size_t bytes = trainer->model->graph.params.value_count * sizeof(float);
    float *buffers[] = {trainer->gradients, trainer->m, trainer->v};
    for (int i = 0; i < 3; i++)
        trainer->runtime->backend->free(trainer->runtime->device, buffers[i], bytes);
    sumi_process_free(&trainer->process);
    free(trainer);
}
