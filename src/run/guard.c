/*
 * What a run does about numbers that are not finite, and about a loss that jumps.
 *
 * A return to a checkpoint is written into rollbacks.json before the run goes on from there: the
 * learning rate of a step is a function of the step and of that list, so that a run that is killed
 * and resumed at any time has the same bits as one that was not.
 */
#include "run/training.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- A loss that jumps ----------------------------------------------------------------------- */

/* Fewer losses than this tell nothing; and so many standard deviations are a jump. */
enum { WINDOW_MIN = 32, JUMP_DEVIATIONS = 8 };

static sumi_status say(sumi_train_run *run, const char *text)
{
    sumi_status status = run->dir ? sumi_run_log(run->dir, run->err, "%s", text) : SUMI_OK;
    sumi_run_tell_note(run, text);
    return status;
}

sumi_status sumi_run_watch_loss(sumi_train_run *run, double loss)
{
    sumi_loss_window *window = &run->window;
    double sum = 0, squares = 0;
    int64_t count = window->count < SUMI_LOSS_WINDOW ? window->count : SUMI_LOSS_WINDOW;
    for (int64_t i = 0; i < count; i++)
        sum += window->loss[i];
    double mean = count > 0 ? sum / (double)count : 0;
    for (int64_t i = 0; i < count; i++)
        squares += (window->loss[i] - mean) * (window->loss[i] - mean);
    window->loss[window->count++ % SUMI_LOSS_WINDOW] = loss;
    if (count < WINDOW_MIN)
        return SUMI_OK;
    double deviation = sqrt(squares / (double)(count - 1));
    if (!(loss > mean + JUMP_DEVIATIONS * deviation))
        return SUMI_OK;
    char text[256];
    window->count = 0; /* told once, and then held against what comes after */
    sumi_format(text, sizeof text,
                "step %" PRId64 ": the loss jumped to %.4g, where the last %" PRId64
                " had %.4g with a deviation of %.2g",
                run->trainer->steps, loss, count, mean, deviation);
    return say(run, text);
}

/* ---- nan_report.json ------------------------------------------------------------------------- */

/* JSON has no number that is none. */
static json_t *number(double value)
{
    char text[SUMI_NUMBER_MAX];
    return isfinite(value) ? json_real(value) : json_string(sumi_run_number(text, value, 3));
}

static json_t *image_of(const sumi_train_run *run, const sumi_data_batch *data)
{
    int i = run->trainer->not_finite.image;
    assert(i < data->n);
    if (i < 0)
        return json_null();
    json_t *image = json_pack("{s:i, s:I}", "in_batch", i, "in_data", (json_int_t)data->indices[i]);
    if (image && data->labels)
        json_object_set_new(image, "label", json_integer(data->labels[i]));
    return image;
}

static sumi_status write_report(const sumi_train_run *run, const sumi_data_batch *data,
                                const char *message)
{
    const sumi_not_finite *bad = &run->trainer->not_finite;
    char path[PATH_MAX];
    int64_t step = run->trainer->steps + 1;
    sumi_run_file(run->dir, "nan_report.json", path);
    json_t *report = json_pack(
        "{s:I, s:I, s:s, s:s?, s:o, s:o, s:f, s:s, s:s}", "step", (json_int_t)step, "epoch",
        (json_int_t)sumi_run_epoch(run), "what", bad->what, "layer", bad->layer, "image",
        image_of(run, data), "loss", number(bad->loss), "learning_rate",
        sumi_halved_rate(&run->settings, &run->trainer->halvings, step), "on_nan",
        run->config->on_nan == SUMI_ON_NAN_ROLLBACK ? "rollback" : "stop", "message", message);
    sumi_status status =
        report ? sumi_json_write(path, report, run->err) : sumi_fail_memory(run->err, path, 0);
    json_decref(report);
    return status;
}

/* ---- rollbacks.json -------------------------------------------------------------------------- */

/* After how many halvings the run gives up. */
static const char list_name[] = "rollbacks.json";

sumi_status sumi_run_read_rollbacks(sumi_train_run *run)
{
    char path[PATH_MAX];
    json_t *list = NULL;
    size_t i;
    const json_t *entry;
    sumi_halvings *halvings = &run->trainer->halvings;
    halvings->count = 0;
    if (!sumi_is_file(sumi_run_file(run->dir, list_name, path)))
        return SUMI_OK;
    sumi_status status = sumi_json_read(path, &list, run->err);
    if (status == SUMI_OK && (!json_is_array(list) || json_array_size(list) > SUMI_HALVINGS_MAX))
        status = sumi_fail(run->err, SUMI_EFORMAT, "%s: expected a list of at most %d", path,
                           SUMI_HALVINGS_MAX);
    json_array_foreach(list, i, entry)
    {
        if (status == SUMI_OK)
            status = sumi_json_int(path, entry, "to", 0, UINT32_MAX, &halvings->after[i], run->err);
        halvings->count += status == SUMI_OK;
    }
    json_decref(list);
    return status;
}

static sumi_status write_rollbacks(const sumi_train_run *run, int64_t failed)
{
    const sumi_halvings *halvings = &run->trainer->halvings;
    char path[PATH_MAX];
    sumi_status status = SUMI_OK;
    json_t *list = NULL;
    if (sumi_is_file(sumi_run_file(run->dir, list_name, path)))
        status = sumi_json_read(path, &list, run->err);
    if (status == SUMI_OK && !list)
        list = json_array();
    if (status != SUMI_OK)
        return status;
    int64_t to = halvings->after[halvings->count - 1];
    json_t *entry = json_pack("{s:I, s:I, s:f}", "failed", (json_int_t)failed, "to", (json_int_t)to,
                              "learning_rate", sumi_halved_rate(&run->settings, halvings, to + 1));
    status = json_array_append_new(list, entry) == 0 ? sumi_json_write(path, list, run->err)
                                                     : sumi_fail_memory(run->err, path, 0);
    json_decref(list);
    return status;
}

/* ---- Going back ------------------------------------------------------------------------------ */

/* Pictures of epochs that will come again. */
static void remove_grids(const sumi_train_run *run, int64_t first, int64_t last)
{
    char path[PATH_MAX], name[64];
    for (int64_t epoch = first; epoch <= last; epoch++) {
        snprintf(name, sizeof name, "samples/epoch_%03" PRId64 ".png", epoch);
        (void)unlink(sumi_run_file(run->dir, name, path));
    }
}

static sumi_status begin_again(sumi_train_run *run, int64_t failed_epoch)
{
    sumi_batches_free(run->batches);
    run->batches = NULL;
    int64_t steps = run->trainer->steps, epoch = sumi_run_epoch(run);
    if (run->first_step > steps)
        run->first_step = steps;
    run->saved_step = steps;
    run->window.count = 0;
    remove_grids(run, epoch, failed_epoch);
    sumi_status status = sumi_run_rewind(run->dir, steps, epoch, run->err);
    if (status == SUMI_OK)
        status = sumi_run_read_scores(run);
    return status == SUMI_OK ? sumi_run_begin_batches(run) : status;
}

/* Later checkpoints go before the decision is written down: where the run is killed in between, it
 * comes to the same step again, and decides the same. */
static sumi_status go_back(sumi_train_run *run)
{
    sumi_halvings *halvings = &run->trainer->halvings;
    int64_t failed = run->trainer->steps + 1, epoch = sumi_run_epoch(run);
    double before = run->seconds_before;
    sumi_error reason = *run->err;
    char text[sizeof reason.text + 128], rate[SUMI_NUMBER_MAX];
    if (halvings->count == SUMI_HALVINGS_MAX)
        return sumi_fail(run->err, SUMI_EINVAL, "%s (and the run has gone back %d times)",
                         reason.text, SUMI_HALVINGS_MAX);
    sumi_status status = sumi_run_flush(run->dir, run->err);
    if (status == SUMI_OK)
        status = sumi_run_load_before(run, run->trainer->steps);
    if (status != SUMI_OK)
        return sumi_fail_prefix(run->err, SUMI_EINVAL, reason.text);
    run->seconds_before = before; /* the time is spent, whatever came of it */
    status = sumi_run_drop_later(run->dir, run->trainer->steps, run->err);
    halvings->after[halvings->count++] = run->trainer->steps;
    if (status == SUMI_OK)
        status = write_rollbacks(run, failed);
    if (status == SUMI_OK)
        status = begin_again(run, epoch);
    if (status != SUMI_OK)
        return status;
    snprintf(text, sizeof text,
             "%s; back to step %" PRId64 ", from there on the learning rate is %s", reason.text,
             run->trainer->steps,
             sumi_run_number(
                 rate, sumi_halved_rate(&run->settings, halvings, run->trainer->steps + 1), 6));
    return say(run, text);
}

/* What the rank with the run directory does. */
static sumi_status report_and_go_back(sumi_train_run *run, const sumi_data_batch *data)
{
    sumi_error reason = *run->err;
    sumi_status status = write_report(run, data, reason.text);
    if (status != SUMI_OK)
        return status;
    *run->err = reason;
    return run->config->on_nan == SUMI_ON_NAN_ROLLBACK ? go_back(run) : SUMI_EINVAL;
}

/* The others follow rank 0 to where it went. */
static sumi_status follow(sumi_train_run *run)
{
    sumi_status status = sumi_run_share(run);
    if (status != SUMI_OK || sumi_run_leads(run))
        return status;
    sumi_batches_free(run->batches);
    run->batches = NULL;
    run->window.count = 0;
    if (run->first_step > run->trainer->steps)
        run->first_step = run->trainer->steps;
    return sumi_run_begin_batches(run);
}

sumi_status sumi_run_not_finite(sumi_train_run *run, const sumi_data_batch *data)
{
    bool alone = sumi_ranks_alone(run->runtime->ranks);
    if (!run->config->out_dir)
        return SUMI_EINVAL;
    sumi_status status = run->dir ? report_and_go_back(run, data) : SUMI_OK;
    if (alone)
        return status;
    status = sumi_run_meet(run, status);
    return status == SUMI_OK ? follow(run) : status;
}
