/*
 * The ways to sample that a search looks at: solvers, spacings, and the numbers that shape them.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "eval/tune.h"
#include "models/sampling.h"

/* ---- A way ----------------------------------------------------------------------------------- */

static const sumi_solver *solver_of(const sumi_sample_config *way)
{
    int index = 0;
    (void)sumi_choice_find(SUMI_CHOICE_SOLVER, way->solver, &index, NULL);
    return sumi_solver_row(index);
}

static const sumi_spacing *spacing_of(const sumi_sample_config *way)
{
    int index = 0;
    (void)sumi_choice_find(SUMI_CHOICE_SPACING, way->spacing, &index, NULL);
    return sumi_spacing_row(index);
}

static sumi_path_config path_config(const sumi_tune_space *space, const sumi_sample_config *way)
{
    sumi_path_config want = SUMI_PATH_CONFIG_INIT;
    want.solver = solver_of(way);
    want.spacing = spacing_of(way);
    want.evaluations = way->steps > 0 ? way->steps : space->process.config.timesteps;
    want.eta = way->eta;
    want.churn = (sumi_churn){(double)way->churn, (double)way->churn_min, (double)way->churn_max,
                              (double)way->churn_noise};
    want.sigma_least = (double)way->sigma_min;
    want.sigma_most = (double)way->sigma_max;
    want.rho = (double)way->rho;
    return want;
}

static void add_number(char *name, const char *what, float value)
{
    size_t used = strlen(name);
    char number[24];
    sumi_format(number, sizeof number, "%.3g", (double)value);
    snprintf(name + used, SUMI_TUNE_NAME_MAX - used, ", %s %s", what, number);
}

static double ratio_at(const sumi_level *level)
{
    return level->alpha2 > 0 ? exp(sumi_level_log_ratio(level)) : HUGE_VAL;
}

/* Guidance asks the network once more at each level where it acts. */
static int guided_evaluations(const sumi_path *path, const sumi_sample_config *way)
{
    int more = 0;
    if (way->guidance == 1)
        return 0;
    for (int i = 0; i < path->steps; i++) {
        sumi_level level = sumi_path_asks(path, i);
        double ratio = fmin(ratio_at(&level), 1e30);
        if (ratio >= (double)way->guidance_from && ratio <= (double)way->guidance_to)
            more += sumi_path_stages(path, i);
    }
    return more;
}

static void add_guidance(char *name, const sumi_sample_config *way)
{
    size_t used = strlen(name);
    char number[24], from[24], to[24];
    sumi_format(number, sizeof number, "%.3g", (double)way->guidance);
    sumi_format(from, sizeof from, "%.3g", (double)way->guidance_from);
    sumi_format(to, sizeof to, "%.3g", (double)way->guidance_to);
    bool always = way->guidance_from == 0 && way->guidance_to >= 1e30f;
    snprintf(name + used, SUMI_TUNE_NAME_MAX - used,
             always ? ", guidance %s" : ", guidance %s (%s to %s)", number, from, to);
}

int sumi_tune_describe(const sumi_tune_space *space, const sumi_sample_config *way,
                       char name[SUMI_TUNE_NAME_MAX])
{
    sumi_path path;
    sumi_path_config want = path_config(space, way);
    if (sumi_sample_check_default(space->model, way, NULL) != SUMI_OK ||
        sumi_path_init(&path, &space->process, &want, NULL) != SUMI_OK)
        return 0;
    int evaluations = path.evaluations + guided_evaluations(&path, way);
    sumi_path_free(&path);
    snprintf(name, SUMI_TUNE_NAME_MAX, "%.20s, %.20s", want.solver->is.name, want.spacing->is.name);
    if (way->guidance != 1)
        add_guidance(name, way);
    if (way->rho > 0)
        add_number(name, "rho", way->rho);
    if (way->sigma_max > 0)
        add_number(name, "from", way->sigma_max);
    if (way->sigma_min > 0)
        add_number(name, "to", way->sigma_min);
    if (way->eta >= 0)
        add_number(name, "eta", way->eta);
    if (way->churn > 0)
        add_number(name, "churn", way->churn);
    if (way->threshold > 0)
        add_number(name, "threshold", way->threshold);
    if (way->clip_low != 0 || way->clip_high != 0)
        strncat(name, ", clip", SUMI_TUNE_NAME_MAX - 1 - strlen(name));
    return evaluations;
}

static bool same_way(const sumi_sample_config *a, const sumi_sample_config *b)
{
    return solver_of(a) == solver_of(b) && spacing_of(a) == spacing_of(b) && a->steps == b->steps &&
           a->rho == b->rho && a->sigma_min == b->sigma_min && a->sigma_max == b->sigma_max &&
           a->eta == b->eta && a->churn == b->churn && a->clip_low == b->clip_low &&
           a->clip_high == b->clip_high && a->threshold == b->threshold &&
           a->guidance == b->guidance && a->guidance_from == b->guidance_from &&
           a->guidance_to == b->guidance_to;
}

void sumi_tune_add(sumi_tune_space *space, const sumi_sample_config *way)
{
    for (int i = 0; i < space->count; i++)
        if (same_way(&space->list[i].way, way))
            return;
    if (space->count == SUMI_TUNE_CANDIDATES_MAX)
        return;
    sumi_tune_candidate *new = &space->list[space->count];
    *new = (sumi_tune_candidate){.way = *way, .distance = INFINITY};
    new->evaluations = sumi_tune_describe(space, way, new->name);
    if (new->evaluations > 0 && new->evaluations <= space->evaluations)
        space->count++;
}

/* ---- All of them ----------------------------------------------------------------------------- */

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

/* What draws from noise in a fixed number of evaluations, and is no other by a second name. */
static bool is_wanted(int index, bool quick)
{
    static const char *const well_known[] = {"ddim",  "heun", "dpmpp-2m", "dpmpp-2m-sde",
                                             "unipc", "deis", NULL};
    const sumi_solver *row = sumi_solver_row(index);
    if (row->flags & (SUMI_SOLVER_INVERSE | SUMI_SOLVER_ADAPTIVE))
        return false;
    for (int i = 0; i < index; i++)
        if (sumi_solver_row(i)->plan == row->plan)
            return false;
    return !quick || is_one_of(row->is.name, well_known);
}

void sumi_tune_add_all(sumi_tune_space *space, bool quick)
{
    static const char *const usual[] = {"trailing", "karras", "logsnr", NULL};
    for (int s = 0; sumi_solver_row(s); s++) {
        if (!is_wanted(s, quick))
            continue;
        for (int p = 0; sumi_spacing_row(p); p++) {
            sumi_sample_config way = space->base;
            way.solver = sumi_solver_row(s)->is.name;
            way.spacing = sumi_spacing_row(p)->is.name;
            way.steps = space->evaluations;
            if (!quick || is_one_of(way.spacing, usual))
                sumi_tune_add(space, &way);
        }
    }
}

/* The ways that are worth a look where few can be had, the likeliest first; evaluations are a share
 * of what an image may take. */
static const struct {
    const char *solver, *spacing;
    double share;
} few[] = {
    {"dpmpp-2m", "karras", .7}, /* the standard recipe's */
    {"dpmpp-2m", "karras", .5}, {"unipc", "karras", .5},   {"dpmpp-2m", "logsnr", .5},
    {"deis", "karras", .5},     {"dpmpp-2m", "karras", 1}, {"dpmpp-2m-sde", "karras", 1},
};

void sumi_tune_add_few(sumi_tune_space *space)
{
    for (size_t i = 0; i < sizeof few / sizeof *few; i++) {
        sumi_sample_config way = space->base;
        way.solver = few[i].solver;
        way.spacing = few[i].spacing;
        way.steps = (int)fmax(1, few[i].share * space->evaluations);
        sumi_tune_add(space, &way);
    }
}

/* ---- Neighbours ------------------------------------------------------------------------------ */

/* With one number set to each of several values. */
static void add_each(sumi_tune_space *space, int i, size_t offset, const double *values, int count)
{
    for (int k = 0; k < count; k++) {
        sumi_sample_config way = space->list[i].way;
        float value = (float)values[k];
        memcpy((char *)&way + offset, &value, sizeof value);
        sumi_tune_add(space, &way);
    }
}

/* sigma / alpha of the levels as a share of what they are now; one that has three digits reads
 * better. */
static double rounded(double value)
{
    char text[32];
    sumi_format(text, sizeof text, "%.3g", value);
    return sumi_parse_real(text, NULL);
}

static void widen_levels(sumi_tune_space *space, int i)
{
    const sumi_sample_config way = space->list[i].way;
    const sumi_spacing *spacing = spacing_of(&way);
    sumi_path_config want = path_config(space, &way);
    sumi_path path;
    if (spacing->bends)
        add_each(space, i, offsetof(sumi_sample_config, rho), (const double[]){2, 3, 5, 11}, 4);
    if (sumi_path_init(&path, &space->process, &want, NULL) != SUMI_OK)
        return;
    double most = ratio_at(&path.levels[0]), least = ratio_at(&path.levels[path.steps - 1]);
    sumi_path_free(&path);
    if (most < HUGE_VAL)
        add_each(space, i, offsetof(sumi_sample_config, sigma_max),
                 (const double[]){rounded(.7 * most), rounded(.4 * most)}, 2);
    if (least > 0 && spacing->ends)
        add_each(space, i, offsetof(sumi_sample_config, sigma_min),
                 (const double[]){rounded(2 * least), rounded(5 * least), rounded(least / 2)},
                 way.sigma_min > 0 ? 3 : 2);
}

static void widen_eta(sumi_tune_space *space, int i, const sumi_solver *solver)
{
    static const double etas[] = {0, .3, .6, 1};
    for (size_t k = 0; k < sizeof etas / sizeof *etas; k++)
        if ((float)etas[k] != solver->eta)
            add_each(space, i, offsetof(sumi_sample_config, eta), &etas[k], 1);
}

/* Predictions clipped to the model's range, or not. */
static void widen_clip(sumi_tune_space *space, int i)
{
    sumi_sample_config way = space->list[i].way;
    bool clips = way.clip_low != 0 || way.clip_high != 0;
    way.clip_low = clips ? 0 : space->model->info.range_lo;
    way.clip_high = clips ? 0 : space->model->info.range_hi;
    sumi_tune_add(space, &way);
}

void sumi_tune_add_guided(sumi_tune_space *space, int i)
{
    static const float weights[] = {2, 1.5f, 1.5f}; /* the last everywhere */
    char name[SUMI_TUNE_NAME_MAX];
    double deviation = (double)space->process.config.sigma_data;
    for (int k = 0; k < 3; k++) {
        sumi_sample_config way = space->list[i].way;
        if (space->model->graph.labels < 0 || space->unguided || way.guidance != 1)
            return;
        if (k < 2)
            sumi_sampling_guide(&way, weights[k], deviation);
        else
            way.guidance = weights[k];
        /* As many steps as leave room for the second evaluations. */
        while (way.steps > 1 && sumi_tune_describe(space, &way, name) > space->evaluations)
            way.steps--;
        sumi_tune_add(space, &way);
    }
}

void sumi_tune_widen(sumi_tune_space *space, int i)
{
    const sumi_solver *solver = solver_of(&space->list[i].way);
    double steps = space->list[i].way.steps;
    if (space->list[i].widened)
        return;
    space->list[i].widened = true;
    widen_levels(space, i);
    widen_clip(space, i);
    sumi_tune_add_guided(space, i);
    if (solver->flags & SUMI_SOLVER_ETA)
        widen_eta(space, i, solver);
    if (solver->flags & SUMI_SOLVER_CHURN)
        add_each(space, i, offsetof(sumi_sample_config, churn),
                 (const double[]){rounded(.03 * steps), rounded(.1 * steps)}, 2);
}
