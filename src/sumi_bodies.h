/*
 * What the files with the bodies of the public interface share.
 */
#ifndef SUMI_BODIES_H
#define SUMI_BODIES_H

#include "sumi.h"

/* Gives an info struct to the caller, as much of it as the caller's has room for. The caller's size
 * stays: with the library's in its place, a second call would write past an older, shorter struct.
 */
void sumi_give_info(const void *info, size_t info_size, void *out);

#endif
