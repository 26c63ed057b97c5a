/*
 * sumi classify train: an evaluator for a data set, as a file.
 */
#include "evaluator.h"

#include <stdlib.h>

#include "data/data.h"

static json_t *result_of(const char *path, const sumi_classifier_info_t *info, double elapsed_s)
{
    return json_pack("{s:o, s:s, s:s, s:f, s:I, s:I, s:I, s:I, s:f}", "out", sumi_json_name(path),
                     "shape", info->shape, "evaluator", info->hash, "accuracy", info->accuracy,
                     "tested", (json_int_t)info->tested, "epochs", (json_int_t)info->epochs,
                     "steps", (json_int_t)info->steps, "parameters", (json_int_t)info->parameters,
                     "elapsed_s", elapsed_s);
}

static int report(const sumi_cli *cli, const sumi_classifier *made, double elapsed_s)
{
    const char *path = sumi_option_text(&cli->options, "out");
    sumi_classifier_info_t info = SUMI_CLASSIFIER_INFO_INIT;
    char elapsed[32];
    sumi_format_duration(elapsed_s, elapsed);
    sumi_cli_tell_evaluator(cli, made);
    if (sumi_classifier_info(made, &info) != SUMI_OK)
        return sumi_cli_fail_context(cli, SUMI_EINVAL);
    sumi_cli_note(cli, "note", "wrote it to %s after %s", path, elapsed);
    return cli->json ? sumi_cli_result(cli, result_of(path, &info, elapsed_s)) : 0;
}

int sumi_cmd_classify_train(sumi_cli *cli)
{
    const sumi_options *options = &cli->options;
    const char *path = sumi_option_text(options, "out");
    sumi_error err = {""};
    if (!sumi_ends_with(path, ".safetensors"))
        return sumi_cli_usage(cli, "--out: expected a name that ends with .safetensors, found '%s'",
                              path);
    sumi_status status = sumi_check_output(path, &err);
    if (status != SUMI_OK)
        return sumi_cli_fail(cli, status, err.text);
    int code = sumi_cli_open(cli);
    if (code != 0)
        return code;

    sumi_dataset *train = NULL, *test = NULL;
    sumi_classifier *made = NULL;
    sumi_classifier_config config = SUMI_CLASSIFIER_CONFIG_INIT;
    config.shape = sumi_option_text(options, "shape");
    config.epochs = (int)sumi_option_int(options, "epochs");
    config.seed = (uint64_t)sumi_option_int(options, "seed");
    double start = sumi_time_now();
    code = sumi_cli_open_splits(cli, options->operands[0], 0, 0, &train, &test);
    if (code == 0)
        code = sumi_cli_train_evaluator(cli, train, test, true, &config, &made);
    if (code == 0) {
        status = sumi_classifier_save(cli->ctx, made, path);
        code = status == SUMI_OK ? report(cli, made, sumi_time_now() - start)
                                 : sumi_cli_fail_context(cli, status);
    }
    sumi_classifier_free(made);
    sumi_dataset_free(test);
    sumi_dataset_free(train);
    return code;
}
