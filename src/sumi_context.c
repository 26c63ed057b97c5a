/*
 * Contexts: the bodies of the public functions that make, ask and free them.
 */
#include "sumi_bodies.h"

#include <stdlib.h>

/* Why this thread's last sumi_context_create failed: there is no context yet to keep it. */
static _Thread_local sumi_error create_error;

const char *sumi_version(void)
{
    return SUMI_VERSION;
}

/* On a device of a backend that was found. */
static sumi_status open_context(const char *device, int threads, sumi_context *ctx, sumi_error *err)
{
    const char *isa = getenv("SUMI_ISA");
    sumi_device_config config = {.threads = threads, .isa = isa && *isa ? isa : NULL};
    const sumi_backend *backend;
    sumi_status status = sumi_device_find(device, &backend, &config.index, err);
    if (status != SUMI_OK)
        return status;
    return sumi_runtime_init_device(&ctx->runtime, backend, &config, err);
}

static sumi_status create_context(const char *device, int threads, sumi_context **out)
{
    sumi_error *err = &create_error;
    if (threads < 0 || threads > SUMI_THREADS_MAX)
        return sumi_fail(err, SUMI_EINVAL, "threads must be 0 to %d, found %d", SUMI_THREADS_MAX,
                         threads);
    sumi_context *ctx = sumi_calloc(1, sizeof *ctx);
    if (!ctx)
        return sumi_fail_memory(err, "a context", sizeof *ctx);
    sumi_status status = open_context(device, threads, ctx, err);
    if (status != SUMI_OK) {
        free(ctx);
        return status;
    }
    *out = ctx;
    return SUMI_OK;
}

sumi_status sumi_context_create(int threads, sumi_context **out)
{
    create_error.text[0] = '\0';
    if (!out)
        return sumi_fail(&create_error, SUMI_EINVAL, "sumi_context_create: out is NULL");
    return create_context("cpu", threads, out);
}

sumi_status sumi_context_open(const sumi_context_config *config, sumi_context **out)
{
    sumi_context_config full = SUMI_CONTEXT_CONFIG_INIT;
    create_error.text[0] = '\0';
    if (!out)
        return sumi_fail(&create_error, SUMI_EINVAL, "sumi_context_open: out is NULL");
    sumi_status status =
        sumi_take_config("sumi_context_config", config, &full, sizeof full, &create_error);
    if (status != SUMI_OK)
        return status;
    return create_context(full.device ? full.device : "auto", full.threads, out);
}

void sumi_context_free(sumi_context *ctx)
{
    /* The call that runs still works with it, and its message is read from it. */
    if (!ctx || atomic_load(&ctx->busy))
        return;
    sumi_runtime_free(&ctx->runtime);
    free(ctx);
}

const char *sumi_last_error(const sumi_context *ctx)
{
    return ctx ? ctx->error.text : create_error.text;
}

void sumi_cancel(sumi_context *ctx)
{
    if (ctx)
        atomic_store(&ctx->runtime.cancel, 1);
}

int sumi_context_threads(const sumi_context *ctx)
{
    return ctx ? ctx->runtime.backend->threads(ctx->runtime.device) : 0;
}

const char *sumi_context_isa(const sumi_context *ctx)
{
    return ctx ? ctx->runtime.backend->isa(ctx->runtime.device) : "";
}

const char *sumi_context_device(const sumi_context *ctx)
{
    return ctx ? ctx->runtime.backend->title(ctx->runtime.device) : "";
}
