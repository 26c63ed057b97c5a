/*
 * What a search for a way to sample tells: JSON with every candidate, and a table of the best.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "eval/tune.h"
#include "models/sampling.h"

enum { ROWS_SHOWN = 12 };

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *candidate_json(const sumi_tune_candidate *c)
{
    return json_pack("{s:s, s:i, s:I, s:o, s:o}", "name", c->name, "evaluations", c->evaluations,
                     "n", (json_int_t)c->n, "frechet", number(c->distance), "sampling",
                     sumi_sampling_json(&c->way));
}

static json_t *judged_json(const sumi_tune_judged *judged)
{
    const sumi_figure_t *figure = &judged->frechet;
    return json_pack("{s:s, s:i, s:o, s:[o, o], s:o}", "name", judged->name, "evaluations",
                     judged->evaluations, "frechet", number(figure->value), "frechet_interval",
                     number(figure->low), number(figure->high), "sampling",
                     sumi_sampling_json(&judged->way));
}

char *sumi_tune_json(const sumi_tune_report *report)
{
    const sumi_tune_space *space = report->space;
    json_t *list = json_array();
    for (int i = 0; i < space->count; i++)
        json_array_append_new(list, candidate_json(&space->list[i]));
    bool whole = list && json_array_size(list) == (size_t)space->count;
    json_t *root = json_pack("{s:i, s:o, s:o, s:b, s:I, s:o, s:s, s:o}", "evaluations",
                             space->evaluations, "best", judged_json(&report->best), "former",
                             judged_json(&report->former), "former_own", report->former_own, "n",
                             (json_int_t)report->n, "seed", sumi_json_seed(report->seed),
                             "evaluator", report->scorer->evaluator->info.hash, "candidates", list);
    char *text = root && whole ? sumi_json_compact(root) : NULL;
    json_decref(root);
    return text;
}

/* ---- The table ------------------------------------------------------------------------------- */

static void put_candidate(FILE *out, const sumi_tune_candidate *c)
{
    char distance[SUMI_EVAL_NUMBER_MAX];
    fprintf(out, "%11d %7" PRId64 " %10s  %.48s\n", c->evaluations, c->n,
            sumi_eval_number(distance, isfinite(c->distance) ? c->distance : (double)NAN), c->name);
}

static void put_judged(FILE *out, const char *what, const sumi_tune_judged *judged)
{
    char value[SUMI_EVAL_NUMBER_MAX], low[SUMI_EVAL_NUMBER_MAX], high[SUMI_EVAL_NUMBER_MAX];
    fprintf(out, "%-8s %9s", what, sumi_eval_number(value, judged->frechet.value));
    if (!isnan(judged->frechet.low))
        fprintf(out, " (%s .. %s)", sumi_eval_number(low, judged->frechet.low),
                sumi_eval_number(high, judged->frechet.high));
    fprintf(out, " in %d evaluations\n         %.70s\n", judged->evaluations, judged->name);
}

char *sumi_tune_text(const sumi_tune_report *report)
{
    const sumi_tune_space *space = report->space;
    const sumi_classifier_info_t *evaluator = &report->scorer->evaluator->info;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    fprintf(out, "At most %d evaluations an image; Frechet distance by %.20s, SHA-256 %.12s\n\n",
            space->evaluations, evaluator->shape, evaluator->hash);
    fprintf(out, "evaluations  images    Frechet  way\n");
    for (int i = 0; i < space->count && i < ROWS_SHOWN; i++)
        put_candidate(out, &space->list[i]);
    if (space->count > ROWS_SHOWN)
        fprintf(out, "            ... and %d more\n", space->count - ROWS_SHOWN);
    bool judged = !isnan(report->best.frechet.low);
    if (judged)
        fprintf(out, "\nOn other noise, %" PRId64 " images each, with 95 %% intervals:\n",
                report->n);
    else
        fprintf(out, "\nIn the search's first look, %" PRId64 " images each:\n", report->n);
    put_judged(out, "best", &report->best);
    put_judged(out, report->former_own ? "before" : "usual", &report->former);
    bool failed = ferror(out) != 0;
    failed = fclose(out) != 0 || failed;
    if (!failed)
        return text;
    free(text);
    return NULL;
}
