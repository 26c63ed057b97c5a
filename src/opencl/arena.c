/*
 * Where a network's buffers lie: in one memory object, those that never live at the same time over
 * each other.
 */
#include "opencl/network.h"

#include <stdlib.h>

enum { ALIGN = 64 }; /* floats */

void sumi_cl_reserve(sumi_network *net, size_t floats, int first, int last, uint32_t *place)
{
    *place = SUMI_CL_NOWHERE;
    if (net->buffer_count == net->buffer_capacity) {
        int bigger = net->buffer_capacity > 0 ? net->buffer_capacity * 2 : 128;
        void *moved = realloc(net->buffers, (size_t)bigger * sizeof *net->buffers);
        if (!moved) {
            net->out_of_memory = true;
            return;
        }
        net->buffers = moved;
        net->buffer_capacity = bigger;
    }
    floats = sumi_cl_rounded(floats, ALIGN);
    net->buffers[net->buffer_count++] = (sumi_cl_buffer){floats, first, last, place};
}

static int by_size(const void *a, const void *b)
{
    const sumi_cl_buffer *x = a, *y = b;
    if (x->floats != y->floats)
        return x->floats < y->floats ? 1 : -1;
    if (x->first != y->first)
        return x->first - y->first;
    return (x->place > y->place) - (x->place < y->place);
}

static bool live_together(const sumi_cl_buffer *a, const sumi_cl_buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Largest first, each at the lowest place where nothing that lives at the same time is in the way.
 * Places are kept beside the buffers until all are known to fit. */
static void place_all(sumi_network *net, uint64_t *places)
{
    for (int i = 0; i < net->buffer_count; i++) {
        const sumi_cl_buffer *buffer = &net->buffers[i];
        uint64_t place = 0;
        for (int j = 0; j < i; j++) {
            const sumi_cl_buffer *other = &net->buffers[j];
            uint64_t end = places[j] + other->floats;
            if (live_together(buffer, other) && place < end && places[j] < place + buffer->floats) {
                place = end;
                j = -1; /* look again from the first: others may be in the way up here */
            }
        }
        places[i] = place;
        if (place + buffer->floats > net->arena_floats)
            net->arena_floats = place + buffer->floats;
    }
}

/* Nearly all of it grows with the images. */
static sumi_status fail_room(const sumi_network *net, uint64_t left, sumi_error *err)
{
    const sumi_device *device = net->device;
    uint64_t bytes = net->arena_floats * sizeof(float);
    uint64_t fits = left / (bytes / (uint64_t)net->config.n_max + 1);
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
    uint64_t *places = sumi_calloc((size_t)net->buffer_count + 1, sizeof *places);
    if (!places)
        return sumi_fail_memory(err, "a network's plan", 0);
    qsort(net->buffers, (size_t)net->buffer_count, sizeof *net->buffers, by_size);
    place_all(net, places);
    bool fits = net->arena_floats * sizeof(float) <= left;
    for (int i = 0; i < net->buffer_count && fits; i++)
        *net->buffers[i].place = (uint32_t)places[i];
    free(places);
    if (fits)
        net->arena = sumi_cl_alloc(net->device, (size_t)net->arena_floats * sizeof(float));
    return net->arena ? SUMI_OK : fail_room(net, left, err);
}
