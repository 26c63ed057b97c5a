/*
 * The numbers of a network in a tensor file. Private to the models layer.
 */
#ifndef SUMI_WEIGHTS_H
#define SUMI_WEIGHTS_H

#include "models/models.h"

/* Copies of all parameters, by name; values may be another flat buffer laid out as params->values,
 * NULL: their own. Metadata is the caller's to add. Released by sumi_model_file_free. */
sumi_status sumi_params_to_file(const sumi_params *params, const float *values,
                                sumi_tensor_file *out, sumi_error *err);
/* Allocates the parameters, declared before, and fills them: each but num_batches_tracked must be
 * in the file with its shape, nothing else may be, and all numbers must be finite. path is for
 * messages. */
sumi_status sumi_params_from_file(const char *path, const sumi_tensor_file *file,
                                  sumi_params *params, sumi_error *err);

#endif
