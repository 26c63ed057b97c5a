/*
 * What is looked at before a trainer's state is written: that it is all numbers, and how much room
 * it takes.
 */
#include "train/train.h"

#include <math.h>

/* Of a tensor in a file: its entry in the header, generously. And what a checkpoint has besides. */
enum { ENTRY_BYTES = 512, OTHER_BYTES = 1 << 18 };

uint64_t sumi_checkpoint_bytes(const sumi_trainer *trainer)
{
    const sumi_params *params = &trainer->model->graph.params;
    uint64_t models = 1 + (uint64_t)trainer->averages.count;
    uint64_t states = (uint64_t)trainer->optimiser.row->states;
    uint64_t model = (uint64_t)(params->value_count + params->statistic_count) * sizeof(float) +
                     (uint64_t)params->counter_count * sizeof(int64_t);
    return models * model + states * params->value_count * sizeof(float) +
           (models + states) * (uint64_t)params->count * ENTRY_BYTES + OTHER_BYTES;
}

/* ---- Numbers --------------------------------------------------------------------------------- */

static bool is_finite(const sumi_runtime *runtime, const float *x, size_t count)
{
    return runtime->backend->finite(runtime->device, x, count);
}

/* The first parameter of those in values (or NULL: statistics) that has a number that is none. */
static const char *name_of(const sumi_trainer *trainer, const float *values)
{
    const sumi_params *params = &trainer->model->graph.params;
    for (int i = 0; i < params->count; i++) {
        const sumi_param *param = &params->items[i];
        if (sumi_param_trainable(param) && values &&
            !is_finite(trainer->runtime, values + param->offset, param->count))
            return param->name;
    }
    return "a running statistic";
}

static sumi_status check_weights(const sumi_trainer *trainer, const sumi_mirror *of,
                                 const char *what, sumi_error *err)
{
    const sumi_params *params = &trainer->model->graph.params;
    const sumi_runtime *runtime = trainer->runtime;
    bool values = is_finite(runtime, of->at.values, params->value_count);
    if (values && is_finite(runtime, of->at.statistics, params->statistic_count))
        return SUMI_OK;
    return sumi_fail(
        err, SUMI_EINVAL, "after step %lld %s of the %s is not finite: nothing of it is written",
        (long long)trainer->steps, name_of(trainer, values ? NULL : of->at.values), what);
}

static sumi_status check_all(const sumi_trainer *trainer, sumi_error *err)
{
    const sumi_optimiser *optimiser = &trainer->optimiser;
    sumi_status status = check_weights(trainer, &trainer->weights, "weights", err);
    for (int i = 0; i < trainer->averages.count && status == SUMI_OK; i++)
        status =
            check_weights(trainer, &trainer->averages.mirror[i], "average of the weights", err);
    for (int i = 0; i < optimiser->row->states && status == SUMI_OK; i++)
        if (!is_finite(trainer->runtime, optimiser->state[i], optimiser->count))
            status = sumi_fail(err, SUMI_EINVAL,
                               "after step %lld the optimiser's %s of %s is not finite: nothing of "
                               "it is written",
                               (long long)trainer->steps, optimiser->row->state_names[i],
                               name_of(trainer, optimiser->state[i]));
    return status;
}

/* Of a device that is lost nothing can be told. */
sumi_status sumi_train_check_finite(const sumi_trainer *trainer, sumi_error *err)
{
    const sumi_runtime *runtime = trainer->runtime;
    sumi_status found = check_all(trainer, err);
    sumi_status status = runtime->backend->status(runtime->device, err);
    return status == SUMI_OK ? found : status;
}

/* ---- Images ---------------------------------------------------------------------------------- */

int sumi_train_suspect(const sumi_trainer *trainer, int n)
{
    const sumi_backend *backend = trainer->runtime->backend;
    int levels = trainer->model->graph.levels;
    /* Other ranks would have to take part, and batch statistics need two values. */
    if (!sumi_ranks_alone(trainer->runtime->ranks) ||
        (trainer->h >> levels) * (trainer->w >> levels) < 2)
        return -1;
    for (int i = 0; i < n; i++) {
        size_t at = (size_t)i * trainer->image_floats;
        const sumi_inputs in = {.image = trainer->input + at,
                                .time = trainer->time + i,
                                .labels = trainer->labels ? trainer->labels + i : NULL,
                                .condition = trainer->condition
                                                 ? trainer->condition +
                                                       i * sumi_graph_told(&trainer->model->graph)
                                                 : NULL,
                                .target = trainer->target + at,
                                .weight = trainer->weight ? trainer->weight + i : NULL};
        backend->gradients(trainer->network, &in, 1, trainer->gradients);
        if (!isfinite(backend->loss(trainer->network)) ||
            !backend->statistics_finite(trainer->network))
            return trainer->part + i;
    }
    return -1;
}
