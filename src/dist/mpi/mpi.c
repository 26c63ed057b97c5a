/*
 * Ranks over MPI. The only file that includes mpi.h.
 *
 * Every exchange is one that does not block, and is asked for again and again: so a rank that
 * waits leaves its core to others, and other threads can get a word in. There are two lines, with
 * exchanges of their own: what goes on behind a computation is asked for less often, to leave it
 * the core.
 *
 * A thread sends a byte to the next rank every second and expects one from the rank before: where
 * none comes for so long that the other must have stopped or lost its network, all are ended. MPI's
 * calls are made by one thread at a time.
 */
#include "dist/dist.h"

#include <limits.h>
#include <mpi.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    BEAT_TAG = 1,
    BEATS_MISSED = 20,    /* seconds, as many as the thread itself was awake for */
    TELL_BYTES = 1 << 28, /* at a time */
    SPINS = 2000,
    SLEEP_NANOSECONDS = 50000
};

/* What one thread exchanges. */
typedef struct {
    sumi_dist *dist;
    MPI_Comm comm;                                /* a copy of our own */
    int *counts, *places, *in_counts, *in_places; /* [ranks], as MPI wants them */
    int spins;                                    /* before a wait becomes a sleep */
} line;

struct sumi_dist {
    sumi_ranks ranks;
    line front, behind;
    MPI_Comm beats;
    pthread_mutex_t calls; /* held while MPI is called */
    pthread_mutex_t lock;  /* guards stop */
    pthread_cond_t stopped;
    pthread_t thread;
    bool beating, stop;
    sumi_dist_lost_fn lost;
    void *user;
    int neighbours; /* processes on this machine, this one included */
};

/* ---- Waiting --------------------------------------------------------------------------------- */

static void complete(const line *of, MPI_Request *request)
{
    static const struct timespec nap = {0, SLEEP_NANOSECONDS};
    for (int spins = 0, done = 0; !done; spins++) {
        pthread_mutex_lock(&of->dist->calls);
        MPI_Test(request, &done, MPI_STATUS_IGNORE);
        pthread_mutex_unlock(&of->dist->calls);
        if (!done && spins < of->spins)
            sched_yield();
        else if (!done)
            nanosleep(&nap, NULL);
    }
}

/* ---- Exchanges ------------------------------------------------------------------------------- */

static void place_all(const size_t *bytes, int count, int *counts, int *places)
{
    size_t at = 0;
    for (int r = 0; r < count; at += bytes[r++]) {
        counts[r] = (int)bytes[r];
        places[r] = (int)at;
    }
}

static void gather(void *user, const void *mine, void *all, const size_t *bytes)
{
    const line *of = user;
    const sumi_ranks *ranks = &of->dist->ranks;
    MPI_Request request;
    place_all(bytes, ranks->count, of->counts, of->places);
    pthread_mutex_lock(&of->dist->calls);
    MPI_Iallgatherv(mine, of->counts[ranks->rank], MPI_BYTE, all, of->counts, of->places, MPI_BYTE,
                    of->comm, &request);
    pthread_mutex_unlock(&of->dist->calls);
    complete(of, &request);
}

static void swap(void *user, const void *out, const size_t *out_bytes, void *in,
                 const size_t *in_bytes)
{
    const line *of = user;
    int count = of->dist->ranks.count;
    MPI_Request request;
    place_all(out_bytes, count, of->counts, of->places);
    place_all(in_bytes, count, of->in_counts, of->in_places);
    pthread_mutex_lock(&of->dist->calls);
    MPI_Ialltoallv(out, of->counts, of->places, MPI_BYTE, in, of->in_counts, of->in_places,
                   MPI_BYTE, of->comm, &request);
    pthread_mutex_unlock(&of->dist->calls);
    complete(of, &request);
}

static void tell(void *user, void *bytes, size_t count)
{
    const line *of = user;
    for (size_t at = 0; at < count; at += TELL_BYTES) {
        size_t left = count - at;
        MPI_Request request;
        pthread_mutex_lock(&of->dist->calls);
        MPI_Ibcast((char *)bytes + at, left < TELL_BYTES ? (int)left : TELL_BYTES, MPI_BYTE, 0,
                   of->comm, &request);
        pthread_mutex_unlock(&of->dist->calls);
        complete(of, &request);
    }
}

/* ---- A rank that is lost --------------------------------------------------------------------- */

/* Waits for a second; true where it is time to end. */
static bool stopped_within_a_second(sumi_dist *dist)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    pthread_mutex_lock(&dist->lock);
    if (!dist->stop)
        pthread_cond_timedwait(&dist->stopped, &dist->lock, &until);
    bool stop = dist->stop;
    pthread_mutex_unlock(&dist->lock);
    return stop;
}

static void lose(const sumi_dist *dist, int rank)
{
    sumi_error err;
    sumi_fail(
        &err, SUMI_EIO,
        "rank %d of %d has not been heard of for %d seconds: all ranks are ended, and the run "
        "can be resumed from its last checkpoint",
        rank, dist->ranks.count, BEATS_MISSED);
    dist->lost(dist->user, err.text);
    MPI_Abort(dist->front.comm, 1);
}

/* Counts seconds in which this thread was awake, not a clock's: processes that were all stopped and
 * go on are not lost. */
static void *beat(void *arg)
{
    sumi_dist *dist = arg;
    int count = dist->ranks.count, missed = 0;
    int next = (dist->ranks.rank + 1) % count, before = (dist->ranks.rank + count - 1) % count;
    char out = 0, in = 0;
    MPI_Request sent = MPI_REQUEST_NULL, got;
    pthread_mutex_lock(&dist->calls);
    MPI_Irecv(&in, 1, MPI_BYTE, before, BEAT_TAG, dist->beats, &got);
    pthread_mutex_unlock(&dist->calls);
    while (!stopped_within_a_second(dist)) {
        int ready = 0, heard = 0;
        pthread_mutex_lock(&dist->calls);
        MPI_Test(&sent, &ready, MPI_STATUS_IGNORE);
        if (ready)
            MPI_Isend(&out, 1, MPI_BYTE, next, BEAT_TAG, dist->beats, &sent);
        MPI_Test(&got, &heard, MPI_STATUS_IGNORE);
        if (heard)
            MPI_Irecv(&in, 1, MPI_BYTE, before, BEAT_TAG, dist->beats, &got);
        pthread_mutex_unlock(&dist->calls);
        missed = heard ? 0 : missed + 1;
        if (missed >= BEATS_MISSED)
            lose(dist, before);
    }
    /* The last byte that was sent here may still be on its way, or may never have been sent. */
    pthread_mutex_lock(&dist->calls);
    MPI_Cancel(&got);
    MPI_Request_free(&got);
    if (sent != MPI_REQUEST_NULL)
        MPI_Request_free(&sent);
    pthread_mutex_unlock(&dist->calls);
    return NULL;
}

/* ---- Start and end --------------------------------------------------------------------------- */

static bool make_line(sumi_dist *dist, line *of, int spins)
{
    size_t count = (size_t)dist->ranks.count;
    *of = (line){.dist = dist, .spins = spins};
    of->counts = sumi_calloc(count, sizeof *of->counts);
    of->places = sumi_calloc(count, sizeof *of->places);
    of->in_counts = sumi_calloc(count, sizeof *of->in_counts);
    of->in_places = sumi_calloc(count, sizeof *of->in_places);
    MPI_Comm_dup(MPI_COMM_WORLD, &of->comm);
    return of->counts && of->places && of->in_counts && of->in_places;
}

static void end_line(line *of)
{
    MPI_Comm_free(&of->comm);
    free(of->counts);
    free(of->places);
    free(of->in_counts);
    free(of->in_places);
}

static int count_neighbours(void)
{
    MPI_Comm here;
    int count = 1;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &here);
    MPI_Comm_size(here, &count);
    MPI_Comm_free(&here);
    return count;
}

sumi_status sumi_dist_start(sumi_dist_lost_fn lost, void *user, sumi_dist **out, sumi_error *err)
{
    int provided = 0, rank = 0, count = 0, launched = sumi_dist_launched(&rank);
    *out = NULL;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS)
        return sumi_fail(err, SUMI_EUNSUPPORTED, "MPI cannot be started");
    MPI_Comm_size(MPI_COMM_WORLD, &count);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (count != launched || count > SUMI_RANKS_MAX || provided < MPI_THREAD_SERIALIZED) {
        MPI_Finalize();
        return sumi_fail(err, SUMI_EUNSUPPORTED,
                         "%d processes were started together, and MPI knows of %d%s: is this "
                         "sumi built with another MPI than the launcher's?",
                         launched, count,
                         provided < MPI_THREAD_SERIALIZED ? " and of no threads" : "");
    }
    sumi_dist *dist = sumi_calloc(1, sizeof *dist);
    if (!dist)
        MPI_Abort(MPI_COMM_WORLD, 1); /* the others wait already */
    dist->ranks = (sumi_ranks)SUMI_RANKS_INIT;
    dist->ranks.rank = rank;
    dist->ranks.count = count;
    dist->ranks.gather = gather;
    dist->ranks.swap = swap;
    dist->ranks.tell = tell;
    dist->ranks.user = &dist->front;
    dist->ranks.behind = &dist->behind;
    if (!make_line(dist, &dist->front, SPINS) || !make_line(dist, &dist->behind, 0))
        MPI_Abort(MPI_COMM_WORLD, 1);
    MPI_Comm_dup(MPI_COMM_WORLD, &dist->beats);
    dist->neighbours = count_neighbours();
    dist->lost = lost;
    dist->user = user;
    pthread_mutex_init(&dist->calls, NULL);
    pthread_mutex_init(&dist->lock, NULL);
    pthread_cond_init(&dist->stopped, NULL);
    dist->beating = pthread_create(&dist->thread, NULL, beat, dist) == 0;
    *out = dist;
    return SUMI_OK;
}

const sumi_ranks *sumi_dist_ranks(const sumi_dist *dist)
{
    return dist ? &dist->ranks : NULL;
}

int sumi_dist_threads(const sumi_dist *dist)
{
    int mine = sumi_cpu_count(), part = (int)sysconf(_SC_NPROCESSORS_ONLN) / dist->neighbours;
    mine = part < mine ? part : mine;
    return mine > 1 ? mine : 1;
}

void sumi_dist_stop(sumi_dist *dist)
{
    MPI_Request request;
    if (!dist)
        return;
    pthread_mutex_lock(&dist->calls);
    MPI_Ibarrier(dist->front.comm, &request);
    pthread_mutex_unlock(&dist->calls);
    complete(&dist->front, &request);
    pthread_mutex_lock(&dist->lock);
    dist->stop = true;
    pthread_cond_signal(&dist->stopped);
    pthread_mutex_unlock(&dist->lock);
    if (dist->beating)
        pthread_join(dist->thread, NULL);
    MPI_Comm_free(&dist->beats);
    end_line(&dist->behind);
    end_line(&dist->front);
    MPI_Finalize();
    pthread_cond_destroy(&dist->stopped);
    pthread_mutex_destroy(&dist->lock);
    pthread_mutex_destroy(&dist->calls);
    free(dist);
}
