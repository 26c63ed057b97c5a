/*
 * Whole-file reads, atomic writes and log lines.
 *
 * A write goes to a temporary file in the same folder, since rename is atomic only within a file
 * system. Its name is ".sumi-PID-N.tmp": a run that was killed may leave one, and it is safe to
 * delete. It is named within its open folder, since its path may be longer than the system takes
 * where the file's own is not. A symbolic link stays: what it points to is replaced. PATH.part is
 * locked while it is written, and the lock held until it has its name.
 */
#ifdef __linux__
#define _GNU_SOURCE /* O_PATH: a folder that may be written to need not be readable */
#endif

#include "base/base.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef O_PATH
#define O_PATH O_RDONLY
#endif

#define MAX_LINKS 40               /* as the kernel's own limit */
#define MAX_CALL ((size_t)1 << 30) /* macOS refuses more than INT_MAX bytes in one call */
#define MAX_TEMP_NAMES 1000
#define BUFFER ((size_t)1 << 16)

struct sumi_file {
    char path[PATH_MAX];     /* as the caller wrote it, for messages */
    char target[PATH_MAX];   /* with links followed: what rename replaces */
    char temp[NAME_MAX + 1]; /* in folder */
    int folder, fd;    /* -1 where it is not open; fd so after an error, unless it is a part */
    bool part, failed; /* temp is PATH.part; a write to it has failed */
    size_t held;
    uint8_t buffer[BUFFER];
};

/* One read or write of at most MAX_CALL bytes, again after a signal. */
static ssize_t read_some(int fd, uint8_t *data, size_t size)
{
    ssize_t n;
    do
        n = read(fd, data, size < MAX_CALL ? size : MAX_CALL);
    while (n < 0 && errno == EINTR);
    return n;
}

static bool write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size < MAX_CALL ? size : MAX_CALL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* Why a path that is not a regular file cannot be read or replaced. */
static sumi_status fail_kind(sumi_error *err, const char *path, mode_t mode)
{
    return sumi_fail(err, SUMI_EIO, "%s: is a %s, expected a file", path,
                     S_ISDIR(mode)    ? "directory"
                     : S_ISFIFO(mode) ? "FIFO"
                     : S_ISSOCK(mode) ? "socket"
                                      : "device");
}

/* Reads to the end of the file, which may grow meanwhile, or not know its size (in /proc). */
static sumi_status read_to_end(int fd, const char *path, size_t max_bytes, size_t expected,
                               uint8_t **data, size_t *size, sumi_error *err)
{
    size_t used = 0, room = expected;
    uint8_t *bytes = malloc(room + 1);
    if (!bytes)
        return sumi_fail_memory(err, path, room);
    for (;;) {
        /* The byte that is left for the final zero also tells the end of file from a full buffer.
         */
        ssize_t n = read_some(fd, bytes + used, room + 1 - used);
        if (n < 0) {
            sumi_fail_errno(err, path, errno);
            free(bytes);
            return SUMI_EIO;
        }
        used += (size_t)n;
        if (n == 0)
            break;
        if (used <= room)
            continue;
        size_t larger = room < max_bytes / 2 ? room * 2 + 4096 : max_bytes;
        if (larger > max_bytes)
            larger = max_bytes;
        uint8_t *moved = larger > room ? realloc(bytes, larger + 1) : NULL;
        if (!moved) {
            free(bytes);
            if (larger > room)
                return sumi_fail_memory(err, path, larger);
            return sumi_fail(err, SUMI_EUNSUPPORTED,
                             "%s: has more than %zu bytes, the most expected", path, max_bytes);
        }
        bytes = moved;
        room = larger;
    }
    bytes[used] = 0;
    *data = bytes;
    *size = used;
    return SUMI_OK;
}

sumi_status sumi_file_read(const char *path, size_t max_bytes, uint8_t **data, size_t *size,
                           sumi_error *err)
{
    /* Without O_NONBLOCK, opening a FIFO would wait for somebody to write to it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return sumi_fail_errno(err, path, errno);
    if (max_bytes > PTRDIFF_MAX - 1)
        max_bytes = PTRDIFF_MAX - 1;
    struct stat st;
    sumi_status status;
    if (fstat(fd, &st) != 0)
        status = sumi_fail_errno(err, path, errno);
    else if (!S_ISREG(st.st_mode))
        status = fail_kind(err, path, st.st_mode);
    else if ((uintmax_t)st.st_size > max_bytes)
        status = sumi_fail(err, SUMI_EUNSUPPORTED, "%s: has %jd bytes, expected at most %zu", path,
                           (intmax_t)st.st_size, max_bytes);
    else
        status = read_to_end(fd, path, max_bytes, (size_t)st.st_size, data, size, err);
    close(fd);
    return status;
}

/* ---- Atomic writing -------------------------------------------------------------------------- */

/* The length of the folder's part of a path, with its last slash; 0 where there is none. */
static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* target = path with its last part's symbolic links followed; what they point to need not exist. */
static int follow_links(const char *path, char target[PATH_MAX])
{
    size_t length = strlen(path);
    if (length == 0)
        return ENOENT;
    if (length >= PATH_MAX)
        return ENAMETOOLONG;
    memcpy(target, path, length + 1);
    for (int i = 0; i < MAX_LINKS; i++) {
        char link[PATH_MAX];
        ssize_t n = readlink(target, link, sizeof link);
        if (n < 0) /* EINVAL: it is not a link */
            return errno == EINVAL || errno == ENOENT ? 0 : errno;
        size_t folder = link[0] == '/' ? 0 : folder_length(target);
        if ((size_t)n >= PATH_MAX - folder)
            return ENAMETOOLONG;
        memcpy(target + folder, link, (size_t)n);
        target[folder + (size_t)n] = '\0';
    }
    return ELOOP;
}

/* Opens the target's folder; 0 or an errno. */
static int open_folder(sumi_file *file)
{
    size_t length = folder_length(file->target);
    char folder[PATH_MAX] = ".";
    if (length) {
        memcpy(folder, file->target, length);
        folder[length] = '\0';
    }
    file->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return file->folder < 0 ? errno : 0;
}

/* Makes a new empty file beside the target; 0 or an errno. */
static int open_temp(sumi_file *file)
{
    for (int i = 0; i < MAX_TEMP_NAMES; i++) {
        snprintf(file->temp, sizeof file->temp, ".sumi-%ld-%d.tmp", (long)getpid(), i);
        file->fd = openat(file->folder, file->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file->fd >= 0)
            return 0;
        if (errno != EEXIST)
            return errno;
    }
    return EEXIST;
}

/* What both ways of writing begin with: where the file goes, and whether it may. */
static sumi_status find_target(const char *path, sumi_file **out, mode_t *mode, sumi_error *err)
{
    sumi_file *file = malloc(sizeof *file);
    if (!file)
        return sumi_fail_memory(err, path, sizeof *file);
    file->fd = file->folder = -1;
    file->held = 0;
    file->part = file->failed = false;
    sumi_status status = SUMI_OK;
    struct stat st;
    int error = follow_links(path, file->target);
    bool exists = !error && stat(file->target, &st) == 0;
    if (exists && !S_ISREG(st.st_mode))
        status = fail_kind(err, path, st.st_mode);
    else if (!error && exists && access(file->target, W_OK) != 0)
        error = errno; /* rename would not mind that the file is write-protected */
    if (status == SUMI_OK && !error) {
        memcpy(file->path, path, strlen(path) + 1);
        error = open_folder(file);
    }
    if (error)
        status = sumi_fail_errno(err, path, error);
    if (status != SUMI_OK) {
        sumi_file_abort(file);
        return status;
    }
    *mode = exists ? st.st_mode & 0777 : 0;
    *out = file;
    return SUMI_OK;
}

/* A file that was there keeps its permissions; a new one (mode 0) has 0666 less the umask. */
static sumi_status keep_mode(sumi_file *file, int error, mode_t mode, sumi_file **out,
                             sumi_error *err)
{
    if (!error && mode && fchmod(file->fd, mode) != 0)
        error = errno;
    if (error) {
        sumi_fail_errno(err, file->path, error);
        sumi_file_abort(file);
        return SUMI_EIO;
    }
    *out = file;
    return SUMI_OK;
}

sumi_status sumi_file_begin(const char *path, sumi_file **out, sumi_error *err)
{
    sumi_file *file = NULL;
    mode_t mode = 0;
    sumi_status status = find_target(path, &file, &mode, err);
    return status == SUMI_OK ? keep_mode(file, open_temp(file), mode, out, err) : status;
}

/* Closes and removes the temporary file; what is left only remembers that it failed. */
static void drop_temp(sumi_file *file)
{
    if (file->fd < 0)
        return;
    close(file->fd);
    if (!file->part)
        unlinkat(file->folder, file->temp, 0);
    file->fd = -1;
}

static sumi_status write_bytes(sumi_file *file, const uint8_t *data, size_t size, sumi_error *err)
{
    if (write_all(file->fd, data, size))
        return SUMI_OK;
    int error = errno;
    file->failed = true;
    if (!file->part)
        drop_temp(file);
    return sumi_fail_errno(err, file->path, error);
}

sumi_status sumi_file_write(sumi_file *file, const void *data, size_t size, sumi_error *err)
{
    if (file->failed)
        return sumi_fail(err, SUMI_EIO, "%s: an earlier write failed", file->path);
    if (size == 0)
        return SUMI_OK;
    if (size <= BUFFER - file->held) {
        memcpy(file->buffer + file->held, data, size);
        file->held += size;
        return SUMI_OK;
    }
    sumi_status status = write_bytes(file, file->buffer, file->held, err);
    file->held = 0;
    if (status != SUMI_OK || size > BUFFER)
        return status != SUMI_OK ? status : write_bytes(file, data, size, err);
    memcpy(file->buffer, data, size);
    file->held = size;
    return SUMI_OK;
}

/* 0 or an errno. Some file systems cannot sync (EINVAL): there is nothing more to do there. */
static int sync_fd(int fd)
{
#ifdef F_FULLFSYNC
    if (fcntl(fd, F_FULLFSYNC) == 0)
        return 0;
#endif
    int result;
    do
        result = fsync(fd);
    while (result != 0 && errno == EINTR);
    return result == 0 || errno == EINVAL ? 0 : errno;
}

/* Makes a rename last: the folder's own contents go to disk. */
static int sync_folder(const char *path)
{
    char folder[PATH_MAX] = ".";
    size_t length = folder_length(path);
    if (length) {
        memcpy(folder, path, length);
        folder[length] = '\0';
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) /* a folder that may be written and not read cannot be synced */
        return errno == EACCES ? 0 : errno;
    int error = sync_fd(fd);
    close(fd);
    return error;
}

/* The last part of the target's path. */
static const char *target_name(const sumi_file *file)
{
    return file->target + folder_length(file->target);
}

/* Closes the file; error is what went wrong before, or 0. */
static int close_fd(sumi_file *file, int error)
{
    if (file->fd >= 0 && close(file->fd) != 0 && !error && errno != EINTR)
        error = errno;
    file->fd = -1;
    return error;
}

static void release(sumi_file *file)
{
    (void)close_fd(file, 0);
    if (file->folder >= 0)
        close(file->folder);
    free(file);
}

sumi_status sumi_file_commit(sumi_file *file, sumi_error *err)
{
    sumi_status status = SUMI_EIO;
    int error = 0;
    if (file->failed) {
        sumi_fail(err, SUMI_EIO, "%s: an earlier write failed", file->path);
        goto done;
    }
    if (write_bytes(file, file->buffer, file->held, err) != SUMI_OK)
        goto done;
    error = sync_fd(file->fd);
    if (!file->part)
        error = close_fd(file, error);
    if (!error && renameat(file->folder, file->temp, file->folder, target_name(file)) != 0)
        error = errno;
    if (file->part) /* until now its lock has kept others from taking it for a part */
        error = close_fd(file, error);
    if (error && !file->part)
        unlinkat(file->folder, file->temp, 0);
    if (!error)
        error = sync_folder(file->target);
    status = error ? sumi_fail_errno(err, file->path, error) : SUMI_OK;
done:
    release(file);
    return status;
}

void sumi_file_abort(sumi_file *file)
{
    if (!file)
        return;
    drop_temp(file);
    release(file);
}

/* ---- PATH.part ------------------------------------------------------------------------------- */

static const char part_ending[] = ".part";

/* Whether what is there may be replaced: 0 or an errno, EEXIST where it is something else. */
static int check_part(int fd, const void *magic, size_t magic_size)
{
    uint8_t head[16];
    struct stat st;
    if (fstat(fd, &st) != 0)
        return errno;
    if (!S_ISREG(st.st_mode))
        return EEXIST;
    if (st.st_size == 0)
        return 0;
    assert(magic_size <= sizeof head);
    ssize_t n = pread(fd, head, magic_size, 0);
    if (n < 0)
        return errno;
    return (size_t)n == magic_size && memcmp(head, magic, magic_size) == 0 ? 0 : EEXIST;
}

/* Opens and locks PATH.part; 0 or an errno, EWOULDBLOCK where another process writes it. */
static int open_part(sumi_file *file, const void *magic, size_t magic_size)
{
    const char *base = file->target + folder_length(file->target);
    size_t room = sizeof file->temp - sizeof part_ending;
    snprintf(file->temp, sizeof file->temp, "%.*s%s",
             (int)(strlen(base) > room ? sumi_utf8_whole(base, room) : strlen(base)), base,
             part_ending);
    for (int i = 0; i < MAX_TEMP_NAMES; i++) {
        struct stat opened, there;
        file->fd =
            openat(file->folder, file->temp, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
        if (file->fd < 0)
            return errno;
        /* Some file systems have no locks: there it goes without. */
        if (flock(file->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
            return EWOULDBLOCK;
        /* Who held the lock may have given the file its name meanwhile: then it is not ours. */
        if (fstat(file->fd, &opened) == 0 && fstatat(file->folder, file->temp, &there, 0) == 0 &&
            opened.st_ino == there.st_ino && opened.st_dev == there.st_dev) {
            int error = check_part(file->fd, magic, magic_size);
            return error || ftruncate(file->fd, 0) == 0 ? error : errno;
        }
        close(file->fd);
        file->fd = -1;
    }
    return EEXIST;
}

sumi_status sumi_file_begin_part(const char *path, const void *magic, size_t magic_size,
                                 sumi_file **out, sumi_error *err)
{
    sumi_file *file = NULL;
    mode_t mode = 0;
    sumi_status status = find_target(path, &file, &mode, err);
    if (status != SUMI_OK)
        return status;
    file->part = true; /* what is there stays there whatever happens */
    int error = open_part(file, magic, magic_size);
    if (error != EWOULDBLOCK && error != EEXIST)
        return keep_mode(file, error, mode, out, err);
    sumi_fail(err, SUMI_EIO,
              error == EEXIST ? "%s: %s is there already and not a part of such a file"
                              : "%s: another process is writing %s",
              path, file->temp);
    sumi_file_abort(file);
    return SUMI_EIO;
}

sumi_status sumi_file_patch(sumi_file *file, size_t offset, const void *data, size_t size,
                            sumi_error *err)
{
    if (file->failed)
        return sumi_fail(err, SUMI_EIO, "%s: an earlier write failed", file->path);
    sumi_status status = write_bytes(file, file->buffer, file->held, err);
    file->held = 0;
    if (status != SUMI_OK)
        return status;
    int error = sync_fd(file->fd);
    if (!error && pwrite(file->fd, data, size, (off_t)offset) != (ssize_t)size)
        error = errno;
    return error ? sumi_fail_errno(err, file->path, error) : SUMI_OK;
}

void sumi_file_keep_part(sumi_file *file, size_t size)
{
    if (!file)
        return;
    bool written = !file->failed && write_bytes(file, file->buffer, file->held, NULL) == SUMI_OK;
    if (size == 0)
        unlinkat(file->folder, file->temp, 0);
    else if (ftruncate(file->fd, (off_t)size) != 0 || !written)
        file->failed = true; /* what is too much at its end does no harm */
    sumi_file_abort(file);
}

/* ---- Whole files and lines ------------------------------------------------------------------- */

sumi_status sumi_file_save(const char *path, const void *data, size_t size, sumi_error *err)
{
    sumi_file *file;
    sumi_status status = sumi_file_begin(path, &file, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_file_write(file, data, size, err);
    if (status != SUMI_OK) {
        sumi_file_abort(file);
        return status;
    }
    return sumi_file_commit(file, err);
}

sumi_status sumi_file_append(const char *path, const void *data, size_t size, sumi_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0)
        return sumi_fail_errno(err, path, errno);
    struct stat before;
    int error = fstat(fd, &before) != 0 || !write_all(fd, data, size) ? errno : 0;
    /* A part of it would be half a line, and the rest of it written again. */
    if (error && S_ISREG(before.st_mode) && ftruncate(fd, before.st_size) != 0)
        error = errno;
    if (close(fd) != 0 && !error && errno != EINTR)
        error = errno;
    return error ? sumi_fail_errno(err, path, error) : SUMI_OK;
}

sumi_status sumi_file_sync(const char *path, sumi_error *err)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? SUMI_OK : sumi_fail_errno(err, path, errno);
    int error = sync_fd(fd);
    close(fd);
    return error ? sumi_fail_errno(err, path, error) : SUMI_OK;
}
