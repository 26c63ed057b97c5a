/*
 * A run's own way to be sampled: sampling.json, which stands above what its checkpoints say. A
 * checkpoint is never written twice, and each is sealed by its manifest.
 */
#include "models/sampling.h"
#include "run/run.h"

static const char FILE_NAME[] = "sampling.json";

sumi_status sumi_run_take_sampling(const char *path, sumi_model *model, sumi_error *err)
{
    char file[PATH_MAX];
    json_t *sampling = NULL;
    sumi_sample_config config = SUMI_SAMPLE_CONFIG_INIT;
    (void)sumi_path_join(file, sizeof file, path, FILE_NAME, NULL); /* "" where it is too long */
    if (!sumi_is_file(file))
        return SUMI_OK;
    sumi_status status = sumi_json_read(file, &sampling, err);
    if (status == SUMI_OK && !json_is_object(sampling))
        status = sumi_fail(err, SUMI_EFORMAT, "%s: expected an object", file);
    if (status == SUMI_OK)
        status = sumi_sampling_read(file, sampling, &config, err);
    if (status == SUMI_OK)
        sumi_sampling_set(model, json_object_size(sampling) > 0 ? sampling : NULL);
    json_decref(sampling);
    return status;
}

/* Into a model's file, which is replaced as a whole. What it has beside a model of sumi's would be
 * lost: then it stays as it is. */
static sumi_status save_to_file(const char *path, json_t *sampling, sumi_error *err)
{
    sumi_model *model;
    sumi_error notice = {""};
    if (!sumi_is_file(path))
        return sumi_fail(err, SUMI_EINVAL,
                         "%s: defaults are kept in a file with one model, or in a run", path);
    sumi_status status = sumi_models_load(path, &model, &notice, err);
    if (status != SUMI_OK)
        return status;
    if (notice.text[0])
        status = sumi_fail(err, SUMI_EUNSUPPORTED,
                           "%s: what else is in it would be lost: write "
                           "to another file",
                           notice.text);
    sumi_sampling_set(model, sampling);
    if (status == SUMI_OK)
        status = sumi_models_save(path, model, NULL, err);
    sumi_models_free(model);
    return status;
}

static sumi_status save_to_run(const sumi_run_dir *dir, json_t *sampling, sumi_error *err)
{
    static const char *const models[] = {"model.safetensors", "model.pth"};
    char file[PATH_MAX];
    json_t *object = sampling ? json_incref(sampling) : json_object();
    sumi_run_file(dir, FILE_NAME, file);
    sumi_status status =
        object ? sumi_json_write(file, object, err) : sumi_fail_memory(err, file, 0);
    json_decref(object);
    for (size_t i = 0; i < sizeof models / sizeof *models && status == SUMI_OK; i++) {
        if (sumi_is_file(sumi_run_file(dir, models[i], file)))
            status = save_to_file(file, sampling, err);
    }
    return status;
}

sumi_status sumi_run_save_sampling(const char *path, json_t *sampling, sumi_error *err)
{
    char config[PATH_MAX];
    sumi_run_dir dir = {.lock = -1};
    if (!sumi_is_dir(path))
        return save_to_file(path, sampling, err);
    sumi_status status = sumi_run_dir_name(&dir, path, err);
    if (status != SUMI_OK)
        return status;
    return sumi_is_file(sumi_run_file(&dir, "config.json", config))
               ? save_to_run(&dir, sampling, err)
               : sumi_fail(err, SUMI_EINVAL, "%s: a checkpoint stays as it is: give its run", path);
}
