/*
 * Memory that need not be there as a whole: files as they are, and room in a file without a name.
 *
 * The system brings pages in when they are looked at and drops them when it needs room, so that a
 * data set may be larger than memory. A file that is cut while it is mapped ends the process that
 * looks at what is missing (SIGBUS): nobody can do better without reading it all.
 */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

sumi_status sumi_file_map(const char *path, const uint8_t **data, size_t *size, sumi_error *err)
{
    struct stat st;
    void *map = MAP_FAILED;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return sumi_fail_errno(err, path, errno);
    int error = fstat(fd, &st) != 0 ? errno : !S_ISREG(st.st_mode) || st.st_size == 0 ? EINVAL : 0;
    if (!error) {
        map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        error = map == MAP_FAILED ? errno : 0;
    }
    close(fd);
    if (error)
        return sumi_fail_errno(err, path, error);
    *data = map;
    *size = (size_t)st.st_size;
    return SUMI_OK;
}

/* Room that was not reserved would end the process where the disk is full. */
static bool reserve(int fd, size_t bytes)
{
#ifdef __linux__
    return bytes <= INT64_MAX && posix_fallocate(fd, 0, (off_t)bytes) == 0;
#else
    (void)fd;
    (void)bytes;
    return false;
#endif
}

/* What is left for others on that disk, checkpoints for instance. */
#define LEFT_MIN ((uint64_t)1 << 30)

void *sumi_spool_alloc(size_t bytes)
{
    char path[PATH_MAX];
    const char *given = getenv("TMPDIR"), *folder = given ? given : "/var/tmp";
    uint64_t left = 0;
    if (!sumi_disk_free(folder, &left) || left < LEFT_MIN || left - LEFT_MIN < bytes)
        return NULL;
    int n = snprintf(path, sizeof path, "%s/sumi-XXXXXX", folder);
    int fd = n > 0 && (size_t)n < sizeof path ? mkstemp(path) : -1;
    if (fd < 0)
        return NULL;
    (void)unlink(path); /* it goes with the process, whatever its end */
    void *map = reserve(fd, bytes) ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                                   : MAP_FAILED;
    close(fd);
    return map == MAP_FAILED ? NULL : map;
}

void sumi_unmap(const void *data, size_t size)
{
    if (data)
        munmap((void *)data, size);
}
