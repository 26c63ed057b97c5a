/* Optimisers and averages: operation for operation what src/kernels/body_elementwise.h does. */

__kernel void sumi_adam(__global float *weights, __global const float *gradients,
                        __global float *m, __global float *v, __global const uint *ledger,
                        sumi_cl_adam_args g)
{
    size_t i = get_global_id(0);
    if (i >= g.count || is_closed(ledger, g.ledger))
        return;
    float d = gradients[g.gradients + i] * clip_factor(ledger, g.ledger);
    float w = weights[g.weights + i];
    if (g.keep != 1.0f)
        w = g.keep * w;
    float m0 = m[g.m + i], v0 = v[g.v + i];
    float m1 = fma(g.rate1, d - m0, m0), v1 = fma(g.rate2, fma(d, d, -v0), v0);
    m[g.m + i] = m1;
    v[g.v + i] = v1;
    weights[g.weights + i] = fma(g.step, m1 / fma(sqrt(v1), g.root, g.eps), w);
}

__kernel void sumi_axpby(__global const float *x, __global float *out,
                         __global const uint *ledger, sumi_cl_axpby_args g)
{
    size_t i = get_global_id(0);
    if (i < g.count && !is_closed(ledger, g.ledger))
        out[g.out + i] = fma(g.a, x[g.x + i], g.b * out[g.out + i]);
}

__kernel void sumi_ema(__global float *average, __global const float *x,
                       __global const uint *ledger, sumi_cl_ema_args g)
{
    size_t i = get_global_id(0);
    if (i >= g.count || is_closed(ledger, g.ledger))
        return;
    float old = average[g.average + i];
    average[g.average + i] = fma(g.rate, x[g.x + i] - old, old);
}

__kernel void sumi_squares(__global const float *x, __global float *out, sumi_cl_squares_args g)
{
    __local float room[SUMI_CL_GROUP];
    uint item = get_local_id(0), piece = get_group_id(0);
    size_t begin = (size_t)((ulong)g.count * piece / g.pieces);
    size_t end = (size_t)((ulong)g.count * (piece + 1) / g.pieces);
    float sum = 0.0f;
    for (size_t i = begin + item; i < end; i += SUMI_CL_GROUP)
        sum = fma(x[g.x + i], x[g.x + i], sum);
    sum = group_sum(room, item, SUMI_CL_GROUP, sum);
    if (item == 0)
        out[g.out + piece] = sum;
}

/* ---- Ledgers --------------------------------------------------------------------------------- */

/* As before the first step: an item for each word. */
__kernel void sumi_ledger_open(__global uint *words, sumi_cl_flat_args g)
{
    size_t i = get_global_id(0);
    if (i < g.count)
        words[g.x + i] = i == SUMI_CL_LEDGER_FACTOR ? as_uint(1.0f) : 0;
}

/* One item. */
__kernel void sumi_ledger_take(__global const float *a, __global uint *words, sumi_cl_take_args g)
{
    uint at = g.ledger + SUMI_CL_LEDGER_LOSSES + g.step;
    if (get_global_id(0) > 0)
        return;
    float loss = as_float(words[at]) + g.share * a[g.results];
    bool bad = words[g.ledger + SUMI_CL_LEDGER_FOUND] != 0 || as_uint(a[g.results + 1]) != 0 ||
               !isfinite(loss);
    words[at] = as_uint(loss);
    words[g.ledger + SUMI_CL_LEDGER_FOUND] = 0;
    words[g.ledger + SUMI_CL_LEDGER_FACTOR] = as_uint(1.0f);
    if (bad && words[g.ledger + SUMI_CL_LEDGER_BAD] == 0)
        words[g.ledger + SUMI_CL_LEDGER_BAD] = g.step + 1;
}

/* One group, of an item for each piece at most. */
__kernel void sumi_ledger_clip(__global float *numbers, sumi_cl_clip_args g)
{
    __local float room[SUMI_CL_GROUP];
    uint item = get_local_id(0), norms = g.ledger + SUMI_CL_LEDGER_LOSSES + g.steps;
    float sum = item < g.pieces ? numbers[norms + g.steps + item] : 0.0f;
    float norm = sqrt(group_sum(room, item, SUMI_CL_GROUP, sum));
    float factor = g.most / (norm + 1e-6f);
    if (item > 0)
        return;
    numbers[norms + g.step] = norm;
    numbers[g.ledger + SUMI_CL_LEDGER_FACTOR] = g.most > 0.0f && factor < 1.0f ? factor : 1.0f;
}
