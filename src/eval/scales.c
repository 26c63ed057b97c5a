/*
 * What a distance means: the same measures on pictures of which one knows what to think.
 */
#include "eval/internal.h"

/* Pictures whose features are asked for, and the sets that a row compares. */
typedef struct {
    const sumi_eval_machine *machine;
    const sumi_eval_set *training, *reference;
    int64_t n;
    sumi_eval_report *report;
    float *features; /* [n][d] */
    uint8_t *images; /* [n][h][w][c] */
} scales_job;

static size_t image_bytes(const sumi_eval_set *set)
{
    return (size_t)set->h * (size_t)set->w * (size_t)set->c;
}

/* A set may be sorted by class: rows first to first + n - 1 of an order by chance. */
static sumi_status gather(const sumi_eval_set *from, int64_t first, int64_t n, float *to,
                          sumi_error *err)
{
    size_t d = (size_t)from->d;
    int64_t *order = sumi_eval_order(0, 4, from->n);
    if (!order)
        return sumi_fail_memory(err, "an order", (size_t)from->n * sizeof *order);
    for (int64_t i = 0; i < n; i++)
        memcpy(to + (size_t)i * d, from->features + (size_t)order[first + i] * d, d * sizeof *to);
    free(order);
    return SUMI_OK;
}

static sumi_eval_set set_of(const scales_job *job, const char *name, int64_t n, const float *values)
{
    return (sumi_eval_set){.name = name, .n = n, .d = job->reference->d, .features = values};
}

static sumi_status add_training(scales_job *job, sumi_error *err)
{
    int64_t n = job->n < job->training->n ? job->n : job->training->n;
    sumi_eval_set set = set_of(job, "training pictures", n, job->features);
    sumi_status status = gather(job->training, 0, n, job->features, err);
    return status == SUMI_OK
               ? sumi_eval_add_scale(job->machine, set.name, &set, job->reference, job->report, err)
               : status;
}

static sumi_status add_halves(scales_job *job, sumi_error *err)
{
    int64_t half = job->reference->n / 2;
    size_t d = (size_t)job->reference->d;
    float *values = sumi_calloc(2 * (size_t)half, d * sizeof *values);
    if (!values)
        return sumi_fail_memory(err, "halves of a set", 2 * (size_t)half * d * sizeof *values);
    sumi_eval_set a = set_of(job, "held-out ones, half to half", half, values),
                  b = set_of(job, "the rest", half, values + (size_t)half * d);
    sumi_status status = gather(job->reference, 0, 2 * half, values, err);
    if (status == SUMI_OK)
        status = sumi_eval_add_scale(job->machine, a.name, &a, &b, job->report, err);
    free(values);
    return status;
}

/* The features of job->images as a row. */
static sumi_status add_images(scales_job *job, const sumi_features_of *network, const char *name,
                              int64_t n, sumi_error *err)
{
    sumi_eval_set set = set_of(job, name, n, job->features);
    sumi_status status = network->features(network->user, job->images, n, job->features, err);
    return status == SUMI_OK
               ? sumi_eval_add_scale(job->machine, name, &set, job->reference, job->report, err)
               : status;
}

/* Of the first held-out pictures, and of the training pictures' pixels. */
static sumi_status add_spoilt(scales_job *job, const sumi_features_of *network, sumi_error *err)
{
    sumi_eval_set some = *job->reference;
    const sumi_eval_set *pixels =
        job->training && job->training->images ? job->training : job->reference;
    some.n = job->n < some.n ? job->n : some.n;
    sumi_status status = sumi_eval_blurred(&some, job->images, err);
    if (status == SUMI_OK)
        status = add_images(job, network, "blurred held-out ones", some.n, err);
    if (status == SUMI_OK)
        status = sumi_eval_pixel_gaussian(pixels, job->n, 0, job->images, err);
    return status == SUMI_OK ? add_images(job, network, "each pixel drawn for itself", job->n, err)
                             : status;
}

sumi_status sumi_eval_add_scales(const sumi_eval_machine *machine, const sumi_eval_set *training,
                                 const sumi_eval_set *reference, int64_t n,
                                 const sumi_features_of *network, sumi_eval_report *report,
                                 sumi_error *err)
{
    scales_job job = {machine, training, reference, n, report, NULL, NULL};
    sumi_status status = sumi_eval_check(reference, err);
    if (status == SUMI_OK && !reference->features)
        status = sumi_fail(err, SUMI_EINVAL, "%s: there are no features", reference->name);
    if (status == SUMI_OK && (n < 1 || n > SUMI_EVAL_IMAGES_MAX))
        status = sumi_fail(err, SUMI_EINVAL, "a scale of %lld pictures", (long long)n);
    if (status == SUMI_OK && training)
        status = sumi_eval_check_pair(training, reference, err);
    if (status != SUMI_OK)
        return status;
    bool spoilt = network && reference->images;
    job.features = sumi_calloc((size_t)n, (size_t)reference->d * sizeof *job.features);
    job.images = sumi_calloc((size_t)n, spoilt ? image_bytes(reference) : 1);
    if (!job.features || !job.images)
        status = sumi_fail_memory(err, "a scale", (size_t)n * (size_t)reference->d * sizeof(float));
    if (status == SUMI_OK && training && training->features)
        status = add_training(&job, err);
    if (status == SUMI_OK && reference->n / 2 > reference->d)
        status = add_halves(&job, err);
    if (status == SUMI_OK && spoilt)
        status = add_spoilt(&job, network, err);
    free(job.features);
    free(job.images);
    return status;
}
