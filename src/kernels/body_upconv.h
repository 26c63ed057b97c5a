/*
 * 3x3 convolution of an up-sampled tensor (bilinear x2, aligned corners), computed at the small
 * size. Up-sampling acts on pixels and a tap's weights act on channels, so they change places:
 *     conv(up(x))[i, j] = sum over taps (ky, kx) of up(x W[ky, kx])[i + ky - 1, j + kx - 1],
 * exactly. Nine products a small pixel do the work of 36, as Winograd's F(4x4) would, but nothing
 * is transformed on the way in, and no large tensor of the input's channels is ever made.
 *
 * Forward: products P[pixel][tap] of a panel of NR output channels, then up-sampling, shift and
 * sum, columns first. Taps that fall outside the large image are left out: that is zero padding.
 * Backward: the transpose. G[pixel][tap] is the gradient dy, shifted and gathered to the small
 * pixels; the input's gradient is G W^T, the weights' is x^T G.
 *
 * Packed weights: as body_gemm.h's. Partial gradient: [tap][panel of NR outputs][cin][NR].
 */
#ifndef SUMI_BODY_UPCONV_H
#define SUMI_BODY_UPCONV_H

#include "kernels/body_gemm.h"
#include "kernels/body_gemm_wgrad.h"
#include "kernels/body_resize.h"
#include "kernels/body_winograd_wgrad.h"

/* Chosen by measuring: `bench_kernels ISA auto 1 32` shows on its "up" layers what other numbers
 * do. What a tile keeps in cache, so that
 * it fits the second level beside the weights. */
#define UP_FLOATS (3 * TILE_FLOATS / 2)
/* Small rows above and below a band whose products a forward band has to repeat. */
#define UP_HALO 3
/* Depth of a product in wgrad that hides the traffic to the partial gradient. */
#define UP_WGRAD_PIXELS 64

/* Rows of matrices are kept apart by this many floats more than they have, against cache sets that
 * are hit in step. */
#define UP_PAD 16

static bool upconv_can(const sumi_conv_spec *s)
{
    return s->up && s->ksize == 3 && s->h % 2 == 0 && s->w % 2 == 0 && s->cin % 16 == 0 &&
           s->cout % 16 == 0 && s->cin > 0 && s->cout > 0;
}

/* ---- Forward --------------------------------------------------------------------------------- */

/* Small rows lo .. hi-1 are what large rows y0 .. y0+rows-1 and their neighbours lie between. */
typedef struct {
    int lo, hi;
} up_span;

INLINE up_span up_span_of(int small, int y0, int rows)
{
    int first = max_int(y0 - 1, 0), last = min_int(y0 + rows, 2 * small - 1);
    return (up_span){up_weight_of(small, first).i, up_weight_of(small, last).next + 1};
}

/* Weights of the large coordinates -1 .. 2 * small; those outside get the weight 0. */
static void up_table(int small, up_weight *table)
{
    for (int t = -1; t <= 2 * small; t++)
        table[t + 1] =
            t < 0 || t == 2 * small ? (up_weight){0, 0, 0.0f, 0.0f} : up_weight_of(small, t);
}

/* One small row of products to columns[ky][large x][NR]: up-sampled along x, the kx summed. */
static void up_columns(const up_weight *table, int w, const float *products, float *columns)
{
    for (int ky = 0; ky < 3; ky++) {
        const float *p = products + (size_t)(3 * ky) * NR;
        for (int x = 0; x < w; x++, columns += NR) {
            vf sum0 = v_zero(), sum1 = v_zero();
            UNROLL
            for (int kx = 0; kx < 3; kx++) {
                const up_weight *t = &table[x + kx];
                const float *a = p + (size_t)(t->i * 9 + kx) * NR;
                const float *b = p + (size_t)(t->next * 9 + kx) * NR;
                vf w0 = v_splat(t->w0), w1 = v_splat(t->w1);
                sum0 = v_fma(w0, v_load(a), v_fma(w1, v_load(b), sum0));
                sum1 = v_fma(w0, v_load(a + VW), v_fma(w1, v_load(b + VW), sum1));
            }
            v_store(columns, sum0);
            v_store(columns + VW, sum1);
        }
    }
}

/* A large row from the columns of small rows span->lo on: up-sampled along y, the three ky summed.
 */
static void up_row(const up_weight *table, const up_span *span, int y, int w, const float *columns,
                   float *dst)
{
    size_t run = (size_t)w * NR;
    const float *from[6];
    vf weight[6];
    UNROLL
    for (int ky = 0; ky < 3; ky++) {
        const up_weight *t = &table[y + ky];
        /* A row outside has the weight 0; any row of the span will do. */
        int i = max_int(t->i, span->lo), next = max_int(t->next, span->lo);
        from[2 * ky] = columns + (size_t)(3 * (i - span->lo) + ky) * run;
        from[2 * ky + 1] = columns + (size_t)(3 * (next - span->lo) + ky) * run;
        weight[2 * ky] = v_splat(t->w0);
        weight[2 * ky + 1] = v_splat(t->w1);
    }
    for (size_t i = 0; i < run; i += (size_t)VW) {
        vf sum = v_zero();
        UNROLL
        for (int q = 0; q < 6; q++)
            sum = v_fma(weight[q], v_load(from[q] + i), sum);
        v_store(dst + i, sum);
    }
}

INLINE size_t up_table_floats(int length)
{
    return round_up((size_t)(length + 2) * sizeof(up_weight) / sizeof(float), 16);
}

/* Where the buffers of a tile lie in its scratch, in floats, and how much that is; the weights
 * along x are at 0. */
typedef struct {
    size_t wy, strip, products, columns, band, total;
} up_forward_scratch;

/* small: rows of the small input; rows: of the result. */
static up_forward_scratch up_forward_scratch_of(const sumi_conv_spec *s, int images, int small,
                                                int rows)
{
    size_t pixels = (size_t)images * (size_t)small * (size_t)(s->w / 2);
    up_forward_scratch l = {.wy = up_table_floats(s->w)};
    l.strip = l.wy + up_table_floats(s->h);
    l.products = l.strip + pixels * ((size_t)s->cin + UP_PAD);
    l.columns = l.products + pixels * 9 * NR;
    l.band = l.columns + (size_t)small * 3 * (size_t)s->w * NR;
    l.total = l.band + (size_t)rows * (size_t)s->w * NR;
    return l;
}

typedef struct {
    up_weight *wx, *wy;
    float *strip, *products, *columns, *band;
    size_t lda;
    up_span span;
    int pixels;  /* of one image's span */
    size_t used; /* floats of scratch */
} up_forward;

static up_forward up_forward_make(const sumi_conv_spec *s, const sumi_tile *tile, float *scratch)
{
    up_forward f = {.lda = (size_t)s->cin + UP_PAD,
                    .span = up_span_of(s->h / 2, tile->y0, tile->rows)};
    f.pixels = (f.span.hi - f.span.lo) * (s->w / 2);
    up_forward_scratch l =
        up_forward_scratch_of(s, tile->images, f.span.hi - f.span.lo, tile->rows);
    f.wx = (up_weight *)(void *)scratch;
    f.wy = (up_weight *)(void *)(scratch + l.wy);
    f.strip = scratch + l.strip;
    f.products = scratch + l.products;
    f.columns = scratch + l.columns;
    f.band = scratch + l.band;
    f.used = l.total;
    up_table(s->w / 2, f.wx);
    up_table(s->h / 2, f.wy);
    return f;
}

/* The finished panel of one image. */
static void up_forward_store(const sumi_conv *conv, const sumi_tile *tile, const up_forward *f,
                             int image, int k0)
{
    const sumi_conv_spec *s = conv->spec;
    const float *products = f->products + (size_t)image * (size_t)f->pixels * 9 * NR;
    size_t row = (size_t)s->w * NR;
    for (int r = 0; r < f->span.hi - f->span.lo; r++)
        up_columns(f->wx, s->w, products + (size_t)r * (size_t)(s->w / 2) * 9 * NR,
                   f->columns + (size_t)r * 3 * row);
    for (int y = 0; y < tile->rows; y++)
        up_row(f->wy, &f->span, tile->y0 + y, s->w, f->columns, f->band + (size_t)y * row);
    store_tile(conv, tile, image, k0, min_int(tile->k0 + tile->kn - k0, NR), f->band, row, NR);
}

/* The small rows of all images of the tile. */
static void up_forward_fill(const sumi_conv *conv, const sumi_tile *tile, const up_forward *f)
{
    const sumi_conv_spec *s = conv->spec;
    int sw = s->w / 2;
    for (int i = 0; i < tile->images; i++) {
        sumi_strip strip = {.n = tile->n0 + i,
                            .y0 = f->span.lo,
                            .rows = f->span.hi - f->span.lo,
                            .cols = sw,
                            .cn = s->cin,
                            .dst = f->strip + (size_t)i * (size_t)f->pixels * f->lda,
                            .row_stride = (size_t)sw * f->lda,
                            .pixel_stride = f->lda};
        body_fill(conv->sources, conv->source_count, s->h / 2, sw, &strip);
    }
}

static void up_forward_tile(const sumi_conv *conv, const sumi_tile *tile, float *scratch)
{
    const sumi_conv_spec *s = conv->spec;
    up_forward f = up_forward_make(s, tile, scratch);
    up_forward_fill(conv, tile, &f);
    const gemm_product product = {.lda = f.lda, .ldc = 9 * NR, .runs = 1, .run = (size_t)s->cin};
    size_t panel = 9 * (size_t)s->cin * NR;
    for (int k0 = tile->k0; k0 < tile->k0 + tile->kn; k0 += NR) {
        const float *b = conv->packed + (size_t)(k0 / NR) * panel;
        for (int tap = 0; tap < 9; tap++)
            gemm_panel(&product, tile->images * f.pixels, f.strip,
                       b + (size_t)tap * (size_t)s->cin * NR, f.products + tap * NR);
        for (int i = 0; i < tile->images; i++)
            up_forward_store(conv, tile, &f, i, k0);
    }
}

/* ---- The gathered gradient ------------------------------------------------------------------- */

/* Of small rows y0 .. y0+rows-1 of one image: the large rows they need, gathered along x. */
typedef struct {
    int h, w, k; /* of dy */
    int y0, rows;
    int top, tall; /* large rows top .. top+tall-1, the border of zeros included */
    up_readers *rx;
    float *strip; /* dy: [tall][w + 2][k] */
    float *lines; /* [tall][kx][w / 2][k] */
    size_t ldg;   /* of G: [pixel][kx][k], for one ky at a time */
} up_gather;

/* Floats of a row of G. */
INLINE size_t up_gather_row(int k)
{
    return 3 * (size_t)k + UP_PAD;
}

/* Where they lie in scratch, in floats, and how much that is; the readers along x are at 0. */
typedef struct {
    size_t strip, lines, total;
} up_gather_scratch;

static up_gather_scratch up_gather_scratch_of(int w, int k, int tall)
{
    size_t readers = (size_t)(w / 2) * sizeof(up_readers) / sizeof(float);
    up_gather_scratch l = {.strip = round_up(readers, 16)};
    l.lines = l.strip + round_up((size_t)tall * (size_t)(w + 2) * (size_t)k, 16);
    l.total = l.lines + (size_t)tall * 3 * (size_t)(w / 2) * (size_t)k;
    return l;
}

/* Large rows that small rows y0 .. y0+rows-1 need, from *top on; and the most that any can need. */
INLINE int up_gather_tall(int h, int y0, int rows, int *top)
{
    up_readers first = up_readers_of(h / 2, y0), last = up_readers_of(h / 2, y0 + rows - 1);
    *top = first.first - 1;
    return last.first + last.count + 1 - *top;
}

INLINE int up_gather_most(int h, int rows)
{
    return min_int(2 * rows + 4, h) + 2;
}

static up_gather up_gather_make(int h, int w, int k, int y0, int rows, float *scratch)
{
    up_gather g = {.h = h, .w = w, .k = k, .y0 = y0, .rows = rows};
    g.tall = up_gather_tall(h, y0, rows, &g.top);
    up_gather_scratch l = up_gather_scratch_of(w, k, g.tall);
    g.ldg = up_gather_row(k);
    g.rx = (up_readers *)(void *)scratch;
    g.strip = scratch + l.strip;
    g.lines = scratch + l.lines;
    for (int x = 0; x < w / 2; x++)
        g.rx[x] = up_readers_of(w / 2, x);
    return g;
}

/* to[k] = sum over `count` of weight[i] * from[i * step]. */
INLINE void up_weighted_sum(const float *weight, int count, const float *from, size_t step, int k,
                            float *to)
{
    vf w[UP_READERS];
    for (int i = 0; i < count; i++)
        w[i] = v_splat(weight[i]);
    for (int c = 0; c < k; c += VW) {
        vf sum = w[0] * v_load(from + c);
        for (int i = 1; i < count; i++)
            sum = v_fma(w[i], v_load(from + (size_t)i * step + c), sum);
        v_store(to + c, sum);
    }
}

static void up_gather_sum(const float *weight, int count, const float *from, size_t step, int k,
                          float *to)
{
    switch (count) {
    case 3:
        up_weighted_sum(weight, 3, from, step, k, to);
        break;
    case 4:
        up_weighted_sum(weight, 4, from, step, k, to);
        break;
    case 5:
        up_weighted_sum(weight, 5, from, step, k, to);
        break;
    default:
        up_weighted_sum(weight, count, from, step, k, to);
    }
}

/* The tap (ky, kx), as the convolution of dy sees it (flipped), reads dy one up and left of where
 * tap (1, 1) does for (0, 0): strip has a border of one pixel for it. */
static void up_gather_load(const up_gather *g, const sumi_source *dy, int n)
{
    size_t k = (size_t)g->k, row = (size_t)(g->w + 2) * k;
    sumi_strip strip = {.n = n,
                        .y0 = g->top,
                        .rows = g->tall,
                        .x0 = -1,
                        .cols = g->w + 2,
                        .cn = g->k,
                        .dst = g->strip,
                        .row_stride = row,
                        .pixel_stride = k};
    body_fill(dy, 1, g->h, g->w, &strip);
    float *to = g->lines;
    for (int y = 0; y < g->tall; y++)
        for (int kx = 0; kx < 3; kx++)
            for (int x = 0; x < g->w / 2; x++, to += k) {
                const up_readers *r = &g->rx[x];
                up_gather_sum(r->weight, r->count,
                              g->strip + (size_t)y * row + (size_t)(r->first + kx) * k, k, g->k,
                              to);
            }
}

/* G of all small pixels for one ky. */
static void up_gather_rows(const up_gather *g, int ky, float *to)
{
    size_t k = (size_t)g->k, line = (size_t)(g->w / 2) * k;
    for (int y = g->y0; y < g->y0 + g->rows; y++) {
        up_readers r = up_readers_of(g->h / 2, y);
        const float *from = g->lines + (size_t)(r.first + ky - 1 - g->top) * 3 * line;
        for (int x = 0; x < g->w / 2; x++, to += g->ldg)
            for (int kx = 0; kx < 3; kx++)
                up_gather_sum(r.weight, r.count, from + (size_t)kx * line + (size_t)x * k, 3 * line,
                              g->k, to + (size_t)kx * k);
    }
}

/* ---- Gradient of the input ------------------------------------------------------------------- */

/* Where the buffers of a tile lie in its scratch: a gather of one image at 0, its G, the result. */
typedef struct {
    size_t gathered, out, total;
    size_t ldc; /* of the result */
} up_dgrad_scratch;

/* tall: large rows of the gather; outputs: channels of the result. */
static up_dgrad_scratch up_dgrad_scratch_of(const sumi_conv_spec *s, int tall, int rows,
                                            int outputs)
{
    size_t pixels = (size_t)rows * (size_t)(s->w / 2);
    up_dgrad_scratch l = {.gathered = up_gather_scratch_of(s->w, s->cin, tall).total,
                          .ldc = round_up((size_t)outputs, NR) + UP_PAD};
    l.out = l.gathered + pixels * up_gather_row(s->cin);
    l.total = l.out + pixels * l.ldc;
    return l;
}

/* s is of dgrad: cin are the channels of dy, cout those of the small input. */
static void up_dgrad_tile(const sumi_conv *conv, const sumi_tile *tile, float *scratch)
{
    const sumi_conv_spec *s = conv->spec;
    int pixels = tile->rows * (s->w / 2);
    size_t depth = 3 * (size_t)s->cin;
    up_gather g = up_gather_make(s->h, s->w, s->cin, tile->y0, tile->rows, scratch);
    up_dgrad_scratch l = up_dgrad_scratch_of(s, g.tall, tile->rows, tile->kn);
    float *gathered = scratch + l.gathered, *out = scratch + l.out;
    for (int i = 0; i < tile->images; i++) {
        up_gather_load(&g, conv->sources, tile->n0 + i);
        for (int ky = 0; ky < 3; ky++) {
            up_gather_rows(&g, ky, gathered);
            const gemm_product product = {
                .lda = g.ldg, .ldc = l.ldc, .runs = 1, .run = depth, .add = ky > 0};
            for (int k = 0; k < tile->kn; k += NR)
                gemm_panel(&product, pixels, gathered,
                           conv->packed +
                               ((size_t)((tile->k0 + k) / NR) * 3 + (size_t)ky) * depth * NR,
                           out + k);
        }
        store_tile(conv, tile, i, tile->k0, tile->kn, out, (size_t)(s->w / 2) * l.ldc, l.ldc);
    }
}

static void upconv_tile(const sumi_conv *conv, const sumi_tile *tile, float *scratch)
{
    if (conv->spec->direction == SUMI_CONV_DGRAD)
        up_dgrad_tile(conv, tile, scratch);
    else
        up_forward_tile(conv, tile, scratch);
}

/* ---- Gradient of the weights ----------------------------------------------------------------- */

/* Where the buffers of a block lie in its scratch: the gather of the first image at 0, the lines of
 * the others, x of all images, and their G. */
typedef struct {
    size_t lines; /* of one image */
    size_t x, gathered, total;
} up_wgrad_scratch;

/* tall: large rows of the gather; rows: of the small input, which has `channels`. */
static up_wgrad_scratch up_wgrad_scratch_of(const sumi_conv_spec *s, int images, int tall, int rows,
                                            int channels)
{
    size_t pixels = (size_t)images * (size_t)rows * (size_t)(s->w / 2);
    up_gather_scratch gather = up_gather_scratch_of(s->w, s->cout, tall);
    up_wgrad_scratch l = {.lines = gather.total - gather.lines};
    l.x = gather.total + (size_t)(images - 1) * l.lines;
    l.gathered = l.x + pixels * ((size_t)channels + UP_PAD);
    l.total = l.gathered + pixels * up_gather_row(s->cout);
    return l;
}

/* A piece of few images, rows y0 .. y0+rows-1 of the small input: x of all of them, and G for one
 * ky at a time. */
typedef struct {
    up_gather g;
    int images, depth; /* pixels of all images */
    size_t lines;      /* floats from image to image of g.lines */
    float *x;          /* [depth][ldx] */
    size_t ldx;
    float *gathered; /* [depth][g.ldg] */
    size_t used;     /* floats of scratch */
} up_wgrad;

static up_wgrad up_wgrad_load(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece, int y0,
                              int rows, float *scratch)
{
    const sumi_conv_spec *s = wgrad->spec;
    int sw = s->w / 2, pixels = rows * sw;
    up_wgrad b = {.images = piece->n1 - piece->n0, .ldx = (size_t)piece->cn + UP_PAD};
    b.depth = b.images * pixels;
    b.g = up_gather_make(s->h, s->w, s->cout, y0, rows, scratch);
    up_wgrad_scratch l = up_wgrad_scratch_of(s, b.images, b.g.tall, rows, piece->cn);
    b.lines = l.lines;
    b.x = scratch + l.x;
    b.gathered = scratch + l.gathered;
    b.used = l.total;
    up_gather g = b.g;
    for (int i = 0; i < b.images; i++, g.lines += b.lines) {
        sumi_strip strip = {.n = piece->n0 + i,
                            .y0 = y0,
                            .rows = rows,
                            .cols = sw,
                            .c0 = piece->c0,
                            .cn = piece->cn,
                            .dst = b.x + (size_t)i * (size_t)pixels * b.ldx,
                            .row_stride = (size_t)sw * b.ldx,
                            .pixel_stride = b.ldx};
        body_fill(wgrad->sources, wgrad->source_count, s->h / 2, sw, &strip);
        up_gather_load(&g, wgrad->dy, piece->n0 + i);
    }
    return b;
}

static void up_wgrad_gather(const up_wgrad *b, int ky)
{
    up_gather g = b->g;
    size_t image = (size_t)(b->depth / b->images) * g.ldg;
    for (int i = 0; i < b->images; i++, g.lines += b->lines)
        up_gather_rows(&g, ky, b->gathered + (size_t)i * image);
}

static void up_wgrad_block(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece, int y0, int rows,
                           float *partial, float *scratch)
{
    const sumi_conv_spec *s = wgrad->spec;
    int panels = (s->cout + NR - 1) / NR;
    size_t panel = (size_t)s->cin * NR;
    const up_wgrad b = up_wgrad_load(wgrad, piece, y0, rows, scratch);
    for (int ky = 0; ky < 3; ky++) {
        up_wgrad_gather(&b, ky);
        for (int kx = 0; kx < 3; kx++)
            for (int p = 0; p < panels; p++) {
                /* G is for flipped taps. */
                int tap = 8 - (3 * ky + kx);
                wino_product product = {.v = b.x,
                                        .w = b.gathered + (size_t)kx * (size_t)s->cout +
                                             (size_t)p * NR,
                                        .ldv = b.ldx,
                                        .ldw = b.g.ldg,
                                        .depth = b.depth,
                                        .add = piece->add};
                wino_wgrad_panel(piece->cn, &product,
                                 partial + (size_t)(tap * panels + p) * panel +
                                     (size_t)piece->c0 * NR);
            }
    }
}

/* The blocks of a piece, one after another. */
INLINE void up_wgrad_blocks(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece, float *partial,
                            float *scratch,
                            void (*run)(const sumi_wgrad *, const sumi_wgrad_piece *, int, int,
                                        float *, float *))
{
    const sumi_conv_spec *s = wgrad->spec;
    sumi_wgrad_piece block = *piece;
    for (int n = piece->n0; n < piece->n1; n += s->images)
        for (int y0 = 0; y0 < s->h / 2; y0 += s->rows) {
            block.n0 = n;
            block.n1 = min_int(n + s->images, piece->n1);
            run(wgrad, &block, y0, min_int(s->h / 2 - y0, s->rows), partial, scratch);
            block.add = true;
        }
}

static void upconv_wgrad_piece(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece,
                               float *partial, float *scratch)
{
    up_wgrad_blocks(wgrad, piece, partial, scratch, up_wgrad_block);
}

static void upconv_wgrad_finish(const sumi_conv_spec *s, const float *partials, int count,
                                float *dw, int piece, int pieces)
{
    int panels = (s->cout + NR - 1) / NR;
    int64_t rows = (int64_t)9 * panels * s->cin, end = rows * (piece + 1) / pieces;
    for (int64_t r = rows * piece / pieces; r < end; r++) {
        size_t tap = (size_t)(r / s->cin / panels), c = (size_t)(r % s->cin);
        int k0 = (int)(r / s->cin % panels) * NR;
        sum_partials(partials + (size_t)r * NR, s->partial_floats, count,
                     dw + tap * s->tap_floats + c * (size_t)s->cout + (size_t)k0,
                     min_int(s->cout - k0, NR));
    }
}

/* ---- Plan ------------------------------------------------------------------------------------ */

/* Of a tile of so many rows: of the result, or of the small input. */
static size_t up_tile_floats(const sumi_conv_spec *s, int rows)
{
    if (s->direction == SUMI_CONV_DGRAD)
        return up_dgrad_scratch_of(s, up_gather_most(s->h, rows), rows, s->cout).total;
    int small = min_int(rows / 2 + UP_HALO, s->h / 2);
    return up_forward_scratch_of(s, s->images, small, rows).total;
}

static size_t up_wgrad_floats(const sumi_conv_spec *s, int rows)
{
    return up_wgrad_scratch_of(s, s->images, up_gather_most(s->h, rows), rows, s->cin).total;
}

/* Bands of equal height (but the last), `step` rows or a multiple of it. */
static void up_cut(sumi_conv_spec *s, int height, int rows, int step)
{
    s->bands = (height + rows - 1) / rows;
    s->rows = ((height + s->bands - 1) / s->bands + step - 1) / step * step;
    s->bands = (height + s->rows - 1) / s->rows;
}

static void upconv_plan(sumi_conv_spec *s)
{
    bool dgrad = s->direction == SUMI_CONV_DGRAD;
    int height = sumi_conv_rows(s), step = dgrad ? 1 : 2, rows = height;
    s->images = 1;
    while (rows > step * 8 && up_tile_floats(s, rows) > UP_FLOATS)
        rows -= step;
    up_cut(s, height, rows, step);
    s->scratch_floats = up_tile_floats(s, s->rows);
    s->kblock = NR;
    s->packed_floats = 9 * (size_t)s->cin * round_up((size_t)s->cout, NR);
    s->partial_floats = 0;
}

static void upconv_wgrad_plan(sumi_conv_spec *s)
{
    int height = s->h / 2, rows = height, pixels = height * (s->w / 2);
    s->images = pixels < UP_WGRAD_PIXELS ? (UP_WGRAD_PIXELS + pixels - 1) / pixels : 1;
    while (rows > 4 && s->images == 1 && up_wgrad_floats(s, rows) > UP_FLOATS)
        rows--;
    up_cut(s, height, rows, 1);
    s->kblock = 64;
    s->packed_floats = 0;
    s->partial_floats = 9 * (size_t)s->cin * round_up((size_t)s->cout, NR);
    s->scratch_floats = up_wgrad_floats(s, s->rows);
}

#endif
