/*
 * What depends on data and evaluator alone, and is the same for everyone's pictures: features of
 * the held-out and of the training pictures, how near those are to each other, and what distances
 * mean. It is most of an evaluation's work, so it is found once and kept in a folder.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/evaluate.h"
#include "eval/internal.h"

/* Who looks, which kernels compute, and how many pictures of which sets there are. */
static void key_of(const sumi_known *known, const char *what, const sumi_classifier *evaluator,
                   const sumi_pictures *const *sets, int count, char key[65])
{
    char numbers[2][64] = {"", ""};
    const char *parts[8] = {what, known->isa, evaluator->info.hash};
    for (int i = 0; i < count; i++) {
        snprintf(numbers[i], sizeof numbers[i], "%" PRId64 " %dx%dx%d", sets[i]->n, sets[i]->h,
                 sets[i]->w, sets[i]->c);
        parts[3 + 2 * i] = sets[i]->hash;
        parts[4 + 2 * i] = numbers[i];
    }
    sumi_store_key(key, parts, 3 + 2 * count);
}

sumi_status sumi_known_features(const sumi_known *known, const sumi_classifier *evaluator,
                                sumi_pictures *pictures, sumi_error *err)
{
    char key[65];
    sumi_pictures_forget(pictures);
    key_of(known, "features", evaluator, (const sumi_pictures *[]){pictures}, 1, key);
    void *features = NULL;
    const sumi_store_array array = {"features", SUMI_FILE_F32,
                                    pictures->n * evaluator->info.features, &features};
    if (sumi_store_read(known->folder, key, &array, 1)) {
        pictures->features = features;
        return SUMI_OK;
    }
    sumi_status status = sumi_pictures_see(known->runtime, evaluator, pictures, err);
    features = pictures->features;
    if (status == SUMI_OK)
        sumi_store_write(known->folder, key, &array, 1);
    return status;
}

static sumi_status find_distances(const sumi_known *known, const sumi_eval_set *reference,
                                  const sumi_eval_set *training, void *const out[3],
                                  sumi_error *err)
{
    const int64_t n = reference->n;
    const int pixels = reference->h * reference->w * reference->c;
    sumi_eval_rows seen = {n, reference->d, reference->features, NULL},
                   of = {training->n, training->d, training->features, NULL};
    double *squared = sumi_calloc((size_t)n * SUMI_EVAL_K, sizeof *squared);
    int64_t *indices = sumi_calloc((size_t)n * SUMI_EVAL_K, sizeof *indices);
    sumi_status status = squared && indices && out[0] && out[1] && out[2]
                             ? SUMI_OK
                             : sumi_fail_memory(err, "distances", (size_t)n * sizeof *squared);
    if (status == SUMI_OK)
        status = sumi_eval_nearest_squared(known->machine, &seen, &seen, SUMI_EVAL_K, true, squared,
                                           indices, err);
    for (int64_t i = 0; i < n && status == SUMI_OK; i++)
        ((double *)out[0])[i] = squared[i * SUMI_EVAL_K + SUMI_EVAL_K - 1];
    if (status == SUMI_OK)
        status = sumi_eval_nearest(known->machine, &seen, &of, 1, false, out[2], indices, err);
    seen = (sumi_eval_rows){n, pixels, NULL, reference->images};
    of = (sumi_eval_rows){training->n, pixels, NULL, training->images};
    if (status == SUMI_OK)
        status = sumi_eval_nearest(known->machine, &seen, &of, 1, false, out[1], indices, err);
    free(squared);
    free(indices);
    return status;
}

sumi_status sumi_known_distances(const sumi_known *known, const sumi_classifier *evaluator,
                                 sumi_pictures *reference, const sumi_pictures *training,
                                 sumi_error *err)
{
    char key[65];
    key_of(known, "distances", evaluator, (const sumi_pictures *[]){reference, training}, 2, key);
    int64_t n = reference->n;
    void *found[3] = {NULL, NULL, NULL};
    const sumi_store_array arrays[] = {{"radii", SUMI_FILE_F64, n, &found[0]},
                                       {"pixels", SUMI_FILE_F64, n, &found[1]},
                                       {"features", SUMI_FILE_F64, n, &found[2]}};
    sumi_status status = SUMI_OK;
    if (n <= SUMI_EVAL_K)
        return SUMI_OK; /* too few, as whoever needs these will say */
    if (!sumi_store_read(known->folder, key, arrays, 3)) {
        sumi_eval_set real = sumi_pictures_set(reference, "test images", evaluator),
                      learnt = sumi_pictures_set(training, "training images", evaluator);
        for (int i = 0; i < 3; i++)
            found[i] = sumi_calloc((size_t)n, sizeof(double));
        status = find_distances(known, &real, &learnt, found, err);
        if (status == SUMI_OK)
            sumi_store_write(known->folder, key, arrays, 3);
    }
    if (status == SUMI_OK) {
        reference->radii = found[0];
        reference->to_training[SUMI_SPACE_PIXELS] = found[1];
        reference->to_training[SUMI_SPACE_FEATURES] = found[2];
        return SUMI_OK;
    }
    for (int i = 0; i < 3; i++)
        free(found[i]);
    return status;
}

/* ---- What a distance means ------------------------------------------------------------------- */

typedef sumi_status (*spoil_fn)(const sumi_eval_set *set, uint8_t *out, sumi_error *err);

static sumi_status leave(const sumi_eval_set *set, uint8_t *out, sumi_error *err)
{
    (void)err;
    memcpy(out, set->images, (size_t)set->n * (size_t)set->h * (size_t)set->w * (size_t)set->c);
    return SUMI_OK;
}

static sumi_status draw_pixels(const sumi_eval_set *set, uint8_t *out, sumi_error *err)
{
    return sumi_eval_pixel_gaussian(set, set->n, 0, out, err);
}

static const struct {
    const char *name;
    spoil_fn spoil;
} rows[] = {{"training images", leave},
            {"blurred training images", sumi_eval_blurred},
            {"pixels drawn one by one", draw_pixels}};
enum { ROWS = sizeof rows / sizeof *rows, NUMBERS = 6 };

/* One row, of pictures that are not kept. */
static sumi_status measure(const sumi_known *known, const sumi_classifier *evaluator, int row,
                           sumi_pictures *some, const sumi_eval_set *reference,
                           sumi_eval_report *report, sumi_error *err)
{
    size_t bytes = (size_t)some->n * (size_t)some->h * (size_t)some->w * (size_t)some->c;
    uint8_t *copy = sumi_calloc(bytes, 1);
    sumi_eval_set set = sumi_pictures_set(some, rows[row].name, evaluator);
    sumi_status status =
        copy ? rows[row].spoil(&set, copy, err) : sumi_fail_memory(err, "pictures", bytes);
    free(some->images);
    some->images = copy;
    if (status == SUMI_OK)
        status = sumi_pictures_see(known->runtime, evaluator, some, err);
    set = sumi_pictures_set(some, rows[row].name, evaluator);
    return status == SUMI_OK
               ? sumi_eval_add_scale(known->machine, rows[row].name, &set, reference, report, err)
               : status;
}

static void put_numbers(const sumi_eval_scale *scale, double to[NUMBERS])
{
    const double numbers[] = {scale->frechet.value, scale->frechet.low, scale->frechet.high,
                              scale->kernel.value,  scale->kernel.low,  scale->kernel.high};
    memcpy(to, numbers, sizeof numbers);
}

static void take_numbers(int row, int64_t n, const double from[NUMBERS], sumi_eval_report *report)
{
    sumi_eval_scale *scale = &report->scales[report->scale_count++];
    *scale = (sumi_eval_scale){
        .n = n, .frechet = {from[0], from[1], from[2]}, .kernel = {from[3], from[4], from[5]}};
    sumi_copy_text(scale->name, sizeof scale->name, rows[row].name);
}

/* As many training images as there are samples, as they are and spoilt. */
sumi_status sumi_known_scales(const sumi_known *known, const sumi_classifier *evaluator,
                              const sumi_dataset *data, int64_t n, const sumi_pictures *training,
                              const sumi_pictures *reference, sumi_eval_report *report,
                              sumi_error *err)
{
    char key[65];
    sumi_pictures asked = *training;
    asked.n = n < data->count ? n : data->count;
    key_of(known, "scales", evaluator, (const sumi_pictures *[]){&asked, reference}, 2, key);
    double numbers[ROWS][NUMBERS];
    void *kept = NULL;
    const sumi_store_array array = {"scales", SUMI_FILE_F64, ROWS * NUMBERS, &kept};
    sumi_eval_set real = sumi_pictures_set(reference, "test images", evaluator);
    const int sizes[] = {reference->h, reference->w, reference->c};
    sumi_status status = SUMI_OK;
    if (asked.n <= evaluator->info.features)
        return SUMI_OK;
    bool read = sumi_store_read(known->folder, key, &array, 1);
    for (int row = 0; row < ROWS && status == SUMI_OK; row++) {
        sumi_pictures some = {0};
        if (read) {
            take_numbers(row, asked.n, (const double *)kept + row * NUMBERS, report);
            continue;
        }
        status = sumi_pictures_read(data, asked.n, sizes, &some, err);
        if (status == SUMI_OK)
            status = measure(known, evaluator, row, &some, &real, report, err);
        if (status == SUMI_OK)
            put_numbers(&report->scales[report->scale_count - 1], numbers[row]);
        sumi_pictures_free(&some);
    }
    free(kept);
    kept = numbers;
    if (!read && status == SUMI_OK)
        sumi_store_write(known->folder, key, &array, 1);
    return status;
}
