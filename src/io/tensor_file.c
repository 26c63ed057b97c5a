/*
 * Named tensors in memory: types, conversions, look-up, and telling files apart by content.
 *
 * Half floats are IEEE 754 binary16; bfloat16 is the upper half of a float32.
 */
#include <math.h>
#include <stdlib.h>

#include "io/internal.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "tensor files are little-endian and are used in place");

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [SUMI_FILE_F32] = {"F32", 4},   [SUMI_FILE_F64] = {"F64", 8},   [SUMI_FILE_F16] = {"F16", 2},
    [SUMI_FILE_BF16] = {"BF16", 2}, [SUMI_FILE_I64] = {"I64", 8},   [SUMI_FILE_I32] = {"I32", 4},
    [SUMI_FILE_U8] = {"U8", 1},     [SUMI_FILE_BOOL] = {"BOOL", 1},
};

enum { DTYPE_COUNT = sizeof dtypes / sizeof dtypes[0] };

size_t sumi_dtype_size(sumi_file_dtype dtype)
{
    return (unsigned)dtype < DTYPE_COUNT ? dtypes[dtype].size : 0;
}

const char *sumi_dtype_name(sumi_file_dtype dtype)
{
    return (unsigned)dtype < DTYPE_COUNT ? dtypes[dtype].name : "unknown";
}

void sumi_tensor_file_free(sumi_tensor_file *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->count; i++)
        free(file->tensors[i].name);
    for (size_t i = 0; i < file->metadata_count; i++) {
        free(file->metadata[i].key);
        free(file->metadata[i].value);
    }
    free(file->tensors);
    free(file->metadata);
    free(file->buffer);
    free(file->copies);
    *file = (sumi_tensor_file){0};
}

const sumi_file_tensor *sumi_tensor_file_find(const sumi_tensor_file *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

const char *sumi_tensor_file_meta(const sumi_tensor_file *file, const char *key)
{
    for (size_t i = 0; i < file->metadata_count; i++)
        if (strcmp(file->metadata[i].key, key) == 0)
            return file->metadata[i].value;
    return NULL;
}

sumi_status sumi_metadata_parse(const char *path, const char *where, const json_t *object,
                                sumi_tensor_file *out, sumi_error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return sumi_fail(err, SUMI_EFORMAT, "%s: %s is not an object", path, where);
    size_t count = json_object_size(object);
    out->metadata = sumi_calloc(count ? count : 1, sizeof *out->metadata);
    if (!out->metadata)
        return sumi_fail_memory(err, "metadata", count * sizeof *out->metadata);
    json_object_foreach((json_t *)object, key, value)
    {
        if (!json_is_string(value))
            return sumi_fail(err, SUMI_EFORMAT, "%s: %s \"%s\" is not a string", path, where, key);
        sumi_file_pair *pair = &out->metadata[out->metadata_count++];
        pair->key = sumi_strdup(key);
        pair->value = sumi_strdup(json_string_value(value));
        if (!pair->key || !pair->value)
            return sumi_fail_memory(err, "metadata", strlen(key));
    }
    return SUMI_OK;
}

sumi_status sumi_metadata_add(const char *path, const sumi_tensor_file *file, json_t *object,
                              sumi_error *err)
{
    for (size_t i = 0; i < file->metadata_count; i++) {
        const char *key = file->metadata[i].key, *value = file->metadata[i].value;
        if (!sumi_utf8_valid(key, strlen(key)))
            return sumi_fail(err, SUMI_EINVAL, "%s: metadata \"%s\" is not UTF-8", path, key);
        if (json_object_get(object, key))
            return sumi_fail(err, SUMI_EINVAL, "%s: metadata \"%s\" occurs twice", path, key);
        if (json_object_set_new(object, key, sumi_json_any(value)) != 0)
            return sumi_fail_memory(err, path, strlen(value));
    }
    return SUMI_OK;
}

bool sumi_tensor_count(const sumi_file_tensor *tensor, size_t *count, size_t *bytes)
{
    return sumi_size_product(tensor->shape, tensor->rank, count) &&
           sumi_size_mul(*count, sumi_dtype_size(tensor->dtype), bytes);
}

static float from_half(uint16_t half)
{
    float sign = half & 0x8000 ? -1.0f : 1.0f;
    int exponent = half >> 10 & 31, fraction = half & 1023;
    if (exponent == 31)
        return fraction ? NAN : sign * INFINITY;
    if (exponent == 0)
        return sign * ldexpf((float)fraction, -24);
    return sign * ldexpf((float)(fraction + 1024), exponent - 25);
}

bool sumi_file_tensor_to_f32(const sumi_file_tensor *tensor, float *out)
{
    const uint8_t *data = tensor->data;
    size_t size = sumi_dtype_size(tensor->dtype);
    size_t count = size ? tensor->bytes / size : 0;
    switch (tensor->dtype) {
    case SUMI_FILE_F32:
        if (count)
            memcpy(out, data, count * 4);
        return true;
    case SUMI_FILE_F64:
        for (size_t i = 0; i < count; i++) {
            double value;
            memcpy(&value, data + 8 * i, 8);
            out[i] = (float)value;
        }
        return true;
    case SUMI_FILE_F16:
        for (size_t i = 0; i < count; i++)
            out[i] = from_half(sumi_get16(data + 2 * i));
        return true;
    case SUMI_FILE_BF16:
        for (size_t i = 0; i < count; i++) {
            uint32_t bits = (uint32_t)sumi_get16(data + 2 * i) << 16;
            memcpy(&out[i], &bits, 4);
        }
        return true;
    default:
        return false;
    }
}

bool sumi_file_tensor_to_i64(const sumi_file_tensor *tensor, int64_t *out)
{
    const uint8_t *data = tensor->data;
    switch (tensor->dtype) {
    case SUMI_FILE_I64:
        if (tensor->bytes)
            memcpy(out, data, tensor->bytes);
        return true;
    case SUMI_FILE_I32:
        for (size_t i = 0; i < tensor->bytes / 4; i++) {
            int32_t value;
            memcpy(&value, data + 4 * i, 4);
            out[i] = value;
        }
        return true;
    default:
        return false;
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *sumi_tensors_duplicate(const sumi_file_tensor *tensors, size_t count, bool *memory_out)
{
    const char *found = NULL;
    const char **names = sumi_calloc(count ? count : 1, sizeof *names);
    *memory_out = !names;
    if (!names)
        return NULL;
    for (size_t i = 0; i < count; i++)
        names[i] = tensors[i].name;
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 1; i < count && !found; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            found = names[i];
    free(names);
    return found;
}

sumi_status sumi_tensors_check(const char *path, const sumi_file_tensor *tensors, size_t count,
                               sumi_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const sumi_file_tensor *t = &tensors[i];
        size_t elements, bytes;
        if (!t->name || !sumi_utf8_valid(t->name, strlen(t->name)))
            return sumi_fail(err, SUMI_EINVAL, "%s: the name of tensor %zu is not UTF-8", path, i);
        if (!sumi_dtype_size(t->dtype) || t->rank < 0 || t->rank > SUMI_TENSOR_RANK_MAX)
            return sumi_fail(err, SUMI_EINVAL, "%s: tensor \"%s\": dtype %d, rank %d", path,
                             t->name, (int)t->dtype, t->rank);
        if (!sumi_tensor_count(t, &elements, &bytes) || bytes != t->bytes || (bytes && !t->data))
            return sumi_fail(err, SUMI_EINVAL,
                             "%s: tensor \"%s\": %zu bytes do not fit its shape and type", path,
                             t->name, t->bytes);
    }
    bool memory_out;
    const char *twice = sumi_tensors_duplicate(tensors, count, &memory_out);
    if (memory_out)
        return sumi_fail_memory(err, "tensor names", count * sizeof(char *));
    if (twice)
        return sumi_fail(err, SUMI_EINVAL, "%s: two tensors have the name \"%s\"", path, twice);
    return SUMI_OK;
}

static bool name_ends(const uint8_t *name, size_t size, const char *ending)
{
    size_t length = strlen(ending);
    for (size_t i = 0; i < length; i++)
        if (size < length || (name[size - length + i] | 0x20) != ending[i])
            return false;
    return true;
}

/* What a ZIP archive is for, by the names of its first entries; NULL where they do not tell. */
static const char *sniff_zip(const uint8_t *data, size_t size)
{
    static const struct {
        const char *ending, *name;
    } kinds[] = {
        {"data.pkl", "pth"},
        {".npy", "an .npz archive of NumPy arrays"},
        {".png", "a ZIP archive of pictures"},
        {".jpg", "a ZIP archive of pictures"},
        {".jpeg", "a ZIP archive of pictures"},
        {".webp", "a ZIP archive of pictures"},
        {".gif", "a ZIP archive of pictures"},
        {".bmp", "a ZIP archive of pictures"},
        {".tif", "a ZIP archive of pictures"},
        {"archive_format", "a program of torch.export"},
        {".gz", "a ZIP archive"},
        {".txt", "a ZIP archive"},
        {".csv", "a ZIP archive"},
        {".xml", "a ZIP archive"},
        {".pth", "a ZIP archive"},
        {".safetensors", "a ZIP archive"},
    };
    enum { HEAD = 30 };
    for (size_t at = 0; size - at >= HEAD && memcmp(data + at, "PK\3\4", 4) == 0;) {
        const uint8_t *head = data + at;
        size_t name = sumi_get16(head + 26), packed = sumi_get32(head + 18);
        if (name > size - at - HEAD)
            break;
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            if (name_ends(head + HEAD, name, kinds[i].ending))
                return kinds[i].name;
        /* A folder, for instance. Sizes that are told later only end the search. */
        size_t next = HEAD + name + sumi_get16(head + 28) + packed;
        if (head[6] & 8 || packed == 0xFFFFFFFF || next > size - at)
            break;
        at += next;
    }
    return NULL;
}

/* What the first bytes of a file give away. */
static const struct {
    size_t at, size;
    const char *bytes, *name;
} signatures[] = {
    {0, 4, "PK\3\4", "pth"},
    {0, 4, "PK\5\6", "an empty ZIP archive"},
    {0, 6, "\x93NUMPY", "npy"},
    {0, 8, "\x89PNG\r\n\x1a\n", "png"},
    {0, 3, "\xff\xd8\xff", "jpeg"},
    {0, 2, "\x1f\x8b", "gzip"},
    {0, 14, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19",
     "a PyTorch file in the format before 1.6"},
    {257, 5, "ustar", "a tar archive"},
    {0, 4, "GGUF", "a GGUF model"},
    {0, 8, "\x89HDF\r\n\x1a\n", "an HDF5 file"},
    {0, 4, "GIF8", "a GIF picture"},
    {0, 2, "BM", "a BMP picture"},
    {8, 4, "WEBP", "a WebP picture"},
    {0, 4, "%PDF", "a PDF document"},
    {0, 6, "BZh91A", "a bzip2 archive"},
    {0, 6,
     "\xfd"
     "7zXZ\0",
     "an xz archive"},
    {0, 4, "\x28\xb5\x2f\xfd", "a zstd archive"},
    {0, 6, "7z\xbc\xaf\x27\x1c", "a 7z archive"},
    {0, 4,
     "\x7f"
     "ELF",
     "a program"},
    {0, 42, "version https://git-lfs.github.com/spec/v1", "a git-lfs pointer"},
};

/* Whether text, white space skipped, begins with an HTML or XML mark. */
static const char *sniff_text(const uint8_t *data, size_t size)
{
    static const struct {
        const char *start, *name;
    } marks[] = {
        {"<!doctype html", "an HTML page"},
        {"<html", "an HTML page"},
        {"<head", "an HTML page"},
        {"<!--", "an HTML page"},
        {"<?xml", "an XML document"},
        {"<svg", "an SVG picture"},
        {"<error", "an XML document"},
        {"{", "json"},
        {"[", "json"},
    };
    size_t at = size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < size && at < 4096 && strchr(" \t\r\n", data[at]) && data[at])
        at++;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        size_t length = strlen(marks[i].start), k = 0;
        while (k < length && at + k < size &&
               (data[at + k] | (marks[i].start[k] >= 'a' ? 0x20 : 0)) == marks[i].start[k])
            k++;
        if (k == length)
            return marks[i].name;
    }
    return NULL;
}

const char *sumi_sniff(const uint8_t *data, size_t size)
{
    if (size == 0)
        return "an empty file";
    const char *zip = size >= 4 && memcmp(data, "PK\3\4", 4) == 0 ? sniff_zip(data, size) : NULL;
    if (zip)
        return zip;
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++)
        if (size >= signatures[i].at + signatures[i].size &&
            memcmp(data + signatures[i].at, signatures[i].bytes, signatures[i].size) == 0)
            return signatures[i].name;
    /* Before text: a header size of 60 or 91 reads as '<' or '[', but zeros follow. */
    if (size > 8 && data[8] == '{' && sumi_get64(data) <= 100000000)
        return "safetensors";
    const char *text = sniff_text(data, size);
    if (text)
        return text;
    /* Protocols 2 to 5; their next operation says that a frame, a dict, a name or a string follows.
     */
    if (size >= 3 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5 && data[2] &&
        strchr("\x95}]()cX\x8c\x8aKN", data[2]))
        return "a Python pickle";
    if (size >= 8 && data[0] == 8 && data[1] < 32 && data[2] == 0x12 && data[3] <= size - 4 &&
        memchr("pto", data[4], 3))
        return "an ONNX model";
    if (size >= 4 && data[0] == 0 && data[1] == 0 && data[2] >= 8 && data[2] <= 14 &&
        data[3] >= 1 && data[3] <= 4)
        return "idx";
    return "unknown";
}

sumi_status sumi_expect_content(const char *path, const uint8_t *data, size_t size,
                                const char *wanted, sumi_error *err)
{
    static const struct {
        const char *kind, *words;
    } names[] = {
        {"pth", "a ZIP archive (.pth)"}, {"safetensors", "a safetensors file"},
        {"npy", "an .npy file"},         {"png", "a PNG picture"},
        {"jpeg", "a JPEG picture"},      {"gzip", "a gzip archive"},
        {"idx", "an IDX file"},          {"json", "a JSON file"},
    };
    const char *kind = sumi_sniff(data, size);
    if (strcmp(kind, "unknown") == 0)
        return SUMI_OK;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(kind, names[i].kind) == 0)
            kind = names[i].words;
    const char *advice = "";
    if (strcmp(kind, "an HTML page") == 0)
        advice = "; download the file itself, not the page that shows it";
    else if (strcmp(kind, "a git-lfs pointer") == 0)
        advice = "; run git lfs pull to fetch the file it stands for";
    else if (strcmp(kind, "a PyTorch file in the format before 1.6") == 0 ||
             strcmp(kind, "a tar archive") == 0)
        advice = "; load it in a newer PyTorch and save its state_dict again";
    else if (strcmp(kind, "a Python pickle") == 0)
        advice = "; load it in Python and save the model's state_dict with torch.save";
    else if (strcmp(kind, "an .npz archive of NumPy arrays") == 0)
        advice = "; save one array as .npy with numpy.save";
    else if (strcmp(kind, "a ZIP archive of pictures") == 0)
        advice = "; unpack it";
    return sumi_fail(err, SUMI_EFORMAT, "%s: not %s but %s%s", path, wanted, kind, advice);
}

sumi_status sumi_tensor_file_read(const char *path, sumi_tensor_file *out, sumi_error *err)
{
    uint8_t *data;
    size_t size;
    sumi_status status = sumi_file_read(path, SUMI_MODEL_BYTES_MAX, &data, &size, err);
    if (status != SUMI_OK)
        return status;
    const char *kind = sumi_sniff(data, size);
    if (strcmp(kind, "safetensors") == 0)
        status = sumi_safetensors_parse(path, data, size, out, err);
    else if (strcmp(kind, "pth") == 0)
        status = sumi_pth_parse(path, data, size, out, err);
    else {
        status = sumi_expect_content(path, data, size, "a model", err);
        if (status == SUMI_OK)
            status = sumi_fail(err, SUMI_EFORMAT,
                               "%s: not a model: neither safetensors nor a PyTorch .pth", path);
    }
    if (status != SUMI_OK)
        free(data);
    return status;
}
