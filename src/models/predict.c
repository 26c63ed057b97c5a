/*
 * Predictions of a model for images in the host's memory, a batch that caches are good for at a
 * time.
 */
#include "models/models.h"

typedef struct {
    sumi_runtime *runtime;
    sumi_network *network;
    const sumi_batch *batch;
    bool labelled;                /* the network is told of labels, and there are some */
    size_t in_floats, out_floats; /* of an image */
    float *out;
} predicting;

/* What the device has for a buffer of the host; NULL where there is none, or no memory is left. */
static void *mirror(const predicting *run, const void *host, size_t bytes)
{
    const sumi_runtime *runtime = run->runtime;
    return host ? runtime->backend->mirror(runtime->device, (void *)host, bytes) : NULL;
}

static void unmirror(const predicting *run, void *memory, const void *host, size_t bytes)
{
    const sumi_runtime *runtime = run->runtime;
    if (memory)
        runtime->backend->unmirror(runtime->device, memory, (void *)host, bytes);
}

/* Images first to first + n - 1 of the batch. Where the device computes in the host's memory,
 * nothing is allocated and nothing copied. */
static sumi_status predict_some(const predicting *run, int first, int n, sumi_error *err)
{
    const sumi_batch *batch = run->batch;
    const sumi_backend *backend = run->runtime->backend;
    sumi_device *device = run->runtime->device;
    size_t at = (size_t)first, each = (size_t)n * sizeof(float);
    float time[SUMI_IMAGES_AT_A_TIME_MAX], *out = run->out + at * run->out_floats;
    for (int i = 0; i < n; i++)
        time[i] = (float)batch->t[first + i];
    const struct {
        const void *host;
        size_t bytes;
    } inputs[] = {{batch->x + at * run->in_floats, each * run->in_floats},
                  {time, each},
                  {run->labelled ? batch->labels + first : NULL, (size_t)n * sizeof(int32_t)}};
    void *memory[3];
    for (int i = 0; i < 3; i++)
        memory[i] = mirror(run, inputs[i].host, inputs[i].bytes);
    float *result = mirror(run, out, each * run->out_floats);
    sumi_status status = SUMI_OK;
    if (!memory[0] || !memory[1] || (run->labelled && !memory[2]) || !result)
        status = sumi_fail_memory(err, "a batch of predictions", each * run->out_floats);
    for (int i = 0; i < 3 && status == SUMI_OK; i++)
        if (memory[i])
            backend->upload(device, memory[i], inputs[i].host, inputs[i].bytes);
    const sumi_inputs in = {.image = memory[0], .time = memory[1], .labels = memory[2]};
    if (status == SUMI_OK) {
        backend->predict(run->network, &in, n, &result);
        backend->download(device, out, result, each * run->out_floats);
        status = backend->status(device, err);
    }
    unmirror(run, result, out, each * run->out_floats);
    for (int i = 0; i < 3; i++)
        unmirror(run, memory[i], inputs[i].host, inputs[i].bytes);
    return status;
}

sumi_status sumi_runtime_predict(sumi_runtime *runtime, const sumi_model *model,
                                 const sumi_batch *batch, float *out, sumi_error *err)
{
    const int shape[] = {batch->n, batch->h, batch->w, model->info.in_channels};
    size_t pixels = (size_t)batch->h * (size_t)batch->w;
    int most = sumi_images_at_a_time(batch->h, batch->w);
    most = batch->n < most ? batch->n : most;
    predicting run = {.runtime = runtime,
                      .batch = batch,
                      .labelled = batch->labels && model->graph.labels >= 0,
                      .in_floats = pixels * (size_t)model->info.in_channels,
                      .out_floats = pixels * (size_t)model->info.out_channels,
                      .out = out};
    const sumi_predictor want = {most, batch->h, batch->w, batch->precision};
    sumi_status status = sumi_runtime_predictor(runtime, model, &want, &run.network, err);
    if (status == SUMI_OK)
        status = sumi_check_finite("x", batch->x, shape, err);
    for (int first = 0; first < batch->n && status == SUMI_OK; first += most) {
        int left = batch->n - first;
        if (sumi_runtime_cancelled(runtime))
            status = sumi_fail(err, SUMI_CANCELLED, "the prediction was cancelled");
        else
            status = predict_some(&run, first, left < most ? left : most, err);
    }
    return status;
}
