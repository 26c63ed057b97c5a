/*
 * Scores of a run as it trains: every so many epochs images of the averaged weights against the
 * data, one line of eval.jsonl each. Nothing here touches the training: the noise of these images
 * has addresses of its own, and the same for every run, so that runs can be compared.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "eval/scorer.h"
#include "run/training.h"

static const char FILE_NAME[] = "eval.jsonl";
enum { IMAGES = 1000 };

/* ---- The list -------------------------------------------------------------------------------- */

static sumi_status remember(sumi_run_dir *dir, const sumi_score_record *record, sumi_error *err)
{
    sumi_score_record *scores =
        sumi_grow(dir->scores, &dir->score_capacity, dir->score_count, sizeof *scores, 64);
    if (!scores)
        return sumi_fail_memory(err, "the list of scores", dir->score_count * sizeof *scores);
    dir->scores = scores;
    dir->scores[dir->score_count++] = *record;
    return SUMI_OK;
}

/* A line that is no score is passed over; one by another evaluator cannot be compared. */
static sumi_status read_line(sumi_run_dir *dir, const char *path, const char *line, size_t size,
                             const char *evaluator, sumi_error *err)
{
    json_t *json = sumi_json_load(line, size, 0, NULL);
    const json_t *frechet = json_object_get(json, "frechet");
    const char *by = json_string_value(json_object_get(json, "evaluator"));
    sumi_score_record record = {.step = json_integer_value(json_object_get(json, "step")),
                                .epoch = json_integer_value(json_object_get(json, "epoch")),
                                .frechet = json_number_value(frechet)};
    sumi_status status = SUMI_OK;
    if (json_is_number(frechet))
        status = by && strcmp(by, evaluator) != 0
                     ? sumi_fail(err, SUMI_EINVAL,
                                 "%s: the run's scores are by another evaluator (SHA-256 %.12s..., "
                                 "now %.12s...) and cannot be compared",
                                 path, by, evaluator)
                     : remember(dir, &record, err);
    json_decref(json);
    return status;
}

sumi_status sumi_run_read_scores(sumi_train_run *run)
{
    char path[PATH_MAX], *line = NULL;
    size_t capacity = 0;
    sumi_run_dir *dir = run->dir;
    if (!run->scorer)
        return SUMI_OK;
    sumi_status status = SUMI_OK;
    FILE *file = fopen(sumi_run_file(dir, FILE_NAME, path), "r");
    if (!file)
        return errno == ENOENT ? SUMI_OK : sumi_fail_errno(run->err, path, errno);
    for (ssize_t n; status == SUMI_OK && (n = getline(&line, &capacity, file)) > 0;)
        status = read_line(dir, path, line, (size_t)n, run->config->evaluator->info.hash, run->err);
    if (status == SUMI_OK && !feof(file))
        status = sumi_fail_errno(run->err, path, errno);
    free(line);
    fclose(file);
    return status;
}

/* ---- Scoring --------------------------------------------------------------------------------- */

sumi_status sumi_run_begin_scores(sumi_train_run *run)
{
    const sumi_train_config *config = run->config;
    if (config->eval_every == 0 || !sumi_run_leads(run))
        return SUMI_OK;
    int d = config->evaluator->info.features;
    if (config->eval_images > 0 && config->eval_images <= d)
        return sumi_fail(run->err, SUMI_EINVAL,
                         "eval_images is %d, expected more than the %d numbers of a feature",
                         config->eval_images, d);
    run->scorer = sumi_calloc(1, sizeof *run->scorer);
    if (!run->scorer)
        return sumi_fail_memory(run->err, "the scores of a run", sizeof *run->scorer);
    sumi_status status = sumi_scorer_init(run->scorer, run->runtime, run->set, config->eval_test,
                                          config->evaluator, 0, config->eval_cache, run->err);
    /* What the training is measured by begins with it. */
    run->started = run->saved_at = run->step_at = sumi_time_now();
    return status;
}

void sumi_run_end_scores(sumi_train_run *run)
{
    if (run->scorer)
        sumi_scorer_free(run->scorer);
    free(run->scorer);
    run->scorer = NULL;
}

bool sumi_run_score_due(const sumi_train_run *run, int64_t epoch)
{
    return run->scorer && (epoch + 1) % run->config->eval_every == 0;
}

/* As sumi eval draws them. */
static sumi_sample_config sampling_of(sumi_train_run *run, const sumi_model *model)
{
    sumi_sample_config sample = sumi_scorer_way(model);
    sample.count = run->config->eval_images > 0 ? run->config->eval_images : IMAGES;
    sample.height = run->set->height;
    sample.width = run->set->width;
    sample.precision = run->settings.precision;
    sample.progress = sumi_run_see_sampling;
    sample.user = run;
    return sample;
}

static void put_score(json_t *object, const char *key, const sumi_score *score)
{
    json_object_set_new(object, key,
                        isfinite(score->value) ? json_real(score->value) : json_null());
}

static json_t *line_of(const sumi_train_run *run, const sumi_score_record *record,
                       const sumi_eval_report *report)
{
    json_t *line = json_pack("{s:I, s:I, s:I}", "step", (json_int_t)record->step, "epoch",
                             (json_int_t)record->epoch, "n", (json_int_t)report->n);
    put_score(line, "frechet", &report->frechet);
    json_object_set_new(line, "frechet_interval",
                        json_pack("[f, f]", report->frechet.low, report->frechet.high));
    put_score(line, "kernel", &report->kernel);
    put_score(line, "precision", &report->manifold.precision);
    put_score(line, "recall", &report->manifold.recall);
    put_score(line, "density", &report->manifold.density);
    put_score(line, "coverage", &report->manifold.coverage);
    put_score(line, "entropy", &report->classes.entropy);
    json_object_set_new(line, "evaluator", json_string(run->config->evaluator->info.hash));
    return line;
}

static sumi_status append_line(sumi_train_run *run, json_t *line)
{
    char path[PATH_MAX];
    char *text = sumi_json_compact(line);
    if (!text)
        return sumi_fail_memory(run->err, "a score", 0);
    size_t size = strlen(text);
    text[size] = '\n'; /* in place of the end */
    sumi_status status =
        sumi_file_append(sumi_run_file(run->dir, FILE_NAME, path), text, size + 1, run->err);
    free(text);
    return status;
}

/* The score goes into the file, and the step that it is of becomes the best where it is. */
static sumi_status keep(sumi_train_run *run, const sumi_eval_report *report)
{
    sumi_run_dir *dir = run->dir;
    char number[SUMI_NUMBER_MAX], path[PATH_MAX];
    const sumi_score_record record = {.step = run->trainer->steps,
                                      .epoch = (run->trainer->steps - 1) / run->per_epoch,
                                      .frechet = report->frechet.value};
    json_t *line = line_of(run, &record, report);
    sumi_status status = append_line(run, line);
    json_decref(line);
    if (status == SUMI_OK)
        status = remember(dir, &record, run->err);
    if (status != SUMI_OK)
        return status;
    const sumi_event_scalar events[] = {{"score/frechet", record.frechet},
                                        {"score/kernel", report->kernel.value}};
    sumi_run_event(dir, record.step, events, 2);
    status = sumi_run_find_best(dir, record.step, run->err);
    if (status == SUMI_OK)
        status = sumi_run_log(dir, run->err, "Step %" PRId64 " | Frechet distance: %s", record.step,
                              sumi_run_number(number, record.frechet, 5));
    if (status == SUMI_OK)
        sumi_run_tell(run, SUMI_PHASE_SCORE, record.epoch, record.frechet,
                      sumi_run_file(dir, FILE_NAME, path));
    return status;
}

static bool is_scored(const sumi_train_run *run)
{
    const sumi_run_dir *dir = run->dir;
    return dir->score_count > 0 && dir->scores[dir->score_count - 1].step == run->trainer->steps;
}

sumi_status sumi_run_score(sumi_train_run *run)
{
    sumi_pictures pictures;
    sumi_eval_report report;
    sumi_scorer *scorer = run->scorer;
    if (!scorer || is_scored(run) || sumi_run_asked_to_stop(run))
        return SUMI_OK;
    const sumi_model *model = sumi_train_best(run->trainer);
    sumi_sample_config sample = sampling_of(run, model);
    sumi_status status = sumi_scorer_draw(scorer, model, &sample, &pictures, run->err);
    if (status != SUMI_OK)
        return status;
    sumi_eval_report_init(&report);
    sumi_eval_set samples = sumi_pictures_set(&pictures, "samples", scorer->evaluator);
    sumi_eval_set reference =
        sumi_pictures_set(&scorer->reference, "test images", scorer->evaluator);
    status = sumi_eval_compare(&scorer->machine, &samples, &reference, NULL, &report, run->err);
    if (status == SUMI_OK)
        status = keep(run, &report);
    sumi_eval_report_free(&report);
    sumi_pictures_free(&pictures);
    return status;
}
