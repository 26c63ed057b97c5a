/*
 * The checkpoints of a run: which there are, which one counts, and which are kept.
 *
 * Kept are the newest few, the best few (best.c), and those after each multiple of so many steps.
 * `latest` and `best` hold names and are replaced atomically; the folder is always there before its
 * name is, and gone only after.
 */
#include "base/grow.h"
#include "run/run.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char prefix[] = "step_";

/* ---- Names ----------------------------------------------------------------------------------- */

/* The number in "step_123", -1 for any other name. */
static int64_t step_of(const char *name)
{
    if (strncmp(name, prefix, sizeof prefix - 1) != 0)
        return -1;
    const char *digits = name + sizeof prefix - 1;
    size_t length = strspn(digits, "0123456789");
    return length > 0 && length <= 10 && digits[length] == '\0' ? strtoll(digits, NULL, 10) : -1;
}

static int by_step_down(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

sumi_status sumi_run_list_steps(const char *path, int64_t **out, size_t *count, sumi_error *err)
{
    char folder[PATH_MAX];
    size_t capacity = 0, used = 0;
    int64_t *steps = NULL;
    *out = NULL;
    *count = 0;
    sumi_status status = sumi_path_join(folder, sizeof folder, path, "checkpoints", err);
    if (status != SUMI_OK)
        return status;
    DIR *dir = opendir(folder);
    if (!dir && errno == ENOENT)
        return SUMI_OK;
    if (!dir)
        return sumi_fail(err, SUMI_EIO, "%s: %s", folder, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(dir));) {
        int64_t step = step_of(entry->d_name);
        if (step < 0)
            continue;
        int64_t *grown = sumi_grow(steps, &capacity, used, sizeof *steps, 16);
        if (!grown) {
            status = sumi_fail_memory(err, folder, used * sizeof *steps);
            break;
        }
        steps = grown;
        steps[used++] = step;
    }
    closedir(dir);
    if (status != SUMI_OK) {
        free(steps);
        return status;
    }
    if (used > 1)
        qsort(steps, used, sizeof *steps, by_step_down);
    *out = steps;
    *count = used;
    return SUMI_OK;
}

/* What `latest` holds: a step, or -1 where it is missing or holds something else. */
static int64_t read_latest(const char *run)
{
    char path[PATH_MAX];
    uint8_t *data;
    size_t size;
    (void)sumi_path_join(path, sizeof path, run, "latest", NULL); /* fits where checkpoints does */
    if (sumi_file_read(path, 256, &data, &size, NULL) != SUMI_OK)
        return -1;
    char *name = (char *)data;
    name[strcspn(name, "\r\n")] = '\0';
    int64_t step = step_of(name);
    free(data);
    return step;
}

/* ---- Finding the newest ---------------------------------------------------------------------- */

/* Puts step, which `latest` names, before all others. */
static void move_to_front(int64_t *steps, size_t count, int64_t step)
{
    for (size_t i = 1; i < count; i++) {
        if (steps[i] != step)
            continue;
        memmove(steps + 1, steps, i * sizeof *steps);
        steps[0] = step;
    }
}

/* Checks checkpoint number `step` in folder and uses it. *whole is false where it is damaged: then
 * damage says how. */
static sumi_status try_checkpoint(const char *folder, int64_t step, sumi_checkpoint_fn use,
                                  void *user, bool *whole, sumi_error *damage, sumi_error *err)
{
    char path[PATH_MAX], name[SUMI_STEP_NAME_MAX];
    snprintf(name, sizeof name, "%s%" PRId64, prefix, step);
    *whole = true;
    sumi_status status = sumi_path_join(path, sizeof path, folder, name, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_checkpoint_check(path, damage);
    if (status == SUMI_OK)
        return use(user, path, err);
    *whole = status == SUMI_ENOMEM; /* says nothing about the files */
    return sumi_fail(err, status, "%s", damage->text);
}

sumi_status sumi_run_newest(const char *path, sumi_checkpoint_fn use, void *user,
                            sumi_error *notice, sumi_error *err)
{
    return sumi_run_newest_before(path, INT64_MAX, use, user, notice, err);
}

sumi_status sumi_run_newest_before(const char *path, int64_t step, sumi_checkpoint_fn use,
                                   void *user, sumi_error *notice, sumi_error *err)
{
    char folder[PATH_MAX];
    int64_t *steps = NULL;
    size_t count = 0;
    bool whole = false;
    sumi_error damage = {""};
    if (notice)
        notice->text[0] = '\0';
    sumi_status status = sumi_run_list_steps(path, &steps, &count, err);
    if (status != SUMI_OK)
        return status;
    (void)sumi_path_join(folder, sizeof folder, path, "checkpoints", NULL); /* fits, as it did */
    move_to_front(steps, count, read_latest(path));
    size_t tried = 0;
    for (size_t i = 0; i < count && !whole; i++) {
        if (steps[i] >= step)
            continue;
        if (tried++ > 0 && notice)
            sumi_fail(notice, SUMI_OK, "%s; using an older checkpoint", damage.text);
        status = try_checkpoint(folder, steps[i], use, user, &whole, &damage, err);
    }
    free(steps);
    if (tried == 0)
        return sumi_fail(
            err, SUMI_EIO,
            step < INT64_MAX
                ? "%s: there is no earlier checkpoint"
                : "%s: there is no checkpoint: the run ended before its first, or they were "
                  "removed",
            folder);
    if (!whole)
        return sumi_fail(err, SUMI_EFORMAT, "%s: no checkpoint is whole: %s", folder, damage.text);
    return status;
}

/* ---- Saving ---------------------------------------------------------------------------------- */

static sumi_status write_latest(const sumi_run_dir *dir, const char *name, sumi_error *err)
{
    char path[PATH_MAX], text[SUMI_STEP_NAME_MAX + 1];
    int n = snprintf(text, sizeof text, "%s\n", name);
    return sumi_file_save(sumi_run_file(dir, "latest", path), text, (size_t)n, err);
}

static const char *step_folder(const sumi_run_dir *dir, int64_t step, char out[PATH_MAX])
{
    char name[SUMI_STEP_NAME_MAX + 16];
    snprintf(name, sizeof name, "checkpoints/%s%" PRId64, prefix, step);
    return sumi_run_file(dir, name, out);
}

static bool is_among(int64_t step, const int64_t *steps, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (steps[i] == step)
            return true;
    return false;
}

/* Removes what is no longer kept of the checkpoints, the newest being that of `last`. One of a
 * later step is damaged: the run was resumed before it. */
static sumi_status prune(const sumi_run_dir *dir, int64_t last, sumi_error *err)
{
    char path[PATH_MAX];
    int64_t *steps = NULL, *best = NULL;
    size_t count = 0, best_count = 0;
    int newer = 0;
    sumi_status status = sumi_run_list_steps(dir->path, &steps, &count, err);
    if (status == SUMI_OK)
        status = sumi_run_best_steps(dir, last, &best, &best_count, err);
    for (size_t i = 0; i < count && status == SUMI_OK; i++) {
        newer += steps[i] <= last;
        bool kept = steps[i] <= last && newer <= dir->keep_last;
        kept |= dir->keep_every > 0 && steps[i] > 0 && steps[i] % dir->keep_every == 0;
        if (!kept && !is_among(steps[i], best, best_count))
            status = sumi_remove_tree(step_folder(dir, steps[i], path), err);
    }
    free(best);
    free(steps);
    return status;
}

/* A folder that was moved or removed would be made anew, and the run go on in one that has nothing
 * else of it. */
static sumi_status check_place(const sumi_run_dir *dir, sumi_error *err)
{
    char path[PATH_MAX];
    struct stat held = {0}, there;
    if (dir->lock < 0)
        return SUMI_OK;
    (void)fstat(dir->lock, &held); /* no file has number 0 */
    bool same = stat(sumi_run_file(dir, "run.lock", path), &there) == 0 &&
                held.st_ino == there.st_ino && held.st_dev == there.st_dev;
    return same ? SUMI_OK
                : sumi_fail(err, SUMI_EIO, "%s: the run's folder was moved or removed", dir->path);
}

sumi_status sumi_run_save(sumi_run_dir *dir, const sumi_trainer *trainer, const json_t *state,
                          sumi_error *err)
{
    char path[PATH_MAX], name[SUMI_STEP_NAME_MAX];
    snprintf(name, sizeof name, "%s%" PRId64, prefix, trainer->steps);
    sumi_status status = check_place(dir, err);
    if (status == SUMI_OK)
        status = sumi_run_check_space(dir, trainer, 1, err);
    if (status == SUMI_OK)
        status = sumi_checkpoint_save(trainer, state, step_folder(dir, trainer->steps, path), err);
    if (status == SUMI_OK)
        status = write_latest(dir, name, err);
    if (status != SUMI_OK)
        return status;
    memcpy(dir->latest, name, sizeof name);
    status = sumi_run_find_best(dir, trainer->steps, err);
    if (status != SUMI_OK)
        return status;
    return prune(dir, trainer->steps, err);
}

sumi_status sumi_run_drop_later(sumi_run_dir *dir, int64_t step, sumi_error *err)
{
    char path[PATH_MAX];
    int64_t *steps = NULL;
    size_t count = 0;
    snprintf(dir->latest, sizeof dir->latest, "%s%" PRId64, prefix, step);
    sumi_status status = write_latest(dir, dir->latest, err);
    if (status == SUMI_OK)
        status = sumi_run_find_best(dir, step, err);
    if (status == SUMI_OK)
        status = sumi_run_list_steps(dir->path, &steps, &count, err);
    for (size_t i = 0; i < count && steps[i] > step && status == SUMI_OK; i++)
        status = sumi_remove_tree(step_folder(dir, steps[i], path), err);
    free(steps);
    return status;
}

sumi_status sumi_run_check_space(const sumi_run_dir *dir, const sumi_trainer *trainer, int count,
                                 sumi_error *err)
{
    uint64_t each = sumi_checkpoint_bytes(trainer), free_bytes = 0;
    if (!sumi_disk_free(dir->path, &free_bytes) || free_bytes / (uint64_t)count >= each)
        return SUMI_OK;
    return sumi_fail(
        err, SUMI_EIO, "%s: no room for %d checkpoint%s of %.1f MB: the disk has %.1f MB left",
        dir->path, count, count == 1 ? "" : "s", (double)each / 1e6, (double)free_bytes / 1e6);
}

/* ---- After a crash --------------------------------------------------------------------------- */

/* Names that sumi gives are no longer. */
enum { HIDDEN_NAME_MAX = 60 };

/* A file or folder that was being written: ".sumi-PID-N.tmp" or ".step_N.sumi-tmp". One that was
 * being replaced, ".step_N.sumi-old", gets its name back. */
static sumi_status tidy_entry(const sumi_run_dir *dir, const char *folder, const char *name,
                              sumi_error *err)
{
    char path[PATH_MAX], place[PATH_MAX], inner[HIDDEN_NAME_MAX + 20];
    size_t length = strlen(name);
    bool temporary = sumi_ends_with(name, ".sumi-tmp") ||
                     (strncmp(name, ".sumi-", 6) == 0 && sumi_ends_with(name, ".tmp"));
    bool replaced = sumi_ends_with(name, ".sumi-old");
    if (name[0] != '.' || length > HIDDEN_NAME_MAX || (!temporary && !replaced))
        return SUMI_OK;
    snprintf(inner, sizeof inner, "%s/%.*s", folder, HIDDEN_NAME_MAX, name);
    sumi_run_file(dir, inner, path);
    if (temporary)
        return sumi_remove_tree(path, err);
    snprintf(inner, sizeof inner, "%s/%.*s", folder, (int)(length - sizeof ".sumi-old"), name + 1);
    if (sumi_is_dir(sumi_run_file(dir, inner, place)))
        return sumi_remove_tree(path, err);
    return rename(path, place) == 0 ? SUMI_OK
                                    : sumi_fail(err, SUMI_EIO, "%s: %s", path, strerror(errno));
}

sumi_status sumi_run_tidy(const sumi_run_dir *dir, sumi_error *err)
{
    static const char *const folders[] = {".", "samples", "checkpoints", "averages"};
    char folder[PATH_MAX];
    sumi_status status = SUMI_OK;
    for (size_t i = 0; i < sizeof folders / sizeof *folders && status == SUMI_OK; i++) {
        DIR *open_folder = opendir(sumi_run_file(dir, folders[i], folder));
        if (!open_folder)
            continue;
        for (const struct dirent *entry; status == SUMI_OK && (entry = readdir(open_folder));)
            status = tidy_entry(dir, folders[i], entry->d_name, err);
        closedir(open_folder);
    }
    return status;
}
