/*
 * A program that has called setlocale(LC_ALL, "") under a locale with decimal commas: every file of
 * the library is written with points, and read back.
 */
#include "api/api.h"
#include "base/locale_test.h"
#include "io/io.h"

#include <ctype.h>

enum { SIDE = 16, STEPS = 6 };

/* Trains on shapes for some steps; the second call goes on with the run. */
static void train(sumi_context *ctx, const char *run, int steps, bool resume)
{
    sumi_model_config shape = SUMI_MODEL_CONFIG_INIT;
    sumi_dataset_config data = SUMI_DATASET_CONFIG_INIT;
    sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
    sumi_dataset *set;
    sumi_model *model;
    shape.base_channels = 4;
    shape.in_channels = shape.out_channels = 1;
    shape.beta_end = .0123456f;
    data.channels = 1;
    data.height = data.width = SIDE;
    config.epochs = 0;
    config.steps = steps;
    config.batch = 4;
    config.learning_rate = 1.25e-3f;
    config.ema = .9f;
    config.grid = 1;
    config.grid_steps = 2;
    config.out_dir = run;
    config.resume = resume;
    api_ok(ctx, sumi_dataset_open(ctx, "shapes", &data, &set));
    api_ok(ctx, sumi_model_create(ctx, &shape, &model));
    api_ok(ctx, sumi_train(ctx, model, set, &config));
    sumi_model_free(model);
    sumi_dataset_free(set);
}

static char *read_text(const char *folder, const char *name)
{
    char path[4096];
    uint8_t *data;
    size_t size;
    assert_int_equal(sumi_path_join(path, sizeof path, folder, name, NULL), SUMI_OK);
    assert_int_equal(sumi_file_read(path, 1 << 24, &data, &size, NULL), SUMI_OK);
    return (char *)data;
}

/* No file of the run has a digit, a comma and a digit, but where the format separates by commas. */
static void check_texts(const char *run)
{
    static const char *const names[] = {"config.json", "env.json",   "metrics.jsonl",
                                        "train.log",   "index.html", "loss.svg"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *text = read_text(run, names[i]);
        bool points = false;
        for (char *c = text; *c; c++) {
            bool between =
                c > text && isdigit((unsigned char)c[-1]) && isdigit((unsigned char)c[1]);
            points |= between && *c == '.';
            if (between && *c == ',' && strcmp(names[i], "loss.svg") != 0)
                fail_msg("%s: %.40s", names[i], c > text + 20 ? c - 20 : text);
        }
        assert_true(points);
        free(text);
    }
    char *csv = read_text(run, "metrics.csv"), *line = csv;
    for (char *end; *line && (end = strchr(line, '\n')); line = end + 1) {
        int commas = 0;
        for (char *c = line; c < end; c++)
            commas += *c == ',';
        assert_int_equal(commas, 3);
    }
    free(csv);
}

static void same_weights(sumi_context *ctx, const char *a, const char *b)
{
    sumi_model *models[2];
    const char *paths[2] = {a, b};
    sumi_model_info_t info[2] = {SUMI_MODEL_INFO_INIT, SUMI_MODEL_INFO_INIT};
    static float values[2][1 << 16];
    for (int i = 0; i < 2; i++) {
        api_ok(ctx, sumi_model_load(ctx, paths[i], &models[i]));
        assert_int_equal(sumi_model_info(models[i], &info[i]), SUMI_OK);
    }
    assert_memory_equal(&info[0], &info[1], sizeof info[0]);
    assert_true(info[0].beta_end == .0123456f);
    for (int i = 0; i < info[0].tensors; i++) {
        sumi_tensor_t tensor = SUMI_TENSOR_INIT;
        assert_int_equal(sumi_model_tensor(models[0], i, &tensor), SUMI_OK);
        for (int k = 0; k < 2; k++)
            assert_int_equal(sumi_model_tensor_read(models[k], i, values[k], sizeof values[k]),
                             SUMI_OK);
        assert_memory_equal(values[0], values[1], (size_t)tensor.count * 4);
    }
    sumi_model_free(models[0]);
    sumi_model_free(models[1]);
}

static void test_library(void **state)
{
    static const char *const locales[][2] = {{"de_DE", "UTF-8"}, {"ps_AF", "UTF-8"}};
    temp_folder *temp = *state;
    sumi_context *ctx = api_context(NULL, 2);
    const char *plain = temp_path(temp, "plain");
    train(ctx, plain, STEPS, false);
    for (size_t i = 0; i < 2; i++) {
        const char *run = temp_path(temp, locales[i][0]);
        if (!enter_locale(temp, locales[i][0], locales[i][1])) {
            leave_locale();
            sumi_context_free(ctx);
            skip();
        }
        train(ctx, run, STEPS / 2, false);
        train(ctx, run, STEPS, true);
        check_texts(run);
        same_weights(ctx, plain, run);
        sumi_model *model;
        api_ok(ctx, sumi_model_load(ctx, run, &model));
        api_ok(ctx, sumi_model_save(ctx, model, temp_path(temp, "m.safetensors")));
        api_ok(ctx, sumi_model_save(ctx, model, temp_path(temp, "m.pth")));
        same_weights(ctx, temp_path(temp, "m.safetensors"), temp_path(temp, "m.pth"));
        float image[SIDE * SIDE];
        sumi_sample_config sample = SUMI_SAMPLE_CONFIG_INIT;
        sample.height = sample.width = SIDE;
        sample.steps = 2;
        sample.eta = 2.5f;
        api_fails(ctx, sumi_sample(ctx, model, &sample, image, SIDE * SIDE), SUMI_EINVAL, "2.5");
        sample.eta = 0;
        api_ok(ctx, sumi_sample(ctx, model, &sample, image, SIDE * SIDE));
        sumi_model_free(model);
        leave_locale();
        same_weights(ctx, temp_path(temp, "m.safetensors"), run);
    }
    sumi_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_library, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
