/*
 * How images are told to a network whose data are standardised: each channel shifted to mean 0 and
 * scaled to one deviation, whatever the data's are.
 */
#ifndef SUMI_STANDARD_H
#define SUMI_STANDARD_H

#include <stddef.h>

enum { SUMI_STANDARD_CHANNELS = 64 };

/* y = (x - mean[c]) * (to / deviation[c]) of channel c. */
typedef struct {
    int channels; /* 0: images are told as they are */
    float to;     /* the deviation of y */
    float mean[SUMI_STANDARD_CHANNELS], deviation[SUMI_STANDARD_CHANNELS];
} sumi_standard;

/* From images to what the network is told, and back; floats is a multiple of the channels, and out
 * may be in. Without channels they copy. */
void sumi_standard_apply(const sumi_standard *standard, const float *in, float *out, size_t floats);
void sumi_standard_undo(const sumi_standard *standard, const float *in, float *out, size_t floats);

#endif
