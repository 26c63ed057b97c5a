/*
 * The pictures of a folder: the whole tree in order of name, what is left out of it, and which
 * folders are runs of sumi. Nothing is opened here.
 */
#include "base/grow.h"
#include "data/folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 64, ENDINGS_MAX = 256, ENDINGS_SHOWN = 8, OTHERS_ROOM = 32 };

struct sumi_folder_id {
    dev_t device;
    ino_t inode;
};

/* The array with room for one more than its count elements, or NULL (and the message) where memory
 * is out: then the old array stays. */
static void *grow(sumi_listing *list, void *array, size_t *capacity, size_t count, size_t size)
{
    void *grown = sumi_grow(array, capacity, count, size, 64);
    if (!grown)
        sumi_fail_memory(list->err, "a list of files", count * size);
    return grown;
}

void sumi_listing_free(sumi_listing *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->pictures[i].path);
    for (size_t i = 0; i < list->left_out_count; i++)
        free(list->left_out[i].example);
    free(list->pictures);
    free(list->left_out);
    free(list->seen);
    free(list->run);
    *list = (sumi_listing){0};
}

/* ---- Names ------------------------------------------------------------------------------------
 */

static bool is_one_of(const char *name, const char *const *list)
{
    while (*list && !sumi_same_letters(name, *list, SIZE_MAX))
        list++;
    return *list != NULL;
}

static bool is_picture_name(const char *name)
{
    static const char *const endings[] = {".png",  ".jpg",  ".jpeg",  ".jpe", ".jif",
                                          ".jfif", ".pjpg", ".pjpeg", ".pjp", NULL};
    const char *dot = strrchr(name, '.');
    return dot && is_one_of(dot, endings);
}

/* Whether a file of this ending is a picture for most people, though not for sumi. */
static bool is_other_picture(const char *ending)
{
    static const char *const endings[] = {
        ".webp", ".gif", ".bmp", ".dib", ".tif",  ".tiff", ".heic", ".heif", ".avif", ".jp2",
        ".j2k",  ".jpx", ".jxl", ".ppm", ".pgm",  ".pbm",  ".pnm",  ".tga",  ".ico",  ".svg",
        ".exr",  ".hdr", ".psd", ".raw", ".dng",  ".cr2",  ".cr3",  ".nef",  ".arw",  ".orf",
        ".raf",  ".rw2", ".qoi", ".dds", ".apng", ".jxr",  ".dcm",  ".xcf",  NULL};
    return is_one_of(ending, endings);
}

/* What nobody put there on purpose: thumbnails and notes of file managers and servers. */
static int not_hidden(const struct dirent *entry)
{
    static const char *const names[] = {"__MACOSX",    "Thumbs.db",    "ehthumbs.db",
                                        "desktop.ini", "Icon\r",       "@eaDir",
                                        "lost+found",  "$RECYCLE.BIN", "System Volume Information",
                                        NULL};
    return entry->d_name[0] != '.' && !is_one_of(entry->d_name, names);
}

/* By bytes: the order must not depend on the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool holds(const char *folder, const char *name, bool (*kind)(const char *path))
{
    char path[4096];
    (void)sumi_path_join(path, sizeof path, folder, name, NULL); /* "" where that is too long */
    return kind(path);
}

/* A run begins with its lock and its settings; who makes room in a finished one may remove some of
 * the rest. A config.json alone is anybody's. */
bool sumi_folder_is_run(const char *folder)
{
    static const char *const names[] = {"run.lock",    "train.log", "metrics.jsonl",
                                        "metrics.csv", "env.json",  "latest"};
    int found = holds(folder, "config.json", sumi_is_file);
    if (!found && !holds(folder, "train.log", sumi_is_file))
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names && found < 2; i++)
        found += holds(folder, names[i], sumi_is_file);
    return found >= 2 || (found == 1 && holds(folder, "checkpoints", sumi_is_dir));
}

/* ---- Walking ----------------------------------------------------------------------------------
 */

/* *seen: whether the folder was listed before; else it counts as listed from now on. */
static sumi_status mark_seen(sumi_listing *list, const struct stat *info, bool *seen)
{
    *seen = false;
    for (size_t i = 0; i < list->seen_count && !*seen; i++)
        *seen = list->seen[i].device == info->st_dev && list->seen[i].inode == info->st_ino;
    if (*seen)
        return SUMI_OK;
    sumi_folder_id *ids =
        grow(list, list->seen, &list->seen_capacity, list->seen_count, sizeof *list->seen);
    if (!ids)
        return SUMI_ENOMEM;
    list->seen = ids;
    list->seen[list->seen_count++] = (sumi_folder_id){info->st_dev, info->st_ino};
    return SUMI_OK;
}

static sumi_status add_picture(sumi_listing *list, const char *path)
{
    sumi_picture_path *pictures =
        grow(list, list->pictures, &list->capacity, list->count, sizeof *list->pictures);
    if (!pictures)
        return SUMI_ENOMEM;
    list->pictures = pictures;
    char *copy = sumi_strdup(path);
    if (!copy)
        return sumi_fail_memory(list->err, "a list of files", strlen(path));
    list->pictures[list->count++] = (sumi_picture_path){copy, -1};
    return SUMI_OK;
}

/* Counts a file that is not read. Endings past ENDINGS_MAX count as those of no ending. */
static sumi_status add_left_out(sumi_listing *list, const char *path, const char *name)
{
    char ending[sizeof list->left_out->ending] = "";
    const char *dot = strrchr(name, '.');
    if (dot && dot != name && dot[1] && strlen(dot) < sizeof ending)
        for (size_t i = 0; dot[i]; i++)
            ending[i] = (char)(dot[i] >= 'A' && dot[i] <= 'Z' ? dot[i] - 'A' + 'a' : dot[i]);
    if (list->left_out_count >= ENDINGS_MAX)
        ending[0] = '\0';
    list->other_files++;
    for (size_t i = 0; i < list->left_out_count; i++) {
        if (strcmp(list->left_out[i].ending, ending) == 0) {
            list->left_out[i].count++;
            return SUMI_OK;
        }
    }
    sumi_left_out *kinds = grow(list, list->left_out, &list->left_out_capacity,
                                list->left_out_count, sizeof *list->left_out);
    if (!kinds)
        return SUMI_ENOMEM;
    list->left_out = kinds;
    sumi_left_out *kind = &kinds[list->left_out_count];
    *kind = (sumi_left_out){.count = 1, .picture = is_other_picture(ending)};
    memcpy(kind->ending, ending, sizeof ending);
    kind->example = sumi_strdup(path + list->root);
    if (!kind->example)
        return sumi_fail_memory(list->err, "a list of files", strlen(path));
    list->left_out_count++;
    return SUMI_OK;
}

static sumi_status add_run(sumi_listing *list, const char *path)
{
    list->runs++;
    if (!list->run)
        list->run = sumi_strdup(path + list->root);
    return list->run ? SUMI_OK : sumi_fail_memory(list->err, "a list of files", strlen(path));
}

static sumi_status list_folder(sumi_listing *list, const char *folder, int depth);

static sumi_status list_entry(sumi_listing *list, const char *folder, const char *name, int depth)
{
    char path[4096];
    sumi_status status = sumi_path_join(path, sizeof path, folder, name, list->err);
    if (status != SUMI_OK)
        return status;
    struct stat info;
    if (stat(path, &info) != 0) /* a dead link is missed only where a picture was meant */
        return is_picture_name(name) ? add_picture(list, path) : SUMI_OK;
    if (S_ISREG(info.st_mode) && is_picture_name(name))
        return add_picture(list, path);
    if (!S_ISDIR(info.st_mode))
        return add_left_out(list, path, name);
    bool seen = false;
    status = mark_seen(list, &info, &seen);
    if (status != SUMI_OK || seen)
        return status;
    return sumi_folder_is_run(path) ? add_run(list, path) : list_folder(list, path, depth + 1);
}

static sumi_status list_folder(sumi_listing *list, const char *folder, int depth)
{
    if (depth > DEPTH_MAX)
        return sumi_fail(list->err, SUMI_EUNSUPPORTED, "%s: folders are nested deeper than %d",
                         folder, DEPTH_MAX);
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, not_hidden, by_name);
    if (count < 0)
        return sumi_fail_errno(list->err, folder, errno);
    sumi_status status = SUMI_OK;
    for (int i = 0; i < count; i++) {
        if (status == SUMI_OK && (list->limit == 0 || list->count < list->limit))
            status = list_entry(list, folder, entries[i]->d_name, depth);
        free(entries[i]);
    }
    free(entries);
    return status;
}

sumi_status sumi_listing_read(sumi_listing *list, const char *folder, sumi_error *err)
{
    struct stat info;
    bool seen = false;
    size_t length = strlen(folder);
    list->err = err;
    list->root = length + (length > 0 && folder[length - 1] != '/');
    if (stat(folder, &info) != 0)
        return sumi_fail_errno(err, folder, errno);
    sumi_status status = mark_seen(list, &info, &seen);
    if (status == SUMI_OK)
        status = list_folder(list, folder, 0);
    if (status == SUMI_OK && list->count > SUMI_IMAGES_MAX)
        return sumi_fail(err, SUMI_EUNSUPPORTED, "%s: expected at most %d pictures, found %zu",
                         folder, SUMI_IMAGES_MAX, list->count);
    return status;
}

/* ---- What it found ----------------------------------------------------------------------------
 */

static sumi_status add_class(sumi_listing *list, char ***names, int *count, const char *name,
                             size_t length)
{
    if (*count == SUMI_CLASSES_MAX)
        return sumi_fail(list->err, SUMI_EUNSUPPORTED,
                         "%.*s: expected at most %d sub-folders with pictures (classes), found "
                         "more",
                         (int)length, name, SUMI_CLASSES_MAX);
    char *copy = sumi_calloc(length + 1, 1);
    char **grown = copy ? realloc(*names, ((size_t)*count + 1) * sizeof **names) : NULL;
    if (!grown) {
        free(copy);
        return sumi_fail_memory(list->err, "class names", length);
    }
    memcpy(copy, name, length);
    grown[(*count)++] = copy;
    *names = grown;
    return SUMI_OK;
}

sumi_status sumi_listing_classes(sumi_listing *list, size_t root, char ***names, int *count)
{
    sumi_status status = SUMI_OK;
    size_t length = 0;
    *names = NULL;
    *count = 0;
    for (size_t i = 0; i < list->count; i++)
        if (!strchr(list->pictures[i].path + root, '/'))
            return SUMI_OK;
    for (size_t i = 0; i < list->count && status == SUMI_OK; i++) {
        const char *name = list->pictures[i].path + root;
        /* The pictures of a folder lie together; length is still that of the last one's class. */
        bool same = i > 0 && strncmp(name, list->pictures[i - 1].path + root, length + 1) == 0;
        length = (size_t)(strchr(name, '/') - name);
        if (!same)
            status = add_class(list, names, count, name, length);
        list->pictures[i].class = *count - 1;
    }
    return status;
}

static int most_first(const void *a, const void *b)
{
    const sumi_left_out *x = a, *y = b;
    if (x->picture != y->picture)
        return x->picture ? -1 : 1;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return strcmp(x->ending, y->ending);
}

void sumi_listing_left_out(const sumi_listing *list, char *out, size_t size, bool *pictures)
{
    size_t used = 0, rest = 0;
    *pictures = false;
    out[0] = '\0';
    if (list->left_out_count > 0)
        qsort(list->left_out, list->left_out_count, sizeof *list->left_out, most_first);
    for (size_t i = 0; i < list->left_out_count; i++) {
        const sumi_left_out *kind = &list->left_out[i];
        *pictures |= kind->picture;
        if (i >= ENDINGS_SHOWN) {
            rest += kind->count;
            continue;
        }
        int n = snprintf(out + used, size - used, "%s%zu %s (%s)", i > 0 ? ", " : "", kind->count,
                         kind->ending[0] ? kind->ending : "without an ending", kind->example);
        /* With room for the others behind it. */
        if (n < 0 || (size_t)n + OTHERS_ROOM >= size - used) {
            out[used] = '\0';
            rest += kind->count;
        } else
            used += (size_t)n;
    }
    if (rest > 0)
        snprintf(out + used, size - used, "%s%zu others", used > 0 ? ", " : "", rest);
}
