/*
 * Training runs whose process is killed at random times and gone on with, on one thread or two:
 * their weights, optimiser, averages and metrics are those of a run that nothing happened to. And
 * runs that two processes want.
 *
 * SUMI_TEST_KILLS is how often processes are killed; 50 where it is not set. SUMI_TEST_FIRST is the
 * number of the first run, so that many kills can be had in slices.
 */
#include "program.h"
#include "base/count.h"

#include <sys/stat.h>

#define SETTINGS                                                                                   \
    "--batch 8 --base-channels 4 --time-dim 4 --timesteps 8 --grid 0 --ema 0.9 --epochs 20 "       \
    "--checkpoint-every 3 -q"
enum { IMAGES = 40, SIDE = 8, STEPS = 100 };

static void assert_same_text(temp_folder *temp, const char *run, const char *name)
{
    char paths[2][256];
    snprintf(paths[0], sizeof paths[0], "straight/%s", name);
    snprintf(paths[1], sizeof paths[1], "%s/%s", run, name);
    char *a = program_read(temp, paths[0]), *b = program_read(temp, paths[1]);
    assert_string_equal(a, b);
    free(a);
    free(b);
}

/* Every step is there, once, in order, with the same loss and rate. */
static void assert_same_metrics(temp_folder *temp, const char *run)
{
    char path[256];
    snprintf(path, sizeof path, "%s/metrics.jsonl", run);
    char *a = program_read(temp, "straight/metrics.jsonl"), *b = program_read(temp, path);
    char *rest_a = a, *rest_b = b;
    for (int step = 1; step <= STEPS; step++) {
        json_t *x = json_loads(strtok_r(rest_a, "\n", &rest_a), 0, NULL);
        const char *line = strtok_r(rest_b, "\n", &rest_b);
        json_t *y = line != NULL ? json_loads(line, JSON_REJECT_DUPLICATES, NULL) : NULL;
        if (y == NULL || json_integer_value(json_object_get(y, "step")) != step)
            fail_msg("%s, step %d: %s", path, step, line != NULL ? line : "missing");
        static const char *const same[] = {"step", "epoch", "loss", "lr"};
        for (int i = 0; i < 4; i++)
            assert_true(json_equal(json_object_get(x, same[i]), json_object_get(y, same[i])));
        json_decref(x);
        json_decref(y);
    }
    assert_null(strtok_r(rest_b, "\n", &rest_b));
    free(a);
    free(b);
}

static void assert_same_run(temp_folder *temp, const char *run)
{
    assert_same_tensors(temp, "straight", run, "model.pth");
    assert_same_tensors(temp, "straight", run, "model.safetensors");
    assert_same_tensors(temp, "straight", run, "checkpoints/step_100/model.safetensors");
    assert_same_tensors(temp, "straight", run, "checkpoints/step_100/optim.safetensors");
    assert_same_tensors(temp, "straight", run, "checkpoints/step_100/ema.safetensors");
    assert_same_text(temp, run, "loss.svg");
    assert_same_metrics(temp, run);
    /* A step's events have as many bytes whatever the clock says. */
    char path[64];
    struct stat a, b;
    snprintf(path, sizeof path, "%s/events.out.tfevents.sumi", run);
    assert_int_equal(stat(temp_path(temp, path), &a), 0);
    assert_int_equal(stat(temp_path(temp, "straight/events.out.tfevents.sumi"), &b), 0);
    assert_int_equal(a.st_size, b.st_size);
}

static uint32_t draw(uint64_t number, uint32_t bound)
{
    const sumi_random at = {.seed = 5, .stream = SUMI_STREAM_USER, .image = number};
    return sumi_random_below(&at, 0, bound);
}

static void test_killed_at_random_times(void **state)
{
    temp_folder *temp = *state;
    int first = test_count("SUMI_TEST_FIRST", 0), runs = first;
    int wanted = test_count("SUMI_TEST_KILLS", 50), kills = 0;
    char line[512], run[32];
    program p;
    put_pictures(temp, IMAGES, SIDE);
    double start = sumi_time_now();
    assert_quiet_run(temp,
                     "train @x.npy --recipe tutorial " SETTINGS " --threads 1 --out @straight");
    uint32_t longest = (uint32_t)((sumi_time_now() - start) * 4e5) + 1000; /* microseconds */
    for (; kills < wanted || runs == first; runs++) {
        bool begun = false, finished = false;
        snprintf(run, sizeof run, "run%d", runs);
        for (int turn = 0; !finished; turn++) {
            uint64_t number = (uint64_t)runs << 32 | (uint64_t)turn;
            int threads = 1 + (int)draw(2 * number, 2);
            uint32_t wait = draw(2 * number + 1, longest);
            const struct timespec pause = {wait / 1000000, (long)(wait % 1000000) * 1000};
            snprintf(line, sizeof line,
                     begun ? "train --resume @%s -q --threads %d"
                           : "train @x.npy --recipe tutorial " SETTINGS " --out @%s --threads %d",
                     run, threads);
            program_start(&p, temp, line);
            nanosleep(&pause, NULL);
            kill(p.pid, SIGKILL); /* it may have ended meanwhile */
            program_wait(&p, temp);
            if (p.code != 0 && p.code != 128 + SIGKILL)
                fail_msg("sumi %s: exit %d: %s", line, p.code, p.err);
            kills += p.code != 0;
            finished = p.code == 0;
            program_free(&p);
            char latest[64];
            snprintf(latest, sizeof latest, "%s/latest", run);
            begun = sumi_is_file(temp_path(temp, latest));
            /* Most are killed, and some get on, however fast the machine is by now. */
            longest = finished ? longest / 2 + 1000 : longest + longest / 32 + 10;
            if (!begun && !finished) /* killed before its first checkpoint: begun anew */
                assert_int_equal(sumi_remove_tree(temp_path(temp, run), NULL), SUMI_OK);
        }
        assert_same_run(temp, run);
        assert_int_equal(sumi_remove_tree(temp_path(temp, run), NULL), SUMI_OK);
    }
    print_message("%d kills in %d runs; the next slice is SUMI_TEST_FIRST=%d\n", kills,
                  runs - first, runs);
}

/* The second process is refused with the number of the first; a lock ends with its process. */
static void test_two_want_one_run(void **state)
{
    temp_folder *temp = *state;
    program first, second;
    char text[80];
    put_pictures(temp, IMAGES, SIDE);
    assert_quiet_run(temp, "train shapes --recipe tutorial --size 8 --batch 8 --base-channels 4 "
                           "--time-dim 4 --grid 0 --steps 1 -q --out @run");
    for (int i = 0; i < test_count("SUMI_TEST_LOCKS", 20); i++) {
        program_start(&first, temp, "train --resume @run --steps 100000000");
        program_await(&first, temp, "img/s", 1);
        snprintf(text, sizeof text, "process %ld is training in this folder", (long)first.pid);
        program_start(&second, temp, "train --resume @run --steps 100000000 -q");
        program_wait(&second, temp);
        assert_int_equal(second.code, 10 + SUMI_EINVAL);
        assert_non_null(strstr(second.err, text));
        program_free(&second);
        assert_int_equal(kill(first.pid, SIGKILL), 0);
        program_wait(&first, temp);
        program_free(&first);
    }
    assert_quiet_run(temp, "train --resume @run --steps 2 -q");
}

/* Signals at random times end a run with 130, saved; killed, interrupted, it is the same run. */
static void test_signals_at_random_times(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    temp_folder *temp = *state;
    char line[512];
    program p;
    put_pictures(temp, IMAGES, SIDE);
    double start = sumi_time_now();
    assert_quiet_run(temp,
                     "train @x.npy --recipe tutorial " SETTINGS " --threads 1 --out @straight");
    uint32_t longest = (uint32_t)((sumi_time_now() - start) * 5e5) + 1000;
    assert_quiet_run(temp, "train @x.npy --recipe tutorial " SETTINGS " --out @run --epochs 1");
    for (int turn = 0;; turn++) {
        uint32_t wait = draw((uint64_t)turn, longest);
        const struct timespec pause = {wait / 1000000, (long)(wait % 1000000) * 1000};
        snprintf(line, sizeof line, "train --resume @run --epochs 20 -q --threads %d",
                 1 + turn % 2);
        program_start(&p, temp, line);
        nanosleep(&pause, NULL);
        kill(p.pid, signals[turn % 3]);
        program_wait(&p, temp);
        /* Before the program listens a signal ends it; after that it stops in good order. */
        bool ended = p.code == 130 || p.code == 0 || p.code == 128 + signals[turn % 3];
        if (!ended)
            fail_msg("turn %d: exit %d: %s", turn, p.code, p.err);
        bool finished = p.code == 0;
        longest += longest / 32 + 10;
        program_free(&p);
        if (finished)
            break;
    }
    assert_same_run(temp, "run");
}

/* The folder goes away under a run, and a run through a link. */
static void test_places(void **state)
{
    temp_folder *temp = *state;
    program p;
    put_pictures(temp, IMAGES, SIDE);
    program_start(
        &p, temp,
        "train shapes --recipe tutorial --size 8 --batch 8 --base-channels 4 --time-dim 4 --grid 0 "
        "--checkpoint-every 50 --steps 100000000 --out @gone");
    program_await(&p, temp, "img/s", 1);
    assert_int_equal(rename(temp_path(temp, "gone"), temp_path(temp, "moved")), 0);
    program_wait(&p, temp);
    assert_int_equal(p.code, 10 + SUMI_EIO);
    assert_non_null(strstr(p.err, "gone"));
    program_free(&p);
    assert_quiet_run(temp, "train --resume @moved --steps 1 -q");

    assert_int_equal(mkdir(temp_path(temp, "target"), 0777), 0);
    assert_int_equal(symlink("target", temp_path(temp, "link")), 0);
    assert_quiet_run(temp, "train @x.npy --recipe tutorial " SETTINGS " --epochs 1 --out @link");
    assert_quiet_run(temp, "train --resume @target --epochs 2 -q");
    assert_true(sumi_is_file(temp_path(temp, "link/checkpoints/step_10/manifest.json")));
    /* Nothing can be made there, and that is said before the work. */
    assert_failed_run(temp, "train @x.npy --recipe tutorial " SETTINGS " --out /proc/run",
                      10 + SUMI_EIO, "/proc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_killed_at_random_times, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_signals_at_random_times, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_two_want_one_run, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_places, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
