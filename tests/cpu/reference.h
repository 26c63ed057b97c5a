/*
 * A graph computed in double, one number after the other: what the library's results are compared
 * with. It knows the graph's description and nothing of plans or kernels.
 */
#ifndef SUMI_TEST_REFERENCE_H
#define SUMI_TEST_REFERENCE_H

#include "graph/backend.h"

/* What rounding does, imitated: numbers are moved at random by up to `relative` of their own size,
 * those of images that a network may keep as bfloat16, and by up to `spread` of the root of the
 * mean square of their tensor, all of them. A difference to the undisturbed run tells how far
 * errors of that size are carried in this graph. */
typedef struct {
    double relative, spread;
    uint64_t seed;
} reference_noise;

typedef struct {
    const sumi_graph *graph;
    bool training; /* batch statistics, losses and gradients; else running statistics */
    int n, h, w;
    sumi_inputs in;
    double *params;  /* as graph->params.values */
    double *dparams; /* their gradients, or NULL: no reverse pass */
    reference_noise noise;
    double loss;
    double kink;              /* how near a ReLU came to 0, or a maximum to a tie */
    double **values;          /* raw tensors */
    double **grads;           /* of them */
    double **mean, **inverse; /* of norms: [n][c] */
    double **dnorm;           /* of norms: gradients at their outputs, [n][pixels][c] */
} reference;

/* params are copied from the graph. */
void reference_open(reference *r, const sumi_graph *graph, int n, int h, int w, bool training);
void reference_close(reference *r);
/* Forward, and the reverse where dparams is not NULL. */
void reference_run(reference *r);
/* How many numbers a value has. */
size_t reference_count(const reference *r, int value);

#endif
