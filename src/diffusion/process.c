/* What a model's process is made of: checks, and the tables of schedules that have some. */
#include "diffusion/diffusion.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

static sumi_status check_rows(const sumi_process_config *config, sumi_error *err)
{
    const struct {
        const char *what;
        sumi_choice choice;
        int index;
    } rows[] = {{"objective", SUMI_CHOICE_OBJECTIVE, config->objective},
                {"schedule", SUMI_CHOICE_SCHEDULE, config->schedule},
                {"weighting", SUMI_CHOICE_WEIGHTING, config->weighting},
                {"law", SUMI_CHOICE_LAW, config->law}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!sumi_choice_at(rows[i].choice, rows[i].index))
            return sumi_fail(err, SUMI_EINVAL, "%s is number %d, which there is not", rows[i].what,
                             rows[i].index);
    }
    return SUMI_OK;
}

static sumi_status check_ranges(const sumi_process_config *config, sumi_error *err)
{
    const struct {
        const char *name;
        float value;
        double low, high;
    } ranges[] = {
        {"sigma_min", config->sigma_min, 1e-6, 1e6},   {"sigma_max", config->sigma_max, 1e-6, 1e6},
        {"sigma_data", config->sigma_data, 1e-6, 1e6}, {"gamma", config->gamma, 1e-6, 1e6},
        {"law_mean", config->law_mean, -100, 100},     {"law_std", config->law_std, 1e-6, 100}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        double value = (double)ranges[i].value;
        if (!(value >= ranges[i].low && value <= ranges[i].high))
            return sumi_fail(err, SUMI_EINVAL, "%s is %g, expected %g to %g", ranges[i].name, value,
                             ranges[i].low, ranges[i].high);
    }
    if (!(config->sigma_min < config->sigma_max))
        return sumi_fail(err, SUMI_EINVAL, "sigma_min is %g, expected less than sigma_max, %g",
                         (double)config->sigma_min, (double)config->sigma_max);
    return SUMI_OK;
}

sumi_status sumi_process_check(const sumi_process_config *config, sumi_error *err)
{
    int timesteps = config->timesteps;
    if (timesteps < 1 || timesteps > SUMI_TIMESTEPS_MAX)
        return sumi_fail(err, SUMI_EINVAL, "timesteps is %d, expected 1..%d", timesteps,
                         SUMI_TIMESTEPS_MAX);
    float start = config->beta_start, end = config->beta_end;
    if (!(start > 0 && start < 1 && end > 0 && end < 1))
        return sumi_fail(err, SUMI_EINVAL, "beta goes from %g to %g, expected between 0 and 1",
                         (double)start, (double)end);
    sumi_status status = check_rows(config, err);
    if (status == SUMI_OK)
        status = check_ranges(config, err);
    if (status != SUMI_OK)
        return status;
    const sumi_objective *objective = sumi_objective_row(config->objective);
    const sumi_schedule *schedule = sumi_schedule_row(config->schedule);
    if (config->zero_snr && !(schedule->betas && timesteps > 1))
        return sumi_fail(err, SUMI_EINVAL,
                         "zero_snr rescales a schedule's betas: %s has none, linear, cosine and "
                         "sigmoid have (and 2 timesteps or more)",
                         schedule->betas ? "1 timestep" : schedule->is.name);
    if (objective->needs_image && config->zero_snr)
        return sumi_fail(err, SUMI_EINVAL,
                         "objective %s cannot go with zero_snr: nothing of the image is left at "
                         "the last step, so that the noise tells nothing about it; v can",
                         objective->is.name);
    if (objective->needs_image && !schedule->betas &&
        !(schedule->level(config, timesteps).alpha > 0))
        return sumi_fail(err, SUMI_EINVAL,
                         "objective %s cannot go with schedule %s: nothing of the image is left at "
                         "its last level, so that the noise tells nothing about it",
                         objective->is.name, schedule->is.name);
    return SUMI_OK;
}

/* Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed", algorithm 1: the
 * square roots of alpha_bar are shifted so that the last is 0, and scaled so that the first is as
 * before. */
static void rescale(int count, float *alpha, float *alpha_bar)
{
    double first = sqrt((double)alpha_bar[0]), last = sqrt((double)alpha_bar[count - 1]);
    double before = 1;
    for (int i = 0; i < count; i++) {
        double root = (sqrt((double)alpha_bar[i]) - last) * first / (first - last);
        alpha_bar[i] = (float)(root * root);
        alpha[i] = (float)(root * root / before);
        before = root * root;
    }
}

sumi_status sumi_process_init(sumi_process *process, const sumi_process_config *config,
                              sumi_error *err)
{
    *process = (sumi_process){.config = *config};
    sumi_status status = sumi_process_check(config, err);
    const sumi_schedule *schedule = sumi_schedule_row(config->schedule);
    if (status != SUMI_OK || !schedule->betas)
        return status;
    size_t count = (size_t)config->timesteps;
    float *alpha = sumi_calloc(2 * count, sizeof *alpha), *alpha_bar = alpha + count;
    if (!alpha)
        return sumi_fail_memory(err, "the noise schedule", 2 * count * sizeof *alpha);
    schedule->betas(config, alpha);
    double product = 1;
    for (size_t i = 0; i < count; i++) {
        alpha[i] = 1 - alpha[i];
        product *= (double)alpha[i];
        alpha_bar[i] = (float)product;
    }
    if (config->zero_snr && alpha_bar[count - 1] < alpha_bar[0])
        rescale(config->timesteps, alpha, alpha_bar);
    else if (!(alpha_bar[count - 1] > 0)) {
        free(alpha);
        return sumi_fail(err, SUMI_EINVAL,
                         "%d timesteps with beta from %g to %g leave nothing of the image "
                         "(alpha_bar is 0): use fewer timesteps or smaller betas",
                         config->timesteps, (double)config->beta_start, (double)config->beta_end);
    }
    process->alpha = alpha;
    process->alpha_bar = alpha_bar;
    return SUMI_OK;
}

void sumi_process_free(sumi_process *process)
{
    free(process->alpha);
    *process = (sumi_process){0};
}
