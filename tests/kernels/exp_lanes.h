/*
 * exp_lanes.c's functions: count is a multiple of 16. Those of 32 and 64 bytes need a CPU that has
 * the table of that width, and are there on x86-64 alone.
 */
#ifndef SUMI_EXP_LANES_H
#define SUMI_EXP_LANES_H

#include <stddef.h>

typedef enum { TEST_EXP, TEST_SILU, TEST_SILU_SLOPE } test_function;

void sumi_test_exp_16(test_function function, const float *x, float *y, size_t count);
void sumi_test_exp_32(test_function function, const float *x, float *y, size_t count);
void sumi_test_exp_64(test_function function, const float *x, float *y, size_t count);

#endif
