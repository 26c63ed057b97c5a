/*
 * How well a network knows pictures that it was not trained on: the error of its predictions at
 * every level of noise, and a bound on their likelihood.
 *
 * Both take noise that is a pure function of seed, image and place, so that two models, or one at
 * two times, are asked the same questions.
 */
#include "eval/internal.h"

/* Questions for the network: pictures at levels of their own. */
typedef struct {
    const sumi_likelihood *of;
    int most; /* at a time */
    float *noisy, *input, *answer, *times;
    sumi_level *levels; /* [most] */
    int64_t *images;    /* [most] */
    int count;          /* that wait for an answer */
} questions;

static bool questions_init(questions *q, const sumi_likelihood *of)
{
    size_t most = (size_t)of->batch, floats = most * of->count;
    *q = (questions){.of = of, .most = of->batch};
    q->noisy = sumi_calloc(3 * floats + most, sizeof *q->noisy);
    q->levels = sumi_calloc(most, sizeof *q->levels);
    q->images = sumi_calloc(most, sizeof *q->images);
    if (!q->noisy || !q->levels || !q->images)
        return false;
    q->input = q->noisy + floats;
    q->answer = q->input + floats;
    q->times = q->answer + floats;
    return true;
}

static void questions_free(questions *q)
{
    free(q->noisy);
    free(q->levels);
    free(q->images);
}

/* Adds x_t of a picture; `place` tells its noise from that of the same picture elsewhere. */
static void ask(questions *q, int64_t image, uint32_t place, const sumi_level *level)
{
    const sumi_likelihood *of = q->of;
    size_t at = (size_t)q->count * of->count;
    const float *x_0 = of->images + (size_t)image * of->count;
    sumi_random from = {of->seed, SUMI_STREAM_EVAL, place,
                        (uint64_t)SUMI_DRAW_NOISE << 48 | (uint64_t)image};
    sumi_terms terms = sumi_process_terms(of->process, level);
    float *noise = q->input + at;
    sumi_random_normals(&from, 0, noise, of->count);
    if (of->standard) {
        sumi_standard_apply(of->standard, x_0, q->noisy + at, of->count);
        x_0 = q->noisy + at;
    }
    for (size_t k = 0; k < of->count; k++) {
        double x_t = level->alpha * (double)x_0[k] + level->sigma * (double)noise[k];
        q->noisy[at + k] = (float)x_t;
        q->input[at + k] = (float)(terms.c_in * x_t);
    }
    q->times[q->count] = (float)level->time;
    q->levels[q->count] = *level;
    q->images[q->count++] = image;
}

/* The answers as predictions of x_0, in their place. */
static sumi_status hear(questions *q)
{
    const sumi_likelihood *of = q->of;
    sumi_status status = of->predict(of->user, q->input, q->times, q->count, q->answer);
    for (int i = 0; i < q->count && status == SUMI_OK; i++) {
        sumi_terms terms = sumi_process_terms(of->process, &q->levels[i]);
        float *answer = q->answer + (size_t)i * of->count;
        sumi_map_apply(&terms.image, q->noisy + (size_t)i * of->count, answer, answer, of->count);
        if (of->standard)
            sumi_standard_undo(of->standard, answer, answer, of->count);
    }
    return status;
}

/* How many units of the process, where noise has deviation 1, a step of 1 of number k is. */
static double units(const sumi_likelihood *of, size_t k)
{
    const sumi_standard *standard = of->standard;
    size_t c = standard ? k % (size_t)standard->channels : 0;
    return standard ? (double)standard->to / (double)standard->deviation[c] : 1;
}

/* |x_0 - prediction|^2 in units of the process, with the prediction clipped to the values that
 * there are. */
static double image_error(const questions *q, int i, bool clip)
{
    const sumi_likelihood *of = q->of;
    const float *x_0 = of->images + (size_t)q->images[i] * of->count,
                *answer = q->answer + (size_t)i * of->count;
    double sum = 0;
    for (size_t k = 0; k < of->count; k++) {
        double found = (double)answer[k];
        if (clip)
            found = fmin(fmax(found, (double)of->low), (double)of->high);
        double off = (found - (double)x_0[k]) * units(of, k);
        sum += off * off;
    }
    return sum;
}

/* ---- Loss by noise --------------------------------------------------------------------------- */

/* Of a table, a row. */
static sumi_level level_near(const sumi_process *process, double time)
{
    const sumi_schedule *schedule = sumi_schedule_row(process->config.schedule);
    double last = process->config.timesteps;
    if (schedule->betas)
        time = floor(time) + 1;
    return sumi_level_at(process, fmin(fmax(time, schedule->first), last));
}

/* The error of eps is that of x_0 times (alpha / sigma)^2. */
static sumi_status hear_losses(questions *q, int bin, double *loss)
{
    const sumi_likelihood *of = q->of;
    sumi_status status = hear(q);
    for (int i = 0; i < q->count && status == SUMI_OK; i++) {
        const sumi_level *level = &q->levels[i];
        loss[bin] += image_error(q, i, false) * level->alpha2 / level->sigma2 /
                     ((double)of->n * (double)of->count);
    }
    q->count = 0;
    return status;
}

sumi_status sumi_eval_losses(const sumi_likelihood *of, int bins, double *loss, sumi_error *err)
{
    questions q;
    sumi_status status = SUMI_OK;
    if (bins < 1 || bins > SUMI_EVAL_BINS_MAX || of->n < 1 || of->batch < 1)
        return sumi_fail(err, SUMI_EINVAL, "a loss of %d bins, expected 1..%d", bins,
                         SUMI_EVAL_BINS_MAX);
    if (!questions_init(&q, of))
        status = sumi_fail_memory(err, "held-out losses",
                                  3 * (size_t)of->batch * of->count * sizeof(float));
    for (int bin = 0; bin < bins && status == SUMI_OK; bin++) {
        loss[bin] = 0;
        for (int64_t i = 0; i < of->n && status == SUMI_OK; i++) {
            /* Pictures are spread evenly over the bin. */
            double time = (bin + ((double)i + .5) / (double)of->n) / bins;
            sumi_level level = level_near(of->process, time * of->process->config.timesteps);
            ask(&q, i, (uint32_t)bin, &level);
            if (q.count == q.most || i + 1 == of->n)
                status = hear_losses(&q, bin, loss);
        }
    }
    questions_free(&q);
    return status;
}

/* ---- Bits per dimension ---------------------------------------------------------------------- */

/* log of the normal distribution's mass in [low, high], in units of its deviation. */
static double log_mass(double low, double high)
{
    const double half = sqrt(.5);
    /* On the side where both tails are small, their difference has digits. */
    double mass =
        low > 0 ? erfc(low * half) - erfc(high * half) : erfc(-high * half) - erfc(-low * half);
    return log(fmax(mass / 2, 1e-12));
}

/* -log p(x_0 | x_1) in nats: a normal distribution around the prediction, cut into the values that
 * a byte has; the first and last reach to infinity. */
static double decoder(const questions *q, int i, double deviation)
{
    const sumi_likelihood *of = q->of;
    const float *x_0 = of->images + (size_t)q->images[i] * of->count,
                *answer = q->answer + (size_t)i * of->count;
    double half = ((double)of->high - (double)of->low) / 510, sum = 0;
    for (size_t k = 0; k < of->count; k++) {
        double x = (double)x_0[k];
        double mean = fmin(fmax((double)answer[k], (double)of->low), (double)of->high);
        double each = deviation / units(of, k);
        double low = x - half <= (double)of->low ? -INFINITY : (x - half - mean) / each;
        double high = x + half >= (double)of->high ? INFINITY : (x + half - mean) / each;
        sum -= log_mass(low, high);
    }
    return sum;
}

/* KL(N(alpha x_0, sigma^2) | N(0, alpha^2 + sigma^2)) of the last level, from which sampling
 * starts. */
static double prior(const sumi_likelihood *of, int64_t image)
{
    sumi_level last = sumi_level_at(of->process, of->process->config.timesteps);
    const float *x_0 = of->images + (size_t)image * of->count;
    double variance = last.alpha2 + last.sigma2, squares = 0;
    for (size_t k = 0; k < of->count; k++) {
        const sumi_standard *standard = of->standard;
        double mean = standard ? (double)standard->mean[k % (size_t)standard->channels] : 0;
        double x = ((double)x_0[k] - mean) * units(of, k);
        squares += x * x;
    }
    return .5 * ((double)of->count * (last.sigma2 / variance - 1 - log(last.sigma2 / variance)) +
                 last.alpha2 * squares / variance);
}

/* The deviation of x_1 given x_2 and x_0: what the tutorial's sampler adds there, and what stands
 * for that of x_0 given x_1, which would be 0. */
static double decoder_deviation(const sumi_process *process)
{
    sumi_level s = sumi_level_at(process, 1), t = sumi_level_at(process, 2);
    double between = t.sigma2 - t.alpha2 / s.alpha2 * s.sigma2;
    return sqrt(between * s.sigma2 / t.sigma2);
}

/* The level of a stratum for a picture: t = 2 + (T - 1) share in 2..T. Pictures in turn lie a
 * golden section further in the stratum, so that few of them cover it evenly: the terms of the
 * first few levels are most of the bound and differ by factors. */
static int stratum_time(const sumi_likelihood *of, int64_t image, int stratum, int strata)
{
    const double golden = .618033988749894848;
    sumi_random at = {of->seed, SUMI_STREAM_EVAL, (uint32_t)stratum, SUMI_DRAW_STRATUM};
    double place = (double)sumi_random_uniform(&at, 0) + golden * (double)image;
    double share = (stratum + place - floor(place)) / strata;
    return 2 + (int)(share * (of->process->config.timesteps - 1));
}

/* Adds each answer's part to bits[image], in nats. */
static sumi_status hear_bits(questions *q, double deviation, int strata, double *bits)
{
    const sumi_process *process = q->of->process;
    sumi_status status = hear(q);
    for (int i = 0; i < q->count && status == SUMI_OK; i++) {
        const sumi_level *t = &q->levels[i];
        if (t->time == 1) {
            bits[q->images[i]] += decoder(q, i, deviation);
            continue;
        }
        sumi_level s = sumi_level_at(process, t->time - 1);
        bits[q->images[i]] += .5 * (s.alpha2 / s.sigma2 - t->alpha2 / t->sigma2) *
                              image_error(q, i, true) * (process->config.timesteps - 1) / strata;
    }
    q->count = 0;
    return status;
}

sumi_status sumi_eval_bits(const sumi_likelihood *of, int strata, sumi_score *out, sumi_error *err)
{
    questions q = {0};
    if (of->process->config.timesteps < 2 || strata < 1 || of->n < 1 || of->batch < 1)
        return sumi_fail(err, SUMI_EINVAL, "bits per dimension of %d levels in %d strata",
                         of->process->config.timesteps, strata);
    double deviation = decoder_deviation(of->process);
    double *bits = sumi_calloc((size_t)of->n, sizeof *bits);
    sumi_status status = SUMI_OK;
    if (!bits || !questions_init(&q, of))
        status = sumi_fail_memory(err, "bits per dimension",
                                  3 * (size_t)of->batch * of->count * sizeof(float));
    for (int64_t i = 0; i < of->n && status == SUMI_OK; i++) {
        bits[i] = prior(of, i);
        for (int k = 0; k <= strata && status == SUMI_OK; k++) {
            sumi_level level =
                sumi_level_at(of->process, k == strata ? 1 : stratum_time(of, i, k, strata));
            ask(&q, i, (uint32_t)k, &level);
            if (q.count == q.most || (i + 1 == of->n && k == strata))
                status = hear_bits(&q, deviation, strata, bits);
        }
    }
    for (int64_t i = 0; i < of->n && status == SUMI_OK; i++)
        bits[i] /= log(2) * (double)of->count;
    if (status == SUMI_OK)
        status = sumi_bootstrap_mean(bits, of->n, of->seed, out, err);
    questions_free(&q);
    free(bits);
    return status;
}
