/*
 * 3x3 and 1x1 convolution, and what it shares with linear layers: see kernels/conv.cl. The gradient
 * of a linear layer is that of a 1x1 convolution of images of one pixel.
 */
#include "opencl/network.h"

/* ---- Plan ------------------------------------------------------------------------------------ */

static int taps_of(const sumi_layer *layer)
{
    return layer->kind == SUMI_KIND_CONV ? layer->ksize * layer->ksize : 1;
}

static size_t tiles_of(size_t channels)
{
    return (channels + SUMI_CL_TILE - 1) / SUMI_CL_TILE;
}

/* Gradients of weights are sums over many pixels, which pieces share out: as many as keep a large
 * device busy, where that is not too much memory. */
static int weight_pieces(const sumi_network *net, int node, size_t pixels, size_t weights)
{
    enum { GROUPS = 1024, PIXELS = 64, FLOATS = 8 << 20 };
    const sumi_layer *layer = sumi_cl_layer(net, node);
    const sumi_edge *in = &net->nodes[node].in;
    size_t tiles = 0;
    for (int s = 0; s < in->count; s++)
        tiles += tiles_of((size_t)net->graph->values[in->views[s].value].channels);
    tiles *= (size_t)taps_of(layer) * tiles_of((size_t)layer->out_channels);
    size_t pieces = GROUPS / tiles, most = pixels / PIXELS;
    pieces = pieces < most ? pieces : most;
    pieces = pieces * weights <= FLOATS ? pieces : FLOATS / weights;
    return pieces > 1 ? (int)pieces : 1;
}

void sumi_cl_plan_layer(sumi_network *net, int node)
{
    enum { PIECES = 256, ROWS = 64 };
    sumi_cl_node *plan = &net->nodes[node];
    const sumi_layer *layer = sumi_cl_layer(net, node);
    const sumi_cl_value *out = &net->values[net->graph->nodes[node].out];
    size_t weights = net->graph->params.items[layer->weight].count;
    size_t pixels = (size_t)net->config.n_max * (size_t)out->h * (size_t)out->w;
    int back = sumi_cl_backward_time(net, node);
    plan->pieces = weight_pieces(net, node, pixels, weights);
    plan->column_pieces = pixels / ROWS > PIECES ? PIECES : (int)(pixels / ROWS);
    plan->column_pieces = plan->column_pieces > 1 ? plan->column_pieces : 1;
    sumi_cl_reserve(net, weights * (size_t)plan->pieces, back, back, &plan->partials);
    sumi_cl_reserve(net, (size_t)layer->out_channels * (size_t)plan->column_pieces, back, back,
                    &plan->columns);
}

/* ---- Convolutions ---------------------------------------------------------------------------- */

/* of_one: a tile is of one image, and has the pixels of a band of its moments. room: of Winograd's
 * transforms, where the plan has them. */
static void run_conv(const sumi_cl_call *call, const sumi_cl_conv_args *args, bool of_one,
                     sumi_place room)
{
    int cin = 0;
    for (int s = 0; s < args->sources; s++)
        cin += args->source[s].c;
    const sumi_cl_value size = {.h = args->h, .w = args->w};
    if (sumi_cl_winograd_pays(call->net, args->ksize, &size, cin)) {
        sumi_cl_winograd(call, args, room);
        return;
    }
    const size_t side = 16, pixels = (size_t)args->h * (size_t)args->w, n = (size_t)call->n;
    size_t tiles = of_one ? n * (size_t)args->tiles : tiles_of(n * pixels);
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_CONV, args, sizeof *args);
    launch.count = 2;
    launch.memory[launch.count++] = call->values.memory;
    /* Some devices take few groups along all dimensions but the first. */
    launch.local[0] = launch.local[1] = side;
    launch.global[0] = tiles * side;
    launch.global[1] = tiles_of((size_t)args->cout) * side;
    launch.global[2] = launch.local[2] = 1;
    sumi_cl_run(call->device, &launch);
}

void sumi_cl_conv_forward(const sumi_cl_call *call, int node)
{
    const sumi_network *net = call->net;
    const sumi_cl_node *plan = &net->nodes[node];
    const sumi_layer *layer = sumi_cl_layer(net, node);
    const sumi_cl_value *out = &net->values[plan->stores];
    /* Small images would leave a tile of one empty: tiles then go over their borders, and moments
     * are a pass of their own. */
    bool of_one = out->moments != SUMI_NOWHERE && out->h * out->w >= SUMI_CL_TILE;
    sumi_cl_conv_args args = {.out = sumi_cl_word(out->at),
                              .weight = sumi_cl_param(call, layer->weight),
                              .bias = sumi_cl_param(call, layer->bias),
                              .residual = plan->residual >= 0
                                              ? sumi_cl_word(net->values[plan->residual].at)
                                              : SUMI_CL_NOWHERE,
                              .moments = of_one ? sumi_cl_word(out->moments) : SUMI_CL_NOWHERE,
                              .n = call->n,
                              .h = out->h,
                              .w = out->w,
                              .cout = layer->out_channels,
                              .ksize = layer->ksize,
                              .tiles = of_one ? out->bands : 0,
                              .tap_floats = layer->in_channels * layer->out_channels,
                              .in_floats = layer->out_channels,
                              .out_floats = 1,
                              .back = {.sums = SUMI_CL_NOWHERE, .shifts = SUMI_CL_NOWHERE}};
    args.sources = sumi_cl_edge_views(call, &plan->in, args.source);
    run_conv(call, &args, of_one, plan->winograd);
    if (!of_one)
        sumi_cl_collect_moments(call, plan->stores);
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* A gradient that is there, as a view of so many channels. */
static sumi_cl_view plain_view(sumi_place at, int channels)
{
    return (sumi_cl_view){.at = sumi_cl_word(at),
                          .c = channels,
                          .scale = SUMI_CL_NOWHERE,
                          .shift = SUMI_CL_NOWHERE,
                          .post = SUMI_CL_NOWHERE};
}

/* The gradient of one source, whose channels begin at `first` of the layer's. */
static void input_gradient(const sumi_cl_call *call, int node, int source, int first, sumi_place dy)
{
    const sumi_network *net = call->net;
    const sumi_layer *layer = sumi_cl_layer(net, node);
    int index = net->nodes[node].in.views[source].value;
    const sumi_cl_value *value = &net->values[index];
    sumi_cl_conv_args args = {.source = {plain_view(dy, layer->out_channels)},
                              .sources = 1,
                              .out = sumi_cl_word(net->nodes[node].sources[source].gradient),
                              .weight = sumi_cl_param(call, layer->weight) +
                                        (uint32_t)(first * layer->out_channels),
                              .bias = SUMI_CL_NOWHERE,
                              .residual = SUMI_CL_NOWHERE,
                              .moments = SUMI_CL_NOWHERE,
                              .n = call->n,
                              .h = value->h,
                              .w = value->w,
                              .cout = net->graph->values[index].channels,
                              .ksize = taps_of(layer) == 9 ? 3 : 1,
                              .tap_floats = layer->in_channels * layer->out_channels,
                              .in_floats = 1,
                              .out_floats = layer->out_channels,
                              .flipped = true,
                              .back = {.sums = SUMI_CL_NOWHERE, .shifts = SUMI_CL_NOWHERE}};
    sumi_cl_store_sums(call, node, source, &args);
    run_conv(call, &args, false, net->nodes[node].winograd_back);
}

/* A source's share of the partial gradients. */
static void weight_gradient(const sumi_cl_call *call, int node, int source, int first,
                            sumi_place dy)
{
    const size_t side = 16;
    const sumi_network *net = call->net;
    const sumi_cl_node *plan = &net->nodes[node];
    const sumi_layer *layer = sumi_cl_layer(net, node);
    const sumi_view *view = &plan->in.views[source];
    const sumi_cl_wgrad_args args = {.source = sumi_cl_view_of(call, view),
                                     .dy = sumi_cl_word(dy),
                                     .out = sumi_cl_word(plan->partials) +
                                            (uint32_t)(first * layer->out_channels),
                                     .n = call->n,
                                     .h = net->values[view->value].h,
                                     .w = net->values[view->value].w,
                                     .cin = layer->in_channels,
                                     .cout = layer->out_channels,
                                     .ksize = taps_of(layer) == 9 ? 3 : 1,
                                     .pieces = plan->pieces};
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_WGRAD, &args, sizeof args);
    launch.count = 2;
    launch.local[0] = launch.local[1] = side;
    launch.local[2] = 1;
    launch.global[0] = (size_t)taps_of(layer) * tiles_of((size_t)args.source.c) * side;
    launch.global[1] = tiles_of((size_t)args.cout) * side;
    launch.global[2] = (size_t)args.pieces;
    sumi_cl_run(call->device, &launch);
}

/* True where a constant added to a value changes nothing: all of its gradient goes through norms
 * that subtract the mean of each channel. Its sum is then zero exactly. */
static bool is_centred(const sumi_network *net, int index)
{
    const sumi_cl_value *value = &net->values[index];
    for (int t = 0; t < value->term_count; t++) {
        int norm = net->graph->values[index].forms[value->terms[t].form].norm;
        if (norm < 0 || sumi_cl_layer(net, norm)->groups > 0)
            return false;
    }
    return value->term_count > 0;
}

static void zero_gradient(const sumi_cl_call *call, int param)
{
    const sumi_cl_fill_args args = {sumi_cl_param_gradient(call, param),
                                    (uint32_t)call->net->graph->params.items[param].count, 0};
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_FILL, &args, sizeof args);
    launch.memory[0] = call->gradients.memory;
    sumi_cl_run_items(call, &launch, args.count, 1, 1);
}

static void bias_gradient(const sumi_cl_call *call, int node, sumi_place dy)
{
    const sumi_network *net = call->net;
    const sumi_cl_node *plan = &net->nodes[node];
    const sumi_layer *layer = sumi_cl_layer(net, node);
    int value = net->graph->nodes[node].out;
    if (is_centred(net, value)) {
        zero_gradient(call, layer->bias);
        return;
    }
    const sumi_cl_columns_args args = {
        .x = sumi_cl_word(dy),
        .out = sumi_cl_word(plan->columns),
        .rows = (uint32_t)(call->n * net->values[value].h * net->values[value].w),
        .c = layer->out_channels,
        .pieces = plan->column_pieces};
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_COLUMNS, &args, sizeof args);
    launch.count = 2;
    sumi_cl_run_items(call, &launch, (size_t)args.c, (size_t)args.pieces, 1);
    sumi_cl_reduce(call, plan->columns, plan->column_pieces, layer->bias);
}

void sumi_cl_reduce(const sumi_cl_call *call, sumi_place from, int pieces, int param)
{
    const sumi_cl_reduce_args args = {.from = sumi_cl_word(from),
                                      .out = sumi_cl_param_gradient(call, param),
                                      .count =
                                          (uint32_t)call->net->graph->params.items[param].count,
                                      .pieces = pieces};
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_REDUCE, &args, sizeof args);
    launch.memory[launch.count++] = call->gradients.memory;
    sumi_cl_run_items(call, &launch, args.count, 1, 1);
}

void sumi_cl_layer_backward(const sumi_cl_call *call, int node)
{
    const sumi_network *net = call->net;
    const sumi_cl_node *plan = &net->nodes[node];
    sumi_place dy = sumi_cl_gradient(net, net->graph->nodes[node].out);
    for (int s = 0, first = 0; s < plan->in.count; s++) {
        if (plan->sources[s].wanted)
            input_gradient(call, node, s, first, dy);
        weight_gradient(call, node, s, first, dy);
        first += net->graph->values[plan->in.views[s].value].channels;
    }
    sumi_cl_reduce(call, plan->partials, plan->pieces, sumi_cl_layer(net, node)->weight);
    bias_gradient(call, node, dy);
}
