/*
 * 3x3 and 1x1 convolution with bias. Forward: one pass over sources that may still have norm,
 * activation and shift pending. Backward: the input gradient is a convolution of the output
 * gradient with the flipped, transposed weights, stored to each source; the weight gradient a sum
 * of outer products. In predict mode a following batch norm is folded into weights and bias.
 */
#include <stdio.h>

#include "cpu/ops.h"

/* Partial weight gradients are kept apart for pieces of the images: as many threads can work on one
 * without cutting its channels. Fewer where they are so large that they would leave the last level
 * of cache while they are added to, or that to write and add them up is more than half of what it
 * takes to read the tensors that they are made of: small images with many channels. */
enum { WGRAD_PIECES_MAX = 16, WGRAD_PIECES_MIN = 2, WGRAD_FLOATS = 4 << 20 };

/* ---- Plan ------------------------------------------------------------------------------------ */

/* Sources that go through one algorithm. Of two parts, the second adds what the first has left in
 * the output. */
typedef struct {
    int first, count; /* of the node's sources */
    int c0;           /* the first of the layer's input channels */
    sumi_conv_spec forward, dgrad, wgrad;
    int wgrad_pieces; /* partial gradients that are kept apart: of each group of images, if cut */
    sumi_place packed, packed_dgrad, partials;
} conv_part;

typedef struct {
    conv_part parts[SUMI_PARTS_MAX];
    int part_count;
    sumi_place
        bias; /* predict: bias with the norm folded in, then what the weights are scaled by */
} conv_plan;

static conv_plan *plan_of(const sumi_network *net, int node)
{
    return net->nodes[node].own;
}

static int part_channels(const sumi_network *net, int node, const conv_part *part)
{
    int channels = 0;
    for (int i = part->first; i < part->first + part->count; i++)
        channels += net->graph->values[net->nodes[node].in.views[i].value].channels;
    return channels;
}

/* Sources that are up-sampled on the way go first, so that the other part's store, which adds to
 * theirs, is the one that collects moments. */
static void plan_parts(sumi_network *net, int node)
{
    conv_plan *plan = plan_of(net, node);
    const sumi_source_plan *sources = net->nodes[node].sources;
    int count = net->nodes[node].in.count, cut = 1;
    while (cut < count && sources[cut].up == sources[0].up)
        cut++;
    plan->parts[0].count = cut;
    plan->part_count = 1;
    if (cut == count)
        return;
    conv_part first = plan->parts[0], second = plan->parts[1];
    second.first = cut;
    second.count = count - cut;
    second.c0 = part_channels(net, node, &first);
    plan->parts[0] = sources[0].up ? first : second;
    plan->parts[1] = sources[0].up ? second : first;
    plan->part_count = 2;
}

static void plan_spec(sumi_network *net, int node, const conv_part *part,
                      sumi_conv_direction direction, sumi_conv_spec *spec)
{
    const sumi_layer *layer = sumi_node_layer(net, node);
    const sumi_value_plan *out = &net->values[net->nodes[node].stores];
    bool dgrad = direction == SUMI_CONV_DGRAD;
    int channels = part_channels(net, node, part);
    *spec =
        (sumi_conv_spec){.h = out->h,
                         .w = out->w,
                         .cin = dgrad ? layer->out_channels : channels,
                         .cout = dgrad ? channels : layer->out_channels,
                         .ksize = layer->ksize,
                         .up = net->nodes[node].sources[part->first].up,
                         .bf16 = net->config.precision == SUMI_PRECISION_BF16,
                         .fixed16 = net->config.precision != SUMI_PRECISION_FP32,
                         .direction = direction,
                         .tap_floats = (size_t)layer->in_channels * (size_t)layer->out_channels};
    net->kernels->conv_plan(spec, net->config.force);
    sumi_want_scratch(net, spec->scratch_floats * sizeof(float));
}

static void reserve_temp(sumi_network *net, int which, size_t image_floats)
{
    size_t bytes = image_floats * (size_t)net->config.n_max * sizeof(float);
    if (bytes > net->temp_bytes[which])
        net->temp_bytes[which] = bytes;
}

static void plan_dgrad(sumi_network *net, int node, conv_part *part)
{
    int back = sumi_time_backward(net, node);
    plan_spec(net, node, part, SUMI_CONV_DGRAD, &part->dgrad);
    sumi_reserve(net, part->dgrad.packed_floats * sizeof(float), back, back, &part->packed_dgrad,
                 "weights", node);
    for (int i = part->first; i < part->first + part->count; i++)
        sumi_plan_sums(net, node, i, part->dgrad.bands);
}

/* Where images are cut into groups, all groups of all ranks share what would be kept apart. */
static int wgrad_pieces(const sumi_conv_spec *spec, const sumi_plan_config *config)
{
    size_t images = (size_t)(config->cut ? config->whole_max : config->n_max); /* of all ranks */
    size_t most = images * (size_t)spec->h * (size_t)spec->w * (size_t)(spec->cin + spec->cout) / 2;
    int pieces = WGRAD_PIECES_MAX;
    most = most < WGRAD_FLOATS ? most : WGRAD_FLOATS;
    while (pieces > WGRAD_PIECES_MIN && spec->partial_floats * (size_t)pieces > most)
        pieces /= 2;
    if (!config->cut)
        return config->n_max < pieces ? config->n_max : pieces;
    return pieces > config->cut->groups ? pieces / config->cut->groups : 1;
}

static void plan_training(sumi_network *net, int node)
{
    conv_plan *plan = plan_of(net, node);
    int now = sumi_time_forward(net, node), back = sumi_time_backward(net, node);
    sumi_value_plan *out = &net->values[net->nodes[node].stores];
    size_t channels = (size_t)sumi_node_layer(net, node)->out_channels;
    for (int p = 0; p < plan->part_count; p++) {
        conv_part *part = &plan->parts[p];
        sumi_reserve(net, part->forward.packed_floats * sizeof(float), now, now, &part->packed,
                     "weights", node);
        if (net->nodes[node].wants_dgrad)
            plan_dgrad(net, node, part);
        plan_spec(net, node, part, SUMI_CONV_WGRAD, &part->wgrad);
        part->wgrad_pieces = wgrad_pieces(&part->wgrad, &net->config);
        size_t pieces = (size_t)part->wgrad_pieces * (size_t)sumi_plan_groups(net);
        sumi_reserve(net, part->wgrad.partial_floats * pieces * sizeof(float), back, back,
                     &part->partials, "partials", node);
    }
    /* sumi_bias_gradient: a row of some channels. */
    sumi_want_scratch(net, (size_t)out->w * channels * sizeof(float));
    if (net->nodes[node].unfused)
        reserve_temp(net, SUMI_TEMP_GRADIENT, out->image_floats);
}

static void plan_predicting(sumi_network *net, int node)
{
    conv_plan *plan = plan_of(net, node);
    int end = sumi_time_end(net);
    for (int p = 0; p < plan->part_count; p++)
        sumi_reserve(net, plan->parts[p].forward.packed_floats * sizeof(float), 0, end,
                     &plan->parts[p].packed, "weights", node);
    sumi_reserve(net, 2 * (size_t)sumi_node_layer(net, node)->out_channels * sizeof(float), 0, end,
                 &plan->bias, "bias", node);
}

static void clear_places(conv_plan *plan)
{
    plan->bias = SUMI_NOWHERE;
    for (int p = 0; p < SUMI_PARTS_MAX; p++) {
        conv_part *part = &plan->parts[p];
        part->packed = part->packed_dgrad = part->partials = SUMI_NOWHERE;
    }
}

static void conv_make_plan(sumi_network *net, int node)
{
    conv_plan *plan = sumi_plan_own(net, node, sizeof *plan);
    sumi_value_plan *out = &net->values[net->nodes[node].stores];
    if (!plan)
        return;
    clear_places(plan);
    plan_parts(net, node);
    for (int p = 0; p < plan->part_count; p++)
        plan_spec(net, node, &plan->parts[p], SUMI_CONV_FORWARD, &plan->parts[p].forward);
    const sumi_conv_spec *last = &plan->parts[plan->part_count - 1].forward;
    sumi_plan_moments(net, net->nodes[node].stores, last->rows, last->bands);
    if (sumi_training(net))
        plan_training(net, node);
    else
        plan_predicting(net, node);
    if (net->nodes[node].unfused) {
        size_t in =
            (size_t)out->h * (size_t)out->w * (size_t)sumi_node_layer(net, node)->in_channels;
        /* dgrad reads what forward writes and the other way round */
        reserve_temp(net, SUMI_TEMP_INPUT, in > out->image_floats ? in : out->image_floats);
        reserve_temp(net, SUMI_TEMP_OUTPUT, in > out->image_floats ? in : out->image_floats);
    }
}

/* ---- Forward --------------------------------------------------------------------------------- */

/* w * s and (b - mean) * s + beta with s = gamma / sqrt(var + eps): the convolution followed by the
 * batch norm in eval mode. */
static void fold_norm(const sumi_network *net, const sumi_form *form, const sumi_layer *conv,
                      float *bias, float *scale)
{
    const sumi_layer *norm = sumi_node_layer(net, form->norm);
    const float *b = sumi_param_data(net, conv->bias);
    const float *gamma = sumi_param_data(net, norm->weight) + form->first;
    const float *beta = sumi_param_data(net, norm->bias) + form->first;
    const float *mean = sumi_param_data(net, norm->mean) + form->first;
    const float *variance = sumi_param_data(net, norm->variance) + form->first;
    for (int k = 0; k < conv->out_channels; k++) {
        double s = sumi_norm_scale((double)gamma[k], (double)variance[k]);
        scale[k] = (float)s;
        bias[k] = (float)(((double)b[k] - (double)mean[k]) * s + (double)beta[k]);
    }
}

static const float *part_weights(const sumi_network *net, const sumi_layer *layer,
                                 const conv_part *part)
{
    return sumi_param_data(net, layer->weight) + (size_t)part->c0 * (size_t)layer->out_channels;
}

/* What the forward weights are multiplied with, or NULL. Predict: also what the bias becomes, given
 * the form that the store applies. */
static const float *forward_scale(const sumi_network *net, int node, const sumi_form *form)
{
    const sumi_layer *layer = sumi_node_layer(net, node);
    if (sumi_training(net))
        return NULL;
    float *bias = sumi_at(net, plan_of(net, node)->bias), *scale = bias + layer->out_channels;
    if (form->norm >= 0) {
        fold_norm(net, form, layer, bias, scale);
        return scale;
    }
    for (int k = 0; k < layer->out_channels; k++)
        bias[k] = sumi_param_data(net, layer->bias)[k];
    return NULL;
}

static void conv_forward(const sumi_run *run, int node)
{
    sumi_network *net = run->net;
    const conv_plan *plan = plan_of(net, node);
    const sumi_layer *layer = sumi_node_layer(net, node);
    int value = net->nodes[node].stores;
    const sumi_value_plan *out = &net->values[value];
    const sumi_form *form = &net->graph->values[value].forms[out->absorbed];
    bool pack = sumi_training(net) || !net->packed_valid;
    const float *scale = pack ? forward_scale(net, node, form) : NULL;
    sumi_source sources[SUMI_SOURCES_MAX];
    sumi_sink sinks[SUMI_PARTS_MAX];
    sumi_conv_pass passes[SUMI_PARTS_MAX];
    sumi_edge_sources(run, &net->nodes[node].in, sources);
    for (int p = 0; p < plan->part_count; p++) {
        const conv_part *part = &plan->parts[p];
        bool last = p == plan->part_count - 1;
        sumi_sink *sink = &sinks[p];
        sumi_value_sink(run, value, sink);
        if (p > 0)
            sink->residual = sink->dst;
        else if (net->nodes[node].residual >= 0)
            sink->residual = sumi_value_data(run, net->nodes[node].residual);
        if (!last)
            sink->moments = NULL;
        if (last) {
            sink->bias =
                sumi_training(net) ? sumi_param_data(net, layer->bias) : sumi_at(net, plan->bias);
            sink->act = form->act;
        }
        float *packed = sumi_at(net, part->packed);
        passes[p] =
            (sumi_conv_pass){{&part->forward, sources + part->first, part->count, sink, 1, packed},
                             pack ? part_weights(net, layer, part) : NULL,
                             scale,
                             packed};
    }
    sumi_conv_run(net, passes, plan->part_count, run->n, net->nodes[node].unfused);
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* What the sources and sinks of a layer's parts are, for as long as they are used. */
typedef struct {
    sumi_source dy, sources[SUMI_SOURCES_MAX], stats[SUMI_SOURCES_MAX];
    sumi_sink sinks[SUMI_SOURCES_MAX];
} conv_ends;

static sumi_conv_pass dgrad_of(const sumi_run *run, int node, const conv_part *part,
                               conv_ends *ends)
{
    const sumi_network *net = run->net;
    const sumi_layer *layer = sumi_node_layer(net, node);
    float *packed = sumi_at(net, part->packed_dgrad);
    if (!net->nodes[node].wants_dgrad)
        return (sumi_conv_pass){.weights = NULL};
    for (int i = part->first; i < part->first + part->count; i++)
        sumi_gradient_sink(run, node, i, &ends->stats[i], &ends->sinks[i]);
    return (sumi_conv_pass){
        {&part->dgrad, &ends->dy, 1, ends->sinks + part->first, part->count, packed},
        part_weights(net, layer, part),
        NULL,
        packed};
}

static sumi_wgrad_pass wgrad_of(const sumi_run *run, int node, const conv_part *part,
                                const conv_ends *ends)
{
    const sumi_network *net = run->net;
    const sumi_layer *layer = sumi_node_layer(net, node);
    bool several = sumi_run_groups(run) > 1;
    float *dw = sumi_run_term(run, node, layer->weight, 0);
    return (sumi_wgrad_pass){
        .wgrad = {&part->wgrad, ends->sources + part->first, part->count, &ends->dy},
        .pieces = part->wgrad_pieces,
        .partials = sumi_at(net, part->partials),
        .run = sumi_run_is_cut(run) ? run : NULL,
        .dw = dw + (size_t)part->c0 * (size_t)layer->out_channels,
        .dw_stride = several ? (size_t)(sumi_run_term(run, node, layer->weight, 1) - dw) : 0};
}

static void conv_backward(const sumi_run *run, int node)
{
    const sumi_network *net = run->net;
    const sumi_node_plan *node_plan = &net->nodes[node];
    const conv_plan *plan = plan_of(net, node);
    conv_ends ends;
    sumi_conv_gradients parts[SUMI_PARTS_MAX];
    sumi_gradient_source(run, net->graph->nodes[node].out, &ends.dy);
    sumi_edge_sources(run, &node_plan->in, ends.sources);
    for (int p = 0; p < plan->part_count; p++)
        parts[p] = (sumi_conv_gradients){dgrad_of(run, node, &plan->parts[p], &ends),
                                         wgrad_of(run, node, &plan->parts[p], &ends)};
    sumi_conv_backward(net, parts, plan->part_count, run->n, node_plan->unfused);
    if (node_plan->wants_dgrad)
        sumi_post_gradients(run, node);
    sumi_image_bias_gradient(run, node, &ends.dy);
    sumi_run_fold(run, node);
}

static void conv_describe(const sumi_network *net, int node, char *out, size_t size)
{
    static const char *const algorithms[] = {"gemm",  "winograd",   "narrow",     "upsampled",
                                             "tiles", "winograd16", "upsampled16"};
    _Static_assert(sizeof algorithms / sizeof *algorithms == SUMI_CONV_ALGORITHMS, "one for each");
    const conv_plan *plan = plan_of(net, node);
    size_t length = 0;
    for (int p = 0; p < plan->part_count && length < size; p++) {
        const sumi_conv_spec *spec = &plan->parts[p].forward;
        int more = snprintf(out + length, size - length,
                            "%s %s, %d image(s) x %d band(s) of %d row(s)", p > 0 ? " +" : "",
                            algorithms[spec->algorithm], spec->images, spec->bands, spec->rows);
        length += more > 0 ? (size_t)more : 0;
    }
}

const sumi_op sumi_op_conv = {conv_make_plan, conv_forward, conv_backward, conv_describe};
