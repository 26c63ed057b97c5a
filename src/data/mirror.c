/*
 * How far the pictures of a set look one way. Mirroring them left to right teaches a network
 * pictures that the data never have, where that is much: letters, digits, shoes that all point to
 * the left.
 */
#include "data/augment.h"

#include <stdlib.h>

enum { PICTURES_MOST = 10000, OF_A_LABEL_LEAST = 40 };

/* Sums of the pictures of one label. */
typedef struct {
    double *sum; /* [h][w][c] */
    double own;  /* squared distances of the pictures from their mirror images */
    int64_t count;
} side_sums;

static double distance_from_mirror(const double *image, const sumi_dataset *set)
{
    size_t h = (size_t)set->height, w = (size_t)set->width, c = (size_t)set->channels;
    double sum = 0;
    for (size_t y = 0; y < h; y++)
        for (size_t x = 0; x < w; x++)
            for (size_t k = 0; k < c; k++) {
                double d = image[(y * w + x) * c + k] - image[(y * w + w - 1 - x) * c + k];
                sum += d * d;
            }
    return sum;
}

static void add_picture(side_sums *sums, const sumi_dataset *set, const double *image)
{
    size_t count = (size_t)set->height * (size_t)set->width * (size_t)set->channels;
    for (size_t k = 0; k < count; k++)
        sums->sum[k] += image[k];
    sums->own += distance_from_mirror(image, set);
    sums->count++;
}

static void add_pictures(const sumi_dataset *set, side_sums *sums, uint8_t *bytes, double *image)
{
    size_t count = (size_t)set->height * (size_t)set->width * (size_t)set->channels;
    int64_t most = set->count < PICTURES_MOST ? set->count : PICTURES_MOST;
    for (int64_t i = 0; i < most; i++) {
        int64_t index = (int64_t)((double)i * (double)set->count / (double)most);
        int label = set->labels && set->classes > 0 ? set->labels[index] : 0;
        sumi_data_read_bytes(set, index, bytes);
        for (size_t k = 0; k < count; k++)
            image[k] = bytes[k];
        add_picture(&sums[label], set, image);
    }
}

/* The mean's share of what the pictures have, each of the label's pictures weighing as much. */
static double share_of(const side_sums *sums, const sumi_dataset *set)
{
    double n = (double)sums->count;
    return sums->own > 0 ? distance_from_mirror(sums->sum, set) / n / sums->own : 0;
}

sumi_status sumi_data_asymmetry(const sumi_dataset *set, double *out, int *label, sumi_error *err)
{
    int kinds = set->labels && set->classes > 0 ? set->classes : 1;
    const int64_t sizes[] = {kinds, set->height, set->width, set->channels};
    size_t image = (size_t)set->height * (size_t)set->width * (size_t)set->channels, all = 0;
    if (!sumi_size_product(sizes, 4, &all))
        return sumi_fail(err, SUMI_EINVAL, "pictures of %d kinds are too many", kinds);
    side_sums *sums = sumi_calloc((size_t)kinds, sizeof *sums);
    double *sum = sumi_calloc(all, sizeof *sum), *one = sumi_calloc(image, sizeof *one);
    uint8_t *bytes = sumi_calloc(image, 1);
    sumi_status status = SUMI_OK;
    if (!sums || !sum || !one || !bytes)
        status = sumi_fail_memory(err, "mean pictures", all * sizeof *sum);
    for (int i = 0; status == SUMI_OK && i < kinds; i++)
        sums[i].sum = sum + (size_t)i * image;
    if (status == SUMI_OK)
        add_pictures(set, sums, bytes, one);
    *out = 0;
    *label = -1;
    for (int i = 0; status == SUMI_OK && i < kinds; i++) {
        double share = share_of(&sums[i], set);
        if (sums[i].count < OF_A_LABEL_LEAST || share <= *out)
            continue;
        *out = share;
        *label = kinds > 1 ? i : -1;
    }
    free(sums);
    free(sum);
    free(one);
    free(bytes);
    return status;
}
