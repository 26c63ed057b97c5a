/*
 * The networks that a sampling asks, and how two predictions become one (guidance.c), for sample.c.
 */
#ifndef SUMI_SAMPLE_GUIDANCE_H
#define SUMI_SAMPLE_GUIDANCE_H

#include "sample/sample.h"

/* Zero it, init, then set `labels` and n for each batch. The tensors are the device's. */
typedef struct {
    sumi_runtime *runtime;
    const sumi_process *process;
    const sumi_sample_config *config;
    sumi_network *network, *guide; /* guide: another model's, or NULL */
    bool told, guide_told;         /* of labels */
    bool halves;                   /* images with and without label are predicted together */
    size_t image_floats;
    int batch;      /* images of the largest batch */
    int32_t *given; /* [2 batch], the host's: labels of the batch, then -1 for each */
    int32_t *labels;
    float *image, *time, *other; /* [2 batch], or [batch] where a guide predicts `other` */
    float *host_time;            /* [batch] */
    sumi_factors *factors;       /* [batch] */
    int *cost;                   /* [batch]: evaluations that each image took for a prediction */
    int64_t evaluations;         /* of all images so far */
    sumi_error *err;
} sumi_asking;

/* Whether the settings make sense for the model; SUMI_EINVAL or SUMI_ESHAPE. */
sumi_status sumi_guidance_check(const sumi_sample_config *config, const sumi_model *model,
                                sumi_error *err);
/* Networks and memory for batches of `batch` images of image_floats; runtime, process, config and
 * err are set. Released by sumi_asking_free in either case. */
sumi_status sumi_asking_init(sumi_asking *asking, const sumi_model *model, int batch,
                             size_t image_floats);
void sumi_asking_free(sumi_asking *asking);
/* The labels of a batch's n images; NULL: they have none. */
void sumi_asking_labels(sumi_asking *asking, const int32_t *labels, int n);
/* F of n images; see sumi_predict_fn. */
sumi_status sumi_asking_predict(sumi_asking *asking, const float *x, const float *times,
                                double time, int n, float *f);

#endif
