/*
 * A libOpenCL that passes calls on to the system's, and lets those fail that a test asks for. It is
 * loaded by $SUMI_OPENCL, and by a test itself, which sets the counts below (faults.h).
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opencl/api.h"
#include "opencl/faults.h"

__attribute__((visibility("default"))) fault_counts sumi_test_faults;

/* For a test that runs a program: SUMI_TEST_CL_LOST is the call from which on all fail, with the
 * error SUMI_TEST_CL_ERROR; a file SUMI_TEST_CL_COUNT gets the number of calls at the end. */
__attribute__((constructor)) static void take_environment(void)
{
    const char *lost = getenv("SUMI_TEST_CL_LOST"), *error = getenv("SUMI_TEST_CL_ERROR");
    sumi_test_faults.fails = lost ? atol(lost) : 0;
    sumi_test_faults.lost = lost != NULL;
    sumi_test_faults.error = error ? atoi(error) : 0;
}

__attribute__((destructor)) static void tell_count(void)
{
    const char *path = getenv("SUMI_TEST_CL_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "%ld\n", sumi_test_faults.calls);
        fclose(file);
    }
}

static void *real(const char *name)
{
    static void *library;
    if (!library)
        library = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    void *found = library ? dlsym(library, name) : NULL;
    if (!found)
        abort();
    return found;
}

/* Puts the system's function of a name into a pointer to such functions. */
static void find(const char *name, void *function, size_t size)
{
    void *found = real(name);
    memcpy(function, &found, size);
}

static bool fails_as(int argument)
{
    long now = ++sumi_test_faults.calls, at = sumi_test_faults.fails;
    if (sumi_test_faults.each)
        return sumi_test_faults.each(now, argument);
    return at > 0 && (now == at || (sumi_test_faults.lost && now > at));
}

static bool fails(void)
{
    return fails_as(-1);
}

static cl_int error_of(cl_int usual)
{
    return sumi_test_faults.error ? sumi_test_faults.error : usual;
}

#define SHOWN __attribute__((visibility("default")))

/* A call that returns its error; one that never fails; one that makes something. */
#define CALL(name, parameters, arguments)                                                          \
    SHOWN cl_int cl##name parameters;                                                              \
    SHOWN cl_int cl##name parameters                                                               \
    {                                                                                              \
        cl_int(*call) parameters;                                                                  \
        find("cl" #name, &call, sizeof call);                                                      \
        return fails() ? error_of(CL_OUT_OF_RESOURCES) : call arguments;                           \
    }
#define PLAIN(name, parameters, arguments)                                                         \
    SHOWN cl_int cl##name parameters;                                                              \
    SHOWN cl_int cl##name parameters                                                               \
    {                                                                                              \
        cl_int(*call) parameters;                                                                  \
        find("cl" #name, &call, sizeof call);                                                      \
        return call arguments;                                                                     \
    }
#define MAKE(type, name, parameters, arguments)                                                    \
    SHOWN type cl##name parameters;                                                                \
    SHOWN type cl##name parameters                                                                 \
    {                                                                                              \
        type(*call) parameters;                                                                    \
        find("cl" #name, &call, sizeof call);                                                      \
        if (!fails())                                                                              \
            return call arguments;                                                                 \
        *error = error_of(CL_MEM_OBJECT_ALLOCATION_FAILURE);                                       \
        return NULL;                                                                               \
    }

CALL(GetPlatformIDs, (cl_uint a, cl_platform_id *b, cl_uint *c), (a, b, c))
PLAIN(GetPlatformInfo, (cl_platform_id a, cl_uint b, size_t c, void *d, size_t *e), (a, b, c, d, e))
CALL(GetDeviceIDs, (cl_platform_id a, cl_ulong b, cl_uint c, cl_device_id *d, cl_uint *e),
     (a, b, c, d, e))

SHOWN cl_int clGetDeviceInfo(cl_device_id a, cl_uint b, size_t c, void *d, size_t *e);
SHOWN cl_int clGetDeviceInfo(cl_device_id a, cl_uint b, size_t c, void *d, size_t *e)
{
    cl_int (*call)(cl_device_id, cl_uint, size_t, void *, size_t *);
    const cl_ulong card = CL_DEVICE_TYPE_GPU;
    find("clGetDeviceInfo", &call, sizeof call);
    if (fails() || (b != 0 && b == sumi_test_faults.query))
        return error_of(CL_OUT_OF_RESOURCES);
    if (sumi_test_faults.vendor && b == CL_DEVICE_VENDOR && d)
        snprintf(d, c, "%s", sumi_test_faults.vendor);
    else if (sumi_test_faults.vendor && b == CL_DEVICE_TYPE && d)
        memcpy(d, &card, sizeof card);
    else
        return call(a, b, c, d, e);
    return CL_SUCCESS;
}

/* ---- What is made once ----------------------------------------------------------------------- */

static cl_context context; /* of all, while they are shared */
static cl_program program; /* the first that was built in it */

static void retain(const char *name, void *object)
{
    cl_int (*call)(void *);
    find(name, &call, sizeof call);
    if (call(object) != CL_SUCCESS)
        abort();
}

SHOWN cl_context clCreateContext(const intptr_t *a, cl_uint b, const cl_device_id *c,
                                 sumi_cl_notify d, void *e, cl_int *error);
SHOWN cl_context clCreateContext(const intptr_t *a, cl_uint b, const cl_device_id *c,
                                 sumi_cl_notify d, void *e, cl_int *error)
{
    cl_context (*call)(const intptr_t *, cl_uint, const cl_device_id *, sumi_cl_notify, void *,
                       cl_int *);
    find("clCreateContext", &call, sizeof call);
    if (fails()) {
        *error = error_of(CL_MEM_OBJECT_ALLOCATION_FAILURE);
        return NULL;
    }
    *error = CL_SUCCESS;
    cl_context made = sumi_test_faults.shares && context ? context : call(a, b, c, d, e, error);
    if (sumi_test_faults.shares && made) {
        if (!context)
            context = made;
        retain("clRetainContext", made); /* nobody's release is the last */
    }
    return made;
}

PLAIN(ReleaseContext, (cl_context a), (a))
MAKE(cl_command_queue, CreateCommandQueue,
     (cl_context a, cl_device_id b, cl_ulong c, cl_int *error), (a, b, c, error))
PLAIN(ReleaseCommandQueue, (cl_command_queue a), (a))
MAKE(cl_mem, CreateBuffer, (cl_context a, cl_ulong b, size_t c, void *d, cl_int *error),
     (a, b, c, d, error))
PLAIN(ReleaseMemObject, (cl_mem a), (a))
/* One that is built already, or a new one; NULL where the call fails. */
#define PROGRAM(name, parameters, arguments)                                                       \
    SHOWN cl_program cl##name parameters;                                                          \
    SHOWN cl_program cl##name parameters                                                           \
    {                                                                                              \
        cl_program(*call) parameters;                                                              \
        find("cl" #name, &call, sizeof call);                                                      \
        *error = CL_SUCCESS;                                                                       \
        if (fails()) {                                                                             \
            *error = error_of(CL_MEM_OBJECT_ALLOCATION_FAILURE);                                   \
            return NULL;                                                                           \
        }                                                                                          \
        if (!sumi_test_faults.shares || !program)                                                  \
            return call arguments;                                                                 \
        retain("clRetainProgram", program);                                                        \
        return program;                                                                            \
    }

PROGRAM(CreateProgramWithSource,
        (cl_context a, cl_uint b, const char **c, const size_t *d, cl_int *error),
        (a, b, c, d, error))
PROGRAM(CreateProgramWithBinary,
        (cl_context a, cl_uint b, const cl_device_id *c, const size_t *d, const unsigned char **e,
         cl_int *f, cl_int *error),
        (a, b, c, d, e, f, error))

SHOWN cl_int clBuildProgram(cl_program a, cl_uint b, const cl_device_id *c, const char *d,
                            sumi_cl_built e, void *f);
SHOWN cl_int clBuildProgram(cl_program a, cl_uint b, const cl_device_id *c, const char *d,
                            sumi_cl_built e, void *f)
{
    cl_int (*call)(cl_program, cl_uint, const cl_device_id *, const char *, sumi_cl_built, void *);
    find("clBuildProgram", &call, sizeof call);
    if (fails())
        return error_of(CL_OUT_OF_RESOURCES);
    cl_int error = a == program ? CL_SUCCESS : call(a, b, c, d, e, f);
    if (error == CL_SUCCESS && sumi_test_faults.shares && !program) {
        program = a;
        retain("clRetainProgram", a);
    }
    return error;
}

CALL(GetProgramInfo, (cl_program a, cl_uint b, size_t c, void *d, size_t *e), (a, b, c, d, e))
CALL(GetProgramBuildInfo, (cl_program a, cl_device_id b, cl_uint c, size_t d, void *e, size_t *f),
     (a, b, c, d, e, f))
PLAIN(ReleaseProgram, (cl_program a), (a))

static cl_kernel broken;

/* Kernels by their names; a name's first row is its number, whatever was made of it since. */
static struct {
    cl_kernel kernel;
    char name[48];
} kernels[FAULT_KERNELS];

static void name_kernel(cl_kernel kernel, const char *name)
{
    for (int i = 0; i < FAULT_KERNELS && kernel; i++) {
        if (kernels[i].name[0] && strcmp(kernels[i].name, name) != 0)
            continue;
        snprintf(kernels[i].name, sizeof kernels[i].name, "%s", name);
        kernels[i].kernel = kernel;
        return;
    }
}

static int argument_number(cl_kernel kernel, cl_uint place)
{
    for (int i = 0; i < FAULT_KERNELS; i++)
        if (kernels[i].kernel == kernel && place < FAULT_PLACES)
            return i * FAULT_PLACES + (int)place;
    abort();
}

SHOWN cl_kernel clCreateKernel(cl_program a, const char *b, cl_int *error);
SHOWN cl_kernel clCreateKernel(cl_program a, const char *b, cl_int *error)
{
    cl_kernel (*call)(cl_program, const char *, cl_int *);
    find("clCreateKernel", &call, sizeof call);
    if (fails()) {
        *error = error_of(CL_MEM_OBJECT_ALLOCATION_FAILURE);
        return NULL;
    }
    cl_kernel made = call(a, b, error);
    name_kernel(made, b);
    if (sumi_test_faults.broken && strcmp(b, sumi_test_faults.broken) == 0)
        broken = made;
    return made;
}

PLAIN(ReleaseKernel, (cl_kernel a), (a))

SHOWN cl_int clSetKernelArg(cl_kernel a, cl_uint b, size_t c, const void *d);
SHOWN cl_int clSetKernelArg(cl_kernel a, cl_uint b, size_t c, const void *d)
{
    cl_int (*call)(cl_kernel, cl_uint, size_t, const void *);
    find("clSetKernelArg", &call, sizeof call);
    return fails_as(argument_number(a, b)) ? error_of(CL_OUT_OF_RESOURCES) : call(a, b, c, d);
}

SHOWN cl_int clEnqueueNDRangeKernel(cl_command_queue a, cl_kernel b, cl_uint c, const size_t *d,
                                    const size_t *e, const size_t *f, cl_uint g, const cl_event *h,
                                    cl_event *i);
SHOWN cl_int clEnqueueNDRangeKernel(cl_command_queue a, cl_kernel b, cl_uint c, const size_t *d,
                                    const size_t *e, const size_t *f, cl_uint g, const cl_event *h,
                                    cl_event *i)
{
    cl_int (*call)(cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *,
                   const size_t *, cl_uint, const cl_event *, cl_event *);
    find("clEnqueueNDRangeKernel", &call, sizeof call);
    if (fails())
        return error_of(CL_OUT_OF_RESOURCES);
    return sumi_test_faults.broken && b == broken ? CL_SUCCESS : call(a, b, c, d, e, f, g, h, i);
}

CALL(EnqueueReadBuffer,
     (cl_command_queue a, cl_mem b, cl_bool c, size_t d, size_t e, void *f, cl_uint g,
      const cl_event *h, cl_event *i),
     (a, b, c, d, e, f, g, h, i))
CALL(EnqueueWriteBuffer,
     (cl_command_queue a, cl_mem b, cl_bool c, size_t d, size_t e, const void *f, cl_uint g,
      const cl_event *h, cl_event *i),
     (a, b, c, d, e, f, g, h, i))
CALL(EnqueueCopyBuffer,
     (cl_command_queue a, cl_mem b, cl_mem c, size_t d, size_t e, size_t f, cl_uint g,
      const cl_event *h, cl_event *i),
     (a, b, c, d, e, f, g, h, i))
CALL(EnqueueFillBuffer,
     (cl_command_queue a, cl_mem b, const void *c, size_t d, size_t e, size_t f, cl_uint g,
      const cl_event *h, cl_event *i),
     (a, b, c, d, e, f, g, h, i))
CALL(Flush, (cl_command_queue a), (a))

/* What was queued ends before a lost device says so: the system's driver would crash at the end of
 * a program under whose feet it still computes. */
SHOWN cl_int clFinish(cl_command_queue a);
SHOWN cl_int clFinish(cl_command_queue a)
{
    cl_int (*call)(cl_command_queue);
    find("clFinish", &call, sizeof call);
    cl_int error = call(a);
    return fails() ? error_of(CL_OUT_OF_RESOURCES) : error;
}
