/*
 * What the files of the io layer share: JSON text, little-endian numbers, UTF-8, tensor checks.
 */
#ifndef SUMI_IO_INTERNAL_H
#define SUMI_IO_INTERNAL_H

#include <string.h>

#include "io/io.h"

/* ---- JSON (json.c) --------------------------------------------------------------------------- */

/* Adds a value's JSON text; flags are jansson's. */
void sumi_text_json(sumi_text *text, const json_t *json, size_t flags);

/* Why jansson read nothing of size bytes: "PATH: WHERE: REASON", or that memory was out. */
sumi_status sumi_fail_json(sumi_error *err, const json_error_t *reason, const char *path,
                           const char *where, size_t size);

/* ---- .npy (npy.c) ---------------------------------------------------------------------------- */

#define SUMI_NPY_MAGIC "\x93NUMPY"
/* Adds the header of an array of that type and shape to an empty text, at least `size` bytes long;
 * it `failed` where memory is out. */
void sumi_npy_header(sumi_text *head, const sumi_npy *array, size_t size);
/* Bytes of an element; 0 where the type, rank or shape is none. */
size_t sumi_npy_item_size(const sumi_npy *array);

/* ---- Little-endian numbers ------------------------------------------------------------------- */

static inline uint16_t sumi_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t sumi_get32(const uint8_t *p)
{
    return (uint32_t)sumi_get16(p) | (uint32_t)sumi_get16(p + 2) << 16;
}

static inline uint64_t sumi_get64(const uint8_t *p)
{
    return (uint64_t)sumi_get32(p) | (uint64_t)sumi_get32(p + 4) << 32;
}

/* Writes the low `bytes` bytes of value. */
static inline void sumi_put(uint8_t *p, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(value >> 8 * i);
}

/* ---- Pictures (image.c, jpeg.c, exif.c) ------------------------------------------------------ */

/* Where a picture has no or too many pixels. */
sumi_status sumi_image_check_size(const char *path, uint32_t height, uint32_t width,
                                  sumi_error *err);
/* As stored; *orientation is 0 where nothing tells it. */
sumi_status sumi_jpeg_parse(const char *path, const uint8_t *data, size_t size, sumi_image *out,
                            int *orientation, sumi_error *err);
/* 1 to 8 as Exif numbers them; 0 where the data, which may begin with "Exif\0\0", do not say. */
int sumi_exif_orientation(const uint8_t *data, size_t size);
/* Turns a picture as it is to be seen; orientation is 0 to 8. */
sumi_status sumi_image_orient(const char *path, sumi_image *image, int orientation,
                              sumi_error *err);

/* A PNG in memory. */
sumi_status sumi_png_encode(const char *path, const sumi_image *image, const char *text,
                            const char *parameters, sumi_text *out, sumi_error *err);
/* Where frames have no size, channels or number that there can be. */
sumi_status sumi_animation_check(const char *path, const sumi_animation *animation,
                                 sumi_error *err);

/* ---- Tensors (tensor_file.c) ----------------------------------------------------------------- */

/* Files this large and larger are not read; it is a limit on mistakes, not on models. */
#define SUMI_MODEL_BYTES_MAX ((size_t)1 << 40)

/* The number of elements and of bytes that dtype and shape stand for; false on overflow. */
bool sumi_tensor_count(const sumi_file_tensor *tensor, size_t *count, size_t *bytes);
/* What a writer asks of its caller: known types, bytes that fit the shapes, UTF-8 names, each once.
 * Fails with SUMI_EINVAL. */
sumi_status sumi_tensors_check(const char *path, const sumi_file_tensor *tensors, size_t count,
                               sumi_error *err);
/* One tensor name that occurs twice, or NULL; *memory_out is set where there was none to tell. */
const char *sumi_tensors_duplicate(const sumi_file_tensor *tensors, size_t count, bool *memory_out);
/* Metadata from a JSON object of strings, and back. where is what the object is called in messages.
 * A failed read may leave some pairs in out; a failed write leaves object as it may be. */
sumi_status sumi_metadata_parse(const char *path, const char *where, const json_t *object,
                                sumi_tensor_file *out, sumi_error *err);
sumi_status sumi_metadata_add(const char *path, const sumi_tensor_file *file, json_t *object,
                              sumi_error *err);
/* "PATH: not WANTED but an HTML page" where the bytes plainly are something else; SUMI_OK where
 * they could be WANTED after all. */
sumi_status sumi_expect_content(const char *path, const uint8_t *data, size_t size,
                                const char *wanted, sumi_error *err);

#endif
