/*
 * In place of mpi/mpi.c where there is no MPI to build with.
 */
#include "dist/dist.h"

sumi_status sumi_dist_start(sumi_dist_lost_fn lost, void *user, sumi_dist **out, sumi_error *err)
{
    int rank;
    (void)lost;
    (void)user;
    *out = NULL;
    return sumi_fail(
        err, SUMI_EUNSUPPORTED,
        "%d processes were started together, and this sumi was built without MPI: each "
        "would do the whole work alone",
        sumi_dist_launched(&rank));
}

const sumi_ranks *sumi_dist_ranks(const sumi_dist *dist)
{
    (void)dist;
    return NULL;
}

int sumi_dist_threads(const sumi_dist *dist)
{
    (void)dist;
    return 0;
}

void sumi_dist_stop(sumi_dist *dist)
{
    (void)dist;
}
