/*
 * Convolutions 3x3 by Winograd's F(2x2, 3x3) (Lavin and Gray, arXiv:1509.09308): each cell of 2x2
 * pixels of the output comes of 4x4 of the input, and of 16 products for a pair of channels where
 * the plain sum has 36. What is pending on the sources is applied where the input is transformed;
 * bias, a residual and moments where the output is. Of products, a cell's sums go over the input's
 * channels in their order, whatever else is in the batch.
 */

/* u = G w G': of one input and one output channel. */
__kernel void sumi_winograd_weights(__global float *out, __global const float *weights,
                                    sumi_cl_winograd_args g)
{
    uint c = get_global_id(0), k = get_global_id(1);
    float w[3][3], t[4][3];
    if (c >= (uint)g.conv.cout)
        return;
    for (int tap = 0; tap < 9; tap++) {
        int from = g.conv.flipped ? 8 - tap : tap;
        w[tap / 3][tap % 3] =
            weights[g.conv.weight + (size_t)from * (uint)g.conv.tap_floats +
                    (size_t)k * (uint)g.conv.in_floats + (size_t)c * (uint)g.conv.out_floats];
    }
    for (int j = 0; j < 3; j++) {
        float side = w[0][j] + w[2][j];
        t[0][j] = w[0][j];
        t[1][j] = 0.5f * (side + w[1][j]);
        t[2][j] = 0.5f * (side - w[1][j]);
        t[3][j] = w[2][j];
    }
    size_t step = (size_t)(uint)g.cin * (uint)g.conv.cout, at = g.u + (size_t)k * (uint)g.conv.cout + c;
    for (int i = 0; i < 4; i++) {
        float side = t[i][0] + t[i][2];
        out[at + (size_t)(4 * i) * step] = t[i][0];
        out[at + (size_t)(4 * i + 1) * step] = 0.5f * (side + t[i][1]);
        out[at + (size_t)(4 * i + 2) * step] = 0.5f * (side - t[i][1]);
        out[at + (size_t)(4 * i + 3) * step] = t[i][2];
    }
}

/* v = B' d B: of one cell's 4x4 pixels in one channel; outside of the image they are 0. */
__kernel void sumi_winograd_input(__global const float *a, __global float *out,
                                  sumi_cl_winograd_args g)
{
    uint item = get_global_id(0), cell = item / (uint)g.cin, k = item % (uint)g.cin, c = k;
    uint all = (uint)(g.down * g.across), n = cell / all;
    int top = 2 * (int)(cell % all / (uint)g.across) - 1;
    int left = 2 * (int)(cell % all % (uint)g.across) - 1;
    float d[4][4], t[4][4];
    int s = 0;
    if (cell >= g.cells)
        return;
    while (s + 1 < g.conv.sources && c >= (uint)g.conv.source[s].c) {
        c -= (uint)g.conv.source[s].c;
        s++;
    }
    const sumi_cl_view view = g.conv.source[s];
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            int y = top + i, x = left + j;
            size_t p = ((size_t)n * (uint)g.conv.h + (uint)y) * (uint)g.conv.w + (uint)x;
            bool inside = y >= 0 && y < g.conv.h && x >= 0 && x < g.conv.w;
            d[i][j] = inside ? view_at(a, &view, n, p, c) : 0.0f;
        }
    for (int j = 0; j < 4; j++) {
        t[0][j] = d[0][j] - d[2][j];
        t[1][j] = d[1][j] + d[2][j];
        t[2][j] = d[2][j] - d[1][j];
        t[3][j] = d[1][j] - d[3][j];
    }
    size_t step = (size_t)g.cells * (uint)g.cin, at = g.v + (size_t)cell * (uint)g.cin + k;
    for (int i = 0; i < 4; i++) {
        out[at + (size_t)(4 * i) * step] = t[i][0] - t[i][2];
        out[at + (size_t)(4 * i + 1) * step] = t[i][1] + t[i][2];
        out[at + (size_t)(4 * i + 2) * step] = t[i][2] - t[i][1];
        out[at + (size_t)(4 * i + 3) * step] = t[i][1] - t[i][3];
    }
}

/* m = v u at each frequency: a group makes SUMI_CL_TILE cells of as many channels. */
__kernel __attribute__((reqd_work_group_size(ITEMS, ITEMS, 1)))
void sumi_winograd_product(__global const float *a, __global float *out, sumi_cl_winograd_args g)
{
    __local float rows[SUMI_CL_DEPTH][SUMI_CL_TILE + 1];
    __local float columns[SUMI_CL_DEPTH][SUMI_CL_TILE + 1];
    uint ix = get_local_id(0), iy = get_local_id(1), item = iy * ITEMS + ix;
    uint cin = (uint)g.cin, cout = (uint)g.conv.cout;
    uint cell0 = get_group_id(0) * SUMI_CL_TILE, c0 = get_group_id(1) * SUMI_CL_TILE;
    size_t frequency = get_group_id(2);
    size_t v = g.v + frequency * g.cells * cin, u = g.u + frequency * cin * cout;
    float acc[EACH][EACH];
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++)
            acc[i][j] = 0.0f;
    for (uint k0 = 0; k0 < cin; k0 += SUMI_CL_DEPTH) {
        for (uint i = 0; i < EACH; i++) {
            uint cell = cell0 + iy + i * ITEMS, k = k0 + ix;
            rows[ix][iy + i * ITEMS] =
                cell < g.cells && k < cin ? a[v + (size_t)cell * cin + k] : 0.0f;
        }
        for (uint i = 0; i < SUMI_CL_DEPTH / EACH; i++) {
            uint k = item / SUMI_CL_TILE + i * EACH, c = item % SUMI_CL_TILE;
            columns[k][c] = k0 + k < cin && c0 + c < cout ? a[u + (size_t)(k0 + k) * cout + c0 + c]
                                                          : 0.0f;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        add_products(rows, columns, acc);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (uint i = 0; i < EACH; i++)
        for (uint j = 0; j < EACH; j++) {
            uint cell = cell0 + iy + i * ITEMS, c = c0 + ix + j * ITEMS;
            if (cell < g.cells && c < cout)
                out[g.m + (frequency * g.cells + cell) * cout + c] = acc[i][j];
        }
}

/* y = A' m A: an item makes its pixels from 9 of a cell's 16 numbers each. A group has the tile of
 * sumi_conv, and stores it as that does. */
__kernel __attribute__((reqd_work_group_size(ITEMS, ITEMS, 1)))
void sumi_winograd_output(__global const float *a, __global float *out,
                          __global const float *weights, sumi_cl_winograd_args g)
{
    __local float room[ITEMS * EACH * ITEMS];
    uint ix = get_local_id(0), iy = get_local_id(1), c0 = get_group_id(1) * SUMI_CL_TILE;
    uint cout = (uint)g.conv.cout;
    size_t step = (size_t)g.cells * cout;
    float acc[EACH][EACH];
    pixel_place at[EACH];
    for (int i = 0; i < EACH; i++) {
        at[i] = place_of(&g.conv, get_group_id(0), iy + (uint)i * ITEMS);
        uint cell = (at[i].n * (uint)g.down + (uint)(at[i].y / 2)) * (uint)g.across +
                    (uint)(at[i].x / 2);
        int down = at[i].y % 2, right = at[i].x % 2;
        float sign_y = down ? -1.0f : 1.0f, sign_x = right ? -1.0f : 1.0f;
        for (int j = 0; j < EACH; j++) {
            uint c = c0 + ix + (uint)j * ITEMS;
            acc[i][j] = 0.0f;
            if (!at[i].there || c >= cout)
                continue;
            float t[3];
            for (int r = 0; r < 3; r++) {
                size_t from = g.m + (size_t)((down + r) * 4 + right) * step +
                              (size_t)cell * cout + c;
                t[r] = a[from] + sign_x * (a[from + step] + a[from + 2 * step]);
            }
            acc[i][j] = t[0] + sign_y * (t[1] + t[2]);
        }
    }
    store_tile(a, out, weights, &g.conv, at, acc, room);
}
