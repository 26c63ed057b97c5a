/*
 * run: a whole training in a folder of its own.
 *
 * Does: epochs over a data set with metrics, checkpoints, sample grids and a report; resuming.
 * Does not: know what a training step is (train), or print.
 *
 *     config.json env.json skipped.txt train.log metrics.jsonl metrics.csv loss.svg index.html
 *     samples/epoch_000.png ... events.out.tfevents.sumi
 *     eval.jsonl score.svg          where the run is scored
 *     checkpoints/step_469/ ...     the newest, the best, and others that shall stay
 *     nan_report.json rollbacks.json where something was not finite
 *     memory.json memory.png        of few images: samples beside the closest of them
 *     latest best                   each holds the name of a folder in checkpoints
 *     run.lock                      locked while a process trains here
 *     model.pth model.safetensors   when the run is finished
 *     sampling.json                 how to sample it, where that was found or set
 *     tuning.json                   the ways to sample it that were looked at
 */
#ifndef SUMI_RUN_H
#define SUMI_RUN_H

#include <limits.h>

#include "eval/scorer.h"

enum { SUMI_STEP_NAME_MAX = 32 }; /* "step_4294967295" */

typedef struct {
    int64_t epoch, step; /* steps that are done at its end */
    double loss;         /* the mean of its batches' losses */
    double seconds;      /* that the run had trained for */
} sumi_epoch_record;

typedef struct {
    int64_t epoch, step; /* as above, of the weights that it is a score of */
    double frechet;
} sumi_score_record;

/* ---- Runs (run.c; docs: run directory) ------------------------------------------------------- */

/* The whole of `sumi train`; see sumi_train. */
sumi_status sumi_run_train(sumi_runtime *runtime, sumi_model *model, const sumi_dataset *set,
                           const sumi_train_config *config, sumi_error *err);
/* The whole of `sumi verify` (verify.c); see sumi_verify. */
sumi_status sumi_run_verify(sumi_runtime *runtime, sumi_model *model, const sumi_dataset *set,
                            const sumi_train_config *config, sumi_verify_t *out, sumi_error *err);
/* What a search at the run's end takes, in steps' time (tuning.c): this share of all steps, but at
 * most so many, and nothing of a run with fewer than `least`. */
typedef struct {
    double share, least, most;
} sumi_tuning_time;
/* What a clock or a caller decides (decide.c). */
typedef struct {
    double now, started, saved_at; /* seconds */
    double minutes;                /* that a run may take; 0: as long as it likes */
    double save_minutes;           /* between two checkpoints; 0: as many as there are */
    double save_took;              /* seconds that the last checkpoint took */
    bool failed;                   /* this rank cannot go on */
    bool began;                    /* a step was done */
    bool asked_to_stop;
    /* The rate's schedule ends with the run, and minutes are to say where that is. The steps that
     * are done, so many of them timed, and those of the warm-up; what a step took in earlier calls
     * is for one that has timed none. */
    bool open;
    int64_t steps, timed, warmup_steps, last_step;
    double timed_seconds, seconds_a_step;
    sumi_tuning_time tuning;
} sumi_clock;
typedef struct {
    int failed;         /* the number of the first rank that cannot go on, from 1 on; 0: all can */
    bool stop;          /* the caller of a rank wants to stop */
    bool time_is_up;    /* the minutes are over */
    bool save_at_epoch; /* an epoch that ends with the next step is worth a checkpoint */
    bool save_within;   /* it is high time for one, wherever the epoch stands */
    int64_t last_step;  /* the number of steps that the minutes allow; 0: not decided */
    double seconds_a_step;
} sumi_decisions;
/* Rank 0's, for all ranks, which all call it; ranks NULL: alone. */
sumi_decisions sumi_run_decide(const sumi_ranks *ranks, const sumi_clock *clock);
/* True after the epochs 0, 1, 5, 7 and 9, as in the tutorial, then 19, 49, 99, 199, 499, ... */
bool sumi_grid_due(int64_t epoch);
/* The model that a run directory stands for (load.c): its latest checkpoint's averaged weights
 * where there are some, else its weights; a checkpoint folder is taken as it is. A damaged
 * checkpoint is passed over for the one before; where none is whole or there (removed to save
 * space), the run's model file is used. notice (may be NULL) then says so, else its text is "". */
sumi_status sumi_run_load(const char *path, sumi_model **out, sumi_error *notice, sumi_error *err);

/* sampling.c: gives the model the sampling defaults that the run's folder keeps, where it does. */
sumi_status sumi_run_take_sampling(const char *path, sumi_model *model, sumi_error *err);
/* Keeps them (NULL: none) in a run or a model's file; see sumi_model_save_sampling. */
sumi_status sumi_run_save_sampling(const char *path, json_t *sampling, sumi_error *err);

/* ---- Snapshots of averages (snapshots.c) ----------------------------------------------------- */

/* The body of sumi_model_average_run. */
sumi_status sumi_run_average(const char *path, double width, sumi_model **out, sumi_error *err);

/* ---- The open directory (run_dir.c) ---------------------------------------------------------- */

typedef struct {
    char path[PATH_MAX];
    int lock; /* descriptor of run.lock, -1 where it is not held */
    int64_t steps_per_epoch;
    /* Lines for metrics.jsonl that are not written yet. */
    char metrics[8192];
    size_t metrics_used;
    double metrics_written_at;
    sumi_epoch_record *epochs; /* [epoch_count] */
    size_t epoch_count, epoch_capacity;
    sumi_score_record *scores; /* [score_count], of eval.jsonl */
    size_t score_count, score_capacity;
    /* What sumi_run_step_losses has read of metrics.jsonl so far. */
    double *step_x, *step_loss; /* [step_count] */
    size_t step_count, step_capacity;
    int64_t step_offset;             /* bytes */
    char latest[SUMI_STEP_NAME_MAX]; /* name of a folder in checkpoints, or "" */
    int64_t best;                    /* step that the file `best` names; -1: none, or not known */
    bool scored;                     /* the best are those by scores, not by losses of epochs */
    /* Which checkpoints stay: the newest so many, the best so many, and those of multiples of so
     * many steps. */
    int keep_last, keep_best;
    int64_t keep_every; /* 0: none */
    sumi_text events;   /* that are not written yet */
    bool pictured;      /* a picture of this step is among those that are */
} sumi_run_dir;

/* Makes the folder where it is missing and takes its lock. Without resume a folder that is not
 * empty is refused; with it, one that has no run. */
sumi_status sumi_run_dir_open(sumi_run_dir *dir, const char *path, bool resume, sumi_error *err);
void sumi_run_dir_close(sumi_run_dir *dir);
/* The path alone; SUMI_EINVAL where what lies in the run would have a path that is too long. */
sumi_status sumi_run_dir_name(sumi_run_dir *dir, const char *path, sumi_error *err);
/* path/name, which fits. Returns out. */
const char *sumi_run_file(const sumi_run_dir *dir, const char *name, char out[PATH_MAX]);
/* A number with so many digits, with a point whatever the program's locale says. */
enum { SUMI_NUMBER_MAX = 40 };
const char *sumi_run_number(char out[SUMI_NUMBER_MAX], double value, int digits);
/* Adds a line to train.log. */
sumi_status sumi_run_log(const sumi_run_dir *dir, sumi_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds a line to metrics.jsonl, in memory; it is written about once a second. */
sumi_status sumi_run_metric(sumi_run_dir *dir, const char *line, sumi_error *err);
sumi_status sumi_run_flush(sumi_run_dir *dir, sumi_error *err);
/* The same, and to disk (fsync): what is told of the steps up to a checkpoint is there first. */
sumi_status sumi_run_settle(sumi_run_dir *dir, sumi_error *err);
/* Begins metrics.csv with the names of its columns. */
sumi_status sumi_run_begin_metrics(sumi_run_dir *dir, sumi_error *err);
/* Adds an epoch to metrics.csv and the list. */
sumi_status sumi_run_add_epoch(sumi_run_dir *dir, const sumi_epoch_record *record, sumi_error *err);
/* Reads the losses of the steps so far from metrics.jsonl into step_x, in fractions of an epoch,
 * and step_loss; only what was added since the last call. */
sumi_status sumi_run_step_losses(sumi_run_dir *dir, sumi_error *err);
/* Cuts off what metrics.jsonl and metrics.csv say about later steps and epochs than these, and
 * reads the epochs that are left. */
sumi_status sumi_run_rewind(sumi_run_dir *dir, int64_t steps, int64_t epochs, sumi_error *err);

/* ---- Its events for TensorBoard (events.c) --------------------------------------------------- */

/* Of a step that was done; they are written with the metrics. */
void sumi_run_event(sumi_run_dir *dir, int64_t step, const sumi_event_scalar *scalars, int count);
/* Writes a picture that is in a PNG file. */
sumi_status sumi_run_event_picture(sumi_run_dir *dir, int64_t step, const char *tag,
                                   const char *path, sumi_error *err);
sumi_status sumi_run_events_flush(sumi_run_dir *dir, sumi_error *err);
/* Cuts off the events of later steps, or begins the file. */
sumi_status sumi_run_events_rewind(sumi_run_dir *dir, int64_t steps, sumi_error *err);

/* ---- Its checkpoints (checkpoints.c) --------------------------------------------------------- */

/* SUMI_EIO where the disk has no room for so many checkpoints. */
sumi_status sumi_run_check_space(const sumi_run_dir *dir, const sumi_trainer *trainer, int count,
                                 sumi_error *err);
/* Writes checkpoints/step_N, then `latest` and `best`, then removes the checkpoints that are no
 * longer kept. */
sumi_status sumi_run_save(sumi_run_dir *dir, const sumi_trainer *trainer, const json_t *state,
                          sumi_error *err);
/* Removes what a process that was killed left half-written below the run. */
sumi_status sumi_run_tidy(const sumi_run_dir *dir, sumi_error *err);
/* Calls use(user, folder) with the newest checkpoint below path that is whole, and returns what it
 * returns. Each damaged one is passed over; notice says which. SUMI_EIO where there is none. */
typedef sumi_status (*sumi_checkpoint_fn)(void *user, const char *folder, sumi_error *err);
sumi_status sumi_run_newest(const char *path, sumi_checkpoint_fn use, void *user,
                            sumi_error *notice, sumi_error *err);
/* The same of those of steps before this one. */
sumi_status sumi_run_newest_before(const char *path, int64_t step, sumi_checkpoint_fn use,
                                   void *user, sumi_error *notice, sumi_error *err);
/* The steps of the checkpoints below path, newest first; *steps is malloc'ed. */
sumi_status sumi_run_list_steps(const char *path, int64_t **steps, size_t *count, sumi_error *err);
/* Removes the checkpoints of steps after this one, of which there is one; `latest` names it then,
 * and `best` the best of those that stay. */
sumi_status sumi_run_drop_later(sumi_run_dir *dir, int64_t step, sumi_error *err);

/* ---- The best of them (best.c) --------------------------------------------------------------- */

/* The steps of the best keep_best checkpoints of steps up to last, or as many as there are, the
 * best first; *steps is malloc'ed. */
sumi_status sumi_run_best_steps(const sumi_run_dir *dir, int64_t last, int64_t **steps,
                                size_t *count, sumi_error *err);
/* Has the file `best` name the best of these; where there is none, the file is removed. */
sumi_status sumi_run_find_best(sumi_run_dir *dir, int64_t last, sumi_error *err);

/* ---- Settings (settings.c) ------------------------------------------------------------------- */

/* How the number of a run's steps was decided. */
typedef struct {
    double minutes, seconds_a_step;
    int64_t at_step;
} sumi_run_measured;

/* Writes config.json; measured: NULL, or what is new about that. Of a resumed run only the limits
 * change; what it was begun with stays, and `resumed` gets one more entry: command, version and
 * limits of this call. */
sumi_status sumi_run_write_config(const sumi_run_dir *dir, const sumi_trainer *trainer,
                                  const sumi_dataset *set, const sumi_train_config *config,
                                  const char *hash, const sumi_run_measured *measured,
                                  sumi_error *err);
/* What all ranks of a run need to have the same: an object of objects. NULL: out of memory. */
json_t *sumi_run_settings(const sumi_trainer *trainer, const sumi_train_config *config);
/* Refuses to go on with other data or other settings than config.json has: the same bits could not
 * come out. */
sumi_status sumi_run_check_config(const sumi_run_dir *dir, const sumi_dataset *set,
                                  const sumi_trainer_config *trainer,
                                  const sumi_train_config *config, const char *hash,
                                  sumi_error *err);
/* notice says so where env.json names an instruction set that rounds differently in this precision:
 * the bits will not be those of a run that was never stopped. */
sumi_status sumi_run_check_isa(const sumi_run_dir *dir, const sumi_runtime *runtime,
                               sumi_precision precision, sumi_error *notice, sumi_error *err);
/* What this was compiled with, as in env.json. */
const char *sumi_run_compiler(void);
/* Writes env.json: what machine, system and build the run is on. */
sumi_status sumi_run_write_env(const sumi_run_dir *dir, const sumi_runtime *runtime,
                               sumi_error *err);

/* data_notes.c: the set's notices go to train.log; skipped.txt lists what was skipped of it, and is
 * there where anything was. */
sumi_status sumi_run_note_data(const sumi_run_dir *dir, const sumi_dataset *set, sumi_error *err);

/* ---- The report (report.c) ------------------------------------------------------------------- */

/* Writes loss.svg and index.html from what the directory has. running: the page reloads itself. */
sumi_status sumi_run_report(sumi_run_dir *dir, const char *state, bool running, sumi_error *err);

#endif
