/*
 * A whole training run: epochs over a data set, with metrics, checkpoints and sample grids.
 *
 * One thing happens after another: a step, its line in the metrics, a call of progress; at the end
 * of an epoch its loss, a checkpoint, a grid. Whatever ends the run, a checkpoint of the last good
 * step is written first.
 */
#include "run/run.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const sumi_train_config *config;
    sumi_trainer_config settings; /* of its trainer */
    const sumi_dataset *set;
    char hash[65]; /* of the set */
    sumi_runtime *runtime;
    sumi_model *model;
    sumi_trainer *trainer;
    sumi_run_dir *dir; /* NULL: the run leaves nothing on disk */
    sumi_batches *batches;
    int64_t per_epoch, last_step; /* steps; last_step is INT64_MAX where time alone ends the run */
    /* Of the epoch so far. */
    double loss_sum;
    int64_t loss_count;
    /* Of this call. */
    int64_t first_step, images;
    double started, seconds_before; /* that earlier calls trained for */
    double saved_at, step_at;
    int64_t saved_step; /* -1: none yet */
    bool stop;          /* a callback asked for it */
    sumi_decisions decided;
    sumi_error notice; /* what is worth saying though all went well, or "" */
    sumi_error *err;
} train_run;

/* A part of beginning, ending or going on. */
typedef sumi_status (*stage)(train_run *run);

/* Does one after another, up to the first that fails. */
static sumi_status in_turn(train_run *run, const stage *stages, size_t count)
{
    sumi_status status = SUMI_OK;
    for (size_t i = 0; i < count && status == SUMI_OK; i++)
        status = stages[i](run);
    return status;
}

static double run_seconds(const train_run *run)
{
    return run->seconds_before + sumi_time_now() - run->started;
}

static int64_t epoch_now(const train_run *run)
{
    return run->trainer->steps / run->per_epoch;
}

/* The learning rate of the step that was done last, or of the first. */
static double rate_now(const train_run *run)
{
    int64_t step = run->trainer->steps > 0 ? run->trainer->steps : 1;
    return sumi_learning_rate(&run->settings, step);
}

/* ---- Telling the caller ---------------------------------------------------------------------- */

static double time_left(const train_run *run, double elapsed)
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

static void tell(train_run *run, sumi_phase phase, int64_t epoch, double loss, const char *path)
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
                              .learning_rate = rate_now(run),
                              .images_per_s = elapsed > 0 ? (double)run->images / elapsed : 0,
                              .elapsed_s = elapsed,
                              .eta_s = time_left(run, elapsed),
                              .path = path};
    if (run->config->progress(run->config->user, &progress))
        run->stop = true;
}

static bool asked_to_stop(const train_run *run)
{
    return run->stop || sumi_runtime_cancelled(run->runtime);
}

/* ---- Leaving things on disk ------------------------------------------------------------------ */

static json_t *run_state(const train_run *run)
{
    json_t *state = json_pack("{s:f, s:I, s:f}", "loss_sum", run->loss_sum, "loss_count",
                              (json_int_t)run->loss_count, "seconds", run_seconds(run));
    if (state && run->dir->best[0]) {
        json_object_set_new(state, "best", json_string(run->dir->best));
        json_object_set_new(state, "best_loss", json_real(run->dir->best_loss));
    }
    return state;
}

/* Writes a checkpoint unless this step has one. best: it ends the epoch with the lowest loss. */
static sumi_status save(train_run *run, bool best)
{
    char path[PATH_MAX], name[SUMI_STEP_NAME_MAX + 16];
    if (!run->dir || run->saved_step == run->trainer->steps)
        return SUMI_OK;
    sumi_status status = sumi_run_flush(run->dir, run->err);
    if (status != SUMI_OK)
        return status;
    if (best)
        snprintf(run->dir->best, sizeof run->dir->best, "step_%" PRId64, run->trainer->steps);
    json_t *state = run_state(run);
    status = state ? sumi_run_save(run->dir, run->trainer, state, best, run->err)
                   : sumi_fail_memory(run->err, "a checkpoint", 0);
    json_decref(state);
    if (status == SUMI_OK) {
        run->saved_step = run->trainer->steps;
        run->saved_at = sumi_time_now();
        snprintf(name, sizeof name, "checkpoints/%s", run->dir->latest);
        status = sumi_run_file(run->dir, name, path, run->err);
    }
    if (status == SUMI_OK)
        tell(run, SUMI_PHASE_SAVE, epoch_now(run), 0, path);
    return status;
}

static int grid_progress(void *user, const sumi_progress *sampling)
{
    train_run *run = user;
    sumi_progress progress = *sampling;
    progress.epoch = run->trainer->steps / run->per_epoch;
    progress.epoch_count = run->config->epochs;
    if (run->config->progress && run->config->progress(run->config->user, &progress))
        run->stop = true;
    return run->stop;
}

/* samples/NAME.png, unless it is there already. */
static sumi_status draw(train_run *run, const char *name, const char *title, int count)
{
    char path[PATH_MAX], file[96];
    if (!run->dir || count == 0 || asked_to_stop(run))
        return SUMI_OK;
    sumi_status status = sumi_run_file(run->dir, "samples", path, run->err);
    if (status == SUMI_OK)
        status = sumi_make_dirs(path, run->err);
    snprintf(file, sizeof file, "samples/%.64s.png", name);
    if (status == SUMI_OK)
        status = sumi_run_file(run->dir, file, path, run->err);
    if (status != SUMI_OK || sumi_is_file(path))
        return status;
    sumi_grid grid = {.title = title,
                      .count = count,
                      .set_height = run->set->height,
                      .set_width = run->set->width,
                      .seed = run->settings.seed,
                      .precision = run->settings.precision,
                      .progress = grid_progress,
                      .user = run};
    status = sumi_grid_draw(run->runtime, sumi_train_best(run->trainer), run->config, &grid, path,
                            run->err);
    if (status == SUMI_OK)
        tell(run, SUMI_PHASE_GRID, epoch_now(run), 0, path);
    return status;
}

/* epoch < 0: the run ends within an epoch, and the picture is called after its step. */
static sumi_status draw_grid(train_run *run, int64_t epoch)
{
    char name[64], title[64];
    const char *kind = epoch < 0 ? "step" : "epoch";
    int64_t number = epoch < 0 ? run->trainer->steps : epoch;
    snprintf(name, sizeof name, "%s_%0*" PRId64, kind, epoch < 0 ? 8 : 3, number);
    snprintf(title, sizeof title, "%s %" PRId64, kind, number);
    return draw(run, name, title, run->config->grid);
}

/* The tutorial ends its training with 128 pictures; here that is twice a grid, once all epochs are
 * done. */
static sumi_status draw_final(train_run *run)
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

static sumi_status report(const train_run *run, const char *state, bool running)
{
    return run->dir ? sumi_run_report(run->dir, state, running, run->err) : SUMI_OK;
}

/* ---- The loop -------------------------------------------------------------------------------- */

static sumi_status write_metric(train_run *run, int64_t epoch, int n, double loss)
{
    char line[320], loss_number[SUMI_NUMBER_MAX], rate[SUMI_NUMBER_MAX], speed[SUMI_NUMBER_MAX],
        time[SUMI_NUMBER_MAX];
    double now = sumi_time_now(), step_seconds = fmax(1e-9, now - run->step_at);
    run->step_at = now;
    if (!run->dir)
        return SUMI_OK;
    snprintf(line, sizeof line,
             "{\"step\": %" PRId64 ", \"epoch\": %" PRId64
             ", \"loss\": %s, \"lr\": %s, \"images_per_s\": %s, \"time\": %s}",
             run->trainer->steps, epoch, sumi_run_number(loss_number, loss, 9),
             sumi_run_number(rate, rate_now(run), 6), sumi_run_number(speed, n / step_seconds, 5),
             sumi_run_number(time, run_seconds(run), 9));
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

/* The tutorial's number: the mean of the batches' means, a short one as heavy as the rest. */
static sumi_status end_epoch(train_run *run, int64_t epoch)
{
    double loss = run->loss_sum / (double)run->loss_count;
    char number[SUMI_NUMBER_MAX], state[96];
    run->loss_sum = 0;
    run->loss_count = 0;
    tell(run, SUMI_PHASE_EPOCH, epoch, loss, NULL);
    if (!run->dir)
        return SUMI_OK;
    sumi_epoch_record record = {epoch, run->trainer->steps, loss, run_seconds(run)};
    snprintf(state, sizeof state, "training: epoch %" PRId64 " is done", epoch);
    loss_text(loss, number);
    sumi_status status =
        sumi_run_log(run->dir, run->err, "Epoch %" PRId64 " | Loss: %s", epoch, number);
    if (status == SUMI_OK)
        status = sumi_run_add_epoch(run->dir, &record, run->err);
    bool last = run->trainer->steps >= run->last_step;
    bool due = run->decided.save_at_epoch;
    bool best = run->dir->best[0] == '\0' || loss < run->dir->best_loss;
    if (status != SUMI_OK || !(last || due || sumi_grid_due(epoch)))
        return status;
    if (best)
        run->dir->best_loss = loss;
    status = save(run, best);
    if (status == SUMI_OK && (last || sumi_grid_due(epoch)))
        status = draw_grid(run, epoch);
    return status == SUMI_OK ? report(run, state, true) : status;
}

static sumi_status one_step(train_run *run)
{
    sumi_data_batch data;
    double loss;
    int64_t epoch = epoch_now(run);
    sumi_batches_next(run->batches, &data);
    sumi_batch batch = {.size = sizeof batch,
                        .n = data.n,
                        .h = run->set->height,
                        .w = run->set->width,
                        .x = data.images,
                        .labels = data.labels};
    sumi_status status = sumi_train_step(run->trainer, &batch, &loss, run->err);
    if (status != SUMI_OK)
        return status;
    run->images += data.n;
    run->loss_sum += loss;
    run->loss_count++;
    status = write_metric(run, epoch, data.n, loss);
    if (status != SUMI_OK)
        return status;
    tell(run, SUMI_PHASE_TRAIN, epoch, loss, NULL);
    if (run->trainer->steps % run->per_epoch == 0)
        status = end_epoch(run, epoch);
    else if (run->decided.save_within)
        status = save(run, false);
    else
        return SUMI_OK;
    /* The next step's speed is its own, without what was done here. */
    run->step_at = sumi_time_now();
    return status;
}

static void decide(train_run *run)
{
    const sumi_clock clock = {.now = sumi_time_now(),
                              .started = run->started,
                              .saved_at = run->saved_at,
                              .minutes = run->config->minutes,
                              .began = run->trainer->steps > run->first_step,
                              .asked_to_stop = asked_to_stop(run)};
    run->decided = sumi_run_decide(run->trainer->ranks, &clock);
}

static bool finished(const train_run *run)
{
    return run->trainer->steps >= run->last_step || run->decided.time_is_up;
}

/* ---- The end --------------------------------------------------------------------------------- */

static sumi_status last_checkpoint(train_run *run)
{
    return save(run, false);
}

static sumi_status last_grid(train_run *run)
{
    bool within = run->trainer->steps % run->per_epoch != 0;
    return draw_grid(run, within ? -1 : run->trainer->steps / run->per_epoch - 1);
}

static sumi_status unless_stopped(train_run *run)
{
    return asked_to_stop(run) ? SUMI_CANCELLED : SUMI_OK;
}

static sumi_status write_model(const train_run *run, const char *name)
{
    char path[PATH_MAX];
    sumi_status status = sumi_run_file(run->dir, name, path, run->err);
    if (status != SUMI_OK)
        return status;
    return sumi_models_save(path, sumi_train_best(run->trainer), NULL, run->err);
}

static sumi_status write_models(train_run *run)
{
    sumi_status status = write_model(run, "model.safetensors");
    return status == SUMI_OK ? write_model(run, "model.pth") : status;
}

static sumi_status say_finished(train_run *run)
{
    char state[96];
    snprintf(state, sizeof state, "finished: %" PRId64 " steps", run->trainer->steps);
    sumi_status status =
        sumi_run_log(run->dir, run->err, "finished at step %" PRId64, run->trainer->steps);
    return status == SUMI_OK ? report(run, state, false) : status;
}

/* All that was asked for is done: a last checkpoint, a last grid, and the model for use. */
static sumi_status complete(train_run *run)
{
    static const stage stages[] = {last_checkpoint, last_grid,      unless_stopped, write_models,
                                   draw_final,      unless_stopped, say_finished};
    return run->dir ? in_turn(run, stages, sizeof stages / sizeof *stages) : unless_stopped(run);
}

/* Stopped early or failed: what is good is saved. The first message is the one that counts. */
static sumi_status interrupt(train_run *run, sumi_status status)
{
    sumi_error first = {""}, *err = run->err;
    char state[64];
    if (status == SUMI_CANCELLED)
        sumi_fail(&first, status, "stopped after step %" PRId64 "%s", run->trainer->steps,
                  run->dir ? "; the run is saved and can be resumed" : "");
    else if (err)
        first = *err;
    sumi_status saved = save(run, false);
    if (status == SUMI_CANCELLED && saved != SUMI_OK)
        return saved;
    if (run->dir) {
        snprintf(state, sizeof state, "stopped at step %" PRId64, run->trainer->steps);
        (void)sumi_run_flush(run->dir, NULL);
        (void)sumi_run_log(run->dir, NULL, "%s", status == SUMI_CANCELLED ? state : first.text);
        (void)sumi_run_report(run->dir, state, false, NULL);
    }
    if (err)
        *err = first;
    return status;
}

/* A grid that a stop cut short is drawn when the run goes on. */
static sumi_status missed_grid(train_run *run)
{
    int64_t epoch = epoch_now(run) - 1;
    bool between = run->trainer->steps % run->per_epoch == 0;
    return between && epoch >= 0 && sumi_grid_due(epoch) ? draw_grid(run, epoch) : SUMI_OK;
}

static sumi_status all_steps(train_run *run)
{
    sumi_status status = SUMI_OK;
    for (decide(run); status == SUMI_OK && !finished(run); decide(run))
        status = run->decided.stop ? SUMI_CANCELLED : one_step(run);
    bool short_of_it = run->decided.stop && run->trainer->steps < run->last_step;
    return status == SUMI_OK && short_of_it ? SUMI_CANCELLED : status;
}

static sumi_status train(train_run *run)
{
    static const stage stages[] = {missed_grid, all_steps, complete};
    run->first_step = run->trainer->steps;
    run->step_at = sumi_time_now();
    sumi_status status = in_turn(run, stages, sizeof stages / sizeof *stages);
    return status == SUMI_OK ? SUMI_OK : interrupt(run, status);
}

/* ---- Going on -------------------------------------------------------------------------------- */

static sumi_status check_settings(train_run *run)
{
    return sumi_run_check_config(run->dir, run->set, &run->settings, run->config, run->hash,
                                 run->err);
}

static sumi_status tidy(train_run *run)
{
    return sumi_run_tidy(run->dir, run->err);
}

static sumi_status read_run_state(train_run *run, const char *path, const json_t *state,
                                  sumi_error *err)
{
    sumi_run_dir *dir = run->dir;
    int64_t done = run->trainer->steps % run->per_epoch;
    sumi_status status = sumi_json_real(path, state, "loss_sum", 0, HUGE_VAL, &run->loss_sum, err);
    if (status == SUMI_OK)
        status = sumi_json_int(path, state, "loss_count", done, done, &run->loss_count, err);
    if (status == SUMI_OK)
        status = sumi_json_real(path, state, "seconds", 0, 1e12, &run->seconds_before, err);
    const char *best = json_string_value(json_object_get(state, "best"));
    if (status == SUMI_OK && best && strlen(best) < sizeof dir->best) {
        snprintf(dir->best, sizeof dir->best, "%s", best);
        status = sumi_json_real(path, state, "best_loss", 0, HUGE_VAL, &dir->best_loss, err);
    }
    return status;
}

static sumi_status load_checkpoint(void *user, const char *folder, sumi_error *err)
{
    train_run *run = user;
    const char *slash = strrchr(folder, '/');
    json_t *state = NULL;
    snprintf(run->dir->latest, sizeof run->dir->latest, "%s", slash ? slash + 1 : folder);
    sumi_status status = sumi_checkpoint_load(run->trainer, folder, &state, err);
    if (status == SUMI_OK)
        status = read_run_state(run, run->dir->path, state, err);
    json_decref(state);
    return status;
}

/* That a checkpoint was lost is told, and matters more than anything else there is to tell. */
static sumi_status load_newest(train_run *run)
{
    sumi_status status =
        sumi_run_newest(run->dir->path, load_checkpoint, run, &run->notice, run->err);
    run->saved_step = run->trainer->steps;
    return status;
}

static sumi_status rewind_files(train_run *run)
{
    return sumi_run_rewind(run->dir, run->trainer->steps, epoch_now(run), run->err);
}

static sumi_status log_resumed(train_run *run)
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

static sumi_status check_isa(train_run *run)
{
    sumi_error notice = {""};
    sumi_status status =
        sumi_run_check_isa(run->dir, run->runtime, run->settings.precision, &notice, run->err);
    if (!run->notice.text[0])
        run->notice = notice;
    return status;
}

static sumi_status resume(train_run *run)
{
    static const stage stages[] = {check_settings, tidy,        load_newest,
                                   rewind_files,   log_resumed, check_isa};
    return run->config->resume ? in_turn(run, stages, sizeof stages / sizeof *stages) : SUMI_OK;
}

/* ---- Beginning ------------------------------------------------------------------------------- */

static sumi_status check_run(train_run *run)
{
    const sumi_train_config *config = run->config;
    const sumi_dataset *set = run->set;
    int channels = run->model->info.in_channels;
    if (config->epochs < 0 || config->steps < 0 || !(config->minutes >= 0))
        return sumi_fail(run->err, SUMI_EINVAL,
                         "epochs is %d, steps %" PRId64 ", minutes %g: expected 0 or more",
                         config->epochs, config->steps, config->minutes);
    if (config->resume && !config->out_dir)
        return sumi_fail(run->err, SUMI_EINVAL, "resume needs out_dir, the run directory");
    if (set->count < 1)
        return sumi_fail(run->err, SUMI_EINVAL, "the data set has no images");
    if (set->channels != channels)
        return sumi_fail(run->err, SUMI_ESHAPE,
                         "the images have %d channel%s, the model expects %d: open the data with "
                         "channels %d",
                         set->channels, set->channels == 1 ? "" : "s", channels, channels);
    return sumi_grid_check(config, 1 << run->model->graph.levels, run->err);
}

/* Batch normalisation needs two values of a channel. Where the deepest level has one pixel, a batch
 * of one image has one: an epoch's last batch may be that, found here and not at its end. */
static sumi_status check_batches(const train_run *run)
{
    const sumi_dataset *set = run->set;
    int levels = run->model->graph.levels, batch = run->settings.batch;
    int64_t rest = set->count % batch, last = rest ? rest : batch;
    bool one_pixel = (set->height >> levels) == 1 && (set->width >> levels) == 1;
    bool first_alone = batch == 1 || set->count == 1;
    if (!one_pixel || !(first_alone || (last == 1 && run->last_step >= run->per_epoch)))
        return SUMI_OK;
    return sumi_fail(run->err, SUMI_EINVAL,
                     "%s batch has one image, and one of %dx%d is a single pixel at the lowest "
                     "level of the network: batch normalisation needs two values; choose another "
                     "batch size%s",
                     first_alone ? "each" : "the last", set->height, set->width,
                     set->count == 1 ? " and more images, or larger ones" : ", or larger images");
}

/* All that a step needs is planned and allocated here. */
static sumi_status make_trainer(train_run *run)
{
    run->settings.height = run->set->height;
    run->settings.width = run->set->width;
    sumi_status status =
        sumi_train_create(run->runtime, run->model, &run->settings, &run->trainer, run->err);
    if (status != SUMI_OK)
        return status;
    const sumi_train_config *config = run->config;
    run->model->info.range_lo = 0;
    run->model->info.range_hi = 1;
    run->per_epoch = sumi_batches_per_epoch(run->set, run->settings.batch);
    if (config->steps > 0)
        run->last_step = config->steps;
    if (config->epochs > 0 && config->epochs * run->per_epoch < run->last_step)
        run->last_step = config->epochs * run->per_epoch;
    run->started = run->saved_at = run->step_at = sumi_time_now();
    return check_batches(run);
}

static sumi_status open_dir(train_run *run)
{
    const sumi_train_config *config = run->config;
    sumi_status status = sumi_run_dir_open(run->dir, config->out_dir, config->resume, run->err);
    run->dir->steps_per_epoch = run->per_epoch;
    if (status == SUMI_OK)
        sumi_data_hash(run->set, run->hash);
    return status;
}

/* Metadata that goes with the weights wherever they go; a resumed run's tells how it began. */
static sumi_status mark_model(const train_run *run, sumi_model *model)
{
    const struct {
        const char *key, *value;
    } pairs[] = {{"sumi.data", run->set->name},
                 {"sumi.data_hash", run->hash},
                 {"sumi.command", run->config->command ? run->config->command : ""}};
    sumi_status status = SUMI_OK;
    for (int i = 0; i < 3 && status == SUMI_OK; i++) {
        bool known = run->config->resume && json_object_get(model->metadata, pairs[i].key) != NULL;
        if (pairs[i].value[0] && !known)
            status = sumi_models_set_metadata(model, pairs[i].key, pairs[i].value, run->err);
    }
    return status;
}

/* The labels' names go with the weights, too. */
static sumi_status name_classes(const train_run *run)
{
    const sumi_dataset *set = run->set;
    if (run->model->classes || !set->class_names)
        return SUMI_OK;
    json_t *names = json_array();
    for (int i = 0; i < set->classes; i++)
        json_array_append_new(names, sumi_json_any(set->class_names[i]));
    if (json_array_size(names) != (size_t)set->classes) {
        json_decref(names);
        return sumi_fail_memory(run->err, "the names of the classes", 0);
    }
    run->model->classes = names;
    for (int i = 0; i < run->trainer->averages.count; i++)
        run->trainer->averages.model[i]->classes = json_incref(names);
    return SUMI_OK;
}

static sumi_status mark_models(train_run *run)
{
    const sumi_averages *averages = &run->trainer->averages;
    sumi_status status = name_classes(run);
    if (status == SUMI_OK)
        status = mark_model(run, run->model);
    for (int i = 0; i < averages->count && status == SUMI_OK; i++)
        status = mark_model(run, averages->model[i]);
    return status;
}

static sumi_status write_settings(train_run *run)
{
    sumi_status status =
        sumi_run_write_config(run->dir, run->trainer, run->set, run->config, run->hash, run->err);
    return status == SUMI_OK ? sumi_run_write_env(run->dir, run->runtime, run->err) : status;
}

static sumi_status log_start(train_run *run)
{
    char stamp[32];
    sumi_time_stamp(stamp);
    return sumi_run_log(run->dir, run->err, "%s sumi %s, %s, %d threads", stamp, SUMI_VERSION,
                        run->runtime->backend->isa(run->runtime->device),
                        run->runtime->backend->threads(run->runtime->device));
}

static sumi_status log_data(train_run *run)
{
    const sumi_dataset *set = run->set;
    return sumi_run_log(run->dir, run->err, "data: %s, %" PRId64 " images of %dx%dx%d, SHA-256 %s",
                        set->name, set->count, set->height, set->width, set->channels, run->hash);
}

static sumi_status log_model(train_run *run)
{
    const sumi_model_info_t *info = &run->model->info;
    return sumi_run_log(run->dir, run->err,
                        "model: %s, %" PRId64 " parameters; batch %d, %" PRId64 " steps an epoch",
                        info->net, info->parameters, run->settings.batch, run->per_epoch);
}

static sumi_status begin_metrics(train_run *run)
{
    return sumi_run_begin_metrics(run->dir, run->err);
}

static sumi_status log_beginning(train_run *run)
{
    static const stage stages[] = {log_start, log_data, log_model};
    return run->config->resume ? SUMI_OK : in_turn(run, stages, sizeof stages / sizeof *stages);
}

static sumi_status note_data(train_run *run)
{
    return sumi_run_note_data(run->dir, run->set, run->err);
}

/* The first checkpoint holds the weights as they begin: from there on the run can be resumed, and
 * a disk that is too small is found before the work. */
static sumi_status first_files(train_run *run)
{
    static const stage stages[] = {begin_metrics, last_checkpoint};
    return run->config->resume ? SUMI_OK : in_turn(run, stages, sizeof stages / sizeof *stages);
}

static sumi_status first_report(train_run *run)
{
    return report(run, "training", true);
}

/* Brings the run directory and the trainer to where the run begins. */
static sumi_status begin_dir(train_run *run)
{
    static const stage before[] = {open_dir, resume, mark_models};
    static const stage after[] = {write_settings, log_beginning, note_data, first_files,
                                  first_report};
    if (!run->dir)
        return SUMI_OK;
    sumi_status status = in_turn(run, before, sizeof before / sizeof *before);
    /* Where there is nothing to do, what the run is stays as it is. */
    if (status != SUMI_OK || run->trainer->steps >= run->last_step)
        return status;
    return in_turn(run, after, sizeof after / sizeof *after);
}

static sumi_status begin_batches(train_run *run)
{
    return sumi_batches_create(run->set, run->settings.batch, run->settings.seed,
                               run->trainer->steps, &run->batches, run->err);
}

sumi_status sumi_run_train(sumi_runtime *runtime, sumi_model *model, const sumi_dataset *set,
                           const sumi_train_config *config, sumi_error *err)
{
    static const stage stages[] = {check_run, make_trainer, begin_dir, begin_batches, train};
    sumi_run_dir dir = {.lock = -1};
    train_run run = {.config = config,
                     .settings = sumi_trainer_settings(config),
                     .set = set,
                     .runtime = runtime,
                     .model = model,
                     .dir = config->out_dir ? &dir : NULL,
                     .last_step = INT64_MAX,
                     .saved_step = -1,
                     .err = err};
    sumi_status status = in_turn(&run, stages, sizeof stages / sizeof *stages);
    if (status == SUMI_OK && err)
        *err = run.notice;
    sumi_batches_free(run.batches);
    sumi_run_dir_close(&dir);
    sumi_train_free(run.trainer);
    return status;
}
