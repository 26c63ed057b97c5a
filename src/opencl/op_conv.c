/*
 * 3x3 and 1x1 convolution: see kernels/conv.cl.
 */
#include "opencl/network.h"

void sumi_cl_conv_forward(const sumi_cl_call *call, int node)
{
    const sumi_network *net = call->net;
    const sumi_cl_node *plan = &net->nodes[node];
    const sumi_layer *layer = sumi_cl_layer(net, node);
    const sumi_cl_value *out = &net->values[plan->stores];
    /* A tile of one image has the pixels of a band of moments. Small images would leave it empty:
     * tiles then go over their borders, and moments are a pass of their own. */
    size_t pixels = (size_t)out->h * (size_t)out->w, images = (size_t)call->n;
    bool of_one = out->moments != SUMI_CL_NOWHERE && pixels >= SUMI_CL_TILE;
    sumi_cl_conv_args args = {.out = out->at,
                              .weight = sumi_cl_param(call, layer->weight),
                              .bias = sumi_cl_param(call, layer->bias),
                              .residual = plan->residual >= 0 ? net->values[plan->residual].at
                                                              : SUMI_CL_NOWHERE,
                              .moments = of_one ? out->moments : SUMI_CL_NOWHERE,
                              .n = call->n,
                              .h = out->h,
                              .w = out->w,
                              .cin = layer->in_channels,
                              .cout = layer->out_channels,
                              .ksize = layer->ksize,
                              .tiles = of_one ? out->bands : 0};
    args.sources = sumi_cl_edge_views(call, &plan->in, args.source);
    size_t tiles = of_one ? images * (size_t)out->bands
                          : sumi_cl_rounded(images * pixels, SUMI_CL_TILE) / SUMI_CL_TILE;
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_CONV, &args, sizeof args);
    launch.count = 2;
    launch.memory[launch.count++] = call->values.memory;
    /* Some devices take few groups along all dimensions but the first. */
    const size_t side = 16;
    launch.local[0] = launch.local[1] = side;
    launch.global[0] = tiles * side;
    launch.global[1] =
        sumi_cl_rounded((size_t)layer->out_channels, SUMI_CL_TILE) / SUMI_CL_TILE * side;
    launch.global[2] = launch.local[2] = 1;
    sumi_cl_run(call->device, &launch);
    if (!of_one)
        sumi_cl_collect_moments(call, plan->stores);
}
