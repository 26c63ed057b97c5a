/*
 * A report's rows, and the two forms that programs and terminals read.
 */
#include <inttypes.h>
#include <stdio.h>

#include "eval/internal.h"
#include "io/page.h"

int sumi_eval_rows_of(const sumi_eval_report *report, sumi_eval_row out[SUMI_EVAL_ROWS])
{
    const sumi_score sliced = {report->sliced, NAN, NAN}, spectrum = {report->spectrum, NAN, NAN},
                     tests = {report->pixels.test_share, NAN, NAN},
                     test_features = {report->features.test_share, NAN, NAN};
    const sumi_manifold *manifold = &report->manifold;
    const sumi_class_scores *classes = &report->classes;
    const sumi_eval_row rows[SUMI_EVAL_ROWS] = {
        {"frechet", "Frechet distance", "lower is better; grows as n falls", report->frechet},
        {"frechet_infinite", "  with endless samples", "by a line against 1/n",
         report->frechet_infinite},
        {"frechet_training", "  to the training pictures", "copies have a low one",
         report->frechet_training},
        {"frechet_second", "  by the second evaluator", "held back: nothing was tuned on it",
         report->second_frechet},
        {"kernel", "Kernel distance", "lower is better, 0 is the same; unbiased", report->kernel},
        {"precision", "Precision", "samples that look real", manifold->precision},
        {"recall", "Recall", "real pictures that could be samples", manifold->recall},
        {"density", "Density", "as precision, less moved by outliers; 1 for real ones",
         manifold->density},
        {"coverage", "Coverage", "real pictures with a sample beside them", manifold->coverage},
        {"entropy", "Entropy of a picture's class", "nats; low is sharp", classes->entropy},
        {"marginal_entropy", "Entropy of all classes", "nats; ln(classes) is balanced",
         classes->marginal},
        {"class_score", "Class score", "exp of their difference", classes->score},
        {"label_accuracy", "Label accuracy", "samples of the class that was asked for",
         classes->accuracy},
        {"classification_accuracy", "Classification accuracy",
         "on real pictures, learnt from samples", report->classification},
        {"memorised", "Memorised, by pixels", "samples twice as close to training as usual",
         report->pixels.share},
        {"memorised_tests", "  of test pictures", "what is usual", tests},
        {"nearest_ratio", "  median closeness", "1 is a test picture's, 0 a copy's",
         report->pixels.ratio},
        {"memorised_features", "Memorised, by features", "the same of features",
         report->features.share},
        {"memorised_features_tests", "  of test pictures", "what is usual", test_features},
        {"nearest_ratio_features", "  median closeness", "1 is a test picture's, 0 a copy's",
         report->features.ratio},
        {"sliced", "Sliced distance of pixels", "lower is better", sliced},
        {"spectrum", "Distance of spectra", "lower is better; decades of power", spectrum},
        {"bits_per_dimension", "Bits per dimension", "lower is better; same code only",
         report->bits},
    };
    memcpy(out, rows, sizeof rows);
    return SUMI_EVAL_ROWS;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* KEY and KEY_interval. */
static bool set_score(json_t *object, const char *key, const sumi_score *score)
{
    char name[64];
    bool known = isfinite(score->low) && isfinite(score->high);
    snprintf(name, sizeof name, "%s_interval", key);
    return json_object_set_new(object, key, number_or_null(score->value)) == 0 &&
           json_object_set_new(object, name,
                               known ? json_pack("[f, f]", score->low, score->high)
                                     : json_null()) == 0;
}

static json_t *evaluator(const char *name, const char *hash, double accuracy, int d)
{
    json_t *object = json_object();
    bool made = json_object_set_new(object, "name", sumi_json_any(name)) == 0 &&
                json_object_set_new(object, "sha256", sumi_json_any(hash)) == 0;
    if (d)
        made = made && json_object_set_new(object, "features", json_integer(d)) == 0;
    if (isfinite(accuracy))
        made = made && json_object_set_new(object, "accuracy", json_real(accuracy)) == 0;
    if (made)
        return object;
    json_decref(object);
    return NULL;
}

/* A list takes what is added, NULL too: then there is no list. */
static json_t *add(json_t *list, json_t *value)
{
    if (list && json_array_append_new(list, value) == 0)
        return list;
    json_decref(list);
    return NULL;
}

static json_t *pairs_json(const sumi_memory *memory)
{
    json_t *list = json_array();
    for (int i = 0; i < memory->pair_count && list; i++) {
        const sumi_memory_pair *pair = &memory->pairs[i];
        list = add(list, json_pack("{s:I, s:I, s:f}", "sample", (json_int_t)pair->sample,
                                   "training", (json_int_t)pair->training, "ratio", pair->ratio));
    }
    return list;
}

static json_t *numbers(const double *values, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count && list; i++)
        list = add(list, number_or_null(values[i]));
    return list;
}

static json_t *scale_json(const sumi_eval_scale *scale)
{
    json_t *row = json_object();
    if (row && json_object_set_new(row, "name", sumi_json_any(scale->name)) == 0 &&
        json_object_set_new(row, "n", json_integer(scale->n)) == 0 &&
        set_score(row, "frechet", &scale->frechet) && set_score(row, "kernel", &scale->kernel))
        return row;
    json_decref(row);
    return NULL;
}

static json_t *scales_json(const sumi_eval_report *report)
{
    json_t *list = json_array();
    for (int i = 0; i < report->scale_count && list; i++)
        list = add(list, scale_json(&report->scales[i]));
    return list;
}

/* Texts and counts; NULL values fail the whole. */
static bool set_head(json_t *object, const sumi_eval_report *report)
{
    const struct {
        const char *key;
        json_t *value;
    } members[] = {
        {"subject", sumi_json_any(report->subject)},
        {"data", sumi_json_any(report->data)},
        {"reference", sumi_json_any(report->reference)},
        {"sampling", sumi_json_any(report->sampling)},
        {"tier", sumi_json_any(report->tier)},
        {"n", json_integer(report->n)},
        {"reference_n", json_integer(report->reference_n)},
        {"training_n", json_integer(report->training_n)},
        {"seed", report->seed <= INT64_MAX ? json_integer((json_int_t)report->seed)
                                           : json_sprintf("%" PRIu64, report->seed)},
        {"seconds", number_or_null(report->seconds)},
        {"evaluator", evaluator(report->evaluator, report->evaluator_hash,
                                report->evaluator_accuracy, report->d)},
        {"second_evaluator", report->second_evaluator[0]
                                 ? evaluator(report->second_evaluator, report->second_hash, NAN, 0)
                                 : json_null()},
    };
    bool made = true;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        made = json_object_set_new(object, members[i].key, members[i].value) == 0 && made;
    return made;
}

json_t *sumi_eval_json(const sumi_eval_report *report)
{
    sumi_eval_row rows[SUMI_EVAL_ROWS];
    json_t *object = json_object();
    bool made = object && set_head(object, report);
    sumi_eval_rows_of(report, rows);
    for (int i = 0; i < SUMI_EVAL_ROWS && made; i++)
        made = set_score(object, rows[i].key, &rows[i].score);
    made = made &&
           json_object_set_new(object, "kernel_error", number_or_null(report->kernel_error)) == 0;
    made = made &&
           json_object_set_new(object, "histogram",
                               report->classes.histogram
                                   ? numbers(report->classes.histogram, report->classes.classes)
                                   : json_null()) == 0;
    made = made && json_object_set_new(object, "nearest", pairs_json(&report->pixels)) == 0;
    made =
        made && json_object_set_new(object, "nearest_features", pairs_json(&report->features)) == 0;
    made =
        made && json_object_set_new(object, "loss", numbers(report->loss, report->loss_bins)) == 0;
    made = made && json_object_set_new(object, "scale", scales_json(report)) == 0;
    if (made)
        return object;
    json_decref(object);
    return NULL;
}

/* ---- Text ------------------------------------------------------------------------------------ */

const char *sumi_eval_number(char out[SUMI_EVAL_NUMBER_MAX], double value)
{
    if (isnan(value))
        return "-";
    double size = fabs(value);
    const char *format = size >= 1e5 || (size > 0 && size < 1e-4) ? "%.3e"
                         : size >= 1000                           ? "%.0f"
                         : size >= 100                            ? "%.1f"
                         : size >= 10                             ? "%.2f"
                         : size >= .1 || size == 0                ? "%.3f"
                         : size >= .01                            ? "%.4f"
                                                                  : "%.5f";
    sumi_format(out, SUMI_EVAL_NUMBER_MAX, format, value);
    return out;
}

static void put_row(FILE *out, const char *label, const sumi_score *score, const char *about)
{
    char value[SUMI_EVAL_NUMBER_MAX], low[SUMI_EVAL_NUMBER_MAX], high[SUMI_EVAL_NUMBER_MAX];
    char interval[2 * SUMI_EVAL_NUMBER_MAX + 8] = "";
    if (!isnan(score->low))
        snprintf(interval, sizeof interval, "%s .. %s", sumi_eval_number(low, score->low),
                 sumi_eval_number(high, score->high));
    fprintf(out, "%-28.28s %9s", label, sumi_eval_number(value, score->value));
    if (interval[0] || about[0])
        fprintf(out, "  %-*s", about[0] ? 20 : 0, interval);
    fprintf(out, about[0] ? "  %s\n" : "\n", about);
}

static void put_scales(FILE *out, const sumi_eval_report *report)
{
    if (report->scale_count == 0)
        return;
    fputs("\nFor a scale, against the same pictures:\n", out);
    for (int i = 0; i < report->scale_count; i++) {
        const sumi_eval_scale *scale = &report->scales[i];
        char label[96], about[64];
        char kernel[SUMI_EVAL_NUMBER_MAX];
        sumi_clean_text(label, sizeof label, scale->name);
        snprintf(about, sizeof about, "kernel %s", sumi_eval_number(kernel, scale->kernel.value));
        put_row(out, label, &scale->frechet, about);
    }
}

static void put_clean(FILE *out, const char *before, const char *text, const char *after)
{
    char clean[SUMI_EVAL_NAME_MAX * 4];
    if (!text[0])
        return;
    sumi_clean_text(clean, sizeof clean, text);
    fprintf(out, "%s%s%s", before, clean, after);
}

static void put_report(FILE *out, const sumi_eval_report *report)
{
    sumi_eval_row rows[SUMI_EVAL_ROWS];
    char number[SUMI_EVAL_NUMBER_MAX];
    put_clean(out, "", report->subject, "");
    put_clean(out, " against ", report->data, "");
    fprintf(out, ": %" PRId64 " pictures, %" PRId64 " held out", report->n, report->reference_n);
    if (report->reference[0] && strcmp(report->reference, "test") != 0)
        put_clean(out, " (split ", report->reference, ")");
    put_clean(out, ", ", report->tier, " tier");
    put_clean(out, "\nSampled by ", report->sampling, "");
    put_clean(out, "\nEvaluator ", report->evaluator, "");
    if (isfinite(report->evaluator_accuracy))
        fprintf(out, ", accuracy %s", sumi_eval_number(number, report->evaluator_accuracy));
    fprintf(out, report->evaluator_hash[0] ? ", SHA-256 %.16s...\n\n" : "\n\n",
            report->evaluator_hash);
    fprintf(out, "%-28s %9s  %s\n", "", "score", "95 % interval");
    sumi_eval_rows_of(report, rows);
    for (int i = 0; i < SUMI_EVAL_ROWS; i++)
        if (!isnan(rows[i].score.value))
            put_row(out, rows[i].label, &rows[i].score, "");
    put_scales(out, report);
}

char *sumi_eval_text(const sumi_eval_report *report)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    put_report(out, report);
    bool failed = ferror(out) != 0;
    if (fclose(out) == 0 && !failed)
        return text;
    free(text);
    return NULL;
}
