/*
 * The two changes of size: 2x2 max pool, and bilinear x2 upsampling with align_corners. Both read a
 * view and write their result out (the pool because a negative scale would turn its maximum into a
 * minimum), and both run in chunks of rows of the small image.
 */
#include "cpu/ops.h"

/* A chunk's scratch is kept near this size, so that it stays in the second-level cache. */
enum { CHUNK_FLOATS = 64 * 1024 };

typedef struct {
    int rows, bands; /* rows of the small image in a chunk */
} resample_plan;

typedef struct {
    const sumi_network *net;
    const resample_plan *plan;
    sumi_source source, dy;
    sumi_sink sink; /* forward: of the output; backward: of the gradient */
    int h, w;       /* of the source */
} resample_job;

/* Returns how many rows a chunk has, or 0: out of memory. */
static size_t plan_chunks(sumi_network *net, int node, int small_h, size_t row_floats)
{
    resample_plan *plan = sumi_plan_own(net, node, sizeof *plan);
    size_t rows = CHUNK_FLOATS / row_floats;
    if (!plan)
        return 0;
    plan->rows = rows < 1 ? 1 : rows > (size_t)small_h ? small_h : (int)rows;
    plan->bands = (small_h + plan->rows - 1) / plan->rows;
    if (sumi_training(net))
        sumi_plan_sums(net, node, 0, plan->bands);
    return (size_t)plan->rows;
}

static resample_job job_of(const sumi_run *run, int node)
{
    const sumi_network *net = run->net;
    const sumi_view *view = &net->nodes[node].in.views[0];
    resample_job job = {.net = net, .plan = net->nodes[node].own};
    sumi_view_source(run, view, &job.source);
    job.h = net->values[view->value].h;
    job.w = net->values[view->value].w;
    sumi_value_sink(run, net->graph->nodes[node].out, &job.sink);
    return job;
}

/* Rows of the small image in chunk number `band`. */
static int chunk_rows(const resample_job *job, int band, int small_h)
{
    int rows = job->plan->rows, left = small_h - band * rows;
    return left < rows ? left : rows;
}

static void run_chunks(const sumi_run *run, sumi_task_fn task, resample_job *job)
{
    const sumi_loop loop = {(int64_t)run->n * job->plan->bands, task, job, 0, true};
    sumi_parallel_loops(run->net->pool, &loop, 1);
}

/* The gradient at the op's output arrives through dy; what leaves goes through the sink. */
static void run_backward(const sumi_run *run, int node, sumi_task_fn task)
{
    resample_job job = job_of(run, node);
    sumi_source stat;
    sumi_gradient_source(run, run->net->graph->nodes[node].out, &job.dy);
    sumi_gradient_sink(run, node, 0, &stat, &job.sink);
    run_chunks(run, task, &job);
    sumi_post_gradients(run, node);
}

/* ---- Max pool -------------------------------------------------------------------------------- */

static void pool_plan(sumi_network *net, int node)
{
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_value_plan *in = &net->values[op->in.views[0].value];
    size_t row = 2 * (size_t)in->w * (size_t)net->graph->values[op->out].channels;
    sumi_want_scratch(net, plan_chunks(net, node, in->h / 2, row) * row * sizeof(float));
}

static void pool_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    const resample_plan *plan = job->plan;
    int band = (int)(chunk % plan->bands);
    job->net->kernels->pool(&job->source, &job->sink, job->h, job->w, (int)(chunk / plan->bands),
                            band * plan->rows, chunk_rows(job, band, job->h / 2), plan->bands,
                            sumi_scratch(job->net, thread));
}

static void pool_backward_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    const resample_plan *plan = job->plan;
    int band = (int)(chunk % plan->bands);
    job->net->kernels->pool_backward(&job->source, &job->dy, &job->sink, job->h, job->w,
                                     (int)(chunk / plan->bands), band * plan->rows,
                                     chunk_rows(job, band, job->h / 2), plan->bands,
                                     sumi_scratch(job->net, thread));
}

static void pool_forward(const sumi_run *run, int node)
{
    resample_job job = job_of(run, node);
    run_chunks(run, pool_task, &job);
}

static void pool_backward(const sumi_run *run, int node)
{
    run_backward(run, node, pool_backward_task);
}

const sumi_op sumi_op_max_pool = {pool_plan, pool_forward, pool_backward, NULL};

/* ---- Upsample -------------------------------------------------------------------------------- */

static void upsample_plan(sumi_network *net, int node)
{
    const sumi_node *op = &net->graph->nodes[node];
    const sumi_value_plan *in = &net->values[op->in.views[0].value];
    size_t row = (size_t)in->w * (size_t)net->graph->values[op->out].channels;
    size_t rows = plan_chunks(net, node, in->h, 4 * row);
    sumi_want_scratch(net, (rows < 2 ? 2 : rows) * row * sizeof(float));
}

static void upsample_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    const resample_plan *plan = job->plan;
    int band = (int)(chunk % plan->bands);
    job->net->kernels->upsample(
        &job->source, &job->sink, job->h, job->w, (int)(chunk / plan->bands), 2 * band * plan->rows,
        2 * chunk_rows(job, band, job->h), plan->bands, sumi_scratch(job->net, thread));
}

static void upsample_backward_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    const resample_plan *plan = job->plan;
    int band = (int)(chunk % plan->bands);
    job->net->kernels->upsample_backward(
        &job->dy, &job->sink, job->h, job->w, (int)(chunk / plan->bands), band * plan->rows,
        chunk_rows(job, band, job->h), plan->bands, sumi_scratch(job->net, thread));
}

static void upsample_forward(const sumi_run *run, int node)
{
    resample_job job = job_of(run, node);
    run_chunks(run, upsample_task, &job);
}

static void upsample_backward(const sumi_run *run, int node)
{
    run_backward(run, node, upsample_backward_task);
}

const sumi_op sumi_op_upsample = {upsample_plan, upsample_forward, upsample_backward, NULL};
