/*
 * Output files: checked before the work that fills them; pictures are written as they come.
 */
#include "cli.h"

#include "io/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

sumi_status sumi_output_begin(sumi_output *output, sumi_error *err)
{
    if (sumi_ends_with(output->path, ".png")) {
        const int64_t sizes[] = {output->n, output->h, output->w, output->c};
        size_t bytes;
        if (sumi_size_product(sizes, 4, &bytes))
            output->grid = sumi_calloc(bytes, 1);
        return output->grid != NULL
                   ? SUMI_OK
                   : sumi_fail(err, SUMI_ENOMEM, "out of memory for the images; give a smaller -n");
    }
    if (!sumi_ends_with(output->path, ".npy"))
        return sumi_make_dirs(output->path, err);
    const sumi_npy type = {
        .dtype = SUMI_NPY_U8, .rank = 4, .shape = {output->n, output->h, output->w, output->c}};
    return sumi_npy_begin(output->path, &type, &output->array, err);
}

/* One picture of a folder. */
static sumi_status write_one(const sumi_output *output, const uint8_t *pixels, int64_t index,
                             sumi_error *err)
{
    char name[64], file[PATH_MAX];
    snprintf(name, sizeof name, "%06lld.png", (long long)index);
    sumi_status status = sumi_path_join(file, sizeof file, output->path, name, err);
    /* sumi_png_write only reads the pixels. */
    const sumi_image image = {output->h, output->w, output->c, (uint8_t *)pixels};
    return status == SUMI_OK
               ? sumi_png_write_with(file, &image, output->comment, output->parameters, err)
               : status;
}

sumi_status sumi_output_add(sumi_output *output, const uint8_t *pixels, int n, sumi_error *err)
{
    size_t bytes = (size_t)output->h * (size_t)output->w * (size_t)output->c;
    sumi_status status = SUMI_OK;
    if (n > output->n - output->done)
        return sumi_fail(err, SUMI_EINVAL, "%s: more pictures than were announced", output->path);
    if (output->grid != NULL) {
        memcpy(output->grid + (size_t)output->done * bytes, pixels, (size_t)n * bytes);
    } else if (output->array != NULL) {
        status = sumi_npy_add(output->array, pixels, n, err);
    } else {
        for (int i = 0; i < n && status == SUMI_OK; i++) {
            int64_t index = output->first_index + output->done;
            status = write_one(output, pixels + (size_t)i * bytes, index, err);
            output->done += status == SUMI_OK;
        }
        return status;
    }
    output->done += status == SUMI_OK ? n : 0;
    return status;
}

static sumi_status write_grid(const sumi_output *output, sumi_error *err)
{
    sumi_image grid;
    sumi_status status = SUMI_EINVAL;
    if (output->rows.kinds > 0)
        status = sumi_image_rows(output->grid, output->done, &output->rows, output->h, output->w,
                                 output->c, &grid, err);
    if (status == SUMI_EINVAL) /* not wanted, or too high or wide for a picture */
        status = sumi_image_grid(output->grid, output->done, output->h, output->w, output->c, &grid,
                                 err);
    if (status != SUMI_OK)
        return status;
    status = sumi_png_write_with(output->path, &grid, output->comment, output->parameters, err);
    sumi_image_free(&grid);
    return status;
}

sumi_status sumi_output_end(sumi_output *output, sumi_error *err)
{
    sumi_status status = SUMI_OK;
    if (output->grid != NULL)
        status = write_grid(output, err);
    if (output->array != NULL) {
        status = sumi_npy_end(output->array, err);
        output->array = NULL;
    }
    sumi_output_stop(output);
    return status;
}

void sumi_output_stop(sumi_output *output)
{
    free(output->grid);
    output->grid = NULL;
    sumi_npy_stop(output->array);
    output->array = NULL;
}
