/*
 * What a context owns for computing: threads, a kernel table, and the few networks that were used
 * last, so that predicting again with the same model and size plans and packs nothing.
 */
#include "models/models.h"

#include "cpu/cpu.h"

sumi_status sumi_runtime_init_on(sumi_runtime *runtime, const sumi_backend *backend, int threads,
                                 const char *isa, sumi_error *err)
{
    *runtime = (sumi_runtime){.backend = backend};
    atomic_init(&runtime->cancel, 0);
    sumi_status status = backend->open(threads, isa, &runtime->device, err);
    if (status != SUMI_OK)
        return status;
    runtime->pool = sumi_cpu_pool(runtime->device);
    runtime->kernels = sumi_cpu_kernels(runtime->device);
    return SUMI_OK;
}

sumi_status sumi_runtime_init(sumi_runtime *runtime, int threads, const char *isa, sumi_error *err)
{
    return sumi_runtime_init_on(runtime, sumi_cpu_backend(), threads, isa, err);
}

static void drop(const sumi_runtime *runtime, sumi_cached_network *cached)
{
    runtime->backend->network_free(cached->network);
    *cached = (sumi_cached_network){0};
}

void sumi_runtime_close(sumi_runtime *runtime)
{
    if (!runtime->device)
        return;
    for (int i = 0; i < SUMI_CACHED_NETWORKS; i++)
        drop(runtime, &runtime->cache[i]);
    runtime->backend->close(runtime->device);
    runtime->device = NULL;
    runtime->pool = NULL;
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
           has->h == want->h && has->w == want->w && has->precision == want->precision &&
           (has->timesteps == 0) == want->any_time;
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
        sumi_plan_config config = {.mode = SUMI_MODE_PREDICT,
                                   .n_max = want->n_max,
                                   .h = want->h,
                                   .w = want->w,
                                   .force = -1,
                                   .timesteps = want->any_time ? 0 : model->info.timesteps,
                                   .precision = want->precision};
        sumi_network *network;
        sumi_status status = runtime->backend->network_create(runtime->device, &model->graph,
                                                              &config, &network, err);
        if (status != SUMI_OK)
            return status;
        drop(runtime, slot);
        *slot = (sumi_cached_network){.network = network,
                                      .model_id = model->id,
                                      .generation = model->generation,
                                      .config = config};
    }
    if (slot->generation != model->generation) {
        runtime->backend->weights_changed(slot->network);
        slot->generation = model->generation;
    }
    slot->used = ++runtime->clock;
    *out = slot->network;
    return SUMI_OK;
}
