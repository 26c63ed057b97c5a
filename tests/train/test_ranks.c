/*
 * Several trainers that take each step together, here as threads of one process: they stay the same
 * to the bit, and what they learn is what one trainer learns of the whole batches.
 */
#include "run/run.h"
#include "train_test.h"

#include <math.h>
#include <pthread.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, RANKS_MAX = 3, BATCH_MAX = 8, STEPS_MAX = 12 };

/* ---- Ranks in threads ------------------------------------------------------------------------ */

typedef struct {
    int count;
    pthread_barrier_t barrier;
    void *given[RANKS_MAX];
    _Atomic int64_t exchanges;
} meeting;

typedef struct {
    meeting *at;
    int rank;
} attendant;

static void together(const attendant *me, void *values)
{
    me->at->given[me->rank] = values;
    pthread_barrier_wait(&me->at->barrier);
}

static void sum(void *user, double *values, size_t count)
{
    const attendant *me = user;
    double *sums = calloc(count, sizeof *sums);
    me->at->exchanges++;
    together(me, values);
    for (int r = 0; r < me->at->count; r++)
        for (size_t i = 0; i < count; i++)
            sums[i] += ((const double *)me->at->given[r])[i];
    pthread_barrier_wait(&me->at->barrier);
    memcpy(values, sums, count * sizeof *sums);
    free(sums);
}

static void sum_floats(void *user, float *values, size_t count)
{
    const attendant *me = user;
    float *sums = calloc(count, sizeof *sums);
    together(me, values);
    for (int r = 0; r < me->at->count; r++)
        for (size_t i = 0; i < count; i++)
            sums[i] += ((const float *)me->at->given[r])[i];
    pthread_barrier_wait(&me->at->barrier);
    memcpy(values, sums, count * sizeof *sums);
    free(sums);
}

static void tell(void *user, void *bytes, size_t count)
{
    const attendant *me = user;
    together(me, bytes);
    if (me->rank > 0)
        memcpy(bytes, me->at->given[0], count);
    pthread_barrier_wait(&me->at->barrier);
}

/* ---- Trainings ------------------------------------------------------------------------------- */

typedef void (*build_fn)(sumi_graph *graph);

/* A training and what came of it. */
typedef struct {
    build_fn build; /* NULL: the tutorial's network */
    int batch, steps;
    /* One of them: */
    attendant me;
    int ranks;
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
        assert_ok(sumi_params_allocate(&model->graph.params, NULL));
        sumi_params_init(&model->graph.params, 3);
    }
    return model;
}

static void *train(void *arg)
{
    training *run = arg;
    sumi_runtime runtime;
    sumi_trainer *trainer;
    sumi_batches *batches;
    sumi_dataset *set = make_small_set(5 * run->batch + run->batch / 2);
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    const sumi_ranks ranks = {run->me.rank, run->ranks, sum, sum_floats, tell, &run->me};
    config.batch = run->batch;
    config.height = config.width = SIDE;
    make_runtime(&runtime, 1);
    run->model = build_model(run->build);
    run->model->process.stratified = true;
    assert_ok(sumi_train_create(&runtime, run->model, &config, &trainer, NULL));
    if (run->ranks > 1)
        assert_ok(sumi_train_join(trainer, &ranks, NULL));
    assert_ok(
        sumi_batches_create_share(set, run->batch, 5, 0, run->me.rank, run->ranks, &batches, NULL));
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
    sumi_batches_free(batches);
    sumi_train_free(trainer);
    sumi_runtime_free(&runtime);
    sumi_data_free(set);
    return NULL;
}

/* The same by one trainer, and by so many ranks. */
static void train_both(const training *what, int ranks, training *one, training *many)
{
    meeting at = {.count = ranks};
    pthread_t threads[RANKS_MAX];
    *one = *what;
    one->ranks = 1;
    train(one);
    assert_int_equal(pthread_barrier_init(&at.barrier, NULL, (unsigned)ranks), 0);
    for (int r = 0; r < ranks; r++) {
        many[r] = *what;
        many[r].ranks = ranks;
        many[r].me = (attendant){&at, r};
        assert_int_equal(pthread_create(&threads[r], NULL, train, &many[r]), 0);
    }
    for (int r = 0; r < ranks; r++)
        pthread_join(threads[r], NULL);
    pthread_barrier_destroy(&at.barrier);
    assert_true(at.exchanges > 0);
    for (int r = 1; r < ranks; r++) {
        assert_same_model(many[r].model, many[0].model);
        assert_memory_equal(many[r].loss, many[0].loss, sizeof many[0].loss);
    }
}

static void release(training *run)
{
    free(run->gradients);
    sumi_models_free(run->model);
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

static void build_groups(sumi_graph *graph)
{
    sumi_dataset *set = make_shapes();
    sumi_build_residual(graph, 1, 8, set->classes);
    sumi_data_free(set);
}

/* Losses and gradients are those of one trainer but for rounding, also where ranks have different
 * numbers of images; batch normalisation takes its moments of the whole batch. */
static void test_ranks_learn_as_one(void **state)
{
    (void)state;
    static const build_fn builds[] = {NULL, build_groups};
    for (int b = 0; b < 2; b++) {
        for (int ranks = 2; ranks <= RANKS_MAX; ranks++) {
            training one, many[RANKS_MAX];
            const training what = {.build = builds[b], .batch = BATCH_MAX, .steps = STEPS_MAX};
            train_both(&what, ranks, &one, many);
            const sumi_params *params = &one.model->graph.params;
            double apart = distance(many[0].gradients, one.gradients, params->value_count);
            if (!(apart < 1e-5))
                fail_msg("network %d, %d ranks: gradients are %g apart", b, ranks, apart);
            for (int i = 0; i < STEPS_MAX; i++)
                if (!(fabs(many[0].loss[i] - one.loss[i]) < 2e-3 * one.loss[i]))
                    fail_msg("network %d, %d ranks, step %d: loss %.8g, of one %.8g", b, ranks,
                             i + 1, many[0].loss[i], one.loss[i]);
            assert_true(fabs(many[0].loss[0] - one.loss[0]) < 1e-6 * one.loss[0]);
            if (params->statistic_count > 0)
                assert_true(distance(many[0].model->graph.params.statistics, params->statistics,
                                     params->statistic_count) < 2e-3);
            release(&one);
            for (int r = 0; r < ranks; r++)
                release(&many[r]);
        }
    }
}

static void build_pixels(sumi_graph *graph)
{
    static const int channels[] = {1, 8, 8, 1};
    sumi_graph_init(graph);
    sumi_edge x = sumi_graph_input_image(graph, 1);
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "conv%d", i);
        x = sumi_graph_conv(graph, x,
                            sumi_graph_conv_layer(graph, name, channels[i], channels[i + 1], 1));
        x = i < 2 ? sumi_graph_act(graph, x, SUMI_ACT_SILU) : x;
    }
    sumi_graph_output(graph, "image", x);
    sumi_graph_loss_mse(graph, x);
}

/* One trainer keeps a convolution's gradient of two images apart, and adds the two: where each rank
 * has one of them, the bits are the same. (Biases are summed in double before they are rounded.) */
static void test_groups_of_images_that_are_ranks(void **state)
{
    (void)state;
    training one, many[2];
    const training what = {.build = build_pixels, .batch = 2, .steps = 1};
    train_both(&what, 2, &one, many);
    assert_true(one.loss[0] == many[0].loss[0]);
    const sumi_params *params = &one.model->graph.params;
    int compared = 0;
    for (int i = 0; i < params->count; i++) {
        const sumi_param *param = &params->items[i];
        if (param->kind != SUMI_PARAM_CONV)
            continue;
        assert_memory_equal(one.gradients + param->offset, many[0].gradients + param->offset,
                            param->count * sizeof(float));
        compared++;
    }
    assert_int_equal(compared, 3);
    release(&one);
    release(&many[0]);
    release(&many[1]);
}

/* ---- Decisions ------------------------------------------------------------------------------- */

typedef struct {
    attendant me;
    sumi_clock clock;
    sumi_decisions decided;
} deciding;

static void *decide(void *arg)
{
    deciding *run = arg;
    const sumi_ranks ranks = {run->me.rank, 2, sum, sum_floats, tell, &run->me};
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
        meeting at = {.count = 2};
        pthread_t threads[2];
        deciding runs[2];
        assert_int_equal(pthread_barrier_init(&at.barrier, NULL, 2), 0);
        for (int r = 0; r < 2; r++) {
            runs[r] = (deciding){.me = {&at, r}, .clock = r == first ? late : early};
            assert_int_equal(pthread_create(&threads[r], NULL, decide, &runs[r]), 0);
        }
        for (int r = 0; r < 2; r++)
            pthread_join(threads[r], NULL);
        pthread_barrier_destroy(&at.barrier);
        alone = sumi_run_decide(NULL, &runs[0].clock);
        for (int r = 0; r < 2; r++) {
            const sumi_decisions *decided = &runs[r].decided;
            assert_true(decided->stop == alone.stop && decided->time_is_up == alone.time_is_up &&
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
    make_runtime(&runtime, 1);
    sumi_model *model = make_model(1);
    assert_ok(sumi_train_create(&runtime, model, &config, &trainer, NULL));
    const sumi_ranks bad[] = {{.rank = 2, .count = 2}, {.rank = -1, .count = 2}, {.count = 0}};
    for (int i = 0; i < 3; i++)
        assert_int_equal(sumi_train_join(trainer, &bad[i], &err), SUMI_EINVAL);
    assert_says(err, "rank 0 of 0 ranks");
    sumi_train_free(trainer);
    sumi_models_free(model);
    sumi_runtime_free(&runtime);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks_learn_as_one),
        cmocka_unit_test(test_groups_of_images_that_are_ranks),
        cmocka_unit_test(test_rank_0_decides),
        cmocka_unit_test(test_refuses_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
