/*
 * opencl: the backend that computes a graph on a device of OpenCL 1.2, such as a graphics card.
 *
 * Does: finds the system's loader at run time, so that a program needs none to be built or started;
 * devices and their memory; the kernels' programs and where they are kept; networks in the memory
 * of a device. Does not: know an architecture, a file or what a step of training is.
 */
#ifndef SUMI_OPENCL_H
#define SUMI_OPENCL_H

#include "graph/backend.h"

const sumi_backend *sumi_opencl_backend(void);
/* False where this machine has no sign of a graphics card of NVIDIA or Apple, so that nothing has
 * to be loaded to find none. */
bool sumi_opencl_may_have_cards(void);

/* The ways to convolve that a plan's `force` can ask for, by the CPU's numbers of them. */
enum { SUMI_CL_PLAINLY = 0, SUMI_CL_BY_WINOGRAD = 1 };

#endif
