/*
 * sumi eval: how good pictures are, a model's or those of a file or folder.
 */
#include "defaults.h"
#include "evaluator.h"

#include <stdlib.h>
#include <string.h>

#include "progress.h"

typedef struct {
    const char *name;
    int images, evaluations; /* of a model */
    int loss_images;         /* test images that its loss is of */
} tier;

static const tier tiers[] = {
    {"smoke", 1000, 20, 100}, {"standard", 10000, 20, 500}, {"full", 10000, 50, 500}};

typedef struct {
    const tier *tier;
    sumi_model *model;
    sumi_model_info_t info;
    sumi_model *guide;
    sumi_dataset *pictures, *train, *test;
    sumi_classifier *evaluator, *held_back;
    sumi_sample_config sample;
    sumi_eval_config config;
    sumi_bar bar;
    char cache[PATH_MAX]; /* for what is known of the data */
} eval_job;

static void release(eval_job *job)
{
    sumi_classifier_free(job->held_back);
    sumi_classifier_free(job->evaluator);
    sumi_dataset_free(job->test);
    sumi_dataset_free(job->train);
    sumi_dataset_free(job->pictures);
    sumi_model_free(job->guide);
    sumi_model_free(job->model);
}

/* ---- What is asked for ----------------------------------------------------------------------- */

static const tier *find_tier(const char *name)
{
    const tier *found = tiers;
    for (size_t i = 0; i < sizeof tiers / sizeof *tiers; i++)
        if (strcmp(name, tiers[i].name) == 0)
            found = &tiers[i];
    return found;
}

/* A run tells itself by what only a run has; "FILE#NAME" is one of a file's models. */
static bool is_model(const char *path)
{
    static const char *const marks[] = {"latest", "config.json", "manifest.json"};
    char inside[PATH_MAX];
    if (!sumi_is_dir(path))
        return !sumi_ends_with(path, ".npy") && !sumi_ends_with(path, ".gz") &&
               !sumi_ends_with(path, "-ubyte");
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (sumi_path_join(inside, sizeof inside, path, marks[i], NULL) == SUMI_OK &&
            sumi_is_file(inside))
            return true;
    return false;
}

static void read_sampling(const sumi_cli *cli, eval_job *job)
{
    const sumi_options *options = &cli->options;
    sumi_sample_config *sample = &job->sample;
    int timesteps = job->info.timesteps;
    *sample = sumi_cli_defaults(options, job->model);
    bool own = sample->solver != NULL;
    if (!own || sumi_option_given(options, "solver"))
        sample->solver = sumi_option_text(options, "solver");
    if (sample->spacing == NULL || sumi_option_given(options, "spacing"))
        sample->spacing = sumi_option_text(options, "spacing");
    if (sumi_option_given(options, "eta"))
        sample->eta = (float)sumi_option_real(options, "eta");
    if (!own)
        sample->steps = job->tier->evaluations < timesteps ? job->tier->evaluations : timesteps;
    if (sumi_option_given(options, "steps"))
        sample->steps = (int)sumi_option_int(options, "steps");
    sample->precision = sumi_cli_precision(options);
}

/* The model or the pictures. */
static int open_subject(sumi_cli *cli, eval_job *job)
{
    const char *path = cli->options.operands[0];
    sumi_status status = SUMI_OK;
    int code = 0;
    job->config.subject = path;
    if (is_model(path)) {
        status = sumi_cli_load(cli, path, &job->model);
        job->info = (sumi_model_info_t)SUMI_MODEL_INFO_INIT;
        if (status == SUMI_OK)
            status = sumi_model_info(job->model, &job->info);
        if (status == SUMI_OK) {
            read_sampling(cli, job);
            code = sumi_cli_guidance(cli, &job->sample, &job->guide);
        }
        job->config.model = job->model;
        job->config.sample = &job->sample;
    } else {
        /* Whatever splits are called, all of the pictures are meant. */
        sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
        config.split = sumi_is_dir(path) ? "all" : "train";
        status = sumi_dataset_open(cli->ctx, path, &config, &job->pictures);
        job->config.pictures = job->pictures;
    }
    return status == SUMI_OK ? code : sumi_cli_fail_context(cli, status);
}

static int open_evaluators(sumi_cli *cli, eval_job *job)
{
    const char *path = sumi_option_text(&cli->options, "evaluator");
    sumi_dataset_info_t data = SUMI_DATASET_INFO_INIT;
    int code = 0;
    if (path != NULL) {
        sumi_status status = sumi_classifier_load(cli->ctx, path, &job->evaluator);
        if (status != SUMI_OK)
            return sumi_cli_fail_context(cli, status);
    } else {
        if (sumi_dataset_info(job->train, &data) != SUMI_OK)
            return sumi_cli_fail(cli, SUMI_EINVAL, "the data set cannot be told");
        code = sumi_cli_find_evaluator(cli, job->train, job->test,
                                       data.classes > 1 ? "v1" : "random-conv", &job->evaluator);
    }
    if (code != 0)
        return code;
    sumi_cli_tell_evaluator(cli, job->evaluator);
    if (sumi_option_flag(&cli->options, "held-back")) {
        code = sumi_cli_find_evaluator(cli, job->train, job->test, "v2", &job->held_back);
        if (code == 0)
            sumi_cli_tell_evaluator(cli, job->held_back);
    }
    job->config.evaluator = job->evaluator;
    job->config.held_back = job->held_back;
    return code;
}

/* In the full tier too, where the model is told of the data's labels. */
static bool wants_classification(const sumi_cli *cli, const eval_job *job)
{
    sumi_dataset_info_t data = SUMI_DATASET_INFO_INIT;
    double classes = 0;
    if (sumi_option_flag(&cli->options, "classification"))
        return true;
    return job->model != NULL && strcmp(job->tier->name, "full") == 0 &&
           sumi_dataset_info(job->train, &data) == SUMI_OK && data.classes > 1 &&
           sumi_model_get_field(job->model, "classes", &classes, NULL) == SUMI_OK &&
           (int)classes == data.classes;
}

static int prepare(sumi_cli *cli, eval_job *job)
{
    const sumi_options *options = &cli->options;
    const char *data = sumi_option_text(options, "data");
    job->config = (sumi_eval_config)SUMI_EVAL_CONFIG_INIT;
    job->tier = find_tier(sumi_option_text(options, "tier"));
    int code = open_subject(cli, job);
    if (code == 0)
        code = sumi_cli_open_splits(cli, data, job->info.height, job->info.width, &job->train,
                                    &job->test);
    if (code == 0 && sumi_cli_talks(cli)) /* the first scores what all have drawn */
        code = open_evaluators(cli, job);
    job->config.training = job->train;
    if (code == 0 && job->model != NULL)
        sumi_cli_trained_size(&job->info, job->train, &job->sample.height, &job->sample.width);
    job->config.test = job->test;
    job->config.n = sumi_option_int(options, "count");
    if (job->config.n == 0 && job->model != NULL)
        job->config.n = job->tier->images;
    if (job->model != NULL)
        job->config.tier = job->tier->name;
    job->config.loss_images = job->tier->loss_images;
    if (sumi_cli_cache(job->cache, "references"))
        job->config.cache = job->cache;
    job->config.seed = (uint64_t)sumi_option_int(options, "seed");
    job->config.bits = sumi_option_flag(options, "bits");
    job->sample.share = cli->dist != NULL;
    job->config.classification = wants_classification(cli, job);
    job->config.report_dir = sumi_option_text(options, "html");
    job->config.npz = sumi_option_text(options, "export-npz");
    return code;
}

/* ---- Doing it -------------------------------------------------------------------------------- */

static int evaluate(sumi_cli *cli, eval_job *job)
{
    sumi_eval_result_t result = SUMI_EVAL_RESULT_INIT;
    sumi_bar_begin(&job->bar, cli);
    job->config.progress = sumi_bar_update;
    job->config.user = &job->bar;
    sumi_signals_watch(cli->signals, cli->ctx, NULL);
    sumi_status status = sumi_eval(cli->ctx, &job->config, &result);
    sumi_signals_watch(cli->signals, NULL, NULL);
    sumi_bar_end(&job->bar);
    if (status != SUMI_OK || !sumi_cli_talks(cli)) {
        sumi_eval_result_free(&result);
        return status == SUMI_OK ? 0 : sumi_cli_fail_context(cli, status);
    }
    if (result.outside > .001)
        sumi_cli_note(cli, "warning",
                      "%.2f %% of the ink lies in the frame that was cut off the pictures",
                      100 * result.outside);
    if (job->config.report_dir != NULL)
        sumi_cli_note(cli, "note", "wrote the page %s/index.html", job->config.report_dir);
    fputs(cli->json ? result.json : result.table, stdout);
    if (cli->json)
        putchar('\n');
    sumi_eval_result_free(&result);
    return 0;
}

int sumi_cmd_eval(sumi_cli *cli)
{
    const char *npz = sumi_option_text(&cli->options, "export-npz");
    const char *page = sumi_option_text(&cli->options, "html");
    sumi_error err = {""};
    eval_job job = {0};
    bool writes = sumi_cli_talks(cli);
    sumi_status status = npz != NULL && writes ? sumi_check_output(npz, &err) : SUMI_OK;
    if (status == SUMI_OK && page != NULL && writes)
        status = sumi_check_output_dir(page, &err);
    int code = status == SUMI_OK ? 0 : sumi_cli_fail(cli, status, err.text);
    if (code == 0)
        code = sumi_cli_open(cli);
    if (code == 0)
        code = prepare(cli, &job);
    code = sumi_cli_meet(cli, code);
    if (code == 0)
        code = sumi_cli_join(cli);
    /* Pictures that are there already need nobody to draw them. */
    if (code == 0 && (writes || job.model != NULL))
        code = evaluate(cli, &job);
    release(&job);
    return code;
}
