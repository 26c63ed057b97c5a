/*
 * How a run's model is best sampled, looked for at the run's end: a short search (eval/tune.c)
 * whose work is a share of the training's, counted in evaluations of the network and never by a
 * clock, so that the same steps find the same way. tuning.json keeps what was looked at, and
 * sampling.json what was found; a run that is stopped in between makes up for it when it goes on.
 *
 * The evaluator is random-conv, which is made in seconds and needs no labels; it only has to rank
 * ways whose pictures come from the same noise. The search looks at no test images.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "eval/tune.h"
#include "models/sampling.h"
#include "run/training.h"
#include "train/classify.h"

static const char FILE_NAME[] = "tuning.json", SAMPLING[] = "sampling";

/* A training step costs as much as three evaluations of its images. The search and its evaluator
 * may take SHARE of the evaluations of all steps; more than WORK_MOST finds nothing better. */
enum { EVALUATIONS = 20, STEP_EVALUATIONS = 3, WORK_MOST = 60000 };
#define SHARE .05

/* Images that the evaluator sees of the data: in the batches whose statistics it takes, which cost
 * three times as much, and those that are compared with. In a network's evaluations one of them is
 * a ninth at 28x28 and a whole at 256x256, where a network's first levels are narrow. */
enum { BATCHES = 32, REFERENCE_IMAGES = 4096, SIDE_OF_WHOLE = 256 };

static double evaluator_work(const sumi_dataset *set)
{
    double side = sqrt((double)set->height * (double)set->width);
    return (STEP_EVALUATIONS * BATCHES * SUMI_CLASSIFY_BATCH + REFERENCE_IMAGES) *
           fmin(1, side / SIDE_OF_WHOLE);
}

static int evaluations_of(const sumi_train_run *run)
{
    int timesteps = run->model->info.timesteps;
    return timesteps < EVALUATIONS ? timesteps : EVALUATIONS;
}

static double work_a_step(const sumi_train_run *run)
{
    return SHARE * STEP_EVALUATIONS * run->settings.batch;
}

static int features(void)
{
    return sumi_classifier_shape_find(SUMI_RANDOM_SHAPE)->features;
}

static int64_t least_work(const sumi_train_run *run)
{
    return sumi_tune_least_work(features(), evaluations_of(run));
}

/* What the data allow: a distance needs more images than a feature has numbers, and the evaluator
 * takes images of some sizes. */
static bool data_allow(const sumi_dataset *set)
{
    int low = set->height < set->width ? set->height : set->width;
    int high = set->height < set->width ? set->width : set->height;
    return set->count > 2 * features() && low >= SUMI_CLASSIFIER_SIDE_MIN &&
           high <= SUMI_CLASSIFIER_SIDE_MAX;
}

/* Whether a search belongs to the run at all. */
static bool is_wanted(const sumi_train_run *run)
{
    return run->config->tune && run->dir && data_allow(run->set);
}

sumi_tuning_time sumi_run_tuning_time(const sumi_train_run *run)
{
    if (!is_wanted(run))
        return (sumi_tuning_time){0, 0, 0};
    double each = work_a_step(run), evaluator = evaluator_work(run->set);
    return (sumi_tuning_time){.share = SHARE,
                              .least = ceil(((double)least_work(run) + evaluator) / each),
                              .most = SHARE * (WORK_MOST + evaluator) / each};
}

/* ---- What the run's folder has --------------------------------------------------------------- */

/* *out is NULL where the file is not there. */
static sumi_status read_file(const sumi_train_run *run, const char *name, json_t **out)
{
    char path[PATH_MAX];
    *out = NULL;
    return sumi_is_file(sumi_run_file(run->dir, name, path)) ? sumi_json_read(path, out, run->err)
                                                             : SUMI_OK;
}

/* A way that was set from outside stands above any that is found here. */
static sumi_status is_set_by_others(const sumi_train_run *run, const json_t *found, bool *out)
{
    json_t *now;
    sumi_status status = read_file(run, "sampling.json", &now);
    *out = now && !json_equal(now, found);
    json_decref(now);
    return status;
}

/* Into sampling.json, and so to the models. */
static sumi_status take(sumi_train_run *run, json_t *sampling)
{
    sumi_status status = sumi_run_save_sampling(run->dir->path, sampling, run->err);
    return status == SUMI_OK ? sumi_run_take_defaults(run) : status;
}

/* ---- The search ------------------------------------------------------------------------------ */

/* The evaluator's batches are no steps of the run. */
static int see_evaluator(void *user, const sumi_progress *progress)
{
    sumi_progress sampling = *progress;
    sampling.phase = SUMI_PHASE_SAMPLE;
    return sumi_run_see_sampling(user, &sampling);
}

static sumi_status search(sumi_train_run *run, int64_t work, sumi_sample_config *best,
                          sumi_tune_result_t *result)
{
    const sumi_model *model = sumi_train_best(run->trainer);
    sumi_classifier_config shape = SUMI_CLASSIFIER_CONFIG_INIT;
    sumi_tune_config config = SUMI_TUNE_CONFIG_INIT;
    sumi_classifier *evaluator = NULL;
    shape.progress = see_evaluator;
    shape.user = run;
    config.training = run->set;
    config.evaluations = evaluations_of(run);
    config.work = work;
    config.reference = REFERENCE_IMAGES;
    config.precision = run->settings.precision;
    config.progress = sumi_run_see_sampling;
    config.user = run;
    float withheld = run->trainer->config.label_drop;
    config.unguided = withheld == 0 || withheld == 1;
    sumi_status status =
        sumi_classify_random(run->runtime, run->set, &shape, BATCHES, &evaluator, run->err);
    config.evaluator = evaluator;
    if (status == SUMI_OK)
        status = sumi_tune_run(run->runtime, model, &config, best, result, run->err);
    sumi_classifier_free(evaluator);
    return status;
}

static sumi_status write_file(const sumi_train_run *run, const char *report, json_t *sampling)
{
    char path[PATH_MAX];
    json_t *json = sumi_json_load(report, strlen(report), 0, NULL);
    bool ok = json && json_object_set_new(json, "step", json_integer(run->trainer->steps)) == 0 &&
              json_object_set(json, SAMPLING, sampling) == 0;
    sumi_run_file(run->dir, FILE_NAME, path);
    sumi_status status =
        ok ? sumi_json_write(path, json, run->err) : sumi_fail_memory(run->err, path, 0);
    json_decref(json);
    return status;
}

static sumi_status tell(sumi_train_run *run, const sumi_tune_result_t *result,
                        const sumi_sample_config *best)
{
    char text[256], distance[SUMI_NUMBER_MAX], usual[SUMI_NUMBER_MAX];
    snprintf(text, sizeof text,
             "samples: %.20s, %.20s%s, %d evaluations an image, is the best of %d ways (distance "
             "%s of %" PRId64 " images; the usual way %s in %d)",
             best->solver, best->spacing, best->guidance != 1 ? " with guidance" : "",
             result->evaluations, result->candidates,
             sumi_run_number(distance, result->frechet.value, 3), result->n,
             sumi_run_number(usual, result->former_frechet.value, 3), result->former_evaluations);
    sumi_run_tell_note(run, text);
    return sumi_run_log(run->dir, run->err, "%s", text);
}

static sumi_status find(sumi_train_run *run, int64_t work)
{
    sumi_sample_config best = SUMI_SAMPLE_CONFIG_INIT;
    sumi_tune_result_t result = SUMI_TUNE_RESULT_INIT;
    sumi_status status = search(run, work, &best, &result);
    if (status != SUMI_OK)
        return status;
    json_t *sampling = sumi_sampling_json(&best);
    status = sampling ? write_file(run, result.json, sampling)
                      : sumi_fail_memory(run->err, FILE_NAME, 0);
    if (status == SUMI_OK)
        status = take(run, sampling);
    if (status == SUMI_OK)
        status = tell(run, &result, &best);
    json_decref(sampling);
    sumi_tune_result_free(&result);
    return status;
}

sumi_status sumi_run_tune(sumi_train_run *run)
{
    json_t *before;
    bool set = false;
    if (!is_wanted(run) || sumi_run_asked_to_stop(run))
        return SUMI_OK;
    double work = work_a_step(run) * (double)run->trainer->steps - evaluator_work(run->set);
    work = fmin(WORK_MOST, work);
    sumi_status status = read_file(run, FILE_NAME, &before);
    json_t *found = json_object_get(before, SAMPLING);
    if (status == SUMI_OK)
        status = is_set_by_others(run, found, &set);
    bool same = json_is_object(found) &&
                json_integer_value(json_object_get(before, "step")) == run->trainer->steps;
    if (status == SUMI_OK && set)
        status = sumi_run_log(run->dir, run->err, "sampling.json was set: it stays");
    else if (status == SUMI_OK && same)
        status = take(run, found); /* what a run that was killed left to do */
    else if (status == SUMI_OK && (int64_t)work >= least_work(run))
        status = find(run, (int64_t)work);
    json_decref(before);
    return status;
}
