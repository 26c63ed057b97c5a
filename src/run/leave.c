/*
 * What a training run tells its caller and leaves on disk: progress, checkpoints, sample grids, the
 * report.
 */
#include "run/training.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

double sumi_run_seconds(const sumi_train_run *run)
{
    return run->seconds_before + sumi_time_now() - run->started;
}

int64_t sumi_run_epoch(const sumi_train_run *run)
{
    return run->trainer->steps / run->per_epoch;
}

double sumi_run_rate(const sumi_train_run *run)
{
    int64_t step = run->trainer->steps > 0 ? run->trainer->steps : 1;
    return sumi_halved_rate(&run->settings, &run->trainer->halvings, step);
}

sumi_status sumi_run_take_defaults(sumi_train_run *run)
{
    const sumi_averages *averages = &run->trainer->averages;
    sumi_status status = sumi_run_take_sampling(run->dir->path, run->model, run->err);
    for (int i = 0; i < averages->count && status == SUMI_OK; i++)
        status = sumi_run_take_sampling(run->dir->path, averages->model[i], run->err);
    return status;
}

/* ---- Telling the caller ---------------------------------------------------------------------- */

static double time_left(const sumi_train_run *run, double elapsed)
{
    int64_t done = run->trainer->steps - run->first_step;
    double left = -1;
    if (run->last_step < INT64_MAX && done > 0)
        left = elapsed * (double)(run->last_step - run->trainer->steps) / (double)done;
    if (run->config->minutes > 0) {
        double rest = fmax(0, run->config->minutes * 60 - elapsed);
        left = left < 0 ? rest : fmin(left, rest);
    }
    return left;
}

static void tell(sumi_train_run *run, sumi_phase phase, int64_t epoch, double loss,
                 const char *path, const char *note)
{
    double elapsed = sumi_time_now() - run->started;
    if (!run->config->progress)
        return;
    sumi_progress progress = {.size = sizeof progress,
                              .phase = phase,
                              .step = run->trainer->steps,
                              .step_count = run->last_step < INT64_MAX ? run->last_step : 0,
                              .epoch = epoch,
                              .epoch_count = run->config->epochs,
                              .loss = loss,
                              .learning_rate = sumi_run_rate(run),
                              .images_per_s = elapsed > 0 ? (double)run->images / elapsed : 0,
                              .elapsed_s = elapsed,
                              .eta_s = time_left(run, elapsed),
                              .path = path,
                              .note = note,
                              .waiting = sumi_run_waiting(run)};
    if (run->config->progress(run->config->user, &progress))
        run->stop = true;
}

void sumi_run_tell(sumi_train_run *run, sumi_phase phase, int64_t epoch, double loss,
                   const char *path)
{
    tell(run, phase, epoch, loss, path, NULL);
}

void sumi_run_tell_note(sumi_train_run *run, const char *note)
{
    tell(run, SUMI_PHASE_NOTE, sumi_run_epoch(run), 0, NULL, note);
}

bool sumi_run_asked_to_stop(const sumi_train_run *run)
{
    return run->stop || sumi_runtime_cancelled(run->runtime);
}

/* ---- Leaving things on disk ------------------------------------------------------------------ */

static json_t *run_state(const sumi_train_run *run)
{
    return json_pack("{s:f, s:I, s:f}", "loss_sum", run->loss_sum, "loss_count",
                     (json_int_t)run->loss_count, "seconds", sumi_run_seconds(run));
}

/* A run that could not write its next checkpoint ends with this one, and not after hours of work
 * that would be lost. */
static sumi_status check_next(const sumi_train_run *run)
{
    char text[sizeof run->err->text];
    if (run->trainer->steps >= run->last_step || sumi_run_asked_to_stop(run) ||
        sumi_run_check_space(run->dir, run->trainer, 1, run->err) == SUMI_OK)
        return SUMI_OK;
    memcpy(text, run->err->text, sizeof text);
    return sumi_fail(run->err, SUMI_EIO, "%s; the run ends at step %" PRId64 ", which is saved",
                     text, run->trainer->steps);
}

sumi_status sumi_run_save_step(sumi_train_run *run)
{
    char path[PATH_MAX], name[SUMI_STEP_NAME_MAX + 16];
    if (!run->dir || run->saved_step == run->trainer->steps)
        return SUMI_OK;
    double began = sumi_time_now();
    sumi_status status = sumi_run_settle(run->dir, run->err);
    if (status != SUMI_OK)
        return status;
    json_t *state = run_state(run);
    status = state ? sumi_run_save(run->dir, run->trainer, state, run->err)
                   : sumi_fail_memory(run->err, "a checkpoint", 0);
    json_decref(state);
    if (status == SUMI_OK) {
        run->saved_step = run->trainer->steps;
        run->saved_at = sumi_time_now();
        run->save_took = run->saved_at - began;
        snprintf(name, sizeof name, "checkpoints/%s", run->dir->latest);
    }
    if (status != SUMI_OK)
        return status;
    sumi_run_tell(run, SUMI_PHASE_SAVE, sumi_run_epoch(run), 0,
                  sumi_run_file(run->dir, name, path));
    return check_next(run);
}

int sumi_run_see_sampling(void *user, const sumi_progress *sampling)
{
    sumi_train_run *run = user;
    sumi_progress progress = *sampling;
    progress.epoch = sumi_run_epoch(run);
    progress.epoch_count = run->config->epochs;
    if (run->config->progress && run->config->progress(run->config->user, &progress))
        run->stop = true;
    return run->stop;
}

static sumi_status tell_picture(const sumi_train_run *run, const char *title, const char *path)
{
    const char *tag = title[0] == 'f' ? "final" : "samples";
    return sumi_run_event_picture(run->dir, run->trainer->steps, tag, path, run->err);
}

/* samples/NAME.png, unless it is there already. */
static sumi_status draw(sumi_train_run *run, const char *name, const char *title, int count)
{
    char path[PATH_MAX], file[96];
    if (!run->dir || count == 0 || sumi_run_asked_to_stop(run))
        return SUMI_OK;
    sumi_status status = sumi_make_dirs(sumi_run_file(run->dir, "samples", path), run->err);
    snprintf(file, sizeof file, "samples/%.64s.png", name);
    sumi_run_file(run->dir, file, path);
    /* One that a resumed run finds may be missing among the events. */
    if (status == SUMI_OK && sumi_is_file(path))
        return run->dir->pictured ? SUMI_OK : tell_picture(run, title, path);
    if (status != SUMI_OK)
        return status;
    sumi_grid grid = {.title = title,
                      .count = count,
                      .set_height = run->set->height,
                      .set_width = run->set->width,
                      .seed = run->settings.seed,
                      .precision = run->settings.precision,
                      .progress = sumi_run_see_sampling,
                      .user = run};
    status = sumi_grid_draw(run->runtime, sumi_train_best(run->trainer), run->config, &grid, path,
                            run->err);
    if (status == SUMI_OK)
        status = tell_picture(run, title, path);
    if (status == SUMI_OK)
        sumi_run_tell(run, SUMI_PHASE_GRID, sumi_run_epoch(run), 0, path);
    return status;
}

sumi_status sumi_run_draw_grid(sumi_train_run *run, int64_t epoch)
{
    char name[64], title[64];
    const char *kind = epoch < 0 ? "step" : "epoch";
    int64_t number = epoch < 0 ? run->trainer->steps : epoch;
    snprintf(name, sizeof name, "%s_%0*" PRId64, kind, epoch < 0 ? 8 : 3, number);
    snprintf(title, sizeof title, "%s %" PRId64, kind, number);
    return draw(run, name, title, run->config->grid);
}

sumi_status sumi_run_draw_final(sumi_train_run *run)
{
    char name[64], title[64];
    int64_t epochs = run->config->epochs;
    if (epochs == 0 || run->trainer->steps != epochs * run->per_epoch)
        return SUMI_OK;
    snprintf(name, sizeof name, "final_%03" PRId64, epochs - 1);
    snprintf(title, sizeof title, "final, epoch %" PRId64, epochs - 1);
    return draw(run, name, title, 2 * run->config->grid);
}

bool sumi_grid_due(int64_t epoch)
{
    if (epoch <= 9)
        return epoch == 0 || epoch == 1 || epoch == 5 || epoch == 7 || epoch == 9;
    int64_t done = epoch + 1;
    while (done % 10 == 0)
        done /= 10;
    return done == 1 || done == 2 || done == 5;
}

sumi_status sumi_run_report_state(const sumi_train_run *run, const char *state, bool running)
{
    return run->dir ? sumi_run_report(run->dir, state, running, run->err) : SUMI_OK;
}
