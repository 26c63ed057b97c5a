/*
 * Optimisers: each a row that says what it remembers of a weight and by which numbers it moves one;
 * the arithmetic is the backend's. What it remembers lies in buffers laid out like the weights,
 * which checkpoints keep under PyTorch's names.
 */
#include "train/train.h"

#include <math.h>
#include <string.h>

/* What all have in common. */
#define ADAM                                                                                       \
    .states = 2, .state_names = {"exp_avg", "exp_avg_sq"}, .rule = SUMI_RULE_ADAM, .beta1 = .9,    \
    .eps = 1e-8

/* The numbers are PyTorch's defaults, but for beta2 beside Muon: its runs are short, and hundreds
 * of steps should be enough to know a gradient's size.
 * AdamW is Adam after a step towards zero that the gradient has no part in (Loshchilov & Hutter
 * 2019), of every weight, as torch.optim.AdamW does it. */
static const sumi_optimiser_row rows[] = {
    {.name = "adam", .about = "Adam (Kingma & Ba 2015)", ADAM, .beta2 = .999},
    {.name = "adamw",
     .about = "Adam with decoupled weight decay",
     .decays = true,
     ADAM,
     .beta2 = .999},
    {.name = "muon",
     .about = "Muon for hidden matrices (Jordan 2024), AdamW for the rest",
     .decays = true,
     .muon = true,
     ADAM,
     .beta2 = .99},
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
                                const sumi_graph *graph, sumi_optimiser *optimiser, sumi_error *err)
{
    size_t count = graph->params.value_count;
    *optimiser = (sumi_optimiser){.row = row, .count = count};
    for (int i = 0; i < row->states; i++) {
        optimiser->state[i] = runtime->backend->alloc(runtime->device, count * sizeof(float));
        if (!optimiser->state[i])
            return sumi_fail_memory(err, "the optimiser's state",
                                    (size_t)row->states * count * sizeof(float));
    }
    return row->muon ? sumi_muon_init(runtime, graph, &optimiser->muon, err) : SUMI_OK;
}

void sumi_optimiser_free(const sumi_runtime *runtime, sumi_optimiser *optimiser)
{
    for (int i = 0; i < SUMI_STATES_MAX; i++)
        runtime->backend->free(runtime->device, optimiser->state[i],
                               optimiser->count * sizeof(float));
    sumi_muon_free(runtime, &optimiser->muon);
    *optimiser = (sumi_optimiser){0};
}

/* Muon remembers one number of a hidden weight, in the place of Adam's first. */
const char *sumi_optimiser_state_name(const sumi_optimiser *optimiser, int param, int state)
{
    if (optimiser->muon.hidden && optimiser->muon.hidden[param])
        return state == 0 ? "momentum_buffer" : NULL;
    return optimiser->row->state_names[state];
}

/* The decimal that was meant: .9f is not .9. */
static double chosen(float given, double own)
{
    return given > 0 ? sumi_shortest(given) : own;
}

sumi_update sumi_optimiser_update(sumi_optimiser *optimiser, const sumi_runtime *runtime,
                                  const sumi_trainer_config *config, double factor, int64_t step,
                                  const sumi_ledger *ledger, float *gradients)
{
    const sumi_optimiser_row *row = optimiser->row;
    double rate = (double)config->learning_rate * factor, decay = (double)config->weight_decay;
    double matrix_rate = (double)config->muon_rate * factor;
    double beta1 = chosen(config->beta1, row->beta1), beta2 = chosen(config->beta2, row->beta2);
    sumi_update update = {.rule = row->rule,
                          .rate = rate,
                          .beta1 = beta1,
                          .beta2 = beta2,
                          .eps = chosen(config->epsilon, row->eps),
                          .correction1 = 1 - pow(beta1, (double)step),
                          .correction2 = 1 - pow(beta2, (double)step),
                          .keep = row->decays ? 1 - rate * decay : 1,
                          .count = optimiser->count,
                          .gradients = gradients,
                          .matrices = optimiser->muon.ranges,
                          .matrix_count = optimiser->muon.range_count,
                          .matrix_rate = matrix_rate,
                          .matrix_keep = 1 - matrix_rate * decay,
                          .ledger = ledger};
    for (int i = 0; i < row->states; i++)
        update.state[i] = optimiser->state[i];
    sumi_muon_turn(&optimiser->muon, runtime, ledger, gradients, optimiser->state[0]);
    return update;
}
