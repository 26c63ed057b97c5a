/*
 * 3x3 convolutions by Winograd's transforms: where they pay, and their four kernels
 * (kernels/winograd.cl). Images go through them in pieces, so that what lies between the kernels
 * stays in the device's caches and needs little memory; pieces change no sum.
 */
#include <string.h>

#include "opencl/network.h"

/* Floats between the kernels that a piece has, unless one image has more; fewer where a device has
 * little memory. */
static size_t most_floats(const sumi_network *net)
{
    const size_t usual = (size_t)1 << 20;
    uint64_t share = net->device->facts.largest / (64 * sizeof(float));
    return share < usual ? (size_t)share : usual;
}

static size_t cells_of(int h, int w)
{
    return (size_t)((h + 1) / 2) * (size_t)((w + 1) / 2);
}

static size_t image_floats(int h, int w, int cin, int cout)
{
    return SUMI_CL_FREQUENCIES * cells_of(h, w) * ((size_t)cin + (size_t)cout);
}

static int piece_images(const sumi_network *net, int h, int w, int cin, int cout)
{
    size_t fits = most_floats(net) / image_floats(h, w, cin, cout), n = (size_t)net->config.n_max;
    return fits < 1 ? 1 : fits < n ? (int)fits : (int)n;
}

/* docs/DEVICES.md has what the rule follows from. */
bool sumi_cl_winograd_pays(const sumi_network *net, int ksize, const sumi_cl_value *size, int cin)
{
    enum { CHANNELS = 16 }; /* with fewer the transforms cost as much as the products */
    int force = net->config.force;
    if (ksize != 3 || size->h < 2 || size->w < 2)
        return false;
    if (force >= 0)
        return force == SUMI_CL_BY_WINOGRAD;
    return strcmp(net->device->facts.kind, "CPU") == 0 && cin >= CHANNELS;
}

static size_t room_of(const sumi_network *net, const sumi_layer *layer, const sumi_cl_value *size,
                      int cin, int cout)
{
    if (!sumi_cl_winograd_pays(net, layer->ksize, size, cin))
        return 0;
    int images = piece_images(net, size->h, size->w, cin, cout);
    return SUMI_CL_FREQUENCIES * (size_t)cin * (size_t)cout +
           (size_t)images * image_floats(size->h, size->w, cin, cout);
}

void sumi_cl_plan_winograd(sumi_network *net, int node)
{
    sumi_cl_node *plan = &net->nodes[node];
    const sumi_layer *layer = sumi_cl_layer(net, node);
    const sumi_cl_value *size = &net->values[plan->stores];
    int back = sumi_cl_backward_time(net, node);
    size_t room = room_of(net, layer, size, layer->in_channels, layer->out_channels), most = 0;
    size_t room_forward = room;
    if (room > 0)
        sumi_cl_reserve(net, room, node, node, &plan->winograd);
    for (int s = 0; s < plan->in.count && sumi_cl_training(net) && !plan->dead; s++) {
        if (!plan->sources[s].wanted)
            continue;
        room = room_of(net, layer, size, layer->out_channels,
                       net->graph->values[plan->in.views[s].value].channels);
        most = room > most ? room : most;
    }
    room = most > room_forward ? most : room_forward;
    net->piece_floats = room > net->piece_floats ? room : net->piece_floats;
    if (most > 0)
        sumi_cl_reserve(net, most, back, back, &plan->winograd_back);
}

/* A place that has so many floats for each image, from image `first` on. */
static void move_place(uint32_t *place, int first, size_t floats)
{
    if (*place != SUMI_CL_NOWHERE)
        *place += (uint32_t)((size_t)first * floats);
}

/* Of images from `first` on. */
static void begin_piece(sumi_cl_winograd_args *args, int first, int images)
{
    sumi_cl_conv_args *conv = &args->conv;
    size_t pixels = (size_t)conv->h * (size_t)conv->w, cout = (size_t)conv->cout;
    for (int s = 0; s < conv->sources; s++) {
        sumi_cl_view *view = &conv->source[s];
        move_place(&view->at, first, pixels * (size_t)view->c);
        move_place(&view->scale, first, (size_t)view->row);
        move_place(&view->shift, first, (size_t)view->row);
        move_place(&view->post, first, (size_t)view->post_row);
    }
    move_place(&conv->out, first, pixels * cout);
    move_place(&conv->residual, first, pixels * cout);
    move_place(&conv->moments, first, (size_t)conv->tiles * 2 * cout);
    move_place(&conv->back.term.scale, first, (size_t)conv->back.term.row);
    move_place(&conv->back.term.shift, first, (size_t)conv->back.term.row);
    move_place(&conv->back.x, first, pixels * cout);
    move_place(&conv->back.mean, first, (size_t)conv->back.mean_row);
    move_place(&conv->back.sums, first, (size_t)conv->tiles * 2 * cout);
    move_place(&conv->back.shifts, first, (size_t)conv->tiles * cout);
    conv->n = images;
    args->cells = (uint32_t)((size_t)images * cells_of(conv->h, conv->w));
    args->m = args->v + (uint32_t)(SUMI_CL_FREQUENCIES * args->cells * (size_t)args->cin);
}

static void run(const sumi_cl_call *call, sumi_cl_kernel kernel, const sumi_cl_winograd_args *args,
                size_t rows, size_t planes)
{
    const size_t side = 16;
    sumi_cl_launch launch = sumi_cl_launch_of(call, kernel, args, sizeof *args);
    launch.count = 2;
    if (kernel == SUMI_CL_WINOGRAD_OUTPUT)
        launch.memory[launch.count++] = call->values.memory;
    launch.local[0] = launch.local[1] = side;
    launch.local[2] = 1;
    launch.global[0] = sumi_cl_rounded(rows, SUMI_CL_TILE) / SUMI_CL_TILE * side;
    launch.global[1] = sumi_cl_rounded((size_t)args->conv.cout, SUMI_CL_TILE) / SUMI_CL_TILE * side;
    launch.global[2] = planes;
    sumi_cl_run(call->device, &launch);
}

static void run_piece(const sumi_cl_call *call, const sumi_cl_winograd_args *args)
{
    const sumi_cl_conv_args *conv = &args->conv;
    size_t pixels = (size_t)conv->h * (size_t)conv->w * (size_t)conv->n;
    size_t tiled = (size_t)conv->n * (size_t)conv->tiles * SUMI_CL_TILE;
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_WINOGRAD_INPUT, args, sizeof *args);
    launch.count = 2;
    sumi_cl_run_items(call, &launch, (size_t)args->cells * (size_t)args->cin, 1, 1);
    run(call, SUMI_CL_WINOGRAD_PRODUCT, args, args->cells, SUMI_CL_FREQUENCIES);
    run(call, SUMI_CL_WINOGRAD_OUTPUT, args, conv->tiles > 0 ? tiled : pixels, 1);
}

void sumi_cl_winograd(const sumi_cl_call *call, const sumi_cl_conv_args *conv, sumi_place room)
{
    sumi_cl_winograd_args args = {.conv = *conv,
                                  .u = sumi_cl_word(room),
                                  .down = (conv->h + 1) / 2,
                                  .across = (conv->w + 1) / 2};
    for (int s = 0; s < conv->sources; s++)
        args.cin += conv->source[s].c;
    args.v = args.u + (uint32_t)(SUMI_CL_FREQUENCIES * args.cin * conv->cout);
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_WINOGRAD_WEIGHTS, &args, sizeof args);
    launch.memory[1] = call->values.memory;
    launch.count = 2;
    sumi_cl_run_items(call, &launch, (size_t)conv->cout, (size_t)args.cin, 1);
    int images = piece_images(call->net, conv->h, conv->w, args.cin, conv->cout);
    for (int first = 0; first < call->n; first += images) {
        sumi_cl_winograd_args piece = args;
        begin_piece(&piece, first, call->n - first < images ? call->n - first : images);
        run_piece(call, &piece);
    }
}
