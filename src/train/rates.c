/*
 * The learning rate as a function of the step: it rises in a straight line over the warm-up, then
 * follows one of the shapes below until the schedule's last step, and stays where that ends.
 */
#include "train/train.h"

#include <math.h>
#include <string.h>

static double constant(double way)
{
    (void)way;
    return 1;
}

static double linear(double way)
{
    return 1 - way;
}

static double cosine(double way)
{
    static const double pi = 3.14159265358979323846;
    return (1 + cos(pi * way)) / 2;
}

/* Warm-up, stable, decay (Hu et al. 2024, arXiv:2404.06395). */
static double stable(double way)
{
    return fmin(1, (1 - way) / .2);
}

static const sumi_rate_schedule schedules[] = {
    {"constant", "the learning rate as it is", false, constant},
    {"linear", "down in a straight line", true, linear},
    {"cosine", "down along half a cosine (Loshchilov & Hutter 2017)", true, cosine},
    {"wsd", "as it is, then down in a straight line over the last fifth", true, stable},
};

const sumi_rate_schedule *sumi_train_rate_schedule_at(int index)
{
    int count = sizeof schedules / sizeof *schedules;
    return index >= 0 && index < count ? &schedules[index] : NULL;
}

const sumi_rate_schedule *sumi_rate_schedule_find(const char *name)
{
    const sumi_rate_schedule *row = NULL;
    for (int i = 0; (row = sumi_train_rate_schedule_at(i)) && strcmp(row->name, name) != 0;)
        i++;
    return row;
}

/* Without halvings. */
static double factor_of(const sumi_trainer_config *config, int64_t step)
{
    const sumi_rate_schedule *row = sumi_rate_schedule_find(config->rate_schedule);
    double warm_up = (double)config->warmup_steps, last = (double)config->schedule_steps;
    double at = (double)step, factor = at < warm_up ? at / warm_up : 1;
    if (row->ends && config->schedule_steps != SUMI_SCHEDULE_OPEN) {
        double way = fmin(1, fmax(0, (at - warm_up) / fmax(1, last - warm_up)));
        double end = (double)config->final_rate;
        factor *= end + (1 - end) * row->shape(way);
    }
    return factor;
}

double sumi_rate_factor(const sumi_trainer_config *config, const sumi_halvings *halvings,
                        int64_t step)
{
    int halved = 0;
    for (int i = 0; i < halvings->count; i++)
        halved += step > halvings->after[i];
    return ldexp(factor_of(config, step), -halved);
}

double sumi_halved_rate(const sumi_trainer_config *config, const sumi_halvings *halvings,
                        int64_t step)
{
    return (double)config->learning_rate * sumi_rate_factor(config, halvings, step);
}

double sumi_learning_rate(const sumi_trainer_config *config, int64_t step)
{
    return (double)config->learning_rate * factor_of(config, step);
}
