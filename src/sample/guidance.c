/*
 * What a sampling asks of networks. Without guidance, that is one prediction. With it, a second one
 * is made that knows less, and what is used lies beyond the first, away from it:
 *
 *     x_0 = other + guidance (x_0 with the label - other)
 *
 * The other is the same network without the label (classifier-free guidance: Ho and Salimans 2022,
 * arXiv:2207.12598), or a smaller or less trained model with the same label (autoguidance: Karras
 * et al. 2024, arXiv:2406.02507). It acts between two levels of noise alone (Kynkaanniemi et al.
 * 2024, arXiv:2404.07724). Both predictions are of one process at one level, where x_0 is
 * p x_t + q F: so F is mixed, which is the same, and before any clipping.
 *
 * With and without label are the two halves of one batch. An image's bits are those of asking
 * twice.
 */
#include "sample/guidance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/fields.h"

#define WEIGHT_MAX 1000
#define SIGMA_MAX 1e30

static bool is_guided(const sumi_sample_config *config)
{
    return config->guidance != 1;
}

/* ---- Checks ---------------------------------------------------------------------------------- */

/* Fields that training goes by, and sampling does not. */
static bool is_of_training(const sumi_field *field)
{
    static const char *const names[] = {"weighting", "law",      "stratified",
                                        "gamma",     "law_mean", "law_std"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(field->name, names[i]) == 0)
            return true;
    return false;
}

/* Both see the same x_t at the same level, and return the same kind of F. */
static sumi_status check_process(const sumi_model *guide, const sumi_model *model, sumi_error *err)
{
    for (const sumi_field *f = sumi_model_fields; f->name; f++) {
        if (f->part != SUMI_PART_PROCESS || is_of_training(f) || !sumi_field_applies(f, model))
            continue;
        double a = sumi_field_number(f, guide), b = sumi_field_number(f, model);
        if (a == b)
            continue;
        if (sumi_field_text(f, guide))
            return sumi_fail(err, SUMI_EINVAL,
                             "the guide has the %s %s, the model %s: they must be of one process",
                             f->name, sumi_field_text(f, guide), sumi_field_text(f, model));
        return sumi_fail(err, SUMI_EINVAL,
                         "the guide has a %s of %.9g, the model of %.9g: they must be of one "
                         "process",
                         f->name, a, b);
    }
    return SUMI_OK;
}

/* Images of both are shifted and scaled alike. */
static bool same_standard(const sumi_standard *a, const sumi_standard *b)
{
    bool same = a->channels == b->channels && (a->channels == 0 || a->to == b->to);
    for (int c = 0; same && c < a->channels; c++)
        same = a->mean[c] == b->mean[c] && a->deviation[c] == b->deviation[c];
    return same;
}

static sumi_status check_guide(const sumi_model *guide, const sumi_model *model, sumi_error *err)
{
    const sumi_model_info_t *a = &guide->info, *b = &model->info;
    bool sized = a->height > 0 && b->height > 0;
    if (a->in_channels != b->in_channels || a->out_channels != b->out_channels ||
        (sized && (a->height != b->height || a->width != b->width)))
        return sumi_fail(err, SUMI_ESHAPE,
                         "the guide is for images of %dx%dx%d, the model for %dx%dx%d "
                         "(height x width x channels; 0: any)",
                         a->height, a->width, a->out_channels, b->height, b->width,
                         b->out_channels);
    if (guide->graph.labels >= 0 && model->graph.labels >= 0 &&
        guide->graph.classes != model->graph.classes)
        return sumi_fail(err, SUMI_EINVAL, "the guide has %d labels, the model %d",
                         guide->graph.classes, model->graph.classes);
    if (!same_standard(&guide->standard, &model->standard))
        return sumi_fail(err, SUMI_EINVAL,
                         "the guide was trained on other data: their means and deviations, which "
                         "both models go by, are not the same");
    return check_process(guide, model, err);
}

sumi_status sumi_guidance_check(const sumi_sample_config *config, const sumi_model *model,
                                sumi_error *err)
{
    if (!(config->guidance >= 0 && config->guidance <= WEIGHT_MAX))
        return sumi_fail(err, SUMI_EINVAL, "guidance is %g, expected 0..%d",
                         (double)config->guidance, WEIGHT_MAX);
    if (!(config->guidance_from >= 0 && config->guidance_from < config->guidance_to))
        return sumi_fail(err, SUMI_EINVAL,
                         "guidance is from a sigma of %g to %g, expected a rising range from 0 on",
                         (double)config->guidance_from, (double)config->guidance_to);
    if (!is_guided(config))
        return SUMI_OK;
    if (config->guide)
        return check_guide(config->guide, model, err);
    if (model->graph.labels < 0)
        return sumi_fail(err, SUMI_EINVAL,
                         "this model was trained without labels: guidance needs another model, "
                         "a guide");
    if (!config->labels)
        return sumi_fail(err, SUMI_EINVAL,
                         "guidance away from no label needs labels, and there are none");
    return SUMI_OK;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static sumi_status find_networks(sumi_asking *asking, const sumi_model *model)
{
    const sumi_sample_config *config = asking->config;
    const sumi_model *guide = is_guided(config) ? config->guide : NULL;
    sumi_predictor want = {.n_max = asking->batch,
                           .h = config->height,
                           .w = config->width,
                           .precision = config->precision};
    asking->halves = is_guided(config) && !guide;
    asking->told = config->labels && model->graph.labels >= 0;
    asking->guide_told = asking->told && guide && guide->graph.labels >= 0;
    sumi_status status = SUMI_OK;
    if (guide)
        status = sumi_runtime_predictor(asking->runtime, guide, &want, &asking->guide, asking->err);
    if (asking->halves)
        want.n_max *= 2;
    if (status == SUMI_OK)
        status =
            sumi_runtime_predictor(asking->runtime, model, &want, &asking->network, asking->err);
    return status;
}

/* Device memory for `images` images; true without need. */
static bool add_tensor(const sumi_asking *asking, bool wanted, size_t bytes, void *out)
{
    if (!wanted)
        return true;
    void *memory = asking->runtime->backend->alloc(asking->runtime->device, bytes);
    memcpy(out, &memory, sizeof memory);
    return memory != NULL;
}

sumi_status sumi_asking_init(sumi_asking *asking, const sumi_model *model, int batch,
                             size_t image_floats)
{
    size_t n = (size_t)batch, images = n * image_floats * sizeof(float);
    asking->batch = batch;
    asking->image_floats = image_floats;
    sumi_status status = find_networks(asking, model);
    if (status != SUMI_OK)
        return status;
    size_t times = asking->halves ? 2 : 1;
    asking->given = sumi_calloc(2 * n, sizeof *asking->given);
    asking->cost = sumi_calloc(n, sizeof *asking->cost);
    asking->host_time = sumi_calloc(n, sizeof *asking->host_time);
    asking->factors = sumi_calloc(n, sizeof *asking->factors);
    bool ok = asking->given && asking->cost && asking->host_time && asking->factors;
    ok = ok && add_tensor(asking, asking->told, 2 * n * sizeof(int32_t), &asking->labels);
    ok = ok && add_tensor(asking, asking->halves, 2 * images, &asking->image);
    ok = ok && add_tensor(asking, asking->halves, 2 * n * sizeof(float), &asking->time);
    ok = ok && add_tensor(asking, is_guided(asking->config), times * images, &asking->other);
    return ok ? SUMI_OK : sumi_fail_memory(asking->err, "predictions", times * images);
}

void sumi_asking_free(sumi_asking *asking)
{
    if (!asking->runtime)
        return;
    const sumi_backend *backend = asking->runtime->backend;
    sumi_device *device = asking->runtime->device;
    size_t n = (size_t)asking->batch, images = n * asking->image_floats * sizeof(float);
    backend->free(device, asking->labels, 2 * n * sizeof(int32_t));
    backend->free(device, asking->image, 2 * images);
    backend->free(device, asking->time, 2 * n * sizeof(float));
    backend->free(device, asking->other, (asking->halves ? 2 : 1) * images);
    free(asking->given);
    free(asking->cost);
    free(asking->host_time);
    free(asking->factors);
    *asking = (sumi_asking){0};
}

void sumi_asking_labels(sumi_asking *asking, const int32_t *labels, int n)
{
    if (!asking->told)
        return;
    for (int i = 0; i < n; i++) {
        asking->given[i] = labels[i];
        asking->given[n + i] = -1;
    }
    asking->runtime->backend->upload(asking->runtime->device, asking->labels, asking->given,
                                     2 * (size_t)n * sizeof *asking->labels);
}

/* ---- Predictions ----------------------------------------------------------------------------- */

/* Which images are guided at the levels where they stand, and by how much; true where any is. */
static bool plan_guidance(sumi_asking *asking, const float *times, int n)
{
    const sumi_sample_config *config = asking->config;
    bool any = false, inside = false;
    if (is_guided(config))
        asking->runtime->backend->download(asking->runtime->device, asking->host_time, times,
                                           (size_t)n * sizeof *times);
    for (int i = 0; i < n; i++) {
        asking->cost[i] = 1;
        asking->factors[i] = (sumi_factors){.source = {1, 0}, .divisor = 1};
        if (!is_guided(config) || (asking->halves && asking->given[i] < 0))
            continue;
        if (i == 0 || asking->host_time[i] != asking->host_time[i - 1]) {
            sumi_level level = sumi_level_at(asking->process, (double)asking->host_time[i]);
            double sigma = fmin(exp(sumi_level_log_ratio(&level)), SIGMA_MAX);
            inside = sigma >= (double)config->guidance_from && sigma <= (double)config->guidance_to;
        }
        if (!inside)
            continue;
        asking->cost[i] = 2;
        asking->factors[i].source[0] = config->guidance;
        asking->factors[i].source[1] = 1 - config->guidance;
        any = true;
    }
    return any;
}

static sumi_status ask(const sumi_asking *asking, bool guide, const sumi_inputs *in, double time,
                       int n, float *f)
{
    const sumi_backend *backend = asking->runtime->backend;
    backend->predict(guide ? asking->guide : asking->network, in, n, &f);
    bool finite = backend->finite(asking->runtime->device, f, (size_t)n * asking->image_floats);
    sumi_status status = backend->status(asking->runtime->device, asking->err);
    if (finite || status != SUMI_OK)
        return status;
    return sumi_fail(asking->err, SUMI_EFORMAT,
                     "the %s produced a value that is not finite at t = %g: these weights "
                     "cannot be sampled from",
                     guide ? "guide's network" : "network", time);
}

/* f = the mix of both; one prediction of images that are not guided stays as it is, to the bit. */
static void mix(const sumi_asking *asking, const float *first, const float *other, int n, float *f)
{
    const sumi_mixing work = {.n = n,
                              .count = asking->image_floats,
                              .out = f,
                              .sources = 2,
                              .source = {first, other},
                              .factors = asking->factors,
                              .factors_each = true};
    asking->runtime->backend->mix(asking->runtime->device, &work);
}

/* With the label and without, as one batch. */
static sumi_status ask_halves(const sumi_asking *asking, const float *x, const float *times,
                              double time, int n, float *f)
{
    const sumi_backend *backend = asking->runtime->backend;
    sumi_device *device = asking->runtime->device;
    size_t floats = (size_t)n * asking->image_floats;
    for (int half = 0; half < 2; half++) {
        backend->copy(device, asking->image + (size_t)half * floats, x, floats * sizeof *x);
        backend->copy(device, asking->time + half * n, times, (size_t)n * sizeof *times);
    }
    const sumi_inputs in = {.image = asking->image, .time = asking->time, .labels = asking->labels};
    sumi_status status = ask(asking, false, &in, time, 2 * n, asking->other);
    if (status == SUMI_OK)
        mix(asking, asking->other, asking->other + floats, n, f);
    return status;
}

sumi_status sumi_asking_predict(sumi_asking *asking, const float *x, const float *times,
                                double time, int n, float *f)
{
    if (sumi_runtime_cancelled(asking->runtime))
        return SUMI_CANCELLED;
    bool guided = plan_guidance(asking, times, n);
    for (int i = 0; i < n; i++)
        asking->evaluations += asking->cost[i];
    if (guided && asking->halves)
        return ask_halves(asking, x, times, time, n, f);
    sumi_inputs in = {.image = x, .time = times, .labels = asking->labels};
    sumi_status status = ask(asking, false, &in, time, n, f);
    if (status != SUMI_OK || !guided)
        return status;
    in.labels = asking->guide_told ? asking->labels : NULL;
    status = ask(asking, true, &in, time, n, asking->other);
    if (status == SUMI_OK)
        mix(asking, f, asking->other, n, f);
    return status;
}
