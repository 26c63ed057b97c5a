/*
 * Attention (Vaswani et al. 2017) between the pixels of an image: for each head, with Q, K and V
 * the d channels of each pixel that are its own,
 *     P = softmax(Q K^T / sqrt(d)) by rows,   O = P V,
 * and of the gradient dO, with P made anew (one product of six; kept, it would have pixels squared)
 *     dV = P^T dO,   dP = dO V^T,   dS = P (dP - rowsum(P dP)) / sqrt(d),
 *     dQ = dS K,   dK = dS^T Q.
 *
 * Q, K, V and dO lie in panels of NR channels, [panel][pixel][NR], zero past d: they are the left
 * factors of some products, and the right ones of others. What is multiplied by its transpose is
 * packed a second time, [panel of NR pixels][channel][NR]. Rows of P are made for some queries at a
 * time. A sum is taken in the order of the pixels or channels.
 */
#ifndef SUMI_BODY_ATTENTION_H
#define SUMI_BODY_ATTENTION_H

#include "kernels/body_gemm.h"

typedef struct {
    int pixels, d;
    size_t panels;    /* of d channels */
    size_t wide, row; /* floats in a row of results, and in a row of P */
    sumi_attention_scratch at;
    float scale;
} attention_sizes;

INLINE attention_sizes attention_sizes_of(const sumi_attention *a)
{
    int d = a->source->c / (3 * a->heads), pixels = a->h * a->w;
    return (attention_sizes){.pixels = pixels,
                             .d = d,
                             .panels = (size_t)((d + NR - 1) / NR),
                             .wide = round_up((size_t)d, NR),
                             .row = round_up((size_t)pixels, NR),
                             .at = sumi_attention_scratch_of(pixels, d, VW),
                             .scale = (float)(1.0 / sqrt((double)d))};
}

/* Channels c0 .. c0+d-1 of a view as panels. */
static void attention_fill(const attention_sizes *s, const view *v, int c0, float *dst)
{
    size_t panel = (size_t)s->pixels * NR;
    if (s->wide > (size_t)s->d)
        memset(dst + (s->panels - 1) * panel, 0, panel * sizeof(float));
    for (int c = 0; c < s->d; c += NR, dst += panel)
        fill_run(v, c0 + c, c0 + min_int(c + NR, s->d), 0, s->pixels, dst, NR);
}

/* The transpose of panels, in panels of NR pixels, zero past the last pixel. */
static void attention_transpose(const attention_sizes *s, const float *src, float *dst)
{
    for (int first = 0; first < s->pixels; first += NR) {
        int count = min_int(s->pixels - first, NR);
        for (size_t c = 0; c < s->wide; c++, dst += NR) {
            const float *from = src + (c / NR * (size_t)s->pixels + (size_t)first) * NR + c % NR;
            for (int j = 0; j < count; j++)
                dst[j] = from[(size_t)j * NR];
            for (int j = count; j < NR; j++)
                dst[j] = 0.0f;
        }
    }
}

/* c [rows][row of P] = the queries (or gradients) from `first` on times what was transposed. */
static void attention_scores(const attention_sizes *s, int first, int rows, const float *panels,
                             const float *transposed, float *c)
{
    const gemm_product product = {
        .lda = NR, .ldc = s->row, .runs = s->panels, .run = NR, .between = (size_t)s->pixels * NR};
    for (size_t j = 0; j < s->row; j += NR)
        gemm_panel(&product, rows, panels + (size_t)first * NR, transposed + j * s->wide, c + j);
}

/* c [rows][wide] = rows of P (or dS) times all pixels' channels. */
static void attention_mix(const attention_sizes *s, int rows, const float *p, const float *panels,
                          float *c)
{
    const gemm_product product = {
        .lda = s->row, .ldc = s->wide, .runs = 1, .run = (size_t)s->pixels};
    for (size_t k = 0; k < s->panels; k++)
        gemm_panel(&product, rows, p, panels + k * (size_t)s->pixels * NR, c + k * NR);
}

INLINE void attention_gather_rows(const int rows, const float *a, size_t lda, const float *b,
                                  int count, bool add, float *c, size_t ldc)
{
    vf sum[MR][2];
    micro_begin(rows, add, c, ldc, sum);
    micro_columns(rows, 2, a, lda, b, NR, count, sum);
    micro_end(rows, false, c, ldc, sum);
}

/* c [pixels][wide] (+)= the transpose of `count` rows of P (or dS) times the channels of the pixels
 * from `first` on, which these rows belong to. */
static void attention_gather(const attention_sizes *s, int first, int count, const float *p,
                             const float *panels, float *c)
{
    for (size_t k = 0; k < s->panels; k++) {
        const float *b = panels + (k * (size_t)s->pixels + (size_t)first) * NR;
        micro_cut cut = micro_cut_make(s->pixels, MR);
        for (int g = 0, j = 0, rows; g < cut.groups; g++, j += rows) {
            float *to = c + (size_t)j * s->wide + k * NR;
            rows = micro_cut_next(&cut);
#define GATHER_CALL(n) attention_gather_rows(n, p + j, s->row, b, count, first > 0, to, s->wide)
            MICRO_SWITCH(MR, rows, GATHER_CALL)
#undef GATHER_CALL
        }
    }
}

/* A row of products becomes one of P: exp(scale (x - maximum)) over its sum. */
INLINE void attention_softmax(const attention_sizes *s, float *row)
{
    for (size_t j = (size_t)s->pixels; j < s->row; j++)
        row[j] = -INFINITY;
    vf top = v_load(row), scale = v_splat(s->scale), sum = v_zero();
    for (size_t j = (size_t)VW; j < s->row; j += (size_t)VW)
        top = v_max_or_nan(top, v_load(row + j));
    float most = top[0];
    for (int i = 1; i < VW; i++)
        most = top[i] > most ? top[i] : most;
    top = v_splat(most);
    for (size_t j = 0; j < s->row; j += (size_t)VW) {
        vf e = v_exp((v_load(row + j) - top) * scale);
        v_store(row + j, e);
        sum += e;
    }
    vf share = v_splat(1.0f / v_sum(sum));
    for (size_t j = 0; j < s->row; j += (size_t)VW)
        v_store(row + j, v_load(row + j) * share);
}

/* A row of dP becomes one of dS. */
INLINE void attention_slope(const attention_sizes *s, const float *p, float *dp)
{
    vf sum = v_zero(), scale = v_splat(s->scale);
    for (size_t j = 0; j < s->row; j += (size_t)VW)
        sum = v_fma(v_load(p + j), v_load(dp + j), sum);
    vf mean = v_splat(v_sum(sum));
    for (size_t j = 0; j < s->row; j += (size_t)VW)
        v_store(dp + j, v_load(p + j) * (v_load(dp + j) - mean) * scale);
}

/* P's rows from `first` on. */
static void attention_shares(const attention_sizes *s, int first, int rows, const float *q,
                             const float *kt, float *p)
{
    attention_scores(s, first, rows, q, kt, p);
    for (int i = 0; i < rows; i++)
        attention_softmax(s, p + (size_t)i * s->row);
}

/* A head's results to channels k0 and on of the sink. */
static void attention_store(const sumi_attention *a, const attention_sizes *s,
                            const sumi_sink *sink, int n, int k0, const float *src)
{
    const sumi_block block = {.n = n,
                              .bands = 1,
                              .rows = a->h,
                              .k0 = k0,
                              .kn = s->d,
                              .src = src,
                              .row_stride = (size_t)a->w * s->wide,
                              .pixel_stride = s->wide};
    body_store(sink, 1, a->h, a->w, &block);
}

static void attention(const sumi_attention *a, const sumi_sink *sink, int n, int head,
                      float *scratch)
{
    const attention_sizes s = attention_sizes_of(a);
    view in = view_of(a->source, n, (size_t)s.pixels);
    int c = a->source->c / 3, k0 = head * s.d;
    float *q = scratch + s.at.q, *v = scratch + s.at.v, *kt = scratch + s.at.kt;
    float *p = scratch + s.at.p, *out = scratch + s.at.dq;
    attention_fill(&s, &in, k0, q);
    attention_fill(&s, &in, c + k0, v);
    attention_transpose(&s, v, kt);
    attention_fill(&s, &in, 2 * c + k0, v);
    for (int i = 0; i < s.pixels; i += SUMI_ATTENTION_ROWS) {
        int rows = min_int(s.pixels - i, SUMI_ATTENTION_ROWS);
        attention_shares(&s, i, rows, q, kt, p);
        attention_mix(&s, rows, p, v, out + (size_t)i * s.wide);
    }
    attention_store(a, &s, sink, n, k0, out);
}

static void attention_backward(const sumi_attention *a, const sumi_source *dy,
                               const sumi_sink *sink, int n, int head, float *scratch)
{
    const attention_sizes s = attention_sizes_of(a);
    view in = view_of(a->source, n, (size_t)s.pixels), from = view_of(dy, n, (size_t)s.pixels);
    int c = a->source->c / 3, k0 = head * s.d;
    float *q = scratch + s.at.q, *k = scratch + s.at.k, *g = scratch + s.at.v;
    float *kt = scratch + s.at.kt, *vt = scratch + s.at.vt;
    float *p = scratch + s.at.p, *dp = scratch + s.at.dp;
    float *dq = scratch + s.at.dq, *dk = scratch + s.at.dk, *dv = scratch + s.at.dv;
    attention_fill(&s, &in, 2 * c + k0, g);
    attention_transpose(&s, g, vt);
    attention_fill(&s, &in, k0, q);
    attention_fill(&s, &in, c + k0, k);
    attention_transpose(&s, k, kt);
    attention_fill(&s, &from, k0, g);
    for (int i = 0; i < s.pixels; i += SUMI_ATTENTION_ROWS) {
        int rows = min_int(s.pixels - i, SUMI_ATTENTION_ROWS);
        attention_shares(&s, i, rows, q, kt, p);
        attention_scores(&s, i, rows, g, vt, dp);
        for (int r = 0; r < rows; r++)
            attention_slope(&s, p + (size_t)r * s.row, dp + (size_t)r * s.row);
        attention_gather(&s, i, rows, p, g, dv);
        attention_gather(&s, i, rows, dp, q, dk);
        attention_mix(&s, rows, dp, k, dq + (size_t)i * s.wide);
    }
    attention_store(a, &s, sink, n, k0, dq);
    attention_store(a, &s, sink, n, c + k0, dk);
    attention_store(a, &s, sink, n, 2 * c + k0, dv);
}

#endif
