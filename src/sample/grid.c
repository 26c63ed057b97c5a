/*
 * Sample grids: the same noise after each epoch, so that one can watch the pictures form.
 */
#include "sample/sample.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { GRID_MAX = 4096, SIDE_TUTORIAL = 28, SIDE_GRID = 32, SIDE_MAX = 4096 };

sumi_status sumi_grid_check(const sumi_train_config *config, int multiple, sumi_error *err)
{
    if (config->grid < 0 || config->grid > GRID_MAX)
        return sumi_fail(err, SUMI_EINVAL, "grid is %d, expected 0..%d", config->grid, GRID_MAX);
    if (config->grid_height < 0 || config->grid_height > SIDE_MAX || config->grid_width < 0 ||
        config->grid_width > SIDE_MAX)
        return sumi_fail(err, SUMI_EINVAL, "the grid's pictures are %dx%d, expected 0..%d",
                         config->grid_height, config->grid_width, SIDE_MAX);
    if (config->grid_height % multiple || config->grid_width % multiple)
        return sumi_fail(err, SUMI_EINVAL,
                         "the grid's pictures are %dx%d, expected multiples of %d for this model",
                         config->grid_height, config->grid_width, multiple);
    if (config->grid_steps < 0)
        return sumi_fail(err, SUMI_EINVAL, "grid_steps is %d, expected 0 or more",
                         config->grid_steps);
    return SUMI_OK;
}

/* As config says, else the size that is trained on, but the tutorial trains on 28x28 and draws
 * 32x32. */
static void size_of(const sumi_model *model, const sumi_train_config *config, int set_height,
                    int set_width, int *height, int *width)
{
    bool tutorial = sumi_net_find(model->info.net) == SUMI_NET_TUTORIAL &&
                    set_height == SIDE_TUTORIAL && set_width == SIDE_TUTORIAL;
    *height = config->grid_height ? config->grid_height : tutorial ? SIDE_GRID : set_height;
    *width = config->grid_width ? config->grid_width : tutorial ? SIDE_GRID : set_width;
}

/* As the model says; where it says nothing, every timestep by ddpm as in the tutorial; where fewer
 * are asked for, ddim. */
static sumi_sample_config sampling_of(const sumi_model *model, const sumi_train_config *config,
                                      const sumi_grid *grid, int count, const int32_t *labels)
{
    sumi_sample_config sample = SUMI_SAMPLE_CONFIG_INIT;
    int steps = config->grid_steps, timesteps = model->info.timesteps;
    sample.count = count;
    sample.labels = labels;
    size_of(model, config, grid->set_height, grid->set_width, &sample.height, &sample.width);
    if (steps) {
        sample.steps = steps < timesteps ? steps : timesteps;
        sample.solver = "ddim";
    }
    sumi_sample_complete(model, &sample);
    sample.seed = grid->seed;
    sample.precision = grid->precision;
    sample.progress = grid->progress;
    sample.user = grid->user;
    return sample;
}

/* Labels of the pictures, in turn, and how many of those make whole rows; malloc'ed, NULL where the
 * model is told of none or there is no memory. */
static int32_t *label_pictures(const sumi_model *model, int *count, sumi_kind_rows *rows)
{
    int classes = model->graph.labels >= 0 ? model->graph.classes : 0;
    if (classes < 1)
        return NULL;
    if (classes <= *count) {
        rows->kinds = classes;
        *count -= *count % classes;
    }
    int32_t *labels = sumi_calloc((size_t)*count, sizeof *labels);
    for (int i = 0; labels && i < *count; i++)
        labels[i] = i % classes;
    return labels;
}

static sumi_status write_picture(const sumi_sample_config *sample, const sumi_kind_rows *rows,
                                 const char *title, const uint8_t *pixels, int channels,
                                 const char *path, sumi_error *err)
{
    char text[160];
    sumi_image image;
    sumi_status status = SUMI_EINVAL;
    snprintf(text, sizeof text, "sumi, %.60s, %dx%d, %s, seed %" PRIu64, title, sample->height,
             sample->width, sample->solver, sample->seed);
    if (rows->kinds > 0)
        status = sumi_image_rows(pixels, sample->count, rows, sample->height, sample->width,
                                 channels, &image, err);
    if (status == SUMI_EINVAL) /* not wanted, or too high or wide for a picture */
        status = sumi_image_grid(pixels, sample->count, sample->height, sample->width, channels,
                                 &image, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_png_write(path, &image, text, err);
    sumi_image_free(&image);
    return status;
}

sumi_status sumi_grid_draw(sumi_runtime *runtime, const sumi_model *model,
                           const sumi_train_config *config, const sumi_grid *grid, const char *path,
                           sumi_error *err)
{
    sumi_kind_rows rows = {0, 0};
    int count = grid->count;
    int32_t *labels = label_pictures(model, &count, &rows);
    sumi_sample_config sample = sampling_of(model, config, grid, count, labels);
    int64_t sizes[] = {sample.count, sample.height, sample.width, model->info.out_channels};
    size_t floats;
    if (!sumi_size_product(sizes, 4, &floats)) {
        free(labels);
        return sumi_fail(err, SUMI_ESHAPE, "a grid of %d pictures of %dx%d", sample.count,
                         sample.height, sample.width);
    }
    float *images = sumi_calloc(floats, sizeof *images);
    uint8_t *pixels = sumi_calloc(floats, 1);
    sumi_status status = SUMI_OK;
    if (!images || !pixels)
        status = sumi_fail_memory(err, "a sample grid", floats * sizeof *images);
    if (status == SUMI_OK)
        status = sumi_sample_run(runtime, model, &sample, images, floats, err);
    if (status == SUMI_OK) {
        sumi_range_to_bytes(images, floats, model->info.range_lo, model->info.range_hi, pixels);
        status =
            write_picture(&sample, &rows, grid->title, pixels, model->info.out_channels, path, err);
    }
    free(labels);
    free(pixels);
    free(images);
    return status;
}
