/*
 * dist: the processes that a launcher (mpirun, srun) has started together, as ranks that exchange
 * bytes.
 *
 * Does: tells whether this process is one of several, starts and ends MPI, moves bytes, and ends
 * all processes within half a minute where one is lost. Built with MPI where that is there; without
 * it, several processes are refused. Does not: know what the bytes are.
 */
#ifndef SUMI_DIST_H
#define SUMI_DIST_H

#include "base/ranks.h"

/* How many processes the launcher says that it started, and which of them this is: 1 and 0 where
 * nothing says so. Known before anything is started (launch.c). */
int sumi_dist_launched(int *rank);

typedef struct sumi_dist sumi_dist;

/* Called, from a thread of its own, where a process was lost, before all are ended. */
typedef void (*sumi_dist_lost_fn)(void *user, const char *text);
/* Called where several were launched, by all of them; signals that threads shall not get must be
 * blocked by now. SUMI_EUNSUPPORTED: this program was built without MPI. */
sumi_status sumi_dist_start(sumi_dist_lost_fn lost, void *user, sumi_dist **out, sumi_error *err);
/* Valid until stop. */
const sumi_ranks *sumi_dist_ranks(const sumi_dist *dist);
/* Threads for this one of the processes on its machine: as many as it may have cores, and no more
 * than its part of the machine's. */
int sumi_dist_threads(const sumi_dist *dist);
/* All call it; returns when all have. NULL is fine. */
void sumi_dist_stop(sumi_dist *dist);

#endif
