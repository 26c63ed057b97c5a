/*
 * Whether the images that a caller gives are numbers. A network answers one NaN with an image of
 * them, and says nothing of where it came from.
 */
#include <math.h>
#include <string.h>

#include "models/models.h"

/* NaN and the infinities are the floats with all bits of the exponent. */
bool sumi_all_finite(const float *values, size_t count)
{
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        found |= (bits & 0x7F800000u) == 0x7F800000u;
    }
    return !found;
}

sumi_status sumi_check_finite(const char *name, const float *values, const int shape[4],
                              sumi_error *err)
{
    size_t image = (size_t)shape[1] * (size_t)shape[2] * (size_t)shape[3];
    for (int i = 0; i < shape[0]; i++) {
        const float *at = values + (size_t)i * image;
        if (sumi_all_finite(at, image))
            continue;
        size_t k = 0;
        while (isfinite(at[k]))
            k++;
        size_t channels = (size_t)shape[3], row = (size_t)shape[2] * channels;
        return sumi_fail(
            err, SUMI_EINVAL, "%s[%d][%zu][%zu][%zu] is %s: images must be finite numbers", name, i,
            k / row, k % row / channels, k % channels, isnan(at[k]) ? "NaN" : "infinite");
    }
    return SUMI_OK;
}
