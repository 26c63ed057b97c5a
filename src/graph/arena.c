/*
 * The memory that a plan runs in: one block, in which buffers that never live at the same time lie
 * over each other.
 */
#include "graph/plan.h"

#include <stdlib.h>

void sumi_buffers_add(sumi_buffers *buffers, const sumi_buffer *wanted, size_t align)
{
    *wanted->place = SUMI_NOWHERE;
    if (buffers->count == buffers->capacity) {
        int bigger = buffers->capacity > 0 ? buffers->capacity * 2 : 128;
        void *moved = realloc(buffers->items, (size_t)bigger * sizeof *buffers->items);
        if (!moved) {
            buffers->failed = true;
            return;
        }
        buffers->items = moved;
        buffers->capacity = bigger;
    }
    sumi_buffer *buffer = &buffers->items[buffers->count++];
    *buffer = *wanted;
    buffer->size = (wanted->size + align - 1) / align * align;
}

static int by_size(const void *a, const void *b)
{
    const sumi_buffer *x = a, *y = b;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return x->first != y->first ? x->first - y->first : x->index - y->index;
}

static bool live_together(const sumi_buffer *a, const sumi_buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Largest first, each at the lowest place where nothing that lives at the same time is in the way.
 */
size_t sumi_buffers_lay_out(sumi_buffers *buffers)
{
    size_t all = 0;
    if (buffers->count > 0)
        qsort(buffers->items, (size_t)buffers->count, sizeof *buffers->items, by_size);
    for (int i = 0; i < buffers->count; i++) {
        sumi_buffer *buffer = &buffers->items[i];
        size_t place = 0;
        for (int j = 0; j < i; j++) {
            const sumi_buffer *other = &buffers->items[j];
            size_t begin = *other->place, end = begin + other->size;
            if (live_together(buffer, other) && place < end && begin < place + buffer->size) {
                place = end;
                j = -1; /* look again from the first: others may be in the way up here */
            }
        }
        *buffer->place = place;
        if (place + buffer->size > all)
            all = place + buffer->size;
    }
    return all;
}

void sumi_buffers_free(sumi_buffers *buffers)
{
    free(buffers->items);
    *buffers = (sumi_buffers){0};
}
