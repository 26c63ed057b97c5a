/*
 * Several trainers that take each step together, here as threads of one process: what they learn
 * has the bits of one trainer with the same groups.
 */
#include "meeting.h"
#include "run/run.h"
#include "train_test.h"

#include <math.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, BATCH_MAX = 8, STEPS_MAX = 12 };

/* ---- Trainings ------------------------------------------------------------------------------- */

typedef void (*build_fn)(sumi_graph *graph);

/* A training and what came of it. */
typedef struct {
    build_fn build; /* NULL: the tutorial's network */
    int batch, steps, groups, threads;
    sumi_precision precision, transport;
    const char *optimiser;
    attendant *me; /* NULL: alone */
    double loss[STEPS_MAX];
    float *gradients; /* of the first step */
    sumi_model *model;
} training;

static sumi_model *build_model(build_fn build)
{
    sumi_model *model = make_model(1);
    if (build) {
        sumi_graph_free(&model->graph);
        model->graph = (sumi_graph){0};
        build(&model->graph);
        assert_string_equal(model->graph.error.text, "");
        if (!model->graph.params.values)
            assert_ok(sumi_params_allocate(&model->graph.params, NULL));
        sumi_params_init(&model->graph.params, 3);
    }
    return model;
}

/* Epochs of 5 1/2 batches: the last one has fewer images than groups where the batch is small. */
static void take_steps(training *run, sumi_trainer *trainer, sumi_batches *batches)
{
    for (int i = 0; i < run->steps; i++) {
        sumi_data_batch data;
        sumi_batches_next(batches, &data);
        sumi_batch batch = {.size = sizeof batch,
                            .n = data.n,
                            .h = SIDE,
                            .w = SIDE,
                            .x = data.images,
                            .labels = data.labels};
        assert_ok(sumi_train_step(trainer, &batch, &run->loss[i], NULL));
        size_t count = run->model->graph.params.value_count;
        if (i == 0) {
            run->gradients = malloc(count * sizeof(float));
            assert_non_null(run->gradients);
            memcpy(run->gradients, trainer->gradients, count * sizeof(float));
        }
    }
}

static void *train(void *arg)
{
    training *run = arg;
    sumi_runtime runtime;
    sumi_trainer *trainer;
    sumi_batches *batches;
    sumi_dataset *set = make_small_set(5 * run->batch + run->batch / 2);
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    sumi_ranks ranks = {.count = 1};
    config.batch = run->batch;
    config.groups = run->groups;
    config.precision = run->precision;
    config.transport = run->transport;
    config.height = config.width = SIDE;
    if (run->optimiser)
        config.optimiser = run->optimiser;
    make_runtime(&runtime, run->threads ? run->threads : 1);
    if (run->me) {
        ranks = meeting_ranks(run->me);
        runtime.ranks = &ranks;
    }
    run->model = build_model(run->build);
    run->model->process.stratified = true;
    assert_ok(sumi_train_create(&runtime, run->model, &config, &trainer, NULL));
    assert_ok(sumi_batches_create_share(set, run->batch, 5, 0, NULL, sumi_train_cut(trainer),
                                        &batches, NULL));
    take_steps(run, trainer, batches);
    sumi_batches_free(batches);
    sumi_train_free(trainer);
    sumi_runtime_free(&runtime);
    sumi_data_free(set);
    return NULL;
}

static void release(training *run)
{
    free(run->gradients);
    sumi_models_free(run->model);
}

/* The same by one trainer, and by so many ranks: to the bit, losses and models. */
static void check_same(const training *what, int ranks)
{
    attendant people[MEETING_MAX];
    training one = *what, many[MEETING_MAX];
    train(&one);
    for (int r = 0; r < ranks; r++) {
        many[r] = *what;
        many[r].me = &people[r];
    }
    assert_true(meeting_hold(ranks, people, train, many, sizeof *many) > 0);
    for (int r = 0; r < ranks; r++) {
        size_t bytes = one.model->graph.params.value_count * sizeof(float);
        if (memcmp(many[r].gradients, one.gradients, bytes) != 0)
            fail_msg("rank %d of %d: other gradients than one trainer's", r, ranks);
        assert_memory_equal(many[r].loss, one.loss, sizeof one.loss);
        assert_same_model(many[r].model, one.model);
        release(&many[r]);
    }
    release(&one);
}

/* ||found - expected|| / ||expected|| */
static double distance(const float *found, const float *expected, size_t count)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        difference += pow((double)found[i] - (double)expected[i], 2);
        size += pow((double)expected[i], 2);
    }
    return sqrt(difference / size);
}

static void build_unet(sumi_graph *graph)
{
    sumi_model *model = make_told_unet(10, 0);
    *graph = model->graph;
    model->graph = (sumi_graph){0};
    sumi_models_free(model);
}

static void build_groups(sumi_graph *graph)
{
    sumi_dataset *set = make_shapes();
    sumi_build_residual(graph, 1, 8, set->classes);
    sumi_data_free(set);
}

/* Also where ranks have different numbers of groups, and groups of images; where the last batch has
 * fewer images than there are groups, so that a rank has none; with threads; and in every
 * precision. */
static void test_any_number_of_ranks(void **state)
{
    (void)state;
    const training trainings[] = {
        {.batch = 8, .groups = 8, .steps = STEPS_MAX},
        {.batch = 40, .groups = 3, .steps = 2},
        {.batch = 9, .groups = 5, .steps = 7, .threads = 2},
        {.build = build_groups, .batch = 8, .groups = 8, .steps = STEPS_MAX},
        {.build = build_groups, .batch = 6, .groups = 4, .steps = 7, .optimiser = "muon"},
        {.build = build_unet,
         .batch = 8,
         .groups = 8,
         .steps = 7,
         .precision = SUMI_PRECISION_BF16},
        {.batch = 8, .groups = 4, .steps = 7, .precision = SUMI_PRECISION_FIXED16},
    };
    for (size_t i = 0; i < sizeof trainings / sizeof *trainings; i++)
        for (int ranks = 2; ranks <= trainings[i].groups && ranks <= 4; ranks++)
            check_same(&trainings[i], ranks);
    check_same(&trainings[0], 8);
}

/* As bfloat16 between ranks: all ranks have the same, which is near to one trainer's. */
static void test_transport(void **state)
{
    (void)state;
    attendant people[MEETING_MAX];
    training one = {.build = build_groups, .batch = 8, .groups = 8, .steps = 3}, many[3];
    train(&one);
    size_t count = one.model->graph.params.value_count;
    for (int r = 0; r < 3; r++) {
        many[r] = one;
        many[r].me = &people[r];
        many[r].transport = SUMI_PRECISION_BF16;
    }
    assert_true(meeting_hold(3, people, train, many, sizeof *many) > 0);
    double apart = distance(many[0].gradients, one.gradients, count);
    if (!(apart > 1e-4 && apart < 1e-2))
        fail_msg("gradients are %g apart", apart);
    for (int r = 1; r < 3; r++)
        assert_same_model(many[r].model, many[0].model);
    for (int r = 0; r < 3; r++)
        release(&many[r]);
    release(&one);
}

/* ---- Overlap --------------------------------------------------------------------------------- */

/* A backend whose gradients are watched: of which parameters they are ready, and when. */
typedef struct {
    const sumi_inputs *in;
    const sumi_params *params;
    int count, first, last; /* those that were told of, in their order */
    bool seen[1024], changed;
    float *gradients, *copy; /* copy: each as it was when it was told of */
} ready_watch;

static _Thread_local ready_watch watch;
static void (*real_gradients)(sumi_network *, const sumi_inputs *, int, float *);

static void see_ready(void *user, int param)
{
    const sumi_param *of = &watch.params->items[param];
    assert_false(watch.seen[param]);
    watch.seen[param] = true;
    watch.first = watch.count == 0 ? param : watch.first;
    watch.last = param;
    watch.count++;
    memcpy(watch.copy + of->offset, watch.gradients + of->offset, of->count * sizeof(float));
    watch.in->ready(watch.in->ready_user, param);
    (void)user;
}

static void see_gradients(sumi_network *network, const sumi_inputs *in, int n, float *gradients)
{
    sumi_inputs watched = *in;
    memset(watch.seen, 0, sizeof watch.seen);
    watch.in = in;
    watch.count = 0;
    watch.gradients = gradients;
    watched.ready = see_ready;
    real_gradients(network, &watched, n, gradients);
    watch.changed |=
        memcmp(watch.copy, gradients, watch.params->value_count * sizeof *gradients) != 0;
}

static void *train_watched(void *arg)
{
    training *run = arg;
    sumi_runtime runtime;
    sumi_trainer *trainer;
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    const sumi_ranks ranks = meeting_ranks(run->me);
    float images[BATCH_MAX * PIXELS];
    make_runtime(&runtime, 1);
    sumi_backend backend = *runtime.backend;
    backend.gradients = see_gradients;
    runtime.backend = &backend;
    runtime.ranks = &ranks;
    for (int i = 0; i < BATCH_MAX * PIXELS; i++)
        images[i] = (float)(i % 7) / 7;
    config.batch = BATCH_MAX;
    config.groups = 2; /* a branch for each rank */
    sumi_model *model = build_model(run->build);
    watch.params = &model->graph.params;
    watch.copy = calloc(watch.params->value_count, sizeof(float));
    assert_non_null(watch.copy);
    assert_ok(sumi_train_create(&runtime, model, &config, &trainer, NULL));
    assert_ok(sumi_train_begin(trainer, SIDE, SIDE, NULL));
    int trainable = 0;
    for (int i = 0; i < watch.params->count; i++)
        trainable += sumi_param_trainable(&watch.params->items[i]);
    sumi_batch batch = {
        .size = sizeof batch, .n = BATCH_MAX / 2, .h = SIDE, .w = SIDE, .x = images};
    assert_ok(sumi_train_step(trainer, &batch, NULL, NULL));
    assert_int_equal(watch.count, trainable);
    assert_true(watch.first > watch.last); /* the last layers come first */
    assert_false(watch.changed);
    sumi_train_free(trainer);
    sumi_models_free(model);
    sumi_runtime_free(&runtime);
    free(watch.copy);
    return NULL;
}

/* Every parameter's gradients are sent once, layer by layer, and do not change afterwards. */
static void test_layer_by_layer(void **state)
{
    (void)state;
    static const build_fn builds[] = {NULL, build_groups, build_unet};
    sumi_runtime runtime;
    make_runtime(&runtime, 1);
    real_gradients = runtime.backend->gradients;
    sumi_runtime_free(&runtime);
    for (int b = 0; b < 3; b++) {
        attendant people[MEETING_MAX];
        training runs[2];
        int64_t behind = 0;
        for (int r = 0; r < 2; r++)
            runs[r] = (training){.build = builds[b], .me = &people[r]};
        meeting_hold_both(2, people, train_watched, runs, sizeof *runs, &behind);
        assert_true(behind > 0);
    }
}

/* Groups change the order of sums, and nothing else. */
static void test_groups_are_rounding(void **state)
{
    (void)state;
    static const build_fn builds[] = {NULL, build_groups, build_unet};
    for (int b = 0; b < 3; b++) {
        training whole = {.build = builds[b], .batch = 8, .steps = STEPS_MAX}, cut = whole;
        cut.groups = 3;
        train(&whole);
        train(&cut);
        const sumi_params *params = &whole.model->graph.params;
        double apart = distance(cut.gradients, whole.gradients, params->value_count);
        if (!(apart > 0 && apart < 1e-5))
            fail_msg("network %d: gradients are %g apart", b, apart);
        for (int i = 0; i < STEPS_MAX; i++)
            if (!(fabs(cut.loss[i] - whole.loss[i]) < 2e-3 * whole.loss[i]))
                fail_msg("network %d, step %d: loss %.8g, without groups %.8g", b, i + 1,
                         cut.loss[i], whole.loss[i]);
        assert_true(fabs(cut.loss[0] - whole.loss[0]) < 1e-6 * whole.loss[0]);
        if (params->statistic_count > 0)
            assert_true(distance(cut.model->graph.params.statistics, params->statistics,
                                 params->statistic_count) < 2e-3);
        release(&whole);
        release(&cut);
    }
}

/* ---- Decisions ------------------------------------------------------------------------------- */

typedef struct {
    attendant *me;
    sumi_clock clock;
    sumi_decisions decided;
} deciding;

static void *decide(void *arg)
{
    deciding *run = arg;
    const sumi_ranks ranks = meeting_ranks(run->me);
    run->decided = sumi_run_decide(&ranks, &run->clock);
    return NULL;
}

static void test_rank_0_decides(void **state)
{
    (void)state;
    const sumi_clock late = {.now = 1000,
                             .started = 100,
                             .saved_at = 300,
                             .minutes = 15,
                             .save_minutes = 5,
                             .began = true};
    const sumi_clock early = {.now = 990,
                              .started = 100,
                              .saved_at = 985,
                              .minutes = 15,
                              .save_minutes = 5,
                              .began = true,
                              .asked_to_stop = true};
    sumi_decisions alone = sumi_run_decide(NULL, &late);
    assert_true(alone.time_is_up && alone.save_within && alone.save_at_epoch && !alone.stop);
    alone = sumi_run_decide(NULL, &early);
    assert_true(!alone.time_is_up && !alone.save_within && !alone.save_at_epoch && alone.stop);
    for (int first = 0; first < 2; first++) {
        attendant people[MEETING_MAX];
        deciding runs[2];
        for (int r = 0; r < 2; r++)
            runs[r] = (deciding){.me = &people[r], .clock = r == first ? late : early};
        meeting_hold(2, people, decide, runs, sizeof *runs);
        alone = sumi_run_decide(NULL, &runs[0].clock);
        for (int r = 0; r < 2; r++) {
            const sumi_decisions *decided = &runs[r].decided;
            assert_true(decided->stop); /* one of them was asked to */
            assert_true(decided->time_is_up == alone.time_is_up &&
                        decided->save_at_epoch == alone.save_at_epoch &&
                        decided->save_within == alone.save_within &&
                        decided->last_step == alone.last_step);
        }
    }
}

static void test_refuses_ranks(void **state)
{
    (void)state;
    sumi_runtime runtime;
    sumi_trainer *trainer;
    sumi_error err = {""};
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    attendant me = {&(meeting){.count = 3}, 0, NULL};
    const sumi_ranks ranks = meeting_ranks(&me);
    make_runtime(&runtime, 1);
    runtime.ranks = &ranks;
    sumi_model *model = make_model(1);
    assert_int_equal(sumi_train_create(&runtime, model, &config, &trainer, &err), SUMI_EINVAL);
    assert_says(err, "groups is 0: 3 ranks share a batch by the groups");
    config.groups = 2;
    assert_int_equal(sumi_train_create(&runtime, model, &config, &trainer, &err), SUMI_EINVAL);
    assert_says(err, "groups is 2, and there are 3 ranks");
    config.groups = 4;
    config.accumulate = 2;
    assert_int_equal(sumi_train_create(&runtime, model, &config, &trainer, &err),
                     SUMI_EUNSUPPORTED);
    config.accumulate = 1;
    config.groups = config.batch + 1;
    assert_int_equal(sumi_train_create(&runtime, model, &config, &trainer, &err), SUMI_EINVAL);
    assert_says(err, "groups is 129, expected 0 to 1024, and at most the batch, 128");
    sumi_models_free(model);
    sumi_runtime_free(&runtime);
}

typedef struct {
    attendant *me;
    int n;   /* images that it brings */
    int bad; /* the image that has no number, or -1 */
    bool x;  /* whether they are there */
    sumi_status status;
    sumi_error err;
    int image; /* that is told of afterwards */
} failing;

static void *fail_step(void *arg)
{
    failing *run = arg;
    sumi_runtime runtime;
    sumi_trainer *trainer;
    float images[BATCH_MAX * PIXELS] = {0};
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    const sumi_ranks ranks = meeting_ranks(run->me);
    config.batch = BATCH_MAX;
    config.groups = 4;
    make_runtime(&runtime, 1);
    runtime.ranks = &ranks;
    sumi_model *model = make_model(1);
    assert_ok(sumi_train_create(&runtime, model, &config, &trainer, NULL));
    assert_ok(sumi_train_begin(trainer, SIDE, SIDE, NULL));
    if (run->bad >= 0)
        images[run->bad * PIXELS + 3] = NAN;
    sumi_batch batch = {.size = sizeof batch, .n = run->n, .h = SIDE, .w = SIDE};
    batch.x = run->x ? images : NULL;
    run->status = sumi_train_step(trainer, &batch, NULL, &run->err);
    run->image = trainer->not_finite.image;
    assert_int_equal(trainer->steps, 0);
    sumi_train_free(trainer);
    sumi_models_free(model);
    sumi_runtime_free(&runtime);
    return NULL;
}

/* Where one rank cannot take the step, none does, and all can say why. */
static void test_fails_together(void **state)
{
    (void)state;
    attendant people[MEETING_MAX];
    const failing good = {.n = 4, .bad = -1, .x = true};
    failing runs[2] = {good, good};
    runs[0].me = &people[0];
    runs[1].me = &people[1];
    runs[1].bad = 2;
    meeting_hold(2, people, fail_step, runs, sizeof *runs);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(runs[r].status, SUMI_EINVAL);
        assert_says(runs[r].err, "step 1: image 6 of the batch has a value that is not finite");
        assert_int_equal(runs[r].image, r == 1 ? 2 : -1);
    }
    runs[1].bad = -1;
    runs[1].x = false;
    meeting_hold(2, people, fail_step, runs, sizeof *runs);
    assert_says(runs[0].err, "rank 1 refused its share of the batch");
    assert_says(runs[1].err, "x is NULL");
    runs[1].x = true;
    runs[1].n = 3;
    meeting_hold(2, people, fail_step, runs, sizeof *runs);
    for (int r = 0; r < 2; r++)
        assert_says(runs[r].err, "images of a batch of 7, expected");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_number_of_ranks), cmocka_unit_test(test_groups_are_rounding),
        cmocka_unit_test(test_transport),           cmocka_unit_test(test_layer_by_layer),
        cmocka_unit_test(test_fails_together),      cmocka_unit_test(test_rank_0_decides),
        cmocka_unit_test(test_refuses_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
