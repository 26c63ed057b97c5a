/*
 * Metadata of a model's file. "sumi.model" holds the model's description as JSON {version, net,
 * process, data, sampling, trained}; other keys are the user's. Files of version 0.1 have a key for
 * each number instead, "sumi.timesteps" and so on. A file with neither is read as the tutorial's
 * network: its sizes are those of its tensors, its process the tutorial's.
 */
#include "models/metadata.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/fields.h"
#include "models/sampling.h"

static const char DESCRIPTION[] = "sumi.model";

/* Texts that a model has among its metadata, and where the description keeps them. */
static const struct {
    const char *key, *part, *name;
} texts[] = {{"sumi.data", "data", "name"},
             {"sumi.data_hash", "data", "hash"},
             {"sumi.command", "trained", "command"}};
enum { TEXTS = sizeof texts / sizeof *texts };

/* ---- Writing --------------------------------------------------------------------------------- */

sumi_status sumi_models_set_metadata(sumi_model *model, const char *key, const char *value,
                                     sumi_error *err)
{
    if (!sumi_utf8_valid(key, strlen(key)))
        return sumi_fail(err, SUMI_EINVAL, "metadata key '%s' is not valid UTF-8", key);
    if (json_object_set_new(model->metadata, key, sumi_json_any(value)) != 0)
        return sumi_fail_memory(err, "metadata", strlen(value));
    return SUMI_OK;
}

json_t *sumi_json_seed(uint64_t seed)
{
    char text[24];
    if (seed <= INT64_MAX)
        return json_integer((json_int_t)seed);
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    return json_string(text);
}

static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

/* A number for each channel. */
static bool put_numbers(json_t *object, const char *key, const float *numbers, int count)
{
    json_t *list = json_array();
    bool ok = put(object, key, list);
    for (int i = 0; i < count && ok; i++)
        ok = json_array_append_new(list, sumi_short_real(numbers[i])) == 0;
    return ok;
}

static bool put_standard(json_t *process, const sumi_standard *standard)
{
    return put_numbers(process, "data_mean", standard->mean, standard->channels) &&
           put_numbers(process, "data_std", standard->deviation, standard->channels);
}

static json_t *describe(const sumi_model *model)
{
    json_t *root = json_object();
    bool ok = put(root, "version", json_string(SUMI_VERSION));
    for (unsigned part = 0; part < SUMI_PARTS; part++) {
        json_t *object = json_object();
        if (part == SUMI_PART_NET)
            ok = ok && put(object, "name", json_string(model->info.net));
        if (part == SUMI_PART_TRAINED)
            ok = ok && put(object, "recipe", json_string(model->info.preset));
        ok = ok && sumi_fields_write(object, model, 1u << part);
        ok = put(root, sumi_model_parts[part], object) && ok;
    }
    if (model->seed_known)
        ok = ok && put(json_object_get(root, "net"), "seed", sumi_json_seed(model->seed));
    if (model->standard.channels > 0)
        ok = ok && put_standard(json_object_get(root, "process"), &model->standard);
    if (model->classes)
        ok = ok && json_object_set(json_object_get(root, "data"), "classes", model->classes) == 0;
    ok = ok && (model->sampling ? json_object_set(root, "sampling", model->sampling) == 0
                                : put(root, "sampling", json_object()));
    for (int i = 0; i < TEXTS; i++) {
        json_t *text = json_object_get(model->metadata, texts[i].key);
        if (text)
            ok = ok &&
                 json_object_set(json_object_get(root, texts[i].part), texts[i].name, text) == 0;
    }
    if (ok)
        return root;
    json_decref(root);
    return NULL;
}

static bool is_text(const char *key)
{
    for (int i = 0; i < TEXTS; i++)
        if (strcmp(key, texts[i].key) == 0)
            return true;
    return false;
}

static bool add_pair(sumi_tensor_file *out, const char *key, const char *value)
{
    sumi_file_pair *pair = &out->metadata[out->metadata_count++];
    pair->key = sumi_strdup(key);
    pair->value = value ? sumi_strdup(value) : NULL;
    return pair->key && pair->value;
}

sumi_status sumi_metadata_to_file(const sumi_model *model, sumi_tensor_file *out, sumi_error *err)
{
    size_t capacity = 1 + json_object_size(model->metadata);
    out->metadata = sumi_calloc(capacity, sizeof *out->metadata);
    json_t *root = out->metadata ? describe(model) : NULL;
    char *text = root ? sumi_json_compact(root) : NULL;
    json_decref(root);
    bool ok = text && add_pair(out, DESCRIPTION, text);
    free(text);
    const char *key;
    json_t *value;
    json_object_foreach(model->metadata, key, value)
    {
        if (!is_text(key))
            ok = ok && add_pair(out, key, json_string_value(value));
    }
    return ok ? SUMI_OK : sumi_fail_memory(err, "metadata", capacity * sizeof *out->metadata);
}

/* ---- Reading a description ------------------------------------------------------------------- */

/* *out is NULL where the file has none. where: for messages. */
static sumi_status read_description(const char *path, const sumi_tensor_file *file,
                                    char where[PATH_MAX], json_t **out, sumi_error *err)
{
    const char *text = sumi_tensor_file_meta(file, DESCRIPTION);
    *out = NULL;
    snprintf(where, PATH_MAX, "%.*s: %s", PATH_MAX - 32, path, DESCRIPTION);
    if (!text)
        return SUMI_OK;
    sumi_status status = sumi_json_parse(where, (const uint8_t *)text, strlen(text), out, err);
    if (status != SUMI_OK)
        return status;
    for (int part = 0; part < SUMI_PARTS; part++) {
        if (json_is_object(json_object_get(*out, sumi_model_parts[part])))
            continue;
        json_decref(*out);
        *out = NULL;
        return sumi_fail(err, SUMI_EFORMAT, "%s: \"%s\": expected an object", where,
                         sumi_model_parts[part]);
    }
    return SUMI_OK;
}

static sumi_status config_from_description(const char *where, const json_t *root,
                                           sumi_model_config *config, sumi_error *err)
{
    const char *name;
    const json_t *net = json_object_get(root, "net");
    sumi_status status = sumi_json_string(where, net, "name", &name, err);
    if (status == SUMI_OK && sumi_net_find(name) >= 0)
        config->net = sumi_net_row(sumi_net_find(name))->is.name;
    else if (status == SUMI_OK)
        status = sumi_fail(err, SUMI_EUNSUPPORTED,
                           "%s: it holds a '%s' model, which this version of sumi does not know",
                           where, name);
    const char *recipe =
        json_string_value(json_object_get(json_object_get(root, "trained"), "recipe"));
    if (recipe && sumi_preset_find(recipe) >= 0)
        config->preset = sumi_preset_row(sumi_preset_find(recipe))->name;
    for (const sumi_field *f = sumi_model_fields; f->name && status == SUMI_OK; f++) {
        const json_t *part = json_object_get(root, sumi_model_parts[f->part]);
        double value = 0;
        if (f->config == SUMI_NO_CONFIG || !json_object_get(part, f->name))
            continue; /* of a version that had none */
        status = sumi_field_read(where, part, f, &value, err);
        if (status == SUMI_OK)
            sumi_field_set_config(f, config, value);
    }
    return status;
}

/* A list of strings, one for each label. */
static sumi_status read_classes(const char *where, const json_t *root, sumi_model *model,
                                sumi_error *err)
{
    json_t *classes = json_object_get(json_object_get(root, "data"), "classes"), *name;
    size_t i;
    if (!classes)
        return SUMI_OK;
    if (!json_is_array(classes) || json_array_size(classes) > SUMI_NAMES_MAX)
        return sumi_fail(err, SUMI_EFORMAT, "%s: \"classes\": expected a list of at most %d names",
                         where, SUMI_NAMES_MAX);
    json_array_foreach(classes, i, name)
    {
        if (!json_is_string(name))
            return sumi_fail(err, SUMI_EFORMAT, "%s: \"classes\": number %zu is no name", where, i);
    }
    model->classes = json_incref(classes);
    return SUMI_OK;
}

/* A number for each channel, within low..high. */
static sumi_status read_numbers(const char *where, const json_t *process, const char *key,
                                int channels, double low, double high, float *out, sumi_error *err)
{
    const json_t *list = json_object_get(process, key);
    for (int c = 0; c < channels; c++) {
        const json_t *number = json_array_get(list, (size_t)c);
        double value = json_number_value(number);
        if (json_array_size(list) != (size_t)channels || !json_is_number(number) ||
            !(value >= low && value <= high))
            return sumi_fail(err, SUMI_EFORMAT,
                             "%s: \"%s\": expected a list of %d numbers from %g to %g", where, key,
                             channels, low, high);
        out[c] = (float)value;
    }
    return SUMI_OK;
}

static sumi_status read_standard(const char *where, const json_t *root, sumi_model *model,
                                 sumi_error *err)
{
    const json_t *process = json_object_get(root, "process");
    float mean[SUMI_STANDARD_CHANNELS], deviation[SUMI_STANDARD_CHANNELS];
    int channels = model->info.in_channels;
    if (!json_is_array(json_object_get(process, "data_mean")))
        return SUMI_OK; /* not measured, or of a version that had none */
    sumi_status status = read_numbers(where, process, "data_mean", channels, -1e6, 1e6, mean, err);
    if (status == SUMI_OK)
        status = read_numbers(where, process, "data_std", channels, 1e-6, 1e6, deviation, err);
    if (status == SUMI_OK)
        sumi_model_set_standard(model, mean, deviation);
    return status;
}

static void read_seed(const json_t *root, sumi_model *model)
{
    const json_t *seed = json_object_get(json_object_get(root, "net"), "seed");
    model->seed_known = json_is_integer(seed) || json_is_string(seed);
    if (json_is_integer(seed))
        model->seed = (uint64_t)json_integer_value(seed);
    else if (json_is_string(seed))
        model->seed = strtoull(json_string_value(seed), NULL, 10);
}

/* How it is sampled where nobody says; a solver of a later version is told of when it is used. */
static sumi_status read_sampling(const char *where, const json_t *root, sumi_model *model,
                                 sumi_error *err)
{
    json_t *sampling = json_object_get(root, "sampling");
    sumi_sample_config config = SUMI_SAMPLE_CONFIG_INIT;
    if (!json_is_object(sampling))
        return SUMI_OK;
    sumi_status status = sumi_sampling_read(where, sampling, &config, err);
    if (status == SUMI_OK && json_object_size(sampling) > 0)
        sumi_sampling_set(model, sampling);
    return status;
}

static sumi_status model_from_description(const char *where, const json_t *root, sumi_model *model,
                                          sumi_error *err)
{
    sumi_status status = SUMI_OK;
    for (const sumi_field *f = sumi_model_fields; f->name && status == SUMI_OK; f++) {
        const json_t *part = json_object_get(root, sumi_model_parts[f->part]);
        double value = 0;
        if (f->config != SUMI_NO_CONFIG || !json_object_get(part, f->name))
            continue; /* it came with the config, or is of a later version */
        status = sumi_field_read(where, part, f, &value, err);
        if (status == SUMI_OK)
            sumi_field_set(f, model, value);
    }
    if (status == SUMI_OK)
        status = read_classes(where, root, model, err);
    if (status == SUMI_OK)
        status = read_standard(where, root, model, err);
    if (status != SUMI_OK)
        return status;
    read_seed(root, model);
    status = read_sampling(where, root, model, err);
    if (status != SUMI_OK)
        return status;
    for (int i = 0; i < TEXTS; i++) {
        json_t *text = json_object_get(json_object_get(root, texts[i].part), texts[i].name);
        if (json_is_string(text) && json_object_set(model->metadata, texts[i].key, text) != 0)
            return sumi_fail_memory(err, "metadata", 0);
    }
    return SUMI_OK;
}

/* ---- Reading files of version 0.1 ------------------------------------------------------------ */

static sumi_status read_number(const char *path, const sumi_tensor_file *file,
                               const sumi_field *field, double *out, sumi_error *err)
{
    char key[48], *end;
    snprintf(key, sizeof key, "sumi.%s", field->name);
    const char *text = sumi_tensor_file_meta(file, key);
    if (!text)
        return sumi_fail(err, SUMI_EFORMAT, "%s: metadata '%s' is missing", path, key);
    errno = 0;
    double value = sumi_parse_real(text, &end);
    if (end == text || *end != '\0' || errno == ERANGE ||
        !(value >= field->low && value <= field->high))
        return sumi_fail(err, SUMI_EFORMAT, "%s: metadata '%s' should be %g to %g, found '%s'",
                         path, key, field->low, field->high, text);
    if (field->kind != SUMI_FIELD_FLOAT && value != (double)(int64_t)value)
        return sumi_fail(err, SUMI_EFORMAT, "%s: metadata '%s' should be a whole number", path,
                         key);
    *out = value;
    return SUMI_OK;
}

/* Another objective or schedule would load, and be sampled wrongly. */
static sumi_status check_recipe(const char *path, const sumi_tensor_file *file, sumi_error *err)
{
    static const struct {
        const char *key, *known;
    } fixed[] = {{"sumi.objective", "eps"}, {"sumi.schedule", "linear"}};
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

static sumi_status config_before(const char *path, const sumi_tensor_file *file,
                                 sumi_model_config *config, sumi_error *err)
{
    const char *preset = sumi_tensor_file_meta(file, "sumi.preset");
    sumi_status status = SUMI_OK;
    if (sumi_net_find(preset) != SUMI_NET_TUTORIAL)
        return sumi_fail(err, SUMI_EUNSUPPORTED,
                         "%s: it holds a '%s' model, which this version of sumi does not know",
                         path, preset);
    for (const sumi_field *f = sumi_model_fields; f->name && status == SUMI_OK; f++) {
        double value = 0;
        if (!f->before || f->config == SUMI_NO_CONFIG)
            continue;
        status = read_number(path, file, f, &value, err);
        if (status == SUMI_OK)
            sumi_field_set_config(f, config, value);
    }
    return status;
}

static sumi_status model_before(const char *path, const sumi_tensor_file *file, sumi_model *model,
                                sumi_error *err)
{
    sumi_status status = SUMI_OK;
    for (const sumi_field *f = sumi_model_fields; f->name && status == SUMI_OK; f++) {
        double value = 0;
        if (!f->before || f->config != SUMI_NO_CONFIG)
            continue;
        status = read_number(path, file, f, &value, err);
        if (status == SUMI_OK)
            sumi_field_set(f, model, value);
    }
    return status;
}

/* A key that the description stands for now. */
static bool was_number(const char *key)
{
    static const char *const others[] = {"sumi.version", "sumi.preset", "sumi.objective",
                                         "sumi.schedule"};
    if (strncmp(key, "sumi.", 5) != 0)
        return false;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(key, others[i]) == 0)
            return true;
    for (const sumi_field *f = sumi_model_fields; f->name; f++)
        if (f->before && strcmp(key + 5, f->name) == 0)
            return true;
    return false;
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* Dimension `axis` of a tensor of the tutorial's network. */
static sumi_status read_dimension(const char *path, const sumi_tensor_file *file, const char *name,
                                  int axis, int *out, sumi_error *err)
{
    const sumi_file_tensor *tensor = sumi_tensor_file_find(file, name);
    if (!tensor)
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: tensor '%s' is missing: this is no model of sumi's", path, name);
    if (tensor->rank <= axis || tensor->shape[axis] < 1 || tensor->shape[axis] > 4096)
        return sumi_fail(err, SUMI_ESHAPE,
                         "%s: tensor '%s' has not the shape of the tutorial network's", path, name);
    *out = (int)tensor->shape[axis];
    return SUMI_OK;
}

static sumi_status config_from_shapes(const char *path, const sumi_tensor_file *file,
                                      sumi_model_config *config, sumi_error *err)
{
    const struct {
        const char *tensor;
        int axis, *out;
    } sizes[] = {{"down_conv1.conv.0.weight", 0, &config->base_channels},
                 {"down_conv1.conv.0.weight", 1, &config->in_channels},
                 {"down_conv1.linear.0.weight", 1, &config->time_dim},
                 {"out.weight", 0, &config->out_channels}};
    sumi_status status = SUMI_OK;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && status == SUMI_OK; i++)
        status = read_dimension(path, file, sizes[i].tensor, sizes[i].axis, sizes[i].out, err);
    return status;
}

sumi_status sumi_metadata_config(const char *path, const sumi_tensor_file *file,
                                 sumi_model_config *config, sumi_error *err)
{
    char where[PATH_MAX];
    json_t *root;
    *config = (sumi_model_config)SUMI_MODEL_CONFIG_INIT;
    if (sumi_tensor_file_meta(file, SUMI_CLASSIFIER_KEY))
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: an evaluator, not a model: `sumi eval --evaluator` takes it", path);
    sumi_status status = read_description(path, file, where, &root, err);
    if (status != SUMI_OK)
        return status;
    if (root) {
        status = config_from_description(where, root, config, err);
        json_decref(root);
        return status;
    }
    status = check_recipe(path, file, err);
    if (status != SUMI_OK)
        return status;
    return sumi_tensor_file_meta(file, "sumi.preset") ? config_before(path, file, config, err)
                                                      : config_from_shapes(path, file, config, err);
}

/* Pictures are made by dividing by the range's width. */
static sumi_status check_range(const char *path, const sumi_model_info_t *info, sumi_error *err)
{
    if (info->range_lo < info->range_hi)
        return SUMI_OK;
    return sumi_fail(err, SUMI_EFORMAT,
                     "%s: metadata 'sumi.range_lo' should be below 'sumi.range_hi', found %g and "
                     "%g",
                     path, (double)info->range_lo, (double)info->range_hi);
}

sumi_status sumi_metadata_from_file(const char *path, const sumi_tensor_file *file,
                                    sumi_model *model, sumi_error *err)
{
    char where[PATH_MAX];
    json_t *root;
    sumi_status status = read_description(path, file, where, &root, err);
    if (status != SUMI_OK)
        return status;
    if (root)
        status = model_from_description(where, root, model, err);
    else if (sumi_tensor_file_meta(file, "sumi.preset"))
        status = model_before(path, file, model, err);
    json_decref(root);
    if (status == SUMI_OK)
        status = check_range(path, &model->info, err);
    for (size_t i = 0; i < file->metadata_count && status == SUMI_OK; i++) {
        const sumi_file_pair *pair = &file->metadata[i];
        if (strcmp(pair->key, DESCRIPTION) != 0 && !was_number(pair->key))
            status = sumi_models_set_metadata(model, pair->key, pair->value, err);
    }
    return status;
}
