/*
 * What `sumi sample` is asked to do, from options and files to the library's config.
 */
#ifndef SUMI_CLI_SAMPLE_JOB_H
#define SUMI_CLI_SAMPLE_JOB_H

#include "cli.h"

typedef struct {
    const char *path, *model_path;
    sumi_sample_config config; /* points to what is below */
    bool inverse;              /* the solver goes from an image to noise: floats are written */
    int channels;              /* of the model */
    float low, high;           /* its range */
    double *levels;
    sumi_image picture;      /* --image, as it was read */
    float *images;           /* the same for each image of the call */
    sumi_image mask_picture; /* --mask, as it was read */
    float *mask;
    sumi_npy start;
    int *evaluations;       /* [count] */
    const char *gif, *apng; /* NULL: not wanted */
    bool strip;
    char *like_texts[SUMI_OPTIONS_MAX]; /* values that options took from a picture or the model */
    int like_count;
    int32_t *labels;     /* [count]; NULL: --label was not given */
    sumi_kind_rows rows; /* of --label all: a row of the grid for each label */
    sumi_model *guide;   /* of --guide; else NULL */
} sample_job;

/* like.c: what the picture of --like tells, where the command line says nothing. Returns 0 or the
 * exit code, with the error printed. */
int sumi_sample_like(sumi_cli *cli, sample_job *job);
/* like.c: what a picture keeps for that; malloc'ed, NULL without memory. */
char *sumi_sample_parameters(const sumi_cli *cli, const sample_job *job);

/* All that can be wrong with the settings and is found before the model is read. Returns 0 or the
 * exit code, with the error printed; the job is freed in either case. */
int sumi_sample_read_settings(sumi_cli *cli, sample_job *job);
/* Solver, steps, spacing and what shapes them, from the options as they are now. */
int sumi_sample_read_way(sumi_cli *cli, sample_job *job);
/* What depends on the model: sizes, channels, ranges. */
int sumi_sample_settle(sumi_cli *cli, sample_job *job, const sumi_model_info_t *info);
/* labels.c: what --label asks each image to show. Returns as above. */
int sumi_sample_labels(sumi_cli *cli, sample_job *job, const sumi_model *model);
void sumi_sample_job_free(sample_job *job);

#endif
