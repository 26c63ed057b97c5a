/*
 * Memory that runs out and calls of the system that fail, at each place of the program where either
 * can: in a run that begins, goes back, keeps snapshots and scores, that goes on, and in what is
 * made of a run. The call says so, and afterwards the run goes on to the bits of one that nothing
 * happened to.
 *
 * The linker sends the calls of sumi's objects through the functions below, which tell the places
 * apart by the three functions that called. A place is made to fail the first time that it is
 * reached: one place in SUMI_TEST_PLACES, which is 20 where it is not set, from the first or number
 * SUMI_TEST_FIRST (of 0, 1, ...) on.
 */
#include "run_fixture.h"
#include "base/count.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <sys/file.h>

#include "models/sampling.h"
#include "sanitized.h"
#include "train/classify.h"

/* ---- Failing --------------------------------------------------------------------------------- */

/* The frames that count are the function in place of the call and three that called; before them
 * stand fails() and, with the sanitizer, its own backtrace(). */
enum { PLACES_MAX = 4096, FRAMES = 4, OWN_FRAMES = 1 + SANITIZED };

static struct {
    bool on, parsing;
    atomic_long calls, fail_at; /* the number of the call that fails; 0: none, they are recorded */
    bool failed;
    int known, count; /* places up to known had their turn in other work */
    uint64_t place[PLACES_MAX];
    long first[PLACES_MAX]; /* the call that reached it first */
} faults;

/* The functions that called, down to a few. */
static inline __attribute__((always_inline)) uint64_t place_now(void)
{
    void *frames[FRAMES + OWN_FRAMES];
    int count = backtrace(frames, FRAMES + OWN_FRAMES);
    uint64_t hash = 1469598103934665603u;
    for (int i = OWN_FRAMES; i < count; i++)
        hash = (hash ^ (uint64_t)(uintptr_t)frames[i]) * 1099511628211u;
    return hash;
}

static inline __attribute__((always_inline)) void record(long call)
{
    uint64_t place = place_now();
    for (int i = 0; i < faults.count; i++)
        if (faults.place[i] == place)
            return;
    assert_true(faults.count < PLACES_MAX);
    faults.place[faults.count] = place;
    faults.first[faults.count++] = call;
}

static __attribute__((noinline)) bool fails(int error)
{
    if (!faults.on)
        return false;
    long call = atomic_fetch_add(&faults.calls, 1) + 1, at = atomic_load(&faults.fail_at);
    if (at == 0)
        record(call);
    if (call != at)
        return false;
    faults.failed = true;
    errno = error;
    return true;
}

#define WRAP(result, name, failed, error, arguments, ...)                                          \
    result __real_##name arguments;                                                                \
    result __wrap_##name arguments;                                                                \
    result __wrap_##name arguments                                                                 \
    {                                                                                              \
        return fails(error) ? failed : __real_##name(__VA_ARGS__);                                 \
    }

WRAP(void *, malloc, NULL, ENOMEM, (size_t size), size)
WRAP(void *, calloc, NULL, ENOMEM, (size_t count, size_t size), count, size)
WRAP(void *, realloc, NULL, ENOMEM, (void *block, size_t size), block, size)
WRAP(void *, sumi_pages_alloc, NULL, ENOMEM, (size_t bytes), bytes)
WRAP(ssize_t, write, -1, EIO, (int fd, const void *data, size_t size), fd, data, size)
WRAP(int, rename, -1, EIO, (const char *a, const char *b), a, b)
WRAP(int, renameat, -1, EIO, (int f, const char *a, int t, const char *b), f, a, t, b)
WRAP(int, unlinkat, -1, EIO, (int folder, const char *name, int flags), folder, name, flags)
WRAP(int, mkdir, -1, EIO, (const char *path, mode_t mode), path, mode)
WRAP(int, ftruncate, -1, EIO, (int fd, off_t size), fd, size)
WRAP(int, flock, -1, EIO, (int fd, int operation), fd, operation)
WRAP(FILE *, fopen, NULL, EIO, (const char *path, const char *mode), path, mode)
WRAP(FILE *, open_memstream, NULL, ENOMEM, (char **text, size_t *size), text, size)
WRAP(DIR *, opendir, NULL, EIO, (const char *path), path)
WRAP(ssize_t, getline, -1, EIO, (char **line, size_t *room, FILE *file), line, room, file)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return fails(EIO) ? -1 : __real_open(path, flags, mode);
}

int __real_openat(int folder, const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return fails(EIO) ? -1 : __real_openat(folder, path, flags, mode);
}

/* Thousands of saves need not reach the disk. */
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    (void)fd;
    return fails(EIO) ? -1 : 0;
}

/* jansson's reader does not look at each of its own allocations, so that all of it is one place. */
json_t *__real_json_loadb(const char *data, size_t size, size_t flags, json_error_t *reason);
json_t *__wrap_json_loadb(const char *data, size_t size, size_t flags, json_error_t *reason);
json_t *__wrap_json_loadb(const char *data, size_t size, size_t flags, json_error_t *reason)
{
    if (fails(ENOMEM)) {
        if (reason) { /* jansson leaves the rest as it was */
            reason->text[0] = '\0';
            reason->line = reason->column = -1;
            reason->position = 0;
        }
        return NULL;
    }
    faults.parsing = true;
    json_t *json = __real_json_loadb(data, size, flags, reason);
    faults.parsing = false;
    return json;
}

/* A FILE that is not written is closed all the same. */
int __real_fclose(FILE *file);
int __wrap_fclose(FILE *file);
int __wrap_fclose(FILE *file)
{
    bool bad = fails(EIO);
    int result = __real_fclose(file);
    return bad ? EOF : result;
}

/* ---- The run --------------------------------------------------------------------------------- */

enum { FEW = 12, FEW_BATCH = 4, STEPS = 6, BAD_STEP = 5, STOP_AT = 3, SCORED = 136 };

/* Just enough steps of enough images for a search at the run's end. */
enum { SEARCHED = 300, SEARCHED_STEPS = 56, SEARCHED_LEVELS = 6 };

typedef struct {
    sumi_runtime runtime;
    sumi_backend backend;
    const sumi_backend *usual;
    sumi_dataset *set;
    sumi_model *model, *expected;
    sumi_classifier *evaluator;
    sumi_trainer_config trainer;
    sumi_train_config config;
    char folder[PATH_MAX], run[PATH_MAX], before[PATH_MAX]; /* before: what run is begun with */
    bool began;                                             /* there is such a state */
    bool bad;     /* the loss of BAD_STEP is none, until the run has gone back */
    bool search;  /* of a network that is told of labels, and stopped when the search begins */
    int64_t end;  /* the run is stopped after this step; 0: not */
    int64_t back; /* to which the expected run went; -1: it did not */
} stage;

static stage *current; /* the backend's functions know no user */

static bool is_bad(void)
{
    char path[PATH_MAX];
    bool due = current->bad && current->model->info.steps + 1 == BAD_STEP;
    return due && !sumi_is_file(join(path, current->run, "rollbacks.json"));
}

static void take(sumi_ledger *ledger, sumi_network *network, double share, const float *gradients,
                 size_t count)
{
    current->usual->ledger_take(ledger, network, is_bad() ? NAN : share, gradients, count);
}

static int see(void *user, const sumi_progress *progress)
{
    const stage *s = user;
    if (s->search && s->end > 0)
        return progress->phase == SUMI_PHASE_SAMPLE;
    return s->end > 0 && progress->phase == SUMI_PHASE_TRAIN && progress->step == s->end;
}

static sumi_model *new_model(uint64_t seed)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_sample_config way = SUMI_SAMPLE_CONFIG_INIT;
    sumi_model *model;
    config.base_channels = 1;
    config.time_dim = 8;
    config.timesteps = 20;
    config.seed = seed;
    assert_ok(sumi_models_create(&config, &model, NULL));
    way.solver = "ddim";
    way.steps = 2;
    json_t *sampling = sumi_sampling_json(&way);
    sumi_sampling_set(model, sampling);
    json_decref(sampling);
    return model;
}

/* What was read with notices and pictures that were skipped, mirrored, with names of its labels. */
static sumi_dataset *new_set(void)
{
    sumi_dataset *set = make_small_set(FEW);
    assert_ok(sumi_data_note(set, true, NULL, "one of %d notices", 1));
    set->skip_bad = true;
    set->background = .5f;
    set->skipped = calloc(2, sizeof *set->skipped);
    assert_non_null(set->skipped);
    set->skipped_count = 2;
    for (int i = 0; i < 2; i++)
        set->skipped[i] = sumi_strdup(i ? "b\nb.png" : "a.png");
    return set;
}

static void open_stage(stage *s)
{
    memset(s, 0, sizeof *s);
    current = s;
    make_runtime(&s->runtime, 1);
    s->usual = s->runtime.backend;
    s->backend = *s->usual;
    s->backend.ledger_take = take;
    s->runtime.backend = &s->backend;
    s->set = new_set();
    make_folder(s->folder);
    join(s->run, s->folder, "run");
    join(s->before, s->folder, "before");
    s->trainer = (sumi_trainer_config)SUMI_TRAINER_CONFIG_INIT;
    s->trainer.batch = FEW_BATCH;
    s->trainer.power_averages[0] = .1f;
    s->trainer.seed = 4;
    s->config = (sumi_train_config)SUMI_TRAIN_CONFIG_INIT;
    s->config.trainer = &s->trainer;
    s->config.epochs = 0;
    s->config.steps = STEPS;
    s->config.checkpoint_every = 2;
    s->config.keep_last = 3;
    s->config.on_nan = SUMI_ON_NAN_ROLLBACK;
    s->config.grid = 2;
    s->config.grid_height = s->config.grid_width = 8;
    s->config.grid_steps = 1;
    s->config.flip = true;
    s->config.out_dir = s->run;
    s->config.progress = see;
    s->config.user = s;
    s->config.command = "sumi train shapes";
}

static void close_stage(stage *s)
{
    s->runtime.backend = s->usual;
    sumi_models_free(s->model);
    sumi_models_free(s->expected);
    sumi_classifier_free(s->evaluator);
    sumi_data_free(s->set);
    sumi_runtime_free(&s->runtime);
    assert_ok(sumi_remove_tree(s->folder, NULL));
}

static sumi_status train(stage *s, bool resume, sumi_error *err)
{
    bool on = faults.on;
    faults.on = false;
    sumi_models_free(s->model);
    uint64_t seed = resume ? 77 : 1; /* the checkpoint brings the weights */
    s->model = s->search ? make_labelled(seed, SEARCHED_LEVELS) : new_model(seed);
    s->config.resume = resume;
    atomic_store(&s->runtime.cancel, 0);
    faults.on = on;
    sumi_status status = sumi_run_train(&s->runtime, s->model, s->set, &s->config, err);
    sumi_runtime_forget(&s->runtime, s->model->id);
    return status;
}

static void put_back(stage *s)
{
    assert_ok(sumi_remove_tree(s->run, NULL));
    if (s->began)
        assert_true(copy_tree(s->before, s->run));
}

/* What a process that was killed left: a file, and a checkpoint that was being replaced. */
static void leave_over(const stage *s)
{
    char path[PATH_MAX], old[PATH_MAX];
    assert_ok(sumi_file_save(join(path, s->run, ".sumi-1-2.tmp"), "x", 1, NULL));
    join(path, s->run, "checkpoints/step_3");
    join(old, s->run, "checkpoints/.step_3.sumi-old");
    assert_int_equal(rename(path, old), 0);
}

/* The run as it is now is what each turn begins with. */
static void keep_as_beginning(stage *s)
{
    assert_int_equal(rename(s->run, s->before), 0);
    s->began = true;
}

/* The step that the run went back to; -1: it did not. */
static int64_t went_back_to(const stage *s)
{
    char path[PATH_MAX];
    json_t *list = NULL;
    if (sumi_json_read(join(path, s->run, "rollbacks.json"), &list, NULL) != SUMI_OK)
        return -1;
    int64_t step = json_integer_value(json_object_get(json_array_get(list, 0), "to"));
    json_decref(list);
    return step;
}

/* Goes on, or begins where there is nothing to go on with, to the bits that are expected. A
 * checkpoint that could not be read is a damaged one: a run that goes back then goes back further,
 * and has said so. */
static void expect_recovery(stage *s, const char *said)
{
    sumi_model *there = NULL;
    sumi_error err = {""};
    char path[PATH_MAX];
    bool resume = sumi_is_file(join(path, s->run, "config.json")) &&
                  sumi_run_load(s->run, &there, NULL, NULL) == SUMI_OK;
    sumi_models_free(there);
    if (!resume)
        assert_ok(sumi_remove_tree(s->run, NULL));
    sumi_status status = train(s, resume, &err);
    if (status != SUMI_OK)
        fail_msg("%s: %s", resume ? "going on" : "beginning", err.text);
    assert_ok(sumi_run_load(s->run, &there, NULL, NULL));
    const sumi_params *is = &there->graph.params, *wanted = &s->expected->graph.params;
    bool same = memcmp(is->values, wanted->values, is->value_count * sizeof *is->values) == 0;
    int64_t back = went_back_to(s);
    if (!same && (back == s->back || !s->bad || back > s->back))
        fail_msg("after \"%s\" it went back to %d and has other weights", said, (int)back);
    sumi_models_free(there);
}

/* ---- Each place in turn ---------------------------------------------------------------------- */

typedef sumi_status (*work_fn)(stage *s, sumi_error *err);

static void *json_malloc(size_t size)
{
    return faults.parsing ? __real_malloc(size) : __wrap_malloc(size);
}

static sumi_status with_faults(stage *s, work_fn work, long fail_at, sumi_error *err)
{
    atomic_store(&faults.calls, 0);
    atomic_store(&faults.fail_at, fail_at);
    faults.failed = false;
    faults.on = true;
    json_set_alloc_funcs(json_malloc, free);
    sumi_status status = work(s, err);
    json_set_alloc_funcs(__real_malloc, free);
    faults.on = false;
    return status;
}

/* Work fails at each place once; then it is done, or the run goes on, as if nothing had been. */
static void fail_each(stage *s, work_fn work, bool recovers, int least)
{
    sumi_error err = {""};
    int told = 0, tried = 0, each = test_count("SUMI_TEST_PLACES", 20);
    int from = test_count("SUMI_TEST_FIRST", 0);
    put_back(s);
    if (with_faults(s, work, 0, &err) != SUMI_OK)
        fail_msg("without a fault: %s", err.text);
    assert_true(faults.count - faults.known >= least);
    for (int i = faults.known + from; i < faults.count; i += each) {
        err.text[0] = '\0';
        put_back(s);
        sumi_status status = with_faults(s, work, faults.first[i], &err);
        /* A thread that reads ahead may take its turn at another time: then a call less is made. */
        if (!faults.failed) {
            assert_int_equal(status, SUMI_OK);
            continue;
        }
        assert_true(status == SUMI_OK || err.text[0] != '\0');
        told += status != SUMI_OK;
        tried++;
        if (recovers)
            expect_recovery(s, err.text);
        else if (with_faults(s, work, LONG_MAX, &err) != SUMI_OK)
            fail_msg("call %ld, and once more: %s", faults.first[i], err.text);
    }
    /* Some faults are got over: a hint, a cache, a file that is only looked at. */
    print_message("%d of %d places, %d of them told\n", tried, faults.count - faults.known, told);
    assert_true(tried > 0 && 3 * told >= tried);
    faults.known = faults.count;
}

/* What comes next has a turn at each of its places, whatever had one before. */
static void forget_places(void)
{
    faults.known = faults.count = 0;
}

static sumi_status begin(stage *s, sumi_error *err)
{
    return train(s, false, err);
}

static sumi_status go_on_with(stage *s, sumi_error *err)
{
    return train(s, true, err);
}

static void expect_now(stage *s)
{
    assert_ok(sumi_run_load(s->run, &s->expected, NULL, NULL));
    s->back = went_back_to(s);
}

static void test_begin_and_go_on(void **state)
{
    (void)state;
    stage s;
    open_stage(&s);
    s.config.snapshots = 2;
    s.bad = true;
    assert_ok(train(&s, false, NULL));
    char path[PATH_MAX];
    assert_true(sumi_is_file(join(path, s.run, "rollbacks.json")));
    assert_true(sumi_is_file(join(path, s.run, "memory.json")));
    assert_true(sumi_is_file(join(path, s.run, "skipped.txt")));
    expect_now(&s);
    forget_places();
    fail_each(&s, begin, true, 300);
    assert_ok(sumi_remove_tree(s.run, NULL));
    s.end = STOP_AT;
    assert_int_equal(train(&s, false, NULL), SUMI_CANCELLED);
    s.end = 0;
    leave_over(&s);
    keep_as_beginning(&s);
    forget_places();
    fail_each(&s, go_on_with, true, 300);
    close_stage(&s);
}

static void test_scores(void **state)
{
    (void)state;
    stage s;
    sumi_classifier_config shape = SUMI_CLASSIFIER_CONFIG_INIT;
    open_stage(&s);
    assert_ok(sumi_classify_random(&s.runtime, s.set, &shape, 1, &s.evaluator, NULL));
    sumi_dataset *test = make_small_set(SCORED);
    s.config.evaluator = s.evaluator;
    s.config.eval_test = test;
    s.config.eval_every = 1;
    s.config.eval_images = SCORED;
    s.config.grid = 0;
    assert_ok(train(&s, false, NULL));
    expect_now(&s);
    assert_ok(sumi_remove_tree(s.run, NULL));
    /* With one score that is read, and one that is missing. */
    s.end = STEPS - 1;
    assert_int_equal(train(&s, false, NULL), SUMI_CANCELLED);
    s.end = 0;
    keep_as_beginning(&s);
    fail_each(&s, go_on_with, true, 30);
    char *text;
    uint8_t *data;
    size_t size;
    char path[PATH_MAX];
    assert_ok(sumi_file_read(join(path, s.run, "eval.jsonl"), 1 << 20, &data, &size, NULL));
    text = (char *)data;
    assert_non_null(strstr(text, "{\"step\":3,"));
    assert_non_null(strstr(text, "{\"step\":6,"));
    free(data);
    sumi_data_free(test);
    close_stage(&s);
}

/* A run whose steps are done looks for the best way to sample it, and tells its labels' names. */
static void test_search(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    stage s;
    open_stage(&s);
    s.search = true;
    sumi_data_free(s.set);
    s.set = make_small_set(SEARCHED);
    assert_ok(sumi_data_set_classes(s.set, names, 10, NULL));
    s.trainer.batch = SEARCHED;
    s.trainer.power_averages[0] = 0;
    s.config.steps = SEARCHED_STEPS;
    s.config.checkpoint_every = 0;
    s.config.grid = 0;
    s.config.tune = true;
    assert_ok(train(&s, false, NULL));
    char path[PATH_MAX];
    assert_true(sumi_is_file(join(path, s.run, "tuning.json")));
    expect_now(&s);
    assert_ok(sumi_remove_tree(s.run, NULL));
    s.end = SEARCHED_STEPS;
    assert_int_equal(train(&s, false, NULL), SUMI_CANCELLED);
    s.end = 0;
    keep_as_beginning(&s);
    fail_each(&s, go_on_with, true, 30);
    assert_true(sumi_is_file(join(path, s.run, "sampling.json")));
    close_stage(&s);
}

/* ---- What is made of a run ------------------------------------------------------------------- */

static sumi_status verify(stage *s, sumi_error *err)
{
    sumi_verify_t result = {.size = sizeof result};
    bool on = faults.on;
    faults.on = false;
    sumi_models_free(s->model);
    s->model = new_model(77);
    s->config.resume = false;
    faults.on = on;
    sumi_status status = sumi_run_verify(&s->runtime, s->model, s->set, &s->config, &result, err);
    sumi_runtime_forget(&s->runtime, s->model->id);
    if (status == SUMI_OK && !faults.failed)
        assert_true(result.same);
    return status;
}

static sumi_status average(stage *s, sumi_error *err)
{
    sumi_model *model = NULL;
    sumi_status status = sumi_run_average(s->run, .07, &model, err);
    sumi_models_free(model);
    return status;
}

static sumi_status load_and_set(stage *s, sumi_error *err)
{
    sumi_sample_config way = SUMI_SAMPLE_CONFIG_INIT;
    sumi_model *model = NULL;
    way.solver = "ddim";
    way.steps = 4;
    json_t *sampling = sumi_sampling_json(&way);
    sumi_status status = sampling ? sumi_run_save_sampling(s->run, sampling, err)
                                  : sumi_fail_memory(err, "sampling", 0);
    json_decref(sampling);
    if (status == SUMI_OK)
        status = sumi_run_load(s->run, &model, NULL, err);
    sumi_models_free(model);
    return status;
}

static void test_what_is_made_of_a_run(void **state)
{
    (void)state;
    stage s;
    open_stage(&s);
    s.config.snapshots = 4;
    s.bad = true;
    assert_ok(train(&s, false, NULL));
    keep_as_beginning(&s);
    static const work_fn works[] = {verify, average, load_and_set};
    for (int i = 0; i < 3; i++) {
        forget_places();
        fail_each(&s, works[i], false, 20);
    }
    close_stage(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begin_and_go_on),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_what_is_made_of_a_run),
    };
    void *frames[1];
    backtrace(frames, 1); /* loads what it needs */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
