/* sumi bench --profile: where the time of a step goes, as a table, as JSON and as a picture. */
#ifndef SUMI_CLI_PROFILE_H
#define SUMI_CLI_PROFILE_H

#include "cli.h"

/* Profiles and prints; svg: a path, or NULL. Returns the exit code. */
int sumi_cli_profile(sumi_cli *cli, const sumi_model *model, const sumi_profile_config *config,
                     const char *svg);

#endif
