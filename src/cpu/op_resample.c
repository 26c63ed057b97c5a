/*
 * The changes of size: 2x2 max and mean pool, every second pixel, bilinear x2 up-sampling with
 * align_corners, nearest x2, and the mean of all pixels. They read a view and write their result
 * out (the pool because a negative scale would turn its maximum into a minimum), and run in chunks
 * of rows of the small image.
 */
#include "cpu/ops.h"

typedef struct {
    int rows, bands; /* rows of the small image in a chunk */
} resample_plan;

typedef struct {
    const sumi_network *net;
    const resample_plan *plan;
    sumi_window window;
    sumi_source source, dy;
    sumi_sink sink; /* forward: of the output; backward: of the gradient */
    int h, w;       /* of the source */
} resample_job;

/* A kernel that runs on chunks: how many rows it is given for one of the small image, and how many
 * halves of the node's source are as wide as its own. */
typedef struct {
    sumi_rows_pass pass;
    int times, halves;
} chunk_pass;

/* row_floats: of the chunk for one row of the small image. out_rows: rows of the output for one of
 * the small image. The chunk's scratch holds what forward and backward ask for. */
static void plan_chunks(sumi_network *net, int node, int small_h, size_t row_floats, int out_rows,
                        const chunk_pass passes[2])
{
    const sumi_view *view = &net->nodes[node].in.views[0];
    resample_plan *plan = sumi_plan_own(net, node, sizeof *plan);
    if (!plan)
        return;
    plan->rows = sumi_band_rows(small_h, row_floats);
    plan->bands = (small_h + plan->rows - 1) / plan->rows;
    sumi_plan_moments(net, net->graph->nodes[node].out, out_rows * plan->rows, plan->bands);
    if (sumi_training(net))
        sumi_plan_sums(net, node, 0, plan->bands);
    for (int i = 0; i < 2; i++) {
        sumi_rows_scratch scratch = sumi_rows_scratch_of(
            passes[i].pass, net->values[view->value].w * passes[i].halves / 2,
            plan->rows * passes[i].times, net->graph->values[view->value].channels);
        sumi_want_scratch(net, scratch.total * sizeof(float));
    }
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

/* A chunk: of an image, some rows of the small one. */
typedef struct {
    int image, y0, rows;
} chunk_rows;

static chunk_rows rows_of(const resample_job *job, int64_t chunk, int small_h)
{
    const resample_plan *plan = job->plan;
    int y0 = (int)(chunk % plan->bands) * plan->rows, left = small_h - y0;
    return (chunk_rows){(int)(chunk / plan->bands), y0, left < plan->rows ? left : plan->rows};
}

static void run_chunks(const sumi_run *run, sumi_task_fn task, resample_job *job)
{
    const sumi_loop loop = {(int64_t)run->n * job->plan->bands, task, job, 0, true};
    sumi_parallel_loops(run->net->pool, &loop, 1);
}

/* The gradient at the op's output arrives through dy; what leaves goes through the sink. */
static void run_backward(const sumi_run *run, int node, sumi_window window, sumi_task_fn task)
{
    resample_job job = job_of(run, node);
    sumi_source stat;
    if (!run->net->nodes[node].wants_dgrad)
        return;
    job.window = window;
    sumi_gradient_source(run, run->net->graph->nodes[node].out, &job.dy);
    sumi_gradient_sink(run, node, 0, &stat, &job.sink);
    run_chunks(run, task, &job);
    sumi_post_gradients(run, node);
}

static size_t row_floats_of(const sumi_network *net, int node)
{
    const sumi_view *view = &net->nodes[node].in.views[0];
    return (size_t)net->values[view->value].w * (size_t)net->graph->values[view->value].channels;
}

/* ---- Max pool -------------------------------------------------------------------------------- */

/* Halving: two rows of the source for one of the small image. */
static void halving_plan(sumi_network *net, int node, const chunk_pass passes[2])
{
    int h = net->values[net->nodes[node].in.views[0].value].h;
    plan_chunks(net, node, h / 2, 2 * row_floats_of(net, node), 1, passes);
}

static void max_pool_plan(sumi_network *net, int node)
{
    static const chunk_pass passes[] = {{SUMI_ROWS_POOL, 1, 2}, {SUMI_ROWS_POOL_BACKWARD, 1, 2}};
    halving_plan(net, node, passes);
}

static void pool_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    chunk_rows at = rows_of(job, chunk, job->h / 2);
    job->net->kernels->pool(&job->source, &job->sink, job->h, job->w, at.image, at.y0, at.rows,
                            job->plan->bands, sumi_scratch(job->net, thread));
}

static void pool_backward_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    chunk_rows at = rows_of(job, chunk, job->h / 2);
    job->net->kernels->pool_backward(&job->source, &job->dy, &job->sink, job->h, job->w, at.image,
                                     at.y0, at.rows, job->plan->bands,
                                     sumi_scratch(job->net, thread));
}

static void pool_forward(const sumi_run *run, int node)
{
    resample_job job = job_of(run, node);
    run_chunks(run, pool_task, &job);
}

static void pool_backward(const sumi_run *run, int node)
{
    run_backward(run, node, SUMI_WINDOW_MEAN, pool_backward_task);
}

const sumi_op sumi_op_max_pool = {max_pool_plan, pool_forward, pool_backward, NULL};

/* ---- Bilinear up-sampling -------------------------------------------------------------------- */

/* Doubling: two rows of the output for one of the source. */
static void doubling_plan(sumi_network *net, int node, const chunk_pass passes[2])
{
    int h = net->values[net->nodes[node].in.views[0].value].h;
    plan_chunks(net, node, h, 4 * row_floats_of(net, node), 2, passes);
}

static void upsample_plan(sumi_network *net, int node)
{
    static const chunk_pass passes[] = {{SUMI_ROWS_UPSAMPLE, 2, 2},
                                        {SUMI_ROWS_UPSAMPLE_BACKWARD, 1, 2}};
    doubling_plan(net, node, passes);
}

static void upsample_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    chunk_rows at = rows_of(job, chunk, job->h);
    job->net->kernels->upsample(&job->source, &job->sink, job->h, job->w, at.image, 2 * at.y0,
                                2 * at.rows, job->plan->bands, sumi_scratch(job->net, thread));
}

static void upsample_backward_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    chunk_rows at = rows_of(job, chunk, job->h);
    job->net->kernels->upsample_backward(&job->dy, &job->sink, job->h, job->w, at.image, at.y0,
                                         at.rows, job->plan->bands, sumi_scratch(job->net, thread));
}

static void upsample_forward(const sumi_run *run, int node)
{
    resample_job job = job_of(run, node);
    run_chunks(run, upsample_task, &job);
}

static void upsample_backward(const sumi_run *run, int node)
{
    run_backward(run, node, SUMI_WINDOW_SUM, upsample_backward_task);
}

const sumi_op sumi_op_upsample = {upsample_plan, upsample_forward, upsample_backward, NULL};

/* ---- Windows of 2x2 -------------------------------------------------------------------------- */

static void shrink_plan(sumi_network *net, int node)
{
    static const chunk_pass passes[] = {{SUMI_ROWS_SHRINK, 1, 2}, {SUMI_ROWS_GROW, 2, 1}};
    halving_plan(net, node, passes);
}

static void shrink_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    chunk_rows at = rows_of(job, chunk, job->h / 2);
    job->net->kernels->shrink(job->window, &job->source, &job->sink, job->h, job->w, at.image,
                              at.y0, at.rows, job->plan->bands, sumi_scratch(job->net, thread));
}

/* Of a gradient of half the size. */
static void shrink_backward_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    chunk_rows at = rows_of(job, chunk, job->h / 2);
    job->net->kernels->grow(job->window, &job->dy, &job->sink, job->h / 2, job->w / 2, at.image,
                            2 * at.y0, 2 * at.rows, job->plan->bands,
                            sumi_scratch(job->net, thread));
}

static void shrink_forward(const sumi_run *run, int node, sumi_window window)
{
    resample_job job = job_of(run, node);
    job.window = window;
    run_chunks(run, shrink_task, &job);
}

static void avg_pool_forward(const sumi_run *run, int node)
{
    shrink_forward(run, node, SUMI_WINDOW_MEAN);
}

static void avg_pool_backward(const sumi_run *run, int node)
{
    run_backward(run, node, SUMI_WINDOW_MEAN, shrink_backward_task);
}

const sumi_op sumi_op_avg_pool = {shrink_plan, avg_pool_forward, avg_pool_backward, NULL};

static void subsample_forward(const sumi_run *run, int node)
{
    shrink_forward(run, node, SUMI_WINDOW_FIRST);
}

static void subsample_backward(const sumi_run *run, int node)
{
    run_backward(run, node, SUMI_WINDOW_FIRST, shrink_backward_task);
}

const sumi_op sumi_op_subsample = {shrink_plan, subsample_forward, subsample_backward, NULL};

static void nearest_plan(sumi_network *net, int node)
{
    static const chunk_pass passes[] = {{SUMI_ROWS_GROW, 2, 2}, {SUMI_ROWS_SHRINK, 1, 4}};
    doubling_plan(net, node, passes);
}

static void grow_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    chunk_rows at = rows_of(job, chunk, job->h);
    job->net->kernels->grow(job->window, &job->source, &job->sink, job->h, job->w, at.image,
                            2 * at.y0, 2 * at.rows, job->plan->bands,
                            sumi_scratch(job->net, thread));
}

/* Of a gradient of twice the size. */
static void grow_backward_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    chunk_rows at = rows_of(job, chunk, job->h);
    job->net->kernels->shrink(job->window, &job->dy, &job->sink, 2 * job->h, 2 * job->w, at.image,
                              at.y0, at.rows, job->plan->bands, sumi_scratch(job->net, thread));
}

static void nearest_forward(const sumi_run *run, int node)
{
    resample_job job = job_of(run, node);
    job.window = SUMI_WINDOW_SUM;
    run_chunks(run, grow_task, &job);
}

static void nearest_backward(const sumi_run *run, int node)
{
    run_backward(run, node, SUMI_WINDOW_SUM, grow_backward_task);
}

const sumi_op sumi_op_nearest = {nearest_plan, nearest_forward, nearest_backward, NULL};

/* ---- Mean of all pixels ---------------------------------------------------------------------- */

static void mean_plan(sumi_network *net, int node)
{
    static const chunk_pass passes[] = {{SUMI_ROWS_MEAN, 1, 2}, {SUMI_ROWS_MEAN_BACKWARD, 1, 2}};
    int h = net->values[net->nodes[node].in.views[0].value].h;
    plan_chunks(net, node, h, row_floats_of(net, node), 1, passes);
}

static void mean_task(void *arg, int64_t image, int thread)
{
    const resample_job *job = arg;
    float *out = job->sink.dst;
    job->net->kernels->spatial_mean(&job->source, job->h, job->w, (int)image,
                                    out + image * job->sink.c, sumi_scratch(job->net, thread));
}

static void mean_forward(const sumi_run *run, int node)
{
    resample_job job = job_of(run, node);
    sumi_parallel_for(run->net->pool, run->n, mean_task, &job);
}

static void mean_backward_task(void *arg, int64_t chunk, int thread)
{
    const resample_job *job = arg;
    chunk_rows at = rows_of(job, chunk, job->h);
    job->net->kernels->spatial_mean_backward(&job->dy, &job->sink, job->h, job->w, at.image, at.y0,
                                             at.rows, job->plan->bands,
                                             sumi_scratch(job->net, thread));
}

static void mean_backward(const sumi_run *run, int node)
{
    run_backward(run, node, SUMI_WINDOW_MEAN, mean_backward_task);
}

const sumi_op sumi_op_mean = {mean_plan, mean_forward, mean_backward, NULL};
