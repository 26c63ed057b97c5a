/*
 * Winograd convolution: 3x3, stride 1, on tiles of two sizes, cut without padding (Lavin and Gray,
 * "Fast Algorithms for Convolutional Neural Networks", 2016). This file holds the geometry, the
 * transforms, the forward pass (which is the gradient of the input too, on flipped weights) and the
 * packing of weights; body_winograd_wgrad.h holds the gradient of the weights.
 *
 * A tile's outputs are  Y = A^T [ (G g G^T) . (B^T d B) ] A  with d its input and g the weights;
 * the product is elementwise over points and summed over input channels, so that each point is one
 * matrix product  M[tiles][out] = V[tiles][in] * U[in][out].
 *
 * A scheme is a pair of sizes, named by the big one: 6 goes with 4, and 4 with 3. It has big + 2
 * points in a dimension: 0, 1, -1, 2, infinity, -2, 1/2, -1/2 in scheme 6, and 0, a, -a, b,
 * infinity, -b in scheme 4, with a = 2/3 and b = 3/2, which has half the error of 1 and 2 there.
 * The small size drops the last of them (6: two, 4: one). With N(p) the product of p - q over the
 * other finite points q, G divides by N(p) of the big size; the small size's is less by the factors
 * p - q of the points q that it drops, p^2 - 1/4 or p + b, and its B^T takes them. So both sizes
 * share one U.
 * Every even length from 4 up is 6a + 4b, and every length from 6 up (and 3 and 4) is 4a + 3b: no
 * tile sticks out of the image. The larger a tile, the fewer products: a pixel takes 64 / 36 in
 * 6x6, 36 / 16 in 4x4 and 25 / 9 in 3x3.
 *
 * The tiles of a block are numbered by type, [big x small][big x big][small x big][small x small]
 * (height x width): the tiles that have point (i, j) are then one range, whatever i and j.
 */
#ifndef SUMI_BODY_WINOGRAD_H
#define SUMI_BODY_WINOGRAD_H

#include "kernels/body_fill.h"
#include "kernels/body_micro.h"
#include "kernels/body_store.h"

#define WINO_MOST_SIDE 8 /* points in a dimension */
#define WINO_PAD 16      /* floats added to rows and points, against cache sets hit in step */
#define WINO_BLOCK 64    /* output channels that are multiplied, transformed and stored at a time */
#define WINO_GROUP 64    /* input channels that are loaded and transformed at a time */
#define WINO_RUN 256     /* and that are summed at a stretch, lest errors grow with their number */

/* Chosen by measuring: `bench_kernels ISA winograd 1 32` shows what other numbers do. Tiles in a
 * block: as few as keep V and M of the usual channels in L2 beside the weights that stream through
 * it; more only share the weights among more tiles. 36 is four images of nine tiles, and a multiple
 * of the micro-kernel's rows. */
#define WINO_TILES_4 32
#define WINO_TILES_6 36
#define WINO_WGRAD_TILES 64
#define WINO_WGRAD_LEAST 16    /* tiles of an image */
#define WINO_STRIP_FLOATS 8192 /* of a strip that is more than one tile row high */

#if SUMI_VB == 64 || defined(__aarch64__)
#define WINO_MR 12   /* rows of a micro-kernel: 24 of 32 registers are sums */
#define WINO_SHARE 4 /* rows that share a pointer; twelve would need too many */
#else
#define WINO_MR 6 /* 12 of 16 */
#define WINO_SHARE 1
#endif

/* ---- geometry -------------------------------------------------------------------------------- */

INLINE int wino_small(int big)
{
    return big == 6 ? 4 : 3;
}

/* A length as tiles of both sizes. */
typedef struct {
    int bigs, smalls;
} wino_cut;

static wino_cut wino_cut_length(int big, int length)
{
    int smalls = (big - length % big) % big / (big - wino_small(big));
    return (wino_cut){(length - wino_small(big) * smalls) / big, smalls};
}

static bool wino_cuttable(int length)
{
    return length == 3 || length == 4 || length >= 6;
}

/* The scheme of a convolution: that of the larger tiles where they fit at all. The gradient of the
 * weights keeps to the other where an image is few tiles: its partial, which is read and written
 * for every block of tiles, would grow from 36 points to 64, which costs what is saved. Products of
 * 16-bit integers take the one whose points amplify rounding less, where the result is pixels. */
static int wino_scheme(const sumi_conv_spec *s)
{
    if (s->algorithm == SUMI_CONV_WINOGRAD16 && s->direction != SUMI_CONV_WGRAD)
        return 4;
    if (s->h % 2 != 0 || s->w % 2 != 0 || s->h < 4 || s->w < 4)
        return 4;
    wino_cut tall = wino_cut_length(6, s->h), wide = wino_cut_length(6, s->w);
    int tiles = (tall.bigs + tall.smalls) * (wide.bigs + wide.smalls);
    if (s->direction == SUMI_CONV_WGRAD && tiles < WINO_WGRAD_LEAST)
        return 4;
    return tall.bigs + wide.bigs > 0 ? 6 : 4;
}

static int wino_points(const sumi_conv_spec *s)
{
    int side = wino_scheme(s) + 2;
    return side * side;
}

/* The tiles of some rows of some images. Index 0 stands for big tiles, index 1 for small ones. */
typedef struct {
    int big, small, side; /* side: points in a dimension */
    int y0, w, images;
    int ny[2], nx[2];
    int first[2][2]; /* number of the first tile of height and width index */
    int tiles;
} wino_grid;

static wino_grid wino_grid_make(const sumi_conv_spec *s, int images, int y0, int rows)
{
    int big = wino_scheme(s), small = wino_small(big);
    wino_cut tall = wino_cut_length(big, s->h), wide = wino_cut_length(big, s->w);
    wino_grid g = {.big = big,
                   .small = small,
                   .side = big + 2,
                   .y0 = y0,
                   .w = s->w,
                   .images = images,
                   .nx = {wide.bigs, wide.smalls}};
    int rows_of_big = big * tall.bigs - y0;
    rows_of_big = rows_of_big < 0 ? 0 : rows_of_big < rows ? rows_of_big : rows;
    g.ny[0] = rows_of_big / big;
    g.ny[1] = (rows - rows_of_big) / small;
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
    bool big_rows = point / g->side >= g->small + 2, big_columns = point % g->side >= g->small + 2;
    *lo = big_columns ? g->first[0][0] : 0;
    *hi = big_rows ? g->first[1][0] : big_columns ? g->first[1][1] : g->tiles;
}

/* Row of the image at which tile row ty of the grid starts. */
static int wino_grid_y(const wino_grid *g, int ty)
{
    int bigs = ty < g->ny[0] ? ty : g->ny[0];
    return g->y0 + g->big * bigs + g->small * (ty - bigs);
}

/* A transformed tensor: [points][tiles][channels], padded. */
typedef struct {
    float *base;
    size_t row, point;
} wino_area;

static size_t wino_area_floats(int points, int tiles, int channels)
{
    return (size_t)points * ((size_t)tiles * (size_t)(channels + WINO_PAD) + WINO_PAD);
}

static wino_area wino_area_make(float *base, int tiles, int channels)
{
    size_t row = (size_t)(channels + WINO_PAD);
    return (wino_area){base, row, (size_t)tiles * row + WINO_PAD};
}

/* Where a tile has a point. */
INLINE float *wino_area_at(const wino_area *area, int point, int tile)
{
    return area->base + (size_t)point * area->point + (size_t)tile * area->row;
}

/* How many tile rows a strip of input holds. */
static int wino_strip_tile_rows(int big, int w)
{
    int rows = WINO_STRIP_FLOATS / ((w + 2) * WINO_GROUP);
    return rows < 2 * big + 2 ? 1 : (rows - 2) / big;
}

static size_t wino_strip_floats(int big, int w)
{
    return (size_t)(big * wino_strip_tile_rows(big, w) + 2) * (size_t)(w + 2) * WINO_GROUP;
}

static size_t wino_columns_floats(int big, int w)
{
    return (size_t)(big + 2) * (size_t)(w + 2) * WINO_GROUP;
}

/* ---- scratch --------------------------------------------------------------------------------- */

/* Where the buffers of a tile lie in its scratch, in floats, and how much that is; V is at 0. M and
 * the band are of forward and gradient of the input. */
typedef struct {
    size_t products, band, strip, columns, total;
} wino_scratch;

static wino_scratch wino_scratch_of(const sumi_conv_spec *s, int tiles)
{
    int big = wino_scheme(s), points = (big + 2) * (big + 2);
    wino_scratch l = {.products = wino_area_floats(points, tiles, s->cin)};
    l.band = l.products + wino_area_floats(points, tiles, WINO_BLOCK);
    l.strip = l.band + (size_t)s->rows * (size_t)s->w * WINO_BLOCK;
    l.columns = l.strip + wino_strip_floats(big, s->w);
    l.total = l.columns + wino_columns_floats(big, s->w);
    return l;
}

/* The same of a weight gradient's piece of some input channels; W is at `gradient`. */
typedef struct {
    size_t gradient, strip, columns, total;
} wino_wgrad_scratch;

static wino_wgrad_scratch wino_wgrad_scratch_of(const sumi_conv_spec *s, int tiles, int channels)
{
    int big = wino_scheme(s), points = (big + 2) * (big + 2);
    wino_wgrad_scratch l = {.gradient = wino_area_floats(points, tiles, channels)};
    l.strip = l.gradient + wino_area_floats(points, tiles, (int)round_up((size_t)s->cout, NR));
    l.columns = l.strip + wino_strip_floats(big, s->w);
    l.total = l.columns + wino_columns_floats(big, s->w);
    return l;
}

/* ---- plan ------------------------------------------------------------------------------------ */

/* True where these bodies can do the convolution. */
static bool wino_can(const sumi_conv_spec *s)
{
    return s->ksize == 3 && wino_cuttable(s->h) && wino_cuttable(s->w) && s->cin % 16 == 0 &&
           s->cout % 16 == 0 && s->cin > 0 && s->cout > 0;
}

/* Cuts the work in blocks of about `target` tiles: several images, or bands of tile rows. A band
 * must end where a tile does: after a multiple of big rows that only big tiles precede. */
static void wino_plan_cut(sumi_conv_spec *s, int target)
{
    int big = wino_scheme(s);
    wino_cut tall = wino_cut_length(big, s->h), wide = wino_cut_length(big, s->w);
    int across = wide.bigs + wide.smalls, down = tall.bigs + tall.smalls;
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
    for (; big * step < s->h; step++) {
        bands = (s->h + big * step - 1) / (big * step);
        if ((bands - 1) * step <= tall.bigs) {
            s->bands = bands;
            s->rows = big * step;
            return;
        }
    }
}

static int wino_plan_tiles(const sumi_conv_spec *s)
{
    int most = 0;
    for (int y0 = 0; y0 < s->h; y0 += s->rows) {
        int rows = s->h - y0 < s->rows ? s->h - y0 : s->rows;
        int tiles = wino_grid_make(s, s->images, y0, rows).tiles;
        most = tiles > most ? tiles : most;
    }
    return most;
}

static size_t wino_packed_floats(const sumi_conv_spec *s)
{
    return (size_t)wino_points(s) * (size_t)s->cin * round_up((size_t)s->cout, NR);
}

/* Completes a spec for which wino_can is true. */
static void wino_plan(sumi_conv_spec *s)
{
    bool wgrad = s->direction == SUMI_CONV_WGRAD;
    int big = wino_scheme(s);
    s->kblock = 2 * NR < WINO_BLOCK ? 2 * NR : WINO_BLOCK / 2;
    wino_plan_cut(s, wgrad ? WINO_WGRAD_TILES : big == 6 ? WINO_TILES_6 : WINO_TILES_4);
    int tiles = wino_plan_tiles(s);
    s->packed_floats = wgrad ? 0 : wino_packed_floats(s);
    s->partial_floats = wgrad ? wino_packed_floats(s) : 0;
    s->scratch_floats =
        wgrad ? wino_wgrad_scratch_of(s, tiles, s->cin).total : wino_scratch_of(s, tiles).total;
}

/* ---- one-dimensional transforms of size + 2 or size elements; big is the scheme -------------- */

/* The points of scheme 4 and their powers; a b is 1. */
#define WINO_A (2.0F / 3)
#define WINO_A2 (4.0F / 9)
#define WINO_A3 (8.0F / 27)
#define WINO_B (3.0F / 2)
#define WINO_B2 (9.0F / 4)
#define WINO_B3 (27.0F / 8)
#define WINO_A2_B2 (97.0F / 36) /* their sum */
#define WINO_G_A (-81.0F / 130) /* 1 / N(a), which is 1 / N(-a) */
#define WINO_G_B (8.0F / 65)    /* 1 / N(b) */

/* B^T: input to points. */
INLINE void wino_bt6(const vf *d, vf *t)
{
    vf even1 = v_fma(v_splat(-4.25F), d[4], d[2] + d[6]);
    vf odd1 = v_fma(v_splat(-4.25F), d[3], d[1] + d[5]);
    vf even2 = v_fma(v_splat(0.25F), d[2], v_fma(v_splat(-1.25F), d[4], d[6]));
    vf odd2 = v_fma(v_splat(0.25F), d[1], v_fma(v_splat(-1.25F), d[3], d[5]));
    vf even_half = v_fma(v_splat(4), d[2], v_fma(v_splat(-5), d[4], d[6]));
    vf odd_half = v_fma(v_splat(4), d[1], v_fma(v_splat(-5), d[3], d[5]));
    t[0] = v_fma(v_splat(5.25F), d[4] - d[2], d[0] - d[6]);
    t[1] = even1 + odd1;
    t[2] = even1 - odd1;
    t[3] = v_fma(v_splat(2), odd2, even2);
    t[4] = v_fma(v_splat(5.25F), d[3] - d[5], d[7] - d[1]);
    t[5] = v_fma(v_splat(-2), odd2, even2);
    t[6] = v_fma(v_splat(0.5F), odd_half, even_half);
    t[7] = v_fma(v_splat(-0.5F), odd_half, even_half);
}

INLINE void wino_bt(const int big, const int size, const vf *d, vf *t)
{
    if (size == 6) {
        wino_bt6(d, t);
    } else if (size == 4 && big == 6) {
        vf even1 = v_splat(0.75F) * v_fma(v_splat(-4), d[2], d[4]);
        vf odd1 = v_fma(v_splat(-4), d[1], d[3]);
        vf even2 = v_splat(3.75F) * (d[4] - d[2]), odd2 = d[3] - d[1];
        t[0] = v_fma(v_splat(0.25F), d[4], v_fma(v_splat(-1.25F), d[2], d[0]));
        t[1] = v_fma(v_splat(0.75F), odd1, even1);
        t[2] = v_fma(v_splat(-0.75F), odd1, even1);
        t[3] = v_fma(v_splat(7.5F), odd2, even2);
        t[4] = v_fma(v_splat(4), d[1], v_fma(v_splat(-5), d[3], d[5]));
        t[5] = v_fma(v_splat(-7.5F), odd2, even2);
    } else if (size == 4) {
        vf even_a = v_fma(v_splat(-WINO_B2), d[2], d[4]);
        vf odd_a = v_fma(v_splat(-WINO_B2), d[1], d[3]);
        vf even_b = v_fma(v_splat(-WINO_A2), d[2], d[4]);
        vf odd_b = v_fma(v_splat(-WINO_A2), d[1], d[3]);
        t[0] = v_fma(v_splat(-WINO_A2_B2), d[2], d[0] + d[4]);
        t[1] = v_fma(v_splat(WINO_A), odd_a, even_a);
        t[2] = v_fma(v_splat(-WINO_A), odd_a, even_a);
        t[3] = v_fma(v_splat(WINO_B), odd_b, even_b);
        t[4] = v_fma(v_splat(-WINO_A2_B2), d[3], d[1] + d[5]);
        t[5] = v_fma(v_splat(-WINO_B), odd_b, even_b);
    } else {
        vf odd = v_fma(v_splat(-WINO_A2), d[1], d[3]);
        t[0] = v_fma(v_splat(-WINO_B2), v_fma(v_splat(-WINO_A), d[3], d[2]),
                     v_fma(v_splat(-WINO_A), d[1], d[0]));
        t[1] = v_splat(WINO_B + WINO_A) * v_fma(v_splat(WINO_A - WINO_B), d[2], d[3] - d[1]);
        t[2] = v_splat(WINO_B - WINO_A) * v_fma(v_splat(-WINO_A - WINO_B), d[2], d[3] + d[1]);
        t[3] = v_splat(2 * WINO_B) * odd;
        t[4] = v_fma(v_splat(-WINO_B), odd, v_fma(v_splat(-WINO_A2), d[2], d[4]));
    }
}

/* A^T of scheme 6: points to outputs. */
INLINE void wino_at6(const int size, const vf *m, vf *y)
{
    vf sum = m[1] + m[2], difference = m[1] - m[2];
    vf sum2 = m[3] + m[5], difference2 = m[3] - m[5];
    if (size == 6) {
        vf sum_half = m[6] + m[7], difference_half = m[6] - m[7];
        y[4] = v_fma(v_splat(1.0F / 16), sum_half, v_fma(v_splat(16), sum2, sum));
        y[5] = v_fma(v_splat(1.0F / 32), difference_half,
                     v_fma(v_splat(32), difference2, difference + m[4]));
        y[0] = m[0] + sum + sum2 + sum_half;
        y[1] =
            v_fma(v_splat(1.0F / 2), difference_half, v_fma(v_splat(2), difference2, difference));
        y[2] = v_fma(v_splat(1.0F / 4), sum_half, v_fma(v_splat(4), sum2, sum));
        y[3] =
            v_fma(v_splat(1.0F / 8), difference_half, v_fma(v_splat(8), difference2, difference));
    } else {
        y[0] = m[0] + sum + sum2;
        y[1] = v_fma(v_splat(2), difference2, difference);
        y[2] = v_fma(v_splat(4), sum2, sum);
        y[3] = v_fma(v_splat(8), difference2, difference + m[4]);
    }
}

/* The same of either scheme. */
INLINE void wino_at(const int big, const int size, const vf *m, vf *y)
{
    if (big == 6) {
        wino_at6(size, m, y);
        return;
    }
    vf sum = m[1] + m[2], difference = m[1] - m[2], sum_b = m[3], difference_b = m[3];
    if (size == 4) {
        sum_b = m[3] + m[5];
        difference_b = m[3] - m[5];
    }
    y[0] = m[0] + sum + sum_b;
    y[1] = v_fma(v_splat(WINO_A), difference, v_splat(WINO_B) * difference_b);
    if (size == 4) {
        y[2] = v_fma(v_splat(WINO_A2), sum, v_splat(WINO_B2) * sum_b);
        y[3] = v_fma(v_splat(WINO_A3), difference, v_fma(v_splat(WINO_B3), difference_b, m[4]));
    } else {
        y[2] = v_fma(v_splat(WINO_A2), sum, v_fma(v_splat(WINO_B2), sum_b, m[4]));
    }
}

/* A of scheme 6: the gradient of size outputs to that of the points. */
INLINE void wino_a6(const int size, const vf *y, vf *w)
{
    vf even = y[0] + y[2], even2 = v_fma(v_splat(4), y[2], y[0]);
    vf odd = y[1] + y[3], odd2 = v_fma(v_splat(4), y[3], y[1]);
    if (size == 6) {
        vf even_half = v_fma(v_splat(1.0F / 16), y[4], v_fma(v_splat(1.0F / 4), y[2], y[0]));
        vf odd_half = v_fma(v_splat(1.0F / 16), y[5], v_fma(v_splat(1.0F / 4), y[3], y[1]));
        even = even + y[4];
        even2 = v_fma(v_splat(16), y[4], even2);
        odd = odd + y[5];
        odd2 = v_fma(v_splat(16), y[5], odd2);
        w[6] = v_fma(v_splat(0.5F), odd_half, even_half);
        w[7] = v_fma(v_splat(-0.5F), odd_half, even_half);
    }
    w[0] = y[0];
    w[1] = even + odd;
    w[2] = even - odd;
    w[3] = v_fma(v_splat(2), odd2, even2);
    w[4] = y[size - 1];
    w[5] = v_fma(v_splat(-2), odd2, even2);
}

/* The same of either scheme. */
INLINE void wino_a(const int big, const int size, const vf *y, vf *w)
{
    if (big == 6) {
        wino_a6(size, y, w);
        return;
    }
    vf even_a = v_fma(v_splat(WINO_A2), y[2], y[0]), even_b = v_fma(v_splat(WINO_B2), y[2], y[0]);
    vf odd_a = v_splat(WINO_A) * y[1], odd_b = v_splat(WINO_B) * y[1];
    if (size == 4) {
        odd_a = v_fma(v_splat(WINO_A3), y[3], odd_a);
        odd_b = v_fma(v_splat(WINO_B3), y[3], odd_b);
    }
    w[0] = y[0];
    w[1] = even_a + odd_a;
    w[2] = even_a - odd_a;
    w[3] = even_b + odd_b;
    w[4] = y[size - 1];
    if (size == 4)
        w[5] = even_b - odd_b;
}

/* G: three weights to points. */
INLINE void wino_g(const int big, const vf *g, vf *u)
{
    if (big == 6) {
        vf outer = g[0] + g[2], outer4 = v_fma(v_splat(4), g[2], g[0]), twice = g[1] + g[1];
        vf even = v_fma(v_splat(4), g[0], g[2]);
        u[0] = g[0];
        u[1] = v_splat(-2.0F / 9) * (outer + g[1]);
        u[2] = v_splat(-2.0F / 9) * (outer - g[1]);
        u[3] = v_splat(1.0F / 90) * (outer4 + twice);
        u[4] = g[2];
        u[5] = v_splat(1.0F / 90) * (outer4 - twice);
        u[6] = v_splat(8.0F / 45) * (even + twice);
        u[7] = v_splat(8.0F / 45) * (even - twice);
        return;
    }
    vf outer_a = v_fma(v_splat(WINO_A2), g[2], g[0]), outer_b = v_fma(v_splat(WINO_B2), g[2], g[0]);
    u[0] = g[0];
    u[1] = v_splat(WINO_G_A) * v_fma(v_splat(WINO_A), g[1], outer_a);
    u[2] = v_splat(WINO_G_A) * v_fma(v_splat(-WINO_A), g[1], outer_a);
    u[3] = v_splat(WINO_G_B) * v_fma(v_splat(WINO_B), g[1], outer_b);
    u[4] = g[2];
    u[5] = v_splat(WINO_G_B) * v_fma(v_splat(-WINO_B), g[1], outer_b);
}

/* ---- transforms of tensors ------------------------------------------------------------------- */

/* What is brought to points: inputs by B^T, whose tiles overlap by two pixels, or, for the gradient
 * of the weights, gradients of outputs by A. A constant. */
typedef enum { WINO_INPUT, WINO_GRADIENT } wino_side;

/* Pixels of a tile, and of a row of them, beyond those of the outputs. */
INLINE int wino_overlap(const wino_side of)
{
    return of == WINO_INPUT ? 2 : 0;
}

INLINE void wino_transform(const wino_side of, const int big, const int size, const vf *from,
                           vf *to)
{
    if (of == WINO_INPUT)
        wino_bt(big, size, from, to);
    else
        wino_a(big, size, from, to);
}

/* The rows of pixels that a tile row is made of: `pixels` pixels of some channels each, `pixel`
 * floats from one to the next, between `edge` pixels of zeros that are not in memory. */
typedef struct {
    const float *row[WINO_MOST_SIDE];
    size_t pixel;
    int pixels, edge;
} wino_lines;

/* The vertical half: cn channels of a tile's rows to as many rows of points, side by side. */
INLINE void wino_columns(const wino_side of, const int big, const int size, const wino_lines *lines,
                         int cn, float *dst)
{
    size_t edge = (size_t)(lines->edge * cn), width = (size_t)(lines->pixels * cn);
    size_t run = lines->pixel == (size_t)cn ? width : (size_t)cn, count = width + 2 * edge;
    for (int r = 0; r < size + 2 && edge > 0; r++) {
        memset(dst + (size_t)r * count, 0, edge * sizeof(float));
        memset(dst + (size_t)r * count + edge + width, 0, edge * sizeof(float));
    }
    dst += edge;
    for (size_t at = 0, to = 0; to < width; at += lines->pixel, to += run)
        for (size_t i = 0; i < run; i += (size_t)VW) {
            vf in[WINO_MOST_SIDE], points[WINO_MOST_SIDE];
            UNROLL
            for (int r = 0; r < size + wino_overlap(of); r++)
                in[r] = v_load(lines->row[r] + at + i);
            wino_transform(of, big, size, in, points);
            UNROLL
            for (int r = 0; r < size + 2; r++)
                v_store(dst + (size_t)r * count + to + i, points[r]);
        }
}

/* The horizontal half, for one row of points: `tiles` tiles side by side, cn channels. */
INLINE void wino_rows(const wino_side of, const int big, const int size, const float *src, int cn,
                      int tiles, const wino_area *area, float *dst)
{
    for (int tile = 0; tile < tiles; tile++) {
        for (int c = 0; c < cn; c += VW) {
            vf from[WINO_MOST_SIDE], to[WINO_MOST_SIDE];
            UNROLL
            for (int x = 0; x < size + wino_overlap(of); x++)
                from[x] = v_load(src + x * cn + c);
            wino_transform(of, big, size, from, to);
            UNROLL
            for (int x = 0; x < size + 2; x++)
                v_store(dst + (size_t)x * area->point + c, to[x]);
        }
        src += size * cn;
        dst += area->row;
    }
}

/* One tile row of cn channels to the area, where they are channels c0 and on. */
INLINE void wino_tiles(const wino_side of, const int big, const wino_grid *g, int image, int ty,
                       const wino_lines *lines, int cn, float *columns, const wino_area *area,
                       int c0)
{
    const int small = wino_small(big), side = big + 2;
    int count = (g->w + wino_overlap(of)) * cn;
    bool tall = ty < g->ny[0];
    if (tall)
        wino_columns(of, big, big, lines, cn, columns);
    else
        wino_columns(of, big, small, lines, cn, columns);
    float *dst0 = area->base + (size_t)wino_grid_tile(g, image, ty, 0) * area->row + c0;
    float *dst1 = area->base + (size_t)wino_grid_tile(g, image, ty, 1) * area->row + c0;
    for (int i = 0; i < (tall ? side : small + 2); i++) {
        const float *row = columns + i * count;
        size_t point = (size_t)(side * i) * area->point;
        wino_rows(of, big, big, row, cn, g->nx[0], area, dst0 + point);
        wino_rows(of, big, small, row + big * g->nx[0] * cn, cn, g->nx[1], area, dst1 + point);
    }
}

/* What the loaders read: some channels of a list of sources of h rows; and room for a strip and its
 * columns. */
typedef struct {
    const sumi_source *sources;
    int count, first, channels, h;
    float *strip, *columns;
} wino_input;

/* The strip of tile rows t0 .. t1-1 and of cn channels from c0 on. before: the tile row at which
 * that strip begins that is still there, and ends at t0; the rows that both have are moved to where
 * they are now, not made again. Where there is none, t0. */
INLINE void wino_strip(const wino_side of, const wino_grid *g, int n, const wino_input *in, int c0,
                       int cn, int before, int t0, int t1)
{
    int y = wino_grid_y(g, t0), overlap = wino_overlap(of);
    int shared = before < t0 ? overlap : 0, moved = y - wino_grid_y(g, before);
    size_t row = (size_t)(g->w + overlap) * (size_t)cn;
    memmove(in->strip, in->strip + (size_t)moved * row, (size_t)shared * row * sizeof(float));
    sumi_strip strip = {.n = n,
                        .y0 = y - overlap / 2 + shared,
                        .rows = wino_grid_y(g, t1) - y + overlap - shared,
                        .x0 = -overlap / 2,
                        .cols = g->w + overlap,
                        .c0 = in->first + c0,
                        .cn = cn,
                        .dst = in->strip + (size_t)shared * row,
                        .row_stride = row,
                        .pixel_stride = (size_t)cn};
    body_fill(in->sources, in->count, in->h, g->w, &strip);
}

/* cn channels from c0 on of image n as they lie in one tensor where nothing is pending on them, and
 * the floats of a pixel there; NULL where they have to be made. A row of zeros, for what lies
 * outside, must have room in a strip. */
static const float *wino_plain(const wino_grid *g, int n, const wino_input *in, int c0, int cn,
                               size_t *pixel)
{
    int c = in->first + c0, s = 0;
    while (s < in->count && c >= in->sources[s].c)
        c -= in->sources[s++].c;
    if (s == in->count || c + cn > in->sources[s].c)
        return NULL;
    view v = view_of(&in->sources[s], n, (size_t)in->h * (size_t)g->w);
    *pixel = (size_t)v.c;
    if (v.form != FORM_COPY || v.bf16 || (size_t)g->w * *pixel > wino_strip_floats(g->big, g->w))
        return NULL;
    return (const float *)v.p + c;
}

/* Loading some channels, one tile row after the other. */
typedef struct {
    const wino_input *in;
    int n, c0, cn;
    int begin, end;     /* the tile rows that are in the strip; none to begin with */
    const float *plain; /* or NULL, as wino_plain says */
    size_t pixel;
} wino_load;

INLINE wino_load wino_load_begin(const wino_side of, const wino_grid *g, int n,
                                 const wino_input *in, int c0, int cn)
{
    wino_load load = {.in = in, .n = n, .c0 = c0, .cn = cn};
    load.plain = wino_plain(g, n, in, c0, cn, &load.pixel);
    if (load.plain != NULL && of == WINO_INPUT)
        memset(in->strip, 0, (size_t)g->w * load.pixel * sizeof(float));
    return load;
}

/* The rows of tile row t, which must come in turn. */
INLINE wino_lines wino_load_lines(const wino_side of, const wino_grid *g, wino_load *load, int t)
{
    const wino_input *in = load->in;
    int overlap = wino_overlap(of), y = wino_grid_y(g, t), rows = wino_grid_y(g, t + 1) - y;
    wino_lines lines;
    if (load->plain != NULL) {
        lines.pixel = load->pixel;
        lines.pixels = g->w;
        lines.edge = overlap / 2;
        y -= overlap / 2;
        for (int r = 0; r < rows + overlap; r++)
            lines.row[r] = y + r < 0 || y + r >= in->h
                               ? in->strip
                               : load->plain + (size_t)(y + r) * (size_t)g->w * load->pixel;
        return lines;
    }
    if (t >= load->end) {
        int before = load->begin;
        load->begin = t;
        load->end = min_int(t + wino_strip_tile_rows(g->big, g->w), g->ny[0] + g->ny[1]);
        wino_strip(of, g, load->n, in, load->c0, load->cn, before, t, load->end);
    }
    size_t row = (size_t)(g->w + overlap) * (size_t)load->cn;
    lines.pixel = (size_t)load->cn;
    lines.pixels = g->w + overlap;
    lines.edge = 0;
    for (int r = 0; r < rows + overlap; r++)
        lines.row[r] = in->strip + (size_t)(y - wino_grid_y(g, load->begin) + r) * row;
    return lines;
}

/* All points of image number `image` of the grid, which is image n of the sources. */
INLINE void wino_image(const wino_side of, const wino_grid *g, int image, int n,
                       const wino_input *in, const wino_area *area)
{
    for (int c0 = 0; c0 < in->channels; c0 += WINO_GROUP) {
        int cn = min_int(in->channels - c0, WINO_GROUP);
        wino_load load = wino_load_begin(of, g, n, in, c0, cn);
        for (int t = 0; t < g->ny[0] + g->ny[1]; t++) {
            wino_lines lines = wino_load_lines(of, g, &load, t);
            if (g->big == 6)
                wino_tiles(of, 6, g, image, t, &lines, cn, in->columns, area, c0);
            else
                wino_tiles(of, 4, g, image, t, &lines, cn, in->columns, area, c0);
        }
    }
}

static void wino_input_image(const wino_grid *g, int image, int n, const wino_input *in,
                             const wino_area *v)
{
    wino_image(WINO_INPUT, g, image, n, in, v);
}

/* ---- the products of points ------------------------------------------------------------------ */

/* c[rows][NR] (+)= a[rows][depth] * b[depth][NR], the sum over depth in order. */
INLINE void wino_micro(const int rows, const float *a, size_t lda, const float *b, int depth,
                       float *c, bool add, micro_fetch fetch)
{
    const size_t ldc = WINO_BLOCK + WINO_PAD;
    const float *row[WINO_MR / WINO_SHARE];
    vf sum[WINO_MR][2];
    UNROLL
    for (int i = 0; i < rows; i += WINO_SHARE)
        row[i / WINO_SHARE] = a + (size_t)i * lda;
    micro_begin_far(rows, c, ldc, sum);
    micro_rows(rows, WINO_SHARE, row, lda, 0, (size_t)depth, b, fetch, sum);
    micro_end(rows, add, c, ldc, sum);
}

/* The same for any number of rows, and of any depth, in runs of even length. next: the panel that
 * comes after b. */
static void wino_panel(int rows, const float *a, const wino_area *v, const float *b, int depth,
                       float *c, const float *next)
{
    int groups = (rows + WINO_MR - 1) / WINO_MR, runs = (depth + WINO_RUN - 1) / WINO_RUN;
    int pairs = depth / 2;
    micro_fetch fetch = {(const char *)next, (size_t)(NR / groups) * 2 * sizeof(float)};
    for (int run = 0; run < runs; run++) {
        int k0 = pairs * run / runs * 2, length = pairs * (run + 1) / runs * 2 - k0;
        const float *ar = a + k0, *br = b + (size_t)k0 * NR;
        float *cr = c;
        micro_cut cut = micro_cut_make(rows, WINO_MR);
        for (int g = 0; g < cut.groups; g++) {
            int count = micro_cut_next(&cut);
#define WINO_CALL(n) wino_micro(n, ar, v->row, br, length, cr, run > 0, fetch)
            MICRO_SWITCH(WINO_MR, count, WINO_CALL)
#undef WINO_CALL
            ar += (size_t)count * v->row;
            cr += (size_t)count * (WINO_BLOCK + WINO_PAD);
            fetch.next += (size_t)(length / 2) * fetch.step;
        }
    }
}

/* M = V * U for kn output channels from k0 on. U: [points][cout / NR][cin][NR]. */
static void wino_multiply(const wino_grid *g, const sumi_conv_spec *s, const wino_area *v,
                          const float *packed, int k0, int kn, const wino_area *m)
{
    size_t panel = (size_t)s->cin * NR;
    int panels = (s->cout + NR - 1) / NR, points = g->side * g->side;
    for (int p = 0; p < points; p++) {
        int lo, hi;
        wino_grid_range(g, p, &lo, &hi);
        if (lo == hi)
            continue;
        const float *a = wino_area_at(v, p, lo);
        const float *b = packed + (size_t)(p * panels + k0 / NR) * panel;
        float *c = wino_area_at(m, p, lo);
        for (int k = 0; k < kn; k += NR, b += panel) {
            const float *following = packed + (size_t)((p + 1) * panels + k0 / NR) * panel;
            bool end = k + NR >= kn;
            wino_panel(hi - lo, a, v, b, s->cin, c + k,
                       !end             ? b + panel
                       : p + 1 < points ? following
                                        : b);
        }
    }
}

/* ---- output transform ------------------------------------------------------------------------ */

/* Where finished pixels go: to a band of WINO_BLOCK floats a pixel, which the store takes from
 * there; or, with the constant `direct`, behind bias and activation straight to the tensor. */
typedef struct {
    float *dst;        /* the first output channel of the first pixel */
    size_t row, pixel; /* floats from one to the next */
    const float *bias; /* of these channels, or NULL */
    bool relu;
} wino_output;

/* `tiles` tiles side by side, kn channels. */
INLINE void wino_output_tiles(const bool direct, const int big, const int tall, const int wide,
                              const float *m, const wino_area *area, int tiles, int kn,
                              const wino_output *to, float *dst)
{
    const int side = big + 2;
    const size_t pixel = direct ? to->pixel : WINO_BLOCK, row = to->row;
    const float *bias = to->bias;
    const bool relu = to->relu;
    for (int tile = 0; tile < tiles; tile++) {
        for (int k = 0; k < kn; k += VW) {
            vf half[WINO_MOST_SIDE - 2][WINO_MOST_SIDE];
            for (int j = 0; j < wide + 2; j++) {
                vf x[WINO_MOST_SIDE], y[WINO_MOST_SIDE - 2];
                UNROLL
                for (int i = 0; i < tall + 2; i++)
                    x[i] = v_load(m + (size_t)(side * i + j) * area->point + k);
                wino_at(big, tall, x, y);
                UNROLL
                for (int i = 0; i < tall; i++)
                    half[i][j] = y[i];
            }
            vf b = direct ? coef_get(bias, k, 0.0f, false) : v_zero();
            for (int i = 0; i < tall; i++) {
                vf y[WINO_MOST_SIDE - 2];
                wino_at(big, wide, half[i], y);
                UNROLL
                for (int j = 0; j < wide; j++) {
                    vf v = direct ? y[j] + b : y[j];
                    v_store(dst + (size_t)i * row + (size_t)j * pixel + k,
                            direct && relu ? v_relu(v) : v);
                }
            }
        }
        m += area->row;
        dst += (size_t)wide * pixel;
    }
}

/* All tiles of one image of the grid. */
INLINE void wino_output_image(const bool direct, const int big, const wino_grid *g, int image,
                              const wino_area *m, int kn, const wino_output *to)
{
    const int small = wino_small(big);
    const size_t pixel = direct ? to->pixel : WINO_BLOCK;
    for (int ty = 0; ty < g->ny[0] + g->ny[1]; ty++) {
        const float *m0 = m->base + (size_t)wino_grid_tile(g, image, ty, 0) * m->row;
        const float *m1 = m->base + (size_t)wino_grid_tile(g, image, ty, 1) * m->row;
        float *dst0 = to->dst + (size_t)(wino_grid_y(g, ty) - g->y0) * to->row;
        float *dst1 = dst0 + (size_t)(big * g->nx[0]) * pixel;
        if (ty < g->ny[0]) {
            wino_output_tiles(direct, big, big, big, m0, m, g->nx[0], kn, to, dst0);
            wino_output_tiles(direct, big, big, small, m1, m, g->nx[1], kn, to, dst1);
        } else {
            wino_output_tiles(direct, big, small, big, m0, m, g->nx[0], kn, to, dst0);
            wino_output_tiles(direct, big, small, small, m1, m, g->nx[1], kn, to, dst1);
        }
    }
}

/* ---- the tile of a convolution --------------------------------------------------------------- */

/* Nothing is done to a pixel but what wino_output can. */
static bool wino_output_can_be_direct(const sumi_conv *conv)
{
    const sumi_sink *sink = conv->sinks;
    return conv->sink_count == 1 && sink->dst != NULL && !sink->bf16 && !sink->accumulate &&
           sink->residual == NULL && sink->moments == NULL && sink->sums == NULL &&
           sink->act != SUMI_ACT_SILU;
}

/* Where channels k0 and on of image number `image` of the tile go. */
static wino_output wino_output_direct(const sumi_conv *conv, const sumi_tile *tile, int image,
                                      int k0)
{
    const sumi_conv_spec *s = conv->spec;
    const sumi_sink *sink = conv->sinks;
    wino_output to = {.pixel = (size_t)sink->c, .relu = sink->act == SUMI_ACT_RELU};
    to.row = (size_t)s->w * to.pixel;
    to.bias = sink->bias != NULL ? sink->bias + k0 : NULL;
    size_t y = (size_t)(tile->n0 + image) * (size_t)s->h + (size_t)tile->y0;
    to.dst = (float *)sink->dst + y * to.row + k0;
    return to;
}

/* kn output channels from k0 on of all images of the grid, through the store where need be. */
static void wino_output_store(const sumi_conv *conv, const sumi_tile *tile, const wino_grid *g,
                              const wino_area *m, int k0, int kn, float *band)
{
    const size_t row = (size_t)conv->spec->w * WINO_BLOCK;
    const bool direct = wino_output_can_be_direct(conv);
    for (int i = 0; i < tile->images; i++) {
        wino_output to = {.dst = band, .row = row};
        if (direct) {
            to = wino_output_direct(conv, tile, i, k0);
            if (g->big == 6)
                wino_output_image(true, 6, g, i, m, kn, &to);
            else
                wino_output_image(true, 4, g, i, m, kn, &to);
            continue;
        }
        if (g->big == 6)
            wino_output_image(false, 6, g, i, m, kn, &to);
        else
            wino_output_image(false, 4, g, i, m, kn, &to);
        store_tile(conv, tile, i, k0, kn, band, row, WINO_BLOCK);
    }
}

static void wino_tile(const sumi_conv *conv, const sumi_tile *tile, float *scratch)
{
    const sumi_conv_spec *s = conv->spec;
    wino_grid g = wino_grid_make(s, tile->images, tile->y0, tile->rows);
    wino_scratch l = wino_scratch_of(s, g.tiles);
    wino_area v = wino_area_make(scratch, g.tiles, s->cin);
    wino_area m = wino_area_make(scratch + l.products, g.tiles, WINO_BLOCK);
    wino_input in = {conv->sources,     conv->source_count, 0, s->cin, s->h,
                     scratch + l.strip, scratch + l.columns};
    for (int i = 0; i < tile->images; i++)
        wino_input_image(&g, i, tile->n0 + i, &in, &v);

    for (int k0 = tile->k0; k0 < tile->k0 + tile->kn; k0 += WINO_BLOCK) {
        int left = tile->k0 + tile->kn - k0, kn = left < WINO_BLOCK ? left : WINO_BLOCK;
        wino_multiply(&g, s, &v, conv->packed, k0, kn, &m);
        wino_output_store(conv, tile, &g, &m, k0, kn, scratch + l.band);
    }
}

/* ---- weights --------------------------------------------------------------------------------- */

/* U of a vector of output channels of one input channel from nine taps of it. */
INLINE void wino_pack_vector(const int big, const float *taps, size_t tap_stride, vf scale,
                             float *dst, size_t point)
{
    const int side = big + 2;
    vf half[WINO_MOST_SIDE][3];
    UNROLL
    for (int x = 0; x < 3; x++) {
        vf g[3], u[WINO_MOST_SIDE];
        UNROLL
        for (int y = 0; y < 3; y++)
            g[y] = v_load(taps + (size_t)(3 * y + x) * tap_stride) * scale;
        wino_g(big, g, u);
        UNROLL
        for (int i = 0; i < side; i++)
            half[i][x] = u[i];
    }
    UNROLL
    for (int i = 0; i < side; i++) {
        vf u[WINO_MOST_SIDE];
        wino_g(big, half[i], u);
        UNROLL
        for (int j = 0; j < side; j++)
            v_store(dst + (size_t)(side * i + j) * point, u[j]);
    }
}

/* Copies a [NR ins][16 outs] block of all nine taps, flipped, to taps[9][16][NR]. s is of
 * dgrad: its cout are the layer's ins. */
static void wino_pack_turn(const sumi_conv_spec *s, const float *weights, int i0, int o0,
                           float *taps)
{
    int out = s->cin, ins = s->cout - i0 < NR ? s->cout - i0 : NR;
    for (int tap = 0; tap < 9; tap++) {
        const float *src = weights + (size_t)(8 - tap) * s->tap_floats + (size_t)i0 * (size_t)out;
        float *dst = taps + tap * 16 * NR;
        for (int i = 0; i < ins; i++)
            for (int o = 0; o < 16; o++)
                dst[o * NR + i] = src[(size_t)i * (size_t)out + (size_t)(o0 + o)];
    }
}

/* 16 channels of the reduction, c0.., of one panel. */
static void wino_pack_block(const sumi_conv_spec *s, const float *weights, const float *scale,
                            float *packed, int panel, int c0)
{
    int panels = (s->cout + NR - 1) / NR, k0 = panel * NR;
    int big = wino_scheme(s), points = wino_points(s);
    size_t point = (size_t)panels * (size_t)s->cin * NR;
    float *dst = packed + ((size_t)panel * (size_t)s->cin + (size_t)c0) * NR;
    float turned[9 * 16 * NR];
    bool flip = s->direction == SUMI_CONV_DGRAD;
    if (flip)
        wino_pack_turn(s, weights, k0, c0, turned);
    for (int c = 0; c < 16; c++, dst += NR) {
        const float *taps =
            flip ? turned + c * NR : weights + (size_t)(c0 + c) * (size_t)s->cout + k0;
        size_t tap_stride = flip ? 16 * NR : s->tap_floats;
        for (int v = 0; v < NR; v += VW) {
            if (k0 + v < s->cout) {
                vf factor = !scale ? v_splat(1)
                            : flip ? v_splat(scale[c0 + c])
                                   : v_load(scale + k0 + v);
                if (big == 6)
                    wino_pack_vector(6, taps + v, tap_stride, factor, dst + v, point);
                else
                    wino_pack_vector(4, taps + v, tap_stride, factor, dst + v, point);
            } else {
                for (int p = 0; p < points; p++)
                    v_store(dst + (size_t)p * point + v, v_zero());
            }
        }
    }
}

static void wino_pack(const sumi_conv_spec *s, const float *weights, const float *scale,
                      float *packed, int piece, int pieces)
{
    int panels = (s->cout + NR - 1) / NR, rows = s->cin / 16;
    int64_t blocks = (int64_t)panels * rows;
    int end = (int)(blocks * (piece + 1) / pieces);
    for (int b = (int)(blocks * piece / pieces); b < end; b++)
        wino_pack_block(s, weights, scale, packed, b / rows, b % rows * 16);
}

#endif
