/*
 * sumi verify: replays steps of a run and says whether every bit is as it was.
 */
#include "progress.h"
#include "train_settings.h"

#include <stdlib.h>
#include <string.h>

/* The settings of the run, as sumi train --resume RUN would read them. */
static int read_settings(sumi_cli *cli, sumi_train_settings *out)
{
    const sumi_options *options = &cli->options;
    const char *words[] = {"train", "--resume", options->operands[0], "--", options->operands[1]};
    sumi_cli train = *cli;
    sumi_error err = {""};
    sumi_status status =
        sumi_options_parse(options->operand_count > 1 ? 5 : 3, words, &train.options, &err);
    return status == SUMI_OK ? sumi_train_settings_read(&train, out)
                             : sumi_cli_fail(cli, status, err.text);
}

static int report(const sumi_cli *cli, const sumi_verify_t *result)
{
    int code = result->same ? 0 : SUMI_EXIT_DIFFERENT;
    if (result->note[0] != '\0')
        sumi_cli_note(cli, "warning", "%s", result->note);
    if (cli->json) {
        json_t *json = json_pack("{s:I, s:I, s:b, s:I, s:s, s:s}", "first",
                                 (json_int_t)result->first, "last", (json_int_t)result->last,
                                 "same", result->same, "loss_step", (json_int_t)result->loss_step,
                                 "differs", result->differs, "note", result->note);
        int printed = sumi_cli_result(cli, json);
        return printed != 0 ? printed : code;
    }
    printf("steps %lld to %lld: ", (long long)result->first + 1, (long long)result->last);
    if (result->same)
        printf("the same losses, and the same bits as checkpoint step_%lld\n",
               (long long)result->last);
    else if (result->loss_step > 0)
        printf("the loss of step %lld is another%s%s\n", (long long)result->loss_step,
               result->differs[0] != '\0' ? ", and in the end so are the " : "", result->differs);
    else
        printf("the same losses, but other %s than in checkpoint step_%lld\n", result->differs,
               (long long)result->last);
    return code;
}

/* The data and a model of the run's description, whose weights the checkpoint brings. */
static sumi_status prepare(sumi_cli *cli, const sumi_train_settings *s, sumi_dataset **set,
                           sumi_model **model)
{
    sumi_model_config config = s->model;
    sumi_dataset_info_t info = SUMI_DATASET_INFO_INIT;
    sumi_status status = sumi_dataset_open(cli->ctx, s->data, &s->dataset, set);
    if (status == SUMI_OK)
        status = sumi_dataset_info(*set, &info);
    config.in_channels = config.out_channels = info.channels;
    config.classes = info.classes;
    return status == SUMI_OK ? sumi_model_create(cli->ctx, &config, model) : status;
}

int sumi_cmd_verify(sumi_cli *cli)
{
    sumi_train_settings settings;
    sumi_dataset *set = NULL;
    sumi_model *model = NULL;
    sumi_bar bar;
    sumi_verify_t result = {.size = sizeof result};
    memset(&settings, 0, sizeof settings);
    int code = read_settings(cli, &settings);
    if (code == 0)
        code = sumi_cli_open(cli);
    if (code == 0) {
        sumi_bar_begin(&bar, cli);
        settings.train.progress = sumi_bar_update;
        settings.train.user = &bar;
        sumi_status status = prepare(cli, &settings, &set, &model);
        sumi_signals_watch(cli->signals, cli->ctx, NULL);
        if (status == SUMI_OK)
            status = sumi_verify(cli->ctx, model, set, &settings.train, &result);
        sumi_signals_watch(cli->signals, NULL, NULL);
        sumi_bar_end(&bar);
        code = status == SUMI_OK ? report(cli, &result) : sumi_cli_fail_context(cli, status);
    }
    sumi_model_free(model);
    sumi_dataset_free(set);
    sumi_train_settings_free(&settings);
    return code;
}
