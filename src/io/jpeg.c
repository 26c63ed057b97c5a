/*
 * JPEG by libjpeg: baseline, extended and progressive, Huffman and arithmetic coding, any sampling
 * factors, grey, YCbCr, RGB, CMYK and YCCK.
 *
 * Damage that other decoders pass over (stray bytes before a marker, restart markers out of order,
 * a code that is none) is passed over here too. A picture whose data end before it does is refused,
 * however its file ends: libjpeg would make the rest of it grey.
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
/* jpeglib.h needs stdio.h. */
#include <jerror.h>
#include <jpeglib.h>

#include "io/internal.h"

/* What a picture of SUMI_PIXELS_MAX needs as coefficients, of which progressive ones keep all:
 * 2 bytes each, 4 components; and as much again. */
#define MEMORY_MAX ((long)1 << 30)

enum { PIXELS_PER_BYTE_MAX = 2048, SCANS_MAX = 500 };

/* libjpeg reports errors by a function that must not return. What outlives the jump is in here. */
typedef struct {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    bool decoding; /* the header is read */
    bool ended;    /* there are no more bytes */
    sumi_image image;
    uint8_t *row; /* of ink */
    int orientation;
    const char *path;
    size_t size;
    sumi_status status;
    sumi_error *err;
} decoder;

/* ---- Errors and warnings --------------------------------------------------------------------- */

static _Noreturn void stop(decoder *d, sumi_status status, const char *reason)
{
    d->status = sumi_fail(d->err, status, "%s: JPEG: %s", d->path, reason);
    longjmp(d->jump, 1);
}

/* Pictures that the standard allows and libjpeg, or this build of it, does not read. */
static bool is_beyond(const struct jpeg_decompress_struct *jpeg)
{
    switch (jpeg->err->msg_code) {
    case JERR_SOF_UNSUPPORTED:
    case JERR_ARITH_NOTIMPL:
    case JERR_NOT_COMPILED:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_CCIR601_NOTIMPL:
    case JERR_IMAGE_TOO_BIG:
    case JERR_COMPONENT_COUNT:
    case JERR_NO_BACKING_STORE:
    case JERR_WIDTH_OVERFLOW:
        return true;
    default:
        return false;
    }
}

static void on_error(j_common_ptr common)
{
    decoder *d = common->client_data;
    char reason[JMSG_LENGTH_MAX];
    int code = common->err->msg_code;
    if (code == JERR_OUT_OF_MEMORY) {
        d->status = sumi_fail_memory(d->err, d->path, d->size);
        longjmp(d->jump, 1);
    }
    if (code == JERR_BAD_PRECISION && d->jpeg.data_precision == 12)
        stop(d, SUMI_EUNSUPPORTED, "12 bits a sample; 8 are supported");
    if (code == JERR_EMPTY_IMAGE && d->jpeg.image_width > 0 && d->jpeg.num_components > 0)
        stop(d, SUMI_EUNSUPPORTED, "its height is told at its end only");
    common->err->format_message(common, reason);
    stop(d, is_beyond(&d->jpeg) ? SUMI_EUNSUPPORTED : SUMI_EFORMAT, reason);
}

/* libjpeg goes on with zeros where a scan has too few bits. That spoils a part of the picture where
 * a restart or another scan follows, and all of the rest of it at the end. */
static void on_message(j_common_ptr common, int level)
{
    decoder *d = common->client_data;
    if (level < 0 && common->err->msg_code == JWRN_HIT_MARKER && d->jpeg.unread_marker == JPEG_EOI)
        stop(d, SUMI_EFORMAT, "its data end before the picture does");
}

static void on_progress(j_common_ptr common)
{
    decoder *d = common->client_data;
    if (d->jpeg.input_scan_number > SCANS_MAX)
        stop(d, SUMI_EUNSUPPORTED, "more than 500 scans");
}

/* ---- The bytes ------------------------------------------------------------------------------- */

static void ignore(j_decompress_ptr jpeg)
{
    (void)jpeg;
}

/* Past the end there is an end marker: many files have none. */
static boolean past_the_end(j_decompress_ptr jpeg)
{
    static const JOCTET end[] = {0xFF, JPEG_EOI};
    decoder *d = jpeg->client_data;
    if (!d->decoding)
        stop(d, SUMI_EFORMAT, "the file is cut off");
    d->ended = true;
    jpeg->src->next_input_byte = end;
    jpeg->src->bytes_in_buffer = sizeof end;
    return TRUE;
}

static void skip_bytes(j_decompress_ptr jpeg, long count)
{
    struct jpeg_source_mgr *source = jpeg->src;
    if (count <= 0)
        return;
    if ((size_t)count > source->bytes_in_buffer) {
        past_the_end(jpeg);
        return;
    }
    source->next_input_byte += count;
    source->bytes_in_buffer -= (size_t)count;
}

static void prepare(decoder *d, const uint8_t *data)
{
    d->jpeg.err = jpeg_std_error(&d->errors);
    d->errors.error_exit = on_error;
    d->errors.emit_message = on_message;
    d->jpeg.client_data = d;
    jpeg_create_decompress(&d->jpeg);
    d->jpeg.mem->max_memory_to_use = MEMORY_MAX;
    d->source = (struct jpeg_source_mgr){.next_input_byte = data,
                                         .bytes_in_buffer = d->size,
                                         .init_source = ignore,
                                         .fill_input_buffer = past_the_end,
                                         .skip_input_data = skip_bytes,
                                         .resync_to_restart = jpeg_resync_to_restart,
                                         .term_source = ignore};
    d->jpeg.src = &d->source;
    d->progress.progress_monitor = on_progress;
    d->jpeg.progress = &d->progress;
    jpeg_save_markers(&d->jpeg, JPEG_APP0 + 1, 0xFFFF); /* Exif */
}

/* ---- The picture ----------------------------------------------------------------------------- */

static void read_header(decoder *d)
{
    struct jpeg_decompress_struct *jpeg = &d->jpeg;
    jpeg_read_header(jpeg, TRUE);
    d->decoding = true;
    d->status = sumi_image_check_size(d->path, jpeg->image_height, jpeg->image_width, d->err);
    if (d->status != SUMI_OK)
        longjmp(d->jump, 1);
    /* Arithmetic codes can be shorter than a bit. */
    size_t pixels = (size_t)jpeg->image_height * jpeg->image_width;
    if (!jpeg->arith_code && pixels / PIXELS_PER_BYTE_MAX > d->size)
        stop(d, SUMI_EFORMAT, "too few bytes for a picture of its size");
    if (jpeg->num_components != 1 && jpeg->num_components != 3 && jpeg->num_components != 4)
        stop(d, SUMI_EUNSUPPORTED, "neither 1, 3 nor 4 components");
    jpeg->out_color_space = jpeg->num_components == 1   ? JCS_GRAYSCALE
                            : jpeg->num_components == 3 ? JCS_RGB
                                                        : JCS_CMYK;
    for (jpeg_saved_marker_ptr m = jpeg->marker_list; m && !d->orientation; m = m->next)
        if (m->data_length >= 6 && memcmp(m->data, "Exif\0\0", 6) == 0)
            d->orientation = sumi_exif_orientation(m->data, m->data_length);
}

/* Whether scans have told every bit of every coefficient. */
static bool is_whole(const struct jpeg_decompress_struct *jpeg)
{
    for (int i = 0; i < jpeg->num_components && jpeg->coef_bits; i++)
        for (int k = 0; k < DCTSIZE2; k++)
            if (jpeg->coef_bits[i][k] != 0)
                return false;
    return jpeg->coef_bits != NULL;
}

/* Ink to light, to Pillow's bits. Whoever writes CMYK into a JPEG writes it inverted, as Adobe
 * began to: 255 is no ink. */
static void mix_ink(const uint8_t *ink, int width, uint8_t *out)
{
    for (int x = 0; x < width; x++, ink += 4)
        for (int c = 0; c < 3; c++) {
            int product = (255 - ink[c]) * ink[3] + 128;
            *out++ = (uint8_t)(ink[3] - ((product + (product >> 8)) >> 8));
        }
}

static void read_rows(decoder *d)
{
    struct jpeg_decompress_struct *jpeg = &d->jpeg;
    sumi_image *image = &d->image;
    bool ink = jpeg->out_color_space == JCS_CMYK;
    *image = (sumi_image){(int)jpeg->output_height, (int)jpeg->output_width,
                          jpeg->num_components == 1 ? 1 : 3, NULL};
    size_t row = (size_t)image->width * (size_t)image->channels;
    image->pixels = malloc(row * (size_t)image->height);
    d->row = ink ? malloc((size_t)image->width * 4) : NULL;
    if (!image->pixels || (ink && !d->row)) {
        d->status = sumi_fail_memory(d->err, d->path, row * (size_t)image->height);
        longjmp(d->jump, 1);
    }
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *out = image->pixels + row * jpeg->output_scanline;
        JSAMPROW rows[] = {ink ? d->row : out};
        jpeg_read_scanlines(jpeg, rows, 1);
        if (ink)
            mix_ink(d->row, image->width, out);
    }
}

/* Everything that may longjmp; values that outlive the jump are in d. */
static sumi_status decode(decoder *d, const uint8_t *data)
{
    if (setjmp(d->jump))
        return d->status;
    prepare(d, data);
    read_header(d);
    jpeg_start_decompress(&d->jpeg);
    bool scans = jpeg_has_multiple_scans(&d->jpeg);
    if (scans && d->ended && !is_whole(&d->jpeg))
        stop(d, SUMI_EFORMAT, "its data end before the picture does");
    read_rows(d);
    /* Arithmetic decoders make up bits past the end in silence. */
    if (d->jpeg.arith_code && d->ended)
        stop(d, SUMI_EFORMAT, "its data end before the picture does");
    return SUMI_OK;
}

sumi_status sumi_jpeg_parse(const char *path, const uint8_t *data, size_t size, sumi_image *out,
                            int *orientation, sumi_error *err)
{
    decoder *d = sumi_calloc(1, sizeof *d);
    if (!d)
        return sumi_fail_memory(err, path, sizeof *d);
    d->path = path;
    d->size = size;
    d->err = err;
    sumi_status status = decode(d, data);
    jpeg_destroy_decompress(&d->jpeg);
    free(d->row);
    if (status == SUMI_OK) {
        *out = d->image;
        *orientation = d->orientation;
    } else {
        sumi_image_free(&d->image);
    }
    free(d);
    return status;
}
