/*
 * Convolutions 3x3 and 1x1 as products of matrices that are never written: rows are pixels, columns
 * output channels, and between them lie the input's channels at each tap. What is pending on the
 * sources is applied in the load; bias, a residual and the moments of a tile in the store, and what
 * norms and shifts need of a gradient.
 *
 * A group makes SUMI_CL_TILE pixels of as many channels, an item 4 x 4 of them: pixels 4 items
 * apart, channels likewise. The order of a sum is that of taps and channels alone. The gradient of
 * an input is a convolution of the output's with the same weights, flipped and transposed.
 */
#define ITEMS 16 /* of a side of the group */
#define EACH 4   /* of a side of what an item makes */

typedef struct {
    uint n;
    int y, x;
    bool there;
} pixel_place;

pixel_place place_of(const sumi_cl_conv_args *g, uint tile, uint i)
{
    uint size = (uint)(g->h * g->w);
    uint image = g->tiles > 0 ? tile / (uint)g->tiles : 0;
    uint p = (g->tiles > 0 ? tile % (uint)g->tiles : tile) * SUMI_CL_TILE + i;
    pixel_place at;
    at.there = p < (g->tiles > 0 ? size : size * (uint)g->n);
    at.n = image + p / size;
    p %= size;
    at.y = (int)(p / (uint)g->w);
    at.x = (int)(p % (uint)g->w);
    return at;
}

/* One source's number at a tap; 0 outside of the image. */
float conv_source(__global const float *a, const sumi_cl_view *v, const sumi_cl_conv_args *g,
                  const pixel_place *at, int tap, uint c)
{
    int y = at->y, x = at->x;
    if (g->ksize == 3) {
        y += tap / 3 - 1;
        x += tap % 3 - 1;
    }
    if (!at->there || y < 0 || y >= g->h || x < 0 || x >= g->w || c >= (uint)v->c)
        return 0.0f;
    size_t p = ((size_t)at->n * (uint)g->h + (uint)y) * (uint)g->w + (uint)x;
    return view_at(a, v, at->n, p, c);
}

/* Mean and sum of squared differences of each channel over the tile's pixels. */
void store_moments(__global float *out, const sumi_cl_conv_args *g, float acc[EACH][EACH],
                   const bool there[EACH], __local float *room)
{
    uint ix = get_local_id(0), iy = get_local_id(1), tile = get_group_id(0);
    uint first = (tile % (uint)g->tiles) * SUMI_CL_TILE, size = (uint)(g->h * g->w);
    float count = (float)(size - first < SUMI_CL_TILE ? size - first : SUMI_CL_TILE);
    float mean[EACH];
    for (int pass = 0; pass < 2; pass++) {
        for (int j = 0; j < EACH; j++) {
            float sum = 0.0f;
            for (int i = 0; i < EACH; i++) {
                float x = pass == 0 ? acc[i][j] : (acc[i][j] - mean[j]) * (acc[i][j] - mean[j]);
                sum += there[i] ? x : 0.0f;
            }
            room[(iy * EACH + j) * ITEMS + ix] = sum;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int j = 0; j < EACH; j++) {
            float sum = 0.0f;
            for (int k = 0; k < ITEMS; k++)
                sum += room[(k * EACH + j) * ITEMS + ix];
            uint c = get_group_id(1) * SUMI_CL_TILE + ix + (uint)j * ITEMS;
            size_t at = ((size_t)tile * 2 + (uint)pass) * (uint)g->cout + c;
            mean[j] = sum / count;
            if (iy == 0 && c < (uint)g->cout)
                out[g->moments + at] = pass == 0 ? mean[j] : sum;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

/* acc becomes d, the gradient at the norm, in the first pass, and d (r - mean) in the second. */
void turn_back(__global const float *a, const sumi_cl_conv_args *g, uint pass,
               const pixel_place at[EACH], float acc[EACH][EACH])
{
    const sumi_cl_back_args *b = &g->back;
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++) {
            uint c = get_group_id(1) * SUMI_CL_TILE + get_local_id(0) + (uint)j * ITEMS;
            uint n = at[i].n;
            if (!at[i].there || c >= (uint)g->cout)
                continue;
            size_t p = ((size_t)n * (uint)g->h + (uint)at[i].y) * (uint)g->w + (uint)at[i].x;
            float r = a[b->x + p * (uint)g->cout + c];
            acc[i][j] *= pass == 1 ? slope_at(a, &b->term, n, c, r)
                                   : r - a[b->mean + (size_t)n * (uint)b->mean_row + c];
        }
}

/* What a shift (pass 0) and a norm (1 and 2) need of a gradient that was just made: sums of each
 * channel over the tile's pixels of each image. One loop with its barriers, as some drivers compile
 * each copy of such a loop for seconds. */
void store_back(__global const float *a, __global float *out, const sumi_cl_conv_args *g,
                const pixel_place at[EACH], float acc[EACH][EACH], __local float *room)
{
    const sumi_cl_back_args *b = &g->back;
    uint ix = get_local_id(0), iy = get_local_id(1), tile = get_group_id(0);
    uint c = get_group_id(1) * SUMI_CL_TILE + ix + iy * ITEMS, cout = (uint)g->cout;
    uint segments = (uint)b->segments, first = place_of(g, tile, 0).n;
    uint begin = b->shifts != SUMI_CL_NOWHERE ? 0 : segments;
    uint end = b->sums != SUMI_CL_NOWHERE ? 3 * segments : segments;
    for (uint k = begin; k < end; k++) {
        uint pass = k / segments, segment = k % segments;
        if (pass > 0 && segment == 0)
            turn_back(a, g, pass, at, acc);
        for (int j = 0; j < EACH; j++) {
            float sum = 0.0f;
            for (int i = 0; i < EACH; i++)
                sum += at[i].there && at[i].n == first + segment ? acc[i][j] : 0.0f;
            room[(iy * EACH + j) * ITEMS + ix] = sum;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (iy < EACH && c < cout) {
            size_t place = (size_t)tile * segments + segment;
            float sum = 0.0f;
            for (int i = 0; i < ITEMS; i++)
                sum += room[(i * EACH + iy) * ITEMS + ix];
            out[pass == 0 ? b->shifts + place * cout + c
                          : b->sums + (place * 2 + pass - 1) * cout + c] = sum;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

/* What a group has of a tile: bias and a residual are added on the way. */
void store_tile(__global const float *a, __global float *out, __global const float *weights,
                const sumi_cl_conv_args *g, const pixel_place at[EACH], float acc[EACH][EACH],
                __local float *room)
{
    uint c0 = get_group_id(1) * SUMI_CL_TILE, ix = get_local_id(0);
    bool there[EACH];
    for (int i = 0; i < EACH; i++) {
        size_t p = ((size_t)at[i].n * (uint)g->h + (uint)at[i].y) * (uint)g->w + (uint)at[i].x;
        there[i] = at[i].there;
        for (int j = 0; j < EACH; j++) {
            uint c = c0 + ix + (uint)j * ITEMS;
            if (!there[i] || c >= (uint)g->cout)
                continue;
            if (g->bias != SUMI_CL_NOWHERE)
                acc[i][j] += weights[g->bias + c];
            if (g->residual != SUMI_CL_NOWHERE)
                acc[i][j] += a[g->residual + p * (uint)g->cout + c];
            out[g->out + p * (uint)g->cout + c] = acc[i][j];
        }
    }
    if (g->moments != SUMI_CL_NOWHERE)
        store_moments(out, g, acc, there, room);
    store_back(a, out, g, at, acc, room);
}

/* The products of what a group has loaded of both matrices. */
void add_products(__local float rows[SUMI_CL_DEPTH][SUMI_CL_TILE + 1],
                  __local float columns[SUMI_CL_DEPTH][SUMI_CL_TILE + 1], float acc[EACH][EACH])
{
    uint ix = get_local_id(0), iy = get_local_id(1);
    for (int k = 0; k < SUMI_CL_DEPTH; k++) {
        float column[EACH];
        for (int j = 0; j < EACH; j++)
            column[j] = columns[k][ix + (uint)j * ITEMS];
        for (int i = 0; i < EACH; i++) {
            float x = rows[k][iy + (uint)i * ITEMS];
            for (int j = 0; j < EACH; j++)
                acc[i][j] = fma(x, column[j], acc[i][j]);
        }
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, ITEMS, 1)))
void sumi_conv(__global const float *a, __global float *out, __global const float *weights,
               sumi_cl_conv_args g)
{
    __local float rows[SUMI_CL_DEPTH][SUMI_CL_TILE + 1];
    __local float columns[SUMI_CL_DEPTH][SUMI_CL_TILE + 1];
    uint ix = get_local_id(0), iy = get_local_id(1), item = iy * ITEMS + ix;
    uint c0 = get_group_id(1) * SUMI_CL_TILE, tile = get_group_id(0);
    float acc[EACH][EACH];
    pixel_place at[EACH];
    for (int i = 0; i < EACH; i++) {
        at[i] = place_of(&g, tile, iy + (uint)i * ITEMS);
        for (int j = 0; j < EACH; j++)
            acc[i][j] = 0.0f;
    }
    for (int tap = 0; tap < g.ksize * g.ksize; tap++) {
        int from = g.flipped ? g.ksize * g.ksize - 1 - tap : tap;
        size_t row = g.weight + (size_t)from * (uint)g.tap_floats;
        for (int s = 0; s < g.sources; s++) {
            uint depth = (uint)g.source[s].c;
            for (uint k0 = 0; k0 < depth; k0 += SUMI_CL_DEPTH) {
                for (int i = 0; i < EACH; i++)
                    rows[ix][iy + (uint)i * ITEMS] =
                        conv_source(a, &g.source[s], &g, &at[i], tap, k0 + ix);
                for (uint i = 0; i < SUMI_CL_DEPTH / EACH; i++) {
                    /* Neighbours read neighbours. */
                    bool along = g.out_floats == 1;
                    uint k = along ? item / SUMI_CL_TILE + i * EACH : item % SUMI_CL_DEPTH;
                    uint c = along ? item % SUMI_CL_TILE : item / SUMI_CL_DEPTH + i * ITEMS;
                    bool there = k0 + k < depth && c0 + c < (uint)g.cout;
                    columns[k][c] = there ? weights[row + (size_t)(k0 + k) * (uint)g.in_floats +
                                                    (size_t)(c0 + c) * (uint)g.out_floats]
                                          : 0.0f;
                }
                barrier(CLK_LOCAL_MEM_FENCE);
                add_products(rows, columns, acc);
                barrier(CLK_LOCAL_MEM_FENCE);
            }
            row += (size_t)depth * (uint)g.in_floats;
        }
    }
    store_tile(a, out, weights, &g, at, acc, &rows[0][0]);
}

/* Pixel p of all images. */
pixel_place pixel_of(const sumi_cl_wgrad_args *g, uint p, uint end)
{
    uint size = (uint)(g->h * g->w);
    pixel_place at;
    at.there = p < end;
    at.n = p / size;
    p %= size;
    at.y = (int)(p / (uint)g->w);
    at.x = (int)(p % (uint)g->w);
    return at;
}

/* The gradient of weights: rows are a tap's input channels, columns output channels, and between
 * them lie the pixels of a piece. A group makes a tile of one tap from one piece. */
__kernel __attribute__((reqd_work_group_size(ITEMS, ITEMS, 1)))
void sumi_wgrad(__global const float *a, __global float *out, sumi_cl_wgrad_args g)
{
    __local float rows[SUMI_CL_DEPTH][SUMI_CL_TILE];
    __local float columns[SUMI_CL_DEPTH][SUMI_CL_TILE];
    uint ix = get_local_id(0), iy = get_local_id(1), item = iy * ITEMS + ix;
    uint across = ((uint)g.source.c + SUMI_CL_TILE - 1) / SUMI_CL_TILE;
    uint tap = get_group_id(0) / across, k0 = get_group_id(0) % across * SUMI_CL_TILE;
    uint c0 = get_group_id(1) * SUMI_CL_TILE, piece = get_group_id(2);
    ulong all = (ulong)(uint)(g.h * g.w) * (uint)g.n;
    uint begin = (uint)(all * piece / (uint)g.pieces);
    uint end = (uint)(all * (piece + 1) / (uint)g.pieces);
    int dy = g.ksize == 3 ? (int)tap / 3 - 1 : 0, dx = g.ksize == 3 ? (int)tap % 3 - 1 : 0;
    uint lane = item % SUMI_CL_TILE, k = k0 + lane, c = c0 + lane;
    float acc[EACH][EACH];
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++)
            acc[i][j] = 0.0f;
    for (uint p0 = begin; p0 < end; p0 += SUMI_CL_DEPTH) {
        for (uint i = 0; i < SUMI_CL_DEPTH / EACH; i++) {
            uint d = item / SUMI_CL_TILE + i * EACH;
            pixel_place at = pixel_of(&g, p0 + d, end);
            int y = at.y + dy, x = at.x + dx;
            size_t from = ((size_t)at.n * (uint)g.h + (uint)y) * (uint)g.w + (uint)x;
            bool inside = at.there && y >= 0 && y < g.h && x >= 0 && x < g.w;
            rows[d][lane] = inside && k < (uint)g.source.c ? view_at(a, &g.source, at.n, from, k)
                                                           : 0.0f;
            columns[d][lane] = at.there && c < (uint)g.cout
                                   ? a[g.dy + (size_t)(p0 + d) * (uint)g.cout + c]
                                   : 0.0f;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int d = 0; d < SUMI_CL_DEPTH; d++)
            for (int i = 0; i < EACH; i++) {
                float x = rows[d][iy + (uint)i * ITEMS];
                for (int j = 0; j < EACH; j++)
                    acc[i][j] = fma(x, columns[d][ix + (uint)j * ITEMS], acc[i][j]);
            }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    size_t taps = (size_t)(uint)(g.ksize * g.ksize);
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++) {
            uint row = k0 + iy + (uint)i * ITEMS, col = c0 + ix + (uint)j * ITEMS;
            if (row < (uint)g.source.c && col < (uint)g.cout)
                out[g.out + ((piece * taps + tap) * (uint)g.cin + row) * (uint)g.cout + col] =
                    acc[i][j];
        }
}
