/*
 * A data set from .npy arrays: x.npy holds the images, x-labels.npy beside it (or x_labels.npy)
 * one integer for each.
 */
#include "data/data.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Floats become bytes: the set's resolution is that of 8-bit pictures. */
static sumi_status from_floats(const char *path, const sumi_npy *array, sumi_dataset *out,
                               sumi_error *err)
{
    size_t per_image = array->count / (size_t)out->count;
    size_t channels = (size_t)out->channels, row = (size_t)out->width * channels;
    for (size_t i = 0; i < array->count; i++) {
        double value = array->dtype == SUMI_NPY_F32 ? (double)((const float *)array->data)[i]
                                                    : ((const double *)array->data)[i];
        if (!(value >= 0.0 && value <= 1.0))
            return sumi_fail(err, SUMI_EFORMAT,
                             "%s: expected floats in [0, 1] (or uint8), found %g in image %zu, "
                             "at [%zu][%zu][%zu]",
                             path, value, i / per_image, i % per_image / row, i % row / channels,
                             i % channels);
        out->pixels[i] = (uint8_t)(value * 255.0 + 0.5);
    }
    return SUMI_OK;
}

/* Whether the array can be one of images. */
static sumi_status check_array(const char *path, const sumi_npy *array, sumi_error *err)
{
    const int64_t *shape = array->shape;
    int64_t channels = array->rank == 4 ? shape[3] : 1;
    if (array->rank != 3 && array->rank != 4)
        return sumi_fail(err, SUMI_ESHAPE,
                         "%s: expected an array [n][h][w] or [n][h][w][c], found %d dimensions",
                         path, array->rank);
    if (channels < 1 || channels > SUMI_CHANNELS_MAX)
        return sumi_fail(err, SUMI_ESHAPE,
                         "%s: expected 1 to %d channels last, [n][h][w][c], found [%" PRId64
                         "][%" PRId64 "][%" PRId64 "][%" PRId64 "]",
                         path, SUMI_CHANNELS_MAX, shape[0], shape[1], shape[2], channels);
    if (array->dtype != SUMI_NPY_U8 && array->dtype != SUMI_NPY_F32 && array->dtype != SUMI_NPY_F64)
        return sumi_fail(err, SUMI_EUNSUPPORTED,
                         "%s: expected uint8, or floats in [0, 1], found 32 or 64-bit integers",
                         path);
    if (array->count == 0)
        return sumi_fail(err, SUMI_EFORMAT, "%s: holds no images", path);
    if (shape[1] > SUMI_SIDE_MAX || shape[2] > SUMI_SIDE_MAX)
        return sumi_fail(err, SUMI_EUNSUPPORTED,
                         "%s: images of %" PRId64 "x%" PRId64 " are out of range (sides 1 to %d)",
                         path, shape[1], shape[2], SUMI_SIDE_MAX);
    return SUMI_OK;
}

static sumi_status from_array(const char *path, const sumi_npy *array, sumi_dataset *out,
                              sumi_error *err)
{
    const int64_t *shape = array->shape;
    sumi_status status = check_array(path, array, err);
    if (status == SUMI_OK)
        status = sumi_data_alloc(out, path, shape[0], (int)shape[1], (int)shape[2],
                                 array->rank == 4 ? (int)shape[3] : 1, err);
    if (status != SUMI_OK)
        return status;
    if (array->dtype != SUMI_NPY_U8)
        return from_floats(path, array, out, err);
    memcpy(out->pixels, array->data, array->count);
    return SUMI_OK;
}

/* An array that is better left on disk: bytes are taken as they lie there. */
static sumi_status from_map(const char *path, sumi_dataset *out, sumi_error *err)
{
    const uint8_t *data = NULL;
    size_t size = 0, offset = 0;
    sumi_npy array = {0};
    sumi_status status = sumi_file_map(path, &data, &size, err);
    if (status == SUMI_OK)
        status = sumi_npy_parse_header(path, data, size, &array, &offset, err);
    if (status == SUMI_OK)
        status = check_array(path, &array, err);
    if (status == SUMI_OK && array.dtype == SUMI_NPY_U8) {
        const int64_t shape[] = {array.shape[0], array.shape[1], array.shape[2],
                                 array.rank == 4 ? array.shape[3] : 1};
        status = sumi_data_take_map(out, path, data, size, offset, shape, err);
        if (status == SUMI_OK)
            return status;
    } else if (status == SUMI_OK) {
        array.data = (void *)(uintptr_t)(data + offset); /* read only, and not released */
        status = from_array(path, &array, out, err);
    }
    sumi_unmap(data, size);
    return status;
}

/* Whether array is a row of `count` integers in 0 .. SUMI_CLASSES_MAX - 1; fills labels. */
static sumi_status labels_from_array(const char *path, const sumi_npy *array, sumi_dataset *out,
                                     sumi_error *err)
{
    if (array->rank != 1 || array->shape[0] != out->count)
        return sumi_fail(err, SUMI_ESHAPE,
                         "%s: expected one label for each of the %" PRId64
                         " images, found %zu values in %d dimensions",
                         path, out->count, array->count, array->rank);
    if (array->dtype == SUMI_NPY_F32 || array->dtype == SUMI_NPY_F64)
        return sumi_fail(err, SUMI_EUNSUPPORTED, "%s: expected integer labels, found floats", path);
    out->labels = sumi_calloc(array->count, sizeof *out->labels);
    if (!out->labels)
        return sumi_fail_memory(err, "labels", array->count * sizeof *out->labels);
    for (size_t i = 0; i < array->count; i++) {
        int64_t value = array->dtype == SUMI_NPY_U8    ? ((const uint8_t *)array->data)[i]
                        : array->dtype == SUMI_NPY_I32 ? ((const int32_t *)array->data)[i]
                                                       : ((const int64_t *)array->data)[i];
        if (value < 0 || value >= SUMI_CLASSES_MAX)
            return sumi_fail(err, value < 0 ? SUMI_EFORMAT : SUMI_EUNSUPPORTED,
                             "%s: expected labels from 0 to %d, found %" PRId64 " at %zu", path,
                             SUMI_CLASSES_MAX - 1, value, i);
        out->labels[i] = (int32_t)value;
        out->classes = value >= out->classes ? (int)value + 1 : out->classes;
    }
    return SUMI_OK;
}

static sumi_status read_labels(const char *path, sumi_dataset *out, sumi_error *err)
{
    static const char *const endings[] = {"-labels.npy", "_labels.npy"};
    size_t length = strlen(path);
    if (length < 4 || strcmp(path + length - 4, ".npy") != 0)
        return SUMI_OK;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char beside[4096];
        int used = snprintf(beside, sizeof beside, "%.*s%s", (int)length - 4, path, endings[i]);
        if (used < 0 || (size_t)used >= sizeof beside || !sumi_is_file(beside))
            continue;
        sumi_npy array = {0};
        sumi_status status = sumi_npy_read(beside, &array, err);
        if (status == SUMI_OK) {
            status = labels_from_array(beside, &array, out, err);
            sumi_npy_free(&array);
        }
        return status;
    }
    return SUMI_OK;
}

sumi_status sumi_npy_open(const char *path, const sumi_dataset_config *config, sumi_dataset *out,
                          sumi_error *err)
{
    sumi_npy array = {0};
    bool large = sumi_data_is_large(path);
    sumi_status status = large ? from_map(path, out, err) : sumi_npy_read(path, &array, err);
    if (status == SUMI_OK && !large) {
        status = from_array(path, &array, out, err);
        sumi_npy_free(&array);
    }
    if (status == SUMI_OK)
        status = read_labels(path, out, err);
    if (status == SUMI_OK)
        status = sumi_data_fit(out, path, config, err);
    if (status != SUMI_OK)
        sumi_data_clear(out);
    return status;
}
