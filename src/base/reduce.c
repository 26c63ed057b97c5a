/*
 * Sums over the groups of a batch, along one tree whatever the ranks. Knows nothing of images or
 * networks: it is given numbers.
 *
 * A sum is kept where the first of its groups was. The tree of `groups` leaves is a list of pairs
 * (to, from), level by level: at the level of step 1, 2, 4, ... groups i and i + step, for every i
 * that is a multiple of 2 step; what has no partner goes on to the next level as it is.
 */
#include "base/ranks.h"

#include <stdlib.h>
#include <string.h>

/* Numbers that are exchanged at a time: doubles are a norm's and few, floats the gradients. */
enum { DOUBLES = 4096, FLOATS = SUMI_REDUCED_FLOATS };

/* ---- Making it ------------------------------------------------------------------------------- */

static int ranks_of(const sumi_reduction *r)
{
    return r->ranks ? r->ranks->count : 1;
}

static int group_begin(const sumi_reduction *r, int rank)
{
    return (int)sumi_part_first(rank, ranks_of(r), r->groups);
}

static int rank_of_group(const sumi_reduction *r, int group)
{
    int rank = 0;
    while (group_begin(r, rank + 1) <= group)
        rank++;
    return rank;
}

/* The rank that adds groups i and i + step, or -1 where they are those of several. */
static int owner_of_pair(const sumi_reduction *r, int i, int step)
{
    int last = i + 2 * step < r->groups ? i + 2 * step - 1 : r->groups - 1;
    int rank = rank_of_group(r, i);
    return rank == rank_of_group(r, last) ? rank : -1;
}

/* Lists the pairs and branches; place [groups]: the branch that begins with a group, or -1. */
static void list_pairs(sumi_reduction *r, int *place)
{
    int me = r->ranks ? r->ranks->rank : 0;
    for (int i = 0; i < r->groups; i++)
        place[i] = 0;
    for (int step = 1; step < r->groups; step *= 2)
        for (int i = 0; i + step < r->groups; i += 2 * step) {
            int owner = owner_of_pair(r, i, step);
            if (owner >= 0)
                place[i + step] = -1;
            if (owner == me)
                r->inner[r->inner_count++] =
                    (sumi_tree_pair){(int16_t)(i - r->first), (int16_t)(i + step - r->first)};
        }
    for (int i = 0; i < r->groups; i++) {
        if (place[i] < 0)
            continue;
        int rank = rank_of_group(r, i);
        if (rank == me)
            r->branch[r->branches++] = i - r->first;
        r->branches_of[rank]++;
        place[i] = r->all_branches++;
    }
    for (int step = 1; step < r->groups; step *= 2)
        for (int i = 0; i + step < r->groups; i += 2 * step)
            if (owner_of_pair(r, i, step) < 0)
                r->outer[r->outer_count++] =
                    (sumi_tree_pair){(int16_t)place[i], (int16_t)place[i + step]};
}

static sumi_status make_room(sumi_reduction *r, sumi_error *err)
{
    int ranks = ranks_of(r);
    size_t chunk = FLOATS / (size_t)ranks + 1;
    size_t bytes = (size_t)r->branches * FLOATS * sizeof(float);
    size_t incoming = (size_t)r->all_branches * chunk * sizeof(float);
    size_t doubles = (size_t)r->all_branches * DOUBLES * sizeof(double);
    if (incoming < doubles)
        incoming = doubles;
    if (incoming < FLOATS * sizeof(float)) /* the sums of all ranks */
        incoming = FLOATS * sizeof(float);
    r->out = malloc(bytes);
    r->in = malloc(incoming);
    r->out_bytes = sumi_calloc((size_t)ranks, sizeof *r->out_bytes);
    r->in_bytes = sumi_calloc((size_t)ranks, sizeof *r->in_bytes);
    return r->out && r->in && r->out_bytes && r->in_bytes
               ? SUMI_OK
               : sumi_fail_memory(err, "numbers on their way between ranks", bytes + incoming);
}

sumi_status sumi_reduction_narrow(sumi_reduction *r, sumi_error *err)
{
    if (sumi_ranks_alone(r->ranks) || r->narrow)
        return SUMI_OK;
    size_t floats = (size_t)r->all_branches * (FLOATS / (size_t)r->ranks->count + 1);
    r->wide = malloc(floats * sizeof *r->wide);
    r->narrow = r->wide != NULL;
    return r->wide ? SUMI_OK
                   : sumi_fail_memory(err, "numbers from other ranks", floats * sizeof *r->wide);
}

static sumi_status check_rank(const sumi_ranks *ranks, sumi_error *err)
{
    bool good = ranks->count >= 1 && ranks->count <= SUMI_RANKS_MAX && ranks->rank >= 0 &&
                ranks->rank < ranks->count;
    return good ? SUMI_OK
                : sumi_fail(err, SUMI_EINVAL, "rank %d of %d ranks", ranks->rank, ranks->count);
}

sumi_status sumi_ranks_check(const sumi_ranks *ranks, sumi_error *err)
{
    if (check_rank(ranks, err) != SUMI_OK)
        return SUMI_EINVAL;
    if (ranks->count > 1 && !(ranks->gather && ranks->swap && ranks->tell))
        return sumi_fail(err, SUMI_EINVAL, "ranks need gather, swap and tell");
    return SUMI_OK;
}

sumi_status sumi_reduction_init(sumi_reduction *r, const sumi_ranks *ranks, int groups,
                                sumi_error *err)
{
    *r = (sumi_reduction){.ranks = ranks, .groups = groups};
    if (ranks && check_rank(ranks, err) != SUMI_OK)
        return SUMI_EINVAL;
    if (groups < 1 || groups > SUMI_GROUPS_MAX)
        return sumi_fail(err, SUMI_EINVAL, "groups is %d, expected 1..%d", groups, SUMI_GROUPS_MAX);
    if (groups < ranks_of(r))
        return sumi_fail(err, SUMI_EINVAL,
                         "groups is %d, and there are %d ranks: each takes one or more of the "
                         "groups that a batch is cut into",
                         groups, ranks_of(r));
    r->first = group_begin(r, ranks ? ranks->rank : 0);
    r->count = group_begin(r, (ranks ? ranks->rank : 0) + 1) - r->first;
    r->branches_of = sumi_calloc((size_t)ranks_of(r), sizeof *r->branches_of);
    r->inner = sumi_calloc((size_t)groups, sizeof *r->inner);
    r->outer = sumi_calloc((size_t)groups, sizeof *r->outer);
    int *place = sumi_calloc((size_t)groups, sizeof *place);
    sumi_status status = SUMI_OK;
    if (r->branches_of && r->inner && r->outer && place)
        list_pairs(r, place);
    else
        status = sumi_fail_memory(err, "the groups of a batch", (size_t)groups * sizeof *r->inner);
    free(place);
    return status == SUMI_OK && !sumi_ranks_alone(ranks) ? make_room(r, err) : status;
}

void sumi_reduction_free(sumi_reduction *r)
{
    free(r->branches_of);
    free(r->inner);
    free(r->outer);
    free(r->out);
    free(r->in);
    free(r->wide);
    free(r->out_bytes);
    free(r->in_bytes);
    *r = (sumi_reduction){0};
}

/* ---- Images ---------------------------------------------------------------------------------- */

int64_t sumi_reduction_first(const sumi_reduction *r, int64_t images)
{
    return sumi_part_first(r->first, r->groups, images);
}

int sumi_reduction_border(const sumi_reduction *r, int64_t images, int group)
{
    return (int)(sumi_part_first(r->first + group, r->groups, images) -
                 sumi_reduction_first(r, images));
}

int sumi_reduction_images(const sumi_reduction *r, int64_t images)
{
    return sumi_reduction_border(r, images, r->count);
}

/* ---- Adding ---------------------------------------------------------------------------------- */

static void add_floats(const sumi_tree_pair *pairs, int count, float *values, size_t stride,
                       size_t begin, size_t end)
{
    for (const sumi_tree_pair *p = pairs; p < pairs + count; p++) {
        float *to = values + (size_t)p->to * stride;
        const float *from = values + (size_t)p->from * stride;
        for (size_t i = begin; i < end; i++)
            to[i] += from[i];
    }
}

static void add_doubles(const sumi_tree_pair *pairs, int count, double *values, size_t stride)
{
    for (const sumi_tree_pair *p = pairs; p < pairs + count; p++) {
        double *to = values + (size_t)p->to * stride;
        const double *from = values + (size_t)p->from * stride;
        for (size_t i = 0; i < stride; i++)
            to[i] += from[i];
    }
}

void sumi_reduce_floats_here(const sumi_reduction *r, float *values, size_t stride, size_t begin,
                             size_t end)
{
    add_floats(r->inner, r->inner_count, values, stride, begin, end);
}

/* ---- Exchanging ------------------------------------------------------------------------------ */

static void gather(sumi_reduction *r, const void *mine, void *all)
{
    double begin = sumi_time_now();
    r->ranks->gather(r->ranks->user, mine, all, r->in_bytes);
    r->waited += sumi_time_now() - begin;
}

/* Few numbers: all ranks get every branch's, and add them alike. */
static void reduce_block(sumi_reduction *r, double *values, size_t stride, size_t count)
{
    double *out = r->out, *in = r->in;
    for (int b = 0; b < r->branches; b++)
        memcpy(out + (size_t)b * count, values + (size_t)r->branch[b] * stride,
               count * sizeof *out);
    for (int rank = 0; rank < r->ranks->count; rank++)
        r->in_bytes[rank] = (size_t)r->branches_of[rank] * count * sizeof *in;
    gather(r, out, in);
    add_doubles(r->outer, r->outer_count, in, count);
    memcpy(values, in, count * sizeof *values);
}

void sumi_reduce_doubles(sumi_reduction *r, double *values, size_t count)
{
    add_doubles(r->inner, r->inner_count, values, count);
    if (sumi_ranks_alone(r->ranks))
        return;
    for (size_t at = 0; at < count; at += DOUBLES)
        reduce_block(r, values + at, count, count - at < DOUBLES ? count - at : DOUBLES);
}

/* To the nearest, a tie to the even one; what is not a number stays none. */
static uint16_t narrow_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float wide_of(uint16_t value)
{
    uint32_t bits = (uint32_t)value << 16;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}

static size_t width_of(const sumi_reduction *r)
{
    return r->narrow ? sizeof(uint16_t) : sizeof(float);
}

/* As they are sent. */
static void pack(const sumi_reduction *r, const float *from, size_t count, void *to)
{
    uint16_t *narrow = to;
    if (!r->narrow)
        memcpy(to, from, count * sizeof *from);
    for (size_t i = 0; i < count && r->narrow; i++)
        narrow[i] = narrow_of(from[i]);
}

static void unpack(const sumi_reduction *r, const void *from, size_t count, float *to)
{
    const uint16_t *narrow = from;
    if (!r->narrow)
        memcpy(to, from, count * sizeof *to);
    for (size_t i = 0; i < count && r->narrow; i++)
        to[i] = wide_of(narrow[i]);
}

/* Ranges as one row of numbers, of which `count` from `begin` on are packed into `sent` or, where
 * that is what came in, unpacked from it. */
typedef struct {
    const sumi_reduction *reduction;
    const sumi_range *ranges;
    bool in;
} row;

static void move(const row *of, float *values, size_t begin, size_t count, void *sent)
{
    const sumi_range *range = of->ranges;
    char *at = sent;
    for (; count > 0; range++) {
        if (begin >= range->count) {
            begin -= range->count;
            continue;
        }
        size_t left = range->count - begin, part = left < count ? left : count;
        float *here = values + range->first + begin;
        if (of->in)
            unpack(of->reduction, at, part, here);
        else
            pack(of->reduction, here, part, at);
        at += part * width_of(of->reduction);
        count -= part;
        begin = 0;
    }
}

/* The sums of this rank's part, `mine` numbers of each branch, which have come in. */
static const float *add_part(sumi_reduction *r, size_t mine)
{
    float *sums = r->narrow ? r->wide : r->in;
    if (r->narrow)
        unpack(r, r->in, (size_t)r->all_branches * mine, sums);
    add_floats(r->outer, r->outer_count, sums, mine, 0, mine);
    return sums;
}

/* Many numbers: each rank gets every branch's of its part of them, adds those, and tells all. */
static void reduce_many(sumi_reduction *r, float *values, size_t stride, const sumi_range *ranges,
                        size_t count)
{
    int ranks = r->ranks->count;
    size_t width = width_of(r), mine = 0;
    char *out = r->out;
    const row sent = {r, ranges, false}, got = {r, ranges, true};
    for (int rank = 0; rank < ranks; rank++) {
        size_t begin = (size_t)sumi_part_first(rank, ranks, (int64_t)count);
        size_t part = (size_t)sumi_part_first(rank + 1, ranks, (int64_t)count) - begin;
        for (int b = 0; b < r->branches; b++, out += part * width)
            move(&sent, values + (size_t)b * stride, begin, part, out);
        r->out_bytes[rank] = (size_t)r->branches * part * width;
        if (rank == r->ranks->rank)
            mine = part;
    }
    for (int rank = 0; rank < ranks; rank++)
        r->in_bytes[rank] = (size_t)r->branches_of[rank] * mine * width;
    double began = sumi_time_now();
    r->ranks->swap(r->ranks->user, r->out, r->out_bytes, r->in, r->in_bytes);
    r->waited += sumi_time_now() - began;
    pack(r, add_part(r, mine), mine, r->out);
    for (int rank = 0; rank < ranks; rank++)
        r->in_bytes[rank] = (size_t)(sumi_part_first(rank + 1, ranks, (int64_t)count) -
                                     sumi_part_first(rank, ranks, (int64_t)count)) *
                            width;
    gather(r, r->out, r->in);
    move(&got, values, 0, count, r->in);
}

void sumi_reduce_ranges(sumi_reduction *r, float *values, size_t stride, const sumi_range *ranges,
                        int count)
{
    size_t floats = 0;
    for (int i = 0; i < count; i++)
        floats += ranges[i].count;
    if (!sumi_ranks_alone(r->ranks))
        reduce_many(r, values, stride, ranges, floats);
}

void sumi_reduce_floats(sumi_reduction *r, float *values, size_t stride, size_t count)
{
    for (size_t at = 0; at < count; at += FLOATS) {
        const sumi_range range = {at, count - at < FLOATS ? count - at : FLOATS};
        sumi_reduce_ranges(r, values, stride, &range, 1);
    }
}
