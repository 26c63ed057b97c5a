/*
 * Opening both splits of a set, and making evaluators of them.
 */
#include "evaluator.h"

#include <stdlib.h>
#include <string.h>

#include "progress.h"

/* An evaluator that tells fewer labels than this looks at the wrong things. */
static const double GATE = .92;

int sumi_cli_open_splits(sumi_cli *cli, const char *name, sumi_dataset **train, sumi_dataset **test)
{
    const sumi_options *options = &cli->options;
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    sumi_dataset_info_t info = SUMI_DATASET_INFO_INIT;
    if (sumi_option_given(options, "channels"))
        config.channels = atoi(sumi_option_text(options, "channels"));
    sumi_option_size(options, "size", &config.height, &config.width);
    config.skip_bad = sumi_option_flag(options, "skip-bad");
    *train = *test = NULL;
    sumi_status status = sumi_dataset_open(cli->ctx, name, &config, train);
    if (status == SUMI_OK)
        status = sumi_dataset_info(*train, &info);
    if (status != SUMI_OK)
        return sumi_cli_fail_context(cli, status);
    sumi_cli_notices(cli, *train);
    /* The same size and channels, whatever its own pictures would suggest. */
    config.split = "test";
    config.height = info.height;
    config.width = info.width;
    config.channels = info.channels;
    if (sumi_dataset_open(cli->ctx, name, &config, test) == SUMI_OK)
        return 0;
    *test = NULL;
    sumi_cli_note(cli, "note", "no test split: %s", sumi_last_error(cli->ctx));
    return 0;
}

int sumi_cli_train_evaluator(sumi_cli *cli, const sumi_dataset *train, const sumi_dataset *test,
                             sumi_classifier_config *config, sumi_classifier **out)
{
    sumi_bar bar;
    sumi_bar_begin(&bar, cli);
    config->progress = sumi_bar_update;
    config->user = &bar;
    sumi_signals_watch(cli->signals, cli->ctx, NULL);
    sumi_status status = sumi_classifier_train(cli->ctx, train, test, config, out);
    sumi_signals_watch(cli->signals, NULL, NULL);
    sumi_bar_end(&bar);
    return status == SUMI_OK ? 0 : sumi_cli_fail_context(cli, status);
}

void sumi_cli_tell_evaluator(const sumi_cli *cli, const sumi_classifier *classifier)
{
    sumi_classifier_info_t info = SUMI_CLASSIFIER_INFO_INIT;
    char share[64] = "", text[32];
    if (sumi_classifier_info(classifier, &info) != SUMI_OK)
        return;
    if (info.accuracy >= 0) {
        sumi_format(text, sizeof text, "%.4f", info.accuracy);
        snprintf(share, sizeof share, "%s of %lld test images right, ", text,
                 (long long)info.tested);
    }
    sumi_cli_note(cli, "note", "evaluator %s: %sSHA-256 %.12s", info.shape, share, info.hash);
    if (info.classes == 0)
        sumi_cli_note(cli, "warning",
                      "random-conv is a weaker evaluator: without labels its network is random");
    else if (info.accuracy >= 0 && info.accuracy < GATE)
        sumi_cli_note(cli, "warning",
                      "the evaluator's accuracy is below %g: its distances mean less", GATE);
}
