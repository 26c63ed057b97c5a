/*
 * Searches how to draw a model's best pictures in few evaluations, by successive halving: all ways
 * draw a few images from the same noise, what stands next to the best of them is added, and the
 * best draw more. What that chose is judged by images of other noise: those that sumi eval draws.
 */
#include "eval/tune.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The search's images lie far behind those that the figures are of. */
static const int64_t SEARCH_FROM = INT64_C(1) << 40;

enum { FIGURE_IMAGES = 1000, AFFORDABLE = 100 };

/* A part of the search: who goes on, and with how many images, in units of the first part's. */
typedef struct {
    int widen; /* the neighbours of so many of the best come in before */
    int keep;  /* so many of the best take part; 0: all */
    int images;
} halving;

static const halving thorough[] = {{0, 0, 1}, {5, 0, 1}, {3, 0, 1}, {0, 10, 2}, {0, 3, 6}};
static const halving quickly[] = {{0, 0, 1}, {2, 0, 1}, {0, 3, 3}};

typedef struct {
    sumi_scorer scorer;
    sumi_tune_space space;
    const sumi_tune_config *config;
    sumi_sample_config base; /* size, seed, precision and callbacks of what is drawn */
    const halving *parts;
    int part_count;
    int64_t unit; /* images of the first part */
    int64_t n;    /* images of the figures */
    int former_evaluations;
    /* Progress: evaluations times images, of the images that are whole and of the present ones. */
    double done, now, whole, started;
    sumi_error *err;
} search;

/* ---- Progress -------------------------------------------------------------------------------- */

/* What is still to be drawn, as far as it is known: each neighbourhood is taken for eight ways. */
static double estimate(const search *run, int next_part)
{
    double images = 0;
    for (int p = next_part; p < run->part_count; p++) {
        const halving *part = &run->parts[p];
        double more = part->images - (p > 0 ? run->parts[p - 1].images : 0);
        double unit = (double)run->unit;
        images += part->keep > 0 ? part->keep * more * unit
                                 : (p == 0 ? run->space.count : 8. * part->widen) * unit;
    }
    return images * run->space.evaluations +
           (double)run->n * (run->space.evaluations + run->former_evaluations);
}

static int see_progress(void *user, const sumi_progress_t *drawing)
{
    search *run = user;
    if (!run->config->progress)
        return 0;
    double share =
        drawing->step_count > 0 ? (double)drawing->step / (double)drawing->step_count : 0;
    /* An estimate that fell short is no end. */
    double done = run->done + share * run->now, whole = fmax(run->whole, done + 1);
    double elapsed = sumi_time_now() - run->started;
    sumi_progress_t progress = *drawing;
    progress.step = (int64_t)done;
    progress.step_count = (int64_t)whole;
    progress.images_per_s = elapsed > 0 ? done / elapsed : 0;
    progress.elapsed_s = elapsed;
    progress.eta_s = done > 0 ? elapsed * (whole - done) / done : -1;
    progress.images = 0;
    return run->config->progress(run->config->user, &progress);
}

/* ---- Drawing --------------------------------------------------------------------------------- */

/* n images from number `first` on. */
static sumi_status draw(search *run, const sumi_sample_config *way, int evaluations, int64_t first,
                        int64_t n, sumi_pictures *out)
{
    sumi_sample_config sample = *way;
    sample.count = (int)n;
    sample.first_index = first;
    sample.height = run->base.height;
    sample.width = run->base.width;
    sample.seed = run->base.seed;
    sample.precision = run->base.precision;
    sample.progress = see_progress;
    sample.user = run;
    run->now = (double)n * evaluations;
    sumi_status status = sumi_scorer_draw(&run->scorer, run->space.model, &sample, out, run->err);
    run->done += run->now;
    return status;
}

/* Brings a candidate to n images and its distance. */
static sumi_status bring_to(search *run, sumi_tune_candidate *c, int64_t n)
{
    size_t d = (size_t)run->scorer.moments.d;
    sumi_pictures more;
    if (c->n >= n)
        return SUMI_OK;
    float *grown = realloc(c->features, (size_t)n * d * sizeof *grown);
    if (!grown)
        return sumi_fail_memory(run->err, "features", (size_t)n * d * sizeof *grown);
    c->features = grown;
    sumi_status status = draw(run, &c->way, c->evaluations, SEARCH_FROM + c->n, n - c->n, &more);
    if (status != SUMI_OK)
        return status;
    memcpy(c->features + (size_t)c->n * d, more.features, (size_t)more.n * d * sizeof *grown);
    c->n += more.n;
    sumi_pictures_free(&more);
    status = sumi_scorer_distance(&run->scorer, c->features, c->n, &c->distance, run->err);
    if (isnan(c->distance))
        c->distance = INFINITY;
    if (n <= run->unit)
        c->first = c->distance;
    return status;
}

/* ---- The search ------------------------------------------------------------------------------ */

/* Who was looked at more closely stands first, then the nearer; qsort need not be stable, and names
 * are all different. */
static int by_rank(const void *a, const void *b)
{
    const sumi_tune_candidate *x = a, *y = b;
    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void rank(sumi_tune_space *space)
{
    qsort(space->list, (size_t)space->count, sizeof *space->list, by_rank);
}

static sumi_status stopped(search *run, sumi_status status)
{
    sumi_tune_space *space = &run->space;
    if (status != SUMI_CANCELLED)
        return status;
    rank(space);
    if (space->list[0].n == 0)
        return sumi_fail(run->err, status, "the search was cancelled before it had a figure");
    return sumi_fail(run->err, status, "the search was cancelled; the best of %d ways so far is %s",
                     space->count, space->list[0].name);
}

static sumi_status halve(search *run, int p)
{
    const halving *part = &run->parts[p];
    sumi_tune_space *space = &run->space;
    sumi_status status = SUMI_OK;
    for (int i = 0; i < part->widen && i < space->count; i++)
        sumi_tune_widen(space, i);
    run->whole = run->done + estimate(run, p);
    int count = part->keep > 0 && part->keep < space->count ? part->keep : space->count;
    for (int i = 0; i < count && status == SUMI_OK; i++)
        status = bring_to(run, &space->list[i], part->images * run->unit);
    if (status == SUMI_OK)
        rank(space);
    return status;
}

/* ---- A short search -------------------------------------------------------------------------- */

/* Of its work, what the usual way and those without guidance may take to begin with, and then those
 * with it; the rest is for a closer look at the best few. Of ways that are as good but for so much,
 * the one with the fewest evaluations is taken. One with guidance goes before those without even
 * where it is further away by SEEN_LESS: the features of a network that knows no labels see too
 * little of what guidance is for (docs/QUALITY.md). */
#define SHARE_PLAIN .4
#define SHARE_GUIDED .4
enum { CLOSER = 3 };
#define AS_GOOD 1.03
#define SEEN_LESS 1.1

/* Images of a first look: more than a feature has numbers, as a distance needs. */
static int64_t first_look(int d)
{
    return d + d / 4 > d + 32 ? d + d / 4 : d + 32;
}

int64_t sumi_tune_least_work(int features, int evaluations)
{
    return 2 * first_look(features) * evaluations;
}

/* Brings candidates from number `first` on to the first look, for as long as the work allows; the
 * list ends there. */
static sumi_status look_first(search *run, int first, double allowed)
{
    sumi_tune_space *space = &run->space;
    sumi_status status = SUMI_OK;
    for (int i = first; i < space->count && status == SUMI_OK; i++) {
        if (run->done + (double)run->unit * space->list[i].evaluations > allowed) {
            space->count = i;
            break;
        }
        status = bring_to(run, &space->list[i], run->unit);
    }
    return status;
}

static bool is_guided(const sumi_tune_candidate *candidate)
{
    return candidate->way.guidance != 1;
}

/* The best without guidance, among `count`; -1: there is none. */
static int best_plain(const sumi_tune_space *space, int count)
{
    for (int i = 0; i < count; i++)
        if (!is_guided(&space->list[i]))
            return i;
    return -1;
}

/* Candidate `from` comes to stand at `to`, before it. */
static void move(sumi_tune_space *space, int from, int to)
{
    sumi_tune_candidate moved = space->list[from];
    memmove(space->list + to + 1, space->list + to, (size_t)(from - to) * sizeof moved);
    space->list[to] = moved;
}

/* More images of the best few, one without guidance among them, from what work is left. */
static sumi_status look_closer(search *run, double work)
{
    sumi_tune_space *space = &run->space;
    int count = space->count < CLOSER ? space->count : CLOSER, evaluations = 0;
    int plain = best_plain(space, space->count);
    if (plain >= count)
        move(space, plain, count - 1);
    for (int i = 0; i < count; i++)
        evaluations += space->list[i].evaluations;
    int64_t n = run->unit + (int64_t)((work - run->done) / evaluations);
    n = n < FIGURE_IMAGES ? n : FIGURE_IMAGES;
    sumi_status status = SUMI_OK;
    for (int i = 0; i < count && status == SUMI_OK; i++)
        status = bring_to(run, &space->list[i], n);
    if (status == SUMI_OK)
        rank(space);
    return status;
}

void sumi_tune_choose(sumi_tune_space *space)
{
    const sumi_tune_candidate *list = space->list;
    int count = 0, best = 0;
    while (count < space->count && list[count].n == list[0].n)
        count++;
    for (int i = 0; i < count && !is_guided(&list[best]); i++)
        if (is_guided(&list[i]) && list[i].distance <= SEEN_LESS * list[0].distance)
            best = i;
    int chosen = best;
    for (int i = 0; i < count; i++)
        if (is_guided(&list[i]) == is_guided(&list[best]) &&
            list[i].distance <= AS_GOOD * list[best].distance &&
            list[i].evaluations < list[chosen].evaluations)
            chosen = i;
    move(space, chosen, 0);
}

/* The figure of the first look: fewer images have a larger distance, and the way that is compared
 * with may have had no other. */
static void give_figure(const sumi_tune_candidate *of, sumi_tune_judged *out)
{
    *out = (sumi_tune_judged){.way = of->way,
                              .evaluations = of->evaluations,
                              .frechet = {of->first, (double)NAN, (double)NAN}};
    memcpy(out->name, of->name, sizeof out->name);
}

/* Ways are called alike where one only takes more steps. */
static void report_short(const sumi_tune_space *space, const sumi_tune_candidate *usual,
                         sumi_tune_report *report)
{
    give_figure(&space->list[0], &report->best);
    for (int i = 0; i < space->count; i++)
        if (strcmp(space->list[i].name, usual->name) == 0 &&
            space->list[i].evaluations == usual->evaluations)
            give_figure(&space->list[i], &report->former);
}

/* The usual way is how the model is sampled now, where that takes few enough evaluations, else the
 * first of the few. */
static sumi_status look_shortly(search *run, const sumi_sample_config *own,
                                sumi_tune_report *report)
{
    sumi_tune_space *space = &run->space;
    double work = (double)run->config->work;
    run->whole = work;
    sumi_tune_add(space, own);
    report->former_own = space->count > 0;
    sumi_tune_add_few(space);
    const sumi_tune_candidate usual = space->list[0];
    double least = (double)run->unit * (space->list[0].evaluations + space->list[1].evaluations);
    if (space->count < 2 || work < least)
        return sumi_fail(run->err, SUMI_EINVAL,
                         "work is %.0f: two ways take %.0f evaluations, %" PRId64 " images each",
                         work, least, run->unit);
    sumi_status status = look_first(run, 0, fmax(SHARE_PLAIN * work, least));
    if (status != SUMI_OK)
        return stopped(run, status);
    rank(space);
    int seen = space->count;
    sumi_tune_add_guided(space, best_plain(space, seen));
    status = look_first(run, seen, run->done + fmin(SHARE_GUIDED * work, work - run->done));
    rank(space);
    if (status == SUMI_OK)
        status = look_closer(run, work);
    if (status != SUMI_OK)
        return stopped(run, status);
    sumi_tune_choose(space);
    report_short(space, &usual, report);
    run->n = run->unit;
    return SUMI_OK;
}

/* ---- Figures --------------------------------------------------------------------------------- */

static sumi_status judge(search *run, const sumi_sample_config *way, sumi_tune_judged *out)
{
    sumi_pictures pictures;
    out->way = *way;
    out->evaluations = sumi_tune_describe(&run->space, way, out->name);
    sumi_status status = draw(run, way, out->evaluations, 0, run->n, &pictures);
    if (status != SUMI_OK)
        return status;
    status = sumi_scorer_figure(&run->scorer, &pictures, run->base.seed, &out->frechet, run->err);
    sumi_pictures_free(&pictures);
    return status;
}

/* How the model is sampled now; where that takes too long and nobody asks for it, what sumi eval
 * does instead. */
static sumi_sample_config former_way(const search *run, const sumi_sample_config *own, bool *is_own)
{
    sumi_sample_config way = SUMI_SAMPLE_CONFIG_INIT;
    char name[SUMI_TUNE_NAME_MAX];
    *is_own = run->config->former || sumi_tune_describe(&run->space, own, name) <= AFFORDABLE;
    if (*is_own)
        return *own;
    way.solver = "dpmpp-2m";
    way.steps = run->space.evaluations;
    return way;
}

/* ---- All of it ------------------------------------------------------------------------------- */

static sumi_status check(const sumi_model *model, const sumi_tune_config *config, sumi_error *err)
{
    int timesteps = model->info.timesteps;
    if (!config->training || !config->evaluator)
        return sumi_fail(err, SUMI_EINVAL, "sumi_tune: %s is NULL",
                         config->training ? "evaluator" : "training");
    if (config->evaluations < 0 || config->evaluations > timesteps)
        return sumi_fail(err, SUMI_EINVAL, "evaluations is %d, expected 0 to %d",
                         config->evaluations, timesteps);
    if (config->work < 0 || config->reference < 0)
        return sumi_fail(err, SUMI_EINVAL,
                         "work is %" PRId64 " and reference %" PRId64 ": expected 0 or more",
                         config->work, config->reference);
    int d = config->evaluator->info.features;
    if (config->n < 0 || config->n > SUMI_EVAL_IMAGES_MAX || (config->n > 0 && config->n <= d))
        return sumi_fail(err, SUMI_EINVAL,
                         "n is %" PRId64 ", expected more than the %d numbers of a feature and at "
                         "most %d",
                         config->n, d, SUMI_EVAL_IMAGES_MAX);
    return SUMI_OK;
}

static sumi_status begin(search *run, sumi_runtime *runtime)
{
    const sumi_tune_config *config = run->config;
    const sumi_model *model = run->space.model;
    int timesteps = model->info.timesteps, wanted = config->evaluations;
    run->space.evaluations = wanted > 0 ? wanted : timesteps < 10 ? timesteps : 10;
    run->space.unguided = config->unguided;
    run->base = (sumi_sample_config)SUMI_SAMPLE_CONFIG_INIT;
    run->base.seed = config->seed;
    run->base.height = config->height;
    run->base.width = config->width;
    run->base.precision = config->precision;
    run->parts = config->quick ? quickly : thorough;
    run->part_count =
        config->quick ? sizeof quickly / sizeof *quickly : sizeof thorough / sizeof *thorough;
    int d = config->evaluator->info.features;
    run->unit = first_look(d);
    run->n = config->n > 0 ? config->n : d < FIGURE_IMAGES ? FIGURE_IMAGES : 2 * d;
    sumi_status status = sumi_process_init(&run->space.process, &model->process, run->err);
    if (status == SUMI_OK)
        status = sumi_scorer_init(&run->scorer, runtime, config->training, config->test,
                                  config->evaluator, config->reference, config->cache, run->err);
    if (status == SUMI_OK)
        sumi_scorer_size(&run->scorer, model, &run->base.height, &run->base.width);
    return status;
}

static sumi_status look(search *run, sumi_tune_report *report)
{
    sumi_sample_config own = SUMI_SAMPLE_CONFIG_INIT;
    sumi_scorer_complete(run->space.model, &own);
    const sumi_sample_config former = former_way(run, &own, &report->former_own);
    run->space.base = (sumi_sample_config)SUMI_SAMPLE_CONFIG_INIT;
    run->space.base.clip_low = own.clip_low;
    run->space.base.clip_high = own.clip_high;
    run->space.base.threshold = own.threshold;
    if (run->config->work > 0)
        return look_shortly(run, &own, report);
    sumi_tune_add_all(&run->space, run->config->quick);
    sumi_tune_add(&run->space, &former);
    char name[SUMI_TUNE_NAME_MAX];
    run->former_evaluations = sumi_tune_describe(&run->space, &former, name);
    sumi_status status = SUMI_OK;
    for (int p = 0; p < run->part_count && status == SUMI_OK; p++)
        status = halve(run, p);
    if (status == SUMI_OK)
        status = judge(run, &run->space.list[0].way, &report->best);
    sumi_tune_describe(&run->space, &former, name);
    if (status == SUMI_OK && strcmp(name, report->best.name) == 0)
        report->former = report->best; /* the best there is was known */
    else if (status == SUMI_OK)
        status = judge(run, &former, &report->former);
    return stopped(run, status);
}

static sumi_status fill_result(const search *run, sumi_tune_report *report, sumi_tune_result_t *out,
                               sumi_error *err)
{
    sumi_tune_result_t result = {.size = sizeof result,
                                 .frechet = report->best.frechet,
                                 .former_frechet = report->former.frechet,
                                 .evaluations = report->best.evaluations,
                                 .former_evaluations = report->former.evaluations,
                                 .former_own = report->former_own,
                                 .n = run->n,
                                 .candidates = run->space.count};
    report->space = &run->space;
    report->scorer = &run->scorer;
    report->n = run->n;
    report->seed = run->base.seed;
    result.json = sumi_tune_json(report);
    result.table = sumi_tune_text(report);
    memcpy(result.evaluator, run->config->evaluator->info.hash, sizeof result.evaluator);
    if (!result.json || !result.table) {
        sumi_tune_result_free(&result);
        return sumi_fail_memory(err, "a report", 0);
    }
    *out = result;
    return SUMI_OK;
}

void sumi_tune_result_free(sumi_tune_result_t *result)
{
    if (!result)
        return;
    free(result->json);
    free(result->table);
    result->json = result->table = NULL;
}

sumi_status sumi_tune_run(sumi_runtime *runtime, const sumi_model *model,
                          const sumi_tune_config *config, sumi_sample_config *best,
                          sumi_tune_result_t *out, sumi_error *err)
{
    sumi_tune_report report = {0};
    sumi_status status = check(model, config, err);
    if (status != SUMI_OK)
        return status;
    search *run = sumi_calloc(1, sizeof *run);
    if (!run)
        return sumi_fail_memory(err, "a search", sizeof *run);
    run->config = config;
    run->space.model = model;
    run->started = sumi_time_now();
    run->err = err;
    status = begin(run, runtime);
    if (status == SUMI_OK)
        status = look(run, &report);
    if (status == SUMI_OK)
        status = fill_result(run, &report, out, err);
    if (status == SUMI_OK)
        *best = report.best.way;
    for (int i = 0; i < run->space.count; i++)
        free(run->space.list[i].features);
    sumi_process_free(&run->space.process);
    sumi_scorer_free(&run->scorer);
    free(run);
    return status;
}
