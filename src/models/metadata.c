/*
 * Metadata of a model's file. Numbers are decimal strings; floats have nine digits, enough to come
 * back as the same float32. A file without "sumi.preset" is read as the seed network: its sizes are
 * those of its tensors, its schedule the seed recipe's.
 */
#include "models/metadata.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The only ones there are so far: what the network predicts, and how the betas grow. */
static const char OBJECTIVE[] = "eps", SCHEDULE[] = "linear";

/* ---- Writing --------------------------------------------------------------------------------- */

sumi_status sumi_model_set_meta(sumi_model *model, const char *key, const char *value,
                                sumi_error *err)
{
    if (!sumi_utf8_valid(key, strlen(key)))
        return sumi_fail(err, SUMI_EINVAL, "metadata key '%s' is not valid UTF-8", key);
    if (json_object_set_new(model->metadata, key, sumi_json_any(value)) != 0)
        return sumi_fail_memory(err, "metadata", strlen(value));
    return SUMI_OK;
}

static bool add_pair(sumi_tensor_file *out, const char *key, const char *value)
{
    sumi_file_pair *pair = &out->metadata[out->metadata_count++];
    pair->key = sumi_strdup(key);
    pair->value = sumi_strdup(value);
    return pair->key && pair->value;
}

static bool add_int(sumi_tensor_file *out, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return add_pair(out, key, text);
}

static bool add_real(sumi_tensor_file *out, const char *key, double value)
{
    char text[32];
    sumi_format(text, sizeof text, "%.9g", value);
    return add_pair(out, key, text);
}

sumi_status sumi_metadata_to_file(const sumi_model *model, sumi_tensor_file *out, sumi_error *err)
{
    const sumi_model_info_t *info = &model->info;
    size_t capacity = 24 + json_object_size(model->metadata);
    out->metadata = sumi_calloc(capacity, sizeof *out->metadata);
    bool ok = out->metadata != NULL;
    ok = ok && add_pair(out, "sumi.version", SUMI_VERSION);
    ok = ok && add_pair(out, "sumi.preset", info->preset);
    ok = ok && add_pair(out, "sumi.objective", OBJECTIVE);
    ok = ok && add_pair(out, "sumi.schedule", SCHEDULE);
    ok = ok && add_int(out, "sumi.in_channels", info->in_channels);
    ok = ok && add_int(out, "sumi.out_channels", info->out_channels);
    ok = ok && add_int(out, "sumi.time_dim", info->time_dim);
    ok = ok && add_int(out, "sumi.base_channels", info->base_channels);
    ok = ok && add_int(out, "sumi.timesteps", info->timesteps);
    ok = ok && add_real(out, "sumi.beta_start", (double)info->beta_start);
    ok = ok && add_real(out, "sumi.beta_end", (double)info->beta_end);
    ok = ok && add_int(out, "sumi.height", info->height);
    ok = ok && add_int(out, "sumi.width", info->width);
    ok = ok && add_real(out, "sumi.range_lo", (double)info->range_lo);
    ok = ok && add_real(out, "sumi.range_hi", (double)info->range_hi);
    ok = ok && add_int(out, "sumi.steps", info->steps);
    const char *key;
    json_t *value;
    json_object_foreach(model->metadata, key, value) ok =
        ok && add_pair(out, key, json_string_value(value));
    return ok ? SUMI_OK : sumi_fail_memory(err, "metadata", capacity * sizeof *out->metadata);
}

/* ---- Reading --------------------------------------------------------------------------------- */

static sumi_status read_real(const char *path, const sumi_tensor_file *file, const char *key,
                             double low, double high, double *out, sumi_error *err)
{
    const char *text = sumi_tensor_file_meta(file, key);
    if (!text)
        return sumi_fail(err, SUMI_EFORMAT, "%s: metadata '%s' is missing", path, key);
    char *end;
    errno = 0;
    double value = sumi_parse_real(text, &end);
    if (end == text || *end != '\0' || errno == ERANGE || !(value >= low && value <= high))
        return sumi_fail(err, SUMI_EFORMAT, "%s: metadata '%s' should be %g to %g, found '%s'",
                         path, key, low, high, text);
    *out = value;
    return SUMI_OK;
}

static sumi_status read_int(const char *path, const sumi_tensor_file *file, const char *key,
                            int64_t low, int64_t high, int64_t *out, sumi_error *err)
{
    double value;
    sumi_status status = read_real(path, file, key, (double)low, (double)high, &value, err);
    if (status != SUMI_OK)
        return status;
    if (value != (double)(int64_t)value)
        return sumi_fail(err, SUMI_EFORMAT, "%s: metadata '%s' should be a whole number", path,
                         key);
    *out = (int64_t)value;
    return SUMI_OK;
}

/* Another objective or schedule would load, and be sampled wrongly. A file without the keys has the
 * seed recipe's. */
static sumi_status check_recipe(const char *path, const sumi_tensor_file *file, sumi_error *err)
{
    static const struct {
        const char *key, *known;
    } fixed[] = {{"sumi.objective", OBJECTIVE}, {"sumi.schedule", SCHEDULE}};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        const char *found = sumi_tensor_file_meta(file, fixed[i].key);
        if (found && strcmp(found, fixed[i].known) != 0)
            return sumi_fail(err, SUMI_EUNSUPPORTED,
                             "%s: metadata '%s' is '%s', which this version of sumi does not "
                             "know; expected '%s'",
                             path, fixed[i].key, found, fixed[i].known);
    }
    return SUMI_OK;
}

static sumi_status config_from_metadata(const char *path, const sumi_tensor_file *file,
                                        sumi_model_config *config, sumi_error *err)
{
    const char *preset = sumi_tensor_file_meta(file, "sumi.preset");
    if (strcmp(preset, "seed") != 0)
        return sumi_fail(err, SUMI_EUNSUPPORTED,
                         "%s: it holds a '%s' model, which this version of sumi does not know",
                         path, preset);
    struct {
        const char *key;
        int *out;
        int64_t low, high;
    } ints[] = {
        {"sumi.in_channels", &config->in_channels, 1, 64},
        {"sumi.out_channels", &config->out_channels, 1, 64},
        {"sumi.time_dim", &config->time_dim, 1, 4096},
        {"sumi.base_channels", &config->base_channels, 1, 1024},
        {"sumi.timesteps", &config->timesteps, 1, 100000},
    };
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        int64_t value;
        sumi_status status =
            read_int(path, file, ints[i].key, ints[i].low, ints[i].high, &value, err);
        if (status != SUMI_OK)
            return status;
        *ints[i].out = (int)value;
    }
    double start, end;
    sumi_status status = read_real(path, file, "sumi.beta_start", 0, 1, &start, err);
    if (status == SUMI_OK)
        status = read_real(path, file, "sumi.beta_end", 0, 1, &end, err);
    if (status != SUMI_OK)
        return status;
    config->beta_start = (float)start;
    config->beta_end = (float)end;
    return SUMI_OK;
}

/* Dimension `axis` of a tensor of the seed network. */
static sumi_status read_dimension(const char *path, const sumi_tensor_file *file, const char *name,
                                  int axis, int *out, sumi_error *err)
{
    const sumi_file_tensor *tensor = sumi_tensor_file_find(file, name);
    if (!tensor)
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: tensor '%s' is missing: this is no model of sumi's", path, name);
    if (tensor->rank <= axis || tensor->shape[axis] < 1 || tensor->shape[axis] > 4096)
        return sumi_fail(err, SUMI_ESHAPE,
                         "%s: tensor '%s' has not the shape of the seed network's", path, name);
    *out = (int)tensor->shape[axis];
    return SUMI_OK;
}

sumi_status sumi_metadata_config(const char *path, const sumi_tensor_file *file,
                                 sumi_model_config *config, sumi_error *err)
{
    *config = (sumi_model_config)SUMI_MODEL_CONFIG_INIT;
    sumi_status status = check_recipe(path, file, err);
    if (status != SUMI_OK)
        return status;
    if (sumi_tensor_file_meta(file, "sumi.preset"))
        return config_from_metadata(path, file, config, err);
    status = read_dimension(path, file, "down_conv1.conv.0.weight", 0, &config->base_channels, err);
    if (status == SUMI_OK)
        status =
            read_dimension(path, file, "down_conv1.conv.0.weight", 1, &config->in_channels, err);
    if (status == SUMI_OK)
        status =
            read_dimension(path, file, "down_conv1.linear.0.weight", 1, &config->time_dim, err);
    if (status == SUMI_OK)
        status = read_dimension(path, file, "out.weight", 0, &config->out_channels, err);
    return status;
}

/* Pictures are made by dividing by the range's width. */
static sumi_status read_range(const char *path, const sumi_tensor_file *file,
                              sumi_model_info_t *info, sumi_error *err)
{
    double lo, hi;
    sumi_status status = read_real(path, file, "sumi.range_lo", -1e6, 1e6, &lo, err);
    if (status == SUMI_OK)
        status = read_real(path, file, "sumi.range_hi", -1e6, 1e6, &hi, err);
    if (status != SUMI_OK)
        return status;
    if (!((float)lo < (float)hi))
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: metadata 'sumi.range_lo' should be below 'sumi.range_hi', found %g "
                         "and %g",
                         path, lo, hi);
    info->range_lo = (float)lo;
    info->range_hi = (float)hi;
    return SUMI_OK;
}

static sumi_status read_training(const char *path, const sumi_tensor_file *file,
                                 sumi_model_info_t *info, sumi_error *err)
{
    int64_t height, width;
    sumi_status status = read_int(path, file, "sumi.height", 0, 1 << 20, &height, err);
    if (status == SUMI_OK)
        status = read_int(path, file, "sumi.width", 0, 1 << 20, &width, err);
    if (status == SUMI_OK)
        status = read_int(path, file, "sumi.steps", 0, (int64_t)1 << 52, &info->steps, err);
    if (status != SUMI_OK)
        return status;
    info->height = (int)height;
    info->width = (int)width;
    return read_range(path, file, info, err);
}

sumi_status sumi_metadata_from_file(const char *path, const sumi_tensor_file *file,
                                    sumi_model *model, sumi_error *err)
{
    sumi_status status = SUMI_OK;
    if (sumi_tensor_file_meta(file, "sumi.preset"))
        status = read_training(path, file, &model->info, err);
    /* Keys that describe the run behind the weights are kept; those above are made anew. */
    static const char *const made_anew[] = {
        "sumi.version",     "sumi.preset",       "sumi.objective", "sumi.schedule",
        "sumi.in_channels", "sumi.out_channels", "sumi.time_dim",  "sumi.base_channels",
        "sumi.timesteps",   "sumi.beta_start",   "sumi.beta_end",  "sumi.height",
        "sumi.width",       "sumi.range_lo",     "sumi.range_hi",  "sumi.steps"};
    for (size_t i = 0; i < file->metadata_count && status == SUMI_OK; i++) {
        bool known = false;
        for (size_t j = 0; j < sizeof made_anew / sizeof *made_anew; j++)
            known |= strcmp(file->metadata[i].key, made_anew[j]) == 0;
        if (!known)
            status =
                sumi_model_set_meta(model, file->metadata[i].key, file->metadata[i].value, err);
    }
    return status;
}
