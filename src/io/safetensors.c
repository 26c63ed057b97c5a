/*
 * safetensors (github.com/huggingface/safetensors, "Format"): u64 header size, a JSON header that
 * maps names to dtype, shape and data_offsets, then the data.
 *
 * All of the reference reader's checks are made, and two more: no name may occur twice, and an
 * entry may hold nothing but its three members.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/internal.h"

enum { HEADER_MAX = 100000000 };

/* The whole of a header check: where the file is, and how many data bytes follow the header. */
typedef struct {
    const char *path;
    size_t data_size;
    sumi_error *err;
} context;

static sumi_status parse_dtype(const context *c, const char *name, const json_t *value,
                               sumi_file_dtype *out)
{
    static const char *const others[] = {"I8",      "U16",     "I16",         "U32",        "U64",
                                         "F8_E4M3", "F8_E5M2", "F8_E8M0",     "F4",         "C64",
                                         "F6_E2M3", "F6_E3M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"};
    const char *dtype = json_string_value(value);
    if (!dtype)
        return sumi_fail(c->err, SUMI_EFORMAT, "%s: tensor \"%s\": dtype is not a string", c->path,
                         name);
    for (int i = SUMI_FILE_F32; i <= SUMI_FILE_BOOL; i++) {
        if (strcmp(dtype, sumi_dtype_name((sumi_file_dtype)i)) == 0) {
            *out = (sumi_file_dtype)i;
            return SUMI_OK;
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strcmp(dtype, others[i]) == 0)
            return sumi_fail(c->err, SUMI_EUNSUPPORTED,
                             "%s: tensor \"%s\": dtype %s is not supported", c->path, name, dtype);
    return sumi_fail(c->err, SUMI_EFORMAT, "%s: tensor \"%s\": unknown dtype \"%s\"", c->path, name,
                     dtype);
}

static sumi_status parse_shape(const context *c, const char *name, const json_t *value,
                               sumi_file_tensor *out)
{
    if (!json_is_array(value))
        return sumi_fail(c->err, SUMI_EFORMAT, "%s: tensor \"%s\": shape is not an array", c->path,
                         name);
    size_t rank = json_array_size(value);
    if (rank > SUMI_TENSOR_RANK_MAX)
        return sumi_fail(c->err, SUMI_EUNSUPPORTED,
                         "%s: tensor \"%s\": %zu dimensions, at most %d are supported", c->path,
                         name, rank, SUMI_TENSOR_RANK_MAX);
    out->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(value, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return sumi_fail(c->err, SUMI_EFORMAT,
                             "%s: tensor \"%s\": dimension %zu is not a whole number from 0",
                             c->path, name, i);
        out->shape[i] = json_integer_value(dim);
    }
    return SUMI_OK;
}

static sumi_status parse_offsets(const context *c, const char *name, const json_t *value,
                                 size_t offsets[2])
{
    if (!json_is_array(value) || json_array_size(value) != 2)
        return sumi_fail(c->err, SUMI_EFORMAT,
                         "%s: tensor \"%s\": data_offsets is not an array of two numbers", c->path,
                         name);
    for (size_t i = 0; i < 2; i++) {
        const json_t *offset = json_array_get(value, i);
        if (!json_is_integer(offset) || json_integer_value(offset) < 0)
            return sumi_fail(c->err, SUMI_EFORMAT,
                             "%s: tensor \"%s\": data_offsets is not an array of two numbers",
                             c->path, name);
        offsets[i] = (size_t)json_integer_value(offset);
    }
    if (offsets[0] > offsets[1] || offsets[1] > c->data_size)
        return sumi_fail(c->err, SUMI_EFORMAT,
                         "%s: tensor \"%s\": data_offsets %zu to %zu, but the file has %zu bytes "
                         "of data",
                         c->path, name, offsets[0], offsets[1], c->data_size);
    return SUMI_OK;
}

/* One entry of the header. data is left pointing at an offset from base. */
static sumi_status parse_tensor(const context *c, const char *name, const json_t *entry,
                                const uint8_t *base, sumi_file_tensor *out)
{
    size_t offsets[2], count, bytes;
    const json_t *dtype = json_object_get(entry, "dtype");
    const json_t *shape = json_object_get(entry, "shape");
    const json_t *span = json_object_get(entry, "data_offsets");
    if (!dtype || !shape || !span || json_object_size(entry) != 3)
        return sumi_fail(c->err, SUMI_EFORMAT,
                         "%s: tensor \"%s\": expected exactly dtype, shape and data_offsets",
                         c->path, name);
    sumi_status status = parse_dtype(c, name, dtype, &out->dtype);
    if (status == SUMI_OK)
        status = parse_shape(c, name, shape, out);
    if (status == SUMI_OK)
        status = parse_offsets(c, name, span, offsets);
    if (status != SUMI_OK)
        return status;
    if (!sumi_tensor_count(out, &count, &bytes))
        return sumi_fail(c->err, SUMI_EFORMAT, "%s: tensor \"%s\": its shape overflows", c->path,
                         name);
    if (bytes != offsets[1] - offsets[0])
        return sumi_fail(c->err, SUMI_EFORMAT,
                         "%s: tensor \"%s\": dtype and shape need %zu bytes, data_offsets give %zu",
                         c->path, name, bytes, offsets[1] - offsets[0]);
    out->bytes = bytes;
    out->data = base + offsets[0];
    out->name = sumi_strdup(name);
    return out->name ? SUMI_OK : sumi_fail_memory(c->err, "a tensor's name", strlen(name) + 1);
}

static int compare_spans(const void *a, const void *b)
{
    const sumi_file_tensor *x = *(const sumi_file_tensor *const *)a;
    const sumi_file_tensor *y = *(const sumi_file_tensor *const *)b;
    const uint8_t *p = x->data, *q = y->data;
    if (p != q)
        return p < q ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* In order of their offsets the tensors must cover the data exactly: no hole, overlap or rest. */
static sumi_status check_cover(const context *c, const uint8_t *base, const sumi_tensor_file *file)
{
    size_t end = 0;
    sumi_status status = SUMI_OK;
    const sumi_file_tensor **order = sumi_calloc(file->count ? file->count : 1, sizeof *order);
    if (!order)
        return sumi_fail_memory(c->err, "tensor order", file->count * sizeof *order);
    for (size_t i = 0; i < file->count; i++)
        order[i] = &file->tensors[i];
    qsort(order, file->count, sizeof *order, compare_spans);
    for (size_t i = 0; i < file->count && status == SUMI_OK; i++) {
        size_t begin = (size_t)((const uint8_t *)order[i]->data - base);
        if (begin != end)
            status = sumi_fail(
                c->err, SUMI_EFORMAT,
                "%s: tensor \"%s\" begins at byte %zu of the data, %s byte %zu", c->path,
                order[i]->name, begin,
                begin < end ? "inside the one before it, which ends at" : "after a hole from", end);
        end = begin + order[i]->bytes;
    }
    if (status == SUMI_OK && end != c->data_size)
        status = sumi_fail(c->err, SUMI_EFORMAT,
                           "%s: %zu bytes of data, but the tensors end at byte %zu", c->path,
                           c->data_size, end);
    free(order);
    return status;
}

static sumi_status parse_header(const context *c, const uint8_t *header, size_t header_size,
                                sumi_tensor_file *out)
{
    json_error_t reason;
    const char *name;
    json_t *entry;
    sumi_status status = SUMI_OK;
    json_t *root = sumi_json_load(header, header_size, JSON_REJECT_DUPLICATES, &reason);
    if (!root) {
        char where[64];
        snprintf(where, sizeof where, "header, byte %d", reason.position);
        /* Numbers and nesting that jansson does not take are in no header either. */
        status = sumi_fail_json(c->err, &reason, c->path, where, header_size);
        return status == SUMI_ENOMEM ? status : SUMI_EFORMAT;
    }
    size_t count = json_object_size(root);
    out->tensors = sumi_calloc(count ? count : 1, sizeof *out->tensors);
    if (!out->tensors)
        status = sumi_fail_memory(c->err, "tensors", count * sizeof *out->tensors);
    json_object_foreach(root, name, entry)
    {
        if (status != SUMI_OK)
            break;
        if (strcmp(name, "__metadata__") == 0) {
            status = sumi_metadata_parse(c->path, name, entry, out, c->err);
        } else {
            status = parse_tensor(c, name, entry, header + header_size, &out->tensors[out->count]);
            out->count += status == SUMI_OK;
        }
    }
    json_decref(root);
    return status;
}

sumi_status sumi_safetensors_parse(const char *path, uint8_t *data, size_t size,
                                   sumi_tensor_file *out, sumi_error *err)
{
    sumi_tensor_file file = {0};
    uint64_t header_size = size >= 8 ? sumi_get64(data) : 0;
    if (size < 8 || header_size > HEADER_MAX || size == 8 || data[8] != '{') {
        sumi_status status = sumi_expect_content(path, data, size, "a safetensors file", err);
        if (status != SUMI_OK)
            return status;
    }
    if (size < 10)
        return sumi_fail(err, SUMI_EFORMAT, "%s: %zu bytes are too few for a safetensors file",
                         path, size);
    if (header_size > HEADER_MAX)
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: not a safetensors file: a header of %" PRIu64
                         " bytes, at most %d are allowed",
                         path, header_size, HEADER_MAX);
    if (header_size > size - 8)
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: a header of %" PRIu64 " bytes does not fit a file of %zu bytes: is "
                         "it cut off?",
                         path, header_size, size);
    if (header_size < 2 || data[8] != '{')
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: not a safetensors file: its header does not "
                         "begin with '{'",
                         path);
    context c = {path, size - 8 - (size_t)header_size, err};
    sumi_status status = parse_header(&c, data + 8, (size_t)header_size, &file);
    if (status == SUMI_OK)
        status = check_cover(&c, data + 8 + header_size, &file);
    if (status != SUMI_OK) {
        sumi_tensor_file_free(&file);
        return status;
    }
    file.buffer = data;
    *out = file;
    return SUMI_OK;
}

sumi_status sumi_safetensors_read(const char *path, sumi_tensor_file *out, sumi_error *err)
{
    uint8_t *data;
    size_t size;
    sumi_status status = sumi_file_read(path, SUMI_MODEL_BYTES_MAX, &data, &size, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_safetensors_parse(path, data, size, out, err);
    if (status != SUMI_OK)
        free(data);
    return status;
}

/* Data goes by element size, largest first, so that every tensor is aligned to its own elements
 * (PyTorch's loader needs that); the header keeps the caller's order. */
static const size_t sizes_in_order[] = {8, 4, 2, 1};
enum { SIZE_COUNT = sizeof sizes_in_order / sizeof sizes_in_order[0] };

/* NULL where memory is out. */
static json_t *tensor_entry(const sumi_file_tensor *t, size_t begin)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    if (json_array_size(shape) != (size_t)t->rank) {
        json_decref(shape);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", sumi_dtype_name(t->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)(begin + t->bytes));
}

static sumi_status add_metadata(const char *path, const sumi_tensor_file *file, json_t *root,
                                sumi_error *err)
{
    if (file->metadata_count == 0)
        return SUMI_OK;
    json_t *meta = json_object();
    if (json_object_set_new(root, "__metadata__", meta) != 0)
        return sumi_fail_memory(err, path, sizeof *meta);
    return sumi_metadata_add(path, file, meta, err);
}

static sumi_status add_tensors(const char *path, const sumi_tensor_file *file, json_t *root,
                               sumi_error *err)
{
    size_t end = 0;
    size_t *begins = sumi_calloc(file->count ? file->count : 1, sizeof *begins);
    bool whole = begins;
    for (size_t k = 0; k < SIZE_COUNT && whole; k++) {
        for (size_t i = 0; i < file->count; i++) {
            if (sumi_dtype_size(file->tensors[i].dtype) != sizes_in_order[k])
                continue;
            begins[i] = end;
            end += file->tensors[i].bytes;
        }
    }
    for (size_t i = 0; i < file->count && whole; i++)
        whole = json_object_set_new(root, file->tensors[i].name,
                                    tensor_entry(&file->tensors[i], begins[i])) == 0;
    free(begins);
    return whole ? SUMI_OK : sumi_fail_memory(err, path, file->count * sizeof *begins);
}

/* The header's text, padded with spaces so that the data begins at a multiple of 8. */
static sumi_status make_header(const char *path, const sumi_tensor_file *file, sumi_text *out,
                               sumi_error *err)
{
    json_t *root = json_object();
    sumi_status status =
        root ? add_metadata(path, file, root, err) : sumi_fail_memory(err, path, sizeof *root);
    if (status == SUMI_OK)
        status = add_tensors(path, file, root, err);
    if (status == SUMI_OK) {
        sumi_text_json(out, root, JSON_COMPACT);
        while (out->size % 8 && !out->failed)
            sumi_text_add(out, " ", 1);
        if (out->failed)
            status = sumi_fail_memory(err, path, out->size);
        else if (out->size > HEADER_MAX)
            status =
                sumi_fail(err, SUMI_EINVAL, "%s: a header of %zu bytes, at most %d are allowed",
                          path, out->size, HEADER_MAX);
    }
    json_decref(root);
    return status;
}

sumi_status sumi_safetensors_write(const char *path, const sumi_tensor_file *file, sumi_error *err)
{
    sumi_text header = {0};
    sumi_file *target = NULL;
    uint8_t size[8];
    sumi_status status = sumi_tensors_check(path, file->tensors, file->count, err);
    for (size_t i = 0; i < file->count && status == SUMI_OK; i++)
        if (strcmp(file->tensors[i].name, "__metadata__") == 0)
            status = sumi_fail(err, SUMI_EINVAL, "%s: no tensor may be named __metadata__", path);
    if (status == SUMI_OK)
        status = make_header(path, file, &header, err);
    if (status == SUMI_OK)
        status = sumi_file_begin(path, &target, err);
    if (status != SUMI_OK)
        goto done;
    sumi_put(size, header.size, 8);
    status = sumi_file_write(target, size, 8, err);
    if (status == SUMI_OK)
        status = sumi_file_write(target, header.data, header.size, err);
    for (size_t k = 0; k < SIZE_COUNT; k++)
        for (size_t i = 0; i < file->count && status == SUMI_OK; i++)
            if (sumi_dtype_size(file->tensors[i].dtype) == sizes_in_order[k])
                status =
                    sumi_file_write(target, file->tensors[i].data, file->tensors[i].bytes, err);
    if (status == SUMI_OK) {
        status = sumi_file_commit(target, err);
        target = NULL;
    }
done:
    sumi_file_abort(target);
    sumi_text_free(&header);
    return status;
}
