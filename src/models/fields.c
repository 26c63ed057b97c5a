/*
 * The numbers that describe a model, once: what they are called in files, where they are, and what
 * they may be. Checks, files, a run's config.json and the comparison on going on come from here.
 */
#include "models/fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INFO(field) offsetof(sumi_model, info.field)
#define PROCESS(field) offsetof(sumi_model, process.field)
#define CONFIG(field) offsetof(sumi_model_config, field)
#define UNET (1u << SUMI_NET_UNET)

/* What sumi_model_config has begins as SUMI_MODEL_CONFIG_INIT says; a test compares the two. */
const sumi_field sumi_model_fields[] = {
    {.name = "in_channels",
     .kind = SUMI_FIELD_INT,
     .part = SUMI_PART_NET,
     .offset = INFO(in_channels),
     .config = CONFIG(in_channels),
     .low = 1,
     .high = 64,
     .initial = "1",
     .before = true,
     .from_data = true,
     .about = "Channels of the images that the network is given."},
    {.name = "out_channels",
     .kind = SUMI_FIELD_INT,
     .part = SUMI_PART_NET,
     .offset = INFO(out_channels),
     .config = CONFIG(out_channels),
     .low = 1,
     .high = 64,
     .initial = "1",
     .before = true,
     .from_data = true,
     .about = "Channels of what the network returns."},
    {.name = "time_dim",
     .kind = SUMI_FIELD_INT,
     .part = SUMI_PART_NET,
     .offset = INFO(time_dim),
     .config = CONFIG(time_dim),
     .low = 1,
     .high = 4096,
     .initial = "100",
     .before = true,
     .about = "Numbers in the embedding of the timestep."},
    {.name = "base_channels",
     .kind = SUMI_FIELD_INT,
     .part = SUMI_PART_NET,
     .offset = INFO(base_channels),
     .config = CONFIG(base_channels),
     .low = 1,
     .high = 1024,
     .initial = "64",
     .before = true,
     .about = "Width of the network's first level; the tutorial's others are two and four times as "
              "wide."},
    {.name = "multipliers",
     .kind = SUMI_FIELD_LIST,
     .part = SUMI_PART_NET,
     .offset = offsetof(sumi_model, multipliers),
     .config = CONFIG(multipliers),
     .low = 1,
     .high = SUMI_LIST_MAX,
     .initial = "1,2,4",
     .nets = UNET,
     .about = "How much wider than the first each level of unet is; a level has half the height "
              "and width of the one before."},
    {.name = "blocks",
     .kind = SUMI_FIELD_LIST,
     .part = SUMI_PART_NET,
     .offset = offsetof(sumi_model, blocks),
     .config = CONFIG(blocks),
     .low = 1,
     .high = SUMI_LIST_MAX,
     .initial = "1,2,2",
     .nets = UNET,
     .about = "Residual blocks of each level of unet, on the way down and again on the way up."},
    {.name = "attention",
     .kind = SUMI_FIELD_LIST,
     .part = SUMI_PART_NET,
     .offset = offsetof(sumi_model, attention),
     .config = CONFIG(attention),
     .low = 0,
     .high = SUMI_LIST_MAX,
     .initial = "none",
     .nets = UNET,
     .about = "Levels of unet, counted from 1, whose blocks are each followed by attention between "
              "all pixels: 3, or 2,3, or none."},
    {.name = "head_channels",
     .kind = SUMI_FIELD_INT,
     .part = SUMI_PART_NET,
     .offset = offsetof(sumi_model, head_channels),
     .config = CONFIG(head_channels),
     .low = 1,
     .high = 1024,
     .initial = "64",
     .nets = UNET,
     .about = "Channels of a head of attention; a level has as many heads as divide its channels "
              "and have no fewer."},
    {.name = "classes",
     .kind = SUMI_FIELD_INT,
     .part = SUMI_PART_NET,
     .offset = offsetof(sumi_model, label_count),
     .config = CONFIG(classes),
     .high = SUMI_NAMES_MAX,
     .initial = "0",
     .from_data = true,
     .nets = UNET,
     .about = "Labels that unet is told of; 0: none."},
    {.name = "augmentation",
     .kind = SUMI_FIELD_INT,
     .part = SUMI_PART_NET,
     .offset = offsetof(sumi_model, told),
     .config = CONFIG(augmentation),
     .high = 64,
     .initial = "0",
     .from_data = true,
     .nets = UNET,
     .about =
         "Numbers by which unet is told, in training, what was made of an image; 0: it is not."},
    {.name = "objective",
     .kind = SUMI_FIELD_CHOICE,
     .part = SUMI_PART_PROCESS,
     .offset = PROCESS(objective),
     .config = CONFIG(objective),
     .choice = SUMI_CHOICE_OBJECTIVE,
     .initial = "eps",
     .about = "What the network learns to return: the noise (eps), the image (x0), or a mix of "
              "both."},
    {.name = "schedule",
     .kind = SUMI_FIELD_CHOICE,
     .part = SUMI_PART_PROCESS,
     .offset = PROCESS(schedule),
     .config = CONFIG(schedule),
     .choice = SUMI_CHOICE_SCHEDULE,
     .initial = "linear",
     .about = "How noise grows from step 0 to step T; eps needs one that leaves some of the image "
              "at T."},
    {.name = "weighting",
     .kind = SUMI_FIELD_CHOICE,
     .part = SUMI_PART_PROCESS,
     .offset = PROCESS(weighting),
     .config = CONFIG(weighting),
     .choice = SUMI_CHOICE_WEIGHTING,
     .initial = "uniform",
     .about = "How much the loss of a step counts; uniform counts all alike, the others go by the "
              "signal-to-noise ratio."},
    {.name = "law",
     .kind = SUMI_FIELD_CHOICE,
     .part = SUMI_PART_PROCESS,
     .offset = PROCESS(law),
     .config = CONFIG(law),
     .choice = SUMI_CHOICE_LAW,
     .initial = "uniform",
     .about = "How often training draws each step."},
    {.name = "stratified",
     .kind = SUMI_FIELD_BOOL,
     .part = SUMI_PART_PROCESS,
     .offset = PROCESS(stratified),
     .config = CONFIG(stratified),
     .high = 1,
     .initial = "false",
     .about = "Spread the steps that are drawn for a batch evenly, where they are else "
              "independent."},
    {.name = "zero_snr",
     .kind = SUMI_FIELD_BOOL,
     .part = SUMI_PART_PROCESS,
     .offset = PROCESS(zero_snr),
     .config = CONFIG(zero_snr),
     .high = 1,
     .initial = "false",
     .about = "Rescale the betas of a schedule so that step T has nothing of the image; for every "
              "objective but eps."},
    {.name = "timesteps",
     .kind = SUMI_FIELD_INT,
     .part = SUMI_PART_PROCESS,
     .offset = INFO(timesteps),
     .config = CONFIG(timesteps),
     .low = 1,
     .high = SUMI_TIMESTEPS_MAX,
     .initial = "1000",
     .before = true,
     .about = "Steps T from an image to noise."},
    {.name = "beta_start",
     .kind = SUMI_FIELD_FLOAT,
     .part = SUMI_PART_PROCESS,
     .offset = INFO(beta_start),
     .config = CONFIG(beta_start),
     .low = 1e-9,
     .high = .999999,
     .initial = "0.001",
     .before = true,
     .about = "Noise added by step 1 of the schedule linear; the steps between lie on a line."},
    {.name = "beta_end",
     .kind = SUMI_FIELD_FLOAT,
     .part = SUMI_PART_PROCESS,
     .offset = INFO(beta_end),
     .config = CONFIG(beta_end),
     .low = 1e-9,
     .high = .999999,
     .initial = "0.01",
     .before = true,
     .about = "Noise added by step T of the schedule linear."},
    {.name = "sigma_min",
     .kind = SUMI_FIELD_FLOAT,
     .part = SUMI_PART_PROCESS,
     .offset = PROCESS(sigma_min),
     .config = CONFIG(sigma_min),
     .low = 1e-6,
     .high = 1e6,
     .initial = "0.002",
     .about = "Least noise of the schedule edm."},
    {.name = "sigma_max",
     .kind = SUMI_FIELD_FLOAT,
     .part = SUMI_PART_PROCESS,
     .offset = PROCESS(sigma_max),
     .config = CONFIG(sigma_max),
     .low = 1e-6,
     .high = 1e6,
     .initial = "80",
     .about = "Most noise of the schedule edm."},
    {.name = "sigma_data",
     .kind = SUMI_FIELD_FLOAT,
     .part = SUMI_PART_PROCESS,
     .offset = PROCESS(sigma_data),
     .config = CONFIG(sigma_data),
     .low = 1e-6,
     .high = 1e6,
     .initial = "0.5",
     .about = "Standard deviation of the data's values, which the objective and the weighting edm "
              "go by."},
    {.name = "gamma",
     .kind = SUMI_FIELD_FLOAT,
     .part = SUMI_PART_PROCESS,
     .offset = PROCESS(gamma),
     .config = CONFIG(gamma),
     .low = 1e-6,
     .high = 1e6,
     .initial = "5",
     .about = "Signal-to-noise ratio at which the weightings min-snr and soft-min-snr stop to "
              "grow."},
    {.name = "law_mean",
     .kind = SUMI_FIELD_FLOAT,
     .part = SUMI_PART_PROCESS,
     .offset = PROCESS(law_mean),
     .config = CONFIG(law_mean),
     .low = -100,
     .high = 100,
     .initial = "0",
     .about = "Mean of the normal distribution inside the laws log-normal and logit-normal."},
    {.name = "law_std",
     .kind = SUMI_FIELD_FLOAT,
     .part = SUMI_PART_PROCESS,
     .offset = PROCESS(law_std),
     .config = CONFIG(law_std),
     .low = 1e-6,
     .high = 100,
     .initial = "1",
     .about = "Its standard deviation."},
    {.name = "standardise",
     .kind = SUMI_FIELD_BOOL,
     .part = SUMI_PART_PROCESS,
     .offset = offsetof(sumi_model, standardise),
     .config = CONFIG(standardise),
     .high = 1,
     .initial = "false",
     .about = "Shift and scale each channel of the data to mean 0 and a deviation of sigma_data; "
              "images and samples stay what they are."},
    {.name = "range_lo",
     .kind = SUMI_FIELD_FLOAT,
     .part = SUMI_PART_DATA,
     .offset = INFO(range_lo),
     .config = SUMI_NO_CONFIG,
     .low = -1e6,
     .high = 1e6,
     .initial = "0",
     .before = true,
     .about = "What black is in the data."},
    {.name = "range_hi",
     .kind = SUMI_FIELD_FLOAT,
     .part = SUMI_PART_DATA,
     .offset = INFO(range_hi),
     .config = SUMI_NO_CONFIG,
     .low = -1e6,
     .high = 1e6,
     .initial = "1",
     .before = true,
     .about = "What white is in the data."},
    {.name = "height",
     .kind = SUMI_FIELD_INT,
     .part = SUMI_PART_DATA,
     .offset = INFO(height),
     .config = SUMI_NO_CONFIG,
     .high = 1 << 20,
     .initial = "0",
     .before = true,
     .about = "Height of the images that it was trained on; 0: not known."},
    {.name = "width",
     .kind = SUMI_FIELD_INT,
     .part = SUMI_PART_DATA,
     .offset = INFO(width),
     .config = SUMI_NO_CONFIG,
     .high = 1 << 20,
     .initial = "0",
     .before = true,
     .about = "Width of the images that it was trained on; 0: not known."},
    {.name = "steps",
     .kind = SUMI_FIELD_INT64,
     .part = SUMI_PART_TRAINED,
     .offset = INFO(steps),
     .config = SUMI_NO_CONFIG,
     .high = (double)((int64_t)1 << 52),
     .initial = "0",
     .before = true,
     .about = "Training steps behind the weights."},
    {.name = NULL},
};

const char *const sumi_model_parts[SUMI_PARTS] = {"net", "process", "data", "trained"};

/* ---- Values ---------------------------------------------------------------------------------- */

json_t *sumi_short_real(float value)
{
    return json_real(sumi_shortest(value));
}

/* A list as a number: five bits for each of its own, the first lowest; 0 ends it. 0 where it has
 * none, -1 where one is out of range. */
static double pack(const int list[SUMI_LEVELS_MAX])
{
    int64_t packed = 0;
    for (int i = 0; i < SUMI_LEVELS_MAX && list[i] != 0; i++) {
        if (list[i] < 1 || list[i] > SUMI_LIST_MAX)
            return -1;
        packed |= (int64_t)list[i] << 5 * i;
    }
    return (double)packed;
}

static void unpack(double number, int list[SUMI_LEVELS_MAX])
{
    for (int i = 0; i < SUMI_LEVELS_MAX; i++)
        list[i] = (int)((int64_t)number >> 5 * i & SUMI_LIST_MAX);
}

/* A list without numbers, where there may be such a one. */
static const char NONE[] = "none";

/* From "1,2,4". */
static bool parse_list(const sumi_field *field, const char *text, double *out)
{
    int list[SUMI_LEVELS_MAX] = {0};
    *out = 0;
    if (field->low == 0 && strcmp(text, NONE) == 0)
        return true;
    for (int i = 0;; i++, text++) {
        char *end;
        long value =
            i < SUMI_LEVELS_MAX && *text >= '0' && *text <= '9' ? strtol(text, &end, 10) : 0;
        if (value < 1 || value > SUMI_LIST_MAX)
            return false;
        list[i] = (int)value;
        text = end;
        if (*text != ',')
            break;
    }
    *out = pack(list);
    return *text == '\0';
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
    case SUMI_FIELD_LIST:
        return pack(at);
    default:
        return *(const int *)at;
    }
}

static void set_at(const sumi_field *field, void *at, double value)
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
    case SUMI_FIELD_LIST:
        unpack(value, at);
        break;
    default:
        *(int *)at = (int)value;
    }
}

double sumi_field_number(const sumi_field *field, const sumi_model *model)
{
    return number_at(field, (const char *)model + field->offset);
}

const char *sumi_field_name(const sumi_field *field, double number)
{
    return field->kind == SUMI_FIELD_CHOICE ? sumi_choice_at(field->choice, (int)number)->name
                                            : NULL;
}

const char *sumi_field_text(const sumi_field *field, const sumi_model *model)
{
    const void *at = (const char *)model + field->offset;
    return field->kind == SUMI_FIELD_LIST ? ((const sumi_list *)at)->text
                                          : sumi_field_name(field, sumi_field_number(field, model));
}

bool sumi_field_applies(const sumi_field *field, const sumi_model *model)
{
    return !field->nets || field->nets >> sumi_net_find(model->info.net) & 1;
}

void sumi_field_set(const sumi_field *field, sumi_model *model, double value)
{
    void *at = (char *)model + field->offset;
    set_at(field, at, value);
    if (field->kind == SUMI_FIELD_LIST) {
        sumi_list *list = at;
        size_t used = 0;
        sumi_copy_text(list->text, sizeof list->text, list->numbers[0] > 0 ? "" : NONE);
        for (int i = 0; i < SUMI_LEVELS_MAX && list->numbers[i] > 0; i++)
            used += (size_t)snprintf(list->text + used, sizeof list->text - used, "%s%d",
                                     i ? "," : "", list->numbers[i]);
    }
}

void sumi_field_set_config(const sumi_field *field, sumi_model_config *config, double value)
{
    void *at = (char *)config + field->config;
    if (field->kind == SUMI_FIELD_CHOICE)
        *(const char **)at = sumi_field_name(field, value);
    else
        set_at(field, at, value);
}

static sumi_status check_number(const sumi_field *field, double value, sumi_error *err)
{
    if (field->kind == SUMI_FIELD_CHOICE || (value >= field->low && value <= field->high))
        return SUMI_OK;
    if (field->kind == SUMI_FIELD_LIST && (value > 0 || (value == 0 && field->low == 0)))
        return SUMI_OK;
    if (field->kind == SUMI_FIELD_LIST)
        return sumi_fail(err, SUMI_EINVAL, "%s must be 1 to %d whole numbers, each from 1 to %.0f",
                         field->name, SUMI_LEVELS_MAX, field->high);
    return sumi_fail(err, SUMI_EINVAL, "%s must be %.9g to %.9g, found %.9g", field->name,
                     field->low, field->high, value);
}

/* The number of a choice's name or of a list's text. */
static bool parse_words(const sumi_field *field, const char *text, double *out)
{
    int row = 0;
    if (field->kind == SUMI_FIELD_LIST)
        return parse_list(field, text, out);
    bool found = sumi_choice_find(field->choice, text, &row, NULL) == SUMI_OK;
    *out = row;
    return found;
}

sumi_status sumi_field_give_config(const sumi_field *field, sumi_model_config *config,
                                   double number, const char *text)
{
    bool words = field->kind == SUMI_FIELD_CHOICE || field->kind == SUMI_FIELD_LIST;
    if (field->config == SUMI_NO_CONFIG || (words && !text))
        return SUMI_EINVAL;
    if (words && !parse_words(field, text, &number))
        return SUMI_EINVAL;
    if (check_number(field, number, NULL) != SUMI_OK)
        return SUMI_EINVAL;
    sumi_field_set_config(field, config, number);
    return SUMI_OK;
}

/* A choice's number, which the config has by name. */
static sumi_status config_number(const sumi_field *field, const sumi_model_config *config,
                                 double *out, sumi_error *err)
{
    const void *at = (const char *)config + field->config;
    int index = 0;
    if (field->kind != SUMI_FIELD_CHOICE) {
        *out = number_at(field, at);
        return SUMI_OK;
    }
    sumi_status status = sumi_choice_find(field->choice, *(const char *const *)at, &index, err);
    *out = index;
    return status;
}

const sumi_field *sumi_field_find(const char *name)
{
    for (const sumi_field *f = sumi_model_fields; f->name; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

/* ---- In files -------------------------------------------------------------------------------- */

static json_t *field_json(const sumi_field *field, const sumi_model *model)
{
    double number = sumi_field_number(field, model);
    switch (field->kind) {
    case SUMI_FIELD_BOOL:
        return json_boolean(number != 0);
    case SUMI_FIELD_FLOAT:
        return sumi_short_real((float)number);
    case SUMI_FIELD_CHOICE:
    case SUMI_FIELD_LIST:
        return json_string(sumi_field_text(field, model));
    default:
        return json_integer((json_int_t)number);
    }
}

bool sumi_fields_write(json_t *object, const sumi_model *model, unsigned parts)
{
    bool good = object != NULL;
    for (const sumi_field *f = sumi_model_fields; good && f->name; f++)
        if (parts >> f->part & 1 && sumi_field_applies(f, model))
            good = json_object_set_new(object, f->name, field_json(f, model)) == 0;
    return good;
}

static sumi_status read_words(const char *path, const json_t *object, const sumi_field *field,
                              double *out, sumi_error *err)
{
    const char *name;
    int index = 0;
    sumi_status status = sumi_json_string(path, object, field->name, &name, err);
    if (status != SUMI_OK)
        return status;
    if (field->kind == SUMI_FIELD_LIST)
        return parse_list(field, name, out)
                   ? SUMI_OK
                   : sumi_fail(err, SUMI_EFORMAT, "%s: \"%s\": expected numbers such as %s", path,
                               field->name, field->initial);
    if (sumi_choice_find(field->choice, name, &index, err) != SUMI_OK)
        return sumi_fail_prefix(err, SUMI_EUNSUPPORTED, path);
    *out = index;
    return SUMI_OK;
}

sumi_status sumi_field_read(const char *path, const json_t *object, const sumi_field *field,
                            double *out, sumi_error *err)
{
    const json_t *found = json_object_get(object, field->name);
    sumi_status status = SUMI_OK;
    int64_t whole = 0;
    if (field->kind == SUMI_FIELD_CHOICE || field->kind == SUMI_FIELD_LIST) {
        status = read_words(path, object, field, out, err);
    } else if (field->kind == SUMI_FIELD_BOOL) {
        if (!json_is_boolean(found))
            return sumi_fail(err, SUMI_EFORMAT, "%s: \"%s\": expected true or false", path,
                             field->name);
        *out = json_is_true(found);
    } else if (field->kind == SUMI_FIELD_FLOAT) {
        status = sumi_json_real(path, object, field->name, field->low, field->high, out, err);
    } else {
        status = sumi_json_int(path, object, field->name, (int64_t)field->low, (int64_t)field->high,
                               &whole, err);
        *out = (double)whole;
    }
    return status;
}

/* ---- Checks and copies ----------------------------------------------------------------------- */

sumi_status sumi_model_check_config(const sumi_model_config *config, sumi_error *err)
{
    sumi_status status = sumi_net_check("net", config->net, err);
    if (status == SUMI_OK)
        status = sumi_preset_check(config->preset, err);
    if (status == SUMI_OK &&
        !(config->beta_start > 0 && config->beta_start <= config->beta_end && config->beta_end < 1))
        status = sumi_fail(err, SUMI_EINVAL,
                           "betas must be 0 < beta_start <= beta_end < 1, found %g and %g",
                           (double)config->beta_start, (double)config->beta_end);
    for (const sumi_field *f = sumi_model_fields; f->name && status == SUMI_OK; f++) {
        double value = 0;
        if (f->config == SUMI_NO_CONFIG)
            continue;
        status = config_number(f, config, &value, err);
        if (status == SUMI_OK)
            status = check_number(f, value, err);
    }
    return status;
}

void sumi_fields_from_config(sumi_model *model, const sumi_model_config *config)
{
    for (const sumi_field *f = sumi_model_fields; f->name; f++) {
        double value = 0;
        if (f->config != SUMI_NO_CONFIG && config_number(f, config, &value, NULL) == SUMI_OK)
            sumi_field_set(f, model, value);
    }
    model->standard.to = model->process.sigma_data;
    model->process.timesteps = model->info.timesteps;
    model->process.beta_start = model->info.beta_start;
    model->process.beta_end = model->info.beta_end;
}

void sumi_fields_to_config(const sumi_model *model, sumi_model_config *config)
{
    for (const sumi_field *f = sumi_model_fields; f->name; f++)
        if (f->config != SUMI_NO_CONFIG)
            sumi_field_set_config(f, config, sumi_field_number(f, model));
}

sumi_status sumi_model_check_same(const char *path, const sumi_model *found,
                                  const sumi_model *expected, sumi_error *err)
{
    const char *net = expected->info.net;
    if (strcmp(found->info.net, net) != 0)
        return sumi_fail(err, SUMI_ESHAPE, "%s: a %s, expected a %s", path, found->info.net, net);
    for (const sumi_field *f = sumi_model_fields; f->name; f++) {
        if ((f->part != SUMI_PART_NET && f->part != SUMI_PART_PROCESS) ||
            !sumi_field_applies(f, expected))
            continue;
        double a = sumi_field_number(f, found), b = sumi_field_number(f, expected);
        if (a == b)
            continue;
        if (sumi_field_text(f, found))
            return sumi_fail(err, SUMI_ESHAPE, "%s: a model with %s %s, expected %s", path, f->name,
                             sumi_field_text(f, found), sumi_field_text(f, expected));
        return sumi_fail(err, SUMI_ESHAPE, "%s: a model with %s %.9g, expected %.9g", path, f->name,
                         a, b);
    }
    for (int c = 0; c < found->standard.channels && c < expected->standard.channels; c++)
        if (found->standard.mean[c] != expected->standard.mean[c] ||
            found->standard.deviation[c] != expected->standard.deviation[c])
            return sumi_fail(
                err, SUMI_ESHAPE,
                "%s: a model of data with mean %.9g and deviation %.9g in channel %d, "
                "expected %.9g and %.9g",
                path, (double)found->standard.mean[c], (double)found->standard.deviation[c], c,
                (double)expected->standard.mean[c], (double)expected->standard.deviation[c]);
    return SUMI_OK;
}
