/*
 * What a model says of how to sample it, where the command line is silent.
 */
#ifndef SUMI_CLI_DEFAULTS_H
#define SUMI_CLI_DEFAULTS_H

#include "cli.h"

/* A config with the model's defaults alone, but for those that options (--solver, --levels) make
 * meaningless; what is still to be set from options is not. */
sumi_sample_config sumi_cli_defaults(const sumi_options *options, const sumi_model *model);
/* Gives each of them as if the command line had, where it does not; their texts are kept, malloc'ed
 * in keep[SUMI_OPTIONS_MAX]. Returns 0 or the exit code, with the error printed. */
int sumi_cli_give_defaults(sumi_cli *cli, const char *source, const sumi_model *model, char **keep,
                           int *kept);
/* What of a way to sample is not as ever. */
json_t *sumi_cli_sampling_json(const sumi_sample_config *config);

#endif
