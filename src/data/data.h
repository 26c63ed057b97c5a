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

#include "base/ranks.h"
#include "graph/pick.h"
#include "io/io.h"

/* ---- A data set in memory (dataset.c) ---------------------------------------------------------
 * Bytes, converted to [0, 1] floats on reading. A set is immutable once open: any number of
 * threads may read it. */

enum {
    SUMI_CLASSES_MAX = 10000,
    SUMI_SIDE_MAX = 16384,        /* height and width of a set's images */
    SUMI_IMAGES_MAX = 0x7fffffff, /* images in a set: an index fits in 31 bits */
    SUMI_SPLIT_TRAIN = 0,         /* values of sumi_dataset.split */
    SUMI_SPLIT_TEST = 1,
    SUMI_SPLIT_ALL = 2,  /* of a folder: names of splits are names like others */
    SUMI_SPLIT_REST = 3, /* of the images for training, those that are not held back */
    SUMI_SPLIT_HELD_BACK = 4,
};
enum { SUMI_CHANNELS_MAX = 16 };
/* Pixels of a set in bytes: anything larger is a broken header, or more than sumi is made for. */
#define SUMI_PIXELS_MAX ((size_t)64 << 30)

typedef struct sumi_hash_memo sumi_hash_memo;

/* What is worth knowing about how a set was read, in one line. */
typedef struct {
    char *text;
    bool warning; /* the set may be another than was meant */
} sumi_data_notice;

struct sumi_dataset {
    int64_t count;
    int height, width, channels;
    int classes;   /* 0: no labels */
    int split;     /* SUMI_SPLIT_TRAIN or another */
    int64_t sizes; /* how many the pictures of a folder had before they were given one; else 0 */
    /* [count][h][w][c]; NULL where images are drawn when they are read. Not to be written where
     * they are those of a file. */
    uint8_t *pixels;
    const uint8_t *mapped; /* what pixels are in where that is no memory: a file, or room on disk */
    size_t mapped_bytes;
    /* Draws rows row .. row + rows - 1 of image number index as bytes [rows][w][c]: a pure function
     * of the set and the numbers. */
    void (*draw)(const sumi_dataset *set, int64_t index, int row, int rows, uint8_t *pixels);
    int32_t *labels;    /* [count], NULL without */
    char **class_names; /* [classes], NULL without */
    char name[64];
    char path[4096];
    sumi_data_notice *notices; /* [notice_count] */
    int notice_count;
    float background; /* of a folder: the grey that what is transparent lies over */
    bool skip_bad;    /* pictures that cannot be read were to be left out ... */
    char **skipped;   /* ... [skipped_count]: "a/b.png: why" */
    int64_t skipped_count;
    sumi_hash_memo *memo; /* NULL: the hash is computed whenever it is asked for */
    atomic_int holders;   /* besides the one that opened it */
};

/* "train", "test", "all", "rest" or "held-back". */
const char *sumi_split_name(int split);
/* Looks name_or_path up and loads it; see sumi_dataset_open. The names "fashion-mnist" and
 * "shapes" win over files of that name ("./shapes" is the file). Any other name that is no path
 * here is looked for below $SUMI_DATA and the user cache. A single file is one split: asking for
 * "test" is refused unless the file's name says that it is that ("t10k" or "test"). A folder's IDX
 * files may also lie in its sub-folder raw, where torchvision keeps them. */
sumi_status sumi_data_open(const char *name_or_path, const sumi_dataset_config *config,
                           sumi_dataset **out, sumi_error *err);
/* Keeps a set alive through a call whose callbacks may free it; each hold is given back by a free
 * of its own. The last one releases the set. */
sumi_dataset *sumi_data_hold(const sumi_dataset *set);
void sumi_data_free(sumi_dataset *set);
/* image: [h][w][c] floats value / 255 (computed as PyTorch's ToTensor does, in float32); label may
 * be NULL and gets -1 where there are none. Pure and thread-safe; index must be in range. */
void sumi_data_read(const sumi_dataset *set, int64_t index, float *image, int32_t *label);
/* What a byte of it is then. */
float sumi_data_value(uint8_t byte);
/* The same image as bytes [h][w][c]. */
void sumi_data_read_bytes(const sumi_dataset *set, int64_t index, uint8_t *pixels);
/* SHA-256 over sizes, pixels and labels; of a drawn set's pixels, the first 1,000 images. Computed
 * once for a set that was opened: drawing large pictures takes minutes. */
void sumi_data_hash(const sumi_dataset *set, char hex[65]);
/* Mean and deviation of each channel's values in 0..1, [channels] each; the deviation is 0.05 at
 * least. Of a drawn set, those of the first 10,000 images. SUMI_CANCELLED once *cancel is not 0;
 * it may be NULL. */
sumi_status sumi_data_statistics(const sumi_dataset *set, float *mean, float *deviation,
                                 const atomic_int *cancel, sumi_error *err);
/* What `sumi data list` shows: name, one line of text, whether it is there, where or what to do. */
typedef struct {
    const char *name, *description;
    bool available;
    char where[4096];
} sumi_data_entry;
int sumi_data_list(sumi_data_entry *entries, int capacity); /* returns how many there are */

/* Files and pixels of more bytes than this are not held in memory, but mapped. */
#define SUMI_HELD_MAX ((size_t)256 << 20)

/* What the loaders share. path is for messages. */

/* Checks sizes [count][h][w][c] against the limits above; *bytes receives what the pixels take. */
sumi_status sumi_data_check_sizes(const char *path, const int64_t shape[4], size_t *bytes,
                                  sumi_error *err);
/* Checks the sizes and allocates pixels (not zeroed). */
sumi_status sumi_data_alloc(sumi_dataset *set, const char *path, int64_t count, int h, int w, int c,
                            sumi_error *err);
/* Takes pixels that lie in a mapped file, which the set releases from here on; the sizes are
 * checked as above. */
sumi_status sumi_data_take_map(sumi_dataset *set, const char *path, const uint8_t *mapped,
                               size_t mapped_bytes, size_t offset, const int64_t shape[4],
                               sumi_error *err);
/* Whether a file has more bytes than are held in memory. */
bool sumi_data_is_large(const char *path);
/* Moves the pixels of one set to another, whose own are released. */
void sumi_data_move_pixels(sumi_dataset *to, sumi_dataset *from);
void sumi_data_free_pixels(sumi_dataset *set);
/* Copies the names; the set's classes becomes count. */
sumi_status sumi_data_set_classes(sumi_dataset *set, const char *const *names, int count,
                                  sumi_error *err);
/* Adds a notice; err is for memory that is out. */
sumi_status sumi_data_note(sumi_dataset *set, bool warning, sumi_error *err, const char *format,
                           ...) __attribute__((format(printf, 4, 5)));
/* Resizes and converts the whole set to config's size and channels, where they ask for others. */
sumi_status sumi_data_fit(sumi_dataset *set, const char *path, const sumi_dataset_config *config,
                          sumi_error *err);
/* Leaves the images that are held back, or the rest (parts.c). SUMI_EINVAL where there is one image
 * only, or images are drawn when they are read. */
sumi_status sumi_data_take_part(sumi_dataset *set, int split, sumi_error *err);
/* Prepares the set to remember its hash. */
sumi_status sumi_data_memo(sumi_dataset *set, sumi_error *err);
/* Releases what the set holds and zeroes it; not the struct itself. */
void sumi_data_clear(sumi_dataset *set);

/* ---- Finding sets (find.c) ------------------------------------------------------------------- */

/* Looks for name below $SUMI_DATA, then the user cache ($XDG_CACHE_HOME/sumi, else ~/.cache/sumi).
 * found, of `size` bytes, receives the path. */
bool sumi_find_named(const char *name, char *found, size_t size);
/* Where Debian's package dataset-fashion-mnist puts its files. */
#define SUMI_SYSTEM_FASHION "/usr/share/datasets/fashion-mnist"
/* The folder of Fashion-MNIST that has the split: fashion-mnist in the places above, $SUMI_DATA
 * itself, or `system`. False: `looked` (of `size` bytes, as found) says where it was looked for. */
bool sumi_find_fashion(int split, const char *system, char *found, char *looked, size_t size);
/* A folder below this one, at most three levels down, that has IDX files, "" where there is none;
 * SUMI_EINVAL names them where there are several. */
sumi_status sumi_find_idx_below(const char *folder, char *found, size_t size, sumi_error *err);
/* Whether name is the last part of the path. */
bool sumi_has_last_part(const char *path, const char *name);
/* Says what to install, and where it was looked for. */
sumi_status sumi_fail_no_fashion(const char *looked, sumi_error *err);
/* Says that nothing is at name_or_path, where it was looked for, and the name that may be meant. */
sumi_status sumi_fail_not_found(const char *name_or_path, sumi_error *err);

/* Says what a folder is that was named as a run and has none to take a model from, or names the
 * newest of the runs below it (no_run.c). SUMI_EIO. */
sumi_status sumi_fail_no_run(const char *path, sumi_error *err);

/* ---- Loaders --------------------------------------------------------------------------------- */

/* idx.c: http://yann.lecun.com/exdb/mnist (the format); images: magic 0x00000803, labels
 * 0x00000801. gzip is undone to at most the size that the header announces (a bomb ends there).
 * out must be zeroed; the set's channels is 1, without labels. */
sumi_status sumi_idx_images_parse(const char *path, const uint8_t *data, size_t size,
                                  sumi_dataset *out, sumi_error *err);
/* Gives set its labels: as many as it has images; classes is the largest label plus one. */
sumi_status sumi_idx_labels_parse(const char *path, const uint8_t *data, size_t size,
                                  sumi_dataset *set, sumi_error *err);
/* How many sets of IDX files folder has: files that agree in what stands before
 * {train,t10k,test}-images{-,.}idx3-ubyte[.gz], as "emnist-letters-" does, are one. */
int sumi_idx_count(const char *folder);
/* The images file of a split in folder: the set without such a prefix, else the only one. */
bool sumi_idx_find(const char *folder, int split, char *found, size_t size);
/* path: an images file, or a folder with train-/t10k-images-idx3-ubyte[.gz]. Labels are read where
 * they lie beside the images, named labels and idx1 in place of images and idx3. */
sumi_status sumi_idx_open(const char *path, const sumi_dataset_config *config, sumi_dataset *out,
                          sumi_error *err);
/* folder.c: all PNG/JPEG below path, sorted by name; sub-folders that hold any are the classes,
 * unless pictures also lie in path itself: then there are none. What is hidden is skipped, and so
 * are runs. splits.c says which sub-folders are splits. channels 0: 3 where any picture has three,
 * else 1. Sizes that differ, where config has none: that of more than half of the pictures, else
 * the medians of heights and widths, as the nearest multiples of 4. */
sumi_status sumi_folder_open(const char *path, const sumi_dataset_config *config, sumi_dataset *out,
                             sumi_error *err);
/* npy_set.c: uint8, or floats in [0, 1], of shape [n][h][w] or [n][h][w][c]. Labels are read from
 * x-labels.npy or x_labels.npy beside x.npy: integers [n]. */
sumi_status sumi_npy_open(const char *path, const sumi_dataset_config *config, sumi_dataset *out,
                          sumi_error *err);
/* shapes.c: 60,000 train and 10,000 test pictures of ten classes of figures, drawn antialiased at
 * any size (28x28 by default, from 4x4) in 1 or 3 channels; picture i is a pure function of
 * (split, i), drawn when it is read, of class i % 10. */
sumi_status sumi_shapes_open(const sumi_dataset_config *config, sumi_dataset *out, sumi_error *err);

/* ---- Resizing (resize.c): antialiased triangle filter as Pillow's BILINEAR, then centre crop - */

/* 1 -> 3 repeats; 3 -> 1 is Rec. 601 luma as Pillow's convert("L"). In place: src may be dst for
 * 3 -> 1, and the last third of dst for 1 -> 3. */
void sumi_convert_channels(const uint8_t *src, int src_c, uint8_t *dst, int dst_c, size_t pixels);

/* Brings pictures to one size and number of channels, which are theirs, or 1 or 3 of each. Weights
 * and scratch are kept from one to the next, so that a whole set of one size computes them once.
 * Zero it, set h, w, c, then use. */
typedef struct sumi_resizer sumi_resizer;
typedef struct {
    int h, w, c;
    sumi_resizer *resizer; /* for the last picture's size, and h and w as they were then */
} sumi_fitter;
/* src [sh][sw][sc] is overwritten; dst: [h][w][c]. */
sumi_status sumi_fitter_run(sumi_fitter *fitter, uint8_t *src, int sh, int sw, int sc, uint8_t *dst,
                            sumi_error *err);
void sumi_fitter_free(sumi_fitter *fitter); /* what it holds */

/* ---- Batches (batches.c) --------------------------------------------------------------------- */

/* order[0..count): a permutation that is a pure function of (seed, epoch) (Fisher-Yates).
 * count <= SUMI_IMAGES_MAX. */
void sumi_shuffle(uint64_t seed, int64_t epoch, int64_t *order, int64_t count);

/* Gives the batches of epoch after epoch in order, filling the next one on its own thread while the
 * caller works. The last batch of an epoch may be short (count % batch). */
typedef struct sumi_batches sumi_batches;
typedef struct {
    int64_t epoch, index;      /* of the batch in its epoch */
    int n;                     /* images here, which are those from `first` on of the batch's ... */
    int first, whole;          /* ... `whole`: all, where there is one rank */
    const float *images;       /* [n][h][w][c], valid until the next call, as all; or NULL */
    const sumi_pick *picks;    /* [n], where these were asked for in place of images */
    const int32_t *labels;     /* [n], or NULL */
    const int64_t *indices;    /* [n], of the images in the set */
    const float *augmentation; /* NULL, or [n][SUMI_AUGMENT_NUMBERS]: what was made of the images */
} sumi_data_batch;
/* Begins at batch number `start` counted over all epochs (start / batches-per-epoch is the epoch).
 * set must outlive it. */
sumi_status sumi_batches_create(const sumi_dataset *set, int batch, uint64_t seed, int64_t start,
                                sumi_batches **out, sumi_error *err);
/* Each image changed as augment.h says, at the address of its batch, counted over all epochs, and
 * its place in that. augment may be NULL. */
typedef struct sumi_augment sumi_augment;
sumi_status sumi_batches_create_augmented(const sumi_dataset *set, int batch, uint64_t seed,
                                          int64_t start, const sumi_augment *augment,
                                          sumi_batches **out, sumi_error *err);
/* A rank's share of each batch, as the cut has it, which must outlive the batches; a batch with
 * fewer images than groups leaves some ranks with none. cut NULL: all. */
sumi_status sumi_batches_create_share(const sumi_dataset *set, int batch, uint64_t seed,
                                      int64_t start, const sumi_augment *augment,
                                      const sumi_reduction *cut, sumi_batches **out,
                                      sumi_error *err);
/* The same without reading images: the batches say which they are, and how they are changed, for
 * whoever has the set where it is needed. augment->told is 0. */
sumi_status sumi_batches_create_picks(const sumi_dataset *set, int batch, uint64_t seed,
                                      int64_t start, const sumi_augment *augment,
                                      const sumi_reduction *cut, sumi_batches **out,
                                      sumi_error *err);
int64_t sumi_batches_per_epoch(const sumi_dataset *set, int batch);
void sumi_batches_next(sumi_batches *batches, sumi_data_batch *out);
void sumi_batches_free(sumi_batches *batches);

#endif
