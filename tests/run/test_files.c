/*
 * What may be in a run's folder besides what a run that goes well leaves: names that are no
 * checkpoints, what a kill left, lines and files that somebody changed or a full disk cut.
 */
#include "run_fixture.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>

#include "models/sampling.h"
#include "run/training.h"
#include "train/classify.h"

static void put(const char *folder, const char *name, const char *text)
{
    char path[PATH_MAX];
    assert_ok(sumi_file_save(join(path, folder, name), text, strlen(text), NULL));
}

static void put_folder(const char *folder, const char *name)
{
    char path[PATH_MAX];
    assert_ok(sumi_make_dirs(join(path, folder, name), NULL));
}

static bool is_there(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    return lstat(join(path, folder, name), &st) == 0;
}

/* An open folder of a run that holds no lock. */
static void open_dir(sumi_run_dir *dir)
{
    char folder[PATH_MAX];
    *dir = (sumi_run_dir){.lock = -1, .best = -1, .steps_per_epoch = 10, .keep_best = 1};
    make_folder(folder);
    assert_ok(sumi_run_dir_name(dir, folder, NULL));
}

static void close_dir(sumi_run_dir *dir)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", dir->path);
    sumi_run_dir_close(dir);
    assert_ok(sumi_remove_tree(folder, NULL));
}

/* A path that is longer than the system takes. */
static const char *long_path(char out[PATH_MAX + 16])
{
    memset(out, 'a', PATH_MAX + 15);
    out[PATH_MAX - 4] = '\0';
    return out;
}

/* ---- Checkpoints ----------------------------------------------------------------------------- */

static void test_names_of_checkpoints(void **state)
{
    (void)state;
    static const char *const none[] = {"step_", "step_12345678901", "step_5x", "step_-1", "xstep_4",
                                       "step",  ".step_7.sumi-tmp"};
    sumi_run_dir dir;
    sumi_error err = {""};
    int64_t *steps = NULL;
    size_t count = 7;
    char name[64], path[PATH_MAX + 16];
    open_dir(&dir);
    assert_ok(sumi_run_list_steps(dir.path, &steps, &count, NULL));
    assert_true(!steps && count == 0);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        snprintf(name, sizeof name, "checkpoints/%s", none[i]);
        put_folder(dir.path, name);
    }
    for (int step = 1; step <= 40; step++) {
        snprintf(name, sizeof name, "checkpoints/step_%d", step * step);
        put_folder(dir.path, name);
    }
    put_folder(dir.path, "checkpoints/step_1234567890");
    assert_ok(sumi_run_list_steps(dir.path, &steps, &count, NULL));
    assert_int_equal(count, 41);
    assert_true(steps[0] == 1234567890);
    for (size_t i = 1; i < count; i++)
        assert_int_equal(steps[i], (41 - i) * (41 - i));
    free(steps);
    assert_int_equal(sumi_run_list_steps(long_path(path), &steps, &count, &err), SUMI_EINVAL);
    assert_says(err, "is too long");
    assert_true(!steps && count == 0);
    /* None of these folders has a checkpoint in it; `latest` names none of them. */
    sumi_model *model = NULL;
    put(dir.path, "latest", "step_144\r\n");
    assert_int_equal(sumi_run_load(dir.path, &model, NULL, &err), SUMI_EFORMAT);
    assert_says(err, "no checkpoint is whole: ");
    assert_int_equal(sumi_run_load(path, &model, NULL, &err), SUMI_EINVAL);
    assert_null(model);
    /* Something else is in the folder. */
    assert_ok(sumi_remove_tree(join(path, dir.path, "checkpoints"), NULL));
    put_folder(dir.path, "checkpoints/mine");
    assert_int_equal(sumi_run_load(dir.path, &model, NULL, &err), SUMI_EIO);
    assert_says(err, "checkpoints: there is no checkpoint: ");
    close_dir(&dir);
}

static void test_what_a_kill_left(void **state)
{
    (void)state;
    char hidden[80], path[PATH_MAX];
    sumi_run_dir dir;
    sumi_error err = {""};
    open_dir(&dir);
    memset(hidden, 'a', sizeof hidden);
    memcpy(hidden, ".", 1);
    memcpy(hidden + 61, ".sumi-tmp", 10);
    static const char *const gone[] = {".sumi-12-3.tmp", "samples/.sumi-1-1.tmp",
                                       "checkpoints/.step_7.sumi-tmp/x", "averages/.sumi-5-6.tmp"};
    static const char *const stays[] = {"config.json", "a.sumi-tmp", ".sumi-notes",
                                        "checkpoints/.mine.tmp", "checkpoints/x.sumi-old"};
    for (int i = 0; i < 4; i++) {
        join(path, dir.path, gone[i]);
        *strrchr(path, '/') = '\0';
        assert_ok(sumi_make_dirs(path, NULL));
        put(dir.path, gone[i], "half");
    }
    for (int i = 0; i < 5; i++)
        put(dir.path, stays[i], "mine");
    put(dir.path, hidden, "mine");
    /* One was replaced, the other not yet. */
    put_folder(dir.path, "checkpoints/step_8");
    put_folder(dir.path, "checkpoints/.step_8.sumi-old");
    put_folder(dir.path, "checkpoints/.step_9.sumi-old/inside");
    assert_ok(sumi_run_tidy(&dir, NULL));
    for (int i = 0; i < 4; i++)
        assert_false(is_there(dir.path, gone[i]));
    for (int i = 0; i < 5; i++)
        assert_true(is_there(dir.path, stays[i]));
    assert_true(is_there(dir.path, hidden));
    assert_false(is_there(dir.path, "checkpoints/.step_7.sumi-tmp"));
    assert_false(is_there(dir.path, "checkpoints/.step_8.sumi-old"));
    assert_true(is_there(dir.path, "checkpoints/step_8"));
    assert_true(is_there(dir.path, "checkpoints/step_9/inside"));
    /* Where a file has the name by now, nothing is lost. */
    put_folder(dir.path, "checkpoints/.step_10.sumi-old/inside");
    put(dir.path, "checkpoints/step_10", "a file");
    assert_int_equal(sumi_run_tidy(&dir, &err), SUMI_EIO);
    assert_says(err, "checkpoints/.step_10.sumi-old: ");
    assert_true(is_there(dir.path, "checkpoints/.step_10.sumi-old/inside"));
    close_dir(&dir);
}

/* ---- Lines ----------------------------------------------------------------------------------- */

static void test_losses_of_steps(void **state)
{
    (void)state;
    enum { MANY = 1100 };
    sumi_run_dir dir;
    sumi_text text = {0};
    char path[PATH_MAX];
    open_dir(&dir);
    assert_ok(sumi_run_step_losses(&dir, NULL)); /* there is no file yet */
    for (int i = 1; i <= MANY; i++)
        sumi_text_printf(&text, "{\"step\": %d, \"loss\": 0.5}\n", i);
    sumi_text_puts(&text, "{\"loss\": 1}\n{\"step\": 7}\n\nno JSON\n{\"step\": true, \"loss\": 1}\n"
                          "{\"step\": \"7\", \"loss\": 1}\n{\"step\": , \"loss\": 1}\n"
                          "{\"step\": 1101, \"loss\": null}\n{\"step\": 1101, \"loss\": 2");
    assert_ok(sumi_file_save(join(path, dir.path, "metrics.jsonl"), text.data, text.size, NULL));
    assert_ok(sumi_run_step_losses(&dir, NULL));
    assert_int_equal(dir.step_count, MANY);
    assert_true(dir.step_x[MANY - 1] == 110 && dir.step_loss[0] == .5);
    /* The line that was not whole is, later. */
    assert_ok(sumi_file_append(join(path, dir.path, "metrics.jsonl"), "5}\n", 3, NULL));
    sumi_run_dir_close(&dir);
    assert_ok(sumi_run_step_losses(&dir, NULL));
    assert_int_equal(dir.step_count, MANY + 1);
    assert_true(dir.step_loss[MANY] == 25);
    sumi_text_free(&text);
    close_dir(&dir);
}

static void test_lines_that_are_cut(void **state)
{
    (void)state;
    sumi_run_dir dir;
    sumi_error err = {""};
    char path[PATH_MAX];
    open_dir(&dir);
    put(dir.path, "metrics.jsonl", "{\"step\": 1}\nno number\n{\"step\": 3}\n{\"step\": 2}\n");
    put(dir.path, "metrics.csv",
        "epoch,loss,step,seconds\n0,0.5,10,1\n1,none,20,2\n1,.5\n1,0.25,20,2.5\n1,0.25,20,9");
    assert_ok(sumi_run_rewind(&dir, 2, 2, NULL));
    assert_int_equal(dir.epoch_count, 2);
    assert_true(dir.epochs[1].step == 20 && dir.epochs[1].seconds == 2.5);
    uint8_t *data;
    size_t size;
    assert_ok(sumi_file_read(join(path, dir.path, "metrics.jsonl"), 1000, &data, &size, NULL));
    assert_string_equal((char *)data, "{\"step\": 1}\nno number\n");
    free(data);
    assert_ok(sumi_file_read(join(path, dir.path, "metrics.csv"), 1000, &data, &size, NULL));
    assert_string_equal((char *)data,
                        "epoch,loss,step,seconds\n0,0.5,10,1\n1,none,20,2\n1,.5\n1,0.25,20,2.5\n");
    free(data);
    /* A folder is no file of lines. */
    put_folder(dir.path, "eval.jsonl");
    assert_int_equal(sumi_run_rewind(&dir, 2, 2, &err), SUMI_EIO);
    assert_says(err, "eval.jsonl: ");
    close_dir(&dir);
}

/* Lines are kept for a second, or until they are too many. */
static void test_lines_are_written_when_there_are_many(void **state)
{
    (void)state;
    char line[201], path[PATH_MAX];
    sumi_run_dir dir;
    sumi_error err = {""};
    open_dir(&dir);
    memset(line, 'x', 200);
    line[200] = '\0';
    dir.metrics_written_at = sumi_time_now() + 1000;
    for (int i = 0; i < 40; i++)
        assert_ok(sumi_run_metric(&dir, line, NULL));
    assert_false(is_there(dir.path, "metrics.jsonl"));
    assert_ok(sumi_run_metric(&dir, line, NULL));
    assert_true(is_there(dir.path, "metrics.jsonl"));
    assert_ok(sumi_run_flush(&dir, NULL));
    assert_ok(sumi_remove_tree(join(path, dir.path, "metrics.jsonl"), NULL));
    put_folder(dir.path, "metrics.jsonl");
    dir.metrics_written_at = sumi_time_now() + 1000;
    for (int i = 0; i < 40; i++)
        assert_ok(sumi_run_metric(&dir, line, NULL));
    assert_int_equal(sumi_run_metric(&dir, line, &err), SUMI_EIO);
    assert_says(err, "metrics.jsonl: ");
    close_dir(&dir);
}

static void test_who_holds_the_lock(void **state)
{
    (void)state;
    fixture f;
    sumi_error err = {""};
    char path[PATH_MAX];
    open_fixture(&f, 1, 0);
    put_folder(f.run, "");
    for (int known = 0; known < 2; known++) {
        put(f.run, "run.lock", known ? "4711\n" : "");
        int fd = open(join(path, f.run, "run.lock"), O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0);
        assert_int_equal(run(&f, &err), SUMI_EINVAL);
        assert_says(err, known ? ": process 4711 is training in this folder"
                               : ": another process is training in this folder");
        close(fd);
    }
    f.config.out_dir = "";
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "path has 0 bytes, expected 1..");
    close_fixture(&f);
}

/* ---- Scores ---------------------------------------------------------------------------------- */

static void test_lines_of_scores(void **state)
{
    (void)state;
    static sumi_classifier evaluator;
    static sumi_scorer scorer;
    sumi_train_config config = {.evaluator = &evaluator};
    sumi_run_dir dir;
    sumi_error err = {""};
    sumi_text text = {0};
    char path[PATH_MAX];
    open_dir(&dir);
    sumi_train_run run = {.dir = &dir, .scorer = &scorer, .config = &config, .err = &err};
    snprintf(evaluator.info.hash, sizeof evaluator.info.hash, "0123456789abcdef");
    assert_ok(sumi_run_read_scores(&run)); /* none yet */
    sumi_text_puts(&text, "no JSON\n{}\n{\"frechet\": null}\n{\"step\": 1, \"frechet\": true}\n");
    for (int i = 0; i < 70; i++)
        sumi_text_printf(&text, "{\"step\": %d, \"frechet\": %s%s}\n", i + 1, i % 2 ? "3" : "2.5",
                         i % 3 ? "" : ", \"evaluator\": \"0123456789abcdef\"");
    join(path, dir.path, "eval.jsonl");
    assert_ok(sumi_file_save(path, text.data, text.size, NULL));
    assert_ok(sumi_run_read_scores(&run));
    assert_int_equal(dir.score_count, 70);
    assert_true(dir.scores[69].step == 70 && dir.scores[69].frechet == 3);
    sumi_text_puts(&text, "{\"step\": 9, \"frechet\": 1, \"evaluator\": \"another one\"}\n");
    assert_ok(sumi_file_save(path, text.data, text.size, NULL));
    assert_int_equal(sumi_run_read_scores(&run), SUMI_EINVAL);
    assert_says(err, "by another evaluator (SHA-256 another one");
    assert_ok(sumi_remove_tree(path, NULL));
    put_folder(dir.path, "eval.jsonl");
    assert_int_equal(sumi_run_read_scores(&run), SUMI_EIO);
    sumi_text_free(&text);
    close_dir(&dir);
}

/* Every second epoch has a score, unless the run is stopped at its end; and a distance needs more
 * images than a feature has numbers. */
static void test_which_epochs_are_scored(void **state)
{
    (void)state;
    enum { SCORED = 136 };
    fixture f;
    sumi_error err;
    sumi_classifier_config shape = SUMI_CLASSIFIER_CONFIG_INIT;
    sumi_classifier *evaluator;
    open_fixture(&f, 1, 0);
    f.set->count = SCORED;
    assert_ok(sumi_classify_random(&f.runtime, f.set, &shape, 1, &evaluator, NULL));
    f.config.batch = SCORED / 2;
    f.config.epochs = 5;
    f.config.grid = 0;
    f.config.eval_every = 2;
    f.config.evaluator = evaluator;
    f.config.eval_images = 1;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "eval_images is 1, expected more than the ");
    f.config.eval_images = SCORED;
    f.stop_phase = SUMI_PHASE_EPOCH;
    f.stop_step = 8;
    assert_int_equal(run(&f, &err), SUMI_CANCELLED);
    assert_int_equal(f.scores, 1);
    assert_contains(&f, "eval.jsonl", "{\"step\":4,");
    go_on(&f);
    assert_ok(run(&f, &err));
    assert_int_equal(count_lines(&f, "eval.jsonl"), 3); /* two, and one of the end */
    sumi_classifier_free(evaluator);
    close_fixture(&f);
}

/* ---- How it is sampled ----------------------------------------------------------------------- */

static void test_ways_to_sample(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
        sumi_status status;
    } bad[] = {{"[]", "expected an object", SUMI_EFORMAT},
               {"{", "sampling.json", SUMI_EFORMAT},
               {"{\"solver\": 3}", "solver", SUMI_EFORMAT}};
    sumi_run_dir dir;
    sumi_error err = {""};
    char path[PATH_MAX + 16];
    sumi_model *model = make_model_of(1, 1);
    json_t *way = json_pack("{s:s}", "solver", "ddim");
    open_dir(&dir);
    assert_ok(sumi_run_take_sampling(dir.path, model, NULL));
    assert_ok(sumi_run_take_sampling(long_path(path), model, NULL)); /* nothing is there */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put(dir.path, "sampling.json", bad[i].text);
        sumi_status status = sumi_run_take_sampling(dir.path, model, &err);
        if (status != bad[i].status || !strstr(err.text, bad[i].says))
            fail_msg("%s: status %d, %s", bad[i].text, (int)status, err.text);
    }
    assert_int_equal(sumi_run_save_sampling(dir.path, way, &err), SUMI_EINVAL);
    assert_says(err, "a checkpoint stays as it is: give its run");
    assert_int_equal(sumi_run_save_sampling("/no/such/file", way, &err), SUMI_EINVAL);
    assert_says(err, "defaults are kept in a file with one model, or in a run");
    put(dir.path, "config.json", "{}");
    put(dir.path, "model.pth", "no model");
    assert_int_equal(sumi_run_save_sampling(dir.path, way, &err), SUMI_EFORMAT);
    assert_says(err, "model.pth: ");
    assert_ok(sumi_models_save(join(path, dir.path, "model.pth"), model, NULL, NULL));
    assert_ok(sumi_run_save_sampling(dir.path, way, NULL));
    assert_ok(sumi_run_take_sampling(dir.path, model, NULL));
    /* What else is in a model's file would be lost. */
    sumi_tensor_file file = {0};
    assert_ok(sumi_models_save(join(path, dir.path, "model.safetensors"), model, NULL, NULL));
    assert_ok(sumi_safetensors_read(path, &file, NULL));
    sumi_file_tensor tensors[256];
    assert_true(file.count < 256);
    memcpy(tensors, file.tensors, file.count * sizeof *tensors);
    const float one = 1;
    tensors[file.count] = (sumi_file_tensor){.name = "another.thing",
                                             .dtype = SUMI_FILE_F32,
                                             .rank = 1,
                                             .shape = {1},
                                             .data = (const uint8_t *)&one,
                                             .bytes = sizeof one};
    sumi_tensor_file more = file;
    more.tensors = tensors;
    more.count++;
    assert_ok(sumi_safetensors_write(join(path, dir.path, "more.safetensors"), &more, NULL));
    sumi_tensor_file_free(&file);
    sumi_status kept = sumi_run_save_sampling(path, way, &err);
    assert_true(kept == SUMI_EUNSUPPORTED || kept == SUMI_EFORMAT);
    assert_true(strstr(err.text, "another.thing") || strstr(err.text, "would be lost"));
    assert_ok(sumi_run_save_sampling(dir.path, NULL, NULL));
    assert_ok(sumi_run_take_sampling(dir.path, model, NULL));
    json_decref(way);
    sumi_models_free(model);
    close_dir(&dir);
}

/* ---- Going on -------------------------------------------------------------------------------- */

static void test_lists_of_rollbacks(void **state)
{
    (void)state;
    static const char *const bad[] = {"{}",
                                      "7",
                                      "[7]",
                                      "[{}]",
                                      "[{\"to\": -1}]",
                                      "[{\"to\": 2}, 3]",
                                      "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]",
                                      "["};
    fixture f;
    sumi_error err;
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    f.config.grid = 0;
    assert_ok(run(&f, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put(f.run, "rollbacks.json", bad[i]);
        go_on(&f);
        f.config.epochs = 2;
        err.text[0] = '\0';
        if (run(&f, &err) != SUMI_EFORMAT || !strstr(err.text, "rollbacks.json"))
            fail_msg("%s: %s", bad[i], err.text);
        assert_int_equal(f.trains, PER_EPOCH);
    }
    put(f.run, "rollbacks.json", "[]");
    go_on(&f);
    assert_ok(run(&f, NULL));
    close_fixture(&f);
}

/* A checkpoint that is whole, but whose run is another or none. */
static void test_states_of_other_runs(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    sumi_trainer *trainer;
    char path[PATH_MAX];
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    f.config.grid = 0;
    assert_ok(run(&f, NULL));
    sumi_trainer_config settings = sumi_trainer_settings(&f.config);
    settings.height = settings.width = 8;
    assert_ok(sumi_train_create(&f.runtime, f.model, &settings, &trainer, NULL));
    join(path, f.run, "checkpoints/step_3");
    assert_ok(sumi_checkpoint_load(trainer, path, NULL, NULL));
    json_t *states[] = {
        NULL, json_pack("{s:f, s:i, s:f}", "loss_sum", -1.0, "loss_count", 0, "seconds", 1.0),
        json_pack("{s:f, s:i, s:f}", "loss_sum", 0.0, "loss_count", 2, "seconds", 1.0),
        json_pack("{s:f, s:i}", "loss_sum", 0.0, "loss_count", 0)};
    static const char *const says[] = {"loss_sum", "loss_sum", "loss_count", "seconds"};
    sumi_model *first = f.model;
    for (int i = 0; i < 4; i++) {
        assert_ok(sumi_checkpoint_save(trainer, states[i], path, NULL));
        f.model = NULL;
        go_on(&f);
        f.config.epochs = 2;
        assert_int_equal(run(&f, &err), SUMI_EFORMAT);
        assert_says(err, says[i]);
        sumi_models_free(f.model);
        json_decref(states[i]);
    }
    f.model = first;
    sumi_train_free(trainer);
    close_fixture(&f);
}

/* Other images, as many or more, from a place or none. */
static void test_other_data(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    f.config.grid = 0;
    assert_ok(run(&f, NULL));
    for (int more = 0; more < 2; more++) {
        sumi_data_free(f.set);
        f.set = make_small_set(IMAGES + more);
        f.set->split = SUMI_SPLIT_TEST;
        if (more)
            snprintf(f.set->path, sizeof f.set->path, "/some/place");
        go_on(&f);
        f.config.epochs = 2;
        assert_int_equal(run(&f, &err), SUMI_EINVAL);
        assert_says(err, more ? "on other data than /some/place: SHA-256 "
                              : "on other data than shapes: SHA-256 ");
        assert_int_equal(strstr(err.text, "20 images and 0 skipped, now 21 and 0") != NULL, more);
    }
    close_fixture(&f);
}

/* Data and settings that do not fit each other, found before a folder is made. */
static void test_what_does_not_fit(void **state)
{
    (void)state;
    static const struct {
        int64_t count;
        int channels, classes; /* of the set; classes of the model */
        const char *schedule, *says;
        sumi_status status;
    } cases[] = {
        {0, 1, 0, NULL, "the data set has no images", SUMI_EINVAL},
        {IMAGES, 3, 0, NULL, "the images have 3 channels, the model expects 1", SUMI_ESHAPE},
        {IMAGES, 1, 4, NULL, "the images have 10 labels, the model is told of 4", SUMI_EINVAL},
        {8, 1, 10, NULL, "10 labels are more than there are images, 8", SUMI_EINVAL},
        {IMAGES, 1, 0, "no such schedule", "no such schedule", SUMI_EINVAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        sumi_error err;
        sumi_trainer_config trainer = SUMI_TRAINER_CONFIG_INIT;
        open_fixture(&f, 1, 0);
        trainer.batch = BATCH;
        trainer.rate_schedule = cases[i].schedule ? cases[i].schedule : trainer.rate_schedule;
        f.config.trainer = &trainer;
        f.set->count = cases[i].count;
        f.set->channels = cases[i].channels;
        if (cases[i].classes) {
            sumi_models_free(f.model);
            f.model = make_told_unet(cases[i].classes, 0);
        }
        sumi_status status = run(&f, &err);
        if (status != cases[i].status || !strstr(err.text, cases[i].says))
            fail_msg("case %zu: status %d, %s", i, (int)status, err.text);
        assert_false(sumi_is_dir(f.run));
        f.set->channels = 1;
        close_fixture(&f);
    }
    /* A network that is told of labels trains without any. */
    fixture f;
    open_fixture(&f, 1, 0);
    sumi_models_free(f.model);
    f.model = make_told_unet(4, 0);
    free(f.set->labels);
    f.set->labels = NULL;
    assert_ok(sumi_data_set_classes(f.set, NULL, 0, NULL));
    f.config.epochs = 1;
    f.config.grid = 0;
    assert_ok(run(&f, NULL));
    close_fixture(&f);
}

/* ---- The page -------------------------------------------------------------------------------- */

static void expect_page(sumi_run_dir *dir, const char *const *parts, const char *const *lacks)
{
    char path[PATH_MAX];
    uint8_t *data;
    size_t size;
    assert_ok(sumi_run_report(dir, "state", true, NULL));
    assert_ok(sumi_file_read(join(path, dir->path, "index.html"), 1 << 24, &data, &size, NULL));
    for (; *parts; parts++)
        if (!strstr((char *)data, *parts))
            fail_msg("the page lacks %s", *parts);
    for (; *lacks; lacks++)
        if (strstr((char *)data, *lacks))
            fail_msg("the page has %s", *lacks);
    free(data);
}

static void test_the_page_of_any_files(void **state)
{
    (void)state;
    enum { STEPS = 320, EPOCHS = 230 };
    sumi_run_dir dir;
    sumi_text lines = {0};
    char path[PATH_MAX];
    open_dir(&dir);
    put_folder(dir.path, "samples");
    put(dir.path, "samples/plain.png", "");
    put(dir.path, "samples/final_009.png", "");
    put(dir.path, "samples/.png", "");
    put(dir.path, "samples/Epoch_1.png", "");
    put(dir.path, "samples/notes", "");
    put(dir.path, "config.json",
        "{\"train\": {\"flip\": false, \"crop\": true, \"ema_9\": 0, \"ema\": 0.0, \"beta1\": 0.5, "
        "\"list\": [1], \"nothing\": null, \"word\": \"\", \"eval_images\": 5, \"batch\": 0, "
        "\"object\": {}}, \"model\": [], \"command\": \"a<b\"}");
    put(dir.path, "env.json", "[1]");
    put(dir.path, "tuning.json", "{\"candidates\": [{\"name\": \"way<\"}, {}]}");
    put(dir.path, "memory.json", "[]");
    for (int i = 1; i <= STEPS; i++)
        sumi_text_printf(&lines, "{\"step\": %d, \"loss\": 0}\n", i);
    assert_ok(sumi_file_save(join(path, dir.path, "metrics.jsonl"), lines.data, lines.size, NULL));
    for (int i = 0; i < EPOCHS; i++) {
        const sumi_epoch_record record = {.epoch = i, .step = 10 * i, .loss = 1, .seconds = i};
        assert_ok(sumi_run_add_epoch(&dir, &record, NULL));
    }
    static const char *const parts[] = {"<th>flip</th><td>no</td>",
                                        "<th>crop</th><td>yes</td>",
                                        "<th>beta1</th><td>0.5</td>",
                                        "<th>list</th><td></td>",
                                        "<th>batch</th><td>0</td>",
                                        "a&lt;b",
                                        "way&lt;",
                                        "Step 0</figcaption>",
                                        "Final, epoch 9</figcaption>",
                                        ">229</td>",
                                        NULL};
    static const char *const lacks[] = {
        "<th>ema",    "<th>word",    "<th>eval images", "<th>object",  "Epoch_1", "notes",
        "<h2>Copies", "<h2>Machine", "<h2>Data",        ">29</td><td", NULL};
    expect_page(&dir, parts, lacks);
    put(dir.path, "memory.json",
        "{\"memorised\": 0.5, \"pictures\": 4, \"usual\": 0, \"picture\": true, "
        "\"pairs\": [{\"ratio\": 0.25}, {\"ratio\": 0.5}]}");
    put(dir.path, "tuning.json", "{\"candidates\": []}");
    put(dir.path, "config.json", "{\"train\": {\"eval_every\": 1, \"eval_images\": 5}}");
    static const char *const now[] = {"2 of 4 samples", "--augment 0.12", "distance 0.25, 0.5 (",
                                      "<th>eval images</th><td>5</td>", NULL};
    static const char *const not [] = {"<h2>Ways to sample", NULL};
    strcat(dir.path, "/"); /* the name of the page is all of it */
    expect_page(&dir, now, not );
    dir.path[strlen(dir.path) - 1] = '\0';
    put(dir.path, "memory.json", "{\"memorised\": 0, \"pictures\": 4, \"picture\": false}");
    static const char *const few[] = {"0 of 4 samples", NULL};
    static const char *const none[] = {"--augment 0.12", "memory.png", NULL};
    expect_page(&dir, few, none);
    sumi_text_free(&lines);
    close_dir(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_of_checkpoints),
        cmocka_unit_test(test_what_a_kill_left),
        cmocka_unit_test(test_losses_of_steps),
        cmocka_unit_test(test_lines_that_are_cut),
        cmocka_unit_test(test_lines_are_written_when_there_are_many),
        cmocka_unit_test(test_who_holds_the_lock),
        cmocka_unit_test(test_lines_of_scores),
        cmocka_unit_test(test_ways_to_sample),
        cmocka_unit_test(test_lists_of_rollbacks),
        cmocka_unit_test(test_states_of_other_runs),
        cmocka_unit_test(test_which_epochs_are_scored),
        cmocka_unit_test(test_what_does_not_fit),
        cmocka_unit_test(test_other_data),
        cmocka_unit_test(test_the_page_of_any_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
