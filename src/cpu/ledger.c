/*
 * What the steps of a training leave for their caller to read: here all is known at once.
 */
#include <math.h>
#include <stdlib.h>

#include "cpu/cpu.h"
#include "cpu/elementwise.h"

struct sumi_ledger {
    sumi_pool *pool;
    const sumi_kernels *kernels;
    int step;
    bool closed;
    sumi_entry entries[]; /* as many as were asked for */
};

sumi_status sumi_ledger_create(sumi_pool *pool, const sumi_kernels *kernels, int steps,
                               sumi_ledger **out, sumi_error *err)
{
    size_t bytes = sizeof **out + (size_t)steps * sizeof(sumi_entry);
    sumi_ledger *ledger = sumi_calloc(1, bytes);
    if (!ledger)
        return sumi_fail_memory(err, "a training's ledger", bytes);
    ledger->pool = pool;
    ledger->kernels = kernels;
    *out = ledger;
    return SUMI_OK;
}

void sumi_ledger_free(sumi_ledger *ledger)
{
    free(ledger);
}

void sumi_ledger_begin(sumi_ledger *ledger, int step)
{
    if (step == 0)
        ledger->closed = false;
    ledger->step = step;
    ledger->entries[step] = (sumi_entry){.bad = ledger->closed};
}

bool sumi_ledger_closed(const sumi_ledger *ledger)
{
    return ledger && ledger->closed;
}

void sumi_ledger_take(sumi_ledger *ledger, sumi_network *network, double share,
                      const float *gradients, size_t count)
{
    double loss = sumi_network_loss(network);
    sumi_entry *entry = &ledger->entries[ledger->step];
    entry->loss += share * loss;
    if (!isfinite(entry->loss) ||
        !sumi_elementwise_finite(ledger->pool, ledger->kernels, gradients, count) ||
        !sumi_network_statistics_finite(network))
        ledger->closed = entry->bad = true;
}

/* As torch.nn.utils.clip_grad_norm_, of all gradients together. */
void sumi_ledger_clip(sumi_ledger *ledger, double most, float *gradients, size_t count)
{
    double norm = sqrt(sumi_elementwise_sum_squares(ledger->pool, gradients, count));
    double factor = most / (norm + 1e-6);
    const sumi_factors shrink = {.source = {(float)factor}, .divisor = 1};
    const sumi_mixing work = {.n = 1,
                              .count = count,
                              .out = gradients,
                              .sources = 1,
                              .source = {gradients},
                              .factors = &shrink};
    ledger->entries[ledger->step].norm = norm;
    if (most > 0 && factor < 1)
        sumi_elementwise_mix(ledger->pool, &work);
}

void sumi_ledger_read(const sumi_ledger *ledger, int steps, sumi_entry *out)
{
    for (int i = 0; i < steps; i++)
        out[i] = ledger->entries[i];
}
