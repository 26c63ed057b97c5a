/*
 * The table of the numbers that describe a model.
 */
#ifndef SUMI_FIELDS_H
#define SUMI_FIELDS_H

#include "models/models.h"

#define SUMI_NO_CONFIG SIZE_MAX

typedef struct {
    const char *name;  /* NULL ends the table */
    const char *about; /* a sentence or two */
    sumi_field_kind kind;
    sumi_part part;
    size_t offset;       /* in sumi_model; there a choice is an int, a row of its table */
    size_t config;       /* in sumi_model_config, or SUMI_NO_CONFIG; there a choice is a name */
    double low, high;    /* but for choices */
    const char *initial; /* as text */
    sumi_choice choice;
    bool before;    /* files of version 0.1 have it, as "sumi.NAME" */
    bool from_data; /* follows from the images that a model is trained on */
    unsigned nets;  /* the networks that have it, bits 1 << sumi_net; 0: all */
} sumi_field;

extern const sumi_field sumi_model_fields[];
extern const char *const sumi_model_parts[SUMI_PARTS]; /* names in files */

const sumi_field *sumi_field_find(const char *name); /* NULL: there is none */
double sumi_field_number(const sumi_field *field, const sumi_model *model);
void sumi_field_set(const sumi_field *field, sumi_model *model, double value);
void sumi_field_set_config(const sumi_field *field, sumi_model_config *config, double value);
/* The same with checks; SUMI_EINVAL where the config has no such field or the value is not one. */
sumi_status sumi_field_give_config(const sumi_field *field, sumi_model_config *config,
                                   double number, const char *text);
/* Of a choice: the name of row `number`; else NULL. */
const char *sumi_field_name(const sumi_field *field, double number);
/* Of a choice or a list: as text, which of a list is the model's; else NULL. */
const char *sumi_field_text(const sumi_field *field, const sumi_model *model);
/* False where the model's network has no such field. */
bool sumi_field_applies(const sumi_field *field, const sumi_model *model);
/* From object, which has the field. */
sumi_status sumi_field_read(const char *path, const json_t *object, const sumi_field *field,
                            double *out, sumi_error *err);
/* Of a config that was checked. */
void sumi_fields_from_config(sumi_model *model, const sumi_model_config *config);
void sumi_fields_to_config(const sumi_model *model, sumi_model_config *config);

#endif
