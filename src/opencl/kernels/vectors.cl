/* What becomes of times, labels and other vectors: small, and of any shape. */

/* Cosines and sines: the angle is taken in turns, as a sum of two floats, of which the first has
 * its whole turns cut off exactly. */
__kernel void sumi_waves(__global float *a, sumi_cl_waves_args g)
{
    uint k = get_global_id(0), n = get_global_id(1);
    if (k >= (uint)g.dim)
        return;
    __global const float *row = a + g.table + 3 * k;
    float t = a[g.time + n], turns = t * row[0];
    float rest = fma(t, row[0], -turns) + t * row[1];
    float angle = 2.0f * ((turns - rint(turns)) + rest);
    a[g.out + (size_t)n * (uint)g.dim + k] = row[2] > 0.0f ? sinpi(angle) : cospi(angle);
}

__kernel void sumi_embedding(__global float *a, __global const float *weights,
                             sumi_cl_embedding_args g)
{
    uint k = get_global_id(0), n = get_global_id(1);
    if (k >= (uint)g.dim)
        return;
    int label = as_int(a[g.labels + n]);
    uint row = (uint)(label < 0 || label >= g.rows ? g.rows - 1 : label);
    a[g.out + (size_t)n * (uint)g.dim + k] = weights[g.table + (size_t)row * (uint)g.dim + k];
}

__kernel void sumi_fill(__global float *a, sumi_cl_fill_args g)
{
    size_t i = get_global_id(0);
    if (i < g.count)
        a[g.out + i] = as_float(g.bits);
}

/* An item for each output of an image. */
__kernel void sumi_linear(__global const float *a, __global float *out,
                          __global const float *weights, sumi_cl_linear_args g)
{
    uint unit = get_global_id(0), n = get_global_id(1);
    if (unit >= (uint)g.units)
        return;
    float sum = g.bias != SUMI_CL_NOWHERE ? weights[g.bias + unit] : 0.0f;
    __global const float *column = weights + g.weight + unit;
    for (int s = 0; s < g.sources; s++)
        for (uint c = 0; c < (uint)g.source[s].c; c++) {
            sum = fma(view_at(a, &g.source[s], n, n, c), *column, sum);
            column += g.units;
        }
    out[g.out + (size_t)n * (uint)g.units + unit] = sum;
}
