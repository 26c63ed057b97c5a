/*
 * The backend's table: a device is a thread pool and a table of kernels, and its memory is pages of
 * the host.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/elementwise.h"
#include "cpu/network.h"

struct sumi_device {
    sumi_pool *pool;
    const sumi_kernels *kernels;
};

static void device_close(sumi_device *device)
{
    if (!device)
        return;
    sumi_pool_free(device->pool);
    free(device);
}

static int device_list(sumi_device_facts *out, int most, sumi_error *err)
{
    (void)err;
    if (most < 1)
        return 1;
    *out = (sumi_device_facts){
        .id = "cpu", .kind = "CPU", .units = sumi_cpu_count(), .doubles = true, .usable = true};
    if (!sumi_cpu_name(out->name, sizeof out->name))
        snprintf(out->name, sizeof out->name, "CPU");
    return 1;
}

static sumi_status device_open(const sumi_device_config *config, sumi_device **out, sumi_error *err)
{
    int threads = config->threads;
    const sumi_kernels *kernels = sumi_kernels_pick(config->isa);
    if (!kernels)
        return sumi_fail(err, SUMI_EUNSUPPORTED,
                         "instruction set '%s' is unknown or this CPU lacks it; try generic",
                         config->isa);
    sumi_device *device = sumi_calloc(1, sizeof *device);
    if (!device)
        return sumi_fail_memory(err, "a device", sizeof *device);
    device->kernels = kernels;
    sumi_status status =
        sumi_pool_create(threads > 0 ? threads : sumi_cpu_count(), &device->pool, err);
    if (status != SUMI_OK) {
        free(device);
        return status;
    }
    *out = device;
    return SUMI_OK;
}

sumi_pool *sumi_cpu_pool(const sumi_device *device)
{
    return device->pool;
}

const sumi_kernels *sumi_cpu_kernels(const sumi_device *device)
{
    return device->kernels;
}

static const char *device_title(const sumi_device *device)
{
    (void)device;
    return "cpu";
}

/* A CPU's calls do not fail. */
static sumi_status device_status(const sumi_device *device, sumi_error *err)
{
    (void)device;
    (void)err;
    return SUMI_OK;
}

static const char *device_isa(const sumi_device *device)
{
    return device->kernels->name;
}

/* What a plan asks for in a precision is in op_conv.c. */
static bool device_same_bits(const sumi_device *device, const char *isa, sumi_precision precision)
{
    return sumi_kernels_same_bits(device->kernels->name, isa, precision == SUMI_PRECISION_BF16,
                                  precision != SUMI_PRECISION_FP32);
}

static int device_threads(const sumi_device *device)
{
    return sumi_pool_threads(device->pool);
}

static void *memory_alloc(sumi_device *device, size_t bytes)
{
    (void)device;
    return sumi_pages_alloc(bytes);
}

static void memory_free(sumi_device *device, void *memory, size_t bytes)
{
    (void)device;
    sumi_pages_free(memory, bytes);
}

/* The host's memory is the device's. */
static void *memory_mirror(sumi_device *device, void *host, size_t bytes)
{
    (void)device;
    (void)bytes;
    return host;
}

static void memory_unmirror(sumi_device *device, void *memory, void *host, size_t bytes)
{
    (void)device;
    (void)memory;
    (void)host;
    (void)bytes;
}

static void memory_copy(sumi_device *device, void *to, const void *from, size_t bytes)
{
    (void)device;
    if (to != from && bytes > 0)
        memcpy(to, from, bytes);
}

/* Batches are filled on a thread of their own, in memory that is this device's. */
static uint64_t memory_spare(const sumi_device *device)
{
    (void)device;
    return 0;
}

static void device_gather(sumi_device *device, const sumi_gathering *work)
{
    (void)device;
    sumi_elementwise_gather(work);
}

static void device_mix(sumi_device *device, const sumi_mixing *work)
{
    sumi_elementwise_mix(device->pool, work);
}

static void device_update(sumi_device *device, const sumi_update *update)
{
    if (!sumi_ledger_closed(update->ledger))
        sumi_elementwise_update(device->pool, device->kernels, update);
}

static void orthogonalise(sumi_orthogonaliser *orthogonaliser, const sumi_ledger *ledger,
                          double momentum, float *gradients, float *moments)
{
    if (!sumi_ledger_closed(ledger))
        sumi_orthogonalise(orthogonaliser, momentum, gradients, moments);
}

static sumi_status orthogonaliser_create(sumi_device *device, const sumi_matrix *matrices,
                                         int count, sumi_orthogonaliser **out, sumi_error *err)
{
    return sumi_orthogonaliser_create(device->pool, device->kernels, matrices, count, out, err);
}

static void device_limit(sumi_device *device, const sumi_limits *limits, int n, size_t count,
                         float *x)
{
    sumi_elementwise_limit(device->pool, limits, n, count, x);
}

static void device_blend(sumi_device *device, const float *mask, const float *other, size_t count,
                         float *x)
{
    sumi_elementwise_blend(device->pool, mask, other, count, x);
}

static void device_measure_error(sumi_device *device, const sumi_tolerance *tolerance, int n,
                                 size_t count, const float *error, const float *a, const float *b,
                                 double *out)
{
    sumi_elementwise_measure(device->pool, tolerance, n, count, error, a, b, out);
}

static bool device_finite(sumi_device *device, const float *x, size_t count)
{
    return sumi_elementwise_finite(device->pool, device->kernels, x, count);
}

static sumi_status ledger_create(sumi_device *device, int steps, sumi_ledger **out, sumi_error *err)
{
    return sumi_ledger_create(device->pool, device->kernels, steps, out, err);
}

static double measure_peak(sumi_device *device)
{
    return sumi_cpu_measure_peak(device->pool, device->kernels);
}

static sumi_status measure_bandwidth(sumi_device *device, double *bytes_per_s, sumi_error *err)
{
    return sumi_cpu_measure_bandwidth(device->pool, bytes_per_s, err);
}

static sumi_status network_create(sumi_device *device, const sumi_graph *graph,
                                  const sumi_weights *weights, const sumi_plan_config *config,
                                  sumi_network **out, sumi_error *err)
{
    sumi_status status =
        sumi_network_create(graph, device->kernels, device->pool, config, out, err);
    if (status == SUMI_OK)
        (*out)->weights = *weights;
    return status;
}

static void network_gradients(sumi_network *network, const sumi_inputs *in, int n, float *gradients)
{
    (void)sumi_network_gradients(network, in, n, gradients);
}

static void update_statistics(sumi_network *network, const sumi_ledger *ledger, float *statistics)
{
    if (!sumi_ledger_closed(ledger))
        sumi_network_update_statistics(network, statistics);
}

const sumi_backend *sumi_cpu_backend(void)
{
    static const sumi_backend backend = {
        .name = "cpu",
        .list = device_list,
        .open = device_open,
        .title = device_title,
        .status = device_status,
        .close = device_close,
        .isa = device_isa,
        .same_bits = device_same_bits,
        .threads = device_threads,
        .ahead = 1,
        .alloc = memory_alloc,
        .free = memory_free,
        .mirror = memory_mirror,
        .unmirror = memory_unmirror,
        .upload = memory_copy,
        .download = memory_copy,
        .copy = memory_copy,
        .spare = memory_spare,
        .gather = device_gather,
        .mix = device_mix,
        .update = device_update,
        .orthogonaliser_create = orthogonaliser_create,
        .orthogonaliser_free = sumi_orthogonaliser_free,
        .orthogonalise = orthogonalise,
        .limit = device_limit,
        .blend = device_blend,
        .measure_error = device_measure_error,
        .finite = device_finite,
        .ledger_create = ledger_create,
        .ledger_free = sumi_ledger_free,
        .ledger_begin = sumi_ledger_begin,
        .ledger_take = sumi_ledger_take,
        .ledger_clip = sumi_ledger_clip,
        .ledger_read = sumi_ledger_read,
        .network_create = network_create,
        .network_free = sumi_network_free,
        .weights_changed = sumi_network_weights_changed,
        .predict = sumi_network_predict,
        .gradients = network_gradients,
        .loss = sumi_network_loss,
        .statistics_finite = sumi_network_statistics_finite,
        .update_statistics = update_statistics,
        .profile = sumi_network_profile,
        .network_bytes = sumi_network_bytes,
        .node_macs = sumi_node_macs,
        .node_bytes = sumi_node_bytes,
        .describe = sumi_network_describe,
        .measure_peak = measure_peak,
        .measure_bandwidth = measure_bandwidth,
    };
    return &backend;
}
