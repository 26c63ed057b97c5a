/*
 * v_exp and what is made of it, of a whole array, for test_exp.c: compiled once for each width of
 * vectors, with SUMI_VB and the flags of the table of that width.
 */
#include "kernels/exp_lanes.h"
#include "kernels/simd.h"

#define JOIN(name, width) name##width
#define NAME(name, width) JOIN(name, width)

void NAME(sumi_test_exp_, SUMI_VB)(test_function function, const float *x, float *y, size_t count)
{
    for (size_t i = 0; i + (size_t)VW <= count; i += (size_t)VW) {
        vf v = v_load(x + i);
        if (function == TEST_EXP)
            v = v_exp(v);
        else if (function == TEST_SILU)
            v = v_silu(v);
        else
            v_silu_slopes(1, &v);
        v_store(y + i, v);
    }
}
