/*
 * The memory that a network runs in: one block.
 */
#include "cpu/network.h"

enum { ALIGN = 64 };

void sumi_reserve(sumi_network *net, size_t bytes, int first, int last, sumi_place *place,
                  const char *what, int index)
{
    const sumi_buffer wanted = {bytes, first, last, place, what, index};
    sumi_buffers_add(&net->buffers, &wanted, ALIGN);
}

void sumi_want_scratch(sumi_network *net, size_t bytes)
{
    if (bytes > net->scratch_bytes)
        net->scratch_bytes = bytes;
}

void *sumi_at(const sumi_network *net, sumi_place place)
{
    return place == SUMI_NOWHERE ? NULL : net->arena + place;
}

void *sumi_scratch(const sumi_network *net, int thread)
{
    return net->arena + net->scratch + net->scratch_bytes * (size_t)thread;
}
