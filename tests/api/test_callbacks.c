/*
 * What a callback of a long call may do on the context of that call: what computes or changes a
 * model is refused and leaves the running call and its cancel alone; what reads works; and what is
 * freed there lives until the call ends. Address sanitizer finds what would be used after that.
 */
#include "api/api.h"
#include "base/temp_folder.h"

#include <stdatomic.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, N = 2, STEPS = 4 };

typedef struct {
    temp_folder *temp;
    sumi_context *ctx;
    sumi_model *model;
    sumi_trainer *trainer; /* of another model, on the same context */
    sumi_dataset *set;
    int calls;
    bool cancel;          /* before the refused calls */
    bool free_everything; /* at the first call */
} fixture;

/* A training or sampling whose callback knows the fixture. */
static sumi_train_config train_config(fixture *f, sumi_progress_fn progress)
{
    sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
    config.epochs = 0;
    config.steps = STEPS;
    config.batch = N;
    config.grid = 0;
    config.progress = progress;
    config.user = f;
    return config;
}

static sumi_sample_config sample_config(int side)
{
    sumi_sample_config config = SUMI_SAMPLE_CONFIG_INIT;
    config.count = N;
    config.height = config.width = side;
    config.steps = STEPS;
    return config;
}

static void open_fixture(fixture *f, temp_folder *temp)
{
    *f = (fixture){.temp = temp, .ctx = api_context(NULL, 2)};
    f->model = api_model(f->ctx, 4);
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.height = config.width = SIDE;
    api_ok(f->ctx, sumi_dataset_open(f->ctx, "shapes", &config, &f->set));
}

static void close_fixture(fixture *f)
{
    sumi_dataset_free(f->set);
    sumi_model_free(f->model);
    sumi_context_free(f->ctx);
}

static void refused(sumi_context *ctx, sumi_status status, const char *function)
{
    assert_int_equal(status, SUMI_EINVAL);
    assert_non_null(strstr(sumi_last_error(ctx), function));
    assert_non_null(strstr(sumi_last_error(ctx), "callbacks"));
}

/* Predictions of more sizes than the context keeps networks for: each used to take the place of
 * another, and in the end of the one that the running call works with. */
static void predict_many_sizes(fixture *f)
{
    static float x[64 * 64], out[64 * 64];
    const int32_t t = 5;
    for (int side = 4; side <= 64; side += 12) {
        sumi_batch batch = SUMI_BATCH_INIT;
        batch.n = 1;
        batch.h = batch.w = side;
        batch.x = x;
        batch.t = &t;
        refused(f->ctx, sumi_model_predict(f->ctx, f->model, &batch, out), "sumi_model_predict");
    }
}

static void call_what_is_refused(fixture *f)
{
    static float out[N * 16 * 16];
    sumi_profile_entry entries[1];
    sumi_trainer *trainer = NULL;
    double number = -1;
    int count = -1;
    const sumi_sample_config sampling = sample_config(16);
    const sumi_train_config training = train_config(f, NULL);
    const sumi_profile_config profile = SUMI_PROFILE_CONFIG_INIT;
    sumi_context *ctx = f->ctx;
    predict_many_sizes(f);
    refused(ctx, sumi_sample(ctx, f->model, &sampling, out, N * 16 * 16), "sumi_sample");
    refused(ctx, sumi_train(ctx, f->model, f->set, &training), "sumi_train");
    refused(ctx, sumi_profile(ctx, f->model, &profile, entries, 1, &count), "sumi_profile");
    refused(ctx, sumi_trainer_create(ctx, f->model, &training, &trainer), "sumi_trainer_create");
    refused(ctx, sumi_model_set_metadata(ctx, f->model, "a", "b"), "sumi_model_set_metadata");
    refused(ctx, sumi_measure_peak(ctx, &number), "sumi_measure_peak");
    refused(ctx, sumi_measure_bandwidth(ctx, &number), "sumi_measure_bandwidth");
    assert_true(trainer == NULL && count == -1 && number == -1);
    if (f->trainer) {
        sumi_batch batch = SUMI_BATCH_INIT;
        batch.n = 1;
        batch.h = batch.w = SIDE;
        batch.x = out;
        refused(ctx, sumi_trainer_step(f->trainer, &batch, NULL), "sumi_trainer_step");
        refused(ctx, sumi_trainer_resume(f->trainer, "x"), "sumi_trainer_resume");
    }
    sumi_context_free(ctx); /* does nothing */
}

static void call_what_reads(fixture *f)
{
    sumi_context *ctx = f->ctx;
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    sumi_tensor_t tensor = SUMI_TENSOR_INIT;
    sumi_model *model;
    sumi_dataset *set;
    float image[PIXELS];
    const char *path = temp_path(f->temp, "x.safetensors");
    api_ok(ctx, sumi_model_save(ctx, f->model, path));
    api_ok(ctx, sumi_model_load(ctx, path, &model));
    api_same_state(f->model, model);
    sumi_model_free(model);
    api_ok(ctx, sumi_model_create(ctx, NULL, &model));
    sumi_model_free(model);
    api_ok(ctx, sumi_dataset_open(ctx, "shapes", NULL, &set));
    sumi_dataset_free(set);
    assert_int_equal(sumi_dataset_read(f->set, 3, image, NULL), SUMI_OK);
    assert_int_equal(sumi_model_info(f->model, &info), SUMI_OK);
    assert_int_equal(sumi_model_tensor(f->model, 0, &tensor), SUMI_OK);
    assert_int_equal(sumi_context_threads(ctx), 2);
    api_fails(ctx, sumi_model_load(ctx, "/nowhere", &model), SUMI_EIO, "/nowhere");
    if (f->trainer)
        api_ok(ctx, sumi_trainer_save(f->trainer, temp_path(f->temp, "checkpoint")));
}

static void act(fixture *f)
{
    f->calls++;
    if (f->cancel)
        sumi_cancel(f->ctx);
    if (f->free_everything && f->calls == 1) {
        sumi_model_free(f->model);
        sumi_dataset_free(f->set);
        sumi_trainer_free(f->trainer);
        sumi_context_free(f->ctx);
        return;
    }
    if (f->free_everything)
        return;
    call_what_reads(f);
    call_what_is_refused(f);
}

static int act_in_progress(void *user, const sumi_progress *progress)
{
    (void)progress;
    act(user);
    return 0;
}

static int act_in_step(void *user, int step, const float *x_t, const float *x_0, int n)
{
    (void)step;
    act(user);
    /* The buffers are still there. */
    for (int i = 0; i < n * PIXELS; i++)
        assert_true(x_t[i] - x_t[i] == 0 && x_0[i] - x_0[i] == 0);
    return 0;
}

static void test_within_sampling(void **state)
{
    fixture f;
    open_fixture(&f, *state);
    float out[N * PIXELS], alone[N * PIXELS];
    sumi_model *other = api_model(f.ctx, 4);
    const sumi_train_config training = train_config(&f, NULL);
    api_ok(f.ctx, sumi_trainer_create(f.ctx, other, &training, &f.trainer));
    sumi_sample_config config = sample_config(SIDE);
    api_ok(f.ctx, sumi_sample(f.ctx, f.model, &config, alone, N * PIXELS));
    config.user = &f;
    for (int by_step = 0; by_step < 2; by_step++) {
        f.calls = 0;
        config.on_step = by_step ? act_in_step : NULL;
        config.progress = by_step ? NULL : act_in_progress;
        api_ok(f.ctx, sumi_sample(f.ctx, f.model, &config, out, N * PIXELS));
        assert_string_equal(sumi_last_error(f.ctx), "");
        assert_int_equal(f.calls, STEPS);
        assert_memory_equal(out, alone, sizeof out);
    }
    /* Once it has returned, everything is allowed again. */
    config = sample_config(16);
    static float large[N * 16 * 16];
    api_ok(f.ctx, sumi_sample(f.ctx, f.model, &config, large, N * 16 * 16));
    sumi_trainer_free(f.trainer);
    sumi_model_free(other);
    close_fixture(&f);
}

static void test_within_training(void **state)
{
    fixture f;
    open_fixture(&f, *state);
    sumi_train_config config = train_config(&f, act_in_progress);
    config.out_dir = temp_path(f.temp, "run");
    config.grid = 2; /* its sampling has callbacks, too */
    config.grid_steps = 2;
    api_ok(f.ctx, sumi_train(f.ctx, f.model, f.set, &config));
    assert_string_equal(sumi_last_error(f.ctx), "");
    assert_true(f.calls > STEPS + 2);
    sumi_model *alone = api_model(f.ctx, 4);
    config = train_config(&f, NULL);
    api_ok(f.ctx, sumi_train(f.ctx, alone, f.set, &config));
    api_same_state(f.model, alone);
    sumi_model_free(alone);
    close_fixture(&f);
}

/* A refused call used to use up the request that the running one had not seen yet. */
static void test_cancel_survives(void **state)
{
    fixture f;
    open_fixture(&f, *state);
    float out[N * PIXELS];
    f.cancel = true;
    sumi_sample_config sampling = sample_config(SIDE);
    sampling.user = &f;
    for (int by_step = 0; by_step < 2; by_step++) {
        f.calls = 0;
        sampling.on_step = by_step ? act_in_step : NULL;
        sampling.progress = by_step ? NULL : act_in_progress;
        api_fails(f.ctx, sumi_sample(f.ctx, f.model, &sampling, out, N * PIXELS), SUMI_CANCELLED,
                  "0 of 2");
        assert_int_equal(f.calls, 1);
    }
    f.calls = 0;
    const sumi_train_config training = train_config(&f, act_in_progress);
    api_fails(f.ctx, sumi_train(f.ctx, f.model, f.set, &training), SUMI_CANCELLED, "step 1");
    /* And it is used up by then. */
    f.cancel = false;
    sampling = sample_config(SIDE);
    api_ok(f.ctx, sumi_sample(f.ctx, f.model, &sampling, out, N * PIXELS));
    close_fixture(&f);
}

static void test_frees(void **state)
{
    fixture f;
    float out[N * PIXELS];
    for (int kind = 0; kind < 3; kind++) {
        open_fixture(&f, *state);
        f.free_everything = true;
        sumi_context *ctx = f.ctx;
        sumi_model *other = api_model(ctx, 4);
        sumi_train_config training = train_config(&f, NULL);
        api_ok(ctx, sumi_trainer_create(ctx, other, &training, &f.trainer));
        sumi_sample_config sampling = sample_config(SIDE);
        sampling.user = &f;
        sampling.on_step = kind == 0 ? act_in_step : NULL;
        sampling.progress = act_in_progress;
        training.progress = act_in_progress;
        if (kind < 2)
            api_ok(ctx, sumi_sample(ctx, f.model, &sampling, out, N * PIXELS));
        else
            api_ok(ctx, sumi_train(ctx, f.model, f.set, &training));
        assert_true(f.calls >= STEPS);
        /* The context is as it was: what its callback asked for did not happen. */
        api_fails(ctx, sumi_model_load(ctx, "/nowhere", &f.model), SUMI_EIO, "/nowhere");
        sumi_model_free(other);
        sumi_context_free(ctx);
    }
}

/* Another context may do what it likes with the same model, but for training it. */
static int predict_elsewhere(void *user, int step, const float *x_t, const float *x_0, int n)
{
    const fixture *f = user;
    sumi_context *other = api_context(NULL, 1);
    float out[PIXELS];
    const int32_t t = step;
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.n = 1;
    batch.h = batch.w = SIDE;
    batch.x = x_t;
    batch.t = &t;
    api_ok(other, sumi_model_predict(other, f->model, &batch, out));
    sumi_context_free(other);
    return x_0 == NULL || n != N;
}

static void test_another_context(void **state)
{
    fixture f;
    open_fixture(&f, *state);
    float out[N * PIXELS];
    sumi_sample_config config = sample_config(SIDE);
    config.on_step = predict_elsewhere;
    config.user = &f;
    api_ok(f.ctx, sumi_sample(f.ctx, f.model, &config, out, N * PIXELS));
    close_fixture(&f);
}

/* Images by lots, with and without room for all of them. */
typedef struct {
    float images[5 * PIXELS];
    int64_t next;
    int stop_at; /* call that returns non-zero; 0: none */
    int calls;
} taken;

static int take(void *user, int64_t first, const float *images, int n)
{
    taken *t = user;
    assert_int_equal(first, t->next);
    assert_in_range(n, 1, 2);
    memcpy(t->images + first * PIXELS, images, (size_t)n * PIXELS * sizeof *images);
    t->next += n;
    return ++t->calls == t->stop_at;
}

static void test_images_come(void **state)
{
    fixture f;
    open_fixture(&f, *state);
    float whole[5 * PIXELS], out[5 * PIXELS];
    sumi_sample_config config = sample_config(SIDE);
    config.count = 5;
    config.first_index = 3;
    api_ok(f.ctx, sumi_sample(f.ctx, f.model, &config, whole, 5 * PIXELS));
    config.batch = 2;
    api_fails(f.ctx, sumi_sample(f.ctx, f.model, &config, NULL, 0), SUMI_EINVAL, "out");
    config.on_images = take;
    for (int room = 0; room < 2; room++) {
        taken t = {.calls = 0};
        config.user = &t;
        api_ok(f.ctx, sumi_sample(f.ctx, f.model, &config, room ? out : NULL, room * 5 * PIXELS));
        assert_true(t.next == 5 && t.calls == 3);
        assert_memory_equal(t.images, whole, sizeof whole);
        if (room)
            assert_memory_equal(out, whole, sizeof whole);
        t = (taken){.stop_at = 2};
        api_fails(f.ctx, sumi_sample(f.ctx, f.model, &config, room ? out : NULL, room * 5 * PIXELS),
                  SUMI_CANCELLED, "4 of 5");
        assert_int_equal(t.calls, 2);
    }
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_within_sampling, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_within_training, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_cancel_survives, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_frees, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_another_context, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_images_come, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
