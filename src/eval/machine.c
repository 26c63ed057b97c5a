/*
 * What the measures compute with: threads and kernels of the host, whatever a model runs on.
 */
#include "eval/internal.h"

sumi_status sumi_eval_machine_open(const sumi_runtime *runtime, sumi_eval_machine *out,
                                   sumi_error *err)
{
    const sumi_backend *backend = runtime->backend;
    const sumi_kernels *kernels = sumi_kernels_pick(backend->isa(runtime->device));
    *out = (sumi_eval_machine){.kernels = kernels ? kernels : sumi_kernels_pick(NULL),
                               .runtime = runtime};
    return sumi_pool_create(backend->threads(runtime->device), &out->pool, err);
}

void sumi_eval_machine_close(sumi_eval_machine *machine)
{
    sumi_pool_free(machine->pool);
    *machine = (sumi_eval_machine){0};
}

typedef struct {
    const sumi_runtime *runtime;
    sumi_task_fn fn;
    void *arg;
} guarded;

static bool is_cancelled(const sumi_runtime *runtime)
{
    return runtime && sumi_runtime_cancelled(runtime);
}

static void guarded_task(void *arg, int64_t chunk, int thread)
{
    const guarded *job = arg;
    if (!is_cancelled(job->runtime))
        job->fn(job->arg, chunk, thread);
}

sumi_status sumi_eval_parallel(const sumi_eval_machine *machine, int64_t count, sumi_task_fn fn,
                               void *arg, sumi_error *err)
{
    guarded job = {machine->runtime, fn, arg};
    sumi_parallel_for(machine->pool, count, guarded_task, &job);
    return is_cancelled(machine->runtime)
               ? sumi_fail(err, SUMI_CANCELLED, "the evaluation was cancelled")
               : SUMI_OK;
}
