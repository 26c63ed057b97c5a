/*
 * sumi average: the mean of several models, or an average of another width of a run's snapshots.
 */
#include "cli.h"

#include <limits.h>
#include <stdlib.h>

static sumi_status average_models(sumi_cli *cli, sumi_model **out)
{
    int count = cli->options.operand_count;
    sumi_model *models[SUMI_OPERANDS_MAX] = {NULL};
    sumi_status status = SUMI_OK;
    for (int i = 0; i < count && status == SUMI_OK; i++)
        status = sumi_cli_load(cli, cli->options.operands[i], &models[i]);
    if (status == SUMI_OK)
        status = sumi_model_average(cli->ctx, (const sumi_model *const *)models, NULL, count, out);
    for (int i = 0; i < count; i++)
        sumi_model_free(models[i]);
    return status;
}

/* What the file is called where nobody says. */
static int choose_name(sumi_cli *cli, const char **out, char name[PATH_MAX])
{
    const sumi_options *options = &cli->options;
    const char *given = sumi_option_text(options, "out"), *run = options->operands[0];
    sumi_error err = {""};
    char leaf[64];
    bool of_run = sumi_option_given(options, "sigma-rel");
    if (of_run && (options->operand_count > 1 || !sumi_is_dir(run)))
        return sumi_cli_usage(cli, "--sigma-rel is for one RUN, a folder");
    if (!of_run && options->operand_count < 2)
        return sumi_cli_usage(cli, "expected two models or more, or a RUN with --sigma-rel");
    if (!of_run && given == NULL)
        return sumi_cli_usage(cli, "--out FILE is missing");
    sumi_format(leaf, sizeof leaf, "average-%g.safetensors",
                sumi_option_real(options, "sigma-rel"));
    sumi_status status = given != NULL ? SUMI_OK : sumi_path_join(name, PATH_MAX, run, leaf, &err);
    *out = given != NULL ? given : name;
    if (status == SUMI_OK && !sumi_ends_with(*out, ".safetensors") && !sumi_ends_with(*out, ".pth"))
        return sumi_cli_usage(cli,
                              "--out: expected a name that ends with .safetensors or .pth, "
                              "found '%s'",
                              *out);
    if (status == SUMI_OK)
        status = sumi_check_output(*out, &err);
    return status == SUMI_OK ? 0 : sumi_cli_fail(cli, status, err.text);
}

int sumi_cmd_average(sumi_cli *cli)
{
    char name[PATH_MAX];
    const char *to = NULL;
    sumi_model *model = NULL;
    int code = choose_name(cli, &to, name);
    if (code == 0)
        code = sumi_cli_open(cli);
    if (code != 0)
        return code;
    sumi_status status =
        sumi_option_given(&cli->options, "sigma-rel")
            ? sumi_model_average_run(cli->ctx, cli->options.operands[0],
                                     sumi_option_real(&cli->options, "sigma-rel"), &model)
            : average_models(cli, &model);
    if (status == SUMI_OK)
        status = sumi_model_save(cli->ctx, model, to);
    sumi_model_free(model);
    if (status != SUMI_OK)
        return sumi_cli_fail_context(cli, status);
    sumi_cli_note(cli, "note", "wrote %s", to);
    if (cli->json)
        return sumi_cli_result(cli, json_pack("{s:o}", "out", sumi_json_name(to)));
    char *word = sumi_shell_line(1, &to);
    sumi_cli_note(cli, "next", "sumi sample %s --out x.png", word != NULL ? word : to);
    free(word);
    return 0;
}
