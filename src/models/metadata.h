/*
 * How a model describes itself in a file: "sumi.*" key-value strings. Private to the models layer.
 */
#ifndef SUMI_METADATA_H
#define SUMI_METADATA_H

#include "models/models.h"

/* Adds the model's metadata (its own and the user's) to out; frees nothing on failure. */
sumi_status sumi_metadata_to_file(const sumi_model *model, sumi_tensor_file *out, sumi_error *err);
/* The configuration that a file was made with: from its metadata, else from the seed's shapes. */
sumi_status sumi_metadata_config(const char *path, const sumi_tensor_file *file,
                                 sumi_model_config *config, sumi_error *err);
/* What else the metadata tells: image size, range, steps, and the user's keys. */
sumi_status sumi_metadata_from_file(const char *path, const sumi_tensor_file *file,
                                    sumi_model *model, sumi_error *err);

#endif
