/*
 * Which of a file's tensors are the network's. Programs save their model within another (PyTorch's
 * DataParallel and compile, averages, trainers of other projects) or within a dict beside an
 * optimiser, so that the names of its tensors have one prefix, such as "module." or
 * "state_dict.model.". Here the prefix is found and taken off, and what is not below it left out.
 */
#include "models/state_dict.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A tensor that each network has: what stands before its name is a prefix. */
static const char MARK[] = "down_conv1.conv.0.weight";

enum { SHOWN_MAX = 8 };

/* ---- FILE#NAME ------------------------------------------------------------------------------- */

const char *sumi_state_dict_name(const char *path, char file[PATH_MAX])
{
    const char *hash = strrchr(path, '#');
    size_t length = hash ? (size_t)(hash - path) : 0;
    if (length == 0 || length >= PATH_MAX || access(path, F_OK) == 0)
        return NULL;
    memcpy(file, path, length);
    file[length] = '\0';
    return access(file, F_OK) == 0 ? hash + 1 : NULL;
}

/* ---- Prefixes -------------------------------------------------------------------------------- */

/* The length of the prefix where the tensor is the mark, with its final dot; -1 elsewhere. */
static int64_t prefix_length(const char *name)
{
    size_t length = strlen(name), mark = sizeof MARK - 1;
    if (length < mark || strcmp(name + length - mark, MARK) != 0 ||
        (length > mark && name[length - mark - 1] != '.'))
        return -1;
    return (int64_t)(length - mark);
}

/* A prefix is called by its name without the last dot; names of its first parts mean it too, where
 * they mean no other. */
static bool is_meant(const char *prefix, size_t length, const char *wanted)
{
    size_t size = strlen(wanted);
    if (length == 0 || size == 0)
        return length == size;
    return length > size && memcmp(prefix, wanted, size) == 0 && prefix[size] == '.';
}

typedef struct {
    const char *prefix; /* of the last one that is meant; borrowed from a tensor's name */
    size_t length;
    size_t count;    /* how many are meant */
    char names[512]; /* of those, or of all where none is meant */
} choice;

static void find_prefixes(const sumi_tensor_file *file, const char *wanted, choice *out)
{
    size_t used = 0;
    *out = (choice){.count = 0};
    for (size_t i = 0; i < file->count; i++) {
        int64_t length = prefix_length(file->tensors[i].name);
        if (length < 0 || (wanted && !is_meant(file->tensors[i].name, (size_t)length, wanted)))
            continue;
        out->prefix = file->tensors[i].name;
        out->length = (size_t)length;
        if (++out->count <= SHOWN_MAX && used < sizeof out->names)
            used +=
                (size_t)sumi_format(out->names + used, sizeof out->names - used, "%s'%.*s'",
                                    used ? ", " : "", (int)(length ? length - 1 : 0), out->prefix);
    }
}

/* ---- Choosing -------------------------------------------------------------------------------- */

/* Keeps what is below the prefix, without it; without a prefix, what no dict is around. */
static size_t keep_below(sumi_tensor_file *file, const char *prefix, size_t length)
{
    size_t kept = 0, count = file->count;
    for (size_t i = 0; i < count; i++) {
        sumi_file_tensor tensor = file->tensors[i];
        if (length ? strncmp(tensor.name, prefix, length) == 0 : tensor.outer == 0) {
            memmove(tensor.name, tensor.name + length, strlen(tensor.name + length) + 1);
            tensor.outer = 0;
            file->tensors[kept++] = tensor;
        } else {
            free(tensor.name);
        }
    }
    file->count = kept;
    return count - kept;
}

sumi_status sumi_state_dict_pick(const char *path, const char *wanted, sumi_tensor_file *file,
                                 sumi_error *notice, sumi_error *err)
{
    choice found;
    find_prefixes(file, wanted, &found);
    if (found.count == 0 && wanted) {
        find_prefixes(file, NULL, &found);
        return sumi_fail(err, SUMI_EINVAL, "%s: there is no model below '%s'; there is: %s", path,
                         wanted, found.count ? found.names : "none");
    }
    if (found.count > 1)
        return sumi_fail(err, SUMI_EUNSUPPORTED,
                         "%s: holds %zu models: %s; say which one by its name: FILE#NAME", path,
                         found.count, found.names);
    if (found.count == 0)
        return SUMI_OK;
    char *prefix = sumi_strdup(found.prefix);
    if (!prefix)
        return sumi_fail_memory(err, path, strlen(found.prefix));
    size_t left = keep_below(file, prefix, found.length);
    const char *plural = left == 1 ? "" : "s", *were = left == 1 ? "was" : "were";
    int shown = found.length ? (int)found.length - 1 : 0;
    if (found.length && left)
        sumi_fail(notice, SUMI_OK, "%s: the model is '%.*s' in it; %zu other tensor%s %s left out",
                  path, shown, prefix, left, plural, were);
    else if (found.length)
        sumi_fail(notice, SUMI_OK, "%s: the model is '%.*s' in it", path, shown, prefix);
    else if (left)
        sumi_fail(notice, SUMI_OK, "%s: %zu tensor%s in dicts of it %s left out", path, left,
                  plural, were);
    free(prefix);
    return SUMI_OK;
}
