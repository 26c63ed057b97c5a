/*
 * One reference that many sets of a model's pictures are scored against: what is known of the data
 * is looked at once.
 */
#ifndef SUMI_SCORER_H
#define SUMI_SCORER_H

#include "eval/evaluate.h"
#include "eval/internal.h"

typedef struct {
    sumi_runtime *runtime;
    const sumi_classifier *evaluator;
    sumi_eval_machine machine;
    int sizes[3];            /* of the data: h, w, c */
    sumi_pictures reference; /* the test images or, where there are none, the training images */
    sumi_moments moments;    /* of their features */
    sumi_frechet_side side;  /* to take distances to */
    double *scratch;         /* of a distance */
} sumi_scorer;

/* most: images of the reference, evenly spread; 0: all. cache: as of sumi_eval_config. SUMI_EINVAL
 * where the evaluator was made for other data,
 * SUMI_ESHAPE where test images have another size. Released by free also where this fails. */
sumi_status sumi_scorer_init(sumi_scorer *scorer, sumi_runtime *runtime,
                             const sumi_dataset *training, const sumi_dataset *test,
                             const sumi_classifier *evaluator, int64_t most, const char *cache,
                             sumi_error *err);
void sumi_scorer_free(sumi_scorer *scorer);
/* Draws images, of each label in turn where the model is told of labels, and what the evaluator
 * sees in them. */
sumi_status sumi_scorer_draw(sumi_scorer *scorer, const sumi_model *model,
                             const sumi_sample_config *sample, sumi_pictures *out, sumi_error *err);
/* The Frechet distance of n features [n][d] to the reference's; SUMI_EINVAL where n is d or less.
 */
sumi_status sumi_scorer_distance(sumi_scorer *scorer, const float *features, int64_t n, double *out,
                                 sumi_error *err);
/* The same with an interval, as sumi eval has it. */
sumi_status sumi_scorer_figure(sumi_scorer *scorer, const sumi_pictures *pictures, uint64_t seed,
                               sumi_figure_t *out, sumi_error *err);
/* What the model says of its way to sample, into what is left initial. Images of a score have
 * labels where the model is told of any, so guidance counts. */
void sumi_scorer_complete(const sumi_model *model, sumi_sample_config *way);
/* How a model draws where nobody says: its own way, or dpmpp-2m in 20 evaluations. */
sumi_sample_config sumi_scorer_way(const sumi_model *model);
/* How a model draws where nobody says another size: that of its training, else the data's. */
void sumi_scorer_size(const sumi_scorer *scorer, const sumi_model *model, int *height, int *width);

#endif
