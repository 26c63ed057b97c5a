/*
 * Running a classifier: bytes to floats, the network in eval mode, and of its logits the softmax.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/classify.h"

/* A chunk has at most this many images, and the pixels of 16 of 32x32: the 32 channels of its first
 * layers, 2 MiB, then stay in the second-level caches of two cores. */
enum { CHUNK_MAX = 256, CHUNK_PIXELS = 16 * 32 * 32 };

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

typedef struct {
    sumi_runtime *runtime;
    const sumi_classifier *classifier;
    const sumi_image_source *source;
    sumi_network *network;
    sumi_mirror weights;
    int chunk; /* images at a time */
    int n;     /* of the present chunk */
    int64_t first;
    size_t image_floats, image_bytes;
    uint8_t *pixels;                  /* [chunk][h][w][c] */
    float *padded;                    /* [chunk][height][width][c], as the network takes them */
    float *input, *features, *logits; /* the device's */
    float *host_logits;               /* [chunk][classes] */
} running;

static void release(running *run)
{
    const sumi_backend *backend = run->runtime->backend;
    sumi_device *device = run->runtime->device;
    const sumi_classifier_info_t *info = &run->classifier->info;
    size_t chunk = (size_t)run->chunk;
    backend->network_free(run->network);
    sumi_mirror_free(run->runtime, &run->weights);
    backend->free(device, run->input, chunk * run->image_floats * sizeof(float));
    backend->free(device, run->features, chunk * (size_t)info->features * sizeof(float));
    backend->free(device, run->logits, chunk * (size_t)info->classes * sizeof(float));
    free(run->pixels);
    free(run->padded);
    free(run->host_logits);
}

static int chunk_of(const sumi_classifier *classifier, int64_t count)
{
    int64_t fits = CHUNK_PIXELS / ((int64_t)classifier->height * classifier->width);
    int64_t chunk = fits < 1 ? 1 : fits > CHUNK_MAX ? CHUNK_MAX : fits;
    return (int)(chunk < count ? chunk : count);
}

static sumi_status allocate(running *run, sumi_error *err)
{
    const sumi_classifier *classifier = run->classifier;
    const sumi_classifier_info_t *info = &classifier->info;
    const sumi_backend *backend = run->runtime->backend;
    sumi_device *device = run->runtime->device;
    sumi_status status = sumi_classify_network(run->runtime, classifier, SUMI_MODE_PREDICT,
                                               run->chunk, &run->weights, &run->network, err);
    if (status != SUMI_OK)
        return status;
    size_t chunk = (size_t)run->chunk, classes = (size_t)info->classes;
    run->pixels = sumi_calloc(run->image_bytes, 1);
    run->padded = sumi_calloc(chunk * run->image_floats, sizeof(float));
    run->host_logits = sumi_calloc(chunk * classes + 1, sizeof(float));
    run->input = backend->alloc(device, chunk * run->image_floats * sizeof(float));
    run->features = backend->alloc(device, chunk * (size_t)info->features * sizeof(float));
    run->logits = classes > 0 ? backend->alloc(device, chunk * classes * sizeof(float)) : NULL;
    if (!run->pixels || !run->padded || !run->host_logits || !run->input || !run->features ||
        (classes > 0 && !run->logits))
        return sumi_fail_memory(err, "images for the evaluator",
                                chunk * run->image_floats * 2 * sizeof(float));
    return SUMI_OK;
}

static void read_images(running *run)
{
    for (int i = 0; i < run->n; i++) {
        run->source->read(run->source->from, run->first + i, run->pixels);
        sumi_classify_pad(run->classifier, run->pixels,
                          run->padded + (size_t)i * run->image_floats);
    }
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

/* One chunk; features and probabilities are the whole arrays, or NULL. */
static void run_chunk(running *run, float *features, float *probabilities)
{
    const sumi_backend *backend = run->runtime->backend;
    sumi_device *device = run->runtime->device;
    const sumi_classifier_info_t *info = &run->classifier->info;
    size_t n = (size_t)run->n, first = (size_t)run->first;
    size_t width = (size_t)info->features, classes = (size_t)info->classes;
    read_images(run);
    backend->upload(device, run->input, run->padded, n * run->image_floats * sizeof(float));
    const sumi_inputs in = {.image = run->input};
    float *const out[] = {run->features, run->logits};
    backend->predict(run->network, &in, run->n, out);
    if (features)
        backend->download(device, features + first * width, run->features,
                          n * width * sizeof(float));
    if (!probabilities)
        return;
    backend->download(device, run->host_logits, run->logits, n * classes * sizeof(float));
    for (size_t i = 0; i < n; i++)
        softmax(run->host_logits + i * classes, info->classes,
                probabilities + (first + i) * classes);
}

sumi_status sumi_classify_run(sumi_runtime *runtime, const sumi_classifier *classifier,
                              const sumi_image_source *source, float *features,
                              float *probabilities, sumi_error *err)
{
    const sumi_classifier_info_t *info = &classifier->info;
    size_t channels = (size_t)info->channels;
    running run = {.runtime = runtime,
                   .classifier = classifier,
                   .source = source,
                   .chunk = chunk_of(classifier, source->count),
                   .image_floats =
                       (size_t)classifier->height * (size_t)classifier->width * channels,
                   .image_bytes = (size_t)info->height * (size_t)info->width * channels};
    if (source->count < 1)
        return sumi_fail(err, SUMI_EINVAL, "there are no images to evaluate");
    if (probabilities && info->classes == 0)
        return sumi_fail(err, SUMI_EINVAL, "evaluator %s tells no labels", info->shape);
    sumi_status status = allocate(&run, err);
    while (status == SUMI_OK && run.first < source->count) {
        int64_t left = source->count - run.first;
        run.n = left < run.chunk ? (int)left : run.chunk;
        run_chunk(&run, features, probabilities);
        run.first += run.n;
        status = runtime->backend->status(runtime->device, err);
        if (status == SUMI_OK && sumi_runtime_cancelled(runtime))
            status = sumi_fail(err, SUMI_CANCELLED, "the evaluation was cancelled");
    }
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
