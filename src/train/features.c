/*
 * Running a classifier: bytes to floats, the network in eval mode, and of its logits the softmax.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/classify.h"

/* The host's threads each take chunks of their own, whose tensors then stay in that core's cache,
 * and nobody waits for another: 1.4 times as fast as all threads at one chunk. What has a memory of
 * its own takes one large chunk after the other. */
enum { CHUNK_MAX = 256, HOST_PIXELS = 8 * 32 * 32, DEVICE_PIXELS = CHUNK_MAX * 32 * 32 };

/* ---- Where images come from ------------------------------------------------------------------ */

static void read_array(const void *from, int64_t index, uint8_t *pixels)
{
    const sumi_image_array *array = from;
    memcpy(pixels, array->pixels + (size_t)index * array->image_bytes, array->image_bytes);
}

sumi_image_source sumi_source_of_array(const sumi_image_array *array, int64_t count)
{
    return (sumi_image_source){read_array, array, count};
}

static void read_set(const void *from, int64_t index, uint8_t *pixels)
{
    sumi_data_read_bytes(from, index, pixels);
}

sumi_image_source sumi_source_of_set(const sumi_dataset *set)
{
    return (sumi_image_source){read_set, set, set->count};
}

sumi_status sumi_classify_check(const sumi_classifier *classifier, const char *what, int height,
                                int width, int channels, sumi_error *err)
{
    const sumi_classifier_info_t *info = &classifier->info;
    if (height == info->height && width == info->width && channels == info->channels)
        return SUMI_OK;
    return sumi_fail(err, SUMI_ESHAPE, "%s: images of %dx%dx%d, the evaluator takes %dx%dx%d", what,
                     height, width, channels, info->height, info->width, info->channels);
}

void sumi_classify_pad(const sumi_classifier *classifier, const uint8_t *pixels, float *out)
{
    const sumi_classifier_info_t *info = &classifier->info;
    size_t row = (size_t)info->width * (size_t)info->channels;
    size_t wide = (size_t)classifier->width * (size_t)info->channels;
    size_t left = (size_t)((classifier->width - info->width) / 2) * (size_t)info->channels;
    memset(out, 0, (size_t)classifier->height * wide * sizeof *out);
    out += (size_t)((classifier->height - info->height) / 2) * wide + left;
    for (int y = 0; y < info->height; y++, out += wide, pixels += row)
        for (size_t i = 0; i < row; i++)
            out[i] = (float)pixels[i] / 255;
}

/* ---- The network ----------------------------------------------------------------------------- */

sumi_status sumi_classify_network(const sumi_runtime *runtime, const sumi_classifier *classifier,
                                  sumi_mode mode, int n_max, sumi_mirror *weights,
                                  sumi_network **network, sumi_error *err)
{
    const sumi_plan_config plan = {
        .mode = mode, .n_max = n_max, .h = classifier->height, .w = classifier->width, .force = -1};
    const sumi_params *params = &classifier->graph.params;
    sumi_status status = sumi_mirror_init_params(runtime, params, weights, err);
    if (status != SUMI_OK)
        return status;
    return runtime->backend->network_create(runtime->device, &classifier->graph, &weights->at,
                                            &plan, network, err);
}

/* Who runs chunks, one after the other. */
typedef struct {
    sumi_runtime own;      /* of one thread; or none */
    sumi_runtime *runtime; /* own, or the caller's */
    sumi_network *network;
    sumi_mirror weights;
    uint8_t *pixels;                  /* [h][w][c] */
    float *padded;                    /* [chunk][height][width][c], as the network takes them */
    float *input, *features, *logits; /* the device's */
    float *host_logits;               /* [chunk][classes] */
} worker;

typedef struct {
    sumi_runtime *runtime;
    const sumi_classifier *classifier;
    const sumi_image_source *source;
    float *features, *probabilities; /* the whole arrays, or NULL */
    int chunk;                       /* images at a time */
    int64_t chunks;
    size_t image_floats, image_bytes;
    worker *workers;
    int worker_count;
    sumi_pool *pool;
} running;

static void release_worker(const running *run, worker *by)
{
    const sumi_classifier_info_t *info = &run->classifier->info;
    size_t chunk = (size_t)run->chunk;
    if (!by->runtime)
        return;
    const sumi_backend *backend = by->runtime->backend;
    sumi_device *device = by->runtime->device;
    backend->network_free(by->network);
    sumi_mirror_free(by->runtime, &by->weights);
    backend->free(device, by->input, chunk * run->image_floats * sizeof(float));
    backend->free(device, by->features, chunk * (size_t)info->features * sizeof(float));
    backend->free(device, by->logits, chunk * (size_t)info->classes * sizeof(float));
    free(by->pixels);
    free(by->padded);
    free(by->host_logits);
    sumi_runtime_free(&by->own);
}

static void release(running *run)
{
    for (int i = 0; i < run->worker_count && run->workers; i++)
        release_worker(run, &run->workers[i]);
    free(run->workers);
    sumi_pool_free(run->pool);
}

static int chunk_of(const sumi_classifier *classifier, int64_t count, bool host)
{
    int64_t pixels = host ? HOST_PIXELS : DEVICE_PIXELS;
    int64_t fits = pixels / ((int64_t)classifier->height * classifier->width);
    int64_t chunk = fits < 1 ? 1 : fits > CHUNK_MAX ? CHUNK_MAX : fits;
    return (int)(chunk < count ? chunk : count);
}

static sumi_status allocate_worker(const running *run, worker *by, sumi_error *err)
{
    const sumi_classifier *classifier = run->classifier;
    const sumi_classifier_info_t *info = &classifier->info;
    const sumi_backend *backend = by->runtime->backend;
    sumi_device *device = by->runtime->device;
    sumi_status status = sumi_classify_network(by->runtime, classifier, SUMI_MODE_PREDICT,
                                               run->chunk, &by->weights, &by->network, err);
    if (status != SUMI_OK)
        return status;
    size_t chunk = (size_t)run->chunk, classes = (size_t)info->classes;
    by->pixels = sumi_calloc(run->image_bytes, 1);
    by->padded = sumi_calloc(chunk * run->image_floats, sizeof(float));
    by->host_logits = sumi_calloc(chunk * classes + 1, sizeof(float));
    by->input = backend->alloc(device, chunk * run->image_floats * sizeof(float));
    by->features = backend->alloc(device, chunk * (size_t)info->features * sizeof(float));
    by->logits = classes > 0 ? backend->alloc(device, chunk * classes * sizeof(float)) : NULL;
    if (!by->pixels || !by->padded || !by->host_logits || !by->input || !by->features ||
        (classes > 0 && !by->logits))
        return sumi_fail_memory(err, "images for the evaluator",
                                chunk * run->image_floats * 2 * sizeof(float));
    return SUMI_OK;
}

static sumi_status allocate(running *run, bool host, sumi_error *err)
{
    const sumi_backend *backend = run->runtime->backend;
    sumi_device *device = run->runtime->device;
    run->chunks = (run->source->count + run->chunk - 1) / run->chunk;
    int threads = host ? backend->threads(device) : 1;
    run->worker_count = (int)(threads < run->chunks ? threads : run->chunks);
    run->workers = sumi_calloc((size_t)run->worker_count, sizeof *run->workers);
    if (!run->workers)
        return sumi_fail_memory(err, "evaluators",
                                (size_t)run->worker_count * sizeof *run->workers);
    sumi_status status = sumi_pool_create(run->worker_count, &run->pool, err);
    for (int i = 0; i < run->worker_count && status == SUMI_OK; i++) {
        worker *by = &run->workers[i];
        by->runtime = run->runtime;
        if (run->worker_count > 1) {
            by->runtime = &by->own;
            status = sumi_runtime_init_on(&by->own, backend, 1, backend->isa(device), err);
        }
        if (status == SUMI_OK)
            status = allocate_worker(run, by, err);
    }
    return status;
}

static void softmax(const float *logits, int classes, float *out)
{
    double sum = 0, top = (double)logits[0];
    for (int i = 1; i < classes; i++)
        top = fmax(top, (double)logits[i]);
    for (int i = 0; i < classes; i++)
        sum += exp((double)logits[i] - top);
    for (int i = 0; i < classes; i++)
        out[i] = (float)(exp((double)logits[i] - top) / sum);
}

static void run_chunk(void *arg, int64_t number, int thread)
{
    const running *run = arg;
    worker *by = &run->workers[thread];
    const sumi_backend *backend = by->runtime->backend;
    sumi_device *device = by->runtime->device;
    const sumi_classifier_info_t *info = &run->classifier->info;
    size_t width = (size_t)info->features, classes = (size_t)info->classes;
    int64_t first = number * run->chunk, left = run->source->count - first;
    size_t at = (size_t)first, n = (size_t)(left < run->chunk ? left : run->chunk);
    if (sumi_runtime_cancelled(run->runtime))
        return;
    for (size_t i = 0; i < n; i++) {
        run->source->read(run->source->from, first + (int64_t)i, by->pixels);
        sumi_classify_pad(run->classifier, by->pixels, by->padded + i * run->image_floats);
    }
    backend->upload(device, by->input, by->padded, n * run->image_floats * sizeof(float));
    const sumi_inputs in = {.image = by->input};
    float *const out[] = {by->features, by->logits};
    backend->predict(by->network, &in, (int)n, out);
    if (run->features)
        backend->download(device, run->features + at * width, by->features,
                          n * width * sizeof(float));
    if (!run->probabilities)
        return;
    backend->download(device, by->host_logits, by->logits, n * classes * sizeof(float));
    for (size_t i = 0; i < n; i++)
        softmax(by->host_logits + i * classes, info->classes,
                run->probabilities + (at + i) * classes);
}

sumi_status sumi_classify_run(sumi_runtime *runtime, const sumi_classifier *classifier,
                              const sumi_image_source *source, float *features,
                              float *probabilities, sumi_error *err)
{
    const sumi_classifier_info_t *info = &classifier->info;
    size_t channels = (size_t)info->channels;
    bool host = runtime->backend == sumi_backend_at(0);
    running run = {.runtime = runtime,
                   .classifier = classifier,
                   .source = source,
                   .features = features,
                   .probabilities = probabilities,
                   .chunk = chunk_of(classifier, source->count, host),
                   .image_floats =
                       (size_t)classifier->height * (size_t)classifier->width * channels,
                   .image_bytes = (size_t)info->height * (size_t)info->width * channels};
    if (source->count < 1)
        return sumi_fail(err, SUMI_EINVAL, "there are no images to evaluate");
    if (probabilities && info->classes == 0)
        return sumi_fail(err, SUMI_EINVAL, "evaluator %s tells no labels", info->shape);
    sumi_status status = allocate(&run, host, err);
    if (status == SUMI_OK)
        sumi_parallel_for(run.pool, run.chunks, run_chunk, &run);
    for (int i = 0; i < run.worker_count && status == SUMI_OK; i++)
        status = runtime->backend->status(run.workers[i].runtime->device, err);
    if (status == SUMI_OK && sumi_runtime_cancelled(runtime))
        status = sumi_fail(err, SUMI_CANCELLED, "the evaluation was cancelled");
    release(&run);
    return status;
}

sumi_status sumi_classify_images(sumi_runtime *runtime, const sumi_classifier *classifier,
                                 const uint8_t *images, int64_t n, float *features,
                                 float *probabilities, sumi_error *err)
{
    const sumi_classifier_info_t *info = &classifier->info;
    const sumi_image_array array = {images, (size_t)info->height * (size_t)info->width *
                                                (size_t)info->channels};
    sumi_image_source source = sumi_source_of_array(&array, n);
    return sumi_classify_run(runtime, classifier, &source, features, probabilities, err);
}

sumi_status sumi_classify_accuracy(sumi_runtime *runtime, const sumi_classifier *classifier,
                                   const sumi_dataset *set, double *accuracy, sumi_error *err)
{
    int classes = classifier->info.classes;
    int64_t hits = 0;
    sumi_image_source source = sumi_source_of_set(set);
    float *probabilities = sumi_calloc((size_t)set->count, (size_t)classes * sizeof(float));
    if (!probabilities)
        return sumi_fail_memory(err, "probabilities", (size_t)set->count * sizeof(float));
    sumi_status status = sumi_classify_run(runtime, classifier, &source, NULL, probabilities, err);
    for (int64_t i = 0; i < set->count && status == SUMI_OK; i++) {
        const float *row = probabilities + (size_t)i * (size_t)classes;
        int best = 0;
        for (int k = 1; k < classes; k++)
            best = row[k] > row[best] ? k : best;
        hits += best == set->labels[i];
    }
    free(probabilities);
    if (status == SUMI_OK)
        *accuracy = (double)hits / (double)set->count;
    return status;
}
