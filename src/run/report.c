/*
 * What a person looks at: the loss plot, and a page that opens without a network or a server.
 *
 * The page links by relative names only and holds its own style; every text that comes from outside
 * is escaped.
 */
#include "run/run.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/page.h"

/* What the page is made of besides numbers and pictures; NULL for one that is not there. */
enum { CONFIG, ENV, TUNING, MEMORY, SETTINGS };
static const char *const settings_files[SETTINGS] = {"config.json", "env.json", "tuning.json",
                                                     "memory.json"};

#define RELOAD_SECONDS 20
#define EPOCH_ROWS 200 /* of the table; the newest */

/* ---- The plot -------------------------------------------------------------------------------- */

/* The means of the losses around each, of so many that about fifty stand apart. The first is
 * itself, since that is where a loss falls fastest; the last has those before it alone. */
static void smooth(const double *losses, size_t count, double *sums, double *out)
{
    size_t reach = count / 100 > 2 ? count / 100 : 2;
    sums[0] = 0; /* sums[i]: of all before number i */
    for (size_t i = 0; i < count; i++)
        sums[i + 1] = sums[i] + losses[i];
    for (size_t i = 0; i < count; i++) {
        size_t before = i < reach ? i : reach;
        size_t after = count - 1 - i < before ? count - 1 - i : before;
        out[i] = (sums[i + after + 1] - sums[i - before]) / (double)(before + after + 1);
    }
}

/* A loss that falls far shows nothing but its beginning on a linear axis. */
static bool falls_far(const double *losses, size_t count)
{
    double low = INFINITY, high = 0;
    for (size_t i = 0; i < count; i++) {
        low = fmin(low, losses[i]);
        high = fmax(high, losses[i]);
    }
    return low > 0 && high > 8 * low;
}

/* points: [2 * steps + 1 + 2 * epochs], room for what is computed here. */
static sumi_status draw_plot(const sumi_run_dir *dir, double *points, const char *path,
                             sumi_error *err)
{
    double *smoothed = points, *x = points + dir->step_count, *y = x + dir->epoch_count,
           *sums = y + dir->epoch_count;
    char *svg = NULL;
    size_t size;
    smooth(dir->step_loss, dir->step_count, sums, smoothed);
    for (size_t i = 0; i < dir->epoch_count; i++) {
        x[i] = (double)dir->epochs[i].epoch + .5; /* amid the steps that it is the mean of */
        y[i] = dir->epochs[i].loss;
    }
    const sumi_plot_series series[] = {
        {.label = "each step, smoothed", .x = dir->step_x, .y = smoothed, .count = dir->step_count},
        {.label = dir->epoch_count ? "mean of the epoch" : NULL,
         .x = x,
         .y = y,
         .count = dir->epoch_count}};
    const sumi_plot plot = {.title = "Training loss",
                            .x_label = "Epoch",
                            .y_label = "Loss",
                            .series = series,
                            .series_count = 2,
                            .log_y = falls_far(smoothed, dir->step_count),
                            .thin_count = 1};
    sumi_status status = sumi_plot_svg(&plot, &svg, &size, err);
    if (status == SUMI_OK)
        status = sumi_file_save(path, svg, size, err);
    free(svg);
    return status;
}

/* The loss of every step as a thin line, and over it the tutorial's plot, the mean loss of each
 * epoch; a run of one epoch would be a dot without the former. */
static sumi_status write_plot(sumi_run_dir *dir, sumi_error *err)
{
    char path[PATH_MAX];
    sumi_status status = sumi_run_flush(dir, err);
    if (status == SUMI_OK)
        status = sumi_run_step_losses(dir, err);
    if (status != SUMI_OK || dir->step_count + dir->epoch_count == 0)
        return status;
    size_t count = 2 * dir->step_count + 1 + 2 * dir->epoch_count;
    double *points = sumi_calloc(count, sizeof *points);
    status = points ? draw_plot(dir, points, sumi_run_file(dir, "loss.svg", path), err)
                    : sumi_fail_memory(err, "the loss plot", count * sizeof *points);
    free(points);
    return status;
}

/* The distance of each score, where there are scores; no connection to the loss plot's axis. */
static sumi_status write_scores(const sumi_run_dir *dir, sumi_error *err)
{
    char path[PATH_MAX], *svg = NULL;
    size_t count = dir->score_count, size;
    if (count == 0)
        return SUMI_OK;
    double *points = sumi_calloc(2 * count, sizeof *points);
    if (!points)
        return sumi_fail_memory(err, "the plot of scores", 2 * count * sizeof *points);
    for (size_t i = 0; i < count; i++) {
        points[i] = (double)dir->scores[i].step / (double)dir->steps_per_epoch;
        points[count + i] = dir->scores[i].frechet;
    }
    const sumi_plot_series series = {.x = points, .y = points + count, .count = count};
    const sumi_plot plot = {.title = "Frechet distance to the data",
                            .x_label = "Epoch",
                            .y_label = "Distance",
                            .series = &series,
                            .series_count = 1,
                            .log_y = falls_far(points + count, count)};
    sumi_status status = sumi_plot_svg(&plot, &svg, &size, err);
    if (status == SUMI_OK)
        status = sumi_file_save(sumi_run_file(dir, "score.svg", path), svg, size, err);
    free(svg);
    free(points);
    return status;
}

/* ---- The page -------------------------------------------------------------------------------- */

/* Settings whose zero says that they are not used. */
static bool is_off(const char *key, const json_t *value)
{
    static const char *const keys[] = {
        "epochs",     "steps",     "minutes", "ema",   "snapshots", "grid_height", "grid_width",
        "grid_steps", "clip_norm", "beta1",   "beta2", "epsilon",   "eval_every",  "eval_images"};
    json_type type = json_typeof(value);
    bool off = (type == JSON_INTEGER || type == JSON_REAL) && json_number_value(value) == 0;
    bool listed = strncmp(key, "ema_", 4) == 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        listed = listed || strcmp(key, keys[i]) == 0;
    return off && listed;
}

/* Images behind a score say nothing of a run that has none. */
static bool is_of_scores(const json_t *settings, const char *key)
{
    return strcmp(key, "eval_images") == 0 &&
           json_number_value(json_object_get(settings, "eval_every")) == 0;
}

/* A setting as a row: numbers and texts; what is empty or not used is left out. */
static void put_setting(FILE *page, const char *key, const json_t *value)
{
    char number[SUMI_NUMBER_MAX];
    json_type type = json_typeof(value);
    if ((type == JSON_STRING && json_string_length(value) == 0) || is_off(key, value))
        return;
    fputs("<tr><th>", page);
    for (const char *c = key; *c; c++)
        sumi_page_text(page, (char[]){*c == '_' ? ' ' : *c, '\0'});
    fputs("</th><td>", page);
    switch (type) {
    case JSON_TRUE:
    case JSON_FALSE:
        fputs(type == JSON_TRUE ? "yes" : "no", page);
        break;
    case JSON_STRING:
        sumi_page_text(page, json_string_value(value));
        break;
    case JSON_INTEGER:
        fprintf(page, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        fputs(sumi_run_number(number, json_real_value(value), 6), page);
        break;
    default: /* null, a list: nothing that a row could show */
        break;
    }
    fputs("</td></tr>\n", page);
}

static void put_settings(FILE *page, const char *heading, json_t *settings)
{
    const char *key;
    json_t *value;
    if (!json_is_object(settings))
        return;
    fprintf(page, "<div><h2>%s</h2><table>\n", heading);
    json_object_foreach(settings, key, value)
    {
        if (json_typeof(value) != JSON_OBJECT && !is_of_scores(settings, key))
            put_setting(page, key, value);
    }
    fputs("</table></div>\n", page);
}

/* Only names that sumi gives: digits, small letters, '_', and ".png" at the end. */
static int is_grid(const struct dirent *entry)
{
    size_t length = strspn(entry->d_name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return length > 0 && strcmp(entry->d_name + length, ".png") == 0;
}

/* alphasort would ask the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* "epoch_007.png" is Epoch 7, "final_009.png" Final, epoch 9, "step_1000.png" Step 1000. */
static void put_grid(FILE *page, const char *name)
{
    const char *digits = strpbrk(name, "0123456789");
    const char *kind = strncmp(name, "epoch_", 6) == 0   ? "Epoch"
                       : strncmp(name, "final_", 6) == 0 ? "Final, epoch"
                                                         : "Step";
    fprintf(page,
            "<figure><a href=\"samples/%s\"><img src=\"samples/%s\" alt=\"samples\"></a>"
            "<figcaption>%s %lld</figcaption></figure>\n",
            name, name, kind, digits ? strtoll(digits, NULL, 10) : 0);
}

static void put_grids(FILE *page, const char *folder)
{
    struct dirent **names = NULL;
    int count = scandir(folder, &names, is_grid, by_name);
    if (count > 0)
        fputs("<h2>Samples</h2>\n<div class=\"grids\">\n", page);
    for (int i = 0; i < count; i++) {
        put_grid(page, names[i]->d_name);
        free(names[i]);
    }
    if (count > 0)
        fputs("</div>\n", page);
    free(names);
}

static void put_epochs(FILE *page, const sumi_run_dir *dir)
{
    char loss[SUMI_NUMBER_MAX];
    size_t first = dir->epoch_count > EPOCH_ROWS ? dir->epoch_count - EPOCH_ROWS : 0;
    if (dir->epoch_count == 0)
        return;
    fputs("<h2>Epochs</h2>\n<table><tr><th class=\"n\">Epoch</th><th class=\"n\">Loss</th>"
          "<th class=\"n\">Steps</th><th class=\"n\">Minutes</th></tr>\n",
          page);
    for (size_t i = first; i < dir->epoch_count; i++) {
        const sumi_epoch_record *at = &dir->epochs[i];
        int64_t tenths = (int64_t)(at->seconds / 6 + .5);
        fprintf(page,
                "<tr><td class=\"n\">%" PRId64
                "</td><td class=\"n\">%s</td><td class=\"n\">%" PRId64
                "</td><td class=\"n\">%" PRId64 ".%d</td></tr>\n",
                at->epoch, sumi_run_number(loss, at->loss, 4), at->step, tenths / 10,
                (int)(tenths % 10));
    }
    fputs("</table>\n", page);
}

/* The ways to sample that the search at the end looked at, the one that it kept first. */
static void put_tuning(FILE *page, const json_t *tuning)
{
    char distance[SUMI_NUMBER_MAX];
    const json_t *list = json_object_get(tuning, "candidates"), *way;
    size_t i;
    if (json_array_size(list) == 0)
        return;
    fputs("<h2>Ways to sample</h2>\n<p>The first is kept: <code>sumi sample</code> draws by it. Of "
          "ways that are equally good it takes the fewest evaluations. Distances are by a random "
          "network, from few images of the same noise: they compare ways of as many images, and "
          "nothing else.</p>\n<table><tr><th>Way</th><th class=\"n\">Evaluations</th>"
          "<th class=\"n\">Images</th><th class=\"n\">Distance</th></tr>\n",
          page);
    json_array_foreach(list, i, way)
    {
        const char *name = json_string_value(json_object_get(way, "name"));
        fputs("<tr><td>", page);
        sumi_page_text(page, name ? name : "");
        fprintf(page,
                "</td><td class=\"n\">%lld</td><td class=\"n\">%lld</td><td "
                "class=\"n\">%s</td></tr>\n",
                (long long)json_integer_value(json_object_get(way, "evaluations")),
                (long long)json_integer_value(json_object_get(way, "n")),
                sumi_run_number(distance, json_number_value(json_object_get(way, "frechet")), 3));
    }
    fputs("</table>\n", page);
}

/* Of a run on few images: the samples that are closest to one of them. */
static void put_copies(FILE *page, const json_t *memory)
{
    char number[SUMI_NUMBER_MAX];
    const json_t *pairs = json_object_get(memory, "pairs"), *pair;
    double share = json_number_value(json_object_get(memory, "memorised"));
    long long pictures = json_integer_value(json_object_get(memory, "pictures"));
    size_t i;
    if (!json_is_object(memory))
        return;
    fprintf(page,
            "<h2>Copies</h2>\n<p>Few images can be learnt by heart. %lld of %lld samples are less "
            "than half as far from a training picture as those usually are from each other, which "
            "%s %% of these are themselves.%s</p>\n",
            (long long)(share * (double)pictures + .5), pictures,
            sumi_run_number(number, 100 * json_number_value(json_object_get(memory, "usual")), 3),
            share > 0 ? " More images, fewer steps or <code>--augment 0.12</code> make them fewer."
                      : "");
    if (!json_is_true(json_object_get(memory, "picture")))
        return;
    fputs("<figure class=\"wide\"><a href=\"memory.png\"><img src=\"memory.png\" alt=\"closest "
          "pairs\"></a><figcaption>Left the sample, right the training picture that is nearest in "
          "pixels; distance ",
          page);
    json_array_foreach(pairs, i, pair)
    {
        double ratio = json_number_value(json_object_get(pair, "ratio"));
        fprintf(page, "%s%s", i ? ", " : "", sumi_run_number(number, ratio, 3));
    }
    fputs(" (1: as far as training pictures usually are from each other, 0: a copy).</figcaption>"
          "</figure>\n",
          page);
}

static void put_head(FILE *page, const sumi_run_dir *dir, const char *state, bool running)
{
    const char *slash = strrchr(dir->path, '/');
    char name[4 * NAME_MAX];
    sumi_clean_text(name, sizeof name, slash && slash[1] ? slash + 1 : dir->path);
    sumi_page_begin(page, name, state, running ? RELOAD_SECONDS : 0);
}

static void put_page(FILE *page, const sumi_run_dir *dir, const char *state, bool running,
                     json_t *const settings[SETTINGS])
{
    json_t *config = settings[CONFIG];
    char folder[PATH_MAX], plot[PATH_MAX];
    put_head(page, dir, state, running);
    if (sumi_is_file(sumi_run_file(dir, "loss.svg", plot)))
        fputs("<h2>Loss</h2>\n<img class=\"plot\" src=\"loss.svg\" alt=\"training loss\">\n", page);
    if (dir->score_count > 0)
        fputs("<h2>Score</h2>\n<img class=\"plot\" src=\"score.svg\" alt=\"Frechet distance\">\n"
              "<p>Every score: <a href=\"eval.jsonl\">eval.jsonl</a></p>\n",
              page);
    put_grids(page, sumi_run_file(dir, "samples", folder));
    put_copies(page, settings[MEMORY]);
    put_tuning(page, settings[TUNING]);
    fputs("<div class=\"columns\">\n", page);
    put_settings(page, "Training", json_object_get(config, "train"));
    put_settings(page, "Model", json_object_get(config, "model"));
    put_settings(page, "Data", json_object_get(config, "data"));
    put_settings(page, "Machine", settings[ENV]);
    put_settings(page, "Run", config);
    fputs("</div>\n", page);
    put_epochs(page, dir);
    fputs("<h2>Files</h2>\n<p><a href=\"train.log\">train.log</a>, "
          "<a href=\"metrics.csv\">metrics.csv</a>, <a href=\"metrics.jsonl\">metrics.jsonl</a>, "
          "<a href=\"config.json\">config.json</a>, <a href=\"env.json\">env.json</a>, "
          "<a href=\"checkpoints/\">checkpoints</a></p>\n",
          page);
    sumi_page_end(page);
}

static json_t *read_settings(const sumi_run_dir *dir, const char *name)
{
    char path[PATH_MAX];
    json_t *json = NULL;
    (void)sumi_json_read(sumi_run_file(dir, name, path), &json, NULL);
    return json;
}

sumi_status sumi_run_report(sumi_run_dir *dir, const char *state, bool running, sumi_error *err)
{
    char path[PATH_MAX], *text = NULL;
    size_t size = 0;
    sumi_status status = write_plot(dir, err);
    if (status == SUMI_OK)
        status = write_scores(dir, err);
    if (status != SUMI_OK)
        return status;
    sumi_run_file(dir, "index.html", path);
    FILE *page = open_memstream(&text, &size);
    if (!page)
        return sumi_fail_memory(err, path, 0);
    json_t *settings[SETTINGS];
    for (int i = 0; i < SETTINGS; i++)
        settings[i] = read_settings(dir, settings_files[i]);
    put_page(page, dir, state, running, settings);
    for (int i = 0; i < SETTINGS; i++)
        json_decref(settings[i]);
    bool failed = ferror(page) != 0;
    failed |= fclose(page) != 0;
    status = failed ? sumi_fail_memory(err, path, size) : sumi_file_save(path, text, size, err);
    free(text);
    return status;
}
