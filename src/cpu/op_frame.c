/*
 * Padding by repeating edges, and cropping: images of any size through a network that halves them.
 * Both run in bands of rows of their result. Padding has no gradient: only the image is padded.
 */
#include "cpu/ops.h"

typedef struct {
    const sumi_network *net;
    sumi_frame frame;
    sumi_source source;
    sumi_sink sink;
    const sumi_value_plan *from, *to;
    int rows, bands; /* of the result */
} frame_job;

static int rows_of(const sumi_network *net, int value)
{
    const sumi_value_plan *plan = &net->values[value];
    return sumi_band_rows(plan->h, (size_t)plan->w * (size_t)net->graph->values[value].channels);
}

static int bands_of(const sumi_network *net, int value)
{
    int rows = rows_of(net, value);
    return (net->values[value].h + rows - 1) / rows;
}

/* Of a pass whose result is as large as this value. */
static void want_scratch(sumi_network *net, int value)
{
    sumi_rows_scratch scratch =
        sumi_rows_scratch_of(SUMI_ROWS_REFRAME, net->values[value].w, rows_of(net, value),
                             net->graph->values[value].channels);
    sumi_want_scratch(net, scratch.total * sizeof(float));
}

static void frame_plan(sumi_network *net, int node)
{
    int from = net->nodes[node].in.views[0].value, to = net->graph->nodes[node].out;
    sumi_plan_moments(net, to, rows_of(net, to), bands_of(net, to));
    want_scratch(net, to);
    want_scratch(net, from);
    if (sumi_training(net) && !net->nodes[node].sources[0].passes)
        sumi_plan_sums(net, node, 0, bands_of(net, from));
}

static void frame_task(void *arg, int64_t chunk, int thread)
{
    const frame_job *job = arg;
    int y0 = (int)(chunk % job->bands) * job->rows, left = job->to->h - y0;
    job->net->kernels->reframe(job->frame, &job->source, &job->sink, job->from->h, job->from->w,
                               job->to->h, job->to->w, (int)(chunk / job->bands), y0,
                               left < job->rows ? left : job->rows, job->bands,
                               sumi_scratch(job->net, thread));
}

static void run_bands(const sumi_run *run, frame_job *job, int from, int to)
{
    job->net = run->net;
    job->from = &run->net->values[from];
    job->to = &run->net->values[to];
    job->rows = rows_of(run->net, to);
    job->bands = bands_of(run->net, to);
    const sumi_loop loop = {(int64_t)run->n * job->bands, frame_task, job, 0, true};
    sumi_parallel_loops(run->net->pool, &loop, 1);
}

/* Cropping has nothing outside of its source. */
static void frame_forward(const sumi_run *run, int node)
{
    const sumi_view *view = &run->net->nodes[node].in.views[0];
    int out = run->net->graph->nodes[node].out;
    frame_job job = {.frame = SUMI_FRAME_REPEAT};
    sumi_view_source(run, view, &job.source);
    sumi_value_sink(run, out, &job.sink);
    run_bands(run, &job, view->value, out);
}

static void crop_backward(const sumi_run *run, int node)
{
    const sumi_node_plan *plan = &run->net->nodes[node];
    int out = run->net->graph->nodes[node].out;
    frame_job job = {.frame = SUMI_FRAME_ZERO};
    sumi_source stat;
    if (!plan->wants_dgrad || plan->sources[0].passes)
        return;
    sumi_gradient_source(run, out, &job.source);
    sumi_gradient_sink(run, node, 0, &stat, &job.sink);
    run_bands(run, &job, out, plan->in.views[0].value);
    sumi_post_gradients(run, node);
}

const sumi_op sumi_op_pad = {frame_plan, frame_forward, NULL, NULL};
const sumi_op sumi_op_crop = {frame_plan, frame_forward, crop_backward, NULL};
