/*
 * The numbers that describe a model, once: what they are called in files, where they are, and what
 * they may be. Checks, files, a run's config.json and the comparison on going on come from here.
 */
#include "models/fields.h"

#include <stdio.h>
#include <string.h>

#define INFO(field) offsetof(sumi_model, info.field)
#define PROCESS(field) offsetof(sumi_model, process.field)
#define CONFIG(field) offsetof(sumi_model_config, field)

const sumi_field sumi_model_fields[] = {
    {"in_channels", SUMI_PART_NET, SUMI_FIELD_INT, INFO(in_channels), CONFIG(in_channels), 1, 64,
     true, 0},
    {"out_channels", SUMI_PART_NET, SUMI_FIELD_INT, INFO(out_channels), CONFIG(out_channels), 1, 64,
     true, 0},
    {"time_dim", SUMI_PART_NET, SUMI_FIELD_INT, INFO(time_dim), CONFIG(time_dim), 1, 4096, true, 0},
    {"base_channels", SUMI_PART_NET, SUMI_FIELD_INT, INFO(base_channels), CONFIG(base_channels), 1,
     1024, true, 0},
    {"objective", SUMI_PART_PROCESS, SUMI_FIELD_CHOICE, PROCESS(objective), SUMI_NO_CONFIG, 0, 0,
     false, SUMI_CHOICE_OBJECTIVE},
    {"schedule", SUMI_PART_PROCESS, SUMI_FIELD_CHOICE, PROCESS(schedule), SUMI_NO_CONFIG, 0, 0,
     false, SUMI_CHOICE_SCHEDULE},
    {"weighting", SUMI_PART_PROCESS, SUMI_FIELD_CHOICE, PROCESS(weighting), SUMI_NO_CONFIG, 0, 0,
     false, SUMI_CHOICE_WEIGHTING},
    {"law", SUMI_PART_PROCESS, SUMI_FIELD_CHOICE, PROCESS(law), SUMI_NO_CONFIG, 0, 0, false,
     SUMI_CHOICE_LAW},
    {"stratified", SUMI_PART_PROCESS, SUMI_FIELD_BOOL, PROCESS(stratified), SUMI_NO_CONFIG, 0, 1,
     false, 0},
    {"timesteps", SUMI_PART_PROCESS, SUMI_FIELD_INT, INFO(timesteps), CONFIG(timesteps), 1,
     SUMI_TIMESTEPS_MAX, true, 0},
    {"beta_start", SUMI_PART_PROCESS, SUMI_FIELD_FLOAT, INFO(beta_start), CONFIG(beta_start), 0, 1,
     true, 0},
    {"beta_end", SUMI_PART_PROCESS, SUMI_FIELD_FLOAT, INFO(beta_end), CONFIG(beta_end), 0, 1, true,
     0},
    {"sigma_min", SUMI_PART_PROCESS, SUMI_FIELD_FLOAT, PROCESS(sigma_min), SUMI_NO_CONFIG, 1e-6,
     1e6, false, 0},
    {"sigma_max", SUMI_PART_PROCESS, SUMI_FIELD_FLOAT, PROCESS(sigma_max), SUMI_NO_CONFIG, 1e-6,
     1e6, false, 0},
    {"sigma_data", SUMI_PART_PROCESS, SUMI_FIELD_FLOAT, PROCESS(sigma_data), SUMI_NO_CONFIG, 1e-6,
     1e6, false, 0},
    {"gamma", SUMI_PART_PROCESS, SUMI_FIELD_FLOAT, PROCESS(gamma), SUMI_NO_CONFIG, 1e-6, 1e6, false,
     0},
    {"law_mean", SUMI_PART_PROCESS, SUMI_FIELD_FLOAT, PROCESS(law_mean), SUMI_NO_CONFIG, -100, 100,
     false, 0},
    {"law_std", SUMI_PART_PROCESS, SUMI_FIELD_FLOAT, PROCESS(law_std), SUMI_NO_CONFIG, 1e-6, 100,
     false, 0},
    {"data_mean", SUMI_PART_PROCESS, SUMI_FIELD_FLOAT, offsetof(sumi_model, data_mean),
     SUMI_NO_CONFIG, -1e6, 1e6, false, 0},
    {"data_std", SUMI_PART_PROCESS, SUMI_FIELD_FLOAT, offsetof(sumi_model, data_std),
     SUMI_NO_CONFIG, 1e-6, 1e6, false, 0},
    {"range_lo", SUMI_PART_DATA, SUMI_FIELD_FLOAT, INFO(range_lo), SUMI_NO_CONFIG, -1e6, 1e6, true,
     0},
    {"range_hi", SUMI_PART_DATA, SUMI_FIELD_FLOAT, INFO(range_hi), SUMI_NO_CONFIG, -1e6, 1e6, true,
     0},
    {"height", SUMI_PART_DATA, SUMI_FIELD_INT, INFO(height), SUMI_NO_CONFIG, 0, 1 << 20, true, 0},
    {"width", SUMI_PART_DATA, SUMI_FIELD_INT, INFO(width), SUMI_NO_CONFIG, 0, 1 << 20, true, 0},
    {"steps", SUMI_PART_TRAINED, SUMI_FIELD_INT64, INFO(steps), SUMI_NO_CONFIG, 0,
     (double)((int64_t)1 << 52), true, 0},
    {NULL, SUMI_PART_NET, SUMI_FIELD_INT, 0, 0, 0, 0, false, 0},
};

const char *const sumi_model_parts[SUMI_PARTS] = {"net", "process", "data", "trained"};

/* ---- Values ---------------------------------------------------------------------------------- */

json_t *sumi_short_real(float value)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        sumi_format(text, sizeof text, "%.*g", digits, (double)value);
        if ((float)sumi_parse_real(text, NULL) == value)
            break;
    }
    return json_real(sumi_parse_real(text, NULL));
}

json_t *sumi_field_get(const sumi_field *field, const sumi_model *model)
{
    const void *at = (const char *)model + field->offset;
    switch (field->kind) {
    case SUMI_FIELD_INT:
        return json_integer(*(const int *)at);
    case SUMI_FIELD_INT64:
        return json_integer((json_int_t) * (const int64_t *)at);
    case SUMI_FIELD_BOOL:
        return json_boolean(*(const bool *)at);
    case SUMI_FIELD_FLOAT:
        return sumi_short_real(*(const float *)at);
    default:
        return json_string(sumi_choice_at((sumi_choice)field->choice, *(const int *)at)->name);
    }
}

void sumi_field_set(const sumi_field *field, void *at, double value)
{
    switch (field->kind) {
    case SUMI_FIELD_INT64:
        *(int64_t *)at = (int64_t)value;
        break;
    case SUMI_FIELD_BOOL:
        *(bool *)at = value != 0;
        break;
    case SUMI_FIELD_FLOAT:
        *(float *)at = (float)value;
        break;
    default:
        *(int *)at = (int)value;
    }
}

static double number_at(const sumi_field *field, const void *at)
{
    switch (field->kind) {
    case SUMI_FIELD_INT64:
        return (double)*(const int64_t *)at;
    case SUMI_FIELD_BOOL:
        return *(const bool *)at;
    case SUMI_FIELD_FLOAT:
        return (double)*(const float *)at;
    default:
        return *(const int *)at;
    }
}

bool sumi_fields_write(json_t *object, const sumi_model *model, unsigned parts)
{
    bool good = object != NULL;
    for (const sumi_field *f = sumi_model_fields; good && f->name; f++)
        if (parts >> f->part & 1)
            good = json_object_set_new(object, f->name, sumi_field_get(f, model)) == 0;
    return good;
}

static sumi_status read_choice(const char *path, const json_t *object, const sumi_field *field,
                               double *out, sumi_error *err)
{
    const char *name;
    int index = 0;
    sumi_status status = sumi_json_string(path, object, field->name, &name, err);
    if (status != SUMI_OK)
        return status;
    if (sumi_choice_find((sumi_choice)field->choice, name, &index, err) != SUMI_OK)
        return sumi_fail_prefix(err, SUMI_EUNSUPPORTED, path);
    *out = index;
    return SUMI_OK;
}

sumi_status sumi_field_read(const char *path, const json_t *object, const sumi_field *field,
                            void *at, sumi_error *err)
{
    const json_t *found = json_object_get(object, field->name);
    sumi_status status = SUMI_OK;
    int64_t whole = 0;
    double value = 0;
    if (!found)
        return SUMI_OK; /* of a version that had none */
    if (field->kind == SUMI_FIELD_CHOICE) {
        status = read_choice(path, object, field, &value, err);
    } else if (field->kind == SUMI_FIELD_BOOL) {
        if (!json_is_boolean(found))
            return sumi_fail(err, SUMI_EFORMAT, "%s: \"%s\": expected true or false", path,
                             field->name);
        value = json_is_true(found);
    } else if (field->kind == SUMI_FIELD_FLOAT) {
        status = sumi_json_real(path, object, field->name, field->low, field->high, &value, err);
    } else {
        status = sumi_json_int(path, object, field->name, (int64_t)field->low, (int64_t)field->high,
                               &whole, err);
        value = (double)whole;
    }
    if (status == SUMI_OK)
        sumi_field_set(field, at, value);
    return status;
}

/* ---- Checks and copies ----------------------------------------------------------------------- */

sumi_status sumi_model_check_config(const sumi_model_config *config, sumi_error *err)
{
    sumi_status status = sumi_net_check("net", config->net, err);
    if (status == SUMI_OK)
        status = sumi_net_check("preset", config->preset, err);
    for (const sumi_field *f = sumi_model_fields; f->name && status == SUMI_OK; f++) {
        if (f->config == SUMI_NO_CONFIG || f->kind != SUMI_FIELD_INT)
            continue;
        double value = number_at(f, (const char *)config + f->config);
        if (value < f->low || value > f->high)
            status = sumi_fail(err, SUMI_EINVAL, "%s must be %.0f to %.0f, found %.0f", f->name,
                               f->low, f->high, value);
    }
    if (status != SUMI_OK)
        return status;
    if (!(config->beta_start > 0 && config->beta_start <= config->beta_end && config->beta_end < 1))
        return sumi_fail(err, SUMI_EINVAL,
                         "betas must be 0 < beta_start <= beta_end < 1, found %g and %g",
                         (double)config->beta_start, (double)config->beta_end);
    return SUMI_OK;
}

void sumi_fields_from_config(sumi_model *model, const sumi_model_config *config)
{
    for (const sumi_field *f = sumi_model_fields; f->name; f++)
        if (f->config != SUMI_NO_CONFIG)
            sumi_field_set(f, (char *)model + f->offset,
                           number_at(f, (const char *)config + f->config));
}

void sumi_fields_to_config(const sumi_model *model, sumi_model_config *config)
{
    for (const sumi_field *f = sumi_model_fields; f->name; f++)
        if (f->config != SUMI_NO_CONFIG)
            sumi_field_set(f, (char *)config + f->config,
                           number_at(f, (const char *)model + f->offset));
}

void sumi_fields_settle(sumi_model *model)
{
    model->process.timesteps = model->info.timesteps;
    model->process.beta_start = model->info.beta_start;
    model->process.beta_end = model->info.beta_end;
}

sumi_status sumi_model_check_same(const char *path, const sumi_model *found,
                                  const sumi_model *expected, sumi_error *err)
{
    const char *net = expected->info.net;
    if (strcmp(found->info.net, net) != 0)
        return sumi_fail(err, SUMI_ESHAPE, "%s: a %s, expected a %s", path, found->info.net, net);
    for (const sumi_field *f = sumi_model_fields; f->name; f++) {
        if (f->part != SUMI_PART_NET && f->part != SUMI_PART_PROCESS)
            continue;
        double a = number_at(f, (const char *)found + f->offset);
        double b = number_at(f, (const char *)expected + f->offset);
        if (a == b)
            continue;
        if (f->kind == SUMI_FIELD_CHOICE)
            return sumi_fail(err, SUMI_ESHAPE, "%s: a model with %s %s, expected %s", path, f->name,
                             sumi_choice_at((sumi_choice)f->choice, (int)a)->name,
                             sumi_choice_at((sumi_choice)f->choice, (int)b)->name);
        return sumi_fail(err, SUMI_ESHAPE, "%s: a model with %s %.9g, expected %.9g", path, f->name,
                         a, b);
    }
    return SUMI_OK;
}

/* ---- The network's name ---------------------------------------------------------------------- */

/* What version 0.1 called it. */
static const char FORMER_NAME[] = "seed";

bool sumi_net_known(const char *name)
{
    return strcmp(name, SUMI_NET_TUTORIAL) == 0 || strcmp(name, FORMER_NAME) == 0;
}

sumi_status sumi_net_check(const char *what, const char *name, sumi_error *err)
{
    if (name && sumi_net_known(name))
        return SUMI_OK;
    return sumi_fail(err, SUMI_EINVAL, "unknown %s '%s'; there is: %s", what,
                     name ? name : "(null)", SUMI_NET_TUTORIAL);
}
