/*
 * Training classifiers, and running them: features and probabilities of images.
 */
#ifndef SUMI_CLASSIFY_H
#define SUMI_CLASSIFY_H

#include "models/classifier.h"
#include "train/train.h"

/* ---- Running (features.c) -------------------------------------------------------------------- */

/* Where images come from: writes number `index` as bytes [h][w][c]. */
typedef struct {
    void (*read)(const void *from, int64_t index, uint8_t *pixels);
    const void *from;
    int64_t count;
} sumi_image_source;

/* Images one after the other, of so many bytes each. */
typedef struct {
    const uint8_t *pixels;
    size_t image_bytes;
} sumi_image_array;
sumi_image_source sumi_source_of_array(const sumi_image_array *array, int64_t count);
sumi_image_source sumi_source_of_set(const sumi_dataset *set);

/* features: [count][features], probabilities: [count][classes]; either may be NULL. Images must
 * have the classifier's size and channels. Same bits for any number of threads. */
sumi_status sumi_classify_run(sumi_runtime *runtime, const sumi_classifier *classifier,
                              const sumi_image_source *source, float *features,
                              float *probabilities, sumi_error *err);
/* The same of an array of images [n][h][w][c]. */
sumi_status sumi_classify_images(sumi_runtime *runtime, const sumi_classifier *classifier,
                                 const uint8_t *images, int64_t n, float *features,
                                 float *probabilities, sumi_error *err);
/* The share of a set's images whose largest probability is their label's. */
sumi_status sumi_classify_accuracy(sumi_runtime *runtime, const sumi_classifier *classifier,
                                   const sumi_dataset *set, double *accuracy, sumi_error *err);
/* SUMI_ESHAPE, with both, where images of these sizes are not what the classifier takes. */
sumi_status sumi_classify_check(const sumi_classifier *classifier, const char *what, int height,
                                int width, int channels, sumi_error *err);

/* The classifier's weights on the device, and a network for n_max images that reads them. weights
 * is released by sumi_mirror_free, also of one that failed. */
sumi_status sumi_classify_network(const sumi_runtime *runtime, const sumi_classifier *classifier,
                                  sumi_mode mode, int n_max, sumi_mirror *weights,
                                  sumi_network **network, sumi_error *err);

/* Bytes [h][w][c] as the network takes them, floats value / 255 in the middle of zeros. */
void sumi_classify_pad(const sumi_classifier *classifier, const uint8_t *pixels, float *out);

/* ---- Training (classifier.c) ----------------------------------------------------------------- */

/* The body of sumi_classifier_train. */
sumi_status sumi_classify_train(sumi_runtime *runtime, const sumi_dataset *set,
                                const sumi_dataset *test, const sumi_classifier_config *config,
                                sumi_classifier **out, sumi_error *err);
/* An evaluator of the shape random-conv that has taken the statistics of fewer batches than the one
 * that sumi_classifier_train makes: quicker, for figures that are not told. Of config seed and
 * progress are looked at. */
#define SUMI_RANDOM_SHAPE "random-conv"
enum { SUMI_CLASSIFY_BATCH = 128 }; /* images of such a batch, or all that there are */
sumi_status sumi_classify_random(sumi_runtime *runtime, const sumi_dataset *set,
                                 const sumi_classifier_config *config, int64_t batches,
                                 sumi_classifier **out, sumi_error *err);

#endif
