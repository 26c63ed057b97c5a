/*
 * Fuzzes the IDX readers, plain and in gzip.
 *
 * The first byte says what follows: images, labels (then one byte: how many images the set has), or
 * either of them to be packed by gzip here. A mutated gzip file seldom passes its checksum; packing
 * here reaches what lies behind it, and must give what the plain bytes gave. Whatever is accepted
 * is read and hashed to its last byte.
 */
#include <zlib.h>

#include "data/data.h"
#include "fuzz.h"

enum { IMAGES, LABELS, PACKED_IMAGES, PACKED_LABELS, MODES };

/* Errors come with one line of text, successes with a set inside the limits. */
static void check(sumi_status status, const sumi_dataset *set, const sumi_error *err)
{
    if (status != SUMI_OK)
        fuzz_check(err->text[0] != '\0' && !strchr(err->text, '\n'), "one line of text");
    else
        fuzz_check(set->count >= 1 && set->height >= 1 && set->width >= 1 && set->channels == 1,
                   "sizes in range");
}

static sumi_status parse(bool labels, int64_t count, const uint8_t *data, size_t size, char hex[65])
{
    sumi_error err = {{0}};
    sumi_dataset set = {.count = count, .height = 1, .width = 1, .channels = 1};
    sumi_status status;
    if (labels) {
        status = sumi_data_alloc(&set, "fuzz", count, 1, 1, 1, &err);
        fuzz_check(status == SUMI_OK, "memory");
        memset(set.pixels, 0, (size_t)count);
        status = sumi_idx_labels_parse("fuzz", data, size, &set, &err);
        for (int64_t i = 0; status == SUMI_OK && i < count; i++)
            fuzz_check(set.labels[i] >= 0 && set.labels[i] < set.classes, "labels in range");
    } else {
        set = (sumi_dataset){0};
        status = sumi_idx_images_parse("fuzz", data, size, &set, &err);
    }
    check(status, &set, &err);
    if (status == SUMI_OK)
        sumi_data_hash(&set, hex);
    sumi_data_clear(&set);
    return status;
}

/* gzip of the data at the fastest level; malloc'ed. */
static uint8_t *pack(const uint8_t *data, size_t size, size_t *packed)
{
    z_stream z = {0};
    fuzz_check(deflateInit2(&z, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK,
               "memory");
    size_t room = deflateBound(&z, (uLong)size);
    uint8_t *out = malloc(room);
    fuzz_check(out != NULL, "memory");
    z.next_in = (z_const Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)size;
    z.next_out = out;
    z.avail_out = (uInt)room;
    fuzz_check(deflate(&z, Z_FINISH) == Z_STREAM_END, "packing");
    *packed = z.total_out;
    deflateEnd(&z);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    int mode = data[0] % MODES;
    bool labels = mode == LABELS || mode == PACKED_LABELS;
    int64_t count = labels ? data[1] + 1 : 0;
    data += labels ? 2 : 1;
    size -= labels ? 2 : 1;
    char plain_hash[65] = "", packed_hash[65] = "";
    sumi_status plain = parse(labels, count, data, size, plain_hash);
    bool is_gzip = size >= 2 && data[0] == 0x1f && data[1] == 0x8b;
    if (mode < PACKED_IMAGES || is_gzip)
        return 0;
    size_t packed_size;
    uint8_t *packed_data = pack(data, size, &packed_size);
    sumi_status packed = parse(labels, count, packed_data, packed_size, packed_hash);
    free(packed_data);
    fuzz_check(plain == packed && strcmp(plain_hash, packed_hash) == 0, "gzip changes nothing");
    return 0;
}
