/*
 * Ranks that are threads of a test: they meet at a barrier, and read what the others have.
 */
#ifndef SUMI_TEST_MEETING_H
#define SUMI_TEST_MEETING_H

#include "base/ranks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEETING_MAX = 8 };

typedef struct {
    int count;
    pthread_barrier_t barrier;
    const void *given[MEETING_MAX];
    const size_t *sizes[MEETING_MAX];
    _Atomic int64_t exchanges, bytes;
} meeting;

typedef struct attendant {
    meeting *at;
    int rank;
    struct attendant *behind; /* what a second thread of the rank meets as; NULL: there is none */
} attendant;

static inline void meeting_come(const attendant *me, const void *values, const size_t *sizes)
{
    me->at->given[me->rank] = values;
    me->at->sizes[me->rank] = sizes;
    pthread_barrier_wait(&me->at->barrier);
}

static inline void meeting_leave(const attendant *me, size_t bytes)
{
    me->at->exchanges++;
    me->at->bytes += (int64_t)bytes;
    pthread_barrier_wait(&me->at->barrier);
}

/* Ranks that gather different things are at different places of the program: real ones would wait
 * for ever, or read what they were not sent. */
static inline void meeting_agree(const attendant *me, int other, const size_t *bytes)
{
    const size_t *theirs = me->at->sizes[other];
    if (theirs && memcmp(theirs, bytes, (size_t)me->at->count * sizeof *bytes) == 0)
        return;
    fprintf(stderr, "rank %d gathers what rank %d does not\n", me->rank, other);
    abort();
}

static inline void meeting_gather(void *user, const void *mine, void *all, const size_t *bytes)
{
    const attendant *me = user;
    size_t at = 0;
    meeting_come(me, mine, bytes);
    for (int r = 0; r < me->at->count; r++)
        meeting_agree(me, r, bytes);
    for (int r = 0; r < me->at->count; at += bytes[r++])
        if (bytes[r] > 0)
            memcpy((char *)all + at, me->at->given[r], bytes[r]);
    meeting_leave(me, at);
}

static inline void meeting_swap(void *user, const void *out, const size_t *out_bytes, void *in,
                                const size_t *in_bytes)
{
    const attendant *me = user;
    size_t at = 0;
    meeting_come(me, out, out_bytes);
    for (int r = 0; r < me->at->count; at += in_bytes[r++]) {
        size_t from = 0;
        for (int before = 0; before < me->rank; before++)
            from += me->at->sizes[r][before];
        if (in_bytes[r] > 0)
            memcpy((char *)in + at, (const char *)me->at->given[r] + from, in_bytes[r]);
    }
    meeting_leave(me, at);
}

static inline void meeting_tell(void *user, void *bytes, size_t count)
{
    const attendant *me = user;
    meeting_come(me, bytes, NULL);
    if (me->rank > 0)
        memcpy(bytes, me->at->given[0], count);
    meeting_leave(me, count);
}

static inline sumi_ranks meeting_ranks(attendant *me)
{
    return (sumi_ranks){.size = sizeof(sumi_ranks),
                        .rank = me->rank,
                        .count = me->at->count,
                        .gather = meeting_gather,
                        .swap = meeting_swap,
                        .tell = meeting_tell,
                        .user = me,
                        .behind = me->behind};
}

/* Runs a function once for each rank, each on a thread of its own, with args [count] of `size`
 * bytes; people [count]: its attendants, which args may point to. Returns how often they met, and
 * *behind (NULL is fine) how often their second threads did. */
static inline int64_t meeting_hold_both(int count, attendant *people, void *(*run)(void *),
                                        void *args, size_t size, int64_t *behind)
{
    meeting at = {.count = count}, second = {.count = count};
    attendant seconds[MEETING_MAX];
    pthread_t threads[MEETING_MAX];
    pthread_barrier_init(&at.barrier, NULL, (unsigned)count);
    pthread_barrier_init(&second.barrier, NULL, (unsigned)count);
    for (int r = 0; r < count; r++) {
        seconds[r] = (attendant){&second, r, NULL};
        people[r] = (attendant){&at, r, &seconds[r]};
    }
    for (int r = 0; r < count; r++)
        pthread_create(&threads[r], NULL, run, (char *)args + (size_t)r * size);
    for (int r = 0; r < count; r++)
        pthread_join(threads[r], NULL);
    pthread_barrier_destroy(&at.barrier);
    pthread_barrier_destroy(&second.barrier);
    if (behind)
        *behind = second.exchanges;
    return at.exchanges;
}

static inline int64_t meeting_hold(int count, attendant *people, void *(*run)(void *), void *args,
                                   size_t size)
{
    return meeting_hold_both(count, people, run, args, size, NULL);
}

#endif
