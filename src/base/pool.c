/*
 * The thread pool: parallel_for over chunks, one call per thread.
 *
 * A job is published by one atomic word, `state`. It holds a number that grows with every job (the
 * generation), two flags, and how many workers are in the job:
 *   - A worker that sees a new generation looks at OPEN. If it is set, the worker adds itself to
 *     the count, works, and takes itself off again. If it is not, the worker has come too late for
 *     a short job, and nobody waits for it.
 *   - The calling thread works too. When no chunk is left it clears OPEN, and returns when the
 *     count is 0.
 *   - In a job for all threads (ALL), the count begins with every worker in it.
 *
 * A thread takes the chunks of its own share of a loop first, then helps with the shares of others:
 * what it wrote for an image in one loop may still lie in its core's cache in the next. For the
 * same reason every second loop over images (a sweep) runs backwards.
 *
 * A thread that waits spins first, because jobs follow each other closely; it yields its core while
 * it spins. Then it sleeps on a condition variable. No waking call is lost: the sleeper adds itself
 * to `sleepers` before it looks at the word once more, and the waker changes the word before it
 * looks at `sleepers`. The atomics are sequentially consistent, so at least one of them sees the
 * other.
 */
#include "base/base.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define MIN_STACK ((size_t)2 << 20)
#define SPIN_SECONDS 200e-6 /* some four times what waking a thread takes */

#define INSIDE UINT64_C(0x7FF) /* how many workers are in the job */
#define OPEN UINT64_C(0x800)
#define ALL UINT64_C(0x1000)
#define GENERATION UINT64_C(0x2000) /* one; the generation has all bits from here up */

typedef struct {
    pthread_cond_t cond;
    atomic_int sleepers;
} gate;

typedef struct {
    /* Of each loop: how often a chunk of this worker's share was asked for, by any thread. */
    _Alignas(64) _Atomic int64_t taken[SUMI_LOOPS_MAX];
    sumi_pool *pool;
    pthread_t thread;
    int index;
} worker;

struct sumi_pool {
    _Alignas(64) _Atomic uint64_t state;
    _Alignas(64) _Atomic int64_t done[SUMI_LOOPS_MAX]; /* chunks of each loop */
    _Alignas(64) pthread_mutex_t lock;
    gate new_job, job_done;
    atomic_bool stop;
    const sumi_loop *loops; /* these change only while nobody is in a job */
    int loop_count;
    bool backwards[SUMI_LOOPS_MAX]; /* the way that a loop goes */
    bool to_and_fro;                /* the way that the last sweep went */
    int threads;
    double spin_seconds;
    worker workers[]; /* number 0 is the calling thread */
};

static void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Waits until (*word & mask) == value, or != value where `differ`. */
static void wait_until(sumi_pool *pool, gate *g, _Atomic uint64_t *word, uint64_t mask,
                       uint64_t value, bool differ)
{
    for (double end = sumi_time_now() + pool->spin_seconds; sumi_time_now() < end; sched_yield())
        for (int i = 0; i < 16; i++) {
            if (((atomic_load(word) & mask) == value) != differ)
                return;
            pause_cpu();
        }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&g->sleepers, 1);
    while (((atomic_load(word) & mask) == value) == differ)
        pthread_cond_wait(&g->cond, &pool->lock);
    atomic_fetch_sub(&g->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
}

/* To be called after the word has changed. Wakes at most `wanted` sleepers. */
static void wake(sumi_pool *pool, gate *g, int64_t wanted)
{
    if (atomic_load(&g->sleepers) == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    for (int64_t i = 0; i < wanted && i < pool->threads; i++)
        pthread_cond_signal(&g->cond);
    pthread_mutex_unlock(&pool->lock);
}

/* A chunk of the loop that nobody has, from the thread's own share first; -1 where none is left. */
static int64_t take_chunk(sumi_pool *pool, int at, int thread)
{
    int64_t count = pool->loops[at].count;
    for (int i = 0; i < pool->threads; i++) {
        int owner = (thread + i) % pool->threads;
        int64_t begin = count * owner / pool->threads, end = count * (owner + 1) / pool->threads;
        _Atomic int64_t *taken = &pool->workers[owner].taken[at];
        if (atomic_load_explicit(taken, memory_order_relaxed) >= end - begin)
            continue;
        int64_t step = atomic_fetch_add_explicit(taken, 1, memory_order_relaxed);
        if (step < end - begin)
            return pool->backwards[at] ? end - 1 - step : begin + step;
    }
    return -1;
}

/* Waits until the first `count` loops are done. This cannot go on for ever: a thread comes to a
 * loop only when all chunks of those before it are taken, so that each of them is done or running
 * on another thread, and waits only for loops before its own. */
static void wait_for_loops(sumi_pool *pool, int count)
{
    for (int i = 0; i < count; i++)
        for (int spins = 1; atomic_load(&pool->done[i]) < pool->loops[i].count; spins++)
            if (spins % 16 == 0)
                sched_yield();
            else
                pause_cpu();
}

static void run_chunks(sumi_pool *pool, int thread)
{
    for (int at = 0; at < pool->loop_count; at++) {
        const sumi_loop *loop = &pool->loops[at];
        for (int64_t chunk; (chunk = take_chunk(pool, at, thread)) >= 0;) {
            wait_for_loops(pool, loop->after);
            loop->fn(loop->arg, chunk, thread);
            atomic_fetch_add(&pool->done[at], 1);
        }
    }
}

static void *worker_main(void *arg)
{
    const worker *self = arg;
    sumi_pool *pool = self->pool;
    uint64_t seen = 0;
    for (;;) {
        wait_until(pool, &pool->new_job, &pool->state, -GENERATION, seen, true);
        if (atomic_load(&pool->stop))
            return NULL;
        uint64_t state = atomic_load(&pool->state);
        while (!(state & ALL) && (state & OPEN) &&
               !atomic_compare_exchange_weak(&pool->state, &state, state + 1))
            continue;
        seen = state & -GENERATION;
        if (state & ALL)
            pool->loops->fn(pool->loops->arg, self->index, self->index);
        else if (state & OPEN)
            run_chunks(pool, self->index);
        else
            continue;
        if ((atomic_fetch_sub(&pool->state, 1) & (OPEN | INSIDE)) == 1)
            wake(pool, &pool->job_done, 1);
    }
}

/* Publishes a job, does the calling thread's part, and waits for the others. */
static void run_job(sumi_pool *pool, const sumi_loop *loops, int loop_count, int64_t chunks,
                    bool all)
{
    uint64_t old = atomic_load(&pool->state);
    assert((old & (OPEN | INSIDE)) == 0 && "a task must not start a job on its own pool");
    pool->loops = loops;
    pool->loop_count = loop_count;
    for (int i = 0; i < loop_count; i++) {
        atomic_store_explicit(&pool->done[i], 0, memory_order_relaxed);
        for (int t = 0; t < pool->threads; t++)
            atomic_store_explicit(&pool->workers[t].taken[i], 0, memory_order_relaxed);
    }
    uint64_t flags = all ? OPEN | ALL | (uint64_t)(pool->threads - 1) : OPEN;
    atomic_store(&pool->state, (old & -GENERATION) + GENERATION + flags);
    wake(pool, &pool->new_job, chunks - 1);
    if (all)
        loops->fn(loops->arg, 0, 0);
    else
        run_chunks(pool, 0);
    atomic_fetch_and(&pool->state, ~OPEN);
    wait_until(pool, &pool->job_done, &pool->state, INSIDE, 0, false);
}

static void run_inline(const sumi_loop *loop, bool backwards)
{
    for (int64_t i = 0; i < loop->count; i++)
        loop->fn(loop->arg, backwards ? loop->count - 1 - i : i, 0);
}

void sumi_parallel_loops(sumi_pool *pool, const sumi_loop *loops, int loop_count)
{
    int64_t chunks = 0;
    assert(loop_count <= SUMI_LOOPS_MAX);
    for (int i = 0; i < loop_count; i++) {
        chunks += loops[i].count;
        pool->to_and_fro ^= loops[i].sweep;
        pool->backwards[i] = loops[i].sweep && pool->to_and_fro;
    }
    if (chunks > 1 && pool->threads > 1)
        run_job(pool, loops, loop_count, chunks, false);
    else
        for (int i = 0; i < loop_count; i++)
            run_inline(&loops[i], pool->backwards[i]);
}

void sumi_parallel_for(sumi_pool *pool, int64_t count, sumi_task_fn fn, void *arg)
{
    const sumi_loop loop = {.count = count < 0 ? 0 : count, .fn = fn, .arg = arg};
    sumi_parallel_loops(pool, &loop, 1);
}

void sumi_parallel_all(sumi_pool *pool, sumi_task_fn fn, void *arg)
{
    const sumi_loop loop = {.count = pool->threads, .fn = fn, .arg = arg};
    run_job(pool, &loop, 1, pool->threads, true);
}

int sumi_pool_threads(const sumi_pool *pool)
{
    return pool->threads;
}

/* Starts the workers; 0 or an errno. Signals stay with the application's own threads, and stacks
 * are as large everywhere as kernels may need (macOS and musl have small defaults). */
static int start_workers(sumi_pool *pool, int threads)
{
    sigset_t every, before;
    pthread_attr_t attr;
    size_t stack = 0;
    sigfillset(&every);
    int error = pthread_attr_init(&attr);
    if (error)
        return error;
    if (pthread_attr_getstacksize(&attr, &stack) == 0 && stack < MIN_STACK)
        pthread_attr_setstacksize(&attr, MIN_STACK);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    for (int i = 1; i < threads && !error; i++) {
        pool->workers[i].pool = pool;
        pool->workers[i].index = i;
        error = pthread_create(&pool->workers[i].thread, &attr, worker_main, &pool->workers[i]);
        pool->threads += error == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return error;
}

sumi_status sumi_pool_create(int threads, sumi_pool **out, sumi_error *err)
{
    if (threads < 0 || threads > SUMI_THREADS_MAX)
        return sumi_fail(err, SUMI_EINVAL, "threads is %d, expected 1..%d, or 0 for every core",
                         threads, SUMI_THREADS_MAX);
    int cores = sumi_cpu_count();
    threads = threads ? threads : cores;
    size_t bytes = (sizeof(sumi_pool) + (size_t)threads * sizeof(worker) + 63) / 64 * 64;
    sumi_pool *pool = aligned_alloc(64, bytes);
    if (!pool)
        return sumi_fail_memory(err, "thread pool", bytes);
    memset(pool, 0, bytes);
    pool->threads = 1;
    /* With more threads than cores, a spinning thread keeps from its core the one it waits for. */
    pool->spin_seconds = threads <= cores ? SPIN_SECONDS : 0;
    if (pthread_mutex_init(&pool->lock, NULL) || pthread_cond_init(&pool->new_job.cond, NULL) ||
        pthread_cond_init(&pool->job_done.cond, NULL)) {
        free(pool);
        return sumi_fail_memory(err, "locks of the thread pool", bytes);
    }
    int error = start_workers(pool, threads);
    if (error) {
        int failed = pool->threads + 1;
        sumi_pool_free(pool);
        return sumi_fail(err, SUMI_ENOMEM, "cannot start thread %d of %d: %s", failed, threads,
                         strerror(error));
    }
    *out = pool;
    return SUMI_OK;
}

void sumi_pool_free(sumi_pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->stop, true);
    atomic_fetch_add(&pool->state, GENERATION);
    wake(pool, &pool->new_job, pool->threads);
    for (int i = 1; i < pool->threads; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->new_job.cond);
    pthread_cond_destroy(&pool->job_done.cond);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
