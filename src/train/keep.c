/*
 * A data set in the memory of the device: its bytes once, and of each batch then only which images
 * it has. What a byte is told as is a table that the host makes, so that a batch has the bits of
 * one that was read and standardised here.
 */
#include "train/train.h"

#include <stdlib.h>

enum { BYTES = 256 };
static const size_t PIECE = (size_t)1 << 24; /* bytes that are on their way at a time */

void sumi_train_keep_none(sumi_trainer *trainer)
{
    const sumi_backend *backend = trainer->runtime->backend;
    sumi_device *device = trainer->runtime->device;
    sumi_kept_set *kept = &trainer->kept;
    backend->free(device, kept->images, kept->bytes);
    backend->free(device, kept->values, (size_t)kept->c * BYTES * sizeof *kept->values);
    backend->free(device, kept->picks, (size_t)trainer->config.batch * sizeof *kept->picks);
    *kept = (sumi_kept_set){.images = NULL};
}

/* As sumi_data_read has a byte, and as the network is told of that. */
static void put_values(const sumi_trainer *trainer, float *table)
{
    const sumi_kept_set *kept = &trainer->kept;
    float pixel[SUMI_CHANNELS_MAX], told[SUMI_CHANNELS_MAX];
    for (int byte = 0; byte < BYTES; byte++) {
        for (int c = 0; c < kept->c; c++)
            pixel[c] = sumi_data_value((uint8_t)byte);
        sumi_standard_apply(&trainer->model->standard, pixel, told, (size_t)kept->c);
        for (int c = 0; c < kept->c; c++)
            table[c * BYTES + byte] = trainer->model->standardise ? told[c] : pixel[c];
    }
}

static void put_images(const sumi_trainer *trainer, const sumi_dataset *set)
{
    const sumi_kept_set *kept = &trainer->kept;
    for (size_t at = 0; at < kept->bytes; at += PIECE) {
        size_t left = kept->bytes - at;
        trainer->runtime->backend->upload(trainer->runtime->device, kept->images + at,
                                          set->pixels + at, left < PIECE ? left : PIECE);
    }
}

void sumi_train_keep(sumi_trainer *trainer, const sumi_dataset *set)
{
    const sumi_backend *backend = trainer->runtime->backend;
    sumi_device *device = trainer->runtime->device;
    sumi_kept_set *kept = &trainer->kept;
    int64_t sizes[] = {set->count, set->height, set->width, set->channels};
    size_t bytes, table_bytes = (size_t)set->channels * BYTES * sizeof(float);
    sumi_train_keep_none(trainer);
    if (!set->pixels || !sumi_size_product(sizes, 4, &bytes) || bytes > backend->spare(device) ||
        set->channels > SUMI_CHANNELS_MAX)
        return;
    *kept = (sumi_kept_set){.bytes = bytes, .h = set->height, .w = set->width, .c = set->channels};
    kept->images = backend->alloc(device, bytes);
    kept->values = backend->alloc(device, table_bytes);
    kept->picks = backend->alloc(device, (size_t)trainer->config.batch * sizeof *kept->picks);
    float *table = malloc(table_bytes);
    bool there = kept->images && kept->values && kept->picks && table;
    if (there) {
        put_images(trainer, set);
        put_values(trainer, table);
        backend->upload(device, kept->values, table, table_bytes);
    }
    free(table);
    if (!there)
        sumi_train_keep_none(trainer);
}

void sumi_train_gather(const sumi_trainer *trainer, const sumi_pick *picks, int n)
{
    const sumi_backend *backend = trainer->runtime->backend;
    const sumi_kept_set *kept = &trainer->kept;
    const sumi_gathering work = {.n = n,
                                 .h = kept->h,
                                 .w = kept->w,
                                 .c = kept->c,
                                 .images = kept->images,
                                 .picks = kept->picks,
                                 .values = kept->values,
                                 .out = trainer->images};
    backend->upload(trainer->runtime->device, kept->picks, picks, (size_t)n * sizeof *picks);
    backend->gather(trainer->runtime->device, &work);
}
