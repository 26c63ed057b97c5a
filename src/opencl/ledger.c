/*
 * What the steps of a training leave in the memory of a device until the host reads it: see
 * kernels/optimisers.cl. Kernels that change what lasts look there first.
 */
#include <stdlib.h>
#include <string.h>

#include "opencl/network.h"

enum { PIECES = SUMI_CL_GROUP }; /* of a sum of squares */

struct sumi_ledger {
    sumi_device *device;
    int steps, step;
    float *words; /* of the device */
    float *read;  /* as many of the host's */
};

static size_t words_of(const sumi_ledger *ledger)
{
    return SUMI_CL_LEDGER_LOSSES + 2 * (size_t)ledger->steps;
}

static size_t bytes_of(const sumi_ledger *ledger)
{
    return (words_of(ledger) + PIECES) * sizeof(float);
}

sumi_status sumi_cl_ledger_create(sumi_device *device, int steps, sumi_ledger **out,
                                  sumi_error *err)
{
    sumi_ledger *ledger = sumi_calloc(1, sizeof *ledger);
    if (!ledger)
        return sumi_fail_memory(err, "a training's ledger", sizeof *ledger);
    ledger->device = device;
    ledger->steps = steps;
    ledger->words = sumi_cl_alloc(device, bytes_of(ledger));
    ledger->read = sumi_calloc(words_of(ledger), sizeof *ledger->read);
    if (!ledger->words || !ledger->read) {
        sumi_status status = sumi_fail_memory(err, "a training's ledger", bytes_of(ledger));
        sumi_cl_ledger_free(ledger);
        return status;
    }
    *out = ledger;
    return SUMI_OK;
}

void sumi_cl_ledger_free(sumi_ledger *ledger)
{
    if (!ledger)
        return;
    sumi_cl_free(ledger->device, ledger->words, bytes_of(ledger));
    free(ledger->read);
    free(ledger);
}

uint32_t sumi_cl_give_ledger(sumi_device *device, sumi_cl_launch *launch, const sumi_ledger *ledger)
{
    if (ledger)
        return sumi_cl_give(device, launch, ledger->words);
    launch->memory[launch->count] = launch->memory[0];
    launch->count++;
    return SUMI_CL_NOWHERE;
}

/* A step's commands go on their way once the next begins: nobody waits for them before. */
void sumi_cl_ledger_begin(sumi_ledger *ledger, int step)
{
    sumi_device *device = ledger->device;
    ledger->step = step;
    if (device->status != SUMI_OK)
        return;
    if (step > 0) {
        sumi_cl_ok(device, device->cl.Flush(device->queue), "giving it work");
        return;
    }
    sumi_cl_flat_args args = {.count = (uint32_t)words_of(ledger)};
    sumi_cl_launch launch = {
        .kernel = SUMI_CL_LEDGER_OPEN, .args = &args, .args_size = sizeof args};
    args.x = sumi_cl_give(device, &launch, ledger->words);
    sumi_cl_set_sizes(&launch, args.count, 1, SUMI_CL_LANE);
    sumi_cl_run(device, &launch);
}

void sumi_cl_ledger_take(sumi_ledger *ledger, sumi_network *network, double share,
                         const float *gradients, size_t count)
{
    sumi_device *device = ledger->device;
    if (device->status != SUMI_OK)
        return;
    if (count > 0)
        sumi_cl_find_bad(device, gradients, count, ledger->words + SUMI_CL_LEDGER_FOUND);
    sumi_cl_take_args args = {
        .step = (uint32_t)ledger->step, .steps = (uint32_t)ledger->steps, .share = (float)share};
    sumi_cl_launch launch = {
        .kernel = SUMI_CL_LEDGER_TAKE, .args = &args, .args_size = sizeof args};
    args.results = sumi_cl_give(device, &launch, sumi_cl_results(network));
    args.ledger = sumi_cl_give(device, &launch, ledger->words);
    sumi_cl_set_sizes(&launch, 1, 1, 1);
    sumi_cl_run(device, &launch);
}

/* Pieces are summed by groups, and these sums by one. */
void sumi_cl_ledger_clip(sumi_ledger *ledger, double most, float *gradients, size_t count)
{
    enum { EACH = 4096 };
    sumi_device *device = ledger->device;
    size_t pieces = (count + EACH - 1) / EACH;
    if (device->status != SUMI_OK || count == 0)
        return;
    sumi_cl_squares_args args = {.count = (uint32_t)count,
                                 .pieces = (uint32_t)(pieces < PIECES ? pieces : PIECES)};
    sumi_cl_launch launch = {.kernel = SUMI_CL_SQUARES, .args = &args, .args_size = sizeof args};
    args.x = sumi_cl_give(device, &launch, gradients);
    args.out = sumi_cl_give(device, &launch, ledger->words + words_of(ledger));
    sumi_cl_set_sizes(&launch, args.pieces * (size_t)SUMI_CL_GROUP, 1, SUMI_CL_GROUP);
    sumi_cl_run(device, &launch);
    sumi_cl_clip_args clip = {.step = (uint32_t)ledger->step,
                              .steps = (uint32_t)ledger->steps,
                              .pieces = args.pieces,
                              .most = (float)most};
    launch =
        (sumi_cl_launch){.kernel = SUMI_CL_LEDGER_CLIP, .args = &clip, .args_size = sizeof clip};
    clip.ledger = sumi_cl_give(device, &launch, ledger->words);
    sumi_cl_set_sizes(&launch, SUMI_CL_GROUP, 1, SUMI_CL_GROUP);
    sumi_cl_run(device, &launch);
}

void sumi_cl_ledger_read(const sumi_ledger *ledger, int steps, sumi_entry *out)
{
    const float *losses = ledger->read + SUMI_CL_LEDGER_LOSSES, *norms = losses + ledger->steps;
    uint32_t first = 0;
    sumi_cl_download(ledger->device, ledger->read, ledger->words,
                     words_of(ledger) * sizeof *ledger->read);
    memcpy(&first, &ledger->read[SUMI_CL_LEDGER_BAD], sizeof first);
    for (int i = 0; i < steps; i++)
        out[i] = (sumi_entry){.loss = (double)losses[i],
                              .norm = (double)norms[i],
                              .bad = first > 0 && (uint32_t)i + 1 >= first};
}
