/*
 * Predictions of a model for images in the host's memory, a batch that caches are good for at a
 * time.
 */
#include "models/models.h"

/* A batch in the memory of the device, of at most so many images. */
typedef struct {
    sumi_runtime *runtime;
    sumi_network *network;
    int most;
    size_t in_floats, out_floats; /* of an image */
    float *images, *time, *out;
    int32_t *labels; /* NULL: the network has none */
} predicting;

static float *get(const predicting *run, size_t floats)
{
    const sumi_runtime *runtime = run->runtime;
    return runtime->backend->alloc(runtime->device, (size_t)run->most * floats * sizeof(float));
}

static void give_back(const predicting *run, float *memory, size_t floats)
{
    const sumi_runtime *runtime = run->runtime;
    runtime->backend->free(runtime->device, memory, (size_t)run->most * floats * sizeof(float));
}

/* Images first to first + n - 1 of the batch. */
static void predict_some(const predicting *run, const sumi_batch *batch, int first, int n,
                         float *out)
{
    const sumi_backend *backend = run->runtime->backend;
    sumi_device *device = run->runtime->device;
    const sumi_inputs in = {.image = run->images, .time = run->time, .labels = run->labels};
    size_t at = (size_t)first, bytes = (size_t)n * sizeof(float);
    float time[SUMI_IMAGES_AT_A_TIME_MAX];
    for (int i = 0; i < n; i++)
        time[i] = (float)batch->t[first + i];
    backend->upload(device, run->time, time, bytes);
    if (run->labels)
        backend->upload(device, run->labels, batch->labels + first,
                        (size_t)n * sizeof *run->labels);
    backend->upload(device, run->images, batch->x + at * run->in_floats, bytes * run->in_floats);
    backend->predict(run->network, &in, n, &run->out);
    backend->download(device, out + at * run->out_floats, run->out, bytes * run->out_floats);
}

sumi_status sumi_runtime_predict(sumi_runtime *runtime, const sumi_model *model,
                                 const sumi_batch *batch, float *out, sumi_error *err)
{
    const int shape[] = {batch->n, batch->h, batch->w, model->info.in_channels};
    size_t pixels = (size_t)batch->h * (size_t)batch->w;
    int most = sumi_images_at_a_time(batch->h, batch->w);
    predicting run = {.runtime = runtime,
                      .most = batch->n < most ? batch->n : most,
                      .in_floats = pixels * (size_t)model->info.in_channels,
                      .out_floats = pixels * (size_t)model->info.out_channels};
    const sumi_predictor want = {run.most, batch->h, batch->w, batch->precision};
    sumi_status status = sumi_runtime_predictor(runtime, model, &want, &run.network, err);
    if (status == SUMI_OK)
        status = sumi_check_finite("x", batch->x, shape, err);
    if (status != SUMI_OK)
        return status;
    run.images = get(&run, run.in_floats);
    run.time = get(&run, 1);
    run.out = get(&run, run.out_floats);
    bool labelled = batch->labels && model->graph.labels >= 0;
    run.labels = labelled ? (int32_t *)(void *)get(&run, 1) : NULL;
    if (!run.images || !run.time || !run.out || (labelled && !run.labels))
        status = sumi_fail_memory(err, "a batch of predictions",
                                  (size_t)run.most * run.out_floats * sizeof(float));
    for (int first = 0; first < batch->n && status == SUMI_OK; first += run.most) {
        int left = batch->n - first;
        if (sumi_runtime_cancelled(runtime))
            status = sumi_fail(err, SUMI_CANCELLED, "the prediction was cancelled");
        else
            predict_some(&run, batch, first, left < run.most ? left : run.most, out);
    }
    give_back(&run, (float *)(void *)run.labels, 1);
    give_back(&run, run.out, run.out_floats);
    give_back(&run, run.time, 1);
    give_back(&run, run.images, run.in_floats);
    return status;
}
