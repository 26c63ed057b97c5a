/*
 * Training and sampling through sumi.h: what is refused and how it is said, non-finite numbers,
 * progress, and cancelling from a callback, from another thread and before the call.
 */
#include "api/api.h"
#include "base/temp_folder.h"
#include "io/io.h"

#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, N = 3 };

typedef struct {
    sumi_context *ctx;
    sumi_model *model;
    sumi_trainer *trainer;
    float x[N * PIXELS];
    sumi_batch batch;
} fixture;

static void fixture_open(fixture *f)
{
    *f = (fixture){.ctx = api_context(NULL, 2)};
    f->model = api_model(f->ctx, 4);
    sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
    config.batch = N;
    api_ok(f->ctx, sumi_trainer_create(f->ctx, f->model, &config, &f->trainer));
    float *x = api_images(N, SIDE, SIDE);
    memcpy(f->x, x, sizeof f->x);
    free(x);
    f->batch = (sumi_batch)SUMI_BATCH_INIT;
    f->batch.n = N;
    f->batch.h = f->batch.w = SIDE;
    f->batch.x = f->x;
}

static void fixture_close(fixture *f)
{
    sumi_trainer_free(f->trainer);
    sumi_model_free(f->model);
    sumi_context_free(f->ctx);
}

/* ---- Trainer --------------------------------------------------------------------------------- */

static void test_trainer_config(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f);
    sumi_trainer *trainer = NULL;
    const sumi_train_config good = SUMI_TRAIN_CONFIG_INIT;
    sumi_train_config config = good;
    api_fails(f.ctx, sumi_trainer_create(f.ctx, NULL, &good, &trainer), SUMI_EINVAL, "model");
    api_fails(f.ctx, sumi_trainer_create(f.ctx, f.model, &good, NULL), SUMI_EINVAL, "out");
    const int batches[] = {0, -1, INT_MAX};
    for (int i = 0; i < 3; i++) {
        config.batch = batches[i];
        api_fails(f.ctx, sumi_trainer_create(f.ctx, f.model, &config, &trainer), SUMI_EINVAL,
                  "batch");
    }
    const float rates[] = {0, -1, NAN, INFINITY};
    for (int i = 0; i < 4; i++) {
        config = good;
        config.learning_rate = rates[i];
        api_fails(f.ctx, sumi_trainer_create(f.ctx, f.model, &config, &trainer), SUMI_EINVAL,
                  "learning_rate");
    }
    const float decays[] = {-.1f, 1, NAN};
    for (int i = 0; i < 3; i++) {
        config = good;
        config.ema = decays[i];
        api_fails(f.ctx, sumi_trainer_create(f.ctx, f.model, &config, &trainer), SUMI_EINVAL,
                  "ema");
    }
    config = good;
    config.size = 3;
    api_fails(f.ctx, sumi_trainer_create(f.ctx, f.model, &config, &trainer), SUMI_EINVAL, "INIT");
    assert_null(trainer);
    fixture_close(&f);
}

static void expect_step(fixture *f, sumi_batch batch, sumi_status status, const char *text)
{
    float loss = 77;
    api_fails(f->ctx, sumi_trainer_step(f->trainer, &batch, &loss), status, text);
    assert_true(loss == 77);
}

/* All settings in a struct of their own; a config from before it had none still works. */
static void test_trainer_settings(void **state)
{
    (void)state;
    fixture f, old, wanted;
    sumi_trainer_config settings = SUMI_TRAINER_CONFIG_INIT, short_settings = settings;
    sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
    fixture_open(&f);
    fixture_open(&old);
    fixture_open(&wanted);
    settings.batch = N;
    settings.seed = 8;
    settings.learning_rate = 5e-3f;
    settings.averages[0] = .9f;
    settings.averages[1] = .99f;
    settings.height = settings.width = SIDE;
    config.trainer = &settings;
    config.batch = -1; /* not looked at */
    sumi_trainer_free(f.trainer);
    api_ok(f.ctx, sumi_trainer_create(f.ctx, f.model, &config, &f.trainer));
    config = (sumi_train_config)SUMI_TRAIN_CONFIG_INIT;
    config.batch = N;
    config.seed = 8;
    config.learning_rate = 5e-3f;
    config.ema = .9f;
    sumi_trainer_free(wanted.trainer);
    api_ok(wanted.ctx, sumi_trainer_create(wanted.ctx, wanted.model, &config, &wanted.trainer));
    config.size = offsetof(sumi_train_config, trainer);
    memset(&config.trainer, 0xff, sizeof config.trainer); /* what lies behind an older struct */
    sumi_trainer_free(old.trainer);
    api_ok(old.ctx, sumi_trainer_create(old.ctx, old.model, &config, &old.trainer));
    for (int i = 0; i < 3; i++) {
        api_ok(f.ctx, sumi_trainer_step(f.trainer, &f.batch, NULL));
        api_ok(old.ctx, sumi_trainer_step(old.trainer, &f.batch, NULL));
        api_ok(wanted.ctx, sumi_trainer_step(wanted.trainer, &f.batch, NULL));
    }
    api_same_state(f.model, wanted.model);
    api_same_state(f.model, old.model);
    sumi_model *weights, *average, *same;
    api_ok(f.ctx, sumi_trainer_model(f.trainer, 0, &weights));
    api_ok(f.ctx, sumi_trainer_model(f.trainer, 1, &average));
    api_ok(wanted.ctx, sumi_trainer_model(wanted.trainer, 1, &same));
    api_same_state(weights, f.model);
    api_same_state(average, same);
    sumi_model_free(weights);
    sumi_model_free(average);
    sumi_model_free(same);
    api_ok(f.ctx, sumi_trainer_model(f.trainer, 2, &average));
    sumi_model_free(average);
    api_fails(f.ctx, sumi_trainer_model(f.trainer, 3, &average), SUMI_EINVAL, "expected 0 to 2");
    api_fails(f.ctx, sumi_trainer_model(f.trainer, -1, &average), SUMI_EINVAL, "which is -1");
    api_fails(f.ctx, sumi_trainer_model(f.trainer, 0, NULL), SUMI_EINVAL, "out");
    assert_int_equal(sumi_trainer_model(NULL, 0, &average), SUMI_EINVAL);

    short_settings.size = 0;
    config = (sumi_train_config)SUMI_TRAIN_CONFIG_INIT;
    config.trainer = &short_settings;
    sumi_trainer *trainer;
    api_fails(f.ctx, sumi_trainer_create(f.ctx, f.model, &config, &trainer), SUMI_EINVAL,
              "sumi_trainer_config: its size");
    fixture_close(&f);
    fixture_close(&old);
    fixture_close(&wanted);
}

static void test_trainer_batches(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f);
    size_t bytes;
    uint8_t *before = api_state(f.model, &bytes);
    int32_t t[N] = {1, 2, 1001};
    api_fails(f.ctx, sumi_trainer_step(f.trainer, NULL, NULL), SUMI_EINVAL, "batch");
    sumi_batch batch = f.batch;
    batch.x = NULL;
    expect_step(&f, batch, SUMI_EINVAL, "x");
    char word[64];
    const int counts[] = {0, -1, N + 1, INT_MAX, INT_MIN};
    for (int i = 0; i < 5; i++) {
        batch = f.batch;
        batch.n = counts[i];
        snprintf(word, sizeof word, "has %d images", counts[i]);
        expect_step(&f, batch, SUMI_EINVAL, word);
    }
    const int sides[] = {6, 2, 0, -4, INT_MIN};
    for (int i = 0; i < 5; i++) {
        batch = f.batch;
        batch.h = sides[i];
        snprintf(word, sizeof word, "%dx", sides[i]);
        expect_step(&f, batch, SUMI_ESHAPE, word);
    }
    batch = f.batch;
    batch.t = t;
    expect_step(&f, batch, SUMI_EINVAL, "1001");
    t[2] = 0;
    expect_step(&f, batch, SUMI_EINVAL, "0");
    batch = f.batch;
    batch.size = 0;
    expect_step(&f, batch, SUMI_EINVAL, "INIT");
    assert_int_equal(sumi_trainer_steps(f.trainer), 0);
    uint8_t *after = api_state(f.model, &bytes);
    assert_memory_equal(before, after, bytes);
    api_ok(f.ctx, sumi_trainer_step(f.trainer, &f.batch, NULL));
    assert_int_equal(sumi_trainer_steps(f.trainer), 1);
    free(before);
    free(after);
    fixture_close(&f);
}

/* A number that is not finite changes nothing, and the next good batch goes on as if it had not
 * been. */
static void test_not_finite(void **state)
{
    (void)state;
    fixture f, other;
    fixture_open(&f);
    fixture_open(&other);
    const float bad[] = {NAN, INFINITY, -INFINITY};
    float noise[N * PIXELS] = {0};
    for (int i = 0; i < 3; i++) {
        float good = f.x[PIXELS + 5];
        f.x[PIXELS + 5] = bad[i];
        expect_step(&f, f.batch, SUMI_EINVAL, "image 1");
        f.x[PIXELS + 5] = good;
        noise[7] = bad[i];
        sumi_batch batch = f.batch;
        batch.noise = noise;
        expect_step(&f, batch, SUMI_EINVAL, "noise of image 0");
    }
    assert_int_equal(sumi_trainer_steps(f.trainer), 0);
    api_same_state(f.model, other.model);
    float a, b;
    api_ok(f.ctx, sumi_trainer_step(f.trainer, &f.batch, &a));
    api_ok(other.ctx, sumi_trainer_step(other.trainer, &other.batch, &b));
    assert_true(a == b && isfinite(a));
    api_same_state(f.model, other.model);
    fixture_close(&f);
    fixture_close(&other);
}

static void test_checkpoint_arguments(void **state)
{
    temp_folder *temp = *state;
    const char *dir = temp_path(temp, "a/b/c"), *file = temp_path(temp, "file");
    fixture f;
    fixture_open(&f);
    assert_int_equal(sumi_file_save(file, "x", 1, NULL), SUMI_OK);
    api_fails(f.ctx, sumi_trainer_save(f.trainer, NULL), SUMI_EINVAL, "dir");
    api_fails(f.ctx, sumi_trainer_resume(f.trainer, NULL), SUMI_EINVAL, "dir");
    api_fails(f.ctx, sumi_trainer_resume(f.trainer, "/nowhere/x"), SUMI_EIO, "/nowhere/x");
    sumi_status status = sumi_trainer_save(f.trainer, file);
    assert_true(status == SUMI_EIO || status == SUMI_EINVAL);
    assert_non_null(strstr(sumi_last_error(f.ctx), file));
    status = sumi_trainer_resume(f.trainer, temp->path);
    assert_true(status == SUMI_EIO || status == SUMI_EFORMAT);
    api_ok(f.ctx, sumi_trainer_step(f.trainer, &f.batch, NULL));
    api_ok(f.ctx, sumi_trainer_save(f.trainer, dir));

    sumi_model *wider = api_model(f.ctx, 5);
    sumi_trainer *trainer;
    sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
    api_ok(f.ctx, sumi_trainer_create(f.ctx, wider, &config, &trainer));
    status = sumi_trainer_resume(trainer, dir); /* another network's */
    assert_true(status == SUMI_ESHAPE || status == SUMI_EINVAL || status == SUMI_EFORMAT);
    assert_true(strlen(sumi_last_error(f.ctx)) > 0);
    assert_int_equal(sumi_trainer_steps(trainer), 0);
    sumi_trainer_free(trainer);
    sumi_model_free(wider);
    fixture_close(&f);
}

/* ---- Sampling -------------------------------------------------------------------------------- */

static void test_sample_arguments(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f);
    float out[N * PIXELS];
    sumi_sample_config good = SUMI_SAMPLE_CONFIG_INIT, config;
    good.count = N;
    good.height = good.width = SIDE;
    good.steps = 2;
    const struct {
        size_t offset;
        int value;
        sumi_status status;
        const char *text;
    } wrong[] = {
        {offsetof(sumi_sample_config, count), 0, SUMI_EINVAL, "count"},
        {offsetof(sumi_sample_config, count), -1, SUMI_EINVAL, "count"},
        {offsetof(sumi_sample_config, count), N + 1, SUMI_ESHAPE, "4 images"},
        {offsetof(sumi_sample_config, height), 0, SUMI_EINVAL, "height"},
        {offsetof(sumi_sample_config, height), -8, SUMI_EINVAL, "-8"},
        {offsetof(sumi_sample_config, width), INT_MAX, SUMI_EINVAL, "width"},
        {offsetof(sumi_sample_config, width), 6, SUMI_ESHAPE, "4"},
        {offsetof(sumi_sample_config, steps), -1, SUMI_EINVAL, "steps"},
        {offsetof(sumi_sample_config, steps), 1001, SUMI_EINVAL, "1001"},
        {offsetof(sumi_sample_config, batch), -1, SUMI_EINVAL, "batch"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        config = good;
        memcpy((char *)&config + wrong[i].offset, &wrong[i].value, sizeof wrong[i].value);
        api_fails(f.ctx, sumi_sample(f.ctx, f.model, &config, out, N * PIXELS), wrong[i].status,
                  wrong[i].text);
    }
    config = good;
    config.solver = "eulr";
    api_fails(f.ctx, sumi_sample(f.ctx, f.model, &config, out, N * PIXELS), SUMI_EINVAL, "ddim");
    const float etas[] = {-.1f, 1.1f, NAN};
    for (int i = 0; i < 3; i++) {
        config = good;
        config.solver = "ddim";
        config.eta = etas[i];
        api_fails(f.ctx, sumi_sample(f.ctx, f.model, &config, out, N * PIXELS), SUMI_EINVAL, "eta");
    }
    config = good;
    config.first_index = -1;
    api_fails(f.ctx, sumi_sample(f.ctx, f.model, &config, out, N * PIXELS), SUMI_EINVAL,
              "first_index");
    config = good;
    config.size = 0;
    api_fails(f.ctx, sumi_sample(f.ctx, f.model, &config, out, N * PIXELS), SUMI_EINVAL, "INIT");
    api_fails(f.ctx, sumi_sample(f.ctx, NULL, &good, out, N * PIXELS), SUMI_EINVAL, "model");
    api_fails(f.ctx, sumi_sample(f.ctx, f.model, &good, NULL, N * PIXELS), SUMI_EINVAL, "out");
    api_fails(f.ctx, sumi_sample(f.ctx, f.model, &good, out, N * PIXELS - 1), SUMI_ESHAPE,
              "191 floats");
    api_ok(f.ctx, sumi_sample(f.ctx, f.model, &good, out, N * PIXELS));
    fixture_close(&f);
}

/* What the two callbacks of sampling see. */
typedef struct {
    sumi_context *ctx;
    int progress_calls, step_calls, last_step;
    int stop_progress, stop_step; /* at this call; 0: never */
    bool cancel;                  /* instead of returning non-zero */
} watching;

static int stop(watching *w, bool now)
{
    if (now && w->cancel) {
        sumi_cancel(w->ctx);
        return 0;
    }
    return now;
}

static int watch_progress(void *user, const sumi_progress *progress)
{
    watching *w = user;
    w->progress_calls++;
    assert_int_equal(progress->size, sizeof *progress);
    assert_int_equal(progress->phase, SUMI_PHASE_SAMPLE);
    assert_int_equal(progress->step, w->progress_calls);
    assert_int_equal(progress->step_count, 8);
    assert_true(progress->elapsed_s >= 0);
    return stop(w, w->progress_calls == w->stop_progress);
}

static int watch_step(void *user, int step, const float *x_t, const float *x_0, int n)
{
    watching *w = user;
    w->step_calls++;
    w->last_step = step;
    assert_true(n == 2 || n == 1);
    assert_true(isfinite(x_t[n * PIXELS - 1]) && isfinite(x_0[n * PIXELS - 1]));
    return stop(w, w->step_calls == w->stop_step);
}

/* Two batches (two images, then one) of four steps. */
static sumi_sample_config watched(watching *w)
{
    sumi_sample_config config = SUMI_SAMPLE_CONFIG_INIT;
    config.count = N;
    config.height = config.width = SIDE;
    config.steps = 4;
    config.batch = 2;
    config.progress = watch_progress;
    config.on_step = watch_step;
    config.user = w;
    return config;
}

static void test_sample_callbacks(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f);
    float out[N * PIXELS];
    watching w = {.ctx = f.ctx};
    sumi_sample_config config = watched(&w);
    api_ok(f.ctx, sumi_sample(f.ctx, f.model, &config, out, N * PIXELS));
    assert_int_equal(w.progress_calls, 8);
    assert_int_equal(w.step_calls, 8);
    fixture_close(&f);
}

/* Stopped within the first batch: no image is whole; within the second: two are, and they are the
 * ones that an undisturbed call draws. */
static void test_sample_stops(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f);
    float out[N * PIXELS], whole[N * PIXELS];
    watching w = {.ctx = f.ctx};
    sumi_sample_config config = watched(&w);
    api_ok(f.ctx, sumi_sample(f.ctx, f.model, &config, whole, N * PIXELS));
    for (int cancel = 0; cancel < 2; cancel++)
        for (int by_step = 0; by_step < 2; by_step++)
            for (int second = 0; second < 2; second++) {
                int at = second ? 6 : 2;
                w = (watching){.ctx = f.ctx, .cancel = cancel};
                *(by_step ? &w.stop_step : &w.stop_progress) = at;
                api_fails(f.ctx, sumi_sample(f.ctx, f.model, &config, out, N * PIXELS),
                          SUMI_CANCELLED, second ? "2 of 3" : "0 of 3");
                assert_true(w.step_calls == at || w.progress_calls == at);
                if (second)
                    assert_memory_equal(out, whole, 2 * PIXELS * sizeof *out);
            }
    w = (watching){.ctx = f.ctx};
    api_ok(f.ctx, sumi_sample(f.ctx, f.model, &config, out, N * PIXELS)); /* used up */
    assert_memory_equal(out, whole, sizeof out);
    fixture_close(&f);
}

/* ---- Cancelling ------------------------------------------------------------------------------ */

/* Before a call it stops the next one, once; freed with the context where none comes. */
static void test_cancel_before(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f);
    float out[N * PIXELS];
    int32_t t[N] = {1, 2, 3};
    sumi_batch batch = f.batch;
    batch.t = t;
    sumi_sample_config config = SUMI_SAMPLE_CONFIG_INIT;
    config.height = config.width = SIDE;
    config.steps = 1;
    sumi_cancel(f.ctx);
    api_fails(f.ctx, sumi_model_predict(f.ctx, f.model, &batch, out), SUMI_CANCELLED, "cancel");
    api_ok(f.ctx, sumi_model_predict(f.ctx, f.model, &batch, out));
    sumi_cancel(f.ctx);
    sumi_cancel(f.ctx);
    api_fails(f.ctx, sumi_trainer_step(f.trainer, &batch, NULL), SUMI_CANCELLED, "cancel");
    assert_int_equal(sumi_trainer_steps(f.trainer), 0);
    api_ok(f.ctx, sumi_trainer_step(f.trainer, &batch, NULL));
    sumi_cancel(f.ctx);
    api_fails(f.ctx, sumi_sample(f.ctx, f.model, &config, out, N * PIXELS), SUMI_CANCELLED, "0 of");
    api_ok(f.ctx, sumi_sample(f.ctx, f.model, &config, out, N * PIXELS));
    sumi_cancel(f.ctx);
    fixture_close(&f);
}

/* Long calls that are refused use the request up as well; short calls leave it. */
static void test_cancel_refused(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f);
    float out[N * PIXELS];
    int32_t t[N] = {1, 2, 3};
    int count;
    sumi_batch batch = f.batch, wrong = f.batch;
    batch.t = t;
    wrong.size = 0;
    sumi_train_config train = SUMI_TRAIN_CONFIG_INIT;
    sumi_sample_config sample = SUMI_SAMPLE_CONFIG_INIT;
    sumi_profile_config profile = SUMI_PROFILE_CONFIG_INIT;
    train.size = sample.size = profile.size = 0;
    for (int i = 0; i < 11; i++) {
        sumi_cancel(f.ctx);
        const sumi_status refused =
            i == 0   ? sumi_model_predict(f.ctx, f.model, NULL, out)
            : i == 1 ? sumi_model_predict(f.ctx, f.model, &wrong, out)
            : i == 2 ? sumi_model_predict(f.ctx, f.model, &f.batch, out) /* no t */
            : i == 3 ? sumi_trainer_step(f.trainer, NULL, NULL)
            : i == 4 ? sumi_train(f.ctx, f.model, NULL, NULL)
            : i == 5 ? sumi_train(f.ctx, NULL, NULL, &train)
            : i == 6 ? sumi_sample(f.ctx, f.model, NULL, NULL, 0)
            : i == 7 ? sumi_sample(f.ctx, f.model, &sample, out, N * PIXELS)
            : i == 8 ? sumi_profile(f.ctx, f.model, NULL, NULL, 0, &count)
            : i == 9 ? sumi_profile(f.ctx, f.model, &profile, NULL, 0, &count)
                     : sumi_profile(f.ctx, f.model, &profile, NULL, 0, NULL);
        assert_int_equal(refused, SUMI_EINVAL);
        api_ok(f.ctx, sumi_model_predict(f.ctx, f.model, &batch, out));
    }
    double speed;
    sumi_cancel(f.ctx);
    api_ok(f.ctx, sumi_measure_peak(f.ctx, &speed));
    api_fails(f.ctx, sumi_model_load(f.ctx, "/nowhere", &f.model), SUMI_EIO, "/nowhere");
    api_fails(f.ctx, sumi_model_predict(f.ctx, f.model, &batch, out), SUMI_CANCELLED, "cancel");
    fixture_close(&f);
}

typedef struct {
    sumi_context *ctx;
    atomic_bool started;
} stopper;

static void *stop_it(void *arg)
{
    stopper *s = arg;
    while (!atomic_load(&s->started))
        sched_yield();
    sumi_cancel(s->ctx);
    return NULL;
}

static int say_started(void *user, const sumi_progress *progress)
{
    (void)progress;
    atomic_store(&((stopper *)user)->started, true);
    return 0;
}

/* A sampling that would take minutes ends when another thread says so. */
static void test_cancel_from_thread(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f);
    enum { MANY = 20000 };
    float *out = malloc((size_t)MANY * PIXELS * sizeof *out);
    assert_non_null(out);
    stopper s = {.ctx = f.ctx};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stop_it, &s), 0);
    sumi_sample_config config = SUMI_SAMPLE_CONFIG_INIT;
    config.count = MANY;
    config.height = config.width = SIDE;
    config.batch = 1;
    config.progress = say_started;
    config.user = &s;
    api_fails(f.ctx, sumi_sample(f.ctx, f.model, &config, out, (size_t)MANY * PIXELS),
              SUMI_CANCELLED, "of 20000");
    pthread_join(thread, NULL);
    free(out);
    fixture_close(&f);
}

/* ---- Whole runs ------------------------------------------------------------------------------ */

typedef struct {
    sumi_context *ctx;
    int64_t steps, stop_at;
    int phases[6];
    bool cancel;
} run_watch;

static int watch_run(void *user, const sumi_progress *progress)
{
    run_watch *w = user;
    assert_in_range(progress->phase, 0, 4);
    w->phases[progress->phase]++;
    if (progress->phase != SUMI_PHASE_TRAIN)
        return 0;
    w->steps++;
    assert_int_equal(progress->step, w->steps);
    assert_true(isfinite(progress->loss) && progress->loss > 0);
    if (w->steps != w->stop_at)
        return 0;
    if (w->cancel)
        sumi_cancel(w->ctx);
    return !w->cancel;
}

static sumi_dataset *open_shapes(sumi_context *ctx)
{
    sumi_dataset *set;
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.height = config.width = SIDE;
    api_ok(ctx, sumi_dataset_open(ctx, "shapes", &config, &set));
    return set;
}

static void test_train_arguments(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f);
    sumi_dataset *set = open_shapes(f.ctx);
    const sumi_train_config good = SUMI_TRAIN_CONFIG_INIT;
    sumi_train_config config = good;
    api_fails(f.ctx, sumi_train(f.ctx, NULL, set, &good), SUMI_EINVAL, "model");
    api_fails(f.ctx, sumi_train(f.ctx, f.model, NULL, &good), SUMI_EINVAL, "set");
    config.epochs = -1;
    api_fails(f.ctx, sumi_train(f.ctx, f.model, set, &config), SUMI_EINVAL, "epochs");
    config = good;
    config.steps = -1;
    api_fails(f.ctx, sumi_train(f.ctx, f.model, set, &config), SUMI_EINVAL, "steps");
    config = good;
    config.minutes = NAN;
    api_fails(f.ctx, sumi_train(f.ctx, f.model, set, &config), SUMI_EINVAL, "minutes");
    config = good;
    config.batch = 0;
    api_fails(f.ctx, sumi_train(f.ctx, f.model, set, &config), SUMI_EINVAL, "batch");
    config = good;
    config.size = 0;
    api_fails(f.ctx, sumi_train(f.ctx, f.model, set, &config), SUMI_EINVAL, "INIT");
    sumi_dataset_free(set);

    sumi_dataset *colour;
    sumi_dataset_config rgb = SUMI_DATASET_CONFIG_INIT;
    rgb.channels = 3;
    rgb.height = rgb.width = SIDE;
    api_ok(f.ctx, sumi_dataset_open(f.ctx, "shapes", &rgb, &colour));
    api_fails(f.ctx, sumi_train(f.ctx, f.model, colour, &good), SUMI_ESHAPE, "channel");
    sumi_dataset_free(colour);
    fixture_close(&f);
}

/* A set of that many pictures, 4x4 or 4x8. */
static sumi_dataset *small_set(temp_folder *temp, sumi_context *ctx, int count, int width)
{
    uint8_t pixels[16 * 32];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 37 % 251 + 1);
    const sumi_npy array = {.dtype = SUMI_NPY_U8,
                            .rank = 3,
                            .shape = {count, 4, width},
                            .count = (size_t)count * 4 * (size_t)width,
                            .data = pixels};
    char name[32];
    sumi_dataset *set;
    snprintf(name, sizeof name, "%dx%d.npy", count, width);
    assert_int_equal(sumi_npy_write(temp_path(temp, name), &array, NULL), SUMI_OK);
    api_ok(ctx, sumi_dataset_open(ctx, temp_path(temp, name), NULL, &set));
    return set;
}

/* At the deepest level of two halvings, 4x4 is one pixel: a batch of one image is one value, which
 * batch normalisation cannot scale. That is said before the training, and only where it would
 * come to it. */
static void test_single_pixels(void **state)
{
    temp_folder *temp = *state;
    fixture f;
    fixture_open(&f);
    const struct {
        int count, width, batch, epochs, steps;
        const char *refused; /* NULL: it trains */
    } cases[] = {
        {5, 4, 2, 1, 0, "the last batch"},
        {5, 4, 4, 2, 0, "the last batch"},
        {5, 4, 2, 0, 3, "the last batch"},
        {5, 4, 2, 1, 2, NULL},
        {5, 4, 2, 0, 2, NULL},
        {5, 4, 3, 1, 0, NULL},
        {6, 4, 2, 1, 0, NULL},
        {5, 8, 2, 1, 0, NULL},
        {5, 4, 1, 0, 1, "each batch"},
        {1, 4, 128, 1, 0, "each batch"},
        {1, 8, 128, 1, 0, NULL},
        {5, 8, 1, 0, 2, NULL},
        {5, 4, 5, 1, 0, NULL},
        {5, 4, 128, 1, 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sumi_dataset *set = small_set(temp, f.ctx, cases[i].count, cases[i].width);
        sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
        char name[32];
        snprintf(name, sizeof name, "run%zu", i);
        config.batch = cases[i].batch;
        config.epochs = cases[i].epochs;
        config.steps = cases[i].steps;
        config.grid = 0;
        config.out_dir = temp_path(temp, name);
        sumi_status status = sumi_train(f.ctx, f.model, set, &config);
        if (!cases[i].refused && status != SUMI_OK)
            fail_msg("case %zu: %s", i, sumi_last_error(f.ctx));
        if (cases[i].refused) {
            api_fails(f.ctx, status, SUMI_EINVAL, cases[i].refused);
            assert_false(sumi_is_dir(config.out_dir));
        }
        sumi_dataset_free(set);
    }
    sumi_profile_config profile = SUMI_PROFILE_CONFIG_INIT;
    sumi_profile_entry entries[64];
    int count = -1;
    profile.n = 1;
    profile.height = profile.width = 4;
    profile.runs = 1;
    api_fails(f.ctx, sumi_profile(f.ctx, f.model, &profile, entries, 64, &count), SUMI_EINVAL,
              "single pixel");
    assert_int_equal(count, -1);
    profile.training = false;
    api_ok(f.ctx, sumi_profile(f.ctx, f.model, &profile, entries, 64, &count));
    fixture_close(&f);
}

static void test_train_stops(void **state)
{
    temp_folder *temp = *state;
    fixture f;
    fixture_open(&f);
    sumi_dataset *set = open_shapes(f.ctx);
    for (int cancel = 0; cancel < 2; cancel++) {
        const char *dir = temp_path(temp, cancel ? "cancelled" : "stopped");
        run_watch w = {.ctx = f.ctx, .stop_at = 3, .cancel = cancel};
        sumi_model *model = api_model(f.ctx, 4), *saved;
        sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
        config.batch = N;
        config.steps = 8;
        config.grid = 0;
        config.out_dir = dir;
        config.progress = watch_run;
        config.user = &w;
        assert_int_equal(sumi_train(f.ctx, model, set, &config), SUMI_CANCELLED);
        assert_int_equal(w.steps, 3);
        api_ok(f.ctx, sumi_model_load(f.ctx, dir, &saved)); /* saved before it returned */
        api_same_state(saved, model);
        sumi_model_free(saved);

        /* It goes on where it stopped, and ends as a run that was never stopped. */
        w = (run_watch){.ctx = f.ctx, .steps = 3};
        config.resume = true;
        api_ok(f.ctx, sumi_train(f.ctx, model, set, &config));
        assert_int_equal(w.steps, 8);
        sumi_model *straight = api_model(f.ctx, 4);
        config.out_dir = NULL;
        config.resume = false;
        w = (run_watch){.ctx = f.ctx};
        api_ok(f.ctx, sumi_train(f.ctx, straight, set, &config));
        api_same_state(model, straight);
        sumi_model_free(straight);
        sumi_model_free(model);
    }
    sumi_dataset_free(set);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trainer_config),
        cmocka_unit_test(test_trainer_settings),
        cmocka_unit_test(test_trainer_batches),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test_setup_teardown(test_checkpoint_arguments, temp_setup, temp_teardown),
        cmocka_unit_test(test_sample_arguments),
        cmocka_unit_test(test_sample_callbacks),
        cmocka_unit_test(test_sample_stops),
        cmocka_unit_test(test_cancel_before),
        cmocka_unit_test(test_cancel_refused),
        cmocka_unit_test(test_cancel_from_thread),
        cmocka_unit_test(test_train_arguments),
        cmocka_unit_test_setup_teardown(test_single_pixels, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_train_stops, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
