/*
 * What a run was asked to do (config.json) and on what machine (env.json).
 */
#include "run/run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

/* Takes value over; *failed stays set where memory was out once. */
static void put(json_t *object, const char *key, json_t *value, bool *failed)
{
    if (json_object_set_new(object, key, value) != 0)
        *failed = true;
}

/* ---- config.json ----------------------------------------------------------------------------- */

static json_t *data_settings(const sumi_dataset *set, const char *hash, bool *failed)
{
    /* A relative path would mean something else from another folder. */
    char *absolute = set->path[0] ? realpath(set->path, NULL) : NULL;
    json_t *data = json_object();
    put(data, "name", sumi_json_name(set->name), failed);
    put(data, "path", sumi_json_name(absolute ? absolute : set->path), failed);
    put(data, "split", json_string(sumi_split_name(set->split)), failed);
    put(data, "channels", json_integer(set->channels), failed);
    put(data, "height", json_integer(set->height), failed);
    put(data, "width", json_integer(set->width), failed);
    put(data, "hash", json_string(hash), failed);
    put(data, "count", json_integer(set->count), failed);
    put(data, "skip_bad", json_boolean(set->skip_bad), failed);
    if (set->background != 1)
        put(data, "background", sumi_short_real(set->background), failed);
    put(data, "skipped", json_integer(set->skipped_count), failed);
    free(absolute);
    return data;
}

static json_t *model_settings(const sumi_model *of, bool *failed)
{
    json_t *model = json_object();
    put(model, "net", json_string(of->info.net), failed);
    if (!sumi_fields_write(model, of, 1u << SUMI_PART_NET | 1u << SUMI_PART_PROCESS))
        *failed = true;
    /* Of weights that came from a file it may not be known. */
    if (of->seed_known)
        put(model, "seed", sumi_json_seed(of->seed), failed);
    return model;
}

#define FIELD(field) offsetof(sumi_train_config, field)

/* What only a run keeps: pictures, scores and the search at its end, what is made of images, and
 * how many of them a step has. */
static const sumi_kept kept_grids[] = {
    {"grid", SUMI_KEPT_INT, FIELD(grid), NULL},
    {"grid_height", SUMI_KEPT_INT, FIELD(grid_height), NULL},
    {"grid_width", SUMI_KEPT_INT, FIELD(grid_width), NULL},
    {"grid_steps", SUMI_KEPT_INT, FIELD(grid_steps), NULL},
    {"flip", SUMI_KEPT_BOOL, FIELD(flip), "false"},
    {"crop", SUMI_KEPT_INT, FIELD(crop), "0"},
    {"augment", SUMI_KEPT_FLOAT, FIELD(augment), "0"},
    {"eval_every", SUMI_KEPT_INT, FIELD(eval_every), "0"},
    {"eval_images", SUMI_KEPT_INT, FIELD(eval_images), "0"},
    {"tune", SUMI_KEPT_BOOL, FIELD(tune), "false"},
    {NULL, SUMI_KEPT_INT, 0, NULL},
};
static const sumi_kept kept_batch[] = {
    {"batch", SUMI_KEPT_INT, offsetof(sumi_trainer_config, batch), NULL},
    {NULL, SUMI_KEPT_INT, 0, NULL},
};

static json_t *train_settings(const sumi_trainer_config *trainer, const sumi_train_config *config,
                              bool *failed)
{
    json_t *train = json_object();
    put(train, "epochs", json_integer(config->epochs), failed);
    put(train, "steps", json_integer(config->steps), failed);
    put(train, "minutes", json_real(config->minutes), failed);
    put(train, "checkpoint_every", json_integer(config->checkpoint_every), failed);
    put(train, "checkpoint_minutes", json_real(config->checkpoint_minutes), failed);
    put(train, "keep_last", json_integer(config->keep_last), failed);
    put(train, "keep_best", json_integer(config->keep_best), failed);
    put(train, "keep_every", json_integer(config->keep_every), failed);
    put(train, "snapshots", json_integer(config->snapshots), failed);
    put(train, "on_nan", json_string(config->on_nan == SUMI_ON_NAN_ROLLBACK ? "rollback" : "stop"),
        failed);
    if (!sumi_kept_write(train, kept_batch, trainer) ||
        !sumi_kept_write(train, sumi_kept_trainer, trainer) ||
        !sumi_kept_write(train, kept_grids, config))
        *failed = true;
    return train;
}

json_t *sumi_run_settings(const sumi_trainer *trainer, const sumi_train_config *config)
{
    bool failed = false;
    json_t *all = json_object();
    put(all, "model", model_settings(trainer->model, &failed), &failed);
    put(all, "train", train_settings(&trainer->config, config, &failed), &failed);
    if (!failed)
        return all;
    json_decref(all);
    return NULL;
}

/* The file's JSON, or NULL where there is none to read. */
static json_t *read_json(const char *path)
{
    json_t *json = NULL;
    return sumi_is_file(path) && sumi_json_read(path, &json, NULL) == SUMI_OK ? json : NULL;
}

/* What a run keeps that goes on: how it was begun, and one entry for each call that went on with
 * it; config is that of one more, or NULL. */
static void keep_beginning(json_t *json, const json_t *old, const sumi_train_config *config,
                           int64_t step, bool *failed)
{
    static const char *const begun[] = {"model", "command", "version", "measured"};
    json_t *resumed = json_deep_copy(json_object_get(old, "resumed")), *entry = json_object();
    for (size_t i = 0; i < sizeof begun / sizeof *begun; i++)
        if (json_object_get(old, begun[i]))
            put(json, begun[i], json_deep_copy(json_object_get(old, begun[i])), failed);
    if (!json_is_array(resumed)) {
        json_decref(resumed);
        resumed = json_array();
    }
    if (!config) {
        json_decref(entry);
        if (json_array_size(resumed) > 0)
            put(json, "resumed", resumed, failed);
        else
            json_decref(resumed);
        return;
    }
    put(entry, "step", json_integer(step), failed);
    put(entry, "epochs", json_integer(config->epochs), failed);
    put(entry, "steps", json_integer(config->steps), failed);
    put(entry, "minutes", json_real(config->minutes), failed);
    put(entry, "command", sumi_json_any(config->command ? config->command : ""), failed);
    put(entry, "version", json_string(SUMI_VERSION), failed);
    if (json_array_append_new(resumed, entry) != 0)
        *failed = true;
    put(json, "resumed", resumed, failed);
}

sumi_status sumi_run_write_config(const sumi_run_dir *dir, const sumi_trainer *trainer,
                                  const sumi_dataset *set, const sumi_train_config *config,
                                  const char *hash, const sumi_run_measured *measured,
                                  sumi_error *err)
{
    char path[PATH_MAX];
    const sumi_model_info_t *info = &trainer->model->info;
    bool failed = false;
    bool begun = config->resume || measured;
    sumi_run_file(dir, "config.json", path);
    json_t *json = json_object(), *old = begun ? read_json(path) : NULL;
    put(json, "recipe", json_string(info->preset), &failed);
    put(json, "data", data_settings(set, hash, &failed), &failed);
    put(json, "model", model_settings(trainer->model, &failed), &failed);
    put(json, "train", train_settings(&trainer->config, config, &failed), &failed);
    put(json, "command", sumi_json_any(config->command ? config->command : ""), &failed);
    put(json, "version", json_string(SUMI_VERSION), &failed);
    if (old)
        keep_beginning(json, old, measured ? NULL : config, trainer->steps, &failed);
    if (measured)
        put(json, "measured",
            json_pack("{s:f, s:I, s:f}", "minutes", measured->minutes, "at_step",
                      (json_int_t)measured->at_step, "seconds_a_step", measured->seconds_a_step),
            &failed);
    sumi_status status = failed ? sumi_fail_memory(err, path, 0) : sumi_json_write(path, json, err);
    json_decref(json);
    json_decref(old);
    return status;
}

/* Says that these are not the run's data, and what may have become of them. */
static sumi_status fail_other_data(const sumi_run_dir *dir, const json_t *data,
                                   const sumi_dataset *set, const char *hash, sumi_error *err)
{
    char changed[96] = "";
    int64_t count = json_integer_value(json_object_get(data, "count"));
    int64_t skipped = json_integer_value(json_object_get(data, "skipped"));
    if (count != set->count || skipped != set->skipped_count)
        snprintf(changed, sizeof changed,
                 "; %" PRId64 " images and %" PRId64 " skipped, now %" PRId64 " and %" PRId64,
                 count, skipped, set->count, set->skipped_count);
    return sumi_fail(err, SUMI_EINVAL,
                     "%s: the run was trained on other data than %s: SHA-256 %.16s..., now "
                     "%.16s...%s",
                     dir->path, set->path[0] ? set->path : set->name,
                     json_string_value(json_object_get(data, "hash")), hash, changed);
}

sumi_status sumi_run_check_config(const sumi_run_dir *dir, const sumi_dataset *set,
                                  const sumi_trainer_config *trainer,
                                  const sumi_train_config *config, const char *hash,
                                  sumi_error *err)
{
    char path[PATH_MAX];
    json_t *json = NULL;
    const char *expected = "";
    sumi_status status = sumi_json_read(sumi_run_file(dir, "config.json", path), &json, err);
    const json_t *data = json_object_get(json, "data");
    if (status == SUMI_OK)
        status = sumi_json_string(path, data, "hash", &expected, err);
    if (status == SUMI_OK && strcmp(expected, hash) != 0)
        status = fail_other_data(dir, data, set, hash, err);
    const json_t *train = json_object_get(json, "train");
    if (status == SUMI_OK)
        status = sumi_kept_check(dir->path, train, kept_batch, trainer, err);
    if (status == SUMI_OK)
        status = sumi_kept_check(dir->path, train, sumi_kept_trainer, trainer, err);
    if (status == SUMI_OK)
        status = sumi_kept_check(dir->path, train, kept_grids, config, err);
    json_decref(json);
    return status;
}

/* ---- env.json -------------------------------------------------------------------------------- */

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "unknown"
#endif

const char *sumi_run_compiler(void)
{
    return COMPILER;
}

sumi_status sumi_run_check_isa(const sumi_run_dir *dir, const sumi_runtime *runtime,
                               sumi_precision precision, sumi_error *notice, sumi_error *err)
{
    const sumi_backend *backend = runtime->backend;
    char path[PATH_MAX];
    sumi_status status = SUMI_OK;
    json_t *json = read_json(sumi_run_file(dir, "env.json", path));
    const char *before = json_string_value(json_object_get(json, "isa"));
    if (before && !backend->same_bits(runtime->device, before, precision)) {
        sumi_fail(notice, SUMI_OK,
                  "%s: trained with %.16s so far and with %s from here on, which round "
                  "differently: the bits are not those of a run that was never stopped",
                  dir->path, before, backend->isa(runtime->device));
        status = sumi_run_log(dir, err, "%s", notice->text);
    }
    json_decref(json);
    return status;
}

sumi_status sumi_run_write_env(const sumi_run_dir *dir, const sumi_runtime *runtime,
                               sumi_error *err)
{
    char path[PATH_MAX], cpu[256], os[256], stamp[32];
    struct utsname system = {0};
    sumi_run_file(dir, "env.json", path);
    uname(&system);
    if (!sumi_cpu_name(cpu, sizeof cpu))
        snprintf(cpu, sizeof cpu, "%s", system.machine);
    snprintf(os, sizeof os, "%.80s %.80s %.80s", system.sysname, system.release, system.machine);
    sumi_time_stamp(stamp);
    bool failed = false;
    json_t *json = json_object();
    put(json, "cpu", sumi_json_any(cpu), &failed);
    put(json, "cores", json_integer(sumi_cpu_count()), &failed);
    put(json, "device", sumi_json_any(runtime->backend->title(runtime->device)), &failed);
    put(json, "isa", json_string(runtime->backend->isa(runtime->device)), &failed);
    put(json, "threads", json_integer(runtime->backend->threads(runtime->device)), &failed);
    put(json, "os", sumi_json_any(os), &failed);
    put(json, "compiler", json_string(COMPILER), &failed);
    put(json, "version", json_string(SUMI_VERSION), &failed);
    put(json, "started", json_string(stamp), &failed);
    sumi_status status = failed ? sumi_fail_memory(err, path, 0) : sumi_json_write(path, json, err);
    json_decref(json);
    return status;
}
