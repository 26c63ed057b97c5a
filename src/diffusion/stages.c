/*
 * Solvers that evaluate the network twice in a step: the first evaluation takes x to a place on the
 * way, the second one's prediction there takes what was kept, x at the step's begin, to its end.
 *
 *   heun           Karras et al. 2022, algorithm 1: Euler's step, then the mean of both slopes;
 *                  flow-heun's where noise shrinks so much in one step that the second slope, which
 *                  is divided by what is left, would count far too much. Churn is added before a
 *                  step begins, which is after the one before
 *   flow-heun      the same along the line from image to noise
 *   flow-midpoint  the slope at the middle of that line
 *   dpmpp-2s-a     Lu et al. 2022, "DPM-Solver++", algorithm 1, to the lower end of an ancestral
 *                  step, whose noise is then added
 */
#include "diffusion/solvers.h"

#include <math.h>

#define FAR 8

/* Euler's step, y' = keep y + (1 - keep) x_0 with keep = v' / v. */
static void euler_step(sumi_place at, sumi_place to, sumi_mix *mix)
{
    double keep = to.v / at.v;
    mix->x = (float)(to.scale / at.scale * keep);
    mix->h[0] = (float)(to.scale * (1 - keep));
}

/* y' = y + (v' - v) times a share of the slope at y and the rest of that where Euler's step from
 * there to `middle` ends. The second step of Heun and of the midpoint rule. */
static void slope_step(sumi_place at, sumi_place middle, sumi_place to, double share, sumi_mix *mix)
{
    double step = to.v - at.v, keep = middle.v / at.v;
    double first = share * step / at.v, second = (1 - share) * step / middle.v;
    mix->x = (float)(to.scale / at.scale * (1 + first + second * keep));
    mix->h[0] = (float)(to.scale * -second);
    mix->h[1] = (float)(to.scale * (second * (1 - keep) - first));
}

/* Where a step begins: with more noise than its level, where there is churn there and the schedule
 * has so much. */
sumi_level sumi_heun_asks(const sumi_path *path, int i)
{
    const sumi_level *level = &path->levels[i];
    if (!(path->churn_share > 0) || level->sigma2 == 0 || level->alpha2 == 0)
        return *level;
    double v = sumi_place_ratio(level).v;
    if (v < path->churn.least || v > path->churn.most)
        return *level;
    sumi_level more = sumi_level_of_ratio(path->process, v * (1 + path->churn_share));
    return more.alpha2 > 0 && sumi_place_ratio(&more).v > v ? more : *level;
}

/* The noise with which the next step begins. */
static void add_churn(const sumi_path *path, int i, sumi_plan *plan)
{
    sumi_level more = sumi_heun_asks(path, i + 1);
    sumi_place at = sumi_place_ratio(&path->levels[i + 1]), to = sumi_place_ratio(&more);
    if (!(to.v > at.v))
        return;
    plan->mix[plan->count++] =
        (sumi_mix){.x = (float)(to.scale / at.scale),
                   .divisor = 1,
                   .z = (float)(to.scale * path->churn.noise * sqrt(to.v * to.v - at.v * at.v)),
                   .keep = true};
    plan->next = more;
}

static void heun(sumi_place at, sumi_place to, int stage, sumi_mix *mix)
{
    if (stage == 0)
        euler_step(at, to, mix);
    else
        slope_step(at, to, to, .5, mix);
    mix->from_kept = true;
    mix->keep = stage == 1;
}

void sumi_plan_heun(const sumi_path *path, int i, int stage, sumi_plan *plan)
{
    const sumi_level begin = sumi_heun_asks(path, i), *end = &path->levels[i + 1];
    sumi_place at = sumi_place_ratio(&begin), to = sumi_place_ratio(end);
    if (to.v > 0 && at.v > FAR * to.v) {
        at = sumi_place_flow(&begin);
        to = sumi_place_flow(end);
    }
    heun(at, to, stage, &plan->mix[0]);
    if (stage == 1)
        add_churn(path, i, plan);
}

void sumi_plan_flow_heun(const sumi_path *path, int i, int stage, sumi_plan *plan)
{
    heun(sumi_place_flow(&path->levels[i]), sumi_place_flow(&path->levels[i + 1]), stage,
         &plan->mix[0]);
}

void sumi_plan_flow_midpoint(const sumi_path *path, int i, int stage, sumi_plan *plan)
{
    sumi_place at = sumi_place_flow(&path->levels[i]), to = sumi_place_flow(&path->levels[i + 1]);
    sumi_mix *mix = &plan->mix[0];
    mix->from_kept = true;
    if (to.v == 0) {
        euler_step(at, to, mix);
        return;
    }
    double v = (at.v + to.v) / 2;
    sumi_level level = sumi_level_of_ratio(path->process, v / (1 - v));
    sumi_place middle = sumi_place_flow(&level);
    if (stage == 0) {
        euler_step(at, middle, mix);
        plan->next = level;
    } else {
        slope_step(at, middle, to, 0, mix);
        mix->keep = true;
    }
}

void sumi_plan_dpmpp_2s_a(const sumi_path *path, int i, int stage, sumi_plan *plan)
{
    sumi_place at = sumi_place_ratio(&path->levels[i]), to = sumi_place_ratio(&path->levels[i + 1]);
    sumi_mix *mix = &plan->mix[0];
    mix->from_kept = true;
    if (to.v == 0) {
        euler_step(at, to, mix);
        return;
    }
    double down = to.v / at.v;
    double up = (double)path->eta * to.v * sqrt(1 - down * down);
    sumi_place low = {to.scale, sqrt(to.v * to.v - up * up)};
    if (stage == 0) {
        plan->next = sumi_level_of_ratio(path->process, sqrt(at.v * low.v));
        euler_step(at, sumi_place_ratio(&plan->next), mix);
    } else {
        euler_step(at, low, mix); /* with the second prediction in place of the first */
        mix->z = (float)(to.scale * up);
        mix->keep = true;
    }
}
