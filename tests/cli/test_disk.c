/*
 * Disks that are full, read-only or too small, folders and files without rights, and a run whose
 * folder goes away: each ends in one line that says why, what was there stays, and a run goes on
 * when there is room again, with the same bits.
 *
 * File systems are mounted in a namespace of this process's own, where the system lets it.
 */
#define _GNU_SOURCE
#include "program.h"

#include <sched.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/mount.h>
#endif

#define TINY                                                                                       \
    "--recipe tutorial --batch 8 --base-channels 4 --time-dim 4 --timesteps 8 --grid 0 --threads " \
    "1 "
#define ENDLESS TINY "--checkpoint-every 50 --steps 100000000 "
enum { IMAGES = 40, SIDE = 8, NOBODY = 65534 };

/* Goes on for a step; then the run is that of so many steps which nothing happened to. */
static void goes_on(temp_folder *temp, const char *run)
{
    char line[512];
    program p;
    int64_t steps = latest_of(temp, run) + 1;
    snprintf(line, sizeof line, "train --resume @%s -q --steps %" PRId64, run, steps);
    assert_quiet_run(temp, line);
    snprintf(line, sizeof line, "train @x.npy " TINY "-q --steps %" PRId64 " --out @straight",
             steps);
    assert_quiet_run(temp, line);
    snprintf(line, sizeof line, "diff @straight/model.safetensors @%s/model.safetensors", run);
    program_run(&p, temp, line);
    if (p.code != 0)
        fail_msg("after %" PRId64 " steps: %s%s", steps, p.out, p.err);
    program_free(&p);
    assert_int_equal(sumi_remove_tree(temp_path(temp, "straight"), NULL), SUMI_OK);
}

/* The program ends with an error of files, in one last line with this. */
static void ends_saying(program *p, temp_folder *temp, const char *part)
{
    program_wait(p, temp);
    if (p->code != 10 + SUMI_EIO || strstr(p->err, part) == NULL)
        fail_msg("exit %d, expected %d and '%s': %s", p->code, 10 + SUMI_EIO, part, p->err);
    program_free(p);
}

/* Everything that writes, to places in this folder, fails with this line and leaves nothing. */
static void nothing_can_be_written(temp_folder *temp, const char *folder, const char *part)
{
    static const char *const lines[] = {
        "sample @run --size 8 -n 2 -q --out @%s/x.png",
        "sample @run --size 8 -n 2 -q --out @%s/x.npy",
        "convert @run @%s/m.pth",
        "convert @run @%s/m.safetensors",
        "data preview @x.npy -q --out @%s/x.png",
        "classify train @x.npy --shape random-conv -q --out @%s/e.safetensors",
    };
    int before = temp_entries(temp_path(temp, folder));
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char line[256];
        const char *at = strstr(lines[i], "%s");
        snprintf(line, sizeof line, "%.*s%s%s", (int)(at - lines[i]), lines[i], folder, at + 2);
        program p;
        program_run(&p, temp, line);
        if (p.code != 10 + SUMI_EIO || strstr(p.err, part) == NULL)
            fail_msg("sumi %s: exit %d, expected '%s': %s", line, p.code, part, p.err);
        program_free(&p);
        if (temp_entries(temp_path(temp, folder)) != before)
            fail_msg("sumi %s: something is left in %s", line, folder);
    }
}

/* ---- Rights ---------------------------------------------------------------------------------- */

/* Rights do not bind root, who becomes somebody else for these tests: with the real user, too, as
 * the system hides a program whose users differ from the sanitizers' search for leaks. */
static int setup_rights(void **state)
{
    if (temp_setup(state) != 0)
        return -1;
    temp_folder *temp = *state;
    if (geteuid() == 0 &&
        (chown(temp->path, NOBODY, (gid_t)-1) != 0 || setresuid(NOBODY, NOBODY, 0) != 0))
        return -1;
    return 0;
}

static int teardown_rights(void **state)
{
    uid_t real, effective, saved;
    if (getresuid(&real, &effective, &saved) != 0 || (saved == 0 && setresuid(0, 0, 0) != 0))
        return -1;
    return temp_teardown(state);
}

static bool can_run(void)
{
    return faccessat(AT_FDCWD, SUMI_PROGRAM, X_OK, AT_EACCESS) == 0;
}

static void set_rights(temp_folder *temp, const char *name, mode_t mode)
{
    assert_int_equal(chmod(temp_path(temp, name), mode), 0);
}

static void test_no_rights(void **state)
{
    temp_folder *temp = *state;
    if (!can_run())
        skip();
    put_pictures(temp, IMAGES, SIDE);
    assert_quiet_run(temp, "train @x.npy " TINY "-q --steps 2 --out @run");
    assert_int_equal(mkdir(temp_path(temp, "closed"), 0555), 0);
    nothing_can_be_written(temp, "closed", "ermission denied");
    assert_failed_run(temp, "train @x.npy " TINY "-q --steps 1 --out @closed/run", 10 + SUMI_EIO,
                      "ermission denied");
    set_rights(temp, "run/config.json", 0);
    assert_failed_run(temp, "train --resume @run --steps 3", 10 + SUMI_EIO, "ermission denied");
    set_rights(temp, "run/config.json", 0600);
    set_rights(temp, "x.npy", 0);
    assert_failed_run(temp, "train @x.npy " TINY "-q --steps 1 --out @new", 10 + SUMI_EIO,
                      "ermission denied");
    assert_false(sumi_is_dir(temp_path(temp, "new")));
}

/* Rights go while it trains. */
static void test_rights_go(void **state)
{
    temp_folder *temp = *state;
    program p;
    if (!can_run())
        skip();
    put_pictures(temp, IMAGES, SIDE);
    program_start(&p, temp, "train @x.npy " ENDLESS "--out @run");
    program_await(&p, temp, "img/s", 1);
    set_rights(temp, "run/checkpoints", 0555);
    ends_saying(&p, temp, "ermission denied");
    set_rights(temp, "run/checkpoints", 0755);
    goes_on(temp, "run");
}

static void test_folder_goes(void **state)
{
    temp_folder *temp = *state;
    program p;
    put_pictures(temp, IMAGES, SIDE);
    program_start(&p, temp, "train @x.npy " ENDLESS "--out @run");
    program_await(&p, temp, "img/s", 1);
    assert_int_equal(sumi_remove_tree(temp_path(temp, "run"), NULL), SUMI_OK);
    ends_saying(&p, temp, "/run");
}

/* ---- File systems ---------------------------------------------------------------------------- */

static bool mounts;

#ifdef __linux__
static bool put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return good;
}

/* A namespace in which this process may mount; who is not root becomes that in it. */
static bool leave_namespace(void)
{
    char users[32], groups[32];
    bool root = geteuid() == 0;
    snprintf(users, sizeof users, "0 %d 1", (int)geteuid());
    snprintf(groups, sizeof groups, "0 %d 1", (int)getegid());
    if (unshare(root ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0)
        return false;
    if (!root && !(put("/proc/self/setgroups", "deny") && put("/proc/self/uid_map", users) &&
                   put("/proc/self/gid_map", groups)))
        return false;
    return mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0;
}

static void mount_disk(temp_folder *temp, const char *size)
{
    if (!mounts)
        skip();
    const char *disk = temp_path(temp, "disk");
    if ((mkdir(disk, 0755) != 0 && errno != EEXIST) || mount("tmpfs", disk, "tmpfs", 0, size) != 0)
        skip();
}

static void unmount_disk(temp_folder *temp)
{
    assert_int_equal(umount(temp_path(temp, "disk")), 0);
}

static void make_read_only(temp_folder *temp)
{
    assert_int_equal(mount("tmpfs", temp_path(temp, "disk"), "tmpfs", MS_REMOUNT | MS_RDONLY, NULL),
                     0);
}
#else
static bool leave_namespace(void)
{
    return false;
}

static void mount_disk(temp_folder *temp, const char *size)
{
    (void)temp;
    (void)size;
    skip();
}

static void unmount_disk(temp_folder *temp)
{
    (void)temp;
}

static void make_read_only(temp_folder *temp)
{
    (void)temp;
}
#endif

/* Takes what room there is. */
static void fill(temp_folder *temp)
{
    static const char zeros[4096];
    int fd = open(temp_path(temp, "disk/filler"), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    for (size_t piece = sizeof zeros; piece > 0;)
        piece = write(fd, zeros, piece) > 0 ? piece : piece / 2;
    assert_int_equal(close(fd), 0);
}

static void test_small_disk(void **state)
{
    temp_folder *temp = *state;
    put_pictures(temp, IMAGES, SIDE);
    mount_disk(temp, "size=64k");
    assert_failed_run(temp, "train @x.npy " TINY "-q --steps 1 --out @disk/run", 10 + SUMI_EIO,
                      "no room for 2 checkpoints");
    assert_false(sumi_is_file(temp_path(temp, "disk/run/config.json")));
    unmount_disk(temp);
}

static void test_full_disk(void **state)
{
    temp_folder *temp = *state;
    put_pictures(temp, IMAGES, SIDE);
    assert_quiet_run(temp, "train @x.npy " TINY "-q --steps 2 --out @run");
    mount_disk(temp, "size=64k");
    fill(temp);
    nothing_can_be_written(temp, "disk", "No space left on device");
    assert_failed_run(temp, "train @x.npy " TINY "-q --steps 1 --out @disk/run", 10 + SUMI_EIO,
                      "disk");
    unmount_disk(temp);
}

/* Somebody else takes the room while it trains. */
static void test_disk_fills(void **state)
{
    temp_folder *temp = *state;
    program p;
    put_pictures(temp, IMAGES, SIDE);
    mount_disk(temp, "size=8m");
    program_start(&p, temp, "train @x.npy " ENDLESS "--out @disk/run");
    program_await(&p, temp, "img/s", 1);
    fill(temp);
    ends_saying(&p, temp, "/disk/run");
    assert_int_equal(unlink(temp_path(temp, "disk/filler")), 0);
    goes_on(temp, "disk/run");
    unmount_disk(temp);
}

/* A run on a disk that may only be read can be used, and not trained on. */
static void test_read_only(void **state)
{
    temp_folder *temp = *state;
    put_pictures(temp, IMAGES, SIDE);
    mount_disk(temp, "size=8m");
    assert_quiet_run(temp, "train @x.npy " TINY "-q --steps 2 --out @disk/run");
    assert_quiet_run(temp, "train @x.npy " TINY "-q --steps 2 --out @run");
    make_read_only(temp);
    assert_quiet_run(temp, "sample @disk/run --size 8 -n 2 -q --out @x.png");
    assert_failed_run(temp, "train --resume @disk/run --steps 3 -q", 10 + SUMI_EIO,
                      "ead-only file system");
    assert_failed_run(temp, "train @x.npy " TINY "-q --steps 3 --out @disk/new", 10 + SUMI_EIO,
                      "ead-only file system");
    nothing_can_be_written(temp, "disk", "ead-only file system");
    unmount_disk(temp);
}

int main(void)
{
    const struct CMUnitTest first[] = {
        cmocka_unit_test_setup_teardown(test_no_rights, setup_rights, teardown_rights),
        cmocka_unit_test_setup_teardown(test_rights_go, setup_rights, teardown_rights),
        cmocka_unit_test_setup_teardown(test_folder_goes, temp_setup, temp_teardown),
    };
    const struct CMUnitTest mounted[] = {
        cmocka_unit_test_setup_teardown(test_small_disk, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_full_disk, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_disk_fills, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_read_only, temp_setup, temp_teardown),
    };
    int failed = cmocka_run_group_tests(first, NULL, NULL);
    mounts = leave_namespace();
    return failed + cmocka_run_group_tests(mounted, NULL, NULL);
}
