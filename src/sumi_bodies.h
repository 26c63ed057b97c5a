/*
 * What the files with the bodies of the public interface share.
 */
#ifndef SUMI_BODIES_H
#define SUMI_BODIES_H

#include "models/models.h"

struct sumi_context {
    sumi_runtime runtime;
    sumi_error error;
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

/* Gives an info struct to the caller, as much of it as the caller's has room for. The caller's size
 * stays: with the library's in its place, a second call would write past an older, shorter struct.
 */
void sumi_give_info(const void *info, size_t info_size, void *out);

#endif
