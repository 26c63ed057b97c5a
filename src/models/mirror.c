/*
 * A model's parameters in the memory of a device. Where the device computes in the host's memory
 * they are the model's own, and nothing here moves a byte.
 */
#include "models/models.h"

static float *mirror_buffer(const sumi_runtime *runtime, float *host, size_t bytes)
{
    return bytes ? runtime->backend->mirror(runtime->device, host, bytes) : NULL;
}

sumi_status sumi_mirror_init_params(const sumi_runtime *runtime, const sumi_params *params,
                                    sumi_mirror *mirror, sumi_error *err)
{
    *mirror = (sumi_mirror){.host = {params->values, params->statistics},
                            .value_bytes = params->value_count * sizeof(float),
                            .statistic_bytes = params->statistic_count * sizeof(float)};
    mirror->at = (sumi_weights){
        mirror_buffer(runtime, params->values, mirror->value_bytes),
        mirror_buffer(runtime, params->statistics, mirror->statistic_bytes),
    };
    if ((mirror->value_bytes && !mirror->at.values) ||
        (mirror->statistic_bytes && !mirror->at.statistics))
        return sumi_fail_memory(err, "a model's weights on a device", mirror->value_bytes);
    sumi_mirror_push(runtime, mirror);
    return SUMI_OK;
}

sumi_status sumi_mirror_init(const sumi_runtime *runtime, const sumi_model *model,
                             sumi_mirror *mirror, sumi_error *err)
{
    sumi_model_fetch(model);
    return sumi_mirror_init_params(runtime, &model->graph.params, mirror, err);
}

void sumi_mirror_free(const sumi_runtime *runtime, sumi_mirror *mirror)
{
    const sumi_backend *backend = runtime->backend;
    if (mirror->at.values)
        backend->unmirror(runtime->device, mirror->at.values, mirror->host.values,
                          mirror->value_bytes);
    if (mirror->at.statistics)
        backend->unmirror(runtime->device, mirror->at.statistics, mirror->host.statistics,
                          mirror->statistic_bytes);
    *mirror = (sumi_mirror){0};
}

void sumi_mirror_push(const sumi_runtime *runtime, const sumi_mirror *mirror)
{
    const sumi_backend *backend = runtime->backend;
    if (mirror->value_bytes)
        backend->upload(runtime->device, mirror->at.values, mirror->host.values,
                        mirror->value_bytes);
    if (mirror->statistic_bytes)
        backend->upload(runtime->device, mirror->at.statistics, mirror->host.statistics,
                        mirror->statistic_bytes);
}

/* Of a device that is lost nothing is taken. */
void sumi_mirror_pull(const sumi_runtime *runtime, const sumi_mirror *mirror)
{
    const sumi_backend *backend = runtime->backend;
    if (backend->status(runtime->device, NULL) != SUMI_OK)
        return;
    if (mirror->value_bytes)
        backend->download(runtime->device, mirror->host.values, mirror->at.values,
                          mirror->value_bytes);
    if (mirror->statistic_bytes)
        backend->download(runtime->device, mirror->host.statistics, mirror->at.statistics,
                          mirror->statistic_bytes);
}
