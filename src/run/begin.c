/*
 * The beginning of a training run: settings checked, trainer, run directory and batches made.
 */
#include "data/augment.h"
#include "run/training.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* What a network that is told of labels expects of them. */
static sumi_status check_labels(const sumi_train_run *run)
{
    const sumi_dataset *set = run->set;
    int classes = run->model->graph.labels >= 0 ? run->model->graph.classes : 0;
    if (classes == 0 || !set->labels)
        return SUMI_OK;
    if (set->classes > classes)
        return sumi_fail(
            run->err, SUMI_EINVAL,
            "the images have %d labels, the model is told of %d: a new model is told of "
            "as many as its data have",
            set->classes, classes);
    if (set->classes > set->count)
        return sumi_fail(run->err, SUMI_EINVAL,
                         "%d labels are more than there are images, %" PRId64
                         ": labels are whole numbers from 0 on, each in use",
                         set->classes, set->count);
    return SUMI_OK;
}

static sumi_augment augmentation(const sumi_train_run *run)
{
    return (sumi_augment){.flip = run->config->flip,
                          .crop = run->config->crop,
                          .told = run->config->augment,
                          .seed = run->settings.seed};
}

sumi_status sumi_run_check(sumi_train_run *run)
{
    const sumi_train_config *config = run->config;
    const sumi_dataset *set = run->set;
    int channels = run->model->info.in_channels;
    if (config->epochs < 0 || config->steps < 0 || !(config->minutes >= 0))
        return sumi_fail(run->err, SUMI_EINVAL,
                         "epochs is %d, steps %" PRId64 ", minutes %g: expected 0 or more",
                         config->epochs, config->steps, config->minutes);
    if (config->checkpoint_every < 0 || !(config->checkpoint_minutes >= 0) ||
        config->keep_last < 1 || config->keep_best < 1 || config->keep_every < 0)
        return sumi_fail(run->err, SUMI_EINVAL,
                         "checkpoint_every is %" PRId64 ", checkpoint_minutes %g, keep_last %d, "
                         "keep_best %d, keep_every %" PRId64
                         ": expected 0 or more, and 1 or more to keep",
                         config->checkpoint_every, config->checkpoint_minutes, config->keep_last,
                         config->keep_best, config->keep_every);
    if (config->on_nan != SUMI_ON_NAN_STOP && !config->out_dir)
        return sumi_fail(run->err, SUMI_EINVAL,
                         "on_nan: going back needs out_dir, the checkpoints");
    if (config->eval_every < 0 || config->eval_images < 0)
        return sumi_fail(run->err, SUMI_EINVAL,
                         "eval_every is %d and eval_images %d: expected 0 or more",
                         config->eval_every, config->eval_images);
    if (config->eval_every > 0 && sumi_run_leads(run) && !(config->evaluator && config->out_dir))
        return sumi_fail(run->err, SUMI_EINVAL, "eval_every needs %s",
                         config->out_dir ? "an evaluator" : "out_dir, the run directory");
    if (config->resume && !config->out_dir)
        return sumi_fail(run->err, SUMI_EINVAL, "resume needs out_dir, the run directory");
    if (set->count < 1)
        return sumi_fail(run->err, SUMI_EINVAL, "the data set has no images");
    if (set->channels != channels)
        return sumi_fail(run->err, SUMI_ESHAPE,
                         "the images have %d channel%s, the model expects %d: open the data with "
                         "channels %d",
                         set->channels, set->channels == 1 ? "" : "s", channels, channels);
    const sumi_graph *graph = &run->model->graph;
    if (check_labels(run) != SUMI_OK)
        return SUMI_EINVAL;
    sumi_augment augment = augmentation(run);
    sumi_status status = sumi_augment_check(&augment, set->height, set->width, run->err);
    if (status == SUMI_OK && augment.told > 0 &&
        sumi_graph_told(&run->model->graph) != SUMI_AUGMENT_NUMBERS)
        return sumi_fail(run->err, SUMI_EINVAL,
                         "augment needs a network that is told of it, by %d numbers: a new unet is "
                         "where its field augmentation says so; this %s has %d",
                         SUMI_AUGMENT_NUMBERS, run->model->info.net,
                         sumi_graph_told(&run->model->graph));
    return status == SUMI_OK
               ? sumi_grid_check(config, graph->pads ? 1 : 1 << graph->levels, run->err)
               : status;
}

/* Batch normalisation needs two values of a channel. Where the deepest level has one pixel, a batch
 * of one image has one: an epoch's last batch may be that, found here and not at its end. */
static sumi_status check_batches(const sumi_train_run *run)
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

/* Where minutes are to say how many steps there are, so many are needed to time them. */
enum { TIMED_WARMUP_MIN = 4 };

/* Groups that several ranks share where nobody says how many: the same for up to 8 of them. */
static void choose_groups(sumi_train_run *run)
{
    const sumi_ranks *ranks = run->runtime->ranks;
    int groups = 8;
    if (sumi_ranks_alone(ranks) || run->settings.groups > 0)
        return;
    while (groups < ranks->count)
        groups *= 2;
    run->settings.groups = groups < run->settings.batch ? groups : run->settings.batch;
}

/* The last step; and a rate's schedule that nobody gave an end ends with it. */
static sumi_status find_end(sumi_train_run *run)
{
    const sumi_train_config *config = run->config;
    sumi_trainer_config *settings = &run->settings;
    const char *name = settings->rate_schedule;
    const sumi_rate_schedule *schedule = name ? sumi_rate_schedule_find(name) : NULL;
    if (settings->batch < 1)
        return SUMI_OK; /* the trainer refuses it */
    run->per_epoch = sumi_batches_per_epoch(run->set, settings->batch);
    if (config->steps > 0)
        run->last_step = config->steps;
    if (config->epochs > 0 && config->epochs * run->per_epoch < run->last_step)
        run->last_step = config->epochs * run->per_epoch;
    if (!schedule || !schedule->ends || settings->schedule_steps != 0)
        return SUMI_OK;
    settings->schedule_steps = run->last_step;
    if (config->minutes > 0)
        settings->schedule_steps = SUMI_SCHEDULE_OPEN;
    else if (run->last_step == INT64_MAX)
        return sumi_fail(run->err, SUMI_EINVAL,
                         "a %s schedule of the learning rate ends with the run: it needs "
                         "schedule_steps, or a limit",
                         schedule->name);
    if (config->minutes > 0 && settings->warmup_steps < TIMED_WARMUP_MIN)
        return sumi_fail(run->err, SUMI_EINVAL,
                         "warmup_steps is %" PRId64 ": that minutes say where the rate ends, a "
                         "step is timed in its warm-up, which needs %d",
                         settings->warmup_steps, TIMED_WARMUP_MIN);
    return SUMI_OK;
}

sumi_status sumi_run_make_trainer(sumi_train_run *run)
{
    run->settings.height = run->set->height;
    run->settings.width = run->set->width;
    choose_groups(run);
    sumi_status status = find_end(run);
    if (status == SUMI_OK)
        status = sumi_train_measure(&run->runtime->cancel, run->model, run->set, run->err);
    if (status == SUMI_OK)
        status =
            sumi_train_create(run->runtime, run->model, &run->settings, &run->trainer, run->err);
    if (status != SUMI_OK)
        return status;
    run->model->info.range_lo = 0;
    run->model->info.range_hi = 1;
    run->started = run->saved_at = run->step_at = sumi_time_now();
    status = sumi_run_check_snapshots(run);
    if (status == SUMI_OK)
        status = check_batches(run);
    /* Pictures that are turned and stretched are the host's to make. */
    if (status == SUMI_OK && run->config->augment == 0)
        sumi_train_keep(run->trainer, run->set);
    return status;
}

static sumi_status open_dir(sumi_train_run *run)
{
    const sumi_train_config *config = run->config;
    sumi_status status = sumi_run_dir_open(run->dir, config->out_dir, config->resume, run->err);
    run->dir->steps_per_epoch = run->per_epoch;
    run->dir->keep_last = config->keep_last;
    run->dir->keep_best = config->keep_best;
    run->dir->scored = run->scorer != NULL;
    run->dir->keep_every = config->keep_every;
    if (status == SUMI_OK && !run->hash[0]) /* ranks have compared theirs by now */
        sumi_data_hash(run->set, run->hash);
    return status;
}

/* Metadata that goes with the weights wherever they go; a resumed run's tells how it began. */
static sumi_status mark_model(const sumi_train_run *run, sumi_model *model)
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

static void take_names(sumi_model *model, json_t *names)
{
    json_decref(model->classes);
    model->classes = json_incref(names);
}

/* The labels' names go with the weights, too: those of the data that they are trained on now. */
static sumi_status name_classes(const sumi_train_run *run)
{
    const sumi_dataset *set = run->set;
    int told = run->model->graph.labels >= 0 ? run->model->graph.classes : set->classes;
    if (!set->class_names || set->classes != told)
        return SUMI_OK;
    json_t *names = json_array();
    for (int i = 0; i < set->classes; i++)
        json_array_append_new(names, sumi_json_any(set->class_names[i]));
    if (json_array_size(names) != (size_t)set->classes) {
        json_decref(names);
        return sumi_fail_memory(run->err, "the names of the classes", 0);
    }
    for (int i = 0; i < run->trainer->averages.count; i++)
        take_names(run->trainer->averages.model[i], names);
    take_names(run->model, names);
    json_decref(names);
    return SUMI_OK;
}

static sumi_status mark_models(sumi_train_run *run)
{
    const sumi_averages *averages = &run->trainer->averages;
    sumi_status status = name_classes(run);
    if (status == SUMI_OK)
        status = mark_model(run, run->model);
    for (int i = 0; i < averages->count && status == SUMI_OK; i++)
        status = mark_model(run, averages->model[i]);
    return status;
}

static sumi_status write_settings(sumi_train_run *run)
{
    sumi_status status = sumi_run_write_config(run->dir, run->trainer, run->set, run->config,
                                               run->hash, NULL, run->err);
    return status == SUMI_OK ? sumi_run_write_env(run->dir, run->runtime, run->err) : status;
}

static sumi_status log_start(sumi_train_run *run)
{
    char stamp[32];
    sumi_time_stamp(stamp);
    return sumi_run_log(run->dir, run->err, "%s sumi %s, %s, %d threads", stamp, SUMI_VERSION,
                        run->runtime->backend->isa(run->runtime->device),
                        run->runtime->backend->threads(run->runtime->device));
}

static sumi_status log_data(sumi_train_run *run)
{
    const sumi_dataset *set = run->set;
    return sumi_run_log(run->dir, run->err, "data: %s, %" PRId64 " images of %dx%dx%d, SHA-256 %s",
                        set->name, set->count, set->height, set->width, set->channels, run->hash);
}

static sumi_status log_model(sumi_train_run *run)
{
    const sumi_model_info_t *info = &run->model->info;
    return sumi_run_log(run->dir, run->err,
                        "model: %s, %" PRId64 " parameters; batch %d, %" PRId64 " steps an epoch",
                        info->net, info->parameters, run->settings.batch, run->per_epoch);
}

static sumi_status first_checkpoint(sumi_train_run *run)
{
    return sumi_run_save_step(run);
}

static sumi_status begin_metrics(sumi_train_run *run)
{
    return sumi_run_begin_metrics(run->dir, run->err);
}

static sumi_status log_beginning(sumi_train_run *run)
{
    static const sumi_run_stage stages[] = {log_start, log_data, log_model};
    return run->config->resume ? SUMI_OK
                               : sumi_run_in_turn(run, stages, sizeof stages / sizeof *stages);
}

static sumi_status note_data(sumi_train_run *run)
{
    double asymmetry = 0;
    int label;
    sumi_status status = sumi_run_note_data(run->dir, run->set, run->err);
    if (status == SUMI_OK && run->config->flip)
        status = sumi_data_asymmetry(run->set, &asymmetry, &label, run->err);
    if (status == SUMI_OK && asymmetry > SUMI_ASYMMETRY_MUCH)
        status = sumi_run_log(
            run->dir, run->err,
            "data: flip mirrors pictures that mostly look one way (asymmetry %.2f)", asymmetry);
    return status;
}

/* The first checkpoint holds the weights as they begin: from there on the run can be resumed, and
 * a disk that is too small is found before the work. */
static sumi_status first_files(sumi_train_run *run)
{
    static const sumi_run_stage stages[] = {begin_metrics, first_checkpoint};
    return run->config->resume ? SUMI_OK
                               : sumi_run_in_turn(run, stages, sizeof stages / sizeof *stages);
}

static sumi_status first_report(sumi_train_run *run)
{
    return sumi_run_report_state(run, "training", true);
}

/* Found before the training, not hours into it. */
static sumi_status check_space(sumi_train_run *run)
{
    return sumi_run_check_space(run->dir, run->trainer, 2, run->err);
}

sumi_status sumi_run_begin_dir(sumi_train_run *run)
{
    static const sumi_run_stage before[] = {open_dir, sumi_run_resume, mark_models};
    static const sumi_run_stage after[] = {check_space, write_settings, log_beginning,
                                           note_data,   first_files,    first_report};
    if (!run->dir)
        return SUMI_OK;
    sumi_status status = sumi_run_in_turn(run, before, sizeof before / sizeof *before);
    /* Where there is nothing to do, what the run is stays as it is. */
    if (status != SUMI_OK || run->trainer->steps >= run->last_step)
        return status;
    return sumi_run_in_turn(run, after, sizeof after / sizeof *after);
}

sumi_status sumi_run_begin_batches(sumi_train_run *run)
{
    const sumi_augment augment = augmentation(run);
    sumi_trainer *trainer = run->trainer;
    bool kept = trainer->kept.images != NULL;
    return (kept ? sumi_batches_create_picks : sumi_batches_create_share)(
        run->set, run->settings.batch, run->settings.seed, trainer->steps, &augment,
        sumi_train_cut(trainer), &run->batches, run->err);
}
