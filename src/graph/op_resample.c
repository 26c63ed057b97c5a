/*
 * The two changes of size: 2x2 max pool, and bilinear x2 upsampling with align_corners. Both read a
 * view and write their result out (the pool because a negative scale would turn its maximum into a
 * minimum), and both run in chunks of rows of the small image.
 */
#include "graph/ops.h"

/* A chunk's scratch is kept near this size, so that it stays in the second-level cache. */
enum { CHUNK_FLOATS = 64 * 1024 };

typedef struct {
    sumi_network *net;
    int node;
    sumi_source source, dy;
    sumi_sink sink; /* forward: of the output; backward: of the gradient */
    int h, w;       /* of the source */
} resample_job;

static void plan_chunks(sumi_network *net, int node, int small_h, size_t row_floats)
{
    sumi_node_plan *plan = &net->nodes[node];
    size_t rows = CHUNK_FLOATS / row_floats;
    plan->rows = rows < 1 ? 1 : rows > (size_t)small_h ? small_h : (int)rows;
    plan->bands = (small_h + plan->rows - 1) / plan->rows;
    plan->sum_bands[0] = plan->bands;
    if (!sumi_training(net))
        return;
    const sumi_view *view = &net->graph->nodes[node].in.views[0];
    int norm = net->values[view->value].norm, back = sumi_time_backward(net, node);
    size_t row = 3 * (size_t)net->graph->values[view->value].channels;
    if (view->post >= 0 || norm >= 0)
        sumi_reserve(net, (size_t)net->config.n_max * (size_t)plan->bands * row, back,
                     norm >= 0 ? sumi_time_backward(net, norm) : back, &plan->sums[0], "sums",
                     node);
}

static resample_job job_of(sumi_network *net, int node)
{
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_view *view = &op->in.views[0];
    resample_job job = {.net = net, .node = node};
    sumi_view_source(net, view, &job.source);
    job.h = net->values[view->value].h;
    job.w = net->values[view->value].w;
    job.sink = (sumi_sink){.dst = sumi_value_data(net, op->out),
                           .bf16 = net->values[op->out].bf16,
                           .c = net->graph->values[op->out].channels};
    return job;
}

/* Rows of the small image in chunk number `band`. */
static int chunk_rows(const resample_job *job, int band, int small_h)
{
    int rows = job->net->nodes[job->node].rows, left = small_h - band * rows;
    return left < rows ? left : rows;
}

static void run(sumi_network *net, int node, sumi_task_fn task, resample_job *job)
{
    const sumi_loop loop = {(int64_t)net->n * net->nodes[node].bands, task, job, 0, true};
    sumi_parallel_loops(net->pool, &loop, 1);
}

/* The gradient at the op's output arrives through dy; what leaves goes through the sink. */
static void run_backward(sumi_network *net, int node, sumi_task_fn task)
{
    resample_job job = job_of(net, node);
    sumi_source stat;
    sumi_gradient_source(net, net->graph->nodes[node].out, &job.dy);
    sumi_gradient_sink(net, node, 0, &stat, &job.sink);
    run(net, node, task, &job);
    sumi_post_gradients(net, node);
}

/* ---- Max pool -------------------------------------------------------------------------------- */

static void pool_plan(sumi_network *net, int node)
{
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_value_plan *in = &net->values[op->in.views[0].value];
    size_t row = 2 * (size_t)in->w * (size_t)net->graph->values[op->out].channels;
    plan_chunks(net, node, in->h / 2, row);
    sumi_want_scratch(net, (size_t)net->nodes[node].rows * row);
}

static void pool_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    (void)thread;
    const sumi_node_plan *plan = &job->net->nodes[job->node];
    int band = (int)(chunk % plan->bands);
    job->net->kernels->pool(&job->source, &job->sink, job->h, job->w, (int)(chunk / plan->bands),
                            band * plan->rows, chunk_rows(job, band, job->h / 2));
}

static void pool_backward_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    const sumi_node_plan *plan = &job->net->nodes[job->node];
    int band = (int)(chunk % plan->bands);
    job->net->kernels->pool_backward(&job->source, &job->dy, &job->sink, job->h, job->w,
                                     (int)(chunk / plan->bands), band * plan->rows,
                                     chunk_rows(job, band, job->h / 2), plan->bands,
                                     sumi_scratch(job->net, thread));
}

static void pool_forward(sumi_network *net, int node)
{
    resample_job job = job_of(net, node);
    run(net, node, pool_task, &job);
}

static void pool_backward(sumi_network *net, int node)
{
    run_backward(net, node, pool_backward_task);
}

const sumi_op sumi_op_max_pool = {"max_pool", pool_plan, pool_forward, pool_backward, NULL};

/* ---- Upsample -------------------------------------------------------------------------------- */

static void upsample_plan(sumi_network *net, int node)
{
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_value_plan *in = &net->values[op->in.views[0].value];
    size_t row = (size_t)in->w * (size_t)net->graph->values[op->out].channels;
    plan_chunks(net, node, in->h, 4 * row);
    size_t rows = (size_t)net->nodes[node].rows;
    sumi_want_scratch(net, (rows < 2 ? 2 : rows) * row);
}

static void upsample_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    const sumi_node_plan *plan = &job->net->nodes[job->node];
    int band = (int)(chunk % plan->bands);
    job->net->kernels->upsample(&job->source, &job->sink, job->h, job->w,
                                (int)(chunk / plan->bands), 2 * band * plan->rows,
                                2 * chunk_rows(job, band, job->h), sumi_scratch(job->net, thread));
}

static void upsample_backward_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    const sumi_node_plan *plan = &job->net->nodes[job->node];
    int band = (int)(chunk % plan->bands);
    job->net->kernels->upsample_backward(
        &job->dy, &job->sink, job->h, job->w, (int)(chunk / plan->bands), band * plan->rows,
        chunk_rows(job, band, job->h), plan->bands, sumi_scratch(job->net, thread));
}

static void upsample_forward(sumi_network *net, int node)
{
    resample_job job = job_of(net, node);
    run(net, node, upsample_task, &job);
}

static void upsample_backward(sumi_network *net, int node)
{
    run_backward(net, node, upsample_backward_task);
}

const sumi_op sumi_op_upsample = {"upsample", upsample_plan, upsample_forward, upsample_backward,
                                  NULL};
