/*
 * Reads and writes ZIP archives whose entries are stored, never compressed.
 *
 * PKWARE's APPNOTE 6.3.9, sections 4.3 (records) and 4.5.3 (ZIP64). An archive says everything
 * twice, in front of each entry and in the directory at the end; programs that trust different
 * copies can be shown different files, so here both must agree.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <zlib.h>

#include "io/internal.h"
#include "io/zip.h"

enum {
    LOCAL_SIZE = 30,
    DIRECTORY_SIZE = 46,
    END_SIZE = 22,
    LOCATOR_SIZE = 20,
    END64_SIZE = 56,
    ENTRIES_MAX = 1000000,
    NAME_MAX_BYTES = 1024,
    ZIP64_TAG = 1,
    VERSION_ZIP64 = 45,
    PADDING_TAG = 0x4246, /* "FB", which PyTorch pads with, too */
    FLAG_ENCRYPTED = 1,
    FLAG_DESCRIPTOR = 8, /* CRC and sizes follow the data */
    FLAG_UTF8 = 0x800,
    FLAGS_KNOWN = FLAG_DESCRIPTOR | FLAG_UTF8 | 6 /* 6: compression level, no meaning here */
};

static const uint8_t local_mark[4] = "PK\3\4", directory_mark[4] = "PK\1\2", end_mark[4] = "PK\5\6",
                     end64_mark[4] = "PK\6\6", locator_mark[4] = "PK\6\7",
                     descriptor_mark[4] = "PK\7\10";

typedef struct {
    const char *path;
    const uint8_t *data;
    size_t size;
    sumi_error *err;
} archive;

/* What the end of an archive says about its directory. */
typedef struct {
    uint64_t count, size, offset;
} directory;

/* One entry as its directory record tells it. */
typedef struct {
    const uint8_t *name;
    size_t name_size;
    uint16_t flags, method;
    uint32_t crc;
    uint64_t packed, size, offset;
    size_t begin, end; /* where its bytes lie, headers included; filled by check_local */
} record;

static bool has_mark(const uint8_t *at, const uint8_t mark[4])
{
    return memcmp(at, mark, 4) == 0;
}

/* The classic field counts unless it is saturated. */
static uint64_t widen(uint64_t classic, uint64_t limit, uint64_t wide)
{
    return classic == limit ? wide : classic;
}

static sumi_status bad_end(const archive *a, const char *what)
{
    return sumi_fail(a->err, SUMI_EFORMAT, "%s: not a whole ZIP archive: %s", a->path, what);
}

/* Reads the end record, and the ZIP64 one where there is one. */
static sumi_status read_end(const archive *a, directory *out)
{
    if (a->size < END_SIZE || !has_mark(a->data + a->size - END_SIZE, end_mark))
        return bad_end(a, "its last 22 bytes are no end record (is it cut off?)");
    size_t end_at = a->size - END_SIZE;
    const uint8_t *end = a->data + end_at;
    if (sumi_get16(end + 20) != 0)
        return bad_end(a, "a comment of a wrong length");
    if (sumi_get16(end + 4) != 0 || sumi_get16(end + 6) != 0 ||
        sumi_get16(end + 8) != sumi_get16(end + 10))
        return bad_end(a, "it is a part of several");
    out->count = sumi_get16(end + 10);
    out->size = sumi_get32(end + 12);
    out->offset = sumi_get32(end + 16);
    bool wide = out->count == 0xFFFF || out->size == 0xFFFFFFFF || out->offset == 0xFFFFFFFF;
    if (end_at >= LOCATOR_SIZE && has_mark(end - LOCATOR_SIZE, locator_mark)) {
        const uint8_t *locator = end - LOCATOR_SIZE;
        end_at -= LOCATOR_SIZE;
        if (end_at < END64_SIZE || sumi_get64(locator + 8) != end_at - END64_SIZE ||
            sumi_get32(locator + 4) != 0 || sumi_get32(locator + 16) > 1)
            return bad_end(a, "its ZIP64 locator points elsewhere");
        end_at -= END64_SIZE;
        const uint8_t *end64 = a->data + end_at;
        directory big = {sumi_get64(end64 + 32), sumi_get64(end64 + 40), sumi_get64(end64 + 48)};
        if (!has_mark(end64, end64_mark) || sumi_get64(end64 + 4) != END64_SIZE - 12 ||
            sumi_get32(end64 + 16) != 0 || sumi_get32(end64 + 20) != 0 ||
            sumi_get64(end64 + 24) != big.count)
            return bad_end(a, "a wrong ZIP64 end record");
        if (widen(out->count, 0xFFFF, big.count) != big.count ||
            widen(out->size, 0xFFFFFFFF, big.size) != big.size ||
            widen(out->offset, 0xFFFFFFFF, big.offset) != big.offset)
            return bad_end(a, "its two end records disagree");
        *out = big;
    } else if (wide) {
        return bad_end(a, "its ZIP64 end record is missing");
    }
    if (out->offset > end_at || out->size != end_at - out->offset)
        return bad_end(a, "its directory does not end where the end record begins");
    bool holds = out->count <= out->size / DIRECTORY_SIZE;
    if (!holds || out->count > ENTRIES_MAX)
        return sumi_fail(a->err, holds ? SUMI_EUNSUPPORTED : SUMI_EFORMAT,
                         "%s: %" PRIu64 " entries in a directory of %" PRIu64 " bytes", a->path,
                         out->count, out->size);
    return SUMI_OK;
}

/* Fills those of values whose classic field is saturated from the ZIP64 extra field, in order.
 * False where the extra fields are malformed, or the numbers are missing. */
static bool read_zip64(const uint8_t *extra, size_t size, uint64_t *const values[3],
                       const bool wanted[3])
{
    bool missing = wanted[0] || wanted[1] || wanted[2];
    while (size >= 4) {
        size_t length = sumi_get16(extra + 2);
        if (length > size - 4)
            return false;
        if (sumi_get16(extra) == ZIP64_TAG && missing) {
            const uint8_t *at = extra + 4;
            size_t left = length;
            for (int i = 0; i < 3; i++) {
                if (!wanted[i])
                    continue;
                if (left < 8)
                    return false;
                *values[i] = sumi_get64(at);
                at += 8;
                left -= 8;
            }
            missing = false;
        }
        extra += 4 + length;
        size -= 4 + length;
    }
    return size == 0 && !missing;
}

static sumi_status bad_entry(const archive *a, const record *r, sumi_status status,
                             const char *what)
{
    return sumi_fail(a->err, status, "%s: entry \"%.*s\": %s", a->path, (int)r->name_size,
                     (const char *)r->name, what);
}

/* Without control characters: compared as a C string. Its bytes are as its maker's file system had
 * them. */
static bool is_plain_name(const uint8_t *name, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (name[i] < 0x20 || name[i] == 0x7F)
            return false;
    return true;
}

/* Reads one directory record at *at and moves *at past it. */
static sumi_status read_record(const archive *a, const uint8_t **at, const uint8_t *end,
                               record *out)
{
    const uint8_t *p = *at;
    if ((size_t)(end - p) < DIRECTORY_SIZE || !has_mark(p, directory_mark))
        return bad_end(a, "its directory has fewer entries than it says");
    size_t name_size = sumi_get16(p + 28), extra_size = sumi_get16(p + 30);
    size_t total = DIRECTORY_SIZE + name_size + extra_size + sumi_get16(p + 32);
    if ((size_t)(end - p) < total)
        return bad_end(a, "its directory has fewer entries than it says");
    *out = (record){.name = p + DIRECTORY_SIZE,
                    .name_size = name_size,
                    .flags = sumi_get16(p + 8),
                    .method = sumi_get16(p + 10),
                    .crc = sumi_get32(p + 16),
                    .packed = sumi_get32(p + 20),
                    .size = sumi_get32(p + 24),
                    .offset = sumi_get32(p + 42)};
    if (name_size == 0)
        return bad_end(a, "an entry has no name");
    if (name_size > NAME_MAX_BYTES)
        return sumi_fail(a->err, SUMI_EUNSUPPORTED, "%s: an entry's name of %zu bytes", a->path,
                         name_size);
    if (!is_plain_name(out->name, name_size))
        return bad_end(a, "an entry's name has control characters");
    const bool wanted[3] = {out->size == 0xFFFFFFFF, out->packed == 0xFFFFFFFF,
                            out->offset == 0xFFFFFFFF};
    uint64_t *const values[3] = {&out->size, &out->packed, &out->offset};
    if (!read_zip64(out->name + name_size, extra_size, values, wanted))
        return bad_entry(a, out, SUMI_EFORMAT, "malformed extra fields");
    if (out->flags & FLAG_ENCRYPTED)
        return bad_entry(a, out, SUMI_EUNSUPPORTED, "it is encrypted");
    if (out->method != 0)
        return bad_entry(
            a, out, SUMI_EUNSUPPORTED,
            "it is compressed; only stored entries, as torch.save writes them, are read");
    if (out->flags & ~FLAGS_KNOWN)
        return bad_entry(a, out, SUMI_EUNSUPPORTED, "unknown flags");
    if (out->packed != out->size)
        return bad_entry(a, out, SUMI_EFORMAT, "it is stored, but its two sizes differ");
    *at = p + total;
    return SUMI_OK;
}

/* The length of the descriptor behind the data, or 0 where none there fits the record. */
static size_t descriptor_size(const archive *a, const record *r, size_t at, size_t limit)
{
    const uint8_t *p = a->data + at;
    size_t left = limit - at;
    if (left < 16 || !has_mark(p, descriptor_mark) || sumi_get32(p + 4) != r->crc)
        return 0;
    if (sumi_get32(p + 8) == r->size && sumi_get32(p + 12) == r->size)
        return 16;
    if (left >= 24 && sumi_get64(p + 8) == r->size && sumi_get64(p + 16) == r->size)
        return 24;
    return 0;
}

/* Compares the header in front of the entry with the directory, and the data with its CRC. limit is
 * where the directory begins. */
static sumi_status check_local(const archive *a, record *r, size_t limit, sumi_zip_entry *out)
{
    if (r->offset > limit || limit - r->offset < LOCAL_SIZE ||
        !has_mark(a->data + r->offset, local_mark))
        return bad_entry(a, r, SUMI_EFORMAT, "there is no header where the directory says");
    const uint8_t *p = a->data + r->offset;
    size_t room = limit - (size_t)r->offset - LOCAL_SIZE;
    size_t name_size = sumi_get16(p + 26), extra_size = sumi_get16(p + 28);
    if (name_size + extra_size > room)
        return bad_entry(a, r, SUMI_EFORMAT, "its header does not fit the file");
    room -= name_size + extra_size;
    if (r->size > room)
        return bad_entry(a, r, SUMI_EFORMAT, "its data does not fit the file");
    uint64_t packed = sumi_get32(p + 18), size = sumi_get32(p + 22), none = 0;
    bool late = r->flags & FLAG_DESCRIPTOR;
    const bool wanted[3] = {size == 0xFFFFFFFF && !late, packed == 0xFFFFFFFF && !late, false};
    uint64_t *const values[3] = {&size, &packed, &none};
    if (!read_zip64(p + LOCAL_SIZE + name_size, extra_size, values, wanted))
        return bad_entry(a, r, SUMI_EFORMAT, "malformed extra fields");
    /* With a descriptor, header fields may be left at zero or at ZIP64's mark. */
    bool sizes_left = late && (size == 0 || size == 0xFFFFFFFF) && size == packed;
    bool crc_left = late && sumi_get32(p + 14) == 0;
    if (name_size != r->name_size || memcmp(p + LOCAL_SIZE, r->name, name_size) != 0 ||
        sumi_get16(p + 6) != r->flags || sumi_get16(p + 8) != r->method ||
        (!sizes_left && (size != r->size || packed != r->packed)) ||
        (!crc_left && sumi_get32(p + 14) != r->crc))
        return bad_entry(a, r, SUMI_EFORMAT, "its header and the directory disagree");
    size_t data_at = (size_t)r->offset + LOCAL_SIZE + name_size + extra_size;
    r->begin = (size_t)r->offset;
    r->end = data_at + (size_t)r->size;
    if (late) {
        size_t length = descriptor_size(a, r, r->end, limit);
        if (length == 0)
            return bad_entry(a, r, SUMI_EFORMAT, "its descriptor and the directory disagree");
        r->end += length;
    }
    if (crc32_z(0, a->data + data_at, (size_t)r->size) != r->crc)
        return bad_entry(a, r, SUMI_EFORMAT, "its data is damaged (CRC-32 differs)");
    out->data = a->data + data_at;
    out->size = (size_t)r->size;
    return SUMI_OK;
}

static int compare_begins(const void *a, const void *b)
{
    const record *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const sumi_zip_entry *)a)->name, ((const sumi_zip_entry *)b)->name);
}

/* records and out->entries have room for the directory's count. */
static sumi_status read_records(const archive *a, const directory *dir, record *records,
                                sumi_zip *out)
{
    const uint8_t *at = a->data + dir->offset, *end = at + dir->size;
    char *name = out->names;
    for (size_t i = 0; i < dir->count; i++) {
        record *r = &records[i];
        sumi_status status = read_record(a, &at, end, r);
        if (status == SUMI_OK)
            status = check_local(a, r, (size_t)dir->offset, &out->entries[i]);
        if (status != SUMI_OK)
            return status;
        memcpy(name, r->name, r->name_size);
        out->entries[i].name = name;
        name += r->name_size + 1;
        out->count++;
    }
    if (at != end)
        return bad_end(a, "its directory has more entries than it says");
    qsort(records, out->count, sizeof *records, compare_begins);
    for (size_t i = 1; i < out->count; i++)
        if (records[i].begin < records[i - 1].end)
            return bad_entry(a, &records[i], SUMI_EFORMAT, "it overlaps another entry");
    qsort(out->entries, out->count, sizeof *out->entries, compare_entries);
    for (size_t i = 1; i < out->count; i++)
        if (strcmp(out->entries[i - 1].name, out->entries[i].name) == 0)
            return sumi_fail(a->err, SUMI_EFORMAT, "%s: two entries have the name \"%s\"", a->path,
                             out->entries[i].name);
    return SUMI_OK;
}

sumi_status sumi_zip_parse(const char *path, const uint8_t *data, size_t size, sumi_zip *out,
                           sumi_error *err)
{
    archive a = {path, data, size, err};
    directory dir = {0};
    sumi_zip zip = {0};
    sumi_status status = read_end(&a, &dir);
    if (status != SUMI_OK)
        return status;
    /* A record of 46 + n bytes gives n + 1 bytes of name memory, so dir.size is enough. */
    record *records = sumi_calloc(dir.count + 1, sizeof *records);
    zip.entries = sumi_calloc(dir.count + 1, sizeof *zip.entries);
    zip.names = sumi_calloc(dir.size + 1, 1);
    if (records && zip.entries && zip.names)
        status = read_records(&a, &dir, records, &zip);
    else
        status = sumi_fail_memory(err, "a ZIP directory", (dir.count + 1) * sizeof *records);
    free(records);
    if (status != SUMI_OK) {
        sumi_zip_free(&zip);
        return status;
    }
    *out = zip;
    return SUMI_OK;
}

const sumi_zip_entry *sumi_zip_find(const sumi_zip *zip, const char *name)
{
    sumi_zip_entry key = {.name = name};
    if (zip->count == 0)
        return NULL;
    return bsearch(&key, zip->entries, zip->count, sizeof key, compare_entries);
}

void sumi_zip_free(sumi_zip *zip)
{
    free(zip->entries);
    free(zip->names);
    *zip = (sumi_zip){0};
}

/* ---- Writing --------------------------------------------------------------------------------- */

typedef struct {
    sumi_file *file;
    uint64_t offset, classic_max;
    sumi_error *err;
} writer;

/* What the directory needs to know of an entry that was written. */
typedef struct {
    uint64_t offset;
    uint32_t crc;
} written;

static sumi_status put_bytes(writer *w, const void *data, size_t size)
{
    w->offset += size;
    return sumi_file_write(w->file, data, size, w->err);
}

/* Fields that local and directory records have in common, from `version needed` to the CRC's end,
 * and the sizes: 26 bytes at p. */
static void put_common(uint8_t *p, const sumi_zip_entry *entry, uint32_t crc, bool wide)
{
    enum { JANUARY_1_1980 = 1 << 5 | 1 };
    sumi_put(p, VERSION_ZIP64, 2);
    sumi_put(p + 2, FLAG_UTF8, 2);
    sumi_put(p + 8, JANUARY_1_1980, 2);
    sumi_put(p + 10, crc, 4);
    sumi_put(p + 14, wide ? 0xFFFFFFFF : entry->size, 4);
    sumi_put(p + 18, wide ? 0xFFFFFFFF : entry->size, 4);
    sumi_put(p + 22, strlen(entry->name), 2);
}

static sumi_status write_entry(writer *w, const sumi_zip_entry *entry, written *out)
{
    /* Header, a name, 20 bytes of ZIP64 sizes, and 4 to 67 bytes of padding. */
    uint8_t head[LOCAL_SIZE + NAME_MAX_BYTES + 20 + 4 + 64] = {0};
    bool wide = entry->size >= w->classic_max;
    size_t name_size = strlen(entry->name), at = LOCAL_SIZE + name_size;
    out->offset = w->offset;
    out->crc = (uint32_t)crc32_z(0, entry->data, entry->size);
    memcpy(head, local_mark, 4);
    put_common(head + 4, entry, out->crc, wide);
    memcpy(head + LOCAL_SIZE, entry->name, name_size);
    if (wide) {
        sumi_put(head + at, ZIP64_TAG, 2);
        sumi_put(head + at + 2, 16, 2);
        sumi_put(head + at + 4, entry->size, 8);
        sumi_put(head + at + 12, entry->size, 8);
        at += 20;
    }
    size_t padding = (size_t)(-(w->offset + at + 4) & 63);
    sumi_put(head + at, PADDING_TAG, 2);
    sumi_put(head + at + 2, padding, 2);
    memset(head + at + 4, 'Z', padding);
    at += 4 + padding;
    sumi_put(head + 28, at - LOCAL_SIZE - name_size, 2);
    sumi_status status = put_bytes(w, head, at);
    return status == SUMI_OK ? put_bytes(w, entry->data, entry->size) : status;
}

static sumi_status write_record(writer *w, const sumi_zip_entry *entry, const written *at)
{
    uint8_t head[DIRECTORY_SIZE + NAME_MAX_BYTES + 4 + 24] = {0};
    bool wide_size = entry->size >= w->classic_max, wide_offset = at->offset >= w->classic_max;
    size_t name_size = strlen(entry->name), end = DIRECTORY_SIZE + name_size;
    memcpy(head, directory_mark, 4);
    sumi_put(head + 4, VERSION_ZIP64, 2);
    put_common(head + 6, entry, at->crc, wide_size);
    sumi_put(head + 42, wide_offset ? 0xFFFFFFFF : at->offset, 4);
    memcpy(head + DIRECTORY_SIZE, entry->name, name_size);
    if (wide_size || wide_offset) {
        size_t length = (wide_size ? 16 : 0) + (wide_offset ? 8 : 0);
        sumi_put(head + end, ZIP64_TAG, 2);
        sumi_put(head + end + 2, length, 2);
        sumi_put(head + 30, length + 4, 2);
        end += 4;
        if (wide_size) {
            sumi_put(head + end, entry->size, 8);
            sumi_put(head + end + 8, entry->size, 8);
            end += 16;
        }
        if (wide_offset) {
            sumi_put(head + end, at->offset, 8);
            end += 8;
        }
    }
    return put_bytes(w, head, end);
}

static sumi_status write_end(writer *w, size_t count, uint64_t directory_at)
{
    uint8_t end[END64_SIZE + LOCATOR_SIZE + END_SIZE] = {0};
    uint8_t *end64 = end, *locator = end + END64_SIZE, *classic = locator + LOCATOR_SIZE;
    uint64_t size = w->offset - directory_at;
    memcpy(end64, end64_mark, 4);
    sumi_put(end64 + 4, END64_SIZE - 12, 8);
    sumi_put(end64 + 12, VERSION_ZIP64, 2);
    sumi_put(end64 + 14, VERSION_ZIP64, 2);
    sumi_put(end64 + 24, count, 8);
    sumi_put(end64 + 32, count, 8);
    sumi_put(end64 + 40, size, 8);
    sumi_put(end64 + 48, directory_at, 8);
    memcpy(locator, locator_mark, 4);
    sumi_put(locator + 8, w->offset, 8);
    sumi_put(locator + 16, 1, 4);
    memcpy(classic, end_mark, 4);
    sumi_put(classic + 8, count < 0xFFFF ? count : 0xFFFF, 2);
    sumi_put(classic + 10, count < 0xFFFF ? count : 0xFFFF, 2);
    sumi_put(classic + 12, size < w->classic_max ? size : 0xFFFFFFFF, 4);
    sumi_put(classic + 16, directory_at < w->classic_max ? directory_at : 0xFFFFFFFF, 4);
    return put_bytes(w, end, sizeof end);
}

sumi_status sumi_zip_write(sumi_file *file, const sumi_zip_entry *entries, size_t count,
                           uint64_t classic_max, sumi_error *err)
{
    writer w = {file, 0, classic_max, err};
    sumi_status status = SUMI_OK;
    written *places = sumi_calloc(count ? count : 1, sizeof *places);
    if (!places)
        return sumi_fail_memory(err, "a ZIP directory", count * sizeof *places);
    for (size_t i = 0; i < count && status == SUMI_OK; i++) {
        if (strlen(entries[i].name) > NAME_MAX_BYTES)
            status = sumi_fail(err, SUMI_EINVAL, "an entry's name has more than %d bytes",
                               NAME_MAX_BYTES);
        else
            status = write_entry(&w, &entries[i], &places[i]);
    }
    uint64_t directory_at = w.offset;
    for (size_t i = 0; i < count && status == SUMI_OK; i++)
        status = write_record(&w, &entries[i], &places[i]);
    if (status == SUMI_OK)
        status = write_end(&w, count, directory_at);
    free(places);
    return status;
}
