/*
 * The C side of tests/golden: the formula that weights, images, noise and timesteps come from
 * (formula.py says the same in Python), and the values that PyTorch found with them.
 */
#ifndef SUMI_TEST_GOLDEN_H
#define SUMI_TEST_GOLDEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/models.h"

enum {
    GOLDEN_STREAM_X = 1000,
    GOLDEN_STREAM_NOISE = 2000,
    GOLDEN_STREAM_T = 3000,
    /* Batch numbers, as in make_golden.py. */
    GOLDEN_GRADIENT_BATCH = 126,
    GOLDEN_LARGE_BATCH = 11,
    GOLDEN_ADAM_BATCH = 20,
    GOLDEN_TARGET_OFFSET = 50,
};

#define GOLDEN_SEED SUMI_TEST_DIR "/golden/seed.safetensors"
#define GOLDEN_SMALL SUMI_TEST_DIR "/golden/small.pth"
#define GOLDEN_TRAJECTORY SUMI_TEST_DIR "/golden/trajectory.safetensors"

/* The i-th number of a stream, a multiple of 2^-24 in [0, 1): the finaliser of splitmix64. */
static inline double golden_uniform(int stream, size_t i)
{
    uint64_t z = (((uint64_t)stream << 40) + i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (double)(z >> 40) / (1 << 24);
}

static inline float golden_beta(size_t i, double u, bool clear)
{
    double v = 0.5 * u - 0.25;
    if (clear && i % 16 != 5)
        v += i % 2 == 0 ? 1.75 : -1.75;
    return (float)v;
}

/* Value i of tensor `index` of the state dict; clear keeps what a ReLU sees away from 0. */
static inline float golden_value(int index, const sumi_param *param, size_t i, bool clear)
{
    double u = golden_uniform(index, i);
    switch (param->kind) {
    case SUMI_PARAM_VARIANCE:
        return (float)(0.5 + u);
    case SUMI_PARAM_MEAN:
        return (float)(0.5 * u - 0.25);
    case SUMI_PARAM_GAMMA:
        return (float)((i % 8 == 3 ? -0.5 - u : 0.5 + u) * (clear ? 0.25 : 1));
    case SUMI_PARAM_BETA:
        return golden_beta(i, u, clear);
    case SUMI_PARAM_BIAS:
        return (float)(0.5 * u - 0.125);
    default:;
        double gain = param->rank == 2 ? 3 : param->shape[2] == 3 ? 6 : 1;
        int64_t fan_in =
            param->shape[1] * (param->rank == 4 ? param->shape[2] * param->shape[3] : 1);
        return (float)((2 * u - 1) * sqrt(gain / (double)fan_in));
    }
}

/* Puts the formula's weights into a model. */
static inline void golden_fill(sumi_model *model, bool clear)
{
    sumi_params *params = &model->graph.params;
    for (int p = 0; p < params->count; p++) {
        const sumi_param *param = &params->items[p];
        if (param->kind == SUMI_PARAM_COUNTER) {
            params->counters[param->offset] = 7;
            continue;
        }
        float *values = malloc(param->count * sizeof *values);
        assert_non_null(values);
        for (size_t i = 0; i < param->count; i++)
            values[i] = golden_value(p, param, i, clear);
        sumi_param_import(param, values,
                          sumi_param_trainable(param) ? params->values : params->statistics);
        free(values);
    }
    model->generation++;
}

/* A seed model with the formula's weights. */
static inline sumi_model *golden_model(bool clear)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_model *model;
    sumi_error err;
    assert_int_equal(sumi_models_create(&config, &model, &err), SUMI_OK);
    golden_fill(model, clear);
    return model;
}

/* x_0 number `batch`; malloc'ed, like all that follow. */
static inline float *golden_images(int batch, size_t count)
{
    float *x = malloc(count * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)golden_uniform(GOLDEN_STREAM_X + batch, i);
    return x;
}

/* Nearly normal: the sum of four uniforms. */
static inline float *golden_noise(int batch, size_t count)
{
    float *x = malloc(count * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < count; i++) {
        double sum = 0;
        for (size_t k = 0; k < 4; k++)
            sum += golden_uniform(GOLDEN_STREAM_NOISE + batch, 4 * i + k);
        x[i] = (float)((sum - 2) * sqrt(3.0));
    }
    return x;
}

/* 1, the last one, then anything between. */
static inline int32_t *golden_timesteps(int batch, int n)
{
    int32_t *t = malloc((size_t)n * sizeof *t);
    assert_non_null(t);
    for (int i = 0; i < n; i++)
        t[i] = 1 + (int32_t)(golden_uniform(GOLDEN_STREAM_T + batch, (size_t)i) * 1000);
    t[0] = 1;
    if (n > 1)
        t[1] = 1000;
    return t;
}

static inline void golden_open(const char *path, sumi_tensor_file *file)
{
    sumi_error err;
    sumi_status status = sumi_safetensors_read(path, file, &err);
    if (status != SUMI_OK)
        fail_msg("%s", err.text);
}

/* A tensor's numbers as doubles (F32 or F64). */
static inline double *golden_tensor(const sumi_tensor_file *file, const char *name, size_t *count)
{
    const sumi_file_tensor *tensor = sumi_tensor_file_find(file, name);
    if (tensor == NULL)
        fail_msg("no %s in the golden file", name);
    size_t size = sumi_dtype_size(tensor->dtype);
    *count = tensor->bytes / size;
    double *out = malloc(*count * sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < *count; i++) {
        const char *at = (const char *)tensor->data + i * size;
        float single;
        if (tensor->dtype == SUMI_FILE_F64) {
            memcpy(&out[i], at, sizeof out[i]);
        } else {
            assert_int_equal(tensor->dtype, SUMI_FILE_F32);
            memcpy(&single, at, sizeof single);
            out[i] = single;
        }
    }
    return out;
}

/* The largest difference between out and the tensor of that name. */
static inline double golden_distance(const sumi_tensor_file *file, const char *name,
                                     const float *out, size_t expected_count)
{
    size_t count;
    double *want = golden_tensor(file, name, &count), worst = 0;
    assert_int_equal(count, expected_count);
    for (size_t i = 0; i < count; i++) {
        double distance = fabs(out[i] - want[i]);
        if (!(distance <= worst)) /* NaN counts as far */
            worst = distance;
    }
    free(want);
    return worst;
}

static inline size_t golden_gcd(size_t a, size_t b)
{
    return b == 0 ? a : golden_gcd(b, a % b);
}

/* Every which element of a tensor of `count` is in the file, as sample_stride of make_golden.py. */
static inline size_t golden_stride(size_t count, size_t limit)
{
    if (count <= limit)
        return 1;
    size_t stride = (count + limit / 2 - 1) / (limit / 2);
    while (golden_gcd(stride, 6) != 1)
        stride++;
    return stride;
}

#endif
