/* Optimisers and averages: operation for operation what src/kernels/body_elementwise.h does. */

__kernel void sumi_adam(__global float *weights, __global const float *gradients,
                        __global float *m, __global float *v, sumi_cl_adam_args g)
{
    size_t i = get_global_id(0);
    if (i >= g.count)
        return;
    float d = gradients[g.gradients + i], w = weights[g.weights + i];
    if (g.keep != 1.0f)
        w = g.keep * w;
    float m0 = m[g.m + i], v0 = v[g.v + i];
    float m1 = fma(g.rate1, d - m0, m0), v1 = fma(g.rate2, fma(d, d, -v0), v0);
    m[g.m + i] = m1;
    v[g.v + i] = v1;
    weights[g.weights + i] = fma(g.step, m1 / fma(sqrt(v1), g.root, g.eps), w);
}

__kernel void sumi_axpby(__global const float *x, __global float *out, sumi_cl_axpby_args g)
{
    size_t i = get_global_id(0);
    if (i < g.count)
        out[g.out + i] = fma(g.a, x[g.x + i], g.b * out[g.out + i]);
}

__kernel void sumi_ema(__global float *average, __global const float *x, sumi_cl_ema_args g)
{
    size_t i = get_global_id(0);
    if (i >= g.count)
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
