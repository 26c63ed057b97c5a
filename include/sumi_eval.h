/*
 * The part of libsumi's interface that tells how good images are: classifiers, evaluations, and
 * tuning, which finds how a model is best sampled. sumi.h includes it and has the conventions.
 */
#ifndef SUMI_EVAL_PUBLIC_H
#define SUMI_EVAL_PUBLIC_H

#include "sumi.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Classifiers -----------------------------------------------------------------------------
 * Small networks that tell the label of an image. Their features, a vector for each image, are what
 * sumi_eval compares pictures by: it is pinned by the SHA-256 of the weights, and figures of two
 * different ones must never be compared.
 */

typedef struct {
    size_t size;
    const char *shape; /* "v1", "v2", or "random-conv", which needs no labels and is not trained */
    uint64_t seed;     /* of the initial weights and the order of the images */
    int epochs;        /* passes over the training images; 0: 5, and more for small sets */
    sumi_progress_fn progress; /* SUMI_PHASE_TRAIN; may be NULL */
    void *user;
} sumi_classifier_config;
#define SUMI_CLASSIFIER_CONFIG_INIT                                                                \
    {                                                                                              \
        sizeof(sumi_classifier_config), "v1", 0, 0, NULL, NULL                                     \
    }

typedef struct {
    size_t size;
    char shape[32];
    int height, width, channels; /* of the images that it takes */
    int classes;                 /* 0: random-conv */
    int features;                /* numbers in an image's vector */
    int64_t parameters, epochs, steps;
    uint64_t seed;
    double accuracy; /* the share of the test images whose label it tells; -1: it was not tested */
    int64_t tested;  /* on so many images */
    char data_name[64], data_hash[65]; /* of the training images */
    char hash[65]; /* SHA-256 as hex of shape and weights: what pins its features */
} sumi_classifier_info_t;
#define SUMI_CLASSIFIER_INFO_INIT                                                                  \
    {                                                                                              \
        sizeof(sumi_classifier_info_t), "", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, "", "", ""            \
    }

/* Trains one on the labels of a set with Adam, and tests it on another (NULL: it is not tested) of
 * the same size and channels. A long call; the same bits for any number of threads. */
SUMI_API sumi_status sumi_classifier_train(sumi_context *ctx, const sumi_dataset *set,
                                           const sumi_dataset *test,
                                           const sumi_classifier_config *config,
                                           sumi_classifier **out);
/* A .safetensors file with all of its info; a file whose weights are not those of its hash is
 * refused with SUMI_EFORMAT. */
SUMI_API sumi_status sumi_classifier_load(sumi_context *ctx, const char *path,
                                          sumi_classifier **out);
SUMI_API sumi_status sumi_classifier_save(sumi_context *ctx, const sumi_classifier *classifier,
                                          const char *path);
SUMI_API sumi_status sumi_classifier_info(const sumi_classifier *classifier,
                                          sumi_classifier_info_t *info);
/* Of images [n][height][width][channels], bytes as they are saved: features [n][features] and
 * probabilities [n][classes]; either may be NULL. A long call. */
SUMI_API sumi_status sumi_classifier_run(sumi_context *ctx, const sumi_classifier *classifier,
                                         const uint8_t *images, int64_t n, float *features,
                                         float *probabilities);
SUMI_API void sumi_classifier_free(sumi_classifier *classifier);

/* ==== Advanced ================================================================================
 * Training step by step, single evaluations of the network, tensors, a model's description, and
 * measurements. Most programs need none of it.
 */

/* ---- Evaluating ------------------------------------------------------------------------------
 * How good pictures are, without anything but the data: distances between the features that an
 * evaluator sees in them and in test images. A distance depends on the evaluator and on the number
 * of pictures, and grows as either changes: compare figures of one evaluator and one n only. None
 * of them is FID, whose name belongs to another network's features.
 */

typedef struct {
    size_t size;
    /* What is evaluated: a model, whose images are drawn, or pictures. They have the data's size,
     * or are up to a quarter larger and are cut; the frame's ink is told. */
    const sumi_model *model;
    const sumi_dataset *pictures;
    const sumi_dataset *training, *test; /* of the data; test may be NULL: then the reference is the
                                            training images */
    const sumi_classifier *evaluator;    /* made of these training images */
    const sumi_classifier *held_back;    /* another one, for a second distance; or NULL */
    int64_t n;     /* pictures, evenly spread over the set; 0: all. Of a model 0 is 1,000 */
    uint64_t seed; /* of the images, which are number 0 to n - 1 of it, and of intervals */
    const sumi_sample_config *sample; /* how the model draws (count, seed and callbacks are not
                                         looked at); NULL: as its sampling defaults say, or dpmpp-2m
                                         in 20 evaluations. Without labels image k has label k
                                         modulo classes, where the model is told of labels. Where
                                         ranks share the drawing, all make the call, and only rank
                                         0 needs an evaluator and gets a result */
    const char *subject, *tier;       /* for the report; NULL: not told */
    const char *report_dir;           /* a folder for a page with pictures; NULL: none */
    const char *npz;                  /* a file for other evaluators: uint8 arr_0; NULL: none */
    sumi_progress_fn progress;        /* SUMI_PHASE_SAMPLE; may be NULL */
    void *user;
    bool bits; /* of a model: bits per dimension of 100 test images, 10,100 predictions */
    /* A folder, made where it is not there, for what depends on data and evaluator alone: features
     * of the data and how near its pictures are to each other, which take longer than scoring
     * 1,000 images. Later evaluations read it from there and get the same bits. NULL: none. */
    const char *cache;
    int loss_images; /* of a model: test images for its loss in 20 bins of noise; 0: 500 */
    /* The accuracy on test images of a classifier like the evaluator that learns from the pictures
     * alone, which must have labels: minutes more. */
    bool classification;
} sumi_eval_config;
#define SUMI_EVAL_CONFIG_INIT                                                                      \
    {                                                                                              \
        sizeof(sumi_eval_config), NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, NULL,      \
            NULL, NULL, NULL, NULL, false, NULL, 0, false                                          \
    }

/* A number with its 95 % interval; NaN: not known. */
typedef struct {
    double value, low, high;
} sumi_figure_t;

typedef struct {
    size_t size;
    int64_t n;             /* pictures */
    sumi_figure_t frechet; /* between Gaussians fitted to the features (Heusel et al. 2017) */
    sumi_figure_t kernel;  /* squared mean discrepancy, without bias (Binkowski et al. 2018) */
    sumi_figure_t precision, recall, density, coverage;
    sumi_figure_t entropy;        /* mean over pictures of that of the classes, in nats */
    sumi_figure_t accuracy;       /* share whose likeliest class is their label */
    sumi_figure_t memorised;      /* share that is half as far from a training image as is usual */
    sumi_figure_t second_frechet; /* by held_back */
    double outside;               /* share of the ink in the frame that was cut off */
    char evaluator[65];           /* its hash */
    char *json, *table;           /* the whole report: one line, or a table of at most 80 columns */
    sumi_figure_t classification; /* accuracy on test images, learnt from the pictures */
} sumi_eval_result_t;
#define SUMI_EVAL_RESULT_INIT                                                                      \
    {                                                                                              \
        sizeof(sumi_eval_result_t), 0, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0},      \
            {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, 0, "", NULL, NULL,              \
        {                                                                                          \
            0, 0, 0                                                                                \
        }                                                                                          \
    }

/* A long call. SUMI_EINVAL: too few pictures for the covariance of the features, or an evaluator of
 * other data; SUMI_ESHAPE: pictures of other or several sizes, or other channels. result's size
 * must be that of this header; what it holds is released by sumi_eval_result_free. */
SUMI_API sumi_status sumi_eval(sumi_context *ctx, const sumi_eval_config *config,
                               sumi_eval_result_t *result);
SUMI_API void sumi_eval_result_free(sumi_eval_result_t *result);

/* ---- Tuning ----------------------------------------------------------------------------------
 * Which way to sample draws a model's best pictures in few evaluations of the network: a search
 * over solvers, spacings and what shapes them (rho, the ends of the levels, eta, churn, clipping)
 * by successive halving. All ways draw a few images from the same noise and are ranked by the
 * Frechet distance to the data; what stands next to the best comes in; the best draw more. Of a
 * model that is told of labels guidance is one of what shapes them; it costs a second evaluation
 * where it acts.
 */

typedef struct {
    size_t size;
    const sumi_dataset *training, *test; /* as of sumi_eval_config */
    const sumi_classifier *evaluator;    /* made of these training images */
    int evaluations;                     /* of the network for an image, at most; 0: 10 */
    int64_t n;                           /* images behind each of the last figures; 0: 1,000 */
    uint64_t seed;     /* of the noise: figures are of images 0 to n - 1 of it, as of sumi_eval;
                                 the search looks at others */
    int height, width; /* of the images; 0: as in training */
    bool quick;        /* a few well-known ways only, as at the end of a training */
    bool former;       /* also judge how the model is sampled now where that takes more than
                                 100 evaluations; else dpmpp-2m stands in for it */
    sumi_precision precision;
    sumi_progress_fn
        progress; /* SUMI_PHASE_SAMPLE; step counts images x evaluations; may be NULL */
    void *user;
    const char *cache; /* as sumi_eval_config.cache */
    /* So many images x evaluations are drawn at most, of a short list of ways that depends on it
     * alone; the figures are then those of the search's first look, which all ways had alike,
     * without intervals. 0: as many as it takes. */
    int64_t work;
    int64_t reference; /* compare with so many images of the data, evenly spread; 0: all */
    bool unguided;     /* no way with guidance, as the model was never asked without a label, or
                                 never with one */
} sumi_tune_config;
#define SUMI_TUNE_CONFIG_INIT                                                                      \
    {                                                                                              \
        sizeof(sumi_tune_config), NULL, NULL, NULL, 0, 0, 0, 0, 0, false, false,                   \
            SUMI_PRECISION_FP32, NULL, NULL, NULL, 0, 0, false                                     \
    }

typedef struct {
    size_t size;
    sumi_figure_t frechet, former_frechet; /* of what was found, and of the way before */
    int evaluations, former_evaluations;
    bool former_own;    /* false: dpmpp-2m stood in for the way before */
    int64_t n;          /* images behind each */
    int candidates;     /* that were looked at */
    char evaluator[65]; /* its hash */
    char *json,
        *table; /* every candidate: one line, or the best as a table of at most 80 columns */
} sumi_tune_result_t;
#define SUMI_TUNE_RESULT_INIT                                                                      \
    {                                                                                              \
        sizeof(sumi_tune_result_t), {0, 0, 0}, {0, 0, 0}, 0, 0, false, 0, 0, "", NULL, NULL        \
    }

/* A long call, which leaves the model as it is: best, which was filled by its _INIT macro, receives
 * the way that was found, for sumi_model_set_sampling or sumi_model_save_sampling. The same seed
 * finds the same on any number of threads. SUMI_EINVAL, SUMI_ESHAPE: as sumi_eval; SUMI_EINVAL also
 * where work is not enough for two ways. result's size
 * must be that of this header; what it holds is released by sumi_tune_result_free. */
SUMI_API sumi_status sumi_tune(sumi_context *ctx, const sumi_model *model,
                               const sumi_tune_config *config, sumi_sample_config *best,
                               sumi_tune_result_t *result);
SUMI_API void sumi_tune_result_free(sumi_tune_result_t *result);

#ifdef __cplusplus
}
#endif
#endif
