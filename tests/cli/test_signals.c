/*
 * SIGINT, SIGTERM and SIGHUP in each phase of each long command: it stops with 130, what is done is
 * saved, and nothing that was there is broken. A second signal ends the program at once.
 *
 * Each phase is as long as it likes, so that it is the signal that ends it; the signal is sent when
 * the program has told of the phase, or waits for a file that this process has a lease on.
 */
#define _GNU_SOURCE
#include "program.h"
#include "base/count.h"

#include <jansson.h>

#define NET "--recipe tutorial --base-channels 4 --time-dim 4 "
enum { SIDE = 8, IMAGES = 400 };
static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

/* The data, a run of two epochs and an evaluator. */
static int setup(void **state)
{
    if (temp_setup(state) != 0)
        return -1;
    temp_folder *temp = *state;
    put_pictures(temp, IMAGES, SIDE);
    if (setenv("XDG_CACHE_HOME", temp_path(temp, "cache"), 1) != 0)
        return -1;
    assert_quiet_run(temp, "train @x.npy " NET "--epochs 2 --batch 40 --grid 0 -q --out @run");
    assert_quiet_run(temp, "classify train @x.npy --shape random-conv --out @e.safetensors -q");
    return 0;
}

/* The program with these words gets the signal once it has told this, and ends with 130 and a last
 * word that has part in it. */
static void stops(temp_folder *temp, const char *line, const char *told, int number,
                  const char *part)
{
    program p;
    program_start(&p, temp, line);
    program_await(&p, temp, told, 1);
    assert_int_equal(kill(p.pid, number), 0);
    program_wait(&p, temp);
    if (p.code != 130 || strstr(p.err, part) == NULL || p.out[0] != '\0')
        fail_msg("sumi %s: signal %d, exit %d, expected '%s': %s%s", line, number, p.code, part,
                 p.err, p.out);
    program_free(&p);
}

/* It goes on from there. */
static void goes_on(temp_folder *temp, const char *run)
{
    char line[256];
    int64_t step = latest_of(temp, run);
    snprintf(line, sizeof line, "train --resume @%s --steps %" PRId64 " -q", run, step + 1);
    assert_quiet_run(temp, line);
    assert_int_equal(latest_of(temp, run), step + 1);
}

/* ---- Training -------------------------------------------------------------------------------- */

static void test_in_training(void **state)
{
    for (int i = 0; i < 3; i++) {
        char line[256], run[16];
        snprintf(run, sizeof run, "run%d", i);
        snprintf(line, sizeof line,
                 "train @x.npy " NET "--grid 0 --steps 100000000 --json --out @%s", run);
        stops(*state, line, "\"phase\":\"train\"", signals[i], "stopped and saved at step");
        goes_on(*state, run);
    }
}

/* While a grid is drawn its epoch's checkpoint is there already. */
static void test_in_a_grid(void **state)
{
    stops(*state, "train @x.npy " NET "--batch 40 --epochs 3 --grid 1024 --json --out @grids",
          "\"phase\":\"sample\"", SIGINT, "stopped and saved at step 10");
    assert_int_equal(latest_of(*state, "grids"), 10);
    /* The grid that is missing comes first. */
    stops(*state, "train --resume @grids --json", "\"phase\":\"sample\"", SIGTERM,
          "stopped and saved at step 10");
    assert_int_equal(latest_of(*state, "grids"), 10);
}

static void test_in_a_score(void **state)
{
    temp_folder *temp = *state;
    stops(temp,
          "train @x.npy " NET "--batch 40 --epochs 3 --grid 0 --eval-every 1 "
          "--eval-images 1000000 --json --out @scored",
          "\"phase\":\"sample\"", SIGHUP, "stopped and saved at step 10");
    assert_int_equal(latest_of(temp, "scored"), 10);
    assert_false(sumi_is_file(temp_path(temp, "scored/eval.jsonl")));
    for (int i = 0; i < 2; i++)
        stops(temp, "train --resume @scored --json", "\"phase\":\"sample\"", signals[i],
              "stopped and saved at step 10");
    assert_int_equal(latest_of(temp, "scored"), 10);
}

/* ---- Everything else ------------------------------------------------------------------------- */

static void test_in_an_evaluators_training(void **state)
{
    temp_folder *temp = *state;
    for (int i = 0; i < 3; i++)
        stops(temp, "classify train shapes --size 8 --epochs 100000 --json --out @v1.safetensors",
              "\"phase\":\"train\"", signals[i], "the evaluator's training was cancelled");
    assert_false(sumi_is_file(temp_path(temp, "v1.safetensors")));
}

static void test_in_an_evaluation(void **state)
{
    for (int i = 0; i < 3; i++)
        stops(*state, "eval @run --data @x.npy --evaluator @e.safetensors -n 1000000 --json",
              "\"phase\":\"sample\"", signals[i], "cancelled");
}

static void test_in_a_search(void **state)
{
    temp_folder *temp = *state;
    for (int i = 0; i < 3; i++)
        stops(temp, "tune @run --data @x.npy --evaluator @e.safetensors -n 1000000 --json",
              "\"phase\":\"sample\"", signals[i], "the search was cancelled");
    assert_false(sumi_is_file(temp_path(temp, "run/sampling.json")));
    goes_on(temp, "run");
}

static void test_in_a_sampling(void **state)
{
    for (int i = 0; i < 3; i++)
        stops(*state, "sample @run -n 1000000 --size 8 --json --out @many.npy",
              "\"phase\":\"sample\"", signals[i], "");
}

/* ---- While it waits -------------------------------------------------------------------------- */

/* A lease on a file makes whoever opens it wait; -1 where the file system has none. */
static int take_lease(temp_folder *temp, const char *name)
{
    signal(SIGIO, SIG_IGN); /* says that somebody waits */
    int fd = open(temp_path(temp, name), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0)
        return fd;
    close(fd);
    return -1;
}

static void await_opening(int fd)
{
    const struct timespec pause = {0, 5000000};
    while (fcntl(fd, F_GETLEASE) == F_WRLCK)
        nanosleep(&pause, NULL);
}

/* Where nothing is trained yet, nothing is saved either: the first signal is enough. */
static void test_while_data_are_read(void **state)
{
    temp_folder *temp = *state;
    program p;
    for (int i = 0; i < 3; i++) {
        int fd = take_lease(temp, "x.npy");
        if (fd < 0)
            skip();
        program_start(&p, temp, "train @x.npy " NET "--steps 10 --out @unborn");
        await_opening(fd);
        assert_int_equal(kill(p.pid, signals[i]), 0);
        program_wait(&p, temp);
        assert_int_equal(p.code, 130);
        assert_false(sumi_is_dir(temp_path(temp, "unborn")));
        program_free(&p);
        close(fd);
    }
}

/* The first signal asks a run to stop that waits for one of its files and does not; the second ends
 * it where it stands, and the run is what it was. */
static void test_a_second_one(void **state)
{
    temp_folder *temp = *state;
    program p;
    for (int i = 0; i < 3; i++) {
        int status, fd = take_lease(temp, "run/metrics.jsonl");
        int64_t step = latest_of(temp, "run");
        if (fd < 0)
            skip();
        program_start(&p, temp, "train --resume @run --steps 100000000");
        await_opening(fd);
        assert_int_equal(kill(p.pid, signals[i]), 0);
        program_await(&p, temp, "once more stops at once", 1);
        assert_int_equal(waitpid(p.pid, &status, WNOHANG), 0);
        assert_int_equal(kill(p.pid, signals[(i + 1) % 3]), 0);
        program_wait(&p, temp);
        assert_int_equal(p.code, 130);
        assert_null(strstr(p.err, "stopped and saved"));
        program_free(&p);
        close(fd);
        assert_int_equal(latest_of(temp, "run"), step);
        goes_on(temp, "run");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_training),      cmocka_unit_test(test_in_a_grid),
        cmocka_unit_test(test_in_a_score),       cmocka_unit_test(test_in_an_evaluators_training),
        cmocka_unit_test(test_in_an_evaluation), cmocka_unit_test(test_in_a_search),
        cmocka_unit_test(test_in_a_sampling),    cmocka_unit_test(test_while_data_are_read),
        cmocka_unit_test(test_a_second_one),
    };
    int failed = 0;
    for (int i = 0; i < test_count("SUMI_TEST_ROUNDS", 1); i++)
        failed += cmocka_run_group_tests(tests, setup, temp_teardown);
    return failed;
}
