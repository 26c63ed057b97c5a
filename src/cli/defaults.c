/*
 * A model's sampling defaults on the command line: they hold where nothing else is said. Where
 * another solver is asked for, what goes with the model's own (steps, spacing, eta ...) does not.
 */
#include "defaults.h"

#include <stdlib.h>
#include <string.h>

typedef enum { WHOLE, REAL, TEXT } row_kind;

typedef struct {
    const char *option;
    row_kind kind;
    size_t offset;  /* in sumi_sample_config */
    bool of_solver; /* goes with a solver */
    bool of_path;   /* is replaced by --levels */
    bool of_labels; /* holds where there is a --label or a --guide */
} defaults_row;

#define AT(field) offsetof(sumi_sample_config, field)

static const defaults_row rows[] = {
    {"solver", TEXT, AT(solver), true, false, false},
    {"steps", WHOLE, AT(steps), true, true, false},
    {"spacing", TEXT, AT(spacing), true, true, false},
    {"rho", REAL, AT(rho), true, true, false},
    {"sigma-min", REAL, AT(sigma_min), true, true, false},
    {"sigma-max", REAL, AT(sigma_max), true, true, false},
    {"eta", REAL, AT(eta), true, false, false},
    {"churn", REAL, AT(churn), true, false, false},
    {"churn-min", REAL, AT(churn_min), true, false, false},
    {"churn-max", REAL, AT(churn_max), true, false, false},
    {"churn-noise", REAL, AT(churn_noise), true, false, false},
    {"threshold", REAL, AT(threshold), false, false, false},
    {"rtol", REAL, AT(rtol), true, false, false},
    {"atol", REAL, AT(atol), true, false, false},
    {"guidance", REAL, AT(guidance), false, false, true},
    {"guidance-from", REAL, AT(guidance_from), false, false, true},
    {"guidance-to", REAL, AT(guidance_to), false, false, true},
};
enum { ROWS = sizeof rows / sizeof *rows };

static size_t size_of(const defaults_row *row)
{
    return row->kind == WHOLE ? sizeof(int) : row->kind == REAL ? sizeof(float) : sizeof(char *);
}

static const void *at(const defaults_row *row, const sumi_sample_config *config)
{
    return (const char *)config + row->offset;
}

static bool is_initial(const defaults_row *row, const sumi_sample_config *config)
{
    static const sumi_sample_config initial = SUMI_SAMPLE_CONFIG_INIT;
    if (row->kind == TEXT)
        return *(const char *const *)at(row, config) == NULL;
    return row->kind == REAL ? *(const float *)at(row, config) == *(const float *)at(row, &initial)
                             : *(const int *)at(row, config) == *(const int *)at(row, &initial);
}

static bool is_given(const sumi_options *options, const char *name)
{
    return sumi_option_find(options->command, name, strlen(name), NULL) >= 0 &&
           sumi_option_given(options, name);
}

sumi_sample_config sumi_cli_defaults(const sumi_options *options, const sumi_model *model)
{
    sumi_sample_config out = SUMI_SAMPLE_CONFIG_INIT, own = SUMI_SAMPLE_CONFIG_INIT;
    if (sumi_model_get_sampling(model, &own) != SUMI_OK)
        return out;
    const char *solver = own.solver != NULL ? own.solver : "ddpm";
    bool other =
        is_given(options, "solver") && strcmp(sumi_option_text(options, "solver"), solver) != 0;
    bool levels = is_given(options, "levels");
    /* Evaluations give labels by themselves. */
    bool told = is_given(options, "label") || is_given(options, "guide") ||
                sumi_option_find(options->command, "label", strlen("label"), NULL) < 0;
    for (int i = 0; i < ROWS; i++)
        if (!(other && rows[i].of_solver) && !(levels && rows[i].of_path) &&
            !(rows[i].of_labels && !told))
            memcpy((char *)&out + rows[i].offset, at(&rows[i], &own), size_of(&rows[i]));
    out.clip_low = own.clip_low;
    out.clip_high = own.clip_high;
    return out;
}

static void real_text(float value, char out[32])
{
    sumi_format(out, 32, "%.9g", sumi_shortest(value));
}

static void row_text(const defaults_row *row, const sumi_sample_config *config, char out[32])
{
    if (row->kind == TEXT)
        snprintf(out, 32, "%s", *(const char *const *)at(row, config));
    else if (row->kind == REAL)
        real_text(*(const float *)at(row, config), out);
    else
        snprintf(out, 32, "%d", *(const int *)at(row, config));
}

json_t *sumi_cli_sampling_json(const sumi_sample_config *config)
{
    json_t *object = json_object();
    for (int i = 0; i < ROWS; i++) {
        char key[24], text[32];
        if (is_initial(&rows[i], config))
            continue;
        snprintf(key, sizeof key, "%s", rows[i].option);
        for (char *c = key; *c != '\0'; c++)
            *c = *c == '-' ? '_' : *c;
        row_text(&rows[i], config, text);
        json_object_set_new(object, key,
                            rows[i].kind == TEXT   ? json_string(text)
                            : rows[i].kind == REAL ? json_real(sumi_parse_real(text, NULL))
                                                   : json_integer(atoi(text)));
    }
    if (config->clip_low != 0 || config->clip_high != 0)
        json_object_set_new(
            object, "clip",
            json_pack("[f, f]", (double)config->clip_low, (double)config->clip_high));
    return object;
}

static int give(sumi_cli *cli, const char *source, const char *name, const char *text, char **keep,
                int *kept)
{
    sumi_error err = {""};
    char *copy = sumi_calloc(strlen(text) + 1, 1);
    if (copy == NULL || *kept == SUMI_OPTIONS_MAX) {
        free(copy);
        return sumi_cli_fail(cli, SUMI_ENOMEM, "out of memory for the model's defaults");
    }
    memcpy(copy, text, strlen(text));
    keep[(*kept)++] = copy;
    sumi_status status = sumi_options_give(&cli->options, source, name, copy, &err);
    return status == SUMI_OK ? 0 : sumi_cli_fail(cli, status, err.text);
}

int sumi_cli_give_defaults(sumi_cli *cli, const char *source, const sumi_model *model, char **keep,
                           int *kept)
{
    sumi_sample_config own = sumi_cli_defaults(&cli->options, model);
    char text[80], low[32], high[32];
    int code = 0;
    for (int i = 0; i < ROWS && code == 0; i++) {
        if (is_initial(&rows[i], &own) || is_given(&cli->options, rows[i].option))
            continue;
        row_text(&rows[i], &own, text);
        code = give(cli, source, rows[i].option, text, keep, kept);
    }
    bool clips = own.clip_low != 0 || own.clip_high != 0;
    if (code != 0 || !clips || is_given(&cli->options, "clip"))
        return code;
    real_text(own.clip_low, low);
    real_text(own.clip_high, high);
    snprintf(text, sizeof text, "%s,%s", low, high);
    return give(cli, source, "clip", text, keep, kept);
}
