/*
 * sumi train: a new run, or one more piece of an old one.
 *
 * train_settings.c decides what is trained on what; here it is announced, done and reported.
 */
#include "train_settings.h"
#include "evaluator.h"
#include "progress.h"

#include "data/data.h"

#include <stdlib.h>
#include <string.h>

static const char stopping[] = "\nstopping: the run is being saved; once more stops at once\n";
static const char stopping_json[] =
    "{\"note\":\"stopping: the run is being saved; once more stops at once\"}\n";

/* Mirrored pictures are others than the data's where those mostly look one way. */
static void warn_of_flip(const sumi_cli *cli, const sumi_dataset *set)
{
    double asymmetry = 0;
    int32_t label = -1;
    if (sumi_dataset_asymmetry(set, &asymmetry, &label) != SUMI_OK || asymmetry <= .1)
        return;
    const char *name = label >= 0 ? sumi_dataset_class_name(set, label) : NULL;
    char which[160] = "the data's pictures";
    if (label >= 0 && name != NULL)
        snprintf(which, sizeof which, "pictures of '%.100s'", name);
    else if (label >= 0)
        snprintf(which, sizeof which, "pictures of label %d", (int)label);
    sumi_cli_note(cli, "warning",
                  "--flip: %s mostly look one way (asymmetry %.2f, where 0 is none and 1 is all "
                  "alike): what is drawn will look both ways",
                  which, asymmetry);
}

static int prepare(sumi_cli *cli, sumi_train_settings *s, sumi_dataset **set, sumi_model **model)
{
    sumi_dataset_info_t info = SUMI_DATASET_INFO_INIT;
    sumi_status status = sumi_dataset_open(cli->ctx, s->data, &s->dataset, set);
    if (status == SUMI_OK)
        status = sumi_dataset_info(*set, &info);
    if (status != SUMI_OK)
        return sumi_cli_fail_context(cli, status);
    sumi_cli_notices(cli, *set);
    if (s->train.flip)
        warn_of_flip(cli, *set);
    int code = sumi_train_settings_choose(cli, *set, s);
    if (code != 0)
        return code;
    sumi_model_config config = s->model;
    config.in_channels = config.out_channels = info.channels;
    config.classes = sumi_train_settings_classes(s, info.classes);
    config.augmentation = s->train.augment > 0 ? SUMI_AUGMENT_NUMBERS : 0;
    status = s->init != NULL ? sumi_cli_load(cli, s->init, model)
                             : sumi_model_create(cli->ctx, &config, model);
    if (status == SUMI_OK && s->init == NULL && s->sample.solver != NULL)
        status = sumi_model_set_sampling(cli->ctx, *model, &s->sample);
    return status == SUMI_OK ? 0 : sumi_cli_fail_context(cli, status);
}

/* What the run is scored by: as sumi eval, of the data that are trained on and their test split. */
static int prepare_scores(sumi_cli *cli, sumi_train_settings *s, const sumi_dataset *set,
                          sumi_dataset **test, sumi_classifier **evaluator)
{
    if (s->train.eval_every == 0 || !sumi_cli_talks(cli))
        return 0;
    if (strcmp(s->dataset.split, "train") == 0)
        sumi_cli_open_test(cli, s->data, set, &s->dataset, "test", test);
    else if (strcmp(s->dataset.split, "rest") == 0)
        sumi_cli_open_test(cli, s->data, set, &s->dataset, "held-back", test);
    int code = sumi_cli_take_evaluator(cli, set, *test, NULL, evaluator);
    s->train.evaluator = *evaluator;
    s->train.eval_test = *test;
    if (sumi_cli_cache(s->cache, "references"))
        s->train.eval_cache = s->cache;
    return code;
}

/* "10 epochs or 30 minutes": whichever comes first. */
static void describe_limits(const sumi_train_config *c, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    if (c->epochs > 0)
        used += (size_t)snprintf(out, size, "%d epoch%s", c->epochs, c->epochs == 1 ? "" : "s");
    if (c->steps > 0)
        used += (size_t)snprintf(out + used, size - used, "%s%lld steps", used > 0 ? " or " : "",
                                 (long long)c->steps);
    if (c->minutes > 0)
        snprintf(out + used, size - used, "%s%g minutes", used > 0 ? " or " : "", c->minutes);
}

/* "T 1000, beta 0.001 to 0.01", and what else of the process is not the tutorial's. */
static void describe_process(const sumi_model *model, char *out, size_t size)
{
    static const char *const choices[] = {"schedule", "objective", "weighting", "law"};
    const sumi_model_config usual = SUMI_MODEL_CONFIG_INIT;
    const char *const initial[] = {usual.schedule, usual.objective, usual.weighting, usual.law};
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    if (sumi_model_info(model, &info) != SUMI_OK)
        return;
    size_t used = (size_t)snprintf(out, size, "T %d", info.timesteps);
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        const char *name = initial[i];
        bool known = sumi_model_get_field(model, choices[i], NULL, &name) == SUMI_OK;
        bool same = !known || strcmp(name, initial[i]) == 0;
        if (i == 0 && same)
            used += (size_t)snprintf(out + used, size - used, ", beta %g to %g",
                                     (double)info.beta_start, (double)info.beta_end);
        else if (!same)
            used += (size_t)snprintf(out + used, size - used, ", %s %s", choices[i], name);
    }
}

static const char *precision_name(sumi_precision precision)
{
    sumi_choice_t choice = SUMI_CHOICE_INIT;
    return sumi_precision_at((int)precision, &choice) == SUMI_OK ? choice.name : "?";
}

static void print_banner(const sumi_cli *cli, const sumi_train_settings *s, const sumi_dataset *set,
                         const sumi_model *model)
{
    sumi_dataset_info_t data = SUMI_DATASET_INFO_INIT;
    sumi_model_info_t info = SUMI_MODEL_INFO_INIT;
    char limits[128], process[192] = "";
    if (sumi_dataset_info(set, &data) != SUMI_OK || sumi_model_info(model, &info) != SUMI_OK)
        return;
    describe_limits(&s->train, limits, sizeof limits);
    describe_process(model, process, sizeof process);
    sumi_cli_note(cli, "note", "sumi %s, %s, %d thread%s", sumi_version(),
                  sumi_context_isa(cli->ctx), sumi_context_threads(cli->ctx),
                  sumi_context_threads(cli->ctx) == 1 ? "" : "s");
    sumi_cli_note(cli, "note", "data   %s: %lld images of %dx%dx%d%s%s", data.name,
                  (long long)data.count, data.height, data.width, data.channels,
                  data.full_path[0] != '\0' ? ", from " : "", data.full_path);
    sumi_cli_note(cli, "note", "model  %s: %lld parameters, %s%s%s", info.net,
                  (long long)info.parameters, process, s->init != NULL ? ", from " : "",
                  s->init != NULL ? s->init : "");
    sumi_cli_note(cli, "note", "train  %s, batch %d, learning rate %g, seed %llu, %s", limits,
                  s->trainer.batch, (double)s->trainer.learning_rate,
                  (unsigned long long)s->trainer.seed, precision_name(s->trainer.precision));
    sumi_cli_note(cli, "note", "run    %s%s", s->run, s->train.resume ? " (resumed)" : "");
}

/* Where a run stands: "latest" names its newest checkpoint, "step_60", and a run ends with one. -1
 * where there is none. */
static int64_t steps_of(const char *run)
{
    char path[PATH_MAX];
    uint8_t *text = NULL;
    size_t size = 0;
    long long steps = -1;
    if (sumi_path_join(path, sizeof path, run, "latest", NULL) != SUMI_OK ||
        sumi_file_read(path, 4096, &text, &size, NULL) != SUMI_OK ||
        sscanf((const char *)text, "step_%lld", &steps) != 1)
        steps = -1;
    free(text);
    return steps;
}

/* The totals are the run's, not those of this call. */
static json_t *result_of(const sumi_train_settings *s, const sumi_bar *bar, const sumi_dataset *set)
{
    int64_t there = steps_of(s->run), steps = bar->steps > 0 ? bar->steps : there > 0 ? there : 0;
    int64_t epochs = steps / sumi_batches_per_epoch(set, s->trainer.batch);
    json_t *result =
        json_pack("{s:o, s:I, s:I, s:f}", "run", sumi_json_name(s->run), "steps", (json_int_t)steps,
                  "epochs", (json_int_t)epochs, "elapsed_s", bar->elapsed_s);
    if (result != NULL && bar->epochs > 0)
        json_object_set_new(result, "loss", json_real(bar->epoch_loss));
    return result;
}

/* A model that says itself how to sample it needs no solver named. */
static const char *sampling_words(const sumi_model *model)
{
    sumi_sample_config own = SUMI_SAMPLE_CONFIG_INIT;
    double classes = 0;
    bool known = sumi_model_get_sampling(model, &own) == SUMI_OK && own.solver != NULL;
    (void)sumi_model_get_field(model, "classes", &classes, NULL);
    return !known ? "--solver ddim --steps 50" : classes > 0 ? "--label all -n 100" : "-n 64";
}

static int report_done(const sumi_cli *cli, const sumi_train_settings *s, const sumi_bar *bar,
                       const sumi_dataset *set, const sumi_model *model)
{
    char elapsed[32], *run = NULL;
    const char *const words[] = {s->run};
    sumi_format_duration(bar->elapsed_s, elapsed);
    if (cli->json)
        return sumi_cli_result(cli, result_of(s, bar, set));
    if ((run = sumi_shell_line(1, words)) == NULL)
        return sumi_cli_fail(cli, SUMI_ENOMEM, "out of memory after the training");
    if (bar->steps == 0) {
        sumi_cli_note(cli, "note", "the run had reached its end already; a higher limit goes on:");
        sumi_cli_note(cli, "next", "sumi train --resume %s --epochs N", run);
    } else {
        sumi_cli_note(cli, "note", "done: %lld steps, %s of training", (long long)bar->steps,
                      elapsed);
        sumi_cli_note(cli, "next", "sumi sample %s %s --out x.png", run, sampling_words(model));
    }
    free(run);
    return 0;
}

/* By what is there, not by what was told: a run that is stopped before its first step has told of
 * none. */
static int report_cancelled(const sumi_cli *cli, const sumi_train_settings *s)
{
    const char *const words[] = {s->run};
    int64_t steps = steps_of(s->run);
    if (steps < 0)
        return sumi_cli_fail(cli, SUMI_CANCELLED, "stopped before the run began: nothing is saved");
    char *run = sumi_shell_line(1, words);
    char *text = sumi_cli_text("stopped and saved at step %lld; go on with: sumi train --resume %s",
                               (long long)steps, run != NULL ? run : s->run);
    int code = sumi_cli_fail(cli, SUMI_CANCELLED, text);
    free(text);
    free(run);
    return code;
}

int sumi_cmd_train(sumi_cli *cli)
{
    sumi_train_settings settings;
    sumi_dataset *set = NULL;
    sumi_dataset *test = NULL;
    sumi_model *model = NULL;
    sumi_classifier *evaluator = NULL;
    sumi_bar bar;
    memset(&settings, 0, sizeof settings);
    int code = sumi_train_settings_read(cli, &settings);
    if (code == 0)
        code = sumi_cli_open(cli);
    if (code == 0)
        code = prepare(cli, &settings, &set, &model);
    if (code == 0)
        code = prepare_scores(cli, &settings, set, &test, &evaluator);
    code = sumi_cli_meet(cli, code);
    if (code == 0)
        code = sumi_cli_join(cli);
    if (code != 0)
        goto done;
    if (strcmp(sumi_option_text(&cli->options, "recipe"), SUMI_FORMER_RECIPE) == 0)
        sumi_cli_note(cli, "note", SUMI_FORMER_RECIPE_NOTE,
                      settings.train.resume ? settings.run : "--recipe");
    print_banner(cli, &settings, set, model);
    if (settings.trainer.transport == SUMI_PRECISION_BF16 && cli->launched > 1)
        sumi_cli_note(
            cli, "warning",
            "--transport bf16: with another number of ranks than %d the weights are others",
            cli->launched);

    sumi_bar_begin(&bar, cli);
    settings.train.progress = sumi_bar_update;
    settings.train.user = &bar;
    settings.train.command = cli->command_line;
    sumi_signals_watch(cli->signals, cli->ctx,
                       cli->quiet || !sumi_cli_talks(cli) ? NULL
                       : cli->json                        ? stopping_json
                                                          : stopping);
    sumi_status status = sumi_train(cli->ctx, model, set, &settings.train);
    sumi_signals_watch(cli->signals, NULL, NULL);
    sumi_bar_end(&bar);
    sumi_cli_warn(cli, status);
    if (status == SUMI_OK)
        code = report_done(cli, &settings, &bar, set, model);
    else if (status == SUMI_CANCELLED)
        code = report_cancelled(cli, &settings);
    else
        code = sumi_cli_fail_context(cli, status);
done:
    sumi_classifier_free(evaluator);
    sumi_model_free(model);
    sumi_dataset_free(test);
    sumi_dataset_free(set);
    sumi_train_settings_free(&settings);
    return code;
}
