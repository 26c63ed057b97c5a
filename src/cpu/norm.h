/*
 * What the files of normalisation share.
 */
#ifndef SUMI_NORM_H
#define SUMI_NORM_H

#include "cpu/ops.h"

typedef struct {
    bool grouped;                    /* statistics of an image's groups, not of all images */
    bool per_image;                  /* rows for each image: grouped, or modulated */
    bool collects[SUMI_SOURCES_MAX]; /* moments of that source, in a pass of its own */
    /* [1 or n][c] */
    sumi_place scale, shift, mean, ga, gb, gk;
    sumi_place inverse; /* per image: 1 / sqrt(variance + eps) */
    sumi_place totals;  /* per image, in double: [n][2][c], sums of d and of d (r - mean) */
    /* grouped: [n][c], how far a channel's mean is from its group's, and the sum over an image of
     * the gradient at the norm's input */
    sumi_place offset, sums;
    sumi_place variance;   /* batch statistics: [c] */
    sumi_place batch_mean; /* per image, of batch statistics: [c] */
    double count;          /* pixels of all images that the last run took the statistics of */
} sumi_norm_plan;

static inline sumi_norm_plan *sumi_norm_plan_of(const sumi_network *net, int node)
{
    return net->nodes[node].own;
}

/* Where the sums of the norm's source i are, one for each form in which it is read; returns how
 * many. Their total is what the norm's parameters and the source's gradient depend on. */
int sumi_norm_sums(const sumi_network *net, int node, int i,
                   const sumi_source_plan *out[SUMI_FORMS_MAX]);

/* norm_rows.c: what differs from image to image. */
void sumi_norm_rows_forward(const sumi_run *run, int node);
void sumi_norm_rows_backward(const sumi_run *run, int node);

#endif
