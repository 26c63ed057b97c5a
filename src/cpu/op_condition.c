/*
 * Numbers that are given with an image, such as what was made of it before it was noised: as they
 * come in, and zeros where none are given. Nothing flows back through it.
 */
#include <string.h>

#include "cpu/ops.h"

static void condition_forward(const sumi_run *run, int node)
{
    int value = run->net->graph->nodes[node].out;
    size_t count = (size_t)run->n * (size_t)run->net->graph->values[value].channels;
    float *out = sumi_value_data(run, value);
    if (run->in.condition)
        memcpy(out, run->in.condition, count * sizeof *out);
    else
        memset(out, 0, count * sizeof *out);
}

const sumi_op sumi_op_condition = {NULL, condition_forward, NULL, NULL};
