/* Copying folders. */
#ifndef SUMI_TEST_COPY_TREE_H
#define SUMI_TEST_COPY_TREE_H

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"

static inline bool copy_one_file(const char *from, const char *to)
{
    uint8_t *data;
    size_t size;
    if (sumi_file_read(from, 1 << 28, &data, &size, NULL) != SUMI_OK)
        return false;
    FILE *file = fopen(to, "wb");
    bool good = file && fwrite(data, 1, size, file) == size;
    free(data);
    return file && fclose(file) == 0 && good;
}

/* Copies a folder and all that is in it to a place where nothing is; false where that fails. */
static inline bool copy_tree(const char *from, const char *to)
{
    char source[PATH_MAX], target[PATH_MAX];
    DIR *folder = opendir(from);
    bool good = folder && mkdir(to, 0777) == 0;
    for (const struct dirent *entry; good && (entry = readdir(folder));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        good = sumi_path_join(source, PATH_MAX, from, entry->d_name, NULL) == SUMI_OK &&
               sumi_path_join(target, PATH_MAX, to, entry->d_name, NULL) == SUMI_OK &&
               (sumi_is_dir(source) ? copy_tree(source, target) : copy_one_file(source, target));
    }
    if (folder)
        closedir(folder);
    return good;
}

#endif
