/*
 * sample: pictures from a model's network.
 *
 * Does: the sampling of sumi_sample, and grids of pictures as PNG files.
 * Does not: know what a solver is (diffusion), or where a run keeps its pictures (run).
 */
#ifndef SUMI_SAMPLE_H
#define SUMI_SAMPLE_H

#include "train/train.h"

/* ---- Sampling (sample.c) --------------------------------------------------------------------- */

/* The body of sumi_sample. */
sumi_status sumi_sample_run(sumi_runtime *runtime, const sumi_model *model,
                            const sumi_sample_config *config, float *out, size_t out_floats,
                            sumi_error *err);

/* In place of that where the call is shared and this rank cannot make it: so that the others do not
 * wait. Returns status where it is not shared. */
sumi_status sumi_sample_decline(const sumi_runtime *runtime, const sumi_sample_config *config,
                                sumi_status status, sumi_error *err);

/* Where config names no solver: what the model says, else ddpm. */
void sumi_sample_complete(const sumi_model *model, sumi_sample_config *config);
/* SUMI_EINVAL where images of this model cannot be drawn so, as its own way. */
sumi_status sumi_sample_check_default(const sumi_model *model, const sumi_sample_config *config,
                                      sumi_error *err);

/* ---- Grids (grid.c) -------------------------------------------------------------------------- */

typedef struct {
    const char *title;         /* "Epoch 0": kept in the picture's text */
    int count;                 /* pictures */
    int set_height, set_width; /* of the images that the model is trained on */
    uint64_t seed;
    sumi_precision precision;
    sumi_progress_fn progress; /* called with SUMI_PHASE_SAMPLE; may be NULL */
    void *user;
} sumi_grid;

/* SUMI_EINVAL where the settings of the grid are out of their ranges; its pictures' height and
 * width must be multiples of the model's. */
sumi_status sumi_grid_check(const sumi_train_config *config, int multiple, sumi_error *err);
/* Draws count pictures, always from the same noise, and writes them as one PNG file. Of config the
 * grid's size and steps matter. Of a model that is told of labels there is a row for each of them,
 * in their order, with as many pictures as make count or fewer in all; where that is none, they are
 * drawn in turn. */
sumi_status sumi_grid_draw(sumi_runtime *runtime, const sumi_model *model,
                           const sumi_train_config *config, const sumi_grid *grid, const char *path,
                           sumi_error *err);

#endif
