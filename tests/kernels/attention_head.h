/*
 * One head of attention between the pixels of an image, in double.
 */
#ifndef SUMI_TEST_ATTENTION_HEAD_H
#define SUMI_TEST_ATTENTION_HEAD_H

#include <math.h>
#include <stddef.h>

typedef struct {
    const double *x; /* [pixels][3c]: queries, keys, values */
    double *p, *dp;  /* [pixels][pixels] */
    int pixels, c;
    int k0, d; /* the head's channels among c: the first, and how many */
} head;

/* Number k of pixel i's queries (part 0), keys (1) or values (2). */
static inline size_t head_at(const head *a, int part, int i, int k)
{
    return (size_t)((i * 3 + part) * a->c + a->k0 + k);
}

/* p = Q K^T / sqrt(d) */
static inline void head_scores(const head *a)
{
    int t = a->pixels;
    for (int i = 0; i < t * t; i++) {
        a->p[i] = 0;
        for (int k = 0; k < a->d; k++)
            a->p[i] += a->x[head_at(a, 0, i / t, k)] * a->x[head_at(a, 1, i % t, k)] / sqrt(a->d);
    }
}

/* p becomes its softmax by rows. */
static inline void head_shares(const head *a)
{
    for (int i = 0; i < a->pixels; i++) {
        double *row = a->p + i * a->pixels, top = row[0], sum = 0;
        for (int j = 0; j < a->pixels; j++)
            top = fmax(top, row[j]);
        for (int j = 0; j < a->pixels; j++)
            sum += row[j] = exp(row[j] - top);
        for (int j = 0; j < a->pixels; j++)
            row[j] /= sum;
    }
}

/* y [pixels][c] += P V */
static inline void head_mix(const head *a, double *y)
{
    int t = a->pixels;
    for (int j = 0; j < t * t; j++)
        for (int k = 0; k < a->d; k++)
            y[j / t * a->c + a->k0 + k] += a->p[j] * a->x[head_at(a, 2, j % t, k)];
}

/* dx [pixels][3c] += what follows from dy [pixels][c]. */
static inline void head_gradient(const head *a, const double *dy, double *dx)
{
    int t = a->pixels;
    for (int i = 0; i < t; i++) {
        const double *g = dy + i * a->c + a->k0, *p = a->p + i * t;
        double *dp = a->dp + i * t, mean = 0;
        for (int j = 0; j < t; j++) {
            dp[j] = 0;
            for (int k = 0; k < a->d; k++) {
                dp[j] += g[k] * a->x[head_at(a, 2, j, k)];
                dx[head_at(a, 2, j, k)] += p[j] * g[k];
            }
            mean += dp[j] * p[j];
        }
        for (int j = 0; j < t; j++)
            for (int k = 0; k < a->d; k++) {
                double ds = p[j] * (dp[j] - mean) / sqrt(a->d);
                dx[head_at(a, 0, i, k)] += ds * a->x[head_at(a, 1, j, k)];
                dx[head_at(a, 1, j, k)] += ds * a->x[head_at(a, 0, i, k)];
            }
    }
}

#endif
