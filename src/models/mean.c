/*
 * Sums of models of one network, each times a factor, in double: their mean, or an average that is
 * made of snapshots. Models are added one by one, so that only two are in memory.
 */
#include "models/models.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sumi_status begin(sumi_mean *mean, const sumi_model *model, sumi_error *err)
{
    const sumi_params *params = &model->graph.params;
    size_t count = params->value_count + params->statistic_count;
    mean->sums = sumi_calloc(count + 1, sizeof *mean->sums);
    if (!mean->sums)
        return sumi_fail_memory(err, "a mean of models", count * sizeof *mean->sums);
    return sumi_models_copy(model, &mean->model, err);
}

sumi_status sumi_mean_add(sumi_mean *mean, const char *name, const sumi_model *model, double factor,
                          sumi_error *err)
{
    sumi_status status = mean->model ? sumi_model_check_same(name, model, mean->model, err)
                                     : begin(mean, model, err);
    if (status != SUMI_OK)
        return status;
    sumi_model_fetch(model);
    const sumi_params *params = &model->graph.params;
    double *of_statistics = mean->sums + params->value_count;
    for (size_t i = 0; i < params->value_count; i++)
        mean->sums[i] += factor * (double)params->values[i];
    for (size_t i = 0; i < params->statistic_count; i++)
        of_statistics[i] += factor * (double)params->statistics[i];
    memcpy(mean->model->graph.params.counters, params->counters,
           params->counter_count * sizeof *params->counters);
    if (model->info.steps > mean->model->info.steps)
        mean->model->info.steps = model->info.steps;
    return SUMI_OK;
}

sumi_status sumi_mean_end(sumi_mean *mean, sumi_model **out, sumi_error *err)
{
    sumi_params *params = &mean->model->graph.params;
    for (size_t i = 0; i < params->value_count; i++) {
        params->values[i] = (float)mean->sums[i];
        if (!isfinite(params->values[i]))
            return sumi_fail(err, SUMI_EINVAL, "the mean of the models is too large for float32");
    }
    for (size_t i = 0; i < params->statistic_count; i++)
        params->statistics[i] = (float)mean->sums[params->value_count + i];
    /* Factors below 0 may leave less than no variance. */
    for (int i = 0; i < params->count; i++)
        for (size_t k = 0;
             params->items[i].kind == SUMI_PARAM_VARIANCE && k < params->items[i].count; k++)
            params->statistics[params->items[i].offset + k] =
                fmaxf(0, params->statistics[params->items[i].offset + k]);
    mean->model->generation++;
    *out = mean->model;
    mean->model = NULL;
    return SUMI_OK;
}

void sumi_mean_free(sumi_mean *mean)
{
    sumi_models_free(mean->model);
    free(mean->sums);
    *mean = (sumi_mean){0};
}

sumi_status sumi_mean_of(const sumi_model *const *models, const double *factors, int count,
                         sumi_model **out, sumi_error *err)
{
    sumi_mean mean = {0};
    sumi_status status = SUMI_OK;
    if (count < 1)
        return sumi_fail(err, SUMI_EINVAL, "an average of %d models", count);
    for (int i = 0; i < count && status == SUMI_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, "model %d", i + 1);
        status = models[i]
                     ? sumi_mean_add(&mean, name, models[i], factors ? factors[i] : 1. / count, err)
                     : sumi_fail(err, SUMI_EINVAL, "sumi_model_average: %s is NULL", name);
    }
    if (status == SUMI_OK)
        status = sumi_mean_end(&mean, out, err);
    sumi_mean_free(&mean);
    return status;
}
