/*
 * Writing finished output: bias, residual, activation, accumulation, and the statistics that the
 * next operations need (sumi_sink), one pass over the block per group of channels.
 */
#ifndef SUMI_BODY_STORE_H
#define SUMI_BODY_STORE_H

#include "kernels/body_fill.h"

typedef enum { STATS_NONE, STATS_MOMENTS, STATS_SUM, STATS_SUMS } store_stats;

/* A block's share in one sink; pointers are at the block's first pixel, channel 0 of the sink. */
typedef struct {
    const sumi_block *block;
    int shift; /* from a channel of the sink to a channel of the block */
    int w, c;
    float *dst;
    const float *residual, *bias, *mean;
    bool relu, accumulate;
    view stat; /* p is the raw tensor that the sums are about */
    bool stat_relu;
    float *moments, *sums;
} store_job;

/* result + bias + residual, activated: what is written, or accumulated. */
INLINE vf store_value(const store_job *j, const float *src, size_t i, vf bias, bool lane)
{
    vf v = v_get(src, lane) + bias;
    if (j->residual != NULL)
        v += v_get(j->residual + i, lane);
    return j->relu ? v_relu(v) : v;
}

/* Sums of squared differences from the mean, over what the first pass wrote (or would have). */
INLINE void store_spread(const store_job *job, int c, int vectors, bool lane, const vf *bias,
                         const vf *mean)
{
    const store_job j = *job;
    const sumi_block *b = j.block;
    vf spread[STRIP_VECTORS];
    UNROLL
    for (int u = 0; u < vectors; u++)
        spread[u] = v_zero();
    size_t i = (size_t)c;
    for (int y = 0; y < b->rows; y++) {
        const float *src = b->src + (c + j.shift) + (size_t)y * b->row_stride;
        for (int x = 0; x < j.w; x++, i += (size_t)j.c, src += b->pixel_stride) {
            UNROLL
            for (int u = 0; u < vectors; u++) {
                size_t iu = i + (size_t)(u * VW);
                vf v = j.dst != NULL ? v_get(j.dst + iu, lane)
                                     : store_value(&j, src + u * VW, iu, bias[u], lane);
                spread[u] = v_fma(v - mean[u], v - mean[u], spread[u]);
            }
        }
    }
    UNROLL
    for (int u = 0; u < vectors; u++) {
        v_put(j.moments + c + u * VW, mean[u], lane);
        v_put(j.moments + j.c + c + u * VW, spread[u], lane);
    }
}

/* Channels c .. c + vectors * VW - 1, or the one channel c. */
INLINE void store_channels(const store_job *job, store_stats stats, int c, int vectors, bool lane)
{
    const store_job copy = *job, *j = &copy; /* stores to dst cannot alias the copy */
    const sumi_block *b = j->block;
    vf bias[STRIP_VECTORS], origin[STRIP_VECTORS], mean[STRIP_VECTORS];
    vf sum[STRIP_VECTORS], sum_d[STRIP_VECTORS], sum_dr[STRIP_VECTORS];
    view_coefs k[STRIP_VECTORS];
    UNROLL
    for (int u = 0; u < vectors; u++) {
        int cu = c + u * VW;
        size_t i = (size_t)cu;
        bias[u] = coef_get(j->bias, cu, 0.0f, lane);
        sum[u] = sum_d[u] = sum_dr[u] = origin[u] = mean[u] = v_zero();
        if (stats == STATS_MOMENTS) {
            /* Summing differences from the first pixel keeps the mean exact far from 0. */
            origin[u] = store_value(j, b->src + (cu + j->shift), i, bias[u], lane);
            if (j->accumulate)
                origin[u] += v_get(j->dst + i, lane);
        }
        if (stats == STATS_SUMS) {
            k[u] = view_coefs_get(&j->stat, FORM_AFFINE, cu, lane);
            mean[u] = coef_get(j->mean, cu, 0.0f, lane);
        }
    }
    size_t i = (size_t)c;
    for (int y = 0; y < b->rows; y++) {
        const float *src = b->src + (c + j->shift) + (size_t)y * b->row_stride;
        for (int x = 0; x < j->w; x++, i += (size_t)j->c, src += b->pixel_stride) {
            UNROLL
            for (int u = 0; u < vectors; u++) {
                size_t iu = i + (size_t)(u * VW);
                vf v = store_value(j, src + u * VW, iu, bias[u], lane);
                if (stats == STATS_SUM || stats == STATS_SUMS)
                    sum[u] += v;
                if (j->accumulate)
                    v += v_get(j->dst + iu, lane);
                if (j->dst != NULL)
                    v_put(j->dst + iu, v, lane);
                if (stats == STATS_MOMENTS)
                    sum[u] += v - origin[u];
                if (stats == STATS_SUMS) {
                    vf r = v_get(j->stat.p + iu, lane);
                    if (j->stat_relu)
                        v = v_keep(v_fma(k[u].scale, r, k[u].shift) > v_zero(), v);
                    sum_d[u] += v;
                    sum_dr[u] = v_fma(v, r - mean[u], sum_dr[u]);
                }
            }
        }
    }
    vf share = v_splat(1.0f / (float)(b->rows * j->w));
    UNROLL
    for (int u = 0; u < vectors; u++) {
        int cu = c + u * VW;
        if (stats == STATS_MOMENTS)
            mean[u] = v_fma(sum[u], share, origin[u]);
        if (stats == STATS_SUM || stats == STATS_SUMS)
            v_put(j->sums + cu, sum[u], lane);
        if (stats == STATS_SUMS) {
            v_put(j->sums + j->c + cu, sum_d[u], lane);
            v_put(j->sums + 2 * j->c + cu, sum_dr[u], lane);
        }
    }
    if (stats == STATS_MOMENTS)
        store_spread(j, c, vectors, lane, bias, mean);
}

INLINE void store_range(const store_job *j, store_stats stats, int c, int c1)
{
    for (; c + STRIP_VECTORS * VW <= c1; c += STRIP_VECTORS * VW)
        store_channels(j, stats, c, STRIP_VECTORS, false);
    for (; c + 2 * VW <= c1; c += 2 * VW)
        store_channels(j, stats, c, 2, false);
    for (; c + VW <= c1; c += VW)
        store_channels(j, stats, c, 1, false);
    for (; c < c1; c++)
        store_channels(j, stats, c, 1, true);
}

static void store_sink(const sumi_sink *sink, int h, int w, const sumi_block *b, int first)
{
    int c = max_int(b->k0 - first, 0);
    int c1 = min_int(b->k0 + b->kn - first, sink->c);
    if (c >= c1)
        return;
    size_t image = (size_t)h * (size_t)w * (size_t)sink->c;
    size_t at = (size_t)b->n * image + (size_t)b->y0 * (size_t)w * (size_t)sink->c;
    size_t slot = (size_t)b->n * (size_t)b->bands + (size_t)b->band;
    store_job j = {
        .block = b,
        .shift = first - b->k0,
        .w = w,
        .c = sink->c,
        .dst = sink->dst != NULL ? sink->dst + at : NULL,
        .residual = sink->residual != NULL ? sink->residual + at : NULL,
        .bias = sink->bias,
        .relu = sink->act == SUMI_ACT_RELU,
        .accumulate = sink->accumulate && sink->dst != NULL,
    };
    if (sink->moments != NULL)
        j.moments = sink->moments + slot * 2 * (size_t)sink->c;
    if (sink->sums != NULL)
        j.sums = sink->sums + slot * 3 * (size_t)sink->c;
    if (sink->sums != NULL && sink->stat != NULL) {
        j.stat = (view){.c = sink->c,
                        .p = sink->stat->r + at,
                        .scale = row_of(sink->stat->scale, b->n, sink->stat->coef_stride),
                        .shift = row_of(sink->stat->shift, b->n, sink->stat->coef_stride)};
        j.stat_relu = sink->stat->act == SUMI_ACT_RELU;
        j.mean = row_of(sink->mean, b->n, sink->stat->coef_stride);
        store_range(&j, STATS_SUMS, c, c1);
    } else if (sink->sums != NULL) {
        store_range(&j, STATS_SUM, c, c1);
    } else if (sink->moments != NULL) {
        store_range(&j, STATS_MOMENTS, c, c1);
    } else {
        store_range(&j, STATS_NONE, c, c1);
    }
}

static void body_store(const sumi_sink *sinks, int count, int h, int w, const sumi_block *block)
{
    for (int s = 0, first = 0; s < count; first += sinks[s++].c)
        store_sink(&sinks[s], h, w, block, first);
}

#endif
