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

/* ---- All of it (evaluate.c) ------------------------------------------------------------------ */

/* The body of sumi_eval. */
sumi_status sumi_eval_run(sumi_runtime *runtime, const sumi_eval_config *config,
                          sumi_eval_result_t *out, sumi_error *err);

#endif
