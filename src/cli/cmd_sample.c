/*
 * sumi sample: draws new images from a trained model.
 */
#include "progress.h"
#include "sample_job.h"

#include <stdlib.h>
#include <string.h>

/* What the callbacks of the sampling work with. */
typedef struct {
    sumi_bar bar;
    const sample_job *job;
    sumi_output output;
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
    }
    return watch->status != SUMI_OK;
}

static int load_model(sumi_cli *cli, sample_job *job, sumi_model **model)
{
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    sumi_status status = sumi_cli_load(cli, job->model_path, model);
    if (status == SUMI_OK)
        status = sumi_model_info(*model, &info);
    return status == SUMI_OK ? sumi_sample_settle(cli, job, &info)
                             : sumi_cli_fail_context(cli, status);
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
    status = sumi_output_end(output, &watch->err);
    if (status == SUMI_OK && stopped)
        status =
            sumi_fail(&watch->err, SUMI_CANCELLED, "stopped: wrote the first %d of %d images to %s",
                      whole, job->config.count, job->path);
    return status == SUMI_OK ? report_done(cli, job, whole, elapsed_s)
                             : sumi_cli_fail(cli, status, watch->err.text);
}

/* Draws and writes. */
static int draw(sumi_cli *cli, sample_job *job, const sumi_model *model)
{
    char *comment = describe(cli, job);
    const sumi_sample_config *c = &job->config;
    sample_watch watch = {.job = job,
                          .output = {.path = job->path,
                                     .first_index = c->first_index,
                                     .n = c->count,
                                     .h = c->height,
                                     .w = c->width,
                                     .c = job->channels,
                                     .comment = comment}};
    sumi_status status = comment != NULL
                             ? sumi_output_begin(&watch.output, &watch.err)
                             : sumi_fail(&watch.err, SUMI_ENOMEM, "out of memory for the comment");
    if (status != SUMI_OK) {
        free(comment);
        return sumi_cli_fail(cli, status, watch.err.text);
    }
    double start = sumi_time_now();
    sumi_bar_begin(&watch.bar, cli);
    job->config.progress = see_progress;
    job->config.on_images = take_images;
    job->config.user = &watch;
    sumi_signals_watch(cli->signals, cli->ctx, NULL);
    status = sumi_sample(cli->ctx, model, &job->config, NULL, 0);
    sumi_signals_watch(cli->signals, NULL, NULL);
    sumi_bar_end(&watch.bar);
    int code = finish(cli, job, &watch, status, sumi_time_now() - start);
    sumi_output_stop(&watch.output);
    free(watch.pixels);
    free(comment);
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
    if (noise.data == NULL)
        return sumi_cli_fail(cli, SUMI_ENOMEM, "out of memory for the noise");
    double start = sumi_time_now();
    sumi_bar_begin(&bar, cli);
    c->progress = see_bar;
    c->user = &bar;
    sumi_signals_watch(cli->signals, cli->ctx, NULL);
    sumi_status status = sumi_sample(cli->ctx, model, c, noise.data, noise.count);
    sumi_signals_watch(cli->signals, NULL, NULL);
    sumi_bar_end(&bar);
    int code = 0;
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
    if (code == 0)
        code = job.inverse ? draw_noise(cli, &job, model) : draw(cli, &job, model);
    sumi_model_free(model);
    sumi_sample_job_free(&job);
    return code;
}
