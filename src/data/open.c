/*
 * Opening a set: what a name or a path stands for, and what is worth saying about it.
 */
#include "data/folder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const fashion_classes[] = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                              "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                              "Bag",         "Ankle boot"};

static const char *const split_names[] = {"train", "test", "all", "rest", "held-back"};

const char *sumi_split_name(int split)
{
    return split_names[split];
}

/* Checks config, fills in what is missing, and says which split it asks for. */
static sumi_status normalise(const sumi_dataset_config *config, sumi_dataset_config *out,
                             int *split, sumi_error *err)
{
    sumi_dataset_config defaults = SUMI_DATASET_CONFIG_INIT;
    *out = config ? *config : defaults;
    if (!out->split)
        out->split = defaults.split;
    *split = SUMI_SPLIT_TRAIN;
    while (*split <= SUMI_SPLIT_HELD_BACK && strcmp(out->split, split_names[*split]) != 0)
        ++*split;
    if (*split > SUMI_SPLIT_HELD_BACK)
        return sumi_fail(
            err, SUMI_EINVAL,
            "split: expected \"train\", \"test\", \"all\", \"rest\" or \"held-back\", found "
            "\"%s\"",
            out->split);
    if (out->channels < 0 || out->channels > SUMI_CHANNELS_MAX)
        return sumi_fail(err, SUMI_EINVAL, "channels: expected 1 to %d (0: as stored), found %d",
                         SUMI_CHANNELS_MAX, out->channels);
    if (out->height < 0 || out->height > SUMI_SIDE_MAX || out->width < 0 ||
        out->width > SUMI_SIDE_MAX)
        return sumi_fail(err, SUMI_EINVAL,
                         "image size: expected sides of 1 to %d (0: as stored), found %dx%d",
                         SUMI_SIDE_MAX, out->height, out->width);
    if (!(out->background >= 0 && out->background <= 1))
        return sumi_fail(err, SUMI_EINVAL, "background is %g, expected 0 to 1",
                         (double)out->background);
    return SUMI_OK;
}

/* Sub-folders alone can be taken for splits or for classes. */
static sumi_status refuse_all(const char *name, int split, sumi_error *err)
{
    if (split != SUMI_SPLIT_ALL)
        return SUMI_OK;
    return sumi_fail(err, SUMI_EINVAL,
                     "%s: the split \"all\" is for folders of pictures; expected train or test",
                     name);
}

static sumi_status open_fashion(const sumi_dataset_config *config, sumi_dataset *set,
                                sumi_error *err)
{
    char folder[4096], looked[4096];
    if (!sumi_find_fashion(set->split, SUMI_SYSTEM_FASHION, folder, looked, sizeof folder))
        return sumi_fail_no_fashion(looked, err);
    sumi_status status = sumi_idx_open(folder, config, set, err);
    if (status == SUMI_OK)
        snprintf(set->path, sizeof set->path, "%s", folder);
    return status;
}

/* The first bytes of a file, enough to tell its kind. */
static sumi_status read_head(const char *path, uint8_t *head, size_t *size, sumi_error *err)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return sumi_fail(err, SUMI_EIO, "%s: %s", path, strerror(errno));
    *size = fread(head, 1, *size, file);
    bool bad = ferror(file) != 0;
    int code = errno;
    fclose(file);
    return bad ? sumi_fail(err, SUMI_EIO, "%s: %s", path, strerror(code)) : SUMI_OK;
}

/* A file holds one split; a name such as t10k-images-idx3-ubyte says that it is the test split. */
static sumi_status check_file_split(const char *path, int split, sumi_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    if (split == SUMI_SPLIT_TRAIN || strstr(base, "t10k") || strstr(base, "test"))
        return SUMI_OK;
    return sumi_fail(err, SUMI_EINVAL,
                     "%s: one file has no test split; name the file that holds the test images",
                     path);
}

/* name: the last part of the path; path: absolute where it can be told. */
static void set_origin(sumi_dataset *set, const char *path)
{
    char *absolute = realpath(path, NULL);
    sumi_copy_text(set->path, sizeof set->path, absolute ? absolute : path);
    const char *slash = strrchr(set->path, '/');
    const char *base = slash && slash[1] ? slash + 1 : set->path;
    sumi_copy_text(set->name, sizeof set->name, base);
    free(absolute);
}

/* The IDX files of a folder that was named, or of one below it: torchvision keeps its downloads in
 * data/FashionMNIST/raw. The set is called after the folder that says more than "raw". */
static sumi_status open_idx(const char *named, const char *folder,
                            const sumi_dataset_config *config, sumi_dataset *set, sumi_error *err)
{
    char origin[4096];
    sumi_status status = refuse_all(named, set->split, err);
    if (status == SUMI_OK)
        status = sumi_idx_open(folder, config, set, err);
    if (status != SUMI_OK)
        return status;
    int length = (int)strlen(folder);
    if (strcmp(named, folder) != 0 && sumi_has_last_part(folder, "raw"))
        length -= (int)strlen("/raw");
    snprintf(origin, sizeof origin, "%.*s", length, folder);
    set_origin(set, origin);
    return SUMI_OK;
}

/* A regular file: its content, not its name, says what it is. */
static sumi_status open_file(const char *path, const sumi_dataset_config *config, sumi_dataset *set,
                             sumi_error *err)
{
    uint8_t head[1024];
    size_t size = sizeof head;
    sumi_status status = read_head(path, head, &size, err);
    if (status == SUMI_OK)
        status = check_file_split(path, set->split, err);
    if (status == SUMI_OK)
        status = refuse_all(path, set->split, err);
    if (status != SUMI_OK)
        return status;
    const char *kind = sumi_sniff(head, size);
    bool npy = strcmp(kind, "npy") == 0;
    if (npy || strcmp(kind, "idx") == 0 || strcmp(kind, "gzip") == 0) {
        status =
            npy ? sumi_npy_open(path, config, set, err) : sumi_idx_open(path, config, set, err);
        if (status == SUMI_OK)
            set_origin(set, path);
        return status;
    }
    if (strcmp(kind, "png") == 0 || strcmp(kind, "jpeg") == 0)
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: is one picture, not a data set; name the folder that holds the "
                         "pictures",
                         path);
    if (strcmp(kind, "unknown") == 0)
        kind = "of an unknown kind";
    return sumi_fail(err, SUMI_EFORMAT,
                     "%s: is %s, not a data set (an IDX file, plain or .gz, an .npy file, or a "
                     "folder of PNG or JPEG pictures)",
                     path, kind);
}

/* Whether there are pictures at all; what cannot be listed is left to who lists it. */
static bool has_pictures(const char *folder)
{
    sumi_listing list = {.limit = 1};
    bool found = sumi_listing_read(&list, folder, NULL) != SUMI_OK || list.count > 0;
    sumi_listing_free(&list);
    return found;
}

static sumi_status open_path(const char *path, const sumi_dataset_config *config, sumi_dataset *set,
                             sumi_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return errno == ENOENT ? sumi_fail_not_found(path, err)
                               : sumi_fail(err, SUMI_EIO, "%s: %s", path, strerror(errno));
    if (S_ISREG(info.st_mode))
        return open_file(path, config, set, err);
    if (!S_ISDIR(info.st_mode))
        return sumi_fail(err, SUMI_EIO, "%s: is neither a file nor a folder", path);
    char below[4096] = "";
    if (sumi_idx_count(path) > 0)
        return open_idx(path, path, config, set, err);
    if (!has_pictures(path)) {
        sumi_status status = sumi_find_idx_below(path, below, sizeof below, err);
        if (status != SUMI_OK)
            return status;
        if (below[0] != '\0')
            return open_idx(path, below, config, set, err);
    }
    sumi_status status = sumi_folder_open(path, config, set, err);
    if (status == SUMI_OK)
        set_origin(set, path);
    return status;
}

/* Whether a file or folder of that name lies here, and is not the one at `other`. */
static bool is_here_too(const char *name, const char *other)
{
    struct stat here, there;
    return stat(name, &here) == 0 && (S_ISDIR(here.st_mode) || S_ISREG(here.st_mode)) &&
           !(stat(other, &there) == 0 && here.st_dev == there.st_dev &&
             here.st_ino == there.st_ino);
}

/* A set that has a name of its own. Where something here is called the same, it is said which of
 * the two is meant. */
static sumi_status open_named(const char *name, const sumi_dataset_config *config,
                              sumi_dataset *set, sumi_error *err)
{
    char which[sizeof set->path + 32] = "the built-in data set";
    bool drawn = strcmp(name, "shapes") == 0;
    sumi_status status = refuse_all(name, set->split, err);
    if (status == SUMI_OK)
        status = drawn ? sumi_shapes_open(config, set, err) : open_fashion(config, set, err);
    if (status == SUMI_EIO && is_here_too(name, ""))
        return sumi_fail(err, status,
                         "%s: the data set of this name is not installed (apt install "
                         "dataset-fashion-mnist); what is here is ./%s",
                         name, name);
    if (status != SUMI_OK)
        return status;
    snprintf(set->name, sizeof set->name, "%s", name);
    if (!is_here_too(name, set->path))
        return SUMI_OK;
    if (!drawn)
        snprintf(which, sizeof which, "the data set in %s", set->path);
    return sumi_data_note(set, true, err, "%s is %s; the %s of that name here is ./%s", name, which,
                          sumi_is_dir(name) ? "folder" : "file", name);
}

static sumi_status open_any(const char *name, const sumi_dataset_config *config, sumi_dataset *set,
                            sumi_error *err)
{
    char found[4096];
    struct stat info;
    if (strcmp(name, "shapes") == 0 || strcmp(name, "fashion-mnist") == 0)
        return open_named(name, config, set, err);
    bool elsewhere = sumi_find_named(name, found, sizeof found);
    if (stat(name, &info) != 0)
        return open_path(elsewhere ? found : name, config, set, err);
    sumi_status status = open_path(name, config, set, err);
    if (status == SUMI_OK && elsewhere && is_here_too(name, found))
        status = sumi_data_note(set, true, err, "%s is the one here, not %s", name, found);
    return status;
}

/* ---- What is worth saying ---------------------------------------------------------------------
 */

enum { DARK = 32 };

/* Bytes from 0 to 255 are meant, and 1 is not white. */
static sumi_status note_dark(sumi_dataset *set, sumi_error *err)
{
    size_t bytes =
        (size_t)set->count * (size_t)set->height * (size_t)set->width * (size_t)set->channels;
    int most = 0;
    for (size_t i = 0; set->pixels && i < bytes && most < DARK; i++)
        most = set->pixels[i] > most ? set->pixels[i] : most;
    if (!set->pixels || most >= DARK)
        return SUMI_OK;
    if (most == 0)
        return sumi_data_note(set, true, err, "all pixels are 0: the pictures are black");
    if (most == 1)
        return sumi_data_note(
            set, true, err,
            "all pixels are 0 or 1 of 255, which is nearly black; where 1 is meant "
            "as white, multiply by 255");
    return sumi_data_note(set, true, err,
                          "no pixel is above %d of 255: the pictures are nearly black; where %d is "
                          "meant as white, scale them to 0 .. 255",
                          most, most);
}

/* Whether ten classes without names come from a place that is named after Fashion-MNIST, by Debian
 * or by torchvision. */
static bool is_fashion(const sumi_dataset *set)
{
    return set->classes == 10 && !set->class_names &&
           (strcmp(set->name, "fashion-mnist") == 0 || strstr(set->path, "/fashion-mnist") ||
            strstr(set->path, "/FashionMNIST"));
}

sumi_status sumi_data_open(const char *name_or_path, const sumi_dataset_config *config,
                           sumi_dataset **out, sumi_error *err)
{
    sumi_dataset_config full;
    int split = SUMI_SPLIT_TRAIN;
    if (!name_or_path || !*name_or_path)
        return sumi_fail(err, SUMI_EINVAL, "the data set has no name");
    sumi_status status = normalise(config, &full, &split, err);
    if (status != SUMI_OK)
        return status;
    sumi_dataset *set = sumi_calloc(1, sizeof *set);
    if (!set)
        return sumi_fail_memory(err, "a data set", sizeof *set);
    bool part = split > SUMI_SPLIT_ALL; /* of what is read as the training split */
    set->split = part ? SUMI_SPLIT_TRAIN : split;
    set->background = full.background;
    status = open_any(name_or_path, &full, set, err);
    if (status == SUMI_OK && is_fashion(set))
        status = sumi_data_set_classes(set, fashion_classes, 10, err);
    if (status == SUMI_OK)
        status = note_dark(set, err);
    if (status == SUMI_OK && part)
        status = sumi_data_take_part(set, split, err);
    if (status == SUMI_OK)
        status = sumi_data_memo(set, err);
    if (status != SUMI_OK) {
        sumi_data_free(set);
        return status;
    }
    *out = set;
    return SUMI_OK;
}
