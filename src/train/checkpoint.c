/*
 * A checkpoint folder: writing it so that it is whole or not there, and reading it back with every
 * byte checked.
 *
 * The files are written to a hidden folder beside the final place, each flushed to disk; then the
 * manifest, then the folder gets its name. A checkpoint that is replaced is moved aside first, and
 * moved back by the next save or load if the machine stopped in between.
 */
#include "train/train.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FORMAT = 1, FILES_MAX = 3 + SUMI_AVERAGES_MAX };
/* Places in file_names; from AVERAGES on, there are as many as the trainer has averages. */
enum { MODEL, OPTIM, STATE, AVERAGES };

static const char *const file_names[FILES_MAX] = {
    "model.safetensors", "optim.safetensors", "state.json",       "ema.safetensors",
    "ema_2.safetensors", "ema_3.safetensors", "ema_4.safetensors"};

/* ---- Paths ----------------------------------------------------------------------------------- */

typedef struct {
    char dir[PATH_MAX];    /* without a slash at its end */
    char parent[PATH_MAX]; /* of dir */
    char temp[PATH_MAX];   /* where a new one is written */
    char old[PATH_MAX];    /* where one that is being replaced waits */
} places;

/* Of a file within a folder, with the slash before it; and what a hidden folder's name has more. */
enum { INSIDE_MAX = 24, HIDDEN_MAX = 10 };

static sumi_status check_length(const char *dir, size_t more, sumi_error *err)
{
    return strlen(dir) + more < PATH_MAX
               ? SUMI_OK
               : sumi_fail(err, SUMI_EIO, "%s: %s", dir, strerror(ENAMETOOLONG));
}

/* DIR/NAME, after check_length. Returns out. */
static const char *inside(const char *dir, const char *name, char out[PATH_MAX])
{
    sumi_status status = sumi_path_join(out, PATH_MAX, dir, name, NULL);
    assert(status == SUMI_OK && strlen(name) + 1 < INSIDE_MAX);
    (void)status;
    return out;
}

/* FOLDER/.BASE.ENDING, of DIR, which is FOLDER/BASE and has so many bytes before BASE. */
static void hidden_name(char out[PATH_MAX], const char *dir, size_t prefix, const char *ending)
{
    size_t length = strlen(dir);
    memcpy(out, dir, prefix);
    out[prefix] = '.';
    memcpy(out + prefix + 1, dir + prefix, length - prefix);
    memcpy(out + length + 1, ending, strlen(ending) + 1);
}

static sumi_status find_places(const char *dir, places *out, sumi_error *err)
{
    sumi_status status = check_length(dir, HIDDEN_MAX + INSIDE_MAX, err);
    if (status != SUMI_OK)
        return status;
    size_t length = strlen(dir);
    while (length > 1 && dir[length - 1] == '/')
        length--;
    memcpy(out->dir, dir, length);
    out->dir[length] = '\0';
    const char *slash = strrchr(out->dir, '/');
    const char *base = slash ? slash + 1 : out->dir;
    if (*base == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
        return sumi_fail(err, SUMI_EINVAL, "\"%s\" cannot name a checkpoint: expected a new folder",
                         dir);
    int prefix = (int)(base - out->dir);
    snprintf(out->parent, sizeof out->parent, "%.*s", prefix ? prefix : 1, prefix ? dir : ".");
    hidden_name(out->temp, out->dir, (size_t)prefix, ".sumi-tmp");
    hidden_name(out->old, out->dir, (size_t)prefix, ".sumi-old");
    return SUMI_OK;
}

/* Undoes a replacement that a crash interrupted. */
static void recover(const places *at)
{
    if (!sumi_is_dir(at->dir) && sumi_is_dir(at->old))
        (void)rename(at->old, at->dir);
}

static sumi_status sync_folder(const char *path, sumi_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    /* Some file systems cannot sync a folder and say EINVAL. */
    return error && error != EINVAL ? sumi_fail(err, SUMI_EIO, "%s: %s", path, strerror(error))
                                    : SUMI_OK;
}

/* ---- The optimiser's state as tensors -------------------------------------------------------- */

enum { OPTIM_NAME_MAX = SUMI_NAME_MAX + 16 };

static void optim_name(const char *state, const sumi_param *param, char out[OPTIM_NAME_MAX])
{
    snprintf(out, OPTIM_NAME_MAX, "%s.%s", state, param->name);
}

/* One parameter's part of a state, as it lies in the memory of the device: between there and its
 * place in a host's buffer of its own. */
static sumi_param alone(const sumi_param *param)
{
    sumi_param first = *param;
    first.offset = 0;
    return first;
}

static sumi_status export_state(const sumi_runtime *runtime, const sumi_param *param,
                                const float *state, float *out, sumi_error *err)
{
    float *flat = sumi_calloc(param->count, sizeof *flat);
    if (!flat)
        return sumi_fail_memory(err, param->name, param->count * sizeof *flat);
    const sumi_param first = alone(param);
    runtime->backend->download(runtime->device, flat, state + param->offset,
                               param->count * sizeof *flat);
    sumi_param_export(&first, flat, out);
    free(flat);
    return SUMI_OK;
}

static sumi_status write_optim(const sumi_trainer *trainer, const char *path, sumi_error *err)
{
    const sumi_params *params = &trainer->model->graph.params;
    const sumi_optimiser *optimiser = &trainer->optimiser;
    size_t states = (size_t)optimiser->row->states, most = states * (size_t)params->count;
    sumi_tensor_file file = {0};
    char(*names)[OPTIM_NAME_MAX] = sumi_calloc(most, sizeof *names);
    float *data = sumi_calloc(states * params->value_count, sizeof *data), *next = data;
    file.tensors = sumi_calloc(most, sizeof *file.tensors);
    sumi_status status = SUMI_OK;
    if (!names || !data || !file.tensors) {
        status = sumi_fail_memory(err, path, states * params->value_count * sizeof *data);
        goto done;
    }
    for (size_t i = 0; i < most && status == SUMI_OK; i++) {
        const sumi_param *param = &params->items[i / states];
        const char *state =
            sumi_optimiser_state_name(optimiser, (int)(i / states), (int)(i % states));
        if (!sumi_param_trainable(param) || !state)
            continue;
        sumi_file_tensor *tensor = &file.tensors[file.count];
        optim_name(state, param, names[file.count++]);
        *tensor = (sumi_file_tensor){.name = names[file.count - 1],
                                     .dtype = SUMI_FILE_F32,
                                     .rank = param->rank,
                                     .data = next,
                                     .bytes = param->count * sizeof *next};
        memcpy(tensor->shape, param->shape, sizeof param->shape);
        status = export_state(trainer->runtime, param, optimiser->state[i % states], next, err);
        next += param->count;
    }
    if (status == SUMI_OK)
        status = sumi_safetensors_write(path, &file, err);
done:
    free(file.tensors);
    free(data);
    free(names);
    return status;
}

static sumi_status import_state(const sumi_runtime *runtime, const sumi_file_tensor *tensor,
                                const sumi_param *param, float *state, sumi_error *err)
{
    float *values = sumi_calloc(param->count, sizeof *values);
    float *flat = sumi_calloc(param->count, sizeof *flat);
    sumi_status status = SUMI_OK;
    if (values && flat) {
        const sumi_param first = alone(param);
        sumi_file_tensor_to_f32(tensor, values);
        sumi_param_import(&first, values, flat);
        runtime->backend->upload(runtime->device, state + param->offset, flat,
                                 param->count * sizeof *flat);
    } else {
        status = sumi_fail_memory(err, param->name, 2 * param->count * sizeof *values);
    }
    free(values);
    free(flat);
    return status;
}

/* Finds the tensor of a state of a parameter, of its shape. */
static sumi_status find_optim_tensor(const char *path, const sumi_tensor_file *file,
                                     const sumi_param *param, const char *state,
                                     const sumi_file_tensor **out, sumi_error *err)
{
    char name[OPTIM_NAME_MAX];
    optim_name(state, param, name);
    const sumi_file_tensor *tensor = sumi_tensor_file_find(file, name);
    if (!tensor)
        return sumi_fail(err, SUMI_EFORMAT, "%s: tensor %s is missing", path, name);
    bool same = tensor->rank == param->rank && tensor->dtype == SUMI_FILE_F32;
    for (int i = 0; same && i < param->rank; i++)
        same = tensor->shape[i] == param->shape[i];
    if (!same)
        return sumi_fail(err, SUMI_ESHAPE, "%s: tensor %s is not that of this model", path, name);
    *out = tensor;
    return SUMI_OK;
}

/* Into an optimiser of its own, which the trainer takes over when all is read. */
static sumi_status read_optim(const sumi_runtime *runtime, const sumi_params *params,
                              const char *path, const sumi_optimiser *optimiser, sumi_error *err)
{
    sumi_tensor_file file;
    sumi_status status = sumi_safetensors_read(path, &file, err);
    if (status != SUMI_OK)
        return status;
    int states = optimiser->row->states;
    for (int i = 0; i < states * params->count && status == SUMI_OK; i++) {
        const sumi_param *param = &params->items[i / states];
        const sumi_file_tensor *tensor = NULL;
        const char *state = sumi_optimiser_state_name(optimiser, i / states, i % states);
        if (!sumi_param_trainable(param) || !state)
            continue;
        status = find_optim_tensor(path, &file, param, state, &tensor, err);
        if (status == SUMI_OK)
            status = import_state(runtime, tensor, param, optimiser->state[i % states], err);
    }
    sumi_tensor_file_free(&file);
    return status;
}

/* ---- The manifest ---------------------------------------------------------------------------- */

static sumi_status hash_file(const char *path, int64_t *size, char hex[65], sumi_error *err)
{
    uint8_t buffer[16384];
    sumi_sha256 sha;
    FILE *file = fopen(path, "rb");
    if (!file)
        return sumi_fail(err, SUMI_EIO, "%s: %s", path, strerror(errno));
    sumi_sha256_init(&sha);
    *size = 0;
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0; *size += (int64_t)n)
        sumi_sha256_update(&sha, buffer, n);
    bool failed = ferror(file) != 0;
    fclose(file);
    sumi_sha256_final(&sha, hex);
    return failed ? sumi_fail(err, SUMI_EIO, "%s: %s", path, strerror(EIO)) : SUMI_OK;
}

static sumi_status write_manifest(const char *dir, sumi_error *err)
{
    char path[PATH_MAX], hex[65];
    json_t *files = json_array();
    sumi_status status = SUMI_OK;
    for (int i = 0; i < FILES_MAX && status == SUMI_OK; i++) {
        int64_t size;
        if (!sumi_is_file(inside(dir, file_names[i], path)))
            continue;
        status = hash_file(path, &size, hex, err);
        json_t *entry = json_pack("{s:s, s:I, s:s}", "name", file_names[i], "bytes",
                                  (json_int_t)size, "sha256", hex);
        /* A manifest without one of its files would be a damaged checkpoint. */
        if (json_array_append_new(files, entry) != 0 && status == SUMI_OK)
            status = sumi_fail_memory(err, path, 0);
    }
    inside(dir, "manifest.json", path);
    json_t *manifest = json_pack("{s:i, s:o}", "format", FORMAT, "files", files);
    if (status == SUMI_OK && !manifest)
        status = sumi_fail_memory(err, path, 0);
    if (status == SUMI_OK)
        status = sumi_json_write(path, manifest, err);
    json_decref(manifest);
    return status;
}

/* Checks one entry of the manifest; found[i] is set for the file i that it names, whose contents
 * are read where bit i of `which` is set. */
static sumi_status check_entry(const char *manifest, const json_t *entry, const char *dir,
                               unsigned which, bool found[FILES_MAX], sumi_error *err)
{
    const char *name, *expected;
    int64_t bytes, size;
    char path[PATH_MAX], hex[65];
    sumi_status status = sumi_json_string(manifest, entry, "name", &name, err);
    if (status == SUMI_OK)
        status = sumi_json_string(manifest, entry, "sha256", &expected, err);
    if (status == SUMI_OK)
        status = sumi_json_int(manifest, entry, "bytes", 0, INT64_MAX, &bytes, err);
    if (status != SUMI_OK)
        return status;
    int i = 0;
    while (i < FILES_MAX && strcmp(name, file_names[i]) != 0)
        i++;
    if (i == FILES_MAX || found[i])
        return sumi_fail(err, SUMI_EFORMAT, "%s: unexpected file \"%s\"", manifest, name);
    found[i] = true;
    if (!(which >> i & 1))
        return SUMI_OK;
    status = hash_file(inside(dir, name, path), &size, hex, err);
    if (status != SUMI_OK)
        return status;
    if (size != bytes)
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s is damaged: the manifest says %" PRId64 " bytes, found %" PRId64, path,
                         bytes, size);
    if (strcmp(hex, expected) != 0)
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s is damaged: the manifest says SHA-256 %.16s..., found %.16s...", path,
                         expected, hex);
    return SUMI_OK;
}

#define ALL_FILES (~0u)

/* Checks the manifest, and the contents of the files in `which`; found[i] says which of file_names
 * there are. */
static sumi_status check_files(const char *dir, unsigned which, bool found[FILES_MAX],
                               sumi_error *err)
{
    char path[PATH_MAX];
    json_t *manifest = NULL, *entry;
    size_t i;
    int64_t format;
    memset(found, 0, FILES_MAX * sizeof *found);
    sumi_status status = check_length(dir, INSIDE_MAX, err);
    if (status == SUMI_OK)
        status = sumi_json_read(inside(dir, "manifest.json", path), &manifest, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_json_int(path, manifest, "format", FORMAT, FORMAT, &format, err);
    const json_t *files = json_object_get(manifest, "files");
    if (status == SUMI_OK && !json_is_array(files))
        status = sumi_fail(err, SUMI_EFORMAT, "%s: \"files\": expected a list", path);
    json_array_foreach(files, i, entry)
    {
        if (status == SUMI_OK)
            status = check_entry(path, entry, dir, which, found, err);
    }
    for (int k = 0; k < FILES_MAX && status == SUMI_OK; k++) {
        if (!found[k] && k < AVERAGES)
            status = sumi_fail(err, SUMI_EFORMAT, "%s does not list %s", path, file_names[k]);
    }
    json_decref(manifest);
    return status;
}

sumi_status sumi_checkpoint_check(const char *dir, sumi_error *err)
{
    bool found[FILES_MAX];
    return check_files(dir, ALL_FILES, found, err);
}

/* ---- Saving ---------------------------------------------------------------------------------- */

static sumi_status write_state(const sumi_trainer *trainer, const json_t *run, const char *path,
                               sumi_error *err)
{
    json_t *state = json_pack("{s:i, s:s, s:I}", "format", FORMAT, "version", SUMI_VERSION, "step",
                              (json_int_t)trainer->steps);
    bool good = sumi_kept_write(state, sumi_kept_trainer, &trainer->config) &&
                (!run || json_object_set(state, "run", (json_t *)run) == 0);
    sumi_status status = good ? sumi_json_write(path, state, err) : sumi_fail_memory(err, path, 0);
    json_decref(state);
    return status;
}

static sumi_status write_files(const sumi_trainer *trainer, const json_t *run, const char *dir,
                               sumi_error *err)
{
    char path[PATH_MAX];
    sumi_status status =
        sumi_models_save(inside(dir, file_names[MODEL], path), trainer->model, NULL, err);
    for (int i = 0; i < trainer->averages.count && status == SUMI_OK; i++)
        status = sumi_models_save(inside(dir, file_names[AVERAGES + i], path),
                                  trainer->averages.model[i], NULL, err);
    if (status == SUMI_OK)
        status = write_optim(trainer, inside(dir, file_names[OPTIM], path), err);
    if (status == SUMI_OK)
        status = write_state(trainer, run, inside(dir, file_names[STATE], path), err);
    if (status == SUMI_OK)
        status = write_manifest(dir, err);
    return status;
}

/* Gives the finished folder its name. */
static sumi_status put_in_place(const places *at, sumi_error *err)
{
    bool replace = sumi_is_dir(at->dir);
    if (replace && rename(at->dir, at->old) != 0)
        return sumi_fail(err, SUMI_EIO, "%s: %s", at->dir, strerror(errno));
    if (rename(at->temp, at->dir) != 0) {
        int error = errno;
        recover(at);
        return sumi_fail(err, SUMI_EIO, "%s: %s", at->dir, strerror(error));
    }
    sumi_status status = sync_folder(at->parent, err);
    return status == SUMI_OK && replace ? sumi_remove_tree(at->old, err) : status;
}

/* Refuses to replace what is no checkpoint. */
static sumi_status check_place(const places *at, sumi_error *err)
{
    char manifest[PATH_MAX];
    if (!sumi_is_dir(at->dir) || sumi_is_file(inside(at->dir, "manifest.json", manifest)))
        return SUMI_OK;
    /* An empty folder may be replaced: removing it succeeds, on any other it fails. */
    if (rmdir(at->dir) == 0)
        return SUMI_OK;
    return sumi_fail(err, SUMI_EINVAL,
                     "%s is a folder with other files in it: not replaced by a checkpoint",
                     at->dir);
}

sumi_status sumi_checkpoint_save(const sumi_trainer *trainer, const json_t *run, const char *dir,
                                 sumi_error *err)
{
    places at;
    sumi_status status = sumi_train_check_finite(trainer, err);
    if (status == SUMI_OK)
        status = find_places(dir, &at, err);
    if (status != SUMI_OK)
        return status;
    recover(&at);
    status = check_place(&at, err);
    if (status == SUMI_OK)
        status = sumi_remove_tree(at.temp, err);
    if (status == SUMI_OK)
        status = sumi_make_dirs(at.temp, err);
    if (status != SUMI_OK)
        return status;
    status = write_files(trainer, run, at.temp, err);
    /* What came from a device that was lost meanwhile is not the trainer's state. */
    if (status == SUMI_OK)
        status = trainer->runtime->backend->status(trainer->runtime->device, err);
    if (status == SUMI_OK)
        status = put_in_place(&at, err);
    if (status != SUMI_OK)
        sumi_remove_tree(at.temp, NULL);
    return status;
}

/* ---- Loading --------------------------------------------------------------------------------- */

/* What was read, before the trainer takes it over. */
typedef struct {
    sumi_model *model, *averages[SUMI_AVERAGES_MAX];
    sumi_optimiser optimiser;
    int64_t step, schedule_steps;
    json_t *run;
} loaded;

static sumi_status read_state(const sumi_trainer *trainer, const char *dir, loaded *in,
                              sumi_error *err)
{
    char path[PATH_MAX];
    json_t *state = NULL;
    sumi_status status = sumi_json_read(inside(dir, file_names[STATE], path), &state, err);
    if (status == SUMI_OK)
        status = sumi_json_int(path, state, "step", 0, UINT32_MAX, &in->step, err);
    if (status == SUMI_OK)
        status = sumi_kept_check(dir, state, sumi_kept_trainer, &trainer->config, err);
    if (status == SUMI_OK) {
        in->schedule_steps = json_integer_value(json_object_get(state, "schedule_steps"));
        in->run = json_incref(json_object_get(state, "run"));
    }
    json_decref(state);
    return status;
}

static sumi_status read_model(const sumi_trainer *trainer, const char *dir, int file,
                              sumi_model **out, sumi_error *err)
{
    char path[PATH_MAX];
    sumi_status status = sumi_models_load(inside(dir, file_names[file], path), out, NULL, err);
    return status == SUMI_OK ? sumi_model_check_same(path, *out, trainer->model, err) : status;
}

static void release_loaded(const sumi_runtime *runtime, loaded *in)
{
    json_decref(in->run);
    sumi_optimiser_free(runtime, &in->optimiser);
    for (int i = 0; i < SUMI_AVERAGES_MAX; i++)
        sumi_models_free(in->averages[i]);
    sumi_models_free(in->model);
}

/* The settings are the same by now, so other averages are damage. */
static sumi_status read_averages(const sumi_trainer *trainer, const char *dir,
                                 const bool found[FILES_MAX], loaded *in, sumi_error *err)
{
    int count = trainer->averages.count;
    for (int i = 0; i < SUMI_AVERAGES_MAX; i++) {
        sumi_status status = SUMI_OK;
        if (found[AVERAGES + i] != (i < count))
            status =
                sumi_fail(err, SUMI_EFORMAT, "%s: state.json has %d averages, but there is %s%s",
                          dir, count, i < count ? "no " : "", file_names[AVERAGES + i]);
        else if (i < count)
            status = read_model(trainer, dir, AVERAGES + i, &in->averages[i], err);
        if (status != SUMI_OK)
            return status;
    }
    return SUMI_OK;
}

static sumi_status read_all(const sumi_trainer *trainer, const char *dir, loaded *in,
                            sumi_error *err)
{
    const sumi_params *params = &trainer->model->graph.params;
    bool found[FILES_MAX];
    char path[PATH_MAX];
    sumi_status status = check_files(dir, ALL_FILES, found, err);
    if (status == SUMI_OK)
        status = read_state(trainer, dir, in, err);
    if (status == SUMI_OK)
        status = read_model(trainer, dir, MODEL, &in->model, err);
    if (status == SUMI_OK)
        status = read_averages(trainer, dir, found, in, err);
    if (status == SUMI_OK)
        status = sumi_optimiser_init(trainer->runtime, trainer->optimiser.row,
                                     &trainer->model->graph, &in->optimiser, err);
    if (status == SUMI_OK)
        status = read_optim(trainer->runtime, params, inside(dir, file_names[OPTIM], path),
                            &in->optimiser, err);
    return status;
}

static void take_over(sumi_trainer *trainer, loaded *in)
{
    sumi_optimiser old = trainer->optimiser;
    trainer->optimiser = in->optimiser;
    in->optimiser = old;
    sumi_model_take_weights(trainer->model, in->model);
    json_object_update(trainer->model->metadata, in->model->metadata);
    for (int i = 0; i < trainer->averages.count; i++)
        sumi_model_take_weights(trainer->averages.model[i], in->averages[i]);
    trainer->steps = in->step;
    if (trainer->config.schedule_steps == SUMI_SCHEDULE_OPEN && in->schedule_steps > 0)
        trainer->config.schedule_steps = in->schedule_steps;
    sumi_train_push(trainer);
}

sumi_status sumi_checkpoint_load(sumi_trainer *trainer, const char *dir, json_t **run,
                                 sumi_error *err)
{
    places at;
    loaded in = {0};
    sumi_status status = find_places(dir, &at, err);
    if (status != SUMI_OK)
        return status;
    recover(&at);
    status = read_all(trainer, at.dir, &in, err);
    if (status == SUMI_OK)
        take_over(trainer, &in);
    if (status == SUMI_OK && run)
        *run = json_incref(in.run);
    release_loaded(trainer->runtime, &in);
    return status;
}

sumi_status sumi_checkpoint_model(const char *dir, sumi_model **out, sumi_error *err)
{
    bool found[FILES_MAX];
    char path[PATH_MAX];
    /* Only the file that is wanted is read: sampling should begin at once. */
    sumi_status status = check_files(dir, 0, found, err);
    int wanted = found[AVERAGES] ? AVERAGES : MODEL;
    if (status == SUMI_OK)
        status = check_files(dir, 1u << wanted, found, err);
    return status == SUMI_OK
               ? sumi_models_load(inside(dir, file_names[wanted], path), out, NULL, err)
               : status;
}
