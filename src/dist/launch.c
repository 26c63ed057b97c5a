/*
 * What launchers say in the environment of the processes that they start. MPI itself could tell
 * only after it was started, which takes time and which a process that is alone does without.
 */
#include "dist/dist.h"

#include <stdlib.h>

/* A whole number from 0 to most, or -1. */
static int number_of(const char *variable, int most)
{
    const char *text = getenv(variable);
    char *end;
    if (!text || *text == '\0')
        return -1;
    long value = strtol(text, &end, 10);
    return *end == '\0' && value >= 0 && value <= most ? (int)value : -1;
}

int sumi_dist_launched(int *rank)
{
    /* Open MPI; MPICH and what descends from it, and Slurm with pmi2; Slurm with pmix, whose own
     * counts tell nothing where PMIX_RANK is not beside them: a batch script has them, too. */
    static const char *const known[][3] = {
        {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_RANK"},
        {"PMI_SIZE", "PMI_RANK", "PMI_RANK"},
        {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "PMIX_RANK"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        int count = number_of(known[i][0], SUMI_RANKS_MAX),
            mine = number_of(known[i][1], count - 1);
        if (count < 2 || mine < 0 || number_of(known[i][2], SUMI_RANKS_MAX) < 0)
            continue;
        *rank = mine;
        return count;
    }
    *rank = 0;
    return 1;
}
