/*
 * Pictures for an evaluation: read from a set or drawn by a model, as the bytes that would be
 * saved, and cut to the size of the data. The tutorial draws 32x32 where its data are 28x28: what
 * it leaves in the frame around is told as a share of all ink.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "eval/evaluate.h"

void sumi_pictures_forget(sumi_pictures *pictures)
{
    free(pictures->features);
    free(pictures->probabilities);
    free(pictures->radii);
    pictures->features = pictures->probabilities = NULL;
    pictures->radii = NULL;
    for (int i = 0; i < 2; i++) {
        free(pictures->to_training[i]);
        pictures->to_training[i] = NULL;
    }
}

void sumi_pictures_free(sumi_pictures *pictures)
{
    sumi_pictures_forget(pictures);
    free(pictures->images);
    free(pictures->labels);
    *pictures = (sumi_pictures){0};
}

/* ---- Cutting --------------------------------------------------------------------------------- */

typedef struct {
    int from_h, from_w, h, w, c;
    double inside, all; /* sums of bytes */
} cutting;

static sumi_status check_sizes(const char *what, int h, int w, int c, const int sizes[3],
                               sumi_error *err)
{
    bool fits = h >= sizes[0] && w >= sizes[1] && h * 4 <= sizes[0] * 5 && w * 4 <= sizes[1] * 5;
    if (fits && c == sizes[2])
        return SUMI_OK;
    return sumi_fail(err, SUMI_ESHAPE, "%s: pictures of %dx%dx%d, the data are %dx%dx%d%s", what, h,
                     w, c, sizes[0], sizes[1], sizes[2],
                     c != sizes[2] ? " (height x width x channels)"
                                   : ": they must be as large, or up to a quarter larger");
}

static void cut(cutting *cut, const uint8_t *from, uint8_t *to)
{
    size_t row = (size_t)cut->w * (size_t)cut->c, wide = (size_t)cut->from_w * (size_t)cut->c;
    size_t top = (size_t)((cut->from_h - cut->h) / 2);
    size_t left = (size_t)((cut->from_w - cut->w) / 2) * (size_t)cut->c;
    for (size_t i = 0; i < (size_t)cut->from_h * wide; i++)
        cut->all += from[i];
    for (size_t y = 0; y < (size_t)cut->h; y++) {
        const uint8_t *line = from + (top + y) * wide + left;
        for (size_t i = 0; i < row; i++)
            cut->inside += line[i];
        memcpy(to + y * row, line, row);
    }
}

static double outside_of(const cutting *cut)
{
    return cut->all > 0 ? (cut->all - cut->inside) / cut->all : 0;
}

static sumi_status allocate(sumi_pictures *out, int64_t n, const int sizes[3], sumi_error *err)
{
    const int64_t factors[] = {n, sizes[0], sizes[1], sizes[2]};
    size_t bytes = 0;
    *out = (sumi_pictures){.n = n, .h = sizes[0], .w = sizes[1], .c = sizes[2]};
    if (sumi_size_product(factors, 4, &bytes))
        out->images = sumi_calloc(bytes, 1);
    return out->images ? SUMI_OK : sumi_fail_memory(err, "pictures", bytes);
}

static size_t image_bytes(const sumi_pictures *pictures)
{
    return (size_t)pictures->h * (size_t)pictures->w * (size_t)pictures->c;
}

/* ---- From a set ------------------------------------------------------------------------------ */

sumi_status sumi_pictures_read(const sumi_dataset *set, int64_t most, const int sizes[3],
                               sumi_pictures *out, sumi_error *err)
{
    int64_t n = most > 0 && most < set->count ? most : set->count;
    size_t bytes = (size_t)set->height * (size_t)set->width * (size_t)set->channels;
    cutting work = {set->height, set->width, sizes[0], sizes[1], sizes[2], 0, 0};
    sumi_status status = check_sizes(set->path[0] ? set->path : set->name, set->height, set->width,
                                     set->channels, sizes, err);
    if (status != SUMI_OK)
        return status;
    status = allocate(out, n, sizes, err);
    uint8_t *whole = sumi_calloc(bytes, 1);
    out->labels = set->labels ? sumi_calloc((size_t)n, sizeof *out->labels) : NULL;
    if (status == SUMI_OK && (!whole || (set->labels && !out->labels)))
        status = sumi_fail_memory(err, "pictures", bytes);
    for (int64_t i = 0; i < n && status == SUMI_OK; i++) {
        int64_t index = (int64_t)((double)i * (double)set->count / (double)n);
        sumi_data_read_bytes(set, index, whole);
        cut(&work, whole, out->images + (size_t)i * image_bytes(out));
        if (out->labels)
            out->labels[i] = set->labels[index];
    }
    out->outside = outside_of(&work);
    if (status == SUMI_OK)
        sumi_data_hash(set, out->hash);
    free(whole);
    if (status != SUMI_OK)
        sumi_pictures_free(out);
    return status;
}

/* ---- From a model ---------------------------------------------------------------------------- */

typedef struct {
    sumi_pictures *out;
    const sumi_model *model;
    const sumi_sample_config *sample;
    cutting cut;
    uint8_t *bytes; /* of one image as it is drawn */
} drawing;

static int take_images(void *user, int64_t first, const float *images, int n)
{
    drawing *run = user;
    const sumi_model_info_t *info = &run->model->info;
    size_t count = (size_t)run->cut.from_h * (size_t)run->cut.from_w * (size_t)run->cut.c;
    for (int i = 0; i < n; i++) {
        sumi_range_to_bytes(images + (size_t)i * count, count, info->range_lo, info->range_hi,
                            run->bytes);
        cut(&run->cut, run->bytes, run->out->images + (size_t)(first + i) * image_bytes(run->out));
    }
    return 0;
}

static int see_progress(void *user, const sumi_progress_t *progress)
{
    const drawing *run = user;
    return run->sample->progress ? run->sample->progress(run->sample->user, progress) : 0;
}

sumi_status sumi_pictures_draw(sumi_runtime *runtime, const sumi_model *model,
                               const sumi_sample_config *sample, const int sizes[3],
                               sumi_pictures *out, sumi_error *err)
{
    sumi_sample_config config = *sample;
    drawing run = {.out = out,
                   .model = model,
                   .sample = sample,
                   .cut = {sample->height, sample->width, sizes[0], sizes[1], sizes[2], 0, 0}};
    sumi_status status = check_sizes("the model", sample->height, sample->width,
                                     model->info.out_channels, sizes, err);
    if (status == SUMI_OK)
        status = allocate(out, sample->count, sizes, err);
    if (status != SUMI_OK)
        return sumi_sample_decline(runtime, sample, status, err);
    run.bytes = sumi_calloc((size_t)sample->height * (size_t)sample->width, (size_t)sizes[2]);
    config.on_images = take_images;
    config.progress = see_progress;
    config.user = &run;
    status = run.bytes
                 ? sumi_sample_run(runtime, model, &config, NULL, 0, err)
                 : sumi_sample_decline(runtime, sample, sumi_fail_memory(err, "a picture", 0), err);
    out->outside = outside_of(&run.cut);
    free(run.bytes);
    if (status != SUMI_OK)
        sumi_pictures_free(out);
    return status;
}

/* ---- What an evaluator sees ------------------------------------------------------------------ */

sumi_status sumi_pictures_see(sumi_runtime *runtime, const sumi_classifier *evaluator,
                              sumi_pictures *pictures, sumi_error *err)
{
    size_t n = (size_t)pictures->n, classes = (size_t)evaluator->info.classes;
    const sumi_image_array array = {pictures->images, image_bytes(pictures)};
    sumi_image_source source = sumi_source_of_array(&array, pictures->n);
    sumi_pictures_forget(pictures);
    pictures->features = sumi_calloc(n, (size_t)evaluator->info.features * sizeof(float));
    pictures->probabilities = classes > 0 ? sumi_calloc(n, classes * sizeof(float)) : NULL;
    if (!pictures->features || (classes > 0 && !pictures->probabilities))
        return sumi_fail_memory(err, "features", n * (size_t)evaluator->info.features);
    return sumi_classify_run(runtime, evaluator, &source, pictures->features,
                             pictures->probabilities, err);
}

sumi_eval_set sumi_pictures_set(const sumi_pictures *pictures, const char *name,
                                const sumi_classifier *evaluator)
{
    return (sumi_eval_set){.name = name,
                           .n = pictures->n,
                           .d = evaluator->info.features,
                           .classes = evaluator->info.classes,
                           .h = pictures->h,
                           .w = pictures->w,
                           .c = pictures->c,
                           .features = pictures->features,
                           .probabilities = pictures->probabilities,
                           .labels = pictures->probabilities ? pictures->labels : NULL,
                           .images = pictures->images,
                           .radii = pictures->radii,
                           .to_training = {pictures->to_training[0], pictures->to_training[1]}};
}
