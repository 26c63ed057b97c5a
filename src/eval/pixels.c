/*
 * Guards on pixels: what a classifier's features do not see, such as texture and faint noise. And
 * spoilt pictures, for a scale.
 */
#include "eval/internal.h"

enum { DIRECTIONS = 256, LOT = 8 /* directions that are projected on at a time */ };

static sumi_status check(const sumi_eval_set *a, const sumi_eval_set *b, sumi_error *err)
{
    const sumi_eval_set *sets[] = {a, b};
    for (int i = 0; i < 2; i++) {
        sumi_status status = sumi_eval_check(sets[i], err);
        if (status == SUMI_OK && !sets[i]->images)
            status = sumi_fail(err, SUMI_EINVAL, "%s: there are no images", sets[i]->name);
        if (status != SUMI_OK)
            return status;
    }
    return sumi_eval_check_pair(a, b, err);
}

/* ---- Sliced Wasserstein distance ------------------------------------------------------------- */

typedef struct {
    const sumi_eval_set *sets[2];
    size_t pixels;
    float *directions; /* [DIRECTIONS][pixels], each of length 1 */
    float *memory;     /* [threads][LOT][both n] */
    double distances[DIRECTIONS];
} sliced_job;

static void draw_direction(float *to, size_t pixels, int number)
{
    sumi_random at = {0, SUMI_STREAM_EVAL, (uint32_t)number, SUMI_DRAW_DIRECTION};
    double length = 0;
    sumi_random_normals(&at, 0, to, pixels);
    for (size_t k = 0; k < pixels; k++)
        length += (double)to[k] * (double)to[k];
    for (size_t k = 0; k < pixels; k++)
        to[k] = (float)((double)to[k] / sqrt(length));
}

/* LOT directions at once, so that a picture's bytes are widened once; sums in their own lanes. */
static void project(const sliced_job *job, const sumi_eval_set *set, const float *directions,
                    float *to, size_t stride)
{
    for (int64_t i = 0; i < set->n; i++) {
        const uint8_t *image = set->images + (size_t)i * job->pixels;
        float sums[LOT] = {0};
        for (size_t k = 0; k < job->pixels; k++) {
            float value = image[k];
            for (size_t u = 0; u < LOT; u++)
                sums[u] += value * directions[k * LOT + u];
        }
        for (size_t u = 0; u < LOT; u++)
            to[u * stride + (size_t)i] = sums[u] / 255;
    }
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The area between the two distribution functions, which is that between their inverses. */
static double area_between(const float *a, int64_t n, const float *b, int64_t m)
{
    double area = 0, at = 0;
    for (int64_t i = 0, j = 0; i < n && j < m;) {
        double end_a = (double)(i + 1) / (double)n, end_b = (double)(j + 1) / (double)m;
        double end = fmin(end_a, end_b);
        area += (end - at) * fabs((double)a[i] - (double)b[j]);
        at = end;
        /* In whole numbers: (i + 1) / n against (j + 1) / m. */
        int64_t left = (i + 1) * m, right = (j + 1) * n;
        i += left <= right;
        j += right <= left;
    }
    return area;
}

static void sliced_task(void *arg, int64_t chunk, int thread)
{
    sliced_job *job = arg;
    size_t n = (size_t)job->sets[0]->n, m = (size_t)job->sets[1]->n;
    float *values = job->memory + (size_t)thread * LOT * (n + m), *other = values + LOT * n;
    const float *directions = job->directions + (size_t)chunk * LOT * job->pixels;
    project(job, job->sets[0], directions, values, n);
    project(job, job->sets[1], directions, other, m);
    for (size_t u = 0; u < LOT; u++) {
        qsort(values + u * n, n, sizeof *values, by_size);
        qsort(other + u * m, m, sizeof *other, by_size);
        job->distances[chunk * LOT + (int64_t)u] =
            area_between(values + u * n, (int64_t)n, other + u * m, (int64_t)m);
    }
}

/* Directions of a lot lie beside each other, pixel by pixel. */
static bool lay_directions(sliced_job *job)
{
    float *one = sumi_calloc(job->pixels, sizeof *one);
    for (int k = 0; one && k < DIRECTIONS; k++) {
        float *to = job->directions + (size_t)(k / LOT) * LOT * job->pixels + k % LOT;
        draw_direction(one, job->pixels, k);
        for (size_t p = 0; p < job->pixels; p++)
            to[p * LOT] = one[p];
    }
    free(one);
    return one != NULL;
}

sumi_status sumi_eval_sliced(const sumi_eval_machine *machine, const sumi_eval_set *a,
                             const sumi_eval_set *b, double *out, sumi_error *err)
{
    sumi_status status = check(a, b, err);
    if (status != SUMI_OK)
        return status;
    sliced_job *job = sumi_calloc(1, sizeof *job);
    size_t threads = (size_t)sumi_pool_threads(machine->pool), each = (size_t)(a->n + b->n) * LOT;
    if (!job)
        return sumi_fail_memory(err, "the sliced distance", sizeof *job);
    job->sets[0] = a;
    job->sets[1] = b;
    job->pixels = (size_t)a->h * (size_t)a->w * (size_t)a->c;
    job->directions = sumi_calloc(job->pixels, DIRECTIONS * sizeof *job->directions);
    job->memory = sumi_calloc(threads * each, sizeof *job->memory);
    if (job->directions && job->memory && lay_directions(job)) {
        status = sumi_eval_parallel(machine, DIRECTIONS / LOT, sliced_task, job, err);
        *out = 0;
        for (int k = 0; k < DIRECTIONS; k++)
            *out += job->distances[k] / DIRECTIONS;
    } else {
        status = sumi_fail_memory(err, "the sliced distance", threads * each * sizeof(float));
    }
    free(job->directions);
    free(job->memory);
    free(job);
    return status;
}

/* ---- Spoilt pictures ------------------------------------------------------------------------- */

/* 1 4 6 4 1 along one axis, the border's pixels repeated. */
static void blur_axis(const uint16_t *from, uint16_t *to, int count, size_t step)
{
    static const unsigned weights[] = {1, 4, 6, 4, 1};
    for (int i = 0; i < count; i++) {
        unsigned sum = 0;
        for (int k = -2; k <= 2; k++) {
            int at = i + k < 0 ? 0 : i + k >= count ? count - 1 : i + k;
            sum += weights[k + 2] * from[(size_t)at * step];
        }
        to[(size_t)i * step] = (uint16_t)((sum + 8) / 16);
    }
}

sumi_status sumi_eval_blurred(const sumi_eval_set *set, uint8_t *out, sumi_error *err)
{
    size_t h = (size_t)set->h, w = (size_t)set->w, c = (size_t)set->c, pixels = h * w * c;
    uint16_t *from = sumi_calloc(2 * pixels, sizeof *from);
    if (!from)
        return sumi_fail_memory(err, "a picture", 2 * pixels * sizeof *from);
    uint16_t *half = from + pixels;
    for (int64_t i = 0; i < set->n; i++) {
        const uint8_t *image = set->images + (size_t)i * pixels;
        for (size_t k = 0; k < pixels; k++)
            from[k] = (uint16_t)(image[k] << 8);
        for (size_t y = 0; y < h; y++)
            for (size_t k = 0; k < c; k++)
                blur_axis(from + y * w * c + k, half + y * w * c + k, set->w, c);
        for (size_t k = 0; k < w * c; k++)
            blur_axis(half + k, from + k, set->h, w * c);
        for (size_t k = 0; k < pixels; k++)
            out[(size_t)i * pixels + k] = (uint8_t)((from[k] + 127) >> 8);
    }
    free(from);
    return SUMI_OK;
}

sumi_status sumi_eval_pixel_gaussian(const sumi_eval_set *set, int64_t n, uint64_t seed,
                                     uint8_t *out, sumi_error *err)
{
    size_t pixels = (size_t)set->h * (size_t)set->w * (size_t)set->c;
    double *mean = sumi_calloc(2 * pixels, sizeof *mean);
    float *normals = sumi_calloc(pixels, sizeof *normals);
    if (!mean || !normals) {
        free(mean);
        free(normals);
        return sumi_fail_memory(err, "a picture", 2 * pixels * sizeof *mean);
    }
    double *deviation = mean + pixels;
    for (int64_t i = 0; i < set->n; i++)
        for (size_t k = 0; k < pixels; k++)
            mean[k] += set->images[(size_t)i * pixels + k] / (double)set->n;
    for (int64_t i = 0; i < set->n; i++)
        for (size_t k = 0; k < pixels; k++)
            deviation[k] += pow(set->images[(size_t)i * pixels + k] - mean[k], 2) / (double)set->n;
    for (int64_t i = 0; i < n; i++) {
        sumi_random at = {seed, SUMI_STREAM_EVAL, (uint32_t)i, SUMI_DRAW_PIXEL};
        sumi_random_normals(&at, 0, normals, pixels);
        for (size_t k = 0; k < pixels; k++) {
            double value = mean[k] + sqrt(deviation[k]) * (double)normals[k] + .5;
            out[(size_t)i * pixels + k] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
        }
    }
    free(normals);
    free(mean);
    return SUMI_OK;
}
