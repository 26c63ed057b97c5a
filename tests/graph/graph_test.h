/*
 * What the graph tests share.
 */
#ifndef SUMI_GRAPH_TEST_H
#define SUMI_GRAPH_TEST_H

#include <math.h>
#include <stddef.h>

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
