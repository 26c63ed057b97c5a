/*
 * A run of several ranks, here threads of one process: the bits and the files of one process, and
 * where one rank fails, is stopped or has other settings, all know and say the same.
 */
#include "meeting.h"
#include "run_fixture.h"

enum { RANKS = 3, GROUPS = 8 };

typedef struct {
    attendant *me; /* NULL: alone */
    fixture run;
    sumi_trainer_config settings;
    sumi_status status;
    sumi_error err;
} member;

static void open_member(member *m, attendant *me)
{
    memset(m, 0, sizeof *m);
    open_fixture(&m->run, 1, 0);
    m->me = me;
    m->settings = (sumi_trainer_config)SUMI_TRAINER_CONFIG_INIT;
    m->settings.batch = BATCH;
    m->settings.seed = 4;
    m->settings.groups = GROUPS;
    m->settings.averages[0] = .9f;
    m->run.config.grid = 0;
    m->run.config.checkpoint_every = 2;
}

static void *train(void *arg)
{
    member *m = arg;
    sumi_ranks ranks = SUMI_RANKS_INIT;
    if (m->me) {
        ranks = meeting_ranks(m->me);
        m->run.runtime.ranks = &ranks;
    }
    m->run.config.trainer = &m->settings;
    m->status = run(&m->run, &m->err);
    m->run.runtime.ranks = NULL;
    return NULL;
}

static void open_all(member *all, attendant *people, int count)
{
    for (int r = 0; r < count; r++) {
        open_member(&all[r], &people[r]);
        if (r == 0)
            continue;
        /* Nobody but the first sees the folder, or is watched. */
        all[r].run.config.out_dir = "/nowhere/run";
        all[r].run.config.progress = NULL;
    }
}

static void train_all(member *all, attendant *people, int count)
{
    assert_true(meeting_hold(count, people, train, all, sizeof *all) > 0);
}

static void close_all(member *all, int count)
{
    for (int r = 0; r < count; r++)
        close_fixture(&all[r].run);
}

static void assert_all(const member *all, int count, sumi_status status, const char *says)
{
    for (int r = 0; r < count; r++) {
        if (all[r].status != status || !strstr(all[r].err.text, says))
            fail_msg("rank %d: status %d, %s", r, all[r].status, all[r].err.text);
    }
}

/* Losses, models and the newest checkpoint's state of the optimiser. */
static void assert_same_run(const fixture *a, const fixture *b, int steps)
{
    double x[64], y[64];
    char name[64];
    assert_int_equal(read_losses(a, x, 64), steps);
    assert_int_equal(read_losses(b, y, 64), steps);
    assert_memory_equal(x, y, (size_t)steps * sizeof *x);
    assert_same_model(a->model, b->model);
    snprintf(name, sizeof name, "checkpoints/step_%d/optim.safetensors", steps);
    uint8_t *data[2];
    size_t size[2];
    char path[PATH_MAX];
    assert_ok(sumi_file_read(join(path, a->run, name), 1 << 24, &data[0], &size[0], NULL));
    assert_ok(sumi_file_read(join(path, b->run, name), 1 << 24, &data[1], &size[1], NULL));
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(data[0], data[1], size[0]);
    free(data[0]);
    free(data[1]);
}

/* Also where nobody says how many groups there are: 8. */
static void test_one_run(void **state)
{
    (void)state;
    attendant people[MEETING_MAX];
    member alone, all[RANKS];
    open_member(&alone, NULL);
    train(&alone);
    assert_ok(alone.status);
    for (int said = 0; said < 2; said++) {
        open_all(all, people, RANKS);
        for (int r = 0; r < RANKS && !said; r++)
            all[r].settings.groups = 0;
        train_all(all, people, RANKS);
        assert_all(all, RANKS, SUMI_OK, "");
        assert_same_run(&alone.run, &all[0].run, 2 * PER_EPOCH);
        for (int r = 1; r < RANKS; r++) {
            assert_same_model(all[r].run.model, alone.run.model);
            assert_false(has(&all[r].run, "config.json"));
        }
        assert_contains(&all[0].run, "config.json", "\"groups\": 8");
        assert_contains(&all[0].run, "metrics.jsonl", "\"waiting\": ");
        assert_int_equal(all[0].run.trains, alone.run.trains);
        close_all(all, RANKS);
    }
    close_all(&alone, 1);
}

/* Stopped on three ranks by the first one's caller, gone on with by two, and ended by one. */
static void test_resumes_on_other_numbers(void **state)
{
    (void)state;
    attendant people[MEETING_MAX];
    member alone, all[RANKS];
    open_member(&alone, NULL);
    train(&alone);
    open_all(all, people, RANKS);
    all[0].run.stop_phase = SUMI_PHASE_TRAIN;
    all[0].run.stop_step = 2;
    train_all(all, people, RANKS);
    assert_all(all, RANKS, SUMI_CANCELLED, "stopped after step 2; the run is saved");
    for (int r = 0; r < 2; r++)
        go_on(&all[r].run);
    all[0].run.stop_step = 4;
    train_all(all, people, 2);
    assert_all(all, 2, SUMI_CANCELLED, "stopped after step 4");
    go_on(&all[0].run);
    all[0].me = NULL;
    train(&all[0]);
    assert_ok(all[0].status);
    assert_same_run(&alone.run, &all[0].run, 2 * PER_EPOCH);
    close_all(all, RANKS);
    close_all(&alone, 1);
}

static void test_any_rank_may_stop(void **state)
{
    (void)state;
    attendant people[MEETING_MAX];
    member all[RANKS];
    open_all(all, people, RANKS);
    atomic_store(&all[2].run.runtime.cancel, 1);
    train_all(all, people, RANKS);
    assert_all(all, RANKS, SUMI_CANCELLED, "stopped after step 0");
    assert_true(has(&all[0].run, "checkpoints/step_0"));
    close_all(all, RANKS);
}

static void check_refused(member *all, attendant *people, const char *says)
{
    train_all(all, people, RANKS);
    assert_all(all, RANKS, SUMI_EINVAL, says);
    assert_false(has(&all[0].run, "config.json"));
    close_all(all, RANKS);
    open_all(all, people, RANKS);
}

static void test_refuses_other_settings(void **state)
{
    (void)state;
    attendant people[MEETING_MAX];
    member all[RANKS];
    open_all(all, people, RANKS);
    all[2].settings.learning_rate = .002f;
    check_refused(all, people, "rank 2: train learning_rate is 0.002 here and 0.001 at rank 0");
    all[1].run.set->count--;
    check_refused(all, people, "rank 1: data ");
    all[1].run.config.steps = -1;
    check_refused(all, people, "rank 1: epochs is 2, steps -1");
    for (int r = 0; r < RANKS; r++)
        all[r].settings.batch = all[r].settings.groups = 2;
    check_refused(all, people, "batch is 2, and there are 3 ranks");
    close_all(all, RANKS);
}

/* The folder of the first is none. */
static void test_fails_with_the_first(void **state)
{
    (void)state;
    attendant people[MEETING_MAX];
    member all[RANKS];
    open_all(all, people, RANKS);
    all[0].run.config.out_dir = "/dev/null/run";
    train_all(all, people, RANKS);
    assert_int_equal(all[0].status, SUMI_EIO);
    assert_all(all, RANKS, SUMI_EIO, all[0].err.text);
    assert_says(all[0].err, "/dev/null");
    close_all(all, RANKS);
}

/* After two steps there is no folder for checkpoints any more. */
static int lose_folder(void *user, const sumi_progress *p)
{
    fixture *f = user;
    char from[PATH_MAX], to[PATH_MAX];
    if (p->phase != SUMI_PHASE_TRAIN || p->step != 3)
        return 0;
    join(from, f->run, "checkpoints");
    join(to, f->folder, "elsewhere");
    assert_int_equal(rename(from, to), 0);
    FILE *file = fopen(from, "w");
    assert_non_null(file);
    fclose(file);
    return 0;
}

static void test_fails_with_the_disk(void **state)
{
    (void)state;
    attendant people[MEETING_MAX];
    member all[RANKS];
    open_all(all, people, RANKS);
    all[0].run.config.progress = lose_folder;
    train_all(all, people, RANKS);
    assert_true(all[0].status != SUMI_OK);
    assert_all(all, RANKS, all[0].status, all[0].err.text);
    assert_says(all[0].err, "checkpoints");
    close_all(all, RANKS);
}

/* After step 3 a weight of the first rank is huge, once. */
static int poison(void *user, const sumi_progress *p)
{
    fixture *f = user;
    if (p->phase == SUMI_PHASE_TRAIN && p->step == 3 && f->poison_step > 0) {
        f->model->graph.params.values[f->model->graph.params.value_count - 1] = 3e38f;
        f->poison_step = 0;
    }
    return 0;
}

static void test_goes_back_together(void **state)
{
    (void)state;
    attendant people[MEETING_MAX];
    member alone, all[RANKS];
    open_member(&alone, NULL);
    open_all(all, people, RANKS);
    member *both[] = {&alone, all};
    for (int i = 0; i < 2; i++) {
        both[i]->run.config.progress = poison;
        both[i]->run.poison_step = 1;
        both[i]->run.config.keep_last = 4;
    }
    alone.run.config.on_nan = SUMI_ON_NAN_ROLLBACK;
    for (int r = 0; r < RANKS; r++) {
        all[r].run.config.on_nan = SUMI_ON_NAN_ROLLBACK;
        all[r].run.config.keep_last = 4;
    }
    train(&alone);
    assert_ok(alone.status);
    train_all(all, people, RANKS);
    assert_all(all, RANKS, SUMI_OK, "");
    assert_contains(&all[0].run, "rollbacks.json", "\"to\": ");
    assert_same_run(&alone.run, &all[0].run, 2 * PER_EPOCH);
    for (int r = 1; r < RANKS; r++)
        assert_same_model(all[r].run.model, alone.run.model);
    close_all(all, RANKS);
    close_all(&alone, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_run),
        cmocka_unit_test(test_resumes_on_other_numbers),
        cmocka_unit_test(test_any_rank_may_stop),
        cmocka_unit_test(test_refuses_other_settings),
        cmocka_unit_test(test_fails_with_the_first),
        cmocka_unit_test(test_fails_with_the_disk),
        cmocka_unit_test(test_goes_back_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
