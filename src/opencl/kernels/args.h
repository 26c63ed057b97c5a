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
    float factor[SUMI_CL_MIX_SOURCES + 2]; /* of the sources, divisor, noise */
} sumi_cl_mix_args;

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

typedef struct {
    sumi_cl_view source[SUMI_CL_SOURCES];
    int sources;
    unsigned out, weight, bias;
    unsigned residual; /* as out, or nowhere: is added */
    unsigned moments;  /* of out, [n][bands][2][cout], or nowhere */
    int n, h, w, cin, cout, ksize;
    int tiles; /* of an image; 0: tiles go on from image to image */
} sumi_cl_conv_args;

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
} sumi_cl_rows_args;

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
} sumi_cl_resample_args;

typedef struct {
    sumi_cl_view source;
    unsigned out;
    int n, h, w;
} sumi_cl_mean_args;

typedef struct {
    sumi_cl_view source;
    unsigned out;
    int n, pixels, heads, d;
    float factor; /* of a product of query and key */
} sumi_cl_attention_args;

#endif
