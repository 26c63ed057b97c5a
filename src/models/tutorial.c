/*
 * The tutorial's UNetWithTime as a graph. Layers are declared first, in the order of its __init__,
 * which is the order of the state dict; then the forward pass is written down.
 */
#include "models/models.h"

#include <stdio.h>

static int named(int (*declare)(sumi_graph *, const char *, int, int), sumi_graph *graph,
                 const char *block, const char *leaf, int in, int out)
{
    char name[SUMI_NAME_MAX];
    snprintf(name, sizeof name, "%s.%s", block, leaf);
    return declare(graph, name, in, out);
}

static int conv3x3(sumi_graph *graph, const char *name, int in, int out)
{
    return sumi_graph_conv_layer(graph, name, in, out, 3);
}

static int batch_norm(sumi_graph *graph, const char *name, int in, int out)
{
    (void)in;
    return sumi_graph_batch_norm_layer(graph, name, out);
}

sumi_tutorial_block sumi_tutorial_block_declare(sumi_graph *graph, const char *name, int time_dim,
                                                int in, int out)
{
    sumi_tutorial_block block;
    block.conv[0] = named(conv3x3, graph, name, "conv.0", in, out);
    block.norm[0] = named(batch_norm, graph, name, "conv.1", out, out);
    block.conv[1] = named(conv3x3, graph, name, "conv.3", out, out);
    block.norm[1] = named(batch_norm, graph, name, "conv.4", out, out);
    block.linear[0] = named(sumi_graph_linear_layer, graph, name, "linear.0", time_dim, 2 * in);
    block.linear[1] = named(sumi_graph_linear_layer, graph, name, "linear.2", 2 * in, in);
    return block;
}

sumi_edge sumi_tutorial_block_run(sumi_graph *graph, const sumi_tutorial_block *block, sumi_edge x,
                                  sumi_edge t)
{
    if (t.count > 0) {
        sumi_edge hidden = sumi_graph_linear(graph, t, block->linear[0]);
        hidden = sumi_graph_act(graph, hidden, SUMI_ACT_RELU);
        x = sumi_graph_shift(graph, x, sumi_graph_linear(graph, hidden, block->linear[1]));
    }
    for (int i = 0; i < 2; i++) {
        x = sumi_graph_norm(graph, sumi_graph_conv(graph, x, block->conv[i]), block->norm[i]);
        x = sumi_graph_act(graph, x, SUMI_ACT_RELU);
    }
    return x;
}

void sumi_build_tutorial(sumi_graph *graph, const sumi_model_config *config)
{
    int in = config->in_channels, width = config->base_channels;
    int dim = config->time_dim;
    sumi_graph_init(graph);

    sumi_tutorial_block down1 = sumi_tutorial_block_declare(graph, "down_conv1", dim, in, width);
    sumi_tutorial_block down2 =
        sumi_tutorial_block_declare(graph, "down_conv2", dim, width, 2 * width);
    sumi_tutorial_block bottleneck =
        sumi_tutorial_block_declare(graph, "bottleneck", dim, 2 * width, 4 * width);
    sumi_tutorial_block up2 =
        sumi_tutorial_block_declare(graph, "up_conv2", dim, 4 * width + 2 * width, 2 * width);
    sumi_tutorial_block up1 =
        sumi_tutorial_block_declare(graph, "up_conv1", dim, 2 * width + width, width);
    int out = sumi_graph_conv_layer(graph, "out", width, config->out_channels, 1);

    sumi_edge image = sumi_graph_input_image(graph, in);
    sumi_edge t = sumi_graph_sinusoid(graph, sumi_graph_input_time(graph), dim);
    sumi_edge x1 = sumi_tutorial_block_run(graph, &down1, image, t);
    sumi_edge x2 = sumi_tutorial_block_run(graph, &down2, sumi_graph_max_pool(graph, x1), t);
    sumi_edge x = sumi_tutorial_block_run(graph, &bottleneck, sumi_graph_max_pool(graph, x2), t);
    x = sumi_graph_concat(graph, sumi_graph_upsample(graph, x), x2);
    x = sumi_tutorial_block_run(graph, &up2, x, t);
    x = sumi_graph_concat(graph, sumi_graph_upsample(graph, x), x1);
    x = sumi_tutorial_block_run(graph, &up1, x, t);
    x = sumi_graph_conv(graph, x, out);
    sumi_graph_output(graph, "image", x);
    sumi_graph_loss_mse(graph, x);
}
