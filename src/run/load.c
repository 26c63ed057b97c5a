/*
 * The model that a run stands for: its newest whole checkpoint's, else its model file's.
 */
#include "run/run.h"

static bool has_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    return sumi_path_join(path, sizeof path, folder, name, NULL) == SUMI_OK && sumi_is_file(path);
}

static sumi_status load_model(void *user, const char *folder, sumi_error *err)
{
    return sumi_checkpoint_model(folder, user, err);
}

/* The model file that a finished run leaves, for want of a checkpoint: `why` says of what kind.
 * SUMI_EIO where there is none. */
static sumi_status load_file(const char *path, const char *why, sumi_model **out,
                             sumi_error *notice, sumi_error *err)
{
    static const char *const names[] = {"model.safetensors", "model.pth"};
    char file[PATH_MAX];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!has_file(path, names[i]))
            continue;
        sumi_status status = sumi_path_join(file, sizeof file, path, names[i], err);
        if (status == SUMI_OK)
            status = sumi_models_load(file, out, NULL, err);
        if (status == SUMI_OK)
            sumi_fail(notice, SUMI_OK, "%s; using %s", why, file);
        return status;
    }
    return SUMI_EIO;
}

static sumi_status load(const char *path, sumi_model **out, sumi_error *notice, sumi_error *err)
{
    char checkpoints[PATH_MAX];
    sumi_error why = {""};
    sumi_status status = sumi_run_newest(path, load_model, out, notice, &why);
    if (status != SUMI_OK && status != SUMI_ENOMEM &&
        (has_file(path, "model.safetensors") || has_file(path, "model.pth")))
        return load_file(path, why.text, out, notice, err);
    if (status == SUMI_EIO &&
        (sumi_path_join(checkpoints, sizeof checkpoints, path, "checkpoints", NULL) != SUMI_OK ||
         !sumi_is_dir(checkpoints) || sumi_dir_has_only(checkpoints, "")))
        return sumi_fail_no_run(path, err);
    return status == SUMI_OK ? status : sumi_fail(err, status, "%s", why.text);
}

sumi_status sumi_run_load(const char *path, sumi_model **out, sumi_error *notice, sumi_error *err)
{
    sumi_model *model;
    if (notice)
        notice->text[0] = '\0';
    if (has_file(path, "manifest.json"))
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
