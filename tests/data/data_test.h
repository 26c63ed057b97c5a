/*
 * What the tests of the data layer share: temporary folders, IDX files made in memory, gzip, and
 * checks of a failure's status and message.
 */
#ifndef SUMI_DATA_TEST_H
#define SUMI_DATA_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "data/data.h"
#include "data/pictures.h"

typedef struct {
    uint8_t *data;
    size_t size;
} blob;

/* A fresh folder in *state; dir_teardown removes it with all that is in it. */
static inline int dir_setup(void **state)
{
    char pattern[] = "/tmp/sumi-data-XXXXXX";
    if (!mkdtemp(pattern))
        return -1;
    *state = sumi_strdup(pattern);
    return *state ? 0 : -1;
}

static inline int dir_teardown(void **state)
{
    sumi_error err;
    int code = sumi_remove_tree(*state, &err) == SUMI_OK ? 0 : -1;
    free(*state);
    return code;
}

/* The path of name in the test's folder; the folders above it are made. */
static inline const char *in_dir(void **state, const char *name, char path[1024])
{
    sumi_error err;
    assert_int_equal(sumi_path_join(path, 1024, *state, name, &err), SUMI_OK);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(sumi_make_dirs(path, &err), SUMI_OK);
    *slash = '/';
    return path;
}

static inline void put_file(void **state, const char *name, const void *data, size_t size)
{
    char path[1024];
    write_bytes(in_dir(state, name, path), data, size);
}

/* Writes b and frees it. */
static inline void put_bytes(void **state, const char *name, blob b)
{
    put_file(state, name, b.data, b.size);
    free(b.data);
}

static inline void put_big_endian(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static inline uint8_t test_pixel(size_t i)
{
    return (uint8_t)(i * 37 + i / 11);
}

/* A whole images file; pixel i of the file is test_pixel(i). */
static inline blob idx_images(uint32_t n, uint32_t h, uint32_t w)
{
    size_t pixels = (size_t)n * h * w;
    blob b = {malloc(16 + pixels), 16 + pixels};
    assert_non_null(b.data);
    put_big_endian(b.data, 0x803);
    put_big_endian(b.data + 4, n);
    put_big_endian(b.data + 8, h);
    put_big_endian(b.data + 12, w);
    for (size_t i = 0; i < pixels; i++)
        b.data[16 + i] = test_pixel(i);
    return b;
}

/* A whole labels file; label i is i % classes. */
static inline blob idx_labels(uint32_t n, uint32_t classes)
{
    blob b = {malloc(8 + n), 8 + n};
    assert_non_null(b.data);
    put_big_endian(b.data, 0x801);
    put_big_endian(b.data + 4, n);
    for (uint32_t i = 0; i < n; i++)
        b.data[8 + i] = (uint8_t)(i % classes);
    return b;
}

/* gzip of b; b is freed. */
static inline blob gzipped(blob b)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, (uLong)b.size);
    blob out = {malloc(room), 0};
    assert_non_null(out.data);
    z.next_in = b.data;
    z.avail_in = (uInt)b.size;
    z.next_out = out.data;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out.size = z.total_out;
    deflateEnd(&z);
    free(b.data);
    return out;
}

/* The call failed with this status, in one line that holds every text of the NULL-ended list. */
static inline void check_failed(sumi_status found, sumi_status expected, const sumi_error *err, ...)
{
    if (found != expected)
        print_error("expected %s, found %s: %s\n", sumi_status_name(expected),
                    sumi_status_name(found), err->text);
    assert_int_equal(found, expected);
    assert_null(strchr(err->text, '\n'));
    va_list texts;
    va_start(texts, err);
    for (const char *text; (text = va_arg(texts, const char *)) != NULL;) {
        if (!strstr(err->text, text))
            print_error("\"%s\" is not in: %s\n", text, err->text);
        assert_non_null(strstr(err->text, text));
    }
    va_end(texts);
}

static inline void check_ok(sumi_status status, const sumi_error *err)
{
    if (status != SUMI_OK)
        print_error("%s: %s\n", sumi_status_name(status), err->text);
    assert_int_equal(status, SUMI_OK);
}

/* One picture src [sh][sw][c], brought to dst [h][w][c]. */
static inline sumi_status resize_cover(const uint8_t *src, int sh, int sw, int c, uint8_t *dst,
                                       int h, int w, sumi_error *err)
{
    size_t size = (size_t)sh * (size_t)sw * (size_t)c;
    uint8_t *copy = malloc(size); /* of the picture's own size, so that no byte behind it is read */
    sumi_fitter fitter = {.h = h, .w = w, .c = c};
    assert_non_null(copy);
    memcpy(copy, src, size);
    sumi_status status = sumi_fitter_run(&fitter, copy, sh, sw, c, dst, err);
    sumi_fitter_free(&fitter);
    free(copy);
    return status;
}

static inline void write_png(void **state, const char *name, int h, int w, int c, uint8_t value)
{
    char path[1024];
    write_picture(in_dir(state, name, path), h, w, c, value);
}

#endif
