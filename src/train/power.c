/*
 * Averages by a power of the step: their widths, and one of any width from snapshots of others
 * (Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models",
 * arXiv:2312.02696, section 3 and appendix C).
 *
 * At step t, step s <= t weighs (g + 1) s^g / t^(g + 1), g the exponent. The standard deviation of
 * s / t is the width. An average of snapshots is a mixture of their profiles; the factors are those
 * that come nearest to the profile that is wanted, in the sense of least squares, and then add up
 * to 1 (as in the authors' code): weights that are all alike stay as they are.
 */
#include "train/train.h"

#include <math.h>
#include <stdlib.h>

double sumi_power_width(double exponent)
{
    return sqrt(exponent + 1) / ((exponent + 2) * sqrt(exponent + 3));
}

/* It falls as the exponent grows, so halving an interval finds it. */
double sumi_power_exponent(double width)
{
    double low = 0, high = 1;
    while (sumi_power_width(high) > width && high < 1e12)
        high *= 2;
    for (int i = 0; i < 100; i++) {
        double middle = (low + high) / 2;
        *(sumi_power_width(middle) > width ? &low : &high) = middle;
    }
    return (low + high) / 2;
}

/* The product of two profiles, integrated. */
static double profile_product(const sumi_power_profile *a, const sumi_power_profile *b)
{
    double ratio = a->step / b->step, later = fmax(a->step, b->step);
    double power = a->step < b->step ? pow(ratio, b->exponent) : pow(ratio, -a->exponent);
    return (a->exponent + 1) * (b->exponent + 1) * power /
           ((a->exponent + b->exponent + 1) * later);
}

/* Solves a x = b by elimination with the largest pivots; a [n][n] and b [n], which becomes x, are
 * overwritten. False where a has no inverse. */
static bool solve(double *a, double *b, int n)
{
    for (int k = 0; k < n; k++) {
        int pivot = k;
        for (int i = k + 1; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[pivot * n + k]))
                pivot = i;
        if (!(fabs(a[pivot * n + k]) > 0))
            return false;
        for (int j = k; j < n && pivot != k; j++) {
            double swap = a[k * n + j];
            a[k * n + j] = a[pivot * n + j];
            a[pivot * n + j] = swap;
        }
        double swap = b[k];
        b[k] = b[pivot];
        b[pivot] = swap;
        for (int i = k + 1; i < n; i++) {
            double factor = a[i * n + k] / a[k * n + k];
            for (int j = k; j < n; j++)
                a[i * n + j] -= factor * a[k * n + j];
            b[i] -= factor * b[k];
        }
    }
    for (int k = n - 1; k >= 0; k--) {
        for (int j = k + 1; j < n; j++)
            b[k] -= a[k * n + j] * b[j];
        b[k] /= a[k * n + k];
    }
    return true;
}

sumi_status sumi_power_factors(const sumi_power_profile *snapshots, int count,
                               const sumi_power_profile *wanted, double *factors, sumi_error *err)
{
    double *products = sumi_calloc((size_t)count * (size_t)count, sizeof *products);
    if (!products)
        return sumi_fail_memory(err, "the profiles of snapshots", 0);
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < count; j++)
            products[i * count + j] = profile_product(&snapshots[i], &snapshots[j]);
        factors[i] = profile_product(&snapshots[i], wanted);
    }
    bool solved = solve(products, factors, count);
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += factors[i];
    for (int i = 0; i < count; i++) {
        factors[i] /= sum;
        solved &= isfinite(factors[i]) != 0;
    }
    free(products);
    return solved ? SUMI_OK
                  : sumi_fail(err, SUMI_EINVAL,
                              "no average can be told from these snapshots: two are the same");
}
