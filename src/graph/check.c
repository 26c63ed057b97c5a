/*
 * What every backend checks before it plans a graph.
 */
#include "graph/backend.h"

#include <limits.h>

/* By their numbers in sumi_precision. */
static const sumi_precision_name precisions[] = {
    [SUMI_PRECISION_FP32] = {"fp32", "float32"},
    [SUMI_PRECISION_BF16] = {"bf16", "tensors between layers as bfloat16, in half the memory"},
    [SUMI_PRECISION_FIXED16] = {"fixed16", "products of scaled 16-bit integers where faster"},
};

enum { PRECISIONS = sizeof precisions / sizeof *precisions };

const sumi_precision_name *sumi_precision_row(int index)
{
    return index >= 0 && index < PRECISIONS ? &precisions[index] : NULL;
}

sumi_status sumi_precision_check(sumi_precision precision, sumi_error *err)
{
    if (sumi_precision_row((int)precision))
        return SUMI_OK;
    return sumi_fail(err, SUMI_EINVAL,
                     "precision is %d, expected 0 (fp32), 1 (bf16) or 2 (fixed16)", (int)precision);
}

static sumi_status check_sizes(const sumi_graph *graph, const sumi_plan_config *config,
                               sumi_error *err)
{
    /* Kernels count the pixels of an image, times a few dozen, in an int. */
    const int64_t most_pixels = INT_MAX / 64;
    int multiple = 1 << graph->levels;
    if (config->n_max < 1 || config->h < 1 || config->w < 1)
        return sumi_fail(err, SUMI_EINVAL,
                         "sizes must be at least 1, found n %d, height %d, width %d", config->n_max,
                         config->h, config->w);
    int64_t largest[] = {config->n_max, config->h, config->w, 16384, (int64_t)sizeof(float)};
    size_t bytes;
    if ((int64_t)config->h * config->w > most_pixels || !sumi_size_product(largest, 5, &bytes) ||
        (uint64_t)bytes > UINT64_C(1) << 50)
        return sumi_fail(err, SUMI_ENOMEM, "%d images of %dx%d are too large", config->n_max,
                         config->h, config->w);
    if (graph->pads && (config->h < multiple || config->w < multiple))
        return sumi_fail(err, SUMI_ESHAPE,
                         "images of %dx%d are too small for a network that halves them %d times: "
                         "expected %dx%d or more",
                         config->h, config->w, graph->levels, multiple, multiple);
    if (!graph->pads && (config->h % multiple || config->w % multiple))
        return sumi_fail(err, SUMI_ESHAPE,
                         "height and width must be multiples of %d, found %dx%d; nearest: %dx%d",
                         multiple, config->h, config->w,
                         (config->h + multiple - 1) / multiple * multiple,
                         (config->w + multiple - 1) / multiple * multiple);
    return sumi_precision_check(config->precision, err);
}

sumi_status sumi_plan_check(const sumi_graph *graph, const sumi_plan_config *config,
                            sumi_error *err)
{
    if (graph->status != SUMI_OK)
        return sumi_fail(err, graph->status, "%s", graph->error.text);
    sumi_status status = sumi_graph_check_readers(graph, err);
    return status == SUMI_OK ? check_sizes(graph, config, err) : status;
}
