/*
 * The model that a run stands for: its newest whole checkpoint's, else its model file's.
 */
#include "run/run.h"

/* A path that is too long becomes "", which nothing is. */
static bool has_file(const char *folder, const char *name, char path[PATH_MAX])
{
    (void)sumi_path_join(path, PATH_MAX, folder, name, NULL);
    return sumi_is_file(path);
}

static sumi_status load_model(void *user, const char *folder, sumi_error *err)
{
    return sumi_checkpoint_model(folder, user, err);
}

static bool has_checkpoints(const char *path)
{
    char folder[PATH_MAX];
    (void)sumi_path_join(folder, sizeof folder, path, "checkpoints", NULL);
    return sumi_is_dir(folder) && !sumi_dir_has_only(folder, "");
}

static sumi_status load(const char *path, sumi_model **out, sumi_error *notice, sumi_error *err)
{
    char file[PATH_MAX];
    sumi_error why = {""};
    sumi_status status = sumi_run_newest(path, load_model, out, notice, &why);
    if (status == SUMI_OK)
        return status;
    /* For want of a checkpoint the model file that a finished run leaves. */
    if (status != SUMI_ENOMEM &&
        (has_file(path, "model.safetensors", file) || has_file(path, "model.pth", file))) {
        status = sumi_models_load(file, out, NULL, err);
        if (status == SUMI_OK)
            sumi_fail(notice, SUMI_OK, "%s; using %s", why.text, file);
        return status;
    }
    if (status == SUMI_EIO && !has_checkpoints(path))
        return sumi_fail_no_run(path, err);
    return sumi_fail(err, status, "%s", why.text);
}

sumi_status sumi_run_load(const char *path, sumi_model **out, sumi_error *notice, sumi_error *err)
{
    sumi_model *model;
    char manifest[PATH_MAX];
    if (notice)
        notice->text[0] = '\0';
    if (has_file(path, "manifest.json", manifest))
        return sumi_checkpoint_model(path, out, err);
    sumi_status status = load(path, &model, notice, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_run_take_sampling(path, model, err);
    if (status == SUMI_OK)
        *out = model;
    else
        sumi_models_free(model);
    return status;
}
