/*
 * sumi convert: one model file format into another.
 */
#include "cli.h"

#include <stdlib.h>

int sumi_cmd_convert(sumi_cli *cli)
{
    const char *from = cli->options.operands[0], *to = cli->options.operands[1];
    sumi_model *model = NULL;
    sumi_error err = {""};
    if (!sumi_ends_with(to, ".safetensors") && !sumi_ends_with(to, ".pth"))
        return sumi_cli_usage(cli,
                              "OUT: expected a name that ends with .safetensors or .pth, "
                              "found '%s'",
                              to);
    sumi_status status = sumi_check_output(to, &err);
    if (status != SUMI_OK)
        return sumi_cli_fail(cli, status, err.text);
    int code = sumi_cli_open(cli);
    if (code != 0)
        return code;
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    status = sumi_cli_load(cli, from, &model);
    if (status == SUMI_OK)
        status = sumi_model_info(model, &info);
    if (status == SUMI_OK)
        status = sumi_model_save(cli->ctx, model, to);
    sumi_model_free(model);
    if (status != SUMI_OK)
        return sumi_cli_fail_context(cli, status);
    sumi_cli_note(cli, "note", "wrote %d tensors to %s", info.tensors, to);
    if (cli->json)
        return sumi_cli_result(cli,
                               json_pack("{s:o, s:i, s:I}", "out", sumi_json_name(to), "tensors",
                                         info.tensors, "parameters", (json_int_t)info.parameters));
    char *word = sumi_shell_line(1, &to);
    sumi_cli_note(cli, "next", "sumi sample %s --out x.png", word != NULL ? word : to);
    free(word);
    return 0;
}
