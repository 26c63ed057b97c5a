/* Numbers that are none, in loss, gradients, data and what would be written: a run stops or goes
 * back, nothing of them reaches a file, and a resumed run has the bits of one that was not. */
#include "run_fixture.h"

#include <math.h>

#include "train/classify.h"

/* A backend whose gradients fail at steps that a test chooses. */
typedef struct {
    fixture run;
    sumi_backend backend;
    int steps[4];   /* at which something is not finite, in turn; 0: none */
    int next, hits; /* of these */
    int gathered;   /* batches, of data that are kept */
    int always;     /* from this step on, every time; 0: none */
    bool lost;      /* the device answers no more */
    bool gradient;  /* else the loss */
    double factor;  /* of the loss of step `jump` */
    int jump, jumps;
    int64_t stop_after; /* stop at the note, or at this step after it */
    bool noted, failed;
    int64_t at; /* the step that was begun */
    char note[512];
} faulty;

static faulty *current; /* the backend's functions know no user */
static int ahead;       /* of the backend */
static const sumi_backend *usual;

static void begin(sumi_ledger *ledger, int step)
{
    current->at = current->run.model->info.steps + step + 1;
    usual->ledger_begin(ledger, step);
}

/* The one step is what a jump of the loss looks like, and what a loss that is none. */
static void take(sumi_ledger *ledger, sumi_network *network, double share, const float *gradients,
                 size_t count)
{
    faulty *f = current;
    bool bad = f->next < 4 && f->steps[f->next] > 0 &&
               (f->run.stop_step < 0 || f->at == f->steps[f->next]);
    if (f->jump && f->at == f->jump)
        share *= f->factor;
    /* Among others it is found, and then looked at by itself. */
    if (bad && ++f->hits % (f->backend.ahead > 1 ? 2 : 1) == 0)
        f->next++;
    bool always = f->always && f->at >= f->always;
    f->failed = always || (bad && !f->gradient);
    if (f->failed)
        share = NAN;
    for (size_t i = 0; bad && f->gradient && i < 9; i++)
        ((float *)gradients)[i] = INFINITY; /* the first layer's; the trainer's own memory */
    usual->ledger_take(ledger, network, share, gradients, count);
}

static double loss_of(const sumi_network *network)
{
    double loss = usual->loss(network);
    return current->failed ? NAN : loss;
}

static sumi_status status_of(const sumi_device *device, sumi_error *err)
{
    (void)device;
    return current->lost ? sumi_fail(err, SUMI_EIO, "the device is gone") : SUMI_OK;
}

static int watch_notes(void *user, const sumi_progress *p)
{
    faulty *f = user;
    int stop = watch(&f->run, p);
    if (p->phase == SUMI_PHASE_NOTE) {
        f->noted = true;
        f->jumps += strstr(p->note, "jumped") != NULL;
        snprintf(f->note, sizeof f->note, "%s", p->note);
    }
    bool late = f->stop_after > 0 && f->noted && p->step >= f->stop_after;
    return stop || late;
}

static void gather(sumi_device *device, const sumi_gathering *work)
{
    current->gathered++;
    usual->gather(device, work);
}

/* Enough for the data, which are then kept on the device. */
static uint64_t room(const sumi_device *device)
{
    (void)device;
    return 1 << 20;
}

/* Images that are drawn are nobody's to keep. */
static void hold_images(sumi_dataset *set)
{
    size_t bytes = (size_t)(set->height * set->width * set->channels);
    uint8_t *pixels = malloc((size_t)set->count * bytes);
    assert_non_null(pixels);
    for (int64_t i = 0; i < set->count; i++)
        sumi_data_read_bytes(set, i, pixels + (size_t)i * bytes);
    set->pixels = pixels;
}

static void open_faulty(faulty *f)
{
    memset(f, 0, sizeof *f);
    open_fixture(&f->run, 1, .9f);
    hold_images(f->run.set);
    f->run.config.epochs = 4;
    f->run.config.grid = 0;
    f->run.config.checkpoint_every = 2;
    f->run.config.keep_last = 4;
    f->run.config.progress = watch_notes;
    f->run.config.user = f;
    usual = f->run.runtime.backend;
    f->backend = *usual;
    f->backend.status = status_of;
    f->backend.ahead = ahead;
    f->backend.spare = ahead > 1 ? room : usual->spare;
    f->backend.gather = gather;
    f->backend.ledger_begin = begin;
    f->backend.ledger_take = take;
    f->backend.loss = loss_of;
    f->run.runtime.backend = &f->backend;
    current = f;
}

static void close_faulty(faulty *f)
{
    f->run.runtime.backend = usual;
    close_fixture(&f->run);
}

static const char *member_text(const json_t *json, const char *key)
{
    return json_string_value(json_object_get(json, key));
}

static void check_stop(bool gradient)
{
    faulty f, straight;
    sumi_error err = {""};
    sumi_model *model;
    open_faulty(&straight);
    straight.backend.ahead = 1;
    assert_ok(run(&straight.run, NULL));
    open_faulty(&f);
    f.steps[0] = 6;
    f.gradient = gradient;
    assert_int_equal(run(&f.run, &err), SUMI_EINVAL);
    assert_says(err, "step 6: the loss is ");
    assert_int_equal(f.run.model->info.steps, 5);
    assert_int_equal(f.gathered, ahead > 1 ? 7 : 0); /* the sixth twice */
    json_t *report = read_json(&f.run, "nan_report.json");
    assert_int_equal(json_integer_value(json_object_get(report, "step")), 6);
    assert_string_equal(member_text(report, "what"), gradient ? "gradient" : "loss");
    const char *layer = member_text(report, "layer");
    assert_int_equal(layer != NULL, gradient);
    if (layer)
        assert_string_equal(layer, f.run.model->graph.params.items[0].name);
    assert_string_equal(member_text(report, "message"), err.text);
    json_decref(report);
    /* The last good state is there, and goes on as if nothing had been. */
    assert_contains(&f.run, "latest", "step_5\n");
    assert_ok(sumi_run_load(f.run.run, &model, NULL, NULL));
    assert_int_equal(model->info.steps, 5);
    sumi_models_free(model);
    go_on(&f.run);
    assert_ok(run(&f.run, NULL));
    assert_same_model(straight.run.model, f.run.model);
    close_faulty(&f);
    close_faulty(&straight);
}

static void test_stops_before_the_update(void **state)
{
    (void)state;
    check_stop(false);
    check_stop(true);
}

/* The rates in metrics.jsonl, whose steps must be 1, 2, 3, ... */
static int read_rates(const fixture *f, double *rates, int capacity)
{
    char *text = read_text(f, "metrics.jsonl"), *rest = text;
    int count = 0;
    for (char *line; (line = strtok_r(rest, "\n", &rest)) && count < capacity; count++) {
        json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_int_equal(json_integer_value(json_object_get(json, "step")), count + 1);
        rates[count] = json_number_value(json_object_get(json, "lr")) * 1000;
        json_decref(json);
    }
    free(text);
    return count;
}

static void expect_rates(const fixture *f, const double *expected)
{
    double rates[16];
    assert_int_equal(read_rates(f, rates, 16), 12);
    for (int i = 0; i < 12; i++)
        assert_true(fabs(rates[i] - expected[i]) < 1e-6);
}

static void test_goes_back(void **state)
{
    (void)state;
    static const double once[] = {1, 1, 1, 1, .5, .5, .5, .5, .5, .5, .5, .5};
    faulty f;
    double losses[16];
    open_faulty(&f);
    f.backend.ahead = 1;
    f.run.config.on_nan = SUMI_ON_NAN_ROLLBACK;
    f.steps[0] = 6;
    assert_ok(run(&f.run, NULL));
    expect_rates(&f.run, once);
    assert_int_equal(read_losses(&f.run, losses, 16), 12);
    assert_int_equal(count_lines(&f.run, "metrics.csv"), 5);
    assert_contains(&f.run, "train.log",
                    "back to step 4, from there on the learning rate is 0.0005");
    assert_contains(&f.run, "metrics.jsonl", "\"rollbacks\": 1");
    assert_non_null(strstr(f.note, "back to step 4"));
    json_t *list = read_json(&f.run, "rollbacks.json");
    assert_int_equal(json_array_size(list), 1);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "failed")), 6);
    json_decref(list);

    /* Stopped as soon as the decision is made, or some steps later, and gone on with: the same. */
    for (int stop = 4; stop <= 8; stop += 2) {
        faulty cut;
        open_faulty(&cut);
        cut.run.config.on_nan = SUMI_ON_NAN_ROLLBACK;
        cut.steps[0] = 6;
        cut.stop_after = stop;
        assert_int_equal(run(&cut.run, NULL), SUMI_CANCELLED);
        cut.stop_after = 0;
        go_on(&cut.run);
        assert_ok(run(&cut.run, NULL));
        expect_rates(&cut.run, once);
        assert_same_model(f.run.model, cut.run.model);
        close_faulty(&cut);
    }
    close_faulty(&f);
}

/* A checkpoint whose very next step fails is of no use: the one before it is taken. */
static void test_goes_back_further(void **state)
{
    (void)state;
    static const double twice[] = {1, 1, 1, .25, .25, .25, .25, .25, .25, .25, .25, .25};
    faulty f;
    sumi_error err = {""};
    open_faulty(&f);
    f.run.config.on_nan = SUMI_ON_NAN_ROLLBACK;
    f.steps[0] = f.steps[1] = 5;
    assert_ok(run(&f.run, NULL));
    expect_rates(&f.run, twice);
    close_faulty(&f);

    open_faulty(&f);
    f.run.config.on_nan = SUMI_ON_NAN_ROLLBACK;
    f.steps[0] = 1; /* there is nothing before the beginning */
    assert_int_equal(run(&f.run, &err), SUMI_EINVAL);
    assert_says(err, "step 1: the loss is");
    assert_says(err, "no earlier checkpoint");
    f.run.config.out_dir = NULL;
    assert_int_equal(run(&f.run, &err), SUMI_EINVAL);
    assert_says(err, "needs out_dir");
    close_faulty(&f);
}

/* A step that fails each time, whatever the rate. */
static void test_gives_up(void **state)
{
    (void)state;
    faulty f;
    sumi_error err = {""};
    open_faulty(&f);
    f.run.config.on_nan = SUMI_ON_NAN_ROLLBACK;
    f.run.config.checkpoint_every = 1;
    f.always = 6;
    assert_int_equal(run(&f.run, &err), SUMI_EINVAL);
    assert_says(err, "step 6: the loss is ");
    assert_says(err, "(and the run has gone back 16 times)");
    json_t *list = read_json(&f.run, "rollbacks.json");
    assert_int_equal(json_array_size(list), 16);
    json_decref(list);
    close_faulty(&f);
}

/* Without a folder there is nothing to go back to and nothing to write into, and a jump of the loss
 * is told all the same. */
static void test_without_a_folder(void **state)
{
    (void)state;
    faulty f;
    sumi_error err = {""};
    open_faulty(&f);
    f.run.config.out_dir = NULL;
    f.run.config.epochs = 20;
    f.run.config.checkpoint_every = 0;
    f.jump = 50;
    f.factor = 100;
    assert_ok(run(&f.run, NULL));
    assert_int_equal(f.jumps, 1);
    f.steps[0] = (int)f.run.model->info.steps + 2;
    assert_int_equal(run(&f.run, &err), SUMI_EINVAL);
    assert_says(err, "the loss is ");
    assert_false(sumi_is_dir(f.run.run));
    close_faulty(&f);
}

/* What a step says that fails for another reason: the run keeps what it has. */
static int lose_device(void *user, const sumi_progress *p)
{
    faulty *f = user;
    f->lost |= p->phase == SUMI_PHASE_TRAIN && p->step == 5;
    return watch_notes(user, p);
}

static void test_a_lost_device(void **state)
{
    (void)state;
    faulty f;
    sumi_error err = {""};
    open_faulty(&f);
    f.run.config.progress = lose_device;
    assert_int_equal(run(&f.run, &err), SUMI_EIO);
    assert_string_equal(err.text, "the device is gone");
    assert_false(has(&f.run, "nan_report.json"));
    assert_contains(&f.run, "latest", "step_4\n");
    assert_contains(&f.run, "train.log", "the device is gone");
    f.lost = false;
    f.run.config.progress = watch_notes;
    go_on(&f.run);
    assert_ok(run(&f.run, NULL));
    close_faulty(&f);
}

/* A loss so large that four decimals say nothing. And no labels. */
static void test_a_huge_loss(void **state)
{
    (void)state;
    faulty f;
    open_faulty(&f);
    free(f.run.set->labels);
    f.run.set->labels = NULL;
    assert_ok(sumi_data_set_classes(f.run.set, NULL, 0, NULL));
    f.run.config.epochs = 1;
    f.jump = 2;
    f.factor = 1e9;
    assert_ok(run(&f.run, NULL));
    assert_contains(&f.run, "train.log", "Epoch 0 | Loss: ");
    assert_contains(&f.run, "train.log", "e+0");
    go_on(&f.run);
    f.run.config.epochs = 2;
    f.run.poison_step = 4;
    assert_int_equal(run(&f.run, NULL), SUMI_EINVAL);
    json_t *report = read_json(&f.run, "nan_report.json");
    const json_t *image = json_object_get(report, "image");
    assert_true(json_is_null(image) || !json_object_get(image, "label"));
    json_decref(report);
    close_faulty(&f);
}

static void test_a_jump_is_told(void **state)
{
    (void)state;
    faulty f;
    open_faulty(&f);
    f.run.config.epochs = 20;
    f.run.config.checkpoint_every = 0;
    f.jump = 50;
    f.factor = 100;
    assert_ok(run(&f.run, NULL));
    assert_int_equal(f.jumps, 1);
    assert_contains(&f.run, "train.log", "step 50: the loss jumped to ");
    close_faulty(&f);
}

/* What is not finite is named: the image of the batch, and what was about to be written. */
static void test_images_and_files(void **state)
{
    (void)state;
    enum { N = 4, PIXELS = 64 };
    sumi_runtime runtime;
    sumi_trainer *trainer;
    sumi_error err = {""};
    float images[N * PIXELS];
    char folder[PATH_MAX], path[PATH_MAX];
    make_runtime(&runtime, 1);
    make_folder(folder);
    sumi_model *model = make_model(3);
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    config.batch = N;
    config.height = config.width = 8;
    config.averages[0] = .9f;
    assert_ok(sumi_train_create(&runtime, model, &config, &trainer, NULL));
    sumi_batch batch = {.size = sizeof batch, .n = N, .h = 8, .w = 8, .x = images};
    for (int i = 0; i < N * PIXELS; i++)
        images[i] = (float)(i % 7) / 7;
    images[2 * PIXELS + 5] = NAN;
    assert_int_equal(sumi_train_step(trainer, &batch, NULL, &err), SUMI_EINVAL);
    assert_string_equal(trainer->not_finite.what, "image");
    assert_int_equal(trainer->not_finite.image, 2);
    images[2 * PIXELS + 5] = 1e38f; /* finite, but its loss is not */
    assert_int_equal(sumi_train_step(trainer, &batch, NULL, &err), SUMI_EINVAL);
    assert_int_equal(trainer->not_finite.image, 2);
    assert_string_equal(trainer->not_finite.what, "statistics");
    images[2 * PIXELS + 5] = .5f;
    assert_ok(sumi_train_step(trainer, &batch, NULL, &err));
    assert_null(trainer->not_finite.what);

    join(path, folder, "state");
    sumi_model *average = trainer->averages.model[0];
    float *places[] = {model->graph.params.values + 3, model->graph.params.statistics,
                       average->graph.params.values + 9, trainer->optimiser.state[0] + 2,
                       trainer->optimiser.state[1]};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        float before = *places[i];
        *places[i] = i % 2 ? INFINITY : NAN;
        assert_int_equal(sumi_checkpoint_save(trainer, NULL, path, &err), SUMI_EINVAL);
        assert_says(err, "is not finite: nothing of it is written");
        assert_false(sumi_is_dir(path));
        if (i < 2)
            assert_int_equal(sumi_models_save(join(path, folder, "m.pth"), model, NULL, &err),
                             SUMI_EINVAL);
        assert_false(sumi_is_file(path));
        join(path, folder, "state");
        *places[i] = before;
    }
    assert_ok(sumi_checkpoint_save(trainer, NULL, path, &err));
    sumi_train_free(trainer);
    sumi_models_free(model);
    sumi_runtime_free(&runtime);
    assert_ok(sumi_remove_tree(folder, NULL));
}

/* Scores of steps that come again are taken again, and none of them is told twice. */
static void test_scores_come_again(void **state)
{
    (void)state;
    enum { SCORED = 160, EPOCHS = 4 };
    faulty f;
    sumi_classifier_config shape = SUMI_CLASSIFIER_CONFIG_INIT;
    sumi_classifier *evaluator;
    open_faulty(&f);
    sumi_data_free_pixels(f.run.set);
    f.run.set->count = SCORED;
    hold_images(f.run.set);
    shape.shape = "random-conv";
    f.run.runtime.backend = usual;
    assert_ok(sumi_classify_train(&f.run.runtime, f.run.set, NULL, &shape, &evaluator, NULL));
    f.run.runtime.backend = &f.backend;
    f.run.config.batch = (SCORED + PER_EPOCH - 1) / PER_EPOCH;
    f.run.config.on_nan = SUMI_ON_NAN_ROLLBACK;
    f.run.config.eval_every = 1;
    f.run.config.eval_images = SCORED;
    f.run.config.evaluator = evaluator;
    f.steps[0] = 2 * PER_EPOCH + 1; /* the second epoch's score is there; back to step 4 */
    assert_ok(run(&f.run, NULL));
    assert_true(f.noted);
    assert_int_equal(f.run.scores, EPOCHS + 1);
    char *text = read_text(&f.run, "eval.jsonl"), *rest = text, best[32] = "";
    double least = INFINITY;
    int count = 0;
    for (char *line; (line = strtok_r(rest, "\n", &rest)); count++) {
        json_t *json = json_loads(line, 0, NULL);
        double frechet = json_number_value(json_object_get(json, "frechet"));
        int64_t step = json_integer_value(json_object_get(json, "step"));
        assert_int_equal(step, (count + 1) * PER_EPOCH);
        if (frechet < least)
            snprintf(best, sizeof best, "step_%lld\n", (long long)step);
        least = fmin(least, frechet);
        json_decref(json);
    }
    assert_int_equal(count, EPOCHS);
    assert_contains(&f.run, "best", best);
    free(text);
    sumi_classifier_free(evaluator);
    close_faulty(&f);
}

static int one_by_one(void **state)
{
    (void)state;
    ahead = 1;
    return 0;
}

static int several(void **state)
{
    (void)state;
    ahead = 5;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stops_before_the_update),
        cmocka_unit_test(test_goes_back),
        cmocka_unit_test(test_goes_back_further),
        cmocka_unit_test(test_a_jump_is_told),
        cmocka_unit_test(test_gives_up),
        cmocka_unit_test(test_without_a_folder),
        cmocka_unit_test(test_a_lost_device),
        cmocka_unit_test(test_a_huge_loss),
        cmocka_unit_test(test_images_and_files),
        cmocka_unit_test(test_scores_come_again),
    };
    int failed = cmocka_run_group_tests_name("one by one", tests, one_by_one, NULL);
    return failed + cmocka_run_group_tests_name("several ahead", tests, several, NULL);
}
