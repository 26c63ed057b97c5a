/*
 * Muon's step on matrices: momentum, then a matrix near the orthogonal one by five Newton-Schulz
 * steps.
 *
 * Each matrix is kept as X [tall][wide], turned where it is wider than tall. What the steps do to
 * it is a polynomial in G = X^T X on its right, so that only the small G [wide][wide] is iterated
 * on, and X is multiplied once, at the end: with Q = a + b G + c G^2 (X X^T in Jordan's notation,
 * who has the long side first), P = Q P, G = Q G Q. All of them are symmetric and commute, so that
 * only tiles on and above the diagonal are computed, and any may be read as its transpose: then
 * neither factor of a product has to be packed.
 *
 * Some matrices at a time do a stage together, as many as caches hold. A task is a tile or a run of
 * rows of one of them, and sums go in the order of the depth: so neither how many they are nor the
 * threads change a bit.
 */
#include "cpu/elementwise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 5, PIECE = 8192, RESULT_ROWS = 64, TILE_MAX = 32, BLOCK = 256, SMALLS = 5 };

/* Of the small matrices of a group, for each thread: half of a usual second-level cache. */
#define GROUP_FLOATS ((size_t)128 * 1024)

static const double newton_schulz[3] = {3.4445, -4.7750, 2.0315};

typedef struct {
    sumi_matrix is;
    bool turned; /* a row of X is a column of the matrix */
    int tall, wide, padded;
    size_t ld; /* of X and of the small ones, whose columns past `wide` are 0 */
    float *x, *small[SMALLS];
    float factor; /* of the result; 0: there is none */
} matrix;

/* A run of rows: first, count. A tile: its first row and column. */
typedef struct {
    int matrix, first, second;
} task;

typedef struct {
    task *tasks;
    int64_t count;
} task_list;

/* Matrices from `first` on, and their parts of the lists. */
typedef struct {
    int first, count;
    task_list gathered, tiles, results;
} group;

struct sumi_orthogonaliser {
    sumi_pool *pool;
    const sumi_kernels *kernels;
    matrix *matrices;
    group *groups;
    int count, group_count;
    int tile; /* its rows and columns */
    task *tasks;
    int64_t task_count;
    float *memory, *scratch; /* memory: of a group; scratch: of each thread */
    size_t memory_bytes, scratch_floats;
};

/* A small matrix: product * a b + other * it + diagonal * 1. */
typedef struct {
    int to, a, b, other;
    double product, times_other, diagonal;
} small_step;

typedef struct {
    const sumi_orthogonaliser *o;
    const group *group;
    const small_step *steps;
    double momentum;
    float *gradients, *moments;
    int result; /* which small matrix X is multiplied with */
} job;

/* ---- Momentum -------------------------------------------------------------------------------- */

/* Some numbers of a row of the matrix, which are `step` apart in X. */
static void gather_run(const job *run, float *moments, const float *gradients, int count, float *x,
                       size_t step)
{
    const sumi_kernels *kernels = run->o->kernels;
    float ahead[BLOCK];
    for (int i = 0; i < count; i += BLOCK) {
        int left = count - i < BLOCK ? count - i : BLOCK;
        kernels->ema(moments + i, gradients + i, run->momentum, (size_t)left);
        kernels->axpby((float)(1 - run->momentum), gradients + i, (float)run->momentum, moments + i,
                       ahead, (size_t)left);
        for (int k = 0; k < left; k++)
            x[(size_t)(i + k) * step] = ahead[k];
    }
}

/* The same in the same pieces, of a matrix that has no X here. */
static void move_moments(const job *run, float *moments, const float *gradients, int count)
{
    for (int i = 0; i < count; i += BLOCK)
        run->o->kernels->ema(moments + i, gradients + i, run->momentum,
                             (size_t)(count - i < BLOCK ? count - i : BLOCK));
}

/* Columns of X past the last, in the memory of other groups. */
static void clear_past(const matrix *m, int first, int count)
{
    for (int i = first; i < first + count; i++)
        memset(m->x + (size_t)i * m->ld + (size_t)m->wide, 0,
               (size_t)(m->padded - m->wide) * sizeof *m->x);
}

static void gather_task(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const job *run = arg;
    const task *t = &run->group->gathered.tasks[chunk];
    const matrix *m = &run->o->matrices[t->matrix];
    for (int r = t->first; r < t->first + t->second; r++) {
        size_t at = m->is.offset + (size_t)r * m->is.stride;
        if (m->is.elsewhere)
            move_moments(run, run->moments + at, run->gradients + at, m->is.cols);
        else
            gather_run(run, run->moments + at, run->gradients + at, m->is.cols,
                       m->turned ? m->x + r : m->x + (size_t)r * m->ld, m->turned ? m->ld : 1);
    }
    if (m->is.elsewhere)
        return;
    if (!m->turned)
        clear_past(m, t->first, t->second);
    else if (t->first == 0)
        clear_past(m, 0, m->tall);
}

/* ---- Small matrices -------------------------------------------------------------------------- */

/* A tile on or above the diagonal, from the sums in `sums`, and what mirrors it. */
static void store_tile(const sumi_orthogonaliser *o, const matrix *m, const task *t,
                       const small_step *step, const float *sums)
{
    float *to = m->small[step->to];
    float product = (float)step->product, times = (float)step->times_other;
    for (int r = 0; r < o->tile; r++) {
        int i = t->first + r, begin = t->first == t->second ? r : 0;
        size_t at = (size_t)i * m->ld + (size_t)t->second;
        float *row = to + at;
        const float *from = sums + r * o->tile;
        for (int c = begin; c < o->tile; c++)
            row[c] = product * from[c];
        if (times != 0) {
            const float *other = m->small[step->other] + at;
            for (int c = begin; c < o->tile; c++)
                row[c] += times * other[c];
        }
        if (t->first == t->second && i < m->wide)
            row[r] += (float)step->diagonal;
        for (int c = begin; c < o->tile; c++)
            to[(size_t)(t->second + c) * m->ld + (size_t)i] = row[c];
    }
}

static void multiply_tile(const sumi_orthogonaliser *o, const matrix *m, const task *t,
                          const small_step *step, const float *a, const float *b, int depth)
{
    float sums[TILE_MAX * TILE_MAX];
    const sumi_product product = {.a = a + t->first,
                                  .b = b + t->second,
                                  .c = sums,
                                  .a_columns = true,
                                  .lda = m->ld,
                                  .ldb = m->ld,
                                  .ldc = (size_t)o->tile,
                                  .rows = o->tile,
                                  .cols = o->tile,
                                  .depth = depth};
    o->kernels->product(&product);
    store_tile(o, m, t, step, sums);
}

enum { G };

static void gram_task(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const job *run = arg;
    const task *t = &run->group->tiles.tasks[chunk];
    const matrix *m = &run->o->matrices[t->matrix];
    const small_step step = {.to = G, .product = 1};
    multiply_tile(run->o, m, t, &step, m->x, m->x, m->tall);
}

/* The trace of G is the sum of the squares of X: of a matrix that is too large for it, or has none,
 * nothing comes. */
static void scale_task(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const job *run = arg;
    matrix *m = &run->o->matrices[run->group->first + chunk];
    double trace = 0;
    if (m->is.elsewhere)
        return;
    for (int i = 0; i < m->wide; i++)
        trace += (double)m->small[G][(size_t)i * m->ld + (size_t)i];
    double by = isfinite(trace) ? 1 / (sqrt(trace) + 1e-7) : 0;
    float square = (float)(by * by);
    for (size_t i = 0; i < (size_t)m->padded * m->ld; i++)
        m->small[G][i] *= square;
    m->factor = (float)(by * sqrt(fmax(1, (double)m->is.cols / m->is.rows)));
}

static void small_task(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const job *run = arg;
    const task_list *tiles = &run->group->tiles;
    const small_step *step = &run->steps[chunk / tiles->count];
    const task *t = &tiles->tasks[chunk % tiles->count];
    const matrix *m = &run->o->matrices[t->matrix];
    multiply_tile(run->o, m, t, step, m->small[step->a], m->small[step->b], m->wide);
}

static void do_small(job *run, const small_step *steps, int count)
{
    run->steps = steps;
    sumi_parallel_for(run->o->pool, count * run->group->tiles.count, small_task, run);
}

/* Returns which small matrix is P. */
static int iterate(job *run)
{
    enum { QG = 1 };
    int q = 2, p = 3, unused = 4;
    for (int step = 0; step < STEPS; step++) {
        const small_step polynomial = {
            q, G, G, G, newton_schulz[2], newton_schulz[1], newton_schulz[0]};
        const small_step middle[2] = {{.to = QG, .a = q, .b = G, .product = 1},
                                      {.to = unused, .a = q, .b = p, .product = 1}};
        const small_step next = {.to = G, .a = QG, .b = q, .product = 1};
        bool first = step == 0, last = step == STEPS - 1;
        do_small(run, &polynomial, 1);
        do_small(run, middle + last, 2 - first - last);
        if (!last)
            do_small(run, &next, 1);
        int product = first ? q : unused, free = first ? unused : q;
        q = p;
        p = product;
        unused = free;
    }
    return p;
}

/* ---- Result ---------------------------------------------------------------------------------- */

static void result_task(void *arg, int64_t chunk, int thread)
{
    const job *run = arg;
    const sumi_orthogonaliser *o = run->o;
    const task *t = &run->group->results.tasks[chunk];
    const matrix *m = &o->matrices[t->matrix];
    float *rows = o->scratch + (size_t)thread * o->scratch_floats;
    float *out = run->gradients + m->is.offset;
    const sumi_product product = {.a = m->x + (size_t)t->first * m->ld,
                                  .b = m->small[run->result],
                                  .c = rows,
                                  .lda = m->ld,
                                  .ldb = m->ld,
                                  .ldc = m->ld,
                                  .rows = t->second,
                                  .cols = m->padded,
                                  .depth = m->wide};
    if (m->factor != 0)
        o->kernels->product(&product);
    else
        memset(rows, 0, (size_t)t->second * m->ld * sizeof *rows);
    for (int r = 0; r < t->second && !m->turned; r++)
        for (int c = 0; c < m->wide; c++)
            out[(size_t)(t->first + r) * m->is.stride + (size_t)c] =
                m->factor * rows[(size_t)r * m->ld + (size_t)c];
    for (int c = 0; c < m->wide && m->turned; c++)
        for (int r = 0; r < t->second; r++)
            out[(size_t)c * m->is.stride + (size_t)(t->first + r)] =
                m->factor * rows[(size_t)r * m->ld + (size_t)c];
}

void sumi_orthogonalise(sumi_orthogonaliser *o, double momentum, float *gradients, float *moments)
{
    job run = {.o = o, .momentum = momentum, .gradients = gradients, .moments = moments};
    for (int i = 0; i < o->group_count; i++) {
        const group *g = run.group = &o->groups[i];
        sumi_parallel_for(o->pool, g->gathered.count, gather_task, &run);
        sumi_parallel_for(o->pool, g->tiles.count, gram_task, &run);
        sumi_parallel_for(o->pool, g->count, scale_task, &run);
        run.result = iterate(&run);
        sumi_parallel_for(o->pool, g->results.count, result_task, &run);
    }
}

/* ---- Making ---------------------------------------------------------------------------------- */

static void plan_matrix(const sumi_orthogonaliser *o, const sumi_matrix *is, matrix *m)
{
    bool turned = is->cols > is->rows;
    *m = (matrix){.is = *is,
                  .turned = turned,
                  .tall = turned ? is->cols : is->rows,
                  .wide = turned ? is->rows : is->cols};
    m->padded = (m->wide + o->tile - 1) / o->tile * o->tile;
    /* Rows whose distance is a power of two would share a few lines of the first cache. */
    m->ld = (size_t)m->padded + 16;
}

static size_t small_floats(const matrix *m)
{
    return m->is.elsewhere ? 0 : SMALLS * (size_t)m->padded * m->ld;
}

/* Cuts the matrices into groups. */
static void plan_groups(sumi_orthogonaliser *o)
{
    size_t most = (size_t)sumi_pool_threads(o->pool) * GROUP_FLOATS, used = 0;
    for (int i = 0; i < o->count; i++) {
        size_t small = small_floats(&o->matrices[i]);
        if (o->group_count == 0 || used + small > most) {
            o->groups[o->group_count++] = (group){.first = i};
            used = 0;
        }
        used += small;
        o->groups[o->group_count - 1].count++;
    }
}

/* The places of a group's matrices from base on, which has as many floats; NULL: only counts. */
static size_t place_matrices(sumi_orthogonaliser *o, const group *g, float *base)
{
    size_t used = 0;
    for (int i = g->first; i < g->first + g->count; i++) {
        matrix *m = &o->matrices[i];
        if (m->is.elsewhere)
            continue;
        m->x = base ? base + used : NULL;
        used += (size_t)m->tall * m->ld;
        for (int k = 0; k < SMALLS; k++, used += (size_t)m->padded * m->ld)
            m->small[k] = base ? base + used : NULL;
        if (RESULT_ROWS * m->ld > o->scratch_floats)
            o->scratch_floats = RESULT_ROWS * m->ld;
    }
    return used;
}

/* Where tasks are added; without room they are only counted. */
static void add_task(sumi_orthogonaliser *o, task_list *list, task t)
{
    if (o->tasks) {
        if (list->count == 0)
            list->tasks = o->tasks + o->task_count;
        o->tasks[o->task_count] = t;
    }
    o->task_count++;
    list->count++;
}

static void add_rows(sumi_orthogonaliser *o, task_list *list, int which, int rows, int most)
{
    for (int first = 0; first < rows; first += most)
        add_task(o, list, (task){which, first, rows - first < most ? rows - first : most});
}

static void add_tiles(sumi_orthogonaliser *o, task_list *list, int which, int padded)
{
    for (int first = 0; first < padded; first += o->tile)
        for (int second = first; second < padded; second += o->tile)
            add_task(o, list, (task){which, first, second});
}

static void list_tasks(sumi_orthogonaliser *o)
{
    o->task_count = 0;
    for (int k = 0; k < o->group_count; k++) {
        group *g = &o->groups[k];
        int end = g->first + g->count;
        g->gathered = g->tiles = g->results = (task_list){0};
        for (int i = g->first; i < end; i++) {
            int cols = o->matrices[i].is.cols, rows = cols < PIECE ? PIECE / cols : 1;
            add_rows(o, &g->gathered, i, o->matrices[i].is.rows, rows);
        }
        for (int i = g->first; i < end; i++)
            if (!o->matrices[i].is.elsewhere)
                add_tiles(o, &g->tiles, i, o->matrices[i].padded);
        for (int i = g->first; i < end; i++)
            if (!o->matrices[i].is.elsewhere)
                add_rows(o, &g->results, i, o->matrices[i].tall, RESULT_ROWS);
    }
}

static sumi_status allocate(sumi_orthogonaliser *o, const sumi_matrix *matrices, sumi_error *err)
{
    size_t floats = 0;
    o->matrices = sumi_calloc((size_t)o->count, sizeof *o->matrices);
    o->groups = sumi_calloc((size_t)o->count, sizeof *o->groups);
    if (!o->matrices || !o->groups)
        return sumi_fail_memory(err, "matrices", (size_t)o->count * sizeof *o->matrices);
    for (int i = 0; i < o->count; i++)
        plan_matrix(o, &matrices[i], &o->matrices[i]);
    plan_groups(o);
    for (int i = 0; i < o->group_count; i++) {
        size_t used = place_matrices(o, &o->groups[i], NULL);
        floats = used > floats ? used : floats;
    }
    floats += (size_t)o->tile; /* all may be elsewhere */
    o->memory_bytes =
        (floats + (size_t)sumi_pool_threads(o->pool) * o->scratch_floats) * sizeof(float);
    o->memory = sumi_pages_alloc(o->memory_bytes);
    list_tasks(o);
    o->tasks = sumi_calloc((size_t)o->task_count, sizeof *o->tasks);
    if (!o->memory || !o->tasks)
        return sumi_fail_memory(err, "matrices that are made orthogonal", o->memory_bytes);
    list_tasks(o);
    for (int i = 0; i < o->group_count; i++)
        place_matrices(o, &o->groups[i], o->memory);
    o->scratch = o->memory + floats;
    return SUMI_OK;
}

sumi_status sumi_orthogonaliser_create(sumi_pool *pool, const sumi_kernels *kernels,
                                       const sumi_matrix *matrices, int count,
                                       sumi_orthogonaliser **out, sumi_error *err)
{
    sumi_orthogonaliser *o = sumi_calloc(1, sizeof *o);
    if (!o)
        return sumi_fail_memory(err, "matrices", sizeof *o);
    *o = (sumi_orthogonaliser){
        .pool = pool, .kernels = kernels, .count = count, .tile = 2 * kernels->vector_floats};
    sumi_status status = allocate(o, matrices, err);
    if (status != SUMI_OK) {
        sumi_orthogonaliser_free(o);
        return status;
    }
    *out = o;
    return SUMI_OK;
}

void sumi_orthogonaliser_free(sumi_orthogonaliser *o)
{
    if (!o)
        return;
    sumi_pages_free(o->memory, o->memory_bytes);
    free(o->tasks);
    free(o->groups);
    free(o->matrices);
    free(o);
}
