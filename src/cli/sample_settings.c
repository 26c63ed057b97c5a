/*
 * Reads the settings of `sumi sample`: numbers and lists, the image or noise to begin from, and
 * what the model makes of them.
 */
#include "sample_job.h"

#include <stdlib.h>
#include <string.h>

enum { STRIP_COUNT = 4, FILM_PIXELS_MAX = 4 << 20 };

/* ---- Lists of numbers ------------------------------------------------------------------------ */

/* Numbers with commas between them; NULL where the text is something else. */
static double *read_list(const char *text, int *count)
{
    size_t room = strlen(text) / 2 + 1;
    double *list = sumi_calloc(room, sizeof *list);
    *count = 0;
    for (const char *at = text; list != NULL; at++) {
        char *end = NULL;
        size_t length = strcspn(at, ",");
        if (length == 0 || strspn(at, "0123456789.eE+-") < length)
            break;
        list[(*count)++] = sumi_parse_real(at, &end);
        if (end != at + length)
            break;
        at = end;
        if (*at == '\0')
            return list;
    }
    free(list);
    return NULL;
}

static int read_levels(sumi_cli *cli, sample_job *job)
{
    static const char sigma[] = "sigma:";
    const char *text = sumi_option_text(&cli->options, "levels"), *list = text;
    static const char *const instead[] = {"steps",     "spacing",   "strength",
                                          "sigma-min", "sigma-max", "rho"};
    if (text == NULL)
        return 0;
    for (size_t i = 0; i < sizeof instead / sizeof *instead; i++)
        if (sumi_option_given(&cli->options, instead[i]))
            return sumi_cli_usage(cli, "--levels and --%s: one of them is expected", instead[i]);
    job->config.levels_are_sigma = strncmp(text, sigma, sizeof sigma - 1) == 0;
    if (job->config.levels_are_sigma)
        list += sizeof sigma - 1;
    job->levels = read_list(list, &job->config.level_count);
    if (job->levels == NULL)
        return sumi_cli_usage(cli,
                              "--levels: expected falling numbers as 900,500,100 or "
                              "sigma:80,5,0.1, found '%s'",
                              text);
    job->config.levels = job->levels;
    return 0;
}

static int read_clip(sumi_cli *cli, sample_job *job)
{
    const char *text = sumi_option_text(&cli->options, "clip");
    int count = 0;
    if (text == NULL || strcmp(text, "on") == 0)
        return 0;
    double *range = read_list(text, &count);
    bool sound = range != NULL && count == 2 && range[0] < range[1];
    if (sound) {
        job->config.clip_low = (float)range[0];
        job->config.clip_high = (float)range[1];
    }
    free(range);
    return sound ? 0
                 : sumi_cli_usage(cli, "--clip: expected on or a range as 0,1, found '%s'", text);
}

/* ---- Before the model is known --------------------------------------------------------------- */

static void read_numbers(const sumi_options *options, sample_job *job)
{
    sumi_sample_config *config = &job->config;
    config->count = (int)sumi_option_int(options, "count");
    if (!sumi_option_given(options, "count"))
        config->count = sumi_option_given(options, "index") ? 1
                        : job->strip                        ? STRIP_COUNT
                                                            : config->count;
    sumi_option_size(options, "size", &config->height, &config->width);
    config->seed = (uint64_t)sumi_option_int(options, "seed");
    config->first_index = sumi_option_int(options, "index");
    config->batch = (int)sumi_option_int(options, "batch");
    config->precision = sumi_cli_precision(options);
    config->strength = (float)sumi_option_real(options, "strength");
    config->mask_visits = (int)sumi_option_int(options, "resample");
    config->mask_jump = (int)sumi_option_int(options, "jump");
}

int sumi_sample_read_way(sumi_cli *cli, sample_job *job)
{
    const sumi_options *options = &cli->options;
    sumi_sample_config *config = &job->config;
    config->steps = (int)sumi_option_int(options, "steps");
    config->solver = sumi_option_text(options, "solver");
    config->spacing = sumi_option_text(options, "spacing");
    config->rho = (float)sumi_option_real(options, "rho");
    config->sigma_min = (float)sumi_option_real(options, "sigma-min");
    config->sigma_max = (float)sumi_option_real(options, "sigma-max");
    if (sumi_option_given(options, "eta"))
        config->eta = (float)sumi_option_real(options, "eta");
    config->churn = (float)sumi_option_real(options, "churn");
    config->churn_min = (float)sumi_option_real(options, "churn-min");
    config->churn_max = (float)sumi_option_real(options, "churn-max");
    config->churn_noise = (float)sumi_option_real(options, "churn-noise");
    config->threshold = (float)sumi_option_real(options, "threshold");
    config->rtol = (float)sumi_option_real(options, "rtol");
    config->atol = (float)sumi_option_real(options, "atol");
    return read_clip(cli, job);
}

/* A,B: the first and the last of the images, between whose noise the others lie. */
static int read_interpolation(sumi_cli *cli, sample_job *job)
{
    const char *text = sumi_option_text(&cli->options, "interpolate");
    int count = 0;
    if (text == NULL)
        return 0;
    if (sumi_option_given(&cli->options, "index"))
        return sumi_cli_usage(cli, "--interpolate and --index: one of them is expected");
    double *ends = read_list(text, &count);
    bool sound = ends != NULL && count == 2;
    for (int i = 0; sound && i < 2; i++)
        sound = ends[i] >= 0 && ends[i] <= 1e12 && ends[i] == (double)(int64_t)ends[i];
    if (sound) {
        job->config.first_index = (int64_t)ends[0];
        job->config.to_index = (int64_t)ends[1];
    }
    free(ends);
    return sound ? 0
                 : sumi_cli_usage(cli,
                                  "--interpolate: expected the numbers of two images as 3,8, "
                                  "found '%s'",
                                  text);
}

static int check_grid(const sumi_cli *cli, const sample_job *job)
{
    const sumi_sample_config *c = &job->config;
    sumi_grid_layout grid;
    if (sumi_ends_with(job->path, ".png") &&
        sumi_image_grid_size(c->count, c->height, c->width, &grid, NULL) != SUMI_OK)
        return sumi_cli_usage(cli,
                              "--out: %d images of %dx%d are too many for one picture; give "
                              "DIR/ or x.npy, or a smaller -n",
                              c->count, c->height, c->width);
    return 0;
}

static int check_out(const sumi_cli *cli, const sample_job *job)
{
    sumi_error err = {""};
    bool npy = sumi_ends_with(job->path, ".npy"), file = npy || sumi_ends_with(job->path, ".png");
    size_t length = strlen(job->path);
    if (job->inverse && !npy)
        return sumi_cli_usage(cli, "--out: --solver %s writes noise: expected x.npy, found '%s'",
                              job->config.solver, job->path);
    if (!file && job->path[length - 1] != '/' && !sumi_is_dir(job->path))
        return sumi_cli_usage(cli, "--out: expected x.png, x.npy or a folder as DIR/, found '%s'",
                              job->path);
    sumi_status status =
        file ? sumi_check_output(job->path, &err) : sumi_check_output_dir(job->path, &err);
    return status == SUMI_OK ? check_grid(cli, job) : sumi_cli_fail(cli, status, err.text);
}

static int check_film(const sumi_cli *cli, const char *option, const char *path, const char *ending)
{
    sumi_error err = {""};
    if (path == NULL)
        return 0;
    if (!sumi_ends_with(path, ending))
        return sumi_cli_usage(cli, "--%s: expected x%s, found '%s'", option, ending, path);
    sumi_status status = sumi_check_output(path, &err);
    return status == SUMI_OK ? 0 : sumi_cli_fail(cli, status, err.text);
}

/* Pictures of the way there. */
static int check_films(const sumi_cli *cli, const sample_job *job)
{
    int code = check_film(cli, "gif", job->gif, ".gif");
    if (code == 0)
        code = check_film(cli, "apng", job->apng, ".png");
    if (code == 0 && job->strip && !sumi_ends_with(job->path, ".png"))
        return sumi_cli_usage(cli, "--strip: --out is expected to be x.png, found '%s'", job->path);
    bool any = job->strip || job->gif != NULL || job->apng != NULL;
    if (code == 0 && any && job->inverse)
        return sumi_cli_usage(cli, "--solver %s draws no images to be seen on their way",
                              job->config.solver);
    return code;
}

static bool is_inverse(const char *solver)
{
    sumi_choice_t choice = SUMI_CHOICE_INIT;
    for (int i = 0; sumi_solver_at(i, &choice) == SUMI_OK; i++)
        if (strcmp(choice.name, solver) == 0)
            return choice.inverse;
    return false;
}

/* As many images as the file has noise for, or the first of them. */
static int count_noise(sumi_cli *cli, sample_job *job)
{
    int64_t there = job->start.shape[0];
    if (!sumi_option_given(&cli->options, "count"))
        job->config.count = (int)there;
    if (job->config.count > there)
        return sumi_cli_usage(cli, "--count: %d images were asked for, --noise has %lld",
                              job->config.count, (long long)there);
    job->config.start = job->start.data;
    return 0;
}

/* The files that the sampling begins from. */
static int read_files(sumi_cli *cli, sample_job *job)
{
    const sumi_options *options = &cli->options;
    const char *image = sumi_option_text(options, "image");
    const char *noise = sumi_option_text(options, "noise");
    sumi_error err = {""};
    sumi_status status = SUMI_OK;
    if (image != NULL && noise != NULL)
        return sumi_cli_usage(cli, "--image and --noise: one of them is expected");
    const char *mask = sumi_option_text(options, "mask");
    if (image == NULL && (mask != NULL || sumi_option_given(options, "strength")))
        return sumi_cli_usage(cli, "--%s: it needs --image", mask != NULL ? "mask" : "strength");
    if (mask == NULL &&
        (sumi_option_given(options, "resample") || sumi_option_given(options, "jump")))
        return sumi_cli_usage(cli, "--resample and --jump: they need --mask");
    if (job->inverse && image == NULL)
        return sumi_cli_usage(cli, "--solver %s: it needs --image", job->config.solver);
    if (job->inverse && job->config.count != 1) {
        if (sumi_option_given(options, "count"))
            return sumi_cli_usage(cli, "--count: --solver %s makes one noise of one image",
                                  job->config.solver);
        job->config.count = 1;
    }
    if (image != NULL)
        status = sumi_image_read(image, &job->picture, &err);
    if (status == SUMI_OK && mask != NULL)
        status = sumi_image_read(mask, &job->mask_picture, &err);
    if (noise != NULL)
        status = sumi_npy_read(noise, &job->start, &err);
    if (status == SUMI_OK && noise != NULL &&
        (job->start.dtype != SUMI_NPY_F32 || job->start.rank != 4 || job->start.shape[0] < 1 ||
         job->start.shape[0] > INT32_MAX))
        status = sumi_fail(&err, SUMI_EFORMAT, "%s: expected float32 [n][h][w][c]", noise);
    if (status != SUMI_OK)
        return sumi_cli_fail(cli, status, err.text);
    return noise != NULL ? count_noise(cli, job) : 0;
}

int sumi_sample_read_settings(sumi_cli *cli, sample_job *job)
{
    job->config = (sumi_sample_config)SUMI_SAMPLE_CONFIG_INIT;
    int code = sumi_sample_like(cli, job);
    if (code != 0)
        return code;
    job->model_path = cli->options.operands[0];
    job->path = sumi_option_text(&cli->options, "out");
    job->gif = sumi_option_text(&cli->options, "gif");
    job->apng = sumi_option_text(&cli->options, "apng");
    job->strip = sumi_option_flag(&cli->options, "strip");
    read_numbers(&cli->options, job);
    code = sumi_sample_read_way(cli, job);
    job->inverse = is_inverse(job->config.solver);
    if (code == 0)
        code = read_levels(cli, job);
    if (code == 0)
        code = read_interpolation(cli, job);
    if (code == 0)
        code = read_files(cli, job);
    if (code == 0)
        code = check_out(cli, job);
    return code == 0 ? check_films(cli, job) : code;
}

/* ---- With the model -------------------------------------------------------------------------- */

/* Without --size pictures have the size of what they begin from, or that the model was trained on;
 * the tutorial trains on 28x28 and draws 32x32. */
static int settle_size(sumi_cli *cli, sample_job *job, const sumi_model_info_t *info)
{
    sumi_sample_config *config = &job->config;
    if (sumi_option_given(&cli->options, "size"))
        return 0;
    if (job->picture.pixels != NULL) {
        config->height = job->picture.height;
        config->width = job->picture.width;
    } else if (job->start.data != NULL) {
        config->height = (int)job->start.shape[1];
        config->width = (int)job->start.shape[2];
    } else if (sumi_cli_sample_size(info, &config->height, &config->width)) {
        sumi_cli_note(cli, "note",
                      "trained on images of %dx%d, sampling at %dx%d as the tutorial does; "
                      "--size %dx%d takes the size of the training",
                      info->height, info->width, config->height, config->width, info->height,
                      info->width);
    }
    return check_grid(cli, job);
}

/* h, w and c of a file are those that are asked for. */
static int check_fits(sumi_cli *cli, const sample_job *job, const char *option, int64_t h,
                      int64_t w, int64_t c)
{
    const sumi_sample_config *config = &job->config;
    const char *path = sumi_option_text(&cli->options, option);
    sumi_error err = {""};
    sumi_status status = SUMI_OK;
    if (c != job->channels)
        status = sumi_fail(&err, SUMI_ESHAPE, "%s: %lld channel%s, the model has %d", path,
                           (long long)c, c == 1 ? "" : "s", job->channels);
    else if (h != config->height || w != config->width)
        status = sumi_fail(&err, SUMI_ESHAPE, "%s: %lldx%lld, expected %dx%d as --size says", path,
                           (long long)h, (long long)w, config->height, config->width);
    return status == SUMI_OK ? 0 : sumi_cli_fail(cli, status, err.text);
}

/* The picture in the model's range, once for each image. */
static int settle_image(sumi_cli *cli, sample_job *job)
{
    const sumi_image *picture = &job->picture;
    if (picture->pixels == NULL)
        return 0;
    int code = check_fits(cli, job, "image", picture->height, picture->width, picture->channels);
    if (code != 0)
        return code;
    size_t floats = (size_t)picture->height * (size_t)picture->width * (size_t)picture->channels;
    size_t count = (size_t)job->config.count;
    job->images = sumi_calloc(count, floats * sizeof *job->images);
    if (job->images == NULL)
        return sumi_cli_fail(cli, SUMI_ENOMEM, "out of memory for the image; give a smaller -n");
    for (size_t i = 0; i < count * floats; i++)
        job->images[i] =
            job->low + (job->high - job->low) * ((float)picture->pixels[i % floats] / 255);
    job->config.image = job->images;
    return 0;
}

/* White is made anew, black is kept; of colours the mean counts. */
static int settle_mask(sumi_cli *cli, sample_job *job)
{
    const sumi_image *mask = &job->mask_picture;
    if (mask->pixels == NULL)
        return 0;
    int code = check_fits(cli, job, "mask", mask->height, mask->width, job->channels);
    if (code != 0)
        return code;
    size_t pixels = (size_t)mask->height * (size_t)mask->width, c = (size_t)mask->channels;
    job->mask = sumi_calloc(pixels, sizeof *job->mask);
    if (job->mask == NULL)
        return sumi_cli_fail(cli, SUMI_ENOMEM, "out of memory for the mask");
    for (size_t i = 0; i < pixels; i++) {
        unsigned sum = 0;
        for (size_t k = 0; k < c; k++)
            sum += mask->pixels[i * c + k];
        job->mask[i] = (float)sum / (float)(255 * c);
    }
    job->config.mask = job->mask;
    return 0;
}

int sumi_sample_settle(sumi_cli *cli, sample_job *job, const sumi_model_info_t *info)
{
    const char *clip = sumi_option_text(&cli->options, "clip");
    if (info->out_channels != 1 && info->out_channels != 3 && !sumi_ends_with(job->path, ".npy") &&
        !sumi_ends_with(job->path, ".png"))
        return sumi_cli_usage(cli,
                              "--out: images of %d channels are no PNG each; give x.npy, or x.png "
                              "for a grid of %s",
                              info->out_channels,
                              info->out_channels < 3 ? "the first" : "the first three");
    job->channels = info->out_channels;
    job->low = info->range_lo;
    job->high = info->range_hi;
    if (clip != NULL && strcmp(clip, "on") == 0) {
        job->config.clip_low = job->low;
        job->config.clip_high = job->high;
    }
    int code = settle_size(cli, job, info);
    const sumi_npy *start = &job->start;
    if (code == 0 && start->data != NULL)
        code = check_fits(cli, job, "noise", start->shape[1], start->shape[2], start->shape[3]);
    if (code == 0)
        code = settle_image(cli, job);
    if (code == 0)
        code = settle_mask(cli, job);
    if (code != 0)
        return code;
    sumi_grid_layout grid;
    const sumi_sample_config *c = &job->config;
    if ((job->strip || job->gif != NULL || job->apng != NULL) &&
        (sumi_image_grid_size(c->count, c->height, c->width, &grid, NULL) != SUMI_OK ||
         (int64_t)grid.height * grid.width > FILM_PIXELS_MAX))
        return sumi_cli_usage(cli,
                              "--strip, --gif and --apng: %d images of %dx%d are too many; give "
                              "a smaller -n",
                              c->count, c->height, c->width);
    job->evaluations = sumi_calloc((size_t)job->config.count, sizeof *job->evaluations);
    job->config.evaluations = job->evaluations;
    return job->evaluations != NULL ? 0 : sumi_cli_fail(cli, SUMI_ENOMEM, "out of memory");
}

void sumi_sample_job_free(sample_job *job)
{
    free(job->levels);
    free(job->images);
    free(job->evaluations);
    free(job->labels);
    free(job->mask);
    sumi_image_free(&job->picture);
    sumi_image_free(&job->mask_picture);
    sumi_npy_free(&job->start);
    sumi_model_free(job->guide);
    for (int i = 0; i < job->like_count; i++)
        free(job->like_texts[i]);
}
