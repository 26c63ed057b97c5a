/*
 * Sums over ranks that go on while their caller computes.
 *
 * Ranges are collected into parcels, each of which is one exchange: by the numbers in them alone,
 * so that all ranks make the same. What is added up does not depend on how it was parcelled.
 */
#include "base/ranks.h"

#include <pthread.h>
#include <stdlib.h>

struct sumi_exchange {
    sumi_ranks line; /* the ranks' second line, where they have one */
    sumi_reduction sums;
    float *values;
    size_t stride;
    sumi_range *ranges; /* as they were added; neighbours are joined */
    int *ends;          /* of each parcel, in ranges */
    int count, parcels; /* ranges; whole parcels */
    size_t floats;      /* of the parcel that is being filled */
    double waited, took;
    /* Shared with the thread. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool threaded, stop;
    int given, summed; /* parcels */
};

static void sum_parcel(sumi_exchange *e, int parcel)
{
    int first = parcel > 0 ? e->ends[parcel - 1] : 0;
    double began = sumi_time_now();
    sumi_reduce_ranges(&e->sums, e->values, e->stride, e->ranges + first, e->ends[parcel] - first);
    e->took += sumi_time_now() - began;
}

static void *sum_all(void *arg)
{
    sumi_exchange *e = arg;
    pthread_mutex_lock(&e->lock);
    while (!e->stop) {
        if (e->summed == e->given) {
            pthread_cond_wait(&e->changed, &e->lock);
            continue;
        }
        pthread_mutex_unlock(&e->lock);
        sum_parcel(e, e->summed);
        pthread_mutex_lock(&e->lock);
        e->summed++;
        pthread_cond_broadcast(&e->changed);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

sumi_status sumi_exchange_create(const sumi_ranks *ranks, int groups, bool narrow, int most,
                                 size_t floats, sumi_exchange **out, sumi_error *err)
{
    *out = NULL;
    if (sumi_ranks_alone(ranks))
        return SUMI_OK;
    sumi_exchange *e = sumi_calloc(1, sizeof *e);
    if (!e)
        return sumi_fail_memory(err, "exchanges between ranks", sizeof *e);
    size_t room = (size_t)most + floats / SUMI_REDUCED_FLOATS + 1;
    e->line = *ranks;
    e->line.user = ranks->behind ? ranks->behind : ranks->user;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->changed, NULL);
    e->ranges = sumi_calloc(room, sizeof *e->ranges);
    e->ends = sumi_calloc(room, sizeof *e->ends);
    sumi_status status = e->ranges && e->ends
                             ? sumi_reduction_init(&e->sums, &e->line, groups, err)
                             : sumi_fail_memory(err, "exchanges between ranks", room);
    if (status == SUMI_OK && narrow)
        status = sumi_reduction_narrow(&e->sums, err);
    if (status != SUMI_OK) {
        sumi_exchange_free(e);
        return status;
    }
    /* Without a thread the same exchanges come at the end, on the same line. */
    e->threaded = ranks->behind && pthread_create(&e->thread, NULL, sum_all, e) == 0;
    *out = e;
    return SUMI_OK;
}

void sumi_exchange_free(sumi_exchange *e)
{
    if (!e)
        return;
    if (e->threaded) {
        pthread_mutex_lock(&e->lock);
        e->stop = true;
        pthread_cond_broadcast(&e->changed);
        pthread_mutex_unlock(&e->lock);
        pthread_join(e->thread, NULL);
    }
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->lock);
    sumi_reduction_free(&e->sums);
    free(e->ranges);
    free(e->ends);
    free(e);
}

void sumi_exchange_begin(sumi_exchange *e, float *values, size_t stride)
{
    e->values = values;
    e->stride = stride;
    e->count = e->parcels = 0;
    e->floats = 0;
    pthread_mutex_lock(&e->lock);
    e->given = e->summed = 0;
    pthread_mutex_unlock(&e->lock);
}

static void give_parcel(sumi_exchange *e)
{
    e->ends[e->parcels++] = e->count;
    e->floats = 0;
    pthread_mutex_lock(&e->lock);
    e->given = e->parcels;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

static void add_part(sumi_exchange *e, sumi_range part)
{
    sumi_range *last = e->count > 0 ? &e->ranges[e->count - 1] : NULL;
    /* Backward takes parameters from the last to the first. */
    if (e->floats > 0 && part.first + part.count == last->first) {
        last->first = part.first;
        last->count += part.count;
    } else {
        e->ranges[e->count++] = part;
    }
    e->floats += part.count;
    if (e->floats == SUMI_REDUCED_FLOATS)
        give_parcel(e);
}

void sumi_exchange_add(sumi_exchange *e, sumi_range range)
{
    while (range.count > 0) {
        size_t room = SUMI_REDUCED_FLOATS - e->floats;
        size_t count = range.count < room ? range.count : room;
        /* From its end: what comes next may stand before it. */
        range.count -= count;
        add_part(e, (sumi_range){range.first + range.count, count});
    }
}

void sumi_exchange_end(sumi_exchange *e)
{
    double began = sumi_time_now();
    if (e->floats > 0)
        give_parcel(e);
    for (; !e->threaded && e->summed < e->given; e->summed++)
        sum_parcel(e, e->summed);
    pthread_mutex_lock(&e->lock);
    while (e->summed < e->given)
        pthread_cond_wait(&e->changed, &e->lock);
    pthread_mutex_unlock(&e->lock);
    e->waited += sumi_time_now() - began;
}

double sumi_exchange_waited(const sumi_exchange *e)
{
    return e ? e->waited : 0;
}

double sumi_exchange_took(const sumi_exchange *e)
{
    return e ? e->took : 0;
}
