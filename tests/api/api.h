/* Helpers for tests that go through sumi.h as a program would. */
#ifndef SUMI_TEST_API_H
#define SUMI_TEST_API_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "sumi.h"

/* Number i of the instruction sets that this CPU has, NULL past the end. */
static inline const char *api_isa(int i)
{
    const sumi_kernels *kernels = sumi_kernels_list(i);
    return kernels ? kernels->name : NULL;
}

/* A context on that instruction set; NULL: the best. */
static inline sumi_context *api_context(const char *isa, int threads)
{
    sumi_context *ctx;
    if (isa)
        setenv("SUMI_ISA", isa, 1);
    else
        unsetenv("SUMI_ISA");
    if (sumi_context_create(threads, &ctx) != SUMI_OK)
        fail_msg("%s", sumi_last_error(NULL));
    unsetenv("SUMI_ISA");
    if (isa)
        assert_string_equal(sumi_context_isa(ctx), isa);
    return ctx;
}

#define api_ok(ctx, call)                                                                          \
    do {                                                                                           \
        sumi_status api_status_ = (call);                                                          \
        if (api_status_ != SUMI_OK)                                                                \
            fail_msg("%s: %s", sumi_status_name(api_status_), sumi_last_error(ctx));               \
    } while (0)

/* The call must give that status, and the message must have that text in it, on one line. */
#define api_fails(ctx, call, status, text)                                                         \
    do {                                                                                           \
        sumi_status api_status_ = (call);                                                          \
        const char *api_message_ = sumi_last_error(ctx);                                           \
        if (api_status_ != (status))                                                               \
            fail_msg("%s, expected %s: %s", sumi_status_name(api_status_),                         \
                     sumi_status_name(status), api_message_);                                      \
        if (!strstr(api_message_, (text)))                                                         \
            fail_msg("'%s' does not say '%s'", api_message_, (text));                              \
        assert_null(strchr(api_message_, '\n'));                                                   \
    } while (0)

/* A seed network of that width, drawn from seed 1. */
static inline sumi_model *api_model(sumi_context *ctx, int width)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_model *model;
    config.base_channels = width;
    config.time_dim = 20;
    config.seed = 1;
    api_ok(ctx, sumi_model_create(ctx, &config, &model));
    return model;
}

/* All numbers of the state dict, malloc'ed. */
static inline uint8_t *api_state(const sumi_model *model, size_t *bytes)
{
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    assert_int_equal(sumi_model_info(model, &info), SUMI_OK);
    uint8_t *state = NULL;
    *bytes = 0;
    for (int i = 0; i < info.tensors; i++) {
        sumi_tensor_t tensor = SUMI_TENSOR_INIT;
        assert_int_equal(sumi_model_tensor(model, i, &tensor), SUMI_OK);
        size_t size = (size_t)tensor.count * (tensor.dtype == SUMI_I64 ? 8 : 4);
        state = realloc(state, *bytes + size);
        assert_non_null(state);
        assert_int_equal(sumi_model_tensor_read(model, i, state + *bytes, size), SUMI_OK);
        *bytes += size;
    }
    return state;
}

/* Two models hold the same bits. */
static inline void api_same_state(const sumi_model *a, const sumi_model *b)
{
    size_t a_bytes, b_bytes;
    uint8_t *a_state = api_state(a, &a_bytes), *b_state = api_state(b, &b_bytes);
    assert_int_equal(a_bytes, b_bytes);
    assert_memory_equal(a_state, b_state, a_bytes);
    free(a_state);
    free(b_state);
}

/* Smooth pictures in [0, 1], [n][h][w]: each its own; malloc'ed. */
static inline float *api_images(int n, int h, int w)
{
    float *x = malloc((size_t)n * (size_t)h * (size_t)w * sizeof *x);
    assert_non_null(x);
    for (int i = 0, at = 0; i < n; i++)
        for (int y = 0; y < h; y++)
            for (int z = 0; z < w; z++, at++)
                x[at] = (float)((y * (i + 3) + z * (i % 5 + 1)) % 17) / 16;
    return x;
}

#endif
