/* When a run writes checkpoints, which of them stay, and what it does where they have no room. The
 * linker sends statvfs and write of sumi's objects through the functions below. */
#include "run_fixture.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/statvfs.h>

static uint64_t room;    /* bytes on the disk; 0: as it is */
static long writes_left; /* whole ones before one is cut and the next fails; -1: all are whole */

int __real_statvfs(const char *path, struct statvfs *out);
int __wrap_statvfs(const char *path, struct statvfs *out);
ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);

int __wrap_statvfs(const char *path, struct statvfs *out)
{
    int result = __real_statvfs(path, out);
    if (room > 0) {
        out->f_frsize = 1;
        out->f_bavail = room;
        out->f_blocks = 1;
    }
    return result;
}

ssize_t __wrap_write(int fd, const void *data, size_t size)
{
    if (writes_left > 0)
        writes_left--;
    if (writes_left != 0)
        return __real_write(fd, data, size);
    if (size > 1) /* the disk is full within this one */
        return __real_write(fd, data, size / 2) > 0 ? (ssize_t)(size / 2) : -1;
    errno = ENOSPC;
    return -1;
}

static bool has_step(const fixture *f, int step)
{
    char name[64];
    snprintf(name, sizeof name, "checkpoints/step_%d/manifest.json", step);
    return has(f, name);
}

static void expect_steps(const fixture *f, const int *steps, int count, int best)
{
    for (int step = 0; step <= 40; step++) {
        bool kept = step == best;
        for (int i = 0; i < count; i++)
            kept |= steps[i] == step;
        if (has_step(f, step) != kept)
            fail_msg("step_%d is %s", step, kept ? "missing" : "still there");
    }
}

static int best_of(const fixture *f)
{
    char *text = read_text(f, "best");
    int best = atoi(text + strlen("step_"));
    free(text);
    return best;
}

static void test_which_are_written_and_stay(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 1, 0);
    f.config.epochs = 4;
    f.config.grid = 0;
    f.config.checkpoint_every = 2;
    f.config.keep_last = 3;
    f.config.keep_every = 5;
    assert_ok(run(&f, NULL));
    static const int kept[] = {5, 8, 10, 12};
    expect_steps(&f, kept, 4, best_of(&f));
    assert_contains(&f, "config.json", "\"checkpoint_every\": 2");
    /* They are no part of what a run was begun with. */
    go_on(&f);
    f.config.epochs = 5;
    f.config.checkpoint_every = 0;
    f.config.keep_last = 1;
    f.config.keep_every = 0;
    assert_ok(run(&f, NULL));
    static const int last[] = {15};
    expect_steps(&f, last, 1, best_of(&f));
    close_fixture(&f);
}

static void test_by_the_clock(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    f.config.checkpoint_minutes = 1e-9;
    assert_ok(run(&f, NULL));
    assert_int_equal(f.saves, 1 + PER_EPOCH);
    close_fixture(&f);
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    f.config.checkpoint_minutes = 0;
    assert_ok(run(&f, NULL));
    assert_int_equal(f.saves, 2); /* the first and the last */
    close_fixture(&f);
}

static void test_bad_settings(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    open_fixture(&f, 1, 0);
    f.config.keep_last = 0;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "keep_last 0");
    f.config.keep_last = 2;
    f.config.checkpoint_every = -1;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_int_equal(f.trains, 0);
    close_fixture(&f);
}

static void test_no_room(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    sumi_model *model;
    open_fixture(&f, 1, .9f);
    room = 1000000;
    assert_int_equal(run(&f, &err), SUMI_EIO);
    assert_says(err, "no room for 2 checkpoints");
    assert_int_equal(f.trains, 0);
    assert_false(has(&f, "config.json"));
    room = 0;
    f.config.epochs = 1;
    assert_ok(run(&f, NULL));
    /* The size that is reckoned with is not below the true one. */
    static const char *const files[] = {"model.safetensors", "ema.safetensors", "optim.safetensors",
                                        "state.json", "manifest.json"};
    uint64_t bytes = 0;
    for (int i = 0; i < 5; i++) {
        char name[96], path[PATH_MAX];
        struct stat st;
        snprintf(name, sizeof name, "checkpoints/step_3/%s", files[i]);
        assert_int_equal(stat(join(path, f.run, name), &st), 0);
        bytes += (uint64_t)st.st_size;
    }
    go_on(&f);
    f.config.epochs = 2;
    room = bytes;
    assert_int_equal(run(&f, &err), SUMI_EIO);
    room = 0;
    assert_ok(sumi_run_load(f.run, &model, NULL, NULL));
    assert_int_equal(model->info.steps, 3);
    sumi_models_free(model);
    close_fixture(&f);
}

/* Lines that a full disk cuts are whole again when the run goes on, and none is there twice. */
static void test_lines_on_a_full_disk(void **state)
{
    (void)state;
    char folder[PATH_MAX], path[PATH_MAX];
    uint8_t *data;
    size_t size;
    make_folder(folder);
    join(path, folder, "lines");
    assert_ok(sumi_file_append(path, "one\n", 4, NULL));
    writes_left = 1;
    assert_int_equal(sumi_file_append(path, "two\n", 4, NULL), SUMI_EIO);
    writes_left = -1;
    assert_ok(sumi_file_append(path, "two\n", 4, NULL));
    assert_ok(sumi_file_read(path, 100, &data, &size, NULL));
    assert_string_equal((const char *)data, "one\ntwo\n");
    free(data);
    assert_ok(sumi_remove_tree(folder, NULL));
}

/* Whatever step it goes on from, on however many threads, the run is the same to the bit. */
static void test_every_step_goes_on(void **state)
{
    (void)state;
    fixture straight;
    double whole[32], losses[32];
    const char *const counts = getenv("SUMI_TEST_STEPS");
    int most = counts ? atoi(counts) : 8;
    open_fixture(&straight, 1, .9f);
    straight.config.epochs = 4;
    straight.config.grid = 0;
    straight.config.keep_every = 1;
    assert_ok(run(&straight, NULL));
    assert_int_equal(read_losses(&straight, whole, 32), 12);
    for (int step = 1; step < 12 && step <= most; step++) {
        fixture f;
        char command[3 * PATH_MAX], name[64], path[PATH_MAX];
        open_fixture(&f, 1 << step % 3, .9f);
        snprintf(command, sizeof command, "cp -r '%s' '%s'", straight.run, f.run);
        assert_int_equal(system(command), 0);
        for (int later = step + 1; later <= 12; later++) {
            snprintf(name, sizeof name, "checkpoints/step_%d", later);
            assert_ok(sumi_remove_tree(join(path, f.run, name), NULL));
        }
        f.config = straight.config;
        f.config.out_dir = f.run;
        f.config.user = &f;
        go_on(&f);
        assert_ok(run(&f, NULL));
        assert_same_model(straight.model, f.model);
        assert_int_equal(f.trains, 12 - step);
        assert_int_equal(read_losses(&f, losses, 32), 12);
        assert_memory_equal(losses, whole, 12 * sizeof *whole);
        close_fixture(&f);
    }
    close_fixture(&straight);
}

int main(void)
{
    writes_left = -1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_are_written_and_stay),
        cmocka_unit_test(test_by_the_clock),
        cmocka_unit_test(test_bad_settings),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_lines_on_a_full_disk),
        cmocka_unit_test(test_every_step_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
