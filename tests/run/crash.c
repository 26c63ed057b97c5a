/*
 * See crash.h. Only calls that change something on disk are counted, and those that open what does.
 */
#include "crash.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

crash_plan crash;

/* ---- The record ------------------------------------------------------------------------------ */

enum { TRACE_MAX = 4096, INODES_MAX = 512 };

typedef enum { OP_CREATE, OP_WRITE, OP_SYNC, OP_RENAME, OP_REMOVE, OP_MKDIR, OP_SYNC_DIR } op_kind;

typedef struct {
    op_kind kind;
    char a[PATH_MAX], b[PATH_MAX]; /* b: of a rename */
    int inode;
    size_t size; /* of the contents after a write */
} operation;

typedef struct {
    ino_t number;
    uint8_t *data;
    size_t size;
    bool known; /* false: was there before, and is whole on disk */
} inode;

static operation *trace;
static int traced, inode_count;
static inode inodes[INODES_MAX];

static void path_of(int folder, const char *name, char out[PATH_MAX])
{
    char link[64], base[PATH_MAX];
    if (name[0] == '/' || folder == AT_FDCWD) {
        snprintf(out, PATH_MAX, "%s", name);
        return;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t n = readlink(link, base, sizeof base - 1);
    base[n > 0 ? n : 0] = '\0';
    if (strlen(base) + strlen(name) + 2 > PATH_MAX)
        abort();
    strcpy(out, base);
    if (name[0]) {
        strcat(out, "/");
        strcat(out, name);
    }
}

static operation *add(op_kind kind)
{
    if (!trace)
        trace = calloc(TRACE_MAX, sizeof *trace);
    if (!trace || traced == TRACE_MAX)
        abort();
    trace[traced].kind = kind;
    return &trace[traced++];
}

static int inode_of(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        abort();
    for (int i = inode_count - 1; i >= 0; i--)
        if (inodes[i].number == st.st_ino)
            return i;
    return -1;
}

static void record_create(int fd, int folder, const char *name)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || inode_count == INODES_MAX)
        abort();
    operation *op = add(OP_CREATE);
    path_of(folder, name, op->a);
    op->inode = inode_count;
    inodes[inode_count++] = (inode){.number = st.st_ino, .known = true};
}

static void record_write(int fd, const void *data, size_t size)
{
    int i = inode_of(fd);
    if (i < 0)
        return;
    inodes[i].data = realloc(inodes[i].data, inodes[i].size + size);
    if (!inodes[i].data)
        abort();
    memcpy(inodes[i].data + inodes[i].size, data, size);
    inodes[i].size += size;
    operation *op = add(OP_WRITE);
    op->inode = i;
    op->size = inodes[i].size;
}

static void record_sync(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        abort();
    if (S_ISDIR(st.st_mode)) {
        path_of(fd, "", add(OP_SYNC_DIR)->a);
        return;
    }
    int i = inode_of(fd);
    if (i >= 0)
        add(OP_SYNC)->inode = i;
}

void crash_forget(void)
{
    for (int i = 0; i < inode_count; i++)
        free(inodes[i].data);
    free(trace);
    trace = NULL;
    traced = inode_count = 0;
}

/* ---- Replaying ------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9E3779B97F4A7C15u; /* splitmix64 */
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

static bool in_folder(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && path[length] == '/' &&
           strchr(path + length + 1, '/') == NULL;
}

/* What the file has that lost its power after operation `cut`. */
static void write_contents(const char *path, int file, int cut, uint64_t *random)
{
    size_t synced = 0, written = 0;
    for (int i = 0; i < cut; i++) {
        if (trace[i].kind == OP_WRITE && trace[i].inode == file)
            written = trace[i].size;
        if (trace[i].kind == OP_SYNC && trace[i].inode == file)
            synced = written;
    }
    size_t more = written - synced, keep = synced + next_random(random) % (more + 1);
    FILE *out = fopen(path, "wb");
    if (!out || (keep && fwrite(inodes[file].data, 1, keep, out) != keep))
        abort();
    for (size_t i = keep; i < written && next_random(random) % 2; i++)
        fputc(0, out);
    fclose(out);
}

/* Names are journalled in order: what a synced folder has, and all before it, is there. */
static int names_kept(int cut, uint64_t *random)
{
    int least = 0;
    for (int i = 0; i < cut; i++)
        for (int k = 0; trace[i].kind == OP_SYNC_DIR && k < i; k++)
            if (trace[k].a[0] &&
                (in_folder(trace[k].a, trace[i].a) || in_folder(trace[k].b, trace[i].a)))
                least = k + 1 > least ? k + 1 : least;
    return least + (int)(next_random(random) % (uint64_t)(cut - least + 1));
}

void crash_replay(uint64_t seed)
{
    uint64_t random = seed;
    int cut = (int)(next_random(&random) % (uint64_t)(traced + 1)),
        names = names_kept(cut, &random);
    for (int i = 0; i < names; i++) {
        const operation *op = &trace[i];
        if (op->kind == OP_CREATE)
            write_contents(op->a, op->inode, cut, &random);
        else if (op->kind == OP_RENAME && rename(op->a, op->b) != 0)
            abort();
        else if (op->kind == OP_MKDIR && mkdir(op->a, 0777) != 0)
            abort();
        else if (op->kind == OP_REMOVE && remove(op->a) != 0)
            abort();
    }
}

/* ---- The plan -------------------------------------------------------------------------------- */

void crash_begin(crash_plan plan)
{
    crash = plan;
    crash.calls = 0;
}

long crash_end(void)
{
    long calls = crash.calls;
    crash = (crash_plan){CRASH_NOT, 0, 0, 0, false, false, 0};
    return calls;
}

static bool is_due(void)
{
    crash.calls++;
    return crash.calls == crash.at || (crash.persistent && crash.calls > crash.at);
}

/* True where the call shall fail, with errno set. */
static bool fails(void)
{
    if (crash.memory || crash.kind == CRASH_NOT)
        return false;
    bool due = is_due();
    if (due && crash.kind == CRASH_KILL)
        raise(SIGKILL);
    if (!due || crash.kind != CRASH_FAIL)
        return false;
    errno = crash.error;
    return true;
}

static bool no_memory(void)
{
    return crash.memory && is_due();
}

#define REAL(result, name, ...)                                                                    \
    result __real_##name(__VA_ARGS__);                                                             \
    result __wrap_##name(__VA_ARGS__);                                                             \
    result __wrap_##name(__VA_ARGS__)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    if (fails())
        return -1;
    bool is_new = flags & O_CREAT && access(path, F_OK) != 0;
    int fd = __real_open(path, flags, mode);
    if (crash.kind == CRASH_RECORD && is_new && fd >= 0)
        record_create(fd, AT_FDCWD, path);
    return fd;
}

int __real_openat(int folder, const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    if (fails())
        return -1;
    int fd = __real_openat(folder, path, flags, mode);
    if (crash.kind == CRASH_RECORD && flags & O_CREAT && fd >= 0)
        record_create(fd, folder, path);
    return fd;
}

REAL(ssize_t, write, int fd, const void *data, size_t size)
{
    if (fails())
        return -1;
    if (crash.kind == CRASH_SHORT && size > crash.most)
        size = crash.most;
    ssize_t n = __real_write(fd, data, size);
    if (crash.kind == CRASH_RECORD && n > 0)
        record_write(fd, data, (size_t)n);
    return n;
}

/* Thousands of saves need not reach the disk. */
REAL(int, fsync, int fd)
{
    if (fails())
        return -1;
    if (crash.kind == CRASH_RECORD)
        record_sync(fd);
    return 0;
}

REAL(int, close, int fd)
{
    bool bad = fails();
    int result = __real_close(fd);
    if (bad)
        errno = crash.error;
    return bad ? -1 : result;
}

static int rename_recorded(int result, int from, const char *a, int to, const char *b)
{
    if (result == 0 && crash.kind == CRASH_RECORD) {
        operation *op = add(OP_RENAME);
        path_of(from, a, op->a);
        path_of(to, b, op->b);
    }
    return result;
}

REAL(int, rename, const char *a, const char *b)
{
    return fails() ? -1 : rename_recorded(__real_rename(a, b), AT_FDCWD, a, AT_FDCWD, b);
}

REAL(int, renameat, int from, const char *a, int to, const char *b)
{
    return fails() ? -1 : rename_recorded(__real_renameat(from, a, to, b), from, a, to, b);
}

REAL(int, unlinkat, int folder, const char *name, int flags)
{
    if (fails())
        return -1;
    int result = __real_unlinkat(folder, name, flags);
    if (result == 0 && crash.kind == CRASH_RECORD)
        path_of(folder, name, add(OP_REMOVE)->a);
    return result;
}

REAL(int, mkdir, const char *path, mode_t mode)
{
    if (fails())
        return -1;
    int result = __real_mkdir(path, mode);
    if (result == 0 && crash.kind == CRASH_RECORD)
        path_of(AT_FDCWD, path, add(OP_MKDIR)->a);
    return result;
}

REAL(void *, malloc, size_t size)
{
    return no_memory() ? NULL : __real_malloc(size);
}

REAL(void *, calloc, size_t count, size_t size)
{
    return no_memory() ? NULL : __real_calloc(count, size);
}

REAL(void *, realloc, void *block, size_t size)
{
    return no_memory() ? NULL : __real_realloc(block, size);
}
