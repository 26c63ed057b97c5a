/*
 * A training run under way, for the files of this folder that make one up: begin.c, going_on.c,
 * leave.c (what it tells and leaves on disk) and run.c (the loop and its end). Everybody else sees
 * run.h.
 */
#ifndef SUMI_RUN_TRAINING_H
#define SUMI_RUN_TRAINING_H

#include "run/run.h"

/* The last losses, in a ring. */
enum { SUMI_LOSS_WINDOW = 100 };
typedef struct {
    int64_t count; /* that were put in */
    double loss[SUMI_LOSS_WINDOW];
} sumi_loss_window;

typedef struct sumi_train_run {
    const sumi_train_config *config; /* its limits are `limits` once minutes became steps */
    sumi_train_config limits;
    sumi_trainer_config settings; /* of its trainer */
    const sumi_dataset *set;
    char hash[65]; /* of the set */
    sumi_runtime *runtime;
    sumi_model *model;
    sumi_trainer *trainer;
    sumi_run_dir *dir; /* NULL: the run leaves nothing on disk */
    sumi_batches *batches;
    sumi_scorer *scorer;          /* NULL: the run is not scored */
    int64_t per_epoch, last_step; /* steps; last_step is INT64_MAX where time alone ends the run */
    /* Of the epoch so far. */
    double loss_sum;
    int64_t loss_count;
    sumi_loss_window window;
    /* Of this call. */
    int64_t first_step, images;
    int64_t timed; /* steps, and how long they took */
    double timed_seconds;
    double started, seconds_before; /* that earlier calls trained for */
    double saved_at, save_took, step_at;
    int64_t saved_step; /* -1: none yet */
    bool untold;        /* a step was done, and not all lines that belong to it are written */
    int whole[SUMI_AHEAD_MAX]; /* images of the steps that are on their way, on all ranks */
    bool stop;                 /* a callback asked for it */
    sumi_decisions decided;
    bool parted;       /* a rank has failed, and all know: they do not meet again */
    sumi_error notice; /* what is worth saying though all went well, or "" */
    sumi_error *err;
} sumi_train_run;

/* A part of beginning, ending or going on. */
typedef sumi_status (*sumi_run_stage)(sumi_train_run *run);
/* Does one after another, up to the first that fails. */
sumi_status sumi_run_in_turn(sumi_train_run *run, const sumi_run_stage *stages, size_t count);

/* Steps stand for the minutes from here on, and the rate's schedule ends with them. */
void sumi_run_end_at(sumi_train_run *run, int64_t last_step);

/* ---- begin.c ---- */

sumi_status sumi_run_check(sumi_train_run *run);
/* All that a step needs is planned and allocated here. */
sumi_status sumi_run_make_trainer(sumi_train_run *run);
/* Brings the run directory and the trainer to where the run begins. */
sumi_status sumi_run_begin_dir(sumi_train_run *run);
sumi_status sumi_run_begin_batches(sumi_train_run *run);

/* ---- going_on.c ---- */

/* Where the run is to be resumed: brings it to its newest checkpoint. */
sumi_status sumi_run_resume(sumi_train_run *run);
/* Brings trainer and run to the newest checkpoint of a step before this one. */
sumi_status sumi_run_load_before(sumi_train_run *run, int64_t step);

/* ---- guard.c ---- */

/* Says so where the loss of a step is far above those before. */
sumi_status sumi_run_watch_loss(sumi_train_run *run, double loss);
/* After a step that failed because something was not finite, as run->err says: writes the report,
 * and either goes back to a checkpoint or fails. */
sumi_status sumi_run_not_finite(sumi_train_run *run, const sumi_data_batch *data);
/* How often the run has gone back, for the rate of the steps to come. */
sumi_status sumi_run_read_rollbacks(sumi_train_run *run);

/* ---- snapshots.c ---- */

sumi_status sumi_run_check_snapshots(const sumi_train_run *run);
/* Whether averages are to be kept as they are after this step. */
bool sumi_run_snapshot_due(const sumi_train_run *run, int64_t step);
/* Keeps them so after the last step, where it is one of those. */
sumi_status sumi_run_snapshot(sumi_train_run *run);

/* ---- scores.c ---- */

/* Looks at the data, where the run is to be scored. */
sumi_status sumi_run_begin_scores(sumi_train_run *run);
void sumi_run_end_scores(sumi_train_run *run);
/* Of a run that goes on: the scores that eval.jsonl has, after it was cut. */
sumi_status sumi_run_read_scores(sumi_train_run *run);
bool sumi_run_score_due(const sumi_train_run *run, int64_t epoch);
/* Scores the present weights unless that was done, and names the best. Their checkpoint is there.
 */
sumi_status sumi_run_score(sumi_train_run *run);

/* ---- tuning.c ---- */

sumi_tuning_time sumi_run_tuning_time(const sumi_train_run *run);
/* Looks for the best way to sample the model, where that is wanted and was not done; it is the
 * models' own from then on. */
sumi_status sumi_run_tune(sumi_train_run *run);

/* ---- memory.c ---- */

/* Of a run on few images that draws pictures: are there copies among them? Once for its last step.
 */
sumi_status sumi_run_look_for_copies(sumi_train_run *run);

/* ---- together.c: several ranks, where each of these is called by all ---- */

/* True on the rank that has the run directory, and alone. */
bool sumi_run_leads(const sumi_train_run *run);
/* Whether all can go on; status: whether this one can. Where one cannot, all get its status and
 * its message, which names it unless it is rank 0. */
sumi_status sumi_run_meet(sumi_train_run *run, sumi_status status);
/* The same once all know the rank that failed. */
sumi_status sumi_run_fail_together(sumi_train_run *run, int rank, sumi_status status);
/* Refuses ranks with another program, other data or other settings than rank 0. status: whether
 * this rank has come here, as sumi_run_meet takes it, whose message has another form: what fails
 * before is told here, where the others wait. */
sumi_status sumi_run_check_ranks(sumi_train_run *run, sumi_status status);
/* Brings all to where rank 0 is. */
sumi_status sumi_run_share(sumi_train_run *run);
/* The share of the time so far in which this rank waited for others. */
double sumi_run_waiting(const sumi_train_run *run);

/* ---- run.c ---- */

/* Where the steps that were queued after the last good one had no effect: takes the batch behind it
 * and trains a step on that alone, waiting for what comes of it; data receives the batch, *loss its
 * loss. */
sumi_status sumi_run_train_again(sumi_train_run *run, sumi_data_batch *data, double *loss);
/* Takes the next batch and queues a step on it; what comes of it is sumi_train_settle's to tell,
 * and the images of all ranks are in run->whole until then. */
sumi_status sumi_run_queue_next(sumi_train_run *run, sumi_data_batch *data);

/* ---- leave.c ---- */

/* Sampling defaults that were set for the run from outside, for the model and its averages. */
sumi_status sumi_run_take_defaults(sumi_train_run *run);

/* Seconds that the run has trained for, earlier calls included. */
double sumi_run_seconds(const sumi_train_run *run);
int64_t sumi_run_epoch(const sumi_train_run *run);
/* The learning rate of the step that was done last, or of the first. */
double sumi_run_rate(const sumi_train_run *run);
/* Calls the caller's progress function. */
void sumi_run_tell(sumi_train_run *run, sumi_phase phase, int64_t epoch, double loss,
                   const char *path);
/* The same for one line of text. */
void sumi_run_tell_note(sumi_train_run *run, const char *note);
/* A sampling's progress within the run (user), told to the caller, who may stop it. */
int sumi_run_see_sampling(void *user, const sumi_progress *sampling);
bool sumi_run_asked_to_stop(const sumi_train_run *run);
/* Writes a checkpoint unless this step has one. SUMI_EIO where there is no room for it, or, where
 * the run would go on, for the next: then this one is there. */
sumi_status sumi_run_save_step(sumi_train_run *run);
/* epoch < 0: the run ends within an epoch, and the picture is called after its step. */
sumi_status sumi_run_draw_grid(sumi_train_run *run, int64_t epoch);
/* The tutorial ends its training with 128 pictures; here that is twice a grid, once all epochs are
 * done. */
sumi_status sumi_run_draw_final(sumi_train_run *run);
sumi_status sumi_run_report_state(const sumi_train_run *run, const char *state, bool running);

#endif
