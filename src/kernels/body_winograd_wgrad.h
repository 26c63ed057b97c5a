/*
 * The gradient of the weights by Winograd: the transpose, step by step, of the forward pass in
 * body_winograd.h. With V = B^T x B of the input and W = A dy A^T of the output's gradient, the
 * gradient of U is the sum over all tiles of V^T W, point by point, and dg = G^T dU G once at the
 * end. A partial gradient is dU, kept as U is packed: [points][cout / NR][cin][NR].
 */
#ifndef SUMI_BODY_WINOGRAD_WGRAD_H
#define SUMI_BODY_WINOGRAD_WGRAD_H

#include "kernels/body_winograd.h"

/* ---- transforms ------------------------------------------------------------------------------ */

/* G^T: the gradient of the points to that of three weights. */
INLINE void wino_gt(const int big, const vf *u, vf *g)
{
    vf sum = u[1] + u[2], difference = u[1] - u[2], sum_b = u[3] + u[5], difference_b = u[3] - u[5];
    if (big == 6) {
        vf sum_half = u[6] + u[7], difference_half = u[6] - u[7];
        sum = v_splat(2.0F / 9) * sum;
        sum_b = v_splat(1.0F / 90) * sum_b;
        difference = v_splat(2.0F / 9) * difference;
        difference_b = v_splat(1.0F / 90) * difference_b;
        g[0] = v_fma(v_splat(32.0F / 45), sum_half, u[0] + (sum_b - sum));
        g[1] = v_fma(v_splat(16.0F / 45), difference_half,
                     v_fma(v_splat(2), difference_b, -difference));
        g[2] = v_fma(v_splat(8.0F / 45), sum_half, v_fma(v_splat(4), sum_b, u[4] - sum));
        return;
    }
    g[0] = v_fma(v_splat(WINO_G_A), sum, v_fma(v_splat(WINO_G_B), sum_b, u[0]));
    g[1] = v_fma(v_splat(-27.0F / 65), difference, v_splat(12.0F / 65) * difference_b);
    g[2] = v_fma(v_splat(-18.0F / 65), sum, v_fma(v_splat(18.0F / 65), sum_b, u[4]));
}

static void wino_gradient_image(const wino_grid *g, int image, int n, const wino_input *in,
                                const wino_area *area)
{
    wino_image(WINO_GRADIENT, g, image, n, in, area);
}

/* ---- the products of points ------------------------------------------------------------------ */

/* The factors of one point, over the tiles that have it. add: to what du holds. */
typedef struct {
    const float *v, *w;
    size_t ldv, ldw;
    int depth;
    bool add;
} wino_product;

/* du[rows][NR] (+)= v[depth][rows]^T * w[depth][NR], for the rows from c0 on. */
INLINE void wino_wgrad_micro(const int rows, const wino_product *p, int c0, float *du)
{
    vf sum[WINO_MR][2];
    micro_begin_far(rows, du, NR, sum);
    micro_columns(rows, 2, p->v + c0, p->ldv, p->w, p->ldw, p->depth, sum);
    micro_end(rows, p->add, du, NR, sum);
}

/* All input channels of one point and one panel of output channels. */
static void wino_wgrad_panel(int channels, const wino_product *product, float *du)
{
    micro_cut cut = micro_cut_make(channels, WINO_MR);
    for (int g = 0, c0 = 0, count; g < cut.groups; g++, c0 += count, du += count * NR) {
        count = micro_cut_next(&cut);
#define WINO_CALL(n) wino_wgrad_micro(n, product, c0, du)
        MICRO_SWITCH(WINO_MR, count, WINO_CALL)
#undef WINO_CALL
    }
}

/* The factors of all points, and where the products go. */
typedef struct {
    const sumi_conv_spec *spec;
    const wino_grid *grid;
    wino_area v, w;
    int c0, channels; /* input channels */
    bool add;
    float *partial, *scratch;
} wino_wgrad_points;

/* Where point p of panel number k goes. */
INLINE float *wino_wgrad_at(const wino_wgrad_points *all, int p, int k)
{
    const sumi_conv_spec *s = all->spec;
    int panels = (s->cout + NR - 1) / NR;
    return all->partial +
           ((size_t)(p * panels + k) * (size_t)s->cin + (size_t)all->c0) * (size_t)NR;
}

static void wino_wgrad_multiply(const wino_wgrad_points *all)
{
    int panels = (all->spec->cout + NR - 1) / NR;
    for (int p = 0; p < all->grid->side * all->grid->side; p++) {
        int lo, hi;
        wino_grid_range(all->grid, p, &lo, &hi);
        for (int k = 0; k < panels; k++) {
            wino_product product = {.v = wino_area_at(&all->v, p, lo),
                                    .w = wino_area_at(&all->w, p, lo) + k * NR,
                                    .ldv = all->v.row,
                                    .ldw = all->w.row,
                                    .depth = hi - lo,
                                    .add = all->add};
            wino_wgrad_panel(all->channels, &product, wino_wgrad_at(all, p, k));
        }
    }
}

/* ---- pieces of the table --------------------------------------------------------------------- */

/* One block of a piece: some images, and a band of rows. */
INLINE void wino_wgrad_block(const sumi_wgrad *wgrad, const sumi_wgrad_piece *block, int y0,
                             float *partial, float *scratch,
                             void (*multiply)(const wino_wgrad_points *))
{
    const sumi_conv_spec *s = wgrad->spec;
    int images = block->n1 - block->n0;
    wino_grid g = wino_grid_make(s, images, y0, min_int(s->h - y0, s->rows));
    wino_wgrad_scratch l = wino_wgrad_scratch_of(s, g.tiles, block->cn);
    float *strip = scratch + l.strip, *columns = scratch + l.columns;
    wino_wgrad_points all = {.spec = s,
                             .grid = &g,
                             .c0 = block->c0,
                             .channels = block->cn,
                             .add = block->add,
                             .partial = partial,
                             .scratch = scratch};
    all.v = wino_area_make(scratch, g.tiles, block->cn);
    all.w = wino_area_make(scratch + l.gradient, g.tiles, (int)round_up((size_t)s->cout, NR));
    wino_input in = {wgrad->sources, wgrad->source_count, block->c0, block->cn, s->h, strip,
                     columns};
    wino_input out = {wgrad->dy, 1, 0, s->cout, s->h, strip, columns};
    for (int i = 0; i < images; i++) {
        wino_input_image(&g, i, block->n0 + i, &in, &all.v);
        wino_gradient_image(&g, i, block->n0 + i, &out, &all.w);
    }
    multiply(&all);
}

/* Blocks have even size: a small one costs as much traffic to the partial as a large one. */
INLINE void wino_wgrad_blocks(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece,
                              float *partial, float *scratch,
                              void (*multiply)(const wino_wgrad_points *))
{
    const sumi_conv_spec *s = wgrad->spec;
    int count = piece->n1 - piece->n0, blocks = (count + s->images - 1) / s->images;
    sumi_wgrad_piece block = *piece;
    for (int b = 0; b < blocks; b++) {
        block.n0 = piece->n0 + (int)((int64_t)count * b / blocks);
        block.n1 = piece->n0 + (int)((int64_t)count * (b + 1) / blocks);
        for (int y0 = 0; y0 < s->h; y0 += s->rows) {
            wino_wgrad_block(wgrad, &block, y0, partial, scratch, multiply);
            block.add = true;
        }
    }
}

static void wino_wgrad_piece(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece, float *partial,
                             float *scratch)
{
    wino_wgrad_blocks(wgrad, piece, partial, scratch, wino_wgrad_multiply);
}

/* Rows of a panel that wino_wgrad_finish takes at a time: runs that prefetchers notice. */
#define WINO_FINISH 8

/* sum[points][WINO_FINISH][NR] = WINO_FINISH rows of all points of the partials, added in order. */
static void wino_finish_sum(int points, const float *partials, int count, size_t size, size_t point,
                            float *sum)
{
    for (int p = 0; p < points; p++)
        for (int n = 0; n < count; n++) {
            const float *src = partials + (size_t)n * size + (size_t)p * point;
            float *dst = sum + p * WINO_FINISH * NR;
            for (int i = 0; i < WINO_FINISH * NR; i += VW)
                v_store(dst + i, n > 0 ? v_load(dst + i) + v_load(src + i) : v_load(src + i));
        }
}

/* The nine taps of one vector of output channels of one input channel. */
INLINE void wino_finish_vector(const int big, const float *sum, float *dw, size_t tap_stride)
{
    const int side = big + 2;
    vf half[3][WINO_MOST_SIDE];
    UNROLL
    for (int j = 0; j < side; j++) {
        vf u[WINO_MOST_SIDE], g[3];
        UNROLL
        for (int i = 0; i < side; i++)
            u[i] = v_load(sum + (side * i + j) * WINO_FINISH * NR);
        wino_gt(big, u, g);
        UNROLL
        for (int y = 0; y < 3; y++)
            half[y][j] = g[y];
    }
    UNROLL
    for (int y = 0; y < 3; y++) {
        vf g[3];
        wino_gt(big, half[y], g);
        UNROLL
        for (int x = 0; x < 3; x++) {
            v_store(dw + (size_t)(3 * y + x) * tap_stride, g[x]);
        }
    }
}

static void wino_wgrad_finish(const sumi_conv_spec *s, const float *partials, int count, float *dw,
                              int piece, int pieces)
{
    float sum[WINO_MOST_SIDE * WINO_MOST_SIDE * WINO_FINISH * NR];
    int panels = (s->cout + NR - 1) / NR, points = wino_points(s);
    size_t point = (size_t)panels * (size_t)s->cin * NR;
    /* cin is a multiple of 16, so that no group of rows spans two panels. */
    int64_t groups = (int64_t)panels * s->cin / WINO_FINISH;
    int64_t end = groups * (piece + 1) / pieces;
    for (int64_t group = groups * piece / pieces; group < end; group++) {
        size_t r0 = (size_t)group * WINO_FINISH;
        int k0 = (int)(r0 / (size_t)s->cin) * NR;
        size_t c0 = r0 % (size_t)s->cin;
        wino_finish_sum(points, partials + r0 * NR, count, s->partial_floats, point, sum);
        for (size_t c = 0; c < WINO_FINISH; c++)
            for (int v = 0; v < NR && k0 + v < s->cout; v += VW) {
                const float *src = sum + c * NR + (size_t)v;
                float *dst = dw + (c0 + c) * (size_t)s->cout + (size_t)(k0 + v);
                if (points == 64)
                    wino_finish_vector(6, src, dst, s->tap_floats);
                else
                    wino_finish_vector(4, src, dst, s->tap_floats);
            }
    }
}

#endif
