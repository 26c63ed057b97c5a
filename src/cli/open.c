/*
 * What a command computes with: --device and --threads make the context, --precision the networks,
 * and models come from where the user says.
 */
#include "cli.h"

#include <assert.h>
#include <string.h>

/* What repeats a training computes on the CPU. */
static bool runs_on_devices(sumi_command_id command)
{
    return command == SUMI_CMD_TRAIN || command == SUMI_CMD_SAMPLE || command == SUMI_CMD_PREDICT ||
           command == SUMI_CMD_EVAL || command == SUMI_CMD_TUNE ||
           command == SUMI_CMD_CLASSIFY_TRAIN || command == SUMI_CMD_BENCH_TRAIN ||
           command == SUMI_CMD_BENCH_SAMPLE;
}

static bool has_option(const sumi_options *options, const char *name)
{
    return sumi_option_find(options->command, name, strlen(name), NULL) >= 0;
}

/* True where "auto" is the CPU whatever there is: for what it alone computes, and for an evaluator,
 * which others are to find the same. */
static bool is_for_cpu(const sumi_cli *cli)
{
    const sumi_options *options = &cli->options;
    return !runs_on_devices(options->command) || options->command == SUMI_CMD_CLASSIFY_TRAIN ||
           cli->dist != NULL ||
           (has_option(options, "groups") && sumi_option_int(options, "groups") > 0) ||
           (has_option(options, "precision") &&
            strcmp(sumi_option_text(options, "precision"), "bf16") == 0);
}

int sumi_cli_open(sumi_cli *cli)
{
    const sumi_options *options = &cli->options;
    sumi_context_config config = SUMI_CONTEXT_CONFIG_INIT;
    sumi_error err = {""};
    config.threads = 1;
    if (has_option(options, "threads")) {
        config.device = sumi_option_text(options, "device");
        if (strcmp(config.device, "auto") == 0 && is_for_cpu(cli))
            config.device = "cpu";
        config.threads = (int)sumi_option_int(options, "threads");
        if (strcmp(config.device, "auto") != 0 && strcmp(config.device, "cpu") != 0 &&
            !runs_on_devices(options->command)) {
            sumi_fail(&err, SUMI_EUNSUPPORTED,
                      "--device %s: this command computes on the CPU only; train, sample, "
                      "predict, eval, tune, classify train, bench train and bench sample run on "
                      "devices",
                      config.device);
            return sumi_cli_fail(cli, SUMI_EUNSUPPORTED, err.text);
        }
        if (config.threads == 0 && cli->dist != NULL)
            config.threads = sumi_dist_threads(cli->dist);
    }
    sumi_status status = sumi_context_open(&config, &cli->ctx);
    return status == SUMI_OK ? 0 : sumi_cli_fail(cli, status, sumi_last_error(NULL));
}

void sumi_cli_warn(const sumi_cli *cli, sumi_status status)
{
    if (status == SUMI_OK && *sumi_last_error(cli->ctx) != '\0')
        sumi_cli_note(cli, "warning", "%s", sumi_last_error(cli->ctx));
}

sumi_status sumi_cli_load(sumi_cli *cli, const char *path, sumi_model **out)
{
    sumi_status status = sumi_model_load(cli->ctx, path, out);
    sumi_cli_warn(cli, status);
    return status;
}

void sumi_cli_model_config(const sumi_options *options, sumi_model_config *config)
{
    sumi_option option;
    const char *net = sumi_option_text(options, "net");
    /* A network of one's own choice has its own sizes, whatever a recipe says of another. */
    if (strcmp(net, config->net) != 0 && sumi_option_said(options, "net")) {
        sumi_status known = sumi_model_config_net(config, net);
        assert(known == SUMI_OK);
        (void)known;
    }
    for (int i = 0; sumi_option_at(i, &option); i++) {
        const sumi_option_value *value = &options->values[i];
        if (option.field == NULL || !sumi_option_belongs(&option, options->command))
            continue;
        if (!value->given && !value->kept)
            continue; /* config has what the network has where nobody says */
        double number = option.kind == SUMI_ARG_FLAG  ? value->set
                        : option.kind == SUMI_ARG_INT ? (double)value->integer
                                                      : value->real;
        sumi_status status = sumi_model_config_set(config, option.field, number, value->text);
        assert(status == SUMI_OK);
        (void)status;
    }
}

sumi_precision sumi_cli_precision(const sumi_options *options)
{
    const char *name = sumi_option_text(options, "precision");
    sumi_choice_t choice = SUMI_CHOICE_INIT;
    int index = 0;
    while (sumi_precision_at(index, &choice) == SUMI_OK && strcmp(choice.name, name) != 0)
        index++;
    return (sumi_precision)index;
}

bool sumi_cli_sample_size(const sumi_model_info_t *info, int *height, int *width)
{
    enum { TRAINED = 28, DRAWN = 32 };
    bool known = info->height > 0 && info->width > 0;
    bool tutorial =
        info->height == TRAINED && info->width == TRAINED && strcmp(info->net, "tutorial") == 0;
    *height = known && !tutorial ? info->height : DRAWN;
    *width = known && !tutorial ? info->width : DRAWN;
    return tutorial;
}

void sumi_cli_trained_size(const sumi_model_info_t *info, const sumi_dataset *data, int *height,
                           int *width)
{
    sumi_dataset_info_t of_data = SUMI_DATASET_INFO_INIT;
    sumi_status status = sumi_dataset_info(data, &of_data);
    assert(status == SUMI_OK);
    (void)status;
    *height = info->height > 0 ? info->height : of_data.height;
    *width = info->width > 0 ? info->width : of_data.width;
}
