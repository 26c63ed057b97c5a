/* Whole runs: their files, locks, limits, grids, and folders that are refused. */
#include "run_fixture.h"

#include <fcntl.h>
#include <math.h>
#include <sys/file.h>

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
                                        "memory.json",
                                        "memory.png",
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
    assert_int_equal(f.samples, 6 + 20); /* of grids, and of a look for copies among few images */
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
    assert_contains(&f, "index.html", "<th>flip</th><td>no</td>");
    char *page = read_text(&f, "index.html");
    assert_null(strstr(page, "://")); /* nothing is fetched */
    free(page);

    sumi_model *model;
    assert_ok(sumi_models_load(join(path, f.run, "model.pth"), &model, NULL, NULL));
    assert_same_model(model, f.model);
    sumi_models_free(model);
    assert_ok(sumi_run_load(f.run, &model, NULL, NULL));
    assert_same_model(model, f.model);
    assert_string_equal(json_string_value(json_object_get(model->metadata, "sumi.data")), "shapes");
    sumi_models_free(model);
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
    assert_says(err, "batch 8, not 4");
    f.config.batch = BATCH;
    sumi_dataset *own = f.set;
    f.set = make_small_set(IMAGES - 1);
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "trained on other data");
    sumi_data_free(f.set);
    f.set = own;
    f.config.precision = SUMI_PRECISION_BF16;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "precision fp32, not bf16");
    f.config.precision = SUMI_PRECISION_FP32;
    f.config.seed = 5;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "seed 4, not 5");
    f.config.seed = 4;
    f.config.learning_rate = 2e-3f;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "learning_rate 0.001, not 0.002");
    f.config.learning_rate = 1e-3f;
    f.config.ema = .9f;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "ema 0, not 0.9");
    f.config.ema = 0;
    f.config.grid = 9;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "grid 4, not 9");
    f.config.grid = 4;
    f.config.grid_steps = 3;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "grid_steps 2, not 3");
    f.config.grid_steps = 2;
    f.config.grid_width = 16;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "grid_width 8, not 16");
    f.config.grid_width = 8;
    assert_ok(run(&f, NULL));
    close_fixture(&f);
}

/* One checkpoint of a run stands for a model, too. */
static void test_a_checkpoint_is_a_model(void **state)
{
    (void)state;
    fixture f;
    sumi_model *model;
    char path[PATH_MAX];
    open_fixture(&f, 1, .9f);
    assert_ok(run(&f, NULL));
    join(path, f.run, "checkpoints/step_6");
    assert_ok(sumi_run_load(path, &model, NULL, NULL));
    assert_int_equal(model->info.steps, 6);
    sumi_models_free(model);
    close_fixture(&f);
}

/* The seed of the weights and the seed of the training are two numbers, of any size. */
static void test_both_seeds_are_told(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    f.config.seed = UINT64_MAX - 1;
    assert_ok(run(&f, NULL));
    json_t *json = read_json(&f, "config.json");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "model"), "seed")),
                     1);
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "train"), "seed")),
                        "18446744073709551614");
    json_decref(json);
    go_on(&f); /* with weights of seed 77, which the checkpoint's replace */
    f.config.epochs = 2;
    assert_ok(run(&f, NULL));
    json = read_json(&f, "config.json");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "model"), "seed")),
                     1);
    json_decref(json);
    close_fixture(&f);
}

/* The initial weights of a file are of no seed that is known. */
static void test_the_seed_of_a_file_is_not_made_up(void **state)
{
    (void)state;
    fixture f;
    sumi_model *loaded;
    open_fixture(&f, 1, 0);
    assert_ok(sumi_models_load(SUMI_TEST_DIR "/golden/small.pth", &loaded, NULL, NULL));
    sumi_models_free(f.model);
    f.model = loaded;
    f.config.steps = 1;
    f.config.grid = 0;
    assert_ok(run(&f, NULL));
    json_t *json = read_json(&f, "config.json");
    assert_null(json_object_get(json_object_get(json, "model"), "seed"));
    json_decref(json);
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

/* How often a text has a part. */
static int times(const char *text, const char *part)
{
    int count = 0;
    for (; (text = strstr(text, part)); text++)
        count++;
    return count;
}

/* Points of the thin line, as in "x,y x,y x,y". */
static int thin_points(const char *svg)
{
    bool thin = false, within = false;
    int points = 0;
    for (size_t i = 0; svg[i]; i++) {
        thin = thin || strncmp(svg + i, "<g class=\"thin\"", 15) == 0;
        within = (within && svg[i] != '>') || (thin && strncmp(svg + i, "points=", 7) == 0);
        thin = thin && strncmp(svg + i, "</g>", 4) != 0;
        points += within && svg[i] == ',';
    }
    return points;
}

/* The page of a run of one epoch: a line through the loss of each step, and one dot for the mean,
 * also where the steps were made in two calls. */
static void test_a_plot_of_one_epoch(void **state)
{
    (void)state;
    fixture f, straight;
    open_fixture(&straight, 1, 0);
    straight.config.epochs = 1;
    assert_ok(run(&straight, NULL));
    char *svg = read_text(&straight, "loss.svg");
    assert_int_equal(times(svg, "<circle"), 1);
    assert_int_equal(thin_points(svg), PER_EPOCH);

    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    f.stop_step = 1;
    f.stop_phase = SUMI_PHASE_TRAIN;
    assert_int_equal(run(&f, NULL), SUMI_CANCELLED);
    go_on(&f);
    assert_ok(run(&f, NULL));
    char *again = read_text(&f, "loss.svg");
    assert_string_equal(svg, again);
    free(svg);
    free(again);
    close_fixture(&f);
    close_fixture(&straight);
}

/* A run that ends within its first epoch still shows a curve. */
static void test_a_plot_before_the_first_epoch(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 1, 0);
    f.config.steps = 2;
    assert_ok(run(&f, NULL));
    assert_contains(&f, "loss.svg", "each step, smoothed");
    char *svg = read_text(&f, "loss.svg");
    assert_null(strstr(svg, "mean of the epoch"));
    free(svg);
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
    sumi_models_free(model);
    close_fixture(&f);
}

/* Without a size of their own, grids have that of the data; only the seed recipe's 28x28 become
 * 32x32, as in the tutorial. */
static void test_grids_have_the_size_of_the_data(void **state)
{
    (void)state;
    const struct {
        int side;
        const char *drawn;
    } cases[] = {{8, "step 1, 8x8, ddim"}, {28, "step 1, 32x32, ddim"}};
    for (int i = 0; i < 2; i++) {
        fixture f;
        char path[PATH_MAX];
        uint8_t *data;
        size_t size;
        sumi_dataset_config of = SUMI_DATASET_CONFIG_INIT;
        open_fixture(&f, 1, 0);
        sumi_data_free(f.set);
        of.height = of.width = cases[i].side;
        assert_ok(sumi_data_open("shapes", &of, &f.set, NULL));
        f.config.epochs = 0;
        f.config.steps = 1;
        f.config.grid_height = f.config.grid_width = 0;
        assert_ok(run(&f, NULL));
        assert_ok(sumi_file_read(join(path, f.run, "samples/step_00000001.png"), 1 << 24, &data,
                                 &size, NULL));
        size_t length = strlen(cases[i].drawn);
        bool found = false;
        for (size_t at = 0; !found && at + length <= size; at++)
            found = memcmp(data + at, cases[i].drawn, length) == 0;
        assert_true(found);
        free(data);
        close_fixture(&f);
    }
}

static void test_folders_that_are_no_runs(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    char path[PATH_MAX];
    open_fixture(&f, 1, 0);
    assert_true(sumi_make_dirs(f.run, NULL) == SUMI_OK && sumi_dir_has_only(f.run, "run.lock"));
    assert_ok(sumi_file_save(join(path, f.run, "run.lock"), "1", 1, NULL));
    assert_true(sumi_dir_has_only(f.run, "run.lock"));
    assert_ok(sumi_file_save(join(path, f.run, "config.json"), "{}", 2, NULL));
    assert_false(sumi_dir_has_only(f.run, "run.lock"));
    assert_ok(sumi_remove_tree(f.run, NULL));
    f.config.grid_height = 10; /* told before the first step, not after the first epoch */
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "the grid's pictures are 10x8, expected multiples of 4");
    assert_int_equal(f.trains, 0);
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
        cmocka_unit_test(test_only_the_newest_and_the_best_are_kept),
        cmocka_unit_test(test_folders_that_are_refused),
        cmocka_unit_test(test_a_locked_run_is_refused),
        cmocka_unit_test(test_other_settings_are_refused),
        cmocka_unit_test(test_both_seeds_are_told),
        cmocka_unit_test(test_a_checkpoint_is_a_model),
        cmocka_unit_test(test_the_seed_of_a_file_is_not_made_up),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_a_plot_of_one_epoch),
        cmocka_unit_test(test_a_plot_before_the_first_epoch),
        cmocka_unit_test(test_without_a_directory),
        cmocka_unit_test(test_data_that_do_not_fit),
        cmocka_unit_test(test_a_failing_step_saves_what_is_good),
        cmocka_unit_test(test_grids_have_the_size_of_the_data),
        cmocka_unit_test(test_folders_that_are_no_runs),
        cmocka_unit_test(test_when_grids_are_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
