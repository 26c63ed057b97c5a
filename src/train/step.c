/*
 * The training step: levels and eps drawn, images noised, the loss mean((target - F)^2), one step
 * of an optimiser. In the tutorial's process t is uniform in 1..T, and the target is eps.
 *
 * t and eps of the image at position i of a batch are pure functions of (seed, step, i); loops are
 * cut into pieces of a fixed size. So neither threads nor a resume change a bit.
 */
#include "train/train.h"

#include <math.h>
#include <string.h>

/* ---- Draw ------------------------------------------------------------------------------------ */

static sumi_status check_batch(const sumi_trainer *trainer, const sumi_batch *batch,
                               sumi_error *err)
{
    int timesteps = trainer->process.config.timesteps;
    if (trainer->steps >= UINT32_MAX)
        return sumi_fail(err, SUMI_EINVAL, "%lld steps are as many as a seed has",
                         (long long)trainer->steps);
    if (batch->n < 1 || batch->n > trainer->config.batch)
        return sumi_fail(err, SUMI_EINVAL, "the batch has %d images, expected 1..%d", batch->n,
                         trainer->config.batch);
    if (!batch->x)
        return sumi_fail(err, SUMI_EINVAL, "the batch has no images: x is NULL");
    if (!trainer->network || batch->h != trainer->h || batch->w != trainer->w)
        return sumi_fail(err, SUMI_ESHAPE, "the batch is of %dx%d, the trainer was begun for %dx%d",
                         batch->h, batch->w, trainer->h, trainer->w);
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
    trainer->time[chunk] = (float)level.time;
    float *eps = trainer->target + at;
    if (run->batch->noise) {
        memcpy(eps, run->batch->noise + at, count * sizeof *eps);
    } else {
        const sumi_random random = {draw.seed, SUMI_STREAM_NOISE, draw.step, draw.image};
        sumi_random_normals(&random, 0, eps, count);
    }
    sumi_process_noise(process, &level, run->batch->x + at, eps, trainer->input + at, count);
}

static sumi_status draw(sumi_trainer *trainer, const sumi_batch *batch, sumi_error *err)
{
    sumi_status status = check_batch(trainer, batch, err);
    drawing run = {trainer, batch};
    if (status == SUMI_OK)
        sumi_parallel_for(trainer->runtime->pool, batch->n, draw_image, &run);
    return status;
}

/* ---- Gradients ------------------------------------------------------------------------------- */

/* Returns the loss. */
static double gradients(const sumi_trainer *trainer, int n)
{
    const sumi_inputs in = {
        .image = trainer->input, .time = trainer->time, .target = trainer->target};
    return trainer->runtime->backend->gradients(trainer->network, &in, n, trainer->gradients);
}

/* ---- Check ----------------------------------------------------------------------------------- */

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

static sumi_status check(const sumi_trainer *trainer, const sumi_batch *batch, double loss,
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

/* ---- Update ---------------------------------------------------------------------------------- */

typedef struct {
    sumi_update update;
    const sumi_averages *averages;
} updating;

/* The averages take a piece while it is in cache. */
static void update_piece(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const updating *run = arg;
    sumi_piece part = sumi_piece_of(run->update.optimiser->count, chunk);
    run->update.optimiser->row->update(&run->update, part);
    sumi_averages_add(run->averages, &run->update, part);
}

static void count_step(sumi_model *model, const sumi_batch *batch)
{
    model->generation++;
    model->info.steps++;
    model->info.height = batch->h;
    model->info.width = batch->w;
}

/* The optimiser, then the averages. */
static void update(sumi_trainer *trainer, const sumi_batch *batch)
{
    sumi_params *params = &trainer->model->graph.params;
    int64_t step = trainer->steps + 1;
    updating run = {.update = {.kernels = trainer->runtime->kernels,
                               .optimiser = &trainer->optimiser,
                               .weights = params->values,
                               .gradients = trainer->gradients,
                               .rate = sumi_learning_rate(&trainer->config, step),
                               .weight_decay = (double)trainer->config.weight_decay,
                               .step = step},
                    .averages = &trainer->averages};
    sumi_parallel_for(trainer->runtime->pool, sumi_piece_count(params->value_count), update_piece,
                      &run);
    trainer->runtime->backend->update_statistics(trainer->network, params);
    sumi_averages_take_statistics(&trainer->averages, params);
    trainer->steps = step;
    count_step(trainer->model, batch);
    for (int i = 0; i < trainer->averages.count; i++)
        count_step(trainer->averages.model[i], batch);
}

/* ---- The step -------------------------------------------------------------------------------- */

sumi_status sumi_train_backward(sumi_trainer *trainer, const sumi_batch *batch, double *loss,
                                sumi_error *err)
{
    sumi_status status = draw(trainer, batch, err);
    if (status == SUMI_OK)
        *loss = gradients(trainer, batch->n);
    return status;
}

sumi_status sumi_train_step(sumi_trainer *trainer, const sumi_batch *batch, double *loss,
                            sumi_error *err)
{
    sumi_status status = draw(trainer, batch, err);
    if (status != SUMI_OK)
        return status;
    double mean_squared_error = gradients(trainer, batch->n);
    status = check(trainer, batch, mean_squared_error, err);
    if (status != SUMI_OK)
        return status;
    update(trainer, batch);
    if (loss)
        *loss = mean_squared_error;
    return SUMI_OK;
}

void sumi_train_gradient(const sumi_trainer *trainer, int index, float *out)
{
    sumi_param_export(&trainer->model->graph.params.items[index], trainer->gradients, out);
}
