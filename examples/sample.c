/*
 * Draws pictures from a model file (or run directory) and shows them as text.
 *
 *     sample MODEL [COUNT [STEPS]]
 */
#include <stdio.h>
#include <stdlib.h>

#include <sumi.h>

enum { SIZE = 16 };

static void show(const float *image)
{
    static const char ink[] = " .:-=+*#%@";
    for (int y = 0; y < SIZE; y++) {
        for (int x = 0; x < SIZE; x++) {
            /* Images are in the model's data range, 0 to 1, and not clamped. */
            float v = image[y * SIZE + x];
            int level = v <= 0 ? 0 : v >= 1 ? 9 : (int)(v * 9.99f);
            putchar(ink[level]);
            putchar(ink[level]);
        }
        putchar('\n');
    }
    putchar('\n');
}

int main(int argc, char **argv)
{
    sumi_context *ctx = NULL;
    sumi_model *model = NULL;
    if (argc < 2 || sumi_context_create(0, &ctx) != SUMI_OK)
        return 2;
    sumi_sample_config config = SUMI_SAMPLE_CONFIG_INIT;
    config.count = argc > 2 ? atoi(argv[2]) : 2;
    config.steps = argc > 3 ? atoi(argv[3]) : 50;
    config.solver = "ddim";
    config.height = config.width = SIZE;
    size_t floats = config.count > 0 ? (size_t)config.count * SIZE * SIZE : 0;
    float *images = calloc(floats + 1, sizeof *images);

    sumi_status status = images ? sumi_model_load(ctx, argv[1], &model) : SUMI_ENOMEM;
    if (status == SUMI_OK)
        status = sumi_sample(ctx, model, &config, images, floats);
    for (int i = 0; status == SUMI_OK && i < config.count; i++)
        show(images + i * SIZE * SIZE);
    if (status != SUMI_OK)
        fprintf(stderr, "%s: %s\n", sumi_status_name(status), sumi_last_error(ctx));
    free(images);
    sumi_model_free(model);
    sumi_context_free(ctx);
    return status == SUMI_OK ? 0 : 1;
}
