/*
 * Sampling by several ranks: each draws a batch at a time, and rank 0 collects them in the order of
 * their images (share.c). Alone, all of this is nothing.
 */
#ifndef SUMI_SAMPLE_SHARE_H
#define SUMI_SAMPLE_SHARE_H

#include "sample/sample.h"

typedef struct {
    const sumi_ranks *ranks; /* NULL: the call is not shared */
    size_t image_floats;
    int *taken;     /* [batch]: evaluations of this rank's images */
    float *all;     /* rank 0: a batch of each rank, and ... */
    int *all_taken; /* ... their evaluations */
    size_t *out_bytes, *in_bytes;
} sumi_share;

/* The ranks that share a call, or NULL. */
const sumi_ranks *sumi_share_of(const sumi_runtime *runtime, const sumi_sample_config *config);
/* Refuses ranks with another program, model or settings than rank 0; all call it, each with its
 * status so far. */
sumi_status sumi_share_agree(const sumi_runtime *runtime, const sumi_model *model,
                             const sumi_sample_config *config, sumi_status status, sumi_error *err);
/* How many images a rank draws at a time: `batch`, or fewer so that all ranks have some. */
int sumi_share_batch(const sumi_share *share, int batch, int count, size_t image_floats);
/* Room for what is collected. Released by end in either case. */
sumi_status sumi_share_begin(sumi_share *share, int batch, size_t image_floats, sumi_error *err);
void sumi_share_end(sumi_share *share);

int sumi_share_ranks(const sumi_share *share);
bool sumi_share_leads(const sumi_share *share);
/* Of the `left` images that are not drawn yet: how many are drawn next by all ranks, and by this
 * one, whose first is number *first of those. */
int sumi_share_images(const sumi_share *share, int64_t left, int batch);
int sumi_share_mine(const sumi_share *share, int64_t left, int batch, int64_t *first);
/* All ranks' batches. Returns on rank 0 where they are: in out, where that is not NULL. taken:
 * NULL, or receives their evaluations. */
float *sumi_share_collect(sumi_share *share, int64_t left, int batch, const float *mine, float *out,
                          int *taken);

#endif
