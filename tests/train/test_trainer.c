/* The training step: what it draws, what it refuses, and that its bits depend on nothing else. */
#include "cpu/network.h"
#include "train_test.h"

#include <math.h>

enum { N = 6, SIDE = 8, PIXELS = SIDE * SIDE };

typedef struct {
    sumi_runtime runtime;
    sumi_model *model;
    sumi_trainer *trainer;
    sumi_dataset *set;
    float images[N * PIXELS];
    sumi_batch batch;
} fixture;

static void open_fixture(fixture *f, int threads, float ema)
{
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    memset(f, 0, sizeof *f);
    make_runtime(&f->runtime, threads);
    f->model = make_model(1);
    f->set = make_shapes();
    config.batch = N;
    config.seed = 5;
    config.averages[0] = ema;
    config.height = config.width = SIDE;
    assert_ok(sumi_train_create(&f->runtime, f->model, &config, &f->trainer, NULL));
    for (int i = 0; i < N; i++)
        sumi_data_read(f->set, i, f->images + i * PIXELS, NULL);
    f->batch = (sumi_batch){.size = sizeof f->batch, .n = N, .h = SIDE, .w = SIDE, .x = f->images};
}

/* What the network returned in the last step: [n][h][w][c]. */
static const float *output_of(const sumi_network *net)
{
    return sumi_at(net, net->values[net->graph->outputs[0].value].raw);
}

static void close_fixture(fixture *f)
{
    sumi_train_free(f->trainer);
    sumi_models_free(f->model);
    sumi_data_free(f->set);
    sumi_runtime_free(&f->runtime);
}

/* A trainer like the fixture's, with other settings. */
static void restart(fixture *f, sumi_trainer_config config)
{
    sumi_train_free(f->trainer);
    config.batch = N;
    config.seed = 5;
    config.height = config.width = SIDE;
    assert_ok(sumi_train_create(&f->runtime, f->model, &config, &f->trainer, NULL));
}

static void test_loss_falls(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 2, 0);
    double first = 0, last = 0, loss;
    for (int i = 0; i < 120; i++) {
        assert_ok(sumi_train_step(f.trainer, &f.batch, &loss, NULL));
        *(i < 10 ? &first : &last) += i < 10 || i >= 110 ? loss / 10 : 0;
    }
    assert_true(first > .5 && first < 3);
    assert_true(last < .6 * first);
    assert_int_equal(f.trainer->steps, 120);
    assert_int_equal(f.model->info.steps, 120);
    assert_int_equal(f.model->info.height, SIDE);
    assert_int_equal(f.model->generation, 120);
    close_fixture(&f);
}

/* Every objective is learned, on one table of betas. Levels of the other schedules and laws stand
 * between rows; what the network is told is the nearest. */
static void test_every_objective_is_learned(void **state)
{
    (void)state;
    for (int o = 0; sumi_objective_row(o); o++) {
        for (int s = 0; sumi_schedule_row(s); s++) {
            if (s != SUMI_SCHEDULE_LINEAR && s != (o == SUMI_OBJECTIVE_EDM   ? SUMI_SCHEDULE_EDM
                                                   : o == SUMI_OBJECTIVE_EPS ? SUMI_SCHEDULE_COSINE
                                                                             : SUMI_SCHEDULE_FLOW))
                continue;
            sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
            fixture f;
            open_fixture(&f, 1, 0);
            sumi_train_free(f.trainer);
            f.model->process.objective = o;
            f.model->process.schedule = s;
            f.model->process.stratified = true;
            config.batch = N;
            config.learning_rate = 3e-3f;
            config.height = config.width = SIDE;
            assert_ok(sumi_train_create(&f.runtime, f.model, &config, &f.trainer, NULL));
            double first = 0, last = 0, loss;
            for (int i = 0; i < 150; i++) {
                assert_ok(sumi_train_step(f.trainer, &f.batch, &loss, NULL));
                *(i < 10 ? &first : &last) += i < 10 || i >= 140 ? loss / 10 : 0;
            }
            if (!(last < .6 * first))
                fail_msg("%s, %s: mean loss %g, then %g", sumi_objective_row(o)->is.name,
                         sumi_schedule_row(s)->is.name, first, last);
            close_fixture(&f);
        }
    }
}

/* So is every objective under every weighting that goes with it. */
static void test_every_weighting_is_learned(void **state)
{
    (void)state;
    int learned = 0;
    for (int k = 0; sumi_weighting_row(k); k++) {
        for (int o = 0; sumi_objective_row(o); o++) {
            sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
            fixture f;
            open_fixture(&f, 1, 0);
            f.model->process.weighting = k;
            f.model->process.objective = o;
            f.model->process.stratified = true;
            config.learning_rate = 3e-3f;
            double first = 0, last = 0, loss;
            if (sumi_process_check(&f.model->process, NULL) == SUMI_OK) {
                restart(&f, config);
                for (int i = 0; i < 40; i++) {
                    assert_ok(sumi_train_step(f.trainer, &f.batch, &loss, NULL));
                    *(i < 10 ? &first : &last) += i < 10 || i >= 30 ? loss / 10 : 0;
                }
                if (!(last < .8 * first))
                    fail_msg("%s, %s: mean loss %g, then %g", sumi_weighting_row(k)->is.name,
                             sumi_objective_row(o)->is.name, first, last);
                assert_true((f.trainer->weight == NULL) == (k == SUMI_WEIGHTING_UNIFORM));
                learned++;
            }
            close_fixture(&f);
        }
    }
    assert_true(learned >= 20);
}

/* The loss is the mean over images of their errors, each times the weight of its level; so is the
 * gradient, put together here of the gradients of each image's error alone. */
static void test_levels_weigh(void **state)
{
    (void)state;
    static const int32_t t[N] = {1, 100, 50, 7, 99, 20};
    fixture f;
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    open_fixture(&f, 1, 0);
    f.model->process.weighting = SUMI_WEIGHTING_MIN_SNR;
    f.model->process.objective = SUMI_OBJECTIVE_V;
    restart(&f, config);
    f.batch.t = t;
    size_t count = f.model->graph.params.value_count;
    float *alone = malloc(count * sizeof *alone), *before = malloc(count * sizeof *before);
    double *expected = calloc(count, sizeof *expected);
    assert_true(alone && before && expected);
    memcpy(before, f.model->graph.params.values, count * sizeof *before);
    double loss, error = 0, distance = 0, size = 0;
    assert_ok(sumi_train_step(f.trainer, &f.batch, &loss, NULL));
    const float *y = output_of(f.trainer->network);
    memcpy(f.model->graph.params.values, before, count * sizeof *before);
    double weights[N], lowest = 1e9, highest = 0;
    for (int i = 0; i < N; i++) {
        sumi_level level = sumi_level_at(&f.trainer->process, t[i]);
        weights[i] = sumi_process_weight(&f.trainer->process, &level);
        lowest = fmin(lowest, weights[i]);
        highest = fmax(highest, weights[i]);
        for (int k = i * PIXELS; k < (i + 1) * PIXELS; k++)
            error += weights[i] * pow((double)y[k] - (double)f.trainer->target[k], 2);
    }
    assert_true(highest > 4 * lowest);
    assert_true(fabs(error / (N * PIXELS) - loss) < 1e-5 * loss);
    float *found = malloc(count * sizeof *found);
    assert_non_null(found);
    memcpy(found, f.trainer->gradients, count * sizeof *found);
    for (int i = 0; i < N; i++) {
        float only[N] = {0};
        only[i] = 1;
        const sumi_inputs in = {.image = f.trainer->input,
                                .time = f.trainer->time,
                                .target = f.trainer->target,
                                .weight = only};
        sumi_network_gradients(f.trainer->network, &in, N, alone);
        for (size_t k = 0; k < count; k++)
            expected[k] += weights[i] * (double)alone[k];
    }
    for (size_t k = 0; k < count; k++) {
        distance += pow((double)found[k] - expected[k], 2);
        size += pow(expected[k], 2);
    }
    assert_true(size > 0 && sqrt(distance) < 1e-5 * sqrt(size));
    free(alone);
    free(before);
    free(expected);
    free(found);
    close_fixture(&f);
}

/* The loss of a first step with these labels. */
static double loss_with(const int32_t *labels, sumi_status expected, sumi_error *err)
{
    fixture f;
    double loss = 0;
    open_fixture(&f, 1, 0);
    sumi_train_free(f.trainer);
    sumi_graph_free(&f.model->graph);
    f.model->graph = (sumi_graph){0};
    sumi_build_residual(&f.model->graph, 1, 8, 10);
    assert_ok(sumi_params_allocate(&f.model->graph.params, NULL));
    sumi_params_init(&f.model->graph.params, 1);
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    config.batch = N;
    config.height = config.width = SIDE;
    assert_ok(sumi_train_create(&f.runtime, f.model, &config, &f.trainer, NULL));
    f.batch.labels = labels;
    assert_int_equal(sumi_train_step(f.trainer, &f.batch, &loss, err), expected);
    close_fixture(&f);
    return loss;
}

static void test_labels_reach_the_network(void **state)
{
    (void)state;
    static const int32_t some[N] = {0, 1, 2, 3, 4, 9}, others[N] = {1, 1, 2, 3, 4, 9},
                         none[N] = {-1, -1, -1, -1, -1, -1}, bad[N] = {0, 1, 2, 10, 4, 9};
    sumi_error err = {""};
    double loss = loss_with(some, SUMI_OK, NULL);
    assert_true(loss != loss_with(others, SUMI_OK, NULL));
    assert_true(loss != loss_with(none, SUMI_OK, NULL));
    assert_true(loss_with(NULL, SUMI_OK, NULL) == loss_with(none, SUMI_OK, NULL));
    loss_with(bad, SUMI_EINVAL, &err);
    assert_says(err, "labels[3] is 10, expected -1..9");
}

/* bfloat16 learns as float32 does: means over ten steps stay together all the way down, though no
 * step's loss is the same. */
static void test_bf16_learns_as_well(void **state)
{
    (void)state;
    enum { TENS = 6 };
    double means[2][TENS] = {{0}}, first[2] = {0};
    for (int p = 0; p < 2; p++) {
        fixture f;
        sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
        open_fixture(&f, 2, 0);
        sumi_train_free(f.trainer);
        config.batch = N;
        config.seed = 5;
        config.height = config.width = SIDE;
        config.precision = p ? SUMI_PRECISION_BF16 : SUMI_PRECISION_FP32;
        assert_ok(sumi_train_create(&f.runtime, f.model, &config, &f.trainer, NULL));
        for (int i = 0; i < 10 * TENS; i++) {
            double loss;
            assert_ok(sumi_train_step(f.trainer, &f.batch, &loss, NULL));
            means[p][i / 10] += loss / 10;
            first[p] = i == 0 ? loss : first[p];
        }
        close_fixture(&f);
    }
    assert_true(first[0] != first[1]);
    for (int i = 0; i < TENS; i++)
        if (fabs(means[1][i] - means[0][i]) > .03 * means[0][i])
            fail_msg("steps %d to %d: mean loss %g in bf16, %g in fp32", 10 * i + 1, 10 * i + 10,
                     means[1][i], means[0][i]);
    assert_true(means[1][TENS - 1] < .75 * means[1][0]);
}

/* A step is Adam on the gradient that it leaves. */
static void test_step_is_adam(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 1, 0);
    const sumi_params *params = &f.model->graph.params;
    size_t count = params->value_count;
    float *before = malloc(count * sizeof *before);
    memcpy(before, params->values, count * sizeof *before);
    assert_ok(sumi_train_step(f.trainer, &f.batch, NULL, NULL));
    for (size_t i = 0; i < count; i++) {
        /* At the first step m / correction1 is g, and sqrt(v / correction2) is |g|. */
        double g = (double)f.trainer->gradients[i];
        double expected = (double)before[i] - 1e-3 * g / (fabs(g) + 1e-8);
        assert_true(fabs((double)params->values[i] - expected) < 1e-6);
    }
    free(before);
    close_fixture(&f);
}

/* With t and noise given, x_t is the formula's, and the loss is that of the network's output. */
static void test_given_draws(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 1, 0);
    int32_t t[N] = {1, 100, 50, 7, 99, 2};
    float noise[N * PIXELS];
    double loss, sum = 0;
    sumi_random at = {.seed = 1, .stream = SUMI_STREAM_USER};
    sumi_random_normals(&at, 0, noise, N * PIXELS);
    f.batch.t = t;
    f.batch.noise = noise;
    assert_ok(sumi_train_step(f.trainer, &f.batch, &loss, NULL));
    for (int i = 0; i < N * PIXELS; i++) {
        double a = sumi_level_at(&f.trainer->process, t[i / PIXELS]).alpha2;
        double x_t = sqrt(a) * (double)f.images[i] + sqrt(1 - a) * (double)noise[i];
        assert_true(fabs(x_t - (double)f.trainer->input[i]) < 1e-6);
    }
    const float *output = output_of(f.trainer->network);
    for (int i = 0; i < N * PIXELS; i++)
        sum += pow((double)output[i] - (double)noise[i], 2);
    assert_true(fabs(sum / (N * PIXELS) - loss) < 1e-6 * loss);
    close_fixture(&f);
}

static void test_draws(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 2, 0);
    int seen[101] = {0}, different = 0;
    double sum = 0, squares = 0, loss;
    float first[PIXELS];
    for (int step = 0; step < 60; step++) {
        assert_ok(sumi_train_step(f.trainer, &f.batch, &loss, NULL));
        for (int i = 0; i < N; i++) {
            int t = (int)f.trainer->time[i];
            assert_in_range(t, 1, 100);
            different += seen[t]++ == 0;
        }
        for (int i = 0; i < N * PIXELS; i++) {
            sum += (double)f.trainer->target[i];
            squares += (double)f.trainer->target[i] * (double)f.trainer->target[i];
        }
        /* Neither steps nor images share their noise. */
        if (step > 0)
            assert_memory_not_equal(first, f.trainer->target, sizeof first);
        memcpy(first, f.trainer->target, sizeof first);
        assert_memory_not_equal(f.trainer->target, f.trainer->target + PIXELS, sizeof first);
    }
    assert_true(different > 90); /* of 100, after 360 draws */
    double count = 60. * N * PIXELS;
    assert_true(fabs(sum / count) < 4 / sqrt(count));
    assert_true(fabs(squares / count - 1) < 6 / sqrt(count));
    close_fixture(&f);
}

static void test_threads_change_no_bit(void **state)
{
    (void)state;
    fixture a, b;
    double x, y;
    open_fixture(&a, 1, .9f);
    open_fixture(&b, 3, .9f);
    for (int i = 0; i < 5; i++) {
        a.batch.n = b.batch.n = i == 3 ? 4 : N; /* a short batch in between */
        assert_ok(sumi_train_step(a.trainer, &a.batch, &x, NULL));
        assert_ok(sumi_train_step(b.trainer, &b.batch, &y, NULL));
        assert_true(x == y);
    }
    assert_same_model(a.model, b.model);
    assert_same_model(a.trainer->averages.model[0], b.trainer->averages.model[0]);
    close_fixture(&a);
    close_fixture(&b);
}

static void test_average(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 1, .25f);
    const sumi_params *params = &f.model->graph.params,
                      *ema = &f.trainer->averages.model[0]->graph.params;
    float old = params->values[0], average = old;
    for (int k = 1; k <= 4; k++) {
        assert_ok(sumi_train_step(f.trainer, &f.batch, NULL, NULL));
        double decay = fmin(.25, (1. + k) / (10. + k));
        average = (float)(decay * (double)average + (1 - decay) * (double)params->values[0]);
        assert_true(fabsf(average - ema->values[0]) < 1e-6f);
        assert_memory_equal(ema->statistics, params->statistics,
                            params->statistic_count * sizeof(float));
        assert_memory_equal(ema->counters, params->counters,
                            params->counter_count * sizeof(int64_t));
    }
    assert_true(ema->values[0] != params->values[0]);
    assert_int_equal(ema->counters[0], 4);
    assert_int_equal(f.trainer->averages.model[0]->info.steps, 4);
    close_fixture(&f);
}

/* Four averages are four times what one would be. */
static void test_four_averages(void **state)
{
    (void)state;
    static const float decays[SUMI_AVERAGES_MAX] = {.5f, .9f, .1f, .999f};
    fixture all;
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    memcpy(config.averages, decays, sizeof decays);
    open_fixture(&all, 2, 0);
    restart(&all, config);
    assert_int_equal(all.trainer->averages.count, SUMI_AVERAGES_MAX);
    for (int k = 0; k < 12; k++)
        assert_ok(sumi_train_step(all.trainer, &all.batch, NULL, NULL));
    assert_ptr_equal(sumi_train_best(all.trainer), all.trainer->averages.model[0]);
    for (int i = 0; i < SUMI_AVERAGES_MAX; i++) {
        fixture one;
        open_fixture(&one, 1, decays[i]);
        for (int k = 0; k < 12; k++)
            assert_ok(sumi_train_step(one.trainer, &one.batch, NULL, NULL));
        assert_same_model(one.model, all.model);
        assert_same_model(one.trainer->averages.model[0], all.trainer->averages.model[i]);
        close_fixture(&one);
    }
    close_fixture(&all);
}

/* AdamW is Adam's step, and before it a step towards zero that the gradient has no part in. */
static void test_adamw(void **state)
{
    (void)state;
    fixture plain, decayed;
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    config.optimiser = "adamw";
    config.learning_rate = 2e-3f;
    open_fixture(&plain, 1, 0);
    open_fixture(&decayed, 1, 0);
    size_t count = plain.model->graph.params.value_count;
    float *before = malloc(count * sizeof *before);
    memcpy(before, plain.model->graph.params.values, count * sizeof *before);
    config.weight_decay = .25f;
    restart(&decayed, config);
    config.optimiser = "adam";
    config.weight_decay = 0;
    restart(&plain, config);
    assert_ok(sumi_train_step(plain.trainer, &plain.batch, NULL, NULL));
    assert_ok(sumi_train_step(decayed.trainer, &decayed.batch, NULL, NULL));
    for (size_t i = 0; i < count; i++) {
        double expected = (double)plain.model->graph.params.values[i] - 5e-4 * (double)before[i];
        assert_true(fabs((double)decayed.model->graph.params.values[i] - expected) < 1e-6);
    }
    assert_memory_equal(plain.trainer->optimiser.state[1], decayed.trainer->optimiser.state[1],
                        count * sizeof *before);
    free(before);
    close_fixture(&plain);
    close_fixture(&decayed);
}

static void test_learning_rates(void **state)
{
    (void)state;
    static const struct {
        const char *schedule;
        int64_t warm_up, last, step;
        float final_rate;
        double factor;
    } cases[] = {
        {"constant", 0, 0, 1, 0, 1},      {"constant", 0, 0, 1000000, 0, 1},
        {"constant", 4, 0, 1, 0, .25},    {"constant", 4, 0, 4, 0, 1},
        {"constant", 4, 0, 5, 0, 1},      {"linear", 0, 10, 1, 0, .9},
        {"linear", 0, 10, 10, 0, 0},      {"linear", 0, 10, 99, 0, 0},
        {"linear", 4, 14, 2, .5f, .5},    {"linear", 4, 14, 4, .5f, 1},
        {"linear", 4, 14, 9, .5f, .75},   {"linear", 4, 14, 20, .5f, .5},
        {"cosine", 0, 8, 2, 0, .8535534}, {"cosine", 0, 8, 4, 0, .5},
        {"cosine", 0, 8, 8, 0, 0},        {"cosine", 10, 18, 14, .1f, .55},
        {"cosine", 10, 18, 30, .1f, .1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
        config.learning_rate = 3e-3f;
        config.rate_schedule = cases[i].schedule;
        config.warmup_steps = cases[i].warm_up;
        config.schedule_steps = cases[i].last;
        config.final_rate = cases[i].final_rate;
        double rate = sumi_learning_rate(&config, cases[i].step);
        if (fabs(rate - 3e-3 * cases[i].factor) > 1e-9)
            fail_msg("case %zu: %g, expected %g", i, rate, 3e-3 * cases[i].factor);
    }
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    assert_true(sumi_learning_rate(&config, 7) == (double)1e-3f); /* to the bit */
}

/* Steps take the schedule's rate: with one that ends at 0, weights stop changing. */
static void test_steps_follow_the_schedule(void **state)
{
    (void)state;
    fixture f;
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    config.rate_schedule = "linear";
    config.schedule_steps = 3;
    open_fixture(&f, 1, 0);
    restart(&f, config);
    size_t bytes = f.model->graph.params.value_count * sizeof(float);
    float *before = malloc(bytes);
    for (int step = 1; step <= 5; step++) {
        memcpy(before, f.model->graph.params.values, bytes);
        assert_ok(sumi_train_step(f.trainer, &f.batch, NULL, NULL));
        assert_int_equal(memcmp(before, f.model->graph.params.values, bytes) == 0, step >= 3);
    }
    free(before);
    close_fixture(&f);
}

static void test_refuses_bad_optimisers_and_schedules(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 1, 0);
    sumi_trainer_config good = SUMI_TRAINER_CONFIG_INIT, bad[12];
    for (int i = 0; i < 12; i++)
        bad[i] = good;
    bad[0].optimiser = NULL;
    bad[1].optimiser = "sgd";
    bad[2].weight_decay = .1f; /* adam has none */
    bad[3].optimiser = "adamw";
    bad[3].weight_decay = NAN;
    bad[4].rate_schedule = NULL;
    bad[5].rate_schedule = "steps";
    bad[6].rate_schedule = "linear"; /* which has no end */
    bad[7].rate_schedule = "cosine";
    bad[7].warmup_steps = bad[7].schedule_steps = 9;
    bad[8].warmup_steps = -1;
    bad[9].final_rate = 1.5f;
    bad[10].averages[1] = .5f; /* none before it */
    bad[11].height = 8;
    static const char *const says[] = {
        "unknown optimiser '(null)'", "adam, adamw, muon", "adam has none",
        "weight_decay is nan",        "unknown rate_sche", "constant, linear, cosine",
        "a linear schedule must end", "must end after",    "warmup_steps is -1",
        "final_rate is 1.5",          "none before it",    "images of 8x0"};
    for (int i = 0; i < 12; i++) {
        sumi_trainer *trainer = NULL;
        sumi_error err = {""};
        assert_int_equal(sumi_train_create(&f.runtime, f.model, &bad[i], &trainer, &err),
                         SUMI_EINVAL);
        assert_says(err, says[i]);
        assert_null(trainer);
    }
    close_fixture(&f);
}

static void test_refuses_what_is_not_finite(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    open_fixture(&f, 1, .9f);
    assert_ok(sumi_train_step(f.trainer, &f.batch, NULL, NULL));
    sumi_params *params = &f.model->graph.params;
    size_t bytes = params->value_count * sizeof(float);
    float *before = malloc(bytes), *m = malloc(bytes);
    memcpy(before, params->values, bytes);
    memcpy(m, f.trainer->optimiser.state[0], bytes);

    f.images[3 * PIXELS + 5] = NAN;
    assert_int_equal(sumi_train_step(f.trainer, &f.batch, NULL, &err), SUMI_EINVAL);
    assert_says(err, "step 2: image 3 of the batch has a value that is not finite");
    f.images[3 * PIXELS + 5] = 0;
    assert_memory_equal(before, params->values, bytes);
    assert_memory_equal(m, f.trainer->optimiser.state[0], bytes);
    assert_int_equal(f.trainer->steps, 1);
    assert_int_equal(f.model->generation, 1);

    f.images[0] = 1e30f; /* finite, but its square is not: no running variance takes that */
    assert_int_equal(sumi_train_step(f.trainer, &f.batch, NULL, &err), SUMI_EINVAL);
    assert_says(err, "too large for the batch statistics");
    f.images[0] = 0;
    assert_memory_equal(before, params->values, bytes);

    params->values[params->value_count - 1] = INFINITY; /* the last layer's bias */
    before[params->value_count - 1] = INFINITY;
    assert_int_equal(sumi_train_step(f.trainer, &f.batch, NULL, &err), SUMI_EINVAL);
    assert_says(err, "step 2: the loss is inf and the gradient of ");
    assert_says(err, "nothing was updated");
    assert_memory_equal(before, params->values, bytes);
    assert_memory_equal(m, f.trainer->optimiser.state[0], bytes);
    assert_int_equal(params->counters[0], 1);
    free(before);
    free(m);
    close_fixture(&f);
}

static void test_refuses_bad_batches(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    int32_t t[N] = {1, 2, 3, 101, 5, 6};
    open_fixture(&f, 1, 0);
    sumi_batch good = f.batch, bad = good;
    bad.n = N + 1;
    assert_int_equal(sumi_train_step(f.trainer, &bad, NULL, &err), SUMI_EINVAL);
    assert_says(err, "7 images, expected 1..6");
    bad.n = 0;
    assert_int_equal(sumi_train_step(f.trainer, &bad, NULL, &err), SUMI_EINVAL);
    bad = good;
    bad.x = NULL;
    assert_int_equal(sumi_train_step(f.trainer, &bad, NULL, &err), SUMI_EINVAL);
    bad = good;
    bad.t = t;
    assert_int_equal(sumi_train_step(f.trainer, &bad, NULL, &err), SUMI_EINVAL);
    assert_says(err, "t[3] is 101, expected 1..100");
    t[3] = 0;
    assert_int_equal(sumi_train_step(f.trainer, &bad, NULL, &err), SUMI_EINVAL);
    bad = good;
    bad.h = 6;
    assert_int_equal(sumi_train_step(f.trainer, &bad, NULL, &err), SUMI_ESHAPE);
    assert_says(err, "the batch is of 6x8, the trainer was begun for 8x8");
    assert_int_equal(sumi_train_begin(f.trainer, 6, 8, &err), SUMI_ESHAPE);
    bad.n = 1;
    bad.h = bad.w = 4;
    assert_ok(sumi_train_begin(f.trainer, 4, 4, NULL));
    assert_int_equal(sumi_train_step(f.trainer, &bad, NULL, &err), SUMI_EINVAL);
    assert_says(err, "single pixel");
    assert_int_equal(f.trainer->steps, 0);
    assert_ok(sumi_train_begin(f.trainer, SIDE, SIDE, NULL));
    assert_ok(sumi_train_step(f.trainer, &good, NULL, &err));
    close_fixture(&f);
}

static void test_refuses_bad_settings(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 1, 0);
    const struct {
        int batch;
        float learning_rate, ema;
    } bad[] = {{0, 1e-3f, 0},  {-1, 1e-3f, 0}, {1 << 30, 1e-3f, 0}, {8, 0, 0},
               {8, -1, 0},     {8, NAN, 0},    {8, INFINITY, 0},    {8, 1e-3f, 1},
               {8, 1e-3f, -1}, {8, 1e-3f, NAN}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
        sumi_trainer *trainer = NULL;
        config.batch = bad[i].batch;
        config.learning_rate = bad[i].learning_rate;
        config.averages[0] = bad[i].ema;
        assert_int_equal(sumi_train_create(&f.runtime, f.model, &config, &trainer, NULL),
                         SUMI_EINVAL);
        assert_null(trainer);
    }
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    sumi_trainer *trainer = NULL;
    sumi_error err;
    config.precision = (sumi_precision)3;
    assert_int_equal(sumi_train_create(&f.runtime, f.model, &config, &trainer, &err), SUMI_EINVAL);
    assert_says(err, "precision is 3");
    assert_null(trainer);
    close_fixture(&f);
}

/* Images may change their size: a new plan is made, and the weights go on. */
static void test_another_size(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 1, 0);
    assert_ok(sumi_train_step(f.trainer, &f.batch, NULL, NULL));
    sumi_batch wide = f.batch;
    wide.n = 3;
    wide.w = 16;
    double loss;
    assert_ok(sumi_train_begin(f.trainer, SIDE, 16, NULL));
    assert_ok(sumi_train_step(f.trainer, &wide, &loss, NULL));
    assert_true(isfinite(loss));
    assert_int_equal(f.model->info.width, 16);
    close_fixture(&f);
}

/* Where element k of a tensor in PyTorch's order, [out][in][taps], is kept: [taps][in][out]. */
static size_t kept_at(const sumi_param *param, size_t k)
{
    if (param->rank < 2)
        return k;
    size_t outs = (size_t)param->shape[0], ins = (size_t)param->shape[1];
    size_t taps = param->count / (outs * ins);
    return (k % taps * ins + k / taps % ins) * outs + k / taps / ins;
}

static void test_gradient_in_torch_order(void **state)
{
    (void)state;
    fixture f;
    double loss;
    open_fixture(&f, 1, 0);
    assert_ok(sumi_train_step(f.trainer, &f.batch, &loss, NULL));
    const sumi_params *params = &f.model->graph.params;
    int weights = 0, output_biases = 0;
    for (int i = 0; i < params->count; i++) {
        const sumi_param *param = &params->items[i];
        if (!sumi_param_trainable(param))
            continue;
        const float *kept = f.trainer->gradients + param->offset;
        float *out = malloc(param->count * sizeof *out);
        assert_non_null(out);
        sumi_param_export(param, f.trainer->gradients, out);
        for (size_t k = 0; k < param->count; k++)
            assert_true(out[k] == kept[kept_at(param, k)]);
        weights += param->rank >= 2;
        /* out.bias: the mean over pixels of 2 (output - eps). */
        if (strcmp(param->name, "out.bias") == 0) {
            const float *y = output_of(f.trainer->network);
            double expected = 0;
            for (int k = 0; k < N * PIXELS; k++)
                expected += 2 * ((double)y[k] - (double)f.trainer->target[k]) / (N * PIXELS);
            assert_true(fabs((double)out[0] - expected) < 1e-5);
            output_biases++;
        }
        free(out);
    }
    assert_int_equal(weights, 21); /* five blocks of two convolutions and two linear layers; out */
    assert_int_equal(output_biases, 1);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loss_falls),
        cmocka_unit_test(test_every_objective_is_learned),
        cmocka_unit_test(test_every_weighting_is_learned),
        cmocka_unit_test(test_levels_weigh),
        cmocka_unit_test(test_labels_reach_the_network),
        cmocka_unit_test(test_bf16_learns_as_well),
        cmocka_unit_test(test_step_is_adam),
        cmocka_unit_test(test_given_draws),
        cmocka_unit_test(test_draws),
        cmocka_unit_test(test_threads_change_no_bit),
        cmocka_unit_test(test_average),
        cmocka_unit_test(test_four_averages),
        cmocka_unit_test(test_adamw),
        cmocka_unit_test(test_learning_rates),
        cmocka_unit_test(test_steps_follow_the_schedule),
        cmocka_unit_test(test_refuses_bad_optimisers_and_schedules),
        cmocka_unit_test(test_refuses_what_is_not_finite),
        cmocka_unit_test(test_refuses_bad_batches),
        cmocka_unit_test(test_refuses_bad_settings),
        cmocka_unit_test(test_another_size),
        cmocka_unit_test(test_gradient_in_torch_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
