/*
 * Settings that change the bits of a training. A table says how each is written where a training
 * is saved, and how it is compared where it goes on.
 */
#include "train/train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(field) offsetof(sumi_trainer_config, field)

/* Limits are not here: they say when a training ends, and may change. A file of a version that did
 * not have a setting did what `before` says. */
const sumi_kept sumi_kept_trainer[] = {
    {"learning_rate", SUMI_KEPT_FLOAT, FIELD(learning_rate), NULL},
    {"rate_schedule", SUMI_KEPT_TEXT, FIELD(rate_schedule), "constant"},
    {"warmup_steps", SUMI_KEPT_INT64, FIELD(warmup_steps), "0"},
    {"schedule_steps", SUMI_KEPT_END, FIELD(schedule_steps), "0"},
    {"final_rate", SUMI_KEPT_FLOAT, FIELD(final_rate), "0"},
    {"optimiser", SUMI_KEPT_TEXT, FIELD(optimiser), "adam"},
    {"accumulate", SUMI_KEPT_INT, FIELD(accumulate), "1"},
    {"groups", SUMI_KEPT_INT, FIELD(groups), "0"},
    {"transport", SUMI_KEPT_PRECISION, FIELD(transport), "fp32"},
    {"beta1", SUMI_KEPT_FLOAT, FIELD(beta1), "0"},
    {"beta2", SUMI_KEPT_FLOAT, FIELD(beta2), "0"},
    {"epsilon", SUMI_KEPT_FLOAT, FIELD(epsilon), "0"},
    {"clip_norm", SUMI_KEPT_FLOAT, FIELD(clip_norm), "0"},
    {"muon_rate", SUMI_KEPT_FLOAT, FIELD(muon_rate), "0.02"},
    {"weight_decay", SUMI_KEPT_FLOAT, FIELD(weight_decay), "0"},
    {"label_drop", SUMI_KEPT_FLOAT, FIELD(label_drop), "0.1"},
    {"seed", SUMI_KEPT_SEED, FIELD(seed), NULL},
    {"ema", SUMI_KEPT_FLOAT, FIELD(averages[0]), NULL},
    {"ema_2", SUMI_KEPT_FLOAT, FIELD(averages[1]), "0"},
    {"ema_3", SUMI_KEPT_FLOAT, FIELD(averages[2]), "0"},
    {"ema_4", SUMI_KEPT_FLOAT, FIELD(averages[3]), "0"},
    {"ema_power", SUMI_KEPT_FLOAT, FIELD(power_averages[0]), "0"},
    {"ema_power_2", SUMI_KEPT_FLOAT, FIELD(power_averages[1]), "0"},
    {"ema_power_3", SUMI_KEPT_FLOAT, FIELD(power_averages[2]), "0"},
    {"ema_power_4", SUMI_KEPT_FLOAT, FIELD(power_averages[3]), "0"},
    {"precision", SUMI_KEPT_PRECISION, FIELD(precision), NULL},
    {NULL, SUMI_KEPT_INT, 0, NULL},
};

/* ---- Writing --------------------------------------------------------------------------------- */

static json_t *value_of(const sumi_kept *kept, const void *config)
{
    const void *at = (const char *)config + kept->offset;
    switch (kept->kind) {
    case SUMI_KEPT_INT:
        return json_integer(*(const int *)at);
    case SUMI_KEPT_INT64:
        return json_integer((json_int_t) * (const int64_t *)at);
    case SUMI_KEPT_END:
        return json_integer(*(const int64_t *)at > 0 ? (json_int_t) * (const int64_t *)at : 0);
    case SUMI_KEPT_SEED:
        return sumi_json_seed(*(const uint64_t *)at);
    case SUMI_KEPT_FLOAT:
        return sumi_short_real(*(const float *)at);
    case SUMI_KEPT_BOOL:
        return json_boolean(*(const bool *)at);
    case SUMI_KEPT_TEXT:
        return json_string(*(const char *const *)at);
    default:
        return json_string(sumi_precision_row((int)*(const sumi_precision *)at)->name);
    }
}

bool sumi_kept_write(json_t *object, const sumi_kept *table, const void *config)
{
    bool good = object != NULL;
    for (; good && table->name; table++)
        good = json_object_set_new(object, table->name, value_of(table, config)) == 0;
    return good;
}

/* ---- Comparing ------------------------------------------------------------------------------- */

/* As in a message: 0.001, bf16. */
static void value_text(const json_t *value, char out[48])
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        snprintf(out, 48, "%.40s", json_string_value(value));
        break;
    case JSON_TRUE:
        snprintf(out, 48, "true");
        break;
    case JSON_FALSE:
        snprintf(out, 48, "false");
        break;
    case JSON_INTEGER:
        snprintf(out, 48, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    default:
        sumi_format(out, 48, "%.9g", json_real_value(value));
    }
}

/* Version 0.1 wrote a seed above INT64_MAX as the negative number with its bits. */
static bool is_same(const sumi_kept *kept, const json_t *value, const json_t *wanted,
                    const void *config)
{
    if (kept->kind == SUMI_KEPT_FLOAT)
        return (float)json_number_value(value) == (float)json_real_value(wanted);
    if (kept->kind == SUMI_KEPT_END &&
        (json_integer_value(value) == 0 || json_integer_value(wanted) == 0))
        return true;
    if (kept->kind == SUMI_KEPT_SEED && json_typeof(value) == JSON_INTEGER) {
        uint64_t seed;
        memcpy(&seed, (const char *)config + kept->offset, sizeof seed);
        return (uint64_t)json_integer_value(value) == seed;
    }
    return json_equal(value, wanted);
}

static bool has_type(const sumi_kept *kept, const json_t *value)
{
    json_type type = json_typeof(value);
    switch (kept->kind) {
    case SUMI_KEPT_INT:
    case SUMI_KEPT_INT64:
    case SUMI_KEPT_END:
        return type == JSON_INTEGER;
    case SUMI_KEPT_SEED:
        return type == JSON_INTEGER || type == JSON_STRING;
    case SUMI_KEPT_FLOAT:
        return type == JSON_INTEGER || type == JSON_REAL;
    case SUMI_KEPT_BOOL:
        return type == JSON_TRUE || type == JSON_FALSE;
    default:
        return type == JSON_STRING;
    }
}

/* The value in object, or that of a version without it; NULL: nobody knows. */
static json_t *found_value(const sumi_kept *kept, const json_t *object)
{
    json_t *value = json_object_get(object, kept->name);
    if (value || !kept->before)
        return json_incref(value);
    if (kept->kind == SUMI_KEPT_TEXT || kept->kind == SUMI_KEPT_PRECISION)
        return json_string(kept->before);
    if (kept->kind == SUMI_KEPT_BOOL)
        return json_boolean(strcmp(kept->before, "true") == 0);
    if (kept->kind == SUMI_KEPT_FLOAT)
        return json_real(sumi_parse_real(kept->before, NULL));
    return json_integer(strtoll(kept->before, NULL, 10));
}

static sumi_status check_one(const char *path, const sumi_kept *kept, const json_t *value,
                             const void *config, sumi_error *err)
{
    char before[48], now[48];
    if (!has_type(kept, value))
        return sumi_fail(err, SUMI_EFORMAT, "%s: \"%s\" is not of its type", path, kept->name);
    json_t *wanted = value_of(kept, config);
    if (!wanted)
        return sumi_fail_memory(err, kept->name, 0);
    bool same = is_same(kept, value, wanted, config);
    value_text(value, before);
    value_text(wanted, now);
    json_decref(wanted);
    return same ? SUMI_OK
                : sumi_fail(err, SUMI_EINVAL, "%s: trained with %s %s, not %s", path, kept->name,
                            before, now);
}

sumi_status sumi_kept_check(const char *path, const json_t *object, const sumi_kept *table,
                            const void *config, sumi_error *err)
{
    sumi_status status = SUMI_OK;
    for (; status == SUMI_OK && table->name; table++) {
        json_t *value = found_value(table, object);
        if (value)
            status = check_one(path, table, value, config, err);
        json_decref(value);
    }
    return status;
}
