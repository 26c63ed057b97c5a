/*
 * A backend's table that counts its calls, and whose memory nobody can touch: what it gives out are
 * addresses of pages without access, which stand for other memory that only the table knows. It
 * computes on the CPU.
 */
#ifndef SUMI_RECORDER_H
#define SUMI_RECORDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "cpu/cpu.h"

enum { N = 4, SIDE = 8, PIXELS = SIDE * SIDE, BLOCKS = 256 };

typedef struct {
    char *given, *real;
    size_t bytes;
    const void *host; /* what it mirrors, or NULL */
} block;

typedef struct {
    int opened, created, predicted, trained, checked, renewed, mixed, scanned, moved, limited,
        blended, measured, turned, squared, read, gathered;
    uint64_t spare;
    block blocks[BLOCKS];
    int block_count;
} recording;

static recording seen;

/* ---- Memory ---------------------------------------------------------------------------------- */

static void *give_block(sumi_device *device, size_t bytes, const void *host)
{
    void *given = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(given, MAP_FAILED);
    assert_true(seen.block_count < BLOCKS);
    block *made = &seen.blocks[seen.block_count++];
    *made = (block){given, sumi_cpu_backend()->alloc(device, bytes), bytes, host};
    if (host)
        memset(made->real, 0xff, bytes); /* begins undefined */
    return given;
}

static void take_block(sumi_device *device, void *memory, size_t bytes, const void *host)
{
    for (int i = 0; memory && i < seen.block_count; i++)
        if (seen.blocks[i].given == memory) {
            assert_int_equal(seen.blocks[i].bytes, bytes);
            assert_ptr_equal(seen.blocks[i].host, host);
            sumi_cpu_backend()->free(device, seen.blocks[i].real, bytes);
            munmap(memory, bytes);
            seen.blocks[i] = seen.blocks[--seen.block_count];
            return;
        }
    assert_null(memory);
}

/* What bytes at an address that was given out stand for. */
static void *behind(const void *memory, size_t bytes)
{
    const char *begin = memory;
    for (int i = 0; i < seen.block_count; i++) {
        const block *b = &seen.blocks[i];
        if (begin >= b->given && begin + bytes <= b->given + b->bytes)
            return b->real + (begin - b->given);
    }
    if (memory)
        fail_msg("a backend is handed memory that it did not give out");
    return NULL;
}

static void *record_alloc(sumi_device *device, size_t bytes)
{
    return give_block(device, bytes, NULL);
}

static void record_free(sumi_device *device, void *memory, size_t bytes)
{
    take_block(device, memory, bytes, NULL);
}

static void *record_mirror(sumi_device *device, void *host, size_t bytes)
{
    return give_block(device, bytes, host);
}

static void record_unmirror(sumi_device *device, void *memory, void *host, size_t bytes)
{
    take_block(device, memory, bytes, host);
}

static void record_upload(sumi_device *device, void *to, const void *from, size_t bytes)
{
    sumi_cpu_backend()->upload(device, behind(to, bytes), from, bytes);
}

static void record_download(sumi_device *device, void *to, const void *from, size_t bytes)
{
    seen.read++;
    sumi_cpu_backend()->download(device, to, behind(from, bytes), bytes);
}

static void record_copy(sumi_device *device, void *to, const void *from, size_t bytes)
{
    sumi_cpu_backend()->copy(device, behind(to, bytes), behind(from, bytes), bytes);
}

/* ---- Elementwise ----------------------------------------------------------------------------- */

static uint64_t record_spare(const sumi_device *device)
{
    (void)device;
    return seen.spare;
}

static void record_gather(sumi_device *device, const sumi_gathering *work)
{
    sumi_gathering real = *work;
    size_t floats = (size_t)(work->n * work->h * work->w * work->c);
    seen.gathered++;
    real.images = behind(work->images, 1);
    real.picks = behind(work->picks, (size_t)work->n * sizeof *work->picks);
    real.values = behind(work->values, (size_t)work->c * 256 * sizeof(float));
    real.out = behind(work->out, floats * sizeof(float));
    sumi_cpu_backend()->gather(device, &real);
}

static void record_mix(sumi_device *device, const sumi_mixing *work)
{
    size_t bytes = (size_t)work->n * work->count * sizeof(float);
    sumi_mixing real = *work;
    seen.mixed++;
    real.out = behind(work->out, bytes);
    real.copy = behind(work->copy, bytes);
    real.given_noise = behind(work->given_noise, bytes);
    for (int i = 0; i < work->sources; i++)
        real.source[i] = behind(work->source[i], bytes);
    sumi_cpu_backend()->mix(device, &real);
}

static void record_update(sumi_device *device, const sumi_update *update)
{
    size_t bytes = update->count * sizeof(float);
    sumi_update real = *update;
    seen.moved++;
    real.weights = behind(update->weights, bytes);
    real.gradients = behind(update->gradients, bytes);
    for (int i = 0; i < SUMI_STATES_MAX; i++)
        real.state[i] = behind(update->state[i], bytes);
    for (int i = 0; i < update->averages; i++)
        real.average[i] = behind(update->average[i], bytes);
    sumi_cpu_backend()->update(device, &real);
}

static sumi_status record_orthogonaliser(sumi_device *device, const sumi_matrix *matrices,
                                         int count, sumi_orthogonaliser **out, sumi_error *err)
{
    seen.created++;
    return sumi_cpu_backend()->orthogonaliser_create(device, matrices, count, out, err);
}

static void record_orthogonaliser_free(sumi_orthogonaliser *orthogonaliser)
{
    seen.created -= orthogonaliser != NULL;
    sumi_cpu_backend()->orthogonaliser_free(orthogonaliser);
}

static void record_orthogonalise(sumi_orthogonaliser *orthogonaliser, const sumi_ledger *ledger,
                                 double momentum, float *gradients, float *moments)
{
    seen.turned++;
    sumi_cpu_backend()->orthogonalise(orthogonaliser, ledger, momentum,
                                      behind(gradients, sizeof(float)),
                                      behind(moments, sizeof(float)));
}

static void record_limit(sumi_device *device, const sumi_limits *limits, int n, size_t count,
                         float *x)
{
    seen.limited++;
    sumi_cpu_backend()->limit(device, limits, n, count, behind(x, (size_t)n * count * sizeof *x));
}

static void record_blend(sumi_device *device, const float *mask, const float *other, size_t count,
                         float *x)
{
    size_t bytes = count * sizeof *x;
    seen.blended++;
    sumi_cpu_backend()->blend(device, behind(mask, bytes), behind(other, bytes), count,
                              behind(x, bytes));
}

static void record_measure(sumi_device *device, const sumi_tolerance *tolerance, int n,
                           size_t count, const float *error, const float *a, const float *b,
                           double *out)
{
    size_t bytes = (size_t)n * count * sizeof *a;
    seen.measured++;
    sumi_cpu_backend()->measure_error(device, tolerance, n, count, behind(error, bytes),
                                      behind(a, bytes), behind(b, bytes), out);
}

static bool record_scan(sumi_device *device, const float *x, size_t count)
{
    seen.scanned++;
    seen.read++;
    return sumi_cpu_backend()->finite(device, behind(x, count * sizeof *x), count);
}

/* ---- Ledgers --------------------------------------------------------------------------------- */

static sumi_status record_ledger(sumi_device *device, int steps, sumi_ledger **out, sumi_error *err)
{
    seen.created++;
    return sumi_cpu_backend()->ledger_create(device, steps, out, err);
}

static void record_ledger_free(sumi_ledger *ledger)
{
    seen.created -= ledger != NULL;
    sumi_cpu_backend()->ledger_free(ledger);
}

static void record_take(sumi_ledger *ledger, sumi_network *network, double share,
                        const float *gradients, size_t count)
{
    seen.checked++;
    sumi_cpu_backend()->ledger_take(ledger, network, share,
                                    behind(gradients, count * sizeof *gradients), count);
}

static void record_clip(sumi_ledger *ledger, double most, float *gradients, size_t count)
{
    seen.squared++;
    sumi_cpu_backend()->ledger_clip(ledger, most, behind(gradients, count * sizeof *gradients),
                                    count);
}

static void record_read(const sumi_ledger *ledger, int steps, sumi_entry *out)
{
    seen.read++;
    sumi_cpu_backend()->ledger_read(ledger, steps, out);
}

/* ---- Networks -------------------------------------------------------------------------------- */

static sumi_status record_open(const sumi_device_config *config, sumi_device **out, sumi_error *err)
{
    seen.opened++;
    return sumi_cpu_backend()->open(config, out, err);
}

static void record_close(sumi_device *device)
{
    seen.opened--;
    sumi_cpu_backend()->close(device);
}

static sumi_status record_create(sumi_device *device, const sumi_graph *graph,
                                 const sumi_weights *weights, const sumi_plan_config *config,
                                 sumi_network **out, sumi_error *err)
{
    const sumi_params *params = &graph->params;
    const sumi_weights real = {
        behind(weights->values, params->value_count * sizeof(float)),
        behind(weights->statistics, params->statistic_count * sizeof(float)),
    };
    seen.created++;
    return sumi_cpu_backend()->network_create(device, graph, &real, config, out, err);
}

static void record_network_free(sumi_network *network)
{
    seen.created -= network != NULL;
    sumi_cpu_backend()->network_free(network);
}

static void record_weights_changed(sumi_network *network)
{
    seen.renewed++;
    sumi_cpu_backend()->weights_changed(network);
}

static sumi_inputs real_inputs(const sumi_inputs *in, int n)
{
    size_t each = (size_t)n * sizeof(float);
    return (sumi_inputs){.image = behind(in->image, each * PIXELS),
                         .time = behind(in->time, each),
                         .labels = behind(in->labels, each),
                         .target = behind(in->target, each * PIXELS),
                         .weight = behind(in->weight, each)};
}

static void record_predict(sumi_network *network, const sumi_inputs *in, int n, float *const *out)
{
    const sumi_inputs real = real_inputs(in, n);
    float *real_out = behind(*out, (size_t)n * PIXELS * sizeof(float));
    seen.predicted++;
    sumi_cpu_backend()->predict(network, &real, n, &real_out);
}

static void record_gradients(sumi_network *network, const sumi_inputs *in, int n, float *gradients)
{
    const sumi_inputs real = real_inputs(in, n);
    seen.trained++;
    sumi_cpu_backend()->gradients(network, &real, n, behind(gradients, sizeof(float)));
}

static void record_statistics(sumi_network *network, const sumi_ledger *ledger, float *statistics)
{
    sumi_cpu_backend()->update_statistics(network, ledger, behind(statistics, sizeof(float)));
}

/* What makes a host wait for a device. */
static double record_loss(const sumi_network *network)
{
    seen.read++;
    return sumi_cpu_backend()->loss(network);
}

static bool record_finite(const sumi_network *network)
{
    seen.read++;
    return sumi_cpu_backend()->statistics_finite(network);
}

static sumi_backend recorder(void)
{
    sumi_backend backend = *sumi_cpu_backend();
    backend.name = "recorder";
    backend.open = record_open;
    backend.close = record_close;
    backend.alloc = record_alloc;
    backend.free = record_free;
    backend.mirror = record_mirror;
    backend.unmirror = record_unmirror;
    backend.upload = record_upload;
    backend.download = record_download;
    backend.copy = record_copy;
    backend.spare = record_spare;
    backend.gather = record_gather;
    backend.mix = record_mix;
    backend.update = record_update;
    backend.orthogonaliser_create = record_orthogonaliser;
    backend.orthogonaliser_free = record_orthogonaliser_free;
    backend.orthogonalise = record_orthogonalise;
    backend.limit = record_limit;
    backend.blend = record_blend;
    backend.measure_error = record_measure;
    backend.finite = record_scan;
    backend.ledger_create = record_ledger;
    backend.ledger_free = record_ledger_free;
    backend.ledger_take = record_take;
    backend.ledger_clip = record_clip;
    backend.ledger_read = record_read;
    backend.network_create = record_create;
    backend.network_free = record_network_free;
    backend.weights_changed = record_weights_changed;
    backend.predict = record_predict;
    backend.gradients = record_gradients;
    backend.update_statistics = record_statistics;
    backend.statistics_finite = record_finite;
    backend.loss = record_loss;
    return backend;
}

#endif
