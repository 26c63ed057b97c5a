/*
 * Where data sets are looked for by name: $SUMI_DATA, the user cache, and the folder of Debian's
 * package dataset-fashion-mnist. sumi never downloads; it says what to install.
 */
#include "data/data.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* $NAME, or NULL where it is unset or empty. */
static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

bool sumi_find_named(const char *name, char *found, size_t size)
{
    char cache[4096];
    const char *roots[] = {environment("SUMI_DATA"),
                           sumi_cache_folder(NULL, cache, sizeof cache) ? cache : NULL};
    if (*name == '.' || *name == '\0' || strchr(name, '/'))
        return false;
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
        if (roots[i] && sumi_path_join(found, size, roots[i], name, NULL) == SUMI_OK &&
            (sumi_is_dir(found) || sumi_is_file(found)))
            return true;
    }
    return false;
}

/* One place to look in; adds it to `looked` where the split is not there. */
static bool try_folder(const char *folder, int split, char *looked, size_t size)
{
    char file[4096];
    if (sumi_idx_find(folder, split, file, sizeof file))
        return true;
    size_t used = strlen(looked);
    snprintf(looked + used, size - used, "%s%s", used ? ", " : "", folder);
    return false;
}

bool sumi_find_fashion(int split, const char *system, char *found, char *looked, size_t size)
{
    char cache[4096];
    const char *data = environment("SUMI_DATA");
    *looked = '\0';
    if (data) {
        if (sumi_path_join(found, size, data, "fashion-mnist", NULL) == SUMI_OK &&
            try_folder(found, split, looked, size))
            return true;
        if (snprintf(found, size, "%s", data) < (int)size && try_folder(found, split, looked, size))
            return true;
    } else {
        snprintf(looked, size, "$SUMI_DATA (not set)");
    }
    if (sumi_cache_folder(NULL, cache, sizeof cache) &&
        sumi_path_join(found, size, cache, "fashion-mnist", NULL) == SUMI_OK &&
        try_folder(found, split, looked, size))
        return true;
    snprintf(found, size, "%s", system);
    return try_folder(found, split, looked, size);
}

bool sumi_has_last_part(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    return strcmp(slash ? slash + 1 : path, name) == 0;
}

enum { LEVELS = 3 };

typedef struct {
    char *found; /* of `size` bytes */
    char second[4096];
    size_t size;
} idx_search;

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* In order of name, so that a message is the same everywhere. */
static void search_below(const char *folder, int level, idx_search *search)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, NULL, by_bytes);
    for (int i = 0; i < count; i++) {
        char path[4096];
        if (entries[i]->d_name[0] != '.' && search->second[0] == '\0' &&
            sumi_path_join(path, sizeof path, folder, entries[i]->d_name, NULL) == SUMI_OK &&
            sumi_is_dir(path)) {
            bool first = search->found[0] == '\0';
            if (sumi_idx_count(path) > 0)
                snprintf(first ? search->found : search->second,
                         first ? search->size : sizeof search->second, "%s", path);
            else if (level < LEVELS)
                search_below(path, level + 1, search);
        }
        free(entries[i]);
    }
    free(entries);
}

sumi_status sumi_find_idx_below(const char *folder, char *found, size_t size, sumi_error *err)
{
    idx_search search = {.found = found, .size = size};
    found[0] = '\0';
    search_below(folder, 1, &search);
    if (search.second[0] == '\0')
        return SUMI_OK;
    return sumi_fail(err, SUMI_EINVAL,
                     "%s: there are IDX files in several folders below it: name one, such as %s or "
                     "%s",
                     folder, found, search.second);
}

sumi_status sumi_fail_no_fashion(const char *looked, sumi_error *err)
{
    return sumi_fail(err, SUMI_EIO,
                     "fashion-mnist: not found; install it with `apt install "
                     "dataset-fashion-mnist`, or put its IDX files in a folder and name that in "
                     "$SUMI_DATA; looked in %s",
                     looked);
}

/* Whether the two agree in letters and digits: FashionMNIST, fashion_mnist, fashion-mnist. */
static bool alike(const char *a, const char *b)
{
    for (;;) {
        while (*a && !sumi_is_alnum(*a))
            a++;
        while (*b && !sumi_is_alnum(*b))
            b++;
        if (!*a || !*b)
            return *a == *b;
        if (!sumi_same_letters(a, b, 1))
            return false;
        a++;
        b++;
    }
}

sumi_status sumi_fail_not_found(const char *name_or_path, sumi_error *err)
{
    static const char *const close[][2] = {{"fashionmnist", "fashion-mnist"},
                                           {"fashion", "fashion-mnist"},
                                           {"fmnist", "fashion-mnist"},
                                           {"mnistfashion", "fashion-mnist"},
                                           {"shape", "shapes"},
                                           {"shapes", "shapes"}};
    for (size_t i = 0; i < sizeof close / sizeof *close; i++) {
        if (alike(name_or_path, close[i][0]))
            return sumi_fail(err, SUMI_EIO,
                             "%s: no such file or folder; did you mean the data set \"%s\"?",
                             name_or_path, close[i][1]);
    }
    if (strchr(name_or_path, '/'))
        return sumi_fail(err, SUMI_EIO, "%s: no such file or folder", name_or_path);
    char cache[4096];
    const char *data = environment("SUMI_DATA");
    return sumi_fail(err, SUMI_EIO,
                     "%s: no such file or folder here, below $SUMI_DATA (%s) or below %s; the "
                     "data sets with a name are fashion-mnist and shapes",
                     name_or_path, data ? data : "not set",
                     sumi_cache_folder(NULL, cache, sizeof cache) ? cache : "~/.cache/sumi");
}
