/*
 * train: the training step, and what is kept of it.
 *
 * Does: the training step (draw t and eps, noise, predict, loss, gradients, Adam, averaged
 * weights), and checkpoints that are whole or not there.
 * Does not: know how a network computes (graph), what a solver is (diffusion), what a run is (run),
 * or print.
 *
 * The functions here are the bodies of sumi.h's: they take a runtime and an error instead of a
 * context, and whole config structs.
 */
#ifndef SUMI_TRAIN_H
#define SUMI_TRAIN_H

#include "data/data.h"
#include "diffusion/diffusion.h"
#include "models/models.h"

/* ---- The trainer (trainer.c) ----------------------------------------------------------------- */

/* A flat parameter buffer in pieces, one a task. */
enum { SUMI_PIECE_FLOATS = 16384 };

typedef struct {
    size_t begin, count;
} sumi_piece;

static inline sumi_piece sumi_piece_of(size_t total, int64_t chunk)
{
    size_t begin = (size_t)chunk * SUMI_PIECE_FLOATS, left = total - begin;
    return (sumi_piece){begin, left < SUMI_PIECE_FLOATS ? left : SUMI_PIECE_FLOATS};
}

static inline int64_t sumi_piece_count(size_t total)
{
    return (int64_t)((total + SUMI_PIECE_FLOATS - 1) / SUMI_PIECE_FLOATS);
}

struct sumi_trainer {
    sumi_context *context; /* for whoever calls through sumi.h; not used here */
    sumi_runtime *runtime;
    sumi_model *model; /* trained in place */
    sumi_model *ema;   /* averaged weights, a model of its own; NULL where there are none */
    sumi_process process;
    sumi_train_config config; /* of which batch, the largest n of a step, learning_rate, seed, ema
                                 and precision matter */
    int64_t steps;            /* that are done */
    /* As model->graph.params.values, in sumi's layout: [value_count] */
    float *gradients;
    float *m, *v; /* Adam's moving averages of the gradient and its square */
    /* Made for the images of the first step. */
    sumi_network *network;
    int h, w;
    size_t image_floats; /* of one image: h * w * c */
    float *input;        /* [batch][h][w][c]: what the network sees, c_in x_t */
    float *target;       /* likewise: what it shall return */
    float *time;         /* [batch] */
};

/* Of config only batch, learning_rate, seed, ema and precision matter. model must outlive the
 * trainer. */
sumi_status sumi_train_new(sumi_runtime *runtime, sumi_model *model,
                           const sumi_train_config *config, sumi_trainer **out, sumi_error *err);
void sumi_train_release(sumi_trainer *trainer); /* NULL is fine */
/* Plans and allocates for images of h x w, as the first step would: after that no step allocates
 * until the size changes. */
sumi_status sumi_train_prepare(sumi_trainer *trainer, int h, int w, sumi_error *err);
/* One optimisation step; see sumi_trainer_step. On an error nothing has changed. */
sumi_status sumi_train_step(sumi_trainer *trainer, const sumi_batch *batch, double *loss,
                            sumi_error *err);
/* The first half of a step: loss and gradients at the present weights, with the t and eps that the
 * next step would draw. Nothing else changes. */
sumi_status sumi_train_backward(sumi_trainer *trainer, const sumi_batch *batch, double *loss,
                                sumi_error *err);
/* The last gradient of parameter number index of model->graph.params, which must be a trained one,
 * in PyTorch's order. */
void sumi_train_gradient(const sumi_trainer *trainer, int index, float *out);
/* Weights, running statistics and info of a model of the same architecture. */
void sumi_train_copy_weights(sumi_model *to, const sumi_model *from);

/* ---- Settings that are kept (kept.c) ----------------------------------------------------------
 * What changes the bits of a training is written where it is saved, and must be the same where it
 * goes on.
 */

/* What a trainer keeps is kept by a run, too. */
typedef enum { SUMI_KEPT_BY_TRAINER, SUMI_KEPT_BY_RUN } sumi_kept_by;

/* Puts the settings into object; false where memory is out. */
bool sumi_kept_write(json_t *object, const sumi_train_config *config, sumi_kept_by owner);
/* SUMI_EINVAL, with both values, where a setting in object is not that of config. One that is
 * missing is of a version that had none. path is for messages. */
sumi_status sumi_kept_check(const char *path, const json_t *object, const sumi_train_config *config,
                            sumi_kept_by owner, sumi_error *err);
/* The shortest decimal that reads back as the same float: 0.001, not 0.00100000005. */
json_t *sumi_short_real(float value);
/* A number, or a string of digits where it is above what JSON's readers hold, INT64_MAX. */
json_t *sumi_json_seed(uint64_t seed);

/* ---- Checkpoints (checkpoint.c) -----------------------------------------------------------------
 * A folder: model.safetensors, optim.safetensors, ema.safetensors where weights are averaged,
 * state.json, and manifest.json with the size and SHA-256 of each. It is written beside its place
 * and renamed, so it is whole or not there.
 */

/* Writes the trainer's state to dir; a checkpoint that is there is replaced, any other folder that
 * is not empty is refused. run (may be NULL) is what a run wants to remember. */
sumi_status sumi_checkpoint_save(const sumi_trainer *trainer, const json_t *run, const char *dir,
                                 sumi_error *err);
/* Checks every file against the manifest, then takes the state over. Architecture, seed, learning
 * rate, averaging and precision must be the trainer's own. On an error the trainer is unchanged.
 * run (may be NULL) receives what was given to save, or NULL; released by json_decref. */
sumi_status sumi_checkpoint_load(sumi_trainer *trainer, const char *dir, json_t **run,
                                 sumi_error *err);
/* The model in a checkpoint: its averaged weights where there are some, else its weights. Only that
 * file is read and checked. */
sumi_status sumi_checkpoint_model(const char *dir, sumi_model **out, sumi_error *err);
/* SUMI_OK where every file is as the manifest says. */
sumi_status sumi_checkpoint_check(const char *dir, sumi_error *err);

/* ---- Measuring (profile.c) ------------------------------------------------------------------- */

/* What version 0.1.0 had of an entry; no caller has less. */
#define SUMI_PROFILE_ENTRY_FIRST offsetof(sumi_profile_entry, bytes)

/* The body of sumi_profile; on SUMI_OK and SUMI_ESHAPE *count is set. */
sumi_status sumi_profile_run(sumi_runtime *runtime, const sumi_model *model,
                             const sumi_profile_config *config, sumi_profile_entry *entries,
                             int capacity, int *count, sumi_error *err);
/* The body of sumi_measure_peak. */
double sumi_peak_run(sumi_runtime *runtime);
/* The body of sumi_measure_bandwidth. */
sumi_status sumi_bandwidth_run(sumi_runtime *runtime, double *gbytes_per_s, sumi_error *err);

#endif
