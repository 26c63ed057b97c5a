/*
 * Noises a picture to several timesteps and asks the network what noise it sees there: the error
 * falls with t as long as the network has learnt anything.
 *
 *     predict MODEL
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <sumi.h>

enum { SIZE = 16, PIXELS = SIZE * SIZE, N = 4 };

int main(int argc, char **argv)
{
    static float x_0[PIXELS], x_t[N * PIXELS], eps[N * PIXELS], found[N * PIXELS];
    static const int32_t t[N] = {100, 300, 500, 1000};
    sumi_context *ctx = NULL;
    sumi_dataset *set = NULL;
    sumi_model *model = NULL;
    if (argc < 2 || sumi_context_create(0, &ctx) != SUMI_OK)
        return 2;
    sumi_dataset_config data = {.size = sizeof data, .height = SIZE, .width = SIZE};
    sumi_status status = sumi_model_load(ctx, argv[1], &model);
    if (status == SUMI_OK)
        status = sumi_dataset_open(ctx, "shapes", &data, &set);
    if (status == SUMI_OK)
        status = sumi_dataset_read(set, 7, x_0, NULL);

    /* x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps, with the tutorial's schedule. */
    for (int n = 0; n < N; n++) {
        double alpha_bar = 1;
        for (int s = 0; s < t[n]; s++)
            alpha_bar *= 1 - (.001 + .009 * s / 999);
        for (int i = n * PIXELS; i < (n + 1) * PIXELS; i++) {
            eps[i] = (float)(sqrt(12) * (rand() / (RAND_MAX + 1.0) - .5)); /* variance 1 */
            x_t[i] = (float)(sqrt(alpha_bar) * x_0[i % PIXELS] + sqrt(1 - alpha_bar) * eps[i]);
        }
    }
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.n = N;
    batch.h = batch.w = SIZE;
    batch.x = x_t;
    batch.t = t;
    if (status == SUMI_OK)
        status = sumi_model_predict(ctx, model, &batch, found);
    for (int n = 0; status == SUMI_OK && n < N; n++) {
        double error = 0;
        for (int i = n * PIXELS; i < (n + 1) * PIXELS; i++)
            error += (found[i] - eps[i]) * (found[i] - eps[i]) / PIXELS;
        printf("t = %4d: mean squared error %.4f\n", t[n], error);
    }
    if (status != SUMI_OK)
        fprintf(stderr, "%s: %s\n", sumi_status_name(status), sumi_last_error(ctx));
    sumi_dataset_free(set);
    sumi_model_free(model);
    sumi_context_free(ctx);
    return status == SUMI_OK ? 0 : 1;
}
