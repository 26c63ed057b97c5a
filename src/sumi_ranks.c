/*
 * The body of sumi_context_join.
 */
#include "sumi_bodies.h"

sumi_status sumi_context_join(sumi_context *ctx, const sumi_ranks *ranks)
{
    sumi_ranks full = SUMI_RANKS_INIT;
    if (!enter(ctx))
        return SUMI_EINVAL;
    if (atomic_load(&ctx->busy))
        return sumi_fail(&ctx->error, SUMI_EINVAL,
                         "sumi_context_join: a long call is running on this context");
    sumi_status status = take_config(ctx, "sumi_ranks", ranks, &full, sizeof full);
    if (status == SUMI_OK)
        status = sumi_ranks_check(&full, &ctx->error);
    if (status != SUMI_OK)
        return status;
    ctx->ranks = full;
    ctx->runtime.ranks = ranks ? &ctx->ranks : NULL;
    return SUMI_OK;
}
