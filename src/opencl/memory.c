/*
 * Memory of a device. The host counts with pointers; they are addresses of pages that nobody may
 * touch, and a block's begin is found again from any of them.
 */
#include "opencl/device.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Kernels count floats from a block's begin in 32 bits. */
static const size_t BLOCK_MOST = (size_t)SUMI_CL_NOWHERE * sizeof(float);

/* The first block that begins after an address. */
static int after(const sumi_device *device, const void *memory)
{
    int low = 0, high = device->block_count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (device->blocks[middle].base <= (const char *)memory)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool keep(sumi_device *device, const sumi_cl_block *block)
{
    if (device->block_count == device->block_capacity) {
        int capacity = device->block_capacity ? 2 * device->block_capacity : 64;
        sumi_cl_block *grown = realloc(device->blocks, (size_t)capacity * sizeof *grown);
        if (!grown)
            return false;
        device->blocks = grown;
        device->block_capacity = capacity;
    }
    int at = after(device, block->base);
    memmove(device->blocks + at + 1, device->blocks + at,
            (size_t)(device->block_count - at) * sizeof *block);
    device->blocks[at] = *block;
    device->block_count++;
    device->taken += block->bytes;
    return true;
}

static void drop(sumi_device *device, sumi_cl_block *block)
{
    if (block->memory)
        device->cl.ReleaseMemObject(block->memory);
    if (block->base)
        munmap(block->base, block->mapped);
}

/* A driver may give memory that it does not have until it is used: it is filled at once. */
void *sumi_cl_alloc(sumi_device *device, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    cl_int error = CL_SUCCESS;
    bytes = bytes ? bytes : 1;
    if (device->status != SUMI_OK || bytes > BLOCK_MOST || bytes > device->facts.largest)
        return NULL;
    sumi_cl_block block = {.bytes = bytes, .mapped = sumi_cl_rounded(bytes, page)};
    void *base = mmap(NULL, block.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    block.base = base;
    block.memory = device->cl.CreateBuffer(device->context, CL_MEM_READ_WRITE,
                                           sumi_cl_rounded(bytes, 16), NULL, &error);
    if (error != CL_SUCCESS)
        block.memory = NULL;
    const cl_uint zero = 0;
    if (!block.memory ||
        device->cl.EnqueueFillBuffer(device->queue, block.memory, &zero, sizeof zero, 0,
                                     sumi_cl_rounded(bytes, 16), 0, NULL, NULL) != CL_SUCCESS ||
        !keep(device, &block)) {
        drop(device, &block);
        return NULL;
    }
    return block.base;
}

void sumi_cl_free(sumi_device *device, void *memory, size_t bytes)
{
    (void)bytes;
    int at = memory ? after(device, memory) - 1 : -1;
    if (at < 0 || device->blocks[at].base != memory)
        return;
    device->taken -= device->blocks[at].bytes;
    drop(device, &device->blocks[at]);
    device->block_count--;
    memmove(device->blocks + at, device->blocks + at + 1,
            (size_t)(device->block_count - at) * sizeof *device->blocks);
}

void *sumi_cl_mirror(sumi_device *device, void *host, size_t bytes)
{
    (void)host;
    return sumi_cl_alloc(device, bytes);
}

void sumi_cl_unmirror(sumi_device *device, void *memory, void *host, size_t bytes)
{
    (void)host;
    sumi_cl_free(device, memory, bytes);
}

sumi_cl_place sumi_cl_at(sumi_device *device, const void *memory)
{
    int at = memory ? after(device, memory) - 1 : -1;
    const sumi_cl_block *block = at >= 0 ? &device->blocks[at] : NULL;
    if (!block || (const char *)memory >= block->base + block->bytes) {
        sumi_cl_lose(device, SUMI_EINVAL, "an address that is none of this device's was used");
        return (sumi_cl_place){NULL, 0};
    }
    return (sumi_cl_place){block->memory, (size_t)((const char *)memory - block->base)};
}

/* Room for a copy of what is uploaded, until the next wait; NULL where there is none. It is kept,
 * so that only the first steps of a training ask for it. */
static void *stage(sumi_device *device, size_t bytes)
{
    const size_t least = (size_t)1 << 22, most_of_one = (size_t)1 << 25, most = (size_t)1 << 28;
    for (int i = 0; i < device->stage_count; i++) {
        sumi_cl_stage *s = &device->stages[i];
        if (s->bytes - s->used < bytes)
            continue;
        s->used += bytes;
        return s->data + s->used - bytes;
    }
    size_t wanted = bytes > least ? bytes : least;
    if (device->stage_count == SUMI_CL_STAGES_MAX || bytes > most_of_one ||
        device->staged + wanted > most)
        return NULL;
    void *data = mmap(NULL, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return NULL;
    device->stages[device->stage_count++] = (sumi_cl_stage){data, wanted, bytes};
    device->staged += wanted;
    return data;
}

/* What was on its way has arrived. */
static void empty_stages(sumi_device *device)
{
    for (int i = 0; i < device->stage_count; i++)
        device->stages[i].used = 0;
}

void sumi_cl_free_stages(sumi_device *device)
{
    for (int i = 0; i < device->stage_count; i++)
        munmap(device->stages[i].data, device->stages[i].bytes);
    device->stage_count = 0;
}

void sumi_cl_upload(sumi_device *device, void *to, const void *from, size_t bytes)
{
    if (bytes == 0 || device->status != SUMI_OK)
        return;
    sumi_cl_place place = sumi_cl_at(device, to);
    void *copy = place.memory ? stage(device, bytes) : NULL;
    if (!place.memory)
        return;
    if (copy)
        memcpy(copy, from, bytes);
    if (sumi_cl_ok(device,
                   device->cl.EnqueueWriteBuffer(device->queue, place.memory, copy == NULL,
                                                 place.at, bytes, copy ? copy : from, 0, NULL,
                                                 NULL),
                   "writing to its memory") &&
        !copy)
        empty_stages(device);
}

/* Zeros where the device is lost: whoever reads on before looking at the status finds no chance
 * bytes. */
void sumi_cl_download(sumi_device *device, void *to, const void *from, size_t bytes)
{
    if (bytes == 0)
        return;
    sumi_cl_place place = {0};
    if (device->status == SUMI_OK)
        place = sumi_cl_at(device, from);
    if (!place.memory ||
        !sumi_cl_ok(device,
                    device->cl.EnqueueReadBuffer(device->queue, place.memory, true, place.at, bytes,
                                                 to, 0, NULL, NULL),
                    "reading from its memory"))
        memset(to, 0, bytes);
    else
        empty_stages(device);
}

void sumi_cl_copy(sumi_device *device, void *to, const void *from, size_t bytes)
{
    if (bytes == 0 || to == from || device->status != SUMI_OK)
        return;
    sumi_cl_place source = sumi_cl_at(device, from), place = sumi_cl_at(device, to);
    if (source.memory && place.memory)
        sumi_cl_ok(device,
                   device->cl.EnqueueCopyBuffer(device->queue, source.memory, place.memory,
                                                source.at, place.at, bytes, 0, NULL, NULL),
                   "copying in its memory");
}

void sumi_cl_zero(sumi_device *device, void *memory, size_t bytes)
{
    const cl_uint zero = 0;
    sumi_cl_place place = sumi_cl_at(device, memory);
    if (place.memory && device->status == SUMI_OK)
        sumi_cl_ok(device,
                   device->cl.EnqueueFillBuffer(device->queue, place.memory, &zero, sizeof zero,
                                                place.at, bytes, 0, NULL, NULL),
                   "clearing its memory");
}

void *sumi_cl_room(sumi_device *device, size_t bytes)
{
    if (device->room.bytes >= bytes)
        return device->room.base;
    sumi_cl_free(device, device->room.base, device->room.bytes);
    device->room.base = sumi_cl_alloc(device, bytes);
    device->room.bytes = device->room.base ? bytes : 0;
    if (!device->room.base)
        sumi_cl_lose(device, SUMI_ENOMEM, "it has no memory left for small results");
    return device->room.base;
}

uint64_t sumi_cl_spare(const sumi_device *device)
{
    uint64_t memory = device->facts.memory;
    uint64_t half = (memory > device->taken ? memory - device->taken : 0) / 2;
    uint64_t one = device->facts.largest < BLOCK_MOST ? device->facts.largest : BLOCK_MOST;
    return half < one ? half : one;
}
