/*
 * The distance between the power spectra of two sets of pictures: networks that up-sample leave too
 * much or too little of the finest frequencies, which features pass over.
 */
#include "eval/internal.h"

enum { PIECES = 64 }; /* of a set's pictures, added up in order */
#define FLOOR 1e-10   /* of a mean power, so that a set without a frequency has a logarithm */

typedef struct {
    double re, im;
} complex_pair;

/* out[k] = sum over j of in[j * step] exp(-2 pi i j k / n): n's smallest prime factor is split off
 * (Cooley and Tukey 1965). roots: those of the whole, root_step apart; work: n more. */
static void transform(const complex_pair *in, size_t step, complex_pair *out, size_t n,
                      const complex_pair *roots, size_t root_step, complex_pair *work)
{
    size_t p = 2;
    if (n == 1) {
        out[0] = in[0];
        return;
    }
    while (n % p)
        p = p * p > n ? n : p + 1;
    size_t rest = n / p;
    for (size_t r = 0; r < p; r++)
        transform(in + r * step, step * p, work + r * rest, rest, roots, root_step * p,
                  out + r * rest);
    for (size_t k = 0; k < n; k++) {
        complex_pair sum = {0, 0};
        for (size_t r = 0; r < p; r++) {
            complex_pair root = roots[r * k % n * root_step], x = work[r * rest + k % rest];
            sum.re += root.re * x.re - root.im * x.im;
            sum.im += root.re * x.im + root.im * x.re;
        }
        out[k] = sum;
    }
}

static void fill_roots(complex_pair *roots, size_t n)
{
    const double pi = 3.14159265358979323846;
    for (size_t k = 0; k < n; k++)
        roots[k] = (complex_pair){cos(2 * pi * (double)k / (double)n),
                                  -sin(2 * pi * (double)k / (double)n)};
}

typedef struct {
    const sumi_eval_set *set;
    complex_pair *roots_w, *roots_h;
    complex_pair *memory; /* [threads][2 * h * w + longer side] */
    double *powers;       /* [PIECES][h * w] */
} spectrum_job;

/* Adds |F|^2 / (h w) of one channel. */
static void add_power(const spectrum_job *job, const uint8_t *image, complex_pair *plane,
                      double *powers)
{
    size_t h = (size_t)job->set->h, w = (size_t)job->set->w, c = (size_t)job->set->c;
    complex_pair *half = plane + h * w, *work = half + h * w;
    for (size_t k = 0; k < h * w; k++)
        plane[k] = (complex_pair){image[k * c] / 255., 0};
    for (size_t y = 0; y < h; y++)
        transform(plane + y * w, 1, half + y * w, w, job->roots_w, 1, work);
    for (size_t x = 0; x < w; x++) {
        transform(half + x, w, plane, h, job->roots_h, 1, work);
        for (size_t y = 0; y < h; y++)
            powers[y * w + x] +=
                (plane[y].re * plane[y].re + plane[y].im * plane[y].im) / (double)(h * w);
    }
}

static void spectrum_task(void *arg, int64_t chunk, int thread)
{
    spectrum_job *job = arg;
    size_t h = (size_t)job->set->h, w = (size_t)job->set->w, c = (size_t)job->set->c;
    complex_pair *memory = job->memory + (size_t)thread * (2 * h * w + h + w);
    for (int64_t i = job->set->n * chunk / PIECES; i < job->set->n * (chunk + 1) / PIECES; i++)
        for (size_t k = 0; k < c; k++)
            add_power(job, job->set->images + (size_t)i * h * w * c + k, memory,
                      job->powers + (size_t)chunk * h * w);
}

/* Mean power in rings of one cycle in the shorter side, [radii]; without the mean's own. */
static void rings(const spectrum_job *job, int radii, double *out)
{
    int h = job->set->h, w = job->set->w, side = h < w ? h : w;
    double *counts = out + radii;
    memset(out, 0, 2 * (size_t)radii * sizeof *out);
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
            double fy = (y <= h / 2 ? y : y - h) / (double)h,
                   fx = (x <= w / 2 ? x : x - w) / (double)w;
            int ring = (int)(sqrt(fy * fy + fx * fx) * side + .5) - 1;
            if (ring < 0 || ring >= radii)
                continue;
            for (size_t p = 0; p < PIECES; p++)
                out[ring] += job->powers[p * (size_t)h * (size_t)w + (size_t)(y * w + x)];
            counts[ring] += (double)job->set->n * job->set->c;
        }
    }
    for (int r = 0; r < radii; r++)
        out[r] /= fmax(counts[r], 1);
}

/* out: 2 * radii, the first of which are the spectrum. */
static sumi_status spectrum(const sumi_eval_machine *machine, const sumi_eval_set *set, int radii,
                            double *out, sumi_error *err)
{
    size_t h = (size_t)set->h, w = (size_t)set->w,
           threads = (size_t)sumi_pool_threads(machine->pool);
    size_t pairs = h + w + threads * (2 * h * w + h + w);
    spectrum_job job = {.set = set};
    sumi_status status = SUMI_OK;
    job.roots_w = sumi_calloc(pairs, sizeof *job.roots_w);
    job.powers = sumi_calloc(PIECES * h * w, sizeof *job.powers);
    if (job.roots_w && job.powers) {
        job.roots_h = job.roots_w + w;
        job.memory = job.roots_h + h;
        fill_roots(job.roots_w, w);
        fill_roots(job.roots_h, h);
        status = sumi_eval_parallel(machine, PIECES, spectrum_task, &job, err);
        rings(&job, radii, out);
    } else {
        status = sumi_fail_memory(err, "spectra", pairs * sizeof *job.roots_w);
    }
    free(job.roots_w);
    free(job.powers);
    return status;
}

sumi_status sumi_eval_spectrum(const sumi_eval_machine *machine, const sumi_eval_set *a,
                               const sumi_eval_set *b, double *out, sumi_error *err)
{
    const sumi_eval_set *sets[] = {a, b};
    double *found[2] = {NULL, NULL};
    sumi_status status = SUMI_OK;
    for (int i = 0; i < 2 && status == SUMI_OK; i++) {
        status = sumi_eval_check(sets[i], err);
        if (status == SUMI_OK && !sets[i]->images)
            status = sumi_fail(err, SUMI_EINVAL, "%s: there are no images", sets[i]->name);
    }
    if (status == SUMI_OK)
        status = sumi_eval_check_pair(a, b, err);
    if (status != SUMI_OK)
        return status;
    int side = a->h < a->w ? a->h : a->w, radii = side / 2;
    if (radii < 1)
        return sumi_fail(err, SUMI_EINVAL, "pictures of %dx%d have no spectrum", a->h, a->w);
    for (int i = 0; i < 2 && status == SUMI_OK; i++) {
        found[i] = sumi_calloc(2 * (size_t)radii, sizeof *found[i]);
        status = found[i] ? spectrum(machine, sets[i], radii, found[i], err)
                          : sumi_fail_memory(err, "spectra", (size_t)radii * sizeof **found);
    }
    if (status == SUMI_OK) {
        double squares = 0;
        for (int r = 0; r < radii; r++)
            squares += pow(log10(found[0][r] + FLOOR) - log10(found[1][r] + FLOOR), 2);
        *out = sqrt(squares / radii);
    }
    free(found[0]);
    free(found[1]);
    return status;
}
