/*
 * Contexts, data sets, models and predictions through sumi.h: what each function refuses, what it
 * says, and that a refusal leaves outputs alone.
 */
#include "api/api.h"
#include "base/temp_folder.h"
#include "io/io.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE };

/* ---- Status and context ---------------------------------------------------------------------- */

static void test_names(void **state)
{
    (void)state;
    static const char *const names[] = {"SUMI_OK",     "SUMI_CANCELLED",   "SUMI_ENOMEM",
                                        "SUMI_EINVAL", "SUMI_EIO",         "SUMI_EFORMAT",
                                        "SUMI_ESHAPE", "SUMI_EUNSUPPORTED"};
    for (int i = 0; i < 8; i++)
        assert_string_equal(sumi_status_name((sumi_status)i), names[i]);
    assert_string_equal(sumi_status_name((sumi_status)8), "unknown status");
    assert_string_equal(sumi_status_name((sumi_status)-1), "unknown status");
    assert_string_equal(sumi_version(), SUMI_VERSION);
}

static void test_context(void **state)
{
    (void)state;
    sumi_context *ctx = NULL;
    api_fails(NULL, sumi_context_create(1, NULL), SUMI_EINVAL, "out");
    api_fails(NULL, sumi_context_create(-1, &ctx), SUMI_EINVAL, "-1");
    api_fails(NULL, sumi_context_create(1025, &ctx), SUMI_EINVAL, "1025");
    setenv("SUMI_ISA", "z80", 1);
    api_fails(NULL, sumi_context_create(1, &ctx), SUMI_EUNSUPPORTED, "z80");
    unsetenv("SUMI_ISA");
    assert_null(ctx);
    api_ok(NULL, sumi_context_create(3, &ctx));
    assert_string_equal(sumi_last_error(NULL), "");
    assert_string_equal(sumi_last_error(ctx), "");
    assert_int_equal(sumi_context_threads(ctx), 3);
    assert_string_equal(sumi_context_isa(ctx), api_isa(0));
    sumi_context_free(ctx);
    api_ok(NULL, sumi_context_create(0, &ctx));
    assert_true(sumi_context_threads(ctx) >= 1);
    sumi_context_free(ctx);
}

/* NULL where a handle should be: SUMI_EINVAL, or nothing happens. */
static void test_null_handles(void **state)
{
    (void)state;
    float number;
    double speed;
    sumi_dataset *set = NULL;
    sumi_model *model = NULL;
    sumi_trainer *trainer = NULL;
    sumi_batch batch = SUMI_BATCH_INIT;
    sumi_tensor_t tensor = SUMI_TENSOR_INIT;
    sumi_model_info_t model_info = SUMI_MODEL_INFO_INIT;
    sumi_dataset_info_t set_info = SUMI_DATASET_INFO_INIT;
    const sumi_status statuses[] = {
        sumi_dataset_open(NULL, "shapes", NULL, &set),
        sumi_dataset_info(NULL, &set_info),
        sumi_dataset_read(NULL, 0, &number, NULL),
        sumi_model_create(NULL, NULL, &model),
        sumi_model_load(NULL, "x.pth", &model),
        sumi_model_save(NULL, NULL, "x.pth"),
        sumi_model_info(NULL, &model_info),
        sumi_model_set_metadata(NULL, NULL, "a", "b"),
        sumi_model_tensor(NULL, 0, &tensor),
        sumi_model_tensor_read(NULL, 0, &number, sizeof number),
        sumi_model_predict(NULL, NULL, &batch, &number),
        sumi_trainer_create(NULL, NULL, NULL, &trainer),
        sumi_trainer_step(NULL, &batch, &number),
        sumi_trainer_save(NULL, "x"),
        sumi_trainer_resume(NULL, "x"),
        sumi_train(NULL, NULL, NULL, NULL),
        sumi_sample(NULL, NULL, NULL, &number, 1),
        sumi_measure_peak(NULL, &speed),
        sumi_measure_bandwidth(NULL, &speed),
    };
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        assert_int_equal(statuses[i], SUMI_EINVAL);
    assert_true(set == NULL && model == NULL && trainer == NULL);
    assert_null(sumi_dataset_class_name(NULL, 0));
    assert_null(sumi_model_get_metadata(NULL, "a"));
    assert_int_equal(sumi_trainer_steps(NULL), 0);
    assert_int_equal(sumi_context_threads(NULL), 0);
    sumi_cancel(NULL);
    sumi_context_free(NULL);
    sumi_dataset_free(NULL);
    sumi_model_free(NULL);
    sumi_trainer_free(NULL);
}

/* A message lasts until the next call on its context, and contexts have their own. */
static void test_messages(void **state)
{
    (void)state;
    sumi_context *a = api_context(NULL, 1), *b = api_context(NULL, 1);
    sumi_model *model;
    api_fails(a, sumi_model_load(a, "/nowhere/model.pth", &model), SUMI_EIO, "/nowhere/model.pth");
    assert_string_equal(sumi_last_error(b), "");
    api_ok(a, sumi_model_create(a, NULL, &model));
    assert_string_equal(sumi_last_error(a), "");
    sumi_model_free(model);
    sumi_context_free(a);
    sumi_context_free(b);
}

/* ---- Data sets ------------------------------------------------------------------------------- */

static void test_dataset_arguments(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_dataset *set = NULL;
    api_fails(ctx, sumi_dataset_open(ctx, NULL, NULL, &set), SUMI_EINVAL, "name_or_path");
    api_fails(ctx, sumi_dataset_open(ctx, "shapes", NULL, NULL), SUMI_EINVAL, "out");
    api_fails(ctx, sumi_dataset_open(ctx, "/nowhere/at/all", NULL, &set), SUMI_EIO, "/nowhere");
    const size_t size = sizeof(sumi_dataset_config);
    const struct {
        size_t size;
        const char *split;
        int channels, height, width;
        const char *text;
    } wrong[] = {
        {size, "train", 2, 0, 0, "2"},           {size, "train", -1, 0, 0, "-1"},
        {size, "train", 0, -3, 8, "-3"},         {size, "train", 0, 8, INT_MAX, "2147483647"},
        {size, "sideways", 0, 0, 0, "sideways"}, {0, "train", 0, 0, 0, "INIT"},
        {SIZE_MAX, "train", 0, 0, 0, "INIT"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
        config.size = wrong[i].size;
        config.split = wrong[i].split;
        config.channels = wrong[i].channels;
        config.height = wrong[i].height;
        config.width = wrong[i].width;
        api_fails(ctx, sumi_dataset_open(ctx, "shapes", &config, &set), SUMI_EINVAL, wrong[i].text);
    }
    assert_null(set);
    sumi_context_free(ctx);
}

static void test_dataset(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_dataset *set;
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.channels = 3;
    config.height = 12;
    config.width = 20;
    api_ok(ctx, sumi_dataset_open(ctx, "shapes", &config, &set));
    sumi_dataset_info_t info = SUMI_DATASET_INFO_INIT;
    assert_int_equal(sumi_dataset_info(set, &info), SUMI_OK);
    assert_int_equal(info.height, 12);
    assert_int_equal(info.width, 20);
    assert_int_equal(info.channels, 3);
    assert_string_equal(info.name, "shapes");
    assert_string_equal(info.path, "");
    assert_true(info.classes > 0 && info.count > 0);
    assert_true(info.range_lo == 0 && info.range_hi == 1);
    assert_int_equal(sumi_dataset_info(set, NULL), SUMI_EINVAL);

    static float image[12 * 20 * 3], again[12 * 20 * 3];
    int32_t label = -7;
    assert_int_equal(sumi_dataset_read(set, info.count - 1, image, &label), SUMI_OK);
    assert_in_range(label, 0, info.classes - 1);
    assert_int_equal(sumi_dataset_read(set, info.count - 1, again, NULL), SUMI_OK);
    assert_memory_equal(image, again, sizeof image);
    for (size_t i = 0; i < 12 * 20 * 3; i++)
        assert_true(image[i] >= 0 && image[i] <= 1);
    assert_non_null(sumi_dataset_class_name(set, label));
    label = -7;
    assert_int_equal(sumi_dataset_read(set, info.count, image, &label), SUMI_EINVAL);
    assert_int_equal(sumi_dataset_read(set, -1, image, &label), SUMI_EINVAL);
    assert_int_equal(sumi_dataset_read(set, INT64_MAX, image, &label), SUMI_EINVAL);
    assert_int_equal(sumi_dataset_read(set, 0, NULL, &label), SUMI_EINVAL);
    assert_int_equal(label, -7);
    assert_null(sumi_dataset_class_name(set, -1));
    assert_null(sumi_dataset_class_name(set, info.classes));
    sumi_dataset_free(set);
    sumi_context_free(ctx);
}

static void put_text(temp_folder *temp, const char *name, const char *text)
{
    FILE *file = fopen(temp_path(temp, name), "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* What is to be known about a set that was read: with the set, and as the message of the call. */
static void test_dataset_notices(void **state)
{
    static const char gray[] = "1 1\n";
    temp_folder *temp = *state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_dataset *set = NULL;
    sumi_image image = {6, 6, 1, (uint8_t[36]){200}};
    sumi_error err = {""};
    assert_int_equal(sumi_make_dirs(temp_path(temp, "pics"), &err), SUMI_OK);
    assert_int_equal(sumi_png_write(temp_path(temp, "pics/a.png"), &image, NULL, &err), SUMI_OK);
    api_ok(ctx, sumi_dataset_open(ctx, temp_path(temp, "pics"), NULL, &set));
    assert_string_equal(sumi_last_error(ctx), "");
    assert_null(sumi_dataset_notice(set, 0));
    sumi_dataset_free(set);

    put_text(temp, "pics/b.bmp", gray);
    put_text(temp, "pics/c.png", "no picture");
    set = NULL;
    api_fails(ctx, sumi_dataset_open(ctx, temp_path(temp, "pics"), NULL, &set), SUMI_EFORMAT,
              "c.png");
    assert_null(set);
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.skip_bad = true;
    assert_int_equal(sumi_dataset_open(ctx, temp_path(temp, "pics"), &config, &set), SUMI_OK);
    assert_non_null(strstr(sumi_dataset_notice(set, 0), "1 .bmp (b.bmp)"));
    assert_non_null(strstr(sumi_dataset_notice(set, 1), "left out 1 of 2 pictures"));
    assert_null(sumi_dataset_notice(set, 2));
    assert_null(sumi_dataset_notice(set, -1));
    assert_null(sumi_dataset_notice(NULL, 0));
    assert_non_null(strstr(sumi_last_error(ctx), "b.bmp); left out 1 of 2"));
    sumi_dataset_free(set);

    /* A program from before there was skip_bad has it off, whatever lies behind its struct. */
    memset(&config, 0xff, sizeof config);
    config.size = offsetof(sumi_dataset_config, skip_bad);
    config.split = "train";
    config.channels = config.height = config.width = 0;
    api_fails(ctx, sumi_dataset_open(ctx, temp_path(temp, "pics"), &config, &set), SUMI_EFORMAT,
              "c.png");
    sumi_context_free(ctx);
}

/* ---- Models ---------------------------------------------------------------------------------- */

static void test_model_config(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model = NULL;
    const sumi_model_config good = SUMI_MODEL_CONFIG_INIT;
    const struct {
        size_t offset;
        int value;
        const char *text;
    } wrong[] = {
        {offsetof(sumi_model_config, in_channels), 0, "in_channels"},
        {offsetof(sumi_model_config, in_channels), INT_MAX, "in_channels"},
        {offsetof(sumi_model_config, out_channels), -1, "out_channels"},
        {offsetof(sumi_model_config, time_dim), 0, "time_dim"},
        {offsetof(sumi_model_config, time_dim), 4097, "4097"},
        {offsetof(sumi_model_config, timesteps), 0, "timesteps"},
        {offsetof(sumi_model_config, timesteps), 100001, "100001"},
        {offsetof(sumi_model_config, base_channels), 0, "base_channels"},
        {offsetof(sumi_model_config, base_channels), INT_MIN, "base_channels"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        sumi_model_config config = good;
        memcpy((char *)&config + wrong[i].offset, &wrong[i].value, sizeof wrong[i].value);
        api_fails(ctx, sumi_model_create(ctx, &config, &model), SUMI_EINVAL, wrong[i].text);
    }
    const float betas[][2] = {{0, .01f}, {-1, .01f}, {.02f, .01f},
                              {.1f, 1},  {NAN, .1f}, {.1f, NAN}};
    for (size_t i = 0; i < sizeof betas / sizeof *betas; i++) {
        sumi_model_config config = good;
        config.beta_start = betas[i][0];
        config.beta_end = betas[i][1];
        api_fails(ctx, sumi_model_create(ctx, &config, &model), SUMI_EINVAL, "beta");
    }
    sumi_model_config config = good;
    config.preset = "mlp";
    api_fails(ctx, sumi_model_create(ctx, &config, &model), SUMI_EINVAL, "mlp");
    config.preset = NULL;
    api_fails(ctx, sumi_model_create(ctx, &config, &model), SUMI_EINVAL, "preset");
    config = good;
    config.size = 0;
    api_fails(ctx, sumi_model_create(ctx, &config, &model), SUMI_EINVAL, "INIT");
    api_fails(ctx, sumi_model_create(ctx, &good, NULL), SUMI_EINVAL, "out");
    assert_null(model);
    sumi_context_free(ctx);
}

/* An older program's struct ends earlier: what it does not have keeps its default. */
static void test_shorter_config(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model;
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    config.size = offsetof(sumi_model_config, base_channels);
    config.base_channels = -5;
    config.in_channels = 3;
    config.timesteps = 50;
    api_ok(ctx, sumi_model_create(ctx, &config, &model));
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    assert_int_equal(sumi_model_info(model, &info), SUMI_OK);
    assert_int_equal(info.base_channels, 64);
    assert_int_equal(info.in_channels, 3);
    assert_int_equal(info.timesteps, 50);

    sumi_model_info_t older = {.size = offsetof(sumi_model_info_t, steps), .steps = -7};
    assert_int_equal(sumi_model_info(model, &older), SUMI_OK);
    assert_int_equal(older.steps, -7);
    assert_int_equal(older.tensors, info.tensors);
    sumi_model_free(model);
    sumi_context_free(ctx);
}

/* What a struct has gained since version 0.1.0 does not lie in the padding that it had at its end
 * then, which that version's programs leave unset. */
static void test_growth(void **state)
{
    (void)state;
#define GREW(type, last, first)                                                                    \
    assert_true(offsetof(type, first) >=                                                           \
                (offsetof(type, last) + sizeof((type){0}.last) + sizeof(size_t) - 1) /             \
                    sizeof(size_t) * sizeof(size_t))
    GREW(sumi_progress_t, path, images);
    GREW(sumi_dataset_config, width, skip_bad);
    GREW(sumi_dataset_info_t, range_hi, full_path);
    GREW(sumi_model_config, base_channels, net);
    GREW(sumi_model_info_t, steps, net);
    GREW(sumi_batch, labels, precision);
    GREW(sumi_train_config, command, precision);
    GREW(sumi_sample_config, batch, precision);
    GREW(sumi_profile_config, runs, precision);
#undef GREW
}

/* A struct of an older program, shorter by its last field, with guard bytes behind. */
typedef struct {
    uint64_t words[256];
    size_t size;
} short_struct;

static void *short_begin(short_struct *s, size_t size)
{
    assert_true(size < sizeof s->words);
    memset(s->words, 0xA5, sizeof s->words);
    memcpy(s->words, &size, sizeof size);
    s->size = size;
    return s->words;
}

static void short_check(const short_struct *s)
{
    const uint8_t *bytes = (const uint8_t *)s->words;
    size_t size;
    memcpy(&size, bytes, sizeof size);
    assert_int_equal(size, s->size);
    for (size_t i = s->size; i < sizeof s->words; i++)
        assert_int_equal(bytes[i], 0xA5);
}

/* The struct's own size stays in it, so that it can be filled again. */
static void test_shorter_info_twice(void **state)
{
    (void)state;
    static short_struct s;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model = api_model(ctx, 4);
    sumi_dataset *set;
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.height = config.width = SIDE;
    api_ok(ctx, sumi_dataset_open(ctx, "shapes", &config, &set));
    sumi_tensor_t *tensor = short_begin(&s, offsetof(sumi_tensor_t, count));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sumi_model_tensor(model, i, tensor), SUMI_OK);
        assert_int_equal(tensor->rank, i == 0 ? 4 : 1);
        short_check(&s);
    }
    sumi_model_info_t *info = short_begin(&s, offsetof(sumi_model_info_t, steps));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sumi_model_info(model, info), SUMI_OK);
        assert_int_equal(info->tensors, 92);
        short_check(&s);
    }
    sumi_dataset_info_t *data = short_begin(&s, offsetof(sumi_dataset_info_t, range_lo));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sumi_dataset_info(set, data), SUMI_OK);
        assert_int_equal(strlen(data->hash), 64);
        short_check(&s);
    }
    sumi_dataset_free(set);
    sumi_model_free(model);
    sumi_context_free(ctx);
}

/* The seed recipe's model, by default and by a NULL config. */
static void test_defaults(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 1);
    const sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_model *a, *b, *c;
    api_ok(ctx, sumi_model_create(ctx, NULL, &a));
    api_ok(ctx, sumi_model_create(ctx, &config, &b));
    api_same_state(a, b);
    sumi_model_config other = config;
    other.seed = 1;
    api_ok(ctx, sumi_model_create(ctx, &other, &c));
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    assert_int_equal(sumi_model_info(a, &info), SUMI_OK);
    assert_string_equal(info.preset, "tutorial");
    assert_string_equal(info.net, "tutorial");
    assert_int_equal(info.parameters, 2450254);
    assert_int_equal(info.tensors, 92);
    assert_int_equal(info.steps, 0);
    size_t bytes;
    uint8_t *x = api_state(a, &bytes), *y = api_state(c, &bytes);
    assert_memory_not_equal(x, y, bytes);
    free(x);
    free(y);
    sumi_model_free(a);
    sumi_model_free(b);
    sumi_model_free(c);
    sumi_context_free(ctx);
}

static void test_tensors(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model = api_model(ctx, 4);
    sumi_tensor_t tensor = SUMI_TENSOR_INIT;
    assert_int_equal(sumi_model_tensor(model, 0, &tensor), SUMI_OK);
    assert_string_equal(tensor.name, "down_conv1.conv.0.weight");
    assert_int_equal(tensor.dtype, SUMI_F32);
    assert_int_equal(tensor.rank, 4);
    assert_true(tensor.shape[0] == 4 && tensor.shape[1] == 1 && tensor.shape[3] == 3);
    assert_int_equal(tensor.count, 36);
    assert_true(tensor.trainable);
    float numbers[36];
    assert_int_equal(sumi_model_tensor_read(model, 0, numbers, sizeof numbers), SUMI_OK);
    assert_int_equal(sumi_model_tensor_read(model, 0, numbers, sizeof numbers - 1), SUMI_ESHAPE);
    assert_int_equal(sumi_model_tensor_read(model, 0, NULL, sizeof numbers), SUMI_EINVAL);
    assert_int_equal(sumi_model_tensor_read(model, 92, numbers, sizeof numbers), SUMI_EINVAL);
    assert_int_equal(sumi_model_tensor(model, 92, &tensor), SUMI_EINVAL);
    assert_int_equal(sumi_model_tensor(model, -1, &tensor), SUMI_EINVAL);
    assert_int_equal(sumi_model_tensor(model, 0, NULL), SUMI_EINVAL);
    assert_int_equal(sumi_model_tensor(model, 6, &tensor), SUMI_OK);
    assert_string_equal(tensor.name, "down_conv1.conv.1.num_batches_tracked");
    assert_int_equal(tensor.dtype, SUMI_I64);
    assert_int_equal(tensor.rank, 0);
    assert_int_equal(tensor.count, 1);
    assert_false(tensor.trainable);
    int64_t counter = -1;
    assert_int_equal(sumi_model_tensor_read(model, 6, &counter, 4), SUMI_ESHAPE);
    assert_int_equal(sumi_model_tensor_read(model, 6, &counter, sizeof counter), SUMI_OK);
    assert_int_equal(counter, 0);
    sumi_model_free(model);
    sumi_context_free(ctx);
}

static void test_metadata(void **state)
{
    const char *path = temp_path(*state, "model.safetensors");
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model = api_model(ctx, 4), *again;
    api_fails(ctx, sumi_model_set_metadata(ctx, NULL, "a", "b"), SUMI_EINVAL, "model");
    api_fails(ctx, sumi_model_set_metadata(ctx, model, NULL, "b"), SUMI_EINVAL, "key");
    api_fails(ctx, sumi_model_set_metadata(ctx, model, "a", NULL), SUMI_EINVAL, "value");
    api_fails(ctx, sumi_model_set_metadata(ctx, model, "sumi.steps", "9"), SUMI_EINVAL, "sumi.");
    api_fails(ctx, sumi_model_set_metadata(ctx, model, "", "9"), SUMI_EINVAL, "empty");
    api_fails(ctx, sumi_model_set_metadata(ctx, model, "\xff\xfe", "a"), SUMI_EINVAL, "UTF-8");
    /* A value may be a file's name. */
    api_ok(ctx, sumi_model_set_metadata(ctx, model, "latin", "caf\xe9.png"));
    assert_string_equal(sumi_model_get_metadata(model, "latin"), "caf\\xE9.png");
    assert_null(sumi_model_get_metadata(model, "a"));
    assert_null(sumi_model_get_metadata(model, NULL));
    api_ok(ctx, sumi_model_set_metadata(ctx, model, "who", "first"));
    api_ok(ctx, sumi_model_set_metadata(ctx, model, "who", "\"second\"\n\xe5\xa2\xa8"));
    api_ok(ctx, sumi_model_save(ctx, model, path));
    api_ok(ctx, sumi_model_load(ctx, path, &again));
    assert_string_equal(sumi_model_get_metadata(again, "who"), "\"second\"\n\xe5\xa2\xa8");
    api_same_state(model, again);
    sumi_model_free(model);
    sumi_model_free(again);
    sumi_context_free(ctx);
}

static void test_files(void **state)
{
    temp_folder *temp = *state;
    const char *bad = temp_path(temp, "bad.pth"), *empty = temp_path(temp, "empty.safetensors");
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model = api_model(ctx, 4), *loaded = NULL;
    assert_int_equal(sumi_file_save(bad, "<html></html>", 13, NULL), SUMI_OK);
    assert_int_equal(sumi_file_save(empty, "", 0, NULL), SUMI_OK);
    api_fails(ctx, sumi_model_load(ctx, bad, &loaded), SUMI_EFORMAT, "HTML");
    api_fails(ctx, sumi_model_load(ctx, empty, &loaded), SUMI_EFORMAT, "empty");
    api_fails(ctx, sumi_model_load(ctx, NULL, &loaded), SUMI_EINVAL, "path");
    api_fails(ctx, sumi_model_load(ctx, bad, NULL), SUMI_EINVAL, "out");
    sumi_status folder = sumi_model_load(ctx, temp->path, &loaded); /* is no run */
    assert_true(folder == SUMI_EFORMAT || folder == SUMI_EIO);
    assert_non_null(strstr(sumi_last_error(ctx), temp->path));
    assert_null(loaded);

    api_fails(ctx, sumi_model_save(ctx, NULL, bad), SUMI_EINVAL, "model");
    api_fails(ctx, sumi_model_save(ctx, model, NULL), SUMI_EINVAL, "path");
    api_fails(ctx, sumi_model_save(ctx, model, temp_path(temp, "x.onnx")), SUMI_EINVAL, "x.onnx");
    api_fails(ctx, sumi_model_save(ctx, model, "/nowhere/x.pth"), SUMI_EIO, "/nowhere/x.pth");
    assert_int_equal(temp_entries(temp->path), 2); /* and nothing half-written */
    sumi_model_free(model);
    sumi_context_free(ctx);
}

/* ---- Predictions ----------------------------------------------------------------------------- */

static void test_predict_arguments(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model = api_model(ctx, 4);
    float x[PIXELS] = {0}, out[PIXELS];
    int32_t t[1] = {1};
    sumi_batch good = SUMI_BATCH_INIT;
    good.n = 1;
    good.h = good.w = SIDE;
    good.x = x;
    good.t = t;
    for (int i = 0; i < PIXELS; i++)
        out[i] = 77;
    api_fails(ctx, sumi_model_predict(ctx, NULL, &good, out), SUMI_EINVAL, "model");
    api_fails(ctx, sumi_model_predict(ctx, model, NULL, out), SUMI_EINVAL, "batch");
    api_fails(ctx, sumi_model_predict(ctx, model, &good, NULL), SUMI_EINVAL, "out");
    sumi_batch batch = good;
    batch.x = NULL;
    api_fails(ctx, sumi_model_predict(ctx, model, &batch, out), SUMI_EINVAL, "x");
    batch = good;
    batch.t = NULL;
    api_fails(ctx, sumi_model_predict(ctx, model, &batch, out), SUMI_EINVAL, "t");
    batch = good;
    batch.size = 1;
    api_fails(ctx, sumi_model_predict(ctx, model, &batch, out), SUMI_EINVAL, "INIT");
    char word[64];
    const int counts[] = {0, -1, INT_MIN};
    for (size_t i = 0; i < 3; i++) {
        batch = good;
        batch.n = counts[i];
        snprintf(word, sizeof word, "%d images of %dx%d", batch.n, batch.h, batch.w);
        api_fails(ctx, sumi_model_predict(ctx, model, &batch, out), SUMI_EINVAL, word);
        batch = good;
        batch.h = counts[i];
        snprintf(word, sizeof word, "%d images of %dx%d", batch.n, batch.h, batch.w);
        api_fails(ctx, sumi_model_predict(ctx, model, &batch, out), SUMI_EINVAL, word);
    }
    batch = good;
    batch.precision = (sumi_precision)9;
    api_fails(ctx, sumi_model_predict(ctx, model, &batch, out), SUMI_EINVAL, "precision is 9");
    batch = good;
    batch.w = 6;
    api_fails(ctx, sumi_model_predict(ctx, model, &batch, out), SUMI_ESHAPE, "4");
    batch = good;
    batch.h = batch.w = INT_MAX - 3; /* a multiple of 4: only its size is wrong */
    sumi_status status = sumi_model_predict(ctx, model, &batch, out);
    assert_true(status == SUMI_EINVAL || status == SUMI_ESHAPE || status == SUMI_ENOMEM);
    assert_true(strlen(sumi_last_error(ctx)) > 0);
    const float bad[] = {NAN, INFINITY, -INFINITY};
    const char *const says[] = {"x[0][1][3][0] is NaN", "x[0][1][3][0] is infinite",
                                "x[0][1][3][0] is infinite"};
    for (size_t i = 0; i < 3; i++) {
        x[SIDE + 3] = bad[i];
        api_fails(ctx, sumi_model_predict(ctx, model, &good, out), SUMI_EINVAL, says[i]);
    }
    x[SIDE + 3] = 0;
    const int32_t times[] = {0, -1, 1001, INT32_MAX};
    for (size_t i = 0; i < 4; i++) {
        t[0] = times[i];
        char text[16];
        snprintf(text, sizeof text, "%d", (int)times[i]);
        api_fails(ctx, sumi_model_predict(ctx, model, &good, out), SUMI_EINVAL, text);
    }
    for (int i = 0; i < PIXELS; i++)
        assert_true(out[i] == 77);
    t[0] = 1000;
    api_ok(ctx, sumi_model_predict(ctx, model, &good, out));
    float single = out[0];
    good.precision = SUMI_PRECISION_BF16;
    api_ok(ctx, sumi_model_predict(ctx, model, &good, out));
    assert_true(out[0] != single);
    good.size = offsetof(sumi_batch, precision); /* an older program's: it has no such field */
    api_ok(ctx, sumi_model_predict(ctx, model, &good, out));
    assert_true(out[0] == single);
    sumi_model_free(model);
    sumi_context_free(ctx);
}

/* A model used on two contexts, and after others took its place in the cache. */
static void test_many_models(void **state)
{
    (void)state;
    sumi_context *a = api_context(NULL, 1), *b = api_context(NULL, 2);
    sumi_model *models[6];
    float *x = api_images(1, SIDE, SIDE), first[6][PIXELS], out[PIXELS];
    int32_t t[1] = {500};
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.n = 1;
    batch.h = batch.w = SIDE;
    batch.x = x;
    batch.t = t;
    for (int i = 0; i < 6; i++) {
        models[i] = api_model(a, 3 + i);
        api_ok(a, sumi_model_predict(a, models[i], &batch, first[i]));
    }
    for (int i = 0; i < 6; i++) {
        api_ok(a, sumi_model_predict(a, models[i], &batch, out));
        assert_memory_equal(out, first[i], sizeof out);
        api_ok(b, sumi_model_predict(b, models[i], &batch, out));
        assert_memory_equal(out, first[i], sizeof out);
        sumi_model_free(models[i]); /* the cache still knows it */
    }
    sumi_model *fresh = api_model(a, 3); /* perhaps at a freed model's address */
    api_ok(a, sumi_model_predict(a, fresh, &batch, out));
    assert_memory_equal(out, first[0], sizeof out);
    sumi_model_free(fresh);
    sumi_context_free(a);
    sumi_context_free(b);
    free(x);
}

static void test_machine_limits(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 2);
    double gflops = 0, gbytes = 0;
    api_ok(ctx, sumi_measure_peak(ctx, &gflops));
    api_ok(ctx, sumi_measure_bandwidth(ctx, &gbytes));
    assert_true(gflops > 0 && gbytes > 0);
    api_fails(ctx, sumi_measure_peak(ctx, NULL), SUMI_EINVAL, "gflops");
    api_fails(ctx, sumi_measure_bandwidth(ctx, NULL), SUMI_EINVAL, "gbytes_per_s");
    sumi_context_free(ctx);
}

/* ---- Measuring ------------------------------------------------------------------------------- */

enum { ENTRIES_MAX = 200 };

/* Entries of another size than the library's: nothing is written but what the caller knows. */
static void check_entries(sumi_context *ctx, const sumi_model *model,
                          const sumi_profile_config *config, size_t size)
{
    size_t known = size < sizeof(sumi_profile_entry) ? size : sizeof(sumi_profile_entry);
    uint8_t *entries = malloc(ENTRIES_MAX * size);
    int count = 0;
    assert_non_null(entries);
    memset(entries, 0xA5, ENTRIES_MAX * size);
    api_ok(ctx, sumi_profile(ctx, model, config, (sumi_profile_entry *)(void *)entries, ENTRIES_MAX,
                             &count));
    assert_in_range(count, 10, ENTRIES_MAX - 1);
    for (int i = 0; i < count; i++) {
        sumi_profile_entry entry = {0};
        memcpy(&entry, entries + (size_t)i * size, known);
        assert_true(entry.op[0] >= 'a' && entry.op[0] <= 'z');
        assert_true(entry.time_ms >= 0 && entry.time_ms < 1e5);
        for (size_t k = known; k < size; k++)
            assert_int_equal(entries[(size_t)i * size + k], 0xA5);
    }
    for (size_t k = (size_t)count * size; k < ENTRIES_MAX * size; k++)
        assert_int_equal(entries[k], 0xA5);
    free(entries);
}

static void test_profile_entry_size(void **state)
{
    (void)state;
    static const size_t wrong[] = {0, 1, offsetof(sumi_profile_entry, bytes) - 1, 65537, SIZE_MAX};
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model = api_model(ctx, 4);
    sumi_profile_config config = SUMI_PROFILE_CONFIG_INIT;
    sumi_profile_entry entry;
    int count = -7;
    config.training = false;
    config.n = 1;
    config.height = config.width = SIDE;
    config.runs = 1;
    assert_int_equal(config.entry_size, sizeof entry);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        config.entry_size = wrong[i];
        api_fails(ctx, sumi_profile(ctx, model, &config, &entry, 1, &count), SUMI_EINVAL,
                  "entry_size");
    }
    api_fails(ctx, sumi_profile(ctx, model, NULL, &entry, 1, &count), SUMI_EINVAL, "config");
    assert_int_equal(count, -7);
    const size_t sizes[] = {sizeof entry, offsetof(sumi_profile_entry, bytes), sizeof entry + 24};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        config.entry_size = sizes[i];
        check_entries(ctx, model, &config, sizes[i]);
    }
    /* A config of version 0.1.0 could not tell; its entries had no bytes. */
    config.size = offsetof(sumi_profile_config, precision);
    config.entry_size = 0;
    check_entries(ctx, model, &config, offsetof(sumi_profile_entry, bytes));
    sumi_model_free(model);
    sumi_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_null_handles),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_dataset_arguments),
        cmocka_unit_test(test_dataset),
        cmocka_unit_test_setup_teardown(test_dataset_notices, temp_setup, temp_teardown),
        cmocka_unit_test(test_model_config),
        cmocka_unit_test(test_shorter_config),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_shorter_info_twice),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_tensors),
        cmocka_unit_test_setup_teardown(test_metadata, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_files, temp_setup, temp_teardown),
        cmocka_unit_test(test_predict_arguments),
        cmocka_unit_test(test_many_models),
        cmocka_unit_test(test_machine_limits),
        cmocka_unit_test(test_profile_entry_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
