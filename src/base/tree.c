/*
 * Folders: making a path of them, removing a tree, asking what a path is, joining paths.
 *
 * Removal goes by open folders and not by path names, and never through a symbolic link: nobody can
 * lead it out of the tree by swapping a folder for a link while it runs.
 */
#include "base/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MAX_DEPTH 100 /* each level holds an open folder */

bool sumi_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool sumi_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool sumi_disk_free(const char *folder, uint64_t *bytes)
{
    struct statvfs at;
    if (statvfs(folder, &at) != 0 || at.f_frsize == 0 || at.f_blocks == 0)
        return false;
    *bytes = (uint64_t)at.f_bavail * at.f_frsize;
    return true;
}

sumi_status sumi_path_join(char *out, size_t size, const char *dir, const char *name,
                           sumi_error *err)
{
    size_t length = strlen(dir);
    const char *slash = length == 0 || dir[length - 1] == '/' ? "" : "/";
    int n = snprintf(out, size, "%s%s%s", dir, slash, name);
    if (n >= 0 && (size_t)n < size)
        return SUMI_OK;
    if (size > 0)
        out[0] = '\0';
    return sumi_fail(err, SUMI_EINVAL, "the path %s%s%s is too long: at most %zu bytes", dir, slash,
                     name, size ? size - 1 : 0);
}

sumi_status sumi_make_dirs(const char *path, sumi_error *err)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof part)
        return sumi_fail_errno(err, path, length ? ENAMETOOLONG : ENOENT);
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        part[i] = '\0';
        /* Other errors than EEXIST do not matter where the folder is there (a read-only root). */
        if (mkdir(part, 0777) != 0) {
            int error = errno;
            if (!sumi_is_dir(part))
                return sumi_fail_errno(err, part, error == EEXIST ? ENOTDIR : error);
        }
        part[i] = path[i];
    }
    return SUMI_OK;
}

static int remove_entry(int folder, const char *name, int depth);

/* Removes what is in an open folder and closes it; 0 or an errno. Some systems skip entries when
 * others are removed under readdir, so it looks again until it finds nothing. */
static int empty_folder(int fd, int depth)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int error = errno;
        close(fd);
        return error;
    }
    int error = 0;
    bool found;
    do {
        found = false;
        rewinddir(dir);
        for (;;) {
            errno = 0;
            const struct dirent *entry = readdir(dir);
            if (!entry) {
                error = errno;
                break;
            }
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                continue;
            found = true;
            error = remove_entry(fd, entry->d_name, depth);
            if (error)
                break;
        }
    } while (found && !error);
    closedir(dir);
    return error;
}

/* Removes a file, link or tree; 0 or an errno. Something that is gone already is no error. */
static int remove_entry(int folder, const char *name, int depth)
{
    struct stat st;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : errno;
    if (!S_ISDIR(st.st_mode))
        return unlinkat(folder, name, 0) == 0 || errno == ENOENT ? 0 : errno;
    if (depth >= MAX_DEPTH)
        return ENAMETOOLONG;
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int error = empty_folder(fd, depth + 1);
    if (error)
        return error;
    return unlinkat(folder, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : errno;
}

sumi_status sumi_remove_tree(const char *path, sumi_error *err)
{
    /* "link/" would mean the folder behind the link, so slashes at the end are dropped. */
    char name[PATH_MAX];
    size_t length = strlen(path);
    while (length > 0 && path[length - 1] == '/')
        length--;
    if (length == 0 || length >= sizeof name)
        return sumi_fail(err, SUMI_EINVAL, "refused to remove \"%s\"", path);
    memcpy(name, path, length);
    name[length] = '\0';
    int error = remove_entry(AT_FDCWD, name, 0);
    if (error == ENAMETOOLONG)
        return sumi_fail(err, SUMI_EIO,
                         "%s: too deep to remove: more than %d folders in each other", path,
                         MAX_DEPTH);
    return error ? sumi_fail_errno(err, path, error) : SUMI_OK;
}

bool sumi_dir_has_only(const char *path, const char *name)
{
    DIR *folder = opendir(path);
    bool only = folder != NULL;
    for (const struct dirent *entry; only && (entry = readdir(folder));)
        only = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
               !strcmp(entry->d_name, name);
    if (folder)
        closedir(folder);
    return only;
}
