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
    void *dst;            /* these two, and the raw tensor in stat.p that the sums are about, are */
    const void *residual; /* float32 or bfloat16, as the constant bf16 says */
    const float *bias, *mean;
    bool relu, accumulate;
    view stat;
    bool stat_relu;
    bool silu;                    /* looked at where the constant `silu` is set */
    bool stat_silu, through_silu; /* of store_slopes */
    float *moments, *sums;
} store_job;

/* result + bias + residual, activated: what is written, or accumulated. */
INLINE vf store_value(const store_job *j, bool bf16, bool silu, const float *src, size_t i, vf bias,
                      bool lane)
{
    vf v = v_get(src, lane) + bias;
    if (j->residual != NULL)
        v += v_get_as(bf16, j->residual, i, lane);
    if (silu && j->silu)
        return v_silu(v);
    return j->relu ? v_relu(v) : v;
}

/* Writes v, and returns it as it is in memory. */
INLINE vf store_put(const store_job *j, bool bf16, size_t i, vf v, bool lane)
{
    v = v_stored(bf16, v);
    if (j->dst != NULL)
        v_put_as(bf16, j->dst, i, v, lane);
    return v;
}

/* What a row later is read and written (see fill_ahead). */
INLINE void store_ahead(const store_job *j, store_stats stats, bool bf16, int vectors, size_t i)
{
    const int line = tensor_line(bf16);
    i += (size_t)j->w * (size_t)j->c;
    for (int e = 0; e < vectors * VW; e += line, i += (size_t)line) {
        if (j->dst != NULL)
            tensor_fetch_to_write(j->dst, i, bf16);
        if (j->residual != NULL)
            tensor_fetch(j->residual, i, bf16);
        if (stats == STATS_SUMS)
            tensor_fetch(j->stat.p, i, bf16);
    }
}

/* Sums of squared differences from the mean, over what the first pass wrote (or would have). */
INLINE void store_spread(const store_job *job, bool bf16, bool silu, int c, int vectors, bool lane,
                         const vf *bias, const vf *mean)
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
                vf v = j.dst != NULL ? v_get_as(bf16, j.dst, iu, lane)
                                     : v_stored(bf16, store_value(&j, bf16, silu, src + u * VW, iu,
                                                                  bias[u], lane));
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
INLINE void store_channels(const store_job *job, store_stats stats, bool bf16, bool silu, int c,
                           int vectors, bool lane)
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
            origin[u] = store_value(j, bf16, silu, b->src + (cu + j->shift), i, bias[u], lane);
            if (j->accumulate)
                origin[u] += v_get_as(bf16, j->dst, i, lane);
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
            store_ahead(j, stats, bf16, vectors, i);
            UNROLL
            for (int u = 0; u < vectors; u++) {
                size_t iu = i + (size_t)(u * VW);
                vf v = store_value(j, bf16, silu, src + u * VW, iu, bias[u], lane);
                if (stats == STATS_SUM || stats == STATS_SUMS)
                    sum[u] += v;
                if (j->accumulate)
                    v += v_get_as(bf16, j->dst, iu, lane);
                v = store_put(j, bf16, iu, v, lane);
                if (stats == STATS_MOMENTS)
                    sum[u] += v - origin[u];
                if (stats == STATS_SUMS) {
                    vf r = v_get_as(bf16, j->stat.p, iu, lane);
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
        store_spread(j, bf16, silu, c, vectors, lane, bias, mean);
}

INLINE void store_range(const store_job *j, store_stats stats, bool bf16, int c, int c1)
{
    for (; c + STRIP_VECTORS * VW <= c1; c += STRIP_VECTORS * VW)
        store_channels(j, stats, bf16, false, c, STRIP_VECTORS, false);
    for (; c + 2 * VW <= c1; c += 2 * VW)
        store_channels(j, stats, bf16, false, c, 2, false);
    for (; c + VW <= c1; c += VW)
        store_channels(j, stats, bf16, false, c, 1, false);
    for (; c < c1; c++)
        store_channels(j, stats, bf16, false, c, 1, true);
}

INLINE void store_stats_range(const store_job *j, store_stats stats, bool bf16, int c, int c1)
{
    if (stats == STATS_SUMS)
        store_range(j, STATS_SUMS, bf16, c, c1);
    else if (stats == STATS_SUM)
        store_range(j, STATS_SUM, bf16, c, c1);
    else if (stats == STATS_MOMENTS)
        store_range(j, STATS_MOMENTS, bf16, c, c1);
    else
        store_range(j, STATS_NONE, bf16, c, c1);
}

INLINE void store_silu_range(const store_job *j, store_stats stats, bool bf16, int c, int c1)
{
    for (; c + VW <= c1; c += VW)
        store_channels(j, stats, bf16, true, c, 1, false);
    for (; c < c1; c++)
        store_channels(j, stats, bf16, true, c, 1, true);
}

/* The sums of a gradient behind SiLU, of one vector of channels (or one channel). */
typedef struct {
    vf bias, mean, sum, sum_d, sum_dr;
    view_coefs k;
} slope_sums;

/* `count` pixels, the first at src and i: their exponentials are taken together, and the sums are
 * taken pixel by pixel. */
INLINE void store_slopes_of(const store_job *j, bool bf16, int count, bool lane, const float *src,
                            size_t i, slope_sums *s)
{
    vf v[SILU_MOST], r[SILU_MOST], slope[SILU_MOST];
    UNROLL
    for (int p = 0; p < count; p++) {
        size_t at = i + (size_t)p * (size_t)j->c;
        r[p] = v_get_as(bf16, j->stat.p, at, lane);
        slope[p] = v_fma(s->k.scale, r[p], s->k.shift);
    }
    v_silu_slopes(count, slope);
    UNROLL
    for (int p = 0; p < count; p++) {
        size_t at = i + (size_t)p * (size_t)j->c;
        v[p] = store_value(j, bf16, false, src + (size_t)p * j->block->pixel_stride, at, s->bias,
                           lane);
        s->sum += v[p];
        if (j->accumulate)
            v[p] += v_get_as(bf16, j->dst, at, lane);
        if (!j->through_silu)
            v[p] = store_put(j, bf16, at, v[p], lane);
        v[p] *= slope[p];
        if (j->through_silu)
            v[p] = store_put(j, bf16, at, v[p], lane);
        s->sum_d += v[p];
        s->sum_dr = v_fma(v[p], r[p] - s->mean, s->sum_dr);
    }
}

/* Channels c .. c + VW - 1, or the one channel c. */
INLINE void store_slopes(const store_job *job, bool bf16, int c, bool lane)
{
    const store_job copy = *job, *j = &copy; /* stores to dst cannot alias the copy */
    const sumi_block *b = j->block;
    slope_sums s = {.bias = coef_get(j->bias, c, 0.0f, lane),
                    .mean = coef_get(j->mean, c, 0.0f, lane),
                    .k = view_coefs_get(&j->stat, FORM_AFFINE, c, lane)};
    size_t i = (size_t)c;
    for (int y = 0; y < b->rows; y++) {
        const float *src = b->src + (c + j->shift) + (size_t)y * b->row_stride;
        int x = 0;
        for (; x + SILU_MOST <= j->w; x += SILU_MOST) {
            for (int p = 0; p < SILU_MOST; p++)
                store_ahead(j, STATS_SUMS, bf16, 1, i + (size_t)(p * j->c));
            store_slopes_of(j, bf16, SILU_MOST, lane, src, i, &s);
            i += SILU_MOST * (size_t)j->c;
            src += SILU_MOST * b->pixel_stride;
        }
        for (; x < j->w; x++, i += (size_t)j->c, src += b->pixel_stride)
            store_slopes_of(j, bf16, 1, lane, src, i, &s);
    }
    v_put(j->sums + c, s.sum, lane);
    v_put(j->sums + j->c + c, s.sum_d, lane);
    v_put(j->sums + 2 * j->c + c, s.sum_dr, lane);
}

INLINE void store_slopes_range(const store_job *j, bool bf16, int c, int c1)
{
    for (; c + VW <= c1; c += VW)
        store_slopes(j, bf16, c, false);
    for (; c < c1; c++)
        store_slopes(j, bf16, c, true);
}

/* Apart from the others, which keep their code. */
static __attribute__((noinline)) void store_silu(store_job j, store_stats stats, bool bf16, int c,
                                                 int c1)
{
    if (j.stat_silu && bf16)
        store_slopes_range(&j, true, c, c1);
    else if (j.stat_silu)
        store_slopes_range(&j, false, c, c1);
    else if (stats == STATS_MOMENTS)
        store_silu_range(&j, STATS_MOMENTS, bf16, c, c1);
    else /* an activation is a forward pass's, sums are a backward pass's */
        store_silu_range(&j, STATS_NONE, bf16, c, c1);
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
        .residual = sink->residual != NULL ? tensor_at(sink->residual, at, sink->bf16) : NULL,
        .bias = sink->bias,
        .relu = sink->act == SUMI_ACT_RELU,
        .silu = sink->act == SUMI_ACT_SILU,
        .accumulate = sink->accumulate && sink->dst != NULL,
    };
    store_stats stats = STATS_NONE;
    if (sink->dst != NULL)
        j.dst = tensor_begin(sink->dst, at, sink->bf16);
    if (sink->moments != NULL) {
        j.moments = sink->moments + slot * 2 * (size_t)sink->c;
        stats = STATS_MOMENTS;
    }
    if (sink->sums != NULL) {
        j.sums = sink->sums + slot * 3 * (size_t)sink->c;
        stats = sink->stat != NULL ? STATS_SUMS : STATS_SUM;
    }
    if (stats == STATS_SUMS) {
        j.stat = (view){.c = sink->c,
                        .p = tensor_at(sink->stat->r, at, sink->bf16),
                        .scale = row_of(sink->stat->scale, b->n, sink->stat->coef_stride),
                        .shift = row_of(sink->stat->shift, b->n, sink->stat->coef_stride)};
        j.stat_relu = sink->stat->act == SUMI_ACT_RELU;
        j.stat_silu = sink->stat->act == SUMI_ACT_SILU;
        j.through_silu = sink->through_silu && j.stat_silu;
        j.mean = row_of(sink->mean, b->n, sink->stat->coef_stride);
    }
    if (j.silu || j.stat_silu)
        store_silu(j, stats, sink->bf16, c, c1);
    else if (sink->bf16)
        store_stats_range(&j, stats, true, c, c1);
    else
        store_stats_range(&j, stats, false, c, c1);
}

static void body_store(const sumi_sink *sinks, int count, int h, int w, const sumi_block *block)
{
    for (int s = 0, first = 0; s < count; first += sinks[s++].c)
        store_sink(&sinks[s], h, w, block, first);
}

/* The finished output channels k0 .. k0+kn-1 of a convolution's tile, of its image number `image`.
 */
INLINE void store_tile(const sumi_conv *conv, const sumi_tile *tile, int image, int k0, int kn,
                       const float *src, size_t row_stride, size_t pixel_stride)
{
    const sumi_conv_spec *s = conv->spec;
    int shrink = s->up && s->direction == SUMI_CONV_DGRAD ? 2 : 1; /* to the layer's small input */
    sumi_block block = {.n = tile->n0 + image,
                        .band = tile->band,
                        .bands = s->bands,
                        .y0 = tile->y0,
                        .rows = tile->rows,
                        .k0 = k0,
                        .kn = kn,
                        .src = src,
                        .row_stride = row_stride,
                        .pixel_stride = pixel_stride};
    body_store(conv->sinks, conv->sink_count, s->h / shrink, s->w / shrink, &block);
}

#endif
