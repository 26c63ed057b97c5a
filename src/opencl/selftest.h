/*
 * Trying a device: see selftest.c.
 */
#ifndef SUMI_OPENCL_SELFTEST_H
#define SUMI_OPENCL_SELFTEST_H

#include "graph/backend.h"

enum { SUMI_CL_SUMS = 37 };

typedef struct {
    double sum[SUMI_CL_SUMS], size[SUMI_CL_SUMS]; /* size: of what was added up */
} sumi_cl_sums;

/* Of any backend's device. */
sumi_status sumi_cl_take_sums(const sumi_backend *backend, sumi_device *device, sumi_cl_sums *out,
                              sumi_error *err);
/* The number of the first that is not what it should be, -1 where all are. */
int sumi_cl_wrong_sum(const sumi_cl_sums *sums);

#endif
