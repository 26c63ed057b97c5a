/*
 * A network's memory: one memory object.
 */
#include "opencl/network.h"

enum { ALIGN = 64 }; /* floats */

void sumi_cl_reserve(sumi_network *net, size_t floats, int first, int last, sumi_place *place)
{
    const sumi_buffer wanted = {
        .size = floats, .first = first, .last = last, .place = place, .index = net->buffers.count};
    sumi_buffers_add(&net->buffers, &wanted, ALIGN);
}

/* All grows with the images but what the pieces of a convolution need. */
static sumi_status fail_room(const sumi_network *net, uint64_t left, sumi_error *err)
{
    const sumi_device *device = net->device;
    uint64_t bytes = (uint64_t)net->arena_floats * sizeof(float);
    uint64_t fixed = (uint64_t)net->piece_floats * sizeof(float);
    uint64_t each = (bytes - fixed) / (uint64_t)net->config.n_max + 1;
    uint64_t fits = left > fixed ? (left - fixed) / each : 0;
    const double mib = 1024.0 * 1024.0;
    if (fits == 0)
        return sumi_fail(err, SUMI_ENOMEM,
                         "%s (%s): images of %dx%d need %.1f MiB for a batch of %d, and there are "
                         "%.1f MiB: not even one fits",
                         device->facts.id, device->facts.name, net->config.h, net->config.w,
                         (double)bytes / mib, net->config.n_max, (double)left / mib);
    return sumi_fail(err, SUMI_ENOMEM,
                     "%s (%s): a batch of %d images of %dx%d needs %.1f MiB, and there are %.1f "
                     "MiB: a batch of %d would fit",
                     device->facts.id, device->facts.name, net->config.n_max, net->config.h,
                     net->config.w, (double)bytes / mib, (double)left / mib, (int)fits);
}

/* What one block may have, of what nobody has taken. */
static uint64_t bytes_left(const sumi_device *device)
{
    uint64_t most = (uint64_t)SUMI_CL_NOWHERE * sizeof(float); /* places are of 32 bits */
    uint64_t memory = device->facts.memory;
    uint64_t left = memory > device->taken ? memory - device->taken : 0;
    left = left < device->facts.largest ? left : device->facts.largest;
    return left < most ? left : most;
}

sumi_status sumi_cl_lay_out(sumi_network *net, sumi_error *err)
{
    uint64_t left = bytes_left(net->device);
    if (net->buffers.failed)
        return sumi_fail_memory(err, "a network's plan", 0);
    net->arena_floats = sumi_buffers_lay_out(&net->buffers);
    if ((uint64_t)net->arena_floats * sizeof(float) <= left)
        net->arena = sumi_cl_alloc(net->device, net->arena_floats * sizeof(float));
    return net->arena ? SUMI_OK : fail_room(net, left, err);
}
