/*
 * The table of the numbers that describe a model.
 */
#ifndef SUMI_FIELDS_H
#define SUMI_FIELDS_H

#include "models/models.h"

#define SUMI_NET_TUTORIAL "tutorial"
#define SUMI_NO_CONFIG SIZE_MAX

typedef enum {
    SUMI_FIELD_INT,
    SUMI_FIELD_INT64,
    SUMI_FIELD_FLOAT,
    SUMI_FIELD_BOOL,
    SUMI_FIELD_CHOICE /* an int: a row of a table, written by name */
} sumi_field_kind;

typedef struct {
    const char *name; /* NULL ends the table */
    sumi_part part;
    sumi_field_kind kind;
    size_t offset;    /* in sumi_model */
    size_t config;    /* in sumi_model_config, or SUMI_NO_CONFIG */
    double low, high; /* but for choices */
    bool before;      /* files of version 0.1 have it, as "sumi.NAME" */
    int choice;       /* sumi_choice */
} sumi_field;

extern const sumi_field sumi_model_fields[];
extern const char *const sumi_model_parts[SUMI_PARTS]; /* names in files */

json_t *sumi_field_get(const sumi_field *field, const sumi_model *model);
/* at: the place in a model or a config. */
void sumi_field_set(const sumi_field *field, void *at, double value);
/* From object, where it has the field; else at is left as it is. */
sumi_status sumi_field_read(const char *path, const json_t *object, const sumi_field *field,
                            void *at, sumi_error *err);
void sumi_fields_from_config(sumi_model *model, const sumi_model_config *config);
void sumi_fields_to_config(const sumi_model *model, sumi_model_config *config);
/* Makes the process tell the same timesteps and betas as the info. */
void sumi_fields_settle(sumi_model *model);
/* The tutorial's network, also by the name that version 0.1 had for it. */
bool sumi_net_known(const char *name);
/* SUMI_EINVAL for another; what: "net". */
sumi_status sumi_net_check(const char *what, const char *name, sumi_error *err);

#endif
