/*
 * Sums of sources, and other passes over images in bands of rows.
 */
#include "cpu/network.h"

/* A band's scratch is kept near this size, so that it stays in the second-level cache. */
enum { BAND_FLOATS = 64 * 1024 };

int sumi_band_rows(int h, size_t row_floats)
{
    size_t rows = BAND_FLOATS / row_floats;
    return rows < 1 ? 1 : rows > (size_t)h ? h : (int)rows;
}

typedef struct {
    const sumi_network *net;
    const sumi_source *sources;
    const sumi_sink *sink;
    int count, h, w, rows, bands;
} sum_job;

static void sum_task(void *arg, int64_t chunk, int thread)
{
    const sum_job *job = arg;
    int band = (int)(chunk % job->bands), y0 = band * job->rows, left = job->h - y0;
    job->net->kernels->sum_sources(
        job->sources, job->count, job->sink, job->h, job->w, (int)(chunk / job->bands), y0,
        left < job->rows ? left : job->rows, job->bands, sumi_scratch(job->net, thread));
}

void sumi_sum_run(const sumi_run *run, const sumi_source *sources, int count, const sumi_sink *sink,
                  int value, int rows)
{
    const sumi_value_plan *plan = &run->net->values[value];
    sum_job job = {run->net, sources, sink, count, plan->h, plan->w, rows, 0};
    job.bands = (plan->h + rows - 1) / rows;
    const sumi_loop loop = {(int64_t)run->n * job.bands, sum_task, &job, 0, true};
    sumi_parallel_loops(run->net->pool, &loop, 1);
}

size_t sumi_sum_scratch(const sumi_network *net, int value, int rows)
{
    return sumi_rows_scratch_of(SUMI_ROWS_SUM, net->values[value].w, rows,
                                net->graph->values[value].channels)
               .total *
           sizeof(float);
}
