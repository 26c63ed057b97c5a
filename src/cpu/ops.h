/*
 * What an operation is to this backend: functions, in one file each (op_*.c), found by its kind.
 * What everybody may know of a kind is in graph/kinds.c.
 */
#ifndef SUMI_OPS_H
#define SUMI_OPS_H

#include "cpu/network.h"

typedef struct {
    /* Fills in the node's part of the plan: convolution specs, bands, workspace sizes. NULL: there
     * is nothing to plan. */
    void (*plan)(sumi_network *net, int node);
    void (*forward)(const sumi_run *run, int node);
    /* Reads the gradient of its output, writes (or adds to) those of its inputs and parameters.
     * NULL: nothing flows back. */
    void (*backward)(const sumi_run *run, int node);
    /* For the printed plan: which algorithm runs, in at most size bytes. NULL: nothing to say. */
    void (*describe)(const sumi_network *net, int node, char *out, size_t size);
} sumi_op;

const sumi_op *sumi_op_of(sumi_kind kind);
const sumi_op *sumi_node_op(const sumi_network *net, int node);

/* The rows of sumi_op_of. */
extern const sumi_op sumi_op_sinusoid, sumi_op_fourier, sumi_op_embedding, sumi_op_condition,
    sumi_op_conv, sumi_op_linear, sumi_op_norm, sumi_op_add, sumi_op_max_pool, sumi_op_avg_pool,
    sumi_op_subsample, sumi_op_upsample, sumi_op_nearest, sumi_op_mean, sumi_op_attention,
    sumi_op_pad, sumi_op_crop, sumi_op_mse, sumi_op_cross_entropy;

/* ---- Normalisation (op_norm.c) --------------------------------------------------------------- */

/* gamma / sqrt(variance + eps), what batch normalisation multiplies a channel with; eps is 1e-5. */
double sumi_norm_scale(double gamma, double variance);
/* The rows of floats that a norm's plan keeps: what is pending on its input, its mean, and what is
 * pending on the gradient. */
typedef struct {
    float *scale, *shift, *mean, *ga, *gb, *gk;
    size_t stride; /* from image to image; 0: one row for all */
} sumi_norm_rows;
sumi_norm_rows sumi_norm_rows_of(const sumi_network *net, int node);
/* In how many bands the sums of its source i come. */
int sumi_norm_sum_bands(const sumi_network *net, int node, int i);

#endif
