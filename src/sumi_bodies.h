/*
 * What the files with the bodies of the public interface share.
 */
#ifndef SUMI_BODIES_H
#define SUMI_BODIES_H

#include <string.h>

#include "models/models.h"

struct sumi_context {
    sumi_runtime runtime;
    sumi_error error;
    sumi_ranks ranks; /* that it has joined, where the runtime has any */
    atomic_bool busy; /* a long call runs: what its callbacks may not do is refused */
};

/* Clears the last message; false where there is no context to work with. */
static inline bool enter(sumi_context *ctx)
{
    if (ctx)
        ctx->error.text[0] = '\0';
    return ctx != NULL;
}

static inline sumi_status missing(sumi_context *ctx, const char *function, const char *argument)
{
    return sumi_fail(&ctx->error, SUMI_EINVAL, "%s: %s is NULL", function, argument);
}

/* Takes over the caller's config, which may be an older, shorter one: what it does not have keeps
 * the value it has in out. */
static inline sumi_status sumi_take_config(const char *name, const void *config, void *out,
                                           size_t out_size, sumi_error *err)
{
    size_t size;
    if (!config)
        return SUMI_OK;
    memcpy(&size, config, sizeof size);
    if (size < sizeof size || size > 1 << 16)
        return sumi_fail(err, SUMI_EINVAL,
                         "%s: its size field is %zu; fill it with the _INIT macro", name, size);
    memcpy(out, config, size < out_size ? size : out_size);
    return SUMI_OK;
}

static inline sumi_status take_config(sumi_context *ctx, const char *name, const void *config,
                                      void *out, size_t out_size)
{
    return sumi_take_config(name, config, out, out_size, &ctx->error);
}

/* Gives an info struct to the caller, as much of it as the caller's has room for. The caller's size
 * stays: with the library's in its place, a second call would write past an older, shorter struct.
 */
void sumi_give_info(const void *info, size_t info_size, void *out);

#endif
