/*
 * Sampling with PyTorch's noise fed in follows PyTorch's x_t through all 1000 steps, on every
 * instruction set; the x_0 that on_step sees is the one that the network implies.
 */
#include "api/api.h"
#include "api/golden.h"

#include <stdio.h>

enum { N = 2, SIDE = 12, FLOATS = N * SIDE * SIDE, STEPS = 1000 };

typedef struct {
    sumi_context *ctx;
    const sumi_model *model;
    int64_t t[32]; /* the timesteps of which x_t is kept */
    size_t kept;
    double *want; /* [kept][FLOATS] */
    double worst;
    int calls, next; /* next: which kept one comes next */
    float implied[32][FLOATS], x_t[32][FLOATS];
} journey;

static int on_step(void *user, int step, const float *x_t, const float *x_0, int n)
{
    journey *j = user;
    assert_int_equal(n, N);
    assert_int_equal(step, STEPS - j->calls);
    j->calls++;
    if ((size_t)j->next == j->kept || j->t[j->next] != step)
        return 0;
    for (int i = 0; i < FLOATS; i++) {
        double distance = fabs(x_t[i] - j->want[j->next * FLOATS + i]);
        if (!(distance <= j->worst))
            j->worst = distance;
    }
    memcpy(j->implied[j->next], x_0, sizeof j->implied[0]);
    memcpy(j->x_t[j->next], x_t, sizeof j->x_t[0]);
    j->next++;
    return 0;
}

static float *open_noise(const sumi_tensor_file *golden)
{
    const sumi_file_tensor *bytes = sumi_tensor_file_find(golden, "noise");
    assert_non_null(bytes);
    assert_int_equal(bytes->dtype, SUMI_FILE_U8);
    assert_int_equal(bytes->bytes, (1 + STEPS) * FLOATS);
    float *noise = malloc(bytes->bytes * sizeof *noise);
    assert_non_null(noise);
    for (size_t i = 0; i < bytes->bytes; i++)
        noise[i] = (float)(((const uint8_t *)bytes->data)[i] - 128) / 32;
    return noise;
}

/* x_0 = (x_t - sqrt(1 - a) eps) / sqrt(a), with the network's own eps and a in double. */
static void check_implied(const journey *j)
{
    for (int k = 0; k < j->next; k++) {
        double a = 1;
        for (int64_t s = 0; s < j->t[k]; s++)
            a *= 1 - (0.001 + 0.009 * (double)s / (STEPS - 1));
        int32_t t[N] = {(int32_t)j->t[k], (int32_t)j->t[k]};
        float eps[FLOATS];
        sumi_batch batch = SUMI_BATCH_INIT;
        batch.n = N;
        batch.h = batch.w = SIDE;
        batch.x = j->x_t[k];
        batch.t = t;
        api_ok(j->ctx, sumi_model_predict(j->ctx, j->model, &batch, eps));
        for (int i = 0; i < FLOATS; i++) {
            double want = ((double)j->x_t[k][i] - sqrt(1 - a) * (double)eps[i]) / sqrt(a);
            assert_true(fabs(want - (double)j->implied[k][i]) <= 1e-4 * (1 + fabs(want)));
        }
    }
}

static void check_picture(const sumi_tensor_file *golden, const float *out)
{
    const sumi_file_tensor *picture = sumi_tensor_file_find(golden, "picture");
    assert_non_null(picture);
    assert_int_equal(picture->bytes, FLOATS);
    int different = 0;
    for (int i = 0; i < FLOATS; i++) {
        float clamped = out[i] < 0 ? 0 : out[i] > 1 ? 1 : out[i];
        int level = (int)(clamped * 255), want = ((const uint8_t *)picture->data)[i];
        assert_in_range(level - want + 1, 0, 2);
        different += level != want;
    }
    assert_true(different <= FLOATS / 50); /* where 255 x is next to a whole number */
}

static void follow(const char *isa, const sumi_tensor_file *golden, journey *j)
{
    float *noise = open_noise(golden), out[FLOATS];
    sumi_model *model;
    j->ctx = api_context(isa, 2);
    api_ok(j->ctx, sumi_model_load(j->ctx, GOLDEN_SMALL, &model));
    j->model = model;
    j->calls = j->next = 0;
    j->worst = 0;
    sumi_sample_config config = SUMI_SAMPLE_CONFIG_INIT;
    config.count = N;
    config.height = config.width = SIDE;
    config.noise = noise;
    config.on_step = on_step;
    config.user = j;
    api_ok(j->ctx, sumi_sample(j->ctx, model, &config, out, FLOATS));
    double end = golden_distance(golden, "x_0", out, FLOATS);
    print_message("%s: x_t within %.1e, x_0 within %.1e\n", isa, j->worst, end);
    assert_int_equal(j->calls, STEPS);
    assert_int_equal(j->next, j->kept);
    assert_true(j->worst <= 1e-3);
    assert_true(end <= 1e-3);
    check_picture(golden, out);
    check_implied(j);
    sumi_model_free(model);
    sumi_context_free(j->ctx);
    free(noise);
}

static void test_trajectory(void **state)
{
    (void)state;
    static journey j;
    sumi_tensor_file golden;
    golden_open(GOLDEN_TRAJECTORY, &golden);
    const sumi_file_tensor *t = sumi_tensor_file_find(&golden, "t");
    assert_non_null(t);
    assert_true(t->bytes <= sizeof j.t && t->dtype == SUMI_FILE_I64);
    memcpy(j.t, t->data, t->bytes);
    j.kept = t->bytes / sizeof *j.t;
    size_t count;
    j.want = golden_tensor(&golden, "x_t", &count);
    assert_int_equal(count, j.kept * FLOATS);
    const char *isa;
    for (int i = 0; (isa = api_isa(i)); i++)
        follow(isa, &golden, &j);
    free(j.want);
    sumi_tensor_file_free(&golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trajectory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
