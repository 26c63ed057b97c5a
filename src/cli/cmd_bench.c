/*
 * sumi bench train | sample: how fast this machine is, as one number that can be repeated.
 */
#include "profile.h"

#include <stdlib.h>
#include <string.h>

enum { WARM_UP = 3, PROFILE_STEPS_MAX = 1000 }; /* the latter as sumi_profile has it */

typedef struct {
    const char *what;
    int steps, batch, height, width, timesteps;
    float *x, *out;
    int32_t *t;
    double *times_s; /* one for each timed step */
    sumi_model *model;
    sumi_trainer *trainer; /* NULL for sampling */
} bench;

static bool make_input(bench *b)
{
    const int64_t shape[] = {b->batch, b->height, b->width};
    sumi_random at = {.stream = SUMI_STREAM_USER};
    size_t count = 0;
    if (!sumi_size_product(shape, 3, &count))
        return false;
    b->x = sumi_calloc(count, sizeof *b->x);
    b->out = sumi_calloc(count, sizeof *b->out);
    b->t = sumi_calloc((size_t)b->batch, sizeof *b->t);
    b->times_s = sumi_calloc((size_t)b->steps, sizeof *b->times_s);
    if (b->x == NULL || b->out == NULL || b->t == NULL || b->times_s == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        b->x[i] = sumi_random_uniform(&at, i);
    for (int i = 0; i < b->batch; i++)
        b->t[i] = 1 + (int32_t)((int64_t)i * 999 / b->batch);
    return true;
}

/* All images are at the same t, and go down one by one, as when sampling. */
static void set_step(bench *b, int32_t t)
{
    for (int i = 0; i < b->batch; i++)
        b->t[i] = t;
}

static sumi_status run_steps(sumi_cli *cli, bench *b)
{
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.n = b->batch;
    batch.h = b->height;
    batch.w = b->width;
    batch.x = b->x;
    batch.t = b->t;
    batch.precision = sumi_cli_precision(&cli->options);
    for (int i = -WARM_UP; i < b->steps; i++) {
        if (sumi_signals_seen(cli->signals))
            return SUMI_CANCELLED;
        if (b->trainer == NULL)
            set_step(b, b->timesteps - (i + WARM_UP) % b->timesteps);
        double start = sumi_time_now();
        sumi_status status = b->trainer != NULL
                                 ? sumi_trainer_step(b->trainer, &batch, NULL)
                                 : sumi_model_predict(cli->ctx, b->model, &batch, b->out);
        if (status != SUMI_OK)
            return status;
        if (i >= 0)
            b->times_s[i] = sumi_time_now() - start;
    }
    return SUMI_OK;
}

static int print_result(const sumi_cli *cli, bench *b)
{
    char cpu[256];
    if (!sumi_cpu_name(cpu, sizeof cpu))
        snprintf(cpu, sizeof cpu, "unknown");
    double median = sumi_median(b->times_s, (size_t)b->steps);
    double rate = b->batch / median;
    const char *isa = sumi_context_isa(cli->ctx);
    int threads = sumi_context_threads(cli->ctx);
    const char *precision = sumi_option_text(&cli->options, "precision");
    if (cli->json) {
        char text[32];
        snprintf(text, sizeof text, "%dx%d", b->height, b->width);
        json_t *size = b->height == b->width ? json_integer(b->height) : json_string(text);
        return sumi_cli_result(
            cli,
            json_pack("{s:s, s:o, s:s, s:s, s:i, s:o, s:i, s:i, s:f, s:f, s:f, s:s, s:s}", "what",
                      b->what, "device", sumi_json_any(sumi_context_device(cli->ctx)), "isa", isa,
                      "precision", precision, "threads", threads, "size", size, "batch", b->batch,
                      "steps", b->steps, "ms", 1e3 * median, "min_ms", 1e3 * b->times_s[0],
                      "images_per_s", rate, "version", sumi_version(), "cpu", cpu));
    }
    printf("%s  %.1f images/s  (median %.2f ms, fastest %.2f ms, of %d steps of %d images of "
           "%dx%d; %s, %s, %d thread%s, %s)\n",
           b->what, rate, 1e3 * median, 1e3 * b->times_s[0], b->steps, b->batch, b->height,
           b->width, isa, precision, threads, threads == 1 ? "" : "s", cpu);
    return 0;
}

/* The timing itself, or the profile where that is asked for. */
static int measure(sumi_cli *cli, bench *b, bool train)
{
    if (sumi_option_flag(&cli->options, "profile")) {
        sumi_profile_config profile = SUMI_PROFILE_CONFIG_INIT;
        profile.training = train;
        profile.n = b->batch;
        profile.height = b->height;
        profile.width = b->width;
        profile.runs = b->steps;
        profile.precision = sumi_cli_precision(&cli->options);
        if (train)
            profile.optimiser = sumi_option_text(&cli->options, "optimiser");
        return sumi_cli_profile(cli, b->model, &profile, sumi_option_text(&cli->options, "svg"));
    }
    sumi_signals_watch(cli->signals, cli->ctx, NULL);
    sumi_status status = run_steps(cli, b);
    sumi_signals_watch(cli->signals, NULL, NULL);
    if (status == SUMI_OK)
        return print_result(cli, b);
    return sumi_signals_seen(cli->signals)
               ? sumi_cli_fail(cli, SUMI_CANCELLED, "the timing was stopped")
               : sumi_cli_fail_context(cli, status);
}

static int check_usage(const sumi_cli *cli)
{
    const char *svg = sumi_option_text(&cli->options, "svg");
    bool profile = sumi_option_flag(&cli->options, "profile");
    int64_t steps = sumi_option_int(&cli->options, "steps");
    sumi_error err = {""};
    if (profile && steps > PROFILE_STEPS_MAX)
        return sumi_cli_usage(cli,
                              "--steps: expected a whole number from 1 to %d with --profile, "
                              "found %lld",
                              PROFILE_STEPS_MAX, (long long)steps);
    if (svg == NULL)
        return 0;
    if (!profile)
        return sumi_cli_usage(cli, "--svg draws what --profile measures: give both");
    sumi_status status = sumi_check_output(svg, &err);
    return status == SUMI_OK ? 0 : sumi_cli_fail(cli, status, err.text);
}

static int run_bench(sumi_cli *cli, const char *what, bool train)
{
    bench b = {.what = what};
    sumi_model_config model = SUMI_MODEL_CONFIG_INIT;
    sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
    sumi_trainer_config trainer = SUMI_TRAINER_CONFIG_INIT;
    int code = check_usage(cli);
    if (code == 0)
        code = sumi_cli_open(cli);
    if (code != 0)
        return code;
    b.timesteps = model.timesteps;
    b.steps = (int)sumi_option_int(&cli->options, "steps");
    b.batch = trainer.batch = (int)sumi_option_int(&cli->options, "batch");
    sumi_cli_model_config(&cli->options, &model);
    trainer.precision = sumi_cli_precision(&cli->options);
    if (train)
        trainer.optimiser = sumi_option_text(&cli->options, "optimiser");
    config.trainer = &trainer;
    sumi_option_size(&cli->options, "size", &b.height, &b.width);
    if (!make_input(&b)) {
        code = sumi_cli_fail(cli, SUMI_ENOMEM,
                             "out of memory for the images; give a smaller "
                             "--batch");
        goto done;
    }
    sumi_status status = sumi_model_create(cli->ctx, &model, &b.model);
    if (status == SUMI_OK && train)
        status = sumi_trainer_create(cli->ctx, b.model, &config, &b.trainer);
    code = status == SUMI_OK ? measure(cli, &b, train) : sumi_cli_fail_context(cli, status);
done:
    sumi_trainer_free(b.trainer);
    sumi_model_free(b.model);
    free(b.x);
    free(b.out);
    free(b.t);
    free(b.times_s);
    return code;
}

int sumi_cmd_bench_train(sumi_cli *cli)
{
    return run_bench(cli, "train", true);
}

int sumi_cmd_bench_sample(sumi_cli *cli)
{
    return run_bench(cli, "sample", false);
}
