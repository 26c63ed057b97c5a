/*
 * Reading a tensor through what is pending on it (sumi_source): view_value for one vector of
 * channels, fill for a zero-padded strip of the concatenated sources.
 */
#ifndef SUMI_BODY_FILL_H
#define SUMI_BODY_FILL_H

#include "kernels/kernels.h"
#include "kernels/simd.h"

/* The loops that a source can need; a plain gradient is a copy of g. */
typedef enum {
    FORM_COPY,
    FORM_AFFINE,
    FORM_RELU,
    FORM_SILU,
    FORM_GRAD,
    FORM_GRAD_RELU,
    FORM_GRAD_SILU
} view_form;

/* Loops that take an exponential stand apart from those that do not, which keep their code. */
INLINE bool form_has_exp(view_form form)
{
    return form == FORM_SILU || form == FORM_GRAD_SILU;
}

/* One image of a source. Rows of coefficients may be NULL. */
typedef struct {
    view_form form;
    bool bf16; /* what p and r point to; like the form, it is a constant in inner loops */
    int c;
    const void *p; /* what is copied, r, or g */
    const void *r; /* gradient forms only */
    const float *scale, *shift, *post, *ga, *gb, *gk;
} view;

typedef struct {
    vf scale, shift, post, ga, gb, gk;
} view_coefs;

INLINE const float *row_of(const float *rows, int n, size_t stride)
{
    return rows != NULL ? rows + (size_t)n * stride : NULL;
}

/* pixels: of one image. */
INLINE view view_of(const sumi_source *s, int n, size_t pixels)
{
    size_t at = (size_t)n * pixels * (size_t)s->c;
    view v = {.c = s->c, .form = FORM_COPY, .bf16 = s->bf16};
    v.scale = row_of(s->scale, n, s->coef_stride);
    v.shift = row_of(s->shift, n, s->coef_stride);
    if (s->g == NULL) {
        v.p = tensor_at(s->r, at, s->bf16);
        v.post = row_of(s->post, n, s->post_stride);
        if (s->act == SUMI_ACT_RELU)
            v.form = FORM_RELU;
        else if (s->act == SUMI_ACT_SILU)
            v.form = FORM_SILU;
        else if (v.scale != NULL || v.shift != NULL || v.post != NULL)
            v.form = FORM_AFFINE;
        return v;
    }
    v.p = tensor_at(s->g, at, s->bf16);
    if (s->ga != NULL) {
        v.ga = row_of(s->ga, n, s->coef_stride);
        v.gb = row_of(s->gb, n, s->coef_stride);
        v.gk = row_of(s->gk, n, s->coef_stride);
    } else {
        v.ga = v.scale;
    }
    /* Without r its coefficient is 0, and g stands in for it. */
    v.r = s->r != NULL ? tensor_at(s->r, at, s->bf16) : v.p;
    if (s->act == SUMI_ACT_RELU)
        v.form = FORM_GRAD_RELU;
    else if (s->act == SUMI_ACT_SILU)
        v.form = FORM_GRAD_SILU;
    else if (v.ga != NULL)
        v.form = FORM_GRAD;
    return v;
}

INLINE vf coef_get(const float *row, int c, float missing, bool lane)
{
    return row != NULL ? v_get(row + c, lane) : v_splat(missing);
}

INLINE view_coefs view_coefs_get(const view *v, view_form form, int c, bool lane)
{
    view_coefs k;
    memset(&k, 0, sizeof k);
    if (form == FORM_COPY)
        return k;
    k.scale = coef_get(v->scale, c, 1.0f, lane);
    k.shift = coef_get(v->shift, c, 0.0f, lane);
    if (form == FORM_AFFINE || form == FORM_RELU || form == FORM_SILU) {
        k.post = coef_get(v->post, c, 0.0f, lane);
    } else {
        k.ga = coef_get(v->ga, c, 1.0f, lane);
        k.gb = coef_get(v->gb, c, 0.0f, lane);
        k.gk = coef_get(v->gk, c, 0.0f, lane);
    }
    return k;
}

/* The values of a form with an exponential, of `vectors` vectors from element i on. */
INLINE void view_silus(const view *v, view_form form, bool bf16, int vectors, const view_coefs *k,
                       size_t i, bool lane, vf *value)
{
    vf r[SILU_MOST];
    UNROLL
    for (int j = 0; j < vectors; j++) {
        r[j] = v_get_as(bf16, form == FORM_SILU ? v->p : v->r, i + (size_t)(j * VW), lane);
        value[j] = v_fma(k[j].scale, r[j], k[j].shift);
    }
    if (form == FORM_SILU)
        v_silus(vectors, value);
    else
        v_silu_slopes(vectors, value);
    UNROLL
    for (int j = 0; j < vectors; j++) {
        if (form == FORM_SILU) {
            value[j] += k[j].post;
        } else {
            vf g = value[j] * v_get_as(bf16, v->p, i + (size_t)(j * VW), lane);
            value[j] = v_fma(k[j].ga, g, v_fma(k[j].gb, r[j], k[j].gk));
        }
    }
}

/* The value at element i of the image. */
INLINE vf view_value(const view *v, view_form form, bool bf16, const view_coefs *k, size_t i,
                     bool lane)
{
    vf x;
    if (form_has_exp(form)) {
        view_silus(v, form, bf16, 1, k, i, lane, &x);
        return x;
    }
    x = v_get_as(bf16, v->p, i, lane);
    if (form == FORM_COPY)
        return x;
    if (form == FORM_AFFINE)
        return v_fma(k->scale, x, k->shift) + k->post;
    if (form == FORM_RELU)
        return v_relu(v_fma(k->scale, x, k->shift)) + k->post;
    vf r = v_get_as(bf16, v->r, i, lane);
    if (form == FORM_GRAD_RELU)
        x = v_keep(v_fma(k->scale, r, k->shift) > v_zero(), x);
    return v_fma(k->ga, x, v_fma(k->gb, r, k->gk));
}

/* Rows are short, and the processor's own prefetching stops and starts with them: what comes a row
 * later is asked for. */
INLINE void fill_ahead(const view *v, view_form form, bool bf16, int vectors, size_t at)
{
    for (int j = 0; j < vectors * VW; j += tensor_line(bf16)) {
        tensor_fetch(v->p, at + (size_t)j, bf16);
        if (form >= FORM_GRAD)
            tensor_fetch(v->r, at + (size_t)j, bf16);
    }
}

/* Channels c .. c + vectors * VW - 1 (one channel where lane is set) of `cols` pixels. */
INLINE void fill_pixels(const view *from, view_form form, bool bf16, int vectors, bool lane, int c,
                        size_t at, int cols, float *dst, size_t pixel_stride)
{
    view v = *from; /* a copy that stores to dst cannot alias */
    view_coefs k[STRIP_VECTORS];
    UNROLL
    for (int j = 0; j < vectors; j++)
        k[j] = view_coefs_get(&v, form, c + j * VW, lane);
    at += (size_t)c;
    const size_t ahead = (size_t)cols * (size_t)v.c;
    for (int x = 0; x < cols; x++) {
        fill_ahead(&v, form, bf16, vectors, at + ahead);
        if (form_has_exp(form)) {
            vf value[SILU_MOST];
            view_silus(&v, form, bf16, vectors, k, at, lane, value);
            UNROLL
            for (int j = 0; j < vectors; j++)
                v_put(dst + j * VW, value[j], lane);
        } else {
            UNROLL
            for (int j = 0; j < vectors; j++)
                v_put(dst + j * VW, view_value(&v, form, bf16, &k[j], at + (size_t)(j * VW), lane),
                      lane);
        }
        at += (size_t)v.c;
        dst += pixel_stride;
    }
}

/* Channels c .. c1-1 of `cols` pixels, the first of which begins at element `at` of the image. */
INLINE void fill_form(const view *v, view_form form, bool bf16, int c, int c1, size_t at, int cols,
                      float *dst, size_t pixel_stride)
{
    const int most = form_has_exp(form) ? SILU_MOST : STRIP_VECTORS;
    for (; c + most * VW <= c1; c += most * VW, dst += most * VW)
        fill_pixels(v, form, bf16, most, false, c, at, cols, dst, pixel_stride);
    for (; most > 2 && c + 2 * VW <= c1; c += 2 * VW, dst += 2 * VW)
        fill_pixels(v, form, bf16, 2, false, c, at, cols, dst, pixel_stride);
    for (; c + VW <= c1; c += VW, dst += VW)
        fill_pixels(v, form, bf16, 1, false, c, at, cols, dst, pixel_stride);
    for (; c < c1; c++, dst++)
        fill_pixels(v, form, bf16, 1, true, c, at, cols, dst, pixel_stride);
}

INLINE void fill_run_as(const view *v, bool bf16, int c, int c1, size_t at, int cols, float *dst,
                        size_t pixel_stride)
{
    switch (v->form) {
    case FORM_COPY:
        if (!bf16 && c == 0 && c1 == v->c && pixel_stride == (size_t)v->c)
            memcpy(dst, tensor_at(v->p, at, false), (size_t)cols * pixel_stride * sizeof(float));
        else
            fill_form(v, FORM_COPY, bf16, c, c1, at, cols, dst, pixel_stride);
        break;
    case FORM_AFFINE:
        fill_form(v, FORM_AFFINE, bf16, c, c1, at, cols, dst, pixel_stride);
        break;
    case FORM_RELU:
        fill_form(v, FORM_RELU, bf16, c, c1, at, cols, dst, pixel_stride);
        break;
    case FORM_SILU:
        fill_form(v, FORM_SILU, bf16, c, c1, at, cols, dst, pixel_stride);
        break;
    case FORM_GRAD_SILU:
        fill_form(v, FORM_GRAD_SILU, bf16, c, c1, at, cols, dst, pixel_stride);
        break;
    case FORM_GRAD:
        fill_form(v, FORM_GRAD, bf16, c, c1, at, cols, dst, pixel_stride);
        break;
    case FORM_GRAD_RELU:
        fill_form(v, FORM_GRAD_RELU, bf16, c, c1, at, cols, dst, pixel_stride);
        break;
    }
}

static void fill_run(const view *v, int c, int c1, size_t at, int cols, float *dst,
                     size_t pixel_stride)
{
    if (v->bf16)
        fill_run_as(v, true, c, c1, at, cols, dst, pixel_stride);
    else
        fill_run_as(v, false, c, c1, at, cols, dst, pixel_stride);
}

INLINE void zero_pixels(float *dst, int pixels, int channels, size_t pixel_stride)
{
    for (int x = 0; x < pixels; x++)
        memset(dst + (size_t)x * pixel_stride, 0, (size_t)channels * sizeof(float));
}

INLINE size_t round_up(size_t x, size_t step)
{
    return (x + step - 1) / step * step;
}

INLINE int min_int(int a, int b)
{
    return a < b ? a : b;
}

INLINE int max_int(int a, int b)
{
    return a > b ? a : b;
}

static void body_fill(const sumi_source *sources, int count, int h, int w, const sumi_strip *strip)
{
    /* Columns before left and from right on lie outside. */
    int left = min_int(max_int(-strip->x0, 0), strip->cols);
    int right = max_int(min_int(w - strip->x0, strip->cols), left);
    for (int row = 0; row < strip->rows; row++) {
        float *dst = strip->dst + (size_t)row * strip->row_stride;
        int y = strip->y0 + row;
        if (y < 0 || y >= h) {
            zero_pixels(dst, strip->cols, strip->cn, strip->pixel_stride);
        } else {
            zero_pixels(dst, left, strip->cn, strip->pixel_stride);
            zero_pixels(dst + (size_t)right * strip->pixel_stride, strip->cols - right, strip->cn,
                        strip->pixel_stride);
        }
    }
    int top = min_int(max_int(-strip->y0, 0), strip->rows);
    int bottom = min_int(h - strip->y0, strip->rows);
    for (int s = 0, first = 0; s < count; first += sources[s++].c) {
        int c = max_int(strip->c0 - first, 0);
        int c1 = min_int(strip->c0 + strip->cn - first, sources[s].c);
        if (c >= c1)
            continue;
        view v = view_of(&sources[s], strip->n, (size_t)h * (size_t)w);
        size_t into = (size_t)left * strip->pixel_stride + (size_t)(first + c - strip->c0);
        for (int row = top; row < bottom; row++) {
            size_t pixel = (size_t)(strip->y0 + row) * (size_t)w + (size_t)(strip->x0 + left);
            fill_run(&v, c, c1, pixel * (size_t)v.c, right - left,
                     strip->dst + (size_t)row * strip->row_stride + into, strip->pixel_stride);
        }
    }
}

#endif
