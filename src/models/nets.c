/*
 * The networks there are, as a table: their names, how they are built, and what their sizes are
 * where nobody says.
 */
#include "models/models.h"

#include <stdio.h>
#include <string.h>

/* What version 0.1 called the first. */
static const char FORMER_NAME[] = "seed";

/* Radians for each of the T steps of level: their waves are from some steps to a whole run long. */
enum { LOWEST = 3, HIGHEST = 3000 };

static sumi_status build_tutorial(sumi_graph *graph, const sumi_model_config *config,
                                  sumi_error *err)
{
    (void)err;
    sumi_build_tutorial(graph, config);
    return SUMI_OK;
}

static int length(const int list[SUMI_LEVELS_MAX])
{
    int count = 0;
    while (count < SUMI_LEVELS_MAX && list[count] > 0)
        count++;
    return count;
}

static sumi_status build_unet(sumi_graph *graph, const sumi_model_config *config, sumi_error *err)
{
    int levels = length(config->multipliers);
    sumi_unet_config unet = {.channels = config->in_channels,
                             .width = config->base_channels,
                             .levels = levels,
                             .embedding = config->time_dim,
                             .head_channels = config->head_channels,
                             .classes = config->classes,
                             .told = config->augmentation,
                             .time_lowest = (float)LOWEST / (float)config->timesteps,
                             .time_highest = (float)HIGHEST / (float)config->timesteps};
    if (length(config->blocks) != levels)
        return sumi_fail(err, SUMI_EINVAL,
                         "%d multipliers and %d blocks: expected one of each for a "
                         "level",
                         levels, length(config->blocks));
    if (config->in_channels != config->out_channels)
        return sumi_fail(err, SUMI_EINVAL,
                         "a unet returns as many channels as it is given: %d, not "
                         "%d",
                         config->in_channels, config->out_channels);
    for (int i = 0; i < length(config->attention); i++) {
        int level = config->attention[i];
        if (level > levels)
            return sumi_fail(err, SUMI_EINVAL, "attention at level %d: there are %d", level,
                             levels);
        unet.attention[level - 1] = true;
    }
    memcpy(unet.multipliers, config->multipliers, sizeof unet.multipliers);
    memcpy(unet.blocks, config->blocks, sizeof unet.blocks);
    sumi_build_unet(graph, &unet);
    return SUMI_OK;
}

static const sumi_net nets[] = {
    [SUMI_NET_TUTORIAL] = {{"tutorial", "the tutorial's U-Net: batch norms, two levels down"},
                           build_tutorial,
                           64,
                           100},
    [SUMI_NET_UNET] = {{"unet", "a residual U-Net with group norms, which can be told of labels"},
                       build_unet,
                       32,
                       128},
};

enum { NETS = sizeof nets / sizeof *nets };

const sumi_net *sumi_net_row(int index)
{
    return index >= 0 && index < NETS ? &nets[index] : NULL;
}

int sumi_net_find(const char *name)
{
    for (int i = 0; i < NETS; i++)
        if (strcmp(name, nets[i].is.name) == 0)
            return i;
    return strcmp(name, FORMER_NAME) == 0 ? SUMI_NET_TUTORIAL : -1;
}

sumi_status sumi_net_check(const char *what, const char *name, sumi_error *err)
{
    char known[128] = "";
    if (name && sumi_net_find(name) >= 0)
        return SUMI_OK;
    for (int i = 0; i < NETS; i++)
        sumi_names_add(known, sizeof known, nets[i].is.name);
    return sumi_fail(err, SUMI_EINVAL, "unknown %s '%s'; there are: %s", what,
                     name ? name : "(null)", known);
}
