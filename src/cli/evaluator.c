/*
 * Opening both splits of a set, and making evaluators of them.
 */
#include "evaluator.h"

#include <stdlib.h>
#include <string.h>

#include "progress.h"

/* An evaluator that tells fewer labels than this looks at the wrong things. */
static const double GATE = .92;

/* Both parts of a set that has no test split, in the place of the whole. */
static int hold_back(sumi_cli *cli, const char *name, sumi_dataset_config *config, int64_t count,
                     sumi_dataset **train, sumi_dataset **test)
{
    sumi_dataset_info_t info = SUMI_DATASET_INFO_INIT;
    if (count < 2)
        return 0;
    sumi_dataset_free(*train);
    *train = NULL;
    config->split = "rest";
    sumi_status status = sumi_dataset_open(cli->ctx, name, config, train);
    config->split = "held-back";
    if (status == SUMI_OK)
        status = sumi_dataset_open(cli->ctx, name, config, test);
    if (status == SUMI_OK)
        status = sumi_dataset_info(*test, &info);
    if (status != SUMI_OK)
        return sumi_cli_fail_context(cli, status);
    sumi_cli_note(cli, "note",
                  "%lld of %lld images are held back, by chance; train --split rest leaves them "
                  "out, too",
                  (long long)info.count, (long long)count);
    return 0;
}

void sumi_cli_open_test(sumi_cli *cli, const char *name, const sumi_dataset *train,
                        const sumi_dataset_config *opened, const char *split, sumi_dataset **test)
{
    sumi_dataset_info_t info = SUMI_DATASET_INFO_INIT;
    sumi_dataset_config config = *opened;
    *test = NULL;
    if (sumi_dataset_info(train, &info) != SUMI_OK)
        return;
    /* The same size and channels, whatever its own pictures would suggest. */
    config.split = split;
    config.height = info.height;
    config.width = info.width;
    config.channels = info.channels;
    if (sumi_dataset_open(cli->ctx, name, &config, test) == SUMI_OK)
        return;
    *test = NULL;
    sumi_cli_note(cli, "note", "no test split: %s", sumi_last_error(cli->ctx));
}

int sumi_cli_open_splits(sumi_cli *cli, const char *name, int height, int width,
                         sumi_dataset **train, sumi_dataset **test)
{
    const sumi_options *options = &cli->options;
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.height = height;
    config.width = width;
    sumi_dataset_info_t info = SUMI_DATASET_INFO_INIT;
    if (sumi_option_given(options, "channels"))
        config.channels = atoi(sumi_option_text(options, "channels"));
    if (sumi_option_given(options, "size"))
        sumi_option_size(options, "size", &config.height, &config.width);
    config.skip_bad = sumi_option_flag(options, "skip-bad");
    config.background = (float)sumi_option_real(options, "background");
    *train = *test = NULL;
    sumi_status status = sumi_dataset_open(cli->ctx, name, &config, train);
    if (status == SUMI_OK)
        status = sumi_dataset_info(*train, &info);
    if (status != SUMI_OK)
        return sumi_cli_fail_context(cli, status);
    sumi_cli_notices(cli, *train);
    sumi_cli_open_test(cli, name, *train, &config, "test", test);
    if (*test != NULL)
        return 0;
    config.height = info.height;
    config.width = info.width;
    config.channels = info.channels;
    return hold_back(cli, name, &config, info.count, train, test);
}

int sumi_cli_train_evaluator(sumi_cli *cli, const sumi_dataset *train, const sumi_dataset *test,
                             bool anywhere, sumi_classifier_config *config, sumi_classifier **out)
{
    sumi_bar bar;
    sumi_bar_begin(&bar, cli);
    config->progress = sumi_bar_update;
    config->user = &bar;
    sumi_context *cpu = NULL, *ctx = cli->ctx;
    if (!anywhere && strcmp(sumi_context_device(ctx), "cpu") != 0) {
        sumi_status made = sumi_context_create(sumi_context_threads(ctx), &cpu);
        if (made != SUMI_OK)
            return sumi_cli_fail(cli, made, sumi_last_error(NULL));
        ctx = cpu;
    }
    sumi_signals_watch(cli->signals, ctx, NULL);
    sumi_status status = sumi_classifier_train(ctx, train, test, config, out);
    sumi_signals_watch(cli->signals, NULL, NULL);
    sumi_bar_end(&bar);
    int code = status == SUMI_OK ? 0 : sumi_cli_fail(cli, status, sumi_last_error(ctx));
    sumi_context_free(cpu);
    return code;
}

/* ---- The cache ------------------------------------------------------------------------------- */

bool sumi_cli_cache(char out[PATH_MAX], const char *name)
{
    return sumi_cache_folder(name, out, PATH_MAX);
}

/* A file that is there and cannot be used is told, and made anew. */
static bool load_cached(sumi_cli *cli, const char *path, const char *shape, const char *data_hash,
                        sumi_classifier **out)
{
    sumi_classifier_info_t info = SUMI_CLASSIFIER_INFO_INIT;
    if (!sumi_is_file(path))
        return false;
    if (sumi_classifier_load(cli->ctx, path, out) != SUMI_OK) {
        sumi_cli_note(cli, "warning", "%s; it is made anew", sumi_last_error(cli->ctx));
        return false;
    }
    if (sumi_classifier_info(*out, &info) == SUMI_OK && strcmp(info.shape, shape) == 0 &&
        strcmp(info.data_hash, data_hash) == 0)
        return true;
    sumi_cli_note(cli, "warning", "%s is the evaluator of other data; it is made anew", path);
    sumi_classifier_free(*out);
    return false;
}

static void keep(sumi_cli *cli, const char *folder, const char *path, const sumi_classifier *made)
{
    sumi_error err = {""};
    if (sumi_make_dirs(folder, &err) != SUMI_OK)
        sumi_cli_note(cli, "warning", "the evaluator is not kept: %s", err.text);
    else if (sumi_classifier_save(cli->ctx, made, path) != SUMI_OK)
        sumi_cli_note(cli, "warning", "the evaluator is not kept: %s", sumi_last_error(cli->ctx));
    else
        sumi_cli_note(cli, "note", "kept the evaluator in %s", path);
}

int sumi_cli_find_evaluator(sumi_cli *cli, const sumi_dataset *train, const sumi_dataset *test,
                            const char *shape, sumi_classifier **out)
{
    sumi_dataset_info_t data = SUMI_DATASET_INFO_INIT;
    sumi_classifier_config config = SUMI_CLASSIFIER_CONFIG_INIT;
    char folder[PATH_MAX], path[PATH_MAX], name[128];
    if (sumi_dataset_info(train, &data) != SUMI_OK)
        return sumi_cli_fail(cli, SUMI_EINVAL, "the data set cannot be told");
    snprintf(name, sizeof name, "%s-%s.safetensors", data.hash, shape);
    bool cached = sumi_cli_cache(folder, "evaluators") &&
                  sumi_path_join(path, sizeof path, folder, name, NULL) == SUMI_OK;
    if (cached && load_cached(cli, path, shape, data.hash, out))
        return 0;
    sumi_cli_note(cli, "note", "training evaluator %s on %s, once", shape, data.name);
    config.shape = shape;
    int code = sumi_cli_train_evaluator(cli, train, test, false, &config, out);
    if (code == 0 && cached)
        keep(cli, folder, path, *out);
    return code;
}

/* ---- Telling --------------------------------------------------------------------------------- */

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

int sumi_cli_take_evaluator(sumi_cli *cli, const sumi_dataset *train, const sumi_dataset *test,
                            const char *path, sumi_classifier **out)
{
    sumi_dataset_info_t data = SUMI_DATASET_INFO_INIT;
    sumi_status status = sumi_dataset_info(train, &data);
    int code = 0;
    if (path != NULL)
        status = sumi_classifier_load(cli->ctx, path, out);
    if (status != SUMI_OK)
        return sumi_cli_fail_context(cli, status);
    if (path == NULL)
        code =
            sumi_cli_find_evaluator(cli, train, test, data.classes > 1 ? "v1" : "random-conv", out);
    if (code == 0)
        sumi_cli_tell_evaluator(cli, *out);
    return code;
}
