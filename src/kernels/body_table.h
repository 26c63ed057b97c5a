/*
 * All bodies, and the table of them. An isa_*.c file includes this once, after it has defined
 *     SUMI_VB        bytes in a vector
 *     MR             pixels in a micro-kernel, with 2 vectors of outputs each (6, 10 or 14)
 *     STRIP_VECTORS  vectors of channels that fill and store take at a time
 *     TILE_FLOATS    floats of strip and result in a tile, so that both stay in L2
 *     TABLE_NAME     what SUMI_ISA calls it
 *     TABLE_VNNI     and the same with VNNI's products of 16-bit integers; one may be missing
 *     FIXED16_PAYS   where such products may be chosen: 0 nowhere, 1 with VNNI, 2 without it too
 */
#include "kernels/body_attention.h"
#include "kernels/body_conv.h"
#include "kernels/body_elementwise.h"
#include "kernels/body_matrix.h"
#include "kernels/body_reshape.h"

#define TABLE(table_name, plan)                                                                    \
    {                                                                                              \
        .name = (table_name), .conv_plan = (plan), .vector_floats = VW, .conv_pack = conv_pack,    \
        .conv_tile = conv_tile, .wgrad_piece = wgrad_piece, .wgrad_finish = wgrad_finish,          \
        .fill = body_fill, .store = body_store, .pool = pool, .pool_backward = pool_backward,      \
        .upsample = upsample, .upsample_backward = upsample_backward, .shrink = shrink,            \
        .grow = grow, .sum_sources = sum_sources, .spatial_mean = spatial_mean,                    \
        .spatial_mean_backward = spatial_mean_backward, .reframe = reframe,                        \
        .attention = attention, .attention_backward = attention_backward,                          \
        .column_sum = column_sum, .adam = adam, .ema = ema, .axpby = axpby,                        \
        .squared_error = squared_error, .cross_entropy = cross_entropy, .product = product,        \
        .round_bf16 = round_bf16, .all_finite = all_finite, .burn = burn,                          \
    }

static const sumi_kernels table[] = {
#if defined(TABLE_NAME)
    TABLE(TABLE_NAME, conv_plan),
#endif
#if defined(TABLE_VNNI) && defined(SUMI_VNNI_TARGET)
    TABLE(TABLE_VNNI, conv_plan_vnni),
#endif
};
