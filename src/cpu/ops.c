/*
 * Which functions compute which kind of operation.
 */
#include "cpu/ops.h"

const sumi_op *sumi_op_of(sumi_kind kind)
{
    static const sumi_op *const ops[SUMI_KINDS] = {
        [SUMI_KIND_SINUSOID] = &sumi_op_sinusoid, [SUMI_KIND_CONV] = &sumi_op_conv,
        [SUMI_KIND_LINEAR] = &sumi_op_linear,     [SUMI_KIND_NORM] = &sumi_op_norm,
        [SUMI_KIND_MAX_POOL] = &sumi_op_max_pool, [SUMI_KIND_UPSAMPLE] = &sumi_op_upsample,
    };
    return ops[kind];
}

const sumi_op *sumi_node_op(const sumi_network *net, int node)
{
    return sumi_op_of(net->graph->nodes[node].kind);
}
