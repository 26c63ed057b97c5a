/*
 * sumi info: what a file or a folder is. Each kind fills one JSON object, which is then printed as
 * it is or as indented text.
 */
#include "defaults.h"
#include "tensors.h"

#include "data/data.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void put(json_t *object, const char *key, json_t *value)
{
    if (value != NULL)
        json_object_set_new(object, key, value);
}

static void put_text(json_t *object, const char *key, const char *value)
{
    put(object, key, sumi_json_any(value));
}

static json_t *tensor_list(const sumi_tensor_file *file)
{
    json_t *list = json_array();
    for (size_t i = 0; i < file->count; i++) {
        const sumi_file_tensor *tensor = &file->tensors[i];
        json_t *shape = json_array();
        for (int k = 0; k < tensor->rank; k++)
            json_array_append_new(shape, json_integer(tensor->shape[k]));
        json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "name", tensor->name, "dtype",
                                              sumi_dtype_name(tensor->dtype), "shape", shape));
    }
    return list;
}

/* What was measured of its data, where that was so: a number for each channel. */
static void put_statistics(json_t *about, const sumi_model *model)
{
    float mean, deviation;
    if (sumi_model_statistics(model, 0, NULL, NULL) != SUMI_OK)
        return;
    json_t *means = json_array(), *deviations = json_array();
    for (int c = 0; sumi_model_statistics(model, c, &mean, &deviation) == SUMI_OK; c++) {
        json_array_append_new(means, json_real((double)mean));
        json_array_append_new(deviations, json_real((double)deviation));
    }
    put(about, "data_mean", means);
    put(about, "data_std", deviations);
}

/* What describes the model; its size and its range stand as pairs. */
static json_t *model_json(const sumi_model *model, const sumi_model_info_t *info)
{
    json_t *about = json_pack("{s:s, s:s, s:I}", "net", info->net, "preset", info->preset,
                              "parameters", (json_int_t)info->parameters);
    sumi_field_t field = SUMI_FIELD_INIT;
    for (int i = 0; sumi_model_field_at(i, &field) == SUMI_OK; i++) {
        double number = 0;
        const char *text = NULL;
        if (strcmp(field.part, "data") == 0 ||
            sumi_model_get_field(model, field.name, &number, &text) != SUMI_OK)
            continue;
        bool real = field.kind == SUMI_FIELD_FLOAT, truth = field.kind == SUMI_FIELD_BOOL;
        put(about, field.name,
            text != NULL ? json_string(text)
            : real       ? json_real(number)
            : truth      ? json_boolean(number != 0)
                         : json_integer((json_int_t)number));
    }
    put_statistics(about, model);
    put(about, "trained_size", json_pack("[i, i]", info->height, info->width));
    put(about, "range", json_pack("[f, f]", (double)info->range_lo, (double)info->range_hi));
    sumi_sample_config sample = SUMI_SAMPLE_CONFIG_INIT;
    if (sumi_model_get_sampling(model, &sample) == SUMI_OK) {
        json_t *sampling = sumi_cli_sampling_json(&sample);
        if (json_object_size(sampling) > 0)
            put(about, "sampling", json_incref(sampling));
        json_decref(sampling);
    }
    return about;
}

/* The architecture, where the tensors are those of a network that sumi knows. */
static void put_architecture(sumi_cli *cli, const char *path, json_t *about)
{
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    sumi_model *model = NULL;
    /* Not sumi_cli_load: where the tensors came from, the user has been told. */
    if (sumi_model_load(cli->ctx, path, &model) != SUMI_OK ||
        sumi_model_info(model, &info) != SUMI_OK)
        put_text(about, "model", sumi_last_error(cli->ctx));
    else
        put(about, "model", model_json(model, &info));
    sumi_model_free(model);
}

static json_t *evaluator_json(const sumi_classifier_info_t *info)
{
    json_t *about = json_pack(
        "{s:s, s:I, s:i, s:i, s:i, s:i, s:i, s:o, s:s, s:I, s:I, s:o, s:s}", "shape", info->shape,
        "parameters", (json_int_t)info->parameters, "height", info->height, "width", info->width,
        "channels", info->channels, "classes", info->classes, "features", info->features, "data",
        sumi_json_any(info->data_name), "data_hash", info->data_hash, "epochs",
        (json_int_t)info->epochs, "steps", (json_int_t)info->steps, "seed",
        info->seed <= INT64_MAX ? json_integer((json_int_t)info->seed) : json_null(), "sha256",
        info->hash);
    if (info->accuracy >= 0) {
        put(about, "accuracy", json_real(info->accuracy));
        put(about, "tested", json_integer((json_int_t)info->tested));
    }
    return about;
}

/* What measures pictures; its weights are checked against their hash. */
static void put_evaluator(sumi_cli *cli, const char *path, json_t *about)
{
    sumi_classifier_info_t info = SUMI_CLASSIFIER_INFO_INIT;
    sumi_classifier *evaluator = NULL;
    if (sumi_classifier_load(cli->ctx, path, &evaluator) != SUMI_OK ||
        sumi_classifier_info(evaluator, &info) != SUMI_OK)
        put_text(about, "evaluator", sumi_last_error(cli->ctx));
    else
        put(about, "evaluator", evaluator_json(&info));
    sumi_classifier_free(evaluator);
}

/* Whether the recipe or the network is called by its former name: in a run's config.json, or in the
 * metadata of a file (of version 0.1, or of one that was not released). */
static bool has_former_name(const json_t *about)
{
    const json_t *metadata = json_object_get(about, "metadata");
    const char *text = json_string_value(json_object_get(metadata, "sumi.model"));
    json_t *model = text != NULL ? sumi_json_load(text, strlen(text), 0, NULL) : NULL;
    const json_t *names[] = {json_object_get(json_object_get(about, "config"), "recipe"),
                             json_object_get(metadata, "sumi.preset"),
                             json_object_get(json_object_get(model, "net"), "name")};
    bool former = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        former = former || (json_is_string(names[i]) &&
                            strcmp(json_string_value(names[i]), SUMI_FORMER_RECIPE) == 0);
    json_decref(model);
    return former;
}

static sumi_status about_tensors(sumi_cli *cli, const char *path, json_t *about, sumi_error *err)
{
    sumi_tensor_file tensors;
    sumi_status status = sumi_tensors_open(cli, path, &tensors, err);
    if (status == SUMI_OK) {
        if (sumi_tensor_file_meta(&tensors, "sumi.classifier") != NULL)
            put_evaluator(cli, path, about);
        else
            put_architecture(cli, path, about);
        json_t *metadata = json_object();
        for (size_t i = 0; i < tensors.metadata_count; i++)
            put_text(metadata, tensors.metadata[i].key, tensors.metadata[i].value);
        if (json_object_size(metadata) > 0)
            put(about, "metadata", json_incref(metadata));
        json_decref(metadata);
        put(about, "tensors", tensor_list(&tensors));
    }
    sumi_tensor_file_free(&tensors);
    return status;
}

static sumi_status about_run(sumi_cli *cli, const char *path, json_t *about, sumi_error *err)
{
    char file[PATH_MAX];
    json_t *config = NULL;
    put_text(about, "kind", "run");
    sumi_status status = sumi_path_join(file, sizeof file, path, "config.json", err);
    if (status == SUMI_OK)
        status = sumi_json_read(file, &config, err);
    if (status == SUMI_OK)
        put(about, "config", config);
    return status == SUMI_OK ? about_tensors(cli, path, about, err) : status;
}

static double npy_value(const sumi_npy *array, size_t i)
{
    switch (array->dtype) {
    case SUMI_NPY_F32:
        return (double)((const float *)array->data)[i];
    case SUMI_NPY_F64:
        return ((const double *)array->data)[i];
    case SUMI_NPY_U8:
        return ((const uint8_t *)array->data)[i];
    case SUMI_NPY_I32:
        return ((const int32_t *)array->data)[i];
    case SUMI_NPY_I64:
        return (double)((const int64_t *)array->data)[i];
    }
    return 0;
}

static sumi_status about_npy(const char *path, json_t *about, sumi_error *err)
{
    sumi_npy array;
    sumi_status status = sumi_npy_read(path, &array, err);
    if (status != SUMI_OK)
        return status;
    json_t *shape = json_array();
    for (int i = 0; i < array.rank; i++)
        json_array_append_new(shape, json_integer(array.shape[i]));
    double low = INFINITY, high = -INFINITY, sum = 0;
    size_t odd = 0;
    for (size_t i = 0; i < array.count; i++) {
        double value = npy_value(&array, i);
        odd += !isfinite(value);
        low = fmin(low, value);
        high = fmax(high, value);
        sum += value;
    }
    put_text(about, "dtype", sumi_npy_type_name(array.dtype));
    put(about, "shape", shape);
    if (array.count > 0 && odd == 0) {
        put(about, "min", json_real(low));
        put(about, "max", json_real(high));
        put(about, "mean", json_real(sum / (double)array.count));
    }
    put(about, "not_finite", json_integer((json_int_t)odd));
    sumi_npy_free(&array);
    return SUMI_OK;
}

static sumi_status about_picture(const char *path, json_t *about, sumi_error *err)
{
    sumi_image image;
    sumi_status status = sumi_image_read(path, &image, err);
    if (status != SUMI_OK)
        return status;
    put(about, "height", json_integer(image.height));
    put(about, "width", json_integer(image.width));
    put(about, "channels", json_integer(image.channels));
    sumi_image_free(&image);
    return SUMI_OK;
}

static sumi_status about_data(const char *path, json_t *about, sumi_error *err)
{
    sumi_dataset *set = NULL;
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.skip_bad = true; /* what cannot be read is told with the rest */
    sumi_status status = sumi_data_open(path, &config, &set, err);
    if (status != SUMI_OK)
        return status;
    put_text(about, "kind", "data set");
    put(about, "images", json_integer(set->count));
    put(about, "height", json_integer(set->height));
    put(about, "width", json_integer(set->width));
    put(about, "channels", json_integer(set->channels));
    put(about, "classes", json_integer(set->classes));
    json_t *notices = json_array();
    for (int i = 0; i < set->notice_count; i++)
        json_array_append_new(notices, sumi_json_any(set->notices[i].text));
    if (set->notice_count > 0)
        put(about, "notices", json_incref(notices));
    json_decref(notices);
    sumi_data_free(set);
    return SUMI_OK;
}

/* The first bytes tell a file's kind. */
static sumi_status sniff(const char *path, const char **kind, sumi_error *err)
{
    uint8_t head[PATH_MAX];
    struct stat about;
    if (stat(path, &about) != 0)
        return errno == ENOENT ? sumi_fail(err, SUMI_EIO, "%s: no such file or folder", path)
                               : sumi_fail_errno(err, path, errno);
    if (!S_ISREG(about.st_mode))
        return sumi_fail(err, SUMI_EIO, "%s: expected a file or folder, found a %s", path,
                         S_ISCHR(about.st_mode) || S_ISBLK(about.st_mode) ? "device"
                         : S_ISFIFO(about.st_mode)                        ? "pipe"
                                                                          : "socket");
    errno = 0;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return sumi_fail(err, SUMI_EIO, "%s: %s", path, strerror(errno));
    size_t size = fread(head, 1, sizeof head, file);
    bool failed = ferror(file) != 0;
    fclose(file);
    if (failed)
        return sumi_fail(err, SUMI_EIO, "%s: cannot be read", path);
    *kind = sumi_sniff(head, size);
    return SUMI_OK;
}

static bool holds(const char *folder, const char *name)
{
    char path[PATH_MAX];
    return sumi_path_join(path, sizeof path, folder, name, NULL) == SUMI_OK && sumi_is_file(path);
}

static sumi_status look(sumi_cli *cli, const char *path, json_t *about, sumi_error *err)
{
    const char *kind = NULL;
    if (holds(path, "config.json"))
        return about_run(cli, path, about, err);
    if (holds(path, "manifest.json")) {
        put_text(about, "kind", "checkpoint");
        return about_tensors(cli, path, about, err);
    }
    if (sumi_is_dir(path))
        return about_data(path, about, err);
    sumi_status status = sniff(path, &kind, err);
    if (status != SUMI_OK)
        return status;
    put_text(about, "kind", kind);
    if (strcmp(kind, "safetensors") == 0 || strcmp(kind, "pth") == 0)
        return about_tensors(cli, path, about, err);
    if (strcmp(kind, "npy") == 0)
        return about_npy(path, about, err);
    if (strcmp(kind, "png") == 0 || strcmp(kind, "jpeg") == 0)
        return about_picture(path, about, err);
    if (strcmp(kind, "idx") == 0 || strcmp(kind, "gzip") == 0)
        return about_data(path, about, err);
    if (strcmp(kind, "unknown") == 0)
        return sumi_fail(err, SUMI_EFORMAT, "%s: not a file that sumi knows", path);
    return SUMI_OK;
}

int sumi_cmd_info(sumi_cli *cli)
{
    const char *path = cli->options.operands[0];
    json_t *about = json_object();
    sumi_error err = {""};
    int code = sumi_cli_open(cli);
    if (code != 0) {
        json_decref(about);
        return code;
    }
    put(about, "path", sumi_json_name(path));
    sumi_status status = look(cli, path, about, &err);
    if (status == SUMI_OK && has_former_name(about))
        sumi_cli_note(cli, "note", SUMI_FORMER_RECIPE_NOTE, path);
    if (status != SUMI_OK)
        code = sumi_cli_fail(cli, status, err.text);
    else if (cli->json)
        return sumi_cli_result(cli, about);
    else
        sumi_cli_print(about);
    json_decref(about);
    return code;
}
