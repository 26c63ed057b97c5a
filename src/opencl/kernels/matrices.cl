/*
 * Muon's step on matrices, all of one shape at once: see src/cpu/orthogonal.c for what is computed.
 * X is [tall][wide] of each, the small matrices [wide][wide].
 */

/* Momentum, and X from it: an item for each number. */
__kernel void sumi_gather(__global const float *gradients, __global float *moments,
                          __global const uint *table, __global float *x,
                          __global const uint *ledger, sumi_cl_gather_args g)
{
    uint col = get_global_id(0), row = get_global_id(1), matrix = get_global_id(2);
    if (col >= (uint)g.cols)
        return;
    size_t at = table[g.table + 2 * matrix] + (size_t)row * table[g.table + 2 * matrix + 1] + col;
    float rate = 1.0f - g.momentum, m = moments[g.moments + at];
    float d = gradients[g.gradients + at] * clip_factor(ledger, g.ledger);
    m = fma(rate, d - m, m);
    if (!is_closed(ledger, g.ledger))
        moments[g.moments + at] = m;
    size_t to = g.turned ? (size_t)col * (uint)g.rows + row : (size_t)row * (uint)g.cols + col;
    x[g.x + (size_t)matrix * (uint)g.rows * (uint)g.cols + to] = fma(rate, d, g.momentum * m);
}

/* A group makes 64 x 64 numbers of a product, as in conv.cl. */
__kernel __attribute__((reqd_work_group_size(ITEMS, ITEMS, 1)))
void sumi_product(__global const float *in, __global float *out, sumi_cl_product_args g)
{
    __local float rows[SUMI_CL_DEPTH][SUMI_CL_TILE + 1];
    __local float columns[SUMI_CL_DEPTH][SUMI_CL_TILE];
    uint ix = get_local_id(0), iy = get_local_id(1), item = iy * ITEMS + ix;
    uint c0 = get_group_id(0) * SUMI_CL_TILE, r0 = get_group_id(1) * SUMI_CL_TILE;
    size_t matrix = get_group_id(2), size = (size_t)(uint)g.rows * (uint)g.cols;
    __global const float *a = in + g.a + matrix * (uint)g.rows * (uint)g.depth;
    __global const float *b = in + g.b + matrix * (uint)g.depth * (uint)g.cols;
    float acc[EACH][EACH];
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++)
            acc[i][j] = 0.0f;
    for (uint k0 = 0; k0 < (uint)g.depth; k0 += SUMI_CL_DEPTH) {
        for (uint i = 0; i < SUMI_CL_DEPTH / EACH; i++) {
            uint k = item / SUMI_CL_TILE + i * EACH, c = item % SUMI_CL_TILE;
            bool there = k0 + k < (uint)g.depth && c0 + c < (uint)g.cols;
            columns[k][c] = there ? b[(size_t)(k0 + k) * (uint)g.cols + c0 + c] : 0.0f;
            uint d = g.turned ? k : item % SUMI_CL_DEPTH;
            uint r = g.turned ? c : item / SUMI_CL_DEPTH + i * ITEMS;
            there = k0 + d < (uint)g.depth && r0 + r < (uint)g.rows;
            size_t at = g.turned ? (size_t)(k0 + d) * (uint)g.rows + r0 + r
                                 : (size_t)(r0 + r) * (uint)g.depth + k0 + d;
            rows[d][r] = there ? a[at] : 0.0f;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int k = 0; k < SUMI_CL_DEPTH; k++)
            for (int i = 0; i < EACH; i++) {
                float x = rows[k][iy + (uint)i * ITEMS];
                for (int j = 0; j < EACH; j++)
                    acc[i][j] = fma(x, columns[k][ix + (uint)j * ITEMS], acc[i][j]);
            }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++) {
            uint r = r0 + iy + (uint)i * ITEMS, c = c0 + ix + (uint)j * ITEMS;
            if (r >= (uint)g.rows || c >= (uint)g.cols)
                continue;
            size_t at = matrix * size + (size_t)r * (uint)g.cols + c;
            float y = g.product * acc[i][j];
            if (g.d != SUMI_CL_NOWHERE)
                y += g.other * in[g.d + at];
            out[g.c + at] = r == c ? y + g.diagonal : y;
        }
}

/* The trace of X^T X is the sum of the squares of X: a matrix that is too large for it comes to
 * nothing. A group for each. */
__kernel void sumi_trace(__global float *a, sumi_cl_trace_args g)
{
    __local float room[SUMI_CL_GROUP];
    uint item = get_local_id(0), wide = (uint)g.wide;
    __global float *x = a + g.x + (size_t)get_group_id(1) * wide * wide;
    float trace = 0.0f;
    for (uint i = item; i < wide; i += SUMI_CL_GROUP)
        trace += x[(size_t)i * wide + i];
    barrier(CLK_GLOBAL_MEM_FENCE); /* what others read is then written */
    trace = group_sum(room, item, SUMI_CL_GROUP, trace);
    float by = isfinite(trace) ? 1.0f / (sqrt(trace) + 1e-7f) : 0.0f;
    for (uint i = item; i < wide * wide; i += SUMI_CL_GROUP)
        x[i] = by > 0.0f ? x[i] * by * by : 0.0f;
    if (item == 0)
        a[g.factors + get_group_id(1)] = by * g.factor;
}

/* The result, in place of the gradients. */
__kernel void sumi_scatter(__global const float *x, __global const uint *table,
                           __global float *gradients, sumi_cl_scatter_args g)
{
    uint col = get_global_id(0), row = get_global_id(1), matrix = get_global_id(2);
    if (col >= (uint)g.cols)
        return;
    float factor = x[g.factors + matrix];
    size_t at = g.turned ? (size_t)col * (uint)g.rows + row : (size_t)row * (uint)g.cols + col;
    size_t to = table[g.table + 2 * matrix] + (size_t)row * table[g.table + 2 * matrix + 1] + col;
    float y = x[g.x + (size_t)matrix * (uint)g.rows * (uint)g.cols + at];
    gradients[g.gradients + to] = factor > 0.0f ? factor * y : 0.0f;
}
