/*
 * Averages of the weights, each a model of its own: a = d a + (1 - d) weights after every step.
 * At step k, d = min(decay, (1 + k) / (10 + k)), so that the initial weights are forgotten soon.
 */
#include "train/train.h"

#include <math.h>
#include <string.h>

sumi_status sumi_averages_make(const sumi_model *model, const float decay[SUMI_AVERAGES_MAX],
                               sumi_averages *averages, sumi_error *err)
{
    sumi_status status = SUMI_OK;
    *averages = (sumi_averages){0};
    while (status == SUMI_OK && averages->count < SUMI_AVERAGES_MAX && decay[averages->count] > 0) {
        int i = averages->count;
        status = sumi_models_copy(model, &averages->model[i], err);
        if (status != SUMI_OK)
            break;
        averages->decay[i] = decay[i];
        averages->count++;
    }
    return status;
}

void sumi_averages_free(sumi_averages *averages, sumi_runtime *runtime)
{
    for (int i = 0; i < averages->count; i++) {
        sumi_runtime_forget(runtime, averages->model[i]->id);
        sumi_models_free(averages->model[i]);
    }
    *averages = (sumi_averages){0};
}

void sumi_averages_add(const sumi_averages *averages, const sumi_update *update, sumi_piece part)
{
    double step = (double)update->step;
    for (int i = 0; i < averages->count; i++) {
        float decay = (float)fmin((double)averages->decay[i], (1 + step) / (10 + step));
        update->kernels->ema(averages->model[i]->graph.params.values + part.begin,
                             update->weights + part.begin, (double)decay, part.count);
    }
}

/* Running statistics are copied: they are averages already. */
void sumi_averages_take_statistics(const sumi_averages *averages, const sumi_params *from)
{
    for (int i = 0; i < averages->count; i++) {
        const sumi_params *to = &averages->model[i]->graph.params;
        memcpy(to->statistics, from->statistics, from->statistic_count * sizeof(float));
        memcpy(to->counters, from->counters, from->counter_count * sizeof(int64_t));
    }
}
