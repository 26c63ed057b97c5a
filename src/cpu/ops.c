/*
 * Which functions compute which kind of operation.
 */
#include "cpu/ops.h"

const sumi_op *sumi_op_of(sumi_kind kind)
{
    static const sumi_op *const ops[SUMI_KINDS] = {
        [SUMI_KIND_SINUSOID] = &sumi_op_sinusoid,
        [SUMI_KIND_FOURIER] = &sumi_op_fourier,
        [SUMI_KIND_EMBEDDING] = &sumi_op_embedding,
        [SUMI_KIND_CONDITION] = &sumi_op_condition,
        [SUMI_KIND_CONV] = &sumi_op_conv,
        [SUMI_KIND_LINEAR] = &sumi_op_linear,
        [SUMI_KIND_NORM] = &sumi_op_norm,
        [SUMI_KIND_ADD] = &sumi_op_add,
        [SUMI_KIND_MAX_POOL] = &sumi_op_max_pool,
        [SUMI_KIND_AVG_POOL] = &sumi_op_avg_pool,
        [SUMI_KIND_SUBSAMPLE] = &sumi_op_subsample,
        [SUMI_KIND_UPSAMPLE] = &sumi_op_upsample,
        [SUMI_KIND_UPSAMPLE_NEAREST] = &sumi_op_nearest,
        [SUMI_KIND_MEAN] = &sumi_op_mean,
        [SUMI_KIND_ATTENTION] = &sumi_op_attention,
        [SUMI_KIND_PAD] = &sumi_op_pad,
        [SUMI_KIND_CROP] = &sumi_op_crop,
        [SUMI_KIND_MSE] = &sumi_op_mse,
        [SUMI_KIND_CROSS_ENTROPY] = &sumi_op_cross_entropy,
    };
    return ops[kind];
}

const sumi_op *sumi_node_op(const sumi_network *net, int node)
{
    return sumi_op_of(net->graph->nodes[node].kind);
}
