/* What the io tests share: bytes of any content, fixtures, and tables of broken files. */
#ifndef SUMI_TEST_IO_H
#define SUMI_TEST_IO_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/temp_folder.h"
#include "io/internal.h"

/* A string literal with its length, zero bytes included. */
#define BYTES(literal) (const uint8_t *)(literal), sizeof(literal) - 1

/* A growing file in memory. */
typedef struct {
    uint8_t *data;
    size_t size;
} blob;

static inline void blob_free(blob *b)
{
    free(b->data);
    *b = (blob){0};
}

static inline blob blob_copy(const void *data, size_t size)
{
    blob out = {malloc(size + 1), size};
    assert_non_null(out.data);
    if (size)
        memcpy(out.data, data, size);
    out.data[size] = 0;
    return out;
}

/* Replaces `cut` bytes at `at` by `size` bytes of data. */
static inline void blob_splice(blob *b, size_t at, size_t cut, const void *data, size_t size)
{
    assert_true(at <= b->size && cut <= b->size - at);
    uint8_t *out = malloc(b->size - cut + size + 1);
    assert_non_null(out);
    if (at)
        memcpy(out, b->data, at);
    if (size)
        memcpy(out + at, data, size);
    if (b->size - at - cut)
        memcpy(out + at + size, b->data + at + cut, b->size - at - cut);
    b->size = b->size - cut + size;
    out[b->size] = 0;
    free(b->data);
    b->data = out;
}

/* Where the given bytes occur for the n-th time, counted from 0. */
static inline size_t blob_find(const blob *b, const void *what, size_t size, int n)
{
    for (size_t i = 0; i + size <= b->size; i++)
        if (memcmp(b->data + i, what, size) == 0 && n-- == 0)
            return i;
    fail_msg("the bytes are not there");
    return 0;
}

static inline const char *fixture_path(const char *name, char out[4096])
{
    snprintf(out, 4096, "%s/io/fixtures/%s", SUMI_TEST_DIR, name);
    return out;
}

static inline blob fixture(const char *name)
{
    char path[4096];
    sumi_error err = {""};
    blob out = {0};
    if (sumi_file_read(fixture_path(name, path), 1 << 24, &out.data, &out.size, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    return out;
}

/* Checks status and whole message; label tells which case of a table it was. */
static inline void expect_error(const char *label, sumi_status found, const sumi_error *err,
                                sumi_status status, const char *message)
{
    if (found != status || strcmp(err->text, message) != 0)
        fail_msg("case \"%s\":\n  expected %s \"%s\"\n  found    %s \"%s\"", label,
                 sumi_status_name(status), message, sumi_status_name(found), err->text);
}

/* That tensor i has the name, counts up from 0, and has this many elements. */
static inline void expect_counted(const sumi_tensor_file *file, const char *name, size_t count)
{
    float values[64];
    const sumi_file_tensor *tensor = sumi_tensor_file_find(file, name);
    if (!tensor)
        fail_msg("there is no tensor \"%s\"", name);
    assert_true(count <= 64);
    assert_int_equal(tensor->bytes, count * sumi_dtype_size(tensor->dtype));
    assert_true(sumi_file_tensor_to_f32(tensor, values));
    for (size_t i = 0; i < count; i++)
        assert_true(values[i] == (float)i);
}

#endif
