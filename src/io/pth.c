/*
 * PyTorch's .pth: a ZIP archive with <root>/data.pkl, which names tensors and describes them as
 * views, and <root>/data/KEY, the bytes of each storage (torch/serialization.py,
 * caffe2/serialize/inline_container.cc).
 *
 * sumi's own <root>/extra/sumi.json holds a model's metadata, as the header of a safetensors file
 * does: a JSON object of strings. torch.load passes over records that it does not know; below
 * extra/ TorchScript keeps what its callers add.
 *
 * What the pickle says about a storage is compared with the entry that holds it, and every view's
 * bounds with its storage, before one number is read.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/internal.h"
#include "io/pickle.h"
#include "io/zip.h"

enum {
    ROOT_MAX = 512,
    KEY_MAX = 256,
    METADATA_MAX = 16 << 20,
    DEPTH_MAX = 8,    /* dicts within dicts */
    OUTER_MAX = 1024, /* bytes of their names */
};

#define METADATA "extra/sumi.json"

typedef struct {
    const char *path;
    size_t file_size;
    sumi_zip zip;
    sumi_pickle pickle;
    char root[ROOT_MAX];   /* without the slash */
    size_t copied;         /* bytes of views that need copies, so far */
    uint32_t *sources;     /* each tensor's value */
    size_t capacity;       /* of tensors and sources */
    bool *seen;            /* dicts that were read */
    char outer[OUTER_MAX]; /* names of the dicts around the one that is read, each with its dot */
    size_t outer_size;
    sumi_error *err;
} reader;

/* ---- Reading --------------------------------------------------------------------------------- */

/* The one folder at the top that has a data.pkl. */
static sumi_status find_root(reader *r)
{
    static const char file[] = "/data.pkl";
    bool found = false;
    for (size_t i = 0; i < r->zip.count; i++) {
        const char *name = r->zip.entries[i].name, *slash = strchr(name, '/');
        if (!slash || strcmp(slash, file) != 0)
            continue;
        if (found)
            return sumi_fail(r->err, SUMI_EFORMAT, "%s: more than one data.pkl", r->path);
        size_t size = (size_t)(slash - name);
        if (size >= ROOT_MAX)
            return sumi_fail(r->err, SUMI_EUNSUPPORTED, "%s: a folder name of %zu bytes", r->path,
                             size);
        memcpy(r->root, name, size);
        r->root[size] = 0;
        found = true;
    }
    if (!found)
        return sumi_fail(r->err, SUMI_EFORMAT,
                         "%s: a ZIP archive, but without the data.pkl of a PyTorch file", r->path);
    return SUMI_OK;
}

static const sumi_zip_entry *find_entry(const reader *r, const char *folder,
                                        sumi_pickle_string name)
{
    char full[ROOT_MAX + KEY_MAX + 16];
    if (name.size > KEY_MAX || memchr(name.text, 0, name.size))
        return NULL;
    snprintf(full, sizeof full, "%s/%s%.*s", r->root, folder, (int)name.size, name.text);
    return sumi_zip_find(&r->zip, full);
}

static const sumi_zip_entry *find_file(const reader *r, const char *name)
{
    return find_entry(r, "", (sumi_pickle_string){name, strlen(name)});
}

static sumi_status is_script(const reader *r)
{
    return sumi_fail(r->err, SUMI_EUNSUPPORTED,
                     "%s: a TorchScript program, not a state_dict; save model.state_dict() "
                     "with torch.save",
                     r->path);
}

/* A program's code may be compressed, and is then refused before the archive can be asked what is
 * in it. */
static bool has_constants(const uint8_t *data, size_t size)
{
    static const char name[] = "/constants.pkl";
    for (const uint8_t *at = data, *end = data + size; at;
         at = memchr(at, '/', (size_t)(end - at))) {
        if ((size_t)(end - at) >= sizeof name - 1 && memcmp(at, name, sizeof name - 1) == 0)
            return true;
        at++;
    }
    return false;
}

static sumi_status check_kind(const reader *r)
{
    const sumi_zip_entry *order = find_file(r, "byteorder");
    if (find_file(r, "constants.pkl"))
        return is_script(r);
    if (order && (order->size != 6 || memcmp(order->data, "little", 6) != 0))
        return sumi_fail(r->err, SUMI_EUNSUPPORTED, "%s: its byte order is not little-endian",
                         r->path);
    return SUMI_OK;
}

/* Row-major without gaps; strides of dimensions of size 1 do not matter. */
static bool is_contiguous(const sumi_pickle_tensor *view)
{
    int64_t expected = 1;
    for (int i = view->rank - 1; i >= 0; i--) {
        if (view->shape[i] == 0)
            return true;
        if (view->shape[i] != 1 && view->stride[i] != expected)
            return false;
        expected *= view->shape[i];
    }
    return true;
}

/* The largest index that the view reaches, plus one, must be within the storage. */
static bool is_inside(const sumi_pickle_tensor *view, size_t count)
{
    size_t last = (size_t)view->offset;
    if (count == 0)
        return view->offset <= view->storage_count;
    for (int i = 0; i < view->rank; i++) {
        size_t reach;
        if (!sumi_size_mul((size_t)view->shape[i] - 1, (size_t)view->stride[i], &reach) ||
            !sumi_size_add(last, reach, &last))
            return false;
    }
    return last < (size_t)view->storage_count;
}

/* Fills a tensor but its name; a view that needs a copy gets no data yet. */
static sumi_status describe(reader *r, const char *name, const sumi_pickle_tensor *view,
                            sumi_file_tensor *out)
{
    size_t count, storage_bytes, element = sumi_dtype_size(view->dtype);
    const sumi_zip_entry *entry = find_entry(r, "data/", view->key);
    if (!entry)
        return sumi_fail(r->err, SUMI_EFORMAT, "%s: tensor \"%s\": there is no storage \"%.*s\"",
                         r->path, name, view->key.size < 40 ? (int)view->key.size : 40,
                         view->key.text);
    if (!sumi_size_mul((size_t)view->storage_count, element, &storage_bytes) ||
        storage_bytes != entry->size)
        return sumi_fail(r->err, SUMI_EFORMAT,
                         "%s: tensor \"%s\": a storage of %" PRId64 " %s, but its entry has %zu "
                         "bytes",
                         r->path, name, view->storage_count, sumi_dtype_name(view->dtype),
                         entry->size);
    out->dtype = view->dtype;
    out->rank = view->rank;
    memcpy(out->shape, view->shape, sizeof out->shape);
    if (!sumi_tensor_count(out, &count, &out->bytes) || !is_inside(view, count))
        return sumi_fail(r->err, SUMI_EFORMAT,
                         "%s: tensor \"%s\": its shape, strides and offset leave its storage of "
                         "%" PRId64 " elements",
                         r->path, name, view->storage_count);
    if (is_contiguous(view)) {
        out->data = entry->data + (size_t)view->offset * element;
        return SUMI_OK;
    }
    /* Strides of 0 could make a small storage a tensor of any size. */
    if (!sumi_size_add(r->copied, out->bytes, &r->copied) || r->copied > r->file_size)
        return sumi_fail(r->err, SUMI_EUNSUPPORTED,
                         "%s: tensor \"%s\": its views repeat elements to more than the file's "
                         "%zu bytes",
                         r->path, name, r->file_size);
    return SUMI_OK;
}

/* Gathers a strided view into row-major order. */
static void gather(const sumi_pickle_tensor *view, const uint8_t *storage, uint8_t *out)
{
    size_t element = sumi_dtype_size(view->dtype), count = 1;
    int64_t at[SUMI_TENSOR_RANK_MAX] = {0};
    size_t from = (size_t)view->offset;
    for (int i = 0; i < view->rank; i++)
        count *= (size_t)view->shape[i];
    for (size_t k = 0; k < count; k++) {
        memcpy(out + k * element, storage + from * element, element);
        for (int i = view->rank - 1; i >= 0; i--) {
            from += (size_t)view->stride[i];
            if (++at[i] < view->shape[i])
                break;
            from -= (size_t)view->shape[i] * (size_t)view->stride[i];
            at[i] = 0;
        }
    }
}

static sumi_status copy_views(const reader *r, sumi_tensor_file *out)
{
    if (r->copied == 0)
        return SUMI_OK;
    uint8_t *copy = out->copies = sumi_calloc(r->copied, 1);
    if (!copy)
        return sumi_fail_memory(r->err, "views that are not contiguous", r->copied);
    for (size_t i = 0; i < out->count; i++) {
        sumi_file_tensor *tensor = &out->tensors[i];
        sumi_pickle_tensor view;
        if (tensor->data)
            continue;
        sumi_pickle_get_tensor(&r->pickle, r->sources[i], &view);
        gather(&view, find_entry(r, "data/", view.key)->data, copy);
        tensor->data = copy;
        copy += tensor->bytes;
    }
    return SUMI_OK;
}

static sumi_status no_memory(const reader *r)
{
    return sumi_fail_memory(r->err, "tensors", r->capacity * sizeof(sumi_file_tensor));
}

/* Room for one more tensor, and for the value that it is. */
static bool make_room(reader *r, sumi_tensor_file *out)
{
    if (out->count < r->capacity)
        return true;
    size_t grown = r->capacity ? 2 * r->capacity : 64;
    sumi_file_tensor *tensors = realloc(out->tensors, grown * sizeof *tensors);
    if (tensors)
        out->tensors = tensors;
    uint32_t *sources = realloc(r->sources, grown * sizeof *sources);
    if (sources)
        r->sources = sources;
    if (!tensors || !sources)
        return false;
    r->capacity = grown;
    return true;
}

/* Adds the tensor that value `index` is, under its name and the names of the dicts around it. */
static sumi_status add_tensor(reader *r, sumi_pickle_string name, uint32_t index,
                              sumi_tensor_file *out)
{
    sumi_pickle_tensor view;
    if (!make_room(r, out))
        return no_memory(r);
    sumi_file_tensor *tensor = &out->tensors[out->count];
    *tensor = (sumi_file_tensor){.outer = r->outer_size};
    tensor->name = sumi_calloc(r->outer_size + name.size + 1, 1);
    if (!tensor->name)
        return no_memory(r);
    memcpy(tensor->name, r->outer, r->outer_size);
    memcpy(tensor->name + r->outer_size, name.text, name.size);
    r->sources[out->count++] = index;
    sumi_pickle_get_tensor(&r->pickle, index, &view);
    return describe(r, tensor->name, &view, tensor);
}

/* Adds the tensors of a dict and of the dicts in it. Other values (an optimiser's settings, the
 * number of the epoch) and what has no string for a key (an optimiser's state) are passed over, and
 * so is a dict that was met before: each is read once, however often it is named. */
static sumi_status add_dict(reader *r, uint32_t dict_index, int depth, sumi_tensor_file *out)
{
    const sumi_pickle_list *list = &r->pickle.values[dict_index].as.list;
    size_t outer_size = r->outer_size;
    sumi_status status = SUMI_OK;
    r->seen[dict_index] = true;
    for (uint32_t i = 0; i + 1 < list->count && status == SUMI_OK; i += 2) {
        const sumi_pickle_value *key = &r->pickle.values[list->items[i]];
        uint32_t index = list->items[i + 1];
        sumi_pickle_kind kind = r->pickle.values[index].kind;
        if (key->kind != SUMI_PICKLE_STR)
            continue;
        sumi_pickle_string name = key->as.string;
        if (memchr(name.text, 0, name.size))
            return sumi_fail(r->err, SUMI_EFORMAT, "%s: a tensor's name has a zero byte", r->path);
        if (kind == SUMI_PICKLE_TENSOR)
            status = add_tensor(r, name, index, out);
        else if (kind == SUMI_PICKLE_DICT && depth < DEPTH_MAX && !r->seen[index] &&
                 name.size + 1 < OUTER_MAX - outer_size) {
            memcpy(r->outer + outer_size, name.text, name.size);
            r->outer[outer_size + name.size] = '.';
            r->outer_size = outer_size + name.size + 1;
            status = add_dict(r, index, depth + 1, out);
            r->outer_size = outer_size;
        }
    }
    return status;
}

/* Why a dict in which there are no tensors at all is no state_dict: its first item tells. */
static sumi_status no_tensors(const reader *r, const sumi_pickle_value *dict)
{
    const sumi_pickle_value *key = &r->pickle.values[dict->as.list.items[0]];
    const sumi_pickle_value *value = &r->pickle.values[dict->as.list.items[1]];
    if (key->kind != SUMI_PICKLE_STR)
        return sumi_fail(r->err, SUMI_EUNSUPPORTED,
                         "%s: not a state_dict: a key is %s, not a string", r->path,
                         sumi_pickle_kind_name(key->kind));
    return sumi_fail(r->err, SUMI_EUNSUPPORTED,
                     "%s: not a state_dict: \"%.*s\" is %s, not a tensor; save "
                     "model.state_dict() alone",
                     r->path, (int)key->as.string.size, key->as.string.text,
                     sumi_pickle_kind_name(value->kind));
}

static sumi_status read_dict(reader *r, sumi_tensor_file *out)
{
    const sumi_pickle_value *dict = &r->pickle.values[r->pickle.root];
    if (dict->kind != SUMI_PICKLE_DICT)
        return sumi_fail(r->err, SUMI_EUNSUPPORTED,
                         "%s: holds %s, not a state_dict; save model.state_dict()", r->path,
                         sumi_pickle_kind_name(dict->kind));
    r->seen = sumi_calloc(r->pickle.count, sizeof *r->seen);
    if (!r->seen || !make_room(r, out))
        return no_memory(r);
    sumi_status status = add_dict(r, r->pickle.root, 0, out);
    if (status != SUMI_OK)
        return status;
    if (out->count == 0 && dict->as.list.count > 0)
        return no_tensors(r, dict);
    bool memory_out;
    const char *twice = sumi_tensors_duplicate(out->tensors, out->count, &memory_out);
    if (memory_out)
        return no_memory(r);
    if (twice)
        return sumi_fail(r->err, SUMI_EFORMAT, "%s: two tensors have the name \"%s\"", r->path,
                         twice);
    return copy_views(r, out);
}

static sumi_status read_pickle(reader *r)
{
    char where[PATH_MAX + sizeof ": data.pkl"];
    const sumi_zip_entry *entry = find_file(r, "data.pkl");
    snprintf(where, sizeof where, "%s: data.pkl", r->path);
    return sumi_pickle_parse(where, entry->data, entry->size, &r->pickle, r->err);
}

/* Files of other programs have no such record. */
static sumi_status read_metadata(reader *r, sumi_tensor_file *out)
{
    char where[PATH_MAX + sizeof ": " METADATA];
    json_t *object;
    const sumi_zip_entry *entry = find_file(r, METADATA);
    if (!entry)
        return SUMI_OK;
    snprintf(where, sizeof where, "%s: " METADATA, r->path);
    sumi_status status = sumi_json_parse(where, entry->data, entry->size, &object, r->err);
    if (status != SUMI_OK)
        return status;
    status = sumi_metadata_parse(r->path, METADATA, object, out, r->err);
    json_decref(object);
    return status;
}

sumi_status sumi_pth_parse(const char *path, uint8_t *data, size_t size, sumi_tensor_file *out,
                           sumi_error *err)
{
    reader r = {.path = path, .file_size = size, .err = err};
    sumi_tensor_file file = {0};
    sumi_status status = SUMI_OK;
    if (size < 4 || memcmp(data, "PK\3\4", 4) != 0) {
        status = sumi_expect_content(path, data, size, "a PyTorch .pth", err);
        if (status == SUMI_OK)
            status = sumi_fail(err, SUMI_EFORMAT, "%s: not a PyTorch .pth: no ZIP archive", path);
        return status;
    }
    status = sumi_zip_parse(path, data, size, &r.zip, err);
    if (status == SUMI_EUNSUPPORTED && has_constants(data, size))
        status = is_script(&r);
    if (status == SUMI_OK)
        status = find_root(&r);
    if (status == SUMI_OK)
        status = check_kind(&r);
    if (status == SUMI_OK)
        status = read_pickle(&r);
    if (status == SUMI_OK)
        status = read_dict(&r, &file);
    if (status == SUMI_OK)
        status = read_metadata(&r, &file);
    sumi_pickle_free(&r.pickle);
    sumi_zip_free(&r.zip);
    free(r.sources);
    free(r.seen);
    if (status != SUMI_OK) {
        sumi_tensor_file_free(&file);
        return status;
    }
    file.buffer = data;
    *out = file;
    return SUMI_OK;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void put_string(sumi_text *out, const char *string)
{
    uint8_t head[5] = {'X'};
    size_t size = strlen(string);
    sumi_put(head + 1, size, 4);
    sumi_text_add(out, head, sizeof head);
    sumi_text_add(out, string, size);
}

/* BININT1 or BININT where the number fits, else LONG1 of eight bytes; number >= 0. */
static void put_int(sumi_text *out, uint64_t number)
{
    uint8_t code[10];
    if (number <= UINT8_MAX) {
        code[0] = 'K';
        sumi_put(code + 1, number, 1);
        sumi_text_add(out, code, 2);
    } else if (number <= INT32_MAX) {
        code[0] = 'J';
        sumi_put(code + 1, number, 4);
        sumi_text_add(out, code, 5);
    } else {
        code[0] = 0x8A;
        code[1] = 8;
        sumi_put(code + 2, number, 8);
        sumi_text_add(out, code, 10);
    }
}

static void put_tensor(sumi_text *out, const sumi_file_tensor *tensor, size_t key)
{
    size_t count, bytes;
    int64_t stride[SUMI_TENSOR_RANK_MAX], next = 1;
    bool counted = sumi_tensor_count(tensor, &count, &bytes);
    out->failed |= !counted;
    put_string(out, tensor->name);
    sumi_text_puts(out, "ctorch._utils\n_rebuild_tensor_v2\n((");
    put_string(out, "storage");
    sumi_text_printf(out, "ctorch\n%s\n", sumi_pickle_storage_name(tensor->dtype));
    char name[32];
    snprintf(name, sizeof name, "%zu", key);
    put_string(out, name);
    put_string(out, "cpu");
    put_int(out, counted ? count : 0);
    sumi_text_puts(out, "tQK");
    sumi_text_add(out, "\0(", 2);
    for (int i = tensor->rank - 1; i >= 0; i--) {
        stride[i] = next;
        next *= tensor->shape[i] ? tensor->shape[i] : 1;
    }
    for (int i = 0; i < tensor->rank; i++)
        put_int(out, (uint64_t)tensor->shape[i]);
    sumi_text_puts(out, "t(");
    for (int i = 0; i < tensor->rank; i++)
        put_int(out, (uint64_t)stride[i]);
    sumi_text_puts(out, "t\x89"
                        "ccollections\nOrderedDict\n)RtR");
}

/* The state_dict as a pickle: items are set in groups of 1,000, as Python does, so that the stack
 * stays low. */
static void put_pickle(sumi_text *out, const sumi_file_tensor *tensors, size_t count)
{
    sumi_text_puts(out, "\x80\x02"
                        "ccollections\nOrderedDict\n)R");
    for (size_t i = 0; i < count; i++) {
        if (i % 1000 == 0)
            sumi_text_puts(out, i ? "u(" : "(");
        put_tensor(out, &tensors[i], i);
    }
    sumi_text_puts(out, count ? "u." : ".");
}

/* The metadata's record; nothing where there are none. */
static sumi_status put_metadata(const char *path, const sumi_tensor_file *file, sumi_text *out,
                                sumi_error *err)
{
    if (file->metadata_count == 0)
        return SUMI_OK;
    json_t *object = json_object();
    if (!object)
        return sumi_fail_memory(err, path, sizeof *object);
    sumi_status status = sumi_metadata_add(path, file, object, err);
    if (status == SUMI_OK) {
        sumi_text_json(out, object, JSON_COMPACT);
        if (out->failed)
            status = sumi_fail_memory(err, path, out->size);
        else if (out->size > METADATA_MAX)
            status =
                sumi_fail(err, SUMI_EINVAL, "%s: %zu bytes of metadata, at most %d are allowed",
                          path, out->size, METADATA_MAX);
    }
    json_decref(object);
    return status;
}

enum { FIXED_ENTRIES = 4, ENTRY_NAME = 40 };

/* What is not a tensor's; returns how many entries there are. */
static size_t put_fixed(const sumi_text *pickle, const sumi_text *metadata, sumi_zip_entry *entries)
{
    size_t count = 0;
    entries[count++] = (sumi_zip_entry){"archive/data.pkl", (uint8_t *)pickle->data, pickle->size};
    entries[count++] = (sumi_zip_entry){"archive/byteorder", (const uint8_t *)"little", 6};
    entries[count++] = (sumi_zip_entry){"archive/version", (const uint8_t *)"3\n", 2};
    if (metadata->size)
        entries[count++] =
            (sumi_zip_entry){"archive/" METADATA, (uint8_t *)metadata->data, metadata->size};
    return count;
}

sumi_status sumi_pth_write(const char *path, const sumi_tensor_file *file, sumi_error *err)
{
    sumi_text pickle = {0}, metadata = {0};
    sumi_file *target = NULL;
    sumi_zip_entry *entries = NULL;
    char(*names)[ENTRY_NAME] = NULL;
    sumi_status status = sumi_tensors_check(path, file->tensors, file->count, err);
    if (status == SUMI_OK)
        status = put_metadata(path, file, &metadata, err);
    if (status != SUMI_OK)
        goto done;
    put_pickle(&pickle, file->tensors, file->count);
    entries = sumi_calloc(file->count + FIXED_ENTRIES, sizeof *entries);
    names = sumi_calloc(file->count + 1, sizeof *names);
    if (!entries || !names || pickle.failed) {
        status = sumi_fail_memory(err, "a .pth file", pickle.size);
        goto done;
    }
    size_t count = put_fixed(&pickle, &metadata, entries);
    for (size_t i = 0; i < file->count; i++) {
        snprintf(names[i], ENTRY_NAME, "archive/data/%zu", i);
        entries[count++] =
            (sumi_zip_entry){names[i], file->tensors[i].data, file->tensors[i].bytes};
    }
    status = sumi_file_begin(path, &target, err);
    if (status == SUMI_OK)
        status = sumi_zip_write(target, entries, count, SUMI_ZIP_CLASSIC_MAX, err);
    if (status == SUMI_OK) {
        status = sumi_file_commit(target, err);
        target = NULL;
    }
done:
    sumi_file_abort(target);
    free(names);
    free(entries);
    sumi_text_free(&pickle);
    sumi_text_free(&metadata);
    return status;
}
