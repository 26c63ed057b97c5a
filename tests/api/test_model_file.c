/*
 * Models from files that something else has written or changed: what their metadata may say, and
 * what types their numbers may have.
 */
#include "api/api.h"
#include "base/temp_folder.h"
#include "io/io.h"

/* A model of which no number is a default. */
static sumi_model *unusual_model(sumi_context *ctx)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_model *model;
    config.base_channels = 4;
    config.time_dim = 20;
    config.timesteps = 100;
    config.beta_start = .002f;
    config.beta_end = .1f;
    api_ok(ctx, sumi_model_create(ctx, &config, &model));
    return model;
}

/* The metadata that version 0.1 wrote of such a model. */
static void use_former_metadata(sumi_tensor_file *file)
{
    static const char *const pairs[][2] = {{"sumi.version", "0.1.0"},
                                           {"sumi.preset", "seed"},
                                           {"sumi.objective", "eps"},
                                           {"sumi.schedule", "linear"},
                                           {"sumi.in_channels", "1"},
                                           {"sumi.out_channels", "1"},
                                           {"sumi.time_dim", "20"},
                                           {"sumi.base_channels", "4"},
                                           {"sumi.timesteps", "100"},
                                           {"sumi.beta_start", "0.00200000009"},
                                           {"sumi.beta_end", "0.100000001"},
                                           {"sumi.height", "0"},
                                           {"sumi.width", "0"},
                                           {"sumi.range_lo", "0"},
                                           {"sumi.range_hi", "1"},
                                           {"sumi.steps", "0"}};
    enum { PAIRS = sizeof pairs / sizeof *pairs };
    for (size_t i = 0; i < file->metadata_count; i++) {
        free(file->metadata[i].key);
        free(file->metadata[i].value);
    }
    free(file->metadata);
    file->metadata = calloc(PAIRS, sizeof *file->metadata);
    assert_non_null(file->metadata);
    file->metadata_count = PAIRS;
    for (size_t i = 0; i < PAIRS; i++)
        file->metadata[i] = (sumi_file_pair){sumi_strdup(pairs[i][0]), sumi_strdup(pairs[i][1])};
}

/* The file of such a model by version 0.1, as tensors and metadata. */
static sumi_tensor_file file_of_model(sumi_context *ctx, temp_folder *temp)
{
    const char *path = temp_path(temp, "whole.safetensors");
    sumi_model *model = unusual_model(ctx);
    sumi_tensor_file file;
    sumi_error err = {""};
    api_ok(ctx, sumi_model_save(ctx, model, path));
    if (sumi_tensor_file_read(path, &file, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    sumi_model_free(model);
    use_former_metadata(&file);
    return file;
}

static sumi_file_pair *pair_of(sumi_tensor_file *file, const char *key)
{
    for (size_t i = 0; i < file->metadata_count; i++)
        if (strcmp(file->metadata[i].key, key) == 0)
            return &file->metadata[i];
    fail_msg("there is no %s", key);
    return NULL;
}

static sumi_status write_and_load(sumi_context *ctx, const char *path, const sumi_tensor_file *file,
                                  sumi_model **out)
{
    sumi_error err = {""};
    bool pth = strstr(path, ".pth") != NULL;
    if ((pth ? sumi_pth_write : sumi_safetensors_write)(path, file, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    return sumi_model_load(ctx, path, out);
}

static void test_wrong_metadata(void **state)
{
    static const struct {
        const char *key, *value;
        sumi_status status;
        const char *text;
    } cases[] = {
        {"sumi.objective", "v", SUMI_EUNSUPPORTED,
         "metadata 'sumi.objective' is 'v', which this version of sumi does not know; expected "
         "'eps'"},
        {"sumi.objective", "", SUMI_EUNSUPPORTED, "metadata 'sumi.objective' is ''"},
        {"sumi.schedule", "cosine", SUMI_EUNSUPPORTED,
         "metadata 'sumi.schedule' is 'cosine', which this version of sumi does not know; "
         "expected 'linear'"},
        {"sumi.range_lo", "1", SUMI_EFORMAT,
         "metadata 'sumi.range_lo' should be below 'sumi.range_hi', found 1 and 1"},
        {"sumi.range_hi", "-1", SUMI_EFORMAT, "found 0 and -1"},
        {"sumi.range_lo", "0.99999999999", SUMI_EFORMAT, "should be below"}, /* 1 as a float */
        {"sumi.range_lo", "nan", SUMI_EFORMAT, "sumi.range_lo"},
        {"sumi.range_hi", "inf", SUMI_EFORMAT, "sumi.range_hi"},
    };
    temp_folder *temp = *state;
    const char *paths[] = {temp_path(temp, "m.safetensors"), temp_path(temp, "m.pth")};
    sumi_context *ctx = api_context(NULL, 1);
    sumi_tensor_file file = file_of_model(ctx, temp);
    sumi_model *model = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sumi_file_pair *pair = pair_of(&file, cases[i].key);
        char *right = pair->value;
        pair->value = (char *)cases[i].value;
        for (int k = 0; k < 2; k++)
            api_fails(ctx, write_and_load(ctx, paths[k], &file, &model), cases[i].status,
                      cases[i].text);
        pair->value = right;
    }
    assert_null(model);
    sumi_tensor_file_free(&file);
    sumi_context_free(ctx);
}

/* A file that does not say its objective and schedule has the tutorial's. */
static void test_no_recipe(void **state)
{
    temp_folder *temp = *state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_tensor_file file = file_of_model(ctx, temp);
    char other[] = "other.1", another[] = "other.2";
    sumi_file_pair *objective = pair_of(&file, "sumi.objective");
    sumi_file_pair *schedule = pair_of(&file, "sumi.schedule");
    char *keys[] = {objective->key, schedule->key};
    sumi_model *model;
    objective->key = other;
    schedule->key = another;
    api_ok(ctx, write_and_load(ctx, temp_path(temp, "m.safetensors"), &file, &model));
    objective->key = keys[0];
    schedule->key = keys[1];
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    assert_int_equal(sumi_model_info(model, &info), SUMI_OK);
    assert_int_equal(info.timesteps, 100);
    sumi_model_free(model);
    sumi_tensor_file_free(&file);
    sumi_context_free(ctx);
}

/* Counters of other programs may be 32 bits wide. */
static void test_narrow_counters(void **state)
{
    static const int32_t values[] = {70000, -3};
    temp_folder *temp = *state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_tensor_file file = file_of_model(ctx, temp);
    int changed = 0;
    for (size_t i = 0; i < file.count && changed < 2; i++) {
        sumi_file_tensor *tensor = &file.tensors[i];
        if (tensor->dtype != SUMI_FILE_I64)
            continue;
        tensor->dtype = SUMI_FILE_I32;
        tensor->data = &values[changed++];
        tensor->bytes = sizeof *values;
    }
    assert_int_equal(changed, 2);
    sumi_model *model;
    api_ok(ctx, write_and_load(ctx, temp_path(temp, "m.safetensors"), &file, &model));
    for (int i = 0, seen = 0; seen < 2; i++) {
        sumi_tensor_t tensor = SUMI_TENSOR_INIT;
        int64_t counter = 0;
        assert_int_equal(sumi_model_tensor(model, i, &tensor), SUMI_OK);
        if (tensor.dtype != SUMI_I64)
            continue;
        assert_int_equal(sumi_model_tensor_read(model, i, &counter, sizeof counter), SUMI_OK);
        assert_true(counter == values[seen++]);
    }
    sumi_model_free(model);
    sumi_tensor_file_free(&file);
    sumi_context_free(ctx);
}

static void check_unusual(const sumi_model *model)
{
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    assert_int_equal(sumi_model_info(model, &info), SUMI_OK);
    assert_int_equal(info.base_channels, 4);
    assert_int_equal(info.time_dim, 20);
    assert_int_equal(info.timesteps, 100);
    assert_true(info.beta_start == .002f && info.beta_end == .1f);
    assert_int_equal(info.height, 16);
    assert_int_equal(info.width, 20);
    assert_int_equal(info.steps, 123456789);
    assert_true(info.range_lo == -1 && info.range_hi == 2);
    assert_string_equal(sumi_model_get_metadata(model, "who"), "\"me\"\n\xe5\xa2\xa8");
}

/* A .pth says as much of a model as a .safetensors does, converted back and forth. */
static void test_pth_metadata(void **state)
{
    static const char *const known[][2] = {{"sumi.height", "16"},
                                           {"sumi.width", "20"},
                                           {"sumi.steps", "123456789"},
                                           {"sumi.range_lo", "-1"},
                                           {"sumi.range_hi", "2"}};
    static const char *const names[] = {"a.pth", "b.safetensors", "c.pth"};
    temp_folder *temp = *state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_tensor_file file = file_of_model(ctx, temp);
    sumi_model *model, *next;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        sumi_file_pair *pair = pair_of(&file, known[i][0]);
        free(pair->value);
        pair->value = sumi_strdup(known[i][1]);
    }
    api_ok(ctx, write_and_load(ctx, temp_path(temp, "m.safetensors"), &file, &model));
    api_ok(ctx, sumi_model_set_metadata(ctx, model, "who", "\"me\"\n\xe5\xa2\xa8"));
    for (int i = 0; i < 3; i++) {
        const char *path = temp_path(temp, names[i]);
        api_ok(ctx, sumi_model_save(ctx, model, path));
        api_ok(ctx, sumi_model_load(ctx, path, &next));
        check_unusual(next);
        api_same_state(next, model);
        sumi_model_free(model);
        model = next;
    }
    sumi_model_free(model);
    sumi_tensor_file_free(&file);
    sumi_context_free(ctx);
}

/* The descriptions of today: each is refused for one thing, which the message names. */
static void test_wrong_descriptions(void **state)
{
    static const struct {
        const char *net, *process, *data;
        sumi_status status;
        const char *text;
    } cases[] = {
        {"{}", "{}", "{}", SUMI_EFORMAT, "sumi.model: \"name\""},
        {"{\"name\":\"resnet\"}", "{}", "{}", SUMI_EUNSUPPORTED, "'resnet' model"},
        {"{\"name\":\"tutorial\",\"time_dim\":0}", "{}", "{}", SUMI_EFORMAT,
         "\"time_dim\": expected 1 to 4096, found 0"},
        {"{\"name\":\"tutorial\",\"time_dim\":\"20\"}", "{}", "{}", SUMI_EFORMAT, "\"time_dim\""},
        {"[]", "{}", "{}", SUMI_EFORMAT, "\"net\": expected an object"},
        {"NET", "{\"objective\":\"magic\"}", "{}", SUMI_EUNSUPPORTED,
         "unknown objective \"magic\""},
        {"NET", "{\"schedule\":7}", "{}", SUMI_EFORMAT, "\"schedule\""},
        {"NET", "{\"stratified\":1}", "{}", SUMI_EFORMAT, "\"stratified\": expected true"},
        {"NET", "{\"beta_start\":2}", "{}", SUMI_EFORMAT,
         "\"beta_start\": expected 1e-09 to 0.999999"},
        {"NET", "{\"sigma_min\":9,\"sigma_max\":8}", "{}", SUMI_EFORMAT, "sigma_min is 9"},
        {"NET", "{\"data_mean\":[0],\"data_std\":[0]}", "{}", SUMI_EFORMAT, "\"data_std\""},
        {"NET", "{}", "{\"range_lo\":1}", SUMI_EFORMAT, "found 1 and 1"},
        {"NET", "{}", "{\"classes\":\"cat\"}", SUMI_EFORMAT, "\"classes\": expected a list"},
        {"NET", "{}", "{\"classes\":[\"cat\",3]}", SUMI_EFORMAT, "number 1 is no name"},
        {"NET", "{", "{}", SUMI_EFORMAT, "sumi.model"},
    };
    temp_folder *temp = *state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_tensor_file file = file_of_model(ctx, temp);
    sumi_model *model = NULL;
    char text[600], key[] = "sumi.model";
    sumi_file_pair pair = {key, text}, *all = file.metadata;
    size_t count = file.metadata_count;
    file.metadata = &pair;
    file.metadata_count = 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *net = strcmp(cases[i].net, "NET") == 0
                              ? "{\"name\":\"tutorial\",\"time_dim\":20,\"base_channels\":4}"
                              : cases[i].net;
        snprintf(text, sizeof text, "{\"net\":%s,\"process\":%s,\"data\":%s,\"trained\":{}}", net,
                 cases[i].process, cases[i].data);
        api_fails(ctx, write_and_load(ctx, temp_path(temp, "m.safetensors"), &file, &model),
                  cases[i].status, cases[i].text);
    }
    assert_null(model);
    /* What is missing is as it was before there was such a thing; what is not known is left. */
    snprintf(text, sizeof text,
             "{\"net\":{\"name\":\"seed\",\"time_dim\":20,\"base_channels\":4,\"more\":1},"
             "\"process\":{},\"data\":{},\"trained\":{},\"later\":[]}");
    api_ok(ctx, write_and_load(ctx, temp_path(temp, "m.pth"), &file, &model));
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    assert_int_equal(sumi_model_info(model, &info), SUMI_OK);
    assert_string_equal(info.net, "tutorial");
    assert_int_equal(info.timesteps, 1000);
    sumi_model_free(model);
    file.metadata = all;
    file.metadata_count = count;
    sumi_tensor_file_free(&file);
    sumi_context_free(ctx);
}

/* A fixture of version 0.1, in both formats and as a run, is the same model. */
static void test_version_0_1(void **state)
{
    static const char *const names[] = {"model.safetensors", "model.pth", ""};
    temp_folder *temp = *state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *models[3], *again;
    for (int i = 0; i < 3; i++) {
        char path[512];
        sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
        snprintf(path, sizeof path, SUMI_TEST_DIR "/golden/run-0.1/%s", names[i]);
        api_ok(ctx, sumi_model_load(ctx, path, &models[i]));
        assert_int_equal(sumi_model_info(models[i], &info), SUMI_OK);
        assert_string_equal(info.net, "tutorial");
        assert_string_equal(info.preset, "tutorial");
        assert_int_equal(info.timesteps, 20);
        assert_int_equal(info.time_dim, 4);
        assert_int_equal(info.height, 8);
        assert_int_equal(info.steps, 3);
        assert_string_equal(sumi_model_get_metadata(models[i], "sumi.data"), "shapes");
        assert_null(sumi_model_get_metadata(models[i], "sumi.timesteps"));
        api_same_state(models[i], models[0]);
        /* And so it is when it was written anew. */
        const char *copy = temp_path(temp, i ? "copy.pth" : "copy.safetensors");
        api_ok(ctx, sumi_model_save(ctx, models[i], copy));
        api_ok(ctx, sumi_model_load(ctx, copy, &again));
        api_same_state(again, models[0]);
        assert_string_equal(sumi_model_get_metadata(again, "sumi.data_hash"),
                            sumi_model_get_metadata(models[0], "sumi.data_hash"));
        sumi_model_free(again);
    }
    for (int i = 0; i < 3; i++)
        sumi_model_free(models[i]);
    sumi_context_free(ctx);
}

/* The network's name in a config, of today and of version 0.1. */
static void test_names_of_the_network(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model;
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    assert_string_equal(config.net, "tutorial");
    config.base_channels = 1;
    config.preset = "seed";
    api_ok(ctx, sumi_model_create(ctx, &config, &model));
    sumi_model_free(model);
    config.net = "seed";
    api_ok(ctx, sumi_model_create(ctx, &config, &model));
    sumi_model_free(model);
    config.net = "tree";
    api_fails(ctx, sumi_model_create(ctx, &config, &model), SUMI_EINVAL,
              "unknown net 'tree'; there are: tutorial, unet");
    config.net = "tutorial";
    config.preset = NULL;
    api_fails(ctx, sumi_model_create(ctx, &config, &model), SUMI_EINVAL, "unknown preset '(null)'");
    config.preset = "seed"; /* an older program's, whose config ends before the name */
    config.size = offsetof(sumi_model_config, net);
    config.net = "nothing";
    api_ok(ctx, sumi_model_create(ctx, &config, &model));
    sumi_model_free(model);
    sumi_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_wrong_metadata, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_wrong_descriptions, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_version_0_1, temp_setup, temp_teardown),
        cmocka_unit_test(test_names_of_the_network),
        cmocka_unit_test_setup_teardown(test_pth_metadata, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_no_recipe, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_narrow_counters, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
