/*
 * What a folder is that was named as a run and has none: where runs lie below it, which is the
 * newest; else what it holds.
 */
#include "data/folder.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH = 2, ENTRIES_MAX = 20000, ENDINGS_MAX = 16 };

/* Files of the folder itself that have an ending in common. */
typedef struct {
    char text[16];
    size_t count;
} ending;

typedef struct {
    char newest[PATH_MAX]; /* of the runs */
    struct timespec written;
    size_t runs, entries, files, folders;
    ending endings[ENDINGS_MAX];
    int ending_count;
    char model[NAME_MAX + 1]; /* the first model file by name */
} look;

static bool later(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

/* Counts a run; its files tell when it was last at work. */
static void see_run(look *at, const char *run)
{
    static const char *const files[] = {"train.log", "metrics.jsonl", "latest", "config.json"};
    struct timespec written = {0, 0};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[PATH_MAX];
        struct stat st;
        if (sumi_path_join(path, sizeof path, run, files[i], NULL) == SUMI_OK &&
            stat(path, &st) == 0 && later(&st.st_mtim, &written))
            written = st.st_mtim;
    }
    if (at->runs++ == 0 || later(&written, &at->written)) {
        at->written = written;
        snprintf(at->newest, sizeof at->newest, "%s", run);
    }
}

static void see_file(look *at, const char *name)
{
    const char *dot = strrchr(name, '.');
    bool model = dot && (sumi_same_letters(dot, ".pth", SIZE_MAX) ||
                         sumi_same_letters(dot, ".safetensors", SIZE_MAX));
    at->files++;
    if (model && (!at->model[0] || strcmp(name, at->model) < 0))
        snprintf(at->model, sizeof at->model, "%s", name);
    if (!dot || strlen(dot) >= sizeof at->endings[0].text)
        return;
    int i = 0;
    while (i < at->ending_count && !sumi_same_letters(at->endings[i].text, dot, SIZE_MAX))
        i++;
    if (i == ENDINGS_MAX)
        return;
    if (i == at->ending_count)
        snprintf(at->endings[at->ending_count++].text, sizeof at->endings[0].text, "%s", dot);
    at->endings[i].count++;
}

static void see_folder(look *at, const char *folder, int depth)
{
    DIR *open_folder = opendir(folder);
    if (!open_folder)
        return;
    const struct dirent *entry;
    while (at->entries < ENTRIES_MAX && (entry = readdir(open_folder))) {
        char path[PATH_MAX];
        if (entry->d_name[0] == '.' ||
            sumi_path_join(path, sizeof path, folder, entry->d_name, NULL) != SUMI_OK)
            continue;
        at->entries++;
        bool is_folder = sumi_is_dir(path);
        at->folders += is_folder && depth == 0;
        if (is_folder && sumi_folder_is_run(path))
            see_run(at, path);
        else if (is_folder && depth < DEPTH)
            see_folder(at, path, depth + 1);
        else if (!is_folder && depth == 0)
            see_file(at, entry->d_name);
    }
    closedir(open_folder);
}

/* "10 files (8 .png) and 2 folders" */
static void describe(const look *at, char *out, size_t size)
{
    const ending *most = &at->endings[0];
    for (int i = 1; i < at->ending_count; i++)
        if (at->endings[i].count > most->count)
            most = &at->endings[i];
    size_t used = 0;
    *out = '\0';
    if (at->files)
        used = (size_t)snprintf(out, size, "%zu file%s", at->files, at->files == 1 ? "" : "s");
    if (at->files && most->count)
        used += (size_t)snprintf(out + used, size - used, " (%zu %s)", most->count, most->text);
    if (at->folders)
        snprintf(out + used, size - used, "%s%zu folder%s", used ? " and " : "", at->folders,
                 at->folders == 1 ? "" : "s");
}

/* Whether path names something within a run: its checkpoints, its samples. */
static bool lies_in_run(const char *path, char *run, size_t size)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    while (length > 0 && path[length - 1] != '/')
        length--;
    while (length > 1 && path[length - 1] == '/')
        length--;
    snprintf(run, size, "%.*s", length ? (int)length : 1, length ? path : ".");
    return sumi_folder_is_run(run);
}

sumi_status sumi_fail_no_run(const char *path, sumi_error *err)
{
    look at = {.runs = 0};
    char holds[128], run[PATH_MAX];
    if (sumi_folder_is_run(path))
        return sumi_fail(err, SUMI_EIO,
                         "%s: this run has no checkpoint and no model file: it ended before its "
                         "first, or they were removed",
                         path);
    if (lies_in_run(path, run, sizeof run))
        return sumi_fail(err, SUMI_EIO, "%s is no run, but a part of one: %s", path, run);
    see_folder(&at, path, 0);
    if (at.runs == 1)
        return sumi_fail(err, SUMI_EIO, "%s is no run; one is in it: %s", path, at.newest);
    if (at.runs > 1)
        return sumi_fail(err, SUMI_EIO, "%s is no run, but %zu are in it; the newest: %s", path,
                         at.runs, at.newest);
    if (at.model[0])
        return sumi_fail(err, SUMI_EIO, "%s is no run; a model file in it: %s/%s", path, path,
                         at.model);
    describe(&at, holds, sizeof holds);
    return sumi_fail(err, SUMI_EIO,
                     "%s is no run: expected a folder that sumi train has written, found one with "
                     "%s",
                     path, holds[0] ? holds : "nothing in it");
}
