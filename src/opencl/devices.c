/*
 * What devices there are: those of all platforms in the order in which the loader tells them, which
 * are counted through from 0.
 */
#include "opencl/device.h"

#include <stdio.h>
#include <string.h>

enum { PLATFORMS_MAX = 16, DEVICES_MAX = 64 };

static uint64_t number(const sumi_cl *cl, cl_device_id id, cl_uint what)
{
    uint64_t wide = 0; /* some are of 4 bytes, in little-endian order */
    return cl->GetDeviceInfo(id, what, sizeof wide, &wide, NULL) == CL_SUCCESS ? wide : 0;
}

/* Without blanks at its ends, which some drivers have. */
static void text(const sumi_cl *cl, cl_device_id id, cl_uint what, char *out, size_t size)
{
    char raw[4096] = "";
    if (cl->GetDeviceInfo(id, what, sizeof raw - 1, raw, NULL) != CL_SUCCESS)
        raw[0] = '\0';
    const char *begin = raw + strspn(raw, " ");
    size_t length = strlen(begin);
    while (length > 0 && begin[length - 1] == ' ')
        length--;
    raw[(size_t)(begin - raw) + length] = '\0';
    sumi_clean_text(out, size, begin);
}

static bool has_extension(const sumi_cl *cl, cl_device_id id, const char *name)
{
    char all[4096] = "";
    if (cl->GetDeviceInfo(id, CL_DEVICE_EXTENSIONS, sizeof all - 1, all, NULL) != CL_SUCCESS)
        return false;
    return strstr(all, name) != NULL;
}

bool sumi_cl_divides_exactly(const sumi_cl *cl, cl_device_id id)
{
    return number(cl, id, CL_DEVICE_SINGLE_FP_CONFIG) & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT;
}

/* "OpenCL 1.2 ..." or later: versions have one digit on each side. */
static bool is_new(const char *version)
{
    if (strncmp(version, "OpenCL ", 7) != 0)
        return false;
    const char *digits = version + 7;
    return digits[0] > '1' || (digits[0] == '1' && digits[1] == '.' && digits[2] >= '2');
}

static void tell(const sumi_cl *cl, cl_device_id id, int index, sumi_device_facts *out)
{
    char version[96];
    uint64_t type = number(cl, id, CL_DEVICE_TYPE);
    *out = (sumi_device_facts){
        .memory = number(cl, id, CL_DEVICE_GLOBAL_MEM_SIZE),
        .largest = number(cl, id, CL_DEVICE_MAX_MEM_ALLOC_SIZE),
        .units = (int)number(cl, id, CL_DEVICE_MAX_COMPUTE_UNITS),
        .megahertz = (int)number(cl, id, CL_DEVICE_MAX_CLOCK_FREQUENCY),
        .local_bytes = number(cl, id, CL_DEVICE_LOCAL_MEM_SIZE),
        .group = number(cl, id, CL_DEVICE_MAX_WORK_GROUP_SIZE),
        .is_gpu = type & CL_DEVICE_TYPE_GPU,
        .doubles = has_extension(cl, id, "cl_khr_fp64"),
        .halves = has_extension(cl, id, "cl_khr_fp16"),
    };
    snprintf(out->id, sizeof out->id, "opencl:%d", index);
    snprintf(out->kind, sizeof out->kind, "%s",
             type & CL_DEVICE_TYPE_GPU           ? "GPU"
             : type & CL_DEVICE_TYPE_CPU         ? "CPU"
             : type & CL_DEVICE_TYPE_ACCELERATOR ? "accelerator"
                                                 : "device");
    text(cl, id, CL_DEVICE_NAME, out->name, sizeof out->name);
    text(cl, id, CL_DEVICE_VENDOR, out->vendor, sizeof out->vendor);
    text(cl, id, CL_DEVICE_VERSION, version, sizeof version);
    text(cl, id, CL_DRIVER_VERSION, out->driver, sizeof out->driver);
    /* Bits depend on what it is: one that does not tell is not used. */
    out->usable = type != 0 && is_new(version) && number(cl, id, CL_DEVICE_AVAILABLE) &&
                  number(cl, id, CL_DEVICE_COMPILER_AVAILABLE) &&
                  number(cl, id, CL_DEVICE_ENDIAN_LITTLE) && out->group >= SUMI_CL_GROUP &&
                  out->local_bytes >= SUMI_CL_LOCAL_BYTES;
}

/* Of all platforms; returns how many. */
static int collect(const sumi_cl *cl, cl_device_id ids[DEVICES_MAX])
{
    cl_platform_id platforms[PLATFORMS_MAX];
    cl_uint platform_count = 0;
    int count = 0;
    if (cl->GetPlatformIDs(PLATFORMS_MAX, platforms, &platform_count) != CL_SUCCESS)
        return 0;
    for (cl_uint i = 0; i < platform_count && i < PLATFORMS_MAX && count < DEVICES_MAX; i++) {
        cl_uint found = 0, most = (cl_uint)(DEVICES_MAX - count);
        if (cl->GetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, most, ids + count, &found) ==
            CL_SUCCESS)
            count += (int)(found < most ? found : most);
    }
    return count;
}

int sumi_cl_list(sumi_device_facts *out, int most, sumi_error *err)
{
    sumi_cl cl;
    cl_device_id ids[DEVICES_MAX];
    if (sumi_cl_load(&cl, err) != SUMI_OK)
        return 0;
    int count = collect(&cl, ids);
    if (count == 0)
        sumi_fail(
            err, SUMI_EUNSUPPORTED,
            "OpenCL is here, but none of its drivers has a device (no /etc/OpenCL/vendors, or "
            "no right to use it)");
    for (int i = 0; i < count && i < most; i++)
        tell(&cl, ids[i], i, &out[i]);
    return count;
}

sumi_status sumi_cl_find(const sumi_cl *cl, int index, cl_device_id *id, sumi_device_facts *facts,
                         sumi_error *err)
{
    cl_device_id ids[DEVICES_MAX];
    int count = collect(cl, ids);
    if (index < 0 || index >= count)
        return sumi_fail(err, SUMI_EUNSUPPORTED, "there is no device opencl:%d", index);
    *id = ids[index];
    tell(cl, *id, index, facts);
    if (!facts->usable)
        return sumi_fail(err, SUMI_EUNSUPPORTED,
                         "%s (%s) cannot be used: expected a device that is free, with a compiler "
                         "of OpenCL 1.2, groups of %d work items and %d KiB of local memory",
                         facts->id, facts->name, SUMI_CL_GROUP, SUMI_CL_LOCAL_BYTES / 1024);
    return SUMI_OK;
}
