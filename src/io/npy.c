/*
 * NumPy's .npy, formats 1.0 to 3.0 (numpy/lib/format.py): a magic, a header that is a Python dict
 * literal with descr, fortran_order and shape, then the numbers.
 *
 * The header is read by a small grammar of its own, not evaluated: three keys, in any order, each
 * once.
 */
#include <stdlib.h>

#include "io/internal.h"

static const struct {
    const char *descr;
    size_t size;
} types[] = {
    [SUMI_NPY_F32] = {"<f4", 4}, [SUMI_NPY_F64] = {"<f8", 8}, [SUMI_NPY_U8] = {"|u1", 1},
    [SUMI_NPY_I32] = {"<i4", 4}, [SUMI_NPY_I64] = {"<i8", 8},
};

enum { TYPE_COUNT = sizeof types / sizeof types[0], HEADER_MAX = 65536 };

typedef struct {
    const char *path, *at, *end;
    sumi_error *err;
} scanner;

static sumi_status bad(const scanner *s, sumi_status status, const char *what)
{
    return sumi_fail(s->err, status, "%s: .npy header: %s", s->path, what);
}

static void skip_spaces(scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n'))
        s->at++;
}

/* Takes text if it is next, spaces skipped. */
static bool accept(scanner *s, const char *text)
{
    size_t size = strlen(text);
    skip_spaces(s);
    if ((size_t)(s->end - s->at) < size || memcmp(s->at, text, size) != 0)
        return false;
    s->at += size;
    return true;
}

/* A quoted string without escapes. */
static bool scan_string(scanner *s, char *out, size_t capacity)
{
    skip_spaces(s);
    if (s->at == s->end || (*s->at != '\'' && *s->at != '"'))
        return false;
    char quote = *s->at++;
    const char *close = memchr(s->at, quote, (size_t)(s->end - s->at));
    if (!close || (size_t)(close - s->at) >= capacity ||
        memchr(s->at, '\\', (size_t)(close - s->at)))
        return false;
    memcpy(out, s->at, (size_t)(close - s->at));
    out[close - s->at] = 0;
    s->at = close + 1;
    return true;
}

static bool scan_number(scanner *s, int64_t *out)
{
    skip_spaces(s);
    const char *begin = s->at;
    int64_t value = 0;
    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++) {
        if (value > (INT64_MAX - 9) / 10)
            return false;
        value = value * 10 + (*s->at - '0');
    }
    *out = value;
    return s->at > begin;
}

static sumi_status scan_descr(scanner *s, sumi_npy *out)
{
    char descr[32];
    if (!scan_string(s, descr, sizeof descr))
        return bad(s, SUMI_EUNSUPPORTED, "descr is not the name of one type");
    for (int i = 0; i < TYPE_COUNT; i++) {
        if (strcmp(descr, types[i].descr) == 0) {
            out->dtype = (sumi_npy_dtype)i;
            return SUMI_OK;
        }
    }
    return sumi_fail(s->err, SUMI_EUNSUPPORTED,
                     "%s: type \"%s\" is not supported, only float32, float64, uint8, int32 and "
                     "int64 in little-endian order",
                     s->path, descr);
}

static sumi_status scan_shape(scanner *s, sumi_npy *out)
{
    bool comma = true;
    if (!accept(s, "("))
        return bad(s, SUMI_EFORMAT, "shape is not a tuple");
    while (!accept(s, ")")) {
        int64_t dim;
        if (!comma || !scan_number(s, &dim))
            return bad(s, SUMI_EFORMAT, "shape is not a tuple of whole numbers");
        if (out->rank == SUMI_TENSOR_RANK_MAX)
            return bad(s, SUMI_EUNSUPPORTED, "more than 8 dimensions");
        out->shape[out->rank++] = dim;
        comma = accept(s, ",");
    }
    if (out->rank == 1 && !comma)
        return bad(s, SUMI_EFORMAT, "shape is not a tuple");
    return SUMI_OK;
}

static sumi_status scan_order(scanner *s)
{
    if (accept(s, "True"))
        return bad(s, SUMI_EUNSUPPORTED,
                   "fortran_order is True; save numpy.ascontiguousarray(x) instead");
    if (!accept(s, "False"))
        return bad(s, SUMI_EFORMAT, "fortran_order is neither True nor False");
    return SUMI_OK;
}

static sumi_status scan_header(scanner *s, sumi_npy *out)
{
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    unsigned seen = 0;
    bool comma = true;
    if (!accept(s, "{"))
        return bad(s, SUMI_EFORMAT, "it is not a dict");
    while (!accept(s, "}")) {
        char key[32];
        int which = 0;
        if (!comma || !scan_string(s, key, sizeof key) || !accept(s, ":"))
            return bad(s, SUMI_EFORMAT, "it is not a dict");
        while (which < 3 && strcmp(key, keys[which]) != 0)
            which++;
        if (which == 3 || seen & 1u << which)
            return sumi_fail(s->err, SUMI_EFORMAT, "%s: .npy header: unexpected key \"%s\"",
                             s->path, key);
        seen |= 1u << which;
        sumi_status status = which == 0   ? scan_descr(s, out)
                             : which == 1 ? scan_order(s)
                                          : scan_shape(s, out);
        if (status != SUMI_OK)
            return status;
        comma = accept(s, ",");
    }
    skip_spaces(s);
    if (seen != 7 || s->at != s->end)
        return bad(s, SUMI_EFORMAT, "it is not a dict with just descr, fortran_order and shape");
    return SUMI_OK;
}

sumi_status sumi_npy_parse_header(const char *path, const uint8_t *data, size_t size, sumi_npy *out,
                                  size_t *offset, sumi_error *err)
{
    sumi_npy array = {0};
    size_t bytes;
    if (size < 10 || memcmp(data, "\x93NUMPY", 6) != 0) {
        sumi_status status = sumi_expect_content(path, data, size, "an .npy file", err);
        if (status == SUMI_OK || strcmp(sumi_sniff(data, size), "npy") == 0)
            status = sumi_fail(err, SUMI_EFORMAT, "%s: not an .npy file", path);
        return status;
    }
    if (data[6] < 1 || data[6] > 3 || data[7] != 0)
        return sumi_fail(err, SUMI_EUNSUPPORTED, "%s: .npy format %d.%d, only 1.0 to 3.0", path,
                         data[6], data[7]);
    size_t begin = data[6] == 1 ? 10 : 12;
    size_t header = begin > size ? 0 : data[6] == 1 ? sumi_get16(data + 8) : sumi_get32(data + 8);
    if (begin > size || header > size - begin)
        return sumi_fail(err, SUMI_EFORMAT, "%s: the .npy header is cut off", path);
    if (header > HEADER_MAX)
        return sumi_fail(err, SUMI_EUNSUPPORTED, "%s: an .npy header of %zu bytes", path, header);
    const char *text = (const char *)data + begin;
    scanner s = {path, text, text + header, err};
    sumi_status status = scan_header(&s, &array);
    if (status != SUMI_OK)
        return status;
    if (!sumi_size_product(array.shape, array.rank, &array.count) ||
        !sumi_size_mul(array.count, types[array.dtype].size, &bytes))
        return sumi_fail(err, SUMI_EFORMAT, "%s: the .npy shape overflows", path);
    if (bytes != size - begin - header)
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: the .npy shape needs %zu bytes, but %zu follow the header", path,
                         bytes, size - begin - header);
    *out = array;
    *offset = begin + header;
    return SUMI_OK;
}

sumi_status sumi_npy_parse(const char *path, const uint8_t *data, size_t size, sumi_npy *out,
                           sumi_error *err)
{
    sumi_npy array = {0};
    size_t offset = 0;
    sumi_status status = sumi_npy_parse_header(path, data, size, &array, &offset, err);
    if (status != SUMI_OK)
        return status;
    size_t bytes = size - offset;
    array.data = sumi_calloc(bytes ? bytes : 1, 1);
    if (!array.data)
        return sumi_fail_memory(err, path, bytes);
    memcpy(array.data, data + offset, bytes);
    *out = array;
    return SUMI_OK;
}

sumi_status sumi_npy_read(const char *path, sumi_npy *out, sumi_error *err)
{
    uint8_t *data;
    size_t size;
    sumi_status status = sumi_file_read(path, SUMI_MODEL_BYTES_MAX, &data, &size, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_npy_parse(path, data, size, out, err);
    free(data);
    return status;
}

/* Format 1.0; the header is padded so that the numbers begin at a multiple of 64, as NumPy does. */
void sumi_npy_header(sumi_text *head, const sumi_npy *array, size_t size)
{
    sumi_text_add(head, SUMI_NPY_MAGIC "\1\0\0\0", 10);
    sumi_text_printf(head, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                     types[array->dtype].descr);
    for (int i = 0; i < array->rank; i++)
        sumi_text_printf(head, i ? " %lld," : "%lld,", (long long)array->shape[i]);
    if (array->rank > 1 && !head->failed)
        head->size--;
    sumi_text_puts(head, "), }");
    while (((head->size + 1) % 64 || head->size + 1 < size) && !head->failed)
        sumi_text_puts(head, " ");
    sumi_text_puts(head, "\n");
    if (!head->failed)
        sumi_put((uint8_t *)head->data + 8, head->size - 10, 2);
}

size_t sumi_npy_item_size(const sumi_npy *array)
{
    size_t count, bytes;
    bool good = (unsigned)array->dtype < TYPE_COUNT && array->rank >= 0 &&
                array->rank <= SUMI_TENSOR_RANK_MAX &&
                sumi_size_product(array->shape, array->rank, &count) &&
                sumi_size_mul(count, types[array->dtype].size, &bytes);
    return good ? types[array->dtype].size : 0;
}

sumi_status sumi_npy_write(const char *path, const sumi_npy *array, sumi_error *err)
{
    size_t count = 0, item = sumi_npy_item_size(array);
    sumi_text head = {0};
    sumi_file *file = NULL;
    if (item == 0 || !sumi_size_product(array->shape, array->rank, &count) || count != array->count)
        return sumi_fail(err, SUMI_EINVAL, "%s: the array's type, shape and count do not fit",
                         path);
    sumi_npy_header(&head, array, 0);
    if (head.failed)
        return sumi_text_free(&head), sumi_fail_memory(err, path, 128);
    sumi_status status = sumi_file_begin(path, &file, err);
    if (status == SUMI_OK)
        status = sumi_file_write(file, head.data, head.size, err);
    if (status == SUMI_OK)
        status = sumi_file_write(file, array->data, count * item, err);
    if (status == SUMI_OK)
        status = sumi_file_commit(file, err);
    else
        sumi_file_abort(file);
    sumi_text_free(&head);
    return status;
}

void sumi_npy_free(sumi_npy *array)
{
    if (!array)
        return;
    free(array->data);
    *array = (sumi_npy){0};
}
