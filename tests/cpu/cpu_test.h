/*
 * What the tests of this layer share.
 */
#ifndef SUMI_CPU_TEST_H
#define SUMI_CPU_TEST_H

#include <assert.h>
#include <math.h>
#include <stddef.h>

#include "cpu/cpu.h"

enum { TEST_IMAGES_MAX = 32768 };

/* A prediction at whole times. */
static inline void cpu_predict(sumi_network *net, const float *x, const int32_t *t, int n,
                               float *out)
{
    static float time[TEST_IMAGES_MAX];
    assert(n <= TEST_IMAGES_MAX);
    for (int i = 0; i < n; i++)
        time[i] = (float)t[i];
    sumi_network_predict(net, &(sumi_inputs){.image = x, .time = time}, n, &out);
}

typedef struct {
    const float *x;
    const int32_t *t;
    const float *target;
    int n;
    float *gradients;
} cpu_training;

/* The loss and its gradients at whole times. */
static inline double cpu_gradients(sumi_network *net, const cpu_training *run)
{
    static float time[TEST_IMAGES_MAX];
    assert(run->n <= TEST_IMAGES_MAX);
    for (int i = 0; i < run->n; i++)
        time[i] = (float)run->t[i];
    const sumi_inputs in = {.image = run->x, .time = time, .target = run->target};
    return sumi_network_gradients(net, &in, run->n, run->gradients);
}

/* ||a - b|| / ||b||, or ||a|| where b is 0. */
static inline double test_relative(const float *a, const float *b, size_t count)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        norm += (double)b[i] * (double)b[i];
    }
    return norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

#endif
