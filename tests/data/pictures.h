/* Folders of pictures for tests: one call a file, whose folders are made. */
#ifndef SUMI_TEST_PICTURES_H
#define SUMI_TEST_PICTURES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "io/io.h"

static inline void make_folder_of(const char *path)
{
    char *folder = sumi_strdup(path);
    assert_non_null(folder);
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = '\0';
    if (slash && *folder)
        assert_int_equal(sumi_make_dirs(folder, NULL), SUMI_OK);
    free(folder);
}

static inline void write_bytes(const char *path, const void *data, size_t size)
{
    sumi_error err = {""};
    make_folder_of(path);
    if (sumi_file_save(path, data, size, &err) != SUMI_OK)
        fail_msg("%s", err.text);
}

/* A PNG whose bytes all have one value. */
static inline void write_picture(const char *path, int h, int w, int c, uint8_t value)
{
    sumi_error err = {""};
    size_t size = (size_t)h * (size_t)w * (size_t)c;
    sumi_image image = {h, w, c, malloc(size)};
    assert_non_null(image.pixels);
    memset(image.pixels, value, size);
    make_folder_of(path);
    if (sumi_png_write(path, &image, NULL, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    free(image.pixels);
}

#endif
