/*
 * Optimisers: each a row that says what it remembers of a weight and by which numbers it moves one;
 * the arithmetic is the backend's. What it remembers lies in buffers laid out like the weights,
 * which checkpoints keep under PyTorch's names.
 */
#include "train/train.h"

#include <math.h>
#include <string.h>

/* What both have in common; the numbers are PyTorch's defaults. */
#define ADAM                                                                                       \
    .states = 2, .state_names = {"exp_avg", "exp_avg_sq"}, .rule = SUMI_RULE_ADAM, .beta1 = .9,    \
    .beta2 = .999, .eps = 1e-8

/* AdamW is Adam after a step towards zero that the gradient has no part in (Loshchilov & Hutter
 * 2019), of every weight, as torch.optim.AdamW does it. */
static const sumi_optimiser_row rows[] = {
    {.name = "adam", .about = "Adam (Kingma & Ba 2015)", ADAM},
    {.name = "adamw", .about = "Adam with decoupled weight decay", .decays = true, ADAM},
};

const sumi_optimiser_row *sumi_train_optimiser_at(int index)
{
    int count = sizeof rows / sizeof *rows;
    return index >= 0 && index < count ? &rows[index] : NULL;
}

const sumi_optimiser_row *sumi_optimiser_find(const char *name)
{
    const sumi_optimiser_row *row = NULL;
    for (int i = 0; (row = sumi_train_optimiser_at(i)) && strcmp(row->name, name) != 0;)
        i++;
    return row;
}

sumi_status sumi_optimiser_init(const sumi_runtime *runtime, const sumi_optimiser_row *row,
                                size_t count, sumi_optimiser *optimiser, sumi_error *err)
{
    *optimiser = (sumi_optimiser){.row = row, .count = count};
    for (int i = 0; i < row->states; i++) {
        optimiser->state[i] = runtime->backend->alloc(runtime->device, count * sizeof(float));
        if (!optimiser->state[i])
            return sumi_fail_memory(err, "the optimiser's state",
                                    (size_t)row->states * count * sizeof(float));
    }
    return SUMI_OK;
}

void sumi_optimiser_free(const sumi_runtime *runtime, sumi_optimiser *optimiser)
{
    for (int i = 0; i < SUMI_STATES_MAX; i++)
        runtime->backend->free(runtime->device, optimiser->state[i],
                               optimiser->count * sizeof(float));
    *optimiser = (sumi_optimiser){0};
}

sumi_update sumi_optimiser_update(const sumi_optimiser *optimiser, double rate, double weight_decay,
                                  int64_t step)
{
    const sumi_optimiser_row *row = optimiser->row;
    sumi_update update = {.rule = row->rule,
                          .rate = rate,
                          .beta1 = row->beta1,
                          .beta2 = row->beta2,
                          .eps = row->eps,
                          .correction1 = 1 - pow(row->beta1, (double)step),
                          .correction2 = 1 - pow(row->beta2, (double)step),
                          .keep = row->decays ? 1 - rate * weight_decay : 1,
                          .count = optimiser->count};
    for (int i = 0; i < row->states; i++)
        update.state[i] = optimiser->state[i];
    return update;
}
