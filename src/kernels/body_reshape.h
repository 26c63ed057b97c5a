/*
 * Passes over images that are neither a convolution nor a maximum: one pixel of each 2x2 and back
 * (average pool, every second pixel, nearest up-sampling and their gradients), larger and smaller
 * frames, sums of sources, means over all pixels. Each fills rows into scratch, through what is
 * pending on them, works on plain floats there and hands them to the sink.
 */
#ifndef SUMI_BODY_RESHAPE_H
#define SUMI_BODY_RESHAPE_H

#include "kernels/body_resize.h"

/* dst = factor * (a + b + c + d), `pixels` times; a and c are pairs of pixels above each other. */
INLINE void shrink_pixels(const float *upper, const float *lower, float factor, int pixels, int c,
                          int channels, float *dst, bool lane)
{
    vf f = v_splat(factor);
    const float *a = upper + c, *b = lower + c;
    dst += c;
    for (int x = 0; x < pixels; x++, a += 2 * channels, b += 2 * channels, dst += channels)
        v_put(dst,
              f * ((v_get(a, lane) + v_get(a + channels, lane)) +
                   (v_get(b, lane) + v_get(b + channels, lane))),
              lane);
}

static void shrink(sumi_window window, const sumi_source *source, const sumi_sink *sink, int h,
                   int w, int n, int y0, int rows, int bands, float *scratch)
{
    view v = view_of(source, n, (size_t)h * (size_t)w);
    int channels = v.c, cols = w / 2;
    size_t row = (size_t)w * (size_t)channels;
    float *pair = scratch;
    float *result = scratch + sumi_rows_scratch_of(SUMI_ROWS_SHRINK, w, rows, v.c).result;
    for (int y = y0; y < y0 + rows; y++) {
        float *dst = result + (size_t)(y - y0) * (size_t)cols * (size_t)channels;
        size_t at = (size_t)(2 * y) * row;
        if (window == SUMI_WINDOW_FIRST) {
            view skipping = v; /* the next pixel is two further on */
            skipping.c *= 2;
            fill_run(&skipping, 0, channels, at, cols, dst, (size_t)channels);
            continue;
        }
        fill_run(&v, 0, channels, at, 2 * w, pair, (size_t)channels);
        float factor = window == SUMI_WINDOW_MEAN ? 0.25f : 1.0f;
        int c = 0;
        for (; c + VW <= channels; c += VW)
            shrink_pixels(pair, pair + row, factor, cols, c, channels, dst, false);
        for (; c < channels; c++)
            shrink_pixels(pair, pair + row, factor, cols, c, channels, dst, true);
    }
    store_rows(sink, h / 2, cols, n, y0, rows, bands, result);
}

/* Each pixel twice side by side, or followed by a pixel of zeros. */
INLINE void grow_row(const float *src, int w, size_t channels, float factor, bool first, float *dst)
{
    for (int x = 0; x < w; x++, src += channels, dst += 2 * channels)
        for (size_t c = 0; c < channels; c++) {
            dst[c] = factor * src[c];
            dst[channels + c] = first ? 0.0f : factor * src[c];
        }
}

static void grow(sumi_window window, const sumi_source *source, const sumi_sink *sink, int h, int w,
                 int n, int y0, int rows, int bands, float *scratch)
{
    view v = view_of(source, n, (size_t)h * (size_t)w);
    size_t channels = (size_t)v.c, row = (size_t)w * channels;
    bool first = window == SUMI_WINDOW_FIRST;
    float *small = scratch;
    float *result = scratch + sumi_rows_scratch_of(SUMI_ROWS_GROW, w, rows, v.c).result;
    float factor = window == SUMI_WINDOW_MEAN ? 0.25f : 1.0f;
    for (int y = y0; y < y0 + rows; y++) {
        float *dst = result + (size_t)(y - y0) * 2 * row;
        if (first && y % 2 == 1) {
            memset(dst, 0, 2 * row * sizeof(float));
        } else if (y > y0 && y % 2 == 1) {
            memcpy(dst, dst - 2 * row, 2 * row * sizeof(float));
        } else {
            fill_run(&v, 0, v.c, (size_t)(y / 2) * row, w, small, channels);
            grow_row(small, w, channels, factor, first, dst);
        }
    }
    store_rows(sink, 2 * h, 2 * w, n, y0, rows, bands, result);
}

/* Pixels x .. end-1 of a row: copies of the one at the edge, or zeros. */
INLINE void frame_pixels(bool repeat, float *row, int x, int end, const float *edge,
                         size_t channels)
{
    for (; x < end; x++)
        if (repeat)
            memcpy(row + (size_t)x * channels, edge, channels * sizeof(float));
        else
            memset(row + (size_t)x * channels, 0, channels * sizeof(float));
}

static void reframe(sumi_frame frame, const sumi_source *source, const sumi_sink *sink, int h,
                    int w, int to_h, int to_w, int n, int y0, int rows, int bands, float *scratch)
{
    view v = view_of(source, n, (size_t)h * (size_t)w);
    size_t channels = (size_t)v.c, row = (size_t)to_w * channels;
    int top = (to_h - h) / 2, left = (to_w - w) / 2; /* below 0 where the result is smaller */
    int from = max_int(left, 0), cols = min_int(w + left, to_w) - from;
    bool repeat = frame == SUMI_FRAME_REPEAT;
    for (int y = y0; y < y0 + rows; y++) {
        float *dst = scratch + (size_t)(y - y0) * row;
        int at = min_int(max_int(y - top, 0), h - 1);
        if (!repeat && at != y - top) {
            memset(dst, 0, row * sizeof(float));
            continue;
        }
        fill_run(&v, 0, v.c, ((size_t)at * (size_t)w + (size_t)(from - left)) * channels, cols,
                 dst + (size_t)from * channels, channels);
        frame_pixels(repeat, dst, 0, from, dst + (size_t)from * channels, channels);
        frame_pixels(repeat, dst, from + cols, to_w, dst + (size_t)(from + cols - 1) * channels,
                     channels);
    }
    store_rows(sink, to_h, to_w, n, y0, rows, bands, scratch);
}

/* dst += the source's values, for channels c and on of `pixels` pixels from element at. */
INLINE void sum_pixels(const view *from, view_form form, bool bf16, int c, size_t at, size_t pixels,
                       float *dst, bool lane)
{
    view v = *from; /* stores to dst cannot alias a copy */
    view_coefs k = view_coefs_get(&v, form, c, lane);
    at += (size_t)c;
    dst += c;
    for (size_t p = 0; p < pixels; p++, at += (size_t)v.c, dst += v.c)
        v_put(dst, v_get(dst, lane) + view_value(&v, form, bf16, &k, at, lane), lane);
}

INLINE void sum_form(const view *v, view_form form, bool bf16, size_t at, size_t pixels, float *dst)
{
    int c = 0;
    for (; c + VW <= v->c; c += VW)
        sum_pixels(v, form, bf16, c, at, pixels, dst, false);
    for (; c < v->c; c++)
        sum_pixels(v, form, bf16, c, at, pixels, dst, true);
}

INLINE void sum_view(const view *v, bool bf16, size_t at, size_t pixels, float *dst)
{
    switch (v->form) {
    case FORM_COPY:
        sum_form(v, FORM_COPY, bf16, at, pixels, dst);
        break;
    case FORM_AFFINE:
        sum_form(v, FORM_AFFINE, bf16, at, pixels, dst);
        break;
    case FORM_RELU:
        sum_form(v, FORM_RELU, bf16, at, pixels, dst);
        break;
    case FORM_SILU:
        sum_form(v, FORM_SILU, bf16, at, pixels, dst);
        break;
    case FORM_GRAD:
        sum_form(v, FORM_GRAD, bf16, at, pixels, dst);
        break;
    case FORM_GRAD_RELU:
        sum_form(v, FORM_GRAD_RELU, bf16, at, pixels, dst);
        break;
    case FORM_GRAD_SILU:
        sum_form(v, FORM_GRAD_SILU, bf16, at, pixels, dst);
        break;
    }
}

static void sum_sources(const sumi_source *sources, int count, const sumi_sink *sink, int h, int w,
                        int n, int y0, int rows, int bands, float *scratch)
{
    for (int s = 0; s < count; s++) {
        view v = view_of(&sources[s], n, (size_t)h * (size_t)w);
        size_t at = (size_t)y0 * (size_t)w * (size_t)v.c;
        if (s == 0)
            fill_run(&v, 0, v.c, at, rows * w, scratch, (size_t)v.c);
        else if (v.bf16)
            sum_view(&v, true, at, (size_t)rows * (size_t)w, scratch);
        else
            sum_view(&v, false, at, (size_t)rows * (size_t)w, scratch);
    }
    store_rows(sink, h, w, n, y0, rows, bands, scratch);
}

static void spatial_mean(const sumi_source *source, int h, int w, int n, float *dst, float *scratch)
{
    view v = view_of(source, n, (size_t)h * (size_t)w);
    size_t channels = (size_t)v.c, row = (size_t)w * channels;
    double *sums = (double *)scratch;
    float *values = scratch + sumi_rows_scratch_of(SUMI_ROWS_MEAN, w, h, v.c).result;
    memset(sums, 0, channels * sizeof *sums);
    for (int y = 0; y < h; y++) {
        fill_run(&v, 0, v.c, (size_t)y * row, w, values, channels);
        column_sum(values, (size_t)w, v.c, sums);
    }
    for (size_t c = 0; c < channels; c++)
        dst[c] = (float)(sums[c] / ((double)h * w));
}

static void spatial_mean_backward(const sumi_source *dy, const sumi_sink *sink, int h, int w, int n,
                                  int y0, int rows, int bands, float *scratch)
{
    view v = view_of(dy, n, 1);
    size_t channels = (size_t)v.c, pixels = (size_t)rows * (size_t)w;
    float *values = scratch, share = (float)(1.0 / ((double)h * w));
    float *result = scratch + sumi_rows_scratch_of(SUMI_ROWS_MEAN_BACKWARD, w, rows, v.c).result;
    fill_run(&v, 0, v.c, 0, 1, values, channels);
    for (size_t c = 0; c < channels; c++)
        values[c] *= share;
    for (size_t p = 0; p < pixels; p++)
        memcpy(result + p * channels, values, channels * sizeof(float));
    store_rows(sink, h, w, n, y0, rows, bands, result);
}

#endif
