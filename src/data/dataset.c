/*
 * A data set in memory: looking it up, the limits that all loaders share, reading, hashing.
 */
#include "data/data.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- What the loaders share -------------------------------------------------------------------
 */

sumi_status sumi_data_alloc(sumi_dataset *set, const char *path, int64_t count, int h, int w, int c,
                            sumi_error *err)
{
    int64_t factors[] = {count, h, w, c};
    size_t bytes = 0;
    bool fits = count >= 1 && count <= SUMI_IMAGES_MAX && h >= 1 && h <= SUMI_SIDE_MAX && w >= 1 &&
                w <= SUMI_SIDE_MAX && (c == 1 || c == 3) && sumi_size_product(factors, 4, &bytes) &&
                bytes <= SUMI_PIXELS_MAX;
    if (!fits)
        return sumi_fail(err, count < 1 || h < 1 || w < 1 ? SUMI_EFORMAT : SUMI_EUNSUPPORTED,
                         "%s: %" PRId64 " images of %dx%dx%d are more than sumi takes (%zu GiB of "
                         "pixels, sides 1 to %d)",
                         path, count, h, w, c, SUMI_PIXELS_MAX >> 30, SUMI_SIDE_MAX);
    uint8_t *pixels = malloc(bytes);
    if (!pixels)
        return sumi_fail_memory(err, path, bytes);
    free(set->pixels);
    set->pixels = pixels;
    set->count = count;
    set->height = h;
    set->width = w;
    set->channels = c;
    return SUMI_OK;
}

static void free_names(char **names, int count)
{
    for (int i = 0; names && i < count; i++)
        free(names[i]);
    free(names);
}

sumi_status sumi_data_set_classes(sumi_dataset *set, const char *const *names, int count,
                                  sumi_error *err)
{
    char **copy = sumi_calloc((size_t)count, sizeof *copy);
    bool whole = copy != NULL;
    for (int i = 0; whole && i < count; i++) {
        copy[i] = sumi_strdup(names[i]);
        whole = copy[i] != NULL;
    }
    if (!whole) {
        free_names(copy, count);
        return sumi_fail_memory(err, "class names", (size_t)count * sizeof *copy);
    }
    free_names(set->class_names, set->classes);
    set->class_names = copy;
    set->classes = count;
    return SUMI_OK;
}

sumi_status sumi_data_fit(sumi_dataset *set, const char *path, const sumi_dataset_config *config,
                          sumi_error *err)
{
    sumi_fitter fitter = {.h = config->height ? config->height : set->height,
                          .w = config->width ? config->width : set->width,
                          .c = config->channels ? config->channels : set->channels};
    if (fitter.h == set->height && fitter.w == set->width && fitter.c == set->channels)
        return SUMI_OK;
    size_t from = (size_t)set->height * (size_t)set->width * (size_t)set->channels;
    size_t to = (size_t)fitter.h * (size_t)fitter.w * (size_t)fitter.c;
    sumi_dataset fitted = {0};
    sumi_status status =
        sumi_data_alloc(&fitted, path, set->count, fitter.h, fitter.w, fitter.c, err);
    /* The file is fine: it is the size that config asks for that is too large. */
    status = status == SUMI_EFORMAT || status == SUMI_EUNSUPPORTED ? SUMI_EINVAL : status;
    for (int64_t i = 0; status == SUMI_OK && i < set->count; i++)
        status = sumi_fitter_run(&fitter, set->pixels + (size_t)i * from, set->height, set->width,
                                 set->channels, fitted.pixels + (size_t)i * to, err);
    sumi_fitter_free(&fitter);
    if (status != SUMI_OK) {
        sumi_data_clear(&fitted);
        return status;
    }
    free(set->pixels);
    set->pixels = fitted.pixels;
    set->height = fitter.h;
    set->width = fitter.w;
    set->channels = fitter.c;
    return SUMI_OK;
}

void sumi_data_clear(sumi_dataset *set)
{
    free(set->pixels);
    free(set->labels);
    free_names(set->class_names, set->classes);
    *set = (sumi_dataset){0};
}

/* ---- Opening ----------------------------------------------------------------------------------
 */

static const char *const fashion_classes[] = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                              "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                              "Bag",         "Ankle boot"};

/* Checks config, fills in what is missing, and says which split it asks for. */
static sumi_status normalise(const sumi_dataset_config *config, sumi_dataset_config *out,
                             int *split, sumi_error *err)
{
    sumi_dataset_config defaults = SUMI_DATASET_CONFIG_INIT;
    *out = config ? *config : defaults;
    if (!out->split)
        out->split = defaults.split;
    if (strcmp(out->split, "train") != 0 && strcmp(out->split, "test") != 0)
        return sumi_fail(err, SUMI_EINVAL, "split: expected \"train\" or \"test\", found \"%s\"",
                         out->split);
    if (out->channels != 0 && out->channels != 1 && out->channels != 3)
        return sumi_fail(err, SUMI_EINVAL, "channels: expected 1 or 3 (0: as stored), found %d",
                         out->channels);
    if (out->height < 0 || out->height > SUMI_SIDE_MAX || out->width < 0 ||
        out->width > SUMI_SIDE_MAX)
        return sumi_fail(err, SUMI_EINVAL,
                         "image size: expected sides of 1 to %d (0: as stored), found %dx%d",
                         SUMI_SIDE_MAX, out->height, out->width);
    *split = strcmp(out->split, "test") == 0 ? SUMI_SPLIT_TEST : SUMI_SPLIT_TRAIN;
    return SUMI_OK;
}

static sumi_status open_fashion(const sumi_dataset_config *config, sumi_dataset *set,
                                sumi_error *err)
{
    char folder[1024], looked[1024];
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

/* A regular file: its content, not its name, says what it is. */
static sumi_status open_file(const char *path, const sumi_dataset_config *config, sumi_dataset *set,
                             sumi_error *err)
{
    uint8_t head[1024];
    size_t size = sizeof head;
    sumi_status status = read_head(path, head, &size, err);
    if (status == SUMI_OK)
        status = check_file_split(path, set->split, err);
    if (status != SUMI_OK)
        return status;
    const char *kind = sumi_sniff(head, size);
    if (strcmp(kind, "npy") == 0)
        return sumi_npy_open(path, config, set, err);
    if (strcmp(kind, "idx") == 0 || strcmp(kind, "gzip") == 0)
        return sumi_idx_open(path, config, set, err);
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

static bool has_idx(const char *folder)
{
    char file[4096];
    return sumi_idx_find(folder, SUMI_SPLIT_TRAIN, file, sizeof file) ||
           sumi_idx_find(folder, SUMI_SPLIT_TEST, file, sizeof file);
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
    char raw[4096];
    if (has_idx(path))
        return sumi_idx_open(path, config, set, err);
    /* torchvision keeps its downloads in a sub-folder: data/FashionMNIST/raw. */
    if (sumi_path_join(raw, sizeof raw, path, "raw", NULL) == SUMI_OK && has_idx(raw))
        return sumi_idx_open(raw, config, set, err);
    return sumi_folder_open(path, config, set, err);
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

static sumi_status open_any(const char *name, const sumi_dataset_config *config, sumi_dataset *set,
                            sumi_error *err)
{
    if (strcmp(name, "shapes") == 0 || strcmp(name, "fashion-mnist") == 0) {
        sumi_status status =
            *name == 's' ? sumi_shapes_open(config, set, err) : open_fashion(config, set, err);
        snprintf(set->name, sizeof set->name, "%s", name);
        return status;
    }
    char found[4096];
    struct stat info;
    if (stat(name, &info) != 0 && sumi_find_named(name, found, sizeof found))
        name = found;
    sumi_status status = open_path(name, config, set, err);
    if (status == SUMI_OK)
        set_origin(set, name);
    return status;
}

/* Whether ten classes without names come from a place that is named after Fashion-MNIST, by Debian
 * or by torchvision. */
static bool is_fashion(const sumi_dataset *set)
{
    return set->classes == 10 && !set->class_names &&
           (strcmp(set->name, "fashion-mnist") == 0 || strstr(set->path, "/fashion-mnist") ||
            strstr(set->path, "/FashionMNIST"));
}

/* The hash of a set, and whether it is known yet: any thread may ask first. */
struct sumi_hash_memo {
    pthread_mutex_t lock;
    bool known;
    char hex[65];
};

static sumi_status make_memo(sumi_dataset *set, sumi_error *err)
{
    set->memo = sumi_calloc(1, sizeof *set->memo);
    if (!set->memo)
        return sumi_fail_memory(err, "a data set", sizeof *set->memo);
    if (pthread_mutex_init(&set->memo->lock, NULL) == 0)
        return SUMI_OK;
    free(set->memo);
    set->memo = NULL;
    return sumi_fail_memory(err, "a lock", sizeof(pthread_mutex_t));
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
    set->split = split;
    status = open_any(name_or_path, &full, set, err);
    if (status == SUMI_OK && is_fashion(set))
        status = sumi_data_set_classes(set, fashion_classes, 10, err);
    if (status == SUMI_OK)
        status = make_memo(set, err);
    if (status != SUMI_OK) {
        sumi_data_free(set);
        return status;
    }
    *out = set;
    return SUMI_OK;
}

void sumi_data_free(sumi_dataset *set)
{
    if (!set)
        return;
    if (set->memo)
        pthread_mutex_destroy(&set->memo->lock);
    free(set->memo);
    sumi_data_clear(set);
    free(set);
}

/* ---- Reading ----------------------------------------------------------------------------------
 */

static size_t image_bytes(const sumi_dataset *set)
{
    return (size_t)set->height * (size_t)set->width * (size_t)set->channels;
}

void sumi_data_read_bytes(const sumi_dataset *set, int64_t index, uint8_t *pixels)
{
    assert(index >= 0 && index < set->count);
    size_t bytes = image_bytes(set);
    if (set->pixels)
        memcpy(pixels, set->pixels + (size_t)index * bytes, bytes);
    else
        set->draw(set, index, 0, set->height, pixels);
}

void sumi_data_read(const sumi_dataset *set, int64_t index, float *image, int32_t *label)
{
    assert(index >= 0 && index < set->count);
    size_t bytes = image_bytes(set);
    const uint8_t *from;
    if (set->pixels) {
        from = set->pixels + (size_t)index * bytes;
    } else {
        /* Drawn into the last quarter of the image's own floats: going up, float i is written
         * over bytes 4 i .. 4 i + 3, none of which is still to be read. */
        uint8_t *quarter = (uint8_t *)image + 3 * bytes;
        set->draw(set, index, 0, set->height, quarter);
        from = quarter;
    }
    for (size_t i = 0; i < bytes; i++)
        image[i] = (float)from[i] / 255.0f;
    if (label)
        *label = set->labels ? set->labels[index] : -1;
}

/* ---- Hash -------------------------------------------------------------------------------------
 */

enum { HASHED_DRAWN = 1000 };

static void hash_number(sumi_sha256 *sha, uint64_t value)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    sumi_sha256_update(sha, bytes, sizeof bytes);
}

/* In bands of rows that fit on the stack: hashing needs no memory, so it cannot fail. */
static void hash_drawn(sumi_sha256 *sha, const sumi_dataset *set)
{
    uint8_t band[3 * SUMI_SIDE_MAX];
    size_t row = (size_t)set->width * (size_t)set->channels;
    int step = (int)(sizeof band / row);
    for (int64_t i = 0; i < set->count && i < HASHED_DRAWN; i++) {
        for (int y = 0; y < set->height; y += step) {
            int rows = set->height - y < step ? set->height - y : step;
            set->draw(set, i, y, rows, band);
            sumi_sha256_update(sha, band, (size_t)rows * row);
        }
    }
}

static void compute_hash(const sumi_dataset *set, char hex[65])
{
    sumi_sha256 sha;
    sumi_sha256_init(&sha);
    hash_number(&sha, (uint64_t)set->count);
    hash_number(&sha, (uint64_t)set->height);
    hash_number(&sha, (uint64_t)set->width);
    hash_number(&sha, (uint64_t)set->channels);
    hash_number(&sha, (uint64_t)set->classes);
    if (set->pixels)
        sumi_sha256_update(&sha, set->pixels, (size_t)set->count * image_bytes(set));
    else
        hash_drawn(&sha, set);
    for (int64_t i = 0; set->labels && i < set->count; i++) {
        uint32_t label = (uint32_t)set->labels[i];
        uint8_t bytes[4] = {(uint8_t)label, (uint8_t)(label >> 8), (uint8_t)(label >> 16),
                            (uint8_t)(label >> 24)};
        sumi_sha256_update(&sha, bytes, sizeof bytes);
    }
    sumi_sha256_final(&sha, hex);
}

void sumi_data_hash(const sumi_dataset *set, char hex[65])
{
    sumi_hash_memo *memo = set->memo;
    if (!memo) {
        compute_hash(set, hex);
        return;
    }
    pthread_mutex_lock(&memo->lock);
    if (!memo->known)
        compute_hash(set, memo->hex);
    memo->known = true;
    memcpy(hex, memo->hex, sizeof memo->hex);
    pthread_mutex_unlock(&memo->lock);
}

/* ---- Listing ----------------------------------------------------------------------------------
 */

int sumi_data_list(sumi_data_entry *entries, int capacity)
{
    sumi_data_entry all[] = {
        {.name = "fashion-mnist",
         .description = "70,000 grey 28x28 pictures of clothes in ten classes (Zalando)"},
        {.name = "shapes",
         .description = "70,000 drawn figures in ten classes, any size, grey or colour",
         .available = true,
         .where = "built in"},
    };
    int count = (int)(sizeof all / sizeof *all);
    char folder[1024], looked[1024];
    all[0].available =
        sumi_find_fashion(SUMI_SPLIT_TRAIN, SUMI_SYSTEM_FASHION, folder, looked, sizeof folder);
    snprintf(all[0].where, sizeof all[0].where, "%s",
             all[0].available ? folder : "apt install dataset-fashion-mnist");
    for (int i = 0; i < count && i < capacity; i++)
        entries[i] = all[i];
    return count;
}
