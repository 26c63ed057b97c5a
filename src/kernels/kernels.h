/*
 * kernels: the arithmetic of the network on tensors in NHWC order. Tensors are float32, those of
 * images bfloat16 if wanted; all arithmetic is float32, but for products of bfloat16 on tiles.
 *
 * Does: pure serial functions, each on one piece of work (a tile of a convolution, a range of a
 * buffer). Bodies (body_*.h) are written once against simd.h and compiled once per instruction set
 * (isa_*.c); each isa file exports one table, sumi_kernels_pick chooses it.
 * Does not: allocate, start threads, know a graph, keep state. Scratch is the caller's.
 *
 * Every convolution is fill -> multiply -> store:
 *   fill      copies a strip of its input, zero-padded, while applying what is pending on it
 *             (sumi_source), so that normalisation, activation, time shift and concatenation are
 *             never passes of their own;
 *   multiply  turns strip and packed weights into output rows in scratch (GEMM over shifted pixels,
 *             in float32 or on tiles of bfloat16, Winograd, dot products where there are few output
 *             channels, or products at the small size where the input is an up-sampled tensor);
 *   store     adds the bias, applies what is known by now, writes to each destination (sumi_sink)
 *             and collects the statistics that the next operations need.
 *
 * Same bits: which algorithm runs depends on the table, the per-image shape and the direction; an
 * output pixel's sum is taken in the same order whatever tile it falls into. Sums across images are
 * left to the caller in pieces (per image and band), to be merged in a fixed order.
 */
#ifndef SUMI_KERNELS_H
#define SUMI_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/act.h"

/*
 * A tensor as a convolution reads it; r and g are float32, or bfloat16 where bf16 is set. Forward
 * form (g is NULL), per image n and channel c:
 *     value = act(scale[n,c] * r + shift[n,c]) + post[n,c]
 * Gradient form (g is not NULL), the gradient that reaches the raw tensor r through its
 * normalisation and activation; with ga NULL it is g * act'(scale * r + shift) * scale:
 *     value = ga[n,c] * (g * act'(scale[n,c] * r + shift[n,c])) + gb[n,c] * r + gk[n,c]
 * scale/shift may be NULL (1 and 0), post too; r may be NULL in gradient form without activation,
 * scale and ga (then value = g).
 */
typedef struct {
    const void *r; /* [n][h][w][c] */
    const void *g; /* as r, or NULL */
    bool bf16;
    int c;
    sumi_act act;
    const float *scale, *shift; /* rows of c floats, coef_stride floats from image to image */
    const float *ga, *gb, *gk;  /* likewise */
    size_t coef_stride;         /* 0: one row for all images */
    const float *post;          /* likewise, post_stride floats from image to image */
    size_t post_stride;
} sumi_source;

/*
 * Where a run of c output channels goes. In this order: v = result + bias + residual; v = act(v);
 * dst = v, or dst += v where accumulate is set; then statistics of what dst now holds. Where bf16
 * is set, dst, residual and stat's r are bfloat16, and dst (what it would hold, where it is NULL)
 * is rounded to nearest even before the statistics are taken.
 */
typedef struct {
    void *dst; /* [n][h][w][c], or NULL: only the statistics are wanted */
    bool bf16;
    int c;
    bool accumulate;
    const float *bias;    /* [c], or NULL */
    const void *residual; /* [n][h][w][c], or NULL */
    sumi_act act;
    /* Forward moments, or NULL: [n][bands][2][c], the band's mean, and its sum of squared
     * differences from that mean (two passes over the band while it is in cache). */
    float *moments;
    /* Backward sums, or NULL: [n][bands][3][c] of
     *     0: sum of v before rounding and accumulation (the gradient of this reader's post)
     *     1: sum of d,  2: sum of d * (r - mean),  d = dst * act'(scale * r + shift)
     * where r, act, scale, shift and coef_stride come from `stat`, mean is [c] rows with stat's
     * coef_stride (NULL: 0). With stat NULL only row 0 is written. */
    float *sums;
    const sumi_source *stat;
    const float *mean;
    /* Where stat's activation is SiLU: dst becomes d, not what d is made of, so that who reads it
     * next need not go through the activation again. */
    bool through_silu;
} sumi_sink;

typedef enum {
    SUMI_CONV_GEMM,
    SUMI_CONV_WINOGRAD,
    SUMI_CONV_NARROW,
    SUMI_CONV_UPSAMPLED,
    SUMI_CONV_TILES,
    SUMI_CONV_WINOGRAD16,  /* SUMI_CONV_WINOGRAD and ... */
    SUMI_CONV_UPSAMPLED16, /* ... SUMI_CONV_UPSAMPLED with products of scaled 16-bit integers */
    SUMI_CONV_ALGORITHMS   /* how many there are */
} sumi_conv_algorithm;
typedef enum { SUMI_CONV_FORWARD, SUMI_CONV_DGRAD, SUMI_CONV_WGRAD } sumi_conv_direction;

/* The part of a convolution that is known when a plan is made. Stride 1, padding (ksize - 1) / 2.
 */
typedef struct {
    int h, w;
    int cin, cout; /* as this pass sees them: dgrad swaps the layer's */
    int ksize;     /* 1 or 3 */
    /* The layer's input has h/2 x w/2 pixels and is up-sampled (bilinear x2, align_corners) before
     * it is convolved: sources of forward and wgrad, and sinks of dgrad, are of that size. */
    bool up;
    /* Products of bfloat16: inputs (with what is pending) and weights are rounded to nearest even,
     * sums are float32. */
    bool bf16;
    /* Products of 16-bit integers, scaled so that their sums cannot overflow (body_fixed16.h); all
     * else is float32. */
    bool fixed16;
    bool vnni; /* with one instruction for a product and its sum: what the table has */
    sumi_conv_direction direction;
    /* Floats from tap to tap of the weights and their gradient; 0 is cin * cout. More where they
     * are a run of input channels of a wider layer. */
    size_t tap_floats;
    sumi_conv_algorithm algorithm;
    /* How it is cut into tiles: `images` images at a time (1 where bands > 1), each image into
     * `bands` bands of `rows` rows of its output (the last may be lower; wgrad with up: rows of its
     * small input). Does not depend on n. */
    int images, rows, bands;
    /* A tile's output channels, and a weight gradient's input channels, may be cut at multiples of
     * this (0: not at all): no bit depends on it. */
    int kblock;
    size_t packed_floats;  /* of packed weights (forward and dgrad) */
    size_t partial_floats; /* of a partial weight gradient (wgrad) */
    size_t scratch_floats; /* of one thread, 64-byte aligned */
} sumi_conv_spec;

/* Rows of the output of a forward or input-gradient pass, from which its bands are cut. */
static inline int sumi_conv_rows(const sumi_conv_spec *spec)
{
    return spec->up && spec->direction == SUMI_CONV_DGRAD ? spec->h / 2 : spec->h;
}

typedef struct {
    const sumi_conv_spec *spec;
    const sumi_source *sources; /* their c add up to cin */
    int source_count;
    const sumi_sink *sinks; /* their c add up to cout */
    int sink_count;
    const float *packed;
} sumi_conv;

/* One tile: images n0 .. n0+images-1, rows y0 .. y0+rows-1 (band number band), output channels
 * k0 .. k0+kn-1. */
typedef struct {
    int n0, images;
    int band, y0, rows;
    int k0, kn;
} sumi_tile;

/* A strip for fill: rows y0.. and columns x0.. of image n (what lies outside h x w becomes 0),
 * channels c0.. of the concatenated sources. dst[row * row_stride + col * pixel_stride + channel].
 */
typedef struct {
    int n;
    int y0, rows, x0, cols;
    int c0, cn;
    float *dst;
    size_t row_stride, pixel_stride;
} sumi_strip;

/* A finished block for store: rows y0.. (all of band `band`) of image n, full width w, channels
 * k0.. of the concatenated sinks. src[row * row_stride + col * pixel_stride + channel]. */
typedef struct {
    int n;
    int band, bands, y0, rows;
    int k0, kn;
    const float *src;
    size_t row_stride, pixel_stride;
} sumi_block;

/* Weight gradient: dw[tap][cin][cout] = sum over pixels of source[pixel + tap] * dy[pixel]. */
typedef struct {
    const sumi_conv_spec *spec; /* direction wgrad; cin and cout are the layer's */
    const sumi_source *sources; /* the layer's input */
    int source_count;
    const sumi_source *dy; /* gradient form, c = cout */
} sumi_wgrad;

/* A piece of that sum: images n0 .. n1-1, at least one, for input channels c0 .. c0+cn-1. */
typedef struct {
    int n0, n1;
    int c0, cn;
    bool add; /* to what the partial gradient holds; else it is overwritten */
} sumi_wgrad_piece;

/* How shrink makes one pixel of each 2x2: their mean (average pool), their sum, or the upper left
 * one (every second pixel). grow is its transpose: each of the 2x2 is a quarter of the pixel, is
 * the pixel (nearest up-sampling), or the upper left one is it and the others are 0. */
typedef enum { SUMI_WINDOW_MEAN, SUMI_WINDOW_SUM, SUMI_WINDOW_FIRST } sumi_window;

/* What reframe has outside of its source: the pixel at the nearest edge, or 0. */
typedef enum { SUMI_FRAME_REPEAT, SUMI_FRAME_ZERO } sumi_frame;

/* Adam (Kingma & Ba 2015), as torch.optim.Adam: no weight decay, no amsgrad. In double, because
 * 1 - 0.999f is off by 5e-5. */
typedef struct {
    double learning_rate, beta1, beta2, eps;
    double correction1, correction2; /* 1 - beta^step */
} sumi_adam;

/* c = a b, summed in the order of the depth. Rows of a and c, columns and depth may be part of
 * wider matrices; cols is a multiple of two vectors. */
typedef struct {
    const float *a, *b; /* [rows][depth], or [depth][rows] where a_columns is set; [depth][cols] */
    float *c;           /* [rows][cols]; neither a nor b */
    bool a_columns;
    size_t lda, ldb, ldc; /* floats from a row in memory to the next */
    int rows, cols, depth;
} sumi_product;

/* What works on rows of images and needs scratch for it: functions of sumi_kernels. */
typedef enum {
    SUMI_ROWS_POOL,
    SUMI_ROWS_POOL_BACKWARD,
    SUMI_ROWS_UPSAMPLE,
    SUMI_ROWS_UPSAMPLE_BACKWARD,
    SUMI_ROWS_SHRINK,
    SUMI_ROWS_GROW,
    SUMI_ROWS_REFRAME, /* w: of its result */
    SUMI_ROWS_SUM,
    SUMI_ROWS_MEAN,
    SUMI_ROWS_MEAN_BACKWARD
} sumi_rows_pass;

/* Where such a function's finished rows lie in its scratch, behind what it holds of its source, in
 * floats, and how much scratch that is. */
typedef struct {
    size_t result, total;
} sumi_rows_scratch;

/* w and rows as the function is given them; c channels. */
static inline sumi_rows_scratch sumi_rows_scratch_of(sumi_rows_pass pass, int w, int rows, int c)
{
    size_t channels = (size_t)c, row = (size_t)w * channels, count = (size_t)rows;
    const struct {
        size_t held, result;
    } all[] = {
        [SUMI_ROWS_POOL] = {0, count * (row / 2)},
        [SUMI_ROWS_POOL_BACKWARD] = {0, 2 * count * row},
        [SUMI_ROWS_UPSAMPLE] = {2 * row, count * 2 * row},
        [SUMI_ROWS_UPSAMPLE_BACKWARD] = {0, count * row},
        [SUMI_ROWS_SHRINK] = {2 * row, count * (row / 2)},
        [SUMI_ROWS_GROW] = {row, count * 2 * row},
        [SUMI_ROWS_REFRAME] = {0, count * row},
        [SUMI_ROWS_SUM] = {0, count * row},
        [SUMI_ROWS_MEAN] = {2 * channels, row}, /* sums in double, and a row of values */
        [SUMI_ROWS_MEAN_BACKWARD] = {channels, count * row},
    };
    return (sumi_rows_scratch){all[pass].held, all[pass].held + all[pass].result};
}

/* Attention between the pixels of an image. The source's channels are queries, keys and values, as
 * many of each, and of each those of the first head, then those of the next one. */
typedef struct {
    const sumi_source *source;
    int heads, h, w;
} sumi_attention;

/* Queries that it takes at a time. */
enum { SUMI_ATTENTION_ROWS = 64 };

/* Where a head's factors and results lie in scratch, in floats, and how much that is. */
typedef struct {
    size_t q, k, v, kt, vt, p, dp, dq, dk, dv, total;
} sumi_attention_scratch;

/* d: channels of a head's queries; vector: the table's vector_floats. */
static inline sumi_attention_scratch sumi_attention_scratch_of(int pixels, int d, int vector)
{
    size_t panel = 2 * (size_t)vector;
    size_t wide = ((size_t)d + panel - 1) / panel * panel;
    size_t row = ((size_t)pixels + panel - 1) / panel * panel;
    size_t rows = pixels < SUMI_ATTENTION_ROWS ? (size_t)pixels : SUMI_ATTENTION_ROWS;
    size_t factor = ((size_t)pixels * wide + 15) / 16 * 16;
    size_t transposed = (row * wide + 15) / 16 * 16, shares = (rows * row + 15) / 16 * 16;
    sumi_attention_scratch at = {.k = factor, .v = 2 * factor, .kt = 3 * factor};
    at.vt = at.kt + transposed;
    at.p = at.vt + transposed;
    at.dp = at.p + shares;
    at.dq = at.dp + shares;
    at.dk = at.dq + factor;
    at.dv = at.dk + factor;
    at.total = at.dv + factor;
    return at;
}

typedef struct {
    /* "generic", "avx2", "avx2vnni", "avx512", "avx512vnni", "amx", "neon" */
    const char *name;
    int vector_floats;

    /* Completes a spec of which h, w, cin, cout, ksize, up, bf16, fixed16, direction and tap_floats
     * are set. Clears `up`, `bf16` and `fixed16` where it will not do that; of bf16 and fixed16 it
     * does at most one. Where `up` stays, the algorithm is SUMI_CONV_UPSAMPLED or its like of
     * 16-bit integers. Else force is an algorithm to use where it can do the shape, or -1 for the
     * table's choice; SUMI_CONV_TILES, forced or chosen, multiplies in bf16, never up. */
    void (*conv_plan)(sumi_conv_spec *spec, int force);
    /* Packs weights, kept as [kh][kw][in][out] (the layer's in and out), for spec's algorithm and
     * direction; dgrad packs them flipped and transposed. scale ([layer's out], or NULL) multiplies
     * each output channel. Piece i of pieces does its share, so that threads can split the work. */
    void (*conv_pack)(const sumi_conv_spec *spec, const float *weights, const float *scale,
                      float *packed, int piece, int pieces);
    void (*conv_tile)(const sumi_conv *conv, const sumi_tile *tile, float *scratch);
    /* partial (+)= the piece; pieces of other channels write elsewhere in the same partial. */
    void (*wgrad_piece)(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece, float *partial,
                        float *scratch);
    /* dw [kh][kw][cin][cout] = the sum of `count` partials in their order. Piece as above. */
    void (*wgrad_finish)(const sumi_conv_spec *spec, const float *partials, int count, float *dw,
                         int piece, int pieces);

    void (*fill)(const sumi_source *sources, int count, int h, int w, const sumi_strip *strip);
    void (*store)(const sumi_sink *sinks, int count, int h, int w, const sumi_block *block);

    /* What follows works on rows y0 .. y0+rows-1 of image n, and writes them, or what becomes of
     * them, through sink as one band: number y0 / (rows of a band) of `bands`, all of them of equal
     * height but the last. h and w are the source's (for gradients: of the source forward), and
     * even where they are halved. sumi_rows_scratch_of says how much scratch each takes. */

    /* Max pool 2x2 of rows y0 .. of the pooled image n to dst [n][h/2][w/2][c]. */
    void (*pool)(const sumi_source *source, const sumi_sink *sink, int h, int w, int n, int y0,
                 int rows, int bands, float *scratch);
    /* Its gradient: rows y0.. of the pooled image n; dy [n][h/2][w/2][c] in gradient form. Each
     * value goes to the first row-major maximum of its 2x2, the other three get 0; the 2 * rows
     * finished rows go through sink. */
    void (*pool_backward)(const sumi_source *source, const sumi_source *dy, const sumi_sink *sink,
                          int h, int w, int n, int y0, int rows, int bands, float *scratch);

    /* Bilinear x2, align_corners: rows y0 .. y0+rows-1 of the large image n to dst [n][2h][2w][c].
     */
    void (*upsample)(const sumi_source *source, const sumi_sink *sink, int h, int w, int n, int y0,
                     int rows, int bands, float *scratch);
    /* Its gradient, gathered: rows y0.. of the small image n from dy [n][2h][2w][c] through sink.
     */
    void (*upsample_backward)(const sumi_source *dy, const sumi_sink *sink, int h, int w, int n,
                              int y0, int rows, int bands, float *scratch);

    /* Rows y0.. of the small image n, sink [n][h/2][w/2][c], of a source of h x w. */
    void (*shrink)(sumi_window window, const sumi_source *source, const sumi_sink *sink, int h,
                   int w, int n, int y0, int rows, int bands, float *scratch);
    /* The transpose: rows y0.. of the large image n, sink [n][2h][2w][c], of a source of h x w. */
    void (*grow)(sumi_window window, const sumi_source *source, const sumi_sink *sink, int h, int w,
                 int n, int y0, int rows, int bands, float *scratch);

    /* A source of h x w in the middle of images of to_h x to_w, which may be larger or smaller (by
     * an odd number: one more at the end): rows y0.. of image n, sink [n][to_h][to_w][c]. */
    void (*reframe)(sumi_frame frame, const sumi_source *source, const sumi_sink *sink, int h,
                    int w, int to_h, int to_w, int n, int y0, int rows, int bands, float *scratch);

    /* Adds up `count` sources (at least one) of equal c, each in forward or gradient form, in their
     * order: rows y0.. of image n. */
    void (*sum_sources)(const sumi_source *sources, int count, const sumi_sink *sink, int h, int w,
                        int n, int y0, int rows, int bands, float *scratch);

    /* dst [c]: the means over the pixels of image n. */
    void (*spatial_mean)(const sumi_source *source, int h, int w, int n, float *dst,
                         float *scratch);
    /* Its gradient: rows y0.. of image n, of which each pixel is dy / (h * w); dy has one pixel an
     * image. */
    void (*spatial_mean_backward)(const sumi_source *dy, const sumi_sink *sink, int h, int w, int n,
                                  int y0, int rows, int bands, float *scratch);

    /* One head of image n: its channels of the sink [n][h][w][c], in one band; of the gradient,
     * those of its queries, keys and values. dy is in gradient form. */
    void (*attention)(const sumi_attention *attention, const sumi_sink *sink, int n, int head,
                      float *scratch);
    void (*attention_backward)(const sumi_attention *attention, const sumi_source *dy,
                               const sumi_sink *sink, int n, int head, float *scratch);

    /* Adds to db [c] the sum over `pixels` pixels of rows of c floats. */
    void (*column_sum)(const float *x, size_t pixels, int c, double *db);

    void (*adam)(const sumi_adam *adam, float *w, const float *g, float *m, float *v, size_t count);
    /* ema += (1 - decay) * (w - ema) */
    void (*ema)(float *ema, const float *w, double decay, size_t count);
    /* out = a * x + b * y */
    void (*axpby)(float a, const float *x, float b, const float *y, float *out, size_t count);
    /* dy = factor * (y - target); returns the sum of (y - target)^2 */
    double (*squared_error)(const float *y, const float *target, float factor, float *dy,
                            size_t count);
    /* Softmax cross entropy of one image: returns -sum of q * log(p), with p the softmax of its
     * logits and q = (1 - smoothing) at the label plus smoothing / classes everywhere; dlogits =
     * factor * (p - q). Label -1: there is none, both are 0. */
    double (*cross_entropy)(const float *logits, int classes, int label, float smoothing,
                            float factor, float *dlogits);
    void (*product)(const sumi_product *product);
    /* Each number rounded to the nearest bfloat16, kept as a float; out may be x. */
    void (*round_bf16)(const float *x, float *out, size_t count);
    /* True where every number is finite. */
    bool (*all_finite)(const float *x, size_t count);
    /* Independent multiply-adds in registers, rounds times; returns how many floating-point
     * operations that was. sink receives one float, so that nothing is optimised away. */
    double (*burn)(int64_t rounds, float factor, float *sink);
} sumi_kernels;

/* The table that is best on this CPU, or the one that `name` asks for, which may be any that the
 * CPU can run; NULL where there is no such table or the CPU lacks it. name may be NULL. */
const sumi_kernels *sumi_kernels_pick(const char *name);
/* Table number i of those that this CPU can run (0: the best), NULL past the end: for tests. */
const sumi_kernels *sumi_kernels_list(int i);
/* True where the tables of these names give the same bits to a network whose plans ask for bf16 and
 * fixed16 as sumi_conv_spec has them; what is not known by name is like itself alone. */
bool sumi_kernels_same_bits(const char *a, const char *b, bool bf16, bool fixed16);

#endif
