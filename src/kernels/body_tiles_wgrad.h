/*
 * The gradient of the weights as a product of bfloat16 on matrix tiles (tiles.h), whose depth are
 * the positions of body_tiles.h: rows are input channels, so the input is turned over; columns are
 * outputs, and dy is 0 at the positions between pixels. A tap is a shift of the input's positions.
 *
 * Partial gradient: [tap][cin][cout], both rounded up to 16.
 */
#ifndef SUMI_BODY_TILES_WGRAD_H
#define SUMI_BODY_TILES_WGRAD_H

#include "kernels/body_gemm_wgrad.h"
#include "kernels/body_tiles.h"

/* Pixels of a block: input and dy of TILES_STEP channels stay near the first-level cache while all
 * taps use them, and the partial gradient is not read and written too often. */
#define TILES_WGRAD_PIXELS 512

typedef struct {
    tiles_grid grid;
    int steps;     /* count, in tiles */
    int positions; /* of a strip, rounded up to whole tiles */
    size_t ldx;    /* from channel to channel of x: an odd number of 64 bytes */
    float *load;   /* [positions][TILES_STEP]: channels of x or dy on their way */
    float *dy;     /* [16 outputs][step] tiles of [16 pairs of positions][16 outputs][2] */
    uint16_t *x;   /* [TILES_STEP channels][ldx] */
} tiles_wgrad_area;

INLINE size_t tiles_wgrad_area_make(const sumi_conv_spec *s, int images, int rows, float *scratch,
                                    tiles_wgrad_area *a)
{
    *a = (tiles_wgrad_area){.grid = tiles_grid_make(s, images, rows)};
    a->steps = tiles_steps(a->grid.count);
    int lines = tiles_steps(a->steps * TILE_DEPTH + a->grid.border);
    a->positions = lines * TILE_DEPTH;
    a->ldx = (size_t)(lines | 1) * TILE_DEPTH;
    size_t dy = (size_t)a->positions * TILES_STEP;
    size_t panels = round_up((size_t)s->cout, TILE_ROWS) / TILE_ROWS;
    size_t x = dy + panels * (size_t)a->steps * TILE_WORDS;
    if (scratch != NULL) {
        a->load = scratch;
        a->dy = scratch + dy;
        a->x = (uint16_t *)(void *)(scratch + x);
    }
    return x + TILES_STEP * a->ldx / 2;
}

/* Channels c0 .. c0+cn-1 of the block's rows and `border` rows on both sides, zeros elsewhere. */
static void tiles_wgrad_load(const tiles_wgrad_area *a, const sumi_conv_spec *s,
                             const sumi_source *sources, int count, const sumi_tile *block, int c0,
                             int cn, int border)
{
    const tiles_grid *g = &a->grid;
    int rows = block->rows + 2 * border, gap = (g->pad - border) * g->pitch, end = border;
    memset(a->load, 0, (size_t)(border * TILES_STEP) * sizeof(float));
    for (int i = 0; i < block->images; i++) {
        float *dst = a->load + (size_t)(border + i * g->image) * TILES_STEP;
        sumi_strip strip = {.n = block->n0 + i,
                            .y0 = block->y0 - border,
                            .rows = rows,
                            .cols = g->pitch,
                            .c0 = c0,
                            .cn = cn,
                            .dst = dst,
                            .row_stride = (size_t)g->pitch * TILES_STEP,
                            .pixel_stride = TILES_STEP};
        body_fill(sources, count, s->h, s->w, &strip);
        memset(dst + (size_t)(rows * g->pitch) * TILES_STEP, 0,
               (size_t)(gap * TILES_STEP) * sizeof(float));
        end = border + i * g->image + rows * g->pitch + gap;
    }
    memset(a->load + (size_t)end * TILES_STEP, 0,
           (size_t)((a->positions - end) * TILES_STEP) * sizeof(float));
    zero_pixels(a->load + cn, a->positions, TILES_STEP - cn, TILES_STEP);
}

/* A tile of pairs from 32 positions of 16 of the loaded channels. */
INLINE void tiles_wgrad_pairs(const float *from, float *to)
{
    for (int i = 0; i < TILE_ROWS; i++, from += 2 * TILES_STEP, to += TILE_ROWS)
        for (int k = 0; k < TILE_ROWS; k += VW)
            v_store(to + k, tiles_pair(v_load(from + k), v_load(from + TILES_STEP + k)));
}

/* Lane j of the two halves of a 2 x 2 block that is turned over; lanes from 16 on are of the second
 * vector. */
#define TURN_LOW(d, j) ((j) & (d) ? 16 + (j) - (d) : (j))
#define TURN_HIGH(d, j) ((j) & (d) ? 16 + (j) : (j) + (d))
#define TURN_LANES(f, d)                                                                           \
    f(d, 0), f(d, 1), f(d, 2), f(d, 3), f(d, 4), f(d, 5), f(d, 6), f(d, 7), f(d, 8), f(d, 9),      \
        f(d, 10), f(d, 11), f(d, 12), f(d, 13), f(d, 14), f(d, 15)
#define TURN_STAGE(d)                                                                              \
    UNROLL                                                                                         \
    for (int i = 0; i < 16; i++)                                                                   \
        if ((i & (d)) == 0) {                                                                      \
            word16 a = row[i], b = row[i + (d)];                                                   \
            row[i] = __builtin_shufflevector(a, b, TURN_LANES(TURN_LOW, d));                       \
            row[i + (d)] = __builtin_shufflevector(a, b, TURN_LANES(TURN_HIGH, d));                \
        }

typedef uint32_t word16 __attribute__((vector_size(TILE_BYTES)));

/* Turns a 16 x 16 matrix of 32-bit words over, by blocks of 1, 2, 4 and 8. */
static void tiles_turn(const float *from, uint16_t *to, size_t ld)
{
    word16 row[16];
    UNROLL
    for (int i = 0; i < 16; i++)
        memcpy(&row[i], from + 16 * i, sizeof row[i]);
    TURN_STAGE(1)
    TURN_STAGE(2)
    TURN_STAGE(4)
    TURN_STAGE(8)
    UNROLL
    for (int i = 0; i < 16; i++)
        memcpy(to + (size_t)i * ld, &row[i], sizeof row[i]);
}

static void tiles_wgrad_load_dy(const tiles_wgrad_area *a, const sumi_wgrad *wgrad,
                                const sumi_tile *block)
{
    const sumi_conv_spec *s = wgrad->spec;
    float *to = a->dy;
    for (int k = 0; k < s->cout; k += TILES_STEP) {
        int kn = min_int(s->cout - k, TILES_STEP);
        tiles_wgrad_load(a, s, wgrad->dy, 1, block, k, kn, 0);
        for (int half = 0; half < kn; half += TILE_ROWS)
            for (int i = 0; i < a->steps; i++, to += TILE_WORDS)
                tiles_wgrad_pairs(a->load + (size_t)(i * TILE_DEPTH) * TILES_STEP + half, to);
    }
}

static void tiles_wgrad_load_x(const tiles_wgrad_area *a, const sumi_wgrad *wgrad,
                               const sumi_tile *block, int c0, int cn)
{
    float pairs[TILE_WORDS];
    tiles_wgrad_load(a, wgrad->spec, wgrad->sources, wgrad->source_count, block, c0, cn,
                     a->grid.pad);
    for (int half = 0; half < cn; half += TILE_ROWS)
        for (int i = 0; i < a->positions; i += TILE_DEPTH) {
            tiles_wgrad_pairs(a->load + (size_t)i * TILES_STEP + half, pairs);
            tiles_turn(pairs, a->x + (size_t)half * a->ldx + i, a->ldx);
        }
}

static void tiles_wgrad_block(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece,
                              const sumi_tile *block, bool add, float *partial, float *scratch)
{
    const sumi_conv_spec *s = wgrad->spec;
    tiles_wgrad_area a;
    tiles_wgrad_area_make(s, block->images, block->rows, scratch, &a);
    tiles_wgrad_load_dy(&a, wgrad, block);
    size_t ldc = round_up((size_t)s->cout, TILE_ROWS);
    size_t tap_floats = round_up((size_t)s->cin, TILE_ROWS) * ldc;
    const tiles_product taps = tiles_product_make(s, &a.grid, 1);
    tiles_product product = {.runs = 1,
                             .steps = a.steps,
                             .lda = a.ldx,
                             .panel = (size_t)a.steps * TILE_WORDS,
                             .ldc = ldc,
                             .add = add};
    for (int c = 0; c < piece->cn; c += TILES_STEP) {
        int c0 = piece->c0 + c, cn = min_int(piece->cn - c, TILES_STEP);
        tiles_wgrad_load_x(&a, wgrad, block, c0, cn);
        for (int k = 0; k < s->cout; k += TILES_STEP)
            for (int tap = 0; tap < taps.runs; tap++) {
                product.run[0] = taps.run[tap];
                tiles_multiply(&product, cn, min_int(s->cout - k, TILES_STEP), a.x,
                               a.dy + (size_t)(k / TILE_ROWS) * product.panel,
                               partial + (size_t)tap * tap_floats + (size_t)c0 * ldc + k);
            }
    }
}

static void tiles_wgrad_piece(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece,
                              float *partial, float *scratch)
{
    const sumi_conv_spec *s = wgrad->spec;
    bool add = piece->add;
    tile_configure();
    for (int n = piece->n0; n < piece->n1; n += s->images)
        for (int y0 = 0; y0 < s->h; y0 += s->rows, add = true) {
            sumi_tile block = {.n0 = n,
                               .images = min_int(piece->n1 - n, s->images),
                               .y0 = y0,
                               .rows = min_int(s->h - y0, s->rows)};
            tiles_wgrad_block(wgrad, piece, &block, add, partial, scratch);
        }
    tile_release();
}

static void tiles_wgrad_plan(sumi_conv_spec *s)
{
    tiles_wgrad_area area;
    size_t outputs = round_up((size_t)s->cout, TILE_ROWS);
    tiles_cut(s, TILES_STEP + TILES_STEP / 2, outputs / 2, TILES_WGRAD_PIXELS);
    s->kblock = TILES_STEP;
    s->packed_floats = 0;
    s->partial_floats =
        (size_t)(s->ksize * s->ksize) * round_up((size_t)s->cin, TILE_ROWS) * outputs;
    s->scratch_floats = tiles_wgrad_area_make(s, s->images, s->rows, NULL, &area);
}

static void tiles_wgrad_finish(const sumi_conv_spec *s, const float *partials, int count, float *dw,
                               int piece, int pieces)
{
    size_t ldc = round_up((size_t)s->cout, TILE_ROWS), rows = round_up((size_t)s->cin, TILE_ROWS);
    int64_t all = (int64_t)(s->ksize * s->ksize) * s->cin, end = all * (piece + 1) / pieces;
    for (int64_t r = all * piece / pieces; r < end; r++) {
        size_t tap = (size_t)(r / s->cin), c = (size_t)(r % s->cin);
        sum_partials(partials + (tap * rows + c) * ldc, s->partial_floats, count,
                     dw + tap * s->tap_floats + c * (size_t)s->cout, s->cout);
    }
}

#endif
