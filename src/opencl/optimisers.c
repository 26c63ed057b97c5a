/*
 * One step of an optimiser and of averages on a device.
 */
#include "opencl/device.h"

#include <math.h>

static void follow_rule(sumi_device *device, const sumi_update *by, size_t first, size_t count)
{
    sumi_cl_adam_args args = {.count = (uint32_t)count,
                              .keep = (float)by->keep,
                              .rate1 = (float)(1 - by->beta1),
                              .rate2 = (float)(1 - by->beta2),
                              .step = (float)(-by->rate / by->correction1),
                              .root = (float)(1 / sqrt(by->correction2)),
                              .eps = (float)by->eps};
    sumi_cl_launch launch = {.kernel = SUMI_CL_ADAM, .args = &args, .args_size = sizeof args};
    if (count == 0)
        return;
    args.weights = sumi_cl_give(device, &launch, by->weights + first);
    args.gradients = sumi_cl_give(device, &launch, by->gradients + first);
    args.m = sumi_cl_give(device, &launch, by->state[0] + first);
    args.v = sumi_cl_give(device, &launch, by->state[1] + first);
    args.ledger = sumi_cl_give_ledger(device, &launch, by->ledger);
    sumi_cl_set_sizes(&launch, count, 1, SUMI_CL_LANE);
    sumi_cl_run(device, &launch);
}

/* w = matrix_keep w - matrix_rate g */
static void move_matrix(sumi_device *device, const sumi_update *by, const sumi_range *range)
{
    sumi_cl_axpby_args args = {
        .count = (uint32_t)range->count, .a = (float)-by->matrix_rate, .b = (float)by->matrix_keep};
    sumi_cl_launch launch = {.kernel = SUMI_CL_AXPBY, .args = &args, .args_size = sizeof args};
    args.x = sumi_cl_give(device, &launch, by->gradients + range->first);
    args.out = sumi_cl_give(device, &launch, by->weights + range->first);
    args.ledger = sumi_cl_give_ledger(device, &launch, by->ledger);
    sumi_cl_set_sizes(&launch, range->count, 1, SUMI_CL_LANE);
    sumi_cl_run(device, &launch);
}

static void move_average(sumi_device *device, const sumi_update *by, int i)
{
    sumi_cl_ema_args args = {.count = (uint32_t)by->count, .rate = (float)(1 - by->decay[i])};
    sumi_cl_launch launch = {.kernel = SUMI_CL_EMA, .args = &args, .args_size = sizeof args};
    args.average = sumi_cl_give(device, &launch, by->average[i]);
    args.x = sumi_cl_give(device, &launch, by->weights);
    args.ledger = sumi_cl_give_ledger(device, &launch, by->ledger);
    sumi_cl_set_sizes(&launch, by->count, 1, SUMI_CL_LANE);
    sumi_cl_run(device, &launch);
}

void sumi_cl_update(sumi_device *device, const sumi_update *by)
{
    size_t at = 0;
    if (device->status != SUMI_OK)
        return;
    for (int i = 0; i < by->matrix_count; i++) {
        follow_rule(device, by, at, by->matrices[i].first - at);
        move_matrix(device, by, &by->matrices[i]);
        at = by->matrices[i].first + by->matrices[i].count;
    }
    follow_rule(device, by, at, by->count - at);
    for (int i = 0; i < by->averages; i++)
        move_average(device, by, i);
}
