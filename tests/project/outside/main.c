/*
 * A program outside sumi's tree: draws one tiny picture with an untrained network, then prints the
 * library's version.
 */
#include <stdio.h>

#include <sumi.h>

int main(void)
{
    sumi_context *ctx = NULL;
    sumi_model *model = NULL;
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    config.base_channels = 4;
    float image[8 * 8];
    sumi_sample_config sample = SUMI_SAMPLE_CONFIG_INIT;
    sample.height = sample.width = 8;
    sample.steps = 2;
    sample.solver = "ddim";
    if (sumi_context_create(1, &ctx) != SUMI_OK ||
        sumi_model_create(ctx, &config, &model) != SUMI_OK ||
        sumi_sample(ctx, model, &sample, image, 8 * 8) != SUMI_OK)
        return 1;
    puts(sumi_version());
    sumi_model_free(model);
    sumi_context_free(ctx);
    return 0;
}
