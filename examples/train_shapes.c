/*
 * Trains a small network on the built-in set of drawn shapes and saves it.
 *
 *     train_shapes [STEPS [MODEL]]
 */
#include <stdio.h>
#include <stdlib.h>

#include <sumi.h>

int main(int argc, char **argv)
{
    const char *path = argc > 2 ? argv[2] : "shapes.safetensors";
    sumi_context *ctx = NULL;
    sumi_dataset *set = NULL;
    sumi_model *model = NULL;

    if (sumi_context_create(0, &ctx) != SUMI_OK) {
        fprintf(stderr, "%s\n", sumi_last_error(NULL));
        return 1;
    }

    /* An _INIT macro holds the tutorial's settings; change what should differ. */
    sumi_dataset_config data = SUMI_DATASET_CONFIG_INIT;
    data.height = data.width = 16;
    sumi_model_config shape = SUMI_MODEL_CONFIG_INIT;
    shape.base_channels = 16;
    sumi_train_config train = SUMI_TRAIN_CONFIG_INIT;
    train.epochs = 0; /* no limit but the steps */
    train.steps = argc > 1 ? atoi(argv[1]) : 500;
    train.batch = 32;

    sumi_status status = sumi_dataset_open(ctx, "shapes", &data, &set);
    if (status == SUMI_OK)
        status = sumi_model_create(ctx, &shape, &model);
    if (status == SUMI_OK)
        status = sumi_train(ctx, model, set, &train);
    if (status == SUMI_OK)
        status = sumi_model_save(ctx, model, path);

    if (status == SUMI_OK)
        printf("trained for %lld steps, saved to %s\n", (long long)train.steps, path);
    else
        fprintf(stderr, "%s: %s\n", sumi_status_name(status), sumi_last_error(ctx));
    sumi_model_free(model);
    sumi_dataset_free(set);
    sumi_context_free(ctx);
    return status == SUMI_OK ? 0 : 1;
}
