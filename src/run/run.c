/*
 * A whole training run: epochs over a data set, with metrics, checkpoints and sample grids.
 *
 * One thing happens after another: a step, its line in the metrics, a call of progress; at the end
 * of an epoch its loss, a checkpoint, a grid. Whatever ends the run, a checkpoint of the last good
 * step is written first. A device may be given several steps before it is asked what came of them;
 * their lines and calls then follow each other.
 */
#include "run/training.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

sumi_status sumi_run_in_turn(sumi_train_run *run, const sumi_run_stage *stages, size_t count)
{
    sumi_status status = SUMI_OK;
    for (size_t i = 0; i < count && status == SUMI_OK; i++)
        status = stages[i](run);
    return status;
}

/* ---- The loop -------------------------------------------------------------------------------- */

static sumi_status write_metric(sumi_train_run *run, int n, double step_seconds, double loss)
{
    char line[480], back[32] = "", norm[SUMI_NUMBER_MAX + 24] = "", loss_number[SUMI_NUMBER_MAX],
                    rate[SUMI_NUMBER_MAX], speed[SUMI_NUMBER_MAX], time[SUMI_NUMBER_MAX],
                    waiting[SUMI_NUMBER_MAX + 24] = "";
    int64_t epoch = (run->trainer->steps - 1) / run->per_epoch;
    /* The first step of a call takes longer than others. */
    if (run->trainer->steps > run->first_step + 1) {
        run->timed++;
        run->timed_seconds += step_seconds;
    }
    if (!run->dir)
        return SUMI_OK;
    if (run->trainer->halvings.count > 0)
        snprintf(back, sizeof back, ", \"rollbacks\": %d", run->trainer->halvings.count);
    if (run->settings.clip_norm > 0)
        snprintf(norm, sizeof norm, ", \"gradient_norm\": %s",
                 sumi_run_number(speed, run->trainer->gradient_norm, 6));
    if (!sumi_ranks_alone(run->runtime->ranks))
        snprintf(waiting, sizeof waiting, ", \"waiting\": %s",
                 sumi_run_number(speed, sumi_run_waiting(run), 3));
    snprintf(line, sizeof line,
             "{\"step\": %" PRId64 ", \"epoch\": %" PRId64
             ", \"loss\": %s, \"lr\": %s, \"images_per_s\": %s, \"time\": %s%s%s%s}",
             run->trainer->steps, epoch, sumi_run_number(loss_number, loss, 9),
             sumi_run_number(rate, sumi_run_rate(run), 6),
             sumi_run_number(speed, n / step_seconds, 5),
             sumi_run_number(time, sumi_run_seconds(run), 9), norm, back, waiting);
    const sumi_event_scalar events[] = {{"train/loss", loss},
                                        {"train/learning_rate", sumi_run_rate(run)},
                                        {"train/images_per_s", n / step_seconds},
                                        {"train/gradient_norm", run->trainer->gradient_norm}};
    sumi_run_event(run->dir, run->trainer->steps, events, run->settings.clip_norm > 0 ? 4 : 3);
    return sumi_run_metric(run->dir, line, run->err);
}

/* "0.0522": four decimals, as many as a loss between 0 and 1 needs. */
static void loss_text(double loss, char out[SUMI_NUMBER_MAX])
{
    if (loss < 1e6)
        snprintf(out, SUMI_NUMBER_MAX, "%" PRId64 ".%04d", (int64_t)(loss + .00005),
                 (int)(fmod(loss + .00005, 1) * 10000));
    else
        sumi_run_number(out, loss, 5);
}

/* Whether this step is one of those after which a checkpoint is asked for. */
static bool due_by_step(const sumi_train_run *run, int64_t step)
{
    int64_t every = run->config->checkpoint_every;
    int64_t keep = run->config->keep_every;
    return (every > 0 && step % every == 0) || (keep > 0 && step % keep == 0);
}

/* The tutorial's number: the mean of the batches' means, a short one as heavy as the rest. */
static sumi_status end_epoch(sumi_train_run *run, int64_t epoch)
{
    double loss = run->loss_sum / (double)run->loss_count;
    char number[SUMI_NUMBER_MAX], state[96];
    run->loss_sum = 0;
    run->loss_count = 0;
    sumi_run_tell(run, SUMI_PHASE_EPOCH, epoch, loss, NULL);
    run->untold = false;
    if (!run->dir)
        return SUMI_OK;
    sumi_epoch_record record = {epoch, run->trainer->steps, loss, sumi_run_seconds(run)};
    snprintf(state, sizeof state, "training: epoch %" PRId64 " is done", epoch);
    loss_text(loss, number);
    sumi_status status =
        sumi_run_log(run->dir, run->err, "Epoch %" PRId64 " | Loss: %s", epoch, number);
    if (status == SUMI_OK)
        status = sumi_run_add_epoch(run->dir, &record, run->err);
    run->untold = status != SUMI_OK;
    sumi_run_event(run->dir, record.step, &(sumi_event_scalar){"epoch/loss", loss}, 1);
    bool last = run->trainer->steps >= run->last_step;
    bool due = run->decided.save_at_epoch || run->decided.save_within ||
               due_by_step(run, run->trainer->steps);
    bool score = sumi_run_score_due(run, epoch);
    if (status != SUMI_OK || !(last || due || score || sumi_grid_due(epoch)))
        return status;
    status = sumi_run_save_step(run);
    if (status == SUMI_OK && score)
        status = sumi_run_score(run);
    if (status == SUMI_OK && (last || sumi_grid_due(epoch)))
        status = sumi_run_draw_grid(run, epoch);
    return status == SUMI_OK ? sumi_run_report_state(run, state, true) : status;
}

static sumi_batch next_batch(sumi_train_run *run, sumi_data_batch *data)
{
    sumi_batches_next(run->batches, data);
    run->trainer->picks = data->picks;
    return (sumi_batch){.size = sizeof(sumi_batch),
                        .n = data->n,
                        .h = run->set->height,
                        .w = run->set->width,
                        .x = data->images,
                        .labels = data->labels,
                        .augmentation = data->augmentation};
}

sumi_status sumi_run_queue_next(sumi_train_run *run, sumi_data_batch *data)
{
    const sumi_batch batch = next_batch(run, data);
    run->whole[sumi_train_on_their_way(run->trainer)] = data->whole;
    return sumi_train_queue(run->trainer, &batch, run->err);
}

/* What is told of a step that is done. */
static sumi_status tell_step(sumi_train_run *run, int n, double seconds, double loss)
{
    run->loss_sum += loss;
    run->loss_count++;
    run->untold = true;
    sumi_status status = write_metric(run, n, seconds, loss);
    if (status != SUMI_OK)
        return status;
    sumi_run_tell(run, SUMI_PHASE_TRAIN, (run->trainer->steps - 1) / run->per_epoch, loss, NULL);
    return sumi_run_watch_loss(run, loss);
}

/* What is due after a step. */
static sumi_status after_step(sumi_train_run *run)
{
    int64_t step = run->trainer->steps;
    sumi_status status = sumi_run_snapshot(run);
    if (status != SUMI_OK)
        return status;
    if (step % run->per_epoch == 0)
        status = end_epoch(run, step / run->per_epoch - 1);
    else {
        run->untold = false;
        if (!run->decided.save_within && !due_by_step(run, step))
            return SUMI_OK;
        status = sumi_run_save_step(run);
    }
    /* The next step's speed is its own, without what was done here. */
    run->step_at = sumi_time_now();
    return status;
}

/* Of each of so many steps, since the last time this was asked. */
static double seconds_a_step(sumi_train_run *run, int steps)
{
    double now = sumi_time_now(), seconds = fmax(1e-9, (now - run->step_at) / steps);
    run->step_at = now;
    return seconds;
}

/* A step that had no effect among others is done by itself: what is wrong with it can then be
 * looked at. */
sumi_status sumi_run_train_again(sumi_train_run *run, sumi_data_batch *data, double *loss)
{
    sumi_batches_free(run->batches);
    run->batches = NULL;
    sumi_status status = sumi_run_begin_batches(run);
    if (status != SUMI_OK)
        return status;
    const sumi_batch batch = next_batch(run, data);
    status = sumi_train_step(run->trainer, &batch, loss, run->err);
    if (status == SUMI_OK)
        run->images += data->whole;
    return status;
}

static sumi_status repeat_step(sumi_train_run *run)
{
    sumi_data_batch data;
    double loss;
    sumi_status status = sumi_run_train_again(run, &data, &loss);
    if (status != SUMI_OK)
        return run->trainer->not_finite.what ? sumi_run_not_finite(run, &data) : status;
    status = tell_step(run, data.whole, seconds_a_step(run, 1), loss);
    return status == SUMI_OK ? after_step(run) : status;
}

/* Takes in the steps that are on their way. Between them nothing is due. */
static sumi_status settle(sumi_train_run *run)
{
    int count = sumi_train_on_their_way(run->trainer);
    double seconds = 0;
    for (int i = 0; i < count; i++) {
        sumi_settled step;
        sumi_status status = sumi_train_settle(run->trainer, &step, run->err);
        if (status == SUMI_OK && step.repeat)
            return repeat_step(run);
        if (status != SUMI_OK)
            return status;
        run->images += run->whole[i];
        seconds = i == 0 ? seconds_a_step(run, count) : seconds;
        status = tell_step(run, run->whole[i], seconds, step.loss);
        if (status != SUMI_OK)
            return status;
        run->untold = i + 1 == count;
    }
    return count > 0 ? after_step(run) : SUMI_OK;
}

/* The number of the step that was given to the device last. */
static int64_t steps_begun(const sumi_train_run *run)
{
    return run->trainer->steps + sumi_train_on_their_way(run->trainer);
}

/* Whether something is due after that step, or no other can be begun. */
static bool must_settle(const sumi_train_run *run)
{
    int64_t step = steps_begun(run);
    bool open = run->settings.schedule_steps == SUMI_SCHEDULE_OPEN;
    return sumi_train_on_their_way(run->trainer) == run->trainer->ahead || step >= run->last_step ||
           step % run->per_epoch == 0 || due_by_step(run, step) || run->decided.save_within ||
           sumi_run_snapshot_due(run, step) || (open && step >= run->settings.warmup_steps);
}

static sumi_status one_step(sumi_train_run *run)
{
    sumi_data_batch data;
    sumi_status status = sumi_run_queue_next(run, &data);
    if (status != SUMI_OK && run->trainer->not_finite.what)
        return sumi_run_not_finite(run, &data);
    if (status == SUMI_OK && !must_settle(run))
        return SUMI_OK;
    sumi_status settled = settle(run);
    return status == SUMI_OK ? settled : status;
}

void sumi_run_end_at(sumi_train_run *run, int64_t last_step)
{
    run->limits = *run->config;
    run->limits.steps = run->last_step = last_step;
    run->limits.minutes = 0;
    run->config = &run->limits;
    run->settings.schedule_steps = run->trainer->config.schedule_steps = last_step;
}

/* That the minutes allow so many steps is written down before a step goes by it: from here on a
 * clock has no say, and the run can be repeated by its number of steps. */
static sumi_status fix_end(sumi_train_run *run)
{
    const sumi_run_measured measured = {run->config->minutes, run->decided.seconds_a_step,
                                        run->trainer->steps};
    char seconds[SUMI_NUMBER_MAX], minutes[SUMI_NUMBER_MAX];
    sumi_run_end_at(run, run->decided.last_step);
    if (!run->dir)
        return SUMI_OK;
    sumi_status status = sumi_run_write_config(run->dir, run->trainer, run->set, run->config,
                                               run->hash, &measured, run->err);
    if (status == SUMI_OK)
        status = sumi_run_log(run->dir, run->err,
                              "%s minutes are %" PRId64 " steps of %s s, as measured up to step "
                              "%" PRId64 "; --steps %" PRId64 " --lr-warmup %" PRId64
                              " in their place repeats the run",
                              sumi_run_number(minutes, measured.minutes, 6), run->last_step,
                              sumi_run_number(seconds, measured.seconds_a_step, 4),
                              measured.at_step, run->last_step, run->settings.warmup_steps);
    run->saved_step = -1;
    return status == SUMI_OK ? sumi_run_save_step(run) : status;
}

/* status: whether this rank can go on. */
static sumi_status decide(sumi_train_run *run, sumi_status status)
{
    const sumi_clock clock = {.now = sumi_time_now(),
                              .started = run->started,
                              .saved_at = run->saved_at,
                              .minutes = run->config->minutes,
                              .save_minutes = run->config->checkpoint_minutes,
                              .save_took = run->save_took,
                              .failed = status != SUMI_OK,
                              .began = steps_begun(run) > run->first_step,
                              .asked_to_stop = sumi_run_asked_to_stop(run),
                              .open = run->settings.schedule_steps == SUMI_SCHEDULE_OPEN,
                              .steps = steps_begun(run),
                              .timed = run->timed,
                              .warmup_steps = run->settings.warmup_steps,
                              .last_step = run->last_step,
                              .timed_seconds = run->timed_seconds,
                              .seconds_a_step =
                                  run->seconds_before / fmax(1, (double)run->trainer->steps),
                              .tuning = sumi_run_tuning_time(run)};
    bool alone = sumi_ranks_alone(run->runtime->ranks);
    if (status != SUMI_OK && (alone || run->parted))
        return status;
    run->decided = sumi_run_decide(run->runtime->ranks, &clock);
    if (run->decided.failed)
        return sumi_run_fail_together(run, run->decided.failed - 1, status);
    if (run->decided.last_step == 0)
        return SUMI_OK;
    status = settle(run);
    return sumi_run_meet(run, status == SUMI_OK ? fix_end(run) : status);
}

static bool finished(const sumi_train_run *run)
{
    return steps_begun(run) >= run->last_step || run->decided.time_is_up;
}

/* ---- The end --------------------------------------------------------------------------------- */

static sumi_status last_checkpoint(sumi_train_run *run)
{
    return sumi_run_save_step(run);
}

static sumi_status last_grid(sumi_train_run *run)
{
    bool within = run->trainer->steps % run->per_epoch != 0;
    return sumi_run_draw_grid(run, within ? -1 : run->trainer->steps / run->per_epoch - 1);
}

static sumi_status unless_stopped(sumi_train_run *run)
{
    return sumi_run_asked_to_stop(run) ? SUMI_CANCELLED : SUMI_OK;
}

static sumi_status write_model(const sumi_train_run *run, const char *name)
{
    char path[PATH_MAX];
    return sumi_models_save(sumi_run_file(run->dir, name, path), sumi_train_best(run->trainer),
                            NULL, run->err);
}

static sumi_status write_models(sumi_train_run *run)
{
    sumi_status status = sumi_run_take_defaults(run);
    if (status == SUMI_OK)
        status = write_model(run, "model.safetensors");
    return status == SUMI_OK ? write_model(run, "model.pth") : status;
}

static sumi_status say_finished(sumi_train_run *run)
{
    char state[96];
    snprintf(state, sizeof state, "finished: %" PRId64 " steps", run->trainer->steps);
    sumi_status status =
        sumi_run_log(run->dir, run->err, "finished at step %" PRId64, run->trainer->steps);
    return status == SUMI_OK ? sumi_run_report_state(run, state, false) : status;
}

/* All that was asked for is done: a last checkpoint, a last grid, and the model for use. */
static sumi_status complete(sumi_train_run *run)
{
    static const sumi_run_stage stages[] = {
        last_checkpoint,     sumi_run_score, sumi_run_tune,  last_grid,
        unless_stopped,      write_models,   unless_stopped, sumi_run_look_for_copies,
        sumi_run_draw_final, unless_stopped, say_finished};
    return run->dir ? sumi_run_in_turn(run, stages, sizeof stages / sizeof *stages)
                    : unless_stopped(run);
}

/* Stopped early or failed: what is good is saved. The first message is the one that counts. */
static sumi_status interrupt(sumi_train_run *run, sumi_status status)
{
    sumi_error first = *run->err;
    char state[64];
    if (status == SUMI_CANCELLED)
        sumi_fail(&first, status, "stopped after step %" PRId64 "%s", run->trainer->steps,
                  run->dir ? "; the run is saved and can be resumed" : "");
    /* A checkpoint of a step whose lines are missing would go on without them. */
    bool told = !run->untold && sumi_train_on_their_way(run->trainer) == 0;
    sumi_status saved = told ? sumi_run_save_step(run) : SUMI_OK;
    if (status == SUMI_CANCELLED && saved != SUMI_OK)
        return saved;
    if (run->dir) {
        snprintf(state, sizeof state, "stopped at step %" PRId64, run->trainer->steps);
        (void)sumi_run_flush(run->dir, NULL);
        (void)sumi_run_log(run->dir, NULL, "%s", status == SUMI_CANCELLED ? state : first.text);
        (void)sumi_run_report(run->dir, state, false, NULL);
    }
    *run->err = first;
    return status;
}

/* As a score. */
static sumi_status missed_score(sumi_train_run *run)
{
    int64_t epoch = sumi_run_epoch(run) - 1;
    bool between = run->trainer->steps % run->per_epoch == 0;
    return between && epoch >= 0 && sumi_run_score_due(run, epoch) ? sumi_run_score(run) : SUMI_OK;
}

/* A grid that a stop cut short is drawn when the run goes on. */
static sumi_status missed_grid(sumi_train_run *run)
{
    int64_t epoch = sumi_run_epoch(run) - 1;
    bool between = run->trainer->steps % run->per_epoch == 0;
    return between && epoch >= 0 && sumi_grid_due(epoch) ? sumi_run_draw_grid(run, epoch) : SUMI_OK;
}

static sumi_status all_steps(sumi_train_run *run)
{
    sumi_status status = decide(run, SUMI_OK);
    while (status == SUMI_OK && !finished(run) && !run->decided.stop)
        status = decide(run, one_step(run));
    if (status == SUMI_OK)
        status = settle(run);
    bool short_of_it = run->decided.stop && run->trainer->steps < run->last_step;
    return status == SUMI_OK && short_of_it ? SUMI_CANCELLED : status;
}

static sumi_status train(sumi_train_run *run)
{
    static const sumi_run_stage stages[] = {missed_score, missed_grid, all_steps, complete};
    run->first_step = run->trainer->steps;
    run->step_at = sumi_time_now();
    sumi_status status = sumi_run_in_turn(run, stages, sizeof stages / sizeof *stages);
    return status == SUMI_OK ? SUMI_OK : interrupt(run, status);
}

sumi_status sumi_run_train(sumi_runtime *runtime, sumi_model *model, const sumi_dataset *set,
                           const sumi_train_config *config, sumi_error *err)
{
    static const sumi_run_stage alone[] = {sumi_run_check, sumi_run_make_trainer,
                                           sumi_run_begin_scores};
    static const sumi_run_stage together[] = {sumi_run_begin_dir, sumi_run_share,
                                              sumi_run_begin_batches, train};
    sumi_error own = {""};
    sumi_run_dir dir = {.lock = -1};
    sumi_train_run run = {.config = config,
                          .settings = sumi_trainer_settings(config),
                          .set = set,
                          .runtime = runtime,
                          .model = model,
                          .last_step = INT64_MAX,
                          .saved_step = -1,
                          .err = err ? err : &own};
    run.dir = config->out_dir && sumi_run_leads(&run) ? &dir : NULL;
    sumi_status status = sumi_run_in_turn(&run, alone, sizeof alone / sizeof *alone);
    status = sumi_run_check_ranks(&run, status);
    if (status == SUMI_OK)
        status = sumi_run_in_turn(&run, together, sizeof together / sizeof *together);
    status = sumi_run_meet(&run, status);
    if (status == SUMI_OK && err)
        *err = run.notice;
    sumi_batches_free(run.batches);
    sumi_run_end_scores(&run);
    sumi_run_dir_close(&dir);
    sumi_train_free(run.trainer);
    return status;
}
