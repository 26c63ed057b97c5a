/*
 * What a context owns for computing: threads, a kernel table, and the few networks that were used
 * last, so that predicting again with the same model and size plans and packs nothing.
 */
#include "models/models.h"

sumi_status sumi_runtime_init_on(sumi_runtime *runtime, const sumi_backend *backend, int threads,
                                 const char *isa, sumi_error *err)
{
    const sumi_device_config config = {.threads = threads, .isa = isa};
    return sumi_runtime_init_device(runtime, backend, &config, err);
}

sumi_status sumi_runtime_init_device(sumi_runtime *runtime, const sumi_backend *backend,
                                     const sumi_device_config *config, sumi_error *err)
{
    *runtime = (sumi_runtime){.backend = backend};
    atomic_init(&runtime->cancel, 0);
    return backend->open(config, &runtime->device, err);
}

sumi_status sumi_runtime_init(sumi_runtime *runtime, int threads, const char *isa, sumi_error *err)
{
    return sumi_runtime_init_on(runtime, sumi_backend_at(0), threads, isa, err);
}

static void drop(const sumi_runtime *runtime, sumi_cached_network *cached)
{
    runtime->backend->network_free(cached->network);
    sumi_mirror_free(runtime, &cached->mirror);
    *cached = (sumi_cached_network){0};
}

void sumi_runtime_free(sumi_runtime *runtime)
{
    if (!runtime->device)
        return;
    for (int i = 0; i < SUMI_CACHED_NETWORKS; i++)
        drop(runtime, &runtime->cache[i]);
    runtime->backend->close(runtime->device);
    runtime->device = NULL;
}

void sumi_runtime_forget(sumi_runtime *runtime, uint64_t model_id)
{
    for (int i = 0; i < SUMI_CACHED_NETWORKS; i++)
        if (runtime->cache[i].model_id == model_id)
            drop(runtime, &runtime->cache[i]);
}

bool sumi_runtime_cancelled(const sumi_runtime *runtime)
{
    return atomic_load(&runtime->cancel) != 0;
}

static bool fits(const sumi_cached_network *cached, const sumi_model *model,
                 const sumi_predictor *want)
{
    const sumi_plan_config *has = &cached->config;
    return cached->network && cached->model_id == model->id && has->n_max >= want->n_max &&
           has->h == want->h && has->w == want->w && has->precision == want->precision;
}

/* In place of what the slot holds, which stays where this fails. */
static sumi_status fill_slot(const sumi_runtime *runtime, const sumi_model *model,
                             const sumi_predictor *want, sumi_cached_network *slot, sumi_error *err)
{
    sumi_cached_network made = {.model_id = model->id,
                                .generation = model->generation,
                                .config = {.mode = SUMI_MODE_PREDICT,
                                           .n_max = want->n_max,
                                           .h = want->h,
                                           .w = want->w,
                                           .force = -1,
                                           .timesteps = model->info.timesteps,
                                           .precision = want->precision}};
    sumi_status status = sumi_mirror_init(runtime, model, &made.mirror, err);
    if (status == SUMI_OK)
        status = runtime->backend->network_create(runtime->device, &model->graph, &made.mirror.at,
                                                  &made.config, &made.network, err);
    if (status != SUMI_OK) {
        sumi_mirror_free(runtime, &made.mirror);
        return status;
    }
    drop(runtime, slot);
    *slot = made;
    return SUMI_OK;
}

sumi_status sumi_runtime_predictor(sumi_runtime *runtime, const sumi_model *model,
                                   const sumi_predictor *want, sumi_network **out, sumi_error *err)
{
    sumi_cached_network *slot = &runtime->cache[0];
    for (int i = 0; i < SUMI_CACHED_NETWORKS; i++) {
        sumi_cached_network *cached = &runtime->cache[i];
        if (fits(cached, model, want)) {
            slot = cached;
            break;
        }
        if (cached->used < slot->used)
            slot = cached;
    }
    if (!fits(slot, model, want)) {
        sumi_status status = fill_slot(runtime, model, want, slot, err);
        if (status != SUMI_OK)
            return status;
    }
    if (slot->generation != model->generation) {
        sumi_model_fetch(model);
        sumi_mirror_push(runtime, &slot->mirror);
        runtime->backend->weights_changed(slot->network);
        slot->generation = model->generation;
    }
    slot->used = ++runtime->clock;
    *out = slot->network;
    return SUMI_OK;
}

int sumi_images_at_a_time(int height, int width)
{
    int64_t fits = (int64_t)SUMI_IMAGES_AT_A_TIME_MAX * 32 * 32 / ((int64_t)height * width);
    return fits < 1 ? 1 : fits > SUMI_IMAGES_AT_A_TIME_MAX ? SUMI_IMAGES_AT_A_TIME_MAX : (int)fits;
}
