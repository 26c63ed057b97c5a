/*
 * Interprets a graph in double: see reference.h.
 */
#include "cpu/reference.h"
#include "kernels/attention_head.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *room(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    if (!memory)
        abort();
    return memory;
}

static int height(const reference *r, int value)
{
    return sumi_graph_size(r->graph, value, r->h);
}

static int width(const reference *r, int value)
{
    return sumi_graph_size(r->graph, value, r->w);
}

static size_t pixels_of(const reference *r, int value)
{
    return (size_t)height(r, value) * (size_t)width(r, value);
}

size_t reference_count(const reference *r, int value)
{
    return (size_t)r->n * pixels_of(r, value) * (size_t)r->graph->values[value].channels;
}

static size_t norm_count(const reference *r, int node)
{
    return (size_t)r->n * (size_t)sumi_edge_channels(r->graph, &r->graph->nodes[node].in);
}

void reference_open(reference *r, const sumi_graph *graph, int n, int h, int w, bool training)
{
    *r = (reference){.graph = graph, .training = training, .n = n, .h = h, .w = w};
    r->params = room(graph->params.value_count, sizeof(double));
    for (size_t i = 0; i < graph->params.value_count; i++)
        r->params[i] = (double)graph->params.values[i];
    r->values = room((size_t)graph->value_count, sizeof(double *));
    r->grads = room((size_t)graph->value_count, sizeof(double *));
    for (int i = 0; i < graph->value_count; i++) {
        r->values[i] = room(reference_count(r, i), sizeof(double));
        r->grads[i] = room(reference_count(r, i), sizeof(double));
    }
    r->mean = room((size_t)graph->node_count, sizeof(double *));
    r->inverse = room((size_t)graph->node_count, sizeof(double *));
    r->dnorm = room((size_t)graph->node_count, sizeof(double *));
    for (int i = 0; i < graph->node_count; i++) {
        if (graph->nodes[i].kind != SUMI_KIND_NORM)
            continue;
        r->mean[i] = room(norm_count(r, i), sizeof(double));
        r->inverse[i] = room(norm_count(r, i), sizeof(double));
        r->dnorm[i] = room(norm_count(r, i) * pixels_of(r, graph->nodes[i].in.views[0].value),
                           sizeof(double));
    }
}

void reference_close(reference *r)
{
    for (int i = 0; i < r->graph->value_count; i++) {
        free(r->values[i]);
        free(r->grads[i]);
    }
    for (int i = 0; i < r->graph->node_count; i++) {
        free(r->mean[i]);
        free(r->inverse[i]);
        free(r->dnorm[i]);
    }
    void *all[] = {r->values, r->grads, r->mean, r->inverse, r->dnorm, r->params, r->dparams};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static const sumi_layer *layer_of(const reference *r, int node)
{
    return &r->graph->layers[r->graph->nodes[node].layer];
}

static double param(const reference *r, int index, size_t i)
{
    return r->params[r->graph->params.items[index].offset + i];
}

static double *dparam(const reference *r, int index)
{
    return r->dparams + r->graph->params.items[index].offset;
}

/* ---- Noise ----------------------------------------------------------------------------------- */

/* From -1 to 1 (splitmix64). */
static double draw(reference *r)
{
    uint64_t z = r->noise.seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ z >> 31) >> 11) * 0x1p-52 - 1;
}

static void disturb(reference *r, double relative, double *x, size_t count)
{
    double sum = 0;
    if (relative == 0 && r->noise.spread == 0)
        return;
    for (size_t i = 0; i < count; i++)
        sum += x[i] * x[i];
    double spread = r->noise.spread * sqrt(sum / (double)count);
    for (size_t i = 0; i < count; i++)
        x[i] += relative * draw(r) * fabs(x[i]) + spread * draw(r);
}

/* The rows of a norm's gradient, one number for all pixels of a channel, are rounded to float; and
 * where the gradient is the same in all pixels, since it came through a mean, so are product and
 * sums with them. Such errors do not cancel in a sum over pixels, as those that are drawn pixel by
 * pixel do: four halves of a float's last place. */
static const double ALIKE = 0x1p-22;

/* The relative noise of an edge's tensors, or of what is added up to them. */
static double relative_noise(const reference *r, const sumi_edge *edge)
{
    const sumi_value *value = &r->graph->values[edge->views[0].value];
    return value->vector ? 0 : r->noise.relative;
}

/* A tensor that a node has written, or its gradient. */
static void disturb_value(reference *r, int value, double *x)
{
    bool wide = r->graph->values[value].vector || sumi_graph_is_output(r->graph, value);
    disturb(r, wide ? 0 : r->noise.relative, x, reference_count(r, value));
}

/* ---- Views ----------------------------------------------------------------------------------- */

static double act_of(sumi_act act, double z)
{
    return act == SUMI_ACT_RELU ? fmax(z, 0) : act == SUMI_ACT_SILU ? z / (1 + exp(-z)) : z;
}

static double act_slope(sumi_act act, double z)
{
    double s = act == SUMI_ACT_SILU ? 1 / (1 + exp(-z)) : 0;
    return act == SUMI_ACT_RELU ? z > 0 : act == SUMI_ACT_SILU ? s + z * s * (1 - s) : 1;
}

/* What a norm's node makes of number r of channel k (of the norm's) of image n, modulation and all;
 * factor: what it was multiplied with in all. */
static double normed(const reference *r, int node, int n, int k, double x, double *factor)
{
    const sumi_layer *layer = layer_of(r, node);
    int c = layer->in_channels, vector = r->graph->nodes[node].vector;
    double inverse = r->inverse[node][n * c + k];
    double gamma = layer->weight >= 0 ? param(r, layer->weight, (size_t)k) : 1;
    double beta = layer->bias >= 0 ? param(r, layer->bias, (size_t)k) : 0;
    double a = vector >= 0 ? r->values[vector][n * 2 * c + k] : 0;
    double b = vector >= 0 ? r->values[vector][n * 2 * c + c + k] : 0;
    *factor = (1 + a) * gamma * inverse;
    return (1 + a) * (gamma * (x - r->mean[node][n * c + k]) * inverse + beta) + b;
}

/* The number before the activation, of one view. */
static double before_act(const reference *r, const sumi_view *view, int n, size_t pixel, int k)
{
    const sumi_value *value = &r->graph->values[view->value];
    const sumi_form *form = &value->forms[view->form];
    size_t at = ((size_t)n * pixels_of(r, view->value) + pixel) * (size_t)value->channels;
    double x = r->values[view->value][at + (size_t)k], factor;
    return form->norm >= 0 ? normed(r, form->norm, n, form->first + k, x, &factor) : x;
}

/* An edge's views side by side: [n][pixels][channels]. */
static double *gather(reference *r, const sumi_edge *in)
{
    size_t pixels = pixels_of(r, in->views[0].value), at = 0;
    double *out =
        room((size_t)r->n * pixels * (size_t)sumi_edge_channels(r->graph, in), sizeof *out);
    for (int n = 0; n < r->n; n++)
        for (size_t p = 0; p < pixels; p++)
            for (int i = 0; i < in->count; i++) {
                const sumi_view *view = &in->views[i];
                const sumi_value *value = &r->graph->values[view->value];
                const sumi_form *form = &value->forms[view->form];
                for (int k = 0; k < value->channels; k++) {
                    double z = before_act(r, view, n, p, k);
                    if (form->act == SUMI_ACT_RELU && (z != 0 || form->norm >= 0))
                        r->kink = fmin(r->kink, fabs(z)); /* maxima of zeros are zeros */
                    out[at] = act_of(form->act, z);
                    if (view->post >= 0)
                        out[at] += r->values[view->post][n * r->graph->values[view->post].channels +
                                                         view->post_offset + k];
                    at++;
                }
            }
    return out;
}

/* The reverse: the gradient of what gather returned, to everything that it came from. */
static void scatter(reference *r, const sumi_edge *in, double *d)
{
    size_t pixels = pixels_of(r, in->views[0].value), at = 0;
    disturb(r, relative_noise(r, in), d,
            (size_t)r->n * pixels * (size_t)sumi_edge_channels(r->graph, in));
    for (int n = 0; n < r->n; n++)
        for (size_t p = 0; p < pixels; p++)
            for (int i = 0; i < in->count; i++) {
                const sumi_view *view = &in->views[i];
                const sumi_value *value = &r->graph->values[view->value];
                const sumi_form *form = &value->forms[view->form];
                for (int k = 0; k < value->channels; k++, at++) {
                    double slope = act_slope(form->act, before_act(r, view, n, p, k)) * d[at];
                    if (view->post >= 0)
                        r->grads[view->post][n * r->graph->values[view->post].channels +
                                             view->post_offset + k] += d[at];
                    if (form->norm >= 0)
                        r->dnorm[form->norm][((size_t)n * pixels + p) *
                                                 (size_t)layer_of(r, form->norm)->in_channels +
                                             (size_t)(form->first + k)] += slope;
                    else
                        r->grads[view->value][((size_t)n * pixels + p) * (size_t)value->channels +
                                              (size_t)k] += slope;
                }
            }
}

/* ---- Norms ----------------------------------------------------------------------------------- */

/* Calls fn for each raw number that a norm reads. */
typedef void (*norm_visit)(reference *r, int node, int n, size_t pixel, int k, int value, size_t at,
                           void *user);

static void visit(reference *r, int node, norm_visit fn, void *user)
{
    const sumi_edge *in = &r->graph->nodes[node].in;
    size_t pixels = pixels_of(r, in->views[0].value);
    for (int n = 0; n < r->n; n++)
        for (size_t p = 0; p < pixels; p++)
            for (int i = 0, k = 0; i < in->count; i++) {
                int value = in->views[i].value, c = r->graph->values[value].channels;
                for (int j = 0; j < c; j++, k++)
                    fn(r, node, n, p, k, value, ((size_t)n * pixels + p) * (size_t)c + (size_t)j,
                       user);
            }
}

/* Where the statistics of channel k of image n stand among those of the norm. */
static int group_of(const reference *r, int node, int n, int k)
{
    const sumi_layer *layer = layer_of(r, node);
    if (layer->groups == 0)
        return k;
    return n * layer->groups + k / (layer->in_channels / layer->groups);
}

static void add_mean(reference *r, int node, int n, size_t p, int k, int value, size_t at,
                     void *user)
{
    (void)p;
    ((double *)user)[2 * group_of(r, node, n, k)] += r->values[value][at];
    ((double *)user)[2 * group_of(r, node, n, k) + 1] += 1;
}

typedef struct {
    const double *mean;
    double *sum;
} spread;

static void add_square(reference *r, int node, int n, size_t p, int k, int value, size_t at,
                       void *user)
{
    spread *s = user;
    int g = group_of(r, node, n, k);
    double x = r->values[value][at] - s->mean[2 * g] / s->mean[2 * g + 1];
    (void)p;
    s->sum[g] += x * x;
}

static void norm_forward(reference *r, int node)
{
    const sumi_layer *layer = layer_of(r, node);
    const sumi_params *params = &r->graph->params;
    int c = layer->in_channels;
    size_t most = norm_count(r, node);
    double *sums = room(2 * most, sizeof *sums), *squares = room(most, sizeof *squares);
    spread s = {sums, squares};
    visit(r, node, add_mean, sums);
    visit(r, node, add_square, &s);
    for (int n = 0; n < r->n; n++)
        for (int k = 0; k < c; k++) {
            int g = group_of(r, node, n, k);
            double mean = sums[2 * g] / sums[2 * g + 1];
            double variance = squares[g] / sums[2 * g + 1];
            if (!r->training && layer->groups == 0) {
                mean = (double)params->statistics[params->items[layer->mean].offset + (size_t)k];
                variance =
                    (double)params->statistics[params->items[layer->variance].offset + (size_t)k];
            }
            r->mean[node][n * c + k] = mean;
            r->inverse[node][n * c + k] = 1 / sqrt(variance + 1e-5);
        }
    free(sums);
    free(squares);
}

/* Means of e and e x^ of each group: [group][3], the third a count. */
static void add_shares(reference *r, int node, int n, size_t p, int k, int value, size_t at,
                       void *user)
{
    double factor, *sums = (double *)user + 3 * group_of(r, node, n, k);
    int c = layer_of(r, node)->in_channels;
    size_t pixels = pixels_of(r, value);
    double x = r->values[value][at], inverse = r->inverse[node][n * c + k];
    normed(r, node, n, k, x, &factor);
    double d = r->dnorm[node][((size_t)n * pixels + p) * (size_t)c + (size_t)k];
    double e = d * factor / inverse;
    sums[0] += e;
    sums[1] += e * (x - r->mean[node][n * c + k]) * inverse;
    sums[2] += 1;
}

/* The sums, and how far the three terms of each channel of each image are off in all pixels. */
typedef struct {
    const double *sums, *off; /* [group][3], [n][c][3] */
} shares;

static void give_shares(reference *r, int node, int n, size_t p, int k, int value, size_t at,
                        void *user)
{
    const shares *given = user;
    const double *sums = given->sums + 3 * group_of(r, node, n, k);
    const sumi_layer *layer = layer_of(r, node);
    int c = layer->in_channels, vector = r->graph->nodes[node].vector;
    double factor, x = r->values[value][at], inverse = r->inverse[node][n * c + k];
    double hat = (x - r->mean[node][n * c + k]) * inverse;
    normed(r, node, n, k, x, &factor);
    double d = r->dnorm[node][((size_t)n * pixels_of(r, value) + p) * (size_t)c + (size_t)k];
    double gamma = layer->weight >= 0 ? param(r, layer->weight, (size_t)k) : 1;
    double beta = layer->bias >= 0 ? param(r, layer->bias, (size_t)k) : 0;
    double a = vector >= 0 ? r->values[vector][n * 2 * c + k] : 0;
    if (layer->weight >= 0) {
        dparam(r, layer->weight)[k] += d * (1 + a) * hat;
        dparam(r, layer->bias)[k] += d * (1 + a);
    }
    if (vector >= 0) {
        r->grads[vector][n * 2 * c + k] += d * (gamma * hat + beta);
        r->grads[vector][n * 2 * c + c + k] += d;
    }
    double e1 = inverse * sums[0] / sums[2], slope = inverse * inverse * sums[1] / sums[2];
    double mean = r->mean[node][n * c + k];
    const double *off = given->off + 3 * (n * c + k);
    r->grads[value][at] += d * factor - e1 - slope * (x - mean);
    r->grads[value][at] += off[0] * d * factor + off[1] * (slope * mean - e1) + off[2] * slope * x;
    if (r->noise.spread > 0) /* the terms may cancel each other */
        r->grads[value][at] += r->noise.spread * draw(r) *
                               (fabs(d * factor) + fabs(e1) + fabs(slope) * (fabs(x) + fabs(mean)));
}

static void norm_backward(reference *r, int node)
{
    size_t most = 3 * norm_count(r, node);
    double *sums = room(most, sizeof *sums), *off = room(most, sizeof *off);
    shares given = {sums, off};
    for (size_t i = 0; i < most && r->noise.spread > 0; i++)
        off[i] = ALIKE * draw(r);
    visit(r, node, add_shares, sums);
    visit(r, node, give_shares, &given);
    free(sums);
    free(off);
}

/* ---- Layers ---------------------------------------------------------------------------------- */

/* y += w * x, or, with dy given, dx and dw += what follows; a linear layer is 1x1. */
static void matrix(const reference *r, int node, const double *x, double *dx)
{
    const sumi_layer *layer = layer_of(r, node);
    int value = r->graph->nodes[node].out, h = height(r, value), w = width(r, value);
    int ci = layer->in_channels, co = layer->out_channels, half = layer->ksize / 2;
    size_t first = r->graph->params.items[layer->weight].offset;
    double *y = r->values[value], *dy = r->grads[value];
    for (int n = 0; n < r->n; n++)
        for (int p = 0; p < h * w; p++)
            for (int tap = 0; tap < layer->ksize * layer->ksize; tap++) {
                int row = p / w + tap / layer->ksize - half,
                    col = p % w + tap % layer->ksize - half;
                if (row < 0 || row >= h || col < 0 || col >= w)
                    continue;
                size_t from = ((size_t)n * (size_t)(h * w) + (size_t)(row * w + col)) * (size_t)ci;
                size_t to = ((size_t)n * (size_t)(h * w) + (size_t)p) * (size_t)co;
                for (int i = 0; i < ci; i++) {
                    size_t at = first + ((size_t)tap * (size_t)ci + (size_t)i) * (size_t)co;
                    const double *weight = r->params + at;
                    double x_i = x[from + (size_t)i], sum = 0;
                    for (int o = 0; o < co && !dx; o++)
                        y[to + (size_t)o] += weight[o] * x_i;
                    for (int o = 0; o < co && dx; o++) {
                        sum += weight[o] * dy[to + (size_t)o];
                        r->dparams[at + (size_t)o] += x_i * dy[to + (size_t)o];
                    }
                    if (dx)
                        dx[from + (size_t)i] += sum;
                }
            }
}

static void layer_forward(reference *r, int node)
{
    const sumi_layer *layer = layer_of(r, node);
    int value = r->graph->nodes[node].out;
    double *x = gather(r, &r->graph->nodes[node].in);
    for (size_t i = 0; i < reference_count(r, value); i++)
        r->values[value][i] = param(r, layer->bias, i % (size_t)layer->out_channels);
    matrix(r, node, x, NULL);
    free(x);
}

static void layer_backward(reference *r, int node)
{
    const sumi_layer *layer = layer_of(r, node);
    const sumi_edge *in = &r->graph->nodes[node].in;
    int value = r->graph->nodes[node].out;
    double *x = gather(r, in);
    double *dx =
        room(reference_count(r, value) / (size_t)layer->out_channels * (size_t)layer->in_channels,
             sizeof *dx);
    for (size_t i = 0; i < reference_count(r, value); i++)
        dparam(r, layer->bias)[i % (size_t)layer->out_channels] += r->grads[value][i];
    matrix(r, node, x, dx);
    disturb(r, 0, dparam(r, layer->weight), r->graph->params.items[layer->weight].count);
    scatter(r, in, dx);
    free(x);
    free(dx);
}

/* ---- Changes of size ------------------------------------------------------------------------- */

/* The weight of row (or column) `from` of `count` in row `to` of twice as many. */
static double bilinear(int to, int from, int count)
{
    double at = count > 1 ? to * (count - 1.0) / (2.0 * count - 1) : 0;
    return fmax(0, 1 - fabs(at - from));
}

/* What number (row, col) of the input counts in (y, x) of the output. */
static double weight_of(const reference *r, int node, int y, int x, int row, int col)
{
    int in = r->graph->nodes[node].in.views[0].value, h = height(r, in), w = width(r, in);
    switch (r->graph->nodes[node].kind) {
    case SUMI_KIND_AVG_POOL:
        return y == row / 2 && x == col / 2 ? 0.25 : 0;
    case SUMI_KIND_SUBSAMPLE:
        return 2 * y == row && 2 * x == col;
    case SUMI_KIND_UPSAMPLE_NEAREST:
        return y / 2 == row && x / 2 == col;
    case SUMI_KIND_UPSAMPLE:
        return bilinear(y, row, h) * bilinear(x, col, w);
    default: /* mean */
        return 1.0 / (h * w);
    }
}

/* Forward where d is NULL, else the reverse into d. */
static void resample(const reference *r, int node, const double *x, double *d)
{
    int in = r->graph->nodes[node].in.views[0].value, out = r->graph->nodes[node].out;
    int ih = height(r, in), iw = width(r, in), oh = height(r, out), ow = width(r, out);
    int c = r->graph->values[out].channels;
    for (int n = 0; n < r->n; n++)
        for (int o = 0; o < oh * ow; o++)
            for (int i = 0; i < ih * iw; i++) {
                double weight = weight_of(r, node, o / ow, o % ow, i / iw, i % iw);
                size_t to = ((size_t)n * (size_t)(oh * ow) + (size_t)o) * (size_t)c;
                size_t from = ((size_t)n * (size_t)(ih * iw) + (size_t)i) * (size_t)c;
                for (int k = 0; k < c && weight > 0; k++)
                    if (d)
                        d[from + (size_t)k] += weight * r->grads[out][to + (size_t)k];
                    else
                        r->values[out][to + (size_t)k] += weight * x[from + (size_t)k];
            }
}

/* Likewise; the first maximum in row-major order. */
static void max_pool(reference *r, int node, const double *x, double *d)
{
    int in = r->graph->nodes[node].in.views[0].value, out = r->graph->nodes[node].out;
    int w = width(r, in), ow = width(r, out), oh = height(r, out);
    int c = r->graph->values[out].channels;
    for (int n = 0; n < r->n; n++)
        for (int o = 0; o < oh * ow; o++)
            for (int k = 0; k < c; k++) {
                size_t best = 0, to = ((size_t)(n * oh * ow + o)) * (size_t)c + (size_t)k;
                double top = -INFINITY, second = -INFINITY;
                for (int i = 0; i < 4; i++) {
                    int p = (2 * (o / ow) + i / 2) * w + 2 * (o % ow) + i % 2;
                    size_t at = ((size_t)(n * 4 * oh * ow + p)) * (size_t)c + (size_t)k;
                    second = fmax(second, fmin(top, x[at]));
                    if (x[at] > top) {
                        top = x[at];
                        best = at;
                    }
                }
                if (top != second) /* zeros of a ReLU, or copies of a pixel, tie always */
                    r->kink = fmin(r->kink, top - second);
                if (d)
                    d[best] += r->grads[out][to];
                else
                    r->values[out][to] = top;
            }
}

static int within(int at, int count)
{
    return at < 0 ? 0 : at < count ? at : count - 1;
}

/* Edges repeated around the image, or cut off. */
static void reframe(const reference *r, int node, const double *x, double *d)
{
    int in = r->graph->nodes[node].in.views[0].value, out = r->graph->nodes[node].out;
    int ih = height(r, in), iw = width(r, in), oh = height(r, out), ow = width(r, out);
    int c = r->graph->values[out].channels;
    for (int i = 0; i < r->n * oh * ow * c; i++) {
        int k = i % c, col = i / c % ow, row = i / c / ow % oh, n = i / c / ow / oh;
        row = within(row - (oh - ih) / 2, ih);
        int from = ((n * ih + row) * iw + within(col - (ow - iw) / 2, iw)) * c + k;
        if (d)
            d[from] += r->grads[out][i];
        else
            r->values[out][i] = x[from];
    }
}

static void reshape(reference *r, int node, bool backward)
{
    const sumi_edge *in = &r->graph->nodes[node].in;
    sumi_kind kind = r->graph->nodes[node].kind;
    double *x = gather(r, in);
    double *d = backward ? room(reference_count(r, in->views[0].value), sizeof *d) : NULL;
    if (kind == SUMI_KIND_MAX_POOL)
        max_pool(r, node, x, d);
    else if (kind == SUMI_KIND_PAD || kind == SUMI_KIND_CROP)
        reframe(r, node, x, d);
    else
        resample(r, node, x, d);
    if (d)
        scatter(r, in, d);
    free(x);
    free(d);
}

/* ---- Attention ------------------------------------------------------------------------------- */

static void attention(reference *r, int node, bool backward)
{
    const sumi_node *op = &r->graph->nodes[node];
    int t = (int)pixels_of(r, op->out), c = r->graph->values[op->out].channels;
    size_t count = (size_t)(r->n * t * 3 * c);
    double *x = gather(r, &op->in), *d = room(count, sizeof *d);
    head a = {.pixels = t, .c = c, .d = c / op->heads};
    a.p = room((size_t)(2 * t * t), sizeof *a.p);
    a.dp = a.p + t * t;
    for (int i = 0; i < r->n * op->heads; i++) {
        int n = i / op->heads;
        a.k0 = i % op->heads * a.d;
        a.x = x + n * t * 3 * c;
        head_scores(&a);
        disturb(r, 0, a.p, (size_t)(t * t));
        head_shares(&a);
        if (backward)
            head_gradient(&a, r->grads[op->out] + n * t * c, d + n * t * 3 * c);
        else
            head_mix(&a, r->values[op->out] + n * t * c);
    }
    if (backward)
        scatter(r, &op->in, d);
    free(x);
    free(d);
    free(a.p);
}

/* ---- The rest -------------------------------------------------------------------------------- */

static void add(reference *r, int node, bool backward)
{
    const sumi_node *op = &r->graph->nodes[node];
    for (int i = 0; i < op->in.count; i++) {
        sumi_edge one = {.views = {op->in.views[i]}, .count = 1};
        double *x = gather(r, &one);
        if (backward) {
            memcpy(x, r->grads[op->out], reference_count(r, op->out) * sizeof *x);
            scatter(r, &one, x);
            free(x);
            continue;
        }
        for (size_t j = 0; j < reference_count(r, op->out); j++)
            r->values[op->out][j] += x[j];
        free(x);
    }
}

static void embed(reference *r, int node, bool backward)
{
    const sumi_node *op = &r->graph->nodes[node];
    int dim = r->graph->values[op->out].channels;
    for (int i = 0; i < r->n * dim; i++) {
        int n = i / dim, k = i % dim, label = r->graph->labels >= 0 ? r->in.labels[n] : 0;
        double t = r->graph->time >= 0 ? (double)r->in.time[n] : 0;
        if (op->kind == SUMI_KIND_SINUSOID) {
            double angle = t / pow(10000, k / (2.0 * dim));
            r->values[op->out][i] = k % 2 ? cos(angle) : sin(angle);
        } else if (op->kind == SUMI_KIND_FOURIER) {
            double angle = t * op->lowest * pow(op->ratio, k % (dim / 2));
            r->values[op->out][i] = k < dim / 2 ? cos(angle) : sin(angle);
        } else if (op->kind == SUMI_KIND_CONDITION) {
            r->values[op->out][i] = r->in.condition ? (double)r->in.condition[i] : 0;
        } else {
            size_t row = (size_t)(label < 0 ? r->graph->classes : label);
            size_t at = row * (size_t)dim + (size_t)k;
            if (backward)
                dparam(r, layer_of(r, node)->weight)[at] += r->grads[op->out][i];
            else
                r->values[op->out][i] = param(r, layer_of(r, node)->weight, at);
        }
    }
}

static void squared_error(reference *r, int value)
{
    size_t count = reference_count(r, value), image = count / (size_t)r->n;
    for (size_t i = 0; i < count; i++) {
        double weight = r->in.weight ? (double)r->in.weight[i / image] : 1;
        double error = r->values[value][i] - (double)r->in.target[i];
        r->loss += weight * error * error / (double)count;
        r->grads[value][i] += 2 * weight * error / (double)count;
    }
}

static void cross_entropy(reference *r, const sumi_node *op)
{
    int value = op->in.views[0].value, classes = r->graph->values[value].channels;
    for (int n = 0; n < r->n; n++) {
        const double *z = r->values[value] + n * classes;
        double sum = 0, top = z[0];
        for (int k = 1; k < classes; k++)
            top = fmax(top, z[k]);
        for (int k = 0; k < classes; k++)
            sum += exp(z[k] - top);
        for (int k = 0; k < classes && r->in.labels[n] >= 0; k++) {
            double q = (k == r->in.labels[n] ? 1 - op->smoothing : 0) + op->smoothing / classes;
            r->loss -= q * (z[k] - top - log(sum)) / r->n;
            r->grads[value][n * classes + k] += (exp(z[k] - top) / sum - q) / r->n;
        }
    }
}

static void forward(reference *r, int node)
{
    switch (r->graph->nodes[node].kind) {
    case SUMI_KIND_SINUSOID:
    case SUMI_KIND_FOURIER:
    case SUMI_KIND_EMBEDDING:
    case SUMI_KIND_CONDITION:
        embed(r, node, false);
        break;
    case SUMI_KIND_CONV:
    case SUMI_KIND_LINEAR:
        layer_forward(r, node);
        break;
    case SUMI_KIND_NORM:
        if (!r->graph->nodes[node].superseded)
            norm_forward(r, node);
        break;
    case SUMI_KIND_ADD:
        add(r, node, false);
        break;
    case SUMI_KIND_ATTENTION:
        attention(r, node, false);
        break;
    case SUMI_KIND_MSE:
        if (r->training)
            squared_error(r, r->graph->nodes[node].in.views[0].value);
        break;
    case SUMI_KIND_CROSS_ENTROPY:
        if (r->training)
            cross_entropy(r, &r->graph->nodes[node]);
        break;
    default:
        reshape(r, node, false);
    }
}

static void backward(reference *r, int node)
{
    switch (r->graph->nodes[node].kind) {
    case SUMI_KIND_EMBEDDING:
        embed(r, node, true);
        break;
    case SUMI_KIND_CONV:
    case SUMI_KIND_LINEAR:
        layer_backward(r, node);
        break;
    case SUMI_KIND_NORM:
        if (!r->graph->nodes[node].superseded)
            norm_backward(r, node);
        break;
    case SUMI_KIND_ADD:
        add(r, node, true);
        break;
    case SUMI_KIND_ATTENTION:
        attention(r, node, true);
        break;
    case SUMI_KIND_SINUSOID:
    case SUMI_KIND_FOURIER:
    case SUMI_KIND_CONDITION:
    case SUMI_KIND_MSE:
    case SUMI_KIND_CROSS_ENTROPY:
        break;
    default:
        reshape(r, node, true);
    }
}

void reference_run(reference *r)
{
    const sumi_graph *graph = r->graph;
    r->loss = 0;
    r->kink = INFINITY;
    for (int i = 0; i < graph->value_count; i++) {
        memset(r->values[i], 0, reference_count(r, i) * sizeof(double));
        memset(r->grads[i], 0, reference_count(r, i) * sizeof(double));
        for (size_t j = 0; j < reference_count(r, i); j++) {
            if (i == graph->image)
                r->values[i][j] = (double)r->in.image[j];
            if (i == graph->time)
                r->values[i][j] = (double)r->in.time[j];
        }
    }
    for (int i = 0; i < graph->node_count; i++) {
        if (r->dnorm[i])
            memset(r->dnorm[i], 0,
                   norm_count(r, i) * pixels_of(r, graph->nodes[i].in.views[0].value) *
                       sizeof(double));
        forward(r, i);
        if (graph->nodes[i].out >= 0)
            disturb_value(r, graph->nodes[i].out, r->values[graph->nodes[i].out]);
    }
    if (!r->dparams)
        return;
    memset(r->dparams, 0, graph->params.value_count * sizeof(double));
    for (int i = graph->node_count - 1; i >= 0; i--) {
        if (graph->nodes[i].out >= 0)
            disturb_value(r, graph->nodes[i].out, r->grads[graph->nodes[i].out]);
        backward(r, i);
    }
}
