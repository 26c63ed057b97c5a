/*
 * Optimisers: each a row that says what it remembers of a weight and how it moves one.
 *
 * A row updates a piece of the flat weights, on any thread. What it remembers lies in buffers laid
 * out like the weights, which checkpoints keep under PyTorch's names.
 */
#include "train/train.h"

#include <math.h>
#include <string.h>

/* PyTorch's defaults. */
static const double BETA1 = .9, BETA2 = .999, EPS = 1e-8;

static void adam(const sumi_update *update, sumi_piece part)
{
    double step = (double)update->step;
    float *const *state = update->optimiser->state;
    const sumi_adam constants = {.learning_rate = update->rate,
                                 .beta1 = BETA1,
                                 .beta2 = BETA2,
                                 .eps = EPS,
                                 .correction1 = 1 - pow(BETA1, step),
                                 .correction2 = 1 - pow(BETA2, step)};
    update->kernels->adam(&constants, update->weights + part.begin, update->gradients + part.begin,
                          state[0] + part.begin, state[1] + part.begin, part.count);
}

/* Adam after a step towards zero that the gradient has no part in (Loshchilov & Hutter 2019), of
 * every weight, as torch.optim.AdamW does it. */
static void adamw(const sumi_update *update, sumi_piece part)
{
    float *w = update->weights + part.begin;
    float keep = (float)(1 - update->rate * update->weight_decay);
    update->kernels->axpby(keep, w, 0, w, w, part.count);
    adam(update, part);
}

static const sumi_optimiser_row rows[] = {
    {"adam", "Adam (Kingma & Ba 2015)", false, 2, {"exp_avg", "exp_avg_sq"}, adam},
    {"adamw", "Adam with decoupled weight decay", true, 2, {"exp_avg", "exp_avg_sq"}, adamw},
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

sumi_status sumi_optimiser_make(const sumi_runtime *runtime, const sumi_optimiser_row *row,
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
    for (int i = 0; i < SUMI_OPTIMISER_STATES; i++)
        runtime->backend->free(runtime->device, optimiser->state[i],
                               optimiser->count * sizeof(float));
    *optimiser = (sumi_optimiser){0};
}
