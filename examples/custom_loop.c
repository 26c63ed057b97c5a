/*
 * A training loop of one's own on data of one's own: discs of random size and place, made while
 * training. Saves a checkpoint at the end.
 *
 *     custom_loop [STEPS [CHECKPOINT]]
 */
#include <stdio.h>
#include <stdlib.h>

#include <sumi.h>

enum { SIZE = 16, BATCH = 16 };

/* One disc on a dark ground, in [0, 1]. */
static void draw(float *image)
{
    int cx = 4 + rand() % 8, cy = 4 + rand() % 8, r = 2 + rand() % 4;
    for (int i = 0; i < SIZE * SIZE; i++) {
        int x = i % SIZE - cx, y = i / SIZE - cy;
        image[i] = x * x + y * y <= r * r ? 1.0f : 0.0f;
    }
}

int main(int argc, char **argv)
{
    static float images[BATCH * SIZE * SIZE];
    int steps = argc > 1 ? atoi(argv[1]) : 300;
    const char *checkpoint = argc > 2 ? argv[2] : "discs-checkpoint";
    sumi_context *ctx = NULL;
    sumi_model *model = NULL;
    sumi_trainer *trainer = NULL;
    if (sumi_context_create(0, &ctx) != SUMI_OK)
        return 2;
    sumi_model_config shape = SUMI_MODEL_CONFIG_INIT;
    shape.base_channels = 16;
    sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
    config.batch = BATCH;
    sumi_status status = sumi_model_create(ctx, &shape, &model);
    if (status == SUMI_OK)
        status = sumi_trainer_create(ctx, model, &config, &trainer);
    sumi_batch batch = {.size = sizeof batch, .n = BATCH, .h = SIZE, .w = SIZE, .x = images};
    for (int i = 0; status == SUMI_OK && i < steps; i++) {
        for (int n = 0; n < BATCH; n++)
            draw(images + n * SIZE * SIZE);
        /* t and noise stay NULL: the trainer draws them from its seed and the step. */
        float loss = 0;
        status = sumi_trainer_step(trainer, &batch, &loss);
        if (status == SUMI_OK && (i + 1) % 10 == 0)
            printf("step %d: loss %.4f\n", i + 1, loss);
    }
    /* sumi_trainer_resume(trainer, checkpoint) would continue with the same bits. */
    if (status == SUMI_OK)
        status = sumi_trainer_save(trainer, checkpoint);
    if (status != SUMI_OK)
        fprintf(stderr, "%s: %s\n", sumi_status_name(status), sumi_last_error(ctx));
    sumi_trainer_free(trainer);
    sumi_model_free(model);
    sumi_context_free(ctx);
    return status == SUMI_OK ? 0 : 1;
}
