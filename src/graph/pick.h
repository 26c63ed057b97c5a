/* An image of a batch, as one of a data set's images. */
#ifndef SUMI_PICK_H
#define SUMI_PICK_H

#include <stdint.h>

/* Mirrored left to right, if so; then moved by so many pixels, each way by less than its side; what
 * that leaves is its edge. */
typedef struct {
    uint32_t index; /* in the set */
    int32_t mirrored, down, right;
} sumi_pick;

#endif
