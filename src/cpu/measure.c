/*
 * The peaks of this machine, to hold a network's times against: multiply-adds on all threads, and
 * bytes to and from memory.
 */
#include "cpu/elementwise.h"

/* ---- Peak ------------------------------------------------------------------------------------ */

enum { BURN_ROUNDS = 2000000, BURN_TRIES = 5 };

typedef struct {
    const sumi_kernels *kernels;
    double operations[SUMI_THREADS_MAX];
    float sink[SUMI_THREADS_MAX];
} burn_job;

static void burn_task(void *arg, int64_t chunk, int thread)
{
    burn_job *job = arg;
    (void)chunk;
    job->operations[thread] = job->kernels->burn(BURN_ROUNDS, 0.5f, &job->sink[thread]);
}

double sumi_cpu_measure_peak(sumi_pool *pool, const sumi_kernels *kernels)
{
    burn_job job = {.kernels = kernels};
    double best = 0;
    for (int i = 0; i < BURN_TRIES; i++) {
        double begin = sumi_time_now(), operations = 0;
        sumi_parallel_all(pool, burn_task, &job);
        double seconds = sumi_time_now() - begin;
        for (int thread = 0; thread < sumi_pool_threads(pool); thread++)
            operations += job.operations[thread];
        best = operations / seconds > best ? operations / seconds : best;
    }
    return best;
}

/* ---- Bandwidth ------------------------------------------------------------------------------- */

enum { STREAM_BYTES = 256 * 1024 * 1024, STREAM_PIECES = 512, STREAM_TRIES = 5 };

/* In place, so that what is written was read before: no line is fetched only to be overwritten. */
static void stream_task(void *arg, int64_t piece, int thread)
{
    const size_t floats = STREAM_BYTES / sizeof(float) / STREAM_PIECES;
    float *part = (float *)arg + (size_t)piece * floats;
    (void)thread;
    for (size_t i = 0; i < floats; i++)
        part[i] = part[i] * 0.5f + 1;
}

sumi_status sumi_cpu_measure_bandwidth(sumi_pool *pool, double *bytes_per_s, sumi_error *err)
{
    float *buffer = sumi_pages_alloc(STREAM_BYTES);
    if (!buffer)
        return sumi_fail_memory(err, "measuring the memory", STREAM_BYTES);
    double best = 0;
    for (int i = -1; i < STREAM_TRIES; i++) { /* the first makes the pages */
        double begin = sumi_time_now();
        sumi_parallel_for(pool, STREAM_PIECES, stream_task, buffer);
        double speed = 2.0 * STREAM_BYTES / (sumi_time_now() - begin);
        best = i >= 0 && speed > best ? speed : best;
    }
    sumi_pages_free(buffer, STREAM_BYTES);
    *bytes_per_s = best;
    return SUMI_OK;
}
