/*
 * Output files: checked before the work that fills them, written atomically after it.
 */
#include "cli.h"

#include "io/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool sumi_has_ending(const char *path, const char *ending)
{
    size_t length = strlen(path), tail = strlen(ending);
    return length > tail && strcmp(path + length - tail, ending) == 0;
}

/* The folder that path lies in, "." where it names none. */
static sumi_status parent_of(const char *path, char *out, size_t size, sumi_error *err)
{
    size_t length = strlen(path);
    if (length >= size)
        return sumi_fail(err, SUMI_EINVAL, "%s: a path of at most %zu bytes is expected", path,
                         size - 1);
    memcpy(out, path, length + 1);
    while (length > 1 && out[length - 1] == '/')
        out[--length] = '\0';
    char *slash = strrchr(out, '/');
    if (slash == NULL)
        memcpy(out, ".", 2);
    else if (slash == out)
        out[1] = '\0';
    else
        *slash = '\0';
    return SUMI_OK;
}

static sumi_status check_folder(const char *path, const char *folder, sumi_error *err)
{
    if (!sumi_is_dir(folder))
        return sumi_fail(err, SUMI_EIO, "%s: there is no folder %s", path, folder);
    if (access(folder, W_OK | X_OK) != 0)
        return sumi_fail(err, SUMI_EIO, "%s: the folder %s: %s", path, folder, strerror(errno));
    return SUMI_OK;
}

sumi_status sumi_check_output(const char *path, sumi_error *err)
{
    char folder[PATH_MAX];
    struct stat status;
    sumi_status result = parent_of(path, folder, sizeof folder, err);
    bool exists = result == SUMI_OK && stat(path, &status) == 0;
    if (exists && !S_ISREG(status.st_mode))
        return sumi_fail(err, SUMI_EIO, "%s: expected a file to write, found %s", path,
                         S_ISDIR(status.st_mode) ? "a folder" : "something that is not a file");
    /* It would only be renamed over, but sumi_file_begin respects a write protection. */
    if (exists && access(path, W_OK) != 0)
        return sumi_fail_errno(err, path, errno);
    return result == SUMI_OK ? check_folder(path, folder, err) : result;
}

sumi_status sumi_check_output_dir(const char *path, sumi_error *err)
{
    char folder[PATH_MAX], above[PATH_MAX];
    struct stat status;
    sumi_status result = parent_of(path, above, sizeof above, err);
    snprintf(folder, sizeof folder, "%s", path);
    /* The nearest folder above that is there already must take the missing ones. */
    while (result == SUMI_OK && stat(folder, &status) != 0 && strcmp(folder, above) != 0) {
        snprintf(folder, sizeof folder, "%s", above);
        result = parent_of(folder, above, sizeof above, err);
    }
    return result == SUMI_OK ? check_folder(path, folder, err) : result;
}

static sumi_status write_grid(const char *path, const sumi_pictures *p, sumi_error *err)
{
    sumi_image grid;
    sumi_status status = sumi_image_grid(p->pixels, p->n, p->h, p->w, p->c, &grid, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_png_write(path, &grid, p->comment, err);
    sumi_image_free(&grid);
    return status;
}

static sumi_status write_each(const char *path, const sumi_pictures *p, sumi_error *err)
{
    sumi_status status = sumi_make_dirs(path, err);
    for (int i = 0; i < p->n && status == SUMI_OK; i++) {
        char name[64], file[PATH_MAX];
        snprintf(name, sizeof name, "%06lld.png", (long long)(p->first_index + i));
        status = sumi_path_join(file, sizeof file, path, name, err);
        size_t offset = (size_t)i * (size_t)p->h * (size_t)p->w * (size_t)p->c;
        /* sumi_png_write only reads the pixels. */
        sumi_image image = {p->h, p->w, p->c, (uint8_t *)p->pixels + offset};
        if (status == SUMI_OK)
            status = sumi_png_write(file, &image, p->comment, err);
    }
    return status;
}

static sumi_status write_array(const char *path, const sumi_pictures *p, sumi_error *err)
{
    sumi_npy array = {.dtype = SUMI_NPY_U8, .rank = 4, .shape = {p->n, p->h, p->w, p->c}};
    array.count = (size_t)p->n * (size_t)p->h * (size_t)p->w * (size_t)p->c;
    array.data = (uint8_t *)p->pixels;
    return sumi_npy_write(path, &array, err);
}

sumi_status sumi_write_pictures(const char *path, const sumi_pictures *pictures, sumi_error *err)
{
    if (sumi_has_ending(path, ".png"))
        return write_grid(path, pictures, err);
    if (sumi_has_ending(path, ".npy"))
        return write_array(path, pictures, err);
    return write_each(path, pictures, err);
}
