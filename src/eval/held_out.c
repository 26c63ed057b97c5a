/*
 * Held-out loss and bits per dimension of a model's network.
 */
#include "eval/internal.h"
#include "models/models.h"

/* The network, and a batch in the memory of its device. */
typedef struct {
    sumi_runtime *runtime;
    sumi_network *network;
    size_t count; /* floats of an image */
    int most;
    float *images, *times, *out;
    sumi_error *err;
} asking;

static sumi_status answer(void *user, const float *x, const float *times, int n, float *f)
{
    asking *ask = user;
    const sumi_backend *backend = ask->runtime->backend;
    sumi_device *device = ask->runtime->device;
    const sumi_inputs in = {.image = ask->images, .time = ask->times};
    size_t bytes = (size_t)n * ask->count * sizeof(float);
    if (sumi_runtime_cancelled(ask->runtime))
        return sumi_fail(ask->err, SUMI_CANCELLED, "the evaluation was cancelled");
    backend->upload(device, ask->images, x, bytes);
    backend->upload(device, ask->times, times, (size_t)n * sizeof(float));
    backend->predict(ask->network, &in, n, &ask->out);
    bool finite = backend->finite(device, ask->out, (size_t)n * ask->count);
    sumi_status status = backend->status(device, ask->err);
    if (status != SUMI_OK)
        return status;
    if (!finite)
        return sumi_fail(ask->err, SUMI_EFORMAT,
                         "the network produced a value that is not finite: these weights cannot "
                         "be evaluated");
    backend->download(device, f, ask->out, bytes);
    return SUMI_OK;
}

static float *get(const asking *ask, size_t floats)
{
    return ask->runtime->backend->alloc(ask->runtime->device,
                                        (size_t)ask->most * floats * sizeof(float));
}

static void give_back(const asking *ask, float *memory, size_t floats)
{
    ask->runtime->backend->free(ask->runtime->device, memory,
                                (size_t)ask->most * floats * sizeof(float));
}

static sumi_status measure(const asking *ask, sumi_likelihood *of, const sumi_held_out *config,
                           sumi_eval_report *report, sumi_error *err)
{
    int64_t n = of->n;
    sumi_status status = SUMI_OK;
    if (!ask->images || !ask->times || !ask->out)
        return sumi_fail_memory(err, "a batch of predictions",
                                (size_t)ask->most * ask->count * sizeof(float));
    of->n = config->loss_images < n ? config->loss_images : n;
    if (of->n > 0) {
        status = sumi_eval_losses(of, config->bins, report->loss, err);
        report->loss_bins = status == SUMI_OK ? config->bins : 0;
    }
    of->n = config->bits_images < n ? config->bits_images : n;
    if (of->n > 0 && status == SUMI_OK)
        status = sumi_eval_bits(of, config->strata, &report->bits, err);
    return status;
}

static sumi_status check(const sumi_model *model, const sumi_eval_set *set, sumi_error *err)
{
    sumi_status status = sumi_eval_check(set, err);
    if (status == SUMI_OK && !set->images)
        return sumi_fail(err, SUMI_EINVAL, "%s: there are no images", set->name);
    if (status == SUMI_OK &&
        (set->c != model->info.in_channels || set->c != model->info.out_channels))
        return sumi_fail(err, SUMI_ESHAPE, "%s has pictures of %d channels, the model is of %d",
                         set->name, set->c, model->info.in_channels);
    return status;
}

sumi_status sumi_eval_held_out(sumi_runtime *runtime, const sumi_model *model,
                               const sumi_eval_set *set, const sumi_held_out *config,
                               sumi_eval_report *report, sumi_error *err)
{
    sumi_status status = check(model, set, err);
    if (status != SUMI_OK)
        return status;
    float low = model->info.range_lo, high = model->info.range_hi;
    int64_t n =
        config->loss_images > config->bits_images ? config->loss_images : config->bits_images;
    n = n < set->n ? n : set->n;
    asking ask = {.runtime = runtime,
                  .count = (size_t)set->h * (size_t)set->w * (size_t)set->c,
                  .most = sumi_images_at_a_time(set->h, set->w),
                  .err = err};
    float *images = sumi_calloc((size_t)n * ask.count, sizeof *images);
    sumi_process process = {0};
    const sumi_standard *standard = model->standard.channels > 0 ? &model->standard : NULL;
    const sumi_predictor want = {
        .n_max = ask.most, .h = set->h, .w = set->w, .precision = config->precision};
    if (!images)
        return sumi_fail_memory(err, "held-out pictures", (size_t)n * ask.count * sizeof *images);
    for (size_t k = 0; k < (size_t)n * ask.count; k++)
        images[k] = low + (high - low) * ((float)set->images[k] / 255);
    status = sumi_process_init(&process, &model->process, err);
    if (status == SUMI_OK)
        status = sumi_runtime_predictor(runtime, model, &want, &ask.network, err);
    if (status == SUMI_OK) {
        sumi_likelihood of = {&process,     images,   n,      ask.count, low,     high,
                              config->seed, ask.most, answer, &ask,      standard};
        ask.images = get(&ask, ask.count);
        ask.out = get(&ask, ask.count);
        ask.times = get(&ask, 1);
        status = measure(&ask, &of, config, report, err);
        give_back(&ask, ask.images, ask.count);
        give_back(&ask, ask.out, ask.count);
        give_back(&ask, ask.times, 1);
    }
    sumi_process_free(&process);
    free(images);
    return status;
}
