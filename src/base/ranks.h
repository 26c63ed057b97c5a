/*
 * Trainers that take every step together, each with a share of the batch's images: threads of a
 * process, processes, or machines. A rank is one of them; how they reach each other is sumi.h's.
 *
 * So that no bit depends on how many they are, a batch is cut into groups; how many of them is
 * a setting of the training. A rank has some groups that follow each other. What is summed over
 * images is summed over each group first, and then over the groups, along one binary tree: sums of
 * groups 0 and 1, 2 and 3, ...; then of these sums likewise, until one is left. Branches whose
 * groups are all one rank's are added there; what is left of the tree, all ranks add alike.
 */
#ifndef SUMI_RANKS_H
#define SUMI_RANKS_H

#include "base/base.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SUMI_RANKS_MAX = 1024, SUMI_GROUPS_MAX = 1024 };

/* NULL is alone, too. */
static inline bool sumi_ranks_alone(const sumi_ranks *ranks)
{
    return !ranks || ranks->count == 1;
}

/* SUMI_EINVAL where there cannot be such a rank, or it cannot reach the others. */
sumi_status sumi_ranks_check(const sumi_ranks *ranks, sumi_error *err);

/* Whether all ranks, which all call it, can go on; status: whether this one can. Where one cannot,
 * all get its status and its message, which names it unless it is rank 0 (meet.c). */
sumi_status sumi_ranks_meet(const sumi_ranks *ranks, sumi_status status, sumi_error *err);
/* The same once all know that this rank has failed. */
sumi_status sumi_ranks_fail(const sumi_ranks *ranks, int rank, sumi_status status, sumi_error *err);

/* Of `total` things in order, part number `part` of `count` has those from here to where the next
 * part begins: groups of ranks, and images of groups. */
static inline int64_t sumi_part_first(int64_t part, int64_t count, int64_t total)
{
    return total * part / count;
}

/* A run of numbers. */
typedef struct {
    size_t first, count;
} sumi_range;

/* ---- Sums along the tree (reduce.c) ---------------------------------------------------------- */

enum { SUMI_BRANCHES_MAX = 20 }; /* that a rank's groups are, at most */

/* Two sums to be added, by their places. */
typedef struct {
    int16_t to, from;
} sumi_tree_pair;

typedef struct {
    const sumi_ranks *ranks; /* NULL: alone */
    int groups;              /* of the whole batch */
    int first, count;        /* those of this rank */
    int branches;            /* whole branches that they are, each added up by this rank alone */
    int branch[SUMI_BRANCHES_MAX]; /* the first group of each, counted from this rank's first */
    int all_branches;              /* of all ranks, in their order */
    int16_t *branches_of;          /* [ranks]: how many each has */
    sumi_tree_pair *inner, *outer; /* within this rank's groups; between branches of the ranks */
    int inner_count, outer_count;
    bool narrow;    /* floats go from rank to rank as bfloat16 */
    void *out, *in; /* numbers on their way */
    float *wide;    /* what came in as bfloat16 */
    size_t *out_bytes, *in_bytes;
    double waited; /* seconds in exchanges so far */
} sumi_reduction;

/* SUMI_EINVAL where there are fewer groups than ranks. ranks (NULL: alone) must outlive it. What a
 * failed one holds is released by free, too; zeros are fine. */
sumi_status sumi_reduction_init(sumi_reduction *reduction, const sumi_ranks *ranks, int groups,
                                sumi_error *err);
/* Floats are sent as bfloat16 from now on: half the bytes, and sums that depend on the ranks, all
 * of which call it. */
sumi_status sumi_reduction_narrow(sumi_reduction *reduction, sumi_error *err);
void sumi_reduction_free(sumi_reduction *reduction);
/* Of `images` images, group number `group` of this rank has those from here to where the next group
 * begins, counted from this rank's first. */
int sumi_reduction_border(const sumi_reduction *reduction, int64_t images, int group);
/* How many images this rank has, and the number of the first. */
int sumi_reduction_images(const sumi_reduction *reduction, int64_t images);
int64_t sumi_reduction_first(const sumi_reduction *reduction, int64_t images);
/* The part of the tree that needs no other rank: values [group][stride], of which numbers begin ..
 * end - 1 are added up; the sum of a branch is then where its first group was. Threads may do
 * different numbers at once. */
void sumi_reduce_floats_here(const sumi_reduction *reduction, float *values, size_t stride,
                             size_t begin, size_t end);
/* The rest of it: values [branch][stride], of which the first count are added up. All ranks get the
 * sums in values [0]. */
void sumi_reduce_floats(sumi_reduction *reduction, float *values, size_t stride, size_t count);
/* The same for numbers of some ranges, SUMI_REDUCED_FLOATS at most, in one exchange. */
enum { SUMI_REDUCED_FLOATS = 1 << 18 };
void sumi_reduce_ranges(sumi_reduction *reduction, float *values, size_t stride,
                        const sumi_range *ranges, int count);
/* Both, for values [group][count]; all ranks get the sums in values [0]. */
void sumi_reduce_doubles(sumi_reduction *reduction, double *values, size_t count);

/* ---- Sums while something else is done (exchange.c) ------------------------------------------ */

/* Floats that are added up over ranks, range by range, as soon as they are there: by a thread of
 * its own where the ranks have a second line (sumi_ranks.behind), else at the end. Ranks add the
 * same ranges in the same order. */
typedef struct sumi_exchange sumi_exchange;

/* most: ranges that are added between begin and end, of `floats` numbers in all. ranks and groups
 * as sumi_reduction_init has them; alone, *out is NULL. */
sumi_status sumi_exchange_create(const sumi_ranks *ranks, int groups, bool narrow, int most,
                                 size_t floats, sumi_exchange **out, sumi_error *err);
void sumi_exchange_free(sumi_exchange *exchange); /* NULL is fine */
/* values [branch][stride] stay the exchange's until the end; sums are then in values [0]. */
void sumi_exchange_begin(sumi_exchange *exchange, float *values, size_t stride);
/* These numbers are there, and will not be touched before the end. */
void sumi_exchange_add(sumi_exchange *exchange, sumi_range range);
void sumi_exchange_end(sumi_exchange *exchange);
/* Seconds so far in which the caller waited in end, and those that exchanges took. */
double sumi_exchange_waited(const sumi_exchange *exchange);
double sumi_exchange_took(const sumi_exchange *exchange);

#endif
