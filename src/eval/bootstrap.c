/*
 * Intervals by the bootstrap (Efron 1979): pictures are drawn again, with replacement, as many as
 * there are. Which ones is a pure function of seed and resample, so that a report has one interval.
 * And by the jackknife, where drawing one picture twice would change the statistic's meaning: pairs
 * of a picture and itself, nearest neighbours.
 */
#include "eval/internal.h"

void sumi_bootstrap_weights(uint64_t seed, int r, int64_t n, uint32_t *weights)
{
    sumi_random at = {seed, SUMI_STREAM_EVAL, (uint32_t)r, SUMI_DRAW_RESAMPLE};
    memset(weights, 0, (size_t)n * sizeof *weights);
    for (int64_t i = 0; i < n; i++)
        weights[sumi_random_below(&at, (uint64_t)i, (uint32_t)n)]++;
}

int64_t *sumi_eval_order(uint64_t seed, uint32_t step, int64_t n)
{
    sumi_random at = {seed, SUMI_STREAM_EVAL, step, SUMI_DRAW_ORDER};
    int64_t *order = sumi_calloc((size_t)n, sizeof *order);
    for (int64_t i = 0; order && i < n; i++) {
        int64_t k = sumi_random_below(&at, (uint64_t)i, (uint32_t)(i + 1));
        order[i] = order[k];
        order[k] = i;
    }
    return order;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, int count, double share)
{
    double at = share * (count - 1);
    int low = (int)at, high = low + 1 < count ? low + 1 : low;
    return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
}

sumi_score sumi_bootstrap_score(double value, double *resampled, int count)
{
    double mean = 0;
    for (int i = 0; i < count; i++) {
        if (isnan(resampled[i]))
            return (sumi_score){value, NAN, NAN};
        mean += resampled[i] / count;
    }
    qsort(resampled, (size_t)count, sizeof *resampled, by_size);
    return (sumi_score){value, value + quantile(resampled, count, .025) - mean,
                        value + quantile(resampled, count, .975) - mean};
}

/* 97.5 % of Student's t with so many degrees of freedom, by Cornish and Fisher's expansion: within
 * 1 % from 3 on. */
static double student(int freedom)
{
    const double z = 1.959964, f = freedom;
    return z + (pow(z, 3) + z) / (4 * f) + (5 * pow(z, 5) + 16 * pow(z, 3) + 3 * z) / (96 * f * f);
}

sumi_score sumi_jackknife_score(double value, const double *left_out, int blocks,
                                double *standard_error)
{
    double mean = 0, squares = 0;
    for (int b = 0; b < blocks; b++)
        mean += left_out[b] / blocks;
    for (int b = 0; b < blocks; b++)
        squares += (left_out[b] - mean) * (left_out[b] - mean);
    double error = sqrt(squares * (blocks - 1) / blocks);
    double reach = blocks > 1 ? student(blocks - 1) * error : NAN;
    if (standard_error)
        *standard_error = error;
    return (sumi_score){value, value - reach, value + reach};
}

sumi_status sumi_bootstrap_mean(const double *values, int64_t n, uint64_t seed, sumi_score *out,
                                sumi_error *err)
{
    double means[SUMI_EVAL_RESAMPLES], value = 0;
    uint32_t *weights = sumi_calloc((size_t)n, sizeof *weights);
    if (!weights)
        return sumi_fail_memory(err, "a bootstrap", (size_t)n * sizeof *weights);
    for (int64_t i = 0; i < n; i++)
        value += values[i];
    for (int r = 0; r < SUMI_EVAL_RESAMPLES; r++) {
        sumi_bootstrap_weights(seed, r, n, weights);
        means[r] = 0;
        for (int64_t i = 0; i < n; i++)
            means[r] += weights[i] * values[i];
        means[r] /= (double)n;
    }
    free(weights);
    *out = sumi_bootstrap_score(value / (double)n, means, SUMI_EVAL_RESAMPLES);
    return SUMI_OK;
}
