/*
 * What an operation is to the rest of the graph layer: one struct of functions, one file each
 * (op_*.c). Shapes are settled by the builder (graph.c); here an op says what memory it wants and
 * how it runs.
 */
#ifndef SUMI_OPS_H
#define SUMI_OPS_H

#include "graph/graph.h"
#include "graph/network.h"

struct sumi_op {
    const char *name;
    /* Fills in the node's part of the plan: convolution specs, bands, workspace sizes. */
    void (*plan)(sumi_network *net, int node);
    void (*forward)(sumi_network *net, int node);
    /* Reads the gradient of its output, writes (or adds to) those of its inputs and parameters. */
    void (*backward)(sumi_network *net, int node);
    /* Multiply-adds of one image's forward pass; NULL: none. */
    double (*cost)(const sumi_network *net, int node);
};

extern const sumi_op sumi_op_conv, sumi_op_linear, sumi_op_norm, sumi_op_max_pool, sumi_op_upsample,
    sumi_op_time;

/* gamma / sqrt(variance + eps), what batch normalisation multiplies a channel with; eps is 1e-5. */
double sumi_norm_scale(double gamma, double variance);

#endif
