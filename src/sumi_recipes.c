/* Bodies of the public functions of recipes. */
#include "sumi_bodies.h"

#include "train/train.h"

sumi_status sumi_preset_choose(sumi_context *ctx, const char *preset, const sumi_dataset *set,
                               sumi_model_config *model, sumi_trainer_config *trainer,
                               sumi_train_config *train, sumi_sample_config *sample, char *why,
                               size_t size)
{
    sumi_model_config of_model = SUMI_MODEL_CONFIG_INIT;
    sumi_trainer_config of_trainer = SUMI_TRAINER_CONFIG_INIT;
    sumi_train_config of_train = SUMI_TRAIN_CONFIG_INIT;
    sumi_sample_config of_sample = SUMI_SAMPLE_CONFIG_INIT;
    const sumi_recipe recipe = {&of_model, &of_trainer, &of_train, &of_sample, why, size};
    if (!enter(ctx))
        return SUMI_EINVAL;
    if (!set || !model || !trainer || !train || !sample)
        return missing(ctx, "sumi_preset_choose", !set ? "set" : "a config");
    const struct {
        const char *name;
        void *theirs, *full;
        size_t size;
    } configs[] = {{"sumi_model_config", model, &of_model, sizeof of_model},
                   {"sumi_trainer_config", trainer, &of_trainer, sizeof of_trainer},
                   {"sumi_train_config", train, &of_train, sizeof of_train},
                   {"sumi_sample_config", sample, &of_sample, sizeof of_sample}};
    sumi_status status = SUMI_OK;
    for (int i = 0; i < 4 && status == SUMI_OK; i++)
        status =
            take_config(ctx, configs[i].name, configs[i].theirs, configs[i].full, configs[i].size);
    if (status == SUMI_OK)
        status = sumi_recipe_choose(preset, set, &recipe, &ctx->error);
    for (int i = 0; i < 4 && status == SUMI_OK; i++)
        sumi_give_info(configs[i].full, configs[i].size, configs[i].theirs);
    return status;
}
