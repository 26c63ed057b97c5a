/*
 * A data set from a folder of pictures. First the whole tree is listed in order of name, so that
 * the memory is taken once; then the pictures are read one by one into it.
 */
#include "data/data.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 64 };

typedef struct {
    char *path;
    int class; /* number of the sub-folder, -1 for a picture in the folder itself */
} picture;

typedef struct {
    dev_t device;
    ino_t inode;
} folder_id;

typedef struct {
    picture *pictures;
    size_t count, capacity;
    folder_id *seen; /* folders already listed: a loop of links ends there */
    size_t seen_count, seen_capacity;
    char **classes; /* names of sub-folders that hold pictures */
    size_t class_count, class_capacity;
    size_t other_files;
    sumi_error *err;
} listing;

/* The array with room for one more than its count elements, or NULL (and the message) where memory
 * is out: then the old array stays. */
static void *grow(listing *list, void *array, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity)
        return array;
    size_t more = *capacity ? *capacity * 2 : 64, bytes = 0;
    void *grown = sumi_size_mul(more, size, &bytes) ? realloc(array, bytes) : NULL;
    if (grown)
        *capacity = more;
    else
        sumi_fail_memory(list->err, "a list of files", bytes);
    return grown;
}

static void listing_free(listing *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->pictures[i].path);
    for (size_t i = 0; i < list->class_count; i++)
        free(list->classes[i]);
    free(list->pictures);
    free(list->classes);
    free(list->seen);
}

/* ---- Listing ----------------------------------------------------------------------------------
 */

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* By bytes: the order must not depend on the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool is_picture_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (strcasecmp(dot, ".png") == 0 || strcasecmp(dot, ".jpg") == 0 ||
                   strcasecmp(dot, ".jpeg") == 0);
}

/* *seen: whether the folder was listed before; else it counts as listed from now on. */
static sumi_status mark_seen(listing *list, const struct stat *info, bool *seen)
{
    *seen = false;
    for (size_t i = 0; i < list->seen_count && !*seen; i++)
        *seen = list->seen[i].device == info->st_dev && list->seen[i].inode == info->st_ino;
    if (*seen)
        return SUMI_OK;
    folder_id *ids =
        grow(list, list->seen, &list->seen_capacity, list->seen_count, sizeof *list->seen);
    if (!ids)
        return SUMI_ENOMEM;
    list->seen = ids;
    list->seen[list->seen_count++] = (folder_id){info->st_dev, info->st_ino};
    return SUMI_OK;
}

static sumi_status add_picture(listing *list, const char *path, int class)
{
    picture *pictures =
        grow(list, list->pictures, &list->capacity, list->count, sizeof *list->pictures);
    if (!pictures)
        return SUMI_ENOMEM;
    list->pictures = pictures;
    char *copy = sumi_strdup(path);
    if (!copy)
        return sumi_fail_memory(list->err, "a list of files", strlen(path));
    list->pictures[list->count++] = (picture){copy, class};
    return SUMI_OK;
}

static sumi_status list_folder(listing *list, const char *folder, int class, int depth);

/* Lists a direct sub-folder; it becomes a class where pictures are found in it. */
static sumi_status list_class(listing *list, const char *path, const char *name)
{
    size_t before = list->count;
    sumi_status status = list_folder(list, path, (int)list->class_count, 1);
    if (status != SUMI_OK || list->count == before)
        return status;
    if (list->class_count == SUMI_CLASSES_MAX)
        return sumi_fail(list->err, SUMI_EUNSUPPORTED,
                         "%s: expected at most %d sub-folders with pictures (classes), found more",
                         path, SUMI_CLASSES_MAX);
    char **classes =
        grow(list, list->classes, &list->class_capacity, list->class_count, sizeof *list->classes);
    if (!classes)
        return SUMI_ENOMEM;
    list->classes = classes;
    char *copy = sumi_strdup(name);
    if (!copy)
        return sumi_fail_memory(list->err, "class names", strlen(name));
    list->classes[list->class_count++] = copy;
    return SUMI_OK;
}

static sumi_status list_entry(listing *list, const char *folder, const char *name, int class,
                              int depth)
{
    char path[4096];
    sumi_status status = sumi_path_join(path, sizeof path, folder, name, list->err);
    if (status != SUMI_OK)
        return status;
    struct stat info;
    if (stat(path, &info) != 0) {
        /* A dead link is an error only where a picture was meant. */
        if (!is_picture_name(name))
            return SUMI_OK;
        return sumi_fail(list->err, SUMI_EIO, "%s: %s", path, strerror(errno));
    }
    if (S_ISREG(info.st_mode) && is_picture_name(name))
        return add_picture(list, path, class);
    if (!S_ISDIR(info.st_mode)) {
        list->other_files++;
        return SUMI_OK;
    }
    bool seen = false;
    status = mark_seen(list, &info, &seen);
    if (status != SUMI_OK || seen)
        return status;
    return depth == 0 ? list_class(list, path, name) : list_folder(list, path, class, depth + 1);
}

static sumi_status list_folder(listing *list, const char *folder, int class, int depth)
{
    if (depth > DEPTH_MAX)
        return sumi_fail(list->err, SUMI_EUNSUPPORTED, "%s: folders are nested deeper than %d",
                         folder, DEPTH_MAX);
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, not_hidden, by_name);
    if (count < 0)
        return sumi_fail(list->err, SUMI_EIO, "%s: %s", folder, strerror(errno));
    sumi_status status = SUMI_OK;
    for (int i = 0; i < count; i++) {
        if (status == SUMI_OK)
            status = list_entry(list, folder, entries[i]->d_name, class, depth);
        free(entries[i]);
    }
    free(entries);
    return status;
}

static sumi_status list_all(listing *list, const char *path)
{
    struct stat info;
    bool seen = false;
    if (stat(path, &info) != 0)
        return sumi_fail(list->err, SUMI_EIO, "%s: %s", path, strerror(errno));
    sumi_status status = mark_seen(list, &info, &seen);
    if (status == SUMI_OK)
        status = list_folder(list, path, -1, 0);
    if (status != SUMI_OK)
        return status;
    if (list->count == 0 && list->other_files == 0)
        return sumi_fail(list->err, SUMI_EFORMAT, "%s: the folder is empty: no pictures in it",
                         path);
    if (list->count == 0)
        return sumi_fail(list->err, SUMI_EFORMAT,
                         "%s: no .png, .jpg or .jpeg pictures are in this folder (%zu other files)",
                         path, list->other_files);
    if (list->count > SUMI_IMAGES_MAX)
        return sumi_fail(list->err, SUMI_EUNSUPPORTED,
                         "%s: expected at most %d pictures, found %zu", path, SUMI_IMAGES_MAX,
                         list->count);
    return SUMI_OK;
}

/* ---- Splits -----------------------------------------------------------------------------------
 */

/* Whether path holds sub-folders named after splits and nothing else that counts. */
static bool has_splits(const char *path)
{
    static const char *const names[] = {"train", "test", "val", "valid", "validation"};
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, not_hidden, by_name);
    int splits = 0, others = 0;
    for (int i = 0; i < count; i++) {
        char child[4096];
        const char *name = entries[i]->d_name;
        bool named = false;
        for (size_t k = 0; k < sizeof names / sizeof *names; k++)
            named = named || strcmp(name, names[k]) == 0;
        bool folder =
            sumi_path_join(child, sizeof child, path, name, NULL) == SUMI_OK && sumi_is_dir(child);
        splits += folder && named;
        others += (folder && !named) || (!folder && is_picture_name(name));
        free(entries[i]);
    }
    free(entries);
    return splits > 0 && others == 0;
}

/* The folder to read: path itself, or the sub-folder of the split that is asked for. */
static sumi_status choose_split(const char *path, int split, char *out, size_t size,
                                sumi_error *err)
{
    if (has_splits(path)) {
        const char *name = split == SUMI_SPLIT_TEST ? "test" : "train";
        sumi_status status = sumi_path_join(out, size, path, name, err);
        if (status == SUMI_OK && !sumi_is_dir(out))
            return sumi_fail(err, SUMI_EIO, "%s: no such folder (the %s split)", out, name);
        return status;
    }
    if (split == SUMI_SPLIT_TEST)
        return sumi_fail(err, SUMI_EINVAL,
                         "%s: this folder has no test split (sub-folders train and test)", path);
    if (snprintf(out, size, "%s", path) >= (int)size)
        return sumi_fail(err, SUMI_EINVAL, "%.200s...: the path is too long", path);
    return SUMI_OK;
}

/* ---- Reading ----------------------------------------------------------------------------------
 */

/* Gives the first `filled` grey pictures three channels, when the first colour picture comes. */
static sumi_status make_colour(sumi_dataset *set, const char *path, int64_t filled, sumi_error *err)
{
    sumi_dataset wider = {0};
    sumi_status status = sumi_data_alloc(&wider, path, set->count, set->height, set->width, 3, err);
    if (status != SUMI_OK)
        return status;
    sumi_convert_channels(set->pixels, 1, wider.pixels, 3,
                          (size_t)filled * (size_t)set->height * (size_t)set->width);
    free(set->pixels);
    set->pixels = wider.pixels;
    set->channels = 3;
    return SUMI_OK;
}

static sumi_status add_image(sumi_dataset *set, int64_t i, const char *path,
                             const sumi_dataset_config *config, sumi_fitter *fitter,
                             sumi_image *image, sumi_error *err)
{
    sumi_status status = SUMI_OK;
    if (config->channels == 0 && image->channels == 3 && set->channels == 1)
        status = make_colour(set, path, i, err);
    if (status != SUMI_OK)
        return status;
    *fitter = (sumi_fitter){set->height, set->width, set->channels, fitter->resizer};
    size_t bytes = (size_t)set->height * (size_t)set->width * (size_t)set->channels;
    return sumi_fitter_run(fitter, image->pixels, image->height, image->width, image->channels,
                           set->pixels + (size_t)i * bytes, err);
}

static sumi_status read_pictures(const listing *list, const sumi_dataset_config *config,
                                 sumi_dataset *out, sumi_error *err)
{
    sumi_fitter fitter = {0};
    sumi_status status = SUMI_OK;
    for (size_t i = 0; status == SUMI_OK && i < list->count; i++) {
        const char *path = list->pictures[i].path;
        sumi_image image = {0};
        status = sumi_image_read(path, &image, err);
        if (status == SUMI_OK && i == 0)
            status = sumi_data_alloc(out, path, (int64_t)list->count,
                                     config->height ? config->height : image.height,
                                     config->width ? config->width : image.width,
                                     config->channels ? config->channels : image.channels, err);
        if (status == SUMI_OK)
            status = add_image(out, (int64_t)i, path, config, &fitter, &image, err);
        sumi_image_free(&image);
    }
    sumi_fitter_free(&fitter);
    return status;
}

static sumi_status set_labels(const listing *list, sumi_dataset *out, sumi_error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->pictures[i].class < 0)
            return SUMI_OK;
    }
    out->labels = sumi_calloc(list->count, sizeof *out->labels);
    if (!out->labels)
        return sumi_fail_memory(err, "labels", list->count * sizeof *out->labels);
    for (size_t i = 0; i < list->count; i++)
        out->labels[i] = list->pictures[i].class;
    return sumi_data_set_classes(out, (const char *const *)list->classes, (int)list->class_count,
                                 err);
}

sumi_status sumi_folder_open(const char *path, const sumi_dataset_config *config, sumi_dataset *out,
                             sumi_error *err)
{
    char folder[4096];
    listing list = {.err = err};
    sumi_status status = choose_split(path, out->split, folder, sizeof folder, err);
    if (status == SUMI_OK)
        status = list_all(&list, folder);
    if (status == SUMI_OK)
        status = read_pictures(&list, config, out, err);
    if (status == SUMI_OK)
        status = set_labels(&list, out, err);
    listing_free(&list);
    if (status != SUMI_OK)
        sumi_data_clear(out);
    return status;
}
