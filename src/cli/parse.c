/*
 * Reads the command line, and a run's config.json, into values by the table of options.c.
 *
 * Values are strict: the whole text must be the number, and within the option's range. Every
 * refusal is one line that names the option, what was expected and what was found.
 */
#include "options.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_MAX = 32 };

/* ---- Suggestions ----------------------------------------------------------------------------- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment distance (Damerau 1964, without repeated edits of one place). */
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[3][WORD_MAX + 1];
    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *second = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t replace = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = least(replace, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], second[j - 2] + 1);
        }
    }
    return rows[a_length % 3][b_length];
}

const char *sumi_suggest(const char *word, const char *const *candidates)
{
    const char *best = NULL;
    size_t length = strlen(word);
    if (length == 0 || length > WORD_MAX)
        return NULL;
    size_t best_distance = length / 3 + 2;
    for (; *candidates != NULL; candidates++) {
        size_t other = strlen(*candidates);
        if (other > WORD_MAX)
            continue;
        size_t distance = edit_distance(word, length, *candidates, other);
        if (distance < best_distance && distance < other) {
            best_distance = distance;
            best = *candidates;
        }
    }
    return best;
}

static sumi_status unknown_option(sumi_command_id command, const char *name, sumi_error *err)
{
    sumi_option options[SUMI_OPTIONS_MAX];
    const char *names[SUMI_OPTIONS_MAX + 1];
    int count = 0;
    for (int i = 0; sumi_option_at(i, &options[count]); i++)
        if (sumi_option_belongs(&options[count], command)) {
            names[count] = options[count].name;
            count++;
        }
    names[count] = NULL;
    const char *meant = sumi_suggest(name, names);
    const char *title = sumi_command_table[command].name;
    if (meant != NULL)
        return sumi_fail(err, SUMI_EINVAL, "%s: unknown option --%s; did you mean --%s?", title,
                         name, meant);
    return sumi_fail(err, SUMI_EINVAL, "%s: unknown option --%s; see: sumi help %s", title, name,
                     title);
}

/* ---- Values ---------------------------------------------------------------------------------- */

static bool parse_integer(const char *text, int64_t *out)
{
    char *end = NULL;
    size_t skip = text[0] == '-';
    if (text[skip] < '0' || text[skip] > '9')
        return false;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*end != '\0' || errno != 0)
        return false;
    *out = value;
    return true;
}

static bool parse_real(const char *text, double *out)
{
    char *end = NULL;
    if (text[0] == '\0' || text[strspn(text, "0123456789.eE+-")] != '\0')
        return false;
    double value = sumi_parse_real(text, &end);
    if (end == text || *end != '\0' || !isfinite(value))
        return false;
    *out = value;
    return true;
}

static bool parse_size(const sumi_option *option, const char *text, sumi_option_value *value)
{
    char buffer[WORD_MAX];
    int64_t height, width;
    size_t length = strlen(text);
    if (length >= sizeof buffer)
        return false;
    memcpy(buffer, text, length + 1);
    char *cross = strpbrk(buffer, "xX");
    if (cross != NULL)
        *cross = '\0';
    if (!parse_integer(buffer, &height) ||
        !parse_integer(cross != NULL ? cross + 1 : buffer, &width))
        return false;
    if (height < option->low || height > option->high || width < option->low ||
        width > option->high)
        return false;
    value->height = (int)height;
    value->width = (int)width;
    return true;
}

/* "opencl:N" stands for that with any number of up to six digits. */
static bool is_numbered(const char *word, size_t length, const char *text)
{
    if (length < 2 || strncmp(word + length - 2, ":N", 2) != 0 ||
        strncmp(word, text, length - 1) != 0)
        return false;
    size_t digits = strspn(text + length - 1, "0123456789");
    return digits >= 1 && digits <= 6 && text[length - 1 + digits] == '\0';
}

static bool is_choice(const sumi_option *option, const char *text)
{
    const char *word;
    int length;
    for (int i = 0; (word = sumi_option_choice(option, i, &length)) != NULL; i++)
        if ((strlen(text) == (size_t)length && strncmp(word, text, (size_t)length) == 0) ||
            is_numbered(word, (size_t)length, text))
            return true;
    return false;
}

static sumi_status bad_choice(const sumi_option *option, const char *label, const char *text,
                              sumi_error *err)
{
    enum { WORDS = 32 };
    char copies[WORDS][WORD_MAX + 1], list[384] = "";
    const char *words[WORDS + 1], *word;
    int count = 0, length, next;
    while (count < WORDS && (word = sumi_option_choice(option, count, &length)) != NULL) {
        size_t used = strlen(list);
        bool last = sumi_option_choice(option, count + 1, &next) == NULL;
        snprintf(copies[count], sizeof copies[count], "%.*s", length, word);
        snprintf(list + used, sizeof list - used, "%s%s", count == 0 ? "" : (last ? " or " : ", "),
                 copies[count]);
        words[count] = copies[count];
        count++;
    }
    words[count] = NULL;
    const char *meant = sumi_suggest(text, words);
    if (meant != NULL)
        return sumi_fail(err, SUMI_EINVAL, "%s: expected %s, found '%s'; did you mean %s?", label,
                         list, text, meant);
    return sumi_fail(err, SUMI_EINVAL, "%s: expected %s, found '%s'", label, list, text);
}

/* Ranges are compared in float: a value at the edge that went through a float in config.json and
 * came back a hair larger is still at the edge. */
static bool real_in_range(const sumi_option *option, double value)
{
    return fabs(value) <= 1e30 && (float)value >= (float)option->least &&
           (float)value <= (float)option->most;
}

/* Lists are fields of a model, and the library knows what they may be. */
static bool is_list(const sumi_option *option, const char *text)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    return sumi_model_config_set(&config, option->field, 0, text) == SUMI_OK;
}

static sumi_status parse_value(const sumi_option *option, const char *label, const char *text,
                               sumi_option_value *value, sumi_error *err)
{
    sumi_option_value parsed = *value;
    parsed.text = text;
    switch (option->kind) {
    case SUMI_ARG_FLAG:
        break;
    case SUMI_ARG_INT:
        if (!parse_integer(text, &parsed.integer) || parsed.integer < option->low ||
            parsed.integer > option->high)
            return sumi_fail(err, SUMI_EINVAL,
                             "%s: expected a whole number from %lld to %lld, found '%s'", label,
                             (long long)option->low, (long long)option->high, text);
        break;
    case SUMI_ARG_REAL:
        if (!parse_real(text, &parsed.real) || !real_in_range(option, parsed.real))
            return sumi_fail(err, SUMI_EINVAL, "%s: expected a number from %g to %g, found '%s'",
                             label, option->least, option->most, text);
        break;
    case SUMI_ARG_SIZE:
        if (!parse_size(option, text, &parsed))
            return sumi_fail(err, SUMI_EINVAL,
                             "%s: expected HEIGHTxWIDTH such as 32x32, each from %lld to %lld, "
                             "found '%s'",
                             label, (long long)option->low, (long long)option->high, text);
        break;
    case SUMI_ARG_STRING:
    case SUMI_ARG_PATH:
        if (text[0] == '\0')
            return sumi_fail(err, SUMI_EINVAL, "%s: expected %s, found nothing", label,
                             option->metavar);
        break;
    case SUMI_ARG_CHOICE:
        if (!is_choice(option, text))
            return bad_choice(option, label, text, err);
        break;
    case SUMI_ARG_LIST:
        if (!is_list(option, text))
            return sumi_fail(err, SUMI_EINVAL,
                             "%s: expected 1 to %d numbers with commas, such as 1,2,4, each from "
                             "%lld to %lld, found '%s'",
                             label, SUMI_LEVELS_MAX, (long long)option->low,
                             (long long)option->high, text);
        break;
    }
    parsed.set = true;
    *value = parsed;
    return SUMI_OK;
}

static void set_defaults(sumi_options *options)
{
    sumi_option option;
    for (int i = 0; sumi_option_at(i, &option); i++) {
        assert(i < SUMI_OPTIONS_MAX);
        if (!sumi_option_belongs(&option, options->command) || option.initial == NULL)
            continue;
        sumi_status status =
            parse_value(&option, option.name, option.initial, &options->values[i], NULL);
        assert(status == SUMI_OK);
        (void)status;
    }
}

/* ---- The command line ------------------------------------------------------------------------ */

typedef struct {
    int count, next;
    const char *const *words;
    sumi_options *options;
    sumi_error *err;
} reader;

static const char *title(const reader *r)
{
    return sumi_command_table[r->options->command].name;
}

/* An option of the command, its index, and how it was spelled. */
typedef struct {
    sumi_option is;
    int index;
    char spelled[64];
} found_option;

static sumi_status take(reader *r, const found_option *option, const char *text)
{
    char label[96];
    snprintf(label, sizeof label, "%s: %s", title(r), option->spelled);
    sumi_option_value *value = &r->options->values[option->index];
    sumi_status status = parse_value(&option->is, label, text, value, r->err);
    if (status != SUMI_OK)
        return status;
    value->given = true;
    if (option->is.letter == 'h')
        r->options->help = true;
    return SUMI_OK;
}

/* The word after an option that wants a value. Another option there is a forgotten value, as in
 * `--out --json`; a negative number is a value, to be refused by the range. */
static sumi_status take_next(reader *r, const found_option *option)
{
    const char *word = r->next < r->count ? r->words[r->next] : NULL;
    if (word != NULL && word[0] == '-' && word[1] != '\0' && strspn(word + 1, "0123456789.") == 0)
        return sumi_fail(r->err, SUMI_EINVAL, "%s: %s: expected %s after it, found '%s'", title(r),
                         option->spelled, option->is.metavar, word);
    if (word == NULL)
        return sumi_fail(r->err, SUMI_EINVAL, "%s: %s: expected %s after it, found nothing",
                         title(r), option->spelled, option->is.metavar);
    return take(r, option, r->words[r->next++]);
}

static sumi_status read_long(reader *r, const char *word)
{
    const char *name = word + 2;
    size_t length = strcspn(name, "=");
    found_option option;
    option.index = sumi_option_find(r->options->command, name, length, &option.is);
    if (option.index < 0) {
        char short_name[64];
        snprintf(short_name, sizeof short_name, "%.*s", (int)least(length, 60), name);
        return unknown_option(r->options->command, short_name, r->err);
    }
    snprintf(option.spelled, sizeof option.spelled, "--%s", option.is.name);
    bool has_value = name[length] == '=';
    const char *text = has_value ? name + length + 1 : "";
    /* What a recipe turns on can be turned off. */
    if (sumi_option_turns_off(&option.is) && has_value &&
        (strcmp(text, "on") == 0 || strcmp(text, "off") == 0)) {
        sumi_status status = take(r, &option, "");
        r->options->values[option.index].set = strcmp(text, "on") == 0;
        return status;
    }
    if (option.is.kind != SUMI_ARG_FLAG)
        return has_value ? take(r, &option, name + length + 1) : take_next(r, &option);
    if (has_value)
        return sumi_fail(r->err, SUMI_EINVAL, "%s: %s: expected no value, found '%s'", title(r),
                         option.spelled, name + length + 1);
    return take(r, &option, "");
}

static bool find_letter(sumi_command_id command, char letter, found_option *out)
{
    for (out->index = 0; sumi_option_at(out->index, &out->is); out->index++)
        if (out->is.letter == letter && sumi_option_belongs(&out->is, command)) {
            snprintf(out->spelled, sizeof out->spelled, "-%c", letter);
            return true;
        }
    return false;
}

/* A bundle such as -qn4: flags, and at its end perhaps one option with its value. */
static sumi_status read_short(reader *r, const char *word)
{
    for (const char *letter = word + 1; *letter != '\0' && !r->options->help; letter++) {
        found_option option;
        if (!find_letter(r->options->command, *letter, &option))
            return sumi_fail(r->err, SUMI_EINVAL,
                             "%s: unknown option -%c in '%s'; see: sumi "
                             "help %s",
                             title(r), *letter, word, title(r));
        if (option.is.kind != SUMI_ARG_FLAG)
            return letter[1] != '\0' ? take(r, &option, letter + 1) : take_next(r, &option);
        sumi_status status = take(r, &option, "");
        if (status != SUMI_OK)
            return status;
    }
    return SUMI_OK;
}

static sumi_status read_operand(reader *r, const char *word)
{
    const sumi_command *command = &sumi_command_table[r->options->command];
    if (r->options->operand_count == command->operands_max) {
        if (command->operands_max == 0)
            return sumi_fail(r->err, SUMI_EINVAL, "%s: expected no argument, found '%s'",
                             command->name, word);
        return sumi_fail(r->err, SUMI_EINVAL, "%s: expected %s alone, found also '%s'",
                         command->name, command->operands, word);
    }
    if (word[0] == '\0')
        return sumi_fail(r->err, SUMI_EINVAL, "%s: expected %s, found an empty argument",
                         command->name, command->operands);
    r->options->operands[r->options->operand_count++] = word;
    return SUMI_OK;
}

static sumi_status check_complete(const sumi_options *options, sumi_error *err)
{
    const sumi_command *command = &sumi_command_table[options->command];
    if (options->operand_count < command->operands_min)
        return sumi_fail(err, SUMI_EINVAL, "%s: expected %s, found %s; see: sumi help %s",
                         command->name, command->operands,
                         options->operand_count == 0 ? "nothing" : "one argument", command->name);
    sumi_option option;
    for (int i = 0; sumi_option_at(i, &option); i++)
        if (option.required && sumi_option_belongs(&option, options->command) &&
            !options->values[i].given)
            return sumi_fail(err, SUMI_EINVAL, "%s: --%s %s is missing; see: sumi help %s",
                             command->name, option.name, option.metavar, command->name);
    return SUMI_OK;
}

/* True for the first word of commands that have two. */
static bool is_group(const char *word)
{
    size_t length = strlen(word);
    for (int id = 0; id < SUMI_CMD_COUNT; id++) {
        const char *name = sumi_command_table[id].name;
        if (strncmp(name, word, length) == 0 && name[length] == ' ')
            return true;
    }
    return false;
}

sumi_status sumi_command_find(int argc, const char *const *argv, sumi_command_id *out, int *used,
                              sumi_error *err)
{
    char groups[SUMI_CMD_COUNT][WORD_MAX], pair[2 * WORD_MAX + 2] = "";
    const char *names[2 * SUMI_CMD_COUNT + 1];
    int count = 0;
    bool group = is_group(argv[0]);
    if (argc > 1)
        snprintf(pair, sizeof pair, "%.*s %.*s", WORD_MAX, argv[0], WORD_MAX, argv[1]);
    for (int id = 0; id < SUMI_CMD_COUNT; id++) {
        const char *name = sumi_command_table[id].name;
        size_t length = strcspn(name, " ");
        bool two_words = name[length] == ' ';
        if (strcmp(name, two_words ? pair : argv[0]) == 0) {
            *out = (sumi_command_id)id;
            *used = two_words ? 2 : 1;
            return SUMI_OK;
        }
        snprintf(groups[id], sizeof groups[id], "%.*s", (int)length, name);
        names[count++] = name;
        names[count++] = groups[id];
    }
    names[count] = NULL;
    bool both = group && argc > 1;
    const char *meant = sumi_suggest(both ? pair : argv[0], names);
    const char *two = both ? " " : "", *second = both ? argv[1] : "";
    if (group && argc == 1)
        return sumi_fail(err, SUMI_EINVAL, "%s: expected one more word; see: sumi help %s", argv[0],
                         argv[0]);
    if (meant != NULL)
        return sumi_fail(err, SUMI_EINVAL, "unknown command '%s%s%s'; did you mean %s?", argv[0],
                         two, second, meant);
    return sumi_fail(err, SUMI_EINVAL, "unknown command '%s%s%s'; see: sumi help", argv[0], two,
                     second);
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static sumi_status parse_words(int argc, const char *const *argv, sumi_options *out,
                               sumi_error *err)
{
    static const char *const help[] = {"help"}, *const version[] = {"version"};
    reader r = {argc, 1, argv, out, err};
    memset(out, 0, sizeof *out);
    if (argc == 0 || is_help(argv[0]))
        sumi_command_find(1, help, &out->command, &r.next, err);
    else if (argc > 1 && is_group(argv[0]) && is_help(argv[1])) {
        sumi_command_find(1, help, &out->command, &r.next, err);
        out->operands[out->operand_count++] = argv[0];
        r.next = argc;
    } else if (strcmp(argv[0], "--version") == 0)
        sumi_command_find(1, version, &out->command, &r.next, err);
    else if (argv[0][0] == '-')
        return sumi_fail(err, SUMI_EINVAL, "expected a command, found '%s'; see: sumi help",
                         argv[0]);
    else {
        sumi_status status = sumi_command_find(argc, argv, &out->command, &r.next, err);
        if (status != SUMI_OK)
            return status;
    }
    set_defaults(out);
    bool only_operands = false;
    while (r.next < argc && !out->help) {
        const char *word = argv[r.next++];
        sumi_status status = SUMI_OK;
        if (!only_operands && strcmp(word, "--") == 0)
            only_operands = true;
        else if (only_operands || word[0] != '-' || word[1] == '\0')
            status = read_operand(&r, word);
        else
            status = word[1] == '-' ? read_long(&r, word) : read_short(&r, word);
        if (status != SUMI_OK)
            return status;
    }
    return SUMI_OK;
}

sumi_status sumi_options_parse(int argc, const char *const *argv, sumi_options *out,
                               sumi_error *err)
{
    sumi_status status = parse_words(argc, argv, out, err);
    return status != SUMI_OK || out->help ? status : check_complete(out, err);
}

sumi_status sumi_options_read(int argc, const char *const *argv, sumi_options *out, sumi_error *err)
{
    sumi_status status = parse_words(argc, argv, out, err);
    if (status == SUMI_OK && !out->help)
        status = sumi_options_sources(out, err);
    return status != SUMI_OK || out->help ? status : check_complete(out, err);
}

/* ---- config.json ----------------------------------------------------------------------------- */

static const json_t *member(const json_t *config, const char *key)
{
    const char *dot = strchr(key, '.');
    if (dot == NULL)
        return json_object_get(config, key);
    char group[WORD_MAX];
    snprintf(group, sizeof group, "%.*s", (int)(dot - key), key);
    return json_object_get(json_object_get(config, group), dot + 1);
}

/* The value as the command line would have it; NULL: it says nothing. buffer: for numbers. */
static const char *json_text(const sumi_option *option, const json_t *json, char buffer[64])
{
    /* 0 says "no limit" in the file, where the command line says it by silence. */
    if (json == NULL || json_is_null(json) ||
        (option->initial == NULL && json_is_number(json) && json_number_value(json) == 0) ||
        (option->kind == SUMI_ARG_FLAG && json_is_false(json)))
        return NULL;
    if (json_is_string(json))
        return json_string_value(json);
    snprintf(buffer, 64, "%s", "something else");
    if (json_is_integer(json))
        snprintf(buffer, 64, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
    else if (json_is_real(json))
        sumi_format(buffer, 64, "%.17g", json_real_value(json));
    return buffer;
}

sumi_status sumi_options_config(sumi_options *options, const char *path, const json_t *config,
                                sumi_error *err)
{
    sumi_option option;
    for (int i = 0; sumi_option_at(i, &option); i++) {
        sumi_option_value *value = &options->values[i];
        if (option.key[0] == '\0' || value->given ||
            !sumi_option_belongs(&option, options->command))
            continue;
        const json_t *json = member(config, option.key);
        char buffer[64], label[PATH_MAX + 80];
        const char *text = json_text(&option, json, buffer);
        if (text == NULL)
            continue;
        snprintf(label, sizeof label, "%s: %s", path, option.key);
        if (option.kind == SUMI_ARG_FLAG && !json_is_true(json)) {
            sumi_fail(err, SUMI_EFORMAT, "%s: expected true or false, found '%s'", label, text);
            return SUMI_EFORMAT;
        }
        if (parse_value(&option, label, text, value, err) != SUMI_OK)
            return SUMI_EFORMAT;
        value->kept = true;
        if (text == buffer)
            value->text = NULL;
    }
    return SUMI_OK;
}

sumi_status sumi_options_give(sumi_options *options, const char *source, const char *name,
                              const char *text, sumi_error *err)
{
    char label[PATH_MAX + 80];
    sumi_option option;
    int index = sumi_option_find(options->command, name, strlen(name), &option);
    if (index < 0)
        return sumi_fail(err, SUMI_EFORMAT, "%s: there is no option --%s", source, name);
    snprintf(label, sizeof label, "%s: --%s", source, name);
    if (parse_value(&option, label, text, &options->values[index], err) != SUMI_OK)
        return SUMI_EFORMAT;
    options->values[index].given = true;
    return SUMI_OK;
}

/* ---- Values by name -------------------------------------------------------------------------- */

static const sumi_option_value *look_up(const sumi_options *options, const char *name, int kind)
{
    sumi_option option;
    int index = sumi_option_find(options->command, name, strlen(name), &option);
    assert(index >= 0 && (kind < 0 || (int)option.kind == kind));
    (void)kind;
    return &options->values[index];
}

bool sumi_option_given(const sumi_options *options, const char *name)
{
    return look_up(options, name, -1)->given;
}

bool sumi_option_said(const sumi_options *options, const char *name)
{
    const sumi_option_value *value = look_up(options, name, -1);
    return value->given || value->kept;
}

bool sumi_option_flag(const sumi_options *options, const char *name)
{
    return look_up(options, name, SUMI_ARG_FLAG)->set;
}

int64_t sumi_option_int(const sumi_options *options, const char *name)
{
    return look_up(options, name, SUMI_ARG_INT)->integer;
}

double sumi_option_real(const sumi_options *options, const char *name)
{
    return look_up(options, name, SUMI_ARG_REAL)->real;
}

const char *sumi_option_text(const sumi_options *options, const char *name)
{
    return look_up(options, name, -1)->text;
}

void sumi_option_size(const sumi_options *options, const char *name, int *height, int *width)
{
    const sumi_option_value *value = look_up(options, name, SUMI_ARG_SIZE);
    *height = value->height;
    *width = value->width;
}
