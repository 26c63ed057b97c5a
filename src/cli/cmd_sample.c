/*
 * sumi sample: draws new images from a trained model.
 */
#include "defaults.h"
#include "film.h"
#include "progress.h"
#include "sample_job.h"

#include <stdlib.h>
#include <string.h>

/* What the callbacks of the sampling work with. */
typedef struct {
    sumi_bar bar;
    const sample_job *job;
    sumi_output output;
    sumi_film film;
    uint8_t *pixels; /* of the images of a batch */
    size_t room;     /* its bytes */
    sumi_status status;
    sumi_error err; /* why images could not be written */
} sample_watch;

static int see_progress(void *user, const sumi_progress *progress)
{
    sample_watch *watch = user;
    return sumi_bar_update(&watch->bar, progress);
}

/* Keeps what is on its way. */
static int see_step(void *user, int step, const float *x_t, const float *x_0, int n)
{
    sample_watch *watch = user;
    (void)step;
    if (!sumi_film_show(&watch->film, x_t, x_0, n))
        watch->status = sumi_fail(&watch->err, SUMI_ENOMEM, "out of memory for the moving picture");
    return watch->status != SUMI_OK;
}

static int see_bar(void *user, const sumi_progress *progress)
{
    return sumi_bar_update(user, progress);
}

/* Writes the images of a batch, which are whole: whatever ends the program, they are there. */
static int take_images(void *user, int64_t first, const float *images, int n)
{
    sample_watch *watch = user;
    const sumi_output *o = &watch->output;
    size_t count = (size_t)n * (size_t)o->h * (size_t)o->w * (size_t)o->c;
    (void)first; /* they come in order */
    if (count > watch->room) {
        free(watch->pixels);
        watch->pixels = sumi_calloc(count, 1);
        watch->room = watch->pixels != NULL ? count : 0;
    }
    if (watch->pixels == NULL) {
        watch->status = sumi_fail(&watch->err, SUMI_ENOMEM, "out of memory writing the images");
    } else {
        sumi_range_to_bytes(images, count, watch->job->low, watch->job->high, watch->pixels);
        watch->status = sumi_output_add(&watch->output, watch->pixels, n, &watch->err);
        if (watch->status == SUMI_OK && watch->job->config.on_step != NULL &&
            !sumi_film_add(&watch->film, watch->pixels, n))
            watch->status =
                sumi_fail(&watch->err, SUMI_ENOMEM, "out of memory for the moving picture");
    }
    return watch->status != SUMI_OK;
}

static int load_model(sumi_cli *cli, sample_job *job, sumi_model **model)
{
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    sumi_status status = sumi_cli_load(cli, job->model_path, model);
    if (status == SUMI_OK)
        status = sumi_model_info(*model, &info);
    if (status != SUMI_OK)
        return sumi_cli_fail_context(cli, status);
    int code =
        sumi_cli_give_defaults(cli, job->model_path, *model, job->like_texts, &job->like_count);
    if (code == 0)
        code = sumi_sample_read_way(cli, job);
    if (code == 0)
        code = sumi_sample_labels(cli, job, *model);
    if (code == 0)
        code = sumi_sample_settle(cli, job, &info);
    return code == 0 ? sumi_cli_guidance(cli, &job->config, &job->guide) : code;
}

/* What a picture says about itself. */
static char *describe(const sumi_cli *cli, const sample_job *job)
{
    const sumi_sample_config *c = &job->config;
    size_t size = strlen(cli->command_line) + 256;
    char *text = sumi_calloc(size, 1);
    char eta[32] = "", guidance[96] = "";
    if (c->eta >= 0)
        snprintf(eta, sizeof eta, ", eta %g", (double)c->eta);
    if (c->guidance != 1)
        snprintf(guidance, sizeof guidance, ", guidance %g for sigma %g to %g", (double)c->guidance,
                 (double)c->guidance_from, (double)c->guidance_to);
    if (text != NULL)
        snprintf(
            text, size,
            "sumi %s; seed %llu, images %lld to %lld, solver %s, %s, steps %d (0: all)%s%s; %s",
            sumi_version(), (unsigned long long)c->seed, (long long)c->first_index,
            (long long)c->first_index + c->count - 1, c->solver, c->spacing, c->steps, eta,
            guidance, cli->command_line);
    return text;
}

static int report_done(sumi_cli *cli, const sample_job *job, int whole, double elapsed_s)
{
    const sumi_sample_config *c = &job->config;
    double all = 0;
    for (int i = 0; i < whole; i++)
        all += job->evaluations[i];
    sumi_cli_note(cli, "note", "wrote %d image%s of %dx%d to %s in %.1f s, %.4g evaluations each",
                  whole, whole == 1 ? "" : "s", c->height, c->width, job->path, elapsed_s,
                  all / whole);
    if (!cli->json)
        return 0;
    return sumi_cli_result(
        cli, json_pack("{s:o, s:i, s:i, s:i, s:i, s:I, s:I, s:s, s:i, s:f, s:f}", "out",
                       sumi_json_name(job->path), "count", whole, "height", c->height, "width",
                       c->width, "channels", job->channels, "first_index",
                       (json_int_t)c->first_index, "seed", (json_int_t)c->seed, "solver", c->solver,
                       "steps", c->steps, "evaluations", all / whole, "elapsed_s", elapsed_s));
}

/* Of a sampling that failed, what is whole is in a folder or in PATH.part: the user is told. */
static void tell_part(const sumi_cli *cli, const sumi_output *output)
{
    bool array = output->array != NULL;
    if (output->done > 0 && output->grid == NULL)
        sumi_cli_note(cli, "note", "the first %d of %d images are whole and in %s%s", output->done,
                      output->n, output->path, array ? ".part" : "");
}

/* The grid or folder or array, or the strip in place of a grid; then what moves. */
static sumi_status write_all(const sample_job *job, sample_watch *watch)
{
    const sumi_output *output = &watch->output;
    sumi_image strip;
    sumi_error *err = &watch->err;
    sumi_status status = SUMI_OK;
    if (job->strip) {
        status = sumi_film_strip(&watch->film, &strip, err);
        if (status == SUMI_OK) {
            status =
                sumi_png_write_with(output->path, &strip, output->comment, output->parameters, err);
            sumi_image_free(&strip);
        }
    } else {
        status = sumi_output_end(&watch->output, err);
    }
    if (status == SUMI_OK && job->gif != NULL)
        status = sumi_film_write(&watch->film, job->gif, output->comment, err);
    if (status == SUMI_OK && job->apng != NULL)
        status = sumi_film_write(&watch->film, job->apng, output->comment, err);
    return status;
}

/* Ends the output after the sampling has ended in this way. A stop keeps what is whole: image i is
 * the same whether or not those after it are drawn. */
static int finish(sumi_cli *cli, const sample_job *job, sample_watch *watch, sumi_status status,
                  double elapsed_s)
{
    sumi_output *output = &watch->output;
    int whole = output->done;
    bool stopped = status == SUMI_CANCELLED && watch->status == SUMI_OK;
    if (watch->status != SUMI_OK || (status != SUMI_OK && !(stopped && whole > 0))) {
        int code = watch->status != SUMI_OK ? sumi_cli_fail(cli, watch->status, watch->err.text)
                                            : sumi_cli_fail_context(cli, status);
        tell_part(cli, output);
        return code;
    }
    status = write_all(job, watch);
    if (status == SUMI_OK && stopped)
        status =
            sumi_fail(&watch->err, SUMI_CANCELLED, "stopped: wrote the first %d of %d images to %s",
                      whole, job->config.count, job->path);
    return status == SUMI_OK ? report_done(cli, job, whole, elapsed_s)
                             : sumi_cli_fail(cli, status, watch->err.text);
}

/* Watched for signals. */
static sumi_status run_sampling(sumi_cli *cli, const sumi_model *model,
                                const sumi_sample_config *config, sumi_npy *out)
{
    sumi_signals_watch(cli->signals, cli->ctx, NULL);
    sumi_status status = sumi_sample(cli->ctx, model, config, out != NULL ? out->data : NULL,
                                     out != NULL ? out->count : 0);
    sumi_signals_watch(cli->signals, NULL, NULL);
    return status;
}

/* One of several processes that are not the first: it draws its share, which the first writes. */
static int follow(sumi_cli *cli, const sample_job *job, const sumi_model *model)
{
    int code = sumi_cli_meet(cli, 0); /* whether the first can write */
    if (code != 0 || !job->config.share)
        return code;
    sumi_status status = run_sampling(cli, model, &job->config, NULL);
    return status == SUMI_OK ? 0 : sumi_cli_fail_context(cli, status);
}

/* Draws and writes. */
static int draw(sumi_cli *cli, sample_job *job, const sumi_model *model)
{
    char *comment = describe(cli, job), *parameters = sumi_sample_parameters(cli, job);
    const sumi_sample_config *c = &job->config;
    sample_watch watch = {.job = job,
                          .output = {.path = job->path,
                                     .first_index = c->first_index,
                                     .n = c->count,
                                     .h = c->height,
                                     .w = c->width,
                                     .c = job->channels,
                                     .rows = job->rows,
                                     .comment = comment,
                                     .parameters = parameters},
                          .film = {.n = c->count,
                                   .h = c->height,
                                   .w = c->width,
                                   .c = job->channels,
                                   .low = job->low,
                                   .high = job->high}};
    sumi_status status = comment != NULL && parameters != NULL
                             ? sumi_output_begin(&watch.output, &watch.err)
                             : sumi_fail(&watch.err, SUMI_ENOMEM, "out of memory for the comment");
    int code = status == SUMI_OK ? 0 : sumi_cli_fail(cli, status, watch.err.text);
    code = sumi_cli_meet(cli, code);
    if (code != 0) {
        free(comment);
        free(parameters);
        return code;
    }
    double start = sumi_time_now();
    sumi_bar_begin(&watch.bar, cli);
    job->config.progress = see_progress;
    job->config.on_images = take_images;
    if (job->strip || job->gif != NULL || job->apng != NULL)
        job->config.on_step = see_step;
    job->config.user = &watch;
    status = run_sampling(cli, model, &job->config, NULL);
    sumi_bar_end(&watch.bar);
    code = finish(cli, job, &watch, status, sumi_time_now() - start);
    sumi_output_stop(&watch.output);
    sumi_film_free(&watch.film);
    free(watch.pixels);
    free(comment);
    free(parameters);
    return code;
}

/* Noise is no picture: it is written as it is. */
static int draw_noise(sumi_cli *cli, sample_job *job, const sumi_model *model)
{
    sumi_sample_config *c = &job->config;
    sumi_error err = {""};
    sumi_bar bar;
    sumi_npy noise = {
        .dtype = SUMI_NPY_F32, .rank = 4, .shape = {c->count, c->height, c->width, job->channels}};
    noise.count = (size_t)c->count * (size_t)c->height * (size_t)c->width * (size_t)job->channels;
    noise.data = sumi_calloc(noise.count, sizeof(float));
    int code =
        noise.data != NULL ? 0 : sumi_cli_fail(cli, SUMI_ENOMEM, "out of memory for the noise");
    code = sumi_cli_meet(cli, code);
    if (code != 0) {
        sumi_npy_free(&noise);
        return code;
    }
    double start = sumi_time_now();
    sumi_bar_begin(&bar, cli);
    c->progress = see_bar;
    c->user = &bar;
    sumi_status status = run_sampling(cli, model, c, &noise);
    sumi_bar_end(&bar);
    if (status != SUMI_OK)
        code = sumi_cli_fail_context(cli, status);
    else if ((status = sumi_npy_write(job->path, &noise, &err)) != SUMI_OK)
        code = sumi_cli_fail(cli, status, err.text);
    sumi_npy_free(&noise);
    return code == 0 ? report_done(cli, job, c->count, sumi_time_now() - start) : code;
}

int sumi_cmd_sample(sumi_cli *cli)
{
    sample_job job = {0};
    sumi_model *model = NULL;
    int code = sumi_sample_read_settings(cli, &job);
    if (code == 0)
        code = sumi_cli_open(cli);
    if (code == 0)
        code = load_model(cli, &job, &model);
    code = sumi_cli_meet(cli, code);
    if (code == 0)
        code = sumi_cli_join(cli);
    /* What moves shows every step of every image: the first draws it alone. */
    job.config.share = cli->dist != NULL && !job.strip && job.gif == NULL && job.apng == NULL;
    if (code == 0 && !sumi_cli_talks(cli))
        code = follow(cli, &job, model);
    else if (code == 0)
        code = job.inverse ? draw_noise(cli, &job, model) : draw(cli, &job, model);
    sumi_model_free(model);
    sumi_sample_job_free(&job);
    return code;
}
