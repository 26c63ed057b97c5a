/*
 * What a sampling is asked for: checked, and made into a path, limits and masks.
 */
#include "sample/settings.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "models/sampling.h"

#define SIDE_MAX 16384
#define COUNT_MAX 1000000000
#define VISITS_MAX 1000
#define IMAGES_END (INT64_C(1) << 56) /* random streams number images below this */

static sumi_status check_range(const char *name, int64_t value, int64_t low, int64_t high,
                               sumi_error *err)
{
    if (value >= low && value <= high)
        return SUMI_OK;
    return sumi_fail(err, SUMI_EINVAL, "%s is %" PRId64 ", expected %" PRId64 "..%" PRId64, name,
                     value, low, high);
}

static sumi_status check_sizes(const sumi_model_info_t *info, const sumi_sample_config *config,
                               const float *out, size_t out_floats, sumi_error *err)
{
    const struct {
        const char *name;
        int64_t value, low, high;
    } ranges[] = {
        {"count", config->count, 1, COUNT_MAX},
        {"height", config->height, 1, SIDE_MAX},
        {"width", config->width, 1, SIDE_MAX},
        {"steps", config->steps, 0, info->timesteps},
        {"batch", config->batch, 0, COUNT_MAX},
        {"first_index", config->first_index, 0, IMAGES_END - COUNT_MAX},
        {"to_index", config->to_index, -1, IMAGES_END - COUNT_MAX},
        {"mask_visits", config->mask_visits, 1, VISITS_MAX},
        {"mask_jump", config->mask_jump, 0, info->timesteps},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        sumi_status status =
            check_range(ranges[i].name, ranges[i].value, ranges[i].low, ranges[i].high, err);
        if (status != SUMI_OK)
            return status;
    }
    if (info->in_channels != info->out_channels)
        return sumi_fail(err, SUMI_ESHAPE,
                         "the model maps %d channels to %d: sampling needs the same",
                         info->in_channels, info->out_channels);
    int64_t sizes[] = {config->count, config->height, config->width, info->out_channels};
    size_t floats;
    if (!sumi_size_product(sizes, 4, &floats) || (out && floats > out_floats))
        return sumi_fail(err, SUMI_ESHAPE, "%d images of %dx%dx%d do not fit into %zu floats",
                         config->count, config->height, config->width, info->out_channels,
                         out_floats);
    return SUMI_OK;
}

static sumi_status find_solver(const sumi_sample_config *config, sumi_path_config *path,
                               sumi_error *err)
{
    int index;
    sumi_status status = sumi_choice_find(SUMI_CHOICE_SOLVER, config->solver, &index, err);
    if (status != SUMI_OK)
        return status;
    path->solver = sumi_solver_row(index);
    status = sumi_choice_find(SUMI_CHOICE_SPACING, config->spacing, &index, err);
    if (status != SUMI_OK)
        return status;
    path->spacing = sumi_spacing_row(index);
    bool inverse = path->solver->flags & SUMI_SOLVER_INVERSE;
    if (inverse && !config->image)
        return sumi_fail(err, SUMI_EINVAL, "%s begins at an image, and there is none",
                         path->solver->is.name);
    if (inverse && config->strength < 1)
        return sumi_fail(err, SUMI_EINVAL, "%s goes all the way to noise: strength is %g, not 1",
                         path->solver->is.name, (double)config->strength);
    if (config->image && config->start)
        return sumi_fail(err, SUMI_EINVAL, "image and start are both set, one is expected");
    if (path->solver->flags & SUMI_SOLVER_ADAPTIVE && config->on_step)
        return sumi_fail(err, SUMI_EINVAL,
                         "%s has no steps to look at: its images are at levels of their own",
                         path->solver->is.name);
    if (path->solver->flags & (SUMI_SOLVER_ADAPTIVE | SUMI_SOLVER_INVERSE) && config->mask)
        return sumi_fail(err, SUMI_EINVAL, "%s cannot keep what is outside a mask",
                         path->solver->is.name);
    return SUMI_OK;
}

/* What goes together with what. */
static sumi_status check_choices(const sumi_sample_config *config, sumi_error *err)
{
    if (config->mask && !config->image)
        return sumi_fail(err, SUMI_EINVAL, "a mask needs an image, and there is none");
    if (config->mask && config->noise)
        return sumi_fail(err, SUMI_EINVAL,
                         "noise is given for evaluations alone: a mask needs more of it");
    if (config->to_index >= 0 && (config->noise || config->start))
        return sumi_fail(err, SUMI_EINVAL,
                         "to_index says what noise there is: noise and start are not expected");
    return SUMI_OK;
}

static sumi_status check_mask(const sumi_sample_config *config, sumi_error *err)
{
    size_t pixels = (size_t)config->height * (size_t)config->width;
    for (size_t i = 0; config->mask && i < pixels; i++)
        if (!(config->mask[i] >= 0 && config->mask[i] <= 1))
            return sumi_fail(err, SUMI_EINVAL, "mask[%zu][%zu] is %g, expected 0..1",
                             i / (size_t)config->width, i % (size_t)config->width,
                             (double)config->mask[i]);
    return SUMI_OK;
}

static sumi_status check_given(const sumi_sample_config *config, int channels, sumi_error *err)
{
    const int shape[4] = {config->count, config->height, config->width, channels};
    sumi_status status =
        config->image ? sumi_check_finite("image", config->image, shape, err) : SUMI_OK;
    if (status == SUMI_OK && config->start)
        status = sumi_check_finite("start", config->start, shape, err);
    return status == SUMI_OK ? check_mask(config, err) : status;
}

sumi_status sumi_sample_check(const sumi_sample_config *config, const sumi_model_info_t *info,
                              const float *out, size_t out_floats, sumi_error *err)
{
    sumi_status status = check_sizes(info, config, out, out_floats, err);
    if (status == SUMI_OK)
        status = check_choices(config, err);
    return status == SUMI_OK ? check_given(config, info->out_channels, err) : status;
}

/* The levels that the caller names, as t. */
static sumi_status read_levels(const sumi_sample_config *config, const sumi_process *process,
                               double **times, sumi_error *err)
{
    *times = NULL;
    if (config->level_count == 0)
        return SUMI_OK;
    if (!config->levels || config->level_count < 0 ||
        config->level_count > process->config.timesteps)
        return sumi_fail(err, SUMI_EINVAL, "there are %d levels, expected 1..%d",
                         config->levels ? config->level_count : 0, process->config.timesteps);
    if (config->strength != 1)
        return sumi_fail(err, SUMI_EINVAL,
                         "strength and levels both say where to begin, one is expected");
    *times = sumi_calloc((size_t)config->level_count, sizeof **times);
    if (!*times)
        return sumi_fail_memory(err, "the levels of a sampling run",
                                (size_t)config->level_count * sizeof **times);
    for (int i = 0; i < config->level_count; i++) {
        double level = config->levels[i];
        if (config->levels_are_sigma && !(level > 0 && level <= 1e30))
            return sumi_fail(err, SUMI_EINVAL, "level %d has a sigma of %g, expected more than 0",
                             i, level);
        (*times)[i] = config->levels_are_sigma ? sumi_level_time(process, log(level)) : level;
    }
    return SUMI_OK;
}

sumi_status sumi_sample_path(sumi_path *path, const sumi_process *process,
                             const sumi_sample_config *config, sumi_error *err)
{
    sumi_path_config want = SUMI_PATH_CONFIG_INIT;
    double *times = NULL;
    sumi_status status = find_solver(config, &want, err);
    if (status == SUMI_OK)
        status = read_levels(config, process, &times, err);
    want.evaluations = config->steps > 0 ? config->steps : process->config.timesteps;
    want.strength = (double)config->strength;
    want.times = times;
    want.time_count = config->level_count;
    want.eta = config->eta;
    want.churn = (sumi_churn){(double)config->churn, (double)config->churn_min,
                              (double)config->churn_max, (double)config->churn_noise};
    want.tolerance = (sumi_tolerance){(double)config->atol, (double)config->rtol};
    want.sigma_least = (double)config->sigma_min;
    want.sigma_most = (double)config->sigma_max;
    want.rho = (double)config->rho;
    if (status == SUMI_OK)
        status = sumi_path_init(path, process, &want, err);
    free(times);
    return status;
}

sumi_status sumi_sample_limits(const sumi_sample_config *config, const sumi_model_info_t *info,
                               sumi_limits *limits, sumi_error *err)
{
    bool clips = config->clip_low != 0 || config->clip_high != 0;
    if (clips && !(config->clip_low < config->clip_high && config->clip_low >= -1e6f &&
                   config->clip_high <= 1e6f))
        return sumi_fail(err, SUMI_EINVAL, "clip is %g to %g, expected a rising range",
                         (double)config->clip_low, (double)config->clip_high);
    if (!(config->threshold >= 0 && config->threshold <= 1))
        return sumi_fail(err, SUMI_EINVAL, "threshold is %g, expected 0..1",
                         (double)config->threshold);
    *limits = (sumi_limits){.wanted = clips || config->threshold > 0,
                            .low = clips ? config->clip_low : info->range_lo,
                            .high = clips ? config->clip_high : info->range_hi,
                            .share = (double)config->threshold};
    return SUMI_OK;
}

void sumi_sample_complete(const sumi_model *model, sumi_sample_config *config)
{
    sumi_sampling_fill(model, config);
    if (!config->solver)
        config->solver = sumi_solver_row(0)->is.name;
}

sumi_status sumi_sample_check_default(const sumi_model *model, const sumi_sample_config *config,
                                      sumi_error *err)
{
    sumi_process process;
    sumi_path path = {0};
    sumi_limits limits;
    sumi_sample_config full = *config;
    full.levels = NULL;
    full.level_count = 0;
    full.image = full.start = full.mask = NULL;
    full.strength = 1;
    full.on_step = NULL;
    sumi_status status = sumi_process_init(&process, &model->process, err);
    if (status != SUMI_OK)
        return status;
    status = check_range("steps", full.steps, 0, model->info.timesteps, err);
    if (status == SUMI_OK && full.guidance != 1 && model->graph.labels < 0)
        status = sumi_fail(err, SUMI_EINVAL,
                           "this model was trained without labels: guidance has nothing to go by");
    if (status == SUMI_OK && !(full.guidance >= 0 && full.guidance <= 1000 &&
                               full.guidance_from >= 0 && full.guidance_from < full.guidance_to))
        status =
            sumi_fail(err, SUMI_EINVAL,
                      "guidance is %g for a sigma of %g to %g, expected 0..1000 and a rising "
                      "range from 0 on",
                      (double)full.guidance, (double)full.guidance_from, (double)full.guidance_to);
    if (status == SUMI_OK)
        status = sumi_sample_path(&path, &process, &full, err);
    if (status == SUMI_OK)
        status = sumi_sample_limits(&full, &model->info, &limits, err);
    sumi_path_free(&path);
    sumi_process_free(&process);
    return status;
}
