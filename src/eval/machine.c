/*
 * What the measures compute with: threads and kernels of the host, whatever a model runs on.
 */
#include "eval/internal.h"

sumi_status sumi_eval_machine_open(const sumi_runtime *runtime, sumi_eval_machine *out,
                                   sumi_error *err)
{
    const sumi_backend *backend = runtime->backend;
    const sumi_kernels *kernels = sumi_kernels_pick(backend->isa(runtime->device));
    *out = (sumi_eval_machine){.kernels = kernels ? kernels : sumi_kernels_pick(NULL)};
    return sumi_pool_create(backend->threads(runtime->device), &out->pool, err);
}

void sumi_eval_machine_close(sumi_eval_machine *machine)
{
    sumi_pool_free(machine->pool);
    *machine = (sumi_eval_machine){0};
}
