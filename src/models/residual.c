/* A small residual network that knows the time and the label of an image: GroupNorm, SiLU and
 * convolutions in blocks, and a sum behind each. It shows how few lines an architecture takes. */
#include "models/models.h"

#include <stdio.h>

enum { GROUPS = 4 };

static const char *path(char out[SUMI_NAME_MAX], const char *block, const char *leaf)
{
    snprintf(out, SUMI_NAME_MAX, "%s.%s", block, leaf);
    return out;
}

static sumi_edge norm_act(sumi_graph *graph, const char *name, sumi_edge x)
{
    int channels = sumi_edge_channels(graph, &x);
    int layer = sumi_graph_group_norm_layer(graph, name, channels, GROUPS, true);
    return sumi_graph_act(graph, sumi_graph_norm(graph, x, layer), SUMI_ACT_SILU);
}

static sumi_edge conv(sumi_graph *graph, const char *name, sumi_edge x, int out, int ksize)
{
    int layer = sumi_graph_conv_layer(graph, name, sumi_edge_channels(graph, &x), out, ksize);
    return sumi_graph_conv(graph, x, layer);
}

static sumi_edge block(sumi_graph *graph, const char *name, sumi_edge x, sumi_edge vector, int out)
{
    char text[SUMI_NAME_MAX];
    sumi_edge skip = x, y = norm_act(graph, path(text, name, "norm1"), x);
    int linear = sumi_graph_linear_layer(graph, path(text, name, "linear"),
                                         sumi_edge_channels(graph, &vector), 2 * out);
    if (sumi_edge_channels(graph, &x) != out)
        skip = conv(graph, path(text, name, "skip"), x, out, 1);
    y = conv(graph, path(text, name, "conv1"), y, out, 3);
    int norm = sumi_graph_group_norm_layer(graph, path(text, name, "norm2"), out, GROUPS, true);
    y = sumi_graph_norm(graph, y, norm);
    y = sumi_graph_modulate(graph, y, sumi_graph_linear(graph, vector, linear));
    y = sumi_graph_act(graph, y, SUMI_ACT_SILU);
    return sumi_graph_add(graph, conv(graph, path(text, name, "conv2"), y, out, 3), skip);
}

void sumi_build_residual(sumi_graph *graph, int channels, int width, int classes)
{
    sumi_graph_init(graph);
    sumi_edge image = sumi_graph_input_image(graph, channels);
    sumi_edge time = sumi_graph_fourier(graph, sumi_graph_input_time(graph), width, 1e-3, 1);
    sumi_edge labels = sumi_graph_input_labels(graph, classes);
    int rows = sumi_graph_embedding_layer(graph, "label", classes + 1, width);
    sumi_edge vector = sumi_graph_add(graph, time, sumi_graph_embedding(graph, labels, rows));
    vector = sumi_graph_act(graph, vector, SUMI_ACT_SILU);
    sumi_edge x1 = block(graph, "down", conv(graph, "in", image, width, 3), vector, width);
    sumi_edge x = block(graph, "middle", sumi_graph_avg_pool(graph, x1), vector, 2 * width);
    x = sumi_graph_concat(graph, sumi_graph_upsample_nearest(graph, x), x1);
    x = norm_act(graph, "norm", block(graph, "up", x, vector, width));
    x = conv(graph, "out", x, channels, 3);
    sumi_graph_output(graph, "image", x);
    sumi_graph_loss_mse(graph, x);
}
