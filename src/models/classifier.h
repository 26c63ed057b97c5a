/*
 * Classifiers: small networks that tell the label of an image. Their features, a vector for each
 * image, are what the ruler of picture quality compares (Heusel et al. 2017 take those of
 * Inception-v3, which needs its weights; these are trained on the data itself).
 */
#ifndef SUMI_CLASSIFIER_H
#define SUMI_CLASSIFIER_H

#include "models/models.h"

enum { SUMI_CLASSIFIER_SIDE_MIN = 8, SUMI_CLASSIFIER_SIDE_MAX = 1024 };

/* Rows of the table of shapes. */
typedef struct {
    const char *name, *about;
    bool labels;  /* it is trained on them; else its weights stay random */
    int features; /* 64 to 128 */
    /* From an image to the view whose mean over all pixels are the features. */
    sumi_edge (*build)(sumi_graph *graph, sumi_edge image, int halvings);
} sumi_classifier_shape;

/* NULL past the end; NULL for no such name. */
const sumi_classifier_shape *sumi_classifier_shape_at(int index);
const sumi_classifier_shape *sumi_classifier_shape_find(const char *name);

/* Outputs "features" [n][features] and, with classes, "logits" [n][classes], whose loss is the
 * cross entropy; without, the loss is a squared error of the features that nobody trains with.
 * height and width are the images'; the network takes them as sumi_classifier_padded says. */
void sumi_build_classifier(sumi_graph *graph, const sumi_classifier_shape *shape, int height,
                           int width, int channels, int classes);

struct sumi_classifier {
    sumi_classifier_info_t info;
    const sumi_classifier_shape *shape;
    sumi_graph graph;  /* graph.params holds the weights */
    int height, width; /* that the network takes: the image stands in the middle, zeros around */
};

/* SUMI_EINVAL for images outside of 8x8 to 1024x1024, or a shape that needs labels without them. */
sumi_status sumi_classifier_create(const sumi_classifier_shape *shape, const int sizes[3],
                                   int classes, uint64_t seed, sumi_classifier **out,
                                   sumi_error *err);
/* Puts the SHA-256 of the network's shape and weights into info.hash. */
sumi_status sumi_classifier_seal(sumi_classifier *classifier, sumi_error *err);
/* A .safetensors file. */
sumi_status sumi_classifiers_save(const char *path, const sumi_classifier *classifier,
                                  sumi_error *err);
/* SUMI_EFORMAT where the file is no classifier, or its weights are not those of its hash. path: for
 * messages. */
sumi_status sumi_classifier_from_file(const char *path, const sumi_tensor_file *file,
                                      sumi_classifier **out, sumi_error *err);
sumi_status sumi_classifiers_load(const char *path, sumi_classifier **out, sumi_error *err);

#endif
