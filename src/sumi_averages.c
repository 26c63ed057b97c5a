/*
 * What of the public interface makes one model of several.
 */
#include "sumi_bodies.h"

#include "run/run.h"

sumi_status sumi_model_average(sumi_context *ctx, const sumi_model *const *models,
                               const double *factors, int count, sumi_model **out)
{
    if (!enter(ctx))
        return SUMI_EINVAL;
    if (!models || !out)
        return missing(ctx, "sumi_model_average", models ? "out" : "models");
    return sumi_mean_of(models, factors, count, out, &ctx->error);
}

sumi_status sumi_model_average_run(sumi_context *ctx, const char *run, double width,
                                   sumi_model **out)
{
    if (!enter(ctx))
        return SUMI_EINVAL;
    if (!run || !out)
        return missing(ctx, "sumi_model_average_run", run ? "out" : "run");
    return sumi_run_average(run, width, out, &ctx->error);
}
