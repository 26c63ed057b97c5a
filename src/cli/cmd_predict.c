/*
 * sumi predict: the network's answer to given x_t and t, for those who test or write samplers of
 * their own.
 */
#include "progress.h"
#include "tensors.h"

#include <stdlib.h>
#include <string.h>

/* Images between two updates of the progress; never changes a bit of the result. */
enum { CHUNK = 128 };

typedef struct {
    sumi_npy x, t;
    int32_t *steps;        /* t as the API takes it */
    int n, h, w, c, out_c; /* c of x, out_c of eps */
    float *eps;
    size_t eps_count;
} predict_job;

static sumi_status check_shapes(const char *x_path, const char *t_path, predict_job *job,
                                int channels, sumi_error *err)
{
    const sumi_npy *x = &job->x, *t = &job->t;
    char x_shape[160], t_shape[160];
    sumi_shape_text(x->shape, x->rank, x_shape, sizeof x_shape);
    sumi_shape_text(t->shape, t->rank, t_shape, sizeof t_shape);
    if (x->dtype != SUMI_NPY_F32)
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: expected float32, found %s; in NumPy: x.astype('float32')", x_path,
                         sumi_npy_type_name(x->dtype));
    if (t->dtype != SUMI_NPY_I32 && t->dtype != SUMI_NPY_I64)
        return sumi_fail(err, SUMI_EFORMAT,
                         "%s: expected int32 or int64, found %s; in NumPy: t.astype('int64')",
                         t_path, sumi_npy_type_name(t->dtype));
    if (x->rank != 4 || x->shape[3] != channels || x->count == 0)
        return sumi_fail(err, SUMI_ESHAPE, "%s: expected [n][h][w][%d] for this model, found %s",
                         x_path, channels, x_shape);
    if (t->rank != 1 || t->shape[0] != x->shape[0])
        return sumi_fail(err, SUMI_ESHAPE, "%s: expected [%lld] to go with %s of %s, found %s",
                         t_path, (long long)x->shape[0], x_path, x_shape, t_shape);
    if (x->shape[0] > INT32_MAX || x->shape[1] > INT32_MAX || x->shape[2] > INT32_MAX)
        return sumi_fail(err, SUMI_ESHAPE, "%s: %s is too large", x_path, x_shape);
    job->n = (int)x->shape[0];
    job->h = (int)x->shape[1];
    job->w = (int)x->shape[2];
    job->c = channels;
    return SUMI_OK;
}

/* The range is the network's business; here a number only has to fit. */
static sumi_status read_steps(const char *path, predict_job *job, sumi_error *err)
{
    job->steps = sumi_calloc((size_t)job->n, sizeof *job->steps);
    if (job->steps == NULL)
        return sumi_fail_memory(err, path, (size_t)job->n * sizeof *job->steps);
    for (int i = 0; i < job->n; i++) {
        int64_t value = job->t.dtype == SUMI_NPY_I64 ? ((const int64_t *)job->t.data)[i]
                                                     : ((const int32_t *)job->t.data)[i];
        if (value < 1 || value > INT32_MAX)
            return sumi_fail(err, SUMI_EINVAL, "%s: t[%d]: expected 1 or more, found %lld", path, i,
                             (long long)value);
        job->steps[i] = (int32_t)value;
    }
    return SUMI_OK;
}

static sumi_status read_input(const sumi_cli *cli, int channels, predict_job *job, sumi_error *err)
{
    const char *x_path = sumi_option_text(&cli->options, "x");
    const char *t_path = sumi_option_text(&cli->options, "t");
    sumi_status status = sumi_npy_read(x_path, &job->x, err);
    if (status == SUMI_OK)
        status = sumi_npy_read(t_path, &job->t, err);
    if (status == SUMI_OK)
        status = check_shapes(x_path, t_path, job, channels, err);
    if (status == SUMI_OK)
        status = read_steps(t_path, job, err);
    return status;
}

static sumi_status make_output(const char *path, int channels, predict_job *job, sumi_error *err)
{
    const int64_t shape[] = {job->n, job->h, job->w, channels};
    job->out_c = channels;
    if (sumi_size_product(shape, 4, &job->eps_count))
        job->eps = sumi_calloc(job->eps_count, sizeof *job->eps);
    return job->eps != NULL ? SUMI_OK
                            : sumi_fail(err, SUMI_ENOMEM, "%s: out of memory for the result", path);
}

static sumi_status predict_all(sumi_cli *cli, const sumi_model *model, predict_job *job)
{
    size_t pixels = (size_t)job->h * (size_t)job->w;
    double start = sumi_time_now();
    sumi_bar bar;
    sumi_bar_begin(&bar, cli);
    sumi_status status = SUMI_OK;
    for (int i = 0; i < job->n && status == SUMI_OK; i += CHUNK) {
        sumi_batch batch = SUMI_BATCH_INIT;
        batch.n = job->n - i < CHUNK ? job->n - i : CHUNK;
        batch.h = job->h;
        batch.w = job->w;
        batch.x = (const float *)job->x.data + (size_t)i * pixels * (size_t)job->c;
        batch.t = job->steps + i;
        batch.precision = sumi_cli_precision(&cli->options);
        status = sumi_model_predict(cli->ctx, model, &batch,
                                    job->eps + (size_t)i * pixels * (size_t)job->out_c);
        if (status != SUMI_OK)
            break;
        int done = i + batch.n;
        double elapsed_s = sumi_time_now() - start;
        sumi_progress progress = {.size = sizeof progress,
                                  .phase = SUMI_PHASE_SAMPLE,
                                  .step = done,
                                  .step_count = job->n,
                                  .images_per_s = done / (elapsed_s + 1e-9),
                                  .elapsed_s = elapsed_s,
                                  .eta_s = elapsed_s * (job->n - done) / done};
        sumi_bar_update(&bar, &progress);
    }
    sumi_bar_end(&bar);
    return status;
}

static int write_result(const sumi_cli *cli, const predict_job *job)
{
    const char *path = sumi_option_text(&cli->options, "out");
    sumi_error err = {""};
    sumi_npy array = {.dtype = SUMI_NPY_F32,
                      .rank = 4,
                      .shape = {job->n, job->h, job->w, job->out_c},
                      .count = job->eps_count,
                      .data = job->eps};
    sumi_status status = sumi_npy_write(path, &array, &err);
    if (status != SUMI_OK)
        return sumi_cli_fail(cli, status, err.text);
    sumi_cli_note(cli, "note", "wrote the predicted noise of %d image%s to %s", job->n,
                  job->n == 1 ? "" : "s", path);
    if (!cli->json)
        return 0;
    return sumi_cli_result(cli, json_pack("{s:o, s:[i, i, i, i]}", "out", sumi_json_name(path),
                                          "shape", job->n, job->h, job->w, job->out_c));
}

int sumi_cmd_predict(sumi_cli *cli)
{
    const char *path = sumi_option_text(&cli->options, "out");
    sumi_error err = {""};
    if (!sumi_ends_with(path, ".npy"))
        return sumi_cli_usage(cli, "--out: expected a name that ends with .npy, found '%s'", path);
    sumi_status status = sumi_check_output(path, &err);
    if (status != SUMI_OK)
        return sumi_cli_fail(cli, status, err.text);
    int code = sumi_cli_open(cli);
    if (code != 0)
        return code;

    predict_job job = {0};
    sumi_model *model = NULL;
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    status = sumi_cli_load(cli, cli->options.operands[0], &model);
    if (status == SUMI_OK)
        status = sumi_model_info(model, &info);
    if (status != SUMI_OK) {
        code = sumi_cli_fail_context(cli, status);
        goto done;
    }
    status = read_input(cli, info.in_channels, &job, &err);
    if (status == SUMI_OK)
        status = make_output(path, info.out_channels, &job, &err);
    if (status != SUMI_OK) {
        code = sumi_cli_fail(cli, status, err.text);
        goto done;
    }
    sumi_signals_watch(cli->signals, cli->ctx, NULL);
    status = predict_all(cli, model, &job);
    sumi_signals_watch(cli->signals, NULL, NULL);
    code = status == SUMI_OK ? write_result(cli, &job) : sumi_cli_fail_context(cli, status);
done:
    free(job.eps);
    free(job.steps);
    sumi_npy_free(&job.x);
    sumi_npy_free(&job.t);
    sumi_model_free(model);
    return code;
}
