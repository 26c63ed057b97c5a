/*
 * Resizing and channel conversion of 8-bit pictures.
 *
 * The filter is a triangle whose support grows with the downscale factor, so that every source
 * pixel counts and nothing aliases. It follows what Pillow's Image.resize(BILINEAR, box=...) does:
 * one weight table an axis, weights in 22-bit fixed point, rows first and rounded to 8 bits, then
 * columns. Integer sums make the result the same everywhere.
 */
#include "data/data.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WEIGHT_BITS = 22 };

/* One axis: output i is the sum of taps[i] source pixels from first[i] on, weighted. */
typedef struct {
    int out, width; /* width: weights stored for each output */
    int *first, *taps;
    int32_t *weights; /* [out][width] */
    bool identity;
} axis;

struct sumi_resizer {
    int sh, sw, c, h, w;
    axis x, y;
    int row0, rows; /* source rows that the y axis reads */
    uint8_t *rows8; /* [rows][w][c] after the pass along x */
};

static double triangle(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* The weights of one output whose centre lies at `centre` in source pixels. */
static void fill_taps(axis *a, int i, int in, double centre, double filter_scale)
{
    double support = filter_scale; /* the triangle's own support is 1 */
    int lo = (int)(centre - support + 0.5);
    int hi = (int)(centre + support + 0.5);
    lo = lo < 0 ? 0 : lo;
    hi = hi > in ? in : hi;
    assert(hi > lo && hi - lo <= a->width);
    a->first[i] = lo;
    a->taps[i] = hi - lo;
    double sum = 0;
    for (int k = 0; k < hi - lo; k++)
        sum += triangle((k + lo - centre + 0.5) / filter_scale);
    for (int k = 0; k < hi - lo; k++) {
        double weight = triangle((k + lo - centre + 0.5) / filter_scale) / sum;
        a->weights[(size_t)i * (size_t)a->width + (size_t)k] =
            (int32_t)(0.5 + weight * (1 << WEIGHT_BITS));
    }
}

/* Maps the stretch [lo, hi) of `in` source pixels to `out` pixels. */
static bool axis_make(axis *a, int in, double lo, double hi, int out)
{
    double scale = (hi - lo) / out;
    double filter_scale = scale < 1.0 ? 1.0 : scale;
    a->out = out;
    a->width = (int)ceil(filter_scale) * 2 + 1;
    a->identity = in == out && lo == 0.0 && hi == in;
    a->first = sumi_calloc((size_t)out, sizeof *a->first);
    a->taps = sumi_calloc((size_t)out, sizeof *a->taps);
    a->weights = sumi_calloc((size_t)out, (size_t)a->width * sizeof *a->weights);
    if (!a->first || !a->taps || !a->weights)
        return false;
    for (int i = 0; i < out; i++)
        fill_taps(a, i, in, lo + (i + 0.5) * scale, filter_scale);
    return true;
}

static void axis_free(axis *a)
{
    free(a->first);
    free(a->taps);
    free(a->weights);
}

static void resizer_free(sumi_resizer *r)
{
    if (!r)
        return;
    axis_free(&r->x);
    axis_free(&r->y);
    free(r->rows8);
    free(r);
}

/* The centred box of the source that has the target's proportions: scaling it to h x w is the same
 * as covering h x w and cropping, without rounding in between. */
static bool make_axes(sumi_resizer *r)
{
    double crop_w = r->sw, crop_h = r->sh;
    double source = (double)r->sw / r->sh, target = (double)r->w / r->h;
    if (source > target)
        crop_w = target * r->sh;
    else if (source < target)
        crop_h = r->sw / target;
    double left = (r->sw - crop_w) * 0.5, top = (r->sh - crop_h) * 0.5;
    return axis_make(&r->x, r->sw, left, left + crop_w, r->w) &&
           axis_make(&r->y, r->sh, top, top + crop_h, r->h);
}

static sumi_status resizer_create(int sh, int sw, int c, int h, int w, sumi_resizer **out,
                                  sumi_error *err)
{
    sumi_resizer *r = sumi_calloc(1, sizeof *r);
    if (!r)
        return sumi_fail_memory(err, "a resizer", sizeof *r);
    *r = (sumi_resizer){.sh = sh, .sw = sw, .c = c, .h = h, .w = w};
    if (!make_axes(r)) {
        resizer_free(r);
        return sumi_fail_memory(err, "resizing weights", (size_t)h + (size_t)w);
    }
    r->row0 = r->y.first[0];
    r->rows = r->y.first[h - 1] + r->y.taps[h - 1] - r->row0;
    size_t bytes = 0;
    int64_t factors[] = {r->rows, w, c};
    if (sumi_size_product(factors, 3, &bytes))
        r->rows8 = malloc(bytes);
    if (!r->rows8) {
        resizer_free(r);
        return sumi_fail_memory(err, "resizing", bytes);
    }
    *out = r;
    return SUMI_OK;
}

static uint8_t from_fixed(int32_t sum)
{
    int32_t value = sum >> WEIGHT_BITS;
    return (uint8_t)(value > 255 ? 255 : value);
}

static void pass_x(const sumi_resizer *r, const uint8_t *src)
{
    size_t c = (size_t)r->c, src_row = (size_t)r->sw * c;
    uint8_t *dst = r->rows8;
    for (int y = 0; y < r->rows; y++) {
        const uint8_t *row = src + (size_t)(r->row0 + y) * src_row;
        if (r->x.identity) {
            memcpy(dst, row, src_row);
            dst += src_row;
            continue;
        }
        for (int i = 0; i < r->w; i++) {
            const int32_t *weights = r->x.weights + (size_t)i * (size_t)r->x.width;
            const uint8_t *from = row + (size_t)r->x.first[i] * c;
            for (size_t ch = 0; ch < c; ch++) {
                int32_t sum = 1 << (WEIGHT_BITS - 1);
                for (int k = 0; k < r->x.taps[i]; k++)
                    sum += weights[k] * from[(size_t)k * c + ch];
                *dst++ = from_fixed(sum);
            }
        }
    }
}

static void pass_y(const sumi_resizer *r, uint8_t *dst)
{
    size_t row = (size_t)r->w * (size_t)r->c;
    for (int i = 0; i < r->h; i++) {
        const int32_t *weights = r->y.weights + (size_t)i * (size_t)r->y.width;
        const uint8_t *from = r->rows8 + (size_t)(r->y.first[i] - r->row0) * row;
        int taps = r->y.taps[i];
        for (size_t x = 0; x < row; x++) {
            int32_t sum = 1 << (WEIGHT_BITS - 1);
            for (int k = 0; k < taps; k++)
                sum += weights[k] * from[(size_t)k * row + x];
            dst[x] = from_fixed(sum);
        }
        dst += row;
    }
}

static void resizer_run(const sumi_resizer *r, const uint8_t *src, uint8_t *dst)
{
    if (r->x.identity && r->y.identity) {
        memcpy(dst, src, (size_t)r->h * (size_t)r->w * (size_t)r->c);
        return;
    }
    pass_x(r, src);
    pass_y(r, dst);
}

void sumi_convert_channels(const uint8_t *src, int src_c, uint8_t *dst, int dst_c, size_t pixels)
{
    assert((src_c == 1 || src_c == 3) && (dst_c == 1 || dst_c == 3));
    if (src_c == dst_c) {
        memmove(dst, src, pixels * (size_t)src_c);
    } else if (dst_c == 3) {
        for (size_t i = 0; i < pixels; i++) {
            uint8_t value = src[i];
            dst[3 * i] = dst[3 * i + 1] = dst[3 * i + 2] = value;
        }
    } else {
        /* Rec. 601 luma, 0.299 R + 0.587 G + 0.114 B, in 16-bit fixed point. */
        for (size_t i = 0; i < pixels; i++)
            dst[i] = (uint8_t)((src[3 * i] * 19595U + src[3 * i + 1] * 38470U +
                                src[3 * i + 2] * 7471U + 0x8000U) >>
                               16);
    }
}

sumi_status sumi_fitter_run(sumi_fitter *fitter, uint8_t *src, int sh, int sw, int sc, uint8_t *dst,
                            sumi_error *err)
{
    bool known = (sc == 1 || sc == 3) && (fitter->c == 1 || fitter->c == 3);
    if (sc != fitter->c && !known)
        return sumi_fail(err, SUMI_EINVAL, "images of %d channel%s cannot be made ones of %d", sc,
                         sc == 1 ? "" : "s", fitter->c);
    if (sc == 3 && fitter->c == 1) {
        sumi_convert_channels(src, 3, src, 1, (size_t)sh * (size_t)sw);
        sc = 1;
    }
    const sumi_resizer *old = fitter->resizer;
    if (!old || old->sh != sh || old->sw != sw || old->c != sc || old->h != fitter->h ||
        old->w != fitter->w) {
        sumi_fitter_free(fitter);
        sumi_status status =
            resizer_create(sh, sw, sc, fitter->h, fitter->w, &fitter->resizer, err);
        if (status != SUMI_OK)
            return status;
    }
    /* Grey made colour is resized once, in the last third of its place, and then repeated. */
    size_t pixels = (size_t)fitter->h * (size_t)fitter->w;
    bool repeat = sc == 1 && fitter->c == 3;
    uint8_t *resized = repeat ? dst + 2 * pixels : dst;
    resizer_run(fitter->resizer, src, resized);
    if (repeat)
        sumi_convert_channels(resized, 1, dst, 3, pixels);
    return SUMI_OK;
}

void sumi_fitter_free(sumi_fitter *fitter)
{
    resizer_free(fitter->resizer);
    fitter->resizer = NULL;
}
