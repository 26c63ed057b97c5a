/*
 * Max pooling 2x2 and bilinear up-sampling x2 (aligned corners), and their gradients. They match
 * PyTorch's: the first row-major maximum wins and NaN wins over all; a target pixel's source is
 * scale * target with scale = (in - 1) / (out - 1) in float32.
 */
#ifndef SUMI_BODY_RESIZE_H
#define SUMI_BODY_RESIZE_H

#include "kernels/body_store.h"

/* `rows` finished rows from y0 on, as band y0 / (rows of a band), through the sink. */
INLINE void store_rows(const sumi_sink *sink, int h, int w, int n, int y0, int rows, int bands,
                       const float *src)
{
    int band_rows = (h + bands - 1) / bands;
    sumi_block block = {.n = n,
                        .band = y0 / band_rows,
                        .bands = bands,
                        .y0 = y0,
                        .rows = rows,
                        .kn = sink->c,
                        .src = src,
                        .row_stride = (size_t)w * (size_t)sink->c,
                        .pixel_stride = (size_t)sink->c};
    body_store(sink, 1, h, w, &block);
}

/* True where a result can be written to dst at once. */
INLINE bool sink_is_plain(const sumi_sink *s)
{
    return s->dst != NULL && s->bias == NULL && s->residual == NULL && s->act == SUMI_ACT_NONE &&
           !s->accumulate && s->moments == NULL && s->sums == NULL;
}

/* ---- Pool ------------------------------------------------------------------------------------ */

/* Floats from the first to the other pixels of a 2x2, in row-major order. */
typedef struct {
    size_t at[4];
} pool_window;

INLINE pool_window pool_window_of(int w, int c)
{
    size_t pixel = (size_t)c, row = (size_t)w * (size_t)c;
    return (pool_window){{0, pixel, row, row + pixel}};
}

/* The maximum so far and the new value; true lanes of the result say that the new one wins. */
INLINE vi pool_wins(vf value, vf best)
{
    return (value > best) | (value != value);
}

/* What inner loops know of their tensors; constants where speed matters. */
typedef struct {
    view_form form;
    bool from_bf16, to_bf16;
} resize_kind;

INLINE void pool_pixels(const view *v, resize_kind kind, bool lane, int c, int w, size_t at,
                        int cols, void *dst)
{
    view_coefs k = view_coefs_get(v, kind.form, c, lane);
    pool_window window = pool_window_of(w, v->c);
    for (int x = 0; x < cols; x++) {
        size_t i = at + (size_t)x * 2 * (size_t)v->c + (size_t)c;
        vf best = view_value(v, kind.form, kind.from_bf16, &k, i, lane);
        UNROLL
        for (int q = 1; q < 4; q++) {
            vf value = view_value(v, kind.form, kind.from_bf16, &k, i + window.at[q], lane);
            best = v_select(pool_wins(value, best), value, best);
        }
        v_put_as(kind.to_bf16, dst, (size_t)x * (size_t)v->c + (size_t)c,
                 v_stored(kind.to_bf16, best), lane);
    }
}

INLINE void pool_row_of(const view *v, resize_kind kind, int w, size_t at, int cols, void *dst)
{
    int c = 0;
    for (; c + VW <= v->c; c += VW)
        pool_pixels(v, kind, false, c, w, at, cols, dst);
    for (; c < v->c; c++)
        pool_pixels(v, kind, true, c, w, at, cols, dst);
}

INLINE void pool_row(const view *v, bool from_bf16, bool to_bf16, int w, size_t at, int cols,
                     void *dst)
{
    if (v->form == FORM_COPY)
        pool_row_of(v, (resize_kind){FORM_COPY, from_bf16, to_bf16}, w, at, cols, dst);
    else if (v->form == FORM_AFFINE)
        pool_row_of(v, (resize_kind){FORM_AFFINE, from_bf16, to_bf16}, w, at, cols, dst);
    else if (v->form == FORM_SILU)
        pool_row_of(v, (resize_kind){FORM_SILU, from_bf16, to_bf16}, w, at, cols, dst);
    else
        pool_row_of(v, (resize_kind){FORM_RELU, from_bf16, to_bf16}, w, at, cols, dst);
}

static void pool(const sumi_source *source, const sumi_sink *sink, int h, int w, int n, int y0,
                 int rows, int bands, float *scratch)
{
    view v = view_of(source, n, (size_t)h * (size_t)w);
    bool plain = sink_is_plain(sink), to_bf16 = plain && sink->bf16;
    int cols = w / 2;
    size_t row = (size_t)cols * (size_t)v.c;
    size_t to = plain ? ((size_t)n * (size_t)(h / 2) + (size_t)y0) * row : 0;
    for (int y = y0; y < y0 + rows; y++, to += row) {
        size_t at = (size_t)(2 * y) * (size_t)w * (size_t)v.c;
        void *dst = tensor_begin(plain ? sink->dst : scratch, to, to_bf16);
        if (v.bf16 && to_bf16)
            pool_row(&v, true, true, w, at, cols, dst);
        else if (!v.bf16 && !to_bf16)
            pool_row(&v, false, false, w, at, cols, dst);
        else
            pool_row(&v, v.bf16, to_bf16, w, at, cols, dst);
    }
    if (!plain)
        store_rows(sink, h / 2, cols, n, y0, rows, bands, scratch);
}

/* One row of windows: the gradient goes to the winner. `at` and `dy_at` are where the row of the
 * source and of dy begin; bf16 and dy_bf16 say what these are. */
INLINE void pool_backward_pixels(const view *v, const view *dy, bool bf16, bool dy_bf16, bool lane,
                                 int c, int w, size_t at, size_t dy_at, float *dst)
{
    view_coefs k = view_coefs_get(v, v->form, c, lane);
    view_coefs dk = view_coefs_get(dy, dy->form, c, lane);
    pool_window window = pool_window_of(w, v->c);
    for (int x = 0; x < w / 2; x++) {
        size_t i = (size_t)x * 2 * (size_t)v->c + (size_t)c;
        size_t di = dy_at + (size_t)x * (size_t)v->c + (size_t)c;
        vf gradient = view_value(dy, dy->form, dy_bf16, &dk, di, lane);
        vf best = view_value(v, v->form, bf16, &k, at + i, lane);
        vi lost = {0}; /* lanes of pixel q that a later pixel beat, found from the last one back */
        vi wins[4];
        wins[0] = ~lost;
        UNROLL
        for (int q = 1; q < 4; q++) {
            vf value = view_value(v, v->form, bf16, &k, at + i + window.at[q], lane);
            wins[q] = pool_wins(value, best);
            best = v_select(wins[q], value, best);
        }
        UNROLL
        for (int q = 3; q >= 0; q--) {
            v_put(dst + i + window.at[q], v_keep(wins[q] & ~lost, gradient), lane);
            lost |= wins[q];
        }
    }
}

INLINE void pool_backward_row(const view *v, const view *dy, bool bf16, bool dy_bf16, int w,
                              size_t at, size_t dy_at, float *dst)
{
    int c = 0;
    for (; c + VW <= v->c; c += VW)
        pool_backward_pixels(v, dy, bf16, dy_bf16, false, c, w, at, dy_at, dst);
    for (; c < v->c; c++)
        pool_backward_pixels(v, dy, bf16, dy_bf16, true, c, w, at, dy_at, dst);
}

/* Views by value: the caller's must stay in registers. */
static __attribute__((noinline)) void pool_backward_exp(view v, view dy, int w, size_t at,
                                                        size_t dy_at, float *dst)
{
    pool_backward_row(&v, &dy, v.bf16, dy.bf16, w, at, dy_at, dst);
}

static void pool_backward(const sumi_source *source, const sumi_source *dy, const sumi_sink *sink,
                          int h, int w, int n, int y0, int rows, int bands, float *scratch)
{
    view v = view_of(source, n, (size_t)h * (size_t)w);
    view d = view_of(dy, n, (size_t)(h / 2) * (size_t)(w / 2));
    size_t row = (size_t)w * (size_t)v.c, dy_row = (size_t)(w / 2) * (size_t)v.c;
    for (int y = 0; y < rows; y++) {
        size_t at = (size_t)(2 * (y0 + y)) * row, dy_at = (size_t)(y0 + y) * dy_row;
        float *dst = scratch + (size_t)(2 * y) * row;
        if (form_has_exp(v.form) || form_has_exp(d.form))
            pool_backward_exp(v, d, w, at, dy_at, dst);
        else if (v.bf16 && d.bf16)
            pool_backward_row(&v, &d, true, true, w, at, dy_at, dst);
        else if (!v.bf16 && !d.bf16)
            pool_backward_row(&v, &d, false, false, w, at, dy_at, dst);
        else
            pool_backward_row(&v, &d, v.bf16, d.bf16, w, at, dy_at, dst);
    }
    store_rows(sink, h, w, n, 2 * y0, 2 * rows, bands, scratch);
}

/* ---- Up-sampling ----------------------------------------------------------------------------- */

/* A large pixel lies between small pixels i and next: value = w0 * [i] + w1 * [next]. */
typedef struct {
    int i, next;
    float w0, w1;
} up_weight;

INLINE up_weight up_weight_of(int small, int target)
{
    float scale = small > 1 ? (float)(small - 1) / (float)(2 * small - 1) : 0.0f;
    float at = scale * (float)target;
    int i = min_int((int)at, small - 1);
    float w1 = at - (float)i;
    return (up_weight){i, min_int(i + 1, small - 1), 1.0f - w1, w1};
}

INLINE void up_pixel(const float *top, const float *bottom, const up_weight *wx, float w0, float w1,
                     size_t channels, size_t c, void *dst, bool bf16, bool lane)
{
    size_t a = (size_t)wx->i * channels + c, b = (size_t)wx->next * channels + c;
    vf x0 = v_splat(wx->w0), x1 = v_splat(wx->w1);
    vf upper = v_fma(x0, v_get(top + a, lane), x1 * v_get(top + b, lane));
    vf lower = v_fma(x0, v_get(bottom + a, lane), x1 * v_get(bottom + b, lane));
    vf value = v_fma(v_splat(w0), upper, v_splat(w1) * lower);
    v_put_as(bf16, dst, c, v_stored(bf16, value), lane);
}

/* All pixels of row y of the large image, from the two rows of the small one that it lies between.
 */
INLINE void upsample_row(const float *top, const float *bottom, const up_weight *wy, int w,
                         size_t channels, void *dst, bool bf16)
{
    for (int x = 0; x < 2 * w; x++) {
        up_weight wx = up_weight_of(w, x);
        void *to = tensor_begin(dst, (size_t)x * channels, bf16);
        size_t c = 0;
        for (; c + (size_t)VW <= channels; c += (size_t)VW)
            up_pixel(top, bottom, &wx, wy->w0, wy->w1, channels, c, to, bf16, false);
        for (; c < channels; c++)
            up_pixel(top, bottom, &wx, wy->w0, wy->w1, channels, c, to, bf16, true);
    }
}

static void upsample(const sumi_source *source, const sumi_sink *sink, int h, int w, int n, int y0,
                     int rows, int bands, float *scratch)
{
    view v = view_of(source, n, (size_t)h * (size_t)w);
    size_t channels = (size_t)v.c, row = (size_t)w * channels;
    bool plain = sink_is_plain(sink), bf16 = plain && sink->bf16;
    float *result = scratch + sumi_rows_scratch_of(SUMI_ROWS_UPSAMPLE, w, rows, v.c).result;
    int held[2] = {-1, -1}; /* which small row each half of scratch holds: row y is in half y % 2 */
    size_t to = plain ? ((size_t)n * (size_t)(2 * h) + (size_t)y0) * 2 * row : 0;
    for (int y = y0; y < y0 + rows; y++, to += 2 * row) {
        up_weight wy = up_weight_of(h, y);
        const int need[2] = {wy.i, wy.next};
        for (int q = 0; q < 2; q++) {
            float *half = scratch + (size_t)(need[q] % 2) * row;
            if (held[need[q] % 2] != need[q])
                fill_run(&v, 0, v.c, (size_t)need[q] * row, w, half, channels);
            held[need[q] % 2] = need[q];
        }
        const float *top = scratch + (size_t)(wy.i % 2) * row;
        const float *bottom = scratch + (size_t)(wy.next % 2) * row;
        void *dst = tensor_begin(plain ? sink->dst : result, to, bf16);
        if (bf16)
            upsample_row(top, bottom, &wy, w, channels, dst, true);
        else
            upsample_row(top, bottom, &wy, w, channels, dst, false);
    }
    if (!plain)
        store_rows(sink, 2 * h, 2 * w, n, y0, rows, bands, result);
}

/* The large pixels that read small pixel i, and how much of it: at most UP_READERS of them. */
#define UP_READERS 5

typedef struct {
    int first, count;
    float weight[UP_READERS];
} up_readers;

INLINE up_readers up_readers_of(int small, int i)
{
    up_readers r = {.first = max_int(2 * i - 1, 0)};
    int end = min_int(2 * i + 4, 2 * small);
    for (int target = r.first; target < end; target++) {
        up_weight w = up_weight_of(small, target);
        r.weight[r.count++] = (w.i == i ? w.w0 : 0.0f) + (w.next == i ? w.w1 : 0.0f);
    }
    while (r.count > 1 && r.weight[r.count - 1] == 0.0f)
        r.count--;
    return r;
}

INLINE void up_backward_pixel(const view *dy, view_form form, bool bf16, const up_readers *ry,
                              const up_readers *rx, int wide, int c, float *dst, bool lane)
{
    view_coefs k = view_coefs_get(dy, form, c, lane);
    size_t channels = (size_t)dy->c;
    vf sum = v_zero();
    for (int y = 0; y < ry->count; y++) {
        size_t pixel = (size_t)(ry->first + y) * (size_t)wide + (size_t)rx->first;
        size_t i = pixel * channels + (size_t)c;
        vf row = v_zero();
        for (int x = 0; x < rx->count; x++, i += channels)
            row = v_fma(v_splat(rx->weight[x]), view_value(dy, form, bf16, &k, i, lane), row);
        sum = v_fma(v_splat(ry->weight[y]), row, sum);
    }
    v_put(dst, sum, lane);
}

INLINE void up_backward_channels(const view *dy, view_form form, bool bf16, const up_readers *ry,
                                 const up_readers *rx, int wide, float *dst)
{
    int c = 0;
    for (; c + VW <= dy->c; c += VW)
        up_backward_pixel(dy, form, bf16, ry, rx, wide, c, dst + c, false);
    for (; c < dy->c; c++)
        up_backward_pixel(dy, form, bf16, ry, rx, wide, c, dst + c, true);
}

static void upsample_backward(const sumi_source *dy, const sumi_sink *sink, int h, int w, int n,
                              int y0, int rows, int bands, float *scratch)
{
    view v = view_of(dy, n, (size_t)(2 * h) * (size_t)(2 * w));
    float *dst = scratch;
    for (int y = y0; y < y0 + rows; y++) {
        up_readers ry = up_readers_of(h, y);
        for (int x = 0; x < w; x++, dst += v.c) {
            up_readers rx = up_readers_of(w, x);
            if (v.form == FORM_COPY && v.bf16)
                up_backward_channels(&v, FORM_COPY, true, &ry, &rx, 2 * w, dst);
            else if (v.form == FORM_COPY)
                up_backward_channels(&v, FORM_COPY, false, &ry, &rx, 2 * w, dst);
            else if (form_has_exp(v.form))
                up_backward_channels(&v, v.form, v.bf16, &ry, &rx, 2 * w, dst);
            else
                up_backward_channels(&v, v.form, v.bf16, &ry, &rx, 2 * w, dst);
        }
    }
    store_rows(sink, h, w, n, y0, rows, bands, scratch);
}

#endif
