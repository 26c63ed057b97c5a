/*
 * Averages of the weights, each a model of its own: a = d a + (1 - d) weights after every step.
 *
 * By a decay: at step k, d = min(decay, (1 + k) / (10 + k)), so that the initial weights are
 * forgotten soon. By a power (Karras et al. 2024, arXiv:2312.02696):
 * d = (1 - 1 / k)^(exponent + 1), so that step j of k weighs as j^exponent, whatever k is.
 */
#include "train/train.h"

#include <math.h>

sumi_status sumi_averages_check(const sumi_trainer_config *config, sumi_error *err)
{
    const struct {
        const char *name;
        const float *wanted;
        double below;
    } lists[] = {{"ema", config->averages, 1},
                 {"ema_power", config->power_averages, SUMI_AVERAGE_WIDEST}};
    int count = 0;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < SUMI_AVERAGES_MAX; i++) {
            double value = (double)lists[k].wanted[i];
            if (!(value >= 0 && value < lists[k].below))
                return sumi_fail(err, SUMI_EINVAL, "%s is %g, expected from 0 to below %g",
                                 lists[k].name, value, lists[k].below);
            if (i > 0 && value > 0 && !(lists[k].wanted[i - 1] > 0))
                return sumi_fail(err, SUMI_EINVAL, "%s %d is wanted, but none before it",
                                 lists[k].name, i + 1);
            count += value > 0;
        }
    return count <= SUMI_AVERAGES_MAX
               ? SUMI_OK
               : sumi_fail(err, SUMI_EINVAL, "%d averages are wanted, there may be %d", count,
                           SUMI_AVERAGES_MAX);
}

static sumi_status add_average(const sumi_runtime *runtime, const sumi_model *model, float decay,
                               double exponent, sumi_averages *averages, sumi_error *err)
{
    int i = averages->count;
    sumi_status status = sumi_models_copy(model, &averages->model[i], err);
    if (status != SUMI_OK)
        return status;
    averages->count++;
    averages->decay[i] = decay;
    averages->exponent[i] = exponent;
    return sumi_mirror_init(runtime, averages->model[i], &averages->mirror[i], err);
}

sumi_status sumi_averages_init(const sumi_runtime *runtime, const sumi_model *model,
                               const sumi_trainer_config *config, sumi_averages *averages,
                               sumi_error *err)
{
    sumi_status status = SUMI_OK;
    *averages = (sumi_averages){0};
    for (int i = 0; i < SUMI_AVERAGES_MAX && status == SUMI_OK; i++)
        if (config->power_averages[i] > 0)
            status = add_average(runtime, model, 0,
                                 sumi_power_exponent(sumi_shortest(config->power_averages[i])),
                                 averages, err);
    for (int i = 0; i < SUMI_AVERAGES_MAX && status == SUMI_OK; i++)
        if (config->averages[i] > 0)
            status = add_average(runtime, model, config->averages[i], 0, averages, err);
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
        update->decay[i] = decay > 0 ? (double)decay : pow(1 - 1 / k, averages->exponent[i] + 1);
    }
}

/* Running statistics are copied: they are averages already. */
void sumi_averages_take_statistics(const sumi_averages *averages, const sumi_runtime *runtime,
                                   const sumi_mirror *from)
{
    for (int i = 0; i < averages->count && from->statistic_bytes; i++)
        runtime->backend->copy(runtime->device, averages->mirror[i].at.statistics,
                               from->at.statistics, from->statistic_bytes);
}
