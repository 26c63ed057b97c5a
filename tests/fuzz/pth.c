/*
 * .pth behind its CRC: the input is the pickle of a right archive that has two storages of 24
 * bytes, so that mutations reach shapes, strides and offsets. An input that is no pickle is the
 * metadata's record of an empty state_dict instead.
 */
#include <zlib.h>

#include "tensors.h"

typedef struct {
    const char *name;
    const uint8_t *data;
    size_t size, offset;
} entry;

static void put(sumi_text *out, uint64_t value, int bytes)
{
    uint8_t number[8];
    sumi_put(number, value, bytes);
    sumi_text_add(out, number, (size_t)bytes);
}

/* The fields that local and directory records share. */
static void put_common(sumi_text *out, const entry *e)
{
    put(out, 0, 8);
    put(out, 0, 2);
    put(out, crc32_z(0, e->data, e->size), 4);
    put(out, e->size, 4);
    put(out, e->size, 4);
    put(out, strlen(e->name), 2);
    put(out, 0, 2);
}

static sumi_text archive(const uint8_t *data, size_t size)
{
    static const uint8_t storage[24] = {0, 1, 2, 3, 4, 5, 6, 7};
    entry entries[] = {{"m/data.pkl", data, size, 0},
                       {"m/data/0", storage, 24, 0},
                       {"m/data/1", storage, 24, 0},
                       {"m/extra/sumi.json", data, size, 0}};
    int count = 3;
    sumi_text out = {0};
    if (size > 0 && data[0] != 0x80) {
        entries[0] = (entry){"m/data.pkl", (const uint8_t *)"\x80\x02}.", 4, 0};
        count = 4;
    }
    for (int i = 0; i < count; i++) {
        entries[i].offset = out.size;
        sumi_text_puts(&out, "PK\3\4");
        put_common(&out, &entries[i]);
        sumi_text_puts(&out, entries[i].name);
        sumi_text_add(&out, entries[i].data, entries[i].size);
    }
    size_t directory = out.size;
    for (int i = 0; i < count; i++) {
        sumi_text_puts(&out, "PK\1\2");
        put(&out, 0, 2);
        put_common(&out, &entries[i]);
        put(&out, 0, 8);
        put(&out, 0, 2);
        put(&out, entries[i].offset, 4);
        sumi_text_puts(&out, entries[i].name);
    }
    size_t end = out.size;
    sumi_text_puts(&out, "PK\5\6");
    put(&out, 0, 4);
    put(&out, (uint64_t)count, 2);
    put(&out, (uint64_t)count, 2);
    put(&out, end - directory, 4);
    put(&out, directory, 4);
    put(&out, 0, 2);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sumi_text zip = archive(data, size);
    sumi_tensor_file file;
    sumi_error err = {""};
    fuzz_check(!zip.failed, "memory");
    uint8_t *copy = fuzz_copy((const uint8_t *)zip.data, zip.size);
    sumi_status status = sumi_pth_parse("f", copy, zip.size, &file, &err);
    fuzz_check(strncmp(err.text, "f: not a whole ZIP", 18) && strncmp(err.text, "f: entry", 8),
               "the archive is right");
    if (status == SUMI_OK)
        fuzz_tensors(&file);
    else
        free(copy);
    sumi_text_free(&zip);
    return 0;
}
