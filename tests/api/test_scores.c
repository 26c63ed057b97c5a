/*
 * A run that is scored as it trains: what it leaves, that it changes no bit of the training, and
 * that a run which was stopped within a score goes on as if it had not been.
 */
#include "base/temp_folder.h"

#include "api/api.h"
#include <math.h>

#include "io/io.h"

enum { SIDE = 8, IMAGES = 192, BATCH = 64, PER_EPOCH = 3, COUNT = 136 };

typedef struct {
    sumi_context *ctx;
    sumi_dataset *set;
    sumi_classifier *evaluator;
    sumi_train_config config;
    int scores, samples, stop_sample;
    double last;
} fixture;

static void write_images(const char *path)
{
    sumi_npy array = {.dtype = SUMI_NPY_U8, .rank = 4, .shape = {IMAGES, SIDE, SIDE, 1}};
    array.count = IMAGES * SIDE * SIDE;
    uint8_t *pixels = malloc(array.count);
    assert_non_null(pixels);
    for (size_t i = 0; i < array.count; i++) {
        const sumi_random at = {3, SUMI_STREAM_USER, 0, i / (SIDE * SIDE)};
        pixels[i] = (uint8_t)(sumi_random_below(&at, i % (SIDE * SIDE), 80) + i % 8 * 20);
    }
    array.data = pixels;
    assert_int_equal(sumi_npy_write(path, &array, NULL), SUMI_OK);
    free(pixels);
}

static int see(void *user, const sumi_progress_t *progress)
{
    fixture *f = user;
    f->scores += progress->phase == SUMI_PHASE_SCORE;
    f->samples += progress->phase == SUMI_PHASE_SAMPLE;
    if (progress->phase == SUMI_PHASE_SCORE) {
        f->last = progress->loss;
        assert_true(sumi_is_file(progress->path));
    }
    return f->stop_sample > 0 && f->samples == f->stop_sample;
}

static void open_fixture(fixture *f, temp_folder *temp)
{
    sumi_classifier_config shape = SUMI_CLASSIFIER_CONFIG_INIT;
    memset(f, 0, sizeof *f);
    f->ctx = api_context(NULL, 2);
    write_images(temp_path(temp, "set.npy"));
    api_ok(f->ctx, sumi_dataset_open(f->ctx, temp_path(temp, "set.npy"), NULL, &f->set));
    shape.shape = "random-conv";
    api_ok(f->ctx, sumi_classifier_train(f->ctx, f->set, NULL, &shape, &f->evaluator));
    f->config = (sumi_train_config)SUMI_TRAIN_CONFIG_INIT;
    f->config.batch = BATCH;
    f->config.epochs = 2;
    f->config.ema = .5f;
    f->config.grid = 0;
    f->config.eval_every = 1;
    f->config.eval_images = COUNT;
    f->config.evaluator = f->evaluator;
    f->config.progress = see;
    f->config.user = f;
}

static void close_fixture(fixture *f)
{
    sumi_classifier_free(f->evaluator);
    sumi_dataset_free(f->set);
    sumi_context_free(f->ctx);
}

/* Trains a model that is sampled in three evaluations, and returns how that ended. */
static sumi_status train(fixture *f, sumi_model **out)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_sample_config way = SUMI_SAMPLE_CONFIG_INIT;
    config.base_channels = 4;
    config.time_dim = 8;
    config.timesteps = 20;
    way.solver = "ddim";
    way.steps = 3;
    sumi_model *model;
    api_ok(f->ctx, sumi_model_create(f->ctx, &config, &model));
    api_ok(f->ctx, sumi_model_set_sampling(f->ctx, model, &way));
    f->scores = f->samples = 0;
    sumi_status status = sumi_train(f->ctx, model, f->set, &f->config);
    if (out)
        *out = model;
    else
        sumi_model_free(model);
    return status;
}

static char *read_text(temp_folder *temp, const char *name)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    assert_int_equal(sumi_file_read(temp_path(temp, name), 1 << 20, &bytes, &size, NULL), SUMI_OK);
    char *text = malloc(size + 1);
    assert_non_null(text);
    memcpy(text, bytes, size);
    text[size] = '\0';
    free(bytes);
    return text;
}

/* A file of any bytes. */
static bool holds(temp_folder *temp, const char *name, const char *text)
{
    uint8_t *bytes = NULL;
    size_t size = 0, length = strlen(text);
    bool found = false;
    assert_int_equal(sumi_file_read(temp_path(temp, name), 1 << 20, &bytes, &size, NULL), SUMI_OK);
    for (size_t i = 0; i + length <= size && !found; i++)
        found = memcmp(bytes + i, text, length) == 0;
    free(bytes);
    return found;
}

/* Two lines, of the ends of the epochs; `best` names the step with the lower distance. */
static void check_files(temp_folder *temp, const char *run, const fixture *f)
{
    char name[64], best[32];
    double distance[2];
    snprintf(name, sizeof name, "%s/eval.jsonl", run);
    char *text = read_text(temp, name), *line = text;
    for (int i = 0; i < 2; i++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        json_t *json = json_loads(line, 0, NULL);
        assert_int_equal(json_integer_value(json_object_get(json, "step")), (i + 1) * PER_EPOCH);
        assert_int_equal(json_integer_value(json_object_get(json, "epoch")), i);
        assert_int_equal(json_integer_value(json_object_get(json, "n")), COUNT);
        distance[i] = json_number_value(json_object_get(json, "frechet"));
        assert_true(distance[i] > 0);
        assert_true(json_is_number(json_object_get(json, "kernel")));
        json_decref(json);
        line = end + 1;
    }
    assert_int_equal(*line, '\0');
    assert_true(fabs(f->last - distance[1]) < 1e-6 * distance[1]);
    free(text);
    snprintf(best, sizeof best, "step_%d\n", distance[1] < distance[0] ? 2 * PER_EPOCH : PER_EPOCH);
    snprintf(name, sizeof name, "%s/best", run);
    text = read_text(temp, name);
    assert_string_equal(text, best);
    text[strlen(text) - 1] = '\0';
    snprintf(name, sizeof name, "%s/checkpoints/%s", run, text);
    assert_true(sumi_is_dir(temp_path(temp, name)));
    free(text);
    snprintf(name, sizeof name, "%s/index.html", run);
    text = read_text(temp, name);
    assert_non_null(strstr(text, "score.svg"));
    free(text);
    snprintf(name, sizeof name, "%s/events.out.tfevents.sumi", run);
    assert_true(holds(temp, name, "score/frechet"));
    snprintf(name, sizeof name, "%s/score.svg", run);
    assert_true(sumi_is_file(temp_path(temp, name)));
}

static void test_scores(void **state)
{
    temp_folder *temp = *state;
    fixture f;
    sumi_model *scored, *plain;
    open_fixture(&f, temp);
    f.config.out_dir = temp_path(temp, "straight");
    api_ok(f.ctx, train(&f, &scored));
    assert_int_equal(f.scores, 2);
    check_files(temp, "straight", &f);
    int samples = f.samples;
    f.config.eval_every = 0;
    f.config.out_dir = temp_path(temp, "plain");
    api_ok(f.ctx, train(&f, &plain));
    assert_int_equal(f.scores, 0);
    api_same_state(scored, plain);
    sumi_model_free(plain);
    sumi_model_free(scored);

    /* Stopped within the second score, and gone on. */
    f.config.eval_every = 1;
    f.config.out_dir = temp_path(temp, "stopped");
    f.stop_sample = samples / 2 + 1;
    assert_int_equal(train(&f, NULL), SUMI_CANCELLED);
    assert_int_equal(f.scores, 1);
    f.stop_sample = 0;
    f.config.resume = true;
    api_ok(f.ctx, train(&f, NULL));
    assert_int_equal(f.scores, 1);
    check_files(temp, "stopped", &f);
    char *a = read_text(temp, "straight/eval.jsonl"), *b = read_text(temp, "stopped/eval.jsonl");
    assert_string_equal(a, b);
    free(a);
    free(b);
    close_fixture(&f);
}

static void test_refused(void **state)
{
    temp_folder *temp = *state;
    fixture f;
    open_fixture(&f, temp);
    sumi_train_config good = f.config;
    api_fails(f.ctx, train(&f, NULL), SUMI_EINVAL, "eval_every needs out_dir");
    good.out_dir = f.config.out_dir = temp_path(temp, "run");
    f.config.evaluator = NULL;
    api_fails(f.ctx, train(&f, NULL), SUMI_EINVAL, "eval_every needs an evaluator");
    f.config = good;
    f.config.eval_every = -1;
    api_fails(f.ctx, train(&f, NULL), SUMI_EINVAL, "eval_every is -1");
    f.config = good;
    f.config.eval_images = 128;
    api_fails(f.ctx, train(&f, NULL), SUMI_EINVAL, "eval_images is 128");
    assert_false(sumi_is_dir(good.out_dir));

    /* Within an epoch there is one at the end. */
    f.config = good;
    f.config.steps = PER_EPOCH - 1;
    api_ok(f.ctx, train(&f, NULL));
    assert_int_equal(f.scores, 1);
    f.config.resume = true;
    f.config.eval_every = 2;
    api_fails(f.ctx, train(&f, NULL), SUMI_EINVAL, "eval_every");
    sumi_classifier_config shape = SUMI_CLASSIFIER_CONFIG_INIT;
    sumi_classifier *other;
    shape.shape = "random-conv";
    shape.seed = 9;
    api_ok(f.ctx, sumi_classifier_train(f.ctx, f.set, NULL, &shape, &other));
    f.config.eval_every = 1;
    f.config.evaluator = other;
    f.config.steps = PER_EPOCH;
    api_fails(f.ctx, train(&f, NULL), SUMI_EINVAL, "by another evaluator");
    sumi_classifier_free(other);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_scores, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_refused, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
