/*
 * Shows progress and stops in good order: after a number of steps through the callback, or at
 * Ctrl-C through sumi_cancel, which a signal handler may call.
 *
 *     progress [STEPS]
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <sumi.h>

static sumi_context *ctx;

static void on_interrupt(int number)
{
    (void)number;
    sumi_cancel(ctx);
}

/* Called after each step; anything but 0 stops the training. */
static int on_progress(void *user, const sumi_progress *progress)
{
    const int *limit = user;
    if (progress->phase != SUMI_PHASE_TRAIN)
        return 0;
    printf("step %lld  loss %.4f  %.0f images/s\n", (long long)progress->step, progress->loss,
           progress->images_per_s);
    return progress->step >= *limit;
}

int main(int argc, char **argv)
{
    int limit = argc > 1 ? atoi(argv[1]) : 20;
    sumi_dataset *set = NULL;
    sumi_model *model = NULL;
    if (sumi_context_create(0, &ctx) != SUMI_OK)
        return 2;
    signal(SIGINT, on_interrupt);
    sumi_model_config shape = SUMI_MODEL_CONFIG_INIT;
    shape.base_channels = 8;
    sumi_train_config train = SUMI_TRAIN_CONFIG_INIT;
    train.batch = 16;
    train.progress = on_progress;
    train.user = &limit;
    sumi_status status = sumi_dataset_open(ctx, "shapes", NULL, &set);
    if (status == SUMI_OK)
        status = sumi_model_create(ctx, &shape, &model);
    if (status == SUMI_OK)
        status = sumi_train(ctx, model, set, &train);
    /* To be stopped is no failure: the model has the steps that were done. */
    printf("%s: %s\n", sumi_status_name(status), sumi_last_error(ctx));
    sumi_model_free(model);
    sumi_dataset_free(set);
    sumi_context_free(ctx);
    return status == SUMI_CANCELLED ? 0 : 1;
}
