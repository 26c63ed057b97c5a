/*
 * Winograd convolution: 3x3, stride 1, on tiles of 4x4 and 3x3 outputs (Lavin and Gray, "Fast
 * Algorithms for Convolutional Neural Networks", 2016). This file holds the geometry, the
 * transforms, the forward pass (which is the gradient of the input too, on flipped weights) and the
 * packing of weights; body_winograd_wgrad.h holds the gradient of the weights.
 *
 * A tile's outputs are  Y = A^T [ (G g G^T) . (B^T d B) ] A  with d its input and g the weights;
 * the product is elementwise over 36 points and summed over input channels, so that each point is
 * one matrix product  M[tiles][out] = V[tiles][in] * U[in][out].
 *
 * The points are 0, 1, -1, 2, infinity, -2, in this order. F(3,3) drops the last one. With N(p) the
 * product of p - q over the other finite points q, G divides by N(p) of the larger set; the smaller
 * set's is N(p) / (p + 2), and its B^T takes the factor p + 2. So both sizes of tile share one U,
 * and every length from 6 up (and 3 and 4) is 4a + 3b: no tile sticks out of the image.
 *
 * The tiles of a block are numbered by type, [4x3][4x4][3x4][3x3] (height x width): the tiles that
 * have point (i, j) are then one range, whatever i and j.
 */
#ifndef SUMI_BODY_WINOGRAD_H
#define SUMI_BODY_WINOGRAD_H

#include "kernels/body_fill.h"
#include "kernels/body_store.h"

#define WINO_POINTS 36
#define WINO_NR (2 * VW)
#define WINO_PAD 16   /* floats added to rows and points, against cache sets hit in step */
#define WINO_BLOCK 64 /* output channels that are multiplied, transformed and stored at a time */
#define WINO_GROUP 64 /* input channels that are loaded and transformed at a time */

/* Measured. Tiles in a block: as few as keep V and M of the usual channels in L2 beside the weights
 * that stream through it; more only share the weights among more tiles. */
#define WINO_TILES 32
#define WINO_WGRAD_TILES 64
#define WINO_STRIP_FLOATS 8192 /* of a strip that is more than one tile row high */

#if SUMI_VB == 64 || defined(__aarch64__)
#define WINO_MR 12 /* rows of a micro-kernel: 24 of 32 registers are sums */
#else
#define WINO_MR 6 /* 12 of 16 */
#endif

/* ---- geometry -------------------------------------------------------------------------------- */

/* A length as 4 * fours + 3 * threes. */
typedef struct {
    int fours, threes;
} wino_cut;

static wino_cut wino_cut_length(int length)
{
    int threes = (4 - length % 4) % 4;
    return (wino_cut){(length - 3 * threes) / 4, threes};
}

static bool wino_cuttable(int length)
{
    return length == 3 || length == 4 || length >= 6;
}

/* The tiles of some rows of some images. Index 0 stands for tiles of 4, index 1 for tiles of 3. */
typedef struct {
    int y0, w, images;
    int ny[2], nx[2];
    int first[2][2]; /* number of the first tile of height and width index */
    int tiles;
} wino_grid;

static wino_grid wino_grid_make(int h, int w, int images, int y0, int rows)
{
    wino_cut tall = wino_cut_length(h), wide = wino_cut_length(w);
    wino_grid g = {.y0 = y0, .w = w, .images = images, .nx = {wide.fours, wide.threes}};
    int rows_of_four = 4 * tall.fours - y0;
    rows_of_four = rows_of_four < 0 ? 0 : rows_of_four < rows ? rows_of_four : rows;
    g.ny[0] = rows_of_four / 4;
    g.ny[1] = (rows - rows_of_four) / 3;
    g.first[0][1] = 0;
    g.first[0][0] = g.first[0][1] + images * g.ny[0] * g.nx[1];
    g.first[1][0] = g.first[0][0] + images * g.ny[0] * g.nx[0];
    g.first[1][1] = g.first[1][0] + images * g.ny[1] * g.nx[0];
    g.tiles = g.first[1][1] + images * g.ny[1] * g.nx[1];
    return g;
}

/* The first tile of width index `wide` in tile row ty of an image of the grid. */
static int wino_grid_tile(const wino_grid *g, int image, int ty, int wide)
{
    int tall = ty >= g->ny[0];
    int row = image * g->ny[tall] + (tall ? ty - g->ny[0] : ty);
    return g->first[tall][wide] + row * g->nx[wide];
}

/* The tiles that have a point: from *lo to *hi - 1. */
static void wino_grid_range(const wino_grid *g, int point, int *lo, int *hi)
{
    bool last_row = point / 6 == 5, last_column = point % 6 == 5;
    *lo = last_column ? g->first[0][0] : 0;
    *hi = last_row ? g->first[1][0] : last_column ? g->first[1][1] : g->tiles;
}

/* Row of the image at which tile row ty of the grid starts. */
static int wino_grid_y(const wino_grid *g, int ty)
{
    int fours = ty < g->ny[0] ? ty : g->ny[0];
    return g->y0 + 4 * fours + 3 * (ty - fours);
}

/* A transformed tensor: [36][tiles][channels], padded. */
typedef struct {
    float *base;
    size_t row, point;
} wino_area;

static size_t wino_area_floats(int tiles, int channels)
{
    return WINO_POINTS * ((size_t)tiles * (size_t)(channels + WINO_PAD) + WINO_PAD);
}

static wino_area wino_area_make(float *base, int tiles, int channels)
{
    size_t row = (size_t)(channels + WINO_PAD);
    return (wino_area){base, row, (size_t)tiles * row + WINO_PAD};
}

/* How many tile rows a strip of input holds. */
static int wino_strip_tile_rows(int w)
{
    int rows = WINO_STRIP_FLOATS / ((w + 2) * WINO_GROUP);
    return rows < 10 ? 1 : (rows - 2) / 4;
}

static size_t wino_strip_floats(int w)
{
    return (size_t)(4 * wino_strip_tile_rows(w) + 2) * (size_t)(w + 2) * WINO_GROUP;
}

static size_t wino_columns_floats(int w)
{
    return 6 * (size_t)(w + 2) * WINO_GROUP;
}

/* ---- plan ------------------------------------------------------------------------------------ */

static int wino_round(int x, int multiple)
{
    return (x + multiple - 1) / multiple * multiple;
}

/* True where these bodies can do the convolution. */
static bool wino_can(const sumi_conv_spec *s)
{
    return s->ksize == 3 && wino_cuttable(s->h) && wino_cuttable(s->w) && s->cin % 16 == 0 &&
           s->cout % 16 == 0 && s->cin > 0 && s->cout > 0;
}

/* Cuts the work in blocks of about `target` tiles: several images, or bands of tile rows. A band
 * must end where a tile does: after a multiple of 4 rows that only tiles of height 4 precede. */
static void wino_plan_cut(sumi_conv_spec *s, int target)
{
    wino_cut tall = wino_cut_length(s->h), wide = wino_cut_length(s->w);
    int across = wide.fours + wide.threes, down = tall.fours + tall.threes;
    int tiles = across * down;
    s->images = 1;
    s->bands = 1;
    s->rows = s->h;
    if (tiles * 4 <= target * 5) {
        s->images = tiles < target ? target / tiles : 1;
        return;
    }
    int bands = (tiles + target - 1) / target;
    int step = (down + bands - 1) / bands;
    for (; 4 * step < s->h; step++) {
        bands = (s->h + 4 * step - 1) / (4 * step);
        if ((bands - 1) * step <= tall.fours) {
            s->bands = bands;
            s->rows = 4 * step;
            return;
        }
    }
}

static int wino_plan_tiles(const sumi_conv_spec *s)
{
    int most = 0;
    for (int y0 = 0; y0 < s->h; y0 += s->rows) {
        int rows = s->h - y0 < s->rows ? s->h - y0 : s->rows;
        int tiles = wino_grid_make(s->h, s->w, s->images, y0, rows).tiles;
        most = tiles > most ? tiles : most;
    }
    return most;
}

static size_t wino_packed_floats(const sumi_conv_spec *s)
{
    return (size_t)WINO_POINTS * (size_t)s->cin * (size_t)wino_round(s->cout, WINO_NR);
}

/* Completes a spec for which wino_can is true. */
static void wino_plan(sumi_conv_spec *s)
{
    bool wgrad = s->direction == SUMI_CONV_WGRAD;
    s->algorithm = SUMI_CONV_WINOGRAD;
    s->kblock = WINO_BLOCK;
    wino_plan_cut(s, wgrad ? WINO_WGRAD_TILES : WINO_TILES);
    int tiles = wino_plan_tiles(s);
    size_t floats =
        wino_area_floats(tiles, s->cin) + wino_strip_floats(s->w) + wino_columns_floats(s->w);
    if (wgrad)
        floats += wino_area_floats(tiles, wino_round(s->cout, WINO_NR));
    else
        floats += wino_area_floats(tiles, WINO_BLOCK) + (size_t)s->rows * (size_t)s->w * WINO_BLOCK;
    s->packed_floats = wgrad ? 0 : wino_packed_floats(s);
    s->partial_floats = wgrad ? wino_packed_floats(s) : 0;
    s->scratch_floats = floats;
}

/* ---- one-dimensional transforms: size is 4 or 3, x and y have size + 2 or size elements ------ */

/* B^T: input to points. */
INLINE void wino_bt(const int size, const vf *d, vf *t)
{
    vf odd = d[3] - d[1];
    if (size == 4) {
        vf even4 = v_fma(v_splat(-4), d[2], d[4]), odd4 = v_fma(v_splat(-4), d[1], d[3]);
        vf even = d[4] - d[2];
        t[0] = v_fma(v_splat(4), d[0], v_fma(v_splat(-5), d[2], d[4]));
        t[1] = even4 + odd4;
        t[2] = even4 - odd4;
        t[3] = v_fma(v_splat(2), odd, even);
        t[4] = v_fma(v_splat(4), d[1], v_fma(v_splat(-5), d[3], d[5]));
        t[5] = v_fma(v_splat(-2), odd, even);
    } else {
        vf half = v_fma(v_splat(2), d[0] - d[2], odd);
        t[0] = half + half;
        t[1] = v_splat(3) * v_fma(v_splat(-2), d[1], d[3] - d[2]);
        t[2] = v_fma(v_splat(2), d[1], v_fma(v_splat(-3), d[2], d[3]));
        t[3] = v_splat(4) * odd;
        t[4] = v_fma(v_splat(-2), odd, d[4] - d[2]);
    }
}

/* A^T: points to outputs. */
INLINE void wino_at(const int size, const vf *m, vf *y)
{
    vf sum = m[1] + m[2], difference = m[1] - m[2];
    if (size == 4) {
        vf sum2 = m[3] + m[5], difference2 = m[3] - m[5];
        y[0] = m[0] + sum + sum2;
        y[1] = v_fma(v_splat(2), difference2, difference);
        y[2] = v_fma(v_splat(4), sum2, sum);
        y[3] = v_fma(v_splat(8), difference2, difference + m[4]);
    } else {
        y[0] = m[0] + sum + m[3];
        y[1] = v_fma(v_splat(2), m[3], difference);
        y[2] = v_fma(v_splat(4), m[3], sum + m[4]);
    }
}

/* G: three weights to points. */
INLINE void wino_g(const vf *g, vf *u)
{
    vf outer = g[0] + g[2], outer4 = v_fma(v_splat(4), g[2], g[0]), twice = g[1] + g[1];
    u[0] = v_splat(1.0F / 4) * g[0];
    u[1] = v_splat(-1.0F / 6) * (outer + g[1]);
    u[2] = v_splat(-1.0F / 6) * (outer - g[1]);
    u[3] = v_splat(1.0F / 24) * (outer4 + twice);
    u[4] = g[2];
    u[5] = v_splat(1.0F / 24) * (outer4 - twice);
}

/* ---- input transform ------------------------------------------------------------------------- */

/* The vertical half: `count` floats of size + 2 rows to as many rows of points. */
INLINE void wino_input_columns(const int size, const float *src, size_t stride, int count,
                               float *dst)
{
    for (int i = 0; i < count; i += VW) {
        vf d[6], t[6];
        UNROLL
        for (int r = 0; r < size + 2; r++)
            d[r] = v_load(src + (size_t)r * stride + i);
        wino_bt(size, d, t);
        UNROLL
        for (int r = 0; r < size + 2; r++)
            v_store(dst + r * count + i, t[r]);
    }
}

/* The horizontal half, for one row of points: `tiles` tiles side by side, cn channels. */
INLINE void wino_input_rows(const int size, const float *src, int cn, int tiles, const wino_area *v,
                            float *dst)
{
    for (int tile = 0; tile < tiles; tile++) {
        for (int c = 0; c < cn; c += VW) {
            vf d[6], t[6];
            UNROLL
            for (int x = 0; x < size + 2; x++)
                d[x] = v_load(src + x * cn + c);
            wino_bt(size, d, t);
            UNROLL
            for (int x = 0; x < size + 2; x++)
                v_store(dst + (size_t)x * v->point + c, t[x]);
        }
        src += size * cn;
        dst += v->row;
    }
}

/* One tile row from its strip of cn channels to V; dst is V's first channel of these. */
static void wino_input_tiles(const wino_grid *g, int image, int ty, const float *src, int cn,
                             float *columns, const wino_area *v, int c0)
{
    int count = (g->w + 2) * cn;
    bool four = ty < g->ny[0];
    if (four)
        wino_input_columns(4, src, (size_t)count, count, columns);
    else
        wino_input_columns(3, src, (size_t)count, count, columns);
    float *dst4 = v->base + (size_t)wino_grid_tile(g, image, ty, 0) * v->row + c0;
    float *dst3 = v->base + (size_t)wino_grid_tile(g, image, ty, 1) * v->row + c0;
    for (int i = 0; i < (four ? 6 : 5); i++) {
        const float *row = columns + i * count;
        wino_input_rows(4, row, cn, g->nx[0], v, dst4 + (size_t)(6 * i) * v->point);
        wino_input_rows(3, row + 4 * g->nx[0] * cn, cn, g->nx[1], v,
                        dst3 + (size_t)(6 * i) * v->point);
    }
}

/* What the loaders read: some channels of a list of sources of h rows; and room for a strip and its
 * columns. */
typedef struct {
    const sumi_source *sources;
    int count, first, channels, h;
    float *strip, *columns;
} wino_input;

/* V of image number `image` of the grid, which is image n of the sources. */
static void wino_input_image(const wino_grid *g, int image, int n, const wino_input *in,
                             const wino_area *v)
{
    int tile_rows = g->ny[0] + g->ny[1], step = wino_strip_tile_rows(g->w);
    for (int c0 = 0; c0 < in->channels; c0 += WINO_GROUP) {
        int cn = in->channels - c0 < WINO_GROUP ? in->channels - c0 : WINO_GROUP;
        size_t stride = (size_t)(g->w + 2) * (size_t)cn;
        for (int t0 = 0; t0 < tile_rows; t0 += step) {
            int t1 = t0 + step < tile_rows ? t0 + step : tile_rows;
            int y = wino_grid_y(g, t0);
            sumi_strip strip = {.n = n,
                                .y0 = y - 1,
                                .rows = wino_grid_y(g, t1) - y + 2,
                                .x0 = -1,
                                .cols = g->w + 2,
                                .c0 = in->first + c0,
                                .cn = cn,
                                .dst = in->strip,
                                .row_stride = stride,
                                .pixel_stride = (size_t)cn};
            body_fill(in->sources, in->count, in->h, g->w, &strip);
            for (int t = t0; t < t1; t++)
                wino_input_tiles(g, image, t, in->strip + (size_t)(wino_grid_y(g, t) - y) * stride,
                                 cn, in->columns, v, c0);
        }
    }
}

/* ---- the 36 products ------------------------------------------------------------------------- */

/* One vector pair of a row that is about to be written, to the first level. */
INLINE void wino_expect(const float *row)
{
    __builtin_prefetch(row, 1, 3);
    if (WINO_NR * sizeof(float) > 64)
        __builtin_prefetch(row + VW, 1, 3);
}

/* c[rows][NR] = a[rows][depth] * b[depth][NR], the sum over depth in order. Meanwhile it fetches
 * `depth` times `step` floats of what is multiplied next. */
INLINE void wino_micro(const int rows, const float *a, size_t lda, const float *b, int depth,
                       float *c, size_t ldc, const float *next, size_t step)
{
    vf sum[WINO_MR][2];
    const float *a4 = a + 4 * lda, *a8 = a4 + 4 * lda;
    UNROLL
    for (int i = 0; i < rows; i++) {
        sum[i][0] = sum[i][1] = v_zero();
        wino_expect(c + (size_t)i * ldc);
    }
    for (int k = 0; k < depth; k++) {
        vf b0 = v_load(b), b1 = v_load(b + VW);
        UNROLL
        for (int i = 0; i < rows; i++) {
            const float *row = (i < 4 ? a : i < 8 ? a4 : a8) + (size_t)(i % 4) * lda;
            vf x = v_splat(row[k]);
            sum[i][0] = v_fma(x, b0, sum[i][0]);
            sum[i][1] = v_fma(x, b1, sum[i][1]);
        }
        b += WINO_NR;
        __builtin_prefetch(next, 0, 2);
        next += step;
    }
    UNROLL
    for (int i = 0; i < rows; i++) {
        v_store(c + (size_t)i * ldc, sum[i][0]);
        v_store(c + (size_t)i * ldc + VW, sum[i][1]);
    }
}

/* The same for any number of rows, cut evenly so that no group is so low that it waits for its own
 * sums. next: the panel that comes after b. */
static void wino_panel(int rows, const float *a, const wino_area *v, const float *b, int depth,
                       float *c, const float *next)
{
    size_t lda = v->row, ldc = WINO_BLOCK + WINO_PAD;
    int groups = (rows + WINO_MR - 1) / WINO_MR;
    for (int g = 0; g < groups; g++) {
        int r0 = rows * g / groups, r1 = rows * (g + 1) / groups;
        size_t step = (size_t)(WINO_NR / groups);
        const float *ng = next + (size_t)(g * depth) * step;
        const float *ag = a + (size_t)r0 * lda;
        float *cg = c + (size_t)r0 * ldc;
        switch (r1 - r0) {
#define WINO_CASE(n)                                                                               \
    case n:                                                                                        \
        wino_micro(n, ag, lda, b, depth, cg, ldc, ng, step);                                       \
        break;
            WINO_CASE(1)
            WINO_CASE(2)
            WINO_CASE(3)
            WINO_CASE(4)
            WINO_CASE(5)
            WINO_CASE(6)
#if WINO_MR > 6
            WINO_CASE(7)
            WINO_CASE(8)
            WINO_CASE(9)
            WINO_CASE(10)
            WINO_CASE(11)
            WINO_CASE(12)
#endif
#undef WINO_CASE
        }
    }
}

/* M = V * U for kn output channels from k0 on. U: [36][cout / NR][cin][NR]. */
static void wino_multiply(const wino_grid *g, const sumi_conv_spec *s, const wino_area *v,
                          const float *packed, int k0, int kn, const wino_area *m)
{
    size_t panel = (size_t)s->cin * WINO_NR;
    int panels = (s->cout + WINO_NR - 1) / WINO_NR;
    for (int p = 0; p < WINO_POINTS; p++) {
        int lo, hi;
        wino_grid_range(g, p, &lo, &hi);
        const float *a = v->base + (size_t)p * v->point + (size_t)lo * v->row;
        const float *b = packed + (size_t)(p * panels + k0 / WINO_NR) * panel;
        float *c = m->base + (size_t)p * m->point + (size_t)lo * m->row;
        for (int k = 0; k < kn; k += WINO_NR, b += panel) {
            const float *following = packed + (size_t)((p + 1) * panels + k0 / WINO_NR) * panel;
            bool end = k + WINO_NR >= kn;
            wino_panel(hi - lo, a, v, b, s->cin, c + k,
                       !end                  ? b + panel
                       : p + 1 < WINO_POINTS ? following
                                             : b);
        }
    }
}

/* ---- output transform ------------------------------------------------------------------------ */

/* `tiles` tiles side by side, kn channels, to rows of pixels of WINO_BLOCK floats. */
INLINE void wino_output_tiles(const int tall, const int wide, const float *m, const wino_area *area,
                              int tiles, int kn, float *dst, size_t stride)
{
    for (int tile = 0; tile < tiles; tile++) {
        for (int k = 0; k < kn; k += VW) {
            vf half[4][6];
            UNROLL
            for (int j = 0; j < wide + 2; j++) {
                vf x[6], y[4];
                UNROLL
                for (int i = 0; i < tall + 2; i++)
                    x[i] = v_load(m + (size_t)(6 * i + j) * area->point + k);
                wino_at(tall, x, y);
                UNROLL
                for (int i = 0; i < tall; i++)
                    half[i][j] = y[i];
            }
            UNROLL
            for (int i = 0; i < tall; i++) {
                vf y[4];
                wino_at(wide, half[i], y);
                UNROLL
                for (int j = 0; j < wide; j++)
                    v_store(dst + (size_t)i * stride + j * WINO_BLOCK + k, y[j]);
            }
        }
        m += area->row;
        dst += wide * WINO_BLOCK;
    }
}

/* All tiles of one image of the grid to a band buffer [rows][w][WINO_BLOCK]. */
static void wino_output_image(const wino_grid *g, int image, const wino_area *m, int kn,
                              float *band)
{
    size_t stride = (size_t)g->w * WINO_BLOCK;
    for (int ty = 0; ty < g->ny[0] + g->ny[1]; ty++) {
        const float *m4 = m->base + (size_t)wino_grid_tile(g, image, ty, 0) * m->row;
        const float *m3 = m->base + (size_t)wino_grid_tile(g, image, ty, 1) * m->row;
        float *dst4 = band + (size_t)(wino_grid_y(g, ty) - g->y0) * stride;
        float *dst3 = dst4 + 4 * g->nx[0] * WINO_BLOCK;
        if (ty < g->ny[0]) {
            wino_output_tiles(4, 4, m4, m, g->nx[0], kn, dst4, stride);
            wino_output_tiles(4, 3, m3, m, g->nx[1], kn, dst3, stride);
        } else {
            wino_output_tiles(3, 4, m4, m, g->nx[0], kn, dst4, stride);
            wino_output_tiles(3, 3, m3, m, g->nx[1], kn, dst3, stride);
        }
    }
}

/* ---- the tile of a convolution --------------------------------------------------------------- */

static void wino_tile(const sumi_conv *conv, const sumi_tile *tile, float *scratch)
{
    const sumi_conv_spec *s = conv->spec;
    wino_grid g = wino_grid_make(s->h, s->w, tile->images, tile->y0, tile->rows);
    wino_area v = wino_area_make(scratch, g.tiles, s->cin);
    float *next = scratch + wino_area_floats(g.tiles, s->cin);
    wino_area m = wino_area_make(next, g.tiles, WINO_BLOCK);
    next += wino_area_floats(g.tiles, WINO_BLOCK);
    float *band = next;
    next += (size_t)s->rows * (size_t)s->w * WINO_BLOCK;
    wino_input in = {
        conv->sources, conv->source_count, 0, s->cin, s->h, next, next + wino_strip_floats(s->w)};
    for (int i = 0; i < tile->images; i++)
        wino_input_image(&g, i, tile->n0 + i, &in, &v);

    for (int k0 = tile->k0; k0 < tile->k0 + tile->kn; k0 += WINO_BLOCK) {
        int left = tile->k0 + tile->kn - k0, kn = left < WINO_BLOCK ? left : WINO_BLOCK;
        wino_multiply(&g, s, &v, conv->packed, k0, kn, &m);
        for (int i = 0; i < tile->images; i++) {
            wino_output_image(&g, i, &m, kn, band);
            sumi_block block = {.n = tile->n0 + i,
                                .band = tile->band,
                                .bands = s->bands,
                                .y0 = tile->y0,
                                .rows = tile->rows,
                                .k0 = k0,
                                .kn = kn,
                                .src = band,
                                .row_stride = (size_t)s->w * WINO_BLOCK,
                                .pixel_stride = WINO_BLOCK};
            body_store(conv->sinks, conv->sink_count, s->h, s->w, &block);
        }
    }
}

/* ---- weights --------------------------------------------------------------------------------- */

/* U of NR output channels of one input channel from nine taps of NR weights. */
INLINE void wino_pack_vector(const float *taps, size_t tap_stride, vf scale, float *dst,
                             size_t point)
{
    vf half[6][3];
    UNROLL
    for (int x = 0; x < 3; x++) {
        vf g[3], u[6];
        UNROLL
        for (int y = 0; y < 3; y++)
            g[y] = v_load(taps + (size_t)(3 * y + x) * tap_stride) * scale;
        wino_g(g, u);
        UNROLL
        for (int i = 0; i < 6; i++)
            half[i][x] = u[i];
    }
    UNROLL
    for (int i = 0; i < 6; i++) {
        vf u[6];
        wino_g(half[i], u);
        UNROLL
        for (int j = 0; j < 6; j++)
            v_store(dst + (size_t)(6 * i + j) * point, u[j]);
    }
}

/* Copies a [WINO_NR ins][16 outs] block of all nine taps, flipped, to taps[9][16][NR]. s is of
 * dgrad: its cout are the layer's ins. */
static void wino_pack_turn(const sumi_conv_spec *s, const float *weights, int i0, int o0,
                           float *taps)
{
    int out = s->cin, ins = s->cout - i0 < WINO_NR ? s->cout - i0 : WINO_NR;
    for (int tap = 0; tap < 9; tap++) {
        const float *src = weights + (size_t)(8 - tap) * s->tap_floats + (size_t)i0 * (size_t)out;
        float *dst = taps + tap * 16 * WINO_NR;
        for (int i = 0; i < ins; i++)
            for (int o = 0; o < 16; o++)
                dst[o * WINO_NR + i] = src[(size_t)i * (size_t)out + (size_t)(o0 + o)];
    }
}

/* 16 channels of the reduction, c0.., of one panel. */
static void wino_pack_block(const sumi_conv_spec *s, const float *weights, const float *scale,
                            float *packed, int panel, int c0)
{
    int panels = (s->cout + WINO_NR - 1) / WINO_NR, k0 = panel * WINO_NR;
    size_t point = (size_t)panels * (size_t)s->cin * WINO_NR;
    float *dst = packed + ((size_t)panel * (size_t)s->cin + (size_t)c0) * WINO_NR;
    float turned[9 * 16 * WINO_NR];
    bool flip = s->direction == SUMI_CONV_DGRAD;
    if (flip)
        wino_pack_turn(s, weights, k0, c0, turned);
    for (int c = 0; c < 16; c++, dst += WINO_NR) {
        const float *taps =
            flip ? turned + c * WINO_NR : weights + (size_t)(c0 + c) * (size_t)s->cout + k0;
        size_t tap_stride = flip ? 16 * WINO_NR : s->tap_floats;
        for (int v = 0; v < WINO_NR; v += VW) {
            if (k0 + v < s->cout) {
                vf factor = !scale ? v_splat(1)
                            : flip ? v_splat(scale[c0 + c])
                                   : v_load(scale + k0 + v);
                wino_pack_vector(taps + v, tap_stride, factor, dst + v, point);
            } else {
                for (int p = 0; p < WINO_POINTS; p++)
                    v_store(dst + (size_t)p * point + v, v_zero());
            }
        }
    }
}

static void wino_pack(const sumi_conv_spec *s, const float *weights, const float *scale,
                      float *packed, int piece, int pieces)
{
    int panels = (s->cout + WINO_NR - 1) / WINO_NR, rows = s->cin / 16;
    int64_t blocks = (int64_t)panels * rows;
    int end = (int)(blocks * (piece + 1) / pieces);
    for (int b = (int)(blocks * piece / pieces); b < end; b++)
        wino_pack_block(s, weights, scale, packed, b / rows, b % rows * 16);
}

#endif
