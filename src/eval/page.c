/*
 * The page of a report, with pictures: what a person looks at.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "eval/internal.h"
#include "io/page.h"

enum { GRID = 100, GAP = 1, COMFORTABLE = 112, STATE_MAX = 4 * SUMI_EVAL_NAME_MAX + 128 };

/* ---- Pictures -------------------------------------------------------------------------------- */

static bool can_draw(const sumi_eval_set *set)
{
    return set && set->images && (set->c == 1 || set->c == 3);
}

static sumi_status write_grid(const char *folder, const char *name, const uint8_t *pixels, int n,
                              const int shape[3], sumi_error *err)
{
    char path[PATH_MAX];
    sumi_image image;
    sumi_status status = sumi_path_join(path, sizeof path, folder, name, err);
    if (status == SUMI_OK)
        status = sumi_image_grid(pixels, n, shape[0], shape[1], shape[2], &image, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_png_write(path, &image, NULL, err);
    sumi_image_free(&image);
    return status;
}

/* One picture into a larger one, each pixel `factor` times as wide and high. */
static void enlarge(const sumi_eval_set *set, int64_t index, int factor, uint8_t *to, size_t to_row)
{
    size_t h = (size_t)set->h, w = (size_t)set->w, c = (size_t)set->c, f = (size_t)factor;
    const uint8_t *image = set->images + (size_t)index * h * w * c;
    for (size_t y = 0; y < h * f; y++)
        for (size_t x = 0; x < w * f; x++)
            memcpy(to + y * to_row + x * c, image + (y / f * w + x / f) * c, c);
}

sumi_status sumi_eval_write_pairs(const char *folder, const char *name, const sumi_memory *memory,
                                  const sumi_eval_set *samples, const sumi_eval_set *training,
                                  sumi_error *err)
{
    int factor = samples->w < COMFORTABLE ? COMFORTABLE / samples->w : 1;
    const int shape[] = {samples->h * factor, (2 * samples->w + GAP) * factor, samples->c};
    size_t c = (size_t)shape[2], row = (size_t)shape[1] * c, bytes;
    const int64_t sizes[] = {memory->pair_count, shape[0], shape[1], shape[2]};
    uint8_t *pixels = sumi_size_product(sizes, 4, &bytes) ? sumi_calloc(bytes, 1) : NULL;
    if (!pixels)
        return sumi_fail_memory(err, "pictures of pairs", 0);
    memset(pixels, 255, bytes);
    for (int p = 0; p < memory->pair_count; p++) {
        uint8_t *to = pixels + (size_t)p * (size_t)shape[0] * row;
        enlarge(samples, memory->pairs[p].sample, factor, to, row);
        enlarge(training, memory->pairs[p].training, factor,
                to + (size_t)((samples->w + GAP) * factor) * c, row);
    }
    sumi_status status = write_grid(folder, name, pixels, memory->pair_count, shape, err);
    free(pixels);
    return status;
}

static sumi_status write_loss(const char *folder, const sumi_eval_report *report, sumi_error *err)
{
    char path[PATH_MAX], *svg = NULL;
    double x[SUMI_EVAL_BINS_MAX];
    size_t size;
    for (int i = 0; i < report->loss_bins; i++)
        x[i] = (i + .5) / report->loss_bins;
    const sumi_plot_series series = {.x = x, .y = report->loss, .count = (size_t)report->loss_bins};
    const sumi_plot plot = {.title = "Loss on held-out pictures",
                            .x_label = "Time (0: no noise, 1: noise alone)",
                            .y_label = "Loss",
                            .series = &series,
                            .series_count = 1,
                            .log_y = true};
    sumi_status status = sumi_path_join(path, sizeof path, folder, "loss.svg", err);
    if (status == SUMI_OK)
        status = sumi_plot_svg(&plot, &svg, &size, err);
    if (status == SUMI_OK)
        status = sumi_file_save(path, svg, size, err);
    free(svg);
    return status;
}

/* ---- The page -------------------------------------------------------------------------------- */

static void put_cells(FILE *page, const sumi_score *score)
{
    char value[SUMI_EVAL_NUMBER_MAX], low[SUMI_EVAL_NUMBER_MAX], high[SUMI_EVAL_NUMBER_MAX];
    fprintf(page, "<td class=\"n\">%s</td>", sumi_eval_number(value, score->value));
    if (isnan(score->low))
        fputs("<td class=\"n\"></td>", page);
    else
        fprintf(page, "<td class=\"n\">%s &ndash; %s</td>", sumi_eval_number(low, score->low),
                sumi_eval_number(high, score->high));
}

static void put_rows(FILE *page, const sumi_eval_report *report)
{
    sumi_eval_row rows[SUMI_EVAL_ROWS];
    sumi_eval_rows_of(report, rows);
    fputs("<h2>Scores</h2>\n<table><tr><th></th><th class=\"n\">Score</th>"
          "<th class=\"n\">95 % interval</th><th></th></tr>\n",
          page);
    for (int i = 0; i < SUMI_EVAL_ROWS; i++) {
        bool part = rows[i].label[0] == ' ';
        if (isnan(rows[i].score.value))
            continue;
        fputs(part ? "<tr><td>&emsp;" : "<tr><td>", page);
        sumi_page_text(page, rows[i].label);
        fputs("</td>", page);
        put_cells(page, &rows[i].score);
        fputs("<td class=\"why\">", page);
        sumi_page_text(page, rows[i].about);
        fputs("</td></tr>\n", page);
    }
    fputs("</table>\n", page);
}

static void put_scales(FILE *page, const sumi_eval_report *report)
{
    if (report->scale_count == 0)
        return;
    fputs("<h2>For a scale</h2>\n<p class=\"state\">The same distances of other pictures to the "
          "same reference.</p>\n<table><tr><th></th><th class=\"n\">Pictures</th>"
          "<th class=\"n\">Frechet</th><th class=\"n\">95 % interval</th>"
          "<th class=\"n\">Kernel</th><th class=\"n\">95 % interval</th></tr>\n",
          page);
    for (int i = 0; i < report->scale_count; i++) {
        const sumi_eval_scale *scale = &report->scales[i];
        fputs("<tr><td>", page);
        sumi_page_text(page, scale->name);
        fprintf(page, "</td><td class=\"n\">%" PRId64 "</td>", scale->n);
        put_cells(page, &scale->frechet);
        put_cells(page, &scale->kernel);
        fputs("</tr>\n", page);
    }
    fputs("</table>\n", page);
}

static void put_classes(FILE *page, const sumi_eval_report *report)
{
    enum { BARS_MAX = 200 };
    const sumi_class_scores *classes = &report->classes;
    double largest = 0;
    char number[SUMI_EVAL_NUMBER_MAX];
    if (!classes->histogram || classes->classes > BARS_MAX)
        return;
    for (int k = 0; k < classes->classes; k++)
        largest = fmax(largest, classes->histogram[k]);
    fputs("<h2>Classes</h2>\n<p class=\"state\">Shares of the samples, by their likeliest class."
          "</p>\n<table>\n",
          page);
    for (int k = 0; k < classes->classes; k++) {
        double share = classes->histogram[k];
        fputs("<tr><td>", page);
        if (report->class_names)
            sumi_page_text(page, report->class_names[k]);
        else
            fprintf(page, "%d", k);
        fprintf(page, "</td><td class=\"n\">%s</td>", sumi_eval_number(number, share));
        sumi_page_printf(page,
                         "<td><span class=\"bar\" style=\"width:%.2frem\"></span></td></tr>\n",
                         20 * share / largest);
    }
    fputs("</table>\n", page);
}

static void put_pairs(FILE *page, const sumi_memory *memory, const char *file, const char *space)
{
    char number[SUMI_EVAL_NUMBER_MAX];
    fprintf(page,
            "<figure class=\"wide\"><a href=\"%s\"><img src=\"%s\" alt=\"closest pairs\"></a>"
            "<figcaption>By %s. Left the sample, right its nearest training picture; closeness ",
            file, file, space);
    for (int i = 0; i < memory->pair_count; i++)
        fprintf(page, "%s%s", i ? ", " : "", sumi_eval_number(number, memory->pairs[i].ratio));
    fputs(" (1: as far as a test picture usually is, 0: a copy).</figcaption></figure>\n", page);
}

static void put_fact(FILE *page, const char *what, const char *text)
{
    if (!text[0])
        return;
    fprintf(page, "<tr><th>%s</th><td>", what);
    sumi_page_text(page, text);
    fputs("</td></tr>\n", page);
}

static void put_number(FILE *page, const char *what, double value)
{
    char number[SUMI_EVAL_NUMBER_MAX];
    if (isfinite(value))
        put_fact(page, what, sumi_eval_number(number, value));
}

static void put_facts(FILE *page, const sumi_eval_report *report)
{
    char text[64];
    fputs("<h2>How it was measured</h2>\n<table>\n", page);
    put_fact(page, "Data", report->data);
    put_fact(page, "Sampling", report->sampling);
    put_fact(page, "Tier", report->tier);
    snprintf(text, sizeof text, "%" PRId64 ", %" PRId64 ", %" PRId64, report->n,
             report->reference_n, report->training_n);
    put_fact(page, "Samples, held-out, training pictures", text);
    put_fact(page, "Evaluator", report->evaluator);
    put_fact(page, "Its SHA-256", report->evaluator_hash);
    put_number(page, "Its accuracy", report->evaluator_accuracy);
    put_fact(page, "Second evaluator", report->second_evaluator);
    put_fact(page, "Its SHA-256", report->second_hash);
    put_number(page, "Standard error of the kernel distance", report->kernel_error);
    snprintf(text, sizeof text, "%" PRIu64, report->seed);
    put_fact(page, "Seed", text);
    put_number(page, "Seconds", report->seconds > 0 ? report->seconds : NAN);
    fputs("</table>\n<p class=\"state\">Distances hold for this evaluator and these numbers of "
          "pictures only: compare neither across evaluators nor across n. They are no FID, which "
          "another network measures.</p>\n",
          page);
}

/* Which files of pictures there are. */
typedef struct {
    bool samples, pixels, features, loss;
} files;

static void put_page(FILE *page, const sumi_eval_report *report, const files *has)
{
    char state[STATE_MAX], clean[SUMI_EVAL_NAME_MAX * 4];
    bool other = report->reference[0] && strcmp(report->reference, "test") != 0;
    sumi_clean_text(clean, sizeof clean, report->data);
    snprintf(state, sizeof state,
             "%" PRId64 " samples against %" PRId64 " held-out pictures%s%s%s%s", report->n,
             report->reference_n, clean[0] ? " of " : "", clean, other ? ", split " : "",
             other ? report->reference : "");
    sumi_clean_text(clean, sizeof clean, report->subject[0] ? report->subject : "evaluation");
    sumi_page_begin(page, clean, state, 0);
    put_rows(page, report);
    if (has->samples)
        fputs("<h2>Samples</h2>\n<figure class=\"wide\"><a href=\"samples.png\">"
              "<img src=\"samples.png\" alt=\"samples\"></a></figure>\n",
              page);
    if (has->pixels || has->features)
        fputs("<h2>Closest to training pictures</h2>\n", page);
    if (has->pixels)
        put_pairs(page, &report->pixels, "nearest.png", "pixels");
    if (has->features)
        put_pairs(page, &report->features, "nearest_features.png", "features");
    put_classes(page, report);
    if (has->loss)
        fputs("<h2>Loss by noise</h2>\n<img class=\"plot\" src=\"loss.svg\" alt=\"held-out loss\">"
              "\n",
              page);
    put_scales(page, report);
    put_facts(page, report);
    fputs("<h2>Files</h2>\n<p><a href=\"eval.json\">eval.json</a></p>\n", page);
    sumi_page_end(page);
}

static sumi_status write_page(const char *folder, const sumi_eval_report *report, const files *has,
                              sumi_error *err)
{
    char path[PATH_MAX], *text = NULL;
    size_t size = 0;
    sumi_status status = sumi_path_join(path, sizeof path, folder, "index.html", err);
    if (status != SUMI_OK)
        return status;
    FILE *page = open_memstream(&text, &size);
    if (!page)
        return sumi_fail_memory(err, path, 0);
    put_page(page, report, has);
    bool failed = ferror(page) != 0;
    failed = fclose(page) != 0 || failed;
    status = failed ? sumi_fail_memory(err, path, size) : sumi_file_save(path, text, size, err);
    free(text);
    return status;
}

static sumi_status write_json(const char *folder, const sumi_eval_report *report, sumi_error *err)
{
    char path[PATH_MAX];
    sumi_status status = sumi_path_join(path, sizeof path, folder, "eval.json", err);
    if (status != SUMI_OK)
        return status;
    json_t *json = sumi_eval_json(report);
    status = json ? sumi_json_write(path, json, err) : sumi_fail_memory(err, path, 0);
    json_decref(json);
    return status;
}

sumi_status sumi_eval_save(const char *folder, const sumi_eval_report *report,
                           const sumi_eval_set *samples, const sumi_eval_set *training,
                           sumi_error *err)
{
    bool pairs = can_draw(samples) && can_draw(training);
    const files has = {.samples = can_draw(samples),
                       .pixels = pairs && report->pixels.pair_count > 0,
                       .features = pairs && report->features.pair_count > 0,
                       .loss = report->loss_bins > 0};
    sumi_status status = sumi_make_dirs(folder, err);
    if (status == SUMI_OK)
        status = write_json(folder, report, err);
    if (status == SUMI_OK && has.samples)
        status = write_grid(folder, "samples.png", samples->images,
                            samples->n < GRID ? (int)samples->n : GRID,
                            (const int[]){samples->h, samples->w, samples->c}, err);
    if (status == SUMI_OK && has.pixels)
        status =
            sumi_eval_write_pairs(folder, "nearest.png", &report->pixels, samples, training, err);
    if (status == SUMI_OK && has.features)
        status = sumi_eval_write_pairs(folder, "nearest_features.png", &report->features, samples,
                                       training, err);
    if (status == SUMI_OK && has.loss)
        status = write_loss(folder, report, err);
    return status == SUMI_OK ? write_page(folder, report, &has, err) : status;
}
