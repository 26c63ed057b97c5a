/*
 * One save of a checkpoint, and everything that may come between: the process is killed at each
 * system call, each call fails in each way, writes are short, the power goes, memory is out while
 * what is left is read again, and bits of the files turn. What is loaded afterwards is the state
 * before or the state after, to the bit, and the next save is whole.
 *
 * SUMI_TEST_CRASHES multiplies how much is drawn; 1 is what every check does.
 */
#include "crash.h"
#include "base/count.h"
#include "train/train_test.h"
#include "run/run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, BATCH = 2, OLD = 2, NEW = 3 };

typedef struct {
    sumi_runtime runtime;
    sumi_model *model, *other;
    sumi_trainer *trainer, *probe; /* what is saved, and what is loaded */
    char folder[PATH_MAX], base[PATH_MAX], run[PATH_MAX];
    char hash[NEW + 1][65]; /* of the state after each step */
    float images[BATCH * PIXELS];
} fixture;

static fixture f;

static int repeats(void)
{
    return test_count("SUMI_TEST_CRASHES", 1);
}

static void hash_model(sumi_sha256 *sha, const sumi_model *model)
{
    const sumi_params *p = &model->graph.params;
    sumi_sha256_update(sha, p->values, p->value_count * sizeof *p->values);
    sumi_sha256_update(sha, p->statistics, p->statistic_count * sizeof *p->statistics);
    sumi_sha256_update(sha, p->counters, p->counter_count * sizeof *p->counters);
}

static void hash_state(const sumi_trainer *trainer, char hex[65])
{
    sumi_sha256 sha;
    sumi_sha256_init(&sha);
    sumi_sha256_update(&sha, &trainer->steps, sizeof trainer->steps);
    hash_model(&sha, trainer->model);
    for (int i = 0; i < trainer->averages.count; i++)
        hash_model(&sha, trainer->averages.model[i]);
    for (int i = 0; i < trainer->optimiser.row->states; i++)
        sumi_sha256_update(&sha, trainer->optimiser.state[i],
                           trainer->optimiser.count * sizeof(float));
    sumi_sha256_final(&sha, hex);
}

static void open_dir(sumi_run_dir *dir)
{
    /* Each step ends an epoch, and the last is the best: saving it names it, removing the first. */
    static sumi_epoch_record epochs[] = {{0, 1, .3, 0}, {1, OLD, .2, 0}, {2, NEW, .1, 0}};
    memset(dir, 0, sizeof *dir);
    dir->lock = -1;
    dir->best = -1;
    dir->keep_last = 2;
    dir->keep_best = 1;
    dir->epochs = epochs;
    dir->epoch_count = NEW;
    snprintf(dir->path, sizeof dir->path, "%s", f.run);
}

static sumi_status save(sumi_error *err)
{
    sumi_run_dir dir;
    open_dir(&dir);
    json_t *state = json_pack("{s:i}", "step", (int)f.trainer->steps);
    sumi_status status = state ? sumi_run_save(&dir, f.trainer, state, err) : SUMI_ENOMEM;
    json_decref(state);
    return status;
}

static void copy(const char *from, const char *to)
{
    assert_ok(sumi_remove_tree(to, NULL));
    assert_true(copy_tree(from, to));
}

static int set_up(void **state)
{
    (void)state;
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    make_runtime(&f.runtime, 1);
    f.model = make_model_of(1, 1);
    f.other = make_model_of(1, 9);
    make_folder(f.folder);
    join(f.base, f.folder, "base");
    join(f.run, f.folder, "run");
    config.batch = BATCH;
    config.averages[0] = .9f;
    config.height = config.width = SIDE;
    assert_ok(sumi_train_create(&f.runtime, f.model, &config, &f.trainer, NULL));
    assert_ok(sumi_train_create(&f.runtime, f.other, &config, &f.probe, NULL));
    for (int i = 0; i < BATCH * PIXELS; i++)
        f.images[i] = (float)(i * 7 % 11) / 11;
    const sumi_batch batch = {
        .size = sizeof batch, .n = BATCH, .h = SIDE, .w = SIDE, .x = f.images};
    assert_ok(sumi_make_dirs(f.run, NULL));
    for (int step = 1; step <= NEW; step++) {
        assert_ok(sumi_train_step(f.trainer, &batch, NULL, NULL));
        hash_state(f.trainer, f.hash[step]);
        if (step < NEW)
            assert_ok(save(NULL));
    }
    copy(f.run, f.base);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sumi_train_free(f.trainer);
    sumi_train_free(f.probe);
    sumi_models_free(f.model);
    sumi_models_free(f.other);
    sumi_runtime_free(&f.runtime);
    assert_ok(sumi_remove_tree(f.folder, NULL));
    return 0;
}

/* ---- What is left ---------------------------------------------------------------------------- */

static sumi_status load_probe(void *user, const char *folder, sumi_error *err)
{
    (void)user;
    return sumi_checkpoint_load(f.probe, folder, NULL, err);
}

static sumi_status recover(sumi_error *err)
{
    sumi_run_dir dir;
    sumi_error notice;
    open_dir(&dir);
    sumi_status status = sumi_run_tidy(&dir, err);
    return status == SUMI_OK ? sumi_run_newest(f.run, load_probe, NULL, &notice, err) : status;
}

static void expect_tidy(const char *name)
{
    char path[PATH_MAX];
    join(path, f.run, name);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] == '.' && strcmp(entry->d_name, ".") != 0 &&
            strcmp(entry->d_name, "..") != 0)
            fail_msg("%s is left in %s", entry->d_name, path);
    closedir(dir);
}

/* Loads what is there, which must be one of the two states, and saves once more; returns which. */
static int expect_whole(const char *what, long number)
{
    sumi_error err = {""};
    char hex[65];
    if (recover(&err) != SUMI_OK)
        fail_msg("%s %ld: %s", what, number, err.text);
    hash_state(f.probe, hex);
    int64_t step = f.probe->steps;
    if ((step != OLD && step != NEW) || strcmp(hex, f.hash[step]) != 0)
        fail_msg("%s %ld: step %" PRId64 " is not as it was", what, number, step);
    expect_tidy(".");
    expect_tidy("checkpoints");
    if (save(&err) != SUMI_OK)
        fail_msg("%s %ld, saving again: %s", what, number, err.text);
    assert_ok(recover(&err));
    hash_state(f.probe, hex);
    assert_string_equal(hex, f.hash[NEW]);
    return (int)step;
}

/* ---- Killed ---------------------------------------------------------------------------------- */

static bool killed_at(long at)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        crash_begin((crash_plan){.kind = CRASH_KILL, .at = at});
        _exit(save(NULL) == SUMI_OK ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return true;
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return false;
}

static void test_killed_at_every_call(void **state)
{
    (void)state;
    long at = 1;
    int seen[NEW + 1] = {0};
    for (bool killed = true; killed; at++) {
        copy(f.base, f.run);
        killed = killed_at(at);
        seen[expect_whole("killed at call", at)]++;
    }
    assert_true(at > 40 && seen[OLD] > 20 && seen[NEW] > 2);
}

/* ---- Calls that fail ------------------------------------------------------------------------- */

static void test_every_call_fails(void **state)
{
    (void)state;
    static const int errors[] = {ENOSPC, EIO, EINTR, EDQUOT, EROFS, EMFILE};
    enum { ERRORS = sizeof errors / sizeof *errors };
    copy(f.base, f.run);
    crash_begin((crash_plan){.kind = CRASH_NOT});
    crash_begin((crash_plan){.kind = CRASH_FAIL, .at = 1000000});
    assert_ok(save(NULL));
    long calls = crash_end();
    assert_true(calls > 40);
    for (long at = 1; at <= calls; at++) {
        for (int i = 0; i < 2 * ERRORS; i++) {
            int error = errors[i / 2];
            bool persistent = i % 2;
            /* Nothing is interrupted for ever. */
            if (error == EINTR && persistent)
                continue;
            sumi_error err = {""};
            copy(f.base, f.run);
            crash_begin((crash_plan){
                .kind = CRASH_FAIL, .at = at, .error = error, .persistent = persistent});
            sumi_status status = save(&err);
            crash_end();
            if (status != SUMI_OK && (status != SUMI_EIO || err.text[0] == '\0'))
                fail_msg("call %ld, %s: status %d, '%s'", at, strerror(error), (int)status,
                         err.text);
            int step = expect_whole(strerror(error), at);
            assert_true(status != SUMI_OK || step == NEW);
        }
    }
}

static void test_short_writes(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 100, 4000};
    for (int i = 0; i < 3; i++) {
        copy(f.base, f.run);
        crash_begin((crash_plan){.kind = CRASH_SHORT, .most = sizes[i]});
        assert_ok(save(NULL));
        crash_end();
        assert_int_equal(expect_whole("short writes", (long)sizes[i]), NEW);
    }
}

/* ---- The power goes -------------------------------------------------------------------------- */

static void test_power_loss(void **state)
{
    (void)state;
    int seen[NEW + 1] = {0}, count = 200 * repeats();
    copy(f.base, f.run);
    crash_begin((crash_plan){.kind = CRASH_RECORD});
    assert_ok(save(NULL));
    crash_end();
    for (int i = 0; i < count; i++) {
        copy(f.base, f.run);
        crash_replay((uint64_t)i);
        seen[expect_whole("power loss", i)]++;
    }
    crash_forget();
    assert_true(seen[OLD] > count / 10 && seen[NEW] > count / 100);
}

/* ---- And again while it recovers ------------------------------------------------------------- */

static void test_compound(void **state)
{
    (void)state;
    int count = 100 * repeats();
    uint32_t failed = 0;
    for (int i = 0; i < count; i++) {
        const sumi_random at = {.seed = 7, .stream = SUMI_STREAM_USER, .image = (uint64_t)i};
        copy(f.base, f.run);
        killed_at(1 + sumi_random_below(&at, 0, 80));
        crash_begin((crash_plan){.kind = CRASH_FAIL,
                                 .at = 1 + sumi_random_below(&at, 1, i % 2 ? 300 : 12),
                                 .error = EIO,
                                 .persistent = sumi_random_below(&at, 2, 2),
                                 .memory = i % 2});
        sumi_error err = {""};
        sumi_status status = recover(&err);
        crash_end();
        failed += status != SUMI_OK;
        assert_true(status == SUMI_OK || err.text[0] != '\0');
        expect_whole("failed while it recovered", i);
    }
    assert_true(failed > 5);
}

/* ---- Bits that turn -------------------------------------------------------------------------- */

static void expect_damage(const char *path, const char *folder, size_t at, const char *what)
{
    sumi_error err = {""};
    if (sumi_checkpoint_check(folder, &err) == SUMI_OK)
        fail_msg("%s at byte %zu of %s is not noticed", what, at, path);
    assert_true(err.text[0] != '\0');
}

static void test_every_damage_is_noticed(void **state)
{
    (void)state;
    static const char *const names[] = {"model.safetensors", "optim.safetensors", "ema.safetensors",
                                        "state.json", "manifest.json"};
    char folder[PATH_MAX], path[PATH_MAX];
    copy(f.base, f.run);
    join(folder, f.run, "checkpoints/step_2");
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        uint8_t *data;
        size_t size;
        assert_ok(sumi_file_read(join(path, folder, names[k]), 1 << 24, &data, &size, NULL));
        size_t step = repeats() > 1 ? 1 : size / 60 + 1;
        /* A manifest without its last line break says the same. */
        size_t end = size - (strcmp(names[k], "manifest.json") == 0);
        for (size_t at = 0; at < end; at += step) {
            int fd = open(path, O_WRONLY);
            uint8_t turned = data[at] ^ (uint8_t)(1u << (at / step % 8));
            assert_true(fd >= 0 && pwrite(fd, &turned, 1, (off_t)at) == 1);
            expect_damage(names[k], folder, at, "a bit");
            assert_true(pwrite(fd, &data[at], 1, (off_t)at) == 1);
            assert_int_equal(ftruncate(fd, (off_t)at), 0);
            expect_damage(names[k], folder, at, "a cut");
            assert_true(pwrite(fd, data + at, size - at, (off_t)at) == (ssize_t)(size - at));
            close(fd);
        }
        assert_ok(sumi_checkpoint_check(folder, NULL));
        free(data);
    }
    /* A name that is damaged is no more than a hint. */
    assert_ok(sumi_file_save(join(path, f.run, "latest"), "step_\xFF", 6, NULL));
    assert_int_equal(expect_whole("latest", 0), OLD);
}

/* ---- The folder goes away -------------------------------------------------------------------- */

/* Neither moved nor removed is it made anew by a save. */
static void test_folder_is_gone(void **state)
{
    (void)state;
    char lock[PATH_MAX], moved[PATH_MAX];
    join(moved, f.folder, "moved");
    for (int remove = 0; remove < 2; remove++) {
        sumi_run_dir dir;
        sumi_error err = {""};
        copy(f.base, f.run);
        open_dir(&dir);
        dir.lock = open(join(lock, f.run, "run.lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        assert_true(dir.lock >= 0);
        assert_ok(sumi_run_save(&dir, f.trainer, NULL, NULL));
        assert_ok(sumi_remove_tree(moved, NULL));
        assert_int_equal(rename(f.run, moved), 0);
        if (remove)
            assert_ok(sumi_remove_tree(moved, NULL));
        assert_int_equal(sumi_run_save(&dir, f.trainer, NULL, &err), SUMI_EIO);
        assert_says(err, "the run's folder was moved or removed");
        assert_false(sumi_is_dir(f.run));
        /* Another run took its place. */
        copy(f.base, f.run);
        assert_int_equal(sumi_run_save(&dir, f.trainer, NULL, NULL), SUMI_EIO);
        close(dir.lock);
    }
    assert_ok(sumi_remove_tree(moved, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_at_every_call),
        cmocka_unit_test(test_every_call_fails),
        cmocka_unit_test(test_short_writes),
        cmocka_unit_test(test_power_loss),
        cmocka_unit_test(test_compound),
        cmocka_unit_test(test_every_damage_is_noticed),
        cmocka_unit_test(test_folder_is_gone),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
