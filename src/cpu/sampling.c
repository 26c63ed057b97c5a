/*
 * The elementwise work of sampling beside mixing: limits of predictions, masks, error estimates.
 *
 * An image is one task and computed in one order, so that neither the batch nor the threads change
 * a bit.
 */
#include "cpu/elementwise.h"

#include <math.h>
#include <string.h>

/* ---- Limits ---------------------------------------------------------------------------------- */

typedef struct {
    const sumi_limits *limits;
    size_t count;
    float *x;
} limiting;

static uint32_t distance_bits(float x, float middle)
{
    float distance = fabsf(x - middle);
    uint32_t bits;
    memcpy(&bits, &distance, sizeof bits);
    return bits;
}

/* The distance number k in rising order. Bits of numbers that are not negative have their order, so
 * it is found a byte at a time, with no room for a sorted copy. */
static uint32_t kth_distance(const float *x, size_t count, float middle, size_t k)
{
    uint32_t found = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        size_t counts[256] = {0};
        uint32_t above = shift == 24 ? 0 : UINT32_MAX << (shift + 8);
        for (size_t i = 0; i < count; i++) {
            uint32_t bits = distance_bits(x[i], middle);
            if ((bits & above) == found)
                counts[bits >> shift & 255]++;
        }
        uint32_t byte = 0;
        while (k >= counts[byte])
            k -= counts[byte++];
        found |= byte << shift;
    }
    return found;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Between two distances it goes straight, as NumPy's and PyTorch's quantiles do. */
static double quantile(const float *x, size_t count, float middle, double share)
{
    double place = share * (double)(count - 1), low = floor(place);
    size_t k = (size_t)low;
    double at = (double)float_of(kth_distance(x, count, middle, k));
    if (place == low)
        return at;
    double next = (double)float_of(kth_distance(x, count, middle, k + 1));
    return at + (place - low) * (next - at);
}

static void bring_within(const sumi_limits *limits, size_t count, float *x)
{
    float low = limits->low, high = limits->high;
    float middle = low + (high - low) / 2, half = (high - low) / 2;
    double reach = 0;
    if (limits->share > 0)
        reach = quantile(x, count, middle, limits->share);
    if (reach <= (double)half) {
        for (size_t i = 0; i < count; i++)
            x[i] = x[i] < low ? low : x[i] > high ? high : x[i];
        return;
    }
    float far = (float)reach, shrink = (float)((double)half / reach);
    for (size_t i = 0; i < count; i++) {
        float off = x[i] - middle;
        off = off < -far ? -far : off > far ? far : off;
        x[i] = middle + off * shrink;
    }
}

static void limit_image(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const limiting *run = arg;
    const sumi_standard *standard = run->limits->standard;
    float *x = run->x + (size_t)chunk * run->count;
    if (standard)
        sumi_standard_undo(standard, x, x, run->count);
    bring_within(run->limits, run->count, x);
    if (standard)
        sumi_standard_apply(standard, x, x, run->count);
}

void sumi_elementwise_limit(sumi_pool *pool, const sumi_limits *limits, int n, size_t count,
                            float *x)
{
    limiting run = {limits, count, x};
    sumi_parallel_for(pool, n, limit_image, &run);
}

/* ---- Masks ----------------------------------------------------------------------------------- */

#define PIECE ((size_t)16384)

typedef struct {
    const float *mask, *other;
    size_t count;
    float *x;
} blending;

static void blend_piece(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const blending *run = arg;
    size_t begin = (size_t)chunk * PIECE;
    size_t end = run->count - begin < PIECE ? run->count : begin + PIECE;
    for (size_t i = begin; i < end; i++)
        run->x[i] = run->mask[i] * run->x[i] + (1 - run->mask[i]) * run->other[i];
}

void sumi_elementwise_blend(sumi_pool *pool, const float *mask, const float *other, size_t count,
                            float *x)
{
    blending run = {mask, other, count, x};
    sumi_parallel_for(pool, (int64_t)((count + PIECE - 1) / PIECE), blend_piece, &run);
}

/* ---- Error estimates ------------------------------------------------------------------------- */

typedef struct {
    const sumi_tolerance *tolerance;
    size_t count;
    const float *error, *a, *b;
    double *out;
} measuring;

static void measure_image(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const measuring *run = arg;
    size_t begin = (size_t)chunk * run->count;
    double sum = 0;
    for (size_t i = begin; i < begin + run->count; i++) {
        double size = fmax(fabs((double)run->a[i]), fabs((double)run->b[i]));
        double off =
            (double)run->error[i] / (run->tolerance->absolute + run->tolerance->relative * size);
        sum += off * off;
    }
    run->out[chunk] = sqrt(sum / (double)run->count);
}

void sumi_elementwise_measure(sumi_pool *pool, const sumi_tolerance *tolerance, int n, size_t count,
                              const float *error, const float *a, const float *b, double *out)
{
    measuring run = {tolerance, count, error, a, b, out};
    sumi_parallel_for(pool, n, measure_image, &run);
}
