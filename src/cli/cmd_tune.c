/*
 * sumi tune: the way to sample a model that draws its best pictures in few evaluations, found by
 * the ruler and kept in the model's file.
 */
#include "defaults.h"
#include "evaluator.h"
#include "progress.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *path;
    const char *out; /* NULL: where the model came from, or nowhere with --dry-run */
    bool dry;
    sumi_model *model;
    sumi_dataset *train, *test;
    sumi_classifier *evaluator;
    sumi_tune_config config;
    char cache[PATH_MAX];
    sumi_bar bar;
} tune_job;

static void release(tune_job *job)
{
    sumi_classifier_free(job->evaluator);
    sumi_dataset_free(job->test);
    sumi_dataset_free(job->train);
    sumi_model_free(job->model);
}

/* ---- Before the work ------------------------------------------------------------------------- */

/* Where the result goes must take it: a search is long. */
static int check_place(sumi_cli *cli, const tune_job *job)
{
    sumi_error err = {""};
    char config[PATH_MAX];
    if (job->dry && job->out != NULL)
        return sumi_cli_usage(cli, "--dry-run and --out: one of them is expected");
    if (job->dry)
        return 0;
    const char *path = job->out != NULL ? job->out : job->path;
    if (job->out != NULL && !sumi_ends_with(path, ".safetensors") && !sumi_ends_with(path, ".pth"))
        return sumi_cli_usage(cli, "--out: expected x.safetensors or x.pth, found '%s'", path);
    bool run = job->out == NULL && sumi_is_dir(path);
    if (run && (sumi_path_join(config, sizeof config, path, "config.json", NULL) != SUMI_OK ||
                !sumi_is_file(config)))
        return sumi_cli_usage(cli, "%s is no run: give --out FILE or --dry-run", path);
    if (job->out == NULL && !run && !sumi_is_file(path))
        return strchr(path, '#') != NULL
                   ? sumi_cli_usage(cli, "%s is one of a file's models: give --out FILE", path)
                   : 0; /* not there, which loading says */
    sumi_status status = run ? sumi_check_output_dir(path, &err) : sumi_check_output(path, &err);
    return status == SUMI_OK ? 0 : sumi_cli_fail(cli, status, err.text);
}

/* What a file holds besides a model would be lost where it is written anew. */
static int load_model(sumi_cli *cli, tune_job *job)
{
    sumi_status status = sumi_cli_load(cli, job->path, &job->model);
    if (status != SUMI_OK)
        return sumi_cli_fail_context(cli, status);
    bool kept = job->dry || job->out != NULL || sumi_is_dir(job->path);
    if (!kept && *sumi_last_error(cli->ctx) != '\0')
        return sumi_cli_usage(cli, "%s: what else is in it would be lost: give --out FILE",
                              job->path);
    return 0;
}

static int prepare(sumi_cli *cli, tune_job *job)
{
    const sumi_options *options = &cli->options;
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    sumi_tune_config *config = &job->config;
    int code = load_model(cli, job);
    if (code != 0)
        return code;
    (void)sumi_model_info(job->model, &info);
    code = sumi_cli_open_splits(cli, sumi_option_text(options, "data"), info.height, info.width,
                                &job->train, &job->test);
    if (code == 0)
        code = sumi_cli_take_evaluator(cli, job->train, job->test,
                                       sumi_option_text(options, "evaluator"), &job->evaluator);
    *config = (sumi_tune_config)SUMI_TUNE_CONFIG_INIT;
    config->training = job->train;
    config->test = job->test;
    config->evaluator = job->evaluator;
    config->evaluations = (int)sumi_option_int(options, "nfe");
    config->n = sumi_option_int(options, "count");
    config->seed = (uint64_t)sumi_option_int(options, "seed");
    config->quick = sumi_option_flag(options, "quick");
    config->former = sumi_option_flag(options, "former");
    config->precision = sumi_cli_precision(options);
    if (sumi_cli_cache(job->cache, "references"))
        config->cache = job->cache;
    sumi_cli_trained_size(&info, job->train, &config->height, &config->width);
    return code;
}

/* ---- Doing it -------------------------------------------------------------------------------- */

static int keep(sumi_cli *cli, const tune_job *job, const sumi_sample_config *best)
{
    sumi_status status;
    if (job->dry)
        return 0;
    if (job->out == NULL) {
        status = sumi_model_save_sampling(cli->ctx, job->path, best);
    } else {
        status = sumi_model_set_sampling(cli->ctx, job->model, best);
        if (status == SUMI_OK)
            status = sumi_model_save(cli->ctx, job->model, job->out);
    }
    return status == SUMI_OK ? 0 : sumi_cli_fail_context(cli, status);
}

static int tell(const sumi_cli *cli, const tune_job *job, const sumi_tune_result_t *result)
{
    const char *place = job->dry ? NULL : job->out != NULL ? job->out : job->path;
    if (!cli->json)
        fputs(result->table, stdout);
    if (!cli->json && place != NULL) {
        char *quoted = sumi_shell_line(1, &place);
        sumi_cli_note(cli, "note", "kept in %s as its way to be sampled", place);
        sumi_cli_note(cli, "next", "sumi sample %s --out x.png", quoted != NULL ? quoted : place);
        free(quoted);
    }
    if (!cli->json)
        return 0;
    json_t *object = json_loads(result->json, 0, NULL);
    if (object != NULL)
        json_object_set_new(object, "kept", place != NULL ? sumi_json_name(place) : json_null());
    return sumi_cli_result(cli, object);
}

static int tune(sumi_cli *cli, tune_job *job)
{
    sumi_sample_config best = SUMI_SAMPLE_CONFIG_INIT;
    sumi_tune_result_t result = SUMI_TUNE_RESULT_INIT;
    sumi_bar_begin(&job->bar, cli);
    job->config.progress = sumi_bar_update;
    job->config.user = &job->bar;
    sumi_signals_watch(cli->signals, cli->ctx, NULL);
    sumi_status status = sumi_tune(cli->ctx, job->model, &job->config, &best, &result);
    sumi_signals_watch(cli->signals, NULL, NULL);
    sumi_bar_end(&job->bar);
    if (status != SUMI_OK)
        return sumi_cli_fail_context(cli, status);
    int code = keep(cli, job, &best);
    if (code == 0)
        code = tell(cli, job, &result);
    sumi_tune_result_free(&result);
    return code;
}

int sumi_cmd_tune(sumi_cli *cli)
{
    tune_job job = {.path = cli->options.operands[0],
                    .out = sumi_option_text(&cli->options, "out"),
                    .dry = sumi_option_flag(&cli->options, "dry-run")};
    int code = check_place(cli, &job);
    if (code == 0)
        code = sumi_cli_open(cli);
    if (code == 0)
        code = prepare(cli, &job);
    if (code == 0)
        code = tune(cli, &job);
    release(&job);
    return code;
}
