/*
 * The graphs of classifiers. All of them halve the image until its shorter side has 4 to 7 pixels,
 * and the features are means over the pixels that are left, as those of Inception-v3 are: sums of
 * many small numbers, whose distribution is not far from a Gaussian.
 */
#include "models/classifier.h"

#include <stdio.h>
#include <string.h>

enum { LEAST_SIDE = 4, HALVINGS_MAX = 8, WIDTH_MAX = 128, GROUPS = 8 };

static const char *name_of(char out[SUMI_NAME_MAX], int stage, const char *leaf)
{
    snprintf(out, SUMI_NAME_MAX, "stages.%d.%s", stage, leaf);
    return out;
}

static sumi_edge conv(sumi_graph *graph, const char *name, sumi_edge x, int out, int ksize)
{
    int layer = sumi_graph_conv_layer(graph, name, sumi_edge_channels(graph, &x), out, ksize);
    return sumi_graph_conv(graph, x, layer);
}

static int width_at(int stage, int first, int most)
{
    for (; stage > 0 && first < most; stage--)
        first *= 2;
    return first < most ? first : most;
}

/* ---- Plain: twice convolution, batch norm, ReLU, then the largest of each 2x2 ---------------- */

static sumi_edge plain_block(sumi_graph *graph, int stage, int number, sumi_edge x, int out)
{
    char name[SUMI_NAME_MAX], leaf[16];
    snprintf(leaf, sizeof leaf, "conv%d", number);
    x = conv(graph, name_of(name, stage, leaf), x, out, 3);
    snprintf(leaf, sizeof leaf, "norm%d", number);
    int norm = sumi_graph_batch_norm_layer(graph, name_of(name, stage, leaf), out);
    return sumi_graph_act(graph, sumi_graph_norm(graph, x, norm), SUMI_ACT_RELU);
}

static sumi_edge plain(sumi_graph *graph, sumi_edge x, int halvings)
{
    for (int stage = 0; stage < halvings; stage++) {
        int width = width_at(stage, 32, WIDTH_MAX);
        x = plain_block(graph, stage, 1, x, width);
        x = plain_block(graph, stage, 2, x, width);
        x = sumi_graph_max_pool(graph, x);
    }
    return plain_block(graph, halvings, 1, x, WIDTH_MAX);
}

/* ---- Residual: group norm, SiLU, a stride of 2 beside a mean of each 2x2 --------------------- */

static sumi_edge norm_silu(sumi_graph *graph, int stage, const char *leaf, sumi_edge x)
{
    char name[SUMI_NAME_MAX];
    int layer = sumi_graph_group_norm_layer(graph, name_of(name, stage, leaf),
                                            sumi_edge_channels(graph, &x), GROUPS, true);
    return sumi_graph_act(graph, sumi_graph_norm(graph, x, layer), SUMI_ACT_SILU);
}

static sumi_edge residual_stage(sumi_graph *graph, int stage, sumi_edge x, int out)
{
    char name[SUMI_NAME_MAX];
    sumi_edge skip = sumi_graph_avg_pool(graph, x);
    if (sumi_edge_channels(graph, &x) != out)
        skip = conv(graph, name_of(name, stage, "skip"), skip, out, 1);
    x = norm_silu(graph, stage, "norm1", x);
    x = conv(graph, name_of(name, stage, "conv1"), x, out, 3);
    x = norm_silu(graph, stage, "norm2", x);
    x = sumi_graph_subsample(graph, conv(graph, name_of(name, stage, "conv2"), x, out, 3));
    return sumi_graph_add(graph, skip, x);
}

static sumi_edge residual(sumi_graph *graph, sumi_edge x, int halvings)
{
    enum { FIRST = 16, MOST = 64, LAST = 96 };
    char name[SUMI_NAME_MAX];
    x = conv(graph, "stem", x, FIRST, 3);
    for (int stage = 0; stage < halvings; stage++)
        x = residual_stage(graph, stage, x, width_at(stage + 1, FIRST, MOST));
    x = norm_silu(graph, halvings, "norm1", x);
    x = conv(graph, name_of(name, halvings, "conv1"), x, LAST, 3);
    return norm_silu(graph, halvings, "norm2", x);
}

/* ---- The table ------------------------------------------------------------------------------- */

static const sumi_classifier_shape shapes[] = {
    {"v1", "convolutions, batch norm, ReLU, maxima", true, WIDTH_MAX, plain},
    {"v2", "residual blocks, group norm, SiLU, strides", true, 96, residual},
    {"random-conv", "v1 with random weights, for data without labels: a weaker evaluator", false,
     WIDTH_MAX, plain},
};

const sumi_classifier_shape *sumi_classifier_shape_at(int index)
{
    int count = sizeof shapes / sizeof *shapes;
    return index >= 0 && index < count ? &shapes[index] : NULL;
}

const sumi_classifier_shape *sumi_classifier_shape_find(const char *name)
{
    const sumi_classifier_shape *row = NULL;
    for (int i = 0; (row = sumi_classifier_shape_at(i)) && strcmp(row->name, name) != 0;)
        i++;
    return row;
}

/* ---- Building -------------------------------------------------------------------------------- */

static int halvings_of(int height, int width)
{
    int side = height < width ? height : width, halvings = 0;
    while (halvings < HALVINGS_MAX && side >> (halvings + 1) >= LEAST_SIDE)
        halvings++;
    return halvings;
}

void sumi_build_classifier(sumi_graph *graph, const sumi_classifier_shape *shape, int height,
                           int width, int channels, int classes)
{
    sumi_graph_init(graph);
    sumi_edge image = sumi_graph_input_image(graph, channels);
    sumi_edge x = shape->build(graph, image, halvings_of(height, width));
    sumi_edge features = sumi_graph_mean(graph, x);
    sumi_graph_output(graph, "features", features);
    if (classes == 0) {
        sumi_graph_loss_mse(graph, features);
        return;
    }
    sumi_edge labels = sumi_graph_input_labels(graph, classes);
    int head = sumi_graph_linear_layer(graph, "head", shape->features, classes);
    sumi_edge logits = sumi_graph_linear(graph, features, head);
    sumi_graph_output(graph, "logits", logits);
    sumi_graph_loss_cross_entropy(graph, logits, labels, 0);
}
