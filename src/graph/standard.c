/* Images as a network is told of them, and back. */
#include "graph/standard.h"

#include <string.h>

void sumi_standard_apply(const sumi_standard *standard, const float *in, float *out, size_t floats)
{
    size_t channels = (size_t)standard->channels;
    if (channels == 0 && out != in)
        memcpy(out, in, floats * sizeof *out);
    for (size_t c = 0; c < channels; c++) {
        float mean = standard->mean[c], scale = standard->to / standard->deviation[c];
        for (size_t i = c; i < floats; i += channels)
            out[i] = (in[i] - mean) * scale;
    }
}

void sumi_standard_undo(const sumi_standard *standard, const float *in, float *out, size_t floats)
{
    size_t channels = (size_t)standard->channels;
    if (channels == 0 && out != in)
        memcpy(out, in, floats * sizeof *out);
    for (size_t c = 0; c < channels; c++) {
        float mean = standard->mean[c], scale = standard->deviation[c] / standard->to;
        for (size_t i = c; i < floats; i += channels)
            out[i] = in[i] * scale + mean;
    }
}
