/*
 * train: the training step, and what is kept of it.
 *
 * Does: the training step (draw t and eps, noise, predict, loss, gradients, optimiser, averaged
 * weights), and checkpoints that are whole or not there.
 * Does not: compute (a backend does), know what a solver is (diffusion), what a run is (run), or
 * print.
 *
 * The functions here are the bodies of sumi.h's: they take a runtime and an error instead of a
 * context, and whole config structs.
 */
#ifndef SUMI_TRAIN_H
#define SUMI_TRAIN_H

#include "data/data.h"
#include "diffusion/diffusion.h"
#include "models/models.h"

/* ---- The learning rate (rates.c) ------------------------------------------------------------- */

typedef struct {
    const char *name, *about;
    bool ends; /* at schedule_steps, which must then be given */
    /* What is left of the rate at so much (0..1) of the way from the warm-up to the end. */
    double (*shape)(double way);
} sumi_rate_schedule;

/* NULL past the end; NULL for no such name. */
const sumi_rate_schedule *sumi_train_rate_schedule_at(int index);
const sumi_rate_schedule *sumi_rate_schedule_find(const char *name);
/* In place of schedule_steps: where the schedule ends is not known yet. Until it is, no step may be
 * taken beyond the warm-up, whose rates do not depend on it. */
enum { SUMI_SCHEDULE_OPEN = -1 };
/* The rate of a step, counted from 1. */
double sumi_learning_rate(const sumi_trainer_config *config, int64_t step);
/* How often a run went back to a checkpoint, and to which steps: after each the rate is half of
 * what it was. A rate is so a function of the step and of these, wherever a run is resumed. */
enum { SUMI_HALVINGS_MAX = 16 };
typedef struct {
    int count;
    int64_t after[SUMI_HALVINGS_MAX];
} sumi_halvings;
double sumi_halved_rate(const sumi_trainer_config *config, const sumi_halvings *halvings,
                        int64_t step);
/* What every rate is multiplied with then. */
double sumi_rate_factor(const sumi_trainer_config *config, const sumi_halvings *halvings,
                        int64_t step);

/* ---- Muon (muon.c) --------------------------------------------------------------------------- */

typedef struct {
    sumi_orthogonaliser *orthogonaliser; /* NULL: there are no hidden matrices */
    sumi_range *ranges;                  /* of the weights that are hidden, in their order */
    int range_count;
    bool *hidden; /* of each parameter */
    /* Several ranks that share the ranges out; NULL: each finds all. */
    const sumi_ranks *ranks;
    int *owner;        /* of each range: a rank */
    size_t *bytes;     /* of each rank's ranges */
    float *mine, *all; /* on their way */
    double waited;     /* seconds so far */
} sumi_muon;

/* Where the runtime has ranks, each is to make one and to turn it in every step. What a failed one
 * holds is released by free, too; zeros are fine. */
sumi_status sumi_muon_init(const sumi_runtime *runtime, const sumi_graph *graph, sumi_muon *muon,
                           sumi_error *err);
void sumi_muon_free(const sumi_runtime *runtime, sumi_muon *muon);
/* Makes of the gradients of hidden matrices what they move along; moments is their momentum, as
 * gradients. */
void sumi_muon_turn(sumi_muon *muon, const sumi_runtime *runtime, const sumi_ledger *ledger,
                    float *gradients, float *moments);

/* ---- Optimisers (optimisers.c) --------------------------------------------------------------- */

typedef struct {
    const char *name, *about;
    bool decays;                              /* takes weight_decay */
    bool muon;                                /* hidden matrices do not follow the rule */
    int states;                               /* numbers that it remembers of each weight */
    const char *state_names[SUMI_STATES_MAX]; /* in files; PyTorch's */
    sumi_rule rule;
    double beta1, beta2, eps;
} sumi_optimiser_row;

typedef struct {
    const sumi_optimiser_row *row;
    float *state[SUMI_STATES_MAX]; /* the device's, each [count], as model->graph.params.values */
    size_t count;
    sumi_muon muon;
} sumi_optimiser;

const sumi_optimiser_row *sumi_train_optimiser_at(int index);
const sumi_optimiser_row *sumi_optimiser_find(const char *name);
/* All zero, for the weights of a graph. What a failed one holds is released by free, too. */
sumi_status sumi_optimiser_init(const sumi_runtime *runtime, const sumi_optimiser_row *row,
                                const sumi_graph *graph, sumi_optimiser *optimiser,
                                sumi_error *err);
void sumi_optimiser_free(const sumi_runtime *runtime, sumi_optimiser *optimiser);
/* What state number `state` of a parameter is in files; NULL: it has none. */
const char *sumi_optimiser_state_name(const sumi_optimiser *optimiser, int param, int state);
/* Its part of a step, counted from 1: all but weights and averages. factor: of every rate. May
 * change the gradients. ledger: as a sumi_update has it. */
sumi_update sumi_optimiser_update(sumi_optimiser *optimiser, const sumi_runtime *runtime,
                                  const sumi_trainer_config *config, double factor, int64_t step,
                                  const sumi_ledger *ledger, float *gradients);

/* ---- Averages of the weights (averages.c) ---------------------------------------------------- */

typedef struct {
    int count;
    float decay[SUMI_AVERAGES_MAX];       /* 0 where it is ... */
    double exponent[SUMI_AVERAGES_MAX];   /* ... one by a power of the step */
    sumi_model *model[SUMI_AVERAGES_MAX]; /* each a model of its own */
    sumi_mirror mirror[SUMI_AVERAGES_MAX];
} sumi_averages;

/* They begin as the model: those by powers, then those by decays. What failed ones hold is released
 * by free, too. */
sumi_status sumi_averages_init(const sumi_runtime *runtime, const sumi_model *model,
                               const sumi_trainer_config *config, sumi_averages *averages,
                               sumi_error *err);
sumi_status sumi_averages_check(const sumi_trainer_config *config, sumi_error *err);
void sumi_averages_free(sumi_averages *averages, sumi_runtime *runtime);
/* Their part of a step, counted from 1. */
void sumi_averages_join(const sumi_averages *averages, int64_t step, sumi_update *update);
void sumi_averages_take_statistics(const sumi_averages *averages, const sumi_runtime *runtime,
                                   const sumi_mirror *from);

/* ---- Recipes (recipes.c) --------------------------------------------------------------------- */

/* Up to so many images a network can learn by heart. */
enum { SUMI_FEW_IMAGES = 2000 };

/* What a recipe fills in. */
typedef struct {
    sumi_model_config *model;
    sumi_trainer_config *trainer;
    sumi_train_config *train;
    sumi_sample_config *sample; /* how the model is to be sampled where nobody says */
    char *why;                  /* NULL, or room for `size` bytes of reasons */
    size_t size;
} sumi_recipe;
/* See sumi_preset_choose. */
sumi_status sumi_recipe_choose(const char *preset, const sumi_dataset *set,
                               const sumi_recipe *recipe, sumi_error *err);

/* ---- The data (measure.c) -------------------------------------------------------------------- */

/* Measures the set for a model that is to standardise its data and has not measured any. cancel: as
 * sumi_data_statistics has it. */
sumi_status sumi_train_measure(const atomic_int *cancel, sumi_model *model, const sumi_dataset *set,
                               sumi_error *err);

/* ---- Averages by a power of the step (power.c) ----------------------------------------------- */

/* The width of an average with that exponent, 0 or more, as a share of its steps; and back. */
double sumi_power_width(double exponent);
double sumi_power_exponent(double width);
typedef struct {
    double step, exponent;
} sumi_power_profile;
/* factors [count]: of the snapshots, whose sum is then nearest to the average that is wanted; they
 * add up to 1.
 * SUMI_EINVAL where two snapshots are the same. */
sumi_status sumi_power_factors(const sumi_power_profile *snapshots, int count,
                               const sumi_power_profile *wanted, double *factors, sumi_error *err);

/* ---- The data on the device (keep.c) --------------------------------------------------------- */

/* In the memory of the device; NULL: it keeps no set. */
typedef struct {
    uint8_t *images; /* [count][h][w][c] */
    size_t bytes;
    float *values;    /* [c][256]: what a byte is told as */
    sumi_pick *picks; /* [batch] */
    int h, w, c;
} sumi_kept_set;

/* ---- The trainer (trainer.c) ----------------------------------------------------------------- */

/* What was not finite in a step that failed for it. */
typedef struct {
    const char *what;  /* NULL: nothing was; "image", "noise", "gradient", "loss", "statistics" */
    const char *layer; /* the first parameter whose gradient is not finite, or NULL */
    int image;         /* of the batch: the first that is not, or that alone has such a loss; -1 */
    double loss;
} sumi_not_finite;

struct sumi_trainer {
    sumi_context *context; /* for whoever calls through sumi.h; not used here */
    sumi_runtime *runtime;
    sumi_model *model; /* trained in place */
    sumi_trainer_config config;
    sumi_process process;
    sumi_averages averages;
    int64_t steps;   /* that are done, and known to be good */
    int64_t fetched; /* the steps after which model and averages had their weights in the host's */
    /* In the memory of the device. */
    sumi_mirror weights; /* the model's */
    sumi_optimiser optimiser;
    float *accumulated;   /* those of several parts of a batch; NULL: it has one */
    int part;             /* of the batch: its first image */
    float *gradients;     /* as model->graph.params.values; of each of the cut's branches */
    double gradient_norm; /* of the last step, before it was clipped; where it is */
    /* Made by sumi_train_begin for images of one size. */
    sumi_network *network;
    int h, w;
    size_t image_floats; /* of one image: h * w * c */
    /* In the memory of the device, [n][h][w][c] or [n], n the images of a part of a batch. */
    float *images; /* x_0, as the network is told of it */
    sumi_kept_set kept;
    const sumi_pick *picks; /* NULL, or: the present step's images are these of the set kept */
    float *input;           /* what the network sees, c_in x_t */
    float *target;          /* what it shall return */
    float *time;
    float *weight;          /* NULL: all are 1 */
    int32_t *labels;        /* NULL: the network has none */
    float *told;            /* [batch][augmentation]: likewise */
    const float *condition; /* of the present step: told, or NULL where nothing is */
    sumi_halvings halvings;
    sumi_not_finite not_finite; /* of the last step */
    /* Steps that the device was given at once, up to `ahead`: what comes of them, how many were
     * begun and how many of these `steps` counts already; and what the ledger said, once it was
     * read. */
    sumi_ledger *ledger;
    int ahead, begun, taken;
    bool read;
    sumi_entry entries[SUMI_AHEAD_MAX];
    /* How batches are cut into groups and shared among the runtime's ranks; zeros: they are not. */
    sumi_reduction cut;
    int64_t first, whole; /* of the present step: the batch's images in all, and its first here */
    /* Several ranks: gradients, [branch][...], in the host's memory, on their way to the others;
     * and which parameters' are. */
    sumi_exchange *exchange;
    float *exchanged;
    bool *sent;
    float *standardised; /* in the host's memory, as images; NULL: they are told as they are */
    /* In the host's, [batch] each: what draws give the device. */
    float *drawn_time, *drawn_weight;
    int32_t *drawn_labels;
    sumi_factors *of_input, *of_target; /* of x_0 and eps */
};

/* The trainer's part of a training's settings: config->trainer, or else the short form in config's
 * own fields. */
sumi_trainer_config sumi_trainer_settings(const sumi_train_config *config);
/* model must outlive the trainer. Where the runtime has ranks it is one of several trainers that do
 * each step together, on shares of the batch as sumi_batches_create_share has them: all begin as
 * the same, and have the bits of a single trainer with so many groups. */
sumi_status sumi_train_create(sumi_runtime *runtime, sumi_model *model,
                              const sumi_trainer_config *config, sumi_trainer **out,
                              sumi_error *err);
void sumi_train_free(sumi_trainer *trainer); /* NULL is fine */
/* Plans and allocates for images of h x w, unless that is what the trainer is ready for: then no
 * step allocates. */
sumi_status sumi_train_begin(sumi_trainer *trainer, int h, int w, sumi_error *err);
/* How its batches are cut; NULL where they are not. */
static inline sumi_reduction *sumi_train_cut(sumi_trainer *trainer)
{
    return trainer->cut.groups > 0 ? &trainer->cut : NULL;
}
/* Gives all of the runtime's ranks, each of which calls it, what rank 0 has (share.c). */
void sumi_train_share(sumi_trainer *trainer);
/* Seconds so far in which this rank waited for others. */
double sumi_train_waited(const sumi_trainer *trainer);
/* Gives the device what model and averages hold in the host's memory. */
void sumi_train_push(sumi_trainer *trainer);
/* Keeps the images of a set on the device, where that has the room (backend's `spare`) after all
 * that steps need: batches of it can then be told by trainer->picks, with x NULL. Where it has not,
 * and of a set whose images are drawn when they are read, nothing is kept. */
void sumi_train_keep(sumi_trainer *trainer, const sumi_dataset *set);
void sumi_train_keep_none(sumi_trainer *trainer);
/* Puts part of the picks' images into trainer->images. */
void sumi_train_gather(const sumi_trainer *trainer, const sumi_pick *picks, int n);
/* The weights for use: the first average where there is one, by a power where there is such, else
 * the model. */
sumi_model *sumi_train_best(const sumi_trainer *trainer);

/* ---- The step (step.c) ----------------------------------------------------------------------- */

/* One optimisation step; see sumi_trainer_step. The trainer must have begun for the batch's size.
 * On an error nothing has changed. No step may be on its way. */
sumi_status sumi_train_step(sumi_trainer *trainer, const sumi_batch *batch, double *loss,
                            sumi_error *err);

/* The same in two halves, for a device that is not to be waited for: up to trainer->ahead steps are
 * queued, and then each is settled, in their order. Between the two model and averages are to be
 * left alone. Where ahead is 1, what is wrong with a step is told when it is queued. */
sumi_status sumi_train_queue(sumi_trainer *trainer, const sumi_batch *batch, sumi_error *err);
typedef struct {
    double loss;
    bool repeat; /* the step, and those queued after it, had no effect: sumi_train_step of its batch
                    tells why */
} sumi_settled;
/* Takes in the first of the steps that are on their way. After an error, or where it is to be
 * repeated, none is. */
sumi_status sumi_train_settle(sumi_trainer *trainer, sumi_settled *out, sumi_error *err);
/* How many steps are on their way. */
static inline int sumi_train_on_their_way(const sumi_trainer *trainer)
{
    return trainer->begun - trainer->taken;
}

/* ---- Settings that are kept (kept.c) ----------------------------------------------------------
 * What changes the bits of a training is written where it is saved, and must be the same where it
 * goes on.
 */

typedef enum {
    SUMI_KEPT_INT,
    SUMI_KEPT_INT64,
    SUMI_KEPT_SEED,
    SUMI_KEPT_FLOAT,
    SUMI_KEPT_BOOL,
    SUMI_KEPT_TEXT,
    SUMI_KEPT_PRECISION,
    SUMI_KEPT_END /* a step, SUMI_SCHEDULE_OPEN until it is known: then it goes with any */
} sumi_kept_kind;

typedef struct {
    const char *name; /* in files and messages; NULL ends a table */
    sumi_kept_kind kind;
    size_t offset;      /* in the config that the table is of */
    const char *before; /* what files without it did; NULL: they are not compared */
} sumi_kept;

/* Of a sumi_trainer_config, but for batch: how many images its steps have is the caller's. */
extern const sumi_kept sumi_kept_trainer[];

/* Puts the settings into object; false where memory is out. */
bool sumi_kept_write(json_t *object, const sumi_kept *table, const void *config);
/* SUMI_EINVAL, with both values, where a setting in object is not that of config. path is for
 * messages. */
sumi_status sumi_kept_check(const char *path, const json_t *object, const sumi_kept *table,
                            const void *config, sumi_error *err);

/* ---- Checkpoints (checkpoint.c) -----------------------------------------------------------------
 * A folder: model.safetensors, optim.safetensors, ema.safetensors (ema_2.safetensors, ...)
 * state.json, and manifest.json with the size and SHA-256 of each. It is written beside its place
 * and renamed, so it is whole or not there.
 */

/* Writes the trainer's state to dir; a checkpoint that is there is replaced, any other folder that
 * is not empty is refused, and so is a state that is not finite. run (may be NULL) is what a run
 * wants to remember. */
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

/* ---- Before saving (guard.c) ----------------------------------------------------------------- */

/* Bytes that a checkpoint takes, rather more than fewer. */
uint64_t sumi_checkpoint_bytes(const sumi_trainer *trainer);
/* SUMI_EINVAL names what is not finite of weights, statistics, averages and optimiser. */
sumi_status sumi_train_check_finite(const sumi_trainer *trainer, sumi_error *err);
/* After a step that failed: the first of its n images that alone has a loss that is not finite, -1
 * where none has. As slow as n steps of one image. */
int sumi_train_suspect(const sumi_trainer *trainer, int n);

/* ---- Measuring (profile.c) ------------------------------------------------------------------- */

/* What version 0.1.0 had of an entry; no caller has less. */
#define SUMI_PROFILE_ENTRY_FIRST offsetof(sumi_profile_entry, bytes)

/* The body of sumi_profile; on SUMI_OK and SUMI_ESHAPE *count is set. */
sumi_status sumi_train_profile(sumi_runtime *runtime, const sumi_model *model,
                               const sumi_profile_config *config, sumi_profile_entry *entries,
                               int capacity, int *count, sumi_error *err);

#endif
