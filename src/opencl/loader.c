/*
 * Finds OpenCL on this machine, when somebody asks for it and not before.
 */
#include "opencl/api.h"
#include "opencl/opencl.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef RTLD_NODELETE
#define RTLD_NODELETE 0
#endif

/* Where it is looked for, after $SUMI_OPENCL. */
static const char *const libraries[] = {"libOpenCL.so.1", "libOpenCL.so",
                                        "/System/Library/Frameworks/OpenCL.framework/OpenCL"};

static void *open_library(void)
{
    const char *named = getenv("SUMI_OPENCL");
    if (named && *named)
        return dlopen(named, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        void *found = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (found)
            return found;
    }
    return NULL;
}

/* What their drivers make in the file system; a library that somebody names may have any. */
bool sumi_opencl_may_have_cards(void)
{
    static const char *const signs[] = {"/dev/nvidiactl", "/dev/dxg",
                                        "/System/Library/Frameworks/OpenCL.framework"};
    const char *named = getenv("SUMI_OPENCL");
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (access(signs[i], F_OK) == 0)
            return true;
    return named && *named;
}

/* A function's place in the table and its name. */
#define FUNCTION(name)                                                                             \
    {                                                                                              \
        offsetof(sumi_cl, name), "cl" #name                                                        \
    }

static const struct {
    size_t place;
    const char *name;
} functions[] = {
    FUNCTION(GetPlatformIDs),
    FUNCTION(GetPlatformInfo),
    FUNCTION(GetDeviceIDs),
    FUNCTION(GetDeviceInfo),
    FUNCTION(CreateContext),
    FUNCTION(ReleaseContext),
    FUNCTION(CreateCommandQueue),
    FUNCTION(ReleaseCommandQueue),
    FUNCTION(CreateBuffer),
    FUNCTION(ReleaseMemObject),
    FUNCTION(CreateProgramWithSource),
    FUNCTION(CreateProgramWithBinary),
    FUNCTION(BuildProgram),
    FUNCTION(GetProgramInfo),
    FUNCTION(GetProgramBuildInfo),
    FUNCTION(ReleaseProgram),
    FUNCTION(CreateKernel),
    FUNCTION(ReleaseKernel),
    FUNCTION(SetKernelArg),
    FUNCTION(EnqueueNDRangeKernel),
    FUNCTION(EnqueueReadBuffer),
    FUNCTION(EnqueueWriteBuffer),
    FUNCTION(EnqueueCopyBuffer),
    FUNCTION(EnqueueFillBuffer),
    FUNCTION(Flush),
    FUNCTION(Finish),
};

sumi_status sumi_cl_load(sumi_cl *cl, sumi_error *err)
{
    *cl = (sumi_cl){.library = open_library()};
    if (!cl->library)
        return sumi_fail(err, SUMI_EUNSUPPORTED,
                         "there is no OpenCL on this machine (libOpenCL.so.1 was not found; it "
                         "comes with a driver, or with Debian's ocl-icd-libopencl1)");
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *found = dlsym(cl->library, functions[i].name);
        if (!found)
            return sumi_fail(err, SUMI_EUNSUPPORTED,
                             "the OpenCL of this machine is older than 1.2: it has no %s",
                             functions[i].name);
        memcpy((char *)cl + functions[i].place, &found, sizeof found);
    }
    return SUMI_OK;
}

const char *sumi_cl_error_name(cl_int error, char room[24])
{
    static const struct {
        cl_int error;
        const char *name;
    } names[] = {
        {-1, "CL_DEVICE_NOT_FOUND"},
        {-2, "CL_DEVICE_NOT_AVAILABLE"},
        {-4, "CL_MEM_OBJECT_ALLOCATION_FAILURE"},
        {-5, "CL_OUT_OF_RESOURCES"},
        {-6, "CL_OUT_OF_HOST_MEMORY"},
        {-11, "CL_BUILD_PROGRAM_FAILURE"},
        {-14, "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST"},
        {-30, "CL_INVALID_VALUE"},
        {-34, "CL_INVALID_CONTEXT"},
        {-36, "CL_INVALID_COMMAND_QUEUE"},
        {-38, "CL_INVALID_MEM_OBJECT"},
        {-42, "CL_INVALID_BINARY"},
        {-46, "CL_INVALID_KERNEL_NAME"},
        {-51, "CL_INVALID_ARG_SIZE"},
        {-52, "CL_INVALID_KERNEL_ARGS"},
        {-54, "CL_INVALID_WORK_GROUP_SIZE"},
        {-61, "CL_INVALID_BUFFER_SIZE"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].error == error)
            return names[i].name;
    snprintf(room, 24, "error %d", (int)error);
    return room;
}
