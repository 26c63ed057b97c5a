/*
 * Augmentation: pictures that are made of a picture when a batch is filled (augment.c), and how far
 * the pictures of a set look one way (mirror.c).
 */
#ifndef SUMI_DATA_AUGMENT_H
#define SUMI_DATA_AUGMENT_H

#include "data/data.h"

/* Of zeros: nothing is done. */
struct sumi_augment {
    bool flip;  /* half of the pictures are mirrored, left to right */
    int crop;   /* by up to so many pixels each way a picture moves; what it leaves is its edge */
    float told; /* the probability of each change of the set that the network is told of, 0..1 */
    uint64_t seed;
};

/* SUMI_EINVAL. */
sumi_status sumi_augment_check(const sumi_augment *augment, int h, int w, sumi_error *err);
bool sumi_augment_wanted(const sumi_augment *augment);
/* How flip and crop change an image: the part of the next function that moves its pixels as they
 * are. */
void sumi_augment_pick(const sumi_augment *augment, uint32_t step, uint64_t image, sumi_pick *out);
/* Changes image [h][w][c], floats, in place: a pure function of it, the settings and the address,
 * of which step and image count. room has as many floats; numbers [SUMI_AUGMENT_NUMBERS], or NULL.
 *
 * The set that is told (Karras et al. 2022, arXiv:2206.00364, section 5 and appendix F.2, after
 * Karras et al. 2020): mirrored left to right in half of the cases; then with probability `told`
 * each mirrored upside down, scaled, turned, stretched and moved. The numbers are in that order: 1
 * for either mirroring; the normal number whose power of 2^0.2 the scale is; cos - 1 and sin of the
 * turn; the normal number of the stretch times cos and sin of its direction; two normal numbers, an
 * eighth of the width and height each. */
void sumi_augment_image(const sumi_augment *augment, uint32_t step, uint64_t image,
                        const int shape[3], float *pixels, float *room, float *numbers);

/* How far the pictures of a label (all, where there are none) look one way: the squared distance of
 * their mean from its mirror image, as a share of what a picture's own is on average. 1: all are
 * the same; near 0 (1 / count): as many look left as right. Of at most 10,000 pictures, evenly
 * spread; the most that a label with 40 pictures or more has, which *label receives (-1: of all).
 */
sumi_status sumi_data_asymmetry(const sumi_dataset *set, double *out, int *label, sumi_error *err);
/* Above this, mirrored pictures are others than the data's. */
#define SUMI_ASYMMETRY_MUCH .1

#endif
