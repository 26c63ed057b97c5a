/*
 * Whether all ranks can go on; and where one cannot, its status and message for all of them.
 */
#include "base/ranks.h"

#include <string.h>

typedef struct {
    sumi_status status;
    sumi_error err;
} failure;

sumi_status sumi_ranks_fail(const sumi_ranks *ranks, int rank, sumi_status status, sumi_error *err)
{
    failure mine = {.status = status}, all = {.status = SUMI_EINVAL};
    size_t bytes[SUMI_RANKS_MAX] = {0};
    if (err)
        mine.err = *err;
    bytes[rank] = sizeof all;
    ranks->gather(ranks->user, &mine, &all, bytes);
    if (rank == 0 && err)
        *err = all.err;
    else
        sumi_fail(err, all.status, "rank %d: %s", rank, all.err.text);
    return all.status;
}

sumi_status sumi_ranks_meet(const sumi_ranks *ranks, sumi_status status, sumi_error *err)
{
    char mine = status != SUMI_OK, all[SUMI_RANKS_MAX];
    size_t bytes[SUMI_RANKS_MAX] = {0};
    if (sumi_ranks_alone(ranks))
        return status;
    for (int rank = 0; rank < ranks->count; rank++)
        bytes[rank] = sizeof mine;
    ranks->gather(ranks->user, &mine, all, bytes);
    const char *failed = memchr(all, 1, (size_t)ranks->count);
    return failed ? sumi_ranks_fail(ranks, (int)(failed - all), status, err) : SUMI_OK;
}
