/*
 * A small training run in a folder of its own, and looks at the files that it leaves.
 */
#ifndef SUMI_TEST_RUN_FIXTURE_H
#define SUMI_TEST_RUN_FIXTURE_H

#include "train/train_test.h"
#include "run/run.h"

#include <sys/stat.h>
#include <unistd.h>

enum { IMAGES = 20, BATCH = 8, PER_EPOCH = 3 };

typedef struct {
    sumi_runtime runtime;
    sumi_model *model;
    sumi_dataset *set;
    sumi_train_config config;
    char folder[PATH_MAX], run[PATH_MAX];
    /* What progress saw. */
    int trains, epochs, saves, grids, samples, notes, scores;
    int64_t stop_step;
    sumi_phase stop_phase;
    double last_loss;
    int64_t poison_step; /* after it the last bias is huge: the next loss is infinite */
    int step_pipe;       /* gets a byte after each step; 0: none */
} fixture;

static inline int watch(void *user, const sumi_progress *p)
{
    fixture *f = user;
    int *counts[] = {&f->trains, &f->epochs, &f->samples, &f->saves,
                     &f->grids,  &f->notes,  &f->scores};
    ++*counts[p->phase];
    if (p->phase == SUMI_PHASE_EPOCH)
        f->last_loss = p->loss;
    if (p->phase == SUMI_PHASE_SAVE)
        assert_true(sumi_is_dir(p->path));
    if (p->phase == SUMI_PHASE_GRID)
        assert_true(sumi_is_file(p->path));
    if (f->step_pipe && p->phase == SUMI_PHASE_TRAIN && write(f->step_pipe, "s", 1) != 1)
        return 1;
    if (f->poison_step && p->phase == SUMI_PHASE_TRAIN && p->step == f->poison_step)
        f->model->graph.params.values[f->model->graph.params.value_count - 1] = 3e38f;
    return f->stop_step && p->phase == f->stop_phase && p->step >= f->stop_step;
}

static inline void open_fixture(fixture *f, int threads, float ema)
{
    memset(f, 0, sizeof *f);
    make_runtime(&f->runtime, threads);
    f->model = make_model(1);
    f->set = make_small_set(IMAGES);
    make_folder(f->folder);
    join(f->run, f->folder, "run");
    f->config = (sumi_train_config)SUMI_TRAIN_CONFIG_INIT;
    f->config.epochs = 2;
    f->config.batch = BATCH;
    f->config.seed = 4;
    f->config.out_dir = f->run;
    f->config.progress = watch;
    f->config.user = f;
    f->config.ema = ema;
    f->config.grid = 4;
    f->config.grid_height = f->config.grid_width = 8;
    f->config.grid_steps = 2;
    f->config.command = "sumi train \"shapes\" <&>";
}

static inline void close_fixture(fixture *f)
{
    sumi_models_free(f->model);
    sumi_data_free(f->set);
    sumi_runtime_free(&f->runtime);
    assert_ok(sumi_remove_tree(f->folder, NULL));
}

static inline sumi_status run(fixture *f, sumi_error *err)
{
    return sumi_run_train(&f->runtime, f->model, f->set, &f->config, err);
}

static inline char *read_text(const fixture *f, const char *name)
{
    char path[PATH_MAX];
    uint8_t *data;
    size_t size;
    assert_ok(sumi_file_read(join(path, f->run, name), 1 << 24, &data, &size, NULL));
    return (char *)data;
}

static inline bool has(const fixture *f, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    return stat(join(path, f->run, name), &st) == 0;
}

static inline void assert_contains(const fixture *f, const char *name, const char *part)
{
    char *text = read_text(f, name);
    if (!strstr(text, part))
        fail_msg("%s lacks \"%s\":\n%s", name, part, text);
    free(text);
}

static inline int count_lines(const fixture *f, const char *name)
{
    char *text = read_text(f, name);
    int lines = 0;
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    free(text);
    return lines;
}

/* The losses of metrics.jsonl, in order; the steps must be 1, 2, 3, ... */
static inline int read_losses(const fixture *f, double *losses, int capacity)
{
    char *text = read_text(f, "metrics.jsonl"), *rest = text;
    int count = 0;
    for (char *line; (line = strtok_r(rest, "\n", &rest)) && count < capacity; count++) {
        json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(json);
        assert_int_equal(json_integer_value(json_object_get(json, "step")), count + 1);
        assert_int_equal(json_integer_value(json_object_get(json, "epoch")), count / PER_EPOCH);
        assert_true(json_number_value(json_object_get(json, "images_per_s")) > 0);
        assert_true(json_is_number(json_object_get(json, "time")));
        losses[count] = json_number_value(json_object_get(json, "loss"));
        json_decref(json);
    }
    free(text);
    return count;
}

static inline void go_on(fixture *f)
{
    sumi_models_free(f->model);
    f->model = make_model(77); /* the checkpoint brings the weights */
    f->config.resume = true;
    f->stop_step = 0;
    atomic_store(&f->runtime.cancel, 0);
}

static inline json_t *read_json(const fixture *f, const char *name)
{
    char *text = read_text(f, name);
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    free(text);
    return json;
}

#endif
