/*
 * Where the settings of a training come from; train_settings.h says what they are.
 */
#include "train_settings.h"

#include "data/data.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ENTRIES_MAX = 32 };

static bool any_limit_given(const sumi_options *options)
{
    return sumi_option_given(options, "epochs") || sumi_option_given(options, "steps") ||
           sumi_option_given(options, "minutes");
}

static int check_schedule(const sumi_cli *cli)
{
    const sumi_options *options = &cli->options;
    const char *schedule = sumi_option_text(options, "lr-schedule");
    bool ends = strcmp(schedule, "constant") != 0;
    long long warm_up = sumi_option_int(options, "lr-warmup");
    long long last = sumi_option_int(options, "lr-steps");
    if (ends && last > 0 && last <= warm_up)
        return sumi_cli_usage(cli, "--lr-steps: expected above --lr-warmup, %lld, found %lld",
                              warm_up, last);
    bool adam = sumi_option_given(options, "optimiser") ||
                strcmp(sumi_option_text(options, "recipe"), "tutorial") == 0;
    if (sumi_option_real(options, "weight-decay") > 0 && adam &&
        strcmp(sumi_option_text(options, "optimiser"), "adam") == 0)
        return sumi_cli_usage(cli, "--weight-decay is for --optimiser adamw and muon");
    return 0;
}

static int check_usage(const sumi_cli *cli)
{
    const sumi_options *options = &cli->options;
    bool resume = sumi_option_given(options, "resume");
    if (!resume && options->operand_count == 0 && options->run_config == NULL)
        return sumi_cli_usage(cli, "expected a data set D or --resume RUN, found neither; see: "
                                   "sumi data list");
    sumi_option option;
    for (int i = 0; sumi_option_at(i, &option); i++) {
        if (!sumi_option_belongs(&option, SUMI_CMD_TRAIN) || !options->values[i].given)
            continue;
        if (resume && !option.resuming)
            return sumi_cli_usage(cli,
                                  "--%s cannot be changed in a resumed run; --epochs, "
                                  "--steps, --minutes, --threads and what is kept can",
                                  option.name);
        if (option.field != NULL && sumi_option_given(options, "init"))
            return sumi_cli_usage(cli, "--%s comes with the model that --init names", option.name);
    }
    if (!resume && sumi_option_real(options, "beta-end") < sumi_option_real(options, "beta-start"))
        return sumi_cli_usage(cli, "--beta-end: expected at least --beta-start, %g, found %g",
                              sumi_option_real(options, "beta-start"),
                              sumi_option_real(options, "beta-end"));
    return resume ? 0 : check_schedule(cli);
}

/* "0.999,0.9999" */
static int read_list(const sumi_cli *cli, const char *name, double below,
                     float out[SUMI_AVERAGES_MAX])
{
    const char *text = sumi_option_text(&cli->options, name), *at = text;
    if (text != NULL)
        memset(out, 0, SUMI_AVERAGES_MAX * sizeof *out); /* in place of those of a config.json */
    for (int i = 0; at != NULL; i++) {
        char *end = NULL;
        double value = sumi_parse_real(at, &end);
        bool good = end != at && (*end == ',' || *end == '\0') && value >= 0 && value < below;
        if (!good || i == SUMI_AVERAGES_MAX || (i > 0 && !(value > 0 && out[i - 1] > 0)))
            return sumi_cli_usage(cli,
                                  "--%s: expected up to %d numbers above 0 and below %g, with "
                                  "commas between them, or 0, found '%s'",
                                  name, SUMI_AVERAGES_MAX, below, text);
        out[i] = (float)value;
        at = *end == ',' ? end + 1 : NULL;
    }
    return 0;
}

static int read_averages(const sumi_cli *cli, sumi_trainer_config *trainer)
{
    int code = read_list(cli, "ema", 1, trainer->averages), count = 0;
    if (code == 0)
        code = read_list(cli, "ema-power", SUMI_AVERAGE_WIDEST, trainer->power_averages);
    for (int i = 0; i < SUMI_AVERAGES_MAX; i++)
        count += (trainer->averages[i] > 0) + (trainer->power_averages[i] > 0);
    if (code == 0 && sumi_option_int(&cli->options, "ema-snapshots") > 0 &&
        !(trainer->power_averages[0] > 0))
        return sumi_cli_usage(cli, "--ema-snapshots are of the averages of --ema-power: give both");
    return code == 0 && count > SUMI_AVERAGES_MAX
               ? sumi_cli_usage(cli,
                                "--ema and --ema-power: expected %d averages at most, found %d",
                                SUMI_AVERAGES_MAX, count)
               : code;
}

/* What an option sets of a trainer's config. */
typedef struct {
    const char *option;
    enum { WHOLE, LONG, REAL, TEXT } kind;
    size_t offset;
} trainer_option;

#define AT(field) offsetof(sumi_trainer_config, field)

static const trainer_option trainer_options[] = {
    {"batch", WHOLE, AT(batch)},
    {"accumulate", WHOLE, AT(accumulate)},
    {"groups", WHOLE, AT(groups)},
    {"lr", REAL, AT(learning_rate)},
    {"lr-schedule", TEXT, AT(rate_schedule)},
    {"lr-warmup", LONG, AT(warmup_steps)},
    {"lr-steps", LONG, AT(schedule_steps)},
    {"lr-final", REAL, AT(final_rate)},
    {"optimiser", TEXT, AT(optimiser)},
    {"weight-decay", REAL, AT(weight_decay)},
    {"muon-lr", REAL, AT(muon_rate)},
    {"beta1", REAL, AT(beta1)},
    {"beta2", REAL, AT(beta2)},
    {"epsilon", REAL, AT(epsilon)},
    {"clip-norm", REAL, AT(clip_norm)},
    {"label-drop", REAL, AT(label_drop)},
};

static void fill_trainer(const sumi_options *options, sumi_trainer_config *out)
{
    for (size_t i = 0; i < sizeof trainer_options / sizeof *trainer_options; i++) {
        const trainer_option *row = &trainer_options[i];
        void *to = (char *)out + row->offset;
        if (!sumi_option_said(options, row->option))
            continue; /* the recipe's */
        if (row->kind == WHOLE)
            *(int *)to = (int)sumi_option_int(options, row->option);
        else if (row->kind == LONG)
            *(int64_t *)to = sumi_option_int(options, row->option);
        else if (row->kind == REAL)
            *(float *)to = (float)sumi_option_real(options, row->option);
        else
            *(const char **)to = sumi_option_text(options, row->option);
    }
    if (sumi_option_said(options, "transport"))
        out->transport = strcmp(sumi_option_text(options, "transport"), "bf16") == 0
                             ? SUMI_PRECISION_BF16
                             : SUMI_PRECISION_FP32;
    if (sumi_option_said(options, "precision"))
        out->precision = sumi_cli_precision(options);
    out->seed = (uint64_t)sumi_option_int(options, "seed");
}

/* Over what the recipe says, or nobody. */
static void fill_tuning(const sumi_options *options, sumi_train_config *train)
{
    if (sumi_option_said(options, "tune"))
        train->tune = sumi_option_flag(options, "tune");
}

/* Limits, and what the run keeps. */
static void fill_run(const sumi_options *options, sumi_train_config *train)
{
    train->epochs = (int)sumi_option_int(options, "epochs");
    train->steps = sumi_option_int(options, "steps");
    train->minutes = sumi_option_real(options, "minutes");
    train->snapshots = (int)sumi_option_int(options, "ema-snapshots");
    train->flip = sumi_option_flag(options, "flip");
    train->crop = (int)sumi_option_int(options, "crop");
    train->augment = (float)sumi_option_real(options, "augment");
    train->grid = (int)sumi_option_int(options, "grid");
    train->eval_every = (int)sumi_option_int(options, "eval-every");
    train->eval_images = (int)sumi_option_int(options, "eval-images");
    fill_tuning(options, train);
    train->checkpoint_every = sumi_option_int(options, "checkpoint-every");
    train->checkpoint_minutes = sumi_option_real(options, "checkpoint-minutes");
    train->keep_last = (int)sumi_option_int(options, "keep-last");
    train->keep_best = (int)sumi_option_int(options, "keep-best");
    train->keep_every = sumi_option_int(options, "keep-every");
    train->on_nan = strcmp(sumi_option_text(options, "on-nan"), "rollback") == 0
                        ? SUMI_ON_NAN_ROLLBACK
                        : SUMI_ON_NAN_STOP;
}

/* What the options say, over what is there. */
static void fill_configs(const sumi_options *options, sumi_train_settings *out)
{
    sumi_cli_model_config(options, &out->model);
    out->model.seed = (uint64_t)sumi_option_int(options, "seed");
    fill_trainer(options, &out->trainer);
}

static void say_choices(const sumi_cli *cli, const sumi_train_settings *s, char *why)
{
    sumi_cli_note(cli, "note", "recipe %s", s->model.preset);
    for (char *rest = why, *line; (line = strtok_r(rest, "\n", &rest)) != NULL;)
        sumi_cli_note(cli, "note", "  %s", line);
}

/* Labels that are always withheld are none: what would be drawn of one is noise. A run that goes
 * on, or is done again, has the network that it had. */
int sumi_train_settings_classes(const sumi_train_settings *s, int of_data)
{
    const json_t *kept = json_object_get(json_object_get(s->config, "model"), "classes");
    if (s->trainer.label_drop != 1)
        return of_data;
    return json_is_integer(kept) ? (int)json_integer_value(kept) : 0;
}

/* What the options leave of the recipe's way to sample: guidance goes from no label to a label, and
 * a model has to know both. */
static void limit_sampling(sumi_train_settings *out)
{
    bool told = strcmp(out->model.net, "unet") == 0;
    if (out->sample.steps > out->model.timesteps)
        out->sample.steps = out->model.timesteps;
    if (!told || out->trainer.label_drop == 0 || out->trainer.label_drop == 1) {
        const sumi_sample_config none = SUMI_SAMPLE_CONFIG_INIT;
        out->sample.guidance = none.guidance;
        out->sample.guidance_from = none.guidance_from;
        out->sample.guidance_to = none.guidance_to;
    }
}

int sumi_train_settings_choose(sumi_cli *cli, const sumi_dataset *set, sumi_train_settings *out)
{
    const sumi_options *options = &cli->options;
    char why[2048] = "";
    sumi_model_config model = SUMI_MODEL_CONFIG_INIT;
    sumi_trainer_config trainer = SUMI_TRAINER_CONFIG_INIT;
    sumi_train_config train = out->train;
    if (out->train.resume)
        return 0;
    sumi_status status =
        sumi_preset_choose(cli->ctx, sumi_option_text(options, "recipe"), set, &model, &trainer,
                           &train, &out->sample, why, sizeof why);
    if (status != SUMI_OK)
        return sumi_cli_fail_context(cli, status);
    if (out->config != NULL) {
        limit_sampling(out);
        return 0; /* another run's choices stand */
    }
    out->model = model;
    out->trainer = trainer;
    out->train = train;
    fill_configs(options, out);
    fill_tuning(options, &out->train);
    limit_sampling(out);
    if (why[0] != '\0')
        say_choices(cli, out, why);
    /* Averages of one's own stand in place of all of the recipe's. */
    if (sumi_option_said(options, "ema") || sumi_option_said(options, "ema-power")) {
        memset(out->trainer.averages, 0, sizeof out->trainer.averages);
        memset(out->trainer.power_averages, 0, sizeof out->trainer.power_averages);
    }
    return read_averages(cli, &out->trainer);
}

static bool has_name(const char *name)
{
    sumi_data_entry entries[ENTRIES_MAX];
    int count = sumi_data_list(entries, ENTRIES_MAX);
    bool named = false;
    for (int i = 0; i < count && i < ENTRIES_MAX; i++)
        named = named || strcmp(entries[i].name, name) == 0;
    return named;
}

/* A set that has a name keeps it; a path is made absolute, so that the run can be resumed from
 * another folder. What is neither is passed on, and refused where it is opened. */
static void name_data(const char *given, char *out, size_t size)
{
    char *absolute = realpath(given, NULL);
    bool use = absolute != NULL && !has_name(given) && strlen(absolute) < size;
    snprintf(out, size, "%s", use ? absolute : given);
    free(absolute);
}

/* runs/SET-20261124-181500 */
static void name_run(const char *data, char *out, size_t size)
{
    const char *last = strrchr(data, '/');
    time_t now = time(NULL);
    struct tm local;
    char stamp[32] = "run";
    if (localtime_r(&now, &local) != NULL)
        strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &local);
    /* A folder's name may have 255 bytes. */
    char name[201];
    sumi_copy_text(name, sizeof name, last != NULL && last[1] != '\0' ? last + 1 : data);
    snprintf(out, size, "runs/%s-%s", name, stamp);
}

static int check_run(const sumi_cli *cli, const char *run)
{
    sumi_error err = {""};
    const char *const words[] = {run};
    char *quoted = sumi_shell_line(1, words);
    sumi_status status = sumi_check_output_dir(run, &err);
    if (status == SUMI_OK && sumi_is_dir(run) && !sumi_dir_has_only(run, "run.lock"))
        status = sumi_fail(&err, SUMI_EINVAL,
                           "%s is there already and not empty: give another "
                           "--out, or go on with: sumi train --resume %s",
                           run, quoted != NULL ? quoted : run);
    free(quoted);
    return status == SUMI_OK ? 0 : sumi_cli_fail(cli, status, err.text);
}

/* The folder of a new run: given, or made up. */
static int choose_run(sumi_cli *cli, sumi_train_settings *out)
{
    const sumi_options *options = &cli->options;
    const char *run = sumi_option_text(options, "out");
    if (run != NULL && strlen(run) >= sizeof out->run)
        return sumi_cli_usage(cli, "--out: expected a path of at most %zu bytes",
                              sizeof out->run - 1);
    if (run != NULL)
        snprintf(out->run, sizeof out->run, "%s", run);
    else
        name_run(out->data, out->run, sizeof out->run);
    /* Of several processes the first has the folder. */
    return sumi_cli_talks(cli) ? check_run(cli, out->run) : 0;
}

static void give_dataset(const sumi_options *options, sumi_dataset_config *dataset)
{
    if (sumi_option_given(options, "size"))
        sumi_option_size(options, "size", &dataset->height, &dataset->width);
    if (sumi_option_given(options, "channels"))
        dataset->channels = atoi(sumi_option_text(options, "channels"));
    if (sumi_option_given(options, "split") || dataset->split == NULL)
        dataset->split = sumi_option_text(options, "split");
    dataset->skip_bad = dataset->skip_bad || sumi_option_flag(options, "skip-bad");
    if (sumi_option_given(options, "background"))
        dataset->background = (float)sumi_option_real(options, "background");
}

static int read_new(sumi_cli *cli, sumi_train_settings *out)
{
    const sumi_options *options = &cli->options;
    sumi_dataset_config dataset = SUMI_DATASET_CONFIG_INIT;
    dataset.split = NULL;
    give_dataset(options, &dataset);
    out->dataset = dataset;
    out->init = sumi_option_text(options, "init");
    name_data(options->operands[0], out->data, sizeof out->data);
    fill_run(options, &out->train); /* the rest once the data are open */
    sumi_trainer_config tried = out->trainer;
    int code = read_averages(cli, &tried);
    return code == 0 ? choose_run(cli, out) : code;
}

/* Where the data are of the run that --OPTION FROM names, which were at place (as config.json
 * writes it): there still, or where a set of that name is found. */
static sumi_status find_data(const char *place, const char *name, const char *option,
                             const char *from, sumi_train_settings *out, sumi_error *err)
{
    char found[4096];
    const char *const words[] = {from};
    snprintf(out->data, sizeof out->data, "%s", place);
    sumi_unescape_text(out->data);
    if (out->data[0] != '\0' && (sumi_is_dir(out->data) || sumi_is_file(out->data)))
        return SUMI_OK;
    char *quoted = sumi_shell_line(1, words);
    sumi_status status = sumi_fail(err, SUMI_EIO,
                                   "%s: its data were in %s, which is not there; where they are in "
                                   "D now: sumi train D --%s %s",
                                   from, out->data, option, quoted != NULL ? quoted : from);
    free(quoted);
    snprintf(out->data, sizeof out->data, "%s", name);
    sumi_unescape_text(out->data);
    bool known =
        place[0] == '\0' || has_name(out->data) || sumi_find_named(out->data, found, sizeof found);
    return known ? SUMI_OK : status;
}

/* The data of config.json; moved: where they are now, NULL where nobody says. like: of a new run
 * that is begun as that one was. */
static sumi_status read_data(const char *path, const char *moved, bool like,
                             sumi_train_settings *out, sumi_error *err)
{
    const json_t *data = json_object_get(out->config, "data");
    const char *name = "", *place = "", *split = "train";
    int64_t channels = 0, height = 0, width = 0;
    sumi_dataset_config dataset = SUMI_DATASET_CONFIG_INIT;
    sumi_status status = sumi_json_string(path, data, "name", &name, err);
    if (status == SUMI_OK)
        status = sumi_json_string(path, data, "path", &place, err);
    if (status == SUMI_OK)
        status = sumi_json_string(path, data, "split", &split, err);
    if (status == SUMI_OK)
        status = sumi_json_int(path, data, "channels", 1, 16, &channels, err);
    if (status == SUMI_OK)
        status = sumi_json_int(path, data, "height", 1, SUMI_SIDE_MAX, &height, err);
    if (status == SUMI_OK)
        status = sumi_json_int(path, data, "width", 1, SUMI_SIDE_MAX, &width, err);
    double background = 1;
    if (status == SUMI_OK && json_object_get(data, "background") != NULL)
        status = sumi_json_real(path, data, "background", 0, 1, &background, err);
    if (status != SUMI_OK)
        return status;
    dataset.background = (float)background;
    dataset.split = split;
    dataset.skip_bad = json_is_true(json_object_get(data, "skip_bad"));
    dataset.channels = (int)channels;
    dataset.height = (int)height;
    dataset.width = (int)width;
    out->dataset = dataset;
    if (moved == NULL)
        return find_data(place, name, like ? "config" : "resume", like ? path : out->run, out, err);
    name_data(moved, out->data, sizeof out->data);
    return SUMI_OK;
}

/* Averages, which are a key each in config.json. */
static sumi_status read_kept_averages(const char *path, const json_t *config,
                                      sumi_trainer_config *out, sumi_error *err)
{
    const json_t *train = json_object_get(config, "train");
    float *const lists[] = {out->averages, out->power_averages};
    for (int i = 0; i < 2 * SUMI_AVERAGES_MAX; i++) {
        char key[20];
        double value = 0;
        const char *list = i < SUMI_AVERAGES_MAX ? "ema" : "ema_power";
        int number = i % SUMI_AVERAGES_MAX + 1;
        snprintf(key, sizeof key, number > 1 ? "%s_%d" : "%s", list, number);
        if (json_object_get(train, key) == NULL)
            continue; /* of a version that had none */
        sumi_status status = sumi_json_real(path, train, key, 0, 1, &value, err);
        if (status != SUMI_OK)
            return status;
        lists[i / SUMI_AVERAGES_MAX][number - 1] = (float)value;
    }
    return SUMI_OK;
}

/* What has no option: the grids of a run that another program began. */
static sumi_status read_grid(const char *path, const json_t *config, sumi_train_config *out,
                             sumi_error *err)
{
    const json_t *train = json_object_get(config, "train");
    const struct {
        const char *key;
        int64_t most;
        int *into;
    } settings[] = {{"grid_height", SUMI_SIDE_MAX, &out->grid_height},
                    {"grid_width", SUMI_SIDE_MAX, &out->grid_width},
                    {"grid_steps", INT32_MAX, &out->grid_steps}};
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        int64_t value = 0;
        if (json_object_get(train, settings[i].key) == NULL)
            continue; /* of a version that had none */
        sumi_status status =
            sumi_json_int(path, train, settings[i].key, 0, settings[i].most, &value, err);
        if (status != SUMI_OK)
            return status;
        *settings[i].into = (int)value;
    }
    return SUMI_OK;
}

static int read_resumed(sumi_cli *cli, sumi_train_settings *out)
{
    sumi_options *options = &cli->options;
    sumi_error err = {""};
    char path[PATH_MAX];
    const char *run = sumi_option_text(options, "resume");
    if (strlen(run) >= sizeof out->run)
        return sumi_cli_usage(cli, "--resume: expected a path of at most %zu bytes",
                              sizeof out->run - 1);
    snprintf(out->run, sizeof out->run, "%s", run);
    sumi_status status = sumi_path_join(path, sizeof path, run, "config.json", &err);
    if (status == SUMI_OK && !sumi_is_file(path))
        status = sumi_is_dir(run) ? sumi_fail_no_run(run, &err)
                                  : sumi_fail(&err, SUMI_EIO, "%s: there is no such run", run);
    if (status == SUMI_OK)
        status = sumi_json_read(path, &out->config, &err);
    /* A limit that is given stands for all limits of the old run. */
    sumi_options given = *options;
    if (status == SUMI_OK)
        status = sumi_options_config(options, path, out->config, &err);
    if (status == SUMI_OK)
        status = read_data(path, options->operand_count > 0 ? options->operands[0] : NULL, false,
                           out, &err);
    if (status != SUMI_OK)
        return sumi_cli_fail(cli, status, err.text);
    out->model.preset = sumi_option_text(options, "recipe");
    fill_run(options, &out->train);
    fill_configs(options, out);
    status = read_grid(path, out->config, &out->train, &err);
    if (status == SUMI_OK)
        status = read_kept_averages(path, out->config, &out->trainer, &err);
    if (status != SUMI_OK)
        return sumi_cli_fail(cli, status, err.text);
    if (any_limit_given(options)) {
        out->train.epochs = (int)sumi_option_int(&given, "epochs");
        out->train.steps = sumi_option_int(&given, "steps");
        out->train.minutes = sumi_option_real(&given, "minutes");
    }
    out->train.resume = true; /* the checkpoint brings the weights, whatever their seed */
    return 0;
}

/* The limits of config.json stand where none is given, and no other then. */
static void take_limits(const sumi_options *options, sumi_train_config *train)
{
    if (!any_limit_given(options))
        return;
    const bool epochs = sumi_option_given(options, "epochs");
    const bool steps = sumi_option_given(options, "steps");
    const bool minutes = sumi_option_given(options, "minutes");
    train->epochs = epochs ? (int)sumi_option_int(options, "epochs") : 0;
    train->steps = steps ? sumi_option_int(options, "steps") : 0;
    train->minutes = minutes ? sumi_option_real(options, "minutes") : 0;
}

/* A new run that begins as the one whose config.json --config names. */
static int read_like(sumi_cli *cli, sumi_train_settings *out)
{
    const sumi_options *options = &cli->options;
    const char *path = sumi_option_text(options, "config");
    sumi_error err = {""};
    out->config = json_incref(options->run_config);
    const json_t *model = json_object_get(out->config, "model");
    out->init = sumi_option_text(options, "init");
    sumi_status status =
        read_data(path, options->operand_count > 0 ? options->operands[0] : NULL, true, out, &err);
    if (status != SUMI_OK)
        return sumi_cli_fail(cli, status, err.text);
    give_dataset(options, &out->dataset);
    out->model.preset = sumi_option_text(options, "recipe");
    fill_run(options, &out->train);
    fill_configs(options, out);
    take_limits(options, &out->train);
    status = read_grid(path, out->config, &out->train, &err);
    if (status == SUMI_OK)
        status = read_kept_averages(path, out->config, &out->trainer, &err);
    int code = status == SUMI_OK ? read_averages(cli, &out->trainer) : 0;
    if (code != 0)
        return code;
    if (status == SUMI_OK && json_object_get(model, "seed") == NULL && out->init == NULL)
        status =
            sumi_fail(&err, SUMI_EINVAL,
                      "%s: that run began with the weights of a file: give them with --init", path);
    int64_t seed = json_integer_value(json_object_get(model, "seed"));
    if (!sumi_option_given(options, "seed") && json_is_integer(json_object_get(model, "seed")))
        out->model.seed = (uint64_t)seed;
    return status == SUMI_OK ? choose_run(cli, out) : sumi_cli_fail(cli, status, err.text);
}

int sumi_train_settings_read(sumi_cli *cli, sumi_train_settings *out)
{
    out->model = (sumi_model_config)SUMI_MODEL_CONFIG_INIT;
    out->trainer = (sumi_trainer_config)SUMI_TRAINER_CONFIG_INIT;
    out->train = (sumi_train_config)SUMI_TRAIN_CONFIG_INIT;
    out->sample = (sumi_sample_config)SUMI_SAMPLE_CONFIG_INIT;
    int code = check_usage(cli);
    if (code != 0)
        return code;
    bool resume = sumi_option_given(&cli->options, "resume");
    code = resume                            ? read_resumed(cli, out)
           : cli->options.run_config != NULL ? read_like(cli, out)
                                             : read_new(cli, out);
    out->train.out_dir = out->run;
    out->train.trainer = &out->trainer;
    return code;
}

void sumi_train_settings_free(sumi_train_settings *settings)
{
    json_decref(settings->config);
}
