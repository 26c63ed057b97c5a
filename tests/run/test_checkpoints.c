/* When a run writes checkpoints, which of them stay, and what it does where they have no room.
 * The linker sends statvfs, write, fsync and the clock of sumi's objects through the functions
 * below. */
#include "run_fixture.h"
#include "base/count.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/statvfs.h>

static uint64_t room;    /* bytes on the disk; 0: as it is */
static bool fail_once;   /* the next write fails */
static long writes_left; /* whole ones before one is cut and the next fails; -1: all are whole */

static double ahead; /* seconds by which the clock is ahead */

double __real_sumi_time_now(void);
double __wrap_sumi_time_now(void);

double __wrap_sumi_time_now(void)
{
    return __real_sumi_time_now() + ahead;
}

/* Thousands of files need not reach the disk. */
int __wrap_fsync(int fd);

int __wrap_fsync(int fd)
{
    (void)fd;
    return 0;
}

int __real_statvfs(const char *path, struct statvfs *out);
int __wrap_statvfs(const char *path, struct statvfs *out);
ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);

int __wrap_statvfs(const char *path, struct statvfs *out)
{
    int result = __real_statvfs(path, out);
    if (room > 0) {
        out->f_frsize = 1;
        out->f_bavail = room;
        out->f_blocks = 1;
    }
    return result;
}

ssize_t __wrap_write(int fd, const void *data, size_t size)
{
    if (fail_once) {
        fail_once = false;
        errno = EIO;
        return -1;
    }
    if (writes_left > 0)
        writes_left--;
    if (writes_left != 0)
        return __real_write(fd, data, size);
    if (size > 1) /* the disk is full within this one */
        return __real_write(fd, data, size / 2) > 0 ? (ssize_t)(size / 2) : -1;
    errno = ENOSPC;
    return -1;
}

static bool has_step(const fixture *f, int step)
{
    char name[64];
    snprintf(name, sizeof name, "checkpoints/step_%d/manifest.json", step);
    return has(f, name);
}

static void expect_steps(const fixture *f, const int *steps, int count, int best)
{
    for (int step = 0; step <= 40; step++) {
        bool kept = step == best;
        for (int i = 0; i < count; i++)
            kept |= steps[i] == step;
        if (has_step(f, step) != kept)
            fail_msg("step_%d is %s", step, kept ? "missing" : "still there");
    }
}

static int best_of(const fixture *f)
{
    char *text = read_text(f, "best");
    int best = atoi(text + strlen("step_"));
    free(text);
    return best;
}

static void test_which_are_written_and_stay(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 1, 0);
    f.config.epochs = 4;
    f.config.grid = 0;
    f.config.checkpoint_every = 2;
    f.config.keep_last = 3;
    f.config.keep_every = 5;
    assert_ok(run(&f, NULL));
    static const int kept[] = {5, 8, 10, 12};
    expect_steps(&f, kept, 4, best_of(&f));
    assert_contains(&f, "config.json", "\"checkpoint_every\": 2");
    /* They are no part of what a run was begun with. */
    go_on(&f);
    f.config.epochs = 5;
    f.config.checkpoint_every = 0;
    f.config.keep_last = 1;
    f.config.keep_every = 0;
    assert_ok(run(&f, NULL));
    static const int last[] = {15};
    expect_steps(&f, last, 1, best_of(&f));
    close_fixture(&f);
}

static void test_by_the_clock(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    f.config.checkpoint_minutes = 1e-9;
    assert_ok(run(&f, NULL));
    assert_int_equal(f.saves, 1 + PER_EPOCH);
    close_fixture(&f);
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    f.config.checkpoint_minutes = 0;
    assert_ok(run(&f, NULL));
    assert_int_equal(f.saves, 2); /* the first and the last */
    close_fixture(&f);
}

static double seconds_a_step = 50;

/* A step takes 50 seconds; the steps that are saved go into a list, in tens of each other. */
static int take_long(void *user, const sumi_progress *p)
{
    fixture *f = user;
    char path[32];
    ahead += p->phase == SUMI_PHASE_TRAIN ? seconds_a_step : 0;
    snprintf(path, sizeof path, "checkpoints/step_%" PRId64, p->step);
    if (p->phase == SUMI_PHASE_SAVE && p->step > 0)
        assert_true(has(f, path));
    if (p->phase == SUMI_PHASE_SAVE)
        f->stop_step = 100 * f->stop_step + p->step;
    return 0;
}

/* What is not asked for is every five minutes. */
static void test_every_five_minutes(void **state)
{
    (void)state;
    static const struct {
        double minutes;
        int64_t saves; /* two digits each */
    } cases[] = {{5, 71419}, {2.5, 408121619}, {1e6, 19}};
    for (int i = 0; i < 3; i++) {
        fixture f;
        open_fixture(&f, 1, 0);
        if (i == 0)
            assert_true(f.config.checkpoint_minutes == cases[i].minutes);
        f.config.checkpoint_minutes = cases[i].minutes;
        f.config.batch = 1; /* no epoch ends here */
        f.config.epochs = 0;
        f.config.steps = IMAGES - 1;
        f.config.grid = 0;
        f.config.progress = take_long;
        ahead = 0;
        assert_ok(run(&f, NULL));
        ahead = 0;
        if (f.stop_step != cases[i].saves)
            fail_msg("%g minutes: saved %" PRId64, cases[i].minutes, f.stop_step);
        close_fixture(&f);
    }
}

/* An epoch that ends ten seconds or more after the last checkpoint has one. */
static void test_epochs_by_the_clock(void **state)
{
    (void)state;
    static const int64_t saves[] = {306091215,
                                    30615}; /* epoch 1 has a grid, which has one anyway */
    for (int i = 0; i < 2; i++) {
        fixture f;
        open_fixture(&f, 1, 0);
        f.config.checkpoint_minutes = 0;
        f.config.epochs = 5;
        f.config.grid = 0;
        f.config.progress = take_long;
        ahead = 0;
        seconds_a_step = i == 0 ? 50 : 0;
        assert_ok(run(&f, NULL));
        ahead = 0;
        seconds_a_step = 50;
        if (f.stop_step != saves[i])
            fail_msg("saved %" PRId64, f.stop_step);
        close_fixture(&f);
    }
}

/* ---- The best ones --------------------------------------------------------------------------- */

static void expect_best(const sumi_run_dir *dir, int64_t last, const char *expected)
{
    int64_t *steps = NULL;
    size_t count = 0;
    char text[128] = "";
    assert_ok(sumi_run_best_steps(dir, last, &steps, &count, NULL));
    for (size_t i = 0; i < count; i++)
        snprintf(text + strlen(text), 16, "%" PRId64 " ", steps[i]);
    free(steps);
    assert_string_equal(text, expected);
}

static void test_which_are_the_best(void **state)
{
    (void)state;
    static sumi_epoch_record epochs[] = {{0, 10, .5, 0}, {1, 20, .3, 0}, {2, 30, .4, 0},
                                         {3, 40, .2, 0}, {4, 50, .3, 0}, {5, 60, HUGE_VAL, 0}};
    static sumi_score_record scores[] = {{.step = 20, .frechet = 8}, {.step = 40, .frechet = 9}};
    sumi_run_dir dir = {.lock = -1, .best = -1, .keep_best = 3, .epochs = epochs, .epoch_count = 6};
    char path[PATH_MAX], name[64];
    make_folder(dir.path);
    expect_best(&dir, 100, "");
    /* 40 has no checkpoint any more, 25 ended no epoch. */
    static const int there[] = {10, 20, 25, 30, 50, 60};
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "checkpoints/step_%d", there[i]);
        assert_ok(sumi_make_dirs(join(path, dir.path, name), NULL));
    }
    expect_best(&dir, 100, "20 50 30 ");
    expect_best(&dir, 49, "20 30 10 ");
    expect_best(&dir, 9, "");
    dir.keep_best = 100;
    expect_best(&dir, 100, "20 50 30 10 ");
    dir.keep_best = 1;
    expect_best(&dir, 100, "20 ");
    dir.scored = true;
    dir.scores = scores;
    dir.score_count = 2;
    dir.keep_best = 3;
    expect_best(&dir, 100, "20 ");
    /* The file follows. */
    assert_ok(sumi_run_find_best(&dir, 100, NULL));
    assert_int_equal(dir.best, 20);
    assert_true(sumi_is_file(join(path, dir.path, "best")));
    assert_ok(sumi_run_find_best(&dir, 9, NULL));
    assert_int_equal(dir.best, -1);
    assert_false(sumi_is_file(path));
    /* A folder that cannot be read is no folder without checkpoints. */
    assert_ok(sumi_remove_tree(join(path, dir.path, "checkpoints"), NULL));
    assert_ok(sumi_file_save(path, "", 0, NULL));
    assert_int_equal(sumi_run_find_best(&dir, 100, NULL), SUMI_EIO);
    assert_ok(sumi_remove_tree(dir.path, NULL));
}

/* The losses of metrics.csv, by epoch. */
static int epoch_losses(const fixture *f, double *losses)
{
    char *text = read_text(f, "metrics.csv"), *rest = text;
    int count = 0;
    for (const char *line; (line = strtok_r(rest, "\n", &rest));)
        if (line[0] != 'e')
            losses[count++] = atof(strchr(line, ',') + 1);
    free(text);
    return count;
}

/* Of so many epochs' ends the best and the newest are there, and `best` names the first of them. */
static void expect_kept(const fixture *f, int best)
{
    double losses[32];
    int count = epoch_losses(f, losses), kept[32], first = 0;
    int used = 0;
    for (int i = 0; i < count; i++) {
        int better = 0;
        for (int k = 0; k < count; k++)
            better += losses[k] < losses[i];
        if (better < best || i == count - 1)
            kept[used++] = (i + 1) * PER_EPOCH;
        first = better == 0 ? (i + 1) * PER_EPOCH : first;
    }
    expect_steps(f, kept, used, first);
    assert_int_equal(best_of(f), first);
}

/* With a step as large as this the loss goes up and down. */
static void test_the_best_stay(void **state)
{
    (void)state;
    fixture f;
    double losses[32];
    open_fixture(&f, 1, 0);
    f.config.learning_rate = .05f;
    f.config.epochs = 8;
    f.config.grid = 0;
    f.config.checkpoint_every = PER_EPOCH;
    f.config.keep_last = 1;
    f.config.keep_best = 3;
    f.stop_phase = SUMI_PHASE_TRAIN;
    f.stop_step = 5 * PER_EPOCH + 1;
    assert_int_equal(run(&f, NULL), SUMI_CANCELLED);
    go_on(&f);
    assert_ok(run(&f, NULL));
    assert_int_equal(epoch_losses(&f, losses), 8);
    assert_true(losses[7] > losses[6] || losses[6] > losses[5] || losses[5] > losses[4]);
    expect_kept(&f, 3);
    assert_contains(&f, "config.json", "\"keep_best\": 3");
    /* It may be another number when the run goes on. */
    go_on(&f);
    f.config.epochs = 9;
    f.config.keep_best = 1;
    assert_ok(run(&f, NULL));
    expect_kept(&f, 1);
    close_fixture(&f);
}

static void test_bad_settings(void **state)
{
    (void)state;
    static const struct {
        int keep_last, keep_best, keep_every, every;
        double minutes;
        int eval_every, eval_images;
        bool nowhere;
        const char *says;
    } cases[] = {
        {0, 1, 0, 0, 0, 0, 0, false, "keep_last 0"},
        {2, 0, 0, 0, 0, 0, 0, false, "keep_best 0"},
        {2, 1, -1, 0, 0, 0, 0, false, "keep_every -1"},
        {2, 1, 0, -1, 0, 0, 0, false, "checkpoint_every is -1"},
        {2, 1, 0, 0, -.5, 0, 0, false, "checkpoint_minutes -0.5"},
        {2, 1, 0, 0, 0, -1, 0, false, "eval_every"},
        {2, 1, 0, 0, 0, 1, -1, false, "eval_images"},
        {2, 1, 0, 0, 0, 1, 0, false, "an evaluator"},
        {2, 1, 0, 0, 0, 1, 0, true, "out_dir, the run directory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        sumi_error err = {""};
        open_fixture(&f, 1, 0);
        f.config.keep_last = cases[i].keep_last;
        f.config.keep_best = cases[i].keep_best;
        f.config.keep_every = cases[i].keep_every;
        f.config.checkpoint_every = cases[i].every;
        f.config.checkpoint_minutes = cases[i].minutes;
        f.config.eval_every = cases[i].eval_every;
        f.config.eval_images = cases[i].eval_images;
        if (cases[i].nowhere)
            f.config.out_dir = NULL;
        assert_int_equal(run(&f, &err), SUMI_EINVAL);
        assert_says(err, cases[i].says);
        assert_int_equal(f.trains, 0);
        assert_false(sumi_is_dir(f.run));
        close_fixture(&f);
    }
}

static void test_no_room(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    sumi_model *model;
    open_fixture(&f, 1, .9f);
    room = 1000000;
    assert_int_equal(run(&f, &err), SUMI_EIO);
    assert_says(err, "no room for 2 checkpoints");
    assert_int_equal(f.trains, 0);
    assert_false(has(&f, "config.json"));
    room = 0;
    f.config.epochs = 1;
    assert_ok(run(&f, NULL));
    /* The size that is reckoned with is not below the true one. */
    static const char *const files[] = {"model.safetensors", "ema.safetensors", "optim.safetensors",
                                        "state.json", "manifest.json"};
    uint64_t bytes = 0;
    for (int i = 0; i < 5; i++) {
        char name[96], path[PATH_MAX];
        struct stat st;
        snprintf(name, sizeof name, "checkpoints/step_3/%s", files[i]);
        assert_int_equal(stat(join(path, f.run, name), &st), 0);
        bytes += (uint64_t)st.st_size;
    }
    go_on(&f);
    f.config.epochs = 2;
    room = bytes;
    assert_int_equal(run(&f, &err), SUMI_EIO);
    room = 0;
    assert_ok(sumi_run_load(f.run, &model, NULL, NULL));
    assert_int_equal(model->info.steps, 3);
    sumi_models_free(model);
    close_fixture(&f);
}

/* From this step and phase on the disk has no room. */
static int64_t full_step;
static sumi_phase full_phase;

static int fill_disk(void *user, const sumi_progress *p)
{
    if (p->phase == full_phase && p->step == full_step)
        room = 1000;
    return watch(user, p);
}

/* A run whose disk fills at that moment fails with this text, has the checkpoint of `step` as its
 * newest, and goes on from there to the bits of a run that nothing happened to. */
static void disk_fills(const sumi_model *straight, sumi_phase phase, int64_t at, const char *text,
                       int step)
{
    fixture f;
    sumi_error err;
    open_fixture(&f, 1, 0);
    f.config.grid = 0;
    f.config.checkpoint_every = PER_EPOCH;
    f.config.progress = fill_disk;
    full_phase = phase;
    full_step = at;
    assert_int_equal(run(&f, &err), SUMI_EIO);
    assert_says(err, text);
    assert_says(err, "the disk has 0.0 MB left");
    assert_contains(&f, "train.log", text);
    assert_true(has_step(&f, step));
    assert_true(has_step(&f, 0));
    assert_false(has_step(&f, step + PER_EPOCH));
    full_step = room = 0;
    go_on(&f);
    assert_ok(run(&f, NULL));
    assert_int_equal(f.trains, (int)at + 2 * PER_EPOCH - step);
    assert_same_model(f.model, straight);
    close_fixture(&f);
}

static void test_disk_fills(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 1, 0);
    f.config.grid = 0;
    assert_ok(run(&f, NULL));
    /* Found when a checkpoint is there: the run ends with it. */
    disk_fills(f.model, SUMI_PHASE_SAVE, PER_EPOCH, "the run ends at step 3, which is saved",
               PER_EPOCH);
    /* Found when the next one should be written: the older is kept. */
    disk_fills(f.model, SUMI_PHASE_TRAIN, 2 * PER_EPOCH, "no room for 1 checkpoint of", PER_EPOCH);
    close_fixture(&f);
}

static int fill_and_stop(void *user, const sumi_progress *p)
{
    (void)user;
    if (p->phase != SUMI_PHASE_TRAIN || p->step != PER_EPOCH + 1)
        return 0;
    room = 1000;
    return 1;
}

/* A run that is stopped, and cannot be saved, has not been stopped but failed. */
static void test_stopped_on_a_full_disk(void **state)
{
    (void)state;
    fixture f;
    sumi_error err = {""};
    open_fixture(&f, 1, 0);
    f.config.progress = fill_and_stop;
    assert_int_equal(run(&f, &err), SUMI_EIO);
    assert_says(err, "no room for 1 checkpoint");
    assert_true(has_step(&f, PER_EPOCH));
    assert_false(has_step(&f, PER_EPOCH + 1));
    room = 0;
    close_fixture(&f);
}

/* Lines that a full disk cuts are whole again when the run goes on, and none is there twice. */
static void test_lines_on_a_full_disk(void **state)
{
    (void)state;
    char folder[PATH_MAX], path[PATH_MAX];
    uint8_t *data;
    size_t size;
    make_folder(folder);
    join(path, folder, "lines");
    assert_ok(sumi_file_append(path, "one\n", 4, NULL));
    writes_left = 1;
    assert_int_equal(sumi_file_append(path, "two\n", 4, NULL), SUMI_EIO);
    writes_left = -1;
    assert_ok(sumi_file_append(path, "two\n", 4, NULL));
    assert_ok(sumi_file_read(path, 100, &data, &size, NULL));
    assert_string_equal((const char *)data, "one\ntwo\n");
    free(data);
    assert_ok(sumi_remove_tree(folder, NULL));
}

static sumi_phase failing_phase;

static int fail_write(void *user, const sumi_progress *p)
{
    fail_once |= p->phase == failing_phase && p->step == PER_EPOCH;
    return watch(user, p);
}

/* At the end of an epoch a snapshot or a line cannot be written: the run goes on from a checkpoint
 * before that, and no epoch's line is missing. */
static void test_an_end_of_an_epoch_that_is_not_told(void **state)
{
    (void)state;
    static const sumi_phase phases[] = {SUMI_PHASE_TRAIN, SUMI_PHASE_EPOCH};
    sumi_trainer_config trainer = SUMI_TRAINER_CONFIG_INIT;
    fixture straight;
    trainer.batch = BATCH;
    trainer.seed = 4;
    trainer.power_averages[0] = .1f;
    for (int i = 0; i < 3; i++) {
        fixture f, *now = i ? &f : &straight;
        sumi_error err = {""};
        open_fixture(now, 1, 0);
        now->config.trainer = &trainer;
        now->config.snapshots = 2;
        now->config.grid = 0;
        now->config.checkpoint_every = 2;
        if (i > 0) {
            failing_phase = phases[i - 1];
            f.config.progress = fail_write;
            assert_int_equal(run(&f, &err), SUMI_EIO);
            assert_false(has_step(&f, PER_EPOCH));
            f.config.progress = watch;
            go_on(&f);
        }
        assert_ok(run(now, &err));
        assert_int_equal(count_lines(now, "metrics.csv"), 1 + 2);
        assert_int_equal(count_lines(now, "metrics.jsonl"), 2 * PER_EPOCH);
        assert_true(has(now, "averages/step_3_1.safetensors"));
        assert_same_model(now->model, straight.model);
        if (i > 0)
            close_fixture(&f);
    }
    close_fixture(&straight);
}

/* ---- Going on from each step ----------------------------------------------------------------- */

enum { AHEAD = 2 };
static int from_most; /* the last step that a run goes on from */

static void open_small(fixture *f, int threads, float ema)
{
    open_fixture(f, threads, ema);
    sumi_models_free(f->model);
    f->model = make_model_of(1, 1);
    f->config.epochs = 0;
    f->config.steps = from_most + AHEAD;
    f->config.grid = 0;
    f->config.keep_every = 1;
}

/* By the manifests: all that is saved but state.json, which knows how long it took. */
static void assert_same_files(const fixture *a, const fixture *b, int step)
{
    char name[64];
    snprintf(name, sizeof name, "checkpoints/step_%d/manifest.json", step);
    json_t *x = read_json(a, name), *y = read_json(b, name);
    const json_t *files = json_object_get(x, "files"), *others = json_object_get(y, "files");
    assert_int_equal(json_array_size(files), json_array_size(others));
    for (size_t i = 0; i < json_array_size(files); i++) {
        const json_t *file = json_array_get(files, i), *other = json_array_get(others, i);
        const char *is = json_string_value(json_object_get(file, "name"));
        if (strcmp(is, "state.json") != 0 && !json_equal(file, other))
            fail_msg("%s of step %d is another", is, step);
    }
    json_decref(x);
    json_decref(y);
}

/* A run that goes back to each of its steps, the last first, and goes on from there. */
static void go_on_from_each(const fixture *straight, const double *losses, int threads, float ema)
{
    fixture f;
    double *found = calloc((size_t)from_most + AHEAD, sizeof *found);
    char name[64], path[PATH_MAX];
    open_small(&f, threads, ema);
    assert_true(copy_tree(straight->run, f.run));
    for (int step = from_most; step > 0; step--) {
        for (int after = step + 1; after <= from_most + AHEAD; after++) {
            snprintf(name, sizeof name, "checkpoints/step_%d", after);
            assert_ok(sumi_remove_tree(join(path, f.run, name), NULL));
        }
        sumi_models_free(f.model);
        f.model = make_model_of(1, 77);
        f.config.resume = true;
        f.config.steps = step + AHEAD;
        f.trains = 0;
        assert_ok(run(&f, NULL));
        assert_int_equal(f.trains, AHEAD);
        for (int after = step + 1; after <= step + AHEAD; after++)
            assert_same_files(straight, &f, after);
        assert_int_equal(read_losses(&f, found, from_most + AHEAD), step + AHEAD);
        assert_memory_equal(losses, found, (size_t)(step + AHEAD) * sizeof *found);
    }
    free(found);
    close_fixture(&f);
}

/* Whatever step it goes on from, on however many threads, the run is the same to the bit. */
static void test_every_step_goes_on(void **state)
{
    (void)state;
    from_most = test_count("SUMI_TEST_STEPS", 50);
    double *losses = calloc((size_t)from_most + AHEAD, sizeof *losses);
    assert_non_null(losses);
    for (int with = 0; with < 2; with++) {
        fixture straight;
        float ema = with ? .9f : 0;
        open_small(&straight, 1, ema);
        assert_ok(run(&straight, NULL));
        assert_int_equal(read_losses(&straight, losses, from_most + AHEAD), from_most + AHEAD);
        for (int threads = 1; threads <= 4; threads *= 2)
            go_on_from_each(&straight, losses, threads, ema);
        close_fixture(&straight);
    }
    free(losses);
}

int main(void)
{
    writes_left = -1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_are_written_and_stay),
        cmocka_unit_test(test_by_the_clock),
        cmocka_unit_test(test_every_five_minutes),
        cmocka_unit_test(test_epochs_by_the_clock),
        cmocka_unit_test(test_which_are_the_best),
        cmocka_unit_test(test_the_best_stay),
        cmocka_unit_test(test_bad_settings),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_disk_fills),
        cmocka_unit_test(test_stopped_on_a_full_disk),
        cmocka_unit_test(test_lines_on_a_full_disk),
        cmocka_unit_test(test_an_end_of_an_epoch_that_is_not_told),
        cmocka_unit_test(test_every_step_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
