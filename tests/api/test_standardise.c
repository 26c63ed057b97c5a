/*
 * A model that standardises its data: what is measured, that it learns and draws as one that is
 * given standardised images by hand, and that everything that goes in or comes out is an image.
 */
#include "base/temp_folder.h"

#include <math.h>

#include "api/api.h"
#include "data/data.h"

enum { N = 6, SIDE = 12, CHANNELS = 3, IMAGE = SIDE * SIDE * CHANNELS };
#define TO .5f

/* Three channels: a wide one, a narrow one, and one that is nearly constant. */
static uint8_t pixel_of(int i, int at)
{
    unsigned mixed = (unsigned)(i * IMAGE + at) * 2654435761u >> 16;
    int c = at % CHANNELS;
    return (uint8_t)(c == 0 ? mixed % 256 : c == 1 ? 60 + mixed % 100 : 200 + mixed % 2);
}

static sumi_dataset *open_set(sumi_context *ctx, temp_folder *temp)
{
    static uint8_t pixels[N * IMAGE];
    const sumi_npy array = {.dtype = SUMI_NPY_U8,
                            .rank = 4,
                            .shape = {N, SIDE, SIDE, CHANNELS},
                            .count = N * IMAGE,
                            .data = pixels};
    const char *path = temp_path(temp, "set.npy");
    sumi_dataset *set;
    for (int i = 0; i < N * IMAGE; i++)
        pixels[i] = pixel_of(i / IMAGE, i % IMAGE);
    assert_int_equal(sumi_npy_write(path, &array, NULL), SUMI_OK);
    api_ok(ctx, sumi_dataset_open(ctx, path, NULL, &set));
    return set;
}

static sumi_model_config config_of(const char *objective, const char *schedule, bool standardise)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    assert_int_equal(sumi_model_config_net(&config, "unet"), SUMI_OK);
    config.in_channels = config.out_channels = CHANNELS;
    config.base_channels = 4;
    config.time_dim = 8;
    config.multipliers[2] = config.blocks[2] = 0;
    config.objective = objective;
    config.schedule = schedule;
    config.sigma_data = TO;
    config.seed = 3;
    config.standardise = standardise;
    return config;
}

/* One that standardises, and the same weights without. */
static void make_models(sumi_context *ctx, const sumi_dataset *set, const char *objective,
                        const char *schedule, sumi_model *out[2])
{
    for (int i = 0; i < 2; i++) {
        sumi_model_config config = config_of(objective, schedule, i == 0);
        api_ok(ctx, sumi_model_create(ctx, &config, &out[i]));
    }
    api_ok(ctx, sumi_model_measure(ctx, out[0], set));
}

static void free_models(sumi_model *models[2])
{
    sumi_model_free(models[0]);
    sumi_model_free(models[1]);
}

static void read_images(const sumi_dataset *set, float *out)
{
    for (int i = 0; i < N; i++)
        assert_int_equal(sumi_dataset_read(set, i, out + (size_t)i * IMAGE, NULL), SUMI_OK);
}

static float mean_of(const sumi_model *model, int at)
{
    float mean;
    assert_int_equal(sumi_model_statistics(model, at % CHANNELS, &mean, NULL), SUMI_OK);
    return mean;
}

static float deviation_of(const sumi_model *model, int at)
{
    float deviation;
    assert_int_equal(sumi_model_statistics(model, at % CHANNELS, NULL, &deviation), SUMI_OK);
    return deviation;
}

static float told(const sumi_model *model, int at, float x)
{
    return (x - mean_of(model, at)) * (TO / deviation_of(model, at));
}

static float shown(const sumi_model *model, int at, float y)
{
    return y * (deviation_of(model, at) / TO) + mean_of(model, at);
}

static void expect_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance))
        fail_msg("%.9g is not %.9g", a, b);
}

/* ---- What is measured ------------------------------------------------------------------------ */

static void test_statistics(void **state)
{
    sumi_context *ctx = api_context(NULL, 1);
    sumi_dataset *set = open_set(ctx, *state);
    sumi_model *models[2];
    float mean, deviation;
    make_models(ctx, set, "edm", "edm", models);
    for (int c = 0; c < CHANNELS; c++) {
        double sum = 0, squares = 0, count = N * SIDE * SIDE;
        for (int i = 0; i < N * IMAGE; i++) {
            double value = i % CHANNELS == c ? pixel_of(i / IMAGE, i % IMAGE) / 255. : 0;
            sum += value;
            squares += value * value;
        }
        double expected = sqrt(squares / count - sum / count * (sum / count));
        assert_int_equal(sumi_model_statistics(models[0], c, &mean, &deviation), SUMI_OK);
        expect_near((double)mean, sum / count, 1e-7);
        expect_near((double)deviation, fmax(expected, .05), 1e-7);
    }
    assert_int_equal(sumi_model_statistics(models[0], CHANNELS, NULL, NULL), SUMI_EINVAL);
    assert_int_equal(sumi_model_statistics(models[0], -1, NULL, NULL), SUMI_EINVAL);
    assert_int_equal(sumi_model_statistics(models[1], 0, NULL, NULL), SUMI_EINVAL);
    assert_int_equal(sumi_model_statistics(NULL, 0, NULL, NULL), SUMI_EINVAL);
    free_models(models);
    sumi_dataset_free(set);
    sumi_context_free(ctx);
}

static void test_refusals(void **state)
{
    sumi_context *ctx = api_context(NULL, 1);
    sumi_dataset *set = open_set(ctx, *state);
    sumi_model_config config = config_of("edm", "edm", true);
    sumi_model *model, *grey;
    sumi_trainer *trainer = NULL;
    api_ok(ctx, sumi_model_create(ctx, &config, &model));
    api_fails(ctx, sumi_trainer_create(ctx, model, NULL, &trainer), SUMI_EINVAL,
              "not measured: sumi_model_measure");
    config.in_channels = config.out_channels = 1;
    api_ok(ctx, sumi_model_create(ctx, &config, &grey));
    api_fails(ctx, sumi_model_measure(ctx, grey, set), SUMI_ESHAPE, "3 channels");
    api_fails(ctx, sumi_model_measure(ctx, NULL, set), SUMI_EINVAL, "model");
    sumi_model_free(model);
    sumi_model_free(grey);
    sumi_dataset_free(set);
    sumi_context_free(ctx);
}

/* ---- Training -------------------------------------------------------------------------------- */

/* The same bits as a model that is given the images standardised by hand. */
static void test_steps(void **state)
{
    sumi_context *ctx = api_context(NULL, 2);
    sumi_dataset *set = open_set(ctx, *state);
    static float images[2][N * IMAGE];
    sumi_model *models[2];
    make_models(ctx, set, "edm", "edm", models);
    read_images(set, images[0]);
    for (int i = 0; i < N * IMAGE; i++)
        images[1][i] = told(models[0], i, images[0][i]);
    for (int i = 0; i < 2; i++) {
        sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
        sumi_batch batch = SUMI_BATCH_INIT;
        sumi_trainer *trainer;
        config.batch = N;
        config.ema = .5f;
        api_ok(ctx, sumi_trainer_create(ctx, models[i], &config, &trainer));
        batch.n = N;
        batch.h = batch.w = SIDE;
        batch.x = images[i];
        for (int k = 0; k < 3; k++)
            api_ok(ctx, sumi_trainer_step(trainer, &batch, NULL));
        sumi_model *average;
        api_ok(ctx, sumi_trainer_model(trainer, 1, &average));
        assert_int_equal(sumi_model_statistics(average, 0, NULL, NULL),
                         i == 0 ? SUMI_OK : SUMI_EINVAL);
        sumi_model_free(average);
        sumi_trainer_free(trainer);
    }
    api_same_state(models[0], models[1]);
    free_models(models);
    sumi_dataset_free(set);
    sumi_context_free(ctx);
}

/* A run measures by itself, its files keep what it found, and it goes on. */
static void test_run(void **state)
{
    sumi_context *ctx = api_context(NULL, 1);
    sumi_dataset *set = open_set(ctx, *state);
    sumi_model_config config = config_of("edm", "edm", true);
    sumi_model *model, *again, *loaded;
    char run[4096];
    snprintf(run, sizeof run, "%s", temp_path(*state, "run"));
    sumi_train_config train = SUMI_TRAIN_CONFIG_INIT;
    train.batch = 2;
    train.epochs = 1;
    train.grid = 4;
    train.grid_steps = 2;
    train.out_dir = run;
    api_ok(ctx, sumi_model_create(ctx, &config, &model));
    api_ok(ctx, sumi_train(ctx, model, set, &train));
    api_ok(ctx, sumi_model_create(ctx, &config, &again));
    train.epochs = 2;
    train.resume = true;
    api_ok(ctx, sumi_train(ctx, again, set, &train));
    api_ok(ctx, sumi_model_load(ctx, run, &loaded));
    for (int c = 0; c < CHANNELS; c++) {
        assert_true(mean_of(loaded, c) == mean_of(model, c));
        assert_true(deviation_of(loaded, c) == deviation_of(model, c));
    }
    api_same_state(loaded, again);
    sumi_model_free(model);
    sumi_model_free(again);
    sumi_model_free(loaded);
    sumi_dataset_free(set);
    sumi_context_free(ctx);
}

/* ---- Sampling -------------------------------------------------------------------------------- */

enum { COUNT = 3, FLOATS = COUNT * IMAGE };

typedef struct {
    int calls;
    float x_t[FLOATS], x_0[FLOATS]; /* of the last call */
    float low, high;                /* of all x_0 */
} seen;

static int see(void *user, int step, const float *x_t, const float *x_0, int n)
{
    seen *s = user;
    (void)step;
    assert_int_equal(n, COUNT);
    memcpy(s->x_t, x_t, sizeof s->x_t);
    memcpy(s->x_0, x_0, sizeof s->x_0);
    for (int i = 0; i < FLOATS; i++) {
        s->low = fminf(s->low, x_0[i]);
        s->high = fmaxf(s->high, x_0[i]);
    }
    s->calls++;
    return 0;
}

static sumi_sample_config sample_config(seen *s)
{
    sumi_sample_config config = SUMI_SAMPLE_CONFIG_INIT;
    config.count = COUNT;
    config.height = config.width = SIDE;
    config.solver = "dpmpp-2m";
    config.steps = 5;
    config.seed = 7;
    config.on_step = see;
    config.user = s;
    return config;
}

/* What the one draws is what the other draws, shown as images; what it is given likewise. */
static void check_samples(sumi_context *ctx, sumi_model *const models[2], sumi_sample_config config,
                          const float *image, const float *start)
{
    static float given[2][FLOATS], out[2][FLOATS];
    static seen s[2];
    const float *from = image ? image : start;
    for (int i = 0; i < 2; i++) {
        s[i] = (seen){0};
        for (int k = 0; from && k < FLOATS; k++)
            given[i][k] = i == 0 ? from[k] : told(models[0], k, from[k]);
        config.image = image ? given[i] : NULL;
        config.start = start ? given[i] : NULL;
        config.user = &s[i];
        api_ok(ctx, sumi_sample(ctx, models[i], &config, out[i], FLOATS));
        assert_true(s[i].calls > 0 || !config.on_step);
    }
    for (int k = 0; k < FLOATS; k++) {
        expect_near((double)out[0][k], (double)shown(models[0], k, out[1][k]), 1e-4);
        if (!config.on_step)
            continue;
        expect_near((double)s[0].x_0[k], (double)shown(models[0], k, s[1].x_0[k]), 1e-4);
        expect_near((double)s[0].x_t[k], (double)shown(models[0], k, s[1].x_t[k]), 1e-4);
    }
}

static void test_samples(void **state)
{
    sumi_context *ctx = api_context(NULL, 2);
    sumi_dataset *set = open_set(ctx, *state);
    static const char *const processes[][2] = {{"edm", "edm"}, {"v", "cosine"}, {"flow", "flow"}};
    static float images[N * IMAGE], mask[SIDE * SIDE];
    seen s;
    read_images(set, images);
    for (int i = 0; i < SIDE * SIDE; i++)
        mask[i] = i % 3 == 0;
    for (size_t i = 0; i < sizeof processes / sizeof *processes; i++) {
        sumi_model *models[2];
        make_models(ctx, set, processes[i][0], processes[i][1], models);
        sumi_sample_config config = sample_config(&s);
        check_samples(ctx, models, config, NULL, NULL);
        check_samples(ctx, models, config, NULL, images);
        config.strength = .5f;
        check_samples(ctx, models, config, images, NULL);
        config.mask = mask;
        check_samples(ctx, models, config, images, NULL);
        config = sample_config(&s);
        config.solver = "rk45";
        config.steps = 40;
        config.on_step = NULL;
        check_samples(ctx, models, config, NULL, NULL);
        free_models(models);
    }
    sumi_dataset_free(set);
    sumi_context_free(ctx);
}

/* Each image alone and in any batch, and its predictions within the range that is asked for, which
 * is that of images. */
static void test_limits(void **state)
{
    sumi_context *ctx = api_context(NULL, 1);
    sumi_dataset *set = open_set(ctx, *state);
    static float out[FLOATS], alone[IMAGE];
    sumi_model *models[2];
    seen s = {0};
    make_models(ctx, set, "edm", "edm", models);
    for (int k = 0; k < 3; k++) {
        sumi_sample_config config = sample_config(&s);
        s = (seen){.low = 1, .high = 0};
        config.clip_low = k == 1 ? .25f : 0;
        config.clip_high = k == 1 ? .5f : k == 0 ? 0 : 1;
        config.threshold = k == 2 ? .9f : 0;
        config.churn = 0;
        api_ok(ctx, sumi_sample(ctx, models[0], &config, out, FLOATS));
        if (k == 0)
            assert_true(s.low < -.01f && s.high > 1.01f);
        else
            assert_true(s.low >= config.clip_low - 1e-5f && s.high <= config.clip_high + 1e-5f);
        config.on_step = NULL;
        config.count = 1;
        config.first_index = 2;
        api_ok(ctx, sumi_sample(ctx, models[0], &config, alone, IMAGE));
        assert_memory_equal(alone, out + 2 * IMAGE, sizeof alone);
    }
    free_models(models);
    sumi_dataset_free(set);
    sumi_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_statistics, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_refusals, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_steps, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_run, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_samples, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_limits, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
