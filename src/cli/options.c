/*
 * The walk of the table of options. options.h says what is made from it; options_train.c,
 * options_run.c, options_sample.c and options_other.c have its rows, commands.c the commands.
 */
#include "options.h"

#include <string.h>

#include "option_rows.h"

const char *sumi_option_choice(const sumi_option *option, int index, int *length)
{
    const char *word = option->choices;
    if (option->choice_at != NULL) {
        sumi_choice_t choice = SUMI_CHOICE_INIT;
        word = option->choice_at(index, &choice) == SUMI_OK ? choice.name : NULL;
    } else
        for (; word != NULL && index > 0; index--) {
            word = strchr(word, '|');
            word += word != NULL;
        }
    if (word != NULL)
        *length = (int)strcspn(word, "|");
    return word;
}

/* time_dim of the part net: --time-dim, which config.json keeps as model.time_dim. */
static void option_of(const sumi_field_t *field, sumi_option *out)
{
    static const struct {
        sumi_arg_kind kind;
        const char *metavar;
    } kinds[] = {[SUMI_FIELD_INT] = {SUMI_ARG_INT, "N"},
                 [SUMI_FIELD_INT64] = {SUMI_ARG_INT, "N"},
                 [SUMI_FIELD_FLOAT] = {SUMI_ARG_REAL, "X"},
                 [SUMI_FIELD_BOOL] = {SUMI_ARG_FLAG, NULL},
                 [SUMI_FIELD_CHOICE] = {SUMI_ARG_CHOICE, "NAME"},
                 [SUMI_FIELD_LIST] = {SUMI_ARG_LIST, "N,N"}};
    bool net = strcmp(field->part, "net") == 0, flag = field->kind == SUMI_FIELD_BOOL;
    *out = (sumi_option){.kind = kinds[field->kind].kind,
                         .metavar = kinds[field->kind].metavar,
                         .low = (int64_t)field->low,
                         .high = (int64_t)field->high,
                         .least = field->low,
                         .most = field->high,
                         .choice_at = field->choice_at,
                         .initial = flag ? NULL : field->initial,
                         .commands = BIT(TRAIN) | (net ? BENCH : 0),
                         .help = field->about,
                         .field = field->name};
    snprintf(out->key, sizeof out->key, "model.%s", field->name);
    snprintf(out->name, sizeof out->name, "%s", field->name);
    for (char *c = out->name; *c != '\0'; c++)
        if (*c == '_')
            *c = '-';
}

/* Row index of the rows there are; counts the index down past them where it is beyond them. */
static bool row_of(const sumi_option *rows, int count, int *index, sumi_option *out)
{
    bool found = *index < count;
    if (found)
        *out = rows[*index];
    else
        *index -= count;
    return found;
}

bool sumi_option_at(int index, sumi_option *out)
{
    if (row_of(sumi_option_rows_train, sumi_option_rows_train_count, &index, out) ||
        row_of(sumi_option_rows_run, sumi_option_rows_run_count, &index, out))
        return true;
    sumi_field_t field = SUMI_FIELD_INIT;
    for (int i = 0; sumi_model_field_at(i, &field) == SUMI_OK; i++) {
        if (!field.settable || field.from_data)
            continue;
        if (index-- == 0) {
            option_of(&field, out);
            return true;
        }
    }
    return row_of(sumi_option_rows_sample, sumi_option_rows_sample_count, &index, out) ||
           row_of(sumi_option_rows_other, sumi_option_rows_other_count, &index, out);
}

bool sumi_option_belongs(const sumi_option *option, sumi_command_id command)
{
    return (option->commands >> command & 1u) != 0;
}

bool sumi_option_turns_off(const sumi_option *option)
{
    return option->kind == SUMI_ARG_FLAG && (option->field != NULL || option->by_recipe);
}

int sumi_option_find(sumi_command_id command, const char *name, size_t length, sumi_option *out)
{
    sumi_option option;
    for (int i = 0; sumi_option_at(i, &option); i++)
        if (sumi_option_belongs(&option, command) && strlen(option.name) == length &&
            memcmp(option.name, name, length) == 0) {
            if (out != NULL)
                *out = option;
            return i;
        }
    return -1;
}
