/*
 * What devices there are: those of all platforms in the order in which the loader tells them, which
 * are counted through from 0.
 */
#include "opencl/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLATFORMS_MAX = 16, DEVICES_MAX = 64 };

/* What a device is asked, and the first error that came of it: what bits depend on is never taken
 * for absent because a question failed. */
typedef struct {
    const sumi_cl *cl;
    cl_device_id id;
    cl_int error;
} asking;

static bool ask(asking *of, cl_uint what, size_t size, void *out, size_t *length)
{
    cl_int error = of->cl->GetDeviceInfo(of->id, what, size, out, length);
    if (error != CL_SUCCESS && of->error == CL_SUCCESS)
        of->error = error;
    return error == CL_SUCCESS;
}

static uint64_t number(asking *of, cl_uint what)
{
    uint64_t wide = 0; /* some are of 4 bytes, in little-endian order */
    return ask(of, what, sizeof wide, &wide, NULL) ? wide : 0;
}

/* Without blanks at its ends, which some drivers have. */
static void text(asking *of, cl_uint what, char *out, size_t size)
{
    char raw[4096] = "";
    if (!ask(of, what, sizeof raw - 1, raw, NULL))
        raw[0] = '\0';
    const char *begin = raw + strspn(raw, " ");
    size_t length = strlen(begin);
    while (length > 0 && begin[length - 1] == ' ')
        length--;
    raw[(size_t)(begin - raw) + length] = '\0';
    sumi_clean_text(out, size, begin);
}

/* Some drivers have a list of many thousand bytes. */
static bool has_extension(asking *of, const char *name)
{
    size_t length = 0;
    if (!ask(of, CL_DEVICE_EXTENSIONS, 0, NULL, &length))
        return false;
    char *all = sumi_calloc(length + 1, 1);
    if (!all)
        of->error = of->error == CL_SUCCESS ? CL_OUT_OF_HOST_MEMORY : of->error;
    bool has = all && ask(of, CL_DEVICE_EXTENSIONS, length, all, NULL) && strstr(all, name);
    free(all);
    return has;
}

/* "OpenCL 1.2 ..." or later: versions have one digit on each side. */
static bool is_new(const char *version)
{
    if (strncmp(version, "OpenCL ", 7) != 0)
        return false;
    const char *digits = version + 7;
    return digits[0] > '1' || (digits[0] == '1' && digits[1] == '.' && digits[2] >= '2');
}

/* Returns the first error of what it was asked, CL_SUCCESS where there was none. */
static cl_int tell(const sumi_cl *cl, cl_device_id id, int index, sumi_device_facts *out,
                   bool *divides_exactly)
{
    asking of = {cl, id, CL_SUCCESS};
    char version[96];
    uint64_t type = number(&of, CL_DEVICE_TYPE);
    *out = (sumi_device_facts){
        .memory = number(&of, CL_DEVICE_GLOBAL_MEM_SIZE),
        .largest = number(&of, CL_DEVICE_MAX_MEM_ALLOC_SIZE),
        .units = (int)number(&of, CL_DEVICE_MAX_COMPUTE_UNITS),
        .megahertz = (int)number(&of, CL_DEVICE_MAX_CLOCK_FREQUENCY),
        .local_bytes = number(&of, CL_DEVICE_LOCAL_MEM_SIZE),
        .group = number(&of, CL_DEVICE_MAX_WORK_GROUP_SIZE),
        .is_gpu = type & CL_DEVICE_TYPE_GPU,
        .doubles = has_extension(&of, "cl_khr_fp64"),
        .halves = has_extension(&of, "cl_khr_fp16"),
    };
    snprintf(out->id, sizeof out->id, "opencl:%d", index);
    snprintf(out->kind, sizeof out->kind, "%s",
             type & CL_DEVICE_TYPE_GPU           ? "GPU"
             : type & CL_DEVICE_TYPE_CPU         ? "CPU"
             : type & CL_DEVICE_TYPE_ACCELERATOR ? "accelerator"
                                                 : "device");
    text(&of, CL_DEVICE_NAME, out->name, sizeof out->name);
    text(&of, CL_DEVICE_VENDOR, out->vendor, sizeof out->vendor);
    text(&of, CL_DEVICE_VERSION, version, sizeof version);
    text(&of, CL_DRIVER_VERSION, out->driver, sizeof out->driver);
    *divides_exactly =
        number(&of, CL_DEVICE_SINGLE_FP_CONFIG) & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT;
    out->usable = type != 0 && is_new(version) && number(&of, CL_DEVICE_AVAILABLE) &&
                  number(&of, CL_DEVICE_COMPILER_AVAILABLE) &&
                  number(&of, CL_DEVICE_ENDIAN_LITTLE) && out->group >= SUMI_CL_GROUP &&
                  out->local_bytes >= SUMI_CL_LOCAL_BYTES;
    /* Bits depend on what it is: one that does not tell is not used. */
    out->usable = out->usable && of.error == CL_SUCCESS;
    return of.error;
}

/* Of all platforms; returns how many. *error: of the first platform that does not tell; one that
 * has no devices says so. */
static int collect(const sumi_cl *cl, cl_device_id ids[DEVICES_MAX], cl_int *error)
{
    cl_platform_id platforms[PLATFORMS_MAX];
    cl_uint platform_count = 0;
    int count = 0;
    *error = cl->GetPlatformIDs(PLATFORMS_MAX, platforms, &platform_count);
    if (*error == CL_PLATFORM_NOT_FOUND)
        *error = CL_SUCCESS;
    for (cl_uint i = 0; i < platform_count && i < PLATFORMS_MAX && count < DEVICES_MAX; i++) {
        cl_uint found = 0, most = (cl_uint)(DEVICES_MAX - count);
        cl_int said = cl->GetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, most, ids + count, &found);
        if (said == CL_SUCCESS)
            count += (int)(found < most ? found : most);
        else if (said != CL_DEVICE_NOT_FOUND && *error == CL_SUCCESS)
            *error = said;
    }
    return count;
}

static sumi_status fail_list(cl_int error, sumi_error *err)
{
    char room[24];
    return sumi_fail(err, SUMI_EUNSUPPORTED,
                     "OpenCL is here, but a driver does not say which devices it has: it failed "
                     "with %s",
                     sumi_cl_error_name(error, room));
}

int sumi_cl_list(sumi_device_facts *out, int most, sumi_error *err)
{
    sumi_cl cl;
    cl_device_id ids[DEVICES_MAX];
    cl_int error;
    bool exact;
    if (sumi_cl_load(&cl, err) != SUMI_OK)
        return 0;
    int count = collect(&cl, ids, &error);
    if (count == 0 && error != CL_SUCCESS)
        fail_list(error, err);
    else if (count == 0)
        sumi_fail(
            err, SUMI_EUNSUPPORTED,
            "OpenCL is here, but none of its drivers has a device (no /etc/OpenCL/vendors, or "
            "no right to use it)");
    for (int i = 0; i < count && i < most; i++)
        tell(&cl, ids[i], i, &out[i], &exact);
    return count;
}

sumi_status sumi_cl_find(const sumi_cl *cl, int index, cl_device_id *id, sumi_device_facts *facts,
                         bool *divides_exactly, sumi_error *err)
{
    cl_device_id ids[DEVICES_MAX];
    cl_int error;
    char room[24];
    int count = collect(cl, ids, &error);
    /* Devices are counted through: a driver that does not tell of its own moves the others. */
    if (error != CL_SUCCESS)
        return fail_list(error, err);
    if (index < 0 || index >= count)
        return sumi_fail(err, SUMI_EUNSUPPORTED, "there is no device opencl:%d", index);
    *id = ids[index];
    error = tell(cl, *id, index, facts, divides_exactly);
    if (error != CL_SUCCESS)
        return sumi_fail(err, SUMI_EUNSUPPORTED,
                         "%s (%s) cannot be used: its driver does not say what it can do: it "
                         "failed with %s",
                         facts->id, facts->name[0] ? facts->name : "no name",
                         sumi_cl_error_name(error, room));
    if (!facts->usable)
        return sumi_fail(err, SUMI_EUNSUPPORTED,
                         "%s (%s) cannot be used: expected a device that is free, with a compiler "
                         "of OpenCL 1.2, groups of %d work items and %d KiB of local memory",
                         facts->id, facts->name, SUMI_CL_GROUP, SUMI_CL_LOCAL_BYTES / 1024);
    return SUMI_OK;
}
