/*
 * Turns views and gradients into the kernels' sources and sinks.
 */
#include "cpu/ops.h"

/* ---- Tensors --------------------------------------------------------------------------------- */

void *sumi_value_data(const sumi_run *run, int value)
{
    const sumi_graph *graph = run->net->graph;
    sumi_place raw = run->net->values[value].raw;
    if (raw != SUMI_NOWHERE)
        return sumi_at(run->net, raw);
    for (int i = 0; i < graph->output_count && run->out; i++)
        if (graph->outputs[i].value == value)
            return run->out[i];
    return (void *)(uintptr_t)(const void *)(value == graph->image    ? run->in.image
                                             : value == graph->labels ? (const void *)run->in.labels
                                             : value == graph->time   ? run->in.time
                                             : value == graph->condition ? run->in.condition
                                                                         : NULL);
}

const float *sumi_param_data(const sumi_network *net, int param)
{
    const sumi_param *item = &net->graph->params.items[param];
    return (sumi_param_trainable(item) ? net->weights.values : net->weights.statistics) +
           item->offset;
}

/* ---- Sources and sinks ----------------------------------------------------------------------- */

/* A value in one of its forms, without a shift. */
static void form_source(const sumi_run *run, int value, const sumi_form *form, sumi_source *out)
{
    const sumi_network *net = run->net;
    *out = (sumi_source){.r = sumi_value_data(run, value),
                         .bf16 = net->values[value].bf16,
                         .c = net->graph->values[value].channels,
                         .act = form->act};
    if (form->norm >= 0) {
        sumi_norm_rows rows = sumi_norm_rows_of(net, form->norm);
        out->scale = rows.scale + form->first;
        out->shift = rows.shift + form->first;
        out->coef_stride = rows.stride;
    }
}

void sumi_view_source(const sumi_run *run, const sumi_view *view, sumi_source *out)
{
    form_source(run, view->value, sumi_view_pending(run->net, view), out);
    if (view->post >= 0) {
        out->post = (const float *)sumi_value_data(run, view->post) + view->post_offset;
        out->post_stride = (size_t)run->net->graph->values[view->post].channels;
    }
}

int sumi_edge_sources(const sumi_run *run, const sumi_edge *edge, sumi_source *out)
{
    for (int i = 0; i < edge->count; i++)
        sumi_view_source(run, &edge->views[i], &out[i]);
    return edge->count;
}

void sumi_value_sink(const sumi_run *run, int value, sumi_sink *out)
{
    const sumi_value_plan *plan = &run->net->values[value];
    *out = (sumi_sink){.dst = sumi_value_data(run, value),
                       .bf16 = plan->bf16,
                       .c = run->net->graph->values[value].channels,
                       .moments = sumi_at(run->net, plan->moments)};
}

/* True where an earlier term stands for a form with the same norm. */
static bool shares_norm(const sumi_network *net, int value, const sumi_term *term)
{
    const sumi_form *forms = net->graph->values[value].forms;
    for (const sumi_term *t = net->values[value].terms; t < term; t++)
        if (t->value < 0 && forms[t->form].norm == forms[term->form].norm)
            return true;
    return false;
}

/* True where the last that adds to a form's gradient leaves it behind the form's activation: for
 * its norm it takes that one's slope anyway, and the slope of SiLU is a long sum. */
static bool goes_through(const sumi_network *net, int value, int form)
{
    const sumi_form *is = &net->graph->values[value].forms[form];
    return is->norm >= 0 && is->act == SUMI_ACT_SILU && !net->graph->values[value].vector;
}

void sumi_term_source(const sumi_run *run, int value, const sumi_term *term, sumi_source *out)
{
    const sumi_network *net = run->net;
    const sumi_form *form = &net->graph->values[value].forms[term->form];
    if (term->value >= 0) {
        sumi_gradient_source(run, term->value, out);
        return;
    }
    form_source(run, value, form, out);
    out->g = sumi_at(net, net->values[value].forms[term->form].gradient);
    if (goes_through(net, value, term->form))
        out->act = SUMI_ACT_NONE;
    /* A norm's sums are over all its forms, so what comes of them counts once; the other terms are
     * multiplied with `scale`, which is what ga is. */
    if (form->norm >= 0 && !shares_norm(net, value, term)) {
        sumi_norm_rows rows = sumi_norm_rows_of(net, form->norm);
        out->ga = rows.ga + form->first;
        out->gb = rows.gb + form->first;
        out->gk = rows.gk + form->first;
    }
}

void sumi_gradient_source(const sumi_run *run, int value, sumi_source *out)
{
    const sumi_value_plan *plan = &run->net->values[value];
    if (plan->term_count == 1) {
        sumi_term_source(run, value, &plan->terms[0], out);
        return;
    }
    *out = (sumi_source){.g = sumi_at(run->net, plan->sum),
                         .bf16 = plan->bf16,
                         .c = run->net->graph->values[value].channels};
}

void sumi_gradient_sink(const sumi_run *run, int node, int i, sumi_source *stat, sumi_sink *out)
{
    const sumi_network *net = run->net;
    const sumi_view *view = &net->nodes[node].in.views[i];
    const sumi_value_plan *value = &net->values[view->value];
    const sumi_form_plan *plan = &value->forms[view->form];
    const sumi_form *form = sumi_view_form(net->graph, view);
    *out = (sumi_sink){.c = net->graph->values[view->value].channels, .bf16 = value->bf16};
    out->dst = sumi_at(net, plan->gradient);
    out->accumulate = net->nodes[node].sources[i].accumulate;
    out->sums = sumi_at(net, net->nodes[node].sources[i].sums);
    if (form->norm >= 0 && plan->final_reader == node && plan->final_source == i) {
        form_source(run, view->value, form, stat);
        out->stat = stat;
        out->through_silu = goes_through(net, view->value, view->form);
        out->mean = sumi_norm_rows_of(net, form->norm).mean + form->first;
    }
}

/* Adds the first row of a source's sums, over its bands, to the gradient of the vector that shifts
 * it. Every (image, channel) belongs to one reader, so images may run in any order. */
typedef struct {
    const float *sums;
    float *gradient;
    int bands, c;
    size_t stride;
} post_job;

static void post_task(void *arg, int64_t image, int thread)
{
    const post_job *job = arg;
    (void)thread;
    size_t c = (size_t)job->c;
    const float *sums = job->sums + (size_t)image * (size_t)job->bands * 3 * c;
    float *gradient = job->gradient + (size_t)image * job->stride;
    for (size_t k = 0; k < c; k++) {
        double sum = 0;
        for (int band = 0; band < job->bands; band++)
            sum += (double)sums[(size_t)band * 3 * c + k];
        gradient[k] += (float)sum;
    }
}

void sumi_post_gradients(const sumi_run *run, int node)
{
    const sumi_network *net = run->net;
    const sumi_edge *in = &net->nodes[node].in;
    for (int i = 0; i < in->count; i++) {
        const sumi_view *view = &in->views[i];
        if (view->post < 0 || net->values[view->post].forms[0].gradient == SUMI_NOWHERE)
            continue;
        float *gradient = sumi_at(net, net->values[view->post].forms[0].gradient);
        post_job job = {sumi_at(net, net->nodes[node].sources[i].sums),
                        gradient + view->post_offset, net->nodes[node].sources[i].sum_bands,
                        net->graph->values[view->value].channels,
                        (size_t)net->graph->values[view->post].channels};
        sumi_parallel_for(net->pool, run->n, post_task, &job);
    }
}

/* ---- The unfused executor's separate pass ---------------------------------------------------- */

typedef struct {
    const sumi_network *net;
    const sumi_source *sources;
    int count, h, w, c;
    float *dst;
} materialise_job;

static void materialise_task(void *arg, int64_t image, int thread)
{
    const materialise_job *job = arg;
    (void)thread;
    size_t c = (size_t)job->c, row = (size_t)job->w * c;
    sumi_strip strip = {.n = (int)image,
                        .rows = job->h,
                        .cols = job->w,
                        .cn = job->c,
                        .dst = job->dst + (size_t)image * (size_t)job->h * row,
                        .row_stride = row,
                        .pixel_stride = c};
    job->net->kernels->fill(job->sources, job->count, job->h, job->w, &strip);
}

void sumi_materialise(const sumi_network *net, const sumi_source *sources, int count, int n, int h,
                      int w, float *dst, sumi_source *out)
{
    int c = 0;
    for (int i = 0; i < count; i++)
        c += sources[i].c;
    materialise_job job = {net, sources, count, h, w, c, dst};
    sumi_parallel_for(net->pool, n, materialise_task, &job);
    *out = (sumi_source){.r = dst, .c = c};
}
