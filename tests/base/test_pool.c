/*
 * The thread pool: every chunk once, on a thread of its own index; visible results; jobs in quick
 * and slow succession; one call a thread; limits; no allocation later. Data that a test shares
 * between threads is mostly not atomic, so that ThreadSanitizer checks the pool's own ordering.
 */
#ifdef __linux__
#define _GNU_SOURCE /* sched_setaffinity */
#include <sched.h>
#endif

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "sanitized.h"

/* ---- Allocations of the pool are counted: the linker sends them through here ----------------- */

#ifdef SUMI_TEST_WRAPS_MALLOC
static atomic_int allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

void *__wrap_malloc(size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __real_calloc(count, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __real_aligned_alloc(align, size);
}
#endif

static sumi_pool *make_pool(int threads)
{
    sumi_pool *pool = NULL;
    sumi_error err;
    assert_int_equal(sumi_pool_create(threads, &pool, &err), SUMI_OK);
    assert_non_null(pool);
    return pool;
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
}

/* ---- Creation -------------------------------------------------------------------------------- */

static void test_create(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 9; threads += 4) {
        sumi_pool *pool = make_pool(threads);
        assert_int_equal(sumi_pool_threads(pool), threads);
        sumi_pool_free(pool);
    }
    sumi_pool *pool = make_pool(0);
    assert_int_equal(sumi_pool_threads(pool), sumi_cpu_count());
    sumi_pool_free(pool);
    sumi_pool_free(NULL);
    pool = NULL;
    sumi_error err;
    assert_int_equal(sumi_pool_create(1025, &pool, &err), SUMI_EINVAL);
    assert_non_null(strstr(err.text, "1025"));
    assert_non_null(strstr(err.text, "1024"));
    assert_int_equal(sumi_pool_create(-1, &pool, &err), SUMI_EINVAL);
    assert_int_equal(sumi_pool_create(-1, &pool, NULL), SUMI_EINVAL);
    assert_null(pool);
}

static void test_cpu_count(void **state)
{
    (void)state;
    int count = sumi_cpu_count();
    assert_true(count >= 1 && count <= 1024);
#ifdef __linux__
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_true(count <= CPU_COUNT(&before));
    int cpu = 0;
    while (!CPU_ISSET(cpu, &before))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(sumi_cpu_count(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
#endif
}

/* ---- parallel_for ---------------------------------------------------------------------------- */

typedef struct {
    int64_t count;
    int threads;
    int *runs;  /* of each chunk */
    bool *busy; /* of each thread: true while a chunk is running on it */
} coverage;

static void cover(void *arg, int64_t chunk, int thread)
{
    coverage *c = arg;
    assert(chunk >= 0 && chunk < c->count && thread >= 0 && thread < c->threads);
    assert(!c->busy[thread]); /* a race for ThreadSanitizer where two chunks share an index */
    c->busy[thread] = true;
    c->runs[chunk]++;
    c->busy[thread] = false;
}

static void test_every_chunk_once(void **state)
{
    (void)state;
    const int64_t counts[] = {0, 1, 2, 3, 7, 100, 30000};
    const int threads[] = {1, 2, 3, 8};
    for (size_t t = 0; t < 4; t++) {
        sumi_pool *pool = make_pool(threads[t]);
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            coverage c = {counts[i], threads[t], sumi_calloc((size_t)counts[i], sizeof(int)),
                          sumi_calloc((size_t)threads[t], sizeof(bool))};
            sumi_parallel_for(pool, counts[i], cover, &c);
            for (int64_t k = 0; k < counts[i]; k++)
                assert_int_equal(c.runs[k], 1);
            sumi_parallel_for(pool, counts[i], cover, &c); /* and what it wrote is visible again */
            for (int64_t k = 0; k < counts[i]; k++)
                assert_int_equal(c.runs[k], 2);
            free(c.runs);
            free(c.busy);
        }
        sumi_parallel_for(pool, -5, cover, NULL);
        sumi_pool_free(pool);
    }
}

static void note_thread(void *arg, int64_t chunk, int thread)
{
    (void)chunk;
    assert(thread == 0);
    *(pthread_t *)arg = pthread_self();
}

/* One chunk is not worth a wake-up: it runs on the calling thread. */
static void test_one_chunk_is_inline(void **state)
{
    (void)state;
    sumi_pool *pool = make_pool(4);
    pthread_t seen;
    sumi_parallel_for(pool, 1, note_thread, &seen);
    assert_true(pthread_equal(seen, pthread_self()));
    sumi_pool_free(pool);
}

static void meet(void *arg, int64_t chunk, int thread)
{
    (void)chunk;
    (void)thread;
    atomic_int *arrived = arg;
    atomic_fetch_add(arrived, 1);
    while (atomic_load(arrived) < 4)
        sleep_ms(1);
}

/* Four chunks that wait for each other end only if four threads run them at the same time; also
 * when the workers have gone to sleep. */
static void test_really_parallel(void **state)
{
    (void)state;
    sumi_pool *pool = make_pool(4);
    for (int i = 0; i < 20; i++) {
        atomic_int arrived = 0;
        sleep_ms(i % 3);
        sumi_parallel_for(pool, 4, meet, &arrived);
        assert_int_equal(atomic_load(&arrived), 4);
    }
    sumi_pool_free(pool);
}

/* Two loops of two chunks each, of which all four wait for each other: no barrier between them. */
static void test_loops_overlap(void **state)
{
    (void)state;
    sumi_pool *pool = make_pool(4);
    atomic_int arrived = 0;
    const sumi_loop loops[] = {{2, meet, &arrived, 0, false}, {2, meet, &arrived, 0, true}};
    sumi_parallel_loops(pool, loops, 0);
    assert_int_equal(atomic_load(&arrived), 0);
    sumi_parallel_loops(pool, loops, 2);
    assert_int_equal(atomic_load(&arrived), 4);
    sumi_pool_free(pool);
}

typedef struct {
    int values[40];
    int sum;
    int sums[40];
} relay;

static void write_value(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    sleep_ms(chunk % 5 == 0);
    ((relay *)arg)->values[chunk] = (int)chunk + 1;
}

static void add_values(void *arg, int64_t chunk, int thread)
{
    relay *r = arg;
    (void)thread;
    for (int i = 0; i < 40; i++)
        r->sums[chunk] += r->values[i];
}

static void add_sums(void *arg, int64_t chunk, int thread)
{
    relay *r = arg;
    (void)chunk;
    (void)thread;
    for (int i = 0; i < 40; i++)
        r->sum += r->sums[i];
}

/* What a loop comes after is done and visible, on any number of threads, with an empty loop in
 * between: plain memory, so that ThreadSanitizer looks too. */
static void test_loops_in_order(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        sumi_pool *pool = make_pool(threads);
        for (int i = 0; i < 20; i++) {
            relay r = {.sum = 0};
            const sumi_loop loops[] = {{40, write_value, &r, 0, false},
                                       {0, write_value, &r, 0, true},
                                       {40, add_values, &r, 1, true},
                                       {1, add_sums, &r, 3, false}};
            sumi_parallel_loops(pool, loops, 4);
            assert_int_equal(r.sum, 40 * (40 * 41 / 2));
        }
        sumi_pool_free(pool);
    }
}

enum { SHARERS = 3, SHARED = 10 };

typedef struct {
    atomic_int arrived, left;
    int64_t order[SHARERS][SHARED];
    int runs[SHARERS];
} shares;

/* No thread takes a second chunk before each has one; thread 0 holds its first until all others are
 * done. */
static void take_share(void *arg, int64_t chunk, int thread)
{
    shares *s = arg;
    s->order[thread][s->runs[thread]++] = chunk;
    if (s->runs[thread] == 1) {
        atomic_fetch_add(&s->arrived, 1);
        while (atomic_load(&s->arrived) < SHARERS)
            sleep_ms(1);
    }
    if (thread == 0)
        while (atomic_load(&s->left) > 1)
            sleep_ms(1);
    atomic_fetch_sub(&s->left, 1);
}

/* Every thread begins with its share, from its end in every other sweep; the share of a thread that
 * is held up is done by the others. */
static void test_own_share_first(void **state)
{
    (void)state;
    static const int64_t first[2][SHARERS] = {{0, 3, 6}, {2, 5, 9}};
    sumi_pool *pool = make_pool(SHARERS);
    for (int i = 0; i < 20; i++) {
        shares s = {.left = SHARED};
        /* Even ones are sweeps; odd ones lie between and do not turn them. */
        bool sweep = i % 2 == 0, backwards = i % 4 == 0;
        const sumi_loop loop = {SHARED, take_share, &s, 0, sweep};
        sumi_parallel_loops(pool, &loop, 1);
        assert_int_equal(s.runs[0], 1);
        assert_int_equal(s.runs[1] + s.runs[2], SHARED - 1);
        for (int t = 0; t < SHARERS; t++)
            assert_int_equal(s.order[t][0], first[backwards][t]);
    }
    sumi_pool_free(pool);
}

static void note_order(void *arg, int64_t chunk, int thread)
{
    int64_t **next = arg;
    assert(thread == 0);
    *(*next)++ = chunk;
}

/* One thread goes to and fro alone, through loops of one list as well. */
static void test_sweeps(void **state)
{
    (void)state;
    static const int64_t expected[] = {2, 1, 0, 0, 1, 0, 1, 2, 1, 0};
    int64_t order[10], *next = order;
    sumi_pool *pool = make_pool(1);
    const sumi_loop loops[] = {{3, note_order, &next, 0, true},
                               {2, note_order, &next, 0, false},
                               {3, note_order, &next, 0, true}};
    sumi_parallel_loops(pool, loops, 3);
    const sumi_loop more = {2, note_order, &next, 0, true};
    sumi_parallel_loops(pool, &more, 1);
    assert_ptr_equal(next, order + 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(order[i], expected[i]);
    sumi_pool_free(pool);
}

static void add_chunk(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    ((int64_t *)arg)[chunk] += chunk + 1;
}

/* A lost wake-up would hang, a job that ends early would lose a sum. */
static void test_many_jobs(void **state)
{
    (void)state;
    const int threads[] = {2, 3, 7};
    for (size_t t = 0; t < 3; t++) {
        sumi_pool *pool = make_pool(threads[t]);
        int64_t sums[5] = {0};
        for (int i = 0; i < 20000; i++)
            sumi_parallel_for(pool, 2 + i % 4, add_chunk, sums);
        for (int64_t k = 0; k < 5; k++)
            assert_int_equal(sums[k], (k + 1) * (k < 2 ? 20000 : (5 - k) * 5000));
        sumi_pool_free(pool);
    }
}

/* Pauses around the spinning time, so that workers are met while falling asleep. */
static void test_jobs_with_pauses(void **state)
{
    (void)state;
    sumi_pool *pool = make_pool(2);
    int64_t sums[2] = {0};
    for (int i = 0; i < 1500; i++) {
        for (double end = sumi_time_now() + i % 50 * 6e-6; sumi_time_now() < end;)
            continue;
        sumi_parallel_for(pool, 2, add_chunk, sums);
    }
    assert_int_equal(sums[0], 1500);
    assert_int_equal(sums[1], 3000);
    sumi_pool_free(pool);
}

/* ---- parallel_all ---------------------------------------------------------------------------- */

typedef struct {
    int threads;
    int *runs; /* [threads] */
} calls;

static void count_call(void *arg, int64_t chunk, int thread)
{
    calls *c = arg;
    assert(chunk == thread && thread >= 0 && thread < c->threads);
    c->runs[thread]++;
}

/* Every thread is called once, by its own number, however fast the others are. */
static void test_once_a_thread(void **state)
{
    (void)state;
    const int threads[] = {1, 2, 3, 8};
    for (size_t t = 0; t < 4; t++) {
        size_t n = (size_t)threads[t];
        sumi_pool *pool = make_pool(threads[t]);
        calls c = {threads[t], sumi_calloc(n, sizeof(int))};
        for (int job = 1; job <= 300; job++) {
            sumi_parallel_all(pool, count_call, &c);
            for (size_t k = 0; k < n; k++)
                assert_int_equal(c.runs[k], job);
        }
        sumi_pool_free(pool);
        free(c.runs);
    }
}

static void count_run(void *arg, int64_t chunk, int thread)
{
    (void)chunk;
    ((int *)arg)[thread]++;
}

/* Both kinds of job in turn, where a worker could mistake one for the other. */
static void test_mixed_jobs(void **state)
{
    (void)state;
    enum { THREADS = 3, JOBS = 5000 };
    sumi_pool *pool = make_pool(THREADS);
    int runs[THREADS] = {0};
    int64_t sums[3] = {0};
    for (int i = 0; i < JOBS; i++) {
        sumi_parallel_all(pool, count_run, runs);
        sumi_parallel_for(pool, 3, add_chunk, sums);
    }
    for (int k = 0; k < THREADS; k++) {
        assert_int_equal(runs[k], JOBS);
        assert_int_equal(sums[k], (k + 1) * JOBS);
    }
    sumi_pool_free(pool);
}

static void test_most_threads(void **state)
{
    (void)state;
    enum { MOST = 1024 };
    sumi_pool *pool = make_pool(MOST);
    static int runs[MOST];
    memset(runs, 0, sizeof runs);
    sumi_parallel_all(pool, count_run, runs);
    sumi_parallel_all(pool, count_run, runs);
    for (int k = 0; k < MOST; k++)
        assert_int_equal(runs[k], 2);
    sumi_pool_free(pool);
}

/* ---- Manners --------------------------------------------------------------------------------- */

static void look_at_mask(void *arg, int64_t chunk, int thread)
{
    (void)chunk;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    ((bool *)arg)[thread] = sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGTERM) == 1;
}

/* Signals belong to the application's threads. */
static void test_signals(void **state)
{
    (void)state;
    bool blocked[3];
    sumi_pool *pool = make_pool(3);
    sumi_parallel_all(pool, look_at_mask, blocked);
    assert_false(blocked[0]);
    assert_true(blocked[1] && blocked[2]);
    sumi_pool_free(pool);
}

static void test_no_allocation(void **state)
{
    (void)state;
#ifdef SUMI_TEST_WRAPS_MALLOC
    int before = atomic_load(&allocations);
    sumi_pool *pool = make_pool(3);
    assert_true(atomic_load(&allocations) > before); /* the counting works */
    before = atomic_load(&allocations);
    int64_t sums[5] = {0};
    int runs[3] = {0};
    for (int i = 0; i < 100; i++) {
        sumi_parallel_for(pool, 5, add_chunk, sums);
        sumi_parallel_all(pool, count_run, runs);
    }
    assert_int_equal(atomic_load(&allocations), before);
    sumi_pool_free(pool);
#else
    skip();
#endif
}

/* Tools that look at each access have memory of their own, which does not fit under a limit. */
#ifdef SUMI_TEST_VALGRIND
enum { HAS_LIMITS = 0 };
#else
enum { HAS_LIMITS = !SANITIZED };
#endif

/* Where the system gives no more threads, those that were started end, and the message says so. */
static void test_no_threads(void **state)
{
    (void)state;
    if (!HAS_LIMITS)
        skip();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit limit = {256 << 20, 256 << 20};
        sumi_pool *pool = NULL;
        sumi_error err;
        if (setrlimit(RLIMIT_AS, &limit) != 0)
            _exit(1);
        if (sumi_pool_create(1024, &pool, &err) != SUMI_ENOMEM || pool)
            _exit(2);
        if (!strstr(err.text, "of 1024"))
            _exit(3);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),           cmocka_unit_test(test_cpu_count),
        cmocka_unit_test(test_every_chunk_once), cmocka_unit_test(test_one_chunk_is_inline),
        cmocka_unit_test(test_really_parallel),  cmocka_unit_test(test_loops_overlap),
        cmocka_unit_test(test_loops_in_order),   cmocka_unit_test(test_own_share_first),
        cmocka_unit_test(test_sweeps),           cmocka_unit_test(test_many_jobs),
        cmocka_unit_test(test_jobs_with_pauses), cmocka_unit_test(test_once_a_thread),
        cmocka_unit_test(test_mixed_jobs),       cmocka_unit_test(test_most_threads),
        cmocka_unit_test(test_signals),          cmocka_unit_test(test_no_allocation),
        cmocka_unit_test(test_no_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
