/*
 * Mean and deviation of a set's values, channel by channel. Bytes are added up as whole numbers, so
 * that the order in which it is done does not matter.
 */
#include "data/data.h"

#include <math.h>
#include <stdlib.h>

/* Of a set that is drawn when it is read, the first so many: drawing all may take minutes. */
enum { DRAWN_MAX = 10000 };

/* A channel of one value would be divided by 0; and what is nearly one value holds little that is
 * worth to be made much of. */
#define DEVIATION_MIN .05

sumi_status sumi_data_statistics(const sumi_dataset *set, float *mean, float *deviation,
                                 const atomic_int *cancel, sumi_error *err)
{
    size_t channels = (size_t)set->channels;
    size_t bytes = (size_t)set->height * (size_t)set->width * channels;
    int64_t count = set->pixels || set->count < DRAWN_MAX ? set->count : DRAWN_MAX;
    uint8_t *pixels = sumi_calloc(bytes, 1);
    uint64_t *sums = sumi_calloc(2 * channels, sizeof *sums), *squares = sums + channels;
    if (!pixels || !sums) {
        free(pixels);
        free(sums);
        return sumi_fail_memory(err, "an image", bytes);
    }
    int64_t i = 0;
    for (; i < count && !(cancel && atomic_load(cancel)); i++) {
        sumi_data_read_bytes(set, i, pixels);
        for (size_t c = 0; c < channels; c++) {
            uint64_t sum = 0, square = 0;
            for (size_t k = c; k < bytes; k += channels) {
                sum += pixels[k];
                square += (uint64_t)pixels[k] * pixels[k];
            }
            sums[c] += sum;
            squares[c] += square;
        }
    }
    for (size_t c = 0; c < channels; c++) {
        double n = (double)count * (double)(bytes / channels);
        double middle = (double)sums[c] / n;
        double variance = fmax(0, (double)squares[c] / n - middle * middle);
        mean[c] = (float)(middle / 255);
        deviation[c] = (float)fmax(DEVIATION_MIN, sqrt(variance) / 255);
    }
    free(pixels);
    free(sums);
    return i == count ? SUMI_OK
                      : sumi_fail(err, SUMI_CANCELLED, "measuring the data was cancelled");
}
