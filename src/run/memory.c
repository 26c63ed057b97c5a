/*
 * Whether a model that was trained on few images draws copies of them, looked at when its run ends:
 * memory.png has the samples that are closest to a training picture beside these, memory.json how
 * close they are. As sumi eval tells it, but without test pictures: what is usual is how far a
 * training picture is from the nearest other one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "run/training.h"

static const char FILE_NAME[] = "memory.json", PICTURE[] = "memory.png";

/* Fewer have no neighbours to speak of. */
enum { LEAST_IMAGES = 10 };

/* More copies among the samples than this, and than the training pictures have among themselves,
 * are worth a warning. */
#define SHARE_MUCH .05

static bool is_wanted(const sumi_train_run *run)
{
    return run->config->grid > 0 && run->set->count >= LEAST_IMAGES &&
           run->set->count <= SUMI_FEW_IMAGES;
}

static bool is_done(const sumi_train_run *run)
{
    char path[PATH_MAX];
    json_t *json = NULL;
    if (!sumi_is_file(sumi_run_file(run->dir, FILE_NAME, path)) ||
        sumi_json_read(path, &json, NULL) != SUMI_OK)
        return false;
    bool done = json_integer_value(json_object_get(json, "step")) == run->trainer->steps;
    json_decref(json);
    return done;
}

/* As many as a grid has, each label in turn. */
static sumi_status draw(sumi_train_run *run, const int sizes[3], sumi_pictures *out)
{
    const sumi_model *model = sumi_train_best(run->trainer);
    sumi_sample_config sample = sumi_scorer_way(model);
    int count = run->config->grid, classes = model->graph.labels >= 0 ? model->graph.classes : 0;
    int32_t *labels = classes > 0 ? sumi_calloc((size_t)count, sizeof *labels) : NULL;
    if (classes > 0 && !labels)
        return sumi_fail_memory(run->err, "labels", (size_t)count * sizeof *labels);
    for (int i = 0; i < count && labels; i++)
        labels[i] = i % classes;
    sample.count = count;
    sample.height = sizes[0];
    sample.width = sizes[1];
    sample.labels = labels;
    sample.seed = run->settings.seed;
    sample.precision = run->settings.precision;
    sample.progress = sumi_run_see_sampling;
    sample.user = run;
    sumi_status status = sumi_pictures_draw(run->runtime, model, &sample, sizes, out, run->err);
    free(labels);
    return status;
}

static sumi_eval_set view_of(const sumi_pictures *pictures, const char *name,
                             const double *to_training)
{
    return (sumi_eval_set){.name = name,
                           .n = pictures->n,
                           .h = pictures->h,
                           .w = pictures->w,
                           .c = pictures->c,
                           .images = pictures->images,
                           .to_training = {to_training, NULL}};
}

/* How far each training picture is from the nearest other. */
static sumi_status among_themselves(const sumi_eval_machine *machine, const sumi_pictures *training,
                                    double *out, sumi_error *err)
{
    const sumi_eval_rows rows = {
        .n = training->n, .d = training->h * training->w * training->c, .bytes = training->images};
    return sumi_eval_nearest(machine, &rows, &rows, 1, true, out, NULL, err);
}

static json_t *pairs_json(const sumi_memory *memory)
{
    json_t *list = json_array();
    for (int i = 0; i < memory->pair_count; i++)
        json_array_append_new(list, json_pack("{s:f, s:I, s:I}", "ratio", memory->pairs[i].ratio,
                                              "sample", (json_int_t)memory->pairs[i].sample,
                                              "training", (json_int_t)memory->pairs[i].training));
    return list;
}

static sumi_status write_files(const sumi_train_run *run, const sumi_memory *memory,
                               const sumi_eval_set *samples, const sumi_eval_set *training)
{
    char path[PATH_MAX];
    bool drawable = (samples->c == 1 || samples->c == 3) && memory->pair_count > 0;
    sumi_status status = SUMI_OK;
    if (drawable)
        status =
            sumi_eval_write_pairs(run->dir->path, PICTURE, memory, samples, training, run->err);
    if (status != SUMI_OK)
        return status;
    sumi_run_file(run->dir, FILE_NAME, path);
    json_t *json =
        json_pack("{s:I, s:I, s:f, s:f, s:b, s:o}", "step", (json_int_t)run->trainer->steps,
                  "pictures", (json_int_t)samples->n, "memorised", memory->share.value, "usual",
                  memory->test_share, "picture", (int)drawable, "pairs", pairs_json(memory));
    status = json ? sumi_json_write(path, json, run->err) : sumi_fail_memory(run->err, path, 0);
    json_decref(json);
    return status;
}

static sumi_status tell(sumi_train_run *run, const sumi_memory *memory, int64_t n)
{
    char text[256];
    int64_t copies = (int64_t)(memory->share.value * (double)n + .5);
    snprintf(text, sizeof text,
             "copies: %" PRId64 " of %" PRId64
             " pictures are less than half as far from a training picture as those are from each "
             "other",
             copies, n);
    if (memory->share.value > fmax(SHARE_MUCH, 2 * memory->test_share))
        sumi_run_tell_note(run, text);
    return sumi_run_log(run->dir, run->err, "%s", text);
}

static sumi_status compare(sumi_train_run *run, const sumi_eval_machine *machine,
                           const sumi_pictures *samples, const sumi_pictures *training)
{
    sumi_memory memory;
    double *usual = sumi_calloc((size_t)training->n, sizeof *usual);
    if (!usual)
        return sumi_fail_memory(run->err, "distances", (size_t)training->n * sizeof *usual);
    sumi_eval_set drawn = view_of(samples, "samples", NULL),
                  learnt = view_of(training, "training images", usual);
    sumi_status status = among_themselves(machine, training, usual, run->err);
    if (status == SUMI_OK)
        status = sumi_eval_memory(machine, SUMI_SPACE_PIXELS, &drawn, &learnt, &learnt,
                                  run->settings.seed, &memory, run->err);
    /* Where most pictures are there twice, distances tell nothing. */
    if (status == SUMI_OK && !isnan(memory.share.value)) {
        status = write_files(run, &memory, &drawn, &learnt);
        if (status == SUMI_OK)
            status = tell(run, &memory, samples->n);
    }
    free(usual);
    return status;
}

sumi_status sumi_run_look_for_copies(sumi_train_run *run)
{
    sumi_pictures samples = {0}, training = {0};
    sumi_eval_machine machine;
    if (!is_wanted(run) || sumi_run_asked_to_stop(run) || is_done(run))
        return SUMI_OK;
    const int sizes[] = {run->set->height, run->set->width, run->set->channels};
    sumi_status status = draw(run, sizes, &samples);
    if (status != SUMI_OK)
        return status;
    status = sumi_pictures_read(run->set, 0, sizes, &training, run->err);
    if (status == SUMI_OK)
        status = sumi_eval_machine_open(run->runtime, &machine, run->err);
    if (status == SUMI_OK) {
        status = compare(run, &machine, &samples, &training);
        sumi_eval_machine_close(&machine);
    }
    sumi_pictures_free(&samples);
    sumi_pictures_free(&training);
    return status;
}
