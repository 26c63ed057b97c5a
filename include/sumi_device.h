/*
 * sumi_device.h: contexts on devices, and what devices there are. sumi.h includes it and has the
 * conventions.
 */
#ifndef SUMI_DEVICE_H
#define SUMI_DEVICE_H

#include "sumi.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A context on a device: "cpu"; "opencl:N", device number N of OpenCL; "opencl", the first graphics
 * card there, or else the first device; "cuda" and "mps", the first card of NVIDIA and of Apple; or
 * "auto" (or NULL), the first of cuda, mps and cpu that is there. SUMI_EINVAL for a name that is
 * none, SUMI_EUNSUPPORTED, with a list of what is there, for a device that is not. OpenCL is looked
 * for when it is asked for. */
typedef struct {
    size_t size;
    int threads; /* of the host: as sumi_context_create */
    const char *device;
} sumi_context_config;
#define SUMI_CONTEXT_CONFIG_INIT                                                                   \
    {                                                                                              \
        sizeof(sumi_context_config), 0, NULL                                                       \
    }
SUMI_API sumi_status sumi_context_open(const sumi_context_config *config, sumi_context **out);

/* A device that a context can be made on. Sizes are in bytes; 0: not known, or the host's. */
typedef struct {
    size_t size;
    char id[32]; /* for sumi_context_config */
    char name[128], vendor[64], kind[16], driver[96];
    uint64_t memory, largest_block, local_memory;
    int units, megahertz, group; /* cores or multiprocessors; work items of a group */
    bool doubles, halves;        /* whether it has numbers of 64 and of 16 bits */
    bool usable;                 /* false: it lacks something that sumi needs */
} sumi_device_info_t;
#define SUMI_DEVICE_INFO_INIT                                                                      \
    {                                                                                              \
        sizeof(sumi_device_info_t), "", "", "", "", "", 0, 0, 0, 0, 0, 0, false, false, false      \
    }
/* From index 0 on, which is the CPU; SUMI_EINVAL past the last. Looks for OpenCL at each call. */
SUMI_API sumi_status sumi_device_at(int index, sumi_device_info_t *device);

#ifdef __cplusplus
}
#endif

#endif
