/* What launchers say in the environment, and a program without MPI that they start. */
#include "dist/dist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char *const names[] = {
    "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE", "PMI_RANK", "PMIX_RANK",
    "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"};

static void clear(void)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

static void check(const char *const *pairs, int count, int rank)
{
    int found = -1;
    clear();
    for (; *pairs; pairs += 2)
        setenv(pairs[0], pairs[1], 1);
    assert_int_equal(sumi_dist_launched(&found), count);
    assert_int_equal(found, rank);
    clear();
}

#define CHECK(count, rank, ...) check((const char *const[]){__VA_ARGS__, NULL}, count, rank)

static void test_launchers(void **state)
{
    (void)state;
    CHECK(4, 3, "OMPI_COMM_WORLD_SIZE", "4", "OMPI_COMM_WORLD_RANK", "3", "PMIX_RANK", "3");
    CHECK(2, 0, "PMI_SIZE", "2", "PMI_RANK", "0");
    CHECK(16, 5, "SLURM_STEP_NUM_TASKS", "16", "SLURM_PROCID", "5", "PMIX_RANK", "5");
    /* Alone: one process, a batch script, and what nobody wrote. */
    CHECK(1, 0, "OMPI_COMM_WORLD_SIZE", "1", "OMPI_COMM_WORLD_RANK", "0");
    CHECK(1, 0, "SLURM_STEP_NUM_TASKS", "16", "SLURM_PROCID", "0");
    CHECK(1, 0, "PMI_SIZE", "2", "PMI_RANK", "2");
    CHECK(1, 0, "PMI_SIZE", "two", "PMI_RANK", "1");
    CHECK(1, 0, "PMI_SIZE", "4000", "PMI_RANK", "1");
    CHECK(1, 0, "PMI_RANK", "1");
}

static void test_refuses_without_mpi(void **state)
{
    (void)state;
    sumi_dist *dist;
    sumi_error err = {""};
    setenv("PMI_SIZE", "3", 1);
    setenv("PMI_RANK", "1", 1);
    assert_int_equal(sumi_dist_start(NULL, NULL, &dist, &err), SUMI_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "3 processes were started together, and this sumi was built "
                                     "without MPI"));
    assert_null(dist);
    assert_null(sumi_dist_ranks(dist));
    sumi_dist_stop(dist);
    clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_launchers),
        cmocka_unit_test(test_refuses_without_mpi),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
