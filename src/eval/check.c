/*
 * Whether sets of pictures are what the measures take, said once and before anything is computed.
 */
#include <inttypes.h>

#include "eval/eval.h"

static sumi_status check_sizes(const sumi_eval_set *set, sumi_error *err)
{
    if (set->n < 1)
        return sumi_fail(err, SUMI_EINVAL, "%s: there are no pictures", set->name);
    if (set->n > SUMI_EVAL_IMAGES_MAX)
        return sumi_fail(err, SUMI_EINVAL, "%s: %" PRId64 " pictures, expected at most %d",
                         set->name, set->n, SUMI_EVAL_IMAGES_MAX);
    if (set->features && (set->d < 1 || set->d > SUMI_FEATURES_MAX))
        return sumi_fail(err, SUMI_EINVAL, "%s: features of %d numbers, expected 1..%d", set->name,
                         set->d, SUMI_FEATURES_MAX);
    if ((set->probabilities || set->labels) &&
        (set->classes < 1 || set->classes > SUMI_EVAL_CLASSES_MAX))
        return sumi_fail(err, SUMI_EINVAL, "%s: %d classes, expected 1..%d", set->name,
                         set->classes, SUMI_EVAL_CLASSES_MAX);
    int64_t shape[] = {set->n, set->h, set->w, set->c};
    size_t bytes;
    if (set->images &&
        (set->h < 1 || set->w < 1 || set->c < 1 || !sumi_size_product(shape, 4, &bytes)))
        return sumi_fail(err, SUMI_EINVAL, "%s: pictures of %dx%dx%d", set->name, set->h, set->w,
                         set->c);
    return SUMI_OK;
}

static sumi_status check_finite(const sumi_eval_set *set, const float *values, int width,
                                const char *what, sumi_error *err)
{
    for (int64_t i = 0; values && i < set->n; i++) {
        for (int k = 0; k < width; k++) {
            float value = values[i * width + k];
            if (!isfinite(value))
                return sumi_fail(err, SUMI_EINVAL,
                                 "%s: number %d of the %s of picture %" PRId64 " is %s", set->name,
                                 k, what, i, isnan(value) ? "NaN" : "infinite");
        }
    }
    return SUMI_OK;
}

/* A softmax in float32 adds up to 1 within its rounding. */
static sumi_status check_rows(const sumi_eval_set *set, sumi_error *err)
{
    for (int64_t i = 0; set->probabilities && i < set->n; i++) {
        const float *row = set->probabilities + i * set->classes;
        double sum = 0;
        bool negative = false;
        for (int k = 0; k < set->classes; k++) {
            sum += (double)row[k];
            negative |= row[k] < 0;
        }
        if (negative || fabs(sum - 1) > 1e-3)
            return sumi_fail(err, SUMI_EINVAL,
                             "%s: the probabilities of picture %" PRId64 " add up to %g%s",
                             set->name, i, sum, negative ? ", and one is negative" : "");
    }
    for (int64_t i = 0; set->labels && i < set->n; i++)
        if (set->labels[i] < -1 || set->labels[i] >= set->classes)
            return sumi_fail(err, SUMI_EINVAL,
                             "%s: label %d of picture %" PRId64 ", expected -1..%d", set->name,
                             (int)set->labels[i], i, set->classes - 1);
    return SUMI_OK;
}

sumi_status sumi_eval_check(const sumi_eval_set *set, sumi_error *err)
{
    sumi_status status = check_sizes(set, err);
    if (status == SUMI_OK)
        status = check_finite(set, set->features, set->d, "features", err);
    if (status == SUMI_OK)
        status = check_finite(set, set->probabilities, set->classes, "probabilities", err);
    return status == SUMI_OK ? check_rows(set, err) : status;
}

sumi_status sumi_eval_check_pair(const sumi_eval_set *a, const sumi_eval_set *b, sumi_error *err)
{
    if (a->features && b->features && a->d != b->d)
        return sumi_fail(err, SUMI_ESHAPE, "%s has features of %d numbers, %s of %d", a->name, a->d,
                         b->name, b->d);
    if (a->probabilities && b->probabilities && a->classes != b->classes)
        return sumi_fail(err, SUMI_ESHAPE, "%s has %d classes, %s %d", a->name, a->classes, b->name,
                         b->classes);
    if (a->images && b->images && (a->h != b->h || a->w != b->w || a->c != b->c))
        return sumi_fail(err, SUMI_ESHAPE, "%s has pictures of %dx%dx%d, %s of %dx%dx%d", a->name,
                         a->h, a->w, a->c, b->name, b->h, b->w, b->c);
    return SUMI_OK;
}
