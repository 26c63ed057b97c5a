/*
 * How a model is sampled where nobody says: its "sampling" in files, and in a sumi_sample_config.
 */
#ifndef SUMI_MODELS_SAMPLING_H
#define SUMI_MODELS_SAMPLING_H

#include "models/models.h"

/* What config says other than its _INIT macro does, of what a model can keep; NULL: out of memory.
 * An empty object where that is nothing. */
json_t *sumi_sampling_json(const sumi_sample_config *config);
/* Sets in config what sampling (or NULL) says; solver and spacing are the library's texts, or the
 * object's where this version does not know them. where is for messages: SUMI_EFORMAT. */
sumi_status sumi_sampling_read(const char *where, const json_t *sampling,
                               sumi_sample_config *config, sumi_error *err);
/* What the model says for what config leaves at its _INIT value, of a config without a solver; any
 * other stays as it is. */
void sumi_sampling_fill(const sumi_model *model, sumi_sample_config *config);
/* Guidance where an image's shapes form: from half of the data's deviation to six of them. Below
 * there is nothing left to choose, and above all images of a label become the same. */
void sumi_sampling_guide(sumi_sample_config *way, float guidance, double deviation);
/* Replaces what the model says; NULL: it says nothing. */
void sumi_sampling_set(sumi_model *model, json_t *sampling);

#endif
