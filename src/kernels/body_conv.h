/*
 * Which algorithm a convolution uses, in one place. A new one is one more name in kernels.h, one
 * more row here, its turn in conv_plan, and its name in describe.c.
 */
#ifndef SUMI_BODY_CONV_H
#define SUMI_BODY_CONV_H

#include "kernels/body_fixed16_up.h"
#include "kernels/body_fixed16_winograd.h"
#include "kernels/body_gemm.h"
#include "kernels/body_gemm_wgrad.h"
#include "kernels/body_narrow.h"
#include "kernels/body_tiles.h"
#include "kernels/body_tiles_wgrad.h"
#include "kernels/body_upconv.h"
#include "kernels/body_winograd.h"
#include "kernels/body_winograd_wgrad.h"

typedef struct {
    bool (*can)(const sumi_conv_spec *spec);
    void (*plan)(sumi_conv_spec *spec);
    void (*plan_wgrad)(sumi_conv_spec *spec);
    void (*pack)(const sumi_conv_spec *spec, const float *weights, const float *scale,
                 float *packed, int piece, int pieces);
    void (*tile)(const sumi_conv *conv, const sumi_tile *tile, float *scratch);
    void (*wgrad_piece)(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece, float *partial,
                        float *scratch);
    void (*wgrad_finish)(const sumi_conv_spec *spec, const float *partials, int count, float *dw,
                         int piece, int pieces);
} conv_algorithm;

static const conv_algorithm conv_algorithms[SUMI_CONV_ALGORITHMS] = {
    [SUMI_CONV_GEMM] = {gemm_can, gemm_plan, gemm_wgrad_plan, gemm_pack, gemm_tile,
                        gemm_wgrad_piece, gemm_wgrad_finish},
    [SUMI_CONV_WINOGRAD] = {wino_can, wino_plan, wino_plan, wino_pack, wino_tile, wino_wgrad_piece,
                            wino_wgrad_finish},
    [SUMI_CONV_NARROW] = {narrow_can, narrow_plan, narrow_wgrad_plan, narrow_pack, narrow_tile,
                          narrow_wgrad_piece, narrow_wgrad_finish},
    [SUMI_CONV_UPSAMPLED] = {upconv_can, upconv_plan, upconv_wgrad_plan, gemm_pack, upconv_tile,
                             upconv_wgrad_piece, upconv_wgrad_finish},
    [SUMI_CONV_TILES] = {tiles_can, tiles_plan, tiles_wgrad_plan, tiles_pack, tiles_tile,
                         tiles_wgrad_piece, tiles_wgrad_finish},
    [SUMI_CONV_WINOGRAD16] = {wino_can, wino16_plan, wino16_wgrad_plan, wino16_pack, wino16_tile,
                              wino16_wgrad_piece, wino_wgrad_finish},
    [SUMI_CONV_UPSAMPLED16] = {upconv16_can, upconv16_plan, upconv16_wgrad_plan, upconv16_pack,
                               upconv16_tile, upconv16_wgrad_piece, upconv_wgrad_finish},
};

static bool conv_can(int algorithm, const sumi_conv_spec *spec)
{
    return algorithm >= 0 && algorithm < SUMI_CONV_ALGORITHMS &&
           conv_algorithms[algorithm].can(spec);
}

/* Where products of 16-bit integers are faster than float32's, as shown by `sumi bench train
 * --profile` with --precision fixed16 and fp32: they halve the time of the products or leave it as
 * it is, and rounding costs time that grows with the channels alone. */
static bool fixed16_pays(const sumi_conv_spec *s)
{
#if FIXED16_PAYS
    return (s->vnni || FIXED16_PAYS > 1) && s->cin >= 64 && s->cout >= 64;
#else
    (void)s;
    return false;
#endif
}

static sumi_conv_algorithm conv_choose(const sumi_conv_spec *s, int force)
{
    bool fixed16 = force < 0 && s->fixed16 && fixed16_pays(s);
    if (s->bf16)
        return SUMI_CONV_TILES;
    if (s->up)
        return (fixed16 || force == SUMI_CONV_UPSAMPLED16) && conv_can(SUMI_CONV_UPSAMPLED16, s)
                   ? SUMI_CONV_UPSAMPLED16
                   : SUMI_CONV_UPSAMPLED;
    if (conv_can(force, s))
        return (sumi_conv_algorithm)force;
    if (conv_can(SUMI_CONV_NARROW, s))
        return SUMI_CONV_NARROW;
    if (conv_can(SUMI_CONV_WINOGRAD, s))
        return fixed16 ? SUMI_CONV_WINOGRAD16 : SUMI_CONV_WINOGRAD;
    return SUMI_CONV_GEMM;
}

static void conv_plan_for(sumi_conv_spec *spec, int force, bool vnni)
{
    spec->vnni = vnni;
    if (spec->tap_floats == 0)
        spec->tap_floats = (size_t)spec->cin * (size_t)spec->cout;
    spec->bf16 = force == SUMI_CONV_TILES || (force < 0 && spec->bf16 && tiles_pay(spec));
    spec->up = spec->up && !spec->bf16 && conv_can(SUMI_CONV_UPSAMPLED, spec);
    int algorithm = conv_choose(spec, force);
    spec->algorithm = (sumi_conv_algorithm)algorithm;
    spec->fixed16 = algorithm == SUMI_CONV_WINOGRAD16 || algorithm == SUMI_CONV_UPSAMPLED16;
    if (spec->direction == SUMI_CONV_WGRAD)
        conv_algorithms[algorithm].plan_wgrad(spec);
    else
        conv_algorithms[algorithm].plan(spec);
}

INLINE void conv_plan(sumi_conv_spec *spec, int force)
{
    conv_plan_for(spec, force, false);
}

INLINE void conv_plan_vnni(sumi_conv_spec *spec, int force)
{
    conv_plan_for(spec, force, true);
}

static void conv_pack(const sumi_conv_spec *spec, const float *weights, const float *scale,
                      float *packed, int piece, int pieces)
{
    conv_algorithms[spec->algorithm].pack(spec, weights, scale, packed, piece, pieces);
}

static void conv_tile(const sumi_conv *conv, const sumi_tile *tile, float *scratch)
{
    conv_algorithms[conv->spec->algorithm].tile(conv, tile, scratch);
}

static void wgrad_piece(const sumi_wgrad *wgrad, const sumi_wgrad_piece *piece, float *partial,
                        float *scratch)
{
    conv_algorithms[wgrad->spec->algorithm].wgrad_piece(wgrad, piece, partial, scratch);
}

static void wgrad_finish(const sumi_conv_spec *spec, const float *partials, int count, float *dw,
                         int piece, int pieces)
{
    conv_algorithms[spec->algorithm].wgrad_finish(spec, partials, count, dw, piece, pieces);
}

#endif
