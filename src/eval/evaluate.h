/*
 * The whole evaluation: pictures from a model or a set, the evaluator's view of them and of the
 * data, and one report.
 */
#ifndef SUMI_EVALUATE_H
#define SUMI_EVALUATE_H

#include "eval/eval.h"
#include "sample/sample.h"
#include "train/classify.h"

/* ---- Pictures (pictures.c) ------------------------------------------------------------------- */

/* Pictures of one size and what an evaluator sees in them. */
typedef struct {
    int64_t n;
    int h, w, c;
    uint8_t *images;                 /* [n][h][w][c] */
    int32_t *labels;                 /* [n], or NULL */
    float *features, *probabilities; /* [n][d], [n][classes]; or NULL */
    double outside;                  /* share of the ink that was cut off around h x w */
    char hash[65];                   /* of the set that they are of; "": drawn */
    double *radii, *to_training[2];  /* as of sumi_eval_set; or NULL */
} sumi_pictures;

void sumi_pictures_free(sumi_pictures *pictures);
/* `most` pictures of a set, evenly spread over it (0: all), cut to the middle h x w. SUMI_ESHAPE
 * where they are smaller, more than a quarter larger, or have other channels. */
sumi_status sumi_pictures_read(const sumi_dataset *set, int64_t most, const int sizes[3],
                               sumi_pictures *out, sumi_error *err);
/* n images of a model, as `sample` draws them, as bytes, cut likewise. */
sumi_status sumi_pictures_draw(sumi_runtime *runtime, const sumi_model *model,
                               const sumi_sample_config *sample, const int sizes[3],
                               sumi_pictures *out, sumi_error *err);
/* Features and probabilities; those of an evaluator before are replaced. */
sumi_status sumi_pictures_see(sumi_runtime *runtime, const sumi_classifier *evaluator,
                              sumi_pictures *pictures, sumi_error *err);
/* What was seen is released. */
void sumi_pictures_forget(sumi_pictures *pictures);
/* A view of them for the scores. */
sumi_eval_set sumi_pictures_set(const sumi_pictures *pictures, const char *name,
                                const sumi_classifier *evaluator);

/* ---- What is kept (store.c) ------------------------------------------------------------------ */

/* Arrays in a folder, in a file of their own that a key names: a hash of all that they depend on.
 * *data is malloc'ed. */
enum { SUMI_STORE_ARRAYS_MAX = 4 };
typedef struct {
    const char *name;
    sumi_file_dtype dtype;
    int64_t count;
    void **data;
} sumi_store_array;
void sumi_store_key(char key[65], const char *const *parts, int count);
/* False where there is none, or it does not fit or was changed. folder may be NULL: none. */
bool sumi_store_read(const char *folder, const char *key, const sumi_store_array *arrays,
                     int count);
/* What cannot be kept is not: no error. */
void sumi_store_write(const char *folder, const char *key, const sumi_store_array *arrays,
                      int count);

/* ---- What is known of the data (known.c) ----------------------------------------------------- */

typedef struct {
    sumi_runtime *runtime;
    const sumi_eval_machine *machine;
    const char *folder, *isa; /* where it is kept (NULL: nowhere), and whose bits it has */
} sumi_known;

/* features of a set's pictures; what was seen before is released. */
sumi_status sumi_known_features(const sumi_known *known, const sumi_classifier *evaluator,
                                sumi_pictures *pictures, sumi_error *err);
/* radii and to_training of pictures, from the features of both. */
sumi_status sumi_known_distances(const sumi_known *known, const sumi_classifier *evaluator,
                                 sumi_pictures *reference, const sumi_pictures *training,
                                 sumi_error *err);
/* Adds the rows of a scale: n of the training images, as they are and spoilt, where they are more
 * than an evaluator's features. */
sumi_status sumi_known_scales(const sumi_known *known, const sumi_classifier *evaluator,
                              const sumi_dataset *data, int64_t n, const sumi_pictures *training,
                              const sumi_pictures *reference, sumi_eval_report *report,
                              sumi_error *err);

/* ---- A classifier that learns from samples (classification.c) -------------------------------- */

/* Its accuracy on the reference; both have labels. SUMI_EINVAL where a sample has none. */
sumi_status sumi_eval_classification(sumi_runtime *runtime, const sumi_eval_config *config,
                                     const sumi_pictures *samples, const sumi_pictures *reference,
                                     sumi_score *out, sumi_error *err);

/* ---- All of it (evaluate.c) ------------------------------------------------------------------ */

/* The body of sumi_eval. */
sumi_status sumi_eval_run(sumi_runtime *runtime, const sumi_eval_config *config,
                          sumi_eval_result_t *out, sumi_error *err);

#endif
