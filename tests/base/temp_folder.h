/* A fresh folder for a test, paths in it, and what is in it. */
#ifndef SUMI_TEST_TEMP_FOLDER_H
#define SUMI_TEST_TEMP_FOLDER_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

typedef struct temp_name {
    struct temp_name *before;
    char text[];
} temp_name;

typedef struct {
    char path[256];
    temp_name *names; /* what temp_path has returned; released at the end of the test */
} temp_folder;

/* cmocka's set-up and tear-down functions. */
static inline int temp_setup(void **state)
{
    temp_folder *temp = calloc(1, sizeof *temp);
    const char *root = getenv("TMPDIR");
    if (!temp)
        return -1;
    snprintf(temp->path, sizeof temp->path, "%s/sumi-test-XXXXXX", root ? root : "/tmp");
    if (!mkdtemp(temp->path)) {
        free(temp);
        return -1;
    }
    *state = temp;
    return 0;
}

static inline int temp_teardown(void **state)
{
    temp_folder *temp = *state;
    sumi_status status = sumi_remove_tree(temp->path, NULL);
    while (temp->names) {
        temp_name *name = temp->names;
        temp->names = name->before;
        free(name);
    }
    free(temp);
    return status == SUMI_OK ? 0 : -1;
}

/* The path of something in the folder; valid until the end of the test. */
static inline const char *temp_path(temp_folder *temp, const char *name)
{
    size_t size = strlen(temp->path) + strlen(name) + 2;
    temp_name *made = malloc(sizeof *made + size);
    if (!made || sumi_path_join(made->text, size, temp->path, name, NULL) != SUMI_OK)
        abort();
    made->before = temp->names;
    temp->names = made;
    return made->text;
}

/* How many entries a folder has, hidden ones too; -1 where it cannot be read. */
static inline int temp_entries(const char *path)
{
    DIR *dir = opendir(path);
    int count = 0;
    if (!dir)
        return -1;
    for (const struct dirent *entry; (entry = readdir(dir));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return count;
}

#endif
