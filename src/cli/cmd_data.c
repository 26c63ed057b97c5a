/*
 * sumi data list | info | preview: what there is to train on.
 */
#include "cli.h"

#include "data/augment.h"
#include "io/io.h"

#include <math.h>
#include <stdlib.h>

enum { ENTRIES_MAX = 32 };

/* A line of text that may hold anything: names and paths are whatever a folder or a file says. */
static void put_line(const char *text)
{
    sumi_cli_put(stdout, 0, text);
    putchar('\n');
}

static void print_entry(const sumi_data_entry *e)
{
    printf("%-16s %s\n%-16s %s: ", e->name, e->description, "", e->available ? "here" : "not here");
    put_line(e->where);
}

int sumi_cmd_data_list(sumi_cli *cli)
{
    sumi_data_entry entries[ENTRIES_MAX];
    int count = sumi_data_list(entries, ENTRIES_MAX);
    json_t *list = json_array();
    for (int i = 0; i < count && i < ENTRIES_MAX; i++) {
        const sumi_data_entry *e = &entries[i];
        if (cli->json)
            json_array_append_new(list,
                                  json_pack("{s:s, s:s, s:b, s:o}", "name", e->name, "description",
                                            e->description, "available", (int)e->available, "where",
                                            sumi_json_name(e->where)));
        else
            print_entry(e);
    }
    if (cli->json)
        return sumi_cli_result(cli, list);
    json_decref(list);
    return 0;
}

/* The set that the operand names, as --split, --size and --channels want it. */
static int open_set(sumi_cli *cli, sumi_dataset **out)
{
    const sumi_options *options = &cli->options;
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    sumi_error err = {""};
    config.split = sumi_option_text(options, "split");
    if (sumi_option_given(options, "channels"))
        config.channels = atoi(sumi_option_text(options, "channels"));
    sumi_option_size(options, "size", &config.height, &config.width);
    config.skip_bad = sumi_option_flag(options, "skip-bad");
    config.background = (float)sumi_option_real(options, "background");
    sumi_status status = sumi_data_open(options->operands[0], &config, out, &err);
    if (status != SUMI_OK)
        return sumi_cli_fail(cli, status, err.text);
    sumi_cli_notices(cli, *out);
    return 0;
}

typedef struct {
    double mean, deviation;
    char hash[65];
    int64_t *classes; /* images of each */
    double asymmetry; /* how far the pictures of a class look one way, and of which, or -1 */
    int one_way;
} measures;

/* Over all pixels, as values in [0, 1]: sums of bytes are exact in 64 bits. */
static bool measure(const sumi_dataset *set, measures *out)
{
    uint64_t counts[256] = {0}, sum = 0, squares = 0, pixels = 0;
    size_t size = (size_t)set->height * (size_t)set->width * (size_t)set->channels;
    uint8_t *image = sumi_calloc(size, 1);
    out->classes = sumi_calloc((size_t)set->classes + 1, sizeof *out->classes);
    if (image == NULL || out->classes == NULL) {
        free(image);
        return false;
    }
    for (int64_t i = 0; i < set->count; i++) {
        sumi_data_read_bytes(set, i, image);
        for (size_t k = 0; k < size; k++)
            counts[image[k]]++;
        if (set->labels != NULL)
            out->classes[set->labels[i]]++;
    }
    free(image);
    for (uint64_t value = 0; value < 256; value++) {
        pixels += counts[value];
        sum += value * counts[value];
        squares += value * value * counts[value];
    }
    double mean = (double)sum / (double)pixels;
    out->mean = mean / 255;
    out->deviation = sqrt(fmax(0, (double)squares / (double)pixels - mean * mean)) / 255;
    if (sumi_data_asymmetry(set, &out->asymmetry, &out->one_way, NULL) != SUMI_OK)
        return false;
    sumi_data_hash(set, out->hash);
    return true;
}

static void class_name(const sumi_dataset *set, int label, char *out, size_t size)
{
    if (set->class_names != NULL && set->class_names[label] != NULL)
        snprintf(out, size, "%s", set->class_names[label]);
    else
        snprintf(out, size, "%d", label);
}

static int print_json(const sumi_cli *cli, const sumi_dataset *set, const measures *m)
{
    json_t *object =
        json_pack("{s:o, s:o, s:I, s:i, s:i, s:i, s:f, s:f, s:s}", "name",
                  sumi_json_name(set->name), "path", sumi_json_name(set->path), "count",
                  (json_int_t)set->count, "height", set->height, "width", set->width, "channels",
                  set->channels, "mean", m->mean, "deviation", m->deviation, "hash", m->hash);
    json_t *classes = json_array();
    for (int i = 0; i < set->classes; i++) {
        char name[256];
        class_name(set, i, name, sizeof name);
        json_array_append_new(classes, json_pack("{s:o, s:I}", "name", sumi_json_name(name),
                                                 "count", (json_int_t)m->classes[i]));
    }
    json_object_set_new(object, "classes", classes);
    json_object_set_new(object, "asymmetry", json_real(m->asymmetry));
    json_t *notices = json_array(), *skipped = json_array();
    for (int i = 0; i < set->notice_count; i++)
        json_array_append_new(notices, sumi_json_any(set->notices[i].text));
    for (int64_t i = 0; i < set->skipped_count; i++)
        json_array_append_new(skipped, sumi_json_any(set->skipped[i]));
    json_object_set_new(object, "notices", notices);
    json_object_set_new(object, "skipped", skipped);
    return sumi_cli_result(cli, object);
}

static void print_text(const sumi_dataset *set, const measures *m)
{
    put_line(set->name);
    fputs("  where     ", stdout);
    put_line(set->path[0] != '\0' ? set->path : "built in");
    printf("  images    %lld of %dx%dx%d (height, width, channels)\n", (long long)set->count,
           set->height, set->width, set->channels);
    printf("  pixels    mean %.4f, standard deviation %.4f, in [0, 1]\n", m->mean, m->deviation);
    printf("  sha-256   %s\n", m->hash);
    printf("  one way   %.2f (0: as many look left as right, 1: all are alike)", m->asymmetry);
    if (m->one_way >= 0) {
        char name[256];
        class_name(set, m->one_way, name, sizeof name);
        fputs(", most of all ", stdout);
        put_line(name);
    } else {
        putchar('\n');
    }
    printf("  classes   %d\n", set->classes);
    for (int i = 0; i < set->classes; i++) {
        char name[256];
        class_name(set, i, name, sizeof name);
        printf("    %3d  %8lld  ", i, (long long)m->classes[i]);
        put_line(name);
    }
}

int sumi_cmd_data_info(sumi_cli *cli)
{
    sumi_dataset *set = NULL;
    measures found = {0};
    int code = open_set(cli, &set);
    if (code != 0)
        return code;
    if (!measure(set, &found))
        code = sumi_cli_fail(cli, SUMI_ENOMEM, "out of memory counting the classes");
    else if (cli->json)
        code = print_json(cli, set, &found);
    else
        print_text(set, &found);
    free(found.classes);
    sumi_data_free(set);
    return code;
}

/* The set's first images. */
static sumi_status draw_images(const sumi_dataset *set, sumi_output *output, sumi_error *err)
{
    uint8_t *pixels = sumi_calloc((size_t)set->height * (size_t)set->width, (size_t)set->channels);
    sumi_status status = pixels != NULL ? sumi_output_begin(output, err)
                                        : sumi_fail(err, SUMI_ENOMEM, "out of memory for an image");
    for (int i = 0; i < output->n && status == SUMI_OK; i++) {
        sumi_data_read_bytes(set, i, pixels);
        status = sumi_output_add(output, pixels, 1, err);
    }
    if (status == SUMI_OK)
        status = sumi_output_end(output, err);
    sumi_output_stop(output);
    free(pixels);
    return status;
}

int sumi_cmd_data_preview(sumi_cli *cli)
{
    const char *path = sumi_option_text(&cli->options, "out");
    sumi_dataset *set = NULL;
    sumi_error err = {""};
    if (!sumi_ends_with(path, ".png"))
        return sumi_cli_usage(cli, "--out: expected a name that ends with .png, found '%s'", path);
    sumi_status status = sumi_check_output(path, &err);
    if (status != SUMI_OK)
        return sumi_cli_fail(cli, status, err.text);
    int code = open_set(cli, &set);
    if (code != 0)
        return code;
    int64_t wanted = sumi_option_int(&cli->options, "count");
    sumi_output pictures = {.path = path,
                            .n = (int)(wanted < set->count ? wanted : set->count),
                            .h = set->height,
                            .w = set->width,
                            .c = set->channels,
                            .comment = cli->command_line};
    sumi_grid_layout grid;
    if (sumi_image_grid_size(pictures.n, pictures.h, pictures.w, &grid, &err) != SUMI_OK) {
        code = sumi_cli_usage(cli,
                              "%d images of %dx%d are too many for one picture; give a smaller -n",
                              pictures.n, pictures.h, pictures.w);
        sumi_data_free(set);
        return code;
    }
    status = draw_images(set, &pictures, &err);
    if (status != SUMI_OK)
        code = sumi_cli_fail(cli, status, err.text);
    else if (cli->json)
        code = sumi_cli_result(
            cli, json_pack("{s:o, s:i}", "out", sumi_json_name(path), "count", pictures.n));
    else
        sumi_cli_note(cli, "note", "drew %d images of %s to %s", pictures.n, set->name, path);
    sumi_data_free(set);
    return code;
}
