/*
 * Trainers that take every step together, each with a share of the batch's images: threads of a
 * process, processes, or machines. A rank is one of them.
 *
 * Every function is called by all ranks, in the same order and with the same counts. Whoever gives
 * them sees to it that a rank that is lost ends the others too.
 */
#ifndef SUMI_RANKS_H
#define SUMI_RANKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SUMI_RANKS_MAX = 1024 };

typedef struct {
    int rank, count; /* 0..count - 1; count is 1..SUMI_RANKS_MAX */
    /* Adds up numbers over the ranks, in the order of the ranks; all get the same sums. */
    void (*sum)(void *user, double *values, size_t count);
    void (*sum_floats)(void *user, float *values, size_t count);
    /* All get what rank 0 has. */
    void (*tell)(void *user, void *bytes, size_t count);
    void *user;
} sumi_ranks;

/* NULL is alone, too. */
static inline bool sumi_ranks_alone(const sumi_ranks *ranks)
{
    return !ranks || ranks->count == 1;
}

/* Of `total` things in order, rank has those from here to where the next one begins. */
static inline int64_t sumi_ranks_first(int rank, int count, int64_t total)
{
    return total * rank / count;
}

#endif
