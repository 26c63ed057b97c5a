/*
 * The residual U-Net of images, levels of noise and labels: after Ho et al. 2020
 * (arXiv:2006.11239), with what its followers found better: scale and shift of the second norm from
 * the embedding (Dhariwal and Nichol 2021, arXiv:2105.05233), last convolutions that start at zero.
 * Images of any size are padded inside, and what comes out is cropped before the loss looks at it.
 *
 * Layers are declared where the forward pass meets them, and PyTorch's modules stand in the same
 * order (tests/golden/torch_unet.py), so that names and order of the state dict are that network's.
 */
#include <stdarg.h>
#include <stdio.h>

#include "models/models.h"

enum { GROUP = 16, FREQUENCIES = 64 };

typedef struct {
    sumi_graph *graph;
    const sumi_unet_config *config;
    sumi_edge embedding; /* what the blocks are told of level and label */
} builder;

typedef struct {
    char text[SUMI_NAME_MAX];
} name;

__attribute__((format(printf, 1, 2))) static name named(const char *format, ...)
{
    name out;
    va_list args;
    va_start(args, format);
    vsnprintf(out.text, sizeof out.text, format, args);
    va_end(args);
    return out;
}

static int channels_of(const builder *b, int level)
{
    return b->config->width * b->config->multipliers[level];
}

/* Groups of 16 channels, or of the next larger number that divides them. */
static int groups_of(int channels)
{
    int groups = channels / GROUP > 1 ? channels / GROUP : 1;
    while (channels % groups != 0)
        groups--;
    return groups;
}

static int norm_layer(const builder *b, const char *block, const char *leaf, int channels,
                      bool affine)
{
    return sumi_graph_group_norm_layer(b->graph, named("%s%s", block, leaf).text, channels,
                                       groups_of(channels), affine);
}

static sumi_edge conv(const builder *b, const char *block, const char *leaf, sumi_edge x, int out,
                      int ksize)
{
    int in = sumi_edge_channels(b->graph, &x);
    int layer = sumi_graph_conv_layer(b->graph, named("%s%s", block, leaf).text, in, out, ksize);
    return sumi_graph_conv(b->graph, x, layer);
}

/* A convolution that starts at zero: a block then begins as its shortcut. */
static sumi_edge conv_from_zero(const builder *b, const char *block, const char *leaf, sumi_edge x,
                                int out, int ksize)
{
    x = conv(b, block, leaf, x, out, ksize);
    sumi_graph_scale_init(b->graph, b->graph->layer_count - 1, 0);
    return x;
}

static sumi_edge linear(const builder *b, const char *block, const char *leaf, sumi_edge x, int out)
{
    int layer = sumi_graph_linear_layer(b->graph, named("%s%s", block, leaf).text,
                                        sumi_edge_channels(b->graph, &x), out);
    return sumi_graph_linear(b->graph, x, layer);
}

static sumi_edge norm_silu(const builder *b, const char *block, const char *leaf, sumi_edge x)
{
    int layer = norm_layer(b, block, leaf, sumi_edge_channels(b->graph, &x), true);
    return sumi_graph_act(b->graph, sumi_graph_norm(b->graph, x, layer), SUMI_ACT_SILU);
}

/* norm, SiLU, 3x3, norm with scale and shift, SiLU, 3x3; and x, or its 1x1 convolution where the
 * number of channels changes. */
static sumi_edge residual_block(const builder *b, const char *block, sumi_edge x, int out)
{
    sumi_graph *graph = b->graph;
    sumi_edge shortcut = x;
    sumi_edge y = conv(b, block, ".conv1", norm_silu(b, block, ".norm1", x), out, 3);
    sumi_edge modulation = linear(b, block, ".modulation", b->embedding, 2 * out);
    sumi_graph_scale_init(graph, graph->layer_count - 1, 0);
    y = sumi_graph_norm(graph, y, norm_layer(b, block, ".norm2", out, false));
    y = sumi_graph_act(graph, sumi_graph_modulate(graph, y, modulation), SUMI_ACT_SILU);
    if (sumi_edge_channels(graph, &x) != out)
        shortcut = conv(b, block, ".shortcut", x, out, 1);
    return sumi_graph_add(graph, conv_from_zero(b, block, ".conv2", y, out, 3), shortcut);
}

/* As many as have head_channels each, or the next smaller number that divides the channels. */
static int heads_of(const builder *b, int channels)
{
    int heads = channels / b->config->head_channels > 1 ? channels / b->config->head_channels : 1;
    while (channels % heads != 0)
        heads--;
    return heads;
}

/* x, and what its pixels have to say to each other. */
static sumi_edge attention(const builder *b, const char *block, sumi_edge x)
{
    sumi_graph *graph = b->graph;
    int channels = sumi_edge_channels(graph, &x);
    int norm = norm_layer(b, block, ".attention.norm", channels, true);
    sumi_edge y = sumi_graph_norm(graph, x, norm);
    y = conv(b, block, ".attention.qkv", y, 3 * channels, 1);
    y = sumi_graph_attention(graph, y, heads_of(b, channels));
    return sumi_graph_add(graph, conv_from_zero(b, block, ".attention.out", y, channels, 1), x);
}

/* The blocks of a level; the first takes whatever channels x has. */
static sumi_edge stage(const builder *b, const char *way, int level, sumi_edge x)
{
    for (int i = 0; i < b->config->blocks[level]; i++) {
        name block = named("%s%d.%d", way, level, i);
        x = residual_block(b, block.text, x, channels_of(b, level));
        if (b->config->attention[level])
            x = attention(b, block.text, x);
    }
    return x;
}

/* An MLP of the level's cosines and sines, plus the label's row and what was made of the image. */
static sumi_edge embedding(const builder *b)
{
    sumi_graph *graph = b->graph;
    int dim = b->config->embedding;
    sumi_edge x =
        sumi_graph_fourier(graph, sumi_graph_input_time(graph), FREQUENCIES,
                           (double)b->config->time_lowest, (double)b->config->time_highest);
    x = sumi_graph_act(graph, linear(b, "time", ".0", x, dim), SUMI_ACT_SILU);
    x = linear(b, "time", ".2", x, dim);
    if (b->config->classes > 0) {
        sumi_edge labels = sumi_graph_input_labels(graph, b->config->classes);
        int rows = sumi_graph_embedding_layer(graph, "label", b->config->classes + 1, dim);
        sumi_graph_scale_init(graph, rows, .5f);
        x = sumi_graph_add(graph, x, sumi_graph_embedding(graph, labels, rows));
    }
    if (b->config->told > 0) {
        sumi_edge told = sumi_graph_condition(graph, b->config->told);
        x = sumi_graph_add(graph, x, linear(b, "augmentation", "", told, dim));
    }
    return sumi_graph_act(graph, x, SUMI_ACT_SILU);
}

void sumi_build_unet(sumi_graph *graph, const sumi_unet_config *config)
{
    builder b = {.graph = graph, .config = config};
    sumi_edge skips[SUMI_LEVELS_MAX];
    int last = config->levels - 1;
    sumi_graph_init(graph);
    sumi_edge image = sumi_graph_input_image(graph, config->channels);
    b.embedding = embedding(&b);
    sumi_edge x = conv(&b, "first", "", sumi_graph_pad(graph, image), channels_of(&b, 0), 3);
    for (int level = 0; level <= last; level++) {
        x = stage(&b, "down", level, x);
        skips[level] = x;
        if (level < last)
            x = conv(&b, named("shrink%d", level).text, "", sumi_graph_avg_pool(graph, x),
                     channels_of(&b, level + 1), 3);
    }
    x = residual_block(&b, "middle", x, channels_of(&b, last));
    for (int level = last - 1; level >= 0; level--) {
        x = conv(&b, named("grow%d", level).text, "", sumi_graph_upsample(graph, x),
                 channels_of(&b, level), 3);
        x = stage(&b, "up", level, sumi_graph_concat(graph, x, skips[level]));
    }
    x = conv_from_zero(&b, "last", "", norm_silu(&b, "norm", "", x), config->channels, 3);
    x = sumi_graph_crop(graph, x);
    sumi_graph_output(graph, "image", x);
    sumi_graph_loss_mse(graph, x);
}
