/*
 * The settings of a training that change its bits: one table says how each is written, and how it
 * is compared when the training goes on.
 */
#include "train/train.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum { KIND_INT, KIND_SEED, KIND_FLOAT, KIND_PRECISION } setting_kind;

typedef struct {
    const char *name;
    setting_kind kind;
    size_t offset;      /* in sumi_train_config */
    sumi_kept_by owner; /* whose it is: a step's, or only a whole run's */
} setting;

#define FIELD(field) offsetof(sumi_train_config, field)

/* Limits are not here: they say when a training ends, and may change. Nor is the batch among what a
 * trainer keeps: how many images its steps have is the caller's. */
static const setting settings[] = {
    {"batch", KIND_INT, FIELD(batch), SUMI_KEPT_BY_RUN},
    {"learning_rate", KIND_FLOAT, FIELD(learning_rate), SUMI_KEPT_BY_TRAINER},
    {"seed", KIND_SEED, FIELD(seed), SUMI_KEPT_BY_TRAINER},
    {"ema", KIND_FLOAT, FIELD(ema), SUMI_KEPT_BY_TRAINER},
    {"grid", KIND_INT, FIELD(grid), SUMI_KEPT_BY_RUN},
    {"grid_height", KIND_INT, FIELD(grid_height), SUMI_KEPT_BY_RUN},
    {"grid_width", KIND_INT, FIELD(grid_width), SUMI_KEPT_BY_RUN},
    {"grid_steps", KIND_INT, FIELD(grid_steps), SUMI_KEPT_BY_RUN},
    {"precision", KIND_PRECISION, FIELD(precision), SUMI_KEPT_BY_TRAINER},
};
enum { SETTINGS = sizeof settings / sizeof *settings };

/* ---- Writing --------------------------------------------------------------------------------- */

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

json_t *sumi_json_seed(uint64_t seed)
{
    char text[24];
    if (seed <= INT64_MAX)
        return json_integer((json_int_t)seed);
    snprintf(text, sizeof text, "%" PRIu64, seed);
    return json_string(text);
}

static const char *precision_name(sumi_precision precision)
{
    return precision == SUMI_PRECISION_BF16 ? "bf16" : "fp32";
}

static json_t *value_of(const setting *kept, const sumi_train_config *config)
{
    const void *at = (const char *)config + kept->offset;
    switch (kept->kind) {
    case KIND_INT:
        return json_integer(*(const int *)at);
    case KIND_SEED:
        return sumi_json_seed(*(const uint64_t *)at);
    case KIND_FLOAT:
        return sumi_short_real(*(const float *)at);
    default:
        return json_string(precision_name(*(const sumi_precision *)at));
    }
}

bool sumi_kept_write(json_t *object, const sumi_train_config *config, sumi_kept_by owner)
{
    bool good = object != NULL;
    for (int i = 0; i < SETTINGS; i++) {
        if (settings[i].owner <= owner)
            good = good && json_object_set_new(object, settings[i].name,
                                               value_of(&settings[i], config)) == 0;
    }
    return good;
}

/* ---- Comparing ------------------------------------------------------------------------------- */

/* As in a message: 0.001, bf16. */
static void value_text(const json_t *value, char out[48])
{
    if (json_is_string(value))
        snprintf(out, 48, "%.40s", json_string_value(value));
    else if (json_is_integer(value))
        snprintf(out, 48, "%lld", (long long)json_integer_value(value));
    else
        sumi_format(out, 48, "%.9g", json_real_value(value));
}

/* Files of before 0.2 hold a seed above INT64_MAX as the negative number with its bits. */
static bool is_setting(const setting *kept, const json_t *value, const sumi_train_config *config)
{
    const void *at = (const char *)config + kept->offset;
    switch (kept->kind) {
    case KIND_INT:
        return json_integer_value(value) == *(const int *)at;
    case KIND_SEED:
        if (json_is_integer(value))
            return (uint64_t)json_integer_value(value) == *(const uint64_t *)at;
        return strtoull(json_string_value(value), NULL, 10) == *(const uint64_t *)at;
    case KIND_FLOAT:
        return (float)json_number_value(value) == *(const float *)at;
    default:
        return strcmp(json_string_value(value), precision_name(*(const sumi_precision *)at)) == 0;
    }
}

static bool has_type(const setting *kept, const json_t *value)
{
    switch (kept->kind) {
    case KIND_INT:
        return json_is_integer(value);
    case KIND_SEED:
        return json_is_integer(value) || json_is_string(value);
    case KIND_FLOAT:
        return json_is_number(value);
    default:
        return json_is_string(value);
    }
}

sumi_status sumi_kept_check(const char *path, const json_t *object, const sumi_train_config *config,
                            sumi_kept_by owner, sumi_error *err)
{
    for (int i = 0; i < SETTINGS; i++) {
        const json_t *value = json_object_get(object, settings[i].name);
        char before[48], now[48];
        if (settings[i].owner > owner || !value)
            continue;
        if (!has_type(&settings[i], value))
            return sumi_fail(err, SUMI_EFORMAT, "%s: \"%s\" is not of its type", path,
                             settings[i].name);
        if (is_setting(&settings[i], value, config))
            continue;
        json_t *wanted = value_of(&settings[i], config);
        value_text(value, before);
        value_text(wanted, now);
        json_decref(wanted);
        return sumi_fail(err, SUMI_EINVAL, "%s: trained with %s %s, not %s", path, settings[i].name,
                         before, now);
    }
    return SUMI_OK;
}
