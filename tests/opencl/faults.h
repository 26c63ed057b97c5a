/*
 * Which calls of the libOpenCL of faults.c fail: the library has one of these, sumi_test_faults.
 */
#ifndef SUMI_OPENCL_FAULTS_H
#define SUMI_OPENCL_FAULTS_H

#include <stdbool.h>

enum { FAULT_KERNELS = 64, FAULT_PLACES = 16, FAULT_ARGUMENTS = FAULT_KERNELS * FAULT_PLACES };

/* Calls so far, which one fails (counted from 1; 0: none), and whether all after it do, too; a
 * kernel that does nothing, or NULL. */
typedef struct {
    long calls, fails;
    bool lost;
    int error; /* of calls that fail; 0: what is usual for each */
    const char *broken;
    unsigned query;     /* of devices, that fails: CL_DEVICE_...; 0: none */
    const char *vendor; /* of all devices, which are then cards; or NULL */
    /* Asked before each call, whether it fails; argument: -1, or it gives a kernel one, which has
     * that number below FAULT_ARGUMENTS: one for each kernel and place. Or NULL. */
    bool (*each)(long call, int argument);
    bool shares; /* all contexts and programs are one, which is built once: for quick repeats */
} fault_counts;

#endif
