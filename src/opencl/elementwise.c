/*
 * The elementwise work of sampling, on a device.
 */
#include "opencl/device.h"

#include <math.h>
#include <string.h>

/* A place that a kernel does not look at. */
static void give_none(sumi_cl_launch *launch)
{
    launch->memory[launch->count] = launch->memory[0];
    launch->count++;
}

static uint32_t give_or_none(sumi_device *device, sumi_cl_launch *launch, const void *memory)
{
    if (memory)
        return sumi_cl_give(device, launch, memory);
    give_none(launch);
    return 0;
}

void sumi_cl_set_sizes(sumi_cl_launch *launch, size_t items, size_t rows, size_t group)
{
    const size_t global[3] = {sumi_cl_rounded(items, group), rows, 1}, local[3] = {group, 1, 1};
    memcpy(launch->global, global, sizeof global);
    memcpy(launch->local, local, sizeof local);
}

void sumi_cl_gather(sumi_device *device, const sumi_gathering *work)
{
    sumi_cl_gather_images_args args = {.n = work->n, .h = work->h, .w = work->w, .c = work->c};
    sumi_cl_launch launch = {
        .kernel = SUMI_CL_GATHER_IMAGES, .args = &args, .args_size = sizeof args};
    if (work->n == 0)
        return;
    args.images = sumi_cl_give(device, &launch, work->images);
    args.picks = sumi_cl_give(device, &launch, work->picks);
    args.values = sumi_cl_give(device, &launch, work->values);
    args.out = sumi_cl_give(device, &launch, work->out);
    size_t floats = (size_t)work->h * (size_t)work->w * (size_t)work->c;
    sumi_cl_set_sizes(&launch, floats, (size_t)work->n, SUMI_CL_LANE);
    sumi_cl_run(device, &launch);
}

enum { FACTORS = SUMI_CL_MIX_SOURCES + 2 }; /* of an image */

static void set_factors(float *out, const sumi_factors *factors)
{
    memcpy(out, factors->source, sizeof factors->source);
    out[SUMI_CL_MIX_SOURCES] = factors->divisor;
    out[SUMI_CL_MIX_SOURCES + 1] = factors->noise;
}

/* Those of each image go into the device's memory; NULL: its status says why not. */
static const float *put_factors(sumi_device *device, const sumi_factors *factors, int n)
{
    enum { SOME = 256 };
    float some[SOME * FACTORS];
    float *room = sumi_cl_room(device, (size_t)n * FACTORS * sizeof *room);
    for (int first = 0; room && first < n; first += SOME) {
        int count = n - first < SOME ? n - first : SOME;
        for (int i = 0; i < count; i++)
            set_factors(some + (size_t)i * FACTORS, &factors[first + i]);
        sumi_cl_upload(device, room + (size_t)first * FACTORS, some,
                       (size_t)count * FACTORS * sizeof *some);
    }
    return room;
}

static void set_noise(sumi_cl_mix_args *args, const sumi_random *noise)
{
    args->key_low = (uint32_t)noise->seed;
    args->key_high = (uint32_t)(noise->seed >> 32);
    args->step = noise->step;
    args->stream = (uint32_t)noise->stream;
    args->image_low = (uint32_t)noise->image;
    args->image_high = (uint32_t)(noise->image >> 32);
}

void sumi_cl_mix(sumi_device *device, const sumi_mixing *work)
{
    sumi_cl_mix_args args = {.sources = work->sources,
                             .copies = work->copy != NULL,
                             .noise = work->given_noise ? 2
                                      : work->noise     ? 1
                                                        : 0,
                             .count = (uint32_t)work->count,
                             .factors = SUMI_CL_NOWHERE};
    sumi_cl_launch launch = {.kernel = SUMI_CL_MIX, .args = &args, .args_size = sizeof args};
    if (work->n == 0 || work->count == 0)
        return;
    args.out = sumi_cl_give(device, &launch, work->out);
    args.copy = give_or_none(device, &launch, work->copy);
    args.given = give_or_none(device, &launch, work->given_noise);
    for (int k = 0; k < SUMI_CL_MIX_SOURCES; k++)
        args.source[k] = give_or_none(device, &launch, k < work->sources ? work->source[k] : NULL);
    const float *each = work->factors_each ? put_factors(device, work->factors, work->n) : NULL;
    if (each)
        args.factors = sumi_cl_give(device, &launch, each);
    else
        give_none(&launch);
    set_factors(args.factor, work->factors);
    if (args.noise == 1)
        set_noise(&args, work->noise);
    sumi_cl_set_sizes(&launch, (work->count + 3) / 4, (size_t)work->n, SUMI_CL_LANE);
    sumi_cl_run(device, &launch);
}

void sumi_cl_find_bad(sumi_device *device, const float *x, size_t count, void *word)
{
    enum { ITEMS_MOST = 65536 };
    sumi_cl_flat_args args = {.count = (uint32_t)count};
    sumi_cl_launch launch = {.kernel = SUMI_CL_FIND_BAD, .args = &args, .args_size = sizeof args};
    args.x = sumi_cl_give(device, &launch, x);
    args.out = sumi_cl_give(device, &launch, word);
    sumi_cl_set_sizes(&launch, count < ITEMS_MOST ? count : ITEMS_MOST, 1, SUMI_CL_LANE);
    sumi_cl_run(device, &launch);
}

bool sumi_cl_finite(sumi_device *device, const float *x, size_t count)
{
    int32_t bad = 0;
    void *room = sumi_cl_room(device, sizeof bad);
    if (!room)
        return false;
    if (count == 0)
        return true;
    sumi_cl_zero(device, room, sizeof bad);
    sumi_cl_find_bad(device, x, count, room);
    sumi_cl_download(device, &bad, room, sizeof bad);
    return bad == 0 && device->status == SUMI_OK;
}

void sumi_cl_limit(sumi_device *device, const sumi_limits *limits, int n, size_t count, float *x)
{
    const sumi_standard *standard = limits->standard;
    sumi_cl_limit_args args = {.count = (uint32_t)count, .low = limits->low, .high = limits->high};
    if (limits->share > 0) {
        double place = (double)limits->share * (double)(count - 1);
        args.dynamic = true;
        args.rank = (uint32_t)floor(place);
        args.rest = (float)(place - floor(place));
    }
    if (standard && standard->channels > 0) {
        args.channels = standard->channels;
        args.to = standard->to;
        memcpy(args.mean, standard->mean, sizeof args.mean);
        memcpy(args.deviation, standard->deviation, sizeof args.deviation);
    }
    sumi_cl_launch launch = {.kernel = SUMI_CL_LIMIT, .args = &args, .args_size = sizeof args};
    args.x = sumi_cl_give(device, &launch, x);
    sumi_cl_set_sizes(&launch, SUMI_CL_GROUP, (size_t)n, SUMI_CL_GROUP);
    sumi_cl_run(device, &launch);
}

void sumi_cl_blend(sumi_device *device, const float *mask, const float *other, size_t count,
                   float *x)
{
    sumi_cl_blend_args args = {.count = (uint32_t)count};
    sumi_cl_launch launch = {.kernel = SUMI_CL_BLEND, .args = &args, .args_size = sizeof args};
    args.mask = sumi_cl_give(device, &launch, mask);
    args.other = sumi_cl_give(device, &launch, other);
    args.x = sumi_cl_give(device, &launch, x);
    sumi_cl_set_sizes(&launch, count, 1, SUMI_CL_LANE);
    sumi_cl_run(device, &launch);
}

void sumi_cl_measure(sumi_device *device, const sumi_tolerance *tolerance, int n, size_t count,
                     const float *error, const float *a, const float *b, double *out)
{
    enum { IMAGES = 256 };
    float squares[IMAGES];
    float *room = sumi_cl_room(device, sizeof squares);
    for (int first = 0; first < n; first += IMAGES) {
        int some = n - first < IMAGES ? n - first : IMAGES;
        size_t at = (size_t)first * count;
        sumi_cl_measure_args args = {.count = (uint32_t)count,
                                     .absolute = (float)tolerance->absolute,
                                     .relative = (float)tolerance->relative};
        sumi_cl_launch launch = {
            .kernel = SUMI_CL_MEASURE, .args = &args, .args_size = sizeof args};
        memset(squares, 0, sizeof squares);
        if (room) {
            args.error = sumi_cl_give(device, &launch, error + at);
            args.a = sumi_cl_give(device, &launch, a + at);
            args.b = sumi_cl_give(device, &launch, b + at);
            args.out = sumi_cl_give(device, &launch, room);
            sumi_cl_set_sizes(&launch, SUMI_CL_GROUP, (size_t)some, SUMI_CL_GROUP);
            sumi_cl_run(device, &launch);
            sumi_cl_download(device, squares, room, (size_t)some * sizeof *squares);
        }
        for (int i = 0; i < some; i++)
            out[first + i] = sqrt((double)squares[i]);
    }
}
