/*
 * Data sets and evaluators, as classify and eval want them.
 */
#ifndef SUMI_CLI_EVALUATOR_H
#define SUMI_CLI_EVALUATOR_H

#include "cli.h"

/* The training split of a set and its test split, with --channels and --skip-bad, and at the size
 * of --size, or else height x width (0: as stored); *test is NULL where it has none. Returns 0 or
 * the exit code, with the error printed. */
int sumi_cli_open_splits(sumi_cli *cli, const char *name, int height, int width,
                         sumi_dataset **train, sumi_dataset **test);
/* Another split of a set, in the same form as its training images; *test is NULL, and a note says
 * so, where it has none. */
void sumi_cli_open_test(sumi_cli *cli, const char *name, const sumi_dataset *train,
                        const sumi_dataset_config *opened, const char *split, sumi_dataset **test);
/* Trains an evaluator with the bar on the way. Not anywhere: on the CPU whatever the command runs
 * on, so that it is the same for everybody. */
int sumi_cli_train_evaluator(sumi_cli *cli, const sumi_dataset *train, const sumi_dataset *test,
                             bool anywhere, sumi_classifier_config *config, sumi_classifier **out);
/* $XDG_CACHE_HOME/sumi/NAME, or ~/.cache in its place; false where there is no home. */
bool sumi_cli_cache(char out[PATH_MAX], const char *name);
/* The evaluator of that shape for this data: from the user's cache, whose file is checked by its
 * hash, else trained and kept there. */
int sumi_cli_find_evaluator(sumi_cli *cli, const sumi_dataset *train, const sumi_dataset *test,
                            const char *shape, sumi_classifier **out);
/* The one in the file at path or, where that is NULL, the one that sumi eval would find; it is told
 * of. */
int sumi_cli_take_evaluator(sumi_cli *cli, const sumi_dataset *train, const sumi_dataset *test,
                            const char *path, sumi_classifier **out);
/* "evaluator v1: 0.9266 of 10000 test images right, SHA-256 0123456789ab", and a warning where that
 * is too little. */
void sumi_cli_tell_evaluator(const sumi_cli *cli, const sumi_classifier *classifier);

#endif
