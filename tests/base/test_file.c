/*
 * Reading whole files and writing them atomically: what is refused, what the messages name, and
 * what is left after a full disk, a size limit, missing rights or an abort.
 */
#ifdef __linux__
#define _GNU_SOURCE /* unshare */
#include <sched.h>
#include <sys/mount.h>
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/temp_folder.h"

#define assert_contains(text, part) assert_non_null(strstr(text, part))

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static bool holds(const char *path, const char *text)
{
    char buffer[256] = {0};
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    size_t size = fread(buffer, 1, sizeof buffer - 1, file);
    fclose(file);
    return size == strlen(text) && memcmp(buffer, text, size) == 0;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void test_read(void **state)
{
    temp_folder *temp = *state;
    const char *path = temp_path(temp, "a");
    uint8_t *data;
    size_t size;
    sumi_error err;
    put(path, "");
    assert_int_equal(sumi_file_read(path, 0, &data, &size, &err), SUMI_OK);
    assert_int_equal(size, 0);
    assert_int_equal(data[0], 0);
    free(data);
    put(path, "seven b");
    const size_t caps[] = {7, 8, 1000, SIZE_MAX};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(sumi_file_read(path, caps[i], &data, &size, &err), SUMI_OK);
        assert_int_equal(size, 7);
        assert_string_equal((char *)data, "seven b");
        free(data);
    }
    const char *link = temp_path(temp, "link");
    assert_int_equal(symlink("a", link), 0);
    assert_int_equal(sumi_file_read(link, 100, &data, &size, &err), SUMI_OK);
    free(data);
}

static void test_read_refuses(void **state)
{
    temp_folder *temp = *state;
    uint8_t *data = NULL;
    size_t size = 99;
    sumi_error err;
    const char *path = temp_path(temp, "a");
    put(path, "seven b");
    assert_int_equal(sumi_file_read(path, 6, &data, &size, &err), SUMI_EUNSUPPORTED);
    assert_contains(err.text, path);
    assert_contains(err.text, "7 bytes");
    assert_contains(err.text, "at most 6");
    assert_int_equal(sumi_file_read(temp_path(temp, "none"), 6, &data, &size, &err), SUMI_EIO);
    assert_contains(err.text, "/none: No such file or directory");
    assert_int_equal(sumi_file_read(temp_path(temp, "a/b"), 6, &data, &size, &err), SUMI_EIO);
    assert_contains(err.text, "Not a directory");
    assert_int_equal(sumi_file_read(temp->path, 6, &data, &size, &err), SUMI_EIO);
    assert_contains(err.text, "is a directory");
    const char *fifo = temp_path(temp, "fifo"); /* must not wait for a writer either */
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(sumi_file_read(fifo, 6, &data, &size, &err), SUMI_EIO);
    assert_contains(err.text, "is a FIFO");
    assert_int_equal(sumi_file_read("/dev/zero", 6, &data, &size, &err), SUMI_EIO);
    assert_contains(err.text, "is a device");
    assert_int_equal(sumi_file_read("", 6, &data, &size, NULL), SUMI_EIO);
    assert_null(data);
    assert_int_equal(size, 99);
}

/* Files in /proc have size 0 until they are read, like a file that grows meanwhile. */
static void test_read_unknown_size(void **state)
{
    (void)state;
    uint8_t *data = NULL;
    size_t size = 0;
    sumi_error err;
    struct stat st;
    const char *path = "/proc/self/maps";
    if (stat(path, &st) != 0)
        skip();
    assert_int_equal(sumi_file_read(path, 1 << 20, &data, &size, &err), SUMI_OK);
    assert_true(size > 0);
    assert_int_equal(data[size], 0);
    assert_int_equal(data[size - 1], '\n');
    free(data);
    data = NULL;
    assert_int_equal(sumi_file_read(path, 100, &data, &size, &err), SUMI_EUNSUPPORTED);
    assert_contains(err.text, path);
    assert_contains(err.text, "100");
    assert_null(data);
}

/* ---- Atomic writes --------------------------------------------------------------------------- */

static void test_save(void **state)
{
    temp_folder *temp = *state;
    const char *path = temp_path(temp, "a");
    struct stat st;
    sumi_error err;
    mode_t mask = umask(027);
    assert_int_equal(sumi_file_save(path, "one", 3, &err), SUMI_OK);
    assert_true(holds(path, "one"));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(chmod(path, 0604), 0);
    assert_int_equal(sumi_file_save(path, "", 0, &err), SUMI_OK); /* keeps its permissions */
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0604);
    assert_int_equal(st.st_size, 0);
    umask(mask);
    assert_int_equal(temp_entries(temp->path), 1);
}

/* Pieces of all sizes around the buffer's arrive in order. */
static void test_pieces(void **state)
{
    temp_folder *temp = *state;
    const char *path = temp_path(temp, "a");
    const size_t sizes[] = {0, 1, 65535, 1, 65536, 3, 65537, 200000, 7, 0, 65530, 6, 1, 100};
    enum { TOTAL = 600000 };
    uint8_t *bytes = malloc(TOTAL), *back;
    assert_non_null(bytes);
    for (size_t i = 0; i < TOTAL; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    sumi_file *file;
    sumi_error err;
    assert_int_equal(sumi_file_begin(path, &file, &err), SUMI_OK);
    size_t used = 0, size;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(sumi_file_write(file, bytes + used, sizes[i], &err), SUMI_OK);
        used += sizes[i];
    }
    assert_true(used < TOTAL);
    assert_int_equal(sumi_file_commit(file, &err), SUMI_OK);
    assert_int_equal(sumi_file_read(path, TOTAL, &back, &size, &err), SUMI_OK);
    assert_int_equal(size, used);
    assert_memory_equal(back, bytes, used);
    free(back);
    free(bytes);
    assert_int_equal(temp_entries(temp->path), 1);
}

static void test_untouched_until_commit(void **state)
{
    temp_folder *temp = *state;
    const char *path = temp_path(temp, "a");
    static char large[200000];
    sumi_file *file, *other;
    sumi_error err;
    put(path, "old");
    assert_int_equal(sumi_file_begin(path, &file, &err), SUMI_OK);
    assert_int_equal(sumi_file_write(file, large, sizeof large, &err), SUMI_OK);
    assert_true(holds(path, "old"));
    sumi_file_abort(file);
    assert_true(holds(path, "old"));
    assert_int_equal(temp_entries(temp->path), 1);
    sumi_file_abort(NULL);
    /* Two at once do not meet; the last commit wins. */
    assert_int_equal(sumi_file_begin(path, &file, &err), SUMI_OK);
    assert_int_equal(sumi_file_begin(path, &other, &err), SUMI_OK);
    assert_int_equal(sumi_file_write(file, "first", 5, &err), SUMI_OK);
    assert_int_equal(sumi_file_write(other, "second", 6, &err), SUMI_OK);
    assert_int_equal(sumi_file_commit(other, &err), SUMI_OK);
    assert_true(holds(path, "second"));
    assert_int_equal(sumi_file_commit(file, &err), SUMI_OK);
    assert_true(holds(path, "first"));
    assert_int_equal(temp_entries(temp->path), 1);
}

/* What a killed process with the same number left behind is neither used nor removed. */
static void test_stale_temp(void **state)
{
    temp_folder *temp = *state;
    char name[64];
    sumi_error err;
    snprintf(name, sizeof name, ".sumi-%ld-0.tmp", (long)getpid());
    put(temp_path(temp, name), "stale");
    assert_int_equal(sumi_file_save(temp_path(temp, "a"), "new", 3, &err), SUMI_OK);
    assert_true(holds(temp_path(temp, "a"), "new"));
    assert_true(holds(temp_path(temp, name), "stale"));
    assert_int_equal(temp_entries(temp->path), 2);
}

static void test_links(void **state)
{
    temp_folder *temp = *state;
    struct stat st;
    sumi_error err;
    const char *target = temp_path(temp, "sub/target"), *link = temp_path(temp, "link");
    assert_int_equal(mkdir(temp_path(temp, "sub"), 0755), 0);
    put(target, "old");
    assert_int_equal(symlink("sub/hop", link), 0);
    assert_int_equal(symlink(target, temp_path(temp, "sub/hop")), 0); /* relative, then absolute */
    assert_int_equal(sumi_file_save(link, "new", 3, &err), SUMI_OK);
    assert_true(holds(target, "new"));
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(temp_entries(temp->path), 2);
    assert_int_equal(temp_entries(temp_path(temp, "sub")), 2);
    const char *dangling = temp_path(temp, "dangling");
    assert_int_equal(symlink("sub/made", dangling), 0);
    assert_int_equal(sumi_file_save(dangling, "made", 4, &err), SUMI_OK);
    assert_true(holds(temp_path(temp, "sub/made"), "made"));
    assert_int_equal(symlink("loop", temp_path(temp, "loop")), 0);
    assert_int_equal(sumi_file_save(temp_path(temp, "loop"), "x", 1, &err), SUMI_EIO);
    assert_contains(err.text, strerror(ELOOP));
    assert_int_equal(symlink("sub", temp_path(temp, "folder")), 0);
    assert_int_equal(sumi_file_save(temp_path(temp, "folder"), "x", 1, &err), SUMI_EIO);
    assert_contains(err.text, "is a directory");
}

static void test_save_refuses(void **state)
{
    temp_folder *temp = *state;
    sumi_error err;
    sumi_file *file = NULL;
    struct stat st;
    assert_int_equal(sumi_file_begin(temp->path, &file, &err), SUMI_EIO);
    assert_contains(err.text, temp->path);
    assert_contains(err.text, "is a directory");
    assert_int_equal(sumi_file_begin(temp_path(temp, "none/a"), &file, &err), SUMI_EIO);
    assert_contains(err.text, "/none/a: No such file or directory");
    put(temp_path(temp, "plain"), "old");
    assert_int_equal(sumi_file_begin(temp_path(temp, "plain/a"), &file, &err), SUMI_EIO);
    assert_contains(err.text, "/plain/a: Not a directory");
    assert_int_equal(mkfifo(temp_path(temp, "fifo"), 0600), 0);
    assert_int_equal(sumi_file_begin(temp_path(temp, "fifo"), &file, &err), SUMI_EIO);
    assert_contains(err.text, "is a FIFO");
    assert_int_equal(sumi_file_save("/dev/null", "x", 1, &err), SUMI_EIO);
    assert_contains(err.text, "is a device");
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    assert_int_equal(sumi_file_begin("", &file, &err), SUMI_EIO);
    assert_int_equal(sumi_file_begin(temp_path(temp, "new/"), &file, &err), SUMI_EIO);
    static char name[6000];
    memset(name, 'n', sizeof name - 1);
    assert_int_equal(sumi_file_begin(name, &file, &err), SUMI_EIO);
    assert_contains(err.text, strerror(ENAMETOOLONG));
    assert_null(file);
    assert_int_equal(temp_entries(temp->path), 2);
    name[255] = '\0'; /* the longest name that file systems take */
    assert_int_equal(sumi_file_save(temp_path(temp, name), "long", 4, &err), SUMI_OK);
    assert_true(holds(temp_path(temp, name), "long"));
}

/* ---- Failing disks and missing rights: in a child process, whose exit status is the result --- */

static void run_child(temp_folder *temp, int (*body)(temp_folder *temp))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(body(temp));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* A write that fails part of the way: at the write, or at the commit for what was still buffered.
 * The number of the first broken expectation, or 0. */
static int expect_failure(const char *folder, const char *path, int error)
{
    static char large[300000];
    sumi_error err = {""};
    sumi_file *file;
    if (sumi_file_save(path, large, sizeof large, &err) != SUMI_EIO)
        return 10;
    if (strncmp(err.text, path, strlen(path)) != 0 || !strstr(err.text, strerror(error)))
        return 11;
    if (!holds(path, "old") || temp_entries(folder) != 1)
        return 12;
    if (sumi_file_begin(path, &file, &err) != SUMI_OK)
        return 13;
    if (sumi_file_write(file, large, 60000, &err) != SUMI_OK)
        return 14;
    if (sumi_file_commit(file, &err) != SUMI_EIO || !strstr(err.text, strerror(error)))
        return 15;
    if (!holds(path, "old") || temp_entries(folder) != 1)
        return 16;
    /* After a failed write nothing is written, and commit fails too. */
    if (sumi_file_begin(path, &file, &err) != SUMI_OK)
        return 17;
    if (sumi_file_write(file, large, sizeof large, &err) != SUMI_EIO || temp_entries(folder) != 1)
        return 18;
    if (sumi_file_write(file, "x", 1, &err) != SUMI_EIO ||
        sumi_file_commit(file, &err) != SUMI_EIO || !strstr(err.text, "earlier write"))
        return 19;
    if (!holds(path, "old") || temp_entries(folder) != 1)
        return 20;
    return 0;
}

static int child_size_limit(temp_folder *temp)
{
    const char *path = temp_path(temp, "a");
    struct rlimit limit = {40000, 40000};
    put(path, "old");
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 1;
    return expect_failure(temp->path, path, EFBIG);
}

static void test_size_limit(void **state)
{
    run_child(*state, child_size_limit);
}

#ifdef __linux__
/* A full file system: a small tmpfs in a namespace of the child's own. */
static int child_full_disk(temp_folder *temp)
{
    const char *path = temp_path(temp, "disk/a"), *disk = temp_path(temp, "disk");
    if (unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0)
        return 77;
    if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0)
        return 77;
    if (mkdir(disk, 0755) != 0 || mount("tmpfs", disk, "tmpfs", 0, "size=48k") != 0)
        return 77;
    put(path, "old");
    int result = expect_failure(disk, path, ENOSPC);
    umount(disk);
    return result;
}
#else
static int child_full_disk(temp_folder *temp)
{
    (void)temp;
    return 77;
}
#endif

static void test_full_disk(void **state)
{
    run_child(*state, child_full_disk);
}

/* Rights do not bind root, so the child becomes somebody else. */
static int child_rights(temp_folder *temp)
{
    const char *file = temp_path(temp, "a"), *folder = temp_path(temp, "sub");
    const char *inside = temp_path(temp, "sub/b");
    const uid_t nobody = 65534;
    sumi_error err = {""};
    put(file, "old");
    if (geteuid() == 0 && (chown(temp->path, nobody, (gid_t)-1) != 0 ||
                           chown(file, nobody, (gid_t)-1) != 0 || setuid(nobody) != 0))
        return 77;
    if (mkdir(folder, 0555) != 0 || chmod(file, 0444) != 0)
        return 1;
    if (sumi_file_save(inside, "new", 3, &err) != SUMI_EIO ||
        !strstr(err.text, "sub/b: Permission denied"))
        return 2;
    if (sumi_file_save(file, "new", 3, &err) != SUMI_EIO ||
        !strstr(err.text, "a: Permission denied"))
        return 3;
    if (!holds(file, "old") || temp_entries(temp->path) != 2)
        return 4;
    /* A folder that may be written and not read: works, though it cannot be synced. */
    if (chmod(folder, 0333) != 0 || sumi_file_save(inside, "new", 3, &err) != SUMI_OK ||
        !holds(inside, "new"))
        return 5;
    return chmod(folder, 0755) == 0 ? 0 : 6;
}

static void test_rights(void **state)
{
    run_child(*state, child_rights);
}

/* ---- Appending ------------------------------------------------------------------------------- */

static void test_append(void **state)
{
    temp_folder *temp = *state;
    const char *path = temp_path(temp, "log");
    sumi_error err;
    assert_int_equal(sumi_file_append(path, "one\n", 4, &err), SUMI_OK);
    assert_int_equal(sumi_file_append(path, "", 0, &err), SUMI_OK);
    assert_int_equal(sumi_file_append(path, "two\n", 4, &err), SUMI_OK);
    assert_true(holds(path, "one\ntwo\n"));
    assert_int_equal(sumi_file_append(temp->path, "x", 1, &err), SUMI_EIO);
    assert_contains(err.text, strerror(EISDIR));
    assert_int_equal(sumi_file_append(temp_path(temp, "no/log"), "x", 1, &err), SUMI_EIO);
    assert_contains(err.text, "/no/log: No such file or directory");
    if (access("/dev/full", W_OK) == 0) {
        assert_int_equal(sumi_file_append("/dev/full", "x", 1, &err), SUMI_EIO);
        assert_string_equal(err.text, "/dev/full: No space left on device");
    }
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, temp_setup, temp_teardown)

/* A file in parts is PATH.part until it is whole, and what was written stays there. */
static void test_part(void **state)
{
    temp_folder *temp = *state;
    const char *path = temp_path(temp, "x.npy"), *part = temp_path(temp, "x.npy.part");
    sumi_file *file, *other;
    sumi_error err = {""};
    assert_int_equal(sumi_file_save(path, "old", 3, &err), SUMI_OK);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(sumi_file_begin_part(path, "MAG", 3, &file, &err), SUMI_OK);
    assert_int_equal(sumi_file_write(file, "MAG0abc", 7, &err), SUMI_OK);
    assert_int_equal(sumi_file_patch(file, 3, "1", 1, &err), SUMI_OK);
    assert_true(holds(part, "MAG1abc"));
    assert_true(holds(path, "old"));
    /* Nobody else may write it meanwhile. */
    assert_int_equal(sumi_file_begin_part(path, "MAG", 3, &other, &err), SUMI_EIO);
    assert_non_null(strstr(err.text, "another process is writing x.npy.part"));
    assert_int_equal(sumi_file_write(file, "de", 2, &err), SUMI_OK);
    sumi_file_keep_part(file, 8);
    assert_true(holds(part, "MAG1abcd"));
    /* What was left behind is replaced, where it is of the kind. */
    assert_int_equal(sumi_file_begin_part(path, "GAM", 3, &file, &err), SUMI_EIO);
    assert_non_null(strstr(err.text, "x.npy.part is there already and not"));
    assert_true(holds(part, "MAG1abcd"));
    assert_int_equal(sumi_file_begin_part(path, "MAG", 3, &file, &err), SUMI_OK);
    assert_int_equal(sumi_file_write(file, "MAGnew", 6, &err), SUMI_OK);
    assert_int_equal(sumi_file_commit(file, &err), SUMI_OK);
    assert_true(holds(path, "MAGnew"));
    assert_false(sumi_is_file(part));
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* Without a byte of use it goes. */
    assert_int_equal(sumi_file_begin_part(path, "MAG", 3, &file, &err), SUMI_OK);
    sumi_file_keep_part(file, 0);
    assert_false(sumi_is_file(part));
    sumi_file_keep_part(NULL, 5);
    /* The longest name has no room for an ending: its own end makes room. */
    char name[256] = "";
    memset(name, 'n', 250);
    memcpy(name + 250, "\xc3\xa9.xy", 6);
    name[255] = '\0';
    assert_int_equal(sumi_file_begin_part(temp_path(temp, name), "MAG", 3, &file, &err), SUMI_OK);
    assert_int_equal(sumi_file_write(file, "MAG", 3, &err), SUMI_OK);
    assert_int_equal(sumi_file_commit(file, &err), SUMI_OK);
    assert_true(holds(temp_path(temp, name), "MAG"));
    assert_int_equal(mkfifo(temp_path(temp, "f.part"), 0666), 0);
    assert_int_equal(sumi_file_begin_part(temp_path(temp, "f"), "MAG", 3, &file, &err), SUMI_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_read),
        WITH_FOLDER(test_read_refuses),
        cmocka_unit_test(test_read_unknown_size),
        WITH_FOLDER(test_save),
        WITH_FOLDER(test_pieces),
        WITH_FOLDER(test_untouched_until_commit),
        WITH_FOLDER(test_stale_temp),
        WITH_FOLDER(test_links),
        WITH_FOLDER(test_save_refuses),
        WITH_FOLDER(test_size_limit),
        WITH_FOLDER(test_full_disk),
        WITH_FOLDER(test_rights),
        WITH_FOLDER(test_append),
        WITH_FOLDER(test_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
