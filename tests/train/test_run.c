/* Whole runs: their files, stopping and going on, locks, damaged checkpoints. */
#include "train_test.h"
#include "train/run.h"

#include <math.h>
#include <signal.h>
#include <sys/file.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { IMAGES = 20, BATCH = 8, PER_EPOCH = 3 };

typedef struct {
    sumi_runtime runtime;
    sumi_model *model;
    sumi_dataset *set;
    sumi_train_config config;
    char folder[PATH_MAX], run[PATH_MAX];
    /* What progress saw. */
    int trains, epochs, saves, grids, samples;
    int64_t stop_step;
    sumi_phase stop_phase;
    double last_loss;
    int64_t poison_step; /* after it the last bias is huge: the next loss is infinite */
    int step_pipe;       /* gets a byte after each step; 0: none */
} fixture;

static int watch(void *user, const sumi_progress *p)
{
    fixture *f = user;
    int *counts[] = {&f->trains, &f->epochs, &f->samples, &f->saves, &f->grids};
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

static void open_fixture(fixture *f, int threads, float ema)
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

static void close_fixture(fixture *f)
{
    sumi_model_release(f->model);
    sumi_data_free(f->set);
    sumi_runtime_close(&f->runtime);
    assert_ok(sumi_remove_tree(f->folder, NULL));
}

static sumi_status run(fixture *f, sumi_error *err)
{
    return sumi_train_run(&f->runtime, f->model, f->set, &f->config, err);
}

static char *read_text(const fixture *f, const char *name)
{
    char path[PATH_MAX];
    uint8_t *data;
    size_t size;
    assert_ok(sumi_file_read(join(path, f->run, name), 1 << 24, &data, &size, NULL));
    return (char *)data;
}

static bool has(const fixture *f, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    return stat(join(path, f->run, name), &st) == 0;
}

static void assert_contains(const fixture *f, const char *name, const char *part)
{
    char *text = read_text(f, name);
    if (!strstr(text, part))
        fail_msg("%s lacks \"%s\":\n%s", name, part, text);
    free(text);
}

static int count_lines(const fixture *f, const char *name)
{
    char *text = read_text(f, name);
    int lines = 0;
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    free(text);
    return lines;
}

/* The losses of metrics.jsonl, in order; the steps must be 1, 2, 3, ... */
static int read_losses(const fixture *f, double *losses, int capacity)
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

static void test_a_run_leaves_its_files(void **state)
{
    (void)state;
    static const char *const files[] = {"config.json",
                                        "env.json",
                                        "train.log",
                                        "metrics.jsonl",
                                        "metrics.csv",
                                        "loss.svg",
                                        "index.html",
                                        "latest",
                                        "samples/epoch_000.png",
                                        "samples/epoch_001.png",
                                        "samples/final_001.png",
                                        "model.pth",
                                        "run.lock",
                                        "best",
                                        "model.safetensors",
                                        "checkpoints/step_6/manifest.json"};
    fixture f;
    double losses[16];
    char line[64], path[PATH_MAX];
    open_fixture(&f, 2, 0);
    assert_ok(run(&f, NULL));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (!has(&f, files[i]))
            fail_msg("%s is missing", files[i]);
    }
    assert_int_equal(f.trains, 6);
    assert_int_equal(f.epochs, 2);
    assert_int_equal(f.grids, 3);
    assert_int_equal(f.samples, 6);
    assert_true(f.saves >= 1);

    assert_int_equal(read_losses(&f, losses, 16), 6);
    double epoch = (losses[3] + losses[4] + losses[5]) / 3;
    assert_true(fabs(f.last_loss - epoch) < 1e-8);
    snprintf(line, sizeof line, "Epoch 1 | Loss: %.4f\n", f.last_loss);
    assert_contains(&f, "train.log", line);
    assert_int_equal(count_lines(&f, "metrics.csv"), 3);
    assert_contains(&f, "loss.svg", "Epoch");
    assert_contains(&f, "latest", "step_6\n");

    assert_contains(&f, "config.json", "\"learning_rate\": 0.001,");
    assert_contains(&f, "config.json", "\"name\": \"shapes\"");
    assert_contains(&f, "config.json", "\"batch\": 8");
    assert_contains(&f, "env.json", "\"threads\": 2");
    assert_contains(&f, "index.html", "sumi train &quot;shapes&quot; &lt;&amp;&gt;");
    assert_contains(&f, "index.html", "<img src=\"samples/epoch_001.png\"");
    assert_contains(&f, "index.html", "<figcaption>Final, epoch 1</figcaption>");
    assert_contains(&f, "index.html", "finished: 6 steps");
    char *page = read_text(&f, "index.html");
    assert_null(strstr(page, "://")); /* nothing is fetched */
    free(page);

    sumi_model *model;
    assert_ok(sumi_model_read(join(path, f.run, "model.pth"), &model, NULL));
    assert_same_model(model, f.model);
    sumi_model_release(model);
    assert_true(sumi_is_run(f.run));
    assert_ok(sumi_run_load(f.run, &model, NULL, NULL));
    assert_same_model(model, f.model);
    assert_string_equal(json_string_value(json_object_get(model->metadata, "sumi.data")), "shapes");
    sumi_model_release(model);
    close_fixture(&f);
}

static void go_on(fixture *f)
{
    sumi_model_release(f->model);
    f->model = make_model(77); /* the checkpoint brings the weights */
    f->config.resume = true;
    f->stop_step = 0;
    atomic_store(&f->runtime.cancel, 0);
}

/* Stopped within an epoch, then at the end of one, each time on other threads: the weights and
 * every number in the files are those of a run that was never stopped. */
static void check_stops(float ema, sumi_precision precision)
{
    fixture straight, cut;
    double a[32], b[32];
    char one[PATH_MAX], two[PATH_MAX];
    sumi_error err;
    open_fixture(&straight, 1, ema);
    straight.config.epochs = 4;
    straight.config.precision = precision;
    assert_ok(run(&straight, NULL));

    open_fixture(&cut, 1, ema);
    cut.config.epochs = 4;
    cut.config.precision = precision;
    cut.stop_phase = SUMI_PHASE_TRAIN;
    cut.stop_step = 5;
    assert_int_equal(run(&cut, &err), SUMI_CANCELLED);
    assert_says(err, "stopped after step 5; the run is saved");
    assert_contains(&cut, "latest", "step_5\n");
    assert_false(has(&cut, "model.pth"));
    sumi_runtime_close(&cut.runtime);
    make_runtime(&cut.runtime, 3);
    go_on(&cut);
    cut.stop_step = 9;
    cut.stop_phase = SUMI_PHASE_EPOCH;
    assert_int_equal(run(&cut, &err), SUMI_CANCELLED);
    assert_says(err, "stopped after step 9");
    go_on(&cut);
    assert_ok(run(&cut, NULL));

    assert_same_model(straight.model, cut.model);
    assert_int_equal(read_losses(&straight, a, 32), 12);
    assert_int_equal(read_losses(&cut, b, 32), 12);
    assert_memory_equal(a, b, 12 * sizeof *a);
    assert_true(straight.last_loss == cut.last_loss);
    assert_int_equal(count_lines(&cut, "metrics.csv"), 5);
    static const char *const same[] = {"loss.svg", "model.pth", "samples/epoch_003.png",
                                       "checkpoints/step_12/optim.safetensors"};
    for (int i = 0; i < 4; i++) {
        uint8_t *x, *y;
        size_t n, m;
        assert_ok(sumi_file_read(join(one, straight.run, same[i]), 1 << 24, &x, &n, NULL));
        assert_ok(sumi_file_read(join(two, cut.run, same[i]), 1 << 24, &y, &m, NULL));
        assert_int_equal(n, m);
        assert_memory_equal(x, y, n);
        free(x);
        free(y);
    }
    close_fixture(&straight);
    close_fixture(&cut);
}

static void test_stops_change_no_bit(void **state)
{
    (void)state;
    check_stops(0, SUMI_PRECISION_FP32);
    check_stops(.9f, SUMI_PRECISION_FP32);
    check_stops(.9f, SUMI_PRECISION_BF16);
}

/* A process that was killed has written metrics beyond its checkpoint, perhaps half a line. */
static void test_metrics_beyond_the_checkpoint_are_cut(void **state)
{
    (void)state;
    fixture f;
    double losses[16];
    char path[PATH_MAX];
    static const char more[] = "{\"step\": 4, \"epoch\": 1, \"loss\": 9}\n{\"step\": 5, \"ep";
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    assert_ok(run(&f, NULL));
    join(path, f.run, "metrics.jsonl");
    assert_ok(sumi_file_append(path, more, sizeof more - 1, NULL));
    join(path, f.run, "metrics.csv");
    assert_ok(sumi_file_append(path, "1,9,4,1\n", 8, NULL));
    join(path, f.run, "checkpoints/.step_4.sumi-tmp");
    assert_ok(sumi_make_dirs(path, NULL));
    go_on(&f);
    f.config.epochs = 2;
    assert_ok(run(&f, NULL));
    assert_int_equal(read_losses(&f, losses, 16), 6);
    assert_true(losses[3] != 9);
    assert_int_equal(count_lines(&f, "metrics.csv"), 3);
    assert_false(sumi_is_dir(path));
    close_fixture(&f);
}

/* Killed at some step, three times over, and always gone on from the last checkpoint: the weights
 * are those of a run that nothing happened to. */
static void test_kills_change_no_bit(void **state)
{
    (void)state;
    static const int kill_after[] = {2, 5, 6}; /* steps of that process */
    fixture straight, f;
    open_fixture(&straight, 1, .9f);
    straight.config.epochs = 4;
    assert_ok(run(&straight, NULL));
    open_fixture(&f, 1, .9f);
    f.config.epochs = 4;
    sumi_runtime_close(&f.runtime); /* threads do not survive a fork */
    for (int i = 0; i < 3; i++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            f.step_pipe = ends[1];
            f.config.resume = i > 0;
            if (sumi_runtime_init(&f.runtime, 2, NULL, NULL) == SUMI_OK)
                run(&f, NULL);
            _exit(1);
        }
        close(ends[1]);
        char step;
        for (int k = 0; k < kill_after[i]; k++)
            assert_int_equal(read(ends[0], &step, 1), 1);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        close(ends[0]);
    }
    make_runtime(&f.runtime, 1);
    go_on(&f);
    assert_ok(run(&f, NULL));
    double a[16], b[16];
    assert_same_model(straight.model, f.model);
    assert_int_equal(read_losses(&straight, a, 16), 12);
    assert_int_equal(read_losses(&f, b, 16), 12);
    assert_memory_equal(a, b, 12 * sizeof *a);
    close_fixture(&straight);
    close_fixture(&f);
}

static void test_only_the_newest_and_the_best_are_kept(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 1, 0);
    f.config.grid = 0;
    for (int i = 1; i <= 5; i++) {
        f.config.epochs = i;
        assert_ok(run(&f, NULL));
        go_on(&f);
    }
    char *best = read_text(&f, "best"), name[64];
    best[strcspn(best, "\n")] = '\0';
    snprintf(name, sizeof name, "checkpoints/%s", best);
    assert_true(has(&f, name));
    assert_true(has(&f, "checkpoints/step_15") && has(&f, "checkpoints/step_12"));
    for (int i = 1; i <= 3; i++) {
        snprintf(name, sizeof name, "checkpoints/step_%d", 3 * i);
        assert_int_equal(has(&f, name), strcmp(strrchr(name, '/') + 1, best) == 0);
    }
    /* The best is the epoch with the lowest loss. */
    char *csv = read_text(&f, "metrics.csv"), *rest = csv;
    double lowest = HUGE_VAL;
    long long lowest_step = 0;
    for (char *line; (line = strtok_r(rest, "\n", &rest));) {
        double loss;
        long long step;
        if (sscanf(line, "%*d,%lf,%lld", &loss, &step) == 2 && loss < lowest) {
            lowest = loss;
            lowest_step = step;
        }
    }
    snprintf(name, sizeof name, "step_%lld", lowest_step);
    assert_string_equal(best, name);
    free(csv);
    free(best);
    close_fixture(&f);
}

static void damage(const fixture *f, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    join(path, f->run, name);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size / 2), 0);
}

static void test_a_damaged_checkpoint_is_passed_over(void **state)
{
    (void)state;
    fixture f, straight;
    sumi_model *model = NULL;
    sumi_error notice, err;
    char path[PATH_MAX];
    open_fixture(&straight, 1, 0);
    straight.config.epochs = 3;
    assert_ok(run(&straight, NULL));
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    assert_ok(run(&f, NULL));
    go_on(&f);
    f.config.epochs = 2;
    assert_ok(run(&f, NULL));
    damage(&f, "checkpoints/step_6/model.safetensors");
    assert_ok(sumi_run_load(f.run, &model, &notice, NULL));
    assert_says(notice, "step_6/model.safetensors is damaged");
    assert_int_equal(model->info.steps, 3);
    sumi_model_release(model);

    go_on(&f);
    f.config.epochs = 3;
    assert_ok(run(&f, NULL));
    assert_contains(&f, "train.log", "step_6/model.safetensors is damaged");
    assert_contains(&f, "train.log", "resumed at step 3");
    assert_same_model(straight.model, f.model);

    for (int i = 1; i <= 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "checkpoints/step_%d/state.json", 3 * i);
        if (has(&f, name))
            damage(&f, name);
    }
    model = NULL;
    assert_int_equal(sumi_run_load(f.run, &model, &notice, &err), SUMI_EFORMAT);
    assert_says(err, "no checkpoint is whole");
    assert_null(model);
    go_on(&f);
    assert_int_equal(run(&f, &err), SUMI_EFORMAT);
    assert_ok(sumi_remove_tree(join(path, f.run, "checkpoints"), NULL));
    assert_int_equal(run(&f, &err), SUMI_EIO);
    assert_says(err, "there is no checkpoint");
    close_fixture(&f);
    close_fixture(&straight);
}

static void test_folders_that_are_refused(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    char path[PATH_MAX];
    open_fixture(&f, 1, 0);
    f.config.resume = true;
    assert_int_equal(run(&f, &err), SUMI_EIO);
    assert_says(err, "nothing to resume");
    assert_false(sumi_is_dir(f.run));
    f.config.out_dir = NULL;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    f.config.resume = false;
    f.config.out_dir = "";
    assert_int_equal(run(&f, &err), SUMI_EINVAL);

    f.config.out_dir = f.run;
    assert_ok(sumi_make_dirs(f.run, NULL));
    assert_ok(sumi_file_save(join(path, f.run, "mine.txt"), "x", 1, NULL));
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "is not empty");
    assert_says(err, "--resume");
    assert_false(has(&f, "run.lock")); /* left as it was */
    f.config.out_dir = path;           /* a file */
    assert_int_equal(run(&f, &err), SUMI_EIO);
    assert_int_equal(unlink(path), 0);
    f.config.out_dir = f.run; /* an empty folder is fine */
    assert_ok(run(&f, NULL));
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "--resume");
    close_fixture(&f);
}

static void test_a_locked_run_is_refused(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    char path[PATH_MAX], pid[64];
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    assert_ok(run(&f, NULL));
    int fd = open(join(path, f.run, "run.lock"), O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    snprintf(pid, sizeof pid, "process %ld is training in this folder", (long)getpid());
    for (int i = 0; i < 2; i++) {
        f.config.resume = i;
        f.config.epochs = 2;
        assert_int_equal(run(&f, &err), SUMI_EINVAL);
        assert_says(err, pid);
    }
    close(fd); /* a lock ends with its process */
    assert_ok(run(&f, NULL));
    close_fixture(&f);
}

static void test_other_settings_are_refused(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    assert_ok(run(&f, NULL));
    go_on(&f);
    f.config.batch = 4;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "batches of 8, they cannot be 4");
    f.config.batch = BATCH;
    f.set->count = IMAGES - 1;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "trained on other data");
    f.set->count = IMAGES;
    f.config.precision = SUMI_PRECISION_BF16;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "the run is of fp32, it cannot go on in bf16");
    f.config.precision = SUMI_PRECISION_FP32;
    f.config.seed = 5;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "seed 4, not 5");
    close_fixture(&f);
}

static void test_limits(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    open_fixture(&f, 1, 0);
    f.config.epochs = 5;
    f.config.steps = 4; /* within the second epoch */
    assert_ok(run(&f, NULL));
    assert_int_equal(f.model->info.steps, 4);
    assert_true(has(&f, "samples/epoch_000.png") && has(&f, "samples/step_00000004.png"));
    assert_true(has(&f, "model.pth"));
    assert_contains(&f, "loss.svg", "Training loss");
    go_on(&f);
    f.config.steps = 0;
    f.config.epochs = 0;
    f.config.minutes = 1e-9; /* at least one step is done */
    assert_ok(run(&f, NULL));
    assert_int_equal(f.model->info.steps, 5);
    go_on(&f);
    f.config.minutes = 0;
    f.config.epochs = 1; /* done already */
    assert_ok(run(&f, NULL));
    assert_int_equal(f.model->info.steps, 5);
    f.config.epochs = -1;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    f.config.epochs = 1;
    f.config.grid = -1;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    f.config.grid = 4;
    f.config.minutes = NAN;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    close_fixture(&f);
}

/* A run that ends within its first epoch still shows a curve. */
static void test_a_plot_before_the_first_epoch(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 1, 0);
    f.config.steps = 2;
    assert_ok(run(&f, NULL));
    assert_contains(&f, "loss.svg", "Loss of each step");
    assert_contains(&f, "index.html", "src=\"loss.svg\"");
    char *csv = read_text(&f, "metrics.csv");
    assert_string_equal(csv, "epoch,loss,step,seconds\n");
    free(csv);
    close_fixture(&f);
}

static void test_without_a_directory(void **state)
{
    (void)state;
    fixture f, g;
    sumi_error err;
    open_fixture(&f, 1, 0);
    open_fixture(&g, 1, 0);
    f.config.out_dir = NULL;
    assert_ok(run(&f, NULL));
    assert_ok(run(&g, NULL));
    assert_same_model(f.model, g.model);
    assert_int_equal(f.saves + f.grids, 0);
    atomic_store(&f.runtime.cancel, 1);
    assert_int_equal(run(&f, &err), SUMI_CANCELLED);
    assert_says(err, "stopped after step 0");
    close_fixture(&f);
    close_fixture(&g);
}

static void test_data_that_do_not_fit(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    open_fixture(&f, 1, 0);
    f.set->channels = 3;
    assert_int_equal(run(&f, &err), SUMI_ESHAPE);
    assert_says(err, "3 channels, the model expects 1");
    f.set->channels = 1;
    f.set->height = 6;
    assert_int_equal(run(&f, &err), SUMI_ESHAPE);
    assert_false(sumi_is_dir(f.run)); /* found before anything is written */
    f.set->height = 8;
    close_fixture(&f);
}

/* A step whose loss is not finite ends the run; what was trained before it is saved. */
static void test_a_failing_step_saves_what_is_good(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    sumi_model *model;
    open_fixture(&f, 1, 0);
    f.poison_step = 4;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "step 5: the loss is inf");
    assert_says(err, "nothing was updated");
    assert_contains(&f, "train.log", "step 5: the loss is inf");
    assert_contains(&f, "latest", "step_4\n");
    assert_ok(sumi_run_load(f.run, &model, NULL, NULL));
    assert_same_model(model, f.model);
    sumi_model_release(model);
    close_fixture(&f);
}

static void test_when_grids_are_due(void **state)
{
    (void)state;
    static const int64_t due[] = {0, 1, 5, 7, 9, 19, 49, 99, 199, 499, 999};
    size_t next = 0;
    for (int64_t epoch = 0; epoch < 1000; epoch++) {
        bool expected = next < sizeof due / sizeof *due && due[next] == epoch;
        assert_int_equal(sumi_grid_due(epoch), expected);
        next += expected;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_run_leaves_its_files),
        cmocka_unit_test(test_stops_change_no_bit),
        cmocka_unit_test(test_metrics_beyond_the_checkpoint_are_cut),
        cmocka_unit_test(test_kills_change_no_bit),
        cmocka_unit_test(test_only_the_newest_and_the_best_are_kept),
        cmocka_unit_test(test_a_damaged_checkpoint_is_passed_over),
        cmocka_unit_test(test_folders_that_are_refused),
        cmocka_unit_test(test_a_locked_run_is_refused),
        cmocka_unit_test(test_other_settings_are_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_a_plot_before_the_first_epoch),
        cmocka_unit_test(test_without_a_directory),
        cmocka_unit_test(test_data_that_do_not_fit),
        cmocka_unit_test(test_a_failing_step_saves_what_is_good),
        cmocka_unit_test(test_when_grids_are_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
