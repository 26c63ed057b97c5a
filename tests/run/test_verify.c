/* Replaying steps of a run: what is the same, what is not, and what cannot be. */
#include "run_fixture.h"

/* Into a model of other weights: the checkpoint brings the run's. */
static sumi_status verify_into(fixture *f, sumi_model *model, sumi_verify_t *result,
                               sumi_error *err)
{
    sumi_models_free(f->model);
    f->model = model;
    *result = (sumi_verify_t){.size = sizeof *result};
    return sumi_run_verify(&f->runtime, f->model, f->set, &f->config, result, err);
}

static sumi_status verify(fixture *f, sumi_verify_t *result, sumi_error *err)
{
    return verify_into(f, make_model(77), result, err);
}

static int reads; /* of ledgers */

static void count_read(const sumi_ledger *ledger, int steps, sumi_entry *out)
{
    reads++;
    sumi_backend_at(0)->ledger_read(ledger, steps, out);
}

/* A backend that is given several steps at once is not waited for after each. */
static void test_steps_ahead(void **state)
{
    (void)state;
    enum { STEPS = 3, AHEAD = 2 };
    fixture f;
    sumi_verify_t result;
    sumi_error err = {""};
    open_fixture(&f, 1, .9f);
    f.config.keep_last = 3;
    f.config.epochs = 4;
    assert_ok(run(&f, NULL));
    sumi_backend backend = *f.runtime.backend;
    const sumi_backend *usual = f.runtime.backend;
    backend.ledger_read = count_read;
    for (int i = 0; i < 2; i++) {
        reads = 0;
        backend.ahead = i ? AHEAD : 1;
        sumi_runtime_forget(&f.runtime, f.model->id);
        f.runtime.backend = &backend;
        assert_ok(verify(&f, &result, &err));
        assert_true(result.same && result.loss_step == 0 && !result.differs[0]);
        assert_int_equal(result.last - result.first, STEPS);
        assert_int_equal(reads, i ? 2 : 2 * STEPS); /* one by one, a step is looked at twice */
        f.runtime.backend = usual;
    }
    close_fixture(&f);
}

static void test_the_same(void **state)
{
    (void)state;
    fixture f;
    sumi_verify_t result;
    sumi_error err = {""};
    char path[PATH_MAX];
    open_fixture(&f, 1, .9f);
    f.config.checkpoint_every = 2;
    f.config.keep_last = 3;
    f.config.epochs = 4;
    assert_ok(run(&f, NULL));
    sumi_runtime_free(&f.runtime);
    make_runtime(&f.runtime, 3);
    char *log = read_text(&f, "train.log");
    assert_ok(verify(&f, &result, &err));
    assert_true(result.same && result.first == 10 && result.last == 12);
    assert_true(result.loss_step == 0 && !result.differs[0] && !result.note[0]);
    char *after = read_text(&f, "train.log");
    assert_string_equal(log, after); /* nothing is written */
    free(log);
    free(after);
    /* Other settings are not the run's. */
    f.config.seed++;
    assert_int_equal(verify(&f, &result, &err), SUMI_EINVAL);
    f.config.seed--;
    assert_ok(sumi_remove_tree(join(path, f.run, "checkpoints/step_8"), NULL));
    assert_ok(sumi_remove_tree(join(path, f.run, "checkpoints/step_10"), NULL));
    char *best = read_text(&f, "best");
    if (strcmp(best, "step_12\n") == 0) {
        assert_int_equal(verify(&f, &result, &err), SUMI_EIO);
        assert_says(err, "two checkpoints are needed");
    }
    free(best);
    close_fixture(&f);
}

/* Images that something was made of, and a network that is told what: replayed, it is told too. */
static void test_the_same_of_augmented(void **state)
{
    (void)state;
    fixture f;
    sumi_verify_t result;
    open_fixture(&f, 1, 0);
    sumi_models_free(f.model);
    f.model = make_told_unet(0, SUMI_AUGMENT_NUMBERS);
    f.config.augment = 1;
    f.config.flip = true;
    f.config.learning_rate = 1e-2f;
    f.config.epochs = 4;
    assert_ok(run(&f, NULL));
    assert_ok(verify_into(&f, make_told_unet(0, SUMI_AUGMENT_NUMBERS), &result, NULL));
    assert_true(result.same && result.last == 4 * PER_EPOCH && result.loss_step == 0);
    close_fixture(&f);
}

static void test_not_the_same(void **state)
{
    (void)state;
    fixture f, other;
    sumi_verify_t result;
    char path[PATH_MAX], command[3 * PATH_MAX];
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    assert_ok(run(&f, NULL));
    /* Of a run with other weights at the start, one checkpoint among these. */
    open_fixture(&other, 1, 0);
    sumi_models_free(other.model);
    other.model = make_model(5);
    other.config.epochs = 1;
    assert_ok(run(&other, NULL));
    snprintf(command, sizeof command, "cp -r '%s/checkpoints/step_3/.' '%s/checkpoints/step_3'",
             other.run, f.run);
    assert_int_equal(system(command), 0);
    assert_ok(verify(&f, &result, NULL));
    assert_true(!result.same && result.loss_step == 0);
    assert_string_equal(result.differs, "weights");
    /* And its losses. */
    snprintf(command, sizeof command, "cp '%s/metrics.jsonl' '%s'", other.run, f.run);
    assert_int_equal(system(command), 0);
    assert_ok(verify(&f, &result, NULL));
    assert_true(!result.same && result.loss_step == 1);
    /* A damaged one is no measure. */
    assert_int_equal(truncate(join(path, f.run, "checkpoints/step_3/optim.safetensors"), 100), 0);
    assert_int_equal(verify(&f, &result, NULL), SUMI_EFORMAT);
    close_fixture(&f);
    close_fixture(&other);
}

static int stop_soon(void *user, const sumi_progress *p)
{
    (void)user;
    return p->phase == SUMI_PHASE_TRAIN && p->step == 1;
}

static int stop_at_the_end(void *user, const sumi_progress *p)
{
    (void)user;
    return p->phase == SUMI_PHASE_TRAIN && p->step == PER_EPOCH;
}

/* What is asked for cannot be done, or is not waited for; nothing of the run changes. */
static void test_refused_and_stopped(void **state)
{
    (void)state;
    fixture f;
    sumi_verify_t result;
    sumi_error err = {""};
    char path[PATH_MAX];
    sumi_trainer_config trainer = SUMI_TRAINER_CONFIG_INIT;
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    assert_ok(run(&f, NULL));
    result = (sumi_verify_t){.size = 1};
    assert_int_equal(sumi_run_verify(&f.runtime, f.model, f.set, &f.config, &result, &err),
                     SUMI_EINVAL);
    assert_says(err, "result's size is 1, not ");
    trainer.batch = BATCH;
    trainer.transport = SUMI_PRECISION_BF16;
    f.config.trainer = &trainer;
    assert_int_equal(verify(&f, &result, &err), SUMI_EUNSUPPORTED);
    assert_says(err, "cannot be replayed in one process");
    f.config.trainer = NULL;
    f.config.progress = stop_soon;
    assert_int_equal(verify(&f, &result, &err), SUMI_CANCELLED);
    assert_string_equal(err.text, "stopped at step 1");
    f.config.progress = watch;
    /* Without lines of metrics, the weights at the end still tell. */
    assert_ok(sumi_file_save(join(path, f.run, "metrics.jsonl"), "", 0, NULL));
    assert_ok(verify(&f, &result, &err));
    assert_true(result.same);
    /* Where it was done is not known, wholly or in part. */
    static const char *const env[] = {"{}", "{\"version\": \"9.9\"}", "[]", "{"};
    static const char other[] = "{\"version\": \"" SUMI_VERSION "\", \"compiler\": \"cc 1\"}";
    for (int i = 0; i < 4; i++) {
        assert_ok(sumi_file_save(join(path, f.run, "env.json"), env[i], strlen(env[i]), NULL));
        assert_ok(verify(&f, &result, &err));
        assert_true(result.same && !result.note[0]);
    }
    assert_ok(sumi_file_save(join(path, f.run, "env.json"), other, sizeof other - 1, NULL));
    assert_ok(verify(&f, &result, &err));
    assert_non_null(strstr(result.note, "(cc 1)"));
    /* Stopped when all is done, it has not been. */
    f.config.progress = stop_at_the_end;
    assert_ok(verify(&f, &result, &err));
    f.config.progress = watch;
    assert_ok(sumi_remove_tree(join(path, f.run, "checkpoints/step_0"), NULL));
    assert_int_equal(verify(&f, &result, &err), SUMI_EIO);
    assert_says(err, "two checkpoints are needed, there is 1;");
    assert_ok(sumi_remove_tree(join(path, f.run, "checkpoints"), NULL));
    assert_int_equal(verify(&f, &result, &err), SUMI_EIO);
    assert_says(err, "two checkpoints are needed, there are 0;");
    char name[PATH_MAX];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    f.config.out_dir = name;
    assert_int_equal(verify(&f, &result, &err), SUMI_EINVAL);
    assert_says(err, "what is in it has longer ones");
    f.config.out_dir = NULL;
    assert_int_equal(verify(&f, &result, &err), SUMI_EINVAL);
    assert_says(err, "verify needs out_dir");
    close_fixture(&f);
}

/* env.json says that another version did it. */
static void set_version(const fixture *f)
{
    char path[PATH_MAX];
    json_t *env = read_json(f, "env.json");
    assert_int_equal(json_object_set_new(env, "version", json_string("9.9")), 0);
    assert_ok(sumi_json_write(join(path, f->run, "env.json"), env, NULL));
    json_decref(env);
}

static void test_what_cannot_be(void **state)
{
    (void)state;
    fixture f;
    sumi_verify_t result;
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    assert_ok(run(&f, NULL));
    set_version(&f);
    assert_ok(verify(&f, &result, NULL));
    assert_true(result.same && strstr(result.note, "another build may have other bits") != NULL);
    if (strcmp(f.runtime.backend->isa(f.runtime.device), "generic") != 0) {
        sumi_runtime_free(&f.runtime);
        assert_ok(sumi_runtime_init(&f.runtime, 1, "generic", NULL));
        assert_ok(verify(&f, &result, NULL));
        assert_non_null(strstr(result.note, "and this is generic, which round differently"));
    }
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_ahead),           cmocka_unit_test(test_the_same),
        cmocka_unit_test(test_the_same_of_augmented), cmocka_unit_test(test_not_the_same),
        cmocka_unit_test(test_what_cannot_be),        cmocka_unit_test(test_refused_and_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
