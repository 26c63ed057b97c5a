/*
 * State dicts as programs save them: below a prefix, in a dict beside an optimiser, as parameters,
 * halved, without counters. Each is the same model as tests/io/fixtures/tiny.pth.
 */
#include "api/api.h"
#include "base/temp_folder.h"
#include "io/io.h"

#include <math.h>

static const char *fixture_path(const char *name, char out[512])
{
    snprintf(out, 512, "%s/io/fixtures/%s", SUMI_TEST_DIR, name);
    return out;
}

/* Every tensor of the two is the same, counters too, within a relative error. */
static void expect_same(const sumi_model *a, const sumi_model *b, float most, bool counters)
{
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    assert_int_equal(sumi_model_info(a, &info), SUMI_OK);
    for (int i = 0; i < info.tensors; i++) {
        sumi_tensor_t tensor = SUMI_TENSOR_INIT;
        union {
            float f[512];
            int64_t count;
        } x, y;
        assert_int_equal(sumi_model_tensor(a, i, &tensor), SUMI_OK);
        assert_int_equal(sumi_model_tensor_read(a, i, &x, sizeof x), SUMI_OK);
        assert_int_equal(sumi_model_tensor_read(b, i, &y, sizeof y), SUMI_OK);
        if (tensor.dtype == SUMI_I64)
            assert_int_equal(y.count, counters ? x.count : 0);
        for (int64_t k = 0; tensor.dtype == SUMI_F32 && k < tensor.count; k++)
            if (fabsf(x.f[k] - y.f[k]) > most * fabsf(x.f[k]) + 1e-7f * (most > 0))
                fail_msg("%s[%d] is %g, not %g", tensor.name, (int)k, (double)y.f[k],
                         (double)x.f[k]);
    }
}

static sumi_model *load(sumi_context *ctx, const char *name)
{
    char path[512];
    sumi_model *model = NULL;
    api_ok(ctx, sumi_model_load(ctx, fixture_path(name, path), &model));
    return model;
}

static void test_wrapped(void **state)
{
    (void)state;
    static const struct {
        const char *file, *same, *says;
        float most;
        bool counters;
    } cases[] = {
        {"tiny.pth", "tiny.pth", "", 0, true},
        {"tiny_training.pth", "tiny.pth",
         "the model is 'model.module' in it; 1 other tensor was left out", 0, true},
        {"tiny_nested.pth", "tiny.pth",
         "the model is 'state_dict.model.unet' in it; 1 other tensor was left out", 0, true},
        {"tiny_shared.pth", "tiny.pth", "the model is 'state_dict' in it", 0, true},
        {"tiny_parameters.pth", "tiny.pth", "", 0, true},
        {"tiny_half.pth", "tiny.pth", "the model is '_orig_mod' in it", 1e-3f, true},
        {"tiny_averaged.pth", "tiny.pth",
         "the model is 'module' in it; 1 other tensor was left out; 10 tensors num_batches_tracked "
         "are missing and begin at 0",
         0, false},
        {"tiny_prefix.safetensors", "tiny.pth", "the model is 'module' in it", 4e-3f, true},
        {"tiny_two.pth#model", "tiny.pth", "the model is 'model.module' in it; ", 0, true},
        {"tiny_two.pth#model.module", "tiny.pth", "the model is 'model.module' in it; ", 0, true},
        {"tiny_two.pth#ema", "tiny_ema.pth", "the model is 'ema.shadow' in it; ", 0, true},
        {"tiny_two.pth#ema.shadow", "tiny_ema.pth", "the model is 'ema.shadow' in it; ", 0, true},
        {"tiny.pth#", "tiny.pth", "", 0, true},
    };
    sumi_context *ctx = api_context(NULL, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sumi_model *wrapped = load(ctx, cases[i].file);
        if (cases[i].says[0] == '\0')
            assert_string_equal(sumi_last_error(ctx), "");
        else if (!strstr(sumi_last_error(ctx), cases[i].says))
            fail_msg("%s: '%s'", cases[i].file, sumi_last_error(ctx));
        sumi_model *plain = load(ctx, cases[i].same);
        assert_string_equal(sumi_last_error(ctx), "");
        expect_same(plain, wrapped, cases[i].most, cases[i].counters);
        sumi_model_free(plain);
        sumi_model_free(wrapped);
    }
    sumi_context_free(ctx);
}

static void test_two(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        sumi_status status;
        const char *says;
    } cases[] = {
        {"tiny_two.pth", SUMI_EUNSUPPORTED,
         "tiny_two.pth: holds 2 models: 'model.module', 'ema.shadow'; say which one by its name: "
         "FILE#NAME"},
        {"tiny_two.pth#other", SUMI_EINVAL,
         "tiny_two.pth: there is no model below 'other'; there is: 'model.module', 'ema.shadow'"},
        {"tiny_two.pth#mod", SUMI_EINVAL, "there is no model below 'mod'"},
        {"tiny_two.pth#", SUMI_EINVAL, "there is no model below ''"},
        {"parameter.pth#w", SUMI_EINVAL, "there is no model below 'w'; there is: none"},
        {"no_such.pth#w", SUMI_EIO, "no_such.pth#w: No such file"},
        {"checkpoint.pth", SUMI_EFORMAT, "this is no model of sumi's"},
    };
    sumi_context *ctx = api_context(NULL, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[512];
        sumi_model *model = NULL;
        api_fails(ctx, sumi_model_load(ctx, fixture_path(cases[i].file, path), &model),
                  cases[i].status, cases[i].says);
        assert_null(model);
    }
    sumi_context_free(ctx);
}

/* A file whose own name has a '#', and an own model of sumi's below a prefix. */
static void test_hash_in_a_name(void **state)
{
    temp_folder *temp = *state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model = load(ctx, "tiny.pth"), *again;
    const char *path = temp_path(temp, "a#b.pth");
    api_ok(ctx, sumi_model_save(ctx, model, path));
    api_ok(ctx, sumi_model_load(ctx, path, &again));
    expect_same(model, again, 0, true);
    sumi_model_free(again);
    sumi_tensor_file file;
    assert_int_equal(sumi_tensor_file_read(path, &file, NULL), SUMI_OK);
    for (size_t i = 0; i < file.count; i++) {
        char name[256];
        snprintf(name, sizeof name, "a.b.%s", file.tensors[i].name);
        free(file.tensors[i].name);
        file.tensors[i].name = sumi_strdup(name);
    }
    const char *prefixed = temp_path(temp, "p.safetensors");
    assert_int_equal(sumi_safetensors_write(prefixed, &file, NULL), SUMI_OK);
    sumi_tensor_file_free(&file);
    api_ok(ctx, sumi_model_load(ctx, prefixed, &again));
    assert_non_null(strstr(sumi_last_error(ctx), "'a.b'"));
    expect_same(model, again, 0, true);
    sumi_model_free(again);
    sumi_model_free(model);
    sumi_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrapped),
        cmocka_unit_test(test_two),
        cmocka_unit_test_setup_teardown(test_hash_in_a_name, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
