/* A model that is made in no time. */
#ifndef SUMI_FUZZ_MODEL_H
#define SUMI_FUZZ_MODEL_H

#include "fuzz.h"
#include "models/models.h"

static inline sumi_model *fuzz_model(int classes)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_model *model;
    config.net = "unet";
    config.base_channels = 4;
    config.time_dim = 4;
    config.multipliers[1] = config.multipliers[2] = 0;
    config.blocks[1] = config.blocks[2] = 0;
    config.classes = classes;
    fuzz_check(sumi_models_create(&config, &model, NULL) == SUMI_OK, "a small model");
    return model;
}

#endif
