/*
 * Snapshots of a run's averages, averages/step_N_K.safetensors with K the average's number, and
 * averages of other widths that are made of them afterwards.
 */
#include "run/training.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SNAPSHOTS_MAX = 4096 };
static const char folder_name[] = "averages", width_key[] = "sumi.average_width",
                  step_key[] = "sumi.average_step";

/* ---- Keeping --------------------------------------------------------------------------------- */

sumi_status sumi_run_check_snapshots(const sumi_train_run *run)
{
    const sumi_train_config *config = run->config;
    if (config->snapshots < 0 || config->snapshots > SNAPSHOTS_MAX / SUMI_AVERAGES_MAX)
        return sumi_fail(run->err, SUMI_EINVAL, "snapshots is %d, expected 0 to %d",
                         config->snapshots, SNAPSHOTS_MAX / SUMI_AVERAGES_MAX);
    if (config->snapshots == 0)
        return SUMI_OK;
    if (!(run->settings.power_averages[0] > 0))
        return sumi_fail(run->err, SUMI_EINVAL,
                         "snapshots are of averages by a power, and there is none: ema_power");
    if (run->last_step == INT64_MAX && run->settings.schedule_steps != SUMI_SCHEDULE_OPEN)
        return sumi_fail(run->err, SUMI_EINVAL,
                         "snapshots are so many in all steps of a run, which must be known: "
                         "steps or epochs");
    return SUMI_OK;
}

/* Such steps cut the run into as many parts as there shall be snapshots. */
bool sumi_run_snapshot_due(const sumi_train_run *run, int64_t step)
{
    double at = (double)step, wanted = run->config->snapshots, last = (double)run->last_step;
    return wanted > 0 && run->dir && floor(at * wanted / last) > floor((at - 1) * wanted / last);
}

/* A copy, so that what is told of the snapshot stays out of the average. */
static sumi_status save(const sumi_train_run *run, int k)
{
    const sumi_averages *averages = &run->trainer->averages;
    char path[PATH_MAX], name[64], step[24], width[SUMI_NUMBER_MAX];
    sumi_model *copy = NULL;
    snprintf(name, sizeof name, "%s/step_%" PRId64 "_%d.safetensors", folder_name,
             run->trainer->steps, k + 1);
    snprintf(step, sizeof step, "%" PRId64, run->trainer->steps);
    sumi_run_number(width, sumi_shortest(run->settings.power_averages[k]), 9);
    sumi_status status = sumi_models_copy(averages->model[k], &copy, run->err);
    if (status == SUMI_OK)
        status = sumi_models_set_metadata(copy, step_key, step, run->err);
    if (status == SUMI_OK)
        status = sumi_models_set_metadata(copy, width_key, width, run->err);
    if (status == SUMI_OK)
        status = sumi_models_save(sumi_run_file(run->dir, name, path), copy, NULL, run->err);
    sumi_models_free(copy);
    return status;
}

sumi_status sumi_run_snapshot(sumi_train_run *run)
{
    char folder[PATH_MAX];
    if (!sumi_run_snapshot_due(run, run->trainer->steps))
        return SUMI_OK;
    sumi_status status = sumi_make_dirs(sumi_run_file(run->dir, folder_name, folder), run->err);
    for (int k = 0; k < SUMI_AVERAGES_MAX && status == SUMI_OK; k++)
        if (run->settings.power_averages[k] > 0)
            status = save(run, k);
    return status;
}

/* ---- Making an average of them --------------------------------------------------------------- */

typedef struct {
    char path[PATH_MAX];
    long long step;
    int number;
} snapshot;

typedef struct {
    snapshot *items;
    sumi_power_profile *profiles;
    double *factors;
    int count;
} snapshots;

static int by_step(const void *a, const void *b)
{
    const snapshot *x = a, *y = b;
    int steps = (x->step > y->step) - (x->step < y->step);
    return steps ? steps : x->number - y->number;
}

static bool is_name(const char *name, snapshot *out)
{
    char *end;
    if (strncmp(name, "step_", 5) != 0)
        return false;
    out->step = strtoll(name + 5, &end, 10);
    if (*end != '_')
        return false;
    out->number = (int)strtol(end + 1, &end, 10);
    return strcmp(end, ".safetensors") == 0;
}

static sumi_status list(const char *folder, snapshots *all, sumi_error *err)
{
    sumi_status status = SUMI_OK;
    DIR *dir = opendir(folder);
    if (!dir)
        return sumi_fail(err, SUMI_EIO,
                         "%s: %s: a run has snapshots where it was trained with some "
                         "(--ema-power and --ema-snapshots)",
                         folder, strerror(errno));
    for (const struct dirent *entry; status == SUMI_OK && (entry = readdir(dir));) {
        if (all->count == SNAPSHOTS_MAX)
            break;
        snapshot *item = &all->items[all->count];
        if (!is_name(entry->d_name, item))
            continue;
        status = sumi_path_join(item->path, sizeof item->path, folder, entry->d_name, err);
        all->count++;
    }
    closedir(dir);
    if (status == SUMI_OK && all->count == 0)
        status = sumi_fail(err, SUMI_EIO, "%s: there is no snapshot in it", folder);
    qsort(all->items, (size_t)all->count, sizeof *all->items, by_step);
    return status;
}

static sumi_status number_of(const char *path, const sumi_model *model, const char *key,
                             double least, double most, double *out, sumi_error *err)
{
    const char *text = json_string_value(json_object_get(model->metadata, key));
    char *end = NULL;
    *out = text ? sumi_parse_real(text, &end) : 0;
    return text && *end == '\0' && *out >= least && *out <= most
               ? SUMI_OK
               : sumi_fail(err, SUMI_EFORMAT, "%s: \"%s\" is no such number", path, key);
}

/* What the snapshots are of; their factors are then known. */
static sumi_status read_profiles(snapshots *all, double width, sumi_error *err)
{
    sumi_power_profile wanted = {0, sumi_power_exponent(width)};
    sumi_status status = SUMI_OK;
    for (int i = 0; i < all->count && status == SUMI_OK; i++) {
        const char *path = all->items[i].path;
        double kept = 0;
        sumi_model *model = NULL;
        status = sumi_models_load(path, &model, NULL, err);
        if (status == SUMI_OK)
            status = number_of(path, model, step_key, 1, UINT32_MAX, &all->profiles[i].step, err);
        if (status == SUMI_OK)
            status = number_of(path, model, width_key, 1e-6, SUMI_AVERAGE_WIDEST, &kept, err);
        all->profiles[i].exponent = status == SUMI_OK ? sumi_power_exponent(kept) : 0;
        wanted.step = fmax(wanted.step, all->profiles[i].step);
        sumi_models_free(model);
    }
    return status == SUMI_OK
               ? sumi_power_factors(all->profiles, all->count, &wanted, all->factors, err)
               : status;
}

static sumi_status add_up(const snapshots *all, double width, sumi_model **out, sumi_error *err)
{
    sumi_mean mean = {0};
    char text[SUMI_NUMBER_MAX];
    sumi_status status = SUMI_OK;
    for (int i = 0; i < all->count && status == SUMI_OK; i++) {
        sumi_model *model = NULL;
        status = sumi_models_load(all->items[i].path, &model, NULL, err);
        if (status == SUMI_OK)
            status = sumi_mean_add(&mean, all->items[i].path, model, all->factors[i], err);
        sumi_models_free(model);
    }
    if (status == SUMI_OK)
        status = sumi_mean_end(&mean, out, err);
    if (status == SUMI_OK)
        status = sumi_models_set_metadata(*out, width_key, sumi_run_number(text, width, 9), err);
    sumi_mean_free(&mean);
    return status;
}

sumi_status sumi_run_average(const char *path, double width, sumi_model **out, sumi_error *err)
{
    char folder[PATH_MAX];
    snapshots all = {.items = sumi_calloc(SNAPSHOTS_MAX, sizeof *all.items),
                     .profiles = sumi_calloc(SNAPSHOTS_MAX, sizeof *all.profiles),
                     .factors = sumi_calloc(SNAPSHOTS_MAX, sizeof *all.factors)};
    sumi_status status = SUMI_OK;
    if (!(width > 0 && width < SUMI_AVERAGE_WIDEST))
        status =
            sumi_fail(err, SUMI_EINVAL, "an average's width is %g, expected above 0 and below %g",
                      width, SUMI_AVERAGE_WIDEST);
    else if (!all.items || !all.profiles || !all.factors)
        status = sumi_fail_memory(err, "snapshots", SNAPSHOTS_MAX * sizeof *all.items);
    if (status == SUMI_OK)
        status = sumi_path_join(folder, sizeof folder, path, folder_name, err);
    if (status == SUMI_OK)
        status = list(folder, &all, err);
    if (status == SUMI_OK)
        status = read_profiles(&all, width, err);
    if (status == SUMI_OK)
        status = add_up(&all, width, out, err);
    free(all.items);
    free(all.profiles);
    free(all.factors);
    return status;
}
