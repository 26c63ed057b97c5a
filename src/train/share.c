/*
 * Rank 0's state of a training for the other ranks: what a checkpoint would hold, so that one rank
 * alone needs to see it.
 */
#include "train/train.h"

/* What is told of a trainer besides its numbers. */
typedef struct {
    int64_t steps, schedule_steps, model_steps;
    int height, width;
    sumi_halvings halvings;
} told;

static void tell(const sumi_trainer *trainer, void *bytes, size_t count)
{
    const sumi_ranks *ranks = trainer->runtime->ranks;
    ranks->tell(ranks->user, bytes, count);
}

static void share_model(const sumi_trainer *trainer, sumi_model *model, const told *all)
{
    sumi_params *params = &model->graph.params;
    tell(trainer, params->values, params->value_count * sizeof *params->values);
    tell(trainer, params->statistics, params->statistic_count * sizeof *params->statistics);
    tell(trainer, params->counters, params->counter_count * sizeof *params->counters);
    model->info.steps = all->model_steps;
    model->info.height = all->height;
    model->info.width = all->width;
    model->generation++;
}

/* It is the device's; `exchanged` has room for one. */
static void share_state(sumi_trainer *trainer, float *state)
{
    const sumi_backend *backend = trainer->runtime->backend;
    size_t bytes = trainer->optimiser.count * sizeof *state;
    backend->download(trainer->runtime->device, trainer->exchanged, state, bytes);
    tell(trainer, trainer->exchanged, bytes);
    backend->upload(trainer->runtime->device, state, trainer->exchanged, bytes);
}

void sumi_train_share(sumi_trainer *trainer)
{
    sumi_model *model = trainer->model;
    told all = {.steps = trainer->steps,
                .schedule_steps = trainer->config.schedule_steps,
                .model_steps = model->info.steps,
                .height = model->info.height,
                .width = model->info.width,
                .halvings = trainer->halvings};
    sumi_model_fetch(model);
    tell(trainer, &all, sizeof all);
    trainer->steps = all.steps;
    trainer->config.schedule_steps = all.schedule_steps;
    trainer->halvings = all.halvings;
    share_model(trainer, model, &all);
    for (int i = 0; i < trainer->averages.count; i++)
        share_model(trainer, trainer->averages.model[i], &all);
    for (int i = 0; i < trainer->optimiser.row->states; i++)
        share_state(trainer, trainer->optimiser.state[i]);
    sumi_train_push(trainer);
}
