/*
 * What kernels are given by value, and the sizes of their groups: read by the host's compiler and,
 * in front of the kernels, by that of OpenCL C. Members are of 4 bytes each, so that both lay them
 * out alike. Places are counted in floats from the begin of a memory object; SUMI_CL_NOWHERE: none.
 */
#ifndef SUMI_OPENCL_ARGS_H
#define SUMI_OPENCL_ARGS_H

#define SUMI_CL_NOWHERE 0xFFFFFFFFu
#define SUMI_CL_GROUP 256         /* work items of the largest group */
#define SUMI_CL_LOCAL_BYTES 16384 /* that kernels need at most, but attention's */
#define SUMI_CL_LANE 64           /* work items of a group of simple kernels */
#define SUMI_CL_SOURCES 4         /* views of an edge */
#define SUMI_CL_MIX_SOURCES 5
#define SUMI_CL_TILE 64  /* pixels, and channels, of a tile of a convolution */
#define SUMI_CL_DEPTH 16 /* input channels that are multiplied at a time */
#define SUMI_CL_BAND 64  /* pixels behind one pair of moments */

/* A tensor of channels c, and what is pending on it: act(scale r + shift) + post. */
typedef struct {
    unsigned at; /* [n][pixels][c] */
    int c;
    int act;               /* sumi_act */
    unsigned scale, shift; /* [n or 1][row]: or nowhere */
    int row;               /* floats from image to image; 0: all have one */
    unsigned post;         /* [n][post_row], or nowhere */
    int post_row;
} sumi_cl_view;

typedef struct {
    unsigned out, copy, given;
    unsigned source[SUMI_CL_MIX_SOURCES];
    int sources, copies, noise; /* noise: 0 none, 1 made here, 2 given */
    unsigned count;             /* floats of an image */
    unsigned key_low, key_high, step, stream, image_low, image_high;
    float factor[SUMI_CL_MIX_SOURCES + 2]; /* of the sources, divisor, noise ... */
    unsigned factors;                      /* ... or of each image; or nowhere */
} sumi_cl_mix_args;

/* Images of a batch: picks are four words each, as a sumi_pick. */
typedef struct {
    unsigned images, picks, values, out;
    int n, h, w, c;
} sumi_cl_gather_images_args;

typedef struct {
    unsigned x, out, count;
} sumi_cl_flat_args;

enum { SUMI_CL_CHANNELS = 64 };
typedef struct {
    unsigned x, count;
    float low, high;
    int dynamic;   /* the share below decides */
    unsigned rank; /* of the distance that the share names, and how far it is to the next */
    float rest;
    int channels; /* 0: images are told as they are */
    float to, mean[SUMI_CL_CHANNELS], deviation[SUMI_CL_CHANNELS];
} sumi_cl_limit_args;

typedef struct {
    unsigned mask, other, x, count;
} sumi_cl_blend_args;

typedef struct {
    unsigned error, a, b, out, count;
    float absolute, relative;
} sumi_cl_measure_args;

typedef struct {
    unsigned time, table, out; /* table: [dim][3], turns in two parts, and 1 for a sine */
    int n, dim;
} sumi_cl_waves_args;

typedef struct {
    unsigned labels, table, out;
    int n, dim, rows;
} sumi_cl_embedding_args;

typedef struct {
    unsigned out, count;
    unsigned bits;
} sumi_cl_fill_args;

typedef struct {
    sumi_cl_view source[SUMI_CL_SOURCES];
    int sources;
    unsigned out, weight, bias;
    int n, in, units;
} sumi_cl_linear_args;

/* A share of a value's gradient: that of one of its forms, act(scale r + shift), and how it goes
 * back through it: gradient d act' ga + (gb r + gk). */
#define SUMI_CL_TERMS 4
typedef struct {
    unsigned at;
    int act;
    unsigned scale, shift, ga, gb, gk; /* [n or 1][row], or nowhere */
    int row;
} sumi_cl_term_args;

/* What the store of a gradient adds up of it, over each tile's pixels of each image: for the norm
 * behind which it is, d and d (r - mean) (kernels/norms.cl), and itself for a shift. */
typedef struct {
    sumi_cl_term_args term; /* how it becomes d, of r at x */
    unsigned x, mean;
    int mean_row;
    unsigned sums;   /* [tiles][segments][2][c], or nowhere */
    unsigned shifts; /* [tiles][segments][c], or nowhere */
    int segments;    /* images that a tile has pixels of, at most */
} sumi_cl_back_args;

typedef struct {
    sumi_cl_view source[SUMI_CL_SOURCES];
    int sources;
    unsigned out, weight, bias;
    unsigned residual; /* as out, or nowhere: is added */
    unsigned moments;  /* of out, [n][bands][2][cout], or nowhere */
    int n, h, w, cout, ksize;
    int tiles; /* of an image; 0: tiles go on from image to image */
    /* Floats between the weights of two taps, inputs and outputs. Flipped: the last tap first. */
    int tap_floats, in_floats, out_floats, flipped;
    sumi_cl_back_args back;
} sumi_cl_conv_args;

/* The same by Winograd's F(2x2, 3x3): of cells of 2x2 pixels, [down][across] of an image. */
#define SUMI_CL_FREQUENCIES 16
typedef struct {
    sumi_cl_conv_args conv;
    unsigned u, v,
        m; /* [frequency][cin][cout], [frequency][cells][cin], [frequency][cells][cout] */
    int cin, down, across;
    unsigned cells; /* of all images */
} sumi_cl_winograd_args;

/* Gradients of the weights of one source: sums over pieces of all images' pixels. */
typedef struct {
    sumi_cl_view source;
    unsigned dy;
    unsigned out; /* [piece][tap][cin][cout], from the source's first channel on */
    int n, h, w, cin, cout, ksize, pieces;
} sumi_cl_wgrad_args;

/* [pieces][count] numbers are added up, in their order. */
typedef struct {
    unsigned from, out, count;
    int pieces;
} sumi_cl_reduce_args;

/* Sums over rows of x [rows][c]: out [pieces][c]. */
typedef struct {
    unsigned x, out, rows;
    int c, pieces;
} sumi_cl_columns_args;

typedef struct {
    sumi_cl_term_args term[SUMI_CL_TERMS];
    int terms;
    unsigned x, out, count; /* of all images */
    int c, pixels;
    int adds; /* to what is there */
} sumi_cl_terms_args;

/* Sums over bands of pixels of d and of d (r - mean), d the gradient behind a norm. */
typedef struct {
    sumi_cl_term_args term[SUMI_CL_TERMS];
    int terms;
    unsigned x, out; /* [n][bands][2][c] */
    unsigned mean;
    int mean_row, n, c, pixels, bands, adds;
} sumi_cl_sums_args;

typedef struct {
    unsigned dy, out; /* out: [n][row], to which the sums over pixels are added */
    int n, c, pixels, row;
    int bands, segments; /* of dy, as of a norm's sums; bands may be its pixels */
} sumi_cl_post_args;

typedef struct {
    unsigned x, out; /* [n][pixels][c] and [n][bands][2][c] */
    int n, pixels, c, bands;
} sumi_cl_moments_args;

/* Rows of a norm, [n or 1][c], from moments of its sources or from running statistics. */
typedef struct {
    unsigned moments[SUMI_CL_SOURCES];
    int channels[SUMI_CL_SOURCES];
    int sources, n, c, groups, pixels, bands;
    unsigned gamma, beta;    /* among the weights, or nowhere */
    unsigned mean, variance; /* among the statistics */
    unsigned vector;         /* [n][2c]: a and b of a modulation; or nowhere */
    unsigned scale, shift;
    unsigned means, inverses; /* training: [n][c] as well, of groups; or nowhere */
} sumi_cl_rows_args;

/* Statistics over all images, [c], from moments [n][bands][2][c] of one source. */
#define SUMI_CL_STATS_CHANNELS 16 /* of a group, and as many items for each */
typedef struct {
    unsigned moments;
    int n, c, pixels, bands;
    unsigned mean, variance, inverse;
    unsigned bad; /* a word that becomes 1 where one is not finite */
} sumi_cl_stats_args;

/* A norm's gradients: see kernels/norms.cl. */
typedef struct {
    unsigned sums[SUMI_CL_SOURCES];
    int channels[SUMI_CL_SOURCES];
    /* Of each source's sums: 0: [n][bands]; else of tiles that go on from image to image. */
    int segments[SUMI_CL_SOURCES];
    int sources, n, c, groups, pixels, bands;
    unsigned gamma, beta; /* among the weights, or nowhere */
    unsigned vector;      /* [n][2c], or nowhere */
    unsigned added;       /* its gradient, to which is added; or nowhere */
    unsigned mean, inverse;
    int stat_row; /* of mean and inverse: floats from image to image */
    unsigned totals, ga, gb, gk;
    int row;                /* of ga, gb and gk */
    unsigned dgamma, dbeta; /* among the gradients */
} sumi_cl_norm_args;

/* Running statistics move by those of a batch. */
typedef struct {
    unsigned mean, variance, to_mean, to_variance, ledger;
    int c;
    float unbiased;
} sumi_cl_running_args;

typedef struct {
    sumi_cl_view source[2];
    int sources;
    unsigned out, count; /* of all images */
    int pixels;
} sumi_cl_add_args;

/* What becomes of size h x w in size to_h x to_w. */
enum {
    SUMI_CL_MAX,
    SUMI_CL_AVERAGE,
    SUMI_CL_FIRST,
    SUMI_CL_NEAREST,
    SUMI_CL_BILINEAR,
    SUMI_CL_REFRAME
};
typedef struct {
    sumi_cl_view source;
    int how;
    unsigned out, count; /* of all images */
    int h, w, to_h, to_w;
    unsigned dy; /* backward: of the result; out and count are then of the source's gradient */
} sumi_cl_resample_args;

typedef struct {
    sumi_cl_view source;
    unsigned out;
    int n, h, w;
    unsigned dy; /* backward */
} sumi_cl_mean_args;

typedef struct {
    sumi_cl_view source;
    unsigned out;
    int n, pixels, heads, d;
    float factor; /* of a product of query and key */
    /* Backward: of the result and of the source; [n][heads][pixels][3] that it notes. */
    unsigned dy, dx, notes;
} sumi_cl_attention_args;

/* Losses: sums [n] of each image, and the gradient of y. */
typedef struct {
    unsigned y, dy, sums, target, weight; /* weight: or nowhere */
    unsigned labels;                      /* cross entropy */
    int n, count;                         /* floats of an image */
    float factor, smoothing;
} sumi_cl_loss_args;

typedef struct {
    unsigned sums, out; /* out: to which the sum of n, divided, is added */
    int n;
    float divisor;
} sumi_cl_loss_sum_args;

typedef struct {
    unsigned labels, dy, out;
    int n, dim, rows;
} sumi_cl_embedding_back_args;

/* ---- Ledgers --------------------------------------------------------------------------------- */

/* Words of a ledger: 1 + the first step that was bad, or 0; whether a number was found that is not
 * finite; what gradients are multiplied by; then the losses of its steps, their norms, and sums. */
enum { SUMI_CL_LEDGER_BAD, SUMI_CL_LEDGER_FOUND, SUMI_CL_LEDGER_FACTOR, SUMI_CL_LEDGER_LOSSES };

typedef struct {
    unsigned ledger, results; /* results: a network's loss, and 1 where statistics are bad */
    unsigned step, steps;
    float share;
} sumi_cl_take_args;

/* The norm of a step's gradients, of `pieces` sums of squares. */
typedef struct {
    unsigned ledger, step, steps, pieces;
    float most;
} sumi_cl_clip_args;

/* ---- Optimisers: `ledger` is nowhere where there is none ------------------------------------- */

typedef struct {
    unsigned weights, gradients, m, v, ledger, count;
    float keep, rate1, rate2, step, root, eps;
} sumi_cl_adam_args;

/* out = a x + b out. */
typedef struct {
    unsigned x, out, ledger, count;
    float a, b;
} sumi_cl_axpby_args;

/* average += rate (x - average) */
typedef struct {
    unsigned average, x, ledger, count;
    float rate;
} sumi_cl_ema_args;

/* Sums of squares: out [pieces], a piece for each group. */
typedef struct {
    unsigned x, out, count, pieces;
} sumi_cl_squares_args;

/* ---- Matrices of one shape (kernels/matrices.cl) --------------------------------------------- */

/* The first of `table`: offset and stride of each among the weights. */
typedef struct {
    unsigned table, gradients, moments, x, ledger;
    int rows, cols, turned;
    float momentum;
} sumi_cl_gather_args;

/* c = product a b + other d + diagonal 1, of each [rows][cols] with a [rows][depth], or [depth]
 * [rows] where it is turned; d is as c, or nowhere. */
typedef struct {
    unsigned a, b, c, d;
    int rows, cols, depth, turned;
    float product, other, diagonal;
} sumi_cl_product_args;

/* Each of [wide][wide] is divided by its trace; `factors` gets what the result is multiplied by. */
typedef struct {
    unsigned x, factors;
    int wide;
    float factor;
} sumi_cl_trace_args;

typedef struct {
    unsigned table, gradients, x, factors;
    int rows, cols, turned;
} sumi_cl_scatter_args;

#endif
