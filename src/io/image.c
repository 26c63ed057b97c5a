/*
 * Pictures: PNG by libpng, JPEG by libjpeg (jpeg.c), always as bytes in [h][w][c] with c = 1 or 3,
 * turned as Exif says that they are to be seen.
 *
 * Sizes are checked before pixels get memory: at most 64 million pixels, and no more than the
 * file's bytes can stand for (deflate reaches 1,032 : 1; a JPEG spends at least a bit on a block).
 * Gamma and colour profiles are left alone, as Pillow and torchvision do by default.
 */
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "io/internal.h"

#define PARAMETERS "sumi parameters"

enum {
    PIXELS_MAX = 64 << 20,
    SIDE_MAX = 1 << 20,
    FILE_MAX = 256 << 20,
    DEFLATE_RATIO_MAX = 1040,
    WHITE = 255
};

sumi_status sumi_image_check_size(const char *path, uint32_t height, uint32_t width,
                                  sumi_error *err)
{
    if (height == 0 || width == 0 || height > SIDE_MAX || width > SIDE_MAX ||
        (uint64_t)height * width > PIXELS_MAX)
        return sumi_fail(err, SUMI_EUNSUPPORTED, "%s: %u x %u pixels, at most %d are supported",
                         path, (unsigned)width, (unsigned)height, PIXELS_MAX);
    return SUMI_OK;
}

/* ---- PNG, reading ---------------------------------------------------------------------------- */

/* libpng's view of a file in memory, and what it left to be released after a longjmp. */
typedef struct {
    const uint8_t *at;
    size_t left;
    char reason[128];
    uint8_t *pixels; /* with alpha, where there is one */
    png_bytep *rows;
} png_source;

static void keep_reason(png_structp png, png_const_charp text)
{
    png_source *source = png_get_error_ptr(png);
    snprintf(source->reason, sizeof source->reason, "%s", text);
    png_longjmp(png, 1);
}

static void ignore_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void read_bytes(png_structp png, png_bytep out, size_t size)
{
    png_source *source = png_get_io_ptr(png);
    if (size > source->left)
        png_error(png, "the file is cut off");
    memcpy(out, source->at, size);
    source->at += size;
    source->left -= size;
}

/* Asks for 8-bit gray or RGB, with alpha where the file has any form of it. */
static void set_transforms(png_structp png, png_infop info)
{
    png_set_scale_16(png);
    png_set_expand(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
}

/* Everything that may longjmp. False: the reason is in source. Values that must outlive the jump
 * are reached through pointers. */
static bool decode_png(png_structp png, png_infop info, png_source *source, sumi_image *out,
                       sumi_status *status, const char *path, sumi_error *err)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    size_t file_size = source->left;
    png_set_user_limits(png, SIDE_MAX, SIDE_MAX);
    /* Texts, profiles and the like are skipped: libpng makes room for as much as such a chunk says,
     * not for as much as the file has. */
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_chunk_malloc_max(png, file_size);
    png_set_read_fn(png, source, read_bytes);
    png_read_info(png, info);
    out->height = (int)png_get_image_height(png, info);
    out->width = (int)png_get_image_width(png, info);
    *status = sumi_image_check_size(path, (uint32_t)out->height, (uint32_t)out->width, err);
    if (*status != SUMI_OK)
        return true;
    if (png_get_rowbytes(png, info) * (size_t)out->height / DEFLATE_RATIO_MAX > file_size)
        png_error(png, "too few bytes for a picture of its size");
    set_transforms(png, info);
    out->channels = png_get_channels(png, info);
    size_t row = png_get_rowbytes(png, info);
    source->pixels = malloc(row * (size_t)out->height);
    source->rows = malloc((size_t)out->height * sizeof *source->rows);
    if (!source->pixels || !source->rows) {
        *status = sumi_fail_memory(err, path, row * (size_t)out->height);
        return true;
    }
    for (int y = 0; y < out->height; y++)
        source->rows[y] = source->pixels + row * (size_t)y;
    png_read_image(png, source->rows);
    png_read_end(png, NULL);
    return true;
}

/* Lays 2 or 4 channels over a grey, in place. */
static void drop_alpha(sumi_image *image, uint8_t background)
{
    int channels = image->channels - 1;
    size_t count = (size_t)image->height * (size_t)image->width;
    const uint8_t *from = image->pixels;
    uint8_t *to = image->pixels;
    for (size_t i = 0; i < count; i++, from += channels + 1) {
        unsigned alpha = from[channels];
        for (int c = 0; c < channels; c++)
            *to++ = (uint8_t)((from[c] * alpha + background * (255 - alpha) + 127) / 255);
    }
    image->channels = channels;
}

/* libpng has no kind of error of its own for a picture that is too large. */
static sumi_status check_png_size(const char *path, const uint8_t *data, size_t size,
                                  sumi_error *err)
{
    if (size < 24 || memcmp(data + 12, "IHDR", 4) != 0)
        return SUMI_OK;
    uint32_t sides[2];
    for (int i = 0; i < 2; i++) {
        const uint8_t *side = data + 16 + 4 * i;
        sides[i] =
            (uint32_t)side[0] << 24 | (uint32_t)side[1] << 16 | (uint32_t)side[2] << 8 | side[3];
        if (sides[i] == 0 || sides[i] > PNG_UINT_31_MAX)
            return SUMI_OK;
    }
    return sumi_image_check_size(path, sides[1], sides[0], err);
}

static sumi_status parse_png(const char *path, const uint8_t *data, size_t size, uint8_t background,
                             sumi_image *out, sumi_error *err)
{
    png_source source = {.at = data, .left = size};
    sumi_image image = {0};
    sumi_status status = check_png_size(path, data, size, err);
    if (status != SUMI_OK)
        return status;
    png_structp png =
        png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, keep_reason, ignore_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info)
        status = sumi_fail_memory(err, path, size);
    else if (!decode_png(png, info, &source, &image, &status, path, err))
        status = sumi_fail(err, SUMI_EFORMAT, "%s: PNG: %s", path, source.reason);
    png_destroy_read_struct(&png, &info, NULL);
    free(source.rows);
    if (status != SUMI_OK) {
        free(source.pixels);
        return status;
    }
    image.pixels = source.pixels;
    if (image.channels == 2 || image.channels == 4)
        drop_alpha(&image, background);
    *out = image;
    return SUMI_OK;
}

/* The chunk may lie before the picture or behind it, where libpng is not asked any more. */
static int png_orientation(const uint8_t *data, size_t size)
{
    for (size_t at = 8, length; at < size && size - at >= 12; at += 12 + length) {
        const uint8_t *chunk = data + at;
        length = (size_t)chunk[0] << 24 | (size_t)chunk[1] << 16 | (size_t)chunk[2] << 8 | chunk[3];
        if (length > size - at - 12)
            break;
        const uint8_t *sum = chunk + 8 + length;
        if (memcmp(chunk + 4, "eXIf", 4) == 0 &&
            crc32(0, chunk + 4, (uInt)length + 4) ==
                ((uLong)sum[0] << 24 | (uLong)sum[1] << 16 | (uLong)sum[2] << 8 | sum[3]))
            return sumi_exif_orientation(chunk + 8, length);
    }
    return 0;
}

/* ---- Both ------------------------------------------------------------------------------------ */

static sumi_status parse_over(const char *path, const uint8_t *data, size_t size,
                              uint8_t background, sumi_image *out, sumi_error *err)
{
    const char *kind = sumi_sniff(data, size);
    bool png = strcmp(kind, "png") == 0;
    sumi_image image = {0};
    int orientation = 0;
    sumi_status status;
    if (png || strcmp(kind, "jpeg") == 0) {
        status = png ? parse_png(path, data, size, background, &image, err)
                     : sumi_jpeg_parse(path, data, size, &image, &orientation, err);
    } else {
        status = sumi_expect_content(path, data, size, "a PNG or JPEG picture", err);
        if (status == SUMI_OK)
            status = sumi_fail(err, SUMI_EFORMAT, "%s: neither PNG nor JPEG", path);
    }
    if (status == SUMI_OK)
        status =
            sumi_image_orient(path, &image, png ? png_orientation(data, size) : orientation, err);
    if (status == SUMI_OK)
        *out = image;
    else
        sumi_image_free(&image);
    return status;
}

sumi_status sumi_image_parse(const char *path, const uint8_t *data, size_t size, sumi_image *out,
                             sumi_error *err)
{
    return parse_over(path, data, size, WHITE, out, err);
}

sumi_status sumi_image_read(const char *path, sumi_image *out, sumi_error *err)
{
    return sumi_image_read_over(path, WHITE, out, err);
}

sumi_status sumi_image_read_over(const char *path, uint8_t background, sumi_image *out,
                                 sumi_error *err)
{
    uint8_t *data;
    size_t size;
    sumi_status status = sumi_file_read(path, FILE_MAX, &data, &size, err);
    if (status != SUMI_OK)
        return status;
    status = parse_over(path, data, size, background, out, err);
    free(data);
    return status;
}

void sumi_image_free(sumi_image *image)
{
    if (!image)
        return;
    free(image->pixels);
    *image = (sumi_image){0};
}

/* ---- PNG, writing ---------------------------------------------------------------------------- */

typedef struct {
    sumi_text bytes;
    char reason[128];
} png_target;

static void keep_write_reason(png_structp png, png_const_charp text)
{
    png_target *target = png_get_error_ptr(png);
    snprintf(target->reason, sizeof target->reason, "%s", text);
    png_longjmp(png, 1);
}

static void write_bytes(png_structp png, png_bytep data, size_t size)
{
    png_target *target = png_get_io_ptr(png);
    sumi_text_add(&target->bytes, data, size);
    if (target->bytes.failed)
        png_error(png, "out of memory");
}

static void flush_nothing(png_structp png)
{
    (void)png;
}

/* tEXt is Latin-1, so other text goes to iTXt, which is UTF-8. */
static void set_text(png_structp png, png_infop info, const char *name, const char *text)
{
    char key[80], none[] = "";
    bool ascii = true;
    snprintf(key, sizeof key, "%s", name);
    for (const char *c = text; *c; c++)
        ascii &= (uint8_t)*c < 0x80;
    png_text chunk = {.compression = ascii ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE,
                      .key = key,
                      .text = (char *)text,
                      .lang = none,
                      .lang_key = none};
    png_set_text(png, info, &chunk, 1);
}

static bool encode_png(png_structp png, png_infop info, png_target *target, const sumi_image *image,
                       const char *text, const char *parameters)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    png_set_user_limits(png, SIDE_MAX, SIDE_MAX);
    png_set_write_fn(png, target, write_bytes, flush_nothing);
    png_set_IHDR(png, info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 image->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (text)
        set_text(png, info, "Comment", text);
    if (parameters)
        set_text(png, info, PARAMETERS, parameters);
    png_write_info(png, info);
    size_t row = (size_t)image->width * (size_t)image->channels;
    for (int y = 0; y < image->height; y++)
        png_write_row(png, image->pixels + row * (size_t)y);
    png_write_end(png, info);
    return true;
}

sumi_status sumi_png_encode(const char *path, const sumi_image *image, const char *text,
                            const char *parameters, sumi_text *out, sumi_error *err)
{
    png_target target = {0};
    if ((image->channels != 1 && image->channels != 3) || image->height < 1 || image->width < 1 ||
        image->height > SIDE_MAX || image->width > SIDE_MAX)
        return sumi_fail(err, SUMI_EINVAL, "%s: a picture of %d x %d pixels and %d channels", path,
                         image->width, image->height, image->channels);
    /* It may tell a file's name. */
    bool plain = !text || sumi_utf8_valid(text, strlen(text));
    char *escaped = plain ? NULL : sumi_escape_text(text);
    if (!plain && !escaped)
        return sumi_fail_memory(err, path, strlen(text));
    sumi_status status = SUMI_OK;
    png_structp png =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, &target, keep_write_reason, ignore_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info)
        status = sumi_fail_memory(err, path, sizeof target);
    else if (!encode_png(png, info, &target, image, plain ? text : escaped, parameters))
        status = sumi_fail(err, SUMI_ENOMEM, "%s: PNG: %s", path, target.reason);
    png_destroy_write_struct(&png, &info);
    free(escaped);
    if (status == SUMI_OK)
        *out = target.bytes;
    else
        sumi_text_free(&target.bytes);
    return status;
}

sumi_status sumi_png_write_with(const char *path, const sumi_image *image, const char *text,
                                const char *parameters, sumi_error *err)
{
    sumi_text bytes = {0};
    sumi_status status = sumi_png_encode(path, image, text, parameters, &bytes, err);
    if (status == SUMI_OK)
        status = sumi_file_save(path, bytes.data, bytes.size, err);
    sumi_text_free(&bytes);
    return status;
}

sumi_status sumi_png_write(const char *path, const sumi_image *image, const char *text,
                           sumi_error *err)
{
    return sumi_png_write_with(path, image, text, NULL, err);
}

/* The text of a whole tEXt chunk of that name, which is ASCII; *text stays NULL: it is another. */
static sumi_status text_of_chunk(const char *path, const uint8_t *chunk, size_t length, char **text,
                                 sumi_error *err)
{
    const uint8_t *sum = chunk + 8 + length;
    size_t key = sizeof PARAMETERS; /* with its end */
    if (memcmp(chunk + 4, "tEXt", 4) != 0 || length <= key ||
        memcmp(chunk + 8, PARAMETERS, key) != 0 ||
        crc32(0, chunk + 4, (uInt)length + 4) !=
            ((uLong)sum[0] << 24 | (uLong)sum[1] << 16 | (uLong)sum[2] << 8 | sum[3]))
        return SUMI_OK;
    *text = sumi_calloc(length - key + 1, 1);
    if (!*text)
        return sumi_fail_memory(err, path, length);
    memcpy(*text, chunk + 8 + key, length - key);
    return SUMI_OK;
}

sumi_status sumi_png_parameters(const char *path, char **parameters, sumi_error *err)
{
    uint8_t *data;
    size_t size;
    sumi_status status = sumi_file_read(path, FILE_MAX, &data, &size, err);
    if (status != SUMI_OK)
        return status;
    *parameters = NULL;
    if (strcmp(sumi_sniff(data, size), "png") != 0)
        status = sumi_fail(err, SUMI_EFORMAT, "%s: not a PNG picture", path);
    for (size_t at = 8, length; status == SUMI_OK && at < size && size - at >= 12;
         at += 12 + length) {
        const uint8_t *chunk = data + at;
        length = (size_t)chunk[0] << 24 | (size_t)chunk[1] << 16 | (size_t)chunk[2] << 8 | chunk[3];
        if (length > size - at - 12)
            break;
        if (!*parameters)
            status = text_of_chunk(path, chunk, length, parameters, err);
    }
    free(data);
    if (status == SUMI_OK && !*parameters)
        status = sumi_fail(err, SUMI_EFORMAT,
                           "%s: the picture does not tell how it was sampled (other programs and "
                           "earlier versions leave that out)",
                           path);
    return status;
}

/* ---- Grids ----------------------------------------------------------------------------------- */

enum { MARGIN = 2, COMFORTABLE_SIDE = 96, BACKGROUND = 255 };

/* Copies one picture of so many channels, or the first of them, each pixel to a factor x factor
 * block, with its corner at (top, left). */
static void place(const uint8_t *picture, const int shape[3], int factor, int top, int left,
                  sumi_image *out)
{
    size_t c = (size_t)out->channels, row = (size_t)out->width * c, all = (size_t)shape[2];
    for (int y = 0; y < shape[0] * factor; y++) {
        const uint8_t *from = picture + (size_t)(y / factor) * (size_t)shape[1] * all;
        uint8_t *to = out->pixels + (size_t)(top + y) * row + (size_t)left * c;
        for (int x = 0; x < shape[1] * factor; x++, to += c)
            memcpy(to, from + (size_t)(x / factor) * all, c);
    }
}

sumi_status sumi_image_grid_size(int n, int h, int w, sumi_grid_layout *out, sumi_error *err)
{
    if (n < 1 || n > PIXELS_MAX || h < 1 || w < 1 || h > SIDE_MAX || w > SIDE_MAX)
        return sumi_fail(err, SUMI_EINVAL, "a grid of %d pictures of %d x %d pixels", n, w, h);
    int side = h > w ? h : w;
    int factor = side < COMFORTABLE_SIDE ? COMFORTABLE_SIDE / side : 1;
    int columns = 1;
    while ((int64_t)columns * columns < n)
        columns++;
    int rows = (n + columns - 1) / columns;
    int64_t height = (int64_t)rows * ((int64_t)h * factor + MARGIN) + MARGIN;
    int64_t width = (int64_t)columns * ((int64_t)w * factor + MARGIN) + MARGIN;
    if (height > SIDE_MAX || width > SIDE_MAX || height * width > PIXELS_MAX)
        return sumi_fail(err, SUMI_EINVAL,
                         "a grid of %d pictures of %d x %d pixels has more than %d pixels", n, w, h,
                         PIXELS_MAX);
    *out = (sumi_grid_layout){(int)height, (int)width, factor, columns};
    return SUMI_OK;
}

/* Background for rows x columns pictures; factor is by how much each is enlarged. */
static sumi_status make_table(const char *what, int rows, int columns, const int shape[3],
                              int *factor, sumi_image *out, sumi_error *err)
{
    sumi_grid_layout grid;
    int h = shape[0], w = shape[1], c = sumi_shown_channels(shape[2]);
    if (shape[2] < 1)
        return sumi_fail(err, SUMI_EINVAL, "a %s of pictures of %d channels", what, shape[2]);
    sumi_status status = sumi_image_grid_size(rows > columns ? rows : columns, h, w, &grid, err);
    if (status != SUMI_OK)
        return status;
    int64_t height = (int64_t)rows * (h * grid.factor + MARGIN) + MARGIN;
    int64_t width = (int64_t)columns * (w * grid.factor + MARGIN) + MARGIN;
    if (height > SIDE_MAX || width > SIDE_MAX || height * width > PIXELS_MAX)
        return sumi_fail(err, SUMI_EINVAL,
                         "a %s of %d x %d pictures of %d x %d pixels has more than %d pixels", what,
                         rows, columns, w, h, PIXELS_MAX);
    sumi_image image = {(int)height, (int)width, c, NULL};
    size_t bytes = (size_t)height * (size_t)width * (size_t)c;
    image.pixels = malloc(bytes);
    if (!image.pixels)
        return sumi_fail_memory(err, "a table of pictures", bytes);
    memset(image.pixels, BACKGROUND, bytes);
    *factor = grid.factor;
    *out = image;
    return SUMI_OK;
}

/* Picture i in its row and column of such a table. */
static void put(const uint8_t *pixels, int i, const int shape[3], int factor, int row, int column,
                sumi_image *out)
{
    int h = shape[0], w = shape[1];
    place(pixels + (size_t)i * (size_t)h * (size_t)w * (size_t)shape[2], shape, factor,
          MARGIN + row * (h * factor + MARGIN), MARGIN + column * (w * factor + MARGIN), out);
}

sumi_status sumi_image_table(const uint8_t *pixels, int rows, int columns, int h, int w, int c,
                             sumi_image *out, sumi_error *err)
{
    const int shape[3] = {h, w, c};
    int factor = 1;
    sumi_status status = make_table("table", rows, columns, shape, &factor, out, err);
    for (int i = 0; status == SUMI_OK && i < rows * columns; i++)
        put(pixels, i, shape, factor, i / columns, i % columns, out);
    return status;
}

sumi_status sumi_image_rows(const uint8_t *pixels, int n, const sumi_kind_rows *rows, int h, int w,
                            int c, sumi_image *out, sumi_error *err)
{
    const int shape[3] = {h, w, c};
    int factor = 1, kinds = rows->kinds;
    if (n < 1 || n > PIXELS_MAX || kinds < 1 || rows->first < 0 || rows->first >= kinds)
        return sumi_fail(err, SUMI_EINVAL, "%d pictures in %d rows", n, kinds);
    sumi_status status =
        make_table("table", kinds, (rows->first + n + kinds - 1) / kinds, shape, &factor, out, err);
    for (int i = 0; status == SUMI_OK && i < n; i++)
        put(pixels, i, shape, factor, (rows->first + i) % kinds, (rows->first + i) / kinds, out);
    return status;
}

sumi_status sumi_image_grid(const uint8_t *pixels, int n, int h, int w, int c, sumi_image *out,
                            sumi_error *err)
{
    const int shape[3] = {h, w, c};
    sumi_grid_layout grid;
    int factor = 1;
    sumi_status status = sumi_image_grid_size(n, h, w, &grid, err);
    if (status == SUMI_OK)
        status = make_table("grid", (n + grid.columns - 1) / grid.columns, grid.columns, shape,
                            &factor, out, err);
    for (int i = 0; status == SUMI_OK && i < n; i++)
        put(pixels, i, shape, factor, i / grid.columns, i % grid.columns, out);
    return status;
}

void sumi_range_to_bytes(const float *values, size_t count, float low, float high, uint8_t *out)
{
    for (size_t i = 0; i < count; i++) {
        float value = (values[i] - low) / (high - low);
        out[i] = value >= 1 ? 255 : value > 0 ? (uint8_t)(value * 255) : 0;
    }
}
