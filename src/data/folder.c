/*
 * A data set from a folder of pictures: its tree is listed (listing.c), the pictures of a split are
 * chosen (splits.c), and here they are read.
 *
 * Without a size that is asked for, the size depends on all of the pictures. The first pass takes
 * them for pictures of one size, as most sets are, and stores them; where one differs it goes on
 * only to look at them, and a second pass stores them at the size that was chosen. Whatever cannot
 * be read is found in the first pass, and told in one go.
 */
#include "data/folder.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"

enum { SKIPPED_SHOWN = 20, MULTIPLE = 4 };

typedef struct {
    int height, width;
} shape;

typedef struct {
    const sumi_listing *list;
    const char *folder;
    const sumi_dataset_config *config;
    sumi_dataset *out;
    sumi_fitter fitter;
    bool storing;
    /* Of the pictures that can be read, in order. */
    shape *shapes;
    size_t *which; /* their numbers in the list */
    size_t good, coloured, first_coloured;
    /* Of those that cannot. */
    char **bad; /* "a/b.png: why" */
    size_t bad_count, bad_capacity;
    sumi_status bad_status;
    sumi_error first_bad;
    sumi_error *err;
} reading;

static const char *path_of(const reading *r, size_t good)
{
    return r->list->pictures[r->which[good]].path;
}

/* ---- Storing ----------------------------------------------------------------------------------
 */

/* Gives the first `filled` grey pictures three channels, when the first colour picture comes. */
static sumi_status make_colour(sumi_dataset *set, const char *path, size_t filled, sumi_error *err)
{
    sumi_dataset wider = {0};
    sumi_status status = sumi_data_alloc(&wider, path, set->count, set->height, set->width, 3, err);
    if (status != SUMI_OK)
        return status;
    sumi_convert_channels(set->pixels, 1, wider.pixels, 3,
                          filled * (size_t)set->height * (size_t)set->width);
    sumi_data_move_pixels(set, &wider);
    set->channels = 3;
    return SUMI_OK;
}

static uint8_t background_of(const reading *r)
{
    return (uint8_t)(r->config->background * 255 + .5f);
}

/* Fits picture number `at` of the set into its place; the image is overwritten. */
static sumi_status store(reading *r, size_t at, sumi_image *image)
{
    sumi_dataset *set = r->out;
    sumi_status status = SUMI_OK;
    if (r->config->channels == 0 && image->channels == 3 && set->channels == 1)
        status = make_colour(set, r->folder, at, r->err);
    if (status != SUMI_OK)
        return status;
    r->fitter = (sumi_fitter){set->height, set->width, set->channels, r->fitter.resizer};
    size_t bytes = (size_t)set->height * (size_t)set->width * (size_t)set->channels;
    return sumi_fitter_run(&r->fitter, image->pixels, image->height, image->width, image->channels,
                           set->pixels + at * bytes, r->err);
}

/* ---- The first pass ---------------------------------------------------------------------------
 */

/* Remembers why picture i cannot be read. */
static sumi_status add_bad(reading *r, size_t i, sumi_status status, const sumi_error *why)
{
    const char *path = r->list->pictures[i].path, *reason = why->text;
    char *shown = sumi_clean_copy(path); /* as messages show it */
    if (!shown)
        return sumi_fail_memory(r->err, "a list of files", strlen(path));
    size_t length = strlen(shown);
    if (strncmp(reason, shown, length) == 0 && strncmp(reason + length, ": ", 2) == 0)
        reason += length + 2;
    free(shown);
    if (r->bad_count == 0) {
        r->bad_status = status;
        r->first_bad = *why;
    }
    char **bad = sumi_grow(r->bad, &r->bad_capacity, r->bad_count, sizeof *bad, 16);
    if (!bad)
        return sumi_fail_memory(r->err, "a list of files", (r->bad_count + 1) * sizeof *bad);
    r->bad = bad;
    const char *name = path + r->list->root;
    size_t size = strlen(name) + strlen(reason) + 3;
    char *line = sumi_calloc(size, 1);
    if (!line)
        return sumi_fail_memory(r->err, "a list of files", size);
    snprintf(line, size, "%s: %s", name, reason);
    r->bad[r->bad_count++] = line;
    return SUMI_OK;
}

static void stop_storing(reading *r)
{
    sumi_data_free_pixels(r->out);
    r->storing = false;
}

/* Begins to store at the size that is asked for, or else the first picture's; where that takes more
 * memory than there is, the others decide first. */
static sumi_status begin_storing(reading *r, const sumi_image *image)
{
    const sumi_dataset_config *config = r->config;
    bool fixed = config->height && config->width;
    sumi_status status = sumi_data_alloc(
        r->out, r->folder, (int64_t)r->list->count, config->height ? config->height : image->height,
        config->width ? config->width : image->width,
        config->channels ? config->channels : image->channels, r->err);
    if (status == SUMI_OK || fixed)
        return status;
    r->storing = false;
    return SUMI_OK;
}

static sumi_status take_picture(reading *r, size_t i, sumi_image *image)
{
    bool fixed = r->config->height && r->config->width;
    sumi_status status = SUMI_OK;
    r->shapes[r->good] = (shape){image->height, image->width};
    r->which[r->good] = i;
    if (image->channels == 3 && r->coloured++ == 0)
        r->first_coloured = i;
    if (r->good == 0)
        status = begin_storing(r, image);
    if (r->storing && !fixed &&
        (image->height != r->shapes[0].height || image->width != r->shapes[0].width))
        stop_storing(r);
    if (status == SUMI_OK && r->storing)
        status = store(r, r->good, image);
    r->good++;
    return status;
}

static sumi_status first_pass(reading *r)
{
    sumi_status status = SUMI_OK;
    for (size_t i = 0; status == SUMI_OK && i < r->list->count; i++) {
        sumi_image image = {0};
        sumi_error why = {""};
        status = sumi_image_read_over(r->list->pictures[i].path, background_of(r), &image, &why);
        if (status == SUMI_OK)
            status = take_picture(r, i, &image);
        else if (status == SUMI_ENOMEM)
            status = sumi_fail(r->err, status, "%s", why.text);
        else
            status = add_bad(r, i, status, &why);
        /* What will be refused needs no pixels. */
        if (r->bad_count > 0 && !r->config->skip_bad && r->storing)
            stop_storing(r);
        sumi_image_free(&image);
    }
    return status;
}

/* ---- What cannot be read ----------------------------------------------------------------------
 */

/* "a.png: why; b.png: why; and 3 others", as much of it as fits. */
static void bad_text(const reading *r, char *out, size_t size)
{
    const size_t tail = 32;
    size_t used = 0, shown = 0;
    out[0] = '\0';
    for (; shown < r->bad_count && shown < SKIPPED_SHOWN; shown++) {
        size_t length = strlen(r->bad[shown]) + 2;
        if (used + length + tail > size && shown > 0)
            break;
        if (used + length + tail > size) { /* one is named, whatever its length */
            used = sumi_copy_text(out, size - tail, r->bad[shown++]);
            break;
        }
        used +=
            (size_t)snprintf(out + used, size - used, "%s%s", shown > 0 ? "; " : "", r->bad[shown]);
    }
    if (shown < r->bad_count)
        snprintf(out + used, size - used, "%s%zu others", used > 0 ? "; and " : "",
                 r->bad_count - shown);
}

static sumi_status check_bad(reading *r)
{
    char text[2048];
    const char *hint = r->config->skip_bad ? "" : "; --skip-bad leaves such pictures out";
    if (r->bad_count == 0 || (r->config->skip_bad && r->good > 0))
        return SUMI_OK;
    if (r->bad_count == 1)
        return sumi_fail(r->err, r->bad_status, "%s%s", r->first_bad.text, hint);
    /* The hint must not fall off the end of the message. */
    size_t around = strlen(r->folder) + strlen(hint) + 80;
    size_t room = around + 100 < sizeof r->err->text ? sizeof r->err->text - around : 100;
    bad_text(r, text, room < sizeof text ? room : sizeof text);
    return sumi_fail(r->err, r->bad_status, "%s: %zu of %zu pictures cannot be read: %s%s",
                     r->folder, r->bad_count, r->list->count, text, hint);
}

/* The set keeps the list. */
static sumi_status keep_skipped(reading *r)
{
    char text[1024];
    if (r->bad_count == 0)
        return SUMI_OK;
    bad_text(r, text, sizeof text);
    r->out->skipped = r->bad;
    r->out->skipped_count = (int64_t)r->bad_count;
    r->bad = NULL;
    r->bad_count = 0;
    return sumi_data_note(r->out, true, r->err,
                          "left out %" PRId64 " of %zu pictures, which cannot be read: %s",
                          r->out->skipped_count, r->list->count, text);
}

/* ---- One size ---------------------------------------------------------------------------------
 */

static int by_size(const void *a, const void *b)
{
    const shape *x = a, *y = b;
    return x->height != y->height ? (x->height > y->height) - (x->height < y->height)
                                  : (x->width > y->width) - (x->width < y->width);
}

static int by_number(const void *a, const void *b)
{
    const int *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int to_multiple(int side)
{
    int nearest = (side + MULTIPLE / 2) / MULTIPLE * MULTIPLE;
    return nearest < MULTIPLE ? MULTIPLE : nearest;
}

/* Sorts the shapes, so that nothing depends on names; *sizes receives how many there are. Networks
 * halve their images, so a size that is nobody's own is a multiple of 4. */
static sumi_status choose_size(shape *shapes, size_t count, shape *out, size_t *sizes, bool *most,
                               sumi_error *err)
{
    size_t run = 0, longest = 0;
    qsort(shapes, count, sizeof *shapes, by_size);
    *sizes = 0;
    for (size_t i = 0; i < count; i++) {
        bool same = i > 0 && by_size(&shapes[i], &shapes[i - 1]) == 0;
        *sizes += !same;
        run = same ? run + 1 : 1;
        if (run > longest) {
            longest = run;
            *out = shapes[i];
        }
    }
    *most = longest > count / 2;
    if (*most)
        return SUMI_OK;
    int *widths = sumi_calloc(count, sizeof *widths);
    if (!widths)
        return sumi_fail_memory(err, "sizes", count * sizeof *widths);
    for (size_t i = 0; i < count; i++)
        widths[i] = shapes[i].width;
    qsort(widths, count, sizeof *widths, by_number);
    out->height = to_multiple(shapes[(count - 1) / 2].height);
    out->width = to_multiple(widths[(count - 1) / 2]);
    free(widths);
    return SUMI_OK;
}

static sumi_status note_sizes(reading *r, size_t sizes, bool most)
{
    int low_h = SUMI_SIDE_MAX, high_h = 0, low_w = SUMI_SIDE_MAX, high_w = 0;
    for (size_t i = 0; i < r->good; i++) {
        shape s = r->shapes[i];
        low_h = s.height < low_h ? s.height : low_h;
        high_h = s.height > high_h ? s.height : high_h;
        low_w = s.width < low_w ? s.width : low_w;
        high_w = s.width > high_w ? s.width : high_w;
    }
    bool asked = r->config->height || r->config->width;
    return sumi_data_note(
        r->out, true, r->err,
        "the pictures have %zu sizes, heights from %d to %d and widths from %d to "
        "%d: all are scaled and cut to %dx%d, %s; --size HxW takes another",
        sizes, low_h, high_h, low_w, high_w, r->out->height, r->out->width,
        asked  ? "a side of which was asked for"
        : most ? "the size of most of them"
               : "about the medians");
}

/* The pictures differ in size: the second pass. */
static sumi_status second_pass(reading *r)
{
    const sumi_dataset_config *config = r->config;
    shape chosen = {0};
    size_t sizes = 0;
    bool most = false;
    int channels = config->channels ? config->channels : r->coloured > 0 ? 3 : 1;
    sumi_status status = choose_size(r->shapes, r->good, &chosen, &sizes, &most, r->err);
    if (status == SUMI_OK)
        status = sumi_data_alloc(r->out, r->folder, (int64_t)r->good,
                                 config->height ? config->height : chosen.height,
                                 config->width ? config->width : chosen.width, channels, r->err);
    for (size_t k = 0; status == SUMI_OK && k < r->good; k++) {
        sumi_image image = {0};
        status = sumi_image_read_over(path_of(r, k), background_of(r), &image, r->err);
        if (status == SUMI_OK)
            status = store(r, k, &image);
        sumi_image_free(&image);
    }
    r->out->sizes = (int64_t)sizes;
    return status == SUMI_OK && sizes > 1 ? note_sizes(r, sizes, most) : status;
}

static sumi_status note_colour(reading *r)
{
    if (r->config->channels || r->coloured == 0 || r->coloured == r->good)
        return SUMI_OK;
    return sumi_data_note(
        r->out, true, r->err,
        "%zu of %zu pictures %s in colour (%s), the others grey: all are read with "
        "3 channels; --channels 1 makes them grey",
        r->coloured, r->good, r->coloured == 1 ? "is" : "are",
        r->list->pictures[r->first_coloured].path + r->list->root);
}

static sumi_status read_pictures(reading *r)
{
    sumi_status status = first_pass(r);
    if (status == SUMI_OK)
        status = check_bad(r);
    if (status == SUMI_OK && !r->storing)
        status = second_pass(r);
    if (status != SUMI_OK)
        return status;
    r->out->count = (int64_t)r->good;
    status = note_colour(r);
    return status == SUMI_OK ? keep_skipped(r) : status;
}

/* ---- The whole --------------------------------------------------------------------------------
 */

static sumi_status set_labels(const reading *r, char *const *names, int count)
{
    sumi_dataset *out = r->out;
    if (count == 0)
        return SUMI_OK;
    out->labels = sumi_calloc(r->good, sizeof *out->labels);
    if (!out->labels)
        return sumi_fail_memory(r->err, "labels", r->good * sizeof *out->labels);
    for (size_t k = 0; k < r->good; k++)
        out->labels[k] = r->list->pictures[r->which[k]].class;
    return sumi_data_set_classes(out, (const char *const *)names, count, r->err);
}

static sumi_status note_left_out(const sumi_listing *list, sumi_dataset *out, sumi_error *err)
{
    char text[1024];
    bool pictures = false;
    sumi_status status = SUMI_OK;
    sumi_listing_left_out(list, text, sizeof text, &pictures);
    if (list->other_files > 0)
        status = sumi_data_note(out, pictures, err,
                                "left out %zu file%s, by name neither PNG nor JPEG: %s",
                                list->other_files, list->other_files == 1 ? "" : "s", text);
    if (status == SUMI_OK && list->runs > 0)
        status = sumi_data_note(
            out, false, err, "left out %zu run%s of sumi, whose pictures are no data: %s%s",
            list->runs, list->runs == 1 ? "" : "s", list->run, list->runs > 1 ? " and others" : "");
    return status;
}

static sumi_status fail_empty(const sumi_listing *list, const char *folder, sumi_error *err)
{
    char text[300];
    bool pictures;
    sumi_listing_left_out(list, text, sizeof text, &pictures);
    if (list->other_files == 0 && list->runs > 0)
        return sumi_fail(
            err, SUMI_EFORMAT,
            "%s: no pictures are in this folder, but for those of sumi's own runs (%s)", folder,
            list->run);
    if (list->other_files == 0)
        return sumi_fail(err, SUMI_EFORMAT, "%s: the folder is empty: no pictures in it", folder);
    return sumi_fail(err, SUMI_EFORMAT,
                     "%s: no .png, .jpg or .jpeg pictures are in this folder (%zu other files: %s)",
                     folder, list->other_files, text);
}

/* Lists the folder and chooses the split's pictures. */
static sumi_status list_split(const char *path, sumi_dataset *out, sumi_listing *list,
                              sumi_split_choice *choice, sumi_error *err)
{
    sumi_status status = sumi_listing_read(list, path, err);
    if (status == SUMI_OK && list->count == 0)
        status = fail_empty(list, path, err);
    if (status == SUMI_OK)
        status = sumi_splits_choose(list, path, out->split, choice, err);
    if (status == SUMI_OK && choice->relist) {
        /* What is left out, and which links lead where, is now a matter of that folder alone. */
        sumi_listing_free(list);
        status = sumi_listing_read(list, choice->folder, err);
        choice->root = list->root;
        if (status == SUMI_OK && list->count == 0)
            status = fail_empty(list, choice->folder, err);
    }
    if (status == SUMI_OK && choice->splits[0])
        status = sumi_data_note(out, false, err, "%s", choice->splits);
    return status;
}

static sumi_status read_folder(const char *path, const sumi_dataset_config *config,
                               sumi_dataset *out, sumi_listing *list, sumi_error *err)
{
    sumi_split_choice choice;
    char **names = NULL;
    int classes = 0;
    sumi_status status = list_split(path, out, list, &choice, err);
    if (status != SUMI_OK)
        return status;
    reading r = {.list = list,
                 .folder = choice.folder,
                 .config = config,
                 .out = out,
                 .storing = true,
                 .err = err};
    status = note_left_out(list, out, err);
    if (status == SUMI_OK)
        status = sumi_listing_classes(list, choice.root, &names, &classes);
    r.shapes = sumi_calloc(list->count, sizeof *r.shapes);
    r.which = sumi_calloc(list->count, sizeof *r.which);
    if (status == SUMI_OK && (!r.shapes || !r.which))
        status = sumi_fail_memory(err, "a list of files", list->count * sizeof *r.which);
    if (status == SUMI_OK)
        status = read_pictures(&r);
    if (status == SUMI_OK)
        status = set_labels(&r, names, classes);
    sumi_fitter_free(&r.fitter);
    for (int i = 0; i < classes; i++)
        free(names[i]);
    for (size_t i = 0; i < r.bad_count; i++)
        free(r.bad[i]);
    free(names);
    free(r.bad);
    free(r.shapes);
    free(r.which);
    return status;
}

sumi_status sumi_folder_open(const char *path, const sumi_dataset_config *config, sumi_dataset *out,
                             sumi_error *err)
{
    sumi_listing list = {0};
    if (sumi_folder_is_run(path))
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: is a run of sumi, not a data set; to go on with it: sumi train "
                         "--resume %s",
                         path, path);
    out->skip_bad = config->skip_bad;
    sumi_status status = read_folder(path, config, out, &list, err);
    sumi_listing_free(&list);
    if (status != SUMI_OK)
        sumi_data_clear(out);
    return status;
}
