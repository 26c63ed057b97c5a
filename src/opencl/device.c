/*
 * Opening a device, giving it kernels to run, and its part of the backend's table.
 */
#include "opencl/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opencl/network.h"
#include "opencl/selftest.h"

void sumi_cl_lose(sumi_device *device, sumi_status status, const char *text)
{
    if (device->status != SUMI_OK)
        return;
    device->status = sumi_fail(&device->error, status, "%s (%s): %s", device->facts.id,
                               device->facts.name, text);
}

bool sumi_cl_ok(sumi_device *device, cl_int error, const char *what)
{
    char room[24], text[160];
    if (error != CL_SUCCESS) {
        snprintf(text, sizeof text, "%s failed with %s; the device is given up", what,
                 sumi_cl_error_name(error, room));
        bool memory = error == CL_MEM_OBJECT_ALLOCATION_FAILURE || error == CL_OUT_OF_HOST_MEMORY;
        sumi_cl_lose(device, memory ? SUMI_ENOMEM : SUMI_EIO, text);
    }
    return device->status == SUMI_OK;
}

/* ---- Kernels --------------------------------------------------------------------------------- */

uint32_t sumi_cl_give(sumi_device *device, sumi_cl_launch *launch, const void *memory)
{
    sumi_cl_place place = sumi_cl_at(device, memory);
    launch->memory[launch->count++] = place.memory;
    return (uint32_t)(place.at / sizeof(float));
}

void sumi_cl_run(sumi_device *device, const sumi_cl_launch *launch)
{
    const sumi_cl *cl = &device->cl;
    cl_kernel kernel = device->kernels[launch->kernel];
    cl_uint at = 0;
    cl_int error = CL_SUCCESS;
    if (device->status != SUMI_OK)
        return;
    for (int i = 0; i < launch->count && error == CL_SUCCESS; i++)
        error = cl->SetKernelArg(kernel, at++, sizeof(cl_mem), &launch->memory[i]);
    if (error == CL_SUCCESS)
        error = cl->SetKernelArg(kernel, at++, launch->args_size, launch->args);
    if (error == CL_SUCCESS && launch->local_bytes > 0)
        error = cl->SetKernelArg(kernel, at++, launch->local_bytes, NULL);
    if (error == CL_SUCCESS)
        error = cl->EnqueueNDRangeKernel(device->queue, kernel, 3, NULL, launch->global,
                                         launch->local, 0, NULL, NULL);
    device->runs[launch->kernel]++;
    sumi_cl_ok(device, error, "running a kernel");
}

/* ---- Opening --------------------------------------------------------------------------------- */

static void device_close(sumi_device *device)
{
    if (!device)
        return;
    bool idle = !device->queue || device->cl.Finish(device->queue) == CL_SUCCESS;
    sumi_cl_free(device, device->room.base, device->room.bytes);
    if (idle) /* a device that cannot be waited for may still read what was uploaded */
        sumi_cl_free_stages(device);
    sumi_cl_program_free(device);
    if (device->queue)
        device->cl.ReleaseCommandQueue(device->queue);
    if (device->context)
        device->cl.ReleaseContext(device->context);
    free(device->blocks);
    free(device);
}

/* What bits depend on: device, driver, and the kernels of this build. */
static void name_bits(sumi_device *device)
{
    snprintf(device->title, sizeof device->title, "%s, driver %s", device->facts.name,
             device->facts.driver);
    sumi_sha256 sha;
    char hex[65];
    sumi_sha256_init(&sha);
    sumi_sha256_update(&sha, device->title, strlen(device->title));
    sumi_sha256_update(&sha, SUMI_VERSION, sizeof SUMI_VERSION);
    sumi_sha256_final(&sha, hex);
    snprintf(device->bits, sizeof device->bits, "opencl-%.8s", hex);
}

/* What a driver makes of kernels is looked at before it is used for the first time. */
static sumi_status try_kernels(sumi_device *device, sumi_error *err)
{
    sumi_cl_sums sums;
    sumi_status status = sumi_cl_take_sums(sumi_opencl_backend(), device, &sums, err);
    int wrong = status == SUMI_OK ? sumi_cl_wrong_sum(&sums) : -1;
    if (wrong >= 0)
        return sumi_fail(err, SUMI_EUNSUPPORTED,
                         "%s (%s): its driver (%s) computes wrongly: trial %d of %d gave %g; "
                         "expected another version of it, or --device cpu",
                         device->facts.id, device->facts.name, device->facts.driver, wrong + 1,
                         SUMI_CL_SUMS, sums.sum[wrong]);
    if (status == SUMI_OK)
        sumi_cl_program_keep(device);
    return status;
}

static sumi_status start(sumi_device *device, sumi_error *err)
{
    bool kept;
    cl_int error = CL_SUCCESS;
    char room[24];
    device->context = device->cl.CreateContext(NULL, 1, &device->id, NULL, NULL, &error);
    if (error == CL_SUCCESS)
        device->queue = device->cl.CreateCommandQueue(device->context, device->id, 0, &error);
    if (error != CL_SUCCESS)
        return sumi_fail(err, SUMI_EUNSUPPORTED, "%s (%s) cannot be opened: %s", device->facts.id,
                         device->facts.name, sumi_cl_error_name(error, room));
    sumi_status status = sumi_cl_program(device, &kept, err);
    return status == SUMI_OK && !kept ? try_kernels(device, err) : status;
}

static sumi_status device_open(const sumi_device_config *config, sumi_device **out, sumi_error *err)
{
    sumi_device *device = sumi_calloc(1, sizeof *device);
    if (!device)
        return sumi_fail_memory(err, "a device", sizeof *device);
    device->threads = config->threads > 0 ? config->threads : sumi_cpu_count();
    sumi_status status = sumi_cl_load(&device->cl, err);
    if (status == SUMI_OK)
        status = sumi_cl_find(&device->cl, config->index, &device->id, &device->facts,
                              &device->exact_division, err);
    if (status == SUMI_OK) {
        name_bits(device);
        status = start(device, err);
    }
    if (status != SUMI_OK) {
        device_close(device);
        return status;
    }
    *out = device;
    return SUMI_OK;
}

static const char *device_title(const sumi_device *device)
{
    return device->title;
}

static sumi_status device_status(const sumi_device *device, sumi_error *err)
{
    return device->status == SUMI_OK ? SUMI_OK
                                     : sumi_fail(err, device->status, "%s", device->error.text);
}

static const char *device_bits(const sumi_device *device)
{
    return device->bits;
}

static bool same_bits(const sumi_device *device, const char *isa, sumi_precision precision)
{
    (void)precision;
    return strcmp(device->bits, isa) == 0;
}

static int host_threads(const sumi_device *device)
{
    return device->threads;
}

/* ---- What does not run here ------------------------------------------------------------------ */

static double no_peak(sumi_device *device)
{
    (void)device;
    return 0;
}

static sumi_status no_bandwidth(sumi_device *device, double *bytes_per_s, sumi_error *err)
{
    (void)bytes_per_s;
    return sumi_fail(err, SUMI_EUNSUPPORTED, "%s: its memory's speed is not measured",
                     device->facts.id);
}

const sumi_backend *sumi_opencl_backend(void)
{
    static const sumi_backend backend = {
        .name = "opencl",
        .list = sumi_cl_list,
        .open = device_open,
        .title = device_title,
        .status = device_status,
        .close = device_close,
        .isa = device_bits,
        .same_bits = same_bits,
        .threads = host_threads,
        .ahead = 16,
        .alloc = sumi_cl_alloc,
        .free = sumi_cl_free,
        .mirror = sumi_cl_mirror,
        .unmirror = sumi_cl_unmirror,
        .upload = sumi_cl_upload,
        .download = sumi_cl_download,
        .copy = sumi_cl_copy,
        .spare = sumi_cl_spare,
        .gather = sumi_cl_gather,
        .mix = sumi_cl_mix,
        .update = sumi_cl_update,
        .orthogonaliser_create = sumi_cl_orthogonaliser_create,
        .orthogonaliser_free = sumi_cl_orthogonaliser_free,
        .orthogonalise = sumi_cl_orthogonalise,
        .limit = sumi_cl_limit,
        .blend = sumi_cl_blend,
        .measure_error = sumi_cl_measure,
        .finite = sumi_cl_finite,
        .ledger_create = sumi_cl_ledger_create,
        .ledger_free = sumi_cl_ledger_free,
        .ledger_begin = sumi_cl_ledger_begin,
        .ledger_take = sumi_cl_ledger_take,
        .ledger_clip = sumi_cl_ledger_clip,
        .ledger_read = sumi_cl_ledger_read,
        .network_create = sumi_cl_network_create,
        .network_free = sumi_cl_network_free,
        .weights_changed = sumi_cl_weights_changed,
        .predict = sumi_cl_predict,
        .gradients = sumi_cl_gradients,
        .loss = sumi_cl_loss,
        .statistics_finite = sumi_cl_statistics_finite,
        .update_statistics = sumi_cl_update_statistics,
        .profile = sumi_cl_profile,
        .network_bytes = sumi_cl_network_bytes,
        .node_macs = sumi_cl_node_macs,
        .node_bytes = sumi_cl_node_bytes,
        .describe = sumi_cl_describe,
        .measure_peak = no_peak,
        .measure_bandwidth = no_bandwidth,
    };
    return &backend;
}
