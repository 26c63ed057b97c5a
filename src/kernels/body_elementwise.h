/*
 * Loops over flat buffers: optimiser, moving average, loss, sums, checks. Whole vectors first, then
 * one vector that is partly empty, so that a number's arithmetic does not depend on its position.
 */
#ifndef SUMI_BODY_ELEMENTWISE_H
#define SUMI_BODY_ELEMENTWISE_H

#include "kernels/body_fill.h"

/* The vector at p + i, of which count - i floats exist. */
INLINE vf flat_load(const float *p, size_t i, size_t count)
{
    return count - i >= (size_t)VW ? v_load(p + i) : v_load_part(p + i, (int)(count - i));
}

INLINE void flat_store(float *p, size_t i, size_t count, vf v)
{
    if (count - i >= (size_t)VW)
        v_store(p + i, v);
    else
        v_store_part(p + i, v, (int)(count - i));
}

static void adam(const sumi_adam *adam, float *w, const float *g, float *m, float *v, size_t count)
{
    vf rate1 = v_splat((float)(1.0 - adam->beta1)), rate2 = v_splat((float)(1.0 - adam->beta2));
    vf step = v_splat((float)(-adam->learning_rate / adam->correction1));
    vf root = v_splat((float)(1.0 / sqrt(adam->correction2)));
    vf eps = v_splat((float)adam->eps);
    for (size_t i = 0; i < count; i += (size_t)VW) {
        vf gradient = flat_load(g, i, count);
        vf m0 = flat_load(m, i, count), v0 = flat_load(v, i, count);
        vf m1 = v_fma(rate1, gradient - m0, m0);
        vf v1 = v_fma(rate2, v_fma(gradient, gradient, -v0), v0);
        vf denominator = v_fma(v_sqrt(v1), root, eps);
        flat_store(m, i, count, m1);
        flat_store(v, i, count, v1);
        flat_store(w, i, count, v_fma(step, m1 / denominator, flat_load(w, i, count)));
    }
}

static void ema(float *average, const float *w, double decay, size_t count)
{
    vf rate = v_splat((float)(1.0 - decay));
    for (size_t i = 0; i < count; i += (size_t)VW) {
        vf old = flat_load(average, i, count);
        flat_store(average, i, count, v_fma(rate, flat_load(w, i, count) - old, old));
    }
}

static void axpby(float a, const float *x, float b, const float *y, float *out, size_t count)
{
    vf va = v_splat(a), vb = v_splat(b);
    for (size_t i = 0; i < count; i += (size_t)VW) {
        vf bx = vb * flat_load(y, i, count);
        flat_store(out, i, count, v_fma(va, flat_load(x, i, count), bx));
    }
}

/* Floats are summed in blocks of this many before they go to a double. */
#define SUM_BLOCK 1024

static double squared_error(const float *y, const float *target, float factor, float *dy,
                            size_t count)
{
    double total = 0.0;
    vf scale = v_splat(factor);
    for (size_t first = 0; first < count; first += SUM_BLOCK) {
        size_t end = count - first < SUM_BLOCK ? count : first + SUM_BLOCK;
        vf sum = v_zero();
        for (size_t i = first; i < end; i += (size_t)VW) {
            vf d = flat_load(y, i, end) - flat_load(target, i, end);
            flat_store(dy, i, end, scale * d);
            sum = v_fma(d, d, sum);
        }
        total += (double)v_sum(sum);
    }
    return total;
}

INLINE void column_sum_channels(const float *x, size_t pixels, int c, double *db, bool lane)
{
    vf sum = v_zero();
    for (size_t p = 0; p < pixels; p++, x += c)
        sum += v_get(x, lane);
    for (int i = 0; i < (lane ? 1 : VW); i++)
        db[i] += (double)sum[i];
}

static void column_sum(const float *x, size_t pixels, int c, double *db)
{
    for (size_t first = 0; first < pixels; first += SUM_BLOCK) {
        size_t n = pixels - first < SUM_BLOCK ? pixels - first : SUM_BLOCK;
        const float *from = x + first * (size_t)c;
        int i = 0;
        for (; i + VW <= c; i += VW)
            column_sum_channels(from + i, n, c, db + i, false);
        for (; i < c; i++)
            column_sum_channels(from + i, n, c, db + i, true);
    }
}

/* Log-probabilities in double from the largest logit on; exponentials of at most 0 in float32. */
static double cross_entropy(const float *logits, int classes, int label, float smoothing,
                            float factor, float *dlogits)
{
    size_t count = (size_t)classes;
    if (label < 0) {
        memset(dlogits, 0, count * sizeof(float));
        return 0.0;
    }
    float largest = logits[0];
    for (size_t i = 1; i < count; i++)
        if (!(logits[i] <= largest)) /* NaN becomes the largest, and stays */
            largest = logits[i];
    double sum = 0.0, mean = 0.0;
    for (size_t i = 0; i < count; i += (size_t)VW) {
        size_t lanes = count - i < (size_t)VW ? count - i : (size_t)VW;
        vf e = v_exp(flat_load(logits, i, count) - v_splat(largest));
        flat_store(dlogits, i, count, e);
        for (size_t k = i; k < i + lanes; k++) {
            sum += (double)dlogits[k];
            mean += (double)(logits[k] - largest);
        }
    }
    double each = (double)smoothing / classes, at_label = 1.0 - (double)smoothing;
    for (size_t i = 0; i < count; i++) {
        double q = each + (i == (size_t)label ? at_label : 0.0);
        dlogits[i] = (float)((double)factor * ((double)dlogits[i] / sum - q));
    }
    /* The weights add up to 1, so that the logarithm of the sum stands alone. */
    return log(sum) - at_label * (double)(logits[label] - largest) - each * mean;
}

static void round_bf16(const float *x, float *out, size_t count)
{
    for (size_t i = 0; i < count; i += (size_t)VW)
        flat_store(out, i, count, v_round_bf16(flat_load(x, i, count)));
}

/* Infinities and NaNs are the numbers whose exponent bits are all set. */
static bool all_finite(const float *x, size_t count)
{
    const vi exponent = (vi){0} + 0x7f800000;
    for (size_t first = 0; first < count; first += SUM_BLOCK) {
        size_t end = count - first < SUM_BLOCK ? count : first + SUM_BLOCK;
        vi bad = {0};
        for (size_t i = first; i < end; i += (size_t)VW)
            bad |= ((vi)flat_load(x, i, end) & exponent) == exponent;
        int32_t any = 0;
        for (int i = 0; i < VW; i++)
            any |= bad[i];
        if (any != 0)
            return false;
    }
    return true;
}

/* Twelve chains hide the latency of the multiply-add on every CPU that has two such units. */
static double burn(int64_t rounds, float factor, float *sink)
{
    enum { CHAINS = 12 };
    vf chain[CHAINS], f = v_splat(factor), sum = v_zero();
    for (int i = 0; i < CHAINS; i++)
        chain[i] = v_splat((float)i);
    for (int64_t round = 0; round < rounds; round++)
        for (int i = 0; i < CHAINS; i++)
            chain[i] = v_fma(chain[i], f, f);
    for (int i = 0; i < CHAINS; i++)
        sum = sum + chain[i];
    *sink = v_sum(sum);
    return (double)rounds * CHAINS * VW * 2;
}

#endif
