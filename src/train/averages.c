/*
 * Averages of the weights, each a model of its own: a = d a + (1 - d) weights after every step.
 * At step k, d = min(decay, (1 + k) / (10 + k)), so that the initial weights are forgotten soon.
 */
#include "train/train.h"

#include <math.h>
#include <string.h>

sumi_status sumi_averages_init(const sumi_runtime *runtime, const sumi_model *model,
                               const float decay[SUMI_AVERAGES_MAX], sumi_averages *averages,
                               sumi_error *err)
{
    sumi_status status = SUMI_OK;
    *averages = (sumi_averages){0};
    for (int i = 0; i < SUMI_AVERAGES_MAX && decay[i] > 0 && status == SUMI_OK; i++) {
        status = sumi_models_copy(model, &averages->model[i], err);
        if (status != SUMI_OK)
            break;
        averages->count++;
        averages->decay[i] = decay[i];
        status = sumi_mirror_init(runtime, averages->model[i], &averages->mirror[i], err);
    }
    return status;
}

void sumi_averages_free(sumi_averages *averages, sumi_runtime *runtime)
{
    for (int i = 0; i < averages->count; i++) {
        sumi_mirror_free(runtime, &averages->mirror[i]);
        sumi_runtime_forget(runtime, averages->model[i]->id);
        sumi_models_free(averages->model[i]);
    }
    *averages = (sumi_averages){0};
}

void sumi_averages_join(const sumi_averages *averages, int64_t step, sumi_update *update)
{
    double k = (double)step;
    update->averages = averages->count;
    for (int i = 0; i < averages->count; i++) {
        float decay = (float)fmin((double)averages->decay[i], (1 + k) / (10 + k));
        update->average[i] = averages->mirror[i].at.values;
        update->decay[i] = (double)decay;
    }
}

/* Running statistics are copied: they are averages already. */
void sumi_averages_take_statistics(const sumi_averages *averages, const sumi_runtime *runtime,
                                   const sumi_model *model, const sumi_mirror *from)
{
    const sumi_params *params = &model->graph.params;
    for (int i = 0; i < averages->count; i++) {
        if (from->statistic_bytes)
            runtime->backend->copy(runtime->device, averages->mirror[i].at.statistics,
                                   from->at.statistics, from->statistic_bytes);
        memcpy(averages->model[i]->graph.params.counters, params->counters,
               params->counter_count * sizeof(int64_t));
    }
}
