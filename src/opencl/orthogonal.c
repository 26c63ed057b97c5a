/*
 * Muon's step on a device: see src/cpu/orthogonal.c for what is computed. Matrices of one shape do
 * each stage together, and shapes come after each other in the same memory.
 */
#include "opencl/device.h"

#include <math.h>
#include <stdlib.h>

enum { STEPS = 5, SMALLS = 5 };

static const double newton_schulz[3] = {3.4445, -4.7750, 2.0315};

/* Matrices of one shape. */
typedef struct {
    int rows, cols, count;
    bool elsewhere;
    int tall, wide;
    uint32_t table; /* words from the begin of the memory, as all places */
    uint32_t x, result, small[SMALLS], factors;
} batch;

struct sumi_orthogonaliser {
    sumi_device *device;
    batch *batches;
    int batch_count;
    float *memory; /* of the device */
    size_t bytes;
};

/* ---- Making ---------------------------------------------------------------------------------- */

static bool is_of(const batch *b, const sumi_matrix *matrix)
{
    return b->rows == matrix->rows && b->cols == matrix->cols && b->elsewhere == matrix->elsewhere;
}

static void list_batches(sumi_orthogonaliser *o, const sumi_matrix *matrices, int count)
{
    for (int i = 0; i < count; i++) {
        int at = 0;
        while (at < o->batch_count && !is_of(&o->batches[at], &matrices[i]))
            at++;
        if (at == o->batch_count)
            o->batches[o->batch_count++] = (batch){
                .rows = matrices[i].rows,
                .cols = matrices[i].cols,
                .elsewhere = matrices[i].elsewhere,
                .tall = matrices[i].rows > matrices[i].cols ? matrices[i].rows : matrices[i].cols,
                .wide = matrices[i].rows > matrices[i].cols ? matrices[i].cols : matrices[i].rows};
        o->batches[at].count++;
    }
}

static size_t words_of(const batch *b, bool small)
{
    size_t wide = (size_t)b->wide;
    return (size_t)b->count * wide * (small ? wide : (size_t)b->tall);
}

/* Tables first, which last; behind them each batch has the same memory in its turn. Returns how
 * many words all take. */
static uint64_t place_batches(sumi_orthogonaliser *o, int count)
{
    uint64_t begin = 2 * (uint64_t)count, end = begin, table = 0;
    for (int i = 0; i < o->batch_count; i++) {
        batch *b = &o->batches[i];
        uint64_t at = begin;
        b->table = (uint32_t)table;
        table += 2 * (uint64_t)b->count;
        b->x = (uint32_t)at;
        b->result = (uint32_t)(at += words_of(b, false));
        at += words_of(b, false);
        for (int k = 0; k < SMALLS; k++, at += words_of(b, true))
            b->small[k] = (uint32_t)at;
        b->factors = (uint32_t)at;
        at += (uint64_t)b->count;
        end = at > end ? at : end;
    }
    return end;
}

static sumi_status fill_tables(const sumi_orthogonaliser *o, const sumi_matrix *matrices, int count,
                               sumi_error *err)
{
    uint32_t *table = sumi_calloc(2 * (size_t)count, sizeof *table);
    size_t used = 0;
    if (!table)
        return sumi_fail_memory(err, "matrices", 2 * (size_t)count * sizeof *table);
    for (int k = 0; k < o->batch_count; k++)
        for (int i = 0; i < count; i++)
            if (is_of(&o->batches[k], &matrices[i])) {
                table[used++] = (uint32_t)matrices[i].offset;
                table[used++] = (uint32_t)matrices[i].stride;
            }
    sumi_cl_upload(o->device, o->memory, table, used * sizeof *table);
    free(table);
    return SUMI_OK;
}

static sumi_status make(sumi_orthogonaliser *o, const sumi_matrix *matrices, int count,
                        sumi_error *err)
{
    o->batches = sumi_calloc((size_t)count + 1, sizeof *o->batches);
    if (!o->batches)
        return sumi_fail_memory(err, "matrices", (size_t)count * sizeof *o->batches);
    list_batches(o, matrices, count);
    uint64_t words = place_batches(o, count);
    o->bytes = (size_t)words * sizeof(float);
    if (words < SUMI_CL_NOWHERE)
        o->memory = sumi_cl_alloc(o->device, o->bytes);
    if (!o->memory)
        return sumi_fail_memory(err, "matrices that are made orthogonal", o->bytes);
    return fill_tables(o, matrices, count, err);
}

sumi_status sumi_cl_orthogonaliser_create(sumi_device *device, const sumi_matrix *matrices,
                                          int count, sumi_orthogonaliser **out, sumi_error *err)
{
    sumi_orthogonaliser *o = sumi_calloc(1, sizeof *o);
    if (!o)
        return sumi_fail_memory(err, "matrices", sizeof *o);
    o->device = device;
    sumi_status status = make(o, matrices, count, err);
    if (status != SUMI_OK) {
        sumi_cl_orthogonaliser_free(o);
        return status;
    }
    *out = o;
    return SUMI_OK;
}

void sumi_cl_orthogonaliser_free(sumi_orthogonaliser *o)
{
    if (!o)
        return;
    sumi_cl_free(o->device, o->memory, o->bytes);
    free(o->batches);
    free(o);
}

/* ---- Stages ---------------------------------------------------------------------------------- */

/* Items for each number of a matrix as the weights have it. */
static void set_numbers(sumi_cl_launch *launch, const batch *b)
{
    sumi_cl_set_sizes(launch, (size_t)b->cols, (size_t)b->rows, SUMI_CL_LANE);
    launch->global[2] = (size_t)b->count;
}

static void gather(const sumi_orthogonaliser *o, const batch *b, const sumi_ledger *ledger,
                   double momentum, const float *gradients, float *moments)
{
    sumi_cl_gather_args args = {.table = b->table,
                                .x = b->x,
                                .rows = b->rows,
                                .cols = b->cols,
                                .turned = b->cols > b->rows,
                                .momentum = (float)momentum};
    sumi_cl_launch launch = {.kernel = SUMI_CL_GATHER, .args = &args, .args_size = sizeof args};
    args.gradients = sumi_cl_give(o->device, &launch, gradients);
    args.moments = sumi_cl_give(o->device, &launch, moments);
    sumi_cl_give(o->device, &launch, o->memory);
    sumi_cl_give(o->device, &launch, o->memory);
    args.ledger = sumi_cl_give_ledger(o->device, &launch, ledger);
    set_numbers(&launch, b);
    sumi_cl_run(o->device, &launch);
}

static void multiply(const sumi_orthogonaliser *o, const batch *b, const sumi_cl_product_args *args)
{
    const size_t side = 16;
    sumi_cl_launch launch = {.kernel = SUMI_CL_PRODUCT, .args = args, .args_size = sizeof *args};
    sumi_cl_give(o->device, &launch, o->memory);
    sumi_cl_give(o->device, &launch, o->memory);
    launch.local[0] = launch.local[1] = side;
    launch.local[2] = 1;
    launch.global[0] = sumi_cl_rounded((size_t)args->cols, SUMI_CL_TILE) / SUMI_CL_TILE * side;
    launch.global[1] = sumi_cl_rounded((size_t)args->rows, SUMI_CL_TILE) / SUMI_CL_TILE * side;
    launch.global[2] = (size_t)b->count;
    sumi_cl_run(o->device, &launch);
}

/* to = product a b + other d + diagonal 1, of small matrices; d below 0: none. */
static void multiply_small(const sumi_orthogonaliser *o, const batch *b, int to, int a, int with,
                           int d, const double factors[3])
{
    const sumi_cl_product_args args = {.a = b->small[a],
                                       .b = b->small[with],
                                       .c = b->small[to],
                                       .d = d >= 0 ? b->small[d] : SUMI_CL_NOWHERE,
                                       .rows = b->wide,
                                       .cols = b->wide,
                                       .depth = b->wide,
                                       .product = (float)factors[2],
                                       .other = (float)factors[1],
                                       .diagonal = (float)factors[0]};
    multiply(o, b, &args);
}

enum { G };

/* G = X^T X, over its trace. */
static void make_gram(const sumi_orthogonaliser *o, const batch *b)
{
    const sumi_cl_product_args product = {.a = b->x,
                                          .b = b->x,
                                          .c = b->small[G],
                                          .d = SUMI_CL_NOWHERE,
                                          .rows = b->wide,
                                          .cols = b->wide,
                                          .depth = b->tall,
                                          .turned = true,
                                          .product = 1};
    const sumi_cl_trace_args args = {.x = b->small[G],
                                     .factors = b->factors,
                                     .wide = b->wide,
                                     .factor = sqrtf(fmaxf(1, (float)b->cols / (float)b->rows))};
    sumi_cl_launch launch = {.kernel = SUMI_CL_TRACE, .args = &args, .args_size = sizeof args};
    multiply(o, b, &product);
    sumi_cl_give(o->device, &launch, o->memory);
    sumi_cl_set_sizes(&launch, SUMI_CL_GROUP, (size_t)b->count, SUMI_CL_GROUP);
    sumi_cl_run(o->device, &launch);
}

/* With Q = a + b G + c G^2: P = Q P, G = Q G Q. Returns which small matrix is P. */
static int iterate(const sumi_orthogonaliser *o, const batch *b)
{
    static const double plain[3] = {0, 0, 1};
    enum { QG = 1 };
    int q = 2, p = 3, unused = 4;
    for (int step = 0; step < STEPS; step++) {
        bool first = step == 0, last = step == STEPS - 1;
        multiply_small(o, b, q, G, G, G, newton_schulz);
        if (!first)
            multiply_small(o, b, unused, q, p, -1, plain);
        if (!last) {
            multiply_small(o, b, QG, q, G, -1, plain);
            multiply_small(o, b, G, QG, q, -1, plain);
        }
        int product = first ? q : unused, free_one = first ? unused : q;
        q = p;
        p = product;
        unused = free_one;
    }
    return p;
}

static void give_result(const sumi_orthogonaliser *o, const batch *b, int p, float *gradients)
{
    const sumi_cl_product_args product = {.a = b->x,
                                          .b = b->small[p],
                                          .c = b->result,
                                          .d = SUMI_CL_NOWHERE,
                                          .rows = b->tall,
                                          .cols = b->wide,
                                          .depth = b->wide,
                                          .product = 1};
    sumi_cl_scatter_args args = {.table = b->table,
                                 .x = b->result,
                                 .factors = b->factors,
                                 .rows = b->rows,
                                 .cols = b->cols,
                                 .turned = b->cols > b->rows};
    sumi_cl_launch launch = {.kernel = SUMI_CL_SCATTER, .args = &args, .args_size = sizeof args};
    multiply(o, b, &product);
    sumi_cl_give(o->device, &launch, o->memory);
    sumi_cl_give(o->device, &launch, o->memory);
    args.gradients = sumi_cl_give(o->device, &launch, gradients);
    set_numbers(&launch, b);
    sumi_cl_run(o->device, &launch);
}

void sumi_cl_orthogonalise(sumi_orthogonaliser *o, const sumi_ledger *ledger, double momentum,
                           float *gradients, float *moments)
{
    if (o->device->status != SUMI_OK)
        return;
    for (int i = 0; i < o->batch_count; i++) {
        const batch *b = &o->batches[i];
        gather(o, b, ledger, momentum, gradients, moments);
        if (b->elsewhere)
            continue;
        make_gram(o, b);
        give_result(o, b, iterate(o, b), gradients);
    }
}
