/*
 * --like: a picture keeps the options that it was sampled with, and they hold for the next sampling
 * where the command line says nothing else.
 */
#include "sample_job.h"

#include <stdlib.h>
#include <string.h>

/* What a picture does not keep: where results go, and how they are computed and told. */
static bool is_kept(const sumi_option *option)
{
    static const char *const passing[] = {"out",    "like", "gif",   "apng", "batch", "threads",
                                          "device", "json", "quiet", "help", NULL};
    for (int i = 0; passing[i] != NULL; i++)
        if (strcmp(option->name, passing[i]) == 0)
            return false;
    return sumi_option_belongs(option, SUMI_CMD_SAMPLE);
}

char *sumi_sample_parameters(const sumi_cli *cli, const sample_job *job)
{
    json_t *given = json_object();
    sumi_option option;
    for (int i = 0; sumi_option_at(i, &option); i++) {
        if (!is_kept(&option) || !sumi_option_given(&cli->options, option.name))
            continue;
        const char *text = sumi_option_text(&cli->options, option.name);
        json_object_set_new(given, option.name, sumi_json_name(text != NULL ? text : ""));
    }
    json_t *all = json_pack("{s:s, s:o, s:o}", "sumi", sumi_version(), "model",
                            sumi_json_name(job->model_path), "options", given);
    char *text = all != NULL ? json_dumps(all, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(all);
    return text;
}

/* Options of which one makes the other meaningless: the command line's wins. */
static bool is_replaced(const sumi_options *options, const char *name)
{
    static const char *const pairs[][2] = {{"levels", "steps"},     {"levels", "spacing"},
                                           {"levels", "strength"},  {"levels", "rho"},
                                           {"levels", "sigma-min"}, {"levels", "sigma-max"},
                                           {"image", "noise"},      {"interpolate", "index"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (int k = 0; k < 2; k++)
            if (strcmp(pairs[i][k], name) == 0 && sumi_option_given(options, pairs[i][1 - k]))
                return true;
    return false;
}

/* Keeps a text as long as the job. */
static const char *keep_text(sample_job *job, const json_t *value)
{
    const char *text = json_string_value(value);
    if (text == NULL || job->like_count == SUMI_OPTIONS_MAX)
        return NULL;
    char *copy = sumi_calloc(strlen(text) + 1, 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, text, strlen(text));
    sumi_unescape_text(copy);
    job->like_texts[job->like_count++] = copy;
    return copy;
}

static sumi_status take_options(sumi_cli *cli, sample_job *job, const char *path, json_t *all,
                                sumi_error *err)
{
    sumi_options before = cli->options; /* what the command line gave */
    const json_t *given = json_object_get(all, "options");
    sumi_option option;
    for (int i = 0; sumi_option_at(i, &option); i++) {
        const json_t *value = json_object_get(given, option.name);
        if (value == NULL || !is_kept(&option) || sumi_option_given(&before, option.name) ||
            is_replaced(&before, option.name))
            continue;
        const char *text = keep_text(job, value);
        if (text == NULL)
            return sumi_fail(err, SUMI_EFORMAT, "%s: --%s: expected a text", path, option.name);
        sumi_status status = sumi_options_give(&cli->options, path, option.name, text, err);
        if (status != SUMI_OK)
            return status;
    }
    const json_t *model = json_object_get(all, "model");
    if (cli->options.operand_count == 0 && model != NULL) {
        const char *text = keep_text(job, model);
        if (text != NULL)
            cli->options.operands[cli->options.operand_count++] = text;
    }
    return SUMI_OK;
}

int sumi_sample_like(sumi_cli *cli, sample_job *job)
{
    const char *path = sumi_option_text(&cli->options, "like");
    sumi_error err = {""};
    char *text = NULL;
    if (path != NULL) {
        sumi_status status = sumi_png_parameters(path, &text, &err);
        json_t *all = status == SUMI_OK ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
        if (status == SUMI_OK && !json_is_object(all))
            status = sumi_fail(&err, SUMI_EFORMAT, "%s: its parameters are damaged", path);
        if (status == SUMI_OK)
            status = take_options(cli, job, path, all, &err);
        json_decref(all);
        free(text);
        if (status != SUMI_OK)
            return sumi_cli_fail(cli, status, err.text);
    }
    if (cli->options.operand_count == 0)
        return sumi_cli_usage(cli, "expected MODEL|RUN, or --like with a picture that tells it; "
                                   "see: sumi help sample");
    return 0;
}
