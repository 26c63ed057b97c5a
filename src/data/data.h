/*
 * data: where images come from.
 *
 * Does: IDX files (plain or gzip), folders of pictures, .npy arrays, the built-in procedural set
 * `shapes`, antialiased resizing, the order of an epoch, filling batches (and doing so ahead of
 * time on a thread of its own).
 * Does not: train, or know timesteps and noise.
 */
#ifndef SUMI_DATA_H
#define SUMI_DATA_H

#include "io/io.h"

/* ---- A data set in memory (dataset.c): bytes, converted to [0, 1] floats on reading
 * --------------- */

enum { SUMI_CLASSES_MAX = 10000 };

struct sumi_dataset {
    int64_t count;
    int height, width, channels;
    int classes;        /* 0: no labels */
    uint8_t *pixels;    /* [count][h][w][c] */
    int32_t *labels;    /* [count], NULL without */
    char **class_names; /* [classes], NULL without */
    char name[64];
    char path[1024];
};

/* Looks name_or_path up and loads it; see sumi_dataset_open. */
sumi_status sumi_data_open(const char *name_or_path, const sumi_dataset_config *config,
                           sumi_dataset **out, sumi_error *err);
void sumi_data_free(sumi_dataset *set);
/* image: [h][w][c] floats value / 255 (computed as PyTorch's ToTensor does, in float32). */
void sumi_data_read(const sumi_dataset *set, int64_t index, float *image, int32_t *label);
/* SHA-256 over sizes, pixels and labels. */
void sumi_data_hash(const sumi_dataset *set, char hex[65]);
/* What `sumi data list` shows: name, one line of text, whether it is there, where or what to do. */
typedef struct {
    const char *name, *description;
    bool available;
    char where[1024];
} sumi_data_entry;
int sumi_data_list(sumi_data_entry *entries, int capacity); /* returns how many there are */

/* ---- Loaders
 * ---------------------------------------------------------------------------------------- */

/* idx.c: http://yann.lecun.com/exdb/mnist (the format); images: magic 0x00000803, labels
 * 0x00000801. gzip is undone to at most the size that the header announces (a bomb ends there).
 * labels may be NULL. The set's channels is 1. */
sumi_status sumi_idx_images_parse(const char *path, const uint8_t *data, size_t size,
                                  sumi_dataset *out, sumi_error *err);
sumi_status sumi_idx_labels_parse(const char *path, const uint8_t *data, size_t size,
                                  sumi_dataset *set, sumi_error *err);
/* path: an images file, or a folder with train-/t10k-images-idx3-ubyte[.gz] and labels. */
sumi_status sumi_idx_open(const char *path, const sumi_dataset_config *config, sumi_dataset *out,
                          sumi_error *err);
/* folder.c: all PNG/JPEG below path, sorted by name; with sub-folders each is a class. */
sumi_status sumi_folder_open(const char *path, const sumi_dataset_config *config, sumi_dataset *out,
                             sumi_error *err);
/* npy_set.c: uint8, or floats in [0, 1], of shape [n][h][w] or [n][h][w][c]. */
sumi_status sumi_npy_open(const char *path, const sumi_dataset_config *config, sumi_dataset *out,
                          sumi_error *err);
/* shapes.c: 60,000 train and 10,000 test pictures of ten classes of figures, drawn antialiased at
 * any size (28x28 by default) in 1 or 3 channels; picture i is a pure function of (split, i). */
sumi_status sumi_shapes_open(const sumi_dataset_config *config, sumi_dataset *out, sumi_error *err);

/* ---- Resizing (resize.c): antialiased triangle filter as Pillow's BILINEAR, then centre crop
 * --------- */

/* Scales so that the picture covers h x w, then crops the centre. src: [sh][sw][c] bytes. */
sumi_status sumi_resize_cover(const uint8_t *src, int sh, int sw, int c, uint8_t *dst, int h, int w,
                              sumi_error *err);
/* 1 -> 3 repeats; 3 -> 1 is Rec. 601 luma as Pillow's convert("L"). */
void sumi_convert_channels(const uint8_t *src, int src_c, uint8_t *dst, int dst_c, size_t pixels);

/* ---- Batches (batches.c)
 * ------------------------------------------------------------------------------ */

/* order[0..count): a permutation that is a pure function of (seed, epoch) (Fisher-Yates). */
void sumi_shuffle(uint64_t seed, int64_t epoch, int64_t *order, int64_t count);

/* Gives the batches of epoch after epoch in order, filling the next one on its own thread while the
 * caller works. The last batch of an epoch may be short (count % batch). */
typedef struct sumi_batches sumi_batches;
typedef struct {
    int64_t epoch, index; /* of the batch in its epoch */
    int n;
    const float *images;    /* [n][h][w][c], valid until the next call */
    const int32_t *labels;  /* [n], or NULL */
    const int64_t *indices; /* [n], of the images in the set */
} sumi_data_batch;
/* Begins at batch number `start` counted over all epochs (start / batches-per-epoch is the epoch).
 */
sumi_status sumi_batches_create(const sumi_dataset *set, int batch, uint64_t seed, int64_t start,
                                sumi_batches **out, sumi_error *err);
int64_t sumi_batches_per_epoch(const sumi_dataset *set, int batch);
void sumi_batches_next(sumi_batches *batches, sumi_data_batch *out);
void sumi_batches_free(sumi_batches *batches);

#endif
