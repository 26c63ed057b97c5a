/*
 * Going on with a training run where its newest checkpoint is.
 */
#include "run/training.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static sumi_status check_settings(sumi_train_run *run)
{
    return sumi_run_check_config(run->dir, run->set, &run->settings, run->config, run->hash,
                                 run->err);
}

static sumi_status tidy(sumi_train_run *run)
{
    return sumi_run_tidy(run->dir, run->err);
}

static sumi_status read_run_state(sumi_train_run *run, const char *path, const json_t *state,
                                  sumi_error *err)
{
    int64_t done = run->trainer->steps % run->per_epoch;
    sumi_status status = sumi_json_real(path, state, "loss_sum", 0, HUGE_VAL, &run->loss_sum, err);
    if (status == SUMI_OK)
        status = sumi_json_int(path, state, "loss_count", done, done, &run->loss_count, err);
    if (status == SUMI_OK)
        status = sumi_json_real(path, state, "seconds", 0, 1e12, &run->seconds_before, err);
    return status;
}

static sumi_status load_checkpoint(void *user, const char *folder, sumi_error *err)
{
    sumi_train_run *run = user;
    json_t *state = NULL;
    snprintf(run->dir->latest, sizeof run->dir->latest, "%s", strrchr(folder, '/') + 1);
    sumi_status status = sumi_checkpoint_load(run->trainer, folder, &state, err);
    if (status == SUMI_OK)
        status = read_run_state(run, run->dir->path, state, err);
    json_decref(state);
    int64_t end = run->trainer->config.schedule_steps;
    if (status == SUMI_OK && run->settings.schedule_steps == SUMI_SCHEDULE_OPEN && end > 0)
        sumi_run_end_at(run, end);
    return status;
}

/* That a checkpoint was lost is told, and matters more than anything else there is to tell. */
static sumi_status load_newest(sumi_train_run *run)
{
    sumi_status status =
        sumi_run_newest(run->dir->path, load_checkpoint, run, &run->notice, run->err);
    run->saved_step = run->trainer->steps;
    return status;
}

sumi_status sumi_run_load_before(sumi_train_run *run, int64_t step)
{
    return sumi_run_newest_before(run->dir->path, step, load_checkpoint, run, NULL, run->err);
}

static sumi_status rewind_files(sumi_train_run *run)
{
    return sumi_run_rewind(run->dir, run->trainer->steps, sumi_run_epoch(run), run->err);
}

static sumi_status find_best(sumi_train_run *run)
{
    return sumi_run_find_best(run->dir, run->trainer->steps, run->err);
}

static sumi_status log_resumed(sumi_train_run *run)
{
    char stamp[32];
    sumi_status status = SUMI_OK;
    sumi_time_stamp(stamp);
    if (run->notice.text[0])
        status = sumi_run_log(run->dir, run->err, "%s", run->notice.text);
    if (status != SUMI_OK)
        return status;
    return sumi_run_log(
        run->dir, run->err, "%s resumed at step %" PRId64 " by sumi %s, %s, %d threads", stamp,
        run->trainer->steps, SUMI_VERSION, run->runtime->backend->isa(run->runtime->device),
        run->runtime->backend->threads(run->runtime->device));
}

static sumi_status check_isa(sumi_train_run *run)
{
    sumi_error notice = {""};
    sumi_status status =
        sumi_run_check_isa(run->dir, run->runtime, run->settings.precision, &notice, run->err);
    if (!run->notice.text[0])
        run->notice = notice;
    return status;
}

/* A run that goes on for longer keeps the schedule that it began with. */
static sumi_status check_rate(sumi_train_run *run)
{
    int64_t end = run->trainer->config.schedule_steps;
    if (end > 0 && run->last_step > end && !run->notice.text[0] &&
        !(sumi_learning_rate(&run->trainer->config, end + 1) > 0))
        sumi_fail(&run->notice, SUMI_OK,
                  "the learning rate comes to its end, 0, at step %" PRId64
                  ": later steps leave the weights as they are",
                  end);
    return SUMI_OK;
}

sumi_status sumi_run_resume(sumi_train_run *run)
{
    static const sumi_run_stage stages[] = {check_settings,
                                            tidy,
                                            load_newest,
                                            sumi_run_read_rollbacks,
                                            rewind_files,
                                            sumi_run_read_scores,
                                            find_best,
                                            log_resumed,
                                            check_isa,
                                            check_rate,
                                            sumi_run_take_defaults};
    return run->config->resume ? sumi_run_in_turn(run, stages, sizeof stages / sizeof *stages)
                               : SUMI_OK;
}
