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
#include <unistd.h>
#include <sys/stat.h>

/* ---- What the loaders share -------------------------------------------------------------------
 */

bool sumi_data_is_large(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uintmax_t)st.st_size > SUMI_HELD_MAX;
}

void sumi_data_free_pixels(sumi_dataset *set)
{
    if (set->mapped)
        sumi_unmap(set->mapped, set->mapped_bytes);
    else
        free(set->pixels);
    set->pixels = NULL;
    set->mapped = NULL;
    set->mapped_bytes = 0;
}

void sumi_data_move_pixels(sumi_dataset *to, sumi_dataset *from)
{
    sumi_data_free_pixels(to);
    to->pixels = from->pixels;
    to->mapped = from->mapped;
    to->mapped_bytes = from->mapped_bytes;
    from->pixels = NULL;
    from->mapped = NULL;
}

sumi_status sumi_data_check_sizes(const char *path, const int64_t shape[4], size_t *bytes,
                                  sumi_error *err)
{
    int64_t count = shape[0], h = shape[1], w = shape[2], c = shape[3];
    bool fits = count >= 1 && count <= SUMI_IMAGES_MAX && h >= 1 && h <= SUMI_SIDE_MAX && w >= 1 &&
                w <= SUMI_SIDE_MAX && c >= 1 && c <= SUMI_CHANNELS_MAX &&
                sumi_size_product(shape, 4, bytes) && *bytes <= SUMI_PIXELS_MAX;
    return fits ? SUMI_OK
                : sumi_fail(err, count < 1 || h < 1 || w < 1 ? SUMI_EFORMAT : SUMI_EUNSUPPORTED,
                            "%s: %" PRId64 " images of %" PRId64 "x%" PRId64 "x%" PRId64
                            " are more than sumi takes (%zu GiB of pixels, sides 1 to %d)",
                            path, count, h, w, c, SUMI_PIXELS_MAX >> 30, SUMI_SIDE_MAX);
}

static void take_sizes(sumi_dataset *set, const int64_t shape[4])
{
    set->count = shape[0];
    set->height = (int)shape[1];
    set->width = (int)shape[2];
    set->channels = (int)shape[3];
}

sumi_status sumi_data_take_map(sumi_dataset *set, const char *path, const uint8_t *mapped,
                               size_t mapped_bytes, size_t offset, const int64_t shape[4],
                               sumi_error *err)
{
    size_t bytes = 0;
    sumi_status status = sumi_data_check_sizes(path, shape, &bytes, err);
    if (status != SUMI_OK)
        return status;
    assert(offset <= mapped_bytes && bytes <= mapped_bytes - offset);
    sumi_data_free_pixels(set);
    set->mapped = mapped;
    set->mapped_bytes = mapped_bytes;
    set->pixels = (uint8_t *)mapped + offset;
    take_sizes(set, shape);
    return SUMI_OK;
}

sumi_status sumi_data_alloc(sumi_dataset *set, const char *path, int64_t count, int h, int w, int c,
                            sumi_error *err)
{
    const int64_t shape[] = {count, h, w, c};
    size_t bytes = 0;
    sumi_status status = sumi_data_check_sizes(path, shape, &bytes, err);
    if (status != SUMI_OK)
        return status;
    uint8_t *spool = bytes > SUMI_HELD_MAX ? sumi_spool_alloc(bytes) : NULL;
    /* The system may promise more memory than there is, and end the process when it is used. */
    size_t pages = (size_t)sysconf(_SC_PHYS_PAGES), page = (size_t)sysconf(_SC_PAGESIZE);
    if (!spool && bytes / page > pages) /* not known: -1, which is more than any */
        return sumi_fail(err, SUMI_ENOMEM,
                         "%s: %" PRId64 " images of %dx%dx%d take %zu MiB, more memory than this "
                         "machine has, and than there is room for in $TMPDIR or /var/tmp; take a "
                         "smaller size (--size)",
                         path, count, h, w, c, bytes >> 20);
    uint8_t *pixels = spool ? spool : malloc(bytes);
    if (!pixels)
        return sumi_fail_memory(err, path, bytes);
    sumi_data_free_pixels(set);
    set->pixels = pixels;
    set->mapped = spool;
    set->mapped_bytes = spool ? bytes : 0;
    take_sizes(set, shape);
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
    /* The fitter overwrites what it reads. */
    uint8_t *one = malloc(from);
    if (status == SUMI_OK && !one)
        status = sumi_fail_memory(err, path, from);
    for (int64_t i = 0; status == SUMI_OK && i < set->count; i++) {
        memcpy(one, set->pixels + (size_t)i * from, from);
        status = sumi_fitter_run(&fitter, one, set->height, set->width, set->channels,
                                 fitted.pixels + (size_t)i * to, err);
    }
    free(one);
    sumi_fitter_free(&fitter);
    if (status != SUMI_OK) {
        sumi_data_clear(&fitted);
        return status;
    }
    sumi_data_move_pixels(set, &fitted);
    set->height = fitter.h;
    set->width = fitter.w;
    set->channels = fitter.c;
    return SUMI_OK;
}

void sumi_data_clear(sumi_dataset *set)
{
    sumi_data_free_pixels(set);
    free(set->labels);
    free_names(set->class_names, set->classes);
    for (int i = 0; i < set->notice_count; i++)
        free(set->notices[i].text);
    free(set->notices);
    for (int64_t i = 0; i < set->skipped_count; i++)
        free(set->skipped[i]);
    free(set->skipped);
    *set = (sumi_dataset){0};
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

float sumi_data_value(uint8_t byte)
{
    return (float)byte / 255.0f;
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
        image[i] = sumi_data_value(from[i]);
    if (label)
        *label = set->labels ? set->labels[index] : -1;
}

/* ---- Hash -------------------------------------------------------------------------------------
 */

/* The hash of a set, and whether it is known yet: any thread may ask first. */
struct sumi_hash_memo {
    pthread_mutex_t lock;
    bool known;
    char hex[65];
};

sumi_status sumi_data_memo(sumi_dataset *set, sumi_error *err)
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

sumi_dataset *sumi_data_hold(const sumi_dataset *set)
{
    sumi_dataset *held = (sumi_dataset *)set; /* who only reads a set may keep it, too */
    atomic_fetch_add(&held->holders, 1);
    return held;
}

void sumi_data_free(sumi_dataset *set)
{
    if (!set || atomic_fetch_sub(&set->holders, 1) > 0)
        return;
    if (set->memo)
        pthread_mutex_destroy(&set->memo->lock);
    free(set->memo);
    sumi_data_clear(set);
    free(set);
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
    char folder[4096], looked[4096];
    all[0].available =
        sumi_find_fashion(SUMI_SPLIT_TRAIN, SUMI_SYSTEM_FASHION, folder, looked, sizeof folder);
    snprintf(all[0].where, sizeof all[0].where, "%s",
             all[0].available ? folder : "apt install dataset-fashion-mnist");
    for (int i = 0; i < count && i < capacity; i++)
        entries[i] = all[i];
    return count;
}
