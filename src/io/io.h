/*
 * io: the files that sumi reads and writes. Untrusted bytes stop here.
 *
 * Does: safetensors, PyTorch's .pth (stored ZIP entries, a restricted unpickler), .npy, PNG and
 * JPEG pictures, SVG line plots, JSON in a checked form. Each parser caps every count, multiplies
 * sizes with overflow checks and returns one line that names file, tensor and numbers.
 * Does not: know what a network is, or which tensors it wants (models and train decide).
 */
#ifndef SUMI_IO_H
#define SUMI_IO_H

#include <jansson.h>

#include "base/base.h"

/* ---- Named tensors in memory: what safetensors and .pth hold --------------------------------- */

enum { SUMI_TENSOR_RANK_MAX = 8 };

typedef enum {
    SUMI_FILE_F32,
    SUMI_FILE_F64,
    SUMI_FILE_F16,
    SUMI_FILE_BF16,
    SUMI_FILE_I64,
    SUMI_FILE_I32,
    SUMI_FILE_U8,
    SUMI_FILE_BOOL,
} sumi_file_dtype;

size_t sumi_dtype_size(sumi_file_dtype dtype);
const char *sumi_dtype_name(sumi_file_dtype dtype); /* safetensors' names: "F32", ... */

typedef struct {
    char *name;
    sumi_file_dtype dtype;
    int rank;
    int64_t shape[SUMI_TENSOR_RANK_MAX];
    const void *data; /* contiguous, row-major, little-endian; borrowed by a writer, and inside
                         the file's own buffer after a read: may be unaligned */
    size_t bytes;
    size_t outer; /* .pth: how much of the name tells the dicts around the tensor's: "model." */
} sumi_file_tensor;

typedef struct {
    char *key, *value;
} sumi_file_pair;

/* A parsed tensor file. After a read it owns everything; for a write the caller fills it and owns
 * what it points to. */
typedef struct {
    sumi_file_tensor *tensors;
    size_t count;
    sumi_file_pair *metadata; /* .pth: only where sumi wrote it */
    size_t metadata_count;
    void *buffer; /* what the tensors point into; NULL when filled by hand */
    void *copies; /* .pth: views that were not contiguous, made so; else NULL */
} sumi_tensor_file;

void sumi_tensor_file_free(sumi_tensor_file *file); /* after a read only */
const sumi_file_tensor *sumi_tensor_file_find(const sumi_tensor_file *file, const char *name);
const char *sumi_tensor_file_meta(const sumi_tensor_file *file, const char *key); /* or NULL */
/* Copies element values as float32 (F32, F64, F16, BF16 only) or int64 (I64, I32 only); false for
 * other types. */
bool sumi_file_tensor_to_f32(const sumi_file_tensor *tensor, float *out);
bool sumi_file_tensor_to_i64(const sumi_file_tensor *tensor, int64_t *out);

/* "safetensors", "pth", "npy", "png", "jpeg", "gzip", "idx", "json", or what else it plainly is:
 * "an HTML page", "a git-lfs pointer", "an empty file", "unknown". By content. */
const char *sumi_sniff(const uint8_t *data, size_t size);

/* ---- safetensors (safetensors.c) ------------------------------------------------------------- */
/* github.com/huggingface/safetensors, format: u64 header size, JSON header, data. Checked: header
 * of at most 100 MB, duplicate names, dtype and shape against offsets, no hole, no overlap, no
 * rest. */
sumi_status sumi_safetensors_parse(const char *path, uint8_t *data, size_t size,
                                   sumi_tensor_file *out, sumi_error *err);
/* Takes ownership of data (malloc'ed) on success only. path is for messages. */
sumi_status sumi_safetensors_read(const char *path, sumi_tensor_file *out, sumi_error *err);
/* Tensors sorted as given; atomic. */
sumi_status sumi_safetensors_write(const char *path, const sumi_tensor_file *file, sumi_error *err);

/* ---- .pth (zip.c, pickle.c, pth.c) ----------------------------------------------------------- */
/* torch.save's ZIP64 archive of stored entries: <root>/data.pkl, <root>/data/0 ... A dict (or
 * OrderedDict) of name -> tensor or parameter is read, and dicts of them within dicts, whose
 * tensors are named "model.NAME"; any other object is refused by name. Written
 * files load with torch.load(weights_only=True). A state_dict has no place for metadata: they are
 * <root>/extra/sumi.json, a JSON object of strings, which PyTorch passes over. */
sumi_status sumi_pth_parse(const char *path, uint8_t *data, size_t size, sumi_tensor_file *out,
                           sumi_error *err);
sumi_status sumi_pth_write(const char *path, const sumi_tensor_file *file, sumi_error *err);

/* By content: safetensors or .pth. */
sumi_status sumi_tensor_file_read(const char *path, sumi_tensor_file *out, sumi_error *err);

/* ---- .npy (npy.c), NumPy format 1.0 to 3.0, C order, little-endian --------------------------- */

typedef enum { SUMI_NPY_F32, SUMI_NPY_F64, SUMI_NPY_U8, SUMI_NPY_I32, SUMI_NPY_I64 } sumi_npy_dtype;

typedef struct {
    sumi_npy_dtype dtype;
    int rank;
    int64_t shape[SUMI_TENSOR_RANK_MAX];
    size_t count; /* elements */
    void *data;   /* owned, aligned */
} sumi_npy;

sumi_status sumi_npy_parse(const char *path, const uint8_t *data, size_t size, sumi_npy *out,
                           sumi_error *err);
/* The same without the numbers, which begin at offset: out->data stays NULL. */
sumi_status sumi_npy_parse_header(const char *path, const uint8_t *data, size_t size, sumi_npy *out,
                                  size_t *offset, sumi_error *err);
sumi_status sumi_npy_read(const char *path, sumi_npy *out, sumi_error *err);
sumi_status sumi_npy_write(const char *path, const sumi_npy *array, sumi_error *err);
void sumi_npy_free(sumi_npy *array);
/* A .npz of one array (npz.c), stored, that numpy.load reads under that name: "arr_0". */
sumi_status sumi_npz_write(const char *path, const char *name, const sumi_npy *array,
                           sumi_error *err);
/* An array that is written from its first row on (npy_stream.c). Whenever the process ends,
 * PATH.part is a .npy of the rows that were added; after end it is PATH, with as many rows. type:
 * dtype, rank and shape of the whole array, shape[0] being the most rows. path must stay. */
typedef struct sumi_npy_stream sumi_npy_stream;
sumi_status sumi_npy_begin(const char *path, const sumi_npy *type, sumi_npy_stream **out,
                           sumi_error *err);
sumi_status sumi_npy_add(sumi_npy_stream *stream, const void *data, int64_t rows, sumi_error *err);
sumi_status sumi_npy_end(sumi_npy_stream *stream, sumi_error *err); /* frees it in every case */
/* Leaves PATH.part with the rows that were added, or nothing where there are none. NULL is fine. */
void sumi_npy_stop(sumi_npy_stream *stream);

/* ---- Pictures (image.c: PNG by libpng; jpeg.c: JPEG by libjpeg) ------------------------------ */

typedef struct {
    int height, width,
        channels;    /* 1 or 3; alpha is laid over white, palettes and 16 bits reduced */
    uint8_t *pixels; /* [h][w][c], owned */
} sumi_image;

/* By content; at most 64 Mpixel. Turned as Exif's orientation says. */
sumi_status sumi_image_parse(const char *path, const uint8_t *data, size_t size, sumi_image *out,
                             sumi_error *err);
sumi_status sumi_image_read(const char *path, sumi_image *out, sumi_error *err);
/* The same with what is transparent over a grey, 0 to 255, in place of white. */
sumi_status sumi_image_read_over(const char *path, uint8_t background, sumi_image *out,
                                 sumi_error *err);
/* PNG; text (may be NULL, may have any bytes) becomes a chunk "Comment", tEXt or iTXt, so that a
 * picture says how it was made. */
sumi_status sumi_png_write(const char *path, const sumi_image *image, const char *text,
                           sumi_error *err);
/* The same with a second text, ASCII, of what the picture was made from, and that text of a PNG,
 * malloc'ed; SUMI_EFORMAT where it has none. */
sumi_status sumi_png_write_with(const char *path, const sumi_image *image, const char *text,
                                const char *parameters, sumi_error *err);
sumi_status sumi_png_parameters(const char *path, char **parameters, sumi_error *err);
void sumi_image_free(sumi_image *image);
/* Bytes as the tutorial's convert_to_image makes them: clamped to the range, times 255, cut off;
 * NaN gives 0. */
void sumi_range_to_bytes(const float *values, size_t count, float low, float high, uint8_t *out);
/* What is shown of c channels: the first three as red, green and blue, of two the first as grey. */
static inline int sumi_shown_channels(int c)
{
    return c < 3 ? 1 : 3;
}
/* Lays n pictures [n][h][w][c] (bytes), as much as is shown of them, on a near-square grid with a
 * margin of 2 background pixels; small pictures are enlarged by a whole factor (nearest) so that
 * 28x28 is comfortable to look at.
 */
sumi_status sumi_image_grid(const uint8_t *pixels, int n, int h, int w, int c, sumi_image *out,
                            sumi_error *err);

/* The same in rows and columns of the caller's choice; pixels row by row. */
sumi_status sumi_image_table(const uint8_t *pixels, int rows, int columns, int h, int w, int c,
                             sumi_image *out, sumi_error *err);

/* A row for each of `kinds`, where picture i is of kind (first + i) % kinds: the rows are filled
 * from left to right, and a place without a picture is background. */
typedef struct {
    int kinds, first; /* first is below kinds */
} sumi_kind_rows;
sumi_status sumi_image_rows(const uint8_t *pixels, int n, const sumi_kind_rows *rows, int h, int w,
                            int c, sumi_image *out, sumi_error *err);

typedef struct {
    int height, width; /* of the whole */
    int factor;        /* by which each picture is enlarged */
    int columns;
} sumi_grid_layout;

/* How large that grid would be; SUMI_EINVAL where it has more pixels than a picture may have. */
sumi_status sumi_image_grid_size(int n, int h, int w, sumi_grid_layout *out, sumi_error *err);

/* ---- Moving pictures (gif.c, apng.c) --------------------------------------------------------- */

/* Repeated for ever. */
typedef struct {
    int height, width, channels;  /* 1 or 3 */
    int count;                    /* of frames, at most 10,000 */
    const uint8_t *const *frames; /* each [h][w][c] */
    int frame_ms, last_ms;        /* how long a frame is shown, and the last one */
} sumi_animation;

/* GIF reduces colours to 256 in all, greys are exact; text becomes its comment, or NULL. */
sumi_status sumi_gif_write(const char *path, const sumi_animation *animation, const char *text,
                           sumi_error *err);
/* Exact; text as sumi_png_write. */
sumi_status sumi_apng_write(const char *path, const sumi_animation *animation, const char *text,
                            sumi_error *err);

/* ---- SVG line plot (svg.c) ------------------------------------------------------------------- */

typedef struct {
    const char *label; /* NULL: no legend entry */
    const double *x, *y;
    size_t count;
} sumi_plot_series;

typedef struct {
    const char *title, *x_label, *y_label;
    const sumi_plot_series *series;
    size_t series_count;
    bool log_y;
    size_t thin_count; /* the first of the series: drawn thin and pale, behind the others */
} sumi_plot;

/* A self-contained, readable SVG of 720 x 440 with axes, ticks, grid and legend; text is escaped.
 * Non-finite points break the line. *svg is malloc'ed, NUL-terminated. */
sumi_status sumi_plot_svg(const sumi_plot *plot, char **svg, size_t *size, sumi_error *err);

/* ---- JSON (json.c, by jansson) --------------------------------------------------------------- */

/* Duplicate keys refused, at most 16 MB; the message has path, line and reason. *out is released
 * by json_decref. */
sumi_status sumi_json_parse(const char *path, const uint8_t *data, size_t size, json_t **out,
                            sumi_error *err);
sumi_status sumi_json_read(const char *path, json_t **out, sumi_error *err);
/* Compares an object of objects with rank 0's; all ranks call it. SUMI_EINVAL names the first key
 * whose values differ, with both. status other than SUMI_OK: this rank has none, for that reason,
 * which all then get (agree.c). */
sumi_status sumi_json_agree(const sumi_ranks *ranks, sumi_status status, const json_t *mine,
                            sumi_error *err);
/* json_loadb in the C locale. */
json_t *sumi_json_load(const void *data, size_t size, size_t flags, json_error_t *reason);
/* A text of any bytes, such as a file's name, as sumi_escape_text writes it; NULL where memory is
 * out. Who reads it back uses sumi_unescape_text. */
json_t *sumi_json_name(const char *text);
/* A text that is UTF-8 stays as it is; another is written as a name is. For what nobody turns back.
 */
json_t *sumi_json_any(const char *text);
/* Atomic, indented by two spaces, keys in insertion order, numbers as short as they can be, a final
 * line break. */
sumi_status sumi_json_write(const char *path, const json_t *json, sumi_error *err);
/* As one line, numbers with as many digits as a float needs; malloc'ed. NULL: out of memory. */
char *sumi_json_compact(const json_t *json);
/* Typed, range-checked members; SUMI_EFORMAT names path, key, expected and found. */
sumi_status sumi_json_int(const char *path, const json_t *object, const char *key, int64_t low,
                          int64_t high, int64_t *out, sumi_error *err);
sumi_status sumi_json_real(const char *path, const json_t *object, const char *key, double low,
                           double high, double *out, sumi_error *err);
sumi_status sumi_json_string(const char *path, const json_t *object, const char *key,
                             const char **out, sumi_error *err);

/* ---- TOML (toml.c) --------------------------------------------------------------------------- */

enum { SUMI_TOML_BYTES_MAX = 1 << 20 };

/* Lines `key = value` of strings, numbers, true, false and arrays of these, as a JSON object that
 * is released by json_decref. SUMI_EFORMAT names path, line and reason; tables, dates and strings
 * over several lines are refused by name. */
sumi_status sumi_toml_parse(const char *path, const uint8_t *data, size_t size, json_t **out,
                            sumi_error *err);

/* ---- TensorBoard's event files (events.c) ---------------------------------------------------- */

typedef struct {
    const char *tag;
    double value;
} sumi_event_scalar;

/* Add whole records to out; time is in seconds since 1970. A file's first tells its version; a step
 * has at most 8 scalars with tags of at most 60 bytes; png is a whole PNG file. */
void sumi_event_version(sumi_text *out, double time);
void sumi_event_scalars(sumi_text *out, double time, int64_t step, const sumi_event_scalar *scalars,
                        int count);
void sumi_event_png(sumi_text *out, double time, int64_t step, const char *tag, const uint8_t *png,
                    size_t size);
/* How many leading bytes of a file hold whole events of steps up to `last`; *image: one of that
 * step has a picture. -1, with errno, where the file cannot be read or memory is out. */
int64_t sumi_events_scan(FILE *file, int64_t last, bool *image);

#endif
