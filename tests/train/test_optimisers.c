/* What a step's settings make of gradients and rates: clipping, Adam's numbers, schedules. */
#include "train_test.h"

#include <math.h>

enum { N = 4, SIDE = 8, PIXELS = SIDE * SIDE };

typedef struct {
    sumi_runtime runtime;
    sumi_model *model;
    sumi_trainer *trainer;
} fixture;

static void open_fixture(fixture *f, int threads, sumi_trainer_config config)
{
    config.batch = N;
    config.height = config.width = SIDE;
    make_runtime(&f->runtime, threads);
    f->model = make_model(1);
    assert_ok(sumi_train_create(&f->runtime, f->model, &config, &f->trainer, NULL));
}

static void close_fixture(fixture *f)
{
    sumi_train_free(f->trainer);
    sumi_models_free(f->model);
    sumi_runtime_free(&f->runtime);
}

static void step(fixture *f)
{
    float images[N * PIXELS];
    const sumi_random at = {3, SUMI_STREAM_USER, (uint32_t)f->trainer->steps, 0};
    sumi_random_normals(&at, 0, images, N * PIXELS);
    sumi_batch batch = {.size = sizeof batch, .n = N, .h = SIDE, .w = SIDE, .x = images};
    assert_ok(sumi_train_step(f->trainer, &batch, NULL, NULL));
}

static double norm_of(const sumi_trainer *trainer)
{
    double sum = 0;
    for (size_t i = 0; i < trainer->model->graph.params.value_count; i++)
        sum += (double)trainer->gradients[i] * (double)trainer->gradients[i];
    return sqrt(sum);
}

static void test_clips_the_norm_of_all(void **state)
{
    (void)state;
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    fixture plain, clipped, loose, threads;
    open_fixture(&plain, 1, config);
    step(&plain);
    double norm = norm_of(plain.trainer);
    size_t count = plain.model->graph.params.value_count;

    config.clip_norm = (float)(norm / 10);
    open_fixture(&clipped, 1, config);
    step(&clipped);
    assert_true(fabs(clipped.trainer->gradient_norm / norm - 1) < 1e-12);
    assert_true(fabs(norm_of(clipped.trainer) / (norm / 10) - 1) < 1e-5);
    for (size_t i = 0; i < count; i++)
        assert_true(fabs((double)clipped.trainer->gradients[i] -
                         (double)plain.trainer->gradients[i] / 10) <= 1e-6 * norm);
    open_fixture(&threads, 3, config);
    step(&threads);
    assert_same_model(clipped.model, threads.model);
    assert_true(clipped.trainer->gradient_norm == threads.trainer->gradient_norm);

    config.clip_norm = (float)(norm * 2);
    open_fixture(&loose, 1, config);
    step(&loose);
    assert_same_model(loose.model, plain.model);
    close_fixture(&plain);
    close_fixture(&clipped);
    close_fixture(&loose);
    close_fixture(&threads);
}

static double ledger_norm(const sumi_runtime *runtime, float *x, size_t count)
{
    const sumi_backend *backend = runtime->backend;
    sumi_ledger *ledger = NULL;
    sumi_entry entry;
    assert_ok(backend->ledger_create(runtime->device, 1, &ledger, NULL));
    backend->ledger_begin(ledger, 0);
    backend->ledger_clip(ledger, 0, x, count);
    backend->ledger_read(ledger, 1, &entry);
    backend->ledger_free(ledger);
    return entry.norm;
}

/* More numbers than fit the pieces of the usual size, and squares that float32 cannot hold. */
static void test_sum_of_squares(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 7, 100000, 9000001};
    sumi_runtime runtime[2];
    float *x = malloc(9000001 * sizeof *x);
    make_runtime(&runtime[0], 1);
    make_runtime(&runtime[1], 3);
    for (size_t i = 0; i < 9000001; i++)
        x[i] = (float)(i % 1000) - 499.5f;
    x[3] = 3e25f;
    for (int k = 0; k < 4; k++) {
        double want = 0, found[2];
        for (size_t i = 0; i < counts[k]; i++)
            want += (double)x[i] * (double)x[i];
        for (int r = 0; r < 2; r++)
            found[r] = ledger_norm(&runtime[r], x, counts[k]);
        assert_true(fabs(found[0] / sqrt(want) - 1) < 1e-13);
        assert_true(found[0] == found[1]);
    }
    free(x);
    sumi_runtime_free(&runtime[0]);
    sumi_runtime_free(&runtime[1]);
}

static void test_numbers_of_adam(void **state)
{
    (void)state;
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    fixture f;
    open_fixture(&f, 1, config);
    step(&f);
    sumi_optimiser *optimiser = &f.trainer->optimiser;
    float *g = f.trainer->gradients;
    sumi_update update = sumi_optimiser_update(optimiser, &f.runtime, &config, 1, 2, NULL, g);
    assert_true(update.beta1 == .9 && update.beta2 == .999 && update.eps == 1e-8);
    config.beta1 = .8f;
    config.beta2 = .95f;
    config.epsilon = 1e-6f;
    update = sumi_optimiser_update(optimiser, &f.runtime, &config, .5, 2, NULL, g);
    assert_true(update.beta1 == .8 && update.beta2 == .95 && update.eps == 1e-6);
    assert_true(update.correction1 == 1 - pow(.8, 2) && update.correction2 == 1 - pow(.95, 2));
    assert_true(update.rate == .5 * (double)1e-3f);
    static const sumi_optimiser muon = {.row = NULL};
    sumi_optimiser of_muon = muon;
    of_muon.row = sumi_optimiser_find("muon");
    config.beta1 = config.beta2 = config.epsilon = 0;
    update = sumi_optimiser_update(&of_muon, &f.runtime, &config, .5, 2, NULL, g);
    assert_true(update.beta1 == .9 && update.beta2 == .99 && update.eps == 1e-8);
    assert_true(update.matrix_rate == .5 * (double).02f);
    close_fixture(&f);
}

static void test_stable_then_down(void **state)
{
    (void)state;
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    config.rate_schedule = "wsd";
    config.learning_rate = 1;
    config.warmup_steps = 10;
    config.schedule_steps = 110;
    static const struct {
        int64_t step;
        double rate;
    } rates[] = {{5, .5}, {10, 1}, {90, 1}, {100, .5}, {105, .25}, {110, 0}, {500, 0}};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        assert_true(fabs(sumi_learning_rate(&config, rates[i].step) - rates[i].rate) < 1e-12);
}

/* ---- Parts of a batch ------------------------------------------------------------------------ */

/* A network whose norms see one image each: how a batch is cut changes nothing but rounding. */
static sumi_model *make_unet(void)
{
    sumi_model_config config = unet_config();
    sumi_model *model;
    config.timesteps = 1000;
    config.stratified = true;
    config.weighting = "min-snr";
    config.classes = 3;
    assert_ok(sumi_models_create(&config, &model, NULL));
    return model;
}

enum { BATCH = 7 };

static sumi_status step_in_parts(int accumulate, int n, float *images, fixture *f, double *loss,
                                 sumi_error *err)
{
    static const int32_t labels[BATCH] = {0, 1, 2, -1, 2, 1, 0};
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    config.batch = BATCH;
    config.seed = 5;
    config.accumulate = accumulate;
    make_runtime(&f->runtime, 2);
    f->model = make_unet();
    assert_ok(sumi_train_create(&f->runtime, f->model, &config, &f->trainer, NULL));
    sumi_batch batch = {.size = sizeof batch, .n = n, .h = SIDE, .w = SIDE, .x = images};
    batch.labels = labels;
    assert_ok(sumi_train_begin(f->trainer, SIDE, SIDE, NULL));
    return sumi_train_step(f->trainer, &batch, loss, err);
}

static void test_parts_of_a_batch(void **state)
{
    (void)state;
    float images[BATCH * PIXELS];
    const sumi_random at = {3, SUMI_STREAM_USER, 0, 0};
    sumi_random_normals(&at, 0, images, BATCH * PIXELS);
    for (int n = 2; n <= BATCH; n += 5) {
        fixture one, some[2];
        double loss, losses[2];
        assert_ok(step_in_parts(1, n, images, &one, &loss, NULL));
        size_t bytes = one.runtime.backend->network_bytes(one.trainer->network);
        double norm = norm_of(one.trainer);
        for (int k = 0; k < 2; k++) {
            assert_ok(step_in_parts(k ? BATCH : 3, n, images, &some[k], &losses[k], NULL));
            const sumi_trainer *trainer = some[k].trainer;
            assert_true(one.runtime.backend->network_bytes(trainer->network) < bytes);
            assert_true(fabs(losses[k] / loss - 1) < 1e-6);
            for (size_t i = 0; i < one.model->graph.params.value_count; i++)
                assert_true(fabs((double)trainer->gradients[i] -
                                 (double)one.trainer->gradients[i]) < 1e-6 * norm);
            assert_int_equal(some[k].model->info.steps, 1);
            close_fixture(&some[k]);
        }
        close_fixture(&one);
    }
}

static void test_parts_name_the_image(void **state)
{
    (void)state;
    float images[BATCH * PIXELS] = {0};
    fixture f;
    sumi_error err;
    images[5 * PIXELS + 3] = NAN;
    assert_int_equal(step_in_parts(3, BATCH, images, &f, NULL, &err), SUMI_EINVAL);
    assert_says(err, "image 5 of the batch");
    assert_int_equal(f.trainer->not_finite.image, 5);
    sumi_model *fresh = make_unet();
    assert_same_model(fresh, f.model);
    sumi_models_free(fresh);
    close_fixture(&f);
}

static void test_refuses_bad_numbers(void **state)
{
    (void)state;
    sumi_trainer_config good = SUMI_TRAINER_CONFIG_INIT,
                        bad[6] = {good, good, good, good, good, good};
    static const char *const says[] = {"beta1 is 1",      "beta2 nan",        "epsilon is -1",
                                       "clip_norm is -1", "clip_norm is inf", "accumulate is 0"};
    sumi_runtime runtime;
    sumi_model *model = make_model(1);
    make_runtime(&runtime, 1);
    bad[0].beta1 = 1;
    bad[1].beta2 = NAN;
    bad[2].epsilon = -1;
    bad[3].clip_norm = -1;
    bad[4].clip_norm = INFINITY;
    bad[5].accumulate = 0;
    for (int i = 0; i < 6; i++) {
        sumi_trainer *trainer = NULL;
        sumi_error err = {""};
        assert_int_equal(sumi_train_create(&runtime, model, &bad[i], &trainer, &err), SUMI_EINVAL);
        assert_says(err, says[i]);
    }
    sumi_models_free(model);
    sumi_runtime_free(&runtime);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clips_the_norm_of_all), cmocka_unit_test(test_sum_of_squares),
        cmocka_unit_test(test_numbers_of_adam),       cmocka_unit_test(test_stable_then_down),
        cmocka_unit_test(test_parts_of_a_batch),      cmocka_unit_test(test_parts_name_the_image),
        cmocka_unit_test(test_refuses_bad_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
