/*
 * A model's sampling defaults, which travel in its file as the object "sampling": solver, steps,
 * spacing, and what shapes them. Only what is not as ever is written.
 */
#include "models/sampling.h"

#include <stdio.h>
#include <string.h>

typedef enum { WHOLE, REAL, CHOICE } sampling_kind;

typedef struct {
    const char *name;
    sampling_kind kind;
    size_t offset; /* in sumi_sample_config: an int, a float, or a name */
    double low, high;
    sumi_choice choice;
    bool of_path;   /* stands for what levels of the caller's choice replace */
    bool of_labels; /* holds for images that have one, or where there is a guide */
} sampling_row;

#define AT(field) offsetof(sumi_sample_config, field)

static const sampling_row rows[] = {
    {"solver", CHOICE, AT(solver), 0, 0, SUMI_CHOICE_SOLVER, false, false},
    {"steps", WHOLE, AT(steps), 0, SUMI_TIMESTEPS_MAX, 0, true, false},
    {"spacing", CHOICE, AT(spacing), 0, 0, SUMI_CHOICE_SPACING, true, false},
    {"rho", REAL, AT(rho), 0, 100, 0, true, false},
    {"sigma_min", REAL, AT(sigma_min), 0, 1e30, 0, true, false},
    {"sigma_max", REAL, AT(sigma_max), 0, 1e30, 0, true, false},
    {"eta", REAL, AT(eta), -1, 1, 0, false, false},
    {"churn", REAL, AT(churn), 0, 1e6, 0, false, false},
    {"churn_min", REAL, AT(churn_min), 0, 2e30, 0, false, false},
    {"churn_max", REAL, AT(churn_max), 0, 2e30, 0, false, false},
    {"churn_noise", REAL, AT(churn_noise), 0, 10, 0, false, false},
    {"clip_low", REAL, AT(clip_low), -1e6, 1e6, 0, false, false},
    {"clip_high", REAL, AT(clip_high), -1e6, 1e6, 0, false, false},
    {"threshold", REAL, AT(threshold), 0, 1, 0, false, false},
    {"rtol", REAL, AT(rtol), 0, 1, 0, false, false},
    {"atol", REAL, AT(atol), 0, 1, 0, false, false},
    {"guidance", REAL, AT(guidance), 0, 1000, 0, false, true},
    {"guidance_from", REAL, AT(guidance_from), 0, 2e30, 0, false, true},
    {"guidance_to", REAL, AT(guidance_to), 0, 2e30, 0, false, true},
};
enum { ROWS = sizeof rows / sizeof *rows };

static const sumi_sample_config initial = SUMI_SAMPLE_CONFIG_INIT;

static const void *at(const sampling_row *row, const sumi_sample_config *config)
{
    return (const char *)config + row->offset;
}

static bool is_initial(const sampling_row *row, const sumi_sample_config *config)
{
    switch (row->kind) {
    case WHOLE:
        return *(const int *)at(row, config) == *(const int *)at(row, &initial);
    case REAL:
        return *(const float *)at(row, config) == *(const float *)at(row, &initial);
    default:
        return *(const char *const *)at(row, config) == NULL;
    }
}

json_t *sumi_sampling_json(const sumi_sample_config *config)
{
    json_t *object = json_object();
    bool ok = object != NULL;
    for (int i = 0; i < ROWS && ok; i++) {
        const void *from = at(&rows[i], config);
        if (is_initial(&rows[i], config))
            continue;
        json_t *value = rows[i].kind == WHOLE  ? json_integer(*(const int *)from)
                        : rows[i].kind == REAL ? sumi_short_real(*(const float *)from)
                                               : json_string(*(const char *const *)from);
        ok = json_object_set_new(object, rows[i].name, value) == 0;
    }
    if (ok)
        return object;
    json_decref(object);
    return NULL;
}

/* The library's own text of a name, so that it outlives the model. */
static const char *own_text(sumi_choice choice, const char *name)
{
    int index;
    return sumi_choice_find(choice, name, &index, NULL) == SUMI_OK
               ? sumi_choice_at(choice, index)->name
               : name;
}

static sumi_status read_row(const char *where, const json_t *sampling, const sampling_row *row,
                            sumi_sample_config *config, sumi_error *err)
{
    void *to = (char *)config + row->offset;
    const char *text;
    int64_t whole;
    double real;
    sumi_status status;
    switch (row->kind) {
    case WHOLE:
        status = sumi_json_int(where, sampling, row->name, (int64_t)row->low, (int64_t)row->high,
                               &whole, err);
        if (status == SUMI_OK)
            *(int *)to = (int)whole;
        return status;
    case REAL:
        status = sumi_json_real(where, sampling, row->name, row->low, row->high, &real, err);
        if (status == SUMI_OK)
            *(float *)to = (float)real;
        return status;
    default:
        status = sumi_json_string(where, sampling, row->name, &text, err);
        if (status == SUMI_OK)
            *(const char **)to = own_text(row->choice, text);
        return status;
    }
}

sumi_status sumi_sampling_read(const char *where, const json_t *sampling,
                               sumi_sample_config *config, sumi_error *err)
{
    sumi_status status = SUMI_OK;
    for (int i = 0; i < ROWS && status == SUMI_OK; i++)
        if (json_object_get(sampling, rows[i].name))
            status = read_row(where, sampling, &rows[i], config, err);
    return status;
}

void sumi_sampling_fill(const sumi_model *model, sumi_sample_config *config)
{
    sumi_sample_config own = SUMI_SAMPLE_CONFIG_INIT;
    if (config->solver || sumi_sampling_read("sampling", model->sampling, &own, NULL) != SUMI_OK)
        return; /* the latter was looked at when the model was read */
    for (int i = 0; i < ROWS; i++) {
        size_t size = rows[i].kind == WHOLE  ? sizeof(int)
                      : rows[i].kind == REAL ? sizeof(float)
                                             : sizeof(const char *);
        bool holds = !(rows[i].of_path && config->level_count > 0) &&
                     !(rows[i].of_labels && !config->labels && !config->guide);
        if (holds && is_initial(&rows[i], config))
            memcpy((char *)config + rows[i].offset, at(&rows[i], &own), size);
    }
}

void sumi_sampling_guide(sumi_sample_config *way, float guidance, double deviation)
{
    way->guidance = guidance;
    way->guidance_from = (float)(.5 * deviation);
    way->guidance_to = (float)(6 * deviation);
}

void sumi_sampling_set(sumi_model *model, json_t *sampling)
{
    json_incref(sampling);
    json_decref(model->sampling);
    model->sampling = sampling;
}
