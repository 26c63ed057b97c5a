/*
 * Weights that came through a file, on every instruction set: PyTorch's predictions, whatever the
 * kind of file, and the same bits whatever the batch.
 */
#include "api/api.h"
#include "api/golden.h"
#include "base/temp_folder.h"

#include <stdio.h>

typedef struct {
    int batch, h, w;
    const char *name;
} sample;

static const sample samples[] = {
    {0, 28, 28, "predict.28x28"}, {1, 32, 32, "predict.32x32"}, {2, 20, 36, "predict.20x36"}};

/* Three images at once, then one by one. */
static void check_sample(sumi_context *ctx, const sumi_model *model, const sample *at,
                         const sumi_tensor_file *golden)
{
    size_t pixels = (size_t)at->h * (size_t)at->w;
    float *x = golden_noise(at->batch, 3 * pixels), *out = calloc(3 * pixels, sizeof *out);
    float *alone = calloc(pixels, sizeof *alone);
    int32_t *t = golden_timesteps(at->batch, 3);
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.n = 3;
    batch.h = at->h;
    batch.w = at->w;
    batch.x = x;
    batch.t = t;
    api_ok(ctx, sumi_model_predict(ctx, model, &batch, out));
    assert_true(golden_distance(golden, at->name, out, 3 * pixels) <= 5e-5);
    batch.n = 1;
    for (size_t i = 0; i < 3; i++) {
        batch.x = x + i * pixels;
        batch.t = t + i;
        api_ok(ctx, sumi_model_predict(ctx, model, &batch, alone));
        assert_memory_equal(alone, out + i * pixels, pixels * sizeof *alone);
    }
    free(x);
    free(out);
    free(alone);
    free(t);
}

/* Takes the bare names and numbers, as any other program would write them. */
static void write_bare(const sumi_model *model, const char *path)
{
    sumi_tensor_file file;
    assert_int_equal(sumi_model_to_file(model, NULL, &file, NULL), SUMI_OK);
    size_t metadata_count = file.metadata_count;
    file.metadata_count = 0;
    assert_int_equal(sumi_safetensors_write(path, &file, NULL), SUMI_OK);
    file.metadata_count = metadata_count;
    sumi_model_file_free(&file);
}

static void test_predictions_through_files(void **state)
{
    temp_folder *temp = *state;
    const char *paths[] = {temp_path(temp, "a.safetensors"), temp_path(temp, "a.pth"),
                           temp_path(temp, "bare.safetensors")};
    sumi_tensor_file golden;
    golden_open(GOLDEN_SEED, &golden);
    sumi_model *model = golden_model(false);
    sumi_context *writer = api_context(NULL, 1);
    api_ok(writer, sumi_model_save(writer, model, paths[0]));
    api_ok(writer, sumi_model_save(writer, model, paths[1]));
    write_bare(model, paths[2]);
    sumi_context_free(writer);

    const char *isa;
    for (int i = 0; (isa = api_isa(i)); i++) {
        sumi_context *ctx = api_context(isa, 0);
        for (int k = 0; k < 3; k++) {
            sumi_model *loaded;
            api_ok(ctx, sumi_model_load(ctx, paths[k], &loaded));
            api_same_state(loaded, model);
            for (int s = 0; s < (k == 0 ? 3 : 1); s++)
                check_sample(ctx, loaded, &samples[s], &golden);
            sumi_model_free(loaded);
        }
        sumi_context_free(ctx);
    }
    sumi_models_free(model);
    sumi_tensor_file_free(&golden);
}

/* A real torch.save of a network of another width: sizes come from the shapes. */
static void test_pytorch_file(void **state)
{
    temp_folder *temp = *state;
    const char *path = temp_path(temp, "again.pth");
    sumi_context *ctx = api_context(NULL, 1);
    sumi_model *model, *again;
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    api_ok(ctx, sumi_model_load(ctx, GOLDEN_SMALL, &model));
    api_ok(ctx, sumi_model_info(model, &info));
    assert_int_equal(info.base_channels, 8);
    assert_int_equal(info.time_dim, 100);
    assert_int_equal(info.parameters, 56030);
    assert_int_equal(info.tensors, 92);
    assert_int_equal(info.timesteps, 1000);
    api_ok(ctx, sumi_model_save(ctx, model, path));
    api_ok(ctx, sumi_model_load(ctx, path, &again));
    api_same_state(model, again);
    sumi_model_free(model);
    sumi_model_free(again);
    sumi_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_predictions_through_files, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_pytorch_file, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
