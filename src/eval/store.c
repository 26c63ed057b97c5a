/*
 * What an evaluation keeps for the next: arrays in files that are named and pinned by a key, which
 * is a hash of all that they depend on. A file that is not there, of another key or changed is as
 * good as none: what it held is computed again, to the same bits.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/evaluate.h"

static const char KEY[] = "sumi.eval.key", SHA256[] = "sumi.eval.sha256";
static const size_t BYTES_MOST = (size_t)256 << 20; /* of a file; more is not kept */

void sumi_store_key(char key[65], const char *const *parts, int count)
{
    sumi_sha256 sha;
    sumi_sha256_init(&sha);
    sumi_sha256_update(&sha, SUMI_VERSION, sizeof SUMI_VERSION);
    for (int i = 0; i < count; i++)
        sumi_sha256_update(&sha, parts[i], strlen(parts[i]) + 1);
    sumi_sha256_final(&sha, key);
}

static size_t bytes_of(const sumi_store_array *array)
{
    return (size_t)array->count * sumi_dtype_size(array->dtype);
}

static bool path_of(char path[PATH_MAX], const char *folder, const char *key)
{
    char name[80];
    snprintf(name, sizeof name, "%s.safetensors", key);
    return folder && sumi_path_join(path, PATH_MAX, folder, name, NULL) == SUMI_OK;
}

static void hash_of(const sumi_tensor_file *file, char hex[65])
{
    sumi_sha256 sha;
    sumi_sha256_init(&sha);
    for (size_t i = 0; i < file->count; i++)
        sumi_sha256_update(&sha, file->tensors[i].data, file->tensors[i].bytes);
    sumi_sha256_final(&sha, hex);
}

static bool fits(const sumi_tensor_file *file, const char *key, const sumi_store_array *arrays,
                 int count)
{
    char hex[65];
    const char *told = sumi_tensor_file_meta(file, KEY), *sum = sumi_tensor_file_meta(file, SHA256);
    if (!told || !sum || strcmp(told, key) != 0 || file->count != (size_t)count)
        return false;
    hash_of(file, hex);
    bool same = strcmp(sum, hex) == 0;
    for (int i = 0; i < count && same; i++) {
        const sumi_file_tensor *tensor = sumi_tensor_file_find(file, arrays[i].name);
        same = tensor && tensor->dtype == arrays[i].dtype && tensor->bytes == bytes_of(&arrays[i]);
    }
    return same;
}

bool sumi_store_read(const char *folder, const char *key, const sumi_store_array *arrays, int count)
{
    char path[PATH_MAX];
    sumi_tensor_file file;
    if (!path_of(path, folder, key) || !sumi_is_file(path) ||
        sumi_safetensors_read(path, &file, NULL) != SUMI_OK)
        return false;
    bool found = fits(&file, key, arrays, count);
    for (int i = 0; i < count && found; i++) {
        *arrays[i].data = sumi_calloc(bytes_of(&arrays[i]), 1);
        found = *arrays[i].data != NULL;
        if (found)
            memcpy(*arrays[i].data, sumi_tensor_file_find(&file, arrays[i].name)->data,
                   bytes_of(&arrays[i]));
    }
    for (int i = 0; i < count && !found; i++) {
        free(*arrays[i].data);
        *arrays[i].data = NULL;
    }
    sumi_tensor_file_free(&file);
    return found;
}

void sumi_store_write(const char *folder, const char *key, const sumi_store_array *arrays,
                      int count)
{
    char path[PATH_MAX], keys[2][32], values[2][80];
    size_t bytes = 0;
    sumi_file_tensor tensors[SUMI_STORE_ARRAYS_MAX];
    sumi_file_pair metadata[] = {{keys[0], values[0]}, {keys[1], values[1]}};
    sumi_tensor_file file = {tensors, (size_t)count, metadata, 2, NULL, NULL};
    for (int i = 0; i < count; i++) {
        tensors[i] = (sumi_file_tensor){.name = (char *)arrays[i].name, /* only read */
                                        .dtype = arrays[i].dtype,
                                        .rank = 1,
                                        .shape = {arrays[i].count},
                                        .data = *arrays[i].data,
                                        .bytes = bytes_of(&arrays[i])};
        bytes += tensors[i].bytes;
    }
    if (bytes > BYTES_MOST || !path_of(path, folder, key) ||
        sumi_make_dirs(folder, NULL) != SUMI_OK)
        return;
    snprintf(keys[0], sizeof keys[0], "%s", KEY);
    snprintf(keys[1], sizeof keys[1], "%s", SHA256);
    snprintf(values[0], sizeof values[0], "%s", key);
    hash_of(&file, values[1]);
    (void)sumi_safetensors_write(path, &file, NULL); /* the next evaluation computes it again */
}
