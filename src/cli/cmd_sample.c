/*
 * sumi sample: draws new images from a trained model.
 */
#include "io/io.h"
#include "progress.h"

#include <stdlib.h>
#include <string.h>

enum { SEED_SIDE = 28 };

typedef struct {
    const char *path, *model_path;
    sumi_sample_config config;
    int channels;
    float low, high;
} sample_job;

/* The bar, and how many images are whole: what can be saved where the sampling is stopped. */
typedef struct {
    sumi_bar bar;
    int whole;
} sample_watch;

static int see_progress(void *user, const sumi_progress *progress)
{
    sample_watch *watch = user;
    watch->whole = (int)progress->images;
    return sumi_bar_update(&watch->bar, progress);
}

static int check_grid(const sumi_cli *cli, const sample_job *job)
{
    const sumi_sample_config *c = &job->config;
    sumi_grid_layout grid;
    if (sumi_has_ending(job->path, ".png") &&
        sumi_image_grid_size(c->count, c->height, c->width, &grid, NULL) != SUMI_OK)
        return sumi_cli_usage(cli,
                              "--out: %d images of %dx%d are too many for one picture; give "
                              "DIR/ or x.npy, or a smaller -n",
                              c->count, c->height, c->width);
    return 0;
}

/* Everything that can be wrong with the settings, found before the model is read. */
static int read_settings(sumi_cli *cli, sample_job *job)
{
    const sumi_options *options = &cli->options;
    sumi_error err = {""};
    sumi_sample_config config = SUMI_SAMPLE_CONFIG_INIT;
    bool alone = sumi_option_given(options, "index") && !sumi_option_given(options, "count");
    config.count = alone ? 1 : (int)sumi_option_int(options, "count");
    sumi_option_size(options, "size", &config.height, &config.width);
    config.steps = (int)sumi_option_int(options, "steps");
    config.solver = sumi_option_text(options, "solver");
    config.spacing = sumi_option_text(options, "spacing");
    if (sumi_option_given(options, "eta"))
        config.eta = (float)sumi_option_real(options, "eta");
    config.seed = (uint64_t)sumi_option_int(options, "seed");
    config.first_index = sumi_option_int(options, "index");
    config.batch = (int)sumi_option_int(options, "batch");
    config.precision = sumi_cli_precision(options);
    job->config = config;
    job->model_path = options->operands[0];
    job->path = sumi_option_text(options, "out");

    bool file = sumi_has_ending(job->path, ".png") || sumi_has_ending(job->path, ".npy");
    size_t length = strlen(job->path);
    if (!file && job->path[length - 1] != '/' && !sumi_is_dir(job->path))
        return sumi_cli_usage(cli, "--out: expected x.png, x.npy or a folder as DIR/, found '%s'",
                              job->path);
    sumi_status status =
        file ? sumi_check_output(job->path, &err) : sumi_check_output_dir(job->path, &err);
    if (status != SUMI_OK)
        return sumi_cli_fail(cli, status, err.text);
    return check_grid(cli, job);
}

/* Without --size pictures have the size that the model was trained on; the tutorial trains on 28x28
 * and draws 32x32. */
static int settle_size(sumi_cli *cli, sample_job *job, const sumi_model_info_t *info)
{
    bool known = info->height > 0 && info->width > 0;
    bool seed = info->height == SEED_SIDE && info->width == SEED_SIDE;
    if (sumi_option_given(&cli->options, "size") || !known)
        return 0;
    if (seed) {
        sumi_cli_note(cli, "note",
                      "trained on images of %dx%d, sampling at %dx%d as the tutorial does; "
                      "--size %dx%d takes the size of the training",
                      info->height, info->width, job->config.height, job->config.width,
                      info->height, info->width);
        return 0;
    }
    job->config.height = info->height;
    job->config.width = info->width;
    return check_grid(cli, job);
}

static int load_model(sumi_cli *cli, sample_job *job, sumi_model **model)
{
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    sumi_status status = sumi_cli_load(cli, job->model_path, model);
    if (status == SUMI_OK)
        status = sumi_model_info(*model, &info);
    if (status != SUMI_OK)
        return sumi_cli_fail_context(cli, status);
    if (info.out_channels != 1 && info.out_channels != 3 && !sumi_has_ending(job->path, ".npy"))
        return sumi_cli_usage(cli, "--out: images of %d channels are no PNG; give x.npy",
                              info.out_channels);
    job->channels = info.out_channels;
    job->low = info.range_lo;
    job->high = info.range_hi;
    return settle_size(cli, job, &info);
}

/* What a picture says about itself. */
static char *describe(const sumi_cli *cli, const sample_job *job)
{
    const sumi_sample_config *c = &job->config;
    size_t size = strlen(cli->command_line) + 256;
    char *text = sumi_calloc(size, 1);
    char eta[32] = "";
    if (c->eta >= 0)
        snprintf(eta, sizeof eta, ", eta %g", (double)c->eta);
    if (text != NULL)
        snprintf(text, size,
                 "sumi %s; seed %llu, images %lld to %lld, solver %s, %s, steps %d (0: all)%s; %s",
                 sumi_version(), (unsigned long long)c->seed, (long long)c->first_index,
                 (long long)c->first_index + c->count - 1, c->solver, c->spacing, c->steps, eta,
                 cli->command_line);
    return text;
}

/* The first config.count images of values. */
static sumi_status write_images(const sumi_cli *cli, const sample_job *job, const float *values,
                                sumi_error *err)
{
    const sumi_sample_config *c = &job->config;
    size_t count = (size_t)c->count * (size_t)c->height * (size_t)c->width * (size_t)job->channels;
    uint8_t *pixels = sumi_calloc(count, 1);
    char *comment = describe(cli, job);
    sumi_status status = SUMI_ENOMEM;
    sumi_pictures pictures = {c->first_index, c->count, c->height, c->width,
                              job->channels,  pixels,   comment};
    if (pixels != NULL && comment != NULL) {
        sumi_range_to_bytes(values, count, job->low, job->high, pixels);
        status = sumi_write_pictures(job->path, &pictures, err);
    } else {
        sumi_fail(err, status, "out of memory writing the images");
    }
    free(pixels);
    free(comment);
    return status;
}

static int write_result(sumi_cli *cli, const sample_job *job, const float *values, double elapsed_s)
{
    const sumi_sample_config *c = &job->config;
    sumi_error err = {""};
    sumi_status status = write_images(cli, job, values, &err);
    if (status != SUMI_OK)
        return sumi_cli_fail(cli, status, err.text);
    sumi_cli_note(cli, "note", "wrote %d image%s of %dx%d to %s in %.1f s", c->count,
                  c->count == 1 ? "" : "s", c->height, c->width, job->path, elapsed_s);
    if (!cli->json)
        return 0;
    return sumi_cli_result(cli, json_pack("{s:o, s:i, s:i, s:i, s:i, s:I, s:I, s:s, s:i, s:f}",
                                          "out", sumi_json_name(job->path), "count", c->count,
                                          "height", c->height, "width", c->width, "channels",
                                          job->channels, "first_index", (json_int_t)c->first_index,
                                          "seed", (json_int_t)c->seed, "solver", c->solver, "steps",
                                          c->steps, "elapsed_s", elapsed_s));
}

/* What is whole is saved: image i is the same whether or not those after it are drawn. */
static int write_cancelled(sumi_cli *cli, const sample_job *job, const float *values, int whole)
{
    sample_job part = *job;
    sumi_error err = {""};
    if (whole == 0)
        return sumi_cli_fail_context(cli, SUMI_CANCELLED);
    part.config.count = whole;
    sumi_status status = write_images(cli, &part, values, &err);
    if (status == SUMI_OK)
        status = sumi_fail(&err, SUMI_CANCELLED, "stopped: wrote the first %d of %d images to %s",
                           whole, job->config.count, job->path);
    return sumi_cli_fail(cli, status, err.text);
}

int sumi_cmd_sample(sumi_cli *cli)
{
    sample_job job = {0};
    sumi_model *model = NULL;
    float *values = NULL;
    sample_watch watch = {.whole = 0};
    int code = read_settings(cli, &job);
    if (code == 0)
        code = sumi_cli_open(cli);
    if (code == 0)
        code = load_model(cli, &job, &model);
    if (code != 0)
        goto done;

    const int64_t shape[] = {job.config.count, job.config.height, job.config.width, job.channels};
    size_t count = 0;
    if (sumi_size_product(shape, 4, &count))
        values = sumi_calloc(count, sizeof *values);
    if (values == NULL) {
        code = sumi_cli_fail(cli, SUMI_ENOMEM, "out of memory for the images; give a smaller -n");
        goto done;
    }
    double start = sumi_time_now();
    sumi_bar_begin(&watch.bar, cli);
    job.config.progress = see_progress;
    job.config.user = &watch;
    sumi_signals_watch(cli->signals, cli->ctx, NULL);
    sumi_status status = sumi_sample(cli->ctx, model, &job.config, values, count);
    sumi_signals_watch(cli->signals, NULL, NULL);
    sumi_bar_end(&watch.bar);
    code = status == SUMI_OK          ? write_result(cli, &job, values, sumi_time_now() - start)
           : status == SUMI_CANCELLED ? write_cancelled(cli, &job, values, watch.whole)
                                      : sumi_cli_fail_context(cli, status);
done:
    free(values);
    sumi_model_free(model);
    return code;
}
