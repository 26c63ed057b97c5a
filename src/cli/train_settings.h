/*
 * What `sumi train` is asked to do: from the command line for a new run, from the run's config.json
 * for --resume.
 */
#ifndef SUMI_CLI_TRAIN_SETTINGS_H
#define SUMI_CLI_TRAIN_SETTINGS_H

#include "cli.h"

typedef struct {
    char run[PATH_MAX];
    char data[PATH_MAX]; /* name or path, absolute where it is a path */
    const char *init;
    sumi_dataset_config dataset;
    sumi_model_config model;
    sumi_trainer_config trainer; /* train.trainer points here */
    sumi_train_config train;
    sumi_sample_config sample; /* how the model is to be sampled where nobody says; no solver: as
                                  ever */
    json_t *config;            /* the file that a resumed run's texts point into */
    char cache[PATH_MAX];      /* for what scores know of the data */
} sumi_train_settings;

/* Returns 0 or the exit code, with the error printed. */
int sumi_train_settings_read(sumi_cli *cli, sumi_train_settings *out);
/* What the recipe of a new run says for its data, and then the options; told to the user. */
/* The labels that a new network is told of, where the data have of_data. */
int sumi_train_settings_classes(const sumi_train_settings *s, int of_data);
int sumi_train_settings_choose(sumi_cli *cli, const sumi_dataset *set, sumi_train_settings *out);
void sumi_train_settings_free(sumi_train_settings *settings);

#endif
