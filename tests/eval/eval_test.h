/*
 * What the tests of eval share: a machine, sets of random features, small comparisons.
 */
#ifndef SUMI_TEST_EVAL_H
#define SUMI_TEST_EVAL_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "eval/eval.h"

#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

static inline sumi_eval_machine machine_open(int threads)
{
    sumi_eval_machine machine = {.kernels = sumi_kernels_pick(NULL)};
    assert_int_equal(sumi_pool_create(threads, &machine.pool, NULL), SUMI_OK);
    assert_non_null(machine.kernels);
    return machine;
}

static inline void machine_close(sumi_eval_machine *machine)
{
    sumi_pool_free(machine->pool);
}

/* Independent normals, from address `image` on. */
static inline float *random_features(uint64_t seed, int64_t n, int d)
{
    sumi_random at = {.seed = seed, .stream = SUMI_STREAM_USER};
    float *values = sumi_calloc((size_t)n * (size_t)d, sizeof *values);
    assert_non_null(values);
    sumi_random_normals(&at, 0, values, (size_t)n * (size_t)d);
    return values;
}

/* A set of golden/NAME.npy; its features are the caller's to free. */
static inline sumi_eval_set golden_set(const char *name)
{
    char path[512];
    sumi_npy array;
    sumi_error err = {""};
    snprintf(path, sizeof path, "%s/eval/golden/%s.npy", SUMI_TEST_DIR, name);
    if (sumi_npy_read(path, &array, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    return (sumi_eval_set){
        .name = name, .n = array.shape[0], .d = (int)array.shape[1], .features = array.data};
}

static inline void assert_says(const sumi_error *err, const char *says)
{
    if (!strstr(err->text, says) || strchr(err->text, '\n'))
        fail_msg("\"%s\" does not say \"%s\" in one line", err->text, says);
}

static inline void assert_near(double found, double expected, double relative)
{
    if (!(fabs(found - expected) <= relative * fabs(expected)))
        fail_msg("%.17g, expected %.17g: off by %.3g of it", found, expected,
                 fabs(found - expected) / fabs(expected));
}

#endif
