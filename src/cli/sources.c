/*
 * Options that are said elsewhere than on the command line: in variables of the environment
 * (SUMI_TRAIN_LR for --lr of train) and in a file (--config).
 *
 * The command line wins over the environment, the environment over the file, the file over what a
 * resumed run keeps and over the defaults. All three count as given. With --resume only what may be
 * set anew is taken.
 */
#include "io/io.h"
#include "options.h"

#include <stdlib.h>
#include <string.h>

enum { VARIABLE_MAX = 64, NUMBER_MAX = 64 };

void sumi_option_variable(const sumi_option *option, sumi_command_id command, char out[64])
{
    snprintf(out, VARIABLE_MAX, "SUMI_%.24s_%.24s", sumi_command_table[command].name, option->name);
    for (char *c = out; *c != '\0'; c++)
        *c = (char)(*c == ' ' || *c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? *c - 32 : *c);
}

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strlen(*words) == strlen(text) && sumi_same_letters(*words, text, strlen(text)))
            return true;
    return false;
}

static bool is_resumed(const sumi_options *options)
{
    return options->command == SUMI_CMD_TRAIN && sumi_option_given(options, "resume");
}

/* What only makes sense on a command line. */
static bool is_for_the_line(const sumi_option *option)
{
    return option->letter == 'h' || strcmp(option->name, "resume") == 0;
}

/* Whether an option of the command may be taken: with --resume, only some. */
static bool is_taken(const sumi_options *options, const sumi_option *option, int index)
{
    return sumi_option_belongs(option, options->command) && !options->values[index].given &&
           !is_for_the_line(option) && (!is_resumed(options) || option->resuming);
}

/* ---- The environment ------------------------------------------------------------------------- */

/* What a recipe turns on can be turned off; any other flag is off as it is. */
static void turn_off(sumi_options *options, const sumi_option *option, int index)
{
    if (sumi_option_turns_off(option))
        options->values[index].given = true;
}

static sumi_status take_variable(sumi_options *options, const sumi_option *option, int index,
                                 sumi_error *err)
{
    static const char *const yes[] = {"1", "true", "yes", "on", NULL}, *const no[] = {"0", "false",
                                                                                      "no", "off",
                                                                                      NULL};
    char name[VARIABLE_MAX];
    sumi_option_variable(option, options->command, name);
    const char *text = getenv(name);
    if (text == NULL || text[0] == '\0')
        return SUMI_OK;
    if (option->kind == SUMI_ARG_FLAG && is_one_of(text, no)) {
        turn_off(options, option, index);
        return SUMI_OK;
    }
    if (option->kind == SUMI_ARG_FLAG && !is_one_of(text, yes))
        return sumi_fail(err, SUMI_EINVAL, "%s: expected 1 or 0, found '%s'", name, text);
    return sumi_options_give(options, name, option->name, option->kind == SUMI_ARG_FLAG ? "" : text,
                             err);
}

static sumi_status take_environment(sumi_options *options, sumi_error *err)
{
    sumi_option option;
    sumi_status status = SUMI_OK;
    for (int i = 0; status == SUMI_OK && sumi_option_at(i, &option); i++)
        if (is_taken(options, &option, i))
            status = take_variable(options, &option, i, err);
    return status;
}

/* ---- The file -------------------------------------------------------------------------------- */

/* The value as the command line would have it, kept by the options; NULL where memory is out. */
static const char *text_of(sumi_options *options, const json_t *value)
{
    char number[NUMBER_MAX];
    sumi_text text = {0};
    size_t count = json_is_array(value) ? json_array_size(value) : 1;
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_is_array(value) ? json_array_get(value, i) : value;
        snprintf(number, sizeof number, "%s", json_is_true(one) ? "true" : "false");
        if (json_is_integer(one))
            snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(one));
        else if (json_is_real(one))
            sumi_format(number, sizeof number, "%.17g", json_real_value(one));
        sumi_text_puts(&text, i > 0 ? "," : "");
        sumi_text_puts(&text, json_is_string(one) ? json_string_value(one) : number);
    }
    json_t *kept = text.failed ? NULL : json_string(text.data != NULL ? text.data : "");
    sumi_text_free(&text);
    return kept != NULL && json_array_append_new(options->owned, kept) == 0
               ? json_string_value(kept)
               : NULL;
}

static sumi_status unknown_key(const sumi_options *options, const char *path, const char *key,
                               sumi_error *err)
{
    sumi_option list[SUMI_OPTIONS_MAX];
    const char *names[SUMI_OPTIONS_MAX + 1];
    int count = 0;
    for (int i = 0; sumi_option_at(i, &list[count]); i++)
        if (sumi_option_belongs(&list[count], options->command)) {
            names[count] = list[count].name;
            count++;
        }
    names[count] = NULL;
    const char *meant = sumi_suggest(key, names);
    return sumi_fail(err, SUMI_EINVAL, "%s: %s: sumi %s has no such option%s%s%s", path, key,
                     sumi_command_table[options->command].name,
                     meant != NULL ? "; did you mean " : "", meant != NULL ? meant : "",
                     meant != NULL ? "?" : "");
}

/* `data` is the data set where the command takes one as its only word. */
static bool is_operand(const sumi_options *options, const char *name)
{
    return strcmp(name, "data") == 0 && options->command == SUMI_CMD_TRAIN;
}

static sumi_status take_flag(sumi_options *options, const char *path, const sumi_option *option,
                             int index, const json_t *value, sumi_error *err)
{
    if (!json_is_boolean(value))
        return sumi_fail(err, SUMI_EINVAL, "%s: --%s: expected true or false", path, option->name);
    if (json_is_true(value))
        return sumi_options_give(options, path, option->name, "", err);
    turn_off(options, option, index);
    return SUMI_OK;
}

static sumi_status take_key(sumi_options *options, const char *path, const char *key,
                            const json_t *value, sumi_error *err)
{
    char name[64];
    sumi_option option;
    snprintf(name, sizeof name, "%s", key);
    for (char *c = name; *c != '\0'; c++)
        if (*c == '_')
            *c = '-';
    int index = sumi_option_find(options->command, name, strlen(name), &option);
    if (index < 0 && !is_operand(options, name))
        return unknown_key(options, path, name, err);
    if (index >= 0 && (is_for_the_line(&option) || strcmp(name, "config") == 0))
        return sumi_fail(err, SUMI_EINVAL, "%s: %s is for the command line", path, key);
    if (index >= 0 && !is_taken(options, &option, index))
        return SUMI_OK;
    if (index >= 0 && option.kind == SUMI_ARG_FLAG)
        return take_flag(options, path, &option, index, value, err);
    const char *text = text_of(options, value);
    if (text == NULL)
        return sumi_fail_memory(err, path, 0);
    if (index >= 0)
        return sumi_options_give(options, path, name, text, err);
    if (options->operand_count == 0 && !is_resumed(options))
        options->operands[options->operand_count++] = text;
    return SUMI_OK;
}

static sumi_status take_toml(sumi_options *options, const char *path, const uint8_t *data,
                             size_t size, sumi_error *err)
{
    json_t *object = NULL, *value;
    const char *key;
    sumi_status status = sumi_toml_parse(path, data, size, &object, err);
    json_object_foreach(object, key, value)
    {
        if (status == SUMI_OK)
            status = take_key(options, path, key, value, err);
    }
    json_decref(object);
    return status;
}

/* The config.json of a run: what it says stands below the command line and the environment, but is
 * not given, as with --resume. */
static sumi_status take_run(sumi_options *options, const char *path, const uint8_t *data,
                            size_t size, sumi_error *err)
{
    if (options->command != SUMI_CMD_TRAIN || is_resumed(options))
        return sumi_fail(err, SUMI_EINVAL,
                         "%s: a run's config.json is for a new sumi train; other commands read "
                         "key = value",
                         path);
    sumi_status status = sumi_json_parse(path, data, size, &options->run_config, err);
    return status == SUMI_OK ? sumi_options_config(options, path, options->run_config, err)
                             : status;
}

static sumi_status take_file(sumi_options *options, const char *path, sumi_error *err)
{
    uint8_t *data = NULL;
    size_t size = 0;
    options->owned = json_array();
    if (options->owned == NULL)
        return sumi_fail_memory(err, path, 0);
    sumi_status status = sumi_file_read(path, SUMI_TOML_BYTES_MAX, &data, &size, err);
    if (status != SUMI_OK)
        return status;
    size_t first = 0;
    while (first < size && strchr(" \t\r\n", data[first]) != NULL && data[first] != '\0')
        first++;
    bool is_json = first < size && data[first] == '{';
    status = is_json ? take_run(options, path, data, size, err)
                     : take_toml(options, path, data, size, err);
    free(data);
    return status;
}

sumi_status sumi_options_sources(sumi_options *options, sumi_error *err)
{
    sumi_status status = take_environment(options, err);
    bool has_file = sumi_option_find(options->command, "config", strlen("config"), NULL) >= 0;
    const char *path = has_file ? sumi_option_text(options, "config") : NULL;
    return status == SUMI_OK && path != NULL ? take_file(options, path, err) : status;
}

void sumi_options_free(sumi_options *options)
{
    json_decref(options->owned);
    json_decref(options->run_config);
    options->owned = options->run_config = NULL;
}
