/*
 * The elementwise work of training and sampling.
 *
 * It is cut into pieces of an image, or of a flat buffer, that depend on nothing but its size, and
 * every number is computed from its own image alone: so neither the batch nor the threads change a
 * bit. Noise is made where it is used, a block at a time. Sums round as PyTorch's do, without fused
 * multiply-adds.
 */
#include "cpu/elementwise.h"

#include <string.h>

#define PIECE ((size_t)16384) /* floats of an image or a buffer that one task handles */
#define BLOCK ((size_t)1024)  /* floats that are computed at a time */

typedef struct {
    const sumi_mixing *work;
    int64_t pieces; /* of an image */
} mixing;

/* The block's sums; z is its noise or NULL. */
static void mix_block(const sumi_mixing *work, const sumi_factors *factors, size_t at, size_t count,
                      const float *z)
{
    const sumi_factors by = *factors;
    float *out = work->out + at;
    const float *a = work->source[0], *b = work->source[1];
    if (work->sources >= 2) {
        for (size_t i = 0; i < count; i++)
            out[i] = by.source[0] * a[at + i] + by.source[1] * b[at + i];
    } else if (work->sources == 1) {
        for (size_t i = 0; i < count; i++)
            out[i] = by.source[0] * a[at + i];
    }
    for (int k = 2; k < work->sources; k++) {
        const float *source = work->source[k] + at;
        for (size_t i = 0; i < count; i++)
            out[i] += by.source[k] * source[i];
    }
    for (size_t i = 0; by.divisor != 1 && i < count; i++)
        out[i] /= by.divisor;
    if (z && work->sources > 0) {
        for (size_t i = 0; i < count; i++)
            out[i] += z[i] * by.noise;
    } else if (z) {
        for (size_t i = 0; i < count; i++)
            out[i] = z[i] * by.noise;
    }
    if (work->copy)
        memcpy(work->copy + at, out, count * sizeof *out);
}

static void mix_piece(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const mixing *run = arg;
    const sumi_mixing *work = run->work;
    size_t image = (size_t)(chunk / run->pieces);
    size_t begin = (size_t)(chunk % run->pieces) * PIECE;
    size_t end = work->count - begin < PIECE ? work->count : begin + PIECE;
    const sumi_factors *factors = &work->factors[work->factors_each ? image : 0];
    float buffer[BLOCK];
    for (; begin < end; begin += BLOCK) {
        size_t count = end - begin < BLOCK ? end - begin : BLOCK, at = image * work->count + begin;
        const float *z = work->given_noise ? work->given_noise + at : NULL;
        if (!z && work->noise) {
            sumi_random address = *work->noise;
            address.image += image;
            sumi_random_normals(&address, begin, buffer, count);
            z = buffer;
        }
        mix_block(work, factors, at, count, z);
    }
}

void sumi_elementwise_mix(sumi_pool *pool, const sumi_mixing *work)
{
    mixing run = {work, (int64_t)((work->count + PIECE - 1) / PIECE)};
    sumi_parallel_for(pool, run.pieces * work->n, mix_piece, &run);
}

/* ---- Batches --------------------------------------------------------------------------------- */

static int within(int at, int count)
{
    return at < 0 ? 0 : at >= count ? count - 1 : at;
}

static void gather_image(const sumi_gathering *work, const sumi_pick *pick, float *out)
{
    size_t c = (size_t)work->c, row = (size_t)work->w * c;
    const uint8_t *image = work->images + pick->index * (size_t)work->h * row;
    for (int y = 0; y < work->h; y++)
        for (int x = 0; x < work->w; x++) {
            int from_x = within(x - pick->right, work->w);
            from_x = pick->mirrored ? work->w - 1 - from_x : from_x;
            const uint8_t *from =
                image + (size_t)within(y - pick->down, work->h) * row + (size_t)from_x * c;
            for (size_t k = 0; k < c; k++)
                *out++ = work->values[256 * k + from[k]];
        }
}

void sumi_elementwise_gather(const sumi_gathering *work)
{
    size_t floats = (size_t)work->h * (size_t)work->w * (size_t)work->c;
    for (int i = 0; i < work->n; i++)
        gather_image(work, &work->picks[i], work->out + (size_t)i * floats);
}

/* ---- Flat buffers ---------------------------------------------------------------------------- */

typedef struct {
    size_t begin, count;
} range;

static range piece_of(size_t total, int64_t chunk)
{
    size_t begin = (size_t)chunk * PIECE, left = total - begin;
    return (range){begin, left < PIECE ? left : PIECE};
}

static int64_t piece_count(size_t total)
{
    return (int64_t)((total + PIECE - 1) / PIECE);
}

typedef struct {
    const sumi_kernels *kernels;
    const sumi_update *update;
} updating;

static void adam(const updating *run, range part)
{
    const sumi_update *by = run->update;
    const sumi_adam constants = {by->rate, by->beta1,       by->beta2,
                                 by->eps,  by->correction1, by->correction2};
    run->kernels->adam(&constants, by->weights + part.begin, by->gradients + part.begin,
                       by->state[0] + part.begin, by->state[1] + part.begin, part.count);
}

static void follow_rule(const updating *run, range part)
{
    const sumi_update *by = run->update;
    float *weights = by->weights + part.begin;
    if (by->keep != 1)
        run->kernels->axpby((float)by->keep, weights, 0, weights, weights, part.count);
    if (by->rule == SUMI_RULE_ADAM)
        adam(run, part);
}

/* What the rule leaves out of a piece, and what is between. */
static void move_piece(const updating *run, range part)
{
    const sumi_update *by = run->update;
    size_t at = part.begin, end = part.begin + part.count;
    for (int i = 0; i < by->matrix_count && at < end; i++) {
        size_t first = by->matrices[i].first, last = first + by->matrices[i].count;
        if (last <= at)
            continue;
        if (first >= end)
            break;
        if (first > at)
            follow_rule(run, (range){at, first - at});
        at = first > at ? first : at;
        last = last < end ? last : end;
        run->kernels->axpby((float)by->matrix_keep, by->weights + at, (float)-by->matrix_rate,
                            by->gradients + at, by->weights + at, last - at);
        at = last;
    }
    if (at < end)
        follow_rule(run, (range){at, end - at});
}

/* All that is done to a piece is done while it is in cache. */
static void update_piece(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const updating *run = arg;
    const sumi_update *by = run->update;
    range part = piece_of(by->count, chunk);
    float *weights = by->weights + part.begin;
    move_piece(run, part);
    for (int i = 0; i < by->averages; i++)
        run->kernels->ema(by->average[i] + part.begin, weights, by->decay[i], part.count);
}

void sumi_elementwise_update(sumi_pool *pool, const sumi_kernels *kernels,
                             const sumi_update *update)
{
    updating run = {kernels, update};
    sumi_parallel_for(pool, piece_count(update->count), update_piece, &run);
}

typedef struct {
    const sumi_kernels *kernels;
    const float *x;
    size_t count;
    atomic_bool finite;
} checking;

static void check_piece(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    checking *run = arg;
    range part = piece_of(run->count, chunk);
    if (!run->kernels->all_finite(run->x + part.begin, part.count))
        atomic_store(&run->finite, false);
}

bool sumi_elementwise_finite(sumi_pool *pool, const sumi_kernels *kernels, const float *x,
                             size_t count)
{
    checking run = {.kernels = kernels, .x = x, .count = count};
    atomic_init(&run.finite, true);
    sumi_parallel_for(pool, piece_count(count), check_piece, &run);
    return atomic_load(&run.finite);
}

enum { SUMS = 512, LANES = 8 };

typedef struct {
    const float *x;
    size_t count, each;
    double sums[SUMS];
} squaring;

static void square_piece(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    squaring *run = arg;
    size_t begin = (size_t)chunk * run->each, left = run->count - begin;
    size_t count = left < run->each ? left : run->each, whole = count / LANES * LANES;
    const float *x = run->x + begin;
    double lanes[LANES] = {0}, sum = 0;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lanes[k] += (double)x[i + k] * (double)x[i + k];
    for (size_t i = whole; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    for (size_t k = 0; k < LANES; k++)
        sum += lanes[k];
    run->sums[chunk] = sum;
}

/* In at most SUMS pieces, which are added in their order. */
double sumi_elementwise_sum_squares(sumi_pool *pool, const float *x, size_t count)
{
    squaring run = {.x = x, .count = count, .each = PIECE};
    if (count > SUMS * PIECE)
        run.each = (count + SUMS - 1) / SUMS;
    int64_t pieces = (int64_t)((count + run.each - 1) / run.each);
    sumi_parallel_for(pool, pieces, square_piece, &run);
    double sum = 0;
    for (int64_t i = 0; i < pieces; i++)
        sum += run.sums[i];
    return sum;
}
