/*
 * The memory that a network runs in: one block, in which buffers that never live at the same time
 * lie over each other.
 */
#include <stdlib.h>

#include "cpu/network.h"

enum { ALIGN = 64 };

void sumi_reserve(sumi_network *net, size_t bytes, int first, int last, sumi_place *place,
                  const char *what, int index)
{
    *place = SUMI_NOWHERE;
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
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    net->buffers[net->buffer_count++] = (sumi_buffer){bytes, first, last, place, what, index};
}

void sumi_want_scratch(sumi_network *net, size_t bytes)
{
    if (bytes > net->scratch_bytes)
        net->scratch_bytes = bytes;
}

static int by_size(const void *a, const void *b)
{
    const sumi_buffer *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->first != y->first ? x->first - y->first : x->index - y->index;
}

static bool live_together(const sumi_buffer *a, const sumi_buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Largest first, each at the lowest place where nothing that lives at the same time is in the way.
 */
void sumi_arena_lay_out(sumi_network *net)
{
    qsort(net->buffers, (size_t)net->buffer_count, sizeof *net->buffers, by_size);
    for (int i = 0; i < net->buffer_count; i++) {
        sumi_buffer *buffer = &net->buffers[i];
        size_t place = 0;
        for (int j = 0; j < i; j++) {
            const sumi_buffer *other = &net->buffers[j];
            size_t begin = *other->place, end = begin + other->bytes;
            if (live_together(buffer, other) && place < end && begin < place + buffer->bytes) {
                place = end;
                j = -1; /* look again from the first: others may be in the way up here */
            }
        }
        *buffer->place = place;
        if (place + buffer->bytes > net->arena_bytes)
            net->arena_bytes = place + buffer->bytes;
    }
}

void *sumi_at(const sumi_network *net, sumi_place place)
{
    return place == SUMI_NOWHERE ? NULL : net->arena + place;
}

void *sumi_scratch(const sumi_network *net, int thread)
{
    return net->arena + net->scratch + net->scratch_bytes * (size_t)thread;
}
