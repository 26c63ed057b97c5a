/* What a sampling is asked for (settings.c), for sample.c. */
#ifndef SUMI_SAMPLE_SETTINGS_H
#define SUMI_SAMPLE_SETTINGS_H

#include "sample/sample.h"

/* Everything that does not depend on the process; SUMI_EINVAL or SUMI_ESHAPE. */
sumi_status sumi_sample_check(const sumi_sample_config *config, const sumi_model_info_t *info,
                              const float *out, size_t out_floats, sumi_error *err);
/* Released by sumi_path_free in either case. */
sumi_status sumi_sample_path(sumi_path *path, const sumi_process *process,
                             const sumi_sample_config *config, sumi_error *err);
sumi_status sumi_sample_limits(const sumi_sample_config *config, const sumi_model_info_t *info,
                               sumi_limits *limits, sumi_error *err);

#endif
