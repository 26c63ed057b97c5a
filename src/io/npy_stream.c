/*
 * A .npy that grows: its header tells how many rows are whole, and is written anew after each lot
 * of them. The rows go to disk first, so that the header never tells of more than there are.
 */
#include <stdlib.h>

#include "io/internal.h"

struct sumi_npy_stream {
    sumi_file *file;
    sumi_npy type; /* shape[0]: the rows so far */
    int64_t most;
    size_t header, row; /* bytes */
    const char *path;   /* for messages */
};

/* The header for the rows so far, as long as the first one was. */
static sumi_status make_header(const sumi_npy_stream *stream, sumi_text *head, sumi_error *err)
{
    *head = (sumi_text){0};
    sumi_npy_header(head, &stream->type, stream->header);
    if (!head->failed)
        return SUMI_OK;
    sumi_text_free(head);
    return sumi_fail_memory(err, stream->path, 128);
}

sumi_status sumi_npy_begin(const char *path, const sumi_npy *type, sumi_npy_stream **out,
                           sumi_error *err)
{
    size_t item = sumi_npy_item_size(type), row = 0;
    if (item == 0 || type->rank < 1 || type->shape[0] < 0 ||
        !sumi_size_product(type->shape + 1, type->rank - 1, &row))
        return sumi_fail(err, SUMI_EINVAL, "%s: the array's type and shape do not fit", path);
    sumi_npy_stream *stream = sumi_calloc(1, sizeof *stream);
    if (!stream)
        return sumi_fail_memory(err, path, sizeof *stream);
    *stream =
        (sumi_npy_stream){.type = *type, .most = type->shape[0], .row = row * item, .path = path};
    sumi_text head;
    sumi_status status = make_header(stream, &head, err);
    if (status == SUMI_OK) {
        stream->header = head.size; /* with the most rows: none later is longer */
        sumi_text_free(&head);
        stream->type.shape[0] = 0;
        status = make_header(stream, &head, err);
    }
    if (status == SUMI_OK) {
        status = sumi_file_begin_part(path, SUMI_NPY_MAGIC, sizeof SUMI_NPY_MAGIC - 1,
                                      &stream->file, err);
        if (status == SUMI_OK)
            status = sumi_file_write(stream->file, head.data, head.size, err);
        sumi_text_free(&head);
    }
    if (status != SUMI_OK) {
        sumi_npy_stop(stream);
        return status;
    }
    *out = stream;
    return SUMI_OK;
}

sumi_status sumi_npy_add(sumi_npy_stream *stream, const void *data, int64_t rows, sumi_error *err)
{
    sumi_text head;
    if (rows < 0 || rows > stream->most - stream->type.shape[0])
        return sumi_fail(err, SUMI_EINVAL, "%s: more rows than were announced", stream->path);
    sumi_status status = sumi_file_write(stream->file, data, (size_t)rows * stream->row, err);
    if (status != SUMI_OK)
        return status;
    int64_t before = stream->type.shape[0];
    stream->type.shape[0] += rows;
    status = make_header(stream, &head, err);
    if (status == SUMI_OK) {
        status = sumi_file_patch(stream->file, 0, head.data, head.size, err);
        sumi_text_free(&head);
    }
    if (status != SUMI_OK)
        stream->type.shape[0] = before;
    return status;
}

sumi_status sumi_npy_end(sumi_npy_stream *stream, sumi_error *err)
{
    sumi_status status = sumi_file_commit(stream->file, err);
    free(stream);
    return status;
}

void sumi_npy_stop(sumi_npy_stream *stream)
{
    if (!stream)
        return;
    size_t rows = (size_t)stream->type.shape[0];
    sumi_file_keep_part(stream->file, rows ? stream->header + rows * stream->row : 0);
    free(stream);
}
