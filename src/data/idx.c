/*
 * IDX files, the format of MNIST and its relatives, plain or in gzip.
 *
 * Format (http://yann.lecun.com/exdb/mnist): a big-endian magic number, whose third byte is the
 * type (8: unsigned byte) and whose fourth is the number of dimensions, then one big-endian 32-bit
 * size for each, then the bytes. Nothing is allocated before the header's numbers have been held
 * against the file's size; for gzip, against the most that so many bytes can unpack to.
 */
#include "data/data.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

enum {
    MAGIC_IMAGES = 0x00000803,
    MAGIC_LABELS = 0x00000801,
    /* Deflate codes at best 258 bytes in two bits (zlib's technical notes: 1032 to 1). */
    DEFLATE_RATIO_MAX = 1032,
    FEED_MAX = 1 << 30, /* zlib counts in unsigned int */
    PREFIX_MAX = 128,   /* of file names, and sets in one folder */
    SETS_MAX = 32,
};

/* ---- Reading bytes in order, unpacked where they are gzip -------------------------------------
 */

typedef struct {
    const char *path;
    const uint8_t *data;
    size_t size, used;
    bool gzip, ended;
    z_stream z;
} reader;

static sumi_status reader_open(reader *r, const char *path, const uint8_t *data, size_t size,
                               sumi_error *err)
{
    *r = (reader){.path = path, .data = data, .size = size};
    if (size == 0)
        return sumi_fail(err, SUMI_EFORMAT, "%s: is an empty file, expected IDX data", path);
    r->gzip = size >= 2 && data[0] == 0x1f && data[1] == 0x8b;
    if (r->gzip && inflateInit2(&r->z, 16 + MAX_WBITS) != Z_OK) {
        r->gzip = false;
        return sumi_fail_memory(err, "unpacking gzip", sizeof r->z);
    }
    return SUMI_OK;
}

static void reader_close(reader *r)
{
    if (r->gzip)
        inflateEnd(&r->z);
}

/* A gzip file may have several members one after another; anything else at the end is an error. */
static sumi_status next_member(reader *r, sumi_error *err)
{
    size_t rest = r->z.avail_in + (r->size - r->used);
    if (rest == 0) {
        r->ended = true;
        return SUMI_OK;
    }
    const uint8_t *next = r->data + (r->size - rest);
    if (rest < 2 || next[0] != 0x1f || next[1] != 0x8b)
        return sumi_fail(err, SUMI_EFORMAT, "%s: %zu bytes follow the end of the gzip data",
                         r->path, rest);
    (void)inflateReset(&r->z); /* of a stream that was begun it cannot fail */
    return SUMI_OK;
}

static sumi_status inflate_some(reader *r, uint8_t *out, size_t want, size_t *got, sumi_error *err)
{
    size_t before = want - *got > FEED_MAX ? FEED_MAX : want - *got;
    if (r->z.avail_in == 0) {
        size_t feed = r->size - r->used > FEED_MAX ? FEED_MAX : r->size - r->used;
        /* zlib promises not to write to next_in; its type has no const by default. */
        r->z.next_in = (z_const Bytef *)(uintptr_t)(r->data + r->used);
        r->z.avail_in = (uInt)feed;
        r->used += feed;
    }
    r->z.next_out = out + *got;
    r->z.avail_out = (uInt)before;
    int code = inflate(&r->z, Z_NO_FLUSH);
    *got += before - r->z.avail_out;
    switch (code) {
    case Z_OK:
        return SUMI_OK;
    case Z_STREAM_END:
        return next_member(r, err);
    case Z_BUF_ERROR:
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: the gzip data is cut off: the file ends after %zu bytes, in the "
                         "middle of the data",
                         r->path, r->size);
    case Z_MEM_ERROR:
        return sumi_fail_memory(err, "unpacking gzip", 0);
    default:
        /* Z_DATA_ERROR, which has a message: gzip knows no dictionaries. */
        return sumi_fail(err, SUMI_EFORMAT, "%s: broken gzip data: %s", r->path, r->z.msg);
    }
}

/* Reads `want` bytes; *got is fewer where the data ends. */
static sumi_status reader_read(reader *r, uint8_t *out, size_t want, size_t *got, sumi_error *err)
{
    *got = 0;
    if (!r->gzip) {
        *got = want < r->size - r->used ? want : r->size - r->used;
        memcpy(out, r->data + r->used, *got);
        r->used += *got;
        return SUMI_OK;
    }
    while (*got < want && !r->ended) {
        sumi_status status = inflate_some(r, out, want, got, err);
        if (status != SUMI_OK)
            return status;
    }
    return SUMI_OK;
}

/* The most bytes that can come out of the reader in all. */
static size_t reader_limit(const reader *r)
{
    /* No address space has bytes enough for this to overflow. */
    return r->gzip ? r->size * DEFLATE_RATIO_MAX : r->size;
}

/* ---- Header and body --------------------------------------------------------------------------
 */

static uint32_t big_endian(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* Says what the file is instead of IDX. */
static sumi_status wrong_magic(const reader *r, uint32_t found, uint32_t expected, sumi_error *err)
{
    const char *wanted = expected == MAGIC_IMAGES ? "images" : "labels";
    if (found == MAGIC_IMAGES || found == MAGIC_LABELS)
        return sumi_fail(
            err, SUMI_EFORMAT,
            "%s: expected IDX %s (magic 0x%08" PRIx32 "), found IDX %s (0x%08" PRIx32 ")", r->path,
            wanted, expected, found == MAGIC_IMAGES ? "images" : "labels", found);
    if (found >> 16 == 0 && (found & 0xff) != 0 && (found & 0xff) <= 4)
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: expected IDX %s (magic 0x%08" PRIx32 "), found IDX data of type "
                         "0x%02" PRIx32 " with %" PRIu32 " dimensions (0x%08" PRIx32 ")",
                         r->path, wanted, expected, found >> 8, found & 0xff, found);
    const char *kind = r->gzip ? "other data inside gzip" : sumi_sniff(r->data, r->size);
    if (strcmp(kind, "unknown") == 0)
        kind = "other data";
    return sumi_fail(err, SUMI_EFORMAT,
                     "%s: expected IDX %s (magic 0x%08" PRIx32 "), found %s (0x%08" PRIx32 ")",
                     r->path, wanted, expected, kind, found);
}

/* Reads magic and sizes: 1 + dims big-endian numbers. */
static sumi_status read_header(reader *r, uint32_t magic, uint32_t *sizes, int dims,
                               sumi_error *err)
{
    uint8_t bytes[16];
    size_t want = 4 * (size_t)(1 + dims), got = 0;
    sumi_status status = reader_read(r, bytes, want, &got, err);
    if (status != SUMI_OK)
        return status;
    if (got >= 4 && big_endian(bytes) != magic)
        return wrong_magic(r, big_endian(bytes), magic, err);
    if (got < want)
        return sumi_fail(err, SUMI_EFORMAT, "%s: expected an IDX header of %zu bytes, found %zu",
                         r->path, want, got);
    for (int i = 0; i < dims; i++)
        sizes[i] = big_endian(bytes + 4 + 4 * i);
    return SUMI_OK;
}

/* Reads exactly `want` bytes that end the data. what describes them: "3 images of 2x2". */
static sumi_status read_body(reader *r, uint8_t *out, size_t want, const char *what,
                             sumi_error *err)
{
    size_t got = 0, more = 0;
    uint8_t extra;
    sumi_status status = reader_read(r, out, want, &got, err);
    if (status == SUMI_OK && got < want)
        return sumi_fail(err, SUMI_EFORMAT, "%s: truncated: %s take %zu bytes, found %zu", r->path,
                         what, want, got);
    if (status == SUMI_OK)
        status = reader_read(r, &extra, 1, &more, err);
    if (status != SUMI_OK)
        return status;
    if (more == 0)
        return SUMI_OK;
    if (r->gzip)
        return sumi_fail(err, SUMI_EFORMAT, "%s: oversized: %s take %zu bytes, found more", r->path,
                         what, want);
    return sumi_fail(err, SUMI_EFORMAT, "%s: oversized: %s take %zu bytes, found %zu", r->path,
                     what, want, want + 1 + (r->size - r->used));
}

/* Refuses what cannot be true before memory is taken for it. */
static sumi_status check_limit(const reader *r, size_t want, const char *what, sumi_error *err)
{
    if (want <= reader_limit(r))
        return SUMI_OK;
    if (r->gzip)
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: truncated: %s take %zu bytes, which a gzip file of %zu bytes cannot "
                         "hold",
                         r->path, what, want, r->size);
    return sumi_fail(err, SUMI_EFORMAT, "%s: truncated: %s take %zu bytes, found %zu", r->path,
                     what, want, r->size - r->used);
}

/* ---- Images and labels ------------------------------------------------------------------------
 */

static sumi_status parse_images(reader *r, sumi_dataset *out, sumi_error *err)
{
    uint32_t n[3];
    sumi_status status = read_header(r, MAGIC_IMAGES, n, 3, err);
    if (status != SUMI_OK)
        return status;
    char what[96];
    snprintf(what, sizeof what, "%" PRIu32 " images of %" PRIu32 "x%" PRIu32, n[0], n[1], n[2]);
    if (n[0] == 0 || n[1] == 0 || n[2] == 0)
        return sumi_fail(err, SUMI_EFORMAT, "%s: holds no images (the header says %s)", r->path,
                         what);
    /* The header before what follows it: whether that is whole is known at once of plain bytes, of
     * gzip only after memory was taken for it, and both must be told the same. */
    const int64_t shape[] = {n[0], n[1], n[2], 1};
    size_t bytes = 0;
    status = sumi_data_check_sizes(r->path, shape, &bytes, err);
    if (status == SUMI_OK)
        status = check_limit(r, bytes, what, err);
    if (status == SUMI_OK)
        status = sumi_data_alloc(out, r->path, n[0], (int)n[1], (int)n[2], 1, err);
    if (status == SUMI_OK)
        status = read_body(r, out->pixels, bytes, what, err);
    return status;
}

sumi_status sumi_idx_images_parse(const char *path, const uint8_t *data, size_t size,
                                  sumi_dataset *out, sumi_error *err)
{
    reader r;
    sumi_status status = reader_open(&r, path, data, size, err);
    if (status == SUMI_OK)
        status = parse_images(&r, out, err);
    reader_close(&r);
    if (status != SUMI_OK)
        sumi_data_clear(out);
    return status;
}

static sumi_status parse_labels(reader *r, sumi_dataset *set, sumi_error *err)
{
    uint32_t count;
    uint8_t *bytes = NULL;
    int32_t *labels = NULL;
    sumi_status status = read_header(r, MAGIC_LABELS, &count, 1, err);
    if (status != SUMI_OK)
        return status;
    char what[48];
    snprintf(what, sizeof what, "%" PRIu32 " labels", count);
    if (count != set->count)
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: expected one label for each of the %" PRId64 " images, found %s",
                         r->path, set->count, what);
    status = check_limit(r, count, what, err);
    if (status != SUMI_OK)
        return status;
    bytes = malloc(count);
    labels = sumi_calloc(count, sizeof *labels);
    if (!bytes || !labels) {
        status = sumi_fail_memory(err, what, (size_t)count * (1 + sizeof *labels));
        goto done;
    }
    status = read_body(r, bytes, count, what, err);
    if (status != SUMI_OK)
        goto done;
    int highest = 0;
    for (uint32_t i = 0; i < count; i++) {
        labels[i] = bytes[i];
        highest = bytes[i] > highest ? bytes[i] : highest;
    }
    free(set->labels);
    set->labels = labels;
    set->classes = highest + 1;
    labels = NULL;
done:
    free(bytes);
    free(labels);
    return status;
}

sumi_status sumi_idx_labels_parse(const char *path, const uint8_t *data, size_t size,
                                  sumi_dataset *set, sumi_error *err)
{
    reader r;
    sumi_status status = reader_open(&r, path, data, size, err);
    if (status == SUMI_OK)
        status = parse_labels(&r, set, err);
    reader_close(&r);
    return status;
}

/* ---- Files ------------------------------------------------------------------------------------
 */

/* Whether name is that of an images file of a set; *prefix receives how much of it stands before
 * the name of the split. */
static bool is_images_name(const char *name, size_t *prefix)
{
    static const char *const splits[] = {"train-images", "t10k-images", "test-images"};
    static const char *const endings[] = {"-idx3-ubyte", ".idx3-ubyte", "-idx3-ubyte.gz",
                                          ".idx3-ubyte.gz"};
    for (size_t s = 0; s < sizeof splits / sizeof *splits; s++) {
        const char *at = strstr(name, splits[s]);
        for (size_t e = 0; at && e < sizeof endings / sizeof *endings; e++) {
            *prefix = (size_t)(at - name);
            if (strcmp(at + strlen(splits[s]), endings[e]) == 0 && *prefix < PREFIX_MAX)
                return true;
        }
    }
    return false;
}

/* The sets of a folder, in order of their prefixes; *plain: one of them has none. */
typedef struct {
    char prefixes[SETS_MAX][PREFIX_MAX];
    int count;
    bool plain;
} idx_sets;

static void add_set(idx_sets *sets, const char *name, size_t length)
{
    int at = 0;
    char prefix[PREFIX_MAX];
    snprintf(prefix, sizeof prefix, "%.*s", (int)length, name);
    while (at < sets->count && strcmp(sets->prefixes[at], prefix) < 0)
        at++;
    if ((at < sets->count && strcmp(sets->prefixes[at], prefix) == 0) || sets->count == SETS_MAX)
        return;
    memmove(sets->prefixes[at + 1], sets->prefixes[at],
            (size_t)(sets->count - at) * sizeof *sets->prefixes);
    memcpy(sets->prefixes[at], prefix, sizeof prefix);
    sets->count++;
    sets->plain |= length == 0;
}

static void find_sets(const char *folder, idx_sets *sets)
{
    DIR *dir = opendir(folder);
    *sets = (idx_sets){.count = 0};
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[4096];
        size_t prefix;
        if (entry->d_name[0] != '.' && is_images_name(entry->d_name, &prefix) &&
            sumi_path_join(path, sizeof path, folder, entry->d_name, NULL) == SUMI_OK &&
            sumi_is_file(path))
            add_set(sets, entry->d_name, prefix);
    }
    if (dir)
        closedir(dir);
}

int sumi_idx_count(const char *folder)
{
    idx_sets sets;
    find_sets(folder, &sets);
    return sets.count;
}

/* The images file of a split of the set that has this prefix. */
static bool find_images(const char *folder, const char *prefix, int split, char *found, size_t size)
{
    static const char *const names[2][2] = {{"train", NULL}, {"t10k", "test"}};
    static const char *const endings[] = {"-images-idx3-ubyte.gz", "-images-idx3-ubyte",
                                          "-images.idx3-ubyte.gz", "-images.idx3-ubyte"};
    for (size_t p = 0; p < 2 && names[split][p]; p++) {
        for (size_t e = 0; e < sizeof endings / sizeof *endings; e++) {
            char name[PREFIX_MAX + 64];
            snprintf(name, sizeof name, "%s%s%s", prefix, names[split][p], endings[e]);
            (void)sumi_path_join(found, size, folder, name, NULL); /* "" where it is too long */
            if (sumi_is_file(found))
                return true;
        }
    }
    return false;
}

bool sumi_idx_find(const char *folder, int split, char *found, size_t size)
{
    idx_sets sets;
    find_sets(folder, &sets);
    return (sets.count == 1 || sets.plain) &&
           find_images(folder, sets.prefixes[0], split, found, size);
}

/* Several sets, of which one must be named. */
static sumi_status fail_several(const char *folder, const idx_sets *sets, int split,
                                sumi_error *err)
{
    char names[SETS_MAX * PREFIX_MAX] = "", file[4096];
    size_t used = 0;
    for (int i = 0; i < sets->count; i++) {
        /* Without the dash between the set's name and the split's. */
        int length = (int)strlen(sets->prefixes[i]) - 1;
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%.*s", i > 0 ? ", " : "",
                                 length, sets->prefixes[i]);
    }
    if (!find_images(folder, sets->prefixes[0], split, file, sizeof file))
        snprintf(file, sizeof file, "%s...-images-idx3-ubyte", sets->prefixes[0]);
    return sumi_fail(err, SUMI_EINVAL,
                     "%s: the IDX files of %d sets are in this folder (%s): name the images file "
                     "of one, such as %s",
                     folder, sets->count, names, file);
}

/* The folder has no images of the split, or those of several sets. */
static sumi_status fail_not_here(const char *folder, int split, sumi_error *err)
{
    idx_sets sets;
    find_sets(folder, &sets);
    if (sets.count > 1 && !sets.plain)
        return fail_several(folder, &sets, split, err);
    return sumi_fail(err, SUMI_EIO,
                     "%s: no %s%s-images-idx3-ubyte[.gz] (the %s split) is in this folder", folder,
                     sets.prefixes[0], split == SUMI_SPLIT_TEST ? "t10k" : "train",
                     sumi_split_name(split));
}

/* The labels file that belongs to an images file, packed in the same way or the other. */
static bool find_labels(const char *images, char *found, size_t size)
{
    const char *slash = strrchr(images, '/');
    const char *base = slash ? slash + 1 : images;
    const char *word = strstr(base, "images");
    const char *idx3 = word ? strstr(word, "idx3") : NULL;
    if (!idx3)
        return false;
    const char *middle = word + strlen("images"), *tail = idx3 + strlen("idx3");
    size_t tail_length = strlen(tail);
    bool gz = tail_length >= 3 && strcmp(tail + tail_length - 3, ".gz") == 0;
    int bare = (int)(gz ? tail_length - 3 : tail_length);
    for (int other = 0; other < 2; other++) {
        const char *ending = gz == (other == 0) ? ".gz" : "";
        int length = snprintf(found, size, "%.*slabels%.*sidx1%.*s%s", (int)(word - images), images,
                              (int)(idx3 - middle), middle, bare, tail, ending);
        if (length > 0 && (size_t)length < size && sumi_is_file(found))
            return true;
    }
    return false;
}

static sumi_status read_labels(const char *images, sumi_dataset *out, sumi_error *err)
{
    char path[4096];
    if (!find_labels(images, path, sizeof path))
        return SUMI_OK;
    uint8_t *data = NULL;
    size_t size = 0;
    sumi_status status = sumi_file_read(path, SUMI_PIXELS_MAX, &data, &size, err);
    if (status == SUMI_OK)
        status = sumi_idx_labels_parse(path, data, size, out, err);
    free(data);
    return status;
}

static sumi_status read_images(const char *path, sumi_dataset *out, sumi_error *err)
{
    uint8_t *held = NULL;
    const uint8_t *mapped = NULL;
    size_t size = 0;
    bool large = sumi_data_is_large(path);
    sumi_status status = large ? sumi_file_map(path, &mapped, &size, err)
                               : sumi_file_read(path, SUMI_PIXELS_MAX, &held, &size, err);
    if (status == SUMI_OK)
        status = sumi_idx_images_parse(path, large ? mapped : held, size, out, err);
    sumi_unmap(mapped, size);
    free(held);
    return status;
}

sumi_status sumi_idx_open(const char *path, const sumi_dataset_config *config, sumi_dataset *out,
                          sumi_error *err)
{
    char found[4096];
    if (sumi_is_dir(path)) {
        if (!sumi_idx_find(path, out->split, found, sizeof found))
            return fail_not_here(path, out->split, err);
        path = found;
    }
    sumi_status status = read_images(path, out, err);
    if (status == SUMI_OK)
        status = read_labels(path, out, err);
    if (status == SUMI_OK)
        status = sumi_data_fit(out, path, config, err);
    const char *slash = strrchr(path, '/');
    if (status == SUMI_OK && strncmp(slash ? slash + 1 : path, "emnist-", 7) == 0)
        status = sumi_data_note(out, false, err,
                                "EMNIST's files hold each picture with rows and columns exchanged; "
                                "they are read as they are");
    if (status != SUMI_OK)
        sumi_data_clear(out);
    return status;
}
